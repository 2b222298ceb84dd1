/* SPDX-License-Identifier: MIT */
/*
 * Once: the first to come does it, the others wait.  If its uthread ends in there, it has not been done.
 */
#include "sync/sync.h"

enum {
	NEVER = 0,
	UNDER_WAY = 1,
	DONE = 2
};

static void over(struct upcall_once_flag *o, uint32_t state)
{
	struct up_waitq *q = up_sync_queue(&o->waiters);
	struct up_wakes k = { 0 };

	up_san_release(o);
	up_guard(&o->guard);
	/* release: pairs with who finds it done without a guard: what fn did is seen */
	up_store_release(&o->state, state);
	if (state == DONE)
		up_waitq_wake_all(q, &k);
	else
		up_waitq_wake(q, &k); /* it tries next */
	up_unguard(&o->guard, &k);
}

static void not_done(void *arg)
{
	over(arg, NEVER);
}

static void doit(struct upcall_once_flag *o, void (*fn)(void *), void *arg)
{
	struct upcall_cleanup c;
	bool in_uthread = !upcall_cleanup_push(&c, not_done, o);

	fn(arg);
	if (in_uthread)
		upcall_cleanup_pop(0);
	over(o, DONE);
}

static int once(struct upcall_once_flag *o, void (*fn)(void *), void *arg, uint64_t until)
{
	struct up_waiter w;
	int r;

	if (!o || !fn)
		return -EINVAL;
	while (up_load_acquire(&o->state) != DONE) { /* pairs with over() */
		r = up_wait_begin(&w, UP_WAIT_ONCE, o);
		if (r)
			return r;
		up_guard(&o->guard);
		if (o->state == UNDER_WAY) {
			r = up_sync_wait(&w, &o->guard, up_sync_queue(&o->waiters), until);
			if (r)
				return r;
		} else if (o->state == NEVER) {
			up_store_relaxed(&o->state, (uint32_t)UNDER_WAY);
			up_unguard(&o->guard, NULL);
			doit(o, fn, arg);
		} else {
			up_unguard(&o->guard, NULL);
		}
	}
	up_san_acquire(o);
	return 0;
}

int upcall_once(struct upcall_once_flag *o, void (*fn)(void *arg), void *arg)
{
	return up_sync_end(once(o, fn, arg, UP_FOREVER));
}

int upcall_once_until(struct upcall_once_flag *o, void (*fn)(void *arg), void *arg, uint64_t until)
{
	return up_sync_end(once(o, fn, arg, until));
}
