/* SPDX-License-Identifier: MIT */
/*
 * Stacks: a guard below each, resident only where touched.  A guard is a mark in the page tables
 * where Linux has that (6.13), else a protected page; the latter costs a mapping each, and where Linux
 * refuses one more the stack goes without, which is counted.  They are pooled as slots (slot.c).
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

static bool no_marks; /* Linux has no guard marks */

unsigned up_stack_unguarded;

static bool guard(void *at)
{
	if (UP_MUT(stack_guard_left_out))
		return true;
	if (!up_load_relaxed(&no_marks)) {
		if (!madvise(at, GUARD_SZ, MADV_GUARD_INSTALL))
			return true;
		up_store_relaxed(&no_marks, true);
	}
	return !mprotect(at, GUARD_SZ, PROT_NONE);
}

size_t up_stack_room(size_t sz)
{
	return sz + GUARD_SZ;
}

void *up_stack_map(size_t sz, unsigned nr)
{
	char *at = UP_INJECT_FAIL(stack_map)
			   ? MAP_FAILED
			   : mmap(NULL, up_stack_room(sz) * nr, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

	return at == MAP_FAILED ? NULL : at;
}

void up_stack_begin(void *at, size_t sz, struct up_stack *ret)
{
	ret->guarded = guard(at);
	if (!ret->guarded)
		up_fetch_add_relaxed(&up_stack_unguarded, 1);
	ret->lo = (char *)at + GUARD_SZ;
	ret->sz = sz;
}

void up_stack_end(const struct up_stack *s)
{
	if (!s->guarded)
		up_fetch_sub_relaxed(&up_stack_unguarded, 1);
}

void up_stack_unmap(void *at, size_t sz, unsigned nr)
{
	munmap(at, up_stack_room(sz) * nr);
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
