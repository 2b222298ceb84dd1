/* SPDX-License-Identifier: MIT */
/*
 * base/atomic.h: each macro does what its name says, and the fence that our protocols lean on
 * (store a flag, full fence, look at the other's flag) forbids what x86 and Arm would otherwise do.
 */
#include "unit.h"

#include <pthread.h>
#include <stdbool.h>

#include "base/atomic.h"
#include "base/bits.h"

static void exchange_and_fetch_give_the_old_value(void **state)
{
	uint64_t word = 5;

	assert_int_equal(up_xchg_acq_rel(&word, 6), 5);
	assert_int_equal(up_xchg_seq_cst(&word, 8), 6);
	assert_int_equal(up_fetch_add_relaxed(&word, 1), 8);
	assert_int_equal(up_fetch_sub_acq_rel(&word, 2), 9);
	assert_int_equal(up_fetch_or_acq_rel(&word, 0x10), 7);
	assert_int_equal(up_fetch_and_seq_cst(&word, 0x12), 0x17);
	assert_int_equal(up_load_acquire(&word), 0x12);
	up_store_release(&word, 1);
	up_store_seq_cst(&word, up_load_relaxed(&word) + 1);
	assert_int_equal(up_load_seq_cst(&word), 2);
}

static void cas_tells_what_it_found(void **state)
{
	uint32_t word = 1, expected = 2;

	assert_false(up_cas_acq_rel(&word, &expected, 3));
	assert_int_equal(expected, 1);
	assert_int_equal(word, 1);
	assert_true(up_cas_acq_rel(&word, &expected, 3));
	assert_int_equal(word, 3);
	expected = 3;
	assert_true(up_cas_seq_cst(&word, &expected, 4));
	expected = 4;
	assert_true(up_cas_relaxed(&word, &expected, 5));
	assert_int_equal(word, 5);
}

static void small_operands_touch_no_neighbour(void **state)
{
	struct {
		uint8_t before, word, after;
	} s = { 0xaa, 0, 0xbb };

	up_fetch_or_acq_rel(&s.word, 0xff);
	up_fetch_add_seq_cst(&s.word, 1);
	assert_int_equal(s.word, 0);
	assert_int_equal(s.before, 0xaa);
	assert_int_equal(s.after, 0xbb);
}

/* Store buffering, the shape of post-then-look: both sides must never miss each other. */
enum {
	rounds = 20000
};
/* A cache line each: on one line the stores would seldom linger in the store buffers. */
static struct {
	uint32_t flag UP_CACHE_ALIGNED;
} side_of[2];
static uint32_t missed[2][rounds];
static uint32_t turn[2];

/* Both start a round together, as nearly as they can. */
static void meet(int side, uint32_t round)
{
	up_store_release(&turn[side], round);
	while (up_load_acquire(&turn[!side]) < round)
		up_cpu_relax();
}

static void *post_then_look(void *arg)
{
	int side = *(int *)arg;

	for (uint32_t round = 0; round < rounds; round++) {
		meet(side, 2 * round + 1);
		up_store_relaxed(&side_of[side].flag, round + 1);
		up_fence_seq_cst();
		missed[side][round] = up_load_relaxed(&side_of[!side].flag) <= round;
		meet(side, 2 * round + 2);
	}
	return NULL;
}

static void full_fence_lets_no_two_miss_each_other(void **state)
{
	pthread_t other;
	int sides[2] = { 0, 1 };
	unsigned both = 0;

	assert_int_equal(pthread_create(&other, NULL, post_then_look, &sides[1]), 0);
	post_then_look(&sides[0]);
	assert_int_equal(pthread_join(other, NULL), 0);
	for (int i = 0; i < rounds; i++)
		both += missed[0][i] && missed[1][i];
	assert_int_equal(both, 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(exchange_and_fetch_give_the_old_value),
	cmocka_unit_test(cas_tells_what_it_found),
	cmocka_unit_test(small_operands_touch_no_neighbour),
	cmocka_unit_test(full_fence_lets_no_two_miss_each_other),
};

UNIT_MAIN(tests)
