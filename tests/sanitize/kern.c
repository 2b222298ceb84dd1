/* SPDX-License-Identifier: MIT */
/*
 * The kernel side and the boundary's words with threads that really run at once: plain pthreads play
 * activations, and the machine adds and takes cores. For ThreadSanitizer above all, which sees all that
 * this is made of; in an ordinary build it asks for the invariants and that nothing is lost. An
 * argument is how many times as many steps.
 */
#include <pthread.h>
#include <stdlib.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/clock.h"
#include "host/embed.h"
#include "tap.h"

#define ACTS  6
#define CORES 3
#define STEPS 3000

static struct up_embed *embed;
static struct up_port *port;
static uint64_t starts, yields, events, refused, ticks;
static uint32_t over;

static void on_start(void *arg, const struct up_effect *e)
{
	up_fetch_add_relaxed(&starts, 1);
	up_port_gate_open(port, e->act);
	up_embed_effect_done(embed, e->id, 0);
}

static void on_deadline(void *arg, uint64_t deadline_ns)
{
}

static const struct up_embed_ops ops = { .start = on_start, .deadline = on_deadline };

static int call_outside(enum upabi_op op, const uint64_t arg[5], uint64_t *ret_val)
{
	uint32_t slot = up_port_outside_get(port);
	int r = up_port_call(port, slot, op, arg, ret_val);

	up_port_outside_put(port, slot);
	return r;
}

/* On a vcore: what came for it, then the core goes back; refused while there is more for it. */
static void run_vcore(uint32_t act, uint32_t v)
{
	uint64_t arg[5] = { v };
	struct upabi_event ev;

	up_store_relaxed(&port->vc[v].notif_disabled, 1);
	do {
		up_xchg_seq_cst(&port->vc[v].notif_pending, 0);
		while (up_port_next_event(port, v, &ev))
			up_fetch_add_relaxed(&events, 1);
		if (up_load_acquire(&port->vmap[v].flags) & UPABI_VMF_TAKE) {
			up_port_call(port, act, UPABI_OP_PREEMPTED, arg, NULL);
			return;
		}
	} while (up_port_call(port, act, UPABI_OP_YIELD, arg, NULL));
	up_fetch_add_relaxed(&yields, 1);
}

static void ask(unsigned *seed)
{
	uint64_t notify[5] = { 0, UPABI_EV_USER, UPABI_NONE, 1, 2 }, none[5] = { 0 };
	uint64_t preempt[5] = { UPABI_NONE, 20 * UP_NSEC_PER_USEC };

	switch (rand_r(seed) % 8) {
	case 0:
		call_outside(UPABI_OP_PREEMPT, preempt, NULL);
		break;
	case 1:
	case 2:
	case 3:
		if (call_outside(UPABI_OP_NOTIFY, notify, NULL))
			up_fetch_add_relaxed(&refused, 1);
		break;
	default:
		up_store_relaxed(&port->data->res[UPABI_RES_CORES].wanted,
				 1 + (uint32_t)rand_r(seed) % CORES);
		if (call_outside(UPABI_OP_REQUEST, none, NULL))
			up_fetch_add_relaxed(&refused, 1);
	}
}

static void *act_main(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	uint64_t add[5] = { 1000 + seed }, num = 0;
	uint32_t seen = 0, now;

	if (call_outside(UPABI_OP_ACT_ADD, add, &num))
		tap_bail("no activation");
	while (!up_load_relaxed(&over)) {
		/* acquire: pairs with the kernel side's release of a start: state and vcore are set */
		now = up_load_acquire(&port->amap[num].starts);
		if (now == seen) {
			ask(&seed);
			continue;
		}
		seen = now;
		if (up_load_relaxed(&port->amap[num].state) == UPABI_ACT_RUNNING)
			run_vcore((uint32_t)num, up_load_relaxed(&port->amap[num].vcore));
	}
	return NULL;
}

static bool is_short(void)
{
	return up_load_relaxed(&yields) < 100 || up_load_relaxed(&events) < 100;
}

static void *machine_main(void *arg)
{
	unsigned seed = 77;
	long step, nr = (long)arg;

	uint64_t until = up_now_ns() + 30 * UP_NSEC_PER_SEC;

	/* And until the others have had their turns, on a machine that is busy. */
	for (step = 0; step < nr || (is_short() && up_now_ns() < until); step++) {
		uint32_t core = (uint32_t)rand_r(&seed) % CORES;

		if (rand_r(&seed) % 2)
			up_embed_core_add(embed, core);
		else
			up_embed_core_remove(embed, core,
					     up_now_ns() + 50 * UP_NSEC_PER_USEC);
		up_embed_tick(embed);
		ticks++;
	}
	up_store_relaxed(&over, 1);
	return NULL;
}

int main(int argc, char **argv)
{
	const struct up_embed_cfg cfg = { .max_pcores = CORES,
					  .max_vcores = CORES,
					  .max_acts = 16,
					  .grace_ns = UP_NSEC_PER_MSEC,
					  .ops = &ops };
	long steps = STEPS * (argc > 1 ? atol(argv[1]) : 1);
	pthread_t act[ACTS], machine;
	uintptr_t i;

	tap_plan(3);
	if (up_embed_create(&cfg, &embed))
		tap_bail("no kernel side");
	port = up_embed_port(embed);
	for (i = 0; i < ACTS; i++)
		pthread_create(&act[i], NULL, act_main, (void *)(i + 1));
	pthread_create(&machine, NULL, machine_main, (void *)steps);
	pthread_join(machine, NULL);
	for (i = 0; i < ACTS; i++)
		pthread_join(act[i], NULL);
	tap_note("%lu steps, %lu starts, %lu yields, %lu events, %lu refused", ticks, starts, yields,
		 events, refused);
	tap_ok(starts > 10 && yields > 10, "vcores were started and gave their cores back");
	tap_ok(events > 10, "events arrived");
	tap_ok(!up_embed_check(embed), "the kernel side's record is whole");
	up_embed_destroy(embed);
	return tap_done();
}
