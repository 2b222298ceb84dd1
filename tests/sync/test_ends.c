/* SPDX-License-Identifier: MIT */
/* Ends: joining with a deadline, cancellation and what it leaves, keys and their destructors. */
#include "sync_rt.h"

static struct upcall_sem go;
static atomic_int step;

static void *ends_later(void *arg)
{
	CHECK_INT(upcall_sem_wait(&go), 0);
	return arg;
}

static int join_until(void)
{
	struct upcall_uthread *u;
	void *value = NULL;
	int i;

	rt_start(1);
	u = rt_make(ends_later, &go);
	CHECK_INT(upcall_uthread_join_until(u, &value, 0), -ETIMEDOUT);
	CHECK_INT(upcall_uthread_join_until(u, &value, upcall_now_ns() + 2 * MS), -ETIMEDOUT);
	CHECK(!value);
	CHECK_INT(upcall_sem_post(&go), 0);
	CHECK_INT(upcall_uthread_join_until(u, &value, upcall_now_ns() + 5000 * MS), 0);
	CHECK(value == &go);
	/* One that has ended, by a deadline that has passed. */
	u = rt_make(ends_later, &step);
	CHECK_INT(upcall_sem_post(&go), 0);
	for (i = 0; i < 10; i++)
		upcall_yield();
	CHECK_INT(upcall_uthread_join_until(u, &value, 1), 0);
	CHECK(value == &step);
	CHECK_INT(upcall_uthread_join_until(u, NULL, UPCALL_FOREVER), -ESRCH);
	rt_stop();
	return 0;
}

static void *joins(void *arg)
{
	upcall_uthread_join_until(arg, NULL, UPCALL_FOREVER);
	CHECK(false);
	return arg;
}

/* A joiner that is cancelled leaves it to another. */
static int join_cancelled(void)
{
	struct upcall_uthread *u, *j;

	rt_start(1);
	u = rt_make(ends_later, &go);
	j = rt_make(joins, u);
	AWAIT(((struct up_uthread *)j)->wait.word & UP_W_PARKED, upcall_yield());
	CHECK_INT(upcall_uthread_join_until(u, NULL, UPCALL_FOREVER), -EINVAL);
	CHECK_INT(upcall_uthread_cancel(j), 0);
	CHECK(rt_join(j) == UPCALL_CANCELED);
	CHECK_INT(upcall_sem_post(&go), 0);
	CHECK(rt_join(u) == &go);
	rt_stop();
	return 0;
}

static void notes(void *arg)
{
	step = step * 10 + *(int *)arg;
}

static int one = 1, two = 2;

static void *cleans(void *arg)
{
	struct upcall_cleanup c[3];

	CHECK_INT(upcall_cleanup_push(&c[0], notes, &one), 0);
	CHECK_INT(upcall_cleanup_push(&c[1], notes, &two), 0);
	CHECK_INT(upcall_cleanup_push(&c[2], notes, &two), 0);
	CHECK_INT(upcall_cleanup_pop(0), 0);
	if (arg)
		upcall_uthread_exit(arg);
	for (;;)
		upcall_sem_wait(&go);
}

static int cleanup(void)
{
	struct upcall_uthread *u;
	struct upcall_cleanup c;

	rt_start(1);
	u = rt_make(cleans, &one);
	CHECK(rt_join(u) == &one);
	CHECK_INT(step, 21);
	step = 0;
	u = rt_make(cleans, NULL);
	CHECK_INT(upcall_uthread_cancel(u), 0); /* before it waits at all */
	CHECK(rt_join(u) == UPCALL_CANCELED);
	CHECK_INT(step, 21);
	step = 0;
	CHECK_INT(upcall_cleanup_push(&c, notes, &two), 0);
	CHECK_INT(upcall_cleanup_pop(1), 0);
	CHECK_INT(step, 2);
	CHECK_INT(upcall_cleanup_pop(1), -EINVAL);
	rt_stop();
	return 0;
}

static void *is_stubborn(void *arg)
{
	CHECK_INT(upcall_cancel_disable(), 0);
	CHECK_INT(upcall_cancel_disable(), 0);
	atomic_store(&step, 1);
	CHECK_INT(upcall_sem_wait(&go), 0); /* cancelled meanwhile: it waits on */
	upcall_testcancel();
	CHECK_INT(upcall_sleep_ns(1000), 0);
	CHECK_INT(upcall_cancel_enable(), 0);
	upcall_testcancel();
	CHECK_INT(upcall_cancel_enable(), 0);
	CHECK_INT(upcall_cancel_enable(), -EINVAL);
	atomic_store(&step, 2);
	upcall_testcancel();
	atomic_store(&step, 3);
	return arg;
}

static int disabled(void)
{
	struct upcall_uthread *u;

	rt_start(1);
	u = rt_make(is_stubborn, NULL);
	AWAIT(atomic_load(&step) == 1 && ((struct up_uthread *)u)->wait.word & UP_W_PARKED,
	      upcall_yield());
	CHECK_INT(upcall_uthread_cancel(u), 0);
	upcall_sleep_ns(1 * MS);
	CHECK(((struct up_uthread *)u)->wait.word & UP_W_PARKED);
	CHECK_INT(upcall_sem_post(&go), 0);
	CHECK(rt_join(u) == UPCALL_CANCELED);
	CHECK_INT(step, 2);
	rt_stop();
	return 0;
}

static void *sleeps(void *arg)
{
	upcall_sleep_until(UPCALL_FOREVER);
	CHECK(false);
	return arg;
}

static int sleeper_cancelled(void)
{
	struct upcall_uthread *u;
	uint64_t from;

	rt_start(1);
	u = rt_make(sleeps, NULL);
	AWAIT(((struct up_uthread *)u)->wait.word & UP_W_PARKED, upcall_yield());
	CHECK_INT(upcall_uthread_cancel(u), 0);
	CHECK(rt_join(u) == UPCALL_CANCELED);
	/* Oneself: at the next point. */
	from = upcall_now_ns();
	CHECK_INT(upcall_sleep_ns(1 * MS), 0);
	CHECK(upcall_now_ns() - from >= 1 * MS);
	rt_stop();
	return 0;
}

static void *cancels_itself(void *arg)
{
	CHECK_INT(upcall_uthread_cancel(upcall_uthread_self()), 0);
	atomic_fetch_add(&step, 1);
	upcall_testcancel();
	CHECK(false);
	return arg;
}

static int self_cancelled(void)
{
	rt_start(1);
	CHECK(rt_join(rt_make(cancels_itself, NULL)) == UPCALL_CANCELED);
	CHECK_INT(step, 1);
	rt_stop();
	return 0;
}

/* ---- keys ---- */

static upcall_key key[100];
static atomic_int destructed;

static void destruct(void *value)
{
	atomic_fetch_add(&destructed, 1);
	/* Once more, for a while. */
	if (value == &two)
		CHECK_INT(upcall_key_set(key[0], &two), 0);
}

static void *has_values(void *arg)
{
	int i;

	for (i = 0; i < 100; i++) {
		CHECK(!upcall_key_get(key[i]));
		CHECK_INT(upcall_key_set(key[i], &key[i]), 0);
	}
	upcall_yield();
	for (i = 0; i < 100; i++)
		CHECK(upcall_key_get(key[i]) == &key[i]);
	CHECK_INT(upcall_key_set(key[1], NULL), 0);
	return arg;
}

static void *sets_again(void *arg)
{
	CHECK_INT(upcall_key_set(key[0], &two), 0);
	return arg;
}

static int keys(void)
{
	struct upcall_uthread *u[3];
	upcall_key old;
	int i;

	for (i = 0; i < 100; i++)
		CHECK_INT(upcall_key_create(&key[i], i < 50 ? destruct : NULL), 0);
	CHECK(!upcall_key_get(key[0]));
	CHECK_INT(upcall_key_set(key[0], &one), -EPERM);
	rt_start(1);
	for (i = 0; i < 3; i++)
		u[i] = rt_make(has_values, NULL);
	for (i = 0; i < 3; i++)
		rt_join(u[i]);
	CHECK_INT(destructed, 3 * 49);
	destructed = 0;
	rt_join(rt_make(sets_again, NULL));
	CHECK_INT(destructed, 4);
	/* A key that is deleted, and another in its place. */
	CHECK_INT(upcall_key_set(key[7], &one), 0);
	old = key[7];
	CHECK_INT(upcall_key_delete(key[7]), 0);
	CHECK_INT(upcall_key_delete(old), -EINVAL);
	CHECK(!upcall_key_get(old));
	CHECK_INT(upcall_key_set(old, &one), -EINVAL);
	CHECK_INT(upcall_key_create(&key[7], NULL), 0);
	CHECK(key[7] != old);
	CHECK(!upcall_key_get(key[7]));
	CHECK_INT(upcall_key_set(UINT64_MAX, &one), -EINVAL);
	CHECK_INT(upcall_key_delete(0), -EINVAL);
	CHECK(!upcall_key_get(12345));
	rt_stop();
	return 0;
}

static const struct apart cases[] = {
	CASE("join_until", join_until),
	CASE("joiner_is_cancelled", join_cancelled),
	CASE("cleanup", cleanup),
	CASE("cancellation_disabled", disabled),
	CASE("sleeper_is_cancelled", sleeper_cancelled),
	CASE("cancels_itself", self_cancelled),
	CASE("keys", keys),
};

APART_MAIN(cases)
