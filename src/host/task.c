/* SPDX-License-Identifier: MIT */
/* A kernel thread as Linux places and times it.  No libc: some callers have another FS base. */
#include "host/task.h"

#include <linux/sched.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/mutant.h"
#include "base/syscall.h"

/* sched_setattr(2); libc has it only from 2.41 on. */
struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

/* One core, on the stack whatever its number: 8 KiB at the most. */
long up_task_pin(int tid, uint32_t pcore)
{
	size_t words = pcore / 64 + 1;
	uint64_t *set = __builtin_alloca(words * 8);

	memset(set, 0, words * 8);
	set[pcore / 64] = UINT64_C(1) << pcore % 64;
	return up_syscall3(SYS_sched_setaffinity, tid, words * 8, set);
}

static bool get(int tid, struct attr *ret_attr)
{
	return !up_syscall4(SYS_sched_getattr, tid, ret_attr, sizeof(*ret_attr), 0) &&
	       (ret_attr->policy == SCHED_NORMAL || ret_attr->policy == SCHED_BATCH);
}

bool up_task_has_slice(void)
{
	struct attr a = { 0 };

	return get(0, &a) && a.runtime;
}

void up_task_slice(int tid, uint64_t ns)
{
	struct attr a = { 0 };

	if (UP_MUT(slice_left_long) || !get(tid, &a))
		return;
	a.size = sizeof(a);
	a.runtime = ns;
	up_syscall3(SYS_sched_setattr, tid, &a, 0);
}
