/* SPDX-License-Identifier: MIT */
/* What of a deque is seldom: its arrays; see deque.h. */
#include "fork/deque.h"

#include <stdlib.h>

#define FIRST_SLOTS 64u

static struct up_deque_array *new_array(uint64_t slots)
{
	struct up_deque_array *a;

	if (UP_INJECT_FAIL(fork_array))
		return NULL;
	a = malloc(sizeof(*a) + slots * sizeof(a->slot[0]));
	if (a)
		a->mask = slots - 1;
	return a;
}

bool up_deque_make_room(struct up_deque *d)
{
	struct up_deque_array *old = up_load_relaxed(&d->array), *a;
	uint64_t b = up_load_relaxed(&d->bottom), i, top;

	/* acquire: whatever thieves have read of the slots below, they have read */
	top = up_load_acquire(&d->top);
	if (old && b - top <= d->mask) {
		d->limit = top + d->mask + 1;
		return true;
	}
	a = new_array(old ? 2 * (old->mask + 1) : FIRST_SLOTS);
	if (!a)
		return false;
	a->older = old;
	for (i = top; old && i != b && !UP_MUT(fork_growth_forgets); i++)
		up_store_relaxed(&a->slot[i & a->mask], up_load_relaxed(&old->slot[i & old->mask]));
	/* release: pairs with up_deque_steal()'s acquire */
	up_store_release(&d->array, a);
	d->mask = a->mask;
	d->limit = top + a->mask + 1;
	return true;
}

void up_deque_free_arrays(struct up_deque *d)
{
	struct up_deque_array *a, *older;

	for (a = d->array; a; a = older) {
		older = a->older;
		free(a);
	}
	d->array = NULL;
}
