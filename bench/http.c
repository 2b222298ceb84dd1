/* SPDX-License-Identifier: MIT */
/*
 * examples/httpd beside nginx and Go's net/http: what a request for a small file costs the server,
 * how long it takes at a rate that all can keep up with, and what an idle connection costs.  Each turn
 * is a server started afresh; contenders take turns one by one, and a ratio is that of figures taken
 * one after the other.  The client has the same machine, so figures are for side by side only.
 *
 * --check: a row is met where the median of the ratios, ours to the peer's, is at most its bound.
 */
#include "http.h"

#include <cjson/cJSON.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "bench.h"

#define BODY_SZ	  1024
#define TURNS	  7u
#define TURNS_MAX 100u
#define SECONDS	  1.0
#define LOAD_PART 0.6 /* of the slowest's capacity */

enum row_kind {
	ROW_CPU,  /* CPU time of the server for a request, all connections asking all the time */
	ROW_P99,  /* at a fixed rate */
	ROW_IDLE, /* bytes of a connection */
};

struct row {
	const char *name, *unit, *what;
	enum row_kind kind;
	unsigned conns;
	double to_nginx, to_go;		/* bounds of ratios; 0: none */
	double at_most, at_most_shared; /* of our own figures */
};

static const struct row rows[] = {
	{ "cpu_64", "ns", "server CPU time a request, 64 connections", ROW_CPU, 64, 1.0, 0.7, 0,
	  0 },
	{ "cpu_1000", "ns", "... 1000 connections", ROW_CPU, 1000, 1.0, 0.7, 0, 0 },
	{ "cpu_10000", "ns", "... 10000 connections", ROW_CPU, 10000, 1.0, 0.7, 0, 0 },
	{ "p99_64", "ns", "99 in 100 requests take less, 64 connections", ROW_P99, 64, 1.1, 1.0, 0,
	  0 },
	{ "p99_1000", "ns", "... 1000 connections", ROW_P99, 1000, 1.1, 1.0, 0, 0 },
	{ "idle_bytes", "bytes", "server memory of an idle connection", ROW_IDLE, HTTP_IDLE_MAX, 0,
	  0, 12000, 6000 },
};

struct figures {
	char failed[80];
	double median, min, max;
	double v[TURNS_MAX]; /* NAN: that turn failed */
};

static struct figures figures[HTTP_KINDS];
static bool off[HTTP_KINDS];
static unsigned turns = TURNS, nr_turns, conns, nr_missed;
static double seconds = SECONDS, rate;

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Of those that are numbers; NAN where none is. */
static double median_of(const double *values, unsigned nr, double *ret_min, double *ret_max)
{
	double v[TURNS_MAX];
	unsigned i, n = 0;

	for (i = 0; i < nr; i++)
		if (!isnan(values[i]))
			v[n++] = values[i];
	qsort(v, n, sizeof(*v), compare);
	*ret_min = n ? v[0] : NAN;
	*ret_max = n ? v[n - 1] : NAN;
	return n ? (v[(n - 1) / 2] + v[n / 2]) / 2 : NAN;
}

static double ratio(enum http_kind ours, enum http_kind peer, double *ret_min, double *ret_max)
{
	double v[TURNS_MAX];
	unsigned i;

	for (i = 0; i < nr_turns; i++)
		v[i] = figures[ours].v[i] / figures[peer].v[i];
	return median_of(v, nr_turns, ret_min, ret_max);
}

/* ---- turns ---- */

/* So many as there are descriptors for, on either side. */
static unsigned conns_of(const struct row *row)
{
	unsigned most = http_nr_files() - 200;

	return row->conns < most ? row->conns : most;
}

static int load(const struct http_server *s, double at_rate, double for_seconds,
		struct http_result *r)
{
	struct http_load l = { .port = s->port, .conns = conns, .rate = at_rate };

	l.warm_s = for_seconds / 3;
	l.seconds = for_seconds;
	return http_load(s, &l, r);
}

static double one_turn(const struct row *row, enum http_kind kind)
{
	struct http_server s;
	struct http_result r;
	double value = NAN;

	if (!http_start(&s, kind)) {
		snprintf(figures[kind].failed, sizeof(figures[kind].failed), "it did not start");
		return NAN;
	}
	if (row->kind == ROW_IDLE)
		value = http_idle_bytes(&s, conns);
	else if (!load(&s, row->kind == ROW_P99 ? rate : 0, seconds, &r))
		value = row->kind == ROW_P99 ? r.p99 : r.cpu_ns / r.requests;
	http_stop(&s);
	if (value > 0)
		return value;
	snprintf(figures[kind].failed, sizeof(figures[kind].failed), "it did not bear the load");
	return NAN;
}

/* What the slowest can do, by the wall clock, and of that the part that all can. */
static void find_rate(void)
{
	struct http_server s;
	struct http_result r;
	double least = INFINITY;
	unsigned i;

	for (i = 0; i < HTTP_KINDS; i++) {
		if (off[i] || !http_start(&s, i))
			continue;
		if (!load(&s, 0, seconds, &r) && r.requests / r.seconds < least)
			least = r.requests / r.seconds;
		http_stop(&s);
	}
	rate = isinf(least) ? 1000 : LOAD_PART * least;
}

static void measure(const struct row *row)
{
	unsigned t, i, at;

	memset(figures, 0, sizeof(figures));
	conns = conns_of(row);
	nr_turns = row->kind == ROW_IDLE ? 1 : turns;
	if (row->kind == ROW_P99)
		find_rate();
	for (t = 0; t < nr_turns; t++)
		for (i = 0; i < HTTP_KINDS; i++) {
			at = (i + t) % HTTP_KINDS; /* nobody is always the one after X */
			figures[at].v[t] = off[at] ? NAN : one_turn(row, at);
		}
	for (i = 0; i < HTTP_KINDS; i++)
		figures[i].median = median_of(figures[i].v, nr_turns, &figures[i].min,
					      &figures[i].max);
}

/* ---- printing ---- */

static cJSON *to_json(const struct row *row)
{
	cJSON *o = cJSON_CreateObject(), *all, *failed, *c;
	unsigned i;

	cJSON_AddStringToObject(o, "name", row->name);
	cJSON_AddStringToObject(o, "unit", row->unit);
	cJSON_AddNumberToObject(o, "vcores", bench_nr_cpus());
	cJSON_AddNumberToObject(o, "connections", conns);
	if (row->kind == ROW_P99)
		cJSON_AddNumberToObject(o, "rate", rate);
	all = cJSON_AddObjectToObject(o, "contenders");
	failed = cJSON_AddObjectToObject(o, "failed");
	for (i = 0; i < HTTP_KINDS; i++) {
		if (off[i] || figures[i].failed[0])
			cJSON_AddStringToObject(failed, http_name(i),
						off[i] ? "it is not there" : figures[i].failed);
		if (off[i] || isnan(figures[i].median))
			continue;
		c = cJSON_AddObjectToObject(all, http_name(i));
		cJSON_AddNumberToObject(c, "median", figures[i].median);
		cJSON_AddNumberToObject(c, "min", figures[i].min);
		cJSON_AddNumberToObject(c, "max", figures[i].max);
	}
	return o;
}

static void print_row(const struct row *row)
{
	unsigned i;

	printf("%s (%s, %u cores, %u connections): %s\n", row->name, row->unit, bench_nr_cpus(),
	       conns, row->what);
	if (conns < row->conns)
		printf("    only %u of %u connections: a process may have %u descriptors here\n",
		       conns, row->conns, http_nr_files());
	if (row->kind == ROW_P99)
		printf("    at %.0f requests a second\n", rate);
	for (i = 0; i < HTTP_KINDS; i++) {
		printf("    %-15s", http_name(i));
		if (off[i] || isnan(figures[i].median))
			printf("none: %s\n", off[i] ? "it is not there" : figures[i].failed);
		else
			printf("median %9.4g min %9.4g max %9.4g\n", figures[i].median,
			       figures[i].min, figures[i].max);
	}
	fflush(stdout);
}

/* ---- bounds ---- */

static void judge(enum http_kind peer, double bound)
{
	double low, high, r = ratio(HTTP_UPCALL, peer, &low, &high);
	bool met = r <= bound;

	if (bound <= 0)
		return;
	nr_missed += !met;
	printf("    upcall / %s: %.3g (%.3g to %.3g), at most %.3g: %s\n", http_name(peer), r, low,
	       high, bound, met ? "met" : "MISSED");
}

static void judge_own(enum http_kind kind, double bound)
{
	bool met = figures[kind].median <= bound;

	if (bound <= 0)
		return;
	nr_missed += !met;
	printf("    %s: at most %.5g: %s\n", http_name(kind), bound, met ? "met" : "MISSED");
}

static void check_row(const struct row *row)
{
	judge(HTTP_NGINX, row->to_nginx);
	judge(HTTP_GO, row->to_go);
	judge_own(HTTP_UPCALL, row->at_most);
	judge_own(HTTP_UPCALL_SHARED, row->at_most_shared);
}

/* ---- the run ---- */

static bool wanted(const char *name, char **names, int nr)
{
	int i;

	for (i = 0; i < nr; i++)
		if (!strcmp(names[i], name))
			return true;
	return !nr;
}

static bool names_known(char **names, int nr)
{
	unsigned i;
	int n;

	for (n = 0; n < nr; n++) {
		for (i = 0; i < UP_ARRAY_LEN(rows) && strcmp(rows[i].name, names[n]); i++)
			;
		if (i == UP_ARRAY_LEN(rows)) {
			fprintf(stderr, "no row is called %s\n", names[n]);
			return false;
		}
	}
	return true;
}

/* How many are not there. */
static unsigned find_contenders(void)
{
	unsigned i, nr = 0;

	for (i = 0; i < HTTP_KINDS; i++) {
		off[i] = http_missing(i) != NULL;
		nr += off[i];
		if (off[i])
			fprintf(stderr, "contender %s is missing: %s\n", http_name(i),
				http_missing(i));
	}
	return nr;
}

static int run(char **names, int nr, bool json, bool check)
{
	cJSON *o = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(o, "rows");
	unsigned i, k, missing = find_contenders(), bad = check ? missing : 0;
	char *text;

	for (i = 0; i < UP_ARRAY_LEN(rows); i++) {
		if (!wanted(rows[i].name, names, nr))
			continue;
		measure(&rows[i]);
		for (k = 0; k < HTTP_KINDS; k++)
			bad += figures[k].failed[0] != 0;
		if (json)
			cJSON_AddItemToArray(list, to_json(&rows[i]));
		else
			print_row(&rows[i]);
		if (check)
			check_row(&rows[i]);
	}
	text = cJSON_Print(o);
	if (json)
		puts(text);
	free(text);
	cJSON_Delete(o);
	if (check)
		printf("%u bounds missed, %u contenders missing or failed\n", nr_missed, bad);
	return bad || nr_missed;
}

static void help(const char *name)
{
	printf("usage: %s [OPTION...] [ROW...]\n"
	       "Measures each row (all, unless some are named); contenders take turns.\n"
	       "  --json       one object: rows, each with name, unit, vcores and contenders\n"
	       "  --check      says whether each row meets its bounds\n"
	       "  --turns N    how often each contender runs (%u)\n"
	       "  --seconds S  how long each time (%g)\n"
	       "Exit status: 0, 1 a bound missed or a contender failed, with --check also one that "
	       "is\n"
	       "missing, 64 usage.\n",
	       name, TURNS, SECONDS);
}

static bool option(int c, const char *text)
{
	char *end;
	double n = strtod(text ? text : "1", &end);

	if (c == 't')
		turns = (unsigned)n;
	if (c == 's')
		seconds = n;
	if (c != '?' && !*end && n > 0 && (c != 't' || (n >= 1 && n <= TURNS_MAX)))
		return true;
	if (c != '?')
		fprintf(stderr, "%s: not such a number\n", text);
	return false;
}

int main(int argc, char **argv)
{
	static const struct option longopts[] = { { "json", no_argument, NULL, 'j' },
						  { "check", no_argument, NULL, 'c' },
						  { "turns", required_argument, NULL, 't' },
						  { "seconds", required_argument, NULL, 's' },
						  { "help", no_argument, NULL, 'h' },
						  { NULL, 0, NULL, 0 } };
	bool json = false, check = false;
	int c, status = 1;

	signal(SIGPIPE, SIG_IGN);
	while ((c = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
		json |= c == 'j';
		check |= c == 'c';
		if (c == 'h') {
			help(argv[0]);
			return 0;
		}
		if (!option(c, optarg))
			return 64;
	}
	if (!names_known(argv + optind, argc - optind))
		return 64;
	if (http_servers_init(BODY_SZ))
		status = run(argv + optind, argc - optind, json, check);
	http_servers_fini();
	return status;
}
