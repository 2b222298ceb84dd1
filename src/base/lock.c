/* SPDX-License-Identifier: MIT */
/*
 * The three-state futex lock.  The word says 2 from the moment that somebody means to sleep until
 * the lock is next free, so a holder that finds 1 on its way out has nobody to wake.
 */
#include "base/lock.h"

#include "base/atomic.h"
#include "base/bug.h"
#include "base/futex.h"
#include "base/inject.h"
#include "base/mutant.h"

/* Some microseconds: longer than the lock is held by a thread that runs, shorter than a sleep. */
#define SPINS 100

int up_lock_sleep(uint32_t *word, uint32_t expected, uint64_t deadline_ns)
{
	return up_futex_wait_marked(word, expected, deadline_ns, FUTEX_PRIVATE_FLAG, UP_LOCK_MARK);
}

void up_lock_rouse(uint32_t *word)
{
	up_futex_wake_private(word, 1);
}

bool up_lock_try(struct up_lock *l)
{
	uint32_t was = 0;

	/* Acquire pairs with the release in up_lock_drop: the holder's writes are seen. */
	return up_cas_acquire(&l->word, &was, 1);
}

void up_lock_take_slowly(struct up_lock *l)
{
	for (int i = 0; i < SPINS; i++) {
		/* A look before the attempt keeps the line shared among spinners. */
		if (up_load_relaxed(&l->word) == 0 && up_lock_try(l))
			return;
		up_cpu_relax();
	}
	/* Leaving 2 behind even when nobody else sleeps costs one needless wake, no more.
	 * Acquire as above. */
	while (up_xchg_acquire(&l->word, 2) != 0) {
		UP_INJECT(lock_before_sleep);
		up_lock_sleep(&l->word, 2, UP_FUTEX_FOREVER);
	}
}

void up_lock_wake(struct up_lock *l)
{
	if (!UP_MUT(lock_wake_dropped))
		up_lock_rouse(&l->word);
}
