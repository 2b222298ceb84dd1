/* SPDX-License-Identifier: MIT */
/*
 * Slices shorter than the kernel's tick.  A timer on CPU time is exact about sleeps but no finer
 * than the tick; a timer on wall time is fine but breaks into sleeps with EINTR.  The slicer is
 * neither: a thread on the vcore's own core, which runs for a moment each slice and so knows that
 * the activation does not.  If it is not asleep it cannot fall asleep before the slicer leaves the
 * core either, so a signal sent now finds it on its way through user code.  It looks at one
 * activation a slice, however many are blocked.
 *
 * It exists only where a slice below the tick was asked for, and sleeps while its vcore is idle.
 */
#include "host/act.h"

#include <errno.h>
#include <sched.h>
#include <sys/prctl.h>

#include "base/atomic.h"
#include "base/futex.h"
#include "base/sanitize.h"
#include "base/syscall.h"
#include "host/task.h"

static void prod(struct up_act *a)
{
	if (up_task_class(a) >= 0)
		return; /* asleep: it is not on the core, and a signal would break its call */
	up_store_relaxed(&a->slice_due, 1);
	up_syscall3(SYS_tgkill, up_host.pid, a->gs.tid, up_host.signo);
}

static bool slice(struct up_watch *w)
{
	struct up_act *a = up_load_acquire(&w->act);

	if (!up_load_relaxed(&w->online) || !a)
		return false;
	if (up_run_state(up_load_acquire(&a->gs.run)) == UP_RUN_UTHREAD &&
	    !up_load_relaxed(&a->gs.call))
		prod(a);
	return true;
}

static void *slicer_main(void *arg)
{
	struct up_watch *w = arg;
	struct timespec ts = up_ns_timespec(up_host.slice_ns);

	up_store_release(&w->slicer_tid, (int)up_syscall0(SYS_gettid));
	pthread_setname_np(pthread_self(), "upcall-slice");
	up_task_slice(0, UP_SLICE_HELPER);
	prctl(PR_SET_TIMERSLACK, 1);
	while (!up_load_acquire(&w->quit)) {
		up_syscall4(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &ts, 0);
		if (slice(w))
			continue;
		up_store_relaxed(&w->slicer_parked, 1);
		up_fence_seq_cst(); /* pairs with up_slicer_arm()'s: online, then parked */
		if (up_load_relaxed(&w->online))
			up_store_relaxed(&w->slicer_parked, 0);
		while (up_load_acquire(&w->slicer_parked) && !up_load_acquire(&w->quit))
			up_futex_wait_private(&w->slicer_parked, 1, UP_FUTEX_FOREVER);
	}
	return NULL;
}

void up_slicer_arm(uint32_t v)
{
	struct up_watch *w = &up_host.watch[v];

	if (!w->has_slicer)
		return;
	/* Full fence: online was set before we look; the slicer sets parked, then looks at online */
	up_fence_seq_cst();
	if (up_load_relaxed(&w->slicer_parked) && up_xchg_acq_rel(&w->slicer_parked, 0))
		up_futex_wake_private(&w->slicer_parked, 1);
}

int up_slicer_start(uint32_t v)
{
	struct up_watch *w = &up_host.watch[v];
	pthread_attr_t attr;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64u << 10);
	r = up_thread_create(&w->slicer, &attr, slicer_main, w);
	pthread_attr_destroy(&attr);
	if (r)
		return -r;
	w->has_slicer = true;
	while (!up_load_acquire(&w->slicer_tid))
		up_syscall0(SYS_sched_yield);
	return 0;
}

void up_slicer_stop(uint32_t v)
{
	struct up_watch *w = &up_host.watch[v];

	if (!w->has_slicer)
		return;
	up_store_release(&w->quit, true);
	up_xchg_acq_rel(&w->slicer_parked, 0);
	up_futex_wake_private(&w->slicer_parked, 1);
	pthread_join(w->slicer, NULL);
	w->has_slicer = false;
}
