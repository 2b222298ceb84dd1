/* SPDX-License-Identifier: MIT */
/*
 * The default scheduler by itself, on uthreads that are no more than their words: who is picked, in
 * which order, from where; and that several at once lose nobody and have nobody twice.
 */
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"
#include "user/uthread.h"

#define S upcall_sched_steal

static struct up_uthread pool[64];

static struct upcall_uthread *at(unsigned i)
{
	return (struct upcall_uthread *)&pool[i];
}

static int number(const struct upcall_uthread *u)
{
	return u ? (int)((const struct up_uthread *)u - pool) : -1;
}

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
	tap_ok(!late, "one that wakes now and then goes first each time (%u times of 1000 late)", late);
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

/* Vcore 1 has no core; vcore 0 has always something of its own. */
static void abandoned_served(void)
{
	struct upcall_uthread *u;
	unsigned i;
	bool found = false;

	begin(3);
	for (i = 0; i < 4; i++)
		S.ready(at(i), 0, UPCALL_NEW);
	S.ready(at(9), 1, UPCALL_NEW);
	S.ready(at(10), 1, UPCALL_NEW);
	for (i = 0; i < 3000 && !found; i++) {
		u = S.pick(0);
		found = number(u) == 10;
		if (number(u) < 9)
			S.ready(u, 0, UPCALL_YIELDED);
	}
	tap_ok(found, "what lies with a vcore without a core is served (%u picks)", i);
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

#define ITEMS	64u
#define STEPS	200000u
#define THREADS 3u

static atomic_uint owned[ITEMS];
static atomic_uint twice, picked;

static void *mix(void *arg)
{
	unsigned v = (unsigned)(uintptr_t)arg, random = v + 1, i;
	struct upcall_uthread *u;

	for (i = 0; i < STEPS; i++) {
		random = random * 1664525u + 1013904223u;
		if (random >> 30) {
			u = S.pick(v);
		} else {
			u = at((random >> 8) % ITEMS);
			u = S.take(u, v) ? u : NULL;
		}
		if (!u)
			continue;
		atomic_fetch_add(&picked, 1);
		if (atomic_fetch_add(&owned[number(u)], 1))
			atomic_fetch_add(&twice, 1);
		atomic_fetch_sub(&owned[number(u)], 1);
		S.ready(u, (random >> 20) % THREADS,
			(random >> 16) & 1 ? UPCALL_YIELDED : UPCALL_NEW);
	}
	return NULL;
}

static void several(bool ranks)
{
	pthread_t t[THREADS];
	unsigned i, left = 0;

	begin(THREADS);
	atomic_store(&twice, 0);
	atomic_store(&picked, 0);
	for (i = 0; i < ITEMS; i++) {
		pool[i].prio = (int8_t)(ranks ? (int)(i % 7) - 3 : 0);
		S.ready(at(i), i % THREADS, UPCALL_NEW);
	}
	for (i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, mix, (void *)(uintptr_t)i);
	for (i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	while (S.pick(0))
		left++;
	tap_ok(!atomic_load(&twice) && left == ITEMS && atomic_load(&picked) > STEPS,
	       "three at once, %s: %u had twice, %u of %u left, %u picks",
	       ranks ? "all priorities" : "one priority", atomic_load(&twice), left, ITEMS,
	       atomic_load(&picked));
	S.fini();
}

int main(void)
{
	tap_plan(17);
	in_order();
	taken_out();
	by_priority();
	none_starves();
	none_before_rare();
	none_starves_here();
	abandoned_served();
	stolen();
	several(false);
	several(true);
	return tap_done();
}
