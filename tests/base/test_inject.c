/* SPDX-License-Identifier: MIT */
/* base/inject.h: points number themselves, the hook gets the right one, and none is silent. */
#include "unit.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#ifndef UP_INJECT_ON
#define UP_INJECT_ON 1
#endif
#include "base/inject.h"

struct seen {
	unsigned nr[8];
	const char *name[8];
	unsigned count;
	int answer;
};

static int record(unsigned nr, const char *name, void *arg)
{
	struct seen *seen = arg;

	if (seen->count < 8) {
		seen->nr[seen->count] = nr;
		seen->name[seen->count] = name;
	}
	seen->count++;
	return seen->answer;
}

static void pass_first(void)
{
	UP_INJECT(first);
}

static int pass_second(void)
{
	return UP_INJECT_FAIL(second);
}

static void pass_third(void)
{
	UP_INJECT(third);
	pass_first();
}

static void points_are_numbered_without_gaps(void **state)
{
	bool found[3] = { false };
	const char *const names[3] = { "first", "second", "third" };

	assert_int_equal(up_inject_count(), 3);
	for (unsigned nr = 0; nr < 3; nr++)
		for (unsigned i = 0; i < 3; i++)
			found[i] |= !strcmp(up_inject_name(nr), names[i]);
	assert_true(found[0] && found[1] && found[2]);
	assert_null(up_inject_name(3));
	assert_int_equal(up_inject_find("fourth"), -1);
}

static void hook_gets_number_and_name(void **state)
{
	struct seen seen = { .answer = 0 };

	up_inject_set_hook(record, &seen);
	pass_third();
	up_inject_set_hook(NULL, NULL);
	assert_int_equal(seen.count, 2);
	assert_string_equal(seen.name[0], "third");
	assert_string_equal(seen.name[1], "first");
	assert_int_equal(seen.nr[0], up_inject_find("third"));
	assert_int_equal(seen.nr[1], up_inject_find("first"));
}

static void hook_can_make_a_call_fail(void **state)
{
	struct seen seen = { .answer = -12 };

	up_inject_set_hook(record, &seen);
	assert_int_equal(pass_second(), -12);
	up_inject_set_hook(NULL, NULL);
	assert_int_equal(seen.count, 1);
}

static void without_a_hook_nothing_happens(void **state)
{
	up_inject_set_hook(NULL, NULL);
	pass_third();
	assert_int_equal(pass_second(), 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(points_are_numbered_without_gaps),
	cmocka_unit_test(hook_gets_number_and_name),
	cmocka_unit_test(hook_can_make_a_call_fail),
	cmocka_unit_test(without_a_hook_nothing_happens),
};

UNIT_MAIN(tests)
