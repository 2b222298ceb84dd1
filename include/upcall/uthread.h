/* SPDX-License-Identifier: MIT */
/*
 * User-level threads: as cheap as a function call and a stack, and free to call anything that a
 * thread may call.  Each has its own stack and its own TLS.
 */
#ifndef UPCALL_UTHREAD_H
#define UPCALL_UTHREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct upcall_uthread;

struct upcall_uthread_attr {
	size_t size;	 /* sizeof(struct upcall_uthread_attr) */
	size_t stack_sz; /* 0: the default; rounded up; at least upcall_min_stack() */
	bool detached;
	const char *name; /* copied, 31 bytes at the most; may be NULL */
	int priority; /* UPCALL_PRIO_MIN to UPCALL_PRIO_MAX; 0 is the default, and in the middle */
};

#define UPCALL_PRIO_MIN	 (-3)
#define UPCALL_PRIO_MAX	 3
#define UPCALL_PRIO_HIGH 2 /* for what must answer soon */
#define UPCALL_PRIO_LOW	 (-2) /* for what has time */

/*
 * A new uthread that calls fn(arg).  attr may be NULL.  *ret_u stays valid until the uthread has
 * been joined, or, detached, until it ends; ret_u may be NULL for a detached one.  One that is used
 * after that is refused with -ESRCH, as long as no other uthread has been made in its place and the
 * process has not stopped in between.  Context: any once started but vcore; may block, for memory.
 * Errors: -EINVAL fn is NULL, an attribute makes no sense, or no ret_u for one to be joined; -ENOMEM,
 * -EPERM in vcore context, -ENOTCONN not started.
 */
int upcall_uthread_create(struct upcall_uthread **ret_u, const struct upcall_uthread_attr *attr,
			  void *(*fn)(void *), void *arg);

/* Waits for its end and frees it.  ret_value may be NULL.  One joiner each; two at the same moment need
 * not both be told.  Context: uthread; may block.  Errors: -EINVAL NULL, detached or being joined
 * already, -ESRCH joined before, -EDEADLK oneself, -EPERM not on a uthread, or not started. */
int upcall_uthread_join(struct upcall_uthread *u, void **ret_value);

/* It frees itself at its end.  Context: any; does not block.  Errors: -EINVAL NULL, detached or being
 * joined, -ESRCH joined before or detached and ended, -ENOTCONN not started. */
int upcall_uthread_detach(struct upcall_uthread *u);

/* Ends the caller, with a value for who joins it.  Context: uthread; elsewhere it ends the process, by
 * SIGILL; does not block.  Errors: none, it does not return. */
#ifdef __cplusplus
[[noreturn]]
#else
__attribute__((noreturn))
#endif
void upcall_uthread_exit(void *value);

/* The caller, or NULL where it is no uthread.  Context: any; does not block.  Errors: none. */
struct upcall_uthread *upcall_uthread_self(void);

/* A number that no other uthread has had since the start; uthread 0 has 0.  Context: any; does not
 * block.  Errors: none, 0 for NULL. */
uint64_t upcall_uthread_id(const struct upcall_uthread *u);

/* Which of those that are ready runs first, as far as the scheduler heeds it; the default one does, and
 * gives the lower ones a turn now and then all the same.  One that becomes ready interrupts one of a
 * lower priority.  Counts from when it next becomes ready.  Context: any; does not block.  Errors:
 * -EINVAL NULL, or not between UPCALL_PRIO_MIN and UPCALL_PRIO_MAX. */
int upcall_uthread_set_priority(struct upcall_uthread *u, int priority);

/* Its priority.  Context: any; does not block.  Errors: none, 0 for NULL. */
int upcall_uthread_priority(const struct upcall_uthread *u);

/* Lets others run first.  Context: uthread; may block, until its turn.  Errors: -EPERM elsewhere. */
int upcall_yield(void);

/*
 * The first half of every wait: takes the caller off its vcore, then calls fn(caller, arg) in vcore
 * context, where the caller is off its stack and may be woken by anyone whom fn lets know of it.
 * Context: uthread; may block.  Errors: -EPERM elsewhere, -EINVAL fn is NULL.
 */
int upcall_block(void (*fn)(struct upcall_uthread *self, void *arg), void *arg);

/* The second: makes it ready again; exactly one wake for each block.  Context: any once started, vcore
 * included; does not block.  Errors: -EINVAL NULL, or it is not in upcall_block() or was woken already,
 * -ESRCH it has ended, -ENOTCONN not started. */
int upcall_wake(struct upcall_uthread *u);

/* The smallest stack, in bytes, that a uthread can be given: room for a signal frame of this CPU
 * included.  Context: any; does not block.  Errors: none. */
size_t upcall_min_stack(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
