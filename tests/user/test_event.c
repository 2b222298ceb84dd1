/* SPDX-License-Identifier: MIT */
/*
 * Events: numbers, routes, handlers, and what becomes of more than a ring holds.
 */
#include "base/atomic.h"
#include "rt.h"
#include "user/uthread.h"

#include <pthread.h>

static atomic_uint heard, heard_single, lost_seen;
static atomic_uint where_heard[64];
static atomic_ullong sum;

static void hear(unsigned vcore, const struct upcall_event *ev, void *arg)
{
	CHECK(!upcall_uthread_self());
	CHECK_INT(upcall_vcore_id(), vcore);
	CHECK(arg == &heard);
	atomic_fetch_add(&where_heard[vcore], 1);
	if (ev->time_ns) {
		CHECK_INT(ev->aux, ~ev->val);
		atomic_fetch_add(&sum, ev->val);
		atomic_fetch_add(&heard_single, 1);
	} else {
		CHECK(!ev->val && !ev->aux);
		atomic_fetch_add(&lost_seen, 1);
	}
	atomic_fetch_add(&heard, 1);
}

static unsigned new_event(void)
{
	unsigned nr = 0;

	CHECK_INT(upcall_event_alloc(&nr), 0);
	CHECK(nr >= 32);
	CHECK_INT(upcall_event_handle(nr, hear, &heard), 0);
	return nr;
}

static int post_and_hear(void)
{
	unsigned nr;
	uint64_t i;

	rt_start(1);
	nr = new_event();
	CHECK(new_event() != nr);
	for (i = 1; i <= 50; i++) {
		CHECK_INT(upcall_notify(nr, -1, i, ~i), 0);
		AWAIT(atomic_load(&heard_single) == i, upcall_yield());
	}
	CHECK_INT(atomic_load(&sum), 50 * 51 / 2);
	CHECK_INT(atomic_load(&heard), 50);
	CHECK_INT(upcall_event_handle(nr, NULL, NULL), 0);
	CHECK_INT(upcall_notify(nr, -1, 1, ~1ull), 0);
	upcall_yield();
	upcall_yield();
	CHECK_INT(atomic_load(&heard), 50);
	rt_stop();
	return 0;
}

/* Interrupts a uthread that never looks; nothing else is there to end its turn.  The lookout would see
 * to it as well, in its own time: what makes the signal come at once is looked at itself. */
static int interrupts_self(void)
{
	unsigned nr;

	rt_start_opts((struct upcall_opts){ .vcores = 1, .no_slice = true });
	CHECK_INT(up_load_relaxed(&up_rt.port->vc[0].notif_disabled), 0);
	upcall_yield(); /* resumed as it saved itself, not from a start */
	CHECK_INT(up_load_relaxed(&up_rt.port->vc[0].notif_disabled), 0);
	nr = new_event();
	CHECK_INT(upcall_event_route(nr, -1, 1), 0);
	CHECK_INT(upcall_notify(nr, -1, 5, ~5ull), 0);
	AWAIT(atomic_load(&heard_single) == 1, );
	rt_stop();
	return 0;
}

/* Without it the event waits for a look. */
static int quiet_waits(void)
{
	unsigned nr;

	rt_start_opts((struct upcall_opts){ .vcores = 1, .no_slice = true });
	nr = new_event();
	CHECK_INT(upcall_event_route(nr, -1, 0), 0);
	CHECK_INT(upcall_notify(nr, -1, 5, ~5ull), 0);
	rt_spin_ns(20 * MS);
	CHECK_INT(atomic_load(&heard), 0);
	upcall_yield();
	CHECK_INT(atomic_load(&heard), 1);
	rt_stop();
	return 0;
}

static atomic_int spin, on_vcore = -1;

static void *spin_there(void *arg)
{
	atomic_store(&on_vcore, upcall_vcore_id());
	while (atomic_load(&spin))
		;
	return NULL;
}

/* Interrupts the other vcore, whose uthread never looks. */
static int interrupts_other(void)
{
	struct upcall_uthread *u;
	unsigned nr;
	int v;

	rt_need_cpus(2);
	rt_start_opts((struct upcall_opts){ .vcores = 2, .no_slice = true });
	nr = new_event();
	CHECK_INT(upcall_event_route(nr, 0, 1), 0);
	atomic_store(&spin, 1);
	u = rt_make(spin_there, NULL);
	AWAIT((v = atomic_load(&on_vcore)) >= 0, ); /* taken by the other: we spin */
	CHECK(v != upcall_vcore_id());
	CHECK_INT(upcall_notify(nr, v, 9, ~9ull), 0);
	AWAIT(atomic_load(&heard_single) == 1, );
	CHECK_INT(atomic_load(&where_heard[v]), 1);
	atomic_store(&spin, 0);
	rt_join(u);
	rt_stop();
	return 0;
}

/* More than a ring holds, while nobody looks: all are posted, the rest is in the bitmask, and how
 * many shared a bit is counted. */
static int overflow_is_counted(void)
{
	struct upcall_stats was, is;
	unsigned nr, i;

	rt_start_opts((struct upcall_opts){ .vcores = 1, .no_slice = true });
	nr = new_event();
	CHECK_INT(upcall_event_route(nr, 0, 0), 0);
	upcall_yield();
	was = rt_stats();
	upcall_critical_enter();
	for (i = 0; i < 300; i++)
		CHECK_INT(upcall_notify(nr, 0, 1, ~1ull), 0);
	upcall_critical_leave();
	upcall_yield();
	is = rt_stats();
	CHECK(is.events_posted - was.events_posted >= 300);
	CHECK(is.events_overflow - was.events_overflow >= 236);
	CHECK_INT(atomic_load(&heard_single) + (is.events_overflow - was.events_overflow), 300);
	CHECK_INT(atomic_load(&lost_seen), 1);
	rt_stop();
	return 0;
}

#define POSTS 2000

static unsigned shared_nr;

static void *post_many(void *arg)
{
	unsigned i;

	for (i = 0; i < POSTS; i++) {
		CHECK_INT(upcall_notify(shared_nr, -1, 1, ~1ull), 0);
		if (i % 16 == 0)
			upcall_yield();
	}
	return NULL;
}

/* From uthreads on every vcore and from a thread of the program's: delivered or counted. */
static void *post_outside(void *arg)
{
	unsigned i;

	for (i = 0; i < POSTS; i++)
		CHECK_INT(upcall_notify(shared_nr, -1, 1, ~1ull), 0);
	return NULL;
}

static int many_posters(void)
{
	struct upcall_uthread *u[4];
	struct upcall_stats st;
	pthread_t t;
	unsigned i;

	rt_start(2);
	shared_nr = new_event();
	CHECK_INT(upcall_event_route(shared_nr, -1, 1), 0);
	CHECK_INT(pthread_create(&t, NULL, post_outside, NULL), 0);
	for (i = 0; i < 4; i++)
		u[i] = rt_make(post_many, NULL);
	for (i = 0; i < 4; i++)
		rt_join(u[i]);
	CHECK_INT(pthread_join(t, NULL), 0);
	AWAIT((st = rt_stats(), atomic_load(&heard_single) + st.events_overflow >= 5 * POSTS),
	      upcall_yield());
	/* Events of ours may overflow as well; none is heard that was not posted. */
	CHECK(atomic_load(&heard_single) <= 5 * POSTS);
	rt_stop();
	return 0;
}

static int numbers_run_out(void)
{
	unsigned nr, got = 0;
	int r;

	rt_start(1);
	while (!(r = upcall_event_alloc(&nr))) {
		CHECK_INT(nr, 32 + got);
		got++;
	}
	CHECK_INT(r, -ENOSPC);
	CHECK_INT(got, 224);
	rt_stop();
	rt_start(1);
	CHECK_INT(upcall_event_alloc(&nr), 0);
	CHECK_INT(nr, 32);
	rt_stop();
	return 0;
}

static void told(unsigned vcore, const struct upcall_event *ev, void *arg)
{
	atomic_fetch_add((atomic_uint *)arg, 1);
}

/* What the kernel side itself says of blocks. */
static int hears_of_blocks(void)
{
	static atomic_uint blocked, unblocked;

	rt_start(1);
	CHECK_INT(upcall_event_handle(UPCALL_EV_BLOCKED, told, &blocked), 0);
	CHECK_INT(upcall_event_handle(UPCALL_EV_UNBLOCKED, told, &unblocked), 0);
	AWAIT(atomic_load(&blocked) >= 3 && atomic_load(&unblocked) >= 3,
	      announced_sleep_ns(1 * MS));
	rt_stop();
	return 0;
}

static const struct apart cases[] = {
	CASE("what is posted is heard, until the handler is taken off", post_and_hear),
	CASE("a notification interrupts the poster's own vcore", interrupts_self),
	CASE("an event without notification waits for a look", quiet_waits),
	CASE("a notification interrupts another vcore", interrupts_other),
	CASE("what overflows a ring is in the bitmask and counted", overflow_is_counted),
	CASE("many posters: delivered or counted", many_posters),
	CASE("event numbers run out and start anew", numbers_run_out),
	CASE("blocks and returns are told", hears_of_blocks),
};

APART_MAIN(cases)
