/* SPDX-License-Identifier: MIT */
/* The machine: cores come, go with a warning or at once, come back in between; limits. */
#include "rig.h"

static void bad_numbers(void **state)
{
	struct up_kern *k = NULL;
	struct up_kern_cfg cfg;
	struct rig r;

	rig_init(&r, 2);
	assert_int_equal(up_kern_core_add(r.k, 2, 0), -EINVAL);
	assert_int_equal(up_kern_core_add(r.k, 1, 0), -EEXIST);
	assert_int_equal(up_kern_core_add(NULL, 1, 0), -EINVAL);
	assert_int_equal(up_kern_core_remove(r.k, 2, 0, 0), -EINVAL);
	assert_int_equal(up_kern_core_remove(r.k, 1, 0, 0), 0);
	assert_int_equal(up_kern_core_remove(r.k, 1, 0, 0), -ENOENT);
	assert_int_equal(up_kern_core_limit(NULL, 1, 0), -EINVAL);
	cfg = rig_cfg(&r, 0);
	assert_int_equal(up_kern_create(&cfg, &k), -EINVAL);
	cfg = rig_cfg(&r, 1);
	assert_int_equal(up_kern_create(&cfg, NULL), -EINVAL);
	assert_int_equal(up_kern_create(NULL, &k), -EINVAL);
	cfg.alloc = NULL;
	assert_int_equal(up_kern_create(&cfg, &k), -EINVAL);
	assert_null(k);
	up_kern_destroy(NULL);
	up_kern_tick(NULL, 0);
	assert_int_equal(up_kern_deadline(NULL), 0);
	rig_fini(&r);
}

static void a_core_in_use_is_warned_first(void **state)
{
	struct upabi_event ev = { 0 };
	struct rig r;
	uint32_t pc;

	rig_many(&r, 2, 2, 4, 0);
	pc = rig_map(&r, 1)->pcore;
	assert_int_equal(up_kern_core_remove(r.k, pc, r.now + 50, r.now), 0);
	rig_check(&r);
	assert_true(rig_map(&r, 1)->preempt_pending == r.now + 50);
	assert_true(rig_drained(&r, 1, UPABI_EV_PREEMPT_PENDING, NULL));
	assert_true(rig_drained(&r, 0, UPABI_EV_RESOURCE, &ev));
	assert_true(ev.val == 1);
	assert_true(r.info->res[UPABI_RES_CORES].available == 1);
	/* It leaves nicely; the core does not come back to anybody. */
	assert_int_equal(rig_call(&r, rig_map(&r, 1)->act, UPABI_OP_YIELD, 1, 1), 0);
	assert_false(r.k->cores[pc].exists);
	assert_int_equal(r.info->num_vcores, 1);
	assert_string_equal(up_kern_idle_reason(r.k, pc), "not there");
	assert_int_equal(up_kern_core_add(r.k, pc, r.now), 0);
	assert_int_equal(r.info->num_vcores, 2);
	rig_fini(&r);
}

static void it_stays_after_all(void **state)
{
	struct rig r;
	uint32_t pc;

	rig_many(&r, 2, 2, 4, 0);
	pc = rig_map(&r, 1)->pcore;
	assert_int_equal(up_kern_core_remove(r.k, pc, r.now + 50, r.now), 0);
	assert_int_equal(up_kern_core_add(r.k, pc, r.now), 0);
	rig_check(&r);
	assert_true(rig_map(&r, 1)->preempt_pending == 0);
	r.now += 100;
	up_kern_tick(r.k, r.now);
	rig_effects(&r);
	assert_null(rig_find(&r, UP_EFF_TAKE, NONE));
	/* Once the taking has begun it is completed; then the core is there for all. */
	assert_int_equal(up_kern_core_remove(r.k, pc, 0, r.now), 0);
	assert_int_equal(up_kern_core_add(r.k, pc, r.now), 0);
	rig_check(&r);
	rig_effects(&r);
	assert_int_equal(rig_done(&r, rig_find(&r, UP_EFF_TAKE, 1)->id, UP_TOOK_UTHREAD), 0);
	assert_int_equal(r.info->num_vcores, 2);
	rig_fini(&r);
}

static void a_limit_takes_with_grace(void **state)
{
	struct rig r;

	rig_many(&r, 4, 4, 6, 0);
	assert_int_equal(up_kern_core_limit(r.k, 2, r.now), 0);
	rig_check(&r);
	/* The highest numbers go. */
	assert_true(rig_map(&r, 3)->preempt_pending == r.now + 1000);
	assert_true(rig_map(&r, 2)->preempt_pending == r.now + 1000);
	assert_true(rig_map(&r, 1)->preempt_pending == 0);
	/* Raised again before the deadline: taken back. */
	assert_int_equal(up_kern_core_limit(r.k, 4, r.now), 0);
	rig_check(&r);
	assert_true(rig_map(&r, 3)->preempt_pending == 0);
	assert_int_equal(up_kern_deadline(r.k), 0);
	assert_int_equal(up_kern_core_limit(r.k, 2, r.now), 0);
	r.now += 1000;
	up_kern_tick(r.k, r.now);
	rig_effects(&r);
	struct up_effect t2 = *rig_find(&r, UP_EFF_TAKE, 2), t3 = *rig_find(&r, UP_EFF_TAKE, 3);

	assert_int_equal(rig_done(&r, t3.id, UP_TOOK_UTHREAD), 0);
	assert_int_equal(rig_done(&r, t2.id, UP_TOOK_UTHREAD), 0);
	assert_int_equal(r.k->in_use, 2);
	assert_string_equal(up_kern_idle_reason(r.k, 3), "the limit is reached");
	rig_fini(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(bad_numbers),
	cmocka_unit_test(a_core_in_use_is_warned_first),
	cmocka_unit_test(it_stays_after_all),
	cmocka_unit_test(a_limit_takes_with_grace),
};

UNIT_MAIN(tests)
