/* SPDX-License-Identifier: MIT */
/* How long Linux lets a thread run at a time, as it tells since 6.12; 0 where it does not. */
#ifndef UP_TESTS_SLICE_H
#define UP_TESTS_SLICE_H

#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline uint64_t slice_of(long tid)
{
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} attr;

	memset(&attr, 0, sizeof(attr));
	return syscall(SYS_sched_getattr, tid, &attr, sizeof(attr), 0) ? 0 : attr.runtime;
}

#endif
