/* SPDX-License-Identifier: MIT */
/*
 * The program that every contender of build/bench/micro runs: the same text for each, in the part of
 * C that C++ reads too. A contender's own file defines the calls below and includes this last.
 *
 *   peer_ret, PEER_DONE            what a thread's function returns
 *   peer_thread, peer_create(), peer_create_at() (near that worker)
 *   peer_group, peer_join_all()    those that are joined together
 *   peer_run(vcores, fn)           calls fn as a thread of the contender's
 *   PEER_HAS_YIELD                 peer_yield()
 *   PEER_HAS_EVENT                 peer_event: one waiter, one signal, in either order
 *   PEER_HAS_MUTEX                 peer_mutex
 *   PEER_HAS_SPAWN                 peer_spawn, peer_spawn_start(), peer_spawn_sync(), whose function
 *                                  returns peer_spawn_ret, PEER_SPAWN_DONE
 *   PEER_HAS_FOR                   peer_for()
 *   PEER_HAS_KERNEL_BLOCK          a thread may sleep in read() and others go on
 *   PEER_HAS_PREEMPTION            a thread that computes for ever lets others run; peer_create_high()
 *                                  makes one that goes before the others, as far as there is such a thing
 *   PEER_HAS_LIVE                  peer_prepare_live(): before as many as can be are made
 *   PEER_LIVE_MAX                  more threads than that cannot live at once
 *   PEER_OWN_TLS                   a thread's thread_local variables are fresh
 *
 * It is started as `PROGRAM VCORES`, says "ready", and answers each line "run ROW N" with
 * "done NS OPERATIONS OWN_STACK", "absent WHY", or "failed WHY". At the end of its input it goes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define BATCH		1000u /* live at once in null_fork */
#define BLOCK_EVERY	64u   /* so many bodies, and one of them blocks */
#define LOCKERS		8u    /* threads in mutex_contended */
#define HOGS_PER_VCORE	8u
#define HELD_EVERY	16u /* so many sections, and one of them yields */
#define PIPE_EVERY	100u
#define LOOP_NR		100000u /* steps of a loop */
#define TOUCH_SZ	2048u
#define LIVE_SZ_MOST	12288u
#define NEAR_SZ		12288u /* nearer to its creator's frame than that is the same stack */
#define BODY_VCORES_MAX 1024u
#define BODY_NOINLINE	__attribute__((noinline))

struct outcome {
	uint64_t ns, ops;
	const char *absent; /* why this contender cannot do that row */
};

static unsigned body_vcores;
static unsigned body_shared_stack; /* atomic: bodies that ran on their creator's stack */
static const char *body_failure;   /* atomic */

#ifndef PEER_LIVE_MAX
#define PEER_LIVE_MAX UINT64_MAX
#endif

static uint64_t body_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void body_fail(const char *why)
{
	__atomic_store_n(&body_failure, why, __ATOMIC_RELAXED);
}

static void *body_alloc(size_t sz)
{
	void *p = calloc(1, sz);

	if (!p) {
		puts("failed no memory");
		_exit(1);
	}
	return p;
}

/* ---- the bodies ---- */

struct slot {
	uintptr_t frame; /* of whoever created it */
	unsigned ran;
#ifdef PEER_HAS_EVENT
	peer_event *arrived, *wait, *signal;
#endif
};

#ifdef PEER_OWN_TLS
static __thread unsigned body_fresh;
#endif

/* What each body asserts: it is a thread of its own, and ran once. */
static inline void body_check(struct slot *s)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);

	if (here - s->frame + NEAR_SZ < 2 * NEAR_SZ)
		__atomic_fetch_add(&body_shared_stack, 1, __ATOMIC_RELAXED);
#ifdef PEER_OWN_TLS
	if (body_fresh++)
		body_fail("a thread_local was not fresh");
#endif
	s->ran++;
}

static peer_ret null_body(void *arg)
{
	body_check((struct slot *)arg);
	return PEER_DONE;
}

#ifdef PEER_HAS_EVENT
/* Tells that it is there, blocks until told to go on, and tells another one: as far as it is to. */
static peer_ret blocking_body(void *arg)
{
	struct slot *s = (struct slot *)arg;

	body_check(s);
	if (s->arrived)
		peer_event_signal(s->arrived);
	if (s->wait)
		peer_event_wait(s->wait);
	if (s->signal)
		peer_event_signal(s->signal);
	return PEER_DONE;
}
#endif

/* ---- one chain a vcore ---- */

struct chain {
	void (*fn)(struct chain *c);
	uint64_t n;
	void *arg;
} __attribute__((aligned(128)));

static peer_ret chain_main(void *arg)
{
	struct chain *c = (struct chain *)arg;

	c->fn(c);
	return PEER_DONE;
}

/* Runs fn in `nr` threads at once, each with `n` of what it does; how long that took. */
static uint64_t run_chains(void (*fn)(struct chain *c), unsigned nr, uint64_t n, void *arg)
{
	struct chain *c = (struct chain *)body_alloc(nr * sizeof(*c));
	peer_thread *t = (peer_thread *)body_alloc(nr * sizeof(*t));
	uint64_t from = body_now_ns();
	peer_group g;
	unsigned i;

	for (i = 0; i < nr; i++) {
		c[i].fn = fn;
		c[i].n = n;
		c[i].arg = arg;
		peer_create_at(&g, &t[i], chain_main, &c[i], i % body_vcores);
	}
	peer_join_all(&g, t, nr);
	from = body_now_ns() - from;
	free(t);
	free(c);
	return from;
}

/* ---- create_join ---- */

static void BODY_NOINLINE create_join_chain(struct chain *c)
{
	struct slot s;
	peer_group g;
	peer_thread t;
	uint64_t i;

	memset(&s, 0, sizeof(s));
	s.frame = (uintptr_t)__builtin_frame_address(0);
#ifdef PEER_HAS_EVENT
	struct slot b = s;
	peer_event arrived, wait;

	peer_event_init(&arrived);
	peer_event_init(&wait);
	b.arrived = &arrived;
	b.wait = &wait;
#endif
	for (i = 0; i < c->n; i++) {
#ifdef PEER_HAS_EVENT
		if (i % BLOCK_EVERY == BLOCK_EVERY - 1) {
			peer_create(&g, &t, blocking_body, &b);
			peer_event_wait(&arrived);
			peer_event_signal(&wait);
			peer_join_all(&g, &t, 1);
			s.ran += b.ran;
			b.ran = 0;
			continue;
		}
#endif
		peer_create(&g, &t, null_body, &s);
		peer_join_all(&g, &t, 1);
	}
	if (s.ran != c->n)
		body_fail("create_join: a body did not run");
}

static struct outcome row_create_join(uint64_t n)
{
	struct outcome o = { 0, n * body_vcores, NULL };

	o.ns = run_chains(create_join_chain, body_vcores, n, NULL);
	return o;
}

/* ---- null_fork ---- */

/* Of each BLOCK_EVERY, one waits for the one behind it and one for the one before: one of them
 * blocks, whichever way round they run. */
static void link_slots(struct slot *s, void *events)
{
#ifdef PEER_HAS_EVENT
	peer_event *e = (peer_event *)events;
	unsigned i;

	for (i = 0; i + BLOCK_EVERY <= BATCH; i += BLOCK_EVERY, e += 2) {
		peer_event_init(&e[0]);
		peer_event_init(&e[1]);
		s[i + 10].wait = s[i + 11].signal = &e[0];
		s[i + 41].wait = s[i + 40].signal = &e[1];
	}
#endif
}

static void null_fork_batch(struct slot *s, peer_thread *t, unsigned nr)
{
	peer_group g;
	unsigned i;

	for (i = 0; i < nr; i++) {
#ifdef PEER_HAS_EVENT
		if (s[i].wait || s[i].signal) {
			peer_create(&g, &t[i], blocking_body, &s[i]);
			continue;
		}
#endif
		peer_create(&g, &t[i], null_body, &s[i]);
	}
	peer_join_all(&g, t, nr);
}

static void BODY_NOINLINE null_fork_chain(struct chain *c)
{
	struct slot *s = (struct slot *)body_alloc(BATCH * sizeof(*s));
	peer_thread *t = (peer_thread *)body_alloc(BATCH * sizeof(*t));
	uint64_t i, k;
#ifdef PEER_HAS_EVENT
	void *events = body_alloc((BATCH / BLOCK_EVERY + 1) * 2 * sizeof(peer_event));
#else
	void *events = NULL;
#endif

	for (i = 0; i < BATCH; i++)
		s[i].frame = (uintptr_t)__builtin_frame_address(0);
	link_slots(s, events);
	for (k = 0; k < c->n; k++)
		null_fork_batch(s, t, BATCH);
	for (i = 0; i < BATCH; i++)
		if (s[i].ran != c->n)
			body_fail("null_fork: a body did not run");
	free(t);
	free(s);
	free(events);
}

static struct outcome row_null_fork(uint64_t n)
{
	struct outcome o = { 0, 0, NULL };

	n = (n + BATCH - 1) / BATCH;
	o.ops = n * BATCH * body_vcores;
	o.ns = run_chains(null_fork_chain, body_vcores, n, NULL);
	return o;
}

/* ---- yield ---- */

#ifdef PEER_HAS_YIELD
struct yielder {
	struct slot slot;
	uint64_t n, done, moved;
	struct yielder *other;
} __attribute__((aligned(128)));

static peer_ret yield_body(void *arg)
{
	struct yielder *y = (struct yielder *)arg;
	uint64_t seen = 0, now;

	body_check(&y->slot);
	for (y->done = 0; y->done < y->n;) {
		__atomic_store_n(&y->done, y->done + 1, __ATOMIC_RELAXED);
		peer_yield();
		now = __atomic_load_n(&y->other->done, __ATOMIC_RELAXED);
		y->moved += now != seen;
		seen = now;
	}
	return PEER_DONE;
}

static void BODY_NOINLINE yield_chain(struct chain *c)
{
	struct yielder y[2];
	peer_group g;
	peer_thread t[2];
	unsigned i;

	memset(y, 0, sizeof(y));
	for (i = 0; i < 2; i++) {
		y[i].slot.frame = (uintptr_t)__builtin_frame_address(0);
		y[i].n = c->n;
		y[i].other = &y[!i];
		peer_create(&g, &t[i], yield_body, &y[i]);
	}
	peer_join_all(&g, t, 2);
	if (y[0].slot.ran + y[1].slot.ran != 2 || y[0].done + y[1].done != 2 * c->n)
		body_fail("yield: a body did not run");
	/* Where there is but one vcore, the other has had its turn each time. */
	if (body_vcores == 1 && c->n > 1000 && y[0].moved + y[1].moved < c->n)
		body_fail("yield: the other one did not get its turn");
}

static struct outcome row_yield(uint64_t n)
{
	struct outcome o = { 0, n * 2 * body_vcores, NULL };

	o.ns = run_chains(yield_chain, body_vcores, n, NULL);
	return o;
}
#else
static struct outcome row_yield(uint64_t n)
{
	struct outcome o = { 0, 0, "its tasks cannot yield to one another" };

	return o;
}
#endif

/* ---- signal_wait ---- */

#ifdef PEER_HAS_EVENT
struct pinger {
	struct slot slot;
	uint64_t n;
	peer_event *mine, *others;
	bool first;
};

static peer_ret ping_body(void *arg)
{
	struct pinger *p = (struct pinger *)arg;
	uint64_t i;

	body_check(&p->slot);
	if (p->first)
		peer_event_signal(p->others);
	for (i = p->first; i < p->n; i++) {
		peer_event_wait(p->mine);
		peer_event_signal(p->others);
	}
	if (p->first)
		peer_event_wait(p->mine);
	return PEER_DONE;
}

static void BODY_NOINLINE ping_chain(struct chain *c)
{
	struct pinger p[2];
	peer_event e[2];
	peer_group g;
	peer_thread t[2];
	unsigned i;

	memset(p, 0, sizeof(p));
	for (i = 0; i < 2; i++) {
		peer_event_init(&e[i]);
		p[i].slot.frame = (uintptr_t)__builtin_frame_address(0);
		p[i].n = c->n;
		p[i].mine = &e[i];
		p[i].others = &e[!i];
		p[i].first = !i;
	}
	for (i = 0; i < 2; i++)
		peer_create(&g, &t[i], ping_body, &p[i]);
	peer_join_all(&g, t, 2);
	if (p[0].slot.ran + p[1].slot.ran != 2)
		body_fail("signal_wait: a body did not run");
}

static struct outcome row_signal_wait(uint64_t n)
{
	struct outcome o = { 0, n * 2 * body_vcores, NULL };

	o.ns = run_chains(ping_chain, body_vcores, n, NULL);
	return o;
}
#else
static struct outcome row_signal_wait(uint64_t n)
{
	struct outcome o = { 0, 0, "its tasks cannot wait for one another" };

	return o;
}
#endif

/* ---- mutex_free, mutex_contended ---- */

#ifdef PEER_HAS_MUTEX
static void BODY_NOINLINE mutex_free_chain(struct chain *c)
{
	peer_mutex m;
	uint64_t i, count = 0;

	peer_mutex_init(&m);
	for (i = 0; i < c->n; i++) {
		peer_mutex_lock(&m);
		__asm__ __volatile__("" : "+r"(count));
		count++;
		peer_mutex_unlock(&m);
	}
	if (count != c->n)
		body_fail("mutex_free: a count is wrong");
}

static struct outcome row_mutex_free(uint64_t n)
{
	struct outcome o = { 0, n * body_vcores, NULL };

	o.ns = run_chains(mutex_free_chain, body_vcores, n, NULL);
	return o;
}

struct contended {
	peer_mutex lock;
	uint64_t frame, counts[4];
};

static void BODY_NOINLINE contended_chain(struct chain *c)
{
	struct contended *k = (struct contended *)c->arg;
	struct slot s;
	uint64_t i;
	unsigned j;

	memset(&s, 0, sizeof(s));
	s.frame = (uintptr_t)k->frame;
	body_check(&s);
	for (i = 0; i < c->n; i++) {
		peer_mutex_lock(&k->lock);
		for (j = 0; j < 4; j++)
			k->counts[j]++;
#ifdef PEER_HAS_YIELD
		/* Else there would be no contention where threads take turns on one vcore. */
		if (i % HELD_EVERY == 0)
			peer_yield();
#endif
		peer_mutex_unlock(&k->lock);
	}
}

static struct outcome row_mutex_contended(uint64_t n)
{
	struct contended *k = (struct contended *)body_alloc(sizeof(*k));
	struct outcome o = { 0, 0, NULL };
	unsigned j;

	peer_mutex_init(&k->lock);
	k->frame = (uintptr_t)__builtin_frame_address(0);
	n = n / LOCKERS + 1;
	o.ops = n * LOCKERS;
	o.ns = run_chains(contended_chain, LOCKERS, n, k);
	for (j = 0; j < 4; j++)
		if (k->counts[j] != o.ops)
			body_fail("mutex_contended: a count is wrong");
	return o;
}
#else
static struct outcome row_mutex_free(uint64_t n)
{
	struct outcome o = { 0, 0, "it has no mutex yet" };

	return o;
}

static struct outcome row_mutex_contended(uint64_t n)
{
	return row_mutex_free(n);
}
#endif

/* ---- fork_join_spawn ---- */

#ifdef PEER_HAS_SPAWN
struct fib {
	uint64_t n, value;
};

static peer_spawn_ret BODY_NOINLINE fib_body(void *arg)
{
	struct fib *f = (struct fib *)arg, a, b;
	peer_spawn s;

	if (f->n < 2) {
		f->value = f->n;
		return PEER_SPAWN_DONE;
	}
	a.n = f->n - 1;
	b.n = f->n - 2;
	peer_spawn_start(&s, fib_body, &a);
	fib_body(&b);
	peer_spawn_sync(&s);
	f->value = a.value + b.value;
	return PEER_SPAWN_DONE;
}

static void fib_chain(struct chain *c)
{
	fib_body(c->arg);
}

static struct outcome row_fork_join_spawn(uint64_t n)
{
	struct outcome o = { 0, 0, NULL };
	struct fib f = { n, 0 };
	uint64_t a = 0, b = 1, i, t;

	o.ns = run_chains(fib_chain, 1, n, &f);
	for (i = 0; i < n; i++) {
		t = a + b;
		a = b;
		b = t;
	}
	o.ops = b > 1 ? b - 1 : 1; /* one spawn for each call that is no leaf */
	if (f.value != a)
		body_fail("fork_join_spawn: the sum is wrong");
	return o;
}
#else
static struct outcome row_fork_join_spawn(uint64_t n)
{
	struct outcome o = { 0, 0, "it has no spawn" };

	return o;
}
#endif

/* ---- parallel_for ---- */

#ifdef PEER_HAS_FOR
static void for_range(size_t begin, size_t end, void *arg)
{
	uint32_t *v = (uint32_t *)arg;
	size_t i;

	for (i = begin; i < end; i++)
		v[i] = v[i] * 3 + (uint32_t)i;
}

static void BODY_NOINLINE for_chain(struct chain *c)
{
	uint64_t k;

	for (k = 0; k < c->n; k++)
		peer_for(LOOP_NR, for_range, c->arg);
}

/* One chain: the loop is what is to use every vcore. Each loop is short, so that its cost shows. */
static struct outcome row_parallel_for(uint64_t n)
{
	uint32_t *v = (uint32_t *)body_alloc(LOOP_NR * sizeof(*v)), want;
	struct outcome o = { 0, 0, NULL };
	uint64_t i, k;

	o.ns = run_chains(for_chain, 1, n, v);
	o.ops = n;
	for (i = 0; i < LOOP_NR; i += LOOP_NR / 7) {
		for (want = 0, k = 0; k < n; k++)
			want = want * 3 + (uint32_t)i;
		if (v[i] != want)
			body_fail("parallel_for: a value is wrong");
	}
	free(v);
	return o;
}
#else
static struct outcome row_parallel_for(uint64_t n)
{
	struct outcome o = { 0, 0, "it has no parallel loop" };

	return o;
}
#endif

/* ---- bytes_per_uthread ---- */

#ifdef PEER_HAS_EVENT
struct crowd {
	uint64_t here, nr; /* here: atomic */
	bool touch;
	peer_event all;
};

struct member {
	struct crowd *crowd;
	peer_event go;
};

static void BODY_NOINLINE touch_stack(void)
{
	char page[TOUCH_SZ];

	memset(page, 1, sizeof(page));
	__asm__ __volatile__("" : : "r"(page) : "memory");
}

static peer_ret member_body(void *arg)
{
	struct member *m = (struct member *)arg;

	if (m->crowd->touch)
		touch_stack();
	if (__atomic_add_fetch(&m->crowd->here, 1, __ATOMIC_ACQ_REL) == m->crowd->nr)
		peer_event_signal(&m->crowd->all);
	peer_event_wait(&m->go);
	return PEER_DONE;
}

/* Memory of this process that is there, or that the machine could still give. */
static uint64_t memory(const char *path, const char *key)
{
	FILE *f = fopen(path, "re");
	unsigned long long kb = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			kb = strtoull(line + strlen(key), NULL, 10);
	if (f)
		fclose(f);
	return kb * 1024;
}

struct crowd_job {
	struct crowd crowd;
	struct member *m;
	peer_thread *t;
	uint64_t bytes;
};

static void BODY_NOINLINE crowd_chain(struct chain *c)
{
	struct crowd_job *j = (struct crowd_job *)c->arg;
	uint64_t before, after, i;
	peer_group g;

	before = memory("/proc/self/status", "VmRSS:");
	for (i = 0; i < c->n; i++)
		peer_create(&g, &j->t[i], member_body, &j->m[i]);
	peer_event_wait(&j->crowd.all);
	after = memory("/proc/self/status", "VmRSS:");
	for (i = 0; i < c->n; i++)
		peer_event_signal(&j->m[i].go);
	peer_join_all(&g, j->t, (unsigned)c->n);
	j->bytes = after > before ? after - before : 0;
}

static struct outcome measure_crowd(uint64_t n, bool touch)
{
	uint64_t i, room = memory("/proc/meminfo", "MemAvailable:") / 4 * 3 / LIVE_SZ_MOST;
	struct outcome o = { 0, 0, NULL };
	struct crowd_job j;

#ifdef PEER_HAS_LIVE
	peer_prepare_live();
#endif
	n = n > PEER_LIVE_MAX ? PEER_LIVE_MAX : n;
	n = n > room ? room + 1 : n;
	memset((void *)&j.crowd, 0, sizeof(j.crowd));
	j.m = (struct member *)body_alloc(n * sizeof(*j.m));
	j.t = (peer_thread *)body_alloc(n * sizeof(*j.t));
	memset((void *)j.t, 0, n * sizeof(*j.t)); /* so that its pages do not count */
	j.crowd.nr = n;
	j.crowd.touch = touch;
	peer_event_init(&j.crowd.all);
	for (i = 0; i < n; i++) {
		j.m[i].crowd = &j.crowd;
		peer_event_init(&j.m[i].go);
	}
	run_chains(crowd_chain, 1, n, &j);
	o.ns = j.bytes;
	o.ops = n;
	free(j.t);
	free(j.m);
	return o;
}

static struct outcome row_bytes(uint64_t n)
{
	return measure_crowd(n, false);
}

static struct outcome row_bytes_touched(uint64_t n)
{
	return measure_crowd(n, true);
}
#else
static struct outcome row_bytes(uint64_t n)
{
	struct outcome o = { 0, 0, "its tasks cannot wait for one another" };

	return o;
}

static struct outcome row_bytes_touched(uint64_t n)
{
	return row_bytes(n);
}
#endif

/* ---- null_fork_pipe ---- */

#ifdef PEER_HAS_KERNEL_BLOCK
struct piped {
	struct slot slot;
	int from, to; /* -1: none */
};

static peer_ret pipe_body(void *arg)
{
	struct piped *p = (struct piped *)arg;
	char c = 0;

	body_check(&p->slot);
	if (p->from >= 0 && read(p->from, &c, 1) != 1)
		body_fail("null_fork_pipe: read");
	if (p->to >= 0 && write(p->to, &c, 1) != 1)
		body_fail("null_fork_pipe: write");
	return PEER_DONE;
}

static void BODY_NOINLINE pipe_chain(struct chain *c)
{
	struct piped *p = (struct piped *)body_alloc(BATCH * sizeof(*p));
	peer_thread *t = (peer_thread *)body_alloc(BATCH * sizeof(*t));
	uint64_t i, k;
	peer_group g;
	int fds[2];

	for (i = 0; i < BATCH; i++) {
		p[i].slot.frame = (uintptr_t)__builtin_frame_address(0);
		p[i].from = p[i].to = -1;
	}
	for (i = 10; i < BATCH; i += PIPE_EVERY) {
		if (pipe(fds))
			body_fail("null_fork_pipe: pipe");
		p[i].from = fds[0];
		p[i + 50].to = fds[1];
	}
	for (k = 0; k < c->n; k++) {
		for (i = 0; i < BATCH; i++)
			peer_create(&g, &t[i], pipe_body, &p[i]);
		peer_join_all(&g, t, BATCH);
	}
	for (i = 0; i < BATCH; i++) {
		if (p[i].slot.ran != c->n)
			body_fail("null_fork_pipe: a body did not run");
		if (p[i].from >= 0)
			close(p[i].from);
		if (p[i].to >= 0)
			close(p[i].to);
	}
	free(t);
	free(p);
}

static struct outcome row_null_fork_pipe(uint64_t n)
{
	struct outcome o = { 0, 0, NULL };

	n = (n + BATCH - 1) / BATCH;
	o.ops = n * BATCH * body_vcores;
	o.ns = run_chains(pipe_chain, body_vcores, n, NULL);
	return o;
}
#else
static struct outcome row_null_fork_pipe(uint64_t n)
{
	struct outcome o = { 0, 0, "a read() stops every thread of the worker" };

	return o;
}
#endif

/* ---- priority_p99 ---- */

#ifdef PEER_HAS_PREEMPTION
struct light {
	uint64_t nr, *late_ns;
};

static uint32_t hogs_over; /* atomic */

static peer_ret hog_body(void *arg)
{
	while (!__atomic_load_n(&hogs_over, __ATOMIC_RELAXED))
		__asm__ __volatile__("");
	return PEER_DONE;
}

static peer_ret light_body(void *arg)
{
	struct light *l = (struct light *)arg;
	uint64_t i, due = body_now_ns(), now;
	struct timespec ts;

	for (i = 0; i < l->nr; i++) {
		due += 1000000;
		now = body_now_ns();
		if (due < now) /* that request has come while the one before was late */
			goto late;
		ts.tv_sec = (time_t)(due / 1000000000);
		ts.tv_nsec = (long)(due % 1000000000);
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
			;
		now = body_now_ns();
	late:
		l->late_ns[i] = now - due;
	}
	return PEER_DONE;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static struct outcome row_priority_p99(uint64_t n)
{
	unsigned i, nr = HOGS_PER_VCORE * body_vcores;
	peer_thread *t = (peer_thread *)body_alloc((nr + 1) * sizeof(*t));
	struct light l = { n, (uint64_t *)body_alloc(n * sizeof(uint64_t)) };
	struct outcome o = { 0, 1, NULL };
	peer_group g, hogs;

	hogs_over = 0;
	for (i = 0; i < nr; i++)
		peer_create(&hogs, &t[i], hog_body, NULL);
	peer_create_high(&g, &t[nr], light_body, &l);
	peer_join_all(&g, &t[nr], 1);
	__atomic_store_n(&hogs_over, 1, __ATOMIC_RELAXED);
	peer_join_all(&hogs, t, nr);
	qsort(l.late_ns, n, sizeof(uint64_t), by_value);
	o.ns = l.late_ns[n * 99 / 100];
	free(l.late_ns);
	free(t);
	return o;
}
#else
static struct outcome row_priority_p99(uint64_t n)
{
	struct outcome o = { 0, 0, "it has no preemption, or no priorities yet" };

	return o;
}
#endif

/* ---- the table and the line protocol ---- */

static const struct {
	const char *name;
	struct outcome (*run)(uint64_t n);
	bool warm; /* a run before it, that does not count */
} body_rows[] = {
	{ "create_join", row_create_join, true },
	{ "null_fork", row_null_fork, true },
	{ "null_fork_pipe", row_null_fork_pipe, true },
	{ "yield", row_yield, true },
	{ "signal_wait", row_signal_wait, true },
	{ "mutex_free", row_mutex_free, true },
	{ "mutex_contended", row_mutex_contended, true },
	{ "fork_join_spawn", row_fork_join_spawn, true },
	{ "parallel_for", row_parallel_for, true },
	{ "bytes_per_uthread", row_bytes, false },
	{ "bytes_per_uthread_touched", row_bytes_touched, false },
	{ "priority_p99", row_priority_p99, false },
};

static void answer(const char *name, uint64_t n)
{
	struct outcome o = { 0, 0, NULL };
	bool known = false;
	unsigned i;

	for (i = 0; i < sizeof(body_rows) / sizeof(body_rows[0]); i++)
		if (!strcmp(body_rows[i].name, name)) {
			known = true;
			if (body_rows[i].warm)
				body_rows[i].run(n / 8 + 1);
			body_shared_stack = 0;
			o = body_rows[i].run(n);
		}
	if (!known)
		puts("failed it does not know that row");
	else if (o.absent)
		printf("absent %s\n", o.absent);
	else if (body_failure)
		printf("failed %s\n", body_failure);
	else
		printf("done %llu %llu %d\n", (unsigned long long)o.ns, (unsigned long long)o.ops,
		       !body_shared_stack);
}

static int body_main(void)
{
	char line[128], name[64];
	unsigned long long n;

	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "run %63s %llu", name, &n) == 2 && n)
			answer(name, n);
		else
			puts("failed what?");
		fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;

	if (!n || n > BODY_VCORES_MAX) {
		fprintf(stderr, "usage: %s VCORES\n", argv[0]);
		return 64;
	}
	prctl(PR_SET_PDEATHSIG, 9);
	body_vcores = (unsigned)n;
	return peer_run(body_vcores, body_main);
}
