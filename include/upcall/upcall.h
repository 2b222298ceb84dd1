/* SPDX-License-Identifier: MIT */
/*
 * Upcall: a program is granted whole cores, runs its own threads on them, and is told by upcall
 * whenever a core comes, is about to go, or a thread blocks or wakes in the kernel.
 *
 * Everything public, in one include.  All functions return 0 or a negative errno unless they say
 * otherwise; none prints, none exits.  Each says in which context it may be called:
 *
 *   any      any thread of the process, whether the runtime has been started or not
 *   uthread  on a uthread's stack
 *   vcore    in an operation of a second-level scheduler or in an event handler: on the vcore's
 *            transition stack, notifications disabled; nothing there may block
 *
 * and whether it may block: sleep in Linux, or take the caller off its vcore. What does not block waits
 * at most for a lock of the library's, which is held for microseconds.
 */
#ifndef UPCALL_UPCALL_H
#define UPCALL_UPCALL_H

#include <upcall/call.h>
#include <upcall/critical.h>
#include <upcall/event.h>
#include <upcall/fork.h>
#include <upcall/io.h>
#include <upcall/proc.h>
#include <upcall/sched.h>
#include <upcall/sync.h>
#include <upcall/uthread.h>
#include <upcall/version.h>

#endif
