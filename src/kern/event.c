/* SPDX-License-Identifier: MIT */
/*
 * Posting events.  Each one goes to exactly one place: a vcore's ring; its bitmask, when it carries
 * no message or the ring has no room (counted); or, when no vcore listens, into private memory,
 * from where the vcore that starts first gets it.
 *
 * The kernel side is the ring's only producer.  Where it stands is its own knowledge; the head is
 * the process's word and may be any number.
 */
#include "kern/types.h"

static void set_bit(struct upabi_vcoredata *vd, uint32_t nr)
{
	/* Release: pairs with the vcore's exchange of the word. */
	up_fetch_or_release(&vd->mask[nr / 64], UINT64_C(1) << (nr % 64));
}

/* Relaxed stores into the slot: the tail's release publishes them. */
static void write_slot(struct upabi_event *slot, const struct upabi_event *ev)
{
	up_store_relaxed(&slot->nr, ev->nr);
	up_store_relaxed(&slot->flags, ev->flags);
	up_store_relaxed(&slot->arg, ev->arg);
	up_store_relaxed(&slot->val, ev->val);
	up_store_relaxed(&slot->aux, ev->aux);
	up_store_relaxed(&slot->time_ns, ev->time_ns);
}

/* False when the ring has no room, or its head makes no sense. */
static bool push(struct upabi_vcoredata *vd, struct up_vcore *vc, const struct upabi_event *ev)
{
	/* Acquire: the vcore has read a slot before its head lets us write there. */
	uint32_t used = vc->ring_tail - up_load_acquire(&vd->ring_head);

	if (UP_MUT(head_believed) ? used == UPABI_RING_LEN
				  : used >= UPABI_RING_LEN && !UP_MUT(ring_overwrites))
		return false;
	if (UP_MUT(tail_before_slot))
		up_store_release(&vd->ring_tail, vc->ring_tail + 1);
	write_slot(&vd->ring[vc->ring_tail % UPABI_RING_LEN], ev);
	vc->ring_tail++;
	/* Release: the slot is written; pairs with the vcore's load of the tail. */
	up_store_release(&vd->ring_tail, vc->ring_tail);
	return true;
}

/* `lost`: so many like it had a message and have none any more; they share the bit. */
static void post_to(struct up_proc *p, uint32_t vcore, const struct upabi_event *ev, bool msg,
		    uint32_t lost)
{
	struct upabi_vcoredata *vd = up_data_vcore(p, vcore);
	struct up_vcore *vc = &p->vcores[vcore];

	vc->posted += lost ? lost : 1;
	if (UP_MUT(both_ring_and_bitmask))
		set_bit(vd, ev->nr);
	if (!msg || !push(vd, vc, ev)) {
		set_bit(vd, ev->nr);
		if (!UP_MUT(overflow_not_counted))
			vc->overflow += msg ? 1 : lost;
	}
	UP_INJECT(kern_posted);
	up_info_posted(p, vcore);
}

/* Nobody listens. */
static void keep(struct up_proc *p, const struct upabi_event *ev, bool msg)
{
	struct up_kept *kept = &p->kept;

	if (UP_MUT(event_lost_when_offline))
		return;
	if (msg && kept->nr < UP_KEPT_LEN)
		kept->ev[kept->nr++] = *ev;
	else if (msg)
		kept->lost[ev->nr]++;
	else
		up_bit_set(kept->bits, ev->nr);
	kept->any = true;
}

/* What was kept goes to this vcore, which is about to run. */
void up_event_flush_kept(struct up_proc *p, uint32_t vcore)
{
	struct up_kept *kept = &p->kept;
	struct upabi_event bit = { 0 };

	if (!kept->any)
		return;
	for (uint32_t i = 0; i < kept->nr; i++)
		post_to(p, vcore, &kept->ev[i], true, 0);
	for (uint32_t nr = 0; nr < p->nr_events; nr++) {
		bit.nr = (upabi_u16)nr;
		if (kept->lost[nr] || up_bit_test(kept->bits, nr))
			post_to(p, vcore, &bit, false, kept->lost[nr]);
		kept->lost[nr] = 0;
	}
	kept->nr = 0;
	memset(kept->bits, 0, sizeof(kept->bits));
	kept->any = false;
	up_notify_vcore(p, vcore);
}

/* Does a message lie there that the vcore has not taken?  Call with the vcore unable to be posted
 * to by anybody else. */
bool up_event_left(struct up_proc *p, uint32_t vcore)
{
	struct upabi_vcoredata *vd = up_data_vcore(p, vcore);

	/* The look comes after whatever the caller has changed. */
	up_fence_seq_cst();
	if (up_load_acquire(&vd->notif_pending) && !UP_MUT(yield_ignores_pending))
		return true;
	if (up_load_acquire(&vd->ring_head) != p->vcores[vcore].ring_tail)
		return true;
	for (uint32_t w = 0; w < UPABI_MASK_WORDS; w++)
		if (up_load_acquire(&vd->mask[w]))
			return true;
	return false;
}

/* To vcore if it listens, else to anybody who does, else kept. */
static void send_to(struct up_proc *p, uint32_t vcore, const struct upabi_event *ev, bool msg,
		    bool notify)
{
	if (!up_vcore_listens(p, vcore))
		vcore = up_vcore_any(p);
	if (vcore == UPABI_NONE) {
		keep(p, ev, msg);
		return;
	}
	if (UP_MUT(pending_before_message) && notify)
		up_notify_vcore(p, vcore);
	post_to(p, vcore, ev, msg, 0);
	if (notify && !UP_MUT(pending_before_message))
		up_notify_vcore(p, vcore);
}

/* Those that must not wait for a look, whatever the vector table says. */
static bool is_urgent(uint32_t nr)
{
	return nr == UPABI_EV_PREEMPT_PENDING || nr == UPABI_EV_GANG_PREEMPT_PENDING ||
	       nr == UPABI_EV_VCORE_PREEMPTED || nr == UPABI_EV_UNBLOCKED || nr == UPABI_EV_FAULT ||
	       nr == UPABI_EV_CHECK_MSGS;
}

static bool is_waking(uint32_t nr)
{
	return nr == UPABI_EV_UNBLOCKED || nr == UPABI_EV_USER || nr == UPABI_EV_TIMER;
}

/* The process's wish, read once; numbers that make no sense are no wish. */
static uint32_t vector_of(const struct up_proc *p, uint32_t nr, uint32_t *ret_vcore)
{
	const struct upabi_evt_vector *vec = &p->data->evt[nr];

	/* Relaxed: two independent words, each of which may be anything. */
	*ret_vcore = up_load_relaxed(&vec->vcore);
	return up_load_relaxed(&vec->flags);
}

/* vcore UPABI_NONE: as the vector table says.  notify, wake: whatever it says. */
int up_event_send(struct up_proc *p, uint32_t vcore, const struct upabi_event *ev, bool notify,
		  bool wake, uint64_t now)
{
	struct upabi_event copy = *ev;
	uint32_t flags, wish;

	if (ev->nr == UPABI_EV_NONE || ev->nr >= p->nr_events)
		return -EINVAL;
	if (vcore != UPABI_NONE && vcore >= p->max_vcores)
		return -EINVAL;
	if (up_proc_is_dead(p))
		return -ESRCH;
	copy.time_ns = now;
	flags = vector_of(p, ev->nr, &wish);
	notify = notify || is_urgent(ev->nr) || (flags & UPABI_EVF_NOTIFY);
	wake = wake || is_waking(ev->nr) || (flags & UPABI_EVF_WAKE);
	send_to(p, vcore == UPABI_NONE ? wish : vcore, &copy, !(flags & UPABI_EVF_NOMSG), notify);
	if (wake)
		up_proc_wake(p, now);
	return 0;
}

/* The kernel side's own events: they need their message, so that NOMSG is no use to them. */
void up_event_tell(struct up_proc *p, uint32_t vcore, uint32_t nr, uint32_t arg, uint64_t val,
		   uint64_t aux, uint64_t now)
{
	struct upabi_event ev = {
		.nr = (upabi_u16)nr,
		.arg = arg,
		.val = val,
		.aux = aux,
		.time_ns = now,
	};
	uint32_t flags, wish;

	if (up_proc_is_dead(p))
		return;
	flags = vector_of(p, nr, &wish);
	send_to(p, vcore == UPABI_NONE ? wish : vcore, &ev, true,
		is_urgent(nr) || (flags & UPABI_EVF_NOTIFY));
	if (is_waking(nr) || (flags & UPABI_EVF_WAKE))
		up_proc_wake(p, now);
}

int up_kern_post(struct up_kern *k, struct up_proc *p, uint32_t vcore, const struct upabi_event *ev,
		 uint64_t now)
{
	int ret;

	if (!k || !p || !ev)
		return -EINVAL;
	p->hot = UPABI_NONE;
	ret = up_event_send(p, vcore, ev, false, false, now);
	up_policy_run(k, now);
	return ret;
}
