/* SPDX-License-Identifier: MIT */
/*
 * A call made again: its uthread was turned out of the activation in which it slept (host/turnout.c),
 * and the call ended with EINTR, which the program is not to see.  When the uthread has its next turn,
 * it makes the call from here, below the context that was interrupted, with what is left of its
 * timeout; then that context goes on, with the result.
 *
 * A sleep may end late by the time that it had lasted when it was broken off: how long that was is
 * not known for certain, and it must not end early.
 */
#include "user/uthread.h"

#include <errno.h>
#include <linux/futex.h>
#include <time.h>

#include "arch/arch.h"
#include "base/bits.h"
#include "base/clock.h"
#include "base/mutant.h"
#include "base/syscall.h"

/* Lies on the uthread's stack, below the frame of the call.  A handler of the program's may run before
 * the call is made, and sleep in a call of its own. */
struct up_again {
	struct up_again *outer;
	const struct up_sig_record *handler; /* the newest when the call was broken off */
	ucontext_t *frame;
	struct up_frame_call call;
	uint64_t from_ns; /* when it was broken off */
	struct timespec ts;
	long result;
	uint32_t depth;
};

/* Where a timeout stands that counts from the call's beginning, unless Linux itself writes back what is
 * left of it. */
static const struct timeout {
	short nr;
	unsigned char arg;
	bool is_ms;
} timeouts[] = {
	{ SYS_futex, 3, false },      { SYS_rt_sigtimedwait, 2, false },
	{ SYS_semtimedop, 3, false }, { SYS_io_getevents, 4, false },
	{ SYS_epoll_pwait, 3, true }, { SYS_epoll_pwait2, 3, false },
#ifdef SYS_poll
	{ SYS_epoll_wait, 3, true },  { SYS_poll, 2, true },
#endif
};

static bool is_relative(const struct up_frame_call *c)
{
	int op = (int)c->arg[1] & FUTEX_CMD_MASK;

	return c->nr != SYS_futex || op == FUTEX_WAIT;
}

static const struct timeout *timeout_of(const struct up_frame_call *c)
{
	size_t i;

	for (i = 0; i < UP_ARRAY_LEN(timeouts); i++)
		if (timeouts[i].nr == c->nr && is_relative(c))
			return &timeouts[i];
	return NULL;
}

/* When the call is to end, UINT64_MAX for never. */
static uint64_t end_of(const struct up_again *g, const struct timeout *t)
{
	const struct timespec *ts = (const struct timespec *)g->call.arg[t->arg];
	int ms = (int)g->call.arg[t->arg];

	if (t->is_ms)
		return ms < 0 ? UINT64_MAX : g->from_ns + (uint64_t)ms * UP_NSEC_PER_MSEC;
	return ts ? up_ns_after(g->from_ns, up_timespec_ns(ts)) : UINT64_MAX;
}

/* What is left, in the call's own argument. */
static void set_timeout(struct up_again *g, const struct timeout *t, uint64_t until)
{
	uint64_t now = up_now_ns(), left = until > now ? until - now : 0;

	if (until == UINT64_MAX || UP_MUT(timeout_begins_anew))
		return;
	g->ts = up_ns_timespec(left);
	g->call.arg[t->arg] = t->is_ms ? (long)((left + UP_NSEC_PER_MSEC - 1) / UP_NSEC_PER_MSEC)
				       : (long)&g->ts;
}

/* A sleep until a moment is as long however often it is broken off. */
static void make_absolute(struct up_again *g)
{
	struct up_frame_call *c = &g->call;
	const struct timespec *ts;
	struct timespec now;

	if (c->nr == SYS_nanosleep)
		*c = (struct up_frame_call){ SYS_clock_nanosleep,
					     { CLOCK_MONOTONIC, 0, c->arg[0] } };
	if (c->nr != SYS_clock_nanosleep || c->arg[1] || UP_MUT(timeout_begins_anew))
		return;
	if (c->arg[0] == CLOCK_REALTIME || c->arg[0] == CLOCK_TAI)
		c->arg[0] = CLOCK_MONOTONIC; /* as long, whoever sets the clock */
	if (up_syscall2(SYS_clock_gettime, c->arg[0], &now))
		return;
	ts = (const struct timespec *)c->arg[2];
	g->ts = up_ns_timespec(up_ns_after(up_timespec_ns(&now), up_timespec_ns(ts)));
	c->arg[1] = TIMER_ABSTIME;
	c->arg[2] = (long)&g->ts;
}

/* Vcore context: the interrupted context goes on, in the section that it may be in. */
static void go_on(struct upcall_uthread *self, void *arg)
{
	struct up_uthread *u = (struct up_uthread *)self;
	struct up_act *a = up_act_self_vc();
	const struct up_again *g = arg;

	u->kind = UP_CTX_FRAME;
	u->frame = g->frame;
	if (!UP_MUT(again_without_result))
		up_frame_end_call(u->frame, g->result);
	a->gs.cs_depth = g->depth;
	a->gs.uthread = u;
}

__attribute__((noreturn)) static void *call_again(void *arg)
{
	struct up_again *g = arg;
	const struct timeout *t = timeout_of(&g->call);
	const long *a = g->call.arg;
	uint64_t until = t ? end_of(g, t) : UINT64_MAX;

	make_absolute(g);
	do {
		if (t)
			set_timeout(g, t, until);
		g->result = upcall_syscall(g->call.nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	} while (g->result == -EINTR);
	up_again_leave(up_self());
	g->depth = up_gs_depth();
	up_sched_call(up_self(), go_on, g);
	UP_BUG();
}

void up_again_leave(struct up_uthread *u)
{
	u->again = u->again->outer;
}

void up_again_push(struct up_uthread *u)
{
	struct up_frame_call c = { .nr = -1 };
	struct up_again *g = u->again;

	if (u->kind == UP_CTX_FRAME)
		c = up_frame_call(u->frame);
	if (!up_begins_again(c.nr))
		return;
	/* call_again() makes it once more */
	if (g && (g->handler == u->sig_records || UP_MUT(handlers_call_not_again))) {
		up_frame_end_call(u->frame, -EINTR);
		return;
	}
	g = (struct up_again *)UP_ALIGN_DOWN((uintptr_t)u->frame - 128 - sizeof(*g), (uintptr_t)64);
	*g = (struct up_again){ .outer = u->again,
				.handler = u->sig_records,
				.frame = u->frame,
				.call = c,
				.from_ns = up_now_ns() };
	u->again = g;
	u->sp = up_arch_new_stack((char *)g - 64, call_again, g);
	u->kind = UP_CTX_COOP;
}
