/* SPDX-License-Identifier: MIT */
/* SIGPIPE goes to the uthread that wrote: its handler, its mask, or the end of the process. */
#include "contract.h"

static __thread volatile int hits;
static volatile int all_hits;

static void on_pipe(int sig)
{
	hits++;
	all_hits++;
}

static int broken_pipe(void)
{
	int fds[2];

	if (pipe(fds))
		return -1;
	close(fds[0]);
	return fds[1];
}

static void *write_many(void *arg)
{
	int fd = broken_pipe();
	long bad = 0;

	for (int i = 0; i < 20; i++) {
		bad += write(fd, "x", 1) != -1 || errno != EPIPE;
		for (int j = 0; j < 1000 && hits <= i; j++)
			upcall_yield();
	}
	close(fd);
	return (void *)(bad + (hits != 20));
}

static void *write_blocked(void *arg)
{
	struct timespec now = { 0, 0 };
	int fd = broken_pipe();
	sigset_t set, pending;
	long good;

	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	good = write(fd, "x", 1) == -1 && errno == EPIPE;
	sigpending(&pending);
	good = good && sigismember(&pending, SIGPIPE) && !hits;
	good = good && sigtimedwait(&set, NULL, &now) == SIGPIPE;
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	close(fd);
	return (void *)(long)(good && !hits);
}

static void *write_announced(void *arg)
{
	int fd = broken_pipe();
	long good = upcall_write(fd, "x", 1) == -EPIPE;

	for (int j = 0; j < 1000 && !hits; j++)
		upcall_yield();
	close(fd);
	return (void *)(long)(good && hits == 1);
}

static void *just_write(void *arg)
{
	for (;;) {
		if (write(broken_pipe(), "x", 1) != -1)
			return NULL;
	}
}

static int die(void)
{
	struct upcall_opts opts = { .size = sizeof(opts), .vcores = 1 };
	struct upcall_uthread *u;

	if (upcall_start(&opts))
		return 3;
	upcall_uthread_create(&u, NULL, just_write, NULL);
	upcall_uthread_join(u, NULL);
	return 4;
}

int main(int argc, char **argv)
{
	struct sigaction act = { .sa_handler = on_pipe };
	int status = 0;
	pid_t pid;

	contract_args(&argc, argv);
	if (argc > 1)
		return die();
	contract_begin(5);
	sigaction(SIGPIPE, &act, NULL);
	tap_ok(contract_run_many(4, write_many) == 0, "the handler runs in each that wrote");
	tap_ok(all_hits == 80, "once each time (%d)", all_hits);
	tap_ok((long)contract_run(write_blocked, NULL),
	       "blocked: EPIPE, and sigtimedwait takes it");
	tap_ok((long)contract_run(write_announced, NULL), "in an announced call: at its end");
	contract_hush();
	pid = fork();
	if (!pid) {
		signal(SIGPIPE, SIG_DFL);
		execl(argv[0], argv[0], "die", (char *)NULL);
		_exit(5);
	}
	waitpid(pid, &status, 0);
	tap_ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE,
	       "no handler: the process ends of it");
	return contract_end();
}
