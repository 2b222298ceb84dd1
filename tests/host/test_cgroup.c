/* SPDX-License-Identifier: MIT */
/* host/cgroup.h: both versions, both at once, containers' views, and text that makes no sense. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/cgroup.h"

static const char v1_groups[] = "5:memory:/m\n4:cpu,cpuacct:/a/b\n3:cpuset:/\n1:name=systemd:/s\n";
static const char v1_mounts[] =
	"24 1 8:1 / / rw,relatime - ext4 /dev/root rw\n"
	"40 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
	"41 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
	"42 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n";

static struct up_cgroup_place place;

static int find(const char *groups, const char *mounts, const char *controller)
{
	memset(&place, 'x', sizeof(place));
	return up_cgroup_find(groups, mounts, controller, &place);
}

static void version_1_is_found_by_controller(void **state)
{
	assert_int_equal(find(v1_groups, v1_mounts, "cpu"), 0);
	assert_int_equal(place.version, 1);
	assert_string_equal(place.top, "/sys/fs/cgroup/cpu,cpuacct");
	assert_string_equal(place.rel, "/a/b");
	assert_false(place.hidden);
	assert_int_equal(find(v1_groups, v1_mounts, "cpuset"), 0);
	assert_string_equal(place.top, "/sys/fs/cgroup/cpuset");
	assert_string_equal(place.rel, "");
	/* In /proc/self/cgroup, but mounted nowhere; and in neither. */
	assert_int_equal(find(v1_groups, v1_mounts, "memory"), -ENOENT);
	assert_int_equal(find(v1_groups, v1_mounts, "cp"), -ENOENT);
	assert_int_equal(find(v1_groups, v1_mounts, "systemd"), -ENOENT);
}

static void version_2_serves_what_version_1_does_not(void **state)
{
	static const char groups[] = "2:cpuset:/old\n0::/user.slice/x:y.scope\n";
	static const char mounts[] = "41 31 0:30 / /c1 rw - cgroup cgroup rw,cpuset\n"
				     "42 31 0:31 / /c2 rw,nosuid shared:4 master:2 - cgroup2 none "
				     "rw,nsdelegate\n";

	assert_int_equal(find(groups, mounts, "cpu"), 0);
	assert_int_equal(place.version, 2);
	assert_string_equal(place.top, "/c2");
	/* A colon belongs to the name. */
	assert_string_equal(place.rel, "/user.slice/x:y.scope");
	assert_int_equal(find(groups, mounts, "cpuset"), 0);
	assert_int_equal(place.version, 1);
	assert_string_equal(place.top, "/c1");
	assert_string_equal(place.rel, "/old");
}

static void part_of_the_tree_hides_ancestors(void **state)
{
	static const char groups[] = "0::/docker/abc/inner\n";

	assert_int_equal(
		find(groups, "1 1 0:1 /docker/abc /sys/fs/cgroup rw - cgroup2 c rw\n", "cpu"), 0);
	assert_true(place.hidden);
	assert_string_equal(place.rel, "/inner");
	/* The whole tree, where it is mounted too, is the better view, wherever it stands. */
	assert_int_equal(find(groups,
			      "1 1 0:1 /docker/abc /part rw - cgroup2 c rw\n"
			      "1 1 0:1 / /whole rw - cgroup2 c rw\n",
			      "cpu"),
			 0);
	assert_string_equal(place.top, "/whole");
	assert_int_equal(find(groups,
			      "1 1 0:1 / /whole rw - cgroup2 c rw\n"
			      "1 1 0:1 /docker/abc /part rw - cgroup2 c rw\n",
			      "cpu"),
			 0);
	assert_string_equal(place.top, "/whole");
	assert_false(place.hidden);
	/* A name that only begins alike is another group. */
	assert_int_equal(find(groups, "1 1 0:1 /docker/ab /x rw - cgroup2 c rw\n", "cpu"), -EXDEV);
}

static void a_group_out_of_sight_is_said_to_be(void **state)
{
	static const char mounts[] = "1 1 0:1 / /c rw - cgroup2 c rw\n";

	assert_int_equal(find("0::/../other\n", mounts, "cpu"), -EXDEV);
	assert_int_equal(find("0::/..\n", mounts, "cpu"), -EXDEV);
	assert_int_equal(find("0::/\n", "1 1 0:1 /../.. /c rw - cgroup2 c rw\n", "cpu"), -EXDEV);
	/* Two dots that only begin a name climb nowhere. */
	assert_int_equal(find("0::/..x\n", mounts, "cpu"), 0);
	assert_string_equal(place.rel, "/..x");
}

static void escapes_in_mount_points_are_undone(void **state)
{
	assert_int_equal(find("0::/a\n", "1 1 0:1 / /my\\040c\\134d rw - cgroup2 c rw\n", "cpu"),
			 0);
	assert_string_equal(place.top, "/my c\\d");
	assert_int_equal(find("0::/a\n", "1 1 0:1 / /end\\04 rw - cgroup2 c rw\n", "cpu"), 0);
	assert_string_equal(place.top, "/end\\04");
}

static void names_too_long_are_refused(void **state)
{
	char *groups = malloc(3 * PATH_MAX), *mounts = malloc(3 * PATH_MAX);
	static char name[PATH_MAX + 10];

	memset(name, 'n', sizeof(name) - 1);
	sprintf(groups, "0::/%s\n", name);
	assert_int_equal(find(groups, "1 1 0:1 / /c rw - cgroup2 c rw\n", "cpu"), -ENAMETOOLONG);
	assert_true(place.version != 2);
	sprintf(mounts, "1 1 0:1 / /%s rw - cgroup2 c rw\n", name);
	assert_int_equal(find("0::/\n", mounts, "cpu"), -ENAMETOOLONG);
	free(groups);
	free(mounts);
}

/* Every cut, and many a changed byte, of good text: any answer but one beyond the buffers. */
static void damaged_text_never_hurts(void **state)
{
	char groups[sizeof(v1_groups)], *mounts;

	for (size_t len = 0; len < sizeof(v1_mounts); len++) {
		mounts = strndup(v1_mounts, len);
		find(v1_groups, mounts, "cpuset");
		free(mounts);
	}
	srandom(3);
	for (int round = 0; round < 20000; round++) {
		memcpy(groups, v1_groups, sizeof(groups));
		mounts = strdup(v1_mounts);
		for (int i = random() % 6; i >= 0; i--) {
			groups[random() % (long)(sizeof(groups) - 1)] = " /:,\n\\-x"[random() % 8];
			mounts[random() % (long)(sizeof(v1_mounts) - 1)] =
				" /:,\n\\-x"[random() % 8];
		}
		if (!find(groups, mounts, "cpu")) {
			assert_true(place.version == 1 || place.version == 2);
			assert_true(!place.rel[0] || place.rel[0] == '/');
			assert_true(strlen(place.top) < PATH_MAX);
		} else {
			/* Untouched. */
			assert_int_equal(place.top[0], 'x');
		}
		free(mounts);
	}
	assert_int_equal(find("", "", "cpu"), -ENOENT);
	assert_int_equal(find("0::relative\n:::\n::\n\n", v1_mounts, "cpu"), -ENOENT);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(version_1_is_found_by_controller),
	cmocka_unit_test(version_2_serves_what_version_1_does_not),
	cmocka_unit_test(part_of_the_tree_hides_ancestors),
	cmocka_unit_test(a_group_out_of_sight_is_said_to_be),
	cmocka_unit_test(escapes_in_mount_points_are_undone),
	cmocka_unit_test(names_too_long_are_refused),
	cmocka_unit_test(damaged_text_never_hurts),
};

UNIT_MAIN(tests)
