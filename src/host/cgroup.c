/* SPDX-License-Identifier: MIT */
/*
 * /proc/TID/cgroup and /proc/TID/mountinfo, read as text. See cgroup.h for what is promised. The text
 * is the kernel's, but names of groups and mount points in it are other people's: every field is
 * bounded by its line.
 */
#include "host/cgroup.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* A part of a text that somebody else owns. */
struct span {
	const char *at;
	size_t len;
};

static bool span_is(struct span s, const char *word)
{
	return s.len == strlen(word) && !memcmp(s.at, word, s.len);
}

/* Cuts off and returns what stands before the first c; all of it when there is none. */
static struct span cut(struct span *rest, char c)
{
	struct span head = *rest;
	const char *found = rest->len ? memchr(rest->at, c, rest->len) : NULL;

	if (found) {
		head.len = (size_t)(found - rest->at);
		rest->at = found + 1;
		rest->len -= head.len + 1;
	} else {
		rest->at += rest->len;
		rest->len = 0;
	}
	return head;
}

static bool list_has(struct span list, const char *word)
{
	while (list.len)
		if (span_is(cut(&list, ','), word))
			return true;
	return false;
}

/* The task's path in the hierarchy that has controller. */
static int find_path(const char *text, const char *controller, struct span *ret_path,
		     int *ret_version)
{
	struct span rest = { text, strlen(text) };
	int version = 0;

	while (rest.len) {
		struct span line = cut(&rest, '\n');
		struct span id = cut(&line, ':');
		struct span names = cut(&line, ':');

		if (!line.len || line.at[0] != '/')
			continue;
		if (list_has(names, controller)) {
			*ret_path = line;
			*ret_version = 1;
			return 0;
		}
		if (span_is(id, "0") && !names.len) {
			*ret_path = line;
			version = 2;
		}
	}
	if (!version)
		return -ENOENT;
	*ret_version = version;
	return 0;
}

/* Copies a field of mountinfo, in which blanks and backslashes are \ooo. */
static int unescape(struct span s, char *out, size_t out_sz)
{
	size_t nr = 0;

	for (size_t i = 0; i < s.len; i++) {
		unsigned c = (unsigned char)s.at[i];

		if (c == '\\' && s.len - i > 3) {
			c = (unsigned)(s.at[i + 1] - '0') << 6 |
			    (unsigned)(s.at[i + 2] - '0') << 3 | (unsigned)(s.at[i + 3] - '0');
			i += 3;
		}
		if (nr + 1 >= out_sz)
			return -ENAMETOOLONG;
		out[nr++] = (char)c;
	}
	out[nr] = '\0';
	return 0;
}

/* Splits a line of mountinfo; false unless it mounts the hierarchy that is looked for. */
static bool is_mount_of(struct span line, int version, const char *controller,
			struct span *ret_root, struct span *ret_point)
{
	struct span options;

	for (int skip = 0; skip < 3; skip++)
		cut(&line, ' ');
	*ret_root = cut(&line, ' ');
	*ret_point = cut(&line, ' ');
	/* Optional fields follow, as many as there are, up to a lone dash. */
	while (line.len && !span_is(cut(&line, ' '), "-"))
		;
	options = cut(&line, ' ');
	if (!span_is(options, version == 2 ? "cgroup2" : "cgroup"))
		return false;
	cut(&line, ' ');
	return version == 2 || list_has(line, controller);
}

/* Whether a path climbs out of the namespace that it is told in. */
static bool climbs(const char *path)
{
	return !strncmp(path, "/..", 3) && (path[3] == '/' || !path[3]);
}

/*
 * What is left of path below root, or NULL: not below it. Both are names in the hierarchy as the
 * task's namespace sees it.
 */
static const char *below(const char *path, const char *root)
{
	size_t len = strlen(root);

	if (climbs(path) || climbs(root))
		return NULL;
	if (!strcmp(root, "/"))
		return path[1] ? path : "";
	if (strncmp(path, root, len) || (path[len] != '/' && path[len]))
		return NULL;
	return path + len;
}

/* Tries one mount. 1: taken; 0: it shows the tree but not our part, or a worse view. */
static int try_mount(struct span root, struct span point, const char *path,
		     struct up_cgroup_place *place)
{
	char mount_root[PATH_MAX];
	const char *rel;
	int err = unescape(root, mount_root, sizeof(mount_root));

	if (err)
		return err;
	rel = below(path, mount_root);
	if (!rel)
		return 0;
	err = unescape(point, place->top, sizeof(place->top));
	if (err)
		return err;
	/* rel points into path, which the caller keeps no longer than PATH_MAX. */
	memmove(place->rel, rel, strlen(rel) + 1);
	place->hidden = strcmp(mount_root, "/") != 0;
	return 1;
}

int up_cgroup_find(const char *cgroup_text, const char *mountinfo_text, const char *controller,
		   struct up_cgroup_place *ret_place)
{
	struct span rest = { mountinfo_text, strlen(mountinfo_text) };
	struct up_cgroup_place place = { 0 };
	char path[PATH_MAX];
	struct span span;
	int err, result = -ENOENT;

	err = find_path(cgroup_text, controller, &span, &place.version);
	if (err)
		return err;
	if (span.len >= sizeof(path))
		return -ENAMETOOLONG;
	memcpy(path, span.at, span.len);
	path[span.len] = '\0';
	/* A view of the whole tree is better than one of a part; of equals, the last is on top. */
	while (rest.len) {
		struct up_cgroup_place one = { .version = place.version };
		struct span root, point, line = cut(&rest, '\n');

		if (!is_mount_of(line, place.version, controller, &root, &point))
			continue;
		err = try_mount(root, point, path, &one);
		if (err < 0)
			return err;
		if (err && (result || place.hidden || !one.hidden)) {
			place = one;
			result = 0;
		} else if (result) {
			result = -EXDEV;
		}
	}
	if (!result)
		*ret_place = place;
	return result;
}
