/* SPDX-License-Identifier: MIT */
/* Which fences they are: see fence.h. */
#include "fork/fence.h"

#include "base/inject.h"

uint32_t up_eager UP_CACHE_ALIGNED;

void up_fence_init(void)
{
	bool fenced = UP_INJECT_FAIL(fork_membarrier) || !up_fence_all_init();

	up_store_seq_cst(&up_eager, fenced ? UP_EAGER_FENCED : 0); /* before anybody pushes */
}
