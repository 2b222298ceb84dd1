/* SPDX-License-Identifier: MIT */
/*
 * A process that writes anything anywhere it may, and calls with any numbers from any slot: the
 * kernel side keeps its invariants, comes to an end, and gives its cores back when it dies.
 */
#include "rig.h"

static uint64_t seed;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint64_t odd(void)
{
	switch (rnd() % 5) {
	case 0:
		return rnd();
	case 1:
		return UINT64_MAX - rnd() % 3;
	case 2:
		return rnd() % 300;
	default:
		return rnd() % 17;
	}
}

static void scribble(struct rig *r)
{
	uint64_t words = upabi_data_size(r->p->max_vcores, r->p->max_acts) / 8;

	for (int i = 0; i < 40; i++) {
		uint64_t at = rnd() % words;

		((uint64_t *)r->data)[at] = odd();
	}
}

/* An embedded process can reach even what it should not write. */
static void scribble_info(struct rig *r)
{
	uint64_t words = upabi_info_size(r->p->max_vcores, r->k->cfg.max_pcores, r->p->max_acts) /
			 8;

	for (int i = 0; i < 10; i++) {
		uint64_t at = rnd() % words;

		((uint64_t *)r->info)[at] = odd();
	}
}

static void perform(struct rig *r)
{
	rig_effects(r);
	for (unsigned i = 0; i < r->nr_log; i++)
		if (rnd() % 3) {
			static const int results[] = { 0, 1, 2, 3, -EAGAIN, -ESRCH, 4 };

			up_kern_effect_done(r->k, r->log[i].id, results[rnd() % 7], r->now);
		}
}

static void storm(uint64_t from, bool with_info)
{
	struct rig_proc good;
	struct rig r;

	seed = from * UINT64_C(0x9e3779b97f4a7c15) | 1;
	rig_many(&r, 3, 2, 8, 1);
	good = rig_proc(&r, 2, 4, 1);
	up_kern_run(r.k, good.p, r.now);
	for (int step = 0; step < 3000; step++) {
		struct upabi_call c = { .op = (uint32_t)(rnd() % (UPABI_OP_NR + 2)) };
		uint64_t val;

		if (c.op == UPABI_OP_EXIT)
			continue;
		for (int i = 0; i < 5; i++)
			c.arg[i] = odd();
		up_kern_call(r.k, r.p, (uint32_t)odd() % 64, &c, r.now, &val);
		if (rnd() % 4 == 0)
			scribble(&r);
		if (with_info && rnd() % 16 == 0)
			scribble_info(&r);
		if (rnd() % 3 == 0)
			up_kern_drain(r.k, r.p, (uint32_t)rnd(), r.now);
		if (rnd() % 3 == 0)
			perform(&r);
		if (rnd() % 8 == 0) {
			r.now += rnd() % 3000;
			up_kern_tick(r.k, r.now);
		}
		if (!with_info)
			rig_check(&r);
		else if (up_check_proc(good.p))
			fail_msg("a neighbour was harmed: %s", up_check_proc(good.p));
	}
	/* Not one core is lost by all that. */
	up_kern_proc_destroy(r.k, r.p, r.now);
	for (int i = 0; i < 100 && r.k->in_use; i++) {
		rig_effects(&r);
		for (unsigned e = 0; e < r.nr_log; e++)
			if (r.log[e].op == UP_EFF_KILL)
				up_kern_effect_done(r.k, r.log[e].id, 0, r.now);
		r.now += 10000000;
		up_kern_tick(r.k, r.now);
	}
	assert_int_equal(r.k->in_use, 0);
	rig_fini(&r);
	rig_proc_free(&good);
}

static void any_bytes_in_procdata_and_any_calls(void **state)
{
	for (uint64_t s = 1; s <= 40; s++)
		storm(s, false);
}

static void even_in_procinfo(void **state)
{
	for (uint64_t s = 1; s <= 20; s++)
		storm(s, true);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(any_bytes_in_procdata_and_any_calls),
	cmocka_unit_test(even_in_procinfo),
};

UNIT_MAIN(tests)
