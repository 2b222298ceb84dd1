/* SPDX-License-Identifier: MIT */
/*
 * proxy ADDRESS:PORT: hands every connection on to another server, the bytes from socket to socket by
 * splice() through a pipe, in plain blocking code: a uthread for each direction.  The end of one
 * direction is handed on and leaves the other alone.  Where neither moves for longer than --timeout,
 * or one fails, both end.
 */
#include "serve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE_SZ 65536 /* what a pipe holds */

struct pair {
	struct serve_conn *conn;
	int far;
	uint64_t moved_ns; /* atomic: when either direction has last moved */
};

static void talk(struct serve_conn *c);

static struct serve server = {
	.name = "proxy",
	.what = "Hands connections on to another server.",
	.args = " ADDRESS:PORT",
	.talk = talk,
	.stack_sz = 8192,
	.nr_fds = 6,
};
static struct sockaddr_in upstream = { .sin_family = AF_INET };

static bool still(struct pair *p)
{
	return upcall_now_ns() - __atomic_load_n(&p->moved_ns, __ATOMIC_RELAXED) >=
	       server.timeout_ns;
}

/* One piece: 1, 0 at the end, or -errno.  Who waits for `in` bears with it while the other direction
 * moves. */
static ssize_t pump_piece(struct pair *p, int in, int out, const int *pipe)
{
	ssize_t left, n;

	do {
		serve_deadline(&server);
		left = upcall_splice(in, NULL, pipe[1], NULL, PIECE_SZ, SPLICE_F_MOVE);
	} while (left == -ETIMEDOUT && !still(p));
	for (n = left; left > 0 && n > 0; left -= n) {
		__atomic_store_n(&p->moved_ns, upcall_now_ns(), __ATOMIC_RELAXED);
		serve_deadline(&server);
		n = upcall_splice(pipe[0], NULL, out, NULL, (size_t)left, SPLICE_F_MOVE);
	}
	return n;
}

static void pump(struct pair *p, int in, int out)
{
	ssize_t n = -1;
	int pipe[2];

	if (!pipe2(pipe, O_CLOEXEC)) {
		while ((n = pump_piece(p, in, out, pipe)) > 0)
			;
		upcall_close(pipe[0]);
		upcall_close(pipe[1]);
	}
	shutdown(out, n ? SHUT_RDWR : SHUT_WR); /* so that the other direction ends as well */
}

static void *pump_back(void *arg)
{
	struct pair *p = arg;

	pump(p, p->far, p->conn->fd);
	return NULL;
}

static void talk(struct serve_conn *c)
{
	struct pair p = { .conn = c, .moved_ns = upcall_now_ns() };
	struct upcall_uthread_attr attr = { .size = sizeof(attr) };
	struct upcall_uthread *back;
	int one = 1;

	attr.stack_sz = upcall_min_stack() + server.stack_sz;
	p.far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (p.far < 0)
		return;
	setsockopt(p.far, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	serve_deadline(&server);
	if (!upcall_connect(p.far, (struct sockaddr *)&upstream, sizeof(upstream)) &&
	    !upcall_uthread_create(&back, &attr, pump_back, &p)) {
		serve_idle(
			c); /* at the end of the program the far side is told that no more comes */
		pump(&p, c->fd, p.far);
		upcall_uthread_join(back, NULL);
	}
	upcall_close(p.far);
}

static bool parse_upstream(char *text)
{
	char *colon = strrchr(text, ':'), *end = colon;
	unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;

	if (!colon || *end || end == colon + 1 || !port || port > 65535)
		return false;
	*colon = 0;
	upstream.sin_port = htons((uint16_t)port);
	return inet_pton(AF_INET, text, &upstream.sin_addr) == 1;
}

int main(int argc, char **argv)
{
	serve_options(&server, argc, argv, 1);
	if (parse_upstream(argv[optind]))
		return serve(&server, NULL, NULL);
	fprintf(stderr, "proxy: not an address and a port like 127.0.0.1:80\n");
	return SERVE_USAGE;
}
