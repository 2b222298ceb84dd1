/* SPDX-License-Identifier: MIT */
/* Contender: MassiveThreads. */
#include <myth/myth.h>
#include <stdlib.h>

typedef void *peer_ret;
#define PEER_DONE NULL
typedef myth_thread_t peer_thread;
typedef char peer_group;

static inline void peer_create(peer_group *g, peer_thread *t, peer_ret (*fn)(void *), void *arg)
{
	*t = myth_create(fn, arg);
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
		myth_join(t[i], NULL);
}

static int peer_run(unsigned vcores, int (*fn)(void))
{
	myth_globalattr_t attr;

	myth_globalattr_init(&attr);
	myth_globalattr_set_n_workers(&attr, vcores);
	myth_globalattr_set_stacksize(&attr, 16384);
	myth_init_ex(&attr);
	_Exit(fn());
}

#define PEER_HAS_YIELD 1
static inline void peer_yield(void)
{
	myth_yield();
}

#define PEER_HAS_EVENT 1
/* What myth_uncond leaves to its user: who came first. Negative: somebody waits. */
typedef struct {
	int count;
	myth_uncond_t u;
} peer_event;

static inline void peer_event_init(peer_event *e)
{
	e->count = 0;
	myth_uncond_init(&e->u);
}

static inline void peer_event_wait(peer_event *e)
{
	if (__atomic_sub_fetch(&e->count, 1, __ATOMIC_ACQ_REL) < 0)
		myth_uncond_wait(&e->u);
}

static inline void peer_event_signal(peer_event *e)
{
	if (__atomic_fetch_add(&e->count, 1, __ATOMIC_ACQ_REL) < 0)
		myth_uncond_signal(&e->u);
}

#define PEER_HAS_MUTEX 1
typedef myth_mutex_t peer_mutex;

static inline void peer_mutex_init(peer_mutex *m)
{
	myth_mutex_init(m, NULL);
}

static inline void peer_mutex_lock(peer_mutex *m)
{
	myth_mutex_lock(m);
}

static inline void peer_mutex_unlock(peer_mutex *m)
{
	myth_mutex_unlock(m);
}

#define PEER_HAS_SPAWN 1
typedef void *peer_spawn_ret;
#define PEER_SPAWN_DONE NULL
typedef myth_thread_t peer_spawn;

static inline void peer_spawn_start(peer_spawn *s, peer_spawn_ret (*fn)(void *), void *arg)
{
	*s = myth_create(fn, arg);
}

static inline void peer_spawn_sync(peer_spawn *s)
{
	myth_join(*s, NULL);
}

#define PEER_LIVE_MAX 100000u /* its queue of ready ones ends at 131072 */

#include "body.h"
