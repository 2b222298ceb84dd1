/* SPDX-License-Identifier: MIT */
/* Waiting inside Linux, in announced calls: what upcall_sleep_ns() and upcall_read() are not, for a
 * uthread. */
#ifndef UP_TEST_ANNOUNCED_H
#define UP_TEST_ANNOUNCED_H

#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>
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

static inline ssize_t announced_read(int fd, void *buf, size_t sz)
{
	long r;

	do
		r = upcall_syscall(SYS_read, fd, (long)buf, (long)sz, 0, 0, 0);
	while (r == -EINTR);
	return r;
}

#endif
