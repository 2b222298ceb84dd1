/* SPDX-License-Identifier: MIT */
/*
 * What `upcall doctor` looks at: one probe a mechanism, each measured where it stands.
 */
#ifndef UP_CLI_PROBE_H
#define UP_CLI_PROBE_H

#include <stdbool.h>
#include <stdint.h>

enum probe_state {
	PROBE_NO = 0,
	PROBE_YES = 1,
	PROBE_LIMITED = 2, /* it is there, and in the way */
};

struct probe_result {
	enum probe_state state;
	double cost_ns;	     /* negative: nothing to measure */
	const char *cost_of; /* what takes that long */
	char detail[320];    /* what was found; may be empty */
};

struct probe {
	const char *name;
	bool needed; /* nothing goes without it */
	const char *gives;
	const char *get; /* how to have it, where it is not there or in the way */
	void (*look)(struct probe_result *ret);
};

/* Each ends with a NULL name. */
extern const struct probe probes_runtime[]; /* probe_runtime.c: a runtime, started in a child */
extern const struct probe probes_library[]; /* probe_library.c: what the library was built with */
extern const struct probe probes_kernel[];  /* probe_kernel.c: calls and instructions */
extern const struct probe probes_limits[];  /* probe_limits.c: what the administrator has set */

__attribute__((format(printf, 2, 3))) void probe_detail(struct probe_result *r, const char *fmt,
							...);
/* Nanoseconds that fn(arg) takes: the best of several batches of nr. */
double probe_time(void (*fn)(void *arg), void *arg, unsigned nr);
/* The first line of a file; false, and empty: it cannot be read. */
bool probe_file(const char *path, char *ret, unsigned sz);

#endif
