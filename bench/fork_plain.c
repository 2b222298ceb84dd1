/* SPDX-License-Identifier: MIT */
/* No forks at all: what there is to do; see fork_work.h. */
#include "fork_work.h"

static int begin(unsigned cores)
{
	return 0;
}

static void fib(void *arg)
{
	struct fork_fib *w = arg, a = { w->n - 1, 0 }, b = { w->n - 2, 0 };
	void (*volatile call)(void *) = fib; /* not to be made part of the caller */

	if (w->n < 2) {
		w->value = w->n;
		return;
	}
	call(&a);
	call(&b);
	w->value = a.value + b.value;
}

static void fib_begin(struct fork_fib *w)
{
	fib(w);
}

static void loop(size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		fork_body(i);
}

static void end(void)
{
}

const struct fork_contender fork_plain = { begin, fib_begin, loop, end };
