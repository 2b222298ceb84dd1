/* SPDX-License-Identifier: MIT */
/*
 * echo: sends back what it gets, a uthread a connection, in plain blocking code.  A peer that stalls
 * either way for longer than --timeout is left; one that has sent all still gets all.
 */
#include "serve.h"

#define BUF_SZ 4096

static void talk(struct serve_conn *c);

static struct serve server = {
	.name = "echo",
	.what = "Sends back what it gets.",
	.args = "",
	.talk = talk,
	.stack_sz = BUF_SZ + 4096,
	.nr_fds = 1,
};

static void talk(struct serve_conn *c)
{
	char buf[BUF_SZ];
	ssize_t n;

	do {
		serve_deadline(&server);
		serve_idle(c);
		n = upcall_recv(c->fd, buf, sizeof(buf), 0);
		serve_busy(c);
		serve_deadline(&server);
	} while (n > 0 && !serve_send(c->fd, buf, (size_t)n, 0));
}

int main(int argc, char **argv)
{
	serve_options(&server, argc, argv, 0);
	return serve(&server, NULL, NULL);
}
