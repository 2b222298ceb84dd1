/* SPDX-License-Identifier: MIT */
/* The heavy fence: membarrier(2), where Linux has it and nobody forbids it; see fence.h. */
#include "fork/fence.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>

#include "base/inject.h"
#include "base/syscall.h"

uint32_t up_eager UP_CACHE_ALIGNED;

void up_fence_init(void)
{
	long r = UP_INJECT_FAIL(fork_membarrier)
			 ? -1
			 : up_syscall3(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0,
				       0);

	up_store_seq_cst(&up_eager, r ? UP_EAGER_FENCED : 0); /* before anybody pushes */
}

bool up_heavy_fence(void)
{
	if (up_load_relaxed(&up_eager) & UP_EAGER_FENCED) {
		up_fence_seq_cst(); /* pairs with the one in up_light_fence() */
		return true;
	}
	/* It could be registered for, so that only what came later, such as a filter, refuses it. */
	return !up_syscall3(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}
