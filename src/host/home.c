/* SPDX-License-Identifier: MIT */
/*
 * Calling a replaced activation home from a call that nobody announced.  It sleeps interruptibly,
 * so a signal sent now would break its call; sent later it would find the program running on
 * beside the vcore.  Three ways, the first that works here:
 *
 *   rseq   Linux moves a thread that was off the processor out of a restartable sequence when it
 *          comes back to user space.  A sequence of one byte, set from outside behind the call in
 *          which the thread sleeps, makes it come to us instead: no signal, no EINTR, and not one
 *          instruction of the program's first.  (6.19 and later no longer look after a system call;
 *          the probe tells.)
 *   timer  on the thread's own CPU time: it stands still during the sleep, and its signal comes
 *          with the first tick of the kernel's that finds the thread running.
 *   slicer looks once a slice (slicer.c).
 *
 * A fault comes back to no call: there a signal is queued, which waits for the end of the sleep since
 * that is uninterruptible.  Without rseq the same serves uninterruptible sleeps inside calls.
 */
#include "host/act.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/rseq.h>
#include <sys/wait.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "base/mutant.h"
#include "base/syscall.h"

#define PROBE_TRIES 5 /* a sleep of 0.1 ms each */

static uint64_t *rseq_cs_word(uint64_t fs)
{
	return (uint64_t *)(uintptr_t)(fs + (uint64_t)__rseq_offset + 8);
}

/* In a child, since a kernel built to debug rseq kills who makes a call inside a sequence. */
static bool probe(void)
{
	int status = -1; /* no answer is no */
	long pid;

	pid = up_syscall5(SYS_clone, 0, 0, 0, 0, 0); /* no exit signal: nobody else hears of it */
	if (!pid) {
		struct up_rseq_cs cs = { .post_commit_offset = 1 };
		int works = 0, tries = 0;

		/* Preempted on its way into the sleep it finds nothing: Linux has forgotten the sequence. */
		while (!works && tries++ < PROBE_TRIES)
			works = up_arch_rseq_probe(&cs, rseq_cs_word(up_arch_get_fs()));

		up_syscall1(SYS_exit_group, works ? 0 : 1);
	}
	if (pid < 0)
		return false;
	while (up_syscall4(SYS_wait4, pid, &status, __WALL, 0) == -EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

uint32_t up_home_cpu(uint64_t fs)
{
	const struct rseq *area = (const void *)(uintptr_t)(fs + (uint64_t)__rseq_offset);

	/* One that is not registered has a negative number there, and no CPU has that. */
	return __rseq_size ? up_load_relaxed(&area->cpu_id) : UPABI_NONE;
}

void up_home_init(void)
{
	/* Kernels that no longer look after a system call still do after a page fault. */
	up_host.use_rseq_fault = __rseq_size && !getenv("UPCALL_NO_RSEQ");
	up_host.use_rseq = up_host.use_rseq_fault && !UP_MUT(probe_says_no) && probe();
}

bool up_home_by_rseq(bool fault)
{
	return fault ? up_host.use_rseq_fault : up_host.use_rseq;
}

/* A sequence that we are never in: Linux forgets it when it takes the processor from us. */
static const struct up_rseq_cs nowhere = {
	.start_ip = 1,
	.post_commit_offset = 1,
	.abort_ip = (uintptr_t)up_arch_came_back, /* it must stand behind the signature */
};

void up_home_keep_core(void)
{
	if (up_host.use_rseq)
		up_store_relaxed(rseq_cs_word(up_arch_get_fs()), (uint64_t)(uintptr_t)&nowhere);
}

bool up_home_kept_core(void)
{
	/* relaxed: written by this thread, and by Linux on its way back to it */
	return up_host.use_rseq && up_load_relaxed(rseq_cs_word(up_arch_get_fs()));
}

/* Before the hand-over word is taken: the victim may come back at any moment from here on, and
 * finds out for itself whether it was replaced. */
void up_home_set(struct up_act *a, int class, uint64_t pc)
{
	const char *to = class == UP_CLASS_FAULT ? up_arch_came_back_fault : up_arch_came_back;

	if (class == UP_CLASS_ANNOUNCED)
		return; /* it looks by itself */
	if (!up_home_by_rseq(class == UP_CLASS_FAULT)) {
		a->stolen_cpu_ns = up_host_cpu_ns(a->gs.tid);
		return;
	}
	if (!pc || UP_MUT(came_back_not_caught))
		return;
	a->gs.home_pc = pc;
	a->rseq_cs.post_commit_offset = 1;
	a->rseq_cs.abort_ip = (uintptr_t)to;
	a->rseq_cs.start_ip = pc;
	/* release: the kernel, on this core, reads the section through this word */
	up_store_release(rseq_cs_word(a->own_fs), (uint64_t)(uintptr_t)&a->rseq_cs);
}

void up_home_unset(struct up_act *a)
{
	if (up_host.use_rseq_fault)
		up_store_relaxed(rseq_cs_word(a->own_fs), 0);
}

void up_home_call(struct up_act *a, int class, bool unint)
{
	struct itimerspec its = { .it_value = { 0, 1 } };

	if (class == UP_CLASS_ANNOUNCED || up_home_by_rseq(class == UP_CLASS_FAULT))
		return; /* it looks by itself, or is led here */
	if (unint) {
		/* It sleeps uninterruptibly: the signal waits at the way out, and breaks nothing. */
		if (!UP_MUT(fault_signal_not_queued))
			up_syscall3(SYS_tgkill, up_host.pid, a->gs.tid, up_host.signo);
	} else if (a->has_timer) {
		if (up_host.slice_ns && !up_host.use_slicer)
			its.it_interval = up_ns_timespec(up_host.slice_ns);
		up_syscall4(SYS_timer_settime, (long)a->timer, 0, &its, 0);
	}
}
