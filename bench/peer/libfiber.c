/* SPDX-License-Identifier: MIT */
/* Contender: libfiber. It stands in front of libc's read() and the like: they block a fiber only. */
#include <fiber.h>
#include <fiber_manager.h>
#include <fiber_mutex.h>
#include <fiber_signal.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

typedef void *peer_ret;
#define PEER_DONE NULL
typedef fiber_t *peer_thread;
typedef char peer_group;

#define STACK_SZ 16384

static inline void peer_create(peer_group *g, peer_thread *t, peer_ret (*fn)(void *), void *arg)
{
	*t = fiber_create(STACK_SZ, fn, arg);
	if (!*t)
		abort();
}

static inline void peer_create_at(peer_group *g, peer_thread *t, peer_ret (*fn)(void *), void *arg,
				  unsigned at)
{
	peer_create(g, t, fn, arg);
}

static inline void join(fiber_t *f)
{
	if (fiber_tryjoin(f, NULL) == FIBER_SUCCESS)
		fiber_yield(); /* it goes, and its stack is there for the next one */
	else
		fiber_join(f, NULL);
}

static inline void peer_join_all(peer_group *g, peer_thread *t, unsigned nr)
{
	unsigned i;

	for (i = 0; i < nr; i++)
		join(t[i]);
}

static int peer_run(unsigned vcores, int (*fn)(void))
{
	mallopt(M_MMAP_THRESHOLD, 1 << 30); /* a stack is not given back at each end */
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	if (fiber_manager_init(vcores) != FIBER_SUCCESS)
		return 1;
	/* Its headers depend on how it was built. This thread's fiber is one that nobody joins. */
	if (fiber_manager_get()->current_fiber->detach_state != FIBER_DETACH_DETACHED) {
		fputs("libfiber was built with another FIBER_STACK_ than this\n", stderr);
		return 1;
	}
	_Exit(fn());
}

#define PEER_HAS_YIELD 1
static inline void peer_yield(void)
{
	fiber_yield();
}

#define PEER_HAS_EVENT 1
typedef fiber_signal_t peer_event;

static inline void peer_event_init(peer_event *e)
{
	fiber_signal_init(e);
}

static inline void peer_event_wait(peer_event *e)
{
	fiber_signal_wait(e);
}

static inline void peer_event_signal(peer_event *e)
{
	fiber_signal_raise(e);
}

#define PEER_HAS_MUTEX 1
typedef fiber_mutex_t peer_mutex;

static inline void peer_mutex_init(peer_mutex *m)
{
	if (fiber_mutex_init(m) != FIBER_SUCCESS)
		abort();
}

static inline void peer_mutex_lock(peer_mutex *m)
{
	fiber_mutex_lock(m);
}

static inline void peer_mutex_unlock(peer_mutex *m)
{
	fiber_mutex_unlock(m);
}

#define PEER_HAS_SPAWN 1
typedef void *peer_spawn_ret;
#define PEER_SPAWN_DONE NULL
typedef fiber_t *peer_spawn;

static inline void peer_spawn_start(peer_spawn *s, peer_spawn_ret (*fn)(void *), void *arg)
{
	*s = fiber_create(STACK_SZ, fn, arg);
	if (!*s)
		abort();
}

static inline void peer_spawn_sync(peer_spawn *s)
{
	join(*s);
}

#define PEER_HAS_KERNEL_BLOCK 1

#include "body.h"
