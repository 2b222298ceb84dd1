/* SPDX-License-Identifier: MIT */
/*
 * Every test of the contract runs in uthreads that are preempted as fiercely as it goes: slices of
 * 100 us, on two vcores, beside others that never rest. A thread outside of the runtime watches: a
 * test that hangs says what every uthread does, and fails.
 */
#ifndef UP_TESTS_LIBC_CONTRACT_H
#define UP_TESTS_LIBC_CONTRACT_H

#include <upcall/upcall.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "slice.h"
#include "tap.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NR_NOISE 3

static volatile int contract_quiet;
static struct upcall_uthread *contract_noise[NR_NOISE];
static cpu_set_t contract_cpus; /* before the start: what children are to have */
static uint64_t contract_slice; /* the same; 0 where Linux does not tell */

/* With all signals blocked: the program's are for uthreads and the receiver. */
static inline void *contract_watch(void *arg)
{
	struct timespec patience = { .tv_sec = 40, .tv_nsec = 0 };
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	while (nanosleep(&patience, &patience) && errno == EINTR)
		; /* libc's own signals break into it */
	fprintf(stderr, "# the test hangs:\n");
	upcall_dump(2);
	_exit(99);
}

/* Computes, and checks what it computed: a register that is not restored shows. */
static inline void *contract_spin(void *arg)
{
	uint64_t x = (uintptr_t)arg + 1, sum = 0, n = 0;

	while (!contract_quiet) {
		for (int i = 0; i < 1000; i++, n++) {
			sum += x;
			errno = (int)(uintptr_t)arg;
		}
		if (sum != n * x || errno != (int)(uintptr_t)arg)
			abort();
	}
	return NULL;
}

static inline void contract_begin(unsigned nr_points)
{
	struct upcall_opts opts;
	pthread_t watch;
	int err;

	tap_plan(nr_points);
	sched_getaffinity(0, sizeof(contract_cpus), &contract_cpus);
	contract_slice = slice_of(0);
	pthread_create(&watch, NULL, contract_watch, NULL);
	pthread_detach(watch);
	memset(&opts, 0, sizeof(opts));
	opts.size = sizeof(opts);
	opts.vcores = 2;
	opts.slice_ns = 100000;
	err = upcall_start(&opts);
	if (err)
		tap_bail("upcall_start: %s", strerror(-err));
	for (uintptr_t i = 0; i < NR_NOISE; i++) {
		err = upcall_uthread_create(&contract_noise[i], NULL, contract_spin, (void *)i);
		if (err)
			tap_bail("upcall_uthread_create: %s", strerror(-err));
	}
}

/* Ends the others: what comes is to be alone, or is another program that needs the cores. */
static inline void contract_hush(void)
{
	contract_quiet = 1;
	for (int i = 0; i < NR_NOISE; i++) {
		if (contract_noise[i])
			upcall_uthread_join(contract_noise[i], NULL);
		contract_noise[i] = NULL;
	}
}

static inline int contract_end(void)
{
	contract_hush();
	if (upcall_stop())
		tap_bail("upcall_stop failed");
	return tap_done();
}

/* Runs fn(arg) in a uthread of its own and waits for it. */
static inline void *contract_run(void *(*fn)(void *), void *arg)
{
	struct upcall_uthread *u;
	void *value = NULL;
	int err = upcall_uthread_create(&u, NULL, fn, arg);

	if (err)
		tap_bail("upcall_uthread_create: %s", strerror(-err));
	upcall_uthread_join(u, &value);
	return value;
}

/* Runs fn(0), fn(1), ... in nr uthreads at once; the sum of what they return. */
static inline long contract_run_many(unsigned nr, void *(*fn)(void *))
{
	struct upcall_uthread **us = (struct upcall_uthread **)calloc(nr, sizeof(*us));
	long sum = 0;

	for (uintptr_t i = 0; i < nr; i++) {
		int err = upcall_uthread_create(&us[i], NULL, fn, (void *)i);

		if (err)
			tap_bail("upcall_uthread_create: %s", strerror(-err));
	}
	for (unsigned i = 0; i < nr; i++) {
		void *value = NULL;

		upcall_uthread_join(us[i], &value);
		sum += (long)value;
	}
	free(us);
	return sum;
}

/* Spins until some slices have gone by: the caller has been preempted, and moved as it may be. */
static inline void contract_linger(void)
{
	struct timespec from, now;

	clock_gettime(CLOCK_MONOTONIC, &from);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - from.tv_sec) * 1000000000L + now.tv_nsec - from.tv_nsec < 1000000);
}

/* The exit status of a child, or -1 when it did not exit. */
static inline int contract_status(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) != pid) {
		if (errno != EINTR)
			return -1;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#ifdef __cplusplus
}
#endif

#endif
