/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the runtime share: starting it with few words, making uthreads that must be
 * made, counting what the process holds of the machine. Everything ends the case when it fails.
 */
#ifndef UP_TESTS_USER_RT_H
#define UP_TESTS_USER_RT_H

#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

#include <upcall/upcall.h>

#include "announced.h"
#include "apart.h"
#include "entries.h"

#define MS 1000000ull

static inline void rt_dump(int sig)
{
	upcall_dump(2);
}

/* Handlers run on the receiver thread, so that a hang of everything else can still be shown. */
static inline void apart_dump_on(void)
{
	struct sigaction sa = { .sa_handler = rt_dump };

	sigaction(SIGUSR1, &sa, NULL);
}

static inline void rt_start_opts(struct upcall_opts o)
{
	o.size = sizeof(o);
	apart_dump_on();
	CHECK_INT(upcall_start(&o), 0);
}

static inline void rt_start(unsigned vcores)
{
	rt_start_opts((struct upcall_opts){ .vcores = vcores });
}

/* Nobody else is to be alive. */
static inline void rt_stop(void)
{
	int r;

	/* A detached one may still be on its way out. */
	AWAIT((r = upcall_stop()) != -EBUSY, upcall_yield());
	CHECK_INT(r, 0);
}

static inline struct upcall_uthread *rt_make(void *(*fn)(void *), void *arg)
{
	struct upcall_uthread *u = NULL;

	CHECK_INT(upcall_uthread_create(&u, NULL, fn, arg), 0);
	CHECK(u);
	return u;
}

static inline void *rt_join(struct upcall_uthread *u)
{
	void *value = NULL;

	CHECK_INT(upcall_uthread_join(u, &value), 0);
	return value;
}

static inline struct upcall_stats rt_stats(void)
{
	struct upcall_stats st = { .size = sizeof(st) };

	CHECK_INT(upcall_get_stats(&st), 0);
	return st;
}

static inline unsigned rt_cpus(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	return sched_getaffinity(0, sizeof(set), &set) ? 1 : (unsigned)CPU_COUNT(&set);
}

static inline void rt_need_cpus(unsigned nr)
{
	if (rt_cpus() < nr)
		SKIP("it needs %u CPUs, and here are %u\n", nr, rt_cpus());
}

/* What a process holds of the machine. */
struct rt_held {
	unsigned fds, threads, maps, vm_kb, rss_kb;
};

static inline struct rt_held rt_held(void)
{
	struct rt_held h = { entries("/proc/self/fd"), entries("/proc/self/task"), 0, 0, 0 };
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		h.maps += !strstr(line, "[heap]") && !strstr(line, "[stack]");
	fclose(f);
	f = fopen("/proc/self/status", "re");
	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		sscanf(line, "VmSize: %u", &h.vm_kb);
		sscanf(line, "VmRSS: %u", &h.rss_kb);
	}
	fclose(f);
	return h;
}

/* Uses the CPU for so long, by the caller's own clock or the wall's, without a call into Linux that
 * could block. */
static inline void rt_spin_ns(uint64_t ns)
{
	uint64_t end = apart_now_ns() + ns;

	while (apart_now_ns() < end)
		;
}

/* Two uthreads, of which the first ends when the second has had its turn. */
static volatile int rt_turn_came;

static inline void *rt_waits_for_turn(void *arg)
{
	while (!rt_turn_came) /* on one core only somebody else's turn can end this */
		;
	return arg;
}

static inline void *rt_has_turn(void *arg)
{
	rt_turn_came = 1;
	return arg;
}

/* How often uthreads have blocked in Linux, by whatever call. */
static inline uint64_t rt_blocks(void)
{
	struct upcall_stats st = rt_stats();
	uint64_t nr = 0;
	unsigned i;

	for (i = 0; i < sizeof(st.blocked) / sizeof(st.blocked[0]); i++)
		nr += st.blocked[i];
	return nr;
}

#endif
