/* SPDX-License-Identifier: MIT */
/* Contender: the threads of libc. */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>

typedef void *peer_ret;
#define PEER_DONE NULL
typedef pthread_t peer_thread;
typedef char peer_group;

static inline void peer_create(peer_group *g, peer_thread *t, peer_ret (*fn)(void *), void *arg)
{
	if (pthread_create(t, NULL, fn, arg))
		abort();
}

static inline void peer_create_at(peer_group *g, peer_thread *t, peer_ret (*fn)(void *), void *arg,
				  unsigned at)
{
	peer_create(g, t, fn, arg);
}

static inline void peer_join_all(peer_group *g, peer_thread *t, unsigned nr)
{
	unsigned i;

	for (i = 0; i < nr; i++)
		pthread_join(t[i], NULL);
}

static int peer_run(unsigned vcores, int (*fn)(void))
{
	return fn();
}

#define PEER_HAS_YIELD 1
static inline void peer_yield(void)
{
	sched_yield();
}

#define PEER_HAS_EVENT 1
typedef sem_t peer_event;

static inline void peer_event_init(peer_event *e)
{
	sem_init(e, 0, 0);
}

static inline void peer_event_wait(peer_event *e)
{
	while (sem_wait(e))
		;
}

static inline void peer_event_signal(peer_event *e)
{
	sem_post(e);
}

#define PEER_HAS_MUTEX 1
typedef pthread_mutex_t peer_mutex;

static inline void peer_mutex_init(peer_mutex *m)
{
	pthread_mutex_init(m, NULL);
}

static inline void peer_mutex_lock(peer_mutex *m)
{
	pthread_mutex_lock(m);
}

static inline void peer_mutex_unlock(peer_mutex *m)
{
	pthread_mutex_unlock(m);
}

/* It takes a privilege to be put before others. */
static inline void peer_create_high(peer_group *g, peer_thread *t, peer_ret (*fn)(void *),
				    void *arg)
{
	peer_create(g, t, fn, arg);
}

#define PEER_LIVE_MAX	      10000u /* two mappings each, of 65530 */
#define PEER_HAS_KERNEL_BLOCK 1
#define PEER_HAS_PREEMPTION   1
#define PEER_OWN_TLS	      1

#include "body.h"
