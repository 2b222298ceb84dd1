/* SPDX-License-Identifier: MIT */
/*
 * upcall_for(): a range that is halved when, and only when, whoever runs it has nothing left for others
 * to take.  With nobody to take anything that is once a level, so some tens of times in all.
 */
#include "fork/fork.h"

#include <errno.h>

/* Calls that each vcore is to have, where the caller does not say: enough to even them out. */
#define CALLS_A_VCORE 32u

struct loop {
	size_t begin, end, grain;
	void (*fn)(size_t begin, size_t end, void *arg);
	void *arg;
};

/* Nothing of the caller's lies there for others, who could take it. */
static bool wants_split(void)
{
	const struct up_uthread *u = up_self();

	return u && (!u->deque || !up_deque_seems_full(u->deque));
}

static void run(void *arg)
{
	struct loop l = *(struct loop *)arg, half;
	struct upcall_fork f;

	for (; l.end - l.begin > l.grain; l.begin += l.grain) {
		if (wants_split()) {
			half = l;
			half.begin += ((l.end - l.begin - 1) / l.grain + 1) / 2 * l.grain;
			l.end = half.begin;
			UP_BUG_ON(upcall_spawn(&f, run, &half));
			run(&l);
			UP_BUG_ON(upcall_sync(&f));
			return;
		}
		l.fn(l.begin, l.begin + l.grain, l.arg);
	}
	l.fn(l.begin, l.end, l.arg);
}

int upcall_for(size_t begin, size_t end, size_t grain,
	       void (*fn)(size_t begin, size_t end, void *arg), void *arg)
{
	struct loop l = { begin, end, grain, fn, arg };
	size_t calls = (size_t)CALLS_A_VCORE * UP_MAX(up_load_relaxed(&up_rt.target), 1u);

	if (!fn || begin > end)
		return -EINVAL;
	if (begin == end)
		return 0;
	if (!grain)
		l.grain = UP_MAX((end - begin) / calls, (size_t)1);
	run(&l);
	return 0;
}
