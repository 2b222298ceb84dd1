/* SPDX-License-Identifier: MIT */
/*
 * The protocol, a scenario a promise. Each runs against any side; what may happen at any time
 * (spurious events and notifications, a start that failed and came again) is allowed for.
 */
#include "gate3.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MS UP_NSEC_PER_MSEC

/* Must be so now; must become so. */
#define MUST(cond)                                                  \
	do {                                                        \
		if (!(cond)) {                                      \
			g3_fail(g, "line %d: %s", __LINE__, #cond); \
			return;                                     \
		}                                                   \
	} while (0)
#define EVENTUALLY(cond)                                                                        \
	do {                                                                                    \
		if (!G3_UNTIL(g, cond)) {                                                       \
			g3_fail(g, "line %d: never %s (state %u, %u online, %u run)", __LINE__, \
				#cond, g->port->info->state, g->port->info->num_vcores,         \
				g3_running(g));                                                 \
			return;                                                                 \
		}                                                                               \
	} while (0)
#define IS(call, want)                                                                       \
	do {                                                                                 \
		int is_ = (call);                                                            \
		if (is_ != (want)) {                                                         \
			g3_fail(g, "line %d: %s is %d, not %d", __LINE__, #call, is_, want); \
			return;                                                              \
		}                                                                            \
	} while (0)
#define DO(call)                  \
	do {                      \
		call;             \
		if (g->broken[0]) \
			return;   \
	} while (0)

static uint32_t state(struct g3 *g)
{
	return up_load_acquire(&g->port->info->state);
}

static uint32_t online(struct g3 *g)
{
	return up_load_acquire(&g->port->info->num_vcores);
}

static const struct upabi_vcoremap *vm(struct g3 *g, uint32_t vcore)
{
	return &g->port->vmap[vcore];
}

static uint64_t count(const uint64_t *word)
{
	return up_load_acquire(word);
}

/* From RUNNING_S: so many activations more than cores, and that many cores. */
static void go(struct g3 *g, uint32_t cores, uint32_t spare)
{
	for (uint32_t i = 0; i < cores + spare; i++)
		MUST(g3_act_new(g));
	IS(g3_request(g, NULL, cores, 1), 0);
	EVENTUALLY(g3_settled(g, cores));
}

static void request(struct g3 *g, uint64_t cores)
{
	/* From a thread that is no activation. */
	IS(g3_request(g, NULL, cores, 1), 0);
}

/* A yield may be sent back for one more look; spurious wake-ups may make it so again. */
static void yield(struct g3 *g, uint32_t vcore)
{
	int ret = -EAGAIN;

	for (int i = 0; ret == -EAGAIN && i < 20; i++)
		ret = g3_tell(g3_on(g, vcore), UPABI_OP_YIELD, vcore, 0, 0, 0);
	IS(ret, 0);
}

static void created_and_run(struct g3 *g)
{
	const struct upabi_procinfo *i = g->port->info;

	MUST(state(g) == UPABI_RUNNING_S && online(g) == 0);
	MUST(i->max_vcores == g->cfg.vcores && i->max_acts == g->cfg.acts && i->pid != 0);
	MUST(i->s_vcore == 0 && i->nr_events == UPABI_EV_DYNAMIC);
	MUST(count(&i->res[UPABI_RES_CORES].granted) == 0);
	for (uint32_t v = 0; v < g->cfg.vcores; v++)
		MUST(!vm(g, v)->valid);
}

static void cores_are_granted(struct g3 *g)
{
	uint32_t seen = 0;

	DO(go(g, 3, 1));
	MUST(state(g) == UPABI_RUNNING_M);
	MUST(count(&g->port->info->res[UPABI_RES_CORES].granted) == 3);
	EVENTUALLY(g3_got(g, UPABI_EV_VCORE_GRANTED) >= 3);
	for (uint32_t v = 0; v < 3; v++) {
		uint32_t pcore = vm(g, v)->pcore;

		MUST(vm(g, v)->valid && pcore < G3_PCORES && !(seen >> pcore & 1));
		MUST(g->port->pmap[pcore].valid && g->port->pmap[pcore].vcore == v);
		seen |= 1u << pcore;
	}
	/* More than there is: what there is. */
	DO(request(g, 8));
	EVENTUALLY(online(g) == 4);
	DO(request(g, 4));
}

static void last_yield_waits_and_an_event_wakes(struct g3 *g)
{
	const uint64_t user[5] = { 0, UPABI_EV_USER, UPABI_NONE, 77, 78 };

	DO(go(g, 2, 1));
	DO(yield(g, 1));
	EVENTUALLY(g3_settled(g, 1));
	DO(yield(g, 0));
	EVENTUALLY(state(g) == UPABI_WAITING && g3_running(g) == 0);
	IS(g3_call5(g, UPABI_OP_NOTIFY, user, NULL), 0);
	EVENTUALLY(g3_settled(g, 1) && g3_got(g, UPABI_EV_USER) >= 1);
	MUST(g->last[UPABI_EV_USER].val == 77 && g->last[UPABI_EV_USER].aux == 78);
	MUST(state(g) == UPABI_RUNNING_M);
}

static void holes_are_filled(struct g3 *g)
{
	DO(go(g, 3, 1));
	DO(yield(g, 1));
	EVENTUALLY(g3_settled(g, 2));
	MUST(vm(g, 0)->valid && !vm(g, 1)->valid && vm(g, 2)->valid);
	DO(request(g, 3));
	EVENTUALLY(g3_settled(g, 3));
	MUST(vm(g, 1)->valid);
}

static void nice_yields_are_for_the_warned(struct g3 *g)
{
	uint64_t taken;

	DO(go(g, 2, 1));
	IS(g3_tell(g3_on(g, 1), UPABI_OP_YIELD, 1, 1, 0, 0), -ECANCELED);
	MUST(online(g) == 2);
	taken = count(&g->port->info->nr_preempts);
	up_store_relaxed(&g->leave_when_warned, 1);
	IS(g3_call(g, UPABI_OP_PREEMPT, 1, 5000 * MS, 0, NULL), 0);
	EVENTUALLY(g3_got(g, UPABI_EV_PREEMPT_PENDING) >= 1);
	/* It leaves by itself and comes again, for it is still wanted. */
	EVENTUALLY(g3_settled(g, 2) && !count(&vm(g, 1)->preempt_pending));
	EVENTUALLY(g3_got(g, UPABI_EV_VCORE_GRANTED) + g3_got(g, UPABI_EV_VCORE_RETURNED) >= 3);
	if (!g->side->virtual_time)
		MUST(count(&g->port->info->nr_preempts) == taken);
}

static void a_deadline_takes(struct g3 *g)
{
	DO(go(g, 2, 1));
	IS(g3_call(g, UPABI_OP_PREEMPT, 1, 2 * MS, 0, NULL), 0);
	EVENTUALLY(vm(g, 1)->preempts_done >= 1);
	EVENTUALLY(g3_got(g, UPABI_EV_VCORE_PREEMPTED) >= 1);
	EVENTUALLY(g3_settled(g, 2) && g3_got(g, UPABI_EV_VCORE_RETURNED) >= 1);
	MUST(vm(g, 1)->preempts_sent == vm(g, 1)->preempts_done);
	MUST(count(&g->port->info->nr_preempts) >= 1);
	IS(g3_call(g, UPABI_OP_PREEMPT, 7, MS, 0, NULL), -ESRCH);
	IS(g3_call(g, UPABI_OP_PREEMPT, 99, MS, 0, NULL), -EINVAL);
}

static void taken_in_vcore_context_it_starts_there_again(struct g3 *g)
{
	uint32_t act;

	DO(go(g, 2, 2));
	up_store_relaxed(&g->freeze_when_taken, 1);
	act = vm(g, 1)->act;
	IS(g3_call(g, UPABI_OP_PREEMPT, 1, 0, 0, NULL), 0);
	EVENTUALLY(g3_got(g, UPABI_EV_VCORE_PREEMPTED) >= 1);
	EVENTUALLY(g3_settled(g, 2));
	if (!g->side->virtual_time) { /* there a start may fail, and somebody else comes */
		MUST(vm(g, 1)->act == act);
		MUST(g->last[UPABI_EV_VCORE_PREEMPTED].val == 1);
	}
}

static void who_ignores_its_warnings_loses_the_core(struct g3 *g)
{
	DO(go(g, 2, 2));
	up_store_relaxed(&g->ignore_takes, 1);
	IS(g3_call(g, UPABI_OP_PREEMPT, 1, MS, 0, NULL), 0);
	EVENTUALLY(vm(g, 1)->preempts_done >= 1);
	up_store_relaxed(&g->ignore_takes, 0);
	EVENTUALLY(g3_settled(g, 2));
	MUST(count(&g->port->info->nr_preempts) >= 1);
}

static struct g3_act *pooled(struct g3 *g)
{
	for (uint32_t i = 0; i < g->nr_acts; i++)
		if (g3_where(&g->act[i]) == G3_PARKED &&
		    up_load_acquire(&g->port->amap[g->act[i].num].state) == UPABI_ACT_POOLED)
			return &g->act[i];
	return NULL;
}

/* vcore's activation blocks; another steps in. */
static struct g3_act *block(struct g3 *g, uint32_t vcore)
{
	struct g3_act *a = g3_on(g, vcore), *in;
	int ret;

	if (!a || g3_tell(a, UPABI_OP_NONE, 0, 0, 0, 0) || !(in = pooled(g))) {
		g3_fail(g, "nobody to block, or to step in");
		return NULL;
	}
	ret = g3_tell(in, UPABI_OP_BLOCKED, vcore, a->num, g->port->amap[a->num].gen, 3);
	if (ret)
		g3_fail(g, "blocked: %d", ret);
	return a;
}

static void unblock(struct g3_act *a)
{
	up_store_release(&a->unstick, 1);
	g3_wake(a);
}

static void a_block_costs_no_core(struct g3 *g)
{
	struct g3_act *a, *b;

	DO(go(g, 2, 3));
	DO(a = block(g, 0));
	EVENTUALLY(g3_got(g, UPABI_EV_BLOCKED) == 1 && g3_settled(g, 2));
	MUST(g->last[UPABI_EV_BLOCKED].arg == a->num && g->last[UPABI_EV_BLOCKED].aux == 3);
	MUST(up_load_acquire(&g->port->info->blocked) == 1);
	DO(b = block(g, 0)); /* again, on the same vcore */
	EVENTUALLY(up_load_acquire(&g->port->info->blocked) == 2);
	/* Onto a busy vcore: both contexts are on offer. */
	unblock(a);
	unblock(b);
	EVENTUALLY(g3_got(g, UPABI_EV_UNBLOCKED) == 2 && g3_settled(g, 2));
	MUST(count(&g->port->info->nr_blocked) == 2 && count(&g->port->info->nr_unblocked) == 2);
	MUST(up_load_acquire(&g->port->info->blocked) == 0);
}

static void an_unblock_wakes_an_idle_process(struct g3 *g)
{
	struct g3_act *a;

	DO(go(g, 1, 2));
	DO(a = block(g, 0));
	EVENTUALLY(g3_settled(g, 1));
	DO(yield(g, 0));
	EVENTUALLY(state(g) == UPABI_WAITING && g3_running(g) == 0);
	unblock(a);
	EVENTUALLY(g3_settled(g, 1) && g3_got(g, UPABI_EV_UNBLOCKED) == 1);
	MUST(g->last[UPABI_EV_UNBLOCKED].arg == a->num &&
	     g->last[UPABI_EV_UNBLOCKED].aux == 1000 + a->num);
}

static void stale_generations_are_refused(struct g3 *g)
{
	struct g3_act *a, *in;

	DO(go(g, 1, 1));
	a = g3_on(g, 0);
	in = pooled(g);
	MUST(a && in);
	IS(g3_tell(in, UPABI_OP_BLOCKED, 0, a->num, g->port->amap[a->num].gen + 1, 0), -ESTALE);
	IS(g3_tell(in, UPABI_OP_BLOCKED, 0, in->num, 1, 0), -EINVAL);
	IS(g3_tell(in, UPABI_OP_BLOCKED, 5, a->num, 1, 0), -ESTALE);
	IS(g3_tell(in, UPABI_OP_UNBLOCKED, 0, 0, 0, 0), -ESTALE);
	MUST(online(g) == 1 && count(&g->port->info->nr_blocked) == 0);
}

static void single(struct g3 *g, uint32_t vcore, struct g3_act **ret_act)
{
	struct g3_act *a = g3_on(g, vcore);

	IS(g3_tell(a, UPABI_OP_TO_S, vcore, 0, 0, 0), 0);
	EVENTUALLY(state(g) == UPABI_RUNNING_S && online(g) == 0 && g3_running(g) == 0);
	*ret_act = a;
}

static void to_single_and_back(struct g3 *g)
{
	struct g3_act *a = NULL;

	DO(go(g, 3, 1));
	DO(single(g, 2, &a));
	MUST(up_load_acquire(&g->port->info->s_vcore) == 2 && g3_where(a) == G3_SINGLE);
	IS(g3_tell(a, UPABI_OP_TO_S, 2, 0, 0, 0), -EPERM);
	IS(g3_request(g, a, 2, 1), 0);
	EVENTUALLY(g3_settled(g, 2));
	/* A caller on vcore 2 was vcore 2 all along, and so is the first to start. */
	MUST(g->side->virtual_time || vm(g, 2)->valid); /* there its start may have failed */
	MUST(state(g) == UPABI_RUNNING_M);
}

static void all_yield(struct g3 *g)
{
	int ret = -EAGAIN;

	DO(go(g, 3, 1));
	for (int i = 0; ret == -EAGAIN && i < 20; i++)
		ret = g3_tell(g3_on(g, 0), UPABI_OP_YIELD_ALL, 0, 0, 0, 0);
	IS(ret, 0);
	EVENTUALLY(state(g) == UPABI_WAITING && online(g) == 0 && g3_running(g) == 0);
	DO(request(g, 2));
	EVENTUALLY(g3_settled(g, 2));
}

static void vector(struct g3 *g, uint32_t nr, uint32_t vcore, uint32_t flags)
{
	up_store_relaxed(&g->port->data->evt[nr].vcore, vcore);
	up_store_relaxed(&g->port->data->evt[nr].flags, flags);
}

static void notify(struct g3 *g, uint64_t nr, uint64_t vcore, uint64_t val)
{
	const uint64_t arg[5] = { 0, nr, vcore, val, 0 };

	IS(g3_call5(g, UPABI_OP_NOTIFY, arg, NULL), 0);
}

static void events_go_where_the_vector_says(struct g3 *g)
{
	struct upabi_vcoredata *vc = &g->port->vc[1];
	uint64_t nr = 0;

	DO(go(g, 2, 1));
	IS(g3_call(g, UPABI_OP_EVENT_ALLOC, 0, 0, 0, &nr), 0);
	MUST(nr == UPABI_EV_DYNAMIC && g->port->info->nr_events == nr + 1);
	/* With a message, to the vcore of the table, interrupting it. */
	vector(g, (uint32_t)nr, 1, UPABI_EVF_NOTIFY);
	EVENTUALLY(g3_where(g3_on(g, 1)) == G3_UTHREAD && !up_load_acquire(&vc->notif_disabled));
	DO(notify(g, nr, UPABI_NONE, 5));
	EVENTUALLY(count(&g->got_on[1][nr]) == 1);
	MUST(g->last[nr].val == 5);
	/* A vcore in the call goes before the table. */
	DO(notify(g, nr, 0, 6));
	EVENTUALLY(count(&g->got_on[0][nr]) == 1);
	/* Without a message: the bit. */
	vector(g, (uint32_t)nr, 1, UPABI_EVF_NOMSG | UPABI_EVF_NOTIFY);
	DO(notify(g, nr, UPABI_NONE, 7));
	EVENTUALLY(count(&g->got_on[1][nr]) == 2);
	MUST(g->last[nr].val == 0);
	/* Numbers that are none. */
	const uint64_t bad[5] = { 0, nr + 1, UPABI_NONE, 0, 0 };
	IS(g3_call5(g, UPABI_OP_NOTIFY, bad, NULL), -EINVAL);
	while (g3_call(g, UPABI_OP_EVENT_ALLOC, 0, 0, 0, &nr) == 0)
		;
	MUST(nr == UPABI_EV_NR - 1);
	IS(g3_call(g, UPABI_OP_EVENT_ALLOC, 0, 0, 0, NULL), -ENOSPC);
}

/* The table of who is interrupted: disabled or not, wanted or not. */
static void notifications_reach_who_is_open(struct g3 *g)
{
	struct g3_act *a;
	uint64_t nr = 0, before;

	DO(go(g, 1, 1));
	IS(g3_call(g, UPABI_OP_EVENT_ALLOC, 0, 0, 0, &nr), 0);
	a = g3_on(g, 0);
	EVENTUALLY(g3_where(a) == G3_UTHREAD);
	/* Open, and wanted: it comes. */
	vector(g, (uint32_t)nr, 0, UPABI_EVF_NOTIFY);
	DO(notify(g, nr, UPABI_NONE, 1));
	EVENTUALLY(g3_got(g, nr) == 1);
	EVENTUALLY(g3_where(a) == G3_UTHREAD && !up_load_acquire(&g->port->vc[0].notif_disabled));
	/* Open, not wanted: it waits for a look. */
	vector(g, (uint32_t)nr, 0, 0);
	before = up_load_acquire(&g->interrupts);
	DO(notify(g, nr, UPABI_NONE, 2));
	MUST(up_load_acquire(&g->interrupts) == before);
	g3_interrupt(a); /* somebody else makes it look */
	g3_wake(a);
	EVENTUALLY(g3_got(g, nr) == 2);
	/* Disabled: nobody comes, the flag is raised, and the way out finds it. */
	EVENTUALLY(g3_where(a) == G3_UTHREAD && !up_load_acquire(&g->port->vc[0].notif_disabled));
	up_store_release(&a->hold, 1);
	up_store_seq_cst(&g->port->vc[0].notif_disabled, 1);
	before = up_load_acquire(&g->interrupts);
	vector(g, (uint32_t)nr, 0, UPABI_EVF_NOTIFY);
	DO(notify(g, nr, UPABI_NONE, 3));
	MUST(up_load_acquire(&g->port->vc[0].notif_pending));
	MUST(up_load_acquire(&g->interrupts) == before && g3_got(g, nr) == 2);
	up_store_release(&a->hold, 0);
	g3_interrupt(a);
	g3_wake(a);
	EVENTUALLY(g3_got(g, nr) == 3);
}

static void overflow_is_counted(struct g3 *g)
{
	const uint32_t many = UPABI_RING_LEN + 10;
	struct g3_act *a;
	uint64_t nr = 0;

	DO(go(g, 1, 1));
	IS(g3_call(g, UPABI_OP_EVENT_ALLOC, 0, 0, 0, &nr), 0);
	a = g3_on(g, 0);
	EVENTUALLY(g3_where(a) == G3_UTHREAD &&
		   g->port->vc[0].ring_head == g->port->vc[0].ring_tail);
	up_store_release(&a->hold, 1);
	vector(g, (uint32_t)nr, 0, 0);
	for (uint32_t i = 0; i < many; i++)
		DO(notify(g, nr, UPABI_NONE, i));
	MUST(count(&vm(g, 0)->overflow) == 10);
	MUST(g->port->vc[0].mask[nr / 64] >> (nr % 64) & 1);
	up_store_release(&a->hold, 0);
	g3_interrupt(a);
	g3_wake(a);
	/* Each in the ring once, and one bit for all the others. */
	EVENTUALLY(g3_got(g, nr) == UPABI_RING_LEN + 1);
	MUST(count(&g->got_on[0][nr]) == UPABI_RING_LEN + 1);
}

static void a_vcore_changes_into_another(struct g3 *g)
{
	struct g3_act *a;

	DO(go(g, 2, 2));
	IS(g3_tell(g3_on(g, 0), UPABI_OP_CHANGE_TO, 0, 1, 0, 0), -EBUSY);
	IS(g3_tell(g3_on(g, 0), UPABI_OP_CHANGE_TO, 0, 0, 0, 0), -EINVAL);
	IS(g3_tell(g3_on(g, 0), UPABI_OP_CHANGE_TO, 0, 77, 0, 0), -EINVAL);
	a = g3_on(g, 0);
	IS(g3_tell(a, UPABI_OP_CHANGE_TO, 0, 3, 0, 0), 0);
	EVENTUALLY(g3_settled(g, 2));
	if (!g->side->virtual_time)
		MUST(vm(g, 3)->valid && !vm(g, 0)->valid);
	EVENTUALLY(g3_got(g, UPABI_EV_CHECK_MSGS) + g3_got(g, UPABI_EV_VCORE_PREEMPTED) >= 1);
	/* And back, to be continued there. */
	if (vm(g, 3)->valid && !vm(g, 0)->valid) {
		IS(g3_tell(g3_on(g, 3), UPABI_OP_CHANGE_TO, 3, 0, 1, 0), 0);
		EVENTUALLY(g3_settled(g, 2));
	}
}

static void a_gang_goes_together(struct g3 *g)
{
	DO(go(g, 3, 1));
	IS(g3_call(g, UPABI_OP_PREEMPT, UPABI_NONE, 2 * MS, 0, NULL), 0);
	EVENTUALLY(g3_got(g, UPABI_EV_GANG_PREEMPT_PENDING) >= 1);
	EVENTUALLY(vm(g, 0)->preempts_done >= 1 && vm(g, 1)->preempts_done >= 1 &&
		   vm(g, 2)->preempts_done >= 1);
	EVENTUALLY(g3_settled(g, 3)); /* still wanted, so they come back */
	for (uint32_t v = 0; v < 3; v++)
		MUST(vm(g, v)->preempts_sent == vm(g, v)->preempts_done);
}

static void the_machine_grows_and_shrinks(struct g3 *g)
{
	uint32_t pcore;

	DO(go(g, 2, 3));
	IS(g->side->ctl(g, G3_CORE_ADD, 2, 0), 0);
	IS(g->side->ctl(g, G3_CORE_ADD, 2, 0), -EEXIST);
	DO(request(g, 3));
	EVENTUALLY(g3_settled(g, 3));
	EVENTUALLY(g3_got(g, UPABI_EV_RESOURCE) >= 1);
	MUST(count(&g->port->info->res[UPABI_RES_CORES].available) == 3);
	pcore = vm(g, 1)->pcore;
	IS(g->side->ctl(g, G3_CORE_REMOVE, pcore, 2 * MS), 0);
	EVENTUALLY(g3_settled(g, 2));
	IS(g->side->ctl(g, G3_CORE_REMOVE, pcore, 0), -ENOENT);
	for (uint32_t v = 0; v < g->cfg.vcores; v++)
		MUST(!vm(g, v)->valid || vm(g, v)->pcore != pcore);
	IS(g->side->ctl(g, G3_CORE_LIMIT, 1, 0), 0);
	EVENTUALLY(g3_settled(g, 1));
	IS(g->side->ctl(g, G3_CORE_LIMIT, 8, 0), 0);
	EVENTUALLY(g3_settled(g, 2));
	IS(g->side->ctl(g, G3_CORE_ADD, pcore, 0), 0);
	EVENTUALLY(g3_settled(g, 3));
	IS(g->side->ctl(g, G3_CORE_REMOVE, 99, 0), -EINVAL);
}

static void activations_are_given_back_in_bulk(struct g3 *g)
{
	uint32_t gone = 0;
	uint64_t dropped = 0;

	DO(go(g, 1, 4));
	IS(g3_call(g, UPABI_OP_ACT_DEL, 3, 0, 0, &dropped), 0);
	MUST(dropped == 3);
	EVENTUALLY(({
		gone = 0;
		for (uint32_t i = 0; i < g->nr_acts; i++)
			gone += g3_where(&g->act[i]) == G3_ENDED;
		gone == 3;
	}));
	MUST(g3_settled(g, 1));
	for (int i = 0; i < 3; i++) {
		struct g3_act *a = g3_act_new(g);

		MUST(a);
		MUST(g->port->amap[a->num].gen >= 1);
	}
	DO(request(g, 3));
	EVENTUALLY(g3_settled(g, 3));
}

/* More than one batch of effects from one call. */
static void a_burst_of_effects_is_carried_out(struct g3 *g)
{
	uint64_t dropped = 0;
	uint32_t gone = 0;

	DO(go(g, 8, 5));
	IS(g3_call(g, UPABI_OP_PREEMPT, UPABI_NONE, 0, 0, NULL), 0);
	for (uint32_t v = 0; v < 8; v++)
		EVENTUALLY(vm(g, v)->preempts_done >= 1);
	EVENTUALLY(g3_settled(g, 8));
	for (uint32_t v = 1; v < 8; v++)
		DO(yield(g, v));
	EVENTUALLY(g3_settled(g, 1));
	IS(g3_call(g, UPABI_OP_ACT_DEL, 12, 0, 0, &dropped), 0);
	MUST(dropped == 12);
	EVENTUALLY(({
		gone = 0;
		for (uint32_t i = 0; i < g->nr_acts; i++)
			gone += g3_where(&g->act[i]) == G3_ENDED;
		gone == 12;
	}));
}

static void without_activations_more_are_asked_for(struct g3 *g)
{
	MUST(g3_act_new(g));
	IS(g3_request(g, NULL, 3, 1), 0);
	EVENTUALLY(g3_settled(g, 1) && up_load_acquire(&g->want_acts) >= 2);
	MUST(g3_act_new(g) && g3_act_new(g));
	EVENTUALLY(g3_settled(g, 3));
}

static void standbys_are_kept(struct g3 *g)
{
	struct g3_act *a;
	uint32_t by;

	DO(go(g, 2, 4));
	EVENTUALLY(vm(g, 0)->standby != UPABI_NONE && vm(g, 1)->standby != UPABI_NONE);
	MUST(vm(g, 0)->standby != vm(g, 1)->standby);
	by = vm(g, 0)->standby;
	MUST(g->port->amap[by].state == UPABI_ACT_POOLED && g->port->amap[by].vcore == 0);
	a = g3_on(g, 0);
	MUST(a && g3_tell(a, UPABI_OP_NONE, 0, 0, 0, 0) == 0);
	IS(g3_tell(g3_act_of(g, by), UPABI_OP_BLOCKED, 0, a->num, g->port->amap[a->num].gen, 1), 0);
	/* The next one stands by already. */
	EVENTUALLY(g3_settled(g, 2) && vm(g, 0)->standby != UPABI_NONE && vm(g, 0)->act == by);
	MUST(vm(g, 0)->standby != by);
	unblock(a);
	EVENTUALLY(g3_got(g, UPABI_EV_UNBLOCKED) == 1);
}

static void what_makes_no_sense_is_refused(struct g3 *g)
{
	static const struct {
		enum upabi_op op;
		uint64_t arg[5];
		int from_outside;
	} bad[] = {
		{ UPABI_OP_YIELD, { 0 }, -ESTALE },
		{ UPABI_OP_YIELD, { 1000 }, -EINVAL },
		{ UPABI_OP_YIELD, { UINT64_MAX }, -EINVAL },
		{ UPABI_OP_YIELD_ALL, { 0 }, -EPERM },
		{ UPABI_OP_TO_S, { 0 }, -ESTALE },
		{ UPABI_OP_TO_S, { 1000 }, -EINVAL },
		{ UPABI_OP_CHANGE_TO, { 0, 3 }, -ESTALE },
		{ UPABI_OP_NOTIFY, { 123456, UPABI_EV_USER, UPABI_NONE }, -ESRCH },
		{ UPABI_OP_NOTIFY, { 0, 9999, UPABI_NONE }, -EINVAL },
		{ UPABI_OP_NOTIFY, { 0, UPABI_EV_USER, 1000 }, -EINVAL },
		{ UPABI_OP_NOTIFY, { UINT64_MAX, UPABI_EV_USER, 0 }, -EINVAL },
		{ UPABI_OP_BLOCKED, { 0, 0, 1, 0 }, -EINVAL },
		{ UPABI_OP_UNBLOCKED, { 0 }, -EINVAL },
		{ UPABI_OP_PREEMPTED, { 0, 0 }, -ESTALE },
		{ UPABI_OP_PREEMPTED, { 1000, 0 }, -EINVAL },
		{ UPABI_OP_PREEMPTED, { 0, 2 }, -EINVAL },
		{ UPABI_OP_PREEMPT, { 1000, 0 }, -EINVAL },
	};
	uint64_t refused;

	DO(go(g, 2, 1));
	refused = count(&g->port->info->nr_refused);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int ret = g3_call5(g, bad[i].op, bad[i].arg, NULL);

		if (ret != bad[i].from_outside)
			g3_fail(g, "bad call %u (operation %d): %d, not %d", i, bad[i].op, ret,
				bad[i].from_outside);
	}
	MUST(count(&g->port->info->nr_refused) > refused);
	/* From the wrong activation. */
	IS(g3_tell(g3_on(g, 0), UPABI_OP_YIELD, 1, 0, 0, 0), -ESTALE);
	IS(g3_tell(g3_on(g, 0), UPABI_OP_PREEMPTED, 0, 0, 0, 0), -ECANCELED);
	IS(g3_tell(g3_on(g, 0), UPABI_OP_UNBLOCKED, 0, 0, 0, 0), -ESTALE);
	/* From a slot that is nobody's. */
	IS(up_port_call(g->port, g->cfg.acts - 1, UPABI_OP_YIELD, NULL, NULL), -EPERM);
	MUST(g3_settled(g, 2) && state(g) == UPABI_RUNNING_M);
}

static void an_exit_gives_everything_back(struct g3 *g)
{
	DO(go(g, 3, 1));
	DO(block(g, 1));
	IS(g3_call(g, UPABI_OP_EXIT, 0, 0, 0, NULL), 0);
	g3_wait_begin(g);
	while (!up_load_acquire(&g->port->lost) && g3_wait_turn(g))
		;
	MUST(up_load_acquire(&g->port->lost));
	MUST(g3_call(g, UPABI_OP_REQUEST, 0, 0, 0, NULL) < 0);
}

/* Yield against request against event, over and over: nothing is lost, nobody is left behind. */
static void yields_requests_and_events_cross(struct g3 *g)
{
	uint64_t nr = 0, sent = 0;

	DO(go(g, 2, 2));
	IS(g3_call(g, UPABI_OP_EVENT_ALLOC, 0, 0, 0, &nr), 0);
	vector(g, (uint32_t)nr, 0, UPABI_EVF_NOTIFY | UPABI_EVF_WAKE);
	for (int i = 0; i < 25; i++) {
		struct g3_act *a = g3_on(g, 1);
		int ret = a ? g3_tell(a, UPABI_OP_YIELD, 1, 0, 0, 0) : 0;

		MUST(ret == 0 || ret == -EAGAIN || ret == -ESTALE);
		DO(notify(g, nr, i & 1 ? 1 : UPABI_NONE, (uint64_t)i));
		sent++;
		DO(request(g, 2));
		EVENTUALLY(g3_settled(g, 2));
	}
	EVENTUALLY(g3_got(g, nr) == sent);
}

#define CFG(nr_pcores, take_ms, stand)                                          \
	{                                                                       \
		.pcores = nr_pcores, .vcores = 8, .acts = 16, .standby = stand, \
		.grace_ns = 2 * MS, .take_ns = take_ms * MS                     \
	}
#define ON(f, ...)                      \
	{                               \
#f, CFG(__VA_ARGS__), f \
	}
#define S(f) ON(f, 4, 5, false)

const struct g3_scenario g3_scenarios[] = {
	S(created_and_run),
	S(cores_are_granted),
	S(last_yield_waits_and_an_event_wakes),
	S(holes_are_filled),
	S(nice_yields_are_for_the_warned),
	S(a_deadline_takes),
	ON(taken_in_vcore_context_it_starts_there_again, 4, 2000, false),
	S(who_ignores_its_warnings_loses_the_core),
	S(a_block_costs_no_core),
	S(an_unblock_wakes_an_idle_process),
	S(stale_generations_are_refused),
	S(to_single_and_back),
	S(all_yield),
	S(events_go_where_the_vector_says),
	S(notifications_reach_who_is_open),
	S(overflow_is_counted),
	S(a_vcore_changes_into_another),
	S(a_gang_goes_together),
	ON(the_machine_grows_and_shrinks, 2, 5, false),
	S(activations_are_given_back_in_bulk),
	ON(a_burst_of_effects_is_carried_out, 8, 5, false),
	S(without_activations_more_are_asked_for),
	ON(standbys_are_kept, 4, 5, true),
	S(what_makes_no_sense_is_refused),
	S(yields_requests_and_events_cross),
	S(an_exit_gives_everything_back),
};
const unsigned g3_nr_scenarios = sizeof(g3_scenarios) / sizeof(g3_scenarios[0]);

const struct g3_cfg g3_tour_cfg = CFG(2, 2, true);

/* Vcore 1 is taken from somebody who does not heed it: asleep, and at work. */
static void tour_of_takes(struct g3 *g)
{
	up_store_relaxed(&g->ignore_takes, 1);
	for (uint32_t i = 0; i < 2; i++) {
		uint64_t before = vm(g, 1)->preempts_done;

		up_store_relaxed(&g->spin, i);
		IS(g3_call(g, UPABI_OP_PREEMPT, 1, 0, 0, NULL), 0);
		EVENTUALLY(vm(g, 1)->preempts_done > before);
		EVENTUALLY(g3_settled(g, 2));
	}
	up_store_relaxed(&g->spin, 0);
	up_store_relaxed(&g->ignore_takes, 0);
}

void g3_tour(struct g3 *g)
{
	struct g3_act *a;

	DO(go(g, 2, 2));
	DO(notify(g, UPABI_EV_USER, 0, 1));
	DO(a = block(g, 0));
	unblock(a);
	EVENTUALLY(g3_got(g, UPABI_EV_UNBLOCKED) >= 1 && g3_settled(g, 2));
	IS(g3_call(g, UPABI_OP_PREEMPT, 1, 0, 0, NULL), 0);
	EVENTUALLY(vm(g, 1)->preempts_done >= 1);
	EVENTUALLY(g3_settled(g, 2));
	DO(tour_of_takes(g));
	DO(yield(g, 1));
	EVENTUALLY(g3_settled(g, 1));
	DO(yield(g, 0));
	EVENTUALLY(state(g) == UPABI_WAITING);
	DO(notify(g, UPABI_EV_USER, UPABI_NONE, 2));
	EVENTUALLY(g3_settled(g, 1));
	DO(single(g, 0, &a));
}
