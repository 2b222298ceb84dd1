/* SPDX-License-Identifier: MIT */
/*
 * Cancellation: a uthread is asked to end, and does so where it would wait, or asks whether it is to:
 * never in the middle of anything, never inside Linux.  And the clean-up that it leaves for its end.
 */
#include <errno.h>

#include "base/atomic.h"
#include "base/inject.h"
#include "base/mutant.h"
#include "user/uthread.h"

bool up_cancel_due(const struct up_uthread *u)
{
	return up_load_acquire(&u->wait.cancel) && !u->wait.cancel_off;
}

void up_cancel_act(void)
{
	struct up_uthread *u = up_self();

	if (u && up_cancel_due(u))
		upcall_uthread_exit(UPCALL_CANCELED);
}

void upcall_testcancel(void)
{
	up_cancel_act();
}

/* Only while it waits and may be woken for this does its word change; else it finds out by itself. */
static void wake_cancelled(struct up_uthread *u)
{
	/* seq_cst: after `cancel` was set; pairs with up_wait_begin() and up_wait() */
	uint32_t was = up_load_seq_cst(&u->wait.word);

	while (!(was >> UP_W_RESULT_SHIFT & 7) && (was & UP_W_CANCELLABLE)) {
		UP_INJECT(cancel_claims);
		if (!up_cas_acq_rel(&u->wait.word, &was,
				    (was & ~(uint32_t)UP_W_PARKED) | (uint32_t)UP_W_CANCELLED
									     << UP_W_RESULT_SHIFT))
			continue;
		if (was & UP_W_PARKED) {
			up_preempt_disable();
			up_ready(u, UPCALL_WOKEN);
			up_preempt_enable();
		}
		return;
	}
}

int upcall_uthread_cancel(struct upcall_uthread *w)
{
	struct up_uthread *u = (struct up_uthread *)w;

	if (!u)
		return -EINVAL;
	if (!up_rt.started)
		return -ENOTCONN;
	if (up_load_acquire(&u->state) == UP_U_DONE)
		return -ESRCH;
	up_store_seq_cst(&u->wait.cancel, 1);
	if (!UP_MUT(cancel_wakes_nobody))
		wake_cancelled(u);
	return 0;
}

int upcall_cancel_disable(void)
{
	struct up_uthread *u = up_self();

	if (!u)
		return -EPERM;
	u->wait.cancel_off++;
	return 0;
}

int upcall_cancel_enable(void)
{
	struct up_uthread *u = up_self();

	if (!u)
		return -EPERM;
	if (!u->wait.cancel_off)
		return -EINVAL;
	u->wait.cancel_off--;
	return 0;
}

/* ---- clean-up ---- */

int upcall_cleanup_push(struct upcall_cleanup *c, void (*fn)(void *), void *arg)
{
	struct up_uthread *u = up_self();

	if (!c || !fn)
		return -EINVAL;
	if (!u)
		return -EPERM;
	c->fn = fn;
	c->arg = arg;
	c->next = u->wait.cleanups;
	u->wait.cleanups = c;
	return 0;
}

int upcall_cleanup_pop(int run)
{
	struct up_uthread *u = up_self();
	struct upcall_cleanup *c;

	if (!u)
		return -EPERM;
	c = u->wait.cleanups;
	if (!c)
		return -EINVAL;
	u->wait.cleanups = c->next;
	if (run)
		c->fn(c->arg);
	return 0;
}

/* No second end on the way to the first. */
void up_exit_cleanup(struct up_uthread *u)
{
	u->wait.cancel_off++;
	while (u->wait.cleanups && !UP_MUT(cleanups_left))
		upcall_cleanup_pop(1);
	if (u->wait.locals)
		up_local_end(u, true);
}
