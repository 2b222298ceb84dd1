/* SPDX-License-Identifier: MIT */
/*
 * Waiting: see wait.h.  The word of a wait goes from OPEN to one result, once.  It says besides
 * whether the waiter is parked: whoever ends the wait of one that is not yet has nothing to do, since
 * that one looks again, in vcore context, before it parks.
 */
#include "user/wait.h"

#include <errno.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/inject.h"
#include "base/mutant.h"
#include "base/sanitize.h"
#include "user/uthread.h"

static enum up_wait_result result_of(uint32_t word)
{
	return (enum up_wait_result)(word >> UP_W_RESULT_SHIFT & 7);
}

int up_wait_begin(struct up_waiter *w, enum up_wait_kind kind, const void *obj)
{
	struct up_uthread *u = up_self();

	w->queued = false;
	w->timed = false;
	w->u = u;
	if (!u) {
		if (up_rt.started && up_on_act())
			return -EPERM;
		w->word = &w->own;
		w->own = w->open = UP_W_SEQ;
		return 0;
	}
	w->word = &u->wait.word;
	/* A number of its own, so that nobody takes this wait for an earlier one. */
	w->open = (u->wait.word & ~(uint32_t)(UP_W_SEQ - 1)) + UP_W_SEQ;
	if (!u->wait.cancel_off)
		w->open |= UP_W_CANCELLABLE;
	u->wait.kind = kind;
	u->wait.obj = obj;
	/* seq_cst: before the look at `cancel` in up_wait(); pairs with upcall_uthread_cancel() */
	up_store_seq_cst(&u->wait.word, w->open);
	return 0;
}

/* From open to `result`; the word as it was, or result_of() it is not OPEN. */
static uint32_t end_wait(uint32_t *word, enum up_wait_result result)
{
	uint32_t was = up_load_relaxed(word);

	/* acq_rel: who comes second sees what the first has done; pairs with itself and park() */
	while (result_of(was) == UP_W_OPEN || UP_MUT(wait_claim_unchecked))
		if (up_cas_acq_rel(word, &was,
				   (was & ~(uint32_t)UP_W_PARKED) | (uint32_t)result
									    << UP_W_RESULT_SHIFT))
			break;
	return was;
}

/* ---- the waiter's side ---- */

static struct up_uthread *timed_out(struct up_alarm *a)
{
	struct up_waiter *w = up_list_entry(a, struct up_waiter, alarm);
	struct up_uthread *u = w->u;
	uint32_t was = end_wait(w->word, UP_W_TIMEDOUT);

	return result_of(was) == UP_W_OPEN && (was & UP_W_PARKED) ? u : NULL;
}

/* Off the stack, in vcore context or on the next one's.  From the exchange that parks it on it is its waker's. */
static void park(struct upcall_uthread *self, void *arg)
{
	struct up_uthread *u = (struct up_uthread *)self;
	struct up_waiter *w = arg;
	uint32_t was;

	u->state = UP_U_ASIDE;
	u->resched = false;
	if (w->until != UP_FOREVER) {
		w->timed = true;
		w->alarm.due = timed_out;
		up_alarm_set(&w->alarm, up_vcore_here(), w->until);
	}
	UP_INJECT(wait_parks);
	was = up_load_relaxed(&u->wait.word);
	do {
		if (result_of(was) >= UP_W_WOKEN && !UP_MUT(wait_parks_unchecked)) {
			up_go_on(u);
			return;
		}
		/* acq_rel: pairs with end_wait() and up_wait_give() */
	} while (!up_cas_acq_rel(&u->wait.word, &was, was | UP_W_PARKED));
}

static void wait_on_vcore(struct up_waiter *w)
{
	/* acquire: what the waker has handed over */
	if (result_of(up_load_acquire(w->word)) <= UP_W_TAKEN)
		up_leave(w->u, park, w);
	if (w->timed && !UP_MUT(wait_alarm_left))
		up_alarm_stop(&w->alarm);
}

static void wait_in_linux(struct up_waiter *w)
{
	uint32_t was = up_load_acquire(w->word), parked;

	while (result_of(was) <= UP_W_TAKEN) {
		parked = was | UP_W_PARKED;
		if (was != parked && !up_cas_acq_rel(w->word, &was, parked))
			continue;
		if (up_futex_wait_private(w->word, parked, w->until) == -ETIMEDOUT)
			end_wait(w->word, UP_W_TIMEDOUT);
		was = up_load_acquire(w->word);
	}
}

int up_wait(struct up_waiter *w, uint64_t until)
{
	w->until = until;
	UP_INJECT(wait_queued);
	/* seq_cst order with the word: see up_wait_begin() */
	if (w->u && (w->open & UP_W_CANCELLABLE) && up_load_seq_cst(&w->u->wait.cancel) &&
	    !UP_MUT(cancel_asked_overlooked))
		end_wait(w->word, UP_W_CANCELLED);
	else if (until != UP_FOREVER && up_now_ns() >= until)
		end_wait(w->word, UP_W_TIMEDOUT);
	if (w->u)
		wait_on_vcore(w);
	else
		wait_in_linux(w);
	UP_INJECT(wait_over);
	/* acquire: pairs with whoever ended it */
	switch (result_of(up_load_acquire(w->word))) {
	case UP_W_TIMEDOUT:
		return -ETIMEDOUT;
	case UP_W_CANCELLED:
		return -ECANCELED;
	default:
		return 0;
	}
}

/* ---- the waker's side ---- */

static void add_wake(struct up_wakes *k, struct up_uthread *u)
{
	u->next = NULL;
	if (k->last)
		k->last->next = u;
	else
		k->first = u;
	k->last = u;
}

static void parked_wake(uint32_t *word, struct up_uthread *u, struct up_wakes *k)
{
	if (u)
		add_wake(k, u);
	else /* its frame may be gone: then there is nobody to be woken there */
		up_futex_wake_private(word, 1);
}

bool up_wait_wake(struct up_waiter *w, struct up_wakes *k)
{
	struct up_uthread *u = w->u;
	uint32_t *word = w->word, was = end_wait(word, UP_W_WOKEN);

	if (result_of(was) != UP_W_OPEN && !UP_MUT(wake_given_to_leaver))
		return false;
	if (was & UP_W_PARKED)
		parked_wake(word, u, k);
	return true;
}

bool up_wait_take(struct up_waiter *w)
{
	uint32_t was = up_load_relaxed(w->word);

	do
		if (result_of(was) != UP_W_OPEN)
			return false;
	/* acquire: pairs with up_wait_begin(): the node is whole */
	while (!up_cas_acq_rel(w->word, &was, was | (uint32_t)UP_W_TAKEN << UP_W_RESULT_SHIFT));
	return true;
}

void up_wait_give(struct up_waiter *w, struct up_wakes *k)
{
	struct up_uthread *u = w->u;
	uint32_t *word = w->word;
	uint32_t over = (w->open & ~(uint32_t)UP_W_PARKED) | (uint32_t)UP_W_WOKEN
								     << UP_W_RESULT_SHIFT;
	/* acq_rel: what is handed over is there; only the waiter's parking can come between */
	uint32_t was = up_xchg_acq_rel(word, over);

	if (was & UP_W_PARKED)
		parked_wake(word, u, k);
}

void up_wakes_run(struct up_wakes *k)
{
	up_ready_list(k->first);
	k->first = k->last = NULL;
}

/* ---- guards and queues ---- */

void up_guard(uint32_t *lock)
{
	up_preempt_disable();
	up_lock_take((struct up_lock *)lock);
	up_san_acquire(lock);
}

void up_unguard(uint32_t *lock, struct up_wakes *k)
{
	up_san_release(lock); /* for those who are woken below, too: see up_wait() */
	up_lock_drop((struct up_lock *)lock);
	if (k && k->first)
		up_wakes_run(k);
	up_preempt_enable();
}

void up_waitq_push(struct up_waitq *q, struct up_waiter *w)
{
	w->queued = true;
	if (!q->first) {
		q->first = w->next = w->prev = w;
		return;
	}
	w->next = q->first;
	w->prev = q->first->prev;
	w->prev->next = w;
	q->first->prev = w;
}

void up_waitq_push_front(struct up_waitq *q, struct up_waiter *w)
{
	up_waitq_push(q, w);
	q->first = w;
}

void up_waitq_remove(struct up_waitq *q, struct up_waiter *w)
{
	if (!w->queued)
		return;
	w->queued = false;
	if (w->next == w) {
		q->first = NULL;
		return;
	}
	w->prev->next = w->next;
	w->next->prev = w->prev;
	if (q->first == w)
		q->first = w->next;
}

struct up_waiter *up_waitq_pop(struct up_waitq *q)
{
	struct up_waiter *w = q->first;

	if (w)
		up_waitq_remove(q, w);
	return w;
}

bool up_waitq_wake(struct up_waitq *q, struct up_wakes *k)
{
	struct up_waiter *w;

	while ((w = up_waitq_pop(q)))
		if (up_wait_wake(w, k))
			return true;
	return false;
}

void up_waitq_wake_all(struct up_waitq *q, struct up_wakes *k)
{
	while (up_waitq_wake(q, k))
		;
}

/* ---- the end of another ---- */

void up_wait_watched(struct up_uthread *u)
{
	struct up_wakes k = { 0 };
	struct up_waiter *w = up_xchg_acq_rel(&u->wait.watcher, UP_WATCH_OVER);

	/* It waits for this to be over before it goes: see upcall_uthread_join_until() */
	if (w && w != UP_WATCH_OVER && up_wait_wake(w, &k))
		up_wakes_run(&k);
}
