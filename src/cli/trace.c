/* SPDX-License-Identifier: MIT */
/*
 * The trace: takes records out of the program's rings, while it runs and when it has ended, and writes
 * them as Chrome trace events, which ui.perfetto.dev and chrome://tracing open.  A track a vcore: when it
 * was online, within that which uthread it ran, and what came between as instants.
 *
 * Events of one track come in the order of their time, and each slice that is begun is ended, whatever
 * the rings hold: records are another process's, may be missing, and are checked one by one.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/clock.h"
#include "base/mutant.h"
#include "cli/run.h"

struct track {
	uint64_t head_read; /* records taken */
	uint64_t lost;
	uint64_t last_ns;
	bool online;
	bool running;
	uint64_t id;   /* of what runs */
	char name[17]; /* of the next uthread that runs for the first time */
};

/* Names by uthread, for those that have one: open addressing, at most half full. */
struct name {
	uint64_t id;
	char text[17]; /* empty: a free place */
};

struct run_trace {
	FILE *to;
	const struct run_page *page;
	uint64_t records;
	uint64_t from_ns;
	bool any; /* an event has been written: the next one needs a comma */
	struct track *tracks;
	struct name *names;
	size_t nr_names, room;
};

/* ---- names ---- */

static struct name *find_name(const struct run_trace *t, uint64_t id)
{
	size_t i = (size_t)(id * UINT64_C(0x9e3779b97f4a7c15)) & (t->room - 1);

	while (t->names[i].text[0] && t->names[i].id != id)
		i = (i + 1) & (t->room - 1);
	return &t->names[i];
}

static void grow_names(struct run_trace *t)
{
	struct run_trace bigger = *t;
	size_t i;

	bigger.room = t->room ? 2 * t->room : 256;
	bigger.names = calloc(bigger.room, sizeof(*bigger.names));
	if (!bigger.names)
		return;
	for (i = 0; i < t->room; i++)
		if (t->names[i].text[0])
			*find_name(&bigger, t->names[i].id) = t->names[i];
	free(t->names);
	*t = bigger;
}

static void set_name(struct run_trace *t, uint64_t id, const char *text)
{
	struct name *n;

	if (2 * t->nr_names >= t->room)
		grow_names(t);
	if (2 * t->nr_names >= t->room)
		return; /* no memory: it goes by its number */
	n = find_name(t, id);
	t->nr_names += !n->text[0];
	n->id = id;
	memcpy(n->text, text, sizeof(n->text));
}

/* What JSON, and a person, can read. */
static void take_name(struct track *k, const struct upabi_trace_rec *rec)
{
	size_t i;

	memcpy(k->name, &rec->a, 8);
	memcpy(k->name + 8, &rec->b, 8);
	k->name[16] = 0;
	for (i = 0; k->name[i]; i++)
		if (k->name[i] < ' ' || k->name[i] > '~' || k->name[i] == '"' || k->name[i] == '\\')
			k->name[i] = '?';
}

/* ---- events ---- */

static void begin_event(struct run_trace *t, const char *ph, uint32_t v, uint64_t ns)
{
	ns = ns > t->from_ns ? ns - t->from_ns : 0;
	fprintf(t->to, "%s\n{\"ph\":\"%s\",\"pid\":1,\"tid\":%u,\"ts\":%llu.%03u",
		t->any ? "," : "", ph, v + 1, (unsigned long long)(ns / 1000),
		(unsigned)(ns % 1000));
	t->any = true;
}

static void end_slice(struct run_trace *t, uint32_t v)
{
	begin_event(t, "E", v, t->tracks[v].last_ns);
	fputc('}', t->to);
}

static void stop_running(struct run_trace *t, uint32_t v)
{
	if (t->tracks[v].running)
		end_slice(t, v);
	t->tracks[v].running = false;
}

static void go_offline(struct run_trace *t, uint32_t v)
{
	stop_running(t, v);
	if (t->tracks[v].online)
		end_slice(t, v);
	t->tracks[v].online = false;
}

/* cpu: UPABI_NONE where the record that says so was lost. */
static void go_online(struct run_trace *t, uint32_t v, uint32_t cpu)
{
	struct track *k = &t->tracks[v];

	if (k->online)
		return;
	k->online = true;
	begin_event(t, "B", v, k->last_ns);
	if (cpu == UPABI_NONE)
		fputs(",\"cat\":\"vcore\",\"name\":\"online\"}", t->to);
	else
		fprintf(t->to,
			",\"cat\":\"vcore\",\"name\":\"online, cpu %u\",\"args\":{\"cpu\":%u}}",
			cpu, cpu);
}

static void start_running(struct run_trace *t, uint32_t v, uint64_t id)
{
	struct track *k = &t->tracks[v];
	const struct name *n;

	go_online(t, v, UPABI_NONE);
	if (k->name[0])
		set_name(t, id, k->name);
	k->name[0] = 0;
	if (k->running && k->id == id)
		return; /* it goes on */
	stop_running(t, v);
	k->running = true;
	k->id = id;
	n = t->room ? find_name(t, id) : NULL;
	begin_event(t, "B", v, k->last_ns);
	fprintf(t->to, ",\"cat\":\"uthread\",\"name\":\"%s%s%llu\",\"args\":{\"uthread\":%llu}}",
		n && n->text[0] ? n->text : "uthread", n && n->text[0] ? " #" : " ",
		(unsigned long long)id, (unsigned long long)id);
}

__attribute__((format(printf, 4, 5))) static void instant(struct run_trace *t, uint32_t v,
							  const char *cat, const char *fmt, ...)
{
	va_list args;

	begin_event(t, "i", v, t->tracks[v].last_ns);
	fprintf(t->to, ",\"s\":\"t\",\"cat\":\"%s\",", cat);
	va_start(args, fmt);
	vfprintf(t->to, fmt, args);
	va_end(args);
	fputc('}', t->to);
}

/* ---- records ---- */

static const char *class_name(uint32_t class)
{
	static const char *const names[UPABI_CLASSES] = { "announced", "page fault",
							  "uninterruptible", "unannounced" };

	return class < UPABI_CLASSES ? names[class] : "?";
}

static const char *off_name(uint32_t why)
{
	static const char *const names[] = { "given back: no work", "given back on a warning",
					     "taken", "given to another vcore" };

	return why < sizeof(names) / sizeof(names[0]) ? names[why] : "?";
}

static void put_event(struct run_trace *t, uint32_t v, const struct upabi_trace_rec *r)
{
	static const char *const names[] = { "?",
					     "preempt pending",
					     "gang preempt pending",
					     "vcore preempted",
					     "vcore returned",
					     "vcore granted",
					     "blocked",
					     "unblocked",
					     "fault",
					     "resource",
					     "user" };
	const char *name = r->arg < sizeof(names) / sizeof(names[0]) ? names[r->arg] : "other";

	instant(t, v, "event",
		"\"name\":\"event: %s\",\"args\":{\"number\":%u,\"val\":%llu,\"aux\":%llu}", name,
		r->arg, (unsigned long long)r->a, (unsigned long long)r->b);
}

/* long because: a line or two a kind of record */
static void put_record(struct run_trace *t, uint32_t v, const struct upabi_trace_rec *r)
{
	struct track *k = &t->tracks[v];
	unsigned long long a = r->a;

	k->last_ns = UP_MAX(k->last_ns, r->time_ns);
	switch (r->type) {
	case UPABI_TR_ONLINE:
		go_offline(t, v); /* where its end was lost */
		go_online(t, v, r->arg);
		break;
	case UPABI_TR_OFFLINE:
		instant(t, v, "vcore", "\"name\":\"core %s\"", off_name(r->arg));
		go_offline(t, v);
		break;
	case UPABI_TR_RUN:
		start_running(t, v, r->a);
		break;
	case UPABI_TR_IDLE:
		stop_running(t, v);
		break;
	case UPABI_TR_NAME:
		take_name(k, r);
		break;
	case UPABI_TR_STEAL:
		instant(t, v, "steal",
			"\"name\":\"steal\",\"args\":{\"uthread\":%llu,\"from_vcore\":%u}", a,
			r->arg);
		break;
	case UPABI_TR_NOTIFIED:
		instant(t, v, "notification", "\"name\":\"%s\",\"args\":{\"uthread\":%llu}",
			r->arg ? "slice over" : "notified", a);
		break;
	case UPABI_TR_BLOCKED:
		instant(t, v, "block",
			"\"name\":\"blocked: %s\",\"args\":{\"uthread\":%llu,\"class\":\"%s\"}",
			class_name(r->arg), a, class_name(r->arg));
		stop_running(t, v);
		break;
	case UPABI_TR_UNBLOCKED:
		instant(t, v, "block",
			"\"name\":\"unblocked: %s\",\"args\":{\"uthread\":%llu,\"class\":\"%s\"}",
			class_name(r->arg), a, class_name(r->arg));
		break;
	case UPABI_TR_EVENT:
		put_event(t, v, r);
		break;
	case UPABI_TR_WARNED:
		instant(t, v, "preempt", "\"name\":\"core to go\"");
		break;
	default:
		instant(t, v, "other", "\"name\":\"record %u\"", r->type);
	}
}

static void drain(struct run_trace *t, uint32_t v)
{
	struct upabi_run_vcore *line = run_page_vcore(t->page, v);
	const struct upabi_trace_rec *ring = run_page_ring(t->page, v);
	struct track *k = &t->tracks[v];
	/* acquire: pairs with the vcore's release: what it counts is whole */
	uint64_t head = up_load_acquire(&line->head);
	struct upabi_trace_rec rec;

	/* Hostile: more than fits has not been written by a vcore of ours. */
	if (head - k->head_read > t->page->ring_len)
		head = k->head_read;
	for (; k->head_read != head; k->head_read++) {
		memcpy(&rec, &ring[k->head_read & (t->page->ring_len - 1)], sizeof(rec));
		put_record(t, v, &rec);
		t->records++;
	}
	/* release: pairs with the vcore's acquire: we have copied what it may write over */
	up_store_release(&line->tail, k->head_read);
	k->lost = up_load_relaxed(&line->lost);
}

void run_trace_drain(void *trace)
{
	struct run_trace *t = trace;
	uint32_t v;

	for (v = 0; v < t->page->max_vcores; v++)
		drain(t, v);
}

/* ---- the file ---- */

static void put_metadata(struct run_trace *t, uint32_t v)
{
	fprintf(t->to,
		",\n{\"ph\":\"M\",\"pid\":1,\"tid\":%u,\"name\":\"thread_name\",\"args\":{\"name\":"
		"\"vcore %u\"}},\n{\"ph\":\"M\",\"pid\":1,\"tid\":%u,\"name\":"
		"\"thread_sort_index\",\"args\":{\"sort_index\":%u}}",
		v + 1, v, v + 1, v);
}

int run_trace_open(const char *path, const struct run_page *p, struct run_trace **ret_trace)
{
	struct run_trace *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	t->page = p;
	t->tracks = calloc(p->max_vcores, sizeof(*t->tracks));
	t->to = t->tracks ? fopen(path, "we") : NULL;
	if (!t->to) {
		err = t->tracks ? errno : ENOMEM;
		run_trace_free(t);
		return -err;
	}
	t->from_ns = up_now_ns();
	fputs("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n{\"ph\":\"M\",\"pid\":1,\"tid\":0,"
	      "\"name\":\"process_name\",\"args\":{\"name\":\"upcall\"}}",
	      t->to);
	t->any = true;
	*ret_trace = t;
	return 0;
}

void run_trace_counts(const struct run_trace *t, uint64_t *ret_records, uint64_t *ret_lost)
{
	uint32_t v;

	*ret_records = t->records;
	*ret_lost = 0;
	for (v = 0; v < t->page->max_vcores; v++)
		*ret_lost += t->tracks[v].lost;
}

bool run_trace_close(struct run_trace *t, const struct run_outcome *o)
{
	uint64_t records, lost;
	uint32_t v;
	bool good;

	run_trace_drain(t);
	for (v = 0; v < t->page->max_vcores; v++) {
		struct track *k = &t->tracks[v];

		k->last_ns = UP_MAX(k->last_ns, o->to_ns);
		if (k->lost)
			instant(t, v, "lost", "\"name\":\"%llu records lost\"",
				(unsigned long long)k->lost);
		if (!UP_MUT(trace_left_open))
			go_offline(t, v);
		if (k->head_read || k->lost)
			put_metadata(t, v);
	}
	run_trace_counts(t, &records, &lost);
	fprintf(t->to,
		"\n],\"otherData\":{\"writer\":\"upcall run\",\"records\":%llu,\"lost\":%llu}}\n",
		(unsigned long long)records, (unsigned long long)lost);
	good = !ferror(t->to);
	good = !fclose(t->to) && good;
	t->to = NULL;
	return good;
}

void run_trace_free(struct run_trace *t)
{
	if (!t)
		return;
	if (t->to)
		fclose(t->to);
	free(t->names);
	free(t->tracks);
	free(t);
}
