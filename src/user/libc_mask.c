/* SPDX-License-Identifier: MIT */
/*
 * Signal masks of uthreads, and the receiver.
 *
 * A uthread's mask is a word of its own; Linux does not see it. Activations block all asynchronous
 * signals. The process's signals go to its first thread, the receiver, where a signal is open as long
 * as one uthread has it open. When the last one closes a signal, or the first one opens it, the
 * caller waits until the receiver has taken that over, so that what pthread_sigmask() promises holds
 * when it returns: a blocked signal stays pending, and what was pending has been delivered.
 *
 * The receiver has signals open in ppoll() and nowhere else, so that it knows when a handler ran.
 */
#include "user/libc.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/inject.h"
#include "base/lock.h"
#include "base/mutant.h"
#include "base/syscall.h"

/* How long a change waits for a receiver that is in a handler. */
#define PATIENCE_NS   (100 * UP_NSEC_PER_MSEC)
#define NEVER_BLOCKED (up_sig_bit(SIGKILL) | up_sig_bit(SIGSTOP) | up_sig_bit(32) | up_sig_bit(33))

static struct {
	int fd; /* pokes the receiver */

	uint64_t base; /* what uthread 0 came with, and most have still */

	/* With the lock, preemption off: */
	struct up_lock lock;
	uint32_t nr_apart[64]; /* uthreads that have it otherwise than the base says */

	/* Written with the lock; read by anyone: */
	uint64_t apart;	 /* what somebody has otherwise */
	uint64_t closed; /* blocked by all: the receiver's mask */
	uint32_t ever;	 /* somebody has blocked something: who comes or goes has to look */

	uint32_t wanted;  /* counts changes of `closed` and requests to look */
	uint32_t done;	  /* futex: the last one that the receiver has taken over */
	uint32_t events;  /* futex: handlers that ran, signals that were sent to a uthread */
	uint32_t handled; /* the former alone */
} masks = { .fd = -1 };

/* ---- the receiver ---- */

static void note_handled(void)
{
	up_fetch_add_relaxed(&masks.handled, 1); /* ordered by the release that follows */
	up_libc_events_add();
}

/* True when there may be more: ppoll() that finds the poke returns before it lets a handler run. */
static bool receive_once(uint64_t open_mask, bool stay)
{
	struct timespec now = { 0, 0 };
	struct pollfd pfd = { .fd = masks.fd, .events = POLLIN };
	uint64_t count;
	long r = up_syscall5(SYS_ppoll, &pfd, 1, stay ? NULL : &now, &open_mask, sizeof(open_mask));

	if (r > 0)
		up_syscall3(SYS_read, masks.fd, &count, sizeof(count));
	if (r == -EINTR)
		note_handled();
	return r == -EINTR || (r > 0 && !UP_MUT(poke_hides_signal));
}

/* On the first thread, with all asynchronous signals blocked. */
void up_libc_receive(uint32_t *home)
{
	/* acquire: pairs with the release of whoever sends us home: uthread 0 is whole in memory */
	while (!up_load_acquire(home)) {
		/* acquire: pairs with tell_receiver(): `closed` is at least as new */
		uint32_t wanted = up_load_acquire(&masks.wanted);
		uint64_t closed = up_load_relaxed(&masks.closed);

		UP_INJECT(receiver_looked);
		while (receive_once(closed, false))
			;
		/* release: handlers of what was open have run for whoever sees this */
		up_store_release(&masks.done, wanted);
		up_futex_wake_private(&masks.done, INT32_MAX);
		/* The poke that it was to find there may be the one that was just read. */
		if (wanted == up_load_acquire(&masks.wanted) &&
		    (UP_MUT(way_home_missed) || !up_load_acquire(home)))
			receive_once(closed, true);
	}
}

void up_libc_receiver_poke(void)
{
	uint64_t one = 1;

	up_syscall3(SYS_write, masks.fd, &one, sizeof(one));
}

/* The new count comes first: a receiver that is on its way into ppoll() finds either it or the poke. */
static uint32_t tell_receiver(void)
{
	/* release: `closed` is in place */
	uint32_t wanted = up_fetch_add_release(&masks.wanted, 1) + 1;

	up_libc_receiver_poke();
	return wanted;
}

static void wait_receiver(uint32_t wanted)
{
	uint64_t until = up_now_ns() + PATIENCE_NS;
	uint32_t done;

	for (;;) {
		struct timespec ts = up_ns_timespec(until);

		/* acquire: pairs with up_libc_receive(): what the handlers wrote is there */
		done = up_load_acquire(&masks.done);
		if ((int32_t)(done - wanted) >= 0 || up_now_ns() >= until)
			return;
		upcall_syscall(SYS_futex, (long)&masks.done, FUTEX_WAIT_BITSET_PRIVATE, (long)done,
			       (long)&ts, 0, (long)FUTEX_BITSET_MATCH_ANY);
	}
}

void up_libc_receiver_sync(void)
{
	wait_receiver(tell_receiver());
}

uint32_t up_libc_events(void)
{
	return up_load_acquire(&masks.events); /* pairs with up_libc_events_add() */
}

uint32_t up_libc_handled(void)
{
	return up_load_acquire(&masks.handled); /* as above */
}

void up_libc_events_wait(uint32_t seen)
{
	upcall_syscall(SYS_futex, (long)&masks.events, FUTEX_WAIT_PRIVATE, (long)seen, 0, 0, 0);
}

void up_libc_events_add(void)
{
	/* release: what a handler or a sender wrote comes first */
	up_fetch_add_release(&masks.events, 1);
	up_futex_wake_private(&masks.events, INT32_MAX);
}

/* ---- who blocks what ---- */

static void count(uint64_t mask, uint32_t by)
{
	for (; mask; mask &= mask - 1)
		masks.nr_apart[up_lowest_bit(mask)] += by;
}

/* With the lock: what no uthread has open. Of the base that is what nobody has otherwise; of the rest,
 * what all have otherwise. */
static uint64_t find_closed(void)
{
	uint64_t apart = 0, closed, left;
	int64_t nr;

	for (unsigned i = 0; i < 64; i++)
		apart |= masks.nr_apart[i] ? UINT64_C(1) << i : 0;
	/* seq_cst, then count: a uthread that comes or goes counts itself, then looks at `apart`. One of
	 * the two sees the other. */
	up_store_seq_cst(&masks.apart, apart);
	up_fence_seq_cst();
	nr = up_slot_counted();
	closed = masks.base & ~apart;
	for (left = apart & ~masks.base; left; left &= left - 1) {
		if (masks.nr_apart[up_lowest_bit(left)] >= nr)
			closed |= left & -left;
	}
	return closed;
}

/* Whoever comes or goes without a fence, since nobody had blocked anything, has counted itself when this
 * returns, or sees the word: Linux makes each of our threads pass a barrier in between. */
static void watch_from_now_on(void)
{
	up_store_relaxed(&masks.ever, 1);
	if (up_syscall3(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) < 0)
		up_syscall3(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

/* One uthread's share changes; waits where the receiver's mask changes by it. */
static void account(uint64_t was, uint64_t now)
{
	bool changed = false;
	uint32_t wanted = 0;
	uint64_t closed;

	if (!up_load_relaxed(&masks.ever))
		watch_from_now_on();
	up_preempt_disable();
	up_lock_take(&masks.lock);
	count(was ^ masks.base, (uint32_t)-1);
	count(now ^ masks.base, 1);
	closed = find_closed();
	if (closed != masks.closed && !UP_MUT(receiver_mask_stale)) {
		up_store_relaxed(&masks.closed, closed); /* ordered by tell_receiver()'s release */
		wanted = tell_receiver();
		changed = true;
	}
	up_lock_drop(&masks.lock);
	up_preempt_enable();
	if (changed)
		wait_receiver(wanted);
}

void up_libc_set_mask(struct up_uthread *u, uint64_t mask)
{
	uint64_t was = u->sig_mask;

	mask &= ~NEVER_BLOCKED;
	if (mask == was)
		return;
	up_store_relaxed(&u->sig_mask, mask); /* senders read it; what they miss is found pending */
	account(was, mask);
}

/* That it comes or goes may change what all have otherwise than the base. */
static bool matters(const struct up_uthread *u)
{
	return ((u->sig_mask ^ masks.base) | (up_load_relaxed(&masks.apart) & ~masks.base)) != 0;
}

void up_libc_born(const struct up_uthread *self, struct up_uthread *u)
{
	struct up_cell *c;

	if (self)
		up_section_enter();
	c = self ? up_cell_mine() : up_cell_take();
	up_store_relaxed(&c->counted, c->counted + 1);
	up_cell_drop(c);
	if (UP_LIKELY(!up_load_relaxed(&masks.ever)))
		return;
	up_fence_seq_cst(); /* see find_closed() */
	if (matters(u))
		account(masks.base, u->sig_mask);
}

void up_libc_gone(struct up_uthread *u)
{
	struct up_cell *c;

	up_section_enter();
	c = up_cell_mine();
	up_store_relaxed(&c->counted, c->counted - 1);
	up_section_leave();
	if (UP_LIKELY(!up_load_relaxed(&masks.ever)))
		return;
	up_fence_seq_cst(); /* see find_closed() */
	if (matters(u))
		account(u->sig_mask, masks.base);
}

/* ---- start and stop ---- */

void up_libc_masks_reset(void)
{
	if (masks.fd >= 0)
		up_syscall1(SYS_close, masks.fd);
	memset(&masks, 0, sizeof(masks));
	masks.fd = -1;
}

int up_libc_start(struct up_uthread *u)
{
	stack_t off = { .ss_flags = SS_DISABLE };
	uint64_t all = ~UINT64_C(0), faults = 0;
	int err;

	up_libc_masks_reset();
	masks.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (masks.fd < 0)
		return -errno;
	err = up_libc_actions_start();
	if (err) {
		up_libc_masks_reset();
		return err;
	}
	/* Where Linux has no such barrier they look each time. */
	masks.ever = up_syscall3(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) <
		     0;
	for (int sig = 1; sig <= 64; sig++)
		faults |= up_fault_old_action(sig, NULL, NULL) ? up_sig_bit(sig) : 0;
	all &= ~faults;
	up_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &u->sig_mask, sizeof(all));
	/* Two threads must not take turns on one alternate stack: it is uthread 0's from now on. */
	if (up_libc()->sigaltstack(&off, &u->altstack) || (u->altstack.ss_flags & SS_DISABLE))
		memset(&u->altstack, 0, sizeof(u->altstack));
	masks.base = masks.closed = u->sig_mask;
	return 0;
}

/* In the child of a fork, where the runtime is gone: the uthread's ways become the process's. */
void up_libc_child(uint64_t mask, const stack_t *altstack)
{
	up_libc()->sigaltstack(altstack, NULL);
	up_libc_actions_stop();
	up_fault_fini();
	up_libc_masks_reset();
	up_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
}

void up_libc_stop(struct up_uthread *u)
{
	if (masks.fd < 0)
		return; /* the start got no further */
	if (u->altstack.ss_sp)
		up_libc()->sigaltstack(&u->altstack, NULL);
	up_libc_actions_stop();
	up_libc_masks_reset();
	up_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, &u->sig_mask, NULL, sizeof(u->sig_mask));
}

/* ---- what the program calls ---- */

/* 0 or an error number. */
static int change(struct up_uthread *u, int how, const sigset_t *set, sigset_t *ret_old)
{
	uint64_t was = u->sig_mask, mask = set ? up_sig_from(set) : 0;

	if (set) {
		if (how == SIG_BLOCK)
			mask |= was;
		else if (how == SIG_UNBLOCK)
			mask = was & ~mask;
		else if (how != SIG_SETMASK)
			return EINVAL;
		up_libc_set_mask(u, mask);
	}
	if (ret_old)
		up_sig_to(was, ret_old);
	if (set)
		up_libc_run_pending(u);
	return 0;
}

UP_EXPORT int pthread_sigmask(int how, const sigset_t *set, sigset_t *ret_old)
{
	struct up_uthread *u = up_self();

	return u ? change(u, how, set, ret_old) : up_libc()->pthread_sigmask(how, set, ret_old);
}

UP_EXPORT int sigprocmask(int how, const sigset_t *set, sigset_t *ret_old)
{
	struct up_uthread *u = up_self();
	int err;

	if (!u)
		return up_libc()->sigprocmask(how, set, ret_old);
	err = change(u, how, set, ret_old);
	return err ? up_libc_fail(err) : 0;
}

UP_EXPORT int sigpending(sigset_t *ret_set)
{
	struct up_uthread *u = up_self();
	uint64_t pending;

	if (up_libc()->sigpending(ret_set))
		return -1;
	if (u) {
		/* Linux counts the process's; acquire: pairs with who sent one to this uthread */
		pending = up_sig_from(ret_set) | up_load_acquire(&u->sig_pending);
		up_sig_to(pending & u->sig_mask, ret_set);
	}
	return 0;
}
