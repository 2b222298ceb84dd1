/* SPDX-License-Identifier: MIT */
/*
 * Forks with delays where a steal, a pop, a wait or an end is under way, slices of 100 us, cores that go
 * and come, memory that is refused, and no membarrier().
 */
#include "base/inject.h"
#include "work.h"

#include <stdlib.h>

#define SLICE_NS 100000

static struct {
	const char *fails; /* this point, and no delays */
	const char *fenced;
	uint32_t one_in; /* a delay at every so many of our points; 0: none */
	atomic_uint seed, hits, failed;
} plan;

static int on_point(unsigned nr, const char *name, void *arg)
{
	uint64_t x;

	if (strncmp(name, "fork_", 5))
		return 0;
	if ((plan.fails && !strcmp(name, plan.fails)) ||
	    (plan.fenced && !strcmp(name, plan.fenced))) {
		atomic_fetch_add(&plan.failed, 1);
		return 1;
	}
	x = tree_hash(atomic_fetch_add(&plan.seed, 1) * 0x9e3779b97f4a7c15ull);
	if (!plan.one_in || x % plan.one_in)
		return 0;
	atomic_fetch_add(&plan.hits, 1);
	rt_spin_ns((x >> 32) % 30000);
	return 0;
}

static void with_delays(uint32_t one_in, bool fenced)
{
	const char *seed = getenv("UP_SEED");

	plan.one_in = one_in;
	plan.fenced = fenced ? "fork_membarrier" : NULL;
	atomic_store(&plan.seed,
		     seed ? (unsigned)strtoul(seed, NULL, 0) : (unsigned)apart_now_ns());
	dprintf(2, "seed %u\n", atomic_load(&plan.seed));
	CHECK(up_inject_find("fork_steal") >= 0);
	up_inject_set_hook(on_point, NULL);
}

static void *mixed(void *arg)
{
	uintptr_t i = (uintptr_t)arg;

	fib_check(13 + i % 3);
	queens_check(6, 4);
	tree_check(i);
	for_check(0, 2000, i % 5);
	return NULL;
}

/* UP_ROUNDS: so many times as long. */
static void stress(unsigned rounds)
{
	const char *times = getenv("UP_ROUNDS");
	struct upcall_uthread *u[8];
	uintptr_t r, i;

	rounds *= times ? (unsigned)strtoul(times, NULL, 0) : 1;
	for (r = 0; r < rounds; r++) {
		for (i = 0; i < 8; i++)
			u[i] = rt_make(mixed, (void *)(r * 8 + i));
		fib_check(16);
		for (i = 0; i < 8; i++)
			rt_join(u[i]);
		fib_check(14); /* alone: what is idle comes for it */
	}
}

static int stressed(unsigned vcores, bool fenced)
{
	with_delays(50, fenced);
	rt_start_opts((struct upcall_opts){ .vcores = vcores, .slice_ns = SLICE_NS });
	stress(60);
	CHECK(atomic_load(&plan.hits) > 100);
	CHECK(!fenced || atomic_load(&plan.failed) == 1);
	rt_stop();
	return 0;
}

static int stressed_1(void)
{
	return stressed(1, false);
}

static int stressed_2(void)
{
	return stressed(2, false);
}

static int stressed_fenced(void)
{
	return stressed(2, true);
}

/* Half of all points: whatever is in between takes place. */
static int stressed_slowly(void)
{
	with_delays(2, false);
	rt_start_opts((struct upcall_opts){ .vcores = 2, .slice_ns = SLICE_NS });
	fib_check(14);
	tree_check(3);
	for_check(0, 1000, 1);
	rt_stop();
	return 0;
}

/* ---- cores that go and come ---- */

static atomic_int over;

static void *takes_cores(void *arg)
{
	unsigned i;

	for (i = 0; !atomic_load(&over); i++) {
		if (i % 8 == 7) {
			CHECK_INT(upcall_request(1, 0), 0);
			rt_spin_ns(300000);
			CHECK_INT(upcall_request(2, 0), 0);
		} else {
			upcall_preempt((int)(i % 2), 0); /* it may be away already */
		}
		upcall_sleep_ns(500000);
	}
	return NULL;
}

static int cores_go_and_come(void)
{
	struct upcall_uthread *taker;

	with_delays(200, false);
	rt_start_opts((struct upcall_opts){ .vcores = 2, .slice_ns = SLICE_NS });
	taker = rt_make(takes_cores, NULL);
	stress(60);
	atomic_store(&over, 1);
	rt_join(taker);
	CHECK_INT(upcall_request(2, 0), 0);
	fib_check(20);
	rt_stop();
	return 0;
}

/* Tasks and their owners, all of them in and out of the kernel. */
static void sleeps(void *arg)
{
	uintptr_t depth = (uintptr_t)arg;
	struct timespec ts = { 0, 100000 };
	struct upcall_fork f[2];
	int i;

	for (i = 0; depth && i < 2; i++)
		CHECK_INT(upcall_spawn(&f[i], sleeps, (void *)(depth - 1)), 0);
	nanosleep(&ts, NULL);
	while (i--)
		CHECK_INT(upcall_sync(&f[i]), 0);
}

static int owners_block(void)
{
	struct upcall_fork f;

	with_delays(20, false);
	rt_start_opts((struct upcall_opts){ .vcores = 2, .slice_ns = SLICE_NS });
	CHECK_INT(upcall_spawn(&f, sleeps, (void *)7), 0);
	stress(5);
	CHECK_INT(upcall_sync(&f), 0);
	rt_stop();
	return 0;
}

/* ---- held open ---- */

static struct upcall_fork held;
static atomic_int in_task, released;
static uint64_t held_result;

static void held_task(void *arg)
{
	atomic_store(&in_task, 1);
	AWAIT(atomic_load(&released), upcall_yield());
	rt_spin_ns(2 * MS);
	held_result = 7;
}

static int releases(unsigned nr, const char *name, void *arg)
{
	if (!strcmp(name, "fork_sync_taken"))
		atomic_store(&released, 1);
	return 0;
}

/* Who waits is not woken before the result is there. */
static int result_before_the_wake(void)
{
	rt_need_cpus(2);
	up_inject_set_hook(releases, NULL);
	rt_start(2);
	CHECK_INT(upcall_spawn(&held, held_task, NULL), 0);
	AWAIT(atomic_load(&in_task), );
	CHECK_INT(upcall_sync(&held), 0);
	CHECK_INT(held_result, 7);
	rt_stop();
	return 0;
}

/* ---- refused ---- */

/* Whatever is refused for good, the results are the same, if not as fast. */
static int refused(const char *point)
{
	plan.fails = point;
	CHECK(up_inject_find(point) >= 0);
	up_inject_set_hook(on_point, NULL);
	rt_start(2);
	stress(5);
	CHECK(atomic_load(&plan.failed));
	rt_stop();
	return 0;
}

static int refused_arrays(void)
{
	return refused("fork_array");
}

static int refused_chunks(void)
{
	return refused("fork_chunk");
}

static int refused_workers(void)
{
	return refused("fork_worker");
}

static void *opens_many(void *arg)
{
	struct upcall_fork f[200];
	unsigned ones[200] = { 0 };
	int i;

	for (i = 0; i < 200; i++)
		CHECK_INT(upcall_spawn(&f[i], add_one, &ones[i]), 0);
	while (i--) {
		CHECK_INT(upcall_sync(&f[i]), 0);
		CHECK_INT(ones[i], 1);
	}
	return arg;
}

/* A deque that may not grow: what does not fit is run at once. */
static int refused_growth(void)
{
	up_inject_set_hook(on_point, NULL);
	rt_start(2);
	fib_check(10); /* it has its first array */
	plan.fails = "fork_array";
	opens_many(NULL);
	CHECK(atomic_load(&plan.failed));
	plan.fails = NULL;
	opens_many(NULL);
	rt_stop();
	return 0;
}

static const struct apart cases[] = {
	CASE("delays everywhere, slices of 100 us, 1 vcore", stressed_1),
	CASE("delays everywhere, slices of 100 us, 2 vcores", stressed_2),
	CASE("the same without membarrier()", stressed_fenced),
	CASE("delays at every other point", stressed_slowly),
	CASE("cores go and come", cores_go_and_come),
	CASE("owners and tasks block", owners_block),
	CASE("who waits comes back with the result", result_before_the_wake),
	CASE("no memory for deques", refused_arrays),
	CASE("no memory for chunks of them", refused_chunks),
	CASE("no workers", refused_workers),
	CASE("no room in a deque", refused_growth),
};

APART_MAIN(cases)
