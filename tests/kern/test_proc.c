/* SPDX-License-Identifier: MIT */
/* Processes: every state against every other, creation, waking, death in each state. */
#include "rig.h"

/* The table once more, written as the seed draws it: rows from, columns to. */
static const char *const drawing[] = {
	/*                    C RS GS W D DA RM GM */
	[UPABI_CREATED] = "   0  1  0  0 1  0  0  0", [UPABI_RUNNABLE_S] = "0  0  1  0 1  0  0  0",
	[UPABI_RUNNING_S] = " 0  1  0  1 1  0  1  0", [UPABI_WAITING] = "   0  1  0  0 1  0  1  0",
	[UPABI_DYING] = "     0  0  0  0 0  1  0  0", [UPABI_DYING_ABORT] = "0 0  0  0 0  0  0  0",
	[UPABI_RUNNABLE_M] = "0  0  0  0 1  0  0  1", [UPABI_RUNNING_M] = " 0  0  1  1 1  0  1  0",
};

static bool drawn(uint32_t from, uint32_t to)
{
	const char *at = drawing[from];
	uint32_t nr = 0;

	for (; *at; at++)
		if (*at != ' ' && ++nr == to)
			return *at == '1';
	return false;
}

static void every_transition_is_as_drawn(void **state)
{
	struct rig r;

	rig_init(&r, 2);
	rig_select(&r, rig_proc(&r, 2, 2, 0));
	for (uint32_t from = 1; from <= 8; from++) {
		for (uint32_t to = 0; to <= 9; to++) {
			uint64_t refused = r.p->nr_refused;
			bool legal = to >= 1 && to <= 8 && drawn(from, to);
			int ret;

			r.p->state = from;
			ret = up_proc_set_state(r.p, to);
			if (ret != (legal ? 0 : -EPERM))
				fail_msg("%u -> %u gives %d", from, to, ret);
			assert_int_equal(r.p->state, legal ? to : from);
			assert_int_equal(r.p->nr_refused, refused + !legal);
			assert_int_equal(r.info->nr_refused, r.p->nr_refused);
		}
	}
	r.p->state = UPABI_CREATED;
	up_policy_touch(r.p);
	rig_fini(&r);
}

static void created_runs_once(void **state)
{
	struct rig r;

	rig_init(&r, 2);
	rig_select(&r, rig_proc(&r, 4, 4, 0));
	assert_int_equal(r.info->state, UPABI_CREATED);
	assert_int_equal(r.info->magic == UPABI_INFO_MAGIC, 1);
	assert_int_equal(up_kern_run(r.k, r.p, r.now), 0);
	assert_int_equal(r.info->state, UPABI_RUNNING_S);
	assert_int_equal(up_kern_run(r.k, r.p, r.now), -EPERM);
	assert_int_equal(r.info->nr_refused, 1);
	assert_int_equal(rig_effects(&r), 0);
	rig_fini(&r);
}

static void creation_refuses_what_makes_no_sense(void **state)
{
	struct up_proc *p = (void *)1;
	struct up_proc_cfg cfg = { .max_vcores = 2, .max_acts = 2 };
	struct rig r;

	rig_init(&r, 2);
	r.info = rig_region(upabi_info_size(2, 2, 2));
	r.data = rig_data(2, 2);
	assert_int_equal(up_kern_proc_create(r.k, &cfg, 0, &p), -EINVAL);
	cfg.info = r.info;
	cfg.data = r.data;
	assert_int_equal(up_kern_proc_create(NULL, &cfg, 0, &p), -EINVAL);
	assert_int_equal(up_kern_proc_create(r.k, NULL, 0, &p), -EINVAL);
	assert_int_equal(up_kern_proc_create(r.k, &cfg, 0, NULL), -EINVAL);
	cfg.max_vcores = 0;
	assert_int_equal(up_kern_proc_create(r.k, &cfg, 0, &p), -EINVAL);
	cfg.max_vcores = UINT32_MAX;
	assert_int_equal(up_kern_proc_create(r.k, &cfg, 0, &p), -EINVAL);
	cfg.max_vcores = 2;
	cfg.max_acts = UINT32_MAX;
	assert_int_equal(up_kern_proc_create(r.k, &cfg, 0, &p), -EINVAL);
	cfg.max_acts = 2;
	cfg.data = (void *)((char *)r.data + 8);
	assert_int_equal(up_kern_proc_create(r.k, &cfg, 0, &p), -EINVAL);
	cfg.data = r.data;
	r.data->version++;
	assert_int_equal(up_kern_proc_create(r.k, &cfg, 0, &p), -EPROTO);
	r.data->version--;
	r.data->off_call += 64;
	assert_int_equal(up_kern_proc_create(r.k, &cfg, 0, &p), -EPROTO);
	assert_ptr_equal(p, (void *)1);
	rig_fini(&r);
}

static void pids_are_not_used_again_at_once(void **state)
{
	struct rig r;
	struct rig_proc rp;
	uint32_t first;

	rig_init(&r, 1);
	rp = rig_proc(&r, 1, 1, 0);
	first = up_proc_pid(rp.p);
	assert_ptr_equal(up_kern_proc_find(r.k, first), rp.p);
	assert_int_equal(up_kern_proc_destroy(r.k, rp.p, r.now), 0);
	rig_effects(&r);
	assert_non_null(rig_find(&r, UP_EFF_KILL, NONE));
	assert_non_null(rig_find(&r, UP_EFF_RELEASE, NONE));
	rig_proc_free(&rp);
	assert_null(up_kern_proc_find(r.k, first));
	for (int i = 0; i < 40; i++) {
		rp = rig_proc(&r, 1, 1, 0);
		assert_int_not_equal(up_proc_pid(rp.p), first);
		up_kern_proc_destroy(r.k, rp.p, r.now);
		rig_effects(&r);
		rig_proc_free(&rp);
	}
	assert_null(up_kern_proc_find(r.k, 0));
	assert_null(up_kern_proc_find(r.k, UINT32_MAX));
	r.info = NULL;
	r.data = NULL;
	rig_fini(&r);
}

/* Brings a fresh rig's process into the state; the vcores that run are 0 and 1. */
static void bring_to(struct rig *r, uint32_t state)
{
	rig_init(r, 2);
	rig_select(r, rig_proc(r, 4, 8, 1));
	if (state == UPABI_CREATED)
		return;
	assert_int_equal(up_kern_run(r->k, r->p, r->now), 0);
	if (state == UPABI_RUNNING_S)
		return;
	if (state == UPABI_RUNNABLE_M) {
		assert_int_equal(rig_request(r, rig_outside(r), 2, 0), 0);
		return; /* no activation: it stays there */
	}
	rig_add_acts(r, 5);
	assert_int_equal(rig_request(r, rig_outside(r), 2, 0), 0);
	rig_started(r);
	rig_drain_all(r);
	if (state == UPABI_RUNNING_M)
		return;
	for (uint32_t v = 2; v-- > 0;)
		assert_int_equal(rig_call(r, rig_map(r, v)->act, UPABI_OP_YIELD, v), 0);
	if (state == UPABI_WAITING)
		return;
	/* RUNNABLE_S: back to _S, asleep, woken while nobody is there to go on. */
	assert_int_equal(rig_request(r, rig_outside(r), 1, 0), 0);
	rig_started(r);
	rig_drain_all(r);
	assert_int_equal(rig_call(r, rig_map(r, 0)->act, UPABI_OP_TO_S, 0), 0);
	assert_int_equal(rig_call(r, r->p->s_act, UPABI_OP_YIELD, 0), 0);
	assert_int_equal(rig_call(r, rig_outside(r), UPABI_OP_ACT_DEL, 100), 0);
	rig_effects(r);
	assert_int_equal(rig_call(r, rig_outside(r), UPABI_OP_NOTIFY, 0, UPABI_EV_USER, NONE), 0);
}

/* Whatever it was doing, everything comes back and it is released. */
static void death_in_every_state(void **state)
{
	static const uint32_t states[] = { UPABI_CREATED, UPABI_RUNNABLE_S, UPABI_RUNNING_S,
					   UPABI_WAITING, UPABI_RUNNABLE_M, UPABI_RUNNING_M };

	for (size_t i = 0; i < UP_ARRAY_LEN(states); i++) {
		struct rig r;

		bring_to(&r, states[i]);
		if (r.info->state != states[i])
			fail_msg("wanted state %u, have %u", states[i], r.info->state);
		rig_effects(&r);
		assert_int_equal(up_kern_proc_destroy(r.k, r.p, r.now), 0);
		rig_check(&r);
		rig_effects(&r);
		assert_int_equal(rig_count(&r, UP_EFF_KILL), 1);
		if (states[i] == UPABI_RUNNING_M) {
			struct up_effect take[2] = { *rig_find(&r, UP_EFF_TAKE, 0),
						     *rig_find(&r, UP_EFF_TAKE, 1) };

			assert_int_equal(r.info->state, UPABI_DYING);
			assert_int_equal(up_kern_proc_destroy(r.k, r.p, r.now), -ESRCH);
			assert_int_equal(rig_call(&r, 0, UPABI_OP_REQUEST), -ESRCH);
			assert_null(rig_find(&r, UP_EFF_RELEASE, NONE));
			assert_int_equal(rig_done(&r, take[0].id, UP_TOOK_VCORE), 0);
			assert_int_equal(rig_done(&r, take[1].id, UP_TOOK_GONE), 0);
			rig_effects(&r);
		}
		assert_int_equal(r.log[r.nr_log - 1].op, UP_EFF_RELEASE);
		assert_int_equal(r.k->in_use, 0);
		rig_check(&r);
		rig_fini(&r);
	}
}

/* A kill that is known to be complete brings all cores back at once; takes are out of date then. */
static void kill_completes_for_all(void **state)
{
	struct up_effect take;
	struct rig r;

	bring_to(&r, UPABI_RUNNING_M);
	rig_call(&r, 0, UPABI_OP_EXIT);
	rig_effects(&r);
	take = *rig_find(&r, UP_EFF_TAKE, 0);
	assert_int_equal(rig_done(&r, rig_find(&r, UP_EFF_KILL, NONE)->id, 0), 0);
	assert_int_equal(r.k->in_use, 0);
	assert_int_equal(rig_done(&r, take.id, UP_TOOK_GONE), -ESTALE);
	rig_effects(&r);
	assert_non_null(rig_find(&r, UP_EFF_RELEASE, NONE));
	rig_fini(&r);
}

/* A dying process may still say that it leaves. */
static void dying_vcores_may_leave(void **state)
{
	struct rig r;
	uint32_t a0, a1;

	bring_to(&r, UPABI_RUNNING_M);
	a0 = rig_map(&r, 0)->act;
	a1 = rig_map(&r, 1)->act;
	up_kern_proc_destroy(r.k, r.p, r.now);
	assert_int_equal(rig_call(&r, a0, UPABI_OP_YIELD, 0), 0);
	assert_int_equal(rig_call(&r, a1, UPABI_OP_PREEMPTED, 1, 1), 0);
	assert_int_equal(r.info->state, UPABI_DYING_ABORT);
	assert_int_equal(r.k->in_use, 0);
	rig_fini(&r);
}

/* Race 25: death overtakes a start that the host has not seen. */
static void race_25_death_overtakes_a_start(void **state)
{
	struct rig r;

	rig_init(&r, 2);
	rig_select(&r, rig_proc(&r, 2, 4, 0));
	up_kern_run(r.k, r.p, r.now);
	rig_add_acts(&r, 2);
	rig_request(&r, rig_outside(&r), 2, 0);
	assert_int_equal(r.info->num_vcores, 2);
	up_kern_proc_destroy(r.k, r.p, r.now);
	rig_effects(&r);
	assert_null(rig_find(&r, UP_EFF_START, NONE));
	assert_int_equal(r.k->in_use, 0);
	assert_non_null(rig_find(&r, UP_EFF_RELEASE, NONE));
	rig_fini(&r);
}

/* Race 50, 54: a preemption and a tick meet a process that is dying. */
static void race_50_54_preempt_and_tick_meet_death(void **state)
{
	struct up_effect take;
	struct rig r;

	bring_to(&r, UPABI_RUNNING_M);
	assert_int_equal(up_kern_preempt(r.k, r.p, 0, r.now + 500, r.now), 0);
	up_kern_proc_destroy(r.k, r.p, r.now);
	assert_int_equal(up_kern_preempt(r.k, r.p, 1, 0, r.now), -ESRCH);
	assert_int_equal(up_kern_preempt_gang(r.k, r.p, 0, r.now), -ESRCH);
	r.now += 5000;
	up_kern_tick(r.k, r.now);
	rig_check(&r);
	rig_effects(&r);
	assert_int_equal(rig_count(&r, UP_EFF_TAKE), 2);
	take = *rig_find(&r, UP_EFF_TAKE, 0);
	assert_int_equal(rig_done(&r, rig_find(&r, UP_EFF_TAKE, 1)->id, UP_TOOK_GONE), 0);
	assert_int_equal(rig_done(&r, take.id, UP_TOOK_GONE), 0);
	assert_int_equal(up_kern_deadline(r.k), 0);
	rig_fini(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(every_transition_is_as_drawn),
	cmocka_unit_test(created_runs_once),
	cmocka_unit_test(creation_refuses_what_makes_no_sense),
	cmocka_unit_test(pids_are_not_used_again_at_once),
	cmocka_unit_test(death_in_every_state),
	cmocka_unit_test(kill_completes_for_all),
	cmocka_unit_test(dying_vcores_may_leave),
	cmocka_unit_test(race_25_death_overtakes_a_start),
	cmocka_unit_test(race_50_54_preempt_and_tick_meet_death),
};

UNIT_MAIN(tests)
