/* SPDX-License-Identifier: MIT */
/*
 * A process as the protocol wants it, without a runtime: what an activation does next is one
 * function, which a thread calls in a loop and the simulator calls when its dice say so.
 */
#include "gate3.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/futex.h"

/* Generous, as the machine may be busy with others; once something has failed, less so. */
#define WAIT_NS	   ((uint64_t)(failed ? 1 : 10) * UP_NSEC_PER_SEC)
#define WAIT_TURNS 200000u

static __thread struct g3_act *self;
static bool failed;

void g3_fail(struct g3 *g, const char *fmt, ...)
{
	va_list args;

	failed = true;
	if (g->broken[0])
		return;
	va_start(args, fmt);
	vsnprintf(g->broken, sizeof(g->broken), fmt, args);
	va_end(args);
}

void g3_wait_begin(struct g3 *g)
{
	g->waited = g->side->virtual_time ? 0 : up_now_ns();
}

bool g3_wait_turn(struct g3 *g)
{
	if (g->broken[0] || up_load_acquire(&g->port->lost))
		return false;
	if (g->side->virtual_time ? g->waited++ > WAIT_TURNS : up_now_ns() - g->waited > WAIT_NS)
		return false;
	g->side->turn(g);
	return true;
}

static void set_where(struct g3_act *a, enum g3_where where)
{
	up_store_release(&a->where, (uint32_t)where);
}

void g3_wake(struct g3_act *a)
{
	up_fetch_add_release(&a->bell, 1);
	up_futex_wake_private(&a->bell, 1);
	/* A parked one is reached as a watcher reaches its standby. */
	if (!a->g->side->virtual_time && g3_where(a) == G3_PARKED)
		up_port_gate_open(a->g->port, a->num);
}

/* Also from a signal handler. */
void g3_interrupt(struct g3_act *a)
{
	up_fetch_add_relaxed(&a->g->interrupts, 1);
	up_store_release(&a->notified, 1);
	up_fetch_add_release(&a->bell, 1);
}

static void on_signal(int nr)
{
	if (self)
		g3_interrupt(self);
}

static int call(struct g3_act *a, enum upabi_op op, const uint64_t arg[5], uint64_t *val)
{
	return up_port_call(a->g->port, a->num, op, arg, val);
}

static int call2(struct g3_act *a, enum upabi_op op, uint64_t a0, uint64_t a1)
{
	const uint64_t arg[5] = { a0, a1 };

	return call(a, op, arg, NULL);
}

static const struct upabi_actmap *line(const struct g3_act *a)
{
	return &a->g->port->amap[a->num];
}

static void park(struct g3_act *a)
{
	set_where(a, G3_PARKED);
}

static void take_events(struct g3_act *a)
{
	struct up_port *port = a->g->port;
	struct g3 *g = a->g;
	struct upabi_event ev;

	/* First the flag, then the look: a message that comes in between raises it again. */
	up_xchg_seq_cst(&port->vc[a->vcore].notif_pending, 0);
	while (up_port_next_event(port, a->vcore, &ev)) {
		if (ev.nr == 0 || ev.nr >= UPABI_EV_NR) {
			g3_fail(g, "event of number %u", ev.nr);
			return;
		}
		up_lock_take(&g->last_lock);
		g->last[ev.nr] = ev;
		up_lock_drop(&g->last_lock);
		if (a->vcore < G3_VCORES)
			up_fetch_add_release(&g->got_on[a->vcore][ev.nr], 1);
		up_fetch_add_release(&g->got[ev.nr], 1);
	}
}

static void enter(struct g3_act *a, uint32_t vcore)
{
	struct up_port *port = a->g->port;

	if (vcore >= port->max_vcores) {
		g3_fail(a->g, "started as vcore %u", vcore);
		return;
	}
	up_store_relaxed(&a->vcore, vcore);
	up_store_relaxed(&port->vc[vcore].notif_disabled, 1);
	up_store_relaxed(&a->notified, 0);
	set_where(a, up_load_acquire(&port->info->state) == UPABI_RUNNING_S ? G3_SINGLE : G3_VCORE);
}

/* It has parked, and there is a reason to go on. */
static bool look_at_gate(struct g3_act *a)
{
	/* The gate first, then what lies behind it: a change in between is seen the next time. */
	uint32_t gate = up_port_gate(a->g->port, a->num);
	uint32_t state, starts;

	if (gate == a->gate_seen)
		return false;
	a->gate_seen = gate;
	/* Acquire pairs with the kernel side's release of state: the line is written. */
	state = up_load_acquire(&line(a)->state);
	starts = up_load_acquire(&line(a)->starts);
	if (state != UPABI_ACT_RUNNING || starts == a->starts_seen)
		return false;
	a->starts_seen = starts;
	enter(a, up_load_relaxed(&line(a)->vcore));
	return true;
}

/* What a successful call means for who made it. */
static void after_call(struct g3_act *a)
{
	switch ((enum upabi_op)a->op) {
	case UPABI_OP_YIELD:
	case UPABI_OP_YIELD_ALL:
	case UPABI_OP_EXIT:
	case UPABI_OP_CHANGE_TO:
	case UPABI_OP_PREEMPTED:
	case UPABI_OP_UNBLOCKED:
		park(a);
		break;
	case UPABI_OP_TO_S:
		set_where(a, G3_SINGLE);
		break;
	case UPABI_OP_REQUEST:
		if (a->val == 1)
			park(a); /* the single context became a many-core process */
		break;
	case UPABI_OP_BLOCKED: /* it has stepped in */
		enter(a, (uint32_t)a->arg[0]);
		break;
	default:
		break;
	}
}

static bool do_command(struct g3_act *a)
{
	if (up_load_acquire(&a->cmd) != 1)
		return false;
	if (a->op == UPABI_OP_NONE) {
		set_where(a, G3_STUCK);
		a->result = 0;
	} else {
		a->val = 0;
		a->result = call(a, (enum upabi_op)a->op, a->arg, &a->val);
		if (a->result == 0)
			after_call(a);
	}
	up_store_release(&a->cmd, 2);
	return true;
}

/* The kernel side has said something about us while we ran: true when we are no vcore any more. */
static bool displaced(struct g3_act *a)
{
	switch (up_load_acquire(&line(a)->state)) {
	case UPABI_ACT_RUNNING:
		return false;
	case UPABI_ACT_BLOCKED: /* taken for blocked */
		call2(a, UPABI_OP_UNBLOCKED, a->num, a->num & 1);
		park(a);
		return true;
	default: /* frozen, pooled, or the process is no more */
		park(a);
		return true;
	}
}

static bool told_to_go(struct g3_act *a)
{
	const struct upabi_vcoremap *m = &a->g->port->vmap[a->vcore];
	struct g3 *g = a->g;

	if (up_load_acquire(&m->flags) & UPABI_VMF_TAKE) {
		if (up_load_relaxed(&g->ignore_takes))
			return false;
		if (call2(a, UPABI_OP_PREEMPTED, a->vcore,
			  up_load_relaxed(&g->freeze_when_taken)) == 0) {
			park(a);
			return true;
		}
	} else if (up_load_acquire(&m->preempt_pending) && up_load_relaxed(&g->leave_when_warned)) {
		if (call2(a, UPABI_OP_YIELD, a->vcore, 1) == 0) {
			park(a);
			return true;
		}
	}
	return false;
}

static bool step_vcore(struct g3_act *a)
{
	struct upabi_vcoredata *vc = &a->g->port->vc[a->vcore];

	take_events(a);
	if (displaced(a) || told_to_go(a) || do_command(a))
		return true;
	/* The way out: open, fence, look.  The fence pairs with the one between pending and the look
	 * at disabled on the kernel side: one of the two sees the other. */
	up_store_relaxed(&a->notified, 0);
	up_store_release(&vc->notif_disabled, 0);
	up_fence_seq_cst();
	if (up_load_relaxed(&vc->notif_pending)) {
		up_store_relaxed(&vc->notif_disabled, 1);
		return true;
	}
	set_where(a, G3_UTHREAD);
	return true;
}

static bool step_uthread(struct g3_act *a)
{
	if (up_load_acquire(&line(a)->state) != UPABI_ACT_RUNNING ||
	    up_load_acquire(&a->cmd) == 1 || up_xchg_acquire(&a->notified, 0)) {
		up_store_relaxed(&a->g->port->vc[a->vcore].notif_disabled, 1);
		set_where(a, G3_VCORE);
		return true;
	}
	return false;
}

static bool step_stuck(struct g3_act *a)
{
	if (!up_load_acquire(&a->unstick) || up_load_acquire(&line(a)->state) != UPABI_ACT_BLOCKED)
		return false;
	up_store_relaxed(&a->unstick, 0);
	if (call2(a, UPABI_OP_UNBLOCKED, 1000 + a->num, a->num & 1) == 0)
		park(a);
	return true;
}

static bool step_single(struct g3_act *a)
{
	take_events(a);
	return displaced(a) || do_command(a);
}

bool g3_act_step(struct g3_act *a)
{
	if (up_load_acquire(&a->quit)) {
		set_where(a, G3_ENDED);
		return false;
	}
	if (up_load_acquire(&a->hold))
		return false;
	switch ((enum g3_where)g3_where(a)) {
	case G3_PARKED:
		return look_at_gate(a) || do_command(a);
	case G3_VCORE:
		return step_vcore(a);
	case G3_UTHREAD:
		return step_uthread(a);
	case G3_STUCK:
		return step_stuck(a);
	case G3_SINGLE:
		return step_single(a);
	default:
		return false;
	}
}

static int announce(struct g3_act *a)
{
	uint64_t tid = (uint64_t)syscall(SYS_gettid), num = 0;
	int ret = g3_call(a->g, UPABI_OP_ACT_ADD, tid, 0, 0, &num);

	if (ret)
		return ret;
	up_store_release(&a->num, (uint32_t)num);
	a->gate_seen = up_port_gate(a->g->port, a->num) - 1; /* look once in any case */
	a->starts_seen = up_load_acquire(&line(a)->starts);
	/* A start of the slot's new user may be there already; what it did before is not ours. */
	if (up_load_acquire(&line(a)->state) == UPABI_ACT_RUNNING)
		a->starts_seen--;
	return 0;
}

static void *act_thread(void *arg)
{
	struct g3_act *a = arg;
	struct up_port *port = a->g->port;
	sigset_t set;

	self = a;
	sigemptyset(&set);
	sigaddset(&set, G3_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	if (announce(a)) {
		set_where(a, G3_ENDED);
		return NULL;
	}
	set_where(a, G3_PARKED);
	while (g3_where(a) != G3_ENDED && !up_load_acquire(&port->lost)) {
		uint32_t gate = up_port_gate(port, a->num), bell = up_load_acquire(&a->bell);

		if (g3_act_step(a) || g3_where(a) == G3_ENDED)
			continue;
		if (g3_where(a) == G3_PARKED)
			up_port_gate_wait(port, a->num, gate);
		else if (g3_where(a) == G3_UTHREAD && up_load_relaxed(&a->g->spin))
			sched_yield();
		else
			up_futex_wait_private(&a->bell, bell, up_now_ns() + 2 * UP_NSEC_PER_MSEC);
	}
	set_where(a, G3_ENDED);
	return NULL;
}

struct g3_act *g3_act_new(struct g3 *g)
{
	struct g3_act *a;

	if (g->nr_acts == G3_ACTS)
		return NULL;
	a = &g->act[g->nr_acts];
	a->g = g;
	up_store_relaxed(&a->num, UPABI_NONE);
	up_store_release(&g->nr_acts, g->nr_acts + 1); /* pairs with g3_act_of's acquire */
	if (g->side->virtual_time) {
		if (announce(a))
			return NULL;
		set_where(a, G3_PARKED);
		return a;
	}
	a->has_thread = !pthread_create(&a->thread, NULL, act_thread, a);
	while (a->has_thread && g3_where(a) == G3_NEW)
		sched_yield();
	return a->has_thread && g3_where(a) != G3_ENDED ? a : NULL;
}

struct g3_act *g3_act_of(struct g3 *g, uint32_t num)
{
	/* The newest: slots are used again. */
	for (uint32_t i = up_load_acquire(&g->nr_acts); i-- > 0;)
		if (up_load_acquire(&g->act[i].num) == num && g3_where(&g->act[i]) != G3_ENDED)
			return &g->act[i];
	return NULL;
}

struct g3_act *g3_on(struct g3 *g, uint32_t vcore)
{
	const struct upabi_vcoremap *m = &g->port->vmap[vcore];

	return vcore < g->port->max_vcores && up_load_acquire(&m->act) != UPABI_NONE
		       ? g3_act_of(g, up_load_acquire(&m->act))
		       : NULL;
}

int g3_call5(struct g3 *g, enum upabi_op op, const uint64_t arg[5], uint64_t *val)
{
	uint32_t slot = up_port_outside_get(g->port);
	int ret = up_port_call(g->port, slot, op, arg, val);

	up_port_outside_put(g->port, slot);
	return ret;
}

int g3_call(struct g3 *g, enum upabi_op op, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t *val)
{
	const uint64_t arg[5] = { a0, a1, a2 };

	return g3_call5(g, op, arg, val);
}

int g3_tell(struct g3_act *a, enum upabi_op op, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
	if (!a)
		return -ESRCH;
	a->op = op;
	a->arg[0] = a0;
	a->arg[1] = a1;
	a->arg[2] = a2;
	a->arg[3] = a3;
	a->arg[4] = 0;
	up_store_release(&a->cmd, 1);
	g3_wake(a);
	if (!G3_UNTIL(a->g, up_load_acquire(&a->cmd) == 2)) {
		up_store_release(&a->cmd, 0);
		return up_load_acquire(&a->g->port->lost) ? -EPIPE : -ETIMEDOUT;
	}
	up_store_release(&a->cmd, 0);
	return a->result;
}

int g3_request(struct g3 *g, struct g3_act *a, uint64_t cores, uint64_t min)
{
	struct upabi_res_request *r = &g->port->data->res[UPABI_RES_CORES];

	up_store_relaxed(&r->wanted, cores);
	up_store_relaxed(&r->wanted_min, min);
	return a ? g3_tell(a, UPABI_OP_REQUEST, 0, 0, 0, 0)
		 : g3_call(g, UPABI_OP_REQUEST, 0, 0, 0, NULL);
}

uint32_t g3_running(struct g3 *g)
{
	uint32_t nr = 0;

	for (uint32_t i = 0; i < g->nr_acts; i++)
		nr += g3_where(&g->act[i]) == G3_VCORE || g3_where(&g->act[i]) == G3_UTHREAD;
	return nr;
}

bool g3_settled(struct g3 *g, uint32_t cores)
{
	const uint32_t *seq = &g->port->info->coremap_seq;
	/* acquire: pairs with the kernel side's release: even, and the maps are whole */
	uint32_t before = up_load_acquire(seq);

	if (up_load_acquire(&g->port->info->num_vcores) != cores || g3_running(g) != cores)
		return false;
	for (uint32_t v = 0; v < g->port->max_vcores; v++) {
		struct g3_act *a;

		if (!up_load_acquire(&g->port->vmap[v].valid))
			continue;
		a = g3_on(g, v);
		if (!a || up_load_relaxed(&a->vcore) != v ||
		    (g3_where(a) != G3_UTHREAD && g3_where(a) != G3_VCORE))
			return false;
	}
	up_fence_acquire(); /* the words before the second look at the sequence */
	return !(before & 1) && up_load_relaxed(seq) == before;
}

int g3_open(struct g3 *g, const struct g3_side *side, const struct g3_cfg *cfg, uint64_t seed)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	int ret;

	memset(g, 0, sizeof(*g));
	g->side = side;
	g->cfg = *cfg;
	g->seed = seed;
	sigaction(G3_SIGNAL, &sa, NULL);
	ret = side->open(g);
	for (uint32_t i = 0; !ret && i < cfg->pcores; i++)
		ret = side->ctl(g, G3_CORE_ADD, i, 0);
	return ret;
}

void g3_close(struct g3 *g)
{
	for (uint32_t i = 0; i < g->nr_acts; i++) {
		up_store_release(&g->act[i].quit, 1);
		g3_wake(&g->act[i]);
		if (g->port && g->act[i].num != UPABI_NONE && !g->side->virtual_time)
			up_port_gate_open(g->port, g->act[i].num);
	}
	for (uint32_t i = 0; i < g->nr_acts; i++)
		if (g->act[i].has_thread)
			pthread_join(g->act[i].thread, NULL);
	g->side->close(g);
}
