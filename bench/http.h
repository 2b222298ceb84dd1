/* SPDX-License-Identifier: MIT */
/*
 * The two halves of build/bench/http: servers, each started afresh, and a client that loads one.  All
 * of it on loopback.
 */
#ifndef UP_BENCH_HTTP_H
#define UP_BENCH_HTTP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- servers: http_servers.c ---- */

enum http_kind {
	HTTP_UPCALL,
	HTTP_UPCALL_SHARED, /* uthreads share TLS */
	HTTP_NGINX,
	HTTP_GO,
	HTTP_KINDS,
};

struct http_server {
	enum http_kind kind;
	unsigned port;
	pid_t pid;
};

/* A directory with the file that is served, and nginx's configuration: false with a word. */
bool http_servers_init(unsigned body_sz);
void http_servers_fini(void);

/* NULL, or what is missing: such a contender fails the run. */
const char *http_missing(enum http_kind kind);
const char *http_name(enum http_kind kind);

/* Started, and it answers: false with a word. */
bool http_start(struct http_server *s, enum http_kind kind);
void http_stop(struct http_server *s);

/* Descriptors that a process may have. */
unsigned http_nr_files(void);

/* Of its processes together: CPU time, and memory that is theirs alone. */
double http_cpu_ns(const struct http_server *s);
double http_memory(const struct http_server *s);

/* ---- the client: http_client.c ---- */

struct http_load {
	unsigned port, conns;
	double warm_s, seconds;
	double rate; /* requests a second, at fixed moments; 0: the next as soon as one is answered */
};

struct http_result {
	double requests, seconds;
	double cpu_ns;	 /* the server's, meanwhile */
	double p50, p99; /* ns, from the moment when a request was due */
};

/* One thread.  0, or -1 with a word: a connection that broke or an answer that is none is a failure. */
int http_load(const struct http_server *s, const struct http_load *l, struct http_result *ret);

#define HTTP_IDLE_MAX 100000u

/* So many connections, HTTP_IDLE_MAX at the most, that have had an answer each and wait: what memory the server has for each, or
 * -1 with a word. */
double http_idle_bytes(const struct http_server *s, unsigned conns);

#endif
