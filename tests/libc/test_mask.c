/* SPDX-License-Identifier: MIT */
/* pthread_sigmask: a uthread's own; a signal that all block stays pending, and is delivered before
 * the call returns that opens it. */
#include "contract.h"

static volatile sig_atomic_t hits;

static void on_signal(int sig)
{
	hits++;
}

static void change(int how, int sig)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	pthread_sigmask(how, &set, NULL);
}

static int blocks(int sig)
{
	sigset_t set;

	pthread_sigmask(SIG_BLOCK, NULL, &set);
	return sigismember(&set, sig);
}

static void *inherits(void *arg)
{
	long good = blocks(SIGUSR2) && !blocks(SIGUSR1);

	change(SIG_BLOCK, SIGUSR1);
	contract_linger();
	good = good && blocks(SIGUSR1);
	change(SIG_UNBLOCK, SIGUSR2);
	return (void *)(long)(good && !blocks(SIGUSR2));
}

/* Nobody else lives: what main blocks is blocked. */
static void alone(void)
{
	sigset_t pending;

	change(SIG_BLOCK, SIGUSR1);
	kill(getpid(), SIGUSR1);
	contract_linger();
	tap_ok(hits == 0, "blocked by the only uthread: no handler runs");
	sigpending(&pending);
	tap_ok(sigismember(&pending, SIGUSR1) && !sigismember(&pending, SIGUSR2), "it is pending");
	change(SIG_UNBLOCK, SIGUSR1);
	tap_ok(hits == 1, "opened: the handler has run when the call returns");
	kill(getpid(), SIGUSR1);
	tap_ok(hits == 2, "kill() to oneself: the handler has run when the call returns");
}

static void *stay_open(void *arg)
{
	while (!*(volatile int *)arg)
		upcall_yield();
	return NULL;
}

static void with_another(void)
{
	struct upcall_uthread *u;
	volatile int stop = 0;

	upcall_uthread_create(&u, NULL, stay_open, (void *)&stop);
	change(SIG_BLOCK, SIGUSR1);
	kill(getpid(), SIGUSR1);
	tap_ok(hits == 3, "another uthread has it open: the handler runs at once");
	change(SIG_UNBLOCK, SIGUSR1);
	stop = 1;
	upcall_uthread_join(u, NULL);
}

static void *flip(void *arg)
{
	for (int i = 0; i < 300; i++) {
		change(SIG_BLOCK, SIGUSR1);
		change(SIG_UNBLOCK, SIGUSR1);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct sigaction act = { .sa_handler = on_signal };
	int before;

	contract_args(&argc, argv);
	sigaction(SIGUSR1, &act, NULL);
	contract_begin(9);
	change(SIG_BLOCK, SIGUSR2);
	tap_ok((long)contract_run(inherits, NULL),
	       "a uthread inherits its maker's mask, and has its own");
	tap_ok(blocks(SIGUSR2) && !blocks(SIGUSR1), "the maker's is untouched");
	contract_hush();
	alone();
	with_another();
	before = hits;
	contract_run_many(4, flip);
	kill(getpid(), SIGUSR1);
	tap_ok(hits == before + 1, "after many changes at once the counts are right");
	change(SIG_UNBLOCK, SIGUSR2);
	contract_prove();
	tap_ok(upcall_stop() == 0 && !blocks(SIGUSR2), "the mask goes on when the runtime stops");
	return tap_done();
}
