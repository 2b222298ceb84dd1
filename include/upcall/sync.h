/* SPDX-License-Identifier: MIT */
/*
 * Synchronisation: whoever waits is taken off its vcore, which runs another uthread meanwhile; no core
 * is given up and no kernel thread sleeps.  Nothing here allocates but channels and keys.
 *
 * All objects may be used by uthreads and by any other thread of the process alike, before
 * upcall_start() too; such a thread waits in Linux.  In vcore context nothing waits (-EPERM), and all
 * that does not wait may be called.  An object of zeroes is a fresh one, but for barriers; none is to
 * be moved, or to go, while somebody uses it.
 *
 * Moments (until_ns) are nanoseconds of CLOCK_MONOTONIC, as upcall_now_ns() tells them; one that has
 * passed makes it a try, UPCALL_FOREVER is none.  A wait that ends with -ETIMEDOUT has left everything
 * as it was, and a wake that meets one who is leaving goes on to the next.
 *
 * Every function that says so is a point of cancellation: see upcall_uthread_cancel().
 */
#ifndef UPCALL_SYNC_H
#define UPCALL_SYNC_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include <upcall/uthread.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define UPCALL_FOREVER UINT64_MAX

/* CLOCK_MONOTONIC in nanoseconds.  Context: any; does not block.  Errors: none. */
uint64_t upcall_now_ns(void);

/* Sleeps for ns nanoseconds, or until a moment: 0.  On a uthread no kernel thread sleeps with it.  A
 * point of cancellation.  Context: any but vcore; may block.  Errors: -EPERM in vcore context. */
int upcall_sleep_ns(uint64_t ns);

/* As upcall_sleep_ns(), to a moment.  Context: any but vcore; may block.  Errors: -EPERM in vcore
 * context. */
int upcall_sleep_until(uint64_t until_ns);

/* ---- mutex ---- */

/*
 * Excludes all others.  Who finds it held by one that runs on another vcore looks for a moment, then
 * waits.  Others may come first, but nobody is passed over for long.  Any thread may unlock it.
 *
 * The layout is part of the interface: locking and unlocking one that nobody wants are inline below.
 */
struct upcall_mutex {
	uint32_t word; /* 1 held, 2 somebody waits, 4 one of those is awake and looks by itself */
	uint32_t guard;
	uintptr_t owner; /* its thread pointer; a hint */
	void *waiters;
};

#define UPCALL_MUTEX_INIT     \
	{                     \
		0, 0, 0, NULL \
	}

/* Until it is the caller's.  A point of cancellation where it waits.  Context: any but vcore, where it
 * is refused unless free; may block.  Errors: -EINVAL NULL, -EDEADLK the caller holds it (not told
 * among uthreads that share TLS), -EPERM in vcore context. */
int upcall_mutex_lock(struct upcall_mutex *m);

/* Only if nobody holds it.  Context: any; does not block.  Errors: -EINVAL NULL, -EBUSY held. */
int upcall_mutex_trylock(struct upcall_mutex *m);

/* Until it is the caller's, or the moment comes.  A point of cancellation where it waits.  Context: any
 * but vcore; may block.  Errors: as upcall_mutex_lock(), and -ETIMEDOUT. */
int upcall_mutex_lock_until(struct upcall_mutex *m, uint64_t until_ns);

/* Context: any; does not block.  Errors: -EINVAL NULL, -EPERM it was not held. */
int upcall_mutex_unlock(struct upcall_mutex *m);

/* ---- condition variable ---- */

struct upcall_cond {
	uint32_t guard;
	uint32_t pad;
	void *waiters;
};

#define UPCALL_COND_INIT   \
	{                  \
		0, 0, NULL \
	}

/* Unlocks m, waits to be woken, and locks m again, also before it ends in cancellation: a point of
 * it.  Never woken without cause.  Context: any but vcore; may block.  Errors: -EINVAL NULL, -EPERM m
 * was not held, or in vcore context. */
int upcall_cond_wait(struct upcall_cond *c, struct upcall_mutex *m);

/* The same with a deadline for being woken; m is locked again whatever comes.  Context: any but vcore;
 * may block.  Errors: as upcall_cond_wait(), and -ETIMEDOUT. */
int upcall_cond_wait_until(struct upcall_cond *c, struct upcall_mutex *m, uint64_t until_ns);

/* Wakes the one that has waited longest, if anybody waits.  Context: any; does not block.  Errors:
 * -EINVAL NULL. */
int upcall_cond_signal(struct upcall_cond *c);

/* Wakes all who wait.  Context: any; does not block.  Errors: -EINVAL NULL. */
int upcall_cond_broadcast(struct upcall_cond *c);

/* ---- read-write lock ---- */

/* Many readers or one writer, in the order in which they came: neither starves the other.  So a reader
 * that takes it once more may wait behind a writer for ever. */
struct upcall_rwlock {
	uint32_t guard;
	uint32_t writer; /* 1 while one holds it */
	uint64_t readers;
	uintptr_t owner; /* the writer's thread pointer */
	void *waiters;
};

#define UPCALL_RWLOCK_INIT       \
	{                        \
		0, 0, 0, 0, NULL \
	}

/* To read.  A point of cancellation where it waits.  Context: any but vcore; may block.  Errors:
 * -EINVAL NULL, -EDEADLK the caller holds it to write, -EPERM in vcore context. */
int upcall_rwlock_rdlock(struct upcall_rwlock *l);

/* Only if no writer has it or waits for it.  Context: any; does not block.  Errors: -EINVAL NULL,
 * -EBUSY. */
int upcall_rwlock_tryrdlock(struct upcall_rwlock *l);

/* To read, before a moment.  Context: any but vcore; may block.  Errors: as upcall_rwlock_rdlock(), and
 * -ETIMEDOUT. */
int upcall_rwlock_rdlock_until(struct upcall_rwlock *l, uint64_t until_ns);

/* To write.  A point of cancellation where it waits.  Context: any but vcore; may block.  Errors:
 * -EINVAL NULL, -EDEADLK the caller holds it to write, -EPERM in vcore context. */
int upcall_rwlock_wrlock(struct upcall_rwlock *l);

/* Only if nobody has it.  Context: any; does not block.  Errors: -EINVAL NULL, -EBUSY. */
int upcall_rwlock_trywrlock(struct upcall_rwlock *l);

/* To write, before a moment.  Context: any but vcore; may block.  Errors: as upcall_rwlock_wrlock(), and
 * -ETIMEDOUT. */
int upcall_rwlock_wrlock_until(struct upcall_rwlock *l, uint64_t until_ns);

/* Of either kind.  Context: any; does not block.  Errors: -EINVAL NULL, -EPERM nobody has it. */
int upcall_rwlock_unlock(struct upcall_rwlock *l);

/* ---- semaphore ---- */

struct upcall_sem {
	uint32_t guard;
	uint32_t value;
	void *waiters;
};

#define UPCALL_SEM_INIT(value)   \
	{                        \
		0, (value), NULL \
	}

/* With a value.  Context: any; does not block.  Errors: -EINVAL NULL. */
int upcall_sem_init(struct upcall_sem *s, uint32_t value);

/* Takes one, which it waits for: first come, first served.  A point of cancellation where it waits.
 * Context: any but vcore; may block.  Errors: -EINVAL NULL, -EPERM in vcore context. */
int upcall_sem_wait(struct upcall_sem *s);

/* Takes one if there is one.  Context: any; does not block.  Errors: -EINVAL NULL, -EAGAIN. */
int upcall_sem_trywait(struct upcall_sem *s);

/* Takes one before a moment.  Context: any but vcore; may block.  Errors: as upcall_sem_wait(), and
 * -ETIMEDOUT. */
int upcall_sem_wait_until(struct upcall_sem *s, uint64_t until_ns);

/* Gives one, to the first that waits.  Context: any; does not block.  Errors: -EINVAL NULL, -EOVERFLOW
 * there are UINT32_MAX already. */
int upcall_sem_post(struct upcall_sem *s);

/* ---- barrier ---- */

struct upcall_barrier {
	uint32_t guard;
	uint32_t count; /* how many make it full */
	uint32_t here;	/* how many wait */
	uint32_t pad;
	void *waiters;
};

#define UPCALL_BARRIER_SERIAL 1

/* For so many at a time.  Context: any; does not block.  Errors: -EINVAL NULL, or count is 0. */
int upcall_barrier_init(struct upcall_barrier *b, uint32_t count);

/* Until `count` are here: UPCALL_BARRIER_SERIAL for one of them, 0 for the others.  A point of
 * cancellation where it waits; who is cancelled has not come.  Context: any but vcore; may block.
 * Errors: -EINVAL NULL or not initialised, -EPERM in vcore context. */
int upcall_barrier_wait(struct upcall_barrier *b);

/* The same before a moment; who comes to the end of it has not come.  Context: any but vcore; may block.
 * Errors: as upcall_barrier_wait(), and -ETIMEDOUT. */
int upcall_barrier_wait_until(struct upcall_barrier *b, uint64_t until_ns);

/* ---- once ---- */

struct upcall_once_flag {
	uint32_t guard;
	uint32_t state; /* 0 never, 1 being done, 2 done */
	void *waiters;
};

#define UPCALL_ONCE_INIT   \
	{                  \
		0, 0, NULL \
	}

/* Calls fn(arg) if nobody has; else waits until that is over.  One that ends in there by
 * upcall_uthread_exit() or cancellation has not done it: the next one does.  A point of cancellation
 * where it waits.  Context: any but vcore; may block.  Errors: -EINVAL NULL, -EPERM in vcore context. */
int upcall_once(struct upcall_once_flag *o, void (*fn)(void *arg), void *arg);

/* The same, waiting for another's call no longer than until a moment.  Context: any but vcore; may
 * block.  Errors: as upcall_once(), and -ETIMEDOUT. */
int upcall_once_until(struct upcall_once_flag *o, void (*fn)(void *arg), void *arg,
		      uint64_t until_ns);

/* ---- wait group ---- */

struct upcall_wg {
	uint32_t guard;
	uint32_t nr; /* of what is not done */
	void *waiters;
};

#define UPCALL_WG_INIT     \
	{                  \
		0, 0, NULL \
	}

/* nr more things to wait for.  Context: any; does not block.  Errors: -EINVAL NULL, -EOVERFLOW. */
int upcall_wg_add(struct upcall_wg *g, uint32_t nr);

/* One is done; the last one wakes all who wait.  Context: any; does not block.  Errors: -EINVAL NULL, or
 * there was none. */
int upcall_wg_done(struct upcall_wg *g);

/* Until none is left.  A point of cancellation where it waits.  Context: any but vcore; may block.
 * Errors: -EINVAL NULL, -EPERM in vcore context. */
int upcall_wg_wait(struct upcall_wg *g);

/* The same before a moment.  Context: any but vcore; may block.  Errors: as upcall_wg_wait(), and
 * -ETIMEDOUT. */
int upcall_wg_wait_until(struct upcall_wg *g, uint64_t until_ns);

/* ---- channel ---- */

struct upcall_chan;

/* A queue of items of elem_sz bytes (0: no bytes, only that one came), of so many; capacity 0: who
 * sends meets who receives.  *ret_chan is freed by upcall_chan_destroy().  Context: any but vcore; may
 * block, for memory.  Errors: -EINVAL no ret_chan or too large, -ENOMEM, -EPERM in vcore context. */
int upcall_chan_create(struct upcall_chan **ret_chan, size_t elem_sz, size_t capacity);

/* Copies an item in.  A point of cancellation where it waits.  Context: any but vcore; may block.
 * Errors: -EINVAL NULL, -EPIPE closed, -EPERM in vcore context. */
int upcall_chan_send(struct upcall_chan *c, const void *item);

/* Only if there is room, or somebody waits for it.  Context: any; does not block.  Errors: -EINVAL NULL,
 * -EPIPE closed, -EAGAIN. */
int upcall_chan_trysend(struct upcall_chan *c, const void *item);

/* Before a moment.  Context: any but vcore; may block.  Errors: as upcall_chan_send(), and -ETIMEDOUT. */
int upcall_chan_send_until(struct upcall_chan *c, const void *item, uint64_t until_ns);

/* Copies the oldest item out.  A point of cancellation where it waits.  Context: any but vcore; may
 * block.  Errors: -EINVAL NULL, -EPIPE closed and empty, -EPERM in vcore context. */
int upcall_chan_recv(struct upcall_chan *c, void *ret_item);

/* Only if there is one.  Context: any; does not block.  Errors: -EINVAL NULL, -EPIPE closed and empty,
 * -EAGAIN. */
int upcall_chan_tryrecv(struct upcall_chan *c, void *ret_item);

/* Before a moment.  Context: any but vcore; may block.  Errors: as upcall_chan_recv(), and -ETIMEDOUT. */
int upcall_chan_recv_until(struct upcall_chan *c, void *ret_item, uint64_t until_ns);

/* Nothing can be sent any more; those who wait to send are refused, those who receive get what is left.
 * Context: any; does not block.  Errors: -EINVAL NULL, -EPIPE closed already. */
int upcall_chan_close(struct upcall_chan *c);

/* Frees it; NULL is nothing to free.  Context: any but vcore; may block, for memory.  Errors: -EBUSY
 * somebody waits, -EPERM in vcore context. */
int upcall_chan_destroy(struct upcall_chan *c);

/* ---- ends ---- */

#define UPCALL_CANCELED ((void *)-1)

/* As upcall_uthread_join(), before a moment; after -ETIMEDOUT it can be joined again.  A point of
 * cancellation, UPCALL_FOREVER too (upcall_uthread_join() is none).  Context: uthread; may block.
 * Errors: as upcall_uthread_join(), and -ETIMEDOUT. */
int upcall_uthread_join_until(struct upcall_uthread *u, void **ret_value, uint64_t until_ns);

/* Asks it to end, at its next point of cancellation: what waits in one now is woken for that.  Its value
 * is UPCALL_CANCELED; clean-up, keys and thread_local values are dealt with as at any end, C++ objects
 * on its stack are not.  A call that sleeps in Linux is no such point.  Context: any once started;
 * does not block.  Errors: -EINVAL NULL, -ESRCH it has ended, -ENOTCONN not started. */
int upcall_uthread_cancel(struct upcall_uthread *u);

/* A point of cancellation that waits for nothing.  Context: any; does not block.  Errors: none. */
void upcall_testcancel(void);

/* From here on no point is one, until as many calls of upcall_cancel_enable().  Context: uthread;
 * does not block.  Errors: -EPERM elsewhere. */
int upcall_cancel_disable(void);

/* No point itself.  Context: uthread; does not block.  Errors: -EPERM elsewhere, -EINVAL not disabled. */
int upcall_cancel_enable(void);

/* Lies where the caller puts it, on its stack as a rule, until it is popped. */
struct upcall_cleanup {
	void (*fn)(void *arg);
	void *arg;
	struct upcall_cleanup *next;
};

/* fn(arg) runs if the caller ends before it has been popped, the newest first.  Context: uthread;
 * does not block.  Errors: -EINVAL NULL, -EPERM elsewhere. */
int upcall_cleanup_push(struct upcall_cleanup *c, void (*fn)(void *arg), void *arg);

/* Takes the newest off, and calls it if run is not 0.  Context: uthread; does not block.  Errors:
 * -EINVAL there is none, -EPERM elsewhere. */
int upcall_cleanup_pop(int run);

/* ---- uthread-local values ---- */

typedef uint64_t upcall_key;

/* A key, under which each uthread has a value of its own, NULL at first; destruct (may be NULL) gets one
 * that is not when its uthread ends.  Context: any but vcore; may block, for memory.  Errors: -EINVAL no
 * ret_key, -ENOMEM, -EAGAIN too many, -EPERM in vcore context. */
int upcall_key_create(upcall_key *ret_key, void (*destruct)(void *value));

/* Forgets the values; no destructor is called for them.  Context: any; does not block.  Errors: -EINVAL
 * no such key. */
int upcall_key_delete(upcall_key key);

/* The caller's value; NULL if there is none, no such key, or no uthread.  Context: any; does not block.
 * Errors: none. */
void *upcall_key_get(upcall_key key);

/* Sets the caller's value.  Context: uthread; may block, for memory.  Errors: -EINVAL no such key,
 * -ENOMEM, -EPERM elsewhere. */
int upcall_key_set(upcall_key key, void *value);

/* ---- a deadlock of everything ---- */

/*
 * fn(arg) is called, once, when the last vcore is about to be given back while every uthread waits for
 * another, so that nothing inside can go on any more; once again whenever that has come about anew.
 * Another thread, or a handler of a signal or an event, may still wake somebody: only the program
 * knows.  fn may call upcall_dump(), which tells what each waits for, and all that vcore context may.
 * NULL: nobody is told, which is how it starts.  Context: any, fn: vcore; does not block.  Errors: none,
 * 0.
 */
int upcall_set_deadlock_hook(void (*fn)(void *arg), void *arg);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#if defined(__GNUC__) && !defined(UPCALL_NO_INLINE)
#include <upcall/sync_inline.h>
#endif

#endif
