/* SPDX-License-Identifier: MIT */
/*
 * Sleeping on a 32-bit word. For activations, watchers and other kernel threads of ours, with any
 * FS base: raw system calls, no errno, no TLS. The results are 0 or -errno; -EINTR and a wake
 * without cause happen, so callers look at their word again whatever comes back. "private" is for
 * words of one process (cheaper); "shared" for words that another process maps.
 */
#ifndef UP_BASE_FUTEX_H
#define UP_BASE_FUTEX_H

#include <linux/futex.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/syscall.h"

/* A deadline that never comes. */
#define UP_FUTEX_FOREVER UINT64_MAX

/*
 * Sleeps while *word is expected, until deadline_ns on CLOCK_MONOTONIC. 0: woken, maybe for no
 * cause; -EAGAIN: *word was another value; -ETIMEDOUT; -EINTR.  Linux does not read the mark.
 */
static UP_SYSCALL_INLINE int up_futex_wait_marked(uint32_t *word, uint32_t expected,
						  uint64_t deadline_ns, int flags, long mark)
{
	struct timespec ts = up_ns_timespec(deadline_ns);
	struct timespec *until = deadline_ns == UP_FUTEX_FOREVER ? NULL : &ts;

	/* WAIT_BITSET, unlike WAIT, takes an absolute time: nothing reads a clock first. */
	return (int)up_syscall6(SYS_futex, (long)word, FUTEX_WAIT_BITSET | flags, (long)expected,
				(long)until, mark, (long)FUTEX_BITSET_MATCH_ANY);
}

static UP_SYSCALL_INLINE int up_futex_wait_op(uint32_t *word, uint32_t expected,
					      uint64_t deadline_ns, int flags)
{
	return up_futex_wait_marked(word, expected, deadline_ns, flags, 0);
}

/* Wakes at most nr sleepers; the result is how many, or -errno. */
static UP_SYSCALL_INLINE int up_futex_wake_op(uint32_t *word, int nr, int flags)
{
	return (int)up_syscall3(SYS_futex, word, FUTEX_WAKE | flags, nr);
}

static UP_SYSCALL_INLINE int up_futex_wait_private(uint32_t *word, uint32_t expected,
						   uint64_t deadline_ns)
{
	return up_futex_wait_op(word, expected, deadline_ns, FUTEX_PRIVATE_FLAG);
}

static UP_SYSCALL_INLINE int up_futex_wait_shared(uint32_t *word, uint32_t expected,
						  uint64_t deadline_ns)
{
	return up_futex_wait_op(word, expected, deadline_ns, 0);
}

static UP_SYSCALL_INLINE int up_futex_wake_private(uint32_t *word, int nr)
{
	return up_futex_wake_op(word, nr, FUTEX_PRIVATE_FLAG);
}

static UP_SYSCALL_INLINE int up_futex_wake_shared(uint32_t *word, int nr)
{
	return up_futex_wake_op(word, nr, 0);
}

#endif
