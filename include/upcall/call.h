/* SPDX-License-Identifier: MIT */
/*
 * Announced calls: system calls of which the runtime is told, so that the caller's vcore goes on
 * with another uthread the moment it blocks, and the caller never runs beside it afterwards.
 * Elsewhere than in a uthread they are the plain call.  For what can be waited for without a kernel
 * thread see upcall/io.h.
 */
#ifndef UPCALL_CALL_H
#define UPCALL_CALL_H

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/*
 * Any system call by its number, made once: a value, or -errno where syscall(2) has -1 and errno.
 * Context: any but vcore; may block.  Errors: those of the call, -EINTR too; -ENOSYS no such number.
 */
long upcall_syscall(long nr, long a, long b, long c, long d, long e, long f);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
