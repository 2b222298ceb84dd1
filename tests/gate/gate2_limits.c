/* SPDX-License-Identifier: MIT */
/*
 * Gate 2 on a poor machine: few processes, no locked memory, a small pids.max. Uthreads that block
 * more often than there are threads for must all end, later and with the word in the statistics, and
 * never hang. Three threads are enough for that: the program's first, the keeper and one activation (the
 * keeper then does the lookout's work).
 * Where those cannot be had, upcall_start() says so.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/syscall.h"
#include "ordinary.h"
#include "tap.h"
#include "upcall/upcall.h"

#define UTHREADS 16u
#define NAPS	 10u
#define LEAST	 3u
/* Nobody else's: RLIMIT_NPROC counts what the user has. */
#define POOR_UID 64739

enum limit {
	NPROC,
	MEMLOCK,
	PIDS
};

struct result {
	int start;
	int error; /* of the last activation that could not be made */
	unsigned naps;
	int done;
};

static struct result *res;

static void on_alarm(int sig)
{
	upcall_dump(2);
	_exit(3);
}

static void *napper(void *arg)
{
	struct timespec ts = { 0, 2000000 };
	unsigned i;

	for (i = 0; i < NAPS; i++)
		if (!up_syscall2(SYS_nanosleep, &ts, NULL))
			__atomic_fetch_add(&res->naps, 1, __ATOMIC_RELAXED);
	return NULL;
}

static void workload(void)
{
	struct upcall_opts o = { .size = sizeof(o), .vcores = 2 };
	struct upcall_stats st = { .size = sizeof(st) };
	struct upcall_uthread *u[UTHREADS];
	unsigned i;

	signal(SIGALRM, on_alarm);
	alarm(20);
	res->start = upcall_start(&o);
	if (res->start)
		return;
	for (i = 0; i < UTHREADS; i++)
		if (upcall_uthread_create(&u[i], NULL, napper, NULL))
			_exit(4);
	for (i = 0; i < UTHREADS; i++)
		upcall_uthread_join(u[i], NULL);
	upcall_get_stats(&st);
	res->error = st.activation_error;
	res->done = upcall_stop() == 0;
}

static int write_file(const char *dir, const char *name, const char *text)
{
	char path[192];
	int fd, r;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return r;
}

static char group[128];

static const char *enter_group(unsigned n)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", n);
	if (write_file(group, "pids.max", text) || write_file(group, "cgroup.procs", "0"))
		return "no control group with a pids controller may be joined here";
	return NULL;
}

static const char *impose(enum limit what, unsigned n)
{
	struct rlimit rl = { n, n };
	const char *word;

	if (what == PIDS)
		word = enter_group(n);
	else
		word = setrlimit(what == NPROC ? RLIMIT_NPROC : RLIMIT_MEMLOCK, &rl) ? "setrlimit"
										     : NULL;
	if (word)
		return word;
	if (!geteuid() && (setgid(POOR_UID) || setuid(POOR_UID)))
		return "setuid";
	return ordinary_become(&word) ? word : NULL;
}

static void make_group(void)
{
	static const char *const roots[] = { "/sys/fs/cgroup/pids", "/sys/fs/cgroup" };
	char file[160];
	size_t i;

	for (i = 0; i < 2; i++) {
		snprintf(group, sizeof(group), "%s/upcall-limits-%d", roots[i], (int)getpid());
		snprintf(file, sizeof(file), "%s/pids.max", group);
		if (!mkdir(group, 0755) && !access(file, F_OK))
			return;
		rmdir(group);
	}
	group[0] = 0;
}

static bool is_word(int error)
{
	return error == -EAGAIN || error == -ENOMEM;
}

static void judge(const char *name, unsigned n, int status, enum limit what)
{
	bool ended = WIFEXITED(status) && !WEXITSTATUS(status);
	bool ran = ended && !res->start && res->done && res->naps == UTHREADS * NAPS;

	if (what == MEMLOCK || n >= LEAST) {
		tap_ok(ran, "%s %u: all is done", name, n);
		tap_ok(res->error == (what == MEMLOCK ? 0 : EAGAIN),
		       "%s %u: what was missing is in the statistics", name, n);
	} else {
		tap_ok(ended && is_word(res->start), "%s %u: start says why not", name, n);
		tap_ok(!res->naps, "%s %u: and nothing runs", name, n);
	}
	tap_note("status 0x%x, start %d, naps %u, activation_error %d", status, res->start,
		 res->naps, res->error);
}

static void skip(const char *name, unsigned n, const char *why)
{
	char text[64];

	snprintf(text, sizeof(text), "%s %u", name, n);
	tap_skip(text, "%s", why);
	tap_skip(text, "%s", why);
}

static void try_limit(const char *name, enum limit what, unsigned n)
{
	const char *why = NULL;
	int status = 0;
	pid_t pid;

	if (what == NPROC && geteuid()) {
		skip(name, n, "only root can be a user who has no other process");
		return;
	}
	memset(res, 0, sizeof(*res));
	fflush(stdout);
	pid = fork();
	if (!pid) {
		why = impose(what, n);
		if (why) {
			fprintf(stderr, "%s\n", why);
			_exit(77);
		}
		workload();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	/* No locked memory, that is a limit that anybody can have. */
	if (what != MEMLOCK && WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip(name, n, "the limit cannot be imposed here");
	else
		judge(name, n, status, what);
}

int main(void)
{
	static const unsigned few[] = { 1, 2, 3, 4, 5, 6, 8 };
	unsigned i, nr = sizeof(few) / sizeof(few[0]);

	res = mmap(NULL, sizeof(*res), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	tap_plan(2 * (2 * nr + 1));
	make_group();
	for (i = 0; i < nr; i++)
		try_limit("RLIMIT_NPROC", NPROC, few[i]);
	for (i = 0; i < nr; i++)
		try_limit("pids.max", PIDS, few[i]);
	try_limit("RLIMIT_MEMLOCK", MEMLOCK, 0);
	if (group[0])
		rmdir(group);
	return tap_done();
}
