/* SPDX-License-Identifier: MIT */
/*
 * The simulator: the real kernel side under a pretended machine, pretended processes and a schedule
 * drawn from a seed.  Time is a number.  Whatever happens, happens in one step of one thread, so
 * that the same seed gives the same run, and a failure its last steps.
 *
 * What it believes is kept apart from what the kernel side believes: which activation stands on
 * which pcore, which messages are under way.  verify.c compares the two.
 */
#ifndef UP_TESTS_SIM_H
#define UP_TESTS_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "kern/types.h"

#define SIM_STEPS    50
#define SIM_LOG	     (SIM_STEPS * 16)	   /* lines: a step may have several */
#define SIM_OURS     UINT64_C(0x5eed0f0e5) /* aux of our messages: liars send some too */
#define SIM_FLIGHT   4096		   /* effects taken and not reported yet, at most */
#define SIM_MSG_BITS 12

/* Where an activation really is. */
enum place {
	AT_NONE = 0,
	AT_GATE,    /* parked */
	AT_VCORE,   /* runs; pcore UPABI_NONE: the single context */
	AT_BLOCKED, /* inside Linux, having run a vcore */
	AT_FROZEN,  /* stopped in vcore context */
};

/* A blocked activation and the one that noticed: who was first? */
enum claim {
	CLAIM_NONE = 0,
	CLAIM_MADE, /* somebody steps in; its call is not answered yet */
	CLAIM_DONE, /* it did: the blocked one comes back by UNBLOCKED */
	CLAIM_VOID, /* it was refused */
};

struct sim_act {
	enum place place;
	enum claim claim;
	uint32_t vcore;
	uint32_t pcore;
	uint32_t victim;  /* the activation that this one replaces, while its call is out */
	uint32_t seq;	  /* of its last call */
	uint32_t waiting; /* operation that it waits for the answer of, 0 for none */
	uint32_t arg1;
	uint64_t released; /* the start that its gate was opened for */
	bool open;	   /* in uthread context, notifications open */
};

struct sim_proc {
	struct up_proc *p;
	struct upabi_procinfo *info;
	struct upabi_procdata *data;
	struct sim_act *acts;
	uint32_t max_vcores;
	uint32_t max_acts;
	uint32_t pid;
	uint32_t hostile; /* per cent of its doings that are nonsense */
	uint32_t wants;	  /* activations asked for */
	uint32_t out_seq; /* of the call slot of its ordinary thread */
	bool nomsg;	  /* uses the bitmask on purpose */
	bool scribbled;
	bool bell;
	bool killed;   /* its tasks are gone */
	bool initial;  /* its first thread is the single context */
	uint64_t sent; /* messages of ours accepted for it */
	uint64_t received;
	uint64_t next_val;
	uint8_t *seen; /* a bit for each value of ours: received */
	uint64_t seen_cap;
	uint64_t blocks, unblocks;
};

struct sim_flight {
	struct up_effect eff;
	struct sim_proc *sp;
	uint64_t since;
};

struct sim_step {
	uint64_t nr;
	uint64_t now;
	const char *what;
	uint32_t pid;
	int64_t a, b, c;
	int64_t ret;
};

struct sim {
	struct up_kern *k;
	uint64_t now;
	uint64_t rng;
	uint64_t step;
	uint32_t nr_pcores;
	uint32_t nr_procs; /* slots */
	uint64_t check_every;
	struct sim_proc *procs;
	struct sim_act **on_core; /* pcore to who really stands there */
	struct sim_flight flight[SIM_FLIGHT];
	uint32_t nr_flight;
	bool calm; /* the end: everything works and everybody is well-behaved */
	struct sim_step log[SIM_LOG];
	uint64_t lines; /* ever written there */
	uint64_t violations;
	long live;
	struct {
		uint64_t starts, start_fails, takes, notifies, calls, blocks, unblocks, events,
			deaths, cores, stale;
	} stat;
};

/* main.c */
uint64_t sim_rand(struct sim *s);
uint32_t sim_below(struct sim *s, uint32_t n);
bool sim_chance(struct sim *s, uint32_t per_cent);
void sim_log(struct sim *s, const char *what, uint32_t pid, int64_t a, int64_t b, int64_t c,
	     int64_t ret);
void sim_fail(struct sim *s, const char *what);

/* host.c */
void sim_take_effects(struct sim *s, uint32_t most);
void sim_finish_one(struct sim *s);
void sim_machine_step(struct sim *s);
void sim_drop_flights(struct sim *s, struct sim_proc *sp);

/* process.c */
void sim_proc_create(struct sim *s, struct sim_proc *sp);
void sim_proc_step(struct sim *s, struct sim_proc *sp);
void sim_proc_gone(struct sim *s, struct sim_proc *sp);
void sim_proc_killed(struct sim *s, struct sim_proc *sp);
void sim_leave_core(struct sim *s, struct sim_act *a);
void sim_enter(struct sim *s, struct sim_proc *sp, uint32_t act);
void sim_drain_vcore(struct sim *s, struct sim_proc *sp, uint32_t vcore);
struct upabi_vcoredata *sim_vd(const struct sim_proc *sp, uint32_t v);
struct upabi_vcoremap *sim_vmap(const struct sim_proc *sp, uint32_t v);
struct upabi_actmap *sim_amap(const struct sim_proc *sp, uint32_t a);
void sim_post(struct sim *s, struct sim_proc *sp);

/* verify.c */
void sim_verify_proc(struct sim *s, struct sim_proc *sp);
void sim_verify_all(struct sim *s);

#endif
