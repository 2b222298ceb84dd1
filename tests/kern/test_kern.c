/* SPDX-License-Identifier: MIT */
/* The machine's memory, each allocation failed in turn; its deadlines in order. */
#include "rig.h"

/* Everything that allocates, up to the first failure.  0 when it came to the end. */
static int build(struct rig *r)
{
	struct up_kern_cfg cfg = rig_cfg(r, 4);
	struct up_proc *p;
	int ret;

	ret = up_kern_create(&cfg, &r->k);
	if (ret < 0)
		return ret;
	for (uint32_t i = 0; i < 4; i++)
		up_kern_core_add(r->k, i, r->now);
	for (int i = 0; i < 40 && ret == 0; i++) {
		struct up_proc_cfg pc = {
			.max_vcores = 8,
			.max_acts = 8,
			.info = r->info,
			.data = r->data,
		};

		ret = up_kern_proc_create(r->k, &pc, r->now, &p);
		if (up_kern_check(r->k))
			fail_msg("%s", up_kern_check(r->k));
	}
	return ret;
}

static void each_allocation_fails_in_turn(void **state)
{
	struct rig r = { .now = 1 };
	long nr = 0;
	int ret;

	r.info = rig_region(upabi_info_size(8, 4, 8));
	r.data = rig_data(8, 8);
	do {
		memset(&r.mem, 0, sizeof(r.mem));
		r.k = NULL;
		r.mem.fail_at = ++nr;
		ret = build(&r);
		if (ret != 0)
			assert_int_equal(ret, -ENOMEM);
		up_kern_destroy(r.k);
		assert_int_equal(r.mem.live, 0);
		assert_int_equal(r.mem.bytes, 0);
		assert_true(nr < 1000);
	} while (ret != 0);
	assert_true(nr > 40);
	free(r.info);
	free(r.data);
}

/* Nothing but the creation of things asks for memory. */
static void no_call_allocates(void **state)
{
	struct rig r;
	long calls;

	rig_many(&r, 4, 4, 10, 1);
	calls = r.mem.calls;
	r.mem.fail_at = calls + 1;
	for (int i = 0; i < 50; i++) {
		uint32_t a = rig_map(&r, 0)->act, b = rig_map(&r, 0)->standby;

		rig_drain_all(&r);
		assert_int_equal(rig_call(&r, b, UPABI_OP_BLOCKED, 0, a, rig_act(&r, a)->gen), 0);
		assert_int_equal(rig_call(&r, a, UPABI_OP_UNBLOCKED, 1), 0);
		up_kern_preempt(r.k, r.p, 1 + i % 3, r.now + 10, r.now);
		r.now += 20;
		up_kern_tick(r.k, r.now);
		rig_effects(&r);
		for (unsigned e = 0; e < r.nr_log; e++)
			up_kern_effect_done(r.k, r.log[e].id, 0, r.now);
	}
	up_kern_proc_destroy(r.k, r.p, r.now);
	assert_int_equal(r.mem.calls, calls);
	rig_fini(&r);
}

static void deadlines_come_in_order(void **state)
{
	struct rig r;
	uint64_t last = 0;

	rig_init(&r, 8);
	rig_select(&r, rig_proc(&r, 8, 16, 0));
	up_kern_run(r.k, r.p, r.now);
	rig_add_acts(&r, 8);
	rig_request(&r, rig_outside(&r), 8, 0);
	rig_started(&r);
	for (uint32_t v = 0; v < 8; v++)
		up_kern_preempt(r.k, r.p, v, r.now + 100 + (v * 37) % 11, r.now);
	for (int i = 0; i < 8; i++) {
		uint64_t due = up_kern_deadline(r.k);

		assert_true(due > last);
		last = due;
		r.now = due;
		up_kern_tick(r.k, r.now);
		rig_effects(&r);
		assert_int_equal(rig_count(&r, UP_EFF_TAKE), 1);
	}
	assert_int_equal(up_kern_deadline(r.k), 0);
	rig_fini(&r);
}

/* An earlier deadline stands, a later one does not put it off. */
static void the_earlier_deadline_stands(void **state)
{
	struct rig r;

	rig_many(&r, 1, 1, 2, 0);
	up_kern_preempt(r.k, r.p, 0, r.now + 100, r.now);
	up_kern_preempt(r.k, r.p, 0, r.now + 900, r.now);
	assert_true(rig_map(&r, 0)->preempt_pending == r.now + 100);
	up_kern_preempt(r.k, r.p, 0, r.now + 50, r.now);
	assert_true(rig_map(&r, 0)->preempt_pending == r.now + 50);
	assert_true(up_kern_deadline(r.k) == r.now + 50);
	rig_fini(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(each_allocation_fails_in_turn),
	cmocka_unit_test(no_call_allocates),
	cmocka_unit_test(deadlines_come_in_order),
	cmocka_unit_test(the_earlier_deadline_stands),
};

UNIT_MAIN(tests)
