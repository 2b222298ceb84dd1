/* SPDX-License-Identifier: MIT */
/*
 * A lock that leans, on real cores: one caller takes it again and again, two others now and then, and
 * what it guards has no atomic access; with membarrier(), without, and where that is refused later.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/clock.h"
#include "base/fence.h"
#include "base/inject.h"
#include "base/lean.h"
#include "tap.h"

#define OTHERS 2u
#define AFTER  64u
#define STEPS  4000000u

static struct {
	struct up_lean l;
	uint64_t count UP_CACHE_ALIGNED, copy; /* what it guards: equal but for within */
	struct {
		uint32_t seat;
		uint64_t times, free, leant;
	} by[OTHERS + 1] __attribute__((aligned(128)));
	atomic_uint torn;
	atomic_bool over;
	bool dwells; /* others stay in it for a while: the owner has to sleep for them */
} s;

static void once(unsigned me)
{
	uint32_t *seat = &s.by[me].seat;
	volatile uint64_t *count = &s.count, *copy = &s.copy;
	unsigned i;

	up_lean_enter(&s.l, seat);
	s.by[me].free += *seat != 0;
	if (*count != *copy)
		atomic_fetch_add(&s.torn, 1);
	*count = *count + 1;
	for (i = 0; s.dwells && i < 20000; i++)
		up_compiler_barrier();
	*copy = *copy + 1;
	s.by[me].leant += s.l.owner == seat && !*seat;
	up_lean_leave(&s.l, seat);
	s.by[me].times++;
}

/* Each a few times in a row, then not for a while, by random. */
static void *other(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg, random = me, i;

	while (!atomic_load(&s.over)) {
		random = random * 1664525u + 1013904223u;
		for (i = 0; i <= random >> 30; i++)
			once(me);
		/* Once in a while so often that it leans towards this one. */
		for (i = 0; !(random >> 20 & 63) && i < 2 * AFTER; i++)
			once(me);
		for (i = 0; i < (random >> 16) % 2048; i++)
			up_cpu_relax();
	}
	return NULL;
}

static void several(unsigned steps, uint32_t after, const char *what)
{
	pthread_t t[OTHERS];
	uint64_t times = 0, free = 0, leant = 0;
	uintptr_t i;

	memset(&s.by, 0, sizeof(s.by));
	s.count = s.copy = 0;
	atomic_store(&s.torn, 0);
	atomic_store(&s.over, false);
	up_lean_init(&s.l, 1, after);
	for (i = 0; i < OTHERS; i++)
		if (pthread_create(&t[i], NULL, other, (void *)(i + 1)))
			abort();
	for (i = 0; i < steps; i++)
		once(0);
	atomic_store(&s.over, true);
	for (i = 0; i < OTHERS; i++)
		pthread_join(t[i], NULL);
	for (i = 0; i <= OTHERS; i++) {
		times += s.by[i].times;
		free += s.by[i].free;
		leant += s.by[i].leant;
	}
	tap_ok(times == s.count && times == s.copy && !atomic_load(&s.torn),
	       "%s: one at a time is in it (%llu times, %u torn)", what, (unsigned long long)times,
	       atomic_load(&s.torn));
	tap_ok(after ? leant > 10 && free > leant && free < times : !free && !leant,
	       "... it leans as it should (%llu times, %llu without the lock)",
	       (unsigned long long)leant, (unsigned long long)free);
}

static long no_membarrier(uintptr_t site, long nr, long a, long b)
{
	return nr == SYS_membarrier ? -EPERM : 0;
}

/* It leans towards the first when the fence is refused: who comes gets it all the same, and it is a
 * lock for ever. */
static void refused_later(void)
{
	unsigned i;

	memset(&s.by, 0, sizeof(s.by));
	up_lean_init(&s.l, 1, AFTER);
	for (i = 0; i < 2 * AFTER; i++)
		once(0);
	tap_ok(s.l.owner == &s.by[0].seat, "it leans towards who is alone");
	up_inject_set_syscall_hook(no_membarrier);
	once(1);
	tap_ok(!s.l.owner, "another has it where the fence is refused");
	for (i = 0; i < 4 * AFTER; i++)
		once(0);
	tap_ok(!s.l.owner && s.by[0].free < 2 * AFTER, "... and it leans no more");
	tap_ok(!up_fence_all_init(), "that there is no fence is told at the start");
	up_inject_set_syscall_hook(NULL);
}

static void without_a_seat(void)
{
	unsigned i;

	up_lean_init(&s.l, 1, 1);
	for (i = 0; i < 10; i++) {
		up_lean_enter(&s.l, NULL);
		up_lean_leave(&s.l, NULL);
	}
	tap_ok(!s.l.owner && !s.l.lock.word, "it is a lock for who has no seat");
}

int main(void)
{
	tap_plan(11);
	without_a_seat();
	several(STEPS, 0, "it never leans");
	if (!up_fence_all_init()) {
		for (unsigned i = 0; i < 8; i++)
			tap_skip("it leans", "membarrier() is not offered");
		return tap_done();
	}
	several(STEPS, AFTER, "it leans");
	s.dwells = true;
	several(STEPS / 200, AFTER, "it is dwelt in");
	s.dwells = false;
	refused_later();
	return tap_done();
}
