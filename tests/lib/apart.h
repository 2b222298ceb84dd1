/* SPDX-License-Identifier: MIT */
/*
 * Cases that each get a process of their own: those that start the runtime, or end in a signal. The
 * parent stays a plain single-threaded process, reads what the child says on stderr, and shows it
 * when the case fails. A case returns 0, or leaves by CHECK or SKIP from wherever it is, vcore
 * context included. One that hangs is asked for a dump (upcall_dump by way of SIGUSR1, which a case
 * prepares with apart_dump_on()), then killed.
 */
#ifndef UP_TESTS_APART_H
#define UP_TESTS_APART_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tap.h"

struct apart {
	const char *name;
	int (*fn)(void);
	int sig;	    /* the signal that must end it, 0: none */
	const char *says;   /* what stderr must hold, NULL: whatever */
	const char *silent; /* what it must not hold */
};

/* A case that takes longer hangs. */
static unsigned apart_seconds = 40;

#define CASE(words, function)                     \
	{                                         \
		.name = (words), .fn = (function) \
	}
/* One that ends in a signal, and what it must have said by then. */
#define CASE_DIES(words, function, signo, text)                                   \
	{                                                                         \
		.name = (words), .fn = (function), .sig = (signo), .says = (text) \
	}

/* In the child, from anywhere. */
#define CHECK(cond)                                                           \
	do {                                                                  \
		if (!(cond)) {                                                \
			dprintf(2, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
			_exit(1);                                             \
		}                                                             \
	} while (0)

#define CHECK_INT(got, want)                                                                  \
	do {                                                                                  \
		long long check_got = (long long)(got), check_want = (long long)(want);       \
		if (check_got != check_want) {                                                \
			dprintf(2, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #got, \
				check_got, check_want);                                       \
			_exit(1);                                                             \
		}                                                                             \
	} while (0)

#define SKIP(...)                        \
	do {                             \
		dprintf(2, __VA_ARGS__); \
		_exit(77);               \
	} while (0)

static inline unsigned long long apart_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (unsigned long long)ts.tv_sec * 1000000000ull + (unsigned long long)ts.tv_nsec;
}

/* Waits for a condition, without sleeping, as long as the case may take at all; `what` runs in
 * between: a yield, or a look. */
#define AWAIT(cond, what)                                                       \
	do {                                                                    \
		unsigned long long await_end = apart_now_ns() + 20000000000ull; \
		while (!(cond)) {                                               \
			CHECK(apart_now_ns() < await_end && #cond);             \
			what;                                                   \
		}                                                               \
	} while (0)

static inline void apart_child(const struct apart *c, const int fds[2])
{
	struct rlimit none = { 0, 0 };

	close(fds[0]);
	dup2(fds[1], 2);
	close(fds[1]);
	setrlimit(RLIMIT_CORE, &none);
	/* All of stdout is the parent's. */
	dup2(2, 1);
	_exit(c->fn());
}

/* What the child says, until it ends or its time does. Returns its wait status, -1 for a hang. */
static inline int apart_watch(pid_t pid, int fd, char *text, size_t sz)
{
	unsigned long long end = apart_now_ns() + apart_seconds * 1000000000ull,
			   last = end + 2000000000ull;
	size_t len = 0;
	int status, asked = 0, over = 0;
	char more[512];

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n = poll(&p, 1, 20) > 0 ? read(fd, more, sizeof(more)) : 0;

		if (n > 0) {
			size_t fits = len + (size_t)n < sz ? (size_t)n : sz - 1 - len;

			memcpy(text + len, more, fits);
			len += fits;
			text[len] = 0;
			continue;
		}
		if (over)
			return asked ? -1 : status;
		over = waitpid(pid, &status, WNOHANG) == pid;
		if (over)
			continue;
		if (apart_now_ns() > end && !asked++)
			kill(pid, SIGUSR1);
		if (apart_now_ns() > last)
			kill(pid, SIGKILL);
	}
}

static inline int apart_good(const struct apart *c, int status, const char *text)
{
	if (status < 0)
		return 0;
	if (c->sig ? !WIFSIGNALED(status) || WTERMSIG(status) != c->sig
		   : !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return 0;
	return (!c->says || strstr(text, c->says)) && (!c->silent || !strstr(text, c->silent));
}

static inline void apart_show(int status, char *text)
{
	char *line, *save = NULL;

	if (status < 0)
		tap_note("it hung");
	else if (WIFSIGNALED(status))
		tap_note("it was ended by signal %d", WTERMSIG(status));
	else
		tap_note("it exited with %d", WEXITSTATUS(status));
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		tap_note("%s", line);
}

static inline void apart_run(const struct apart *c)
{
	static char text[65536];
	int fds[2], status;
	pid_t pid;

	text[0] = 0;
	if (pipe2(fds, O_CLOEXEC) < 0)
		tap_bail("no pipe: %s", strerror(errno));
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		tap_bail("no process: %s", strerror(errno));
	if (!pid)
		apart_child(c, fds);
	close(fds[1]);
	status = apart_watch(pid, fds[0], text, sizeof(text));
	close(fds[0]);
	if (status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		text[strcspn(text, "\n")] = 0;
		tap_skip(c->name, "%s", text);
		return;
	}
	if (!tap_ok(apart_good(c, status, text), "%s", c->name))
		apart_show(status, text);
}

/* All cases; with an argument, those whose name contains it.  UP_FIRST_FAILURE ends them there: one is
 * enough to kill a mutant. */
static inline int apart_main(const struct apart *cases, unsigned nr, int argc, char **argv)
{
	bool first = getenv("UP_FIRST_FAILURE") != NULL;
	unsigned i, chosen = 0;

	for (i = 0; i < nr; i++)
		chosen += argc < 2 || strstr(cases[i].name, argv[1]) != NULL;
	tap_plan(chosen);
	for (i = 0; i < nr && !(first && tap_failed); i++)
		if (argc < 2 || strstr(cases[i].name, argv[1]))
			apart_run(&cases[i]);
	return tap_done();
}

#define APART_MAIN(cases)                                                               \
	int main(int argc, char **argv)                                                 \
	{                                                                               \
		return apart_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv); \
	}

#endif
