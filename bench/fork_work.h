/* SPDX-License-Identifier: MIT */
/*
 * What forks are measured with: fib, where almost nothing is done but fork, and a loop of empty bodies.
 * Each contender is one file, fork_NAME.c: the same text but for the calls.
 */
#ifndef UP_BENCH_FORK_WORK_H
#define UP_BENCH_FORK_WORK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct fork_fib {
	unsigned n;
	uint64_t value;
};

/* A contender: begins with `cores` at its disposal, the first of which the caller is on. */
struct fork_contender {
	int (*begin)(unsigned cores); /* 0, or it cannot */
	void (*fib)(struct fork_fib *w);
	void (*loop)(size_t nr); /* so many bodies, each fork_body(); its own choice of grain */
	void (*end)(void);
};

extern const struct fork_contender fork_plain, fork_upcall, fork_gomp, fork_tbb;

/* Empty, but done: the compiler may leave out no call of it. */
static inline void fork_body(size_t i)
{
	__asm__ __volatile__("" : : "r"(i));
}

#ifdef __cplusplus
}
#endif
#endif
