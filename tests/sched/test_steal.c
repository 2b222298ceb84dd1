/* SPDX-License-Identifier: MIT */
/*
 * The default scheduler by itself, on uthreads that are no more than their words: who is picked, in
 * which order, from where; and that several at once lose nobody and have nobody twice.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fence.h"
#include "several.h"

#define S upcall_sched_steal

static uint32_t seats[SEVERAL_THREADS];
static __thread uint32_t *own_seat; /* NULL: it has none */
static int cpu_of[SEVERAL_THREADS] = { -1, -1, -1 };

uint32_t *__wrap_upcall_sched_own_word(void);
int __wrap_upcall_vcore_cpu(unsigned vcore);

uint32_t *__wrap_upcall_sched_own_word(void)
{
	return own_seat;
}

int __wrap_upcall_vcore_cpu(unsigned vcore)
{
	return cpu_of[vcore];
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
	       "one alone is taken out once, where it lies");
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

/* Vcore 1 has no core, or else; vcore 0 has always something of its own, of this priority. */
static void abandoned_served(int8_t prio, const char *who)
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
	tap_ok(found, "what lies with a vcore %s is served beside priority %d (%u picks)", who,
	       prio, i);
	S.fini();
}

/* Vcore 1 has a core, but picks nothing: it runs one that neither ends nor waits. */
static void stuck_served(void)
{
	cpu_of[1] = 0;
	abandoned_served(0, "that is stuck");
	cpu_of[1] = -1;
}

static unsigned cross(unsigned nr, uint64_t until, uint64_t *ret_picks)
{
	unsigned last[4] = { 0, 0, 1, 1 }, i, v, crossed = 0;
	struct upcall_uthread *u;

	begin(2);
	cpu_of[0] = cpu_of[1] = 0;
	for (i = 0; i < nr; i++)
		S.ready(at(i), i / 2, UPCALL_NEW);
	for (*ret_picks = 0; up_now_ns() < until; *ret_picks += 200)
		for (i = 0; i < 200; i++) {
			v = i % 2;
			u = S.pick(v);
			crossed += last[number(u)] != v;
			last[number(u)] = v;
			S.ready(u, v, UPCALL_YIELDED);
		}
	cpu_of[0] = cpu_of[1] = -1;
	S.fini();
	return crossed;
}

/* Vcores that have as much to do as each other hardly take it from each other; where one has more, each
 * has its turn there. */
static void left_alone(void)
{
	uint64_t from = up_now_ns(), picks;
	unsigned crossed = cross(4, from + 200 * UP_NSEC_PER_MSEC, &picks);
	uint64_t most = 2 * ((up_now_ns() - from) / (20 * UP_NSEC_PER_MSEC) + 1);

	/* Each that is taken may be stolen back, so that the other has as many. */
	tap_ok(crossed <= 2 * most && crossed < picks / 100,
	       "who picks its own keeps it (%u of %llu picks did not)", crossed,
	       (unsigned long long)picks);
	crossed = cross(3, up_now_ns() + 200 * UP_NSEC_PER_MSEC, &picks);
	tap_ok(crossed >= 2, "three on two vcores change places now and then (%u times)", crossed);
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

/* ---- a queue that leans towards its vcore's ---- */

#define OWNER_STEPS 2000000u

static struct {
	atomic_uint steps, inside, stolen;
	atomic_bool over;
} lean;

static void has(struct upcall_uthread *u, unsigned vcore)
{
	atomic_fetch_add(&several.picked, 1);
	if (atomic_fetch_add(&several.owned[number(u)], 1))
		atomic_fetch_add(&several.twice, 1);
	atomic_fetch_sub(&several.owned[number(u)], 1);
	S.ready(u, vcore, UPCALL_YIELDED);
}

static void *owns(void *arg)
{
	struct upcall_uthread *u;
	unsigned i;

	own_seat = &seats[0];
	for (i = 0; i < OWNER_STEPS; i++) {
		u = i % 4 ? S.pick(0) : at(i / 4 % SEVERAL_ITEMS);
		if (u && (i % 4 || S.take(u, 0)))
			has(u, 0);
		atomic_store_explicit(&lean.steps, i, memory_order_relaxed);
	}
	atomic_store(&lean.over, true);
	return NULL;
}

/* Comes when the owner has been alone for a while, and gives back what it has taken. */
static void *robs(void *arg)
{
	unsigned v = (unsigned)(uintptr_t)arg, random = v, from, i;
	struct upcall_uthread *u;

	own_seat = &seats[v];
	while (!atomic_load(&lean.over)) {
		random = random * 1664525u + 1013904223u;
		from = atomic_load(&lean.steps);
		while (atomic_load(&lean.steps) - from < random >> 18 && !atomic_load(&lean.over))
			if (__atomic_load_n(&seats[0], __ATOMIC_RELAXED))
				atomic_fetch_add(&lean.inside, 1);
		for (i = 0; i < 1 + (random >> 8) % 16; i++) {
			u = S.pick(v);
			atomic_fetch_add(&lean.stolen, !!u);
			if (u)
				has(u, 0);
		}
	}
	return NULL;
}

static void one_at_ease(void)
{
	pthread_t t[SEVERAL_THREADS];
	uintptr_t i;
	unsigned left = 0;

	begin(SEVERAL_THREADS);
	atomic_store(&several.twice, 0);
	atomic_store(&several.picked, 0);
	for (i = 0; i < SEVERAL_ITEMS; i++)
		S.ready(at((unsigned)i), 0, UPCALL_NEW);
	for (i = 0; i < SEVERAL_THREADS; i++)
		if (pthread_create(&t[i], NULL, i ? robs : owns, (void *)i))
			abort();
	for (i = 0; i < SEVERAL_THREADS; i++)
		pthread_join(t[i], NULL);
	while (S.pick(0))
		left++;
	tap_ok(!atomic_load(&several.twice) && left == SEVERAL_ITEMS,
	       "one at ease, two who rob it: %u had twice, %u of %u left, %u picks, %u robbed",
	       atomic_load(&several.twice), left, SEVERAL_ITEMS, atomic_load(&several.picked),
	       atomic_load(&lean.stolen));
	if (up_fence_all_init())
		tap_ok(atomic_load(&lean.inside) && atomic_load(&lean.stolen),
		       "... its queue leans towards it");
	else
		tap_skip("its queue leans towards it", "membarrier() is not offered");
	S.fini();
}

int main(void)
{
	tap_plan(24);
	in_order();
	taken_out();
	by_priority();
	none_starves();
	none_before_rare();
	none_before_rare_elsewhere();
	none_starves_here();
	abandoned_served(0, "without a core");
	abandoned_served(1, "without a core");
	stuck_served();
	left_alone();
	stolen();
	by_several(false);
	by_several(true);
	one_at_ease();
	return tap_done();
}
