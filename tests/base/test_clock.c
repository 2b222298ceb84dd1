/* SPDX-License-Identifier: MIT */
/* base/clock.h: conversions lose nothing, and the clock goes on. */
#include "unit.h"

#include "base/clock.h"

static void conversions_are_inverse(void **state)
{
	const uint64_t values[] = { 0, 1, 999999999, 1000000000, 1000000001, UINT64_C(1) << 62 };

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct timespec ts = up_ns_timespec(values[i]);

		assert_in_range(ts.tv_nsec, 0, 999999999);
		assert_true(up_timespec_ns(&ts) == values[i]);
	}
}

static void monotonic_goes_on_and_never_back(void **state)
{
	uint64_t start = up_now_ns(), last = start;

	while (last < start + UP_NSEC_PER_MSEC) {
		uint64_t now = up_now_ns();

		assert_true(now >= last);
		last = now;
	}
}

static void cpu_time_is_spent_by_work(void **state)
{
	uint64_t start = up_thread_cpu_ns();

	while (up_thread_cpu_ns() < start + UP_NSEC_PER_MSEC)
		;
	assert_true(up_thread_cpu_ns() - start >= UP_NSEC_PER_MSEC);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(conversions_are_inverse),
	cmocka_unit_test(monotonic_goes_on_and_never_back),
	cmocka_unit_test(cpu_time_is_spent_by_work),
};

UNIT_MAIN(tests)
