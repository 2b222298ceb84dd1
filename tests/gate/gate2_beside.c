/* SPDX-License-Identifier: MIT */
/*
 * Gate 2's neighbours: processes that spin on the cores under test, in a session of their own (so
 * that Linux groups them apart where autogroup is on) or in a control group of their own.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gate2.h"

#define SPINNERS_MAX 64

const char *const gate2_beside_name[] = { "nothing", "process", "cgroup" };

static pid_t spinners[SPINNERS_MAX];
static unsigned nr_spinners;
static char group[128];

int gate2_cpu(unsigned n)
{
	cpu_set_t set;
	int c;

	if (sched_getaffinity(0, sizeof(set), &set))
		return -1;
	for (c = 0; c < CPU_SETSIZE; c++)
		if (CPU_ISSET(c, &set) && !n--)
			return c;
	return -1;
}

unsigned gate2_nr_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) ? 1 : (unsigned)CPU_COUNT(&set);
}

static void pin_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

void gate2_pin(unsigned nr_cpus)
{
	cpu_set_t set;
	unsigned i;

	CPU_ZERO(&set);
	for (i = 0; i < nr_cpus; i++)
		CPU_SET(gate2_cpu(i), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* Version 1 where the cpu controller has a tree of its own, else version 2. */
static const char *make_group(void)
{
	static const char *const roots[] = { "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct",
					     "/sys/fs/cgroup", "/sys/fs/cgroup/user" };
	char file[160];
	size_t i;

	for (i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
		snprintf(group, sizeof(group), "%s/upcall-gate2-%d", roots[i], (int)getpid());
		if (mkdir(group, 0755))
			continue;
		snprintf(file, sizeof(file), "%s/cpu.shares", group);
		if (!access(file, F_OK))
			return NULL;
		snprintf(file, sizeof(file), "%s/cpu.weight", group);
		if (!access(file, F_OK))
			return NULL;
		rmdir(group);
	}
	group[0] = 0;
	return "no control group with a cpu controller may be made here";
}

static int join_group(void)
{
	char file[160];
	int fd, r;

	snprintf(file, sizeof(file), "%s/cgroup.procs", group);
	fd = open(file, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = write(fd, "0", 1) == 1 ? 0 : -errno;
	close(fd);
	return r;
}

static void spin(int cpu, int ready_fd)
{
	char c = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin_to(cpu);
	setsid();
	if (group[0] && join_group() < 0)
		c = 1;
	if (write(ready_fd, &c, 1) != 1)
		_exit(1);
	for (;;)
		__asm__ __volatile__("" ::: "memory");
}

const char *gate2_beside_start(enum gate2_beside what, unsigned nr_cpus)
{
	const char *why = what == BESIDE_CGROUP ? make_group() : NULL;
	int fds[2];
	unsigned i;
	char c;

	if (why || what == BESIDE_NOTHING)
		return why;
	if (pipe(fds))
		return "no pipe";
	for (i = 0; i < nr_cpus && i < SPINNERS_MAX; i++) {
		spinners[i] = fork();
		if (!spinners[i])
			spin(gate2_cpu(i), fds[1]);
		nr_spinners++;
		if (spinners[i] < 0 || read(fds[0], &c, 1) != 1 || c)
			why = "the neighbour could not be put where it belongs";
	}
	close(fds[0]);
	close(fds[1]);
	if (why)
		gate2_beside_stop();
	return why;
}

void gate2_beside_stop(void)
{
	unsigned i;

	for (i = 0; i < nr_spinners; i++) {
		if (spinners[i] <= 0)
			continue;
		kill(spinners[i], SIGKILL);
		waitpid(spinners[i], NULL, 0);
	}
	nr_spinners = 0;
	if (group[0])
		rmdir(group);
	group[0] = 0;
}
