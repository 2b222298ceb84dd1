/* SPDX-License-Identifier: MIT */
/*
 * The probe's part on signals: that they reach one thread, with all of its registers in the frame, and
 * that a timer on a thread's own CPU time raises them. Called by the probe's main, once.
 */
#include "probe.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/atomic.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define FP_XSTATE_MAGIC	  0x46505853u
#define XFEATURE_AVX	  4u
#define TICKS_OF_WORK_NS  200000000u
#define TIMER_INTERVAL_NS 1000000
#define NR_TGKILLS	  50

/* Written by the handler, read once it is known to have run. */
static struct {
	uint32_t hits;
	uint32_t strangers; /* ran on a thread that it was not meant for */
	pid_t meant;
	uint32_t xstate_size;
	uint64_t xfeatures;
	uint64_t stamp_ns;
} seen;

static void handler(int signo, siginfo_t *info, void *context)
{
	const char *fp = (const char *)((ucontext_t *)context)->uc_mcontext.fpregs;
	uint32_t magic;

	/* The kernel's own words about the frame, in the reserved end of the FXSAVE area. */
	memcpy(&magic, fp + 464, sizeof(magic));
	if (magic == FP_XSTATE_MAGIC) {
		memcpy(&seen.xstate_size, fp + 468, sizeof(seen.xstate_size));
		memcpy(&seen.xfeatures, fp + 472, sizeof(seen.xfeatures));
	}
	if ((pid_t)syscall(SYS_gettid) != seen.meant)
		seen.strangers++;
	seen.stamp_ns = probe_now_ns();
	up_fetch_add_release(&seen.hits, 1); /* pairs with whoever waits for a hit */
}

static uint64_t thread_cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* One point. A blocked thread gets a notification too, to see that none comes without CPU time. */
static void cpu_time_timer(void)
{
	struct itimerspec when = { { 0, TIMER_INTERVAL_NS }, { 0, TIMER_INTERVAL_NS } };
	struct timespec pause = { 0, 100000000 };
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
	uint64_t until;
	uint32_t spun, slept;
	timer_t timer;
	int err;

	seen.meant = event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
	if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer)) {
		probe_point(false, "a timer on the thread's CPU time: %s", strerror(errno));
		return;
	}
	timer_settime(timer, 0, &when, NULL);
	until = thread_cpu_ns() + TICKS_OF_WORK_NS;
	while (thread_cpu_ns() < until)
		;
	spun = up_load_acquire(&seen.hits); /* our own handler's */
	err = nanosleep(&pause, NULL) ? errno : 0;
	slept = up_load_acquire(&seen.hits) - spun; /* our own handler's */
	timer_delete(timer);
	probe_point(spun > 0 && !seen.strangers && slept <= 1,
		    "1 ms timer on CPU time: %u in 200 ms of work, %u in 100 ms of sleep (%s)",
		    spun, slept, err ? "EINTR" : "no EINTR");
}

static void spin_counting(struct probe_thread *thread)
{
	while (!up_load_relaxed(&thread->stop))		   /* a flag and nothing beside it */
		up_fetch_add_relaxed(&thread->counter, 1); /* a sign of life */
}

static void read_through(struct probe_thread *thread)
{
	char byte;
	ssize_t got = read(thread->fds[0], &byte, 1);

	thread->counter = got == 1 ? 0 : (uint64_t)errno;
}

static bool hit_within(uint32_t hits, uint64_t ns)
{
	uint64_t give_up = probe_now_ns() + ns;

	while (up_load_acquire(&seen.hits) == hits) { /* pairs with handler: its stamp is there */
		if (probe_now_ns() > give_up)
			return false;
		up_cpu_relax();
	}
	return true;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* One point: each signal sent to a thread that runs on another CPU arrives. */
static void signal_running(int nr_cpus)
{
	struct probe_thread thread = { .cpu = nr_cpus - 1, .run = spin_counting };
	uint64_t took[NR_TGKILLS];
	int nr = 0;

	probe_thread_start(&thread);
	seen.meant = thread.tid;
	for (; nr < NR_TGKILLS; nr++) {
		uint32_t hits = up_load_acquire(&seen.hits); /* pairs with handler */
		uint64_t sent = probe_now_ns();

		if (syscall(SYS_tgkill, getpid(), thread.tid, SIGUSR1) ||
		    !hit_within(hits, 2000000000u))
			break;
		took[nr] = seen.stamp_ns - sent;
	}
	up_store_relaxed(&thread.stop, 1); /* a flag and nothing beside it */
	probe_thread_join(&thread);
	qsort(took, (size_t)nr, sizeof(took[0]), by_size);
	probe_point(nr == NR_TGKILLS && !seen.strangers,
		    "%d of %d signals reach a running thread: median %.0f us, max %.0f us", nr,
		    NR_TGKILLS, nr ? (double)took[nr / 2] / 1e3 : 0.0,
		    nr ? (double)took[nr - 1] / 1e3 : 0.0);
}

/* One point: the handler of a thread in read(2) runs, and SA_RESTART continues the read. */
static void signal_blocked(void)
{
	struct probe_thread thread = { .cpu = -1, .run = read_through };
	uint32_t hits = up_load_acquire(&seen.hits); /* pairs with handler */
	bool hit, again;

	probe_thread_start(&thread);
	seen.meant = thread.tid;
	hit = probe_wait_in_read(&thread) && !syscall(SYS_tgkill, getpid(), thread.tid, SIGUSR1) &&
	      hit_within(hits, 2000000000u);
	again = probe_wait_in_read(&thread);
	if (write(thread.fds[1], "x", 1) != 1)
		abort();
	probe_thread_join(&thread);
	probe_point(hit && again && !thread.counter && !seen.strangers,
		    "a signal runs in a thread blocked in read, which goes on (errno %d)",
		    (int)thread.counter);
}

void probe_signals(int nr_cpus)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART };

	sigfillset(&action.sa_mask);
	sigaction(SIGUSR1, &action, NULL);
	cpu_time_timer();
	signal_running(nr_cpus);
	signal_blocked();
	probe_point(seen.xfeatures & XFEATURE_AVX,
		    "the frame has the AVX state (features %#llx, %u bytes)",
		    (unsigned long long)seen.xfeatures, seen.xstate_size);
}
