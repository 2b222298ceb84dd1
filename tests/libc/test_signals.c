/* SPDX-License-Identifier: MIT */
/* Signals from another process: the handler runs on the receiver, beside uthreads, each signal once,
 * and no call of a uthread's is cut short. */
#include <poll.h>
#include <semaphore.h>

#include "contract.h"

#define NR_SIGNALS 200

static volatile int hits, in_uthread, inside_fp;
static volatile int stop;
static sem_t got;

static void on_signal(int sig)
{
	double x = sig;

	__atomic_fetch_add(&hits, 1, __ATOMIC_RELAXED);
	in_uthread |= upcall_uthread_self() != NULL;
	errno = 4711;
	x = x * 1.5;
	inside_fp = (int)x;
	sem_post(&got);
}

static void *compute(void *arg)
{
	double a = 1.25 + (double)(uintptr_t)arg, b;
	long bad = 0;

	while (!stop) {
		b = a;
		errno = 17;
		for (int i = 0; i < 1000; i++)
			b = b * 1.0000001;
		for (int i = 0; i < 1000; i++)
			b = b / 1.0000001;
		bad += b < a - 0.001 || b > a + 0.001 || errno != 17;
	}
	return (void *)bad;
}

static void *sleep_well(void *arg)
{
	struct timespec nap = { .tv_sec = 0, .tv_nsec = 20000000 };
	long bad = 0;

	while (!stop) {
		bad += nanosleep(&nap, NULL) != 0;
		bad += poll(NULL, 0, 5) != 0;
	}
	return (void *)bad;
}

/* One at a time: a second one would be merged with the first. */
static void send_all(void)
{
	pid_t parent = getpid(), pid = fork();

	if (!pid) {
		struct timespec pause = { .tv_sec = 0, .tv_nsec = 300000 };

		for (int i = 0; i < NR_SIGNALS; i++) {
			sigqueue(parent, SIGRTMIN + 1, (union sigval){ .sival_int = i });
			nanosleep(&pause, NULL);
		}
		_exit(0);
	}
	while (hits < NR_SIGNALS)
		sem_wait(&got);
	tap_ok(contract_status(pid) == 0, "another process has sent %d signals", NR_SIGNALS);
}

int main(int argc, char **argv)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct upcall_uthread *c[2], *s[2];
	long bad[2] = { 0 };
	void *value;

	contract_args(&argc, argv);
	sem_init(&got, 0, 0);
	sigaction(SIGRTMIN + 1, &act, NULL);
	contract_begin(5);
	for (uintptr_t i = 0; i < 2; i++) {
		upcall_uthread_create(&c[i], NULL, compute, (void *)i);
		upcall_uthread_create(&s[i], NULL, sleep_well, NULL);
	}
	send_all();
	stop = 1;
	for (int i = 0; i < 2; i++) {
		upcall_uthread_join(c[i], &value);
		bad[0] += (long)value;
		upcall_uthread_join(s[i], &value);
		bad[1] += (long)value;
	}
	tap_ok(hits == NR_SIGNALS, "the handler ran for each (%d)", hits);
	tap_ok(!in_uthread, "never in a uthread");
	tap_ok(bad[0] == 0, "registers and errno of uthreads are untouched (%ld)", bad[0]);
	tap_ok(bad[1] == 0, "no sleep of a uthread was cut short (%ld)", bad[1]);
	return contract_end();
}
