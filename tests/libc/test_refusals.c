/* SPDX-License-Identifier: MIT */
/* What is refused to a uthread, or done to the process in its stead. */
#include "contract.h"

static void ignore(int sig)
{
}

static pthread_t first;

static void *be_refused(void *arg)
{
	struct sigaction act = { .sa_handler = ignore }, old;
	cpu_set_t set;
	long bad = 0;

	bad += sigaction(SIGURG, &act, NULL) != -1 || errno != EINVAL;
	bad += signal(SIGURG, ignore) != SIG_ERR || errno != EINVAL;
	bad += sigaction(SIGUSR1, &act, &old) || old.sa_handler != SIG_DFL;
	bad += pthread_sigqueue(first, SIGUSR1, (union sigval){ .sival_int = 1 }) != ENOTSUP;
	bad += pthread_kill(first, 1000) != EINVAL || raise(-1) != -1 || errno != EINVAL;
	bad += pthread_join(first, NULL) != EINVAL || pthread_detach(first) != EINVAL;
	bad += sigprocmask(77, &act.sa_mask, NULL) != -1 || errno != EINVAL;
	CPU_ZERO(&set);
	bad += sched_setaffinity(0, sizeof(set), &set) != -1 || errno != EINVAL;
	return (void *)bad;
}

/* The first CPU alone, as if somebody had said so from outside; and back. */
static void *set_cpus(void *arg)
{
	cpu_set_t one, got;
	long bad = 0;
	int cpu = 0;

	while (!CPU_ISSET(cpu, &contract_cpus))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	bad += sched_setaffinity(0, sizeof(one), &one) != 0;
	contract_linger();
	bad += sched_getaffinity(getpid(), sizeof(got), &got) || !CPU_EQUAL(&got, &one);
	bad += pthread_getaffinity_np(pthread_self(), sizeof(got), &got) || !CPU_EQUAL(&got, &one);
	bad += pthread_setaffinity_np(pthread_self(), sizeof(got), &contract_cpus) != 0;
	bad += sched_getaffinity(0, sizeof(got), &got) || !CPU_EQUAL(&got, &contract_cpus);
	return (void *)bad;
}

int main(int argc, char **argv)
{
	long bad;

	contract_args(&argc, argv);
	contract_begin(2);
	first = pthread_self();
	bad = (long)contract_run(be_refused, NULL);
	tap_ok(bad == 0, "what cannot be had is refused with the error that is documented (%ld)",
	       bad);
	bad = (long)contract_run(set_cpus, NULL);
	tap_ok(bad == 0, "a uthread's CPUs are those of the process, to read and to set (%ld)",
	       bad);
	return contract_end();
}
