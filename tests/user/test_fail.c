/* SPDX-License-Identifier: MIT */
/*
 * Every allocation and every system call fails in turn, while the runtime starts, makes uthreads,
 * blocks and stops: it answers with an errno, or does without and goes on; it leaves nothing behind,
 * and nothing hangs. Points of our own by the hook, Linux' calls by a filter that answers for it.
 */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/inject.h"
#include "rt.h"

static atomic_uint hits, fail_at_hit;
static const char *failed;

/* The nth hit of a point fails; those that cannot fail ignore what we answer. */
static int fail_nth(unsigned nr, const char *name, void *arg)
{
	if (atomic_fetch_add(&hits, 1) + 1 != atomic_load(&fail_at_hit))
		return 0;
	failed = name;
	return 1;
}

static void *yields(void *arg)
{
	upcall_yield();
	return arg;
}

/* A life: whatever fails in it fails with an errno. 0 when it was whole. */
static int life(void)
{
	struct upcall_opts o = { .size = sizeof(o), .vcores = 2 };
	struct upcall_uthread *u[4];
	unsigned i, made = 0;
	int r = upcall_start(&o), first = 0;

	if (r) {
		CHECK(r < 0 && r > -4096);
		return r;
	}
	for (i = 0; i < 4; i++) {
		r = upcall_uthread_create(&u[made], NULL, yields, &u[made]);
		CHECK(r <= 0 && r > -4096);
		made += !r;
		first = r ? r : first;
	}
	for (i = 0; i < made; i++)
		CHECK(rt_join(u[i]) == &u[i]);
	CHECK_INT(announced_sleep_ns(100000), 0);
	rt_stop();
	return first;
}

static void settled(const struct rt_held *was)
{
	struct rt_held is;
	uint64_t end = apart_now_ns() + 5000 * MS;

	do
		is = rt_held();
	while (is.threads > was->threads && apart_now_ns() < end);
	if (is.threads <= was->threads && is.fds <= was->fds)
		return;
	dprintf(2, "hit %u, %s: threads %u then %u, descriptors %u then %u\n",
		atomic_load(&fail_at_hit), failed ? failed : "-", was->threads, is.threads,
		was->fds, is.fds);
	_exit(1);
}

/* One after the other, to the end of a life in which none was left to fail. */
static int each_point(void)
{
	struct rt_held was, is;
	unsigned n, whole = 0, refused = 0;

	apart_dump_on();
	for (n = 0; n < 4; n++)
		CHECK_INT(life(), 0);
	was = rt_held();
	up_inject_set_hook(fail_nth, NULL);
	for (n = 1; n < 4000; n++) {
		int r;

		failed = NULL;
		atomic_store(&hits, 0);
		atomic_store(&fail_at_hit, n);
		r = life();
		settled(&was);
		whole += !r;
		refused += r != 0;
		if (!failed)
			break;
	}
	up_inject_set_hook(NULL, NULL);
	CHECK_INT(life(), 0);
	is = rt_held();
	dprintf(2, "%u lives, %u of them with a call that failed to its caller\n", whole + refused,
		refused);
	CHECK(refused >= 5);
	CHECK(is.vm_kb < was.vm_kb + 16384);
	return 0;
}

/* From here on Linux answers that call with that errno. */
static void deny(unsigned nr, unsigned err)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | err),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		SKIP("no filter of system calls here: %s\n", strerror(errno));
}

/* Denied before the start: start says so, and the process is what it was; or it does without. */
static int denied(unsigned nr, unsigned err)
{
	unsigned was = rt_held().threads, i;
	int r;

	apart_dump_on();
	deny(nr, err);
	for (i = 0; i < 3; i++) {
		r = life();
		if (r)
			CHECK(r == -(int)err || r == -ENOMEM || r == -EAGAIN || r == -ENOSYS ||
			      r == -EPERM);
		AWAIT(entries("/proc/self/task") <= was, sched_yield());
	}
	return 0;
}

/* Denied in the middle: what is made anew may fail, what is there goes on and ends. */
static int denied_later(unsigned nr, unsigned err)
{
	struct upcall_uthread *u[8];
	unsigned i, made = 0, was = rt_held().threads;
	int r;

	rt_start(2);
	deny(nr, err);
	for (i = 0; i < 8; i++) {
		r = upcall_uthread_create(&u[made], NULL, yields, &u[made]);
		CHECK(r <= 0);
		made += !r;
		announced_sleep_ns(100000);
	}
	for (i = 0; i < made; i++)
		CHECK(rt_join(u[i]) == &u[i]);
	rt_stop();
	AWAIT(entries("/proc/self/task") <= was, sched_yield());
	return 0;
}

#define DENIED(call, err)                             \
	static int no_##call(void)                    \
	{                                             \
		return denied(SYS_##call, err);       \
	}                                             \
	static int later_no_##call(void)              \
	{                                             \
		return denied_later(SYS_##call, err); \
	}

DENIED(mprotect, ENOMEM)
DENIED(madvise, EINVAL)
DENIED(mlock, ENOMEM)
DENIED(clone3, EAGAIN)
DENIED(eventfd2, EMFILE)
DENIED(timer_create, EAGAIN)
DENIED(timer_settime, EINVAL)
DENIED(sched_setaffinity, EPERM)
DENIED(sched_getaffinity, EPERM)
DENIED(sched_setscheduler, EPERM)
DENIED(sched_setattr, EPERM)
DENIED(sigaltstack, ENOMEM)
DENIED(memfd_create, ENOSYS)
DENIED(ftruncate, EIO)
DENIED(pread64, EIO)
DENIED(clone, EAGAIN)
DENIED(ppoll, ENOMEM)
DENIED(prctl, EINVAL)

static int no_mmap(void)
{
	return denied(SYS_mmap, ENOMEM);
}

static int later_no_mmap(void)
{
	return denied_later(SYS_mmap, ENOMEM);
}

/* Before: no descriptor at all is to be had. */
static int no_descriptors(void)
{
	struct rlimit was, none;
	unsigned held = rt_held().threads;
	int r;

	CHECK_INT(getrlimit(RLIMIT_NOFILE, &was), 0);
	for (none = was, none.rlim_cur = 3; none.rlim_cur < 40; none.rlim_cur++) {
		CHECK_INT(setrlimit(RLIMIT_NOFILE, &none), 0);
		r = life();
		CHECK(r == 0 || r == -EMFILE || r == -ENOMEM || r == -EAGAIN);
		CHECK_INT(setrlimit(RLIMIT_NOFILE, &was), 0);
		AWAIT(entries("/proc/self/task") <= held, sched_yield());
		if (!r)
			break;
	}
	CHECK(none.rlim_cur < 40);
	return 0;
}

/* Slices come from timers; where none can be made, from the keeper. */
static int turns_without_timers(void)
{
	struct upcall_uthread *spinner, *other;

	apart_dump_on();
	deny(SYS_timer_create, EAGAIN);
	rt_start(1);
	CHECK_INT(upcall_uthread_create(&spinner, NULL, rt_waits_for_turn, &spinner), 0);
	CHECK_INT(upcall_uthread_create(&other, NULL, rt_has_turn, &other), 0);
	CHECK(rt_join(spinner) == &spinner);
	CHECK(rt_join(other) == &other);
	rt_stop();
	return 0;
}

#define BOTH(call)                                           \
	CASE("without " #call " from the start", no_##call), \
		CASE("without " #call " from the middle", later_no_##call)

static const struct apart cases[] = {
	CASE("each point of ours fails in turn", each_point),
	CASE("fewer and fewer descriptors", no_descriptors),
	BOTH(mmap),
	BOTH(mprotect),
	BOTH(madvise),
	BOTH(mlock),
	BOTH(clone3),
	BOTH(eventfd2),
	BOTH(timer_create),
	CASE("turns end without timers too", turns_without_timers),
	BOTH(timer_settime),
	BOTH(sched_setaffinity),
	BOTH(sched_getaffinity),
	BOTH(sched_setscheduler),
	BOTH(sched_setattr),
	BOTH(sigaltstack),
	BOTH(memfd_create),
	BOTH(ftruncate),
	BOTH(pread64),
	BOTH(clone),
	BOTH(ppoll),
	BOTH(prctl),
};

APART_MAIN(cases)
