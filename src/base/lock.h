/* SPDX-License-Identifier: MIT */
/*
 * A lock for kernel threads of one process that may have any FS base: one word, no owner, no TLS,
 * no libc.  It spins a little, since what it guards is short, then sleeps.  Not recursive.
 * Nothing that runs as SCHED_IDLE may take it: it would hold up everybody for as long as the
 * machine is busy.  A signal handler may take it only if it cannot interrupt a holder.
 */
#ifndef UP_BASE_LOCK_H
#define UP_BASE_LOCK_H

#include <stdbool.h>
#include <stdint.h>

struct up_lock {
	uint32_t word; /* 0 free, 1 held, 2 held and somebody may sleep */
};

bool up_lock_try(struct up_lock *l);
void up_lock_take(struct up_lock *l);
void up_lock_drop(struct up_lock *l);

#endif
