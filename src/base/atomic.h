/* SPDX-License-Identifier: MIT */
/*
 * Every atomic access of the project, the memory order in its name. Operands are plain integers or
 * pointers (shared memory needs their size and layout fixed, which _Atomic does not promise).
 * All atomics go through this file and no other, so that an instrumented build (a model explorer, a
 * counter, a delay before each access) replaces this one header. Each use says in a comment why the
 * order suffices and which access it pairs with.
 */
#ifndef UP_BASE_ATOMIC_H
#define UP_BASE_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

#ifdef UP_ATOMIC_REPLACEMENT
#include UP_ATOMIC_REPLACEMENT
#else

#define up_load_relaxed(ptr) __atomic_load_n(ptr, __ATOMIC_RELAXED)
#define up_load_acquire(ptr) __atomic_load_n(ptr, __ATOMIC_ACQUIRE)
#define up_load_seq_cst(ptr) __atomic_load_n(ptr, __ATOMIC_SEQ_CST)

#define up_store_relaxed(ptr, val) __atomic_store_n(ptr, val, __ATOMIC_RELAXED)
#define up_store_release(ptr, val) __atomic_store_n(ptr, val, __ATOMIC_RELEASE)
#define up_store_seq_cst(ptr, val) __atomic_store_n(ptr, val, __ATOMIC_SEQ_CST)

/* Exchanges give the old value. */
#define up_xchg_relaxed(ptr, val)  __atomic_exchange_n(ptr, val, __ATOMIC_RELAXED)
#define up_xchg_acquire(ptr, val)  __atomic_exchange_n(ptr, val, __ATOMIC_ACQUIRE)
#define up_xchg_release(ptr, val)  __atomic_exchange_n(ptr, val, __ATOMIC_RELEASE)
#define up_xchg_acq_rel(ptr, val)  __atomic_exchange_n(ptr, val, __ATOMIC_ACQ_REL)
#define up_xchg_seq_cst(ptr, val)  __atomic_exchange_n(ptr, val, __ATOMIC_SEQ_CST)

/* True when *ptr was *expected and is now desired; else *expected becomes what was found (read with
 * acquire where success acquires). Strong: never fails without a reason. */
#define up_cas_relaxed(ptr, expected, desired)                                       \
	__atomic_compare_exchange_n(ptr, expected, desired, false, __ATOMIC_RELAXED, \
				    __ATOMIC_RELAXED)
#define up_cas_acquire(ptr, expected, desired)                                       \
	__atomic_compare_exchange_n(ptr, expected, desired, false, __ATOMIC_ACQUIRE, \
				    __ATOMIC_ACQUIRE)
#define up_cas_release(ptr, expected, desired)                                       \
	__atomic_compare_exchange_n(ptr, expected, desired, false, __ATOMIC_RELEASE, \
				    __ATOMIC_RELAXED)
#define up_cas_acq_rel(ptr, expected, desired)                                       \
	__atomic_compare_exchange_n(ptr, expected, desired, false, __ATOMIC_ACQ_REL, \
				    __ATOMIC_ACQUIRE)
#define up_cas_seq_cst(ptr, expected, desired)                                       \
	__atomic_compare_exchange_n(ptr, expected, desired, false, __ATOMIC_SEQ_CST, \
				    __ATOMIC_SEQ_CST)

/* Read-modify-writes give the old value. */
#define up_fetch_add_relaxed(ptr, val) __atomic_fetch_add(ptr, val, __ATOMIC_RELAXED)
#define up_fetch_add_acquire(ptr, val) __atomic_fetch_add(ptr, val, __ATOMIC_ACQUIRE)
#define up_fetch_add_release(ptr, val) __atomic_fetch_add(ptr, val, __ATOMIC_RELEASE)
#define up_fetch_add_acq_rel(ptr, val) __atomic_fetch_add(ptr, val, __ATOMIC_ACQ_REL)
#define up_fetch_add_seq_cst(ptr, val) __atomic_fetch_add(ptr, val, __ATOMIC_SEQ_CST)

#define up_fetch_sub_relaxed(ptr, val) __atomic_fetch_sub(ptr, val, __ATOMIC_RELAXED)
#define up_fetch_sub_release(ptr, val) __atomic_fetch_sub(ptr, val, __ATOMIC_RELEASE)
#define up_fetch_sub_acq_rel(ptr, val) __atomic_fetch_sub(ptr, val, __ATOMIC_ACQ_REL)
#define up_fetch_sub_seq_cst(ptr, val) __atomic_fetch_sub(ptr, val, __ATOMIC_SEQ_CST)

#define up_fetch_or_relaxed(ptr, val) __atomic_fetch_or(ptr, val, __ATOMIC_RELAXED)
#define up_fetch_or_release(ptr, val) __atomic_fetch_or(ptr, val, __ATOMIC_RELEASE)
#define up_fetch_or_acq_rel(ptr, val) __atomic_fetch_or(ptr, val, __ATOMIC_ACQ_REL)
#define up_fetch_or_seq_cst(ptr, val) __atomic_fetch_or(ptr, val, __ATOMIC_SEQ_CST)

#define up_fetch_and_relaxed(ptr, val) __atomic_fetch_and(ptr, val, __ATOMIC_RELAXED)
#define up_fetch_and_release(ptr, val) __atomic_fetch_and(ptr, val, __ATOMIC_RELEASE)
#define up_fetch_and_acq_rel(ptr, val) __atomic_fetch_and(ptr, val, __ATOMIC_ACQ_REL)
#define up_fetch_and_seq_cst(ptr, val) __atomic_fetch_and(ptr, val, __ATOMIC_SEQ_CST)

#define up_fence_acquire()    __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define up_fence_release()    __atomic_thread_fence(__ATOMIC_RELEASE)
#define up_fence_seq_cst()    __atomic_thread_fence(__ATOMIC_SEQ_CST)

/* Orders against a signal handler on the same thread only; no instruction comes of it. */
#define up_compiler_barrier() __atomic_signal_fence(__ATOMIC_SEQ_CST)

/* Said between two looks in a spin: the core may rest, or run its sibling. */
static inline void up_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield" ::: "memory");
#else
	up_compiler_barrier();
#endif
}

#endif /* UP_ATOMIC_REPLACEMENT */
#endif
