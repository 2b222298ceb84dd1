/* SPDX-License-Identifier: MIT */
/*
 * Many uthreads talk over sockets and pipes while vcores come and go, cores are taken, others compute,
 * waits end by deadlines and descriptors are closed and given out anew; with delays at random points of
 * injection.  Each byte that is sent is received, once and in its place, and nobody is left waiting.
 * An argument: for so many seconds.
 */
#include "../user/rt.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "base/inject.h"

#define PAIRS	24
#define SECONDS 2

static unsigned seconds = SECONDS;
static atomic_int stop;
static atomic_ullong passed, late, delays;

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33;
}

/* Anywhere, vcore context too: only time passes. */
static int delay(unsigned nr, const char *name, void *arg)
{
	static atomic_ullong state;
	uint64_t x = atomic_fetch_add(&state, 0x9e3779b97f4a7c15u);

	x ^= x >> 29;
	x *= 0xbf58476d1ce4e5b9u;
	if (strncmp(name, "io_", 3) || strstr(name, "map") || strstr(name, "listener") ||
	    strstr(name, "ring") || (x >> 40) % 16)
		return 0;
	atomic_fetch_add(&delays, 1);
	rt_spin_ns((x >> 20) % 30000);
	return 0;
}

struct end {
	int fd;
	uint64_t seed;
};

/* A number of bytes, each the next of a sequence, then the same number back. */
static void send_all(struct end *e, unsigned char *at, unsigned nr)
{
	unsigned char buf[700];
	unsigned i;
	ssize_t r;

	for (i = 0; i < nr; i++)
		buf[i] = (*at)++;
	for (i = 0; i < nr; i += (unsigned)r) {
		r = upcall_send(e->fd, buf + i, nr - i, 0);
		CHECK(r > 0 || r == -ETIMEDOUT);
		if (r < 0) {
			atomic_fetch_add(&late, 1);
			upcall_io_deadline(UPCALL_FOREVER);
			r = 0;
		}
	}
}

static int recv_all(struct end *e, unsigned char *at, unsigned nr)
{
	unsigned char buf[700];
	unsigned i = 0, k;
	ssize_t r;

	while (i < nr) {
		if (!(next_random(&e->seed) % 8))
			upcall_io_deadline(upcall_now_ns() + next_random(&e->seed) % 200000);
		r = upcall_recv(e->fd, buf, nr - i, next_random(&e->seed) % 2 ? MSG_WAITALL : 0);
		upcall_io_deadline(UPCALL_FOREVER);
		if (r == -ETIMEDOUT) {
			atomic_fetch_add(&late, 1);
			continue;
		}
		CHECK(r >= 0);
		if (!r)
			return 0;
		for (k = 0; k < r; k++)
			CHECK_INT(buf[k], (*at)++);
		i += (unsigned)r;
	}
	atomic_fetch_add(&passed, nr);
	return 1;
}

static void *talks(void *arg)
{
	struct end *e = arg;
	unsigned char out = 0, in = 0;
	unsigned nr;

	while (!atomic_load(&stop)) {
		nr = 1 + (unsigned)next_random(&e->seed) % 600;
		CHECK_INT(upcall_send(e->fd, &nr, sizeof(nr), 0), sizeof(nr));
		send_all(e, &out, nr);
		CHECK_INT(recv_all(e, &in, nr), 1);
	}
	nr = 0;
	CHECK_INT(upcall_send(e->fd, &nr, sizeof(nr), 0), sizeof(nr));
	return NULL;
}

static void *answers(void *arg)
{
	struct end *e = arg;
	unsigned char out = 0, in = 0;
	unsigned nr;

	for (;;) {
		CHECK_INT(upcall_recv(e->fd, &nr, sizeof(nr), MSG_WAITALL), sizeof(nr));
		if (!nr)
			return NULL;
		CHECK_INT(recv_all(e, &in, nr), 1);
		send_all(e, &out, nr);
	}
}

/* Computes for a while, and then waits for what is closed under its hands, by number given out anew. */
static void *closes(void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg;
	struct pollfd p = { .events = POLLIN };
	int fd[2];
	char c;

	while (!atomic_load(&stop)) {
		rt_spin_ns(next_random(&seed) % 500000);
		CHECK_INT(pipe(fd), 0);
		upcall_io_deadline(upcall_now_ns() + next_random(&seed) % 300000);
		CHECK_INT(upcall_read(fd[0], &c, 1), -ETIMEDOUT);
		p.fd = fd[0];
		CHECK_INT(upcall_poll(&p, 1, 50000), 0);
		upcall_io_deadline(UPCALL_FOREVER);
		CHECK_INT(upcall_write(fd[1], "x", 1), 1);
		CHECK_INT(upcall_read(fd[0], &c, 1), 1);
		if (next_random(&seed) % 2) {
			upcall_close(fd[0]);
			upcall_close(fd[1]);
		} else {
			close(fd[1]);
			close(fd[0]);
		}
	}
	return NULL;
}

/* 2-1-2 vcores, and cores taken. */
static void disturb(unsigned vcores)
{
	uint64_t until = upcall_now_ns() + seconds * 1000 * MS, seed = 5;

	while (upcall_now_ns() < until) {
		upcall_sleep_ns(next_random(&seed) % (20 * MS));
		if (next_random(&seed) % 2)
			upcall_request(1 + (unsigned)next_random(&seed) % vcores, 0);
		else
			upcall_preempt((int)(next_random(&seed) % vcores), 100000);
	}
	upcall_request(vcores, 0);
	atomic_store(&stop, 1);
}

static int storm(unsigned vcores)
{
	struct upcall_uthread *u[2 * PAIRS + 3];
	struct end e[2 * PAIRS];
	int fd[2], i;

	if (up_inject_count())
		up_inject_set_hook(delay, NULL);
	rt_start(vcores);
	for (i = 0; i < 2 * PAIRS; i += 2) {
		CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
		e[i] = (struct end){ fd[0], (uint64_t)i + 1 };
		e[i + 1] = (struct end){ fd[1], (uint64_t)i + 2 };
		u[i] = rt_make(talks, &e[i]);
		u[i + 1] = rt_make(answers, &e[i + 1]);
	}
	for (i = 0; i < 3; i++)
		u[2 * PAIRS + i] = rt_make(closes, (void *)(uintptr_t)(i + 1));
	disturb(vcores);
	for (i = 0; i < 2 * PAIRS + 3; i++)
		rt_join(u[i]);
	printf("# %llu bytes, %llu late, %llu delays\n", (unsigned long long)atomic_load(&passed),
	       (unsigned long long)atomic_load(&late), (unsigned long long)atomic_load(&delays));
	CHECK(atomic_load(&passed) > 100000);
	CHECK(atomic_load(&late) > 10);
	rt_stop();
	return 0;
}

static int storm_1(void)
{
	return storm(1);
}

static int storm_2(void)
{
	return storm(2);
}

static const struct apart cases[] = {
	CASE("1 vcore", storm_1),
	CASE("2 vcores", storm_2),
};

int main(int argc, char **argv)
{
	if (argc > 1)
		seconds = (unsigned)atoi(argv[1]);
	apart_seconds += seconds;
	return apart_main(cases, sizeof(cases) / sizeof(cases[0]), 1, argv);
}
