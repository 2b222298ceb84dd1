/* SPDX-License-Identifier: MIT */
/*
 * The ring of a vcore's records as its two sides see it: a reader that may look between any two
 * instructions of the writer's, and one that is slow.
 */
#include <pthread.h>

#include "apart.h"
#include "base/atomic.h"
#include "base/inject.h"
#include "user/trace.h"

#define LEN 8

static struct upabi_run_vcore line;
static struct upabi_trace_rec recs[LEN];

static struct up_trace_ring new_ring(void)
{
	struct up_trace_ring t = { .line = &line, .recs = recs, .mask = LEN - 1 };

	memset(&line, 0, sizeof(line));
	memset(recs, 0, sizeof(recs));
	t.tail_seen = t.head - LEN; /* as up_publish_vcore() leaves it */
	return t;
}

/* A reader who looks while a record is being written: everything below head is whole. */
static unsigned looks;

static int look_between(unsigned nr, const char *name, void *arg)
{
	uint64_t i, head;

	if (strcmp(name, "trace_put"))
		return 0;
	looks++;
	head = up_load_acquire(&line.head);
	for (i = line.tail; i < head; i++)
		CHECK_INT(recs[i & (LEN - 1)].a, 1000 + i);
	/* Taken, so that the next one fits. */
	up_store_release(&line.tail, head);
	return 0;
}

static int case_whole(void)
{
	struct up_trace_ring t = new_ring();
	uint64_t i;

	up_inject_set_hook(look_between, NULL);
	for (i = 0; i < 100; i++)
		up_trace_put(&t, UPABI_TR_RUN, 0, 1000 + i, 0);
	CHECK_INT(looks, 100);
	CHECK_INT(line.head, 100);
	CHECK_INT(line.lost, 0);
	return 0;
}

static int case_full(void)
{
	struct up_trace_ring t = new_ring();
	uint64_t i;

	for (i = 0; i < 20; i++)
		up_trace_put(&t, UPABI_TR_RUN, 0, i, 0);
	CHECK_INT(line.head, LEN);
	CHECK_INT(line.lost, 20 - LEN);
	for (i = 0; i < LEN; i++) {
		CHECK_INT(recs[i].a, i);
		CHECK_INT(recs[i].type, UPABI_TR_RUN);
	}
	/* A reader takes three: three fit. */
	up_store_release(&line.tail, 3);
	for (i = 0; i < 5; i++)
		up_trace_put(&t, UPABI_TR_RUN, 0, 100 + i, 0);
	CHECK_INT(line.head, LEN + 3);
	CHECK_INT(line.lost, 20 - LEN + 2);
	for (i = 0; i < 3; i++)
		CHECK_INT(recs[i].a, 100 + i);
	CHECK_INT(recs[3].a, 3);
	return 0;
}

/* The tail is another process's: whatever it says, records go into the ring and nowhere else. */
static int case_hostile(void)
{
	static const uint64_t tails[] = { 1,	      LEN + 1,		1000,
					  UINT64_MAX, UINT64_MAX - LEN, UINT64_MAX / 2 };
	struct {
		struct upabi_trace_rec before, ring[LEN], after;
	} room;
	unsigned k, i;

	for (k = 0; k < sizeof(tails) / sizeof(tails[0]); k++) {
		struct up_trace_ring t = new_ring();

		memset(&room, 0xa5, sizeof(room));
		t.recs = room.ring;
		for (i = 0; i < 4 * LEN; i++) {
			up_store_relaxed(&line.tail, tails[k]);
			up_trace_put(&t, UPABI_TR_RUN, 0, i, 0);
		}
		CHECK_INT(line.head + line.lost, 4 * LEN);
		CHECK(room.before.a == 0xa5a5a5a5a5a5a5a5 && room.after.a == 0xa5a5a5a5a5a5a5a5);
	}
	return 0;
}

/* Two threads, with delays where it hurts: what is read is in order, and with what was lost it is all
 * that was written. */
#define TO_READ 4000
static uint64_t seed = 1, read_so_far, written;

static int delay(unsigned nr, const char *name, void *arg)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	for (uint64_t i = seed >> 58; i; i--)
		up_cpu_relax();
	return 0;
}

static void *write_all(void *arg)
{
	struct up_trace_ring *t = arg;

	/* However fast either is: until enough has come through. */
	while (up_load_relaxed(&read_so_far) < TO_READ) {
		written++;
		up_trace_put(t, UPABI_TR_RUN, (uint32_t)written, written, ~written);
	}
	return NULL;
}

static int case_two_sides(void)
{
	struct up_trace_ring t = new_ring();
	uint64_t tail = 0, head, last = 0;
	bool over = false, done = false;
	pthread_t writer;

	up_inject_set_hook(delay, NULL);
	CHECK_INT(pthread_create(&writer, NULL, write_all, &t), 0);
	while (!done) {
		done = over;
		head = up_load_acquire(&line.head); /* as the command does */
		CHECK(head - tail <= LEN);
		for (; tail < head; tail++) {
			struct upabi_trace_rec r = recs[tail & (LEN - 1)];

			CHECK(r.a > last && r.b == ~r.a && r.arg == (uint32_t)r.a);
			last = r.a;
		}
		up_store_release(&line.tail, tail);
		up_store_relaxed(&read_so_far, tail);
		if (!over && pthread_tryjoin_np(writer, NULL) == 0)
			over = true; /* once more */
	}
	CHECK_INT(tail + line.lost, written);
	return 0;
}

/* A vcore that looks for work again and again is idle once. */
static int case_idle_once(void)
{
	struct up_trace_ring t = new_ring();
	unsigned i;

	for (i = 0; i < 5; i++)
		up_trace_put(&t, UPABI_TR_IDLE, 0, 0, 0);
	CHECK_INT(line.head, 1);
	up_trace_put(&t, UPABI_TR_RUN, 0, 1, 0);
	up_trace_put(&t, UPABI_TR_IDLE, 0, 0, 0);
	CHECK_INT(line.head, 3);
	return 0;
}

static const struct apart cases[] = {
	CASE("a record is whole before it is counted", case_whole),
	CASE("a full ring takes nothing, and what is lost is counted", case_full),
	CASE("a tail that makes no sense leads nowhere else", case_hostile),
	CASE("reader and writer at once, with delays", case_two_sides),
	CASE("an idle vcore says so once", case_idle_once),
};

APART_MAIN(cases)
