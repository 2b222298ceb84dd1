/* SPDX-License-Identifier: MIT */
/*
 * Input and output: a byte that goes back and forth between two uthreads, beside two kernel threads;
 * random reads from a disk, beside io_uring as it is; and what it costs to be told that a descriptor
 * is ready, by each way that Linux offers: why readiness is epoll's here (ARCHITECTURE.md).
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <upcall/upcall.h>

#include "bench.h"

#define WARM   2000u
#define ROUNDS 10000u
#define TURNS  9u

static int pair[2];

static int make_pair(void)
{
	return socketpair(AF_UNIX, SOCK_STREAM, 0, pair) ? -errno : 0;
}

/* ---- back and forth ---- */

static void *answer_uthread(void *arg)
{
	unsigned i;
	char c;

	for (i = 0; i < WARM + ROUNDS; i++)
		if (upcall_recv(pair[0], &c, 1, 0) != 1 || upcall_send(pair[0], &c, 1, 0) != 1)
			abort();
	return NULL;
}

static int ping_uthreads(double *samples, unsigned vcores)
{
	struct upcall_opts o = { .size = sizeof(o), .vcores = vcores };
	struct upcall_uthread *u;
	double from = 0;
	unsigned i;
	char c = 0;
	int r = make_pair();

	if (!r)
		r = upcall_start(&o);
	if (!r)
		r = upcall_uthread_create(&u, NULL, answer_uthread, NULL);
	for (i = 0; i < WARM + ROUNDS && !r; i++) {
		if (i == WARM)
			from = bench_now_ns();
		if (upcall_send(pair[1], &c, 1, 0) != 1 || upcall_recv(pair[1], &c, 1, 0) != 1)
			r = -EIO;
	}
	samples[0] = (bench_now_ns() - from) / ROUNDS;
	if (!r)
		upcall_uthread_join(u, NULL);
	return r ? r : 1;
}

static int ping_uthreads_1(double *samples, unsigned room)
{
	return ping_uthreads(samples, 1);
}

static int ping_uthreads_2(double *samples, unsigned room)
{
	return ping_uthreads(samples, 2);
}

static unsigned answers_on;

static void *answer_thread(void *arg)
{
	unsigned i;
	char c;

	bench_pin(answers_on, 1);
	for (i = 0; i < WARM + ROUNDS; i++)
		if (read(pair[0], &c, 1) != 1 || write(pair[0], &c, 1) != 1)
			abort();
	return NULL;
}

static int ping_threads(double *samples, unsigned other)
{
	pthread_t t;
	double from = 0;
	unsigned i;
	char c = 0;
	int r = make_pair();

	answers_on = other;
	bench_pin(0, 1);
	if (!r)
		r = -pthread_create(&t, NULL, answer_thread, NULL);
	for (i = 0; i < WARM + ROUNDS && !r; i++) {
		if (i == WARM)
			from = bench_now_ns();
		if (write(pair[1], &c, 1) != 1 || read(pair[1], &c, 1) != 1)
			r = -EIO;
	}
	samples[0] = (bench_now_ns() - from) / ROUNDS;
	if (!r)
		pthread_join(t, NULL);
	return r ? r : 1;
}

static int ping_threads_same(double *samples, unsigned room)
{
	return ping_threads(samples, 0);
}

static int ping_threads_apart(double *samples, unsigned room)
{
	return ping_threads(samples, 1);
}

/* ---- being told ---- */

#define TOLD 50000u

/* A byte comes and is read: what all of them do besides. */
static int pass_byte(void)
{
	char c = 0;

	return write(pair[1], &c, 1) == 1 && read(pair[0], &c, 1) == 1 ? 0 : -EIO;
}

static int tell_nobody(double *samples, unsigned room)
{
	double from;
	unsigned i;
	int r = make_pair();

	from = bench_now_ns();
	for (i = 0; i < TOLD && !r; i++)
		r = pass_byte();
	samples[0] = (bench_now_ns() - from) / TOLD;
	return r ? r : 1;
}

/* As src/io does it, with a batch of one: asked for, told of, read. */
static int tell_epoll(double *samples, unsigned room)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLONESHOT }, told;
	int ep = epoll_create1(0), r = make_pair();
	double from;
	unsigned i;
	char c = 0;

	if (!r && epoll_ctl(ep, EPOLL_CTL_ADD, pair[0], &ev))
		r = -errno;
	from = bench_now_ns();
	for (i = 0; i < TOLD && !r; i++)
		if (epoll_ctl(ep, EPOLL_CTL_MOD, pair[0], &ev) || write(pair[1], &c, 1) != 1 ||
		    epoll_wait(ep, &told, 1, 0) != 1 || read(pair[0], &c, 1) != 1)
			r = -EIO;
	samples[0] = (bench_now_ns() - from) / TOLD;
	return r ? r : 1;
}

/* The completion comes with any return from Linux, so the write brings it, as a rule. */
static int reap(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	int r;

	while (io_uring_peek_cqe(ring, &cqe))
		syscall(SYS_getppid);
	r = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return r;
}

static int tell_ring(double *samples, bool recv_too)
{
	struct io_uring ring;
	struct io_uring_sqe *sqe;
	int r = make_pair();
	double from;
	unsigned i;
	char c = 0;

	if (!r)
		r = io_uring_queue_init(64, &ring, 0);
	from = bench_now_ns();
	for (i = 0; i < TOLD && !r; i++) {
		sqe = io_uring_get_sqe(&ring);
		if (recv_too)
			io_uring_prep_recv(sqe, pair[0], &c, 1, 0);
		else
			io_uring_prep_poll_add(sqe, pair[0], POLLIN);
		if (io_uring_submit(&ring) != 1 || write(pair[1], &c, 1) != 1 || reap(&ring) < 1 ||
		    (!recv_too && read(pair[0], &c, 1) != 1))
			r = -EIO;
	}
	samples[0] = (bench_now_ns() - from) / TOLD;
	return r ? r : 1;
}

static int tell_ring_poll(double *samples, unsigned room)
{
	return tell_ring(samples, false);
}

static int tell_ring_recv(double *samples, unsigned room)
{
	return tell_ring(samples, true);
}

static int tell_ring_multishot(double *samples, unsigned room)
{
	struct io_uring ring;
	int r = make_pair();
	double from;
	unsigned i;
	char c = 0;

	if (!r)
		r = io_uring_queue_init(64, &ring, 0);
	if (!r) {
		io_uring_prep_poll_multishot(io_uring_get_sqe(&ring), pair[0], POLLIN);
		r = io_uring_submit(&ring) == 1 ? 0 : -EIO;
	}
	from = bench_now_ns();
	for (i = 0; i < TOLD && !r; i++)
		if (write(pair[1], &c, 1) != 1 || reap(&ring) < 1 || read(pair[0], &c, 1) != 1)
			r = -EIO;
	samples[0] = (bench_now_ns() - from) / TOLD;
	return r ? r : 1;
}

/* ---- reading at random ---- */

#define DEPTH	256u
#define READS	(DEPTH * 64u)
#define READ_SZ 4096u
#define FILE_SZ (256u << 20)

static const char *file_name;

/* The same places for all. */
static uint64_t place_of(unsigned n)
{
	return (n * 2654435761u % (FILE_SZ / READ_SZ)) * (uint64_t)READ_SZ;
}

static int open_direct(void)
{
	int fd = open(file_name, O_RDONLY | O_DIRECT);

	return fd < 0 ? -errno : fd;
}

static int disk_fd;
static unsigned next_read; /* atomic */

static void *read_places(void *arg)
{
	unsigned n;

	while ((n = __atomic_fetch_add(&next_read, 1, __ATOMIC_RELAXED)) < READS)
		if (upcall_pread(disk_fd, arg, READ_SZ, (off_t)place_of(n)) != READ_SZ)
			abort();
	return NULL;
}

static int disk_uthreads(double *samples, unsigned room)
{
	struct upcall_opts o = { .size = sizeof(o), .vcores = 2 };
	struct upcall_uthread *u[DEPTH];
	char *buf = aligned_alloc(4096, (size_t)DEPTH * READ_SZ);
	double from;
	unsigned i;
	int r;

	disk_fd = open_direct();
	r = disk_fd < 0 ? disk_fd : upcall_start(&o);
	if (r)
		return r;
	from = bench_now_ns();
	for (i = 0; i < DEPTH; i++)
		if (upcall_uthread_create(&u[i], NULL, read_places, buf + (size_t)i * READ_SZ))
			abort();
	for (i = 0; i < DEPTH; i++)
		upcall_uthread_join(u[i], NULL);
	samples[0] = READS / (bench_now_ns() - from) * 1e9;
	return 1;
}

static int disk_ring(double *samples, unsigned room)
{
	char *buf = aligned_alloc(4096, (size_t)DEPTH * READ_SZ);
	int fd = open_direct(), r = fd < 0 ? fd : 0;
	unsigned sent = 0, done = 0, slot;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	double from;

	if (!r)
		r = io_uring_queue_init(DEPTH, &ring, 0);
	from = bench_now_ns();
	while (!r && done < READS) {
		while (sent < READS && sent - done < DEPTH) {
			sqe = io_uring_get_sqe(&ring);
			/* Completed out of order, a buffer may be read into twice: nobody looks. */
			slot = sent % DEPTH;
			io_uring_prep_read(sqe, fd, buf + (size_t)slot * READ_SZ, READ_SZ,
					   place_of(sent++));
		}
		r = io_uring_submit_and_wait(&ring, 1);
		r = r < 0 ? r : 0;
		while (!r && !io_uring_peek_cqe(&ring, &cqe)) {
			r = cqe->res == READ_SZ ? 0 : -EIO;
			io_uring_cqe_seen(&ring, cqe);
			done++;
		}
	}
	samples[0] = READS / (bench_now_ns() - from) * 1e9;
	return r ? r : 1;
}

static int make_file(void)
{
	static char name[] = "/var/tmp/upcall-bench-io-XXXXXX", buf[1 << 20];
	int fd = mkstemp(name);
	size_t i;

	if (fd < 0)
		return -errno;
	file_name = name;
	for (i = 0; i < sizeof(buf); i++)
		buf[i] = (char)i;
	for (i = 0; i < FILE_SZ / sizeof(buf); i++)
		if (write(fd, buf, sizeof(buf)) != sizeof(buf))
			return -EIO;
	fsync(fd);
	close(fd);
	return 0;
}

static struct bench_row rows[] = {
	{ "ping_pong",
	  "ns",
	  1,
	  "a byte there and back, one core",
	  { { .name = "upcall", .turn = ping_uthreads_1 },
	    { .name = "threads", .turn = ping_threads_same } },
	  .bound = 1.1 },
	{ "ping_pong",
	  "ns",
	  2,
	  "the same, two cores",
	  { { .name = "upcall", .turn = ping_uthreads_2 },
	    { .name = "threads", .turn = ping_threads_apart } },
	  .bound = 1.0 },
	{ "random_read",
	  "1/s",
	  2,
	  "4 KiB, O_DIRECT, 256 at a time",
	  { { .name = "upcall", .turn = disk_uthreads },
	    { .name = "io_uring", .turn = disk_ring } },
	  .bound = 0.9,
	  .at_least = true },
	{ "told",
	  "ns",
	  1,
	  "a byte comes, one is told of it, and reads it",
	  { { .name = "epoll", .turn = tell_epoll },
	    { .name = "ring_poll", .turn = tell_ring_poll },
	    { .name = "ring_recv", .turn = tell_ring_recv },
	    { .name = "ring_multishot", .turn = tell_ring_multishot },
	    { .name = "nobody", .turn = tell_nobody } },
	  .bound = 0 },
};

int main(int argc, char **argv)
{
	int r = make_file();

	if (r < 0)
		fprintf(stderr, "io: no file to read from in /var/tmp: %s\n", strerror(-r));
	r = bench_main(argc, argv, rows, sizeof(rows) / sizeof(rows[0]), TURNS);
	if (file_name)
		unlink(file_name);
	return r;
}
