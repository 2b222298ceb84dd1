/* SPDX-License-Identifier: MIT */
/*
 * What a thread, a yield, a signal, a lock and a spawn cost, beside the peers. Each contender is a
 * program of its own (build/bench/peer/micro-NAME, all of one text: peer/body.h), started afresh each
 * turn; contenders take turns one by one, so that each of ours has a pair measured beside it. A
 * required peer that is not there fails the run: a table without it would flatter us.
 *
 * --check: a row is met where the upper end of the 95% confidence interval of the pairs' ratio, ours
 * to the peer's, is at most the bound, against every peer that counts in that row.
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bits.h"
#include "bench.h"

#define TURNS	     21u
#define TURNS_LONG   7u /* of rows whose size is fixed; the least that has a 95% interval is 6 */
#define TURNS_MAX    1000u
#define REPEATS	     5u /* in one process; the fastest counts, since the machine is shared */
#define TARGET_MS    10u
#define GROWN_NS     1e9
#define ANSWER_MS    180000
#define BOUND	     1.05
#define BOUND_TLS    1.5
#define BOUND_TLS_C  2.5 /* ... in create_join and null_fork */
#define BOUND_P99_NS 1e6

enum {
	OURS,
	OURS_TLS,
	FIRST_PEER
};

struct contender {
	const char *name;
	const char *package; /* of Debian, where it is required; NULL: taken where it was built */
	bool moves_stacks;   /* they grow, and no page is kept for each */
	bool off;
	char path[4096];
};

static struct contender contenders[] = {
	{ "upcall", "", false, false, "" },
	{ "upcall-tls", "", false, false, "" },
	{ "pthread", "", false, false, "" },
	{ "boost", "libboost-fiber-dev", false, false, "" },
	{ "go", "golang-go", true, false, "" },
	{ "gomp", "gcc", false, false, "" },
	{ "tbb", "libtbb-dev", false, false, "" },
	{ "argobots", NULL, false, false, "" },
	{ "massivethreads", NULL, false, false, "" },
	{ "qthreads", NULL, false, false, "" },
	{ "libfiber", NULL, false, false, "" },
	{ "photon", NULL, false, false, "" },
};

#define NR_CONTENDERS UP_ARRAY_LEN(contenders)

enum row_flag {
	NEEDS_OWN_STACK = 1,  /* who has none does not count */
	NEEDS_STACK_PAGE = 2, /* nor who moves stacks */
	NO_RATIO = 4,	      /* the bound is a figure */
	NO_BOUND = 8,
	COUNTED = 16, /* not timed: one turn tells it all */
	GROWS = 32,   /* the size is the argument of fib() at the most, which grows like 1.6^size */
};

struct row {
	const char *name, *unit, *what;
	unsigned flags;
	uint64_t size, smoke_size; /* where it is fixed; 0: as much as takes --ms */
	double bound_tls;
};

static const struct row rows[] = {
	{ "create_join", "ns", "create one, join it", NEEDS_OWN_STACK, 0, 0, BOUND_TLS_C },
	{ "null_fork", "ns", "create 1000, join them: one of them", NEEDS_OWN_STACK, 0, 0,
	  BOUND_TLS_C },
	{ "null_fork_pipe", "ns", "the same, where one in 100 sleeps in read()",
	  NEEDS_OWN_STACK | NO_BOUND, 0, 0, 0 },
	{ "yield", "ns", "two yield to each other: one yield", NEEDS_OWN_STACK, 0, 0, BOUND_TLS },
	{ "signal_wait", "ns", "two signal and wait for each other: one signal", NEEDS_OWN_STACK, 0,
	  0, BOUND_TLS },
	{ "mutex_free", "ns", "lock and unlock what nobody else wants", 0, 0, 0, BOUND_TLS },
	{ "mutex_contended", "ns", "8 threads lock one, and one in 16 yields with it",
	  NEEDS_OWN_STACK, 0, 0, BOUND_TLS },
	{ "fork_join_spawn", "ns", "fib(35), or as far as a second goes: one spawn", GROWS, 35, 12,
	  BOUND_TLS },
	{ "parallel_for", "ns", "one loop over 100000 numbers", NO_BOUND, 0, 0, 0 },
	{ "bytes_per_uthread", "bytes", "resident, 10^6 live ones (or what there can be)",
	  NEEDS_STACK_PAGE | COUNTED, 1000000, 2000, BOUND_TLS },
	{ "bytes_per_uthread_touched", "bytes", "the same, once each has used 2 kB of its stack",
	  NO_BOUND | COUNTED, 1000000, 2000, 0 },
	{ "priority_p99", "ns", "a request a ms beside 8 hogs a vcore: its delay, 99 in 100",
	  NO_RATIO, 1000, 20, 0 },
};

struct result {
	uint64_t size;
	unsigned nr;
	bool own_stack;
	double operations; /* in a run */
	char absent[160], failed[160];
	double median, min, max;
	double v[TURNS_MAX]; /* NAN: that turn failed */
};

struct interval {
	double median, low, high;
	bool known;
};

static struct result results[NR_CONTENDERS];
static unsigned turns_wanted, target_ms = TARGET_MS;
static bool smoke;

/* ---- one contender's process ---- */

struct talk {
	pid_t pid;
	int to;
	int from;
};

static int run_child(const struct contender *c, unsigned vcores, int in, int out)
{
	char arg[16];

	bench_pin(0, vcores);
	snprintf(arg, sizeof(arg), "%u", vcores);
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0)
		return 126;
	execl(c->path, c->path, arg, (char *)NULL);
	return 127;
}

static int talk_start(struct talk *t, const struct contender *c, unsigned vcores)
{
	int in[2], out[2];

	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		return -errno;
	fflush(NULL);
	t->pid = fork();
	if (!t->pid)
		_exit(run_child(c, vcores, in[0], out[1]));
	close(in[0]);
	close(out[1]);
	t->to = in[1];
	t->from = out[0];
	return t->pid < 0 ? -EAGAIN : 0;
}

static void talk_end(struct talk *t, bool at_once)
{
	int status;

	close(t->to);
	close(t->from);
	if (at_once)
		kill(t->pid, SIGKILL);
	while (waitpid(t->pid, &status, 0) < 0 && errno == EINTR)
		;
}

/* One line, without its end; false when there was none in time. */
static bool talk_line(struct talk *t, char *line, size_t sz)
{
	struct pollfd p = { .fd = t->from, .events = POLLIN };
	double until = bench_now_ns() + ANSWER_MS * 1e6;
	size_t n = 0;
	char c;

	while (bench_now_ns() < until) {
		if (poll(&p, 1, 1000) <= 0)
			continue;
		if (read(t->from, &c, 1) != 1)
			return false;
		if (c == '\n') {
			line[n] = 0;
			return true;
		}
		if (n + 1 < sz)
			line[n++] = c;
	}
	return false;
}

/* Has it run a row once; its figures, or -1 with the reason in `res`. */
static int talk_run(struct talk *t, const struct row *row, struct result *res, double *ret_ns,
		    double *ret_value)
{
	unsigned long long ns, ops;
	char line[256];
	int own;

	if (dprintf(t->to, "run %s %llu\n", row->name, (unsigned long long)res->size) < 0 ||
	    !talk_line(t, line, sizeof(line))) {
		snprintf(res->failed, sizeof(res->failed), "it ended or did not answer");
		return -1;
	}
	if (sscanf(line, "done %llu %llu %d", &ns, &ops, &own) == 3 && ops) {
		*ret_ns = (double)ns;
		*ret_value = (double)ns / (double)ops;
		res->operations = (double)ops;
		res->own_stack = res->own_stack && own;
		return 0;
	}
	if (!strncmp(line, "absent ", 7))
		snprintf(res->absent, sizeof(res->absent), "%.150s", line + 7);
	else
		snprintf(res->failed, sizeof(res->failed), "%.150s", line);
	return -1;
}

/* ---- turns ---- */

/* As far as fib() gets in about a second. */
static int calibrate_fib(struct talk *t, const struct row *row, struct result *res)
{
	double ns, value;

	res->size = 24;
	if (talk_run(t, row, res, &ns, &value))
		return -1;
	for (; ns < GROWN_NS && res->size < row->size; res->size++)
		ns *= 1.6;
	return 0;
}

/* Finds the size that takes long enough, in the first process. */
static int calibrate(struct talk *t, const struct row *row, struct result *res)
{
	double ns, value, by;

	if (row->flags & GROWS && !smoke)
		return calibrate_fib(t, row, res);
	if (row->size) {
		res->size = smoke ? row->smoke_size : row->size;
		return 0;
	}
	for (res->size = 100;; res->size = (uint64_t)((double)res->size * by)) {
		if (talk_run(t, row, res, &ns, &value))
			return -1;
		if (ns >= target_ms * 8e5)
			return 0;
		by = ns > 0 ? target_ms * 1e6 / ns : 10;
		by = by > 10 ? 10 : by < 1.3 ? 1.3 : by;
	}
}

static double one_turn(unsigned at, const struct row *row, unsigned vcores)
{
	struct result *res = &results[at];
	double best = NAN, ns, value;
	unsigned i, repeats = row->size || smoke ? 1 : REPEATS;
	struct talk t = { -1, -1, -1 };
	char line[256];

	if (talk_start(&t, &contenders[at], vcores)) {
		snprintf(res->failed, sizeof(res->failed), "it could not be started");
		return NAN;
	}
	if (!talk_line(&t, line, sizeof(line)) || strcmp(line, "ready"))
		snprintf(res->failed, sizeof(res->failed), "it did not get ready");
	else if (res->size || !calibrate(&t, row, res))
		for (i = 0; i < repeats && !talk_run(&t, row, res, &ns, &value); i++)
			best = isnan(best) || value < best ? value : best;
	talk_end(&t, res->failed[0]);
	return res->failed[0] ? NAN : best;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void finish(struct result *res)
{
	double v[TURNS_MAX];
	unsigned i, n = 0;

	for (i = 0; i < res->nr; i++)
		if (!isnan(res->v[i]))
			v[n++] = res->v[i];
	if (!n)
		return;
	qsort(v, n, sizeof(*v), compare);
	res->median = n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
	res->min = v[0];
	res->max = v[n - 1];
}

static bool takes_part(unsigned at)
{
	return !contenders[at].off && !results[at].absent[0] && !results[at].failed[0];
}

static void measure(const struct row *row, unsigned vcores)
{
	unsigned t, i, at, turns = TURNS;

	if (row->flags & COUNTED)
		turns = 1;
	else if (turns_wanted)
		turns = turns_wanted;
	else if (row->size)
		turns = TURNS_LONG;
	memset(results, 0, sizeof(results));
	for (i = 0; i < NR_CONTENDERS; i++)
		results[i].own_stack = true;
	for (t = 0; t < turns; t++)
		for (i = 0; i < NR_CONTENDERS; i++) {
			at = (i + t) % NR_CONTENDERS; /* nobody is always the one after X */
			if (takes_part(at))
				results[at].v[t] = one_turn(at, row, vcores);
			results[at].nr = t + 1;
		}
	for (i = 0; i < NR_CONTENDERS; i++)
		finish(&results[i]);
}

/* ---- ratios ---- */

/* How many of n sorted values to leave out at each end, so that the median of what they are drawn
 * from lies between the next ones with at least 95%; n where there are too few. */
static unsigned left_out(unsigned n)
{
	double p = pow(0.5, n), below = p; /* P(fewer than k + 1 of n are below the median) */
	unsigned k;

	if (2 * p > 0.05)
		return n;
	for (k = 0; k < n / 2; k++) {
		p = p * (n - k) / (k + 1);
		if (2 * (below + p) > 0.05)
			return k;
		below += p;
	}
	return k;
}

static struct interval ratio(const struct row *row, unsigned ours, unsigned peer)
{
	const struct result *a = &results[ours], *b = &results[peer];
	struct interval r = { 0, 0, 0, false };
	double v[TURNS_MAX];
	unsigned i, n = 0, k;

	if (!takes_part(ours) || !takes_part(peer))
		return r;
	for (i = 0; i < a->nr && i < b->nr; i++)
		if (!isnan(a->v[i]) && !isnan(b->v[i]) && b->v[i] > 0)
			v[n++] = a->v[i] / b->v[i];
	if (!n)
		return r;
	qsort(v, n, sizeof(*v), compare);
	k = left_out(n);
	r.known = k < n || row->flags & COUNTED;
	r.median = n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
	r.low = v[k < n ? k : 0];
	r.high = v[n - 1 - (k < n ? k : 0)];
	return r;
}

/* One that runs a body on its creator's stack, or keeps a stack only as large as what is on it now,
 * does less than what such a row asks for. */
static bool counts(const struct row *row, unsigned peer)
{
	if (peer < FIRST_PEER || !takes_part(peer))
		return false;
	if (row->flags & NEEDS_STACK_PAGE && contenders[peer].moves_stacks)
		return false;
	return results[peer].own_stack || !(row->flags & NEEDS_OWN_STACK);
}

/* The peer that ours looks worst beside, or 0. */
static unsigned best_peer(const struct row *row, unsigned ours, struct interval *ret_r)
{
	struct interval r;
	unsigned i, best = 0;

	memset(ret_r, 0, sizeof(*ret_r));
	for (i = FIRST_PEER; i < NR_CONTENDERS; i++) {
		if (!counts(row, i))
			continue;
		r = ratio(row, ours, i);
		if (!best || r.high > ret_r->high) {
			best = i;
			*ret_r = r;
		}
	}
	return best;
}

/* ---- printing ---- */

static void add_interval(cJSON *to, const char *name, struct interval r)
{
	cJSON *o;

	if (r.median <= 0)
		return;
	o = cJSON_AddObjectToObject(to, name);
	cJSON_AddNumberToObject(o, "median", r.median);
	cJSON_AddNumberToObject(o, "low", r.low);
	cJSON_AddNumberToObject(o, "high", r.high);
}

static cJSON *to_json(const struct row *row, unsigned vcores)
{
	cJSON *o = cJSON_CreateObject(), *all, *absent, *failed, *c;
	unsigned i;

	cJSON_AddStringToObject(o, "name", row->name);
	cJSON_AddStringToObject(o, "unit", row->unit);
	cJSON_AddNumberToObject(o, "vcores", vcores);
	all = cJSON_AddObjectToObject(o, "contenders");
	absent = cJSON_AddObjectToObject(o, "absent");
	failed = cJSON_AddObjectToObject(o, "failed");
	for (i = 0; i < NR_CONTENDERS; i++) {
		if (results[i].failed[0])
			cJSON_AddStringToObject(failed, contenders[i].name, results[i].failed);
		else if (results[i].absent[0])
			cJSON_AddStringToObject(absent, contenders[i].name, results[i].absent);
		if (!takes_part(i))
			continue;
		c = cJSON_AddObjectToObject(all, contenders[i].name);
		cJSON_AddNumberToObject(c, "median", results[i].median);
		cJSON_AddNumberToObject(c, "min", results[i].min);
		cJSON_AddNumberToObject(c, "max", results[i].max);
		cJSON_AddNumberToObject(c, "operations", results[i].operations);
		cJSON_AddBoolToObject(c, "counts", i < FIRST_PEER || counts(row, i));
		if (i < FIRST_PEER || row->flags & NO_RATIO)
			continue;
		add_interval(c, "upcall_ratio", ratio(row, OURS, i));
		add_interval(c, "upcall_tls_ratio", ratio(row, OURS_TLS, i));
	}
	return o;
}

static void print_ratio(const char *name, struct interval r)
{
	if (r.median > 0)
		printf("   %s %.3g (%.3g to %.3g)", name, r.median, r.low, r.high);
}

static void print_row(const struct row *row, unsigned vcores)
{
	unsigned i;

	printf("%s (%s, %u vcores): %s\n", row->name, row->unit, vcores, row->what);
	for (i = 0; i < NR_CONTENDERS; i++) {
		if (contenders[i].off)
			continue;
		printf("    %-15s", contenders[i].name);
		if (results[i].failed[0]) {
			printf("FAILED: %s\n", results[i].failed);
			continue;
		}
		if (results[i].absent[0]) {
			printf("absent: %s\n", results[i].absent);
			continue;
		}
		printf("median %9.4g min %9.4g max %9.4g", results[i].median, results[i].min,
		       results[i].max);
		if (i >= FIRST_PEER && !(row->flags & NO_RATIO)) {
			print_ratio("upcall/", ratio(row, OURS, i));
			print_ratio("tls/", ratio(row, OURS_TLS, i));
		}
		if (row->size && results[i].operations > 1)
			printf("   of %.0f", results[i].operations);
		puts(i < FIRST_PEER || counts(row, i) ? "" : "   does not count");
	}
	fflush(stdout);
}

/* ---- bounds ---- */

static unsigned nr_bounds, nr_missed, nr_rows_compared, nr_rows_lower;

static void judge(const struct row *row, unsigned vcores, unsigned ours, double bound)
{
	struct interval r;
	unsigned best = best_peer(row, ours, &r);
	bool met = best && takes_part(ours) && r.known && r.high <= bound;

	nr_bounds++;
	nr_missed += !met;
	if (ours == OURS) {
		nr_rows_compared++;
		nr_rows_lower += met && r.high < 1;
	}
	printf("    %s / %s: %.3g (%.3g to %.3g), at most %.3g: %s\n", contenders[ours].name,
	       best ? contenders[best].name : "nobody", r.median, r.low, r.high, bound,
	       met ? "met" : "MISSED");
}

static void judge_p99(const struct row *row, unsigned ours)
{
	bool met = takes_part(ours) && results[ours].median > 0 &&
		   results[ours].median < BOUND_P99_NS;

	nr_bounds++;
	nr_missed += !met;
	printf("    %s: below %.3g: %s\n", contenders[ours].name, BOUND_P99_NS,
	       met ? "met" : "MISSED");
}

static void check_row(const struct row *row, unsigned vcores)
{
	if (row->flags & NO_BOUND)
		return;
	if (row->flags & NO_RATIO) {
		judge_p99(row, OURS);
		return;
	}
	judge(row, vcores, OURS, BOUND);
	judge(row, vcores, OURS_TLS, row->bound_tls);
}

/* ---- the run ---- */

static bool find_contenders(void)
{
	bool all = true;
	char dir[2048];
	ssize_t n = readlink("/proc/self/exe", dir, sizeof(dir) - 1);
	unsigned i;

	dir[n > 0 ? n : 0] = 0;
	if (strrchr(dir, '/'))
		*strrchr(dir, '/') = 0;
	for (i = 0; i < NR_CONTENDERS; i++) {
		struct contender *c = &contenders[i];

		snprintf(c->path, sizeof(c->path), "%s/peer/micro-%s", dir, c->name);
		if (c->off || !access(c->path, X_OK))
			continue;
		c->off = true;
		if (!c->package)
			continue;
		all = false;
		fprintf(stderr, "contender %s was not built%s%s\n", c->name,
			*c->package ? ": install the package " : "", c->package);
	}
	if (!all)
		fprintf(stderr, "then: meson setup --reconfigure, and build again\n");
	return all;
}

/* Leaves in those that a list with commas names. */
static bool choose_contenders(char *list)
{
	char *name, *save = NULL;
	unsigned i;

	for (i = 0; i < NR_CONTENDERS; i++)
		contenders[i].off = true;
	for (name = strtok_r(list, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
		for (i = 0; i < NR_CONTENDERS && strcmp(contenders[i].name, name); i++)
			;
		if (i == NR_CONTENDERS) {
			fprintf(stderr, "no contender is called %s\n", name);
			return false;
		}
		contenders[i].off = false;
	}
	return true;
}

static bool wanted(const struct row *row, char **names, int nr)
{
	int i;

	for (i = 0; i < nr; i++)
		if (!strcmp(names[i], row->name))
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

/* Of those that have to be there. */
static unsigned failures(void)
{
	unsigned i, n = 0;

	for (i = 0; i < NR_CONTENDERS; i++)
		if (results[i].failed[0]) {
			fprintf(stderr, "%s: %s\n", contenders[i].name, results[i].failed);
			n += contenders[i].package != NULL;
		}
	return n;
}

static int run_rows(char **names, int nr, unsigned vcores, bool json, bool check)
{
	cJSON *o = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(o, "rows");
	unsigned i, v, bad = 0, most = bench_nr_cpus() < 2 ? 1 : 2;
	char *text;

	for (i = 0; i < UP_ARRAY_LEN(rows); i++)
		for (v = 1; v <= most; v++) {
			if (!wanted(&rows[i], names, nr) || (vcores && vcores != v))
				continue;
			measure(&rows[i], v);
			bad += failures();
			if (json)
				cJSON_AddItemToArray(list, to_json(&rows[i], v));
			else
				print_row(&rows[i], v);
			if (check)
				check_row(&rows[i], v);
		}
	text = cJSON_Print(o);
	if (json)
		puts(text);
	free(text);
	cJSON_Delete(o);
	if (check)
		printf("%u bounds, %u missed; lower than every peer in %u of %u rows\n", nr_bounds,
		       nr_missed, nr_rows_lower, nr_rows_compared);
	return bad || nr_missed || 2 * nr_rows_lower < nr_rows_compared;
}

static void help(const char *name)
{
	printf("usage: %s [OPTION...] [ROW...]\n"
	       "Measures each row (all, unless some are named), on one vcore and on two.\n"
	       "  --json         one object: rows, each with name, unit, vcores and contenders\n"
	       "  --check        exit 1 when a row misses its bound\n"
	       "  --turns N      how often each contender runs (%u; %u where a run is long)\n"
	       "  --ms N         how long one run is to take (%u)\n"
	       "  --vcores N     on so many only\n"
	       "  --peers A,B    only these contenders, of which none has to be there\n"
	       "  --smoke        one short turn each: does everything answer?\n"
	       "Exit status: 0, 1 a bound missed or a contender failed, 64 usage, 69 a required\n"
	       "peer is not there.\n",
	       name, TURNS, TURNS_LONG, TARGET_MS);
}

static bool number(const char *text, unsigned max, unsigned *ret_n)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*end || !n || n > max) {
		fprintf(stderr, "%s: not a number from 1 to %u\n", text, max);
		return false;
	}
	*ret_n = (unsigned)n;
	return true;
}

int main(int argc, char **argv)
{
	static const struct option longopts[] = { { "json", no_argument, NULL, 'j' },
						  { "check", no_argument, NULL, 'c' },
						  { "turns", required_argument, NULL, 't' },
						  { "ms", required_argument, NULL, 'm' },
						  { "vcores", required_argument, NULL, 'v' },
						  { "peers", required_argument, NULL, 'p' },
						  { "smoke", no_argument, NULL, 's' },
						  { "help", no_argument, NULL, 'h' },
						  { NULL, 0, NULL, 0 } };
	bool json = false, check = false, ok = true;
	unsigned vcores = 0;
	int c;

	signal(SIGPIPE, SIG_IGN);
	while (ok && (c = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
		json |= c == 'j';
		check |= c == 'c';
		smoke |= c == 's';
		if (c == 't')
			ok = number(optarg, TURNS_MAX, &turns_wanted);
		else if (c == 'm')
			ok = number(optarg, 10000, &target_ms);
		else if (c == 'v')
			ok = number(optarg, 2, &vcores);
		else if (c == 'p')
			ok = choose_contenders(optarg);
		else if (c == '?')
			ok = false;
		if (c == 'h') {
			help(argv[0]);
			return 0;
		}
	}
	if (!ok || !names_known(argv + optind, argc - optind))
		return 64;
	if (!find_contenders())
		return 69;
	if (smoke) {
		turns_wanted = 1;
		target_ms = 1;
	}
	return run_rows(argv + optind, argc - optind, vcores, json, check);
}
