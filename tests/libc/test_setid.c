/* SPDX-License-Identifier: MIT */
/* An identity changed in a uthread is changed in every kernel thread of the process, and the call
 * ends: libc waits until each of them has answered. */
#include <dirent.h>

#include "contract.h"

/* How many tasks of this process have an effective group other than gid. */
static int strangers(gid_t gid)
{
	DIR *dir = opendir("/proc/self/task");
	char path[300], line[128];
	struct dirent *e;
	int nr = 0;

	while (dir && (e = readdir(dir))) {
		FILE *f;
		unsigned real, effective;

		snprintf(path, sizeof(path), "/proc/self/task/%s/status", e->d_name);
		f = e->d_name[0] == '.' ? NULL : fopen(path, "r");
		while (f && fgets(line, sizeof(line), f))
			if (sscanf(line, "Gid: %u %u", &real, &effective) == 2)
				nr += effective != gid;
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
	return dir ? nr : -1;
}

static void *nap(void *arg)
{
	struct timespec ts = { 0, 1000000 };

	for (int i = 0; i < 100; i++)
		nanosleep(&ts, NULL);
	return NULL;
}

static void *change(void *arg)
{
	gid_t gid = *(gid_t *)arg;

	return (void *)(long)(setegid(gid) || getegid() != gid || strangers(gid));
}

int main(int argc, char **argv)
{
	gid_t mine = getegid(), other = geteuid() ? mine : 65534;
	struct upcall_uthread *u[4];

	contract_args(&argc, argv);
	contract_begin(2);
	for (int i = 0; i < 4; i++)
		upcall_uthread_create(&u[i], NULL, nap, NULL);
	tap_ok(!contract_run(change, &other), "every kernel thread has the new group (%u)",
	       (unsigned)other);
	tap_ok(!contract_run(change, &mine), "and the old one again");
	for (int i = 0; i < 4; i++)
		upcall_uthread_join(u[i], NULL);
	return contract_end();
}
