/* SPDX-License-Identifier: MIT */
/*
 * What AddressSanitizer and ThreadSanitizer must be told of stacks that are changed under them. In a
 * build with either (-Db_sanitize=address or thread) uthreads are cooperative and share the TLS of the
 * activation that they are on: UP_COOPERATIVE is 1, and docs/sanitizers.md says what that means for a
 * program. In any other build all of this is nothing.
 *
 * To a sanitizer, an activation's thread is either itself (its loop and vcore context, in which no
 * instrumented code of ours runs) or the uthread that it runs.
 */
#ifndef UP_BASE_SANITIZE_H
#define UP_BASE_SANITIZE_H

#include <stdbool.h>
#include <stddef.h>

#if defined(UP_SAN_ADDRESS) || defined(UP_SAN_THREAD)
#define UP_COOPERATIVE 1
#include <dlfcn.h>
#include <pthread.h>
#include <sanitizer/common_interface_defs.h>
#ifdef UP_SAN_ADDRESS
#include <sanitizer/asan_interface.h>
#else
#include <sanitizer/tsan_interface.h>
#endif

/* Of an activation, or of a uthread. */
struct up_san {
	void *fiber;
	void *fake; /* frames that are kept off the stack */
	const void *lo;
	size_t sz;
};

/* The thread's own; before any uthread has run on it. */
static inline void up_san_thread(struct up_san *own)
{
#ifdef UP_SAN_THREAD
	if (!own->fiber)
		own->fiber = __tsan_get_current_fiber();
#else
	(void)own;
#endif
}

static inline void up_san_create(struct up_san *u, const void *lo, size_t sz)
{
	u->lo = lo;
	u->sz = sz;
#ifdef UP_SAN_ADDRESS
	/* Whoever had the stack before may have left it in the middle of a function. */
	__asan_unpoison_memory_region(lo, sz);
#else
	u->fiber = __tsan_create_fiber(0);
#endif
}

static inline void up_san_destroy(struct up_san *u)
{
#ifdef UP_SAN_THREAD
	if (u->fiber)
		__tsan_destroy_fiber(u->fiber);
#endif
	u->fiber = NULL;
}

/* On a thread that is itself: it is u from here on. */
static inline void up_san_enter(struct up_san *own, struct up_san *u)
{
#ifdef UP_SAN_ADDRESS
	__sanitizer_start_switch_fiber(&own->fake, u->lo, u->sz);
	__sanitizer_finish_switch_fiber(u->fake, &own->lo, &own->sz);
#else
	__tsan_switch_to_fiber(u->fiber, __tsan_switch_to_fiber_no_sync);
#endif
}

/* And back; `last` when u does not go on. */
static inline void up_san_leave(struct up_san *own, struct up_san *u, bool last)
{
#ifdef UP_SAN_ADDRESS
	__sanitizer_start_switch_fiber(last ? NULL : &u->fake, own->lo, own->sz);
	__sanitizer_finish_switch_fiber(own->fake, NULL, NULL);
#else
	__tsan_switch_to_fiber(own->fiber, __tsan_switch_to_fiber_no_sync);
#endif
}

/* What was done before the one is seen by who has done the other. */
static inline void up_san_release(void *at)
{
#ifdef UP_SAN_THREAD
	__tsan_release(at);
#endif
}

static inline void up_san_acquire(void *at)
{
#ifdef UP_SAN_THREAD
	__tsan_acquire(at);
#endif
}

/* The sanitizer's own, which stands in front of ours: it must know the threads that run uthreads. */
static inline int up_thread_create(pthread_t *ret_thread, const pthread_attr_t *attr,
				   void *(*fn)(void *), void *arg)
{
	int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) =
		(__typeof__(create))dlsym(RTLD_DEFAULT, "pthread_create");

	return create(ret_thread, attr, fn, arg);
}
#else
#define UP_COOPERATIVE 0

struct up_san {
	char none[0];
};

static inline void up_san_thread(struct up_san *own)
{
	(void)own;
}

static inline void up_san_create(struct up_san *u, const void *lo, size_t sz)
{
	(void)u;
	(void)lo;
	(void)sz;
}

static inline void up_san_destroy(struct up_san *u)
{
	(void)u;
}

static inline void up_san_enter(struct up_san *own, struct up_san *u)
{
	(void)own;
	(void)u;
}

static inline void up_san_leave(struct up_san *own, struct up_san *u, bool last)
{
	(void)own;
	(void)u;
	(void)last;
}

static inline void up_san_release(void *at)
{
	(void)at;
}

static inline void up_san_acquire(void *at)
{
	(void)at;
}

#define up_thread_create pthread_create
#endif

#endif
