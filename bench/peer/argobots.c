/* SPDX-License-Identifier: MIT */
/*
 * Contender: Argobots. One pool a worker, private where there is one only; with more, its random work
 * stealing.
 */
#include <abt.h>
#include <stdlib.h>

typedef void peer_ret;
#define PEER_DONE
typedef ABT_thread peer_thread;
typedef char peer_group;

static ABT_pool *pools;

static inline void create_in(ABT_pool pool, peer_thread *t, peer_ret (*fn)(void *), void *arg)
{
	if (ABT_thread_create(pool, fn, arg, ABT_THREAD_ATTR_NULL, t))
		abort();
}

static inline void peer_create(peer_group *g, peer_thread *t, peer_ret (*fn)(void *), void *arg)
{
	int at = 0;

	ABT_self_get_xstream_rank(&at);
	create_in(pools[at], t, fn, arg);
}

static inline void peer_create_at(peer_group *g, peer_thread *t, peer_ret (*fn)(void *), void *arg,
				  unsigned at)
{
	create_in(pools[at], t, fn, arg);
}

static inline void peer_join_all(peer_group *g, peer_thread *t, unsigned nr)
{
	unsigned i;

	for (i = 0; i < nr; i++)
		ABT_thread_free(&t[i]);
}

static int peer_run(unsigned vcores, int (*fn)(void))
{
	ABT_pool *order = calloc(vcores, sizeof(*order));
	ABT_xstream self, other;
	unsigned i, k;
	int r;

	pools = calloc(vcores, sizeof(*pools));
	if (!order || !pools || ABT_init(0, NULL) || ABT_xstream_self(&self))
		return 1;
	for (i = 0; i < vcores; i++)
		ABT_pool_create_basic(ABT_POOL_FIFO,
				      vcores == 1 ? ABT_POOL_ACCESS_PRIV : ABT_POOL_ACCESS_MPMC,
				      ABT_TRUE, &pools[i]);
	for (i = 0; i < vcores; i++) {
		for (k = 0; k < vcores; k++)
			order[k] = pools[(i + k) % vcores];
		if (i)
			r = ABT_xstream_create_basic(ABT_SCHED_RANDWS, (int)vcores, order,
						     ABT_SCHED_CONFIG_NULL, &other);
		else
			r = ABT_xstream_set_main_sched_basic(
				self, vcores == 1 ? ABT_SCHED_BASIC : ABT_SCHED_RANDWS, (int)vcores,
				order);
		if (r)
			return 1;
	}
	_Exit(fn());
}

#define PEER_HAS_YIELD 1
static inline void peer_yield(void)
{
	ABT_thread_yield();
}

#define PEER_HAS_EVENT 1
typedef struct {
	ABT_eventual_memory m;
} peer_event;

static inline void peer_event_init(peer_event *e)
{
	const ABT_eventual_memory none = ABT_EVENTUAL_INITIALIZER;

	e->m = none;
}

static inline void peer_event_wait(peer_event *e)
{
	ABT_eventual_wait(ABT_EVENTUAL_MEMORY_GET_HANDLE(&e->m), NULL);
	ABT_eventual_reset(ABT_EVENTUAL_MEMORY_GET_HANDLE(&e->m));
}

static inline void peer_event_signal(peer_event *e)
{
	ABT_eventual_set(ABT_EVENTUAL_MEMORY_GET_HANDLE(&e->m), NULL, 0);
}

#define PEER_HAS_MUTEX 1
typedef ABT_mutex_memory peer_mutex;

static inline void peer_mutex_init(peer_mutex *m)
{
	const ABT_mutex_memory none = ABT_MUTEX_INITIALIZER;

	*m = none;
}

static inline void peer_mutex_lock(peer_mutex *m)
{
	ABT_mutex_lock(ABT_MUTEX_MEMORY_GET_HANDLE(m));
}

static inline void peer_mutex_unlock(peer_mutex *m)
{
	ABT_mutex_unlock(ABT_MUTEX_MEMORY_GET_HANDLE(m));
}

#define PEER_HAS_SPAWN 1
typedef void peer_spawn_ret;
#define PEER_SPAWN_DONE
typedef ABT_thread peer_spawn;

/* The child first: else the whole tree would be there at once. */
static inline void peer_spawn_start(peer_spawn *s, peer_spawn_ret (*fn)(void *), void *arg)
{
	int at = 0;

	ABT_self_get_xstream_rank(&at);
	if (ABT_thread_create_to(pools[at], fn, arg, ABT_THREAD_ATTR_NULL, s))
		abort();
}

static inline void peer_spawn_sync(peer_spawn *s)
{
	ABT_thread_free(s);
}

#include "body.h"
