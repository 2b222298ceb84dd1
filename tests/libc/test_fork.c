/* SPDX-License-Identifier: MIT */
/* fork(), _Fork(), vfork(): the child is a process of one thread, which is the uthread that called,
 * with the process's CPUs and the uthread's mask; the runtime can be started in it anew. */
#include <sys/rseq.h>
#include <sys/syscall.h>

#include "contract.h"

static __thread int word = 5;
static volatile int prepared;
static __thread int seen_in_child;

static void prepare(void)
{
	__atomic_fetch_add(&prepared, word, __ATOMIC_RELAXED);
}

static void child(void)
{
	seen_in_child = word;
}

static long kernel_field(const char *name, int base)
{
	char line[256], path[64];
	long value = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", (int)gettid());
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, name, strlen(name)))
			value = strtol(line + strlen(name) + 1, NULL, base);
	}
	if (f)
		fclose(f);
	return value;
}

static void *in_thread(void *arg)
{
	return arg;
}

/* One bit for each thing that is not as in a process of its own. */
static int wrongs(pthread_t self, int mask_bit)
{
	cpu_set_t cpus;
	pthread_t thread;
	void *value = NULL;
	sigset_t mask;
	int wrong = 0;

	wrong |= (upcall_uthread_self() != NULL || upcall_nr_vcores() != 0) << 0;
	sched_getaffinity(0, sizeof(cpus), &cpus);
	wrong |= !CPU_EQUAL(&cpus, &contract_cpus) << 1;
	wrong |= (pthread_self() != self || gettid() != getpid()) << 2;
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	wrong |= (sigismember(&mask, mask_bit) != 1 || sigismember(&mask, SIGALRM)) << 3;
	wrong |= (kernel_field("SigBlk:", 16) != 1L << (mask_bit - 1)) << 4;
	wrong |= (kernel_field("Threads:", 10) != 1) << 5;
	pthread_create(&thread, NULL, in_thread, &wrong);
	wrong |= (pthread_join(thread, &value) || value != &wrong) << 6;
	free(malloc(1000));
	wrong |= (word != 6) << 7;
	wrong |= (slice_of(0) != contract_slice) << 8;
	return wrong;
}

static int wrong_in_child(pid_t (*fn)(void), int atfork)
{
	pthread_t self = pthread_self();
	sigset_t set;
	pid_t pid;
	int wrong;

	word = 6;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pid = fn();
	if (!pid) {
		wrong = wrongs(self, SIGUSR1);
		if (atfork && seen_in_child != 6)
			wrong |= 128;
		_exit(wrong);
	}
	return contract_status(pid);
}

static void *fork_often(void *arg)
{
	for (int i = 0; i < 8; i++) {
		int wrong = wrong_in_child(fork, 1);

		if (wrong)
			return (void *)(long)wrong;
	}
	return NULL;
}

static void *fork_quietly(void *arg)
{
	return (void *)(long)wrong_in_child(_Fork, 0);
}

static void *fork_virtually(void *arg)
{
	pid_t pid = vfork();

	if (!pid)
		_exit(upcall_uthread_self() ? 9 : 0);
	return (void *)(long)contract_status(pid);
}

/* The kernel's own word on where the child runs, kept up to date in the area that libc reads. */
static void *fork_rseq(void *arg)
{
	pid_t pid = fork();

	if (!pid) {
		const char *self = (const char *)pthread_self();
		const struct rseq *area = (const struct rseq *)(self + __rseq_offset);

		_exit(!__rseq_size || area->cpu_id < CPU_SETSIZE ? 0 : 1);
	}
	return (void *)(long)contract_status(pid);
}

static void *just_return(void *arg)
{
	return arg;
}

static void *fork_and_start(void *arg)
{
	struct upcall_opts opts = { .size = sizeof(opts), .vcores = 2, .slice_ns = 100000 };
	pid_t pid = fork();

	if (!pid) {
		long sum;

		alarm(20);
		if (upcall_start(&opts))
			_exit(1);
		sum = contract_run_many(20, just_return);
		_exit(sum != 190 || upcall_stop() ? 2 : 0);
	}
	return (void *)(long)contract_status(pid);
}

int main(int argc, char **argv)
{
	long wrong;

	contract_args(&argc, argv);
	pthread_atfork(prepare, NULL, child);
	contract_begin(7);
	wrong = contract_run_many(3, fork_often);
	tap_ok(wrong == 0, "fork from three uthreads at once: %#lx", wrong);
	tap_ok(prepared == 3 * 8 * 6, "handlers run in the caller's own storage (%d)", prepared);
	wrong = (long)contract_run(fork_quietly, NULL);
	tap_ok(wrong == 0, "_Fork: %#lx", wrong);
	wrong = (long)contract_run(fork_virtually, NULL);
	tap_ok(wrong == 0, "vfork: %#lx", wrong);
	wrong = (long)contract_run(fork_rseq, NULL);
	tap_ok(wrong == 0, "the child is registered for rseq: %#lx", wrong);
	wrong = (long)contract_run(fork_and_start, NULL);
	tap_ok(wrong == 0, "the runtime starts in a child: %#lx", wrong);
	word = 6;
	wrong = wrong_in_child(fork, 1);
	tap_ok(wrong == 0, "fork from the first uthread: %#lx", wrong);
	return contract_end();
}
