/* SPDX-License-Identifier: MIT */
/*
 * Fork and join as a program sees it: results, who runs what, what may be done in a task, where it
 * works without a runtime, and what it refuses.
 */
#include "work.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

static void all_work(unsigned scale)
{
	fib_check(16 + scale);
	queens_check(8, 92);
	tree_check(1);
	tree_check(12345);
	for_check(0, 10000, 0);
	for_check(3, 5000, 7);
}

static int works_1(void)
{
	rt_start(1);
	all_work(8);
	rt_stop();
	return 0;
}

static int works_2(void)
{
	rt_start(2);
	all_work(10);
	rt_stop();
	return 0;
}

static int works_shared_tls(void)
{
	rt_start_opts((struct upcall_opts){ .vcores = 2, .shared_tls = true, .no_slice = true });
	all_work(8);
	rt_stop();
	return 0;
}

/* ---- without a runtime ---- */

static void *plain_thread(void *arg)
{
	all_work(2);
	return arg;
}

static int works_unstarted(void)
{
	pthread_t t;

	all_work(2);
	CHECK_INT(pthread_create(&t, NULL, plain_thread, NULL), 0);
	CHECK_INT(pthread_join(t, NULL), 0);
	rt_start(2);
	all_work(2);
	CHECK_INT(pthread_create(&t, NULL, plain_thread, NULL), 0);
	CHECK_INT(pthread_join(t, NULL), 0);
	rt_stop();
	all_work(2); /* the first thread again: what it had as uthread 0 is gone */
	return 0;
}

/* ---- who runs it ---- */

static struct upcall_uthread *ran_on;

static void note_self(void *arg)
{
	*(struct upcall_uthread **)arg = upcall_uthread_self();
}

/* One vcore never runs dry while its uthread spins: nobody else takes anything. */
static int own_tasks_on_one_vcore(void)
{
	struct upcall_fork f;
	unsigned i;

	rt_start(1);
	for (i = 0; i < 1000; i++) {
		CHECK_INT(upcall_spawn(&f, note_self, &ran_on), 0);
		rt_spin_ns(i == 500 ? 50 * MS : 100); /* some slices long */
		CHECK_INT(upcall_sync(&f), 0);
		CHECK(ran_on == upcall_uthread_self());
	}
	rt_stop();
	return 0;
}

static atomic_uint met;

static void meet(void *arg)
{
	atomic_fetch_add(&met, 1);
	AWAIT(atomic_load(&met) >= 2, );
}

/* Two that wait for each other without a yield: another vcore must come for one of them. */
static int second_vcore_helps(void)
{
	struct upcall_fork f;
	unsigned i;

	rt_need_cpus(2);
	rt_start(2);
	for (i = 0; i < 20; i++) {
		atomic_store(&met, 0);
		if (i % 2) /* long enough for it to have given its core back */
			rt_spin_ns(5 * MS);
		CHECK_INT(upcall_spawn(&f, meet, NULL), 0);
		meet(NULL);
		CHECK_INT(upcall_sync(&f), 0);
	}
	rt_stop();
	return 0;
}

/* ---- what a task may do ---- */

static void nap(void *arg)
{
	struct timespec ts = { 0, 30000000 };

	nanosleep(&ts, NULL);
	atomic_fetch_add((atomic_uint *)arg, 1);
}

/* Tasks that block are taken up by workers while their owner is blocked too: on one vcore as well. */
static int blocked_tasks_overlap(void)
{
	struct upcall_fork f[20];
	atomic_uint ended = 0;
	uint64_t start;
	int i;

	rt_start(1);
	start = apart_now_ns();
	for (i = 0; i < 20; i++)
		CHECK_INT(upcall_spawn(&f[i], nap, &ended), 0);
	while (i--)
		CHECK_INT(upcall_sync(&f[i]), 0);
	CHECK_INT(atomic_load(&ended), 20);
	CHECK(apart_now_ns() - start < 20 * 30 * MS * 2 / 3);
	rt_stop();
	return 0;
}

static void yields(void *arg)
{
	unsigned i, depth = (unsigned)(uintptr_t)arg;
	struct upcall_fork f[2];

	for (i = 0; i < 3; i++)
		upcall_yield();
	if (!depth)
		return;
	for (i = 0; i < 2; i++)
		CHECK_INT(upcall_spawn(&f[i], yields, (void *)(uintptr_t)(depth - 1)), 0);
	upcall_yield();
	while (i--)
		CHECK_INT(upcall_sync(&f[i]), 0);
}

/* More workers at once than are kept. */
static void many_blocked(void)
{
	struct upcall_fork f[40];
	atomic_uint ended = 0;
	int i;

	for (i = 0; i < 40; i++)
		CHECK_INT(upcall_spawn(&f[i], nap, &ended), 0);
	while (i--)
		CHECK_INT(upcall_sync(&f[i]), 0);
	CHECK_INT(atomic_load(&ended), 40);
}

static int tasks_yield(void)
{
	rt_start(2);
	yields((void *)10);
	rt_stop();
	return 0;
}

static void makes_uthreads(void *arg)
{
	struct upcall_uthread *u = rt_make(fib_thread, (void *)10);
	struct upcall_fork f;

	if (arg) {
		CHECK_INT(upcall_spawn(&f, makes_uthreads, (char *)arg - 1), 0);
		fib_check(12);
		CHECK_INT(upcall_sync(&f), 0);
	}
	rt_join(u);
}

static int tasks_make_uthreads(void)
{
	rt_start(2);
	makes_uthreads((void *)200);
	rt_stop();
	return 0;
}

static void inner(size_t b, size_t e, void *arg)
{
	for (; b < e; b++)
		for_check(0, 50 + b % 7, 1 + b % 3);
}

static int loops_nest(void)
{
	rt_start(2);
	CHECK_INT(upcall_for(0, 300, 1, inner, NULL), 0);
	CHECK_INT(upcall_for(0, 300, 0, inner, NULL), 0);
	rt_stop();
	return 0;
}

/* ---- many and deep ---- */

static void *all_work_thread(void *arg)
{
	fib_check(14 + (unsigned)(uintptr_t)arg % 4);
	queens_check(6, 4);
	tree_check((uintptr_t)arg);
	return NULL;
}

static int many_fork(bool shared_tls)
{
	struct upcall_uthread *u[100];
	uintptr_t i;

	rt_start_opts(
		(struct upcall_opts){ .vcores = 2, .slice_ns = 200000, .shared_tls = shared_tls });
	for (i = 0; i < 100; i++)
		u[i] = rt_make(all_work_thread, (void *)i);
	for (i = 0; i < 100; i++)
		rt_join(u[i]);
	rt_stop();
	return 0;
}

static int many_fork_at_once(void)
{
	return many_fork(false);
}

static int many_fork_at_once_shared(void)
{
	return many_fork(true);
}

/* More at once than the first chunk of deques holds, and all of them with a fork open. */
static atomic_uint opened;

static void *holds_a_fork(void *arg)
{
	struct fib w = { .n = 12 };
	struct upcall_fork f;

	CHECK_INT(upcall_spawn(&f, fib, &w), 0);
	atomic_fetch_add(&opened, 1);
	AWAIT(atomic_load(&opened) == 300, upcall_yield());
	CHECK_INT(upcall_sync(&f), 0);
	CHECK_INT(w.value, fib_plain(12));
	return NULL;
}

static int deques_grow_in_number(void)
{
	struct upcall_uthread *u[300];
	unsigned i;

	rt_start(2);
	for (i = 0; i < 300; i++)
		u[i] = rt_make(holds_a_fork, NULL);
	for (i = 0; i < 300; i++)
		rt_join(u[i]);
	rt_stop();
	return 0;
}

#define DEPTH 100000

/* As many open at once as it is deep: the deque grows to that. */
static void deep_open(uintptr_t depth)
{
	struct upcall_fork f;
	unsigned one = 0;

	if (!depth)
		return;
	CHECK_INT(upcall_spawn(&f, add_one, &one), 0);
	deep_open(depth - 1);
	CHECK_INT(upcall_sync(&f), 0);
	CHECK_INT(one, 1);
}

/* Each task within the one before: whoever takes one needs as large a stack. */
static void deep_within(void *arg)
{
	volatile char
		frame[256]; /* more in all than uthread 0's stack, by which workers were made */
	uintptr_t depth = (uintptr_t)arg;
	struct upcall_fork f;

	frame[0] = frame[sizeof(frame) - 1] = 1;
	if (!depth)
		return;
	CHECK_INT(upcall_spawn(&f, deep_within, (void *)(depth - 1)), 0);
	CHECK_INT(upcall_sync(&f), 0);
}

static void *deep_thread(void *arg)
{
	unsigned i;

	deep_open(DEPTH);
	for (i = 0; i < 20; i++) {
		struct upcall_fork f;

		CHECK_INT(upcall_spawn(&f, deep_within, (void *)DEPTH), 0);
		rt_spin_ns(MS); /* for others to take it */
		CHECK_INT(upcall_sync(&f), 0);
	}
	return arg;
}

static int deep_recursion(void)
{
	struct upcall_uthread_attr attr = { .size = sizeof(attr), .stack_sz = 64 << 20 };
	struct upcall_uthread *u;

	rt_start_opts((struct upcall_opts){ .vcores = 2, .stack_sz = 64 << 10 });
	fib_check(20); /* workers are there, with less of a stack */
	CHECK_INT(upcall_uthread_create(&u, &attr, deep_thread, NULL), 0);
	rt_join(u);
	rt_stop();
	return 0;
}

/* ---- the end ---- */

/* libc keeps arenas and up to 40 MB of threads' stacks to itself; one worker a life that stayed would be
 * 96 MB, as large as uthread 0's stack is here. */
#define LIVES	      12
#define LIBC_KEEPS_KB (64u << 10)

static int stops_and_leaves_nothing(void)
{
	struct rlimit lim = { 8 << 20, RLIM_INFINITY };
	struct rt_held before = { 0 }, after;
	unsigned i;

	mallopt(M_ARENA_MAX, 1);
	CHECK_INT(getrlimit(RLIMIT_STACK, &lim), 0);
	lim.rlim_cur = 8 << 20;
	CHECK_INT(setrlimit(RLIMIT_STACK, &lim), 0);
	for (i = 0; i < 4 + LIVES; i++) {
		if (i == 4)
			before = rt_held();
		rt_start(2);
		many_blocked();
		all_work(4);
		CHECK_INT(upcall_stop(), 0); /* workers are not the program's uthreads */
	}
	after = rt_held();
	dprintf(2, "%u kB, then %u kB\n", before.vm_kb, after.vm_kb);
	CHECK_INT(after.fds, before.fds);
	AWAIT(rt_held().threads <= before.threads, );
	CHECK(after.vm_kb <= before.vm_kb + LIBC_KEEPS_KB);
	return 0;
}

static int stop_is_refused(void)
{
	struct fib w = { .n = 20 };
	struct upcall_uthread *u;
	struct upcall_fork f;

	rt_start(2);
	CHECK_INT(upcall_spawn(&f, fib, &w), 0);
	CHECK_INT(upcall_stop(), -EBUSY); /* a fork is open */
	CHECK_INT(upcall_sync(&f), 0);
	CHECK_INT(w.value, fib_plain(20));
	u = rt_make(fib_thread, (void *)15);
	CHECK_INT(upcall_stop(), -EBUSY); /* it lives until it is joined */
	rt_join(u);
	fib_check(22);
	CHECK_INT(upcall_stop(), 0);
	return 0;
}

/* The child of fork(), whoever had called it, has no worker, and starts anew. */
static int child_forks(void)
{
	struct upcall_fork f;
	struct fib w = { .n = 18 };
	int status;
	pid_t pid;

	rt_start(2);
	fib_check(20);
	CHECK_INT(upcall_spawn(&f, fib, &w), 0);
	pid = fork();
	if (!pid) {
		all_work(1);
		rt_start(2);
		all_work(2);
		CHECK_INT(upcall_stop(), 0);
		_exit(0);
	}
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK_INT(status, 0);
	CHECK_INT(upcall_sync(&f), 0);
	CHECK_INT(w.value, fib_plain(18));
	rt_stop();
	return 0;
}

/* ---- what is refused ---- */

static void never(void *arg)
{
	CHECK(!"it is run");
}

static void never_range(size_t b, size_t e, void *arg)
{
	CHECK(!"it is run");
}

static void refused_anywhere(void)
{
	struct upcall_fork f = { { NULL } };

	CHECK_INT(upcall_spawn(NULL, never, NULL), -EINVAL);
	CHECK_INT(upcall_spawn(&f, NULL, NULL), -EINVAL);
	CHECK_INT(upcall_sync(NULL), -EINVAL);
	CHECK_INT(upcall_sync(&f), -EINVAL); /* never spawned */
	memset(&f, 0x5a, sizeof(f));
	CHECK_INT(upcall_sync(&f), -EINVAL);
	memset(&f, 0xff, sizeof(f));
	CHECK_INT(upcall_sync(&f), -EINVAL);
	CHECK_INT(upcall_for(0, 10, 1, NULL, NULL), -EINVAL);
	CHECK_INT(upcall_for(10, 9, 1, never_range, NULL), -EINVAL);
	CHECK_INT(upcall_for(SIZE_MAX, 0, 0, never_range, NULL), -EINVAL);
	CHECK_INT(upcall_for(7, 7, 0, never_range, NULL), 0);
	CHECK_INT(upcall_for(0, 0, SIZE_MAX, never_range, NULL), 0);
}

static void add_range(size_t b, size_t e, void *arg)
{
	__atomic_fetch_add((size_t *)arg, e - b, __ATOMIC_RELAXED);
}

static void extremes(void)
{
	size_t sum = 0;

	CHECK_INT(upcall_for(0, SIZE_MAX, SIZE_MAX, add_range, &sum), 0);
	CHECK(sum == SIZE_MAX);
	CHECK_INT(upcall_for(SIZE_MAX - 100, SIZE_MAX, 3, add_range, &sum), 0);
	CHECK(sum == SIZE_MAX + (size_t)100);
	sum = 0;
	CHECK_INT(upcall_for(0, SIZE_MAX, 0, add_range, &sum), 0);
	CHECK(sum == SIZE_MAX);
}

static void *syncs_anothers(void *arg)
{
	CHECK_INT(upcall_sync(arg), -EINVAL);
	fib_check(5);
	CHECK_INT(upcall_sync(arg), -EINVAL);
	return NULL;
}

static void order_is_checked(void)
{
	struct upcall_fork a, b;
	unsigned ones = 0;

	CHECK_INT(upcall_spawn(&a, add_one, &ones), 0);
	CHECK_INT(upcall_spawn(&a, never, NULL), -EINVAL); /* open */
	CHECK_INT(upcall_spawn(&b, add_one, &ones), 0);
	CHECK_INT(upcall_sync(&a), -EINVAL); /* not the last */
	CHECK_INT(upcall_sync(&b), 0);
	CHECK_INT(upcall_sync(&b), -EINVAL); /* twice */
	rt_join(rt_make(syncs_anothers, &a));
	CHECK_INT(upcall_sync(&a), 0);
	CHECK_INT(upcall_sync(&a), -EINVAL);
	CHECK_INT(ones, 2);
	CHECK_INT(upcall_spawn(&a, add_one, &ones), 0); /* again, after its sync */
	CHECK_INT(upcall_sync(&a), 0);
	CHECK_INT(ones, 3);
}

static void forgets_to_sync(unsigned *ones)
{
	static struct upcall_fork f; /* alive, so that it can be told */

	CHECK_INT(upcall_spawn(&f, add_one, ones), 0);
}

static int refuses(void)
{
	struct upcall_fork f;
	unsigned ones = 0;

	refused_anywhere();
	extremes();
	rt_start(2);
	refused_anywhere();
	order_is_checked();
	refused_anywhere();
	extremes();
	fib_check(15);
	/* A function that returned without its sync is found out by the next one outside of it. */
	CHECK_INT(upcall_spawn(&f, add_one, &ones), 0);
	forgets_to_sync(&ones);
	CHECK_INT(upcall_sync(&f), -EINVAL);
	CHECK_INT(upcall_stop(), -EBUSY);
	return 0;
}

static int spawned_before_the_start(void)
{
	struct upcall_fork f;
	unsigned ones = 0;

	CHECK_INT(upcall_spawn(&f, add_one, &ones), 0);
	CHECK_INT(ones, 1); /* nobody else could: it has run */
	rt_start(2);
	CHECK_INT(upcall_sync(&f), 0);
	CHECK_INT(upcall_sync(&f), -EINVAL);
	rt_stop();
	return 0;
}

static void *ends_open(void *arg)
{
	unsigned ones = 0;

	forgets_to_sync(&ones);
	return NULL;
}

static int open_at_the_end(void)
{
	rt_start(1);
	rt_join(rt_make(ends_open, NULL));
	return 0;
}

static void ends_uthread(void *arg)
{
	upcall_uthread_exit(NULL);
}

/* A worker's, that is. */
static int end_within_a_task(void)
{
	struct upcall_fork f;

	rt_need_cpus(2);
	rt_start(2);
	CHECK_INT(upcall_spawn(&f, ends_uthread, NULL), 0);
	rt_spin_ns(10000 * MS); /* whoever comes for it ends the process */
	return 0;
}

static const struct apart cases[] = {
	CASE("results, 1 vcore", works_1),
	CASE("results, 2 vcores", works_2),
	CASE("results, shared TLS", works_shared_tls),
	CASE("without a runtime and on plain threads", works_unstarted),
	CASE("on one vcore nobody else takes a task", own_tasks_on_one_vcore),
	CASE("a second vcore comes for tasks, however long it had nothing", second_vcore_helps),
	CASE("tasks that block in Linux overlap", blocked_tasks_overlap),
	CASE("tasks that yield", tasks_yield),
	CASE("tasks that make uthreads", tasks_make_uthreads),
	CASE("loops within loops", loops_nest),
	CASE("a hundred uthreads fork at once", many_fork_at_once),
	CASE("the same with shared TLS", many_fork_at_once_shared),
	CASE("three hundred have a fork open at once", deques_grow_in_number),
	CASE("a hundred thousand deep", deep_recursion),
	CASE("a stop after forks leaves nothing behind", stops_and_leaves_nothing),
	CASE("a stop with a fork open is refused", stop_is_refused),
	CASE("in the child of a fork()", child_forks),
	CASE("what is refused", refuses),
	CASE("spawned before the start, synced after it", spawned_before_the_start),
	CASE_DIES("a uthread that ends with a fork open", open_at_the_end, SIGILL, NULL),
	CASE_DIES("a uthread that ends within a task", end_within_a_task, SIGILL, NULL),
};

APART_MAIN(cases)
