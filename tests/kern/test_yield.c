/* SPDX-License-Identifier: MIT */
/* Yields nice and not, all at once, back to the single context, and changing to another vcore. */
#include "rig.h"

static void not_nice_lowers_what_is_wanted(void **state)
{
	struct rig r;

	rig_many(&r, 4, 3, 5, 0);
	assert_int_equal(rig_call(&r, rig_map(&r, 1)->act, UPABI_OP_YIELD, 1), 0);
	assert_int_equal(r.info->num_vcores, 2);
	r.now += 1000000;
	up_kern_tick(r.k, r.now);
	assert_int_equal(r.info->num_vcores, 2);
	assert_null(up_kern_idle_reason(r.k, 3));
	rig_fini(&r);
}

/* Race 14: yields cannot drive it below nothing. */
static void race_14_wanted_stops_at_nothing(void **state)
{
	struct rig r;

	rig_many(&r, 2, 1, 3, 0);
	assert_int_equal(rig_call(&r, rig_map(&r, 0)->act, UPABI_OP_YIELD, 0), 0);
	assert_true(r.p->res[UPABI_RES_CORES].wanted == 0);
	/* Woken with nothing wanted: one core, so that it can yield that (race 52). */
	assert_int_equal(rig_call(&r, rig_outside(&r), UPABI_OP_NOTIFY, 0, UPABI_EV_USER, NONE), 0);
	assert_int_equal(r.info->num_vcores, 1);
	rig_started(&r);
	rig_drain_all(&r);
	r.p->res[UPABI_RES_CORES].wanted = 0; /* as after a request for none */
	up_policy_touch(r.p);
	rig_drain_all(&r);
	assert_int_equal(rig_call(&r, rig_map(&r, 0)->act, UPABI_OP_YIELD, 0), 0);
	assert_true(r.p->res[UPABI_RES_CORES].wanted == 0);
	assert_int_equal(r.info->state, UPABI_WAITING);
	rig_fini(&r);
}

static void race_14_nor_with_others_online(void **state)
{
	struct rig r;

	rig_many(&r, 2, 2, 3, 0);
	assert_int_equal(rig_request(&r, rig_map(&r, 0)->act, 0, 0), 0);
	assert_int_equal(rig_call(&r, rig_map(&r, 1)->act, UPABI_OP_YIELD, 1), 0);
	assert_true(r.p->res[UPABI_RES_CORES].wanted == 0);
	assert_int_equal(r.info->num_vcores, 1);
	rig_fini(&r);
}

static void race_52_runnable_and_nothing_wanted(void **state)
{
	struct rig r;

	rig_many(&r, 2, 1, 3, 0);
	assert_int_equal(rig_request(&r, rig_map(&r, 0)->act, 0, 0), 0);
	assert_int_equal(up_kern_preempt(r.k, r.p, 0, 0, r.now), 0);
	rig_effects(&r);
	assert_int_equal(rig_done(&r, rig_find(&r, UP_EFF_TAKE, 0)->id, UP_TOOK_VCORE), 0);
	assert_int_equal(r.info->state, UPABI_RUNNING_M);
	assert_int_equal(r.info->num_vcores, 1);
	rig_fini(&r);
}

/* Race 16: a nice yield that comes when the preemption is over, or never was, is ignored. */
static void race_16_nice_needs_a_reason(void **state)
{
	struct rig r;
	uint32_t a1;

	rig_many(&r, 2, 2, 4, 0);
	a1 = rig_map(&r, 1)->act;
	assert_int_equal(rig_call(&r, a1, UPABI_OP_YIELD, 1, 1), -ECANCELED);
	assert_int_equal(r.info->num_vcores, 2);
	assert_int_equal(up_kern_preempt(r.k, r.p, 1, r.now + 10, r.now), 0);
	rig_drain_all(&r);
	r.now += 10;
	up_kern_tick(r.k, r.now);
	rig_effects(&r);
	assert_int_equal(rig_done(&r, rig_find(&r, UP_EFF_TAKE, 1)->id, UP_TOOK_VCORE), 0);
	rig_started(&r); /* returned: the frozen activation goes on to make its call */
	rig_drain_all(&r);
	assert_int_equal(rig_call(&r, a1, UPABI_OP_YIELD, 1, 1), -ECANCELED);
	assert_int_equal(r.info->num_vcores, 2);
	rig_fini(&r);
}

static void nice_keeps_what_is_wanted(void **state)
{
	struct rig r;

	rig_many(&r, 2, 2, 4, 0);
	assert_int_equal(up_kern_core_limit(r.k, 1, r.now), 0);
	rig_drain_all(&r);
	assert_int_equal(rig_call(&r, rig_map(&r, 1)->act, UPABI_OP_YIELD, 1, 1), 0);
	assert_int_equal(r.info->num_vcores, 1);
	assert_string_equal(up_kern_idle_reason(r.k, rig_map(&r, 1)->pcore),
			    "the limit is reached");
	assert_int_equal(up_kern_core_limit(r.k, 2, r.now), 0);
	assert_int_equal(r.info->num_vcores, 2);
	rig_fini(&r);
}

/* Race 9, 10, 12: nothing that lies there is left behind. */
static void race_9_10_12_mail_stops_a_yield(void **state)
{
	struct upabi_event ev = { .nr = UPABI_EV_USER };
	struct rig r;
	uint32_t a;

	rig_many(&r, 1, 1, 2, 0);
	a = rig_map(&r, 0)->act;
	up_kern_post(r.k, r.p, 0, &ev, r.now);
	rig_vd(&r, 0)->notif_pending = 0;
	assert_int_equal(rig_call(&r, a, UPABI_OP_YIELD, 0), -EAGAIN);
	rig_drain_all(&r);
	rig_vd(&r, 0)->mask[3] = 1;
	assert_int_equal(rig_call(&r, a, UPABI_OP_YIELD, 0), -EAGAIN);
	rig_drain_all(&r);
	rig_vd(&r, 0)->notif_pending = 1;
	assert_int_equal(rig_call(&r, a, UPABI_OP_YIELD, 0), -EAGAIN);
	assert_int_equal(rig_call(&r, a, UPABI_OP_YIELD_ALL), -EAGAIN);
	assert_int_equal(r.info->state, UPABI_RUNNING_M);
	assert_int_equal(r.p->res[UPABI_RES_CORES].wanted, 1);
	rig_drain_all(&r);
	assert_int_equal(rig_call(&r, a, UPABI_OP_YIELD, 0), 0);
	assert_int_equal(r.info->state, UPABI_WAITING);
	/* An event after that: it comes up again, with the message. */
	up_kern_post(r.k, r.p, 0, &ev, r.now);
	assert_int_equal(r.info->state, UPABI_RUNNING_M);
	assert_true(rig_drained(&r, 0, UPABI_EV_USER, NULL));
	rig_fini(&r);
}

/* Race 15: a request that raises what is wanted sends each vcore back for one more look. */
static void race_15_request_meets_yield(void **state)
{
	struct rig r;
	uint32_t a0, a1;

	rig_many(&r, 2, 2, 4, 0);
	a0 = rig_map(&r, 0)->act;
	a1 = rig_map(&r, 1)->act;
	assert_int_equal(rig_request(&r, a0, 6, 0), 0);
	assert_int_equal(rig_call(&r, a1, UPABI_OP_YIELD, 1), -EAGAIN);
	assert_true(r.p->res[UPABI_RES_CORES].wanted == 6);
	/* Having looked again, it means it. */
	assert_int_equal(rig_call(&r, a1, UPABI_OP_YIELD, 1), 0);
	/* The one that asked knows. */
	assert_int_equal(rig_call(&r, a0, UPABI_OP_YIELD, 0), 0);
	rig_fini(&r);
}

/* Race 27, 40, 42: it is too late for a vcore that is being taken; told apart from "busy". */
static void race_27_40_42_condemned(void **state)
{
	struct rig r;
	uint32_t a1;

	rig_many(&r, 2, 2, 4, 0);
	a1 = rig_map(&r, 1)->act;
	assert_int_equal(up_kern_preempt(r.k, r.p, 1, 0, r.now), 0);
	assert_int_equal(rig_call(&r, a1, UPABI_OP_YIELD, 1, 1), -EAGAIN);
	assert_int_equal(rig_call(&r, a1, UPABI_OP_YIELD, 1, 0), -EAGAIN);
	assert_int_equal(rig_call(&r, a1, UPABI_OP_YIELD_ALL), -EAGAIN);
	assert_int_equal(rig_call(&r, a1, UPABI_OP_TO_S, 1), -EAGAIN);
	assert_int_equal(rig_call(&r, a1, UPABI_OP_CHANGE_TO, 1, 0), -EAGAIN);
	assert_int_equal(rig_call(&r, rig_map(&r, 0)->act, UPABI_OP_CHANGE_TO, 0, 1), -EBUSY);
	assert_int_equal(r.info->num_vcores, 2);
	rig_effects(&r);
	assert_int_equal(rig_done(&r, rig_find(&r, UP_EFF_TAKE, 1)->id, UP_TOOK_VCORE), 0);
	rig_fini(&r);
}

/* Race 26: "which vcore am I" is what the caller says and the kernel side has, or nothing. */
static void race_26_only_ones_own(void **state)
{
	struct rig r;
	uint32_t a0;

	rig_many(&r, 2, 2, 4, 0);
	a0 = rig_map(&r, 0)->act;
	assert_int_equal(rig_call(&r, a0, UPABI_OP_YIELD, 1), -ESTALE);
	assert_int_equal(rig_call(&r, a0, UPABI_OP_YIELD, 8), -EINVAL);
	assert_int_equal(rig_call(&r, a0, UPABI_OP_YIELD, UINT64_C(1) << 32), -EINVAL);
	assert_int_equal(rig_call(&r, rig_outside(&r), UPABI_OP_YIELD, 0), -ESTALE);
	assert_int_equal(rig_call(&r, rig_outside(&r), UPABI_OP_YIELD_ALL), -EPERM);
	assert_int_equal(rig_call(&r, rig_outside(&r), UPABI_OP_TO_S, 0), -ESTALE);
	assert_int_equal(r.info->num_vcores, 2);
	rig_fini(&r);
}

static void all_at_once(void **state)
{
	struct up_effect take[2];
	struct rig r;

	rig_many(&r, 3, 3, 6, 1);
	assert_int_equal(rig_call(&r, rig_map(&r, 0)->act, UPABI_OP_YIELD_ALL), 0);
	assert_int_equal(rig_map(&r, 0)->valid, 0);
	rig_effects(&r);
	take[0] = *rig_find(&r, UP_EFF_TAKE, 1);
	take[1] = *rig_find(&r, UP_EFF_TAKE, 2);
	assert_int_equal(rig_done(&r, take[0].id, UP_TOOK_UTHREAD), 0);
	assert_int_equal(r.info->state, UPABI_RUNNING_M);
	assert_int_equal(rig_done(&r, take[1].id, UP_TOOK_VCORE), 0);
	assert_int_equal(r.info->state, UPABI_WAITING);
	assert_int_equal(r.k->in_use, 0);
	/* Woken, it hears whose uthreads lie where; the frozen vcore goes on first. */
	assert_int_equal(rig_call(&r, rig_outside(&r), UPABI_OP_NOTIFY, 0, UPABI_EV_USER, NONE), 0);
	assert_int_equal(rig_map(&r, 2)->valid, 1);
	assert_true(rig_drained(&r, 2, UPABI_EV_VCORE_PREEMPTED, NULL));
	rig_fini(&r);
}

static void woken_while_everything_goes(void **state)
{
	struct rig r;

	rig_many(&r, 2, 2, 4, 0);
	assert_int_equal(rig_call(&r, rig_map(&r, 0)->act, UPABI_OP_YIELD_ALL), 0);
	assert_int_equal(rig_call(&r, rig_outside(&r), UPABI_OP_NOTIFY, 0, UPABI_EV_USER, NONE), 0);
	rig_effects(&r);
	assert_int_equal(rig_done(&r, rig_find(&r, UP_EFF_TAKE, 1)->id, UP_TOOK_UTHREAD), 0);
	assert_int_equal(r.info->state, UPABI_RUNNING_M);
	assert_int_equal(r.info->num_vcores, 1);
	rig_fini(&r);
}

/* Vcore 3 goes back to _S: it stays vcore 3, hears of the others, and is vcore 3 again later. */
static void back_to_s_keeps_the_number(void **state)
{
	struct upabi_event ev = { 0 };
	unsigned told = 0;
	struct rig r;
	uint32_t a3;

	rig_many(&r, 4, 4, 8, 1);
	a3 = rig_map(&r, 3)->act;
	assert_int_equal(rig_call(&r, a3, UPABI_OP_TO_S, 3), 0);
	assert_int_equal(r.info->state, UPABI_RUNNING_S);
	assert_int_equal(r.info->s_vcore, 3);
	assert_int_equal(rig_act(&r, a3)->state, UPABI_ACT_RUNNING);
	assert_int_equal(rig_map(&r, 3)->pcore, NONE);
	assert_int_equal(rig_map(&r, 3)->act, a3);
	/* Until the others are gone there is no way back, and no sleep. */
	assert_int_equal(rig_request(&r, a3, 2, 0), -EBUSY);
	assert_int_equal(rig_call(&r, a3, UPABI_OP_YIELD, 3), -EAGAIN);
	rig_effects(&r);
	assert_int_equal(rig_count(&r, UP_EFF_TAKE), 3);
	for (uint32_t v = 0; v < 3; v++)
		assert_int_equal(rig_done(&r, rig_find(&r, UP_EFF_TAKE, v)->id, UP_TOOK_UTHREAD),
				 0);
	assert_int_equal(r.info->num_vcores, 0);
	assert_int_equal(r.k->in_use, 0);
	while (rig_pop(&r, 3, &ev))
		told += ev.nr == UPABI_EV_VCORE_PREEMPTED && ev.arg < 3;
	assert_int_equal(told, 3);
	assert_int_equal(rig_request(&r, rig_outside(&r), 2, 0), -EPERM);
	assert_int_equal(rig_request(&r, a3, 2, 0), 0);
	assert_int_equal(r.val, 1);
	assert_int_equal(r.info->state, UPABI_RUNNING_M);
	assert_int_equal(rig_map(&r, 3)->valid, 1);
	assert_int_equal(rig_map(&r, 3)->act, a3);  /* awake already */
	assert_int_equal(rig_map(&r, 0)->valid, 1); /* then the lowest hole */
	rig_fini(&r);
}

static void the_single_context_sleeps_and_wakes(void **state)
{
	struct rig r;
	uint32_t a;

	rig_many(&r, 1, 1, 2, 0);
	a = rig_map(&r, 0)->act;
	assert_int_equal(rig_call(&r, a, UPABI_OP_TO_S, 0), 0);
	assert_int_equal(rig_call(&r, a, UPABI_OP_YIELD, 0, 1), -ECANCELED);
	rig_drain_all(&r);
	assert_int_equal(rig_call(&r, rig_outside(&r), UPABI_OP_YIELD, 0), -EPERM);
	assert_int_equal(rig_call(&r, a, UPABI_OP_YIELD, 0), 0);
	assert_int_equal(r.info->state, UPABI_WAITING);
	rig_effects(&r);
	assert_int_equal(rig_call(&r, rig_outside(&r), UPABI_OP_NOTIFY, 0, UPABI_EV_USER, NONE), 0);
	assert_int_equal(r.info->state, UPABI_RUNNING_S);
	rig_effects(&r);
	struct up_effect *start = rig_find(&r, UP_EFF_START, 0);

	assert_non_null(start);
	assert_int_equal(start->pcore, NONE);
	assert_true(rig_drained(&r, 0, UPABI_EV_USER, NULL));
	/* That start fails: somebody else goes on. */
	assert_int_equal(rig_done(&r, start->id, -EAGAIN), 0);
	assert_int_equal(r.info->state, UPABI_RUNNING_S);
	rig_effects(&r);
	assert_non_null(rig_find(&r, UP_EFF_START, 0));
	rig_fini(&r);
}

static void change_to_and_be_resumed(void **state)
{
	struct upabi_event ev = { 0 };
	struct rig r;
	uint32_t a0, pc;

	rig_many(&r, 1, 1, 3, 1);
	a0 = rig_map(&r, 0)->act;
	pc = rig_map(&r, 0)->pcore;
	assert_int_equal(rig_call(&r, a0, UPABI_OP_CHANGE_TO, 0, 0, 1), -EINVAL);
	assert_int_equal(rig_call(&r, a0, UPABI_OP_CHANGE_TO, 0, 8, 1), -EINVAL);
	assert_int_equal(rig_call(&r, a0, UPABI_OP_CHANGE_TO, 0, 5, 1), 0);
	assert_int_equal(rig_map(&r, 5)->valid, 1);
	assert_int_equal(rig_map(&r, 5)->pcore, pc);
	assert_int_equal(rig_map(&r, 0)->valid, 0);
	assert_int_equal(rig_act(&r, a0)->state, UPABI_ACT_FROZEN);
	assert_int_equal(rig_map(&r, 0)->flags, UPABI_VMF_PREEMPTED | UPABI_VMF_VCORE_CTX);
	rig_started(&r);
	assert_true(rig_drained(&r, 5, UPABI_EV_VCORE_PREEMPTED, &ev));
	assert_true(ev.arg == 0 && ev.val == 1);
	/* And back, for good: 5 is not resumed, its mail is pointed out (race 45). */
	assert_int_equal(rig_call(&r, rig_map(&r, 5)->act, UPABI_OP_CHANGE_TO, 5, 0, 0), 0);
	assert_int_equal(rig_map(&r, 0)->act, a0);
	assert_true(rig_drained(&r, 0, UPABI_EV_CHECK_MSGS, &ev));
	assert_int_equal(ev.arg, 5);
	assert_int_equal(rig_map(&r, 5)->flags, UPABI_VMF_PREEMPTED);
	rig_fini(&r);
}

/* A warning is about the core: it goes over to the vcore that has it now. */
static void a_warning_follows_the_core(void **state)
{
	struct rig r;

	rig_many(&r, 1, 1, 3, 0);
	assert_int_equal(up_kern_preempt(r.k, r.p, 0, r.now + 99, r.now), 0);
	assert_int_equal(rig_call(&r, rig_map(&r, 0)->act, UPABI_OP_CHANGE_TO, 0, 2, 0), 0);
	assert_true(rig_map(&r, 2)->preempt_pending == r.now + 99);
	assert_true(rig_map(&r, 0)->preempt_pending == 0);
	rig_fini(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(not_nice_lowers_what_is_wanted),
	cmocka_unit_test(race_14_wanted_stops_at_nothing),
	cmocka_unit_test(race_14_nor_with_others_online),
	cmocka_unit_test(race_52_runnable_and_nothing_wanted),
	cmocka_unit_test(race_16_nice_needs_a_reason),
	cmocka_unit_test(nice_keeps_what_is_wanted),
	cmocka_unit_test(race_9_10_12_mail_stops_a_yield),
	cmocka_unit_test(race_15_request_meets_yield),
	cmocka_unit_test(race_27_40_42_condemned),
	cmocka_unit_test(race_26_only_ones_own),
	cmocka_unit_test(all_at_once),
	cmocka_unit_test(woken_while_everything_goes),
	cmocka_unit_test(back_to_s_keeps_the_number),
	cmocka_unit_test(the_single_context_sleeps_and_wakes),
	cmocka_unit_test(change_to_and_be_resumed),
	cmocka_unit_test(a_warning_follows_the_core),
};

UNIT_MAIN(tests)
