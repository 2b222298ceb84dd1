/* SPDX-License-Identifier: MIT */
/*
 * What the files of this folder share: how a wait under a guard begins and ends.  See user/wait.h.
 */
#ifndef UP_SYNC_SYNC_H
#define UP_SYNC_SYNC_H

#ifndef UPCALL_NO_INLINE
#define UPCALL_NO_INLINE /* the functions themselves */
#endif
#include <errno.h>

#include "arch/arch.h"
#include "base/atomic.h"
#include "base/bits.h"
#include "base/inject.h"
#include "base/mutant.h"
#include "base/sanitize.h"
#include "user/uthread.h"
#include "user/wait.h"

/* The public structs keep a queue as a pointer. */
static inline struct up_waitq *up_sync_queue(void **waiters)
{
	return (struct up_waitq *)(void *)waiters;
}

/* By which an owner is told: unique among uthreads that have TLS of their own, and other threads. */
static inline uintptr_t up_sync_me(void)
{
	return up_tls_fs();
}

/* Is it the caller that is noted there?  False where nobody can tell. */
static inline bool up_sync_is_me(uintptr_t owner)
{
	struct up_uthread *u;

	if (owner != up_sync_me())
		return false;
	u = up_self();
	return !u || u->fs;
}

/* A wait in q, whose guard the caller holds and gives up: 0, or why it was over before, off the queue
 * then.  w has begun. */
static inline int up_sync_wait(struct up_waiter *w, uint32_t *guard, struct up_waitq *q,
			       uint64_t until)
{
	int r;

	up_waitq_push(q, w);
	up_unguard(guard, NULL);
	r = up_wait(w, until);
	up_san_acquire(guard);
	if (!r)
		return 0;
	up_guard(guard);
	if (!UP_MUT(leaver_left_queued))
		up_waitq_remove(q, w);
	up_unguard(guard, NULL);
	return r;
}

/* What a wait has come to; one that was cancelled does not come back. */
static inline int up_sync_end(int r)
{
	if (UP_UNLIKELY(r == -ECANCELED))
		up_cancel_act();
	return r;
}

/* mutex.c: for condition variables */
int up_mutex_lock_uncancelled(struct upcall_mutex *m);

#endif
