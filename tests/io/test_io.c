/* SPDX-License-Identifier: MIT */
/*
 * Descriptors as a program uses them: what the calls return, that a uthread that waits keeps neither a
 * vcore nor a kernel thread, deadlines, cancellation, several on one descriptor, descriptors that go.
 */
#include "../user/rt.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

static void make_pair(int *fd)
{
	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
}

/* ---- one waits, the other goes on ---- */

#define ROUNDS 2000

struct pinger {
	int in, out;
	unsigned rounds;
};

static void *echo_bytes(void *arg)
{
	struct pinger *p = arg;
	unsigned i;
	char c;

	for (i = 0; i < p->rounds; i++) {
		CHECK_INT(upcall_read(p->in, &c, 1), 1);
		CHECK_INT(upcall_write(p->out, &c, 1), 1);
	}
	return NULL;
}

static int ping_pong(unsigned vcores, bool pipes)
{
	int a[2], b[2];
	struct pinger there;
	struct upcall_uthread *u;
	uint64_t before;
	unsigned i;
	char c;

	if (pipes) {
		CHECK_INT(pipe(a), 0);
		CHECK_INT(pipe(b), 0);
		there = (struct pinger){ a[0], b[1], ROUNDS };
	} else {
		make_pair(a);
		b[0] = a[1];
		there = (struct pinger){ a[0], a[0], ROUNDS };
	}
	rt_start(vcores);
	before = rt_blocks();
	u = rt_make(echo_bytes, &there);
	for (i = 0; i < ROUNDS; i++) {
		c = (char)i;
		CHECK_INT(upcall_write(a[1], &c, 1), 1);
		CHECK_INT(upcall_read(b[0], &c, 1), 1);
		CHECK_INT(c, (char)i);
	}
	rt_join(u);
	/* Making the listener may block; waiting has not. */
	CHECK(rt_blocks() - before < 50);
	rt_stop();
	return 0;
}

static int sockets_one_vcore(void)
{
	return ping_pong(1, false);
}

static int sockets_two_vcores(void)
{
	return ping_pong(2, false);
}

static int pipes_one_vcore(void)
{
	return ping_pong(1, true);
}

static int pipes_two_vcores(void)
{
	return ping_pong(2, true);
}

static atomic_int sum;

static void *read_one(void *arg)
{
	char c = 0;

	CHECK_INT(upcall_read((int)(intptr_t)arg, &c, 1), 1);
	atomic_fetch_add(&sum, c);
	return NULL;
}

/* They keep no kernel threads: there would not be as many. */
static int many_wait(void)
{
	enum {
		NR = 400
	};
	struct upcall_uthread *u[NR];
	int fd[NR][2], i;
	char one = 1;

	rt_start(2);
	for (i = 0; i < NR; i++) {
		make_pair(fd[i]);
		u[i] = rt_make(read_one, (void *)(intptr_t)fd[i][0]);
	}
	upcall_sleep_ns(20 * MS);
	CHECK(rt_stats().activations < 30);
	for (i = 0; i < NR; i++)
		CHECK_INT(write(fd[i][1], &one, 1), 1);
	for (i = 0; i < NR; i++)
		rt_join(u[i]);
	CHECK_INT(atomic_load(&sum), NR);
	rt_stop();
	return 0;
}

/* A vcore that computes and never looks: the listener does. */
static atomic_int computing;

static void *compute(void *arg)
{
	while (atomic_load(&computing))
		;
	return NULL;
}

static int beside_hogs(void)
{
	struct upcall_uthread *u[2], *reader[3];
	int fd[3][2], i;
	char one = 1;

	rt_start(2);
	for (i = 0; i < 3; i++) {
		make_pair(fd[i]);
		reader[i] = rt_make(read_one, (void *)(intptr_t)fd[i][0]);
	}
	upcall_sleep_ns(5 * MS);
	atomic_store(&computing, 1);
	for (i = 0; i < 2; i++)
		u[i] = rt_make(compute, NULL);
	for (i = 0; i < 3; i++) {
		upcall_sleep_ns(20 * MS);
		CHECK_INT(write(fd[i][1], &one, 1), 1);
		rt_join(reader[i]);
		CHECK_INT(atomic_load(&sum), i + 1);
	}
	atomic_store(&computing, 0);
	for (i = 0; i < 2; i++)
		rt_join(u[i]);
	rt_stop();
	return 0;
}

/* ---- several on one descriptor ---- */

static int several_readers(void)
{
	enum {
		NR = 8
	};
	struct upcall_uthread *u[NR];
	int fd[2], i;
	char one = 1;

	rt_start(2);
	CHECK_INT(pipe(fd), 0);
	for (i = 0; i < NR; i++)
		u[i] = rt_make(read_one, (void *)(intptr_t)fd[0]);
	upcall_sleep_ns(5 * MS);
	/* All at once: each is to be told of what the one before has left. */
	CHECK_INT(write(fd[1], "\1\1\1\1\1\1\1", NR - 1), NR - 1);
	upcall_sleep_ns(5 * MS);
	CHECK_INT(write(fd[1], &one, 1), 1);
	for (i = 0; i < NR; i++)
		rt_join(u[i]);
	CHECK_INT(atomic_load(&sum), NR);
	rt_stop();
	return 0;
}

/* In pieces, of which some are empty, more than the socket holds. */
static void *write_pieces(void *arg)
{
	static char buf[1 << 18];
	struct iovec v[6] = { { buf, 0 }, { buf, 1 << 18 }, { buf, 1 << 18 },
			      { buf, 0 }, { buf, 1 << 18 }, { buf, 1 << 18 } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 6 };

	memset(buf, 7, sizeof(buf));
	CHECK_INT(upcall_sendmsg((int)(intptr_t)arg, &m, 0), 1 << 20);
	return NULL;
}

static void *write_much(void *arg)
{
	static char buf[1 << 20];

	memset(buf, 7, sizeof(buf));
	CHECK_INT(upcall_send((int)(intptr_t)arg, buf, sizeof(buf), 0), (int)sizeof(buf));
	return NULL;
}

/* Both directions of one socket, by two uthreads; more than the socket holds. */
static int both_ways_by(void *(*fn)(void *))
{
	struct upcall_uthread *out, *in;
	static char buf[1 << 16];
	size_t got = 0;
	int fd[2];
	ssize_t r;
	char c = 5;

	rt_start(1);
	make_pair(fd);
	in = rt_make(read_one, (void *)(intptr_t)fd[0]);
	out = rt_make(fn, (void *)(intptr_t)fd[0]);
	upcall_yield();
	upcall_sleep_ns(2 * MS);
	while (got < 1 << 20) {
		r = upcall_recv(fd[1], buf, sizeof(buf), 0);
		CHECK(r > 0);
		got += (size_t)r;
	}
	rt_join(out);
	CHECK_INT(upcall_write(fd[1], &c, 1), 1);
	rt_join(in);
	CHECK_INT(atomic_load(&sum), 5);
	rt_stop();
	return 0;
}

static int both_ways(void)
{
	return both_ways_by(write_much);
}

static int in_pieces(void)
{
	return both_ways_by(write_pieces);
}

/* ---- the ends of waits ---- */

static int deadlines(void)
{
	uint64_t from;
	int fd[2];
	char c[4];

	rt_start(1);
	make_pair(fd);
	CHECK(upcall_io_deadline(upcall_now_ns() + 10 * MS) == UPCALL_FOREVER);
	from = upcall_now_ns();
	CHECK_INT(upcall_read(fd[0], c, 1), -ETIMEDOUT);
	CHECK(upcall_now_ns() - from >= 9 * MS);
	/* What is there is not taken any more either; it stays. */
	CHECK_INT(write(fd[1], "abcd", 4), 4);
	CHECK_INT(upcall_recv(fd[0], c, 1, 0), -ETIMEDOUT);
	upcall_io_deadline(upcall_now_ns() + 10 * MS);
	/* A part of what was asked for is told, and the rest is not lost. */
	CHECK_INT(upcall_recv(fd[0], c, 3, MSG_WAITALL), 3);
	CHECK_INT(upcall_recv(fd[0], c, 3, MSG_WAITALL), 1);
	CHECK_INT(c[0], 'd');
	upcall_io_deadline(UPCALL_FOREVER);
	CHECK_INT(write(fd[1], "e", 1), 1);
	CHECK_INT(upcall_read(fd[0], c, 4), 1);
	rt_stop();
	return 0;
}

static atomic_int started;

static void *read_for_ever(void *arg)
{
	char c;

	atomic_store(&started, 1);
	upcall_read((int)(intptr_t)arg, &c, 1);
	CHECK(false);
	return NULL;
}

static int cancelled(void)
{
	struct upcall_uthread *u;
	void *value = NULL;
	int fd[2];
	char c;

	rt_start(2);
	make_pair(fd);
	u = rt_make(read_for_ever, (void *)(intptr_t)fd[0]);
	AWAIT(atomic_load(&started), upcall_yield());
	upcall_sleep_ns(2 * MS);
	CHECK_INT(upcall_uthread_cancel(u), 0);
	CHECK_INT(upcall_uthread_join(u, &value), 0);
	CHECK(value == UPCALL_CANCELED);
	/* The next one is not in its way. */
	CHECK_INT(write(fd[1], "x", 1), 1);
	CHECK_INT(upcall_read(fd[0], &c, 1), 1);
	rt_stop();
	return 0;
}

static void *read_closed(void *arg)
{
	char c;

	atomic_store(&started, 1);
	CHECK_INT(upcall_read((int)(intptr_t)arg, &c, 1), -EBADF);
	return NULL;
}

/* Closed by our call: who waits hears of it.  By another: who waits next for what has the number by then
 * is told of that. */
static int closed(void)
{
	struct upcall_uthread *u;
	int fd[2], other[2], lower[8], i;

	for (i = 0; i < 8; i++)
		lower[i] = dup(0);
	rt_start(2);
	make_pair(fd);
	/* What the runtime opens meanwhile is not to get the number: there are lower ones. */
	upcall_io_deadline(upcall_now_ns() + 2 * MS);
	CHECK_INT(upcall_read(fd[0], other, 1), -ETIMEDOUT);
	upcall_io_deadline(UPCALL_FOREVER);
	u = rt_make(read_closed, (void *)(intptr_t)fd[0]);
	AWAIT(atomic_load(&started), upcall_yield());
	upcall_sleep_ns(20 * MS);
	for (i = 0; i < 8; i++)
		close(lower[i]);
	CHECK_INT(upcall_close(fd[0]), 0);
	rt_join(u);
	CHECK_INT(upcall_close(fd[0]), -EBADF);

	make_pair(other);
	upcall_io_deadline(upcall_now_ns() + 2 * MS);
	CHECK_INT(upcall_read(other[0], fd, 1), -ETIMEDOUT);
	upcall_io_deadline(UPCALL_FOREVER);
	close(other[1]);
	CHECK_INT(dup2(fd[1], other[0]), other[0]);
	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	CHECK_INT(dup2(fd[0], other[0]), other[0]);
	u = rt_make(read_one, (void *)(intptr_t)other[0]);
	upcall_sleep_ns(2 * MS);
	CHECK_INT(write(fd[1], "\3", 1), 1);
	rt_join(u);
	CHECK_INT(atomic_load(&sum), 3);
	rt_stop();
	return 0;
}

/* ---- what the program has said ---- */

static int nonblocking_stays(void)
{
	int fd[2];
	char c;

	rt_start(1);
	make_pair(fd);
	CHECK_INT(fcntl(fd[0], F_SETFL, fcntl(fd[0], F_GETFL) | O_NONBLOCK), 0);
	CHECK_INT(upcall_read(fd[0], &c, 1), -EAGAIN);
	CHECK_INT(upcall_recv(fd[0], &c, 1, 0), -EAGAIN);
	CHECK_INT(upcall_recv(fd[1], &c, 1, MSG_DONTWAIT), -EAGAIN);
	CHECK(!(fcntl(fd[1], F_GETFL) & O_NONBLOCK));
	rt_stop();
	return 0;
}

static int errors_come_back(void)
{
	struct pollfd p = { .fd = -1, .events = POLLIN };
	int fd[2];
	char c;

	rt_start(1);
	make_pair(fd);
	errno = 77;
	CHECK_INT(upcall_read(-1, &c, 1), -EBADF);
	CHECK_INT(upcall_read(100000, &c, 1), -EBADF);
	CHECK_INT(upcall_write(-1, &c, 1), -EBADF);
	CHECK_INT(upcall_recv(-1, &c, 1, 0), -EBADF);
	CHECK_INT(upcall_send(-1, &c, 1, 0), -EBADF);
	CHECK_INT(upcall_accept4(-1, NULL, NULL, 0), -EBADF);
	CHECK_INT(upcall_connect(-1, NULL, 0), -EBADF);
	CHECK_INT(upcall_splice(-1, NULL, fd[0], NULL, 1, 0), -EBADF);
	CHECK_INT(upcall_sendfile(fd[0], -1, NULL, 1), -EBADF);
	CHECK_INT(upcall_close(-1), -EBADF);
	CHECK_INT(upcall_pread(fd[0], &c, 1, -1), -EINVAL);
	CHECK_INT(upcall_pread(fd[0], &c, 1, 0), -ESPIPE);
	CHECK_INT(write(fd[1], "x", 1), 1);
	CHECK_INT(upcall_read(fd[0], (void *)8, 1), -EFAULT);
	CHECK_INT(upcall_write(fd[0], (void *)8, 1), -EFAULT);
	CHECK_INT(upcall_recv(fd[0], (void *)8, 1, 0), -EFAULT);
	CHECK_INT(upcall_send(fd[0], (void *)8, 1, 0), -EFAULT);
	CHECK_INT(upcall_readv(fd[0], (void *)8, 1), -EFAULT);
	CHECK_INT(upcall_writev(fd[0], (void *)8, 1), -EFAULT);
	CHECK_INT(upcall_recvmsg(fd[0], (void *)8, 0), -EFAULT);
	CHECK_INT(upcall_sendmsg(fd[0], (void *)8, 0), -EFAULT);
	CHECK_INT(upcall_poll((void *)8, 1, 0), -EFAULT);
	CHECK_INT(upcall_poll(&p, 1, 2 * MS), 0);
	CHECK_INT(errno, 77);
	rt_stop();
	return 0;
}

/* ---- the other calls ---- */

static void *serve(void *arg)
{
	int fd = upcall_accept4((int)(intptr_t)arg, NULL, NULL, SOCK_CLOEXEC);
	char buf[16];
	ssize_t r;

	CHECK(fd >= 0);
	while ((r = upcall_recv(fd, buf, sizeof(buf), 0)) > 0)
		CHECK_INT(upcall_send(fd, buf, (size_t)r, 0), r);
	CHECK_INT(r, 0);
	CHECK_INT(upcall_close(fd), 0);
	return NULL;
}

static int tcp(void)
{
	enum {
		NR = 20
	};
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t at_sz = sizeof(at);
	struct upcall_uthread *u[NR];
	int fd, c, i;
	char buf[16];

	rt_start(2);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	CHECK_INT(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	CHECK_INT(listen(fd, NR), 0);
	CHECK_INT(getsockname(fd, (struct sockaddr *)&at, &at_sz), 0);
	for (i = 0; i < NR; i++)
		u[i] = rt_make(serve, (void *)(intptr_t)fd);
	for (i = 0; i < NR; i++) {
		c = socket(AF_INET, SOCK_STREAM, 0);
		CHECK_INT(upcall_connect(c, (struct sockaddr *)&at, at_sz), 0);
		CHECK(!(fcntl(c, F_GETFL) & O_NONBLOCK));
		CHECK_INT(upcall_send(c, "hello", 5, 0), 5);
		CHECK_INT(upcall_recv(c, buf, 5, MSG_WAITALL), 5);
		CHECK_INT(upcall_close(c), 0);
	}
	for (i = 0; i < NR; i++)
		rt_join(u[i]);
	CHECK_INT(upcall_close(fd), 0);
	c = socket(AF_INET, SOCK_STREAM, 0);
	CHECK_INT(upcall_connect(c, (struct sockaddr *)&at, at_sz), -ECONNREFUSED);
	rt_stop();
	return 0;
}

static void *write_later(void *arg)
{
	upcall_sleep_ns(5 * MS);
	CHECK_INT(upcall_write((int)(intptr_t)arg, "x", 1), 1);
	return NULL;
}

static int poll_several(void)
{
	struct upcall_uthread *u;
	struct pollfd p[20];
	int fd[20][2], i;
	char c;

	rt_start(2);
	for (i = 0; i < 20; i++) {
		make_pair(fd[i]);
		p[i] = (struct pollfd){ .fd = fd[i][0], .events = POLLIN };
	}
	CHECK_INT(upcall_poll(p, 20, 0), 0);
	CHECK_INT(upcall_poll(p, 3, 3 * MS), 0);
	for (i = 0; i < 20; i++) {
		u = rt_make(write_later, (void *)(intptr_t)fd[i][1]);
		CHECK_INT(upcall_poll(p, 20, -1), 1);
		CHECK_INT(p[i].revents, POLLIN);
		CHECK_INT(upcall_read(fd[i][0], &c, 1), 1);
		rt_join(u);
	}
	p[0].events = POLLIN | POLLOUT;
	CHECK_INT(upcall_poll(p, 20, -1), 1);
	CHECK_INT(p[0].revents, POLLOUT);
	close(fd[1][1]);
	p[0].events = 0;
	CHECK_INT(upcall_poll(p, 2, -1), 1);
	CHECK_INT(p[1].revents, POLLIN | POLLHUP);
	rt_stop();
	return 0;
}

static void *copy(void *arg)
{
	int *fd = arg, pipes[2];
	ssize_t r;

	CHECK_INT(pipe(pipes), 0);
	while ((r = upcall_splice(fd[0], NULL, pipes[1], NULL, 65536, 0)) > 0)
		while (r > 0) {
			ssize_t w = upcall_splice(pipes[0], NULL, fd[1], NULL, (size_t)r, 0);

			CHECK(w > 0);
			r -= w;
		}
	CHECK_INT(r, 0);
	return NULL;
}

/* A file to a socket by sendfile(), from there to another by splice(), more than either holds. */
static int moved(void)
{
	enum {
		SZ = 3 << 20
	};
	char name[] = "/tmp/upcall-io-XXXXXX";
	int a[2], b[2], file = mkstemp(name), fd[2];
	struct upcall_uthread *u[2];
	static unsigned char buf[SZ], got[SZ];
	size_t i;

	CHECK(file >= 0);
	unlink(name);
	for (i = 0; i < SZ; i++)
		buf[i] = (unsigned char)(i * 7 >> 3);
	rt_start(2);
	CHECK_INT(upcall_write(file, buf, SZ), SZ);
	CHECK_INT(upcall_pread(file, got, SZ, 0), SZ);
	CHECK(!memcmp(buf, got, SZ));
	CHECK_INT(upcall_pread(file, got, 100, SZ - 10), 10);
	make_pair(a);
	make_pair(b);
	fd[0] = a[1];
	fd[1] = b[0];
	u[0] = rt_make(copy, fd);
	for (i = 0; i < SZ; i++)
		got[i] = 0;
	CHECK_INT(lseek(file, 0, SEEK_SET), 0);
	{
		off_t off = 0;
		pid_t pid = fork();

		if (!pid) { /* reads it all, as another process */
			for (i = 0; i < SZ;) {
				ssize_t r = read(b[1], got + i, SZ - i);

				if (r <= 0)
					_exit(2);
				i += (size_t)r;
			}
			_exit(memcmp(buf, got, SZ) != 0);
		}
		CHECK_INT(upcall_sendfile(a[0], file, &off, SZ), SZ);
		CHECK_INT(off, SZ);
		shutdown(a[0], SHUT_WR);
		rt_join(u[0]);
		{
			int status = -1;

			CHECK_INT(waitpid(pid, &status, 0), pid);
			CHECK_INT(status, 0);
		}
	}
	CHECK(!(fcntl(a[0], F_GETFL) & O_NONBLOCK));
	CHECK(!(fcntl(b[0], F_GETFL) & O_NONBLOCK));
	rt_stop();
	return 0;
}

/* Two that move bytes on the same sockets, for which those are non-blocking in turns. */
static int moved_both_ways(void)
{
	enum {
		NR = 3000
	};
	struct upcall_uthread *u[2];
	int a[2], b[2], to[2], from[2], i;
	char out[8] = "request", in[8];

	make_pair(a);
	make_pair(b);
	to[0] = from[1] = a[1];
	to[1] = from[0] = b[0];
	rt_start(2);
	u[0] = rt_make(copy, to);
	u[1] = rt_make(copy, from);
	for (i = 0; i < NR; i++) {
		CHECK_INT(upcall_send(a[0], out, 8, 0), 8);
		CHECK_INT(upcall_send(b[1], out, 8, 0), 8);
		CHECK_INT(upcall_recv(b[1], in, 8, MSG_WAITALL), 8);
		CHECK_INT(upcall_recv(a[0], in, 8, MSG_WAITALL), 8);
	}
	shutdown(a[0], SHUT_WR);
	shutdown(b[1], SHUT_WR);
	rt_join(u[0]);
	rt_join(u[1]);
	CHECK(!(fcntl(a[1], F_GETFL) & O_NONBLOCK));
	CHECK(!(fcntl(b[0], F_GETFL) & O_NONBLOCK));
	rt_stop();
	return 0;
}

/* ---- files ---- */

static int file_fd;

static void *read_file(void *arg)
{
	size_t at = (size_t)(uintptr_t)arg * 4096;
	unsigned char *buf = aligned_alloc(4096, 4096);
	unsigned i;

	for (i = 0; i < 50; i++) {
		buf[0] = buf[4095] = 0;
		CHECK_INT(upcall_pread(file_fd, buf, 4096, (off_t)at), 4096);
		CHECK_INT(buf[0], (unsigned char)(at / 4096 + 1));
		CHECK_INT(buf[4095], (unsigned char)(at / 4096 + 1));
	}
	free(buf);
	return NULL;
}

/* Past the cache, many at once, and without a kernel thread each. */
static int direct_file(void)
{
	enum {
		NR = 64
	};
	char name[] = "/var/tmp/upcall-io-XXXXXX";
	struct upcall_uthread *u[NR];
	unsigned char buf[4096];
	uint64_t before;
	int i;

	file_fd = mkstemp(name);
	if (file_fd < 0) {
		printf("# SKIP nothing to be made in /var/tmp: %s\n", strerror(errno));
		return 0;
	}
	for (i = 0; i < NR; i++) {
		memset(buf, i + 1, sizeof(buf));
		CHECK_INT(write(file_fd, buf, sizeof(buf)), (int)sizeof(buf));
	}
	close(file_fd);
	file_fd = open(name, O_RDONLY | O_DIRECT);
	unlink(name);
	if (file_fd < 0) {
		printf("# SKIP /var/tmp has no O_DIRECT: %s\n", strerror(errno));
		return 0;
	}
	rt_start(2);
	rt_join(rt_make(read_file, NULL)); /* the listener may come late to the first */
	upcall_sleep_ns(10 * MS);
	before = rt_blocks();
	for (i = 0; i < NR; i++)
		u[i] = rt_make(read_file, (void *)(uintptr_t)i);
	for (i = 0; i < NR; i++)
		rt_join(u[i]);
	printf("# blocks: %lu of %d reads\n", (unsigned long)(rt_blocks() - before), NR * 50);
	CHECK(rt_blocks() - before < NR * 50 / 4);
	rt_stop();
	return 0;
}

/* Names, the disk, children, and what Linux tells as bytes. */
static int other_calls(void)
{
	struct itimerspec soon = { .it_value = { 0, 2000000 } };
	char name[] = "/var/tmp/upcall-io-XXXXXX";
	int fd = mkstemp(name), status = -1;
	struct signalfd_siginfo si;
	struct statx st;
	uint64_t nr;
	sigset_t set;
	pid_t pid;

	if (fd < 0) {
		printf("# SKIP nothing to be made in /var/tmp: %s\n", strerror(errno));
		return 0;
	}
	close(fd);
	rt_start(2);
	fd = upcall_openat(AT_FDCWD, name, O_RDWR | O_CLOEXEC, 0);
	CHECK(fd >= 0);
	CHECK_INT(upcall_openat(AT_FDCWD, "/nowhere/at/all", O_RDONLY, 0), -ENOENT);
	CHECK_INT(upcall_write(fd, "bytes", 5), 5);
	CHECK_INT(upcall_fsync(fd), 0);
	CHECK_INT(upcall_fdatasync(fd), 0);
	CHECK_INT(upcall_fsync(-1), -EBADF);
	CHECK_INT(upcall_statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &st), 0);
	CHECK_INT(st.stx_size, 5);
	CHECK_INT(upcall_statx(fd, (void *)8, 0, STATX_SIZE, &st), -EFAULT);
	CHECK_INT(upcall_close(fd), 0);
	unlink(name);

	fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	CHECK_INT(timerfd_settime(fd, 0, &soon, NULL), 0);
	CHECK_INT(upcall_read(fd, &nr, sizeof(nr)), sizeof(nr));
	CHECK_INT(nr, 1);
	upcall_close(fd);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	CHECK_INT(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	upcall_io_deadline(upcall_now_ns() + 2 * MS);
	CHECK_INT(upcall_read(fd, &si, sizeof(si)), -ETIMEDOUT);
	upcall_io_deadline(UPCALL_FOREVER);
	upcall_close(fd);

	pid = fork();
	if (!pid) {
		usleep(20000);
		_exit(7);
	}
	CHECK_INT(upcall_waitpid(pid, &status, WNOHANG), 0);
	upcall_io_deadline(upcall_now_ns() + 2 * MS);
	CHECK_INT(upcall_waitpid(pid, &status, 0), -ETIMEDOUT);
	upcall_io_deadline(UPCALL_FOREVER);
	CHECK_INT(upcall_waitpid(pid, &status, 0), pid);
	CHECK_INT(WEXITSTATUS(status), 7);
	CHECK_INT(upcall_waitpid(pid, &status, 0), -ECHILD);
	CHECK_INT(upcall_waitpid(-1, &status, 0), -ECHILD);
	rt_stop();
	return 0;
}

/* ---- the runtime around it ---- */

static int again_and_fork(void)
{
	int fd[2], i, status;
	char c;
	pid_t pid;

	for (i = 0; i < 3; i++) {
		make_pair(fd);
		rt_start(2);
		upcall_io_deadline(upcall_now_ns() + 2 * MS);
		CHECK_INT(upcall_read(fd[0], &c, 1), -ETIMEDOUT);
		pid = fork();
		if (!pid) {
			rt_start(1);
			upcall_io_deadline(upcall_now_ns() + 2 * MS);
			CHECK_INT(upcall_read(fd[0], &c, 1), -ETIMEDOUT);
			upcall_io_deadline(UPCALL_FOREVER);
			CHECK_INT(upcall_write(fd[1], "x", 1), 1);
			CHECK_INT(upcall_read(fd[0], &c, 1), 1);
			rt_stop();
			_exit(0);
		}
		CHECK_INT(waitpid(pid, &status, 0), pid);
		CHECK_INT(status, 0);
		rt_stop();
		close(fd[0]);
		close(fd[1]);
	}
	/* Nothing is left open. */
	make_pair(fd);
	CHECK(fd[1] < 8);
	return 0;
}

static const struct apart cases[] = {
	CASE("sockets, 1 vcore", sockets_one_vcore),
	CASE("sockets, 2 vcores", sockets_two_vcores),
	CASE("pipes, 1 vcore", pipes_one_vcore),
	CASE("pipes, 2 vcores", pipes_two_vcores),
	CASE("many wait without a kernel thread each", many_wait),
	CASE("all vcores compute, and who waits is told", beside_hogs),
	CASE("several read from one pipe", several_readers),
	CASE("both directions of one socket", both_ways),
	CASE("a message in pieces", in_pieces),
	CASE("a deadline ends waits and nothing is lost", deadlines),
	CASE("cancelled while it waits", cancelled),
	CASE("descriptors that are closed under those who wait", closed),
	CASE("what the program has made non-blocking is", nonblocking_stays),
	CASE("errors come back, errno is left alone", errors_come_back),
	CASE("connections", tcp),
	CASE("poll", poll_several),
	CASE("sendfile and splice", moved),
	CASE("splice both ways on the same sockets", moved_both_ways),
	CASE("files past the cache", direct_file),
	CASE("names, the disk, clocks, children", other_calls),
	CASE("started again, and in a child", again_and_fork),
};

APART_MAIN(cases)
