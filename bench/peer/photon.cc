/* SPDX-License-Identifier: MIT */
/*
 * Contender: Photon, as it is by default: a thread stays on the vcpu that it was made on or sent to.
 * (Its work stealing is asked for by flags, and crashed in rows on two vcores.) Its pool of stacks.
 */
#include <photon/thread/stack-allocator.h>
#include <photon/thread/thread.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <thread>

typedef void *peer_ret;
#define PEER_DONE NULL
typedef photon::thread *peer_thread;
typedef char peer_group;

#define STACK_SZ 16384 /* the least there is */

static std::atomic<photon::vcpu_base *> *workers;

static inline void peer_create(peer_group *g, peer_thread *t, peer_ret (*fn)(void *), void *arg)
{
	*t = photon::thread_create(fn, arg, STACK_SZ, 0, photon::THREAD_JOINABLE);
	if (!*t)
		abort();
}

static inline void peer_create_at(peer_group *g, peer_thread *t, peer_ret (*fn)(void *), void *arg,
				  unsigned at)
{
	peer_create(g, t, fn, arg);
	if (workers[at] != photon::get_vcpu())
		photon::thread_migrate(*t, workers[at]);
}

static inline void peer_join_all(peer_group *g, peer_thread *t, unsigned nr)
{
	unsigned i;

	for (i = 0; i < nr; i++)
		photon::thread_join((photon::join_handle *)t[i]);
}

static void worker(unsigned at)
{
	photon::vcpu_init();
	workers[at] = photon::get_vcpu();
	photon::thread_suspend();
}

static int peer_run(unsigned vcores, int (*fn)(void))
{
	unsigned i;

	workers = new std::atomic<photon::vcpu_base *>[vcores]();
	photon::use_pooled_stack_allocator();
	if (photon::vcpu_init() < 0)
		return 1;
	workers[0] = photon::get_vcpu();
	for (i = 1; i < vcores; i++) {
		std::thread(worker, i).detach();
		while (!workers[i])
			std::this_thread::yield();
	}
	_Exit(fn());
}

#define PEER_HAS_YIELD 1
static inline void peer_yield(void)
{
	photon::thread_yield();
}

#define PEER_HAS_EVENT 1
typedef photon::semaphore peer_event;

static inline void peer_event_init(peer_event *e)
{
	new (e) photon::semaphore;
}

static inline void peer_event_wait(peer_event *e)
{
	e->wait(1);
}

static inline void peer_event_signal(peer_event *e)
{
	e->signal(1);
}

#define PEER_HAS_MUTEX 1
typedef photon::mutex peer_mutex;

static inline void peer_mutex_init(peer_mutex *m)
{
	new (m) photon::mutex;
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
typedef photon::thread *peer_spawn;

/* The child first: else the whole tree would be there at once. */
static inline void peer_spawn_start(peer_spawn *s, peer_spawn_ret (*fn)(void *), void *arg)
{
	*s = photon::thread_create(fn, arg, STACK_SZ, 0, photon::THREAD_JOINABLE);
	if (!*s)
		abort();
	photon::thread_yield_to(*s);
}

static inline void peer_spawn_sync(peer_spawn *s)
{
	photon::thread_join((photon::join_handle *)*s);
}

#define PEER_LIVE_MAX 20000u /* three mappings each, and a process has but 65530 */

#include "body.h"
