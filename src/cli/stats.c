/* SPDX-License-Identifier: MIT */
/*
 * What is told of a program that has ended: read once out of the page, then printed as a table or as
 * one JSON object.
 */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/run.h"

static const char *const class_keys[UPABI_CLASSES] = { "announced", "fault", "uninterruptible",
						       "unannounced" };

struct vcore {
	struct upabi_vcore_stats s;
	uint64_t online_ns, stretches;
	uint32_t cpu;
};

struct stats {
	const struct run_outcome *out;
	bool is_upcall; /* somebody has started the runtime */
	struct upabi_run head;
	struct upabi_act_stats acts;
	struct upabi_vcore_stats sum;
	uint64_t online_ns;
	uint64_t made, live; /* uthreads */
	uint32_t nr_vcores;  /* up to the last that has been online */
	struct vcore *vcores;
	uint64_t records, lost;
};

/* ---- out of the page ---- */

static void read_vcore(const struct run_page *p, uint32_t v, uint64_t end_ns, struct vcore *ret)
{
	const struct upabi_run_vcore *line = run_page_vcore(p, v);
	uint64_t since = up_load_acquire(&line->since_ns); /* pairs with note_online() */

	ret->s = line->stats;
	ret->online_ns = up_load_relaxed(&line->total_ns);
	ret->stretches = up_load_relaxed(&line->stretches);
	ret->cpu = up_load_relaxed(&line->pcore);
	/* It was online when the process ended. */
	if (since && since < end_ns)
		ret->online_ns += end_ns - since;
}

static void add_words(void *to, const void *from, size_t sz)
{
	uint64_t *sum = to;
	const uint64_t *part = from;
	size_t i;

	for (i = 0; i < sz / sizeof(*sum); i++)
		sum[i] += part[i];
}

static void add_act(struct upabi_act_stats *sum, const struct upabi_act_stats *line)
{
	struct upabi_act_stats a = *line;
	uint64_t max = UP_MAX(sum->behind_max_ns, a.behind_max_ns);

	add_words(sum, &a, sizeof(a));
	sum->behind_max_ns = max;
}

static void add_count(struct stats *st, const struct upabi_run_count *line)
{
	uint64_t made = up_load_relaxed(&line->made);

	st->made += made;
	st->live += made - up_load_relaxed(&line->freed);
}

/* All of them: which numbers are in use changes as they come and go. */
static void read_acts(const struct run_page *p, struct stats *st)
{
	uint32_t i, nr = UP_MIN(p->max_acts, st->head.nr_acts);

	if (st->head.acts_unseen)
		return;
	for (i = 0; i < nr; i++) {
		add_act(&st->acts, run_page_act(p, i));
		add_count(st, run_page_count(p, i));
	}
	/* The last is for threads that are no activations. */
	add_count(st, run_page_count(p, UP_MIN(p->max_acts, st->head.nr_acts)));
}

static bool read_page(const struct run_page *p, const struct run_outcome *out, struct stats *st)
{
	uint32_t v, nr = UP_MIN(up_load_acquire(&p->at->nr_vcores), p->max_vcores);

	st->head = *p->at;
	st->head.sched[sizeof(st->head.sched) - 1] = 0;
	for (v = 0; st->head.sched[v]; v++)
		if (st->head.sched[v] < ' ' || st->head.sched[v] > '~')
			st->head.sched[v] = '?';
	st->is_upcall = st->head.owner && st->head.state && !st->head.start_error;
	st->vcores = calloc(UP_MAX(nr, 1u), sizeof(*st->vcores));
	if (!st->vcores)
		return false;
	for (v = 0; st->is_upcall && v < nr; v++) {
		read_vcore(p, v, out->to_ns, &st->vcores[v]);
		add_words(&st->sum, &st->vcores[v].s, sizeof(st->sum));
		st->online_ns += st->vcores[v].online_ns;
		if (st->vcores[v].stretches)
			st->nr_vcores = v + 1;
	}
	if (st->is_upcall)
		read_acts(p, st);
	return true;
}

static uint64_t timeval_ns(const struct timeval *t)
{
	return (uint64_t)t->tv_sec * UP_NSEC_PER_SEC + (uint64_t)t->tv_usec * UP_NSEC_PER_USEC;
}

/* ---- one JSON object ---- */

/* Whole, whatever its size: cJSON's own numbers are doubles. */
static void put(cJSON *o, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	cJSON_AddRawToObject(o, key, text);
}

static void put_classes(cJSON *o, const char *key, const upabi_u64 *values)
{
	cJSON *c = cJSON_AddObjectToObject(o, key);
	unsigned i;

	for (i = 0; i < UPABI_CLASSES; i++)
		put(c, class_keys[i], values[i]);
}

static void put_vcore_json(cJSON *list, uint32_t nr, const struct vcore *v)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddItemToArray(list, o);
	put(o, "vcore", nr);
	put(o, "cpu", v->cpu);
	put(o, "online_ns", v->online_ns);
	put(o, "stretches", v->stretches);
	put(o, "switches", v->s.switches);
	put(o, "steals", v->s.steals);
	put(o, "preemptions", v->s.preempts);
	put(o, "migrations", v->s.migrations);
	put(o, "events", v->s.events);
	put(o, "events_posted", v->s.posted);
	put(o, "events_lost", v->s.overflow);
}

static void put_runtime(cJSON *o, const struct stats *st)
{
	cJSON *list;
	uint32_t v;

	put(o, "runtime_pid", st->head.owner);
	put(o, "others_not_counted", st->head.refused);
	cJSON_AddBoolToObject(o, "stopped", st->head.state == UPABI_RUN_STOPPED);
	cJSON_AddStringToObject(o, "scheduler", st->head.sched);
	put(o, "slice_ns", st->head.slice_ns);
	cJSON_AddBoolToObject(o, "own_tls", st->head.own_tls);
	put(o, "vcores_wanted", st->head.target);
	put(o, "online_ns", st->online_ns);
	put(o, "uthreads", st->made);
	put(o, "uthreads_left", st->live);
	put(o, "switches", st->sum.switches);
	put(o, "steals", st->sum.steals);
	put(o, "preemptions", st->sum.preempts);
	put(o, "migrations", st->sum.migrations);
	put(o, "notifications", st->acts.notified);
	put(o, "notifications_spurious", st->acts.spurious);
	put(o, "notifications_deferred", st->acts.deferred);
	put_classes(o, "blocked", st->acts.blocked);
	put_classes(o, "unblocked", st->acts.unblocked);
	put(o, "calls_restarted", st->acts.restarts);
	put(o, "calls_interrupted", st->acts.eintr_left);
	put(o, "activations_peak", st->head.acts_peak);
	cJSON_AddBoolToObject(o, "activations_counted", !st->head.acts_unseen);
	put(o, "events_posted", st->sum.posted);
	put(o, "events_lost", st->sum.overflow);
	list = cJSON_AddArrayToObject(o, "vcores");
	for (v = 0; v < st->nr_vcores; v++)
		put_vcore_json(list, v, &st->vcores[v]);
}

static void put_process(cJSON *o, const struct run_opts *opts, const struct run_outcome *out)
{
	cJSON *args = cJSON_AddArrayToObject(o, "command");
	int status = out->status;
	char **arg;

	for (arg = opts->argv; *arg; arg++)
		cJSON_AddItemToArray(args, cJSON_CreateString(*arg));
	put(o, "pid", (uint64_t)out->pid);
	if (WIFSIGNALED(status)) {
		cJSON_AddNullToObject(o, "exit_status");
		put(o, "signal", (uint64_t)WTERMSIG(status));
		cJSON_AddStringToObject(
			o, "signal_name",
			sigabbrev_np(WTERMSIG(status)) ? sigabbrev_np(WTERMSIG(status)) : "RT");
	} else {
		put(o, "exit_status", (uint64_t)WEXITSTATUS(status));
		cJSON_AddNullToObject(o, "signal");
	}
	put(o, "wall_ns", out->to_ns - out->from_ns);
	put(o, "user_ns", timeval_ns(&out->usage.ru_utime));
	put(o, "system_ns", timeval_ns(&out->usage.ru_stime));
	put(o, "max_rss_bytes", (uint64_t)out->usage.ru_maxrss * 1024);
	put(o, "cpus", out->nr_cpus);
}

static bool print_json(FILE *to, const struct run_opts *opts, const struct stats *st)
{
	cJSON *o = cJSON_CreateObject(), *trace;
	char *text;

	put_process(o, opts, st->out);
	cJSON_AddBoolToObject(o, "upcall", st->is_upcall);
	if (!st->is_upcall && st->head.start_error)
		put(o, "start_errno", st->head.start_error);
	if (st->is_upcall)
		put_runtime(o, st);
	if (opts->trace) {
		trace = cJSON_AddObjectToObject(o, "trace");
		cJSON_AddStringToObject(trace, "file", opts->trace);
		put(trace, "records", st->records);
		put(trace, "lost", st->lost);
	}
	text = cJSON_Print(o);
	cJSON_Delete(o);
	if (text)
		fprintf(to, "%s\n", text);
	else
		cli_say("no memory for the statistics");
	free(text);
	return text;
}

/* ---- a table ---- */

static void print_time(char *text, size_t sz, uint64_t ns)
{
	if (ns >= 10 * UP_NSEC_PER_SEC)
		snprintf(text, sz, "%.2f s", (double)ns / 1e9);
	else if (ns >= UP_NSEC_PER_MSEC)
		snprintf(text, sz, "%.2f ms", (double)ns / 1e6);
	else
		snprintf(text, sz, "%.1f us", (double)ns / 1e3);
}

static void print_head(FILE *to, const struct run_opts *opts, const struct run_outcome *out,
		       bool colour)
{
	uint64_t wall = out->to_ns - out->from_ns, user = timeval_ns(&out->usage.ru_utime),
		 sys = timeval_ns(&out->usage.ru_stime);
	char t[3][32];

	print_time(t[0], sizeof(t[0]), wall);
	print_time(t[1], sizeof(t[1]), user);
	print_time(t[2], sizeof(t[2]), sys);
	fprintf(to, "%supcall: %s", colour ? "\033[1m" : "", opts->argv[0]);
	if (WIFSIGNALED(out->status))
		fprintf(to, ": ended by signal %d (%s)", WTERMSIG(out->status),
			strsignal(WTERMSIG(out->status)));
	else
		fprintf(to, ": exit status %d", WEXITSTATUS(out->status));
	fprintf(to, " after %s%s\n", t[0], colour ? "\033[0m" : "");
	fprintf(to, "  processor time   %s user, %s system: %.2f CPUs busy; %ld MiB at peak\n",
		t[1], t[2], wall ? (double)(user + sys) / (double)wall : 0.0,
		out->usage.ru_maxrss >> 10);
}

static void print_vcores(FILE *to, const struct stats *st, bool colour)
{
	double wall = (double)UP_MAX(st->out->to_ns - st->out->from_ns, UINT64_C(1));
	char t[32];
	uint32_t v;

	fprintf(to, "\n%s  %5s  %5s  %12s  %7s  %12s  %9s  %9s  %10s  %9s%s\n",
		colour ? "\033[2m" : "", "vcore", "cpu", "online", "of wall", "switches", "steals",
		"preempted", "migrations", "events", colour ? "\033[0m" : "");
	for (v = 0; v < st->nr_vcores; v++) {
		const struct vcore *c = &st->vcores[v];

		print_time(t, sizeof(t), c->online_ns);
		fprintf(to,
			"  %5u  %5u  %12s  %6.1f%%  %12" PRIu64 "  %9" PRIu64 "  %9" PRIu64
			"  %10" PRIu64 "  %9" PRIu64 "\n",
			v, c->cpu, t, 100.0 * (double)c->online_ns / wall, c->s.switches,
			c->s.steals, c->s.preempts, c->s.migrations, c->s.events);
	}
	print_time(t, sizeof(t), st->online_ns);
	fprintf(to,
		"  %5s  %5s  %12s  %6.1f%%  %12" PRIu64 "  %9" PRIu64 "  %9" PRIu64 "  %10" PRIu64
		"  %9" PRIu64 "\n\n",
		"all", "", t, 100.0 * (double)st->online_ns / wall, st->sum.switches,
		st->sum.steals, st->sum.preempts, st->sum.migrations, st->sum.events);
}

static void print_classes(FILE *to, const char *what, const upabi_u64 *n)
{
	fprintf(to,
		"  %-15s  %" PRIu64 " announced, %" PRIu64 " page faults, %" PRIu64
		" uninterruptible, %" PRIu64 " unannounced\n",
		what, n[0], n[1], n[2], n[3]);
}

static void print_rest(FILE *to, const struct stats *st)
{
	if (st->head.acts_unseen) {
		fprintf(to,
			"  uthreads         not counted: more activations than --max-acts says\n");
	} else {
		fprintf(to, "  uthreads         %" PRIu64 " made, %" PRIu64 " left\n", st->made,
			st->live);
		fprintf(to,
			"  notifications    %" PRIu64 " led into vcore context, %" PRIu64
			" put off, %" PRIu64 " with nothing to do\n",
			(uint64_t)st->acts.notified, (uint64_t)st->acts.deferred,
			(uint64_t)st->acts.spurious);
		print_classes(to, "blocked", st->acts.blocked);
		print_classes(to, "unblocked", st->acts.unblocked);
	}
	fprintf(to, "  activations      %u at peak\n", st->head.acts_peak);
	fprintf(to, "  scheduler        %s\n", st->head.sched);
	fprintf(to, "  events           %" PRIu64 " posted, %" PRIu64 " lost\n",
		(uint64_t)st->sum.posted, (uint64_t)st->sum.overflow);
	if (st->head.owner != (uint32_t)st->out->pid)
		fprintf(to, "  counted is       process %u, the first that started the runtime\n",
			st->head.owner);
	if (st->head.refused)
		fprintf(to, "  not counted      %u other starts of the runtime\n",
			st->head.refused);
}

static void print_table(FILE *to, const struct run_opts *opts, const struct stats *st)
{
	bool colour = isatty(fileno(to)) && !getenv("NO_COLOR");

	print_head(to, opts, st->out, colour);
	if (st->is_upcall) {
		print_vcores(to, st, colour);
		print_rest(to, st);
	} else if (st->head.start_error) {
		fprintf(to, "  upcall           the runtime could not be started: %s\n",
			strerror((int)st->head.start_error));
	} else {
		fprintf(to,
			"  upcall           not an Upcall program: it never started the runtime; "
			"it "
			"had %u CPU%s\n",
			st->out->nr_cpus, st->out->nr_cpus == 1 ? "" : "s");
	}
	if (opts->trace)
		fprintf(to, "  trace            %s: %" PRIu64 " records, %" PRIu64 " lost\n",
			opts->trace, st->records, st->lost);
}

bool run_stats_print(FILE *to, const struct run_opts *o, const struct run_page *p,
		     const struct run_outcome *out, const struct run_trace *t)
{
	struct stats st = { .out = out };
	bool good = read_page(p, out, &st);

	if (t)
		run_trace_counts(t, &st.records, &st.lost);
	if (!good)
		cli_say("no memory for the statistics");
	else if (o->json)
		good = print_json(to, o, &st);
	else
		print_table(to, o, &st);
	free(st.vcores);
	return good;
}
