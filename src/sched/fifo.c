/* SPDX-License-Identifier: MIT */
/*
 * First in, first out: a queue a vcore, and idle vcores take from the others' heads.  The default
 * second-level scheduler, and the smallest one that is fair: an ordinary user of upcall/sched.h.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/lock.h"
#include "upcall/proc.h"
#include "upcall/sched.h"

/* One look in so many takes from another queue however short it is. */
#define FAIR_TURNS 8

struct queue {
	struct up_lock lock;
	uint32_t len;  /* written under the lock, read by thieves without */
	uint32_t turn; /* owner: whom to look at next */
	struct upcall_uthread *head, *tail;
} UP_CACHE_ALIGNED;

static struct queue *queues;
static unsigned nr_queues;

static struct upcall_uthread **link_of(struct upcall_uthread *u)
{
	return (struct upcall_uthread **)&upcall_sched_words(u)[0];
}

static int fifo_init(unsigned max_vcores)
{
	queues = aligned_alloc(UP_CACHELINE_SZ, max_vcores * sizeof(*queues));
	if (!queues)
		return -ENOMEM;
	memset(queues, 0, max_vcores * sizeof(*queues));
	nr_queues = max_vcores;
	return 0;
}

static void fifo_fini(void)
{
	free(queues);
	queues = NULL;
	nr_queues = 0;
}

static void fifo_ready(struct upcall_uthread *u, unsigned vcore, enum upcall_why why)
{
	struct queue *q = &queues[vcore];

	*link_of(u) = NULL;
	up_lock_take(&q->lock);
	if (q->tail)
		*link_of(q->tail) = u;
	else
		q->head = u;
	q->tail = u;
	up_store_relaxed(&q->len, q->len + 1); /* a hint for thieves; the lock orders the rest */
	up_lock_drop(&q->lock);
}

static struct upcall_uthread *take(struct queue *q)
{
	struct upcall_uthread *u;

	if (!up_load_relaxed(&q->len))
		return NULL;
	up_lock_take(&q->lock);
	u = q->head;
	if (u) {
		q->head = *link_of(u);
		if (!q->head)
			q->tail = NULL;
		up_store_relaxed(&q->len, q->len - 1);
	}
	up_lock_drop(&q->lock);
	return u;
}

/* A turn each, wherever one is queued: now and then a look at one other vcore's queue, and if it
 * is longer than ours, or nobody's, its head goes first. */
static struct upcall_uthread *level(struct queue *own, unsigned vcore)
{
	uint32_t turn = own->turn++;
	bool fair = turn % FAIR_TURNS == 0;
	unsigned other = (fair ? turn / FAIR_TURNS : turn) % nr_queues;
	struct queue *q = &queues[other];

	if (other == vcore)
		return NULL;
	/* What lies with a vcore that has no core, or is stuck on one, is served by the others, whose
	 * own queues may never be empty: now and then whatever the lengths. */
	if (up_load_relaxed(&q->len) <= up_load_relaxed(&own->len) + 1 && !fair &&
	    upcall_vcore_cpu(other) >= 0)
		return NULL;
	return take(q);
}

static struct upcall_uthread *fifo_pick(unsigned vcore)
{
	struct upcall_uthread *u = level(&queues[vcore], vcore);
	unsigned i;

	if (!u)
		u = take(&queues[vcore]);
	for (i = 1; !u && i < nr_queues; i++)
		u = take(&queues[(vcore + i) % nr_queues]);
	return u;
}

static int fifo_more(unsigned vcore)
{
	unsigned i;

	for (i = 0; i < nr_queues; i++)
		if (up_load_relaxed(&queues[(vcore + i) % nr_queues].len))
			return 1;
	return 0;
}

const struct upcall_sched_ops upcall_sched_fifo = {
	.size = sizeof(struct upcall_sched_ops),
	.name = "fifo",
	.init = fifo_init,
	.fini = fifo_fini,
	.ready = fifo_ready,
	.pick = fifo_pick,
	.more = fifo_more,
};
