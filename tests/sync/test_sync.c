/* SPDX-License-Identifier: MIT */
/*
 * Each primitive in each order of waiting, waking, deadline and cancellation; on uthreads, and on
 * threads that are none.
 */
#include "sync_rt.h"

#define SHORT (2 * MS)

static struct upcall_mutex m;
static struct upcall_cond c;
static struct upcall_rwlock rw;
static struct upcall_sem s;
static struct upcall_barrier b;
static struct upcall_once_flag o;
static struct upcall_wg g;
static struct upcall_chan *ch;
static atomic_int step;
static int results[8];

static uint64_t soon(void)
{
	return upcall_now_ns() + SHORT;
}

/* ---- waiters: one function each, by number of the result that they leave ---- */

#define WAITER(name, expr)                  \
	static void *name(void *arg)        \
	{                                   \
		int *ret = arg;             \
		*ret = (expr);              \
		atomic_fetch_add(&step, 1); \
		return arg;                 \
	}

WAITER(locks, upcall_mutex_lock(&m))
WAITER(locks_until, upcall_mutex_lock_until(&m, soon()))
WAITER(reads, upcall_rwlock_rdlock(&rw))
WAITER(reads_until, upcall_rwlock_rdlock_until(&rw, soon()))
WAITER(writes, upcall_rwlock_wrlock(&rw))
WAITER(writes_until, upcall_rwlock_wrlock_until(&rw, soon()))
WAITER(takes, upcall_sem_wait(&s))
WAITER(takes_until, upcall_sem_wait_until(&s, soon()))
WAITER(comes, upcall_barrier_wait(&b))
WAITER(comes_until, upcall_barrier_wait_until(&b, soon()))
WAITER(awaits, upcall_wg_wait(&g))
WAITER(awaits_until, upcall_wg_wait_until(&g, soon()))

static long item;

WAITER(sends, (upcall_chan_send(ch, &(long){ 7 })))
WAITER(sends_until, (upcall_chan_send_until(ch, &(long){ 8 }, soon())))
WAITER(receives, upcall_chan_recv(ch, &item))
WAITER(receives_until, upcall_chan_recv_until(ch, &item, soon()))

static void nothing(void *arg)
{
}

WAITER(does_until, upcall_once_until(&o, nothing, NULL, soon()))
WAITER(does, upcall_once(&o, nothing, NULL))

/* A wait that is cancelled ends with the mutex locked. */
static void unlocks(void *arg)
{
	CHECK_INT(upcall_mutex_trylock(&m), -EBUSY);
	CHECK_INT(upcall_mutex_unlock(&m), 0);
}

static int cond_wait(uint64_t until)
{
	struct upcall_cleanup up;
	int r;

	CHECK_INT(upcall_mutex_lock(&m), 0);
	CHECK_INT(upcall_cleanup_push(&up, unlocks, NULL), 0);
	r = until == UPCALL_FOREVER ? upcall_cond_wait(&c, &m)
				    : upcall_cond_wait_until(&c, &m, until);
	CHECK_INT(upcall_cleanup_pop(1), 0);
	return r;
}

WAITER(is_signalled, cond_wait(UPCALL_FOREVER))
WAITER(is_signalled_until, cond_wait(soon()))

/* ---- what would make each wait, and what ends it ---- */

static void hold_m(void)
{
	CHECK_INT(upcall_mutex_lock(&m), 0);
}
static void drop_m(void)
{
	CHECK_INT(upcall_mutex_unlock(&m), 0);
}
static void hold_rw(void)
{
	CHECK_INT(upcall_rwlock_wrlock(&rw), 0);
}
static void drop_rw(void)
{
	CHECK_INT(upcall_rwlock_unlock(&rw), 0);
}
static void none(void)
{
}
static void post(void)
{
	CHECK_INT(upcall_sem_post(&s), 0);
}
static void signal_c(void)
{
	CHECK_INT(upcall_mutex_lock(&m), 0);
	CHECK_INT(upcall_cond_signal(&c), 0);
	CHECK_INT(upcall_mutex_unlock(&m), 0);
}
static void two(void)
{
	CHECK_INT(upcall_barrier_init(&b, 2), 0);
}
static void come(void)
{
	CHECK_INT(upcall_barrier_wait(&b), UPCALL_BARRIER_SERIAL);
}
static void add(void)
{
	CHECK_INT(upcall_wg_add(&g, 1), 0);
}
static void done(void)
{
	CHECK_INT(upcall_wg_done(&g), 0);
}
static void meet(void)
{
	CHECK_INT(upcall_chan_create(&ch, sizeof(long), 0), 0);
}
static void send_7(void)
{
	CHECK_INT(upcall_chan_send(ch, &(long){ 7 }), 0);
}
static void recv_7(void)
{
	CHECK_INT(upcall_chan_recv(ch, &item), 0);
	CHECK_INT(item, 7);
}
static void begin_once(void)
{
	o.state = 1; /* as somebody would who is in there */
}
static void end_once(void)
{
	struct up_wakes k = { 0 };

	up_guard(&o.guard);
	o.state = 2;
	up_waitq_wake_all((struct up_waitq *)(void *)&o.waiters, &k);
	up_unguard(&o.guard, &k);
}

static const struct kind {
	const char *name;
	void (*block)(void);
	void *(*waits)(void *);
	void *(*waits_until)(void *);
	void (*release)(void);
	void (*undo)(void); /* what the waiter holds once it has been woken */
} kinds[] = {
	{ "mutex", hold_m, locks, locks_until, drop_m, drop_m },
	{ "cond", none, is_signalled, is_signalled_until, signal_c, none },
	{ "rdlock", hold_rw, reads, reads_until, drop_rw, drop_rw },
	{ "wrlock", hold_rw, writes, writes_until, drop_rw, drop_rw },
	{ "sem", none, takes, takes_until, post, none },
	{ "barrier", two, comes, comes_until, come, none },
	{ "wg", add, awaits, awaits_until, done, none },
	{ "send", meet, sends, sends_until, recv_7, none },
	{ "recv", meet, receives, receives_until, send_7, none },
	{ "once", begin_once, does, does_until, end_once, none },
};

static void fresh(void)
{
	upcall_chan_destroy(ch);
	ch = NULL;
	m = (struct upcall_mutex)UPCALL_MUTEX_INIT;
	c = (struct upcall_cond)UPCALL_COND_INIT;
	rw = (struct upcall_rwlock)UPCALL_RWLOCK_INIT;
	s = (struct upcall_sem)UPCALL_SEM_INIT(0);
	o = (struct upcall_once_flag)UPCALL_ONCE_INIT;
	g = (struct upcall_wg)UPCALL_WG_INIT;
	step = 0;
	results[0] = results[1] = 77;
}

/* What uthread u does in a wait: with its waker, off its stack. */
static int waits(struct upcall_uthread *u)
{
	struct up_uthread *w = (struct up_uthread *)u;

	return (__atomic_load_n(&w->wait.word, __ATOMIC_ACQUIRE) & UP_W_PARKED) != 0;
}

/* Waiting, then the wake. */
static void wake_one(const struct kind *k)
{
	struct upcall_uthread *u;

	fresh();
	k->block();
	u = rt_make(k->waits, &results[0]);
	AWAIT(waits(u), upcall_yield());
	CHECK_INT(step, 0);
	k->release();
	rt_join(u);
	CHECK_INT(results[0], 0);
	k->undo();
}

/* Two wait; the first one's deadline comes; the wake goes to the other. */
static void time_out(const struct kind *k)
{
	struct upcall_uthread *u, *w;

	fresh();
	k->block();
	u = rt_make(k->waits_until, &results[0]);
	AWAIT(waits(u) || step, upcall_yield());
	rt_join(u);
	CHECK_INT(results[0], -ETIMEDOUT);
	w = rt_make(k->waits, &results[1]);
	AWAIT(waits(w), upcall_yield());
	k->release();
	rt_join(w);
	CHECK_INT(results[1], 0);
	k->undo();
}

/* Two wait; the first one is cancelled; the wake goes to the other. */
static void cancel(const struct kind *k)
{
	struct upcall_uthread *u, *w;

	fresh();
	k->block();
	u = rt_make(k->waits, &results[0]);
	AWAIT(waits(u), upcall_yield());
	CHECK_INT(upcall_uthread_cancel(u), 0);
	CHECK(rt_join(u) == UPCALL_CANCELED);
	CHECK_INT(results[0], 77);
	w = rt_make(k->waits, &results[1]);
	AWAIT(waits(w), upcall_yield());
	k->release();
	rt_join(w);
	CHECK_INT(results[1], 0);
	k->undo();
}

static void each(void (*fn)(const struct kind *))
{
	unsigned i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		dprintf(2, "%s\n", kinds[i].name);
		fn(&kinds[i]);
	}
}

static int woken(void)
{
	rt_start(1);
	each(wake_one);
	rt_stop();
	return 0;
}

static int woken_on_two(void)
{
	rt_need_cpus(2);
	rt_start(2);
	each(wake_one);
	each(time_out);
	each(cancel);
	rt_stop();
	return 0;
}

static int timed_out(void)
{
	rt_start(1);
	each(time_out);
	rt_stop();
	return 0;
}

static int cancelled(void)
{
	rt_start(1);
	each(cancel);
	rt_stop();
	return 0;
}

/* ---- threads that are no uthreads ---- */

static void *plain_waker(void *arg)
{
	const struct kind *k = arg;

	k->release();
	return arg;
}

static void wake_from_outside(const struct kind *k)
{
	struct upcall_uthread *u;
	pthread_t t;

	if (k->block == hold_m || k->block == hold_rw || k->block == two)
		return; /* their release is the holder's, or waits itself: see below */
	fresh();
	k->block();
	u = rt_make(k->waits, &results[0]);
	AWAIT(waits(u), upcall_yield());
	step = 1;
	CHECK_INT(pthread_create(&t, NULL, plain_waker, (void *)(uintptr_t)k), 0);
	rt_join(u);
	CHECK_INT(results[0], 0);
	CHECK_INT(pthread_join(t, NULL), 0);
}

static int woken_from_outside(void)
{
	rt_start(1);
	each(wake_from_outside);
	rt_stop();
	return 0;
}

static void plain_waits(const struct kind *k)
{
	pthread_t t;

	fresh();
	k->block();
	CHECK_INT(pthread_create(&t, NULL, k->waits_until, &results[0]), 0);
	CHECK_INT(pthread_join(t, NULL), 0);
	CHECK_INT(results[0], -ETIMEDOUT);
	CHECK_INT(pthread_create(&t, NULL, k->waits, &results[1]), 0);
	upcall_sleep_ns(SHORT); /* it may be waiting by then; it need not */
	k->release();
	CHECK_INT(pthread_join(t, NULL), 0);
	CHECK_INT(results[1], 0);
	k->undo();
}

/* A signal that comes before is lost, as it is to be. */
static void plain_but_cond(const struct kind *k)
{
	if (k->waits != is_signalled)
		plain_waits(k);
}

static int plain_threads(void)
{
	each(plain_but_cond); /* before the start, too */
	rt_start(1);
	each(plain_but_cond);
	rt_stop();
	return 0;
}

/* ---- what is each one's own ---- */

static int mutex_own(void)
{
	fresh();
	CHECK_INT(upcall_mutex_lock(&m), 0);
	CHECK_INT(upcall_mutex_lock(&m), -EDEADLK);
	CHECK_INT(upcall_mutex_lock_until(&m, soon()), -EDEADLK);
	CHECK_INT(upcall_mutex_trylock(&m), -EBUSY);
	CHECK_INT(upcall_mutex_unlock(&m), 0);
	CHECK_INT(upcall_mutex_unlock(&m), -EPERM);
	rt_start(1);
	CHECK_INT(upcall_mutex_lock(&m), 0);
	CHECK_INT(upcall_mutex_lock(&m), -EDEADLK);
	CHECK_INT(upcall_mutex_unlock(&m), 0);
	CHECK_INT(upcall_rwlock_wrlock(&rw), 0);
	CHECK_INT(upcall_rwlock_wrlock(&rw), -EDEADLK);
	CHECK_INT(upcall_rwlock_rdlock(&rw), -EDEADLK);
	CHECK_INT(upcall_rwlock_unlock(&rw), 0);
	CHECK_INT(upcall_rwlock_unlock(&rw), -EPERM);
	rt_stop();
	return 0;
}

/* Readers share; a writer that waits is not overtaken by those who come later. */
static int rwlock_order(void)
{
	struct upcall_uthread *w, *r;

	fresh();
	rt_start(1);
	CHECK_INT(upcall_rwlock_rdlock(&rw), 0);
	CHECK_INT(upcall_rwlock_tryrdlock(&rw), 0);
	CHECK_INT(upcall_rwlock_trywrlock(&rw), -EBUSY);
	w = rt_make(writes, &results[0]);
	AWAIT(waits(w), upcall_yield());
	CHECK_INT(upcall_rwlock_tryrdlock(&rw), -EBUSY);
	r = rt_make(reads, &results[1]);
	AWAIT(waits(r), upcall_yield());
	CHECK_INT(upcall_rwlock_unlock(&rw), 0);
	CHECK_INT(upcall_rwlock_unlock(&rw), 0);
	rt_join(w);
	CHECK_INT(step, 1);
	CHECK_INT(upcall_rwlock_unlock(&rw), 0);
	rt_join(r);
	CHECK_INT(upcall_rwlock_unlock(&rw), 0);
	rt_stop();
	return 0;
}

/* Two readers behind a writer that gives up: both come in. */
static int rwlock_leaver(void)
{
	struct upcall_uthread *w, *r[2];
	int i;

	fresh();
	rt_start(1);
	CHECK_INT(upcall_rwlock_rdlock(&rw), 0);
	w = rt_make(writes, &results[0]);
	AWAIT(waits(w), upcall_yield());
	for (i = 0; i < 2; i++) {
		r[i] = rt_make(reads, &results[1 + i]);
		AWAIT(waits(r[i]), upcall_yield());
	}
	CHECK_INT(upcall_uthread_cancel(w), 0);
	CHECK(rt_join(w) == UPCALL_CANCELED);
	rt_join(r[0]);
	rt_join(r[1]);
	CHECK_INT(rw.readers, 3);
	for (i = 0; i < 3; i++)
		CHECK_INT(upcall_rwlock_unlock(&rw), 0);
	/* Both are let in at once when a writer leaves. */
	CHECK_INT(upcall_rwlock_wrlock(&rw), 0);
	for (i = 0; i < 2; i++) {
		r[i] = rt_make(reads, &results[1 + i]);
		AWAIT(waits(r[i]), upcall_yield());
	}
	CHECK_INT(upcall_rwlock_unlock(&rw), 0);
	CHECK_INT(rw.readers, 2);
	rt_join(r[0]);
	rt_join(r[1]);
	rt_stop();
	return 0;
}

static int chan_order(void)
{
	struct upcall_uthread *u[3];
	long v, i;

	fresh();
	rt_start(1);
	CHECK_INT(upcall_chan_create(&ch, sizeof(long), 2), 0);
	for (i = 0; i < 2; i++)
		CHECK_INT(upcall_chan_trysend(ch, &i), 0);
	CHECK_INT(upcall_chan_trysend(ch, &i), -EAGAIN);
	CHECK_INT(upcall_chan_send_until(ch, &i, soon()), -ETIMEDOUT);
	u[0] = rt_make(sends, &results[0]);
	AWAIT(waits(u[0]), upcall_yield());
	CHECK_INT(upcall_chan_destroy(ch), -EBUSY);
	for (i = 0; i < 3; i++) {
		CHECK_INT(upcall_chan_recv(ch, &v), 0);
		CHECK_INT(v, i < 2 ? i : 7);
	}
	rt_join(u[0]);
	CHECK_INT(upcall_chan_tryrecv(ch, &v), -EAGAIN);
	CHECK_INT(upcall_chan_recv_until(ch, &v, soon()), -ETIMEDOUT);
	CHECK_INT(upcall_chan_send(ch, &(long){ 5 }), 0);
	CHECK_INT(upcall_chan_close(ch), 0);
	CHECK_INT(upcall_chan_close(ch), -EPIPE);
	CHECK_INT(upcall_chan_send(ch, &v), -EPIPE);
	CHECK_INT(upcall_chan_recv(ch, &v), 0);
	CHECK_INT(v, 5);
	CHECK_INT(upcall_chan_recv(ch, &v), -EPIPE);
	CHECK_INT(upcall_chan_destroy(ch), 0);
	/* Those who wait are told of the end. */
	CHECK_INT(upcall_chan_create(&ch, sizeof(long), 1), 0);
	u[0] = rt_make(receives, &results[0]);
	AWAIT(waits(u[0]), upcall_yield());
	CHECK_INT(upcall_chan_close(ch), 0);
	rt_join(u[0]);
	CHECK_INT(results[0], -EPIPE);
	CHECK_INT(upcall_chan_destroy(ch), 0);
	CHECK_INT(upcall_chan_create(&ch, 0, 1), 0);
	CHECK_INT(upcall_chan_send(ch, NULL), 0);
	u[0] = rt_make(sends, &results[0]);
	AWAIT(waits(u[0]), upcall_yield());
	CHECK_INT(upcall_chan_close(ch), 0);
	rt_join(u[0]);
	CHECK_INT(results[0], -EPIPE);
	CHECK_INT(upcall_chan_recv(ch, NULL), 0);
	CHECK_INT(upcall_chan_destroy(ch), 0);
	ch = NULL;
	rt_stop();
	return 0;
}

static void exits(void *arg)
{
	upcall_uthread_exit(arg);
}

static void counts(void *arg)
{
	(*(int *)arg)++;
	upcall_yield();
}

static void *does_count(void *arg)
{
	CHECK_INT(upcall_once(&o, counts, arg), 0);
	CHECK_INT(*(int *)arg, 1);
	return arg;
}

static void *ends_in_once(void *arg)
{
	upcall_once(&o, exits, arg);
	CHECK(false);
	return arg;
}

static int once_own(void)
{
	struct upcall_uthread *u[4];
	int i, nr = 0;

	fresh();
	rt_start(1);
	u[0] = rt_make(ends_in_once, &nr);
	CHECK(rt_join(u[0]) == &nr);
	for (i = 0; i < 4; i++)
		u[i] = rt_make(does_count, &nr);
	for (i = 0; i < 4; i++)
		rt_join(u[i]);
	CHECK_INT(nr, 1);
	rt_stop();
	return 0;
}

/* Who gives up has not come: the barrier is full only with as many as it says. */
static int barrier_own(void)
{
	struct upcall_uthread *u[2];
	int i;

	fresh();
	rt_start(1);
	CHECK_INT(upcall_barrier_init(&b, 3), 0);
	CHECK_INT(upcall_barrier_wait_until(&b, soon()), -ETIMEDOUT);
	for (i = 0; i < 2; i++) {
		u[i] = rt_make(comes, &results[i]);
		AWAIT(waits(u[i]), upcall_yield());
	}
	CHECK_INT(step, 0);
	CHECK_INT(upcall_barrier_wait(&b), UPCALL_BARRIER_SERIAL);
	for (i = 0; i < 2; i++) {
		rt_join(u[i]);
		CHECK_INT(results[i], 0);
	}
	rt_stop();
	return 0;
}

/* ---- the mutex passes nobody over for ever ---- */

static atomic_int stop_now;
static atomic_uint rounds_held;

static void *hogs(void *arg)
{
	while (!atomic_load(&stop_now)) {
		atomic_fetch_add(&rounds_held, 1);
		CHECK_INT(upcall_mutex_lock(&m), 0);
		upcall_yield(); /* held across the others' turns: who is woken finds it taken */
		CHECK_INT(upcall_mutex_unlock(&m), 0);
	}
	return arg;
}

static void *gets(void *arg)
{
	unsigned i, from, most = 0;

	for (i = 0; i < 50; i++) {
		from = atomic_load(&rounds_held);
		CHECK_INT(upcall_mutex_lock(&m), 0);
		from = atomic_load(&rounds_held) - from;
		most = from > most ? from : most;
		CHECK_INT(upcall_mutex_unlock(&m), 0);
	}
	atomic_store(&stop_now, 1);
	CHECK(most > 1 && most < 20); /* some have gone before it, and not many */
	return arg;
}

static int nobody_starves(void)
{
	struct upcall_uthread *u[2];

	fresh();
	rt_start(1);
	u[0] = rt_make(hogs, NULL);
	u[1] = rt_make(gets, NULL);
	rt_join(u[0]); /* who is joined goes first: it holds the mutex whenever the other looks */
	rt_join(u[1]);
	rt_stop();
	return 0;
}

static const struct apart cases[] = {
	CASE("each_wakes", woken),
	CASE("each_on_two_vcores", woken_on_two),
	CASE("each_times_out", timed_out),
	CASE("each_is_cancelled", cancelled),
	CASE("each_is_woken_from_outside", woken_from_outside),
	CASE("plain_threads_wait", plain_threads),
	CASE("mutex_knows_its_owner", mutex_own),
	CASE("mutex_starves_nobody", nobody_starves),
	CASE("rwlock_in_order", rwlock_order),
	CASE("rwlock_leaver_lets_in", rwlock_leaver),
	CASE("chan_in_order", chan_order),
	CASE("once_after_an_end", once_own),
	CASE("barrier_leaver", barrier_own),
};

APART_MAIN(cases)
