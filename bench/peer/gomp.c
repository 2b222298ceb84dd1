/* SPDX-License-Identifier: MIT */
/* Contender: OpenMP's tasks as libgomp has them. They run on the stack of whoever takes them up. */
#include <omp.h>
#include <stddef.h>

typedef void *peer_ret;
#define PEER_DONE NULL
typedef char peer_thread;
typedef char peer_group;

static inline void peer_create(peer_group *g, peer_thread *t, peer_ret (*fn)(void *), void *arg)
{
#pragma omp task firstprivate(fn, arg)
	fn(arg);
}

static inline void peer_create_at(peer_group *g, peer_thread *t, peer_ret (*fn)(void *), void *arg,
				  unsigned at)
{
	peer_create(g, t, fn, arg);
}

static inline void peer_join_all(peer_group *g, peer_thread *t, unsigned nr)
{
#pragma omp taskwait
}

static int peer_run(unsigned vcores, int (*fn)(void))
{
	int r = 1;

	omp_set_dynamic(0);
#pragma omp parallel num_threads(vcores)
#pragma omp single
	r = fn();
	return r;
}

#define PEER_HAS_MUTEX 1
typedef omp_lock_t peer_mutex;

static inline void peer_mutex_init(peer_mutex *m)
{
	omp_init_lock(m);
}

static inline void peer_mutex_lock(peer_mutex *m)
{
	omp_set_lock(m);
}

static inline void peer_mutex_unlock(peer_mutex *m)
{
	omp_unset_lock(m);
}

#define PEER_HAS_SPAWN 1
typedef void peer_spawn_ret;
#define PEER_SPAWN_DONE
typedef char peer_spawn;

static inline void peer_spawn_start(peer_spawn *s, peer_spawn_ret (*fn)(void *), void *arg)
{
#pragma omp task firstprivate(fn, arg)
	fn(arg);
}

static inline void peer_spawn_sync(peer_spawn *s)
{
#pragma omp taskwait
}

/* Chunks, as many a thread as would even out; its loops know of single indices only. */
#define PEER_HAS_FOR 1
static inline void peer_for(size_t nr, void (*fn)(size_t begin, size_t end, void *arg), void *arg)
{
	size_t c, chunks = (size_t)omp_get_num_threads() * 32;

	chunks = chunks > nr ? nr : chunks;
#pragma omp taskloop grainsize(1)
	for (c = 0; c < chunks; c++)
		fn(nr * c / chunks, nr * (c + 1) / chunks, arg);
}

#include "body.h"
