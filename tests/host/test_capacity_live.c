/* SPDX-License-Identifier: MIT */
/*
 * host/capacity.h against the running kernel: a child sits in groups of its own while this process, the
 * outsider, changes its quota, its cpuset, its group and its affinity. Each change must be read, and
 * announced where Linux announces it. Points that need a group that may be written say SKIP without.
 */
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "host/capacity.h"
#include "host/cgroup.h"

enum {
	EVENT_MS = 2000,
	NR_POINTS = 10
};

/* Where the groups of this test lie for one controller: top/outer/inner. */
struct groups {
	bool usable;
	const char *why_not;
	int version;
	char here[PATH_MAX]; /* the own group of this process */
	char outer[PATH_MAX];
	char inner[PATH_MAX];
};

static struct groups cpu, set;
static pid_t child;
static struct up_capacity_src *src;
static struct up_capacity cap;

static char *join(char *out, const char *dir, const char *name)
{
	/* Shorter than any limit, or the file is not found and the point fails. */
	snprintf(out, PATH_MAX, "%.3900s/%.100s", dir, name);
	return out;
}

/* Writes text to dir/name as one who knows nothing of the source. */
static int put(const char *dir, const char *name, const char *text)
{
	char path[PATH_MAX];
	int fd = open(join(path, dir, name), O_WRONLY | O_CLOEXEC);
	int err = fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return err;
}

static int put_quota(const struct groups *g, const char *dir, const char *us)
{
	char both[64];

	if (g->version == 1)
		return put(dir, "cpu.cfs_quota_us", us);
	snprintf(both, sizeof(both), "%s 100000", strcmp(us, "-1") ? us : "max");
	return put(dir, "cpu.max", both);
}

static int put_task(const char *dir, pid_t pid)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", (int)pid);
	return put(dir, "cgroup.procs", text);
}

static void slurp(const char *path, char *text, size_t sz)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n;

	while (fd >= 0 && len + 1 < sz && (n = read(fd, text + len, sz - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	if (fd >= 0)
		close(fd);
}

static void drop_groups(struct groups *g)
{
	if (g->inner[0])
		rmdir(g->inner);
	if (g->outer[0])
		rmdir(g->outer);
}

/* Makes two groups, one in the other, below our own, in which the controller works. */
static bool make_groups(struct groups *g, const char *controller)
{
	static char list[16384], mounts[1 << 18];
	struct up_cgroup_place place;
	char name[32], plus[32];

	slurp("/proc/self/cgroup", list, sizeof(list));
	slurp("/proc/self/mountinfo", mounts, sizeof(mounts));
	g->why_not = "no such group is mounted";
	if (up_cgroup_find(list, mounts, controller, &place))
		return false;
	g->version = place.version;
	g->why_not = "no group may be made here (not root, or read-only)";
	snprintf(g->here, PATH_MAX, "%.2000s%.2000s", place.top, place.rel);
	snprintf(name, sizeof(name), "upcall-test-%d", (int)getpid());
	/* Both controllers in one tree share the groups. */
	if (mkdir(join(g->outer, g->here, name), 0755) && errno != EEXIST) {
		g->outer[0] = '\0';
		return false;
	}
	mkdir(join(g->inner, g->outer, "inner"), 0755);
	g->why_not = "the controller is not handed down here";
	snprintf(plus, sizeof(plus), "+%s", controller);
	if (g->version == 2 && (put(g->here, "cgroup.subtree_control", plus) ||
				put(g->outer, "cgroup.subtree_control", plus)))
		return false;
	return true;
}

/* Version 1 cpusets start empty; tasks may enter only with both filled. */
static bool fill_set(const char *dir, const char *cpus)
{
	char mems[256], path[PATH_MAX];

	slurp(join(path, set.here, set.version == 1 ? "cpuset.mems" : "cpuset.mems.effective"),
	      mems, sizeof(mems));
	return !put(dir, "cpuset.mems", mems) && !put(dir, "cpuset.cpus", cpus);
}

static void start_child(void)
{
	child = fork();
	if (child < 0)
		tap_bail("fork");
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
}

static void end_child(void)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static bool event_comes(int ms)
{
	struct pollfd pfd = { .fd = up_capacity_fd(src), .events = POLLIN };

	return poll(&pfd, 1, ms) == 1;
}

static bool again(void)
{
	int err = up_capacity_read(src, &cap);

	if (err)
		tap_note("read: %s", strerror(-err));
	return !err;
}

/* Every CPU that we have, as a list of two: the first, and another. */
static bool two_cpus(uint32_t *ret_a, uint32_t *ret_b)
{
	*ret_a = up_cpus_next(&cap.cpus, 0);
	*ret_b = up_cpus_next(&cap.cpus, *ret_a + 1);
	return *ret_b != UINT32_MAX;
}

static void affinity_changed_from_outside(void)
{
	static const char what[] = "an affinity changed from outside is read";
	uint32_t nr = cap.nr_cpus, a, b;
	cpu_set_t old, one;
	bool good;

	if (!two_cpus(&a, &b) || b >= CPU_SETSIZE) {
		tap_skip(what, "needs two CPUs below %d", CPU_SETSIZE);
		return;
	}
	CPU_ZERO(&one);
	CPU_SET(b, &one);
	good = !sched_getaffinity(child, sizeof(old), &old) &&
	       !sched_setaffinity(child, sizeof(one), &one) && again() && cap.nr_cpus == 1 &&
	       cap.core_limit == 1 && up_cpus_next(&cap.cpus, 0) == b;
	good &= !sched_setaffinity(child, sizeof(old), &old) && again() && cap.nr_cpus == nr;
	tap_ok(good, "%s", what);
}

static void quota_changed_from_outside(void)
{
	static const char what[] = "a quota changed from outside wakes and is read";
	bool good;

	if (!cpu.usable) {
		tap_skip(what, "%s", cpu.why_not);
		return;
	}
	again();
	good = !put_quota(&cpu, cpu.inner, "150000") && event_comes(EVENT_MS) && again();
	good = good && cap.core_limit == 1 && cap.quota_us == 150000 && !cap.quota_up;
	good = good && !event_comes(0);
	good = good && !put_quota(&cpu, cpu.inner, "-1") && event_comes(EVENT_MS) && again();
	good = good && cap.core_limit == cap.nr_cpus && !(cap.flags & UP_CAPACITY_QUOTA);
	tap_ok(good, "%s", what);
}

static void ancestors_quota_counts(void)
{
	static const char what[] = "the quota of the group above wakes and counts";
	bool good;

	if (!cpu.usable) {
		tap_skip(what, "%s", cpu.why_not);
		return;
	}
	again();
	good = !put_quota(&cpu, cpu.outer, "50000") && event_comes(EVENT_MS) && again();
	good = good && cap.core_limit == 1 && cap.quota_us == 50000 && cap.quota_up == 1;
	good = good && (cap.flags & UP_CAPACITY_BELOW_ONE);
	good = good && !put_quota(&cpu, cpu.outer, "-1") && again() && !cap.quota_us;
	tap_ok(good, "%s", what);
}

static void cpuset_changed_from_outside(const char *dir, const char *what)
{
	char list[64];
	uint32_t a, b;
	bool good;

	again();
	if (!set.usable || !two_cpus(&a, &b)) {
		tap_skip(what, "%s", set.usable ? "needs two CPUs" : set.why_not);
		return;
	}
	snprintf(list, sizeof(list), "%u", b);
	/* The inner one first, in version 1 it may not hold more than the outer. */
	good = (dir == set.inner || set.version == 2 || !put(set.inner, "cpuset.cpus", list));
	good = good && !put(dir, "cpuset.cpus", list) && event_comes(EVENT_MS) && again();
	good = good && cap.nr_cpus == 1 && up_cpus_has(&cap.cpus, b) && cap.nr_cpuset == 1;
	snprintf(list, sizeof(list), "%u,%u", a, b);
	good = good && !put(dir, "cpuset.cpus", list) && event_comes(EVENT_MS) && again();
	good = good &&
	       (dir == set.inner || set.version == 2 || !put(set.inner, "cpuset.cpus", list));
	good = good && again() && cap.nr_cpuset == 2;
	/* Kernels before 6.2 forget the wider affinity; later ones give it back. */
	good = good && cap.nr_cpus >= 1;
	tap_ok(good, "%s", what);
}

static void moved_to_another_group(void)
{
	static const char what[] = "a move to another group is followed, there and back";
	bool good;

	if (!cpu.usable) {
		tap_skip(what, "%s", cpu.why_not);
		return;
	}
	good = !put_quota(&cpu, cpu.inner, "120000") && again() && cap.quota_us == 120000;
	good = good && !put_task(cpu.here, child) && again() && cap.quota_us != 120000;
	good = good && !put_task(cpu.inner, child) && again() && cap.quota_us == 120000;
	good = good && !put_quota(&cpu, cpu.inner, "-1") && again() && !cap.quota_us;
	tap_ok(good, "%s", what);
}

static void moved_and_group_removed(void)
{
	static const char what[] = "a group removed behind a moved task is no error";
	bool good;

	if (!cpu.usable) {
		tap_skip(what, "%s", cpu.why_not);
		return;
	}
	good = again() && !put_task(cpu.here, child) && !rmdir(cpu.inner) && again();
	good = good && !mkdir(cpu.inner, 0755) && !put_task(cpu.inner, child) && again();
	tap_ok(good, "%s", what);
}

/* In the child: a namespace in which the outer group is the root, and a mount of its own in it. */
static int look_from_namespace(const char *dir, int go)
{
	int err;

	if (put_task(cpu.outer, getpid()) || unshare(CLONE_NEWCGROUP | CLONE_NEWNS) ||
	    mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return 2;
	err = cpu.version == 1 ? mount("cgroup", dir, "cgroup", 0, "cpu")
			       : mount("cgroup", dir, "cgroup2", 0, NULL);
	/* From here only our mount shows the group whole: the others show it from above. */
	if (err || up_capacity_open(NULL, &src) || !again())
		return 2;
	if (write(go, "x", 1) != 1 || !event_comes(EVENT_MS) || !again())
		return 1;
	return !(cap.core_limit == 1 && cap.quota_us == 90000 &&
		 (cap.flags & UP_CAPACITY_ANCESTORS_HIDDEN));
}

static void seen_from_a_namespace(void)
{
	static const char what[] = "from a cgroup namespace: seen, announced, ancestors hidden";
	char dir[] = "/tmp/upcall-capacity.XXXXXX", c;
	int go[2], status = 0;
	pid_t inside;

	if (!cpu.usable) {
		tap_skip(what, "%s", cpu.why_not);
		return;
	}
	if (pipe(go) || !mkdtemp(dir))
		tap_bail("no pipe or no temporary folder");
	inside = fork();
	if (!inside) {
		close(go[0]);
		_exit(look_from_namespace(dir, go[1]));
	}
	close(go[1]);
	if (read(go[0], &c, 1) == 1)
		put_quota(&cpu, cpu.outer, "90000");
	waitpid(inside, &status, 0);
	close(go[0]);
	rmdir(dir);
	put_quota(&cpu, cpu.outer, "-1");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
		tap_skip(what, "no namespace or mount may be made here");
	else
		tap_ok(!status, "%s", what);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void cost_is_told(void)
{
	enum {
		READS = 2000
	};
	uint64_t best = UINT64_MAX, start, scan;
	bool good = true;

	for (int i = 0; i < READS; i++) {
		start = now_ns();
		good = good && again();
		if (now_ns() - start < best)
			best = now_ns() - start;
	}
	up_capacity_close(src);
	start = now_ns();
	good = good && !up_capacity_open(&(struct up_capacity_cfg){ .tid = child }, &src);
	scan = now_ns() - start;
	tap_note("a re-read takes %llu ns at best, opening anew %llu ns", (unsigned long long)best,
		 (unsigned long long)scan);
	tap_ok(good && again(), "read %d times", READS);
}

int main(void)
{
	tap_plan(NR_POINTS);
	cpu.usable = make_groups(&cpu, "cpu");
	set.usable = make_groups(&set, "cpuset");
	start_child();
	if (cpu.usable)
		cpu.usable = !put_task(cpu.inner, child);
	if (up_capacity_open(NULL, &src) || !again())
		tap_bail("cannot read our own capacity");
	if (set.usable) {
		char list[64];
		uint32_t a, b;

		if (two_cpus(&a, &b))
			snprintf(list, sizeof(list), "%u,%u", a, b);
		else
			snprintf(list, sizeof(list), "%u", a);
		set.usable = fill_set(set.outer, list) && fill_set(set.inner, list) &&
			     !put_task(set.inner, child);
	}
	up_capacity_close(src);
	if (up_capacity_open(&(struct up_capacity_cfg){ .tid = child }, &src) || !again())
		tap_bail("cannot read a child's capacity");
	tap_note("cpu v%d, cpuset v%d: %u CPUs, %u cores, flags %x", cpu.version, set.version,
		 cap.nr_cpus, cap.core_limit, cap.flags);

	affinity_changed_from_outside();
	quota_changed_from_outside();
	ancestors_quota_counts();
	cpuset_changed_from_outside(set.inner, "cores go and come with the cpuset, with events");
	cpuset_changed_from_outside(set.outer, "and with the cpuset of the group above");
	moved_to_another_group();
	moved_and_group_removed();
	seen_from_a_namespace();
	cost_is_told();
	end_child();
	tap_ok(up_capacity_read(src, &cap) == -ESRCH, "a task that ended is said to be gone");
	up_capacity_close(src);
	up_capacity_fini(&cap);
	drop_groups(&cpu);
	/* With both controllers in one tree these are the same groups, already gone. */
	drop_groups(&set);
	return tap_done();
}
