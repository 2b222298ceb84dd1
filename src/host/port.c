/* SPDX-License-Identifier: MIT */
/*
 * Calls, gates and events as the process sees them: words, then a bell.  The kernel side may be in
 * this process (its words are then reached by two addresses, so a private futex needs the process's
 * own) or in another one.  Runs anywhere, as port.h says: no TLS, no libc, no allocation.
 */
#include "host/port.h"

#include <errno.h>
#include <stdbool.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/bug.h"
#include "base/futex.h"
#include "base/inject.h"
#include "base/mutant.h"

/* A kernel side on another core that is awake answers within this many looks. */
#define SPINS 200
/* How long to sleep before asking whether the kernel side still lives. */
#define LOOK_NS (50 * UP_NSEC_PER_MSEC)

#define OUTSIDE_ALL (~UINT32_C(0))
UP_STATIC_ASSERT(UPABI_OUTSIDE_CALLS == 32, "outside slots fill one word");

static bool info_ok(const struct upabi_procinfo *i)
{
	uint32_t v = i->max_vcores, p = i->max_pcores, a = i->max_acts;

	return i->magic == UPABI_INFO_MAGIC && i->version == UPABI_VERSION &&
	       i->header_sz == sizeof(*i) && v && p && a && i->off_vcoremap == sizeof(*i) &&
	       i->off_pcoremap == upabi_info_off_pcoremap(v) &&
	       i->off_actmap == upabi_info_off_actmap(v, p) &&
	       i->region_sz == upabi_info_size(v, p, a);
}

static bool data_ok(const struct upabi_procdata *d, uint32_t v, uint32_t a)
{
	return d->magic == UPABI_DATA_MAGIC && d->version == UPABI_VERSION &&
	       d->header_sz == sizeof(*d) && d->off_vcore == sizeof(*d) &&
	       d->off_call == upabi_data_off_call(v) &&
	       d->off_call_pending == upabi_data_off_call_pending(v, a) &&
	       d->region_sz == upabi_data_size(v, a);
}

int up_port_init(struct up_port *port, const struct upabi_procinfo *info,
		 struct upabi_procdata *data)
{
	const char *i = (const char *)info;
	char *d = (char *)data;

	if (!port || !info || !data)
		return -EINVAL;
	if (!info_ok(info) || !data_ok(data, info->max_vcores, info->max_acts))
		return -EPROTO;
	*port = (struct up_port){
		.info = info,
		.data = data,
		.vmap = (const void *)(i + info->off_vcoremap),
		.pmap = (const void *)(i + info->off_pcoremap),
		.amap = (const void *)(i + info->off_actmap),
		.vc = (void *)(d + data->off_vcore),
		.call = (void *)(d + data->off_call),
		.call_pending = (void *)(d + data->off_call_pending),
		.max_vcores = info->max_vcores,
		.max_acts = info->max_acts,
	};
	return 0;
}

/* Words that only this process waits on and wakes by one address are cheaper to sleep on. */
static int futex_flags(const struct up_port *port)
{
	return up_load_relaxed(&port->info->mechanisms) & UPABI_MECH_EMBEDDED ? FUTEX_PRIVATE_FLAG
									      : 0;
}

static bool answered(const struct up_port *port, uint32_t slot, uint32_t seq)
{
	/* Acquire pairs with the kernel side's release of call_ack: result and value are there. */
	return up_load_acquire(&port->amap[slot].call_ack) == seq;
}

/* 0, or why there will be no answer. */
static int wait_answer(struct up_port *port, uint32_t slot, uint32_t seq)
{
	uint32_t *ack = (uint32_t *)&port->amap[slot].call_ack;

	for (int i = 0; i < SPINS; i++) {
		if (answered(port, slot, seq))
			return 0;
		up_cpu_relax();
	}
	for (;;) {
		/* Sleeps only while the word is what we saw, so an answer in between is seen. */
		uint32_t seen = up_load_acquire(ack);
		int32_t lost;

		if (seen == seq)
			return 0;
		/* After the answer: one that was given before the end counts.  Acquire pairs with
		 * the release in up_port_lose. */
		lost = up_load_acquire(&port->lost);
		if (lost)
			return lost;
		UP_INJECT(port_before_sleep);
		if (up_futex_wait_op(ack, seen,
				     port->alive ? up_now_ns() + LOOK_NS : UP_FUTEX_FOREVER,
				     futex_flags(port)) == -ETIMEDOUT &&
		    port->alive && port->alive(port) && !UP_MUT(port_lost_unseen))
			up_port_lose(port, -EPIPE);
	}
}

static void write_call(struct upabi_call *c, enum upabi_op op, const uint64_t arg[5])
{
	/* Relaxed: the release of seq and of the pending bit publish them.  The kernel side may
	 * look in between, and then drops what it read for want of the bit. */
	up_store_relaxed(&c->op, (uint32_t)op);
	for (int i = 0; i < 5; i++)
		up_store_relaxed(&c->arg[i], arg ? arg[i] : 0);
}

static void set_pending(struct up_port *port, uint32_t slot)
{
	/* Release: who takes the bit (acquire) sees the call.  Others set bits of the word. */
	up_fetch_or_release(&port->call_pending[slot / 64], UINT64_C(1) << (slot % 64));
}

int up_port_call(struct up_port *port, uint32_t slot, enum upabi_op op, const uint64_t arg[5],
		 uint64_t *ret_val)
{
	struct upabi_call *c;
	uint32_t seq;
	int32_t ret;

	if (!port || !port->ring || slot >= upabi_call_slots(port->max_acts) ||
	    op <= UPABI_OP_NONE || op >= UPABI_OP_NR)
		return -EINVAL;
	ret = up_load_acquire(&port->lost); /* pairs with the release in up_port_lose */
	if (ret)
		return ret;
	c = &port->call[slot];
	seq = up_load_relaxed(&c->seq) + 1; /* the slot is ours: nobody else writes it */
	if (UP_MUT(port_pending_before_seq))
		set_pending(port, slot);
	UP_INJECT(port_before_args);
	write_call(c, op, arg);
	UP_INJECT(port_before_seq);
	up_store_release(&c->seq, seq); /* pairs with the kernel side's acquire of seq */
	UP_INJECT(port_before_pending);
	if (!UP_MUT(port_pending_before_seq))
		set_pending(port, slot);
	UP_INJECT(port_before_ring);
	port->ring(port, slot);
	UP_INJECT(port_after_ring);
	ret = wait_answer(port, slot, seq);
	UP_INJECT(port_after_answer);
	if (ret)
		return ret;
	ret = port->amap[slot].call_result; /* ordered by answered() */
	if (ret >= 0 && ret_val)
		*ret_val = port->amap[slot].call_val;
	return ret;
}

uint32_t up_port_outside_get(struct up_port *port)
{
	for (;;) {
		uint32_t taken = up_load_relaxed(&port->outside_taken);

		while (taken != OUTSIDE_ALL) {
			uint32_t bit = up_lowest_bit(~(uint64_t)taken);

			/* Acquire pairs with the release of the one who had the slot before:
			 * its call is over. */
			if (up_cas_acquire(&port->outside_taken, &taken,
					   taken | UINT32_C(1) << bit))
				return port->max_acts + bit;
		}
		/* Sequentially consistent with up_port_outside_put: either it sees us counted,
		 * or the futex sees the word changed. */
		up_fetch_add_seq_cst(&port->outside_waiters, 1);
		UP_INJECT(port_outside_sleep);
		up_futex_wait_private(&port->outside_taken, OUTSIDE_ALL, UP_FUTEX_FOREVER);
		up_fetch_sub_relaxed(&port->outside_waiters, 1);
	}
}

void up_port_outside_put(struct up_port *port, uint32_t slot)
{
	uint32_t bit = slot - port->max_acts;

	if (slot < port->max_acts || bit >= UPABI_OUTSIDE_CALLS)
		return;
	up_fetch_and_seq_cst(&port->outside_taken, ~(UINT32_C(1) << bit));
	/* Whoever sleeps counted itself first (both seq_cst, see above). */
	if (up_load_seq_cst(&port->outside_waiters) && !UP_MUT(port_outside_wake_dropped))
		up_futex_wake_private(&port->outside_taken, 1);
}

uint32_t up_port_gate(const struct up_port *port, uint32_t slot)
{
	/* Acquire pairs with the opener's release: the map that it wrote before is seen. */
	return up_load_acquire(&port->call[slot].gate);
}

uint32_t up_port_gate_wait(struct up_port *port, uint32_t slot, uint32_t seen)
{
	for (;;) {
		uint32_t gate = up_port_gate(port, slot);

		/* Acquire pairs with the release in up_port_lose, which opens gates afterwards. */
		if (gate != seen || up_load_acquire(&port->lost))
			return gate;
		UP_INJECT(port_gate_sleep);
		up_futex_wait_op(&port->call[slot].gate, seen, UP_FUTEX_FOREVER, futex_flags(port));
	}
}

int up_port_gate_open(struct up_port *port, uint32_t slot)
{
	/* Release pairs with up_port_gate.  An add, since both sides open gates. */
	up_fetch_add_release(&port->call[slot].gate, UP_MUT(port_gate_not_raised) ? 0 : 1);
	UP_INJECT(port_gate_opened);
	return up_futex_wake_op(&port->call[slot].gate, 1, futex_flags(port));
}

static int take_from_mask(struct upabi_vcoredata *vc, struct upabi_event *ret_ev)
{
	for (unsigned w = 0; w < UPABI_MASK_WORDS; w++) {
		uint64_t bits = up_load_relaxed(&vc->mask[w]);

		while (bits) {
			unsigned bit = up_lowest_bit(bits);
			uint64_t one = UINT64_C(1) << bit;

			/* Acquire pairs with the kernel side's release when it set the bit.  Only
			 * that one bit goes: others may be set meanwhile. */
			if (up_fetch_and_acq_rel(&vc->mask[w],
						 UP_MUT(port_mask_word_lost) ? 0 : ~one) &
			    one) {
				*ret_ev = (struct upabi_event){ .nr = (uint16_t)(w * 64 + bit) };
				return 1;
			}
			bits &= ~one;
		}
	}
	return 0;
}

int up_port_next_event(struct up_port *port, uint32_t vcore, struct upabi_event *ret_ev)
{
	struct upabi_vcoredata *vc;
	uint32_t head;

	if (!port || !ret_ev || vcore >= port->max_vcores)
		return 0;
	vc = &port->vc[vcore];
	head = up_load_relaxed(&vc->ring_head); /* one consumer at a time writes it */
	/* Acquire pairs with the kernel side's release of ring_tail: the slot is written. */
	if (up_load_acquire(&vc->ring_tail) == head)
		return take_from_mask(vc, ret_ev);
	*ret_ev = vc->ring[head % UPABI_RING_LEN];
	UP_INJECT(port_event_copied);
	/* Release pairs with the kernel side's acquire of ring_head: the slot may be reused. */
	up_store_release(&vc->ring_head, head + 1);
	return 1;
}

void up_port_lose(struct up_port *port, int error)
{
	int32_t none = 0;

	/* Release pairs with the acquires of lost; the first reason stays. */
	if (!port || !up_cas_release(&port->lost, &none, error))
		return;
	for (uint32_t s = 0; s < upabi_call_slots(port->max_acts); s++) {
		up_port_gate_open(port, s);
		/* Who had looked at lost before sleeps for LOOK_NS at most, or is woken here. */
		up_futex_wake_op((uint32_t *)&port->amap[s].call_ack, INT32_MAX, futex_flags(port));
	}
}
