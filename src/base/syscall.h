/* SPDX-License-Identifier: MIT */
/*
 * System calls that touch nothing but registers: the result is what the kernel gave, -errno and
 * all. For callers whose FS base may not be the thread's own (libc's wrapper would write errno
 * through it) and for vcore context, where libc must not be entered. No cancellation point, no TLS.
 */
#ifndef UP_BASE_SYSCALL_H
#define UP_BASE_SYSCALL_H

#include <sys/syscall.h>

/* In the build for tests of failures each call first asks whether it is to fail, and stands where it
 * is written, so that it is known by its address. */
#ifdef UP_INJECT_ON
#include "base/inject.h"
#define UP_SYSCALL_INLINE inline __attribute__((always_inline, target("general-regs-only")))
#define UP_SYSCALL_ASK(nr, a, b)                                   \
	do {                                                       \
		long refused_ = up_inject_syscall((nr), (a), (b)); \
		if (refused_)                                      \
			return refused_;                           \
	} while (0)
#else
#define UP_SYSCALL_INLINE	 inline
#define UP_SYSCALL_ASK(nr, a, b) ((void)0)
#endif

#if defined(__x86_64__)

static UP_SYSCALL_INLINE long up_syscall6(long nr, long a, long b, long c, long d, long e, long f)
{
	UP_SYSCALL_ASK(nr, a, b);

	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ __volatile__("syscall"
			     : "=a"(ret)
			     : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			     : "rcx", "r11", "memory");
	return ret;
}

#elif defined(__aarch64__)

static UP_SYSCALL_INLINE long up_syscall6(long nr, long a, long b, long c, long d, long e, long f)
{
	UP_SYSCALL_ASK(nr, a, b);

	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ __volatile__("svc #0"
			     : "+r"(x0)
			     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			     : "memory");
	return x0;
}

#else

#include <errno.h>
#include <unistd.h>

/* The fallback does pass through libc and its errno: a CPU named above is needed for M:N. */
static UP_SYSCALL_INLINE long up_syscall6(long nr, long a, long b, long c, long d, long e, long f)
{
	UP_SYSCALL_ASK(nr, a, b);

	int saved = errno;
	long ret = syscall(nr, a, b, c, d, e, f);

	if (ret == -1)
		ret = -errno;
	errno = saved;
	return ret;
}

#endif

#define up_syscall0(nr)		 up_syscall6(nr, 0, 0, 0, 0, 0, 0)
#define up_syscall1(nr, a)	 up_syscall6(nr, (long)(a), 0, 0, 0, 0, 0)
#define up_syscall2(nr, a, b)	 up_syscall6(nr, (long)(a), (long)(b), 0, 0, 0, 0)
#define up_syscall3(nr, a, b, c) up_syscall6(nr, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define up_syscall4(nr, a, b, c, d) \
	up_syscall6(nr, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define up_syscall5(nr, a, b, c, d, e) \
	up_syscall6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

#endif
