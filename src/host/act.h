/* SPDX-License-Identifier: MIT */
/*
 * Activations: pooled kernel threads in which vcores run, and the host state around them.
 *
 * An activation's loop runs on its own pthread stack: it parks at its gate, and when started (by
 * the kernel side) or set to take over (by whoever found its predecessor blocked) it enters its
 * vcore on the vcore's transition stack.  It comes back to the loop to give the core back, or,
 * when it has been replaced meanwhile, to publish its uthread.  Whatever may let another
 * activation run the same vcore is said from the loop, never from the transition stack.
 */
#ifndef UP_HOST_ACT_H
#define UP_HOST_ACT_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "abi/run.h"
#include "arch/arch.h"
#include "base/sanitize.h"
#include "host/embed.h"
#include "host/port.h"

/* Classes of call in which a uthread blocks: aux of UPABI_EV_BLOCKED, and rows of every table. */
enum up_class {
	UP_CLASS_ANNOUNCED = 0, /* through our wrappers: compare-and-swap on the way out */
	UP_CLASS_FAULT = 1,	/* outside any system call: a signal waits for its return */
	UP_CLASS_UNINT = 2,	/* uninterruptible inside a call: the same */
	UP_CLASS_UNANNOUNCED =
		3, /* interruptible, nobody told us: runs behind for a bounded time */
	UP_CLASS_NR = 4,
};

struct up_act {
	struct up_gs gs; /* first: the GS base points here */

	/* UP_TAKEOVER_NONE: may be told; UP_TAKEOVER_BUSY: may not, for it runs a vcore or ends; else
	 * told, and by one alone: whom to replace, and on which vcore (up_takeover()). */
	uint64_t takeover __attribute__((aligned(64)));
	/* Whoever finds this activation blocked writes; read by its loop when it comes back. */
	uint32_t stolen_class;
	uint32_t odd_slice_us; /* this thread only: of its slice where that is not UP_SLICE_ACT, or 0 */
	uint32_t reported; /* futex: its replacement has told the kernel side */
	uint64_t stolen_cpu_ns;
	uint32_t freeze; /* the core is taken even from vcore context */
	uint32_t slice_due;
	uint32_t turned_out;  /* asleep in a call, and to give its activation up */
	uint32_t calling;     /* this thread only: a call into the kernel side in its own slot */
	uint64_t late_run;    /* keeper only: what it saw last */
	uint64_t late_cpu_ns; /* keeper: and its CPU time */

	struct up_rseq_cs rseq_cs; /* home.c */
	struct up_san san;	   /* this thread only */

	/* Owner only, or constant once published in up_host.acts. */
	uint32_t num __attribute__((aligned(64)));
	uint32_t vcore;
	uint32_t pcore; /* where it is pinned, UPABI_NONE where it is not */
	uint32_t starts_seen;
	uint64_t own_fs;
	int syscall_fd; /* /proc/self/task/<tid>/syscall, -1 where there is none */
	int stat_fd;
	uint32_t never_parked; /* stands in for the watcher's word where there is none: 0 */
	uint32_t freezable;    /* in vcore context, inside code that is not ours */
	uint32_t ready;	       /* stands by ready to run; others read it */
	uint64_t turn_ns;      /* ... and had its last turn then */
	struct up_act *victim; /* whom it has replaced last */
	bool took_over;	       /* ... and has not entered the vcore yet */
	bool masked;	       /* asynchronous signals are blocked: the handler was left sideways */
	bool has_timer;
	timer_t timer; /* of this thread's CPU time; its signal is the notification */
	stack_t altstack;
	pthread_t thread;
	struct up_act *next_grave;
	struct upabi_act_stats *stats; /* its line of up_host.act_stats; NULL without a number */
};

#define UP_TAKEOVER_NONE 0
#define UP_TAKEOVER_BUSY UINT64_MAX

static inline uint64_t up_takeover(uint32_t victim, uint32_t vcore)
{
	return (uint64_t)victim << 32 | (vcore + 1);
}

/* With a blocked uthread that keeps an activation while nobody stands by. */
struct up_patience {
	void *uthread; /* who was found so last */
	uint64_t since_ns;
	uint64_t ns; /* grows while nobody else wants the vcore */
};

/* The watcher of a vcore; see watcher.c. */
struct up_watch {
	struct up_act *act; /* who runs the vcore; owner writes, watchers read */
	uint32_t parked;    /* futex: 1 while the watcher sleeps */
	uint32_t pcore;
	uint32_t online;
	int tid;
	bool quit;
	pthread_t thread;
	uint64_t last_run; /* what the backstop saw last */
	uint64_t take_ns;  /* since when the keeper has seen its core being taken */
	uint32_t wanted;   /* the vcore has run: the keeper is to make the watcher */
	uint64_t steals;
	uint64_t false_alarms;
	uint64_t no_standby;
	uint32_t vain;	  /* turns of who stands by ready to run, since a block was found */
	uint64_t rest_ns; /* until then nobody stands by like that */
	struct up_patience patience;			     /* the watcher's */
	struct up_patience late_patience;		     /* the lookout's */
	uint32_t slicer_parked __attribute__((aligned(64))); /* futex */
	bool has_slicer;
	int slicer_tid;
	pthread_t slicer;
} __attribute__((aligned(64)));

/* What the process side plugs in. */
struct up_host_hooks {
	void *(*vc_stack)(uint32_t vcore); /* top of its transition stack */
	void (*vc_entry)(void *act);	   /* runs there; never returns */
	/* On the loop: make the uthread of a replaced activation known as unblocked. */
	void (*publish)(struct up_act *a);
	/* TO_S, CHANGE and whatever else is the process side's: true when the activation parks. */
	bool (*leave)(struct up_act *a, uint64_t how);
	/* The lookout: does what is due at a moment of the process side's; when the next one is. */
	uint64_t (*alarm)(uint64_t now);
	/* What sleeps in it is to go before the rest; a hint, for it may be gone by then. */
	bool (*outranks)(const struct up_act *a);
	/* On the loop: the activation has left its vcore.  May be NULL. */
	void (*rest)(struct up_act *a);
};

#define UP_AFFINITY_WORDS (65536 / 64)

struct up_host {
	struct up_embed *embed;
	struct up_port *port;
	struct up_act **acts;		   /* by number; written once each, with release */
	struct upabi_act_stats *act_stats; /* by number; they outlive the activation */
	bool act_stats_lent;
	struct upabi_run_vcore *times; /* NULL, or where to write when vcores are online */
	uint32_t nr_times;
	uint32_t *acts_peak; /* NULL, or where to write how many activations there were */
	struct up_watch *watch;
	struct up_host_hooks hooks;
	uint32_t max_vcores;
	uint32_t max_acts;
	int pid;
	int signo;
	uint64_t slice_ns; /* 0: none */
	uint64_t tick_ns;
	bool use_slicer;
	bool has_slices;     /* Linux lets a thread ask for one */
	bool use_rseq;	     /* home.c: it leads home from system calls */
	bool use_rseq_fault; /* ... and from page faults */
	sigset_t act_mask;   /* what an activation blocks in uthread context */
	uint64_t act_mask_raw;
	/* The process's own CPU set, which its children are to have; written by the keeper. */
	uint64_t affinity[UP_AFFINITY_WORDS];
	uint32_t affinity_sz;
	/* keeper.c */
	uint32_t bell;
	uint32_t want_acts;
	uint64_t deadline;
	bool quit;
	int keeper_tid;
	pthread_t keeper;
	uint32_t nr_acts;
	bool stopping;	 /* all activations are to end, those that are on their way here too */
	uint32_t living; /* futex: activations whose thread exists */
	struct up_act *graves; /* activations that have ended; act.c */
	int create_errno;      /* why the last activation could not be made, 0 */
	uint64_t backstop_steals;
};

extern struct up_host up_host;

struct up_host_cfg {
	uint32_t max_vcores;
	uint32_t max_acts;
	uint64_t slice_ns;
	uint64_t grace_ns;
	int signo;
	struct up_host_hooks hooks;
	/* Memory to count in that somebody else reads (abi/run.h); all NULL: there is nobody. */
	struct upabi_act_stats *act_stats;
	struct upabi_run_vcore *times;
	uint32_t nr_times;
	uint32_t *acts_peak;
};

/* Starts the kernel side, the keeper and the first activations.  -errno, nothing left behind. */
int up_host_start(const struct up_host_cfg *cfg);
/* Every activation has been told to go and the caller is none of them. */
void up_host_stop(void);

void up_host_note_affinity(void);
/* The child of a fork has none of our threads: forget them, keep nothing mapped of theirs. */
void up_host_forget(void);
uint64_t up_host_cpu_ns(uint32_t tid); /* CPU time of one of our kernel threads */

/* act.c */
int up_act_spawn(void); /* one more kernel thread; any thread that may block */
void up_act_pin(struct up_act *a, uint32_t pcore);
void up_act_stay(struct up_act *a); /* the caller's: back to its core, if somebody has moved it */
/* Undo the pin for the calling kernel thread (children inherit it), and put it back. */
/* On the loop: a call that gives the core up; false where the kernel side will not have it. */
bool up_act_leave_core(struct up_act *a, enum upabi_op op, const uint64_t arg[5]);
void up_act_unpin_self(void);
void up_act_be_single(struct up_act *a); /* without a core of ours from here on */
void up_act_repin_self(void);
void up_act_unmask(struct up_act *a); /* vcore context, before a cooperative resume */
/* A call into the kernel side in the slot of the activation that the caller is on.  Vcore context, or a
 * uthread with preemption off: it stays until the answer has been read, since the slot's next call
 * would take that away.  As up_port_call(). */
int up_act_call(enum upabi_op op, const uint64_t arg[5], uint64_t *ret_val);
void up_act_freeze(struct up_act *a); /* handler, vcore context: stand still until started */
struct up_act *up_act_get(uint32_t num);
void up_act_wait_gone(void);
void up_act_clear_graves(void);

/* replace.c */
/* We do not replace it after all: back to where it was, or it is told so. */
void up_replace_undo(struct up_act *victim, uint32_t vcore);
/* By the replacement, to the kernel side; its answer. */
int up_replace_report(struct up_act *a, struct up_act *victim, uint32_t vcore);
struct up_act *up_replace_victim(uint64_t told); /* of a word up_takeover() */
void up_replace_end(struct up_act *a);		 /* it is chosen by nobody any more */
bool up_replace_wait(struct up_act *a); /* the victim: false when the block was not accepted */
void up_replace_over(struct up_act *a); /* its turns are as long as any other's */
/* The caller is about to run one whose turn cannot wait, also when it has slept. */
void up_replace_urgent(struct up_act *a);

/* standby.c */
/* On the loop, one that has nothing to do: false when it is to sleep, true when it had its turn. */
bool up_standby_turn(struct up_act *a);
/* Does somebody stand by ready to run for the vcore?  A moment old. */
bool up_standby_is_ready(uint32_t vcore);
/* Will it stand by ready to run, if the kernel side has it stand by for the vcore it ran last? */
bool up_standby_offers(const struct up_act *a);

/* watcher.c */
int up_watch_start(uint32_t vcore);
void up_watch_pin(uint32_t vcore, uint32_t pcore);
void up_watch_quit(uint32_t vcore);
void up_watch_stop(uint32_t vcore); /* after up_watch_quit() */
void up_watch_arm(uint32_t vcore);  /* vcore context */
/* Who looks. */
enum up_from {
	UP_FROM_AFAR,
	UP_FROM_CORE, /* a thread that runs on the vcore's core */
	UP_FROM_IDLE  /* ... and would not if the activation could */
};
/* Looks whether the vcore's activation is blocked and replaces it if so.  1 replaced, 0 not blocked,
 * -EAGAIN blocked but nobody stands by. */
int up_watch_look(uint32_t vcore, enum up_from from);
/* What a task is doing: -EAGAIN on a processor or waiting for one, else its class. */
int up_task_class(const struct up_act *a);
struct up_look {
	uint64_t pc; /* where it will come back to */
	int nr;	     /* of the call; -1 outside of any */
	bool unint;  /* it sleeps uninterruptibly: a signal waits for the end of that */
};
int up_task_look(const struct up_act *a, struct up_look *ret_look);

/* home.c */
void up_home_init(void);
bool up_home_by_rseq(bool fault);
/* Where Linux last ran the thread with this FS base, negative (as an int32_t) where it does not say. */
uint32_t up_home_cpu(uint64_t fs);
/* From keep to kept on one thread: has it had its core all the time?  false: or nobody can tell. */
void up_home_keep_core(void);
bool up_home_kept_core(void);
void up_home_set(struct up_act *a, int class_of_call, uint64_t pc);
void up_home_unset(struct up_act *a);
void up_home_call(struct up_act *a, int class_of_call, bool unint);

/* turnout.c */
/* How long u may still keep its activation, in ns. */
uint64_t up_patience_left(struct up_patience *p, void *u, uint64_t now);
void up_patience_end(struct up_patience *p, uint64_t now);
/* May the call be made again when it has ended with EINTR? */
bool up_begins_again(long nr);
void up_turn_out(uint32_t vcore);
/* By the lookout, for a watcher that does not get to run: `now` and then, not at once. */
void up_turn_out_late(uint32_t vcore, uint64_t now);

/* slicer.c */
int up_slicer_start(uint32_t vcore);
void up_slicer_stop(uint32_t vcore);
void up_slicer_arm(uint32_t vcore);

/* keeper.c */
int up_keeper_start(void);
void up_keeper_stop(void);
void up_keeper_forget(void);
void up_keeper_ring(void);
/* lookout.c */
void up_lookout_start(void); /* last of all; where it cannot, the keeper looks */
void up_lookout_stop(void);
void up_lookout_forget(void);
void up_lookout_ring(void);
bool up_lookout_none(void);		/* the keeper is to look */
uint64_t up_lookout_once(uint64_t now); /* does what is due; when to come again */
uint32_t up_keeper_cores(void);		/* how many cores Linux lets us use at once */

static inline uint32_t up_run_state(uint64_t run)
{
	return (uint32_t)run & UP_RUN_MASK;
}

static inline struct up_act *up_act_self_vc(void)
{
	return (struct up_act *)(void *)up_gs_self();
}

#endif
