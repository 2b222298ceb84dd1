/* SPDX-License-Identifier: MIT */
/*
 * A small explorer: two or three threads of real code, every order of their steps and of their buffered
 * stores becoming visible, each state once.  Deterministic; no thread of the system is involved.
 */
#ifndef UP_TESTS_EXPLORE_H
#define UP_TESTS_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPLORE_THREADS 3

struct explore {
	void (*reset)(void *arg);		    /* as it was, before each run */
	void (*thread[EXPLORE_THREADS])(void *arg); /* the last may be NULL */
	const char *(*judge)(void *arg); /* at the end of a run: NULL, or what is wrong */
	void *arg;
	const volatile void *watch[8]; /* words whose order is explored */
	unsigned nr_watch;
};

struct explore_result {
	uint64_t runs;
	uint64_t states;
	const char *bad; /* what the first bad run was judged to be, or NULL */
	char trace[512]; /* its steps: a number a step of that thread, a letter a store let out */
};

/* From within a thread: goes on when the word's memory says something else. */
void explore_wait_while(const volatile uint32_t *ptr, uint32_t val);
/* Sleeps if it does not; until it is woken, for ever if it never is. */
void explore_sleep_if(const volatile uint32_t *ptr, uint32_t val);
void explore_wake(const volatile uint32_t *ptr);

void explore_all(const struct explore *e, struct explore_result *ret_result);

#endif
