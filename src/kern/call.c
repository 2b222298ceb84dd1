/* SPDX-License-Identifier: MIT */
/*
 * Calls from processes: any bytes at all, from any slot.  Here they are told apart and counted;
 * what each does is in the file of its noun.
 */
#include "kern/types.h"

/* arg: pid, event, vcore, val, aux. */
static int call_notify(struct up_proc *p, const uint64_t *arg, uint64_t now)
{
	struct up_proc *to = p;
	struct upabi_event ev = {
		.nr = (upabi_u16)arg[1],
		.val = arg[3],
		.aux = arg[4],
	};

	if (arg[0] > UINT32_MAX || arg[1] >= UPABI_EV_NR ||
	    (arg[2] != UPABI_NONE && arg[2] >= UP_MAX_VCORES))
		return -EINVAL;
	if (arg[0])
		to = up_kern_proc_find(p->kern, (uint32_t)arg[0]);
	if (!to || up_proc_is_dead(to))
		return -ESRCH;
	if (to != p && ev.nr != UPABI_EV_USER && ev.nr < UPABI_EV_DYNAMIC)
		return -EPERM; /* only the kernel side says such things to others */
	ev.arg = p->pid;
	if (ev.nr != UPABI_EV_NONE)
		return up_event_send(to, (uint32_t)arg[2], &ev, arg[2] != UPABI_NONE, true, now);
	/* No message: just look, there. */
	if (arg[2] >= to->max_vcores)
		return -EINVAL;
	if (up_vcore_listens(to, (uint32_t)arg[2]))
		up_notify_vcore(to, (uint32_t)arg[2]);
	return 0;
}

static int call_event_alloc(struct up_proc *p, uint64_t *ret_val)
{
	if (p->nr_events == UPABI_EV_NR)
		return -ENOSPC;
	*ret_val = p->nr_events++;
	up_info_counts(p);
	return 0;
}

static int call_act_drop(struct up_proc *p, uint64_t count, uint64_t *ret_val)
{
	*ret_val = up_act_drop(p, count);
	up_info_counts(p);
	return 0;
}

static int dispatch(struct up_proc *p, uint32_t slot, uint32_t op, const uint64_t *arg,
		    uint64_t now, uint64_t *ret_val)
{
	switch (op) {
	case UPABI_OP_REQUEST:
		return up_resource_request(p, slot, now, ret_val);
	case UPABI_OP_YIELD:
		return up_yield(p, slot, arg, now);
	case UPABI_OP_YIELD_ALL:
		return up_yield_all(p, slot, now);
	case UPABI_OP_TO_S:
		return up_yield_to_s(p, slot, arg[0], now);
	case UPABI_OP_CHANGE_TO:
		return up_change_to(p, slot, arg, now);
	case UPABI_OP_NOTIFY:
		return call_notify(p, arg, now);
	case UPABI_OP_EVENT_ALLOC:
		return call_event_alloc(p, ret_val);
	case UPABI_OP_BLOCKED:
		return up_block(p, slot, arg, now, ret_val);
	case UPABI_OP_UNBLOCKED:
		return up_unblock(p, slot, arg, now);
	case UPABI_OP_PREEMPTED:
		return up_preempt_left(p, slot, arg[0], arg[1], now);
	case UPABI_OP_ACT_ADD:
		return up_act_add(p, arg[0], now, ret_val);
	case UPABI_OP_ACT_DEL:
		return call_act_drop(p, arg[0], ret_val);
	case UPABI_OP_PREEMPT:
		return up_preempt_call(p, arg[0], arg[1], now);
	case UPABI_OP_EXIT:
		up_proc_die(p, now);
		return 0;
	default:
		return -EINVAL;
	}
}

/* What a dying process may still say: that it leaves. */
static bool is_leaving(uint32_t op)
{
	return op == UPABI_OP_YIELD || op == UPABI_OP_PREEMPTED;
}

/* It speaks, therefore it has started.  A call that claims another place says nothing about the
 * place that it was started for. */
static void hear(struct up_proc *p, uint32_t slot, uint32_t op)
{
	const struct up_act *a;

	if (slot >= p->max_acts || op == UPABI_OP_BLOCKED)
		return;
	a = &p->acts[slot];
	if (a->state == UPABI_ACT_RUNNING && p->vcores[a->vcore].act == slot &&
	    p->vcores[a->vcore].starting && !up_eff_queued(&p->vcores[a->vcore].start))
		up_vcore_started(p, a->vcore);
}

static bool is_illegal(int ret)
{
	return ret == -EINVAL || ret == -EPERM || ret == -ESRCH;
}

/* Same as up_kern_call(), the policy not run yet. */
int up_call(struct up_proc *p, uint32_t slot, const struct upabi_call *c, uint64_t now,
	    uint64_t *ret_val)
{
	uint64_t arg[5], val = 0;
	int ret;

	p->hot = UPABI_NONE;
	memcpy(arg, c->arg, sizeof(arg));
	if (slot >= upabi_call_slots(p->max_acts) || c->op >= UPABI_OP_NR)
		ret = -EINVAL;
	else if (up_proc_is_dead(p) && !is_leaving(c->op))
		ret = -ESRCH;
	else if (slot < p->max_acts && p->acts[slot].state == UPABI_ACT_NONE)
		ret = -EPERM;
	else {
		hear(p, slot, c->op);
		ret = dispatch(p, slot, c->op, arg, now, &val);
		if (p->nr_lack && p->nr_free)
			up_act_fill(p, true);
	}
	if (is_illegal(ret)) {
		p->nr_refused++;
		up_info_counts(p);
	}
	if (ret >= 0)
		*ret_val = val;
	return ret;
}

int up_kern_call(struct up_kern *k, struct up_proc *p, uint32_t slot, const struct upabi_call *c,
		 uint64_t now, uint64_t *ret_val)
{
	int ret;

	if (!k || !p || !c || !ret_val)
		return -EINVAL;
	ret = up_call(p, slot, c, now, ret_val);
	up_policy_run(k, now);
	p->hot = UPABI_NONE;
	return ret;
}
