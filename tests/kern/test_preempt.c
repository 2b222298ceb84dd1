/* SPDX-License-Identifier: MIT */
/* Preemption: warning, deadline, take, return; who hears of it; what overtakes what. */
#include "rig.h"

static void warning_then_deadline_then_take(void **state)
{
	struct upabi_event ev = { 0 };
	struct rig r;
	uint64_t due;

	rig_many(&r, 2, 2, 4, 0);
	rig_effects(&r);
	rig_vd(&r, 1)->notif_disabled = 0;
	due = r.now + 500;
	assert_int_equal(up_kern_preempt(r.k, r.p, 1, due, r.now), 0);
	assert_true(rig_map(&r, 1)->preempt_pending == due);
	assert_true(up_kern_deadline(r.k) == due);
	rig_effects(&r);
	assert_non_null(rig_find(&r, UP_EFF_NOTIFY, 1));
	assert_null(rig_find(&r, UP_EFF_TAKE, NONE));
	assert_true(rig_drained(&r, 1, UPABI_EV_PREEMPT_PENDING, &ev));
	assert_int_equal(ev.arg, 1);
	assert_true(ev.val == due);
	/* One before: nothing.  At the deadline itself: taken. */
	r.now = due - 1;
	up_kern_tick(r.k, r.now);
	assert_int_equal(rig_effects(&r), 0);
	r.now = due;
	up_kern_tick(r.k, r.now);
	rig_check(&r);
	rig_effects(&r);
	struct up_effect take = *rig_find(&r, UP_EFF_TAKE, 1);

	assert_int_equal(take.act, rig_map(&r, 1)->act);
	assert_int_equal(rig_map(&r, 1)->flags, UPABI_VMF_TAKE);
	assert_int_equal(rig_map(&r, 1)->preempts_sent, 1);
	assert_int_equal(rig_map(&r, 1)->preempts_done, 0);
	/* Still online until it is seen to have left. */
	assert_int_equal(rig_map(&r, 1)->valid, 1);
	assert_int_equal(r.k->in_use, 2);
	assert_int_equal(rig_done(&r, take.id, UP_TOOK_UTHREAD), 0);
	assert_int_equal(rig_map(&r, 1)->preempts_done, 1);
	assert_true(rig_map(&r, 1)->preempt_pending == 0);
	assert_int_equal(r.info->nr_preempts, 1);
	/* Nobody else wants it: it returns. */
	assert_int_equal(rig_map(&r, 1)->valid, 1);
	assert_int_equal(rig_map(&r, 1)->flags, UPABI_VMF_RETURNED);
	assert_true(rig_drained(&r, 1, UPABI_EV_VCORE_RETURNED, NULL));
	assert_true(rig_drained(&r, 0, UPABI_EV_VCORE_PREEMPTED, &ev));
	assert_true(ev.arg == 1 && ev.val == 0);
	rig_fini(&r);
}

/* In vcore context only the same vcore with the same activation goes on. */
static void frozen_returns_as_itself(void **state)
{
	struct upabi_event ev = { 0 };
	struct rig r;
	uint32_t act, starts;

	rig_many(&r, 2, 2, 5, 1);
	act = rig_map(&r, 1)->act;
	starts = rig_act(&r, act)->starts;
	assert_int_equal(up_kern_preempt(r.k, r.p, 1, 0, r.now), 0);
	rig_effects(&r);
	assert_int_equal(rig_done(&r, rig_find(&r, UP_EFF_TAKE, 1)->id, UP_TOOK_VCORE), 0);
	assert_true(rig_drained(&r, 0, UPABI_EV_VCORE_PREEMPTED, &ev));
	assert_true(ev.arg == 1 && ev.val == 1);
	assert_int_equal(rig_map(&r, 1)->act, act);
	assert_int_equal(rig_act(&r, act)->state, UPABI_ACT_RUNNING);
	assert_int_equal(rig_act(&r, act)->starts, starts + 1);
	rig_fini(&r);
}

static void taken_while_blocked_and_gone(void **state)
{
	struct upabi_event ev = { 0 };
	struct rig r;
	uint32_t a1, a0;

	rig_many(&r, 2, 2, 5, 0);
	a1 = rig_map(&r, 1)->act;
	a0 = rig_map(&r, 0)->act;
	assert_int_equal(up_kern_preempt(r.k, r.p, 1, 0, r.now), 0);
	rig_effects(&r);
	assert_int_equal(rig_done(&r, rig_find(&r, UP_EFF_TAKE, 1)->id, UP_TOOK_BLOCKED), 0);
	assert_int_equal(rig_act(&r, a1)->state, UPABI_ACT_BLOCKED);
	assert_int_equal(r.info->nr_blocked, 1);
	assert_true(rig_drained(&r, 0, UPABI_EV_BLOCKED, &ev));
	assert_int_equal(ev.arg, a1);
	assert_int_equal(rig_call(&r, a1, UPABI_OP_UNBLOCKED, 3), 0);
	assert_int_equal(r.info->nr_unblocked, 1);
	assert_int_equal(up_kern_preempt(r.k, r.p, 0, 0, r.now), 0);
	rig_effects(&r);
	assert_int_equal(rig_done(&r, rig_find(&r, UP_EFF_TAKE, 0)->id, UP_TOOK_GONE), 0);
	assert_int_equal(rig_act(&r, a0)->state, UPABI_ACT_NONE);
	rig_fini(&r);
}

static void leaves_by_itself_with_its_uthread(void **state)
{
	struct rig r;
	uint32_t a1;

	rig_many(&r, 2, 2, 4, 0);
	a1 = rig_map(&r, 1)->act;
	/* Not asked: it stays. */
	assert_int_equal(rig_call(&r, a1, UPABI_OP_PREEMPTED, 1, 0), -ECANCELED);
	assert_int_equal(up_kern_preempt(r.k, r.p, 1, r.now + 500, r.now), 0);
	assert_int_equal(rig_call(&r, a1, UPABI_OP_PREEMPTED, 0, 0), -ESTALE);
	assert_int_equal(rig_call(&r, a1, UPABI_OP_PREEMPTED, 1, 2), -EINVAL);
	assert_int_equal(rig_call(&r, a1, UPABI_OP_PREEMPTED, 1, 0), 0);
	assert_int_equal(up_kern_deadline(r.k), 0);
	/* The same while the take is out: its report is out of date then. */
	rig_started(&r);
	a1 = rig_map(&r, 1)->act;
	assert_int_equal(up_kern_preempt(r.k, r.p, 1, 0, r.now), 0);
	rig_effects(&r);
	uint64_t id = rig_find(&r, UP_EFF_TAKE, 1)->id;

	assert_int_equal(rig_call(&r, a1, UPABI_OP_PREEMPTED, 1, 0), 0);
	assert_int_equal(rig_map(&r, 1)->preempts_sent, rig_map(&r, 1)->preempts_done);
	assert_int_equal(rig_done(&r, id, UP_TOOK_UTHREAD), -ESTALE);
	rig_fini(&r);
}

/* Race 22, 23: a start of the same vcore cannot overtake its preemption, also several in a row. */
static void race_22_23_start_does_not_overtake(void **state)
{
	struct rig r;

	rig_many(&r, 4, 2, 6, 0);
	for (uint32_t round = 1; round <= 3; round++) {
		assert_int_equal(up_kern_preempt(r.k, r.p, 1, 0, r.now), 0);
		rig_effects(&r);
		struct up_effect take = *rig_find(&r, UP_EFF_TAKE, 1);

		/* Idle cores abound; while sent != done, vcore 1 is not started. */
		assert_int_equal(rig_map(&r, 1)->preempts_sent, round);
		assert_int_equal(rig_map(&r, 1)->preempts_done, round - 1);
		r.now += 10;
		up_kern_tick(r.k, r.now);
		assert_null(rig_find(&r, UP_EFF_START, NONE));
		assert_int_equal(rig_done(&r, take.id, UP_TOOK_UTHREAD), 0);
		assert_int_equal(rig_done(&r, take.id, UP_TOOK_UTHREAD), -ESTALE);
		assert_int_equal(rig_map(&r, 1)->preempts_done, round);
		rig_started(&r);
		rig_drain_all(&r);
	}
	rig_fini(&r);
}

static void gang_warns_all_once(void **state)
{
	struct upabi_event ev = { 0 };
	unsigned gang = 0, single = 0;
	struct rig r;

	rig_many(&r, 3, 3, 6, 0);
	assert_int_equal(up_kern_preempt_gang(r.k, r.p, r.now + 100, r.now), 0);
	for (uint32_t v = 0; v < 3; v++) {
		assert_true(rig_map(&r, v)->preempt_pending == r.now + 100);
		while (rig_pop(&r, v, &ev)) {
			gang += ev.nr == UPABI_EV_GANG_PREEMPT_PENDING;
			single += ev.nr == UPABI_EV_PREEMPT_PENDING;
		}
	}
	assert_int_equal(gang, 1);
	assert_int_equal(single, 0);
	r.now += 100;
	up_kern_tick(r.k, r.now);
	rig_effects(&r);
	assert_int_equal(rig_count(&r, UP_EFF_TAKE), 3);
	for (uint32_t v = 0; v < 3; v++) {
		struct up_effect *take = rig_find(&r, UP_EFF_TAKE, v);

		assert_int_equal(rig_done(&r, take->id, UP_TOOK_UTHREAD), 0);
	}
	/* It never stopped wanting them. */
	assert_int_equal(r.info->num_vcores, 3);
	rig_fini(&r);
}

static void a_take_that_fails_is_repeated(void **state)
{
	struct rig r;

	rig_many(&r, 1, 1, 2, 0);
	assert_int_equal(up_kern_preempt(r.k, r.p, 0, 0, r.now), 0);
	rig_effects(&r);
	uint64_t id = rig_find(&r, UP_EFF_TAKE, 0)->id;

	assert_int_equal(rig_done(&r, id, UP_TOOK_GONE + 1), -EINVAL);
	assert_int_equal(rig_done(&r, id, -EBUSY), 0);
	assert_int_equal(rig_effects(&r), 0);
	r.now = up_kern_deadline(r.k);
	assert_true(r.now != 0);
	up_kern_tick(r.k, r.now);
	rig_effects(&r);
	struct up_effect *again = rig_find(&r, UP_EFF_TAKE, 0);

	assert_non_null(again);
	assert_true(again->id != id);
	assert_int_equal(rig_map(&r, 0)->preempts_sent, 1);
	assert_int_equal(rig_done(&r, id, UP_TOOK_UTHREAD), -ESTALE);
	assert_int_equal(rig_done(&r, again->id, UP_TOOK_UTHREAD), 0);
	rig_fini(&r);
}

/* Upstream left this open: a warning of a vcore that has gone must not stay. */
static void a_warning_goes_with_its_vcore(void **state)
{
	struct rig r;

	rig_many(&r, 2, 2, 4, 0);
	assert_int_equal(up_kern_preempt(r.k, r.p, 1, r.now + 100, r.now), 0);
	rig_drain_all(&r);
	assert_int_equal(rig_call(&r, rig_map(&r, 1)->act, UPABI_OP_YIELD, 1, 0), 0);
	assert_true(rig_map(&r, 1)->preempt_pending == 0);
	assert_int_equal(up_kern_deadline(r.k), 0);
	assert_int_equal(up_kern_preempt(r.k, r.p, 1, r.now + 100, r.now), -ESRCH);
	assert_int_equal(up_kern_preempt(r.k, r.p, 8, r.now + 100, r.now), -EINVAL);
	rig_fini(&r);
}

/* A start that the host has not seen is called off, and its messages are not stranded. */
static void a_start_is_called_off(void **state)
{
	struct rig r;

	rig_many(&r, 2, 1, 4, 0);
	assert_int_equal(rig_request(&r, rig_map(&r, 0)->act, 2, 0), 0);
	assert_int_equal(rig_map(&r, 1)->valid, 1);
	rig_drained(&r, 0, 0, NULL);
	assert_int_equal(up_kern_core_limit(r.k, 1, r.now), 0);
	r.now += 1000;
	up_kern_tick(r.k, r.now);
	rig_check(&r);
	rig_effects(&r);
	assert_null(rig_find(&r, UP_EFF_START, NONE));
	assert_null(rig_find(&r, UP_EFF_TAKE, NONE));
	assert_int_equal(r.info->num_vcores, 1);
	assert_true(rig_drained(&r, 0, UPABI_EV_VCORE_PREEMPTED, NULL));
	rig_fini(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(warning_then_deadline_then_take),
	cmocka_unit_test(frozen_returns_as_itself),
	cmocka_unit_test(taken_while_blocked_and_gone),
	cmocka_unit_test(leaves_by_itself_with_its_uthread),
	cmocka_unit_test(race_22_23_start_does_not_overtake),
	cmocka_unit_test(gang_warns_all_once),
	cmocka_unit_test(a_take_that_fails_is_repeated),
	cmocka_unit_test(a_warning_goes_with_its_vcore),
	cmocka_unit_test(a_start_is_called_off),
};

UNIT_MAIN(tests)
