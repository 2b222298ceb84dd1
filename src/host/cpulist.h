/* SPDX-License-Identifier: MIT */
/*
 * A set of CPUs of any size, and the text that Linux writes for one ("0-3,8"). Whoever reads what the
 * machine offers uses it. No CPU_SETSIZE here: a machine may have more than 1,024 CPUs. The text comes
 * from files that others can write, so a parse never trusts it: at worst it says -EINVAL.
 */
#ifndef UP_HOST_CPULIST_H
#define UP_HOST_CPULIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A number at or above this is a mistake, not a CPU (Linux's own ceiling is 8,192 on x86). */
#define UP_CPUS_MAX 65536u

/* All zero is the empty set. One owner; the words may be fewer than another set's. */
struct up_cpus {
	uint64_t *word;
	uint32_t nr_words; /* allocated; every bit in them is meaningful */
};

void up_cpus_fini(struct up_cpus *cpus);
/* Room for CPUs 0 .. nr_cpus - 1; what is new is empty. -ENOMEM, -ERANGE above UP_CPUS_MAX. */
int up_cpus_reserve(struct up_cpus *cpus, uint32_t nr_cpus);
void up_cpus_clear(struct up_cpus *cpus);
/* Makes *cpus what from is; on -ENOMEM *cpus is as it was. */
int up_cpus_copy(struct up_cpus *cpus, const struct up_cpus *from);

bool up_cpus_has(const struct up_cpus *cpus, uint32_t cpu);
uint32_t up_cpus_count(const struct up_cpus *cpus);
/* The first CPU at or after from, or UINT32_MAX. */
uint32_t up_cpus_next(const struct up_cpus *cpus, uint32_t from);
/* The same CPUs, whatever room each has. */
bool up_cpus_equal(const struct up_cpus *a, const struct up_cpus *b);
bool up_cpus_intersect(const struct up_cpus *a, const struct up_cpus *b);
/* Takes away from *cpus what other lacks. */
void up_cpus_and(struct up_cpus *cpus, const struct up_cpus *other);

/*
 * Adds what text says to *cpus. Numbers and rising ranges, separated by single commas, spaces or a
 * newline around the whole; nothing at all is the empty list. -EINVAL: not that; -ERANGE: a number of
 * UP_CPUS_MAX or more; -ENOMEM. On failure *cpus holds no less than before, and is not to be used.
 */
int up_cpus_parse(struct up_cpus *cpus, const char *text, size_t len);

#endif
