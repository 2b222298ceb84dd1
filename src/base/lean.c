/* SPDX-License-Identifier: MIT */
/* The lock's side of a lock that leans: see lean.h. */
#include "base/lean.h"

#include <stddef.h>

#include "base/clock.h"
#include "base/fence.h"
#include "base/futex.h"

/* As a lock's: what it guards is short. */
#ifndef SPINS /* none in an explorer's build, to which each look is a step */
#define SPINS 100
#endif
/* No store waits in a core's buffer for that long. */
#define STORES_OUT_NS (10 * 1000 * 1000)

void up_lean_init(struct up_lean *l, uint32_t id, uint32_t after)
{
	*l = (struct up_lean){ .id = id, .after = after };
}

/* Whatever came after the start, such as a filter, refuses the fence: the lock stays a lock from now on,
 * and this once it is given the time after which the owner has seen that it is none. */
static void without_a_fence(struct up_lean *l)
{
	static uint32_t nothing;
	uint64_t until = up_now_ns() + STORES_OUT_NS;

	l->after = 0;
	while (up_now_ns() < until)
		up_lock_sleep(&nothing, 0, until);
}

/* Under the lock: the owner is none any more, and is out. */
static void give_up(struct up_lean *l)
{
	uint32_t *seat = l->owner;
	int i;

	up_store_relaxed(&l->owner, NULL);
	/* Pairs with the compiler's barriers of enter and get_up. */
	if (!UP_MUT(lean_fence_dropped) && !up_fence_all())
		without_a_fence(l);
	/* acquire: pairs with up_lean_get_up()'s release.  Who has said that it is in sees, on its way out,
	 * that it is the owner no more. */
	for (i = 0; up_load_acquire(seat) == l->id && !UP_MUT(lean_inside_not_awaited); i++) {
		if (i < SPINS)
			up_cpu_relax();
		else
			up_lock_sleep(seat, l->id, UP_FUTEX_FOREVER);
	}
}

void up_lean_take(struct up_lean *l, uint32_t *seat)
{
	up_lock_take(&l->lock);
	if (l->owner && !UP_MUT(lean_never_given_up))
		give_up(l);
	if (l->last != seat)
		l->in_a_row = 0;
	l->last = seat;
	/* Not atomic but for those who look: they find it in their own word, or come here. */
	if (seat && l->after && ++l->in_a_row > l->after)
		up_store_relaxed(&l->owner, seat);
}
