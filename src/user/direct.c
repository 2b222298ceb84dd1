/* SPDX-License-Identifier: MIT */
/*
 * From one uthread straight to the next, on the same activation, without a way over the transition
 * stack: for uthreads that leave of their own accord while nothing waits for the vcore itself.  What
 * takes the long way (uthread.c) takes it still where one of the two is not simple: the next was
 * interrupted, has a signal to handle or is inside a section, or something is pending.
 *
 * It all happens in a section of ours, so that nobody moves us, but the activation may be replaced in
 * it (a page of a stack may have to be fetched): then two run with one vcore's number for a moment.  So
 * nothing here relies on being alone with the vcore; the scheduler's queues have locks, and the next
 * goes home with the activation at the section's end.
 */
#include "user/uthread.h"

#include "arch/arch.h"
#include "base/atomic.h"
#include "base/bits.h"
#include "base/mutant.h"
#include "base/probe.h"
#include "user/libc.h"
#include "user/trace.h"

struct up_act *up_direct_begin(void)
{
	/* Records are written in vcore context alone: with a trace on, that is the way. */
	if (!up_arch_fsgsbase || UP_COOPERATIVE || UP_UNLIKELY(up_trace_on))
		return NULL;
	up_section_enter();
	/* A section of the program's ends by a yield; that, and what waits for a vcore, is for the loop. */
	if (up_gs_depth() == 1 && up_run_state(up_gs_run()) == UP_RUN_UTHREAD &&
	    !up_load_relaxed(&up_rt.back) && !up_load_relaxed(&up_rt.urgent))
		return up_act_self_vc();
	up_section_leave();
	return NULL;
}

bool up_direct_fits(const struct up_uthread *n)
{
	return n->kind == UP_CTX_COOP && !n->cs_depth && !up_libc_has_signal(n);
}

/* Figures may lose one where an activation has been replaced; see above. */
static void count(struct up_act *a, const struct up_uthread *n)
{
	struct upabi_vcore_stats *s = up_rt.vcores[a->vcore].stats;

	up_store_relaxed(&s->switches, s->switches + 1);
	UP_PROBE2(uthread__switch, n->id, a->vcore);
	if (n->queued_at != a->vcore) {
		up_store_relaxed(&s->steals, s->steals + 1);
		UP_PROBE3(uthread__steal, n->id, a->vcore, n->queued_at);
	}
}

/* n runs here in u's place from now on, by all but the registers: the FS base that it needs, 0 where that
 * is u's. */
static inline uint64_t exchange(struct up_act *a, struct up_uthread *u, struct up_uthread *n)
{
	uint64_t fs = n->fs ? n->fs : a->gs.fs;

	u->kind = UP_CTX_COOP;
	u->cs_depth = 0;
	u->resched = false;
	count(a, n);
	up_store_relaxed(&up_rt.vcores[a->vcore].fs, fs);
	n->last_act = a->num;
	n->state = UP_U_RUNNING;
	if (UP_UNLIKELY(n->prio > 0))
		up_replace_urgent(a);
	return n->fs == u->fs ? 0 : fs;
}

void up_direct_to(struct up_act *a, struct up_uthread *u, struct up_uthread *n, bool tell)
{
	uint64_t fs = exchange(a, u, n);

	up_arch_switch(&u->sp, n->sp, n, fs, tell ? u : NULL);
}

void up_direct_over(struct up_act *a, struct up_uthread *u, struct up_uthread *n)
{
	uint64_t fs = exchange(a, u, n);

	a->gs.uthread = n;
	if (fs && !UP_MUT(over_fs_not_set))
		up_arch_set_fs(fs);
}

/* On the next one's stack: the other is off its own. */
void up_direct_left(void *arg)
{
	struct up_uthread *u = arg;

	u->cb((struct upcall_uthread *)u, u->cb_arg);
}

/* In vcore context instead: the next one is the vcore's, which is to go on with it. */
struct the_long_way {
	void (*fn)(struct upcall_uthread *, void *);
	void *arg;
	struct up_uthread *next;
};

static void go_the_long_way(struct upcall_uthread *self, void *arg)
{
	struct the_long_way w = *(struct the_long_way *)arg; /* on a stack that fn may give away */
	struct up_act *a = up_act_self_vc();

	a->gs.uthread = w.next;
	a->gs.cs_depth = w.next->cs_depth;
	w.fn(self, w.arg);
}

void up_direct_long(struct up_uthread *u, void (*fn)(struct upcall_uthread *, void *), void *arg,
		    struct up_uthread *n)
{
	struct the_long_way w = { fn, arg, n };

	up_sched_call(u, go_the_long_way, &w);
}

/* The scheduler's next, in the section that has begun; who leaves is told of by fn(arg).  NULL, and no
 * section: there is none, or it is to be asked in vcore context. */
static inline struct up_uthread *next_for(struct up_act *a, struct up_uthread *u,
					  void (*fn)(struct upcall_uthread *, void *), void *arg)
{
	struct up_uthread *n;

	if (!a)
		return NULL;
	n = (struct up_uthread *)up_rt.sched.pick(a->vcore);
	if (!n) {
		up_section_leave();
		return NULL;
	}
	u->cb = fn;
	u->cb_arg = arg;
	return n;
}

bool up_direct_call(struct up_uthread *u, void (*fn)(struct upcall_uthread *, void *), void *arg)
{
	struct up_act *a = up_direct_begin();
	struct up_uthread *n = next_for(a, u, fn, arg);

	if (!n)
		return false;
	if (up_direct_fits(n))
		up_direct_to(a, u, n, true);
	else
		up_direct_long(u, fn, arg, n);
	return true;
}

bool up_direct_end(struct up_act *a, struct up_uthread *u,
		   void (*fn)(struct upcall_uthread *, void *))
{
	struct up_uthread *n = next_for(a, u, fn, NULL);

	if (!n)
		return false;
	if (!up_direct_fits(n))
		up_direct_long(u, fn, NULL, n);
	up_direct_over(a, u, n);
	return true;
}
