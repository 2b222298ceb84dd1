/* SPDX-License-Identifier: MIT */
/*
 * Uthreads: made, run, waited for, ended; what is each one's own; blocks and wakes in every order.
 */
#include "rt.h"

#include <pthread.h>
#include <stdlib.h>

static void *give_back(void *arg)
{
	return arg;
}

static void *yield_and_give_back(void *arg)
{
	unsigned turns = (unsigned)(uintptr_t)arg % 5;

	while (turns--)
		upcall_yield();
	return arg;
}

static int join_gives_value(void)
{
	struct upcall_uthread *u[500];
	uintptr_t i, round;

	rt_start(2);
	for (round = 0; round < 4; round++) {
		for (i = 0; i < 500; i++)
			u[i] = rt_make(yield_and_give_back, (void *)i);
		for (i = 0; i < 500; i++)
			CHECK(rt_join(u[(i * 7) % 500]) == (void *)((i * 7) % 500));
	}
	CHECK_INT(rt_stats().uthreads_live, 1);
	rt_stop();
	return 0;
}

static atomic_int count;

/* By way of two functions, so that nobody takes it for a loop. */
static void deepest(void)
{
	upcall_uthread_exit(&count);
}

static __attribute__((noinline)) int deeper(void (*fn)(void))
{
	volatile char frame[4096];

	frame[0] = 1;
	fn();
	return frame[0];
}

static void *exits_deep(void *arg)
{
	return deeper(deepest) ? arg : NULL;
}

static int exit_gives_value(void)
{
	rt_start(1);
	CHECK(rt_join(rt_make(exits_deep, NULL)) == &count);
	rt_stop();
	return 0;
}

static void *count_one(void *arg)
{
	atomic_fetch_add(&count, 1);
	return NULL;
}

static int detached_free_themselves(void)
{
	struct upcall_uthread_attr attr = { .size = sizeof(attr), .detached = true };
	struct upcall_uthread *u;
	unsigned i;

	rt_start(2);
	for (i = 0; i < 300; i++)
		CHECK_INT(upcall_uthread_create(NULL, &attr, count_one, NULL), 0);
	for (i = 0; i < 100; i++) /* while it runs, or after its end */
		CHECK_INT(upcall_uthread_detach(rt_make(count_one, NULL)), 0);
	u = rt_make(count_one, NULL);
	AWAIT(atomic_load(&count) == 401, upcall_yield());
	CHECK_INT(upcall_uthread_detach(u), 0);
	AWAIT(rt_stats().uthreads_live == 1, CHECK(!rt_join(rt_make(give_back, NULL))));
	rt_stop();
	return 0;
}

static int names_and_numbers(void)
{
	struct upcall_uthread_attr attr = { .size = sizeof(attr),
					    .name = "a name of more than 31 "
						    "bytes is cut off" };
	struct upcall_uthread *u, *v;
	char text[4096];
	int fds[2];
	ssize_t n;

	rt_start(1);
	CHECK_INT(upcall_uthread_create(&u, &attr, give_back, NULL), 0);
	CHECK_INT(upcall_uthread_create(&v, &attr, give_back, NULL), 0);
	CHECK(upcall_uthread_id(u) && upcall_uthread_id(u) != upcall_uthread_id(v));
	CHECK_INT(pipe(fds), 0);
	CHECK_INT(upcall_dump(fds[1]), 0);
	n = read(fds[0], text, sizeof(text) - 1);
	CHECK(n > 0);
	text[n] = 0;
	CHECK(strstr(text, "a name of more than 31 bytes is "));
	CHECK(!strstr(text, "a name of more than 31 bytes is c"));
	CHECK(strstr(text, "uthread 0 main running"));
	rt_join(u);
	rt_join(v);
	rt_stop();
	return 0;
}

static __thread volatile int own;

static __attribute__((noinline)) volatile int *where_own(void)
{
	__asm__ __volatile__("");
	return &own;
}

static atomic_int stepped;

static void *look_at_own(void *arg)
{
	CHECK_INT(own, 0);
	own = 7;
	errno = (int)(uintptr_t)arg;
	atomic_fetch_add(&stepped, 1);
	AWAIT(atomic_load(&stepped) == 2, upcall_yield());
	CHECK_INT(own, 7);
	CHECK_INT(errno, (uintptr_t)arg);
	return (void *)where_own();
}

static int tls_is_own(void)
{
	struct upcall_uthread *u, *v;
	void *at_u, *at_v;

	rt_start(1);
	own = 1;
	u = rt_make(look_at_own, (void *)11);
	v = rt_make(look_at_own, (void *)12);
	at_u = rt_join(u);
	at_v = rt_join(v);
	CHECK(at_u != at_v && at_u != (void *)&own);
	CHECK_INT(own, 1);
	rt_stop();
	CHECK_INT(own, 1);
	return 0;
}

static void *where(void *arg)
{
	return (void *)where_own();
}

/* Without blocks one activation runs them all, and its TLS is theirs. */
static int tls_is_shared(void)
{
	void *a, *b;

	rt_start_opts((struct upcall_opts){ .vcores = 1, .shared_tls = true, .no_slice = true });
	a = rt_join(rt_make(where, NULL));
	b = rt_join(rt_make(where, NULL));
	CHECK(a == b);
	rt_stop();
	return 0;
}

static pthread_mutex_t recursive;

static void *try_lock(void *arg)
{
	return (void *)(intptr_t)pthread_mutex_trylock(&recursive);
}

/* libc's locks know their owner by the thread's number. */
static int libc_tells_them_apart(void)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&recursive, &attr);
	rt_start(1);
	CHECK_INT((intptr_t)rt_join(rt_make(try_lock, NULL)), 0); /* and keeps it */
	CHECK_INT((intptr_t)rt_join(rt_make(try_lock, NULL)), EBUSY);
	CHECK_INT(pthread_mutex_trylock(&recursive), EBUSY);
	rt_stop();
	return 0;
}

static char order[16], letters[] = "ab";
static atomic_int at;

static void *append(void *arg)
{
	unsigned i;

	for (i = 0; i < 4; i++) {
		order[atomic_fetch_add(&at, 1)] = *(char *)arg;
		upcall_yield();
	}
	return NULL;
}

static int yield_takes_turns(void)
{
	struct upcall_uthread *a, *b;

	rt_start_opts((struct upcall_opts){ .vcores = 1, .no_slice = true });
	a = rt_make(append, &letters[0]);
	b = rt_make(append, &letters[1]);
	rt_join(a);
	rt_join(b);
	if (strcmp(order, "abababab")) {
		dprintf(2, "%s\n", order);
		return 1;
	}
	rt_stop();
	return 0;
}

/* ---- block and wake ---- */

static void wake_at_once(struct upcall_uthread *self, void *arg)
{
	CHECK(!upcall_uthread_self()); /* vcore context */
	atomic_fetch_add(&count, 1);
	CHECK_INT(upcall_wake(self), 0); /* it may run elsewhere from here on */
}

static int wake_before_block_returns(void)
{
	unsigned i;

	rt_start(2);
	for (i = 0; i < 2000; i++)
		CHECK_INT(upcall_block(wake_at_once, NULL), 0);
	CHECK_INT(atomic_load(&count), 2000);
	rt_stop();
	return 0;
}

struct ball {
	_Atomic(struct upcall_uthread *) waits;
	atomic_int with; /* whose turn it is */
};

static void hand_in(struct upcall_uthread *self, void *arg)
{
	struct upcall_uthread *other = atomic_exchange((_Atomic(struct upcall_uthread *) *)arg,
						       self);

	/* Both wait at a time: never. */
	CHECK(!other);
}

#define RALLY 3000

static void play(struct ball *b, int me)
{
	struct upcall_uthread *other;
	unsigned i;

	for (i = 0; i < RALLY; i++) {
		AWAIT(atomic_load(&b->with) == me, upcall_yield());
		AWAIT((other = atomic_exchange(&b->waits, NULL)) || !i, upcall_yield());
		atomic_store(&b->with, !me);
		if (other)
			CHECK_INT(upcall_wake(other), 0);
		CHECK_INT(upcall_block(hand_in, &b->waits), 0);
	}
}

static struct ball ball;

static void *play_1(void *arg)
{
	play(&ball, 1);
	atomic_fetch_add(&count, 1);
	/* Nobody waits for ever for us. */
	return NULL;
}

static int rally(unsigned vcores)
{
	struct upcall_uthread *u, *left;

	rt_start(vcores);
	u = rt_make(play_1, NULL);
	play(&ball, 0);
	/* Woken for the last time by the other, whose last block is ours to end. */
	AWAIT((left = atomic_exchange(&ball.waits, NULL)) || atomic_load(&count), upcall_yield());
	if (left)
		CHECK_INT(upcall_wake(left), 0);
	rt_join(u);
	rt_stop();
	return 0;
}

static int rally_1(void)
{
	return rally(1);
}

static int rally_2(void)
{
	return rally(2);
}

static _Atomic(struct upcall_uthread *) sleeper;

static void *wakes_from_outside(void *arg)
{
	struct upcall_uthread *u;
	unsigned i;

	for (i = 0; i < 300; i++) {
		AWAIT((u = atomic_exchange(&sleeper, NULL)), sched_yield());
		CHECK_INT(upcall_wake(u), 0);
	}
	return NULL;
}

static void lay_down(struct upcall_uthread *self, void *arg)
{
	atomic_store(&sleeper, self);
}

/* With nothing else to run, so that each wake starts a process that is asleep. */
static int wake_from_outside(void)
{
	pthread_t t;
	unsigned i;

	/* Made before the start: a plain thread of the program's. */
	CHECK_INT(pthread_create(&t, NULL, wakes_from_outside, NULL), 0);
	rt_start(2);
	for (i = 0; i < 300; i++)
		CHECK_INT(upcall_block(lay_down, NULL), 0);
	CHECK_INT(pthread_join(t, NULL), 0);
	rt_stop();
	return 0;
}

static void *makes_from_outside(void *arg)
{
	struct upcall_uthread *u;
	struct upcall_uthread_attr attr = { .size = sizeof(attr), .detached = true };
	unsigned i;

	AWAIT(atomic_load((atomic_int *)arg), sched_yield());
	for (i = 0; i < 50; i++)
		CHECK_INT(upcall_uthread_create(&u, &attr, count_one, NULL), 0);
	return NULL;
}

static int made_from_outside(void)
{
	atomic_int started = 0;
	pthread_t t;

	CHECK_INT(pthread_create(&t, NULL, makes_from_outside, &started), 0);
	rt_start(1);
	atomic_store(&started, 1);
	CHECK_INT(pthread_join(t, NULL), 0);
	AWAIT(atomic_load(&count) == 50, upcall_yield());
	rt_stop();
	return 0;
}

/* A joiner of a uthread that waits, and joins of joins. */
static void *join_next(void *arg)
{
	struct upcall_uthread *u;

	if (!arg)
		return (void *)1;
	u = rt_make(join_next, (char *)arg - 1);
	return (char *)rt_join(u) + 1;
}

static int join_chain(void)
{
	rt_start(2);
	CHECK_INT((uintptr_t)rt_join(rt_make(join_next, (void *)200)), 201);
	rt_stop();
	return 0;
}

static const struct apart cases[] = {
	CASE("join waits for the end and gives the value", join_gives_value),
	CASE("exit from deep within gives the value", exit_gives_value),
	CASE("detached uthreads free themselves, whenever they were detached",
	     detached_free_themselves),
	CASE("names are copied and cut, numbers are unique", names_and_numbers),
	CASE("errno and thread-local words are each uthread's own", tls_is_own),
	CASE("a recursive mutex of libc's knows uthreads apart", libc_tells_them_apart),
	CASE("on request they are the kernel thread's", tls_is_shared),
	CASE("yield takes turns", yield_takes_turns),
	CASE("a wake before the block's callback returns", wake_before_block_returns),
	CASE("two wake each other in turn, 1 vcore", rally_1),
	CASE("two wake each other in turn, 2 vcores", rally_2),
	CASE("a thread of the program's wakes a process that is asleep", wake_from_outside),
	CASE("a thread of the program's makes uthreads", made_from_outside),
	CASE("joins of joins", join_chain),
};

APART_MAIN(cases)
