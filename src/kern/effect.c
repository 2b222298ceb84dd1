/* SPDX-License-Identifier: MIT */
/*
 * Effects: what the kernel side wants done in the world, in order.  The record of each lies in the
 * vcore, activation, slot or process that it is about; it is on the queue at most once, and what
 * it says is filled in when the host takes it, so that a queued effect is never out of date.
 * Whoever makes an effect pointless takes it off the queue.
 */
#include "kern/types.h"

void up_eff_init(struct up_eff *e, struct up_proc *p, uint32_t op, uint32_t nr)
{
	up_list_init(&e->link);
	e->proc = p;
	e->op = op;
	e->nr = nr;
}

bool up_eff_queued(const struct up_eff *e)
{
	return up_list_is_linked(&e->link);
}

void up_eff_queue(struct up_eff *e)
{
	if (!up_eff_queued(e))
		up_list_push_back(&e->proc->kern->effects, &e->link);
}

void up_eff_cancel(struct up_eff *e)
{
	up_list_remove(&e->link);
}

/* serial 32, slot of the process 16, vcore 14, kind 2. */
static uint64_t make_id(const struct up_proc *p, uint32_t serial, uint32_t vcore,
			enum up_eff_kind kind)
{
	return (uint64_t)serial << 32 | (uint64_t)p->slot << 16 | (uint64_t)vcore << 2 | kind;
}

static void fill_vcore(struct up_effect *eff, const struct up_proc *p, uint32_t act)
{
	const struct up_vcore *vc = &p->vcores[eff->vcore];

	eff->act = act;
	eff->pcore = vc->pcore;
	eff->gen = act == UPABI_NONE ? 0 : p->acts[act].gen;
	eff->arg = act == UPABI_NONE ? 0 : p->acts[act].os_task;
}

static void fill(struct up_effect *eff, const struct up_eff *e)
{
	struct up_proc *p = e->proc;
	struct up_vcore *vc = &p->vcores[e->nr < p->max_vcores ? e->nr : 0];

	switch (e->op) {
	case UP_EFF_START:
		eff->vcore = e->nr;
		fill_vcore(eff, p, vc->act);
		eff->starts = p->acts[vc->act].starts;
		eff->id = make_id(p, vc->start_serial, e->nr, UP_EFFK_START);
		break;
	case UP_EFF_TAKE:
		eff->vcore = e->nr;
		fill_vcore(eff, p, vc->act);
		eff->id = make_id(p, vc->take_serial, e->nr, UP_EFFK_TAKE);
		break;
	case UP_EFF_NOTIFY:
		eff->vcore = e->nr;
		fill_vcore(eff, p, vc->act);
		break;
	case UP_EFF_STANDBY:
		eff->vcore = e->nr;
		fill_vcore(eff, p, vc->standby);
		break;
	case UP_EFF_WANT_ACT:
		eff->arg = p->want_arg;
		p->want_arg = 0;
		p->want_serial = up_kern_serial(p->kern);
		eff->id = make_id(p, p->want_serial, 0, UP_EFFK_WANT);
		break;
	case UP_EFF_KILL:
		eff->id = make_id(p, p->kill_serial, 0, UP_EFFK_KILL);
		break;
	case UP_EFF_DROP_ACT:
		eff->act = e->nr;
		eff->gen = p->acts[e->nr].gen;
		eff->arg = p->acts[e->nr].os_task;
		break;
	default:
		eff->act = e->nr;
		break;
	}
}

bool up_kern_next_effect(struct up_kern *k, struct up_effect *ret_eff)
{
	struct up_list *link;
	struct up_eff *e;
	struct up_effect eff = {
		.vcore = UPABI_NONE,
		.pcore = UPABI_NONE,
		.act = UPABI_NONE,
	};

	if (!k || !ret_eff)
		return false;
	link = up_list_pop_front(&k->effects);
	if (!link)
		return false;
	e = up_list_entry(link, struct up_eff, link);
	eff.op = (enum up_effect_op)e->op;
	eff.proc = e->proc;
	eff.host = e->proc->host;
	eff.pid = e->proc->pid;
	fill(&eff, e);
	if (e->op == UP_EFF_DROP_ACT)
		up_act_free_slot(e->proc, e->nr);
	if (e->op == UP_EFF_RELEASE)
		up_proc_free(e->proc);
	*ret_eff = eff;
	return true;
}

/* -ESRCH: the task is gone.  Anything else: it did not start there, and may elsewhere. */
static void start_failed(struct up_proc *p, uint32_t vcore, int status, uint64_t now)
{
	struct up_vcore *vc = &p->vcores[vcore];
	uint32_t act = vc->act;

	p->cursor = vc->pcore == UPABI_NONE ? 0 : (vc->pcore + 1) % p->kern->cfg.max_pcores;
	up_proc_hold(p, now);
	if (!vc->online) { /* the single context: it had no core */
		vc->starting = false;
		vc->act = UPABI_NONE;
		p->s_act = UPABI_NONE;
		up_info_vcore(p, vcore);
		up_proc_set_state(p, UPABI_RUNNABLE_S);
		if (status == -ESRCH)
			up_act_gone(p, act);
		else
			up_act_pool(p, act, now);
		up_proc_try_s(p, now);
		return;
	}
	vc->starting = false;
	if (status == -ESRCH)
		up_preempt_finish(p, vcore, UP_TOOK_GONE, now);
	else
		up_preempt_finish(p, vcore, vc->thawed ? UP_TOOK_VCORE : UP_TOOK_UTHREAD, now);
}

static int done_start(struct up_proc *p, uint32_t vcore, uint32_t serial, int status, uint64_t now)
{
	struct up_vcore *vc = &p->vcores[vcore];

	if (!vc->starting || up_eff_queued(&vc->start) || vc->start_serial != serial) {
		if (UP_MUT(late_grant_accepted) && status == 0) {
			up_vcore_started(p, vcore);
			return 0;
		}
		return -ESTALE;
	}
	if (status < 0)
		start_failed(p, vcore, status, now);
	else
		up_vcore_started(p, vcore);
	return 0;
}

static int done_take(struct up_proc *p, uint32_t vcore, uint32_t serial, int status, uint64_t now)
{
	struct up_vcore *vc = &p->vcores[vcore];

	if (!vc->taking || up_eff_queued(&vc->take) || vc->take_serial != serial)
		return -ESTALE;
	if (status > UP_TOOK_GONE)
		return -EINVAL;
	if (status == -ESRCH)
		status = UP_TOOK_GONE;
	if (status < 0) /* it did not leave: try again, a little later */
		up_timer_set(p->kern, &vc->timer, now + UP_RETRY_NS);
	else
		up_preempt_finish(p, vcore, (enum up_took)status, now);
	return 0;
}

/* The tasks are no more, all of them. */
static int done_kill(struct up_proc *p, uint32_t serial, int status, uint64_t now)
{
	if (p->state != UPABI_DYING || up_eff_queued(&p->kill) || p->kill_serial != serial)
		return -ESTALE;
	for (uint32_t v = 0; status >= 0 && p->nr_online && v < p->max_vcores; v++)
		if (p->vcores[v].online)
			up_preempt_finish(p, v, UP_TOOK_GONE, now);
	return 0;
}

static int done_want(struct up_proc *p, uint32_t serial, int status, uint64_t now)
{
	if (p->want_serial != serial || up_eff_queued(&p->want) || up_proc_is_dead(p))
		return -ESTALE;
	if (status < 0 && !p->hold)
		up_timer_set(p->kern, &p->timer, now + 10 * (uint64_t)UP_RETRY_NS);
	return 0;
}

int up_kern_effect_done(struct up_kern *k, uint64_t id, int status, uint64_t now)
{
	uint32_t serial = (uint32_t)(id >> 32), slot = (id >> 16) & 0xffff;
	uint32_t vcore = (id >> 2) & (UP_MAX_VCORES - 1);
	struct up_proc *p;
	int ret = -ESTALE;

	if (!k)
		return -EINVAL;
	p = slot < k->table_cap ? k->table[slot] : NULL;
	if (!p || !serial || vcore >= p->max_vcores)
		return -ESTALE;
	p->hot = UPABI_NONE;
	switch ((enum up_eff_kind)(id & UP_EFF_ID_KIND)) {
	case UP_EFFK_START:
		ret = done_start(p, vcore, serial, status, now);
		break;
	case UP_EFFK_TAKE:
		ret = done_take(p, vcore, serial, status, now);
		break;
	case UP_EFFK_KILL:
		ret = done_kill(p, serial, status, now);
		break;
	case UP_EFFK_WANT:
		ret = done_want(p, serial, status, now);
		break;
	}
	up_policy_run(k, now);
	return ret;
}
