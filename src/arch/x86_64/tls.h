/* SPDX-License-Identifier: MIT */
/*
 * What the thread pointer and the words behind it look like on x86-64: the few that the ABI and every
 * glibc share. All else in libc's thread descriptor is found at start by src/user/tls.c.
 * The thread-local blocks of modules lie below the thread pointer (address = pointer - offset).
 */
#ifndef UP_ARCH_X86_64_TLS_H
#define UP_ARCH_X86_64_TLS_H

#include <stddef.h>
#include <stdint.h>

/* Byte offsets from the thread pointer. */
#define UP_TCB_SELF_A	     0x00 /* the pointer itself, which %fs:0 must give */
#define UP_TCB_DTV	     0x08
#define UP_TCB_SELF_B	     0x10 /* the descriptor, the same address */
#define UP_TCB_MULTI	     0x18 /* int: other threads exist, so atomics must be atomic */
#define UP_TCB_STACK_GUARD   0x28
#define UP_TCB_POINTER_GUARD 0x30
#define UP_TCB_FEATURE	     0x48 /* uint32: what shadow stacks and branch tracking do here */

/* The address of a module's block in the thread whose pointer is fs. */
static inline void *up_tls_module_at(uintptr_t fs, size_t offset)
{
	return (void *)(fs - offset);
}

/* One load, with or without FSGSBASE: the word at 16 holds the pointer's own value. */
static inline uintptr_t up_tls_fs(void)
{
	uintptr_t fs;

	__asm__ __volatile__("movq %%fs:16, %0" : "=r"(fs));
	return fs;
}

/*
 * The stack pointer that a jmp_buf of glibc's holds, scrambled with the thread's pointer guard.
 */
static inline uintptr_t up_tls_jmp_sp(const uintptr_t *jmp_buf_words)
{
	uintptr_t sp = jmp_buf_words[6], guard;

	__asm__ __volatile__("movq %%fs:0x30, %0" : "=r"(guard));
	return (sp >> 0x11 | sp << (64 - 0x11)) ^ guard;
}

#endif
