/* SPDX-License-Identifier: MIT */
/* The process's CPUs, set by a uthread or by another process while the runtime works: cores go and come
 * with them, and what ran on a core that has gone runs on the others. */
#include <sys/syscall.h>

#include "contract.h"

#define PATIENCE_NS UINT64_C(20000000000)
#define STEADY_NS   UINT64_C(20000000)
#define GAP_NS	    UINT64_C(2000000)

static cpu_set_t ones[2]; /* each of the first two CPUs alone */

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static unsigned split_cpus(void)
{
	unsigned nr = 0;
	int cpu;

	for (cpu = 0; cpu < CPU_SETSIZE && nr < 2; cpu++)
		if (CPU_ISSET(cpu, &contract_cpus))
			CPU_SET(cpu, &ones[nr++]);
	return nr;
}

/* True when there are as many vcores, and each is on one of these CPUs. */
static bool follows(unsigned nr, const cpu_set_t *cpus)
{
	unsigned v, online = 0;

	for (v = 0; v < contract_vcores; v++) {
		int cpu = upcall_vcore_cpu(v);

		online += cpu >= 0;
		if (cpu >= 0 && !CPU_ISSET(cpu, cpus))
			return false;
	}
	return online == nr && upcall_nr_vcores() == nr;
}

/* For a while, in looks one shortly after the other: a vcore that has no work for a moment, or comes
 * only just, is not what is waited for. */
static bool await(unsigned nr, const cpu_set_t *cpus)
{
	uint64_t last = now_ns(), until = last + PATIENCE_NS, steady = 0, now;

	while (last < until && steady < STEADY_NS) {
		bool so = follows(nr, cpus);

		now = now_ns();
		if (!so)
			steady = 0;
		else if (now - last < GAP_NS)
			steady += now - last;
		last = now;
	}
	return steady >= STEADY_NS;
}

/* By libc, in a uthread, for itself: the process's. */
static bool set_own(const cpu_set_t *cpus)
{
	return !sched_setaffinity(0, sizeof(*cpus), cpus);
}

/* By another process, of the first thread alone, as taskset does. */
static bool set_from_outside(const cpu_set_t *cpus)
{
	pid_t whose = getpid(), pid = fork();

	if (!pid)
		_exit(syscall(SYS_sched_setaffinity, whose, sizeof(*cpus), cpus) != 0);
	return contract_status(pid) == 0;
}

/* Where the caller runs, from the kernel: its own affinity may say anything. */
static long outside_of(const cpu_set_t *cpus)
{
	uint64_t until = now_ns() + 20000000;
	long nr = 0;

	while (now_ns() < until) {
		unsigned cpu;

		if (syscall(SYS_getcpu, &cpu, NULL, NULL) || !CPU_ISSET(cpu, cpus))
			nr++;
	}
	return nr;
}

static void *stay_on_first(void *arg)
{
	return (void *)outside_of(&ones[0]);
}

static void *stay_on_second(void *arg)
{
	return (void *)outside_of(&ones[1]);
}

static void narrow_and_widen(const char *who, bool (*set)(const cpu_set_t *cpus))
{
	unsigned i, nr = contract_vcores;
	long astray = 0;
	bool good = await(nr, &contract_cpus);

	for (i = 0; i < 4 && good; i++) {
		good = set(&ones[i % 2]) && await(1, &ones[i % 2]);
		astray += contract_run_many(3, i % 2 ? stay_on_second : stay_on_first);
		good = good && set(&contract_cpus) && await(nr, &contract_cpus);
	}
	tap_ok(good, "%s: one core when it is narrowed, %u when it is widened again (round %u)",
	       who, nr, i);
	tap_ok(astray == 0, "%s: no uthread is on a CPU that was taken (%ld looks)", who, astray);
}

int main(int argc, char **argv)
{
	contract_args(&argc, argv);
	contract_begin(4);
	if (split_cpus() < 2) {
		for (int i = 0; i < 4; i++)
			tap_skip("cores follow the process's CPUs", "there is one CPU only");
		return contract_end();
	}
	narrow_and_widen("a uthread's sched_setaffinity", set_own);
	narrow_and_widen("another process's", set_from_outside);
	return contract_end();
}
