/* SPDX-License-Identifier: MIT */
/*
 * Vcores: turns on CPU time, cores taken and given back, and what Linux allows changing underneath.
 */
#include "base/atomic.h"
#include "host/act.h"
#include "rt.h"

#include <sys/syscall.h>

static atomic_int stop_it;
static atomic_uint laps[8];

static void *spin(void *arg)
{
	while (!atomic_load(&stop_it))
		atomic_fetch_add(&laps[(uintptr_t)arg], 1);
	return NULL;
}

/* Those that never give way share one vcore. */
static int slices_share(uint64_t slice_ns)
{
	struct upcall_uthread *u[3];
	uintptr_t i;

	rt_start_opts((struct upcall_opts){ .vcores = 1, .slice_ns = slice_ns });
	for (i = 0; i < 3; i++)
		u[i] = rt_make(spin, (void *)i);
	AWAIT(atomic_load(&laps[0]) && atomic_load(&laps[1]) && atomic_load(&laps[2]), );
	/* We have come back ourselves, so that each has had its turn and lost it. */
	atomic_store(&stop_it, 1);
	for (i = 0; i < 3; i++)
		rt_join(u[i]);
	CHECK(rt_stats().notified >= 3);
	rt_stop();
	return 0;
}

static int slices_default(void)
{
	return slices_share(0);
}

static int slices_short(void)
{
	return slices_share(200000);
}

static void *nap_with_libc(void *arg)
{
	struct timespec ts = { 0, 2000000 };
	unsigned i;

	for (i = 0; i < 50; i++)
		CHECK_INT(nanosleep(&ts, NULL), 0); /* no EINTR from us */
	return NULL;
}

/* Turns are of CPU time: sleepers are not interrupted, spinners are. */
static int slices_on_cpu_time(void)
{
	struct upcall_uthread *s, *n[3];
	unsigned i;

	rt_start_opts((struct upcall_opts){ .vcores = 1, .slice_ns = 4 * MS });
	s = rt_make(spin, (void *)0);
	for (i = 0; i < 3; i++)
		n[i] = rt_make(nap_with_libc, NULL);
	for (i = 0; i < 3; i++)
		rt_join(n[i]);
	atomic_store(&stop_it, 1);
	rt_join(s);
	CHECK_INT(rt_stats().eintr_left, 0);
	rt_stop();
	return 0;
}

static int no_slices(void)
{
	struct upcall_uthread *u;

	rt_start_opts((struct upcall_opts){ .vcores = 1, .no_slice = true });
	u = rt_make(spin, (void *)0);
	rt_spin_ns(50 * MS);
	CHECK_INT(atomic_load(&laps[0]), 0);
	atomic_store(&stop_it, 1);
	rt_join(u);
	rt_stop();
	return 0;
}

/* ---- taken and given back ---- */

static atomic_uint pending, gang, taken, returned;

static void hear(unsigned vcore, const struct upcall_event *ev, void *arg)
{
	atomic_fetch_add((atomic_uint *)arg, 1);
}

static void hear_all(void)
{
	CHECK_INT(upcall_event_handle(UPCALL_EV_PREEMPT_PENDING, hear, &pending), 0);
	CHECK_INT(upcall_event_handle(UPCALL_EV_GANG_PREEMPT_PENDING, hear, &gang), 0);
	CHECK_INT(upcall_event_handle(UPCALL_EV_VCORE_PREEMPTED, hear, &taken), 0);
	CHECK_INT(upcall_event_handle(UPCALL_EV_VCORE_RETURNED, hear, &returned), 0);
}

/* Without grace: it is taken, the others are told, and it comes back as one that was taken. */
static int taken_at_once(unsigned vcores)
{
	unsigned i;

	rt_start(vcores);
	hear_all();
	for (i = 0; i < 30; i++) {
		uint64_t was = rt_stats().preempts;

		CHECK_INT(upcall_preempt(upcall_vcore_id(), 0), 0);
		AWAIT(rt_stats().preempts > was, );
	}
	AWAIT(atomic_load(&taken) >= 1, upcall_yield());
	AWAIT(atomic_load(&returned) >= 1, upcall_yield());
	CHECK_INT(atomic_load(&pending), 0);
	rt_stop();
	return 0;
}

static int taken_1(void)
{
	return taken_at_once(1);
}

static int taken_2(void)
{
	return taken_at_once(2);
}

/* With a warning: the vcore goes by itself, long before the deadline, and so nobody is told of a
 * core that was taken. */
static int warned_goes_nicely(void)
{
	uint64_t start = apart_now_ns(), was;

	rt_start(1);
	hear_all();
	was = rt_stats().preempts;
	CHECK_INT(upcall_preempt(upcall_vcore_id(), 3600ull * 1000 * MS), 0);
	AWAIT(rt_stats().preempts > was, );
	AWAIT(atomic_load(&pending) >= 1, upcall_yield());
	CHECK(apart_now_ns() - start < 3000 * MS);
	CHECK_INT(atomic_load(&taken), 0);
	CHECK_INT(atomic_load(&returned), 0);
	rt_stop();
	return 0;
}

static void hog(unsigned vcore, const struct upcall_event *ev, void *arg)
{
	while (!atomic_load(&stop_it))
		atomic_fetch_add(&laps[vcore], 1);
}

static int others_vcore(void)
{
	return upcall_vcore_id() == 0;
}

/* A vcore that sits in a handler loses its core all the same, frozen where it is, and goes on there. */
static int frozen_in_a_handler(void)
{
	unsigned nr, v, before;

	rt_need_cpus(2);
	rt_start_opts((struct upcall_opts){ .vcores = 2, .no_slice = true });
	hear_all();
	struct upcall_uthread *u = rt_make(spin, (void *)7);

	AWAIT(atomic_load(&laps[7]), );
	v = (unsigned)others_vcore();
	CHECK_INT(upcall_event_alloc(&nr), 0);
	CHECK_INT(upcall_event_handle(nr, hog, NULL), 0);
	CHECK_INT(upcall_event_route(nr, (int)v, 1), 0);
	CHECK_INT(upcall_notify(nr, (int)v, 0, 0), 0);
	AWAIT(atomic_load(&laps[v]), );
	CHECK_INT(upcall_preempt((int)v, 0), 0);
	AWAIT(atomic_load(&taken), upcall_yield());
	/* It goes on where it was, with a core of its own or with ours. */
	before = atomic_load(&laps[v]);
	AWAIT(atomic_load(&laps[v]) > before, upcall_yield());
	atomic_store(&stop_it, 1);
	rt_join(u);
	rt_stop();
	return 0;
}

static void *count_laps(void *arg)
{
	while (!atomic_load(&stop_it)) {
		atomic_fetch_add(&laps[(uintptr_t)arg], 1);
		rt_spin_ns(10000);
		upcall_yield();
	}
	return NULL;
}

static unsigned all_laps(void)
{
	unsigned i, n = 0;

	for (i = 0; i < 8; i++)
		n += atomic_load(&laps[i]);
	return n;
}

/* All cores at once, warned or not, with work running: everything goes on. */
static int gang_taken(void)
{
	struct upcall_uthread *u[4];
	uintptr_t i;

	rt_start(2);
	hear_all();
	for (i = 0; i < 4; i++)
		u[i] = rt_make(count_laps, (void *)i);
	for (i = 0; i < 60; i++) {
		unsigned before = all_laps();

		CHECK_INT(upcall_preempt(-1, i % 2 ? 500000 : 0), 0);
		AWAIT(all_laps() > before + 4, upcall_yield());
	}
	CHECK(rt_stats().preempts >= 60);
	CHECK(atomic_load(&gang) >= 1);
	atomic_store(&stop_it, 1);
	for (i = 0; i < 4; i++)
		rt_join(u[i]);
	rt_stop();
	return 0;
}

/* ---- what Linux allows ---- */

static void allow(const cpu_set_t *set)
{
	char path[64];
	pid_t child = fork();
	int status;

	/* By another process, and for the process's first thread: the one that counts. */
	if (!child)
		_exit(sched_setaffinity(getppid(), sizeof(*set), set) ? 1 : 0);
	CHECK(child > 0);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	(void)path;
}

static int follows_affinity(void)
{
	struct upcall_uthread *u[4];
	cpu_set_t all, one;
	uintptr_t i;
	unsigned round;
	int cpu;

	rt_need_cpus(2);
	CHECK_INT(sched_getaffinity(0, sizeof(all), &all), 0);
	for (cpu = 0; !CPU_ISSET(cpu, &all); cpu++)
		;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	rt_start(2);
	for (i = 0; i < 4; i++)
		u[i] = rt_make(count_laps, (void *)i);
	AWAIT(upcall_nr_vcores() == 2, upcall_yield());
	for (round = 0; round < 4; round++) {
		unsigned before;

		allow(&one);
		AWAIT(upcall_nr_vcores() == 1, upcall_yield());
		before = all_laps();
		AWAIT(all_laps() > before + 20, upcall_yield());
		CHECK(upcall_vcore_cpu(0) == cpu || upcall_vcore_cpu(1) == cpu);
		allow(&all);
		AWAIT(upcall_nr_vcores() == 2, upcall_yield());
	}
	atomic_store(&stop_it, 1);
	for (i = 0; i < 4; i++)
		rt_join(u[i]);
	CHECK(rt_stats().preempts >= 4);
	rt_stop();
	return 0;
}

/* A vcore without work gives its core back, and gets it again with the work. */
static int idle_goes_and_comes(void)
{
	struct upcall_uthread *u[2];
	unsigned round;

	rt_start(2);
	for (round = 0; round < 20; round++) {
		AWAIT(upcall_nr_vcores() == 1, );
		atomic_store(&stop_it, 0);
		u[0] = rt_make(spin, (void *)0);
		u[1] = rt_make(spin, (void *)1);
		if (rt_cpus() > 1)
			AWAIT(upcall_nr_vcores() == 2, );
		atomic_store(&stop_it, 1);
		rt_join(u[0]);
		rt_join(u[1]);
	}
	rt_stop();
	return 0;
}

/* Linux may have moved what we pinned.  Where the vcore itself changed its core meanwhile, nothing is
 * said: a handler that was frozen goes on elsewhere. */
static atomic_uint looks, strays;

static void where_am_i(unsigned vcore, const struct upcall_event *ev, void *arg)
{
	int before = upcall_vcore_cpu(vcore), cpu = sched_getcpu(), after = upcall_vcore_cpu(vcore);

	if (before != after || before < 0)
		return;
	atomic_fetch_add(&looks, 1);
	atomic_fetch_add(&strays, cpu != before);
}

static int on_the_core_granted(void)
{
	struct upcall_uthread *u[4];
	unsigned nr, i;

	rt_need_cpus(2);
	rt_start_opts((struct upcall_opts){ .vcores = 2, .slice_ns = 1 * MS });
	CHECK_INT(upcall_event_alloc(&nr), 0);
	CHECK_INT(upcall_event_handle(nr, where_am_i, NULL), 0);
	CHECK_INT(upcall_event_route(nr, -1, 1), 0);
	for (i = 0; i < 4; i++)
		u[i] = rt_make(spin, (void *)(uintptr_t)i);
	for (i = 0; atomic_load(&looks) < 500; i++) {
		CHECK_INT(upcall_notify(nr, (int)(i % 2), 0, 0), 0);
		if (i % 50 == 49)
			upcall_preempt((int)(i / 50 % 2), 0); /* -ESRCH: it is gone already */
		upcall_yield();
	}
	atomic_store(&stop_it, 1);
	for (i = 0; i < 4; i++)
		rt_join(u[i]);
	rt_stop();
	CHECK_INT(strays, 0);
	return 0;
}

/* ---- threads that somebody else has moved, as `taskset -ap` does ---- */

static bool is_only_on(int tid, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set); /* Linux writes as much as it has */
	CHECK(syscall(SYS_sched_getaffinity, tid, sizeof(set), &set) > 0);
	return CPU_COUNT(&set) == 1 && CPU_ISSET(cpu, &set);
}

static void move_from(int tid, int cpu)
{
	cpu_set_t set, all;
	int to;

	CHECK_INT(sched_getaffinity(0, sizeof(all), &all), 0);
	for (to = 0; to == cpu || !CPU_ISSET(to, &all); to++)
		;
	CPU_ZERO(&set);
	CPU_SET(to, &set);
	CHECK_INT(syscall(SYS_sched_setaffinity, tid, sizeof(set), &set), 0);
}

/* A thread of none of ours: the call sleeps until the other is elsewhere. */
static void *moves_activations(void *arg)
{
	struct up_watch *w;
	struct up_act *a;
	unsigned i;

	for (i = 0; i < 40; i++) {
		w = &up_host.watch[i % 2];
		AWAIT((a = up_load_acquire(&w->act)) && up_load_relaxed(&w->online), );
		move_from((int)a->gs.tid, (int)up_load_relaxed(&w->pcore));
		AWAIT(is_only_on((int)a->gs.tid, (int)up_load_relaxed(&w->pcore)) ||
			      up_load_acquire(&w->act) != a,
		      sched_yield());
	}
	atomic_store(&stop_it, 1);
	return arg;
}

static void *moves_watchers(void *arg)
{
	struct up_watch *w;
	unsigned i;

	for (i = 0; i < 40; i++) {
		w = &up_host.watch[i % 2];
		AWAIT(up_load_acquire(&w->tid) && up_load_relaxed(&w->online), sched_yield());
		move_from(w->tid, (int)up_load_relaxed(&w->pcore));
		AWAIT(is_only_on(w->tid, (int)up_load_relaxed(&w->pcore)), sched_yield());
	}
	atomic_store(&stop_it, 1);
	return arg;
}

static void *sleeps_often(void *arg)
{
	struct timespec ts = { 0, 100000 };

	while (!atomic_load(&stop_it)) {
		rt_spin_ns(100000);
		CHECK_INT(nanosleep(&ts, NULL), 0);
	}
	return arg;
}

/* Two that never rest keep both vcores where they are. */
static int comes_back(void *(*busy)(void *), void *(*mover)(void *))
{
	struct upcall_uthread *u[4];
	pthread_t thread;
	uintptr_t i;

	rt_need_cpus(2);
	rt_start_opts((struct upcall_opts){ .vcores = 2, .slice_ns = 1 * MS });
	for (i = 0; i < 4; i++)
		u[i] = rt_make(i < 2 ? spin : busy, (void *)i);
	CHECK_INT(pthread_create(&thread, NULL, mover, NULL), 0);
	for (i = 0; i < 4; i++)
		rt_join(u[i]);
	CHECK_INT(pthread_join(thread, NULL), 0);
	rt_stop();
	return 0;
}

static int moved_comes_back(void)
{
	return comes_back(spin, moves_activations);
}

static int watcher_comes_back(void)
{
	return comes_back(sleeps_often, moves_watchers);
}

static const struct apart cases[] = {
	CASE("those that never give way share a vcore, default slice", slices_default),
	CASE("those that never give way share a vcore, slice below the tick", slices_short),
	CASE("turns are of CPU time: sleeps are not broken into", slices_on_cpu_time),
	CASE("no slices when none are wanted", no_slices),
	CASE("a core is taken at once and comes back, 1 vcore", taken_1),
	CASE("a core is taken at once and comes back, 2 vcores", taken_2),
	CASE("a vcore that is warned goes nicely", warned_goes_nicely),
	CASE("a vcore inside a handler is frozen and goes on there", frozen_in_a_handler),
	CASE("all cores are taken, again and again", gang_taken),
	CASE("a vcore without work goes, and comes with it", idle_goes_and_comes),
	CASE("a vcore runs on the core that it was granted", on_the_core_granted),
	CASE("an activation that somebody moved comes back", moved_comes_back),
	CASE("a watcher that somebody moved comes back", watcher_comes_back),
	CASE("cores go and come with what Linux allows", follows_affinity),
};

APART_MAIN(cases)
