/* SPDX-License-Identifier: MIT */
/*
 * A small explorer of what waits: up to four uthreads run the real code of src/sync and of waiting, over
 * a stand-in for the vcore, in every order of their atomic accesses that has no more than so many
 * preemptions; a deadline may come at any moment at which its alarm is set.  Deterministic; no thread of
 * the system is involved.
 */
#ifndef UP_TESTS_SYNC_EXPLORE_H
#define UP_TESTS_SYNC_EXPLORE_H

#include <stddef.h>
#include <stdint.h>

#include "user/uthread.h"

#define XS_THREADS 4
/* A deadline that comes when the explorer says so. */
#define XS_SOME_TIME (UINT64_MAX - 1)

struct xs {
	const char *name;
	void (*reset)(void);
	void (*thread[XS_THREADS])(void);
	const char *(*judge)(void); /* when all have ended: NULL, or what is wrong */
	unsigned preemptions;
	const void *watch; /* the objects */
	size_t watch_sz;
};

struct xs_result {
	uint64_t runs;
	uint64_t steps;
	const char *bad;  /* of the first bad run, or NULL */
	char trace[4096]; /* its order: who goes on, or a, b, ... whose alarm comes */
};

void xs_explore(const struct xs *e, struct xs_result *ret);
/* From within a thread: this run is bad. */
void xs_fail(const char *why);
/* One word more, of this run. */
void xs_watch(const volatile void *ptr);
struct upcall_uthread *xs_uthread(unsigned nr);

#endif
