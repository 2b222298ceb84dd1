/* SPDX-License-Identifier: MIT */
/* Contender: OpenMP's tasks as libgomp has them. They run on the stack of whoever takes them up. */
#include <omp.h>
#include <stddef.h>

typedef void *peer_ret;
#define PEER_DONE NULL
typedef char peer_thread;

static inline void peer_create(peer_thread *t, peer_ret (*fn)(void *), void *arg)
{
#pragma omp task firstprivate(fn, arg)
	fn(arg);
}

static inline void peer_create_at(peer_thread *t, peer_ret (*fn)(void *), void *arg, unsigned at)
{
	peer_create(t, fn, arg);
}

static inline void peer_join_all(peer_thread *t, unsigned nr)
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

#include "body.h"
