/* SPDX-License-Identifier: MIT */
/*
 * The listener: a kernel thread that sleeps until a set has something to tell, and looks there in the
 * vcore's stead.  A vcore looks by itself whenever it has nothing to run, which costs less; so a set whose
 * vcore does that is left alone for a moment before the listener is told of it again.  One whose vcore has
 * left its core, or runs one uthread all the time, is looked at each time.
 *
 * It takes no lock but those of queues, allocates nothing, and is in no call that could wait for
 * somebody of the program's.
 */
#include "io/io.h"

#include <errno.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "host/task.h"

/* What has told is left to the vcores for so long. */
#define REST_NS	     UP_NSEC_PER_MSEC
#define REST_MOST_NS (8 * UP_NSEC_PER_MSEC)
#define BATCH	     16
#define BELL	     UINT64_MAX

static struct {
	pthread_t thread;
	bool quit;	   /* atomic */
	uint64_t rest_ns;  /* sets that have told are asked again then; 0: all have been */
	uint64_t rest_for; /* so long, since last time */
} listener;

void up_listen_ring(void)
{
	uint64_t one = 1;

	up_syscall3(SYS_write, up_io.bell, (long)&one, sizeof(one));
}

/* Has its vcore looked since we were told last, and not left since? */
static bool looks_itself(struct up_io_set *s)
{
	uint32_t looks = up_load_relaxed(&s->looks), seen = s->seen;

	s->seen = looks;
	/* seq_cst: behind what look() has done to the set; pairs with leave() */
	return looks != seen && !up_load_seq_cst(&s->left);
}

/* All sets are armed in a moment. */
static void rest(void)
{
	if (listener.rest_ns)
		return;
	listener.rest_for = REST_NS;
	listener.rest_ns = up_now_ns() + REST_NS;
}

/* The moment is over: longer and longer while those whose sets are not armed look by themselves. */
static void end_rest(uint64_t now)
{
	bool longer = false;
	uint32_t v;

	for (v = 0; v < up_io.nr_sets; v++)
		if (looks_itself(&up_io.sets[v])) {
			longer = true;
		} else {
			up_io_arm(v, UP_IO_IN);
			up_io_arm(v, UP_IO_OUT);
		}
	listener.rest_for = UP_MIN(2 * listener.rest_for, REST_MOST_NS);
	listener.rest_ns = longer ? now + listener.rest_for : 0;
}

/* Told of a set.  All of what it has, and then the next, unless its vcore looks by itself: that one has
 * a moment.  Whoever has left meanwhile, and found the set armed, is seen to have. */
static void look(uint64_t name, struct up_wakes *k)
{
	uint32_t set = (uint32_t)(name >> 1);
	enum up_io_dir dir = (enum up_io_dir)(name & 1);
	struct up_io_set *s = &up_io.sets[set];

	up_xchg_seq_cst(&s->armed[dir], 0); /* before the look at `left` */
	if (looks_itself(s)) {
		rest();
		return;
	}
	while (up_io_harvest(set, dir, k))
		;
	if (!UP_MUT(io_listener_told_once))
		up_io_arm(set, dir);
}

/* In milliseconds, as Linux wants it here: -1 for ever. */
static int patience(bool soon)
{
	uint64_t now;

	if (soon)
		return 1;
	if (!listener.rest_ns)
		return -1;
	now = up_now_ns();
	return listener.rest_ns <= now
		       ? 0
		       : (int)((listener.rest_ns - now + UP_NSEC_PER_MSEC - 1) / UP_NSEC_PER_MSEC);
}

static void *listen_main(void *arg)
{
	struct epoll_event ev[BATCH];
	struct up_wakes k = { 0 };
	uint64_t all = UINT64_MAX;
	bool rung = false;
	uint64_t now;
	long nr, i;

	up_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, 0, sizeof(all));
	up_task_slice(0, UP_SLICE_HELPER);
	pthread_setname_np(pthread_self(), "upcall-listen");
	up_ring_open();
	while (!up_load_acquire(&listener.quit)) {
		nr = up_syscall6(SYS_epoll_pwait, up_io.top, (long)ev, BATCH, patience(rung), 0, 0);
		UP_INJECT(io_listener_told);
		for (i = 0; i < nr; i++)
			if (ev[i].data.u64 != BELL)
				look(ev[i].data.u64, &k);
			else
				rung = true;
		rung = rung && up_ring_turn(&k);
		if (UP_UNLIKELY(up_load_relaxed(&up_io.unarmed))) {
			up_store_relaxed(&up_io.unarmed, 0);
			rest();
		}
		if (k.first)
			up_wakes_run(&k);
		now = up_now_ns();
		if (listener.rest_ns && now >= listener.rest_ns)
			end_rest(now);
	}
	up_ring_close();
	return NULL;
}

int up_listen_start(void)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.u64 = BELL };
	int r;

	up_store_relaxed(&listener.quit, false);
	listener.rest_ns = 0;
	up_io.bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (up_io.bell < 0)
		return -errno;
	r = (int)up_syscall4(SYS_epoll_ctl, up_io.top, EPOLL_CTL_ADD, up_io.bell, (long)&ev);
	if (r)
		return r;
	r = UP_INJECT_FAIL(io_listener)
		    ? EAGAIN
		    : up_thread_create(&listener.thread, NULL, listen_main, NULL);
	return -r;
}

void up_listen_stop(void)
{
	up_store_release(&listener.quit, true); /* pairs with listen_main() */
	up_listen_ring();
	pthread_join(listener.thread, NULL);
}
