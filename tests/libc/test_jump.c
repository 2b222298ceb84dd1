/* SPDX-License-Identifier: MIT */
/* setjmp() and longjmp() across switches and moves. */
#include <setjmp.h>

#include "contract.h"

static void deeper(jmp_buf env, volatile int depth)
{
	if (depth)
		deeper(env, depth - 1);
	if (!depth) {
		if (upcall_yield())
			abort();
		longjmp(env, 3);
	}
}

static void *jump_often(void *arg)
{
	volatile double x = 1.5 + (double)(uintptr_t)arg;
	volatile long bad = 0;
	volatile int i;
	jmp_buf env;

	for (i = 0; i < 200; i++) {
		if (!setjmp(env)) {
			deeper(env, 10);
			bad++;
		}
		if (i % 40 == 0)
			contract_linger();
		bad += x != 1.5 + (double)(uintptr_t)arg;
	}
	return (void *)bad;
}

int main(int argc, char **argv)
{
	contract_args(&argc, argv);
	contract_begin(1);
	tap_ok(contract_run_many(6, jump_often) == 0, "longjmp across switches in six uthreads");
	return contract_end();
}
