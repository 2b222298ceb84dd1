/* SPDX-License-Identifier: MIT */
/*
 * The kernel side in virtual time, under a seed: what happens next is drawn, effects are performed
 * late and in any order, starts and takes fail now and then, and reports of what was done come
 * later still. The invariants are asked after every turn.
 */
#include "gate3.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/region.h"
#include "kern/kern.h"

#define BAG 1024u

enum step {
	PERFORM,
	REPORT,
	LEAVING
};

struct item {
	struct up_effect e;
	enum step step;
	int status;
	uint32_t starts; /* of the activation when this was decided */
};

struct sim {
	struct g3 *g;
	struct up_kern *kern;
	struct up_proc *proc;
	struct up_region region;
	struct up_port port;
	uint64_t now;
	uint64_t dice;
	struct item bag[BAG];
	uint32_t nr;
	char trace[50][64];
	uint32_t steps;
};

static uint64_t roll(struct sim *s, uint64_t sides)
{
	s->dice ^= s->dice << 13;
	s->dice ^= s->dice >> 7;
	s->dice ^= s->dice << 17;
	return s->dice % sides;
}

static void *alloc(void *arg, size_t sz)
{
	return calloc(1, sz);
}

static void dealloc(void *arg, void *p, size_t sz)
{
	free(p);
}

static void put(struct sim *s, const struct item *it)
{
	if (s->nr == BAG)
		g3_fail(s->g, "more than %u effects under way", BAG);
	else
		s->bag[s->nr++] = *it;
}

static void collect(struct sim *s)
{
	struct item it = { .step = PERFORM };

	while (up_kern_next_effect(s->kern, &it.e)) {
		if (it.e.op == UP_EFF_RELEASE)
			s->proc = NULL;
		it.starts = it.e.act < s->g->cfg.acts ? s->port.amap[it.e.act].starts : 0;
		put(s, &it);
	}
	if (s->proc && up_kern_check(s->kern))
		g3_fail(s->g, "seed %llu: %s", (unsigned long long)s->g->seed,
			up_kern_check(s->kern));
}

static void ring(struct up_port *port, uint32_t slot)
{
	struct sim *s = port->side;

	if (s->proc)
		up_kern_drain(s->kern, s->proc, slot, s->now);
	else
		up_port_lose(port, -ESRCH);
	collect(s);
}

static void report(struct sim *s, const struct item *it, int status)
{
	struct item later = *it;

	later.step = REPORT;
	later.status = status;
	put(s, &later);
}

/* One that fails never was, for its activation either; one that has seen it by itself is there. */
static void start(struct sim *s, const struct item *it)
{
	struct g3_act *a = g3_act_of(s->g, it->e.act);
	uint32_t starts = s->port.amap[it->e.act].starts;

	if (a && a->starts_seen != starts && starts == it->starts && roll(s, 10) == 0) {
		a->starts_seen = starts;
		report(s, it, -EIO);
		return;
	}
	up_fetch_add_release(&s->port.call[it->e.act].gate, 1);
	report(s, it, 0);
}

/* A take is over when its activation has answered; one that never does is frozen. */
static void take(struct sim *s, struct item it)
{
	const struct upabi_vcoremap *m = &s->port.vmap[it.e.vcore];
	struct g3_act *a = g3_act_of(s->g, it.e.act);

	if (!m->valid || !(m->flags & UPABI_VMF_TAKE) || m->act != it.e.act)
		return;
	if (it.step == PERFORM && roll(s, 10) == 0) {
		report(s, &it, -EIO);
		return;
	}
	if (a)
		g3_interrupt(a);
	it.step = LEAVING;
	if (!a)
		report(s, &it, UP_TOOK_GONE);
	else if (s->g->ignore_takes && roll(s, 4) == 0)
		report(s, &it, UP_TOOK_VCORE);
	else
		put(s, &it);
}

static void perform(struct sim *s, const struct item *it)
{
	struct g3_act *a = it->e.act == UPABI_NONE ? NULL : g3_act_of(s->g, it->e.act);

	switch (it->e.op) {
	case UP_EFF_START:
		start(s, it);
		break;
	case UP_EFF_NOTIFY:
		if (a && !s->port.vc[it->e.vcore].notif_disabled)
			g3_interrupt(a);
		break;
	case UP_EFF_TAKE:
		take(s, *it);
		break;
	case UP_EFF_WANT_ACT:
		s->g->want_acts += it->e.arg;
		break;
	case UP_EFF_DROP_ACT:
		if (a)
			a->quit = 1;
		break;
	case UP_EFF_KILL:
		report(s, it, 0);
		break;
	case UP_EFF_RELEASE:
		up_port_lose(&s->port, -ESRCH);
		break;
	default:
		break;
	}
}

static void draw_effect(struct sim *s)
{
	uint32_t i = (uint32_t)roll(s, s->nr);
	struct item it = s->bag[i];

	s->bag[i] = s->bag[--s->nr];
	snprintf(s->trace[s->steps++ % 50], 64, "%llu eff %d step %d act %u vcore %u st %d",
		 (unsigned long long)s->now, it.e.op, it.step, it.e.act, it.e.vcore, it.status);
	if (it.step == REPORT)
		up_kern_effect_done(s->kern, it.e.id, it.status, s->now);
	else if (it.step == LEAVING)
		take(s, it);
	else
		perform(s, &it);
	collect(s);
}

static void turn(struct g3 *g)
{
	struct sim *s = g->priv;
	uint64_t next;

	s->now += roll(s, 2000);
	switch (roll(s, 8)) {
	case 0:
	case 1:
	case 2:
		if (s->nr)
			draw_effect(s);
		break;
	case 3:
		next = up_kern_deadline(s->kern);
		if (!next || (next > s->now && roll(s, 16)))
			break;
		s->now = next > s->now ? next : s->now;
		snprintf(s->trace[s->steps++ % 50], 64, "%llu tick", (unsigned long long)s->now);
		up_kern_tick(s->kern, s->now);
		collect(s);
		break;
	default:
		if (g->nr_acts) {
			struct g3_act *a = &g->act[roll(s, g->nr_acts)];

			if (!g3_act_step(a))
				break;
			snprintf(s->trace[s->steps++ % 50], 64, "%llu act %u at %u cmd %u",
				 (unsigned long long)s->now, a->num, a->where, a->cmd ? a->op : 0);
		}
	}
}

static int open_sim(struct g3 *g)
{
	struct up_region_cfg rc = { g->cfg.vcores, G3_PCORES, g->cfg.acts, false };
	struct up_kern_cfg kc = {
		.max_pcores = G3_PCORES,
		.grace_ns = g->cfg.grace_ns,
		.alloc = alloc,
		.free = dealloc,
	};
	struct sim *s = calloc(1, sizeof(*s));
	struct up_proc_cfg pc;
	int ret;

	if (!s)
		return -ENOMEM;
	g->priv = s;
	s->g = g;
	s->now = UP_NSEC_PER_SEC;
	s->dice = g->seed * 0x9e3779b97f4a7c15ull + 1;
	ret = up_region_create(&rc, &s->region);
	if (ret)
		return ret;
	pc = (struct up_proc_cfg){ .max_vcores = g->cfg.vcores,
				   .max_acts = g->cfg.acts,
				   .standby = g->cfg.standby,
				   .mechanisms = UPABI_MECH_EMBEDDED,
				   .info = s->region.info,
				   .data = s->region.data,
				   .host = s };
	ret = up_kern_create(&kc, &s->kern);
	if (!ret)
		ret = up_kern_proc_create(s->kern, &pc, s->now, &s->proc);
	if (!ret)
		ret = up_kern_run(s->kern, s->proc, s->now);
	if (!ret)
		ret = up_port_init(&s->port, s->region.info_ro, s->region.data);
	s->port.ring = ring;
	s->port.side = s;
	g->port = &s->port;
	return ret;
}

static void close_sim(struct g3 *g)
{
	struct sim *s = g->priv;

	if (g->broken[0] && getenv("GATE3_TRACE"))
		for (uint32_t i = s->steps > 50 ? s->steps - 50 : 0; i < s->steps; i++)
			fprintf(stderr, "  %s\n", s->trace[i % 50]);
	up_kern_destroy(s->kern);
	up_region_fini(&s->region);
	free(s);
}

static int ctl(struct g3 *g, enum g3_ctl op, uint64_t a, uint64_t b)
{
	struct sim *s = g->priv;
	int ret = -EINVAL;

	switch (op) {
	case G3_CORE_ADD:
		ret = up_kern_core_add(s->kern, (uint32_t)a, s->now);
		break;
	case G3_CORE_REMOVE:
		ret = up_kern_core_remove(s->kern, (uint32_t)a, b ? s->now + b : 0, s->now);
		break;
	case G3_CORE_LIMIT:
		ret = up_kern_core_limit(s->kern, (uint32_t)a, s->now);
		break;
	case G3_KILL:
		ret = up_kern_proc_destroy(s->kern, s->proc, s->now);
		break;
	}
	collect(s);
	return ret;
}

static const char *check(struct g3 *g)
{
	struct sim *s = g->priv;

	return up_kern_check(s->kern);
}

static uint64_t now(struct g3 *g)
{
	struct sim *s = g->priv;

	return s->now;
}

const struct g3_side g3_sim = {
	.name = "virtual",
	.virtual_time = true,
	.open = open_sim,
	.close = close_sim,
	.ctl = ctl,
	.check = check,
	.turn = turn,
	.now = now,
};
