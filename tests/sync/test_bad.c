/* SPDX-License-Identifier: MIT */
/* Every function of upcall/sync.h with arguments that make no sense, and where it may not be called. */
#include "sync_rt.h"

static struct upcall_mutex m;
static struct upcall_cond c;
static struct upcall_rwlock rw;
static struct upcall_sem s;
static struct upcall_barrier b;
static struct upcall_once_flag o;
static struct upcall_wg g;
static struct upcall_chan *ch;

static void nothing(void *arg)
{
}

static void null(void)
{
	upcall_key k;
	struct upcall_cleanup up;
	long v = 0;

	CHECK_INT(upcall_mutex_lock(NULL), -EINVAL);
	CHECK_INT(upcall_mutex_lock_until(NULL, 1), -EINVAL);
	CHECK_INT(upcall_mutex_trylock(NULL), -EINVAL);
	CHECK_INT(upcall_mutex_unlock(NULL), -EINVAL);
	CHECK_INT((&upcall_mutex_lock)(NULL), -EINVAL);
	CHECK_INT((&upcall_mutex_unlock)(NULL), -EINVAL);
	CHECK_INT(upcall_cond_wait(NULL, &m), -EINVAL);
	CHECK_INT(upcall_cond_wait(&c, NULL), -EINVAL);
	CHECK_INT(upcall_cond_wait_until(NULL, &m, 1), -EINVAL);
	CHECK_INT(upcall_cond_wait_until(&c, NULL, 1), -EINVAL);
	CHECK_INT(upcall_cond_wait(&c, &m), -EPERM);
	CHECK_INT(upcall_cond_signal(NULL), -EINVAL);
	CHECK_INT(upcall_cond_broadcast(NULL), -EINVAL);
	CHECK_INT(upcall_rwlock_rdlock(NULL), -EINVAL);
	CHECK_INT(upcall_rwlock_rdlock_until(NULL, 1), -EINVAL);
	CHECK_INT(upcall_rwlock_tryrdlock(NULL), -EINVAL);
	CHECK_INT(upcall_rwlock_wrlock(NULL), -EINVAL);
	CHECK_INT(upcall_rwlock_wrlock_until(NULL, 1), -EINVAL);
	CHECK_INT(upcall_rwlock_trywrlock(NULL), -EINVAL);
	CHECK_INT(upcall_rwlock_unlock(NULL), -EINVAL);
	CHECK_INT(upcall_rwlock_unlock(&rw), -EPERM);
	CHECK_INT(upcall_sem_init(NULL, 1), -EINVAL);
	CHECK_INT(upcall_sem_wait(NULL), -EINVAL);
	CHECK_INT(upcall_sem_wait_until(NULL, 1), -EINVAL);
	CHECK_INT(upcall_sem_trywait(NULL), -EINVAL);
	CHECK_INT(upcall_sem_trywait(&s), -EAGAIN);
	CHECK_INT(upcall_sem_post(NULL), -EINVAL);
	CHECK_INT(upcall_sem_init(&s, UINT32_MAX), 0);
	CHECK_INT(upcall_sem_post(&s), -EOVERFLOW);
	CHECK_INT(upcall_sem_init(&s, 0), 0);
	CHECK_INT(upcall_barrier_init(NULL, 1), -EINVAL);
	CHECK_INT(upcall_barrier_init(&b, 0), -EINVAL);
	CHECK_INT(upcall_barrier_wait(NULL), -EINVAL);
	CHECK_INT(upcall_barrier_wait(&b), -EINVAL);
	CHECK_INT(upcall_barrier_wait_until(NULL, 1), -EINVAL);
	CHECK_INT(upcall_once(NULL, nothing, NULL), -EINVAL);
	CHECK_INT(upcall_once(&o, NULL, NULL), -EINVAL);
	CHECK_INT(upcall_once_until(NULL, nothing, NULL, 1), -EINVAL);
	CHECK_INT(upcall_once_until(&o, NULL, NULL, 1), -EINVAL);
	CHECK_INT(upcall_wg_add(NULL, 1), -EINVAL);
	CHECK_INT(upcall_wg_done(NULL), -EINVAL);
	CHECK_INT(upcall_wg_done(&g), -EINVAL);
	CHECK_INT(upcall_wg_add(&g, UINT32_MAX), 0);
	CHECK_INT(upcall_wg_add(&g, 1), -EOVERFLOW);
	g = (struct upcall_wg)UPCALL_WG_INIT;
	CHECK_INT(upcall_wg_wait(NULL), -EINVAL);
	CHECK_INT(upcall_wg_wait_until(NULL, 1), -EINVAL);
	CHECK_INT(upcall_chan_create(NULL, 1, 1), -EINVAL);
	CHECK_INT(upcall_chan_create(&ch, SIZE_MAX, 2), -EINVAL);
	CHECK_INT(upcall_chan_create(&ch, SIZE_MAX / 2, 1), -EINVAL);
	CHECK_INT(upcall_chan_create(&ch, SIZE_MAX / 4, 1), -ENOMEM);
	CHECK(!ch);
	CHECK_INT(upcall_chan_destroy(NULL), 0);
	CHECK_INT(upcall_chan_send(NULL, &v), -EINVAL);
	CHECK_INT(upcall_chan_trysend(NULL, &v), -EINVAL);
	CHECK_INT(upcall_chan_send_until(NULL, &v, 1), -EINVAL);
	CHECK_INT(upcall_chan_recv(NULL, &v), -EINVAL);
	CHECK_INT(upcall_chan_tryrecv(NULL, &v), -EINVAL);
	CHECK_INT(upcall_chan_recv_until(NULL, &v, 1), -EINVAL);
	CHECK_INT(upcall_chan_close(NULL), -EINVAL);
	CHECK_INT(upcall_chan_create(&ch, 8, 1), 0);
	CHECK_INT(upcall_chan_send(ch, NULL), -EINVAL);
	CHECK_INT(upcall_chan_recv(ch, NULL), -EINVAL);
	CHECK_INT(upcall_chan_destroy(ch), 0);
	ch = NULL;
	CHECK_INT(upcall_uthread_join_until(NULL, NULL, 1), -EINVAL);
	CHECK_INT(upcall_uthread_cancel(NULL), -EINVAL);
	CHECK_INT(upcall_cleanup_push(NULL, nothing, NULL), -EINVAL);
	CHECK_INT(upcall_cleanup_push(&up, NULL, NULL), -EINVAL);
	CHECK_INT(upcall_key_create(NULL, NULL), -EINVAL);
	CHECK_INT(upcall_key_delete(UINT64_MAX), -EINVAL);
	CHECK(!upcall_key_get(UINT64_MAX));
	CHECK_INT(upcall_key_create(&k, NULL), 0);
	CHECK_INT(upcall_key_delete(k), 0);
	upcall_testcancel();
}

/* Where there is no uthread. */
static void outside(void)
{
	struct upcall_cleanup up;
	upcall_key k;

	CHECK_INT(upcall_cancel_disable(), -EPERM);
	CHECK_INT(upcall_cancel_enable(), -EPERM);
	CHECK_INT(upcall_cleanup_push(&up, nothing, NULL), -EPERM);
	CHECK_INT(upcall_cleanup_pop(1), -EPERM);
	CHECK_INT(upcall_key_create(&k, NULL), 0);
	CHECK_INT(upcall_key_set(k, &k), -EPERM);
	CHECK(!upcall_key_get(k));
	CHECK_INT(upcall_key_delete(k), 0);
	CHECK_INT(upcall_uthread_join_until((struct upcall_uthread *)(void *)&m, NULL, 1), -EPERM);
}

static void *plain(void *arg)
{
	null();
	outside();
	return arg;
}

static int everywhere(void)
{
	pthread_t t;

	null();
	outside();
	CHECK_INT(upcall_uthread_cancel((struct upcall_uthread *)(void *)&m), -ENOTCONN);
	rt_start(1);
	null();
	CHECK_INT(upcall_uthread_join_until(upcall_uthread_self(), NULL, 1), -EDEADLK);
	CHECK_INT(upcall_cancel_enable(), -EINVAL);
	CHECK_INT(upcall_cleanup_pop(0), -EINVAL);
	CHECK_INT(pthread_create(&t, NULL, plain, NULL), 0);
	CHECK_INT(pthread_join(t, NULL), 0);
	rt_stop();
	return 0;
}

/* In vcore context nothing waits, and what does not wait may be called. */
static void in_vcore(struct upcall_uthread *self, void *arg)
{
	struct upcall_chan *none;
	upcall_key k;
	long v = 3;

	CHECK_INT(upcall_mutex_lock(&m), -EPERM);
	CHECK_INT(upcall_mutex_lock_until(&m, UPCALL_FOREVER), -EPERM);
	CHECK_INT(upcall_mutex_trylock(&m), -EBUSY);
	CHECK_INT(upcall_cond_wait(&c, &m), -EPERM);
	CHECK_INT(upcall_mutex_unlock(&m), 0);
	CHECK_INT(upcall_cond_signal(&c), 0);
	CHECK_INT(upcall_cond_broadcast(&c), 0);
	CHECK_INT(upcall_rwlock_rdlock(&rw), -EPERM);
	CHECK_INT(upcall_rwlock_wrlock_until(&rw, 1), -EPERM);
	CHECK_INT(upcall_rwlock_trywrlock(&rw), 0);
	CHECK_INT(upcall_rwlock_unlock(&rw), 0);
	CHECK_INT(upcall_sem_wait(&s), -EPERM);
	CHECK_INT(upcall_sem_post(&s), 0);
	CHECK_INT(upcall_sem_wait(&s), 0);
	CHECK_INT(upcall_barrier_init(&b, 1), 0);
	CHECK_INT(upcall_barrier_wait(&b), -EPERM);
	CHECK_INT(upcall_once(&o, nothing, NULL), -EPERM);
	CHECK_INT(upcall_wg_wait(&g), 0);
	CHECK_INT(upcall_wg_add(&g, 1), 0);
	CHECK_INT(upcall_wg_wait(&g), -EPERM);
	CHECK_INT(upcall_wg_done(&g), 0);
	CHECK_INT(upcall_chan_create(&none, 1, 1), -EPERM);
	CHECK_INT(upcall_chan_trysend(ch, &v), 0);
	CHECK_INT(upcall_chan_send(ch, &v), -EPERM);
	CHECK_INT(upcall_chan_recv(ch, &v), 0);
	CHECK_INT(upcall_chan_recv(ch, &v), -EPERM);
	CHECK_INT(upcall_chan_destroy(ch), -EPERM);
	CHECK_INT(upcall_sleep_ns(1), -EPERM);
	CHECK_INT(upcall_sleep_until(1), -EPERM);
	CHECK_INT(upcall_uthread_join_until(self, NULL, 1), -EPERM);
	CHECK_INT(upcall_cancel_disable(), -EPERM);
	CHECK_INT(upcall_key_create(&k, NULL), -EPERM);
	upcall_testcancel();
	*(int *)arg = 1;
	CHECK_INT(upcall_wake(self), 0);
}

static int vcore_context(void)
{
	int been = 0;

	rt_start(1);
	CHECK_INT(upcall_chan_create(&ch, sizeof(long), 1), 0);
	CHECK_INT(upcall_mutex_lock(&m), 0);
	CHECK_INT(upcall_block(in_vcore, &been), 0);
	CHECK_INT(been, 1);
	CHECK_INT(upcall_chan_destroy(ch), 0);
	rt_stop();
	return 0;
}

static void *ends(void *arg)
{
	return arg;
}

static int ended(void)
{
	struct upcall_uthread *u;

	rt_start(1);
	u = rt_make(ends, NULL);
	rt_join(u);
	CHECK_INT(upcall_uthread_cancel(u), -ESRCH);
	CHECK_INT(upcall_uthread_join_until(u, NULL, 1), -ESRCH);
	rt_stop();
	return 0;
}

static const struct apart cases[] = {
	CASE("bad_arguments", everywhere),
	CASE("vcore_context", vcore_context),
	CASE("one_that_has_ended", ended),
};

APART_MAIN(cases)
