/* SPDX-License-Identifier: MIT */
/*
 * Where a task's control group lies in the file system, found from the text of /proc/TID/cgroup and of
 * /proc/TID/mountinfo: version 1, version 2, and both at once. Text in, a place out: no file is opened
 * here. For whoever wants to read a limit (capacity.c).
 *
 * What cannot be seen: a mount may show only a part of the tree (a bind mount of a container's group),
 * and a cgroup namespace makes its own group look like "/". The first is said here (place.hidden); the
 * second does not show in the text and is found by the caller (files that only a true root has, or
 * lacks).
 */
#ifndef UP_HOST_CGROUP_H
#define UP_HOST_CGROUP_H

#include <limits.h>
#include <stdbool.h>

struct up_cgroup_place {
	int version;	    /* 1 or 2 */
	bool hidden;	    /* ancestors exist that this mount does not show */
	char top[PATH_MAX]; /* the mount point: the topmost group that can be seen */
	char rel[PATH_MAX]; /* from there to the task's own group: "" or "/a/b" */
};

/*
 * The group that governs controller ("cpu", "cpuset") for the task: the version 1 hierarchy that has
 * it, else the version 2 tree. -ENOENT: no such hierarchy, or not mounted. -EXDEV: it is mounted, but
 * the task's own group lies outside of what is shown (all of it hidden). -ENAMETOOLONG.
 * Lines that make no sense are passed over.
 */
int up_cgroup_find(const char *cgroup_text, const char *mountinfo_text, const char *controller,
		   struct up_cgroup_place *ret_place);

#endif
