/* SPDX-License-Identifier: MIT */
/*
 * Time: a uthread that sleeps is an alarm, and nothing else; any other thread sleeps in Linux.
 */
#include "sync/sync.h"

#include <time.h>

#include "base/clock.h"
#include "base/syscall.h"

uint64_t upcall_now_ns(void)
{
	return up_now_ns();
}

static int sleep_in_linux(uint64_t until)
{
	struct timespec ts = up_ns_timespec(until);
	long r;

	do /* absolute: what interrupts it costs it no time */
		r = up_syscall4(SYS_clock_nanosleep, CLOCK_MONOTONIC, 1 /* TIMER_ABSTIME */, &ts,
				NULL);
	while (r == -EINTR);
	return (int)r;
}

int upcall_sleep_until(uint64_t until)
{
	struct up_waiter w;
	int r = up_wait_begin(&w, UP_WAIT_SLEEP, NULL);

	if (r)
		return r;
	if (!w.u)
		return sleep_in_linux(until);
	r = up_wait(&w, until);
	return r == -ETIMEDOUT ? 0 : up_sync_end(r);
}

int upcall_sleep_ns(uint64_t ns)
{
	return upcall_sleep_until(up_ns_after(up_now_ns(), ns));
}
