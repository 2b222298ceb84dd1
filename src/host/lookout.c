/* SPDX-License-Identifier: MIT */
/*
 * The lookout: a thread of ours that never waits for anybody.  It takes no lock of libc's and
 * allocates nothing, since the holder of such a lock may be a uthread that was put aside and runs
 * again only when the lookout has found a blocked vcore (the keeper, which makes threads, may have to
 * wait for it).  It runs the kernel side's deadlines, and looks after cores on which somebody else's
 * work keeps a SCHED_IDLE watcher from running, or which have no watcher yet (the backstop).
 *
 * Where no thread can be made for it the keeper looks, between its other duties.
 */
#include "host/act.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/clock.h"
#include "base/inject.h"
#include "base/mutant.h"
#include "base/sanitize.h"
#include "base/syscall.h"
#include "host/task.h"

#define BACKSTOP_NS (10 * UP_NSEC_PER_MSEC)
/* While others keep our cores busy, so that watchers do not get to run. */
#define BUSY_NS	    UP_NSEC_PER_MSEC
#define BUSY_FOR_NS (100 * UP_NSEC_PER_MSEC)
/* With no vcore online. */
#define REST_NS (250 * UP_NSEC_PER_MSEC)
/* A take that vcore context has not answered by then is enforced there. */
#define TAKE_PATIENCE_NS UP_NSEC_PER_MSEC

/* lookout.state */
enum {
	UNDECIDED = 0,
	THERE = 1,
	NONE = 2 /* the keeper looks */
};

static struct {
	int bell_fd;
	pthread_t thread;
	uint32_t state;	  /* atomic */
	uint64_t look_ns; /* when to look around next: not at each bell */
	uint64_t busy_ns; /* until then cores are taken to be busy with others' work */
} lookout = { .bell_fd = -1 };

void up_lookout_ring(void)
{
	uint64_t one = 1;

	if (up_load_acquire(&lookout.state) == THERE) /* pairs with up_lookout_start() */
		up_syscall3(SYS_write, lookout.bell_fd, &one, sizeof(one));
	else
		up_keeper_ring();
}

static bool any_online(void)
{
	return up_load_relaxed(&up_host.port->info->num_vcores) != 0;
}

/* Signals that have not come, or were never sent: it came back from a sleep during which it was
 * notified, and was not replaced; or nothing could be made to end its slices. */
static void prod(struct up_act *a, uint32_t v, bool same)
{
	bool has = up_host.use_slicer ? up_host.watch[v].has_slicer : a->has_timer;
	bool slice = same && !has && up_host.slice_ns;

	if (slice)
		up_store_relaxed(&a->slice_due, 1);
	if (slice ||
	    (!up_load_relaxed(&a->gs.call) && up_load_relaxed(&up_host.port->vc[v].notif_pending) &&
	     !UP_INJECT_FAIL(lookout_prods)))
		up_syscall3(SYS_tgkill, up_host.pid, a->gs.tid, up_host.signo);
}

/* Has the vcore's activation sat on the same uthread since we last came by, and is it blocked?  One
 * that is blocked while its watcher is ready, or had to wait for a standby, says that the core is busy
 * with somebody else's work: then we come by more often. */
static void backstop(uint32_t v, uint64_t now)
{
	struct up_watch *w = &up_host.watch[v];
	struct up_act *a = up_load_acquire(&w->act);
	bool same, alone;
	uint64_t run;

	if (!a || !up_load_relaxed(&w->online))
		return;
	run = up_load_acquire(&a->gs.run);
	same = run == w->last_run;
	w->last_run = run;
	if (up_run_state(run) != UP_RUN_UTHREAD)
		return;
	if (up_task_class(a) < 0) {
		prod(a, v, same);
		return;
	}
	alone = up_load_acquire(&up_host.port->vmap[v].standby) == UPABI_NONE;
	if (alone || !up_load_relaxed(&w->parked))
		lookout.busy_ns = now + BUSY_FOR_NS;
	if (alone)
		up_turn_out_late(v, now);
	else if (same && up_watch_look(v, UP_FROM_AFAR) == 1)
		up_fetch_add_relaxed(&up_host.backstop_steals, 1);
}

/* Has a replaced activation used the CPU since we last came by?  Most sleep on, and the clock costs a
 * tenth of a look. */
static bool has_run(struct up_act *a, uint64_t run)
{
	uint64_t was = a->late_cpu_ns;

	a->late_cpu_ns = up_host_cpu_ns(a->gs.tid);
	return run == a->late_run && a->late_cpu_ns != was;
}

/* Replaced activations that nothing has called home since we last came by: no timer could be made,
 * or the look that led to the replacement was a moment old. */
static void call_home_late(void)
{
	uint32_t i, nr = up_load_acquire(&up_host.nr_acts);
	struct up_act *a;
	uint64_t run;

	for (i = 0; i < nr; i++) {
		a = up_act_get(i);
		if (!a)
			continue;
		run = up_load_acquire(&a->gs.run);
		if (up_run_state(run) == UP_RUN_STOLEN && has_run(a, run) && up_task_class(a) < 0)
			up_syscall3(SYS_tgkill, up_host.pid, a->gs.tid, up_host.signo);
		a->late_run = run;
	}
}

/* A core that is being taken, and whose vcore has not left. */
static void enforce_take(uint32_t v, uint64_t now)
{
	const struct upabi_vcoremap *m = &up_host.port->vmap[v];
	struct up_watch *w = &up_host.watch[v];
	struct up_act *a;

	if (!(up_load_relaxed(&m->flags) & UPABI_VMF_TAKE)) {
		w->take_ns = 0;
		return;
	}
	if (!w->take_ns)
		w->take_ns = now;
	if (now - w->take_ns < TAKE_PATIENCE_NS || UP_MUT(take_not_enforced))
		return;
	a = up_act_get(up_load_relaxed(&m->act));
	if (!a || up_task_class(a) >= 0)
		return; /* asleep: not on the core; its replacement answers */
	up_store_relaxed(&a->freeze, 1);
	up_syscall3(SYS_tgkill, up_host.pid, a->gs.tid, up_host.signo);
}

static void look_around(uint64_t now)
{
	uint32_t v;

	for (v = 0; v < up_host.max_vcores; v++) {
		if (!up_host.watch[v].act)
			continue;
		backstop(v, now);
		enforce_take(v, now);
	}
	if (up_load_relaxed(&up_host.port->info->blocked))
		call_home_late();
}

/* When there will be something to do. */
static uint64_t next_ns(uint64_t now)
{
	uint64_t next = now + REST_NS, dl = up_load_acquire(&up_host.deadline), alarm;

	if (up_host.hooks.alarm) {
		alarm = up_host.hooks.alarm(now);
		next = UP_MIN(next, alarm);
	}

	if (any_online())
		next = UP_MIN(next, UP_MAX(lookout.look_ns, now));
	return dl ? UP_MIN(next, dl) : next;
}

uint64_t up_lookout_once(uint64_t now)
{
	uint64_t dl = up_load_acquire(&up_host.deadline);

	if (dl && dl <= now) {
		up_store_relaxed(&up_host.deadline, 0);
		up_embed_tick(up_host.embed);
	}
	if (now >= lookout.look_ns) {
		look_around(now);
		lookout.look_ns = now + (now < lookout.busy_ns ? BUSY_NS : BACKSTOP_NS);
	}
	return next_ns(now);
}

bool up_lookout_none(void)
{
	return up_load_acquire(&lookout.state) == NONE; /* pairs with up_lookout_start() */
}

static void *lookout_main(void *arg)
{
	struct pollfd fd = { .fd = lookout.bell_fd, .events = POLLIN };
	uint64_t rung, now, next = 0;
	struct timespec ts;

	up_task_slice(0, UP_SLICE_HELPER);
	pthread_setname_np(pthread_self(), "upcall-lookout");
	while (!up_load_acquire(&up_host.quit)) {
		now = up_now_ns();
		ts = up_ns_timespec(next > now ? next - now : 0);
		if (up_syscall5(SYS_ppoll, &fd, 1, &ts, NULL, 0) > 0)
			up_syscall3(SYS_read, fd.fd, &rung, sizeof(rung));
		next = up_lookout_once(up_now_ns());
	}
	return NULL;
}

void up_lookout_start(void)
{
	int r = 0;

	lookout.bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (lookout.bell_fd < 0 || UP_INJECT_FAIL(lookout_start))
		r = EAGAIN;
	if (!r)
		r = up_thread_create(&lookout.thread, NULL, lookout_main, NULL);
	/* release: the bell is there for whoever rings; what was rung for before is not forgotten,
	 * since the first look is at once */
	up_store_release(&lookout.state, r ? NONE : THERE);
	if (r)
		up_keeper_ring();
}

void up_lookout_stop(void)
{
	if (lookout.state != THERE)
		return;
	up_lookout_ring();
	pthread_join(lookout.thread, NULL);
}

/* When no activation is left that could ring. */
void up_lookout_forget(void)
{
	int fd = lookout.bell_fd;

	memset(&lookout, 0, sizeof(lookout));
	lookout.bell_fd = -1;
	if (fd >= 0)
		close(fd);
}
