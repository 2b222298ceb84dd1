/* SPDX-License-Identifier: MIT */
/* How many entries a folder has: descriptors, threads.  One that cannot be read ends the test: none is
 * not what it has. */
#ifndef UP_TEST_ENTRIES_H
#define UP_TEST_ENTRIES_H

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static inline unsigned entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned nr = 0;

	if (!dir) {
		perror(path);
		_exit(1);
	}
	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

/* Kernel threads end a moment after they are waited for: three seconds at most. */
static inline unsigned entries_threads(unsigned expected)
{
	time_t until = time(NULL) + 3;
	unsigned nr;

	while ((nr = entries("/proc/self/task")) > expected && time(NULL) < until)
		sched_yield();
	return nr;
}

#endif
