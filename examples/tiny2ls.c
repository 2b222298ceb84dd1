/* SPDX-License-Identifier: MIT */
/*
 * A whole second-level scheduler, and a program that runs on it: one queue for all vcores, first in,
 * first out, with a word of each uthread as the link.  It counts why uthreads became ready.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <upcall/upcall.h>

static atomic_flag lock = ATOMIC_FLAG_INIT;
static struct upcall_uthread *head, *tail; /* with the lock */
static unsigned long picked, became_ready[UPCALL_FAULTED + 1];

/* Nobody is preempted in here, so that whoever spins waits for another core and for nothing else. */
static void take_lock(void)
{
	while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire))
		;
}

static void drop_lock(void)
{
	atomic_flag_clear_explicit(&lock, memory_order_release);
}

static void tiny_ready(struct upcall_uthread *u, unsigned vcore, enum upcall_why why)
{
	upcall_sched_words(u)[0] = NULL;
	take_lock();
	if (head)
		upcall_sched_words(tail)[0] = u;
	else
		head = u;
	tail = u;
	became_ready[why]++;
	drop_lock();
}

static struct upcall_uthread *tiny_pick(unsigned vcore)
{
	struct upcall_uthread *u;

	take_lock();
	u = head;
	if (u) {
		head = upcall_sched_words(u)[0];
		picked++;
	}
	drop_lock();
	return u;
}

static const struct upcall_sched_ops tiny = {
	.size = sizeof(tiny),
	.name = "tiny",
	.ready = tiny_ready,
	.pick = tiny_pick,
};

/* ---- a program for it ---- */

#define WORKERS 50
#define ROUNDS	20

static unsigned long compute(unsigned long seed)
{
	unsigned long sum = 0, n;

	for (n = 0; n < 20000; n++)
		sum += n * n ^ seed;
	return sum;
}

/* Computes, lets others go first, and sleeps in the kernel now and then. */
static void *work(void *arg)
{
	unsigned long sum = 0, i;

	for (i = 0; i < ROUNDS; i++) {
		sum += compute((unsigned long)arg + i);
		if (i % 5 == 0)
			usleep(100);
		upcall_yield();
	}
	return (void *)sum;
}

int main(void)
{
	static const char *const why[] = { "new",   "yielded",	 "preempted",
					   "woken", "unblocked", "faulted" };
	struct upcall_opts opts = { .size = sizeof(opts), .slice_ns = 1000000, .sched = &tiny };
	struct upcall_uthread *u[WORKERS];
	unsigned long n, i, differ = 0, came = 0;
	void *sum;
	int r = upcall_start(&opts);

	for (n = 0; !r && n < WORKERS; n++)
		r = upcall_uthread_create(&u[n], NULL, work, (void *)n);
	if (r < 0)
		return fprintf(stderr, "tiny2ls: %s\n", strerror(-r)), 1;
	for (n = 0; n < WORKERS; n++) {
		upcall_uthread_join(u[n], &sum);
		for (i = 0; i < ROUNDS; i++)
			sum = (void *)((unsigned long)sum - compute(n + i));
		differ += sum != NULL;
	}
	upcall_stop();
	for (i = 0; i < sizeof(why) / sizeof(*why); i++) {
		printf("%-10s %lu\n", why[i], became_ready[i]);
		came += became_ready[i];
	}
	printf("%lu became ready, %lu were picked, %lu wrong sums\n", came, picked, differ);
	return differ || came != picked || became_ready[UPCALL_NEW] != WORKERS ||
	       became_ready[UPCALL_YIELDED] < WORKERS * ROUNDS;
}
