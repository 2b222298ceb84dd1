/* SPDX-License-Identifier: MIT */
/*
 * The wait group: a number of things that are not done.  Counting is one atomic operation; only the last
 * thing, and whoever waits, take the guard.
 */
#include "sync/sync.h"

int upcall_wg_add(struct upcall_wg *g, uint32_t nr)
{
	uint32_t was;

	if (!g)
		return -EINVAL;
	was = up_load_relaxed(&g->nr);
	do
		if (was > UINT32_MAX - nr)
			return -EOVERFLOW;
	while (!up_cas_relaxed(&g->nr, &was, was + nr)); /* nothing is published by this */
	return 0;
}

/* How many there were. */
static uint32_t take_one(struct upcall_wg *g)
{
	uint32_t was = up_load_relaxed(&g->nr);

	/* acq_rel: pairs with wait(): what was done is seen by who finds none left */
	while (was && !up_cas_acq_rel(&g->nr, &was, was - 1))
		;
	return was;
}

int upcall_wg_done(struct upcall_wg *g)
{
	struct up_wakes k = { 0 };
	uint32_t was;

	if (!g)
		return -EINVAL;
	up_san_release(g);
	was = up_load_relaxed(&g->nr);
	while (was > 1 || (was && UP_MUT(wg_last_unguarded)))
		if (up_cas_acq_rel(&g->nr, &was, was - 1)) { /* as in take_one() */
			if (was > 1)
				return 0;
			break;
		}
	if (!was)
		return -EINVAL;
	/* The last, as it seems: under the guard, so that a waiter who saw it is queued, or looks again;
	 * and so that none is on its way out, with the memory, before we are. */
	UP_INJECT(wg_last);
	up_guard(&g->guard);
	if (!UP_MUT(wg_last_unguarded))
		was = take_one(g);
	if (was == 1)
		up_waitq_wake_all(up_sync_queue(&g->waiters), &k);
	up_unguard(&g->guard, &k);
	return was ? 0 : -EINVAL; /* others may have been faster */
}

static int wait(struct upcall_wg *g, uint64_t until)
{
	struct up_waiter w;
	int r;

	if (!g)
		return -EINVAL;
	r = up_wait_begin(&w, UP_WAIT_WG, g);
	if (r)
		return up_load_acquire(&g->nr) ? r : 0;
	up_guard(&g->guard);
	if (!up_load_acquire(&g->nr)) { /* pairs with upcall_wg_done() */
		up_unguard(&g->guard, NULL);
		return 0;
	}
	return up_sync_wait(&w, &g->guard, up_sync_queue(&g->waiters), until);
}

static int over(struct upcall_wg *g, int r)
{
	if (!r)
		up_san_acquire(g);
	return r;
}

int upcall_wg_wait(struct upcall_wg *g)
{
	return up_sync_end(over(g, wait(g, UP_FOREVER)));
}

int upcall_wg_wait_until(struct upcall_wg *g, uint64_t until)
{
	return up_sync_end(over(g, wait(g, until)));
}
