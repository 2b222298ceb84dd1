/* SPDX-License-Identifier: MIT */
/*
 * Turns, medians and printing; see bench.h.
 */
#include "bench.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TURN_SECONDS 20
#define PER_TURN_MAX 4096u
/* A bound missed is looked at again, with everything measured afresh: the machine is shared. */
#define CHECK_TRIES 3

struct shared {
	int nr;
	double v[PER_TURN_MAX];
};

static struct shared *shared;

double bench_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

unsigned bench_nr_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) ? 1 : (unsigned)CPU_COUNT(&set);
}

void bench_pin(unsigned nth_cpu, unsigned nr)
{
	cpu_set_t set, to;
	unsigned n = 0;
	int c;

	if (sched_getaffinity(0, sizeof(set), &set))
		return;
	CPU_ZERO(&to);
	for (c = 0; c < CPU_SETSIZE; c++)
		if (CPU_ISSET(c, &set) && n++ >= nth_cpu && n <= nth_cpu + nr)
			CPU_SET(c, &to);
	sched_setaffinity(0, sizeof(to), &to);
}

static void one_turn(struct bench_contender *c)
{
	unsigned i;
	int status;
	pid_t pid;

	shared->nr = 0;
	fflush(NULL);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(TURN_SECONDS);
		shared->nr = c->turn(shared->v, PER_TURN_MAX);
		_exit(shared->nr < 0);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid < 0 || !WIFEXITED(status) || WEXITSTATUS(status))
		fprintf(stderr, "%s: a turn failed (%d)\n", c->name, shared->nr);
	for (i = 0; shared->nr > 0 && i < (unsigned)shared->nr && c->nr < BENCH_SAMPLES_MAX; i++)
		c->samples[c->nr++] = shared->v[i];
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void finish(struct bench_contender *c)
{
	if (!c->samples || !c->nr)
		return;
	qsort(c->samples, c->nr, sizeof(*c->samples), compare);
	c->median = c->samples[c->nr / 2];
	c->min = c->samples[0];
	c->max = c->samples[c->nr - 1];
}

void bench_put(struct bench_row *row, unsigned at, const char *name, double value)
{
	row->c[at].name = name;
	row->c[at].median = row->c[at].min = row->c[at].max = value;
	row->c[at].nr = 1;
}

static void measure(struct bench_row *row, unsigned turns)
{
	unsigned t, i;

	for (i = 0; i < BENCH_CONTENDERS_MAX; i++) {
		free(row->c[i].samples);
		row->c[i].samples = row->c[i].turn ? calloc(BENCH_SAMPLES_MAX, sizeof(double))
						   : NULL;
		row->c[i].nr = 0;
	}
	for (t = 0; t < turns; t++)
		for (i = 0; i < BENCH_CONTENDERS_MAX; i++)
			if (row->c[i].samples)
				one_turn(&row->c[i]);
	for (i = 0; i < BENCH_CONTENDERS_MAX; i++)
		finish(&row->c[i]);
}

static cJSON *to_json(const struct bench_row *row)
{
	cJSON *o = cJSON_CreateObject(), *all = cJSON_CreateObject(), *c;
	unsigned i;

	cJSON_AddStringToObject(o, "name", row->name);
	cJSON_AddStringToObject(o, "unit", row->unit);
	cJSON_AddNumberToObject(o, "vcores", row->vcores);
	for (i = 0; i < BENCH_CONTENDERS_MAX; i++) {
		if (!row->c[i].nr)
			continue;
		c = cJSON_AddObjectToObject(all, row->c[i].name);
		cJSON_AddNumberToObject(c, "median", row->c[i].median);
		cJSON_AddNumberToObject(c, "min", row->c[i].min);
		cJSON_AddNumberToObject(c, "max", row->c[i].max);
	}
	cJSON_AddItemToObject(o, "contenders", all);
	return o;
}

static void print_json(const struct bench_row *rows, unsigned nr)
{
	cJSON *o = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(o, "rows");
	char *text;
	unsigned i;

	for (i = 0; i < nr; i++)
		cJSON_AddItemToArray(list, to_json(&rows[i]));
	text = cJSON_Print(o);
	puts(text);
	free(text);
	cJSON_Delete(o);
}

static double figure(const struct bench_row *row)
{
	double a = row->c[0].median, b = row->c[1].median;

	return row->by_difference ? a - b : b > 0 ? a / b : 0;
}

static bool meets(const struct bench_row *row)
{
	double f = figure(row);

	if (row->bound == 0)
		return true;
	if (!row->c[0].nr || !row->c[1].nr)
		return false;
	return row->at_least ? f >= row->bound : f <= row->bound;
}

static void print_bound(const struct bench_row *row)
{
	if (row->bound != 0)
		printf("    %s %s %s: %.3g, %s %.3g: %s\n", row->c[0].name,
		       row->by_difference ? "-" : "/", row->c[1].name, figure(row),
		       row->at_least ? "at least" : "at most", row->bound,
		       meets(row) ? "met" : "MISSED");
}

static void print_row(const struct bench_row *row)
{
	unsigned i;

	printf("%s (%s, %u vcores): %s\n", row->name, row->unit, row->vcores, row->what);
	for (i = 0; i < BENCH_CONTENDERS_MAX; i++)
		if (row->c[i].nr)
			printf("    %-24s median %10.5g   min %10.5g   max %10.5g   of %u\n",
			       row->c[i].name, row->c[i].median, row->c[i].min, row->c[i].max,
			       row->c[i].nr);
	print_bound(row);
	fflush(stdout);
}

static void help(const char *name)
{
	printf("usage: %s [--json | --check] [--turns N] [ROW...]\n"
	       "Measures each row (all, unless some are named); contenders take turns.\n"
	       "  --json   one object: rows, each with name, unit, vcores and contenders\n"
	       "  --check  exit 1 when the median of a row misses its bound in each of %d tries\n"
	       "  --turns  how often each contender runs\n",
	       name, CHECK_TRIES);
}

static int check(struct bench_row *rows, unsigned nr, unsigned turns)
{
	int missed = 0, tries;
	unsigned i;

	for (i = 0; i < nr; i++) {
		if (rows[i].bound == 0)
			continue;
		for (tries = 0; tries < CHECK_TRIES; tries++) {
			measure(&rows[i], turns);
			print_row(&rows[i]);
			if (meets(&rows[i]))
				break;
		}
		missed += tries == CHECK_TRIES;
	}
	printf("%d bounds missed\n", missed);
	return missed != 0;
}

/* Moves the named rows to the front; how many there are, or -1 with a word. */
static int choose(struct bench_row *rows, unsigned nr, char **names, int nr_names)
{
	unsigned i, to = 0;
	int n;

	for (n = 0; n < nr_names; n++) {
		for (i = to; i < nr && strcmp(rows[i].name, names[n]); i++)
			;
		if (i == nr) {
			fprintf(stderr, "no row is called %s\n", names[n]);
			return -1;
		}
		struct bench_row r = rows[to];

		rows[to] = rows[i];
		rows[i] = r;
		to++;
	}
	return nr_names ? (int)to : (int)nr;
}

int bench_main(int argc, char **argv, struct bench_row *rows, unsigned nr, unsigned turns)
{
	static const struct option longopts[] = { { "json", no_argument, NULL, 'j' },
						  { "check", no_argument, NULL, 'c' },
						  { "turns", required_argument, NULL, 't' },
						  { "help", no_argument, NULL, 'h' },
						  { NULL, 0, NULL, 0 } };
	bool json = false, checks = false;
	int c, n;
	unsigned i;
	char *end;

	while ((c = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
		switch (c) {
		case 'j':
			json = true;
			break;
		case 'c':
			checks = true;
			break;
		case 't':
			turns = (unsigned)strtoul(optarg, &end, 10);
			if (*end || !turns || turns > 100000) {
				fprintf(stderr, "%s: --turns wants a number from 1 to 100000\n",
					argv[0]);
				return 64;
			}
			break;
		case 'h':
			help(argv[0]);
			return 0;
		default:
			return 64; /* getopt has said which */
		}
	}
	n = choose(rows, nr, argv + optind, argc - optind);
	if (n < 0)
		return 64;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED)
		return 1;
	if (checks)
		return check(rows, (unsigned)n, turns);
	for (i = 0; i < (unsigned)n; i++) {
		measure(&rows[i], turns);
		if (!json)
			print_row(&rows[i]);
	}
	if (json)
		print_json(rows, (unsigned)n);
	return 0;
}
