/* SPDX-License-Identifier: MIT */
/*
 * In place of base/atomic.h: before each access of a watched word the explorer chooses who goes on.
 * Every access is sequentially consistent; what a weaker order would let through is not looked for.
 */
#ifndef UP_TESTS_SYNC_EXPLORE_ATOMIC_H
#define UP_TESTS_SYNC_EXPLORE_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

void xs_access(const volatile void *ptr);

#define XS(ptr, op)                                      \
	({                                               \
		xs_access((const volatile void *)(ptr)); \
		(op);                                    \
	})
#define XS_LOAD(ptr)	 XS(ptr, __atomic_load_n(ptr, __ATOMIC_SEQ_CST))
#define XS_STORE(ptr, v) XS(ptr, __atomic_store_n(ptr, v, __ATOMIC_SEQ_CST))
#define XS_XCHG(ptr, v)	 XS(ptr, __atomic_exchange_n(ptr, v, __ATOMIC_SEQ_CST))
#define XS_ADD(ptr, v)	 XS(ptr, __atomic_fetch_add(ptr, v, __ATOMIC_SEQ_CST))
#define XS_SUB(ptr, v)	 XS(ptr, __atomic_fetch_sub(ptr, v, __ATOMIC_SEQ_CST))
#define XS_OR(ptr, v)	 XS(ptr, __atomic_fetch_or(ptr, v, __ATOMIC_SEQ_CST))
#define XS_AND(ptr, v)	 XS(ptr, __atomic_fetch_and(ptr, v, __ATOMIC_SEQ_CST))
#define XS_CAS(ptr, e, d) \
	XS(ptr, __atomic_compare_exchange_n(ptr, e, d, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))

#define up_load_relaxed(p)	   XS_LOAD(p)
#define up_load_acquire(p)	   XS_LOAD(p)
#define up_load_seq_cst(p)	   XS_LOAD(p)
#define up_store_relaxed(p, v)	   XS_STORE(p, v)
#define up_store_release(p, v)	   XS_STORE(p, v)
#define up_store_seq_cst(p, v)	   XS_STORE(p, v)
#define up_xchg_acq_rel(p, v)	   XS_XCHG(p, v)
#define up_xchg_release(p, v)	   XS_XCHG(p, v)
#define up_fetch_add_release(p, v) XS_ADD(p, v)
#define up_fetch_sub_acq_rel(p, v) XS_SUB(p, v)
#define up_fetch_or_release(p, v)  XS_OR(p, v)
#define up_fetch_and_release(p, v) XS_AND(p, v)
#define up_fetch_and_acq_rel(p, v) XS_AND(p, v)
#define up_cas_relaxed(p, e, d)	   XS_CAS(p, e, d)
#define up_cas_acquire(p, e, d)	   XS_CAS(p, e, d)
#define up_cas_release(p, e, d)	   XS_CAS(p, e, d)
#define up_cas_acq_rel(p, e, d)	   XS_CAS(p, e, d)
#define up_fence_seq_cst()	   ((void)0)
#define up_cpu_relax()		   ((void)0)

#endif
