/* SPDX-License-Identifier: MIT */
/*
 * The kernel side inside the process: the same src/kern, under one lock, run by whoever rings.
 *
 * Decisions are made under the lock, effects performed after it is dropped, in the order in which
 * they were decided (by one caller; two callers' effects may cross, so an activation that is
 * started or told something looks at its actmap line for what holds).  The lock is a futex that spins a little first; nothing that runs as
 * SCHED_IDLE may take it.  No TLS, no libc, no allocation on the call path.
 */
#ifndef UP_HOST_EMBED_H
#define UP_HOST_EMBED_H

#include "host/port.h"
#include "kern/kern.h"

struct up_embed;

/* How effects are performed.  Each may run on any activation or thread, without the lock, also
 * within a call that an activation makes in vcore context.  start, take and kill are reported with
 * up_embed_effect_done(), from within or later.  A NULL one is not performed.  Waking the caller
 * of an answered call is done in here. */
struct up_embed_ops {
	void (*start)(void *arg, const struct up_effect *e);
	void (*notify)(void *arg, const struct up_effect *e);
	void (*take)(void *arg, const struct up_effect *e);
	void (*standby)(void *arg, const struct up_effect *e);
	void (*want_act)(void *arg, const struct up_effect *e);
	void (*drop_act)(void *arg, const struct up_effect *e);
	void (*kill)(void *arg, const struct up_effect *e);
	/* Set the timer that leads to up_embed_tick(): told when the next deadline has become sooner
	 * and after each tick.  0: none.  Two threads may tell at a time; the last told holds. */
	void (*deadline)(void *arg, uint64_t deadline_ns);
};

struct up_embed_cfg {
	uint32_t max_pcores;
	uint32_t max_vcores;
	uint32_t max_acts;
	uint32_t mechanisms;
	uint64_t grace_ns;
	const struct up_embed_ops *ops;
	void *arg;
};

/* `mechanisms` as found; UPABI_MECH_WATCHER asks the kernel side to keep a standby a vcore.
 * Maps the regions (procinfo twice: writable for the kernel side, read-only for the process; both
 * MADV_DONTFORK), creates and runs the one process: RUNNING_S.  -errno. */
int up_embed_create(const struct up_embed_cfg *cfg, struct up_embed **ret_embed);
/* No call may be under way.  NULL does nothing; in a child of fork() only what it has goes. */
void up_embed_destroy(struct up_embed *e);
struct up_port *up_embed_port(struct up_embed *e);

/* The machine and the clock, from the service thread.  Each takes the lock, then performs. */
int up_embed_core_add(struct up_embed *e, uint32_t pcore);
int up_embed_core_remove(struct up_embed *e, uint32_t pcore, uint64_t deadline_ns);
int up_embed_core_limit(struct up_embed *e, uint32_t limit);
void up_embed_tick(struct up_embed *e);
int up_embed_effect_done(struct up_embed *e, uint64_t id, int status);
int up_embed_post(struct up_embed *e, uint32_t vcore, const struct upabi_event *ev);
const char *up_embed_check(struct up_embed *e); /* up_kern_check() under the lock */

#endif
