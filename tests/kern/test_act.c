/* SPDX-License-Identifier: MIT */
/* Activations: numbers and generations, the pool, who stands by for whom, who is asked for. */
#include "rig.h"

static void added_until_full(void **state)
{
	struct rig r;

	rig_init(&r, 1);
	rig_select(&r, rig_proc(&r, 1, 3, 0));
	up_kern_run(r.k, r.p, r.now);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(rig_call(&r, rig_outside(&r), UPABI_OP_ACT_ADD, 5), 0);
		assert_int_equal(r.val, i);
		assert_int_equal(rig_act(&r, i)->state, UPABI_ACT_POOLED);
		assert_int_equal(rig_act(&r, i)->gen, 1);
		assert_int_equal(rig_act(&r, i)->task, 5);
	}
	assert_int_equal(rig_call(&r, rig_outside(&r), UPABI_OP_ACT_ADD, 5), -ENOSPC);
	assert_int_equal(r.info->pooled, 3);
	/* In bulk, the coldest first; the slots come back with another generation. */
	assert_int_equal(rig_call(&r, rig_outside(&r), UPABI_OP_ACT_DEL, 2), 0);
	assert_int_equal(r.val, 2);
	assert_int_equal(r.info->pooled, 1);
	assert_int_equal(rig_call(&r, rig_outside(&r), UPABI_OP_ACT_ADD, 5), -ENOSPC);
	rig_effects(&r);
	assert_int_equal(rig_count(&r, UP_EFF_DROP_ACT), 2);
	assert_int_equal(rig_call(&r, rig_outside(&r), UPABI_OP_ACT_ADD, 6), 0);
	assert_int_equal(rig_act(&r, (uint32_t)r.val)->gen, 2);
	assert_int_equal(rig_act(&r, (uint32_t)r.val)->task, 6);
	assert_int_equal(rig_call(&r, rig_outside(&r), UPABI_OP_ACT_DEL, UINT64_MAX), 0);
	assert_int_equal(r.val, 2);
	rig_fini(&r);
}

static void each_online_vcore_has_its_own_standby(void **state)
{
	struct rig r;

	rig_many(&r, 3, 3, 6, 1);
	for (uint32_t v = 0; v < 3; v++) {
		uint32_t s = rig_map(&r, v)->standby;

		assert_true(s < 6);
		assert_int_equal(rig_act(&r, s)->state, UPABI_ACT_POOLED);
		assert_int_equal(rig_act(&r, s)->vcore, v);
		for (uint32_t w = 0; w < v; w++)
			assert_int_not_equal(rig_map(&r, w)->standby, s);
	}
	rig_fini(&r);
}

/* Two vcores, four activations: one vcore more is wanted and there is a core, but both that are
 * pooled stand by. */
static void a_standby_is_not_started_elsewhere(void **state)
{
	struct rig r;
	uint32_t s0, s1;

	rig_many(&r, 3, 2, 4, 1);
	s0 = rig_map(&r, 0)->standby;
	s1 = rig_map(&r, 1)->standby;
	assert_int_equal(rig_request(&r, rig_map(&r, 0)->act, 3, 0), 0);
	assert_int_equal(r.info->num_vcores, 2);
	assert_int_equal(rig_map(&r, 0)->standby, s0);
	assert_int_equal(rig_map(&r, 1)->standby, s1);
	assert_string_equal(up_kern_idle_reason(r.k, 2) ? "" : "none", "none");
	rig_effects(&r);
	struct up_effect *want = rig_find(&r, UP_EFF_WANT_ACT, NONE);

	assert_non_null(want);
	assert_true(want->arg == 1);
	/* It comes: started at once. */
	rig_add_acts(&r, 1);
	assert_int_equal(r.info->num_vcores, 3);
	assert_int_equal(rig_map(&r, 2)->standby, NONE);
	rig_effects(&r);
	assert_non_null(rig_find(&r, UP_EFF_START, 2));
	assert_non_null(rig_find(&r, UP_EFF_WANT_ACT, NONE));
	/* The standby of the new one is said aloud, since it already ran without. */
	rig_started(&r);
	rig_add_acts(&r, 1);
	rig_effects(&r);
	struct up_effect *stand = rig_find(&r, UP_EFF_STANDBY, 2);

	assert_non_null(stand);
	assert_int_equal(stand->act, rig_map(&r, 2)->standby);
	rig_fini(&r);
}

static void asked_for_once(void **state)
{
	struct rig r;

	rig_init(&r, 4);
	rig_select(&r, rig_proc(&r, 4, 8, 1));
	up_kern_run(r.k, r.p, r.now);
	rig_request(&r, rig_outside(&r), 2, 0);
	rig_effects(&r);
	assert_int_equal(rig_count(&r, UP_EFF_WANT_ACT), 1);
	rig_request(&r, rig_outside(&r), 2, 0);
	r.now += 100;
	up_kern_tick(r.k, r.now);
	assert_int_equal(rig_effects(&r), 0);
	rig_fini(&r);
}

/* The host says that it cannot make any: asked again later, not in a loop, and not never. */
static void asked_again_when_refused(void **state)
{
	struct rig r;
	uint64_t id;

	rig_init(&r, 4);
	rig_select(&r, rig_proc(&r, 4, 8, 1));
	up_kern_run(r.k, r.p, r.now);
	rig_request(&r, rig_outside(&r), 1, 0);
	rig_effects(&r);
	id = rig_find(&r, UP_EFF_WANT_ACT, NONE)->id;
	assert_int_equal(rig_done(&r, id, -EAGAIN), 0);
	assert_int_equal(rig_effects(&r), 0);
	assert_true(up_kern_deadline(r.k) > r.now);
	r.now = up_kern_deadline(r.k);
	up_kern_tick(r.k, r.now);
	rig_check(&r);
	rig_effects(&r);
	assert_int_equal(rig_count(&r, UP_EFF_WANT_ACT), 1);
	assert_int_equal(rig_done(&r, id, -EAGAIN), -ESTALE);
	rig_fini(&r);
}

/* The one that last ran on that core; and before it, the caller, who is awake. */
static void the_nearest_is_started(void **state)
{
	struct rig r;
	uint32_t a0, a1, pc1;

	rig_many(&r, 2, 2, 4, 0);
	a0 = rig_map(&r, 0)->act;
	a1 = rig_map(&r, 1)->act;
	pc1 = rig_map(&r, 1)->pcore;
	assert_int_equal(rig_call(&r, a1, UPABI_OP_YIELD, 1), 0);
	assert_int_equal(rig_request(&r, a0, 2, 0), 0);
	assert_int_equal(rig_map(&r, 1)->act, a1);
	assert_int_equal(rig_map(&r, 1)->pcore, pc1);
	rig_started(&r);
	rig_drain_all(&r);
	/* a0 blocks and comes back while vcore 1 has yielded for a core that is free. */
	uint32_t b = (a0 + 1 == a1 || a0 == a1 + 1) ? 0 : 0;

	for (b = 0; b < 4 && (b == a0 || b == a1); b++)
		;
	assert_int_equal(rig_call(&r, b, UPABI_OP_BLOCKED, 0, a0, 1, 0), 0);
	rig_drain_all(&r);
	assert_int_equal(rig_call(&r, a1, UPABI_OP_YIELD, 1), 0);
	rig_drain_all(&r);
	assert_int_equal(rig_call(&r, b, UPABI_OP_YIELD, 0), 0);
	assert_int_equal(r.info->state, UPABI_WAITING);
	assert_int_equal(rig_call(&r, a0, UPABI_OP_UNBLOCKED, 9), 0);
	assert_int_equal(r.info->state, UPABI_RUNNING_M);
	assert_int_equal(rig_map(&r, 0)->act, a0);
	rig_fini(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(added_until_full),
	cmocka_unit_test(each_online_vcore_has_its_own_standby),
	cmocka_unit_test(a_standby_is_not_started_elsewhere),
	cmocka_unit_test(asked_for_once),
	cmocka_unit_test(asked_again_when_refused),
	cmocka_unit_test(the_nearest_is_started),
};

UNIT_MAIN(tests)
