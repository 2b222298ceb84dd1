/* SPDX-License-Identifier: MIT */
/*
 * What echo, proxy and httpd have in common: options, a listening socket, a uthread a connection, no
 * more of them than may be, and an end that loses nothing.
 */
#ifndef SERVE_H
#define SERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <upcall/upcall.h>

enum serve_status { /* of the process, as sysexits.h has them */
	SERVE_USAGE = 64,
	SERVE_NO_INPUT = 66, /* what is to be served is not there */
	SERVE_NO_HOST = 69,  /* nothing to listen on, or to connect to */
	SERVE_NO_START = 71,
	SERVE_NO_OUTPUT = 74,
};

enum serve_state {
	SERVE_NEW, /* it has just come: at the end of the program it has a second more */
	SERVE_IDLE,
	SERVE_BUSY,
};

struct serve_conn {
	int fd;
	int state; /* atomic */
	struct serve_conn *next, **prev;
};

struct serve {
	const char *name, *what,
		*args; /* for --help: one line, and what comes behind the options */
	/* In a uthread of its own for each connection, which is closed when it returns. */
	void (*talk)(struct serve_conn *c);
	size_t stack_sz; /* that talk needs beyond the smallest there is */
	unsigned nr_fds; /* of descriptors, that a connection needs */
	/* From the options: */
	const char *address;
	unsigned port, most;
	uint64_t timeout_ns;
};

/* Reads the options, or ends the process with a word; argv[optind] and on are the program's. */
void serve_options(struct serve *s, int argc, char **argv, int nr_args);

/* Serves until SIGTERM or SIGINT, and then finishes what has been begun; says how many connections there
 * have been, and with *nr how many of `what` (NULL: no more).  The process's status. */
int serve(struct serve *s, const char *what, const unsigned long *nr);

/* From here on, until serve_busy(), the connection waits for something new: at the end of the program
 * nothing more is read from it than what has come.  Both are cheap. */
void serve_idle(struct serve_conn *c);
void serve_busy(struct serve_conn *c);

/* Whether the end has been asked for. */
bool serve_ending(void);

/* The calls of the caller fail with -ETIMEDOUT from now plus the program's --timeout on. */
void serve_deadline(const struct serve *s);

/* Sends all of it: 0, or -errno. */
int serve_send(int fd, const void *buf, size_t sz, int flags);

#endif
