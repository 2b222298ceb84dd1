/* SPDX-License-Identifier: MIT */
/*
 * Starting and stopping the runtime, what it leaves behind (nothing), to single-core and back, and
 * the counts that it keeps.
 */
#include "rt.h"

#include <pthread.h>
#include <sys/syscall.h>

static void *nothing(void *arg)
{
	return arg;
}

static int starts_and_stops(void)
{
	CHECK_INT(upcall_nr_vcores(), 0);
	CHECK_INT(upcall_max_vcores(), 0);
	CHECK_INT(upcall_vcore_id(), -1);
	CHECK_INT(upcall_start(NULL), 0);
	CHECK(upcall_nr_vcores() >= 1);
	CHECK(upcall_max_vcores() >= rt_cpus());
	CHECK(upcall_vcore_id() >= 0);
	CHECK(upcall_uthread_self());
	CHECK_INT(upcall_uthread_id(upcall_uthread_self()), 0);
	CHECK_INT(upcall_stop(), 0);
	CHECK_INT(upcall_nr_vcores(), 0);
	CHECK_INT(upcall_vcore_id(), -1);
	CHECK(!upcall_uthread_self());
	return 0;
}

/* The caller is uthread 0 on a kernel thread of ours, then the first thread again. */
static int main_comes_home(void)
{
	pid_t pid = getpid();
	int on_stack = 0;

	CHECK_INT(syscall(SYS_gettid), pid);
	rt_start(1);
	CHECK(syscall(SYS_gettid) != pid);
	on_stack = 1;
	rt_stop();
	CHECK_INT(syscall(SYS_gettid), pid);
	CHECK_INT(on_stack, 1);
	return 0;
}

static void once(unsigned vcores)
{
	rt_start(vcores);
	rt_join(rt_make(nothing, NULL));
	announced_sleep_ns(100000); /* a block: a watcher and a replacement are made */
	rt_stop();
}

static void settle(const struct rt_held *was, const char *when)
{
	struct rt_held is;
	unsigned long long end = apart_now_ns() + 5000000000ull;

	/* A thread that has been joined may stand in /proc for a moment longer. */
	do
		is = rt_held();
	while (is.threads > was->threads && apart_now_ns() < end);
	if (is.fds != was->fds || is.threads > was->threads || is.maps > was->maps + 10 ||
	    is.vm_kb > was->vm_kb + 2048) {
		dprintf(2,
			"%s: descriptors %u then %u, threads %u then %u, mappings %u then %u, kB "
			"%u then %u\n",
			when, was->fds, is.fds, was->threads, is.threads, was->maps, is.maps,
			was->vm_kb, is.vm_kb);
		_exit(1);
	}
}

static int fifty_times(unsigned vcores)
{
	struct rt_held was;
	unsigned i;

	/* Stacks that libc keeps and blocks of TLS that we keep are made in the first rounds; how many
	 * depends on how many threads were alive at once, so that a few more may come later. */
	for (i = 0; i < 5; i++)
		once(vcores);
	was = rt_held();
	for (i = 0; i < 50; i++)
		once(vcores);
	settle(&was, "after 50 rounds");
	return 0;
}

static int fifty_times_1(void)
{
	return fifty_times(1);
}

static int fifty_times_2(void)
{
	return fifty_times(2);
}

/* A user has few inotify instances, and to give one up takes tens of milliseconds. */
static int holds_no_inotify(void)
{
	char link[64], to[64];
	ssize_t n;
	int fd;

	rt_start(1);
	for (fd = 0; fd < 256; fd++) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, to, sizeof(to) - 1);
		to[n > 0 ? n : 0] = 0;
		CHECK(!strstr(to, "inotify"));
	}
	rt_stop();
	return 0;
}

static int handlers_are_put_back(void)
{
	struct sigaction was[3], is;
	static const int sigs[] = { SIGURG, SIGSEGV, SIGFPE };
	unsigned i;

	for (i = 0; i < 3; i++)
		CHECK_INT(sigaction(sigs[i], NULL, &was[i]), 0);
	once(1);
	for (i = 0; i < 3; i++) {
		CHECK_INT(sigaction(sigs[i], NULL, &is), 0);
		CHECK(is.sa_handler == was[i].sa_handler);
	}
	return 0;
}

static int another_signal(void)
{
	struct upcall_stats st;

	rt_start_opts((struct upcall_opts){ .vcores = 1, .signo = SIGRTMIN + 3 });
	struct upcall_uthread *u = rt_make(nothing, NULL);

	AWAIT((st = rt_stats()).notified, ); /* the slice ends, since another waits */
	rt_join(u);
	rt_stop();
	return 0;
}

static int max_acts_1(void)
{
	struct upcall_stats st;

	/* One kernel thread and no more: blocks cannot be replaced, but everything runs. */
	rt_start_opts((struct upcall_opts){ .vcores = 1, .max_acts = 1 });
	struct upcall_uthread *u = rt_make(nothing, &st);

	announced_sleep_ns(2 * MS);
	CHECK(rt_join(u) == &st);
	st = rt_stats();
	CHECK_INT(st.activations, 1);
	rt_stop();
	return 0;
}

static atomic_int running, stop_it;

static void *work(void *arg)
{
	atomic_fetch_add(&running, 1);
	while (!atomic_load(&stop_it))
		upcall_yield();
	return NULL;
}

static void to_single_and_back(unsigned vcores, unsigned rounds)
{
	struct upcall_uthread *u[6];
	unsigned i, round;
	int v;

	rt_start(vcores);
	for (i = 0; i < 6; i++)
		u[i] = rt_make(work, NULL);
	AWAIT(atomic_load(&running) == 6, upcall_yield());
	for (round = 0; round < rounds; round++) {
		unsigned turns = round % 7;

		while (turns--)
			upcall_yield();
		CHECK_INT(upcall_request(0, 0), 0);
		CHECK_INT(upcall_nr_vcores(), 0);
		v = upcall_vcore_id();
		CHECK(v >= 0 && v < (int)upcall_max_vcores());
		CHECK(upcall_uthread_self());
		CHECK_INT(upcall_vcore_cpu((unsigned)v), -1);
		CHECK_INT(upcall_request(vcores, 0), 0);
		CHECK(upcall_nr_vcores() >= 1);
		CHECK_INT(upcall_vcore_id(), v);
	}
	atomic_store(&stop_it, 1);
	for (i = 0; i < 6; i++)
		rt_join(u[i]);
	rt_stop();
}

static int single_1(void)
{
	to_single_and_back(1, 20);
	return 0;
}

static int single_2(void)
{
	to_single_and_back(2, 100);
	return 0;
}

static atomic_int at_once, at_most;

static void *count_at_once(void *arg)
{
	while (!atomic_load(&stop_it)) {
		int now = atomic_fetch_add(&at_once, 1) + 1;

		if (now > atomic_load(&at_most))
			atomic_store(&at_most, now);
		rt_spin_ns(10000);
		atomic_fetch_sub(&at_once, 1);
		atomic_fetch_add(&running, 1);
		upcall_yield();
	}
	return NULL;
}

/* Uthreads of the abandoned vcores are handed over: they run on, but never two at a time. */
static int single_takes_turns(void)
{
	struct upcall_uthread *u[4];
	unsigned i;
	int before;

	/* Without slices nobody is put aside between the two counts. */
	rt_start_opts((struct upcall_opts){ .vcores = 2, .no_slice = true });
	for (i = 0; i < 4; i++)
		u[i] = rt_make(count_at_once, NULL);
	AWAIT(atomic_load(&running) > 8, upcall_yield());
	CHECK_INT(upcall_request(0, 0), 0);
	AWAIT(!atomic_load(&at_once), upcall_yield());
	atomic_store(&at_most, 0);
	before = atomic_load(&running);
	AWAIT(atomic_load(&running) > before + 100, upcall_yield());
	CHECK_INT(atomic_load(&at_most), 1);
	CHECK_INT(upcall_nr_vcores(), 0);
	CHECK_INT(upcall_request(2, 1), 0);
	atomic_store(&stop_it, 1);
	for (i = 0; i < 4; i++)
		rt_join(u[i]);
	rt_stop();
	return 0;
}

static void *end_it(void *arg)
{
	atomic_store(&stop_it, 1);
	return NULL;
}

/* A turn ends there too. */
static int single_has_slices(void)
{
	struct upcall_uthread *u;

	rt_start(1);
	CHECK_INT(upcall_request(0, 0), 0);
	u = rt_make(end_it, NULL);
	AWAIT(atomic_load(&stop_it), );
	rt_join(u);
	CHECK_INT(upcall_nr_vcores(), 0);
	rt_stop();
	return 0;
}

static void *single_and_back(void *arg)
{
	unsigned i;

	for (i = 0; i < 20; i++) {
		CHECK_INT(upcall_request(0, 0), 0);
		CHECK_INT(upcall_request(2, 0), 0);
	}
	return NULL;
}

/* Two who ask for the opposite at the same time. */
static int single_asked_by_many(void)
{
	struct upcall_uthread *u[3];
	unsigned i;

	rt_start(2);
	for (i = 0; i < 3; i++)
		u[i] = rt_make(single_and_back, NULL);
	for (i = 0; i < 3; i++)
		rt_join(u[i]);
	rt_stop();
	return 0;
}

/* Asleep in a single-core process: a thread of none of ours wakes it. */
static void *wake_from_outside(void *arg)
{
	struct timespec ts = { 0, 5000000 };

	nanosleep(&ts, NULL);
	CHECK_INT(upcall_wake(arg), 0);
	return NULL;
}

static void let_know(struct upcall_uthread *self, void *arg)
{
	*(struct upcall_uthread **)arg = self;
}

static int single_sleeps(void)
{
	struct upcall_uthread *me = upcall_uthread_self(), *set = NULL;
	pthread_t t;

	rt_start(2);
	me = upcall_uthread_self();
	CHECK_INT(upcall_request(0, 0), 0);
	CHECK_INT(pthread_create(&t, NULL, wake_from_outside, me), 0);
	CHECK_INT(upcall_block(let_know, &set), 0);
	CHECK(set == me);
	CHECK_INT(upcall_nr_vcores(), 0);
	CHECK_INT(pthread_join(t, NULL), 0);
	CHECK_INT(upcall_request(2, 0), 0);
	rt_stop();
	return 0;
}

/* A join in a single-core process must not wait for ever for those who cannot run. */
static int single_blocks_and_yields(void)
{
	struct upcall_uthread *u;

	rt_start(1);
	CHECK_INT(upcall_request(0, 0), 0);
	u = rt_make(nothing, &running);
	upcall_yield();
	announced_sleep_ns(1 * MS);
	CHECK(rt_join(u) == &running);
	CHECK_INT(upcall_request(1, 0), 0);
	rt_stop();
	return 0;
}

static int stops_from_single(void)
{
	rt_start(2);
	CHECK_INT(upcall_request(0, 0), 0);
	rt_stop();
	rt_start(2);
	rt_stop();
	return 0;
}

static int stats_add_up(void)
{
	struct upcall_vcore_stats vs = { .size = sizeof(vs) };
	struct upcall_stats st;
	uint64_t online = 0, switches = 0;
	unsigned v;

	rt_start(1);
	rt_join(rt_make(nothing, NULL));
	rt_spin_ns(2 * MS);
	st = rt_stats();
	CHECK_INT(st.uthreads_made, 2);
	CHECK_INT(st.uthreads_live, 1);
	CHECK(st.switches >= 3);
	CHECK(st.activations >= 1);
	CHECK_INT(st.activation_error, 0);
	for (v = 0; v < upcall_max_vcores(); v++) {
		CHECK_INT(upcall_get_vcore_stats(v, &vs), 0);
		CHECK_INT(vs.online, vs.cpu >= 0);
		online += vs.online_ns;
		switches += vs.switches;
	}
	CHECK(switches >= st.switches);
	CHECK(online >= 1 * MS && online < 60000 * MS);
	rt_stop();
	return 0;
}

static const struct apart cases[] = {
	CASE("start, then stop, and what they answer", starts_and_stops),
	CASE("the caller of start is uthread 0, then the first thread again", main_comes_home),
	CASE("50 rounds leave nothing behind, 1 vcore", fifty_times_1),
	CASE("50 rounds leave nothing behind, 2 vcores", fifty_times_2),
	CASE("no inotify instance is held", holds_no_inotify),
	CASE("the handlers of signals are as they were", handlers_are_put_back),
	CASE("notifications by another signal", another_signal),
	CASE("one kernel thread and no more", max_acts_1),
	CASE("to single-core and back with work running, 1 vcore", single_1),
	CASE("to single-core and back with work running, 2 vcores", single_2),
	CASE("single-core: uthreads are handed over and take turns", single_takes_turns),
	CASE("single-core: turns end by themselves too", single_has_slices),
	CASE("to single-core and back, asked for by several at once", single_asked_by_many),
	CASE("a single context sleeps and is woken from outside", single_sleeps),
	CASE("a single context that yields and blocks", single_blocks_and_yields),
	CASE("stop in a single-core process", stops_from_single),
	CASE("the counts add up", stats_add_up),
};

APART_MAIN(cases)
