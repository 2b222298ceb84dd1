/* SPDX-License-Identifier: MIT */
/*
 * Call sites of the runtime that ask Linux or libc for something, each known by its address. A clean
 * life notes the sites that it comes by; in a later one a chosen site fails, at its first hit or at
 * all of them. What the runtime holds of memory is kept count of by the site that took it. All but
 * that lies in memory that children share. Asked from anywhere: no lock, no TLS, no vector registers.
 */
#ifndef UP_TESTS_USER_SITES_H
#define UP_TESTS_USER_SITES_H

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define SITES_MAX 1024u
#define KEPT_MAX  4096u

enum site_mode {
	SITE_ONCE = 1,
	SITE_ALWAYS = 2,
	SITE_LATER = 3 /* always, once the start is over */
};

/* How a call fails the first time, and from then on; without the latter every second one does. With
 * neither it cannot be refused, for the reason given. */
struct call {
	const char *name;
	long nr; /* of the system call, where there is no name to link with */
	int once, always;
	const char *never;
};

struct site {
	_Atomic uintptr_t pc;
	const struct call *_Atomic call;
	atomic_int kind;  /* of the life that came by first */
	atomic_int later; /* it is come by after the start */
	uintptr_t by;	  /* the site whose failure leads here; 0: every life comes by */
};

struct kept {
	_Atomic uintptr_t at;
	uintptr_t pc;
};

static struct sites {
	struct site at[SITES_MAX];
	atomic_int armed; /* 1 and the life's kind; 0: nothing is noted, nothing fails */
	_Atomic uintptr_t fail;
	uintptr_t along;   /* fails at all hits, so that the way leads to it */
	atomic_int middle; /* the start is over */
	atomic_int mode;
	atomic_uint seen;    /* hits of the one that fails */
	atomic_long unknown; /* a call that no list has */
	atomic_uint bad_closes;
	unsigned usual[SITES_MAX]; /* of at[]: blocks of memory that two clean lives leave */
} * sites;

/* Each process's own. */
static struct kept kept[KEPT_MAX];

#pragma GCC push_options
#pragma GCC target("general-regs-only")

#define REFUSED(call, once_errno, always_errno)                                                 \
	{                                                                                       \
		.name = #call, .nr = SYS_##call, .once = (once_errno), .always = (always_errno) \
	}
#define NEVER(call, reason)                                        \
	{                                                          \
		.name = #call, .nr = SYS_##call, .never = (reason) \
	}

static const struct call futex_sleep = { .name = "futex", .nr = SYS_futex, .once = EINTR };

/* What base/syscall.h is used for. */
static const struct call raw_calls[] = {
	REFUSED(clock_gettime, EINVAL, EINVAL),
	REFUSED(clock_nanosleep, EINTR, 0),
	REFUSED(clone, EAGAIN, ENOMEM),
	REFUSED(epoll_create1, EMFILE, ENFILE),
	REFUSED(epoll_ctl, ENOMEM, ENOSPC),
	REFUSED(epoll_pwait, EINTR, 0),
	REFUSED(eventfd2, EMFILE, ENFILE),
	REFUSED(membarrier, EPERM, ENOSYS),
	REFUSED(ppoll, EINTR, ENOMEM),
	REFUSED(pread64, EINTR, ESRCH),
	REFUSED(preadv2, EAGAIN, EOPNOTSUPP),
	REFUSED(read, EAGAIN, 0),
	REFUSED(rseq, EINVAL, EINVAL),
	REFUSED(rt_sigaction, EINVAL, EINVAL),
	REFUSED(sched_getaffinity, EPERM, EINVAL),
	REFUSED(sched_getattr, EINVAL, EINVAL),
	REFUSED(sched_setaffinity, EINVAL, EINVAL),
	REFUSED(sched_setattr, EPERM, EPERM),
	REFUSED(timer_settime, EINVAL, EINVAL),
	REFUSED(wait4, EINTR, ECHILD),
	NEVER(arch_prctl, "the base of a register, to an address of the process's own"),
	NEVER(close, "the descriptor is gone whatever it answers"),
	NEVER(exit_group, "does not answer"),
	NEVER(fcntl, "asked of a descriptor that is open"),
	NEVER(fstat, "the same"),
	NEVER(futex, "a wake: never refused for a word that is mapped"),
	NEVER(getpid, "cannot fail"),
	NEVER(gettid, "cannot fail"),
	NEVER(kill, "to the process itself"),
	NEVER(preadv, "the program's own call, made for it"),
	NEVER(readv, "the same"),
	NEVER(readlink, "then a descriptor stays open in a child"),
	NEVER(rt_sigprocmask, "a mask in memory of ours"),
	NEVER(sched_yield, "cannot fail"),
	NEVER(tgkill, "to a thread of ours that lives, a signal that is not queued"),
	NEVER(write, "a bell that would have to ring 2^64 times"),
};

static struct site *site_note(uintptr_t pc, const struct call *c, int kind)
{
	unsigned i = (unsigned)(pc * 0x9e3779b97f4a7c15u >> 54), n;

	for (n = 0; n < SITES_MAX; n++, i++) {
		struct site *s = &sites->at[i % SITES_MAX];
		uintptr_t was = 0;

		if (atomic_load(&s->pc) == pc)
			return s;
		if (atomic_compare_exchange_strong(&s->pc, &was, pc)) {
			atomic_store(&s->kind, kind);
			s->by = atomic_load(&sites->fail);
			atomic_store(&s->call, c);
			return s;
		}
		if (was == pc)
			return s;
	}
	return &sites->at[0]; /* full: never, by a factor of five */
}

/* The errno that the call at pc is to fail with, or 0. */
static int site_ask(uintptr_t pc, const struct call *c)
{
	int armed = sites ? atomic_load(&sites->armed) : 0;
	struct site *s;
	unsigned n;

	if (!armed || !c->once)
		return 0;
	s = site_note(pc, c, armed - 1);
	if (sites->along == pc)
		return c->always ? c->always : c->once;
	if (atomic_load(&sites->middle))
		atomic_store(&s->later, 1);
	else if (atomic_load(&sites->mode) == SITE_LATER)
		return 0;
	if (atomic_load(&sites->fail) != pc)
		return 0;
	n = atomic_fetch_add(&sites->seen, 1);
	if (atomic_load(&sites->mode) == SITE_ONCE)
		return n ? 0 : c->once;
	return c->always ? c->always : n % 2 ? 0 : c->once;
}

static long ask_raw(uintptr_t pc, long nr, long a, long b)
{
	unsigned i;

	if (nr == SYS_futex &&
	    ((b & FUTEX_CMD_MASK) == FUTEX_WAIT || (b & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET))
		return -site_ask(pc, &futex_sleep);
	for (i = 0; i < sizeof(raw_calls) / sizeof(raw_calls[0]); i++)
		if (raw_calls[i].nr == nr)
			return -site_ask(pc, &raw_calls[i]);
	atomic_store(&sites->unknown, nr);
	return 0;
}

#pragma GCC pop_options

static inline void *site_keep(void *at, uintptr_t pc)
{
	unsigned i;

	for (i = 0; at && at != MAP_FAILED && i < KEPT_MAX; i++) {
		uintptr_t none = 0;

		if (!atomic_compare_exchange_strong(&kept[i].at, &none, (uintptr_t)at))
			continue;
		kept[i].pc = pc;
		break;
	}
	return at;
}

static inline void site_drop(const void *at)
{
	unsigned i;

	for (i = 0; at && i < KEPT_MAX; i++) {
		uintptr_t was = (uintptr_t)at;

		if (atomic_compare_exchange_strong(&kept[i].at, &was, 0))
			return;
	}
}

static inline unsigned site_holds(uintptr_t pc)
{
	unsigned i, nr = 0;

	for (i = 0; i < KEPT_MAX; i++)
		nr += atomic_load(&kept[i].at) && kept[i].pc == pc;
	return nr;
}

#endif
