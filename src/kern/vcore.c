/* SPDX-License-Identifier: MIT */
/*
 * Vcores: coming online on a core with an activation, going offline.  The first vcore to be
 * started is one that is frozen (nothing else continues what it did), then the lowest hole.
 */
#include "kern/types.h"

static void set_online(struct up_proc *p, uint32_t vcore)
{
	p->vcores[vcore].online = true;
	up_bit_set(p->online_map, vcore);
	p->nr_online++;
	if (p->standby) {
		up_bit_set(p->lack_map, vcore);
		p->nr_lack++;
	}
}

static void set_offline(struct up_proc *p, uint32_t vcore)
{
	p->vcores[vcore].online = false;
	up_bit_clear(p->online_map, vcore);
	p->nr_online--;
	if (up_bit_test(p->lack_map, vcore)) {
		up_bit_clear(p->lack_map, vcore);
		p->nr_lack--;
	}
}

static uint32_t lowest_hole(const struct up_proc *p)
{
	for (uint32_t v = 0; v < p->max_vcores; v += 64) {
		uint64_t holes = ~p->online_map[v / 64];

		if (holes) {
			v += up_lowest_bit(holes);
			return v < p->max_vcores ? v : UPABI_NONE;
		}
	}
	return UPABI_NONE;
}

/* The number of the next vcore to start, UPABI_NONE when all are online. */
uint32_t up_vcore_pick(const struct up_proc *p)
{
	size_t frozen;

	if (p->s_first && !p->vcores[p->s_vcore].online)
		return p->s_vcore;
	frozen = up_bit_next(p->frozen_map, p->max_vcores, 0);
	if (frozen < p->max_vcores && !UP_MUT(frozen_not_first))
		return (uint32_t)frozen;
	if (UP_MUT(hole_not_filled)) {
		for (uint32_t v = p->max_vcores; v-- > 0;)
			if (p->vcores[v].online)
				return v + 1 < p->max_vcores ? v + 1 : lowest_hole(p);
	}
	return lowest_hole(p);
}

/* Will a message left with this vcore be read soon?  Not where the core is just being taken. */
bool up_vcore_listens(const struct up_proc *p, uint32_t vcore)
{
	if (vcore >= p->max_vcores)
		return false;
	if (p->state == UPABI_RUNNING_S)
		return vcore == p->s_vcore;
	return p->vcores[vcore].online && !p->vcores[vcore].taking;
}

/* Any vcore that listens, the lowest; UPABI_NONE when nobody does. */
uint32_t up_vcore_any(const struct up_proc *p)
{
	if (p->state == UPABI_RUNNING_S)
		return p->s_vcore;
	for (size_t v = 0;; v++) {
		v = up_bit_next(p->online_map, p->max_vcores, v);
		if (v >= p->max_vcores)
			return UPABI_NONE;
		if (!p->vcores[v].taking)
			return (uint32_t)v;
	}
}

static void run_act(struct up_proc *p, uint32_t vcore, uint32_t pcore, uint32_t act)
{
	struct up_vcore *vc = &p->vcores[vcore];

	vc->thawed = vc->frozen == act;
	if (vc->thawed) {
		vc->frozen = UPABI_NONE;
		up_bit_clear(p->frozen_map, vcore);
	} else {
		up_act_unpool(p, act);
	}
	p->acts[act].vcore = vcore;
	p->acts[act].pcore = pcore;
	up_act_set(p, act, UPABI_ACT_RUNNING);
	vc->act = act;
}

/*
 * The map first, then the effect that releases the activation.  The caller has seen to it that
 * the core is idle, the vcore offline, the activation pooled or frozen there.
 */
void up_vcore_start(struct up_proc *p, uint32_t vcore, uint32_t pcore, uint32_t act, uint64_t now)
{
	struct up_vcore *vc = &p->vcores[vcore];

	up_core_own(p->kern, pcore, p, vcore);
	set_online(p, vcore);
	run_act(p, vcore, pcore, act);
	vc->pcore = pcore;
	vc->starting = true;
	vc->start_serial = up_kern_serial(p->kern);
	vc->returned = vc->preempted;
	vc->preempted = false;
	vc->resume_ns = now;
	vc->req_seen = p->req_gen;
	p->s_first = false;
	if (p->state == UPABI_RUNNABLE_M)
		up_proc_set_state(p, UPABI_RUNNING_M);
	up_info_vcore(p, vcore);
	up_info_counts(p);
	up_act_started(p, act);
	/* Relaxed: the vcore reads its flags after the release of its gate. */
	up_fetch_or_relaxed(&up_data_vcore(p, vcore)->flags, UPABI_VCF_CAN_RCV);
	UP_INJECT(kern_start);
	up_eff_queue(&vc->start);
	up_event_flush_kept(p, vcore);
	up_event_tell(p, vcore, vc->returned ? UPABI_EV_VCORE_RETURNED : UPABI_EV_VCORE_GRANTED,
		      vcore, 0, 0, now);
	up_policy_touch(p);
}

/* Its activation has made itself heard, or the host has said so. */
void up_vcore_started(struct up_proc *p, uint32_t vcore)
{
	p->vcores[vcore].starting = false;
	p->vcores[vcore].thawed = false;
	p->fails = 0;
	p->cursor = 0;
}

/* The core goes back and everything on its way to this vcore is called off.  What becomes of the
 * activation, and who is told, is the caller's business. */
void up_vcore_offline(struct up_proc *p, uint32_t vcore, uint64_t now)
{
	struct up_vcore *vc = &p->vcores[vcore];
	struct up_kern *k = p->kern;

	up_timer_stop(k, &vc->timer);
	up_eff_cancel(&vc->start);
	up_eff_cancel(&vc->take);
	up_eff_cancel(&vc->notify);
	up_vcore_condemn(p, vcore, UP_WHY_NONE);
	up_core_release(k, vc->pcore);
	set_offline(p, vcore);
	up_act_unstand(p, vcore);
	vc->act = UPABI_NONE;
	vc->starting = vc->taking = vc->returned = vc->thawed = false;
	vc->deadline = 0;
	vc->total_ns += now > vc->resume_ns ? now - vc->resume_ns : 0;
	/* Relaxed: a hint; the maps say who is online. */
	up_fetch_and_relaxed(&up_data_vcore(p, vcore)->flags, ~UPABI_VCF_CAN_RCV);
	up_info_vcore(p, vcore);
	up_info_counts(p);
}

/* Keeps the sums of who is to go, here and in the machine. */
void up_vcore_condemn(struct up_proc *p, uint32_t vcore, enum up_why why)
{
	struct up_vcore *vc = &p->vcores[vcore];
	struct up_kern *k = p->kern;
	int by = (why != UP_WHY_NONE) - (vc->why != UP_WHY_NONE);

	vc->why = (uint8_t)why;
	if (!by)
		return;
	p->nr_condemned += (uint32_t)by;
	k->nr_condemned += (uint32_t)by;
	if (!k->cores[vc->pcore].leaving)
		k->nr_condemned_staying += (uint32_t)by;
	k->work = true;
}
