/* SPDX-License-Identifier: MIT */
/*
 * Every test of the contract runs in uthreads that are preempted as fiercely as it goes: slices of
 * 100 us, on one vcore and on two (--vcores N, last), beside others that never rest. That they were
 * preempted, and moved where there is a second vcore, is a point of every test: without it the others
 * say nothing. A thread outside of the runtime watches: a test that hangs says what every
 * uthread does, and fails.
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
/* Of the processor's time: a program that had less has no claim to an interruption or a move. */
#define CONTRACT_SHORT_NS 400000000
/* Between interruptions at the most. The time of our own helpers is in it: beside others' work a
 * watcher that looks for its chance may use up more than the uthreads (13 ms were seen). */
#define CONTRACT_LEAST_NS 100000000

static volatile int contract_quiet;
static struct upcall_uthread *contract_noise[NR_NOISE];
static cpu_set_t contract_cpus; /* before the start: what children are to have */
static uint64_t contract_slice; /* the same; 0 where Linux does not tell */
static unsigned contract_vcores = 2;

/* What had happened at a moment. */
struct contract_seen {
	uint64_t cpu_ns, notified, migrations;
};
static struct contract_seen contract_from, contract_till; /* while there was noise */

/* To be called first in main(): takes --vcores N off the end, for what else the program is given. */
static inline void contract_args(int *argc, char **argv)
{
	if (*argc < 3 || strcmp(argv[*argc - 2], "--vcores"))
		return;
	contract_vcores = (unsigned)atoi(argv[*argc - 1]);
	*argc -= 2;
	argv[*argc] = NULL;
}

static inline void contract_look(struct contract_seen *ret_seen)
{
	struct upcall_stats st;
	struct timespec cpu;

	memset(&st, 0, sizeof(st));
	st.size = sizeof(st);
	if (upcall_get_stats(&st))
		tap_bail("upcall_get_stats failed");
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	ret_seen->cpu_ns = (uint64_t)cpu.tv_sec * 1000000000 + (uint64_t)cpu.tv_nsec;
	ret_seen->notified = st.notified;
	ret_seen->migrations = st.migrations;
}

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

	tap_plan(nr_points + 1);
	sched_getaffinity(0, sizeof(contract_cpus), &contract_cpus);
	contract_slice = slice_of(0);
	pthread_create(&watch, NULL, contract_watch, NULL);
	pthread_detach(watch);
	memset(&opts, 0, sizeof(opts));
	opts.size = sizeof(opts);
	opts.vcores = contract_vcores;
	opts.slice_ns = 100000;
	err = upcall_start(&opts);
	if (err)
		tap_bail("upcall_start: %s", strerror(-err));
	for (uintptr_t i = 0; i < NR_NOISE; i++) {
		err = upcall_uthread_create(&contract_noise[i], NULL, contract_spin, (void *)i);
		if (err)
			tap_bail("upcall_uthread_create: %s", strerror(-err));
	}
	contract_look(&contract_from);
}

/* Whether uthreads were interrupted since the beginning as often as is asked for at the least, and,
 * on two vcores, moved. */
static inline bool contract_was_fierce(void)
{
	uint64_t ns = contract_till.cpu_ns - contract_from.cpu_ns;
	uint64_t notified = contract_till.notified - contract_from.notified;

	if (contract_vcores > 1 && CPU_COUNT(&contract_cpus) > 1 &&
	    contract_till.migrations == contract_from.migrations)
		return false;
	return notified > 0 && notified >= ns / CONTRACT_LEAST_NS;
}

/* Ends the others: what comes is to be alone, or is another program that needs the cores. What is too
 * short to count on an interruption is drawn out beside them first. */
static inline void contract_hush(void)
{
	uint64_t drawn_out;

	if (contract_quiet)
		return;
	contract_look(&contract_till);
	drawn_out = contract_from.cpu_ns + CONTRACT_SHORT_NS;
	while (contract_till.cpu_ns < drawn_out && !contract_was_fierce())
		contract_look(&contract_till);
	contract_quiet = 1;
	for (int i = 0; i < NR_NOISE; i++) {
		if (contract_noise[i])
			upcall_uthread_join(contract_noise[i], NULL);
		contract_noise[i] = NULL;
	}
}

/* Makes the point that this was no idle run; for who stops the runtime himself, else at the end. */
static inline void contract_prove(void)
{
	contract_hush();
	tap_ok(contract_was_fierce(),
	       "uthreads were interrupted %lu times and moved %lu times in %lu ms, on %u vcores",
	       (unsigned long)(contract_till.notified - contract_from.notified),
	       (unsigned long)(contract_till.migrations - contract_from.migrations),
	       (unsigned long)((contract_till.cpu_ns - contract_from.cpu_ns) / 1000000),
	       contract_vcores);
}

static inline int contract_end(void)
{
	contract_prove();
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
