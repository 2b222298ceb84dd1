/* SPDX-License-Identifier: MIT */
/*
 * What the probe's two files share: a thread that can be looked at from outside, and the parts that
 * main calls. For the probe only; it uses nothing of the library, so that it tells of the kernel.
 */
#ifndef UP_TESTS_EMULATE_PROBE_H
#define UP_TESTS_EMULATE_PROBE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NR_SYSCALL_POINTS 3
#define NR_SIGNAL_POINTS  4
#define NR_WAKE_POINTS	  5

/* Filled by the thread before it does anything else; tid is stored last. */
struct probe_thread {
	pthread_t id;
	pid_t tid;
	int cpu; /* -1: anywhere */
	int policy;
	int policy_err; /* errno of setting the policy */
	void (*run)(struct probe_thread *thread);
	int fds[2]; /* a pipe; for run's use, as what follows */
	uint64_t stamp_ns;
	uint64_t counter;
	uint32_t stop;
};

/* Starts the thread and waits until its tid, CPU and policy are set. The pipe is made here. */
void probe_thread_start(struct probe_thread *thread);
void probe_thread_join(struct probe_thread *thread);

uint64_t probe_now_ns(void);

/* A TAP point, and a note beside the points (the count is one file's: tap.h keeps it static). */
__attribute__((format(printf, 2, 3))) void probe_point(bool good, const char *fmt, ...);
__attribute__((format(printf, 1, 2))) void probe_note(const char *fmt, ...);

/* True when the first `size - 1` bytes of /proc/self/task/TID/syscall could be had. */
bool probe_syscall_file(pid_t tid, char *ret_text, size_t size);

/* Returns when the thread is in read(2) as its syscall file tells; false after two seconds. */
bool probe_wait_in_read(const struct probe_thread *thread);

/* The parts; each makes as many points as its NR_ says. */
void probe_signals(int nr_cpus);
void probe_wakes(int nr_cpus);

#endif
