/* SPDX-License-Identifier: MIT */
/*
 * The hand-over, measured: what a block, an unblock, a notification, a preemption and a critical
 * section cost, each beside what plain Linux charges for the like, in the same run.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/lock.h"
#include "base/syscall.h"
#include "bench.h"
#include "upcall/upcall.h"

#define ROUNDS 200u
#define WARM   20u
/* Pooled activations that are kept besides two a vcore: src/host/keeper.c. */
#define POOL_SPARE 8u

static int fds[2];
static double t_from, t_to[4];
static uint32_t word, step_word, over;

static void *spin_until(uint32_t *w, uint32_t value)
{
	while (up_load_acquire(w) < value)
		up_cpu_relax();
	return NULL;
}

static int start(unsigned vcores, uint64_t slice_ns, const struct upcall_sched_ops *sched)
{
	struct upcall_opts o = { .size = sizeof(o),
				 .vcores = vcores,
				 .no_slice = !slice_ns,
				 .slice_ns = slice_ns,
				 .sched = sched };

	bench_pin(0, vcores);
	return upcall_start(&o);
}

static unsigned cut(double *samples, unsigned nr)
{
	memmove(samples, samples + WARM, (nr - WARM) * sizeof(*samples));
	return nr - WARM;
}

/* ---- plain Linux: a thread wakes another on the same core ---- */

static void *futex_waiter(void *arg)
{
	double *s = arg;
	unsigned i;

	for (i = 0; i < ROUNDS; i++) {
		while (up_load_acquire(&word) <= i)
			up_syscall6(SYS_futex, (long)&word, FUTEX_WAIT_PRIVATE, i, 0, 0, 0);
		s[i] = bench_now_ns() - t_from;
		up_store_release(&step_word, i + 1);
	}
	return NULL;
}

static int futex_wake_to_run(double *s, unsigned room)
{
	struct timespec ts = { 0, 100000 };
	pthread_t t;
	unsigned i;

	bench_pin(0, 1);
	if (pthread_create(&t, NULL, futex_waiter, s))
		return -EAGAIN;
	for (i = 0; i < ROUNDS; i++) {
		nanosleep(&ts, NULL); /* the other goes to sleep */
		t_from = bench_now_ns();
		up_store_release(&word, i + 1);
		up_syscall6(SYS_futex, (long)&word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
		spin_until(&step_word, i + 1);
	}
	pthread_join(t, NULL);
	return (int)cut(s, ROUNDS);
}

static void *futex_ponger(void *arg)
{
	double *s = arg;
	unsigned i;

	for (i = 0; i < ROUNDS; i++) {
		while (up_load_acquire(&word) <= i)
			up_syscall6(SYS_futex, (long)&word, FUTEX_WAIT_PRIVATE, i, 0, 0, 0);
		s[i] = bench_now_ns() - t_from;
		up_store_release(&step_word, i + 1);
		up_syscall6(SYS_futex, (long)&step_word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
	}
	return NULL;
}

/* The waker goes to sleep at once, so that nothing has to be preempted. */
static int futex_ping_pong(double *s, unsigned room)
{
	pthread_t t;
	unsigned i;

	bench_pin(0, 1);
	if (pthread_create(&t, NULL, futex_ponger, s))
		return -EAGAIN;
	for (i = 0; i < ROUNDS; i++) {
		t_from = bench_now_ns();
		up_store_release(&word, i + 1);
		up_syscall6(SYS_futex, (long)&word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
		while (up_load_acquire(&step_word) <= i)
			up_syscall6(SYS_futex, (long)&step_word, FUTEX_WAIT_PRIVATE, i, 0, 0, 0);
	}
	pthread_join(t, NULL);
	return (int)cut(s, ROUNDS);
}

/* ---- plain Linux: what a look at a sleeper costs ---- */

static void *pipe_sleeper(void *arg)
{
	char c;

	up_store_release(&step_word, (uint32_t)up_syscall0(SYS_gettid));
	up_syscall3(SYS_read, *(int *)arg, &c, 1);
	return NULL;
}

static int look(double *s, unsigned room)
{
	char path[64], buf[160];
	pthread_t t;
	unsigned i;
	int p[2], fd;

	up_store_relaxed(&step_word, 0);
	if (pipe(p) || pthread_create(&t, NULL, pipe_sleeper, &p[0]))
		return -EAGAIN;
	while (!up_load_acquire(&step_word))
		sched_yield();
	snprintf(path, sizeof(path), "/proc/self/task/%u/syscall", step_word);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	for (i = 0; i < ROUNDS && fd >= 0;) {
		s[i] = bench_now_ns();
		if (pread(fd, buf, sizeof(buf), 0) <= 0)
			break;
		s[i] = bench_now_ns() - s[i];
		i += buf[0] != 'r'; /* it sleeps by now */
	}
	close(p[1]);
	pthread_join(t, NULL);
	return i == ROUNDS ? (int)cut(s, ROUNDS) : -EIO;
}

/* ---- block to next, and back ---- */

static struct upcall_uthread *sleeper;
static double *back_samples, *next_samples;
static bool announce;
static double rest_ns; /* how long the next one computes before it lets the sleeper go */

static void stamped_ready(struct upcall_uthread *u, unsigned vcore, enum upcall_why why)
{
	if (why == UPCALL_UNBLOCKED && u == sleeper) {
		t_to[0] = bench_now_ns();
		up_store_release(&step_word, step_word + 1);
	}
	upcall_sched_fifo.ready(u, vcore, why);
}

static struct upcall_uthread *plain_pick(unsigned vcore)
{
	return upcall_sched_fifo.pick(vcore);
}

static int plain_init(unsigned n)
{
	return upcall_sched_fifo.init(n);
}

static void plain_fini(void)
{
	upcall_sched_fifo.fini();
}

static const struct upcall_sched_ops stamped = {
	.size = sizeof(stamped),
	.name = "stamped",
	.init = plain_init,
	.fini = plain_fini,
	.ready = stamped_ready,
	.pick = plain_pick,
};

static void *sleeper_main(void *arg)
{
	unsigned i;
	char c;

	for (i = 0; i < ROUNDS; i++) {
		t_from = bench_now_ns();
		if (announce)
			upcall_syscall(SYS_read, fds[0], (long)&c, 1, 0, 0, 0);
		else
			up_syscall3(SYS_read, fds[0], &c, 1);
		back_samples[i] = t_to[0] - t_to[1];
	}
	up_store_release(&over, 1);
	return NULL;
}

/* Runs when the sleeper has blocked, lets it go, and keeps the vcore busy until it is back. */
static void *next_main(void *arg)
{
	unsigned i;
	double now;

	for (i = 0; i < ROUNDS; i++) {
		now = bench_now_ns();
		next_samples[i] = now - t_from;
		while ((t_to[1] = bench_now_ns()) < now + rest_ns)
			;
		if (write(fds[1], "x", 1) != 1)
			abort();
		spin_until(&step_word, i + 1);
		upcall_yield(); /* comes back when it blocks again */
	}
	return NULL;
}

static int block_and_back(void)
{
	struct upcall_uthread *next;
	int r;

	if (pipe(fds))
		return -errno;
	r = start(1, 0, &stamped);
	if (!r)
		r = upcall_uthread_create(&sleeper, NULL, sleeper_main, NULL);
	if (!r)
		r = upcall_uthread_create(&next, NULL, next_main, NULL);
	if (r)
		return r;
	upcall_uthread_join(sleeper, NULL);
	upcall_uthread_join(next, NULL);
	return 0;
}

static int block_to_next(double *s, unsigned room)
{
	static double other[ROUNDS];
	int r;

	next_samples = s;
	back_samples = other;
	r = block_and_back();
	return r ? r : (int)cut(s, ROUNDS);
}

static int block_to_next_announced(double *s, unsigned room)
{
	announce = true;
	return block_to_next(s, room);
}

static int unblock_to_back(double *s, unsigned room)
{
	static double other[ROUNDS];
	int r;

	next_samples = other;
	back_samples = s;
	r = block_and_back();
	return r ? r : (int)cut(s, ROUNDS);
}

static int unblock_to_back_announced(double *s, unsigned room)
{
	announce = true;
	return unblock_to_back(s, room);
}

static int unblock_to_back_rested(double *s, unsigned room)
{
	rest_ns = 300000;
	return unblock_to_back(s, room);
}

static void *reader_main(void *arg)
{
	double *s = arg;
	unsigned i;
	char c;

	for (i = 0; i < ROUNDS; i++) {
		up_store_release(&word, i + 1);
		if (read(fds[0], &c, 1) != 1)
			abort();
		s[i] = bench_now_ns() - t_from;
		up_store_release(&step_word, i + 1);
	}
	return NULL;
}

static int kernel_thread(double *s, bool rested)
{
	struct timespec ts = { 0, 100000 };
	pthread_t t;
	unsigned i;

	bench_pin(0, 1);
	if (pipe(fds) || pthread_create(&t, NULL, reader_main, s))
		return -EAGAIN;
	for (i = 0; i < ROUNDS; i++) {
		if (rested)
			nanosleep(&ts, NULL);
		else
			spin_until(&word, i + 1); /* we run when it has blocked */
		t_from = bench_now_ns();
		if (write(fds[1], "x", 1) != 1)
			abort();
		spin_until(&step_word, i + 1);
	}
	pthread_join(t, NULL);
	return (int)cut(s, ROUNDS);
}

/* A kernel thread asleep in read(); its writer has run on the same core all the time. */
static int kernel_thread_back(double *s, unsigned room)
{
	return kernel_thread(s, false);
}

/* The same, its writer just back from a sleep of its own, which Linux counts in its favour. */
static int kernel_thread_rested(double *s, unsigned room)
{
	return kernel_thread(s, true);
}

/* ---- a notification to one's own vcore ---- */

static volatile unsigned heard;

static void on_user(unsigned vcore, const struct upcall_event *ev, void *arg)
{
	heard++;
}

static int self_notify(double *s, unsigned room)
{
	unsigned i, nr;
	double from;
	int r = start(1, 0, NULL);

	if (!r)
		r = upcall_event_alloc(&nr);
	if (!r)
		r = upcall_event_handle(nr, on_user, NULL);
	if (!r)
		r = upcall_event_route(nr, 0, 1);
	for (i = 0; i < ROUNDS && !r; i++) {
		from = bench_now_ns();
		r = upcall_notify(nr, 0, i, 0);
		while (heard <= i)
			up_cpu_relax();
		s[i] = bench_now_ns() - from;
	}
	return r ? r : (int)cut(s, ROUNDS);
}

static void on_signal(int sig)
{
	heard++;
}

static int raw_signal(double *s, unsigned room)
{
	struct sigaction sa = { .sa_handler = on_signal };
	long pid = getpid(), tid = up_syscall0(SYS_gettid);
	unsigned i;
	double from;

	bench_pin(0, 1);
	sigaction(SIGURG, &sa, NULL);
	for (i = 0; i < ROUNDS; i++) {
		from = bench_now_ns();
		up_syscall3(SYS_tgkill, pid, tid, SIGURG);
		while (heard <= i)
			up_cpu_relax();
		s[i] = bench_now_ns() - from;
	}
	return (int)cut(s, ROUNDS);
}

/* ---- a preempted context and a vcore that polls ---- */

static struct upcall_uthread *slot, *spinner;
static double *pickup_samples;
static unsigned pickups;
static volatile double seen_ns;

/* The spinner passes between the vcores through one word, the rest through FIFO. */
static void slot_ready(struct upcall_uthread *u, unsigned vcore, enum upcall_why why)
{
	if (u != spinner || why != UPCALL_PREEMPTED) {
		upcall_sched_fifo.ready(u, vcore, why);
		return;
	}
	t_from = bench_now_ns();
	up_store_release(&slot, u);
}

static struct upcall_uthread *slot_pick(unsigned vcore)
{
	struct upcall_uthread *u = upcall_sched_fifo.pick(vcore);
	double until = bench_now_ns() + 2e6, now = 0;

	while (!u && now < until && !up_load_relaxed(&over)) {
		now = bench_now_ns();
		if (up_load_relaxed(&slot) && up_load_acquire(&slot))
			u = up_xchg_acquire(&slot, NULL);
	}
	if (u && u == spinner && t_from > 0) {
		now = bench_now_ns();
		if (pickups < 64)
			pickup_samples[pickups++] = now - t_from;
		t_from = 0;
	}
	return u;
}

static const struct upcall_sched_ops slotted = {
	.size = sizeof(slotted),
	.name = "slotted",
	.init = plain_init,
	.fini = plain_fini,
	.ready = slot_ready,
	.pick = slot_pick,
};

static void *spinner_main(void *arg)
{
	spinner = upcall_uthread_self();
	while (up_load_relaxed((uint32_t *)&pickups) < 64)
		up_cpu_relax();
	up_store_release(&over, 1);
	return NULL;
}

/* Its slice ends; whichever of the two vcores polls takes it on. */
static int preempted_pickup(double *s, unsigned room)
{
	struct upcall_uthread *u;
	int r;

	if (bench_nr_cpus() < 2)
		return 0;
	pickup_samples = s;
	r = start(2, 1000000, &slotted);
	if (!r)
		r = upcall_uthread_create(&u, NULL, spinner_main, NULL);
	if (r)
		return r;
	upcall_uthread_join(u, NULL);
	return (int)pickups;
}

static int two_microseconds(double *s, unsigned room)
{
	s[0] = 2000;
	return 1;
}

/* ---- calls that do not block ---- */

#define CALLS 200u

static double per_call(long (*fn)(void))
{
	double from = bench_now_ns();
	unsigned i;

	for (i = 0; i < CALLS; i++)
		fn();
	return (bench_now_ns() - from) / CALLS;
}

static long call_raw(void)
{
	return up_syscall6(SYS_getppid, 0, 0, 0, 0, 0, 0);
}

static long (*libc_syscall)(long nr, ...);

/* libc's own, not the one that stands in front of it. */
static long call_libc(void)
{
	return libc_syscall(SYS_getppid, 0, 0, 0, 0, 0, 0);
}

static long call_announced(void)
{
	return upcall_syscall(SYS_getppid, 0, 0, 0, 0, 0, 0);
}

/* All within each turn, by turns, so that a change of the machine's mood meets all. */
static int call_turn(double *s, long (*fn)(void))
{
	static long (*const fns[])(void) = { call_raw, call_libc, call_announced };
	unsigned i, k;
	double ns;
	int r = start(1, 0, NULL);

	libc_syscall = (__typeof__(libc_syscall))dlsym(RTLD_NEXT, "syscall");
	if (r || !libc_syscall)
		return r ? r : -ENOENT;
	for (i = 0; i < ROUNDS; i++)
		for (k = 0; k < UP_ARRAY_LEN(fns); k++) {
			ns = per_call(fns[k]);
			if (fns[k] == fn)
				s[i] = ns;
		}
	return (int)cut(s, ROUNDS);
}

static int announced_call(double *s, unsigned room)
{
	return call_turn(s, call_announced);
}

static int libc_call(double *s, unsigned room)
{
	return call_turn(s, call_libc);
}

static int raw_call(double *s, unsigned room)
{
	return call_turn(s, call_raw);
}

/* ---- critical sections ---- */

#define SECTIONS 1000u

static uint64_t counter;

static void section_none(void)
{
	__asm__ __volatile__("addq $1, %0" : "+m"(counter));
}

static void section_flag(void)
{
	upcall_critical_enter();
	section_none();
	upcall_critical_leave();
}

static void section_range(void)
{
	UPCALL_CS_ASM("addq $1, (%0)", : : "r"(&counter) : "memory", "cc");
}

static int sections(double *s, void (*fn)(void))
{
	unsigned i, k;
	double from;
	int r = start(1, 0, NULL);

	if (!r)
		r = upcall_critical_register(UPCALL_CS_TABLE);
	for (i = 0; i < ROUNDS && !r; i++) {
		from = bench_now_ns();
		for (k = 0; k < SECTIONS; k++)
			fn();
		s[i] = (bench_now_ns() - from) / SECTIONS;
	}
	return r ? r : (int)cut(s, ROUNDS);
}

static int no_section(double *s, unsigned room)
{
	return sections(s, section_none);
}

static int flag_section(double *s, unsigned room)
{
	return sections(s, section_flag);
}

static int range_section(double *s, unsigned room)
{
	return sections(s, section_range);
}

static long own_pid;

static void hit_none(long tid)
{
	up_syscall3(SYS_tgkill, own_pid, tid, SIGURG);
}

static void hit_flag(long tid)
{
	upcall_critical_enter();
	up_syscall3(SYS_tgkill, own_pid, tid, SIGURG);
	upcall_critical_leave();
}

static void hit_range(long tid)
{
	long nr = SYS_tgkill;

	UPCALL_CS_ASM("nop\n\tsyscall\n\tnop",
		      : "+a"(nr)
		      : "D"(own_pid), "S"(tid), "d"((long)SIGURG)
		      : "rcx", "r11", "memory", "cc");
}

/* The notification signal, sent to oneself from inside: all that follows, until the uthread goes on
 * behind its section. */
static int hit(double *s, void (*fn)(long))
{
	unsigned i;
	double from;
	int r = start(1, 0, NULL);

	own_pid = getpid();
	if (!r)
		r = upcall_critical_register(UPCALL_CS_TABLE);
	for (i = 0; i < ROUNDS && !r; i++) {
		long tid = up_syscall0(SYS_gettid);

		from = bench_now_ns();
		fn(tid);
		s[i] = bench_now_ns() - from;
	}
	return r ? r : (int)cut(s, ROUNDS);
}

static int no_section_hit(double *s, unsigned room)
{
	return hit(s, hit_none);
}

static int flag_section_hit(double *s, unsigned room)
{
	return hit(s, hit_flag);
}

static int range_section_hit(double *s, unsigned room)
{
	return hit(s, hit_range);
}

/* ---- two parallel programs on the same two cores ---- */

#define WORKERS 4u
#define RUN_NS	400000000.0

static struct {
	struct up_lock lock; /* vcore context takes it */
	struct upcall_uthread *waiting[WORKERS];
	unsigned nr;
	uint32_t phases; /* atomic */
	double until;
} barrier;

/* The last one to come lets all go on, itself included. */
static void barrier_enter(struct upcall_uthread *self, void *arg)
{
	struct upcall_uthread *go[WORKERS];
	unsigned i, nr = 0;

	up_lock_take(&barrier.lock);
	barrier.waiting[barrier.nr++] = self;
	if (barrier.nr == WORKERS) {
		for (nr = 0; nr < WORKERS; nr++)
			go[nr] = barrier.waiting[nr];
		barrier.nr = 0;
		up_store_relaxed(&barrier.phases, barrier.phases + 1);
		up_store_relaxed(&over, bench_now_ns() > barrier.until);
	}
	up_lock_drop(&barrier.lock);
	for (i = 0; i < nr; i++)
		upcall_wake(go[i]);
}

static void *phase_worker(void *arg)
{
	struct timespec nap = { 0, 100000 };
	unsigned i, phase = 0;

	while (!up_load_relaxed(&over)) {
		for (i = 0; i < 100000; i++)
			__asm__ __volatile__("");
		/* One of them sleeps in the kernel now and then, and tells nobody. */
		if (++phase % 16 == 4 * (unsigned)(uintptr_t)arg)
			up_syscall2(SYS_nanosleep, &nap, NULL);
		upcall_block(barrier_enter, NULL);
	}
	return NULL;
}

/* Phases a second. */
static double parallel_program(void)
{
	struct upcall_uthread *u[WORKERS];
	double from;
	unsigned i;

	if (start(2, 10000000, NULL))
		return 0;
	from = bench_now_ns();
	barrier.until = from + RUN_NS;
	for (i = 0; i < WORKERS; i++)
		if (upcall_uthread_create(&u[i], NULL, phase_worker, (void *)(uintptr_t)i))
			return 0;
	for (i = 0; i < WORKERS; i++)
		upcall_uthread_join(u[i], NULL);
	return barrier.phases * 1e9 / (bench_now_ns() - from);
}

static void on_hang(int sig)
{
	upcall_dump(2);
	_exit(3);
}

static int copies(double *s, unsigned nr)
{
	double got, all = 0;
	unsigned i;
	int p[2], status, bad = 0;

	if (pipe(p))
		return -errno;
	for (i = 0; i < nr; i++)
		if (!fork()) {
			signal(SIGALRM, on_hang);
			alarm(8);
			got = parallel_program();
			_exit(write(p[1], &got, sizeof(got)) != sizeof(got) || got <= 0);
		}
	for (i = 0; i < nr; i++) {
		wait(&status);
		bad |= !WIFEXITED(status) || WEXITSTATUS(status);
	}
	for (i = 0; i < nr && !bad; i++)
		if (read(p[0], &got, sizeof(got)) == sizeof(got))
			all += got;
	s[0] = all;
	return bad ? -EIO : 1;
}

static int two_copies(double *s, unsigned room)
{
	return copies(s, 2);
}

static int one_copy(double *s, unsigned room)
{
	return copies(s, 1);
}

/* ---- how many kernel threads there are ---- */

#define SLEEPERS 64u

static unsigned count_tasks(void)
{
	unsigned n = 0;
	struct dirent *e;
	DIR *d = opendir("/proc/self/task");

	while (d && (e = readdir(d)))
		n += e->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

static void *blocked_main(void *arg)
{
	char c;

	up_syscall3(SYS_read, fds[0], &c, 1);
	return NULL;
}

static uint64_t blocked_now(void)
{
	struct upcall_stats st = { .size = sizeof(st) };

	return upcall_get_stats(&st) ? 0 : st.blocked[3] - st.unblocked[3];
}

static int tasks_peak(double *s, unsigned room)
{
	struct upcall_uthread *u[SLEEPERS];
	unsigned i, peak = 0, n;
	double until = bench_now_ns() + 2e9;
	int r = pipe(fds) ? -errno : start(2, 0, NULL);

	for (i = 0; i < SLEEPERS && !r; i++)
		r = upcall_uthread_create(&u[i], NULL, blocked_main, NULL);
	while (!r && blocked_now() < SLEEPERS && bench_now_ns() < until) {
		n = count_tasks();
		peak = n > peak ? n : peak;
		upcall_yield();
	}
	n = count_tasks();
	s[0] = n > peak ? n : peak;
	for (i = 0; i < SLEEPERS && !r; i++)
		r = write(fds[1], "x", 1) == 1 ? 0 : -errno;
	for (i = 0; i < SLEEPERS && !r; i++)
		r = upcall_uthread_join(u[i], NULL);
	return r ? r : 1;
}

/* docs/handover.md has the sum. */
static int tasks_limit(double *s, unsigned room)
{
	s[0] = 2 * 2 + SLEEPERS + (2 * 2 + POOL_SPARE) + 3;
	return 1;
}

static struct bench_row rows[] = {
	{ "block_to_next",
	  "ns",
	  1,
	  "a uthread blocks in an announced read(); the next one runs",
	  { { "upcall", block_to_next_announced, 0, 0, 0, 0, NULL },
	    { "futex_wake_to_run", futex_wake_to_run, 0, 0, 0, 0, NULL },
	    { "futex_ping_pong", futex_ping_pong, 0, 0, 0, 0, NULL } },
	  2.0,
	  false,
	  false },
	{ "block_to_next_unannounced",
	  "ns",
	  1,
	  "the same in a plain read(): a look at /proc more",
	  { { "upcall", block_to_next, 0, 0, 0, 0, NULL },
	    { "futex_wake_to_run", futex_wake_to_run, 0, 0, 0, 0, NULL },
	    { "look", look, 0, 0, 0, 0, NULL } },
	  2.0,
	  false,
	  false },
	{ "unblock_to_back",
	  "ns",
	  1,
	  "write() to the pipe, until the scheduler has the reader, vcore busy",
	  { { "upcall", unblock_to_back, 0, 0, 0, 0, NULL },
	    { "kernel_thread", kernel_thread_back, 0, 0, 0, 0, NULL },
	    { "upcall_announced", unblock_to_back_announced, 0, 0, 0, 0, NULL },
	    { "upcall_rested", unblock_to_back_rested, 0, 0, 0, 0, NULL },
	    { "kernel_thread_rested", kernel_thread_rested, 0, 0, 0, 0, NULL } },
	  0,
	  false,
	  false },
	{ "self_notify",
	  "ns",
	  1,
	  "an event to one's own vcore, until it has been handled",
	  { { "upcall", self_notify, 0, 0, 0, 0, NULL },
	    { "raw_signal", raw_signal, 0, 0, 0, 0, NULL } },
	  1.3,
	  false,
	  false },
	{ "preempted_pickup",
	  "ns",
	  2,
	  "a preempted uthread given to the scheduler, until a polling vcore has it",
	  { { "upcall", preempted_pickup, 0, 0, 0, 0, NULL },
	    { "limit", two_microseconds, 0, 0, 0, 0, NULL } },
	  1.0,
	  false,
	  false },
	{ "announced_call_overhead",
	  "ns",
	  1,
	  "getppid, which does not block",
	  { { "upcall", announced_call, 0, 0, 0, 0, NULL },
	    { "syscall()", libc_call, 0, 0, 0, 0, NULL },
	    { "raw", raw_call, 0, 0, 0, 0, NULL } },
	  10,
	  true,
	  false },
	{ "critical_section",
	  "ns",
	  1,
	  "one increment in a section",
	  { { "flag", flag_section, 0, 0, 0, 0, NULL },
	    { "none", no_section, 0, 0, 0, 0, NULL },
	    { "range", range_section, 0, 0, 0, 0, NULL } },
	  0,
	  false,
	  false },
	{ "critical_section_preempted",
	  "ns",
	  1,
	  "the same, hit by a notification inside",
	  { { "flag", flag_section_hit, 0, 0, 0, 0, NULL },
	    { "none", no_section_hit, 0, 0, 0, 0, NULL },
	    { "range", range_section_hit, 0, 0, 0, 0, NULL } },
	  0,
	  false,
	  false },
	{ "two_copies",
	  "phases/s",
	  2,
	  "two copies of a parallel program on the same cores, together",
	  { { "two", two_copies, 0, 0, 0, 0, NULL }, { "alone", one_copy, 0, 0, 0, 0, NULL } },
	  0.9,
	  false,
	  true },
	{ "tasks_peak",
	  "tasks",
	  2,
	  "kernel threads while 64 uthreads block, and the documented most",
	  { { "upcall", tasks_peak, 0, 0, 0, 0, NULL },
	    { "limit", tasks_limit, 0, 0, 0, 0, NULL } },
	  1.0,
	  false,
	  false },
};

int main(int argc, char **argv)
{
	return bench_main(argc, argv, rows, UP_ARRAY_LEN(rows), 10);
}
