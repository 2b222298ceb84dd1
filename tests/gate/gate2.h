/* SPDX-License-Identifier: MIT */
/*
 * Gate 2, the hand-over: what its parts say to each other. A way is one kind of call that blocks,
 * of one class, made by our own code or hidden in somebody else's. A setting is where it happens:
 * how many vcores, whether they have other work, and what else runs on the machine.
 */
#ifndef UP_TESTS_GATE2_H
#define UP_TESTS_GATE2_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define GATE2_ROUNDS_MAX 4096u

struct gate2_way {
	const char *name;
	const char *where; /* "ours" or "foreign" */
	unsigned class_of_call;
	bool ends_by_itself; /* nobody releases it: it takes GATE2_SLEEP_NS */
	int (*init)(unsigned rounds);
	/* On the uthread: blocks until released; 0 when its result was right in every respect. */
	int (*block)(unsigned round);
	/* On another uthread or a plain thread, once the other is asleep in the kernel. */
	int (*release)(unsigned round);
	void (*fini)(void);
};

#define GATE2_SLEEP_NS 3000000

extern const struct gate2_way gate2_ways[];
extern const unsigned gate2_nr_ways;

/* Set by a way whose call is over: did the caller find its activation replaced, that is, has it run
 * beside the vcore? Only the calls that can look at once do. */
extern unsigned gate2_ran_behind;

/* gate2_linux.c: Linux' own word */
uint64_t gate2_switches_of(uint32_t tid);  /* voluntary ones */
uint64_t gate2_preempted_of(uint32_t tid); /* how often Linux took its core */
bool gate2_is_ready(uint32_t tid);	   /* it runs or waits for a processor */
uint64_t gate2_tick_ns(void);
/* This Linux leads home by rseq from calls and faults, and nobody has forbidden it. */
bool gate2_must_lead_home(void);

/* gate2_foreign.c: a library that knows nothing of us. */
ssize_t foreign_getline(int fd, char *buf, size_t sz);
size_t foreign_length(const char *text);
int foreign_spawn(const char *fifo, pid_t *ret_pid);
int foreign_wait(void);
int foreign_post(void);
ssize_t foreign_callback(ssize_t (*reader)(void *, char *, size_t), void *cookie, char *buf,
			 size_t sz);

/* gate2_beside.c */
enum gate2_beside {
	BESIDE_NOTHING,
	BESIDE_PROCESS,
	BESIDE_CGROUP,
	BESIDE_NR
};
extern const char *const gate2_beside_name[];
/* One spinner for each of the first nr_cpus CPUs in our set. 0, or a reason not to. */
const char *gate2_beside_start(enum gate2_beside what, unsigned nr_cpus);
void gate2_beside_stop(void);
/* The CPUs that this process may use; the n-th of them. */
int gate2_cpu(unsigned n);
unsigned gate2_nr_cpus(void);
void gate2_pin(unsigned nr_cpus);

#endif
