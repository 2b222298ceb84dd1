/* SPDX-License-Identifier: MIT */
/*
 * The condition variable: a queue, in which one stands before the mutex is unlocked, so that no signal
 * given after that is missed.
 */
#include "sync/sync.h"

static int wait(struct upcall_cond *c, struct upcall_mutex *m, uint64_t until)
{
	struct up_waitq *q = up_sync_queue(&c->waiters);
	struct up_waiter w;
	bool woken = false;
	int r, locked;

	r = up_wait_begin(&w, UP_WAIT_COND, c);
	if (r)
		return r;
	if (UP_MUT(cond_unlocks_first))
		upcall_mutex_unlock(m);
	up_guard(&c->guard);
	up_waitq_push(q, &w);
	up_unguard(&c->guard, NULL);
	UP_INJECT(cond_queued);
	r = UP_MUT(cond_unlocks_first) ? 0 : upcall_mutex_unlock(m);
	if (!r) {
		r = up_wait(&w, until);
		locked = 0;
	} else {
		locked = r; /* it was not: nothing has been waited for */
	}
	if (r && !UP_MUT(cond_leaver_left)) {
		up_guard(&c->guard);
		woken = !w.queued;
		up_waitq_remove(q, &w);
		up_unguard(&c->guard, NULL);
	}
	if (locked) {
		if (woken) /* before we found that out: it was not for us */
			upcall_cond_signal(c);
		return r;
	}
	locked = up_mutex_lock_uncancelled(m);
	return locked ? locked : r;
}

static int wait_until(struct upcall_cond *c, struct upcall_mutex *m, uint64_t until)
{
	if (!c || !m)
		return -EINVAL;
	if (!(up_load_relaxed(&m->word) & 1))
		return -EPERM;
	return up_sync_end(wait(c, m, until));
}

int upcall_cond_wait(struct upcall_cond *c, struct upcall_mutex *m)
{
	return wait_until(c, m, UP_FOREVER);
}

int upcall_cond_wait_until(struct upcall_cond *c, struct upcall_mutex *m, uint64_t until)
{
	return wait_until(c, m, until);
}

static int wake(struct upcall_cond *c, bool all)
{
	struct up_waitq *q = up_sync_queue(&c->waiters);
	struct up_wakes k = { 0 };

	up_guard(&c->guard);
	if (all)
		up_waitq_wake_all(q, &k);
	else
		up_waitq_wake(q, &k);
	up_unguard(&c->guard, &k);
	return 0;
}

int upcall_cond_signal(struct upcall_cond *c)
{
	if (!c)
		return -EINVAL;
	/* acquire: who queued before it unlocked the mutex that the caller has had since is seen */
	return up_load_acquire(&c->waiters) ? wake(c, false) : 0;
}

int upcall_cond_broadcast(struct upcall_cond *c)
{
	if (!c)
		return -EINVAL;
	return up_load_acquire(&c->waiters) ? wake(c, true) : 0; /* as above */
}
