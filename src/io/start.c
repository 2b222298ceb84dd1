/* SPDX-License-Identifier: MIT */
/*
 * The beginning and the end: nothing is there until a uthread waits for the first time, and nothing is
 * left once the runtime has stopped, or in a child of fork().
 */
#include "io/io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static void harvest(uint32_t v, struct up_wakes *k)
{
	up_io_harvest(v, UP_IO_IN, k);
	up_io_harvest(v, UP_IO_OUT, k);
}

/* Nothing of our own: then one of those whose vcores look no more, another each time. */
static void harvest_left(struct up_io_set *own, struct up_wakes *k)
{
	uint32_t i, v;

	for (i = 0; i < up_io.nr_sets; i++) {
		v = (own->looks + i) % up_io.nr_sets;
		if (!up_load_relaxed(&up_io.sets[v].left))
			continue;
		harvest(v, k);
		return;
	}
}

static void look(uint32_t v)
{
	struct up_io_set *s;
	struct up_wakes k = { 0 };

	if (!up_load_acquire(&up_io.there)) /* pairs with up_io_start() */
		return;
	s = &up_io.sets[v];
	up_store_relaxed(&s->looks, s->looks + 1);
	if (up_load_relaxed(&s->left))
		up_store_relaxed(&s->left, 0);
	harvest(v, &k);
	if (!k.first)
		harvest_left(s, &k);
	if (k.first)
		up_ready_mine(k.first);
}

/* Whatever comes from now on is the listener's. */
static void leave(uint32_t v)
{
	if (!up_load_acquire(&up_io.there)) /* pairs with up_io_start() */
		return;
	/* seq_cst: before our looks at what is armed; pairs with the listener's */
	up_store_seq_cst(&up_io.sets[v].left, 1);
	up_io_arm(v, UP_IO_IN);
	up_io_arm(v, UP_IO_OUT);
}

/* A child of fork() has descriptors and memory of two moments: one that was made in between is not
 * there, or is another's. */
static bool is_set(int fd)
{
	static const char what[] = "anon_inode:[eventpoll]";
	char path[32], text[sizeof(what)];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return up_syscall3(SYS_readlink, (long)path, (long)text, sizeof(text)) ==
		       sizeof(what) - 1 &&
	       !memcmp(text, what, sizeof(what) - 1);
}

static void close_all(bool in_child)
{
	uint32_t v;
	int dir, ep;

	for (v = 0; up_io.sets && v < up_io.nr_sets; v++)
		for (dir = 0; dir < UP_IO_DIRS; dir++) {
			ep = up_io.sets[v].ep[dir];
			if (ep >= 0 && (!in_child || is_set(ep)))
				close(ep);
		}
	if (in_child)
		up_ring_close(); /* else the listener has done it */
	if (up_io.bell >= 0)
		close(up_io.bell);
	if (up_io.top >= 0)
		close(up_io.top);
	free(up_io.sets);
	up_io = (struct up_io){ .top = -1, .bell = -1 };
}

static void fini(void)
{
	if (up_io.there)
		up_listen_stop();
	close_all(false);
	up_fd_free_all();
}

static void forget(void)
{
	close_all(true);
	up_fd_free_all();
}

static const struct up_io_ops ops = {
	.look = look,
	.leave = leave,
	.fini = fini,
	.forget = forget,
};

void up_io_plug(void)
{
	up_store_release(&up_rt.io, &ops); /* pairs with the acquires of vcore context */
}

static int make(void)
{
	uint32_t v;
	int r;

	up_io.sets = aligned_alloc(UP_CACHELINE_SZ, up_rt.max_vcores * sizeof(*up_io.sets));
	if (!up_io.sets)
		return -ENOMEM;
	up_io.nr_sets = up_rt.max_vcores;
	memset(up_io.sets, 0, up_io.nr_sets * sizeof(*up_io.sets));
	for (v = 0; v < up_io.nr_sets; v++)
		up_io.sets[v].ep[UP_IO_IN] = up_io.sets[v].ep[UP_IO_OUT] = -1;
	up_io.top = (int)up_syscall1(SYS_epoll_create1, EPOLL_CLOEXEC);
	r = up_io.top < 0 ? up_io.top : up_listen_start();
	if (r)
		close_all(false);
	return r;
}

int up_io_start(void)
{
	int r = 0;

	upcall_cancel_disable();
	upcall_mutex_lock(&up_rt.io_starting);
	if (!up_io.there) {
		up_io_plug();
		r = make();
		if (!r) /* release: pairs with the acquires of who waits, and of vcore context */
			up_store_release(&up_io.there, true);
	}
	upcall_mutex_unlock(&up_rt.io_starting);
	upcall_cancel_enable();
	return r;
}
