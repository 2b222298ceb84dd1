/* SPDX-License-Identifier: MIT */
/*
 * A program for a debugger to look at: one vcore, and a uthread in each state. seen_ready() is called
 * when all of them are there, by the one that runs. The signal that notifies is the argument's, 0 for
 * the default; with a second one it aborts at the end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <upcall/upcall.h>

static int pipe_fd[2];
static struct upcall_uthread *reader;
static volatile unsigned long spun_beside, yielded;
static int aborts;

__attribute__((noinline)) static long seen_reading(void)
{
	char c;
	long r = read(pipe_fd[0], &c, 1); /* nobody writes */

	return r + c;
}

static void *read_pipe(void *arg)
{
	return (void *)seen_reading();
}

static void told(struct upcall_uthread *self, void *arg)
{
	*(struct upcall_uthread **)arg = self;
}

__attribute__((noinline)) static int seen_blocking(struct upcall_uthread **where)
{
	return upcall_block(told, where) + 1;
}

static void *block(void *arg)
{
	static struct upcall_uthread *where;

	return (void *)(long)seen_blocking(&where);
}

__attribute__((noinline)) static int seen_joining(void)
{
	return upcall_uthread_join(reader, NULL) + 1;
}

static void *join(void *arg)
{
	return (void *)(long)seen_joining();
}

__attribute__((noinline)) static void seen_yielding(void)
{
	for (;;) {
		yielded++;
		upcall_yield();
	}
}

static void *yield(void *arg)
{
	seen_yielding();
	return NULL;
}

__attribute__((noinline)) static void seen_spinning_beside(void)
{
	for (;;)
		spun_beside++;
}

static void *spin_beside(void *arg)
{
	seen_spinning_beside();
	return NULL;
}

__attribute__((noinline)) void seen_ready(void);
void seen_ready(void)
{
	__asm__ __volatile__("" ::: "memory");
}

/* Some more turns have been given and ended. */
__attribute__((noinline)) void seen_over(void);
void seen_over(void)
{
	__asm__ __volatile__("" ::: "memory");
}

static int nr_blocked(void)
{
	struct upcall_stats st = { .size = sizeof(st) };

	upcall_get_stats(&st);
	return (int)(st.blocked[3] - st.unblocked[3]);
}

__attribute__((noinline)) static void seen_running(void)
{
	unsigned long from;

	while (!spun_beside || yielded < 2 || nr_blocked() < 1)
		upcall_yield();
	seen_ready();
	if (aborts)
		abort();
	for (from = yielded; yielded < from + 20;)
		upcall_yield();
	seen_over();
	exit(0);
}

static void *run(void *arg)
{
	seen_running();
	return NULL;
}

static struct upcall_uthread *make(const char *name, void *(*fn)(void *))
{
	struct upcall_uthread_attr attr = { .size = sizeof(attr), .name = name };
	struct upcall_uthread *u;

	if (upcall_uthread_create(&u, &attr, fn, NULL))
		exit(2);
	return u;
}

__attribute__((noinline)) static int seen_main_joins(struct upcall_uthread *u)
{
	return upcall_uthread_join(u, NULL) + 1;
}

int main(int argc, char **argv)
{
	struct upcall_opts opts = { .size = sizeof(opts), .vcores = 1, .slice_ns = 2000000 };

	opts.signo = argc > 1 ? atoi(argv[1]) : 0;
	aborts = argc > 2;
	if (pipe(pipe_fd) || upcall_start(&opts))
		return 2;
	reader = make("reader", read_pipe);
	make("blocker", block);
	make("joiner", join);
	make("yielder", yield);
	make("beside", spin_beside);
	return seen_main_joins(make("runner", run));
}
