/* SPDX-License-Identifier: MIT */
/*
 * Turning a blocked uthread out of its activation, where none stands by to replace it and none comes:
 * none can be made, or whoever makes them waits for a lock of libc's, maybe one that an interrupted
 * uthread holds, which nobody would ever run.  So the blocked one gives its activation up: its call is
 * made again when it has its next turn, and others go first.
 *
 * A uthread's time is counted from the first time that it was found so, however many calls it has made
 * since: one that sleeps often and briefly keeps the others waiting as well.
 */
#include "host/act.h"

#include "base/atomic.h"
#include "base/bits.h"
#include "base/clock.h"
#include "base/mutant.h"
#include "base/syscall.h"

/* How long a blocked vcore waits for an activation to be made before it goes without. */
#define PATIENCE_MIN_NS (200 * UP_NSEC_PER_USEC)
#define PATIENCE_MAX_NS (10 * UP_NSEC_PER_MSEC)

uint64_t up_patience_left(struct up_patience *p, void *u, uint64_t now)
{
	if (u != p->uthread)
		*p = (struct up_patience){ .uthread = u, .since_ns = now, .ns = PATIENCE_MIN_NS };
	return p->since_ns + p->ns > now ? p->since_ns + p->ns - now : 0;
}

void up_patience_end(struct up_patience *p, uint64_t now)
{
	p->since_ns = now;
	p->ns = UP_MIN(2 * p->ns, PATIENCE_MAX_NS);
}

/*
 * Those that have done nothing when they end with EINTR.  Not among them: close(), which has closed;
 * ioctl(), of which nobody knows; what sleeps uninterruptibly.
 */
bool up_begins_again(long nr)
{
	static const short calls[] = {
		SYS_futex,
		SYS_read,
		SYS_readv,
		SYS_write,
		SYS_writev,
		SYS_wait4,
		SYS_waitid,
		SYS_recvmsg,
		SYS_recvfrom,
		SYS_sendmsg,
		SYS_sendto,
		SYS_accept,
		SYS_accept4,
		SYS_connect,
		SYS_flock,
		SYS_fcntl,
		SYS_openat,
		SYS_ppoll,
		SYS_pselect6,
		SYS_epoll_pwait,
		SYS_nanosleep,
		SYS_epoll_pwait2,
		SYS_clock_nanosleep,
		SYS_rt_sigtimedwait,
		SYS_semtimedop,
		SYS_msgrcv,
		SYS_msgsnd,
		SYS_mq_timedsend,
		SYS_io_getevents,
		SYS_mq_timedreceive,
		SYS_rt_sigsuspend,
#ifdef SYS_poll /* what newer architectures no longer have */
		SYS_open,
		SYS_poll,
		SYS_select,
		SYS_epoll_wait,
		SYS_pause,
		SYS_semop,
#endif
	};
	size_t i;

	for (i = 0; i < UP_ARRAY_LEN(calls); i++)
		if (nr == calls[i])
			return true;
	return false;
}

void up_turn_out(uint32_t v)
{
	struct up_act *a = up_load_acquire(&up_host.watch[v].act);
	struct up_look look = { 0 };

	if (UP_MUT(blocked_not_turned_out) || !a || up_load_relaxed(&a->vcore) != v ||
	    up_run_state(up_load_acquire(&a->gs.run)) != UP_RUN_UTHREAD ||
	    up_task_look(a, &look) != UP_CLASS_UNANNOUNCED || a->syscall_fd < 0)
		return;
	/* An announced call is begun again by who announced it, whichever it is. */
	if (up_load_relaxed(&a->gs.call) ? UP_MUT(announced_not_turned_out)
					 : !up_begins_again(look.nr))
		return;
	up_store_relaxed(&a->slice_due, 1);
	up_store_relaxed(&a->turned_out, 1);
	up_syscall3(SYS_tgkill, up_host.pid, a->gs.tid, up_host.signo);
}

void up_turn_out_late(uint32_t v, uint64_t now)
{
	struct up_watch *w = &up_host.watch[v];
	struct up_act *a = up_load_acquire(&w->act);

	if (UP_MUT(late_not_turned_out) || !a ||
	    up_patience_left(&w->late_patience, up_load_relaxed(&a->gs.uthread), now))
		return;
	w->no_standby++;
	up_patience_end(&w->late_patience, now);
	up_turn_out(v);
}
