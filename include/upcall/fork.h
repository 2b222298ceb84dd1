/* SPDX-License-Identifier: MIT */
/*
 * Fork and join for work that is divided as it goes: a function that may run beside its caller at the
 * price of a few nanoseconds, since mostly it does not.  It is left where vcores that have nothing to
 * do find it; whoever comes back for it first, a vcore or the caller, runs it.
 *
 *	struct upcall_fork f;
 *
 *	upcall_spawn(&f, fn, &left);
 *	fn(&right);
 *	upcall_sync(&f);
 *
 * One struct a spawn, on the stack of the caller, uninitialised.  A uthread has as many open at once as
 * it likes, across calls too, and syncs each, the last one spawned first, before the function returns
 * that holds it.  What a task is to know, and what comes of it, goes through arg.
 *
 * A task may do whatever a uthread may: spawn, block, yield.  It must come back by returning: an
 * exception or a longjmp that leaves it, or that leaves a function with a fork open, is not allowed.
 * One that nobody took runs within its sync, as if called there: with the caller's identity, TLS and
 * signal mask.  One that was taken runs on a uthread of the library's own, whose stack is no smaller
 * than the caller's; so does what it calls.  So a task takes no notice of who runs it, or asks.
 *
 * None of these functions may be called in a signal handler: it may have interrupted one of them.
 */
#ifndef UPCALL_FORK_H
#define UPCALL_FORK_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct upcall_fork {
	void *opaque[6];
};

/*
 * From here to upcall_sync(f), fn(arg) may run beside the caller.  f stays the caller's, and where it
 * is, until then.  Elsewhere than on a uthread, and where memory is short, fn(arg) runs at once.
 * Context: any but vcore; may block, for memory, or as fn does.  Errors: -EINVAL f or fn is NULL, or f
 * is the caller's last one and has not been synced; that an older one is spawned again is not found out.
 */
int upcall_spawn(struct upcall_fork *f, void (*fn)(void *arg), void *arg);

/*
 * When it returns, fn(arg) of f has, and what it wrote can be read.  While another runs it the caller
 * does part of that work, or is off its vcore.  f may be spawned again.  Context: the uthread that
 * spawned f; may block.  Errors: -EINVAL f is NULL, is not the last one that this uthread has spawned and
 * not synced, or has been synced already; nothing has been done then.  A uthread that ends with a fork
 * open, or within a task, ends the process, by SIGILL.
 */
int upcall_sync(struct upcall_fork *f);

/*
 * Calls fn(b, e, arg) for ranges [b, e) that together are [begin, end), each once, several at a time,
 * and returns when all have.  grain is the longest range, in steps; 0: chosen so that each vcore has
 * some tens of them.  What is left of a range is halved whenever a vcore has taken the last half.  fn is
 * held to what a task is held to.  Context: any but vcore; may block, as fn does.  Errors: -EINVAL fn is
 * NULL, or begin is behind end.
 */
int upcall_for(size_t begin, size_t end, size_t grain,
	       void (*fn)(size_t begin, size_t end, void *arg), void *arg);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
