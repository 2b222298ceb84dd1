/* SPDX-License-Identifier: MIT */
/*
 * Events: numbered messages from the kernel side to a process, the ring and the bitmask that carry
 * them, and the vector table in which the process says where it wants each number.
 *
 * An event is in the ring or in the bitmask, never in both.  A number that carries no message, or
 * a message for which the ring has no room, sets its bit; the latter also adds one to `overflow`.
 * Every event and every notification may be spurious.
 */
#ifndef UPABI_EVENT_H
#define UPABI_EVENT_H

#include "types.h"

/* Numbers from UPABI_EV_DYNAMIC up are handed out at run time (UPABI_OP_EVENT_ALLOC). */
enum upabi_ev {
	UPABI_EV_NONE = 0,
	UPABI_EV_PREEMPT_PENDING = 1,	   /* arg vcore, val deadline (ns) */
	UPABI_EV_GANG_PREEMPT_PENDING = 2, /* val deadline (ns) */
	UPABI_EV_VCORE_PREEMPTED = 3,	   /* arg vcore taken, val 1 when it was in vcore context */
	UPABI_EV_VCORE_RETURNED = 4,	   /* arg vcore, back from a preemption */
	UPABI_EV_VCORE_GRANTED = 5,	   /* arg vcore: a core has come */
	UPABI_EV_BLOCKED = 6,		   /* arg activation, val generation, aux class of call */
	UPABI_EV_UNBLOCKED = 7,		   /* arg activation, val generation, aux context handle */
	UPABI_EV_FAULT = 8,		   /* arg activation, val address, aux signal number */
	UPABI_EV_RESOURCE = 9,		   /* arg resource, val what exists for us now */
	UPABI_EV_USER = 10,		   /* a notify without a number of its own */
	UPABI_EV_CHECK_MSGS = 11,	   /* arg vcore whose ring wants draining */
	UPABI_EV_TIMER = 12,
	UPABI_EV_DYNAMIC = 32,
	UPABI_EV_NR = 256,
};

/* Flags of an entry of the vector table. */
#define UPABI_EVF_NOTIFY 0x1u /* interrupt the vcore; without it the event waits for a look */
#define UPABI_EVF_NOMSG 0x2u  /* the fact is enough: use the bitmask */
#define UPABI_EVF_ANY 0x4u    /* any online vcore will do; `vcore` is a preference */
#define UPABI_EVF_WAKE 0x8u   /* worth starting a WAITING process for */

/* Written by the process, read by the kernel side, which ignores what makes no sense. */
struct upabi_evt_vector {
	upabi_u32 vcore;
	upabi_u32 flags;
};
UPABI_ASSERT_SIZE(struct upabi_evt_vector, 8);

struct upabi_event {
	upabi_u16 nr;
	upabi_u16 flags;
	upabi_u32 arg;
	upabi_u64 val;
	upabi_u64 aux;
	upabi_u64 time_ns; /* CLOCK_MONOTONIC when it was posted */
};
UPABI_ASSERT_SIZE(struct upabi_event, 32);

/* A power of two.  head and tail run freely; the slot of index i is i % UPABI_RING_LEN. */
#define UPABI_RING_LEN 64u
#define UPABI_MASK_WORDS (UPABI_EV_NR / 64)

#endif
