/* SPDX-License-Identifier: MIT */
/*
 * What the listener does for others, held up or made to fail at points of injection: a request that is
 * given up while it is on its way, and all that there is without io_uring, without a listener, and
 * without descriptors to spare.
 */
#include "../user/rt.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/inject.h"

static const char *failing, *delayed;
static atomic_int passed;

static int on_point(unsigned nr, const char *name, void *arg)
{
	struct timespec ts = { 0, 20 * MS };

	if (failing && !strcmp(name, failing)) {
		atomic_fetch_add(&passed, 1);
		return 1;
	}
	if (delayed && !strncmp(name, delayed, strlen(delayed))) {
		atomic_fetch_add(&passed, 1);
		nanosleep(&ts, NULL); /* on a kernel thread of the runtime's */
	}
	return 0;
}

static int open_direct(void)
{
	char name[] = "/var/tmp/upcall-ring-XXXXXX";
	int fd = mkstemp(name);

	CHECK(fd >= 0);
	CHECK_INT(ftruncate(fd, 1 << 20), 0);
	CHECK_INT(fsync(fd), 0);
	close(fd);
	fd = open(name, O_RDONLY | O_DIRECT);
	unlink(name);
	if (fd < 0)
		printf("# SKIP /var/tmp has no O_DIRECT: %s\n", strerror(errno));
	return fd;
}

static char *buf;

static __attribute__((noinline)) ssize_t read_direct(int fd)
{
	return upcall_pread(fd, buf, 4096, 4096);
}

/* The same stack, written all over: what comes late would show. */
static __attribute__((noinline)) void watch_stack(void)
{
	volatile unsigned char mine[2048];
	unsigned i;

	for (i = 0; i < sizeof(mine); i++)
		mine[i] = 0x5a;
	upcall_sleep_ns(50 * MS);
	for (i = 0; i < sizeof(mine); i++)
		CHECK_INT(mine[i], 0x5a);
}

static int given_up_at(const char *where, uint64_t patience_ns)
{
	int fd = open_direct(), i, late = 0;
	ssize_t r;

	if (fd < 0)
		return 0;
	buf = aligned_alloc(4096, 4096);
	rt_start(2);
	CHECK_INT(read_direct(fd), 4096);
	upcall_sleep_ns(20 * MS); /* the listener is there */
	CHECK_INT(read_direct(fd), 4096);
	delayed = where;
	up_inject_set_hook(on_point, NULL);
	for (i = 0; i < 5; i++) {
		upcall_io_deadline(upcall_now_ns() + patience_ns);
		r = read_direct(fd);
		CHECK(r == 4096 || r == -ETIMEDOUT);
		late += r < 0;
		upcall_io_deadline(UPCALL_FOREVER);
		watch_stack();
	}
	printf("# %d of 5 were given up\n", late);
	up_inject_set_hook(NULL, NULL);
	CHECK(atomic_load(&passed) > 0);
	rt_stop();
	return 0;
}

static int given_up(void)
{
	return given_up_at("io_ring_turns", 2 * MS);
}

/* It comes back while the other request, to give it up, is on its way. */
static int given_up_late(void)
{
	/* Each turn has two delays, and it is reaped behind the second of the first turn, or of the next. */
	return given_up_at("io_ring_", 30 * MS) || given_up_at("io_ring_", 70 * MS);
}

static int pair[2];

static void *answer(void *arg)
{
	unsigned i;
	char c;

	for (i = 0; i < 200; i++) {
		CHECK_INT(upcall_recv(pair[0], &c, 1, 0), 1);
		CHECK_INT(upcall_send(pair[0], &c, 1, 0), 1);
	}
	return NULL;
}

static void talk(void)
{
	struct upcall_uthread *u = rt_make(answer, NULL);
	unsigned i;
	char c = 0;

	for (i = 0; i < 200; i++) {
		CHECK_INT(upcall_send(pair[1], &c, 1, 0), 1);
		CHECK_INT(upcall_recv(pair[1], &c, 1, 0), 1);
	}
	rt_join(u);
	upcall_io_deadline(upcall_now_ns() + 5 * MS);
	CHECK_INT(upcall_recv(pair[1], &c, 1, 0), -ETIMEDOUT);
	upcall_io_deadline(UPCALL_FOREVER);
}

static int without(const char *what)
{
	int fd = open_direct();

	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	failing = what;
	up_inject_set_hook(on_point, NULL);
	rt_start(2);
	talk();
	if (fd >= 0) {
		buf = aligned_alloc(4096, 4096);
		CHECK_INT(read_direct(fd), 4096);
		upcall_sleep_ns(10 * MS);
		CHECK_INT(read_direct(fd), 4096);
	}
	CHECK(atomic_load(&passed) > 0);
	rt_stop();
	return 0;
}

/* The listener has made somebody ready, who runs, and with whom all ends, before it has said so. */
static atomic_int held;

static int hold_listener(unsigned nr, const char *name, void *arg)
{
	struct timespec ts = { 0, 30 * MS };
	char self[16] = "";

	if (strcmp(name, "port_before_ring"))
		return 0;
	prctl(PR_GET_NAME, self);
	if (!strcmp(self, "upcall-listen")) {
		atomic_fetch_add(&held, 1);
		nanosleep(&ts, NULL);
	}
	return 0;
}

static void *write_soon(void *arg)
{
	struct timespec ts = { 0, 5 * MS };

	nanosleep(&ts, NULL);
	CHECK_INT(write(pair[1], "x", 1), 1);
	return NULL;
}

static void *read_byte(void *arg)
{
	char c;

	CHECK_INT(upcall_recv(pair[0], &c, 1, 0), 1);
	return NULL;
}

static int stopped_behind_listener(void)
{
	unsigned tasks = entries("/proc/self/task");
	struct upcall_uthread *u;
	pthread_t t;
	int i;

	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	up_inject_set_hook(hold_listener, NULL);
	for (i = 0; i < 20; i++) {
		rt_start(1);
		CHECK_INT(pthread_create(&t, NULL, write_soon, NULL), 0);
		u = rt_make(read_byte, NULL);
		upcall_sleep_ns(10 * MS);
		rt_join(u);
		CHECK_INT(pthread_join(t, NULL), 0);
		rt_stop();
		AWAIT(entries("/proc/self/task") == tasks, sched_yield()); /* none that stays */
	}
	CHECK(atomic_load(&held) > 0);
	return 0;
}

static int without_ring(void)
{
	return without("io_ring");
}

static int without_listener(void)
{
	return without("io_listener");
}

static int without_memory(void)
{
	return without("io_map");
}

/* All descriptors are taken when the first wait wants some: it is waited in Linux until there are. */
static int without_descriptors(void)
{
	struct rlimit lim;
	int fd, nr = 0, taken[1024];

	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	rt_start(2);
	upcall_sleep_ns(20 * MS);
	CHECK_INT(getrlimit(RLIMIT_NOFILE, &lim), 0);
	lim.rlim_cur = 256;
	CHECK_INT(setrlimit(RLIMIT_NOFILE, &lim), 0);
	while (nr < 1024 && (fd = dup(0)) >= 0)
		taken[nr++] = fd;
	CHECK_INT(errno, EMFILE);
	talk();
	while (nr)
		close(taken[--nr]);
	talk();
	rt_stop();
	return 0;
}

static const struct apart cases[] = {
	CASE("a request that is given up has come back", given_up),
	CASE("... and so has what asked for that", given_up_late),
	CASE("stopped while the listener is about to tell", stopped_behind_listener),
	CASE("without io_uring", without_ring),
	CASE("without a listener", without_listener),
	CASE("without memory", without_memory),
	CASE("without descriptors", without_descriptors),
};

APART_MAIN(cases)
