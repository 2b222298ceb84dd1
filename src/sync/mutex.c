/* SPDX-License-Identifier: MIT */
/*
 * The mutex.  Whoever finds it free takes it, also before others that wait: a queue whose every member
 * must have its turn on a vcore before the next can go on would make all as slow as the switches.  One
 * that has been woken and finds it taken again goes back to the head of the queue, and after a few such
 * times it is handed the mutex while that is still held; so the head is passed over for a bounded
 * number of times, and everybody becomes the head.
 *
 * At most one is awake to compete (WOKEN): unlocking meanwhile wakes nobody, and costs one
 * compare-and-swap.
 */
#include "sync/sync.h"

#define HELD  1u
#define WAITS 2u /* somebody is queued */
#define WOKEN 4u /* one has been woken, and has not looked yet */

/* Passed over so often, it is handed over: rarely, for until the next one runs nobody gets on. */
#define PATIENCE 8
/* Pauses between two looks at one that runs elsewhere, twice as many each time: each look takes the line
 * away from the holder, and who finds it free too soon takes it over for a few sections only.  One that
 * has been passed over looks later still. */
#define SPIN_FIRST 8
#define SPIN_AGAIN 32
#define SPIN_LAST  128

static void own(struct upcall_mutex *m)
{
	/* relaxed: a hint; exact for the one who wrote it */
	up_store_relaxed(&m->owner, up_sync_me());
}

/* From any state in which nobody holds it; `drop` bits go. */
static bool try_hold(struct upcall_mutex *m, uint32_t drop)
{
	uint32_t was = up_load_relaxed(&m->word);

	while (!(was & HELD) || UP_MUT(mutex_taken_held))
		/* acquire: pairs with the release of whoever unlocked */
		if (up_cas_acquire(&m->word, &was, (was & ~drop) | HELD)) {
			own(m);
			return true;
		}
	return false;
}

/* Does the uthread with this thread pointer run on another vcore?  *at: a guess, then where it was found.
 * Uthreads that share TLS are told by their vcore, so that one that is off another vcore may seem to run. */
static bool runs_elsewhere(uintptr_t owner, uint32_t *at)
{
	uint32_t i, v;

	if (!up_rt.started || up_load_relaxed(&up_rt.port->info->num_vcores) < 2)
		return false;
	if (owner == UP_OWNER_HANDED || owner == up_sync_me())
		return false;
	if (!owner)
		return true; /* about to say who it is */
	for (i = 0; i < up_rt.max_vcores; i++) {
		v = (*at + i) % up_rt.max_vcores;
		if (up_load_relaxed(&up_rt.vcores[v].fs) == owner) {
			*at = v;
			return true;
		}
	}
	return false;
}

/* Bounded, and only while the holder can come to the end of its section meanwhile. */
static bool spin(struct upcall_mutex *m, unsigned pauses, uint32_t drop)
{
	uint32_t at = 0;
	unsigned i;

	for (; pauses <= SPIN_LAST; pauses *= 2) {
		if (!runs_elsewhere(up_load_relaxed(&m->owner), &at))
			return false;
		for (i = 0; i < pauses; i++)
			up_cpu_relax();
		if (!(up_load_relaxed(&m->word) & HELD) && try_hold(m, drop))
			return true;
	}
	return false;
}

/* Guard held: that somebody waits is seen by whoever unlocks.  True: it was free, and is ours. */
static bool hold_or_wait(struct upcall_mutex *m, uint32_t drop)
{
	uint32_t was = up_load_relaxed(&m->word);

	for (;;) {
		if (!(was & HELD)) {
			if (try_hold(m, drop))
				return true;
			was = up_load_relaxed(&m->word);
		} else if (up_cas_acq_rel(&m->word, &was, (was & ~drop) | WAITS)) {
			return false;
		}
	}
}

/* Guard held, nobody queued any more: unlocking is nobody's business again. */
static void none_waits(struct upcall_mutex *m)
{
	if (!m->waiters)
		up_fetch_and_acq_rel(&m->word, ~WAITS);
}

/* One turn in the queue.  1: woken, to compete; 0: it is ours. */
static int queue(struct upcall_mutex *m, struct up_waiter *w, uint64_t until, bool again)
{
	struct up_waitq *q = up_sync_queue(&m->waiters);
	int r = up_wait_begin(w, UP_WAIT_MUTEX, m);

	if (r)
		return r;
	w->data = NULL;
	UP_INJECT(mutex_queues);
	up_guard(&m->guard);
	if (hold_or_wait(m, again ? WOKEN : 0)) {
		none_waits(m);
		up_unguard(&m->guard, NULL);
		return 0;
	}
	if (again)
		up_waitq_push_front(q, w);
	else
		up_waitq_push(q, w);
	up_unguard(&m->guard, NULL);
	r = up_wait(w, until);
	if (!r) {
		if (!w->data)
			return 1;
		own(m);
		return 0;
	}
	up_guard(&m->guard);
	up_waitq_remove(q, w);
	none_waits(m);
	up_unguard(&m->guard, NULL);
	return r;
}

static int lock_slowly(struct upcall_mutex *m, uint64_t until)
{
	struct up_waiter w;
	int r;

	if (up_sync_is_me(up_load_relaxed(&m->owner)))
		return -EDEADLK;
	if (spin(m, SPIN_FIRST, 0))
		return 0;
	w.tag = 0;
	r = queue(m, &w, until, false);
	while (r == 1) {
		w.tag++;
		r = try_hold(m, WOKEN) || spin(m, SPIN_AGAIN, WOKEN) ? 0
								     : queue(m, &w, until, true);
	}
	return r;
}

static int lock(struct upcall_mutex *m, uint64_t until)
{
	int r;

	if (!m)
		return -EINVAL;
	r = try_hold(m, 0) ? 0 : lock_slowly(m, until);
	if (!r)
		up_san_acquire(m);
	return r;
}

int upcall_mutex_lock(struct upcall_mutex *m)
{
	return up_sync_end(lock(m, UP_FOREVER));
}

int upcall_mutex_lock_until(struct upcall_mutex *m, uint64_t until)
{
	return up_sync_end(lock(m, until));
}

int upcall_mutex_trylock(struct upcall_mutex *m)
{
	if (!m)
		return -EINVAL;
	if (!try_hold(m, 0))
		return -EBUSY;
	up_san_acquire(m);
	return 0;
}

int up_mutex_lock_uncancelled(struct upcall_mutex *m)
{
	struct up_uthread *u = up_self();
	int r;

	if (u)
		u->wait.cancel_off++;
	r = lock(m, UP_FOREVER);
	if (u)
		u->wait.cancel_off--;
	return r;
}

/* ---- unlocking ---- */

/* Guard held, the caller's until now: to the next, in whichever way. */
static void pass_on(struct upcall_mutex *m, struct up_wakes *k)
{
	struct up_waitq *q = up_sync_queue(&m->waiters);
	struct up_waiter *w;

	while ((w = up_waitq_pop(q))) {
		if (!up_wait_take(w) && !UP_MUT(mutex_wakes_leaver))
			continue;
		none_waits(m);
		if (w->tag >= PATIENCE && !UP_MUT(mutex_starves)) {
			w->data = m; /* held on, by w */
			up_store_relaxed(&m->owner, UP_OWNER_HANDED);
		} else {
			/* release: the section's writes, for whoever holds it next.  Nobody but
			 * the holder says WOKEN, and nobody has. */
			up_fetch_add_release(&m->word, WOKEN - HELD);
		}
		up_wait_give(w, k);
		return;
	}
	none_waits(m);
	up_fetch_and_release(&m->word, ~HELD);
}

int upcall_mutex_unlock(struct upcall_mutex *m)
{
	struct up_wakes k = { 0 };
	uint32_t was;

	if (!m)
		return -EINVAL;
	was = up_load_relaxed(&m->word);
	if (!(was & HELD))
		return -EPERM;
	up_san_release(m);
	up_store_relaxed(&m->owner, (uintptr_t)0);
	/* release: pairs with try_hold(); one who is awake looks by itself */
	while (!(was & WAITS) || (was & WOKEN) || UP_MUT(mutex_waiter_forgotten))
		if (up_cas_release(&m->word, &was, was & ~HELD))
			return 0;
	UP_INJECT(mutex_passes_on);
	up_guard(&m->guard);
	pass_on(m, &k);
	up_unguard(&m->guard, &k);
	return 0;
}
