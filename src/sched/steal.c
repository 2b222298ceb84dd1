/* SPDX-License-Identifier: MIT */
/*
 * The default second-level scheduler: a queue a vcore with a level for each priority, first in, first
 * out within a level; a vcore that has nothing takes from a random other's.  An ordinary user of
 * upcall/sched.h.
 *
 * A queue leans towards who works on it (base/lean.h), so that a vcore that is left alone takes no lock.
 *
 * It promises: what is ready is picked at some time, whatever else there is, wherever it is queued
 * (ageing; looks at the others); what outranks all else is picked next by whichever vcore looks;
 * and that vcores which have enough to do do not touch each other's queues but for a glance now and
 * then.
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/clock.h"
#include "base/fence.h"
#include "base/lean.h"
#include "base/mutant.h"
#include "upcall/proc.h"
#include "upcall/sched.h"

#define LEVELS (UPCALL_PRIO_MAX - UPCALL_PRIO_MIN + 1)
/* So often in a row a higher one goes before a lower one. */
#define AGE_TURNS 16
/* One in so many looks at another vcore's queue first; every so often however short that is. */
#define LOOK_TURNS 32
#define FAIR_LOOKS 8
#define FAIR_NS	   (20 * UP_NSEC_PER_MSEC)
#define STEAL_MOST 16
/* So many operations on a queue in a row are one caller's before it leans towards it: others, who pay
 * some microseconds to have it back, do so that seldom. */
#define LEAN_AFTER 4096

/* A uthread's words. */
struct item {
	struct item *next, *prev;
	struct upcall_uthread *u;
	uint32_t place; /* where it is queued, 0: nowhere; changes with that queue's lock */
	uint32_t home;	/* the vcore that it ran on last, + 1; whoever has the uthread */
};
static_assert(sizeof(struct item) == UPCALL_SCHED_WORDS * sizeof(void *), "as many as there are");

struct level {
	struct item *head, *tail;
};

struct queue {
	struct up_lean lock;
	uint32_t mask;	   /* levels that are not empty; written under the lock, read without */
	uint32_t len;	   /* the same */
	uint32_t in_a_row; /* under the lock: picks of a level before a lower one */
	uint32_t aged;	   /* under the lock: picks of a lower one before it */
	uint32_t lent;	   /* who picks: others' higher ones before what is queued here, in a row */
	uint32_t turn;	   /* who picks, atomic: a hint */
	uint32_t seen;	   /* who looks at it now and then, atomic: its turn at that time */
	uint32_t put_off;  /* who picks: looks at others that waited for a higher one of our own */
	uint32_t random;
	uint64_t fair_ns; /* who picks: when it last took one though it had enough */
	struct level level[LEVELS];
} UP_CACHE_ALIGNED;

static struct queue *queues;
static unsigned nr_queues;
static bool has_levels; /* somebody had another than the default: only levels tell who is first */

static struct item *item_of(struct upcall_uthread *u)
{
	return (struct item *)upcall_sched_words(u);
}

static uint32_t place(unsigned vcore, unsigned level)
{
	return (vcore + 1) << 8 | level;
}

static int steal_init(unsigned max_vcores)
{
	uint32_t after = up_fence_all_init() ? LEAN_AFTER : 0;
	unsigned v;

	queues = aligned_alloc(UP_CACHELINE_SZ, max_vcores * sizeof(*queues));
	if (!queues)
		return -ENOMEM;
	memset(queues, 0, max_vcores * sizeof(*queues));
	for (v = 0; v < max_vcores; v++) {
		up_lean_init(&queues[v].lock, v + 1, after);
		queues[v].random = v * 2654435761u + 1;
		queues[v].fair_ns = up_now_ns();
	}
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

/* ---- one queue, with its lock ---- */

static void put(struct queue *q, struct item *it, unsigned vcore, unsigned level)
{
	struct level *l = &q->level[level];

	it->next = NULL;
	it->prev = l->tail;
	*(l->tail ? &l->tail->next : &l->head) = it;
	l->tail = it;
	up_store_relaxed(&it->place,
			 place(vcore, level)); /* others read it before they have the lock */
	/* relaxed: hints for who looks without the lock, which orders the rest */
	up_store_relaxed(&q->mask, q->mask | 1u << level);
	up_store_relaxed(&q->len, q->len + 1);
}

static inline void cut(struct queue *q, struct item *it)
{
	unsigned level = it->place & 0xff;
	struct level *l = &q->level[level];
	struct item *next = it->next, *prev = it->prev;

	*(prev ? &prev->next : &l->head) = next;
	*(next ? &next->prev : &l->tail) = prev;
	if (!l->head)
		up_store_relaxed(&q->mask, q->mask & ~(1u << level));
	up_store_relaxed(&q->len, q->len - 1);
	if (!UP_MUT(steal_place_kept))
		up_store_relaxed(&it->place, 0);
}

/* The highest; but when it has gone before a lower one so many times in a row, that one, or the next of
 * several.  Where the higher ones leave the lower ones time, nobody is put before them. */
static UP_NOINLINE unsigned choose_among(struct queue *q)
{
	unsigned top = up_highest_bit(q->mask), n;
	uint32_t below = q->mask & ~(1u << top);

	if (++q->in_a_row < AGE_TURNS || UP_MUT(steal_never_ages))
		return top;
	if (!UP_MUT(steal_ages_always))
		q->in_a_row = 0;
	for (n = q->aged++ % (unsigned)up_popcount(below); n; n--)
		below &= below - 1;
	return up_lowest_bit(below);
}

static inline unsigned choose_level(struct queue *q, bool age)
{
	bool one = !(q->mask & (q->mask - 1));

	if (UP_UNLIKELY(!one && age))
		return choose_among(q);
	if (one)
		q->in_a_row = 0;
	return up_highest_bit(q->mask);
}

static inline struct item *take_one(struct queue *q)
{
	uint32_t *seat;
	struct item *it = NULL;

	if (!up_load_relaxed(&q->len))
		return NULL;
	seat = upcall_sched_own_word();
	up_lean_enter(&q->lock, seat);
	if (q->len) {
		it = q->level[choose_level(q, true)].head;
		cut(q, it);
	}
	up_lean_leave(&q->lock, seat);
	return it;
}

static void add(struct item *it, unsigned vcore, unsigned level)
{
	struct queue *q = &queues[vcore];
	uint32_t *seat = upcall_sched_own_word();

	up_lean_enter(&q->lock, seat);
	put(q, it, vcore, level);
	up_lean_leave(&q->lock, seat);
}

/* ---- among queues ---- */

/* Up to half of another's highest level, no more than a few; the first is the answer, the others go to
 * our own queue. */
static struct item *take_half(struct queue *from, unsigned vcore)
{
	uint32_t *seat = upcall_sched_own_word();
	struct item *got[STEAL_MOST];
	unsigned nr = 0, most, level = 0, i;

	if (!up_load_relaxed(&from->len))
		return NULL;
	/* Not only tried: who finds nothing gives its core back. */
	up_lean_enter(&from->lock, seat);
	if (from->len) {
		level = choose_level(from, false);
		most = UP_MIN((from->len + 1) / 2, (uint32_t)STEAL_MOST);
		while (nr < most && from->level[level].head) {
			got[nr] = from->level[level].head;
			cut(from, got[nr++]);
		}
	}
	up_lean_leave(&from->lock, seat);
	for (i = 1; i < nr; i++)
		add(got[i], vcore, level);
	return nr ? got[0] : NULL;
}

static unsigned random_of(struct queue *q)
{
	q->random = q->random * 1664525u + 1013904223u;
	return q->random >> 8;
}

static UP_NOINLINE struct item *steal(unsigned vcore)
{
	unsigned at = random_of(&queues[vcore]), i, v;
	struct item *it;

	for (i = 0; i < nr_queues; i++) {
		v = (at + i) % nr_queues;
		it = v == vcore ? NULL : take_half(&queues[v], vcore);
		if (it)
			return it;
	}
	return NULL;
}

/* What somewhere outranks all that we have. */
static struct item *take_higher(unsigned vcore)
{
	uint32_t best = up_load_relaxed(&queues[vcore].mask), mask;
	struct queue *from = NULL;
	unsigned v;

	for (v = 0; v < nr_queues; v++) {
		mask = up_load_relaxed(&queues[v].mask);
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

/* Its vcore has picked nothing since somebody looked at it last. */
static bool is_stuck(struct queue *q)
{
	uint32_t turn = up_load_relaxed(&q->turn);
	bool stuck = turn == up_load_relaxed(&q->seen);

	up_store_relaxed(&q->seen, turn);
	return (stuck || UP_MUT(steal_stuck_always)) && !UP_MUT(steal_stuck_unseen);
}

/* Where one vcore has two and the other one, each of the two has half: so they change places now and then,
 * by the clock, since a turn may be short or long. */
static bool is_due(struct queue *own)
{
	uint64_t now = up_now_ns();

	if (now - own->fair_ns < FAIR_NS || UP_MUT(steal_unfair))
		return false;
	own->fair_ns = now;
	return true;
}

/* What lies with a vcore that has no core, or is stuck on one, is served by the others, whose own
 * queues may never be empty: now and then a look at one of them.  What is higher here goes first, unless
 * there is always such a one. */
static struct item *look_around(struct queue *own, unsigned vcore)
{
	unsigned other = own->turn / LOOK_TURNS % nr_queues;
	struct queue *q = &queues[other];
	bool due = is_due(own);

	if (other == vcore || UP_MUT(steal_never_looks))
		return NULL;
	if (is_below(up_load_relaxed(&q->mask), up_load_relaxed(&own->mask)) &&
	    ++own->put_off < AGE_TURNS && !UP_MUT(steal_looks_below)) {
		up_store_relaxed(&own->turn, own->turn - 1); /* the next pick looks */
		return NULL;
	}
	own->put_off = 0;
	if (up_load_relaxed(&q->len) > up_load_relaxed(&own->len) + 1 ||
	    upcall_vcore_cpu(other) < 0 || (due && up_load_relaxed(&q->len)) ||
	    (!(own->turn / LOOK_TURNS / nr_queues % FAIR_LOOKS) && is_stuck(q)))
		return take_one(q);
	return NULL;
}

/* Not for ever: what we have ages too. */
static struct item *higher_elsewhere(struct queue *own, unsigned vcore)
{
	struct item *it = NULL;

	if (own->lent < AGE_TURNS || UP_MUT(steal_others_first))
		it = take_higher(vcore);
	own->lent = it ? own->lent + 1 : 0;
	return it;
}

/* What goes before our own. */
static UP_NOINLINE struct item *take_ahead(struct queue *own, unsigned vcore)
{
	struct item *it = NULL;

	if (up_load_relaxed(&has_levels))
		it = higher_elsewhere(own, vcore);
	if (!it && !(own->turn % LOOK_TURNS) && nr_queues > 1)
		it = look_around(own, vcore);
	return it;
}

static struct upcall_uthread *steal_pick(unsigned vcore)
{
	struct queue *own = &queues[vcore];
	uint32_t turn = own->turn + 1;
	struct item *it = NULL;

	up_store_relaxed(&own->turn, turn);
	if (UP_UNLIKELY(up_load_relaxed(&has_levels) || !(turn % LOOK_TURNS)))
		it = take_ahead(own, vcore);
	if (UP_LIKELY(!it))
		it = take_one(own);
	if (UP_UNLIKELY(!it) && nr_queues > 1)
		it = steal(vcore);
	if (!it)
		return NULL;
	it->home = vcore + 1;
	return it->u;
}

/* What comes back from the kernel goes where it ran, if nothing waits there. */
static unsigned near_data(const struct item *it, unsigned vcore, enum upcall_why why)
{
	if (UP_LIKELY(why != UPCALL_UNBLOCKED) || !it->home || it->home - 1 == vcore ||
	    up_load_relaxed(&queues[it->home - 1].len) || upcall_vcore_cpu(it->home - 1) < 0)
		return vcore;
	return it->home - 1;
}

static void steal_ready(struct upcall_uthread *u, unsigned vcore, enum upcall_why why)
{
	struct item *it = item_of(u);
	int priority = upcall_uthread_priority(u);

	if (UP_UNLIKELY(priority))
		up_store_relaxed(&has_levels, true);
	it->u = u;
	add(it, near_data(it, vcore, why), (unsigned)(priority - UPCALL_PRIO_MIN));
}

static int steal_take(struct upcall_uthread *u, unsigned vcore)
{
	struct queue *q = &queues[vcore];
	struct item *it = item_of(u);
	uint32_t *seat;
	bool here;

	if (up_load_relaxed(&it->place) >> 8 != vcore + 1)
		return 0;
	seat = upcall_sched_own_word();
	up_lean_enter(&q->lock, seat);
	here = it->place >> 8 == vcore + 1;
	if (here)
		cut(q, it);
	up_lean_leave(&q->lock, seat);
	if (here)
		it->home = vcore + 1;
	return here;
}

static int steal_more(unsigned vcore)
{
	unsigned i;

	for (i = 0; i < nr_queues; i++)
		if (up_load_relaxed(&queues[(vcore + i) % nr_queues].len))
			return 1;
	return 0;
}

static int steal_rank(void)
{
	uint32_t mask = 0;
	unsigned i;

	for (i = 0; i < nr_queues; i++)
		mask |= up_load_relaxed(&queues[i].mask);
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
