/* SPDX-License-Identifier: MIT */
/*
 * Requests: see http.h.  A head is read line by line, each as soon as it is whole; a body is a machine
 * of a state a byte.
 */
#include "http.h"

#include <string.h>
#include <strings.h>

enum char_class {
	TOKEN = 1,  /* of names: RFC 9110, 5.6.2 */
	VALUE = 2,  /* of field values: all but control characters */
	TARGET = 4, /* of targets: what is printed, but # */
	HOST = 8,   /* of a host with its port */
};

#define T TOKEN
#define V VALUE
#define P TARGET
#define H HOST

/* clang-format off */
static const unsigned char classes[256] = {
	['0' ... '9'] = T | V | P | H, ['A' ... 'Z'] = T | V | P | H, ['a' ... 'z'] = T | V | P | H,
	['\t'] = V, [' '] = V, ['!'] = T | V | P | H, ['"'] = V | P, ['#'] = T | V,
	['$'] = T | V | P | H, ['%'] = T | V | P | H, ['&'] = T | V | P | H, ['\''] = T | V | P | H,
	['('] = V | P | H, [')'] = V | P | H, ['*'] = T | V | P | H, ['+'] = T | V | P | H,
	[','] = V | P, ['-'] = T | V | P | H, ['.'] = T | V | P | H, ['/'] = V | P,
	[':'] = V | P | H, [';'] = V | P | H, ['<'] = V | P, ['='] = V | P | H, ['>'] = V | P,
	['?'] = V | P, ['@'] = V | P, ['['] = V | P | H, ['\\'] = V | P, [']'] = V | P | H,
	['^'] = T | V | P, ['_'] = T | V | P | H, ['`'] = T | V | P, ['{'] = V | P,
	['|'] = T | V | P, ['}'] = V | P, ['~'] = T | V | P | H, [128 ... 255] = V,
};
/* clang-format on */

#undef T
#undef V
#undef P
#undef H

static bool is(char c, enum char_class class)
{
	return classes[(unsigned char)c] & class;
}

static bool all(const char *s, size_t sz, enum char_class class)
{
	size_t i;

	for (i = 0; i < sz; i++)
		if (!is(s[i], class))
			return false;
	return true;
}

static bool same(const char *s, size_t sz, const char *word)
{
	return sz == strlen(word) && !strncasecmp(s, word, sz);
}

static struct http_span span(const char *buf, const char *at, size_t sz)
{
	return (struct http_span){ (uint16_t)(at - buf), (uint16_t)sz };
}

/* ---- the request line ---- */

static enum http_method method(const char *s, size_t sz)
{
	static const char *const other[] = { "POST", "PUT", "DELETE", "PATCH", "CONNECT", "TRACE" };
	unsigned i;

	/* Methods tell capitals from others. */
	if (sz == 3 && !memcmp(s, "GET", 3))
		return HTTP_GET;
	if (sz == 4 && !memcmp(s, "HEAD", 4))
		return HTTP_HEAD;
	if (sz == 7 && !memcmp(s, "OPTIONS", 7))
		return HTTP_OPTIONS;
	for (i = 0; i < sizeof(other) / sizeof(*other); i++)
		if (sz == strlen(other[i]) && !memcmp(s, other[i], sz))
			return HTTP_OTHER;
	return HTTP_UNKNOWN;
}

/* "/path", "http://host/path", or "*"; what CONNECT and unknown ones have is looked at by nobody. */
static int target(struct http_request *r, const char *buf, const char *s, size_t sz)
{
	const char *end = s + sz, *at = s + 7;

	if (!sz || !all(s, sz, TARGET))
		return -400;
	r->target = span(buf, s, sz);
	if (*s == '/' || r->method == HTTP_OTHER || r->method == HTTP_UNKNOWN)
		return 0;
	if (same(s, sz, "*"))
		return r->method == HTTP_OPTIONS ? 0 : -400;
	if (sz < 8 || strncasecmp(s, "http://", 7))
		return -400;
	while (at < end && is(*at, HOST))
		at++;
	if (at == s + 7 || (at < end && *at != '/' && *at != '?'))
		return -400;
	r->absolute = true;
	r->host = span(buf, s + 7, (size_t)(at - s - 7));
	r->target = span(buf, at, (size_t)(end - at));
	return 0;
}

static int version(struct http_request *r, const char *s, size_t sz)
{
	if (sz != 8 || memcmp(s, "HTTP/", 5) || s[6] != '.' || s[5] < '0' || s[5] > '9' ||
	    s[7] < '0' || s[7] > '9')
		return -400;
	r->old = s[7] == '0';
	return s[5] == '1' ? 0 : -505;
}

static int request_line(struct http_request *r, const char *buf, const char *s, size_t sz)
{
	const char *first = memchr(s, ' ', sz), *last = memrchr(s, ' ', sz);
	int error;

	/* One empty line before it is some old client's habit (RFC 9112, 2.2). */
	if (!sz)
		return r->nr_empty++ ? -400 : 0;
	if (!first || first == s || first == last || !all(s, (size_t)(first - s), TOKEN))
		return -400;
	r->has_line = true;
	r->method = method(s, (size_t)(first - s));
	error = version(r, last + 1, (size_t)(s + sz - last - 1));
	return error ? error : target(r, buf, first + 1, (size_t)(last - first - 1));
}

/* ---- header fields ---- */

static int content_length(struct http_request *r, const char *s, size_t sz)
{
	size_t i;

	/* A second one is refused though it says the same, and so is a list. */
	if (r->has_length || !sz || sz > 18)
		return -400;
	for (i = 0; i < sz; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -400;
		r->length = r->length * 10 + (uint64_t)(s[i] - '0');
	}
	r->has_length = true;
	return 0;
}

static int transfer_encoding(struct http_request *r, const char *s, size_t sz)
{
	if (r->has_coding)
		return -400;
	r->has_coding = true;
	r->chunked = same(s, sz, "chunked");
	return r->chunked ? 0 : -501;
}

static int host(struct http_request *r, const char *buf, const char *s, size_t sz)
{
	if (r->has_host || !all(s, sz, HOST))
		return -400;
	r->has_host = true;
	if (!r->absolute) /* which has said it already, and counts */
		r->host = span(buf, s, sz);
	return 0;
}

static int connection(struct http_request *r, const char *s, size_t sz)
{
	const char *end = s + sz, *comma, *stop;

	for (; s < end; s = comma + 1) {
		comma = memchr(s, ',', (size_t)(end - s));
		comma = comma ? comma : end;
		for (stop = comma; s < stop && (*s == ' ' || *s == '\t'); s++)
			;
		while (stop > s && (stop[-1] == ' ' || stop[-1] == '\t'))
			stop--;
		r->says_close |= same(s, (size_t)(stop - s), "close");
		r->says_keep |= same(s, (size_t)(stop - s), "keep-alive");
	}
	return 0;
}

static int expect(struct http_request *r, const char *s, size_t sz)
{
	r->expects = true;
	r->expects_other |= !same(s, sz, "100-continue");
	return 0;
}

static int known_field(struct http_request *r, const char *buf, const char *s, size_t name_sz,
		       const char *value, size_t sz)
{
	/* Most fields are told apart by how long their names are. */
	switch (name_sz) {
	case 4:
		return same(s, name_sz, "host") ? host(r, buf, value, sz) : 0;
	case 6:
		return same(s, name_sz, "expect") ? expect(r, value, sz) : 0;
	case 10:
		return same(s, name_sz, "connection") ? connection(r, value, sz) : 0;
	case 13:
		if (same(s, name_sz, "if-none-match"))
			r->if_none_match = span(buf, value, sz);
		return 0;
	case 14:
		return same(s, name_sz, "content-length") ? content_length(r, value, sz) : 0;
	case 17:
		if (same(s, name_sz, "if-modified-since"))
			r->if_modified_since = span(buf, value, sz);
		return same(s, name_sz, "transfer-encoding") ? transfer_encoding(r, value, sz) : 0;
	default:
		return 0;
	}
}

/* A line that begins with a blank (a folded one) and a blank before the colon have no name. */
static int field(struct http_request *r, const char *buf, const char *s, size_t sz)
{
	const char *colon = memchr(s, ':', sz), *value, *end = s + sz;

	if (!colon || colon == s || !all(s, (size_t)(colon - s), TOKEN))
		return -400;
	if (r->nr_fields++ == HTTP_FIELDS_MAX)
		return -431;
	for (value = colon + 1; value < end && (*value == ' ' || *value == '\t'); value++)
		;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	if (!all(value, (size_t)(end - value), VALUE))
		return -400;
	return known_field(r, buf, s, (size_t)(colon - s), value, (size_t)(end - value));
}

/* What no line by itself can tell. */
static int whole(struct http_request *r)
{
	if (!r->old && !r->has_host)
		return -400;
	if (r->has_coding && (r->has_length || r->old))
		return -400;
	r->keep_alive = !r->says_close && (!r->old || r->says_keep);
	return 0;
}

int http_parse(struct http_request *r, const char *buf, size_t sz)
{
	size_t have = sz < HTTP_HEAD_MAX ? sz : HTTP_HEAD_MAX, line;
	const char *lf;
	int error;

	while ((lf = memchr(buf + r->seen, '\n', have - r->seen))) {
		line = (size_t)(lf - buf) - r->line;
		if (!line-- || lf[-1] != '\r')
			return -400;
		if (r->has_line && !line) {
			error = whole(r);
			return error ? error : (int)(lf + 1 - buf);
		}
		error = r->has_line ? field(r, buf, buf + r->line, line)
				    : request_line(r, buf, buf + r->line, line);
		if (error)
			return error;
		r->line = r->seen = (uint16_t)(lf + 1 - buf);
	}
	r->seen = (uint16_t)have;
	return have < HTTP_HEAD_MAX ? 0 : r->has_line ? -431 : -414;
}

/* ---- the body ---- */

enum body_state {
	SIZE_FIRST,
	SIZE,
	EXTENSION,
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILER_FIRST, /* of a line */
	TRAILER_NAME,
	TRAILER_VALUE,
	TRAILER_LF,
	LAST_LF,
	PLAIN,
};

int http_body_init(struct http_body *b, const struct http_request *r)
{
	*b = (struct http_body){ .state = r->chunked ? SIZE_FIRST : PLAIN };
	b->left = r->chunked ? 0 : r->length;
	b->done = !r->chunked && !r->length;
	return b->left > HTTP_BODY_MAX ? -413 : 0;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* A byte of the line with the size. */
static int size_byte(struct http_body *b, char c)
{
	if (++b->line > HTTP_LINE_MAX)
		return -400;
	if (b->state == SIZE_LF) {
		if (c != '\n')
			return -400;
		b->state = b->left ? DATA : TRAILER_FIRST;
		b->total += b->left;
		b->line = 0;
	} else if (b->state != EXTENSION && hex(c) >= 0) {
		b->left = b->left * 16 + (uint64_t)hex(c);
		b->state = SIZE;
		return b->total + b->left > HTTP_BODY_MAX ? -413 : 0;
	} else if (b->state != SIZE_FIRST && c == '\r') {
		b->state = SIZE_LF;
	} else if (b->state == SIZE && c == ';') {
		b->state = EXTENSION;
	} else {
		return b->state == EXTENSION && is(c, VALUE) ? 0 : -400;
	}
	return 0;
}

static int trailer_byte(struct http_body *b, char c)
{
	if (++b->line > HTTP_HEAD_MAX)
		return -431;
	if (b->state == TRAILER_LF || b->state == LAST_LF) {
		if (c != '\n')
			return -400;
		b->done = b->state == LAST_LF;
		b->state = TRAILER_FIRST;
	} else if (b->state == TRAILER_VALUE) {
		if (c == '\r')
			b->state = TRAILER_LF;
		else if (!is(c, VALUE))
			return -400;
	} else if (b->state == TRAILER_FIRST && c == '\r') {
		b->state = LAST_LF;
	} else if (b->state == TRAILER_NAME && c == ':') {
		b->state = TRAILER_VALUE;
	} else {
		b->state = TRAILER_NAME;
		return is(c, TOKEN) ? 0 : -400;
	}
	return 0;
}

static int frame_byte(struct http_body *b, char c)
{
	if (b->state <= SIZE_LF)
		return size_byte(b, c);
	if (b->state >= TRAILER_FIRST)
		return trailer_byte(b, c);
	if (c != (b->state == DATA_CR ? '\r' : '\n'))
		return -400;
	b->state = b->state == DATA_CR ? DATA_LF : SIZE_FIRST;
	return 0;
}

int http_body(struct http_body *b, const char *buf, size_t sz, size_t *ret_data)
{
	size_t i = 0, n;
	int error;

	*ret_data = 0;
	for (; i < sz && !b->done && b->state != DATA && b->state != PLAIN; i++) {
		error = frame_byte(b, buf[i]);
		if (error)
			return error;
	}
	if (b->done || i == sz)
		return (int)i;
	n = sz - i < b->left ? sz - i : (size_t)b->left;
	b->left -= n;
	if (!b->left && b->state == DATA)
		b->state = DATA_CR;
	else if (!b->left)
		b->done = true;
	*ret_data = n;
	return (int)(i + n);
}

/* ---- paths ---- */

/* The next byte of a target's path, decoded; 0 at its end, or minus the status. */
static int decode(const char **s, const char *end)
{
	int high, low, c;

	if (*s == end || **s == '?')
		return 0;
	c = (unsigned char)*(*s)++;
	if (c != '%')
		return c;
	if (end - *s < 2)
		return -400;
	high = hex((*s)[0]);
	low = hex((*s)[1]);
	*s += 2;
	c = high * 16 + low;
	return high < 0 || low < 0 || c < 32 || c == 127 || c == '/' ? -400 : c;
}

/* A segment has ended, and begins at `from`: where the next one goes, or -400 out of the root. */
static long end_segment(const char *path, size_t from, size_t n)
{
	size_t sz = n - from;

	if (!sz || (sz == 1 && path[from] == '.'))
		return (long)from;
	if (sz != 2 || memcmp(path + from, "..", 2))
		return -1;
	if (!from)
		return -400;
	for (from--; from && path[from - 1] != '/'; from--)
		;
	return (long)from;
}

int http_path(const char *target, size_t target_sz, char *ret_path, size_t sz)
{
	const char *end = target + target_sz;
	size_t n = 0, from = 0;
	long to;
	int c;

	do {
		c = decode(&target, end);
		if (c < 0)
			return c;
		if (n + 2 > sz)
			return -414;
		if (c && c != '/') {
			ret_path[n++] = (char)c;
			continue;
		}
		to = end_segment(ret_path, from, n);
		if (to == -400)
			return -400;
		if (to >= 0)
			n = (size_t)to;
		else if (c)
			ret_path[n++] = '/';
		from = n;
	} while (c);
	ret_path[n] = 0;
	return 0;
}

const char *http_reason(int status)
{
	static const struct {
		int status;
		const char *reason;
	} all_of[] = {
		{ 200, "OK" },
		{ 301, "Moved Permanently" },
		{ 304, "Not Modified" },
		{ 400, "Bad Request" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 408, "Request Timeout" },
		{ 413, "Content Too Large" },
		{ 414, "URI Too Long" },
		{ 417, "Expectation Failed" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 501, "Not Implemented" },
		{ 503, "Service Unavailable" },
		{ 505, "HTTP Version Not Supported" },
	};
	unsigned i;

	for (i = 0; i < sizeof(all_of) / sizeof(*all_of); i++)
		if (all_of[i].status == status)
			return all_of[i].reason;
	return "Unknown";
}
