/* SPDX-License-Identifier: MIT */
/* Kernel threads that a uthread makes are ordinary ones: no uthreads, on all the process's CPUs, with
 * their maker's mask. */
#include "contract.h"

struct seen {
	int is_uthread, nr_cpus, blocks_usr1, blocks_alrm;
	uint64_t slice;
	pid_t tid;
	pthread_t self;
};

static void look(struct seen *s)
{
	cpu_set_t cpus;
	sigset_t mask;

	s->is_uthread = upcall_uthread_self() != NULL || upcall_vcore_id() >= 0 ||
			upcall_yield() != -EPERM;
	sched_getaffinity(0, sizeof(cpus), &cpus);
	s->nr_cpus = CPU_COUNT(&cpus);
	s->slice = slice_of(0);
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	s->blocks_usr1 = sigismember(&mask, SIGUSR1);
	s->blocks_alrm = sigismember(&mask, SIGALRM);
	s->tid = gettid();
	s->self = pthread_self();
}

static void *in_thread(void *arg)
{
	for (int i = 0; i < 3; i++) {
		look(arg);
		contract_linger();
	}
	return arg;
}

static void *make_threads(void *arg)
{
	pthread_t threads[4];
	struct seen seen[4];
	sigset_t set;
	void *value;
	long bad = 0;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (int i = 0; i < 4; i++)
		bad += pthread_create(&threads[i], NULL, in_thread, &seen[i]) != 0;
	for (int i = 0; i < 4; i++) {
		bad += pthread_join(threads[i], &value) || value != &seen[i];
		bad += seen[i].is_uthread || seen[i].nr_cpus != CPU_COUNT(&contract_cpus);
		bad += seen[i].blocks_usr1 != 1 || seen[i].blocks_alrm != 0;
		bad += seen[i].self != threads[i] || seen[i].slice != contract_slice;
	}
	return (void *)bad;
}

static void *make_pinned(void *arg)
{
	struct seen seen;
	pthread_attr_t attr;
	pthread_t thread;
	cpu_set_t one;

	CPU_ZERO(&one);
	for (int i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++) {
		if (CPU_ISSET(i, &contract_cpus))
			CPU_SET(i, &one);
	}
	pthread_attr_init(&attr);
	pthread_attr_setaffinity_np(&attr, sizeof(one), &one);
	if (pthread_create(&thread, &attr, in_thread, &seen))
		return (void *)1;
	pthread_join(thread, NULL);
	return (void *)(long)(seen.nr_cpus != 1);
}

static struct seen timer_seen;
static volatile int timer_ran;

static void on_timer(union sigval value)
{
	look(&timer_seen);
	timer_ran = 1;
}

static void *make_timer(void *arg)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD };
	struct itimerspec soon = { .it_value = { 0, 1000000 } };
	timer_t timer;

	ev.sigev_notify_function = on_timer;
	if (timer_create(CLOCK_MONOTONIC, &ev, &timer) || timer_settime(timer, 0, &soon, NULL))
		return (void *)1;
	while (!timer_ran)
		upcall_yield();
	timer_delete(timer);
	return (void *)(long)(timer_seen.is_uthread ||
			      timer_seen.nr_cpus != CPU_COUNT(&contract_cpus));
}

static void *look_at_cpus(void *arg)
{
	cpu_set_t a, b;

	sched_getaffinity(0, sizeof(a), &a);
	pthread_getaffinity_np(pthread_self(), sizeof(b), &b);
	return (void *)(long)(!CPU_EQUAL(&a, &contract_cpus) || !CPU_EQUAL(&b, &contract_cpus));
}

int main(int argc, char **argv)
{
	long bad;

	contract_args(&argc, argv);
	contract_begin(4);
	bad = contract_run_many(3, make_threads);
	tap_ok(bad == 0, "threads made by three uthreads at once are ordinary ones (%ld wrong)",
	       bad);
	tap_ok((long)contract_run(make_pinned, NULL) == 0, "attributes that name CPUs are kept");
	tap_ok((long)contract_run(make_timer, NULL) == 0,
	       "so are threads that libc makes for a timer");
	tap_ok((long)contract_run(look_at_cpus, NULL) == 0, "a uthread's CPUs are the process's");
	return contract_end();
}
