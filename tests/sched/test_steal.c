/* SPDX-License-Identifier: MIT */
/*
 * The default scheduler by itself, on uthreads that are no more than their words: who is picked, in
 * which order, from where; and that several at once lose nobody and have nobody twice.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "several.h"

#define S upcall_sched_steal

static void begin(unsigned vcores)
{
	memset(pool, 0, sizeof(pool));
	if (S.init(vcores))
		abort();
}

static void in_order(void)
{
	int i, bad = 0;

	begin(1);
	for (i = 0; i < 20; i++)
		S.ready(at((unsigned)i), 0, UPCALL_NEW);
	for (i = 0; i < 20; i++)
		bad += number(S.pick(0)) != i;
	tap_ok(!bad && !S.pick(0), "first in, first out (%d bad)", bad);
	for (i = 0; i < 5; i++) {
		S.ready(at(0), 0, UPCALL_YIELDED);
		S.ready(at(1), 0, UPCALL_YIELDED);
		bad += number(S.pick(0)) != 0 || number(S.pick(0)) != 1 || S.pick(0);
	}
	tap_ok(!bad, "and when it runs empty in between (%d bad)", bad);
	S.fini();
}

static void taken_out(void)
{
	begin(2);
	S.ready(at(0), 0, UPCALL_NEW);
	tap_ok(!S.take(at(0), 1) && S.take(at(0), 0) && !S.take(at(0), 0) && !S.pick(0),
	       "the youngest is taken out once, where it lies");
	S.ready(at(0), 0, UPCALL_NEW);
	S.ready(at(1), 0, UPCALL_NEW);
	S.ready(at(2), 0, UPCALL_NEW);
	tap_ok(S.take(at(1), 0) && !S.take(at(1), 0) && number(S.pick(0)) == 0 &&
		       number(S.pick(0)) == 2 && !S.pick(0),
	       "one in the middle is taken out, the others stay in order");
	tap_ok(!S.take(at(2), 0) && !S.take(at(5), 0), "one that is not queued is not taken");
	S.fini();
}

static void by_priority(void)
{
	unsigned i;

	begin(2);
	for (i = 0; i < 3; i++)
		pool[i].prio = (int8_t)(i - 1);
	tap_ok(S.rank() == INT_MIN, "nothing ready has no rank");
	for (i = 0; i < 3; i++)
		S.ready(at(i), 0, UPCALL_NEW);
	tap_ok(S.rank() == 1, "the rank is the highest's");
	tap_ok(number(S.pick(0)) == 2 && number(S.pick(0)) == 1 && number(S.pick(0)) == 0,
	       "the highest is picked first");
	S.ready(at(1), 0, UPCALL_NEW);
	S.ready(at(2), 1, UPCALL_NEW);
	tap_ok(number(S.pick(0)) == 2 && number(S.pick(0)) == 1,
	       "from another vcore's queue too, before one's own");
	S.fini();
}

/* The lower ones have their turn, each of them. */
static void none_starves(void)
{
	unsigned turns[4] = { 0 }, i;
	struct upcall_uthread *u;

	begin(1);
	pool[0].prio = pool[1].prio = 3;
	pool[2].prio = 0;
	pool[3].prio = -3;
	for (i = 0; i < 4; i++)
		S.ready(at(i), 0, UPCALL_NEW);
	for (i = 0; i < 1000; i++) {
		u = S.pick(0);
		turns[number(u)]++;
		S.ready(u, 0, UPCALL_YIELDED);
	}
	tap_ok(turns[2] > 10 && turns[3] > 10 && turns[2] + turns[3] < 200,
	       "the lower ones have a turn now and then (%u and %u of 1000)", turns[2], turns[3]);
	S.fini();
}

/* A high one that leaves the others their time never waits for one of them. */
static void none_before_rare(void)
{
	struct upcall_uthread *u;
	unsigned i, late = 0;

	begin(1);
	pool[0].prio = 2;
	for (i = 1; i < 5; i++)
		S.ready(at(i), 0, UPCALL_NEW);
	for (i = 0; i < 1000; i++) {
		S.ready(at(0), 0, UPCALL_WOKEN);
		late += number(S.pick(0)) != 0;
		u = S.pick(0);
		S.ready(u, 0, UPCALL_PREEMPTED);
	}
	tap_ok(!late, "one that wakes now and then goes first each time (%u times of 1000 late)",
	       late);
	S.fini();
}

/* Nor for one of another vcore's, at whose queue each looks now and then. */
static void none_before_rare_elsewhere(void)
{
	struct upcall_uthread *u;
	unsigned i, v, late = 0;

	begin(2);
	pool[0].prio = 2;
	for (i = 1; i < 12; i++)
		S.ready(at(i), i > 3, UPCALL_NEW);
	for (i = 0; i < 1000; i++) {
		S.ready(at(0), 0, UPCALL_WOKEN);
		late += number(S.pick(0)) != 0;
		for (v = 0; v < 3; v++) {
			u = S.pick(v / 2);
			S.ready(u, v / 2, UPCALL_PREEMPTED);
		}
	}
	tap_ok(!late, "... and before what another vcore has (%u times of 1000 late)", late);
	S.fini();
}

/* Nor does what is queued here while others have higher ones without end. */
static void none_starves_here(void)
{
	unsigned turns = 0, i;
	struct upcall_uthread *u;

	begin(2);
	for (i = 0; i < 4; i++) {
		pool[i].prio = i ? 2 : -1;
		S.ready(at(i), !!i, UPCALL_NEW);
	}
	for (i = 0; i < 1000; i++) {
		u = S.pick(0);
		turns += number(u) == 0;
		S.ready(u, !!number(u), UPCALL_YIELDED);
	}
	tap_ok(turns > 10 && turns < 200,
	       "one's own has a turn beside others' higher ones (%u of 1000)", turns);
	S.fini();
}

/* Vcore 1 has no core; vcore 0 has always something of its own, of this priority. */
static void abandoned_served(int8_t prio)
{
	struct upcall_uthread *u;
	unsigned i;
	bool found = false;

	begin(3);
	for (i = 0; i < 4; i++) {
		pool[i].prio = prio;
		S.ready(at(i), 0, UPCALL_NEW);
	}
	S.ready(at(9), 1, UPCALL_NEW);
	S.ready(at(10), 1, UPCALL_NEW);
	for (i = 0; i < 3000 && !found; i++) {
		u = S.pick(0);
		found = number(u) == 10;
		if (number(u) < 9)
			S.ready(u, 0, UPCALL_YIELDED);
	}
	tap_ok(found,
	       "what lies with a vcore without a core is served beside priority %d (%u picks)",
	       prio, i);
	S.fini();
}

static void stolen(void)
{
	unsigned i, nr = 0;

	begin(2);
	for (i = 0; i < 10; i++)
		S.ready(at(i), 0, UPCALL_NEW);
	tap_ok(number(S.pick(1)) == 0, "a vcore that has nothing takes the other's oldest");
	while (S.pick(0))
		nr++;
	/* 10, less the one that was picked, and what went to vcore 1 with it. */
	tap_ok(nr >= 4 && nr <= 9, "... and leaves it about half (%u)", nr);
	S.fini();
}

/* ---- several at once ---- */

static struct upcall_uthread *get(unsigned vcore, unsigned random)
{
	struct upcall_uthread *u = at((random >> 8) % SEVERAL_ITEMS);

	if (random >> 30)
		return S.pick(vcore);
	return S.take(u, vcore) ? u : NULL;
}

static void by_several(bool ranks)
{
	begin(SEVERAL_THREADS);
	several.get = get;
	several.other = UPCALL_NEW;
	several_at_once(&S, ranks, ranks ? "all priorities" : "one priority");
}

int main(void)
{
	tap_plan(19);
	in_order();
	taken_out();
	by_priority();
	none_starves();
	none_before_rare();
	none_before_rare_elsewhere();
	none_starves_here();
	abandoned_served(0);
	abandoned_served(1);
	stolen();
	by_several(false);
	by_several(true);
	return tap_done();
}
