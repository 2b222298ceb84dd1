/* SPDX-License-Identifier: MIT */
/* Blocked and unblocked: onto idle and busy vcores, stale claims, standbys, both promises kept. */
#include "rig.h"

/* Akaros race 29 in this shape: what a replaced activation leaves goes to one that is online. */
static void block_swaps_the_standby_in(void **state)
{
	struct upabi_event ev = { 0 };
	struct rig r;

	rig_many(&r, 2, 1, 3, 1);
	assert_int_equal(r.info->num_vcores, 1);
	uint32_t a = rig_map(&r, 0)->act, b = rig_map(&r, 0)->standby;

	assert_true(b != NONE && b != a);
	assert_int_equal(rig_call(&r, b, UPABI_OP_BLOCKED, 0, a, rig_act(&r, a)->gen, 77), 0);
	assert_int_equal(r.val, 0);
	assert_int_equal(rig_map(&r, 0)->act, b);
	assert_int_equal(rig_act(&r, a)->state, UPABI_ACT_BLOCKED);
	assert_int_equal(rig_act(&r, b)->state, UPABI_ACT_RUNNING);
	assert_int_equal(r.info->num_vcores, 1);
	assert_int_equal(r.info->blocked, 1);
	assert_int_equal(r.info->nr_blocked, 1);
	/* The third stands by now. */
	assert_true(rig_map(&r, 0)->standby != NONE && rig_map(&r, 0)->standby != a);
	assert_true(rig_drained(&r, 0, UPABI_EV_BLOCKED, &ev));
	assert_int_equal(ev.arg, a);
	assert_int_equal(ev.aux, 77);
	rig_fini(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(block_swaps_the_standby_in),
};

UNIT_MAIN(tests)
