/* SPDX-License-Identifier: MIT */
/*
 * Sending signals: to oneself (the handler has run when the call returns), to another uthread (it
 * runs when that uthread next does), to the process (the receiver's).
 */
#include "user/libc.h"

#include <errno.h>
#include <string.h>

#include "base/atomic.h"
#include "base/lock.h"
#include "base/mutant.h"
#include "base/syscall.h"

static bool is_signal(int sig)
{
	return sig >= 0 && sig <= 64 && sig != 32 && sig != 33;
}

static int send_self(struct up_uthread *u, int sig)
{
	if (!is_signal(sig))
		return EINVAL;
	if (!sig)
		return 0;
	up_fetch_or_relaxed(&u->sig_pending, up_sig_bit(sig)); /* read by ourselves */
	up_libc_run_pending(u);
	return 0;
}

UP_EXPORT int raise(int sig)
{
	struct up_uthread *u = up_self();
	int err;

	if (!u)
		return up_libc()->raise(sig);
	err = send_self(u, sig);
	return err ? up_libc_fail(err) : 0;
}

/* It enters vcore context and is resumed from there, handlers first. A uthread that sleeps in the
 * kernel is left alone: a call is never cut short by this. */
static void prod(const struct up_uthread *u)
{
	struct up_act *act = up_act_get(u->last_act);

	if (u->state != UP_U_RUNNING || !act || up_load_relaxed(&act->gs.uthread) != u)
		return;
	up_store_relaxed(&act->slice_due, 1);
	if (!UP_MUT(signal_target_not_prodded))
		up_syscall3(SYS_tgkill, up_host.pid, act->gs.tid, up_host.signo);
}

/* One that waits for this very signal in sigwait() sits in the kernel, which hands a signal of the
 * process to it. */
static bool hand_to_waiter(struct up_uthread *u, int sig)
{
	uint64_t bit = up_sig_bit(sig);

	/* seq_cst: pairs with the waiter's store of sig_wait, then its look at what is pending */
	if (!(up_load_seq_cst(&u->sig_wait) & bit))
		return false;
	if (up_fetch_and_acq_rel(&u->sig_pending, ~bit) & bit)
		up_syscall2(SYS_kill, up_host.pid, sig);
	return true;
}

static int send_other(pthread_t thread, int sig)
{
	struct up_uthread *u;

	up_preempt_disable();
	up_lock_take(&up_rt.all_lock);
	u = up_libc_find(thread);
	if (u && sig) {
		/* seq_cst: before the look at sig_wait; and what we wrote is there for the handler */
		up_fetch_or_seq_cst(&u->sig_pending, up_sig_bit(sig));
		if (!hand_to_waiter(u, sig) && !(up_load_relaxed(&u->sig_mask) & up_sig_bit(sig)))
			prod(u);
	}
	up_lock_drop(&up_rt.all_lock);
	up_preempt_enable();
	if (u && sig)
		up_libc_events_add();
	return u ? 0 : ESRCH;
}

/* Blocks of libc's own threads are no uthreads, but for the first thread's, which is uthread 0's. */
static bool is_uthread(pthread_t thread)
{
	bool found;

	if (!up_rt.started)
		return false;
	up_preempt_disable();
	up_lock_take(&up_rt.all_lock);
	found = up_libc_find(thread) != NULL;
	up_lock_drop(&up_rt.all_lock);
	up_preempt_enable();
	return found;
}

UP_EXPORT int pthread_kill(pthread_t thread, int sig)
{
	struct up_uthread *u = up_self();

	if (u && u->fs == (uintptr_t)thread)
		return send_self(u, sig);
	if (!is_uthread(thread))
		return up_libc()->pthread_kill(thread, sig);
	return is_signal(sig) ? send_other(thread, sig) : EINVAL;
}

/* A value would have to be kept for each signal that is pending in a uthread. */
UP_EXPORT int pthread_sigqueue(pthread_t thread, int sig, const union sigval value)
{
	if (is_uthread(thread))
		return ENOTSUP;
	return up_libc()->pthread_sigqueue(thread, sig, value);
}

/* POSIX: a signal to one's own process that is open has been delivered when kill() returns. */
UP_EXPORT int kill(pid_t pid, int sig)
{
	int ret = up_libc()->kill(pid, sig);

	if (!ret && sig && up_self() && pid == up_host.pid)
		up_libc_receiver_sync();
	return ret;
}

UP_EXPORT int sigqueue(pid_t pid, int sig, const union sigval value)
{
	int ret = up_libc()->sigqueue(pid, sig, value);

	if (!ret && sig && up_self() && pid == up_host.pid)
		up_libc_receiver_sync();
	return ret;
}
