/* SPDX-License-Identifier: MIT */
/* raise(), pthread_kill(): the handler runs in the uthread that is meant, and may jump out. */
#include <setjmp.h>

#include "contract.h"

static __thread volatile int hits;
static __thread volatile int masked_inside;
static __thread sigjmp_buf back;

static int blocks(int sig)
{
	sigset_t set;

	pthread_sigmask(SIG_BLOCK, NULL, &set);
	return sigismember(&set, sig);
}

static void on_usr1(int sig)
{
	masked_inside = blocks(SIGUSR1) && blocks(SIGUSR2) && !blocks(SIGALRM);
	contract_linger();
	hits++;
}

static void on_usr2(int sig, siginfo_t *info, void *uc)
{
	hits += info->si_signo == SIGUSR2 && info->si_pid == getpid();
	siglongjmp(back, 1);
}

static void *raise_many(void *arg)
{
	for (int i = 0; i < 10; i++) {
		raise(SIGUSR1);
		if (hits != i + 1 || blocks(SIGUSR1))
			return (void *)1;
	}
	pthread_kill(pthread_self(), SIGUSR1);
	return (void *)(long)(hits != 11 || !masked_inside);
}

static void *jump_many(void *arg)
{
	volatile int i;

	for (i = 0; i < 50; i++) {
		if (!sigsetjmp(back, 1))
			raise(SIGUSR2);
		if (blocks(SIGUSR2))
			return (void *)1;
	}
	return (void *)(long)(hits != 50);
}

static pthread_t target;
static volatile int target_up, target_stop;

static void *be_target(void *arg)
{
	target = pthread_self();
	target_up = 1;
	while (hits < 5 && !target_stop)
		;
	return (void *)(long)hits;
}

static void *send_to_target(void *arg)
{
	while (!target_up)
		upcall_yield();
	for (int i = 0; i < 20; i++) {
		pthread_kill(target, SIGUSR1);
		contract_linger();
	}
	target_stop = 1;
	return NULL;
}

static void *block_then_open(void *arg)
{
	sigset_t set;
	int before;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	raise(SIGUSR1);
	before = hits;
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	return (void *)(long)(before != 0 || hits != 1);
}

static void *die_of(void *arg)
{
	raise((int)(long)arg);
	return NULL;
}

/* In a program of its own, since it ends. */
static int die(int sig)
{
	struct upcall_opts opts = { .size = sizeof(opts), .vcores = 1 };
	struct upcall_uthread *u;

	if (upcall_start(&opts))
		return 3;
	upcall_uthread_create(&u, NULL, die_of, (void *)(long)sig);
	upcall_uthread_join(u, NULL);
	return 4;
}

static void *spin_until_hit(void *arg)
{
	target = pthread_self();
	target_up = 1;
	while (!hits)
		;
	return NULL;
}

/* In a program of its own: nothing but the signal makes the target look up from its work. */
static int prod(void)
{
	struct upcall_opts opts = { .size = sizeof(opts), .vcores = 2, .no_slice = true };
	struct upcall_uthread *u;

	alarm(10);
	if (upcall_start(&opts) || upcall_uthread_create(&u, NULL, spin_until_hit, NULL))
		return 3;
	while (!target_up)
		;
	pthread_kill(target, SIGUSR1);
	upcall_uthread_join(u, NULL);
	return 0;
}

static void test_prod(const char *self)
{
	pid_t pid;

	if (CPU_COUNT(&contract_cpus) < 2) {
		tap_skip("a uthread that never gives way is made to", "this takes two CPUs");
		return;
	}
	pid = fork();
	if (!pid) {
		execl(self, self, "prod", (char *)NULL);
		_exit(5);
	}
	tap_ok(contract_status(pid) == 0, "a uthread that never gives way is made to");
}

static int died_of(const char *self, int sig)
{
	char number[8];
	int status = 0;
	pid_t pid;

	snprintf(number, sizeof(number), "%d", sig);
	pid = fork();
	if (!pid) {
		execl(self, self, number, (char *)NULL);
		_exit(5);
	}
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) && WTERMSIG(status) == sig;
}

int main(int argc, char **argv)
{
	struct sigaction usr1 = { .sa_handler = on_usr1 };
	struct sigaction usr2 = { .sa_sigaction = on_usr2, .sa_flags = SA_SIGINFO };
	struct upcall_uthread *t, *s;
	void *got;

	contract_args(&argc, argv);
	sigaddset(&usr1.sa_mask, SIGUSR2);
	sigaction(SIGUSR1, &usr1, NULL);
	sigaction(SIGUSR2, &usr2, NULL);
	if (argc > 1)
		return strcmp(argv[1], "prod") ? die(atoi(argv[1])) : prod();
	contract_begin(9);
	tap_ok(contract_run_many(4, raise_many) == 0,
	       "raise: the handler has run here, masked as asked");
	tap_ok(contract_run_many(4, jump_many) == 0, "siglongjmp out of it: the mask comes back");
	tap_ok((long)contract_run(block_then_open, NULL) == 0,
	       "blocked: it waits until it is opened");
	upcall_uthread_create(&t, NULL, be_target, NULL);
	upcall_uthread_create(&s, NULL, send_to_target, NULL);
	upcall_uthread_join(s, NULL);
	upcall_uthread_join(t, &got);
	tap_ok((long)got >= 5, "pthread_kill: the handler runs in the other uthread (%ld)",
	       (long)got);
	tap_ok(pthread_kill(pthread_self(), 0) == 0 && pthread_kill(pthread_self(), 65) == EINVAL,
	       "a signal of 0 asks, one out of range is refused");
	tap_ok(hits == 0, "none ran in the first uthread");
	contract_hush();
	test_prod(argv[0]);
	tap_ok(died_of(argv[0], SIGTERM) && died_of(argv[0], SIGABRT),
	       "the default action ends all");
	tap_ok(died_of(argv[0], SIGSEGV) && died_of(argv[0], SIGPIPE), "of a fault's signal too");
	return contract_end();
}
