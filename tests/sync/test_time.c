/* SPDX-License-Identifier: MIT */
/*
 * Alarms: never early, soon after their moment (against nanosleep() in the same run), in the order of
 * their moments, whoever runs or does not run meanwhile; many at once; stopped ones never.
 */
#include "sync_rt.h"

#include <stdlib.h>

#define NAPS 40

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The median of what is slept too long. */
static uint64_t overshoot(int (*nap)(uint64_t ns))
{
	uint64_t over[NAPS], from, ns;
	int i;

	for (i = 0; i < NAPS; i++) {
		from = upcall_now_ns();
		CHECK_INT(nap(1 * MS), 0);
		ns = upcall_now_ns() - from;
		CHECK(ns >= 1 * MS);
		over[i] = ns - 1 * MS;
	}
	qsort(over, NAPS, sizeof(over[0]), by_size);
	return over[NAPS / 2];
}

static int linux_nap(uint64_t ns)
{
	return nanosleep(&(struct timespec){ 0, (long)ns }, NULL);
}

static atomic_int stop_now;

static void *spins(void *arg)
{
	while (!atomic_load(&stop_now))
		;
	return arg;
}

/* Five times as much, and what it takes to be told on a busy machine. */
static void compare(const char *what)
{
	uint64_t theirs = overshoot(linux_nap), ours = overshoot(upcall_sleep_ns);

	dprintf(2, "%s: nanosleep %llu ns late, upcall_sleep_ns %llu\n", what,
		(unsigned long long)theirs, (unsigned long long)ours);
	CHECK(ours < 5 * theirs + 1 * MS);
}

static int overshoots(void)
{
	rt_start(1);
	compare("idle");
	rt_stop();
	return 0;
}

/* The vcore is busy with one that never gives way: the sleeper's turn comes all the same. */
static int beside_a_spinner(void)
{
	struct upcall_uthread *u;
	uint64_t from;
	int i;

	rt_start(1);
	u = rt_make(spins, NULL);
	for (i = 0; i < 5; i++) {
		from = upcall_now_ns();
		CHECK_INT(upcall_sleep_ns(20 * MS), 0);
		CHECK(upcall_now_ns() - from >= 20 * MS);
		CHECK(upcall_now_ns() - from < 2000 * MS);
	}
	atomic_store(&stop_now, 1);
	rt_join(u);
	rt_stop();
	return 0;
}

/* Nobody is online by then. */
static int from_nothing(void)
{
	uint64_t from;

	rt_start(1);
	from = upcall_now_ns();
	CHECK_INT(upcall_sleep_ns(600 * MS), 0);
	CHECK(upcall_now_ns() - from >= 600 * MS);
	CHECK(upcall_now_ns() - from < 1500 * MS);
	rt_stop();
	return 0;
}

#define MANY 3000

static uint64_t woken_at[MANY], wanted_at[MANY];
static struct upcall_wg all;

static void *naps(void *arg)
{
	uint64_t i = (uintptr_t)arg;

	CHECK_INT(upcall_sleep_until(wanted_at[i]), 0);
	woken_at[i] = upcall_now_ns();
	CHECK(woken_at[i] >= wanted_at[i]);
	CHECK_INT(upcall_wg_done(&all), 0);
	return NULL;
}

/* As many kernel threads as before: none sleeps with them. */
static int many(void)
{
	struct upcall_uthread_attr attr = { .size = sizeof(attr), .detached = true };
	unsigned threads;
	uint64_t from, i, rnd = 88172645463325252ull;

	rt_start(rt_cpus() < 2 ? 1 : 2);
	upcall_sleep_ns(1 * MS);
	threads = entries("/proc/self/task");
	from = upcall_now_ns() + 5 * MS;
	CHECK_INT(upcall_wg_add(&all, MANY), 0);
	for (i = 0; i < MANY; i++) {
		rnd ^= rnd << 13, rnd ^= rnd >> 7, rnd ^= rnd << 17;
		wanted_at[i] = from + rnd % (300 * MS);
		CHECK_INT(upcall_uthread_create(NULL, &attr, naps, (void *)(uintptr_t)i), 0);
	}
	CHECK_INT(upcall_sleep_until(from + 100 * MS), 0);
	CHECK(entries("/proc/self/task") <= threads + 8);
	CHECK_INT(upcall_wg_wait_until(&all, from + 20000 * MS), 0);
	rt_stop();
	return 0;
}

/* ---- the wheel by itself: every distance, exact ---- */

static uint64_t fired;

static struct up_uthread *note(struct up_alarm *a)
{
	fired++;
	return NULL;
}

static void sets(struct upcall_uthread *self, void *arg)
{
	struct up_alarm *a = arg;

	up_alarm_set(a, up_vcore_here(), a->at);
	up_go_on((struct up_uthread *)self);
}

static int stopped(void)
{
	static struct up_alarm a[64];
	uint64_t now;
	int i;

	rt_start(1);
	now = upcall_now_ns();
	for (i = 0; i < 64; i++) {
		a[i].due = note;
		a[i].at = now + 3 * MS + (UINT64_C(1) << i) / 2;
		up_sched_call(up_self(), sets, &a[i]);
		CHECK(a[i].set);
	}
	CHECK(up_alarm_any());
	/* Those of the first milliseconds come; the others not for a long time. */
	AWAIT(upcall_now_ns() > now + 10 * MS, upcall_sleep_ns(1 * MS));
	CHECK(__atomic_load_n(&fired, __ATOMIC_ACQUIRE) >= 20);
	CHECK(fired < 40);
	for (i = 0; i < 64; i++) {
		CHECK(!a[i].set == (a[i].at <= now + 10 * MS) || a[i].at > now + 10 * MS);
		up_alarm_stop(&a[i]);
		CHECK(!a[i].set);
		up_alarm_stop(&a[i]);
	}
	AWAIT(!up_alarm_any(), upcall_sleep_ns(1 * MS));
	rt_stop();
	return 0;
}

/* ---- whose turn it is ---- */

#define BATCH_NR 65u

struct batch {
	struct up_alarm a[BATCH_NR];
	unsigned came[BATCH_NR]; /* as the how many-th, 0: not yet */
	uint64_t came_at[BATCH_NR];
	unsigned nr, nr_came;
};

static struct batch batch;

static struct up_uthread *comes(struct up_alarm *a)
{
	batch.came_at[a - batch.a] = upcall_now_ns();
	batch.came[a - batch.a] = __atomic_add_fetch(&batch.nr_came, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* All at once: no alarm is looked at in between. */
static void sets_batch(struct upcall_uthread *self, void *arg)
{
	unsigned i;

	for (i = 0; i < batch.nr; i++)
		up_alarm_set(&batch.a[i], up_vcore_here(), batch.a[i].at);
	up_go_on((struct up_uthread *)self);
}

static void set_batch(unsigned nr)
{
	unsigned i;

	memset(batch.came, 0, sizeof(batch.came));
	__atomic_store_n(&batch.nr_came, 0, __ATOMIC_RELAXED);
	batch.nr = nr;
	for (i = 0; i < nr; i++)
		batch.a[i].due = comes;
	up_sched_call(up_self(), sets_batch, NULL);
}

static unsigned nr_came(void)
{
	return __atomic_load_n(&batch.nr_came, __ATOMIC_ACQUIRE);
}

/* Each in a slot of its own, all of which the wheel has passed; one that is to come lies before the
 * next turn of some of them. */
static int passed(void)
{
	uint64_t now;
	unsigned i, n;

	rt_start(1);
	for (n = 0; n < 300; n++) {
		CHECK_INT(upcall_sleep_ns(MS / 4), 0); /* the wheel has turned to about now */
		now = upcall_now_ns();
		for (i = 0; i < BATCH_NR - 1; i++)
			batch.a[i].at = now - 100 * MS + i * 4096;
		batch.a[i].at = now + MS / 10;
		set_batch(BATCH_NR);
		AWAIT(nr_came() == BATCH_NR, upcall_sleep_ns(MS / 4));
		CHECK_INT(batch.came[BATCH_NR - 1], BATCH_NR);
		CHECK(batch.came_at[BATCH_NR - 1] >= batch.a[BATCH_NR - 1].at);
	}
	rt_stop();
	return 0;
}

/* One that is a turn and a half of its level ahead; one half a turn and a bit; and one that is soon
 * over, after which the wheel looks for the next and is left alone. */
static int a_turn_ahead(void)
{
	const uint64_t turn = UINT64_C(1) << (12 + 3 * 6);
	uint64_t now;

	rt_start(1);
	CHECK_INT(upcall_sleep_ns(1 * MS), 0);
	now = upcall_now_ns();
	batch.a[0].at = now + turn + turn / 2;
	batch.a[1].at = now + turn / 2 + turn / 8;
	batch.a[2].at = now + MS;
	set_batch(3);
	AWAIT(nr_came() == 3, CHECK_INT(linux_nap(5 * MS), 0));
	CHECK_INT(batch.came[2], 1);
	CHECK_INT(batch.came[1], 2);
	CHECK(batch.came_at[1] >= batch.a[1].at && batch.came_at[1] < batch.a[0].at);
	CHECK(batch.came_at[0] >= batch.a[0].at);
	rt_stop();
	return 0;
}

/* Some are stopped: what has not come by then does not come any more. */
static int stopped_in_time(void)
{
	unsigned i, n, left = 0, stops = 0;
	uint64_t now;

	rt_start(rt_cpus() < 2 ? 1 : 2);
	for (n = 0; n < 50; n++) {
		now = upcall_now_ns();
		for (i = 0; i < BATCH_NR; i++)
			batch.a[i].at = now + MS + i * MS / 32;
		set_batch(BATCH_NR);
		for (i = 0, left = BATCH_NR; i < BATCH_NR; i += 2) {
			up_alarm_stop(&batch.a[i]);
			if (!__atomic_load_n(&batch.came[i], __ATOMIC_RELAXED))
				left--, stops++;
		}
		AWAIT(nr_came() >= left, upcall_sleep_ns(MS));
		AWAIT(upcall_now_ns() > now + 5 * MS && !up_alarm_any(), upcall_sleep_ns(MS));
		CHECK_INT(nr_came(), left);
	}
	CHECK(stops > 0);
	rt_stop();
	return 0;
}

static int in_single_core(void)
{
	uint64_t from;

	rt_start(1);
	CHECK_INT(upcall_request(0, 0), 0);
	from = upcall_now_ns();
	CHECK_INT(upcall_sleep_ns(3 * MS), 0);
	CHECK(upcall_now_ns() - from >= 3 * MS);
	CHECK_INT(upcall_request(1, 0), 0);
	rt_stop();
	return 0;
}

static const struct apart cases[] = {
	CASE("overshoot", overshoots),
	CASE("beside_a_spinner", beside_a_spinner),
	CASE("from_nothing", from_nothing),
	CASE("many_at_once", many),
	CASE("stopped_alarms", stopped),
	CASE("in_single_core", in_single_core),
	CASE("passed_slots", passed),
	CASE("a_turn_ahead", a_turn_ahead),
	CASE("stopped_in_time", stopped_in_time),
};

APART_MAIN(cases)
