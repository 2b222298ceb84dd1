/* SPDX-License-Identifier: MIT */
/*
 * The process's side of the boundary: where the regions are mapped, and how a call is made.
 *
 * A call is words in shared memory and a doorbell, whether the kernel side lives in this process
 * or in another one.  Everything here may run on any thread, with any FS base, in vcore context
 * or in a signal handler: it touches no TLS, calls nothing in libc and allocates nothing.
 */
#ifndef UP_HOST_PORT_H
#define UP_HOST_PORT_H

#include <stdint.h>

#include "abi/region.h"

struct up_port {
	const struct upabi_procinfo *info; /* read-only mapping */
	struct upabi_procdata *data;
	const struct upabi_vcoremap *vmap;
	const struct upabi_pcoremap *pmap;
	const struct upabi_actmap *amap;
	struct upabi_vcoredata *vc;
	struct upabi_call *call;
	uint64_t *call_pending;
	uint32_t max_vcores;
	uint32_t max_acts;
	/* Rings the bell for `slot`; afterwards the answer is there or will come. */
	void (*ring)(struct up_port *port, uint32_t slot);
	void *side; /* the embedded kernel side, or the connection to the other process */
	/* Asked by who has waited long for an answer: 0, or -errno when the kernel side is gone.
	 * NULL where it cannot go. */
	int (*alive)(struct up_port *port);
	/* atomic, 0 or -errno: the kernel side is gone.  Calls answer this at once and gates no
	 * longer hold anybody; what procinfo says is as the dead side left it. */
	int32_t lost;
	uint32_t outside_taken;	  /* atomic: a bit a slot for other threads; futex word */
	uint32_t outside_waiters; /* atomic: who sleeps on it */
};

/* Fills in the views of two mapped regions, all else zero; the caller then sets ring and side.
 * -EPROTO: not ours, or another version; *port untouched. */
int up_port_init(struct up_port *port, const struct upabi_procinfo *info,
		 struct upabi_procdata *data);

/* Makes one call from `slot`, which the caller owns, and waits for the answer.  Returns the
 * call's result; *ret_val (may be NULL) is set only when that is not negative.  arg NULL: zeros.
 * -EINVAL for a slot or operation that is none, -EPIPE when the kernel side is gone.
 * Nobody may make a second call from the slot meanwhile: an activation that runs a vcore calls
 * with notifications disabled. */
int up_port_call(struct up_port *port, uint32_t slot, enum upabi_op op, const uint64_t arg[5],
		 uint64_t *ret_val);

/* A slot for a thread that is no activation: claimed for one call or a while.  Lock-free, and
 * waits (futex) only while all UPABI_OUTSIDE_CALLS are taken. */
uint32_t up_port_outside_get(struct up_port *port);
void up_port_outside_put(struct up_port *port, uint32_t slot);

/* Looks at the gate of `slot`: take the value, then look at actmap, then wait for a change. */
uint32_t up_port_gate(const struct up_port *port, uint32_t slot);
/* Parks until the gate of `slot` differs from `seen`; returns its new value.  Returns at once
 * when the kernel side is lost. */
uint32_t up_port_gate_wait(struct up_port *port, uint32_t slot, uint32_t seen);
/* Opens the gate (process side: the watcher does this for its standby).  How many it woke. */
int up_port_gate_open(struct up_port *port, uint32_t slot);

/* Takes one event of `vcore`, ring first, then bitmask; 0 when there is none.  One consumer at
 * a time: the vcore itself, or whoever holds its UPABI_VCF_STEALING. */
int up_port_next_event(struct up_port *port, uint32_t vcore, struct upabi_event *ret_ev);

/* The kernel side is gone: says so to all who wait, for good. */
void up_port_lose(struct up_port *port, int error);

#endif
