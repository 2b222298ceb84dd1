/* SPDX-License-Identifier: MIT */
/*
 * Waiting for signals in a uthread: sigwait() and its like take what was sent to the process and
 * what was sent to the uthread; pause() and sigsuspend() end when a handler has run, be it in the
 * uthread or on the receiver.
 */
#include "user/libc.h"

#include <errno.h>
#include <string.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/clock.h"
#include "base/syscall.h"

static int take_pending(struct up_uthread *u, uint64_t set, siginfo_t *ret_info)
{
	/* seq_cst: after sig_wait was set; pairs with send_other() */
	uint64_t pending = up_load_seq_cst(&u->sig_pending) & set;
	int sig;

	if (!pending)
		return 0;
	sig = (int)up_lowest_bit(pending) + 1;
	/* A sender may have taken it back to hand it over through the kernel. */
	if (!(up_fetch_and_acq_rel(&u->sig_pending, ~up_sig_bit(sig)) & up_sig_bit(sig)))
		return 0;
	memset(ret_info, 0, sizeof(*ret_info));
	ret_info->si_signo = sig;
	ret_info->si_code = SI_TKILL;
	ret_info->si_pid = up_host.pid;
	return sig;
}

/* The signal's number or -errno. Only a timeout ends it otherwise: no handler runs in this thread. */
static int wait_for(struct up_uthread *u, uint64_t set, siginfo_t *ret_info,
		    const struct timespec *timeout)
{
	uint64_t until = timeout ? up_ns_after(up_now_ns(), up_timespec_ns(timeout)) : 0, now;
	struct timespec left;
	long r;

	up_store_seq_cst(&u->sig_wait, set); /* then look: pairs with send_other() */
	do {
		r = take_pending(u, set, ret_info);
		if (r)
			break;
		now = up_now_ns();
		left = up_ns_timespec(until > now ? until - now : 0);
		r = upcall_syscall(SYS_rt_sigtimedwait, (long)&set, (long)ret_info,
				   (long)(timeout ? &left : NULL), sizeof(set), 0, 0);
	} while (r == -EINTR);
	up_store_seq_cst(&u->sig_wait, 0);
	if (r == -EAGAIN && take_pending(u, set, ret_info))
		r = ret_info->si_signo;
	return (int)r;
}

UP_EXPORT int sigtimedwait(const sigset_t *set, siginfo_t *ret_info, const struct timespec *timeout)
{
	struct up_uthread *u = up_self();
	siginfo_t info;
	int r;

	if (!u)
		return up_libc()->sigtimedwait(set, ret_info, timeout);
	if (timeout &&
	    (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec > 999999999))
		return up_libc_fail(EINVAL);
	r = wait_for(u, up_sig_from(set), &info, timeout);
	if (r < 0)
		return up_libc_fail(-r);
	if (ret_info)
		*ret_info = info;
	return r;
}

UP_EXPORT int sigwaitinfo(const sigset_t *set, siginfo_t *ret_info)
{
	return sigtimedwait(set, ret_info, NULL);
}

UP_EXPORT int sigwait(const sigset_t *set, int *ret_sig)
{
	siginfo_t info;
	int sig;

	do
		sig = sigtimedwait(set, &info, NULL);
	while (sig < 0 && errno == EINTR);
	if (sig < 0)
		return errno;
	*ret_sig = sig;
	return 0;
}

/* Read before the mask opens anything: what runs by that is what we wait for. */
static int suspend(struct up_uthread *u, uint64_t mask)
{
	uint32_t by_process = up_libc_handled(), by_us = u->sig_handled, seen;
	uint64_t was = u->sig_mask;

	up_libc_set_mask(u, mask);
	for (;;) {
		seen = up_libc_events();
		up_libc_run_pending(u);
		if (u->sig_handled != by_us || up_libc_handled() != by_process)
			break;
		up_libc_events_wait(seen);
	}
	up_libc_set_mask(u, was);
	up_libc_run_pending(u);
	return up_libc_fail(EINTR);
}

UP_EXPORT int sigsuspend(const sigset_t *mask)
{
	struct up_uthread *u = up_self();

	return u ? suspend(u, up_sig_from(mask)) : up_libc()->sigsuspend(mask);
}

UP_EXPORT int pause(void)
{
	struct up_uthread *u = up_self();

	return u ? suspend(u, u->sig_mask) : up_libc()->pause();
}
