/* SPDX-License-Identifier: MIT */
/*
 * Thread-local storage of uthreads: blocks that libc takes for those of threads of its own, so that
 * errno, thread_local, malloc's caches, stdio's locks and pthread_self() are each uthread's own.
 *
 * Start calls up_tls_probe() once; the runtime then makes a block for a uthread, switches the FS base
 * with it, and gives it back when the uthread is gone. Blocks are never returned to the system: a
 * process keeps as many as it once had uthreads (some 5 kB each, touched only when used), and what
 * malloc cached in a block serves the next uthread that gets it.
 *
 * Not for vcore context, but for up_tls_destroy() and up_tls_owns(): the others may allocate and may
 * wait for locks inside libc.
 */
#ifndef UP_USER_TLS_H
#define UP_USER_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Finds out where this libc keeps what a block needs, by asking it and by trying it. 0; -ENOTSUP when
 * something is not where it should be, and up_tls_why() then says what: uthreads share the TLS of
 * their activations. -ENOMEM or -EAGAIN when no thread could be made to look at. Once; again gives
 * the first answer.
 */
int up_tls_probe(void);
const char *up_tls_why(void);
/* True until a probe has succeeded: no uthread has a block of its own. */
bool up_tls_shared(void);

/*
 * A block for a uthread that runs on the stack [stack_lo, stack_lo + stack_sz) and calls itself
 * fake_tid (unique in the process, and no kernel thread's: libc's locks name their owner by it).
 * The caller must not be preempted. 0 or -ENOMEM, -ENOTSUP, -EINVAL.
 */
int up_tls_create(void *stack_lo, size_t stack_sz, uint32_t fake_tid, uintptr_t *ret_fs);
/* Back to the pool; any context. The uthread must have run up_tls_run_dtors(), or else what it had
 * in keys and thread_local objects is forgotten, not destroyed. 0 does nothing. */
void up_tls_destroy(uintptr_t fs);

/* Ends a use, any context, and begins another one, as up_tls_create() would, of a block that stays with
 * its stack meanwhile. 0 or -ENOMEM: then it is as before. */
void up_tls_retire(uintptr_t fs);
int up_tls_renew(uintptr_t fs, void *stack_lo, size_t stack_sz, uint32_t fake_tid);

/* What a thread does at its end, on the exiting uthread itself: destructors of thread_local objects,
 * then of keys in at most PTHREAD_DESTRUCTOR_ITERATIONS rounds, then libc's own leftovers. */
void up_tls_run_dtors(void);

/*
 * Looks at what is loaded now, so that a used block starts with the images of that. up_tls_create()
 * does so by itself when something came or went; only a namespace made by dlmopen() must be shown to
 * it: any_map is then the handle, else NULL. (libc itself initialises the blocks that exist, before
 * a library's constructors run.) 0 or -ENOMEM.
 */
int up_tls_sync_modules(void *any_map);

/* In the child of a fork, on its only thread: every block but keep (0: all) is free again. */
void up_tls_fork_child(uintptr_t keep);

/* Is this pthread_t or FS base one of ours, live or pooled? */
bool up_tls_owns(uintptr_t fs);
/* The stack and the tid that a block was made with. */
void up_tls_stack_of(uintptr_t fs, void **ret_lo, size_t *ret_sz);
uint32_t up_tls_tid_of(uintptr_t fs);

struct up_tls_stats {
	uint64_t nr_blocks; /* ever made */
	uint64_t nr_live;
	size_t block_sz;
};
void up_tls_get_stats(struct up_tls_stats *ret_stats);

#endif
