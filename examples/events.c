/* SPDX-License-Identifier: MIT */
/*
 * Another concurrency model on the same table: events whose handlers run to completion, from a queue a
 * vcore.  Here it is the scheduler that dispatches: a pick takes an event and gives it to a free
 * uthread, which is no more than a stack for one handler at a time.  Handlers are not cut off; one
 * that blocks in the kernel keeps its stack, and its vcore goes on with the next event on another.
 *
 * The program: tokens that hop from vcore to vcore, each hop an event.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <upcall/sync.h>
#include <upcall/upcall.h>

/* ---- the scheduler ---- */

struct event {
	struct event *next;
	void (*handle)(struct event *e);
};

struct queue {
	_Atomic(struct event *) posted; /* newest first, by anybody */
	struct event *taken;		/* oldest first; with the lock */
};

static struct queue *queues;
static unsigned nr_queues;

/* With the lock, which only who cannot be preempted takes: uthreads without an event, and such as go on
 * with what they were at, first in, first out. */
static atomic_flag lock = ATOMIC_FLAG_INIT;
static struct upcall_uthread *idle, *first, *last;

/* What a uthread's words are for. */
enum {
	NEXT,
	EVENT,
	HANDLES
};

static void take_lock(void)
{
	while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire))
		;
}

static void drop_lock(void)
{
	atomic_flag_clear_explicit(&lock, memory_order_release);
}

static int events_init(unsigned max_vcores)
{
	nr_queues = max_vcores;
	queues = calloc(max_vcores, sizeof(*queues));
	return queues ? 0 : -ENOMEM;
}

static void events_fini(void)
{
	free(queues);
}

/* One that handles events and has none is free; all others go on where they were. */
static void events_ready(struct upcall_uthread *u, unsigned vcore, enum upcall_why why)
{
	void **words = upcall_sched_words(u);

	take_lock();
	if (words[HANDLES] && !words[EVENT]) {
		words[NEXT] = idle;
		idle = u;
	} else {
		words[NEXT] = NULL;
		if (first)
			upcall_sched_words(last)[NEXT] = u;
		else
			first = u;
		last = u;
	}
	drop_lock();
}

/* With the lock, too. */
static struct event *next_event(struct queue *q)
{
	struct event *e = NULL, *next, *newest;

	if (!q->taken) {
		for (newest = atomic_exchange(&q->posted, NULL); newest; newest = next) {
			next = newest->next;
			newest->next = e;
			e = newest;
		}
		q->taken = e;
	}
	e = q->taken;
	if (e)
		q->taken = e->next;
	return e;
}

/* With the lock: an event of this vcore's, or of another's. */
static struct upcall_uthread *dispatch(unsigned vcore)
{
	struct upcall_uthread *u = idle;
	struct event *e = NULL;
	unsigned i;

	for (i = 0; u && !e && i < nr_queues; i++)
		e = next_event(&queues[(vcore + i) % nr_queues]);
	if (!e)
		return NULL;
	idle = upcall_sched_words(u)[NEXT];
	upcall_sched_words(u)[EVENT] = e;
	return u;
}

static struct upcall_uthread *events_pick(unsigned vcore)
{
	struct upcall_uthread *u;

	take_lock();
	u = first;
	if (u)
		first = upcall_sched_words(u)[NEXT];
	else
		u = dispatch(vcore);
	drop_lock();
	return u;
}

static const struct upcall_sched_ops events = {
	.size = sizeof(events),
	.name = "events",
	.init = events_init,
	.fini = events_fini,
	.ready = events_ready,
	.pick = events_pick,
};

/* ---- posting and handling ---- */

static struct upcall_sem bell = UPCALL_SEM_INIT(0);
static atomic_bool rung, over;

/* A uthread that becomes ready is what makes the runtime ask for one more core. */
static void *ring(void *arg)
{
	while (!atomic_load(&over)) {
		upcall_sem_wait(&bell);
		atomic_store(&rung, false);
	}
	return NULL;
}

static void post(unsigned vcore, struct event *e)
{
	struct queue *q = &queues[vcore];

	e->next = atomic_load(&q->posted);
	while (!atomic_compare_exchange_weak(&q->posted, &e->next, e))
		;
	if (!e->next && !atomic_exchange(&rung, true))
		upcall_sem_post(&bell);
}

static void *handle_events(void *arg)
{
	void **words = upcall_sched_words(upcall_uthread_self());
	struct event *e;

	words[HANDLES] = words;
	while (!upcall_yield()) { /* until there is an event */
		e = words[EVENT];
		if (e)
			e->handle(e);
		words[EVENT] = NULL;
	}
	return NULL;
}

/* ---- the program ---- */

#define TOKENS 100
#define HOPS   2000
#define STACKS 8 /* beside one a vcore, for handlers that block */

struct token {
	struct event event;
	unsigned hops, at;
};

static struct upcall_sem arrived = UPCALL_SEM_INIT(0);
static atomic_ulong handled;

static void hop(struct event *e)
{
	struct token *t = (struct token *)e;

	atomic_fetch_add(&handled, 1);
	if (++t->hops % 500 == 0)
		usleep(100);
	t->at = (t->at + 1) % nr_queues;
	if (t->hops < HOPS)
		post(t->at, e);
	else
		upcall_sem_post(&arrived);
}

static void leave(struct event *e)
{
	upcall_uthread_exit(NULL);
}

/* Every token goes its way. */
static void run_tokens(void)
{
	static struct token tokens[TOKENS];
	unsigned i;

	for (i = 0; i < TOKENS; i++) {
		tokens[i] = (struct token){ .event.handle = hop, .at = i % nr_queues };
		post(tokens[i].at, &tokens[i].event);
	}
	for (i = 0; i < TOKENS; i++)
		upcall_sem_wait(&arrived);
}

/* A uthread ends as all else is done: by an event. */
static void end_handlers(struct upcall_uthread **u, struct event *ends, unsigned nr)
{
	unsigned i;

	for (i = 0; i < nr; i++) {
		ends[i].handle = leave;
		post(i % nr_queues, &ends[i]);
	}
	for (i = 0; i < nr; i++)
		upcall_uthread_join(u[i], NULL);
}

static void print_stats(unsigned nr)
{
	struct upcall_stats st = { .size = sizeof(st) };

	upcall_get_stats(&st);
	printf("%lu of %d events handled on %u stacks, %lu times blocked in the kernel\n",
	       (unsigned long)handled, TOKENS * HOPS, nr,
	       (unsigned long)(st.blocked[0] + st.blocked[1] + st.blocked[2] + st.blocked[3]));
}

int main(void)
{
	struct upcall_opts opts = { .size = sizeof(opts), .no_slice = true, .sched = &events };
	struct upcall_uthread **u, *ringer;
	struct event *ends;
	unsigned nr, i;
	int r = upcall_start(&opts);

	if (r < 0)
		return fprintf(stderr, "events: %s\n", strerror(-r)), 1;
	nr = upcall_max_vcores() + STACKS;
	u = calloc(nr, sizeof(struct upcall_uthread *));
	ends = calloc(nr, sizeof(*ends));
	r = u && ends ? upcall_uthread_create(&ringer, NULL, ring, NULL) : -ENOMEM;
	for (i = 0; !r && i < nr; i++)
		r = upcall_uthread_create(&u[i], NULL, handle_events, NULL);
	if (r < 0)
		return fprintf(stderr, "events: %s\n", strerror(-r)), 1;
	run_tokens();
	end_handlers(u, ends, nr);
	atomic_store(&over, true);
	upcall_sem_post(&bell);
	upcall_uthread_join(ringer, NULL);
	print_stats(nr);
	free(u);
	free(ends);
	return upcall_stop() || handled != TOKENS * HOPS;
}
