/* SPDX-License-Identifier: MIT */
/*
 * The kernel side: processes and their states, vcore maps, core grants, event posting, deadlines.
 *
 * It is pure.  It makes no system call, reads no clock and starts no thread: time comes in as an
 * argument, memory through the allocator of its configuration, and what it wants done in the
 * world goes out as effects, which its host takes from a queue, performs, and reports.  An effect
 * may complete late, out of order or not at all, and the state here stays sound.
 *
 * It is not thread-safe: the host calls it under one lock (embedded), from one thread (a daemon)
 * or from a schedule (the simulator).  Nothing here blocks or calls back.
 *
 * All calls return 0 or a negative errno, and what they refuse they leave untouched.
 */
#ifndef UP_KERN_H
#define UP_KERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/region.h"

struct up_kern; /* one machine */
struct up_proc; /* one process on it */

struct up_kern_cfg {
	uint32_t max_pcores;
	uint64_t grace_ns; /* warning before a core is taken for somebody else's sake */
	uint64_t
		quantum_ns; /* how long a process keeps cores that a starved one waits for; 0 never */
	void *(*alloc)(void *arg, size_t sz); /* zeroed, or NULL */
	void (*free)(void *arg, void *p, size_t sz);
	void *alloc_arg;
	uint64_t
		memory_sz; /* bytes that processes may be granted in all; 0: none are ours to grant */
};

int up_kern_create(const struct up_kern_cfg *cfg, struct up_kern **ret_kern);
void up_kern_destroy(struct up_kern *k); /* NULL does nothing; processes go with it */

/* The machine: cores come and go (affinity, cpuset, quota, hotplug).  Removing a core that is in
 * use warns its owner and takes it at `deadline` (0: at once). */
int up_kern_core_add(struct up_kern *k, uint32_t pcore, uint64_t now);
int up_kern_core_remove(struct up_kern *k, uint32_t pcore, uint64_t deadline, uint64_t now);
/* At most so many cores in use at a time, whatever exists (a cgroup's quota). */
int up_kern_core_limit(struct up_kern *k, uint32_t limit, uint64_t now);

/* Regions are the kernel side's own writable views; it initialises procinfo, checks procdata. */
struct up_proc_cfg {
	uint32_t max_vcores;
	uint32_t max_acts;
	uint32_t os_pid;
	uint32_t standby; /* keep one pooled activation in reserve for each online vcore */
	uint32_t mechanisms;
	struct upabi_procinfo *info;
	struct upabi_procdata *data;
	void *host; /* the host's own, handed back with each effect */
};

/* CREATED.  It owns nothing and runs nothing until up_kern_run(). */
int up_kern_proc_create(struct up_kern *k, const struct up_proc_cfg *cfg, uint64_t now,
			struct up_proc **ret_proc);
int up_kern_run(struct up_kern *k, struct up_proc *p, uint64_t now); /* CREATED -> _S */
/* From any state.  Cores come back at once where nothing runs, else as takes complete; the
 * process is released through UP_EFF_RELEASE, after which `p` must not be used. */
int up_kern_proc_destroy(struct up_kern *k, struct up_proc *p, uint64_t now);
struct up_proc *up_kern_proc_find(struct up_kern *k, uint32_t pid);

/*
 * One call of a process, already copied out of its slot.  `slot` is the activation's number, or
 * one of the slots for other threads.  Answers, besides -EINVAL (numbers out of range), -EPERM (not
 * in this state, not by this caller) and -ESRCH (dying), which are counted in procinfo.nr_refused:
 *   REQUEST    val 1: this made the process many-core, the caller parks; -EBUSY: vcores of its
 *              many-core days are still being taken
 *   YIELD      -EAGAIN: look again (mail, a request not heard of, being taken); -ECANCELED: nice and
 *              nothing is pending; -ESTALE: the caller does not run that vcore
 *   YIELD_ALL, TO_S  -EAGAIN, -ESTALE likewise
 *   CHANGE_TO  -EBUSY: the target runs; -EAGAIN: being taken; -ENOBUFS: nobody to run it
 *   BLOCKED    val 1: the vcore is being taken, leave at once; -ESTALE: the claim is out of date, the
 *              caller is what its actmap says
 *   UNBLOCKED  -ESTALE: the caller is not blocked, nobody replaced it
 *   PREEMPTED  -ECANCELED: nobody asks it to leave any more; -ESTALE: it does not run that vcore
 *   ACT_ADD, EVENT_ALLOC  val: the number; -ENOSPC
 */
int up_kern_call(struct up_kern *k, struct up_proc *p, uint32_t slot, const struct upabi_call *c,
		 uint64_t now, uint64_t *ret_val);
/* Take every call that procdata says is pending, answer each in procinfo.  `self` is the slot
 * of the caller where the process runs this by itself: that one needs no wake-up effect.
 * Returns how many calls were answered. */
int up_kern_drain(struct up_kern *k, struct up_proc *p, uint32_t self, uint64_t now);

/* Post an event to a process.  `vcore` UPABI_NONE: wherever the vector table or reason says. */
int up_kern_post(struct up_kern *k, struct up_proc *p, uint32_t vcore, const struct upabi_event *ev,
		 uint64_t now);

/* Policy and machine: warn that a vcore (or all of them) goes at `deadline`. */
int up_kern_preempt(struct up_kern *k, struct up_proc *p, uint32_t vcore, uint64_t deadline,
		    uint64_t now);
int up_kern_preempt_gang(struct up_kern *k, struct up_proc *p, uint64_t deadline, uint64_t now);

/* Deadlines.  up_kern_tick() does what is due; up_kern_deadline() says when to call it next, 0
 * for "nothing is due". */
void up_kern_tick(struct up_kern *k, uint64_t now);
uint64_t up_kern_deadline(const struct up_kern *k);

enum up_effect_op {
	UP_EFF_NONE = 0,
	UP_EFF_START,	 /* release `act` (of generation `gen`) into `vcore` on `pcore`; when its
			  * actmap.starts is not `starts` any more, this is out of date */
	UP_EFF_NOTIFY,	 /* interrupt `act`, which runs `vcore`, if its notifications are open */
	UP_EFF_TAKE,	 /* make `act` leave `pcore`, by force if need be */
	UP_EFF_ACK,	 /* wake the thread that waits for the answer in slot `act` */
	UP_EFF_STANDBY,	 /* `act` now stands by for `vcore`, which had nobody */
	UP_EFF_WANT_ACT, /* `arg` more activations are needed */
	UP_EFF_DROP_ACT, /* `act` is let go of: its task may end */
	UP_EFF_KILL,	 /* the process is to end: its tasks, all of them */
	UP_EFF_RELEASE,	 /* nothing here refers to the process any more */
};

struct up_effect {
	uint64_t id;
	enum up_effect_op op;
	struct up_proc *proc;
	void *host;
	uint32_t pid;
	uint32_t vcore;
	uint32_t pcore;
	uint32_t act;
	uint32_t gen;
	uint32_t starts;
	uint64_t
		arg; /* of an activation: its OS task, as the process named it: not to be trusted */
};

/* The next effect in order, false when there is none. */
bool up_kern_next_effect(struct up_kern *k, struct up_effect *ret_eff);

/* How a take ended; for all other effects 0 or a negative errno. */
enum up_took {
	UP_TOOK_UTHREAD = 0, /* its uthread is published; the activation is pooled */
	UP_TOOK_VCORE = 1,   /* it was in vcore context and is frozen there */
	UP_TOOK_BLOCKED = 2, /* it sits inside Linux: not on the core, not to be waited for */
	UP_TOOK_GONE = 3,    /* the task is no more */
};

/* Report on START and TAKE.  Others need none, but two help: KILL with 0 says that all tasks are
 * gone, and WANT_ACT with an error that there are no activations for now.  START -ESRCH: the task is
 * gone; other errors: tried elsewhere, later after the second.  TAKE with an error: tried again.
 * A START that is refused here was not for now: the release must be without effect.  Unknown or stale ids are refused with -ESTALE
 * and change nothing. */
int up_kern_effect_done(struct up_kern *k, uint64_t id, int status, uint64_t now);

/* Looking in, for hosts, tools and tests. */
uint32_t up_proc_pid(const struct up_proc *p);
uint32_t up_proc_state(const struct up_proc *p);
/* Every invariant that holds between calls; NULL, or what is broken. */
const char *up_kern_check(const struct up_kern *k);
/* Why pcore is not in use though somebody wants one; NULL when it is in use or nobody does. */
const char *up_kern_idle_reason(const struct up_kern *k, uint32_t pcore);

#endif
