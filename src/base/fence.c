/* SPDX-License-Identifier: MIT */
/* membarrier(2), where Linux has it and nobody forbids it; see fence.h. */
#include "base/fence.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>

#include "base/syscall.h"

bool up_fence_all_init(void)
{
	return !up_syscall3(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
}

bool up_fence_all(void)
{
	return !up_syscall3(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}
