/* SPDX-License-Identifier: MIT */
/*
 * The program that every contender of build/bench/micro runs: the same text for each, in the part of
 * C that C++ reads too. A contender's own file defines the calls below and includes this last.
 *
 *   peer_ret, PEER_DONE            what a thread's function returns
 *   peer_thread, peer_create(), peer_create_at() (near that worker), peer_join_all()
 *   peer_run(vcores, fn)           calls fn as a thread of the contender's
 *   PEER_HAS_YIELD                 peer_yield()
 *   PEER_HAS_EVENT                 peer_event: one waiter, one signal, in either order
 *   PEER_HAS_MUTEX                 peer_mutex
 *   PEER_HAS_SPAWN                 peer_spawn, PEER_SPAWN(s, fn, arg), PEER_SYNC(s)
 *   PEER_HAS_KERNEL_BLOCK          a thread may sleep in read() and others go on
 *   PEER_HAS_PREEMPTION            a thread that computes for ever lets others run
 *   PEER_OWN_TLS                   a thread's thread_local variables are fresh
 *
 * It is started as `PROGRAM VCORES`, says "ready", and answers each line "run ROW N" with
 * "done NS OPERATIONS OWN_STACK", "absent WHY", or "failed WHY". At the end of its input it goes.
 */
#include <errno.h>
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
#define HOGS_PER_VCORE	4u
#define PIPE_EVERY	100u
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
	unsigned i;

	for (i = 0; i < nr; i++) {
		c[i].fn = fn;
		c[i].n = n;
		c[i].arg = arg;
		peer_create_at(&t[i], chain_main, &c[i], i % body_vcores);
	}
	peer_join_all(t, nr);
	from = body_now_ns() - from;
	free(t);
	free(c);
	return from;
}

/* ---- create_join ---- */

static void BODY_NOINLINE create_join_chain(struct chain *c)
{
	struct slot s;
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
			peer_create(&t, blocking_body, &b);
			peer_event_wait(&arrived);
			peer_event_signal(&wait);
			peer_join_all(&t, 1);
			s.ran += b.ran;
			b.ran = 0;
			continue;
		}
#endif
		peer_create(&t, null_body, &s);
		peer_join_all(&t, 1);
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
	unsigned i;

	for (i = 0; i < nr; i++) {
#ifdef PEER_HAS_EVENT
		if (s[i].wait || s[i].signal) {
			peer_create(&t[i], blocking_body, &s[i]);
			continue;
		}
#endif
		peer_create(&t[i], null_body, &s[i]);
	}
	peer_join_all(t, nr);
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
	peer_thread t[2];
	unsigned i;

	memset(y, 0, sizeof(y));
	for (i = 0; i < 2; i++) {
		y[i].slot.frame = (uintptr_t)__builtin_frame_address(0);
		y[i].n = c->n;
		y[i].other = &y[!i];
		peer_create(&t[i], yield_body, &y[i]);
	}
	peer_join_all(t, 2);
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
		peer_create(&t[i], ping_body, &p[i]);
	peer_join_all(t, 2);
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

/* ---- the table and the line protocol ---- */

static const struct {
	const char *name;
	struct outcome (*run)(uint64_t n);
} body_rows[] = {
	{ "create_join", row_create_join },
	{ "null_fork", row_null_fork },
	{ "yield", row_yield },
	{ "signal_wait", row_signal_wait },
};

static void answer(const char *name, uint64_t n)
{
	struct outcome o = { 0, 0, "it does not know that row" };
	unsigned i;

	for (i = 0; i < sizeof(body_rows) / sizeof(body_rows[0]); i++)
		if (!strcmp(body_rows[i].name, name)) {
			body_rows[i].run(n / 8 + 1); /* warm */
			body_shared_stack = 0;
			o = body_rows[i].run(n);
		}
	if (o.absent)
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
