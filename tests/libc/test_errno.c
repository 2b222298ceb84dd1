/* SPDX-License-Identifier: MIT */
/* errno is each uthread's own, before and after it has been moved. */
#include "contract.h"

static void *keep_errno(void *arg)
{
	int mine = 100 + (int)(uintptr_t)arg;
	long bad = 0;

	for (int i = 0; i < 200; i++) {
		errno = mine;
		for (volatile int j = 0; j < 5000; j++)
			;
		bad += errno != mine;
		bad += close(-1) != -1 || errno != EBADF;
	}
	return (void *)bad;
}

int main(int argc, char **argv)
{
	struct upcall_stats stats = { .size = sizeof(stats) };
	long bad = 0;

	contract_args(&argc, argv);
	contract_begin(2);
	/* Until it has been preempted often enough; the watch ends it if that never comes. */
	do {
		bad += contract_run_many(8, keep_errno);
		upcall_get_stats(&stats);
	} while (stats.notified < 100);
	tap_ok(bad == 0, "errno in 8 uthreads (%ld wrong)", bad);
	tap_ok(stats.notified >= 100, "under preemption: %lu times, %lu migrations",
	       (unsigned long)stats.notified, (unsigned long)stats.migrations);
	return contract_end();
}
