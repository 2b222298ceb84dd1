/* SPDX-License-Identifier: MIT */
/* Preemption cuts no call short: neither those that Linux restarts nor those that it never does, in
 * uthreads that compute until their slice is nearly over and then block. */
#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "contract.h"

#define ROUNDS 60

static long elapsed_us(const struct timespec *from)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - from->tv_sec) * 1000000L + (now.tv_nsec - from->tv_nsec) / 1000;
}

static void compute(unsigned i)
{
	for (volatile unsigned j = 0; j < 1000 * (i % 60); j++)
		;
}

/* Each blocks for 2 ms and gives what it returned: 0 when right. */
static int by_nanosleep(void)
{
	struct timespec nap = { 0, 2000000 };

	return nanosleep(&nap, NULL);
}

static int by_syscall(void)
{
	struct timespec nap = { 0, 2000000 };

	return (int)syscall(SYS_nanosleep, &nap, NULL);
}

static int by_usleep(void)
{
	return usleep(2000);
}

static int by_poll(void)
{
	return poll(NULL, 0, 2);
}

static int by_select(void)
{
	struct timeval tv = { 0, 2000 };

	return select(0, NULL, NULL, NULL, &tv);
}

static int by_epoll(void)
{
	static __thread int fd;
	struct epoll_event ev;

	if (!fd)
		fd = epoll_create1(EPOLL_CLOEXEC);
	return epoll_wait(fd, &ev, 1, 2);
}

static int by_recv(void)
{
	static __thread int fds[2];
	struct timeval tv = { 0, 2000 };
	char c;

	if (!fds[0]) {
		if (socketpair(AF_UNIX, SOCK_DGRAM, 0, fds))
			return -2;
		setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	}
	return recv(fds[0], &c, 1, 0) == -1 && errno == EAGAIN ? 0 : -1;
}

static int by_sem(void)
{
	static __thread sem_t sem;
	static __thread int made;
	struct timespec until;

	if (!made++)
		sem_init(&sem, 0, 0);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += 2000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	return sem_timedwait(&sem, &until) == -1 && errno == ETIMEDOUT ? 0 : -1;
}

static int (*const ways[])(void) = { by_nanosleep, by_syscall, by_usleep, by_poll,
				     by_select,	   by_epoll,   by_recv,	  by_sem };
static const char *const names[] = {
	"nanosleep",  "syscall(SYS_nanosleep)", "usleep",	"poll", "select",
	"epoll_wait", "recv with a timeout",	"sem_timedwait"
};
#define NR_WAYS (sizeof(ways) / sizeof(ways[0]))
static volatile long cut[NR_WAYS], early[NR_WAYS];

static void *block_often(void *arg)
{
	size_t way = (uintptr_t)arg % NR_WAYS;
	struct timespec from;

	for (unsigned i = 0; i < ROUNDS; i++) {
		compute(i);
		clock_gettime(CLOCK_MONOTONIC, &from);
		if (ways[way]())
			__atomic_fetch_add(&cut[way], 1, __ATOMIC_RELAXED);
		else if (elapsed_us(&from) < 1900)
			__atomic_fetch_add(&early[way], 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void *read_pipe(void *arg)
{
	int fd = *(int *)arg;
	long bad = 0;
	char c;

	for (unsigned i = 0; i < ROUNDS; i++) {
		compute(i);
		bad += read(fd, &c, 1) != 1;
	}
	return (void *)bad;
}

int main(int argc, char **argv)
{
	struct upcall_uthread *reader;
	struct timespec nap = { 0, 2000000 };
	void *bad = NULL;
	int fds[2];

	contract_args(&argc, argv);
	contract_begin((unsigned)NR_WAYS + 1);
	contract_run_many((unsigned)NR_WAYS * 2, block_often);
	for (size_t i = 0; i < NR_WAYS; i++)
		tap_ok(!cut[i] && !early[i], "%s: %ld cut short, %ld too early", names[i], cut[i],
		       early[i]);
	if (pipe(fds))
		return 1;
	upcall_uthread_create(&reader, NULL, read_pipe, &fds[0]);
	for (int i = 0; i < ROUNDS; i++) {
		nanosleep(&nap, NULL);
		if (write(fds[1], "x", 1) != 1)
			return 1;
	}
	upcall_uthread_join(reader, &bad);
	tap_ok(!bad, "read from a pipe: %ld cut short", (long)bad);
	return contract_end();
}
