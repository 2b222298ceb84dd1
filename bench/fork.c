/* SPDX-License-Identifier: MIT */
/*
 * What a fork costs that is joined again: wall-clock nanoseconds for each of fib's, with one core and
 * with two, and a loop of a million empty bodies; against libgomp's tasks and oneTBB's.
 */
#include "bench.h"

#include <errno.h>
#include <stdio.h>

#include "fork_work.h"

#define FIB_WARM    20u
#define FIB_N	    35u
#define LOOP_BODIES 1000000u
#define LOOPS	    30u

static uint64_t fib_of(unsigned n)
{
	uint64_t a = 0, b = 1, c;

	for (; n; n--, c = a + b, a = b, b = c)
		;
	return a;
}

static int start(const struct fork_contender *c, unsigned cores, unsigned n)
{
	struct fork_fib w = { n, 0 };

	bench_pin(0, cores - 1);
	if (c->begin(cores))
		return -EAGAIN;
	c->fib(&w);
	return w.value == fib_of(n) ? 0 : -EILSEQ;
}

static int fib_turn(const struct fork_contender *c, unsigned cores, double *samples)
{
	struct fork_fib w = { FIB_N, 0 };
	int r = start(c, cores, FIB_WARM);
	double t;

	if (r)
		return r;
	t = bench_now_ns();
	c->fib(&w);
	t = bench_now_ns() - t;
	if (w.value != fib_of(FIB_N))
		return -EILSEQ;
	/* Every call with n >= 2 forks once. */
	samples[0] = t / (double)(fib_of(FIB_N + 1) - 1);
	c->end();
	return 1;
}

static int loop_turn(const struct fork_contender *c, unsigned cores, double *samples, unsigned room)
{
	int r = start(c, cores, FIB_WARM);
	unsigned i;

	for (i = 0; !r && i < LOOPS && i < room; i++) {
		double t = bench_now_ns();

		c->loop(LOOP_BODIES);
		samples[i] = (bench_now_ns() - t) / 1e3;
	}
	c->end();
	return r ? r : (int)i;
}

#define TURNS(name)                                               \
	static int name##_fib_1(double *samples, unsigned room)   \
	{                                                         \
		return fib_turn(&fork_##name, 1, samples);        \
	}                                                         \
	static int name##_fib_2(double *samples, unsigned room)   \
	{                                                         \
		return fib_turn(&fork_##name, 2, samples);        \
	}                                                         \
	static int name##_loop_1(double *samples, unsigned room)  \
	{                                                         \
		return loop_turn(&fork_##name, 1, samples, room); \
	}                                                         \
	static int name##_loop_2(double *samples, unsigned room)  \
	{                                                         \
		return loop_turn(&fork_##name, 2, samples, room); \
	}

TURNS(plain)
TURNS(upcall)
TURNS(gomp)
TURNS(tbb)

#define ROW(words, text, u, cores, kind)                                                        \
	{                                                                                       \
		.name = (words), .unit = (u), .vcores = (cores), .what = (text), .bound = 1.05, \
		.c = {                                                                          \
			{ .name = "upcall", .turn = upcall_##kind },                            \
			{ .name = "tbb", .turn = tbb_##kind },                                  \
			{ .name = "gomp", .turn = gomp_##kind },                                \
			{ .name = "no forks", .turn = plain_##kind },                           \
		},                                                                              \
	}

int main(int argc, char **argv)
{
	static struct bench_row rows[] = {
		ROW("fork_join_spawn", "fib(35), wall-clock time a fork", "ns", 1, fib_1),
		ROW("fork_join_spawn_2", "the same with two cores", "ns", 2, fib_2),
		ROW("for_empty", "a loop of 10^6 empty bodies", "us", 1, loop_1),
		ROW("for_empty_2", "the same with two cores", "us", 2, loop_2),
	};
	unsigned nr = sizeof(rows) / sizeof(rows[0]);

	if (bench_nr_cpus() < 2) {
		fprintf(stderr, "fork: two cores are wanted for some rows, and here is one\n");
		return 77;
	}
	return bench_main(argc, argv, rows, nr, 7);
}
