/* SPDX-License-Identifier: MIT */
/*
 * What a kernel gives the runtime to stand on, told as TAP: a point fails where something is missing
 * that cannot be done without; the notes say what is worth knowing. Run by hand or on another kernel
 * by tools/emulate/run.sh. Times are noted, not judged (but one bound a wide margin from normal), for
 * an emulator's are not to be compared.
 */
#include "probe.h"

#include <errno.h>
#include <linux/magic.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic.h"
#include "tap.h"

#define NR_FACT_POINTS 6

void probe_point(bool good, const char *fmt, ...)
{
	char text[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	tap_ok(good, "%s", text);
}

void probe_note(const char *fmt, ...)
{
	char text[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	tap_note("%s", text);
}

uint64_t probe_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void *thread_main(void *arg)
{
	struct probe_thread *thread = arg;
	struct sched_param param = { 0 };
	cpu_set_t set;

	if (thread->cpu >= 0) {
		CPU_ZERO(&set);
		CPU_SET(thread->cpu, &set);
		sched_setaffinity(0, sizeof(set), &set);
	}
	if (sched_setscheduler(0, thread->policy, &param))
		thread->policy_err = errno;
	/* pairs with probe_thread_start: the policy's result is there */
	up_store_release(&thread->tid, (pid_t)syscall(SYS_gettid));
	thread->run(thread);
	return NULL;
}

void probe_thread_start(struct probe_thread *thread)
{
	if (pipe(thread->fds) || pthread_create(&thread->id, NULL, thread_main, thread))
		abort();
	while (!up_load_acquire(&thread->tid)) /* pairs with thread_main */
		sched_yield();
}

void probe_thread_join(struct probe_thread *thread)
{
	pthread_join(thread->id, NULL);
	close(thread->fds[0]);
	close(thread->fds[1]);
}

static ssize_t slurp(const char *path, char *ret_text, size_t size)
{
	FILE *file = fopen(path, "re");
	size_t got;

	if (!file)
		return -errno;
	got = fread(ret_text, 1, size - 1, file);
	ret_text[got] = '\0';
	ret_text[strcspn(ret_text, "\n")] = '\0';
	fclose(file);
	return (ssize_t)got;
}

bool probe_syscall_file(pid_t tid, char *ret_text, size_t size)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", (int)tid);
	return slurp(path, ret_text, size) > 0;
}

bool probe_wait_in_read(const struct probe_thread *thread)
{
	uint64_t give_up = probe_now_ns() + 2000000000u;
	char want[32], text[128];

	snprintf(want, sizeof(want), "%d 0x%x ", SYS_read, (unsigned)thread->fds[0]);
	while (probe_now_ns() < give_up) {
		if (probe_syscall_file(thread->tid, text, sizeof(text)) &&
		    !strncmp(text, want, strlen(want)))
			return true;
		sched_yield();
	}
	return false;
}

static void note_file(const char *what, const char *path)
{
	char text[160];
	ssize_t got = slurp(path, text, sizeof(text));

	if (got < 0)
		tap_note("%s: %s", what, strerror((int)-got));
	else
		tap_note("%s: %s", what, text);
}

static void note_machine(int nr_cpus)
{
	struct utsname name;
	struct timespec res;
	struct rlimit nice_limit;

	uname(&name);
	clock_getres(CLOCK_MONOTONIC_COARSE,
		     &res); /* one tick: sysconf(_SC_CLK_TCK) is always 100 */
	getrlimit(RLIMIT_NICE, &nice_limit);
	tap_note("kernel %s, %s", name.release, name.version);
	tap_note("HZ %ld, %d processors, uid %d, RLIMIT_NICE %lu", 1000000000 / res.tv_nsec,
		 nr_cpus, (int)getuid(), (unsigned long)nice_limit.rlim_cur);
	note_file("autogroup", "/proc/sys/kernel/sched_autogroup_enabled");
	note_file("clock source",
		  "/sys/devices/system/clocksource/clocksource0/current_clocksource");
	note_file("preemption model (root only)", "/sys/kernel/debug/sched/preempt");
	note_file("sched_ext", "/sys/kernel/sched_ext/state");
}

static long try_perf(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_DUMMY,
		.context_switch = 1,
		.exclude_kernel = 1,
		.exclude_hv = 1,
	};
	long fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);

	if (fd < 0)
		return -errno;
	close((int)fd);
	return 0;
}

static long try_io_uring(void)
{
	char params[120] = { 0 }; /* struct io_uring_params */
	long fd = syscall(SYS_io_uring_setup, 4, params);

	if (fd < 0)
		return -errno;
	close((int)fd);
	return 0;
}

static const char *worked(long result)
{
	return result ? strerror((int)-result) : "works";
}

/* Things that the runtime uses where they are and does without where not. */
static void note_extras(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long uffd = syscall(SYS_userfaultfd, 1 /* UFFD_USER_MODE_ONLY */);

	tap_note("io_uring: %s", worked(try_io_uring()));
	note_file("perf_event_paranoid", "/proc/sys/kernel/perf_event_paranoid");
	tap_note("perf context-switch records on oneself: %s", worked(try_perf()));
	tap_note("userfaultfd, user mode only: %s", worked(uffd < 0 ? -errno : 0));
	tap_note("MADV_GUARD_INSTALL: %s", worked(madvise(page, 4096, 102) ? -errno : 0));
	munmap(page, 4096);
	if (uffd >= 0)
		close((int)uffd);
}

/* Six points. */
static void facts(void)
{
	struct statfs fs = { 0 };
	cpu_set_t set;
	int allowed;
	unsigned long base = 0;
	bool fsgsbase = getauxval(AT_HWCAP2) & 2;

	if (fsgsbase)
		__asm__ volatile("rdfsbase %0" : "=r"(base));
	tap_ok(fsgsbase && base == (unsigned long)pthread_self(), "FSGSBASE told by HWCAP2, works");
	tap_ok(__builtin_cpu_supports("avx2"), "AVX2");
	tap_ok(__rseq_size > 0, "rseq registered by libc (flags %u, kernel %lu bytes)",
	       __rseq_flags, getauxval(27 /* AT_RSEQ_FEATURE_SIZE */));
	if (statfs("/sys/fs/cgroup", &fs) || fs.f_type != CGROUP2_SUPER_MAGIC)
		statfs("/sys/fs/cgroup/unified", &fs);
	tap_ok(fs.f_type == CGROUP2_SUPER_MAGIC, "cgroup v2 mounted where one looks for it");
	CPU_ZERO(&set);
	allowed = sched_getaffinity(0, sizeof(set), &set) ? 0 : CPU_COUNT(&set);
	tap_ok(allowed > 0, "%d CPUs allowed", allowed);
	tap_ok(!access("/proc/self/task", R_OK) && !access("/dev/shm", W_OK) &&
		       !access("/tmp", W_OK),
	       "/proc, /dev/shm and /tmp as a program expects");
}

static void read_once(struct probe_thread *thread)
{
	char byte;

	while (read(thread->fds[0], &byte, 1) < 0 && errno == EINTR)
		;
}

static void spin_until_stop(struct probe_thread *thread)
{
	while (!up_load_relaxed(&thread->stop)) /* the join orders what matters */
		up_cpu_relax();
}

/* Three points. */
static void syscall_files(int nr_cpus)
{
	struct probe_thread reader = { .cpu = -1, .run = read_once };
	struct probe_thread runner = { .cpu = nr_cpus - 1, .run = spin_until_stop };
	struct probe_thread idle = { .cpu = -1, .policy = SCHED_IDLE, .run = read_once };
	struct sched_param param = { 0 };
	uint64_t give_up;
	char text[128] = "";
	int err = 0;

	probe_thread_start(&reader);
	tap_ok(probe_wait_in_read(&reader),
	       "a blocked thread's syscall file names read and its fd");
	if (write(reader.fds[1], "x", 1) != 1)
		abort();
	probe_thread_join(&reader);

	probe_thread_start(&runner);
	give_up = probe_now_ns() + 2000000000u;
	do {
		probe_syscall_file(runner.tid, text, sizeof(text));
	} while (strcmp(text, "running") && probe_now_ns() < give_up);
	tap_ok(!strcmp(text, "running"), "a running thread's syscall file says \"running\"");
	up_store_relaxed(&runner.stop, 1); /* a flag and nothing beside it */
	probe_thread_join(&runner);

	probe_thread_start(&idle);
	if (!idle.policy_err && sched_setscheduler(idle.tid, SCHED_OTHER, &param))
		err = errno;
	tap_ok(!idle.policy_err, "SCHED_IDLE can be set (and back: %s)", worked(-err));
	if (write(idle.fds[1], "x", 1) != 1)
		abort();
	probe_thread_join(&idle);
}

int main(void)
{
	int nr_cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);

	tap_plan(NR_FACT_POINTS + NR_SYSCALL_POINTS + NR_SIGNAL_POINTS + NR_WAKE_POINTS);
	note_machine(nr_cpus);
	note_extras();
	facts();
	syscall_files(nr_cpus);
	probe_signals(nr_cpus);
	probe_wakes(nr_cpus);
	return tap_done();
}
