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

/* A vcore that has nothing to run keeps its core for so long. */
#define NAP_MS 1

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

/* As those do that look. */
static struct up_io_set *note_look(uint32_t v)
{
	struct up_io_set *s;

	if (!up_load_acquire(&up_io.there)) /* pairs with up_io_start() */
		return NULL;
	s = &up_io.sets[v];
	up_store_relaxed(&s->looks, s->looks + 1);
	if (up_load_relaxed(&s->left))
		up_store_relaxed(&s->left, 0);
	return s;
}

static void look(uint32_t v)
{
	struct up_io_set *s = note_look(v);
	struct up_wakes k = { 0 };

	if (!s)
		return;
	harvest(v, &k);
	if (!k.first)
		harvest_left(s, &k);
	if (k.first)
		up_ready_mine(k.first);
}

static bool nap(uint32_t v)
{
	struct up_wakes k = { 0 };

	if (!note_look(v) || up_load_acquire(&up_io.sets[v].ep[UP_IO_IN]) < 0)
		return false;
	up_io_nap(v, NAP_MS, &k);
	up_io_harvest(v, UP_IO_OUT, &k);
	if (k.first)
		up_ready_mine(k.first);
	return true;
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
static bool is_ours(int fd, const char *what)
{
	char path[32], text[32];
	size_t sz = strlen(what);

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return up_syscall3(SYS_readlink, (long)path, (long)text, sizeof(text)) == (long)sz &&
	       !memcmp(text, what, sz);
}

static void close_one(int fd, const char *what, bool in_child)
{
	if (fd >= 0 && (!in_child || is_ours(fd, what)))
		close(fd);
}

static void close_all(bool in_child)
{
	uint32_t v;

	for (v = 0; up_io.sets && v < up_io.nr_sets; v++) {
		close_one(up_io.sets[v].ep[UP_IO_IN], "anon_inode:[eventpoll]", in_child);
		close_one(up_io.sets[v].ep[UP_IO_OUT], "anon_inode:[eventpoll]", in_child);
		close_one(up_io.sets[v].kick, "anon_inode:[eventfd]", in_child);
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

static void stop(void)
{
	if (up_io.there)
		up_listen_stop();
}

static void fini(void)
{
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
	.sleep = nap,
	.leave = leave,
	.stop = stop,
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
	for (v = 0; v < up_io.nr_sets; v++)
		up_io.sets[v] =
			(struct up_io_set){ .ep = { -1, -1 }, .kick = -1, .armed = { 1, 1 } };
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
