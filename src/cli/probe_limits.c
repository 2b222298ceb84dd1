/* SPDX-License-Identifier: MIT */
/*
 * What the administrator has set: how many CPUs, how much of them, how many threads, how much memory.
 * The runtime follows all of it; here it is said in one place.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli/probe.h"
#include "cli/run.h"

static void look_cpus(struct probe_result *r)
{
	size_t sz;
	cpu_set_t *set = run_cpus_allowed(&sz);
	int nr = set ? CPU_COUNT_S(sz, set) : 0;
	long all = sysconf(_SC_NPROCESSORS_ONLN);

	free(set);
	r->state = nr >= all && nr ? PROBE_YES : nr ? PROBE_LIMITED : PROBE_NO;
	probe_detail(r, "%d of %ld CPUs may be used", nr, all);
}

/* This process's group below `mount`, by the line of /proc/self/cgroup that names `controller` ("" is
 * cgroup v2's); false: none. */
static bool own_group(const char *controller, const char *mount, char *ret, size_t sz)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	char line[1024], *name, *path;
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		name = strchr(line, ':');
		path = name ? strchr(name + 1, ':') : NULL;
		if (!path)
			continue;
		*path++ = 0;
		name++;
		found = *controller ? strstr(name, controller) != NULL : !*name;
		if (found)
			found = snprintf(ret, sz, "%s%s", mount, path) < (int)sz;
	}
	if (f)
		fclose(f);
	return found;
}

/* CPUs' worth that a group and those around it may use; negative: as many as there are. */
static double quota_of(char *dir, const char *mount)
{
	char path[1200], text[64];
	double best = -1, quota, period;
	char *slash;

	do {
		snprintf(path, sizeof(path), "%s/cpu.max", dir);
		if (probe_file(path, text, sizeof(text)) &&
		    sscanf(text, "%lf %lf", &quota, &period) == 2 && period > 0 &&
		    (best < 0 || quota / period < best))
			best = quota / period;
		slash = strrchr(dir, '/');
		if (slash)
			*slash = 0;
	} while (slash && strlen(dir) >= strlen(mount));
	return best;
}

static double quota_v1(char *dir)
{
	char path[1200], text[64];
	double quota, period;

	snprintf(path, sizeof(path), "%s/cpu.cfs_quota_us", dir);
	if (!probe_file(path, text, sizeof(text)) || sscanf(text, "%lf", &quota) != 1 || quota <= 0)
		return -1;
	snprintf(path, sizeof(path), "%s/cpu.cfs_period_us", dir);
	if (!probe_file(path, text, sizeof(text)) || sscanf(text, "%lf", &period) != 1 ||
	    period <= 0)
		return -1;
	return quota / period;
}

static void look_quota(struct probe_result *r)
{
	char dir[1100];
	double q = -1;
	bool any = own_group("", "/sys/fs/cgroup", dir, sizeof(dir));

	if (any)
		q = quota_of(dir, "/sys/fs/cgroup");
	if (q < 0 && own_group("cpu", "/sys/fs/cgroup/cpu", dir, sizeof(dir))) {
		any = true;
		q = quota_v1(dir);
	}
	r->state = q < 0 ? PROBE_YES : PROBE_LIMITED;
	if (q >= 0)
		probe_detail(r, "%.2f CPUs' worth: the runtime takes %d", q, q < 1 ? 1 : (int)q);
	else
		probe_detail(r, any ? "no quota" : "no group is in sight");
}

static void look_limit(struct probe_result *r, int which, uint64_t enough, const char *unit,
		       unsigned shift)
{
	struct rlimit l = { 0, 0 };

	getrlimit((__rlimit_resource_t)which, &l);
	r->state = l.rlim_cur >= enough ? PROBE_YES : PROBE_LIMITED;
	if (l.rlim_cur == RLIM_INFINITY)
		probe_detail(r, "unlimited");
	else
		probe_detail(r, "%llu%s, at most %lld%s", (unsigned long long)l.rlim_cur >> shift,
			     unit,
			     l.rlim_max == RLIM_INFINITY ? -1LL : (long long)(l.rlim_max >> shift),
			     unit);
}

static void look_nproc(struct probe_result *r)
{
	look_limit(r, RLIMIT_NPROC, 4096, "", 0);
}

static void look_nofile(struct probe_result *r)
{
	/* Two descriptors an activation, and the program's own. */
	look_limit(r, RLIMIT_NOFILE, 1024, "", 0);
}

static void look_memlock(struct probe_result *r)
{
	look_limit(r, RLIMIT_MEMLOCK, UINT64_C(1) << 20, " KiB", 10);
}

/* The limit is 20 less the best nice value. */
static void look_nice(struct probe_result *r)
{
	look_limit(r, RLIMIT_NICE, 20, "", 0);
	if (geteuid() == 0) {
		r->state = PROBE_YES;
		probe_detail(r, "privileged");
	}
}

static void look_thp(struct probe_result *r)
{
	char text[64];

	if (!probe_file("/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof(text)))
		return;
	r->state = strstr(text, "[never]") ? PROBE_NO : PROBE_YES;
	probe_detail(r, "%s", text);
}

const struct probe probes_limits[] = {
	{ "cpus", true, "a core of its own for each vcore",
	  "taskset, the cpuset of the cgroup, or docker --cpuset-cpus", look_cpus },
	{ "cpu-quota", false, "cores that are not throttled",
	  "cpu.max of the cgroup, or docker --cpus", look_quota },
	{ "limit-threads", false, "a kernel thread for each uthread that blocks",
	  "ulimit -u, pids.max of the cgroup", look_nproc },
	{ "limit-files", false, "two descriptors a kernel thread, and the program's own",
	  "ulimit -n", look_nofile },
	{ "limit-locked", false, "transition stacks that stay in memory", "ulimit -l",
	  look_memlock },
	{ "limit-nice", false, "a way back from SCHED_IDLE: helpers that end at once",
	  "ulimit -e 20, or CAP_SYS_NICE", look_nice },
	{ "huge-pages", false, "fewer TLB misses on large heaps and stacks",
	  "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled", look_thp },
	{ 0 },
};
