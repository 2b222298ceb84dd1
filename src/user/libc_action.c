/* SPDX-License-Identifier: MIT */
/*
 * What the program wants done about a signal: sigaction(), signal(), sigaltstack().
 *
 * Three kinds of signal are ours while the runtime runs: the notification (refused), faults (the
 * program's action is noted behind ours, see fault.c), and those that a call causes to its own
 * thread, SIGPIPE and SIGXFSZ: activations have them open, and our handler passes them on to the
 * uthread.
 */
#include "user/libc.h"

#include <errno.h>
#include <string.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/lock.h"
#include "base/syscall.h"

static struct {
	struct up_lock lock; /* with preemption off */
	bool ours;
	struct sigaction pipe, xfsz; /* the program's */
} actions;

static struct sigaction *pipe_action(int sig)
{
	return sig == SIGPIPE ? &actions.pipe : sig == SIGXFSZ ? &actions.xfsz : NULL;
}

/* In uthread context it is the uthread's, which takes it as soon as it may; elsewhere it was sent
 * to the process, and goes where all such signals go. No TLS: the FS base may be anything. */
static void on_pipe(int sig, siginfo_t *info, void *uc)
{
	struct up_uthread *u = up_self();
	struct up_act *act = up_arch_get_gs() ? up_act_self_vc() : NULL;
	uint64_t bit = up_sig_bit(sig);

	if (!u && act && act->own_fs == up_arch_get_fs()) {
		up_syscall3(SYS_tgkill, up_host.pid, up_host.pid, sig);
		return;
	}
	if (!u) {
		struct sigaction *act_of = pipe_action(sig);

		/* A kernel thread of the program's, or the receiver. */
		if (act_of->sa_handler == SIG_DFL) {
			up_libc()->sigaction(sig, act_of, NULL);
			up_syscall4(SYS_rt_sigprocmask, SIG_UNBLOCK, &bit, NULL, sizeof(bit));
			up_syscall3(SYS_tgkill, up_host.pid, up_syscall0(SYS_gettid), sig);
		} else if (act_of->sa_flags & SA_SIGINFO) {
			act_of->sa_sigaction(sig, info, uc);
		} else if (act_of->sa_handler != SIG_IGN) {
			act_of->sa_handler(sig);
		}
		return;
	}
	/* relaxed: read by this very uthread, when next resumed */
	up_fetch_or_relaxed(&u->sig_pending, bit);
	if (u->sig_mask & bit)
		return;
	/* Asynchronous signals are blocked in here; the notification comes right behind it. */
	up_store_relaxed(&act->slice_due, 1);
	up_syscall3(SYS_tgkill, up_host.pid, act->gs.tid, up_host.signo);
}

/* Ignored in the kernel too: a child that execs inherits that. */
static int install_pipe(int sig, const struct sigaction *wanted)
{
	struct sigaction ours = { .sa_sigaction = on_pipe, .sa_flags = SA_SIGINFO | SA_RESTART };

	sigfillset(&ours.sa_mask);
	if (wanted->sa_handler == SIG_IGN)
		ours = *wanted;
	return up_libc()->sigaction(sig, &ours, NULL) ? -errno : 0;
}

int up_libc_actions_start(void)
{
	struct up_fault_hook hook = { .fault = up_libc_fault };
	int err = 0;

	memset(&actions, 0, sizeof(actions));
	if (up_libc()->sigaction(SIGPIPE, NULL, &actions.pipe) ||
	    up_libc()->sigaction(SIGXFSZ, NULL, &actions.xfsz))
		return -errno;
	err = install_pipe(SIGPIPE, &actions.pipe);
	if (!err)
		err = install_pipe(SIGXFSZ, &actions.xfsz);
	actions.ours = true;
	up_fault_set_hook(&hook);
	if (err)
		up_libc_actions_stop();
	return err;
}

void up_libc_actions_stop(void)
{
	actions.lock = (struct up_lock){ 0 }; /* in a fork's child its holder may be no more */
	if (!actions.ours)
		return;
	actions.ours = false;
	up_libc()->sigaction(SIGPIPE, &actions.pipe, NULL);
	up_libc()->sigaction(SIGXFSZ, &actions.xfsz, NULL);
}

static int pipe_change(int sig, const struct sigaction *act, struct sigaction *ret_old)
{
	struct sigaction *mine = pipe_action(sig), old;
	int err = 0;

	up_preempt_disable();
	up_lock_take(&actions.lock);
	old = *mine;
	if (act) {
		*mine = *act;
		err = install_pipe(sig, act);
	}
	up_lock_drop(&actions.lock);
	up_preempt_enable();
	if (ret_old)
		*ret_old = old;
	return err ? up_libc_fail(-err) : 0;
}

UP_EXPORT int sigaction(int sig, const struct sigaction *act, struct sigaction *ret_old)
{
	struct sigaction new;

	if (up_rt.started) {
		if (act && sig == up_host.signo)
			return up_libc_fail(EINVAL);
		if (act) {
			new = *act; /* ret_old may be the same place */
			act = &new;
		}
		if (up_fault_old_action(sig, ret_old, act))
			return 0;
		if (actions.ours && pipe_action(sig))
			return pipe_change(sig, act, ret_old);
	}
	return up_libc()->sigaction(sig, act, ret_old);
}

UP_EXPORT sighandler_t signal(int sig, sighandler_t handler)
{
	struct sigaction act = { .sa_handler = handler, .sa_flags = SA_RESTART }, old;

	if (!up_rt.started ||
	    (sig != up_host.signo && !pipe_action(sig) && !up_fault_old_action(sig, NULL, NULL)))
		return up_libc()->signal(sig, handler);
	return sigaction(sig, &act, &old) ? SIG_ERR : old.sa_handler;
}

int up_libc_get_action(int sig, struct sigaction *ret_action)
{
	return sigaction(sig, NULL, ret_action) ? -errno : 0;
}

/* ---- the alternate stack: a word of the uthread's, which only our own delivery looks at ---- */

static int altstack_check(const stack_t *ss)
{
	if (ss->ss_flags & ~SS_DISABLE)
		return EINVAL;
	if (!(ss->ss_flags & SS_DISABLE) && ss->ss_size < (size_t)MINSIGSTKSZ)
		return ENOMEM;
	return 0;
}

UP_EXPORT int sigaltstack(const stack_t *ss, stack_t *ret_old)
{
	struct up_uthread *u = up_self();
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	stack_t was;
	bool on_it;
	int err;

	if (!u)
		return up_libc()->sigaltstack(ss, ret_old);
	was = u->altstack;
	on_it = was.ss_sp && here - (uintptr_t)was.ss_sp < was.ss_size;
	was.ss_flags = !was.ss_sp ? SS_DISABLE : on_it ? SS_ONSTACK : 0;
	if (ss) {
		err = on_it ? EPERM : altstack_check(ss);
		if (err)
			return up_libc_fail(err);
		u->altstack = ss->ss_flags & SS_DISABLE ? (stack_t){ 0 } : *ss;
	}
	if (ret_old)
		*ret_old = was;
	return 0;
}
