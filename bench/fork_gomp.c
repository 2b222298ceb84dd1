/* SPDX-License-Identifier: MIT */
/* Forks of OpenMP's, by libgomp; see fork_work.h. */
#include "fork_work.h"

#include <omp.h>

static int begin(unsigned cores)
{
	omp_set_dynamic(0);
	omp_set_num_threads((int)cores);
	return 0;
}

static void fib(void *arg)
{
	struct fork_fib *w = arg, a = { w->n - 1, 0 }, b = { w->n - 2, 0 };

	if (w->n < 2) {
		w->value = w->n;
		return;
	}
#pragma omp task shared(a)
	fib(&a);
	fib(&b);
#pragma omp taskwait
	w->value = a.value + b.value;
}

static void fib_begin(struct fork_fib *w)
{
#pragma omp parallel
#pragma omp single
	fib(w);
}

static void loop(size_t nr)
{
	size_t i;

#pragma omp parallel for
	for (i = 0; i < nr; i++)
		fork_body(i);
}

static void end(void)
{
}

const struct fork_contender fork_gomp = { begin, fib_begin, loop, end };
