/* SPDX-License-Identifier: MIT */
/*
 * A client of one thread: see http.h.  With a rate, requests are due at fixed moments, whether the
 * server keeps up or not, and what waits for a free connection waits at the server's expense: no
 * slow answer keeps later ones from being asked for (no coordinated omission).
 */
#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define FROM_ONE_ADDRESS 20000u /* connections; there are 28,000 ports */
#define ANSWER_S	 10	/* a client that hears nothing for so long gives up */
#define SUB_BITS	 7	/* of the histogram: within 1/128 */

static const char request[] = "GET /file HTTP/1.1\r\nHost: localhost\r\n"
			      "User-Agent: bench\r\nAccept: */*\r\n\r\n";

struct conn {
	int fd;
	unsigned left; /* of the answer; 0 before its head */
	double due;
};

struct client {
	struct conn *conns;
	unsigned nr;
	int epoll;
	unsigned *idle; /* a ring of conns */
	unsigned idle_at, nr_idle;
	double count_from, due, step;
	uint64_t answers, timed; /* since then; and of those that were due since then */
	uint64_t hist[64 << SUB_BITS];
	char buf[65536];
};

/* ---- times ---- */

static unsigned slot_of(double ns)
{
	uint64_t v = ns < 1 ? 1 : (uint64_t)ns;
	unsigned top = 63u - (unsigned)__builtin_clzll(v);

	if (top < SUB_BITS)
		return (unsigned)v;
	return ((top - SUB_BITS + 1) << SUB_BITS) +
	       (unsigned)((v >> (top - SUB_BITS)) & ((1u << SUB_BITS) - 1));
}

static double value_of(unsigned slot)
{
	unsigned top = slot >> SUB_BITS, sub = slot & ((1u << SUB_BITS) - 1);

	return top ? (double)(((uint64_t)sub + 1 + (1u << SUB_BITS)) << (top - 1)) : slot;
}

static double percentile(const struct client *c, double part)
{
	uint64_t sum = 0;
	unsigned i;

	for (i = 0; i < sizeof(c->hist) / sizeof(*c->hist); i++) {
		sum += c->hist[i];
		if (sum && (double)sum >= part * (double)c->timed)
			return value_of(i);
	}
	return 0;
}

/* ---- connections ---- */

static int connect_one(unsigned port, unsigned nth)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	struct sockaddr_in from = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + nth / FROM_ONE_ADDRESS);
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (fd >= 0 && !bind(fd, (struct sockaddr *)&from, sizeof(from)) &&
	    !connect(fd, (struct sockaddr *)&to, sizeof(to)))
		return fd;
	fprintf(stderr, "connection %u: %s\n", nth, strerror(errno));
	close(fd);
	return -1;
}

static void client_end(struct client *c)
{
	unsigned i;

	for (i = 0; i < c->nr; i++)
		close(c->conns[i].fd);
	close(c->epoll);
	free(c->conns);
	free(c->idle);
	free(c);
}

static struct client *client_begin(unsigned port, unsigned nr)
{
	struct client *c = calloc(1, sizeof(*c));
	struct epoll_event ev = { .events = EPOLLIN };

	c->epoll = epoll_create1(EPOLL_CLOEXEC);
	c->conns = calloc(nr, sizeof(*c->conns));
	c->idle = calloc(nr, sizeof(*c->idle));
	for (; c->nr < nr; c->nr++) {
		c->conns[c->nr].fd = connect_one(port, c->nr);
		ev.data.u32 = c->nr;
		if (c->conns[c->nr].fd < 0 ||
		    epoll_ctl(c->epoll, EPOLL_CTL_ADD, c->conns[c->nr].fd, &ev)) {
			client_end(c);
			return NULL;
		}
		c->idle[c->nr_idle++] = c->nr;
	}
	return c;
}

/* ---- requests and answers ---- */

static int ask(struct client *c, double due)
{
	struct conn *conn = &c->conns[c->idle[c->idle_at]];

	conn->due = due;
	c->idle_at = (c->idle_at + 1) % c->nr;
	c->nr_idle--;
	return send(conn->fd, request, sizeof(request) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) ==
			       (ssize_t)sizeof(request) - 1
		       ? 0
		       : -1;
}

/* How large the answer is whose first sz bytes these are, or 0: it is none.  Its head comes in one
 * piece on loopback. */
static unsigned answer_sz(char *buf, size_t sz)
{
	char *end, *length;

	buf[sz] = 0;
	end = strstr(buf, "\r\n\r\n");
	length = strcasestr(buf, "\r\nContent-Length: ");
	if (strncmp(buf, "HTTP/1.1 200 ", 13) || !end || !length || length > end)
		return 0;
	return (unsigned)(end + 4 - buf) + (unsigned)strtoul(length + 18, NULL, 10);
}

static void count(struct client *c, double now, const struct conn *conn)
{
	c->answers += now >= c->count_from;
	if (conn->due < c->count_from)
		return;
	c->timed++;
	c->hist[slot_of(now - conn->due)]++;
}

/* 1 it is answered, 0 not yet, -1. */
static int hear(struct client *c, struct conn *conn)
{
	ssize_t n = recv(conn->fd, c->buf, sizeof(c->buf) - 1, MSG_DONTWAIT);
	unsigned sz = conn->left;

	if (n <= 0 || (!sz && !(sz = answer_sz(c->buf, (size_t)n))) || (size_t)n > sz) {
		fprintf(stderr, "an answer that is none, of %zd bytes\n", n);
		return -1;
	}
	conn->left = sz - (unsigned)n;
	return !conn->left;
}

/* Waits until the next one is due, or for whatever comes; 0, or -1. */
static int hear_all(struct client *c, double until)
{
	struct epoll_event ev[256];
	double now = bench_now_ns(), wait = until > now ? until - now : 0;
	struct timespec ts = { (time_t)(wait / 1e9),
			       (long)(wait - (double)(time_t)(wait / 1e9) * 1e9) };
	int i, got, n = epoll_pwait2(c->epoll, ev, 256, &ts, NULL);

	now = bench_now_ns();
	for (i = 0; i < n; i++) {
		got = hear(c, &c->conns[ev[i].data.u32]);
		if (got < 0)
			return -1;
		if (!got)
			continue;
		count(c, now, &c->conns[ev[i].data.u32]);
		c->idle[(c->idle_at + c->nr_idle++) % c->nr] = ev[i].data.u32;
	}
	return 0;
}

/* Asks for all that is due by now; 0, or -1. */
static int ask_all(struct client *c)
{
	double now = bench_now_ns();

	while (c->nr_idle && (!c->step || c->due <= now)) {
		if (ask(c, c->step ? c->due : now))
			return -1;
		c->due += c->step;
	}
	return 0;
}

/* Until a moment: 0, or -1. */
static int go_on(struct client *c, double until)
{
	double now = bench_now_ns(), heard = now;
	uint64_t answers = c->answers;

	for (; now < until; now = bench_now_ns()) {
		if (ask_all(c) ||
		    hear_all(c, c->step && c->nr_idle && c->due < until ? c->due : until))
			return -1;
		if (c->answers != answers || c->count_from > now)
			heard = now;
		answers = c->answers;
		if (now > heard + ANSWER_S * 1e9) {
			fprintf(stderr, "no answers\n");
			return -1;
		}
	}
	return 0;
}

int http_load(const struct http_server *s, const struct http_load *l, struct http_result *ret)
{
	struct client *c = client_begin(l->port, l->conns);
	double begin, cpu;
	int error;

	if (!c)
		return -1;
	begin = bench_now_ns();
	c->step = l->rate > 0 ? 1e9 / l->rate : 0;
	c->due = begin;
	c->count_from = begin + l->warm_s * 1e9;
	error = go_on(c, c->count_from);
	begin = bench_now_ns();
	cpu = http_cpu_ns(s);
	error = error ? error : go_on(c, begin + l->seconds * 1e9);
	ret->seconds = (bench_now_ns() - begin) / 1e9;
	ret->cpu_ns = http_cpu_ns(s) - cpu;
	ret->requests = (double)c->answers;
	ret->p50 = percentile(c, 0.5);
	ret->p99 = percentile(c, 0.99);
	if (!error && !c->timed)
		fprintf(stderr, "no answers\n");
	error = error || !c->timed ? -1 : 0;
	client_end(c);
	return error;
}

/* ---- idle connections ---- */

/* In a process of its own, since its descriptors are bounded: connects, asks once on each, says so, and
 * waits for the end. */
static int hold(unsigned port, unsigned from, unsigned nr, int ready, int end)
{
	char buf[65536], c = 1;
	unsigned i;
	int fd;

	for (i = 0; i < nr; i++) {
		fd = connect_one(port, from + i);
		if (fd < 0 || send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) < 0 ||
		    recv(fd, buf, sizeof(buf), 0) <= 0)
			return 1;
	}
	if (write(ready, &c, 1) != 1 || read(end, &c, 1) < 0)
		return 1;
	return 0;
}

/* Splits them among processes: how many, or 0 with none left. */
static unsigned hold_all(unsigned port, unsigned conns, pid_t *pids, const int *ready,
			 const int *end)
{
	unsigned each = http_nr_files() - 100, from, nr, children = 0;

	each = each < FROM_ONE_ADDRESS ? each : FROM_ONE_ADDRESS;
	for (from = 0; from < conns; from += nr, children++) {
		nr = each < conns - from ? each : conns - from;
		pids[children] = fork();
		if (pids[children])
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(60);
		close(end[1]);
		close(ready[0]);
		_exit(hold(port, from, nr, ready[1], end[0]));
	}
	return children;
}

double http_idle_bytes(const struct http_server *s, unsigned conns)
{
	pid_t pids[1 + HTTP_IDLE_MAX / 100];
	double before, bytes = -1;
	unsigned children, good = 0;
	int ready[2], end[2];
	char c;

	if (pipe2(ready, O_CLOEXEC) || pipe2(end, O_CLOEXEC))
		return -1;
	before = http_memory(s);
	children = hold_all(s->port, conns, pids, ready, end);
	close(ready[1]);
	while (good < children && read(ready[0], &c, 1) == 1)
		good++;
	if (good == children)
		bytes = (http_memory(s) - before) / conns;
	else
		fprintf(stderr, "not all of %u connections came about\n", conns);
	close(ready[0]);
	close(end[0]);
	close(end[1]);
	while (children--)
		waitpid(pids[children], NULL, 0);
	return bytes;
}
