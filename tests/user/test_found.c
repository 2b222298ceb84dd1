/* SPDX-License-Identifier: MIT */
/* What reading found, and running did not: each case held before its defect was mended by luck alone. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rt.h"

static atomic_long posted, handled;
static atomic_int asleep, ended;
static unsigned nr;

static void on_event(unsigned vcore, const struct upcall_event *ev, void *arg)
{
	atomic_store(&handled, atomic_load(&posted));
}

/* Posts to a vcore whose uthread is about to sleep for a moment, or does, or has just come back. */
static void *post(void *arg)
{
	unsigned seed = 1;

	while (!ended) {
		while (!ended && !asleep)
			;
		seed = seed * 1103515245 + 12345;
		for (volatile unsigned i = 0; i < (seed >> 16) % 400; i++)
			;
		atomic_fetch_add(&posted, 1);
		upcall_notify(nr, 0, 0, 0);
		while (!ended && handled != posted)
			;
	}
	return NULL;
}

/* Without slices nothing but the notification itself interrupts the uthread that computes. */
static int sleeper_is_notified(void)
{
	struct upcall_opts opts = { .size = sizeof(opts), .vcores = 1, .no_slice = true };
	struct timespec nap = { 0, 1000 };
	pthread_t poster;

	apart_dump_on();
	CHECK_INT(upcall_start(&opts), 0);
	CHECK_INT(upcall_event_alloc(&nr), 0);
	CHECK_INT(upcall_event_handle(nr, on_event, NULL), 0);
	CHECK_INT(upcall_event_route(nr, 0, 1), 0);
	CHECK_INT(pthread_create(&poster, NULL, post, NULL), 0);
	for (int i = 0; i < 3000; i++) {
		asleep = 1;
		syscall(SYS_nanosleep, &nap, NULL);
		asleep = 0;
		while (handled != posted) /* a lost one leaves us here until the case is killed */
			;
	}
	ended = 1;
	pthread_join(poster, NULL);
	CHECK_INT(upcall_stop(), 0);
	return 0;
}

static void *nothing(void *arg)
{
	return NULL;
}

static atomic_int quiet;

static void *churn(void *arg)
{
	struct timespec nap = { 0, 1000000 };
	struct upcall_uthread *u;

	while (!ended)
		if (quiet)
			nanosleep(&nap, NULL);
		else if (!upcall_uthread_create(&u, NULL, nothing, NULL))
			upcall_uthread_join(u, NULL);
	return NULL;
}

/* The child's own runtime finds the pools whole, whoever was changing them when it was made. */
static int child_starts(void)
{
	struct upcall_uthread *u[2];
	int status;
	pid_t pid;

	apart_dump_on();
	rt_start(2);
	CHECK_INT(upcall_uthread_create(&u[0], NULL, churn, NULL), 0);
	CHECK_INT(upcall_uthread_create(&u[1], NULL, churn, NULL), 0);
	for (int i = 0; i < 12; i++) {
		pid = fork();
		CHECK(pid >= 0);
		if (!pid)
			_exit(upcall_start(NULL) || upcall_stop());
		quiet = 1; /* a process with watchers ends slowly where every core is busy */
		CHECK_INT(waitpid(pid, &status, 0), pid);
		CHECK_INT(status, 0);
		quiet = 0;
	}
	ended = 1;
	rt_join(u[0]);
	rt_join(u[1]);
	rt_stop();
	return 0;
}

static atomic_int others_turns;

static void *other(void *arg)
{
	while (!ended) {
		others_turns++;
		upcall_yield();
	}
	return NULL;
}

/* An announced call that finds a notification waiting leaves the caller's section whole. */
static int section_survives_call(void)
{
	struct upcall_opts opts = { .size = sizeof(opts), .vcores = 1, .slice_ns = 200000 };
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC), before;
	struct upcall_stats was;
	struct upcall_uthread *u;

	apart_dump_on();
	CHECK_INT(upcall_start(&opts), 0);
	CHECK_INT(upcall_event_alloc(&nr), 0);
	CHECK_INT(upcall_event_handle(nr, on_event, NULL), 0);
	CHECK_INT(upcall_event_route(nr, 0, 1), 0);
	CHECK_INT(upcall_uthread_create(&u, NULL, other, NULL), 0);
	upcall_yield();
	upcall_critical_enter();
	before = others_turns;
	was = rt_stats();
	/* Until slices have been put off, not only notifications. */
	for (int i = 0; i < 200 || rt_stats().deferred < was.deferred + 30; i++) {
		atomic_fetch_add(&posted, 1);
		upcall_notify(nr, 0, 0, 0);
		CHECK_INT(upcall_write(fd, "x", 1), 1);
		for (volatile int j = 0; j < 1000; j++) /* many slices in all */
			;
	}
	/* Where others use the machine a call may have been taken to block: then they have a turn. */
	CHECK(others_turns == before || rt_stats().blocked[0] > was.blocked[0]);
	upcall_critical_leave(); /* that it gives way here is user-critical's to show */
	ended = 1;
	rt_join(u);
	rt_stop();
	return 0;
}

static const struct apart cases[] = {
	CASE("a notification to one that sleeps for a moment is not lost", sleeper_is_notified),
	CASE("a fork's child starts a runtime of its own", child_starts),
	CASE("a critical section outlives an announced call", section_survives_call),
};

APART_MAIN(cases)
