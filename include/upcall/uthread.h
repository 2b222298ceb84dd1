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
};

/*
 * A new uthread that calls fn(arg).  attr may be NULL.  *ret_u stays valid until the uthread has
 * been joined, or, detached, until it ends.  One that is used after that is refused with -ESRCH, as
 * long as no other uthread has been made in its place and the process has not stopped in between.  Context: any once started but vcore.  -EINVAL, -ENOMEM,
 * -EPERM in vcore context, -ENOTCONN not started.
 */
int upcall_uthread_create(struct upcall_uthread **ret_u, const struct upcall_uthread_attr *attr,
			  void *(*fn)(void *), void *arg);

/* Waits for its end and frees it.  ret_value may be NULL.  One joiner each.  Context: uthread;
 * takes the caller off the vcore.  -EINVAL NULL, detached or being joined already, -ESRCH joined
 * before, -EDEADLK oneself, -EPERM not on a uthread, or not started. */
int upcall_uthread_join(struct upcall_uthread *u, void **ret_value);

/* It frees itself at its end.  Context: any.  -EINVAL NULL, detached or being joined, -ESRCH joined
 * before or detached and ended, -ENOTCONN not started. */
int upcall_uthread_detach(struct upcall_uthread *u);

/* Ends the caller.  Context: uthread; elsewhere it ends the process, by SIGILL. */
#ifdef __cplusplus
[[noreturn]]
#else
__attribute__((noreturn))
#endif
void upcall_uthread_exit(void *value);

/* The caller, or NULL where it is no uthread.  Context: any. */
struct upcall_uthread *upcall_uthread_self(void);
uint64_t upcall_uthread_id(const struct upcall_uthread *u); /* 0 for NULL */

/* Lets others run first.  Context: uthread.  -EPERM elsewhere. */
int upcall_yield(void);

/*
 * The two halves of every wait.  upcall_block() takes the caller off its vcore, then calls
 * fn(caller, arg) in vcore context, where the caller is off its stack and may be woken by anyone
 * whom fn lets know of it.  upcall_wake() makes it ready again; exactly one wake for each block.
 * Context: uthread / any once started.  A wake does not block.  upcall_block(): -EINVAL fn is NULL,
 * -EPERM not on a uthread.  upcall_wake(): -EINVAL NULL, or it is not in upcall_block() or was woken
 * already, -ESRCH it has ended, -ENOTCONN not started.
 */
int upcall_block(void (*fn)(struct upcall_uthread *self, void *arg), void *arg);
int upcall_wake(struct upcall_uthread *u);

/* The smallest stack that a uthread can be given: room for a signal frame of this CPU included. */
size_t upcall_min_stack(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
