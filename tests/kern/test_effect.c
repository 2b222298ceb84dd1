/* SPDX-License-Identifier: MIT */
/* Effects: late, twice, failed, forged; and a start that nobody waits for any more. */
#include "rig.h"

static void many_unstarted(struct rig *r, uint32_t pcores, uint32_t want, uint32_t acts)
{
	rig_init(r, pcores);
	rig_select(r, rig_proc(r, 8, 16, 0));
	up_kern_run(r->k, r->p, r->now);
	rig_add_acts(r, acts);
	rig_request(r, rig_outside(r), want, 0);
	rig_effects(r);
}

static void unknown_ids_change_nothing(void **state)
{
	struct rig r;

	many_unstarted(&r, 2, 1, 2);
	uint64_t id = rig_find(&r, UP_EFF_START, 0)->id;

	assert_int_equal(rig_done(&r, 0, 0), -ESTALE);
	assert_int_equal(rig_done(&r, UINT64_MAX, 0), -ESTALE);
	assert_int_equal(rig_done(&r, id ^ UINT64_C(1) << 32, 0), -ESTALE);
	assert_int_equal(rig_done(&r, id ^ UINT64_C(1) << 20, 0), -ESTALE);
	assert_int_equal(rig_done(&r, id ^ 1, 0), -ESTALE);
	assert_int_equal(rig_done(&r, id, 0), 0);
	assert_int_equal(rig_done(&r, id, 0), -ESTALE);
	assert_int_equal(rig_done(&r, id, -EAGAIN), -ESTALE);
	assert_int_equal(r.info->num_vcores, 1);
	assert_int_equal(up_kern_effect_done(NULL, id, 0, 0), -EINVAL);
	assert_false(up_kern_next_effect(NULL, r.log));
	assert_false(up_kern_next_effect(r.k, NULL));
	rig_fini(&r);
}

static void a_failed_start_is_tried_elsewhere(void **state)
{
	struct up_effect first, second;
	struct rig r;

	many_unstarted(&r, 2, 1, 2);
	first = *rig_find(&r, UP_EFF_START, 0);
	assert_int_equal(rig_done(&r, first.id, -EAGAIN), 0);
	rig_effects(&r);
	second = *rig_find(&r, UP_EFF_START, 0);
	assert_int_not_equal(second.pcore, first.pcore);
	assert_int_equal(r.k->in_use, 1);
	/* Again: now it waits a little, longer each time, and the core is idle for that reason. */
	assert_int_equal(rig_done(&r, second.id, -EAGAIN), 0);
	assert_int_equal(rig_effects(&r), 0);
	assert_int_equal(r.k->in_use, 0);
	assert_int_equal(r.info->state, UPABI_RUNNABLE_M);
	uint64_t wait = up_kern_deadline(r.k) - r.now;

	r.now = up_kern_deadline(r.k);
	up_kern_tick(r.k, r.now);
	rig_effects(&r);
	assert_int_equal(rig_done(&r, rig_find(&r, UP_EFF_START, 0)->id, -EAGAIN), 0);
	assert_true(up_kern_deadline(r.k) - r.now > wait);
	r.now = up_kern_deadline(r.k);
	up_kern_tick(r.k, r.now);
	rig_started(&r);
	assert_int_equal(r.info->state, UPABI_RUNNING_M);
	assert_int_equal(r.p->fails, 0);
	rig_fini(&r);
}

static void a_start_whose_task_is_gone(void **state)
{
	struct rig r;

	many_unstarted(&r, 1, 1, 2);
	struct up_effect start = *rig_find(&r, UP_EFF_START, 0);

	assert_int_equal(rig_done(&r, start.id, -ESRCH), 0);
	assert_int_equal(rig_act(&r, start.act)->state, UPABI_ACT_NONE);
	rig_effects(&r);
	assert_int_not_equal(rig_find(&r, UP_EFF_START, 0)->act, start.act);
	rig_fini(&r);
}

/* Race 51: the grant comes when the process has yielded, shrunk, or is dying. */
static void race_51_late_grants_are_refused(void **state)
{
	struct up_effect start, take;
	struct rig r;

	/* Acknowledged by its own call, which gave the core back. */
	many_unstarted(&r, 1, 1, 2);
	start = *rig_find(&r, UP_EFF_START, 0);
	rig_drain_all(&r);
	assert_int_equal(rig_call(&r, start.act, UPABI_OP_YIELD, 0), 0);
	assert_int_equal(r.info->state, UPABI_WAITING);
	assert_int_equal(rig_done(&r, start.id, 0), -ESTALE);
	assert_int_equal(r.k->in_use, 0);
	assert_true(rig_act(&r, start.act)->state == UPABI_ACT_POOLED);
	rig_fini(&r);

	/* Taken before it was heard of. */
	many_unstarted(&r, 1, 1, 2);
	start = *rig_find(&r, UP_EFF_START, 0);
	assert_int_equal(up_kern_core_remove(r.k, 0, 0, r.now), 0);
	rig_effects(&r);
	take = *rig_find(&r, UP_EFF_TAKE, 0);
	assert_int_equal(rig_done(&r, take.id, UP_TOOK_UTHREAD), 0);
	assert_int_equal(rig_done(&r, start.id, 0), -ESTALE);
	assert_int_equal(rig_done(&r, start.id, -EAGAIN), -ESTALE);
	assert_int_equal(r.info->num_vcores, 0);
	rig_fini(&r);

	/* Dying. */
	many_unstarted(&r, 1, 1, 2);
	start = *rig_find(&r, UP_EFF_START, 0);
	up_kern_proc_destroy(r.k, r.p, r.now);
	rig_effects(&r);
	take = *rig_find(&r, UP_EFF_TAKE, 0);
	assert_int_equal(rig_done(&r, start.id, 0), 0); /* it did start, and is being taken */
	assert_int_equal(r.info->state, UPABI_DYING);
	assert_int_equal(rig_done(&r, take.id, UP_TOOK_GONE), 0);
	assert_int_equal(r.k->in_use, 0);
	assert_int_equal(rig_done(&r, start.id, 0), -ESTALE);
	rig_fini(&r);
}

/* The same number, started again: the old release says nothing about the new start. */
static void an_old_release_is_told_from_a_new_one(void **state)
{
	struct up_effect old, new;
	struct rig r;

	many_unstarted(&r, 1, 1, 1);
	old = *rig_find(&r, UP_EFF_START, 0);
	rig_drain_all(&r);
	assert_int_equal(rig_call(&r, old.act, UPABI_OP_YIELD, 0), 0);
	assert_int_equal(rig_request(&r, rig_outside(&r), 1, 0), 0);
	rig_effects(&r);
	new = *rig_find(&r, UP_EFF_START, 0);
	assert_int_equal(new.act, old.act);
	assert_int_not_equal(new.starts, old.starts);
	assert_int_equal(rig_act(&r, new.act)->starts, new.starts);
	assert_int_equal(rig_done(&r, old.id, 0), -ESTALE);
	assert_int_equal(rig_done(&r, new.id, 0), 0);
	rig_fini(&r);
}

/* A start fails while its vcore is being taken: that ends the taking too. */
static void start_fails_under_a_take(void **state)
{
	struct up_effect start, take;
	struct rig r;

	many_unstarted(&r, 1, 1, 2);
	start = *rig_find(&r, UP_EFF_START, 0);
	assert_int_equal(up_kern_preempt(r.k, r.p, 0, 0, r.now), 0);
	rig_effects(&r);
	take = *rig_find(&r, UP_EFF_TAKE, 0);
	assert_int_equal(rig_done(&r, start.id, -EAGAIN), 0);
	assert_int_equal(rig_map(&r, 0)->preempts_sent, rig_map(&r, 0)->preempts_done);
	assert_int_equal(rig_done(&r, take.id, UP_TOOK_UTHREAD), -ESTALE);
	rig_fini(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(unknown_ids_change_nothing),
	cmocka_unit_test(a_failed_start_is_tried_elsewhere),
	cmocka_unit_test(a_start_whose_task_is_gone),
	cmocka_unit_test(race_51_late_grants_are_refused),
	cmocka_unit_test(an_old_release_is_told_from_a_new_one),
	cmocka_unit_test(start_fails_under_a_take),
};

UNIT_MAIN(tests)
