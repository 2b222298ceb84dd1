/* SPDX-License-Identifier: MIT */
/*
 * The files that say what one task may have of the machine, found and followed.
 *
 * A view is all that one look at /proc and at the groups found; a move of the task, or a group that
 * gained or lost a controller, makes a new view, which replaces the old one only when it is complete.
 * Watches are laid and events are taken away before values are read: a change after that leaves an
 * event behind.
 */
#include "host/capacity_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/mutant.h"

enum {
	TEXT_MAX = 1 << 22, /* a file longer than this is refused */
	QUIET_READS = 4, /* without events by choice: how many reads share one look at everything */
};

ssize_t up_view_read(struct up_capacity_src *src, int fd, bool until_empty)
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
static int open_group_file(struct up_capacity_src *src, struct up_view *view, const char *name,
			   int *ret_fd)
{
	int fd = open(make_path(src, src->place.top, src->place.rel, name), O_RDONLY | O_CLOEXEC);

	if (fd < 0 && !may_do_without(-errno, &view->flags))
		return -errno;
	*ret_fd = fd < 0 ? -1 : fd;
	return 0;
}

/* Asks for an event when a file of the group at src->place is written. Without it, re-reads do. */
static void watch_group_file(struct up_capacity_src *src, struct up_view *view, const char *name,
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
		view->watch[view->nr_watches++] = (struct up_file_watch){ wd, shapes };
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
static int look_above_top(struct up_capacity_src *src, struct up_view *view)
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
static int open_limit(struct up_capacity_src *src, struct up_view *view, uint32_t up)
{
	struct up_limit limit = { .quota_fd = -1, .period_fd = -1, .up = up };
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

static int scan_quota(struct up_capacity_src *src, struct up_view *view)
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
static int scan_cpuset(struct up_capacity_src *src, struct up_view *view)
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
static int scan_controller(struct up_capacity_src *src, struct up_view *view, const char *groups,
			   const char *mounts, const char *controller,
			   int (*scan)(struct up_capacity_src *src, struct up_view *view),
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
static int scan_groups(struct up_capacity_src *src, struct up_view *view, const char *groups)
{
	int fd = open(make_path(src, "", "/proc/self", "mountinfo"), O_RDONLY | O_CLOEXEC);
	uint32_t nr_found = 0;
	ssize_t len;
	int err;

	if (fd < 0 && !may_do_without(-errno, &view->flags))
		return -errno;
	if (fd >= 0) {
		len = up_view_read(src, fd, true);
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

static bool has_watch(const struct up_view *view, int wd)
{
	for (uint32_t i = 0; i < view->nr_watches; i++)
		if (view->watch[i].wd == wd)
			return true;
	return false;
}

/* Gives back what view holds; watches that keep has as well stay. */
static void drop_view(struct up_capacity_src *src, struct up_view *view, const struct up_view *keep)
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
	*view = (struct up_view){ .cpuset_fd = -1 };
}

/* Makes a new view for the groups now in src->text (len bytes). The old one stays on failure. */
static int scan(struct up_capacity_src *src, size_t len)
{
	struct up_view view = { .cpuset_fd = -1 };
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

bool up_view_take_events(struct up_capacity_src *src)
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

int up_view_follow(struct up_capacity_src *src, bool look_anew)
{
	ssize_t len;

	if (src->cgroup_fd < 0) {
		src->view.flags |= UP_CAPACITY_NO_CGROUP;
		return 0;
	}
	len = up_view_read(src, src->cgroup_fd, false);
	if (len < 0)
		return (int)len;
	src->nr_reads++;
	if (!look_anew && is_fresh(src) &&
	    (UP_MUT(capacity_move_missed) ||
	     ((size_t)len == src->groups_len && !memcmp(src->text, src->groups, (size_t)len))))
		return 0;
	return scan(src, (size_t)len);
}

/* The file that names the task's groups; it stays bound to the task, whatever its number becomes. */
int up_view_open(struct up_capacity_src *src)
{
	char dir[32] = "/proc/self";

	if (src->tid)
		snprintf(dir, sizeof(dir), "/proc/%d", (int)src->tid);
	src->cgroup_fd = open(make_path(src, "", dir, "cgroup"), O_RDONLY | O_CLOEXEC);
	if (src->cgroup_fd < 0 && !may_do_without(-errno, &src->view.flags))
		return -errno;
	return 0;
}

void up_view_close(struct up_capacity_src *src)
{
	drop_view(src, &src->view, &src->view);
	if (src->cgroup_fd >= 0)
		close(src->cgroup_fd);
}
