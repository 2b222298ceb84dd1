/* SPDX-License-Identifier: MIT */
/* The explorer: see explore.h.  Depth first, by running again with one choice changed. */
#include "explore.h"

#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "base/atomic.h" /* the replacement */
#include "base/lock.h"
#include "upcall/sync.h"

#define MAX_DEPTH 4000
#define STACK_SZ  (128 * 1024)

struct task {
	struct up_uthread u;
	ucontext_t ctx;
	char *stack;
	bool started, done;
	bool in_call;	      /* in up_sched_call(): off its stack */
	bool off;	      /* ... and its function is over: it waits to be ready */
	bool ready;	      /* made so, or goes straight on */
	const uint32_t *lock; /* waits for it to be free */
};

static struct {
	const struct xs *e;
	struct task t[XS_THREADS];
	unsigned nr;
	int cur; /* -1: none of them */
	ucontext_t home;
	struct up_alarm *alarm[XS_THREADS]; /* of each */
	unsigned used;			    /* preemptions */
	uint16_t choice[MAX_DEPTH], options[MAX_DEPTH];
	unsigned depth, known;
	unsigned trace_len;
	struct xs_result *res;
	bool over;
	const volatile void *extra;
} x = { .cur = -1 };

struct up_runtime up_rt;
struct up_host up_host;
static struct up_port port;
static struct upabi_procinfo info = { .num_vcores = 1 };

void xs_watch(const volatile void *ptr)
{
	x.extra = ptr;
}

struct upcall_uthread *xs_uthread(unsigned nr)
{
	return (struct upcall_uthread *)&x.t[nr].u;
}

static void leave(void)
{
	int me = x.cur;

	x.over = true;
	x.cur = -1;
	swapcontext(&x.t[me].ctx, &x.home);
	abort();
}

void xs_fail(const char *why)
{
	if (!x.res->bad)
		x.res->bad = why;
	leave();
}

/* ---- choosing ---- */

static unsigned choose(unsigned nr)
{
	if (nr == 1)
		return 0;
	if (x.depth == MAX_DEPTH)
		abort();
	if (x.depth >= x.known)
		x.choice[x.depth] = 0;
	x.options[x.depth] = (uint16_t)nr;
	return x.choice[x.depth++];
}

static bool can_run(const struct task *t)
{
	return !t->done && !(t->off && !t->ready) && !(t->lock && *t->lock);
}

static void note(char c)
{
	if (x.trace_len < sizeof(x.res->trace) - 1)
		x.res->trace[x.trace_len++] = c;
}

static void fire(unsigned i)
{
	struct up_alarm *a = x.alarm[i];
	int me = x.cur;
	struct up_uthread *u;

	note((char)('a' + i));
	x.cur = -1;
	x.alarm[i] = NULL;
	u = a->due(a);
	a->set = false;
	if (u)
		up_ready(u, UPCALL_WOKEN);
	x.cur = me;
}

/* Who goes on: the present one first, then the others and the alarms, if a preemption is left. */
static int next_task(void)
{
	unsigned opt[2 * XS_THREADS], nr = 0, i, pick;
	bool present;

	for (;;) {
		nr = 0;
		present = x.cur >= 0 && can_run(&x.t[x.cur]);
		if (present)
			opt[nr++] = (unsigned)x.cur;
		for (i = 0; i < x.nr; i++)
			if (!(present && x.used == x.e->preemptions) && (int)i != x.cur &&
			    can_run(&x.t[i]))
				opt[nr++] = i;
		for (i = 0; i < x.nr; i++)
			if (!(nr && x.used == x.e->preemptions) && x.alarm[i])
				opt[nr++] = XS_THREADS + i;
		if (!nr)
			return -1;
		pick = opt[choose(nr)];
		if (pick != (unsigned)x.cur && (present || pick >= XS_THREADS) &&
		    x.used < x.e->preemptions)
			x.used++;
		if (pick < XS_THREADS)
			return (int)pick;
		fire(pick - XS_THREADS);
	}
}

static void body(int me)
{
	x.e->thread[me]();
	x.t[me].u.state = UP_U_DONE;
	x.t[me].done = true;
	xs_access(NULL);
	abort();
}

/* Lets the next one go on; comes back when the caller is that. */
static void pass(void)
{
	int me = x.cur, to = next_task();
	unsigned i;

	if (to < 0) {
		for (i = 0; i < x.nr; i++)
			if (!x.t[i].done)
				xs_fail("nobody can go on: a wake is lost");
		leave();
	}
	if (to == me)
		return;
	note((char)('0' + to));
	x.cur = to;
	if (!x.t[to].started) {
		x.t[to].started = true;
		getcontext(&x.t[to].ctx);
		x.t[to].ctx.uc_stack.ss_sp = x.t[to].stack;
		x.t[to].ctx.uc_stack.ss_size = STACK_SZ;
		makecontext(&x.t[to].ctx, (void (*)(void))body, 1, to);
	}
	swapcontext(&x.t[me].ctx, &x.t[to].ctx);
}

static bool watched(const volatile void *ptr)
{
	const volatile char *p = ptr, *o = x.e->watch, *t = (const char *)x.t;

	return !ptr || p == x.extra || (p >= o && p < o + x.e->watch_sz) ||
	       (p >= t && p < t + sizeof(x.t));
}

void xs_access(const volatile void *ptr)
{
	if (x.cur < 0 || !watched(ptr))
		return;
	x.res->steps++;
	pass();
}

/* ---- what stands in for the runtime ---- */

struct up_uthread *up_self(void)
{
	return x.cur < 0 ? NULL : &x.t[x.cur].u;
}

bool up_on_act(void)
{
	return x.cur >= 0;
}

void up_preempt_disable(void)
{
}

void up_preempt_enable(void)
{
}

/* Its holder is off its stack for a while: whoever wants it waits for that. */
void up_lock_take_slowly(struct up_lock *l)
{
	struct task *t = &x.t[x.cur];

	t->lock = &l->word;
	while (l->word)
		pass();
	t->lock = NULL;
	l->word = 1;
}

void up_lock_wake(struct up_lock *l)
{
	xs_fail("a guard has been slept for");
}

void up_sched_call(struct up_uthread *u, void (*fn)(struct upcall_uthread *, void *), void *arg)
{
	struct task *t = &x.t[x.cur];

	if (&t->u != u)
		xs_fail("somebody else leaves his stack");
	t->in_call = true;
	t->ready = false;
	fn((struct upcall_uthread *)u, arg);
	t->off = true;
	while (!t->ready)
		pass();
	t->in_call = t->off = false;
}

void up_leave(struct up_uthread *u, void (*fn)(struct upcall_uthread *, void *), void *arg)
{
	up_sched_call(u, fn, arg);
}

void up_go_on(struct up_uthread *u)
{
	((struct task *)u)->ready = true;
}

void up_ready(struct up_uthread *u, enum upcall_why why)
{
	struct task *t = (struct task *)u;

	if (!t->in_call || t->ready)
		xs_fail("one is made ready that does not wait");
	t->ready = true;
}

void up_ready_list(struct up_uthread *first)
{
	struct up_uthread *u, *next;

	for (u = first; u; u = next) {
		next = u->next;
		up_ready(u, UPCALL_WOKEN);
	}
}

uint32_t up_vcore_here(void)
{
	return 0;
}

void up_alarm_set(struct up_alarm *a, uint32_t vcore, uint64_t at)
{
	a->set = true;
	x.alarm[x.cur] = a;
}

void up_alarm_stop(struct up_alarm *a)
{
	if (a->set)
		x.alarm[x.cur] = NULL;
	a->set = false;
}

void upcall_uthread_exit(void *value)
{
	struct task *t = &x.t[x.cur];

	up_exit_cleanup(&t->u);
	t->u.value = value;
	t->u.state = UP_U_DONE;
	t->done = true;
	pass();
	abort();
}

void up_local_end(struct up_uthread *u, bool destruct)
{
}

/* ---- all orders ---- */

static void run(void)
{
	unsigned i;

	x.depth = x.used = x.trace_len = 0;
	x.over = false;
	for (i = 0; i < x.nr; i++) {
		char *stack = x.t[i].stack;

		memset(&x.t[i], 0, sizeof(x.t[i]));
		x.t[i].stack = stack;
		x.alarm[i] = NULL;
	}
	x.extra = NULL;
	x.e->reset();
	x.cur = 0;
	x.t[0].started = true;
	getcontext(&x.t[0].ctx);
	x.t[0].ctx.uc_stack.ss_sp = x.t[0].stack;
	x.t[0].ctx.uc_stack.ss_size = STACK_SZ;
	makecontext(&x.t[0].ctx, (void (*)(void))body, 1, 0);
	swapcontext(&x.home, &x.t[0].ctx);
	x.cur = -1;
	x.res->runs++;
	if (!x.res->bad)
		x.res->bad = x.e->judge();
	x.res->trace[x.trace_len] = 0;
}

void xs_explore(const struct xs *e, struct xs_result *res)
{
	unsigned i, at;

	memset(res, 0, sizeof(*res));
	up_rt.started = true;
	up_rt.port = &port;
	port.info = &info;
	x.e = e;
	x.res = res;
	x.known = 0;
	for (x.nr = 0; x.nr < XS_THREADS && e->thread[x.nr]; x.nr++)
		x.t[x.nr].stack = malloc(STACK_SZ);
	for (;;) {
		run();
		if (res->bad)
			break;
		for (at = x.depth; at > 0 && x.choice[at - 1] + 1 >= x.options[at - 1]; at--)
			;
		if (!at)
			break;
		x.choice[at - 1]++;
		x.known = at;
	}
	for (i = 0; i < x.nr; i++) {
		free(x.t[i].stack);
		x.t[i].stack = NULL;
	}
}
