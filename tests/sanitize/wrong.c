/* SPDX-License-Identifier: MIT */
/*
 * Programs that do one thing wrong, between two uthreads on two vcores, so that a sanitizer has
 * something to find: wrong NAME. It ends with 0 where nobody has stopped it.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <upcall/upcall.h>

static int here; /* atomic: the two are at it together; relaxed, which orders nothing else */
static long shared;
static long *volatile gone;
static volatile int top = INT_MAX;

static void meet(void)
{
	int give_way = 0;

	__atomic_fetch_add(&here, 1, __ATOMIC_RELAXED);
	while (__atomic_load_n(&here, __ATOMIC_RELAXED) < 2)
		if (++give_way % 1000 == 0)
			upcall_yield();
}

static void *race(void *arg)
{
	int i;

	meet();
	for (i = 0; i < 1000; i++)
		shared += (long)arg;
	return NULL;
}

/* A local of a function that has returned, on the stack of one that lives. */
__attribute__((noinline)) static void leave_behind(void)
{
	long local[8] = { 1, 2, 3 }, *at = local;

	__asm__ __volatile__("" : "+r"(at) : : "memory"); /* whose it is the compiler need not know */
	gone = at + 1;
}

static void *after_return(void *arg)
{
	if (arg)
		leave_behind();
	meet();
	if (!arg) {
		printf("%ld\n", *gone);
		__atomic_store_n(&here, 3, __ATOMIC_RELAXED);
	}
	/* In one place meanwhile: whose frame it was is looked up while others change stacks. */
	while (__atomic_load_n(&here, __ATOMIC_RELAXED) < 3)
		upcall_sleep_ns(50000000);
	return NULL;
}

static void *after_free(void *arg)
{
	if (arg) {
		gone = malloc(sizeof(*gone));
		*gone = 1;
		free(gone);
	}
	meet();
	if (!arg)
		printf("%ld\n", *gone);
	return NULL;
}

static void *overflow(void *arg)
{
	meet();
	top += (int)(long)arg; /* the sum of two ints */
	return NULL;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void *(*fn)(void *);
	} ways[] = { { "race", race },
		     { "after-return", after_return },
		     { "after-free", after_free },
		     { "overflow", overflow } };
	struct upcall_opts opts = { .size = sizeof(opts), .vcores = 2 };
	struct upcall_uthread *u[2];
	size_t w;
	long i;

	for (w = 0; w < 4 && (argc < 2 || strcmp(argv[1], ways[w].name)); w++)
		;
	if (w == 4 || upcall_start(&opts))
		return 2;
	for (i = 0; i < 2; i++)
		if (upcall_uthread_create(&u[i], NULL, ways[w].fn, (void *)(1 - i)))
			return 2;
	for (i = 0; i < 2; i++)
		upcall_uthread_join(u[i], NULL);
	return upcall_stop() ? 2 : 0;
}
