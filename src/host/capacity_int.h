/* SPDX-License-Identifier: MIT */
/*
 * A source of capacity from inside: capacity_view.c finds and follows the files, capacity.c reads the
 * values from them.
 */
#ifndef UP_HOST_CAPACITY_INT_H
#define UP_HOST_CAPACITY_INT_H

#include <limits.h>
#include <sys/types.h>

#include "host/capacity.h"
#include "host/cgroup.h"

enum {
	DEPTH_MAX = 32, /* groups above one another; what is higher counts as hidden */
	WATCH_MAX = 4 * DEPTH_MAX,
};

/* The files of one group that hold its quota. */
struct up_limit {
	int quota_fd;
	int period_fd; /* -1 in version 2: quota_fd holds both */
	uint32_t up;
};

struct up_file_watch {
	int wd;
	bool shapes; /* a change here can make other files appear: look anew */
};

struct up_view {
	struct up_limit limit[DEPTH_MAX];
	uint32_t nr_limits;
	struct up_file_watch watch[WATCH_MAX];
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
	struct up_view view;
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

/* Reads fd from its beginning into src->text, until short (all a group's file needs) or empty.  Its
 * length, or -errno. */
ssize_t up_view_read(struct up_capacity_src *src, int fd, bool until_empty);

int up_view_open(struct up_capacity_src *src); /* finds the file that names the task's groups */
/* Takes the events away. True when one of them asks for a new look. */
bool up_view_take_events(struct up_capacity_src *src);
/* Brings the view up to date: after a move, when asked, or where nothing would tell. */
int up_view_follow(struct up_capacity_src *src, bool look_anew);
void up_view_close(struct up_capacity_src *src);

#endif
