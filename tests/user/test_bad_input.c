/* SPDX-License-Identifier: MIT */
/*
 * Every public call with what it must refuse: NULL, zero, out of range, in the wrong context, before
 * the start, twice, after the end. Each answers as its page says, and what runs goes on.
 */
#include "rt.h"

#include <limits.h>
#include <pthread.h>

static void *nothing(void *arg)
{
	return arg;
}

static void callback(struct upcall_uthread *self, void *arg)
{
}

/* Before the start, after the end, and on any thread then. */
static void all_unstarted(void)
{
	struct upcall_vcore_stats vs = { .size = sizeof(vs) };
	struct upcall_stats st = { .size = sizeof(st) };
	struct upcall_uthread *u = (void *)1;
	unsigned nr = 77;

	CHECK_INT(upcall_stop(), -ENOTCONN);
	CHECK_INT(upcall_request(1, 1), -ENOTCONN);
	CHECK_INT(upcall_preempt(0, 0), -ENOTCONN);
	CHECK_INT(upcall_get_stats(&st), -ENOTCONN);
	CHECK_INT(upcall_get_vcore_stats(0, &vs), -ENOTCONN);
	CHECK_INT(upcall_dump(2), -ENOTCONN);
	CHECK_INT(upcall_nr_vcores(), 0);
	CHECK_INT(upcall_max_vcores(), 0);
	CHECK_INT(upcall_vcore_id(), -1);
	CHECK_INT(upcall_vcore_cpu(0), -1);
	CHECK_INT(upcall_uthread_create(&u, NULL, nothing, NULL), -ENOTCONN);
	CHECK(u == (void *)1);
	CHECK_INT(upcall_uthread_join(NULL, NULL), -EINVAL);
	CHECK_INT(upcall_uthread_detach(NULL), -EINVAL);
	CHECK(!upcall_uthread_self());
	CHECK_INT(upcall_uthread_id(NULL), 0);
	CHECK(!upcall_sched_words(NULL));
	CHECK_INT(upcall_yield(), -EPERM);
	CHECK_INT(upcall_block(callback, NULL), -EPERM);
	CHECK_INT(upcall_wake(NULL), -EINVAL);
	CHECK_INT(upcall_event_alloc(&nr), -ENOTCONN);
	CHECK_INT(nr, 77);
	CHECK_INT(upcall_event_handle(UPCALL_EV_USER, NULL, NULL), -ENOTCONN);
	CHECK_INT(upcall_event_route(UPCALL_EV_USER, 0, 0), -ENOTCONN);
	CHECK_INT(upcall_notify(UPCALL_EV_USER, 0, 0, 0), -ENOTCONN);
	upcall_critical_enter();
	upcall_critical_leave();
	upcall_critical_leave();
}

static void *unstarted_elsewhere(void *arg)
{
	all_unstarted();
	CHECK_INT(upcall_start(NULL), -EPERM);
	return NULL;
}

static int before_and_after(void)
{
	pthread_t t;

	all_unstarted();
	CHECK_INT(pthread_create(&t, NULL, unstarted_elsewhere, NULL), 0);
	CHECK_INT(pthread_join(t, NULL), 0);
	rt_start(1);
	rt_stop();
	all_unstarted();
	CHECK_INT(pthread_create(&t, NULL, unstarted_elsewhere, NULL), 0);
	CHECK_INT(pthread_join(t, NULL), 0);
	return 0;
}

static void refused(struct upcall_opts o)
{
	struct rt_held was = rt_held(), is;

	if (!o.size)
		o.size = sizeof(o);
	CHECK_INT(upcall_start(&o), -EINVAL);
	is = rt_held();
	CHECK_INT(is.threads, was.threads);
	CHECK_INT(is.fds, was.fds);
	CHECK_INT(upcall_max_vcores(), 0);
}

static void never_ready(struct upcall_uthread *u, unsigned vcore, enum upcall_why why)
{
}

static struct upcall_uthread *never_picks(unsigned vcore)
{
	return NULL;
}

static int bad_options(void)
{
	static const int signals[] = {
		-1,	 SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE,  SIGILL,
		SIGTRAP, SIGABRT, 32,	   33,	    65,	    INT_MAX, INT_MIN
	};
	struct upcall_sched_ops ops = { .size = sizeof(ops),
					.ready = never_ready,
					.pick = never_picks };
	struct upcall_opts none;
	unsigned i;

	memset(&none, 0, sizeof(none));
	CHECK_INT(upcall_start(&none), -EINVAL);
	refused((struct upcall_opts){ .size = sizeof(struct upcall_opts) - 1 });
	refused((struct upcall_opts){ .size = sizeof(struct upcall_opts) + 8 });
	refused((struct upcall_opts){ .size = SIZE_MAX });
	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		refused((struct upcall_opts){ .signo = signals[i] });
	refused((struct upcall_opts){ .vcores = 16385 });
	refused((struct upcall_opts){ .vcores = UINT_MAX });
	refused((struct upcall_opts){ .max_acts = (1u << 22) + 1 });
	refused((struct upcall_opts){ .max_acts = UINT_MAX });
	refused((struct upcall_opts){ .stack_sz = 1 });
	refused((struct upcall_opts){ .stack_sz = upcall_min_stack() - 1 });
	refused((struct upcall_opts){ .slice_ns = 1 });
	ops.size = 0;
	refused((struct upcall_opts){ .sched = &ops });
	ops.size = sizeof(ops);
	ops.pick = NULL;
	refused((struct upcall_opts){ .sched = &ops });
	ops.pick = never_picks;
	ops.ready = NULL;
	refused((struct upcall_opts){ .sched = &ops });
	rt_start(1);
	rt_stop();
	return 0;
}

static void *starts_again(void *arg)
{
	CHECK_INT(upcall_start(NULL), -EALREADY);
	return NULL;
}

static int twice(void)
{
	pthread_t t;

	rt_start(1);
	CHECK_INT(upcall_start(NULL), -EALREADY);
	rt_join(rt_make(starts_again, NULL));
	CHECK_INT(pthread_create(&t, NULL, starts_again, NULL), 0);
	CHECK_INT(pthread_join(t, NULL), 0);
	rt_stop();
	CHECK_INT(upcall_stop(), -ENOTCONN);
	return 0;
}

static int arguments(void)
{
	struct upcall_uthread_attr attr = { .size = sizeof(attr) };
	struct upcall_vcore_stats vs = { .size = 1 };
	struct upcall_stats st = { .size = 0 };
	struct upcall_uthread *u = (void *)1;
	unsigned max, nr;

	rt_start(1);
	max = upcall_max_vcores();
	CHECK_INT(upcall_request(1, 2), -EINVAL);
	CHECK_INT(upcall_request(max + 1, 0), -EINVAL);
	CHECK_INT(upcall_request(UINT_MAX, UINT_MAX), -EINVAL);
	CHECK_INT(upcall_preempt(-2, 0), -EINVAL);
	CHECK_INT(upcall_preempt((int)max, 0), -EINVAL);
	CHECK_INT(upcall_preempt(INT_MIN, 0), -EINVAL);
	if (max > 1)
		CHECK_INT(upcall_preempt((int)max - 1, 0), -ESRCH);
	CHECK_INT(upcall_get_stats(NULL), -EINVAL);
	CHECK_INT(upcall_get_stats(&st), -EINVAL);
	CHECK_INT(upcall_get_vcore_stats(0, NULL), -EINVAL);
	CHECK_INT(upcall_get_vcore_stats(0, &vs), -EINVAL);
	vs.size = sizeof(vs);
	CHECK_INT(upcall_get_vcore_stats(max, &vs), -EINVAL);
	CHECK_INT(upcall_get_vcore_stats(UINT_MAX, &vs), -EINVAL);
	CHECK_INT(upcall_dump(-1), -EBADF);
	CHECK_INT(upcall_vcore_cpu(max), -1);
	CHECK_INT(upcall_vcore_cpu(UINT_MAX), -1);
	CHECK_INT(upcall_uthread_create(NULL, NULL, nothing, NULL), -EINVAL);
	CHECK_INT(upcall_uthread_create(&u, NULL, NULL, NULL), -EINVAL);
	attr.size--;
	CHECK_INT(upcall_uthread_create(&u, &attr, nothing, NULL), -EINVAL);
	attr.size = sizeof(attr);
	attr.stack_sz = 1;
	CHECK_INT(upcall_uthread_create(&u, &attr, nothing, NULL), -EINVAL);
	attr.stack_sz = SIZE_MAX;
	CHECK_INT(upcall_uthread_create(&u, &attr, nothing, NULL), -ENOMEM);
	attr.stack_sz = SIZE_MAX / 2 + 2;
	CHECK_INT(upcall_uthread_create(&u, &attr, nothing, NULL), -ENOMEM);
	attr.stack_sz = (size_t)1 << 47;
	CHECK_INT(upcall_uthread_create(&u, &attr, nothing, NULL), -ENOMEM);
	CHECK(u == (void *)1);
	CHECK_INT(upcall_uthread_join(NULL, NULL), -EINVAL);
	CHECK_INT(upcall_uthread_detach(NULL), -EINVAL);
	CHECK_INT(upcall_block(NULL, NULL), -EINVAL);
	CHECK_INT(upcall_wake(NULL), -EINVAL);
	CHECK(!upcall_sched_words(NULL));
	CHECK_INT(upcall_event_alloc(NULL), -EINVAL);
	for (nr = 1; nr < 256; nr++)
		CHECK_INT(upcall_event_handle(nr, NULL, NULL), 0);
	CHECK_INT(upcall_event_handle(256, NULL, NULL), -EINVAL);
	CHECK_INT(upcall_event_handle(0, NULL, NULL), -EINVAL);
	CHECK_INT(upcall_event_handle(UINT_MAX, NULL, NULL), -EINVAL);
	CHECK_INT(upcall_event_route(0, 0, 0), -EINVAL);
	CHECK_INT(upcall_event_route(256, 0, 0), -EINVAL);
	CHECK_INT(upcall_event_route(UPCALL_EV_USER, -2, 0), -EINVAL);
	CHECK_INT(upcall_event_route(UPCALL_EV_USER, (int)max, 0), -EINVAL);
	CHECK_INT(upcall_notify(0, -1, 0, 0), -EINVAL);
	CHECK_INT(upcall_notify(256, -1, 0, 0), -EINVAL);
	CHECK_INT(upcall_notify(200, -1, 0, 0), -EINVAL); /* not handed out */
	CHECK_INT(upcall_notify(UPCALL_EV_USER, -2, 0, 0), -EINVAL);
	CHECK_INT(upcall_notify(UPCALL_EV_USER, (int)max, 0, 0), -EINVAL);
	upcall_critical_leave(); /* not entered */
	upcall_critical_leave();
	rt_join(rt_make(nothing, NULL));
	CHECK_INT(rt_stats().uthreads_live, 1);
	rt_stop();
	return 0;
}

static int ranges(void)
{
	static const struct upcall_cs_range bad[] = { { 0, 0, 0, 0 }, { 0, 4, 0, 1 } };
	static const struct upcall_cs_range good = { 0, 4, 0, 0 };
	unsigned i;
	int r = 0;

	CHECK_INT(upcall_critical_register(NULL, NULL), -EINVAL);
	CHECK_INT(upcall_critical_register(&good, NULL), -EINVAL);
	CHECK_INT(upcall_critical_register(&bad[0], &bad[1]), -EINVAL);
	CHECK_INT(upcall_critical_register(&bad[1], &bad[2]), -EINVAL);
	for (i = 0; i < 64; i++)
		CHECK_INT(upcall_critical_register(&good, &good + 1), 0);
	for (i = 0; i < 3 && !r; i++)
		r = upcall_critical_register(&good, &good + 1);
	CHECK_INT(r, -ENOSPC);
	return 0;
}

/* ---- contexts ---- */

/* What needs a uthread, where there is none. */
static void no_uthread_here(void)
{
	struct upcall_uthread *u = NULL;

	CHECK(!upcall_uthread_self());
	CHECK_INT(upcall_stop(), -EPERM);
	CHECK_INT(upcall_request(1, 0), -EPERM);
	CHECK_INT(upcall_request(0, 0), -EPERM);
	CHECK_INT(upcall_preempt(0, 0), -EPERM);
	CHECK_INT(upcall_yield(), -EPERM);
	CHECK_INT(upcall_block(callback, NULL), -EPERM);
	CHECK_INT(upcall_uthread_join((struct upcall_uthread *)&u, NULL), -EPERM);
}

static atomic_uint done;

static void in_handler(unsigned vcore, const struct upcall_event *ev, void *arg)
{
	struct upcall_uthread *u = NULL;
	unsigned nr;

	no_uthread_here();
	CHECK_INT(upcall_vcore_id(), vcore);
	CHECK_INT(upcall_start(NULL), -EALREADY);
	CHECK_INT(upcall_uthread_create(&u, NULL, nothing, NULL), -EPERM);
	/* These may be called here. */
	CHECK_INT(upcall_event_alloc(&nr), 0);
	CHECK_INT(upcall_event_handle(nr, NULL, NULL), 0);
	CHECK_INT(upcall_notify(nr, -1, 0, 0), 0);
	CHECK(rt_stats().uthreads_live >= 1);
	upcall_critical_enter();
	upcall_critical_leave();
	atomic_fetch_add(&done, 1);
}

static void in_block(struct upcall_uthread *self, void *arg)
{
	no_uthread_here();
	CHECK_INT(upcall_wake(self), 0);
}

static int vcore_context(void)
{
	rt_start(1);
	CHECK_INT(upcall_event_handle(UPCALL_EV_USER, in_handler, NULL), 0);
	CHECK_INT(upcall_event_route(UPCALL_EV_USER, -1, 1), 0);
	CHECK_INT(upcall_notify(UPCALL_EV_USER, -1, 0, 0), 0);
	AWAIT(atomic_load(&done), upcall_yield());
	CHECK_INT(upcall_block(in_block, NULL), 0);
	rt_stop();
	return 0;
}

static void *foreign(void *arg)
{
	unsigned nr;
	char c;

	no_uthread_here();
	CHECK_INT(upcall_vcore_id(), -1);
	CHECK_INT(upcall_start(NULL), -EALREADY);
	CHECK_INT(upcall_event_alloc(&nr), 0);
	CHECK_INT(upcall_read(-1, &c, 1), -EBADF);
	upcall_critical_enter();
	upcall_critical_leave();
	return NULL;
}

/* Made by a uthread, or before the start. */
static int foreign_thread(void)
{
	pthread_t t;

	rt_start(1);
	CHECK_INT(pthread_create(&t, NULL, foreign, NULL), 0);
	CHECK_INT(pthread_join(t, NULL), 0);
	rt_stop();
	return 0;
}

static void *exits(void *arg)
{
	upcall_uthread_exit(NULL);
}

static int exit_elsewhere(void)
{
	pthread_t t;

	rt_start(1);
	CHECK_INT(pthread_create(&t, NULL, exits, NULL), 0);
	CHECK_INT(pthread_join(t, NULL), 0);
	return 0;
}

static int exit_unstarted(void)
{
	exits(NULL);
	return 0;
}

/* ---- joins, detaches and stops that must not be ---- */

static struct upcall_uthread *target;
static atomic_int hold = 1;

static void *held(void *arg)
{
	CHECK_INT(upcall_stop(), -EPERM);
	while (atomic_load(&hold))
		upcall_yield();
	return arg;
}

static void *joins_target(void *arg)
{
	atomic_fetch_add(&done, 1);
	return rt_join(target);
}

static int joined_twice(void)
{
	struct upcall_uthread_attr attr = { .size = sizeof(attr), .detached = true };
	struct upcall_uthread *j, *d;

	rt_start(1);
	CHECK_INT(upcall_uthread_join(upcall_uthread_self(), NULL), -EDEADLK);
	target = rt_make(held, &hold);
	CHECK_INT(upcall_stop(), -EBUSY);
	j = rt_make(joins_target, NULL);
	AWAIT(atomic_load(&done), upcall_yield());
	upcall_yield();
	CHECK_INT(upcall_uthread_join(target, NULL), -EINVAL);
	CHECK_INT(upcall_uthread_detach(target), -EINVAL);
	CHECK_INT(upcall_uthread_create(&d, &attr, held, NULL), 0);
	CHECK_INT(upcall_uthread_join(d, NULL), -EINVAL);
	CHECK_INT(upcall_uthread_detach(d), -EINVAL);
	atomic_store(&hold, 0);
	CHECK(rt_join(j) == &hold);
	rt_stop();
	return 0;
}

/* Handles used once too often, while nobody else has been made in their place. */
static int after_the_end(void)
{
	struct upcall_uthread *u, *ended, *other;

	atomic_store(&hold, 0);
	rt_start(1);
	other = rt_make(held, &hold); /* takes the first place */
	u = rt_make(held, &hold);
	rt_join(other);
	CHECK(rt_join(u) == &hold);
	CHECK_INT(upcall_uthread_join(u, NULL), -ESRCH);
	CHECK_INT(upcall_uthread_detach(u), -ESRCH);
	CHECK_INT(upcall_wake(u), -ESRCH);
	ended = rt_make(held, &hold);
	AWAIT(rt_stats().uthreads_live == 2 && upcall_wake(ended) == -ESRCH, upcall_yield());
	CHECK_INT(upcall_uthread_detach(ended), 0);
	CHECK_INT(upcall_uthread_detach(ended), -ESRCH);
	CHECK_INT(upcall_uthread_join(ended, NULL), -ESRCH);
	rt_stop();
	CHECK_INT(upcall_uthread_detach(u), -ENOTCONN);
	CHECK_INT(upcall_wake(u), -ENOTCONN);
	return 0;
}

static _Atomic(struct upcall_uthread *) laid_down;

static void lay_down(struct upcall_uthread *self, void *arg)
{
	atomic_store(&laid_down, self);
}

static void *lies_down(void *arg)
{
	CHECK_INT(upcall_block(lay_down, NULL), 0);
	return arg;
}

/* One wake for each block, and none for who waits for something else. */
static int woken_wrongly(void)
{
	struct upcall_uthread *u, *j;

	rt_start(1);
	CHECK_INT(upcall_wake(upcall_uthread_self()), -EINVAL);
	atomic_store(&hold, 1);
	target = rt_make(held, &hold);
	CHECK_INT(upcall_wake(target), -EINVAL);
	atomic_store(&done, 0);
	j = rt_make(joins_target, NULL);
	AWAIT(atomic_load(&done), upcall_yield());
	upcall_yield();
	CHECK_INT(upcall_wake(j), -EINVAL);
	u = rt_make(lies_down, &u);
	AWAIT(atomic_load(&laid_down), upcall_yield());
	CHECK_INT(upcall_wake(u), 0);
	CHECK_INT(upcall_wake(u), -EINVAL);
	CHECK(rt_join(u) == &u);
	atomic_store(&hold, 0);
	CHECK(rt_join(j) == &hold);
	rt_stop();
	return 0;
}

static const struct apart cases[] = {
	CASE("handles of those that have ended", after_the_end),
	CASE("wakes of those that do not wait for one", woken_wrongly),
	CASE("before the start and after the end", before_and_after),
	CASE("options that make no sense", bad_options),
	CASE("start and stop twice", twice),
	CASE("arguments", arguments),
	CASE("ranges that are none, and too many", ranges),
	CASE("in vcore context", vcore_context),
	CASE("on a thread of the program's", foreign_thread),
	CASE_DIES("exit where no uthread is", exit_elsewhere, SIGILL, ""),
	CASE_DIES("exit before the start", exit_unstarted, SIGILL, ""),
	CASE("joined, detached and stopped when it must not be", joined_twice),
};

APART_MAIN(cases)
