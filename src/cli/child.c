/* SPDX-License-Identifier: MIT */
/*
 * The program as a process.  It stays in our process group: the terminal is its own, whoever else is in
 * the pipeline, and what the terminal sends goes to both of us.  So a signal is handed on only where a
 * process has sent it, to us; those that the terminal's driver sends have reached the program already.
 * We sleep when the program is stopped, so that the shell sees its job stopped, and end as it ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mutant.h"
#include "cli/cli.h"
#include "cli/run.h"

/* While somebody is to look now and then. */
#define LOOK_NS (20 * UP_NSEC_PER_MSEC)
/* Out of the way of programs that expect their descriptors to begin at 3. */
#define PAGE_FD 100

struct relay {
	pid_t pid;
	sigset_t all;
	bool stopped; /* the program is */
	bool ended;
	struct run_outcome *out;
};

/* ---- in the child ---- */

static void put_env(const char *name, const char *fmt, uint64_t value)
{
	char text[32];

	if (!value)
		return;
	snprintf(text, sizeof(text), fmt, (unsigned long long)value);
	setenv(name, text, 1);
}

static void put_options(const struct run_opts *o)
{
	put_env("UPCALL_VCORES", "%llu", o->vcores);
	put_env("UPCALL_MAX_ACTS", "%llu", o->max_acts);
	put_env("UPCALL_STACK", "%llu", o->stack_sz);
	put_env("UPCALL_SLICE", "%lluns", o->slice_ns);
	put_env("UPCALL_GRACE", "%lluns", o->grace_ns);
	put_env("UPCALL_NO_SLICE", "%llu", o->no_slice);
	put_env("UPCALL_SHARED_TLS", "%llu", o->shared_tls);
	/* The later word counts: not both. */
	if (o->no_slice)
		unsetenv("UPCALL_SLICE");
	else if (o->slice_ns)
		unsetenv("UPCALL_NO_SLICE");
}

/* In front of whatever else is loaded before libc. */
static void put_shim(const char *shim)
{
	const char *others = getenv("LD_PRELOAD");
	char *both;

	if (!shim)
		return;
	if (!others || asprintf(&both, "%s:%s", shim, others) < 0)
		setenv("LD_PRELOAD", shim, 1);
	else
		setenv("LD_PRELOAD", both, 1);
}

static void put_page(const struct run_page *p)
{
	int fd;

	unsetenv(UPABI_RUN_ENV); /* that of a run around this one */
	if (!p->at)
		return;
	fd = fcntl(p->fd, F_DUPFD, PAGE_FD);
	if (fd < 0)
		fd = fcntl(p->fd, F_DUPFD, 3);
	if (fd >= 0)
		put_env(UPABI_RUN_ENV, "%llu", (uint64_t)fd);
}

static void become(const struct run_child *c, const sigset_t *mask, const struct sigaction *chld,
		   int report)
{
	int err;

	if (c->cpus->confined && sched_setaffinity(0, c->cpus->sz, c->cpus->confined))
		goto fail;
	put_options(c->opts);
	put_shim(c->opts->shim);
	put_page(c->page);
	sigaction(SIGCHLD, chld, NULL);
	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(c->argv[0], c->argv);
fail:
	err = errno;
	if (write(report, &err, sizeof(err)) != (ssize_t)sizeof(err))
		_exit(CLI_FAILED);
	_exit(CLI_NOT_FOUND);
}

/* ---- in the parent ---- */

/* Stops us as the program was stopped; comes back when somebody has continued us. */
static void stop_too(int sig)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL }, old;
	sigset_t one;

	sigemptyset(&one);
	sigaddset(&one, sig);
	if (sig != SIGSTOP)
		sigaction(sig, &dfl, &old);
	kill(getpid(), sig);
	if (sig != SIGSTOP) {
		sigprocmask(SIG_UNBLOCK, &one, NULL); /* here */
		sigprocmask(SIG_BLOCK, &one, NULL);
		sigaction(sig, &old, NULL);
	}
}

static void look_at_child(struct relay *r)
{
	int status;
	pid_t got;

	while ((got = wait4(r->pid, &status, WNOHANG | WUNTRACED | WCONTINUED, &r->out->usage)) ==
	       r->pid) {
		if (WIFSTOPPED(status)) {
			r->stopped = true;
			if (!UP_MUT(run_stop_unfollowed))
				stop_too(WSTOPSIG(status));
		} else if (WIFCONTINUED(status)) {
			r->stopped = false;
		} else {
			r->out->status = status;
			r->ended = true;
			return;
		}
	}
}

/* By the terminal's driver or Linux itself: sent to the program as well. */
static bool from_kernel(const siginfo_t *si)
{
	return si->si_code > 0 && !UP_MUT(run_terminal_twice);
}

static void hand_on(struct relay *r, const siginfo_t *si)
{
	if (si->si_code == SI_QUEUE) {
		sigqueue(r->pid, si->si_signo, si->si_value);
		return;
	}
	kill(r->pid, si->si_signo);
}

static void on_signal(struct relay *r, const siginfo_t *si)
{
	if (si->si_signo == SIGCHLD && (from_kernel(si) || si->si_pid == r->pid)) {
		look_at_child(r);
		return;
	}
	if (si->si_signo == SIGCONT) {
		/* As a rule sent to the whole group, by `fg`: it runs again by now, and hears of it
		 * once. */
		look_at_child(r);
		if (!r->ended && r->stopped)
			kill(r->pid, SIGCONT);
		return;
	}
	if (!from_kernel(si))
		hand_on(r, si);
}

static void wait_for_end(struct relay *r, const struct run_child *c)
{
	struct timespec look = up_ns_timespec(LOOK_NS);
	siginfo_t si;

	look_at_child(r);
	while (!r->ended) {
		/* Sleeps till something comes, or, where there is a trace to take, for a while. */
		if (sigtimedwait(&r->all, &si, c->each ? &look : NULL) > 0)
			on_signal(r, &si);
		if (c->each)
			c->each(c->arg);
	}
}

/* Nothing to read is good: the program's image took the descriptor's place. */
static int exec_result(int fd)
{
	int err = 0;
	ssize_t n;

	do
		n = read(fd, &err, sizeof(err));
	while (n < 0 && errno == EINTR);
	close(fd);
	return n == (ssize_t)sizeof(err) ? err : 0;
}

int run_child(const struct run_child *c, struct run_outcome *ret_outcome)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL }, chld;
	struct relay r = { .out = ret_outcome };
	sigset_t mask;
	int report[2], err;

	if (pipe2(report, O_CLOEXEC))
		return -errno;
	/* All, so that none ends us before the program: those that it did not get from elsewhere are
	 * handed on. */
	sigfillset(&r.all);
	sigprocmask(SIG_SETMASK, &r.all, &mask);
	sigaction(SIGCHLD, &dfl, &chld);
	ret_outcome->from_ns = up_now_ns();
	r.pid = fork();
	if (r.pid == 0)
		become(c, &mask, &chld, report[1]);
	err = errno;
	close(report[1]);
	if (r.pid < 0) {
		close(report[0]);
		sigprocmask(SIG_SETMASK, &mask, NULL);
		return -err;
	}
	ret_outcome->pid = r.pid;
	ret_outcome->exec_errno = exec_result(report[0]);
	wait_for_end(&r, c);
	ret_outcome->to_ns = up_now_ns();
	return 0;
}

int run_end_as(const struct run_outcome *o)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	struct rlimit none = { 0, 0 };
	sigset_t one;
	int sig;

	if (WIFEXITED(o->status))
		return WEXITSTATUS(o->status);
	sig = WTERMSIG(o->status);
	fflush(NULL);
	setrlimit(RLIMIT_CORE, &none); /* the core worth having is the program's */
	sigaction(sig, &dfl, NULL);
	sigemptyset(&one);
	sigaddset(&one, sig);
	kill(getpid(), sig);
	sigprocmask(SIG_UNBLOCK, &one, NULL); /* here */
	return 128 + sig;
}
