/* SPDX-License-Identifier: MIT */
/*
 * The probe's part on wake-ups: does a SCHED_IDLE thread on the same CPU run as soon as its neighbour
 * blocks, and who waits how long when that neighbour is woken again. The first is what the runtime's
 * watcher rests on; the others differ between preemption models (a lazy one may keep a running thread
 * until the next tick), so they are noted. Called by the probe's main, once.
 */
#include "probe.h"

#include <linux/membarrier.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/atomic.h"

#define NR_ROUNDS      50
#define WATCH_LIMIT_NS 50000000u
#define ROUND_LIMIT_NS 2000000000u
#define POLICY_NOBODY  (-1)

struct times {
	uint64_t ns[NR_ROUNDS];
	int nr;
};

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static double sorted_us(struct times *times, int permille)
{
	if (!times->nr)
		return 0;
	qsort(times->ns, (size_t)times->nr, sizeof(times->ns[0]), by_size);
	return (double)times->ns[(times->nr - 1) * permille / 1000] / 1e3;
}

/* Reads a byte a round and stamps when it had it; the pipe's end ends it. */
static void sleep_and_stamp(struct probe_thread *thread)
{
	char byte;

	while (read(thread->fds[0], &byte, 1) == 1 && byte == 'x') {
		thread->stamp_ns = probe_now_ns();
		up_fetch_add_release(&thread->counter, 1); /* pairs with round_done: the stamp */
	}
}

static void spin_counting(struct probe_thread *thread)
{
	while (!up_load_relaxed(&thread->stop))		   /* a flag and nothing beside it */
		up_fetch_add_relaxed(&thread->counter, 1); /* a sign of life */
}

static bool moved_on(uint64_t *counter, uint64_t from)
{
	uint64_t give_up = probe_now_ns() + ROUND_LIMIT_NS;

	while (up_load_acquire(counter) == from) { /* pairs with sleep_and_stamp */
		if (probe_now_ns() > give_up)
			return false;
		up_cpu_relax();
	}
	return true;
}

/*
 * Wakes a SCHED_OTHER thread on the last CPU from another one, NR_ROUNDS times, while a thread of the
 * given policy (or nobody) spins there. A round begins when the sleeper is known to be in read(2) and
 * the spinner has been seen to run since. With `kick`, each wake-up is followed by a membarrier: it sends
 * an interrupt to each CPU that runs a thread of ours, and on the way back from one, a lazy kernel does
 * the switch that it has put off.
 */
static void wake_beside(int cpu, int policy, bool kick, struct times *ret_times)
{
	struct probe_thread sleeper = { .cpu = cpu, .run = sleep_and_stamp };
	struct probe_thread spinner = { .cpu = cpu, .policy = policy, .run = spin_counting };
	bool beside = policy != POLICY_NOBODY;

	probe_thread_start(&sleeper);
	if (beside)
		probe_thread_start(&spinner);
	while (ret_times->nr < NR_ROUNDS) {
		uint64_t round = up_load_acquire(&sleeper.counter); /* pairs with sleep_and_stamp */
		uint64_t sent;

		if (!probe_wait_in_read(&sleeper))
			break;
		/* only a sign of life */
		if (beside && !moved_on(&spinner.counter, up_load_relaxed(&spinner.counter)))
			break;
		sent = probe_now_ns();
		if (write(sleeper.fds[1], "x", 1) != 1)
			break;
		if (kick)
			syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
		if (!moved_on(&sleeper.counter, round))
			break;
		ret_times->ns[ret_times->nr++] = sleeper.stamp_ns - sent;
	}
	if (write(sleeper.fds[1], "q", 1) != 1)
		abort();
	up_store_relaxed(&spinner.stop, 1); /* a flag and nothing beside it */
	if (beside)
		probe_thread_join(&spinner);
	probe_thread_join(&sleeper);
}

/* One point: every wake-up arrives; how soon is noted. */
static void wake_point(int nr_cpus, int policy, bool kick, const char *beside)
{
	struct times times = { .nr = 0 };

	if (nr_cpus < 2) {
		probe_point(true, "a wake-up from another CPU # SKIP one CPU");
		return;
	}
	wake_beside(nr_cpus - 1, policy, kick, &times);
	probe_point(times.nr == NR_ROUNDS,
		    "woken from another CPU beside %s: median %.0f us, p90 %.0f us, max %.0f us",
		    beside, sorted_us(&times, 500), sorted_us(&times, 900),
		    sorted_us(&times, 1000));
}

/* The watcher's two times of each round; it sees by the syscall file that the other one is blocked. */
static struct probe_thread *watched;
static uint64_t block_began_ns;
static struct times to_watcher, to_woken;

static void watch(struct probe_thread *self)
{
	while (to_watcher.nr < NR_ROUNDS && probe_wait_in_read(watched)) {
		uint64_t round = up_load_acquire(
			&watched->counter); /* pairs with block_each_round */
		uint64_t now = probe_now_ns();

		to_watcher.ns[to_watcher.nr++] = now - block_began_ns;
		self->stamp_ns = probe_now_ns();
		if (write(watched->fds[1], "x", 1) != 1 || !moved_on(&watched->counter, round))
			break;
	}
	if (write(watched->fds[1], "q", 1) != 1)
		abort();
}

/* Plain data: we run on one CPU, and the watcher looks only while we are in read(2). */
static struct probe_thread watcher;

static void block_each_round(struct probe_thread *self)
{
	char byte;

	for (;;) {
		block_began_ns = probe_now_ns();
		if (read(self->fds[0], &byte, 1) != 1 || byte != 'x')
			break;
		if (to_woken.nr < NR_ROUNDS)
			to_woken.ns[to_woken.nr++] = probe_now_ns() - watcher.stamp_ns;
		up_fetch_add_release(&self->counter, 1); /* pairs with watch: our sample is there */
	}
}

/* One point. */
static void watcher_point(int nr_cpus)
{
	struct probe_thread blocker = { .cpu = nr_cpus - 1, .run = block_each_round };
	double median;

	watcher = (struct probe_thread){ .cpu = nr_cpus - 1, .policy = SCHED_IDLE, .run = watch };
	watched = &blocker;
	probe_thread_start(&blocker);
	probe_thread_start(&watcher);
	probe_thread_join(&watcher);
	probe_thread_join(&blocker);
	median = sorted_us(&to_watcher, 500);
	probe_point(to_watcher.nr == NR_ROUNDS && median * 1e3 < WATCH_LIMIT_NS,
		    "a SCHED_IDLE thread sees its neighbour block: median %.0f us, max %.0f us",
		    median, sorted_us(&to_watcher, 1000));
	probe_note("and the neighbour that it wakes runs: median %.0f us, max %.0f us",
		   sorted_us(&to_woken, 500), sorted_us(&to_woken, 1000));
}

void probe_wakes(int nr_cpus)
{
	watcher_point(nr_cpus);
	wake_point(nr_cpus, POLICY_NOBODY, false, "nobody");
	wake_point(nr_cpus, SCHED_IDLE, false, "a SCHED_IDLE spinner");
	wake_point(nr_cpus, SCHED_OTHER, false, "a SCHED_OTHER spinner");
	syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
	wake_point(nr_cpus, SCHED_OTHER, true, "a SCHED_OTHER spinner, with membarrier");
}
