/* SPDX-License-Identifier: MIT */
/*
 * The runtime at work on everything that has an injection point: slices that end, announced and
 * unannounced calls that block, waits that end by an alarm and by a cancellation, cores that are warned
 * of and taken, uthreads made and joined.
 */
#include "gate3_runtime.h"

#include <errno.h>
#include <sys/syscall.h>
#include <time.h>

#include <upcall/upcall.h>

#include "announced.h"
#include "base/clock.h"
#include "base/syscall.h"

#define UTHREADS 8u
#define NAPS	 4u
#define NAP_NS	 200000
#define SPIN_NS	 500000

static void *announced(void *arg)
{
	for (unsigned i = 0; i < NAPS; i++)
		if (announced_sleep_ns(NAP_NS))
			return NULL;
	return arg;
}

static void *unannounced(void *arg)
{
	struct timespec ts = { 0, NAP_NS };

	for (unsigned i = 0; i < NAPS; i++)
		if (up_syscall2(SYS_nanosleep, &ts, NULL))
			return NULL;
	return arg;
}

static void *waits(void *arg)
{
	for (unsigned i = 0; i < NAPS; i++)
		if (upcall_sleep_ns(NAP_NS))
			return NULL;
	return arg;
}

static struct upcall_sem never;

static void *waits_for_ever(void *arg)
{
	upcall_sem_wait(&never);
	return NULL;
}

/* Long beside a slice, so that others are let in by force. */
static void *spins(void *arg)
{
	for (unsigned i = 0; i < NAPS; i++) {
		uint64_t end = up_now_ns() + SPIN_NS;

		while (up_now_ns() < end)
			;
		upcall_yield();
	}
	return arg;
}

/* A core is asked back, at once and after a warning; it is still wanted, and comes again. */
static int lose_cores(unsigned vcores)
{
	for (unsigned v = 0; v < vcores; v++) {
		int ret = upcall_preempt((int)v, v % 2 ? UP_NSEC_PER_MSEC : 0);

		if (ret && ret != -ESRCH) /* idle, so it has no core */
			return ret;
	}
	return 0;
}

static int work(unsigned vcores, const char **ret_step)
{
	static void *(*const kinds[])(void *arg) = { announced, unannounced, spins, waits };
	struct upcall_uthread *u[UTHREADS], *idle = NULL;
	int ret;

	*ret_step = "create";
	ret = upcall_uthread_create(&idle, NULL, waits_for_ever, NULL);
	for (unsigned i = 0; i < UTHREADS && !ret; i++)
		ret = upcall_uthread_create(&u[i], NULL, kinds[i % 4], &u[i]);
	if (ret)
		return ret;
	*ret_step = "preempt";
	ret = lose_cores(vcores);
	for (unsigned i = 0; i < UTHREADS && !ret; i++) {
		void *value = NULL;

		*ret_step = "join";
		ret = upcall_uthread_join(u[i], &value);
		if (!ret && value != &u[i])
			ret = -EIO; /* a call of its was cut short */
	}
	*ret_step = "cancel";
	if (!ret)
		ret = upcall_uthread_cancel(idle);
	return ret ? ret : upcall_uthread_join(idle, NULL);
}

int g3_runtime(unsigned vcores, uint64_t until_ns, const char **ret_step)
{
	struct upcall_opts o = { .size = sizeof(o), .vcores = vcores, .slice_ns = 100000 };
	int ret;

	*ret_step = "start";
	ret = upcall_start(&o);
	if (ret)
		return ret;
	do
		ret = work(vcores, ret_step);
	while (!ret && up_now_ns() < until_ns);
	if (ret)
		return ret;
	*ret_step = "stop";
	return upcall_stop();
}
