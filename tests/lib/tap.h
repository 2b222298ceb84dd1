/* SPDX-License-Identifier: MIT */
/*
 * TAP for programs that cannot live inside cmocka (it catches SIGSEGV and jumps; the runtime must
 * own both). One plan first, then exactly that many points. All of stdout belongs to this file; say
 * the rest on stderr, or by tap_note. exit(tap_done()) is 0 only when every point passed.
 */
#ifndef UP_TESTS_TAP_H
#define UP_TESTS_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned tap_planned, tap_made, tap_failed;

static inline void tap_plan(unsigned nr)
{
	tap_planned = nr;
	printf("1..%u\n", nr);
	fflush(stdout);
}

__attribute__((format(printf, 2, 3))) static inline bool tap_ok(bool good, const char *fmt, ...)
{
	va_list args;

	printf("%sok %u - ", good ? "" : "not ", ++tap_made);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
	tap_failed += !good;
	return good;
}

/* A point that cannot be made here, and why. */
__attribute__((format(printf, 2, 3))) static inline void tap_skip(const char *what, const char *fmt,
								  ...)
{
	va_list args;

	printf("ok %u - %s # SKIP ", ++tap_made, what);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

__attribute__((format(printf, 1, 2))) static inline void tap_note(const char *fmt, ...)
{
	va_list args;

	printf("# ");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

/* For what leaves no point in going on. */
#define tap_bail(...)                             \
	do {                                      \
		printf("Bail out! " __VA_ARGS__); \
		putchar('\n');                    \
		exit(1);                          \
	} while (0)

static inline int tap_done(void)
{
	return tap_failed || tap_made != tap_planned;
}

#endif
