/* SPDX-License-Identifier: MIT */
/*
 * Numbers with units as people type them: 8, 500us, 64K.  A unit is asked for where there is more than
 * one, since a bare number would be guessed at.  No blanks, no signs, no fractions.
 */
#ifndef UP_BASE_UNITS_H
#define UP_BASE_UNITS_H

#include <stdint.h>

struct up_unit {
	const char *name;
	uint64_t factor;
};

/* Each ends with a NULL name. */
extern const struct up_unit up_units_count[];	 /* none */
extern const struct up_unit up_units_duration[]; /* ns us ms s, into ns */
extern const struct up_unit up_units_size[];	 /* none, K M G, into bytes */

/* -EINVAL: no such number, or too large for its type. */
int up_units_parse(const char *text, const struct up_unit *units, uint64_t *ret_value);

#endif
