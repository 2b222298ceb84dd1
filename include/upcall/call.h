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

/* Any system call by number; returns what Linux returns: a value, or -errno.  Context: any; may
 * block.  See syscall(2). */
long upcall_syscall(long nr, long a, long b, long c, long d, long e, long f);

/* As the POSIX functions of that name, but for the result: -errno instead of -1. */
ssize_t upcall_read(int fd, void *buf, size_t sz);
ssize_t upcall_write(int fd, const void *buf, size_t sz);
ssize_t upcall_recv(int fd, void *buf, size_t sz, int flags);
ssize_t upcall_send(int fd, const void *buf, size_t sz, int flags);
int upcall_accept4(int fd, struct sockaddr *addr, socklen_t *addr_sz, int flags);
int upcall_connect(int fd, const struct sockaddr *addr, socklen_t addr_sz);
/* timeout_ns -1: for ever. */
int upcall_poll(struct pollfd *fds, nfds_t nr, int64_t timeout_ns);
/* The whole time, whatever comes between. */
int upcall_sleep_ns(uint64_t ns);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
