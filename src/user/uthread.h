/* SPDX-License-Identifier: MIT */
/*
 * What the process side knows: uthreads, vcores, the runtime as a whole.  Read this first.
 *
 * A uthread is owned by whoever holds it: the activation that runs it (gs.uthread), the scheduler
 * that queued it, the list of those that came back from the kernel, or the one who will wake it.
 * Only the owner touches its context.
 */
#ifndef UP_USER_UTHREAD_H
#define UP_USER_UTHREAD_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <ucontext.h>

#include "abi/run.h"
#include "arch/arch.h"
#include "base/bits.h"
#include "base/list.h"
#include "host/act.h"
#include "base/lock.h"
#include "upcall/sync.h"
#include "upcall/upcall.h"
#include "user/wait.h"

enum up_ctx_kind {
	UP_CTX_COOP = 0,  /* saved by a call: sp */
	UP_CTX_FRAME = 1, /* interrupted: frame, on its own stack */
};

/* For dumps and checks; the owner writes it. */
enum up_uthread_state {
	UP_U_NEW = 0,
	UP_U_RUNNING = 1,   /* on an activation that runs a vcore */
	UP_U_READY = 2,	    /* with the scheduler */
	UP_U_WAITING = 3,   /* upcall_block(): with its waker */
	UP_U_IN_KERNEL = 4, /* its activation was replaced; for dumps */
	UP_U_DONE = 5,	    /* stays when it has been freed, until another takes its place */
	UP_U_ASIDE = 6,	    /* waits for the runtime itself: another's end, or the way home */
};

#define UP_NAME_SZ 32

struct up_stack {
	void *lo;  /* first usable byte, behind its guard */
	size_t sz; /* 0 when it is not ours */
	bool guarded;
	uint16_t nr_row; /* so many were mapped at once, of which this is the first; 0: it is not */
};

struct up_uthread {
	/* The context; see enum up_ctx_kind. */
	void *sp; /* first: switch.S */
	uint64_t fs;
	uint8_t kind;
	bool detached;
	bool is_main;
	bool live;		/* made, and not freed */
	int8_t prio;		/* atomic */
	bool resched;		/* owner: give way at the next look */
	bool turned_out;	/* owner: ... even in a section (host/turnout.c) */
	uint32_t cs_depth;	/* sections it was in when its core was taken */
	uint32_t state;		/* atomic where WAITING: wakers compete for it */
	struct up_again *again; /* owner: calls made once more, innermost first (again.c) */
	void *sched_words[UPCALL_SCHED_WORDS + 1]; /* the last is sched/share.c's */
	struct up_uthread *joiner; /* atomic; NULL, a uthread, or a mark (uthread.c) */

	/* libc_*.c */
	uint64_t sig_mask;		   /* it writes, others read */
	uint64_t sig_pending;		   /* atomic: sent to it alone, not delivered yet */
	uint64_t sig_wait;		   /* atomic: what it waits for in sigwait() and its like */
	struct up_sig_record *sig_records; /* handlers that run on it, newest first */
	stack_t altstack;
	struct up_uthread_wait wait;
	struct up_san san; /* owner */

	/* The slot's; what stands above is cleared for each uthread that it serves (slot.c). */
	struct up_stack stack;
	struct up_uthread *batch; /* while it is free, the next batch behind its own */
	struct up_list all;	  /* up_rt.all_lock */
	char name[UP_NAME_SZ];
	struct up_deque *deque; /* src/fork: its own; NULL at its beginning and after its end */

	/* Written before they are read. */
	ucontext_t *frame;
	void (*cb)(struct upcall_uthread *u, void *arg); /* upcall_block() */
	void *cb_arg;
	struct up_uthread *next; /* lists of the runtime's own */
	void *(*fn)(void *);
	void *arg;
	void *value;
	void *exit_value; /* of pthread_exit() */
	uint64_t id;
	uint32_t fake_tid;
	uint32_t queued_at; /* the vcore where it became ready */
	uint32_t last_act;  /* the activation it ran on last, to tell migrations */
	uint32_t blocked_class;
	uint32_t sig_handled; /* its own: counts handlers that ran on it */
	int moved;	      /* what came of its wish to be single- or many-core */
	siginfo_t fault;      /* fault.c */
};

/* What an activation has to itself, by its number, so that it outlives the task; in a section of ours
 * only.  One more is for threads that are none of ours, with outside_lock. */
struct up_cell {
	struct up_uthread *slots;
	uint32_t nr_slots;
	uint64_t next_id, end_id; /* numbers for uthreads */
	int64_t counted;     /* uthreads that count among those that have signals open, as a sum */
	uint32_t sched_word; /* upcall_sched_own_word() */
} __attribute__((aligned(64)));

/* Where a vcore's records go. */
struct up_trace_ring {
	struct upabi_run_vcore *line; /* NULL: this vcore is not traced */
	struct upabi_trace_rec *recs;
	uint64_t head;	    /* written so far */
	uint64_t tail_seen; /* the reader is there at least */
	uint64_t mask;
	uint32_t last; /* type of the last record */
	bool online;
	uint64_t running; /* id of the uthread that the last RUN named */
};

struct up_vcore {
	struct up_act *act; /* who runs it; written at entry */
	uint32_t id;
	uint32_t change_to;  /* vcore + 1 that must go on before us */
	uint32_t idle;	     /* looks for work, or is offline for want of it */
	uint32_t was_masked; /* see run() */
	uint64_t fs;	     /* of the uthread that it runs, or ran last; others look */
	bool came;	     /* has not come upon work since it came, or was idle */
	uint32_t asleep;     /* atomic: sleeps until a descriptor is ready, or it is kicked */
	int kick_fd;	     /* atomic: what wakes it then; 0: it never sleeps like that */
	void *stack_lo;
	void *stack_top;
	struct upabi_vcore_stats *stats; /* own_stats, or a line that outlives us (publish.c) */
	struct upabi_vcore_stats own_stats;
	struct up_trace_ring trace; /* trace.c; vcore context */
} __attribute__((aligned(64)));

struct up_handler {
	upcall_event_fn fn;
	void *arg;
};

/* What src/fork plugs in when a program first forks: work that is no uthread yet. */
struct up_fork_ops {
	/* Vcore context: this vcore, counted as idle, is about to look; who makes work is to know. */
	void (*hungry)(void);
	/* Vcore context: one of its own that is to run since the scheduler has nothing, or NULL. */
	struct up_uthread *(*pick)(uint32_t v);
	bool (*more)(void);		   /* would pick() find something?  A guess. */
	void (*end)(struct up_uthread *u); /* u, the caller, is about to end */
	/* Uthreads of its own, which the program does not know of: their number, as many as there are
	 * or one more, in the lower half; the upper changes with each. */
	uint64_t (*own)(void);
	int (*stop)(void);    /* uthread 0, nobody else lives: ends its own */
	void (*fini)(void);   /* nothing runs any more */
	void (*forget)(void); /* in the child of fork() */
};

/* What src/io plugs in when a uthread first waits for a descriptor. */
struct up_io_ops {
	/* Vcore context, and nothing to run: makes ready whose descriptors are. */
	void (*look)(uint32_t v);
	/* The same, once one is ready or somebody kicks the vcore; for a moment at the most.  False: nobody
	 * has waited there yet. */
	bool (*sleep)(uint32_t v);
	/* Vcore context, about to give its core back: nobody looks from here on. */
	void (*leave)(uint32_t v);
	/* No uthread waits any more, and the kernel side is still there: ends its own thread. */
	void (*stop)(void);
	void (*fini)(void);   /* nothing runs any more */
	void (*forget)(void); /* in the child of fork() */
};

struct up_runtime {
	bool started;
	bool own_tls;
	bool tls_works;	  /* blocks of our own can be made, whether uthreads have them or not */
	uint32_t target;  /* vcores wanted when there is work */
	bool stopping;	  /* uthread 0 goes home: nobody else is there to wait for */
	uint32_t nr_idle; /* vcores whose `idle` is set; atomic */
	bool ranked;	  /* somebody has had another priority than the default */
	uint32_t max_vcores;
	size_t stack_sz;
	struct upcall_sched_ops sched;
	struct up_vcore *vcores;
	struct up_uthread *main;
	struct up_uthread *back;   /* MPSC: uthreads whose activation came back, newest first */
	struct up_uthread *urgent; /* lost their core inside a section, last one first */
	struct up_uthread *dead;   /* MPSC: ended, to be freed by whoever allocates next */
	struct up_lock all_lock;   /* with preemption off */
	struct up_list all;	   /* uthread 0, and all slots */
	struct up_lock outside_lock;
	struct up_cell *cells;
	uint32_t nr_cells;
	unsigned slot_class; /* of the stacks that cells keep: the default size */
	size_t slot_sz;
	struct upabi_run_count *counts; /* a cell's uthreads, where it happened; others sum up */
	struct up_handler handler[UPABI_EV_NR];
	struct up_port *port;
	const struct up_fork_ops *fork; /* NULL until a program forks */
	const struct up_io_ops *io;	/* NULL until a uthread waits for a descriptor */
	struct upcall_mutex io_starting;
};

extern struct up_runtime up_rt;

/* The calling uthread; NULL on any other thread (whose GS base is 0: see up_gs_ours()). */
#ifdef UP_ATOMIC_REPLACEMENT
struct up_uthread *up_self(void); /* an explorer's */
#else
static inline struct up_uthread *up_self(void)
{
	struct up_uthread *u;

	if (!up_rt.started || !up_arch_get_gs() || up_run_state(up_gs_run()) == UP_RUN_VCORE)
		return NULL;
	u = up_gs_uthread();
	/* A thread that libc made for itself has inherited our GS base, but has a TLS of its own. */
	if (u && u->fs && u->fs != up_tls_fs())
		return NULL;
	return u;
}
#endif
/* True when the GS base is an activation's and this thread is that activation. */
bool up_on_act(void);

/* Uthread context: not to be moved from here on; nests.  Leaving gives way if that is due. */
void up_preempt_disable(void);
void up_preempt_enable(void);
void up_section_ended(void); /* the outermost section has been left */

/* Uthread context: leave the stack, run fn(self, arg) in vcore context, then schedule. */
void up_sched_call(struct up_uthread *u, void (*fn)(struct upcall_uthread *, void *), void *arg);

/* The same for an fn of ours, which neither minds in whose section of ours and on whose stack it runs,
 * nor needs the vcore: straight to the next uthread where there is one (direct.c). */
void up_leave(struct up_uthread *u, void (*fn)(struct upcall_uthread *, void *), void *arg);

/* Uthread context, for who knows to be one. */
static inline void up_section_enter(void)
{
	up_gs_cs_enter();
}

static inline void up_section_leave(void)
{
	if (up_gs_cs_leave() && UP_UNLIKELY(up_gs_due()))
		up_section_ended();
}

/* direct.c. Uthread context: begin enters a section of ours, or is NULL where the long way is to be
 * taken; the others are called in it. */
struct up_act *up_direct_begin(void);
/* Can the next one be switched to? The caller owns it. */
bool up_direct_fits(const struct up_uthread *n);
/* Leaves u for n; up_direct_left(u), if others are to be told, once u is off its stack; the section is
 * over when u goes on. */
void up_direct_to(struct up_act *a, struct up_uthread *u, struct up_uthread *n, bool tell);
/* Leaves u for good, which has nothing left to do but up_arch_over(NULL). */
void up_direct_over(struct up_act *a, struct up_uthread *u, struct up_uthread *n);
/* The same for the scheduler's next, as up_direct_call(): true, then up_arch_over(u). */
bool up_direct_end(struct up_act *a, struct up_uthread *u,
		   void (*fn)(struct upcall_uthread *, void *));
/* On the next one's stack: runs fn for one that is off its own. */
void up_direct_left(void *u);
/* The same over the transition stack, whatever n is. */
void up_direct_long(struct up_uthread *u, void (*fn)(struct upcall_uthread *, void *), void *arg,
		    struct up_uthread *n);
/* For the scheduler's next: false when there is none, or it is to be asked in vcore context. */
bool up_direct_call(struct up_uthread *u, void (*fn)(struct upcall_uthread *, void *), void *arg);

/* Uthread context on a replaced activation: back to a vcore. */
void up_go_home(struct up_uthread *u);

/* Uthread context: into vcore context and back; to others first if the caller's turn is over. */
void up_attend(void);

/* vcore.c */
int up_vcore_init(uint32_t max_vcores);
void up_vcore_fini(void);
__attribute__((noreturn)) void up_vcore_entry(void *act);
__attribute__((noreturn)) void up_vcore_again(void);
void *up_vcore_stack(uint32_t v);
void up_vcore_publish(struct up_act *a);
bool up_vcore_outranks(const struct up_act *a);
bool up_vcore_leave(struct up_act *a, uint64_t how);
/* In a function that up_sched_call() or up_leave() runs: who has left goes on, at once where it can. */
void up_go_on(struct up_uthread *u);
uint32_t up_vcore_here(void); /* there, too */
/* Into the scheduler's hands: vcore context, or a uthread with preemption off. */
void up_to_sched(struct up_uthread *u, uint32_t v, enum upcall_why why);
/* Make ready: vcore context, or a uthread with preemption off, or any other thread. */
void up_ready(struct up_uthread *u, enum upcall_why why);
/* Those that hang together by `next`, which are as good as woken. */
void up_ready_list(struct up_uthread *first);
void up_ready_mine(struct up_uthread *first);
/* The same without the last. */
void up_ready_here(struct up_uthread *u, enum upcall_why why);
void up_push_back(struct up_uthread *u); /* any context */
/* Any context: whoever sleeps on a vcore of its own looks again.  Behind what it is to see. */
void up_vcore_kick(uint32_t v);
void up_vcore_kick_one(void);
/* Work has come that is no uthread: brings in a vcore that is idle or missing.  As up_ready(). */
void up_wake_vcore(void);

/* call.c, for sanitizers: what is written before a call may be read behind another, so whoever sends lets
 * whoever receives know. */
extern char up_in_linux;

/* again.c; vcore context, owner of u, which was turned out of a call */
void up_again_push(struct up_uthread *u);
void up_again_leave(struct up_uthread *u); /* the innermost */

/* deadlock.c; vcore context, before the core is given back for want of work.  True: the program has been
 * told of one, and may have ended it. */
bool up_deadlock_told(void);

/* event.c */
void up_event_drain(struct up_vcore *vc);

/* notify.c */
int up_notify_init(int signo);
void up_notify_fini(void);

/* fault.c */
struct up_fault_hook {
	/* A fault of `u` that the scheduler does not take: true when it has been dealt with. */
	bool (*fault)(struct up_uthread *u, int sig, siginfo_t *si, ucontext_t *uc);
};
int up_fault_init(void);
void up_fault_fini(void);
void up_fault_set_hook(const struct up_fault_hook *h);
void up_fault_reflect(struct up_act *a, struct up_uthread *u, int sig, siginfo_t *si,
		      ucontext_t *uc);
/* The program's own action for a fault signal, behind ours.  1 when `sig` is one, else 0. */
int up_fault_old_action(int sig, struct sigaction *old, const struct sigaction *act);

/* stack.c */
/* Room for so many in a row, each of sz and its guard, or NULL; and back. */
size_t up_stack_room(size_t sz);
void *up_stack_map(size_t sz, unsigned nr);
void up_stack_unmap(void *at, size_t sz, unsigned nr);
/* One of them is used from now on, or no more: its guard. */
void up_stack_begin(void *at, size_t sz, struct up_stack *ret);
void up_stack_end(const struct up_stack *s);
int up_stack_vcore(void **ret_lo, void **ret_top); /* resident */
extern unsigned up_stack_unguarded;

/* slot.c */
#define UP_SLOT_SHIFT 2048 /* a uthread lies up to so many bytes below its stack's top */
int up_slot_init(uint32_t max_acts);
void up_slot_fini(void);
void up_slot_fork_child(void);
/* The caller's cell, and a section until it is dropped. */
struct up_cell *up_cell_take(void);
static inline void up_cell_drop(struct up_cell *c)
{
	if (UP_UNLIKELY(c == &up_rt.cells[up_rt.nr_cells - 1]))
		up_lock_drop(&up_rt.outside_lock);
	else
		up_section_leave();
}
/* The same for who knows to be a uthread, in a section of ours. */
static inline struct up_cell *up_cell_mine(void)
{
	return &up_rt.cells[up_act_self_vc()->num];
}
static inline struct upabi_run_count *up_cell_count(const struct up_cell *c)
{
	return &up_rt.counts[c - up_rt.cells];
}
/* With a cell: one that is free (sz 0: the default), or NULL; back again; a number that no other has. */
struct up_uthread *up_slot_get(struct up_cell *c, size_t sz);
void up_slot_put(struct up_cell *c, struct up_uthread *u);
uint64_t up_slot_new_id(struct up_cell *c);
/* What the activation has to itself goes to all: it runs no vcore. */
void up_slot_rest(struct up_act *a);
/* Without: a new one, or NULL; may sleep. */
struct up_uthread *up_slot_make(size_t sz);
/* Any context: how many were made, and live; the latter is never too low. */
void up_slot_count(uint64_t *ret_made, uint64_t *ret_live);
int64_t up_slot_counted(void);

/* uthread.c */
/* The steps of a join: a claim on u; its end; the claim given up (false: u has ended meanwhile). */
int up_join_begin(struct up_uthread *u, bool *ret_ended);
void up_join_end(struct up_uthread *u, bool ended, void **ret_value);
bool up_join_abandon(struct up_uthread *u);
int up_uthread_adopt_main(struct up_uthread **ret_u);
void up_uthread_free_dead(void);
struct up_uthread *up_uthread_of_stack(uintptr_t at);

/* critical.c: moves an interrupted context into the second copy of its section, if in one */
bool up_critical_redirect(ucontext_t *uc);
void up_critical_give_way(void);

/* setxid.c: once threads have been made */
void up_setxid_init(void);
void up_setxid_fini(void);

/* rseq.c: on the first thread, with its own FS base */
void up_rseq_leave(void);
void up_rseq_rejoin(void);

/* upcall_start(), told which scheduler is the default: this layer knows none. */
int up_start(const struct upcall_opts *opts, const struct upcall_sched_ops *default_sched);

/* fork: in the child, on its only thread (runtime.c) */
void up_fork_child(void);

#endif
