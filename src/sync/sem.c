/* SPDX-License-Identifier: MIT */
/*
 * The semaphore.  What is given goes to the first that waits, directly: the value is above 0 only while
 * nobody does.
 */
#include "sync/sync.h"

int upcall_sem_init(struct upcall_sem *s, uint32_t value)
{
	if (!s)
		return -EINVAL;
	*s = (struct upcall_sem){ .value = value };
	return 0;
}

static bool take(struct upcall_sem *s)
{
	uint32_t was = up_load_relaxed(&s->value);

	while (was)
		/* acquire: pairs with give()'s release */
		if (up_cas_acq_rel(&s->value, &was, was - 1)) {
			up_san_acquire(s);
			return true;
		}
	return false;
}

static int wait(struct upcall_sem *s, uint64_t until)
{
	struct up_waiter w;
	int r;

	if (!s)
		return -EINVAL;
	if (take(s))
		return 0;
	r = up_wait_begin(&w, UP_WAIT_SEM, s);
	if (r)
		return r;
	up_guard(&s->guard);
	if (take(s) && !UP_MUT(sem_not_looked_again)) {
		up_unguard(&s->guard, NULL);
		return 0;
	}
	return up_sync_wait(&w, &s->guard, up_sync_queue(&s->waiters), until);
}

int upcall_sem_wait(struct upcall_sem *s)
{
	return up_sync_end(wait(s, UP_FOREVER));
}

int upcall_sem_wait_until(struct upcall_sem *s, uint64_t until)
{
	return up_sync_end(wait(s, until));
}

int upcall_sem_trywait(struct upcall_sem *s)
{
	if (!s)
		return -EINVAL;
	return take(s) ? 0 : -EAGAIN;
}

int upcall_sem_post(struct upcall_sem *s)
{
	struct up_wakes k = { 0 };
	int r = 0;

	if (!s)
		return -EINVAL;
	up_san_release(s);
	up_guard(&s->guard);
	if (!up_waitq_wake(up_sync_queue(&s->waiters), &k)) {
		if (up_load_relaxed(&s->value) == UINT32_MAX)
			r = -EOVERFLOW;
		else
			up_fetch_add_release(&s->value, 1);
	}
	up_unguard(&s->guard, &k);
	return r;
}
