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

static void stale_claims_are_refused(void **state)
{
	struct rig r;
	uint32_t a, b;

	rig_many(&r, 2, 1, 3, 1);
	a = rig_map(&r, 0)->act;
	b = rig_map(&r, 0)->standby;
	uint32_t gen = rig_act(&r, a)->gen;

	assert_int_equal(rig_call(&r, b, UPABI_OP_BLOCKED, 0, a, gen + 1), -ESTALE);
	assert_int_equal(rig_call(&r, b, UPABI_OP_BLOCKED, 0, a, gen - 1), -ESTALE);
	assert_int_equal(rig_call(&r, b, UPABI_OP_BLOCKED, 0, b, gen), -EINVAL);
	assert_int_equal(rig_call(&r, b, UPABI_OP_BLOCKED, 1, a, gen), -ESTALE);
	assert_int_equal(rig_call(&r, b, UPABI_OP_BLOCKED, 8, a, gen), -EINVAL);
	assert_int_equal(rig_call(&r, b, UPABI_OP_BLOCKED, 0, 99, gen), -EINVAL);
	assert_int_equal(rig_call(&r, rig_outside(&r), UPABI_OP_BLOCKED, 0, a, gen), -EINVAL);
	assert_int_equal(rig_map(&r, 0)->act, a);
	assert_int_equal(rig_act(&r, b)->state, UPABI_ACT_POOLED);
	assert_int_equal(r.info->nr_blocked, 0);
	/* Twice: the second claim is about somebody who does not run there any more. */
	assert_int_equal(rig_call(&r, b, UPABI_OP_BLOCKED, 0, a, gen), 0);
	assert_int_equal(rig_call(&r, rig_map(&r, 0)->standby, UPABI_OP_BLOCKED, 0, a, gen),
			 -ESTALE);
	rig_fini(&r);
}

/* Onto a busy vcore: its uthread is interrupted, both contexts are there to choose from. */
static void unblocked_onto_a_busy_vcore(void **state)
{
	struct upabi_event ev = { 0 };
	struct rig r;
	uint32_t a, b;

	rig_many(&r, 1, 1, 3, 1);
	a = rig_map(&r, 0)->act;
	b = rig_map(&r, 0)->standby;
	assert_int_equal(rig_call(&r, b, UPABI_OP_BLOCKED, 0, a, rig_act(&r, a)->gen), 0);
	rig_drain_all(&r);
	rig_effects(&r);
	rig_vd(&r, 0)->notif_disabled = 0; /* b runs another uthread */
	assert_int_equal(rig_call(&r, a, UPABI_OP_UNBLOCKED, 0xabcdef), 0);
	rig_effects(&r);
	struct up_effect *notify = rig_find(&r, UP_EFF_NOTIFY, 0);

	assert_non_null(notify);
	assert_int_equal(notify->act, b);
	assert_true(rig_drained(&r, 0, UPABI_EV_UNBLOCKED, &ev));
	assert_int_equal(ev.arg, a);
	assert_true(ev.val == rig_act(&r, a)->gen && ev.aux == 0xabcdef);
	assert_int_equal(rig_act(&r, a)->state, UPABI_ACT_POOLED);
	assert_int_equal(r.info->blocked, 0);
	assert_true(r.info->nr_blocked == 1 && r.info->nr_unblocked == 1);
	assert_int_equal(rig_call(&r, a, UPABI_OP_UNBLOCKED, 0), -ESTALE);
	assert_int_equal(rig_call(&r, b, UPABI_OP_UNBLOCKED, 0), -ESTALE);
	rig_fini(&r);
}

/* Onto an idle vcore: it polls in vcore context, so that nothing is interrupted. */
static void unblocked_onto_an_idle_vcore(void **state)
{
	struct rig r;
	uint32_t a, b;

	rig_many(&r, 1, 1, 3, 1);
	a = rig_map(&r, 0)->act;
	b = rig_map(&r, 0)->standby;
	assert_int_equal(rig_call(&r, b, UPABI_OP_BLOCKED, 0, a, rig_act(&r, a)->gen), 0);
	rig_drain_all(&r);
	rig_effects(&r);
	assert_int_equal(rig_call(&r, a, UPABI_OP_UNBLOCKED, 1), 0);
	rig_effects(&r);
	assert_null(rig_find(&r, UP_EFF_NOTIFY, 0));
	assert_int_equal(rig_vd(&r, 0)->notif_pending, 1);
	assert_true(rig_drained(&r, 0, UPABI_EV_UNBLOCKED, NULL));
	rig_fini(&r);
}

/* One that comes back and would stay awake stands by in the other's place; not so one that would not,
 * or whose vcore has gone. */
static void the_wakeful_one_stands_by(void **state)
{
	struct rig r;
	uint32_t a, b, c;

	rig_many(&r, 1, 1, 4, 1);
	a = rig_map(&r, 0)->act;
	b = rig_map(&r, 0)->standby;
	assert_int_equal(rig_call(&r, b, UPABI_OP_BLOCKED, 0, a, rig_act(&r, a)->gen), 0);
	c = rig_map(&r, 0)->standby;
	assert_true(c != a && c != b && c != UPABI_NONE);
	assert_int_equal(rig_call(&r, a, UPABI_OP_UNBLOCKED, 0, 0), 0);
	assert_int_equal(rig_map(&r, 0)->standby, c);
	assert_int_equal(rig_call(&r, c, UPABI_OP_BLOCKED, 0, b, rig_act(&r, b)->gen), 0);
	assert_int_equal(rig_map(&r, 0)->standby, a);
	rig_drain_all(&r);
	rig_effects(&r);
	assert_int_equal(rig_call(&r, b, UPABI_OP_UNBLOCKED, 0, 1), 0);
	assert_int_equal(rig_map(&r, 0)->standby, b);
	assert_int_equal(rig_act(&r, b)->vcore, 0);
	assert_int_equal(rig_act(&r, a)->state, UPABI_ACT_POOLED);
	/* Nobody stands by for a vcore that has gone. */
	assert_int_equal(rig_call(&r, b, UPABI_OP_BLOCKED, 0, c, rig_act(&r, c)->gen), 0);
	rig_drain_all(&r);
	rig_vd(&r, 0)->notif_pending = 0;
	assert_int_equal(rig_call(&r, b, UPABI_OP_YIELD, 0), 0);
	assert_int_equal(rig_map(&r, 0)->valid, 0);
	assert_int_equal(rig_call(&r, c, UPABI_OP_UNBLOCKED, 0, 1), 0);
	assert_true(rig_map(&r, 0)->valid || rig_map(&r, 0)->standby == UPABI_NONE);
	rig_fini(&r);
}

/* Its vcore has gone; then everybody has: the process is woken and told. */
static void unblocked_with_its_vcore_gone(void **state)
{
	struct upabi_event ev = { 0 };
	struct rig r;
	uint32_t a, b;

	rig_many(&r, 2, 2, 6, 1);
	a = rig_map(&r, 1)->act;
	b = rig_map(&r, 1)->standby;
	assert_int_equal(rig_call(&r, b, UPABI_OP_BLOCKED, 1, a, rig_act(&r, a)->gen), 0);
	rig_drain_all(&r);
	assert_int_equal(rig_call(&r, b, UPABI_OP_YIELD, 1), 0);
	rig_drain_all(&r);
	uint32_t a0 = rig_map(&r, 0)->act, b0 = rig_map(&r, 0)->standby;

	assert_int_equal(rig_call(&r, b0, UPABI_OP_BLOCKED, 0, a0, rig_act(&r, a0)->gen), 0);
	rig_drain_all(&r);
	assert_int_equal(rig_call(&r, a, UPABI_OP_UNBLOCKED, 5), 0);
	assert_true(rig_drained(&r, 0, UPABI_EV_UNBLOCKED, &ev));
	assert_int_equal(ev.arg, a);
	assert_int_equal(rig_call(&r, b0, UPABI_OP_YIELD, 0), 0);
	assert_int_equal(r.info->state, UPABI_WAITING);
	rig_effects(&r);
	assert_int_equal(rig_call(&r, a0, UPABI_OP_UNBLOCKED, 6), 0);
	assert_int_equal(r.info->state, UPABI_RUNNING_M);
	assert_int_equal(rig_map(&r, 0)->act, a0); /* who is awake already */
	assert_true(rig_drained(&r, 0, UPABI_EV_UNBLOCKED, &ev));
	assert_int_equal(ev.arg, a0);
	rig_fini(&r);
}

/* The take was sent for the one that blocked: it is sent again for the one that is there now, and
 * the report on the first is out of date. */
static void a_take_is_aimed_again(void **state)
{
	struct rig r;
	uint32_t a, b;

	rig_many(&r, 2, 1, 3, 1);
	a = rig_map(&r, 0)->act;
	b = rig_map(&r, 0)->standby;
	assert_int_equal(up_kern_preempt(r.k, r.p, 0, 0, r.now), 0);
	rig_effects(&r);
	struct up_effect first = *rig_find(&r, UP_EFF_TAKE, 0);

	assert_int_equal(first.act, a);
	assert_int_equal(rig_call(&r, b, UPABI_OP_BLOCKED, 0, a, rig_act(&r, a)->gen), 0);
	assert_int_equal(r.val, 1);
	rig_effects(&r);
	struct up_effect second = *rig_find(&r, UP_EFF_TAKE, 0);

	assert_int_equal(second.act, b);
	assert_int_equal(rig_done(&r, first.id, UP_TOOK_BLOCKED), -ESTALE);
	assert_int_equal(rig_act(&r, b)->state, UPABI_ACT_RUNNING);
	assert_int_equal(rig_done(&r, second.id, UP_TOOK_VCORE), 0);
	assert_int_equal(rig_map(&r, 0)->preempts_sent, rig_map(&r, 0)->preempts_done);
	rig_fini(&r);
}

/* Not the one that stands by, and one that stands by for somebody else: taken all the same. */
static void anybody_pooled_may_step_in(void **state)
{
	struct rig r;
	uint32_t a0, s1;

	rig_many(&r, 2, 2, 5, 1);
	a0 = rig_map(&r, 0)->act;
	s1 = rig_map(&r, 1)->standby;
	assert_int_equal(rig_call(&r, s1, UPABI_OP_BLOCKED, 0, a0, rig_act(&r, a0)->gen), 0);
	assert_int_equal(rig_map(&r, 0)->act, s1);
	/* Vcore 1 has somebody else now. */
	assert_true(rig_map(&r, 1)->standby != NONE && rig_map(&r, 1)->standby != s1);
	rig_fini(&r);
}

/* The one that steps in was on its way to another vcore: both are filled. */
static void both_promises_are_kept(void **state)
{
	struct rig r;
	uint32_t a0, b, spare;

	rig_many(&r, 2, 1, 3, 0);
	a0 = rig_map(&r, 0)->act;
	assert_int_equal(rig_request(&r, a0, 2, 0), 0);
	b = rig_map(&r, 1)->act;
	spare = 3 - a0 - b;
	rig_effects(&r);
	uint64_t old = rig_find(&r, UP_EFF_START, 1)->id;

	assert_int_equal(rig_call(&r, b, UPABI_OP_BLOCKED, 0, a0, rig_act(&r, a0)->gen), 0);
	assert_int_equal(rig_map(&r, 0)->act, b);
	assert_int_equal(rig_map(&r, 1)->act, spare);
	assert_int_equal(rig_done(&r, old, 0), -ESTALE);
	rig_effects(&r);
	assert_int_equal(rig_find(&r, UP_EFF_START, 1)->act, spare);
	rig_fini(&r);
}

static void or_the_core_goes_back(void **state)
{
	struct rig r;
	uint32_t a0, b;

	rig_many(&r, 2, 1, 2, 0);
	a0 = rig_map(&r, 0)->act;
	assert_int_equal(rig_request(&r, a0, 2, 0), 0);
	b = rig_map(&r, 1)->act;
	rig_effects(&r);
	assert_int_equal(rig_call(&r, b, UPABI_OP_BLOCKED, 0, a0, rig_act(&r, a0)->gen), 0);
	assert_int_equal(rig_map(&r, 0)->act, b);
	assert_int_equal(rig_map(&r, 1)->valid, 0);
	assert_int_equal(r.k->in_use, 1);
	rig_effects(&r);
	assert_non_null(rig_find(&r, UP_EFF_WANT_ACT, NONE));
	/* The blocked one comes back and takes that place. */
	assert_int_equal(rig_call(&r, a0, UPABI_OP_UNBLOCKED, 1), 0);
	assert_int_equal(rig_map(&r, 1)->act, a0);
	rig_fini(&r);
}

/* One that runs elsewhere, and was heard of there, does not run here too. */
static void who_runs_does_not_step_in(void **state)
{
	struct rig r;
	uint32_t a0, a1;

	rig_many(&r, 2, 2, 4, 0);
	a0 = rig_map(&r, 0)->act;
	a1 = rig_map(&r, 1)->act;
	assert_int_equal(rig_call(&r, a1, UPABI_OP_BLOCKED, 0, a0, rig_act(&r, a0)->gen), -ESTALE);
	assert_int_equal(rig_map(&r, 1)->act, a1);
	rig_fini(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(block_swaps_the_standby_in),
	cmocka_unit_test(stale_claims_are_refused),
	cmocka_unit_test(unblocked_onto_a_busy_vcore),
	cmocka_unit_test(unblocked_onto_an_idle_vcore),
	cmocka_unit_test(the_wakeful_one_stands_by),
	cmocka_unit_test(unblocked_with_its_vcore_gone),
	cmocka_unit_test(a_take_is_aimed_again),
	cmocka_unit_test(anybody_pooled_may_step_in),
	cmocka_unit_test(both_promises_are_kept),
	cmocka_unit_test(or_the_core_goes_back),
	cmocka_unit_test(who_runs_does_not_step_in),
};

UNIT_MAIN(tests)
