/* SPDX-License-Identifier: MIT */
/*
 * What `upcall run` gives a program and wants to know of it: the options in its environment, and the
 * page that it reads the program's counters from (abi/run.h).
 */
#ifndef UP_USER_PUBLISH_H
#define UP_USER_PUBLISH_H

#include "base/atomic.h"
#include "base/bits.h"
#include "host/act.h"
#include "user/uthread.h"

/* env.c: *ret_opts is *given (or all defaults), with what the environment says where that leaves a field
 * at 0.  -EINVAL: it says something that makes no sense. */
int up_env_opts(const struct upcall_opts *given, struct upcall_opts *ret_opts);

/* Looks for the page, once in a process's life, and makes it this one's; without one all that follows
 * does nothing.  Before anything of the runtime's is made. */
void up_publish_claim(void);
void up_publish_host(struct up_host_cfg *cfg);
/* Where max_acts activations, and who is none, count uthreads; NULL: not in a page. */
struct upabi_run_count *up_publish_counts(uint32_t max_acts);
void up_publish_vcore(struct up_vcore *vc); /* where it counts and traces */
void up_publish_started(uint64_t slice_ns);
void up_publish_stopped(int error); /* 0, or why the start failed */
void up_publish_fork_child(void);

extern struct upabi_run *up_publish_page;

/* Vcore context, where events have come. */
static inline void up_publish_events(struct up_vcore *vc)
{
	const struct upabi_vcoremap *m = &up_rt.port->vmap[vc->id];

	up_store_relaxed(&vc->stats->posted, up_load_relaxed(&m->posted));
	up_store_relaxed(&vc->stats->overflow, up_load_relaxed(&m->overflow));
}

#endif
