/* SPDX-License-Identifier: MIT */
/*
 * upcall_spawn() and upcall_sync().  The caller's deque hangs on its uthread, so neither cares on which
 * vcore it is, nor whether that changes between any two instructions.
 */
#include "fork/fork.h"

#include <errno.h>
#include <string.h>

UP_STATIC_ASSERT(sizeof(struct up_task) <= sizeof(struct upcall_fork), "a task fits");

/*
 * The caller's deque, by one load, where uthreads have a TLS of their own, which is there wherever they
 * run.  NULL on threads that are no uthreads, and before the first fork.  SHARED in the TLS of an
 * activation, that of all uthreads that run there: then GS is known to be good, and leads to the uthread.
 */
static __thread struct up_deque *own __attribute__((tls_model("initial-exec")));

#define SHARED ((struct up_deque *)1)

static UP_ALWAYS_INLINE struct up_deque *find_own(void)
{
	struct up_deque *d = own;
	struct up_uthread *u;

	if (UP_LIKELY(d > SHARED) || !d)
		return d;
	/* A move to another activation before here, or between the two, leads to the same uthread. */
	if (up_run_state(up_gs_run()) == UP_RUN_VCORE)
		return NULL;
	u = up_gs_uthread();
	return u ? u->deque : NULL;
}

/* The caller has a deque now: find_own() is to find it. */
static void note_own(struct up_uthread *u)
{
	up_preempt_disable(); /* the TLS may be an activation's */
	own = u->fs ? u->deque : SHARED;
	up_preempt_enable();
}

/* ---- spawn ---- */

/* Where nobody could take it: it is done at once. */
static int run_here(struct up_task *t, void (*fn)(void *), void *arg)
{
	fn(arg);
	t->state = UP_TASK_RAN;
	return 0;
}

/* Somebody may be waiting for work. */
static UP_NOINLINE int tell(void)
{
	if (up_hungry_take()) {
		UP_INJECT(fork_tell);
		up_workers_spare();
		up_preempt_disable();
		up_wake_vcore();
		up_preempt_enable();
	}
	return 0;
}

static UP_ALWAYS_INLINE int push(struct up_deque *d, struct up_task *t, void (*fn)(void *),
				 void *arg)
{
	up_san_release(t);
	t->fn = fn;
	t->arg = arg;
	t->prev = d->last;
	up_store_relaxed(&t->state, UP_TASK_FRESH); /* published by the push */
	d->last = t;
	up_deque_push(d, t);
	return up_hungry_seems() ? tell() : 0;
}

static struct up_deque *first_fork(struct up_uthread *u)
{
	struct up_deque *d = up_deque_attach(u);

	if (d)
		up_workers_spare();
	return d;
}

static UP_NOINLINE int spawn_slow(struct up_task *t, void (*fn)(void *), void *arg)
{
	struct up_uthread *u = up_self();
	struct up_deque *d;

	if (!t || !fn)
		return -EINVAL;
	if (!u)
		return run_here(t, fn, arg);
	d = u->deque ? u->deque : first_fork(u);
	if (d)
		note_own(u);
	if (d && d->last == t && !UP_MUT(fork_order_unchecked))
		return -EINVAL;
	if (!d || (!up_deque_has_room(d) && !up_deque_make_room(d)))
		return run_here(t, fn, arg);
	return push(d, t, fn, arg);
}

int upcall_spawn(struct upcall_fork *f, void (*fn)(void *arg), void *arg)
{
	struct up_task *t = (struct up_task *)f;
	struct up_deque *d = find_own();

	if (UP_UNLIKELY(!d || !t || !fn || d->last == t || !up_deque_has_room(d)))
		return spawn_slow(t, fn, arg);
	return push(d, t, fn, arg);
}

/* ---- sync ---- */

/* Off its stack: unless it has ended meanwhile. */
static void wait(struct upcall_uthread *self, void *arg)
{
	struct up_uthread *u = (struct up_uthread *)self;

	u->state = UP_U_ASIDE;
	u->resched = false;
	if (!up_task_wait(arg, u))
		up_ready(u, UPCALL_WOKEN);
}

/* Part of what the task has become, from whoever runs it: what is taken there lies below the task in
 * the program's own tree, so that the stack grows no deeper than that. */
static bool take_back(struct up_deque *d, uintptr_t state)
{
	struct up_deque *thief = (struct up_deque *)state;
	struct up_task *t;

	if (state & UP_TASK_NOT_PTR || !up_deque_seems_full(thief))
		return false;
	UP_INJECT(fork_take_back);
	t = up_deque_steal(thief);
	if (t)
		up_fork_run(d, t);
	return t != NULL;
}

/* Another has it. */
static UP_NOINLINE int sync_taken(struct up_deque *d, struct up_task *t)
{
	uintptr_t s;

	UP_INJECT(fork_sync_taken);
	/* acquire: pairs with up_task_end() and up_task_taken() */
	while ((s = up_load_acquire(&t->state)) != UP_TASK_DONE)
		if (!take_back(d, s))
			up_leave(up_self(), wait, t);
	up_san_acquire(t);
	d->last = t->prev;
	t->state = UP_TASK_SYNCED;
	return 0;
}

static int sync_ran(struct up_task *t)
{
	if (!t || t->state != UP_TASK_RAN)
		return -EINVAL;
	t->state = UP_TASK_SYNCED;
	return 0;
}

static UP_ALWAYS_INLINE int sync_own(struct up_deque *d, struct up_task *t)
{
	if (UP_UNLIKELY(!up_deque_pop(d)))
		return sync_taken(d, t);
	d->last = t->prev;
	t->fn(t->arg);
	return 0;
}

static UP_NOINLINE int sync_slow(struct up_task *t)
{
	struct up_uthread *u = up_self();
	struct up_deque *d = u ? u->deque : NULL;

	if (!d || !t || (d->last != t && !UP_MUT(fork_order_unchecked)))
		return sync_ran(t);
	return sync_own(d, t);
}

int upcall_sync(struct upcall_fork *f)
{
	struct up_task *t = (struct up_task *)f;
	struct up_deque *d = find_own();

	if (UP_UNLIKELY(!d || !t || d->last != t))
		return sync_slow(t);
	return sync_own(d, t);
}

/* ---- what the runtime calls ---- */

/* The word in the TLS would outlive what it points to: uthread 0's block is the first thread's. */
static int stop(void)
{
	int r = up_workers_stop();

	if (!r) {
		own = NULL;
		up_deque_detach(up_self());
	}
	return r;
}

static void ended(struct up_uthread *u)
{
	own = NULL;
	up_deque_detach(u);
}

static void forget(void)
{
	own = NULL;
	memset(&up_forks, 0, sizeof(up_forks));
}

const struct up_fork_ops up_fork_ops = {
	.hungry = up_hungry_say,
	.pick = up_worker_pick,
	.more = up_tasks_seem,
	.end = ended,
	.own = up_workers_own,
	.stop = stop,
	.fini = up_forks_free,
	.forget = forget,
};
