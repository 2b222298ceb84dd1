/* SPDX-License-Identifier: MIT */
/*
 * The read-write lock: in the order of arrival, neighbouring readers together.  It is handed over while
 * the guard is held, so that whoever is woken has it.
 */
#include "sync/sync.h"

enum {
	READS = 0,
	WRITES = 1
};

static bool is_free(const struct upcall_rwlock *l, uint32_t tag)
{
	return !l->writer && (tag == READS || !l->readers);
}

static void hold(struct upcall_rwlock *l, uint32_t tag)
{
	if (tag == READS)
		l->readers++;
	else
		l->writer = 1;
}

/* Guard held: as many from the head of the queue as there is room for. */
static void let_in(struct upcall_rwlock *l, struct up_wakes *k)
{
	struct up_waitq *q = up_sync_queue(&l->waiters);
	struct up_waiter *w;

	while ((w = q->first) && is_free(l, w->tag)) {
		up_waitq_remove(q, w);
		if (!up_wait_take(w))
			continue;
		hold(l, w->tag);
		up_wait_give(w, k);
		if (UP_MUT(rwlock_one_let_in))
			return;
	}
}

/* Guard held.  Nobody is overtaken. */
static bool try_hold(struct upcall_rwlock *l, uint32_t tag)
{
	if (!is_free(l, tag) || (l->waiters && !UP_MUT(rwlock_reader_overtakes)))
		return false;
	hold(l, tag);
	return true;
}

static int lock(struct upcall_rwlock *l, uint32_t tag, uint64_t until)
{
	struct up_wakes k = { 0 };
	struct up_waiter w;
	int r;

	if (!l)
		return -EINVAL;
	if (up_sync_is_me(up_load_relaxed(&l->owner)))
		return -EDEADLK;
	r = up_wait_begin(&w, tag == READS ? UP_WAIT_RDLOCK : UP_WAIT_WRLOCK, l);
	if (r)
		return r;
	up_guard(&l->guard);
	if (try_hold(l, tag)) {
		up_unguard(&l->guard, NULL);
	} else {
		w.tag = tag;
		r = up_sync_wait(&w, &l->guard, up_sync_queue(&l->waiters), until);
		if (r && !UP_MUT(rwlock_leaver_blocks)) {
			/* Those behind it may have waited for it alone. */
			up_guard(&l->guard);
			let_in(l, &k);
			up_unguard(&l->guard, &k);
		}
	}
	if (!r && tag == WRITES)
		up_store_relaxed(&l->owner, up_sync_me());
	return r;
}

static int try_lock(struct upcall_rwlock *l, uint32_t tag)
{
	bool got;

	if (!l)
		return -EINVAL;
	up_guard(&l->guard);
	got = try_hold(l, tag);
	if (got && tag == WRITES)
		up_store_relaxed(&l->owner, up_sync_me());
	up_unguard(&l->guard, NULL);
	return got ? 0 : -EBUSY;
}

int upcall_rwlock_rdlock(struct upcall_rwlock *l)
{
	return up_sync_end(lock(l, READS, UP_FOREVER));
}

int upcall_rwlock_rdlock_until(struct upcall_rwlock *l, uint64_t until)
{
	return up_sync_end(lock(l, READS, until));
}

int upcall_rwlock_tryrdlock(struct upcall_rwlock *l)
{
	return try_lock(l, READS);
}

int upcall_rwlock_wrlock(struct upcall_rwlock *l)
{
	return up_sync_end(lock(l, WRITES, UP_FOREVER));
}

int upcall_rwlock_wrlock_until(struct upcall_rwlock *l, uint64_t until)
{
	return up_sync_end(lock(l, WRITES, until));
}

int upcall_rwlock_trywrlock(struct upcall_rwlock *l)
{
	return try_lock(l, WRITES);
}

int upcall_rwlock_unlock(struct upcall_rwlock *l)
{
	struct up_wakes k = { 0 };
	int r = 0;

	if (!l)
		return -EINVAL;
	up_guard(&l->guard);
	if (l->writer) {
		l->writer = 0;
		up_store_relaxed(&l->owner, (uintptr_t)0);
	} else if (l->readers) {
		l->readers--;
	} else {
		r = -EPERM;
	}
	let_in(l, &k);
	up_unguard(&l->guard, &k);
	return r;
}
