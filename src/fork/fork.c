/* SPDX-License-Identifier: MIT */
/*
 * upcall_spawn() and upcall_sync().  The caller's deque hangs on its uthread, so neither cares on which
 * vcore it is, nor whether that changes between any two instructions.
 */
#include "fork/fork.h"

#include <errno.h>
#include <string.h>

UP_STATIC_ASSERT(sizeof(struct up_task) <= sizeof(struct upcall_fork), "a task fits");

/* up_self(), in place: these calls are to cost nanoseconds. */
static UP_ALWAYS_INLINE struct up_uthread *self_inline(void)
{
	struct up_uthread *u;

	if (UP_UNLIKELY(!up_rt.started || !up_arch_get_gs()) ||
	    UP_UNLIKELY(up_run_state(up_gs_run()) == UP_RUN_VCORE))
		return NULL;
	u = up_gs_uthread();
	if (UP_UNLIKELY(!u) || UP_UNLIKELY(u->fs && u->fs != up_tls_fs()))
		return NULL;
	return u;
}

/* ---- spawn ---- */

/* Where nobody could take it: it is done at once. */
static int run_here(struct up_task *t, void (*fn)(void *), void *arg)
{
	fn(arg);
	t->state = UP_TASK_RAN;
	return 0;
}

static int spawn_into(struct up_deque *d, struct up_task *t, void (*fn)(void *), void *arg);

static UP_NOINLINE int spawn_slow(struct up_task *t, void (*fn)(void *), void *arg)
{
	struct up_uthread *u = self_inline();
	struct up_deque *d;
	bool first;

	if (!t || !fn)
		return -EINVAL;
	if (!u)
		return run_here(t, fn, arg);
	d = u->deque;
	if (d && d->last == t && !UP_MUT(fork_order_unchecked))
		return -EINVAL;
	first = !d;
	if (first)
		d = up_deque_attach(u);
	if (!d || (!up_deque_has_room(d) && !up_deque_make_room(d)))
		return run_here(t, fn, arg);
	if (first)
		up_workers_spare();
	return spawn_into(d, t, fn, arg);
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
	t->fn = fn;
	t->arg = arg;
	t->prev = d->last;
	up_store_relaxed(&t->state, UP_TASK_FRESH); /* published by the push */
	d->last = t;
	up_deque_push(d, t);
	return up_hungry_seems() ? tell() : 0;
}

static int spawn_into(struct up_deque *d, struct up_task *t, void (*fn)(void *), void *arg)
{
	return push(d, t, fn, arg);
}

int upcall_spawn(struct upcall_fork *f, void (*fn)(void *arg), void *arg)
{
	struct up_task *t = (struct up_task *)f;
	struct up_uthread *u = self_inline();
	struct up_deque *d = u ? u->deque : NULL;

	if (UP_UNLIKELY(!d || !t || !fn || d->last == t || !up_deque_has_room(d)))
		return spawn_slow(t, fn, arg);
	return push(d, t, fn, arg);
}

/* ---- sync ---- */

/* Vcore context: unless it has ended meanwhile. */
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
			up_sched_call(up_self(), wait, t);
	d->last = t->prev;
	t->state = UP_TASK_SYNCED;
	return 0;
}

static UP_NOINLINE int sync_other(struct up_task *t)
{
	if (!t || t->state != UP_TASK_RAN)
		return -EINVAL;
	t->state = UP_TASK_SYNCED;
	return 0;
}

int upcall_sync(struct upcall_fork *f)
{
	struct up_task *t = (struct up_task *)f;
	struct up_uthread *u = self_inline();
	struct up_deque *d = u ? u->deque : NULL;

	if (UP_UNLIKELY(!d || !t || (d->last != t && !UP_MUT(fork_order_unchecked))))
		return sync_other(t);
	if (UP_UNLIKELY(!up_deque_pop(d)))
		return sync_taken(d, t);
	d->last = t->prev;
	t->fn(t->arg);
	return 0;
}

/* ---- what the runtime calls ---- */

static void forget(void)
{
	memset(&up_forks, 0, sizeof(up_forks));
}

const struct up_fork_ops up_fork_ops = {
	.hungry = up_hungry_say,
	.pick = up_worker_pick,
	.more = up_tasks_seem,
	.exit = up_deque_detach,
	.nr_own = up_workers_nr,
	.stop = up_workers_stop,
	.fini = up_forks_free,
	.forget = forget,
};
