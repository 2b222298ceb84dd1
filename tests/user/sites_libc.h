/* SPDX-License-Identifier: MIT */
/*
 * The calls into libc that the runtime makes, each with a wrapper that the linker puts in front of it
 * (--wrap) and that asks its site whether it is to fail. What libc is asked for by way of dlsym() gets
 * its wrapper there. The lists at the end name what is not wrapped, and why.
 */
#ifndef UP_TESTS_USER_SITES_LIBC_H
#define UP_TESTS_USER_SITES_LIBC_H

#include <dlfcn.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "sites.h"

#define SITE ((uintptr_t)__builtin_return_address(0))

/* Answers `bad`, with errno. */
#define WRAP(ret, name, params, args, bad, once_errno, always_errno)                            \
	ret __real_##name params;                                                               \
	ret __wrap_##name params;                                                               \
	ret __wrap_##name params                                                                \
	{                                                                                       \
		static const struct call call_ = { #name, -1, once_errno, always_errno, NULL }; \
		int err_ = site_ask(SITE, &call_);                                              \
		if (err_) {                                                                     \
			errno = err_;                                                           \
			return bad;                                                             \
		}                                                                               \
		return __real_##name args;                                                      \
	}
/* Answers the errno itself. */
#define WRAP_POSIX(name, params, args, once_errno)                                            \
	int __real_##name params;                                                             \
	int __wrap_##name params;                                                             \
	int __wrap_##name params                                                              \
	{                                                                                     \
		static const struct call call_ = { #name, -1, once_errno, once_errno, NULL }; \
		int err_ = site_ask(SITE, &call_);                                            \
		return err_ ? err_ : __real_##name args;                                      \
	}
/* Answers the errno as a negative number. */
#define WRAP_NEGATIVE(name, params, args, once_errno, always_errno)                             \
	int __real_##name params;                                                               \
	int __wrap_##name params;                                                               \
	int __wrap_##name params                                                                \
	{                                                                                       \
		static const struct call call_ = { #name, -1, once_errno, always_errno, NULL }; \
		int err_ = site_ask(SITE, &call_);                                              \
		return err_ ? -err_ : __real_##name args;                                       \
	}
/* Memory, kept count of. */
#define WRAP_MEMORY(name, params, args, bad)                                          \
	void *__real_##name params;                                                   \
	void *__wrap_##name params;                                                   \
	void *__wrap_##name params                                                    \
	{                                                                             \
		static const struct call call_ = { #name, -1, ENOMEM, ENOMEM, NULL }; \
		if (site_ask(SITE, &call_)) {                                         \
			errno = ENOMEM;                                               \
			return bad;                                                   \
		}                                                                     \
		return site_keep(__real_##name args, SITE);                           \
	}

WRAP_MEMORY(malloc, (size_t sz), (sz), NULL)
WRAP_MEMORY(calloc, (size_t nr, size_t sz), (nr, sz), NULL)
WRAP_MEMORY(aligned_alloc, (size_t align, size_t sz), (align, sz), NULL)
WRAP_MEMORY(mmap64, (void *at, size_t sz, int prot, int flags, int fd, off_t off),
	    (at, sz, prot, flags, fd, off), MAP_FAILED)
WRAP_MEMORY(mremap, (void *at, size_t was, size_t sz, int flags), (at, was, sz, flags), MAP_FAILED)

void *__real_realloc(void *at, size_t sz);
void *__wrap_realloc(void *at, size_t sz);
void *__wrap_realloc(void *at, size_t sz)
{
	static const struct call call = { "realloc", -1, ENOMEM, ENOMEM, NULL };
	void *to = site_ask(SITE, &call) ? NULL : __real_realloc(at, sz);

	if (to) {
		site_drop(at);
		site_keep(to, SITE);
	}
	return to;
}

void __real_free(void *at);
void __wrap_free(void *at);
void __wrap_free(void *at)
{
	site_drop(at);
	__real_free(at);
}

int __real_munmap(void *at, size_t sz);
int __wrap_munmap(void *at, size_t sz);
int __wrap_munmap(void *at, size_t sz)
{
	site_drop(at);
	return __real_munmap(at, sz);
}

/* Closing what is not open closes somebody else's, some day. */
int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
	int r = __real_close(fd);

	if (r && errno == EBADF && sites)
		atomic_fetch_add(&sites->bad_closes, 1);
	return r;
}

WRAP(int, access, (const char *path, int mode), (path, mode), -1, ENOMEM, EACCES)
WRAP(int, dladdr1, (const void *at, Dl_info *i, void **x, int f), (at, i, x, f), 0, ENOENT, ENOENT)
WRAP_NEGATIVE(io_uring_queue_init_params,
	      (unsigned nr, struct io_uring *ring, struct io_uring_params *p), (nr, ring, p),
	      EINVAL, EPERM)
WRAP_NEGATIVE(io_uring_register_eventfd, (struct io_uring * ring, int fd), (ring, fd), ENOMEM,
	      EBUSY)
WRAP_NEGATIVE(io_uring_submit_and_get_events, (struct io_uring * ring), (ring), EAGAIN, 0)
WRAP(int, eventfd, (unsigned nr, int flags), (nr, flags), -1, EMFILE, ENFILE)
WRAP(int, fcntl64, (int fd, int cmd, long arg), (fd, cmd, arg), -1, EPERM, EINVAL)
WRAP(int, fork, (void), (), -1, EAGAIN, ENOMEM)
WRAP(int, ftruncate64, (int fd, off_t sz), (fd, sz), -1, EINTR, ENOSPC)
WRAP(int, inotify_add_watch, (int fd, const char *p, uint32_t m), (fd, p, m), -1, ENOMEM, ENOSPC)
WRAP(int, inotify_init1, (int flags), (flags), -1, EMFILE, EMFILE)
WRAP(int, madvise, (void *at, size_t sz, int how), (at, sz, how), -1, ENOMEM, EINVAL)
WRAP(int, memfd_create, (const char *name, unsigned flags), (name, flags), -1, EMFILE, ENOSYS)
WRAP(int, mlock, (const void *at, size_t sz), (at, sz), -1, ENOMEM, EPERM)
WRAP(int, mprotect, (void *at, size_t sz, int prot), (at, sz, prot), -1, ENOMEM, ENOMEM)
WRAP(int, open64, (const char *path, int flags, int mode), (path, flags, mode), -1, EMFILE, EACCES)
WRAP(int, ppoll, (struct pollfd * p, nfds_t n, const struct timespec *t, const sigset_t *s),
     (p, n, t, s), -1, EINTR, ENOMEM)
WRAP(int, prctl, (int what, long a, long b, long c, long d), (what, a, b, c, d), -1, EINVAL, EINVAL)
WRAP(ssize_t, pread64, (int fd, void *to, size_t sz, off_t at), (fd, to, sz, at), -1, EINTR, EIO)
WRAP(ssize_t, read, (int fd, void *to, size_t sz), (fd, to, sz), -1, EAGAIN, 0)
WRAP(int, sched_getaffinity, (pid_t tid, size_t sz, cpu_set_t *to), (tid, sz, to), -1, EPERM,
     EINVAL)
WRAP(int, sched_setscheduler, (pid_t tid, int policy, const struct sched_param *p),
     (tid, policy, p), -1, EPERM, EPERM)
WRAP(int, timer_settime, (timer_t t, int f, const struct itimerspec *is, struct itimerspec *was),
     (t, f, is, was), -1, EINVAL, EINVAL)
WRAP_POSIX(pthread_create, (pthread_t * t, const pthread_attr_t *a, void *(*fn)(void *), void *arg),
	   (t, a, fn, arg), EAGAIN)
WRAP_POSIX(pthread_key_create, (pthread_key_t * key, void (*dtor)(void *)), (key, dtor), EAGAIN)
WRAP_POSIX(pthread_setname_np, (pthread_t t, const char *name), (t, name), EIO)

/* ---- what dlsym() finds ---- */

#define SHIM(ret, name, params, args, bad, once_errno)                                        \
	static ret(*next_##name) params;                                                      \
	static ret shim_##name params                                                         \
	{                                                                                     \
		static const struct call call_ = { #name, -1, once_errno, once_errno, NULL }; \
		int err_ = site_ask(SITE, &call_);                                            \
		if (err_) {                                                                   \
			errno = err_;                                                         \
			return bad;                                                           \
		}                                                                             \
		return next_##name args;                                                      \
	}

SHIM(int, sigaction, (int sig, const struct sigaction *act, struct sigaction *old), (sig, act, old),
     -1, EINVAL)
SHIM(int, sigaltstack, (const stack_t *ss, stack_t *old), (ss, old), -1, ENOMEM)
SHIM(int, timer_create, (clockid_t clock, struct sigevent *ev, timer_t *t), (clock, ev, t), -1,
     EAGAIN)
SHIM(int, pthread_create, (pthread_t * t, const pthread_attr_t *a, void *(*fn)(void *), void *arg),
     (t, a, fn, arg), err_, EAGAIN)
SHIM(void *, _dl_allocate_tls, (void *block), (block), NULL, ENOMEM)

static const struct {
	const char *name;
	void **next;
	void *shim;
} shims[] = {
#define x(name)                                                   \
	{                                                         \
#name, (void **)&next_##name, (void *)shim_##name \
	}
	x(sigaction), x(sigaltstack), x(timer_create), x(pthread_create), x(_dl_allocate_tls),
#undef x
};

void *__real_dlsym(void *lib, const char *name);
void *__wrap_dlsym(void *lib, const char *name);
void *__wrap_dlsym(void *lib, const char *name)
{
	static const struct call call = { "dlsym", -1, ENOENT, ENOENT, NULL };
	void *found = site_ask(SITE, &call) ? NULL : __real_dlsym(lib, name);
	unsigned i;

	for (i = 0; found && i < sizeof(shims) / sizeof(shims[0]); i++) {
		if (strcmp(name, shims[i].name))
			continue;
		*shims[i].next = found;
		return shims[i].shim;
	}
	return found;
}

/* ---- what is not wrapped, for tests/user/check_sites.py ---- */

static const struct {
	const char *why, *names;
} not_wrapped[] = {
	{ "no call that asks for anything: words, strings, sums",
	  "__ctype_b_loc __errno_location __libc_current_sigrtmax __libc_current_sigrtmin "
	  "__popcountdi2 __pthread_register_cancel __pthread_unregister_cancel __res_nclose "
	  "__res_state __rseq_offset __rseq_size __sched_cpucount __sigsetjmp _r_debug environ "
	  "_GLOBAL_OFFSET_TABLE_ __start_up_inject __stop_up_inject "
	  "dlerror getauxval getenv memchr secure_getenv unsetenv memcmp memcpy memset sigaddset "
	  "sigdelset "
	  "sigemptyset sigfillset snprintf strcmp strcpy strlen strncmp strncpy strrchr" },
	{ "attributes are words in memory of the caller's",
	  "posix_spawnattr_destroy posix_spawnattr_getflags posix_spawnattr_init "
	  "posix_spawnattr_setflags posix_spawnattr_setsigdefault posix_spawnattr_setsigmask "
	  "pthread_attr_destroy pthread_attr_getaffinity_np pthread_attr_init "
	  "pthread_attr_setdetachstate pthread_attr_setstack pthread_attr_setstacksize" },
	{ "Linux cannot refuse it",
	  "clock_getres clock_gettime geteuid getpid gettid getuid sched_getcpu sched_yield "
	  "pthread_self" },
	{ "gives back what there is",
	  "inotify_rm_watch pthread_key_delete timer_delete pthread_join" },
	{ "waits, and nothing else", "pthread_mutex_lock pthread_mutex_unlock dl_iterate_phdr" },
	{ "has an answer at all times: a number of CPUs, the size of a page, the global locale, a "
	  "limit",
	  "getrlimit64 sysconf uselocale" },
	{ "gives back what there is, or looks at memory: a ring",
	  "io_uring_queue_exit __io_uring_get_cqe" },
	{ "a mask in memory of ours", "pthread_sigmask" },
	{ "at load, before there is a life", "pthread_atfork" },
	{ "ours, in front of libc's, whose own is failed where we call that (the shims above)",
	  "sigaction sigaltstack timer_create sched_setaffinity syscall" },
	{ "of a kernel side in another process, whose points tests/host and gate 3 fail",
	  "accept4 bind connect epoll_create1 epoll_ctl epoll_wait fstat64 getsockopt listen poll "
	  "recv recvmsg send sendmsg setsockopt socket timerfd_create timerfd_settime" },
};

#endif
