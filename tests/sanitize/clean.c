/* SPDX-License-Identifier: MIT */
/*
 * What programs do with uthreads, done right: a sanitizer must not find anything in it. An argument is
 * how many times as much. Memory changes hands with each of the library's ways to tell another.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <upcall/upcall.h>

#include "tap.h"

static int times = 1;

static struct upcall_uthread *make(void *(*fn)(void *), void *arg)
{
	struct upcall_uthread *u;
	int r = upcall_uthread_create(&u, NULL, fn, arg);

	if (r)
		tap_bail("no uthread: %s", strerror(-r));
	return u;
}

/* What is written before create() and before the end is read behind them; some end by exit(). */
struct job {
	int n;
	long result;
	char text[64];
};

static void *fib(void *arg)
{
	struct job *j = arg, *half[2];
	struct upcall_uthread *u[2];
	void *ret;
	int i;

	if (j->n < 2) {
		j->result = j->n;
		snprintf(j->text, sizeof(j->text), "fib(%d)", j->n);
		upcall_uthread_exit(j);
	}
	for (i = 0; i < 2; i++) {
		half[i] = malloc(sizeof(**half));
		*half[i] = (struct job){ .n = j->n - 1 - i };
		u[i] = make(fib, half[i]);
	}
	for (i = 0; i < 2; i++) {
		upcall_uthread_join(u[i], &ret);
		j->result += ((struct job *)ret)->result;
		free(ret);
	}
	return j;
}

static void test_join(void)
{
	struct job j = { .n = 12 };
	int i;
	void *ret;

	for (i = 0; i < times; i++) {
		j.result = 0;
		upcall_uthread_join(make(fib, &j), &ret);
	}
	tap_ok(ret == &j && j.result == 144, "results pass by way of join");
}

/* Each its own line, over and over in different company. */
static void *walk(void *arg)
{
	long *line = arg, local[32] = { 0 };
	int i;

	for (i = 0; i < 100; i++) {
		local[i % 32] = ++line[i % 8];
		upcall_yield();
		if (local[i % 32] != line[i % 8])
			return NULL;
	}
	return line;
}

static void test_yield(void)
{
	enum { NR = 50 };
	long(*lines)[8] = calloc(NR, sizeof(*lines));
	struct upcall_uthread *u[NR];
	int i, t, good = 0;
	void *ret;

	for (t = 0; t < times; t++) {
		for (i = 0; i < NR; i++)
			u[i] = make(walk, lines[i]);
		for (i = 0; i < NR; i++) {
			upcall_uthread_join(u[i], &ret);
			good += ret == lines[i];
		}
	}
	tap_ok(good == NR * times, "uthreads that yield keep what is theirs");
	free(lines);
}

/* A letter box: the receiver lets the sender know of itself when it is off its stack. */
static struct {
	struct upcall_uthread *waiter; /* atomic */
	long *letter;		       /* whoever takes the waiter, then the waiter */
} box;

static void wait_here(struct upcall_uthread *self, void *arg)
{
	__atomic_store_n(&box.waiter, self, __ATOMIC_RELEASE);
}

static void *receive(void *arg)
{
	long sum = 0;
	int i;

	for (i = 0; i < 200 * times; i++) {
		upcall_block(wait_here, NULL);
		sum += *box.letter;
		free(box.letter);
	}
	return (void *)sum;
}

static void *post(void *arg)
{
	struct upcall_uthread *w;
	int i;

	for (i = 0; i < 200 * times; i++) {
		long *letter = malloc(sizeof(*letter));

		*letter = i;
		while (!(w = __atomic_exchange_n(&box.waiter, NULL, __ATOMIC_ACQUIRE)))
			upcall_yield();
		box.letter = letter;
		upcall_wake(w);
	}
	return NULL;
}

static void test_wake(void)
{
	struct upcall_uthread *r = make(receive, NULL), *p = make(post, NULL);
	long n = 200L * times;
	void *sum;

	upcall_uthread_join(p, NULL);
	upcall_uthread_join(r, &sum);
	tap_ok((long)sum == n * (n - 1) / 2, "letters pass by way of block and wake");
}

/* The same through Linux: announced calls block, and others go on meanwhile. */
static int fds[2];

static void *read_all(void *arg)
{
	long *at, sum = 0;

	while (upcall_read(fds[0], &at, sizeof(at)) == sizeof(at) && at) {
		sum += *at;
		free(at);
	}
	return (void *)sum;
}

static void *write_all(void *arg)
{
	long *at = NULL;
	int i;

	for (i = 0; i < 100 * times; i++) {
		at = malloc(sizeof(*at));
		*at = i;
		upcall_write(fds[1], &at, sizeof(at));
		if (!(i % 10))
			upcall_sleep_ns(100000);
	}
	at = NULL;
	upcall_write(fds[1], &at, sizeof(at));
	return NULL;
}

static void test_calls(void)
{
	struct upcall_uthread *r, *w;
	long n = 100L * times;
	void *sum;

	if (pipe(fds))
		tap_bail("no pipe");
	r = make(read_all, NULL);
	w = make(write_all, NULL);
	upcall_uthread_join(w, NULL);
	upcall_uthread_join(r, &sum);
	tap_ok((long)sum == n * (n - 1) / 2, "and by way of a pipe and announced calls");
	close(fds[0]);
	close(fds[1]);
}

/* By the library's locks: plain words, ordered by nothing else. */
static struct upcall_mutex mutex;
static struct upcall_cond cond;
static struct upcall_sem full, empty;
static struct upcall_chan *chan;
static struct upcall_once_flag once_flag;
static long counter, slot, set_once;
static int here;
#define LOCKERS 8

static void set(void *arg)
{
	set_once = 7;
}

static void *counts(void *arg)
{
	int i;

	upcall_once(&once_flag, set, NULL);
	upcall_mutex_lock(&mutex);
	if (++here == LOCKERS)
		upcall_cond_broadcast(&cond);
	while (here < LOCKERS)
		upcall_cond_wait(&cond, &mutex);
	upcall_mutex_unlock(&mutex);
	for (i = 0; i < 200 * times; i++) {
		upcall_mutex_lock(&mutex);
		counter += set_once;
		if (i % 16 == 0)
			upcall_yield(); /* the others queue */
		upcall_mutex_unlock(&mutex);
		if (i % 32 == 0)
			upcall_yield();
	}
	return NULL;
}

static void *fills(void *arg)
{
	long i, *at;

	for (i = 1; i <= 200L * times; i++) {
		upcall_sem_wait(&empty);
		slot = i;
		upcall_sem_post(&full);
		at = malloc(sizeof(*at));
		*at = i;
		upcall_chan_send(chan, &at);
	}
	return NULL;
}

static void *empties(void *arg)
{
	long i, sum = 0, *at;

	for (i = 0; i < 200L * times; i++) {
		upcall_sem_wait(&full);
		sum += slot;
		upcall_sem_post(&empty);
		upcall_chan_recv(chan, &at);
		sum += *at;
		free(at);
	}
	return (void *)sum;
}

static void test_locks(void)
{
	struct upcall_uthread *u[LOCKERS], *f, *e;
	long n = 200L * times;
	void *sum;
	int i;

	counter = here = 0;
	memset(&once_flag, 0, sizeof(once_flag));
	upcall_sem_init(&full, 0);
	upcall_sem_init(&empty, 1);
	if (upcall_chan_create(&chan, sizeof(long *), 2))
		tap_bail("no channel");
	for (i = 0; i < LOCKERS; i++)
		u[i] = make(counts, NULL);
	e = make(empties, NULL);
	f = make(fills, NULL);
	for (i = 0; i < LOCKERS; i++)
		upcall_uthread_join(u[i], NULL);
	upcall_uthread_join(f, NULL);
	upcall_uthread_join(e, &sum);
	tap_ok(counter == LOCKERS * n * 7 && (long)sum == n * (n + 1),
	       "plain words are ordered by mutex, condition, once, semaphore and channel");
	upcall_chan_destroy(chan);
}

struct branch {
	int depth;
	long sum;
};

static void grow(void *arg)
{
	struct branch *b = arg, left = { b->depth - 1, 0 }, right = { b->depth - 1, 0 };
	struct upcall_fork f;

	if (!b->depth) {
		b->sum = 1;
		return;
	}
	upcall_spawn(&f, grow, &left);
	grow(&right);
	upcall_sync(&f);
	b->sum = left.sum + right.sum;
}

static void test_forks(void)
{
	struct branch b = { 12, 0 };
	int i;

	for (i = 0; i < times; i++)
		grow(&b);
	tap_ok(b.sum == 1 << 12, "results pass by way of sync");
}

int main(int argc, char **argv)
{
	struct upcall_opts opts = { .size = sizeof(opts), .vcores = 2 };
	int i, r;

	times = argc > 1 ? atoi(argv[1]) : 1;
	tap_plan(2 * 6 + 1);
	/* More than once: what was made for a run goes away with it. */
	for (i = 0; i < 2; i++) {
		r = upcall_start(&opts);
		if (r)
			tap_bail("cannot start: %s", strerror(-r));
		test_join();
		test_yield();
		test_wake();
		test_calls();
		test_locks();
		test_forks();
		if (upcall_stop())
			tap_bail("cannot stop");
	}
	tap_ok(true, "it starts and stops more than once");
	return tap_done();
}
