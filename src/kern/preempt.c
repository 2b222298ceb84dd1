/* SPDX-License-Identifier: MIT */
/*
 * Taking a core back: a warning with a deadline, then the taking itself, then the news of it.
 * A vcore that was warned may leave by itself until the deadline; at the deadline it is taken,
 * whatever it does.  What has been sent and not done yet is visible as sent - done, so that a start
 * of the same vcore elsewhere cannot overtake it.
 */
#include "kern/types.h"

static uint64_t later(uint64_t now, uint64_t by)
{
	return now > UINT64_MAX - by ? UINT64_MAX : now + by;
}

/* An earlier deadline stands; so does a stronger reason. */
void up_preempt_warn(struct up_proc *p, uint32_t vcore, enum up_why why, uint64_t deadline,
		     bool tell, uint64_t now)
{
	struct up_vcore *vc = &p->vcores[vcore];

	if (!vc->online || vc->taking)
		return;
	if (why > vc->why)
		up_vcore_condemn(p, vcore, why);
	if (vc->deadline && vc->deadline <= deadline)
		return;
	vc->deadline = deadline;
	up_timer_set(p->kern, &vc->timer, deadline);
	up_info_vcore(p, vcore);
	up_policy_touch(p);
	if (tell)
		up_event_tell(p, vcore, UPABI_EV_PREEMPT_PENDING, vcore, deadline, 0, now);
}

/* The need is gone.  Only what the policy itself wanted, or a core that stays after all. */
void up_preempt_rescind(struct up_proc *p, uint32_t vcore)
{
	struct up_vcore *vc = &p->vcores[vcore];

	if (!vc->online || vc->taking)
		return;
	up_vcore_condemn(p, vcore, UP_WHY_NONE);
	vc->deadline = 0;
	up_timer_stop(p->kern, &vc->timer);
	up_info_vcore(p, vcore);
	up_policy_touch(p);
}

/* A start that the host has not seen yet: called off, and it never was. */
static void call_off(struct up_proc *p, uint32_t vcore, uint64_t now)
{
	struct up_vcore *vc = &p->vcores[vcore];

	up_preempt_finish(p, vcore, vc->thawed ? UP_TOOK_VCORE : UP_TOOK_UTHREAD, now);
}

static void send_take(struct up_proc *p, uint32_t vcore)
{
	struct up_vcore *vc = &p->vcores[vcore];

	vc->take_serial = up_kern_serial(p->kern);
	up_eff_queue(&vc->take);
}

void up_preempt_take(struct up_proc *p, uint32_t vcore, enum up_why why, uint64_t now)
{
	struct up_vcore *vc = &p->vcores[vcore];

	if (!vc->online)
		return;
	up_vcore_condemn(p, vcore, UP_MAX(why, (enum up_why)vc->why));
	if (vc->taking)
		return;
	vc->taking = true;
	vc->sent++;
	up_timer_stop(p->kern, &vc->timer);
	if (up_eff_queued(&vc->start)) {
		call_off(p, vcore, now);
		return;
	}
	up_info_vcore(p, vcore);
	UP_INJECT(kern_take);
	send_take(p, vcore);
	up_policy_touch(p);
}

/* A deadline has come, or a take that failed is due again. */
void up_preempt_due(struct up_proc *p, uint32_t vcore, uint64_t now)
{
	struct up_vcore *vc = &p->vcores[vcore];

	if (!vc->online)
		return;
	p->hot = UPABI_NONE;
	if (!vc->taking)
		up_preempt_take(p, vcore, (enum up_why)vc->why, now);
	else if (!up_eff_queued(&vc->take))
		send_take(p, vcore);
}

static void settle_act(struct up_proc *p, uint32_t vcore, uint32_t act, enum up_took took,
		       uint64_t now)
{
	switch (took) {
	case UP_TOOK_UTHREAD:
		up_act_pool(p, act, now);
		break;
	case UP_TOOK_VCORE:
		p->vcores[vcore].frozen = act;
		up_bit_set(p->frozen_map, vcore);
		up_act_set(p, act, UPABI_ACT_FROZEN);
		break;
	case UP_TOOK_BLOCKED:
		up_act_set(p, act, UPABI_ACT_BLOCKED);
		p->nr_blocks++;
		break;
	case UP_TOOK_GONE:
		up_act_gone(p, act);
		break;
	}
}

/* The core is back.  The others are told; with nobody there, whoever starts first will be. */
void up_preempt_finish(struct up_proc *p, uint32_t vcore, enum up_took took, uint64_t now)
{
	struct up_vcore *vc = &p->vcores[vcore];
	uint32_t act = vc->act;
	uint32_t gen = p->acts[act].gen;

	if (vc->taking && !UP_MUT(nr_done_forgotten))
		vc->done++;
	up_vcore_offline(p, vcore, now);
	vc->preempted = true;
	p->nr_preempts++;
	settle_act(p, vcore, act, took, now);
	up_info_vcore(p, vcore);
	up_info_counts(p);
	UP_INJECT(kern_taken);
	if (took == UP_TOOK_BLOCKED)
		up_event_tell(p, UPABI_NONE, UPABI_EV_BLOCKED, act, gen, 0, now);
	up_event_tell(p, UPABI_NONE, UPABI_EV_VCORE_PREEMPTED, vcore, took == UP_TOOK_VCORE, 0,
		      now);
	up_proc_lost_vcore(p, false, now);
}

int up_kern_preempt(struct up_kern *k, struct up_proc *p, uint32_t vcore, uint64_t deadline,
		    uint64_t now)
{
	if (!k || !p || vcore >= p->max_vcores)
		return -EINVAL;
	if (up_proc_is_dead(p) || !p->vcores[vcore].online)
		return -ESRCH;
	p->hot = UPABI_NONE;
	if (deadline > now)
		up_preempt_warn(p, vcore, UP_WHY_ASKED, deadline, true, now);
	else
		up_preempt_take(p, vcore, UP_WHY_ASKED, now);
	up_policy_run(k, now);
	return 0;
}

int up_kern_preempt_gang(struct up_kern *k, struct up_proc *p, uint64_t deadline, uint64_t now)
{
	if (!k || !p)
		return -EINVAL;
	if (up_proc_is_dead(p) || !p->nr_online)
		return -ESRCH;
	p->hot = UPABI_NONE;
	for (uint32_t v = 0; p->nr_online && v < p->max_vcores; v++) {
		if (!p->vcores[v].online)
			continue;
		if (deadline > now)
			up_preempt_warn(p, v, UP_WHY_ASKED, deadline, false, now);
		else
			up_preempt_take(p, v, UP_WHY_ASKED, now);
	}
	if (deadline > now)
		up_event_tell(p, UPABI_NONE, UPABI_EV_GANG_PREEMPT_PENDING, UPABI_NONE, deadline, 0,
			      now);
	up_policy_run(k, now);
	return 0;
}

/* The call: grace instead of a deadline, one vcore or all. */
int up_preempt_call(struct up_proc *p, uint64_t vcore, uint64_t grace, uint64_t now)
{
	if (vcore == UPABI_NONE)
		return up_kern_preempt_gang(p->kern, p, later(now, grace), now);
	if (vcore >= p->max_vcores)
		return -EINVAL;
	return up_kern_preempt(p->kern, p, (uint32_t)vcore, later(now, grace), now);
}

/* A vcore leaves as it was told to, its uthread published (0) or itself frozen (1). */
int up_preempt_left(struct up_proc *p, uint32_t act, uint64_t vcore, uint64_t in_vcore_ctx,
		    uint64_t now)
{
	struct up_vcore *vc;

	if (vcore >= p->max_vcores || in_vcore_ctx > 1)
		return -EINVAL;
	vc = &p->vcores[vcore];
	if (!vc->online || vc->act != act)
		return -ESTALE;
	if (vc->why == UP_WHY_NONE)
		return -ECANCELED; /* nobody asks it to leave any more */
	p->hot = in_vcore_ctx ? UPABI_NONE : act;
	up_preempt_finish(p, (uint32_t)vcore, in_vcore_ctx ? UP_TOOK_VCORE : UP_TOOK_UTHREAD, now);
	return 0;
}
