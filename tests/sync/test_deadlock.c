/* SPDX-License-Identifier: MIT */
/* A deadlock of everything is told, once, with what each waits for; nothing else is taken for one. */
#include "sync_rt.h"

#include <pthread.h>

static struct upcall_mutex a, b;
static struct upcall_sem s;
static atomic_int told;
static int pipe_fd[2];

static void tells(void *arg)
{
	atomic_fetch_add(&told, 1);
	CHECK(arg == &told);
	CHECK_INT(upcall_dump(pipe_fd[1]), 0);
}

static void *a_then_b(void *arg)
{
	CHECK_INT(upcall_mutex_lock(&a), 0);
	upcall_yield();
	CHECK_INT(upcall_mutex_lock(&b), 0);
	return arg;
}

static void *b_then_a(void *arg)
{
	CHECK_INT(upcall_mutex_lock(&b), 0);
	upcall_yield();
	CHECK_INT(upcall_mutex_lock(&a), 0);
	return arg;
}

static char text[65536];

/* A plain thread, which may read when all others stand still. */
static void *reads(void *arg)
{
	size_t n = 0;
	ssize_t r;
	char want[64];

	AWAIT(atomic_load(&told), sched_yield());
	do {
		r = read(pipe_fd[0], text + n, sizeof(text) - 1 - n);
		CHECK(r > 0);
		n += (size_t)r;
	} while (!strstr(text, " b-then-a ") || text[n - 1] != '\n');
	snprintf(want, sizeof(want), "waits for mutex 0x%lx held by uthread ", (long)&b);
	CHECK(strstr(text, want));
	snprintf(want, sizeof(want), "waits for mutex 0x%lx held by uthread ", (long)&a);
	CHECK(strstr(text, want));
	CHECK(strstr(text, "main aside") && strstr(text, "waits for end of 0x"));
	CHECK_INT(told, 1);
	_exit(0);
	return arg;
}

static int is_told(void)
{
	struct upcall_uthread_attr x = { .size = sizeof(x), .name = "a-then-b" },
				   y = { .size = sizeof(y), .name = "b-then-a" };
	struct upcall_uthread *u[2];
	pthread_t t;

	CHECK_INT(pipe(pipe_fd), 0);
	CHECK_INT(upcall_set_deadlock_hook(tells, &told), 0);
	rt_start(1);
	CHECK_INT(pthread_create(&t, NULL, reads, NULL), 0);
	CHECK_INT(upcall_uthread_create(&u[0], &x, a_then_b, NULL), 0);
	CHECK_INT(upcall_uthread_create(&u[1], &y, b_then_a, NULL), 0);
	rt_join(u[0]);
	CHECK(false);
	return 1;
}

static void wakes(void *arg)
{
	atomic_fetch_add(&told, 1);
	CHECK_INT(upcall_sem_post(&s), 0);
}

/* The hook may end it; told anew each time that it comes about. */
static int is_ended_by_the_hook(void)
{
	int i;

	CHECK_INT(upcall_set_deadlock_hook(wakes, NULL), 0);
	rt_start(1);
	for (i = 1; i < 4; i++) {
		CHECK_INT(upcall_sem_wait(&s), 0);
		CHECK_INT(told, i);
	}
	CHECK_INT(upcall_set_deadlock_hook(NULL, NULL), 0);
	rt_stop();
	return 0;
}

static void *in_linux(void *arg)
{
	CHECK_INT(announced_sleep_ns(30 * MS), 0);
	CHECK_INT(upcall_sem_post(&s), 0);
	return arg;
}

static void *asleep(void *arg)
{
	CHECK_INT(upcall_sleep_ns(30 * MS), 0);
	CHECK_INT(upcall_sem_post(&s), 0);
	return arg;
}

static void never(void *arg)
{
	atomic_fetch_add(&told, 1);
}

static int is_none(void)
{
	struct upcall_uthread *u;

	CHECK_INT(upcall_set_deadlock_hook(never, NULL), 0);
	rt_start(1);
	u = rt_make(in_linux, NULL);
	CHECK_INT(upcall_sem_wait(&s), 0);
	rt_join(u);
	u = rt_make(asleep, NULL);
	CHECK_INT(upcall_sem_wait(&s), 0);
	rt_join(u);
	CHECK_INT(upcall_sem_wait_until(&s, upcall_now_ns() + 10 * MS), -ETIMEDOUT);
	rt_stop();
	CHECK_INT(told, 0);
	return 0;
}

static const struct apart cases[] = {
	CASE("deadlock_is_told", is_told),
	CASE("deadlock_is_ended", is_ended_by_the_hook),
	CASE("no_deadlock", is_none),
};

APART_MAIN(cases)
