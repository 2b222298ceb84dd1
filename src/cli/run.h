/* SPDX-License-Identifier: MIT */
/*
 * `upcall run`: the options, the page that it shares with the program, the program as a process, and
 * what is told of it at the end.
 */
#ifndef UP_CLI_RUN_H
#define UP_CLI_RUN_H

#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "abi/run.h"

struct run_opts {
	uint64_t vcores, max_acts, stack_sz, slice_ns, grace_ns; /* 0: not given */
	bool no_slice, shared_tls, stats, json;
	const char *trace; /* file names; NULL: none */
	const char *output;
	uint64_t trace_sz; /* bytes a vcore; 0: by the size of the machine */
	const char *shim;  /* loaded in front of libc; NULL: none */
	char **argv;	   /* the program's */
};

/* The page, as this side laid it out: nothing of the layout is read back. */
struct run_page {
	struct upabi_run *at; /* NULL: none was made */
	int fd;
	uint32_t max_vcores, max_acts, ring_len, cpus_sz;
	uint64_t size;
};

struct run_outcome {
	pid_t pid;
	int exec_errno; /* the program could not be run at all */
	int status;	/* as wait(2) has it */
	struct rusage usage;
	uint64_t from_ns, to_ns;
	unsigned nr_cpus; /* that it was confined to at its start */
};

struct run_trace;

struct run_cpus {
	cpu_set_t *allowed;
	cpu_set_t *confined; /* where the program begins; NULL: on all of them */
	size_t sz;
};

/* page.c */
int run_page_make(const struct run_opts *o, const struct run_cpus *cpus, struct run_page *ret_page);
struct upabi_run_vcore *run_page_vcore(const struct run_page *p, uint32_t v);
const struct upabi_act_stats *run_page_act(const struct run_page *p, uint32_t i);
const struct upabi_run_count *run_page_count(const struct run_page *p, uint32_t i);
const struct upabi_trace_rec *run_page_ring(const struct run_page *p, uint32_t v);

/* cpus.c: the CPUs that the program is to begin with; NULL: no memory */
cpu_set_t *run_cpus_allowed(size_t *ret_sz);
cpu_set_t *run_cpus_first(const cpu_set_t *allowed, size_t sz, uint64_t nr);

/* child.c: runs it to its end; `each` is called now and then meanwhile if it is not NULL */
struct run_child {
	char **argv;
	const struct run_cpus *cpus;
	const struct run_page *page;
	const struct run_opts *opts;
	void (*each)(void *arg);
	void *arg;
};
int run_child(const struct run_child *c, struct run_outcome *ret_outcome);
/* The library that goes in front of libc, beside us or where it was installed: 0, or what to end with. */
int run_find_shim(const char **ret_path);
/* As the program ended, seen by who waits for us: does not return where that was a signal. */
int run_end_as(const struct run_outcome *o);

/* trace.c */
int run_trace_open(const char *path, const struct run_page *p, struct run_trace **ret_trace);
void run_trace_drain(void *trace);
/* Whatever is left, the ends of what is open, and the file's: false where it could not be written. */
bool run_trace_close(struct run_trace *t, const struct run_outcome *o);
void run_trace_counts(const struct run_trace *t, uint64_t *ret_records, uint64_t *ret_lost);
void run_trace_free(struct run_trace *t);

/* stats.c */
bool run_stats_print(FILE *to, const struct run_opts *o, const struct run_page *p,
		     const struct run_outcome *out, const struct run_trace *t);

#endif
