/* SPDX-License-Identifier: MIT */
/*
 * A kernel thread, as Linux places and times it: which core it is pinned to, and how long it asks to
 * run at a time.
 */
#ifndef UP_HOST_TASK_H
#define UP_HOST_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

/*
 * What we ask for.  The fair scheduler lets a thread that wakes go first when its slice is shorter
 * than that of the one that runs, and by default keeps that one on for some milliseconds.  So an
 * activation whose call is over gets back onto a core where another runs, and our helpers, which run
 * for microseconds, come before both; so does the activation of a uthread of a higher priority, which has
 * a sleeper's slice until it is back.  100 us is the least that Linux grants.
 */
#define UP_SLICE_ACT	 (200 * UP_NSEC_PER_USEC)
#define UP_SLICE_SLEEPER (100 * UP_NSEC_PER_USEC)
#define UP_SLICE_BESIDE	 (10 * UP_NSEC_PER_MSEC) /* who took its place */
#define UP_SLICE_HELPER	 (100 * UP_NSEC_PER_USEC)
#define UP_SLICE_LINUX	 0 /* what any other thread has */

/* The thread `tid` on one core alone.  Bytes of Linux' mask, or -errno. */
long up_task_pin(int tid, uint32_t pcore);

/* Does Linux know of slices (6.12 and later), and has the calling thread one? */
bool up_task_has_slice(void);

/*
 * The slice of the thread `tid`, 0 for the caller, whose policy and nice value stay.  Says nothing where
 * its policy has none.  Forked children and new threads inherit it: whoever makes one of the program's
 * puts UP_SLICE_LINUX back.
 */
void up_task_slice(int tid, uint64_t ns);

#endif
