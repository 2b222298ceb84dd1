/* SPDX-License-Identifier: MIT */
/*
 * host/act.h: activations at their gates, with a process side of a few lines: told to go late, given a
 * slot that another has not left yet, told while they are on their way to sleep.
 */
#include "apart.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/atomic.h"
#include "base/inject.h"
#include "base/syscall.h"
#include "host/act.h"

#define MAX_ACTS 4

/* At `hold` the first `left` that come by wait until they are let go. */
static struct {
	const char *hold;
	atomic_int left, held;
	atomic_bool go;
} plan;

static atomic_uint who_sleeps, sleeps; /* how often that task went to sleep at its gate */

static int on_point(unsigned nr, const char *name, void *arg)
{
	if (!strcmp(name, "port_gate_sleep") &&
	    (unsigned)up_syscall0(SYS_gettid) == atomic_load(&who_sleeps))
		atomic_fetch_add(&sleeps, 1);
	if (strcmp(name, plan.hold) || atomic_fetch_sub(&plan.left, 1) <= 0)
		return 0;
	atomic_fetch_add(&plan.held, 1);
	while (!atomic_load(&plan.go))
		up_syscall0(SYS_sched_yield);
	return 0;
}

/* Set while no thread is at a point of that name. */
static void hold_at(const char *name, int nr)
{
	CHECK(up_inject_find(name) >= 0);
	plan.hold = name;
	atomic_store(&plan.left, nr);
	up_inject_set_hook(on_point, NULL);
}

/* ---- the process side ---- */

static char vc_stack_of[64 << 10] __attribute__((aligned(64)));
static atomic_uint entries, entered_by;

static void *vc_stack(uint32_t vcore)
{
	return vc_stack_of + sizeof(vc_stack_of);
}

/* Reads its mail and gives the core back. */
static void vc_entry(void *act)
{
	struct up_act *a = act;
	struct upabi_event ev;

	atomic_fetch_add(&entries, 1);
	atomic_store(&entered_by, a->gs.tid);
	up_store_relaxed(a->gs.pending, 0);
	while (up_port_next_event(up_host.port, a->vcore, &ev))
		;
	up_arch_to_own(UP_OWN_YIELD);
}

static bool leave(struct up_act *a, uint64_t how)
{
	return true;
}

static void nothing(void)
{
}

static void start(void)
{
	unsigned i;
	const struct up_host_cfg cfg = {
		.max_vcores = 1,
		.max_acts = MAX_ACTS,
		.signo = SIGURG, /* ignored, as it is by default */
		.hooks = { .vc_stack = vc_stack, .vc_entry = vc_entry, .leave = leave },
	};

	up_arch_init(nothing, nothing, nothing, NULL);
	CHECK_INT(up_host_start(&cfg), 0);
	AWAIT(up_load_acquire(&up_host.port->info->pooled) == MAX_ACTS, sched_yield());
	for (i = 0; i < MAX_ACTS; i++) /* pooled a moment before it is found by number */
		AWAIT(up_act_get(i), sched_yield());
}

static int call(enum upabi_op op, uint64_t a0)
{
	uint64_t arg[5] = { a0 };
	uint32_t slot = up_port_outside_get(up_host.port);
	int r = up_port_call(up_host.port, slot, op, arg, NULL);

	up_port_outside_put(up_host.port, slot);
	return r;
}

static void *drop_one(void *arg)
{
	CHECK_INT(call(UPABI_OP_ACT_DEL, 1), 0);
	return arg;
}

static bool lives(uint32_t tid)
{
	return syscall(SYS_tgkill, getpid(), tid, 0) == 0;
}

/* ---- a slot and its tenants ---- */

static struct {
	uint32_t slot, tid; /* of the one that is let go of first */
	pthread_t dropper;
} old;

/* A slot that is free by the kernel side's word. */
static uint32_t free_slot(void)
{
	uint32_t i;

	for (i = 0; i < MAX_ACTS; i++)
		if (up_load_acquire(&up_host.port->amap[i].state) == UPABI_ACT_NONE)
			return i;
	return UPABI_NONE;
}

static uint32_t tenant(void)
{
	struct up_act *a = up_act_get(old.slot);

	return a ? a->gs.tid : 0;
}

/* One is let go of, and `hold` keeps it from hearing of that or from ending; another goes for good, so
 * that the keeper makes one more, which gets the first one's slot. */
static void give_slot_away(const char *hold)
{
	uint32_t tid[MAX_ACTS], i;

	for (i = 0; i < MAX_ACTS; i++)
		tid[i] = up_act_get(i)->gs.tid;
	hold_at(hold, 1);
	CHECK_INT(pthread_create(&old.dropper, NULL, drop_one, NULL), 0);
	AWAIT(atomic_load(&plan.held) == 1, sched_yield());
	old.slot = free_slot();
	CHECK(old.slot < MAX_ACTS);
	old.tid = tid[old.slot];
}

static void make_successor(void)
{
	drop_one(NULL);
	AWAIT(up_load_acquire(&up_host.living) < MAX_ACTS, sched_yield());
	up_keeper_ring();
}

static void let_go(void)
{
	atomic_store(&plan.go, true);
	CHECK_INT(pthread_join(old.dropper, NULL), 0);
}

/* The bell for the first comes when the second has the slot. */
static int late_drop(void)
{
	uint32_t next, seen;

	start();
	give_slot_away("eff_drop");
	make_successor();
	AWAIT((next = tenant()) && next != old.tid, sched_yield());
	/* It goes all the same: nobody else could tell it, since it is not to be found any more. */
	AWAIT(!lives(old.tid), sched_yield());
	AWAIT(up_load_acquire(&up_host.port->info->pooled) == MAX_ACTS, sched_yield());
	atomic_store(&who_sleeps, next);
	seen = atomic_load(&sleeps);
	let_go();
	/* The one that it is not meant for looks, and sleeps again. */
	AWAIT(atomic_load(&sleeps) != seen, sched_yield());
	CHECK_INT(tenant(), next);
	CHECK_INT(up_load_acquire(&up_host.living), MAX_ACTS);
	up_host_stop();
	return 0;
}

static struct {
	atomic_bool go;
} added;

static int hold_added(unsigned nr, const char *name, void *arg)
{
	if (!strcmp(name, "act_added"))
		while (!atomic_load(&added.go))
			up_syscall0(SYS_sched_yield);
	return on_point(nr, name, arg);
}

/* The second is started before it can be found, and the first is the one that hears the bell. */
static int start_of_the_next(void)
{
	uint32_t next;

	start();
	give_slot_away("eff_drop");
	up_inject_set_hook(hold_added, NULL);
	make_successor();
	AWAIT(up_load_acquire(&up_host.port->amap[old.slot].state) == UPABI_ACT_POOLED,
	      sched_yield());
	CHECK(!up_act_get(old.slot)); /* the first is not taken for the second */
	up_store_relaxed(&up_host.port->data->res[UPABI_RES_CORES].wanted, 1);
	CHECK_INT(call(UPABI_OP_REQUEST, 0), 0);
	CHECK_INT(up_load_acquire(&up_host.port->amap[old.slot].state), UPABI_ACT_RUNNING);
	AWAIT(!lives(old.tid), sched_yield());
	CHECK_INT(atomic_load(&entries), 0);
	atomic_store(&added.go, true);
	AWAIT(atomic_load(&entries), sched_yield());
	AWAIT((next = tenant()), sched_yield());
	CHECK_INT(atomic_load(&entered_by), next);
	AWAIT(!up_load_acquire(&up_host.port->info->num_vcores), sched_yield());
	let_go();
	up_host_stop();
	return 0;
}

/* The first has been told, and takes its time to end. */
static int late_end(void)
{
	uint32_t next;

	start();
	give_slot_away("act_ends");
	make_successor();
	AWAIT((next = tenant()) && next != old.tid, sched_yield());
	let_go();
	AWAIT(!lives(old.tid), sched_yield());
	CHECK_INT(tenant(), next);
	up_host_stop();
	return 0;
}

/* All are told while each is between its look whether it is to go and its sleep. */
static int told_on_the_way_to_sleep(void)
{
	uint32_t tid[MAX_ACTS], i;

	start();
	hold_at("act_looked", MAX_ACTS);
	for (i = 0; i < MAX_ACTS; i++) {
		tid[i] = up_act_get(i)->gs.tid;
		up_port_gate_open(up_host.port, i);
	}
	AWAIT(atomic_load(&plan.held) == MAX_ACTS, sched_yield());
	CHECK_INT(call(UPABI_OP_ACT_DEL, MAX_ACTS), 0);
	atomic_store(&plan.go, true);
	for (i = 0; i < MAX_ACTS; i++)
		AWAIT(!lives(tid[i]), sched_yield());
	up_host_stop();
	return 0;
}

static atomic_uint rung;

/* They go on when all bells have been rung. */
static int hold_until_rung(unsigned nr, const char *name, void *arg)
{
	if (!strcmp(name, "port_gate_opened") && up_load_acquire(&up_host.stopping) &&
	    atomic_fetch_add(&rung, 1) + 1 == MAX_ACTS)
		atomic_store(&plan.go, true);
	return on_point(nr, name, arg);
}

/* ... and so is the end of all. */
static int stopped_on_the_way_to_sleep(void)
{
	uint32_t i;

	start();
	hold_at("act_looked", MAX_ACTS);
	up_inject_set_hook(hold_until_rung, NULL);
	for (i = 0; i < MAX_ACTS; i++)
		up_port_gate_open(up_host.port, i);
	AWAIT(atomic_load(&plan.held) == MAX_ACTS, sched_yield());
	up_host_stop();
	CHECK_INT(atomic_load(&rung), MAX_ACTS);
	return 0;
}

static const struct apart cases[] = {
	CASE("one that is told late to go is gone, and its successor stays", late_drop),
	CASE("a successor's start is not taken for one's own", start_of_the_next),
	CASE("one that ends late leaves its successor in its place", late_end),
	CASE("one that is told on its way to sleep goes", told_on_the_way_to_sleep),
	CASE("all end that are on their way to sleep", stopped_on_the_way_to_sleep),
};

APART_MAIN(cases)
