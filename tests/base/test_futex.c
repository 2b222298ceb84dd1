/* SPDX-License-Identifier: MIT */
/*
 * base/futex.h and base/syscall.h: the four results of a wait, wakes within and across processes,
 * errno left alone, and all of it under an FS base that belongs to nobody.
 */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/futex.h"

/* A wake that is lost shows as this deadline, not as a hang. */
static uint64_t soon_ns(void)
{
	return up_now_ns() + 10 * UP_NSEC_PER_SEC;
}

static void wait_on_another_value_returns_at_once(void **state)
{
	uint32_t word = 1;

	assert_int_equal(up_futex_wait_private(&word, 2, UP_FUTEX_FOREVER), -EAGAIN);
	assert_int_equal(up_futex_wait_shared(&word, 2, UP_FUTEX_FOREVER), -EAGAIN);
}

static void deadline_is_absolute_and_kept(void **state)
{
	uint32_t word = 1;
	uint64_t deadline = up_now_ns() + 2 * UP_NSEC_PER_MSEC;

	assert_int_equal(up_futex_wait_private(&word, 1, deadline), -ETIMEDOUT);
	assert_true(up_now_ns() >= deadline);
	/* One that has passed does not wait. */
	assert_int_equal(up_futex_wait_private(&word, 1, deadline), -ETIMEDOUT);
	assert_int_equal(up_futex_wait_shared(&word, 1, 1), -ETIMEDOUT);
}

static void errno_is_never_touched(void **state)
{
	uint32_t word = 1;

	errno = 77;
	up_futex_wait_private(&word, 2, UP_FUTEX_FOREVER);
	up_futex_wait_private(&word, 1, 1);
	assert_int_equal(up_futex_wake_op((uint32_t *)1, 1, 0), -EINVAL);
	assert_int_equal(up_syscall1(SYS_close, -1), -EBADF);
	assert_int_equal(errno, 77);
}

struct sleeper {
	uint32_t word;
	bool shared;
	int result;
};

static void *sleep_until_changed(void *arg)
{
	struct sleeper *s = arg;
	uint64_t deadline = soon_ns();

	s->result = 0;
	/* Pairs with the release in wake_when_asleep. */
	while (!up_load_acquire(&s->word) && s->result != -ETIMEDOUT)
		s->result = s->shared ? up_futex_wait_shared(&s->word, 0, deadline)
				      : up_futex_wait_private(&s->word, 0, deadline);
	return NULL;
}

/* Wakes until the kernel says that it woke one: then the sleeper was really asleep in it. */
static int wake_when_asleep(struct sleeper *s)
{
	uint64_t deadline = soon_ns();
	int woken = 0;

	while (!woken && up_now_ns() < deadline) {
		woken = s->shared ? up_futex_wake_shared(&s->word, 1)
				  : up_futex_wake_private(&s->word, 1);
		if (!woken)
			sched_yield();
	}
	up_store_release(&s->word, 1);
	if (s->shared)
		up_futex_wake_shared(&s->word, 1);
	else
		up_futex_wake_private(&s->word, 1);
	return woken;
}

static void wake_reaches_a_thread(void **state)
{
	struct sleeper s = { .shared = false };
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, sleep_until_changed, &s), 0);
	assert_int_equal(wake_when_asleep(&s), 1);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_not_equal(s.result, -ETIMEDOUT);
}

static void shared_wake_reaches_another_process(void **state)
{
	struct sleeper *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = -1;
	pid_t child;

	assert_ptr_not_equal(s, MAP_FAILED);
	s->shared = true;
	child = fork();
	if (child == 0) {
		sleep_until_changed(s);
		_exit(s->result == -ETIMEDOUT);
	}
	assert_int_equal(wake_when_asleep(s), 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	munmap(s, sizeof(*s));
}

#ifdef __x86_64__
#include <asm/prctl.h>

static uint32_t foreign_word = 1;

/* With FS at 0 any thread-local access faults. Compiled without a stack protector, which is one. */
__attribute__((noinline, optimize("no-stack-protector"))) static int use_futexes_under_no_fs(
	unsigned long own_fs, int results[3])
{
	if (up_syscall2(SYS_arch_prctl, ARCH_SET_FS, 0))
		return -1;
	results[0] = up_futex_wait_private(&foreign_word, 2, UP_FUTEX_FOREVER);
	results[1] = up_futex_wait_private(&foreign_word, 1, up_now_ns() + UP_NSEC_PER_MSEC);
	results[2] = up_futex_wake_private(&foreign_word, 1);
	return (int)up_syscall2(SYS_arch_prctl, ARCH_SET_FS, own_fs);
}

static void nothing_reads_thread_local_storage(void **state)
{
	unsigned long own_fs = 0;
	int results[3] = { 1, 1, 1 };

	assert_int_equal(up_syscall2(SYS_arch_prctl, ARCH_GET_FS, &own_fs), 0);
	assert_int_equal(use_futexes_under_no_fs(own_fs, results), 0);
	assert_int_equal(results[0], -EAGAIN);
	assert_int_equal(results[1], -ETIMEDOUT);
	assert_int_equal(results[2], 0);
}
#else
static void nothing_reads_thread_local_storage(void **state)
{
	skip();
}
#endif

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(wait_on_another_value_returns_at_once),
	cmocka_unit_test(deadline_is_absolute_and_kept),
	cmocka_unit_test(errno_is_never_touched),
	cmocka_unit_test(wake_reaches_a_thread),
	cmocka_unit_test(shared_wake_reaches_another_process),
	cmocka_unit_test(nothing_reads_thread_local_storage),
};

UNIT_MAIN(tests)
