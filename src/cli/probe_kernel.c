/* SPDX-License-Identifier: MIT */
/*
 * Instructions and calls of the processor's and of Linux', tried and timed one by one.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "arch/arch.h"
#include "base/atomic.h"
#include "base/clock.h"
#include "base/futex.h"
#include "cli/probe.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE  103
#endif
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

static void refused(struct probe_result *r)
{
	probe_detail(r, "%s", strerror(errno));
}

/* ---- FS and GS bases ---- */

static void switch_base(void *arg)
{
	up_arch_set_fs(up_arch_get_fs());
}

static void look_fsgsbase(struct probe_result *r)
{
	bool here;

	up_arch_init(NULL, NULL, NULL, NULL);
	here = up_arch_fsgsbase;
	r->state = here ? PROBE_YES : PROBE_NO;
	r->cost_of = "read and set a base";
	r->cost_ns = probe_time(switch_base, NULL, here ? 10000 : 1000);
	up_arch_fsgsbase = false;
	if (here)
		probe_detail(r, "by system call it would take %.0f ns",
			     probe_time(switch_base, NULL, 1000));
	up_arch_fsgsbase = here;
}

static void look_rseq(struct probe_result *r)
{
	r->state = __rseq_size ? PROBE_YES : PROBE_NO;
	if (__rseq_size)
		probe_detail(r, "registered by glibc, %u bytes", __rseq_size);
}

/* ---- waking ---- */

#define WAKES 500

static struct {
	uint32_t turn;
	uint64_t woken_ns; /* when the wake was made */
	uint64_t took[WAKES];
} bell;

static void *sleeper(void *arg)
{
	uint32_t i;

	/* acquire, release: each writes what the other is to read before it hands the turn on */
	for (i = 0; i < WAKES; i++) {
		while (up_load_acquire(&bell.turn) <= 2 * i)
			up_futex_wait_private(&bell.turn, 2 * i, UP_FUTEX_FOREVER);
		bell.took[i] = up_now_ns() - bell.woken_ns;
		up_store_release(&bell.turn, 2 * i + 2);
		up_futex_wake_private(&bell.turn, 1);
	}
	return NULL;
}

static double median(uint64_t *v, unsigned nr)
{
	unsigned i, j;

	for (i = 1; i < nr; i++)
		for (j = i; j && v[j - 1] > v[j]; j--) {
			uint64_t t = v[j];

			v[j] = v[j - 1];
			v[j - 1] = t;
		}
	return (double)v[nr / 2];
}

static void look_futex(struct probe_result *r)
{
	pthread_t t;
	cpu_set_t one;
	pthread_attr_t attr;
	uint32_t i;

	memset(&bell, 0, sizeof(bell));
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	pthread_attr_init(&attr);
	pthread_attr_setaffinity_np(&attr, sizeof(one), &one); /* as a watcher beside its vcore */
	i = (uint32_t)pthread_create(&t, &attr, sleeper, NULL);
	pthread_attr_destroy(&attr);
	if (i) {
		probe_detail(r, "%s", strerror((int)i));
		return;
	}
	for (i = 0; i < WAKES; i++) {
		bell.woken_ns = up_now_ns();
		up_store_release(&bell.turn, 2 * i + 1);
		up_futex_wake_private(&bell.turn, 1);
		while (up_load_acquire(&bell.turn) == 2 * i + 1)
			up_futex_wait_private(&bell.turn, 2 * i + 1, UP_FUTEX_FOREVER);
	}
	pthread_join(t, NULL);
	r->state = PROBE_YES;
	r->cost_ns = median(bell.took, WAKES);
	r->cost_of = "from a wake to the sleeper's next instruction";
}

/* ---- signals and timers ---- */

static void on_signal(int sig)
{
}

static void send_self(void *arg)
{
	syscall(SYS_tgkill, getpid(), gettid(), SIGURG);
}

static void look_timer(struct probe_result *r)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGURG };
	struct sigaction sa = { .sa_handler = on_signal }, old;
	struct timespec tick;
	timer_t timer;

	ev._sigev_un._tid = gettid();
	if (timer_create(CLOCK_THREAD_CPUTIME_ID, &ev, &timer)) {
		refused(r);
		return;
	}
	timer_delete(timer);
	r->state = PROBE_YES;
	sigaction(SIGURG, &sa, &old);
	r->cost_ns = probe_time(send_self, NULL, 1000);
	r->cost_of = "send and take a signal";
	sigaction(SIGURG, &old, NULL);
	clock_getres(CLOCK_MONOTONIC_COARSE, &tick);
	probe_detail(r, "the kernel's tick is %.1f ms; shorter slices take a slicer thread",
		     (double)up_timespec_ns(&tick) / 1e6);
}

/* sched_setattr(2) with a slice: Linux 6.12 gives back what it was told. */
static void look_slice(struct probe_result *r)
{
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} was = { 0 }, a;

	if (syscall(SYS_sched_getattr, 0, &was, sizeof(was), 0)) {
		refused(r);
		return;
	}
	a = was;
	a.size = sizeof(a);
	a.runtime = 200 * UP_NSEC_PER_USEC;
	if (syscall(SYS_sched_setattr, 0, &a, 0) ||
	    syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0)) {
		refused(r);
		return;
	}
	r->state = a.runtime == 200 * UP_NSEC_PER_USEC ? PROBE_YES : PROBE_NO;
	was.size = sizeof(was);
	was.runtime = 0;
	syscall(SYS_sched_setattr, 0, &was, 0);
}

/* ---- looking at a sleeper ---- */

static void read_file(void *arg)
{
	char buf[160];

	if (pread(*(int *)arg, buf, sizeof(buf), 0) < 0)
		*(int *)arg = -1;
}

static void look_proc(struct probe_result *r)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", gettid());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		refused(r);
		return;
	}
	r->cost_ns = probe_time(read_file, &fd, 1000);
	r->cost_of = "a look";
	r->state = fd >= 0 ? PROBE_YES : PROBE_NO;
	if (fd >= 0)
		close(fd);
}

/* ---- memory ---- */

static void guard_by_advice(void *at)
{
	madvise(at, 4096, MADV_GUARD_INSTALL);
	madvise(at, 4096, MADV_GUARD_REMOVE);
}

static void guard_by_mapping(void *at)
{
	mprotect(at, 4096, PROT_NONE);
	mprotect(at, 4096, PROT_READ | PROT_WRITE);
}

static void look_guard(struct probe_result *r)
{
	char *at = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED) {
		refused(r);
		return;
	}
	r->state = madvise(at + 4096, 4096, MADV_GUARD_INSTALL) ? PROBE_NO : PROBE_YES;
	r->cost_of = "put a guard and take it away";
	if (r->state == PROBE_YES) {
		r->cost_ns = probe_time(guard_by_advice, at + 4096, 1000);
		probe_detail(r, "by mprotect it would take %.0f ns",
			     probe_time(guard_by_mapping, at + 8192, 1000));
	} else {
		r->cost_ns = probe_time(guard_by_mapping, at + 8192, 1000);
		probe_detail(r, "mprotect instead: a mapping a stack, 65530 by default");
	}
	munmap(at, 16384);
}

static void look_populate(struct probe_result *r)
{
	void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED || madvise(at, 4096, MADV_POPULATE_WRITE))
		refused(r);
	else
		r->state = PROBE_YES;
	if (at != MAP_FAILED)
		munmap(at, 4096);
}

/* ---- what is not needed yet ---- */

/* A call that makes a descriptor: there, and how long it takes. */
static void look_fd(struct probe_result *r, int fd, uint64_t from, const char *of)
{
	if (fd < 0) {
		refused(r);
		return;
	}
	r->state = PROBE_YES;
	r->cost_ns = (double)(up_now_ns() - from);
	r->cost_of = of;
	close(fd);
}

static void look_io_uring(struct probe_result *r)
{
	struct io_uring_params p = { 0 };
	uint64_t from = up_now_ns();

	look_fd(r, (int)syscall(SYS_io_uring_setup, 8, &p), from, "make a ring");
}

static void look_userfaultfd(struct probe_result *r)
{
	uint64_t from = up_now_ns();
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0) {
		from = up_now_ns();
		fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
		if (fd >= 0)
			probe_detail(r, "for faults in user mode only");
	}
	look_fd(r, fd, from, "make one");
}

static void look_bpf(struct probe_result *r)
{
	union bpf_attr a = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 1
	};
	uint64_t from = up_now_ns();

	look_fd(r, (int)syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof(a)), from, "make a map");
}

static void look_sched_ext(struct probe_result *r)
{
	char state[32];

	if (probe_file("/sys/kernel/sched_ext/state", state, sizeof(state))) {
		r->state = PROBE_YES;
		probe_detail(r, "%s", state);
	}
}

static void look_perf(struct probe_result *r)
{
	struct perf_event_attr a = { .type = PERF_TYPE_HARDWARE,
				     .size = sizeof(a),
				     .config = PERF_COUNT_HW_CPU_CYCLES,
				     .exclude_kernel = 1 };
	uint64_t from = up_now_ns();
	int fd = (int)syscall(SYS_perf_event_open, &a, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd < 0 && errno == ENOENT) {
		a.type = PERF_TYPE_SOFTWARE;
		a.config = PERF_COUNT_SW_TASK_CLOCK;
		from = up_now_ns();
		fd = (int)syscall(SYS_perf_event_open, &a, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
		if (fd >= 0)
			probe_detail(r, "software counters only");
	}
	look_fd(r, fd, from, "open a counter");
}

const struct probe probes_kernel[] = {
	{ "fsgsbase", false, "a uthread's own TLS without a system call a switch",
	  "a processor since 2013, Linux 5.9; a sandbox such as Valgrind may hide it",
	  look_fsgsbase },
	{ "rseq", false, "restartable sequences, by which calls are led home",
	  "Linux 4.18 and glibc 2.35; GLIBC_TUNABLES=glibc.pthread.rseq=0 turns it off",
	  look_rseq },
	{ "futex", true, "parking and waking of kernel threads", "every Linux has it; seccomp?",
	  look_futex },
	{ "timer-signal", false, "slices: a uthread that does not give way is interrupted",
	  "CONFIG_POSIX_TIMERS, and RLIMIT_SIGPENDING above the number of threads", look_timer },
	{ "short-slice", false, "who wakes runs at once beside others' threads", "Linux 6.12",
	  look_slice },
	{ "proc-syscall", false, "one look tells whether a thread is blocked, and where",
	  "CONFIG_HAVE_ARCH_TRACEHOOK, and /proc mounted", look_proc },
	{ "guard-pages", false, "guarded stacks that share a mapping: no limit to their number",
	  "Linux 6.13 (MADV_GUARD_INSTALL)", look_guard },
	{ "populate", false, "memory that is there before vcore context touches it", "Linux 5.14",
	  look_populate },
	{ "io_uring", false, "files are read without a kernel thread each; else announced calls",
	  "sysctl kernel.io_uring_disabled=0; containers' seccomp profiles often refuse it",
	  look_io_uring },
	{ "userfaultfd", false, "not used yet: page faults as messages",
	  "sysctl vm.unprivileged_userfaultfd=1, or CAP_SYS_PTRACE", look_userfaultfd },
	{ "bpf", false, "not used yet: programs in the kernel",
	  "CAP_BPF, or sysctl kernel.unprivileged_bpf_disabled=0", look_bpf },
	{ "sched_ext", false, "not used yet: a scheduler of one's own in the kernel",
	  "Linux 6.12 with CONFIG_SCHED_CLASS_EXT", look_sched_ext },
	{ "perf", false, "counters, for profiles of what a core does",
	  "sysctl kernel.perf_event_paranoid=2 or less, or CAP_PERFMON", look_perf },
	{ 0 },
};
