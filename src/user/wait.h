/* SPDX-License-Identifier: MIT */
/*
 * Waiting: what all of src/sync is made of.  The node lies on the waiter's stack and stands in a queue
 * of the object's, under the object's guard; the waiter's word settles by compare-and-swap which of a
 * waker, the deadline and a cancellation ends the wait.  So a waker that meets one who is leaving
 * learns that at once, and takes the next.
 *
 *	up_wait_begin(&w, kind, obj)	the word is open
 *	up_guard(); up_waitq_push(); up_unguard()
 *	up_wait(&w, until)		off the vcore, until one of them has won
 *	0: whoever woke it has taken it off the queue.  Else it does that itself, under the guard.
 *
 * A thread that is no uthread waits in Linux, by the same words.  Vcore context cannot wait.
 */
#ifndef UP_USER_WAIT_H
#define UP_USER_WAIT_H

#include <stdbool.h>
#include <stdint.h>

#include "user/alarm.h"

#define UP_FOREVER UINT64_MAX

/* In place of a mutex's owner: handed over, to one that does not run yet. */
#define UP_OWNER_HANDED ((uintptr_t)1)

/* What a uthread waits for: shown by upcall_dump(). */
enum up_wait_kind {
	UP_WAIT_NONE = 0,
	UP_WAIT_MUTEX,
	UP_WAIT_COND,
	UP_WAIT_RDLOCK,
	UP_WAIT_WRLOCK,
	UP_WAIT_SEM,
	UP_WAIT_BARRIER,
	UP_WAIT_ONCE,
	UP_WAIT_WG,
	UP_WAIT_SEND,
	UP_WAIT_RECV,
	UP_WAIT_JOIN,
	UP_WAIT_SLEEP,
	UP_WAIT_IN, /* a descriptor: obj is its number */
	UP_WAIT_OUT,
	UP_WAIT_NR
};

/* The word: number of the wait, result, and two bits. */
enum {
	UP_W_PARKED = 1, /* off its stack, or asleep: whoever ends the wait makes it ready */
	UP_W_CANCELLABLE = 2,
	UP_W_RESULT_SHIFT = 2,
	UP_W_SEQ = 1 << 5,
};
enum up_wait_result {
	UP_W_OPEN = 0,
	UP_W_TAKEN = 1, /* a waker is about to hand something over, and to say WOKEN */
	UP_W_WOKEN = 2,
	UP_W_TIMEDOUT = 3,
	UP_W_CANCELLED = 4,
};

/* Part of struct up_uthread. */
struct up_uthread_wait {
	uint32_t word;	     /* atomic */
	uint32_t cancel;     /* atomic: it has been asked to end */
	uint32_t cancel_off; /* its own: depth */
	uint32_t kind;	     /* its own; others look, for dumps */
	const void *obj;
	struct up_waiter
		*watcher; /* atomic: who waits for its end with a deadline, or UP_WATCH_OVER */
	struct upcall_cleanup *cleanups; /* its own: newest first */
	struct up_local *locals;	 /* its own; key.c */
	uint32_t nr_locals;
	uint64_t io_until;	/* its own: deadline of its calls to Linux, 0 none */
} __attribute__((aligned(16))); /* it is cleared in pieces of that size */

#define UP_WATCH_OVER ((struct up_waiter *)1)

struct up_waiter {
	struct up_waiter *next, *prev; /* the object's guard */
	struct up_uthread *u;	       /* NULL: another thread */
	uint32_t *word;
	uint32_t open; /* the word's value while the wait is open */
	uint32_t own;  /* the word of a thread that is no uthread; futex */
	uint32_t tag;  /* the object's own */
	bool queued;   /* the object's guard */
	bool timed;
	void *data; /* the object's own */
	uint64_t until;
	struct up_alarm alarm;
};

/* First to last; NULL is empty, so that zeroes are a queue. */
struct up_waitq {
	struct up_waiter *first;
};

/* Uthreads to be made ready once the guard is free. */
struct up_wakes {
	struct up_uthread *first, *last;
};

/* -EPERM in vcore context. */
int up_wait_begin(struct up_waiter *w, enum up_wait_kind kind, const void *obj);
/* 0: woken.  -ETIMEDOUT, -ECANCELED: the caller takes itself off the queue. */
int up_wait(struct up_waiter *w, uint64_t until);
/* Guard held.  False: it is leaving; else it has been woken, and may be gone. */
bool up_wait_wake(struct up_waiter *w, struct up_wakes *k);
/* The same in two halves, something to be handed over in between. */
bool up_wait_take(struct up_waiter *w);
void up_wait_give(struct up_waiter *w, struct up_wakes *k);
/* Preemption off, or vcore context. */
void up_wakes_run(struct up_wakes *k);

/* A tiny lock, preemption off meanwhile. */
void up_guard(uint32_t *lock);
void up_unguard(uint32_t *lock, struct up_wakes *k); /* k may be NULL */

void up_waitq_push(struct up_waitq *q, struct up_waiter *w);
void up_waitq_push_front(struct up_waitq *q, struct up_waiter *w);
void up_waitq_remove(struct up_waitq *q, struct up_waiter *w);
struct up_waiter *up_waitq_pop(struct up_waitq *q);
/* Wakes the first that is not leaving; false: there is none. */
bool up_waitq_wake(struct up_waitq *q, struct up_wakes *k);
void up_waitq_wake_all(struct up_waitq *q, struct up_wakes *k);

/* Vcore context: the end of u, for join_until. */
void up_wait_watched(struct up_uthread *u);

/* cancel.c */
bool up_cancel_due(const struct up_uthread *u);
void up_cancel_act(void); /* ends the caller if it has been cancelled, and that is enabled */
void up_exit_cleanup(struct up_uthread *u);
/* key.c: destructors, and the table */
void up_local_end(struct up_uthread *u, bool destruct);

#endif
