/* SPDX-License-Identifier: MIT */
/*
 * The page that `upcall run` shares with the program that it starts: counters and a trace, in memory
 * that outlives the program, so that they are whole whatever it dies of.
 *
 * The command makes it (a sealed memfd, its number in the environment under UPABI_RUN_ENV), writes the
 * first line and the CPU sets, and then the `tail` of each ring alone.  The first process that starts
 * the runtime claims it; everything else is that process's to write.  Each line has one writer at a
 * time, named beside it.  Either side treats what the other has written as hostile.
 */
#ifndef UPABI_RUN_H
#define UPABI_RUN_H

#include "types.h"

#define UPABI_RUN_ENV	  "UPCALL_RUN_FD"
#define UPABI_RUN_MAGIC	  0x6e75726c6c616370ull /* "pcallrun" */
#define UPABI_RUN_VERSION 1u

#define UPABI_RUN_STARTED 1u
#define UPABI_RUN_STOPPED 2u /* by upcall_stop(), or a start that failed */

struct upabi_run {
	/* line 0: never changes after creation */
	upabi_u64 magic;
	upabi_u32 version;
	upabi_u32 header_sz;
	upabi_u64 size;
	upabi_u32 max_vcores; /* lines there are; vcores above are not seen */
	upabi_u32 max_acts;   /* the same for activations */
	upabi_u32 ring_len;   /* records a vcore, a power of two; 0: no trace */
	upabi_u32 cpus_sz;    /* bytes of a CPU set; 0: the program was not confined */
	upabi_u32 off_cpus;   /* the set to go back to, then the one that it was confined to */
	upabi_u32 off_vcores;
	upabi_u32 off_acts;
	upabi_u32 off_rings;
	upabi_u32 off_counts;
	upabi_u32 reserved0;
	/* line 1: whoever starts the runtime */
	upabi_u32 owner;   /* its pid; once, by compare-and-swap from 0 */
	upabi_u32 refused; /* processes that came later; all of them write, by addition */
	upabi_u32 state;
	upabi_u32 start_error; /* errno of a start that failed */
	upabi_u32 nr_vcores;   /* vcores that the process can have */
	upabi_u32 target;      /* ... and wants when there is work */
	upabi_u32
		acts_unseen; /* 1: more activations than lines were asked for; none is published */
	upabi_u32 own_tls;
	upabi_u64 slice_ns;
	upabi_u64 start_ns; /* CLOCK_MONOTONIC */
	upabi_u64 stop_ns;
	upabi_u32 nr_acts; /* activations that the process can have */
	upabi_u32 reserved1;
	/* line 2: whoever makes activations */
	upabi_u32 acts_peak;
	upabi_u32 acts_error; /* errno of the last that could not be made */
	upabi_u32 reserved2[14];
	/* line 3: the start; of the scheduler's name */
	char sched[64];
};
UPABI_ASSERT_SIZE(struct upabi_run, 256);
UPABI_ASSERT_OFF(struct upabi_run, owner, 64);
UPABI_ASSERT_OFF(struct upabi_run, acts_peak, 128);
UPABI_ASSERT_OFF(struct upabi_run, sched, 192);

/* What a vcore counts; its activation writes, in vcore context. */
struct upabi_vcore_stats {
	upabi_u64 switches;
	upabi_u64 migrations;
	upabi_u64 preempts;
	upabi_u64 steals;
	upabi_u64 events;
	upabi_u64 idle_looks;
	upabi_u64 posted;   /* as of the last look at events */
	upabi_u64 overflow; /* the same */
};
UPABI_ASSERT_SIZE(struct upabi_vcore_stats, 64);

struct upabi_run_vcore {
	struct upabi_vcore_stats stats;
	/* line 1: its activation, on the way in and out */
	upabi_u64 total_ns;  /* online before `since_ns` */
	upabi_u64 since_ns;  /* online since, 0: offline */
	upabi_u64 stretches; /* times that it came */
	upabi_u32 pcore;     /* where it is or was last */
	upabi_u32 reserved0;
	upabi_u64 reserved1[4];
	/* line 2: vcore context */
	upabi_u64 head; /* records written; those below it are whole */
	upabi_u64 lost; /* that found the ring full */
	upabi_u64 reserved2[6];
	/* line 3: the command */
	upabi_u64 tail; /* records read */
	upabi_u64 reserved3[7];
};
UPABI_ASSERT_SIZE(struct upabi_run_vcore, 256);
UPABI_ASSERT_OFF(struct upabi_run_vcore, total_ns, 64);
UPABI_ASSERT_OFF(struct upabi_run_vcore, head, 128);
UPABI_ASSERT_OFF(struct upabi_run_vcore, tail, 192);

#define UPABI_CLASSES 4u /* announced, fault, uninterruptible, unannounced */

/* What an activation counts, and those that had its number before.  It writes; the `blocked` of one
 * that is replaced is written by who replaces it. */
struct upabi_act_stats {
	upabi_u64 blocked[UPABI_CLASSES];
	upabi_u64 unblocked[UPABI_CLASSES];
	upabi_u64 behind_ns;  /* CPU time run beside the vcore after an unannounced call */
	upabi_u64 restarts;   /* system calls that our signal broke into and that were put back */
	upabi_u64 eintr_left; /* ... that could not be told and so were left to the program */
	upabi_u64 notified;   /* handler runs that led into vcore context */
	upabi_u64 spurious;   /* handler runs that had nothing to do */
	upabi_u64 deferred;   /* handler runs put off to the end of a section or call */
	upabi_u64 led_home[UPABI_CLASSES]; /* unblocked ones that Linux led home by rseq */
	upabi_u64 behind_max_ns;	   /* the longest stretch of behind_ns; no sum */
	upabi_u64 reserved[5];
};
UPABI_ASSERT_SIZE(struct upabi_act_stats, 192);

/* Uthreads, by the activation that made or freed them, in a section of the library's; the line behind
 * the process's last activation is for threads that are none, under a lock. */
struct upabi_run_count {
	upabi_u64 made;
	upabi_u64 freed;
	upabi_u64 reserved[6];
};
UPABI_ASSERT_SIZE(struct upabi_run_count, 64);

enum upabi_trace_type {
	UPABI_TR_NONE = 0,
	UPABI_TR_ONLINE = 1,	/* arg: the pcore */
	UPABI_TR_OFFLINE = 2,	/* arg: enum upabi_trace_off */
	UPABI_TR_RUN = 3,	/* a: uthread; what ran until now ends */
	UPABI_TR_IDLE = 4,	/* what ran ends; nothing to do */
	UPABI_TR_NAME = 5,	/* a, b: first 16 bytes of the name of the next RUN's uthread */
	UPABI_TR_STEAL = 6,	/* arg: the vcore it was queued at; a: uthread */
	UPABI_TR_NOTIFIED = 7,	/* arg 1: its slice is over, else 0; a: uthread */
	UPABI_TR_BLOCKED = 8,	/* arg: class; what ran is inside Linux */
	UPABI_TR_UNBLOCKED = 9, /* arg: class; a: uthread */
	UPABI_TR_EVENT = 10,	/* arg: its number; a, b: val and aux */
	UPABI_TR_WARNED = 11,	/* the core is to go; a: until when */
	UPABI_TR_NR = 12,
};

enum upabi_trace_off {
	UPABI_TR_OFF_IDLE = 0,	  /* given back: no work */
	UPABI_TR_OFF_WARNED = 1,  /* given back on a warning */
	UPABI_TR_OFF_TAKEN = 2,	  /* taken */
	UPABI_TR_OFF_CHANGED = 3, /* given to another vcore of the process */
};

struct upabi_trace_rec {
	upabi_u64 time_ns; /* CLOCK_MONOTONIC */
	upabi_u32 type;
	upabi_u32 arg;
	upabi_u64 a;
	upabi_u64 b;
};
UPABI_ASSERT_SIZE(struct upabi_trace_rec, 32);

/* Offsets and sizes, computed alike by both sides. */
static inline upabi_u64 upabi_run_align(upabi_u64 n)
{
	return (n + 4095) & ~(upabi_u64)4095;
}

static inline upabi_u64 upabi_run_off_vcores(upabi_u32 cpus_sz)
{
	return upabi_run_align(sizeof(struct upabi_run) + 2 * (upabi_u64)cpus_sz);
}

static inline upabi_u64 upabi_run_off_acts(upabi_u32 cpus_sz, upabi_u32 max_vcores)
{
	return upabi_run_align(upabi_run_off_vcores(cpus_sz) +
			       sizeof(struct upabi_run_vcore) * (upabi_u64)max_vcores);
}

static inline upabi_u64 upabi_run_off_counts(upabi_u32 cpus_sz, upabi_u32 max_vcores,
					     upabi_u32 max_acts)
{
	return upabi_run_align(upabi_run_off_acts(cpus_sz, max_vcores) +
			       sizeof(struct upabi_act_stats) * (upabi_u64)max_acts);
}

static inline upabi_u64 upabi_run_off_rings(upabi_u32 cpus_sz, upabi_u32 max_vcores,
					    upabi_u32 max_acts)
{
	return upabi_run_align(upabi_run_off_counts(cpus_sz, max_vcores, max_acts) +
			       sizeof(struct upabi_run_count) * ((upabi_u64)max_acts + 1));
}

static inline upabi_u64 upabi_run_size(upabi_u32 cpus_sz, upabi_u32 max_vcores, upabi_u32 max_acts,
				       upabi_u32 ring_len)
{
	return upabi_run_align(upabi_run_off_rings(cpus_sz, max_vcores, max_acts) +
			       sizeof(struct upabi_trace_rec) * (upabi_u64)ring_len * max_vcores);
}

#endif
