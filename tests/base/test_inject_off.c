/* SPDX-License-Identifier: MIT */
/* base/inject.h in an ordinary build: a point leaves no trace, and the table is empty. */
#include "unit.h"

#include <stdlib.h>

#undef UP_INJECT_ON
#include "base/inject.h"

static int never(unsigned nr, const char *name, void *arg)
{
	abort();
}

static void points_compiled_out_are_nothing(void **state)
{
	up_inject_set_hook(never, NULL);
	UP_INJECT(gone);
	assert_int_equal(UP_INJECT_FAIL(gone_too), 0);
	up_inject_set_hook(NULL, NULL);
	assert_int_equal(up_inject_count(), 0);
	assert_null(up_inject_name(0));
	assert_int_equal(up_inject_find("gone"), -1);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(points_compiled_out_are_nothing),
};

UNIT_MAIN(tests)
