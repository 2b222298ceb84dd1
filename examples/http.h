/* SPDX-License-Identifier: MIT */
/*
 * HTTP/1.1 requests (RFC 9110, 9112), taken apart strictly: what two parsers might read in two ways
 * is refused, since that is how requests are smuggled.  Pure functions on the caller's bytes: no I/O,
 * no memory of their own, and the same answer however the bytes come in pieces.
 */
#ifndef HTTP_H
#define HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_HEAD_MAX	8192	   /* request line and header fields: 414, 431 */
#define HTTP_FIELDS_MAX 100	   /* 431 */
#define HTTP_BODY_MAX	(1u << 20) /* 413 */
#define HTTP_LINE_MAX	512	   /* a chunk's size with its extensions: 400 */

enum http_method {
	HTTP_UNKNOWN, /* 501 */
	HTTP_GET,
	HTTP_HEAD,
	HTTP_OPTIONS,
	HTTP_OTHER, /* one that everybody knows: 405 */
};

struct http_span {
	uint16_t at, sz; /* in the bytes of the head */
};

/* Zeroes before the first http_parse() of a request; the fields are valid once it is whole. */
struct http_request {
	enum http_method method;
	bool keep_alive, old; /* old: HTTP/1.0 */
	bool chunked, has_length, expects, expects_other;
	uint64_t length;	 /* of the body, if has_length */
	struct http_span target; /* its path and query; "*" of OPTIONS */
	struct http_span host;	 /* without a port too; empty: none */
	struct http_span if_none_match, if_modified_since;
	/* for http_parse(): */
	uint16_t line, seen; /* where the line begins, and how far there is no end of it */
	uint8_t nr_fields, nr_empty;
	bool has_line, has_host, has_coding, absolute, says_close, says_keep;
};

/* Looks at the first sz bytes of a request, all that has come so far; called again with more it goes on
 * where it was.  Bytes of the head, 0 when there must be more, or minus the status to refuse it with. */
int http_parse(struct http_request *r, const char *buf, size_t sz);

struct http_body {
	uint64_t left;	/* of the data, or of the chunk */
	uint64_t total; /* of all chunks so far */
	uint32_t line;	/* bytes of this line, of all trailers */
	int state;
	bool done;
};

/* 0, or minus the status to refuse it with: then nothing of it is to be read. */
int http_body_init(struct http_body *b, const struct http_request *r);

/* Takes bytes of the body: how many of the sz, or minus the status.  The data among them are the last
 * *ret_data ones.  Once b->done is set, what follows is another request. */
int http_body(struct http_body *b, const char *buf, size_t sz, size_t *ret_data);

/* The path of a target as a relative one, a string: decoded, no query, no empty, "." or ".." segments;
 * it ends with a slash, or is "", for a directory.  0, or minus the status: 400 bad escapes, a control
 * character or a slash in disguise, or out of the root; 414 more than sz. */
int http_path(const char *target, size_t target_sz, char *ret_path, size_t sz);

/* "Not Found" of 404 and so on. */
const char *http_reason(int status);

#endif
