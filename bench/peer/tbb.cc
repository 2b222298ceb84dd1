/* SPDX-License-Identifier: MIT */
/* Contender: oneTBB's task groups. They run on the stack of whoever takes them up. */
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/mutex.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>

#include <new>

typedef void peer_ret;
#define PEER_DONE
typedef char peer_thread;
typedef tbb::task_group peer_group;

static inline void peer_create(peer_group *g, peer_thread *t, peer_ret (*fn)(void *), void *arg)
{
	g->run([fn, arg] { fn(arg); });
}

static inline void peer_create_at(peer_group *g, peer_thread *t, peer_ret (*fn)(void *), void *arg,
				  unsigned at)
{
	peer_create(g, t, fn, arg);
}

static inline void peer_join_all(peer_group *g, peer_thread *t, unsigned nr)
{
	g->wait();
}

static int peer_run(unsigned vcores, int (*fn)(void))
{
	tbb::global_control limit(tbb::global_control::max_allowed_parallelism, vcores);
	tbb::task_arena arena((int)vcores);
	int r = 1;

	arena.execute([&] { r = fn(); });
	return r;
}

#define PEER_HAS_MUTEX 1
typedef tbb::mutex peer_mutex;

static inline void peer_mutex_init(peer_mutex *m)
{
	new (m) tbb::mutex;
}

static inline void peer_mutex_lock(peer_mutex *m)
{
	m->lock();
}

static inline void peer_mutex_unlock(peer_mutex *m)
{
	m->unlock();
}

#define PEER_HAS_SPAWN 1
typedef void peer_spawn_ret;
#define PEER_SPAWN_DONE
struct peer_spawn {
	tbb::task_group g;
};

static inline void peer_spawn_start(peer_spawn *s, peer_spawn_ret (*fn)(void *), void *arg)
{
	s->g.run([fn, arg] { fn(arg); });
}

static inline void peer_spawn_sync(peer_spawn *s)
{
	s->g.wait();
}

#define PEER_HAS_FOR 1
static inline void peer_for(size_t nr, void (*fn)(size_t begin, size_t end, void *arg), void *arg)
{
	tbb::parallel_for(
		tbb::blocked_range<size_t>(0, nr),
		[=](const tbb::blocked_range<size_t> &r) { fn(r.begin(), r.end(), arg); });
}

#include "body.h"
