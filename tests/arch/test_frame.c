/* SPDX-License-Identifier: MIT */
/*
 * Signal frames: which instructions count as "still saved as it was", and which calls are put back.
 */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "arch/arch.h"

extern const char up_arch_coop_begin[], up_arch_coop_end[];
extern const char up_arch_frame_begin[], up_arch_frame_end[];

static bool in_window(const char *at, int offset)
{
	ucontext_t uc;

	memset(&uc, 0, sizeof(uc));
	up_frame_set_pc(&uc, (uintptr_t)at + (uintptr_t)(intptr_t)offset);
	return up_frame_in_window(&uc);
}

static void test_windows_have_both_ends(void **state)
{
	assert_true(in_window(up_arch_coop_begin, 0));
	assert_true(in_window(up_arch_coop_end, -1));
	assert_false(in_window(up_arch_coop_begin, -1));
	assert_false(in_window(up_arch_coop_end, 0));
	assert_true(in_window(up_arch_frame_begin, 0));
	assert_true(in_window(up_arch_frame_end, -1));
	assert_false(in_window(up_arch_frame_begin, -1));
	assert_false(in_window(up_arch_frame_end, 0));
}

/* mov $0xe6, %eax; xor %edx, %edx; syscall; nop */
static const unsigned char call[] = { 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
				      0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
				      0xb8, 0xe6, 0x00, 0x00, 0x00, 0x31, 0xd2, 0x0f, 0x05, 0x90 };
#define BEHIND ((uintptr_t)call + 29)

static int restart(ucontext_t *uc, uintptr_t pc, long result, uintptr_t back)
{
	memset(uc, 0, sizeof(*uc));
	up_frame_set_pc(uc, pc);
	uc->uc_mcontext.gregs[REG_RAX] = result;
	uc->uc_mcontext.gregs[REG_RCX] = (greg_t)back;
	uc->uc_mcontext.gregs[REG_R11] = 0x246;
	return up_frame_restart_syscall(uc);
}

static void assert_put_back(const ucontext_t *uc)
{
	assert_int_equal(up_frame_pc(uc), BEHIND - 2);
	assert_int_equal(uc->uc_mcontext.gregs[REG_RAX], 0xe6);
	assert_true(up_frame_at_syscall(uc));
}

static void test_a_call_cut_short_is_put_back(void **state)
{
	ucontext_t uc;

	assert_int_equal(restart(&uc, BEHIND, -EINTR, BEHIND), 1);
	assert_put_back(&uc);
}

static void test_it_is_put_back_on_its_way_home_too(void **state)
{
	ucontext_t uc;

	assert_int_equal(restart(&uc, (uintptr_t)up_arch_came_back, -EINTR, BEHIND), 1);
	assert_put_back(&uc);
}

/* mov $3, %eax; syscall: close() has closed, and the number may be another file's by now */
static void test_close_is_not_put_back(void **state)
{
	static const unsigned char closes[] = { 0x90,	   0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
						0x90,	   0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
						0x90,	   0x90, 0x90, 0x90, 0x90, 0x90, 0xb8,
						SYS_close, 0x00, 0x00, 0x00, 0x0f, 0x05 };
	uintptr_t back = (uintptr_t)closes + sizeof(closes);
	ucontext_t uc;

	assert_int_equal(restart(&uc, back, -EINTR, back), 1);
	assert_int_equal(uc.uc_mcontext.gregs[REG_RAX], 0);
	assert_int_equal(up_frame_pc(&uc), back);
}

static void test_a_call_is_read_and_ended(void **state)
{
	ucontext_t uc = { 0 };
	struct up_frame_call c;

	up_frame_set_pc(&uc, BEHIND);
	assert_int_equal(up_frame_call(&uc).nr, -1);
	up_frame_set_pc(&uc, BEHIND - 2);
	uc.uc_mcontext.gregs[REG_RAX] = 0xe6;
	uc.uc_mcontext.gregs[REG_RDI] = 1;
	uc.uc_mcontext.gregs[REG_RSI] = 2;
	uc.uc_mcontext.gregs[REG_RDX] = 3;
	uc.uc_mcontext.gregs[REG_R10] = 4;
	uc.uc_mcontext.gregs[REG_R8] = 5;
	uc.uc_mcontext.gregs[REG_R9] = 6;
	c = up_frame_call(&uc);
	assert_int_equal(c.nr, 0xe6);
	assert_memory_equal(c.arg, ((const long[6]){ 1, 2, 3, 4, 5, 6 }), sizeof(c.arg));
	up_frame_end_call(&uc, -EINTR);
	assert_int_equal(uc.uc_mcontext.gregs[REG_RAX], -EINTR);
	assert_int_equal(up_frame_pc(&uc), BEHIND);
	/* Where Linux would lead it, should it come by there once more; and it is not put back again. */
	assert_int_equal(uc.uc_mcontext.gregs[REG_RCX], BEHIND);
	assert_int_equal(up_frame_restart_syscall(&uc), 0);
}

/* mov %rbp, %rax; mov %rdx, %rsi; syscall: the number was loaded long before */
static void test_a_number_in_a_register_is_found(void **state)
{
	static const unsigned char from_rbp[] = { 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
						  0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
						  0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x48, 0x89,
						  0xe8, 0x48, 0x89, 0xd6, 0x0f, 0x05, 0x90 };
	uintptr_t back = (uintptr_t)from_rbp + 30;
	ucontext_t uc = { 0 };

	up_frame_set_pc(&uc, back);
	uc.uc_mcontext.gregs[REG_RAX] = -EINTR;
	uc.uc_mcontext.gregs[REG_RCX] = (greg_t)back;
	uc.uc_mcontext.gregs[REG_R11] = 0x246;
	uc.uc_mcontext.gregs[REG_RBP] = 35;
	assert_int_equal(up_frame_restart_syscall(&uc), 1);
	assert_int_equal(uc.uc_mcontext.gregs[REG_RAX], 35);
	assert_int_equal(up_frame_pc(&uc), back - 2);
	uc.uc_mcontext.gregs[REG_RAX] = -EINTR;
	uc.uc_mcontext.gregs[REG_RBP] = -1; /* no number of any call's */
	up_frame_set_pc(&uc, back);
	assert_int_equal(up_frame_restart_syscall(&uc), -1);
}

/* mov $0x17, %eax; mov %rbp, %r8; syscall: what was moved last is an argument */
static void test_an_argument_is_not_taken_for_it(void **state)
{
	static const unsigned char to_r8[] = { 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
					       0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
					       0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xb8, 0x17,
					       0x00, 0x00, 0x00, 0x49, 0x89, 0xe8, 0x0f, 0x05 };
	uintptr_t back = (uintptr_t)to_r8 + sizeof(to_r8);
	ucontext_t uc = { 0 };

	up_frame_set_pc(&uc, back);
	uc.uc_mcontext.gregs[REG_RAX] = -EINTR;
	uc.uc_mcontext.gregs[REG_RCX] = (greg_t)back;
	uc.uc_mcontext.gregs[REG_R11] = 0x246;
	uc.uc_mcontext.gregs[REG_RBP] = 0; /* no time-out; also the number of read() */
	assert_int_equal(up_frame_restart_syscall(&uc), 1);
	assert_int_equal(uc.uc_mcontext.gregs[REG_RAX], 0x17);
}

static volatile int mended;

static void mend(int sig, siginfo_t *si, void *uc)
{
	mended = up_frame_restart_syscall(uc);
}

/* Until the signal has come in the midst of the sleep, and not before or behind it. */
static void test_a_call_of_syscall_is_put_back(void **state)
{
	struct sigaction sa = { .sa_sigaction = mend, .sa_flags = SA_SIGINFO };
	const struct itimerval soon = { .it_value = { 0, 3000 } };
	const struct timespec nap = { 0, 10000000 };
	int tries;

	assert_int_equal(sigaction(SIGALRM, &sa, NULL), 0);
	mended = 0;
	for (tries = 0; !mended && tries < 100; tries++) {
		assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
		assert_int_equal(syscall(SYS_nanosleep, &nap, NULL), 0);
	}
	assert_int_equal(mended, 1);
	assert_int_equal(syscall(SYS_close, -1), -1);
	assert_int_equal(errno, EBADF);
}

static void test_what_was_not_cut_short_is_left_alone(void **state)
{
	ucontext_t uc;

	assert_int_equal(restart(&uc, BEHIND, 0, BEHIND), 0);
	assert_int_equal(restart(&uc, BEHIND, -EINTR, BEHIND + 1), 0);
	assert_int_equal(restart(&uc, BEHIND - 10, -EINTR, BEHIND - 10), 0);
	assert_int_equal(up_frame_pc(&uc), BEHIND - 10);
	assert_false(up_frame_at_syscall(&uc));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_windows_have_both_ends),
		cmocka_unit_test(test_a_call_cut_short_is_put_back),
		cmocka_unit_test(test_it_is_put_back_on_its_way_home_too),
		cmocka_unit_test(test_close_is_not_put_back),
		cmocka_unit_test(test_a_call_is_read_and_ended),
		cmocka_unit_test(test_a_number_in_a_register_is_found),
		cmocka_unit_test(test_an_argument_is_not_taken_for_it),
		cmocka_unit_test(test_a_call_of_syscall_is_put_back),
		cmocka_unit_test(test_what_was_not_cut_short_is_left_alone),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
