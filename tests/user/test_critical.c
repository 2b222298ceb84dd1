/* SPDX-License-Identifier: MIT */
/*
 * Critical sections, by the flag and by ranges: a preempted holder goes on to the section's end
 * first, nested, and when its core itself is taken in the middle, again and again.
 */
#include "rt.h"

static atomic_uint others_ran;
static atomic_int stop_it;

/* Anybody else who gets a turn. */
static void *other(void *arg)
{
	while (!atomic_load(&stop_it)) {
		atomic_fetch_add(&others_ran, 1);
		upcall_yield();
	}
	return NULL;
}

static struct upcall_uthread *beside;

static void start_beside(unsigned vcores)
{
	rt_start_opts((struct upcall_opts){ .vcores = vcores, .slice_ns = 1 * MS });
	beside = rt_make(other, NULL);
	AWAIT(atomic_load(&others_ran), upcall_yield());
}

static void stop_beside(void)
{
	atomic_store(&stop_it, 1);
	rt_join(beside);
	rt_stop();
}

/* Without a section the slice ends the turn; within, it does so at the end. */
static int holder_goes_on(void)
{
	struct upcall_stats was;
	unsigned before;

	start_beside(1);
	before = atomic_load(&others_ran);
	AWAIT(atomic_load(&others_ran) != before, );
	upcall_critical_enter();
	before = atomic_load(&others_ran);
	was = rt_stats();
	AWAIT(rt_stats().deferred > was.deferred, );
	rt_spin_ns(20 * MS);
	CHECK_INT(atomic_load(&others_ran), before);
	upcall_critical_leave();
	CHECK(atomic_load(&others_ran) != before); /* it gave way right there */
	stop_beside();
	return 0;
}

static int sections_nest(void)
{
	struct upcall_stats was;
	unsigned before;

	start_beside(1);
	upcall_critical_enter();
	upcall_critical_enter();
	before = atomic_load(&others_ran);
	was = rt_stats();
	AWAIT(rt_stats().deferred > was.deferred, );
	upcall_critical_leave();
	rt_spin_ns(5 * MS);
	CHECK_INT(atomic_load(&others_ran), before);
	upcall_critical_leave();
	CHECK(atomic_load(&others_ran) != before);
	stop_beside();
	return 0;
}

static unsigned section_word;

/* A section of some thousand instructions; what it counts is written at its end. */
static void range_section(unsigned turns)
{
	unsigned left = turns;

	UPCALL_CS_ASM("1:\n\t"
		      "decl %0\n\t"
		      "jnz 1b\n\t"
		      "incl %1",
		      : "+r"(left), "+m"(section_word)
		      :
		      : "cc");
}

static int range_goes_on(void)
{
	uint64_t deferred;
	unsigned i;

	start_beside(1);
	CHECK_INT(upcall_critical_register(UPCALL_CS_TABLE), 0);
	deferred = rt_stats().deferred;
	for (i = 0; rt_stats().deferred < deferred + 20; i++) {
		unsigned before = atomic_load(&others_ran);
		uint64_t was = rt_stats().deferred;

		/* Some milliseconds: a slice ends within. */
		range_section(20000000);
		CHECK_INT(section_word, i + 1);
		CHECK(i < 2000);
		/* Put off means: nobody else until its end, then at once. */
		if (rt_stats().deferred > was)
			CHECK(atomic_load(&others_ran) != before);
	}
	stop_beside();
	return 0;
}

/* Each section runs whole before anybody else runs: the word says how deep we are. */
static atomic_int inside, torn;

static void *look_inside(void *arg)
{
	while (!atomic_load(&stop_it)) {
		if (atomic_load(&inside))
			atomic_fetch_add(&torn, 1);
		atomic_fetch_add(&others_ran, 1);
		upcall_yield();
	}
	return NULL;
}

/*
 * The core is taken in the middle, at once and by force: the holder is continued first by whoever
 * has a core next, before anybody else, and that again and again within one section.
 */
static int taken_in_the_middle(void)
{
	struct upcall_stats st;
	unsigned round, before;

	rt_start_opts((struct upcall_opts){ .vcores = 1, .slice_ns = 1 * MS });
	beside = rt_make(look_inside, NULL);
	AWAIT(atomic_load(&others_ran), upcall_yield());
	for (round = 0; round < 10; round++) {
		unsigned takes;

		upcall_critical_enter();
		atomic_store(&inside, 1);
		before = atomic_load(&others_ran);
		for (takes = 1; takes <= 3; takes++) {
			uint64_t was = rt_stats().preempts;

			CHECK_INT(upcall_preempt(upcall_vcore_id(), 0), 0);
			AWAIT(rt_stats().preempts > was, );
		}
		CHECK_INT(atomic_load(&others_ran), before);
		atomic_store(&inside, 0);
		upcall_critical_leave();
	}
	CHECK_INT(atomic_load(&torn), 0);
	st = rt_stats();
	CHECK(st.preempts >= 30);
	stop_beside();
	return 0;
}

static atomic_uint loops[2];

static atomic_int holder_on = -1;
static atomic_bool section_over;

static void *holds_for_long(void *arg)
{
	upcall_critical_enter();
	atomic_store(&holder_on, upcall_vcore_id());
	rt_spin_ns(50 * MS);
	/* What is waited for; at the section's end we give way. */
	atomic_store(&section_over, true);
	upcall_critical_leave();
	return arg;
}

/* Takes the holder's core for good, and then needs what the holder is at. */
static void *takes_and_waits(void *arg)
{
	AWAIT(atomic_load(&holder_on) >= 0, );
	CHECK_INT(upcall_request(1, 1), 0);
	CHECK_INT(upcall_preempt(atomic_load(&holder_on), 0), 0);
	while (!atomic_load(&section_over))
		;
	return arg;
}

/* No slice ends the turn of the one that waits. */
static int goes_before_ones_own(void)
{
	struct upcall_opts o = { .vcores = 2, .no_slice = true };
	struct upcall_uthread *holder, *waits;
	unsigned i;

	rt_need_cpus(2);
	rt_start_opts(o);
	for (i = 0; i < 5; i++) {
		atomic_store(&holder_on, -1);
		atomic_store(&section_over, false);
		CHECK_INT(upcall_request(2, 1), 0);
		holder = rt_make(holds_for_long, &o);
		waits = rt_make(takes_and_waits, &o);
		rt_join(holder);
		rt_join(waits);
	}
	rt_stop();
	return 0;
}

/* Two holders, two vcores, cores taken from both over and over; each counts whole sections. */
static void *hold_and_lose(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg, i;
	volatile unsigned a = 0, b = 0;

	for (i = 0; i < 150; i++) {
		upcall_critical_enter();
		upcall_critical_enter();
		a++;
		(void)upcall_preempt((int)(i % 2), i % 3 ? 0 : 100000);
		rt_spin_ns(50000);
		b++;
		upcall_critical_leave();
		upcall_critical_leave();
		CHECK_INT(a, b);
		atomic_fetch_add(&loops[me], 1);
	}
	return NULL;
}

static int stacked_up(unsigned vcores)
{
	struct upcall_uthread *u[2];

	start_beside(vcores);
	u[0] = rt_make(hold_and_lose, (void *)0);
	u[1] = rt_make(hold_and_lose, (void *)1);
	rt_join(u[0]);
	rt_join(u[1]);
	CHECK_INT(atomic_load(&loops[0]) + atomic_load(&loops[1]), 300);
	CHECK(rt_stats().preempts);
	stop_beside();
	return 0;
}

static int stacked_up_1(void)
{
	return stacked_up(1);
}

static int stacked_up_2(void)
{
	return stacked_up(2);
}

/* A section survives a block in the kernel inside it, with its depth. */
static int block_inside(void)
{
	unsigned before;

	start_beside(1);
	upcall_critical_enter();
	announced_sleep_ns(5 * MS);
	before = atomic_load(&others_ran);
	rt_spin_ns(20 * MS);
	CHECK_INT(atomic_load(&others_ran), before);
	upcall_critical_leave();
	AWAIT(atomic_load(&others_ran) != before, );
	stop_beside();
	return 0;
}

static const struct apart cases[] = {
	CASE("a preempted holder goes on to the section's end", holder_goes_on),
	CASE("sections nest", sections_nest),
	CASE("a range goes on to its end in its second copy", range_goes_on),
	CASE("a core taken in the middle: the holder first", taken_in_the_middle),
	CASE("... and before whoever runs on another vcore", goes_before_ones_own),
	CASE("holders that lose their cores again and again, 1 vcore", stacked_up_1),
	CASE("holders that lose their cores again and again, 2 vcores", stacked_up_2),
	CASE("a section outlives a block inside it", block_inside),
};

APART_MAIN(cases)
