/* SPDX-License-Identifier: MIT */
/*
 * Faults.  In uthread context a fault belongs to the uthread: a stack that has run over is named,
 * a handler of the program's own is called in the uthread's context, else the process ends as it
 * would have without us.  In vcore context a fault is ours: the process is killed, with a report.
 *
 * The handler runs on the activation's alternate stack, since the uthread's may be the trouble.
 */
#include "user/uthread.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/mutant.h"
#include "base/syscall.h"
#include "user/libc.h"

static const int fault_signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP };
static struct sigaction old_actions[UP_ARRAY_LEN(fault_signals)];
static unsigned nr_ours; /* of fault_signals[], from the first on */
static struct up_fault_hook hook;

static void say(const char *s)
{
	long r = up_syscall3(SYS_write, 2, s, strlen(s));

	(void)r; /* the process is about to end: nobody is left to tell */
}

static void say_number(uint64_t n, unsigned base)
{
	char buf[24], *p = buf + sizeof(buf) - 1;

	*p = 0;
	do
		*--p = "0123456789abcdef"[n % base];
	while (n /= base);
	say(p);
}

static void say_signal(int sig, const ucontext_t *uc, const siginfo_t *si)
{
	say(" signal ");
	say_number((unsigned)sig, 10);
	say(" at address 0x");
	say_number((uintptr_t)si->si_addr, 16);
	say(", pc 0x");
	say_number(up_frame_pc(uc), 16);
}

/* As if nobody had handled it: default action, and the instruction faults again. */
static void die(int sig)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t set;

	up_libc()->sigaction(sig, &dfl, NULL);
	sigemptyset(&set);
	sigaddset(&set, sig);
	up_syscall4(SYS_rt_sigprocmask, SIG_UNBLOCK, &set, 0, 8);
	up_syscall3(SYS_tgkill, up_syscall0(SYS_getpid), up_syscall0(SYS_gettid), sig);
}

static void report_vcore(int sig, const siginfo_t *si, const ucontext_t *uc)
{
	say("upcall: fault in vcore context:");
	say_signal(sig, uc, si);
	say("; a scheduler or an event handler is at fault; the process ends\n");
}

static bool overflowed(const struct up_uthread *u, const siginfo_t *si, const ucontext_t *uc)
{
	uintptr_t at = (uintptr_t)si->si_addr, lo = (uintptr_t)u->stack.lo;
	uintptr_t sp = up_frame_sp(uc);

	if (!u->stack.sz)
		return false;
	/* The guard was touched, or a signal frame did not fit above it. */
	return (at >= lo - 4096 && at < lo) || (sp < lo + up_frame_max_size() && sp >= lo - 4096);
}

static void report_overflow(const struct up_uthread *u)
{
	say("upcall: stack overflow in uthread ");
	say_number(u->id, 10);
	if (u->name[0]) {
		say(" (");
		say(u->name);
		say(")");
	}
	say(": its stack has ");
	say_number(u->stack.sz, 10);
	say(" bytes\n");
}

static void to_old(int sig, siginfo_t *si, void *ucv)
{
	size_t i;

	for (i = 0; i < UP_ARRAY_LEN(fault_signals); i++) {
		const struct sigaction *old = &old_actions[i];

		if (fault_signals[i] != sig)
			continue;
		if (old->sa_flags & SA_SIGINFO)
			old->sa_sigaction(sig, si, ucv);
		else if (old->sa_handler == SIG_DFL || old->sa_handler == SIG_IGN)
			die(sig); /* a fault cannot be ignored */
		else
			old->sa_handler(sig);
		return;
	}
}

static void on_fault(int sig, siginfo_t *si, void *ucv)
{
	ucontext_t *uc = ucv;
	struct up_act *a = up_rt.started && up_arch_get_gs() ? up_act_self_vc() : NULL;
	struct up_uthread *u = a ? a->gs.uthread : NULL;

	if (up_frame_pc(uc) == (uintptr_t)up_arch_peek16_load) { /* whoever looked is told */
		up_frame_set_pc(uc, (uintptr_t)up_arch_peek16_failed);
		return;
	}
	if (si->si_code <= 0 || !a || up_run_state(up_load_relaxed(&a->gs.run)) == UP_RUN_IDLE) {
		to_old(sig, si, ucv); /* sent, not caused; or not on a vcore at all */
		return;
	}
	if (!u || up_run_state(up_load_relaxed(&a->gs.run)) == UP_RUN_VCORE) {
		report_vcore(sig, si, uc);
		die(sig);
		return;
	}
	if (!a->gs.call)
		up_frame_undo_came_back(uc, a->gs.home_pc);
	if (sig == SIGSEGV && overflowed(u, si, uc)) {
		report_overflow(u);
		die(sig);
		return;
	}
	up_fault_reflect(a, u, sig, si, uc);
}

void up_fault_set_hook(const struct up_fault_hook *h)
{
	hook = *h;
}

static void after_fault(void *arg)
{
	struct up_act *a = arg;
	struct up_uthread *u = a->gs.uthread;
	struct upcall_event ev = { UPCALL_EV_FAULT, (uint32_t)u->id, (uintptr_t)u->fault.si_addr,
				   (uint64_t)u->fault.si_signo, 0 };
	const struct up_handler *h = &up_rt.handler[UPCALL_EV_FAULT];

	ev.time_ns = 1;
	if (h->fn)
		h->fn(a->vcore, &ev, h->arg);
	up_vcore_entry(a);
}

/* From the alternate stack to the uthread's own, where it can be resumed from. */
static void save_at_fault(struct up_act *a, struct up_uthread *u, const ucontext_t *uc)
{
	u->kind = UP_CTX_FRAME;
	u->frame = up_frame_copy(uc, up_frame_sp(uc));
	a->masked = true;
}

/*
 * The second-level scheduler hears of the fault, with the uthread saved at the faulting
 * instruction: it is tried again when next run, so a handler that mends the cause has mended the
 * fault.  Without such a handler the program's own one runs, in the uthread's context.
 */
void up_fault_reflect(struct up_act *a, struct up_uthread *u, int sig, siginfo_t *si,
		      ucontext_t *uc)
{
	bool takes = up_load_acquire(&up_rt.handler[UPCALL_EV_FAULT].fn) && !a->gs.cs_depth &&
		     !a->gs.call;
	uint64_t run = up_load_acquire(&a->gs.run);

	if (takes && up_run_state(run) == UP_RUN_UTHREAD &&
	    up_cas_acq_rel(&a->gs.run, &run, run - UP_RUN_UTHREAD + UP_RUN_VCORE)) {
		up_store_relaxed(a->gs.disabled, 1);
		u->fault = *si;
		save_at_fault(a, u, uc);
		up_arch_jump_vcore(after_fault, a);
	}
	if (takes && up_run_state(run) == UP_RUN_STOLEN) {
		/* Replaced while Linux was looking into the fault: it is had once more on a vcore. */
		up_store_relaxed(&a->gs.run, run & ~(uint64_t)UP_RUN_MASK);
		save_at_fault(a, u, uc);
		up_arch_to_own(UP_OWN_REJOIN);
	}
	if (!hook.fault || !hook.fault(u, sig, si, uc))
		to_old(sig, si, uc);
}

int up_fault_init(void)
{
	struct sigaction sa = { .sa_sigaction = on_fault,
				.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART };
	size_t i;

	/* The handler may be left sideways, into vcore context; a fault there must find us again,
	 * where with its signal blocked Linux would kill without a word. */
	if (!UP_MUT(fault_left_blocked))
		sa.sa_flags |= SA_NODEFER;
	sigfillset(&sa.sa_mask);
	for (i = 0; i < UP_ARRAY_LEN(fault_signals); i++)
		sigdelset(&sa.sa_mask, fault_signals[i]);
	for (nr_ours = 0; nr_ours < UP_ARRAY_LEN(fault_signals); nr_ours++)
		if (up_libc()->sigaction(fault_signals[nr_ours], &sa, &old_actions[nr_ours]))
			return -errno;
	return 0;
}

void up_fault_fini(void)
{
	size_t i;

	for (i = 0; i < nr_ours; i++)
		up_libc()->sigaction(fault_signals[i], &old_actions[i], NULL);
	nr_ours = 0;
}

int up_fault_old_action(int sig, struct sigaction *old, const struct sigaction *act)
{
	size_t i;

	for (i = 0; i < UP_ARRAY_LEN(fault_signals); i++) {
		if (fault_signals[i] != sig)
			continue;
		if (old)
			*old = old_actions[i];
		if (act)
			old_actions[i] = *act;
		return 1;
	}
	return 0;
}
