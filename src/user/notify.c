/* SPDX-License-Identifier: MIT */
/*
 * The notification signal: how a running uthread is interrupted.
 *
 * The handler runs on the uthread's stack with asynchronous signals blocked, and leaves sideways:
 * the frame becomes the uthread's saved context and control goes to the transition stack.  Who
 * resumes it, on whatever activation, returns through the frame.  It touches no TLS: the FS base
 * may be a uthread's.
 *
 * What it does depends on the hand-over word alone:
 *   UTHREAD  into vcore context, or, in a section or an announced call, at the end of that
 *   VCORE    nothing (the poster has set notif_pending), or stand still when the core is taken
 *   STOLEN   the activation has been replaced: hand the uthread back
 *   IDLE     nothing
 */
#include "user/uthread.h"

#include <errno.h>
#include <sys/syscall.h>

#include "base/atomic.h"
#include "base/inject.h"
#include "base/mutant.h"
#include "base/probe.h"
#include "user/libc.h"
#include "user/trace.h"

static struct sigaction old_action;
static int installed; /* the signal that is ours, 0 */

/* The activation whose thread this is, NULL on a thread that merely inherited its GS base. */
static struct up_act *act_here(void)
{
	struct up_gs *g = (struct up_gs *)up_arch_get_gs();
	struct up_act *a = (struct up_act *)(void *)g;
	struct up_uthread *u;
	uint64_t fs;

	if (!g)
		return NULL;
	fs = up_arch_get_fs();
	u = g->uthread;
	/* Another thread has a TLS of its own, so another FS base. */
	if (fs == a->own_fs || (u && fs == u->fs))
		return a;
	return NULL;
}

static void save_frame(struct up_uthread *u, ucontext_t *uc)
{
	if (up_frame_in_window(uc))
		return; /* it was being resumed: still saved as it was */
	u->kind = UP_CTX_FRAME;
	u->frame = uc;
}

/* Our signal broke into a call that nobody announced: put the call back to its beginning. */
static bool mend_call(struct up_act *a, ucontext_t *uc)
{
	int r = UP_MUT(eintr_not_mended) ? 0 : up_frame_restart_syscall(uc);

	if (r > 0)
		a->stats->restarts++;
	else if (r < 0)
		a->stats->eintr_left++;
	return r > 0;
}

static void in_uthread(struct up_act *a, uint64_t run, ucontext_t *uc, bool is_slice,
		       bool turned_out)
{
	struct up_uthread *u = a->gs.uthread;

	if (up_critical_redirect(uc)) {
		a->stats->deferred++;
		return;
	}
	/* acq_rel: a watcher's or this exchange comes first; pairs with both */
	if (!up_cas_acq_rel(&a->gs.run, &run, run - UP_RUN_UTHREAD + UP_RUN_VCORE))
		return; /* replaced this moment; the next signal, or the next call, finds out */
	if (turned_out)
		a->gs.call = 0; /* made again by another's hand (again.c) */
	up_store_relaxed(a->gs.disabled, 1);
	UP_INJECT(notify_entered);
	a->stats->notified++;
	up_trace(&up_rt.vcores[a->vcore], UPABI_TR_NOTIFIED, is_slice, u->id, 0);
	UP_PROBE3(uthread__preempt, u->id, a->vcore, is_slice);
	save_frame(u, uc);
	u->resched |= is_slice;
	u->turned_out = turned_out;
	a->masked = true;
	up_arch_jump_vcore(up_vcore_entry, a);
}

/* The core is to go, and patience with the section that its uthread is in has ended. */
static bool is_forced(struct up_act *a)
{
	const struct upabi_vcoremap *m = &up_rt.port->vmap[a->vcore];

	if (!up_load_relaxed(&a->freeze) || !(up_load_acquire(&m->flags) & UPABI_VMF_TAKE))
		return false;
	up_store_relaxed(&a->freeze, 0);
	return !UP_MUT(section_never_forced);
}

/*
 * At the end of the section or call instead.  Sections of our own may hold a lock, and are short.  One
 * of the program's keeps its core, but not one that is being taken from it, nor one that has gone on
 * without it: its holder is continued before anybody else, on the next that there is.
 */
static bool is_put_off(struct up_act *a, uint64_t run)
{
	if (a->gs.call || (a->gs.cs_depth & UP_CS_OURS) || UP_COOPERATIVE)
		return true;
	if (UP_MUT(section_not_continued))
		return false;
	return a->gs.cs_depth && up_run_state(run) == UP_RUN_UTHREAD && !is_forced(a);
}

/* It sleeps for a lock of ours, in a section of ours, which belongs to its activation: who holds the lock
 * needs nobody's turn. */
static bool in_our_lock(const ucontext_t *uc)
{
	struct up_frame_call c = up_frame_call(uc);

	return c.nr == SYS_futex && c.arg[4] == UP_LOCK_MARK && !UP_MUT(lock_turned_out);
}

/* A call into the kernel side is under way, in the activation's own slot: who makes it stays, until it
 * has read the answer. */
static bool in_port_call(const struct up_act *a)
{
	if (UP_MUT(answered_turned_out))
		return up_load_relaxed(&up_rt.port->call[a->num].seq) !=
		       up_load_acquire(&up_rt.port->amap[a->num].call_ack);
	return up_load_relaxed(&a->calling) != 0;
}

/* A handler of the program's own, on the activation's alternate stack: its frame cannot go anywhere
 * else.  It is short, or ends the process. */
static bool on_altstack(const struct up_act *a, const ucontext_t *uc)
{
	uintptr_t sp = up_frame_sp(uc), lo = (uintptr_t)a->altstack.ss_sp;

	return sp >= lo && sp < lo + a->altstack.ss_size;
}

static void on_notify(int sig, siginfo_t *si, void *ucv)
{
	struct up_act *a = act_here();
	ucontext_t *uc = ucv;
	bool is_slice, turned_out, led, mended = false;
	uint64_t run;

	if (!a)
		return;
	is_slice = si->si_code == SI_TIMER || up_load_relaxed(&a->slice_due);
	up_store_relaxed(&a->slice_due, 0);
	turned_out = up_load_relaxed(&a->turned_out);
	up_store_relaxed(&a->turned_out, 0);
	run = up_load_acquire(&a->gs.run);
	switch (up_run_state(run)) {
	case UP_RUN_UTHREAD:
	case UP_RUN_STOLEN:
		if (on_altstack(a, uc)) {
			a->stats->deferred++;
			return;
		}
		led = !a->gs.call && up_frame_led_uncounted(uc);
		if (!a->gs.call) {
			up_frame_undo_came_back(uc, a->gs.home_pc);
			mended = mend_call(a, uc);
		}
		/* Even out of a section or an announced call, while it stands at the call in which it
		 * slept, and has not been replaced after all. */
		turned_out = turned_out && !UP_COOPERATIVE && up_run_state(run) == UP_RUN_UTHREAD &&
			     !in_port_call(a) && !in_our_lock(uc) && up_frame_at_syscall(uc);
		a->stats->restarts += turned_out && !mended; /* Linux has put that back */
		if (up_run_state(run) == UP_RUN_UTHREAD && (turned_out || !is_put_off(a, run))) {
			in_uthread(a, run, uc, is_slice, turned_out);
			run = up_load_acquire(&a->gs.run);
			if (up_run_state(run) != UP_RUN_STOLEN)
				return;
		}
		if (is_put_off(a, run)) {
			a->stats->deferred++;
			a->gs.due = 1;
			((struct up_uthread *)a->gs.uthread)->resched |= is_slice;
			return;
		}
		/* Not to be interrupted any more: the uthread is no longer ours to save. */
		up_store_relaxed(&a->gs.run, run & ~(uint64_t)UP_RUN_MASK);
		save_frame(a->gs.uthread, uc);
		a->masked = true;
		a->gs.led += led;
		up_arch_to_own(UP_OWN_REJOIN);
	case UP_RUN_VCORE:
		/* Only inside the program's own handlers, and outside of what they call in here:
		 * elsewhere vcore context is short, and may hold a lock of ours. */
		if (up_load_relaxed(&a->freeze) && a->freezable && !(a->gs.cs_depth & UP_CS_OURS))
			up_act_freeze(a);
		/* fall through */
	default:
		a->stats->spurious++;
	}
}

int up_notify_init(int signo)
{
	struct sigaction sa = { .sa_sigaction = on_notify, .sa_flags = SA_SIGINFO | SA_RESTART };
	static const int open[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS };
	size_t i;

	/* A fault in here must show itself; with all masked it would kill without a word. */
	sigfillset(&sa.sa_mask);
	for (i = 0; i < sizeof(open) / sizeof(open[0]); i++)
		sigdelset(&sa.sa_mask, open[i]);
	if (up_libc()->sigaction(signo, &sa, &old_action))
		return -errno;
	installed = signo;
	return 0;
}

void up_notify_fini(void)
{
	if (installed)
		up_libc()->sigaction(installed, &old_action, NULL);
	installed = 0;
}
