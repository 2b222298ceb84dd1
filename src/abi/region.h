/* SPDX-License-Identifier: MIT */
/*
 * The two regions that a process shares with the kernel side.
 *
 *   procinfo  written by the kernel side alone; the process maps it read-only
 *   procdata  written by both; the kernel side treats every byte of it as hostile: it reads a
 *             word once, checks the copy, uses the copy, and follows no pointer in it
 *
 * Each region is a header, then arrays at the offsets that the header names, so that a process
 * may have more vcores and activations than a page holds.  Each cache line has one writer; the
 * exceptions are the words marked "both write": notif_pending, flags and the bitmask of a vcore,
 * the gate of an activation, and the words of pending calls.
 *
 * A kernel side takes the offsets from its own copy of the header, never from procdata.
 */
#ifndef UPABI_REGION_H
#define UPABI_REGION_H

#include "event.h"

#define UPABI_INFO_MAGIC 0x6f666e69636f7270ull /* "procinfo" */
#define UPABI_DATA_MAGIC 0x61746164636f7270ull /* "procdata" */

enum upabi_state {
	UPABI_CREATED = 1,	 /* exists, has never run; its parent may still arrange things */
	UPABI_RUNNABLE_S = 2,	 /* single-core, waits for its turn */
	UPABI_RUNNING_S = 3,	 /* single-core, runs */
	UPABI_WAITING = 4,	 /* yielded everything; an event will make it runnable */
	UPABI_DYING = 5,	 /* being taken apart: cores are on their way back */
	UPABI_DYING_ABORT = 6,	 /* owns no core any more; only the record is left */
	UPABI_RUNNABLE_M = 7,	 /* many-core, waits for its minimum of cores */
	UPABI_RUNNING_M = 8,	 /* many-core, has at least one core */
};

enum upabi_res {
	UPABI_RES_CORES = 0,
	UPABI_RES_MEMORY = 1, /* bytes */
	UPABI_RES_NR = 4,     /* room for two more kinds */
};

/* Written by the kernel side. */
struct upabi_res_grant {
	upabi_u64 granted;
	upabi_u64 available; /* what this process could be granted at most, as the machine stands */
	upabi_u64 wanted;    /* as last requested, or lowered by a yield */
	upabi_u64 reserved;
};
UPABI_ASSERT_SIZE(struct upabi_res_grant, 32);

/* Written by the process, then rung with UPABI_OP_REQUEST. */
struct upabi_res_request {
	upabi_u64 wanted;
	upabi_u64 wanted_min; /* do not run the process with less */
	upabi_u64 flags;
	upabi_u64 reserved;
};
UPABI_ASSERT_SIZE(struct upabi_res_request, 32);

/* What the host found on this machine and uses; procinfo.mechanisms. */
#define UPABI_MECH_WATCHER 0x1u	 /* SCHED_IDLE thread notices any block */
#define UPABI_MECH_BACKSTOP 0x2u /* a timed look, for cores that others keep busy */
#define UPABI_MECH_SLICER 0x4u	 /* slices below the kernel's tick */
#define UPABI_MECH_OWN_TLS 0x8u	 /* uthreads have TLS blocks of their own */
#define UPABI_MECH_FSGSBASE 0x10u
#define UPABI_MECH_EMBEDDED 0x20u /* the kernel side lives in this process */

struct upabi_procinfo {
	/* line 0: never changes after creation */
	upabi_u64 magic;
	upabi_u32 version;
	upabi_u32 header_sz;
	upabi_u64 region_sz;
	upabi_u32 max_vcores;
	upabi_u32 max_pcores;
	upabi_u32 max_acts;
	upabi_u32 off_vcoremap;
	upabi_u32 off_pcoremap;
	upabi_u32 off_actmap;
	upabi_u32 pid;	 /* the kernel side's name for the process */
	upabi_u32 os_pid; /* Linux' */
	upabi_u64 reserved0;
	/* line 1 */
	upabi_u32 state;
	upabi_u32 num_vcores;	/* online now; 0 in the _S states */
	upabi_u32 coremap_seq;	/* odd while the maps change; read, look, read again */
	upabi_u32 s_vcore;	/* the identity of the single context in the _S states */
	upabi_u32 nr_events;	/* event numbers in use: below this one */
	upabi_u32 mechanisms;
	upabi_u32 blocked;	/* activations blocked in Linux now */
	upabi_u32 pooled;
	upabi_u64 nr_blocked;	/* since creation */
	upabi_u64 nr_unblocked; /* since creation */
	upabi_u64 nr_preempts;
	upabi_u64 nr_refused;	/* calls refused as illegal */
	/* line 2 */
	struct upabi_res_grant res[UPABI_RES_NR];
};
UPABI_ASSERT_SIZE(struct upabi_procinfo, 256);
UPABI_ASSERT_OFF(struct upabi_procinfo, state, 64);
UPABI_ASSERT_OFF(struct upabi_procinfo, res, 128);

/* One a vcore, two lines each.  Kernel side writes. */
struct upabi_vcoremap {
	upabi_u32 valid; /* online */
	upabi_u32 pcore;
	upabi_u32 act; /* the activation that runs it */
	upabi_u32 act_gen;
	upabi_u32 preempts_sent;
	upabi_u32 preempts_done;
	upabi_u64 preempt_pending; /* absolute deadline (ns), 0 when none is pending */
	upabi_u64 resume_ns;	   /* when it last came online */
	upabi_u64 total_ns;	   /* time online before that */
	upabi_u32 flags;	   /* UPABI_VMF_* */
	upabi_u32 standby; /* pooled activation that replaces `act` when it blocks, or UPABI_NONE */
	upabi_u64 posted;	   /* events sent to this vcore, in ring or bitmask */
	upabi_u64 overflow;	   /* of those, the ones that found the ring full */
	upabi_u64 reserved[7];
};
UPABI_ASSERT_SIZE(struct upabi_vcoremap, 128);

#define UPABI_VMF_PREEMPTED 0x1u   /* taken, not given back yet */
#define UPABI_VMF_VCORE_CTX 0x2u   /* ... while in vcore context: only restarting continues it */
#define UPABI_VMF_TAKE 0x4u	   /* being taken now: leave at once */
#define UPABI_VMF_RETURNED 0x8u	   /* this start returns from a preemption */

/* One a pcore.  Kernel side writes. */
struct upabi_pcoremap {
	upabi_u32 vcore;
	upabi_u32 valid;
};
UPABI_ASSERT_SIZE(struct upabi_pcoremap, 8);

enum upabi_act_state {
	UPABI_ACT_NONE = 0,
	UPABI_ACT_POOLED = 1,  /* parked at its gate */
	UPABI_ACT_RUNNING = 2, /* runs a vcore */
	UPABI_ACT_BLOCKED = 3, /* inside Linux, replaced */
	UPABI_ACT_FROZEN = 4,  /* preempted in vcore context: starts again as the same vcore */
};

/* One an activation, a line each.  Kernel side writes. */
struct upabi_actmap {
	upabi_u32 starts; /* one more for each time the kernel side started it */
	upabi_u32 state;
	upabi_u32 gen;	 /* one more each time the slot gets another task */
	upabi_u32 vcore; /* what it is to run, or ran */
	upabi_u32 call_ack; /* futex word: the sequence number of the last call answered */
	upabi_s32 call_result;
	upabi_u64 call_val;
	upabi_u64 task; /* the OS task that has the slot, as it was named; stays when it is let go of */
	upabi_u64 reserved[3];
};
UPABI_ASSERT_SIZE(struct upabi_actmap, 64);

struct upabi_procdata {
	/* line 0: process writes once */
	upabi_u64 magic;
	upabi_u32 version;
	upabi_u32 header_sz;
	upabi_u64 region_sz;
	upabi_u32 off_vcore;
	upabi_u32 off_call;
	upabi_u32 off_call_pending;
	upabi_u32 reserved0[7];
	/* line 1: both write: bell rung (process) and answered (kernel side) */
	upabi_u32 bell;
	upabi_u32 reserved1[15];
	/* line 2, 3: process writes */
	struct upabi_res_request res[UPABI_RES_NR];
	/* process writes */
	struct upabi_evt_vector evt[UPABI_EV_NR];
};
UPABI_ASSERT_OFF(struct upabi_procdata, bell, 64);
UPABI_ASSERT_OFF(struct upabi_procdata, res, 128);
UPABI_ASSERT_OFF(struct upabi_procdata, evt, 256);
UPABI_ASSERT_SIZE(struct upabi_procdata, 256 + 8 * UPABI_EV_NR);

/* Flags of a vcore in procdata (both write). */
#define UPABI_VCF_CAN_RCV 0x1u	/* messages left here will be read */
#define UPABI_VCF_STEALING 0x2u /* another vcore takes this one's uthread or drains its ring */

struct upabi_vcoredata {
	/* line 0: process writes */
	upabi_u32 notif_disabled;
	upabi_u32 ring_head;
	upabi_u64 entry;	/* where its activation enters, for the process's own use */
	upabi_u64 stack;	/* top of the transition stack */
	upabi_u64 uthread_ctx;	/* handle of the uthread context saved here, 0 when none */
	upabi_u64 reserved0[4];
	/* line 1: both write */
	upabi_u32 notif_pending;
	upabi_u32 flags;
	upabi_u64 mask[UPABI_MASK_WORDS];
	upabi_u64 reserved1[3];
	/* line 2: kernel side writes */
	upabi_u32 ring_tail;
	upabi_u32 reserved2[15];
	/* kernel side writes */
	struct upabi_event ring[UPABI_RING_LEN];
};
UPABI_ASSERT_OFF(struct upabi_vcoredata, notif_pending, 64);
UPABI_ASSERT_OFF(struct upabi_vcoredata, ring_tail, 128);
UPABI_ASSERT_OFF(struct upabi_vcoredata, ring, 192);
UPABI_ASSERT_SIZE(struct upabi_vcoredata, 192 + 32 * UPABI_RING_LEN);

/* Calls into the kernel side: a slot an activation, then UPABI_OUTSIDE_CALLS for other threads. */
enum upabi_op {
	UPABI_OP_NONE = 0,
	UPABI_OP_REQUEST = 1,	  /* read my resource requests again */
	UPABI_OP_YIELD = 2,	  /* arg0 vcore, arg1 nice; 0: park at your gate, the core is gone */
	UPABI_OP_YIELD_ALL = 3,	  /* every vcore, this one included */
	UPABI_OP_TO_S = 4,	  /* arg0 vcore: this context alone, cores back */
	UPABI_OP_CHANGE_TO = 5,	  /* arg0 own vcore, arg1 target, arg2 resume me later */
	UPABI_OP_NOTIFY = 6,	  /* arg0 pid (0 self), arg1 event, arg2 vcore, arg3 val, arg4 aux */
	UPABI_OP_EVENT_ALLOC = 7, /* call_val: a new event number */
	UPABI_OP_BLOCKED = 8,	  /* arg0 vcore, arg1 act, arg2 gen, arg3 class; caller replaced it */
	UPABI_OP_UNBLOCKED = 9,	  /* arg0 context handle, arg1 1 to stand by; its block is over */
	UPABI_OP_PREEMPTED = 10,  /* arg0 vcore, arg1 1 in vcore context; the caller left as told */
	UPABI_OP_ACT_ADD = 11,	  /* arg0 OS task; call_val: the activation's number */
	UPABI_OP_ACT_DEL = 12,	  /* arg0 count: give pooled activations back in bulk */
	UPABI_OP_PREEMPT = 13,	  /* arg0 vcore or UPABI_NONE for all, arg1 grace (ns): test, policy */
	UPABI_OP_EXIT = 14,
	UPABI_OP_NR = 15,
};

struct upabi_call {
	upabi_u32 seq; /* raised after the rest is written */
	upabi_u32 op;
	upabi_u64 arg[5];
	/* both write: futex word at which the activation parks; a change says "look at actmap" */
	upabi_u32 gate;
	upabi_u32 reserved0;
	upabi_u64 reserved1;
};
UPABI_ASSERT_SIZE(struct upabi_call, 64);

#define UPABI_OUTSIDE_CALLS 32u

/* Sizes and offsets that both sides compute alike. */
static inline upabi_u64 upabi_align_line(upabi_u64 n)
{
	return (n + UPABI_LINE - 1) & ~(upabi_u64)(UPABI_LINE - 1);
}

static inline upabi_u64 upabi_info_off_pcoremap(upabi_u32 max_vcores)
{
	return sizeof(struct upabi_procinfo) +
	       sizeof(struct upabi_vcoremap) * (upabi_u64)max_vcores;
}

static inline upabi_u64 upabi_info_off_actmap(upabi_u32 max_vcores, upabi_u32 max_pcores)
{
	return upabi_align_line(upabi_info_off_pcoremap(max_vcores) +
				sizeof(struct upabi_pcoremap) * (upabi_u64)max_pcores);
}

/* Slots for calls: activations first, then those for threads that are none. */
static inline upabi_u32 upabi_call_slots(upabi_u32 max_acts)
{
	return max_acts + UPABI_OUTSIDE_CALLS;
}

static inline upabi_u64 upabi_info_size(upabi_u32 max_vcores, upabi_u32 max_pcores,
					upabi_u32 max_acts)
{
	return upabi_info_off_actmap(max_vcores, max_pcores) +
	       sizeof(struct upabi_actmap) * (upabi_u64)upabi_call_slots(max_acts);
}

static inline upabi_u64 upabi_data_off_call(upabi_u32 max_vcores)
{
	return sizeof(struct upabi_procdata) +
	       sizeof(struct upabi_vcoredata) * (upabi_u64)max_vcores;
}

static inline upabi_u64 upabi_data_off_call_pending(upabi_u32 max_vcores, upabi_u32 max_acts)
{
	return upabi_data_off_call(max_vcores) +
	       sizeof(struct upabi_call) * (upabi_u64)upabi_call_slots(max_acts);
}

static inline upabi_u32 upabi_call_pending_words(upabi_u32 max_acts)
{
	return (upabi_call_slots(max_acts) + 63) / 64;
}

static inline upabi_u64 upabi_data_size(upabi_u32 max_vcores, upabi_u32 max_acts)
{
	return upabi_align_line(upabi_data_off_call_pending(max_vcores, max_acts) +
				8 * (upabi_u64)upabi_call_pending_words(max_acts));
}

#endif
