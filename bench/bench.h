/* SPDX-License-Identifier: MIT */
/*
 * What every bench shares: contenders that take turns within one run, each turn in a process of its
 * own (so that none inherits another's threads, and one that hangs is ended), and one JSON object or
 * one table at the end.
 */
#ifndef UP_BENCH_BENCH_H
#define UP_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>

#define BENCH_SAMPLES_MAX 65536u

/* One turn: fills up to `room` samples, returns how many, or -errno. Runs in a child. */
typedef int (*bench_turn_fn)(double *samples, unsigned room);

struct bench_contender {
	const char *name;
	bench_turn_fn turn; /* NULL: the values were put there by bench_put() */
	double median, min, max;
	unsigned nr;
	double *samples;
};

#define BENCH_CONTENDERS_MAX 6

struct bench_row {
	const char *name;
	const char *unit;
	unsigned vcores;
	const char *what; /* one line for the table */
	struct bench_contender c[BENCH_CONTENDERS_MAX];
	/* With --check: first / second contender (the difference where `by_difference`) at the most
	 * `bound`, or at the least where `at_least`. 0: no bound. */
	double bound;
	bool by_difference, at_least;
};

/* Runs the rows, `turns` turns of each contender, one after the other and round again; prints what
 * was asked for. Returns main's exit status. */
int bench_main(int argc, char **argv, struct bench_row *rows, unsigned nr, unsigned turns);

/* For rows that are not a matter of turns. */
void bench_put(struct bench_row *row, unsigned at, const char *name, double value);

double bench_now_ns(void);
void bench_pin(unsigned nth_cpu, unsigned nr);
unsigned bench_nr_cpus(void);

#endif
