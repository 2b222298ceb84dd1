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

#include "base/atomic.h"
#include "base/bits.h"
#include "base/bug.h"

struct up_lock {
	uint32_t word; /* 0 free, 1 held, 2 held and somebody may sleep */
};

/* Sleeps for a lock of ours, as up_futex_wait_private().  Whoever interrupts the sleep can tell it from one
 * in a lock of libc's: by the call's fifth argument, which Linux does not read. */
#define UP_LOCK_MARK 0x6b636f6c7075l
int up_lock_sleep(uint32_t *word, uint32_t expected, uint64_t deadline_ns);
void up_lock_rouse(uint32_t *word); /* one of them */

bool up_lock_try(struct up_lock *l);
void up_lock_take_slowly(struct up_lock *l);
void up_lock_wake(struct up_lock *l);

static inline void up_lock_take(struct up_lock *l)
{
	uint32_t was = 0;

	/* Acquire pairs with the release in up_lock_drop(): the holder's writes are seen. */
	if (UP_UNLIKELY(!up_cas_acquire(&l->word, &was, 1)))
		up_lock_take_slowly(l);
}

static inline void up_lock_drop(struct up_lock *l)
{
	/* Release pairs with the acquires above. */
	uint32_t was = up_xchg_release(&l->word, 0);

	UP_ASSERT(was != 0);
	if (UP_UNLIKELY(was == 2))
		up_lock_wake(l);
}

#endif
