/* SPDX-License-Identifier: MIT */
/*
 * Stacks: pooled by size, a guard below each, resident only where touched.  A guard is a mark in
 * the page tables where Linux has that (6.13), else a protected page; the latter costs a mapping
 * each, and where Linux refuses one more the stack goes without, which is counted.
 *
 * The pool is guarded by a lock that any kernel thread may take with preemption off.
 */
#include "user/uthread.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/inject.h"
#include "base/mutant.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#define GUARD_SZ       4096u
#define VCORE_STACK_SZ (64u << 10)
/* Size classes are powers of two from 2^12 to 2^47. */
#define CLASS_MIN 12
#define CLASS_NR  36

/* A free stack's link lies at its top, in a page that its last user has touched. */
struct free_stack {
	struct free_stack *next;
	struct up_stack stack;
};

static struct {
	struct up_lock lock;
	struct free_stack *free[CLASS_NR];
	bool no_marks; /* Linux has no guard marks */
} pool;

unsigned up_stack_unguarded;

static unsigned class_of(size_t sz)
{
	return up_highest_bit(up_roundup_pow2(UP_MAX(sz, (size_t)1 << CLASS_MIN))) - CLASS_MIN;
}

static bool guard(void *at)
{
	if (UP_MUT(stack_guard_left_out))
		return true;
	if (!up_load_relaxed(&pool.no_marks)) {
		if (!madvise(at, GUARD_SZ, MADV_GUARD_INSTALL))
			return true;
		up_store_relaxed(&pool.no_marks, true);
	}
	return !mprotect(at, GUARD_SZ, PROT_NONE);
}

static int map_stack(size_t sz, struct up_stack *ret)
{
	size_t map_sz = sz + GUARD_SZ;
	char *at = UP_INJECT_FAIL(stack_map)
			   ? MAP_FAILED
			   : mmap(NULL, map_sz, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

	if (at == MAP_FAILED)
		return -ENOMEM;
	ret->guarded = guard(at);
	if (!ret->guarded)
		up_fetch_add_relaxed(&up_stack_unguarded, 1);
	ret->lo = at + GUARD_SZ;
	ret->sz = sz;
	ret->map_sz = map_sz;
	return 0;
}

int up_stack_get(size_t sz, struct up_stack *ret)
{
	struct free_stack *f;
	unsigned c;

	if (sz > (size_t)1 << (CLASS_MIN + CLASS_NR - 1))
		return -ENOMEM;
	c = class_of(sz);
	up_preempt_disable();
	up_lock_take(&pool.lock);
	f = pool.free[c];
	if (f)
		pool.free[c] = f->next;
	up_lock_drop(&pool.lock);
	up_preempt_enable();
	if (!f)
		return map_stack((size_t)1 << (c + CLASS_MIN), ret);
	*ret = f->stack;
	return 0;
}

void up_stack_put(struct up_stack *s)
{
	struct free_stack *f;
	unsigned c = class_of(s->sz);

	if (!s->map_sz)
		return;
	f = (struct free_stack *)((char *)s->lo + s->sz - sizeof(*f));
	f->stack = *s;
	up_preempt_disable();
	up_lock_take(&pool.lock);
	f->next = pool.free[c];
	pool.free[c] = f;
	up_lock_drop(&pool.lock);
	up_preempt_enable();
}

void up_stack_drain(void)
{
	struct free_stack *f, *next;
	unsigned c;

	for (c = 0; c < CLASS_NR; c++) {
		for (f = pool.free[c]; f; f = next) {
			next = f->next;
			if (!f->stack.guarded)
				up_fetch_sub_relaxed(&up_stack_unguarded, 1);
			munmap((char *)f->stack.lo - GUARD_SZ, f->stack.map_sz);
		}
		pool.free[c] = NULL;
	}
}

/* In the child of a fork: the pool may have been in the middle of a change, on a thread that is no
 * more.  What lay in it is given up. */
void up_stack_fork_child(void)
{
	memset(&pool, 0, sizeof(pool));
	up_stack_unguarded = 0;
}

/* A transition stack: resident before it is needed, since a fault there could not be served. */
int up_stack_vcore(void **ret_lo, void **ret_top)
{
	size_t sz = VCORE_STACK_SZ + GUARD_SZ;
	char *at = mmap(NULL, sz, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (at == MAP_FAILED)
		return -ENOMEM;
	mprotect(at, GUARD_SZ, PROT_NONE);
	mlock(at + GUARD_SZ, VCORE_STACK_SZ); /* as far as RLIMIT_MEMLOCK goes */
	*ret_lo = at;
	*ret_top = at + sz;
	return 0;
}
