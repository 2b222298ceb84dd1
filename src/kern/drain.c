/* SPDX-License-Identifier: MIT */
/*
 * Calls that lie in shared memory: found by their pending bits, copied once, answered in procinfo.
 * The words are the process's, so that the work is bounded by the number of slots whatever they say;
 * a call that was answered before is answered again and not carried out again.
 */
#include "kern/types.h"

static struct upabi_call *call_slot(const struct up_proc *p, uint32_t slot)
{
	return (struct upabi_call *)((char *)p->data + upabi_data_off_call(p->max_vcores)) + slot;
}

static upabi_u64 *pending_words(const struct up_proc *p)
{
	return (upabi_u64 *)((char *)p->data +
			     upabi_data_off_call_pending(p->max_vcores, p->max_acts));
}

/* Acquire on seq, which is raised after the rest; the rest may change under us all the same, so
 * each word is read once. */
static void copy_call(const struct upabi_call *from, struct upabi_call *to)
{
	memset(to, 0, sizeof(*to));
	to->seq = up_load_acquire(&from->seq);
	to->op = up_load_relaxed(&from->op);
	for (int i = 0; i < 5; i++)
		to->arg[i] = up_load_relaxed(&from->arg[i]);
}

static void answer(struct up_proc *p, uint32_t slot, bool wake)
{
	up_info_answer(p, slot);
	if (wake && p->state != UPABI_DYING_ABORT)
		up_eff_queue(&p->slots[slot].ack);
}

static void take_call(struct up_proc *p, uint32_t slot, uint32_t self, uint64_t now)
{
	struct up_slot *s = &p->slots[slot];
	struct upabi_call c;
	uint64_t val = 0;

	copy_call(call_slot(p, slot), &c);
	if (c.seq != s->seq || UP_MUT(call_executed_twice)) {
		UP_INJECT(kern_call);
		s->result = up_call(p, slot, &c, now, &val);
		s->val = val;
		s->seq = c.seq;
		up_policy_run(p->kern, now);
		p->hot = UPABI_NONE;
	}
	answer(p, slot, slot != self);
}

int up_kern_drain(struct up_kern *k, struct up_proc *p, uint32_t self, uint64_t now)
{
	uint32_t slots, answered = 0;
	upabi_u64 *words;

	if (!k || !p)
		return -EINVAL;
	slots = upabi_call_slots(p->max_acts);
	words = pending_words(p);
	for (uint32_t w = 0; w < upabi_call_pending_words(p->max_acts); w++) {
		uint64_t bits;

		/* Relaxed: a bit that is missed here comes with a bell of its own. */
		if (!up_load_relaxed(&words[w]))
			continue;
		/* Acquire: pairs with the release that set the bit; the call is there. */
		bits = up_xchg_acquire(&words[w], UINT64_C(0));
		while (bits) {
			uint32_t slot = w * 64 + up_lowest_bit(bits);

			bits &= bits - 1;
			if (slot >= slots)
				break;
			take_call(p, slot, self, now);
			answered++;
		}
	}
	return (int)answered;
}
