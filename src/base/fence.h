/* SPDX-License-Identifier: MIT */
/*
 * A fence that all threads of the process pay for, so that its other side costs nothing: whoever is in
 * it waits until each core that runs one of them has executed a full fence.  So accesses on both sides
 * of a compiler's barrier, on any thread, are ordered as by a full fence against those on both sides of
 * this one.  By membarrier(2); 2 us.
 */
#ifndef UP_BASE_FENCE_H
#define UP_BASE_FENCE_H

#include <stdbool.h>

#include "base/atomic.h"

/* Before the first use.  false: Linux does not offer it, or somebody forbids it. */
bool up_fence_all_init(void);

#ifdef UP_ATOMIC_REPLACEMENT
#define up_fence_all() (explore_fence_all(), true)
#else
/* Any context; a system call.  false: it was refused, and nothing is ordered: it could be registered
 * for, so that only what came later, such as a filter, refuses it. */
bool up_fence_all(void);
#endif

#endif
