/* SPDX-License-Identifier: MIT */
/*
 * Vcore context: what a vcore does between two uthreads.  Every way in starts at the top of the
 * transition stack and keeps nothing: a start, a notification, a yield, a block, a resume that
 * found something pending.  From there: events, then whether the core is to be left, then the
 * uthread that was interrupted or the scheduler's next.
 *
 * Nothing here blocks, allocates or enters libc.
 */
#include "user/uthread.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/inject.h"
#include "base/mutant.h"
#include "base/probe.h"
#include "user/libc.h"
#include "user/publish.h"
#include "user/trace.h"

/* How long a vcore looks for work before it gives its core back: about a same-core wake-up. */
#define IDLE_NS 5000
/* As many as a vcore keeps to itself for the moment; a request to a server takes some 10 us. */
#define A_FEW 16

static struct up_vcore *vcore_of(const struct up_act *a)
{
	return &up_rt.vcores[a->vcore];
}

void *up_vcore_stack(uint32_t v)
{
	return up_rt.vcores[v].stack_top;
}

int up_vcore_init(uint32_t max_vcores)
{
	uint32_t v;
	int r = 0;

	up_rt.vcores = mmap(NULL, max_vcores * sizeof(*up_rt.vcores), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (up_rt.vcores == MAP_FAILED) {
		up_rt.vcores = NULL;
		return -ENOMEM;
	}
	up_rt.max_vcores = max_vcores;
	for (v = 0; v < max_vcores && !r; v++) {
		up_rt.vcores[v].id = v;
		up_publish_vcore(&up_rt.vcores[v]);
		r = up_stack_vcore(&up_rt.vcores[v].stack_lo, &up_rt.vcores[v].stack_top);
	}
	if (r)
		up_vcore_fini();
	return r;
}

void up_vcore_fini(void)
{
	uint32_t v;

	for (v = 0; up_rt.vcores && v < up_rt.max_vcores; v++)
		if (up_rt.vcores[v].stack_lo)
			munmap(up_rt.vcores[v].stack_lo,
			       (size_t)((char *)up_rt.vcores[v].stack_top -
					(char *)up_rt.vcores[v].stack_lo));
	if (up_rt.vcores)
		munmap(up_rt.vcores, up_rt.max_vcores * sizeof(*up_rt.vcores));
	up_rt.vcores = NULL;
}

/* ---- what comes back from the kernel ---- */

void up_push_back(struct up_uthread *u)
{
	struct up_uthread *head = up_load_relaxed(&up_rt.back);

	do
		u->next = head;
	/* release: pairs with take_back()'s acquire: u's context is saved */
	while (!up_cas_release(&up_rt.back, &head, u));
}

/* One that lost its core inside a section: it is continued to the section's end before anything
 * else runs, by whoever looks next. */
static void push_urgent(struct up_uthread *u, struct up_uthread *last)
{
	struct up_uthread *head = up_load_relaxed(&up_rt.urgent);

	do
		last->next = head;
	while (!up_cas_release(&up_rt.urgent, &head, u)); /* pairs with take_urgent() */
}

static struct up_uthread *take_urgent(void)
{
	struct up_uthread *u, *last;

	if (UP_LIKELY(!up_load_relaxed(&up_rt.urgent)))
		return NULL;
	u = up_xchg_acquire(&up_rt.urgent, NULL); /* all: no ABA; pairs with push_urgent() */
	if (!u || !u->next)
		return u;
	for (last = u->next; last->next; last = last->next)
		;
	push_urgent(u->next, last);
	return u;
}

void up_to_sched(struct up_uthread *u, uint32_t v, enum upcall_why why)
{
	u->state = UP_U_READY;
	u->queued_at = v;
	up_san_release(u);
	UP_PROBE3(uthread__ready, u->id, v, why);
	up_rt.sched.ready((struct upcall_uthread *)u, v, why);
}

static void make_ready(struct up_uthread *u, uint32_t v, enum upcall_why why)
{
	bool wait = u->turned_out; /* for the others: first, it would only sleep again */

	u->turned_out = false;
	if (UP_UNLIKELY(wait))
		up_again_push(u);
	if (u->cs_depth && !wait && !UP_MUT(section_holder_queued)) {
		u->state = UP_U_READY;
		u->queued_at = v;
		push_urgent(u, u);
	} else {
		up_to_sched(u, v, why);
	}
}

/* How many came. */
static unsigned take_back(uint32_t v)
{
	struct up_uthread *u, *next, *fifo = NULL;
	unsigned nr = 0;

	if (!up_load_relaxed(&up_rt.back))
		return 0;
	/* acquire: pairs with up_push_back() */
	for (u = up_xchg_acquire(&up_rt.back, NULL); u; u = next) {
		next = u->next;
		u->next = fifo;
		fifo = u;
	}
	for (u = fifo; u; u = next) {
		next = u->next;
		up_trace(&up_rt.vcores[v], UPABI_TR_UNBLOCKED, u->blocked_class, u->id, 0);
		make_ready(u, v, UPCALL_UNBLOCKED);
		nr++;
	}
	return nr;
}

/* On the loop of an activation that was replaced: its uthread is whole, in memory. */
void up_vcore_publish(struct up_act *a)
{
	struct up_uthread *u = a->gs.uthread;

	a->gs.uthread = NULL;
	a->gs.call = 0;
	u->blocked_class = up_load_relaxed(&a->stolen_class);
	UP_PROBE2(uthread__unblocked, u->id, u->blocked_class);
	u->cs_depth = a->gs.cs_depth;
	a->gs.cs_depth = 0;
	a->gs.due = 0;
	up_push_back(u);
}

bool up_vcore_outranks(const struct up_act *a)
{
	const struct up_uthread *u = up_load_relaxed(&a->gs.uthread);

	/* Its memory stays, whoever it is by now. */
	return up_load_relaxed(&up_rt.ranked) && u && up_load_relaxed(&u->prio) > 0;
}

/* ---- running a uthread ---- */

__attribute__((noreturn)) static void run(struct up_act *a, struct up_uthread *u)
{
	struct up_vcore *vc = vcore_of(a);
	uint64_t run = up_load_relaxed(&a->gs.run) - UP_RUN_VCORE + UP_RUN_SEQ + UP_RUN_UTHREAD;
	uint64_t fs = u->fs ? u->fs : a->own_fs;

	if (up_libc_has_signal(u))
		up_libc_push_handlers(u);
	vc->stats->switches++;
	up_store_relaxed(&vc->fs, fs);
	up_trace_run(vc, u);
	UP_PROBE2(uthread__switch, u->id, vc->id);
	if (u->last_act != a->num) {
		if (u->kind == UP_CTX_FRAME)
			vc->stats->migrations++;
		u->last_act = a->num;
	}
	a->gs.uthread = u;
	a->gs.cs_depth = u->cs_depth;
	a->gs.due = 0;
	if (u->cs_depth) { /* to its section's end, where it gives way */
		u->resched = true;
		a->gs.due = 1;
	}
	u->cs_depth = 0;
	u->state = UP_U_RUNNING;
	if (UP_UNLIKELY(u->prio > 0))
		up_replace_urgent(a);
	vc->was_masked = a->masked;
	UP_INJECT(vcore_leaves);
	up_san_release(vc);
	if (!u->fs)
		up_san_enter(&a->san, &u->san);
	if (!up_arch_fsgsbase) {
		up_arch_set_fs(fs);
		fs = 0;
	}
	if (u->kind == UP_CTX_FRAME) {
		up_frame_set_altstack(u->frame, &a->altstack);
		a->masked = false; /* rt_sigreturn puts the mask right */
		up_arch_resume_frame(u->frame, fs, run);
	}
	if (a->masked && !UP_MUT(mask_left_set))
		up_act_unmask(a);
	up_arch_resume_coop(u->sp, fs, run);
}

/* ---- leaving the core ---- */

/* Put the uthread that we were running with the scheduler. */
static void give_way(struct up_act *a, enum upcall_why why)
{
	struct up_uthread *u = a->gs.uthread;

	if (!u)
		return;
	a->gs.uthread = NULL;
	u->cs_depth = a->gs.cs_depth;
	a->gs.cs_depth = 0;
	a->gs.due = 0;
	u->resched = false;
	make_ready(u, a->vcore, why);
}

/* A section is continued to its end before anything else, unless the core itself is to go. */
static bool in_section(const struct up_act *a)
{
	const struct up_uthread *u = a->gs.uthread;

	return u && a->gs.cs_depth && !u->turned_out;
}

static void look_at_take(struct up_act *a, struct up_vcore *vc)
{
	const struct upabi_vcoremap *m = &up_rt.port->vmap[vc->id];

	if (up_load_acquire(&m->flags) & UPABI_VMF_TAKE) {
		vc->stats->preempts++;
		give_way(a, UPCALL_PREEMPTED);
		up_trace(vc, UPABI_TR_OFFLINE, UPABI_TR_OFF_TAKEN, 0, 0);
		up_arch_to_own(UP_OWN_TAKEN);
	}
	if (up_load_acquire(&m->preempt_pending) && !in_section(a)) {
		vc->stats->preempts++;
		give_way(a, UPCALL_PREEMPTED);
		up_trace(vc, UPABI_TR_WARNED, 0, up_load_relaxed(&m->preempt_pending), 0);
		up_trace(vc, UPABI_TR_OFFLINE, UPABI_TR_OFF_WARNED, 0, 0);
		up_arch_to_own(UP_OWN_NICE);
	}
	if (vc->change_to && !in_section(a)) {
		give_way(a, UPCALL_PREEMPTED);
		up_trace(vc, UPABI_TR_OFFLINE, UPABI_TR_OFF_CHANGED, 0, 0);
		up_arch_to_own(UP_OWN_CHANGE);
	}
}

static void set_idle(struct up_vcore *vc, uint32_t idle)
{
	if (vc->idle == idle)
		return;
	up_store_relaxed(&vc->idle, idle);
	vc->came = true;
	if (idle)
		up_fetch_add_seq_cst(&up_rt.nr_idle, 1); /* then look again: see wake_vcore() */
	else
		up_fetch_sub_seq_cst(&up_rt.nr_idle, 1);
}

static struct up_uthread *pick(struct up_vcore *vc)
{
	struct up_uthread *u = take_urgent();

	return u ? u : (struct up_uthread *)up_rt.sched.pick(vc->id);
}

static bool pending(const struct up_vcore *vc)
{
	return up_load_acquire(&up_rt.port->vc[vc->id].notif_pending) ||
	       up_load_relaxed(&up_rt.back) || up_load_relaxed(&up_alarms_due);
}

/* Nothing is left to run: what has come for those who wait for descriptors? */
static struct up_uthread *pick_io(struct up_vcore *vc)
{
	const struct up_io_ops *io = up_load_acquire(&up_rt.io);

	if (!io)
		return NULL;
	io->look(vc->id);
	return pick(vc);
}

void up_vcore_kick(uint32_t v)
{
	struct up_vcore *vc = &up_rt.vcores[v];
	uint64_t one = 1;

	/* seq_cst: behind what it is to see; pairs with sleep_awhile() */
	if (UP_UNLIKELY(up_load_seq_cst(&vc->asleep)))
		up_syscall3(SYS_write, up_load_relaxed(&vc->kick_fd), (long)&one, sizeof(one));
}

void up_vcore_kick_one(void)
{
	uint32_t v;

	up_fence_seq_cst(); /* behind what it is to see */
	for (v = 0; v < up_rt.max_vcores; v++)
		if (up_load_relaxed(&up_rt.vcores[v].asleep)) {
			up_vcore_kick(v);
			return;
		}
}

/*
 * A program that waits for descriptors has the next ready in a moment as a rule: the core is kept for as
 * long, and Linux' to use.  Who gives us something meanwhile kicks; what the kernel side alone says waits
 * until the moment is over.
 */
static bool sleep_awhile(struct up_vcore *vc, struct up_uthread **ret_u)
{
	const struct up_io_ops *io = up_load_acquire(&up_rt.io);
	bool slept = true;

	if (!io || !up_load_relaxed(&vc->kick_fd))
		return false;
	up_store_seq_cst(&vc->asleep, 1); /* then look: pairs with up_vcore_kick() */
	*ret_u = pick(vc);
	if (!*ret_u && !pending(vc))
		slept = io->sleep(vc->id);
	up_xchg_seq_cst(&vc->asleep,
			0); /* before the looks of whoever comes next, pending() first */
	if (slept && !*ret_u)
		*ret_u = pick(vc);
	return slept;
}

/* Looks for work for a while.  NULL: something is pending, or there is none. */
static struct up_uthread *idle_look(struct up_vcore *vc)
{
	const struct up_fork_ops *fork = up_load_acquire(&up_rt.fork);
	uint64_t until = up_now_ns() + IDLE_NS;
	struct up_uthread *u;

	set_idle(vc, 1);
	up_trace(vc, UPABI_TR_IDLE, 0, 0, 0);
	if (fork)
		fork->hungry();
	if (!fork && sleep_awhile(vc, &u))
		return u;
	do {
		vc->stats->idle_looks++;
		u = pick(vc);
		if (!u && fork && !UP_MUT(fork_idle_looks_not))
			u = fork->pick(vc->id);
		if (!u)
			u = pick_io(vc);
		if (u || pending(vc))
			break;
		up_cpu_relax();
	} while (up_now_ns() < until);
	return u;
}

/* All that are idle and online: seen before it gives its core back, this makes a yield fail.  Who is
 * offline has no yield under way, and must not be taken for one that has. */
static void mark_idle(uint32_t self)
{
	struct up_port *port = up_rt.port;
	uint32_t v;

	for (v = 0; v < up_rt.max_vcores; v++) {
		if (v == self || !up_load_relaxed(&up_rt.vcores[v].idle))
			continue;
		/* acquire: one that comes online behind this look finds what we have queued */
		if (up_load_acquire(&port->vmap[v].valid) || UP_MUT(first_idle_marked)) {
			up_store_seq_cst(&port->vc[v].notif_pending, 1);
			up_vcore_kick(v);
		}
		if (UP_MUT(first_idle_marked))
			break;
	}
}

/* One more could run, and has not been asked for.  One that lost its core is not idle, and still asked
 * for, unless another's yield has lowered what is wanted since. */
static bool lacks_vcore(const struct upabi_procinfo *info)
{
	uint32_t online = up_load_acquire(&info->num_vcores);

	return online < up_load_relaxed(&up_rt.target) && !UP_MUT(only_idle_asked_for) &&
	       up_load_relaxed(&info->res[UPABI_RES_CORES].wanted) <= online;
}

/* Work has come: bring in a vcore that is idle, if there is one.  Its last look and our queueing
 * are ordered by the two full fences (set_idle, here): one of us sees the other. */
static void wake_vcore(uint32_t self)
{
	struct up_port *port = up_rt.port;
	uint64_t arg[5] = { 0 };
	uint32_t online;

	/* A uthread on the only vcore: nobody else is to come, and this one looks when we leave. */
	if (up_load_relaxed(&up_rt.target) <= 1 && up_run_state(up_gs_run()) == UP_RUN_UTHREAD)
		return;
	up_fence_seq_cst();
	/* To a single context a request would mean to become many-core, which is for it to say. */
	if ((!up_load_relaxed(&up_rt.nr_idle) && !lacks_vcore(port->info)) ||
	    up_load_acquire(&port->info->state) == UPABI_RUNNING_S)
		return;
	mark_idle(self);
	/* Even where none seems to be missing: an idle one may be on its way out, and only a request
	 * that its yield has not seen yet turns it back. */
	online = UP_MIN(up_load_acquire(&port->info->num_vcores) + 1,
			up_load_relaxed(&up_rt.target));
	up_store_relaxed(&port->data->res[UPABI_RES_CORES].wanted, online);
	up_act_call(UPABI_OP_REQUEST, arg, NULL);
}

/* Who comes upon work asks for the next vcore where there is more: what came while a core was lacking,
 * or to several vcores at once, has asked for one only. */
static void wake_next(struct up_vcore *vc)
{
	const struct up_fork_ops *fork = up_load_acquire(&up_rt.fork);

	if (!vc->came)
		return;
	vc->came = false;
	if (up_load_relaxed(&up_rt.port->info->num_vcores) >= up_load_relaxed(&up_rt.target))
		return;
	if (fork)
		fork->hungry(); /* for one that is missing: what is forked from now on asks for it */
	if ((!up_rt.sched.more || up_rt.sched.more(vc->id) || (fork && fork->more())) &&
	    !UP_MUT(next_not_woken))
		wake_vcore(vc->id);
}

/* ---- priorities ---- */

static bool is_outranked(const struct up_uthread *u)
{
	return UP_UNLIKELY(up_load_relaxed(&up_rt.ranked)) && up_rt.sched.rank &&
	       up_rt.sched.rank() > u->prio && !UP_MUT(outranked_goes_on);
}

/* The vcore that runs the lowest of those below prio, the caller's own where it is one of them; -1
 * where none does.  Only a guess: they run on meanwhile.  (A slot stays where it is, whoever has it.) */
static int whom_to_interrupt(int prio, uint32_t self)
{
	int lowest = prio, found = -1;
	uint32_t v, at;

	for (v = 0; v < up_rt.max_vcores; v++) {
		const struct up_act *a;
		const struct up_uthread *u;

		at = (self + v) % up_rt.max_vcores;
		a = up_load_relaxed(&up_rt.vcores[at].act);
		if (!a || !up_load_relaxed(&up_rt.port->vmap[at].valid))
			continue;
		u = up_load_relaxed(&a->gs.uthread);
		if (u && up_load_relaxed(&u->prio) < lowest) {
			lowest = up_load_relaxed(&u->prio);
			found = (int)at;
		}
	}
	return found;
}

/* u has become ready, and no vcore is idle as far as we know: one that runs something lower gives way.
 * Uthread context with preemption off, or vcore context. */
static void outrank(const struct up_uthread *u, uint32_t self)
{
	uint64_t arg[5] = { 0, UPABI_EV_CHECK_MSGS, 0 };
	struct up_uthread *own;
	int v;

	if (UP_LIKELY(!up_load_relaxed(&up_rt.ranked)) || !up_rt.sched.rank)
		return;
	v = whom_to_interrupt(u->prio, self);
	own = up_gs_uthread();
	if (UP_MUT(lower_not_interrupted))
		return;
	if (v == (int)self && own) {
		own->resched = true; /* at the section's end, or in this loop */
		up_gs_due_set();
	} else if (v >= 0 && v != (int)self) {
		arg[2] = (uint64_t)v;
		up_act_call(UPABI_OP_NOTIFY, arg, NULL);
	}
}

/* We look no more. */
static void listen_instead(const struct up_vcore *vc)
{
	const struct up_io_ops *io = up_load_acquire(&up_rt.io);

	if (io)
		io->leave(vc->id);
}

/* What it goes on with, if anything. */
static bool goes_on(struct up_act *a)
{
	struct up_uthread *u = a->gs.uthread;

	if (!u || in_section(a))
		return u != NULL;
	/* A section's holder that has lost its core goes first: u may be waiting for it. */
	return !u->resched && !is_outranked(u) &&
	       (!up_load_relaxed(&up_rt.urgent) || UP_MUT(urgent_waits));
}

__attribute__((noreturn)) static void loop(struct up_act *a)
{
	struct up_vcore *vc = vcore_of(a);
	struct up_uthread *u;
	unsigned nr;

	for (;;) {
		if (up_load_relaxed(a->gs.parked))
			up_watch_arm(vc->id);
		up_event_drain(vc);
		if (UP_UNLIKELY(up_load_relaxed(&up_alarms_due)))
			up_alarm_run(vc->id);
		nr = take_back(vc->id) + (a->gs.uthread != NULL);
		if (nr > 1 && !UP_MUT(unblocked_wakes_nobody))
			wake_vcore(vc->id);
		look_at_take(a, vc);
		u = a->gs.uthread;
		if (goes_on(a)) {
			set_idle(vc, 0);
			u->cs_depth = a->gs.cs_depth;
			run(a, u);
		}
		give_way(a, UPCALL_PREEMPTED);
		u = pick(vc);
		if (!u)
			u = pick_io(vc);
		if (!u)
			u = idle_look(vc);
		if (u) {
			set_idle(vc, 0);
			if (u->queued_at != vc->id) {
				vc->stats->steals++;
				UP_PROBE3(uthread__steal, u->id, vc->id, u->queued_at);
				up_trace(vc, UPABI_TR_STEAL, u->queued_at, u->id, 0);
			}
			wake_next(vc);
			run(a, u);
		}
		listen_instead(vc);
		if (!pending(vc) && !up_deadlock_told()) {
			up_trace(vc, UPABI_TR_OFFLINE, UPABI_TR_OFF_IDLE, 0, 0);
			up_arch_to_own(UP_OWN_YIELD);
		}
	}
}

/* The one that it stands in for may have come back this moment. */
static void note_blocked(const struct up_vcore *vc, struct up_act *a)
{
	const struct up_uthread *u = up_load_relaxed(&a->victim->gs.uthread);
	uint64_t id = u ? u->id : UINT64_MAX;

	a->took_over = false;
	UP_PROBE3(uthread__blocked, id, a->victim->stolen_class, vc->id);
}

void up_vcore_entry(void *arg)
{
	struct up_act *a = arg;
	struct up_vcore *vc = vcore_of(a);

	up_san_thread(&a->san);
	up_san_acquire(vc);
	up_trace_entry(vc, a);
	if (UP_UNLIKELY(a->took_over))
		note_blocked(vc, a);
	vc->act = a;
	vc->came = true;
	up_act_stay(a);
	up_slicer_arm(vc->id);
	if (!a->gs.uthread) {
		/* The context that asked to become many-core waits in the vcore's slot. */
		a->gs.uthread = (void *)up_xchg_acq_rel(&up_rt.port->vc[vc->id].uthread_ctx, 0);
		if (a->gs.uthread)
			((struct up_uthread *)a->gs.uthread)->state = UP_U_RUNNING;
	}
	loop(a);
}

/* A resume found something pending: its uthread is saved as it was. */
void up_vcore_again(void)
{
	struct up_act *a = up_act_self_vc();
	struct up_uthread *u = a->gs.uthread;

	if (!u->fs)
		up_san_leave(&a->san, &u->san, false);
	if (u->kind == UP_CTX_FRAME)
		a->masked = vcore_of(a)->was_masked;
	loop(a);
}

/* The single context waits in its vcore's slot until that is started again; whoever starts it may
 * do so before the call is over here.  False: not yet, it goes on here. */
static bool to_many(struct up_act *a, uint32_t wanted)
{
	struct upabi_vcoredata *vd = &up_rt.port->vc[a->vcore];
	struct up_uthread *u = a->gs.uthread;
	uint64_t arg[5] = { 0 }, parks = 0;
	int r;

	a->gs.uthread = NULL;
	u->moved = 0;
	/* release: pairs with up_vcore_entry()'s exchange: the context is saved */
	up_store_release(&vd->uthread_ctx, (uint64_t)(uintptr_t)u);
	up_store_relaxed(&up_rt.port->data->res[UPABI_RES_CORES].wanted, wanted);
	r = up_port_call(up_rt.port, a->num, UPABI_OP_REQUEST, arg, &parks);
	if (!r && parks)
		return true;
	up_store_relaxed(&vd->uthread_ctx, 0);
	a->gs.uthread = u;
	u->moved = r ? r : -EAGAIN;
	return false;
}

bool up_vcore_leave(struct up_act *a, uint64_t how)
{
	struct up_vcore *vc = vcore_of(a);
	uint64_t arg[5] = { a->vcore };

	switch (how & 7) {
	case UP_OWN_CHANGE:
		arg[1] = vc->change_to - 1;
		vc->change_to = 0;
		/* True: our core is the other's now; else it runs, or must not: go on here. */
		return up_act_leave_core(a, UPABI_OP_CHANGE_TO, arg);
	case UP_OWN_TO_S:
		((struct up_uthread *)a->gs.uthread)->moved = up_port_call(
			up_rt.port, a->num, UPABI_OP_TO_S, arg, NULL);
		if (!((struct up_uthread *)a->gs.uthread)->moved)
			up_act_be_single(a);
		return false;
	case UP_OWN_TO_M:
		return to_many(a, (uint32_t)(how >> 3));
	default:
		return true;
	}
}

/* ---- making ready ---- */

/* A thread that is none of ours: through the list, and a notification that starts a vcore. */
static void ready_from_outside(struct up_uthread *u)
{
	uint64_t arg[5] = { 0, UPABI_EV_CHECK_MSGS, UPABI_NONE };
	uint32_t slot;

	up_san_release(u);
	up_push_back(u);
	up_vcore_kick_one();
	slot = up_port_outside_get(up_rt.port);
	up_port_call(up_rt.port, slot, UPABI_OP_NOTIFY, arg, NULL);
	up_port_outside_put(up_rt.port, slot);
}

void up_wake_vcore(void)
{
	wake_vcore(up_act_self_vc()->vcore);
}

void up_ready_here(struct up_uthread *u, enum upcall_why why)
{
	uint32_t v = up_act_self_vc()->vcore;

	up_to_sched(u, v, why);
	wake_vcore(v);
	outrank(u, v);
}

static bool somebody_sleeps(void)
{
	uint32_t v;

	for (v = 0; v < up_rt.max_vcores; v++)
		if (up_load_relaxed(&up_rt.vcores[v].asleep))
			return true;
	return false;
}

/*
 * Vcore context, with nothing to run: those whose descriptors are ready.  A few are soon dealt with, sooner
 * than another vcore is here for them; and one that sleeps for a moment looks for work behind that, for
 * those that are not.
 */
void up_ready_mine(struct up_uthread *first)
{
	uint32_t v = up_act_self_vc()->vcore;
	struct up_uthread *u, *next;
	unsigned nr = 0;

	for (u = first; u; u = next) {
		next = u->next;
		up_to_sched(u, v, UPCALL_WOKEN);
		nr++;
	}
	if (nr <= A_FEW && somebody_sleeps())
		up_rt.vcores[v].came = false;
	else if (nr > 1)
		wake_vcore(v);
}

/* Several of them, by one notification. */
void up_ready_list(struct up_uthread *first)
{
	struct up_uthread *u, *next;

	for (u = first; u; u = next) {
		next = u->next;
		if (up_on_act()) {
			up_ready_here(u, UPCALL_WOKEN);
		} else if (next) {
			up_san_release(u);
			up_push_back(u);
		} else {
			ready_from_outside(u);
		}
	}
}

void up_ready(struct up_uthread *u, enum upcall_why why)
{
	if (up_on_act())
		up_ready_here(u, why);
	else
		ready_from_outside(u);
}
