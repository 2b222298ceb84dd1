/* SPDX-License-Identifier: MIT */
/*
 * Bytes from and to any descriptor: RWF_NOWAIT has Linux do what it can do at once.  Where it knows
 * no such thing for a descriptor (terminals, and pipes before Linux 6.4) the call is made once poll()
 * says that it would not block.  What is not in memory of a file is waited for in Linux.
 */
#include "io/io.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <sys/uio.h>

#include "upcall/call.h"
#include "upcall/io.h"

#define ANY_PLACE (-1l) /* at the descriptor's own offset */
#define PIECE	  16
#define MOST	  ((size_t)0x7ffff000) /* by one call */

static const long at_once[] = { [UP_IO_IN] = SYS_preadv2, [UP_IO_OUT] = SYS_pwritev2 };
static const long vectored[] = { [UP_IO_IN] = SYS_readv, [UP_IO_OUT] = SYS_writev };
static const long placed[] = { [UP_IO_IN] = SYS_preadv, [UP_IO_OUT] = SYS_pwritev };

/* A file's: by io_uring, else in Linux, for as long as it takes. */
static long blocking(const struct up_io_try *t, const struct iovec *v, int nr, long off)
{
	static const uint8_t op[] = {
		[UP_IO_IN] = IORING_OP_READV, [UP_IO_OUT] = IORING_OP_WRITEV
	};
	struct up_ring_req q = {
		.op = op[t->dir], .fd = t->fd, .addr = v, .len = (uint32_t)nr, .off = (uint64_t)off
	};

	if (t->u && up_fd_look(t->fd) >= UP_FD_FILE && up_ring_there())
		return up_ring_call(&q);
	if (off == ANY_PLACE)
		return up_io_plain(vectored[t->dir], t->fd, (long)v, nr, 0, 0, 0);
	return up_io_plain(placed[t->dir], t->fd, (long)v, nr, off, 0, 0);
}

/* A descriptor that cannot be asked for what there is at once. */
static long when_ready(struct up_io_try *t, const struct iovec *v, int nr, long off)
{
	return up_io_is_ready(t->fd, t->dir) ? blocking(t, v, nr, off) : -EAGAIN;
}

/* By now: what is known of a number may be out of date. */
static bool is_file(int fd)
{
	up_fd_forget(fd);
	return up_fd_look(fd) >= UP_FD_FILE;
}

static long try_once(struct up_io_try *t, const struct iovec *v, int nr, long off)
{
	int kind = up_fd_look(t->fd);
	long r;

	if (kind == UP_FD_DIRECT) /* it would wait for the disk, at once or not */
		return blocking(t, v, nr, off);
	r = up_syscall6(at_once[t->dir], t->fd, (long)v, nr, off, 0, RWF_NOWAIT);
	if (UP_UNLIKELY(r == -EOPNOTSUPP))
		return kind == UP_FD_FILE ? blocking(t, v, nr, off) : when_ready(t, v, nr, off);
	if (UP_UNLIKELY(r == -EAGAIN) && kind == UP_FD_FILE && is_file(t->fd))
		return blocking(t, v, nr, off);
	return r;
}

/* v without its first bytes, of which there are more than that; a piece of it where it is long. */
static int skip(struct iovec *to, int room, const struct iovec *v, int nr, size_t bytes)
{
	int n = 0;

	while (bytes >= v->iov_len) {
		bytes -= v->iov_len;
		v++;
		nr--;
	}
	for (; n < room && n < nr; n++)
		to[n] = v[n];
	to[0].iov_base = (char *)to[0].iov_base + bytes;
	to[0].iov_len -= bytes;
	return n;
}

/* As far as Linux goes by one call. */
static size_t size_of(const struct iovec *v, int nr)
{
	size_t sz = 0;

	while (nr-- > 0)
		sz += v[nr].iov_len;
	return UP_MIN(sz, MOST);
}

/* Linux has read v by now, so that it can be read.  Of a file more may be there, which was not in memory; of
 * anything else, and of what has become something else, fewer bytes are all that there are. */
static void finish(struct up_io_try *t, const struct iovec *v, int nr, long off)
{
	size_t sz = size_of(v, nr);
	struct iovec rest[PIECE];
	bool again = true;
	long r;
	int n;

	t->done = (size_t)t->r;
	if (t->done >= sz || (t->dir == UP_IO_IN && up_fd_look(t->fd) < UP_FD_FILE))
		return;
	while (again) {
		n = skip(rest, PIECE, v, nr, t->done);
		r = try_once(t, rest, n, off == ANY_PLACE ? off : off + (long)t->done);
		again = (t->dir == UP_IO_OUT || r > 0) && up_io_more(t, r, sz);
	}
}

static ssize_t transfer(int fd, enum up_io_dir dir, const struct iovec *v, int nr, long off)
{
	struct up_io_try t = up_io_begin(fd, dir, false);
	bool again = !t.r;
	long r;

	if (!t.u)
		return blocking(&t, v, nr, off);
	while (again) {
		r = try_once(&t, v, nr, off);
		again = up_io_again(&t, r);
	}
	if (UP_UNLIKELY(t.r == -EPERM)) { /* always ready: a file by now, or a device */
		up_fd_forget(fd);
		t.r = blocking(&t, v, nr, off);
	}
	if (t.r > 0)
		finish(&t, v, nr, off);
	return up_io_end(&t);
}

/* ---- the calls ---- */

ssize_t upcall_read(int fd, void *buf, size_t sz)
{
	struct iovec v = { buf, sz };

	return transfer(fd, UP_IO_IN, &v, 1, ANY_PLACE);
}

ssize_t upcall_write(int fd, const void *buf, size_t sz)
{
	struct iovec v = { (void *)(uintptr_t)buf, sz };

	return transfer(fd, UP_IO_OUT, &v, 1, ANY_PLACE);
}

ssize_t upcall_readv(int fd, const struct iovec *v, int nr)
{
	return transfer(fd, UP_IO_IN, v, nr, ANY_PLACE);
}

ssize_t upcall_writev(int fd, const struct iovec *v, int nr)
{
	return transfer(fd, UP_IO_OUT, v, nr, ANY_PLACE);
}

static ssize_t at(int fd, enum up_io_dir dir, const struct iovec *v, int nr, off_t off)
{
	return off < 0 ? -EINVAL : transfer(fd, dir, v, nr, off);
}

ssize_t upcall_pread(int fd, void *buf, size_t sz, off_t off)
{
	struct iovec v = { buf, sz };

	return at(fd, UP_IO_IN, &v, 1, off);
}

ssize_t upcall_pwrite(int fd, const void *buf, size_t sz, off_t off)
{
	struct iovec v = { (void *)(uintptr_t)buf, sz };

	return at(fd, UP_IO_OUT, &v, 1, off);
}

ssize_t upcall_preadv(int fd, const struct iovec *v, int nr, off_t off)
{
	return at(fd, UP_IO_IN, v, nr, off);
}

ssize_t upcall_pwritev(int fd, const struct iovec *v, int nr, off_t off)
{
	return at(fd, UP_IO_OUT, v, nr, off);
}
