/* SPDX-License-Identifier: MIT */
/*
 * Workers: uthreads of the library's own that take tasks from others' deques and run them.  They are
 * parked until a vcore that has nothing else to run picks one, and park again when there is nothing to
 * take or somebody else is ready.  One that is about to run a task sees to it that another is there for
 * the next vcore, since its own may block.
 */
#include "fork/fork.h"

/* Parked ones that are kept, besides two a vcore. */
#define KEEP_IDLE 8

struct up_worker {
	struct up_uthread *u;
	struct up_deque *deque;
	struct up_worker *next; /* up_forks.lock: parked ones */
	uint64_t random;
	bool quit; /* parked: it is to end; by who wakes it */
};

/* Under the lock: one more, before it is made, or one less, when it has been freed. */
static void count_workers(int by)
{
	uint64_t w = up_forks.workers;

	/* release: pairs with up_workers_own() */
	up_store_release(&up_forks.workers, ((w >> 32) + 1) << 32 | (uint32_t)((int)w + by));
}

/* Wakes uthread 0, which waits in upcall_stop() for all to be parked.  Under the lock; to be made ready
 * by the caller. */
static struct up_uthread *stopper_of_last(void)
{
	struct up_uthread *u = up_forks.stopper;

	if (!u || up_forks.nr_idle + (up_forks.leaver != NULL) != (uint32_t)up_forks.workers)
		return NULL;
	up_forks.stopper = NULL;
	return u;
}

/* ---- looking ---- */

bool up_tasks_seem(void)
{
	uint32_t i, nr = up_load_acquire(&up_forks.nr); /* pairs with next_of_chunks() */

	for (i = 0; i < nr; i++)
		if (up_deque_seems_full(up_deque_nth(i)))
			return true;
	return false;
}

struct up_uthread *up_worker_pick(uint32_t vcore)
{
	struct up_worker *w;

	if (!up_load_relaxed(&up_forks.nr_idle) || !up_tasks_seem())
		return NULL;
	up_lock_take(&up_forks.lock);
	w = up_forks.stopper ? NULL : up_forks.idle;
	if (w) {
		up_forks.idle = w->next;
		up_store_relaxed(&up_forks.nr_idle, up_forks.nr_idle - 1);
	}
	up_lock_drop(&up_forks.lock);
	if (!w)
		return NULL;
	w->u->state = UP_U_READY;
	w->u->queued_at = vcore;
	return w->u;
}

/* ---- running ---- */

bool up_fork_run(struct up_deque *own, struct up_task *t)
{
	struct up_uthread *u = NULL;

	up_task_taken(t, own);
	own->foreign++;
	UP_INJECT(fork_run);
	if (UP_MUT(fork_ended_early))
		u = up_task_end(t);
	up_san_acquire(t);
	t->fn(t->arg);
	up_san_release(t);
	own->foreign--;
	if (!UP_MUT(fork_ended_early))
		u = up_task_end(t);
	if (!u)
		return false;
	up_preempt_disable();
	up_ready(u, UPCALL_WOKEN);
	up_preempt_enable();
	return true;
}

static uint32_t random_below(struct up_worker *w, uint32_t nr)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (uint32_t)((w->random >> 32) * nr >> 32);
}

static struct up_task *take_one(struct up_worker *w)
{
	uint32_t i, nr = up_load_acquire(&up_forks.nr), from = random_below(w, nr);
	struct up_task *t = NULL;

	for (i = 0; i < nr && !t; i++) {
		struct up_deque *d = up_deque_nth((from + i) % nr);

		/* What fits on its owner's stack is to fit on ours. */
		if (d != w->deque && up_deque_seems_full(d) &&
		    (up_load_relaxed(&d->stack_sz) <= w->u->stack.sz || UP_MUT(fork_stack_unseen)))
			t = up_deque_steal(d);
	}
	return t;
}

static bool others_are_ready(void)
{
	bool r = false;

	up_preempt_disable();
	if (up_rt.sched.more)
		r = up_rt.sched.more(up_act_self_vc()->vcore);
	up_preempt_enable();
	return r;
}

/* Until there is nothing to take, or somebody else to run. */
static void work(struct up_worker *w)
{
	struct up_task *t;

	while ((t = take_one(w))) {
		up_workers_spare();
		if (up_fork_run(w->deque, t) || others_are_ready())
			break;
	}
}

/* ---- parking and ending ---- */

static void parked(struct upcall_uthread *self, void *arg)
{
	struct up_uthread *u = (struct up_uthread *)self, *stopper;
	struct up_worker *w = arg;

	u->state = UP_U_ASIDE;
	u->resched = false;
	up_lock_take(&up_forks.lock);
	w->next = up_forks.idle;
	up_forks.idle = w;
	up_store_relaxed(&up_forks.nr_idle, up_forks.nr_idle + 1);
	stopper = stopper_of_last();
	up_lock_drop(&up_forks.lock);
	if (stopper)
		up_ready(stopper, UPCALL_WOKEN);
}

static bool is_to_leave(const struct up_worker *w)
{
	return !w->deque || w->u->stack.sz < up_load_relaxed(&up_forks.stack_sz) ||
	       up_load_relaxed(&up_forks.nr_idle) >= KEEP_IDLE + 2 * up_load_relaxed(&up_rt.target);
}

/* The one that left before is joined by this one, and this one by the next. */
static void leave(struct up_worker *w)
{
	struct up_uthread *before, *stopper;

	if (w->deque)
		up_workers_spare(); /* in its place, with as large a stack as is needed now */
	up_forks_lock();
	before = up_forks.leaver;
	up_forks.leaver = w->u;
	up_forks_unlock();
	if (before)
		upcall_uthread_join((struct upcall_uthread *)before, NULL);
	up_forks_lock();
	if (before)
		count_workers(-1);
	stopper = stopper_of_last();
	if (stopper)
		up_ready(stopper, UPCALL_WOKEN);
	up_forks_unlock();
}

static void *worker(void *arg)
{
	struct up_worker w = { .u = up_self(), .random = 0x9e3779b97f4a7c15u };

	w.random ^= w.u->id << 32;
	w.deque = up_deque_attach(w.u);
	up_forks_lock();
	up_forks.nr_starting--;
	up_forks_unlock();
	while (!w.quit && !is_to_leave(&w)) {
		up_leave(w.u, parked, &w);
		if (!w.quit)
			work(&w);
	}
	if (!w.quit)
		leave(&w);
	return NULL;
}

/* ---- how many ---- */

static bool lacks_spare(void)
{
	bool lacks;

	if (UP_LIKELY(up_load_relaxed(&up_forks.nr_idle)))
		return false;
	up_forks_lock();
	lacks = !up_forks.nr_idle && !up_forks.nr_starting;
	if (lacks) {
		up_forks.nr_starting++;
		count_workers(1);
	}
	up_forks_unlock();
	return lacks;
}

void up_workers_spare(void)
{
	struct upcall_uthread_attr attr = { .size = sizeof(attr), .name = "fork worker" };
	struct upcall_uthread *u;

	if (!lacks_spare())
		return;
	attr.stack_sz = UP_MAX(up_load_relaxed(&up_forks.stack_sz), up_rt.stack_sz);
	if (!UP_INJECT_FAIL(fork_worker) && !upcall_uthread_create(&u, &attr, worker, NULL))
		return;
	up_forks_lock(); /* then they who fork do it all */
	up_forks.nr_starting--;
	count_workers(-1);
	up_forks_unlock();
}

uint64_t up_workers_own(void)
{
	return UP_MUT(fork_workers_counted) ? 0 : up_load_acquire(&up_forks.workers);
}

static void wait_for_all(struct upcall_uthread *self, void *arg)
{
	struct up_uthread *u = (struct up_uthread *)self;

	u->state = UP_U_ASIDE;
	u->resched = false;
	up_lock_take(&up_forks.lock);
	up_forks.stopper = u;
	u = stopper_of_last();
	up_lock_drop(&up_forks.lock);
	if (u)
		up_ready(u, UPCALL_WOKEN);
}

int up_workers_stop(void)
{
	struct up_uthread *self = up_self(), *leaver;
	struct up_worker *w, *next;

	if (self->deque && self->deque->last)
		return -1;
	up_leave(self, wait_for_all, NULL);
	/* They stay parked: there is nothing to take, and nobody left to spawn. */
	for (w = up_forks.idle; w; w = next) {
		struct up_uthread *u = w->u;

		next = w->next;
		w->quit = true;
		up_preempt_disable();
		up_ready(u, UPCALL_WOKEN);
		up_preempt_enable();
		upcall_uthread_join((struct upcall_uthread *)u, NULL);
	}
	leaver = up_forks.leaver;
	if (leaver)
		upcall_uthread_join((struct upcall_uthread *)leaver, NULL);
	up_forks.idle = NULL;
	up_forks.leaver = NULL;
	up_forks.nr_idle = 0;
	up_forks.workers = 0;
	return 0;
}
