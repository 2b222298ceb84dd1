/* SPDX-License-Identifier: MIT */
/* A kernel side in a process of its own, started, asked and ended by a test. */
#ifndef UP_TESTS_GATE3_SERVER_H
#define UP_TESTS_GATE3_SERVER_H

#include <stdint.h>
#include <sys/types.h>

#include "gate3.h"

enum g3_srv_op {
	G3_SRV_CTL, /* arg: enum g3_ctl, a, b */
	G3_SRV_CHECK,
	G3_SRV_CLIENTS,
	G3_SRV_FDS,	/* descriptors that it has open */
	G3_SRV_PREEMPT, /* os_pid, vcore, grace */
	G3_SRV_STOP,
};

struct g3_server {
	pid_t pid;
	int ctl;
	char name[64];
};

/* setup(arg) runs in the new process before it serves; NULL. */
int g3_server_start(struct g3_server *s, const char *name, const struct g3_cfg *cfg,
		    void (*setup)(void *arg), void *arg);
/* -EPIPE when it is no more.  text (128 bytes, may be NULL): what is broken, or "". */
int g3_server_ask(struct g3_server *s, enum g3_srv_op op, uint64_t a, uint64_t b, uint64_t c,
		  char *text);
/* Ends it, if it is not ended, and waits.  The status as wait() has it. */
int g3_server_stop(struct g3_server *s);
/* A name that nobody else uses. */
void g3_server_name(char name[64]);

/* Where g3_remote attaches; NULL: it starts a server of its own. */
extern struct g3_server *g3_remote_server;

#endif
