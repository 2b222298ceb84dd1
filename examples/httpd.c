/* SPDX-License-Identifier: MIT */
/*
 * httpd DIR: serves the files below a directory by HTTP/1.1, a uthread a connection, in plain blocking
 * code.  Connections are kept, and requests may come one behind the other.  Who takes longer than
 * --timeout for a request, or for a piece of an answer, is left.  docs/http.md says what is refused.
 */
#include "files.h"
#include "http.h"
#include "serve.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define SMALL	  512	/* the buffer that an idle connection has: most requests are shorter */
#define PIECE_SZ  65536 /* of a large answer, that must go within --timeout */
#define LINGER_SZ 65536 /* that is still read from who was refused, so that he reads why */

struct stream {
	struct serve_conn *conn;
	char *buf; /* `small`, or one from the heap while a head is longer */
	size_t room, from, to;
	bool corked;
	unsigned long nr; /* of answers */
	char small[SMALL];
};

static void talk(struct serve_conn *c);

static struct serve server = {
	.name = "httpd",
	.what = "Serves the files below DIR by HTTP/1.1.",
	.args = " DIR",
	.talk = talk,
	.stack_sz = 16384,
	.nr_fds = 1,
};
static unsigned long nr_requests; /* atomic */

/* ---- reading ---- */

static bool make_room(struct stream *s)
{
	char *larger;

	memmove(s->buf, s->buf + s->from, s->to - s->from);
	s->to -= s->from;
	s->from = 0;
	if (s->to < s->room)
		return true;
	larger = s->room < HTTP_HEAD_MAX ? malloc(HTTP_HEAD_MAX) : NULL;
	if (!larger)
		return false;
	memcpy(larger, s->buf, s->to);
	s->buf = larger;
	s->room = HTTP_HEAD_MAX;
	return true;
}

static void give_back(struct stream *s)
{
	if (s->buf != s->small)
		free(s->buf);
	s->buf = s->small;
	s->room = SMALL;
	s->from = s->to = 0;
}

/* What comes next: as upcall_recv().  Nobody waits for us while an answer is held back. */
static ssize_t fill(struct stream *s)
{
	int one = 1;
	ssize_t n;

	if (s->from == s->to)
		give_back(s);
	else if (!make_room(s))
		return -ENOMEM;
	if (s->corked)
		setsockopt(s->conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	s->corked = false;
	n = upcall_recv(s->conn->fd, s->buf + s->to, s->room - s->to, 0);
	s->to += n > 0 ? (size_t)n : 0;
	return n;
}

/* A head: its size, 0 there is none any more, or minus the status to refuse it with. */
static int next_head(struct stream *s, struct http_request *r)
{
	ssize_t got;
	int n;

	*r = (struct http_request){ 0 };
	while (!(n = http_parse(r, s->buf + s->from, s->to - s->from))) {
		if (s->from == s->to && s->nr)
			serve_idle(s->conn);
		got = fill(s);
		serve_busy(s->conn);
		if (got <= 0)
			return got == -ENOMEM ? -503 : got == -ETIMEDOUT && s->to ? -408 : 0;
	}
	return n;
}

/* Nothing that is served takes a body: it is read and forgotten.  False where it has no end. */
static bool skip_body(struct stream *s, struct http_body *b)
{
	size_t data;
	int n = 0;

	while (n >= 0 && !b->done) {
		if (s->from == s->to && fill(s) <= 0)
			return false;
		n = http_body(b, s->buf + s->from, s->to - s->from, &data);
		s->from += n > 0 ? (size_t)n : 0;
	}
	return n >= 0;
}

/* ---- answering ---- */

/* Date, perhaps Connection, and the end of a head: its size. */
static size_t end_of_head(char *to, bool keep, bool old)
{
	static char dates[4][32]; /* by the second */
	static time_t written[4]; /* atomic: of dates */
	static struct upcall_mutex mutex = UPCALL_MUTEX_INIT;
	struct timespec now;
	unsigned at;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	at = (unsigned)now.tv_sec % 4;
	if (__atomic_load_n(&written[at], __ATOMIC_ACQUIRE) != now.tv_sec) {
		upcall_mutex_lock(&mutex);
		files_date(now.tv_sec, dates[at]);
		__atomic_store_n(&written[at], now.tv_sec, __ATOMIC_RELEASE);
		upcall_mutex_unlock(&mutex);
	}
	memcpy(to, "Date: ", 6);
	memcpy(to + 6, dates[at], 29);
	strcpy(to + 35, !keep ? "\r\nConnection: close\r\n\r\n"
			: old ? "\r\nConnection: keep-alive\r\n\r\n"
			      : "\r\n\r\n");
	return 35 + strlen(to + 35);
}

/* All of it: false when the peer is gone, or stands still. */
static bool send_all(struct stream *s, struct iovec *v, size_t nr, int flags)
{
	struct msghdr m = { .msg_iov = v, .msg_iovlen = nr };
	ssize_t n;

	serve_deadline(&server);
	s->corked = flags & MSG_MORE;
	while (m.msg_iovlen) {
		n = upcall_sendmsg(s->conn->fd, &m, MSG_NOSIGNAL | flags);
		if (n < 0)
			return false;
		for (; m.msg_iovlen && (size_t)n >= m.msg_iov->iov_len; m.msg_iovlen--)
			n -= (ssize_t)m.msg_iov++->iov_len;
		if (m.msg_iovlen) {
			m.msg_iov->iov_base = (char *)m.msg_iov->iov_base + n;
			m.msg_iov->iov_len -= (size_t)n;
		}
	}
	return true;
}

static bool send_large(struct stream *s, const struct file *f)
{
	off_t at = 0, due = 0;
	ssize_t n;

	while (at < f->body_sz) {
		if (at == due) {
			due = f->body_sz - at < PIECE_SZ ? f->body_sz : at + PIECE_SZ;
			serve_deadline(&server);
		}
		n = upcall_sendfile(s->conn->fd, f->fd, &at, (size_t)(due - at));
		if (n <= 0) /* 0: it has become shorter than we said */
			return false;
	}
	return true;
}

/* An answer that is no file's. */
static __attribute__((noinline)) bool send_status(struct stream *s, const struct http_request *r,
						  int status, bool keep, const char *more)
{
	char head[FILES_PATH + 512], body[64];
	int body_sz = snprintf(body, sizeof(body), "%d %s\n", status, http_reason(status));
	int sz = snprintf(head, sizeof(head), "HTTP/1.1 %d %s\r\nServer: upcall\r\n%s%s", status,
			  http_reason(status), more,
			  status == 304 ? "" : "Content-Type: text/plain\r\n");
	struct iovec v[] = { { head, 0 }, { body, (size_t)body_sz } };

	if (status != 304)
		sz += snprintf(head + sz, sizeof(head) - (size_t)sz, "Content-Length: %d\r\n",
			       body_sz);
	v[0].iov_len = (size_t)sz + end_of_head(head + sz, keep, r->old);
	return send_all(s, v, status == 304 || r->method == HTTP_HEAD ? 1 : 2, 0) && keep;
}

/* A slash behind it: only one before it, since two would be another host. */
static __attribute__((noinline)) bool redirect(struct stream *s, const struct http_request *r,
					       const char *target, bool keep)
{
	size_t sz = strcspn(target, "? \r"), slashes = strspn(target, "/");
	char more[FILES_PATH + 32];

	if (sz - slashes + 16 > FILES_PATH)
		return send_status(s, r, 414, keep, "");
	snprintf(more, sizeof(more), "Location: /%.*s/\r\n", (int)(sz - slashes), target + slashes);
	return send_status(s, r, 301, keep, more);
}

static bool not_modified(const struct file *f, const struct http_request *r, const char *head)
{
	struct http_span tag = r->if_none_match, since = r->if_modified_since;

	if (tag.sz)
		return (tag.sz == 1 && head[tag.at] == '*') ||
		       memmem(head + tag.at, tag.sz, f->etag, strlen(f->etag));
	return since.sz == strlen(f->modified) && !memcmp(head + since.at, f->modified, since.sz);
}

static __attribute__((noinline)) bool send_not_modified(struct stream *s, const struct file *f,
							const struct http_request *r, bool keep)
{
	char more[128];

	snprintf(more, sizeof(more), "ETag: %s\r\nLast-Modified: %s\r\n", f->etag, f->modified);
	return send_status(s, r, 304, keep, more);
}

static bool send_file(struct stream *s, const struct file *f, const struct http_request *r,
		      bool keep, int flags)
{
	char end[96];
	struct iovec v[] = { { (char *)f->head, f->head_sz },
			     { end, end_of_head(end, keep, r->old) },
			     { (char *)f->body, (size_t)f->body_sz } };
	bool whole = r->method == HTTP_GET && f->body_sz;

	if (whole && !f->body)
		return send_all(s, v, 2, MSG_MORE) && send_large(s, f) && keep;
	return send_all(s, v, whole ? 3 : 2, flags) && keep;
}

/* Whether the connection goes on. */
static bool answer(struct stream *s, const struct http_request *r, const char *head)
{
	bool more = s->from < s->to, keep = r->keep_alive && (more || !serve_ending());
	const char *target = head + r->target.at;
	struct file *f;
	int status;

	if (r->method == HTTP_UNKNOWN)
		return send_status(s, r, 501, keep, "");
	if (r->method == HTTP_OTHER)
		return send_status(s, r, 405, keep, "Allow: GET, HEAD, OPTIONS\r\n");
	if (r->method == HTTP_OPTIONS)
		return send_status(s, r, 200, keep, "Allow: GET, HEAD, OPTIONS\r\n");
	status = files_get(target, r->target.sz, &f);
	if (status == 301)
		return redirect(s, r, target, keep);
	if (status)
		return send_status(s, r, status, keep, "");
	if (not_modified(f, r, head))
		keep = send_not_modified(s, f, r, keep);
	else
		keep = send_file(s, f, r, keep, more && keep ? MSG_MORE : 0);
	files_put(f);
	return keep;
}

/* ---- a connection ---- */

/* What still comes is read for a while: else the peer might be reset before he has read the answer. */
static void linger(struct stream *s)
{
	size_t left = LINGER_SZ;
	ssize_t n = 1;

	shutdown(s->conn->fd, SHUT_WR);
	serve_deadline(&server);
	for (; n > 0 && left; left -= (size_t)n < left ? (size_t)n : left)
		n = upcall_recv(s->conn->fd, s->buf, s->room, 0);
}

/* One request: whether the connection goes on. */
static bool serve_one(struct stream *s)
{
	struct http_request r;
	struct http_body b = { .done = true };
	int n, status = 0;
	char *head;

	serve_deadline(&server);
	n = next_head(s, &r);
	if (!n)
		return false;
	s->nr++;
	if (n > 0)
		status = r.expects_other ? 417 : -http_body_init(&b, &r);
	head = s->buf + s->from;
	s->from += n > 0 ? (size_t)n : 0;
	/* Who asks whether to send the body is told by the answer that he need not. */
	r.keep_alive = r.keep_alive && (b.done || !r.expects);
	if (n < 0 || status)
		send_status(s, &r, n < 0 ? -n : status, false, "");
	else if (answer(s, &r, head) && skip_body(s, &b))
		return true;
	linger(s);
	return false;
}

static void talk(struct serve_conn *c)
{
	struct stream s = { .conn = c, .room = SMALL };

	s.buf = s.small;
	while (serve_one(&s))
		;
	give_back(&s);
	__atomic_fetch_add(&nr_requests, s.nr, __ATOMIC_RELAXED);
}

int main(int argc, char **argv)
{
	int error;

	serve_options(&server, argc, argv, 1);
	error = files_open(argv[optind]);
	if (!error)
		return serve(&server, "requests", &nr_requests);
	fprintf(stderr, "httpd: %s: %s\n", argv[optind], strerror(-error));
	return SERVE_NO_INPUT;
}
