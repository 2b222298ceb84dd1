/* SPDX-License-Identifier: MIT */
/*
 * A program that knows nothing of src/io, with libc's calls only, run by `upcall run --io`: the same
 * answers as libc's, and no kernel thread for who waits.
 */
#include "../user/rt.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

static void *echo(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char c;

	while (read(fd, &c, 1) == 1)
		CHECK_INT(write(fd, &c, 1), 1);
	return NULL;
}

static int is_loaded(void)
{
	Dl_info i;

	return dladdr(dlsym(RTLD_DEFAULT, "read"), &i) && strstr(i.dli_fname, "libupcall-io");
}

static int no_threads(void)
{
	enum {
		NR = 200,
		ROUNDS = 20
	};
	struct upcall_uthread *u[NR];
	int fd[NR][2], i, k;
	uint64_t before;
	char c;

	CHECK(is_loaded());
	rt_start(2);
	for (i = 0; i < NR; i++) {
		CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, fd[i]), 0);
		u[i] = rt_make(echo, (void *)(intptr_t)fd[i][1]);
	}
	before = rt_blocks();
	for (k = 0; k < ROUNDS; k++) {
		for (i = 0; i < NR; i++)
			CHECK_INT(send(fd[i][0], "x", 1, 0), 1);
		for (i = 0; i < NR; i++)
			CHECK_INT(recv(fd[i][0], &c, 1, MSG_WAITALL), 1);
		usleep(100);
	}
	CHECK(rt_stats().activations < 30);
	CHECK(rt_blocks() - before < NR * ROUNDS / 10);
	for (i = 0; i < NR; i++)
		CHECK_INT(shutdown(fd[i][0], SHUT_WR), 0);
	for (i = 0; i < NR; i++)
		rt_join(u[i]);
	rt_stop();
	return 0;
}

static int like_libc(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval tv = { 0, 2000 };
	socklen_t at_sz = sizeof(at);
	int fd[2], d[2];
	char buf[4];
	fd_set in;

	rt_start(2);
	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	CHECK_INT(read(fd[0], buf, 1), -1);
	CHECK_INT(errno, EAGAIN);
	CHECK_INT(read(-1, buf, 1), -1);
	CHECK_INT(errno, EBADF);
	CHECK(fcntl(fd[0], F_GETFL) & O_NONBLOCK);
	FD_ZERO(&in);
	FD_SET(fd[0], &in);
	CHECK_INT(select(fd[0] + 1, &in, NULL, NULL, &tv), 0);
	CHECK(!FD_ISSET(fd[0], &in));
	CHECK_INT(write(fd[1], "ab", 2), 2);
	FD_SET(fd[0], &in);
	CHECK_INT(select(fd[0] + 1, &in, NULL, NULL, NULL), 1);
	CHECK(FD_ISSET(fd[0], &in));
	d[0] = dup(0);
	CHECK_INT(close(d[0]), 0);
	FD_SET(d[0], &in);
	CHECK_INT(select(d[0] + 1, &in, NULL, NULL, NULL), -1);
	CHECK_INT(errno, EBADF);

	d[0] = socket(AF_INET, SOCK_DGRAM, 0);
	d[1] = socket(AF_INET, SOCK_DGRAM, 0);
	CHECK_INT(bind(d[0], (struct sockaddr *)&at, sizeof(at)), 0);
	CHECK_INT(getsockname(d[0], (struct sockaddr *)&at, &at_sz), 0);
	CHECK_INT(sendto(d[1], "dgram", 5, 0, (struct sockaddr *)&at, sizeof(at)), 5);
	at_sz = sizeof(at);
	CHECK_INT(recvfrom(d[0], buf, 4, MSG_TRUNC, (struct sockaddr *)&at, &at_sz), 5);
	CHECK_INT(at_sz, sizeof(at));
	CHECK(!memcmp(buf, "dgra", 4));
	CHECK_INT(close(d[0]), 0);
	CHECK_INT(close(d[0]), -1);
	CHECK_INT(errno, EBADF);
	rt_stop();
	return 0;
}

static const struct apart cases[] = {
	CASE("no kernel thread for who waits", no_threads),
	CASE("answers as libc's", like_libc),
};

APART_MAIN(cases)
