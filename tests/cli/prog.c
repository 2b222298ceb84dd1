/* SPDX-License-Identifier: MIT */
/*
 * What the tests of `upcall run` start: a program of few words that is an Upcall program, or none,
 * and ends as it is told to.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <upcall/upcall.h>

#include "announced.h"

static int cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) ? -1 : CPU_COUNT(&set);
}

static void must(int r, const char *what)
{
	if (!r)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-r));
	exit(99);
}

static void *turns(void *arg)
{
	for (long i = 0; i < (long)arg; i++)
		upcall_yield();
	return NULL;
}

/* A short sleep is over before anybody looks where others keep the CPU busy. */
static bool have_been_seen(void)
{
	struct upcall_stats st = { .size = sizeof(st) };

	return upcall_get_stats(&st) || (st.blocked[0] && st.blocked[3]);
}

/* nr uthreads of so many turns each, then as many sleeps in a row. */
static void work(int nr, long yields, int sleeps)
{
	struct upcall_uthread_attr attr = { .size = sizeof(attr), .name = "wor\"ker" };
	struct upcall_uthread **u = calloc((size_t)nr, sizeof(struct upcall_uthread *));
	struct timespec nap = { 0, 300000 };

	for (int i = 0; i < nr; i++)
		must(upcall_uthread_create(&u[i], &attr, turns, (void *)yields), "create");
	for (int i = 0; i < nr; i++)
		must(upcall_uthread_join(u[i], NULL), "join");
	for (int i = 0; i < sleeps || (sleeps > 1 && !have_been_seen()); i++)
		if (i % 2)
			nanosleep(&nap, NULL);
		else
			announced_sleep_ns(300000);
	free(u);
}

static void *sleep_and_make(void *arg)
{
	struct timespec nap = { 0, 1000000 };
	struct upcall_uthread *u;

	for (int i = 0; i < 5; i++) {
		nanosleep(&nap, NULL);
		must(upcall_uthread_create(&u, NULL, turns, (void *)1), "create");
		must(upcall_uthread_join(u, NULL), "join");
	}
	return NULL;
}

/* nr uthreads that sleep in the kernel at once, and after each sleep make one more. In waves: kernel
 * threads that nobody needs go in between, and others come. */
static void crowd(int nr)
{
	struct upcall_uthread **u = calloc((size_t)nr, sizeof(struct upcall_uthread *));

	for (int wave = 0; wave < 3; wave++) {
		for (int i = 0; i < nr; i++)
			must(upcall_uthread_create(&u[i], NULL, sleep_and_make, NULL), "create");
		for (int i = 0; i < nr; i++)
			must(upcall_uthread_join(u[i], NULL), "join");
		upcall_sleep_ns(700000000); /* two looks of who trims them, and more */
	}
	free(u);
}

/* ---- modes ---- */

static __thread int own;

static void *look_at_self(void *arg)
{
	pthread_attr_t a;
	void *at;
	size_t sz = 0;

	own = 7;
	if (!pthread_getattr_np(pthread_self(), &a)) {
		pthread_attr_getstack(&a, &at, &sz);
		pthread_attr_destroy(&a);
	}
	*(size_t *)arg = sz;
	return NULL;
}

static int options(void)
{
	struct upcall_uthread *u;
	size_t stack = 0;

	must(upcall_start(NULL), "start");
	must(upcall_uthread_create(&u, NULL, look_at_self, &stack), "create");
	must(upcall_uthread_join(u, NULL), "join");
	printf("{\"cpus\":%d,\"stack\":%zu}\n", cpus(), stack);
	fflush(stdout);
	return upcall_stop();
}

static _Noreturn void die(int sig, int uthreads)
{
	must(upcall_start(NULL), "start");
	work(uthreads, 50, 6);
	signal(sig, SIG_DFL);
	kill(getpid(), sig);
	for (;;)
		pause();
}

static volatile int stop;

static void *spin(void *arg)
{
	while (!stop)
		;
	return arg;
}

static int busy(long ms)
{
	struct upcall_uthread *u[8];

	must(upcall_start(NULL), "start");
	for (int i = 0; i < 8; i++)
		must(upcall_uthread_create(&u[i], NULL, spin, NULL), "create");
	announced_sleep_ns((uint64_t)ms * 1000000);
	stop = 1;
	for (int i = 0; i < 8; i++)
		must(upcall_uthread_join(u[i], NULL), "join");
	return upcall_stop();
}

/* Its core is asked for, again and again. */
static int lose_cores(void)
{
	struct upcall_uthread *u[4];

	must(upcall_start(NULL), "start");
	for (int i = 0; i < 4; i++)
		must(upcall_uthread_create(&u[i], NULL, spin, NULL), "create");
	for (int i = 0; i < 20; i++) {
		announced_sleep_ns(2000000);
		upcall_preempt(-1, 500000);
	}
	stop = 1;
	for (int i = 0; i < 4; i++)
		must(upcall_uthread_join(u[i], NULL), "join");
	return upcall_stop();
}

/* Says which signals come, and ends with 5 at SIGUSR2. */
static _Noreturn void signals(bool is_upcall)
{
	sigset_t all;
	siginfo_t si;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (is_upcall)
		must(upcall_start(NULL), "start");
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	printf("ready %d\n", getpid());
	for (;;) {
		if (sigwaitinfo(&all, &si) < 0)
			continue;
		printf("got %d %d\n", si.si_signo,
		       si.si_code == SI_QUEUE ? si.si_value.sival_int : 0);
		if (si.si_signo == SIGUSR2)
			exit(5);
	}
}

/* Job control has its default actions; the others are said. */
static void say(int sig)
{
	char text[] = "got 00\n";

	text[4] = (char)('0' + sig / 10);
	text[5] = (char)('0' + sig % 10);
	if (write(1, text, sizeof(text) - 1) < 0)
		_exit(98);
}

static int terminal(bool is_upcall)
{
	struct sigaction sa = { .sa_handler = say, .sa_flags = SA_RESTART };

	if (is_upcall)
		must(upcall_start(NULL), "start");
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGCONT, &sa, NULL);
	sigaction(SIGWINCH, &sa, NULL);
	dprintf(1, "ready %d\n", getpid());
	for (;;) {
		char line[64];
		ssize_t n = read(0, line, sizeof(line) - 1);

		if (n <= 0)
			return n < 0 ? 97 : 6;
		line[n] = 0;
		dprintf(1, "read %s foreground %s\n", strtok(line, "\n"),
			tcgetpgrp(0) == getpgrp() ? "yes" : "no");
		if (!strcmp(line, "exit"))
			exit(6);
	}
}

/* What a child would find; run as a child of the program as well. */
static int environment(void)
{
	char path[32], to[64];
	int leads = 0;

	for (int fd = 0; fd < 1024; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		memset(to, 0, sizeof(to));
		if (readlink(path, to, sizeof(to) - 1) > 0 && strstr(to, "upcall-run"))
			leads++;
	}
	printf("{\"variable\":%s,\"descriptors\":%d,\"cpus\":%d}\n",
	       getenv("UPCALL_RUN_FD") ? "true" : "false", leads, cpus());
	return 0;
}

static int family(char *self)
{
	char *args[] = { self, (char[]){ "die-later" }, NULL };
	int status = -1;
	pid_t pid;

	must(upcall_start(NULL), "start");
	work(10, 10, 2);
	pid = fork();
	if (!pid) {
		execv(self, args);
		_exit(96);
	}
	waitpid(pid, &status, 0);
	if (status)
		return 95;
	return upcall_stop();
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	long n = argc > 2 ? atol(argv[2]) : 0, m = argc > 3 ? atol(argv[3]) : 0;

	if (!strcmp(mode, "options"))
		return options();
	if (!strcmp(mode, "die"))
		die((int)n, (int)m);
	if (!strcmp(mode, "busy"))
		return busy(n);
	if (!strcmp(mode, "lose-cores"))
		return lose_cores();
	if (!strcmp(mode, "signals") || !strcmp(mode, "signals-upcall"))
		signals(mode[7]);
	if (!strcmp(mode, "terminal") || !strcmp(mode, "terminal-upcall"))
		return terminal(mode[8]);
	if (!strcmp(mode, "environment"))
		return environment();
	if (!strcmp(mode, "family"))
		return family(argv[0]);
	if (!strcmp(mode, "exit"))
		return (int)n;
	/* Started, and left without a stop; or stopped in good order. */
	must(upcall_start(NULL), "start");
	if (!strcmp(mode, "die-later"))
		return environment();
	if (!strcmp(mode, "crowd"))
		crowd((int)n);
	else
		work((int)n, m, 10);
	return !strcmp(mode, "work") ? upcall_stop() : 0;
}
