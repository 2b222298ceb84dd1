/* SPDX-License-Identifier: MIT */
/*
 * Two or more schedulers in one process at once: a scheduler whose uthreads each belong to one of
 * several children, which are tables like any other and need not know.  An ordinary user of
 * upcall/sched.h.
 *
 * It promises: of the picks of a vcore where several children have work each has its weight's part;
 * what a child does not use is the others', and is not saved up; a uthread is with one child at a time,
 * and comes to the next one as new, with words that are zero.  Several vcores share nothing here.
 *
 * What is taken out by take() runs in the place of who waits for it, and so in that one's turn.
 * Between its question and the child's answer a uthread must not go to another child, to whom the same
 * words mean something else: whoever brings it there waits for the answer.
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/lock.h"
#include "base/mutant.h"
#include "upcall/sched.h"

/* A pick costs a child one weight-th of this. */
#define PICK_COST ((uint64_t)UPCALL_SCHED_WEIGHT_MAX * UPCALL_SCHED_WEIGHT_MAX)

/* The word behind those that schedulers know. */
struct mark {
	struct up_lock moves; /* whoever takes it out, or brings it to another child */
	uint16_t child;	      /* atomic: where it is to be, + 1; 0: not said */
	uint16_t at; /* atomic: where it has been so far, + 1; who makes it ready, with the lock */
};
static_assert(UPCALL_SCHED_CHILDREN_MAX < UINT16_MAX, "a child has a number");

/* A vcore's: what each child has had of it, which may wrap.  Atomic, as for a moment two may call with
 * one number; what is lost then is a turn. */
struct turns {
	uint64_t *passed;
};

static const struct upcall_sched_child *chosen; /* upcall_sched_share(), to be started */
static unsigned nr_chosen;
static const struct upcall_sched_child *children; /* since init; NULL: it does not run */
static unsigned nr_children;
static struct turns *turns;

static struct mark *mark_of(struct upcall_uthread *u)
{
	static_assert(sizeof(struct mark) == sizeof(void *), "one word");
	return (struct mark *)&upcall_sched_words(u)[UPCALL_SCHED_WORDS];
}

/* ---- start and end ---- */

static void share_fini(void)
{
	while (nr_children)
		if (children[--nr_children].sched->fini)
			children[nr_children].sched->fini();
	up_store_relaxed(&children, NULL);
	free(turns);
	turns = NULL;
}

/* All in one piece, each vcore's on lines of its own. */
static int make_turns(unsigned max_vcores)
{
	size_t row = UP_ALIGN_UP(nr_chosen * sizeof(uint64_t), UP_CACHELINE_SZ);
	size_t head = UP_ALIGN_UP(max_vcores * sizeof(*turns), UP_CACHELINE_SZ);
	unsigned v;

	turns = aligned_alloc(UP_CACHELINE_SZ, head + max_vcores * row);
	if (!turns)
		return -ENOMEM;
	memset(turns, 0, head + max_vcores * row);
	for (v = 0; v < max_vcores; v++)
		turns[v].passed = (uint64_t *)((char *)turns + head + v * row);
	return 0;
}

static int share_init(unsigned max_vcores)
{
	unsigned i;
	int r = make_turns(max_vcores);

	if (r < 0)
		return r;
	up_store_relaxed(&children, chosen);
	for (i = 0; i < nr_chosen && !r; i++) {
		r = chosen[i].sched->init ? chosen[i].sched->init(max_vcores) : 0;
		nr_children += !r;
	}
	if (r < 0)
		share_fini();
	return r;
}

/* ---- whose it is ---- */

/* Where it is to be, else where it is, + 1. */
static uint32_t child_of(struct upcall_uthread *u)
{
	struct mark *m = u ? mark_of(u) : NULL;
	uint32_t child = m ? up_load_relaxed(&m->child) : 0;

	return child ? child : m ? up_load_relaxed(&m->at) : 0;
}

/* Who takes it out is about to join it, and nobody else is: its word stays a mark meanwhile. */
static void move(struct upcall_uthread *u, struct mark *m, uint32_t child)
{
	unsigned i;

	if (!m->at) { /* nobody can have asked for it */
		up_store_relaxed(&m->at, (uint16_t)child);
		return;
	}
	if (!UP_MUT(share_take_overtaken))
		up_lock_take(&m->moves);
	/* Atomic, for the child that it has left may still look at what was its. */
	for (i = 0; i < UPCALL_SCHED_WORDS && !UP_MUT(share_words_kept); i++)
		up_store_relaxed(&upcall_sched_words(u)[i], NULL);
	up_store_relaxed(&m->at, (uint16_t)child);
	if (!UP_MUT(share_take_overtaken))
		up_lock_drop(&m->moves);
}

static void share_ready(struct upcall_uthread *u, unsigned vcore, enum upcall_why why)
{
	struct mark *m = mark_of(u);
	uint32_t child = child_of(u);

	/* A new one is with its maker, who is the caller; what others make is with the first child. */
	if (!child && why == UPCALL_NEW && !UP_MUT(share_maker_ignored))
		child = child_of(upcall_uthread_self());
	if (!child)
		child = 1;
	if (UP_UNLIKELY(m->at != child)) /* nobody else writes it: we have it */
		move(u, m, child);
	children[child - 1].sched->ready(u, vcore, why);
}

static void share_blocked(struct upcall_uthread *u, unsigned vcore, unsigned class_of_call)
{
	uint32_t at = mark_of(u)->at;
	const struct upcall_sched_ops *s = children[at ? at - 1 : 0].sched;

	if (s->blocked)
		s->blocked(u, vcore, class_of_call);
}

static int share_take(struct upcall_uthread *u, unsigned vcore)
{
	struct mark *m = mark_of(u);
	const struct upcall_sched_ops *s;
	uint32_t at;
	int taken;

	up_lock_take(&m->moves);
	at = UP_MUT(share_take_ahead) ? child_of(u) : up_load_relaxed(&m->at);
	s = at ? children[at - 1].sched : NULL;
	taken = s && s->take ? s->take(u, vcore) : 0;
	up_lock_drop(&m->moves);
	return taken;
}

/* ---- whose turn it is ---- */

static bool is_less(const uint64_t *a, uint64_t b)
{
	return (int64_t)(up_load_relaxed(a) - b) < 0;
}

/* Of those that have not been asked the one that has had the least for its weight. */
static unsigned next_turn(const uint64_t *passed, uint64_t asked)
{
	unsigned best = nr_children, i;

	for (i = 0; i < nr_children; i++)
		if (!(asked & 1ull << i) &&
		    (best == nr_children || is_less(&passed[i], up_load_relaxed(&passed[best]))))
			best = i;
	return best;
}

static struct upcall_uthread *share_pick(unsigned vcore)
{
	uint64_t *passed = turns[vcore].passed, asked = 0, now;
	struct upcall_uthread *u = NULL;
	unsigned child = 0, i;

	while (!u && asked != UINT64_MAX >> (64 - nr_children)) {
		child = next_turn(passed, asked);
		asked |= 1ull << child;
		u = children[child].sched->pick(vcore);
		if (UP_MUT(share_turn_kept))
			break;
	}
	if (!u)
		return NULL;
	now = up_load_relaxed(&passed[child]);
	/* Who had nothing when it was its turn goes on from here: it has nothing to make up for. */
	for (i = 0; i < nr_children && !UP_MUT(share_saved_up); i++)
		if (asked & 1ull << i && is_less(&passed[i], now))
			up_store_relaxed(&passed[i], now);
	if (!UP_MUT(share_weight_ignored))
		now += PICK_COST / children[child].weight;
	else
		now += PICK_COST;
	up_store_relaxed(&passed[child], now);
	return u;
}

static int share_more(unsigned vcore)
{
	unsigned i;

	for (i = 0; i < nr_children; i++)
		if (!children[i].sched->more || children[i].sched->more(vcore))
			return 1;
	return 0;
}

static int share_rank(void)
{
	int rank = INT_MIN, r;
	unsigned i;

	for (i = 0; i < nr_children; i++) {
		r = children[i].sched->rank ? children[i].sched->rank() : INT_MIN;
		rank = UP_MAX(rank, r);
	}
	return rank;
}

/* ---- the interface ---- */

static const struct upcall_sched_ops share = {
	.size = sizeof(struct upcall_sched_ops),
	.name = "share",
	.init = share_init,
	.fini = share_fini,
	.ready = share_ready,
	.pick = share_pick,
	.blocked = share_blocked,
	.more = share_more,
	.take = share_take,
	.rank = share_rank,
};

/* A table has its state to itself, so it can be there once; and so have we. */
static bool is_child(const struct upcall_sched_child *c, unsigned nr)
{
	const struct upcall_sched_ops *s = c[nr].sched;
	unsigned i;

	if (!s || s->size != sizeof(*s) || !s->ready || !s->pick || s->pick == share_pick ||
	    !c[nr].weight || c[nr].weight > UPCALL_SCHED_WEIGHT_MAX)
		return false;
	for (i = 0; i < nr; i++)
		if (c[i].sched->pick == s->pick)
			return false;
	return true;
}

int upcall_sched_share(struct upcall_sched_ops *ret_ops, const struct upcall_sched_child *c,
		       unsigned nr)
{
	unsigned i;

	if (!ret_ops || !c || !nr || nr > UPCALL_SCHED_CHILDREN_MAX)
		return -EINVAL;
	for (i = 0; i < nr; i++)
		if (!is_child(c, i))
			return -EINVAL;
	if (up_load_relaxed(&children))
		return -EBUSY;
	chosen = c;
	nr_chosen = nr;
	*ret_ops = share;
	return 0;
}

int upcall_sched_assign(struct upcall_uthread *u, unsigned child)
{
	if (!u)
		return -EINVAL;
	if (!up_load_relaxed(&children))
		return -ENOTCONN;
	if (child >= nr_children)
		return -EINVAL;
	/* relaxed: it counts from when it next becomes ready, which orders it */
	up_store_relaxed(&mark_of(u)->child, (uint16_t)(child + 1));
	return 0;
}
