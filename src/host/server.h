/* SPDX-License-Identifier: MIT */
/*
 * The kernel side in a process of its own, for many processes: one thread, one epoll set.
 *
 *	up_server_create() -> core_add() for each core -> step() for ever -> destroy()
 *
 * It trusts nobody whom it serves.  Who a process is comes from the socket's credentials, never
 * from its words; a task is signalled or moved only as a task of that process; regions cannot be
 * shrunk under it; a bell is never read, a message never waited for.  A process that dies, hangs
 * up or lies loses what it had, and nobody else notices.  It leaves no file: its name is in Linux'
 * abstract namespace and goes with it.
 */
#ifndef UP_HOST_SERVER_H
#define UP_HOST_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "kern/kern.h"

struct up_server;

struct up_server_cfg {
	const char *name; /* of the socket, in the abstract namespace */
	uint32_t max_pcores;
	uint32_t max_vcores; /* what one process may ask for at most */
	uint32_t max_acts;
	uint32_t max_clients;
	uint64_t grace_ns;   /* see up_kern_cfg */
	uint64_t quantum_ns; /* see up_kern_cfg */
	uint64_t take_ns;    /* a task that is told to leave has so long before it is moved */
};

/* -EADDRINUSE: somebody serves under that name. */
int up_server_create(const struct up_server_cfg *cfg, struct up_server **ret_server);
/* Every process loses its kernel side.  NULL does nothing. */
void up_server_destroy(struct up_server *s);

/* Waits for whatever comes, timeout_ms at most (-1: for ever), and does it.  0 or -errno. */
int up_server_step(struct up_server *s, int timeout_ms);

int up_server_core_add(struct up_server *s, uint32_t pcore);
int up_server_core_remove(struct up_server *s, uint32_t pcore, uint64_t deadline_ns);
int up_server_core_limit(struct up_server *s, uint32_t limit);
/* Ends a process: its tasks are killed.  `os_pid` as Linux numbers it.  -ESRCH. */
int up_server_kill(struct up_server *s, uint32_t os_pid);
int up_server_preempt(struct up_server *s, uint32_t os_pid, uint32_t vcore, uint64_t deadline_ns);
int up_server_post(struct up_server *s, uint32_t os_pid, uint32_t vcore,
		   const struct upabi_event *ev);

/* Connections that are there, greeted or not. */
uint32_t up_server_clients(const struct up_server *s);
struct up_kern *up_server_kern(struct up_server *s);

#endif
