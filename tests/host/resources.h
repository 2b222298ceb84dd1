/* SPDX-License-Identifier: MIT */
/*
 * What a process holds of the machine, as Linux counts it: descriptors and mappings. A test takes
 * the numbers before and after and compares. And the failure that it wants: the nth point of
 * injection whose name begins as said.
 */
#ifndef UP_TESTS_HOST_RESOURCES_H
#define UP_TESTS_HOST_RESOURCES_H

#include <stdio.h>
#include <string.h>

#include "base/inject.h"
#include "entries.h"

static inline unsigned nr_fds(void)
{
	return entries("/proc/self/fd");
}

/* Mappings that are not the heap's or the stack's, which grow as they please. */
static inline unsigned nr_maps(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned nr = 0;

	while (fgets(line, sizeof(line), f))
		nr += !strstr(line, "[heap]") && !strstr(line, "[stack]");
	fclose(f);
	return nr;
}

/* Fails the point number `at` of those whose name begins with `prefix`, counted from 0 at run time. */
struct fail_plan {
	const char *prefix;
	unsigned at;
	unsigned seen;
	char name[64]; /* what failed */
};

static inline int fail_at(unsigned nr, const char *name, void *arg)
{
	struct fail_plan *plan = arg;

	if (strncmp(name, plan->prefix, strlen(plan->prefix)))
		return 0;
	if (plan->seen++ != plan->at)
		return 0;
	snprintf(plan->name, sizeof(plan->name), "%s", name);
	return 1;
}

#endif
