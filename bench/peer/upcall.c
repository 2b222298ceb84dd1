/* SPDX-License-Identifier: MIT */
/* Contender: ourselves, as a program sees us. With PEER_OWN_TLS each uthread has its own TLS. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <upcall/upcall.h>

typedef void *peer_ret;
#define PEER_DONE NULL
typedef struct upcall_uthread *peer_thread;

static inline void peer_create(peer_thread *t, peer_ret (*fn)(void *), void *arg)
{
	if (upcall_uthread_create(t, NULL, fn, arg))
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
#define EVENT_SET      ((struct upcall_uthread *)1)
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

#define PEER_HAS_KERNEL_BLOCK 1
#define PEER_HAS_PREEMPTION   1

#include "body.h"
