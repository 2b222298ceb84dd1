/* SPDX-License-Identifier: MIT */
/*
 * The beginning and the end: nothing is there until a uthread waits for the first time, and nothing is
 * left once the runtime has stopped, or in a child of fork().
 */
#include "io/io.h"

#include <errno.h>
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
	struct up_io_set *s = &up_io.sets[v];
	struct up_wakes k = { 0 };

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
	/* seq_cst: before our looks at what is armed; pairs with the listener's */
	up_store_seq_cst(&up_io.sets[v].left, 1);
	up_io_arm(v, UP_IO_IN);
	up_io_arm(v, UP_IO_OUT);
}

static void close_all(void)
{
	uint32_t v;
	int dir;

	for (v = 0; up_io.sets && v < up_io.nr_sets; v++)
		for (dir = 0; dir < UP_IO_DIRS; dir++)
			if (up_io.sets[v].ep[dir] >= 0)
				close(up_io.sets[v].ep[dir]);
	if (up_io.bell >= 0)
		close(up_io.bell);
	if (up_io.top >= 0)
		close(up_io.top);
	free(up_io.sets);
	up_fd_free_all();
	up_io = (struct up_io){ .top = -1, .bell = -1 };
}

static void fini(void)
{
	up_listen_stop();
	close_all();
}

static const struct up_io_ops ops = {
	.look = look,
	.leave = leave,
	.fini = fini,
	.forget = close_all,
};

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
	up_io.top = epoll_create1(EPOLL_CLOEXEC);
	r = up_io.top < 0 ? -errno : up_listen_start();
	if (r)
		close_all();
	return r;
}

int up_io_start(void)
{
	int r = 0;

	upcall_cancel_disable();
	upcall_mutex_lock(&up_rt.io_starting);
	if (!up_rt.io) {
		r = make();
		if (!r) /* release: pairs with the acquires of who waits, and of vcore context */
			up_store_release(&up_rt.io, &ops);
	}
	upcall_mutex_unlock(&up_rt.io_starting);
	upcall_cancel_enable();
	return r;
}
