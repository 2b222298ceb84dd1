/* SPDX-License-Identifier: MIT */
/* Calls out of shared memory: found, copied, answered once; whatever the words say. */
#include "rig.h"

static struct upabi_call *slot_of(struct rig *r, uint32_t slot)
{
	return (struct upabi_call *)((char *)r->data + r->data->off_call) + slot;
}

static upabi_u64 *pending(struct rig *r)
{
	return (upabi_u64 *)((char *)r->data + r->data->off_call_pending);
}

static void ring(struct rig *r, uint32_t slot, uint32_t seq, uint32_t op)
{
	slot_of(r, slot)->op = op;
	slot_of(r, slot)->seq = seq;
	pending(r)[slot / 64] |= UINT64_C(1) << (slot % 64);
}

static void answered_with_its_number(void **state)
{
	struct rig r;
	uint32_t out;

	rig_many(&r, 1, 1, 2, 0);
	out = rig_outside(&r);
	ring(&r, out, 1, UPABI_OP_EVENT_ALLOC);
	ring(&r, out + 1, 1, UPABI_OP_NR + 5);
	assert_int_equal(up_kern_drain(r.k, r.p, out, r.now), 2);
	assert_int_equal(rig_act(&r, out)->call_ack, 1);
	assert_int_equal(rig_act(&r, out)->call_result, 0);
	assert_true(rig_act(&r, out)->call_val == UPABI_EV_DYNAMIC);
	assert_int_equal(rig_act(&r, out + 1)->call_result, -EINVAL);
	assert_int_equal(r.info->nr_refused, 1);
	/* The caller needs no waking; the other does. */
	rig_effects(&r);
	assert_int_equal(rig_count(&r, UP_EFF_ACK), 1);
	assert_int_equal(rig_find(&r, UP_EFF_ACK, NONE)->act, out + 1);
	assert_int_equal(up_kern_drain(r.k, r.p, out, r.now), 0);
	assert_int_equal(up_kern_drain(NULL, r.p, out, r.now), -EINVAL);
	assert_int_equal(up_kern_drain(r.k, NULL, out, r.now), -EINVAL);
	rig_fini(&r);
}

/* The bell twice for one call: the same answer, and not a second event number. */
static void repeated_is_answered_and_not_done_again(void **state)
{
	struct rig r;
	uint32_t out;

	rig_many(&r, 1, 1, 2, 0);
	out = rig_outside(&r);
	for (int i = 0; i < 3; i++) {
		ring(&r, out, 7, UPABI_OP_EVENT_ALLOC);
		assert_int_equal(up_kern_drain(r.k, r.p, out, r.now), 1);
		assert_true(rig_act(&r, out)->call_val == UPABI_EV_DYNAMIC);
		assert_int_equal(r.info->nr_events, UPABI_EV_DYNAMIC + 1);
	}
	ring(&r, out, 8, UPABI_OP_EVENT_ALLOC);
	up_kern_drain(r.k, r.p, out, r.now);
	assert_int_equal(r.info->nr_events, UPABI_EV_DYNAMIC + 2);
	rig_fini(&r);
}

static void all_bits_set_is_all_slots_and_no_more(void **state)
{
	struct rig r;
	uint32_t words, slots;

	rig_many(&r, 1, 1, 2, 0);
	slots = upabi_call_slots(r.p->max_acts);
	words = upabi_call_pending_words(r.p->max_acts);
	for (uint32_t w = 0; w < words; w++)
		pending(&r)[w] = UINT64_MAX;
	assert_int_equal(up_kern_drain(r.k, r.p, NONE, r.now), slots);
	for (uint32_t w = 0; w < words; w++)
		assert_true(pending(&r)[w] == 0);
	rig_check(&r);
	rig_fini(&r);
}

/* The header that the process wrote is not where the slots are looked for. */
static void offsets_are_our_own(void **state)
{
	struct rig r;
	uint32_t out;

	rig_many(&r, 1, 1, 2, 0);
	out = rig_outside(&r);
	ring(&r, out, 1, UPABI_OP_EVENT_ALLOC);
	memset(r.data, 0xff, 64);
	assert_int_equal(up_kern_drain(r.k, r.p, out, r.now), 1);
	assert_int_equal(rig_act(&r, out)->call_result, 0);
	rig_fini(&r);
}

/* A call that waited in its slot while its process died. */
static void the_dead_get_an_answer_and_no_wake(void **state)
{
	struct rig r;
	uint32_t out;

	rig_many(&r, 1, 1, 2, 0);
	out = rig_outside(&r);
	ring(&r, out, 1, UPABI_OP_EXIT);
	ring(&r, out + 1, 1, UPABI_OP_REQUEST);
	assert_int_equal(up_kern_drain(r.k, r.p, out, r.now), 2);
	assert_int_equal(rig_act(&r, out + 1)->call_result, -ESRCH);
	rig_effects(&r);
	assert_int_equal(rig_done(&r, rig_find(&r, UP_EFF_TAKE, 0)->id, UP_TOOK_GONE), 0);
	ring(&r, out + 1, 2, UPABI_OP_REQUEST);
	assert_int_equal(up_kern_drain(r.k, r.p, out, r.now), 1);
	rig_effects(&r);
	assert_null(rig_find(&r, UP_EFF_ACK, NONE));
	assert_int_equal(r.log[r.nr_log - 1].op, UP_EFF_RELEASE);
	rig_fini(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(answered_with_its_number),
	cmocka_unit_test(repeated_is_answered_and_not_done_again),
	cmocka_unit_test(all_bits_set_is_all_slots_and_no_more),
	cmocka_unit_test(offsets_are_our_own),
	cmocka_unit_test(the_dead_get_an_answer_and_no_wake),
};

UNIT_MAIN(tests)
