/* SPDX-License-Identifier: MIT */
/* base/bits.h: arithmetic at its edges (0, powers of two, the last bit of a word). */
#include "unit.h"

#include "base/bits.h"

struct outer {
	int first;
	int inner;
};

static void container_is_found_from_member(void **state)
{
	struct outer o = { 1, 2 };
	int *inner = &o.inner;

	assert_ptr_equal(up_container_of(inner, struct outer, inner), &o);
}

static void alignment_keeps_what_is_aligned(void **state)
{
	assert_int_equal(UP_ALIGN_UP((uint64_t)0, 64), 0);
	assert_int_equal(UP_ALIGN_UP((uint64_t)1, 64), 64);
	assert_int_equal(UP_ALIGN_UP((uint64_t)64, 64), 64);
	assert_int_equal(UP_ALIGN_DOWN((uint64_t)127, 64), 64);
	assert_true(UP_IS_ALIGNED((uint64_t)128, 64));
	assert_false(UP_IS_ALIGNED((uint64_t)129, 64));
	/* The mask must be as wide as the operand, not as an int. */
	assert_true(UP_ALIGN_DOWN(UINT64_C(0x123456789abcdef0), 16) ==
		    UINT64_C(0x123456789abcdef0));
}

static void min_and_max_evaluate_once_and_nest(void **state)
{
	int calls = 0;

	assert_int_equal(UP_MIN(++calls, 10), 1);
	assert_int_equal(calls, 1);
	assert_int_equal(UP_MAX(1, UP_MAX(7, UP_MIN(9, 8))), 8);
	assert_int_equal(UP_ARRAY_LEN(((int[]){ 1, 2, 3 })), 3);
}

static void powers_of_two(void **state)
{
	assert_false(up_is_pow2(0));
	assert_true(up_is_pow2(1));
	assert_true(up_is_pow2(UINT64_C(1) << 63));
	assert_false(up_is_pow2(6));
	assert_int_equal(up_roundup_pow2(1), 1);
	assert_int_equal(up_roundup_pow2(2), 2);
	assert_int_equal(up_roundup_pow2(3), 4);
	assert_true(up_roundup_pow2((UINT64_C(1) << 40) + 1) == UINT64_C(1) << 41);
	assert_int_equal(up_lowest_bit(UINT64_C(1) << 63 | 8), 3);
	assert_int_equal(up_highest_bit(UINT64_C(1) << 63 | 8), 63);
	assert_int_equal(up_popcount(UINT64_MAX), 64);
}

static void next_bit_crosses_words_and_stops(void **state)
{
	uint64_t map[UP_BITMAP_WORDS(130)] = { 0 };

	assert_int_equal(UP_BITMAP_WORDS(130), 3);
	assert_int_equal(up_bit_next(map, 130, 0), 130);
	up_bit_set(map, 63);
	up_bit_set(map, 64);
	up_bit_set(map, 129);
	assert_int_equal(up_bit_next(map, 130, 0), 63);
	assert_int_equal(up_bit_next(map, 130, 64), 64);
	assert_int_equal(up_bit_next(map, 130, 65), 129);
	/* A bit beyond the end does not count. */
	assert_int_equal(up_bit_next(map, 129, 65), 129);
	assert_int_equal(up_bit_next(map, 100, 65), 100);
	up_bit_clear(map, 64);
	assert_false(up_bit_test(map, 64));
	assert_true(up_bit_test(map, 63));
	assert_int_equal(up_bit_next(map, 130, 130), 130);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(container_is_found_from_member),
	cmocka_unit_test(alignment_keeps_what_is_aligned),
	cmocka_unit_test(min_and_max_evaluate_once_and_nest),
	cmocka_unit_test(powers_of_two),
	cmocka_unit_test(next_bit_crosses_words_and_stops),
};

UNIT_MAIN(tests)
