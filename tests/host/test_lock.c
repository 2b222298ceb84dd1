/* SPDX-License-Identifier: MIT */
/* base/lock.h: one holder at a time, and a sleeper is woken. */
#include "asleep.h"
#include "unit.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "base/lock.h"

#define THREADS 4
#define ROUNDS	20000

static struct up_lock lock;
static uint64_t counter;
static uint32_t done;

static void *add(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		up_lock_take(&lock);
		counter = counter + 1; /* plain: the lock is what keeps it right */
		up_lock_drop(&lock);
	}
	return NULL;
}

static void one_holder_at_a_time(void **state)
{
	pthread_t t[THREADS];

	alarm(20); /* a hang is a failure */
	counter = 0;
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, add, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	assert_true(counter == (uint64_t)THREADS * ROUNDS);
	assert_int_equal(lock.word, 0);
}

static void try_does_not_wait(void **state)
{
	assert_true(up_lock_try(&lock));
	assert_false(up_lock_try(&lock));
	up_lock_drop(&lock);
	assert_true(up_lock_try(&lock));
	up_lock_drop(&lock);
}

static void *take_once(void *arg)
{
	__atomic_store_n((int *)arg, asleep_self(), __ATOMIC_RELEASE);
	up_lock_take(&lock);
	up_lock_drop(&lock);
	up_fetch_add_release(&done, 1);
	return NULL;
}

static void sleepers_are_woken(void **state)
{
	uint64_t limit = up_now_ns() + 5 * UP_NSEC_PER_SEC;
	pthread_t t[THREADS];
	int tid[THREADS] = { 0 };

	done = 0;
	up_lock_take(&lock);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, take_once, &tid[i]);
	for (int i = 0; i < THREADS; i++)
		assert_true(asleep_wait(&tid[i]));
	assert_int_equal(up_load_relaxed(&lock.word), 2);
	assert_int_equal(up_load_acquire(&done), 0);
	up_lock_drop(&lock);
	while (up_load_acquire(&done) != THREADS && up_now_ns() < limit)
		usleep(100);
	if (up_load_acquire(&done) != THREADS) {
		fprintf(stderr, "%u of %u still asleep\n", THREADS - done, THREADS);
		_exit(1); /* they cannot be joined */
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(one_holder_at_a_time),
	cmocka_unit_test(try_does_not_wait),
	cmocka_unit_test(sleepers_are_woken),
};

UNIT_MAIN(tests)
