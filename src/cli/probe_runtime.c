/* SPDX-License-Identifier: MIT */
/*
 * The runtime itself, started in a child process: whether that works here is what the doctor's exit
 * status says, and what its parts cost is measured in it.  The child is killed if it does not answer.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <upcall/upcall.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "cli/probe.h"

#define PATIENCE_MS 10000
#define ROUNDS	    101
#define NAP_NS	    100000
#define SEEN_NS	    (5 * UP_NSEC_PER_SEC)
#define BATCHES	    20
#define YIELDS	    1000 /* a batch */

struct answer {
	bool whole; /* the child came to its end */
	int error;
	uint64_t start_ns, stop_ns;
	double yield_ns, create_ns, announced_ns, unannounced_ns;
	struct upcall_stats st;
};

static struct answer answer;
static bool asked;

/* ---- in the child ---- */

static struct {
	uint64_t first_ns; /* when the other ran first since this was 0 */
	bool end;	   /* relaxed: a flag alone */
} other;

static void *run_other(void *arg)
{
	while (!up_load_relaxed(&other.end)) {
		if (!other.first_ns)
			other.first_ns = up_now_ns();
		upcall_yield();
	}
	return arg;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* In the kernel, unlike upcall_sleep_ns(). */
static void announced_nap(uint64_t ns)
{
	struct timespec ts = { 0, (long)ns };

	upcall_syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, (long)&ts, 0, 0, 0);
}

/* From the moment before a sleep to the other uthread's first instruction. */
static double hand_over(bool announced)
{
	struct timespec nap = { 0, NAP_NS };
	uint64_t took[ROUNDS], from;
	unsigned i;

	for (i = 0; i < ROUNDS; i++) {
		upcall_yield();
		other.first_ns = 0;
		from = up_now_ns();
		if (announced)
			announced_nap(NAP_NS);
		else
			nanosleep(&nap, NULL);
		/* Both came back at once: it has not run. */
		took[i] = other.first_ns > from ? other.first_ns - from : NAP_NS;
	}
	qsort(took, ROUNDS, sizeof(took[0]), by_size);
	return (double)took[ROUNDS / 2];
}

static void *nothing(void *arg)
{
	return arg;
}

/* Where others keep the CPU busy a short sleep is over before anybody looks: longer ones, for a while. */
static void be_seen(void)
{
	struct upcall_stats st = { .size = sizeof(st) };
	struct timespec nap = { 0, 10 * NAP_NS };
	uint64_t until = up_now_ns() + SEEN_NS;

	while (!upcall_get_stats(&st) && up_now_ns() < until) {
		if (!st.blocked[0])
			announced_nap(10 * NAP_NS);
		if (!st.blocked[3])
			nanosleep(&nap, NULL);
		if (st.blocked[0] && st.blocked[3] && st.unblocked[3])
			return;
	}
}

/* The best of several batches of nr, since whoever else is at work here interrupts some. */
static double best_of(void (*fn)(void), unsigned nr)
{
	double best = -1, ns;
	uint64_t from;
	unsigned batch, i;

	for (batch = 0; batch < BATCHES; batch++) {
		from = up_now_ns();
		for (i = 0; i < nr; i++)
			fn();
		ns = (double)(up_now_ns() - from) / nr;
		if (best < 0 || ns < best)
			best = ns;
	}
	return best;
}

static void yield_once(void)
{
	upcall_yield();
}

static void create_once(void)
{
	struct upcall_uthread *u;

	if (!upcall_uthread_create(&u, NULL, nothing, NULL))
		upcall_uthread_join(u, NULL);
}

static void measure(struct answer *a)
{
	struct upcall_uthread *u;

	if (upcall_uthread_create(&u, NULL, run_other, NULL))
		return;
	a->yield_ns = best_of(yield_once, YIELDS) / 2; /* a turn of the other's for each of ours */
	a->announced_ns = hand_over(true);
	a->unannounced_ns = hand_over(false);
	be_seen();
	up_store_relaxed(&other.end, true);
	upcall_uthread_join(u, NULL);
	a->create_ns = best_of(create_once, YIELDS / 10);
}

static void live(int to)
{
	struct upcall_opts opts = { .size = sizeof(opts), .vcores = 1 };
	struct answer a = { .st.size = sizeof(a.st) };
	uint64_t from = up_now_ns();

	a.error = -upcall_start(&opts);
	a.start_ns = up_now_ns() - from;
	if (!a.error) {
		measure(&a);
		upcall_get_stats(&a.st);
		from = up_now_ns();
		a.error = -upcall_stop();
		a.stop_ns = up_now_ns() - from;
	}
	a.whole = true;
	if (write(to, &a, sizeof(a)) != (ssize_t)sizeof(a))
		_exit(1);
	_exit(0);
}

/* ---- in the parent ---- */

static void ask(void)
{
	int fds[2], status;
	struct pollfd pfd;
	pid_t pid;

	if (asked || pipe(fds))
		return;
	asked = true;
	pid = fork();
	if (!pid)
		live(fds[1]);
	close(fds[1]);
	pfd = (struct pollfd){ .fd = fds[0], .events = POLLIN };
	if (pid < 0)
		answer.error = errno;
	else if (poll(&pfd, 1, PATIENCE_MS) <= 0)
		answer.error = ETIMEDOUT;
	else if (read(fds[0], &answer, sizeof(answer)) != (ssize_t)sizeof(answer))
		answer.error = ECHILD; /* it died */
	close(fds[0]);
	if (pid < 0)
		return;
	if (answer.error == ETIMEDOUT)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
}

static bool works(void)
{
	ask();
	return answer.whole && !answer.error;
}

static void look_start(struct probe_result *r)
{
	r->state = works() ? PROBE_YES : PROBE_NO;
	if (r->state == PROBE_YES) {
		r->cost_ns = (double)(answer.start_ns + answer.stop_ns);
		r->cost_of = "start and stop";
	} else {
		probe_detail(r, answer.error == ECHILD ? "the attempt died" : "%s",
			     strerror(answer.error));
	}
}

static void look_uthreads(struct probe_result *r)
{
	if (!works() || answer.create_ns <= 0)
		return;
	r->state = PROBE_YES;
	r->cost_ns = answer.create_ns;
	r->cost_of = "create and join";
	probe_detail(r, "a yield takes %.0f ns", answer.yield_ns);
}

static void look_announced(struct probe_result *r)
{
	if (!works() || !answer.st.blocked[0])
		return;
	r->state = PROBE_YES;
	r->cost_ns = answer.announced_ns;
	r->cost_of = "from the call to the next uthread";
}

static void look_watcher(struct probe_result *r)
{
	if (!works() || !answer.st.blocked[3])
		return;
	r->state = PROBE_YES;
	r->cost_ns = answer.unannounced_ns;
	r->cost_of = "from the call to the next uthread";
	if (answer.st.backstop)
		probe_detail(r, "%llu of %llu were found by the lookout instead: the CPU is busy",
			     (unsigned long long)answer.st.backstop,
			     (unsigned long long)(answer.st.blocked[0] + answer.st.blocked[3]));
}

/* What runs beside its vcore after a call is counted; led home by rseq it does not run at all. */
static void look_home(struct probe_result *r)
{
	if (!works() || !answer.st.unblocked[3])
		return;
	r->state = answer.st.behind_ns ? PROBE_NO : PROBE_YES;
	r->cost_ns = (double)answer.st.behind_ns / (double)answer.st.unblocked[3];
	r->cost_of = "run on beside the vcore, each call";
	if (r->state == PROBE_NO && getenv("UPCALL_NO_RSEQ"))
		probe_detail(r, "UPCALL_NO_RSEQ is set");
}

const struct probe probes_runtime[] = {
	{ "runtime", true, "many-core processes: vcores, uthreads, upcalls",
	  "the message says what was refused; `ulimit -u`, `ulimit -n` and seccomp are the usual "
	  "ones",
	  look_start },
	{ "uthreads", true, "threads that switch without Linux", "it comes with the runtime",
	  look_uthreads },
	{ "announced-calls", false, "a core goes on the moment that upcall_syscall() blocks",
	  "it comes with the runtime", look_announced },
	{ "watcher", false, "a core goes on when any call or a page fault blocks",
	  "SCHED_IDLE and /proc/self/task must be allowed (seccomp, hidepid)", look_watcher },
	{ "rseq-home", false,
	  "a call that nobody announced comes back to the scheduler before the program runs on",
	  "Linux up to 6.18 with restartable sequences, glibc 2.35, UPCALL_NO_RSEQ not set",
	  look_home },
	{ 0 },
};
