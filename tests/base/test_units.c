/* SPDX-License-Identifier: MIT */
/* Numbers with units: what is one, and all that is none. */
#include <errno.h>

#include "base/units.h"
#include "unit.h"

static void takes(const char *text, const struct up_unit *units, uint64_t want)
{
	uint64_t got = ~want;

	assert_int_equal(up_units_parse(text, units, &got), 0);
	assert_int_equal(got, want);
}

static void refuses(const char *text, const struct up_unit *units)
{
	uint64_t got = 12345;

	assert_int_equal(up_units_parse(text, units, &got), -EINVAL);
	assert_int_equal(got, 12345); /* untouched on failure */
}

static void test_numbers(void **state)
{
	takes("0", up_units_count, 0);
	takes("8", up_units_count, 8);
	takes("0008", up_units_count, 8);
	takes("18446744073709551615", up_units_count, UINT64_MAX);
	refuses("18446744073709551616", up_units_count);
	refuses("99999999999999999999999", up_units_count);
	refuses("", up_units_count);
	refuses("-1", up_units_count);
	refuses("+1", up_units_count);
	refuses(" 1", up_units_count);
	refuses("1 ", up_units_count);
	refuses("1.5", up_units_count);
	refuses("0x10", up_units_count);
	refuses("1K", up_units_count);
}

static void test_durations(void **state)
{
	takes("1ns", up_units_duration, 1);
	takes("500us", up_units_duration, 500000);
	takes("1ms", up_units_duration, 1000000);
	takes("2s", up_units_duration, 2000000000);
	refuses("5", up_units_duration); /* of what? */
	refuses("ms", up_units_duration);
	refuses("1 ms", up_units_duration);
	refuses("1msx", up_units_duration);
	refuses("1m", up_units_duration);
	refuses("18446744073709551615s", up_units_duration);
}

static void test_sizes(void **state)
{
	takes("4096", up_units_size, 4096);
	takes("64K", up_units_size, 65536);
	takes("1M", up_units_size, 1048576);
	takes("2G", up_units_size, UINT64_C(2) << 30);
	refuses("64k", up_units_size);
	refuses("64KB", up_units_size);
	refuses("K", up_units_size);
	refuses("18446744073709551615K", up_units_size);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_numbers),
	cmocka_unit_test(test_durations),
	cmocka_unit_test(test_sizes),
};

UNIT_MAIN(tests)
