/* SPDX-License-Identifier: MIT */
/* How many entries a folder has: descriptors, threads.  0 for one that cannot be read. */
#ifndef UP_TEST_ENTRIES_H
#define UP_TEST_ENTRIES_H

#include <dirent.h>
#include <sched.h>
#include <stdint.h>
#include <time.h>

static inline unsigned entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned nr = 0;

	while (dir && readdir(dir))
		nr++;
	if (dir)
		closedir(dir);
	return nr;
}

/* Kernel threads end a moment after they are waited for: two seconds at most. */
static inline unsigned entries_threads(unsigned expected)
{
	time_t until = time(NULL) + 3;
	unsigned nr;

	while ((nr = entries("/proc/self/task")) > expected && time(NULL) < until)
		sched_yield();
	return nr;
}

#endif
