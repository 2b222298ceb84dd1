/* SPDX-License-Identifier: MIT */
/*
 * Records of what a vcore does, for `upcall run --trace`.  Vcore context only: that is what makes a
 * ring's writer one.  With tracing off each of these is a load that nobody writes and a branch.
 */
#ifndef UP_USER_TRACE_H
#define UP_USER_TRACE_H

#include "base/bits.h"
#include "user/uthread.h"

extern uint32_t up_trace_on; /* written while the runtime does not run */

void up_trace_put(struct up_trace_ring *t, uint32_t type, uint32_t arg, uint64_t a, uint64_t b);
void up_trace_put_run(struct up_trace_ring *t, const struct up_uthread *u);
void up_trace_put_entry(struct up_vcore *vc, const struct up_act *a);

static inline void up_trace(struct up_vcore *vc, uint32_t type, uint32_t arg, uint64_t a,
			    uint64_t b)
{
	if (UP_UNLIKELY(up_trace_on))
		up_trace_put(&vc->trace, type, arg, a, b);
}

static inline void up_trace_run(struct up_vcore *vc, const struct up_uthread *u)
{
	if (UP_UNLIKELY(up_trace_on))
		up_trace_put_run(&vc->trace, u);
}

/* An activation enters vcore context, as a->vcore; before vc->act says that it has. */
static inline void up_trace_entry(struct up_vcore *vc, const struct up_act *a)
{
	if (UP_UNLIKELY(up_trace_on))
		up_trace_put_entry(vc, a);
}

#endif
