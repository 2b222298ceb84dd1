/* SPDX-License-Identifier: MIT */
/*
 * `upcall doctor`: each mechanism there or not, what it gives, what it costs here, and how to get it.
 * Everything is tried and measured on the spot; nothing is left changed.
 */
#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/probe.h"

#define BATCHES 5

static const struct probe *const groups[] = { probes_runtime, probes_library, probes_kernel,
					      probes_limits };
static const char *const group_names[] = { "runtime", "library", "kernel", "limits" };
#define NR_GROUPS (sizeof(groups) / sizeof(groups[0]))

struct found {
	const struct probe *p;
	size_t group;
	struct probe_result r;
};

void probe_detail(struct probe_result *r, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(r->detail, sizeof(r->detail), fmt, args);
	va_end(args);
}

double probe_time(void (*fn)(void *arg), void *arg, unsigned nr)
{
	double best = -1;
	uint64_t from, ns;
	unsigned batch, i;

	for (batch = 0; batch < BATCHES; batch++) {
		from = up_now_ns();
		for (i = 0; i < nr; i++)
			fn(arg);
		ns = up_now_ns() - from;
		if (best < 0 || (double)ns / nr < best)
			best = (double)ns / nr;
	}
	return best;
}

bool probe_file(const char *path, char *ret, unsigned sz)
{
	FILE *f = fopen(path, "re");
	bool good = f && fgets(ret, (int)sz, f);

	if (!good)
		ret[0] = 0;
	ret[strcspn(ret, "\n")] = 0;
	if (f)
		fclose(f);
	return good;
}

/* ---- looking ---- */

static size_t count(void)
{
	size_t g, nr = 0;
	const struct probe *p;

	for (g = 0; g < NR_GROUPS; g++)
		for (p = groups[g]; p->name; p++)
			nr++;
	return nr;
}

/* Some of them take their time: what is being looked at, on one line that goes away. */
static void show_progress(const char *name, size_t nr, size_t of)
{
	if (!isatty(STDERR_FILENO))
		return;
	if (name)
		fprintf(stderr, "\r\033[Klooking: %s (%zu of %zu)", name, nr, of);
	else
		fputs("\r\033[K", stderr);
	fflush(stderr);
}

static struct found *look(size_t *ret_nr)
{
	size_t g, nr = 0, all = count();
	struct found *found = calloc(all, sizeof(*found));
	const struct probe *p;

	for (g = 0; found && g < NR_GROUPS; g++)
		for (p = groups[g]; p->name; p++) {
			struct found *f = &found[nr++];

			show_progress(p->name, nr, all);
			*f = (struct found){ .p = p, .group = g, .r.cost_ns = -1 };
			p->look(&f->r);
		}
	show_progress(NULL, 0, 0);
	*ret_nr = nr;
	return found;
}

static bool can_run(const struct found *found, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++)
		if (found[i].p->needed && found[i].r.state == PROBE_NO)
			return false;
	return true;
}

/* ---- telling ---- */

static void print_cost(char *text, size_t sz, double ns)
{
	if (ns < 0)
		*text = 0;
	else if (ns < 1000)
		snprintf(text, sz, "%.1f ns", ns);
	else if (ns < 1e6)
		snprintf(text, sz, "%.2f us", ns / 1e3);
	else
		snprintf(text, sz, "%.2f ms", ns / 1e6);
}

static const char *mark(const struct found *f)
{
	if (f->r.state == PROBE_YES)
		return "yes";
	return f->r.state == PROBE_LIMITED ? "limit" : f->p->needed ? "NO" : "no";
}

static void print_one(const struct found *f, bool colour)
{
	static const char *const colours[] = { "\033[31m", "\033[32m", "\033[33m" };
	char cost[32];

	print_cost(cost, sizeof(cost), f->r.cost_ns);
	printf("  %s%-5s%s  %-16s  %10s  %s\n", colour ? colours[f->r.state] : "", mark(f),
	       colour ? "\033[0m" : "", f->p->name, cost, f->p->gives);
	if (*cost || f->r.detail[0])
		printf("  %37s(%s%s%s)\n", "", *cost ? f->r.cost_of : "",
		       *cost && f->r.detail[0] ? "; " : "", f->r.detail);
	if (f->r.state != PROBE_YES)
		printf("  %37sto have it: %s\n", "", f->p->get);
}

static void print_text(const struct found *found, size_t nr)
{
	bool colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
	struct utsname u = { 0 };
	size_t i;

	uname(&u);
	printf("Linux %s, %s\n", u.release, u.machine);
	for (i = 0; i < nr; i++) {
		if (!i || found[i].group != found[i - 1].group)
			printf("\n%s%s%s\n", colour ? "\033[1m" : "", group_names[found[i].group],
			       colour ? "\033[0m" : "");
		print_one(&found[i], colour);
	}
	printf("\n%s\n",
	       can_run(found, nr) ? "Upcall runs here." : "Upcall cannot run here: see NO above.");
}

static void add_one(cJSON *list, const struct found *f)
{
	static const char *const states[] = { "no", "yes", "limited" };
	cJSON *o = cJSON_CreateObject();

	cJSON_AddItemToArray(list, o);
	cJSON_AddStringToObject(o, "name", f->p->name);
	cJSON_AddStringToObject(o, "group", group_names[f->group]);
	cJSON_AddBoolToObject(o, "present", f->r.state != PROBE_NO);
	cJSON_AddStringToObject(o, "state", states[f->r.state]);
	cJSON_AddBoolToObject(o, "needed", f->p->needed);
	cJSON_AddStringToObject(o, "gives", f->p->gives);
	if (f->r.cost_ns >= 0) {
		cJSON_AddNumberToObject(o, "cost_ns", f->r.cost_ns);
		cJSON_AddStringToObject(o, "cost_of", f->r.cost_of);
	} else {
		cJSON_AddNullToObject(o, "cost_ns");
	}
	cJSON_AddStringToObject(o, "detail", f->r.detail);
	cJSON_AddStringToObject(o, "how_to_get", f->p->get);
}

static bool print_json(const struct found *found, size_t nr)
{
	cJSON *o = cJSON_CreateObject(), *list;
	struct utsname u = { 0 };
	char *text;
	size_t i;

	uname(&u);
	cJSON_AddBoolToObject(o, "can_run", can_run(found, nr));
	cJSON_AddStringToObject(o, "linux", u.release);
	cJSON_AddStringToObject(o, "machine", u.machine);
	list = cJSON_AddArrayToObject(o, "mechanisms");
	for (i = 0; i < nr; i++)
		add_one(list, &found[i]);
	text = cJSON_Print(o);
	cJSON_Delete(o);
	if (text)
		puts(text);
	free(text);
	return text;
}

static int doctor(bool json)
{
	struct found *found;
	bool good = true;
	size_t nr;
	int r;

	found = look(&nr);
	if (found && json)
		good = print_json(found, nr);
	else if (found)
		print_text(found, nr);
	if (!found || !good) {
		cli_say("no memory");
		r = CLI_FAILED;
	} else {
		r = can_run(found, nr) ? CLI_OK : CLI_UNAVAILABLE;
	}
	free(found);
	return r;
}

static int doctor_main(const struct cli_command *c, int argc, char **argv)
{
	bool json;
	int r = cli_json_only(c, argc, argv, &json);

	if (r >= 0)
		return r;
	return doctor(json);
}

static const struct cli_option options[] = {
	{ "json", 0, NULL, "one JSON object", 256 },
	{ "help", 'h', NULL, "this text", CLI_OPT_HELP },
	{ NULL, 0, NULL, NULL, 0 },
};

const struct cli_command cli_doctor = {
	.name = "doctor",
	.usage = "[--json]",
	.about = "what upcall finds on this machine, and what it costs here",
	.more = "Exit status: 0 upcall can run here, 69 it cannot; 64 misuse, 125 a failure of "
		"ours.\n",
	.options = options,
	.main = doctor_main,
};
