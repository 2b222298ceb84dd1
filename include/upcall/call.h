/* SPDX-License-Identifier: MIT */
/*
 * Announced calls: system calls of which the runtime is told, so that the caller's vcore goes on
 * with another uthread the moment it blocks, and the caller never runs beside it afterwards.
 * Elsewhere than in a uthread they are the plain call.  They are never cut short by a notification
 * of ours: EINTR from them has been caused by somebody else.
 */
#ifndef UPCALL_CALL_H
#define UPCALL_CALL_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/*
 * Any system call by its number, made once: a value, or -errno where syscall(2) has -1 and errno.
 * Context: any but vcore; may block.  Errors: those of the call, -EINTR too; -ENOSYS no such number.
 */
long upcall_syscall(long nr, long a, long b, long c, long d, long e, long f);

/* Up to sz bytes into buf, the caller's: their number, 0 at the end, as read(2).  Context: any but
 * vcore; may block.  Errors: as read(2), negative; -EINTR outside of uthreads only. */
ssize_t upcall_read(int fd, void *buf, size_t sz);

/* Up to sz bytes from buf: their number, as write(2).  Context: any but vcore; may block.  Errors: as
 * write(2), negative; -EINTR outside of uthreads only. */
ssize_t upcall_write(int fd, const void *buf, size_t sz);

/* Up to sz bytes from a socket into buf: their number, 0 at the end, as recv(2).  Context: any but
 * vcore; may block.  Errors: as recv(2), negative; -EINTR outside of uthreads only. */
ssize_t upcall_recv(int fd, void *buf, size_t sz, int flags);

/* Up to sz bytes from buf to a socket: their number, as send(2).  Context: any but vcore; may block.
 * Errors: as send(2), negative; -EINTR outside of uthreads only. */
ssize_t upcall_send(int fd, const void *buf, size_t sz, int flags);

/* The next connection: a descriptor, which the caller closes, as accept4(2).  addr and addr_sz may be
 * NULL.  Context: any but vcore; may block.  Errors: as accept4(2), negative; -EINTR outside of
 * uthreads only. */
int upcall_accept4(int fd, struct sockaddr *addr, socklen_t *addr_sz, int flags);

/* Connects a socket to addr, addr_sz bytes: 0, as connect(2), once it is connected where fd blocks.
 * Context: any but vcore; may block.  Errors: as connect(2), negative; -EINTR outside of uthreads
 * only. */
int upcall_connect(int fd, const struct sockaddr *addr, socklen_t addr_sz);

/* Until one of fds is ready or timeout_ns nanoseconds have passed, negative: for ever.  How many are
 * ready, 0 none, as poll(2).  Context: any but vcore; may block.  Errors: as poll(2), negative; -EINTR
 * outside of uthreads only. */
int upcall_poll(struct pollfd *fds, nfds_t nr, int64_t timeout_ns);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
