/* SPDX-License-Identifier: MIT */
/*
 * cmocka with the headers that it wants before itself. Tests that are pure functions of their input
 * use it; programs that start the runtime use tap.h instead.
 */
#ifndef UP_TESTS_UNIT_H
#define UP_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define UNIT_MAIN(tests)                                          \
	int main(void)                                            \
	{                                                         \
		cmocka_set_message_output(CM_OUTPUT_TAP);         \
		return cmocka_run_group_tests(tests, NULL, NULL); \
	}

#endif
