/* SPDX-License-Identifier: MIT */
/*
 * The default second-level scheduler: a queue a vcore with a level for each priority, first in, first
 * out within a level; a vcore that has nothing takes from a random other's.  An ordinary user of
 * upcall/sched.h.
 *
 * The youngest lies beside the queue, in one word, so that one that is waited for at once, or alone,
 * takes no lock.
 *
 * It promises: what is ready is picked at some time, whatever else there is, wherever it is queued
 * (ageing; looks at the others); what outranks all else is picked next by whichever vcore looks;
 * and that vcores which have enough to do do not touch each other's queues but for a glance now and
 * then.
 */
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/lock.h"
#include "base/mutant.h"
#include "upcall/proc.h"
#include "upcall/sched.h"

#define LEVELS (UPCALL_PRIO_MAX - UPCALL_PRIO_MIN + 1)
/* So often in a row a higher one goes before a lower one. */
#define AGE_TURNS 16
/* One in so many looks at another vcore's queue first; every so often however short that is. */
#define LOOK_TURNS 32
#define FAIR_LOOKS 8
#define STEAL_MOST 16

struct level {
	struct upcall_uthread *head, *tail;
};

struct queue {
	/* Atomic: younger than all that is queued, or NULL; whoever exchanges it has it. */
	struct upcall_uthread *youngest;
	struct up_lock lock;
	uint32_t mask;	   /* levels that are not empty; written under the lock, read without */
	uint32_t len;	   /* the same */
	uint32_t in_a_row; /* under the lock: picks of a level before a lower one */
	uint32_t aged;	   /* under the lock: picks of a lower one before it */
	uint32_t lent;	   /* who picks: others' higher ones before what is queued here, in a row */
	uint32_t turn;	   /* who picks: a hint */
	uint32_t put_off;  /* who picks: looks at others that waited for a higher one of our own */
	uint32_t random;
	struct level level[LEVELS];
} UP_CACHE_ALIGNED;

static struct queue *queues;
static unsigned nr_queues;
static bool has_levels; /* somebody had another than the default: only levels tell who is first */

/* A uthread's words: links, and where it is queued (0: nowhere), which changes with that queue's lock. */
static struct upcall_uthread **next_of(struct upcall_uthread *u)
{
	return (struct upcall_uthread **)&upcall_sched_words(u)[0];
}

static struct upcall_uthread **prev_of(struct upcall_uthread *u)
{
	return (struct upcall_uthread **)&upcall_sched_words(u)[1];
}

static uintptr_t *place_of(struct upcall_uthread *u)
{
	return (uintptr_t *)&upcall_sched_words(u)[2];
}

static uintptr_t place(unsigned vcore, unsigned level)
{
	return (uintptr_t)(vcore + 1) << 8 | level;
}

/* The vcore that it ran on last, + 1. */
static uintptr_t *home_of(struct upcall_uthread *u)
{
	return (uintptr_t *)&upcall_sched_words(u)[3];
}

static int steal_init(unsigned max_vcores)
{
	unsigned v;

	queues = aligned_alloc(UP_CACHELINE_SZ, max_vcores * sizeof(*queues));
	if (!queues)
		return -ENOMEM;
	memset(queues, 0, max_vcores * sizeof(*queues));
	for (v = 0; v < max_vcores; v++)
		queues[v].random = v * 2654435761u + 1;
	nr_queues = max_vcores;
	has_levels = false;
	return 0;
}

static void steal_fini(void)
{
	free(queues);
	queues = NULL;
	nr_queues = 0;
}

static unsigned level_of(struct upcall_uthread *u)
{
	return (unsigned)(upcall_uthread_priority(u) - UPCALL_PRIO_MIN);
}

/* ---- one queue, with its lock ---- */

static void put(struct queue *q, unsigned vcore, struct upcall_uthread *u, unsigned level)
{
	struct level *l = &q->level[level];

	*next_of(u) = NULL;
	*prev_of(u) = l->tail;
	if (l->tail)
		*next_of(l->tail) = u;
	else
		l->head = u;
	l->tail = u;
	up_store_relaxed(place_of(u),
			 place(vcore, level)); /* others read it before they have the lock */
	/* relaxed: hints for who looks without the lock, which orders the rest */
	up_store_relaxed(&q->mask, q->mask | 1u << level);
	up_store_relaxed(&q->len, q->len + 1);
}

static void cut(struct queue *q, struct upcall_uthread *u)
{
	unsigned level = *place_of(u) & 0xff;
	struct level *l = &q->level[level];
	struct upcall_uthread *next = *next_of(u), *prev = *prev_of(u);

	*(prev ? next_of(prev) : &l->head) = next;
	*(next ? prev_of(next) : &l->tail) = prev;
	if (!l->head)
		up_store_relaxed(&q->mask, q->mask & ~(1u << level));
	up_store_relaxed(&q->len, q->len - 1);
	if (!UP_MUT(steal_place_kept))
		up_store_relaxed(place_of(u), 0);
}

/* The highest; but when it has gone before a lower one so many times in a row, that one, or the next of
 * several.  Where the higher ones leave the lower ones time, nobody is put before them. */
static unsigned choose_level(struct queue *q, bool age)
{
	unsigned top = up_highest_bit(q->mask), n;
	uint32_t below = q->mask & ~(1u << top);

	if (UP_LIKELY(!below)) {
		q->in_a_row = 0;
		return top;
	}
	if (!age || ++q->in_a_row < AGE_TURNS || UP_MUT(steal_never_ages))
		return top;
	if (!UP_MUT(steal_ages_always))
		q->in_a_row = 0;
	for (n = q->aged++ % (unsigned)up_popcount(below); n; n--)
		below &= below - 1;
	return up_lowest_bit(below);
}

static bool is_empty(const struct queue *q)
{
	return !up_load_relaxed(&q->len) && !up_load_relaxed(&q->youngest);
}

static struct upcall_uthread *take_youngest(struct queue *q)
{
	if (!up_load_relaxed(&q->youngest))
		return NULL;
	return up_xchg_acquire(&q->youngest, NULL); /* pairs with add()'s: it is whole */
}

static struct upcall_uthread *take_one(struct queue *q)
{
	struct upcall_uthread *u = NULL;

	if (!up_load_relaxed(&q->len))
		return take_youngest(q);
	up_lock_take(&q->lock);
	if (q->len) {
		u = q->level[choose_level(q, true)].head;
		cut(q, u);
	}
	up_lock_drop(&q->lock);
	return u ? u : take_youngest(q);
}

static void add(struct queue *q, unsigned vcore, struct upcall_uthread *u)
{
	struct upcall_uthread *older;

	if (UP_LIKELY(!up_load_relaxed(&q->len) && !up_load_relaxed(&has_levels))) {
		/* acq_rel: pairs with itself and with take_youngest() */
		u = up_xchg_acq_rel(&q->youngest, u);
		if (!u)
			return;
		up_lock_take(&q->lock);
	} else {
		up_lock_take(&q->lock);
		older = take_youngest(q);
		if (older)
			put(q, vcore, older, level_of(older));
	}
	if (!UP_MUT(steal_older_lost))
		put(q, vcore, u, level_of(u));
	up_lock_drop(&q->lock);
}

/* ---- among queues ---- */

/* Up to half of another's highest level, no more than a few; the first is the answer, the others go to
 * our own queue. */
static struct upcall_uthread *take_half(struct queue *from, unsigned vcore)
{
	struct upcall_uthread *got[STEAL_MOST];
	unsigned nr = 0, most, level, i;

	if (!up_load_relaxed(&from->len))
		return take_youngest(from);
	/* Not only tried: who finds nothing gives its core back. */
	up_lock_take(&from->lock);
	if (from->len) {
		level = choose_level(from, false);
		most = UP_MIN((from->len + 1) / 2, (uint32_t)STEAL_MOST);
		while (nr < most && from->level[level].head) {
			got[nr] = from->level[level].head;
			cut(from, got[nr++]);
		}
	}
	up_lock_drop(&from->lock);
	for (i = 1; i < nr; i++)
		upcall_sched_steal.ready(got[i], vcore, UPCALL_YIELDED);
	return nr ? got[0] : take_youngest(from);
}

static unsigned random_of(struct queue *q)
{
	q->random = q->random * 1664525u + 1013904223u;
	return q->random >> 8;
}

static struct upcall_uthread *steal(unsigned vcore)
{
	unsigned at = random_of(&queues[vcore]), i, v;
	struct upcall_uthread *u;

	for (i = 0; i < nr_queues; i++) {
		v = (at + i) % nr_queues;
		u = v == vcore ? NULL : take_half(&queues[v], vcore);
		if (u)
			return u;
	}
	return NULL;
}

static uint32_t levels_of(const struct queue *q)
{
	return up_load_relaxed(&q->mask) |
	       (up_load_relaxed(&q->youngest) ? 1u << -UPCALL_PRIO_MIN : 0);
}

/* What somewhere outranks all that we have. */
static struct upcall_uthread *take_higher(unsigned vcore)
{
	uint32_t best = levels_of(&queues[vcore]), mask;
	struct queue *from = NULL;
	unsigned v;

	for (v = 0; v < nr_queues; v++) {
		mask = levels_of(&queues[v]);
		if (mask && (!best || up_highest_bit(mask) > up_highest_bit(best))) {
			best = mask;
			from = &queues[v];
		}
	}
	return from ? take_one(from) : NULL;
}

static bool is_below(uint32_t a, uint32_t b)
{
	return a && b && up_highest_bit(a) < up_highest_bit(b);
}

/* What lies with a vcore that has no core, or is stuck on one, is served by the others, whose own
 * queues may never be empty: now and then a look at one of them.  What is higher here goes first, unless
 * there is always such a one. */
static struct upcall_uthread *look_around(struct queue *own, unsigned vcore)
{
	unsigned other = own->turn / LOOK_TURNS % nr_queues;
	struct queue *q = &queues[other];

	if (other == vcore || UP_MUT(steal_never_looks))
		return NULL;
	if (is_below(levels_of(q), levels_of(own)) && ++own->put_off < AGE_TURNS &&
	    !UP_MUT(steal_looks_below)) {
		own->turn--; /* the next pick looks */
		return NULL;
	}
	own->put_off = 0;
	if (up_load_relaxed(&q->len) <= up_load_relaxed(&own->len) + 1 &&
	    own->turn / LOOK_TURNS / nr_queues % FAIR_LOOKS && upcall_vcore_cpu(other) >= 0)
		return NULL;
	return take_one(q);
}

/* Not for ever: what we have ages too. */
static struct upcall_uthread *higher_elsewhere(struct queue *own, unsigned vcore)
{
	struct upcall_uthread *u = NULL;

	if (own->lent < AGE_TURNS || UP_MUT(steal_others_first))
		u = take_higher(vcore);
	own->lent = u ? own->lent + 1 : 0;
	return u;
}

static struct upcall_uthread *steal_pick(unsigned vcore)
{
	struct queue *own = &queues[vcore];
	struct upcall_uthread *u = NULL;

	own->turn++;
	if (UP_UNLIKELY(up_load_relaxed(&has_levels)))
		u = higher_elsewhere(own, vcore);
	if (!u && UP_UNLIKELY(!(own->turn % LOOK_TURNS)) && nr_queues > 1)
		u = look_around(own, vcore);
	if (!u)
		u = take_one(own);
	if (!u && nr_queues > 1)
		u = steal(vcore);
	if (u)
		*home_of(u) = vcore + 1;
	return u;
}

/* What comes back from the kernel goes where it ran, if nothing waits there. */
static unsigned near_data(struct upcall_uthread *u, unsigned vcore, enum upcall_why why)
{
	uintptr_t home = *home_of(u);

	if (why != UPCALL_UNBLOCKED || !home || home - 1 == vcore || !is_empty(&queues[home - 1]) ||
	    upcall_vcore_cpu((unsigned)home - 1) < 0)
		return vcore;
	return (unsigned)home - 1;
}

static void steal_ready(struct upcall_uthread *u, unsigned vcore, enum upcall_why why)
{
	unsigned at = near_data(u, vcore, why);

	if (UP_UNLIKELY(upcall_uthread_priority(u)))
		up_store_relaxed(&has_levels, true);
	add(&queues[at], at, u);
}

static int steal_take(struct upcall_uthread *u, unsigned vcore)
{
	struct queue *q = &queues[vcore];
	struct upcall_uthread *was = u;
	bool here;

	if (up_load_relaxed(&q->youngest) == u) {
		/* acquire: as take_youngest() */
		if (!up_cas_acquire(&q->youngest, &was, (struct upcall_uthread *)NULL))
			return 0;
		*home_of(u) = vcore + 1;
		return 1;
	}
	if (up_load_relaxed(place_of(u)) >> 8 != vcore + 1)
		return 0;
	up_lock_take(&q->lock);
	here = *place_of(u) >> 8 == vcore + 1;
	if (here)
		cut(q, u);
	up_lock_drop(&q->lock);
	if (here)
		*home_of(u) = vcore + 1;
	return here;
}

static int steal_more(unsigned vcore)
{
	unsigned i;

	for (i = 0; i < nr_queues; i++)
		if (!is_empty(&queues[(vcore + i) % nr_queues]))
			return 1;
	return 0;
}

static int steal_rank(void)
{
	uint32_t mask = 0;
	unsigned i;

	for (i = 0; i < nr_queues; i++)
		mask |= levels_of(&queues[i]);
	return mask ? (int)up_highest_bit(mask) + UPCALL_PRIO_MIN : INT_MIN;
}

const struct upcall_sched_ops upcall_sched_steal = {
	.size = sizeof(struct upcall_sched_ops),
	.name = "steal",
	.init = steal_init,
	.fini = steal_fini,
	.ready = steal_ready,
	.pick = steal_pick,
	.more = steal_more,
	.take = steal_take,
	.rank = steal_rank,
};
