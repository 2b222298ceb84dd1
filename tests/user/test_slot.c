/* SPDX-License-Identifier: MIT */
/*
 * Slots: a uthread's handle says which one it has.  However many activations take turns, those that are
 * in use and the few of each vcore are all that are made.
 */
#include "rt.h"

#include <stdlib.h>

#include "announced.h"

#define ROUNDS	 60
#define SLEEPERS 24
#define CHILDREN 12
#define MOST	 (SLEEPERS * (CHILDREN + 1))

static struct upcall_uthread *seen[ROUNDS * MOST];
static atomic_uint nr_seen;

static struct upcall_uthread *make(void *(*fn)(void *), void *arg)
{
	struct upcall_uthread *u = rt_make(fn, arg);

	seen[atomic_fetch_add(&nr_seen, 1)] = u;
	return u;
}

static void *nothing(void *arg)
{
	return arg;
}

static void *sleeper(void *arg)
{
	struct upcall_uthread *u[CHILDREN];
	unsigned i;

	announced_sleep_ns(100000 + (uintptr_t)arg % 7 * 50000);
	for (i = 0; i < CHILDREN; i++)
		u[i] = make(nothing, NULL);
	for (i = 0; i < CHILDREN; i++)
		rt_join(u[i]);
	return arg;
}

static int by_address(const void *a, const void *b)
{
	uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return x < y ? -1 : x > y;
}

static unsigned nr_distinct(void)
{
	unsigned i, nr = 0;

	qsort(seen, nr_seen, sizeof(seen[0]), by_address);
	for (i = 0; i < nr_seen; i++)
		nr += !i || seen[i] != seen[i - 1];
	return nr;
}

static int they_go_round(void)
{
	struct upcall_uthread *u[SLEEPERS];
	uintptr_t i, round;

	rt_start(1);
	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < SLEEPERS; i++)
			u[i] = make(sleeper, (void *)i);
		for (i = 0; i < SLEEPERS; i++)
			rt_join(u[i]);
	}
	rt_stop();
	/* All that live at once, and what two cells hold: seen are 80, and 700 where all keep theirs. */
	CHECK(nr_distinct() <= MOST + 2 * 64);
	return 0;
}

static const struct apart cases[] = {
	CASE("slots go round among activations", they_go_round),
};

APART_MAIN(cases)
