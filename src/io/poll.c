/* SPDX-License-Identifier: MIT */
/*
 * Several descriptors at once: one wait that stands in the queue of each, and is over once for all.
 * And the end of a descriptor.
 */
#include "io/io.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"
#include "upcall/call.h"
#include "upcall/io.h"
#include "upcall/sync.h"

/* Waited for on the stack; more than that are allocated. */
#define FEW	8
#define ANY_IN	(POLLIN | POLLRDNORM)
#define ANY_OUT (POLLOUT | POLLWRNORM)

static int look_at(struct pollfd *fds, nfds_t nr)
{
	struct timespec now = { 0 };

	return (int)up_syscall5(SYS_ppoll, (long)fds, (long)nr, (long)&now, 0, 0);
}

bool up_io_is_ready(int fd, enum up_io_dir dir)
{
	struct pollfd p = { .fd = fd, .events = dir == UP_IO_IN ? POLLIN : POLLOUT };

	return fd < 0 || look_at(&p, 1);
}

int up_io_poll(struct pollfd *fds, nfds_t nr, uint64_t until)
{
	struct timespec ts;
	uint64_t now;
	long r;

	do {
		now = up_now_ns();
		ts = up_ns_timespec(until > now ? until - now : 0);
		r = upcall_syscall(SYS_ppoll, (long)fds, (long)nr,
				   until == UP_FOREVER ? 0 : (long)&ts, 0, 0, 0);
	} while (r == -EINTR && up_self());
	return (int)r;
}

/* What a set can tell of, and no more: waiting for one thing must not end for another. */
static bool is_simple(const struct pollfd *fds, nfds_t nr)
{
	nfds_t i;

	for (i = 0; i < nr; i++)
		if (fds[i].fd >= 0 && (!fds[i].events || fds[i].events & ~(ANY_IN | ANY_OUT)))
			return false;
	return true;
}

static unsigned list(struct up_io_wanted *x, const struct pollfd *fds, nfds_t nr)
{
	unsigned n = 0;
	nfds_t i;

	for (i = 0; i < nr; i++) {
		if (fds[i].fd >= 0 && fds[i].events & ANY_IN)
			x[n++] = (struct up_io_wanted){ .fd = fds[i].fd, .dir = UP_IO_IN };
		if (fds[i].fd >= 0 && fds[i].events & ANY_OUT)
			x[n++] = (struct up_io_wanted){ .fd = fds[i].fd, .dir = UP_IO_OUT };
	}
	return n;
}

static int wait_for(struct up_io_wanted *x, struct pollfd *fds, nfds_t nr, uint64_t until)
{
	unsigned n = list(x, fds, nr);
	int r, ready;

	do {
		r = n ? up_io_wait_any(x, n, until) : upcall_sleep_until(until);
		ready = look_at(fds, nr);
	} while (!r && !ready && n);
	if (ready || r == -ETIMEDOUT || r == -ECANCELED || !n)
		return ready ? ready : r == -ECANCELED ? r : 0;
	return up_io_poll(fds, nr, until); /* one of them no set can tell of */
}

int upcall_poll(struct pollfd *fds, nfds_t nr, int64_t timeout_ns)
{
	uint64_t until = timeout_ns < 0 ? UP_FOREVER
					: up_ns_after(up_now_ns(), (uint64_t)timeout_ns);
	struct up_uthread *u = up_self();
	struct up_io_wanted few[2 * FEW], *x = few;
	int r;

	if (!u)
		return up_io_poll(fds, nr, until);
	r = look_at(fds, nr);
	if (r || !timeout_ns)
		return r;
	if (u->wait.io_until && u->wait.io_until < until)
		until = u->wait.io_until;
	if (nr > FEW)
		x = malloc(2 * nr * sizeof(*x));
	r = x && is_simple(fds, nr) ? wait_for(x, fds, nr, until) : up_io_poll(fds, nr, until);
	if (x != few)
		free(x);
	if (r == -ECANCELED)
		up_cancel_act();
	return r;
}

int upcall_close(int fd)
{
	int r = (int)up_syscall1(SYS_close, fd);

	/* Behind it: who waits finds that it is gone. */
	up_fd_forget(fd);
	if (!UP_MUT(io_close_tells_nobody))
		up_io_wake_all(fd);
	return r;
}
