/* SPDX-License-Identifier: MIT */
/*
 * Which deques there are.  One is given to a uthread when it first spawns, and kept until that ends;
 * then another uthread may have it.  The memory stays until upcall_stop().
 */
#include "fork/fork.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* Uthread 0 is on the stack that Linux gave it, of which no more than this is allowed for. */
#define MAIN_STACK_MAX (1ul << 30)
#define MAIN_STACK_ANY (64ul << 20)

struct up_forks up_forks;

void up_forks_lock(void)
{
	up_preempt_disable();
	up_lock_take(&up_forks.lock);
}

void up_forks_unlock(void)
{
	up_lock_drop(&up_forks.lock);
	up_preempt_enable();
}

static size_t stack_sz_of(const struct up_uthread *u)
{
	struct rlimit lim;

	if (!u->is_main)
		return u->stack.sz;
	if (getrlimit(RLIMIT_STACK, &lim) || lim.rlim_cur == RLIM_INFINITY)
		return MAIN_STACK_ANY;
	return UP_MIN((size_t)lim.rlim_cur, MAIN_STACK_MAX);
}

/* Under the lock: a new one out of the chunks there are. */
static struct up_deque *next_of_chunks(uint32_t *ret_chunk)
{
	uint32_t i = up_forks.nr;
	unsigned c = up_highest_bit(i / UP_CHUNK_FIRST + 1);

	*ret_chunk = c;
	if (c >= UP_CHUNK_NR || !up_forks.chunk[c])
		return NULL;
	up_store_release(&up_forks.nr, i + 1); /* pairs with who walks them: the chunk is there */
	return up_deque_nth(i);
}

static struct up_deque *find_deque(uint32_t *ret_chunk)
{
	struct up_deque *d;

	up_forks_lock();
	d = up_forks.free;
	if (d)
		up_forks.free = d->next;
	else
		d = next_of_chunks(ret_chunk);
	up_forks_unlock();
	return d;
}

/* Outside the lock: allocation may wait for a uthread that was put aside. */
static struct up_deque *get_deque(void)
{
	struct up_deque *d, *made;
	size_t sz;
	uint32_t c = 0;

	while (!(d = find_deque(&c))) {
		if (c >= UP_CHUNK_NR)
			return NULL;
		sz = (size_t)(UP_CHUNK_FIRST << c) * sizeof(*made);
		made = UP_INJECT_FAIL(fork_chunk) ? NULL : aligned_alloc(UP_CACHELINE_SZ, sz);
		if (!made)
			return NULL;
		memset(made, 0, sz);
		up_forks_lock();
		if (!up_forks.chunk[c]) {
			up_store_relaxed(&up_forks.chunk[c], made); /* published by nr */
			made = NULL;
		}
		up_forks_unlock();
		free(made); /* another was faster */
	}
	return d;
}

static void put_deque(struct up_deque *d)
{
	up_forks_lock();
	d->next = up_forks.free;
	up_forks.free = d;
	up_forks_unlock();
}

static void init(void)
{
	up_forks_lock();
	if (!up_rt.fork) {
		up_fence_init();
		/* release: pairs with the acquires of vcore context */
		up_store_release(&up_rt.fork, &up_fork_ops);
	}
	up_forks_unlock();
}

struct up_deque *up_deque_attach(struct up_uthread *u)
{
	struct up_deque *d;

	init();
	d = get_deque();
	if (!d)
		return NULL;
	if (!up_deque_make_room(d)) {
		put_deque(d);
		return NULL;
	}
	up_store_relaxed(&d->stack_sz, stack_sz_of(u)); /* published by the first push */
	u->deque = d;
	up_forks_lock();
	if (d->stack_sz > up_forks.stack_sz)
		up_store_relaxed(&up_forks.stack_sz, d->stack_sz); /* a hint outside the lock */
	up_forks_unlock();
	return d;
}

void up_deque_detach(struct up_uthread *u)
{
	struct up_deque *d = u->deque;

	if (!d)
		return;
	/* Its frames are about to be gone, and others may be at work for one. */
	UP_BUG_ON((d->last || d->foreign) && !UP_MUT(fork_open_end_unseen));
	u->deque = NULL;
	put_deque(d);
}

void up_forks_free(void)
{
	uint32_t i;

	for (i = 0; i < up_forks.nr; i++)
		up_deque_free_arrays(up_deque_nth(i));
	for (i = 0; i < UP_CHUNK_NR; i++)
		free(up_forks.chunk[i]);
	memset(&up_forks, 0, sizeof(up_forks));
}
