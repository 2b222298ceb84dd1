/* SPDX-License-Identifier: MIT */
/*
 * Announced calls.  On the way in one store says that a call is under way: whoever finds the
 * activation asleep knows the class of its block, and no signal of ours is sent into it.  On the
 * way out one compare-and-swap settles whether the vcore is still ours; if it is not, the uthread
 * goes back to the scheduler before it runs another instruction of the program's.
 */
#include "user/uthread.h"

#include <errno.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/clock.h"
#include "base/inject.h"
#include "base/mutant.h"
#include "base/syscall.h"
#include "arch/arch.h"

/* A new sequence number: a watcher that looked while we slept comes too late.  False: replaced. */
static inline bool still_ours(void)
{
	uint64_t run = up_gs_run();

	return up_run_state(run) == UP_RUN_UTHREAD && up_gs_run_cas(run, run + UP_RUN_SEQ) == run;
}

/* The rare ends of a call hand its result through, so that the common one is a leaf that keeps nothing
 * on the stack. */
static UP_NOINLINE long go_home(long r)
{
	UP_INJECT(call_replaced);
	up_go_home(up_gs_uthread());
	return r;
}

static UP_NOINLINE long attend(long r)
{
	if (up_gs_depth())
		up_gs_due_set(); /* the caller's own section: at its end */
	else
		up_attend();
	return r;
}

static inline long call_leave(long r)
{
	/* In this order: from the first line on whoever has something for us sends a signal; whoever
	 * saw the call under way before the locked exchange has left what the last line finds. */
	up_gs_call_set(0);
	if (UP_UNLIKELY(!still_ours()) && !UP_MUT(call_exit_unchecked))
		return go_home(r);
	if (UP_UNLIKELY(up_gs_due() | up_gs_pending()))
		return attend(r);
	return r;
}

static inline bool announced(uint64_t gs)
{
	struct up_uthread *u;

	if (!gs || !(up_gs_run() & (UP_RUN_UTHREAD | UP_RUN_STOLEN)))
		return false;
	/* A thread that libc made for itself has inherited our GS base, but has a TLS of its own. */
	u = up_gs_uthread();
	return u && (UP_LIKELY(u->fs == up_tls_fs()) || !u->fs);
}

static inline long call_with(uint64_t gs, long nr, long a, long b, long c, long d, long e, long f)
{
	if (UP_UNLIKELY(!announced(gs)))
		return up_syscall6(nr, a, b, c, d, e, f);
	up_gs_call_set(UP_CLASS_ANNOUNCED + 1);
	return call_leave(up_syscall6(nr, a, b, c, d, e, f));
}

/* Where Linux must be asked for the GS base. */
static UP_NOINLINE long call_slowly(long nr, long a, long b, long c, long d, long e, long f)
{
	return call_with(up_arch_get_gs(), nr, a, b, c, d, e, f);
}

/* What is written before a call may be read behind another: whoever sends lets whoever receives know. */
static char in_linux;

long upcall_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	long r;

	up_san_release(&in_linux);
	if (UP_UNLIKELY(!up_arch_fsgsbase))
		r = call_slowly(nr, a, b, c, d, e, f);
	else
		r = call_with(up_arch_get_gs_insn(), nr, a, b, c, d, e, f);
	up_san_acquire(&in_linux);
	return r;
}

/* Asynchronous signals of the program's own do not come to activations: an EINTR here is from a
 * notification that was under way when the call began. */
static long restarted(long nr, long a, long b, long c, long d, long e, long f)
{
	long r;

	do
		r = upcall_syscall(nr, a, b, c, d, e, f);
	while (r == -EINTR && up_self());
	return r;
}

ssize_t upcall_read(int fd, void *buf, size_t sz)
{
	return restarted(SYS_read, fd, (long)buf, (long)sz, 0, 0, 0);
}

ssize_t upcall_write(int fd, const void *buf, size_t sz)
{
	return restarted(SYS_write, fd, (long)buf, (long)sz, 0, 0, 0);
}

ssize_t upcall_recv(int fd, void *buf, size_t sz, int flags)
{
	return restarted(SYS_recvfrom, fd, (long)buf, (long)sz, flags, 0, 0);
}

ssize_t upcall_send(int fd, const void *buf, size_t sz, int flags)
{
	return restarted(SYS_sendto, fd, (long)buf, (long)sz, flags, 0, 0);
}

int upcall_accept4(int fd, struct sockaddr *addr, socklen_t *addr_sz, int flags)
{
	return (int)restarted(SYS_accept4, fd, (long)addr, (long)addr_sz, flags, 0, 0);
}

int upcall_connect(int fd, const struct sockaddr *addr, socklen_t addr_sz)
{
	int r = (int)upcall_syscall(SYS_connect, fd, (long)addr, (long)addr_sz, 0, 0, 0), err = 0;
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t err_sz = sizeof(err);

	if (r != -EINTR || !up_self())
		return r;
	/* It goes on without us: connect(2) says to wait for the socket, then to ask it. */
	r = upcall_poll(&p, 1, -1);
	if (r < 0)
		return r;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &err_sz);
	return -err;
}

int upcall_poll(struct pollfd *fds, nfds_t nr, int64_t timeout_ns)
{
	uint64_t until = up_now_ns() + (uint64_t)UP_MAX(timeout_ns, INT64_C(0)), now;
	struct timespec ts = up_ns_timespec((uint64_t)UP_MAX(timeout_ns, INT64_C(0)));
	long r;

	for (;;) {
		r = upcall_syscall(SYS_ppoll, (long)fds, (long)nr, timeout_ns < 0 ? 0 : (long)&ts,
				   0, 0, 0);
		if (r != -EINTR || !up_self())
			return (int)r;
		now = up_now_ns();
		ts = up_ns_timespec(until > now ? until - now : 0);
	}
}
