/* SPDX-License-Identifier: MIT */
/*
 * A deadlock of everything: every uthread waits for another, so that nothing inside the process can
 * end any of the waits.  Looked for by the last vcore when it has run out of work, and said once, to
 * a function of the program's; what each waits for, upcall_dump() tells.
 *
 * Not called one: somebody sleeps until a moment, waits for a descriptor, is in a call of Linux'
 * (sigwait() and its like are such calls), or waits by upcall_block(), whose waker we do not know.  What
 * cannot be known either is whether another thread of the process, a handler of a signal, or one of an
 * event means to wake somebody.
 */
#include <errno.h>

#include "base/atomic.h"
#include "base/lock.h"
#include "base/mutant.h"
#include "user/uthread.h"

static struct {
	void (*fn)(void *arg); /* atomic; the program's */
	void *arg;
	uint64_t told; /* last vcore: switches when it was said last; UINT64_MAX: never */
} hook;

int upcall_set_deadlock_hook(void (*fn)(void *arg), void *arg)
{
	up_store_release(&hook.fn, (void (*)(void *))NULL);
	hook.arg = arg;
	hook.told = UINT64_MAX;
	up_store_release(&hook.fn, fn); /* pairs with up_deadlock_told() */
	return 0;
}

static bool waits_inside(const struct up_uthread *u)
{
	return !u->live || up_load_relaxed(&u->state) == UP_U_DONE ||
	       (up_load_relaxed(&u->state) == UP_U_ASIDE && u->wait.kind != UP_WAIT_NONE &&
		u->wait.kind < UP_WAIT_SLEEP);
}

static bool all_wait(void)
{
	struct up_list *l;
	bool all = true;

	if (!up_lock_try(&up_rt.all_lock))
		return false; /* somebody makes or ends one */
	up_list_for_each (l, &up_rt.all)
		if (!waits_inside(up_list_entry(l, struct up_uthread, all))) {
			all = false;
			break;
		}
	up_lock_drop(&up_rt.all_lock);
	return all;
}

/* They have run since if this has changed. */
static uint64_t switches(void)
{
	uint64_t nr = 0;
	uint32_t v;

	for (v = 0; v < up_rt.max_vcores; v++)
		nr += up_load_relaxed(&up_rt.vcores[v].stats->switches);
	return nr;
}

bool up_deadlock_told(void)
{
	/* acquire: pairs with the setter: arg is set */
	void (*fn)(void *) = up_load_acquire(&hook.fn);
	const struct upabi_procinfo *info = up_rt.port->info;
	struct up_act *a = up_act_self_vc();
	uint64_t now;

	if (!fn || up_rt.stopping || up_load_acquire(&info->num_vcores) > 1 ||
	    up_load_acquire(&info->blocked) ||
	    (up_alarm_any() && !UP_MUT(deadlock_forgets_alarms)) || !all_wait())
		return false;
	now = switches();
	if (now == hook.told)
		return false;
	hook.told = now;
	if (a->masked)
		up_act_unmask(a);
	up_store_relaxed(&a->freezable, 1); /* the program's own code, as in event.c */
	fn(hook.arg);
	up_store_relaxed(&a->freezable, 0);
	return true;
}
