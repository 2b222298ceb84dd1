/* SPDX-License-Identifier: MIT */
/* The explorer: see explore.h.  Depth first, by running again with one choice changed. */
#include "explore.h"

#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "base/atomic.h" /* the replacement: its declarations are defined here */

#define MAX_STEPS  400
#define MAX_BUFFER 16
#define STACK_SZ   (256 * 1024)
#define SEEN_SZ	   (1u << 22)

struct store {
	volatile void *ptr;
	uint64_t val;
	size_t sz;
};

static struct {
	const struct explore *e;
	ucontext_t home;
	ucontext_t ctx[EXPLORE_THREADS];
	char *stack[EXPLORE_THREADS];
	struct store buffer[EXPLORE_THREADS][MAX_BUFFER];
	unsigned nr_buffer[EXPLORE_THREADS];
	bool done[EXPLORE_THREADS];
	bool fencing[EXPLORE_THREADS]; /* waits for its buffer to be empty */
	const volatile uint32_t *waits[EXPLORE_THREADS], *sleeps[EXPLORE_THREADS];
	uint32_t wait_val[EXPLORE_THREADS];
	uint64_t hist[EXPLORE_THREADS];
	int running; /* -1: outside, where accesses are plain */
	uint64_t *seen;
	unsigned choice[MAX_STEPS];
	unsigned options[MAX_STEPS];
	char trace[MAX_STEPS + 1];
	unsigned depth;
} x = { .running = -1 };

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ h >> 29;
}

static bool watched(const volatile void *ptr)
{
	for (unsigned i = 0; x.running >= 0 && i < x.e->nr_watch; i++)
		if (x.e->watch[i] == ptr)
			return true;
	return false;
}

static void step(void)
{
	int me = x.running;

	x.running = -1;
	swapcontext(&x.ctx[me], &x.home);
	x.running = me;
}

const void *explore_load(const volatile void *ptr, size_t sz, uint64_t *buf)
{
	*buf = 0;
	if (!watched(ptr)) {
		memcpy(buf, (const void *)ptr, sz);
		return buf;
	}
	step();
	memcpy(buf, (const void *)ptr, sz);
	for (unsigned i = 0; i < x.nr_buffer[x.running]; i++)
		if (x.buffer[x.running][i].ptr == ptr)
			*buf = x.buffer[x.running][i].val;
	x.hist[x.running] = mix(x.hist[x.running], *buf + 1);
	return buf;
}

void explore_store(volatile void *ptr, const void *val, size_t sz)
{
	struct store *s;

	if (!watched(ptr)) {
		memcpy((void *)ptr, val, sz);
		return;
	}
	step();
	if (x.nr_buffer[x.running] == MAX_BUFFER)
		abort();
	s = &x.buffer[x.running][x.nr_buffer[x.running]++];
	*s = (struct store){ .ptr = ptr, .sz = sz };
	memcpy(&s->val, val, sz);
	x.hist[x.running] = mix(x.hist[x.running], 2);
}

void explore_fence(void)
{
	if (x.running < 0)
		return;
	x.fencing[x.running] = true;
	step();
	x.fencing[x.running] = false;
	x.hist[x.running] = mix(x.hist[x.running], 3);
}

static void let_out(int me)
{
	struct store *s = &x.buffer[me][0];

	memcpy((void *)s->ptr, &s->val, s->sz);
	memmove(s, s + 1, --x.nr_buffer[me] * sizeof(*s));
}

void explore_note(uint64_t read)
{
	if (x.running >= 0)
		x.hist[x.running] = mix(x.hist[x.running], read + 5);
}

/* Whatever is in anybody's buffer is out by then: what others store from now on is not. */
void explore_fence_all(void)
{
	if (x.running < 0)
		return;
	step();
	for (int t = 0; t < EXPLORE_THREADS; t++)
		while (x.nr_buffer[t])
			let_out(t);
	x.hist[x.running] = mix(x.hist[x.running], 4);
}

void explore_wait_while(const volatile uint32_t *ptr, uint32_t val)
{
	int me = x.running;

	x.waits[me] = ptr;
	x.wait_val[me] = val;
	step();
	x.waits[me] = NULL;
}

void explore_sleep_if(const volatile uint32_t *ptr, uint32_t val)
{
	int me = x.running;

	explore_fence();
	if (*ptr == val) {
		x.sleeps[me] = ptr;
		step();
	}
	explore_note(*ptr);
}

void explore_wake(const volatile uint32_t *ptr)
{
	explore_fence();
	for (int t = 0; t < EXPLORE_THREADS; t++)
		if (x.sleeps[t] == ptr)
			x.sleeps[t] = NULL;
}

static void body(int me)
{
	x.running = me;
	x.e->thread[me](x.e->arg);
	x.running = -1;
	x.done[me] = true;
	swapcontext(&x.ctx[me], &x.home);
}

static void start(int me)
{
	getcontext(&x.ctx[me]);
	x.ctx[me].uc_stack.ss_sp = x.stack[me];
	x.ctx[me].uc_stack.ss_size = STACK_SZ;
	x.ctx[me].uc_link = &x.home;
	makecontext(&x.ctx[me], (void (*)(void))body, 1, me);
	x.nr_buffer[me] = 0;
	x.fencing[me] = false;
	x.waits[me] = x.sleeps[me] = NULL;
	x.hist[me] = 0;
	x.done[me] = !x.e->thread[me];
	if (!x.done[me])
		swapcontext(&x.home, &x.ctx[me]); /* up to its first step */
}

static bool can_step(int me)
{
	return !x.done[me] && !x.sleeps[me] && !(x.fencing[me] && x.nr_buffer[me]) &&
	       !(x.waits[me] && *x.waits[me] == x.wait_val[me]);
}

/* The first time that this state is met? */
static bool is_new(uint64_t *states)
{
	uint64_t h = 0;

	for (int t = 0; t < EXPLORE_THREADS; t++)
		h = mix(h, x.hist[t]);

	for (unsigned i = 0; i < x.e->nr_watch; i++) {
		uint32_t word;

		memcpy(&word, (const void *)x.e->watch[i], sizeof(word));
		h = mix(h, word);
	}
	for (int t = 0; t < EXPLORE_THREADS; t++) {
		h = mix(h,
			x.nr_buffer[t] + 32 * x.done[t] + 64 * !!x.waits[t] + 128 * !!x.sleeps[t]);
		for (unsigned i = 0; i < x.nr_buffer[t]; i++)
			h = mix(mix(h, (uintptr_t)x.buffer[t][i].ptr), x.buffer[t][i].val);
	}
	h |= 1;
	for (uint64_t at = h >> 20;; at++) {
		uint64_t *slot = &x.seen[at % SEEN_SZ];

		if (*slot == h)
			return false;
		if (!*slot) {
			*slot = h;
			if (++*states > SEEN_SZ / 2)
				abort();
			return true;
		}
	}
}

static void take(unsigned nr)
{
	static const char names[] = "012abc";
	unsigned at = 0;

	for (int what = 0; what < 2 * EXPLORE_THREADS; what++) {
		int of = what % EXPLORE_THREADS;
		bool can = what < EXPLORE_THREADS ? can_step(of) : x.nr_buffer[of] != 0;

		if (!can || at++ != nr)
			continue;
		x.trace[x.depth] = names[what];
		if (what < EXPLORE_THREADS)
			swapcontext(&x.home, &x.ctx[of]);
		else
			let_out(of);
		return;
	}
}

static unsigned nr_options(void)
{
	unsigned nr = 0;

	for (int t = 0; t < EXPLORE_THREADS; t++)
		nr += (unsigned)can_step(t) + (x.nr_buffer[t] != 0);
	return nr;
}

/* One run; beyond `known` choices it takes the first of each.  False: cut short, met before. */
static bool run(unsigned known, struct explore_result *res)
{
	x.e->reset(x.e->arg);
	for (int t = 0; t < EXPLORE_THREADS; t++)
		start(t);
	for (x.depth = 0; (x.options[x.depth] = nr_options()); x.depth++) {
		if (x.depth == MAX_STEPS - 1)
			abort();
		if (x.depth >= known) {
			if (!is_new(&res->states))
				return false;
			x.choice[x.depth] = 0;
		}
		take(x.choice[x.depth]);
	}
	x.trace[x.depth] = 0;
	return true;
}

void explore_all(const struct explore *e, struct explore_result *ret_result)
{
	struct explore_result res = { 0 };
	unsigned known = 0;

	x.e = e;
	x.seen = calloc(SEEN_SZ, sizeof(*x.seen));
	for (int t = 0; t < EXPLORE_THREADS; t++)
		x.stack[t] = malloc(STACK_SZ);
	for (;;) {
		bool whole = run(known, &res);
		unsigned at = x.depth;

		res.runs++;
		if (whole) {
			res.bad = e->judge(e->arg);
			if (res.bad) {
				memcpy(res.trace, x.trace, x.depth + 1);
				break;
			}
		}
		/* Back to the last choice that has another option. */
		while (at > 0 && x.choice[at - 1] + 1 >= x.options[at - 1])
			at--;
		if (at == 0)
			break;
		x.choice[at - 1]++;
		known = at;
	}
	free(x.seen);
	for (int t = 0; t < EXPLORE_THREADS; t++)
		free(x.stack[t]);
	*ret_result = res;
}
