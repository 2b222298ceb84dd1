/* SPDX-License-Identifier: MIT */
/*
 * Running the program's signal handlers in a uthread: as an ordinary call, on the uthread's stack or
 * on its alternate one, so that the handler may do what the uthread may do, be preempted and moved
 * included.
 *
 * A uthread that does not run gets them pushed: its saved context is set aside, and a new one below
 * it runs the handlers and then takes up the old. A fault is the same, with the faulting frame set
 * aside.
 */
#include "user/libc.h"

#include <errno.h>
#include <string.h>

#include "arch/arch.h"
#include "base/atomic.h"
#include "base/bits.h"
#include "base/mutant.h"
#include "base/syscall.h"

/* Ignored when nobody has said otherwise. */
#define IGNORED \
	(up_sig_bit(SIGCHLD) | up_sig_bit(SIGCONT) | up_sig_bit(SIGURG) | up_sig_bit(SIGWINCH))

/*
 * On the stack of up_libc_run_handler(): the mask to return to. A handler is left in three ways: it
 * returns, it throws (which runs our cleanup), or it jumps, and then longjmp() comes by here first.
 */
struct up_sig_record {
	struct up_sig_record *older;
	struct up_uthread *u;
	uint64_t mask;
	bool on_altstack;
};

static bool on_altstack(const struct up_uthread *u, uintptr_t sp)
{
	uintptr_t lo = (uintptr_t)u->altstack.ss_sp;

	return u->altstack.ss_sp && sp >= lo && sp - lo < u->altstack.ss_size;
}

static void leave_handler(struct up_sig_record *rec)
{
	rec->u->sig_records = rec->older;
	up_libc_set_mask(rec->u, rec->mask);
}

/* Stacks grow down: what lies deeper than the jump's target is left by it. */
static bool is_left(const struct up_uthread *u, const void *it, bool its_on_altstack, uintptr_t sp)
{
	if (its_on_altstack != on_altstack(u, sp))
		return its_on_altstack;
	return (uintptr_t)it < sp;
}

void up_libc_jump(const void *env)
{
	struct up_uthread *u = up_self();
	struct up_sig_record *rec;
	uintptr_t sp;

	if (!u || !u->sig_records)
		return;
	sp = up_tls_jmp_sp(env);
	while ((rec = u->sig_records) && is_left(u, rec, rec->on_altstack, sp) &&
	       !UP_MUT(handler_mask_kept))
		leave_handler(rec);
	while (u->again && is_left(u, u->again, on_altstack(u, (uintptr_t)u->again), sp) &&
	       !UP_MUT(again_after_jump))
		up_again_leave(u);
}

/* As Linux would have done it: to this kernel thread, which does not come back as a rule. */
static void default_action(int sig)
{
	uint64_t bit = up_sig_bit(sig);

	if (IGNORED & bit)
		return;
	up_preempt_disable();
	if ((UP_SIG_PIPES & bit) || up_fault_old_action(sig, NULL, NULL)) {
		struct sigaction dfl = { .sa_handler = SIG_DFL };

		up_libc()->sigaction(sig, &dfl, NULL);
	}
	up_syscall4(SYS_rt_sigprocmask, SIG_UNBLOCK, &bit, NULL, sizeof(bit));
	up_syscall3(SYS_tgkill, up_host.pid, up_syscall0(SYS_gettid), sig);
	/* Stopped, and continued. */
	up_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, &up_host.act_mask_raw, NULL, sizeof(bit));
	up_preempt_enable();
}

static void call(const struct sigaction *act, int sig, siginfo_t *info, void *ucontext)
{
	if (act->sa_flags & SA_SIGINFO)
		act->sa_sigaction(sig, info, ucontext);
	else
		act->sa_handler(sig);
}

void up_libc_run_handler(struct up_uthread *u, int sig, siginfo_t *info, void *ucontext)
{
	__attribute__((cleanup(leave_handler))) struct up_sig_record rec = {
		.older = u->sig_records,
		.u = u,
		.mask = u->sig_mask,
		.on_altstack = on_altstack(u, (uintptr_t)&rec)
	};
	struct sigaction act, dfl = { .sa_handler = SIG_DFL };
	uint64_t during;

	if (up_libc_get_action(sig, &act) || act.sa_handler == SIG_IGN)
		return;
	if (act.sa_handler == SIG_DFL) {
		default_action(sig);
		return;
	}
	if (act.sa_flags & (int)SA_RESETHAND)
		sigaction(sig, &dfl, NULL);
	during = rec.mask | up_sig_from(&act.sa_mask);
	if (!(act.sa_flags & SA_NODEFER))
		during |= up_sig_bit(sig);
	u->sig_records = &rec;
	up_libc_set_mask(u, during);
	u->sig_handled++;
	call(&act, sig, info, ucontext);
}

static void fill_info(siginfo_t *info, int sig)
{
	memset(info, 0, sizeof(*info));
	info->si_signo = sig;
	info->si_code = SI_TKILL;
	info->si_pid = up_host.pid;
	info->si_uid = getuid();
}

/* Lowest number first; each is taken once, whoever sent it how often. */
void up_libc_run_pending(struct up_uthread *u)
{
	for (;;) {
		/* acquire: pairs with the sender's release: what it wrote before is there */
		uint64_t pending = up_load_acquire(&u->sig_pending) & ~u->sig_mask;
		siginfo_t info;
		int sig;

		if (!pending)
			return;
		sig = (int)up_lowest_bit(pending) + 1;
		up_fetch_and_relaxed(&u->sig_pending, ~up_sig_bit(sig));
		fill_info(&info, sig);
		up_libc_run_handler(u, sig, &info, NULL);
	}
}

/* ---- handlers for a uthread that is not running ---- */

/* Lies on the uthread's stack, between the context that was set aside and the handlers. */
struct aside {
	uint8_t kind;
	void *sp;
	ucontext_t *frame;
	int sig; /* 0: whatever is pending */
	siginfo_t info;
};

/* Vcore context: the handlers are done. */
static void take_up(struct upcall_uthread *self, void *arg)
{
	struct up_uthread *u = (struct up_uthread *)self;
	struct aside a = *(struct aside *)arg;

	u->kind = a.kind;
	u->sp = a.sp;
	u->frame = a.frame;
	up_to_sched(u, up_act_self_vc()->vcore, UPCALL_FAULTED);
}

/* Uthread context, the first function on its stack since the push. */
__attribute__((noreturn)) static void *run_aside(void *arg)
{
	struct aside *a = arg;
	struct up_uthread *u = up_self();

	if (a->sig)
		up_libc_run_handler(u, a->sig, &a->info, a->frame);
	up_libc_run_pending(u);
	up_sched_call(u, take_up, a);
	UP_BUG();
}

static struct aside *set_aside(struct up_uthread *u, uintptr_t below)
{
	struct aside *a = (struct aside *)UP_ALIGN_DOWN(below - 128 - sizeof(*a), (uintptr_t)64);

	memset(a, 0, sizeof(*a));
	a->kind = u->kind;
	a->sp = u->sp;
	a->frame = u->frame;
	u->sp = up_arch_new_stack((char *)a - 64, run_aside, a);
	u->kind = UP_CTX_COOP;
	return a;
}

void up_libc_push_handlers(struct up_uthread *u)
{
	if (u->cs_depth || UP_MUT(handlers_not_pushed))
		return;
	set_aside(u, u->kind == UP_CTX_FRAME ? (uintptr_t)u->frame : (uintptr_t)u->sp);
}

/* ---- faults ---- */

/* Leaves the handler of the fault sideways, as a notification does. */
static void leave(struct up_act *act, struct up_uthread *u)
{
	uint64_t run = up_load_acquire(&act->gs.run); /* pairs with a watcher's exchange */

	act->masked = true;
	if (up_run_state(run) == UP_RUN_UTHREAD &&
	    up_cas_acq_rel(&act->gs.run, &run, run - UP_RUN_UTHREAD + UP_RUN_VCORE)) {
		up_store_relaxed(act->gs.disabled, 1);
		up_arch_jump_vcore(up_vcore_entry, act);
	}
	/* Replaced: it runs behind, and goes home with the new context. */
	up_arch_to_own(UP_OWN_REJOIN);
}

bool up_libc_fault(struct up_uthread *u, int sig, siginfo_t *info, ucontext_t *uc)
{
	struct up_act *act = up_act_self_vc();
	uintptr_t sp = up_frame_sp(uc), top = sp;
	struct sigaction old;
	struct aside *a;

	if (act->gs.cs_depth || act->gs.call || (u->sig_mask & up_sig_bit(sig)))
		return false;
	if (!up_fault_old_action(sig, &old, NULL) || old.sa_handler == SIG_DFL ||
	    old.sa_handler == SIG_IGN)
		return false;
	if ((old.sa_flags & SA_ONSTACK) && u->altstack.ss_sp && !on_altstack(u, sp))
		top = (uintptr_t)u->altstack.ss_sp + u->altstack.ss_size;
	u->kind = UP_CTX_FRAME;
	u->frame = up_frame_copy(uc, top);
	a = set_aside(u, (uintptr_t)u->frame);
	a->sig = sig;
	a->info = *info;
	leave(act, u);
	return true;
}
