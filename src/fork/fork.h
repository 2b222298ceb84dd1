/* SPDX-License-Identifier: MIT */
/*
 * What the files of this folder share: the deques of all uthreads that fork, and the workers, ordinary
 * uthreads that take from them.
 *
 * Who makes a worker run is the vcore that has nothing else to: it asks here (struct up_fork_ops in
 * user/uthread.h), is given one that is parked if there are tasks, and the worker takes what it finds
 * until there is nothing more, or somebody else is ready.  So no worker waits for work on a vcore, and
 * with every vcore busy none runs.
 */
#ifndef UP_FORK_FORK_H
#define UP_FORK_FORK_H

#include "base/lock.h"
#include "base/sanitize.h"
#include "fork/deque.h"
#include "fork/task.h"
#include "user/uthread.h"

/* Deques lie in chunks of 64, 128, 256 ... that stay until the end, so that a thief that comes late
 * reads what is still a deque. */
#define UP_CHUNK_FIRST 64u
#define UP_CHUNK_NR    26

struct up_worker;

struct up_forks {
	uint32_t nr;			     /* deques that have been handed out; grows */
	struct up_deque *chunk[UP_CHUNK_NR]; /* written once each, before nr */
	size_t stack_sz;		     /* the largest of those who fork */
	uint32_t nr_idle;		     /* workers parked; read by anyone */

	struct up_lock lock UP_CACHE_ALIGNED; /* with preemption off, or vcore context: */
	struct up_deque *free;
	struct up_worker *idle;
	struct up_uthread *leaver; /* it ends, and is to be joined by the next, or at the stop */
	uint64_t workers;     /* how many live, the leaver too; changes << 32; read by anyone */
	uint32_t nr_starting; /* made and not parked yet */
	struct up_uthread *stopper; /* waits for all workers to be parked */
};

extern struct up_forks up_forks;

void up_forks_lock(void); /* preemption off */
void up_forks_unlock(void);

/* registry.c */
void up_forks_free(void);
/* A deque for u, the caller; NULL without memory. */
struct up_deque *up_deque_attach(struct up_uthread *u);
void up_deque_detach(struct up_uthread *u);
/* Deque number i of `nr`. */
static inline struct up_deque *up_deque_nth(uint32_t i)
{
	unsigned c = up_highest_bit(i / UP_CHUNK_FIRST + 1);

	/* Written before up_forks.nr was raised above i, by which we have come here. */
	return &up_forks.chunk[c][i - UP_CHUNK_FIRST * ((1u << c) - 1)];
}

/* fork.c: what the runtime calls, from the first spawn on */
extern const struct up_fork_ops up_fork_ops;

/* worker.c */
void up_workers_spare(void); /* uthread context: see to it that one could start */
bool up_fork_run(struct up_deque *own, struct up_task *t); /* true: somebody was woken by its end */
bool up_tasks_seem(void);
struct up_uthread *up_worker_pick(uint32_t vcore);
int up_workers_stop(void);
uint64_t up_workers_own(void);

#endif
