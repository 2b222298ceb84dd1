/* SPDX-License-Identifier: MIT */
/* Restartable sequences belong to kernel threads: in a uthread libc's area says "not registered", and
 * whoever asks for the CPU asks the kernel. */
#include <sys/rseq.h>

#include "contract.h"

static int registered(void)
{
	const char *self = (const char *)pthread_self();
	const volatile struct rseq *area = (const volatile struct rseq *)(self + __rseq_offset);

	return __rseq_size && (int)area->cpu_id >= 0;
}

static void *ask(void *arg)
{
	long bad = 0;

	for (int i = 0; i < 50; i++) {
		int cpu = sched_getcpu();

		bad += registered() || cpu < 0 || !CPU_ISSET(cpu, &contract_cpus);
		for (volatile int j = 0; j < 20000; j++)
			;
	}
	return (void *)bad;
}

int main(int argc, char **argv)
{
	int before = registered();

	contract_args(&argc, argv);
	contract_begin(3);
	tap_ok(contract_run_many(6, ask) == 0,
	       "not registered in six uthreads, yet the CPU is told");
	tap_ok(!registered() && sched_getcpu() >= 0, "nor in the first");
	contract_prove();
	upcall_stop();
	tap_ok(registered() == before, "the first thread is registered again after the stop");
	return tap_done();
}
