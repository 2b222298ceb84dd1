/* SPDX-License-Identifier: MIT */
/*
 * Gate 3: one protocol suite for every place in which the kernel side can be.
 *
 * A scenario (gate3_scenarios.c) is written against a process (gate3_process.c): activations that
 * follow the protocol, park at gates, take events, and carry out what the scenario tells them. A
 * side (gate3_embed.c, gate3_remote.c, gate3_sim.c) brings a struct up_port and says how time
 * passes: with threads, or turn by turn under a seed. Scenarios wait for what must come about and
 * never for a time, so that delayed, reordered and failing effects change nothing for them.
 */
#ifndef UP_TESTS_GATE3_H
#define UP_TESTS_GATE3_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "base/lock.h"
#include "host/port.h"

#define G3_ACTS	  24u /* of the driver; the kernel side is told of max_acts */
#define G3_VCORES 8u
#define G3_PCORES 8u
#define G3_SIGNAL SIGURG

enum g3_where {
	G3_NEW,	    /* not announced yet */
	G3_PARKED,  /* at its gate */
	G3_VCORE,   /* in vcore context: notifications disabled */
	G3_UTHREAD, /* runs, and may be interrupted */
	G3_STUCK,   /* in a call that blocks */
	G3_SINGLE,  /* the single context of a process in an _S state */
	G3_ENDED,
};

/* Owned by its runner (a thread, or the simulator's turn); words marked atomic are told it. */
struct g3_act {
	struct g3 *g;
	uint32_t num;	/* the kernel side's */
	uint32_t vcore; /* atomic */
	uint32_t starts_seen;
	uint32_t gate_seen; /* nothing new behind it */
	uint32_t where;	    /* atomic: enum g3_where */
	uint32_t notified;  /* atomic: interrupted */
	uint32_t quit;	    /* atomic: its task may end */
	uint32_t hold;	    /* atomic: stay where you are and do nothing */
	uint32_t unstick;   /* atomic: the blocking call is over */
	uint32_t bell;	    /* futex: something for you while you run */
	/* One command at a time; `cmd` is written last and cleared first (0 none, 1 do, 2 done). */
	uint32_t cmd; /* atomic */
	uint32_t op;
	uint64_t arg[5];
	int32_t result;
	uint64_t val;
	pthread_t thread;
	bool has_thread;
};

struct g3_cfg {
	uint32_t pcores; /* there from the beginning */
	uint32_t vcores;
	uint32_t acts;
	bool standby;
	uint64_t grace_ns;   /* before the kernel side takes a core for others */
	uint64_t take_ns;    /* before a side takes by force */
	uint64_t quantum_ns; /* turns of those whose minimum does not fit; 0: none */
};

enum g3_ctl {
	G3_CORE_ADD,
	G3_CORE_REMOVE,
	G3_CORE_LIMIT,
	G3_KILL
};

struct g3_side;

struct g3 {
	const struct g3_side *side;
	void *priv; /* the side's */
	struct up_port *port;
	struct g3_cfg cfg;
	uint64_t seed;
	uint64_t waited; /* since the current wait began: ns, or turns */
	bool stop;
	/* how the activations behave; atomic */
	uint32_t leave_when_warned;
	uint32_t ignore_takes;
	uint32_t spin; /* a uthread does not sleep; with threads only */
	uint32_t freeze_when_taken;
	/* what they have seen; atomic */
	uint64_t got[UPABI_EV_NR];
	uint64_t got_on[G3_VCORES][UPABI_EV_NR];
	struct up_lock last_lock;
	struct upabi_event last[UPABI_EV_NR]; /* under it; read once its count has risen */
	uint64_t want_acts;
	uint64_t interrupts;
	uint32_t killed;
	char broken[256]; /* a promise not kept, in words; the first stays */
	struct g3_act act[G3_ACTS];
	uint32_t nr_acts; /* atomic */
};

struct g3_side {
	const char *name;
	bool virtual_time;
	int (*open)(struct g3 *g); /* sets port */
	void (*close)(struct g3 *g);
	int (*ctl)(struct g3 *g, enum g3_ctl op, uint64_t a, uint64_t b);
	/* The invariants of the kernel side: NULL, or what is broken. */
	const char *(*check)(struct g3 *g);
	/* Lets something happen. */
	void (*turn)(struct g3 *g);
	uint64_t (*now)(struct g3 *g);
};

extern const struct g3_side g3_embed, g3_remote, g3_sim;

/* gate3_process.c */
int g3_open(struct g3 *g, const struct g3_side *side, const struct g3_cfg *cfg, uint64_t seed);
void g3_close(struct g3 *g);
void g3_fail(struct g3 *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* One more activation, known to the kernel side when this returns; NULL. */
struct g3_act *g3_act_new(struct g3 *g);
/* True when it did something. */
bool g3_act_step(struct g3_act *a);
struct g3_act *g3_act_of(struct g3 *g, uint32_t num); /* by the kernel side's number */
struct g3_act *g3_on(struct g3 *g, uint32_t vcore);   /* that runs vcore now; NULL */
/* A call by a thread that is no activation. */
int g3_call(struct g3 *g, enum upabi_op op, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t *val);
int g3_call5(struct g3 *g, enum upabi_op op, const uint64_t arg[5], uint64_t *val);
/* Makes an activation call from wherever it is, and waits for the result.  -ETIMEDOUT. */
int g3_tell(struct g3_act *a, enum upabi_op op, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3);
int g3_request(struct g3 *g, struct g3_act *a, uint64_t cores, uint64_t min);
void g3_interrupt(struct g3_act *a); /* a notification has reached it */
void g3_wake(struct g3_act *a);	     /* look at your words */
uint32_t g3_running(struct g3 *g);
bool g3_settled(struct g3 *g, uint32_t cores); /* so many online, each with its activation there */
void g3_wait_begin(struct g3 *g);
bool g3_wait_turn(struct g3 *g); /* false: waited long enough */

#define G3_UNTIL(g, cond)                                    \
	({                                                   \
		bool g3_is;                                  \
		g3_wait_begin(g);                            \
		while (!(g3_is = (cond)) && g3_wait_turn(g)) \
			;                                    \
		g3_is;                                       \
	})

static inline uint32_t g3_where(const struct g3_act *a)
{
	/* Acquire pairs with the runner's release: what it did before is seen. */
	return up_load_acquire(&a->where);
}

static inline uint64_t g3_got(const struct g3 *g, uint32_t nr)
{
	return up_load_acquire(&g->got[nr]);
}

/* gate3_scenarios.c */
struct g3_scenario {
	const char *name;
	struct g3_cfg cfg;
	void (*run)(struct g3 *g);
};
extern const struct g3_scenario g3_scenarios[];
extern const unsigned g3_nr_scenarios;
/* A little of everything in a fraction of a second; stops early when the kernel side is lost. */
void g3_tour(struct g3 *g);
extern const struct g3_cfg g3_tour_cfg;

#endif
