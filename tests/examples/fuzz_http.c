/* SPDX-License-Identifier: MIT */
/*
 * A fuzz target for examples/http.c: any bytes, taken as requests one after the other, mean the same
 * whole, byte by byte and in pieces of any size; nothing beyond them is read; and what is taken is
 * what the grammar of RFC 9112 allows, as a regular expression of its own has it.
 *
 * With clang -fsanitize=fuzzer and -DFUZZ_ENTRY_ONLY it is driven by that.  By itself it makes its
 * inputs: `fuzz_http [SECONDS [SEED]]`.
 */
#include <regex.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../../examples/http.h"

#define INPUT_MAX 32768

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t sz);

#define CHECK(what)                                                                 \
	do {                                                                        \
		if (!(what)) {                                                      \
			fprintf(stderr, "fuzz_http:%d: not %s\n", __LINE__, #what); \
			abort();                                                    \
		}                                                                   \
	} while (0)

/* All that was understood, as one number, and where it ended. */
struct meaning {
	uint64_t hash;
	size_t at;
	int end; /* a status, or 0: more is wanted */
	unsigned nr;
};

static void add(struct meaning *m, const void *data, size_t sz)
{
	const unsigned char *p = data;

	while (sz--)
		m->hash = (m->hash ^ *p++) * 1099511628211u;
}

/* ---- what must hold of what was taken ---- */

static bool matches(const char *head, size_t sz)
{
	static regex_t re;
	static bool ready;
	static char copy[HTTP_HEAD_MAX + 1];

	if (!ready) {
		/* Bytes above 127 are letters of no locale: they are mapped to one below. */
		CHECK(!regcomp(&re,
			       "^(\r\n)?[-!#$%&'*+.^_`|~0-9A-Za-z]+ [!-~]+ HTTP/1\\.[0-9]\r\n"
			       "([-!#$%&'*+.^_`|~0-9A-Za-z]+:[ -~\t]*\r\n)*\r\n$",
			       REG_EXTENDED | REG_NOSUB));
		ready = true;
	}
	memcpy(copy, head, sz);
	copy[sz] = 0;
	for (char *p = copy; *p; p++)
		*p = (unsigned char)*p > 127 ? 'a' : *p;
	return strlen(copy) == sz && !regexec(&re, copy, 0, NULL, 0);
}

/* How many fields have that name. */
static unsigned count(const char *head, size_t sz, const char *name)
{
	size_t n = strlen(name), i;
	unsigned nr = 0;

	for (i = 1; i + n < sz; i++)
		nr += head[i - 1] == '\n' && head[i + n] == ':' && !strncasecmp(head + i, name, n);
	return nr;
}

static void check_path(const char *path)
{
	const char *s;

	CHECK(*path != '/' && !strstr(path, "//"));
	for (s = path; *s; s += strcspn(s, "/"), s += *s == '/') {
		CHECK(strcspn(s, "/") != 1 || *s != '.');
		CHECK(strcspn(s, "/") != 2 || memcmp(s, "..", 2));
	}
	for (s = path; *s; s++)
		CHECK((unsigned char)*s >= 32);
}

static void check_head(const struct http_request *r, const char *head, size_t sz)
{
	char path[512];

	CHECK(sz <= HTTP_HEAD_MAX);
	CHECK(matches(head, sz));
	CHECK(r->target.at + r->target.sz <= sz && r->host.at + r->host.sz <= sz);
	CHECK(count(head, sz, "host") + r->old >= 1 && count(head, sz, "host") <= 1);
	CHECK(count(head, sz, "content-length") + count(head, sz, "transfer-encoding") <= 1);
	CHECK(r->has_length == (count(head, sz, "content-length") == 1));
	CHECK(r->chunked == (count(head, sz, "transfer-encoding") == 1));
	if (!http_path(head + r->target.at, r->target.sz, path, sizeof(path)))
		check_path(path);
}

/* ---- one way of reading ---- */

/* A step on what is there from m->at to `have`; false when more is wanted, or nothing is any more. */
static bool step(struct meaning *m, struct http_request *r, struct http_body *b, bool *in_body,
		 const char *buf, size_t have)
{
	size_t data = 0;
	int n = *in_body ? http_body(b, buf + m->at, have - m->at, &data)
			 : http_parse(r, buf + m->at, have - m->at);

	CHECK(n <= (int)(have - m->at) && n > -600 && (n >= 0 || n <= -400));
	if (n <= 0) {
		m->end = -n;
		return false;
	}
	CHECK(data <= (size_t)n);
	CHECK(b->total <= HTTP_BODY_MAX);
	if (*in_body)
		add(m, buf + m->at + n - data, data);
	else
		check_head(r, buf + m->at, (size_t)n);
	m->at += (size_t)n;
	if (!*in_body) {
		add(m, r, offsetof(struct http_request, line));
		m->end = -http_body_init(b, r);
	}
	*in_body = !b->done;
	if (b->done) {
		m->nr++;
		memset(r, 0, sizeof(*r));
	}
	return !m->end;
}

/* In pieces whose sizes `seed` tells; 0: all at once, 1: byte by byte. */
static struct meaning read_all(const char *buf, size_t sz, uint64_t seed)
{
	struct meaning m = { .hash = 14695981039346656037u };
	struct http_request r;
	struct http_body b;
	size_t have = 0;
	bool in_body = false;

	memset(&r, 0, sizeof(r));
	memset(&b, 0, sizeof(b));
	while (have < sz && !m.end) {
		seed = seed > 1 ? seed * 6364136223846793005u + 1442695040888963407u : seed;
		have += !seed ? sz : seed == 1 ? 1 : 1 + (seed >> 33) % (sz / 4 + 2);
		have = have < sz ? have : sz;
		while (step(&m, &r, &b, &in_body, buf, have))
			;
	}
	return m;
}

/* Where the page behind the bytes is closed. */
static char *last_bytes(size_t sz)
{
	static char *end;

	if (!end) {
		end = mmap(NULL, INPUT_MAX + 4096, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(end != MAP_FAILED);
		end += INPUT_MAX;
		CHECK(!mprotect(end, 4096, PROT_NONE));
	}
	return end - sz;
}

static struct meaning read_ways(const char *data, size_t sz)
{
	struct meaning whole, other;
	uint64_t seed;
	char *buf = last_bytes(sz);

	memcpy(buf, data, sz);
	whole = read_all(buf, sz, 0);
	for (seed = 1; seed < 4; seed++) {
		other = read_all(buf, sz, seed);
		CHECK(other.hash == whole.hash && other.end == whole.end && other.nr == whole.nr);
		CHECK(whole.end || other.at == whole.at); /* what is refused has no end */
	}
	return whole;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t sz)
{
	if (sz <= INPUT_MAX)
		read_ways((const char *)data, sz);
	return 0;
}

/* ---- inputs of one's own ---- */

#ifndef FUZZ_ENTRY_ONLY
static const char *const parts[] = {
	"GET / HTTP/1.1\r\n",
	"HEAD /a/../b%20c?d HTTP/1.1\r\n",
	"POST /x HTTP/1.1\r\n",
	"OPTIONS * HTTP/1.0\r\n",
	"GET http://h:1/p HTTP/1.1\r\n",
	"Host: a\r\n",
	"Host: [::1]:8080\r\n",
	"Content-Length: 3\r\n",
	"Content-Length: 0\r\n",
	"Transfer-Encoding: chunked\r\n",
	"Connection: close, keep-alive\r\n",
	"Expect: 100-continue\r\n",
	"If-None-Match: \"a\"\r\n",
	"X-Y: \t z \r\n",
	"\r\n",
	"\r\n",
	"abc",
	"3\r\nabc\r\n",
	"1;x=\"y\"\r\na\r\n",
	"0\r\n\r\n",
	"0\r\nT: u\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
	" ",
	":",
	"\n",
	"\r",
	"%2e%2e/",
	"/",
	",",
};

#define NR_PARTS    (sizeof(parts) / sizeof(*parts))
#define FIRST_FIELD 5
#define END_OF_HEAD 14
#define FIRST_WHOLE 21

static uint64_t state;

static unsigned draw(size_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)(state % n);
}

static size_t put(char *buf, size_t sz, unsigned part)
{
	size_t n = strlen(parts[part]);

	memcpy(buf + sz, parts[part], n);
	return sz + n;
}

/* Mostly what belongs together, since all else is refused at once. */
static size_t make(char *buf)
{
	unsigned nr = 1 + draw(12), fields, at;
	size_t sz = 0, n;

	while (nr--) {
		if (draw(3)) {
			sz = put(buf, sz, draw(3) ? FIRST_WHOLE + draw(3) : draw(NR_PARTS));
			continue;
		}
		sz = put(buf, sz, draw(FIRST_FIELD));
		for (fields = 1 + draw(4); fields; fields--)
			sz = put(buf, sz, FIRST_FIELD + draw(END_OF_HEAD - FIRST_FIELD));
		sz = put(buf, sz, END_OF_HEAD);
	}
	if (!draw(200)) { /* something long, somewhere */
		n = draw(2 * HTTP_HEAD_MAX);
		at = draw(sz + 1);
		memmove(buf + at + n, buf + at, sz - at);
		memset(buf + at, draw(2) ? 'a' : '1', n);
		sz += n;
	}
	return sz;
}

static size_t spoil(char *buf, size_t sz)
{
	static const char bytes[] = "\r\n\t :,;/%.0aA9fg?#\x7f\xff\x01";
	unsigned nr = draw(4), at, n;

	for (; nr && sz > 1; nr--) {
		at = draw(sz);
		switch (draw(5)) {
		case 0:
			buf[at] = bytes[draw(sizeof(bytes))];
			break;
		case 1:
			buf[at] = (char)draw(256);
			break;
		case 2: /* a byte less */
			memmove(buf + at, buf + at + 1, --sz - at);
			break;
		case 3: /* some bytes twice */
			n = 1 + draw(sz - at < 40 ? sz - at : 40);
			memmove(buf + at + n, buf + at, sz - at);
			sz += n;
			break;
		default:
			sz = draw(8) ? sz : at;
		}
	}
	return sz;
}

int main(int argc, char **argv)
{
	unsigned long nr = 0, taken = 0, refused = 0,
		      seconds = argc > 1 ? strtoul(argv[1], 0, 0) : 2;
	unsigned long seed = argc > 2 ? strtoul(argv[2], 0, 0) : (unsigned long)time(NULL);
	static char buf[INPUT_MAX];
	time_t end = time(NULL) + (time_t)seconds;
	struct meaning m;

	printf("seed %lu\n", seed);
	fflush(stdout);
	for (state = seed * 2 + 1; nr % 64 || time(NULL) <= end; nr++) {
		m = read_ways(buf, spoil(buf, make(buf)));
		taken += m.nr;
		refused += m.end != 0;
	}
	printf("%lu inputs: %lu requests taken, %lu inputs refused\n", nr, taken, refused);
	return !taken || !refused;
}
#endif
