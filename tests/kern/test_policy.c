/* SPDX-License-Identifier: MIT */
/* Who gets how many: shares, minimums, turns, and never an idle core beside somebody who waits. */
#include "rig.h"

#define NR 8

struct crowd {
	struct rig r;
	struct rig_proc p[NR];
	uint32_t nr;
};

static void crowd_init(struct crowd *c, uint32_t pcores, uint32_t nr)
{
	rig_init(&c->r, pcores);
	c->nr = nr;
	for (uint32_t i = 0; i < nr; i++) {
		c->p[i] = rig_proc(&c->r, 8, 16, 0);
		up_kern_run(c->r.k, c->p[i].p, c->r.now);
		rig_select(&c->r, c->p[i]);
		rig_add_acts(&c->r, 10);
	}
}

static int want(struct crowd *c, uint32_t i, uint64_t wanted, uint64_t min)
{
	rig_select(&c->r, c->p[i]);
	return rig_request(&c->r, rig_outside(&c->r), wanted, min);
}

/* Everything that is asked for comes about, until nothing is left to do at this time. */
static void obey(struct crowd *c)
{
	for (int round = 0; round < 100 && rig_effects(&c->r); round++)
		for (unsigned i = 0; i < c->r.nr_log; i++) {
			const struct up_effect *e = &c->r.log[i];

			if (e->op == UP_EFF_START || e->op == UP_EFF_TAKE)
				up_kern_effect_done(c->r.k, e->id, 0, c->r.now);
			rig_check(&c->r);
		}
}

static void pass(struct crowd *c, uint64_t ns)
{
	uint64_t until = c->r.now + ns;

	obey(c);
	while (up_kern_deadline(c->r.k) && up_kern_deadline(c->r.k) <= until) {
		c->r.now = UP_MAX(up_kern_deadline(c->r.k), c->r.now);
		up_kern_tick(c->r.k, c->r.now);
		rig_check(&c->r);
		obey(c);
	}
	c->r.now = until;
}

static uint32_t has(struct crowd *c, uint32_t i)
{
	return c->p[i].info->num_vcores;
}

static void crowd_fini(struct crowd *c)
{
	c->r.info = NULL;
	c->r.data = NULL;
	rig_fini(&c->r);
	for (uint32_t i = 0; i < c->nr; i++)
		rig_proc_free(&c->p[i]);
}

static void alone_it_gets_everything(void **state)
{
	struct crowd c;

	crowd_init(&c, 8, 2);
	want(&c, 0, 8, 0);
	pass(&c, 1);
	assert_int_equal(has(&c, 0), 8);
	assert_int_equal(up_kern_deadline(c.r.k), 0);
	crowd_fini(&c);
}

static void max_min_shares(void **state)
{
	struct crowd c;

	/* 8 cores; 8, 8 and 1 wanted: 1 is satisfied, the rest is halved, 3 and 4. */
	crowd_init(&c, 8, 3);
	want(&c, 0, 8, 0);
	pass(&c, 10);
	want(&c, 1, 8, 0);
	want(&c, 2, 1, 0);
	/* A warning first; the newcomers wait for the deadline. */
	assert_int_equal(has(&c, 0), 8);
	assert_int_equal(has(&c, 1), 0);
	pass(&c, 2000);
	assert_int_equal(has(&c, 2), 1);
	assert_int_equal(has(&c, 0) + has(&c, 1), 7);
	assert_in_range(has(&c, 0), 3, 4);
	/* The odd one changes hands with the quantum. */
	uint32_t before = has(&c, 0);

	pass(&c, 102000);
	assert_int_equal(has(&c, 0) + has(&c, 1), 7);
	assert_int_equal(has(&c, 0), 7 - before);
	/* Less wanted by one: the other takes it. */
	want(&c, 1, 2, 0);
	pass(&c, 2000);
	assert_int_equal(has(&c, 0), 5);
	assert_int_equal(has(&c, 1), 2);
	crowd_fini(&c);
}

static void a_minimum_or_nothing(void **state)
{
	struct crowd c;

	crowd_init(&c, 4, 2);
	want(&c, 0, 4, 0);
	pass(&c, 10);
	want(&c, 1, 3, 3);
	pass(&c, 2000);
	/* 1 runs with its three at once, never with fewer. */
	assert_int_equal(has(&c, 1), 3);
	assert_int_equal(has(&c, 0), 1);
	want(&c, 0, 4, 2);
	pass(&c, 2000);
	/* Both cannot be: one waits for its turn, whole. */
	assert_true((has(&c, 0) == 4 && has(&c, 1) == 0) || (has(&c, 0) == 0 && has(&c, 1) == 3) ||
		    (has(&c, 0) >= 2 && has(&c, 1) == 0) || (has(&c, 1) == 3 && has(&c, 0) == 0));
	uint32_t waits = has(&c, 0) ? 1 : 0;

	assert_int_equal(c.p[waits].info->state, UPABI_RUNNABLE_M);
	pass(&c, 110000);
	assert_int_equal(c.p[waits].info->state, UPABI_RUNNING_M);
	assert_int_equal(c.p[1 - waits].info->state, UPABI_RUNNABLE_M);
	crowd_fini(&c);
}

/* Two of its three cores have come: not one of them runs for it yet, and that is the reason. */
static void cores_gather_until_there_are_enough(void **state)
{
	struct up_effect take[2];
	struct crowd c;

	crowd_init(&c, 4, 2);
	want(&c, 0, 3, 0);
	obey(&c);
	want(&c, 1, 3, 3);
	c.r.now += 1000;
	up_kern_tick(c.r.k, c.r.now);
	rig_effects(&c.r);
	assert_int_equal(rig_count(&c.r, UP_EFF_TAKE), 2);
	take[0] = *rig_find(&c.r, UP_EFF_TAKE, 1);
	take[1] = *rig_find(&c.r, UP_EFF_TAKE, 2);
	assert_int_equal(rig_done(&c.r, take[0].id, 0), 0);
	assert_int_equal(has(&c, 1), 0);
	assert_string_equal(up_kern_idle_reason(c.r.k, 3), "its minimum gathers");
	assert_int_equal(rig_done(&c.r, take[1].id, 0), 0);
	assert_int_equal(has(&c, 1), 3);
	crowd_fini(&c);
}

static void more_processes_than_cores_take_turns(void **state)
{
	uint32_t ran[6] = { 0 };
	struct crowd c;

	crowd_init(&c, 2, 6);
	for (uint32_t i = 0; i < 6; i++)
		want(&c, i, 4, 0);
	for (int turn = 0; turn < 12; turn++) {
		pass(&c, 102000);
		uint32_t sum = 0;

		for (uint32_t i = 0; i < 6; i++) {
			ran[i] += has(&c, i);
			sum += has(&c, i);
		}
		assert_int_equal(sum, 2);
	}
	for (uint32_t i = 0; i < 6; i++)
		assert_int_equal(ran[i], 4);
	crowd_fini(&c);
}

static void a_need_that_passes_takes_nothing(void **state)
{
	struct crowd c;

	crowd_init(&c, 2, 2);
	want(&c, 0, 2, 0);
	pass(&c, 10);
	want(&c, 1, 1, 0);
	rig_select(&c.r, c.p[0]);
	assert_true(rig_map(&c.r, 1)->preempt_pending != 0);
	up_kern_proc_destroy(c.r.k, c.p[1].p, c.r.now);
	rig_check(&c.r);
	assert_true(rig_map(&c.r, 1)->preempt_pending == 0);
	pass(&c, 5000);
	assert_int_equal(has(&c, 0), 2);
	crowd_fini(&c);
}

/* One that asks and can start nothing does not keep cores from others for good. */
static void no_activation_no_claim(void **state)
{
	struct rig_proc bad;
	struct crowd c;

	crowd_init(&c, 4, 1);
	bad = rig_proc(&c.r, 8, 8, 0);
	up_kern_run(c.r.k, bad.p, c.r.now);
	rig_select(&c.r, bad);
	rig_request(&c.r, rig_outside(&c.r), 4, 0);
	want(&c, 0, 4, 0);
	pass(&c, 2000);
	assert_int_equal(has(&c, 0), 4);
	/* When it comes to have some, it has its share. */
	rig_select(&c.r, bad);
	rig_add_acts(&c.r, 4);
	pass(&c, 2000);
	assert_int_equal(bad.info->num_vcores, 2);
	assert_int_equal(has(&c, 0), 2);
	crowd_fini(&c);
	rig_proc_free(&bad);
}

/* Race 49, 55, 58-like: whatever wakes a process is acted upon within the same call. */
static void race_55_waking_does_not_wait_for_a_tick(void **state)
{
	struct crowd c;

	crowd_init(&c, 2, 1);
	want(&c, 0, 1, 0);
	obey(&c);
	rig_drain_all(&c.r);
	assert_int_equal(rig_call(&c.r, rig_map(&c.r, 0)->act, UPABI_OP_YIELD, 0), 0);
	rig_effects(&c.r);
	up_kern_post(c.r.k, c.r.p, NONE, &(struct upabi_event){ .nr = UPABI_EV_TIMER }, c.r.now);
	rig_effects(&c.r);
	assert_non_null(rig_find(&c.r, UP_EFF_START, 0));
	crowd_fini(&c);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(alone_it_gets_everything),
	cmocka_unit_test(max_min_shares),
	cmocka_unit_test(a_minimum_or_nothing),
	cmocka_unit_test(cores_gather_until_there_are_enough),
	cmocka_unit_test(more_processes_than_cores_take_turns),
	cmocka_unit_test(a_need_that_passes_takes_nothing),
	cmocka_unit_test(no_activation_no_claim),
	cmocka_unit_test(race_55_waking_does_not_wait_for_a_tick),
};

UNIT_MAIN(tests)
