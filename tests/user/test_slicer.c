/* SPDX-License-Identifier: MIT */
/* Slices below the kernel's tick go on for as long as there is anybody to slice, whatever comes and
 * goes beside them. */
#include "rt.h"

#include <dirent.h>

#include "slice.h"

#define SPINNERS 6
#define SLICE_NS 200000
#define RUN_NS	 800000000ull

static volatile int stop;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void *spin(void *arg)
{
	while (!stop)
		;
	return NULL;
}

/* Empties a vcore now and then: with everything asleep it gives its core back, and its slicer rests. */
static void *come_and_go(void *arg)
{
	struct timespec nap = { 0, 700000 };

	while (!stop)
		nanosleep(&nap, NULL);
	return NULL;
}

static int case_slices(void)
{
	struct upcall_opts opts = { .size = sizeof(opts), .vcores = 2, .slice_ns = SLICE_NS };
	struct upcall_stats before = { .size = sizeof(before) }, after = { .size = sizeof(after) };
	struct upcall_uthread *sleeper[4], *u[SPINNERS];
	struct timespec nap = { 0, 200000000 };
	uint64_t from;

	apart_dump_on();
	CHECK_INT(upcall_start(&opts), 0);
	for (int i = 0; i < 4; i++)
		CHECK_INT(upcall_uthread_create(&sleeper[i], NULL, come_and_go, NULL), 0);
	nanosleep(&nap, NULL); /* vcores come and go */
	for (int i = 0; i < SPINNERS; i++)
		CHECK_INT(upcall_uthread_create(&u[i], NULL, spin, NULL), 0);
	upcall_get_stats(&before);
	from = now_ns();
	announced_sleep_ns(RUN_NS);
	upcall_get_stats(&after);
	stop = 1;
	for (int i = 0; i < SPINNERS; i++)
		upcall_uthread_join(u[i], NULL);
	for (int i = 0; i < 4; i++)
		upcall_uthread_join(sleeper[i], NULL);
	/* On one core alone 4,000 are due; a tenth of that even on a machine that others use.  A
	 * slicer that has gone to sleep leaves a few dozen. */
	dprintf(2, "%lu slices in %lu ms\n", (unsigned long)(after.notified - before.notified),
		(unsigned long)((now_ns() - from) / 1000000));
	CHECK(after.notified - before.notified >= RUN_NS / SLICE_NS / 10);
	CHECK_INT(upcall_stop(), 0);
	return 0;
}

/* Linux' name of a thread of ours. */
static void name_of(const char *tid, char name[32])
{
	char path[300];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%s/comm", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, name, 31);
	name[n > 0 ? n - 1 : 0] = 0;
	close(fd);
}

/* How many threads have the name, when all of those have the slice. One that has just been made has
 * its maker's name yet. */
static unsigned all_have(const char *name, uint64_t slice)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *d;
	unsigned nr = 0, others = 0;
	char got[32];

	CHECK(dir);
	while ((d = readdir(dir))) {
		if (d->d_name[0] == '.')
			continue;
		name_of(d->d_name, got);
		if (!strcmp(got, name) && ++nr)
			others += slice_of(atol(d->d_name)) != slice;
	}
	closedir(dir);
	return others ? 0 : nr;
}

/* An activation that wakes is let in beside another that runs, and a helper beside either, since the
 * shorter slice goes first; the program's first thread keeps what it had. */
static int case_short_turns(void)
{
	struct upcall_opts opts = { .size = sizeof(opts), .vcores = 2 };
	uint64_t own = slice_of(0);

	if (!own)
		SKIP("this kernel has no slices of a thread's own (they came with 6.12)");
	CHECK_INT(upcall_start(&opts), 0);
	AWAIT(all_have("upcall-act", 200000) >= 2, upcall_yield());
	AWAIT(all_have("upcall-keeper", 100000) == 1, upcall_yield());
	CHECK_INT(slice_of(getpid()), own);
	CHECK_INT(upcall_stop(), 0);
	CHECK_INT(slice_of(0), own);
	return 0;
}

static int fds[2];
static int reader;

static void *reads(void *arg)
{
	char byte;

	__atomic_store_n(&reader, (int)syscall(SYS_gettid), __ATOMIC_RELEASE);
	CHECK_INT(syscall(SYS_read, fds[0], &byte, 1), 1);
	return NULL;
}

/* One of a higher priority that sleeps in a call is let in beside the one that took its place, which has
 * the longer slice; what runs afterwards is all alike. */
static int case_sleeper(void)
{
	struct upcall_opts opts = { .size = sizeof(opts), .vcores = 1 };
	struct upcall_uthread_attr attr = { .size = sizeof(attr), .priority = 1 };
	struct upcall_uthread *u;

	if (!slice_of(0))
		SKIP("this kernel has no slices of a thread's own (they came with 6.12)");
	CHECK_INT(pipe(fds), 0);
	CHECK_INT(upcall_start(&opts), 0);
	CHECK_INT(upcall_uthread_create(&u, &attr, reads, NULL), 0);
	AWAIT(__atomic_load_n(&reader, __ATOMIC_ACQUIRE), upcall_yield());
	AWAIT(slice_of(reader) == 100000, upcall_yield());
	CHECK_INT(write(fds[1], "", 1), 1);
	CHECK_INT(upcall_uthread_join(u, NULL), 0);
	/* Who took its place has its long turns until it leaves the vcore, which is idle now and then. */
	AWAIT(all_have("upcall-act", 200000) >= 2, upcall_sleep_ns(1000000));
	CHECK_INT(upcall_stop(), 0);
	return 0;
}

static const struct apart cases[] = {
	CASE("one of a higher priority has a shorter turn while it sleeps", case_sleeper),
	CASE("activations and helpers ask Linux for short turns", case_short_turns),
	CASE("slices below the tick go on while vcores come and go", case_slices),
};

APART_MAIN(cases)
