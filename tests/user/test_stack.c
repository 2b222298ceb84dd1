/* SPDX-License-Identifier: MIT */
/*
 * Stacks: pooled, guarded in any number, and named when they run over.
 */
#include "rt.h"

#include <stdlib.h>
#include <sys/mman.h>

#define MANY 40000u

static volatile uintptr_t nowhere;
static atomic_uint down;
static struct upcall_uthread *sleepers[MANY];

static void lie_down(struct upcall_uthread *self, void *arg)
{
	sleepers[(uintptr_t)arg] = self;
	atomic_fetch_add(&down, 1);
}

static void *sleep_deep(void *arg)
{
	CHECK_INT(upcall_block(lie_down, arg), 0);
	return arg;
}

/* More than a guard page each allows: Linux keeps 65,530 mappings, and such a stack takes two. */
static int forty_thousand(void)
{
	struct upcall_uthread_attr attr = { .size = sizeof(attr), .stack_sz = upcall_min_stack() };
	struct upcall_uthread **u = calloc(MANY, sizeof(*u));
	struct upcall_stats st;
	uintptr_t i;

	CHECK(u);
	rt_start(1);
	for (i = 0; i < MANY; i++)
		CHECK_INT(upcall_uthread_create(&u[i], &attr, sleep_deep, (void *)i), 0);
	AWAIT(atomic_load(&down) == MANY, upcall_yield());
	st = rt_stats();
	CHECK_INT(st.uthreads_live, MANY + 1);
	/* Where Linux has guard marks all are guarded; else what is not is counted. */
	if (madvise(NULL, 0, 102 /* MADV_GUARD_INSTALL */) == 0)
		CHECK_INT(st.unguarded_stacks, 0);
	else
		CHECK(st.unguarded_stacks >= MANY - 32760 && st.unguarded_stacks < MANY);
	for (i = 0; i < MANY; i++)
		CHECK_INT(upcall_wake(sleepers[i]), 0);
	for (i = 0; i < MANY; i++)
		CHECK(rt_join(u[i]) == (void *)i);
	CHECK_INT(rt_stats().uthreads_live, 1);
	rt_stop();
	return 0;
}

static void *address(void *arg)
{
	char here;

	return (void *)((uintptr_t)&here & ~(uintptr_t)4095);
}

static int used_again(void)
{
	struct rt_held was, is;
	void *first;
	unsigned i;

	rt_start(1);
	first = rt_join(rt_make(address, NULL));
	was = rt_held();
	for (i = 0; i < 2000; i++)
		CHECK(rt_join(rt_make(address, NULL)) == first);
	is = rt_held();
	/* Activations may have come meanwhile, of some mappings each; 2,000 stacks are as many at least. */
	CHECK(is.maps <= was.maps + 200);
	/* Not VmSize: an activation's first malloc() reserves 64 MiB at any time.  2,000 stacks that
	 * were touched are 8 MiB at the least. */
	CHECK(is.rss_kb <= was.rss_kb + 4096);
	rt_stop();
	return 0;
}

static __attribute__((noinline)) uintptr_t run_over(uintptr_t depth)
{
	volatile char frame[256];

	frame[0] = (char)depth;
	return depth ? run_over(depth + 1) + (uintptr_t)frame[0] : 0;
}

static void *overflow(void *arg)
{
	return (void *)run_over(1);
}

static int overflow_named(void)
{
	struct upcall_uthread_attr attr = { .size = sizeof(attr), .name = "digger" };
	struct upcall_uthread *u;

	rt_start(1);
	CHECK_INT(upcall_uthread_create(&u, &attr, overflow, NULL), 0);
	rt_join(u);
	return 0;
}

/* A fault elsewhere is not taken for one of the stack. */
static void *wild(void *arg)
{
	*(volatile char *)(nowhere + 16) = 1;
	return NULL;
}

static int wild_not_named(void)
{
	rt_start(1);
	rt_join(rt_make(wild, NULL));
	return 0;
}

static void *use_all(void *arg)
{
	size_t room = (size_t)(uintptr_t)arg;
	volatile char *fill = __builtin_alloca(room);
	size_t i;

	for (i = 0; i < room; i += 64)
		fill[i] = 1;
	upcall_yield();
	return (void *)(uintptr_t)fill[64];
}

/* As much as was asked for is there, less what a uthread always needs. */
static int as_large_as_asked(void)
{
	struct upcall_uthread_attr attr = { .size = sizeof(attr) };
	struct upcall_uthread *u;
	size_t sz;

	rt_start(1);
	for (sz = upcall_min_stack() + 4096; sz < 16u << 20; sz *= 3) {
		attr.stack_sz = sz;
		CHECK_INT(upcall_uthread_create(&u, &attr, use_all,
						(void *)(sz - upcall_min_stack())),
			  0);
		CHECK(rt_join(u));
	}
	rt_stop();
	return 0;
}

static void *nap(void *arg)
{
	uint64_t end = apart_now_ns() + 30 * MS;

	while (apart_now_ns() < end)
		;
	return arg;
}

/* The smallest stack holds a preempted uthread. */
static int smallest_is_enough(void)
{
	struct upcall_uthread_attr attr = { .size = sizeof(attr), .stack_sz = upcall_min_stack() };
	struct upcall_uthread *u[4];
	unsigned i;

	rt_start_opts((struct upcall_opts){ .vcores = 1, .slice_ns = 500000 });
	for (i = 0; i < 4; i++)
		CHECK_INT(upcall_uthread_create(&u[i], &attr, nap, &u[i]), 0);
	for (i = 0; i < 4; i++)
		CHECK(rt_join(u[i]) == &u[i]);
	CHECK(rt_stats().notified);
	rt_stop();
	return 0;
}

static const struct apart cases[] = {
	CASE("40,000 uthreads are alive at once", forty_thousand),
	CASE("a stack is used again", used_again),
	CASE("a stack is as large as asked for", as_large_as_asked),
	CASE("the smallest stack holds a preempted uthread", smallest_is_enough),
	CASE_DIES("an overflow names its uthread", overflow_named, SIGSEGV,
		  "upcall: stack overflow in uthread 1 (digger)"),
	{ .name = "a wild pointer is no overflow",
	  .fn = wild_not_named,
	  .sig = SIGSEGV,
	  .silent = "overflow" },
};

APART_MAIN(cases)
