/* SPDX-License-Identifier: MIT */
/*
 * Two schedulers in one process at once, for real: uthreads of both, which wait for each other, change
 * sides, are cut off by their slices, and block in the kernel; each child sees its own only.
 */
#include <string.h>

#include "apart.h"
#include "base/atomic.h"
#include "upcall/upcall.h"

#define WORKERS 16u

static const struct upcall_sched_child two[] = { { &upcall_sched_steal, 3 },
						 { &upcall_sched_fifo, 1 } };
static unsigned long done[2];
static bool over;

static void start(unsigned vcores)
{
	static struct upcall_sched_ops both;
	struct upcall_opts opts = {
		.size = sizeof(opts), .vcores = vcores, .slice_ns = 1000000, .sched = &both
	};

	CHECK_INT(upcall_sched_share(&both, two, 2), 0);
	CHECK_INT(upcall_start(&opts), 0);
}

/* Takes turns for ever, and counts those of its side. */
static void *yielder(void *arg)
{
	while (!up_load_relaxed(&over)) {
		up_fetch_add_relaxed(&done[(uintptr_t)arg], 1);
		upcall_yield();
	}
	return NULL;
}

/* Makes some, which inherit its side. */
static void *maker(void *arg)
{
	struct upcall_uthread *u[4];
	unsigned i;

	for (i = 0; i < 4; i++)
		CHECK_INT(upcall_uthread_create(&u[i], NULL, yielder, arg), 0);
	for (i = 0; i < 4; i++)
		CHECK_INT(upcall_uthread_join(u[i], NULL), 0);
	return NULL;
}

static int shares(void)
{
	struct upcall_uthread *u[2];
	double ratio;

	start(1);
	for (uintptr_t i = 0; i < 2; i++) {
		CHECK_INT(upcall_uthread_create(&u[i], NULL, maker, (void *)i), 0);
		CHECK_INT(upcall_sched_assign(u[i], (unsigned)i), 0);
	}
	/* Both makers come to their place, and make theirs there. */
	while (up_load_relaxed(&done[0]) < 1000 || up_load_relaxed(&done[1]) < 1000)
		upcall_yield();
	up_store_relaxed(&done[0], 0);
	up_store_relaxed(&done[1], 0);
	while (up_load_relaxed(&done[0]) + up_load_relaxed(&done[1]) < 100000)
		upcall_yield();
	ratio = (double)up_load_relaxed(&done[0]) / (double)up_load_relaxed(&done[1]);
	dprintf(2, "# turns 3 to 1: %.2f\n", ratio);
	/* Of the first child's five one is uthread 0, which counts nothing: 12 to 5. */
	CHECK(ratio > 2.2 && ratio < 2.6);
	up_store_relaxed(&over, true);
	CHECK_INT(upcall_uthread_join(u[0], NULL), 0);
	CHECK_INT(upcall_uthread_join(u[1], NULL), 0);
	return upcall_stop();
}

static unsigned long sum;

/* Computes, yields, sleeps in the kernel, changes sides. */
static void *worker(void *arg)
{
	unsigned long random = (unsigned long)arg + 1;
	volatile unsigned spin;
	unsigned i;

	for (i = 0; i < 200; i++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		switch (random >> 61) {
		case 0:
			CHECK_INT(upcall_sched_assign(upcall_uthread_self(), random >> 40 & 1), 0);
			break;
		case 1:
			CHECK_INT(usleep(200), 0);
			break;
		case 2:
		case 3:
			for (spin = 0; spin < 100000; spin++)
				;
			break;
		default:
			CHECK_INT(upcall_yield(), 0);
		}
		up_fetch_add_relaxed(&sum, 1);
	}
	return NULL;
}

static int mixed(void)
{
	struct upcall_uthread *u[WORKERS];

	start(0);
	for (uintptr_t i = 0; i < WORKERS; i++) {
		CHECK_INT(upcall_uthread_create(&u[i], NULL, worker, (void *)i), 0);
		CHECK_INT(upcall_sched_assign(u[i], i & 1), 0);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		CHECK_INT(upcall_uthread_join(u[i], NULL), 0);
	CHECK_INT(sum, WORKERS * 200);
	return upcall_stop();
}

static int again(void)
{
	struct upcall_opts opts = { .size = sizeof(opts), .vcores = 1 };

	start(1);
	CHECK_INT(upcall_stop(), 0);
	CHECK_INT(upcall_start(&opts), 0);
	CHECK_INT(upcall_sched_assign(upcall_uthread_self(), 0), -ENOTCONN);
	CHECK_INT(upcall_stop(), 0);
	start(1);
	CHECK_INT(upcall_sched_assign(upcall_uthread_self(), 1), 0);
	CHECK_INT(upcall_yield(), 0);
	return upcall_stop();
}

static const struct apart cases[] = {
	CASE("turns are divided by weight, and who is made inherits its maker's side", shares),
	CASE("uthreads of both compute, sleep, yield and change sides", mixed),
	CASE("one run with them, one without, and one with them", again),
};
APART_MAIN(cases)
