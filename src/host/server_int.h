/* SPDX-License-Identifier: MIT */
/*
 * What the server's files share.  server.c: the epoll set and the machine.  server_member.c: one
 * process, from its greeting to its end.  server_effect.c: what the kernel side wants done to it.
 */
#ifndef UP_HOST_SERVER_INT_H
#define UP_HOST_SERVER_INT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/list.h"
#include "host/region.h"
#include "host/server.h"
#include "host/wire.h"

/* What an epoll event is about; lies inside what it points into. */
enum up_srv_what {
	UP_SRV_LISTEN,
	UP_SRV_TIMER,
	UP_SRV_SOCK,  /* of a member */
	UP_SRV_DEATH, /* of a member: its pidfd */
	UP_SRV_BELL,  /* of a member */
};

struct up_srv_source {
	enum up_srv_what what;
	int fd; /* -1: none */
};

/* A core being taken back; the task has until `due` to leave by itself. */
struct up_srv_take {
	uint64_t id; /* 0: none under way */
	uint64_t due;
	uint64_t tid; /* as the process says */
	uint32_t act;
	uint32_t pcore;
};

/* One process that we serve, or a connection that has not said yet what it is. */
struct up_srv_member {
	struct up_list link; /* s->members, then s->dead */
	struct up_server *srv;
	struct up_srv_source sock;
	struct up_srv_source death;
	struct up_srv_source bell;
	pid_t pid; /* from the socket's credentials */
	uint64_t greet_by;
	int signal;
	bool leaving;	      /* hung up, exited or dead: what runs there is Linux' alone */
	bool killed;	      /* by us */
	uint64_t kill_id;     /* the effect to report when it is dead, or 0 */
	bool resync;	      /* a message was lost: tell so as soon as one fits */
	uint64_t want;	      /* activations asked for in lost messages */
	struct up_proc *proc; /* NULL before the greeting and after the release */
	struct up_region region;
	uint32_t max_vcores;
	uint32_t max_acts;
	/* our writable views; offsets from our own numbers */
	struct upabi_vcoremap *vmap;
	struct upabi_actmap *amap;
	struct upabi_vcoredata *vc;
	struct upabi_call *call;
	uint32_t nr_takes;
	struct up_srv_take *take; /* one a vcore */
};

struct up_server {
	struct up_server_cfg cfg;
	struct up_kern *kern;
	int epoll;
	struct up_srv_source listen;
	struct up_srv_source timer;
	bool deaf;	/* no descriptor for another connection: not listening */
	uint64_t armed; /* what the timer is set to, 0 none */
	uint32_t nr_members;
	struct up_list members;
	struct up_list dead; /* released; freed at the end of a step */
	uint32_t in_use_sz;
	uint64_t in_use[]; /* bitmap of the machine's pcores */
};

/* server.c */
int up_srv_watch(struct up_server *s, struct up_srv_source *src, uint32_t events);
void up_srv_unwatch(struct up_server *s, struct up_srv_source *src);
/* Performs what was decided, then sets the timer.  After every call into the kernel side. */
void up_srv_settle(struct up_server *s);

/* server_member.c */
void up_srv_accept(struct up_server *s);
void up_srv_heard(struct up_srv_member *m, uint32_t events);
void up_srv_rung(struct up_srv_member *m);
void up_srv_leave(struct up_srv_member *m);
void up_srv_free(struct up_srv_member *m);
void up_srv_say(struct up_srv_member *m, const struct up_wire_msg *msg);

/* server_effect.c */
void up_srv_perform(struct up_server *s, const struct up_effect *e);
/* Takes that are overdue; returns when the next one is, 0 for none. */
uint64_t up_srv_takes(struct up_srv_member *m, uint64_t now);

#endif
