/* SPDX-License-Identifier: MIT */
/*
 * Gate 2's ways to block, two or more of each class. Every one blocks for as long as the releaser
 * wants it to, checks its own result in full, and then says whether it found itself running beside
 * the vcore: on an activation that had been replaced.
 *
 *   announced      through our wrapper; from within stdio, which calls the wrapper back
 *   fault          a page that user-mode userfaultfd holds back; the same within libc's strlen
 *   uninterruptible  the parent of a CLONE_VFORK child; the same within libc's posix_spawn, whose
 *                  child waits in open() of a FIFO on its way to exec
 *   unannounced    raw read, poll and nanosleep; getline and sem_wait within libc
 */
#include "gate2.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "announced.h"
#include "base/clock.h"
#include "base/syscall.h"
#include "host/act.h"
#include "upcall/upcall.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

#define PAGE 4096u

unsigned gate2_ran_behind;

static int fds[2] = { -1, -1 };
static unsigned nr_rounds;

/* Right behind a call, before anything else can have been done about it. */
static void note_behind(void)
{
	if (up_run_state(up_gs_run()) == UP_RUN_STOLEN)
		__atomic_fetch_add(&gate2_ran_behind, 1, __ATOMIC_RELAXED);
}

/* ---- a pipe and a line for each round ---- */

static int pipe_init(unsigned rounds)
{
	return pipe2(fds, O_CLOEXEC) ? -errno : 0;
}

static void pipe_fini(void)
{
	close(fds[0]);
	close(fds[1]);
}

static int line_of(unsigned round, char *buf, size_t sz)
{
	return snprintf(buf, sz, "round %u\n", round);
}

static int line_check(unsigned round, const char *got, ssize_t n)
{
	char want[32];
	int len = line_of(round, want, sizeof(want));

	return n == len && !memcmp(got, want, (size_t)len) ? 0 : -EILSEQ;
}

static int pipe_release(unsigned round)
{
	char buf[32];
	int len = line_of(round, buf, sizeof(buf));

	return up_syscall3(SYS_write, fds[1], buf, len) == len ? 0 : -EIO;
}

static int read_announced(unsigned round)
{
	char buf[32];
	ssize_t n = announced_read(fds[0], buf, sizeof(buf));

	note_behind();
	return line_check(round, buf, n);
}

static ssize_t cookie_read(void *cookie, char *buf, size_t sz)
{
	ssize_t n = announced_read(*(int *)cookie, buf, sz);

	note_behind();
	return n;
}

static int announced_stdio(unsigned round)
{
	char buf[32];
	ssize_t n = foreign_callback(cookie_read, &fds[0], buf, sizeof(buf));

	return line_check(round, buf, n);
}

static int raw_read(unsigned round)
{
	char buf[32];
	ssize_t n = up_syscall3(SYS_read, fds[0], buf, sizeof(buf));

	note_behind();
	return line_check(round, buf, n);
}

static int raw_poll(unsigned round)
{
	struct pollfd p = { .fd = fds[0], .events = POLLIN };
	char buf[32];
	long r = up_syscall3(SYS_poll, &p, 1, -1);

	note_behind();
	if (r != 1 || p.revents != POLLIN)
		return -EILSEQ;
	return line_check(round, buf, up_syscall3(SYS_read, fds[0], buf, sizeof(buf)));
}

static int raw_sleep(unsigned round)
{
	struct timespec ts = { 0, GATE2_SLEEP_NS };
	uint64_t from = up_now_ns();
	long r = up_syscall2(SYS_nanosleep, &ts, NULL);

	note_behind();
	return r ? (int)r : up_now_ns() - from >= GATE2_SLEEP_NS ? 0 : -ETIME;
}

static int foreign_line(unsigned round)
{
	char buf[32];
	ssize_t n = foreign_getline(fds[0], buf, sizeof(buf));

	note_behind();
	return line_check(round, buf, n);
}

static int nothing_init(unsigned rounds)
{
	return 0;
}

static void nothing_fini(void)
{
}

static int nothing_release(unsigned round)
{
	return 0;
}

static int foreign_sem(unsigned round)
{
	int r = foreign_wait();

	note_behind();
	return r;
}

static int foreign_sem_release(unsigned round)
{
	return foreign_post();
}

/* ---- pages that come when we say so ---- */

static int uffd = -1;
static char *pages;

static int uffd_init(unsigned rounds)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	size_t sz = (size_t)rounds * PAGE;

	nr_rounds = rounds;
	uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
		return -errno;
	pages = mmap(NULL, sz, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED)
		return -errno;
	madvise(pages, sz, MADV_NOHUGEPAGE);
	reg.range.start = (uintptr_t)pages;
	reg.range.len = sz;
	return ioctl(uffd, UFFDIO_REGISTER, &reg) ? -errno : 0;
}

static void uffd_fini(void)
{
	munmap(pages, (size_t)nr_rounds * PAGE);
	close(uffd);
}

static size_t length_in(unsigned round)
{
	return round % (PAGE - 1) + 1;
}

static int uffd_release(unsigned round)
{
	static char buf[PAGE] __attribute__((aligned(PAGE)));
	struct uffdio_copy c = { .dst = (uintptr_t)pages + (uintptr_t)round * PAGE,
				 .src = (uintptr_t)buf,
				 .len = PAGE };

	memset(buf, 0, sizeof(buf));
	memset(buf, 'a' + (int)(round % 26), length_in(round));
	return ioctl(uffd, UFFDIO_COPY, &c) ? -errno : 0;
}

static int fault_touch(unsigned round)
{
	char c = *(volatile char *)(pages + (size_t)round * PAGE);

	note_behind();
	return c == 'a' + (char)(round % 26) ? 0 : -EILSEQ;
}

static int fault_strlen(unsigned round)
{
	size_t n = foreign_length(pages + (size_t)round * PAGE);

	note_behind();
	return n == length_in(round) ? 0 : -EILSEQ;
}

/* ---- asleep until a child lets go of our memory ---- */

static char child_stack[16384] __attribute__((aligned(16)));
static pid_t children[GATE2_ROUNDS_MAX];
static unsigned nr_children;

static int child_main(void *arg)
{
	char c;

	/* Our memory, but a thread of its own: raw calls alone. */
	up_syscall2(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
	up_syscall3(SYS_read, fds[0], &c, 1);
	up_syscall1(SYS_exit, 7);
	return 0;
}

static void note_child(pid_t pid)
{
	children[nr_children++ % GATE2_ROUNDS_MAX] = pid;
}

static int vfork_block(unsigned round)
{
	pid_t pid = clone(child_main, child_stack + sizeof(child_stack), CLONE_VM | CLONE_VFORK,
			  NULL);

	note_behind();
	if (pid < 0)
		return -errno;
	note_child(pid);
	return 0;
}

static int vfork_release(unsigned round)
{
	return up_syscall3(SYS_write, fds[1], "x", 1) == 1 ? 0 : -EIO;
}

static void vfork_fini(void)
{
	unsigned i;

	for (i = 0; i < nr_children && i < GATE2_ROUNDS_MAX; i++)
		waitpid(children[i], NULL, __WALL);
	nr_children = 0;
	pipe_fini();
}

/* One for each round: the last round's child may still have its own open. */
static char *fifo_of(unsigned round, char buf[64])
{
	snprintf(buf, 64, "/tmp/upcall-gate2-%d-%u.fifo", (int)getpid(), round);
	return buf;
}

static int fifo_init(unsigned rounds)
{
	char buf[64];
	unsigned i;

	nr_rounds = rounds;
	for (i = 0; i < rounds; i++) {
		unlink(fifo_of(i, buf));
		if (mkfifo(buf, 0600))
			return -errno;
	}
	return pipe_init(rounds);
}

static int spawn_block(unsigned round)
{
	char fifo[64];
	pid_t pid = -1;
	int r = foreign_spawn(fifo_of(round, fifo), &pid);

	note_behind();
	if (!r)
		note_child(pid);
	return r;
}

/* ENXIO: the child is not in its open() yet. */
static int spawn_release(unsigned round)
{
	char fifo[64];
	long fd;

	fifo_of(round, fifo);
	do
		fd = up_syscall3(SYS_open, fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC, 0);
	while (fd == -ENXIO);
	if (fd < 0)
		return (int)fd;
	up_syscall1(SYS_close, fd);
	return 0;
}

static void fifo_fini(void)
{
	char buf[64];
	unsigned i;

	for (i = 0; i < nr_rounds; i++)
		unlink(fifo_of(i, buf));
	vfork_fini();
}

const struct gate2_way gate2_ways[] = {
	{ "read", "ours", UP_CLASS_ANNOUNCED, false, pipe_init, read_announced, pipe_release,
	  pipe_fini },
	{ "stdio-callback", "foreign", UP_CLASS_ANNOUNCED, false, pipe_init, announced_stdio,
	  pipe_release, pipe_fini },
	{ "touch", "ours", UP_CLASS_FAULT, false, uffd_init, fault_touch, uffd_release, uffd_fini },
	{ "strlen", "foreign", UP_CLASS_FAULT, false, uffd_init, fault_strlen, uffd_release,
	  uffd_fini },
	{ "vfork", "ours", UP_CLASS_UNINT, false, pipe_init, vfork_block, vfork_release,
	  vfork_fini },
	{ "posix_spawn", "foreign", UP_CLASS_UNINT, false, fifo_init, spawn_block, spawn_release,
	  fifo_fini },
	{ "read", "ours", UP_CLASS_UNANNOUNCED, false, pipe_init, raw_read, pipe_release,
	  pipe_fini },
	{ "poll", "ours", UP_CLASS_UNANNOUNCED, false, pipe_init, raw_poll, pipe_release,
	  pipe_fini },
	{ "nanosleep", "ours", UP_CLASS_UNANNOUNCED, true, nothing_init, raw_sleep, nothing_release,
	  nothing_fini },
	{ "getline", "foreign", UP_CLASS_UNANNOUNCED, false, pipe_init, foreign_line, pipe_release,
	  pipe_fini },
	{ "sem_wait", "foreign", UP_CLASS_UNANNOUNCED, false, nothing_init, foreign_sem,
	  foreign_sem_release, nothing_fini },
};
const unsigned gate2_nr_ways = sizeof(gate2_ways) / sizeof(gate2_ways[0]);
