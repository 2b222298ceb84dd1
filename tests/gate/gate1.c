/* SPDX-License-Identifier: MIT */
/*
 * Gate 1: libc under preemption. Hundreds of uthreads run other people's code (gate1_*.c), sliced
 * every 100 us to 1 ms, while another process sends signals, children come and go, and vcores are
 * added and revoked; as an ordinary user, with perf and io_uring denied.
 *
 *     gate1 [--vcores N] [--slice-us N] [--seconds N] [--uthreads N] [--seed N] [--only JOB]
 *
 * Passes when no result was wrong, no call saw EINTR, nothing hung (the watchdog prints every
 * uthread's state), nothing leaked, every queued signal was handled once, vcores were taken away and
 * came back, interruptions were as frequent as the slices ask for, and at least 30 in 100 of them
 * were inside libc, of those that went on elsewhere too.
 */
#include "gate1.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "announced.h"
#include "gate1_sched.h"
#include "ordinary.h"
#include "program.h"
#include "watchdog.h"

#define MAX_WORKERS    1000
#define MAX_JOBS       32
#define EPISODE_S      12
#define HANG_S	       40
#define LEAST_IN_LIBC  30   /* of a hundred */
#define LEAST_SEEN     2000 /* interruptions of which a share says something ... */
#define LONGEST	       5    /* ... or so many times as long as was asked for */
#define LEAST_OF_TURNS 20   /* of a thousand: 200 a second at 100 us, 20 at 1 ms */
#define LEAST_IN_SHORT 1    /* the same, where a moment without any may be much of the run */
#define LONG_S	       60
#define SOME_STEPS     16 /* of the disturber's by chance, between two rounds that are sure */

static struct {
	uint64_t seed, seconds;
	unsigned vcores, slice_us, uthreads;
	const char *only;
} opt = { .seed = 1, .seconds = 3, .uthreads = 200 };

static const struct gate1_job *jobs[MAX_JOBS];
static uint64_t jobs_done[MAX_JOBS];
static unsigned nr_jobs;
static uint64_t bad, preempts, requests, notified, taken, went, came, alone;
static uint64_t computed_ns; /* processor time of the runtime's, in all episodes */
static uint64_t full_turns;  /* as many slices fit into that */
static bool stop, disturbed;
static char dir[200];
static unsigned main_dog;

/* ---- for the jobs ---- */

uint64_t gate1_random(struct gate1_me *me)
{
	uint64_t z = (me->rnd += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t gate1_below(struct gate1_me *me, uint64_t n)
{
	return gate1_random(me) % n;
}

void gate1_fill(struct gate1_me *me, void *at, size_t sz)
{
	unsigned char *p = at;
	uint64_t v;
	size_t n;

	for (; sz; p += n, sz -= n) {
		v = gate1_random(me);
		n = sz < 8 ? sz : 8;
		memcpy(p, &v, n);
	}
}

const char *gate1_dir(void)
{
	return dir;
}

bool gate1_stopping(void)
{
	return __atomic_load_n(&stop, __ATOMIC_ACQUIRE);
}

void gate1_bad(const char *file, int line, const char *what)
{
	const char *base = strrchr(file, '/');
	int err = errno, n;
	char text[300];

	if (__atomic_fetch_add(&bad, 1, __ATOMIC_RELAXED) >= 20)
		return;
	n = snprintf(text, sizeof(text), "WRONG %s:%d: %s (errno %d%s, uthread %lu)\n",
		     base ? base + 1 : file, line, what, err, err == EINTR ? " EINTR" : "",
		     upcall_uthread_id(upcall_uthread_self()));
	if (n > 0 && write(2, text, (size_t)n) < 0)
		__atomic_fetch_add(&bad, 1, __ATOMIC_RELAXED);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* ---- signals from another process ---- */

static struct {
	volatile uint64_t go, queued, plain; /* shared with the sender */
} * sent;
static uint64_t got_queued, got_plain, got_wrong;
static pid_t sender;

/* Queued ones carry their number; each comes once, though not in order: threads of the program's own
 * may handle the next while the first thread is in the last. */
#define MAX_QUEUED (1u << 22)
static uint8_t seen_queued[MAX_QUEUED];

static void on_queued(int sig, siginfo_t *si, void *ctx)
{
	unsigned n = (unsigned)si->si_value.sival_int;

	if (n >= MAX_QUEUED || si->si_pid != sender ||
	    __atomic_fetch_add(&seen_queued[n % MAX_QUEUED], 1, __ATOMIC_RELAXED))
		__atomic_fetch_add(&got_wrong, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&got_queued, 1, __ATOMIC_RELAXED);
}

static void on_plain(int sig)
{
	__atomic_fetch_add(&got_plain, 1, __ATOMIC_RELAXED);
}

static void send_signals(pid_t to)
{
	static const int plain[] = { SIGUSR1, SIGUSR2, SIGWINCH };
	struct gate1_me me = { .rnd = opt.seed };
	union sigval v = { 0 };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		nanosleep(&(struct timespec){ 0, 200000 + (long)gate1_below(&me, 2000000) }, NULL);
		if (!sent->go)
			continue;
		v.sival_int = (int)sent->queued;
		if (gate1_below(&me, 2) == 0 && sent->queued < MAX_QUEUED - 1 &&
		    !sigqueue(to, SIGRTMIN + 3, v))
			sent->queued++;
		else if (!kill(to, plain[gate1_below(&me, 3)]))
			sent->plain++;
		if (getppid() != to)
			_exit(0);
	}
}

static void start_sender(void)
{
	struct sigaction queued = { .sa_sigaction = on_queued,
				    .sa_flags = SA_SIGINFO | SA_RESTART };
	struct sigaction plain = { .sa_handler = on_plain }; /* no SA_RESTART, on purpose */
	pid_t self = getpid();

	sent = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	sigaction(SIGRTMIN + 3, &queued, NULL);
	sigaction(SIGUSR1, &plain, NULL);
	sigaction(SIGUSR2, &plain, NULL);
	sigaction(SIGWINCH, &plain, NULL);
	sender = fork();
	if (!sender)
		send_signals(self);
	CHECK(sender > 0 && sent != MAP_FAILED);
}

static void check_signals(void)
{
	uint64_t until = now_ns() + 5000000000;

	CHECK(!kill(sender, SIGSTOP)); /* then what it has sent is what is written there */
	while (__atomic_load_n(&got_queued, __ATOMIC_RELAXED) < sent->queued && now_ns() < until)
		sched_yield();
	printf("signals: %lu of %lu queued ones handled, %lu of %lu plain ones\n", got_queued,
	       sent->queued, got_plain, sent->plain);
	/* One may have been sent and not counted yet when the sender was stopped. */
	CHECK(got_queued == sent->queued || got_queued == sent->queued + 1);
	CHECK(got_wrong == 0 && got_plain > 0 && got_plain <= sent->plain + 1);
	kill(sender, SIGKILL);
	CHECK(waitpid(sender, NULL, 0) == sender);
}

/* ---- workers ---- */

struct worker {
	struct gate1_me me;
	unsigned job;
	struct upcall_uthread *u;
};
static struct worker workers[MAX_WORKERS];

static void run_one(struct worker *w)
{
	errno = 0;
	jobs[w->job]->run(&w->me);
	w->me.done++;
	__atomic_fetch_add(&jobs_done[w->job], 1, __ATOMIC_RELAXED);
}

static void *in_a_short_one(void *arg)
{
	run_one(arg);
	return arg;
}

/* Now and then on a uthread made for it, so that TLS is made and torn down under way. */
static void *worker_main(void *arg)
{
	struct worker *w = arg;
	unsigned dog = watchdog_in(jobs[w->job]->name);
	struct upcall_uthread *u;
	void *value = NULL;

	while (!gate1_stopping()) {
		if (gate1_below(&w->me, 10)) {
			run_one(w);
		} else {
			int r = upcall_uthread_create(&u, NULL, in_a_short_one, w);

			CHECK(!r);
			CHECK(r || (!upcall_uthread_join(u, &value) && value == w));
		}
		watchdog_pat(dog);
	}
	watchdog_out(dog);
	return NULL;
}

/* What there can be at once: as many as were asked for, or as Linux has cores for us. */
static unsigned most_vcores(void)
{
	unsigned max = opt.vcores ? opt.vcores : upcall_max_vcores(), cores;
	cpu_set_t cpus;

	CHECK(!sched_getaffinity(0, sizeof(cpus), &cpus));
	cores = (unsigned)CPU_COUNT(&cpus);
	return max < cores ? max : cores;
}

/* Takes cores until there is one vcore less, and waits for it to come back. The workers keep all
 * vcores busy meanwhile, up to their end: none goes or comes for want of work. Where there is one
 * only, its core comes back before anybody can look. */
static void take_and_give_back(unsigned limit, unsigned dog)
{
	unsigned v = 0;

	watchdog_doing(dog, "the disturber: taking a vcore");
	if (limit > 1)
		CHECK(!upcall_request(limit - 1, 1));
	do { /* what is granted stays until it is taken */
		v = v ? v - 1 : limit - 1;
		preempts += !upcall_preempt((int)v, 100000);
		announced_sleep_ns(200000);
	} while (limit > 1 && upcall_nr_vcores() >= limit && !gate1_stopping());
	if (limit < 2) {
		alone++;
		return;
	}
	if (gate1_stopping())
		return;
	went++;
	watchdog_doing(dog, "the disturber: waiting for a vcore");
	CHECK(!upcall_request(limit, 1));
	while (upcall_nr_vcores() < limit && !gate1_stopping())
		announced_sleep_ns(200000);
	came += upcall_nr_vcores() >= limit;
	watchdog_doing(dog, "the disturber");
}

static void disturb(struct gate1_me *me, unsigned limit)
{
	switch (gate1_below(me, 3)) {
	case 0:
		preempts += !upcall_preempt((int)gate1_below(me, limit), gate1_below(me, 1000000));
		break;
	case 1:
		requests += !upcall_request(1 + (unsigned)gate1_below(me, limit), 1);
		break;
	default:
		notified += !upcall_notify(UPCALL_EV_USER, -1, 1, 2);
	}
}

/* First what every run is to have seen, however short; then chance. */
static void *disturber(void *arg)
{
	struct gate1_me me = { .rnd = (uintptr_t)arg };
	unsigned limit = most_vcores(), n;
	unsigned dog = watchdog_in("the disturber");

	for (n = 0; !n || !gate1_stopping(); n++) {
		if (n % SOME_STEPS == 0) {
			take_and_give_back(limit, dog);
			__atomic_store_n(&disturbed, true, __ATOMIC_RELEASE);
		}
		disturb(&me, limit);
		announced_sleep_ns(300000 + gate1_below(&me, 5000000));
		watchdog_pat(dog);
	}
	CHECK(!upcall_request(limit, 1));
	watchdog_out(dog);
	return NULL;
}

static void choose_jobs(void)
{
	const struct gate1_job *const all[] = { gate1_libc_jobs,    gate1_data_jobs,
						gate1_crypto_jobs,  gate1_cxx_jobs,
						gate1_child_jobs,   gate1_wait_jobs,
						gate1_resolver_jobs };
	const struct gate1_job *j;
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		for (j = all[i]; j->name; j++)
			if (!opt.only || strstr(j->name, opt.only))
				jobs[nr_jobs++] = j;
	if (!nr_jobs) {
		fprintf(stderr, "gate1: no such job: %s\n", opt.only);
		exit(2);
	}
}

/* Workers in proportion to weight, at least one each. */
static void deal_jobs(struct gate1_me *me)
{
	unsigned i, j, at, sum = 0;

	for (j = 0; j < nr_jobs; j++)
		sum += jobs[j]->weight;
	for (i = 0; i < opt.uthreads; i++) {
		at = (unsigned)((uint64_t)i * sum / opt.uthreads);
		for (j = 0; at >= jobs[j]->weight; j++)
			at -= jobs[j]->weight;
		workers[i] = (struct worker){ .me = { gate1_random(me), i, 0 }, .job = j };
	}
	for (j = 0; j < nr_jobs && j < opt.uthreads; j++)
		if (workers[(uint64_t)j * opt.uthreads / nr_jobs].job != j &&
		    nr_jobs > opt.uthreads)
			workers[j].job = j;
}

/* What a busy machine leaves of a few seconds may be too little to judge by. */
static bool goes_on(uint64_t from, uint64_t seconds)
{
	struct gate1_seen s;
	uint64_t took = now_ns() - from;

	gate1_sched_seen(&s);
	return took < seconds * 1000000000 ||
	       (s.interrupted < LEAST_SEEN && took < LONGEST * seconds * 1000000000 && !opt.only);
}

static void crowd(struct gate1_me *me, uint64_t seconds)
{
	uint64_t from = now_ns();
	struct upcall_uthread *d = NULL;
	unsigned i;

	deal_jobs(me);
	for (i = 0; i < opt.uthreads; i++)
		CHECK(!upcall_uthread_create(&workers[i].u, NULL, worker_main, &workers[i]));
	CHECK(!upcall_uthread_create(&d, NULL, disturber, (void *)gate1_random(me)));
	watchdog_doing(main_dog, "main: waiting for the episode's end");
	sent->go = 1;
	while (goes_on(from, seconds) || !__atomic_load_n(&disturbed, __ATOMIC_ACQUIRE)) {
		announced_sleep_ns(20000000);
		watchdog_pat(main_dog);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	watchdog_doing(main_dog, "main: joining");
	for (i = 0; i < opt.uthreads; i++) {
		CHECK(!upcall_uthread_join(workers[i].u, NULL));
		watchdog_pat(main_dog);
	}
	CHECK(!upcall_uthread_join(d, NULL));
	sent->go = 0;
	__atomic_store_n(&stop, false, __ATOMIC_RELEASE);
	__atomic_store_n(&disturbed, false, __ATOMIC_RELEASE);
	watchdog_doing(main_dog, "main: between episodes");
}

/* ---- episodes ---- */

/* Of all threads of ours, children left out. */
static uint64_t processor_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void run_runtime(struct gate1_me *me, uint64_t seconds)
{
	static const unsigned slices[] = { 100, 200, 400, 1000 };
	struct upcall_opts o = { .size = sizeof(o), .sched = &gate1_sched, .stack_sz = 512 << 10 };
	struct upcall_stats st = { .size = sizeof(st) };
	uint64_t from_ns;
	int r;

	o.vcores = opt.vcores ? opt.vcores : 1 + (unsigned)gate1_below(me, 2);
	o.slice_ns = (opt.slice_us ? opt.slice_us : slices[gate1_below(me, 4)]) * UINT64_C(1000);
	r = upcall_start(&o);
	errno = -r;
	CHECK(!r);
	if (r)
		return;
	from_ns = processor_ns();
	crowd(me, seconds);
	from_ns = processor_ns() - from_ns;
	computed_ns += from_ns;
	full_turns += from_ns / o.slice_ns;
	CHECK(!upcall_get_stats(&st));
	taken += st.preempts;
	CHECK(st.uthreads_live == 1);
	CHECK(st.eintr_left == 0);
	printf("episode: %u vcores, slice %lu us: %lu switches, %lu blocks (%lu without a standby, "
	       "%lu "
	       "found late), %lu put back, steals %lu, activations %u\n",
	       o.vcores, o.slice_ns / 1000, st.switches,
	       st.blocked[0] + st.blocked[1] + st.blocked[2] + st.blocked[3], st.no_standby,
	       st.backstop, st.restarts, st.steals, st.activations);
	CHECK(!upcall_stop());
}

static void episode(struct gate1_me *me, uint64_t seconds)
{
	unsigned threads = entries("/proc/self/task"), fds = entries("/proc/self/fd"), i;

	for (i = 0; i < nr_jobs; i++)
		CHECK(!jobs[i]->before || !jobs[i]->before());
	gate1_sched_map();
	run_runtime(me, seconds);
	for (i = 0; i < nr_jobs; i++)
		if (jobs[i]->after)
			jobs[i]->after();
	CHECK(entries_threads(threads) == threads);
	CHECK(entries("/proc/self/fd") == fds);
	watchdog_pat(main_dog);
}

static void parse(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "seed", 1, NULL, 's' },     { "vcores", 1, NULL, 'v' },
		{ "slice-us", 1, NULL, 'l' }, { "uthreads", 1, NULL, 'u' },
		{ "seconds", 1, NULL, 't' },  { "only", 1, NULL, 'o' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 's':
			opt.seed = program_number(optarg);
			break;
		case 'v':
			opt.vcores = (unsigned)program_number(optarg);
			break;
		case 'l':
			opt.slice_us = (unsigned)program_number(optarg);
			break;
		case 'u':
			opt.uthreads = (unsigned)program_number(optarg);
			break;
		case 't':
			opt.seconds = program_number(optarg);
			break;
		case 'o':
			opt.only = optarg;
			break;
		default:
			exit(2);
		}
	}
	if (optind != argc || !opt.uthreads || opt.uthreads > MAX_WORKERS || opt.vcores > 64) {
		fprintf(stderr, "gate1: bad arguments\n");
		exit(2);
	}
}

static void report_vcores(void)
{
	printf("vcores preempted %lu (%lu cores taken), asked for %lu, notified %lu; ", preempts,
	       taken, requests, notified);
	if (alone)
		printf("the only one there was lost its core %lu times, and came back before "
		       "anybody could look; ",
		       alone);
	printf("%lu went, %lu came\n", went, came);
	CHECK(preempts > 0 && taken > 0);
	CHECK(alone || (went > 0 && came > 0));
}

/* Of the turns that would have been cut off if nobody had blocked or ended his own. */
static void report_rate(const struct gate1_seen *s, double seconds)
{
	uint64_t least = seconds < LONG_S ? LEAST_IN_SHORT : LEAST_OF_TURNS;

	printf("%.0f interruptions in a vcore-second of computing, %.1f%% of its slices\n",
	       1e9 * (double)s->interrupted / (double)(computed_ns + !computed_ns),
	       100.0 * (double)s->interrupted / (double)(full_turns + !full_turns));
	if (!opt.only)
		CHECK(1000 * s->interrupted >= least * full_turns);
}

static void report(double seconds)
{
	struct gate1_seen s;
	unsigned i;

	gate1_sched_seen(&s);
	for (i = 0; i < nr_jobs; i++) {
		printf("%s %lu%s", jobs[i]->name, jobs_done[i], i + 1 < nr_jobs ? ", " : " jobs\n");
		CHECK(jobs_done[i]);
	}
	printf("interruptions %lu: %.1f%% in libc, %.1f%% in libraries\n", s.interrupted,
	       100.0 * (double)s.in_libc / (double)(s.interrupted + !s.interrupted),
	       100.0 * (double)s.in_libs / (double)(s.interrupted + !s.interrupted));
	printf("migrations %lu: %.1f%% in libc, %.1f%% in libraries; %.0f a second\n", s.migrated,
	       100.0 * (double)s.migrated_libc / (double)(s.migrated + !s.migrated),
	       100.0 * (double)s.migrated_libs / (double)(s.migrated + !s.migrated),
	       (double)s.migrated / seconds);
	report_vcores();
	report_rate(&s, seconds);
	CHECK(s.migrated > 0);
	CHECK(seconds < LONG_S || (requests > 0 && notified > 0));
	if (!opt.only)
		CHECK(100 * s.in_libc >= LEAST_IN_LIBC * s.interrupted &&
		      100 * s.migrated_libc >= LEAST_IN_LIBC * s.migrated);
}

int main(int argc, char **argv)
{
	struct gate1_me me;
	uint64_t from, until;
	const char *what;
	int r;

	parse(argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	me = (struct gate1_me){ .rnd = opt.seed };
	r = ordinary_become(&what);
	if (r) {
		printf("SKIP cannot become an ordinary user: %s: %s\n", what, strerror(-r));
		return 77;
	}
	strcpy(dir, "/tmp/upcall-gate1-XXXXXX");
	if (!mkdtemp(dir)) {
		printf("SKIP no place for files: %s\n", strerror(errno));
		return 77;
	}
	printf("seed %lu, %u uthreads, uid %u\n", opt.seed, opt.uthreads, geteuid());
	choose_jobs();
	start_sender();
	watchdog_start(HANG_S);
	main_dog = watchdog_in("main");
	entries_threads(4);
	from = now_ns();
	until = from + opt.seconds * 1000000000;
	do
		episode(&me, opt.seconds < EPISODE_S ? opt.seconds : EPISODE_S);
	while (now_ns() < until);
	check_signals();
	report((double)(now_ns() - from) / 1e9);
	CHECK(!rmdir(dir));
	printf("wrong %lu\n", bad);
	return bad != 0;
}
