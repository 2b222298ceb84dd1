/* SPDX-License-Identifier: MIT */
/*
 * Waiting until a descriptor may be ready.  See io.h.
 *
 * Each wait has a set tell of the descriptor once (EPOLLONESHOT), which looks by itself whether it is
 * ready already: so nothing that was ready before is missed, nobody is told of what nobody waits for,
 * and what has the number by now is what Linux is asked about, whoever closed the one before.  Where
 * several wait, one is woken, and the set is asked again for the next.
 *
 * It promises no more than a look: who is woken tries again, and may find that another came first.
 */
#include "io/io.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "arch/arch.h"

/* Told of at once by one call; they lie on a transition stack. */
#define BATCH 32
/* In place of a descriptor: nobody waits for it, but the vcore is to wake. */
#define WAKES UINT64_MAX

struct up_io up_io = { .top = -1, .bell = -1 };

static long ctl(int ep, int op, int fd, struct epoll_event *ev)
{
	return up_syscall4(SYS_epoll_ctl, ep, op, fd, (long)ev);
}

/* ---- the sets ---- */

/* Set and direction, as the listener hears of them. */
static uint64_t name_of(uint32_t set, enum up_io_dir dir)
{
	return (uint64_t)set << 1 | (uint64_t)dir;
}

void up_io_arm(uint32_t set, enum up_io_dir dir)
{
	struct up_io_set *s = &up_io.sets[set];
	struct epoll_event ev = { .events = EPOLLIN | EPOLLONESHOT, .data.u64 = name_of(set, dir) };
	int ep = up_load_acquire(&s->ep[dir]); /* pairs with open_set() */

	if (ep < 0 || up_load_relaxed(&s->armed[dir]) || up_xchg_acq_rel(&s->armed[dir], 1))
		return;
	if (UP_LIKELY(!ctl(up_io.top, EPOLL_CTL_MOD, ep, &ev)))
		return;
	up_store_relaxed(&s->armed[dir], 0);
	up_store_release(&up_io.unarmed, 1); /* the listener tries again in a moment */
	up_listen_ring();
}

static long add(int ep, int fd, uint32_t events, uint64_t name)
{
	struct epoll_event ev = { .events = events, .data.u64 = name };

	return ctl(ep, EPOLL_CTL_ADD, fd, &ev);
}

static int open_set(uint32_t v, enum up_io_dir dir);

/* Into the set in which its vcore sleeps, so that this wakes it. */
static long wakes_vcore(uint32_t v, int ep, enum up_io_dir dir)
{
	int kick, none = -1;
	long r;

	if (dir == UP_IO_OUT) {
		kick = open_set(v, UP_IO_IN);
		return kick < 0 ? kick : add(kick, ep, EPOLLIN | EPOLLET, WAKES);
	}
	kick = (int)up_syscall2(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = kick < 0 ? kick : add(ep, kick, EPOLLIN | EPOLLET, WAKES);
	if (!r && up_cas_acq_rel(&up_io.sets[v].kick, &none, kick))
		return 0;
	if (kick >= 0)
		up_syscall1(SYS_close, kick);
	return r;
}

/* The vcore's set, made when somebody waits there first. */
static int open_set(uint32_t v, enum up_io_dir dir)
{
	struct up_io_set *s = &up_io.sets[v];
	int ep = up_load_acquire(&s->ep[dir]), none = -1, made;
	long r;

	if (UP_LIKELY(ep >= 0))
		return ep;
	made = (int)up_syscall1(SYS_epoll_create1, EPOLL_CLOEXEC);
	if (made < 0)
		return made;
	r = wakes_vcore(v, made, dir);
	if (!r)
		r = add(up_io.top, made, EPOLLIN | EPOLLONESHOT, name_of(v, dir));
	/* release: it is in the set of sets, armed from the beginning */
	if (!r && up_cas_acq_rel(&s->ep[dir], &none, made)) {
		if (dir == UP_IO_IN)
			up_store_relaxed(&up_rt.vcores[v].kick_fd, s->kick);
		return made;
	}
	up_syscall1(SYS_close, made); /* refused, or another was faster */
	return r < 0 ? (int)r : none;
}

/* ---- asking to be told ---- */

static struct epoll_event event_of(int fd, enum up_io_dir dir)
{
	uint32_t what = dir == UP_IO_IN ? EPOLLIN | EPOLLRDHUP : EPOLLOUT;

	return (struct epoll_event){ .events = what | EPOLLONESHOT, .data.u64 = (uint32_t)fd };
}

/* Into the set of the vcore that we are on, from whichever it was in. */
static long tell_here(int fd, struct up_fd_side *s, enum up_io_dir dir)
{
	struct epoll_event ev = event_of(fd, dir);
	uint32_t v = up_load_relaxed(&up_act_self_vc()->vcore);
	int ep = open_set(v, dir);
	long r;

	if (ep < 0)
		return ep;
	r = ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	if (r == -EEXIST) /* two at once */
		r = ctl(ep, EPOLL_CTL_MOD, fd, &ev);
	if (!r)
		up_store_relaxed(&s->set, (uint16_t)(v + 1));
	return r;
}

static long tell_again(uint32_t set, int fd, enum up_io_dir dir)
{
	struct epoll_event ev = event_of(fd, dir);

	return ctl(up_load_relaxed(&up_io.sets[set].ep[dir]), EPOLL_CTL_MOD, fd, &ev);
}

/* The set whose vcore looks no more lets it go, since ours does look. */
static void leave_set(uint32_t set, int fd, enum up_io_dir dir)
{
	ctl(up_load_relaxed(&up_io.sets[set].ep[dir]), EPOLL_CTL_DEL, fd, NULL);
}

/* Each time, for the number may be another's by now, of which no set knows. */
static long tell(int fd, struct up_fd_side *s, enum up_io_dir dir)
{
	uint32_t set = up_load_relaxed(&s->set);
	long r = -ENOENT;

	if (set && up_load_relaxed(&up_io.sets[set - 1].left))
		leave_set(set - 1, fd, dir);
	else if (set)
		r = tell_again(set - 1, fd, dir);
	if (r == -ENOENT) {
		up_section_enter(); /* a vcore's number holds while we are not moved */
		r = tell_here(fd, s, dir);
		up_section_leave();
	}
	return r;
}

/* Who is woken asks Linux itself what is wrong. */
static void wake_all(struct up_fd_side *s)
{
	struct up_wakes k = { 0 };

	up_guard(&s->guard);
	up_waitq_wake_all(&s->waiters, &k);
	up_unguard(&s->guard, &k);
}

void up_io_wake_all(int fd)
{
	struct up_fd *f = up_fd_find(fd);
	int dir;

	for (dir = 0; f && dir < UP_IO_DIRS; dir++)
		wake_all(&f->side[dir]);
}

/* ---- being told ---- */

static void told(uint32_t set, int fd, enum up_io_dir dir, struct up_wakes *k)
{
	struct up_fd_side *s = &up_fd_find(fd)->side[dir];
	bool again;

	up_guard(&s->guard);
	up_waitq_wake(&s->waiters, k);
	again = s->waiters.first != NULL && !UP_MUT(io_next_not_told);
	up_unguard(&s->guard, NULL);
	if (again && tell_again(set, fd, dir) < 0)
		wake_all(s);
}

static bool gather(uint32_t set, enum up_io_dir dir, int ms, struct up_wakes *k)
{
	struct epoll_event ev[BATCH];
	int ep = up_load_acquire(&up_io.sets[set].ep[dir]); /* pairs with open_set() */
	long nr, i;

	if (ep < 0)
		return false;
	nr = up_syscall6(SYS_epoll_pwait, ep, (long)ev, BATCH, ms, 0, 0);
	for (i = 0; i < nr; i++)
		if (ev[i].data.u64 != WAKES)
			told(set, (int)ev[i].data.u64, dir, k);
	return nr == BATCH;
}

bool up_io_harvest(uint32_t set, enum up_io_dir dir, struct up_wakes *k)
{
	return gather(set, dir, 0, k);
}

bool up_io_nap(uint32_t set, int ms, struct up_wakes *k)
{
	return gather(set, UP_IO_IN, ms, k);
}

/* ---- waiting ---- */

static void dequeue(struct up_io_wanted *x)
{
	up_guard(&x->side->guard);
	if (!UP_MUT(io_leaver_left_queued))
		up_waitq_remove(&x->side->waiters, &x->w);
	up_unguard(&x->side->guard, NULL);
}

/* In the queue first, so that whoever is told finds us there. */
static int enqueue(struct up_io_wanted *x)
{
	long r;

	up_guard(&x->side->guard);
	up_waitq_push(&x->side->waiters, &x->w);
	up_unguard(&x->side->guard, NULL);
	UP_INJECT(io_queued);
	r = tell(x->fd, x->side, x->dir);
	if (UP_UNLIKELY(r < 0))
		wake_all(x->side); /* who was queued behind another's asking looks for itself too */
	return (int)r;
}

static int prepare(struct up_io_wanted *x, unsigned nr)
{
	enum up_wait_kind kind = x->dir == UP_IO_IN ? UP_WAIT_IN : UP_WAIT_OUT;
	struct up_fd *f;
	unsigned i;
	int r = up_load_acquire(&up_io.there) ? 0 : up_io_start();

	if (!r)
		r = up_wait_begin(&x->w, kind, (void *)(intptr_t)x->fd);
	for (i = 0; i < nr && !r; i++) {
		f = up_fd_get(x[i].fd);
		x[i].w = x->w;
		if (f)
			x[i].side = &f->side[x[i].dir];
		else
			r = -ENOMEM;
	}
	return r;
}

int up_io_wait_any(struct up_io_wanted *x, unsigned nr, uint64_t until)
{
	int r = prepare(x, nr);
	unsigned i;

	if (r < 0)
		return r;
	for (i = 0; i < nr && !r; i++)
		r = enqueue(&x[i]);
	nr = i;
	if (!r)
		r = up_wait(&x->w, until);
	for (i = 0; i < nr; i++)
		if (r || nr > 1) /* who was woken for one has been taken from there */
			dequeue(&x[i]);
	return r;
}

int up_io_wait(int fd, enum up_io_dir dir)
{
	struct up_io_wanted x = { .fd = fd, .dir = dir };
	uint64_t until = ((struct up_uthread *)up_gs_uthread())->wait.io_until;

	return up_io_wait_any(&x, 1, until ? until : UP_FOREVER);
}
