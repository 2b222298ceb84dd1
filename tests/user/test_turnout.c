/* SPDX-License-Identifier: MIT */
/*
 * Blocked uthreads when no activation is left to stand by: two readers keep two of three, and whoever
 * has the last gives it up for the others' turns, whatever call it sleeps in (src/host/turnout.c).
 * Its call is made again: nothing of it is lost, its timeout is not begun anew, and no EINTR is seen
 * (src/user/again.c).
 */
#include "base/inject.h"
#include "rt.h"
#include "user/uthread.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define SLEEP_NS (250 * MS)

static int pipes[3][2]; /* the third is the sleeper's */
static atomic_bool over;

/* Sleeps on fd until it can be read, or for so long: `ts` is NULL for the former. */
typedef void (*way_fn)(int fd, struct timespec *ts);

static void by_poll(int fd, struct timespec *ts)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	CHECK_INT(poll(&p, 1, ts ? (int)(ts->tv_nsec / 1000000) : -1), !ts);
}

static void by_ppoll(int fd, struct timespec *ts)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	CHECK_INT(ppoll(&p, 1, ts, NULL), !ts);
}

static void by_select(int fd, struct timespec *ts)
{
	struct timeval tv = { 0, ts ? ts->tv_nsec / 1000 : 0 };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(fd, &set);
	CHECK_INT(select(fd + 1, &set, NULL, NULL, ts ? &tv : NULL), !ts);
}

static void by_epoll(int fd, struct timespec *ts)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int ep = epoll_create1(EPOLL_CLOEXEC);

	CHECK(ep >= 0 && !epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	CHECK_INT(epoll_wait(ep, &ev, 1, ts ? (int)(ts->tv_nsec / 1000000) : -1), !ts);
	close(ep);
}

static void by_epoll_pwait2(int fd, struct timespec *ts)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int ep = epoll_create1(EPOLL_CLOEXEC);

	CHECK(ep >= 0 && !epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	CHECK_INT(syscall(SYS_epoll_pwait2, ep, &ev, 1, ts, NULL, 8), !ts);
	close(ep);
}

static void by_nanosleep(int fd, struct timespec *ts)
{
	CHECK_INT(nanosleep(ts, NULL), 0);
}

static void by_clock_nanosleep(int fd, struct timespec *ts)
{
	CHECK_INT(clock_nanosleep(CLOCK_BOOTTIME, 0, ts, NULL), 0);
}

static void by_futex(int fd, struct timespec *ts)
{
	static uint32_t word;

	CHECK(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, ts, NULL, 0) == -1 &&
	      errno == ETIMEDOUT);
}

static void by_semaphore(int fd, struct timespec *ts)
{
	struct timespec until;
	sem_t sem;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += ts->tv_nsec;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	CHECK_INT(sem_init(&sem, 0, 0), 0);
	CHECK(sem_clockwait(&sem, CLOCK_MONOTONIC, &until) == -1 && errno == ETIMEDOUT);
}

static void by_semtimedop(int fd, struct timespec *ts)
{
	struct sembuf down = { .sem_op = -1 };
	int id = semget(IPC_PRIVATE, 1, 0600);

	CHECK(id >= 0);
	CHECK(semtimedop(id, &down, 1, ts) == -1 && errno == EAGAIN);
	CHECK_INT(semctl(id, 0, IPC_RMID), 0);
}

static void by_sigtimedwait(int fd, struct timespec *ts)
{
	uint64_t set = UINT64_C(1) << (SIGRTMAX - 1);

	CHECK(syscall(SYS_rt_sigtimedwait, &set, NULL, ts, 8) == -1 && errno == EAGAIN);
}

static void by_read(int fd, struct timespec *ts)
{
	char c;

	CHECK_INT(read(fd, &c, 1), 1);
}

/* Each sleep ends before anybody loses patience with it. */
static void by_short_sleeps(int fd, struct timespec *ts)
{
	while (!atomic_load(&over))
		CHECK_INT(usleep(50), 0);
}

static void *reads(void *arg)
{
	char c;

	CHECK_INT(read(*(int *)arg, &c, 1), 1);
	return arg;
}

static void let_go(void)
{
	unsigned i;

	for (i = 0; i < 3; i++)
		CHECK_INT(write(pipes[i][1], "x", 1), 1);
	atomic_store(&over, true);
}

static void *lets_go(void *arg)
{
	let_go();
	return arg;
}

static void *sleeps(void *arg)
{
	((way_fn)arg)(pipes[2][0], NULL);
	return arg;
}

static void begin(struct upcall_uthread *u[2])
{
	unsigned i;

	for (i = 0; i < 3; i++)
		CHECK_INT(pipe2(pipes[i], O_CLOEXEC), 0);
	rt_start_opts((struct upcall_opts){ .vcores = 1, .no_slice = true, .max_acts = 3 });
	for (i = 0; i < 2; i++)
		u[i] = rt_make(reads, &pipes[i][0]);
}

static int end(struct upcall_uthread *u[], unsigned nr)
{
	struct upcall_stats st;

	/* In the order in which they were made; who is joined before it has begun would go first. */
	upcall_yield();
	while (nr--)
		rt_join(u[nr]);
	st = rt_stats();
	CHECK(st.no_standby > 0);
	CHECK_INT(st.eintr_left, 0);
	rt_stop();
	return 0;
}

/* Who lets everybody go must have its turn for that. */
static int gives_way(way_fn way)
{
	struct upcall_uthread *u[4];

	begin(u);
	u[2] = rt_make(sleeps, way);
	u[3] = rt_make(lets_go, &over);
	return end(u, 4);
}

static void *sleeps_so_long(void *arg)
{
	struct timespec ts = { 0, (long)SLEEP_NS };
	uint64_t from = apart_now_ns();

	((way_fn)arg)(pipes[2][0], &ts);
	CHECK(apart_now_ns() - from >= SLEEP_NS);
	let_go();
	return arg;
}

/* Far longer than the longest patience, on a busy machine too: begun anew each time, it would not end. */
static int ends(way_fn way)
{
	struct upcall_uthread *u[3];

	begin(u);
	u[2] = rt_make(sleeps_so_long, way);
	return end(u, 3);
}

#define GIVES_WAY(x)                      \
	static int x##_gives_way(void)    \
	{                                 \
		return gives_way(by_##x); \
	}
#define ENDS(x)                      \
	static int x##_ends(void)    \
	{                            \
		return ends(by_##x); \
	}
GIVES_WAY(read)
GIVES_WAY(poll)
GIVES_WAY(ppoll)
GIVES_WAY(select)
GIVES_WAY(epoll)
GIVES_WAY(epoll_pwait2)
GIVES_WAY(short_sleeps)
ENDS(poll)
ENDS(ppoll)
ENDS(select)
ENDS(epoll)
ENDS(epoll_pwait2)
ENDS(nanosleep)
ENDS(clock_nanosleep)
ENDS(futex)
ENDS(semaphore)
ENDS(semtimedop)
ENDS(sigtimedwait)

/* ---- a handler before the call is made again ---- */

static int of_handler[2];
static atomic_bool in_handler;
static _Atomic pthread_t sleeper;
static bool handler_jumps;
static jmp_buf out;

static void sleeps_too(int sig)
{
	char c;

	atomic_store(&in_handler, true);
	CHECK_INT(read(of_handler[0], &c, 1), 1);
	if (handler_jumps)
		longjmp(out, 1);
}

/* As deep as the call that was left: what is remembered of that one must not be taken for this one. */
static void sleeps_twice(int fd, struct timespec *ts)
{
	char c;

	atomic_store(&sleeper, pthread_self());
	if (!setjmp(out))
		CHECK_INT(read(fd, &c, 1), 1);
	if (handler_jumps) {
		atomic_store(&in_handler, false);
		CHECK_INT(read(fd, &c, 1), 1);
	}
}

static void *sends(void *arg)
{
	CHECK_INT(pthread_kill(atomic_load(&sleeper), SIGUSR1), 0);
	while (!atomic_load(&in_handler))
		upcall_yield();
	CHECK_INT(write(of_handler[1], "x", 1), 1);
	while (handler_jumps && atomic_load(&in_handler))
		upcall_yield();
	let_go();
	return arg;
}

static int handler_gives_way(bool jumps)
{
	struct upcall_uthread *u[4];

	handler_jumps = jumps;
	CHECK_INT(pipe2(of_handler, O_CLOEXEC), 0);
	begin(u);
	signal(SIGUSR1, sleeps_too);
	u[2] = rt_make(sleeps, sleeps_twice);
	u[3] = rt_make(sends, &over);
	return end(u, 4);
}

static int handlers_call_again(void)
{
	return handler_gives_way(false);
}

static int left_by_jump(void)
{
	return handler_gives_way(true);
}

#ifdef __x86_64__
/* What a call leaves alone, a call made again leaves alone. */
static void *sleeps_with_registers(void *arg)
{
	struct timespec ts = { 0, (long)SLEEP_NS };
	register long flags __asm__("r10") = 0;
	double x = 1.25;
	long r;

	__asm__ volatile("movapd %[x], %%xmm5\n\t"
			 "mov $0x1234, %%r12d\n\t"
			 "mov $0x77, %%r9d\n\t"
			 "mov %[ts], %%rdx\n\t"
			 "mov %[nr], %%eax\n\t"
			 "syscall\n\t"
			 "cmp %[ts], %%rdx\n\t"
			 "jne 1f\n\t"
			 "cmp $0x1234, %%r12d\n\t"
			 "jne 1f\n\t"
			 "cmp $0x77, %%r9d\n\t"
			 "jne 1f\n\t"
			 "ucomisd %[x], %%xmm5\n\t"
			 "je 2f\n\t"
			 "1: mov $99, %%eax\n\t"
			 "2:"
			 : "=&a"(r)
			 : "D"((long)CLOCK_MONOTONIC), "S"(0L),
			   "r"(flags), [x] "x"(x), [ts] "r"(&ts), [nr] "i"(SYS_clock_nanosleep)
			 : "rcx", "rdx", "r11", "r12", "r9", "xmm5", "memory", "cc");
	CHECK_INT(r, 0);
	let_go();
	return arg;
}

static int registers_stay(void)
{
	struct upcall_uthread *u[3];

	begin(u);
	u[2] = rt_make(sleeps_with_registers, &over);
	return end(u, 3);
}

#else
static int registers_stay(void)
{
	SKIP("it is written for x86-64\n");
}
#endif

/* ---- who makes a call into the kernel side ---- */

static atomic_bool locked;
static atomic_int holder; /* the kernel thread that holds the kernel side's lock for so long */

/* Takes the lock, waits for the call of an activation (three there are), answers it, and holds on. */
static int holds_the_lock(unsigned nr, const char *name, void *arg)
{
	uint64_t end;

	if ((int)syscall(SYS_gettid) != atomic_load(&holder))
		return 0;
	if (!strcmp(name, "embed_locked")) {
		atomic_store(&locked, true);
		while (!(__atomic_load_n(&up_rt.port->call_pending[0], __ATOMIC_ACQUIRE) & 7))
			;
	} else if (!strcmp(name, "embed_before_unlock")) {
		for (end = apart_now_ns() + 100 * MS; apart_now_ns() < end;)
			;
		atomic_store(&holder, 0);
	}
	return 0;
}

static void *calls_from_outside(void *arg)
{
	atomic_store(&holder, (int)syscall(SYS_gettid));
	CHECK_INT(upcall_notify(UPCALL_EV_USER, 0, 1, 1), 0);
	return arg;
}

static void *calls(void *arg)
{
	pthread_t outside;

	CHECK_INT(pthread_create(&outside, NULL, calls_from_outside, NULL), 0);
	while (!atomic_load(&locked))
		;
	CHECK_INT(upcall_request(1, 1), 0);
	CHECK_INT(pthread_join(outside, NULL), 0);
	return arg;
}

static void *calls_too(void *arg)
{
	CHECK_INT(upcall_request(1, 1), 0);
	let_go();
	return arg;
}

/* Another's call in the same slot would take the answer away. */
static int keeps_its_slot(void)
{
	struct upcall_uthread *u[4];

	CHECK(up_inject_find("embed_locked") >= 0 && up_inject_find("embed_before_unlock") >= 0);
	begin(u);
	up_inject_set_hook(holds_the_lock, NULL);
	u[2] = rt_make(calls, &over);
	u[3] = rt_make(calls_too, &over);
	return end(u, 4);
}

/* ---- who waits for a lock of ours ---- */

static struct up_lock ours;
static atomic_bool let_gone;

static void *holds_ours(void *arg)
{
	uint64_t until;

	up_lock_take(&ours);
	atomic_store(&locked, true);
	for (until = apart_now_ns() + 100 * MS; apart_now_ns() < until;)
		;
	up_lock_drop(&ours);
	return arg;
}

static void *waits_for_ours(void *arg)
{
	pthread_t outside;

	CHECK_INT(pthread_create(&outside, NULL, holds_ours, NULL), 0);
	while (!atomic_load(&locked))
		;
	up_preempt_disable();
	up_lock_take(&ours);
	CHECK(!atomic_load(&let_gone));
	up_lock_drop(&ours);
	up_preempt_enable();
	CHECK_INT(pthread_join(outside, NULL), 0);
	return arg;
}

static void *lets_go_too(void *arg)
{
	atomic_store(&let_gone, true);
	let_go();
	return arg;
}

/* What its section has begun on this activation must not go on on another. */
static int stays_in_its_section(void)
{
	struct upcall_uthread *u[4];

	begin(u);
	u[2] = rt_make(waits_for_ours, &over);
	u[3] = rt_make(lets_go_too, &over);
	return end(u, 4);
}

static int no_watcher(unsigned nr, const char *name, void *arg)
{
	return !strcmp(name, "watch_start");
}

/* As beside other programs, whose work keeps a SCHED_IDLE watcher from running. */
static int seen_late(void)
{
	CHECK(up_inject_find("watch_start") >= 0);
	up_inject_set_hook(no_watcher, NULL);
	return gives_way(by_short_sleeps);
}

static int read_seen_late(void)
{
	CHECK(up_inject_find("watch_start") >= 0);
	up_inject_set_hook(no_watcher, NULL);
	return gives_way(by_read);
}

static const struct apart cases[] = {
	CASE("read() gives way", read_gives_way),
	CASE("poll() gives way", poll_gives_way),
	CASE("ppoll() gives way", ppoll_gives_way),
	CASE("select() gives way", select_gives_way),
	CASE("epoll_wait() gives way", epoll_gives_way),
	CASE("epoll_pwait2() gives way", epoll_pwait2_gives_way),
	CASE("many short sleeps give way", short_sleeps_gives_way),
	CASE("read() gives way where no watcher sees it", read_seen_late),
	CASE("many short sleeps give way where no watcher sees them", seen_late),
	CASE("poll()'s timeout goes on", poll_ends),
	CASE("ppoll()'s timeout goes on", ppoll_ends),
	CASE("select()'s timeout goes on", select_ends),
	CASE("epoll_wait()'s timeout goes on", epoll_ends),
	CASE("epoll_pwait2()'s timeout goes on", epoll_pwait2_ends),
	CASE("nanosleep() ends", nanosleep_ends),
	CASE("clock_nanosleep() ends", clock_nanosleep_ends),
	CASE("futex()'s timeout goes on", futex_ends),
	CASE("sem_clockwait()'s timeout goes on", semaphore_ends),
	CASE("semtimedop()'s timeout goes on", semtimedop_ends),
	CASE("rt_sigtimedwait()'s timeout goes on", sigtimedwait_ends),
	CASE("who makes a call into the kernel side stays until it is answered", keeps_its_slot),
	CASE("who waits for a lock of ours stays in its section", stays_in_its_section),
	CASE("a handler's call is made again before the interrupted one", handlers_call_again),
	CASE("a call that a handler jumps out of is forgotten", left_by_jump),
	CASE("all registers are as after the call", registers_stay),
};

APART_MAIN(cases)
