/* SPDX-License-Identifier: MIT */
/*
 * libupcall-io.so: libc's blocking calls, as a program's uthreads make them, done by upcall/io.h, so
 * that code which knows nothing of uthreads keeps no kernel thread while it waits.  Loaded in front of
 * libc by `upcall run --io`; see upcall-run(1).
 *
 * It promises: on a uthread each call does what libc's does, errno and all, and sees descriptors as the
 * program has set them; on any other thread, and before the runtime starts, it is libc's own.  Calls that
 * libc makes inside itself (stdio's, the resolver's) are not seen here: the runtime notices them as it
 * does without this.
 */
/* Both names of each, on a machine where they are the same. */
#undef _FILE_OFFSET_BITS
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <time.h>
#include <unistd.h>
#include <upcall/upcall.h>

#define SHIM   __attribute__((visibility("default")))
#define SEC_NS UINT64_C(1000000000)

/* libc's own; looked up once, by whoever comes first: the answer is the same for all. */
#define REAL(name)                                                                 \
	({                                                                         \
		static __typeof__(&name) real_;                                    \
		__typeof__(&name) fn_ = __atomic_load_n(&real_, __ATOMIC_RELAXED); \
		if (!fn_) {                                                        \
			fn_ = (__typeof__(&name))dlsym(RTLD_NEXT, #name);          \
			__atomic_store_n(&real_, fn_, __ATOMIC_RELAXED);           \
		}                                                                  \
		fn_;                                                               \
	})

static int on_uthread(void)
{
	return upcall_uthread_self() != NULL;
}

static ssize_t answer(ssize_t r)
{
	if (r >= 0)
		return r;
	errno = (int)-r;
	return -1;
}

/* ---- bytes ---- */

SHIM ssize_t read(int fd, void *buf, size_t sz)
{
	return on_uthread() ? answer(upcall_read(fd, buf, sz)) : REAL(read)(fd, buf, sz);
}

SHIM ssize_t write(int fd, const void *buf, size_t sz)
{
	return on_uthread() ? answer(upcall_write(fd, buf, sz)) : REAL(write)(fd, buf, sz);
}

SHIM ssize_t readv(int fd, const struct iovec *v, int nr)
{
	return on_uthread() ? answer(upcall_readv(fd, v, nr)) : REAL(readv)(fd, v, nr);
}

SHIM ssize_t writev(int fd, const struct iovec *v, int nr)
{
	return on_uthread() ? answer(upcall_writev(fd, v, nr)) : REAL(writev)(fd, v, nr);
}

SHIM ssize_t pread(int fd, void *buf, size_t sz, off_t off)
{
	return on_uthread() ? answer(upcall_pread(fd, buf, sz, off))
			    : REAL(pread)(fd, buf, sz, off);
}

SHIM ssize_t pwrite(int fd, const void *buf, size_t sz, off_t off)
{
	return on_uthread() ? answer(upcall_pwrite(fd, buf, sz, off))
			    : REAL(pwrite)(fd, buf, sz, off);
}

SHIM ssize_t pread64(int fd, void *buf, size_t sz, off64_t off)
{
	return pread(fd, buf, sz, off);
}

SHIM ssize_t pwrite64(int fd, const void *buf, size_t sz, off64_t off)
{
	return pwrite(fd, buf, sz, off);
}

SHIM ssize_t splice(int in, off64_t *in_off, int out, off64_t *out_off, size_t sz, unsigned flags)
{
	return on_uthread() ? answer(upcall_splice(in, in_off, out, out_off, sz, flags))
			    : REAL(splice)(in, in_off, out, out_off, sz, flags);
}

SHIM ssize_t sendfile(int out, int in, off_t *off, size_t sz)
{
	return on_uthread() ? answer(upcall_sendfile(out, in, off, sz))
			    : REAL(sendfile)(out, in, off, sz);
}

SHIM ssize_t sendfile64(int out, int in, off64_t *off, size_t sz)
{
	return sendfile(out, in, off, sz);
}

SHIM int close(int fd)
{
	return on_uthread() ? (int)answer(upcall_close(fd)) : REAL(close)(fd);
}

/* ---- sockets ---- */

SHIM ssize_t recv(int fd, void *buf, size_t sz, int flags)
{
	return on_uthread() ? answer(upcall_recv(fd, buf, sz, flags))
			    : REAL(recv)(fd, buf, sz, flags);
}

SHIM ssize_t send(int fd, const void *buf, size_t sz, int flags)
{
	return on_uthread() ? answer(upcall_send(fd, buf, sz, flags))
			    : REAL(send)(fd, buf, sz, flags);
}

SHIM ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	return on_uthread() ? answer(upcall_recvmsg(fd, msg, flags))
			    : REAL(recvmsg)(fd, msg, flags);
}

SHIM ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	return on_uthread() ? answer(upcall_sendmsg(fd, msg, flags))
			    : REAL(sendmsg)(fd, msg, flags);
}

SHIM ssize_t recvfrom(int fd, void *buf, size_t sz, int flags, __SOCKADDR_ARG from,
		      socklen_t *from_sz)
{
	struct iovec v = { buf, sz };
	struct msghdr m = { .msg_name = from.__sockaddr__, .msg_iov = &v, .msg_iovlen = 1 };
	ssize_t r;

	if (!on_uthread())
		return REAL(recvfrom)(fd, buf, sz, flags, from, from_sz);
	if (!from.__sockaddr__)
		return answer(upcall_recv(fd, buf, sz, flags));
	m.msg_namelen = *from_sz;
	r = upcall_recvmsg(fd, &m, flags);
	if (r >= 0)
		*from_sz = m.msg_namelen;
	return answer(r);
}

SHIM ssize_t sendto(int fd, const void *buf, size_t sz, int flags, __CONST_SOCKADDR_ARG to,
		    socklen_t to_sz)
{
	struct iovec v = { (void *)(uintptr_t)buf, sz };
	struct msghdr m = { .msg_name = (void *)(uintptr_t)to.__sockaddr__,
			    .msg_namelen = to_sz,
			    .msg_iov = &v,
			    .msg_iovlen = 1 };

	if (!on_uthread())
		return REAL(sendto)(fd, buf, sz, flags, to, to_sz);
	return answer(to.__sockaddr__ ? upcall_sendmsg(fd, &m, flags)
				      : upcall_send(fd, buf, sz, flags));
}

SHIM int accept4(int fd, __SOCKADDR_ARG addr, socklen_t *addr_sz, int flags)
{
	return on_uthread() ? (int)answer(upcall_accept4(fd, addr.__sockaddr__, addr_sz, flags))
			    : REAL(accept4)(fd, addr, addr_sz, flags);
}

SHIM int accept(int fd, __SOCKADDR_ARG addr, socklen_t *addr_sz)
{
	return on_uthread() ? (int)answer(upcall_accept4(fd, addr.__sockaddr__, addr_sz, 0))
			    : REAL(accept)(fd, addr, addr_sz);
}

SHIM int connect(int fd, __CONST_SOCKADDR_ARG addr, socklen_t addr_sz)
{
	return on_uthread() ? (int)answer(upcall_connect(fd, addr.__sockaddr__, addr_sz))
			    : REAL(connect)(fd, addr, addr_sz);
}

/* ---- several, and time ---- */

SHIM int poll(struct pollfd *fds, nfds_t nr, int timeout_ms)
{
	return on_uthread() ? (int)answer(upcall_poll(fds, nr, timeout_ms * INT64_C(1000000)))
			    : REAL(poll)(fds, nr, timeout_ms);
}

static int is_time(const struct timespec *ts)
{
	return ts->tv_sec >= 0 && ts->tv_nsec >= 0 && ts->tv_nsec < (long)SEC_NS;
}

static int64_t ns_of(const struct timespec *ts)
{
	uint64_t ns = (uint64_t)ts->tv_sec > INT64_MAX / SEC_NS - 1
			      ? INT64_MAX
			      : (uint64_t)ts->tv_sec * SEC_NS + (uint64_t)ts->tv_nsec;

	return (int64_t)ns;
}

/* With a mask it is for libc: signals are to break in. */
SHIM int ppoll(struct pollfd *fds, nfds_t nr, const struct timespec *timeout, const sigset_t *mask)
{
	if (!on_uthread() || mask || (timeout && !is_time(timeout)))
		return REAL(ppoll)(fds, nr, timeout, mask);
	return (int)answer(upcall_poll(fds, nr, timeout ? ns_of(timeout) : -1));
}

static unsigned list_sets(struct pollfd *p, int nr, fd_set *const set[3])
{
	static const short what[3] = { POLLIN, POLLOUT, POLLPRI };
	unsigned n = 0;
	int fd, i;

	for (fd = 0; fd < nr; fd++) {
		p[n] = (struct pollfd){ .fd = fd };
		for (i = 0; i < 3; i++)
			if (set[i] && FD_ISSET(fd, set[i]))
				p[n].events |= what[i];
		n += p[n].events != 0;
	}
	return n;
}

/* How many bits; a descriptor that is none fails it all. */
static int fill_sets(const struct pollfd *p, unsigned n, fd_set *const set[3])
{
	static const short tells[3] = { POLLIN | POLLHUP | POLLERR, POLLOUT | POLLERR, POLLPRI };
	static const short asks[3] = { POLLIN, POLLOUT, POLLPRI };
	int nr = 0, i;
	unsigned k;

	for (k = 0; k < n; k++)
		if (p[k].revents & POLLNVAL)
			return -EBADF;
	for (i = 0; i < 3; i++)
		if (set[i])
			FD_ZERO(set[i]);
	for (k = 0; k < n; k++)
		for (i = 0; i < 3; i++)
			if (p[k].events & asks[i] && p[k].revents & tells[i]) {
				FD_SET(p[k].fd, set[i]);
				nr++;
			}
	return nr;
}

SHIM int select(int nr, fd_set *in, fd_set *out, fd_set *except, struct timeval *timeout)
{
	fd_set *const set[3] = { in, out, except };
	struct pollfd p[FD_SETSIZE];
	int64_t ns = -1;
	unsigned n;
	int r;

	if (!on_uthread() || nr < 0 || nr > FD_SETSIZE ||
	    (timeout && (timeout->tv_sec < 0 || timeout->tv_usec < 0)))
		return REAL(select)(nr, in, out, except, timeout);
	if (timeout)
		ns = ns_of(&(struct timespec){ timeout->tv_sec, timeout->tv_usec * 1000 });
	n = list_sets(p, nr, set);
	r = upcall_poll(p, n, ns);
	return (int)answer(r < 0 ? r : fill_sets(p, n, set));
}

SHIM int nanosleep(const struct timespec *ts, struct timespec *ret_left)
{
	if (!on_uthread() || !is_time(ts))
		return REAL(nanosleep)(ts, ret_left);
	return (int)answer(upcall_sleep_ns((uint64_t)ns_of(ts)));
}

SHIM int usleep(useconds_t us)
{
	return on_uthread() ? (int)answer(upcall_sleep_ns(us * UINT64_C(1000))) : REAL(usleep)(us);
}

SHIM unsigned sleep(unsigned s)
{
	if (!on_uthread())
		return REAL(sleep)(s);
	upcall_sleep_ns(s * SEC_NS);
	return 0;
}
