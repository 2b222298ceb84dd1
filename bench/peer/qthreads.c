/* SPDX-License-Identifier: MIT */
/*
 * Contender: Qthreads, one shepherd a worker. Whoever joins reads a syncvar, which is its fastest where
 * there is something to read; whoever is to block takes an aligned_t, where it does so at once.
 */
#include <qthread/qthread.h>
#include <stdlib.h>

typedef aligned_t peer_ret;
#define PEER_DONE 0
typedef syncvar_t peer_thread;
typedef char peer_group;

static inline void peer_create(peer_group *g, peer_thread *t, peer_ret (*fn)(void *), void *arg)
{
	*t = SYNCVAR_EMPTY_INITIALIZER;
	if (qthread_fork_syncvar(fn, arg, t))
		abort();
}

static inline void peer_create_at(peer_group *g, peer_thread *t, peer_ret (*fn)(void *), void *arg,
				  unsigned at)
{
	*t = SYNCVAR_EMPTY_INITIALIZER;
	if (qthread_fork_syncvar_to(fn, arg, t, (qthread_shepherd_id_t)at))
		abort();
}

static inline void peer_join_all(peer_group *g, peer_thread *t, unsigned nr)
{
	unsigned i;

	for (i = 0; i < nr; i++) {
		if (!qthread_syncvar_status(&t[i]))
			qthread_yield(); /* else it spins for a while before it waits */
		qthread_syncvar_readFF(NULL, &t[i]);
	}
}

static int peer_run(unsigned vcores, int (*fn)(void))
{
	setenv("QT_STACK_SIZE", "16384", 1);
	setenv("QT_AFFINITY", "no", 1); /* which processors are to be used is settled already */
	if (qthread_init((qthread_shepherd_id_t)vcores) ||
	    qthread_num_workers() != (qthread_worker_id_t)vcores)
		return 1;
	_Exit(fn());
}

#define PEER_HAS_YIELD 1
static inline void peer_yield(void)
{
	qthread_yield();
}

#define PEER_HAS_EVENT 1
typedef aligned_t peer_event;

static inline void peer_event_init(peer_event *e)
{
	*e = 0;
	qthread_empty(e);
}

static inline void peer_event_wait(peer_event *e)
{
	qthread_readFE(NULL, e);
}

static inline void peer_event_signal(peer_event *e)
{
	qthread_fill(e);
}

#define PEER_HAS_MUTEX 1
typedef aligned_t peer_mutex;

static inline void peer_mutex_init(peer_mutex *m)
{
	*m = 0;
}

static inline void peer_mutex_lock(peer_mutex *m)
{
	qthread_lock(m);
}

static inline void peer_mutex_unlock(peer_mutex *m)
{
	qthread_unlock(m);
}

#define PEER_HAS_SPAWN 1
typedef aligned_t peer_spawn_ret;
#define PEER_SPAWN_DONE 0
typedef aligned_t peer_spawn;

static inline void peer_spawn_start(peer_spawn *s, peer_spawn_ret (*fn)(void *), void *arg)
{
	if (qthread_fork(fn, arg, s))
		abort();
}

static inline void peer_spawn_sync(peer_spawn *s)
{
	qthread_readFF(NULL, s);
}

#include "body.h"
