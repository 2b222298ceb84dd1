/* SPDX-License-Identifier: MIT */
/*
 * The kernel side in the same process: struct up_embed with the smallest host that keeps its
 * promises. One service thread sets deadlines off and ends takes that nobody answers.
 */
#include "gate3.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/futex.h"
#include "host/embed.h"

struct side {
	struct g3 *g;
	struct up_embed *embed;
	pthread_t service;
	uint32_t bell;
	uint32_t stop;
	uint64_t deadline;	     /* atomic, 0 none */
	uint64_t take_id[G3_VCORES]; /* atomic, 0 none */
	uint64_t take_due[G3_VCORES];
};

static void ring_service(struct side *s)
{
	up_fetch_add_release(&s->bell, 1);
	up_futex_wake_private(&s->bell, 1);
}

static void start(void *arg, const struct up_effect *e)
{
	struct side *s = arg;

	up_port_gate_open(s->g->port, e->act);
	up_embed_effect_done(s->embed, e->id, 0);
}

static void send_signal(const struct up_effect *e)
{
	syscall(SYS_tgkill, getpid(), (pid_t)e->arg, G3_SIGNAL);
}

static void notify(void *arg, const struct up_effect *e)
{
	struct side *s = arg;

	if (!up_load_acquire(&s->g->port->vc[e->vcore].notif_disabled))
		send_signal(e);
}

static void take(void *arg, const struct up_effect *e)
{
	struct side *s = arg;

	s->take_due[e->vcore] = up_now_ns() + s->g->cfg.take_ns;
	up_store_release(&s->take_id[e->vcore], e->id);
	send_signal(e);
	ring_service(s);
}

static void want_act(void *arg, const struct up_effect *e)
{
	struct side *s = arg;

	up_fetch_add_release(&s->g->want_acts, e->arg);
}

static void drop_act(void *arg, const struct up_effect *e)
{
	struct side *s = arg;
	struct g3_act *a = g3_act_of(s->g, e->act);

	if (!a)
		return;
	up_store_release(&a->quit, 1);
	g3_wake(a);
	up_port_gate_open(s->g->port, e->act);
}

static void kill_all(void *arg, const struct up_effect *e)
{
	struct side *s = arg;

	up_store_release(&s->g->killed, 1);
	up_embed_effect_done(s->embed, e->id, 0);
}

static void deadline(void *arg, uint64_t deadline_ns)
{
	struct side *s = arg;

	up_store_release(&s->deadline, deadline_ns);
	ring_service(s);
}

/* Those not answered in time: whoever runs there is frozen where it is. */
static uint64_t end_takes(struct side *s, uint64_t now)
{
	uint64_t next = UP_FUTEX_FOREVER;

	for (uint32_t v = 0; v < G3_VCORES; v++) {
		uint64_t id = up_load_acquire(&s->take_id[v]);

		if (!id)
			continue;
		if (s->take_due[v] <= now) {
			up_cas_relaxed(&s->take_id[v], &id, 0);
			up_embed_effect_done(s->embed, id, UP_TOOK_VCORE);
		} else if (s->take_due[v] < next) {
			next = s->take_due[v];
		}
	}
	return next;
}

static void *serve(void *arg)
{
	struct side *s = arg;

	while (!up_load_acquire(&s->stop)) {
		uint32_t bell = up_load_acquire(&s->bell);
		uint64_t now = up_now_ns(), next = end_takes(s, now);
		uint64_t due = up_load_acquire(&s->deadline);

		if (due && due <= now) {
			up_store_release(&s->deadline, 0);
			up_embed_tick(s->embed);
			continue;
		}
		if (due && due < next)
			next = due;
		up_futex_wait_private(&s->bell, bell, next);
	}
	return NULL;
}

static const struct up_embed_ops ops = {
	.start = start,
	.notify = notify,
	.take = take,
	.want_act = want_act,
	.drop_act = drop_act,
	.kill = kill_all,
	.deadline = deadline,
};

static int open_embed(struct g3 *g)
{
	struct side *s = calloc(1, sizeof(*s));
	struct up_embed_cfg cfg = {
		.max_pcores = G3_PCORES,
		.max_vcores = g->cfg.vcores,
		.max_acts = g->cfg.acts,
		.mechanisms = g->cfg.standby ? UPABI_MECH_WATCHER : 0,
		.grace_ns = g->cfg.grace_ns,
		.ops = &ops,
		.arg = s,
	};
	int ret;

	if (!s)
		return -ENOMEM;
	s->g = g;
	g->priv = s;
	ret = up_embed_create(&cfg, &s->embed);
	if (ret)
		return ret;
	g->port = up_embed_port(s->embed);
	return -pthread_create(&s->service, NULL, serve, s);
}

static void close_embed(struct g3 *g)
{
	struct side *s = g->priv;

	up_store_release(&s->stop, 1);
	ring_service(s);
	pthread_join(s->service, NULL);
	up_embed_destroy(s->embed);
	free(s);
}

static int ctl(struct g3 *g, enum g3_ctl op, uint64_t a, uint64_t b)
{
	struct side *s = g->priv;

	switch (op) {
	case G3_CORE_ADD:
		return up_embed_core_add(s->embed, (uint32_t)a);
	case G3_CORE_REMOVE:
		return up_embed_core_remove(s->embed, (uint32_t)a, b ? up_now_ns() + b : 0);
	case G3_CORE_LIMIT:
		return up_embed_core_limit(s->embed, (uint32_t)a);
	case G3_KILL:
		return g3_call(g, UPABI_OP_EXIT, 0, 0, 0, NULL);
	}
	return -EINVAL;
}

static const char *check(struct g3 *g)
{
	struct side *s = g->priv;

	return up_embed_check(s->embed);
}

static void turn(struct g3 *g)
{
	usleep(50);
}

static uint64_t now(struct g3 *g)
{
	return up_now_ns();
}

const struct g3_side g3_embed = {
	.name = "embedded",
	.open = open_embed,
	.close = close_embed,
	.ctl = ctl,
	.check = check,
	.turn = turn,
	.now = now,
};
