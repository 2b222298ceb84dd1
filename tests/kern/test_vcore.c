/* SPDX-License-Identifier: MIT */
/* Vcores: holes, the maps and their sequence counter, what a start leaves for the process to see. */
#include "rig.h"

static void holes_are_filled_lowest_first(void **state)
{
	struct rig r;

	rig_many(&r, 6, 5, 8, 0);
	for (uint32_t v = 0; v < 5; v++)
		assert_int_equal(rig_map(&r, v)->valid, 1);
	/* Out of order: 3, then 1.  What is wanted drops with each. */
	assert_int_equal(rig_call(&r, rig_map(&r, 3)->act, UPABI_OP_YIELD, 3), 0);
	assert_int_equal(rig_call(&r, rig_map(&r, 1)->act, UPABI_OP_YIELD, 1), 0);
	assert_int_equal(r.info->num_vcores, 3);
	assert_int_equal(rig_request(&r, rig_map(&r, 0)->act, 4, 0), 0);
	assert_int_equal(rig_map(&r, 1)->valid, 1);
	assert_int_equal(rig_map(&r, 3)->valid, 0);
	assert_int_equal(rig_request(&r, rig_map(&r, 0)->act, 6, 0), 0);
	assert_int_equal(rig_map(&r, 3)->valid, 1);
	assert_int_equal(rig_map(&r, 5)->valid, 1);
	rig_fini(&r);
}

static void both_maps_say_the_same(void **state)
{
	struct rig r;

	rig_many(&r, 4, 3, 4, 0);
	for (uint32_t v = 0; v < 3; v++) {
		uint32_t pc = rig_map(&r, v)->pcore;
		struct upabi_pcoremap *pm =
			(struct upabi_pcoremap *)((char *)r.info + r.info->off_pcoremap) + pc;

		assert_int_equal(pm->valid, 1);
		assert_int_equal(pm->vcore, v);
		assert_int_equal(rig_act(&r, rig_map(&r, v)->act)->vcore, v);
		assert_int_equal(rig_map(&r, v)->act_gen, rig_act(&r, rig_map(&r, v)->act)->gen);
	}
	uint32_t gone = rig_map(&r, 1)->pcore;

	assert_int_equal(rig_call(&r, rig_map(&r, 1)->act, UPABI_OP_YIELD, 1), 0);
	assert_int_equal(
		((struct upabi_pcoremap *)((char *)r.info + r.info->off_pcoremap) + gone)->valid,
		0);
	rig_fini(&r);
}

static void sequence_is_even_and_moves(void **state)
{
	struct rig r;
	uint32_t before;

	rig_many(&r, 4, 2, 4, 0);
	before = r.info->coremap_seq;
	assert_int_equal(before % 2, 0);
	assert_int_equal(rig_call(&r, rig_map(&r, 1)->act, UPABI_OP_YIELD, 1), 0);
	assert_int_equal(r.info->coremap_seq % 2, 0);
	assert_true(r.info->coremap_seq != before);
	rig_fini(&r);
}

static void start_is_told_and_timed(void **state)
{
	struct upabi_event ev = { 0 };
	struct rig r;

	rig_init(&r, 2);
	rig_select(&r, rig_proc(&r, 2, 4, 0));
	up_kern_run(r.k, r.p, r.now);
	rig_add_acts(&r, 1);
	rig_request(&r, rig_outside(&r), 1, 0);
	rig_effects(&r);
	struct up_effect *start = rig_find(&r, UP_EFF_START, 0);

	assert_non_null(start);
	assert_int_equal(start->starts, rig_act(&r, start->act)->starts);
	assert_true(rig_drained(&r, 0, UPABI_EV_VCORE_GRANTED, &ev));
	assert_int_equal(ev.arg, 0);
	assert_true(ev.time_ns == r.now);
	assert_true(rig_vd(&r, 0)->flags & UPABI_VCF_CAN_RCV);
	assert_true(rig_map(&r, 0)->resume_ns == r.now);
	r.now += 777;
	assert_int_equal(rig_call(&r, start->act, UPABI_OP_YIELD, 0), 0);
	assert_true(rig_map(&r, 0)->total_ns == 777);
	assert_false(rig_vd(&r, 0)->flags & UPABI_VCF_CAN_RCV);
	rig_fini(&r);
}

static void no_more_vcores_than_the_maximum(void **state)
{
	struct rig r;

	rig_init(&r, 8);
	rig_select(&r, rig_proc(&r, 3, 8, 0));
	up_kern_run(r.k, r.p, r.now);
	rig_add_acts(&r, 8);
	assert_int_equal(rig_request(&r, rig_outside(&r), UINT64_MAX, UINT64_MAX), 0);
	assert_int_equal(r.info->num_vcores, 3);
	assert_true(r.info->res[UPABI_RES_CORES].available == 3);
	rig_fini(&r);
}

/* A frozen vcore comes back before any hole: nothing else continues it. */
static void frozen_comes_first(void **state)
{
	struct rig r;
	uint32_t act;

	rig_many(&r, 3, 3, 6, 0);
	act = rig_map(&r, 2)->act;
	assert_int_equal(up_kern_core_remove(r.k, rig_map(&r, 2)->pcore, 0, r.now), 0);
	rig_effects(&r);
	assert_int_equal(rig_done(&r, rig_find(&r, UP_EFF_TAKE, 2)->id, UP_TOOK_VCORE), 0);
	assert_int_equal(rig_act(&r, act)->state, UPABI_ACT_FROZEN);
	assert_int_equal(rig_map(&r, 2)->flags, UPABI_VMF_PREEMPTED | UPABI_VMF_VCORE_CTX);
	rig_drain_all(&r);
	/* Vcore 0 yields nicely for a warning, so that 0 is the lowest hole. */
	assert_int_equal(up_kern_preempt(r.k, r.p, 0, r.now + 100, r.now), 0);
	rig_drain_all(&r);
	assert_int_equal(rig_call(&r, rig_map(&r, 0)->act, UPABI_OP_YIELD, 0, 1), 0);
	assert_int_equal(rig_map(&r, 2)->valid, 1);
	assert_int_equal(rig_map(&r, 2)->act, act);
	assert_int_equal(rig_map(&r, 2)->flags, UPABI_VMF_RETURNED);
	assert_true(rig_drained(&r, 2, UPABI_EV_VCORE_RETURNED, NULL));
	rig_fini(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(holes_are_filled_lowest_first),
	cmocka_unit_test(both_maps_say_the_same),
	cmocka_unit_test(sequence_is_even_and_moves),
	cmocka_unit_test(start_is_told_and_timed),
	cmocka_unit_test(no_more_vcores_than_the_maximum),
	cmocka_unit_test(frozen_comes_first),
};

UNIT_MAIN(tests)
