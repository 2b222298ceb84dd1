/* SPDX-License-Identifier: MIT */
/* Is another thread of this process asleep? By Linux' word, so that no test hopes that it is by now. */
#ifndef UP_TEST_ASLEEP_H
#define UP_TEST_ASLEEP_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ASLEEP_TRIES 100000

static inline int asleep_self(void)
{
	return (int)syscall(SYS_gettid);
}

/* Interruptibly: on a futex, a pipe. */
static inline bool asleep_now(int tid)
{
	char path[64], buf[512];
	const char *at;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	buf[n > 0 ? n : 0] = '\0';
	at = strrchr(buf, ')');
	return at && at[1] == ' ' && at[2] == 'S';
}

/* `tid` is 0 until the thread has said who it is. False: not within ten seconds. */
static inline bool asleep_wait(const int *tid)
{
	struct timespec nap = { 0, 100000 };
	unsigned i;
	int t;

	for (i = 0; i < ASLEEP_TRIES; i++) {
		t = __atomic_load_n(tid, __ATOMIC_ACQUIRE);
		if (t && asleep_now(t))
			return true;
		nanosleep(&nap, NULL);
	}
	return false;
}

#endif
