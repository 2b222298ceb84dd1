/* SPDX-License-Identifier: MIT */
/*
 * In place of base/atomic.h: each access of a watched word is a step that the explorer schedules, and
 * each store waits in a buffer until the explorer lets it out, as on a machine with store buffers
 * (stores in order, loads ahead of them).  Accesses of other words happen at once.
 */
#ifndef UP_TESTS_EXPLORE_ATOMIC_H
#define UP_TESTS_EXPLORE_ATOMIC_H

#include <stddef.h>

const void *explore_load(const volatile void *ptr, size_t sz, uint64_t *buf);
void explore_store(volatile void *ptr, const void *val, size_t sz);
void explore_fence(void);
/* As if each thread had executed a fence at this moment. */
void explore_fence_all(void);
/* What a step of one's own has read: states in which that differs are not the same. */
void explore_note(uint64_t read);

#define X_LOAD(ptr)                                                                        \
	(*(__typeof__(*(ptr)) *)explore_load((const volatile void *)(ptr), sizeof(*(ptr)), \
					     (uint64_t[1]){ 0 }))
#define X_STORE(ptr, val)                                  \
	({                                                 \
		__typeof__(*(ptr)) val_ = (val);           \
		explore_store((ptr), &val_, sizeof(val_)); \
	})
/* A read-modify-write empties the buffer first, and is one step with it. */
#define X_RMW(op, ptr, ...)                                                       \
	({                                                                        \
		explore_fence();                                                  \
		__typeof__(*(ptr)) old_ = op(ptr, __VA_ARGS__, __ATOMIC_SEQ_CST); \
		explore_note((uint64_t)old_);                                     \
		old_;                                                             \
	})
#define X_CAS(ptr, expected, desired)                                                         \
	({                                                                                    \
		__typeof__(expected) expected_ = (expected);                                  \
		explore_fence();                                                              \
		bool done_ = __atomic_compare_exchange_n(ptr, expected_, desired, false,      \
							 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
		explore_note(done_ ? 1 : (uint64_t)*expected_ + 2);                           \
		done_;                                                                        \
	})

#define up_load_relaxed(ptr)	       X_LOAD(ptr)
#define up_load_acquire(ptr)	       X_LOAD(ptr)
#define up_load_seq_cst(ptr)	       X_LOAD(ptr)
#define up_store_relaxed(ptr, val)     X_STORE(ptr, val)
#define up_store_release(ptr, val)     X_STORE(ptr, val)
#define up_store_seq_cst(ptr, val)     (X_STORE(ptr, val), explore_fence())
#define up_xchg_acquire(ptr, val)      X_RMW(__atomic_exchange_n, ptr, val)
#define up_xchg_release(ptr, val)      X_RMW(__atomic_exchange_n, ptr, val)
#define up_fetch_or_relaxed(ptr, val)  X_RMW(__atomic_fetch_or, ptr, val)
#define up_fetch_or_release(ptr, val)  X_RMW(__atomic_fetch_or, ptr, val)
#define up_fetch_and_relaxed(ptr, val) X_RMW(__atomic_fetch_and, ptr, val)
#define up_cas_relaxed(ptr, e, d)      X_CAS(ptr, e, d)
#define up_cas_acquire(ptr, e, d)      X_CAS(ptr, e, d)
#define up_cas_release(ptr, e, d)      X_CAS(ptr, e, d)
#define up_cas_acq_rel(ptr, e, d)      X_CAS(ptr, e, d)
#define up_cas_seq_cst(ptr, e, d)      X_CAS(ptr, e, d)
#define up_xchg_acq_rel(ptr, val)      X_RMW(__atomic_exchange_n, ptr, val)
#define up_fetch_or_seq_cst(ptr, val)  X_RMW(__atomic_fetch_or, ptr, val)
#define up_fetch_and_seq_cst(ptr, val) X_RMW(__atomic_fetch_and, ptr, val)
#define up_fetch_add_seq_cst(ptr, val) X_RMW(__atomic_fetch_add, ptr, val)
#define up_fence_acquire()	       ((void)0)
#define up_fence_release()	       ((void)0)
#define up_fence_seq_cst()	       explore_fence()
#define up_cpu_relax()		       ((void)0)
#define up_compiler_barrier()	       __atomic_signal_fence(__ATOMIC_SEQ_CST)

#endif
