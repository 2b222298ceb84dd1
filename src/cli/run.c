/* SPDX-License-Identifier: MIT */
/*
 * `upcall run`: gives a program its cores and options, waits for it, tells what happened to it.
 */
#include "cli/run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <upcall/upcall.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/units.h"
#include "cli/cli.h"

#define MOST_VCORES   16384u
#define MOST_ACTS     (1u << 22)
#define LEAST_SLICE   (10 * UP_NSEC_PER_USEC)
#define LONGEST	      (1000 * UP_NSEC_PER_SEC)
#define LARGEST_STACK (UINT64_C(1) << 40)
#define LEAST_TRACE   (UINT64_C(4) << 10)
#define LARGEST_TRACE (UINT64_C(1) << 32)

enum {
	OPT_VCORES = 'n',
	OPT_OUTPUT = 'o',
	OPT_TRACE = 't',
	OPT_STATS = 's',
	OPT_SLICE = 256,
	OPT_NO_SLICE,
	OPT_MAX_ACTS,
	OPT_STACK,
	OPT_GRACE,
	OPT_SHARED_TLS,
	OPT_JSON,
	OPT_TRACE_BUFFER,
	OPT_IO,
};

static const struct cli_option options[] = {
	{ "vcores", 'n', "N", "cores to ask for; any other program gets N CPUs", OPT_VCORES },
	{ "slice", 0, "TIME", "a uthread's turn when others wait, as 500us or 1ms", OPT_SLICE },
	{ "no-slice", 0, NULL, "uthreads give up the core by themselves, or never", OPT_NO_SLICE },
	{ "grace", 0, "TIME", "warning before a core is taken", OPT_GRACE },
	{ "max-acts", 0, "N", "kernel threads at the most, blocked ones included", OPT_MAX_ACTS },
	{ "stack", 0, "SIZE", "of a uthread, as 64K", OPT_STACK },
	{ "shared-tls", 0, NULL, "uthreads share the TLS of the vcore they are on",
	  OPT_SHARED_TLS },
	{ "io", 0, NULL, "libc's blocking calls on uthreads keep no kernel thread", OPT_IO },
	{ "stats", 's', NULL, "tell at the end what happened, on stderr", OPT_STATS },
	{ "json", 0, NULL, "... as one JSON object; implies --stats", OPT_JSON },
	{ "output", 'o', "FILE", "... into FILE instead; implies --stats", OPT_OUTPUT },
	{ "trace", 't', "FILE", "write a trace that ui.perfetto.dev opens", OPT_TRACE },
	{ "trace-buffer", 0, "SIZE", "memory for it, each vcore; 4M, less beyond 64 CPUs",
	  OPT_TRACE_BUFFER },
	{ "help", 'h', NULL, "this text", CLI_OPT_HELP },
	{ NULL, 0, NULL, NULL, 0 },
};

/* A number between bounds, or one line that says what it should be. */
static int number(const struct cli_command *c, const char *option, const char *text,
		  const struct up_unit *units, uint64_t least, uint64_t most, uint64_t *ret)
{
	const char *like = units == up_units_count	? "a number"
			   : units == up_units_duration ? "a time, as 500us or 1ms"
							: "a size in bytes, or as 64K";

	if (up_units_parse(text, units, ret))
		return cli_misused(c, "--%s wants %s, not '%s'", option, like, text);
	if (*ret < least)
		return cli_misused(c, "--%s %s is too small: at least %llu%s", option, text,
				   (unsigned long long)least,
				   units == up_units_duration ? "ns" : "");
	if (*ret > most)
		return cli_misused(c, "--%s %s is too large: at most %llu%s", option, text,
				   (unsigned long long)most,
				   units == up_units_duration ? "ns" : "");
	return 0;
}

static int file_name(const struct cli_command *c, const char *option, const char *text,
		     const char **ret)
{
	*ret = text;
	return *text ? 0 : cli_misused(c, "--%s wants the name of a file", option);
}

static int take(const struct cli_command *c, struct run_opts *o, int id, const char *arg)
{
	switch (id) {
	case OPT_VCORES:
		return number(c, "vcores", arg, up_units_count, 1, MOST_VCORES, &o->vcores);
	case OPT_MAX_ACTS:
		return number(c, "max-acts", arg, up_units_count, 1, MOST_ACTS, &o->max_acts);
	case OPT_SLICE:
		o->no_slice = false;
		return number(c, "slice", arg, up_units_duration, LEAST_SLICE, LONGEST,
			      &o->slice_ns);
	case OPT_GRACE:
		return number(c, "grace", arg, up_units_duration, 1, LONGEST, &o->grace_ns);
	case OPT_STACK:
		return number(c, "stack", arg, up_units_size, upcall_min_stack(), LARGEST_STACK,
			      &o->stack_sz);
	case OPT_TRACE_BUFFER:
		return number(c, "trace-buffer", arg, up_units_size, LEAST_TRACE, LARGEST_TRACE,
			      &o->trace_sz);
	case OPT_TRACE:
		return file_name(c, "trace", arg, &o->trace);
	case OPT_OUTPUT:
		o->stats = true;
		return file_name(c, "output", arg, &o->output);
	case OPT_NO_SLICE:
		o->no_slice = true;
		o->slice_ns = 0;
		return 0;
	case OPT_IO:
		return run_find_shim(&o->shim);
	case OPT_JSON:
		o->json = true;
		/* fall through */
	case OPT_STATS:
		o->stats = true;
		return 0;
	default:
		o->shared_tls |= id == OPT_SHARED_TLS;
		return 0;
	}
}

/* Where the numbers go: opened first, since nobody wants to learn at the end of a run that there is no
 * such folder. */
static FILE *open_output(const struct run_opts *o)
{
	FILE *to = o->output ? fopen(o->output, "we") : stderr;

	if (!to)
		cli_say("cannot write %s: %s", o->output, strerror(errno));
	return to;
}

static int not_run(const struct run_outcome *out, const char *program, struct run_trace *t)
{
	if (t)
		run_trace_close(t, out); /* a trace of nothing */
	cli_say("cannot run %s: %s", program, strerror(out->exec_errno));
	return out->exec_errno == ENOENT ? CLI_NOT_FOUND : CLI_CANNOT_EXEC;
}

static int report(FILE *to, const struct run_opts *o, const struct run_page *p,
		  const struct run_outcome *out, struct run_trace *t)
{
	bool good = !t || run_trace_close(t, out);

	if (!good)
		cli_say("cannot write %s: %s", o->trace, strerror(errno));
	if (o->stats)
		good = run_stats_print(to, o, p, out, t) &&
		       cli_written(to, o->output ? o->output : "stderr") && good;
	/* The program's own end comes first: only a good one is spoilt by ours. */
	return good || out->status ? run_end_as(out) : CLI_FAILED;
}

static int run(const struct run_opts *o)
{
	struct run_page page = { .fd = -1 };
	struct run_outcome out = { 0 };
	struct run_trace *trace = NULL;
	struct run_cpus cpus = { 0 };
	FILE *to = open_output(o);
	int r;

	cpus.allowed = run_cpus_allowed(&cpus.sz);
	if (!to || !cpus.allowed)
		return CLI_FAILED;
	if (o->vcores)
		cpus.confined = run_cpus_first(cpus.allowed, cpus.sz, o->vcores);
	out.nr_cpus = (unsigned)CPU_COUNT_S(cpus.sz, cpus.confined ? cpus.confined : cpus.allowed);
	if (o->stats || o->trace || o->vcores) {
		r = run_page_make(o, &cpus, &page);
		if (r) {
			cli_say("no memory to share with the program: %s", strerror(-r));
			return CLI_FAILED;
		}
	}
	if (o->trace) {
		r = run_trace_open(o->trace, &page, &trace);
		if (r) {
			cli_say("cannot write %s: %s", o->trace, strerror(-r));
			return CLI_FAILED;
		}
	}
	r = run_child(&(struct run_child){ .argv = o->argv,
					   .cpus = &cpus,
					   .page = &page,
					   .opts = o,
					   .each = trace ? run_trace_drain : NULL,
					   .arg = trace },
		      &out);
	if (r) {
		cli_say("cannot make a process: %s", strerror(-r));
		return CLI_FAILED;
	}
	r = out.exec_errno ? not_run(&out, o->argv[0], trace) : report(to, o, &page, &out, trace);
	run_trace_free(trace);
	free(cpus.allowed);
	free(cpus.confined);
	return r;
}

static int run_main(const struct cli_command *c, int argc, char **argv)
{
	struct run_opts o = { 0 };
	const char *arg;
	int at = 1, id, r;

	while ((id = cli_next_option(c, argc, argv, &at, &arg)) >= 0) {
		if (id == CLI_OPT_HELP)
			return cli_print_help(c, stdout), CLI_OK;
		r = take(c, &o, id, arg);
		if (r)
			return r;
	}
	if (id == -2)
		return CLI_USAGE;
	if (at == argc)
		return cli_misused(c, "a program is missing");
	o.argv = argv + at;
	return run(&o);
}

const struct cli_command cli_run = {
	.name = "run",
	.usage = "[options] [--] program [argument...]",
	.about = "run a program with cores and options, and tell what happened to it",
	.more = "Times end in ns, us, ms or s; sizes in nothing, K, M or G.  Options are defaults: "
		"what the program\nitself asks for in upcall_start() counts.\n\n"
		"Exit status: the program's; where a signal killed it, the same signal (128 + its "
		"number in $?);\n64 misuse, 125 a failure of ours, 126 it cannot be executed, 127 "
		"there is no such program.\n",
	.options = options,
	.main = run_main,
};
