/* SPDX-License-Identifier: MIT */
/*
 * Contender: Boost.Fiber. On one vcore its plain round robin and its pool of stacks, which are its
 * fastest; on more its work stealing, with stacks from malloc(), since the pool serves one thread.
 */
#include <boost/fiber/all.hpp>
#include <cstdlib>
#include <malloc.h>
#include <new>
#include <thread>

namespace fibers = boost::fibers;

typedef void *peer_ret;
#define PEER_DONE NULL
typedef fibers::fiber peer_thread;
typedef char peer_group;

#define STACK_SZ 65536

static fibers::pooled_fixedsize_stack *pool;

/* The pool touches all that it takes from the system, in pieces each twice as large as the last. */
#define PEER_HAS_LIVE 1
static inline void peer_prepare_live(void)
{
	pool = NULL;
}

static inline void peer_create(peer_group *g, peer_thread *t, peer_ret (*fn)(void *), void *arg)
{
	if (pool)
		new (t) fibers::fiber(fibers::launch::post, std::allocator_arg, *pool, fn, arg);
	else
		new (t) fibers::fiber(fibers::launch::post, std::allocator_arg,
				      fibers::fixedsize_stack(STACK_SZ), fn, arg);
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
		t[i].join();
}

static void worker(unsigned vcores)
{
	fibers::mutex m;
	fibers::condition_variable never;
	std::unique_lock<fibers::mutex> held(m);

	fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(vcores);
	never.wait(held, [] { return false; });
}

static int peer_run(unsigned vcores, int (*fn)(void))
{
	unsigned i;

	mallopt(M_MMAP_THRESHOLD, 1 << 30); /* a stack is not given back at each end */
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	if (vcores == 1)
		pool = new fibers::pooled_fixedsize_stack(STACK_SZ);
	for (i = 1; i < vcores; i++)
		std::thread(worker, vcores).detach();
	if (vcores > 1)
		fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(vcores);
	_Exit(fn());
}

#define PEER_HAS_YIELD 1
static inline void peer_yield(void)
{
	boost::this_fiber::yield();
}

#define PEER_HAS_EVENT 1
struct peer_event {
	fibers::mutex lock;
	fibers::condition_variable cond;
	bool set = false;
};

static inline void peer_event_init(peer_event *e)
{
	new (e) peer_event;
}

static inline void peer_event_wait(peer_event *e)
{
	std::unique_lock<fibers::mutex> held(e->lock);

	while (!e->set)
		e->cond.wait(held);
	e->set = false;
}

static inline void peer_event_signal(peer_event *e)
{
	std::unique_lock<fibers::mutex> held(e->lock);

	e->set = true;
	e->cond.notify_one();
}

#define PEER_HAS_MUTEX 1
typedef fibers::mutex peer_mutex;

static inline void peer_mutex_init(peer_mutex *m)
{
	new (m) fibers::mutex;
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
typedef void *peer_spawn_ret;
#define PEER_SPAWN_DONE NULL
/* The child first, and its creator when it ends: else the whole tree would be there at once. */
struct peer_spawn {
	fibers::fiber f;
};

static inline void peer_spawn_start(peer_spawn *s, peer_spawn_ret (*fn)(void *), void *arg)
{
	if (pool)
		s->f = fibers::fiber(fibers::launch::dispatch, std::allocator_arg, *pool, fn, arg);
	else
		s->f = fibers::fiber(fibers::launch::dispatch, std::allocator_arg,
				     fibers::fixedsize_stack(STACK_SZ), fn, arg);
}

static inline void peer_spawn_sync(peer_spawn *s)
{
	s->f.join();
}

#include "body.h"
