/* SPDX-License-Identifier: MIT */
/* base/mutant.h: one named defect is 1, every other is 0, and both are constants. */
#define UP_MUT_selftest_on  1
#define UP_MUT_selftest_two 2
#include "unit.h"

#include "base/bug.h"
#include "base/mutant.h"

UP_STATIC_ASSERT(UP_MUT(selftest_on) == 1, "a constant expression");
UP_STATIC_ASSERT(UP_MUT(selftest_off) == 0, "a constant expression");

static void only_the_named_defect_is_on(void **state)
{
	int dropped = 0;

	if (!UP_MUT(selftest_on))
		dropped += 1;
	if (!UP_MUT(selftest_off))
		dropped += 2;
	assert_int_equal(dropped, 2);
}

static void no_value_but_1_switches_one_on(void **state)
{
	assert_int_equal(UP_MUT(selftest_two), 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(only_the_named_defect_is_on),
	cmocka_unit_test(no_value_but_1_switches_one_on),
};

UNIT_MAIN(tests)
