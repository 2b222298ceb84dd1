/* SPDX-License-Identifier: MIT */
/*
 * pthread_*: kernel threads made from a uthread, and what a program may ask of a uthread by its
 * pthread_self().
 */
#include "user/libc.h"

#include <errno.h>
#include <string.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/mutant.h"
#include "base/syscall.h"
#include "host/task.h"
#include "user/tls.h"

/* ---- kernel threads made from a uthread ---- */

struct start {
	void *(*fn)(void *);
	void *arg;
	uint64_t mask;
	bool own_cpus; /* its attributes name a CPU set */
};

/* On the new thread: it inherited an activation's GS base, core and signal mask. */
static void *start_thread(void *arg)
{
	struct start s = *(struct start *)arg;

	free(arg);
	up_arch_set_gs(0);
	if (!s.own_cpus && !UP_MUT(thread_affinity_inherited))
		up_syscall3(SYS_sched_setaffinity, 0, up_host.affinity_sz, up_host.affinity);
	if (!UP_MUT(thread_slice_inherited))
		up_task_slice(0, UP_SLICE_LINUX);
	up_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, &s.mask, NULL, sizeof(s.mask));
	return s.fn(s.arg);
}

/* Attributes without a CPU set give one with every bit set. */
static bool names_cpus(const pthread_attr_t *attr)
{
	cpu_set_t set;

	if (!attr || pthread_attr_getaffinity_np(attr, sizeof(set), &set))
		return false;
	return CPU_COUNT(&set) != CPU_SETSIZE;
}

UP_EXPORT int pthread_create(pthread_t *ret_thread, const pthread_attr_t *attr, void *(*fn)(void *),
			     void *arg)
{
	struct up_uthread *u = up_self();
	struct start *s;
	int err;

	if (!u)
		return up_libc()->pthread_create(ret_thread, attr, fn, arg);
	s = malloc(sizeof(*s));
	if (!s)
		return EAGAIN;
	*s = (struct start){
		.fn = fn, .arg = arg, .mask = u->sig_mask, .own_cpus = names_cpus(attr)
	};
	/* With libc's lock on its threads, which our own threads' making needs too: see before() in
	 * libc_child.c. */
	up_preempt_disable();
	err = up_libc()->pthread_create(ret_thread, attr, start_thread, s);
	up_preempt_enable();
	if (err)
		free(s);
	return err;
}

/* libc makes a thread of its own for SIGEV_THREAD, with what the caller hands down. */
UP_EXPORT int timer_create(clockid_t clock, struct sigevent *ev, timer_t *ret_timer)
{
	struct up_uthread *u = up_self();
	int ret;

	if (!u || !ev || ev->sigev_notify != SIGEV_THREAD)
		return up_libc()->timer_create(clock, ev, ret_timer);
	up_libc_child_begin(u, false);
	ret = up_libc()->timer_create(clock, ev, ret_timer);
	up_libc_child_end(false);
	return ret;
}

/* ---- the end of a uthread ---- */

/* What pthread_cleanup_push() uses in C; with exceptions pthread.h does not show them. */
extern void __pthread_register_cancel(__pthread_unwind_buf_t *buf);
extern void __pthread_unregister_cancel(__pthread_unwind_buf_t *buf);

/* pthread_exit() unwinds to the innermost buffer that is registered with the thread's descriptor:
 * this one, at the bottom of the stack. */
void *up_libc_call(void *(*fn)(void *), void *arg)
{
	__pthread_unwind_buf_t buf;
	void *value;

	if (!up_rt.own_tls)
		return fn(arg);
	if (__sigsetjmp_cancel(buf.__cancel_jmp_buf, 0))
		return up_self()->exit_value;
	__pthread_register_cancel(&buf);
	value = fn(arg);
	__pthread_unregister_cancel(&buf);
	return value;
}

/* main() was not called by us: its frames are left without being unwound. */
UP_EXPORT void pthread_exit(void *value)
{
	struct up_uthread *u = up_self();

	if (u) {
		u->exit_value = value;
		if (u->is_main || !up_rt.own_tls)
			upcall_uthread_exit(value);
	}
	up_libc()->pthread_exit(value);
	__builtin_unreachable();
}

/* ---- a uthread by its pthread_self() ---- */

static bool is_uthread(pthread_t thread)
{
	return up_rt.started && (up_tls_owns((uintptr_t)thread) ||
				 (up_rt.main && up_rt.main->fs == (uintptr_t)thread));
}

UP_EXPORT int pthread_join(pthread_t thread, void **ret_value)
{
	if (is_uthread(thread))
		return EINVAL;
	return up_libc()->pthread_join(thread, ret_value);
}

UP_EXPORT int pthread_detach(pthread_t thread)
{
	if (is_uthread(thread))
		return EINVAL;
	return up_libc()->pthread_detach(thread);
}

UP_EXPORT int pthread_cancel(pthread_t thread)
{
	if (is_uthread(thread))
		return ENOTSUP;
	return up_libc()->pthread_cancel(thread);
}

/* libc's would ask Linux for the CPU set of a tid that does not exist. */
UP_EXPORT int pthread_getattr_np(pthread_t thread, pthread_attr_t *ret_attr)
{
	void *lo;
	size_t sz;
	int err;

	if (!up_rt.started || !up_tls_owns((uintptr_t)thread))
		return up_libc()->pthread_getattr_np(thread, ret_attr);
	err = pthread_attr_init(ret_attr);
	if (err)
		return err;
	up_tls_stack_of((uintptr_t)thread, &lo, &sz);
	pthread_attr_setdetachstate(ret_attr, PTHREAD_CREATE_DETACHED);
	return pthread_attr_setstack(ret_attr, lo, sz);
}

/* ---- CPU sets: a uthread's is the process's, which is that of the first thread ---- */

static bool names_caller(pid_t pid)
{
	return up_self() && (!pid || pid == (pid_t)up_syscall0(SYS_gettid));
}

UP_EXPORT int sched_getaffinity(pid_t pid, size_t sz, cpu_set_t *ret_set)
{
	if (names_caller(pid))
		pid = up_host.pid;
	return up_libc()->sched_getaffinity(pid, sz, ret_set);
}

UP_EXPORT int sched_setaffinity(pid_t pid, size_t sz, const cpu_set_t *set)
{
	if (names_caller(pid))
		pid = up_host.pid;
	return up_libc()->sched_setaffinity(pid, sz, set);
}

/* libc's gives the error and leaves errno alone. */
UP_EXPORT int pthread_getaffinity_np(pthread_t thread, size_t sz, cpu_set_t *ret_set)
{
	long got;

	if (!is_uthread(thread))
		return up_libc()->pthread_getaffinity_np(thread, sz, ret_set);
	got = up_syscall3(SYS_sched_getaffinity, up_host.pid, UP_MIN(sz, (size_t)INT32_MAX),
			  ret_set);
	if (got < 0)
		return (int)-got;
	memset((char *)ret_set + got, 0, sz - (size_t)got);
	return 0;
}

UP_EXPORT int pthread_setaffinity_np(pthread_t thread, size_t sz, const cpu_set_t *set)
{
	if (!is_uthread(thread))
		return up_libc()->pthread_setaffinity_np(thread, sz, set);
	return (int)-up_syscall3(SYS_sched_setaffinity, up_host.pid, sz, set);
}
