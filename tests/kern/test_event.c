/* SPDX-License-Identifier: MIT */
/* Posting: ring, bitmask, kept; never two of them, never none. */
#include "rig.h"

static bool bit(struct rig *r, uint32_t v, uint32_t nr)
{
	return rig_vd(r, v)->mask[nr / 64] >> (nr % 64) & 1;
}

static int post(struct rig *r, uint32_t vcore, uint32_t nr, uint64_t val)
{
	struct upabi_event ev = { .nr = (upabi_u16)nr, .val = val, .arg = 4, .aux = val + 1 };
	int ret = up_kern_post(r->k, r->p, vcore, &ev, r->now);

	rig_check(r);
	return ret;
}

static void a_message_goes_to_the_ring_alone(void **state)
{
	struct upabi_event ev = { 0 };
	struct rig r;

	rig_many(&r, 2, 2, 4, 0);
	uint64_t posted = rig_map(&r, 1)->posted;

	assert_int_equal(post(&r, 1, UPABI_EV_USER, 7), 0);
	assert_false(bit(&r, 1, UPABI_EV_USER));
	assert_true(rig_pop(&r, 1, &ev));
	assert_int_equal(ev.nr, UPABI_EV_USER);
	assert_int_equal(ev.arg, 4);
	assert_true(ev.val == 7 && ev.aux == 8 && ev.time_ns == r.now);
	assert_false(rig_pop(&r, 1, &ev));
	assert_true(rig_map(&r, 1)->posted == posted + 1);
	rig_fini(&r);
}

static void no_message_goes_to_the_bitmask_alone(void **state)
{
	struct upabi_event ev = { 0 };
	struct rig r;

	rig_many(&r, 2, 2, 4, 0);
	r.data->evt[UPABI_EV_TIMER].flags = UPABI_EVF_NOMSG;
	r.data->evt[UPABI_EV_TIMER].vcore = 1;
	assert_int_equal(post(&r, NONE, UPABI_EV_TIMER, 7), 0);
	assert_true(bit(&r, 1, UPABI_EV_TIMER));
	assert_false(rig_pop(&r, 1, &ev));
	assert_true(rig_map(&r, 1)->overflow == 0);
	rig_fini(&r);
}

static void overflow_sets_the_bit_and_counts(void **state)
{
	struct upabi_event ev = { 0 };
	struct rig r;

	rig_many(&r, 1, 1, 2, 0);
	for (uint64_t i = 0; i < UPABI_RING_LEN; i++)
		assert_int_equal(post(&r, 0, UPABI_EV_USER, i), 0);
	assert_false(bit(&r, 0, UPABI_EV_USER));
	assert_int_equal(post(&r, 0, UPABI_EV_USER, 1000), 0);
	assert_int_equal(post(&r, 0, UPABI_EV_USER, 1001), 0);
	assert_true(bit(&r, 0, UPABI_EV_USER));
	assert_true(rig_map(&r, 0)->overflow == 2);
	/* What was there is untouched, in order. */
	for (uint64_t i = 0; i < UPABI_RING_LEN; i++) {
		assert_true(rig_pop(&r, 0, &ev));
		assert_true(ev.val == i);
	}
	assert_false(rig_pop(&r, 0, &ev));
	assert_int_equal(post(&r, 0, UPABI_EV_USER, 5), 0);
	assert_true(rig_pop(&r, 0, &ev) && ev.val == 5);
	rig_fini(&r);
}

static void indices_wrap(void **state)
{
	struct upabi_event ev = { 0 };
	struct rig r;

	rig_many(&r, 1, 1, 2, 0);
	r.p->vcores[0].ring_tail = rig_vd(&r, 0)->ring_tail = UINT32_MAX - 3;
	rig_vd(&r, 0)->ring_head = UINT32_MAX - 3;
	for (uint64_t i = 0; i < 10; i++)
		assert_int_equal(post(&r, 0, UPABI_EV_USER, i), 0);
	for (uint64_t i = 0; i < 10; i++)
		assert_true(rig_pop(&r, 0, &ev) && ev.val == i);
	assert_true(rig_map(&r, 0)->overflow == 0);
	rig_fini(&r);
}

/* Race 72: a consumer that lies about its head. */
static void race_72_a_senseless_head_is_a_full_ring(void **state)
{
	static const uint32_t heads[] = { 1, 100, 0x80000000u, UINT32_MAX - 64, 65 };
	struct rig r;

	rig_many(&r, 1, 1, 2, 0);
	for (size_t i = 0; i < UP_ARRAY_LEN(heads); i++) {
		uint64_t overflow = rig_map(&r, 0)->overflow;
		uint32_t tail = r.p->vcores[0].ring_tail;

		rig_vd(&r, 0)->ring_head = tail + heads[i];
		rig_vd(&r, 0)->ring_tail = 12345; /* nobody believes this one either */
		assert_int_equal(post(&r, 0, UPABI_EV_USER, 1), 0);
		assert_true(rig_map(&r, 0)->overflow == overflow + 1);
		assert_int_equal(r.p->vcores[0].ring_tail, tail);
	}
	rig_fini(&r);
}

static void nobody_online_keeps_it_for_the_first(void **state)
{
	struct upabi_event ev = { 0 };
	struct rig r;
	bool found[3] = { false };

	rig_many(&r, 2, 1, 2, 0);
	r.data->evt[40].flags = 0; /* does not wake */
	rig_call(&r, rig_map(&r, 0)->act, UPABI_OP_EVENT_ALLOC);
	for (int i = 0; i < 10; i++)
		rig_call(&r, rig_map(&r, 0)->act, UPABI_OP_EVENT_ALLOC);
	assert_int_equal(rig_call(&r, rig_map(&r, 0)->act, UPABI_OP_YIELD, 0), 0);
	assert_int_equal(r.info->state, UPABI_WAITING);
	assert_int_equal(post(&r, 5, 40, 11), 0);
	r.data->evt[41].flags = UPABI_EVF_NOMSG;
	assert_int_equal(post(&r, NONE, 41, 12), 0);
	assert_int_equal(r.info->state, UPABI_WAITING);
	assert_int_equal(post(&r, NONE, UPABI_EV_USER, 13), 0); /* this one wakes */
	assert_int_equal(r.info->state, UPABI_RUNNING_M);
	assert_true(bit(&r, 0, 41));
	while (rig_pop(&r, 0, &ev)) {
		found[0] |= ev.nr == 40 && ev.val == 11;
		found[1] |= ev.nr == UPABI_EV_USER && ev.val == 13;
		found[2] |= ev.nr == 41;
	}
	assert_true(found[0] && found[1] && !found[2]);
	assert_int_equal(rig_vd(&r, 0)->notif_pending, 1);
	rig_fini(&r);
}

static void kept_beyond_room_is_counted(void **state)
{
	struct upabi_event ev = { 0 };
	uint32_t got = 0;
	struct rig r;

	rig_init(&r, 1);
	rig_select(&r, rig_proc(&r, 1, 2, 0));
	for (uint64_t i = 0; i < 100000; i++)
		assert_int_equal(
			up_kern_post(r.k, r.p, NONE,
				     &(struct upabi_event){ .nr = UPABI_EV_USER, .val = i }, r.now),
			0);
	up_kern_run(r.k, r.p, r.now);
	while (rig_pop(&r, 0, &ev))
		got++;
	assert_int_equal(got, 64);
	assert_true(bit(&r, 0, UPABI_EV_USER));
	assert_true(rig_map(&r, 0)->posted == 100000);
	assert_true(rig_map(&r, 0)->overflow == 100000 - 64);
	rig_fini(&r);
}

/* Not there, or senseless: somebody else gets it; never a vcore that is just being taken. */
static void a_wish_that_makes_no_sense_is_no_wish(void **state)
{
	struct upabi_event ev = { 0 };
	struct rig r;

	rig_many(&r, 2, 2, 4, 0);
	r.data->evt[UPABI_EV_USER].vcore = 0xfffffff0u;
	assert_int_equal(post(&r, NONE, UPABI_EV_USER, 1), 0);
	assert_true(rig_pop(&r, 0, &ev) && ev.val == 1);
	assert_int_equal(post(&r, 7, UPABI_EV_USER, 2), 0); /* exists, offline */
	assert_true(rig_pop(&r, 0, &ev) && ev.val == 2);
	assert_int_equal(post(&r, 8, UPABI_EV_USER, 2), -EINVAL);
	assert_int_equal(post(&r, 0, UPABI_EV_NONE, 2), -EINVAL);
	assert_int_equal(post(&r, 0, UPABI_EV_DYNAMIC, 2), -EINVAL);
	assert_int_equal(up_kern_post(NULL, r.p, 0, &ev, 0), -EINVAL);
	assert_int_equal(up_kern_post(r.k, NULL, 0, &ev, 0), -EINVAL);
	assert_int_equal(up_kern_post(r.k, r.p, 0, NULL, 0), -EINVAL);
	assert_int_equal(up_kern_preempt(r.k, r.p, 0, 0, r.now), 0);
	assert_int_equal(post(&r, 0, UPABI_EV_USER, 3), 0);
	assert_false(rig_pop(&r, 0, &ev));
	assert_true(rig_pop(&r, 1, &ev) && ev.val == 3);
	rig_fini(&r);
}

/* Race 29, 48: the news of a preemption never goes to its victim; with nobody there it waits for
 * the first to start. */
static void race_29_48_news_of_a_preemption(void **state)
{
	struct upabi_event ev = { 0 };
	struct rig r;

	rig_many(&r, 2, 2, 4, 0);
	for (uint32_t v = 0; v < 2; v++)
		r.data->evt[UPABI_EV_VCORE_PREEMPTED].vcore = 1;
	/* Nobody else may have the cores back at once. */
	assert_int_equal(up_kern_core_limit(r.k, 1, r.now), 0);
	rig_effects(&r);
	rig_drain_all(&r);
	r.now += 2000;
	up_kern_tick(r.k, r.now);
	rig_effects(&r);
	assert_int_equal(rig_done(&r, rig_find(&r, UP_EFF_TAKE, 1)->id, UP_TOOK_UTHREAD), 0);
	assert_false(rig_drained(&r, 1, UPABI_EV_VCORE_PREEMPTED, NULL));
	assert_true(rig_drained(&r, 0, UPABI_EV_VCORE_PREEMPTED, &ev));
	assert_int_equal(ev.arg, 1);
	/* Now the last one goes: the news of it lies with whoever comes first. */
	assert_int_equal(up_kern_core_limit(r.k, 0, r.now), 0);
	r.now += 2000;
	up_kern_tick(r.k, r.now);
	rig_effects(&r);
	assert_int_equal(rig_done(&r, rig_find(&r, UP_EFF_TAKE, 0)->id, UP_TOOK_UTHREAD), 0);
	assert_int_equal(r.info->state, UPABI_RUNNABLE_M);
	assert_int_equal(up_kern_core_limit(r.k, 1, r.now), 0);
	assert_true(rig_drained(&r, 0, UPABI_EV_VCORE_PREEMPTED, &ev));
	assert_int_equal(ev.arg, 0);
	rig_fini(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_message_goes_to_the_ring_alone),
	cmocka_unit_test(no_message_goes_to_the_bitmask_alone),
	cmocka_unit_test(overflow_sets_the_bit_and_counts),
	cmocka_unit_test(indices_wrap),
	cmocka_unit_test(race_72_a_senseless_head_is_a_full_ring),
	cmocka_unit_test(nobody_online_keeps_it_for_the_first),
	cmocka_unit_test(kept_beyond_room_is_counted),
	cmocka_unit_test(a_wish_that_makes_no_sense_is_no_wish),
	cmocka_unit_test(race_29_48_news_of_a_preemption),
};

UNIT_MAIN(tests)
