/* SPDX-License-Identifier: MIT */
/*
 * Gate 1's jobs that make processes and threads, and those that wait inside libc: fork and exec,
 * spawn, system, popen, kernel threads of the program's own; sleeps, polls, locks, semaphores. None
 * may see EINTR: the signals that come from outside are not for the kernel threads that run them.
 */
#include "gate1.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* ---- children ---- */

static void reap(pid_t pid, int status)
{
	int is = -1;
	pid_t got = pid > 0 ? waitpid(pid, &is, 0) : -1;

	CHECK(pid > 0 && got == pid);
	CHECK(WIFEXITED(is) && WEXITSTATUS(is) == status);
}

static void do_fork(struct gate1_me *me)
{
	int status = (int)gate1_below(me, 200);
	pid_t pid = fork();

	if (!pid)
		_exit(status);
	reap(pid, status);
}

static void do_fork_exec(struct gate1_me *me)
{
	char text[32] = "", word[32];
	int fds[2];
	ssize_t n;
	pid_t pid;

	snprintf(word, sizeof(word), "%u", (unsigned)gate1_below(me, 1000000));
	CHECK(!pipe2(fds, O_CLOEXEC));
	pid = fork();
	if (!pid) {
		dup2(fds[1], 1);
		execl("/bin/echo", "echo", word, (char *)NULL);
		_exit(99);
	}
	close(fds[1]);
	n = read(fds[0], text, sizeof(text) - 1);
	CHECK(n == (ssize_t)strlen(word) + 1 && !strncmp(text, word, strlen(word)));
	close(fds[0]);
	reap(pid, 0);
}

static void do_spawn(struct gate1_me *me)
{
	char *const argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, (char[]){ "exit 7" }, NULL };
	pid_t pid = -1;

	CHECK(!posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ));
	reap(pid, 7);
}

static void do_popen(struct gate1_me *me)
{
	char line[64] = "";
	int status;
	FILE *f = popen("echo out of a pipe; exit 5", "r");

	CHECK(f);
	if (!f)
		return;
	CHECK(fgets(line, sizeof(line), f) && !strcmp(line, "out of a pipe\n"));
	CHECK(!fgets(line, sizeof(line), f) && !ferror(f));
	status = pclose(f);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 5);
}

static void do_system(struct gate1_me *me)
{
	int status = system("exit 3");

	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

static void *plain_thread(void *arg)
{
	uint64_t n = (uintptr_t)arg, i;
	char *words[50];

	for (i = 0; i < 50; i++)
		CHECK((words[i] = malloc(16 + i)) && snprintf(words[i], 16, "%lu", n + i) > 0);
	for (i = 0; i < 50; i++) {
		CHECK(strtoull(words[i], NULL, 10) == n + i);
		free(words[i]);
	}
	return (void *)(uintptr_t)(n + 1);
}

static void do_thread(struct gate1_me *me)
{
	void *value = NULL;
	pthread_t t;
	int r = pthread_create(&t, NULL, plain_thread, (void *)(uintptr_t)me->nr);

	CHECK(!r);
	if (!r)
		CHECK(!pthread_join(t, &value) && value == (void *)(uintptr_t)(me->nr + 1));
}

void gate1_run_child(struct gate1_me *me)
{
	switch (gate1_below(me, 6)) {
	case 0:
		do_fork(me);
		break;
	case 1:
		do_fork_exec(me);
		break;
	case 2:
		do_spawn(me);
		break;
	case 3:
		do_popen(me);
		break;
	case 4:
		do_system(me);
		break;
	default:
		do_thread(me);
	}
}

const struct gate1_job gate1_child_jobs[] = {
	{ "children", gate1_run_child, 3, NULL, NULL },
	{ NULL, NULL, 0, NULL, NULL },
};

/* ---- waits ---- */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void waits_out(struct gate1_me *me)
{
	uint64_t ns = 100000 + gate1_below(me, 1500000), from = now_ns();
	struct timespec ts = { 0, (long)ns };
	struct timeval tv = { 0, (suseconds_t)(ns / 1000) };

	switch (gate1_below(me, 4)) {
	case 0:
		CHECK(nanosleep(&ts, NULL) == 0);
		break;
	case 1:
		CHECK(ppoll(NULL, 0, &ts, NULL) == 0);
		break;
	case 2:
		CHECK(select(0, NULL, NULL, NULL, &tv) == 0);
		break;
	default:
		CHECK(usleep((useconds_t)(ns / 1000)) == 0);
	}
	CHECK(now_ns() - from >= ns / 1000 * 1000);
}

static void waits_timed(struct gate1_me *me)
{
	struct timespec until;
	sem_t sem;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	CHECK(!sem_init(&sem, 0, 0));
	CHECK(sem_timedwait(&sem, &until) == -1 && errno == ETIMEDOUT);
	CHECK(!sem_destroy(&sem));
}

static struct {
	pthread_mutex_t lock;
	pthread_rwlock_t rw;
	sem_t room;
	uint64_t a, b, inside;
} both = { .lock = PTHREAD_MUTEX_INITIALIZER, .rw = PTHREAD_RWLOCK_INITIALIZER };

static int before_waits(void)
{
	return sem_init(&both.room, 0, 2);
}

static void after_waits(void)
{
	int value = -1;

	CHECK(!sem_getvalue(&both.room, &value) && value == 2);
	CHECK(both.a == both.b);
}

static void locks(struct gate1_me *me)
{
	int i;

	for (i = 0; i < 30; i++) {
		CHECK(!pthread_mutex_lock(&both.lock));
		CHECK(both.a == both.b);
		both.a++;
		if (i == 7)
			CHECK(!usleep(50)); /* whoever wants it blocks in the kernel */
		both.b++;
		CHECK(!pthread_mutex_unlock(&both.lock));
	}
	CHECK(!sem_wait(&both.room));
	CHECK(__atomic_add_fetch(&both.inside, 1, __ATOMIC_SEQ_CST) <= 2);
	CHECK(!pthread_rwlock_rdlock(&both.rw));
	CHECK(!pthread_rwlock_unlock(&both.rw));
	__atomic_sub_fetch(&both.inside, 1, __ATOMIC_SEQ_CST);
	CHECK(!sem_post(&both.room));
}

static void pipes(struct gate1_me *me)
{
	struct pollfd p = { .events = POLLIN };
	char c = 0;
	int fds[2];

	CHECK(!pipe2(fds, O_CLOEXEC));
	p.fd = fds[0];
	CHECK(poll(&p, 1, 1) == 0);
	CHECK(write(fds[1], "x", 1) == 1);
	CHECK(poll(&p, 1, -1) == 1 && p.revents == POLLIN);
	CHECK(read(fds[0], &c, 1) == 1 && c == 'x');
	close(fds[0]);
	close(fds[1]);
}

static void run_waits(struct gate1_me *me)
{
	switch (gate1_below(me, 4)) {
	case 0:
		waits_out(me);
		break;
	case 1:
		waits_timed(me);
		break;
	case 2:
		pipes(me);
		break;
	default:
		locks(me);
	}
}

const struct gate1_job gate1_wait_jobs[] = {
	{ "waits", run_waits, 6, before_waits, after_waits },
	{ NULL, NULL, 0, NULL, NULL },
};
