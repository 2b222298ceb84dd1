/* SPDX-License-Identifier: MIT */
/*
 * host/capacity.h on trees of our own under a temporary folder: both versions, both at once, limits
 * above the own group, changes while open, text that makes no sense, and every call failing in turn.
 * The calls are caught at link time (--wrap), so the code under test has no door for tests.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/capacity.h"

/* What the calls below do when they are not simply passed on. */
static bool armed; /* count, and fail the one that is due */
static int nr_calls, fail_at, fail_errno;
static long nr_blocks;	       /* allocated while armed, and not freed */
static const char *affinity;   /* what sched_getaffinity says; NULL: the truth */
static int no_inotify;	       /* errno of every inotify_init1 */
static int no_watch;	       /* errno of every inotify_add_watch */
static void (*on_pread)(void); /* called once, after so many more preads */
static int preads_till;
static int gone_reads; /* so many preads of an empty file say ENODEV: its group is gone */

static bool due(void)
{
	if (!armed || ++nr_calls != fail_at)
		return false;
	errno = fail_errno;
	return true;
}

#define REAL(type, name, ...)            \
	type __real_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__)

REAL(void *, malloc, size_t sz)
{
	void *block = due() ? NULL : __real_malloc(sz);

	nr_blocks += armed && block;
	return block;
}

REAL(void *, calloc, size_t nr, size_t sz)
{
	void *block = due() ? NULL : __real_calloc(nr, sz);

	nr_blocks += armed && block;
	return block;
}

REAL(void *, realloc, void *old, size_t sz)
{
	void *block = due() ? NULL : __real_realloc(old, sz);

	nr_blocks += armed && block && !old;
	return block;
}

REAL(void, free, void *block)
{
	nr_blocks -= armed && block;
	__real_free(block);
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	return due() ? -1 : __real_open64(path, flags, mode);
}

REAL(ssize_t, pread64, int fd, void *buf, size_t sz, off_t at)
{
	void (*hook)(void) = on_pread && !--preads_till ? on_pread : NULL;
	ssize_t n = due() ? -1 : __real_pread64(fd, buf, sz, at);

	if (!n && gone_reads) {
		gone_reads--;
		errno = ENODEV;
		return -1;
	}
	if (hook) {
		on_pread = NULL;
		hook();
	}
	return n;
}

REAL(int, access, const char *path, int mode)
{
	return due() ? -1 : __real_access(path, mode);
}

REAL(int, inotify_init1, int flags)
{
	errno = no_inotify;
	return no_inotify || due() ? -1 : __real_inotify_init1(flags);
}

REAL(int, inotify_add_watch, int fd, const char *path, uint32_t mask)
{
	errno = no_watch;
	return no_watch || due() ? -1 : __real_inotify_add_watch(fd, path, mask);
}

REAL(int, sched_getaffinity, pid_t tid, size_t sz, cpu_set_t *mask)
{
	struct up_cpus cpus = { 0 };
	bool was_armed = armed;
	size_t need;

	if (due())
		return -1;
	if (!affinity)
		return __real_sched_getaffinity(tid, sz, mask);
	armed = false;
	up_cpus_parse(&cpus, affinity, strlen(affinity));
	need = cpus.nr_words * sizeof(*cpus.word);
	if (need <= sz) {
		memset(mask, 0, sz);
		memcpy(mask, cpus.word, need);
	}
	up_cpus_fini(&cpus);
	armed = was_armed;
	errno = EINVAL;
	return need <= sz ? 0 : -1;
}

/* A tree of our own. */

static char root[PATH_MAX];

__attribute__((format(printf, 2, 3))) static void put(const char *file, const char *fmt, ...)
{
	char path[2 * PATH_MAX];
	va_list args;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", root, file);
	for (char *at = path + strlen(root) + 1; (at = strchr(at, '/')); at++) {
		*at = '\0';
		mkdir(path, 0755);
		*at = '/';
	}
	f = fopen(path, "w");
	assert_non_null(f);
	va_start(args, fmt);
	vfprintf(f, fmt, args);
	va_end(args);
	assert_int_equal(fclose(f), 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void remove_file(const char *file)
{
	char path[2 * PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", root, file);
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int make_root(void **state)
{
	strcpy(root, "/tmp/upcall-capacity.XXXXXX");
	affinity = "0-7";
	return mkdtemp(root) ? 0 : -1;
}

static int drop_root(void **state)
{
	armed = false;
	affinity = NULL;
	no_inotify = no_watch = gone_reads = 0;
	on_pread = NULL;
	remove_file("");
	return 0;
}

/* Version 2, the task in /a/b, nothing limited. */
static void put_v2(void)
{
	put("proc/self/cgroup", "0::/a/b\n");
	put("proc/self/mountinfo", "9 1 0:9 / /cg rw - cgroup2 c rw\n");
	put("cg/cgroup.subtree_control", "cpuset cpu\n");
	put("cg/cpuset.cpus.effective", "0-7\n");
	put("cg/a/cgroup.subtree_control", "cpuset cpu\n");
	put("cg/a/cgroup.events", "populated 1\n");
	put("cg/a/cpu.max", "max 100000\n");
	put("cg/a/cpuset.cpus", "\n");
	put("cg/a/cpuset.cpus.effective", "0-7\n");
	put("cg/a/b/cgroup.subtree_control", "\n");
	put("cg/a/b/cgroup.events", "populated 1\n");
	put("cg/a/b/cpu.max", "max 100000\n");
	put("cg/a/b/cpuset.cpus", "\n");
	put("cg/a/b/cpuset.cpus.effective", "0-7\n");
}

static void put_v1_group(const char *group, const char *quota, const char *period)
{
	char file[256];

	snprintf(file, sizeof(file), "c1/cpu%s/cpu.cfs_quota_us", group);
	put(file, "%s\n", quota);
	snprintf(file, sizeof(file), "c1/cpu%s/cpu.cfs_period_us", group);
	put(file, "%s\n", period);
}

/* Version 1, the task in /a/b of cpu and in / of cpuset, nothing limited. */
static void put_v1(void)
{
	put("proc/self/cgroup", "3:cpuset:/\n2:cpu,cpuacct:/a/b\n");
	put("proc/self/mountinfo", "8 1 0:8 / /c1/cpu rw - cgroup c rw,cpu,cpuacct\n"
				   "9 1 0:9 / /c1/set rw - cgroup c rw,cpuset\n");
	put("c1/cpu/release_agent", "\n");
	put("c1/set/release_agent", "\n");
	put_v1_group("", "-1", "100000");
	put_v1_group("/a", "-1", "100000");
	put_v1_group("/a/b", "-1", "100000");
	put("c1/set/cpuset.cpus", "0-7\n");
	put("c1/set/cpuset.effective_cpus", "0-7\n");
}

static struct up_capacity_src *open_src(void)
{
	struct up_capacity_cfg cfg = { .root = root };
	struct up_capacity_src *src = NULL;

	assert_int_equal(up_capacity_open(&cfg, &src), 0);
	assert_non_null(src);
	return src;
}

/* One answer from a fresh source. */
static struct up_capacity look(void)
{
	struct up_capacity_src *src = open_src();
	struct up_capacity cap = { 0 };

	assert_int_equal(up_capacity_read(src, &cap), 0);
	up_capacity_close(src);
	up_cpus_fini(&cap.cpus);
	return cap;
}

static bool event_waits(const struct up_capacity_src *src)
{
	struct pollfd pfd = { .fd = up_capacity_fd(src), .events = POLLIN };

	return poll(&pfd, 1, 0) == 1;
}

static int count_fds(void)
{
	int nr = 0;

	for (int fd = 0; fd < 1024; fd++)
		nr += fcntl(fd, F_GETFD) >= 0;
	return nr;
}

static void quotas_are_rounded_down_but_not_to_nothing(void **state)
{
	assert_int_equal(up_capacity_round(100000, 100000, 8), 1);
	assert_int_equal(up_capacity_round(150000, 100000, 8), 1);
	assert_int_equal(up_capacity_round(199999, 100000, 8), 1);
	assert_int_equal(up_capacity_round(200000, 100000, 8), 2);
	assert_int_equal(up_capacity_round(200001, 100000, 8), 2);
	assert_int_equal(up_capacity_round(1000, 100000, 8), 1);
	assert_int_equal(up_capacity_round(800000, 100000, 8), 8);
	assert_int_equal(up_capacity_round(900000, 100000, 8), 8);
	assert_int_equal(up_capacity_round(UINT64_MAX, 1, 8), 8);
	assert_int_equal(up_capacity_round(1, UINT64_MAX, 8), 1);
	assert_int_equal(up_capacity_round(100000, 0, 8), 8);
}

static void without_limits_every_cpu_counts(void **state)
{
	struct up_capacity cap;

	put_v2();
	cap = look();
	assert_int_equal(cap.nr_cpus, 8);
	assert_int_equal(cap.nr_cpuset, 8);
	assert_int_equal(cap.core_limit, 8);
	assert_int_equal(cap.flags, 0);
	assert_int_equal(cap.quota_us, 0);
	remove_file("cg");
	remove_file("proc");
	put_v1();
	cap = look();
	assert_int_equal(cap.core_limit, 8);
	assert_int_equal(cap.flags, 0);
}

static void the_tightest_of_own_and_ancestors_counts_v2(void **state)
{
	struct up_capacity cap;

	put_v2();
	put("cg/a/b/cpu.max", "500000 100000\n");
	put("cg/a/cpu.max", "90000 30000\n");
	cap = look();
	assert_int_equal(cap.core_limit, 3);
	assert_int_equal(cap.quota_us, 90000);
	assert_int_equal(cap.period_us, 30000);
	assert_int_equal(cap.quota_up, 1);
	assert_int_equal(cap.flags, UP_CAPACITY_QUOTA);
	/* More microseconds, but fewer cores. */
	put("cg/a/b/cpu.max", "250000 100000\n");
	cap = look();
	assert_int_equal(cap.core_limit, 2);
	assert_int_equal(cap.quota_up, 0);
	put("cg/a/b/cpu.max", "max 100000\n");
	cap = look();
	assert_int_equal(cap.core_limit, 3);
}

static void the_tightest_of_own_and_ancestors_counts_v1(void **state)
{
	struct up_capacity cap;

	put_v1();
	put_v1_group("/a/b", "600000", "100000");
	put_v1_group("", "210000", "50000");
	cap = look();
	assert_int_equal(cap.core_limit, 4);
	assert_int_equal(cap.quota_us, 210000);
	assert_int_equal(cap.quota_up, 2);
	put_v1_group("/a", "50000", "100000");
	cap = look();
	assert_int_equal(cap.core_limit, 1);
	assert_int_equal(cap.quota_up, 1);
	assert_int_equal(cap.flags, UP_CAPACITY_QUOTA | UP_CAPACITY_BELOW_ONE);
}

static void controllers_of_both_versions_mix(void **state)
{
	struct up_capacity cap;

	put_v1();
	put("proc/self/cgroup", "2:cpu,cpuacct:/a/b\n0::/x\n");
	put("proc/self/mountinfo", "8 1 0:8 / /c1/cpu rw - cgroup c rw,cpu,cpuacct\n"
				   "9 1 0:9 / /c2 rw - cgroup2 c rw\n");
	put("c2/x/cpuset.cpus.effective", "1-5\n");
	put("c2/x/cpu.max", "100000 100000\n");
	put_v1_group("/a/b", "300000", "100000");
	cap = look();
	assert_int_equal(cap.nr_cpus, 5);
	/* Version 1 has the processor controller, so what version 2 says of it is not asked. */
	assert_int_equal(cap.core_limit, 3);
}

static void the_nearest_cpuset_counts_not_its_ancestors(void **state)
{
	struct up_capacity cap;

	put_v2();
	/* As with a partition root below: the CPUs that it owns are not in its parent's list. */
	put("cg/a/b/cpuset.cpus.effective", "4-7\n");
	put("cg/a/cpuset.cpus.effective", "0-3\n");
	cap = look();
	assert_int_equal(cap.nr_cpus, 4);
	assert_int_equal(cap.flags, 0);
	remove_file("cg/a/b/cpuset.cpus.effective");
	put("cg/a/cpuset.cpus.effective", "0-2\n");
	cap = look();
	assert_int_equal(cap.nr_cpus, 3);
}

static void more_cpus_than_a_cpu_set_t_holds(void **state)
{
	struct up_capacity cap;

	put_v2();
	affinity = "0-4095";
	put("cg/a/b/cpuset.cpus.effective", "10-3009\n");
	put("cg/a/b/cpu.max", "250050000 100000\n");
	cap = look();
	assert_int_equal(cap.nr_cpus, 3000);
	assert_int_equal(cap.core_limit, 2500);
}

static void a_long_list_is_read_whole(void **state)
{
	struct up_capacity cap;
	static char list[65536];
	size_t len = 0;

	put_v2();
	affinity = "0-8191";
	for (unsigned cpu = 0; cpu < 8192; cpu += 2)
		len += (size_t)snprintf(list + len, sizeof(list) - len, ",%u" + !cpu, cpu);
	put("cg/a/b/cpuset.cpus.effective", "%s\n", list);
	cap = look();
	assert_int_equal(cap.nr_cpus, 4096);
	assert_int_equal(cap.flags, 0);
}

static void affinity_and_cpuset_apart_leave_the_affinity(void **state)
{
	struct up_capacity cap;

	put_v2();
	affinity = "0-1";
	put("cg/a/b/cpuset.cpus.effective", "4-7\n");
	cap = look();
	assert_int_equal(cap.nr_cpus, 2);
	assert_int_equal(cap.nr_cpuset, 4);
	assert_int_equal(cap.flags, UP_CAPACITY_DISJOINT);
	put("cg/a/b/cpuset.cpus.effective", "\n");
	cap = look();
	assert_int_equal(cap.nr_cpus, 2);
}

static void senseless_files_are_ignored_and_flagged(void **state)
{
	static const char *const bad_max[] = { "",
					       "\n",
					       "max",
					       "max\n",
					       "100000\n",
					       "x 1\n",
					       "0 100000\n",
					       "100000 0\n",
					       "-1 100000\n",
					       "1 2 3\n",
					       "1  2\n",
					       "max max\n",
					       "1.5 2\n",
					       "99999999999999999999 100000\n",
					       "maxi 100000\n" };
	static const char *const bad_set[] = { "a", "0-", "0-99999999", "1;2" };
	static const char *const bad_v1[] = { "", "x", "-2", "0", "99999999999999999999" };
	struct up_capacity cap;

	put_v2();
	put("cg/a/cpu.max", "200000 100000\n");
	for (size_t i = 0; i < sizeof(bad_max) / sizeof(*bad_max); i++) {
		put("cg/a/b/cpu.max", "%s", bad_max[i]);
		cap = look();
		/* The ancestor's still counts. */
		assert_int_equal(cap.core_limit, 2);
		if (cap.flags != (UP_CAPACITY_QUOTA | UP_CAPACITY_MALFORMED))
			fail_msg("\"%s\": flags %x", bad_max[i], cap.flags);
	}
	put("cg/a/b/cpu.max", "max 100000\n");
	for (size_t i = 0; i < sizeof(bad_set) / sizeof(*bad_set); i++) {
		put("cg/a/b/cpuset.cpus.effective", "%s\n", bad_set[i]);
		cap = look();
		assert_int_equal(cap.nr_cpus, 8);
		assert_int_equal(cap.flags, UP_CAPACITY_QUOTA | UP_CAPACITY_MALFORMED);
	}
	put_v1();
	for (size_t i = 0; i < sizeof(bad_v1) / sizeof(*bad_v1); i++) {
		put_v1_group("/a/b", bad_v1[i], "100000");
		cap = look();
		assert_int_equal(cap.core_limit, 8);
		assert_int_equal(cap.flags, UP_CAPACITY_MALFORMED);
		put_v1_group("/a/b", "100000", *bad_v1[i] == '-' ? "-1" : bad_v1[i]);
		cap = look();
		assert_int_equal(cap.core_limit, 8);
		assert_int_equal(cap.flags, UP_CAPACITY_MALFORMED);
	}
	remove_file("c1/cpu/a/b/cpu.cfs_period_us");
	assert_int_equal(look().flags, UP_CAPACITY_MALFORMED);
}

static void huge_numbers_compare_without_overflow(void **state)
{
	struct up_capacity cap;

	put_v2();
	put("cg/a/b/cpu.max", "18446744073709551615 6148914691236517205\n");
	put("cg/a/cpu.max", "18446744073709551615 2\n");
	cap = look();
	assert_int_equal(cap.core_limit, 3);
	assert_int_equal(cap.quota_up, 0);
	put("cg/a/cpu.max", "1 18446744073709551615\n");
	cap = look();
	assert_int_equal(cap.core_limit, 1);
	assert_int_equal(cap.quota_up, 1);
}

static void what_is_hidden_is_reported(void **state)
{
	put_v2();
	assert_false(look().flags & UP_CAPACITY_ANCESTORS_HIDDEN);
	/* A true root has no such file: a namespace's has. */
	put("cg/cgroup.events", "populated 1\n");
	assert_true(look().flags & UP_CAPACITY_ANCESTORS_HIDDEN);
	remove_file("cg/cgroup.events");
	put("proc/self/mountinfo", "9 1 0:9 /a /cg/a rw - cgroup2 c rw\n");
	put("cg/a/b/cpu.max", "200000 100000\n");
	assert_true(look().flags & UP_CAPACITY_ANCESTORS_HIDDEN);
	assert_int_equal(look().core_limit, 2);
	put("proc/self/cgroup", "0::/../b\n");
	assert_true(look().flags & UP_CAPACITY_ANCESTORS_HIDDEN);
	assert_int_equal(look().core_limit, 8);
	put_v1();
	assert_false(look().flags & UP_CAPACITY_ANCESTORS_HIDDEN);
	remove_file("c1/cpu/release_agent");
	assert_true(look().flags & UP_CAPACITY_ANCESTORS_HIDDEN);
}

static void higher_than_we_climb_counts_as_hidden(void **state)
{
	char path[256] = "", file[512];
	struct up_capacity cap;

	for (int depth = 0; depth < 40; depth++)
		strcat(path, "/d");
	put_v2();
	put("proc/self/cgroup", "0::%s\n", path);
	snprintf(file, sizeof(file), "cg%s/cpu.max", path);
	put(file, "400000 100000\n");
	put("cg/d/cpu.max", "100000 100000\n");
	cap = look();
	assert_int_equal(cap.core_limit, 4);
	assert_int_equal(cap.flags, UP_CAPACITY_QUOTA | UP_CAPACITY_ANCESTORS_HIDDEN);
}

static void without_groups_the_affinity_is_all(void **state)
{
	struct up_capacity cap = look();

	assert_int_equal(cap.core_limit, 8);
	assert_int_equal(cap.flags & ~(uint32_t)UP_CAPACITY_NO_EVENTS, UP_CAPACITY_NO_CGROUP);
	put("proc/self/cgroup", "0::/a\n");
	put("proc/self/mountinfo", "1 1 0:1 / / rw - ext4 /dev/root rw\n");
	cap = look();
	assert_int_equal(cap.core_limit, 8);
	assert_int_equal(cap.flags, UP_CAPACITY_NO_CGROUP);
}

static void a_write_to_any_level_wakes_and_is_read(void **state)
{
	static const char *const files[] = { "cg/a/b/cpu.max", "cg/a/cpu.max" };
	struct up_capacity_src *src;
	struct up_capacity cap = { 0 };

	put_v2();
	src = open_src();
	assert_int_equal(up_capacity_read(src, &cap), 0);
	assert_false(event_waits(src));
	for (int i = 0; i < 2; i++) {
		put(files[i], "%d 100000\n", 500000 - i * 100000);
		assert_true(event_waits(src));
		assert_int_equal(up_capacity_read(src, &cap), 0);
		assert_int_equal(cap.core_limit, 5 - i);
		assert_int_equal(cap.quota_up, i);
		assert_false(event_waits(src));
	}
	/* The effective lists give no event, but those that they follow from do. */
	put("cg/a/b/cpuset.cpus.effective", "0-1\n");
	assert_false(event_waits(src));
	put("cg/a/cpuset.cpus", "0-1\n");
	assert_true(event_waits(src));
	assert_int_equal(up_capacity_read(src, &cap), 0);
	assert_int_equal(cap.core_limit, 2);
	assert_int_equal(cap.nr_scans, 1);
	up_capacity_fini(&cap);
	up_capacity_close(src);
}

static void tighten(void)
{
	put("cg/a/b/cpu.max", "100000 100000\n");
}

static void a_write_while_reading_is_not_lost(void **state)
{
	struct up_capacity_src *src;
	struct up_capacity cap = { 0 };

	put_v2();
	src = open_src();
	/* The first pread is of the group's name, the second of its quota: too late for this one. */
	on_pread = tighten;
	preads_till = 2;
	assert_int_equal(up_capacity_read(src, &cap), 0);
	assert_null(on_pread);
	assert_int_equal(cap.core_limit, 8);
	assert_true(event_waits(src));
	assert_int_equal(up_capacity_read(src, &cap), 0);
	assert_int_equal(cap.core_limit, 1);
	up_capacity_fini(&cap);
	up_capacity_close(src);
}

static void a_move_to_another_group_is_followed(void **state)
{
	struct up_capacity_src *src;
	struct up_capacity cap = { 0 };
	int fds;

	put_v2();
	put("cg/a/b/cpu.max", "200000 100000\n");
	put("cg/other/cpu.max", "600000 100000\n");
	put("cg/other/cpuset.cpus.effective", "0-4\n");
	src = open_src();
	fds = count_fds();
	assert_int_equal(up_capacity_read(src, &cap), 0);
	assert_int_equal(cap.core_limit, 2);
	for (int i = 0; i < 20; i++) {
		put("proc/self/cgroup", "0::/other\n");
		assert_int_equal(up_capacity_read(src, &cap), 0);
		assert_int_equal(cap.core_limit, 5);
		assert_int_equal(cap.quota_us, 600000);
		put("proc/self/cgroup", "0::/a/b\n");
		assert_int_equal(up_capacity_read(src, &cap), 0);
		assert_int_equal(cap.core_limit, 2);
	}
	assert_int_equal(cap.nr_scans, 41);
	assert_int_equal(count_fds(), fds);
	/* The watches came back with the group, and those of the other went. */
	assert_int_equal(up_capacity_read(src, &cap), 0);
	put("cg/other/cpu.max", "500000 100000\n");
	assert_false(event_waits(src));
	put("cg/a/b/cpu.max", "300000 100000\n");
	assert_true(event_waits(src));
	up_capacity_fini(&cap);
	up_capacity_close(src);
}

static void a_controller_handed_down_later_is_found(void **state)
{
	struct up_capacity_src *src;
	struct up_capacity cap = { 0 };

	put_v2();
	remove_file("cg/a/b/cpu.max");
	src = open_src();
	assert_int_equal(up_capacity_read(src, &cap), 0);
	assert_int_equal(cap.core_limit, 8);
	put("cg/a/b/cpu.max", "200000 100000\n");
	put("cg/a/cgroup.subtree_control", "cpu\n");
	assert_true(event_waits(src));
	assert_int_equal(up_capacity_read(src, &cap), 0);
	assert_int_equal(cap.core_limit, 2);
	assert_int_equal(cap.nr_scans, 2);
	up_capacity_fini(&cap);
	up_capacity_close(src);
}

static void a_group_that_vanished_is_looked_up_anew(void **state)
{
	struct up_capacity_src *src;
	struct up_capacity cap = { 0 };

	put_v2();
	src = open_src();
	put("cg/a/b/cpu.max", "%s", "");
	gone_reads = 1;
	assert_int_equal(up_capacity_read(src, &cap), 0);
	assert_int_equal(cap.nr_scans, 2);
	/* One that goes on vanishing is not waited for. */
	gone_reads = 1000;
	cap.nr_scans = 77;
	assert_int_equal(up_capacity_read(src, &cap), -EAGAIN);
	assert_int_equal(cap.nr_scans, 77);
	gone_reads = 0;
	assert_int_equal(up_capacity_read(src, &cap), 0);
	up_capacity_fini(&cap);
	up_capacity_close(src);
}

static void without_events_every_read_looks_at_everything(void **state)
{
	for (int i = 0; i < 2; i++) {
		struct up_capacity_src *src;
		struct up_capacity cap = { 0 };

		put_v2();
		remove_file("cg/a/b/cpu.max");
		no_inotify = i ? 0 : EMFILE;
		no_watch = i ? ENOSPC : 0;
		src = open_src();
		if (!i)
			assert_int_equal(up_capacity_fd(src), -EMFILE);
		assert_int_equal(up_capacity_read(src, &cap), 0);
		assert_int_equal(cap.flags, UP_CAPACITY_NO_EVENTS);
		put("cg/a/b/cpu.max", "200000 100000\n");
		assert_int_equal(up_capacity_read(src, &cap), 0);
		assert_int_equal(cap.core_limit, 2);
		up_capacity_fini(&cap);
		up_capacity_close(src);
	}
}

static void a_quiet_one_holds_no_descriptor_for_events(void **state)
{
	struct up_capacity_cfg cfg = { .root = root, .quiet = true };
	struct up_capacity_src *src;
	struct up_capacity cap = { 0 };
	int i;

	put_v2();
	remove_file("cg/a/b/cpu.max");
	put("cg/other/cpu.max", "600000 100000\n");
	no_inotify = EMFILE; /* it asks for none, so that it is not refused either */
	assert_int_equal(up_capacity_open(&cfg, &src), 0);
	assert_int_equal(up_capacity_fd(src), -ENODATA);
	assert_int_equal(up_capacity_read(src, &cap), 0);
	assert_int_equal(cap.nr_scans, 1);
	/* What is open is read each time, what has come is looked for each fourth time. */
	put("cg/a/b/cpu.max", "200000 100000\n");
	for (i = 0; i < 8; i++) {
		assert_int_equal(up_capacity_read(src, &cap), 0);
		assert_int_equal(cap.core_limit, i < 2 ? 8 : 2);
	}
	assert_int_equal(cap.nr_scans, 3);
	put("cg/a/b/cpu.max", "300000 100000\n");
	assert_int_equal(up_capacity_read(src, &cap), 0);
	assert_int_equal(cap.core_limit, 3);
	put("proc/self/cgroup", "0::/other\n");
	assert_int_equal(up_capacity_read(src, &cap), 0);
	assert_int_equal(cap.quota_us, 600000);
	up_capacity_fini(&cap);
	up_capacity_close(src);
}

static bool cap_is(const struct up_capacity *cap, const struct up_capacity *other)
{
	return !memcmp(cap, other, sizeof(*cap));
}

/* Opens and reads with call nr n failing. Says whether there was such a call. */
static bool open_with_failure(int n, int err)
{
	struct up_capacity_cfg cfg = { .root = root };
	struct up_capacity_src *src = (void *)&cfg;
	struct up_capacity cap, poison;
	int fds = count_fds(), result, opened;

	memset(&poison, 0, sizeof(poison));
	poison.nr_cpus = 12345;
	cap = poison;
	fail_at = n;
	fail_errno = err;
	nr_calls = 0;
	nr_blocks = 0;
	armed = true;
	result = opened = up_capacity_open(&cfg, &src);
	if (!result) {
		result = up_capacity_read(src, &cap);
		if (result)
			assert_true(cap_is(&cap, &poison));
		else
			up_capacity_fini(&cap);
		up_capacity_close(src);
	} else {
		assert_ptr_equal(src, &cfg);
	}
	armed = false;
	if (result && result != -err && result != -EAGAIN &&
	    !(result == -ENOMEM || (result == -ESRCH && err == ESRCH)))
		fail_msg("call %d, errno %d: result %d", n, err, result);
	assert_int_equal(nr_blocks, 0);
	assert_int_equal(count_fds(), fds);
	return nr_calls >= n;
}

static void every_call_failing_in_turn_leaks_nothing(void **state)
{
	static const int errs[] = { EMFILE, EIO, EACCES, ENOENT, ENODEV, ESRCH };
	int n;

	for (int tree = 0; tree < 2; tree++) {
		if (tree)
			put_v1();
		else
			put_v2();
		for (size_t i = 0; i < sizeof(errs) / sizeof(*errs); i++) {
			for (n = 1; open_with_failure(n, errs[i]); n++)
				;
			assert_true(n > 30);
		}
	}
}

static void a_read_that_fails_leaves_the_source_usable(void **state)
{
	struct up_capacity_src *src;
	struct up_capacity cap = { 0 }, before;
	int nr_failed = 0, fds;

	put_v2();
	put("cg/other/cpu.max", "600000 100000\n");
	put("cg/a/b/cpu.max", "200000 100000\n");
	src = open_src();
	assert_int_equal(up_capacity_read(src, &cap), 0);
	fds = count_fds();
	for (int n = 1; n < 60; n++) {
		/* Each time a move is due, so that a new view is made or fails half way. */
		bool away = n % 2;
		int result;

		put("proc/self/cgroup", "0::%s\n", away ? "/other" : "/a/b");
		before = cap;
		fail_at = (n + 1) / 2;
		fail_errno = EMFILE;
		nr_calls = 0;
		armed = true;
		result = up_capacity_read(src, &cap);
		armed = false;
		if (result) {
			nr_failed++;
			assert_true(cap_is(&cap, &before));
		}
		assert_int_equal(up_capacity_read(src, &cap), 0);
		assert_int_equal(cap.core_limit, away ? 6 : 2);
	}
	assert_true(nr_failed > 10);
	put("proc/self/cgroup", "0::/a/b\n");
	assert_int_equal(up_capacity_read(src, &cap), 0);
	assert_int_equal(count_fds(), fds);
	up_capacity_fini(&cap);
	up_capacity_close(src);
}

static void same_compares_what_grants_depend_on(void **state)
{
	struct up_capacity_src *src;
	struct up_capacity a = { 0 }, b = { 0 };

	put_v2();
	src = open_src();
	assert_int_equal(up_capacity_read(src, &a), 0);
	assert_int_equal(up_capacity_read(src, &b), 0);
	assert_true(up_capacity_same(&a, &b));
	/* As many CPUs, but not the same ones. */
	affinity = "1-8";
	put("cg/a/b/cpuset.cpus.effective", "0-8\n");
	assert_int_equal(up_capacity_read(src, &b), 0);
	assert_int_equal(b.nr_cpus, a.nr_cpus);
	assert_false(up_capacity_same(&a, &b));
	affinity = "0-7";
	put("cg/a/b/cpu.max", "800000 100000\n");
	assert_int_equal(up_capacity_read(src, &b), 0);
	assert_int_equal(b.core_limit, a.core_limit);
	assert_false(up_capacity_same(&a, &b));
	up_capacity_fini(&a);
	up_capacity_fini(&b);
	up_capacity_fini(&b);
	up_capacity_fini(NULL);
	up_capacity_close(src);
}

static void bad_arguments_are_refused(void **state)
{
	static char long_root[PATH_MAX + 1];
	struct up_capacity_cfg cfg = { .tid = -1 };
	struct up_capacity_src *src = NULL;
	struct up_capacity cap = { 0 };

	assert_int_equal(up_capacity_open(NULL, NULL), -EINVAL);
	assert_int_equal(up_capacity_open(&cfg, &src), -EINVAL);
	memset(long_root, '/', PATH_MAX);
	cfg = (struct up_capacity_cfg){ .root = long_root };
	assert_int_equal(up_capacity_open(&cfg, &src), -ENAMETOOLONG);
	affinity = NULL;
	cfg = (struct up_capacity_cfg){ .tid = INT_MAX };
	assert_int_equal(up_capacity_open(&cfg, &src), -ESRCH);
	assert_null(src);
	assert_int_equal(up_capacity_read(NULL, &cap), -EINVAL);
	assert_int_equal(up_capacity_fd(NULL), -EINVAL);
	up_capacity_close(NULL);
	src = open_src();
	assert_int_equal(up_capacity_read(src, NULL), -EINVAL);
	up_capacity_close(src);
}

#define ON_TREE(f) cmocka_unit_test_setup_teardown(f, make_root, drop_root)

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(quotas_are_rounded_down_but_not_to_nothing),
	ON_TREE(without_limits_every_cpu_counts),
	ON_TREE(the_tightest_of_own_and_ancestors_counts_v2),
	ON_TREE(the_tightest_of_own_and_ancestors_counts_v1),
	ON_TREE(controllers_of_both_versions_mix),
	ON_TREE(the_nearest_cpuset_counts_not_its_ancestors),
	ON_TREE(more_cpus_than_a_cpu_set_t_holds),
	ON_TREE(a_long_list_is_read_whole),
	ON_TREE(affinity_and_cpuset_apart_leave_the_affinity),
	ON_TREE(senseless_files_are_ignored_and_flagged),
	ON_TREE(huge_numbers_compare_without_overflow),
	ON_TREE(what_is_hidden_is_reported),
	ON_TREE(higher_than_we_climb_counts_as_hidden),
	ON_TREE(without_groups_the_affinity_is_all),
	ON_TREE(a_write_to_any_level_wakes_and_is_read),
	ON_TREE(a_write_while_reading_is_not_lost),
	ON_TREE(a_move_to_another_group_is_followed),
	ON_TREE(a_controller_handed_down_later_is_found),
	ON_TREE(a_group_that_vanished_is_looked_up_anew),
	ON_TREE(a_quiet_one_holds_no_descriptor_for_events),
	ON_TREE(without_events_every_read_looks_at_everything),
	ON_TREE(every_call_failing_in_turn_leaks_nothing),
	ON_TREE(a_read_that_fails_leaves_the_source_usable),
	ON_TREE(same_compares_what_grants_depend_on),
	ON_TREE(bad_arguments_are_refused),
};

UNIT_MAIN(tests)
