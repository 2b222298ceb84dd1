/* SPDX-License-Identifier: MIT */
/*
 * A second-level scheduler around FIFO that watches what is interrupted where, and where it goes on.
 */
#ifndef UP_TESTS_GATE1_SCHED_H
#define UP_TESTS_GATE1_SCHED_H

#include <stdint.h>

#include <upcall/upcall.h>

struct gate1_seen {
	uint64_t interrupted; /* put aside where they stood */
	uint64_t in_libc;     /* ... of these, inside libc, libm or the dynamic linker */
	uint64_t in_libs;     /* ... or in any library that is not ours */
	uint64_t migrated;    /* resumed on another kernel task */
	uint64_t migrated_libc;
	uint64_t migrated_libs;
};

extern const struct upcall_sched_ops gate1_sched;
/* Reads where libraries lie; before the runtime starts. */
void gate1_sched_map(void);
void gate1_sched_seen(struct gate1_seen *ret_seen);

#endif
