/* SPDX-License-Identifier: MIT */
/*
 * Files by name, what is to reach the disk, and the end of a child.  Names are looked up in Linux'
 * memory as a rule, and a call of one's own costs less than a request: so these are announced calls.
 * What reaches the disk always waits for it, and is a request where it can be.
 */
#include "io/io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "upcall/call.h"
#include "upcall/io.h"

int upcall_openat(int dir, const char *path, int flags, mode_t mode)
{
	int fd = (int)up_io_plain(SYS_openat, dir, (long)path, flags, mode, 0, 0);

	if (fd >= 0)
		up_fd_forget(fd);
	return fd;
}

int upcall_statx(int dir, const char *path, int flags, unsigned mask, struct statx *ret_stat)
{
	return (int)up_io_plain(SYS_statx, dir, (long)path, flags, mask, (long)ret_stat, 0);
}

static int sync_file(int fd, long nr, uint32_t flags)
{
	struct up_io_try t = up_io_begin(fd, UP_IO_OUT, false);
	struct up_ring_req q = { .op = IORING_OP_FSYNC, .fd = fd, .flags = flags };

	if (!t.u || (!t.r && !up_ring_there()))
		return (int)up_io_plain(nr, fd, 0, 0, 0, 0, 0);
	if (!t.r)
		t.r = up_ring_call(&q);
	return (int)up_io_end(&t);
}

int upcall_fsync(int fd)
{
	return sync_file(fd, SYS_fsync, 0);
}

int upcall_fdatasync(int fd)
{
	return sync_file(fd, SYS_fdatasync, IORING_FSYNC_DATASYNC);
}

/* A descriptor of the child's is ready when it has ended. */
static int wait_for_end(pid_t pid, int *ret_status)
{
	int fd = (int)up_syscall2(SYS_pidfd_open, pid, 0), r;
	struct up_io_try t;

	if (fd < 0) /* none to spare, or too old a Linux */
		return (int)up_io_plain(SYS_wait4, pid, (long)ret_status, 0, 0, 0, 0);
	t = up_io_begin(fd, UP_IO_IN, false);
	while (!t.r) {
		r = (int)up_syscall4(SYS_wait4, pid, (long)ret_status, WNOHANG, 0);
		if (r) {
			t.r = r;
			break;
		}
		up_io_wait_for(&t);
	}
	up_syscall1(SYS_close, fd);
	return (int)up_io_end(&t);
}

pid_t upcall_waitpid(pid_t pid, int *ret_status, int flags)
{
	int r = (int)up_io_plain(SYS_wait4, pid, (long)ret_status, flags | WNOHANG, 0, 0, 0);

	if (r || flags & WNOHANG)
		return r;
	/* Any of several has no descriptor. */
	if (pid <= 0 || flags || !up_self())
		return (int)up_io_plain(SYS_wait4, pid, (long)ret_status, flags, 0, 0, 0);
	return wait_for_end(pid, ret_status);
}
