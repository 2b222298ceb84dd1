/* SPDX-License-Identifier: MIT */
/*
 * Giving cores back: one, all, all but the caller's own context; and changing what a core runs.
 * Nothing that lies in a vcore's ring is left behind by a yield, and a request that the yielding
 * vcore cannot have heard of sends it back for one more look.
 */
#include "kern/types.h"

/* The vcore that act runs, by its own word and ours. */
static struct up_vcore *own_vcore(struct up_proc *p, uint32_t act, uint64_t vcore)
{
	struct up_vcore *vc;

	if (act >= p->max_acts || vcore >= p->max_vcores)
		return NULL;
	vc = &p->vcores[vcore];
	return vc->online && vc->act == act ? vc : NULL;
}

static int yield_single(struct up_proc *p, uint32_t act, uint64_t nice, uint64_t now)
{
	struct up_vcore *vc = &p->vcores[p->s_vcore];

	if (nice) /* Linux shares out the single context's time, not we */
		return -ECANCELED;
	if (act >= p->max_acts || act != p->s_act)
		return -EPERM;
	if (p->nr_online) /* the vcores of its many-core days are still leaving */
		return -EAGAIN;
	up_eff_cancel(&vc->notify);
	vc->act = UPABI_NONE;
	if (up_event_left(p, p->s_vcore)) {
		vc->act = act;
		return -EAGAIN;
	}
	p->s_act = UPABI_NONE;
	up_proc_set_state(p, UPABI_WAITING);
	up_info_vcore(p, p->s_vcore);
	up_act_pool(p, act, now);
	return 0;
}

/* May this vcore go?  Offline first, then the look: a message posted before is found here, one
 * posted after goes elsewhere. */
static int may_yield(struct up_proc *p, struct up_vcore *vc, uint32_t vcore, bool nice)
{
	bool left;

	if (vc->taking)
		return -EAGAIN; /* condemned: it is too late to go by one's own will */
	if (nice && vc->why == UP_WHY_NONE)
		return -ECANCELED;
	if (!nice && vc->req_seen != p->req_gen && !UP_MUT(request_unheard)) {
		vc->req_seen = p->req_gen;
		return -EAGAIN;
	}
	up_bit_clear(p->online_map, vcore);
	left = up_event_left(p, vcore);
	up_bit_set(p->online_map, vcore);
	return left ? -EAGAIN : 0;
}

static void lower_wanted(struct up_proc *p)
{
	struct up_res *cores = &p->res[UPABI_RES_CORES];

	cores->wanted = UP_MIN(cores->wanted, (uint64_t)p->nr_online);
	if (cores->wanted || UP_MUT(wanted_below_zero))
		cores->wanted--;
}

int up_yield(struct up_proc *p, uint32_t act, const uint64_t *arg, uint64_t now)
{
	bool nice = arg[1] != 0, last;
	struct up_vcore *vc;
	int ret;

	if (p->state == UPABI_RUNNING_S)
		return yield_single(p, act, nice, now);
	vc = own_vcore(p, act, arg[0]);
	if (!vc)
		return arg[0] >= p->max_vcores ? -EINVAL : -ESTALE;
	if (p->state == UPABI_DYING) { /* all the better */
		up_preempt_finish(p, (uint32_t)arg[0], UP_TOOK_UTHREAD, now);
		return 0;
	}
	ret = may_yield(p, vc, (uint32_t)arg[0], nice);
	if (ret < 0)
		return ret;
	if (!nice)
		lower_wanted(p);
	last = p->nr_online == 1;
	UP_INJECT(kern_yield);
	p->hot = act;
	up_vcore_offline(p, (uint32_t)arg[0], now);
	up_act_pool(p, act, now);
	up_proc_lost_vcore(p, last && !nice, now);
	return 0;
}

static void take_others(struct up_proc *p, uint32_t but, uint64_t now)
{
	for (uint32_t v = 0; p->nr_online && v < p->max_vcores; v++)
		if (v != but && p->vcores[v].online)
			up_preempt_take(p, v, UP_WHY_STOP, now);
}

int up_yield_all(struct up_proc *p, uint32_t act, uint64_t now)
{
	struct up_vcore *vc;
	uint32_t vcore;

	if (p->state != UPABI_RUNNING_M || act >= p->max_acts ||
	    p->acts[act].state != UPABI_ACT_RUNNING)
		return -EPERM;
	vcore = p->acts[act].vcore;
	vc = own_vcore(p, act, vcore);
	if (!vc)
		return -ESTALE;
	if (vc->taking || up_event_left(p, vcore))
		return -EAGAIN;
	p->parking = true;
	p->woken = false;
	p->res[UPABI_RES_CORES].wanted = 0;
	take_others(p, vcore, now);
	up_vcore_offline(p, vcore, now);
	up_act_pool(p, act, now);
	up_proc_lost_vcore(p, true, now);
	return 0;
}

/* The caller goes on without a core of ours, as the single context; its number stays. */
int up_yield_to_s(struct up_proc *p, uint32_t act, uint64_t vcore, uint64_t now)
{
	struct up_vcore *vc = own_vcore(p, act, vcore);

	if (p->state != UPABI_RUNNING_M)
		return -EPERM;
	if (!vc)
		return vcore >= p->max_vcores ? -EINVAL : -ESTALE;
	if (vc->taking)
		return -EAGAIN;
	up_vcore_started(p, (uint32_t)vcore);
	up_vcore_offline(p, (uint32_t)vcore, now);
	p->s_vcore = (uint32_t)vcore;
	p->s_act = act;
	p->many = p->parking = false;
	p->res[UPABI_RES_CORES].wanted = 0;
	up_proc_set_state(p, UPABI_RUNNING_S);
	vc->act = act;
	vc->pcore = UPABI_NONE;
	up_info_vcore(p, (uint32_t)vcore);
	up_info_act(p, act);
	up_event_flush_kept(p, (uint32_t)vcore);
	take_others(p, (uint32_t)vcore, now);
	up_info_counts(p);
	return 0;
}

/* Who runs the target: whoever is frozen there, the caller if it does not stay bound, the pool. */
static uint32_t pick_for_change(struct up_proc *p, uint32_t act, uint32_t target, bool resume)
{
	uint32_t frozen = p->vcores[target].frozen;

	if (frozen != UPABI_NONE)
		return frozen;
	return resume ? up_act_pick(p, target, p->acts[act].pcore) : act;
}

/* The caller's vcore goes offline with all that is due to it; the core goes to the target. */
int up_change_to(struct up_proc *p, uint32_t act, const uint64_t *arg, uint64_t now)
{
	struct up_vcore *vc = own_vcore(p, act, arg[0]);
	uint32_t vcore = (uint32_t)arg[0], target = (uint32_t)arg[1], next, pcore;
	bool resume = arg[2] != 0;
	enum up_why why;
	uint64_t deadline;

	if (p->state != UPABI_RUNNING_M)
		return -EPERM;
	if (arg[0] >= p->max_vcores || arg[1] >= p->max_vcores || arg[0] == arg[1])
		return -EINVAL;
	if (!vc)
		return -ESTALE;
	if (vc->taking)
		return -EAGAIN;
	if (p->vcores[target].online)
		return -EBUSY;
	next = pick_for_change(p, act, target, resume);
	if (next == UPABI_NONE && vc->standby != UPABI_NONE)
		next = vc->standby; /* it would stand by for nobody */
	if (next == UPABI_NONE)
		return -ENOBUFS;
	if (p->kern->cores[vc->pcore].leaving)
		return -EAGAIN; /* condemned: this core takes nobody any more */
	pcore = vc->pcore;
	why = (enum up_why)vc->why;
	deadline = vc->deadline;
	up_vcore_offline(p, vcore, now);
	vc->preempted = true;
	if (resume) {
		vc->frozen = act;
		up_bit_set(p->frozen_map, vcore);
		up_act_set(p, act, UPABI_ACT_FROZEN);
	} else {
		up_act_set(p, act, UPABI_ACT_POOLED);
		up_act_relist(p, act);
	}
	up_info_vcore(p, vcore);
	up_vcore_start(p, target, pcore, next, now);
	if (why != UP_WHY_NONE)
		up_preempt_warn(p, target, why, deadline, true, now);
	up_act_fill(p, false);
	if (resume)
		up_event_tell(p, target, UPABI_EV_VCORE_PREEMPTED, vcore, 1, 0, now);
	else
		up_event_tell(p, target, UPABI_EV_CHECK_MSGS, vcore, 0, 0, now);
	return 0;
}
