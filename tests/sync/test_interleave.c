/* SPDX-License-Identifier: MIT */
/*
 * The real code of mutex, condition variable, channel, semaphore, read-write lock and wait group in
 * every order with a few preemptions: waits, wakes, deadlines and cancellations.  Whatever the order,
 * nobody waits for ever, nothing is lost or had twice.
 */
#include "explore.h"
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/atomic.h" /* the replacement */

#include "upcall/sync.h"

static struct objects {
	struct upcall_mutex m;
	struct upcall_cond c;
	struct upcall_sem s;
	struct upcall_rwlock rw;
	struct upcall_wg g;
	struct upcall_chan *ch;
} o;

static int inside, tokens, got, timed_out, last;
static bool one_receives; /* so that it can tell the order */
static long sent, received, sum;

static void reset(void)
{
	if (o.ch)
		upcall_chan_destroy(o.ch);
	memset(&o, 0, sizeof(o));
	inside = tokens = got = timed_out = last = 0;
	sent = received = sum = 0;
	one_receives = true;
}

/* ---- mutex ---- */

static void section(void)
{
	if (inside++)
		xs_fail("two are inside");
	xs_access(NULL);
	inside--;
}

static void locks(void)
{
	if (upcall_mutex_lock(&o.m))
		xs_fail("a lock is refused");
	section();
	if (upcall_mutex_unlock(&o.m))
		xs_fail("an unlock is refused");
}

static void locks_twice(void)
{
	locks();
	locks();
}

static void locks_until(void)
{
	int r = upcall_mutex_lock_until(&o.m, XS_SOME_TIME);

	if (!r) {
		section();
		upcall_mutex_unlock(&o.m);
	} else if (r != -ETIMEDOUT) {
		xs_fail("a timed lock has another error");
	}
}

static void cancels_1(void)
{
	upcall_uthread_cancel(xs_uthread(1));
}

static const char *mutex_left(void)
{
	return o.m.word || o.m.waiters ? "the mutex is not as it was" : NULL;
}

/* ---- condition variable ---- */

static void unlocks(void *arg)
{
	upcall_mutex_unlock(&o.m);
}

static void gives(void)
{
	upcall_mutex_lock(&o.m);
	tokens++;
	upcall_cond_signal(&o.c);
	upcall_mutex_unlock(&o.m);
}

static void gives_two(void)
{
	upcall_mutex_lock(&o.m);
	tokens += 2;
	upcall_cond_broadcast(&o.c);
	upcall_mutex_unlock(&o.m);
}

/* Waits for ever. */
static void takes(void)
{
	upcall_mutex_lock(&o.m);
	while (!tokens)
		if (upcall_cond_wait(&o.c, &o.m))
			xs_fail("a wait is refused");
	tokens--;
	upcall_mutex_unlock(&o.m);
}

/* Waits once, with a deadline or until it is cancelled; one that was woken passes it on. */
static void takes_once(uint64_t until)
{
	struct upcall_cleanup up;
	int r = 0;

	upcall_mutex_lock(&o.m);
	upcall_cleanup_push(&up, unlocks, NULL);
	if (!tokens)
		r = until == UPCALL_FOREVER ? upcall_cond_wait(&o.c, &o.m)
					    : upcall_cond_wait_until(&o.c, &o.m, until);
	if (!(o.m.word & 1))
		xs_fail("a wait ends without the mutex");
	upcall_cleanup_pop(1);
	upcall_cancel_disable();
	if (!r) {
		upcall_mutex_lock(&o.m);
		upcall_cond_signal(&o.c);
		upcall_mutex_unlock(&o.m);
	}
}

static void takes_until(void)
{
	takes_once(XS_SOME_TIME);
}

static void takes_or_ends(void)
{
	takes_once(UPCALL_FOREVER);
}

static const char *cond_left(void)
{
	if (o.c.waiters)
		return "somebody is queued still";
	return tokens ? "a token is left" : mutex_left();
}

/* ---- semaphore ---- */

static void posts(void)
{
	upcall_sem_post(&o.s);
	sent++;
}

static void posts_two(void)
{
	posts();
	posts();
}

static void waits(void)
{
	if (upcall_sem_wait(&o.s))
		xs_fail("a wait is refused");
	received++;
}

static void waits_until(void)
{
	if (!upcall_sem_wait_until(&o.s, XS_SOME_TIME))
		received++;
}

static const char *sem_left(void)
{
	return o.s.waiters || sent != received + (long)o.s.value ? "a value is lost or had twice"
								 : NULL;
}

/* ---- channel ---- */

static void reset_to(size_t cap)
{
	reset();
	upcall_chan_create(&o.ch, sizeof(long), cap);
	xs_watch(o.ch); /* its guard comes first */
}

static void reset_1(void)
{
	reset_to(1);
}

static void reset_0(void)
{
	reset_to(0);
}

static bool send_one(long v, uint64_t until)
{
	int r = upcall_chan_send_until(o.ch, &v, until);

	if (!r) {
		sent++;
		sum += v;
	} else if (r != -ETIMEDOUT && r != -EPIPE) {
		xs_fail("a send has another error");
	}
	return !r;
}

static void sends_two(void)
{
	send_one(1, UPCALL_FOREVER);
	send_one(2, UPCALL_FOREVER);
}

/* What has not been sent in time is sent in the end. */
static void sends_until(void)
{
	if (!send_one(4, XS_SOME_TIME))
		send_one(4, UPCALL_FOREVER);
}

static int receive(uint64_t until)
{
	long v = -1;
	int r = upcall_chan_recv_until(o.ch, &v, until);

	if (!r) {
		received++;
		sum -= v;
		if (one_receives && v < 4 && v <= last)
			xs_fail("items are out of order");
		if (v < 4)
			last = (int)v;
	} else if (v != -1) {
		xs_fail("something was received, and refused");
	}
	return r;
}

static void receives_two(void)
{
	receive(UPCALL_FOREVER);
	receive(UPCALL_FOREVER);
}

static void receives_one(void)
{
	receive(UPCALL_FOREVER);
}

/* Whoever has received nothing leaves it to the other. */
static void receives_until(void)
{
	one_receives = false;
	if (receive(XS_SOME_TIME))
		receive(UPCALL_FOREVER);
}

static void receives_to_end(void)
{
	while (!receive(UPCALL_FOREVER))
		;
}

static void closes(void)
{
	upcall_chan_close(o.ch);
}

static const char *chan_left(void)
{
	long v;

	while (!upcall_chan_tryrecv(o.ch, &v)) {
		received++;
		sum -= v;
	}
	return sent != received || sum ? "an item is lost or had twice" : NULL;
}

/* What is put there is found by the others' timed receive, or stays. */
static void sends_one(void)
{
	send_one(1, UPCALL_FOREVER);
}

/* ---- read-write lock, wait group ---- */

static void writes(void)
{
	upcall_rwlock_wrlock(&o.rw);
	if (got)
		xs_fail("a writer is in among readers");
	section();
	upcall_rwlock_unlock(&o.rw);
}

static void writes_until(void)
{
	if (!upcall_rwlock_wrlock_until(&o.rw, XS_SOME_TIME)) {
		section();
		upcall_rwlock_unlock(&o.rw);
	}
}

static void reads(void)
{
	upcall_rwlock_rdlock(&o.rw);
	got++;
	xs_access(NULL);
	if (inside)
		xs_fail("a reader is in with a writer");
	got--;
	upcall_rwlock_unlock(&o.rw);
}

static const char *rw_left(void)
{
	return o.rw.waiters || o.rw.readers || o.rw.writer ? "the lock is not as it was" : NULL;
}

static void reset_wg(void)
{
	reset();
	upcall_wg_add(&o.g, 2);
}

static void does(void)
{
	got++;
	if (upcall_wg_done(&o.g))
		xs_fail("one is refused");
}

static void awaits(void)
{
	upcall_wg_wait(&o.g);
	if (got != 2)
		xs_fail("it has not waited for all");
}

static void awaits_until(void)
{
	upcall_wg_wait_until(&o.g, XS_SOME_TIME);
}

static const char *wg_left(void)
{
	return o.g.waiters || o.g.nr ? "the group is not as it was" : NULL;
}

/* ---- the explorer itself ---- */

static uint32_t word;

/* A mutex made of a load and a store. */
static void careless(void)
{
	if (up_load_relaxed(&o.s.value))
		return;
	up_store_relaxed(&o.s.value, 1u);
	section();
	up_store_relaxed(&o.s.value, 0u);
	word++;
}

static const char *nothing_left(void)
{
	return NULL;
}

#define SCENARIO(scenario, reset_, judge_, bound, ...)                            \
	static void scenario(void **state)                                        \
	{                                                                         \
		const struct xs e = { #scenario, reset_, { __VA_ARGS__ }, judge_, \
				      bound,	 &o,	 sizeof(o) };             \
		expect_good(&e);                                                  \
	}

static void expect_good(const struct xs *e)
{
	static struct xs_result res;

	xs_explore(e, &res);
	print_message("# %s: %llu orders, %llu steps\n", e->name, (unsigned long long)res.runs,
		      (unsigned long long)res.steps);
	if (res.bad)
		fail_msg("%s: %s", res.bad, res.trace);
	assert_true(res.runs > 100);
}

SCENARIO(mutex_three, reset, mutex_left, 3, locks, locks, locks)
SCENARIO(mutex_again, reset, mutex_left, 4, locks_twice, locks_twice)
SCENARIO(mutex_deadline, reset, mutex_left, 3, locks, locks_until, locks)
SCENARIO(mutex_two_deadlines, reset, mutex_left, 2, locks, locks_until, locks_until)
SCENARIO(mutex_cancelled, reset, mutex_left, 2, locks, locks, locks, cancels_1)
SCENARIO(cond_signal, reset, cond_left, 4, takes, gives)
SCENARIO(cond_two, reset, cond_left, 2, takes, takes, gives, gives)
SCENARIO(cond_broadcast, reset, cond_left, 2, takes, takes, gives_two)
SCENARIO(cond_deadline, reset, cond_left, 2, takes, takes_until, gives)
SCENARIO(cond_cancelled, reset, cond_left, 2, takes, takes_or_ends, gives, cancels_1)
SCENARIO(sem_deadline, reset, sem_left, 2, waits, waits_until, posts_two)
SCENARIO(sem_cancelled, reset, nothing_left, 2, waits, waits, posts_two, cancels_1)
SCENARIO(chan_order, reset_1, chan_left, 4, sends_two, receives_two)
SCENARIO(chan_senders, reset_1, chan_left, 2, sends_two, sends_until, receives_two)
SCENARIO(chan_receivers, reset_1, chan_left, 2, receives_until, receives_one, sends_two)
SCENARIO(chan_closed, reset_1, chan_left, 2, sends_one, closes, receives_to_end)
SCENARIO(chan_meet, reset_0, chan_left, 4, sends_two, receives_two)
SCENARIO(chan_meet_deadline, reset_0, chan_left, 2, sends_until, sends_one, receives_two)
SCENARIO(chan_meet_closed, reset_0, chan_left, 2, sends_one, closes, receives_to_end)
SCENARIO(rwlock_mixed, reset, rw_left, 2, reads, writes, reads)
SCENARIO(rwlock_deadline, reset, rw_left, 2, reads, writes_until, reads)
SCENARIO(wg_last, reset_wg, wg_left, 2, does, does, awaits)
SCENARIO(wg_deadline, reset_wg, wg_left, 2, does, does, awaits_until, awaits)

static void the_explorer_can_fail(void **state)
{
	const struct xs e = { "careless", reset,    { careless, careless }, nothing_left, 2,
			      &o,	  sizeof(o) };
	static struct xs_result res;

	xs_explore(&e, &res);
	assert_non_null(res.bad);
	assert_string_equal(res.bad, "two are inside");
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(the_explorer_can_fail),
	cmocka_unit_test(mutex_three),
	cmocka_unit_test(mutex_again),
	cmocka_unit_test(mutex_deadline),
	cmocka_unit_test(mutex_two_deadlines),
	cmocka_unit_test(mutex_cancelled),
	cmocka_unit_test(cond_signal),
	cmocka_unit_test(cond_two),
	cmocka_unit_test(cond_broadcast),
	cmocka_unit_test(cond_deadline),
	cmocka_unit_test(cond_cancelled),
	cmocka_unit_test(sem_deadline),
	cmocka_unit_test(sem_cancelled),
	cmocka_unit_test(chan_order),
	cmocka_unit_test(chan_senders),
	cmocka_unit_test(chan_receivers),
	cmocka_unit_test(chan_closed),
	cmocka_unit_test(chan_meet),
	cmocka_unit_test(chan_meet_deadline),
	cmocka_unit_test(chan_meet_closed),
	cmocka_unit_test(rwlock_mixed),
	cmocka_unit_test(rwlock_deadline),
	cmocka_unit_test(wg_last),
	cmocka_unit_test(wg_deadline),
};

UNIT_MAIN(tests)
