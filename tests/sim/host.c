/* SPDX-License-Identifier: MIT */
/*
 * The pretended host: it takes effects late, performs them out of order, fails some, reports some
 * twice and some never; cores come and go under it.
 */
#include <stdlib.h>

#include "sim.h"

static struct sim_proc *proc_of(struct sim *s, const struct up_effect *eff)
{
	(void)s;
	return eff->host;
}

static void kill_tasks(struct sim *s, struct sim_flight *f)
{
	int ret = 0;

	sim_proc_killed(s, f->sp);
	if (s->calm || sim_chance(s, 70))
		ret = up_kern_effect_done(s->k, f->eff.id, 0, s->now);
	sim_log(s, "killed", f->eff.pid, 0, 0, 0, ret);
}

void sim_drop_flights(struct sim *s, struct sim_proc *sp)
{
	for (uint32_t i = 0; i < s->nr_flight;)
		if (s->flight[i].sp == sp)
			s->flight[i] = s->flight[--s->nr_flight];
		else
			i++;
}

void sim_take_effects(struct sim *s, uint32_t most)
{
	struct up_effect eff;

	while (most-- && s->nr_flight < SIM_FLIGHT && up_kern_next_effect(s->k, &eff)) {
		struct sim_proc *sp = proc_of(s, &eff);

		if (eff.op == UP_EFF_RELEASE) {
			sim_drop_flights(s, sp);
			sim_log(s, "release", eff.pid, 0, 0, 0, 0);
			sim_proc_gone(s, sp);
			continue;
		}
		s->flight[s->nr_flight++] = (struct sim_flight){ eff, sp, s->step };
	}
}

static void finish_start(struct sim *s, struct sim_flight *f)
{
	struct sim_act *a = &f->sp->acts[f->eff.act];
	int status = 0, ret;

	if (!f->sp->hostile && sim_chance(s, 50))
		a->released = f->eff.starts; /* before the report or after it: both are right */
	if (!s->calm && sim_chance(s, 4) && a->released != f->eff.starts)
		status = sim_chance(s, 30) ? -ESRCH : -EAGAIN;
	if (f->sp->killed)
		status = -ESRCH;
	/* Not at its gate: it has seen its map already, or steps in for somebody just now. */
	if (status < 0 && a->place != AT_GATE && a->place != AT_FROZEN && !f->sp->hostile)
		status = 0;
	/* Released, it looks at the map by itself; the report may be late or never come. */
	if (status == 0 && !s->calm && sim_chance(s, 30) && !f->sp->hostile) {
		a->released = f->eff.starts;
		sim_enter(s, f->sp, f->eff.act);
		sim_log(s, "start, not reported", f->eff.pid, f->eff.act, f->eff.vcore,
			f->eff.pcore, 0);
		return;
	}
	ret = up_kern_effect_done(s->k, f->eff.id, status, s->now);
	sim_log(s, "start done", f->eff.pid, f->eff.act, f->eff.vcore, status, ret);
	if (ret == -ESTALE)
		s->stat.stale++;
	if (ret == 0 && status == 0 && !f->sp->hostile) {
		a->released = f->eff.starts;
		sim_enter(s, f->sp, f->eff.act);
	}
	if (ret == 0 && status == -ESRCH)
		a->place = AT_NONE;
	s->stat.starts += status == 0;
	s->stat.start_fails += status != 0;
	if (sim_chance(s, 10) && up_kern_effect_done(s->k, f->eff.id, 0, s->now) == 0 &&
	    !f->sp->hostile && status < 0)
		sim_fail(s, "a start was reported twice and believed twice");
}

/* How it ends depends on where the activation really is. */
static int take_status(struct sim *s, struct sim_flight *f)
{
	struct sim_act *a = &f->sp->acts[f->eff.act];

	if (!s->calm && sim_chance(s, 5))
		return -EBUSY;
	if (f->sp->hostile)
		return (int)sim_below(s, 4);
	if (f->sp->killed)
		return UP_TOOK_GONE;
	switch (a->place) {
	case AT_VCORE:
		if (a->victim != UPABI_NONE)
			return -EBUSY; /* stepping in: its call decides what it is */
		return a->open ? UP_TOOK_UTHREAD : UP_TOOK_VCORE;
	case AT_BLOCKED:
		return a->claim == CLAIM_MADE ? -EBUSY : UP_TOOK_BLOCKED;
	case AT_FROZEN:
		return UP_TOOK_VCORE; /* released and taken before it came to run */
	case AT_GATE:
		return a->waiting ? -EBUSY : UP_TOOK_UTHREAD;
	default:
		return UP_TOOK_GONE;
	}
}

static void finish_take(struct sim *s, struct sim_flight *f)
{
	struct sim_act *a = &f->sp->acts[f->eff.act];
	int status = take_status(s, f);
	int ret = up_kern_effect_done(s->k, f->eff.id, status, s->now);

	sim_log(s, "take done", f->eff.pid, f->eff.act, f->eff.vcore, status, ret);
	s->stat.takes++;
	if (ret == -ESTALE) {
		s->stat.stale++;
		return;
	}
	if (status < 0 || f->sp->hostile)
		return;
	if (status == UP_TOOK_GONE) {
		sim_leave_core(s, a);
		a->place = AT_NONE;
	} else if (status == UP_TOOK_VCORE) {
		sim_leave_core(s, a);
		a->place = AT_FROZEN;
	} else if (status == UP_TOOK_UTHREAD) {
		sim_leave_core(s, a);
		a->place = AT_GATE;
		a->open = false;
	}
	if (sim_chance(s, 10) && up_kern_effect_done(s->k, f->eff.id, 0, s->now) == 0)
		sim_fail(s, "a take was reported twice and believed twice");
}

/* Interrupts the vcore if its notifications are open and it is still that one. */
static void finish_notify(struct sim *s, struct sim_flight *f)
{
	struct sim_act *a = &f->sp->acts[f->eff.act];

	s->stat.notifies++;
	if (f->sp->hostile || a->place != AT_VCORE || a->vcore != f->eff.vcore || !a->open)
		return;
	a->open = false;
	sim_vd(f->sp, a->vcore)->notif_disabled = 1;
	sim_drain_vcore(s, f->sp, a->vcore);
	sim_log(s, "notified", f->eff.pid, f->eff.act, f->eff.vcore, 0, 0);
}

/* One effect under way, any one. */
void sim_finish_one(struct sim *s)
{
	struct sim_flight f;
	uint32_t i;

	if (!s->nr_flight)
		return;
	i = sim_below(s, s->nr_flight);
	f = s->flight[i];
	s->flight[i] = s->flight[--s->nr_flight];
	switch (f.eff.op) {
	case UP_EFF_START:
		finish_start(s, &f);
		break;
	case UP_EFF_TAKE:
		finish_take(s, &f);
		break;
	case UP_EFF_NOTIFY:
		finish_notify(s, &f);
		break;
	case UP_EFF_WANT_ACT:
		if (!s->calm && sim_chance(s, 20))
			up_kern_effect_done(s->k, f.eff.id, -EAGAIN, s->now);
		else
			f.sp->wants += (uint32_t)f.eff.arg;
		sim_log(s, "activations wanted", f.eff.pid, (int64_t)f.eff.arg, 0, 0, 0);
		break;
	case UP_EFF_KILL:
		kill_tasks(s, &f);
		break;
	case UP_EFF_DROP_ACT:
		if (!f.sp->hostile && f.sp->acts[f.eff.act].place == AT_GATE &&
		    sim_amap(f.sp, f.eff.act)->state == UPABI_ACT_NONE)
			f.sp->acts[f.eff.act].place = AT_NONE;
		break;
	default:
		break;
	}
}

void sim_machine_step(struct sim *s)
{
	uint32_t pcore = sim_below(s, s->nr_pcores), what = sim_below(s, 10);
	int ret;

	s->stat.cores++;
	if (what < 5) {
		ret = up_kern_core_add(s->k, pcore, s->now);
		sim_log(s, "core comes", 0, pcore, 0, 0, ret);
	} else if (what < 8) {
		uint64_t deadline = sim_chance(s, 50) ? 0 : s->now + sim_below(s, 5000);

		ret = up_kern_core_remove(s->k, pcore, deadline, s->now);
		sim_log(s, "core goes", 0, pcore, (int64_t)deadline, 0, ret);
	} else {
		uint32_t limit = sim_chance(s, 60) ? s->nr_pcores : 1 + sim_below(s, s->nr_pcores);

		ret = up_kern_core_limit(s->k, limit, s->now);
		sim_log(s, "limit", 0, limit, 0, 0, ret);
	}
}
