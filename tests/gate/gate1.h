/* SPDX-License-Identifier: MIT */
/*
 * Gate 1: what its files share. A job is a stretch of somebody else's code, a few hundred
 * microseconds of it, that checks its own results; uthreads run jobs until told to stop.
 */
#ifndef UP_TESTS_GATE1_H
#define UP_TESTS_GATE1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A worker: its own stream of random numbers, its own count of jobs done. */
struct gate1_me {
	uint64_t rnd;
	unsigned nr;   /* of all workers */
	uint64_t done; /* jobs */
};

struct gate1_job {
	const char *name;
	void (*run)(struct gate1_me *me);
	unsigned weight;     /* workers, in proportion to the others' */
	int (*before)(void); /* outside of the runtime, once an episode; may be NULL */
	void (*after)(void); /* the same; checks what all workers have left */
};

extern const struct gate1_job gate1_libc_jobs[], gate1_data_jobs[], gate1_crypto_jobs[],
	gate1_cxx_jobs[], gate1_child_jobs[], gate1_wait_jobs[],
	gate1_resolver_jobs[]; /* each ends with a NULL name */

/* Uses a process of the machine: few at a time. */
void gate1_run_child(struct gate1_me *me);

uint64_t gate1_random(struct gate1_me *me);
uint64_t gate1_below(struct gate1_me *me, uint64_t n);
void gate1_fill(struct gate1_me *me, void *at, size_t sz);
const char *gate1_dir(void); /* for files of this episode */

/* Counts a defect, and says what it is (the first twenty). errno EINTR is named. */
void gate1_bad(const char *file, int line, const char *what);
bool gate1_stopping(void);

#define CHECK(cond)                                           \
	do {                                                  \
		if (!(cond))                                  \
			gate1_bad(__FILE__, __LINE__, #cond); \
	} while (0)

/* Files with a copy of a library that is loaded already; ret_path holds 4096 bytes. */
int gate1_copy_library(const char *soname, const char *as, char *ret_path);

#ifdef __cplusplus
}
#endif
#endif
