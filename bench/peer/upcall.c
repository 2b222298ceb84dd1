/* SPDX-License-Identifier: MIT */
/* Contender: ourselves, as a program sees us. With PEER_OWN_TLS each uthread has its own TLS. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <upcall/upcall.h>

typedef void *peer_ret;
#define PEER_DONE NULL
typedef struct upcall_uthread *peer_thread;
typedef char peer_group;

static inline void peer_create(peer_group *g, peer_thread *t, peer_ret (*fn)(void *), void *arg)
{
	if (upcall_uthread_create(t, NULL, fn, arg))
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
		if (upcall_uthread_join(t[i], NULL))
			abort();
}

static int peer_run(unsigned vcores, int (*fn)(void))
{
	struct upcall_opts o = { .size = sizeof(o), .vcores = vcores };
	int r;

#ifndef PEER_OWN_TLS
	o.shared_tls = true;
#endif
	r = upcall_start(&o);
	if (r) {
		printf("failed upcall_start: %s\n", strerror(-r));
		return 1;
	}
	return fn();
}

#define PEER_HAS_YIELD 1
static inline void peer_yield(void)
{
	upcall_yield();
}

#define PEER_HAS_EVENT 1
#if __has_include(<upcall/sync.h>)
#include <upcall/sync.h>
typedef struct upcall_sem peer_event;

static inline void peer_event_init(peer_event *e)
{
	upcall_sem_init(e, 0);
}

static inline void peer_event_wait(peer_event *e)
{
	upcall_sem_wait(e);
}

static inline void peer_event_signal(peer_event *e)
{
	upcall_sem_post(e);
}

#define PEER_HAS_MUTEX 1
typedef struct upcall_mutex peer_mutex;

static inline void peer_mutex_init(peer_mutex *m)
{
	*m = (peer_mutex)UPCALL_MUTEX_INIT;
}

static inline void peer_mutex_lock(peer_mutex *m)
{
	upcall_mutex_lock(m);
}

static inline void peer_mutex_unlock(peer_mutex *m)
{
	upcall_mutex_unlock(m);
}
#else
#define EVENT_SET ((struct upcall_uthread *)1)
/* NULL, EVENT_SET, or who waits. Every exchange acquires what the other side released. */
typedef struct {
	struct upcall_uthread *state;
} peer_event;

static inline void peer_event_init(peer_event *e)
{
	e->state = NULL;
}

static inline bool event_take(peer_event *e)
{
	struct upcall_uthread *set = EVENT_SET;

	return __atomic_compare_exchange_n(&e->state, &set, NULL, false, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

static void event_enter(struct upcall_uthread *self, void *arg)
{
	peer_event *e = arg;
	struct upcall_uthread *none = NULL;

	if (!__atomic_compare_exchange_n(&e->state, &none, self, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_RELAXED)) {
		event_take(e);
		upcall_wake(self);
	}
}

static inline void peer_event_wait(peer_event *e)
{
	if (!event_take(e))
		upcall_block(event_enter, e);
}

static inline void peer_event_signal(peer_event *e)
{
	struct upcall_uthread *u = NULL;

	if (__atomic_compare_exchange_n(&e->state, &u, EVENT_SET, false, __ATOMIC_ACQ_REL,
					__ATOMIC_ACQUIRE))
		return;
	__atomic_store_n(&e->state, NULL, __ATOMIC_RELAXED);
	upcall_wake(u);
}

#endif

#if __has_include(<upcall/fork.h>)
#include <upcall/fork.h>
#define PEER_HAS_SPAWN 1
typedef void peer_spawn_ret;
#define PEER_SPAWN_DONE
typedef struct upcall_fork peer_spawn;

static inline void peer_spawn_start(peer_spawn *s, peer_spawn_ret (*fn)(void *), void *arg)
{
	upcall_spawn(s, fn, arg);
}

static inline void peer_spawn_sync(peer_spawn *s)
{
	upcall_sync(s);
}

#define PEER_HAS_FOR 1
static inline void peer_for(size_t nr, void (*fn)(size_t begin, size_t end, void *arg), void *arg)
{
	upcall_for(0, nr, 0, fn, arg);
}
#endif

#ifdef UPCALL_PRIO_HIGH
#define PEER_HAS_PREEMPTION 1
static inline void peer_create_high(peer_group *g, peer_thread *t, peer_ret (*fn)(void *),
				    void *arg)
{
	struct upcall_uthread_attr a = { .size = sizeof(a), .priority = UPCALL_PRIO_HIGH };

	if (upcall_uthread_create(t, &a, fn, arg))
		abort();
}
#endif

#define PEER_HAS_KERNEL_BLOCK 1

#include "body.h"
