/* SPDX-License-Identifier: MIT */
/*
 * A process's connection to a kernel side in another process.
 *
 *	up_client_attach() -> up_client_port(): calls as ever
 *	a service thread sits in up_client_next() and does what it says
 *
 * When the kernel side dies, calls under way answer -EPIPE within a tenth of a second, later ones at
 * once; gates open for good.  The process then goes on as an ordinary one: its cores are Linux' to
 * give, what procinfo says is the last that was known.
 */
#ifndef UP_HOST_CLIENT_H
#define UP_HOST_CLIENT_H

#include <stdint.h>

#include "host/port.h"
#include "host/wire.h"

struct up_client;

struct up_client_cfg {
	const char *name; /* of the server's socket, in Linux' abstract namespace */
	uint32_t max_vcores;
	uint32_t max_acts;
	uint32_t mechanisms;
	uint32_t standby;
	int signal; /* SIGURG or a real-time signal */
};

/* Connects and maps.  -ECONNREFUSED when nobody serves, -ETIMEDOUT when nobody answers, -EPROTO,
 * or the server's refusal.  Allocates; not for vcore context. */
int up_client_attach(const struct up_client_cfg *cfg, struct up_client **ret_client);
/* No call may be under way.  NULL does nothing. */
void up_client_detach(struct up_client *c);
struct up_port *up_client_port(struct up_client *c);

/* Waits for the next message, timeout_ms at most (-1: for ever).  1: *ret_msg is set; 0: none came;
 * -EPIPE: the kernel side is gone, and the port says so too. */
int up_client_next(struct up_client *c, int timeout_ms, struct up_wire_msg *ret_msg);

#endif
