/* SPDX-License-Identifier: MIT */
/*
 * Input and output: calls that take the uthread off its vcore while they wait, and no kernel thread
 * with it.  Each does what the function of POSIX does that it is named after, on any descriptor, and
 * returns a negative errno in place of -1, never -EINTR on a uthread.
 *
 * A descriptor need not be non-blocking, and does not become so: one that the program has made so
 * gives -EAGAIN at once.  Other processes and threads may use it meanwhile.
 *
 * All are points of cancellation where they wait, and end with -ETIMEDOUT at the caller's deadline:
 * see upcall_io_deadline().  What has been moved by then is returned in place of the error, and nothing
 * that has been received is lost.  On a thread that is no uthread they are the plain call.
 */
#ifndef UPCALL_IO_H
#define UPCALL_IO_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif
struct statx; /* sys/stat.h */

#pragma GCC visibility push(default)

/*
 * The calling uthread's deadline, for all its calls of this kind from now on: nanoseconds of
 * CLOCK_MONOTONIC as upcall_now_ns() tells them, UPCALL_FOREVER none, as it is in a new uthread.  The one
 * before, UPCALL_FOREVER on a thread that is no uthread.  A call that begins later fails, whether it
 * would have to wait or not.  Not for what waits inside Linux: files, and upcall_syscall().  Context:
 * any but vcore; does not block.  Errors: none.
 */
uint64_t upcall_io_deadline(uint64_t until_ns);

/* Up to sz bytes into buf, the caller's: their number, 0 at the end, as read(2).  Of a file as many as
 * there are up to sz.  Context: any but vcore; may block.  Errors: as read(2), negative, and see above. */
ssize_t upcall_read(int fd, void *buf, size_t sz);

/* All sz bytes from buf, as write(2) on a descriptor that blocks.  Context: any but vcore; may block.
 * Errors: as write(2), negative, and see above; fewer bytes where a part had been written. */
ssize_t upcall_write(int fd, const void *buf, size_t sz);

/* Up to sz bytes from a socket into buf: their number, 0 at the end, as recv(2).  Context: any but
 * vcore; may block.  Errors: as recv(2), negative, and see above. */
ssize_t upcall_recv(int fd, void *buf, size_t sz, int flags);

/* All sz bytes from buf to a socket, as send(2).  Context: any but vcore; may block.  Errors: as send(2),
 * negative, and see above; fewer bytes where a part had been sent. */
ssize_t upcall_send(int fd, const void *buf, size_t sz, int flags);

/* The next connection: a descriptor, which the caller closes, as accept4(2).  addr and addr_sz may be
 * NULL.  Where another process, or another uthread, takes the connection first it may wait inside Linux
 * for the next.  Context: any but vcore; may block.  Errors: as accept4(2), negative, and see above. */
int upcall_accept4(int fd, struct sockaddr *addr, socklen_t *addr_sz, int flags);

/* Connects a socket to addr, addr_sz bytes: 0, as connect(2), once it is connected.  One that fails by
 * the deadline goes on, as a call that a signal has broken into does.  Context: any but vcore; may block.
 * Errors: as connect(2), negative, and see above. */
int upcall_connect(int fd, const struct sockaddr *addr, socklen_t addr_sz);

/* Until one of fds is ready or timeout_ns nanoseconds have passed, negative: for ever.  How many are
 * ready, 0 none (by the caller's deadline too), as poll(2).  Context: any but vcore; may block.  Errors:
 * as poll(2), negative. */
int upcall_poll(struct pollfd *fds, nfds_t nr, int64_t timeout_ns);

/* As upcall_read() and readv(2); nr pieces, the caller's.  Context: any but vcore; may block.  Errors: as
 * readv(2), negative, and see above. */
ssize_t upcall_readv(int fd, const struct iovec *v, int nr);

/* As upcall_write() and writev(2); nr pieces, the caller's.  Context: any but vcore; may block.  Errors:
 * as writev(2), negative, and see above. */
ssize_t upcall_writev(int fd, const struct iovec *v, int nr);

/* As pread(2), off bytes from the beginning.  Context: any but vcore; may block.  Errors: as pread(2),
 * negative, and see above. */
ssize_t upcall_pread(int fd, void *buf, size_t sz, off_t off);

/* As pwrite(2), off bytes from the beginning.  Context: any but vcore; may block.  Errors: as pwrite(2),
 * negative, and see above. */
ssize_t upcall_pwrite(int fd, const void *buf, size_t sz, off_t off);

/* As preadv(2).  Context: any but vcore; may block.  Errors: as preadv(2), negative, and see above. */
ssize_t upcall_preadv(int fd, const struct iovec *v, int nr, off_t off);

/* As pwritev(2).  Context: any but vcore; may block.  Errors: as pwritev(2), negative, and see above. */
ssize_t upcall_pwritev(int fd, const struct iovec *v, int nr, off_t off);

/* As recvmsg(2).  Context: any but vcore; may block.  Errors: as recvmsg(2), negative, and see above. */
ssize_t upcall_recvmsg(int fd, struct msghdr *msg, int flags);

/* As upcall_send() and sendmsg(2).  Context: any but vcore; may block.  Errors: as sendmsg(2), negative,
 * and see above. */
ssize_t upcall_sendmsg(int fd, const struct msghdr *msg, int flags);

/* As splice(2): up to sz bytes from one to another, of which one is a pipe; offsets may be NULL.  Context:
 * any but vcore; may block.  Errors: its, negative, and see above. */
ssize_t upcall_splice(int in, off_t *in_off, int out, off_t *out_off, size_t sz, unsigned flags);

/* As sendfile(2), sz bytes or up to the end of the file.  Context: any but vcore; may block.  Errors: its,
 * negative, and see above. */
ssize_t upcall_sendfile(int out, int in, off_t *off, size_t sz);

/* A file by its name: a descriptor, which the caller closes, as openat(2).  Context: any but vcore; may
 * block.  Errors: as openat(2), negative. */
int upcall_openat(int dir, const char *path, int flags, mode_t mode);

/* What a file is, as statx(2): 0.  Context: any but vcore; may block.  Errors: as statx(2), negative. */
int upcall_statx(int dir, const char *path, int flags, unsigned mask, struct statx *ret_stat);

/* What has been written is on the disk when it returns 0, as fsync(2).  Context: any but vcore; may block.
 * Errors: as fsync(2), negative, and see above. */
int upcall_fsync(int fd);

/* As upcall_fsync(), of the file's bytes: fdatasync(2).  Context: any but vcore; may block.  Errors: as
 * fdatasync(2), negative, and see above. */
int upcall_fdatasync(int fd);

/* Until a child has ended: its number, as waitpid(2).  One of several (pid 0 or below), and other flags
 * than WNOHANG, are waited for inside Linux.  Context: any but vcore; may block.  Errors: as waitpid(2),
 * negative, and see above. */
pid_t upcall_waitpid(pid_t pid, int *ret_status, int flags);

/* As close(2): 0.  Who waits for the descriptor gets -EBADF.  Context: any but vcore; may block as
 * close(2) may.  Errors: its, negative. */
int upcall_close(int fd);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
