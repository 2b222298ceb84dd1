/* SPDX-License-Identifier: MIT */
/* Forks of Upcall's; see fork_work.h. */
#include "fork_work.h"

#include <upcall/upcall.h>

static int begin(unsigned cores)
{
	struct upcall_opts opts = { .size = sizeof(opts), .vcores = cores };

	return upcall_start(&opts);
}

static void fib(void *arg)
{
	struct fork_fib *w = arg, a = { w->n - 1, 0 }, b = { w->n - 2, 0 };
	struct upcall_fork f;

	if (w->n < 2) {
		w->value = w->n;
		return;
	}
	upcall_spawn(&f, fib, &a);
	fib(&b);
	upcall_sync(&f);
	w->value = a.value + b.value;
}

static void fib_begin(struct fork_fib *w)
{
	fib(w);
}

static void bodies(size_t b, size_t e, void *arg)
{
	for (; b < e; b++)
		fork_body(b);
}

static void loop(size_t nr)
{
	upcall_for(0, nr, 0, bodies, NULL);
}

static void end(void)
{
	upcall_stop();
}

const struct fork_contender fork_upcall = { begin, fib_begin, loop, end };
