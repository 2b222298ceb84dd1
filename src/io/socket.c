/* SPDX-License-Identifier: MIT */
/*
 * Sockets.  Each call is made so that it does not block, whatever the socket's own flags say, and
 * again when the socket may be ready.  What has been sent or received when a deadline passes, or the
 * caller is cancelled, is told as a short count: nothing is lost.
 */
#include "io/io.h"

#include <errno.h>
#include <sys/socket.h>

#include "upcall/call.h"
#include "upcall/io.h"

/* ---- bytes and messages ---- */

/* As often as it takes; all sz bytes where `whole`. */
static ssize_t bytes(long nr, int fd, const void *buf, size_t sz, int flags, bool whole)
{
	enum up_io_dir dir = nr == SYS_recvfrom ? UP_IO_IN : UP_IO_OUT;
	struct up_io_try t = up_io_begin(fd, dir, flags & MSG_DONTWAIT);
	bool again = !t.r;
	long r;

	if (!t.u)
		return up_io_plain(nr, fd, (long)buf, (long)sz, flags, 0, 0);
	while (again) {
		r = up_syscall6(nr, fd, (long)buf + (long)t.done, (long)(sz - t.done),
				flags | MSG_DONTWAIT, 0, 0);
		again = whole ? up_io_more(&t, r, sz) : up_io_again(&t, r);
	}
	return up_io_end(&t);
}

ssize_t upcall_recv(int fd, void *buf, size_t sz, int flags)
{
	bool whole = (flags & (MSG_WAITALL | MSG_PEEK)) == MSG_WAITALL;

	return bytes(SYS_recvfrom, fd, buf, sz, flags, whole);
}

/* Linux sends all that it was given, however often it has to wait; a datagram is sent as one. */
ssize_t upcall_send(int fd, const void *buf, size_t sz, int flags)
{
	return bytes(SYS_sendto, fd, buf, sz, flags, true);
}

ssize_t upcall_recvmsg(int fd, struct msghdr *msg, int flags)
{
	struct up_io_try t = up_io_begin(fd, UP_IO_IN, flags & MSG_DONTWAIT);
	bool again = !t.r;

	if (!t.u)
		return up_io_plain(SYS_recvmsg, fd, (long)msg, flags, 0, 0, 0);
	while (again)
		again = up_io_again(&t,
				    up_syscall3(SYS_recvmsg, fd, (long)msg, flags | MSG_DONTWAIT));
	return up_io_end(&t);
}

/* What a call has left of it: Linux has read it by then, so it can be read.  Control data go with the first
 * bytes. */
static void send_rest(struct up_io_try *t, const struct msghdr *msg, int flags)
{
	const struct iovec *v = msg->msg_iov;
	size_t total = 0, before = 0, i;
	bool again;

	for (i = 0; i < msg->msg_iovlen; i++)
		total += v[i].iov_len;
	again = t->done < total;
	while (again) {
		for (; t->done - before >= v->iov_len; v++)
			before += v->iov_len;
		again = up_io_more(t,
				   up_syscall6(SYS_sendto, t->fd,
					       (long)v->iov_base + (long)(t->done - before),
					       (long)(v->iov_len - (t->done - before)),
					       flags | MSG_DONTWAIT, 0, 0),
				   total);
	}
}

ssize_t upcall_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct up_io_try t = up_io_begin(fd, UP_IO_OUT, flags & MSG_DONTWAIT);
	bool again = !t.r;

	if (!t.u)
		return up_io_plain(SYS_sendmsg, fd, (long)msg, flags, 0, 0, 0);
	while (again)
		again = up_io_again(&t,
				    up_syscall3(SYS_sendmsg, fd, (long)msg, flags | MSG_DONTWAIT));
	if (t.r > 0 && !t.dont_wait) {
		t.done = (size_t)t.r;
		send_rest(&t, msg, flags);
	}
	return up_io_end(&t);
}

/* ---- connections ---- */

/*
 * No flag of the call's own keeps it from blocking, so that it is made only when a connection is there.
 * Another process, or another uthread, may be faster: then it waits in Linux, without its deadline.
 */
int upcall_accept4(int fd, struct sockaddr *addr, socklen_t *addr_sz, int flags)
{
	struct up_io_try t = up_io_begin(fd, UP_IO_IN, false);
	bool again = !t.r;

	if (!t.u)
		return (int)up_io_plain(SYS_accept4, fd, (long)addr, (long)addr_sz, flags, 0, 0);
	while (again) {
		if (!up_io_is_ready(fd, UP_IO_IN)) {
			again = up_io_wait_for(&t);
			continue;
		}
		t.r = up_io_plain(SYS_accept4, fd, (long)addr, (long)addr_sz, flags, 0, 0);
		break;
	}
	return (int)up_io_end(&t);
}

/* It is under way: how has it ended? */
static int connected(struct up_io_try *t)
{
	socklen_t err_sz = sizeof(int);
	int err = 0;
	long r;

	while (!up_io_is_ready(t->fd, UP_IO_OUT))
		if (!up_io_wait_for(t))
			return (int)t->r;
	r = up_syscall5(SYS_getsockopt, t->fd, SOL_SOCKET, SO_ERROR, (long)&err, (long)&err_sz);

	return r ? (int)r : -err;
}

int upcall_connect(int fd, const struct sockaddr *addr, socklen_t addr_sz)
{
	struct up_io_try t = up_io_begin(fd, UP_IO_OUT, false);
	int lent;

	if (!t.u)
		return (int)up_io_plain(SYS_connect, fd, (long)addr, addr_sz, 0, 0, 0);
	lent = t.r ? (int)t.r : up_fd_lend(fd);
	if (lent < 0)
		return lent;
	t.r = up_syscall3(SYS_connect, fd, (long)addr, addr_sz);
	if (lent)
		return (int)t.r;
	up_fd_give_back(fd);
	if (t.r == -EAGAIN) /* a local socket whose queue is full cannot be waited for */
		t.r = up_io_plain(SYS_connect, fd, (long)addr, addr_sz, 0, 0, 0);
	else if (t.r == -EINPROGRESS)
		t.r = connected(&t);
	return (int)up_io_end(&t);
}
