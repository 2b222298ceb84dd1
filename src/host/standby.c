/* SPDX-License-Identifier: MIT */
/*
 * Standing by ready to run: an activation that has just come back from a block, and is to replace
 * the next one that blocks on its vcore, does not sleep until it is wanted but yields its core.  When
 * the vcore's activation leaves the processor Linux puts this one on at once, ahead of the watcher; it
 * looks, and takes the vcore over itself: no thread is woken on the way from a block to the next
 * uthread.
 *
 * Linux gives it turns that it has no use for, too: when the slice of who runs the vcore is over, and
 * many more before 6.18, where a yield does not give up what one is owed.  After a few in a row it
 * sleeps, and the next block is the watcher's to find; for a while then nobody stands by like this.  So
 * the cost stays below a hundredth of the core on any kernel.
 */
#include "base/atomic.h"
#include "base/clock.h"
#include "base/inject.h"
#include "base/mutant.h"
#include "base/syscall.h"
#include "host/act.h"
#include "host/task.h"

#define VAIN_TURNS 64 /* 1 us each; they make up for 200 us of the core each */
#define REST_NS	   (10 * UP_NSEC_PER_MSEC)
/* Sooner than that after our last turn no slice was over: who ran has blocked. */
#define SOON_NS (UP_SLICE_ACT / 2)

static bool rests(const struct up_watch *w)
{
	uint64_t until = up_load_relaxed(&w->rest_ns);

	return until && up_now_ns() < until;
}

/* On the core where the vcore is online: nowhere else is a turn of any use. */
static bool is_at(const struct up_act *a, uint32_t v)
{
	const struct up_watch *w = &up_host.watch[v];

	return v < up_host.max_vcores && a->pcore != UPABI_NONE &&
	       up_load_relaxed(&w->pcore) == a->pcore && up_load_relaxed(&w->online) && !rests(w);
}

bool up_standby_is_ready(uint32_t v)
{
	struct up_act *a = up_act_get(up_load_relaxed(&up_host.port->vmap[v].standby));

	return a && up_load_relaxed(&a->ready);
}

bool up_standby_offers(const struct up_act *a)
{
	return is_at(a, a->vcore) && !up_standby_is_ready(a->vcore);
}

/* The vcore that it stands by for, UPABI_NONE when it is to sleep. */
static uint32_t standing_for(const struct up_act *a)
{
	/* relaxed: a moment old at worst, and whoever is told though it stands by no more takes over */
	uint32_t v = up_load_relaxed(&up_host.port->amap[a->num].vcore);

	if (!is_at(a, v) || up_load_relaxed(&up_host.port->vmap[v].standby) != a->num)
		return UPABI_NONE;
	/* Somebody may have moved us: no turn there says anything of our core. */
	return up_home_cpu(a->own_fs) == a->pcore ? v : UPABI_NONE;
}

/* May it have another turn?  Many in vain are a sign that Linux gives them too freely. */
static bool is_patient(struct up_watch *w, uint64_t now)
{
	uint32_t vain = up_load_relaxed(&w->vain) + 1;

	if (vain < VAIN_TURNS || UP_MUT(standby_never_rests)) {
		up_store_relaxed(&w->vain, vain);
		return true;
	}
	up_store_relaxed(&w->vain, 0);
	up_store_relaxed(&w->rest_ns, now + REST_NS);
	return false;
}

/*
 * Who has blocked may have had a little more of the core than we had.  Linux remembers that when a look
 * takes it off its queue, and does not let it in at once when it wakes; so we give up our own turn first,
 * for those whom it matters to.
 */
static void make_even(uint32_t v)
{
	const struct up_act *a = up_act_get(up_load_relaxed(&up_host.port->vmap[v].act));

	if (a && up_host.has_slices && up_host.hooks.outranks(a))
		up_syscall0(SYS_sched_yield);
}

/* One look.  Had we the core all the time since the last, then nobody else has run, and it stands. */
static int look(struct up_act *a, uint32_t v, uint64_t now)
{
	bool was = up_load_relaxed(&a->ready);

	up_store_relaxed(&a->ready, 1);
	if (was && up_home_kept_core())
		return 0;
	if (was)
		make_even(v);
	UP_INJECT(standby_turn);
	return up_watch_look(v, was && now - a->turn_ns < SOON_NS ? UP_FROM_IDLE : UP_FROM_CORE);
}

bool up_standby_turn(struct up_act *a)
{
	uint32_t v = standing_for(a);
	uint64_t now = up_now_ns();

	if (v != UPABI_NONE && look(a, v, now) == 1) {
		up_store_relaxed(&up_host.watch[v].vain, 0);
		return true;
	}
	if (v == UPABI_NONE || !is_patient(&up_host.watch[v], now)) {
		up_store_relaxed(&a->ready, 0);
		return false;
	}
	a->turn_ns = now;
	up_home_keep_core();
	up_syscall0(SYS_sched_yield);
	return true;
}
