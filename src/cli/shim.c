/* SPDX-License-Identifier: MIT */
/*
 * Where the library is that `upcall run --io` loads: beside the command, as in a build folder, or where
 * it was installed.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/run.h"

#define NAME "libupcall-io.so"

static bool is_there(const char *path)
{
	return !access(path, R_OK);
}

/* The folder of the program that we are; empty where Linux does not say. */
static void own_folder(char *ret, size_t sz)
{
	ssize_t n = readlink("/proc/self/exe", ret, sz - 1);
	char *slash;

	ret[n > 0 ? n : 0] = 0;
	slash = strrchr(ret, '/');
	if (slash)
		*slash = 0;
}

int run_find_shim(const char **ret_path)
{
	static char path[PATH_MAX + sizeof("/compat/io/" NAME)];
	char own[PATH_MAX];

	own_folder(own, sizeof(own));
	snprintf(path, sizeof(path), "%s/compat/io/%s", own, NAME);
	if (!is_there(path))
		snprintf(path, sizeof(path), "%s/%s", UP_CLI_LIBDIR, NAME);
	if (!is_there(path)) {
		cli_say("--io: there is no %s in %s", NAME, UP_CLI_LIBDIR);
		return CLI_FAILED;
	}
	*ret_path = path;
	return 0;
}
