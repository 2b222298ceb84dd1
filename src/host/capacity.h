/* SPDX-License-Identifier: MIT */
/*
 * How many cores Linux lets this process use, and which: affinity, cpuset and processor quota, read
 * again while running. The host's keeper opens one source, waits on its descriptor and reads it; from
 * a changed answer cores come and go as grants and preemptions. Only reads: it sets no limit, moves no
 * thread and keeps no thread of its own. One thread at a time per source; not for vcore context (it
 * allocates and calls libc).
 *
 * The rules (docs/capacity.md gives their reasons):
 *   CPUs    what the affinity of one thread allows, less what its cpuset does not. The thread must be
 *           one that we never pin, else we would read our own pinning back. Never the empty set.
 *   cpuset  the effective list of the nearest group that has one. Ancestors' lists are not applied:
 *           theirs may lack CPUs that a partition root below owns.
 *   quota   the smallest quota / period of the task's own group and of every ancestor in sight.
 *   cores   core_limit = min(CPUs, max(1, floor(quota / period))): rounded down. A core too many
 *           would freeze all cores together for a part of every period; a core too few costs less
 *           than one core. Below one core there is still one, with UP_CAPACITY_BELOW_ONE.
 */
#ifndef UP_HOST_CAPACITY_H
#define UP_HOST_CAPACITY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "host/cpulist.h"

enum up_capacity_flag {
	UP_CAPACITY_QUOTA = 1 << 0,	/* a quota applies; quota_us and period_us say which */
	UP_CAPACITY_BELOW_ONE = 1 << 1, /* of less than one core: throttled whatever we do */
	/* Limits may exist that cannot be seen: a namespace, a partial mount, a group out of sight. */
	UP_CAPACITY_ANCESTORS_HIDDEN = 1 << 2,
	UP_CAPACITY_MALFORMED = 1 << 3,	 /* a file made no sense and was ignored */
	UP_CAPACITY_UNREADABLE = 1 << 4, /* a file may not be read and was ignored */
	UP_CAPACITY_NO_CGROUP = 1 << 5,	 /* no group was found: affinity alone counts */
	UP_CAPACITY_NO_EVENTS = 1 << 6,	 /* some file or all give no event: only re-reads tell */
	UP_CAPACITY_DISJOINT = 1 << 7, /* affinity and cpuset had no CPU in common: affinity won */
};

/* One answer. Start from all zero; up_capacity_read() fills it again and again. */
struct up_capacity {
	struct up_cpus cpus; /* what may be used, whatever the quota */
	uint32_t nr_cpus;    /* how many these are, at least 1 */
	uint32_t nr_cpuset;  /* CPUs of the cpuset alone; 0 when there is none */
	uint32_t core_limit; /* how many vcores may run at once: 1 .. nr_cpus */
	uint32_t quota_up;   /* 0: the quota is the own group's; n: the n-th ancestor's */
	uint64_t quota_us;   /* the tightest, as written; 0 and 0 without UP_CAPACITY_QUOTA */
	uint64_t period_us;
	uint32_t flags;	   /* enum up_capacity_flag */
	uint32_t nr_scans; /* how often the groups were looked up anew: a move counts one */
};

struct up_capacity_cfg {
	/* Put before every path, proc and mount points alike; NULL or "": the real ones. */
	const char *root;
	/* The unpinned thread whose limits count (any process's); 0: this process's first thread. */
	pid_t tid;
	/* No descriptor for events: a user may have few of that kind (128 as a rule), and to close one, or
	 * to exit or exec with one, takes Linux 10 ms, ten times that on a busy machine. Re-reads tell; each
	 * fourth looks at everything anew. */
	bool quiet;
};

struct up_capacity_src;

/*
 * Finds the groups and keeps their files open. Missing, unreadable and senseless files are no error:
 * they leave a flag in each answer. -EINVAL; -ENAMETOOLONG (cfg->root); -ESRCH (tid); -ENOMEM,
 * -EMFILE and whatever else the host refuses. cfg may be NULL. The caller closes.
 */
int up_capacity_open(const struct up_capacity_cfg *cfg, struct up_capacity_src **ret_src);
void up_capacity_close(struct up_capacity_src *src);

/*
 * The descriptor that polls readable once a limit may have changed; up_capacity_read() makes it quiet
 * again. An event may be spurious, and several changes have none (docs/capacity.md): read slowly
 * anyway. Negative -errno: no events on this host. Valid till close.
 */
int up_capacity_fd(const struct up_capacity_src *src);

/*
 * Reads everything again, following the task into another group. *ret_cap is untouched on failure,
 * and the source stays usable. -ESRCH: the thread is gone; -EAGAIN: groups vanished while reading.
 */
int up_capacity_read(struct up_capacity_src *src, struct up_capacity *ret_cap);
/* Frees what read has put in; of NULL or all zero it does nothing. */
void up_capacity_fini(struct up_capacity *cap);

/* Whether both allow the same: CPUs, quota and limit. Flags that only inform are not compared. */
bool up_capacity_same(const struct up_capacity *a, const struct up_capacity *b);

/* The rounding rule alone: cores for a quota on nr_cpus CPUs; a period of 0 is no quota. */
uint32_t up_capacity_round(uint64_t quota_us, uint64_t period_us, uint32_t nr_cpus);

#endif
