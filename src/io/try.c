/* SPDX-License-Identifier: MIT */
/*
 * What all calls have in common: tried without blocking, then again when the descriptor may be ready,
 * until the caller's deadline.
 */
#include "io/io.h"

#include <errno.h>
#include <poll.h>

#include "base/clock.h"
#include "upcall/call.h"
#include "upcall/io.h"

/* By now the caller's deadline has passed. */
static bool is_late(const struct up_uthread *u)
{
	return u->wait.io_until && up_now_ns() >= u->wait.io_until;
}

struct up_io_try up_io_begin(int fd, enum up_io_dir dir, bool dont_wait)
{
	struct up_io_try t = { .u = up_self(), .fd = fd, .dir = dir, .dont_wait = dont_wait };

	up_san_release(&up_in_linux);
	if (t.u && UP_UNLIKELY(t.u->wait.io_until) && is_late(t.u))
		t.r = -ETIMEDOUT;
	return t;
}

/* No set can be made, or told of it: in Linux then. */
static int wait_in_linux(const struct up_io_try *t)
{
	struct pollfd p = { .fd = t->fd, .events = t->dir == UP_IO_IN ? POLLIN : POLLOUT };
	uint64_t until = t->u->wait.io_until;
	int r = up_io_poll(&p, 1, until ? until : UP_FOREVER);

	return r ? UP_MIN(r, 0) : -ETIMEDOUT;
}

bool up_io_wait_for(struct up_io_try *t)
{
	t->r = -EAGAIN;
	if (t->dont_wait || up_fd_is_nonblocking(t->fd))
		return false;
	t->r = up_io_wait(t->fd, t->dir);
	if (UP_UNLIKELY(t->r && t->r != -ETIMEDOUT && t->r != -ECANCELED && t->r != -EPERM))
		t->r = wait_in_linux(t);
	return !t->r;
}

bool up_io_again(struct up_io_try *t, long r)
{
	if (r == -EINTR)
		return true;
	if (UP_UNLIKELY(r == -EAGAIN))
		return up_io_wait_for(t);
	t->r = r;
	return false;
}

/* More is to come: what there is so far is told where the rest fails. */
bool up_io_more(struct up_io_try *t, long r, size_t sz)
{
	if (r > 0) {
		t->done += (size_t)r;
		return t->done < sz;
	}
	return up_io_again(t, r);
}

long up_io_end(struct up_io_try *t)
{
	up_san_acquire(&up_in_linux);
	if (t->done && !UP_MUT(io_partial_dropped))
		return (long)t->done;
	if (UP_UNLIKELY(t->r == -ECANCELED))
		up_cancel_act();
	return t->r;
}

long up_io_plain(long nr, long a, long b, long c, long d, long e, long f)
{
	long r;

	/* Asynchronous signals of the program's own do not come to activations: an EINTR here is from a
	 * notification that was under way when the call began. */
	do
		r = upcall_syscall(nr, a, b, c, d, e, f);
	while (r == -EINTR && up_self());
	return r;
}

uint64_t upcall_io_deadline(uint64_t until_ns)
{
	struct up_uthread *u = up_self();
	uint64_t was;

	if (!u)
		return UPCALL_FOREVER;
	was = u->wait.io_until;
	u->wait.io_until = until_ns == UPCALL_FOREVER ? 0 : UP_MAX(until_ns, UINT64_C(1));
	return was ? was : UPCALL_FOREVER;
}
