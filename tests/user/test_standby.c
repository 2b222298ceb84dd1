/* SPDX-License-Identifier: MIT */
/*
 * Standing by ready to run: an activation that has come back takes the vcore over by itself when the
 * next one blocks, is told by one stealer alone, and does not go on asking for turns that it has no use
 * for.
 */
#include "base/atomic.h"
#include "base/inject.h"
#include "host/act.h"
#include "rt.h"
#include "user/uthread.h"

#include <sys/syscall.h>

#define ROUNDS 200

static int fds[2];
static atomic_uint by_itself, by_watcher, turns, told_busy;
static atomic_bool in_call, keep_busy, seeming;
static _Atomic(struct up_act *) made_busy;

static void *blocks(void *arg)
{
	char byte;
	unsigned i;

	for (i = 0; i < ROUNDS; i++) {
		atomic_store(&in_call, true);
		CHECK_INT(syscall(SYS_read, fds[0], &byte, 1), 1);
	}
	return arg;
}

/* Runs on the one vcore when the other has blocked, and lets it go. */
static void *lets_go(void *arg)
{
	unsigned i;

	for (i = 0; i < ROUNDS; i++) {
		AWAIT(atomic_exchange(&in_call, false), upcall_yield());
		CHECK_INT(write(fds[1], "", 1), 1);
		upcall_yield();
	}
	return arg;
}

static void block_often(void)
{
	struct upcall_uthread *u[2];

	CHECK_INT(pipe2(fds, O_CLOEXEC), 0);
	u[0] = rt_make(blocks, NULL);
	u[1] = rt_make(lets_go, NULL);
	CHECK(!rt_join(u[0]) && !rt_join(u[1]));
	close(fds[0]);
	close(fds[1]);
}

static int on_point(unsigned nr, const char *name, void *arg)
{
	if (!strcmp(name, "standby_turn"))
		atomic_fetch_add(&turns, 1);
	else if (!strcmp(name, "hand_over") && up_arch_get_gs())
		atomic_fetch_add(&by_itself, 1);
	return 0;
}

/* On a machine that gives it no turn in time the watcher is there first: as long as it takes. */
static int takes_over_by_itself(void)
{
	unsigned round;

	up_inject_set_hook(on_point, NULL);
	rt_start(1);
	for (round = 0; round < 50 && !atomic_load(&by_itself); round++)
		block_often();
	CHECK(atomic_load(&by_itself));
	CHECK(atomic_load(&turns) >= atomic_load(&by_itself));
	rt_stop();
	return 0;
}

/* However long its vcore computes: some turns when it has come back, and then it sleeps. */
static int rests_after_vain_turns(void)
{
	unsigned before, round;

	up_inject_set_hook(on_point, NULL);
	rt_start(1);
	for (round = 0; round < 50 && !atomic_load(&by_itself); round++)
		block_often();
	CHECK(atomic_load(&by_itself));
	before = atomic_load(&turns);
	rt_spin_ns(400 * MS);
	CHECK(atomic_load(&turns) - before <= 32);
	rt_stop();
	return 0;
}

/* Who was to be told, and sleeps at its gate, is taken for one that has left it: it is told nothing, and
 * the vcore is found by the next look. */
static int on_steal(unsigned nr, const char *name, void *arg)
{
	struct up_act *b = atomic_load(&made_busy);
	uint32_t standby;

	if (!atomic_load(&keep_busy))
		return 0;
	if (!strcmp(name, "about_to_steal") && !b) {
		standby = up_load_acquire(&up_host.port->vmap[0].standby);
		b = up_act_get(standby);
		if (b && !up_load_relaxed(&b->ready) && !up_load_relaxed(&b->takeover)) {
			up_store_release(&b->takeover, UP_TAKEOVER_BUSY);
			atomic_store(&made_busy, b);
		}
	} else if (!strcmp(name, "hand_over") && b) {
		atomic_fetch_add(&told_busy, 1);
	} else if (!strcmp(name, "watch_looks") && b) {
		atomic_store(&made_busy, NULL);
		up_store_release(&b->takeover, UP_TAKEOVER_NONE);
		atomic_store(&keep_busy, false);
	}
	return 0;
}

static int told_by_one_alone(void)
{
	unsigned i;

	atomic_store(&keep_busy, true);
	up_inject_set_hook(on_steal, NULL);
	/* The first block of a life finds nobody ready to run. */
	for (i = 0; i < 20 && atomic_load(&keep_busy); i++) {
		rt_start(1);
		block_often();
		AWAIT(up_rt.port->info->nr_blocked == up_rt.port->info->nr_unblocked,
		      upcall_yield());
		rt_stop();
	}
	CHECK(!atomic_load(&keep_busy));
	CHECK_INT(atomic_load(&told_busy), 0);
	return 0;
}

/* Whoever is to block next finds one standing by that says it is ready, and sleeps. */
static int on_seeming(unsigned nr, const char *name, void *arg)
{
	struct up_act *b;

	if (!atomic_load(&seeming))
		return 0;
	b = up_act_get(up_load_acquire(&up_host.port->vmap[0].standby));
	if (!strcmp(name, "act_looked") && b)
		up_store_relaxed(&b->ready, 1);
	else if (!strcmp(name, "hand_over") && gettid() == up_host.watch[0].tid)
		atomic_fetch_add(&by_watcher, 1);
	return 0;
}

static int watcher_looks_all_the_same(void)
{
	unsigned round;

	CHECK(up_inject_find("act_looked") >= 0);
	up_inject_set_hook(on_seeming, NULL);
	for (round = 0; round < 20 && !atomic_load(&by_watcher); round++) {
		rt_start(1);
		atomic_store(&seeming, true);
		block_often();
		atomic_store(&seeming, false);
		rt_stop();
	}
	CHECK(atomic_load(&by_watcher));
	return 0;
}

static const struct apart cases[] = {
	CASE("the watcher looks where one only seems to be ready", watcher_looks_all_the_same),
	CASE("one that came back takes the vcore over by itself", takes_over_by_itself),
	CASE("it rests after some turns in vain", rests_after_vain_turns),
	CASE("one that has left its gate is not told", told_by_one_alone),
};

APART_MAIN(cases)
