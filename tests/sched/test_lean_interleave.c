/* SPDX-License-Identifier: MIT */
/*
 * The real code of a lock that leans, in every order of the steps of three callers and of what their
 * store buffers let out: one at a time is in it, what one has written the next one reads, and nobody
 * sleeps for ever; whoever it leans towards, also while one that it leant towards before is still between
 * its two looks.
 */
#include "explore.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/lean.h"

#define ID 7u

static struct {
	struct up_lean l;
	uint32_t seat[3];
	uint32_t count;	   /* what the lock guards */
	unsigned times[3]; /* each is to be in it */
	unsigned owner;	   /* at first; 3: nobody */
	uint32_t after;
	unsigned done;	      /* callers that are through */
	unsigned leant, free; /* over all runs: taken up, and gone in without the lock */
} s;

/* ---- what stands in for base/lock.c and for Linux ---- */

void up_lock_take_slowly(struct up_lock *l)
{
	uint32_t was;

	do {
		explore_wait_while(&l->word, 1);
		was = 0;
	} while (!up_cas_acquire(&l->word, &was, 1));
}

void up_lock_wake(struct up_lock *l)
{
	abort();
}

int up_lock_sleep(uint32_t *word, uint32_t expected, uint64_t deadline_ns)
{
	explore_sleep_if(word, expected);
	return 0;
}

void up_lock_rouse(uint32_t *word)
{
	explore_wake(word);
}

/* ---- callers ---- */

static void caller(unsigned me)
{
	uint32_t *seat = me < 3 ? &s.seat[me] : NULL, now;
	unsigned i;

	for (i = 0; i < s.times[me]; i++) {
		up_lean_enter(&s.l, seat);
		s.free += *seat != 0;
		now = up_load_relaxed(&s.count);
		up_store_relaxed(&s.count, now + 1);
		up_lean_leave(&s.l, seat);
		s.leant += s.l.owner == seat;
	}
	s.done++;
}

static void first(void *arg)
{
	caller(0);
}

static void second(void *arg)
{
	caller(1);
}

static void third(void *arg)
{
	caller(2);
}

static void reset(void *arg)
{
	up_lean_init(&s.l, ID, s.after);
	memset(s.seat, 0, sizeof(s.seat));
	s.count = s.done = 0;
	if (s.owner < 3)
		s.l.owner = s.l.last = &s.seat[s.owner];
}

static const char *judge(void *arg)
{
	if (s.done != (unsigned)!!s.times[0] + !!s.times[1] + !!s.times[2])
		return "one sleeps for ever";
	if (s.count != s.times[0] + s.times[1] + s.times[2])
		return "two were in it at once";
	if (s.seat[0] || s.seat[1] || s.seat[2])
		return "one has left a word in its seat";
	return NULL;
}

static void explore(unsigned owner, uint32_t after, unsigned a, unsigned b, unsigned c)
{
	struct explore e = {
		.reset = reset,
		.thread = { first, second, c ? third : NULL },
		.judge = judge,
		.watch = { &s.l.owner, &s.l.lock.word, &s.count, &s.seat[0], &s.seat[1],
			   &s.seat[2] },
		.nr_watch = 6,
	};
	struct explore_result res;

	s.owner = owner;
	s.after = after;
	s.times[0] = a;
	s.times[1] = b;
	s.times[2] = c;
	explore_all(&e, &res);
	print_message("# leans to %u, after %u, %u, %u and %u times: %llu states, %llu runs\n",
		      owner, after, a, b, c, (unsigned long long)res.states,
		      (unsigned long long)res.runs);
	if (res.bad)
		fail_msg("%s: %s", res.bad, res.trace);
	assert_true(res.states > 50);
}

#define NEVER UINT32_MAX

static void one_comes_while_it_leans(void **state)
{
	explore(0, NEVER, 1, 1, 0);
	explore(0, NEVER, 2, 1, 0);
	explore(0, NEVER, 1, 2, 0);
}

static void two_come_while_it_leans(void **state)
{
	explore(0, NEVER, 1, 1, 1);
	explore(0, NEVER, 2, 1, 1);
}

static void it_begins_to_lean(void **state)
{
	s.leant = s.free = 0;
	explore(3, 1, 3, 1, 0);
	explore(3, 1, 3, 2, 0);
	explore(3, 1, 2, 2, 1);
	assert_true(s.leant && s.free);
}

/* The one that it leans towards next must not rely on anything that the last one may still write. */
static void it_leans_towards_another(void **state)
{
	explore(0, 1, 1, 3, 0);
	explore(0, 1, 1, 3, 1);
	explore(0, 1, 2, 2, 1);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(one_comes_while_it_leans),
	cmocka_unit_test(two_come_while_it_leans),
	cmocka_unit_test(it_begins_to_lean),
	cmocka_unit_test(it_leans_towards_another),
};

UNIT_MAIN(tests)
