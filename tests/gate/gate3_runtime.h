/* SPDX-License-Identifier: MIT */
/* A process that runs the whole runtime, to be killed at any point of it. */
#ifndef UP_TESTS_GATE3_RUNTIME_H
#define UP_TESTS_GATE3_RUNTIME_H

#include <stdint.h>

/* Starts, works in rounds of a few milliseconds until `until_ns`, at least one, and stops.  0, or
 * the step that failed and how. */
int g3_runtime(unsigned vcores, uint64_t until_ns, const char **ret_step);

#endif
