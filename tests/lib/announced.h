/* SPDX-License-Identifier: MIT */
/* A sleep inside Linux, in an announced call: what upcall_sleep_ns() is not, for a uthread. */
#ifndef UP_TEST_ANNOUNCED_H
#define UP_TEST_ANNOUNCED_H

#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

#include <upcall/upcall.h>

static inline int announced_sleep_ns(uint64_t ns)
{
	uint64_t until = upcall_now_ns() + ns;
	struct timespec ts = { (time_t)(until / 1000000000), (long)(until % 1000000000) };
	long r;

	do /* absolute: what interrupts it costs it no time */
		r = upcall_syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, (long)&ts,
				   0, 0, 0);
	while (r == -EINTR);
	return (int)r;
}

#endif
