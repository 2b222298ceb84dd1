/* SPDX-License-Identifier: MIT */
/*
 * All orders at once: waits, wakes, deadlines and cancellations of each primitive meet at random, with
 * delays at the points of injection.  What must hold is counted: nothing is lost, nothing is had twice,
 * nobody is left behind.
 *
 *	test_sync_stress [ROUNDS [SEED]]
 */
#include "base/inject.h"
#include "sync_rt.h"

#include <stdlib.h>

#define TASKS 12

static unsigned rounds = 1500;
static uint64_t seed = 1;

struct rnd {
	uint64_t x;
};

static uint64_t next(struct rnd *r)
{
	r->x ^= r->x << 13;
	r->x ^= r->x >> 7;
	r->x ^= r->x << 17;
	return r->x;
}

/* A point of src/sync or of what it stands on: now and then it takes a while. */
static int on_point(unsigned nr, const char *name, void *arg)
{
	static _Atomic uint64_t x = 88172645463325252ull;
	uint64_t y = atomic_fetch_add(&x, 0x9e3779b97f4a7c15ull), end;

	if (strncmp(name, "wait_", 5) && strncmp(name, "mutex_", 6) && strncmp(name, "cond_", 5) &&
	    strncmp(name, "wg_", 3) && strncmp(name, "cancel_", 7) && strncmp(name, "join_", 5) &&
	    strncmp(name, "alarm_", 6))
		return 0;
	y ^= y >> 29;
	y *= 0xbf58476d1ce4e5b9ull;
	y ^= y >> 32;
	if (y % 8 == 0)
		for (end = apart_now_ns() + y % 60000; apart_now_ns() < end;)
			;
	return 0;
}

/* Of 10 us to 300 us, or none, or one that has passed. */
static uint64_t some_deadline(struct rnd *r)
{
	switch (next(r) % 4) {
	case 0:
		return UPCALL_FOREVER;
	case 1:
		return 1;
	default:
		return upcall_now_ns() + 10000 + next(r) % 300000;
	}
}

static struct upcall_mutex m;
static struct upcall_cond c;
static struct upcall_rwlock rw;
static struct upcall_sem s;
static struct upcall_chan *ch;
static long inside, readers, turns, sum;
static atomic_long sent, received, posted, taken, ended;

/* ---- one function each, cancelled at random ---- */

static void leave(void *arg)
{
	inside--;
	CHECK_INT(upcall_mutex_unlock(&m), 0);
}

static void task_mutex(struct rnd *r)
{
	struct upcall_cleanup up;
	int res = upcall_mutex_lock_until(&m, some_deadline(r));

	if (res) {
		CHECK_INT(res, -ETIMEDOUT);
		return;
	}
	CHECK_INT(inside, 0);
	inside++;
	CHECK_INT(upcall_cleanup_push(&up, leave, NULL), 0);
	turns++;
	if (next(r) % 4 == 0)
		upcall_yield();
	if (next(r) % 8 == 0)
		upcall_testcancel();
	CHECK_INT(inside, 1);
	CHECK_INT(upcall_cleanup_pop(1), 0);
}

static void unlock_m(void *arg)
{
	CHECK_INT(upcall_mutex_unlock(&m), 0);
}

/* A token that goes round under the condition variable. */
static long tokens;

static void task_cond(struct rnd *r)
{
	uint64_t until = some_deadline(r);
	struct upcall_cleanup up;
	int res = 0;

	CHECK_INT(upcall_mutex_lock(&m), 0);
	CHECK_INT(upcall_cleanup_push(&up, unlock_m, NULL), 0);
	if (next(r) % 2) {
		tokens++;
		atomic_fetch_add(&posted, 1);
		if (next(r) % 4)
			CHECK_INT(upcall_cond_signal(&c), 0);
		else
			CHECK_INT(upcall_cond_broadcast(&c), 0);
	} else {
		if (until == UPCALL_FOREVER)
			until = upcall_now_ns() + 500000;
		while (!tokens && !res)
			res = upcall_cond_wait_until(&c, &m, until);
		if (tokens) {
			tokens--;
			atomic_fetch_add(&taken, 1);
		}
	}
	CHECK_INT(upcall_cleanup_pop(1), 0);
}

static void task_rwlock(struct rnd *r)
{
	bool writes = next(r) % 3 == 0;
	uint64_t until = some_deadline(r);
	int res = writes ? upcall_rwlock_wrlock_until(&rw, until)
			 : upcall_rwlock_rdlock_until(&rw, until);

	if (res) {
		CHECK_INT(res, -ETIMEDOUT);
		return;
	}
	/* No point of cancellation in here. */
	if (writes) {
		CHECK_INT(__atomic_load_n(&readers, __ATOMIC_RELAXED), 0);
		CHECK_INT(inside++, 0);
		if (next(r) % 2)
			upcall_yield();
		inside--;
	} else {
		__atomic_add_fetch(&readers, 1, __ATOMIC_RELAXED);
		if (next(r) % 2)
			upcall_yield();
		CHECK_INT(inside, 0);
		__atomic_sub_fetch(&readers, 1, __ATOMIC_RELAXED);
	}
	CHECK_INT(upcall_rwlock_unlock(&rw), 0);
}

static void task_sem(struct rnd *r)
{
	uint64_t until = some_deadline(r);

	if (next(r) % 2) {
		atomic_fetch_add(&posted, 1);
		CHECK_INT(upcall_sem_post(&s), 0);
	} else {
		if (until == UPCALL_FOREVER)
			until = upcall_now_ns() + 500000;
		if (!upcall_sem_wait_until(&s, until))
			atomic_fetch_add(&taken, 1);
	}
}

static void task_chan(struct rnd *r)
{
	uint64_t until = some_deadline(r);
	long v = (long)(next(r) % 1000);
	int res;

	if (until == UPCALL_FOREVER)
		until = upcall_now_ns() + 500000;
	if (next(r) % 2) {
		res = upcall_chan_send_until(ch, &v, until);
		if (!res) {
			atomic_fetch_add(&sent, 1);
			__atomic_add_fetch(&sum, v, __ATOMIC_RELAXED);
		}
	} else {
		res = upcall_chan_recv_until(ch, &v, until);
		if (!res) {
			atomic_fetch_add(&received, 1);
			__atomic_sub_fetch(&sum, v, __ATOMIC_RELAXED);
		}
	}
	CHECK(!res || res == -ETIMEDOUT);
}

struct task {
	void (*fn)(struct rnd *r);
	struct rnd r;
};

static void *runs(void *arg)
{
	struct task *t = arg;
	unsigned i;

	for (i = 0; i < rounds; i++)
		t->fn(&t->r);
	atomic_fetch_add(&ended, 1);
	return NULL;
}

/* What a wait that was cancelled has taken or given is had by nobody: so these let it be. */
static int stress(void (*fn)(struct rnd *), bool cancels, unsigned vcores)
{
	struct upcall_uthread *u[TASKS];
	struct task t[TASKS];
	struct rnd r = { seed * 977 + 3 };
	void *value;
	unsigned i;

	up_inject_set_hook(on_point, NULL);
	rt_start(vcores);
	for (i = 0; i < TASKS; i++) {
		t[i].fn = fn;
		t[i].r.x = seed * 1000003 + i * 7919 + 1;
		u[i] = rt_make(runs, &t[i]);
	}
	for (i = 0; i < TASKS; i++) {
		if (cancels && i % 2) {
			upcall_sleep_ns(next(&r) % 2000000);
			CHECK(upcall_uthread_cancel(u[i]) <= 0);
		}
		value = &r;
		while (upcall_uthread_join_until(u[i], &value, some_deadline(&r)) == -ETIMEDOUT)
			;
		CHECK(!value || (value == UPCALL_CANCELED && cancels));
	}
	up_inject_set_hook(NULL, NULL);
	rt_stop();
	return 0;
}

static int both(void (*fn)(struct rnd *), bool cancels)
{
	stress(fn, cancels, 1);
	if (rt_cpus() > 1)
		stress(fn, cancels, 2);
	return 0;
}

static int mutex(void)
{
	both(task_mutex, true);
	CHECK_INT(m.word, 0);
	CHECK(!m.waiters);
	CHECK(turns > 0);
	return 0;
}

static int cond(void)
{
	both(task_cond, true);
	CHECK(!c.waiters);
	CHECK_INT(posted - taken, tokens);
	return 0;
}

static int rwlock(void)
{
	both(task_rwlock, true);
	CHECK_INT(rw.readers + rw.writer, 0);
	CHECK(!rw.waiters);
	return 0;
}

static int sem(void)
{
	both(task_sem, false);
	CHECK_INT(posted - taken, s.value);
	CHECK(!s.waiters);
	return 0;
}

static int chan_of(size_t cap)
{
	long v;

	CHECK_INT(upcall_chan_create(&ch, sizeof(long), cap), 0);
	both(task_chan, false);
	while (!upcall_chan_tryrecv(ch, &v)) {
		received++;
		sum -= v;
	}
	CHECK_INT(sent, received);
	CHECK_INT(sum, 0);
	CHECK_INT(upcall_chan_destroy(ch), 0);
	return 0;
}

static int chan(void)
{
	return chan_of(3);
}

static int rendezvous(void)
{
	return chan_of(0);
}

/* Who is cancelled while somebody posts: the value is there, or was had by one that ended with it. */
static void *takes_for_ever(void *arg)
{
	for (;;) {
		upcall_sem_wait(&s);
		atomic_fetch_add(&taken, 1);
	}
	return arg;
}

static int sem_cancelled(void)
{
	struct upcall_uthread *u[4];
	unsigned i, j;

	up_inject_set_hook(on_point, NULL);
	rt_start(rt_cpus() > 1 ? 2 : 1);
	for (j = 0; j < rounds / 4 + 1; j++) {
		for (i = 0; i < 4; i++)
			u[i] = rt_make(takes_for_ever, NULL);
		upcall_yield();
		for (i = 0; i < 4; i++) {
			CHECK_INT(upcall_sem_post(&s), 0);
			posted++;
			CHECK_INT(upcall_uthread_cancel(u[i]), 0);
		}
		for (i = 0; i < 4; i++)
			CHECK(rt_join(u[i]) == UPCALL_CANCELED);
		CHECK_INT(posted - taken, s.value);
		CHECK(!s.waiters);
	}
	up_inject_set_hook(NULL, NULL);
	rt_stop();
	return 0;
}

/* The last one done, and the one who waits, whose memory the group is. */
static void *does_one(void *arg)
{
	CHECK_INT(upcall_wg_done(arg), 0);
	return NULL;
}

static int wg(void)
{
	struct upcall_uthread *u[3];
	unsigned i, j;

	up_inject_set_hook(on_point, NULL);
	rt_start(rt_cpus() > 1 ? 2 : 1);
	for (j = 0; j < rounds; j++) {
		struct upcall_wg g = UPCALL_WG_INIT;

		CHECK_INT(upcall_wg_add(&g, 3), 0);
		for (i = 0; i < 3; i++)
			u[i] = rt_make(does_one, &g);
		CHECK_INT(upcall_wg_wait_until(&g, upcall_now_ns() + 10000 * MS), 0);
		CHECK_INT(g.nr, 0);
		memset(&g, 0xff, sizeof(g));
		for (i = 0; i < 3; i++)
			rt_join(u[i]);
	}
	up_inject_set_hook(NULL, NULL);
	rt_stop();
	return 0;
}

static struct upcall_barrier bar;
static atomic_long serial;

static void *meets(void *arg)
{
	unsigned i;
	int r;

	for (i = 0; i < rounds; i++) {
		r = upcall_barrier_wait(&bar);
		CHECK(r == 0 || r == UPCALL_BARRIER_SERIAL);
		serial += r == UPCALL_BARRIER_SERIAL;
	}
	return arg;
}

static int barrier(void)
{
	struct upcall_uthread *u[4];
	unsigned i;

	up_inject_set_hook(on_point, NULL);
	rt_start(rt_cpus() > 1 ? 2 : 1);
	CHECK_INT(upcall_barrier_init(&bar, 4), 0);
	for (i = 0; i < 4; i++)
		u[i] = rt_make(meets, NULL);
	for (i = 0; i < 4; i++)
		rt_join(u[i]);
	CHECK_INT(serial, rounds);
	up_inject_set_hook(NULL, NULL);
	rt_stop();
	return 0;
}

static const struct apart cases[] = {
	CASE("mutex", mutex),
	CASE("cond", cond),
	CASE("rwlock", rwlock),
	CASE("sem", sem),
	CASE("sem_cancelled", sem_cancelled),
	CASE("chan", chan),
	CASE("chan_rendezvous", rendezvous),
	CASE("wg", wg),
	CASE("barrier", barrier),
};

int main(int argc, char **argv)
{
	if (argc > 1)
		rounds = (unsigned)strtoul(argv[1], NULL, 0);
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 0);
	dprintf(2, "# seed %llu\n", (unsigned long long)seed);
	return apart_main(cases, sizeof(cases) / sizeof(cases[0]), 1, argv);
}
