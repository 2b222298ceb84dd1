/* SPDX-License-Identifier: MIT */
/*
 * Bytes from one descriptor to another without a look at them.
 */
#include "io/io.h"

#include <errno.h>
#include <fcntl.h>

#include "upcall/call.h"
#include "upcall/io.h"

/* Pipes have a flag for it, and files are always ready. */
static int lend(int fd)
{
	int kind = up_fd_look(fd);

	if (kind < 0)
		return kind;
	return kind == UP_FD_STREAM ? up_fd_lend(fd) : 1;
}

/* Which of the two is to be waited for. */
static bool wait_for(struct up_io_try *t, int in, int out)
{
	bool is_in = !up_io_is_ready(in, UP_IO_IN);

	t->fd = is_in ? in : out;
	t->dir = is_in ? UP_IO_IN : UP_IO_OUT;
	return up_io_wait_for(t);
}

/* Neither blocks meanwhile. */
static long once(int in, int out, long (*fn)(const long *arg), const long *arg)
{
	int lent[2] = { lend(in), 1 };
	long r;

	if (lent[0] >= 0)
		lent[1] = lend(out);
	r = UP_MIN(lent[0], lent[1]);
	if (r >= 0)
		r = fn(arg);
	if (!lent[1])
		up_fd_give_back(out);
	if (!lent[0])
		up_fd_give_back(in);
	return r;
}

/* And again when both may be ready. */
static void move(struct up_io_try *t, int in, int out, long (*fn)(const long *arg), const long *arg)
{
	do
		t->r = once(in, out, fn, arg);
	while (t->r == -EINTR || (t->r == -EAGAIN && wait_for(t, in, out)));
}

static long splice_once(const long *arg)
{
	return upcall_syscall(SYS_splice, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

ssize_t upcall_splice(int in, off_t *in_off, int out, off_t *out_off, size_t sz, unsigned flags)
{
	long arg[] = { in, (long)in_off, out, (long)out_off, (long)sz, flags | SPLICE_F_NONBLOCK };
	struct up_io_try t = up_io_begin(in, UP_IO_IN, flags & SPLICE_F_NONBLOCK);

	if (!t.u)
		return up_io_plain(SYS_splice, in, (long)in_off, out, (long)out_off, (long)sz,
				   flags);
	if (!t.r)
		move(&t, in, out, splice_once, arg);
	return up_io_end(&t);
}

static long sendfile_once(const long *arg)
{
	return upcall_syscall(SYS_sendfile, arg[0], arg[1], arg[2], arg[3], 0, 0);
}

ssize_t upcall_sendfile(int out, int in, off_t *off, size_t sz)
{
	long arg[] = { out, in, (long)off, (long)sz };
	struct up_io_try t = up_io_begin(out, UP_IO_OUT, false);

	if (!t.u)
		return up_io_plain(SYS_sendfile, out, in, (long)off, (long)sz, 0, 0);
	while (!t.r) {
		arg[3] = (long)(sz - t.done);
		move(&t, in, out, sendfile_once, arg);
		if (t.r <= 0)
			break;
		t.done += (size_t)t.r;
		if (t.done >= sz)
			break;
		t.r = 0;
	}
	return up_io_end(&t);
}
