/* SPDX-License-Identifier: MIT */
/*
 * The keeper: the one thread of ours that may block, allocate and take its time.  It makes
 * activations and watchers when they are asked for, runs the kernel side's deadlines, follows what
 * Linux lets the process use, and looks after cores on which somebody else's work keeps a
 * SCHED_IDLE watcher from running (the backstop).  It is never pinned and never on a vcore.
 */
#include "host/act.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/clock.h"
#include "base/syscall.h"
#include "host/capacity.h"
#include "host/task.h"

#define BACKSTOP_NS (10 * UP_NSEC_PER_MSEC)
/* While others keep our cores busy, so that watchers do not get to run. */
#define BUSY_NS	    UP_NSEC_PER_MSEC
#define BUSY_FOR_NS (100 * UP_NSEC_PER_MSEC)
#define REREAD_NS   (250 * UP_NSEC_PER_MSEC)
/* A take that vcore context has not answered by then is enforced there. */
#define TAKE_PATIENCE_NS UP_NSEC_PER_MSEC
#define REMOVE_GRACE_NS	 (2 * UP_NSEC_PER_MSEC)
/* Pooled activations that are kept, besides two a vcore. */
#define POOL_SPARE 8
/* And made ahead, besides one that stands by for each. */
#define RESERVE 4
/* After a refusal to make a thread, how long before we ask again. */
#define RETRY_NS (100 * UP_NSEC_PER_MSEC)

static struct {
	int bell_fd;
	struct up_capacity_src *src;
	struct up_capacity cap[2]; /* what was told to the kernel side, and what was read last */
	unsigned now_at;	   /* which of the two is the former */
	uint64_t reread_ns;
	uint64_t retry_ns;
	bool over;	  /* the pool was too large when we looked last */
	uint64_t look_ns; /* when to look around next: not at each bell */
	uint64_t busy_ns; /* until then cores are taken to be busy with others' work */
} keeper = { .bell_fd = -1 };

void up_keeper_ring(void)
{
	uint64_t one = 1;

	up_syscall3(SYS_write, keeper.bell_fd, &one, sizeof(one));
}

static bool any_online(void)
{
	return up_load_relaxed(&up_host.port->info->num_vcores) != 0;
}

/* Has the vcore's activation sat on the same uthread since we last came by, and is it blocked?  One
 * that is blocked while its watcher is ready says that the core is busy with somebody else's work:
 * then we come by more often. */
static void backstop(uint32_t v, uint64_t now)
{
	struct up_watch *w = &up_host.watch[v];
	struct up_act *a = up_load_acquire(&w->act);
	uint64_t run;

	if (!a || !up_load_relaxed(&w->online))
		return;
	run = up_load_acquire(&a->gs.run);
	if (up_run_state(run) == UP_RUN_UTHREAD && !up_load_relaxed(&w->parked) &&
	    up_task_class(a) >= 0)
		keeper.busy_ns = now + BUSY_FOR_NS;
	if (run == w->last_run && up_run_state(run) == UP_RUN_UTHREAD &&
	    up_watch_look(v, false) == 1)
		up_fetch_add_relaxed(&up_host.backstop_steals, 1);
	/* Came back from a sleep during which it was notified, and was not replaced. */
	else if (up_run_state(run) == UP_RUN_UTHREAD && !up_load_relaxed(&a->gs.call) &&
		 up_load_relaxed(&up_host.port->vc[v].notif_pending) && up_task_class(a) < 0)
		up_syscall3(SYS_tgkill, up_host.pid, a->gs.tid, up_host.signo);
	/* Where no timer could be made for it, this is its slice. */
	else if (run == w->last_run && up_run_state(run) == UP_RUN_UTHREAD && !a->has_timer &&
		 up_host.slice_ns && !up_host.use_slicer && up_task_class(a) < 0) {
		up_store_relaxed(&a->slice_due, 1);
		up_syscall3(SYS_tgkill, up_host.pid, a->gs.tid, up_host.signo);
	}
	w->last_run = run;
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
	if (now - w->take_ns < TAKE_PATIENCE_NS)
		return;
	a = up_act_get(up_load_relaxed(&m->act));
	if (!a || up_task_class(a) >= 0)
		return; /* asleep: not on the core; its replacement answers */
	up_store_relaxed(&a->freeze, 1);
	up_syscall3(SYS_tgkill, up_host.pid, a->gs.tid, up_host.signo);
}

static void tell_cores(const struct up_capacity *was, const struct up_capacity *is)
{
	uint64_t deadline = up_now_ns() + REMOVE_GRACE_NS;
	uint32_t c, top = 64 * UP_MAX(was->cpus.nr_words, is->cpus.nr_words);

	for (c = 0; c < top; c++)
		if (up_cpus_has(&is->cpus, c) && !up_cpus_has(&was->cpus, c))
			up_embed_core_add(up_host.embed, c);
	if (was->core_limit != is->core_limit)
		up_embed_core_limit(up_host.embed, is->core_limit);
	for (c = 0; c < top; c++)
		if (!up_cpus_has(&is->cpus, c) && up_cpus_has(&was->cpus, c))
			up_embed_core_remove(up_host.embed, c, deadline);
}

/* Activations left over from a peak go back in bulk, half of the excess at a time. */
static void trim_pool(void)
{
	const struct upabi_procinfo *info = up_host.port->info;
	uint32_t keep = 2 * up_load_relaxed(&info->num_vcores) + POOL_SPARE;
	uint32_t pooled = up_load_relaxed(&info->pooled), slot;
	bool was_over = keeper.over;
	uint64_t arg[5] = { 0 };

	keeper.over = pooled > keep;
	if (!keeper.over || !was_over)
		return;
	arg[0] = (pooled - keep + 1) / 2;
	slot = up_port_outside_get(up_host.port);
	up_port_call(up_host.port, slot, UPABI_OP_ACT_DEL, arg, NULL);
	up_port_outside_put(up_host.port, slot);
}

static void follow_capacity(void)
{
	struct up_capacity *was = &keeper.cap[keeper.now_at], *is = &keeper.cap[!keeper.now_at];

	keeper.reread_ns = up_now_ns() + REREAD_NS;
	if (up_capacity_read(keeper.src, is) < 0 || up_capacity_same(was, is))
		return;
	tell_cores(was, is);
	keeper.now_at = !keeper.now_at;
	up_host_note_affinity();
}

/* How many activations are missing from the reserve: made ahead, because making one takes locks of
 * libc's whose holder may be waiting for an activation. */
static uint32_t short_of(void)
{
	const struct upabi_procinfo *info = up_host.port->info;
	uint32_t online = up_load_relaxed(&info->num_vcores);
	uint32_t used = online + up_load_relaxed(&info->blocked);
	uint32_t living = up_load_relaxed(&up_host.living);
	uint32_t goal = UP_MIN(used + online + RESERVE, up_host.max_acts);

	return goal > living ? goal - living : 0;
}

static void make_acts(void)
{
	uint32_t want = UP_MAX(up_xchg_acq_rel(&up_host.want_acts, 0), short_of());
	int r = 0;

	while (want && !(r = up_act_spawn()))
		want--;
	if (!want)
		return;
	up_host.create_errno = -r;
	up_fetch_add_relaxed(&up_host.want_acts, want);
	keeper.retry_ns = up_now_ns() + RETRY_NS;
}

static void make_watchers(void)
{
	uint32_t v;

	for (v = 0; v < up_host.max_vcores; v++) {
		struct up_watch *w = &up_host.watch[v];

		if (!up_load_relaxed(&w->wanted) || w->tid)
			continue;
		if (up_watch_start(v) < 0)
			return;
		if (up_host.use_slicer)
			up_slicer_start(v);
		up_watch_pin(v, w->pcore);
		up_watch_arm(v);
	}
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

/* How long there is nothing to do, in ns; -1 for ever. */
static int64_t time_left(uint64_t now)
{
	uint64_t next = keeper.reread_ns, dl = up_load_acquire(&up_host.deadline);

	if (any_online())
		next = UP_MIN(next, UP_MAX(keeper.look_ns, now));
	if (dl)
		next = UP_MIN(next, dl);
	if (keeper.retry_ns)
		next = UP_MIN(next, keeper.retry_ns);
	return next > now ? (int64_t)(next - now) : 0;
}

static void keep(void)
{
	struct pollfd fds[2] = { { .fd = keeper.bell_fd, .events = POLLIN },
				 { .fd = up_capacity_fd(keeper.src), .events = POLLIN } };
	int64_t left = time_left(up_now_ns());
	struct timespec ts = up_ns_timespec((uint64_t)left);
	uint64_t rung, now;
	ssize_t n;

	ppoll(fds, 2, &ts, NULL);
	if (fds[0].revents) {
		n = read(keeper.bell_fd, &rung, sizeof(rung));
		(void)n; /* non-blocking: a spurious wake reads nothing */
	}
	now = up_now_ns();
	if (now >= keeper.reread_ns)
		trim_pool();
	if ((fds[1].revents & POLLIN) || now >= keeper.reread_ns)
		follow_capacity();
	if (up_load_acquire(&up_host.deadline) && up_load_acquire(&up_host.deadline) <= now) {
		up_store_relaxed(&up_host.deadline, 0);
		up_embed_tick(up_host.embed);
	}
	if (keeper.retry_ns && now >= keeper.retry_ns)
		keeper.retry_ns = 0;
	if ((up_load_acquire(&up_host.want_acts) || short_of()) && !keeper.retry_ns)
		make_acts();
	make_watchers();
	if (now >= keeper.look_ns) {
		look_around(now);
		keeper.look_ns = now + (now < keeper.busy_ns ? BUSY_NS : BACKSTOP_NS);
	}
}

static void *keeper_main(void *arg)
{
	up_store_release(&up_host.keeper_tid, (int)up_syscall0(SYS_gettid));
	up_task_slice(UP_SLICE_HELPER);
	pthread_setname_np(pthread_self(), "upcall-keeper");
	while (!up_load_acquire(&up_host.quit))
		keep();
	return NULL;
}

int up_keeper_start(void)
{
	struct up_capacity none = { 0 };
	int r;

	keeper.bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (keeper.bell_fd < 0)
		return -errno;
	r = up_capacity_open(NULL, &keeper.src);
	if (!r)
		r = up_capacity_read(keeper.src, &keeper.cap[keeper.now_at]);
	if (!r) {
		keeper.reread_ns = up_now_ns() + REREAD_NS;
		tell_cores(&none, &keeper.cap[keeper.now_at]);
		r = -pthread_create(&up_host.keeper, NULL, keeper_main, NULL);
	}
	if (r) {
		up_capacity_close(keeper.src);
		close(keeper.bell_fd);
		keeper.src = NULL;
		keeper.bell_fd = -1;
	}
	return r;
}

void up_keeper_stop(void)
{
	if (!keeper.src)
		return;
	up_store_release(&up_host.quit, true);
	up_keeper_ring();
	pthread_join(up_host.keeper, NULL);
	up_capacity_close(keeper.src);
	up_capacity_fini(&keeper.cap[0]);
	up_capacity_fini(&keeper.cap[1]);
	keeper.src = NULL;
}

/* When no activation is left that could ring. */
void up_keeper_forget(void)
{
	int fd = keeper.bell_fd;

	memset(&keeper, 0, sizeof(keeper));
	keeper.bell_fd = -1;
	if (fd >= 0)
		close(fd);
}

uint32_t up_keeper_cores(void)
{
	return keeper.cap[keeper.now_at].core_limit;
}
