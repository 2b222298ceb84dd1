/* SPDX-License-Identifier: MIT */
/*
 * The kernel side's own structures, and what its files promise each other.  Read this first.
 *
 * Everything here is private memory: procinfo is only ever written, procdata is read word by word
 * and believed in nothing.  The copies below are the truth, so that a process which scribbles over
 * its regions (an embedded one can reach even procinfo) harms itself alone.
 *
 * A record of an effect lies inside the thing that it is about, so that queueing one never
 * allocates and never fails; what it says is read from that thing when the host takes it.
 */
#ifndef UP_KERN_TYPES_H
#define UP_KERN_TYPES_H

#include <errno.h>
#include <string.h>

#include "abi/region.h"
#include "base/atomic.h"
#include "base/bits.h"
#include "base/bug.h"
#include "base/inject.h"
#include "base/list.h"
#include "base/mutant.h"
#include "kern/kern.h"

#define UP_MAX_VCORES  16384u /* 14 bits of an effect's id */
#define UP_MAX_PROCS   65535u /* 16 bits of an effect's id and of a pid */
#define UP_KEPT_LEN    64u    /* events that wait in private memory for a vcore to start */
#define UP_RETRY_NS    1000000u
#define UP_RETRY_MAX   10u /* doublings of the above */
#define UP_TIMER_OFF   0u
#define UP_EFF_ID_KIND 3u

/* Kinds of effects that are reported on: the low bits of an id. */
enum up_eff_kind {
	UP_EFFK_START = 0,
	UP_EFFK_TAKE = 1,
	UP_EFFK_KILL = 2,
	UP_EFFK_WANT = 3,
};

/* On k->effects while linked; `nr` is a vcore, an activation or a slot, as `op` has it. */
struct up_eff {
	struct up_list link;
	struct up_proc *proc;
	uint32_t op;
	uint32_t nr;
};

/* In the heap of k while pos is not 0.  proc NULL: the machine's; vcore UPABI_NONE: proc's own. */
struct up_timer {
	uint64_t at;
	struct up_proc *proc;
	uint32_t pos;
	uint32_t vcore;
};

struct up_core {
	struct up_proc *owner; /* NULL: idle */
	uint32_t vcore;	       /* the owner's */
	bool exists;
	bool leaving; /* in use, and not to be granted again */
};

/* Why a vcore was told to go.  Ordered: a later one replaces an earlier one, never back. */
enum up_why {
	UP_WHY_NONE = 0,
	UP_WHY_POLICY = 1,  /* somebody else's turn; taken back when the need is gone */
	UP_WHY_ASKED = 2,   /* up_kern_preempt() or UPABI_OP_PREEMPT */
	UP_WHY_LEAVING = 3, /* its pcore leaves the machine */
	UP_WHY_STOP = 4,    /* the process gives up all of them, or dies */
};

/*
 * A vcore is offline, or online: then it owns a core and one activation is RUNNING it.
 *	starting  START is queued or performed, and not acknowledged yet
 *	why       not UP_WHY_NONE: condemned, i.e. warned (deadline set) or being taken
 *	taking    TAKE is queued or performed and not reported; sent - done == 1
 */
struct up_vcore {
	struct up_timer timer; /* the deadline of a warning, or when to repeat a failed take */
	struct up_eff start;
	struct up_eff take;
	struct up_eff notify;
	struct up_eff stand;
	uint32_t start_serial;
	uint32_t take_serial;
	uint32_t act;	  /* runs it; UPABI_NONE while offline */
	uint32_t pcore;	  /* has it, or had it last */
	uint32_t standby; /* UPABI_NONE: nobody */
	uint32_t frozen;  /* the activation that continues it, or UPABI_NONE */
	uint32_t ring_tail;
	uint32_t sent;
	uint32_t done;
	uint32_t req_seen; /* value of p->req_gen after which this vcore has looked for work */
	uint64_t deadline;
	uint64_t posted;
	uint64_t overflow;
	uint64_t resume_ns;
	uint64_t total_ns;
	bool online;
	bool starting;
	bool taking;
	bool preempted; /* taken and not come back yet */
	bool returned;	/* this start ended a preemption */
	bool thawed;	/* ... and continues a frozen activation */
	uint8_t why;
};

/*
 * POOLED: on p->pool and its bucket unless it stands by for a vcore; FROZEN: some vcore's frozen.
 */
struct up_act {
	struct up_list pool_link; /* p->pool, or p->free_acts while NONE */
	struct up_list bucket_link;
	struct up_eff drop;
	uint32_t state;
	uint32_t gen;
	uint32_t starts;
	uint32_t vcore;	      /* runs it, ran it last, or stands by for it */
	uint32_t pcore;	      /* where it ran last */
	uint32_t standby_for; /* UPABI_NONE: nobody */
	uint64_t os_task;
};

struct up_slot {
	struct up_eff ack;
	uint32_t seq;
	int32_t result;
	uint64_t val;
};

struct up_res {
	uint64_t wanted;
	uint64_t min;
	uint64_t granted;
};

struct up_kept {
	struct upabi_event ev[UP_KEPT_LEN];
	uint32_t nr;
	bool any;
	uint32_t lost[UPABI_EV_NR];	 /* had a message and found no room */
	uint64_t bits[UPABI_EV_NR / 64]; /* never had one */
};

struct up_proc {
	struct up_kern *kern;
	struct upabi_procinfo *info;
	struct upabi_procdata *data;
	void *host;
	struct up_vcore *vcores;
	struct up_act *acts;
	struct up_slot *slots;
	struct up_list *buckets; /* pooled activations by the pcore that they ran on */
	uint64_t *online_map;
	uint64_t *frozen_map;
	uint64_t *lack_map; /* online and without a standby */
	size_t sz;

	struct up_list link;   /* k->procs */
	struct up_list active; /* k->active: wants cores; the order is the order of turns */
	struct up_list hungry; /* k->hungry: has fewer than it wants */
	struct up_list pool;   /* POOLED and standing by for nobody */
	struct up_list free_acts;
	struct up_timer timer; /* end of a hold */
	struct up_eff kill;
	struct up_eff release;
	struct up_eff want;

	uint32_t pid;
	uint32_t slot; /* in k->table */
	uint32_t state;
	uint32_t max_vcores;
	uint32_t max_acts;
	uint32_t nr_buckets;
	uint32_t map_seq;
	uint32_t nr_events;
	uint32_t nr_online;
	uint32_t nr_condemned;
	uint32_t nr_free;   /* activations on p->pool */
	uint32_t nr_pooled; /* those and the ones that stand by */
	uint32_t nr_blocked;
	uint32_t nr_frozen;
	uint32_t nr_lack;   /* bits of lack_map */
	uint32_t nr_unused; /* on free_acts */
	uint32_t s_vcore;
	uint32_t s_act; /* runs the single context; UPABI_NONE: a thread that is none does */
	uint32_t hot;	/* pooled by the very call that runs now */
	uint32_t asked; /* activations asked for and not come */
	uint32_t want_arg;
	uint32_t want_serial;
	uint32_t kill_serial;
	uint32_t req_gen;   /* one more each time that a request raised what is wanted */
	uint32_t cursor;    /* where to look for an idle core first */
	uint32_t available; /* cores, as last told */
	uint32_t fails;	    /* starts that failed in a row */
	uint32_t demand;    /* cores, as the policy has it */
	uint32_t target;    /* what it was given of that, while the machine is contended */
	bool standby;
	bool many;	/* an _M process, also while it waits */
	bool s_first;	/* the next vcore to start is s_vcore */
	bool parking;	/* gives everything up */
	bool woken;	/* while it did, something came */
	bool hold;	/* starts failed; until the timer */
	bool no_act;	/* wanted an activation and had none */
	bool mem_short; /* less of another resource than its minimum */
	uint64_t nr_blocks;
	uint64_t nr_unblocks;
	uint64_t nr_preempts;
	uint64_t nr_refused;
	uint64_t nr_notified; /* NOTIFY effects asked for */
	struct up_res res[UPABI_RES_NR];
	struct up_kept kept;
};

struct up_kern {
	struct up_kern_cfg cfg;
	struct up_core *cores;
	uint64_t *idle_map;
	struct up_proc **table;
	uint16_t *table_gen;
	struct up_timer **heap; /* 1-based */
	struct up_proc **scratch;
	size_t sz;
	uint32_t table_cap;
	uint32_t heap_cap;
	uint32_t heap_len;
	uint32_t heap_need; /* timers that exist */
	uint32_t nr_procs;
	uint32_t scratch_cap;
	uint32_t table_hint;
	uint32_t serial;
	struct up_list procs;
	struct up_list active;
	struct up_list hungry;
	struct up_list effects;
	struct up_timer quantum;

	uint32_t limit;
	uint32_t nr_cores; /* exist and do not leave */
	uint32_t nr_idle;
	uint32_t in_use; /* owned by somebody, leaving ones too */
	uint32_t nr_condemned;
	uint32_t nr_condemned_staying; /* of those, on cores that stay */
	uint32_t nr_active;
	uint32_t nr_remainder; /* the first so many of `active` have one core more than others */
	uint64_t sum_demand;
	uint64_t mem_granted;
	bool dirty; /* demand or supply changed: work out the targets again */
	bool work;  /* something changed that may move a core */
	bool contended;
	bool starved; /* somebody's minimum does not fit now */
};

/* kern.c */
void *up_kern_alloc(struct up_kern *k, size_t sz);
void up_kern_free(struct up_kern *k, void *ptr, size_t sz);
uint32_t up_kern_serial(struct up_kern *k); /* never 0 */

/* core.c */
void up_core_own(struct up_kern *k, uint32_t pcore, struct up_proc *p, uint32_t vcore);
void up_core_release(struct up_kern *k, uint32_t pcore);
uint32_t up_core_grantable(const struct up_kern *k);
uint32_t up_core_capacity(const struct up_kern *k);

/* proc.c */
int up_proc_set_state(struct up_proc *p, uint32_t to);
bool up_proc_is_dead(const struct up_proc *p);
void up_proc_lost_vcore(struct up_proc *p, bool gave_up, uint64_t now);
void up_proc_wake(struct up_proc *p, uint64_t now);
void up_proc_try_s(struct up_proc *p, uint64_t now);
void up_proc_die(struct up_proc *p, uint64_t now);
void up_proc_free(struct up_proc *p);
void up_proc_hold(struct up_proc *p, uint64_t now);

/* info.c */
void up_info_init(struct up_proc *p, const struct up_proc_cfg *cfg);
void up_info_vcore(struct up_proc *p, uint32_t vcore);
void up_info_act(struct up_proc *p, uint32_t act);
void up_info_counts(struct up_proc *p);
void up_info_wanted(struct up_proc *p);
void up_info_posted(struct up_proc *p, uint32_t vcore);
void up_info_answer(struct up_proc *p, uint32_t slot);
void up_info_available(struct up_proc *p, enum upabi_res res, uint64_t available);
struct upabi_vcoredata *up_data_vcore(const struct up_proc *p, uint32_t vcore);

/* vcore.c */
void up_vcore_start(struct up_proc *p, uint32_t vcore, uint32_t pcore, uint32_t act, uint64_t now);
void up_vcore_offline(struct up_proc *p, uint32_t vcore, uint64_t now);
uint32_t up_vcore_pick(const struct up_proc *p);
uint32_t up_vcore_any(const struct up_proc *p);
bool up_vcore_listens(const struct up_proc *p, uint32_t vcore);
void up_vcore_condemn(struct up_proc *p, uint32_t vcore, enum up_why why);
void up_vcore_started(struct up_proc *p, uint32_t vcore);

/* act.c */
int up_act_add(struct up_proc *p, uint64_t os_task, uint64_t now, uint64_t *ret_val);
uint32_t up_act_drop(struct up_proc *p, uint64_t count);
void up_act_pool(struct up_proc *p, uint32_t act, uint64_t now);
void up_act_relist(struct up_proc *p, uint32_t act);
void up_act_unpool(struct up_proc *p, uint32_t act);
void up_act_gone(struct up_proc *p, uint32_t act);
void up_act_set(struct up_proc *p, uint32_t act, uint32_t state);
void up_act_started(struct up_proc *p, uint32_t act);
uint32_t up_act_pick(struct up_proc *p, uint32_t vcore, uint32_t pcore);
bool up_act_stand(struct up_proc *p, uint32_t vcore);
void up_act_unstand(struct up_proc *p, uint32_t vcore);
void up_act_fill(struct up_proc *p, bool tell);
void up_act_want(struct up_proc *p, uint32_t more);
void up_act_free_slot(struct up_proc *p, uint32_t act);

/* call.c */
int up_call(struct up_proc *p, uint32_t slot, const struct upabi_call *c, uint64_t now,
	    uint64_t *ret_val);

/* event.c */
int up_event_send(struct up_proc *p, uint32_t vcore, const struct upabi_event *ev, bool notify,
		  bool wake, uint64_t now);
void up_event_tell(struct up_proc *p, uint32_t vcore, uint32_t nr, uint32_t arg, uint64_t val,
		   uint64_t aux, uint64_t now);
void up_event_flush_kept(struct up_proc *p, uint32_t vcore);
bool up_event_left(struct up_proc *p, uint32_t vcore);

/* notify.c */
void up_notify_vcore(struct up_proc *p, uint32_t vcore);

/* preempt.c */
void up_preempt_warn(struct up_proc *p, uint32_t vcore, enum up_why why, uint64_t deadline,
		     bool tell, uint64_t now);
void up_preempt_take(struct up_proc *p, uint32_t vcore, enum up_why why, uint64_t now);
void up_preempt_rescind(struct up_proc *p, uint32_t vcore);
void up_preempt_due(struct up_proc *p, uint32_t vcore, uint64_t now);
void up_preempt_finish(struct up_proc *p, uint32_t vcore, enum up_took took, uint64_t now);

int up_preempt_call(struct up_proc *p, uint64_t vcore, uint64_t grace, uint64_t now);
int up_preempt_left(struct up_proc *p, uint32_t act, uint64_t vcore, uint64_t in_vcore_ctx,
		    uint64_t now);

/* yield.c */
int up_yield(struct up_proc *p, uint32_t act, const uint64_t *arg, uint64_t now);
int up_yield_all(struct up_proc *p, uint32_t act, uint64_t now);
int up_yield_to_s(struct up_proc *p, uint32_t act, uint64_t vcore, uint64_t now);
int up_change_to(struct up_proc *p, uint32_t act, const uint64_t *arg, uint64_t now);

/* block.c */
int up_block(struct up_proc *p, uint32_t slot, const uint64_t *arg, uint64_t now,
	     uint64_t *ret_val);
int up_unblock(struct up_proc *p, uint32_t act, const uint64_t *arg, uint64_t now);

/* resource.c */
int up_resource_request(struct up_proc *p, uint32_t slot, uint64_t now, uint64_t *ret_val);
void up_resource_release(struct up_proc *p, uint64_t now);
void up_resource_available(struct up_kern *k, uint64_t now);

/* policy.c */
void up_policy_touch(struct up_proc *p);
void up_policy_run(struct up_kern *k, uint64_t now);
void up_policy_rotate(struct up_kern *k, uint64_t now);
uint32_t up_policy_target(const struct up_proc *p);
uint32_t up_policy_min(const struct up_proc *p);
const char *up_policy_unserved(const struct up_proc *p);

/* check.c */
const char *up_check_proc(const struct up_proc *p);

/* timer.c */
void up_timer_set(struct up_kern *k, struct up_timer *t, uint64_t at);
void up_timer_stop(struct up_kern *k, struct up_timer *t);
int up_timer_reserve(struct up_kern *k, uint32_t more);

/* effect.c */
void up_eff_init(struct up_eff *e, struct up_proc *p, uint32_t op, uint32_t nr);
void up_eff_queue(struct up_eff *e);
void up_eff_cancel(struct up_eff *e);
bool up_eff_queued(const struct up_eff *e);

#endif
