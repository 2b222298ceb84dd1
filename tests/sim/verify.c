/* SPDX-License-Identifier: MIT */
/*
 * What must be true after every step: the kernel side's own invariants, and that its picture and
 * the simulator's are the same one.
 */
#include "sim.h"

/* Where an activation really is, and where the kernel side has it. */
static void verify_act(struct sim *s, struct sim_proc *sp, uint32_t act)
{
	const struct sim_act *a = &sp->acts[act];
	const struct up_act *ka = &sp->p->acts[act];
	uint32_t state = ka->state;

	switch (a->place) {
	case AT_VCORE:
		if (a->victim != UPABI_NONE || a->waiting)
			return;
		if (state != UPABI_ACT_RUNNING || ka->vcore != a->vcore)
			sim_fail(s, "an activation runs that the kernel side has elsewhere");
		if (a->pcore != UPABI_NONE && s->k->cores[a->pcore].owner != sp->p)
			sim_fail(s, "an activation runs on a core that its process does not have");
		break;
	case AT_FROZEN:
		if (state != UPABI_ACT_FROZEN && state != UPABI_ACT_RUNNING)
			sim_fail(s, "a frozen activation was given away");
		break;
	case AT_BLOCKED:
		if (state != UPABI_ACT_BLOCKED && state != UPABI_ACT_RUNNING)
			sim_fail(s, "a blocked activation is taken for a free one");
		break;
	case AT_NONE:
		if (state == UPABI_ACT_RUNNING && !up_proc_is_dead(sp->p))
			sim_fail(s, "an activation that is no more runs a vcore");
		break;
	default:
		break;
	}
}

static bool notify_under_way(const struct sim *s, const struct sim_proc *sp, uint32_t v)
{
	if (up_eff_queued(&sp->p->vcores[v].notify))
		return true;
	for (uint32_t i = 0; i < s->nr_flight; i++)
		if (s->flight[i].sp == sp && s->flight[i].eff.op == UP_EFF_NOTIFY &&
		    s->flight[i].eff.vcore == v)
			return true;
	return false;
}

/* Messages lie there, the vcore runs a uthread, and nobody is going to tell it. */
static void verify_notified(struct sim *s, struct sim_proc *sp)
{
	for (uint32_t act = 0; act < sp->max_acts; act++) {
		const struct sim_act *a = &sp->acts[act];

		if (a->place == AT_VCORE && a->open && sim_vd(sp, a->vcore)->notif_pending &&
		    !notify_under_way(s, sp, a->vcore))
			sim_fail(s, "a notification was lost");
	}
}

static bool is_ours(const struct upabi_event *ev)
{
	return ev->nr == UPABI_EV_USER && ev->aux == SIM_OURS;
}

/* Every message was received, lies in a ring, is kept, or is counted as overflow. */
static void verify_messages(struct sim *s, struct sim_proc *sp)
{
	const struct up_proc *p = sp->p;
	uint64_t found = sp->received, lost = 0, tails = 0, posted = 0;

	for (uint32_t v = 0; v < sp->max_vcores; v++) {
		const struct upabi_vcoredata *vd = sim_vd(sp, v);

		for (uint32_t at = vd->ring_head; at != vd->ring_tail; at++) {
			found += is_ours(&vd->ring[at % UPABI_RING_LEN]);
		}
		lost += sim_vmap(sp, v)->overflow;
		posted += sim_vmap(sp, v)->posted;
		tails += vd->ring_tail;
	}
	for (uint32_t i = 0; i < p->kept.nr; i++)
		found += is_ours(&p->kept.ev[i]);
	if (!sp->nomsg && posted != tails + lost)
		sim_fail(s, "events posted are not the ones in rings and the ones counted");
	for (uint32_t nr = 0; nr < UPABI_EV_NR; nr++)
		lost += p->kept.lost[nr];
	if (found > sp->sent || sp->sent - found > lost)
		sim_fail(s, "a message is neither delivered nor counted");
}

void sim_verify_proc(struct sim *s, struct sim_proc *sp)
{
	const char *bad;

	if (!sp->p)
		return;
	bad = up_check_proc(sp->p);
	if (bad) {
		sim_fail(s, bad);
		return;
	}
	if (sp->hostile || sp->killed || up_proc_is_dead(sp->p))
		return;
	for (uint32_t act = 0; act < sp->max_acts; act++)
		verify_act(s, sp, act);
	verify_notified(s, sp);
	verify_messages(s, sp);
}

void sim_verify_all(struct sim *s)
{
	const char *bad = up_kern_check(s->k);

	if (bad)
		sim_fail(s, bad);
	for (uint32_t i = 0; i < s->nr_procs; i++)
		sim_verify_proc(s, &s->procs[i]);
}
