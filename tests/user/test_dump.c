/* SPDX-License-Identifier: MIT */
/*
 * upcall_dump() out of a signal's handler: what each uthread does and waits for, whoever the signal
 * interrupts, in malloc too; and what it says where the text cannot be written.
 */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "rt.h"

static char text[65536];
static atomic_int dumps, answer;
static _Atomic(struct upcall_uthread *) handled_by;
static int dump_fd;

static void dumps_there(int sig)
{
	atomic_store(&answer, upcall_dump(dump_fd));
	atomic_store(&handled_by, upcall_uthread_self());
	atomic_fetch_add(&dumps, 1);
}

static void handle_by(void (*fn)(int))
{
	struct sigaction sa = { .sa_handler = fn };

	CHECK_INT(sigaction(SIGUSR1, &sa, NULL), 0);
}

/* ---- who does what ---- */

static int told[2], never[2]; /* pipes: the text; what nobody writes to for long */
static struct upcall_mutex mutex;
static struct upcall_chan *empty, *full;
static struct upcall_uthread *holder, *joined;
static atomic_bool settled, looked;

static void *holds(void *arg)
{
	char c;

	CHECK_INT(upcall_mutex_lock(&mutex), 0);
	CHECK_INT(read(never[0], &c, 1), 1);
	CHECK_INT(upcall_mutex_unlock(&mutex), 0);
	return arg;
}

static void *locks(void *arg)
{
	CHECK_INT(upcall_mutex_lock(&mutex), 0);
	CHECK_INT(upcall_mutex_unlock(&mutex), 0);
	return arg;
}

static void *receives(void *arg)
{
	int item;

	CHECK_INT(upcall_chan_recv(empty, &item), 0);
	return arg;
}

static void *sends(void *arg)
{
	int item = 2;

	CHECK_INT(upcall_chan_send(full, &item), 0);
	return arg;
}

static void *joins(void *arg)
{
	rt_join(joined);
	return arg;
}

static struct upcall_uthread *make_named(const char *name, void *(*fn)(void *))
{
	struct upcall_uthread_attr attr = { .size = sizeof(attr), .name = name };
	struct upcall_uthread *u = NULL;

	CHECK_INT(upcall_uthread_create(&u, &attr, fn, NULL), 0);
	return u;
}

/* All that the pipe holds; its reading end does not block. */
static void read_text(void)
{
	size_t n = 0;
	ssize_t r;

	while ((r = read(told[0], text + n, sizeof(text) - 1 - n)) > 0)
		n += (size_t)r;
	CHECK(r < 0 && errno == EAGAIN);
	text[n] = 0;
}

/* Its line, or NULL where it is not in that state. */
static const char *line_of(const struct upcall_uthread *u, const char *name, const char *state)
{
	static char line[512];
	char head[100];
	const char *at;

	snprintf(head, sizeof(head), "\nuthread %llu %s %s act ",
		 (unsigned long long)upcall_uthread_id(u), name, state);
	at = strstr(text, head);
	if (!at)
		return NULL;
	snprintf(line, sizeof(line), "%.*s", (int)strcspn(at + 1, "\n"), at + 1);
	return line;
}

static bool is_runnable(const struct upcall_uthread *u, const char *name, const char *state)
{
	const char *line = line_of(u, name, state);

	return line && !strstr(line, " waits for ");
}

static bool is_waiting(const struct upcall_uthread *u, const char *name, const char *what,
		       const void *obj)
{
	const char *line = line_of(u, name, "aside");
	char want[100];

	snprintf(want, sizeof(want), " waits for %s 0x%lx", what, (unsigned long)obj);
	return line && strlen(line) > strlen(want) &&
	       !strcmp(line + strlen(line) - strlen(want), want);
}

/* Its activation's line says in which call of Linux'. */
static bool is_reading(const struct upcall_uthread *u, const char *name)
{
	const char *line = line_of(u, name, "in-kernel"), *at;
	char want[100];

	if (!line || strstr(line, " waits for "))
		return false;
	snprintf(want, sizeof(want), "\nactivation %d task ", atoi(strstr(line, " act ") + 5));
	at = strstr(text, want);
	CHECK(at);
	snprintf(want, sizeof(want), " linux: %d 0x%x ", SYS_read, never[0]);
	at = strstr(at, " linux: ");
	return at && !strncmp(at, want, strlen(want));
}

static struct upcall_uthread *main_self, *teller, *locker, *receiver, *sender, *joiner;

static bool all_is_told(void)
{
	char held[100];

	snprintf(held, sizeof(held), "mutex 0x%lx held by uthread", (unsigned long)&mutex);
	return !strncmp(text, "process state ", 14) && text[strlen(text) - 1] == '\n' &&
	       strstr(text, "\nvcore 0 online 1 ") && is_runnable(main_self, "main", "ready") &&
	       is_runnable(teller, "teller", "running") && is_reading(holder, "holder") &&
	       line_of(locker, "locker", "aside") && strstr(text, held) &&
	       atoi(strstr(text, held) + strlen(held)) == (int)upcall_uthread_id(holder) &&
	       is_waiting(receiver, "receiver", "item of chan", empty) &&
	       is_waiting(sender, "sender", "room in chan", full) &&
	       is_waiting(joiner, "joiner", "end of", receiver);
}

/* Its own handler says that it runs; who had the one vcore before is ready. */
static void *tells(void *arg)
{
	int before;

	do {
		upcall_yield();
		before = atomic_load(&dumps);
		CHECK_INT(raise(SIGUSR1), 0);
		CHECK_INT(atomic_load(&dumps), before + 1);
		CHECK_INT(atomic_load(&answer), 0);
		CHECK(atomic_load(&handled_by) == upcall_uthread_self());
		read_text();
		dprintf(2, "%s", text);
	} while (!all_is_told()); /* or the watchdog shows it */
	atomic_store(&settled, true);
	while (!atomic_load(&looked)) /* keeps the vcore: all stays as it is */
		;
	return arg;
}

/* A plain thread, which signals the process. */
static void *looks(void *arg)
{
	int before;

	AWAIT(atomic_load(&settled), sched_yield());
	before = atomic_load(&dumps);
	CHECK_INT(kill(getpid(), SIGUSR1), 0);
	AWAIT(atomic_load(&dumps) > before, sched_yield());
	CHECK_INT(atomic_load(&answer), 0);
	CHECK(!atomic_load(&handled_by));
	read_text();
	if (!all_is_told())
		dprintf(2, "%s", text);
	CHECK(all_is_told());
	atomic_store(&looked, true);
	return arg;
}

static int what_each_does(void)
{
	int item = 1;
	pthread_t t;

	CHECK_INT(pipe(never), 0);
	CHECK_INT(pipe(told), 0);
	CHECK_INT(fcntl(told[0], F_SETFL, O_NONBLOCK), 0);
	dump_fd = told[1];
	CHECK_INT(pthread_create(&t, NULL, looks, NULL), 0);
	rt_start_opts((struct upcall_opts){ .vcores = 1, .no_slice = true });
	handle_by(dumps_there);
	main_self = upcall_uthread_self();
	CHECK_INT(upcall_chan_create(&empty, sizeof(int), 1), 0);
	CHECK_INT(upcall_chan_create(&full, sizeof(int), 1), 0);
	CHECK_INT(upcall_chan_send(full, &item), 0);
	holder = make_named("holder", holds);
	upcall_yield(); /* it has the mutex */
	locker = make_named("locker", locks);
	receiver = joined = make_named("receiver", receives);
	sender = make_named("sender", sends);
	joiner = make_named("joiner", joins);
	teller = make_named("teller", tells);
	AWAIT(atomic_load(&looked), upcall_yield());
	CHECK_INT(write(never[1], "x", 1), 1);
	CHECK_INT(upcall_chan_recv(full, &item), 0);
	CHECK_INT(upcall_chan_send(empty, &item), 0);
	rt_join(holder);
	rt_join(locker);
	rt_join(sender);
	rt_join(joiner);
	rt_join(teller);
	CHECK_INT(pthread_join(t, NULL), 0);
	CHECK_INT(upcall_chan_destroy(empty), 0);
	CHECK_INT(upcall_chan_destroy(full), 0);
	rt_stop();
	return 0;
}

/* ---- in the middle of malloc ---- */

#define MALLOCS	  3u
#define IN_MALLOC 100 /* dumps that came in the middle of it */

static __thread volatile bool inside;
static atomic_int were_inside, own_dumps, other_dumps;
static int files[2]; /* dumps by uthreads; by the receiver */
static pthread_t victims[MALLOCS];
static atomic_uint nr_victims;
static atomic_bool over;

static void dumps_either(int sig)
{
	bool own = upcall_uthread_self() != NULL;

	CHECK_INT(upcall_dump(files[!own]), 0);
	if (own && inside)
		atomic_fetch_add(&were_inside, 1);
	atomic_fetch_add(own ? &own_dumps : &other_dumps, 1);
}

/* Sizes that the uthread's own cache does not hold: the arena's lock is taken. */
static void *mallocs(void *arg)
{
	unsigned i = (unsigned)(uintptr_t)arg, n;
	void *blocks[16] = { 0 };

	victims[i] = pthread_self();
	atomic_fetch_add(&nr_victims, 1);
	for (n = 0; !atomic_load(&over); n++) {
		inside = true;
		free(blocks[n % 16]);
		blocks[n % 16] = malloc(2000 + n * 97 % 30000);
		inside = false;
		CHECK(blocks[n % 16]);
		*(volatile char *)blocks[n % 16] = 1;
	}
	for (n = 0; n < 16; n++)
		free(blocks[n]);
	return NULL;
}

/* Each of nr dumps is whole: it begins, names who must be there, and ends. */
static void check_file(int fd, int nr)
{
	static const char *const words[] = { "process state ", "\nuthread 0 main ", "\nvcore 0 " };
	off_t size = lseek(fd, 0, SEEK_END);
	char *all = mmap(NULL, (size_t)size + 1, PROT_READ, MAP_PRIVATE, fd, 0), *at;
	unsigned i;
	int found;

	CHECK(all != MAP_FAILED);
	for (i = 0; i < 3; i++) {
		found = 0;
		for (at = all; (at = strstr(at, words[i])) != NULL; at++)
			found++;
		CHECK_INT(found, nr);
	}
	CHECK(all[size - 1] == '\n');
	munmap(all, (size_t)size + 1);
}

static int amid_malloc(unsigned vcores)
{
	struct upcall_uthread *u[MALLOCS];
	unsigned i;

	files[0] = memfd_create("own", MFD_CLOEXEC);
	files[1] = memfd_create("others", MFD_CLOEXEC);
	CHECK(files[0] >= 0 && files[1] >= 0);
	rt_start_opts((struct upcall_opts){ .vcores = vcores, .slice_ns = 200000 });
	handle_by(dumps_either);
	for (i = 0; i < MALLOCS; i++)
		u[i] = rt_make(mallocs, (void *)(uintptr_t)i);
	AWAIT(atomic_load(&nr_victims) == MALLOCS, upcall_yield());
	for (i = 0; atomic_load(&were_inside) < IN_MALLOC; i++) {
		int before = atomic_load(&own_dumps);

		CHECK_INT(pthread_kill(victims[i % MALLOCS], SIGUSR1), 0);
		CHECK_INT(kill(getpid(), SIGUSR1), 0);
		AWAIT(atomic_load(&own_dumps) > before, upcall_yield());
	}
	atomic_store(&over, true);
	for (i = 0; i < MALLOCS; i++)
		rt_join(u[i]);
	CHECK(atomic_load(&other_dumps) > 0);
	check_file(files[0], atomic_load(&own_dumps));
	check_file(files[1], atomic_load(&other_dumps));
	rt_stop();
	return 0;
}

static int amid_malloc_1(void)
{
	return amid_malloc(1);
}

static int amid_malloc_2(void)
{
	rt_need_cpus(2);
	return amid_malloc(2);
}

/* ---- where it cannot be written ---- */

static int dump_by_signal(int fd, bool own)
{
	int before = atomic_load(&dumps);

	dump_fd = fd;
	CHECK_INT(own ? raise(SIGUSR1) : kill(getpid(), SIGUSR1), 0);
	CHECK_INT(atomic_load(&dumps), before + 1);
	return atomic_load(&answer);
}

static void refusals(bool own)
{
	int closed = dup(2), dir = open("/", O_RDONLY | O_CLOEXEC),
	    reads = open("/dev/null", O_RDONLY | O_CLOEXEC),
	    no_room = open("/dev/full", O_WRONLY | O_CLOEXEC), broken[2], stuffed[2];

	CHECK_INT(close(closed), 0);
	CHECK_INT(pipe(broken), 0);
	CHECK_INT(close(broken[0]), 0);
	CHECK_INT(pipe2(stuffed, O_NONBLOCK), 0);
	while (write(stuffed[1], text, 4096) > 0)
		;
	CHECK_INT(dump_by_signal(-1, own), -EBADF);
	CHECK_INT(dump_by_signal(INT_MIN, own), -EBADF);
	CHECK_INT(dump_by_signal(INT_MAX, own), -EBADF);
	CHECK_INT(dump_by_signal(closed, own), -EBADF);
	CHECK_INT(dump_by_signal(reads, own), -EBADF);
	CHECK_INT(dump_by_signal(dir, own), -EBADF);
	CHECK_INT(dump_by_signal(no_room, own), -ENOSPC);
	CHECK_INT(dump_by_signal(broken[1], own), -EPIPE);
	CHECK_INT(dump_by_signal(stuffed[1], own), -EAGAIN);
	close(dir);
	close(reads);
	close(no_room);
	close(broken[1]);
	close(stuffed[0]);
	close(stuffed[1]);
}

static int refused(void)
{
	signal(SIGPIPE, SIG_IGN);
	handle_by(dumps_there);
	CHECK_INT(dump_by_signal(2, true), -ENOTCONN);
	rt_start(1);
	handle_by(dumps_there);
	refusals(true);
	refusals(false);
	rt_stop();
	CHECK_INT(dump_by_signal(2, true), -ENOTCONN);
	return 0;
}

/* A file that may not grow that far: what it took of the last piece is not all. */
static int cut_short(void)
{
	int fd = memfd_create("short", MFD_CLOEXEC), r, whole = 0, cut = 0;
	struct rlimit limit;
	off_t size;

	CHECK(fd >= 0);
	signal(SIGXFSZ, SIG_IGN);
	rt_start(1);
	CHECK_INT(getrlimit(RLIMIT_FSIZE, &limit), 0);
	for (limit.rlim_cur = 1; whole < 10; limit.rlim_cur += 13) {
		CHECK_INT(ftruncate(fd, 0), 0);
		CHECK_INT(lseek(fd, 0, SEEK_SET), 0);
		CHECK_INT(setrlimit(RLIMIT_FSIZE, &limit), 0);
		r = upcall_dump(fd);
		CHECK(r == 0 || r == -EFBIG);
		size = lseek(fd, 0, SEEK_END);
		CHECK(r ? size == (off_t)limit.rlim_cur : size <= (off_t)limit.rlim_cur);
		CHECK_INT(pread(fd, text, 1, size - 1), 1);
		CHECK(r || text[0] == '\n');
		whole += !r;
		cut += !!r;
	}
	CHECK(cut > 30);
	rt_stop();
	return 0;
}

static const struct apart cases[] = {
	CASE("a signal's handler tells what each uthread does and waits for", what_each_does),
	CASE("... in the middle of malloc, many times", amid_malloc_1),
	CASE("... on two vcores", amid_malloc_2),
	CASE("a bad descriptor is answered as write() answers it", refused),
	CASE("a text that is cut short is no success", cut_short),
};
APART_MAIN(cases)
