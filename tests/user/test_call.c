/* SPDX-License-Identifier: MIT */
/*
 * Announced calls: what they return, that the vcore goes on meanwhile, and that the caller does not
 * run on beside it afterwards.
 */
#include "rt.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static int fds[2];
static atomic_int stage, beside;

/* It has the only vcore and keeps it; the other's call ends meanwhile. */
static void *keep_the_core(void *arg)
{
	CHECK_INT(atomic_load(&stage), 1);
	CHECK_INT(write(fds[1], "x", 1), 1);
	rt_spin_ns(100 * MS);
	CHECK_INT(atomic_load(&beside), 0);
	atomic_store(&stage, 2);
	return NULL;
}

static int runs_not_beside(void)
{
	struct upcall_uthread *u;
	char c;

	CHECK_INT(pipe(fds), 0);
	rt_start_opts((struct upcall_opts){ .vcores = 1, .no_slice = true });
	u = rt_make(keep_the_core, NULL);
	atomic_store(&stage, 1);
	CHECK_INT(announced_read(fds[0], &c, 1), 1);
	atomic_store(&beside, 1);
	CHECK_INT(atomic_load(&stage), 2);
	rt_join(u);
	CHECK(rt_stats().blocked[0] >= 1);
	CHECK_INT(rt_stats().blocked[0], rt_stats().unblocked[0]);
	rt_stop();
	return 0;
}

static int errors_come_back(void)
{
	struct pollfd p = { .fd = -1 };
	char c;

	rt_start(1);
	errno = 77;
	CHECK_INT(upcall_read(-1, &c, 1), -EBADF);
	CHECK_INT(upcall_write(-1, &c, 1), -EBADF);
	CHECK_INT(upcall_recv(-1, &c, 1, 0), -EBADF);
	CHECK_INT(upcall_send(-1, &c, 1, 0), -EBADF);
	CHECK_INT(upcall_accept4(-1, NULL, NULL, 0), -EBADF);
	CHECK_INT(upcall_connect(-1, NULL, 0), -EBADF);
	CHECK_INT(upcall_syscall(99999, 0, 0, 0, 0, 0, 0), -ENOSYS);
	CHECK_INT(upcall_poll(NULL, 1, 0), -EFAULT);
	CHECK_INT(upcall_poll(&p, 1, 1000), 0);
	CHECK_INT(announced_sleep_ns(0), 0);
	CHECK_INT(errno, 77);
	CHECK_INT(pipe(fds), 0);
	CHECK_INT(upcall_write(fds[1], "a", 1), 1);
	CHECK_INT(upcall_read(fds[0], NULL, 1), -EFAULT);
	rt_stop();
	return 0;
}

static int sleeps_whole(void)
{
	uint64_t from = apart_now_ns();

	CHECK_INT(announced_sleep_ns(3 * MS), 0); /* the plain call, before the start */
	CHECK(apart_now_ns() - from >= 3 * MS);
	rt_start(1);
	from = apart_now_ns();
	CHECK_INT(announced_sleep_ns(20 * MS), 0);
	CHECK(apart_now_ns() - from >= 20 * MS);
	from = apart_now_ns();
	CHECK_INT(upcall_poll(NULL, 0, 10 * MS), 0);
	CHECK(apart_now_ns() - from >= 10 * MS);
	rt_stop();
	return 0;
}

static struct sockaddr_in at;
static int listener;

static void *serve(void *arg)
{
	char buf[8];
	int s = upcall_accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	CHECK(s >= 0);
	CHECK_INT(upcall_recv(s, buf, sizeof(buf), 0), 4);
	CHECK_INT(upcall_send(s, buf, 4, 0), 4);
	close(s);
	return NULL;
}

static int sockets(unsigned vcores)
{
	struct upcall_uthread *u[8];
	socklen_t sz = sizeof(at);
	char buf[8];
	unsigned i;
	int s[8];

	at.sin_family = AF_INET;
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&at, sizeof(at)) ||
	    listen(listener, 16) || getsockname(listener, (struct sockaddr *)&at, &sz))
		SKIP("no TCP on the loopback here: %s\n", strerror(errno));
	rt_start(vcores);
	for (i = 0; i < 8; i++)
		u[i] = rt_make(serve, NULL);
	for (i = 0; i < 8; i++) {
		s[i] = socket(AF_INET, SOCK_STREAM, 0);
		CHECK_INT(upcall_connect(s[i], (struct sockaddr *)&at, sizeof(at)), 0);
	}
	for (i = 0; i < 8; i++) {
		CHECK_INT(upcall_send(s[i], "ping", 4, 0), 4);
		CHECK_INT(upcall_recv(s[i], buf, sizeof(buf), 0), 4);
		CHECK(!memcmp(buf, "ping", 4));
	}
	for (i = 0; i < 8; i++)
		rt_join(u[i]);
	rt_stop();
	return 0;
}

static int sockets_1(void)
{
	return sockets(1);
}

static int sockets_2(void)
{
	return sockets(2);
}

static const struct apart cases[] = {
	CASE("the caller does not run beside the vcore that went on without it", runs_not_beside),
	CASE("errors come back, errno is left alone", errors_come_back),
	CASE("sleeps and timeouts are whole", sleeps_whole),
	CASE("sockets, 1 vcore", sockets_1),
	CASE("sockets, 2 vcores", sockets_2),
};

APART_MAIN(cases)
