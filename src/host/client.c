/* SPDX-License-Identifier: MIT */
/*
 * The process's end of a connection to another process's kernel side.  Attaching and detaching use
 * libc as they like; ringing and asking whether the other side lives do not, since they happen in
 * vcore context.  The bell is an eventfd that this side only writes: the regions carry the call.
 */
#include "host/client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/inject.h"
#include "base/mutant.h"
#include "base/syscall.h"
#include "host/region.h"

#define ANSWER_MS 5000

struct up_client {
	struct up_port port;
	struct up_region region;
	pid_t pid; /* where the regions are mapped: not in a child of fork() */
	int sock;
	int bell;
};

static void ring(struct up_port *port, uint32_t slot)
{
	struct up_client *c = port->side;
	uint64_t one = 1;

	/* Fails only when the counter is full, and then the bell is ringing. */
	UP_INJECT(client_before_bell);
	up_syscall3(SYS_write, c->bell, &one, sizeof(one));
}

static int alive(struct up_port *port)
{
	struct up_client *c = port->side;
	struct pollfd pfd = { .fd = c->sock, .events = POLLRDHUP };
	struct timespec now = { 0, 0 };

	if (up_syscall5(SYS_ppoll, &pfd, 1, &now, 0, 8) < 0)
		return 0; /* interrupted: asked again soon */
	return pfd.revents & (POLLHUP | POLLRDHUP | POLLERR | POLLNVAL) ? -EPIPE : 0;
}

static int dial(const char *name)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = ANSWER_MS / 1000 };
	size_t len = strlen(name);
	int sock, err;

	if (!len || len > sizeof(to.sun_path) - 1)
		return -EINVAL;
	memcpy(to.sun_path + 1, name, len);
	sock = UP_INJECT_FAIL(client_socket) ? -1
					     : socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return -EMFILE;
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (!connect(sock, (void *)&to,
		     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)))
		return sock;
	err = errno == EAGAIN ? -ETIMEDOUT : -errno;
	close(sock);
	return err;
}

static void close_fds(const int *fds, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		close(fds[i]);
}

/* Takes the descriptors out of a received message; all or none. */
static int take_fds(struct msghdr *msg, int fds[UP_WIRE_FD_NR])
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	size_t nr;

	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
		return -EPROTO;
	nr = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	if (nr == UP_WIRE_FD_NR && !(msg->msg_flags & MSG_CTRUNC)) {
		memcpy(fds, CMSG_DATA(c), sizeof(int) * UP_WIRE_FD_NR);
		return 0;
	}
	close_fds((const int *)(const void *)CMSG_DATA(c), nr);
	return nr == UP_WIRE_FD_NR ? -EPROTO : -EMFILE; /* Linux drops those that find no room */
}

static int hear_welcome(int sock, int fds[UP_WIRE_FD_NR])
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * UP_WIRE_FD_NR)];
		struct cmsghdr align;
	} control;
	struct up_wire_welcome w;
	struct iovec iov = { &w, sizeof(w) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	ssize_t got;

	do
		got = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	if (got == 0)
		return -EPIPE;
	if (got != sizeof(w) || w.magic != UP_WIRE_MAGIC || w.version != UPABI_VERSION) {
		if (!take_fds(&msg, fds))
			close_fds(fds, UP_WIRE_FD_NR);
		return -EPROTO;
	}
	return w.result < 0 ? w.result : take_fds(&msg, fds);
}

static int greet(int sock, const struct up_client_cfg *cfg, int fds[UP_WIRE_FD_NR])
{
	struct up_wire_hello h = {
		.magic = UP_WIRE_MAGIC,
		.version = UPABI_VERSION,
		.max_vcores = cfg->max_vcores,
		.max_acts = cfg->max_acts,
		.mechanisms = cfg->mechanisms,
		.signal = (uint32_t)cfg->signal,
		.standby = cfg->standby,
	};

	UP_INJECT(client_before_hello);
	if (send(sock, &h, sizeof(h), MSG_NOSIGNAL) != sizeof(h))
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	UP_INJECT(client_after_hello);
	return hear_welcome(sock, fds);
}

/* Takes over fds and sock, also on failure. */
static int set_up(int sock, const int fds[UP_WIRE_FD_NR], struct up_client **ret_client)
{
	struct up_client *c = UP_INJECT_FAIL(client_alloc) ? NULL
							   : up_region_alloc(sizeof(*c), true);
	int ret = -ENOMEM;

	if (c) {
		ret = up_region_attach(fds[UP_WIRE_FD_INFO], fds[UP_WIRE_FD_DATA], &c->region);
		if (!ret)
			ret = up_port_init(&c->port, c->region.info_ro, c->region.data);
		if (!ret && (c->port.info->region_sz > c->region.info_sz ||
			     c->port.data->region_sz > c->region.data_sz))
			ret = -EPROTO;
	}
	close(fds[UP_WIRE_FD_INFO]);
	close(fds[UP_WIRE_FD_DATA]);
	if (ret) {
		close(fds[UP_WIRE_FD_BELL]);
		close(sock);
		if (c)
			up_region_fini(&c->region);
		up_region_free(c, sizeof(*c));
		return ret;
	}
	c->pid = getpid();
	c->sock = sock;
	c->bell = fds[UP_WIRE_FD_BELL];
	c->port.ring = ring;
	c->port.alive = alive;
	c->port.side = c;
	*ret_client = c;
	return 0;
}

int up_client_attach(const struct up_client_cfg *cfg, struct up_client **ret_client)
{
	int fds[UP_WIRE_FD_NR];
	int sock, ret;

	if (!cfg || !ret_client || !cfg->name)
		return -EINVAL;
	sock = dial(cfg->name);
	if (sock < 0)
		return sock;
	ret = greet(sock, cfg, fds);
	if (ret) {
		close(sock);
		return ret;
	}
	UP_INJECT(client_welcomed);
	return set_up(sock, fds, ret_client);
}

void up_client_detach(struct up_client *c)
{
	if (!c)
		return;
	close(c->sock);
	close(c->bell);
	if (c->pid == getpid())
		up_region_fini(&c->region);
	up_region_free(c, sizeof(*c));
}

struct up_port *up_client_port(struct up_client *c)
{
	return c ? &c->port : NULL;
}

int up_client_next(struct up_client *c, int timeout_ms, struct up_wire_msg *ret_msg)
{
	struct up_wire_msg m;
	struct pollfd pfd;
	ssize_t got;

	if (!c || !ret_msg)
		return -EINVAL;
	pfd = (struct pollfd){ .fd = c->sock, .events = POLLIN };
	if (poll(&pfd, 1, timeout_ms) <= 0)
		return 0;
	UP_INJECT(client_before_recv);
	got = recv(c->sock, &m, sizeof(m), MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got != sizeof(m)) {
		/* The end, or somebody who does not speak as agreed: that is the end as well. */
		up_port_lose(&c->port, -EPIPE);
		return -EPIPE;
	}
	*ret_msg = m;
	return 1;
}
