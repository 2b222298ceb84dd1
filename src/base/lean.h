/* SPDX-License-Identifier: MIT */
/*
 * A lock that leans towards who takes it again and again: that one goes in and out by plain stores, until
 * somebody else comes, who pays for it by a fence on all cores (fence.h).  It leans only after so many
 * times in a row, so that others pay seldom.
 *
 * A caller has a word of its own, its seat: which of these locks it is in without having taken it, 0 for
 * none.  The owner says so in its seat, then looks whether it is the owner still; whoever comes writes
 * that it is not, has all cores execute a fence, then looks into the seat: one of the two sees the other.
 * A word of the lock's own would not do in the seat's place: one that was the owner once, and was held
 * up between its two looks, would write to it while the next owner relies on it.
 *
 * As base/lock.h otherwise: for kernel threads, no TLS, not recursive.  In no two at once: one seat.
 */
#ifndef UP_BASE_LEAN_H
#define UP_BASE_LEAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/lock.h"
#include "base/mutant.h"

struct up_lean {
	uint32_t *owner; /* atomic: whose seat; NULL: nobody's.  Written under the lock */
	uint32_t id;	 /* constant: what the owner's seat says */
	struct up_lock lock;
	/* Under the lock: */
	uint32_t *last; /* whose seat; who took it last */
	uint32_t in_a_row;
	uint32_t after; /* so many times; 0: never */
};

/* id is not 0, and no other lock's into which the same callers go.  It never leans where fence.h's is not
 * offered (after is 0). */
void up_lean_init(struct up_lean *l, uint32_t id, uint32_t after);
void up_lean_take(struct up_lean *l, uint32_t *seat);

/* Out again, by the way that one came in without the lock. */
static inline void up_lean_get_up(struct up_lean *l, uint32_t *seat)
{
	/* release: pairs with give_up()'s acquire: it sees what we have done */
	up_store_release(seat, 0);
	up_compiler_barrier(); /* the seat before the look; pairs with give_up()'s fence on all */
	if (UP_UNLIKELY(up_load_relaxed(&l->owner) != seat) && !UP_MUT(lean_waiter_not_woken))
		up_lock_rouse(seat);
}

/* seat may be NULL: for somebody who has none. */
static inline void up_lean_enter(struct up_lean *l, uint32_t *seat)
{
	/* relaxed, twice: nobody but ourselves makes us the owner */
	if (UP_LIKELY(up_load_relaxed(&l->owner) == seat && seat)) {
		up_store_relaxed(seat, l->id);
		up_compiler_barrier(); /* the seat before the look; pairs as above */
		if (UP_LIKELY(up_load_relaxed(&l->owner) == seat) || UP_MUT(lean_one_look))
			return;
		up_lean_get_up(l, seat);
	}
	up_lean_take(l, seat);
}

static inline void up_lean_leave(struct up_lean *l, uint32_t *seat)
{
	if (UP_LIKELY(seat && up_load_relaxed(seat)))
		up_lean_get_up(l, seat);
	else
		up_lock_drop(&l->lock);
}

#endif
