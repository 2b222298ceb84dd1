/* SPDX-License-Identifier: MIT */
/*
 * Sets of CPUs of any size and their text form. See cpulist.h for what is promised.
 */
#include "host/cpulist.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

void up_cpus_fini(struct up_cpus *cpus)
{
	if (!cpus)
		return;
	free(cpus->word);
	*cpus = (struct up_cpus){ 0 };
}

int up_cpus_reserve(struct up_cpus *cpus, uint32_t nr_cpus)
{
	size_t want = UP_BITMAP_WORDS(nr_cpus);
	uint64_t *word;

	if (nr_cpus > UP_CPUS_MAX)
		return -ERANGE;
	if (want <= cpus->nr_words)
		return 0;
	word = realloc(cpus->word, want * sizeof(*word));
	if (!word)
		return -ENOMEM;
	memset(word + cpus->nr_words, 0, (want - cpus->nr_words) * sizeof(*word));
	cpus->word = word;
	cpus->nr_words = (uint32_t)want;
	return 0;
}

void up_cpus_clear(struct up_cpus *cpus)
{
	if (cpus->nr_words)
		memset(cpus->word, 0, cpus->nr_words * sizeof(*cpus->word));
}

int up_cpus_copy(struct up_cpus *cpus, const struct up_cpus *from)
{
	int err = up_cpus_reserve(cpus, from->nr_words * 64);

	if (err)
		return err;
	up_cpus_clear(cpus);
	if (from->nr_words)
		memcpy(cpus->word, from->word, from->nr_words * sizeof(*from->word));
	return 0;
}

static uint64_t word_of(const struct up_cpus *cpus, uint32_t at)
{
	return at < cpus->nr_words ? cpus->word[at] : 0;
}

bool up_cpus_has(const struct up_cpus *cpus, uint32_t cpu)
{
	return word_of(cpus, cpu / 64) >> (cpu % 64) & 1;
}

uint32_t up_cpus_count(const struct up_cpus *cpus)
{
	uint32_t nr = 0;

	for (uint32_t at = 0; at < cpus->nr_words; at++)
		nr += up_popcount(cpus->word[at]);
	return nr;
}

uint32_t up_cpus_next(const struct up_cpus *cpus, uint32_t from)
{
	size_t nr_bits = (size_t)cpus->nr_words * 64;
	size_t found = up_bit_next(cpus->word, nr_bits, from);

	return found < nr_bits ? (uint32_t)found : UINT32_MAX;
}

bool up_cpus_equal(const struct up_cpus *a, const struct up_cpus *b)
{
	uint32_t nr = UP_MAX(a->nr_words, b->nr_words);

	for (uint32_t at = 0; at < nr; at++)
		if (word_of(a, at) != word_of(b, at))
			return false;
	return true;
}

bool up_cpus_intersect(const struct up_cpus *a, const struct up_cpus *b)
{
	for (uint32_t at = 0; at < a->nr_words; at++)
		if (a->word[at] & word_of(b, at))
			return true;
	return false;
}

void up_cpus_and(struct up_cpus *cpus, const struct up_cpus *other)
{
	for (uint32_t at = 0; at < cpus->nr_words; at++)
		cpus->word[at] &= word_of(other, at);
}

/* One number at *at, moved behind it. Stops adding at the ceiling, so that no digit overflows. */
static int parse_number(const char **at, const char *end, uint32_t *ret_number)
{
	const char *p = *at;
	uint32_t number = 0;

	if (p == end || *p < '0' || *p > '9')
		return -EINVAL;
	for (; p < end && *p >= '0' && *p <= '9'; p++) {
		number = number * 10 + (uint32_t)(*p - '0');
		if (number >= UP_CPUS_MAX)
			return -ERANGE;
	}
	*at = p;
	*ret_number = number;
	return 0;
}

/* "7" or "3-7" at *at. */
static int parse_range(struct up_cpus *cpus, const char **at, const char *end)
{
	uint32_t first, last;
	int err = parse_number(at, end, &first);

	if (err)
		return err;
	last = first;
	if (*at < end && **at == '-') {
		(*at)++;
		err = parse_number(at, end, &last);
		if (err)
			return err;
	}
	if (last < first)
		return -EINVAL;
	err = up_cpus_reserve(cpus, last + 1);
	if (err)
		return err;
	for (uint32_t cpu = first; cpu <= last; cpu++)
		up_bit_set(cpus->word, cpu);
	return 0;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\n' || c == '\t';
}

int up_cpus_parse(struct up_cpus *cpus, const char *text, size_t len)
{
	const char *end = text + len;

	while (text < end && is_blank(*text))
		text++;
	while (text < end && is_blank(end[-1]))
		end--;
	if (text == end)
		return 0;
	for (;;) {
		int err = parse_range(cpus, &text, end);

		if (err)
			return err;
		if (text == end)
			return 0;
		if (*text++ != ',')
			return -EINVAL;
	}
}
