/* SPDX-License-Identifier: MIT */
/* Requests: cores and memory by the same words; what cannot be had; one to many. */
#include "rig.h"

static void first_request_makes_it_many(void **state)
{
	struct rig r;

	rig_init(&r, 2);
	rig_select(&r, rig_proc(&r, 2, 4, 0));
	up_kern_run(r.k, r.p, r.now);
	rig_add_acts(&r, 2);
	assert_int_equal(rig_request(&r, rig_outside(&r), 0, 0), 0);
	assert_int_equal(r.val, 0);
	assert_int_equal(r.info->state, UPABI_RUNNING_S);
	/* Another activation cannot speak for the single context... */
	assert_int_equal(rig_request(&r, rig_outside(&r), 2, 0), 0);
	assert_int_equal(r.val, 1);
	assert_int_equal(r.info->state, UPABI_RUNNING_M);
	assert_int_equal(r.info->num_vcores, 2);
	assert_int_equal(rig_request(&r, rig_outside(&r), 2, 0), 0);
	assert_int_equal(r.val, 0);
	rig_fini(&r);
}

static void pooled_activations_do_not_speak_for_it(void **state)
{
	struct rig r;

	rig_init(&r, 2);
	rig_select(&r, rig_proc(&r, 2, 4, 0));
	up_kern_run(r.k, r.p, r.now);
	rig_add_acts(&r, 2);
	assert_int_equal(rig_request(&r, 1, 2, 0), -EPERM);
	assert_int_equal(r.info->state, UPABI_RUNNING_S);
	rig_fini(&r);
}

static void memory(struct rig *r, uint64_t wanted, uint64_t min)
{
	r->data->res[UPABI_RES_MEMORY].wanted = wanted;
	r->data->res[UPABI_RES_MEMORY].wanted_min = min;
	assert_int_equal(rig_call(r, rig_outside(r), UPABI_OP_REQUEST), 0);
}

static void memory_is_granted_as_far_as_it_goes(void **state)
{
	struct rig_proc one, two;
	struct rig r;

	rig_init(&r, 2);
	one = rig_proc(&r, 2, 4, 0);
	two = rig_proc(&r, 2, 4, 0);
	up_kern_run(r.k, one.p, r.now);
	up_kern_run(r.k, two.p, r.now);
	rig_select(&r, one);
	memory(&r, 700000, 0);
	assert_true(one.info->res[UPABI_RES_MEMORY].granted == 700000);
	assert_true(rig_drained(&r, 0, UPABI_EV_RESOURCE, NULL));
	rig_select(&r, two);
	memory(&r, UINT64_MAX, 0);
	assert_true(two.info->res[UPABI_RES_MEMORY].granted == (1 << 20) - 700000);
	rig_drain_all(&r);
	/* Given back by one: the other has it. */
	rig_select(&r, one);
	memory(&r, 100, 0);
	assert_true(two.info->res[UPABI_RES_MEMORY].granted == (1 << 20) - 100);
	rig_select(&r, two);
	assert_true(rig_drained(&r, 0, UPABI_EV_RESOURCE, NULL));
	up_kern_proc_destroy(r.k, two.p, r.now);
	assert_true(r.k->mem_granted == 100);
	rig_check(&r);
	rig_fini(&r);
	rig_proc_free(&one);
}

/* Less memory than its minimum: it does not run, and the cores are not kept for it. */
static void a_minimum_of_memory_counts_like_one_of_cores(void **state)
{
	struct rig_proc one, two;
	struct rig r;

	rig_init(&r, 2);
	one = rig_proc(&r, 2, 4, 0);
	two = rig_proc(&r, 2, 4, 0);
	up_kern_run(r.k, one.p, r.now);
	up_kern_run(r.k, two.p, r.now);
	rig_select(&r, one);
	memory(&r, 1 << 20, 0);
	rig_select(&r, two);
	rig_add_acts(&r, 2);
	r.data->res[UPABI_RES_MEMORY].wanted = 1000;
	r.data->res[UPABI_RES_MEMORY].wanted_min = 1000;
	assert_int_equal(rig_request(&r, rig_outside(&r), 2, 0), 0);
	assert_int_equal(two.info->state, UPABI_RUNNABLE_M);
	assert_int_equal(r.k->in_use, 0);
	up_kern_proc_destroy(r.k, one.p, r.now);
	rig_check(&r);
	assert_int_equal(two.info->state, UPABI_RUNNING_M);
	rig_fini(&r);
	rig_proc_free(&one);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(first_request_makes_it_many),
	cmocka_unit_test(pooled_activations_do_not_speak_for_it),
	cmocka_unit_test(memory_is_granted_as_far_as_it_goes),
	cmocka_unit_test(a_minimum_of_memory_counts_like_one_of_cores),
};

UNIT_MAIN(tests)
