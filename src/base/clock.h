/* SPDX-License-Identifier: MIT */
/*
 * The monotonic clock in nanoseconds, from the vDSO (some 20 to 40 ns, no system call). It takes no
 * lock and uses no TLS on success, so any context may ask. The kernel side never does: time comes
 * to it as an argument.
 */
#ifndef UP_BASE_CLOCK_H
#define UP_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define UP_NSEC_PER_SEC	 UINT64_C(1000000000)
#define UP_NSEC_PER_MSEC UINT64_C(1000000)
#define UP_NSEC_PER_USEC UINT64_C(1000)

/* UINT64_MAX, some 584 years, for longer ones too. */
static inline uint64_t up_timespec_ns(const struct timespec *ts)
{
	if ((uint64_t)ts->tv_sec >= UINT64_MAX / UP_NSEC_PER_SEC)
		return UINT64_MAX;
	return (uint64_t)ts->tv_sec * UP_NSEC_PER_SEC + (uint64_t)ts->tv_nsec;
}

/* A moment, UINT64_MAX for never. */
static inline uint64_t up_ns_after(uint64_t from, uint64_t ns)
{
	return ns < UINT64_MAX - from ? from + ns : UINT64_MAX;
}

static inline struct timespec up_ns_timespec(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / UP_NSEC_PER_SEC),
				  .tv_nsec = (long)(ns % UP_NSEC_PER_SEC) };
}

static inline uint64_t up_clock_ns(clockid_t clock)
{
	struct timespec ts = { 0, 0 };

	clock_gettime(clock, &ts);
	return up_timespec_ns(&ts);
}

/* Since boot, never backwards. */
static inline uint64_t up_now_ns(void)
{
	return up_clock_ns(CLOCK_MONOTONIC);
}

/* Processor time of the calling kernel thread; this one is a system call. */
static inline uint64_t up_thread_cpu_ns(void)
{
	return up_clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

#endif
