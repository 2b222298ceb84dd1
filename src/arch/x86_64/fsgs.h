/* SPDX-License-Identifier: MIT */
/*
 * The FS and GS bases.  By instruction where the kernel has opened them (HWCAP2 says so; under
 * Valgrind they fault), else by arch_prctl.  TLS-free: callable with any FS base.
 */
#ifndef UP_ARCH_X86_64_FSGS_H
#define UP_ARCH_X86_64_FSGS_H

#include <asm/prctl.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/syscall.h"

extern bool up_arch_fsgsbase; /* set once by up_arch_init() */

static inline uint64_t up_arch_get_fs(void)
{
	uint64_t v = 0;

	if (up_arch_fsgsbase)
		__asm__ __volatile__("rdfsbase %0" : "=r"(v));
	else
		up_syscall2(SYS_arch_prctl, ARCH_GET_FS, &v);
	return v;
}

static inline void up_arch_set_fs(uint64_t v)
{
	if (up_arch_fsgsbase)
		__asm__ __volatile__("wrfsbase %0" ::"r"(v) : "memory");
	else
		up_syscall2(SYS_arch_prctl, ARCH_SET_FS, v);
}

/* Where up_arch_fsgsbase says that it may. */
static inline uint64_t up_arch_get_gs_insn(void)
{
	uint64_t v;

	__asm__ __volatile__("rdgsbase %0" : "=r"(v));
	return v;
}

static inline uint64_t up_arch_get_gs(void)
{
	uint64_t v = 0;

	if (up_arch_fsgsbase)
		return up_arch_get_gs_insn();
	up_syscall2(SYS_arch_prctl, ARCH_GET_GS, &v);
	return v;
}

static inline void up_arch_set_gs(uint64_t v)
{
	if (up_arch_fsgsbase)
		__asm__ __volatile__("wrgsbase %0" ::"r"(v) : "memory");
	else
		up_syscall2(SYS_arch_prctl, ARCH_SET_GS, v);
}

#endif
