/* SPDX-License-Identifier: MIT */
/*
 * Accepting and ending: see serve.h.  Uthread 0 accepts.  It waits in one place only, for a
 * connection or for room to take one, and always for the signal that ends it too.
 */
#include "serve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define SECOND	  1000000000ull
#define SPARE_FDS 48

static struct serve *server;
static int stop_fd = -1, room_fd = -1;
static bool ending; /* atomic */

static struct upcall_mutex mutex = UPCALL_MUTEX_INIT;
static struct upcall_cond all_gone = UPCALL_COND_INIT;
static struct serve_conn *conns; /* with the mutex, as all up to here: */
static unsigned long nr_live, nr_ever;
static bool wants_room; /* who leaves is to say so */

static void raise_flag(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) < 0)
		return; /* it is up already */
}

static void lower_flag(int fd)
{
	uint64_t value;

	if (read(fd, &value, sizeof(value)) < 0)
		return; /* it is down already */
}

static void on_signal(int signo)
{
	int error = errno;

	raise_flag(stop_fd);
	errno = error;
}

/* ---- connections ---- */

bool serve_ending(void)
{
	return __atomic_load_n(&ending, __ATOMIC_RELAXED);
}

/* Whoever comes second, this or end_those(), sees the other. */
void serve_idle(struct serve_conn *c)
{
	__atomic_store_n(&c->state, SERVE_IDLE, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&ending, __ATOMIC_SEQ_CST))
		shutdown(c->fd, SHUT_RD);
}

void serve_busy(struct serve_conn *c)
{
	__atomic_store_n(&c->state, SERVE_BUSY, __ATOMIC_RELAXED);
}

/* With the mutex. */
static void end_those(enum serve_state state)
{
	struct serve_conn *c;

	for (c = conns; c; c = c->next)
		if (__atomic_load_n(&c->state, __ATOMIC_SEQ_CST) == (int)state)
			shutdown(c->fd, SHUT_RD);
}

/* Until all have gone, each when what it has begun is finished. */
static void end_all(void)
{
	uint64_t until = upcall_now_ns() + SECOND;

	upcall_mutex_lock(&mutex);
	end_those(SERVE_IDLE);
	while (nr_live && !upcall_cond_wait_until(&all_gone, &mutex, until))
		;
	end_those(SERVE_NEW);
	while (nr_live)
		upcall_cond_wait(&all_gone, &mutex);
	upcall_mutex_unlock(&mutex);
}

static void *connection(void *arg)
{
	struct serve_conn c = { .fd = (int)(intptr_t)arg };

	upcall_mutex_lock(&mutex);
	c.next = conns;
	c.prev = &conns;
	if (conns)
		conns->prev = &c.next;
	conns = &c;
	upcall_mutex_unlock(&mutex);

	server->talk(&c);

	upcall_mutex_lock(&mutex);
	*c.prev = c.next;
	if (c.next)
		c.next->prev = c.prev;
	upcall_mutex_unlock(&mutex);
	upcall_close(c.fd);

	upcall_mutex_lock(&mutex);
	if (wants_room)
		raise_flag(room_fd);
	wants_room = false;
	if (!--nr_live)
		upcall_cond_signal(&all_gone);
	upcall_mutex_unlock(&mutex);
	return NULL;
}

void serve_deadline(const struct serve *s)
{
	struct timespec now;

	/* The coarse clock is off by a tick, and a few times as cheap. */
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	upcall_io_deadline((uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec + s->timeout_ns);
}

int serve_send(int fd, const void *buf, size_t sz, int flags)
{
	const char *at = buf;
	ssize_t n;

	for (; sz; at += n, sz -= (size_t)n) {
		n = upcall_send(fd, at, sz, flags | MSG_NOSIGNAL);
		if (n < 0)
			return (int)n;
	}
	return 0;
}

/* ---- accepting ---- */

/* Until fd is ready, or so long: false when the program is to end. */
static bool wait_for(int fd, int64_t timeout_ns)
{
	struct pollfd p[] = { { .fd = fd, .events = POLLIN }, { .fd = stop_fd, .events = POLLIN } };

	upcall_poll(p, 2, timeout_ns);
	return !(p[1].revents & POLLIN);
}

/* Whether there are as many as that; then who leaves will say so. */
static bool is_full(unsigned long most)
{
	bool full;

	upcall_mutex_lock(&mutex);
	full = nr_live >= most;
	wants_room = full;
	upcall_mutex_unlock(&mutex);
	return full;
}

/* Until somebody has left, unless there are fewer than `most`: false when the program is to end.  What is short
 * may be everybody's, and others leave without a word: so no longer than a second. */
static bool wait_for_room(unsigned long most)
{
	bool go_on;

	if (!is_full(most))
		return true;
	go_on = wait_for(room_fd, (int64_t)SECOND);
	lower_flag(room_fd);
	return go_on;
}

static bool begin(int fd)
{
	struct upcall_uthread_attr attr = { .size = sizeof(attr), .detached = true };
	bool go_on = true;

	attr.stack_sz = upcall_min_stack() + server->stack_sz;
	upcall_mutex_lock(&mutex);
	nr_live++;
	nr_ever++;
	upcall_mutex_unlock(&mutex);
	/* Without memory it waits, and so does everybody after it. */
	while (go_on && upcall_uthread_create(NULL, &attr, connection, (void *)(intptr_t)fd))
		go_on = wait_for_room(0);
	if (go_on)
		return true;
	close(fd);
	upcall_mutex_lock(&mutex);
	nr_live--;
	upcall_mutex_unlock(&mutex);
	return false;
}

/* All that have come: 0 none is left, -errno, or 1 the program is to end. */
static int accept_all(int fd)
{
	int conn;

	for (;;) {
		while (is_full(server->most))
			if (!wait_for_room(server->most))
				return 1;
		conn = upcall_accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		if (conn == -EAGAIN)
			return 0;
		if (conn == -EMFILE || conn == -ENFILE || conn == -ENOBUFS || conn == -ENOMEM)
			return conn;
		/* Any other error is that connection's, which is gone. */
		if (conn >= 0 && !begin(conn))
			return 1;
	}
}

static void accept_until_end(int fd)
{
	bool go_on = true;
	int error;

	while (go_on) {
		error = accept_all(fd);
		if (error > 0)
			break;
		go_on = error ? wait_for_room(0) : wait_for(fd, -1);
	}
	/* Who is in the queue by now has been told that he is connected. */
	__atomic_store_n(&ending, true, __ATOMIC_SEQ_CST);
	if (error <= 0)
		accept_all(fd);
}

static int complain(const char *what, int error, int status)
{
	fprintf(stderr, "%s: %s: %s\n", server->name, what, strerror(error));
	return status;
}

static int listen_on(struct serve *s, int *ret_fd)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)s->port) };
	socklen_t sz = sizeof(a);

	inet_pton(AF_INET, s->address, &a.sin_addr);
	/* Connections have what the socket has that they come from. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sz) || listen(fd, 4096) ||
	    getsockname(fd, (struct sockaddr *)&a, &sz))
		return complain(s->address, errno, SERVE_NO_HOST);
	s->port = ntohs(a.sin_port);
	*ret_fd = fd;
	return 0;
}

/* No more than there are descriptors for, beside those that are open by now and those that the runtime
 * and what is served may need. */
static void limit_connections(struct serve *s)
{
	struct rlimit files;
	int used = dup(stop_fd);
	rlim_t most;

	close(used);
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	most = (rlim_t)used + SPARE_FDS < files.rlim_cur
		       ? (files.rlim_cur - (rlim_t)used - SPARE_FDS) / s->nr_fds
		       : 0;
	if (!s->most || s->most > most)
		s->most = most ? (unsigned)most : 1;
}

int serve(struct serve *s, const char *what, const unsigned long *nr)
{
	struct sigaction on_end = { .sa_handler = on_signal,
				    .sa_flags = SA_RESTART | SA_RESETHAND };
	int fd, error;

	server = s;
	signal(SIGPIPE, SIG_IGN);
	error = listen_on(s, &fd);
	if (error)
		return error;
	stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	room_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (stop_fd < 0 || room_fd < 0)
		return complain("eventfd", errno, SERVE_NO_START);
	error = upcall_start(NULL);
	if (error)
		return complain("upcall_start", -error, SERVE_NO_START);
	limit_connections(s);
	/* A second signal ends the program as if it knew nothing of signals. */
	sigaction(SIGTERM, &on_end, NULL);
	sigaction(SIGINT, &on_end, NULL);
	printf("%s: listening on %s:%u\n", s->name, s->address, s->port);
	if (fflush(stdout))
		return complain("standard output", errno, SERVE_NO_OUTPUT);
	accept_until_end(fd);
	close(fd);
	end_all();
	printf("%s: %lu connections", s->name, nr_ever);
	if (what)
		printf(", %lu %s", *nr, what);
	putchar('\n');
	return fflush(stdout) ? complain("standard output", errno, SERVE_NO_OUTPUT) : 0;
}

/* ---- options ---- */

__attribute__((noreturn)) static void usage(const struct serve *s, const char *what)
{
	fprintf(stderr, "%s: %s\ntry: %s --help\n", s->name, what, s->name);
	exit(SERVE_USAGE);
}

__attribute__((noreturn)) static void help(const struct serve *s)
{
	printf("usage: %s [OPTION...]%s\n%s\n"
	       "  --port N             0, as it is: one that is free\n"
	       "  --address A          127.0.0.1; of IPv4\n"
	       "  --max-connections N  at a time, others wait; no more than there are descriptors "
	       "for\n"
	       "  --timeout S          how long a peer may keep us waiting, in seconds; 30\n"
	       "SIGTERM and SIGINT: what has been begun is finished; the second one ends it at "
	       "once.\n"
	       "Exit status: 0, 64 usage, 66 what is to be served is not there, 69 nothing to "
	       "listen\n"
	       "on, 71 the runtime could not be started, 74 standard output failed.\n",
	       s->name, s->args, s->what);
	exit(fflush(stdout) ? SERVE_NO_OUTPUT : 0);
}

static bool number(const char *text, unsigned long least, unsigned long most, unsigned *ret_n)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || n < least || n > most)
		return false;
	*ret_n = (unsigned)n;
	return true;
}

void serve_options(struct serve *s, int argc, char **argv, int nr_args)
{
	static const struct option options[] = { { "port", required_argument, NULL, 'p' },
						 { "address", required_argument, NULL, 'a' },
						 { "max-connections", required_argument, NULL,
						   'm' },
						 { "timeout", required_argument, NULL, 't' },
						 { "help", no_argument, NULL, 'h' },
						 { NULL, 0, NULL, 0 } };
	unsigned seconds = 30;
	struct in_addr a;
	int c;

	s->address = "127.0.0.1";
	opterr = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'h')
			help(s);
		if (c == '?')
			usage(s, "no such option, or it lacks its value");
		if (c == 'p' && !number(optarg, 0, 65535, &s->port))
			usage(s, "--port wants a number from 0 to 65535");
		if (c == 'm' && !number(optarg, 1, 10000000, &s->most))
			usage(s, "--max-connections wants a number from 1 on");
		if (c == 't' && !number(optarg, 1, 1000000, &seconds))
			usage(s, "--timeout wants a number of seconds from 1 on");
		if (c == 'a' && inet_pton(AF_INET, s->address = optarg, &a) != 1)
			usage(s, "--address wants an address like 127.0.0.1");
	}
	s->timeout_ns = seconds * SECOND;
	if (argc - optind != nr_args)
		usage(s, nr_args ? "something is missing, or too much"
				 : "nothing comes behind the options");
}
