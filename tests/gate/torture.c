/* SPDX-License-Identifier: MIT */
/*
 * Torture of uthreads that move: general registers, flags, x87, vectors, masks, rounding modes, red
 * zone and TLS are live while the uthread is interrupted, put aside, and resumed on another kernel
 * thread. Each stint is compared, bit for bit, with the same stint run undisturbed before the
 * runtime was started. What is counted is only a stint (one without a call in it) that began on one
 * kernel task and ended on another.
 *
 *     torture [--migrations N] [--seed N] [--vcores N] [--slice-us N] [--uthreads N] [--seconds N]
 *
 * Episodes of upcall_start() to upcall_stop() follow each other until that many migrations were
 * seen: slices of 50 to 200 us, 1 and 2 vcores, notifications from inside and outside, vcores
 * preempted, given up and asked for. The last line is `corrupt N`; the exit status is 0 when N is.
 */
#include "torture.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "announced.h"
#include "ordinary.h"
#include "program.h"
#include "watchdog.h"

#define NR_PATTERNS  48
#define MAX_UTHREADS 256
#define EPISODE_NS   UINT64_C(700000000)
#define HANG_S	     20

__thread uint64_t torture_tls;

struct pattern {
	struct torture in, out;
	uint64_t tls;
	uint64_t rounds;
};

static struct pattern patterns[NR_PATTERNS];
static torture_stint_fn stint;

static struct {
	uint64_t migrations, seed, seconds;
	unsigned vcores, slice_us, uthreads;
} opt = { .migrations = 2000, .seed = 1, .uthreads = 24 };

/* Counted by many at once. */
static struct {
	uint64_t migrations, stints, calls, blocks, corrupt, told;
	uint64_t notified, preempts, requests, storms;
} nr;

static bool stop;
static bool outside_on; /* the outside thread may use the runtime */
static unsigned main_dog;
static uint32_t outside_busy; /* ... and is doing so */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static uint64_t next(uint64_t *s)
{
	uint64_t z = (*s += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static uint64_t below(uint64_t *s, uint64_t n)
{
	return next(s) % n;
}

static void count(uint64_t *what)
{
	__atomic_fetch_add(what, 1, __ATOMIC_RELAXED);
}

static uint64_t get(const uint64_t *what)
{
	return __atomic_load_n(what, __ATOMIC_RELAXED);
}

static bool stopping(void)
{
	return __atomic_load_n(&stop, __ATOMIC_ACQUIRE);
}

static long tid(void)
{
	return syscall(SYS_gettid);
}

/* ---- patterns ---- */

static void fill(void *at, size_t sz, uint64_t *s)
{
	uint64_t *w = at;
	size_t i;

	for (i = 0; i < sz / 8; i++)
		w[i] = next(s);
}

/* Normal numbers around one, of either sign. */
static void fill_x87(struct torture *t, uint64_t *s)
{
	uint64_t mantissa;
	uint16_t exponent;
	int i;

	for (i = 0; i < 8; i++) {
		mantissa = next(s) | UINT64_C(1) << 63;
		exponent = (uint16_t)(16383 - 20 + below(s, 40)) | (uint16_t)(below(s, 2) << 15);
		memset(t->x87[i], 0, sizeof(t->x87[i]));
		memcpy(t->x87[i], &mantissa, 8);
		memcpy(t->x87[i] + 8, &exponent, 2);
	}
	/* All exceptions masked; precision single, double or extended; any rounding. */
	t->x87_cw = 0x7f | (uint16_t)((uint16_t[]){ 0, 2, 3 }[below(s, 3)] << 8) |
		    (uint16_t)(below(s, 4) << 10);
}

static void make_pattern(struct pattern *p, uint64_t *s)
{
	memset(p, 0, sizeof(*p));
	fill(p->in.gpr, sizeof(p->in.gpr), s);
	fill(p->in.red, sizeof(p->in.red), s);
	fill(p->in.mask, sizeof(p->in.mask), s);
	fill(p->in.vec, sizeof(p->in.vec), s);
	fill_x87(&p->in, s);
	/* All masked; any rounding, flush to zero, denormals are zero. */
	p->in.mxcsr = 0x1f80 | (uint32_t)below(s, 4) << 13 | (uint32_t)below(s, 2) << 15 |
		      (uint32_t)below(s, 2) << 6;
	p->tls = next(s);
	p->rounds = 200 + below(s, below(s, 4) ? 2000 : 12000);
	p->out = p->in;
	torture_tls = p->tls;
	stint(&p->out, p->rounds);
}

static const char *choose_stint(void)
{
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	    __builtin_cpu_supports("avx512dq")) {
		stint = torture_stint_avx512;
		return "zmm and masks";
	}
	if (__builtin_cpu_supports("avx2")) {
		stint = torture_stint_avx;
		return "ymm";
	}
	stint = torture_stint_sse;
	return "xmm";
}

/* ---- comparing ---- */

static const char *name_of(size_t at)
{
	static const struct {
		size_t from;
		const char *name;
	} parts[] = { { T_VEC, "vector registers" }, { T_MXCSR, "mxcsr, x87 control" },
		      { T_X87, "x87 stack" },	     { T_MASK, "mask registers" },
		      { T_RED, "red zone" },	     { T_FLAGS, "flags" },
		      { 0, "general registers" } };
	size_t i;

	for (i = 0; at < parts[i].from; i++)
		;
	return parts[i].name;
}

static void corrupt(const char *what, uint64_t at, uint64_t is, uint64_t should)
{
	char line[160];
	int n;

	count(&nr.corrupt);
	if (__atomic_fetch_add(&nr.told, 1, __ATOMIC_RELAXED) >= 20)
		return;
	n = snprintf(line, sizeof(line),
		     "CORRUPT %s at %lu: 0x%lx, should be 0x%lx (uthread %lu)\n", what, at, is,
		     should, upcall_uthread_id(upcall_uthread_self()));
	if (write(2, line, (size_t)n) < 0)
		count(&nr.corrupt);
}

static void compare(const struct torture *is, const struct torture *should)
{
	const uint8_t *a = (const void *)is, *b = (const void *)should;
	uint64_t x, y;
	size_t i;

	if (!memcmp(a, b, T_END))
		return;
	for (i = 0; i < T_END && !memcmp(a + i, b + i, 8); i += 8)
		;
	memcpy(&x, a + i, 8);
	memcpy(&y, b + i, 8);
	corrupt(name_of(i), i, x, y);
}

static void same(const char *what, uint64_t is, uint64_t should)
{
	if (is != should)
		corrupt(what, 0, is, should);
}

/* ---- uthreads ---- */

static unsigned selectors(void)
{
	uint16_t fs, gs;

	__asm__ __volatile__("movw %%fs, %0\n\tmovw %%gs, %1" : "=r"(fs), "=r"(gs));
	return (unsigned)fs << 16 | gs;
}

static void yield(void)
{
	upcall_yield();
}

static void do_stint(uint64_t *s, struct upcall_uthread *self)
{
	const struct pattern *p = &patterns[below(s, NR_PATTERNS)];
	struct torture t = p->in;
	pthread_t me = pthread_self();
	int err = (int)below(s, 4000);
	long was, is;

	torture_tls = p->tls;
	errno = err;
	was = tid();
	stint(&t, p->rounds);
	is = tid();
	same("errno", (uint64_t)errno, (uint64_t)err);
	same("thread-local word", torture_tls, p->tls);
	same("pthread_self", pthread_self(), me);
	same("segment selectors", selectors(), 0);
	same("uthread self", (uintptr_t)upcall_uthread_self(), (uintptr_t)self);
	compare(&t, &p->out);
	count(&nr.stints);
	if (was != is)
		count(&nr.migrations);
}

/* A call that switches away and back keeps what a call keeps. */
static void do_call(uint64_t *s)
{
	const struct pattern *p = &patterns[below(s, NR_PATTERNS)];
	struct torture t = p->in, should = p->in;

	torture_tls = p->tls;
	torture_call(&t, yield);
	same("thread-local word after a call", torture_tls, p->tls);
	/* Sticky exception flags belong to whoever computes. */
	t.mxcsr &= ~0x3fu;
	compare(&t, &should);
	count(&nr.calls);
}

static void *worker(void *arg)
{
	uint64_t s = (uintptr_t)arg;
	struct upcall_uthread *self = upcall_uthread_self();
	unsigned dog = watchdog_in("a worker");

	while (!stopping()) {
		if (below(&s, 6))
			do_stint(&s, self);
		else
			do_call(&s);
		watchdog_pat(dog);
	}
	watchdog_out(dog);
	return NULL;
}

/* Sleeps in the kernel, announced or not, so that its activation is replaced. */
static void *blocker(void *arg)
{
	uint64_t s = (uintptr_t)arg, ns;
	struct timespec ts = { 0, 0 };
	unsigned dog = watchdog_in("a blocker");

	while (!stopping()) {
		ns = 20000 + below(&s, 300000);
		ts.tv_nsec = (long)ns;
		if (below(&s, 2))
			announced_sleep_ns(ns);
		else if (nanosleep(&ts, NULL))
			corrupt("nanosleep, errno", 0, (uint64_t)errno, 0);
		do_stint(&s, upcall_uthread_self());
		count(&nr.blocks);
		watchdog_pat(dog);
	}
	watchdog_out(dog);
	return NULL;
}

static void *disturber(void *arg)
{
	uint64_t s = (uintptr_t)arg;
	unsigned max = (unsigned)below(&s, 2) + 1, n, dog = watchdog_in("the disturber");

	max = opt.vcores ? opt.vcores : max;
	while (!stopping()) {
		watchdog_pat(dog);
		switch (below(&s, 4)) {
		case 0:
			if (!upcall_preempt((int)below(&s, max), below(&s, 300000)))
				count(&nr.preempts);
			break;
		case 1:
			n = 1 + (unsigned)below(&s, upcall_max_vcores());
			if (!upcall_request(n, 1))
				count(&nr.requests);
			break;
		default:
			if (!upcall_notify(UPCALL_EV_USER, (int)below(&s, max), 1, 2))
				count(&nr.notified);
		}
		announced_sleep_ns(100000 + below(&s, 700000));
	}
	watchdog_out(dog);
	return NULL;
}

/* ---- outside ---- */

static int act_tids(int *ret_tid, int max)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *e;
	char path[300], name[32];
	int got = 0;
	FILE *f;

	while (dir && got < max && (e = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", e->d_name);
		f = e->d_name[0] == '.' ? NULL : fopen(path, "r");
		if (!f)
			continue;
		if (fgets(name, sizeof(name), f) && !strncmp(name, "upcall-act", 10))
			ret_tid[got++] = atoi(e->d_name);
		fclose(f);
	}
	if (dir)
		closedir(dir);
	return got;
}

/* Notifications may be spurious, and come at any moment: a burst of them. */
static void storm(uint64_t *s)
{
	int tids[16], n = act_tids(tids, 16), i;

	for (i = 0; n && i < 400; i++)
		syscall(SYS_tgkill, getpid(), tids[below(s, (uint64_t)n)], SIGURG);
	count(&nr.storms);
}

static void *outside(void *arg)
{
	uint64_t s = opt.seed ^ 0x0075;

	for (;;) {
		nanosleep(&(struct timespec){ 0, 50000 + (long)below(&s, 400000) }, NULL);
		__atomic_store_n(&outside_busy, 1, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&outside_on, __ATOMIC_SEQ_CST)) {
			if (below(&s, 20))
				upcall_notify(UPCALL_EV_USER, -1, 3, 4);
			else
				storm(&s);
		}
		__atomic_store_n(&outside_busy, 0, __ATOMIC_SEQ_CST);
	}
	return arg;
}

static void outside_set(bool on)
{
	__atomic_store_n(&outside_on, on, __ATOMIC_SEQ_CST);
	while (!on && __atomic_load_n(&outside_busy, __ATOMIC_SEQ_CST))
		sched_yield();
}

/* ---- episodes ---- */

static void on_user_event(unsigned vcore, const struct upcall_event *ev, void *arg)
{
	count(arg);
}

static void crowd(uint64_t *s, uint64_t until)
{
	struct upcall_uthread *u[MAX_UTHREADS + 8];
	unsigned i, made = 0, blockers = 2 + (unsigned)below(s, 3);

	for (i = 0; i < opt.uthreads; i++)
		made += !upcall_uthread_create(&u[made], NULL, worker, (void *)next(s));
	for (i = 0; i < blockers; i++)
		made += !upcall_uthread_create(&u[made], NULL, blocker, (void *)next(s));
	made += !upcall_uthread_create(&u[made], NULL, disturber, (void *)next(s));
	same("uthreads made", made, opt.uthreads + blockers + 1);
	watchdog_doing(main_dog, "main: watching");
	outside_set(true);
	while (now_ns() < until && get(&nr.migrations) < opt.migrations) {
		announced_sleep_ns(5000000);
		watchdog_pat(main_dog);
	}
	watchdog_doing(main_dog, "main: joining");
	outside_set(false);
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	for (i = 0; i < made; i++) {
		upcall_uthread_join(u[i], NULL);
		watchdog_pat(main_dog);
	}
	watchdog_doing(main_dog, "main: stopping or starting");
	__atomic_store_n(&stop, false, __ATOMIC_RELEASE);
}

static bool episode(uint64_t *s, uint64_t *ret_moved)
{
	static const unsigned slices[] = { 50, 75, 100, 150, 200 };
	struct upcall_opts o = { .size = sizeof(o), .vcores = opt.vcores };
	struct upcall_stats st = { .size = sizeof(st) };
	uint64_t heard = 0;
	int r;

	if (!o.vcores)
		o.vcores = 1 + (unsigned)below(s, 2);
	o.slice_ns = (opt.slice_us ? opt.slice_us : slices[below(s, 5)]) * UINT64_C(1000);
	o.grace_ns = 50000 + below(s, 300000);
	r = upcall_start(&o);
	if (r) {
		printf("upcall_start: %s\n", strerror(-r));
		count(&nr.corrupt);
		return false;
	}
	upcall_event_handle(UPCALL_EV_USER, on_user_event, &heard);
	upcall_event_route(UPCALL_EV_USER, -1, 1);
	crowd(s, now_ns() + EPISODE_NS);
	upcall_event_handle(UPCALL_EV_USER, NULL, NULL);
	r = upcall_get_stats(&st);
	same("upcall_get_stats", (uint64_t)-r, 0);
	same("uthreads live at the end", st.uthreads_live, 1);
	same("EINTR left to the program", st.eintr_left, 0);
	*ret_moved += st.migrations;
	r = upcall_stop();
	same("upcall_stop", (uint64_t)-r, 0);
	return !r;
}

static void parse(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "migrations", 1, NULL, 'm' }, { "seed", 1, NULL, 's' },
		{ "vcores", 1, NULL, 'v' },	{ "slice-us", 1, NULL, 'l' },
		{ "uthreads", 1, NULL, 'u' },	{ "seconds", 1, NULL, 't' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'm':
			opt.migrations = program_number(optarg);
			break;
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
		default:
			exit(2);
		}
	}
	if (optind != argc || !opt.uthreads || opt.uthreads > MAX_UTHREADS || opt.vcores > 64) {
		fprintf(stderr, "torture: bad arguments\n");
		exit(2);
	}
}

static void prepare(void)
{
	uint64_t s = opt.seed;
	const char *what;
	pthread_t t;
	int i, r = ordinary_become(&what);

	if (r) {
		printf("SKIP cannot become an ordinary user: %s: %s\n", what, strerror(-r));
		exit(77);
	}
	printf("seed %lu, live: %s\n", opt.seed, choose_stint());
	for (i = 0; i < NR_PATTERNS; i++)
		make_pattern(&patterns[i], &s);
	watchdog_start(HANG_S);
	main_dog = watchdog_in("main");
	pthread_create(&t, NULL, outside, NULL);
	pthread_detach(t);
}

int main(int argc, char **argv)
{
	uint64_t from, until, moved = 0, s;
	unsigned episodes = 0, threads, fds, left;

	parse(argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	prepare();
	s = ~opt.seed;
	threads = entries_threads(5);
	fds = entries("/proc/self/fd");
	from = now_ns();
	until = opt.seconds ? from + opt.seconds * 1000000000 : UINT64_MAX;
	while (get(&nr.migrations) < opt.migrations && now_ns() < until && episode(&s, &moved))
		episodes++;
	left = entries_threads(threads);
	same("kernel threads left", left, threads);
	same("descriptors left", entries("/proc/self/fd"), fds);
	printf("migrations %lu (the runtime counts %lu) in %u episodes, %.1f s\n", nr.migrations,
	       moved, episodes, (double)(now_ns() - from) / 1e9);
	printf("stints %lu, calls %lu, blocks %lu; notifications %lu, preemptions %lu, requests "
	       "%lu, "
	       "storms %lu\n",
	       nr.stints, nr.calls, nr.blocks, nr.notified, nr.preempts, nr.requests, nr.storms);
	printf("leaked: kernel threads %d, descriptors %d\n", (int)(left - threads),
	       (int)(entries("/proc/self/fd") - fds));
	if (get(&nr.migrations) < opt.migrations && !opt.seconds)
		count(&nr.corrupt);
	printf("corrupt %lu\n", nr.corrupt);
	return nr.corrupt != 0;
}
