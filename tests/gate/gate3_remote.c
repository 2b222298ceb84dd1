/* SPDX-License-Identifier: MIT */
/*
 * The kernel side in a second process: the same words and a doorbell, by way of the server and the
 * client. A service thread takes what comes by message.
 */
#include "gate3.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gate3_server.h"
#include "host/client.h"

struct g3_server *g3_remote_server;

struct side {
	struct g3 *g;
	struct g3_server own;
	struct g3_server *server;
	struct up_client *client;
	pthread_t service;
	uint32_t stop;
};

static void heed(struct side *s, const struct up_wire_msg *m)
{
	struct g3_act *a;

	switch ((enum up_wire_op)m->op) {
	case UP_WIRE_WANT_ACT:
	case UP_WIRE_RESYNC:
		up_fetch_add_release(&s->g->want_acts, m->arg);
		break;
	case UP_WIRE_DROP_ACT:
		a = g3_act_of(s->g, m->act);
		if (a) {
			up_store_release(&a->quit, 1);
			g3_wake(a);
			up_port_gate_open(s->g->port, m->act);
		}
		break;
	case UP_WIRE_KILL:
		up_store_release(&s->g->killed, 1);
		break;
	case UP_WIRE_STANDBY:
		break;
	}
}

static void *listen_for(void *arg)
{
	struct side *s = arg;
	struct up_wire_msg m;

	while (!up_load_acquire(&s->stop)) {
		int got = up_client_next(s->client, 5, &m);

		if (got < 0)
			return NULL;
		if (got)
			heed(s, &m);
	}
	return NULL;
}

static int open_remote(struct g3 *g)
{
	struct side *s = calloc(1, sizeof(*s));
	struct up_client_cfg cc = {
		.max_vcores = g->cfg.vcores,
		.max_acts = g->cfg.acts,
		.standby = g->cfg.standby,
		.signal = G3_SIGNAL,
	};
	int ret;

	if (!s)
		return -ENOMEM;
	s->g = g;
	g->priv = s;
	s->server = g3_remote_server;
	if (!s->server) {
		char name[64];

		g3_server_name(name);
		s->server = &s->own;
		ret = g3_server_start(&s->own, name, &g->cfg, NULL, NULL);
		if (ret)
			return ret;
	}
	cc.name = s->server->name;
	ret = up_client_attach(&cc, &s->client);
	if (ret)
		return ret;
	g->port = up_client_port(s->client);
	return -pthread_create(&s->service, NULL, listen_for, s);
}

static void close_remote(struct g3 *g)
{
	struct side *s = g->priv;
	int status = 0;

	up_store_release(&s->stop, 1);
	if (s->client)
		pthread_join(s->service, NULL);
	up_client_detach(s->client);
	if (s->server == &s->own)
		status = g3_server_stop(&s->own);
	if (status)
		g3_fail(g, "the server ended with status %x", status);
	free(s);
}

static int ctl(struct g3 *g, enum g3_ctl op, uint64_t a, uint64_t b)
{
	struct side *s = g->priv;
	int ret;

	if (s->server != &s->own && op != G3_KILL)
		return 0; /* a shared machine is not ours to change */
	ret = g3_server_ask(s->server, G3_SRV_CTL, op, op == G3_KILL ? (uint64_t)getpid() : a, b,
			    NULL);
	return ret;
}

static const char *check(struct g3 *g)
{
	static char text[128];
	struct side *s = g->priv;
	int ret = g3_server_ask(s->server, G3_SRV_CHECK, 0, 0, 0, text);

	if (ret && !text[0])
		snprintf(text, sizeof(text), "the server does not answer: %d", ret);
	return text[0] ? text : NULL;
}

static void turn(struct g3 *g)
{
	usleep(50);
}

static uint64_t now(struct g3 *g)
{
	return up_now_ns();
}

const struct g3_side g3_remote = {
	.name = "remote",
	.open = open_remote,
	.close = close_remote,
	.ctl = ctl,
	.check = check,
	.turn = turn,
	.now = now,
};
