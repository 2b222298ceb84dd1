/* SPDX-License-Identifier: MIT */
/*
 * A small parallel program: uthreads that count primes, some of which sleep now and then.  It then
 * prints what happened to its cores.  `make run` starts it; an argument is the number of cores to
 * ask for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <upcall/upcall.h>

#define WORKERS 200
#define SPAN	4000

/* One stretch of numbers each; every fourth worker waits inside the kernel now and then. */
static void *count_primes(void *arg)
{
	unsigned long from = (unsigned long)arg * SPAN, n, d, found = 0;
	struct timespec nap = { 0, 300000 };

	for (n = from; n < from + SPAN; n++) {
		for (d = 2; d * d <= n && n % d; d++)
			;
		found += n > 1 && d * d > n;
		if ((unsigned long)arg % 4 || n % 1000)
			continue;
		if (n % 2000)
			nanosleep(&nap, NULL); /* libc's own call: the runtime finds out */
		else
			upcall_poll(NULL, 0, 300000); /* no kernel thread waits with it */
	}
	return (void *)found;
}

static void print_cores(uint64_t wall_ns)
{
	struct upcall_vcore_stats v = { .size = sizeof(v) };
	unsigned i;

	printf("\n  vcore   cpu   online        of wall   resumed   moved in   preempted\n");
	for (i = 0; i < upcall_max_vcores() && !upcall_get_vcore_stats(i, &v); i++)
		printf("  %5u   %3d   %7.2f ms   %6.1f%%   %7lu   %8lu   %9lu\n", i, v.cpu,
		       (double)v.online_ns / 1e6, 100.0 * (double)v.online_ns / (double)wall_ns,
		       (unsigned long)v.switches, (unsigned long)v.migrations,
		       (unsigned long)v.preempts);
}

static void print_stats(void)
{
	static const char *const classes[] = { "announced calls", "page faults",
					       "uninterruptible calls", "other calls" };
	struct upcall_stats st = { .size = sizeof(st) };
	unsigned c;

	if (upcall_get_stats(&st))
		return;
	printf("\n  blocked in the kernel, and the core went on with another uthread:\n");
	for (c = 0; c < 4; c++)
		printf("    %-22s %6lu blocked  %6lu back\n", classes[c],
		       (unsigned long)st.blocked[c], (unsigned long)st.unblocked[c]);
	printf("  %lu uthreads on %u kernel threads, %lu resumes, %lu turns ended by the clock\n",
	       (unsigned long)st.uthreads_made, st.activations, (unsigned long)st.switches,
	       (unsigned long)st.notified);
}

int main(int argc, char **argv)
{
	struct upcall_opts opts = { .size = sizeof(opts), .slice_ns = 4000000 };
	struct upcall_uthread *workers[WORKERS];
	unsigned long primes = 0;
	struct timespec from, to;
	void *found;
	int i, r;

	opts.vcores = argc > 1 ? (unsigned)atoi(argv[1]) : 0;
	r = upcall_start(&opts);
	if (r < 0)
		return fprintf(stderr, "parallel: cannot start: %s\n", strerror(-r)), 1;
	printf("%d uthreads count primes; this process is granted whole cores.\n", WORKERS);
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (i = 0; i < WORKERS; i++)
		if (upcall_uthread_create(&workers[i], NULL, count_primes, (void *)(long)i))
			return fprintf(stderr, "parallel: no uthread\n"), 1;
	for (i = 0; i < WORKERS && !upcall_uthread_join(workers[i], &found); i++)
		primes += (unsigned long)found;
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("%lu primes below %d.\n", primes, WORKERS * SPAN);
	print_cores(
		(uint64_t)((to.tv_sec - from.tv_sec) * 1000000000L + to.tv_nsec - from.tv_nsec));
	print_stats();
	return upcall_stop() ? 1 : 0;
}
