/* SPDX-License-Identifier: MIT */
/*
 * One activation in the place of another: the block is told to the kernel side before its end can be,
 * and one that is not replaced after all gets its vcore back, or is told so.  Nobody waits for a word
 * that does not come.
 */
#include <errno.h>

#include "base/atomic.h"
#include "base/futex.h"
#include "base/inject.h"
#include "base/mutant.h"
#include "host/act.h"
#include "host/task.h"

#define REPORT_TRIES 1000

/* up_act.reported */
enum {
	NOT_YET = 0,
	REPORTED = 1,
	AWAITED = 2,
	REFUSED = 3 /* the kernel side has not heard of the block, or would not */
};

/* Our replacement tells the kernel side of the block; we must not tell of its end before that.  False
 * when the block was not accepted. */
bool up_replace_wait(struct up_act *a)
{
	uint32_t was;

	/* acquire: pairs with tell_reported()'s exchange */
	while ((was = up_load_acquire(&a->reported)) != REPORTED && was != REFUSED)
		if (was == AWAITED || up_cas_relaxed(&a->reported, &was, AWAITED))
			up_futex_wait_private(&a->reported, AWAITED, UP_FUTEX_FOREVER);
	up_store_relaxed(&a->reported, NOT_YET);
	return was == REPORTED;
}

static void tell_reported(struct up_act *victim, bool accepted)
{
	/* release: pairs with up_replace_wait(); as a rule the victim still sleeps in its call, and
	 * the next uthread need not wait for a wake that nobody hears */
	if (up_xchg_acq_rel(&victim->reported, accepted ? REPORTED : REFUSED) == AWAITED)
		up_futex_wake_private(&victim->reported, 1);
}

/*
 * We do not step in after all.  Where the vcore is the victim's still it is as if nobody had: the next
 * look finds the victim asleep, and somebody else for it.  False: it has come back, and waits to be
 * told.
 */
static bool give_back(struct up_act *victim, uint32_t v)
{
	uint64_t run = up_load_acquire(&victim->gs.run);
	uint32_t class = up_load_relaxed(&victim->stolen_class);

	if (up_run_state(run) != UP_RUN_STOLEN || UP_MUT(refused_not_given_back) ||
	    up_load_acquire(&up_host.port->amap[victim->num].state) != UPABI_ACT_RUNNING ||
	    up_load_acquire(&up_host.port->vmap[v].act) != victim->num)
		return false;
	victim->stats->blocked[class]--; /* ours to count as long as it is replaced */
	/* acq_rel: the victim's exchange on its way out or this one comes first */
	if (up_cas_acq_rel(&victim->gs.run, &run,
			   run - UP_RUN_STOLEN + UP_RUN_SEQ + UP_RUN_UTHREAD)) {
		up_watch_arm(v);
		return true;
	}
	victim->stats->blocked[class]++;
	return false;
}

static int report_once(struct up_act *a, const uint64_t arg[5])
{
	if (UP_INJECT_FAIL(block_refused))
		return -EAGAIN;
	return up_port_call(up_host.port, a->num, UPABI_OP_BLOCKED, arg, NULL);
}

void up_replace_undo(struct up_act *victim, uint32_t v)
{
	if (!give_back(victim, v))
		tell_reported(victim, false);
}

static void set_slice(struct up_act *a, uint64_t ns)
{
	uint32_t us = ns == UP_SLICE_ACT ? 0 : (uint32_t)(ns / UP_NSEC_PER_USEC);

	if (a->odd_slice_us == us)
		return;
	a->odd_slice_us = us;
	up_task_slice(0, ns);
}

/* Its slice when it wakes is the shortest there is, and that of who has taken its place then a long one.
 * It asks before it sleeps: asking for one that sleeps takes it off Linux' queue where it still makes up
 * for what it has had too much of, and then Linux lets it in late.  This costs 1 us, and so is for those
 * alone whose turn cannot wait. */
void up_replace_urgent(struct up_act *a)
{
	if (up_host.has_slices && !UP_MUT(sleeper_slice_long))
		set_slice(a, UP_SLICE_SLEEPER);
}

/* By the one itself: what comes now is like any other. */
void up_replace_over(struct up_act *a)
{
	if (!UP_MUT(sleeper_slice_kept))
		set_slice(a, UP_SLICE_ACT);
}

/* The first thing a replacement does: it is on the vcore already, the kernel side hears of it. */
int up_replace_report(struct up_act *a, struct up_act *victim, uint32_t v)
{
	const struct upabi_actmap *m = &up_host.port->amap[victim->num];
	/* Its generation stays: it waits to be told before it can go. */
	uint64_t arg[5] = { v, victim->num, up_load_relaxed(&m->gen),
			    up_load_relaxed(&victim->stolen_class) };
	unsigned tries = 0;
	int r;

	UP_INJECT(report_block);
	/* Refused though the victim is the vcore's by the kernel side's own word: its start has not
	 * been collected yet.  Nobody else would bring the core back. */
	for (;;) {
		r = report_once(a, arg);
		if (r != -ESTALE || ++tries == REPORT_TRIES || UP_MUT(block_reported_once) ||
		    up_load_acquire(&m->state) != UPABI_ACT_RUNNING ||
		    up_load_acquire(&up_host.port->vmap[v].act) != victim->num)
			break;
		UP_INJECT(report_again);
	}
	if (!r && up_host.has_slices && up_host.hooks.outranks(victim))
		set_slice(a, UP_SLICE_BESIDE);
	if (!r || !give_back(victim, v))
		tell_reported(victim, r == 0);
	return r;
}

/* A slot's tenant, whom the kernel side may take to be gone. */
struct up_act *up_replace_victim(uint64_t told)
{
	/* acquire: pairs with act_register() */
	return up_load_acquire(&up_host.acts[told >> 32]);
}

/* It ends, though a stealer may have chosen it: nothing is left to run, but the victim is not to wait
 * for it.  From here on it is chosen by nobody. */
void up_replace_end(struct up_act *a)
{
	/* acquire: as in step() */
	uint64_t told = up_xchg_acq_rel(&a->takeover, UP_TAKEOVER_BUSY);

	if (told != UP_TAKEOVER_NONE && told != UP_TAKEOVER_BUSY && !UP_MUT(takeover_ends_unsaid))
		up_replace_undo(up_replace_victim(told), (uint32_t)told - 1);
}
