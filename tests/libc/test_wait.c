/* SPDX-License-Identifier: MIT */
/* sigwait(), sigtimedwait(), sigsuspend(), pause() in a uthread. */
#include "contract.h"

static __thread volatile int hits;
static volatile int anywhere;
static volatile pthread_t waiter;

static void on_signal(int sig)
{
	hits++;
	anywhere++;
}

static sigset_t set_of(int sig)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	return set;
}

static void *wait_for_two(void *arg)
{
	sigset_t set = set_of(SIGUSR1);
	int first = 0, second = 0;

	waiter = pthread_self();
	sigwait(&set, &first);
	waiter = pthread_self();
	second = sigwaitinfo(&set, NULL);
	return (void *)(long)(first == SIGUSR1 && second == SIGUSR1);
}

static void await_waiter(void)
{
	while (!waiter)
		upcall_yield();
	contract_linger();
}

static void test_sigwait(void)
{
	struct upcall_uthread *u;
	sigset_t set = set_of(SIGUSR1);
	pid_t pid, parent = getpid();
	void *good;

	pthread_sigmask(SIG_BLOCK, &set, NULL);
	upcall_uthread_create(&u, NULL, wait_for_two, NULL);
	await_waiter();
	waiter = 0;
	pid = fork();
	if (!pid)
		_exit(kill(parent, SIGUSR1) != 0);
	contract_status(pid);
	await_waiter();
	pthread_kill(waiter, SIGUSR1);
	upcall_uthread_join(u, &good);
	tap_ok((long)good, "sigwait: one from another process, one from another uthread");
	tap_ok(!anywhere, "no handler ran for them");
}

static void *wait_in_vain(void *arg)
{
	struct timespec tenth = { .tv_sec = 0, .tv_nsec = 20000000 };
	sigset_t set = set_of(SIGUSR1);
	int none = sigtimedwait(&set, NULL, &tenth), err = errno;
	siginfo_t info;

	raise(SIGUSR1);
	return (void *)(long)(none == -1 && err == EAGAIN &&
			      sigtimedwait(&set, &info, &tenth) == SIGUSR1 &&
			      info.si_signo == SIGUSR1);
}

static void *suspend(void *arg)
{
	sigset_t none;
	int ret;

	sigemptyset(&none);
	waiter = pthread_self();
	ret = sigsuspend(&none);
	return (void *)(long)(ret == -1 && errno == EINTR && (hits || anywhere));
}

static void *just_pause(void *arg)
{
	waiter = pthread_self();
	return (void *)(long)(pause() == -1 && errno == EINTR && anywhere == 1);
}

static void end_by(void *(*fn)(void *), int own, const char *what)
{
	struct upcall_uthread *u;
	void *good;

	waiter = 0;
	anywhere = 0;
	upcall_uthread_create(&u, NULL, fn, NULL);
	await_waiter();
	if (own)
		pthread_kill(waiter, SIGUSR1);
	else
		kill(getpid(), SIGUSR1);
	upcall_uthread_join(u, &good);
	tap_ok((long)good, "%s", what);
}

int main(int argc, char **argv)
{
	struct sigaction act = { .sa_handler = on_signal };
	sigset_t set = set_of(SIGUSR1);

	contract_args(&argc, argv);
	sigaction(SIGUSR1, &act, NULL);
	sigprocmask(SIG_BLOCK, &set, NULL);
	contract_begin(7);
	test_sigwait();
	tap_ok((long)contract_run(wait_in_vain, NULL),
	       "sigtimedwait: times out, or takes what is pending");
	end_by(suspend, 1, "sigsuspend: ended by a signal to the uthread");
	end_by(suspend, 0, "sigsuspend: ended by a signal to the process");
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	end_by(just_pause, 0, "pause: ended by a signal to the process");
	end_by(just_pause, 1, "pause: ended by a signal to the uthread");
	return contract_end();
}
