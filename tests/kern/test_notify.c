/* SPDX-License-Identifier: MIT */
/* When a vcore is interrupted: the whole matrix of online, disabled, pending and wished for. */
#include "rig.h"

static bool notified(struct rig *r, uint32_t v)
{
	rig_effects(r);
	return rig_find(r, UP_EFF_NOTIFY, v) != NULL;
}

static void post(struct rig *r, uint32_t v)
{
	struct upabi_event ev = { .nr = UPABI_EV_USER };

	assert_int_equal(up_kern_post(r->k, r->p, v, &ev, r->now), 0);
}

/* Race 3: pending being set already says nothing about an interrupt that is under way. */
static void race_3_matrix(void **state)
{
	for (unsigned mix = 0; mix < 8; mix++) {
		bool disabled = mix & 1, pending = mix & 2, wish = mix & 4;
		struct rig r;

		rig_many(&r, 2, 2, 4, 0);
		rig_effects(&r);
		r.data->evt[UPABI_EV_USER].flags = wish ? UPABI_EVF_NOTIFY : 0;
		rig_vd(&r, 1)->notif_disabled = disabled;
		rig_vd(&r, 1)->notif_pending = pending;
		post(&r, 1);
		assert_int_equal(notified(&r, 1), wish && !disabled);
		assert_int_equal(rig_vd(&r, 1)->notif_pending, wish || pending);
		assert_false(notified(&r, 0));
		rig_fini(&r);
	}
}

static void names_who_runs_the_vcore_now(void **state)
{
	struct rig r;
	uint32_t a, b;

	rig_many(&r, 1, 1, 3, 1);
	a = rig_map(&r, 0)->act;
	b = rig_map(&r, 0)->standby;
	r.data->evt[UPABI_EV_USER].flags = UPABI_EVF_NOTIFY;
	rig_vd(&r, 0)->notif_disabled = 0;
	post(&r, 0);
	/* Before the host takes it, the vcore is somebody else's: that one is in vcore context. */
	rig_vd(&r, 0)->notif_disabled = 1;
	assert_int_equal(rig_call(&r, b, UPABI_OP_BLOCKED, 0, a, rig_act(&r, a)->gen), 0);
	assert_false(notified(&r, 0));
	assert_int_equal(rig_vd(&r, 0)->notif_pending, 1);
	rig_vd(&r, 0)->notif_disabled = 0;
	post(&r, 0);
	rig_effects(&r);
	assert_int_equal(rig_find(&r, UP_EFF_NOTIFY, 0)->act, b);
	rig_fini(&r);
}

static void once_however_many_messages(void **state)
{
	struct rig r;

	rig_many(&r, 1, 1, 2, 0);
	rig_effects(&r);
	r.data->evt[UPABI_EV_USER].flags = UPABI_EVF_NOTIFY;
	rig_vd(&r, 0)->notif_disabled = 0;
	for (int i = 0; i < 5; i++)
		post(&r, 0);
	rig_effects(&r);
	assert_int_equal(rig_count(&r, UP_EFF_NOTIFY), 1);
	post(&r, 0);
	rig_effects(&r);
	assert_int_equal(rig_count(&r, UP_EFF_NOTIFY), 1);
	rig_fini(&r);
}

/* Race 7: what is left for a vcore that went offline is not sent to its old core. */
static void race_7_not_to_a_vcore_that_left(void **state)
{
	struct rig r;

	rig_many(&r, 2, 2, 4, 0);
	rig_effects(&r);
	r.data->evt[UPABI_EV_USER].flags = UPABI_EVF_NOTIFY;
	rig_vd(&r, 1)->notif_disabled = 0;
	post(&r, 1);
	rig_drained(&r, 1, 0, NULL);
	assert_int_equal(rig_call(&r, rig_map(&r, 1)->act, UPABI_OP_YIELD, 1), 0);
	assert_false(notified(&r, 1));
	rig_fini(&r);
}

static void the_call_interrupts_without_a_message(void **state)
{
	struct upabi_event ev = { 0 };
	struct rig r;
	uint32_t a;

	rig_many(&r, 2, 2, 4, 0);
	rig_effects(&r);
	a = rig_map(&r, 0)->act;
	rig_vd(&r, 1)->notif_disabled = 0;
	assert_int_equal(rig_call(&r, a, UPABI_OP_NOTIFY, 0, UPABI_EV_NONE, 1), 0);
	assert_true(notified(&r, 1));
	assert_false(rig_pop(&r, 1, &ev));
	assert_int_equal(rig_call(&r, a, UPABI_OP_NOTIFY, 0, UPABI_EV_NONE, 99), -EINVAL);
	assert_int_equal(rig_call(&r, a, UPABI_OP_NOTIFY, 999, UPABI_EV_USER, 0), -ESRCH);
	assert_int_equal(rig_call(&r, a, UPABI_OP_NOTIFY, 0, UPABI_EV_NR, 0), -EINVAL);
	assert_int_equal(rig_call(&r, a, UPABI_OP_NOTIFY, 0, UPABI_EV_USER, 1, 5, 6), 0);
	assert_true(rig_pop(&r, 1, &ev));
	assert_true(ev.val == 5 && ev.aux == 6 && ev.arg == r.info->pid);
	rig_fini(&r);
}

static void others_are_told_only_what_others_may_say(void **state)
{
	struct rig_proc other;
	struct rig r;
	uint32_t a;

	rig_many(&r, 2, 1, 2, 0);
	other = rig_proc(&r, 1, 1, 0);
	a = rig_map(&r, 0)->act;
	assert_int_equal(rig_call(&r, a, UPABI_OP_NOTIFY, up_proc_pid(other.p),
				  UPABI_EV_VCORE_PREEMPTED, NONE),
			 -EPERM);
	assert_int_equal(
		rig_call(&r, a, UPABI_OP_NOTIFY, up_proc_pid(other.p), UPABI_EV_USER, NONE), 0);
	assert_int_equal(other.p->kept.nr, 1);
	rig_fini(&r);
	rig_proc_free(&other);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(race_3_matrix),
	cmocka_unit_test(names_who_runs_the_vcore_now),
	cmocka_unit_test(once_however_many_messages),
	cmocka_unit_test(race_7_not_to_a_vcore_that_left),
	cmocka_unit_test(the_call_interrupts_without_a_message),
	cmocka_unit_test(others_are_told_only_what_others_may_say),
};

UNIT_MAIN(tests)
