/* SPDX-License-Identifier: MIT */
/* Numbers with units: digits, then one of the names of a table. */
#include "base/units.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/clock.h"

const struct up_unit up_units_count[] = { { "", 1 }, { NULL, 0 } };

const struct up_unit up_units_duration[] = { { "ns", 1 },
					     { "us", UP_NSEC_PER_USEC },
					     { "ms", UP_NSEC_PER_MSEC },
					     { "s", UP_NSEC_PER_SEC },
					     { NULL, 0 } };

const struct up_unit up_units_size[] = {
	{ "", 1 }, { "K", 1u << 10 }, { "M", 1u << 20 }, { "G", 1u << 30 }, { NULL, 0 }
};

int up_units_parse(const char *text, const struct up_unit *units, uint64_t *ret_value)
{
	uint64_t n = 0;
	const char *c;

	for (c = text; *c >= '0' && *c <= '9'; c++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*c - '0'), &n))
			return -EINVAL;
	if (c == text)
		return -EINVAL;
	for (; units->name; units++) {
		if (strcmp(c, units->name))
			continue;
		if (__builtin_mul_overflow(n, units->factor, &n))
			return -EINVAL;
		*ret_value = n;
		return 0;
	}
	return -EINVAL;
}
