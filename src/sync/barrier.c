/* SPDX-License-Identifier: MIT */
/*
 * The barrier: the last to come wakes the others, and is the one that is told apart.  Who leaves before
 * has not come.
 */
#include "sync/sync.h"

int upcall_barrier_init(struct upcall_barrier *b, uint32_t count)
{
	if (!b || !count)
		return -EINVAL;
	*b = (struct upcall_barrier){ .count = count };
	return 0;
}

static int wait(struct upcall_barrier *b, uint64_t until)
{
	struct up_waitq *q = b ? up_sync_queue(&b->waiters) : NULL;
	struct up_wakes k = { 0 };
	struct up_waiter w;
	int r;

	if (!b || !b->count)
		return -EINVAL;
	r = up_wait_begin(&w, UP_WAIT_BARRIER, b);
	if (r)
		return r;
	up_guard(&b->guard);
	if (b->here + 1 == b->count) {
		b->here = 0;
		up_waitq_wake_all(q, &k); /* one that is leaving finds itself off the queue */
		up_unguard(&b->guard, &k);
		return UPCALL_BARRIER_SERIAL;
	}
	b->here++;
	up_waitq_push(q, &w);
	up_unguard(&b->guard, NULL);
	r = up_wait(&w, until);
	up_san_acquire(&b->guard);
	if (!r)
		return 0;
	up_guard(&b->guard);
	if (w.queued) {
		up_waitq_remove(q, &w);
		b->here -= !UP_MUT(barrier_leaver_counted);
	} else {
		r = 0; /* the last one has counted it: it has come */
	}
	up_unguard(&b->guard, NULL);
	return r;
}

int upcall_barrier_wait(struct upcall_barrier *b)
{
	return up_sync_end(wait(b, UP_FOREVER));
}

int upcall_barrier_wait_until(struct upcall_barrier *b, uint64_t until)
{
	return up_sync_end(wait(b, until));
}
