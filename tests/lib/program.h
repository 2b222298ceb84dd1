/* SPDX-License-Identifier: MIT */
/* What a test that is a program of its own needs: numbers from its arguments, and what it has left. */
#ifndef UP_TEST_PROGRAM_H
#define UP_TEST_PROGRAM_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "entries.h"

static inline uint64_t program_number(const char *s)
{
	char *end;
	uint64_t n = strtoull(s, &end, 0);

	if (!*s || *end) {
		fprintf(stderr, "%s: not a number: %s\n", program_invocation_short_name, s);
		exit(2);
	}
	return n;
}

#endif
