/* SPDX-License-Identifier: MIT */
/*
 * Two fences that order each other, of which one costs nothing (base/fence.h) where Linux offers that,
 * and both are ordinary ones where it does not.
 *
 * And the word that every push reads: may anybody be waiting for tasks?
 */
#ifndef UP_FORK_FENCE_H
#define UP_FORK_FENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/fence.h"
#include "base/mutant.h"

/* A vcore has found nothing to run, or fewer are online than wanted, and nobody has been told of a task
 * since. */
#define UP_EAGER_HUNGRY 1u
/* The heavy fence is an ordinary one, so the light one must be too. */
#define UP_EAGER_FENCED 2u

extern uint32_t up_eager; /* read by every push and pop, written rarely */

void up_fence_init(void);

/* Any context; a system call.  false: it was refused, and nothing is ordered. */
static inline bool up_heavy_fence(void)
{
	if (up_load_relaxed(&up_eager) & UP_EAGER_FENCED) {
		up_fence_seq_cst(); /* pairs with the one in up_light_fence() */
		return true;
	}
	return up_fence_all();
}

static inline void up_light_fence(void)
{
	up_compiler_barrier();
	if (UP_UNLIKELY(up_load_relaxed(&up_eager) & UP_EAGER_FENCED))
		up_fence_seq_cst(); /* pairs with the one in up_heavy_fence() */
}

/*
 * A vcore has nothing to run.  It says so, then looks for tasks; who pushes a task then looks whether
 * it says so: one of the two sees the other.  Where it has been said before and no pusher has taken
 * notice yet there is nothing to add: whoever does take notice asks for a vcore by a full fence and the
 * count of idle ones, which the caller has raised before.
 */
static inline void up_hungry_say(void)
{
	if (UP_MUT(fork_hungry_unsaid) || up_load_acquire(&up_eager) & UP_EAGER_HUNGRY)
		return;
	up_fetch_or_seq_cst(&up_eager, UP_EAGER_HUNGRY);
	if (!UP_MUT(fork_hungry_unfenced))
		(void)up_heavy_fence(); /* pairs with up_hungry_seems()'s light one; refused, no
					 * task can be taken either */
}

/* Behind a push: is somebody to be told? */
static inline bool up_hungry_seems(void)
{
	up_compiler_barrier(); /* the push before the look; pairs with up_hungry_say()'s heavy one */
	return UP_UNLIKELY(up_load_relaxed(&up_eager)) && !UP_MUT(fork_hunger_unseen);
}

/* The same for sure, and the caller is the one who tells. */
static inline bool up_hungry_take(void)
{
	if (up_load_relaxed(&up_eager) & UP_EAGER_FENCED)
		up_fence_seq_cst(); /* the push before the look */
	if (!(up_load_relaxed(&up_eager) & UP_EAGER_HUNGRY))
		return false;
	/* seq_cst: before the look at the count of idle vcores; see up_hungry_say() */
	return up_fetch_and_seq_cst(&up_eager, ~UP_EAGER_HUNGRY) & UP_EAGER_HUNGRY;
}

#endif
