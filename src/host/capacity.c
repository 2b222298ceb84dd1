/* SPDX-License-Identifier: MIT */
/*
 * Affinity, cpuset and quota of one task, read again and again. See capacity.h for what is promised.
 *
 * A source keeps open what it reads, so that reading again costs one pread a file. A view is all that
 * one look at /proc and at the groups found; a move of the task, or a group that gained or lost a
 * controller, makes a new view, which replaces the old one only when it is complete. Watches are laid
 * and events are taken away before values are read: a change after that leaves an event behind.
 */
#include "host/capacity.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/mutant.h"
#include "host/cgroup.h"

enum {
	DEPTH_MAX = 32, /* groups above one another; what is higher counts as hidden */
	WATCH_MAX = 4 * DEPTH_MAX,
	TEXT_MAX = 1 << 22, /* a file longer than this is refused */
	QUIET_READS = 4, /* without events by choice: how many reads share one look at everything */
};

/* The files of one group that hold its quota. */
struct limit {
	int quota_fd;
	int period_fd; /* -1 in version 2: quota_fd holds both */
	uint32_t up;
};

struct watch {
	int wd;
	bool shapes; /* a change here can make other files appear: look anew */
};

struct view {
	struct limit limit[DEPTH_MAX];
	uint32_t nr_limits;
	struct watch watch[WATCH_MAX];
	uint32_t nr_watches;
	int cpuset_fd;	/* the effective list, or -1 */
	uint32_t flags; /* what stays true of every answer from this view */
};

struct up_capacity_src {
	pid_t tid; /* 0: this process's first thread */
	int cgroup_fd;
	int notify_fd; /* inotify, or -errno */
	bool quiet;
	uint32_t nr_reads; /* since the last look at everything */
	uint32_t nr_scans;
	struct view view;
	struct up_capacity next; /* the answer that is being put together */
	struct up_cpus set;	 /* scratch: the cpuset */
	char *text;		 /* scratch: what was read last, with a 0 behind it */
	size_t text_sz;
	char *groups; /* /proc/TID/cgroup as this view knows it */
	size_t groups_len;
	struct up_cgroup_place place;
	char path[2 * PATH_MAX + NAME_MAX];
	char root[PATH_MAX];
};

/* Reads fd from its beginning into src->text, until short (all a group's file needs) or empty. */
static ssize_t read_text(struct up_capacity_src *src, int fd, bool until_empty)
{
	size_t len = 0;

	for (;;) {
		size_t room = src->text_sz ? src->text_sz - 1 - len : 0;
		ssize_t n;

		if (!room) {
			size_t sz = src->text_sz ? 2 * src->text_sz : 4096;
			char *text = sz <= TEXT_MAX ? realloc(src->text, sz) : NULL;

			if (!text)
				return sz <= TEXT_MAX ? -ENOMEM : -EFBIG;
			src->text = text;
			src->text_sz = sz;
			continue;
		}
		n = pread(fd, src->text + len, room, (off_t)len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		len += (size_t)n;
		src->text[len] = '\0';
		if (!n || (!until_empty && (size_t)n < room))
			return (ssize_t)len;
	}
}

/* Whether this failure means: go on without that file. What we lack ourselves is an error. */
static bool may_do_without(int err, uint32_t *flags)
{
	/* ENODEV: the group vanished between its name and its file. */
	if (err == -ENOENT || err == -ENOTDIR || err == -ENODEV)
		return true;
	if (err != -EACCES && err != -EPERM && err != -ENAMETOOLONG && err != -ELOOP)
		return false;
	*flags |= UP_CAPACITY_UNREADABLE;
	return true;
}

/* src->path = root + dir + rel + "/" + name. Cut off it names nothing, so it is left empty. */
static const char *make_path(struct up_capacity_src *src, const char *dir, const char *rel,
			     const char *name)
{
	int n = snprintf(src->path, sizeof(src->path), "%s%s%s/%s", src->root, dir, rel, name);

	if (n < 0 || (size_t)n >= sizeof(src->path))
		src->path[0] = '\0';
	return src->path;
}

/* Opens a file of the group at src->place; *ret_fd is -1 when we can do without. */
static int open_group_file(struct up_capacity_src *src, struct view *view, const char *name,
			   int *ret_fd)
{
	int fd = open(make_path(src, src->place.top, src->place.rel, name), O_RDONLY | O_CLOEXEC);

	if (fd < 0 && !may_do_without(-errno, &view->flags))
		return -errno;
	*ret_fd = fd < 0 ? -1 : fd;
	return 0;
}

/* Asks for an event when a file of the group at src->place is written. Without it, re-reads do. */
static void watch_group_file(struct up_capacity_src *src, struct view *view, const char *name,
			     bool shapes)
{
	int wd = -1;

	if (src->notify_fd >= 0 && view->nr_watches < WATCH_MAX) {
		wd = inotify_add_watch(src->notify_fd,
				       make_path(src, src->place.top, src->place.rel, name),
				       IN_MODIFY);
		if (wd < 0 && (errno == ENOENT || errno == ENOTDIR))
			return;
	}
	if (wd < 0)
		view->flags |= UP_CAPACITY_NO_EVENTS;
	else
		view->watch[view->nr_watches++] = (struct watch){ wd, shapes };
}

/* Climbs from the group at src->place to the one above; false at the top of what can be seen. */
static bool go_up(struct up_capacity_src *src)
{
	char *slash = strrchr(src->place.rel, '/');

	if (slash)
		*slash = '\0';
	return slash != NULL;
}

/* At the top: is that the true root, or one that a namespace puts in its place? */
static int look_above_top(struct up_capacity_src *src, struct view *view)
{
	const char *name = src->place.version == 2 ? "cgroup.events" : "release_agent";
	bool only_on_root = src->place.version == 1;
	bool there = !access(make_path(src, src->place.top, src->place.rel, name), F_OK);

	if (!there && !may_do_without(-errno, &view->flags))
		return -errno;
	if (there != only_on_root)
		view->flags |= UP_CAPACITY_ANCESTORS_HIDDEN;
	return 0;
}

/* The quota files of the group at src->place, up groups above the task's own. */
static int open_limit(struct up_capacity_src *src, struct view *view, uint32_t up)
{
	struct limit limit = { .quota_fd = -1, .period_fd = -1, .up = up };
	int err;

	if (src->place.version == 2) {
		err = open_group_file(src, view, "cpu.max", &limit.quota_fd);
		watch_group_file(src, view, "cpu.max", false);
	} else {
		err = open_group_file(src, view, "cpu.cfs_quota_us", &limit.quota_fd);
		if (!err)
			err = open_group_file(src, view, "cpu.cfs_period_us", &limit.period_fd);
		watch_group_file(src, view, "cpu.cfs_quota_us", false);
		watch_group_file(src, view, "cpu.cfs_period_us", false);
	}
	if (!err && limit.quota_fd >= 0 && (src->place.version == 2 || limit.period_fd >= 0)) {
		view->limit[view->nr_limits++] = limit;
		return 0;
	}
	if (limit.quota_fd >= 0) {
		view->flags |= UP_CAPACITY_MALFORMED;
		close(limit.quota_fd);
	}
	if (limit.period_fd >= 0)
		close(limit.period_fd);
	return err;
}

static int scan_quota(struct up_capacity_src *src, struct view *view)
{
	uint32_t up = 0;

	do {
		int err;

		if (up == DEPTH_MAX) {
			view->flags |= UP_CAPACITY_ANCESTORS_HIDDEN;
			return 0;
		}
		err = open_limit(src, view, up++);
		if (err)
			return err;
		/* Version 2 groups gain cpu.max when the one above hands the controller down. */
		if (src->place.version == 2)
			watch_group_file(src, view, "cgroup.subtree_control", true);
	} while (go_up(src) && !UP_MUT(capacity_ancestor_ignored));
	return look_above_top(src, view);
}

/* The nearest group that has an effective list; every list above it is watched, as it follows them. */
static int scan_cpuset(struct up_capacity_src *src, struct view *view)
{
	bool v2 = src->place.version == 2;

	do {
		int err = 0;

		if (view->cpuset_fd < 0)
			err = open_group_file(
				src, view, v2 ? "cpuset.cpus.effective" : "cpuset.effective_cpus",
				&view->cpuset_fd);
		if (!err && view->cpuset_fd < 0 && !v2)
			err = open_group_file(src, view, "cpuset.cpus", &view->cpuset_fd);
		if (err)
			return err;
		watch_group_file(src, view, "cpuset.cpus", false);
		if (v2) {
			watch_group_file(src, view, "cpuset.cpus.partition", false);
			watch_group_file(src, view, "cgroup.subtree_control", true);
		}
	} while (go_up(src));
	return look_above_top(src, view);
}

/* Looks up one controller in the two texts and reads what its groups offer. */
static int scan_controller(struct up_capacity_src *src, struct view *view, const char *groups,
			   const char *mounts, const char *controller,
			   int (*scan)(struct up_capacity_src *src, struct view *view),
			   uint32_t *nr_found)
{
	int err = up_cgroup_find(groups, mounts, controller, &src->place);

	if (err == -ENOENT)
		return 0;
	if (err == -EXDEV || err == -ENAMETOOLONG) {
		view->flags |= UP_CAPACITY_ANCESTORS_HIDDEN;
		return 0;
	}
	if (err)
		return err;
	(*nr_found)++;
	if (src->place.hidden)
		view->flags |= UP_CAPACITY_ANCESTORS_HIDDEN;
	/* The last one to leave a version 2 group makes an event, as a move may be. */
	if (src->place.version == 2)
		watch_group_file(src, view, "cgroup.events", true);
	return scan(src, view);
}

/* Fills view from the groups named in text; mounts are read here. */
static int scan_groups(struct up_capacity_src *src, struct view *view, const char *groups)
{
	int fd = open(make_path(src, "", "/proc/self", "mountinfo"), O_RDONLY | O_CLOEXEC);
	uint32_t nr_found = 0;
	ssize_t len;
	int err;

	if (fd < 0 && !may_do_without(-errno, &view->flags))
		return -errno;
	if (fd >= 0) {
		len = read_text(src, fd, true);
		close(fd);
		if (len < 0)
			return (int)len;
		err = scan_controller(src, view, groups, src->text, "cpu", scan_quota, &nr_found);
		if (!err)
			err = scan_controller(src, view, groups, src->text, "cpuset", scan_cpuset,
					      &nr_found);
		if (err)
			return err;
	}
	if (!nr_found)
		view->flags |= UP_CAPACITY_NO_CGROUP;
	return 0;
}

static bool has_watch(const struct view *view, int wd)
{
	for (uint32_t i = 0; i < view->nr_watches; i++)
		if (view->watch[i].wd == wd)
			return true;
	return false;
}

/* Gives back what view holds; watches that keep has as well stay. */
static void drop_view(struct up_capacity_src *src, struct view *view, const struct view *keep)
{
	for (uint32_t i = 0; i < view->nr_limits; i++) {
		close(view->limit[i].quota_fd);
		if (view->limit[i].period_fd >= 0)
			close(view->limit[i].period_fd);
	}
	if (view->cpuset_fd >= 0)
		close(view->cpuset_fd);
	/* The same file was given the same number, so a number may stand here more than once. */
	for (uint32_t i = 0; i < view->nr_watches; i++)
		if (!has_watch(keep, view->watch[i].wd))
			inotify_rm_watch(src->notify_fd, view->watch[i].wd);
	*view = (struct view){ .cpuset_fd = -1 };
}

/* Makes a new view for the groups now in src->text (len bytes). The old one stays on failure. */
static int scan(struct up_capacity_src *src, size_t len)
{
	struct view view = { .cpuset_fd = -1 };
	char *groups = malloc(len + 1);
	int err;

	if (!groups)
		return -ENOMEM;
	memcpy(groups, src->text, len);
	groups[len] = '\0';
	if (src->notify_fd < 0)
		view.flags |= UP_CAPACITY_NO_EVENTS;
	err = scan_groups(src, &view, groups);
	if (err) {
		drop_view(src, &view, &src->view);
		free(groups);
		return err;
	}
	drop_view(src, &src->view, &view);
	src->view = view;
	free(src->groups);
	src->groups = groups;
	src->groups_len = len;
	src->nr_reads = 0;
	src->nr_scans++;
	return 0;
}

/* Takes the events away. True when one of them asks for a new look. */
static bool take_events(struct up_capacity_src *src)
{
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool shapes = false;
	ssize_t n;

	if (src->notify_fd < 0)
		return false;
	while ((n = read(src->notify_fd, buf, sizeof(buf))) > 0) {
		const struct inotify_event *event;

		for (ssize_t at = 0; at < n; at += (ssize_t)(sizeof(*event) + event->len)) {
			event = (const void *)(buf + at);
			shapes |= (event->mask & IN_Q_OVERFLOW) != 0;
			for (uint32_t i = 0; i < src->view.nr_watches; i++)
				shapes |= src->view.watch[i].wd == event->wd &&
					  src->view.watch[i].shapes;
		}
	}
	return shapes;
}

/* Nothing has told of a change, and something would have. */
static bool is_fresh(const struct up_capacity_src *src)
{
	if (!src->groups)
		return false;
	return src->quiet ? src->nr_reads < QUIET_READS
			  : !(src->view.flags & UP_CAPACITY_NO_EVENTS);
}

/* Brings the view up to date: after a move, when asked, or where nothing would tell. */
static int follow(struct up_capacity_src *src, bool look_anew)
{
	ssize_t len;

	if (src->cgroup_fd < 0) {
		src->view.flags |= UP_CAPACITY_NO_CGROUP;
		return 0;
	}
	len = read_text(src, src->cgroup_fd, false);
	if (len < 0)
		return (int)len;
	src->nr_reads++;
	if (!look_anew && is_fresh(src) &&
	    (UP_MUT(capacity_move_missed) ||
	     ((size_t)len == src->groups_len && !memcmp(src->text, src->groups, (size_t)len))))
		return 0;
	return scan(src, (size_t)len);
}

/* A decimal number of at most 64 bits at *at, moved behind it and one blank or newline. */
static bool take_u64(const char **at, uint64_t *ret_number)
{
	const char *p = *at;
	uint64_t number = 0;

	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, (uint64_t)(*p - '0'), &number))
			return false;
	if (*p == ' ' || *p == '\n')
		p++;
	else if (*p)
		return false;
	*at = p;
	*ret_number = number;
	return true;
}

/* "max 100000" or "150000 100000". 1: a quota; 0: none; -EINVAL: senseless. */
static int parse_cpu_max(const char *text, uint64_t *ret_quota, uint64_t *ret_period)
{
	bool none = !strncmp(text, "max ", 4);

	if (none)
		text += 4;
	else if (!take_u64(&text, ret_quota) || !*ret_quota)
		return -EINVAL;
	if (!take_u64(&text, ret_period) || !*ret_period || *text)
		return -EINVAL;
	return !none;
}

/* A version 1 file with one number; -1 in it means none. Results as above. */
static int parse_v1(const char *text, uint64_t *ret_number)
{
	if (!strcmp(text, "-1\n") || !strcmp(text, "-1"))
		return 0;
	if (!take_u64(&text, ret_number) || !*ret_number || *text)
		return -EINVAL;
	return 1;
}

/* 1 and a quota, 0 for none, -EINVAL for senseless text, or why it could not be read. */
static int read_limit(struct up_capacity_src *src, const struct limit *limit, uint64_t *ret_quota,
		      uint64_t *ret_period)
{
	ssize_t len = read_text(src, limit->quota_fd, false);
	int found;

	if (len < 0)
		return (int)len;
	if (limit->period_fd < 0)
		return parse_cpu_max(src->text, ret_quota, ret_period);
	found = parse_v1(src->text, ret_quota);
	if (found <= 0)
		return found;
	len = read_text(src, limit->period_fd, false);
	if (len < 0)
		return (int)len;
	return parse_v1(src->text, ret_period) == 1 ? 1 : -EINVAL;
}

/* The tightest quota of all groups in sight, into src->next. */
static int read_quota(struct up_capacity_src *src)
{
	struct up_capacity *next = &src->next;

	for (uint32_t i = 0; i < src->view.nr_limits; i++) {
		uint64_t quota = 0, period = 0;
		int found = read_limit(src, &src->view.limit[i], &quota, &period);

		if (found == -EINVAL)
			next->flags |= UP_CAPACITY_MALFORMED;
		else if (found < 0)
			return found;
		if (found <= 0 || ((next->flags & UP_CAPACITY_QUOTA) &&
				   (unsigned __int128)quota * next->period_us >=
					   (unsigned __int128)next->quota_us * period))
			continue;
		next->flags |= UP_CAPACITY_QUOTA;
		next->quota_us = quota;
		next->period_us = period;
		next->quota_up = src->view.limit[i].up;
	}
	return 0;
}

/* The thread's affinity, into src->next.cpus, with more room until the kernel's mask fits. */
static int read_affinity(struct up_capacity_src *src)
{
	struct up_cpus *cpus = &src->next.cpus;
	pid_t tid = src->tid ? src->tid : getpid();
	uint32_t nr_cpus = UP_MAX(cpus->nr_words * 64, 1024u);

	for (;; nr_cpus *= 2) {
		int err = up_cpus_reserve(cpus, nr_cpus);

		if (err)
			return err;
		up_cpus_clear(cpus);
		if (!sched_getaffinity(tid, cpus->nr_words * sizeof(*cpus->word),
				       (cpu_set_t *)(void *)cpus->word))
			return 0;
		if (errno != EINVAL || nr_cpus >= UP_CPUS_MAX)
			return -errno;
	}
}

/* Narrows src->next.cpus to the cpuset. */
static int read_cpuset(struct up_capacity_src *src)
{
	struct up_capacity *next = &src->next;
	ssize_t len;
	int err;

	if (src->view.cpuset_fd < 0)
		return 0;
	len = read_text(src, src->view.cpuset_fd, false);
	if (len < 0)
		return (int)len;
	up_cpus_clear(&src->set);
	err = up_cpus_parse(&src->set, src->text, (size_t)len);
	if (err == -ENOMEM)
		return err;
	if (err) {
		next->flags |= UP_CAPACITY_MALFORMED;
		return 0;
	}
	next->nr_cpuset = up_cpus_count(&src->set);
	if (up_cpus_intersect(&next->cpus, &src->set))
		up_cpus_and(&next->cpus, &src->set);
	else
		next->flags |= UP_CAPACITY_DISJOINT;
	return 0;
}

uint32_t up_capacity_round(uint64_t quota_us, uint64_t period_us, uint32_t nr_cpus)
{
	uint64_t cores;

	if (!period_us)
		return nr_cpus;
	cores = quota_us / period_us;
	if (UP_MUT(capacity_rounded_up))
		cores += quota_us % period_us != 0;
	return (uint32_t)UP_MIN(UP_MAX(cores, UINT64_C(1)), (uint64_t)nr_cpus);
}

/* Every value anew into src->next. */
static int read_values(struct up_capacity_src *src)
{
	struct up_capacity *next = &src->next;
	int err;

	*next = (struct up_capacity){ .cpus = next->cpus, .flags = src->view.flags };
	err = read_quota(src);
	if (!err)
		err = read_affinity(src);
	if (!err)
		err = read_cpuset(src);
	if (err)
		return err;
	next->nr_cpus = up_cpus_count(&next->cpus);
	if (!next->nr_cpus)
		return -ESRCH;
	next->core_limit = next->nr_cpus;
	if (next->flags & UP_CAPACITY_QUOTA) {
		next->core_limit = up_capacity_round(next->quota_us, next->period_us,
						     next->nr_cpus);
		if (next->quota_us < next->period_us)
			next->flags |= UP_CAPACITY_BELOW_ONE;
	}
	next->nr_scans = src->nr_scans;
	return 0;
}

int up_capacity_read(struct up_capacity_src *src, struct up_capacity *ret_cap)
{
	struct up_cpus cpus;
	int err;

	if (!src || !ret_cap)
		return -EINVAL;
	/* First of all, so that a write from here on leaves its event for the next time. */
	err = follow(src, take_events(src));
	if (!err)
		err = read_values(src);
	/* The group whose file was open is gone, so the task has left it. */
	if (err == -ENODEV) {
		err = follow(src, true);
		if (!err)
			err = read_values(src);
		if (err == -ENODEV)
			err = -EAGAIN;
	}
	if (UP_MUT(capacity_events_late))
		take_events(src);
	if (!err)
		err = up_cpus_copy(&ret_cap->cpus, &src->next.cpus);
	if (err)
		return err;
	cpus = ret_cap->cpus;
	*ret_cap = src->next;
	ret_cap->cpus = cpus;
	return 0;
}

void up_capacity_fini(struct up_capacity *cap)
{
	if (!cap)
		return;
	up_cpus_fini(&cap->cpus);
	*cap = (struct up_capacity){ 0 };
}

bool up_capacity_same(const struct up_capacity *a, const struct up_capacity *b)
{
	return a->core_limit == b->core_limit && a->quota_us == b->quota_us &&
	       a->period_us == b->period_us && up_cpus_equal(&a->cpus, &b->cpus);
}

int up_capacity_fd(const struct up_capacity_src *src)
{
	return src ? src->notify_fd : -EINVAL;
}

/* The file that names the task's groups; it stays bound to the task, whatever its number becomes. */
static int open_groups(struct up_capacity_src *src)
{
	char dir[32] = "/proc/self";

	if (src->tid)
		snprintf(dir, sizeof(dir), "/proc/%d", (int)src->tid);
	src->cgroup_fd = open(make_path(src, "", dir, "cgroup"), O_RDONLY | O_CLOEXEC);
	if (src->cgroup_fd < 0 && !may_do_without(-errno, &src->view.flags))
		return -errno;
	return 0;
}

int up_capacity_open(const struct up_capacity_cfg *cfg, struct up_capacity_src **ret_src)
{
	const char *root = cfg && cfg->root ? cfg->root : "";
	struct up_capacity_src *src;
	int err;

	if (!ret_src || (cfg && cfg->tid < 0))
		return -EINVAL;
	if (strlen(root) >= sizeof(src->root))
		return -ENAMETOOLONG;
	src = calloc(1, sizeof(*src));
	if (!src)
		return -ENOMEM;
	strcpy(src->root, root);
	src->tid = cfg ? cfg->tid : 0;
	src->cgroup_fd = -1;
	src->view.cpuset_fd = -1;
	src->quiet = cfg && cfg->quiet;
	/* Few instances are allowed to a user: without one we live from re-reads. */
	src->notify_fd = src->quiet ? -ENODATA : inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (src->notify_fd == -1)
		src->notify_fd = -errno;
	err = open_groups(src);
	if (!err)
		err = follow(src, true);
	/* Once now, so that a thread that is not there is noticed at once. */
	if (!err)
		err = read_values(src);
	if (err) {
		up_capacity_close(src);
		return err;
	}
	*ret_src = src;
	return 0;
}

void up_capacity_close(struct up_capacity_src *src)
{
	if (!src)
		return;
	drop_view(src, &src->view, &src->view);
	if (src->notify_fd >= 0)
		close(src->notify_fd);
	if (src->cgroup_fd >= 0)
		close(src->cgroup_fd);
	up_cpus_fini(&src->next.cpus);
	up_cpus_fini(&src->set);
	free(src->groups);
	free(src->text);
	free(src);
}
