/* SPDX-License-Identifier: MIT */
/*
 * Announced calls.  On the way in one store says that a call is under way: whoever finds the
 * activation asleep knows the class of its block, and no signal of ours is sent into it.  On the
 * way out one compare-and-swap settles whether the vcore is still ours; if it is not, the uthread
 * goes back to the scheduler before it runs another instruction of the program's.
 */
#include "user/uthread.h"

#include "base/atomic.h"
#include "base/bits.h"
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

char up_in_linux;

long upcall_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	long r;

	up_san_release(&up_in_linux);
	if (UP_UNLIKELY(!up_arch_fsgsbase))
		r = call_slowly(nr, a, b, c, d, e, f);
	else
		r = call_with(up_arch_get_gs_insn(), nr, a, b, c, d, e, f);
	up_san_acquire(&up_in_linux);
	return r;
}
