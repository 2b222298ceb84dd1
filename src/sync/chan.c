/* SPDX-License-Identifier: MIT */
/*
 * The channel: a ring of items, and two queues.  Who finds somebody waiting on the other side copies
 * between the two buffers directly, so that items stay in order and nobody takes what was meant for one
 * who waited longer: senders wait only while the ring is full, receivers only while it is empty.
 */
#include <stdlib.h>
#include <string.h>

#include "sync/sync.h"

struct upcall_chan {
	uint32_t guard;
	bool closed;
	size_t elem_sz, cap; /* constant */
	size_t nr, head;     /* in the ring; the oldest */
	struct up_waitq senders, receivers;
	char ring[];
};

static bool in_vcore(void)
{
	return up_rt.started && !up_self() && up_on_act();
}

int upcall_chan_create(struct upcall_chan **ret_chan, size_t elem_sz, size_t cap)
{
	struct upcall_chan *c;
	size_t ring;

	if (!ret_chan || __builtin_mul_overflow(elem_sz, cap, &ring) ||
	    ring > SIZE_MAX / 2 - sizeof(*c))
		return -EINVAL;
	if (in_vcore())
		return -EPERM;
	c = malloc(sizeof(*c) + ring);
	if (!c)
		return -ENOMEM;
	memset(c, 0, sizeof(*c));
	c->elem_sz = elem_sz;
	c->cap = cap;
	*ret_chan = c;
	return 0;
}

int upcall_chan_destroy(struct upcall_chan *c)
{
	bool busy;

	if (!c)
		return 0;
	if (in_vcore())
		return -EPERM;
	/* Under the guard: who has just been woken has left it. */
	up_guard(&c->guard);
	busy = c->senders.first || c->receivers.first;
	up_unguard(&c->guard, NULL);
	if (busy)
		return -EBUSY;
	free(c);
	return 0;
}

static void copy(const struct upcall_chan *c, void *to, const void *from)
{
	if (c->elem_sz)
		memcpy(to, from, c->elem_sz);
}

static void ring_put(struct upcall_chan *c, const void *item)
{
	copy(c, c->ring + (c->head + c->nr) % c->cap * c->elem_sz, item);
	c->nr++;
}

static void ring_get(struct upcall_chan *c, void *ret_item)
{
	copy(c, ret_item, c->ring + c->head * c->elem_sz);
	c->head = (c->head + 1) % c->cap;
	c->nr--;
}

/* The first that is not leaving: it waits for up_wait_give(). */
static struct up_waiter *take_first(struct up_waitq *q)
{
	struct up_waiter *w;

	while ((w = up_waitq_pop(q)))
		if (up_wait_take(w))
			return w;
	return NULL;
}

/* Guard held.  -EAGAIN: it would have to wait. */
static int try_send(struct upcall_chan *c, const void *item, struct up_wakes *k)
{
	struct up_waiter *w;

	if (c->closed)
		return -EPIPE;
	w = take_first(&c->receivers);
	if (w) {
		copy(c, w->data, item);
		up_wait_give(w, k);
		return 0;
	}
	if (c->nr == c->cap)
		return -EAGAIN;
	ring_put(c, item);
	return 0;
}

static int try_recv(struct upcall_chan *c, void *ret_item, struct up_wakes *k)
{
	struct up_waiter *w;

	if (c->nr && !(UP_MUT(chan_sender_first) && c->senders.first)) {
		ring_get(c, ret_item);
		w = UP_MUT(chan_sender_forgotten) ? NULL : take_first(&c->senders);
		if (w) {
			ring_put(c, w->data);
			up_wait_give(w, k);
		}
		return 0;
	}
	w = take_first(&c->senders); /* without a ring */
	if (w) {
		copy(c, ret_item, w->data);
		up_wait_give(w, k);
		return 0;
	}
	return c->closed ? -EPIPE : -EAGAIN;
}

static int transfer(struct upcall_chan *c, const void *item, void *ret_item, uint64_t until)
{
	bool sends = item != NULL;
	struct up_wakes k = { 0 };
	struct up_waiter w;
	int r, begun = up_wait_begin(&w, sends ? UP_WAIT_SEND : UP_WAIT_RECV, c);

	up_guard(&c->guard);
	r = sends ? try_send(c, item, &k) : try_recv(c, ret_item, &k);
	if (r != -EAGAIN || !until || begun) {
		up_unguard(&c->guard, &k);
		return r == -EAGAIN && until ? begun : r;
	}
	w.data = sends ? (void *)(uintptr_t)item : ret_item;
	w.tag = 0;
	r = up_sync_wait(&w, &c->guard, sends ? &c->senders : &c->receivers, until);
	return r ? r : -(int)w.tag;
}

/* Where there are no bytes to point at. */
static char nothing[1];

static int send_item(struct upcall_chan *c, const void *item, uint64_t until)
{
	if (!c || (!item && c->elem_sz))
		return -EINVAL;
	return up_sync_end(transfer(c, item ? item : nothing, NULL, until));
}

static int recv_item(struct upcall_chan *c, void *ret_item, uint64_t until)
{
	if (!c || (!ret_item && c->elem_sz))
		return -EINVAL;
	return up_sync_end(transfer(c, NULL, ret_item, until));
}

int upcall_chan_send(struct upcall_chan *c, const void *item)
{
	return send_item(c, item, UP_FOREVER);
}

int upcall_chan_send_until(struct upcall_chan *c, const void *item, uint64_t until)
{
	return send_item(c, item, UP_MAX(until, (uint64_t)1));
}

int upcall_chan_trysend(struct upcall_chan *c, const void *item)
{
	return send_item(c, item, 0);
}

int upcall_chan_recv(struct upcall_chan *c, void *ret_item)
{
	return recv_item(c, ret_item, UP_FOREVER);
}

int upcall_chan_recv_until(struct upcall_chan *c, void *ret_item, uint64_t until)
{
	return recv_item(c, ret_item, UP_MAX(until, (uint64_t)1));
}

int upcall_chan_tryrecv(struct upcall_chan *c, void *ret_item)
{
	return recv_item(c, ret_item, 0);
}

static void refuse_all(struct up_waitq *q, struct up_wakes *k)
{
	struct up_waiter *w;

	while ((w = take_first(q))) {
		w->tag = EPIPE;
		up_wait_give(w, k);
	}
}

int upcall_chan_close(struct upcall_chan *c)
{
	struct up_wakes k = { 0 };
	int r = 0;

	if (!c)
		return -EINVAL;
	up_guard(&c->guard);
	if (c->closed)
		r = -EPIPE;
	c->closed = true;
	refuse_all(&c->senders, &k);
	if (!UP_MUT(chan_close_untold))
		refuse_all(&c->receivers, &k);
	up_unguard(&c->guard, &k);
	return r;
}
