/* SPDX-License-Identifier: MIT */
/*
 * Waiting for another's end with a deadline.  The claim on it comes first, so that it is not freed; then
 * its end is watched, which it tells before it gives the claim its due: a watcher that leaves meanwhile
 * waits those few instructions for it.
 */
#include "sync/sync.h"

/* 0: it has ended, or is about to say so; w is to stay until it has. */
static int watch(struct up_uthread *u, struct up_waiter *w, uint64_t until)
{
	struct up_waiter *was = NULL;
	int r = up_wait_begin(w, UP_WAIT_JOIN, u);

	if (r)
		return r;
	/* acq_rel: pairs with up_wait_watched() */
	if (!up_cas_acq_rel(&u->wait.watcher, &was, w))
		return 0;
	UP_INJECT(join_watches);
	r = up_wait(w, until);
	was = w;
	if (!r || up_cas_acq_rel(&u->wait.watcher, &was, (struct up_waiter *)NULL))
		return r;
	return 0; /* it looks at w right now: our joining waits for it */
}

int upcall_uthread_join_until(struct upcall_uthread *w, void **ret_value, uint64_t until)
{
	struct up_uthread *u = (struct up_uthread *)w, *self = up_self();
	struct up_waiter watcher;
	bool ended;
	int r;

	if (!u)
		return -EINVAL;
	if (!self)
		return -EPERM;
	if (u == self)
		return -EDEADLK;
	r = up_join_begin(u, &ended);
	if (r)
		return r;
	if (!ended) {
		r = watch(u, &watcher, until);
		if (r && up_join_abandon(u))
			return up_sync_end(r);
	}
	up_join_end(u, ended, ret_value);
	return 0;
}
