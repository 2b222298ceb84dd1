/* SPDX-License-Identifier: MIT */
/*
 * The keeper: the one thread of ours that may block, allocate and take its time.  It makes
 * activations and watchers when they are asked for, and follows what Linux lets the process use.  It
 * is never pinned and never on a vcore.
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
#include "base/mutant.h"
#include "base/sanitize.h"
#include "base/syscall.h"
#include "host/capacity.h"
#include "host/task.h"

#define REREAD_NS	(250 * UP_NSEC_PER_MSEC)
#define REMOVE_GRACE_NS (2 * UP_NSEC_PER_MSEC)
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
	uint64_t look_ns; /* when to look around, where there is no lookout */
} keeper = { .bell_fd = -1 };

void up_keeper_ring(void)
{
	uint64_t one = 1;

	up_syscall3(SYS_write, keeper.bell_fd, &one, sizeof(one));
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

/* How long there is nothing to do, in ns. */
static int64_t time_left(uint64_t now)
{
	uint64_t next = keeper.reread_ns;

	if (keeper.retry_ns)
		next = UP_MIN(next, keeper.retry_ns);
	if (up_lookout_none())
		next = UP_MIN(next, keeper.look_ns);
	return next > now ? (int64_t)(next - now) : 0;
}

static void keep(void)
{
	struct pollfd bell = { .fd = keeper.bell_fd, .events = POLLIN };
	int64_t left = time_left(up_now_ns());
	struct timespec ts = up_ns_timespec((uint64_t)left);
	uint64_t rung, now;
	ssize_t n;

	ppoll(&bell, 1, &ts, NULL);
	if (bell.revents) {
		n = read(keeper.bell_fd, &rung, sizeof(rung));
		(void)n; /* non-blocking: a spurious wake reads nothing */
	}
	now = up_now_ns();
	if (now >= keeper.reread_ns) {
		trim_pool();
		follow_capacity();
	}
	if (keeper.retry_ns && now >= keeper.retry_ns)
		keeper.retry_ns = 0;
	if ((up_load_acquire(&up_host.want_acts) || short_of()) && !keeper.retry_ns)
		make_acts();
	make_watchers();
	if (up_lookout_none())
		keeper.look_ns = up_lookout_once(now);
}

static void *keeper_main(void *arg)
{
	up_store_release(&up_host.keeper_tid, (int)up_syscall0(SYS_gettid));
	up_task_slice(0, UP_SLICE_HELPER);
	pthread_setname_np(pthread_self(), "upcall-keeper");
	while (!up_load_acquire(&up_host.quit))
		keep();
	return NULL;
}

int up_keeper_start(void)
{
	const struct up_capacity_cfg cfg = { .quiet = !UP_MUT(keeper_waits_for_files) };
	struct up_capacity none = { 0 };
	int r;

	keeper.bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (keeper.bell_fd < 0)
		return -errno;
	r = up_capacity_open(&cfg, &keeper.src);
	if (!r)
		r = up_capacity_read(keeper.src, &keeper.cap[keeper.now_at]);
	if (!r) {
		keeper.reread_ns = up_now_ns() + REREAD_NS;
		tell_cores(&none, &keeper.cap[keeper.now_at]);
		r = -up_thread_create(&up_host.keeper, NULL, keeper_main, NULL);
	}
	if (r) {
		up_capacity_close(keeper.src);
		if (!UP_MUT(failed_keeper_left_cores))
			up_capacity_fini(&keeper.cap[keeper.now_at]);
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
	up_lookout_stop();
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

	up_lookout_forget();
	memset(&keeper, 0, sizeof(keeper));
	keeper.bell_fd = -1;
	if (fd >= 0)
		close(fd);
}

uint32_t up_keeper_cores(void)
{
	return keeper.cap[keeper.now_at].core_limit;
}
