/* SPDX-License-Identifier: MIT */
/*
 * A uthread's tasks that nobody has run yet.  Its owner pushes and pops at the bottom, without a fence
 * or a locked instruction but for the last one; thieves take the oldest, at the top.
 *
 * Owner means the uthread, wherever it runs and whether or not: a switch from one kernel thread to
 * another is a full fence.  Nothing here depends on it making progress.
 *
 * The owner's pop and a thief's steal must not both miss the other's claim.  The owner's side of that is
 * a compiler's barrier alone; the thief's is up_heavy_fence(), which makes every other core of the
 * process execute a fence (and which, where Linux does not offer that, has both sides use one of their
 * own; and where it has been refused since, nothing is taken any more).  Arrays that have been outgrown
 * stay until the end, since a thief may be reading one.
 */
#ifndef UP_FORK_DEQUE_H
#define UP_FORK_DEQUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/inject.h"
#include "base/mutant.h"
#include "fork/fence.h"

struct up_task;

struct up_deque_array {
	uint64_t mask; /* its length less one, a power of two */
	struct up_deque_array *older;
	struct up_task *slot[];
};

struct up_deque {
	/* Owner only, or read by thieves where an order is named: */
	uint64_t bottom;	      /* the next to be pushed; thieves read */
	struct up_deque_array *array; /* thieves read */
	struct up_task *last;	      /* spawned last and not synced, wherever it is */
	uint64_t limit;		      /* up to where bottom may grow: top was so far at least */
	uint64_t mask;		      /* the array's */
	size_t stack_sz;	      /* of the owner; thieves read */
	unsigned foreign;	      /* others' tasks that the owner is within */
	struct up_deque *next;	      /* up_forks.lock: free ones */
	/* Thieves and the owner: */
	uint64_t top UP_CACHE_ALIGNED; /* the oldest; it only grows */
} UP_CACHE_ALIGNED;

/* A hint: it may have changed by the time that one looks again. */
static inline bool up_deque_seems_full(const struct up_deque *d)
{
	return (int64_t)(up_load_relaxed(&d->bottom) - up_load_relaxed(&d->top)) > 0;
}

static inline bool up_deque_has_room(const struct up_deque *d)
{
	return up_load_relaxed(&d->bottom) != d->limit;
}

/* Owner; there is room. */
static inline void up_deque_push(struct up_deque *d, struct up_task *t)
{
	uint64_t b = up_load_relaxed(&d->bottom);
	struct up_deque_array *a = up_load_relaxed(&d->array);

	if (UP_MUT(fork_published_early))
		up_store_release(&d->bottom, b + 1);
	up_store_relaxed(&a->slot[b & d->mask], t);
	/* release: pairs with up_deque_steal()'s acquire: the task, its slot, and the array */
	up_store_release(&d->bottom, b + 1);
}

/* One is left, or none: thieves may be at it. */
static inline bool up_deque_pop_last(struct up_deque *d, uint64_t b, uint64_t t)
{
	bool won = false;

	UP_INJECT(fork_pop_last);
	if (b == t && UP_MUT(fork_last_without_cas))
		won = true;
	else if (b == t) /* seq_cst: against the thieves' of the same word; one wins */
		won = up_cas_seq_cst(&d->top, &t, t + 1);
	up_store_relaxed(&d->bottom, b + 1); /* empty either way; bottom is the owner's */
	return won;
}

/* Owner, who has pushed at least once more than it has popped: true when it has got the one that it
 * pushed last, false when a thief has. */
static inline bool up_deque_pop(struct up_deque *d)
{
	uint64_t b = up_load_relaxed(&d->bottom) - 1, t;

	up_store_relaxed(&d->bottom, b);
	/* Our claim before our look; pairs with up_heavy_fence() in up_deque_steal(). */
	up_light_fence();
	UP_INJECT(fork_pop);
	t = up_load_relaxed(&d->top); /* relaxed: what lies above it was written by us */
	if (UP_LIKELY((int64_t)(b - t) > 0))
		return true;
	return up_deque_pop_last(d, b, t);
}

/* Anyone but the owner: the oldest, or NULL when there is none or another was faster. */
static inline struct up_task *up_deque_steal(struct up_deque *d)
{
	/* acquire: the looks below are not before this one */
	uint64_t t = up_load_acquire(&d->top), b;
	struct up_deque_array *a;
	struct up_task *task;

	/* Pairs with up_deque_pop()'s light one. */
	if (!UP_MUT(fork_steal_fence_dropped) && !up_heavy_fence())
		return NULL;
	b = up_load_acquire(&d->bottom); /* pairs with up_deque_push()'s release */
	if ((int64_t)(b - t) <= 0)
		return NULL;
	UP_INJECT(fork_steal);
	a = up_load_acquire(&d->array); /* pairs with up_deque_grow()'s release */
	task = up_load_relaxed(&a->slot[t & a->mask]);
	if (UP_MUT(fork_steal_without_cas)) {
		up_store_relaxed(&d->top, t + 1);
		return task;
	}
	/* seq_cst: against the owner's of the last one, and other thieves'.  Behind it the slot may be
	 * written again: we have read it. */
	return up_cas_seq_cst(&d->top, &t, t + 1) ? task : NULL;
}

/* Owner: makes room.  false: no memory. */
bool up_deque_make_room(struct up_deque *d);
/* Nobody uses it any more. */
void up_deque_free_arrays(struct up_deque *d);

#endif
