/* SPDX-License-Identifier: MIT */
/*
 * Uthreads that are no more than their words, and a scheduler that several threads use at once on them:
 * none is lost, and none is had by two.
 */
#ifndef UP_TESTS_SCHED_SEVERAL_H
#define UP_TESTS_SCHED_SEVERAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "tap.h"
#include "user/uthread.h"

#define SEVERAL_ITEMS	64u
#define SEVERAL_STEPS	200000u
#define SEVERAL_THREADS 3u

static struct up_uthread pool[SEVERAL_ITEMS];

static inline struct upcall_uthread *at(unsigned i)
{
	return (struct upcall_uthread *)&pool[i];
}

static inline int number(const struct upcall_uthread *u)
{
	return u ? (int)((const struct up_uthread *)u - pool) : -1;
}

static struct {
	const struct upcall_sched_ops *ops;
	/* The caller's next uthread, or NULL, by whichever way the random word says. */
	struct upcall_uthread *(*get)(unsigned vcore, unsigned random);
	enum upcall_why other; /* than UPCALL_YIELDED */
	atomic_uint owned[SEVERAL_ITEMS], twice, picked;
} several;

static void *several_mix(void *arg)
{
	unsigned v = (unsigned)(uintptr_t)arg, random = v + 1, i;
	struct upcall_uthread *u;

	for (i = 0; i < SEVERAL_STEPS; i++) {
		random = random * 1664525u + 1013904223u;
		u = several.get(v, random);
		if (!u)
			continue;
		atomic_fetch_add(&several.picked, 1);
		if (atomic_fetch_add(&several.owned[number(u)], 1))
			atomic_fetch_add(&several.twice, 1);
		atomic_fetch_sub(&several.owned[number(u)], 1);
		several.ops->ready(u, (random >> 20) % SEVERAL_THREADS,
				   (random >> 16) & 1 ? UPCALL_YIELDED : several.other);
	}
	return NULL;
}

/* ops has begun, and is ended; several.get and several.other have been set. */
static inline void several_at_once(const struct upcall_sched_ops *ops, bool ranks, const char *what)
{
	pthread_t t[SEVERAL_THREADS];
	unsigned i, left = 0;

	several.ops = ops;
	atomic_store(&several.twice, 0);
	atomic_store(&several.picked, 0);
	for (i = 0; i < SEVERAL_ITEMS; i++) {
		pool[i].prio = (int8_t)(ranks ? (int)(i % 7) - 3 : 0);
		ops->ready(at(i), i % SEVERAL_THREADS, UPCALL_NEW);
	}
	for (i = 0; i < SEVERAL_THREADS; i++)
		if (pthread_create(&t[i], NULL, several_mix, (void *)(uintptr_t)i))
			abort();
	for (i = 0; i < SEVERAL_THREADS; i++)
		pthread_join(t[i], NULL);
	while (ops->pick(0))
		left++;
	tap_ok(!atomic_load(&several.twice) && left == SEVERAL_ITEMS &&
		       atomic_load(&several.picked) > SEVERAL_STEPS,
	       "three at once, %s: %u had twice, %u of %u left, %u picks", what,
	       atomic_load(&several.twice), left, SEVERAL_ITEMS, atomic_load(&several.picked));
	ops->fini();
}

#endif
