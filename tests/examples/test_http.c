/* SPDX-License-Identifier: MIT */
/*
 * The requests that examples/http.c takes and those that it refuses, a line each with the rule that
 * asks for it; every one is fed whole, byte by byte, and in all ways of two pieces.
 */
#include <string.h>

#include "../../examples/http.h"
#include "tap.h"

#define H11  " HTTP/1.1\r\n"
#define HOST "Host: a\r\n"
#define END  HOST "\r\n"
#define GET  "GET / HTTP/1.1\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
#define TE   "Transfer-Encoding: chunked\r\n"

struct head {
	const char *why, *text;
	int want; /* 200: taken, all of it; 0: more is wanted; else the status */
};

static const struct head heads[] = {
	{ "the least", GET END, 200 },
	{ "nothing", "", 0 },
	{ "not whole", GET "Host: a\r\n", 0 },
	{ "not whole by one byte", GET "Host: a\r\n\r", 0 },
	{ "HTTP/1.0 needs no host", "GET / HTTP/1.0\r\n\r\n", 200 },
	{ "a later 1.x is read as 1.1", "GET / HTTP/1.7\r\n" END, 200 },
	{ "one empty line before it", "\r\n" GET END, 200 },
	{ "two empty lines before it", "\r\n\r\n" GET END, 400 },
	{ "an empty host", GET "Host:\r\n\r\n", 200 },
	{ "a host with a port", GET "Host: a.b:80\r\n\r\n", 200 },
	{ "an IPv6 host", GET "Host: [::1]:80\r\n\r\n", 200 },
	{ "blanks around a value", GET "Host: \t a \t\r\n\r\n", 200 },
	{ "no blank before a value", GET "Host:a\r\n\r\n", 200 },
	{ "an empty value", GET HOST "X:\r\n\r\n", 200 },
	{ "bytes above 127 in a value", GET HOST "X: \xc3\xa4\xff\r\n\r\n", 200 },
	{ "names are of any case", GET "hOsT: a\r\nCONTENT-length: 0\r\n\r\n", 200 },
	{ "another method is a method", "POST /" H11 END, 200 },
	{ "CONNECT", "CONNECT a:80" H11 END, 200 },
	{ "an unknown method", "BREW /" H11 END, 200 },
	{ "OPTIONS *", "OPTIONS *" H11 END, 200 },
	{ "absolute-form", "GET http://b/c?d" H11 END, 200 },
	{ "absolute-form, no path", "GET HTTP://b" H11 END, 200 },
	{ "absolute-form, a query alone", "GET http://b?x" H11 END, 200 },

	{ "no version (HTTP/0.9)", "GET /\r\n\r\n", 400 },
	{ "HTTP/2.0", "GET / HTTP/2.0\r\n" END, 505 },
	{ "HTTP/0.9", "GET / HTTP/0.9\r\n" END, 505 },
	{ "HTTP/1.10", "GET / HTTP/1.10\r\n" END, 400 },
	{ "HTTP/1.", "GET / HTTP/1.\r\n" END, 400 },
	{ "http/1.1", "GET / http/1.1\r\n" END, 400 },
	{ "HTTP/1,1", "GET / HTTP/1,1\r\n" END, 400 },
	{ "two blanks", "GET  /" H11 END, 400 },
	{ "two blanks before the version", "GET /  HTTP/1.1\r\n" END, 400 },
	{ "a tab for a blank", "GET\t/" H11 END, 400 },
	{ "a blank before the method", " GET /" H11 END, 400 },
	{ "a blank after the version", "GET / HTTP/1.1 \r\n" END, 400 },
	{ "a blank in the target", "GET /a b" H11 END, 400 },
	{ "no target", "GET " H11 END, 400 },
	{ "a method that is no token", "G(T /" H11 END, 400 },
	{ "a fragment", "GET /a#b" H11 END, 400 },
	{ "a byte above 127 in the target", "GET /\xc3\xa4" H11 END, 400 },
	{ "a control character in the target", "GET /\x01" H11 END, 400 },
	{ "* of GET", "GET *" H11 END, 400 },
	{ "a relative target", "GET a" H11 END, 400 },
	{ "another scheme", "GET ftp://b/" H11 END, 400 },
	{ "absolute-form without a host", "GET http:///" H11 END, 400 },
	{ "absolute-form with a user", "GET http://u@b/" H11 END, 400 },

	{ "no host", GET "\r\n", 400 },
	{ "no host beside absolute-form", "GET http://b/" H11 "\r\n", 400 },
	{ "two hosts", GET HOST HOST "\r\n", 400 },
	{ "two hosts in HTTP/1.0", "GET / HTTP/1.0\r\n" HOST HOST "\r\n", 400 },
	{ "a list of hosts", GET "Host: a, b\r\n\r\n", 400 },
	{ "a host with a user", GET "Host: u@a\r\n\r\n", 400 },
	{ "a host with a path", GET "Host: a/b\r\n\r\n", 400 },

	{ "a bare LF after the request line", "GET / HTTP/1.1\n" END, 400 },
	{ "a bare LF after a field", GET "Host: a\n\r\n", 400 },
	{ "a bare LF at the end", GET HOST "\n", 400 },
	{ "a bare CR in a value", GET HOST "X: a\rb\r\n\r\n", 400 },
	{ "a bare CR in the request line", "GET /\r HTTP/1.1\r\n" END, 400 },
	{ "CR CR LF", GET HOST "X: a\r\r\n\r\n", 400 },
	{ "a folded line", GET HOST "X: a\r\n b\r\n\r\n", 400 },
	{ "a folded line, by a tab", GET HOST "X: a\r\n\tb\r\n\r\n", 400 },
	{ "a blank before the first field", GET " Host: a\r\n\r\n", 400 },
	{ "a blank before the colon", GET HOST "X : a\r\n\r\n", 400 },
	{ "a tab before the colon", GET HOST "Content-Length\t: 0\r\n\r\n", 400 },
	{ "no colon", GET HOST "X\r\n\r\n", 400 },
	{ "no name", GET HOST ": a\r\n\r\n", 400 },
	{ "a name that is no token", GET HOST "X(: a\r\n\r\n", 400 },
	{ "DEL in a value", GET HOST "X: \x7f\r\n\r\n", 400 },

	{ "a length", POST "Content-Length: 5\r\n\r\n", 200 },
	{ "two lengths", POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400 },
	{ "two lengths that agree", POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400 },
	{ "a list of lengths", POST "Content-Length: 5, 5\r\n\r\n", 400 },
	{ "a length with a sign", POST "Content-Length: +5\r\n\r\n", 400 },
	{ "a length below nothing", POST "Content-Length: -1\r\n\r\n", 400 },
	{ "a length in hex", POST "Content-Length: 0x5\r\n\r\n", 400 },
	{ "a length with a blank", POST "Content-Length: 5 5\r\n\r\n", 400 },
	{ "an empty length", POST "Content-Length:\r\n\r\n", 400 },
	{ "a length beyond 64 bits", POST "Content-Length: 18446744073709551617\r\n\r\n", 400 },
	{ "chunked", POST TE "\r\n", 200 },
	{ "Chunked", POST "Transfer-Encoding: Chunked\r\n\r\n", 200 },
	{ "both", POST TE "Content-Length: 5\r\n\r\n", 400 },
	{ "both, the other way round", POST "Content-Length: 5\r\n" TE "\r\n", 400 },
	{ "chunked twice", POST TE TE "\r\n", 400 },
	{ "chunked twice in a line", POST "Transfer-Encoding: chunked, chunked\r\n\r\n", 501 },
	{ "another coding", POST "Transfer-Encoding: gzip\r\n\r\n", 501 },
	{ "another coding before it", POST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501 },
	{ "an empty coding", POST "Transfer-Encoding:\r\n\r\n", 501 },
	{ "a coding in disguise", POST "Transfer-Encoding: xchunked\r\n\r\n", 501 },
	{ "a coding behind VT",
	  POST "Transfer-Encoding: \x0b"
	       "chunked\r\n\r\n",
	  400 },
	{ "chunked in HTTP/1.0", "POST / HTTP/1.0\r\n" TE "\r\n", 400 },
};

struct fields {
	const char *text, *target, *host;
	enum http_method method;
	bool keep_alive, expects, expects_other;
};

static const struct fields fields[] = {
	{ GET END, "/", "a", HTTP_GET, true, false, false },
	{ "HEAD /x?y HTTP/1.0\r\n\r\n", "/x?y", "", HTTP_HEAD, false, false, false },
	{ "get / HTTP/1.0\r\n\r\n", "/", "", HTTP_UNKNOWN, false, false, false },
	{ "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "/", "", HTTP_GET, true, false,
	  false },
	{ GET HOST "Connection: close\r\n\r\n", "/", "a", HTTP_GET, false, false, false },
	{ GET HOST "Connection: x ,\tClose, keep-alive\r\n\r\n", "/", "a", HTTP_GET, false, false,
	  false },
	{ GET HOST "Connection: closed\r\n\r\n", "/", "a", HTTP_GET, true, false, false },
	{ GET HOST "Connection: keep-alive\r\nConnection: close\r\n\r\n", "/", "a", HTTP_GET, false,
	  false, false },
	{ "OPTIONS * HTTP/1.1\r\n" END, "*", "a", HTTP_OPTIONS, true, false, false },
	{ "GET http://b:8/c?d HTTP/1.1\r\n" END, "/c?d", "b:8", HTTP_GET, true, false, false },
	{ "GET http://b HTTP/1.1\r\n" END, "", "b", HTTP_GET, true, false, false },
	{ "PUT /p HTTP/1.1\r\n" HOST "Expect: 100-Continue\r\n\r\n", "/p", "a", HTTP_OTHER, true,
	  true, false },
	{ "PUT /p HTTP/1.1\r\n" HOST "Expect: tea\r\n\r\n", "/p", "a", HTTP_OTHER, true, true,
	  true },
};

struct body {
	const char *why, *text, *data;
	int want; /* 200: whole, with as many bytes behind it as `left`; 0; or the status */
	unsigned left;
};

static const struct body bodies[] = {
	{ "two chunks", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde", 200, 0 },
	{ "what follows is left alone", "1\r\na\r\n0\r\n\r\nGET", "a", 200, 3 },
	{ "none", "0\r\n\r\n", "", 200, 0 },
	{ "zeroes before the size", "0003\r\nabc\r\n000\r\n\r\n", "abc", 200, 0 },
	{ "hex of both cases", "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
	  "01234567890123456789", 200, 0 },
	{ "an extension", "1;a=b;c=\"d\"\r\nx\r\n0;e\r\n\r\n", "x", 200, 0 },
	{ "trailers", "1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\n", "x", 200, 0 },
	{ "data that looks like frames", "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", "\r\n0\r\n\r\n", 200,
	  0 },
	{ "not whole", "3\r\nab", "ab", 0, 0 },
	{ "not whole by one byte", "0\r\n\r", "", 0, 0 },
	{ "no size", "\r\n\r\n", "", 400, 0 },
	{ "no digit", "x\r\n", "", 400, 0 },
	{ "0x", "0x3\r\nabc\r\n", "", 400, 0 },
	{ "a sign", "+3\r\nabc\r\n", "", 400, 0 },
	{ "a blank before the size", " 3\r\nabc\r\n", "", 400, 0 },
	{ "a blank after the size", "3 \r\nabc\r\n", "", 400, 0 },
	{ "a bare LF after the size", "3\nabc\r\n", "", 400, 0 },
	{ "a bare CR after the size", "3\rabc\r\n", "", 400, 0 },
	{ "a bare LF in an extension", "3;a\nabc\r\n", "", 400, 0 },
	{ "a bare LF after the data", "3\r\nabc\n0\r\n\r\n", "abc", 400, 0 },
	{ "other bytes after the data", "3\r\nabcde0\r\n\r\n", "abc", 400, 0 },
	{ "another byte for its LF", "3\r\nabc\re0\r\n\r\n", "abc", 400, 0 },
	{ "more data than was said", "3\r\nabcd\r\n0\r\n\r\n", "abc", 400, 0 },
	{ "less data than was said", "3\r\nab\r\n0\r\n\r\n", "ab\r", 400, 0 },
	{ "larger than 64 bits", "10000000000000001\r\na", "", 413, 0 },
	{ "larger than the limit", "100001\r\na", "", 413, 0 },
	{ "a bare LF at the end", "0\r\n\n", "", 400, 0 },
	{ "a folded trailer", "0\r\nA: b\r\n c\r\n\r\n", "", 400, 0 },
	{ "a trailer without a colon", "0\r\nA\r\n\r\n", "", 400, 0 },
	{ "a trailer without a name", "0\r\n: a\r\n\r\n", "", 400, 0 },
};

struct path {
	const char *target, *path; /* NULL: 400 */
};

static const struct path paths[] = {
	{ "/", "" },
	{ "", "" },
	{ "/?a=b", "" },
	{ "/a", "a" },
	{ "/a/", "a/" },
	{ "/a/b?c/../d", "a/b" },
	{ "//a///b", "a/b" },
	{ "/./a/.", "a/" },
	{ "/a/../b", "b" },
	{ "/a/b/..", "a/" },
	{ "/a/b/../..", "" },
	{ "/a/..", "" },
	{ "/a..", "a.." },
	{ "/..a", "..a" },
	{ "/...", "..." },
	{ "/%41%7e", "A~" },
	{ "/a%20b", "a b" },
	{ "/%c3%A4", "\xc3\xa4" },
	{ "/a/%2e%2E/b", "b" },
	{ "/%3f", "?" },
	{ "/%25%32%66", "%2f" },
	{ "/..", NULL },
	{ "/../a", NULL },
	{ "/a/../../b", NULL },
	{ "/%2e%2e/a", NULL },
	{ "/.%2e", NULL },
	{ "/a/..//..", NULL },
	{ "/a%2fb", NULL },
	{ "/a%00", NULL },
	{ "/a%0a", NULL },
	{ "/a%7f", NULL },
	{ "/%", NULL },
	{ "/%4", NULL },
	{ "/%4g", NULL },
	{ "/%%41", NULL },
};

/* The first verdict when the text comes so: first bytes at once, then `step` by `step`. */
static int feed(struct http_request *r, const char *text, size_t sz, size_t first, size_t step)
{
	size_t have = first < sz ? first : sz;
	int n;

	memset(r, 0, sizeof(*r));
	while (!(n = http_parse(r, text, have)) && have < sz)
		have = have + step < sz ? have + step : sz;
	return n;
}

static int all_ways(struct http_request *r, const char *text, size_t sz)
{
	int whole = feed(r, text, sz, sz, 1);
	struct http_request other;
	size_t cut;

	for (cut = 0; cut <= sz; cut++)
		if (feed(&other, text, sz, cut, cut ? sz : 1) != whole)
			return -1;
	return whole;
}

static int verdict(int n, size_t sz)
{
	return n > 0 ? ((size_t)n == sz ? 200 : -2) : -n;
}

static void test_heads(void)
{
	struct http_request r;
	unsigned i;
	int got;

	for (i = 0; i < sizeof(heads) / sizeof(*heads); i++) {
		got = verdict(all_ways(&r, heads[i].text, strlen(heads[i].text)),
			      strlen(heads[i].text));
		if (!tap_ok(got == heads[i].want, "%s: %d", heads[i].why, heads[i].want))
			tap_note("got %d", got);
	}
}

static bool spells(const char *text, struct http_span s, const char *want)
{
	return s.sz == strlen(want) && !memcmp(text + s.at, want, s.sz);
}

static void test_fields(void)
{
	const struct fields *f;
	struct http_request r;

	for (f = fields; f < fields + sizeof(fields) / sizeof(*fields); f++) {
		feed(&r, f->text, strlen(f->text), 0, 1);
		tap_ok(r.method == f->method && r.keep_alive == f->keep_alive &&
			       r.expects == f->expects && r.expects_other == f->expects_other &&
			       spells(f->text, r.target, f->target) &&
			       spells(f->text, r.host, f->host),
		       "what is read of request %u", (unsigned)(f - fields) + 1);
	}
}

/* The data go to `data`; bytes not taken to *ret_left. */
static int feed_body(const char *text, size_t sz, size_t step, char *data, unsigned *ret_left)
{
	struct http_request r = { .chunked = true };
	struct http_body b;
	size_t at = 0, have, n;
	int took = http_body_init(&b, &r);

	*data = 0;
	for (have = step; took >= 0 && !b.done && at < sz; have += step) {
		have = have < sz ? have : sz;
		while (at < have && !b.done &&
		       (took = http_body(&b, text + at, have - at, &n)) > 0) {
			at += (size_t)took;
			strncat(data, text + at - n, n);
		}
	}
	*ret_left = (unsigned)(sz - at);
	return took < 0 ? -took : b.done ? 200 : 0;
}

static void test_bodies(void)
{
	const struct body *b;
	char data[256];
	unsigned left;
	size_t sz, step;
	bool good;

	for (b = bodies; b < bodies + sizeof(bodies) / sizeof(*bodies); b++) {
		sz = strlen(b->text);
		for (step = 1, good = true; step <= sz; step++)
			good = good && feed_body(b->text, sz, step, data, &left) == b->want &&
			       !strcmp(data, b->data) && (b->want != 200 || left == b->left);
		tap_ok(good, "body: %s: %d", b->why, b->want);
	}
}

static void test_paths(void)
{
	const struct path *p;
	char path[64];
	int got;

	for (p = paths; p < paths + sizeof(paths) / sizeof(*paths); p++) {
		got = http_path(p->target, strlen(p->target), path, sizeof(path));
		tap_ok(p->path ? !got && !strcmp(path, p->path) : got == -400, "path of \"%s\"",
		       p->target);
	}
	tap_ok(!http_path("/12345", 6, path, 7) && http_path("/12345", 6, path, 5) == -414,
	       "a path longer than there is room");
}

static char text[4 * HTTP_HEAD_MAX];

/* `before`, then so many bytes, then `after`. */
static int filled(const char *before, char with, size_t nr, const char *after)
{
	struct http_request r;
	size_t sz = strlen(before);

	memcpy(text, before, sz);
	memset(text + sz, with, nr);
	strcpy(text + sz + nr, after);
	sz += nr + strlen(after);
	if (feed(&r, text, sz, 0, 1) != feed(&r, text, sz, sz, 1))
		return -1;
	return verdict(feed(&r, text, sz, 0, 1), sz);
}

static void test_limits(void)
{
	size_t rest = strlen("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	size_t field = rest + strlen("X: \r\n");
	struct http_request r;
	size_t sz = 0;
	unsigned i;

	tap_ok(filled("GET /", 'a', HTTP_HEAD_MAX - rest, H11 END) == 200, "the longest target");
	tap_ok(filled("GET /", 'a', HTTP_HEAD_MAX - rest + 1, H11 END) == 431,
	       "a target that leaves no room for the host");
	tap_ok(filled("GET /", 'a', HTTP_HEAD_MAX, H11 END) == 414, "a target that is too long");
	tap_ok(filled("", 'a', HTTP_HEAD_MAX, "") == 414, "a line that does not end");
	tap_ok(filled(GET HOST "X: ", 'a', HTTP_HEAD_MAX - field, "\r\n\r\n") == 200,
	       "the longest field");
	tap_ok(filled(GET HOST "X: ", 'a', HTTP_HEAD_MAX - field + 1, "\r\n\r\n") == 431,
	       "a field that is too long");
	for (i = 0; i < 2; i++) {
		strcpy(text, GET HOST);
		for (sz = 1; sz < HTTP_FIELDS_MAX + i; sz++)
			strcat(text, "X: a\r\n");
		strcat(text, "\r\n");
		sz = strlen(text);
		tap_ok(verdict(feed(&r, text, sz, 0, 1), sz) == (i ? 431 : 200), "%u fields",
		       HTTP_FIELDS_MAX + i);
	}
	memcpy(text, "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 29);
	tap_ok(feed(&r, text, 29, 0, 1) == -400, "a NUL in the target");
	memcpy(text, "GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", 29);
	tap_ok(feed(&r, text, 29, 0, 1) == -400, "a NUL in a value");
}

static void test_lengths(void)
{
	struct http_request r = { .has_length = true, .length = 5 };
	struct http_body b;
	size_t n, sum;

	tap_ok(!http_body_init(&b, &r) && http_body(&b, "abc", 3, &n) == 3 && n == 3 && !b.done &&
		       http_body(&b, "deGET", 5, &n) == 2 && n == 2 && b.done,
	       "a body with a length");
	r.length = HTTP_BODY_MAX;
	tap_ok(!http_body_init(&b, &r), "the largest body");
	r.length++;
	tap_ok(http_body_init(&b, &r) == -413, "a larger one");
	r.chunked = true;
	http_body_init(&b, &r);
	for (sum = 0; sum < HTTP_BODY_MAX; sum += 4096)
		if (http_body(&b, "1000\r\n", 6, &n) != 6 ||
		    http_body(&b, text, 4096, &n) != 4096 || http_body(&b, "\r\n", 2, &n) != 2)
			break;
	tap_ok(sum == HTTP_BODY_MAX && http_body(&b, "1\r\n", 3, &n) == -413,
	       "chunks that are too much together");
	memset(text, 'a', sizeof(text));
	text[0] = '1';
	text[1] = ';';
	http_body_init(&b, &r);
	tap_ok(http_body(&b, text, sizeof(text), &n) == -400, "a chunk's line without end");
	memcpy(text, "0\r\n", 3);
	http_body_init(&b, &r);
	tap_ok(http_body(&b, text, sizeof(text), &n) == -431, "trailers without end");
}

int main(void)
{
	tap_plan(sizeof(heads) / sizeof(*heads) + sizeof(fields) / sizeof(*fields) +
		 sizeof(bodies) / sizeof(*bodies) + sizeof(paths) / sizeof(*paths) + 1 + 10 + 6);
	test_heads();
	test_fields();
	test_bodies();
	test_paths();
	test_limits();
	test_lengths();
	return tap_done();
}
