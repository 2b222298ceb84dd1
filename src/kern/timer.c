/* SPDX-License-Identifier: MIT */
/*
 * Deadlines: a binary heap of timers that lie inside what they are about.  Room for every timer
 * that exists is reserved when its process is created, so that setting one never fails.
 */
#include "kern/types.h"

static void heap_put(struct up_kern *k, uint32_t pos, struct up_timer *t)
{
	k->heap[pos] = t;
	t->pos = pos;
}

static void heap_up(struct up_kern *k, uint32_t pos, struct up_timer *t)
{
	while (pos > 1 && k->heap[pos / 2]->at > t->at) {
		heap_put(k, pos, k->heap[pos / 2]);
		pos /= 2;
	}
	heap_put(k, pos, t);
}

static void heap_down(struct up_kern *k, uint32_t pos, struct up_timer *t)
{
	for (;;) {
		uint32_t kid = pos * 2;

		if (kid > k->heap_len)
			break;
		if (kid < k->heap_len && k->heap[kid + 1]->at < k->heap[kid]->at)
			kid++;
		if (k->heap[kid]->at >= t->at)
			break;
		heap_put(k, pos, k->heap[kid]);
		pos = kid;
	}
	heap_put(k, pos, t);
}

void up_timer_stop(struct up_kern *k, struct up_timer *t)
{
	uint32_t pos = t->pos;
	struct up_timer *last;

	if (!pos)
		return;
	last = k->heap[k->heap_len--];
	t->pos = 0;
	if (last == t)
		return;
	if (pos > 1 && k->heap[pos / 2]->at > last->at)
		heap_up(k, pos, last);
	else
		heap_down(k, pos, last);
}

void up_timer_set(struct up_kern *k, struct up_timer *t, uint64_t at)
{
	up_timer_stop(k, t);
	UP_BUG_ON(k->heap_len >= k->heap_cap);
	t->at = at;
	heap_up(k, ++k->heap_len, t);
}

int up_timer_reserve(struct up_kern *k, uint32_t more)
{
	uint32_t cap = k->heap_cap ? k->heap_cap : 16;
	struct up_timer **heap;

	if (more > UINT32_MAX / 4 - k->heap_need)
		return -ENOMEM;
	while (cap < k->heap_need + more)
		cap *= 2;
	if (cap != k->heap_cap) {
		heap = up_kern_alloc(k, ((size_t)cap + 1) * sizeof(*heap));
		if (!heap)
			return -ENOMEM;
		for (uint32_t i = 1; i <= k->heap_len; i++)
			heap[i] = k->heap[i];
		up_kern_free(k, k->heap, ((size_t)k->heap_cap + 1) * sizeof(*heap));
		k->heap = heap;
		k->heap_cap = cap;
	}
	k->heap_need += more;
	return 0;
}
