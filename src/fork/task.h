/* SPDX-License-Identifier: MIT */
/*
 * One spawned call, in the struct upcall_fork on its caller's stack, and the word by which whoever took
 * it and whoever waits for it find each other:
 *
 *   UP_TASK_FRESH   spawned; perhaps taken, by one who has not yet said so
 *   a deque         of the uthread that runs it
 *   a uthread + 2   waits off its vcore; to be woken by who ends it
 *   UP_TASK_DONE    what fn wrote can be read.  From here on the memory is its caller's again
 *   UP_TASK_RAN     it was run where it was spawned, and is none of a deque's
 *   UP_TASK_SYNCED  nothing of the kind any more
 *
 * Words that make no pointer, nor what uninitialised memory often holds.
 */
#ifndef UP_FORK_TASK_H
#define UP_FORK_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/inject.h"
#include "base/mutant.h"
#include "fork/deque.h"

#define UP_TASK_FRESH	((uintptr_t)0xf0f10001)
#define UP_TASK_DONE	((uintptr_t)0xf0f10005)
#define UP_TASK_RAN	((uintptr_t)0xf0f10009)
#define UP_TASK_SYNCED	((uintptr_t)0xf0f1000d)
#define UP_TASK_WAITER	((uintptr_t)2)
#define UP_TASK_NOT_PTR ((uintptr_t)3) /* these bits of a deque's address are 0 */

struct up_task {
	void (*fn)(void *);
	void *arg;
	uintptr_t state;
	struct up_task *prev; /* owner: spawned before it, and not synced */
};

/* The thief: from whom it can be taken back in parts. */
static inline void up_task_taken(struct up_task *t, struct up_deque *by)
{
	uintptr_t fresh = UP_TASK_FRESH;

	/* release: pairs with the waiter's acquire; a waiter that is there already stays */
	up_cas_release(&t->state, &fresh, (uintptr_t)by);
}

/* The waiter, off its stack: true when who ends the task will wake it, false when that has ended. */
static inline bool up_task_wait(struct up_task *t, void *waiter)
{
	uintptr_t s = up_load_acquire(&t->state);

	UP_INJECT(fork_wait);
	if (UP_MUT(fork_wait_stored)) {
		up_store_release(&t->state, (uintptr_t)waiter | UP_TASK_WAITER);
		return true;
	}
	do
		if (s == UP_TASK_DONE)
			return false;
	/* acq_rel: pairs with up_task_end()'s exchange: one of the two sees the other */
	while (!up_cas_acq_rel(&t->state, &s, (uintptr_t)waiter | UP_TASK_WAITER));
	return true;
}

/* It has run: whom the caller is to wake, or NULL.  The task is not to be touched any more. */
static inline void *up_task_end(struct up_task *t)
{
	uintptr_t s;

	UP_INJECT(fork_end);
	/* acq_rel: results before the word; and the waiter, whole, behind it */
	s = up_xchg_acq_rel(&t->state, UP_TASK_DONE);
	return (s & UP_TASK_NOT_PTR) == UP_TASK_WAITER ? (void *)(s & ~UP_TASK_WAITER) : NULL;
}

#endif
