/* SPDX-License-Identifier: MIT */
/*
 * Gate 2's other opinion: what Linux says about its own threads and about itself, by raw calls, so
 * that no verdict rests on the runtime's word alone. Called on uthreads; nothing here blocks.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>

#include "base/clock.h"
#include "base/syscall.h"
#include "gate2.h"

/* /proc/self/task/TID/NAME, cut at sz; its length, 0 where it cannot be read. */
static long read_of(uint32_t tid, const char *name, char *buf, size_t sz)
{
	char path[64];
	long fd, n;

	snprintf(path, sizeof(path), "/proc/self/task/%u/%s", tid, name);
	fd = up_syscall3(SYS_open, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return 0;
	n = up_syscall3(SYS_read, fd, buf, sz - 1);
	up_syscall1(SYS_close, fd);
	n = n > 0 ? n : 0;
	buf[n] = 0;
	return n;
}

static uint64_t count_of(uint32_t tid, const char *key)
{
	char buf[4096], *at;

	if (!read_of(tid, "status", buf, sizeof(buf)))
		return 0;
	at = strstr(buf, key);
	return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

uint64_t gate2_switches_of(uint32_t tid)
{
	return count_of(tid, "\nvoluntary_ctxt_switches:");
}

uint64_t gate2_preempted_of(uint32_t tid)
{
	return count_of(tid, "\nnonvoluntary_ctxt_switches:");
}

bool gate2_is_ready(uint32_t tid)
{
	char buf[512], *at;

	if (!read_of(tid, "stat", buf, sizeof(buf)))
		return false;
	at = strrchr(buf, ')'); /* a name may hold anything */
	return at && at[1] == ' ' && at[2] == 'R';
}

uint64_t gate2_tick_ns(void)
{
	struct timespec ts = { 0, 10000000 };

	clock_getres(CLOCK_MONOTONIC_COARSE, &ts); /* that clock moves with the tick */
	return (uint64_t)ts.tv_sec * UP_NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

bool gate2_must_lead_home(void)
{
	struct utsname un;
	unsigned major = 0, minor = 0;

	if (getenv("UPCALL_NO_RSEQ"))
		return false;
	if (up_syscall4(SYS_rseq, 0, 0, 0, 0) == -ENOSYS) /* built without */
		return false;
	if (uname(&un) || sscanf(un.release, "%u.%u", &major, &minor) != 2)
		return false;
	return major < 6 || (major == 6 && minor <= 18);
}
