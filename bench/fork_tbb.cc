/* SPDX-License-Identifier: MIT */
/* Forks of oneTBB's; see fork_work.h. */
#include "fork_work.h"

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>

namespace tbb = oneapi::tbb;

static tbb::global_control *control;
static tbb::task_arena *arena;

static int begin(unsigned cores)
{
	control = new tbb::global_control(tbb::global_control::max_allowed_parallelism, cores);
	arena = new tbb::task_arena(static_cast<int>(cores));
	return 0;
}

static void fib(fork_fib *w)
{
	fork_fib a = { w->n - 1, 0 }, b = { w->n - 2, 0 };

	if (w->n < 2) {
		w->value = w->n;
		return;
	}
	tbb::task_group g;
	g.run([&] { fib(&a); });
	fib(&b);
	g.wait();
	w->value = a.value + b.value;
}

static void fib_begin(fork_fib *w)
{
	arena->execute([=] { fib(w); });
}

static void loop(size_t nr)
{
	arena->execute([=] {
		tbb::parallel_for(tbb::blocked_range<size_t>(0, nr),
				  [](const tbb::blocked_range<size_t> &r) {
					  for (size_t i = r.begin(); i != r.end(); i++)
						  fork_body(i);
				  });
	});
}

static void end(void)
{
	delete arena;
	delete control;
}

extern const struct fork_contender fork_tbb = { begin, fib_begin, loop, end };
