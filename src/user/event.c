/* SPDX-License-Identifier: MIT */
/*
 * Events as the process sees them: draining a vcore's ring and bitmask in vcore context, the
 * handlers of the built-in ones, and the public calls.  Every event may be spurious, and a lost
 * message leaves its bit: nothing here relies on an argument for what memory already says.
 */
#include "user/uthread.h"

#include <errno.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/inject.h"
#include "base/mutant.h"
#include "base/probe.h"
#include "user/publish.h"
#include "user/trace.h"

/* One consumer at a time: the vcore itself, or another that found it gone. */
static bool drain_begin(struct up_port *port, uint32_t v)
{
	/* acquire: pairs with drain_end()'s release: the ring's head is where the last one left it */
	return !(up_fetch_or_acq_rel(&port->vc[v].flags, UPABI_VCF_STEALING) & UPABI_VCF_STEALING);
}

static void drain_end(struct up_port *port, uint32_t v)
{
	up_fetch_and_release(&port->vc[v].flags, ~UPABI_VCF_STEALING);
}

static void tell(struct up_vcore *vc, const struct upabi_event *ev)
{
	const struct up_handler *h = &up_rt.handler[ev->nr];
	/* acquire: pairs with upcall_event_handle()'s release: arg is set */
	upcall_event_fn fn = up_load_acquire(&h->fn);
	struct upcall_event pub = { ev->nr, ev->arg, ev->val, ev->aux, ev->time_ns };

	if (!fn)
		return;
	/* The program's own code: if it does not come back, the core may be taken from under it,
	 * by the signal that a vcore entered from its handler has blocked. */
	if (vc->act->masked && !UP_MUT(handler_left_masked))
		up_act_unmask(vc->act);
	up_store_relaxed(&vc->act->freezable, 1);
	fn(vc->id, &pub, h->arg);
	up_store_relaxed(&vc->act->freezable, 0);
}

static bool drain_ring(struct up_vcore *vc, uint32_t v);

static void on_preempted(struct up_vcore *vc, const struct upabi_event *ev)
{
	uint32_t x = ev->arg;
	const struct upabi_vcoremap *m;

	if (x >= up_rt.max_vcores || x == vc->id)
		return;
	m = &up_rt.port->vmap[x];
	if (up_load_acquire(&m->valid) || !(up_load_acquire(&m->flags) & UPABI_VMF_PREEMPTED))
		return; /* it is back already */
	if (up_load_acquire(&m->flags) & UPABI_VMF_VCORE_CTX)
		vc->change_to = x + 1; /* it may hold what we need: it goes on first */
	else
		drain_ring(vc, x);
}

static void dispatch(struct up_vcore *vc, const struct upabi_event *ev)
{
	vc->stats->events++;
	up_trace(vc, UPABI_TR_EVENT, ev->nr, ev->val, ev->aux);
	UP_PROBE4(event, vc->id, ev->nr, ev->val, ev->aux);
	switch (ev->nr) {
	case UPABI_EV_VCORE_PREEMPTED:
		on_preempted(vc, ev);
		break;
	case UPABI_EV_BLOCKED:
		/* The scheduler hears of the block from the vcore that lost its uthread. */
		break;
	case UPABI_EV_CHECK_MSGS:
		if (ev->arg < up_rt.max_vcores && ev->arg != vc->id && ev->time_ns &&
		    !up_load_acquire(&up_rt.port->vmap[ev->arg].valid))
			drain_ring(vc, ev->arg);
		break;
	default:
		break;
	}
	tell(vc, ev);
}

/* False: somebody else is at it. */
static bool drain_ring(struct up_vcore *vc, uint32_t v)
{
	struct upabi_event ev;

	if (!drain_begin(up_rt.port, v))
		return false;
	while (up_port_next_event(up_rt.port, v, &ev))
		if (ev.nr < UPABI_EV_NR)
			dispatch(vc, &ev);
	drain_end(up_rt.port, v);
	return true;
}

void up_event_drain(struct up_vcore *vc)
{
	struct upabi_vcoredata *vd = &up_rt.port->vc[vc->id];
	uint32_t *pending = &vd->notif_pending;

	/* Those that nobody is notified of wait in the ring for this look. */
	if (up_load_acquire(&vd->ring_tail) != up_load_relaxed(&vd->ring_head) &&
	    !UP_MUT(quiet_events_unread))
		up_store_relaxed(pending, 1);

	/* Cleared before we look, never after: what is posted meanwhile sets it again. */
	while (up_load_relaxed(pending)) {
		up_xchg_seq_cst(pending, 0);
		if (!drain_ring(vc, vc->id)) {
			up_store_relaxed(pending, 1); /* look again, but at the rest first */
			return;
		}
		UP_INJECT(events_drained);
		if (UP_MUT(pending_cleared_late))
			up_store_relaxed(pending, 0);
		up_publish_events(vc);
	}
}

/* A call from wherever the caller is. */
static int call_any(enum upabi_op op, const uint64_t arg[5], uint64_t *ret_val)
{
	uint32_t slot;
	int r;

	if (up_on_act()) {
		up_preempt_disable();
		r = up_act_call(op, arg, ret_val);
		up_preempt_enable();
		return r;
	}
	slot = up_port_outside_get(up_rt.port);
	r = up_port_call(up_rt.port, slot, op, arg, ret_val);
	up_port_outside_put(up_rt.port, slot);
	return r;
}

int upcall_event_alloc(unsigned *ret_nr)
{
	uint64_t arg[5] = { 0 }, nr = 0;
	int r;

	if (!up_rt.started)
		return -ENOTCONN;
	if (!ret_nr)
		return -EINVAL;
	r = call_any(UPABI_OP_EVENT_ALLOC, arg, &nr);
	if (r < 0)
		return r;
	*ret_nr = (unsigned)nr;
	return 0;
}

int upcall_event_handle(unsigned nr, upcall_event_fn fn, void *arg)
{
	if (!up_rt.started)
		return -ENOTCONN;
	if (!nr || nr >= UPABI_EV_NR)
		return -EINVAL;
	up_store_release(&up_rt.handler[nr].fn, (upcall_event_fn)NULL);
	up_rt.handler[nr].arg = arg;
	up_store_release(&up_rt.handler[nr].fn, fn); /* pairs with tell() */
	return 0;
}

int upcall_event_route(unsigned nr, int vcore, int interrupt)
{
	struct upabi_evt_vector *e;
	uint32_t flags = UPABI_EVF_WAKE;

	if (!up_rt.started)
		return -ENOTCONN;
	if (!nr || nr >= UPABI_EV_NR || vcore < -1 || vcore >= (int)up_rt.max_vcores)
		return -EINVAL;
	e = &up_rt.port->data->evt[nr];
	if (interrupt)
		flags |= UPABI_EVF_NOTIFY;
	if (vcore < 0)
		flags |= UPABI_EVF_ANY;
	up_store_relaxed(&e->vcore, vcore < 0 ? UPABI_NONE : (uint32_t)vcore);
	up_store_release(&e->flags, flags);
	return 0;
}

int upcall_notify(unsigned nr, int vcore, uint64_t val, uint64_t aux)
{
	uint64_t arg[5] = { 0, nr, vcore < 0 ? UPABI_NONE : (uint64_t)vcore, val, aux };

	if (!up_rt.started)
		return -ENOTCONN;
	if (!nr || nr >= UPABI_EV_NR || vcore < -1 || vcore >= (int)up_rt.max_vcores)
		return -EINVAL;
	return call_any(UPABI_OP_NOTIFY, arg, NULL);
}
