/* SPDX-License-Identifier: MIT */
/*
 * Sets of CPUs, of whatever size Linux has them here.
 */
#include <errno.h>
#include <stdlib.h>

#include "cli/run.h"

#define MOST_CPUS 65536

cpu_set_t *run_cpus_allowed(size_t *ret_sz)
{
	cpu_set_t *set;
	int nr;

	for (nr = CPU_SETSIZE; nr <= MOST_CPUS; nr *= 2) {
		*ret_sz = CPU_ALLOC_SIZE(nr);
		set = calloc(1, *ret_sz);
		if (!set)
			return NULL;
		if (!sched_getaffinity(0, *ret_sz, set))
			return set;
		free(set);
		if (errno != EINVAL)
			return NULL;
	}
	return NULL;
}

cpu_set_t *run_cpus_first(const cpu_set_t *allowed, size_t sz, uint64_t nr)
{
	cpu_set_t *set = calloc(1, sz);
	size_t cpu;

	for (cpu = 0; set && cpu < 8 * sz && nr; cpu++) {
		if (!CPU_ISSET_S(cpu, sz, allowed))
			continue;
		CPU_SET_S(cpu, sz, set);
		nr--;
	}
	return set;
}
