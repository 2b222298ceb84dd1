/* SPDX-License-Identifier: MIT */
/* Contender: the threads of libc. */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>

typedef void *peer_ret;
#define PEER_DONE NULL
typedef pthread_t peer_thread;

static inline void peer_create(peer_thread *t, peer_ret (*fn)(void *), void *arg)
{
	if (pthread_create(t, NULL, fn, arg))
		abort();
}

static inline void peer_create_at(peer_thread *t, peer_ret (*fn)(void *), void *arg, unsigned at)
{
	peer_create(t, fn, arg);
}

static inline void peer_join_all(peer_thread *t, unsigned nr)
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

#define PEER_HAS_KERNEL_BLOCK 1
#define PEER_HAS_PREEMPTION   1
#define PEER_OWN_TLS	      1

#include "body.h"
