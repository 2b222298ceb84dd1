/* SPDX-License-Identifier: MIT */
/*
 * The pretended processes: each activation goes through the same words and calls as a real one's
 * would, one small thing a step.  Some processes lie: they scribble over procdata and call with
 * whatever numbers come.
 */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

struct upabi_vcoredata *sim_vd(const struct sim_proc *sp, uint32_t v)
{
	return (struct upabi_vcoredata *)(sp->data + 1) + v;
}

struct upabi_vcoremap *sim_vmap(const struct sim_proc *sp, uint32_t v)
{
	return (struct upabi_vcoremap *)(sp->info + 1) + v;
}

struct upabi_actmap *sim_amap(const struct sim_proc *sp, uint32_t a)
{
	return (struct upabi_actmap *)((char *)sp->info + sp->info->off_actmap) + a;
}

static struct upabi_call *call_slot(const struct sim_proc *sp, uint32_t slot)
{
	return (struct upabi_call *)((char *)sp->data + upabi_data_off_call(sp->max_vcores)) + slot;
}

static upabi_u64 *pending(const struct sim_proc *sp)
{
	return (upabi_u64 *)((char *)sp->data +
			     upabi_data_off_call_pending(sp->max_vcores, sp->max_acts));
}

void sim_leave_core(struct sim *s, struct sim_act *a)
{
	if (a->pcore != UPABI_NONE && s->on_core[a->pcore] == a)
		s->on_core[a->pcore] = NULL;
	a->pcore = UPABI_NONE;
}

static void stand_on(struct sim *s, struct sim_act *a, uint32_t pcore)
{
	if (pcore == UPABI_NONE)
		return;
	if (s->on_core[pcore] && s->on_core[pcore] != a)
		sim_fail(s, "two activations on one pcore");
	s->on_core[pcore] = a;
	a->pcore = pcore;
}

/* At its gate (or frozen) it looks at the map, and goes where it is told to. */
void sim_enter(struct sim *s, struct sim_proc *sp, uint32_t act)
{
	struct sim_act *a = &sp->acts[act];
	struct upabi_actmap *map = sim_amap(sp, act);

	if ((a->place != AT_GATE && a->place != AT_FROZEN) || map->state != UPABI_ACT_RUNNING)
		return;
	if (a->released != map->starts || (a->waiting && a->place == AT_GATE))
		return;
	a->released = UINT64_MAX;
	a->vcore = map->vcore;
	if (sim_vmap(sp, a->vcore)->act != act)
		sim_fail(s, "an activation runs a vcore whose map names another");
	a->place = AT_VCORE;
	a->open = false;
	sim_vd(sp, a->vcore)->notif_disabled = 1;
	stand_on(s, a, sim_vmap(sp, a->vcore)->valid ? sim_vmap(sp, a->vcore)->pcore : UPABI_NONE);
}

static void *region(size_t sz)
{
	void *mem = aligned_alloc(64, UP_ALIGN_UP(sz, (size_t)64));

	memset(mem, 0, sz);
	return mem;
}

static void init_data(struct sim_proc *sp)
{
	struct upabi_procdata *d = sp->data;

	d->magic = UPABI_DATA_MAGIC;
	d->version = UPABI_VERSION;
	d->header_sz = sizeof(*d);
	d->region_sz = upabi_data_size(sp->max_vcores, sp->max_acts);
	d->off_vcore = sizeof(*d);
	d->off_call = (uint32_t)upabi_data_off_call(sp->max_vcores);
	d->off_call_pending = (uint32_t)upabi_data_off_call_pending(sp->max_vcores, sp->max_acts);
	for (uint32_t v = 0; v < sp->max_vcores; v++)
		sim_vd(sp, v)->notif_disabled = 1;
}

static void random_vectors(struct sim *s, struct sim_proc *sp)
{
	for (uint32_t nr = 1; nr < UPABI_EV_DYNAMIC + 4; nr++) {
		sp->data->evt[nr].vcore = sim_below(s, sp->max_vcores + 1);
		sp->data->evt[nr].flags = sim_below(s, 16);
		if (!sp->nomsg)
			sp->data->evt[nr].flags &= ~UPABI_EVF_NOMSG;
	}
}

void sim_proc_create(struct sim *s, struct sim_proc *sp)
{
	struct up_proc_cfg cfg = { 0 };

	memset(sp, 0, sizeof(*sp));
	sp->max_vcores = 1 + sim_below(s, UP_MIN(s->nr_pcores + 1, 16u));
	sp->max_acts = sp->max_vcores + sim_below(s, sp->max_vcores + 8) + 1;
	sp->hostile = sim_chance(s, 10) ? 1 + sim_below(s, 100) : 0;
	sp->nomsg = sim_chance(s, 30);
	sp->initial = true;
	sp->info = region(upabi_info_size(sp->max_vcores, s->nr_pcores, sp->max_acts));
	sp->data = region(upabi_data_size(sp->max_vcores, sp->max_acts));
	sp->acts = calloc(sp->max_acts, sizeof(*sp->acts));
	for (uint32_t a = 0; a < sp->max_acts; a++)
		sp->acts[a].pcore = sp->acts[a].victim = UPABI_NONE;
	init_data(sp);
	random_vectors(s, sp);
	cfg.max_vcores = sp->max_vcores;
	cfg.max_acts = sp->max_acts;
	cfg.standby = sim_chance(s, 70);
	cfg.info = sp->info;
	cfg.data = sp->data;
	cfg.host = sp;
	if (up_kern_proc_create(s->k, &cfg, s->now, &sp->p) < 0) {
		sim_fail(s, "a process cannot be created");
		return;
	}
	sp->pid = up_proc_pid(sp->p);
	sim_log(s, "create", sp->pid, sp->max_vcores, sp->max_acts, sp->hostile, 0);
}

/* Its tasks are no more. */
void sim_proc_killed(struct sim *s, struct sim_proc *sp)
{
	sp->killed = true;
	for (uint32_t a = 0; a < sp->max_acts; a++) {
		sim_leave_core(s, &sp->acts[a]);
		sp->acts[a].place = AT_NONE;
		sp->acts[a].waiting = 0;
	}
}

void sim_proc_gone(struct sim *s, struct sim_proc *sp)
{
	sim_proc_killed(s, sp);
	s->stat.deaths++;
	free(sp->info);
	free(sp->data);
	free(sp->acts);
	free(sp->seen);
	memset(sp, 0, sizeof(*sp));
}

/* What an answer means to the activation that waited for it. */
static void answered(struct sim *s, struct sim_proc *sp, uint32_t act, int ret, uint64_t val)
{
	struct sim_act *a = &sp->acts[act];
	uint32_t op = a->waiting;

	a->waiting = 0;
	sim_log(s, "answer", sp->pid, act, op, (int64_t)val, ret);
	switch (op) {
	case UPABI_OP_YIELD:
	case UPABI_OP_YIELD_ALL:
		if (ret == 0) {
			sim_leave_core(s, a);
			a->place = AT_GATE;
		}
		break;
	case UPABI_OP_PREEMPTED:
		if (ret == 0) {
			sim_leave_core(s, a);
			a->place = a->arg1 ? AT_FROZEN : AT_GATE;
		}
		break;
	case UPABI_OP_CHANGE_TO:
		if (ret == 0) {
			sim_leave_core(s, a);
			a->place = a->arg1 ? AT_FROZEN : AT_GATE;
		}
		break;
	case UPABI_OP_TO_S:
		if (ret == 0)
			sim_leave_core(s, a);
		break;
	case UPABI_OP_REQUEST:
		if (ret == 0 && val == 1) {
			sim_leave_core(s, a);
			a->place = AT_GATE;
		}
		break;
	case UPABI_OP_BLOCKED:
		sp->acts[a->victim].claim = ret == 0 ? CLAIM_DONE : CLAIM_VOID;
		if (ret < 0) {
			sim_leave_core(s, a);
			a->place = AT_GATE;
			a->vcore = UPABI_NONE;
		}
		a->victim = UPABI_NONE;
		break;
	case UPABI_OP_UNBLOCKED:
		if (ret < 0)
			sim_fail(s, "an unblocked activation was refused");
		a->claim = CLAIM_NONE;
		a->place = AT_GATE;
		break;
	default:
		break;
	}
}

/* Things that leave the core do so, as far as the kernel side knows, when it carries them out: what
 * really stands there must be gone by the time that anybody else comes. */
static void carried_out(struct sim *s, struct sim_proc *sp)
{
	for (uint32_t act = 0; act < sp->max_acts; act++) {
		struct sim_act *a = &sp->acts[act];

		if (a->waiting && sim_amap(sp, act)->call_ack == a->seq)
			answered(s, sp, act, sim_amap(sp, act)->call_result,
				 sim_amap(sp, act)->call_val);
	}
	for (uint32_t act = 0; act < sp->max_acts; act++)
		sim_enter(s, sp, act);
}

static void drain_calls(struct sim *s, struct sim_proc *sp, uint32_t self)
{
	int nr = up_kern_drain(s->k, sp->p, self, s->now);

	sp->bell = false;
	s->stat.calls += (uint64_t)(nr > 0 ? nr : 0);
	sim_log(s, "drain", sp->pid, nr, 0, 0, 0);
	if (!sp->hostile)
		carried_out(s, sp);
}

static void ring(struct sim *s, struct sim_proc *sp, uint32_t slot, uint32_t op,
		 const uint64_t *arg)
{
	struct upabi_call *c = call_slot(sp, slot);
	uint32_t seq = slot < sp->max_acts ? ++sp->acts[slot].seq : ++sp->out_seq;

	c->op = op;
	memcpy(c->arg, arg, sizeof(c->arg));
	c->seq = seq;
	pending(sp)[slot / 64] |= UINT64_C(1) << (slot % 64);
	sp->bell = true;
	sim_log(s, "call", sp->pid, slot, op, (int64_t)arg[0], (int64_t)arg[1]);
}

static void call(struct sim *s, struct sim_proc *sp, uint32_t act, uint32_t op, uint64_t a0,
		 uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4)
{
	uint64_t arg[5] = { a0, a1, a2, a3, a4 };

	sp->acts[act].waiting = op;
	sp->acts[act].arg1 = (uint32_t)a1;
	if (op == UPABI_OP_CHANGE_TO)
		sp->acts[act].arg1 = (uint32_t)a2;
	ring(s, sp, act, op, arg);
	if (s->calm || sim_chance(s, 60))
		drain_calls(s, sp, act);
}

/* From a thread that is no activation; the answer is there at once. */
static int outside(struct sim *s, struct sim_proc *sp, uint32_t op, uint64_t a0, uint64_t a1,
		   uint64_t a2, uint64_t *ret_val)
{
	uint32_t slot = sp->max_acts + UPABI_OUTSIDE_CALLS - 1;
	uint64_t arg[5] = { a0, a1, a2, 0, 0 };

	ring(s, sp, slot, op, arg);
	drain_calls(s, sp, slot);
	if (ret_val)
		*ret_val = sim_amap(sp, slot)->call_val;
	return sim_amap(sp, slot)->call_result;
}

static void saw_message(struct sim *s, struct sim_proc *sp, const struct upabi_event *ev)
{
	if (ev->nr != UPABI_EV_USER || ev->aux != SIM_OURS)
		return;
	if (ev->val == 0 || ev->val > sp->next_val) {
		sim_fail(s, "a message that nobody sent");
		return;
	}
	if (sp->seen[ev->val / 8] >> (ev->val % 8) & 1) {
		sim_fail(s, "a message came twice");
		return;
	}
	sp->seen[ev->val / 8] |= (uint8_t)(1u << (ev->val % 8));
	sp->received++;
}

/* As the vcore does: pending first, then everything that lies there. */
void sim_drain_vcore(struct sim *s, struct sim_proc *sp, uint32_t vcore)
{
	struct upabi_vcoredata *vd = sim_vd(sp, vcore);

	vd->notif_pending = 0;
	while (vd->ring_head != vd->ring_tail) {
		saw_message(s, sp, &vd->ring[vd->ring_head % UPABI_RING_LEN]);
		vd->ring_head++;
		s->stat.events++;
	}
	if (!sp->nomsg && !sim_vmap(sp, vcore)->overflow)
		for (int w = 0; w < (int)UPABI_MASK_WORDS; w++)
			if (vd->mask[w])
				sim_fail(s, "a bit is set though the ring had room");
	memset(vd->mask, 0, sizeof(vd->mask));
}

static uint64_t new_val(struct sim_proc *sp)
{
	uint64_t val = ++sp->next_val;

	if (val / 8 >= sp->seen_cap) {
		uint64_t cap = sp->seen_cap ? sp->seen_cap * 2 : 64;

		sp->seen = realloc(sp->seen, cap);
		memset(sp->seen + sp->seen_cap, 0, cap - sp->seen_cap);
		sp->seen_cap = cap;
	}
	return val;
}

/* A message from outside, with a number of its own. */
void sim_post(struct sim *s, struct sim_proc *sp)
{
	struct upabi_event ev = { .nr = UPABI_EV_USER, .aux = SIM_OURS };
	uint32_t vcore = sim_chance(s, 50) ? UPABI_NONE : sim_below(s, sp->max_vcores);
	int burst = sim_chance(s, 3) ? 70 : 1, ret = 0;

	if (sp->hostile) {
		ev.aux = 0;
		ev.val = sim_rand(s);
		up_kern_post(s->k, sp->p, vcore, &ev, s->now);
		return;
	}
	while (burst--) {
		ev.val = new_val(sp);
		ret = up_kern_post(s->k, sp->p, vcore, &ev, s->now);
		if (ret == 0 && !(sp->data->evt[ev.nr].flags & UPABI_EVF_NOMSG))
			sp->sent++;
		if (ret == 0 && up_proc_state(sp->p) == UPABI_WAITING)
			sim_fail(s, "a message did not wake its process");
	}
	sim_log(s, "post", sp->pid, vcore, (int64_t)ev.val, 0, ret);
}

/* Out of vcore context: open, look once more, and come back if something lies there. */
static void open_up(struct sim *s, struct sim_proc *sp, struct sim_act *a)
{
	struct upabi_vcoredata *vd = sim_vd(sp, a->vcore);

	vd->notif_disabled = 0;
	a->open = true;
	if (vd->notif_pending) {
		vd->notif_disabled = 1;
		a->open = false;
		sim_drain_vcore(s, sp, a->vcore);
	}
}

static void request(struct sim *s, struct sim_proc *sp, uint32_t act)
{
	struct upabi_res_request *res = sp->data->res;

	res[UPABI_RES_CORES].wanted = sim_below(s, sp->max_vcores + 2);
	res[UPABI_RES_CORES].wanted_min = sim_chance(s, 70) ? 0 : sim_below(s, 4);
	if (sim_chance(s, 20)) {
		res[UPABI_RES_MEMORY].wanted = sim_below(s, 1 << 20);
		res[UPABI_RES_MEMORY].wanted_min = sim_chance(s, 80) ? 0 : sim_below(s, 1 << 20);
	}
	call(s, sp, act, UPABI_OP_REQUEST, 0, 0, 0, 0, 0);
}

/* In vcore context, all is possible. */
static void vcore_step(struct sim *s, struct sim_proc *sp, uint32_t act)
{
	struct sim_act *a = &sp->acts[act];
	uint32_t what = sim_below(s, 100);

	if (what < 40) {
		sim_drain_vcore(s, sp, a->vcore);
		open_up(s, sp, a);
	} else if (what < 52) {
		sim_drain_vcore(s, sp, a->vcore);
		call(s, sp, act, UPABI_OP_YIELD, a->vcore, 0, 0, 0, 0);
	} else if (what < 58) {
		call(s, sp, act, UPABI_OP_YIELD, a->vcore, 1, 0, 0, 0);
	} else if (what < 66) {
		request(s, sp, act);
	} else if (what < 74) {
		call(s, sp, act, UPABI_OP_CHANGE_TO, a->vcore, sim_below(s, sp->max_vcores),
		     sim_below(s, 2), 0, 0);
	} else if (what < 80) {
		call(s, sp, act, UPABI_OP_PREEMPTED, a->vcore, sim_below(s, 2), 0, 0, 0);
	} else if (what < 84) {
		call(s, sp, act, UPABI_OP_PREEMPT,
		     sim_chance(s, 20) ? UPABI_NONE : sim_below(s, sp->max_vcores),
		     sim_chance(s, 50) ? 0 : sim_below(s, 3000), 0, 0, 0);
	} else if (what < 86) {
		sim_drain_vcore(s, sp, a->vcore);
		call(s, sp, act, UPABI_OP_YIELD_ALL, 0, 0, 0, 0, 0);
	} else if (what < 89) {
		call(s, sp, act, UPABI_OP_TO_S, a->vcore, 0, 0, 0, 0);
	} else if (what < 92) {
		call(s, sp, act, UPABI_OP_ACT_DEL, sim_below(s, 3), 0, 0, 0, 0);
	} else if (what < 93) {
		call(s, sp, act, UPABI_OP_EVENT_ALLOC, 0, 0, 0, 0, 0);
	} else {
		call(s, sp, act, UPABI_OP_NOTIFY, 0, UPABI_EV_NONE, sim_below(s, sp->max_vcores), 0,
		     0);
	}
}

/* Somebody pooled notices that act sits in Linux: whoever stands by, sometimes anybody. */
static void notice(struct sim *s, struct sim_proc *sp, uint32_t act)
{
	struct sim_act *a = &sp->acts[act], *b;
	uint32_t by = sim_vmap(sp, a->vcore)->standby;

	if (by == UPABI_NONE || sim_chance(s, 10))
		by = sim_below(s, sp->max_acts);
	if (by >= sp->max_acts || by == act)
		return;
	b = &sp->acts[by];
	if (b->place != AT_GATE || b->waiting)
		return;
	if (sim_amap(sp, by)->state != UPABI_ACT_POOLED &&
	    sim_amap(sp, by)->state != UPABI_ACT_RUNNING)
		return;
	a->claim = CLAIM_MADE;
	b->place = AT_VCORE;
	b->vcore = a->vcore;
	b->victim = act;
	b->open = false;
	sim_vd(sp, a->vcore)->notif_disabled = 1;
	stand_on(s, b, sim_vmap(sp, a->vcore)->pcore);
	s->stat.blocks++;
	call(s, sp, by, UPABI_OP_BLOCKED, a->vcore, act, sim_amap(sp, act)->gen, 1, 0);
}

static void blocked_step(struct sim *s, struct sim_proc *sp, uint32_t act)
{
	struct sim_act *a = &sp->acts[act];
	uint32_t state = sim_amap(sp, act)->state;

	if (a->claim == CLAIM_MADE)
		return;
	if (a->claim == CLAIM_NONE && state == UPABI_ACT_RUNNING && sim_vmap(sp, a->vcore)->valid &&
	    sim_chance(s, 70)) {
		notice(s, sp, act);
		return;
	}
	/* It comes back. */
	if (state == UPABI_ACT_BLOCKED) {
		s->stat.unblocks++;
		call(s, sp, act, UPABI_OP_UNBLOCKED, act, sim_chance(s, 50), 0, 0, 0);
	} else if (state == UPABI_ACT_RUNNING) {
		if (a->claim == CLAIM_VOID) /* whoever stepped in shut its notifications */
			a->open = false;
		a->claim = CLAIM_NONE;
		a->place = AT_VCORE;
		stand_on(s, a, sim_vmap(sp, a->vcore)->pcore);
		if (sim_vd(sp, a->vcore)->notif_pending) { /* on the way out of the call */
			a->open = false;
			sim_vd(sp, a->vcore)->notif_disabled = 1;
		}
	}
}

static void act_step(struct sim *s, struct sim_proc *sp, uint32_t act)
{
	struct sim_act *a = &sp->acts[act];

	if (a->waiting) {
		if (sp->bell)
			drain_calls(s, sp, act);
		return;
	}
	switch (a->place) {
	case AT_GATE:
		if (!s->calm && sim_chance(s, 5)) /* woken for nothing */
			sim_enter(s, sp, act);
		break;
	case AT_VCORE:
		if (a->open && a->pcore != UPABI_NONE && sim_chance(s, 40)) {
			sim_leave_core(s, a);
			a->place = AT_BLOCKED;
			a->claim = CLAIM_NONE;
		} else if (a->open) {
			a->open = false;
			sim_vd(sp, a->vcore)->notif_disabled = 1;
		} else {
			vcore_step(s, sp, act);
		}
		break;
	case AT_BLOCKED:
		blocked_step(s, sp, act);
		break;
	default:
		break;
	}
}

static void add_act(struct sim *s, struct sim_proc *sp)
{
	uint64_t nr;

	if (sp->wants)
		sp->wants--;
	if (outside(s, sp, UPABI_OP_ACT_ADD, sim_rand(s), 0, 0, &nr) < 0)
		return;
	if (sp->hostile)
		return;
	sp->acts[nr].place = AT_GATE;
	sp->acts[nr].released = UINT64_MAX;
	sp->acts[nr].claim = CLAIM_NONE;
	sp->acts[nr].victim = UPABI_NONE;
	sp->acts[nr].waiting = 0;
	sp->acts[nr].seq = sim_amap(sp, (uint32_t)nr)->call_ack;
}

static void nonsense(struct sim *s, struct sim_proc *sp)
{
	uint64_t arg[5];
	struct upabi_call c = { 0 };
	uint64_t val;

	sp->scribbled = true;
	if (sim_chance(s, 50)) {
		uint64_t words = upabi_data_size(sp->max_vcores, sp->max_acts) / 8;
		int nr = 1 + (int)sim_below(s, 30);

		while (nr--)
			((uint64_t *)sp->data)[sim_rand(s) % words] = sim_chance(s, 50)
									      ? sim_rand(s)
									      : sim_below(s, 70);
		up_kern_drain(s->k, sp->p, sim_below(s, 100), s->now);
		return;
	}
	for (int i = 0; i < 5; i++)
		arg[i] = sim_chance(s, 90) ? sim_below(s, sp->max_acts + 1) : sim_rand(s);
	memcpy(c.arg, arg, sizeof(arg));
	c.op = sim_below(s, UPABI_OP_NR + 1);
	if (c.op == UPABI_OP_EXIT && sim_chance(s, 95))
		return;
	up_kern_call(s->k, sp->p, sim_below(s, upabi_call_slots(sp->max_acts) + 2), &c, s->now,
		     &val);
	sim_log(s, "nonsense", sp->pid, c.op, (int64_t)arg[0], (int64_t)arg[1], 0);
}

static void outside_step(struct sim *s, struct sim_proc *sp)
{
	uint32_t state = up_proc_state(sp->p);

	if (state == UPABI_CREATED) {
		sim_log(s, "run", sp->pid, 0, 0, 0, up_kern_run(s->k, sp->p, s->now));
	} else if (state == UPABI_RUNNING_S && sp->initial && sim_chance(s, 60)) {
		uint64_t val = 0;

		sp->data->res[UPABI_RES_CORES].wanted = 1 + sim_below(s, sp->max_vcores);
		if (outside(s, sp, UPABI_OP_REQUEST, 0, 0, 0, &val) == 0 && val == 1)
			sp->initial = false;
	} else if (sim_chance(s, 50)) {
		sim_post(s, sp);
	} else if (sp->wants || sim_chance(s, 20)) {
		add_act(s, sp);
	}
}

void sim_proc_step(struct sim *s, struct sim_proc *sp)
{
	uint32_t act = 0, from = sim_below(s, sp->max_acts);

	if (up_proc_is_dead(sp->p))
		return;
	if (sp->hostile && sim_below(s, 100) < sp->hostile) {
		nonsense(s, sp);
		return;
	}
	if (sp->hostile || sim_chance(s, 20) || up_proc_state(sp->p) == UPABI_CREATED ||
	    (sp->initial && sim_chance(s, 60))) {
		if (sp->wants)
			add_act(s, sp);
		else
			outside_step(s, sp);
		return;
	}
	for (uint32_t i = 0; i < sp->max_acts; i++) {
		act = (from + i) % sp->max_acts;
		if (sp->acts[act].place != AT_NONE && sp->acts[act].place != AT_FROZEN &&
		    (sp->acts[act].place != AT_GATE || sp->acts[act].waiting || sim_chance(s, 10)))
			break;
	}
	act_step(s, sp, act);
}
