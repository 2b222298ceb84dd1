/* SPDX-License-Identifier: MIT */
/* host/cpulist.h: the text of CPU sets, good and bad, and sets of different room against one another. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/cpulist.h"

static int parse(struct up_cpus *cpus, const char *text)
{
	up_cpus_clear(cpus);
	return up_cpus_parse(cpus, text, strlen(text));
}

static void lists_and_ranges_are_read(void **state)
{
	struct up_cpus cpus = { 0 };

	assert_int_equal(parse(&cpus, "0-3,8,10-11\n"), 0);
	assert_int_equal(up_cpus_count(&cpus), 7);
	assert_true(up_cpus_has(&cpus, 3));
	assert_false(up_cpus_has(&cpus, 4));
	assert_true(up_cpus_has(&cpus, 8));
	assert_false(up_cpus_has(&cpus, 9));
	assert_true(up_cpus_has(&cpus, 11));
	assert_int_equal(up_cpus_next(&cpus, 0), 0);
	assert_int_equal(up_cpus_next(&cpus, 4), 8);
	assert_true(up_cpus_next(&cpus, 12) == UINT32_MAX);
	assert_int_equal(parse(&cpus, " 5-5 \n"), 0);
	assert_int_equal(up_cpus_count(&cpus), 1);
	/* Overlaps and any order are a set all the same. */
	assert_int_equal(parse(&cpus, "9,2-4,3-5"), 0);
	assert_int_equal(up_cpus_count(&cpus), 5);
	up_cpus_fini(&cpus);
}

static void nothing_is_the_empty_list(void **state)
{
	struct up_cpus cpus = { 0 };

	assert_int_equal(parse(&cpus, ""), 0);
	assert_int_equal(parse(&cpus, "\n"), 0);
	assert_int_equal(parse(&cpus, " \n"), 0);
	assert_int_equal(up_cpus_count(&cpus), 0);
	assert_false(up_cpus_has(&cpus, 0));
	assert_true(up_cpus_next(&cpus, 0) == UINT32_MAX);
	up_cpus_fini(&cpus);
	up_cpus_fini(&cpus);
	up_cpus_fini(NULL);
}

static void garbage_is_refused(void **state)
{
	static const char *const bad[] = { ",",	      "1,",    ",1",   "1,,2", "-",   "1-",  "-1",
					   "3-1",     "1-2-3", "a",    "1a",   "0x1", "1 2", "1;2",
					   "0-7:1/2", "1\n2",  "1- 2", "max",  "+1",  "\x80" };
	struct up_cpus cpus = { 0 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (parse(&cpus, bad[i]) != -EINVAL)
			fail_msg("taken: \"%s\"", bad[i]);
	/* A 0 byte is no end: the length is. */
	assert_int_equal(up_cpus_parse(&cpus, "1\0,2", 4), -EINVAL);
	up_cpus_fini(&cpus);
}

static void a_number_beyond_any_machine_is_refused(void **state)
{
	struct up_cpus cpus = { 0 };

	assert_int_equal(parse(&cpus, "65535"), 0);
	assert_true(up_cpus_has(&cpus, 65535));
	assert_int_equal(parse(&cpus, "0-65535"), 0);
	assert_int_equal(up_cpus_count(&cpus), 65536);
	assert_int_equal(parse(&cpus, "65536"), -ERANGE);
	assert_int_equal(parse(&cpus, "0-65536"), -ERANGE);
	assert_int_equal(parse(&cpus, "4294967296"), -ERANGE);
	assert_int_equal(parse(&cpus, "0-18446744073709551616"), -ERANGE);
	assert_int_equal(up_cpus_reserve(&cpus, UP_CPUS_MAX + 1), -ERANGE);
	up_cpus_fini(&cpus);
}

static void sets_of_different_room_compare(void **state)
{
	struct up_cpus small = { 0 }, large = { 0 }, none = { 0 };

	assert_int_equal(parse(&small, "1,63"), 0);
	assert_int_equal(parse(&large, "1,63,4000"), 0);
	assert_false(up_cpus_equal(&small, &large));
	assert_false(up_cpus_equal(&large, &small));
	assert_true(up_cpus_intersect(&small, &large));
	assert_false(up_cpus_intersect(&none, &large));
	up_cpus_and(&large, &small);
	assert_true(up_cpus_equal(&small, &large));
	assert_true(up_cpus_equal(&large, &small));
	assert_int_equal(parse(&large, "70"), 0);
	assert_false(up_cpus_intersect(&small, &large));
	assert_false(up_cpus_intersect(&large, &small));
	/* A copy of less into more leaves nothing behind. */
	assert_int_equal(parse(&large, "0-200"), 0);
	assert_int_equal(up_cpus_copy(&large, &small), 0);
	assert_true(up_cpus_equal(&small, &large));
	assert_int_equal(up_cpus_copy(&large, &none), 0);
	assert_true(up_cpus_equal(&none, &large));
	up_cpus_fini(&small);
	up_cpus_fini(&large);
}

/* What Linux would print for cpus. */
static size_t print(const struct up_cpus *cpus, char *text, size_t sz)
{
	size_t len = 0;

	for (uint32_t at = up_cpus_next(cpus, 0); at != UINT32_MAX;) {
		uint32_t last = at;

		while (up_cpus_has(cpus, last + 1))
			last++;
		len += (size_t)snprintf(text + len, sz - len, last > at ? "%s%u-%u" : "%s%u",
					len ? "," : "", at, last);
		at = up_cpus_next(cpus, last + 1);
	}
	text[len] = '\0';
	return len;
}

static void any_set_comes_back_from_its_text(void **state)
{
	struct up_cpus cpus = { 0 }, back = { 0 };
	char text[8192];

	srandom(1);
	for (int round = 0; round < 500; round++) {
		up_cpus_clear(&cpus);
		up_cpus_clear(&back);
		assert_int_equal(up_cpus_reserve(&cpus, 2048), 0);
		for (int i = 0; i < 400; i++)
			cpus.word[random() % 32] |= UINT64_C(1) << (random() % 64);
		assert_int_equal(up_cpus_parse(&back, text, print(&cpus, text, sizeof(text))), 0);
		assert_true(up_cpus_equal(&cpus, &back));
	}
	up_cpus_fini(&cpus);
	up_cpus_fini(&back);
}

/*
 * Bytes out of the parser's own alphabet, in memory of exactly their length. Whatever is taken must
 * print as text that is taken again and means the same.
 */
static void random_text_never_hurts(void **state)
{
	static const char alphabet[] = "0123456789,,--- \n\0a";
	struct up_cpus cpus = { 0 }, back = { 0 };
	static char text[600000];
	int nr_taken = 0;

	srandom(2);
	for (int round = 0; round < 20000; round++) {
		size_t len = (size_t)random() % 12;
		char *bytes = malloc(len ? len : 1);

		for (size_t i = 0; i < len; i++)
			bytes[i] = alphabet[(size_t)random() % sizeof(alphabet)];
		up_cpus_clear(&cpus);
		if (!up_cpus_parse(&cpus, bytes, len)) {
			nr_taken++;
			up_cpus_clear(&back);
			assert_int_equal(
				up_cpus_parse(&back, text, print(&cpus, text, sizeof(text))), 0);
			assert_true(up_cpus_equal(&cpus, &back));
		}
		free(bytes);
	}
	/* Neither all nor none: the text was of the right kind. */
	assert_in_range(nr_taken, 100, 19900);
	up_cpus_fini(&cpus);
	up_cpus_fini(&back);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(lists_and_ranges_are_read),
	cmocka_unit_test(nothing_is_the_empty_list),
	cmocka_unit_test(garbage_is_refused),
	cmocka_unit_test(a_number_beyond_any_machine_is_refused),
	cmocka_unit_test(sets_of_different_room_compare),
	cmocka_unit_test(any_set_comes_back_from_its_text),
	cmocka_unit_test(random_text_never_hurts),
};

UNIT_MAIN(tests)
