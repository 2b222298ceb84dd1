/* SPDX-License-Identifier: MIT */
/*
 * An activation has blocked inside Linux and another has taken its place; an activation has come
 * back.  Both are on the way of every blocking call, so that they touch the two activations, the
 * vcore and the pool, and search nothing.
 */
#include "kern/types.h"

/*
 * The caller was on its way to another vcore when it stepped in for this one.  Both promises hold:
 * that vcore is started with somebody else, or its core goes back.
 */
static void replace_starter(struct up_proc *p, uint32_t vcore, uint32_t act, uint64_t now)
{
	struct up_vcore *vc = &p->vcores[vcore];
	uint32_t other = up_act_pick(p, UPABI_NONE, vc->pcore);

	if (other == UPABI_NONE)
		other = vc->standby; /* better one that runs than one that waits */
	if (other == UPABI_NONE) {
		if (vc->taking)
			vc->done++;
		up_vcore_offline(p, vcore, now);
		vc->preempted = true;
		up_info_vcore(p, vcore);
		up_event_tell(p, UPABI_NONE, UPABI_EV_VCORE_PREEMPTED, vcore, 0, 0, now);
		up_proc_lost_vcore(p, false, now);
		return;
	}
	up_act_unpool(p, other);
	p->acts[other].vcore = vcore;
	p->acts[other].pcore = vc->pcore;
	up_act_set(p, other, UPABI_ACT_RUNNING);
	vc->act = other;
	vc->start_serial = up_kern_serial(p->kern);
	up_eff_cancel(&vc->notify);
	up_info_vcore(p, vcore);
	up_act_started(p, other);
	up_eff_queue(&vc->start);
	if (vc->taking) {
		vc->take_serial = up_kern_serial(p->kern);
		up_eff_queue(&vc->take);
	}
}

/* Can act stand in now?  It is pooled, or has been started elsewhere and not been heard of. */
static bool may_stand_in(const struct up_proc *p, uint32_t act)
{
	const struct up_act *a = &p->acts[act];

	if (a->state == UPABI_ACT_POOLED)
		return true;
	if (a->state != UPABI_ACT_RUNNING || p->state != UPABI_RUNNING_M)
		return false;
	return p->vcores[a->vcore].starting && !p->vcores[a->vcore].thawed;
}

static void swap_in(struct up_proc *p, uint32_t vcore, uint32_t act, uint64_t now)
{
	struct up_vcore *vc = &p->vcores[vcore];
	struct up_act *a = &p->acts[act];

	if (a->state == UPABI_ACT_POOLED) {
		up_act_unpool(p, act);
	} else {
		uint32_t other = a->vcore;

		/* Not RUNNING there any more before its place is filled. */
		up_act_set(p, act, UPABI_ACT_NONE);
		replace_starter(p, other, act, now);
	}
	a->vcore = vcore;
	a->pcore = vc->pcore;
	up_act_set(p, act, UPABI_ACT_RUNNING);
	vc->act = act;
}

/* arg: vcore, activation, generation, class.  ret_val: 1 when the vcore is being taken. */
int up_block(struct up_proc *p, uint32_t slot, const uint64_t *arg, uint64_t now, uint64_t *ret_val)
{
	uint32_t vcore = (uint32_t)arg[0], act = (uint32_t)arg[1];
	struct up_vcore *vc;

	if (slot >= p->max_acts || arg[0] >= p->max_vcores || arg[1] >= p->max_acts || slot == act)
		return -EINVAL;
	vc = &p->vcores[vcore];
	if (!vc->online || vc->act != act || up_eff_queued(&vc->start))
		return -ESTALE;
	if (p->acts[act].gen != arg[2] && !UP_MUT(stale_generation_accepted))
		return -ESTALE;
	if (!may_stand_in(p, slot))
		return -ESTALE;
	up_vcore_started(p, vcore);
	up_eff_cancel(&vc->notify);
	up_act_set(p, act, UPABI_ACT_BLOCKED);
	p->nr_blocks++;
	UP_INJECT(kern_block);
	swap_in(p, vcore, slot, now);
	if (p->standby && vc->standby == UPABI_NONE)
		up_act_stand(p, vcore);
	up_info_vcore(p, vcore);
	if (p->nr_lack)
		up_act_fill(p, false);
	up_info_counts(p);
	if (vc->taking && !up_eff_queued(&vc->take) &&
	    !UP_MUT(take_not_aimed_again)) { /* aimed at somebody else: aim again */
		vc->take_serial = up_kern_serial(p->kern);
		up_eff_queue(&vc->take);
	}
	up_event_tell(p, vcore, UPABI_EV_BLOCKED, act, arg[2], arg[3], now);
	*ret_val = vc->taking;
	return 0;
}

/* The one that comes back is awake, on the core, and would stay so; who stands by is neither. */
static void relieve(struct up_proc *p, uint32_t act, uint32_t vcore)
{
	struct up_vcore *vc = &p->vcores[vcore];

	if (p->acts[act].pcore == vc->pcore && vc->online && vc->standby != UPABI_NONE &&
	    !UP_MUT(standby_not_relieved))
		up_act_unstand(p, vcore); /* the next is taken from the pool's front */
}

/* Its uthread goes to a vcore, by handle; the activation itself to the pool. */
int up_unblock(struct up_proc *p, uint32_t act, const uint64_t *arg, uint64_t now)
{
	uint32_t last;

	if (act >= p->max_acts)
		return -EINVAL;
	if (p->acts[act].state != UPABI_ACT_BLOCKED)
		return -ESTALE;
	last = p->acts[act].vcore;
	p->nr_unblocks++;
	p->hot = act;
	if (arg[1])
		relieve(p, act, last);
	up_act_pool(p, act, now);
	UP_INJECT(kern_unblock);
	up_event_tell(p, last, UPABI_EV_UNBLOCKED, act, p->acts[act].gen, arg[0], now);
	return 0;
}
