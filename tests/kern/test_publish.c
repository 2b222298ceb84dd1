/* SPDX-License-Identifier: MIT */
/*
 * A start as an activation sees it that is awake, in every order: the real kernel side against one that
 * looks at its line by itself, before any bell.  Whatever the order, one that finds a start counted
 * finds what it is started for.
 */
#include "explore.h"
#include "rig.h"

/* All that the kernel side has lies here, so that each run begins with the same bytes. */
struct world {
	size_t used;
	char mem[1 << 18] __attribute__((aligned(64)));
};

static struct world world, as_it_was;
static struct rig r;
static struct {
	/* what is expected */
	uint32_t act, vcore, pcore, starts;
	/* what is found */
	bool started;
	uint32_t act_state, act_vcore, map_act, map_pcore;
} seen;

static void *world_alloc(void *arg, size_t sz)
{
	void *at = world.mem + world.used;

	world.used += UP_ALIGN_UP(sz, (size_t)64);
	assert_true(world.used <= sizeof(world.mem));
	return memset(at, 0, sz);
}

static void world_free(void *arg, void *ptr, size_t sz)
{
}

/* A process without a core, both regions in the world. */
static void world_init(uint32_t pcores, uint32_t acts)
{
	struct up_kern_cfg cfg;
	struct up_proc_cfg pc = { .max_vcores = 4, .max_acts = 8 };

	memset(&r, 0, sizeof(r));
	memset(&world, 0, sizeof(world));
	r.now = 1000;
	cfg = rig_cfg(&r, pcores);
	cfg.alloc = world_alloc;
	cfg.free = world_free;
	assert_int_equal(up_kern_create(&cfg, &r.k), 0);
	for (uint32_t c = 0; c < pcores; c++)
		assert_int_equal(up_kern_core_add(r.k, c, r.now), 0);
	pc.info = r.info = world_alloc(NULL, upabi_info_size(4, pcores, 8));
	r.data = rig_data(4, 8);
	pc.data = world_alloc(NULL, upabi_data_size(4, 8));
	memcpy(pc.data, r.data, upabi_data_size(4, 8));
	free(r.data);
	r.data = pc.data;
	assert_int_equal(up_kern_proc_create(r.k, &pc, r.now, &r.p), 0);
	assert_int_equal(up_kern_run(r.k, r.p, r.now), 0);
	rig_add_acts(&r, acts);
}

static void reset(void *arg)
{
	memcpy(&world, &as_it_was, sizeof(world));
	seen.started = false;
}

/* As an activation's loop does it: the count, then the rest of its line, then the map. */
static void awake(void *arg)
{
	const struct upabi_actmap *m = rig_act(&r, seen.act);
	const struct upabi_vcoremap *v = rig_map(&r, seen.vcore);

	if (up_load_acquire(&m->starts) == seen.starts)
		return;
	seen.started = true;
	seen.act_vcore = up_load_relaxed(&m->vcore);
	seen.act_state = up_load_relaxed(&m->state);
	seen.map_pcore = up_load_acquire(&v->pcore);
	seen.map_act = up_load_relaxed(&v->act);
}

static const char *judge(void *arg)
{
	if (rig_act(&r, seen.act)->starts != seen.starts + 1)
		return "it was not started, once";
	if (!seen.started)
		return NULL; /* it looked before */
	if (seen.act_state != UPABI_ACT_RUNNING)
		return "a start is counted, and its state says nothing of one";
	if (seen.act_vcore != seen.vcore)
		return "it takes the start to be another vcore's";
	if (seen.map_pcore != seen.pcore)
		return "it goes to a core that is not its vcore's";
	if (seen.map_act != seen.act)
		return "the map does not say that it runs its vcore";
	return NULL;
}

/* `act` is to be started on `vcore` by what `kernel` does. */
static void explore_start(void (*kernel)(void *), uint32_t act, uint32_t vcore, uint32_t pcore)
{
	struct explore e = {
		.reset = reset,
		.thread = { kernel, awake },
		.judge = judge,
		.nr_watch = 5,
	};
	struct explore_result res;

	seen.act = act;
	seen.vcore = vcore;
	seen.pcore = pcore;
	seen.starts = rig_act(&r, act)->starts;
	/* What stands there from earlier; nobody reads it back. */
	rig_map(&r, vcore)->pcore = 77;
	rig_act(&r, act)->vcore = 77;
	memcpy(&as_it_was, &world, sizeof(world));
	e.watch[0] = &rig_act(&r, act)->starts;
	e.watch[1] = &rig_act(&r, act)->state;
	e.watch[2] = &rig_act(&r, act)->vcore;
	e.watch[3] = &rig_map(&r, vcore)->pcore;
	e.watch[4] = &rig_map(&r, vcore)->act;
	explore_all(&e, &res);
	print_message("# %llu states, %llu runs\n", (unsigned long long)res.states,
		      (unsigned long long)res.runs);
	if (res.bad)
		fail_msg("%s: %s", res.bad, res.trace);
	assert_true(res.states > 50);
}

static void ask(uint32_t slot, uint32_t op, uint64_t a0, uint64_t a1, uint64_t a2)
{
	struct upabi_call c = { .op = op, .arg = { a0, a1, a2 } };

	up_kern_call(r.k, r.p, slot, &c, r.now, &r.val);
}

static void grants_a_core(void *arg)
{
	r.data->res[UPABI_RES_CORES].wanted = 1;
	ask(rig_outside(&r), UPABI_OP_REQUEST, 0, 0, 0);
}

static void a_vcore_is_started(void **state)
{
	world_init(1, 1);
	explore_start(grants_a_core, 0, 0, 0);
}

/* The other activation goes to vcore 1, since the one that was on its way there stays with vcore 0. */
static void replaces_who_was_under_way(void *arg)
{
	ask(rig_map(&r, 1)->act, UPABI_OP_BLOCKED, 0, rig_map(&r, 0)->act, 1);
}

static void a_place_is_filled_by_another(void **state)
{
	uint32_t other;

	world_init(2, 3);
	assert_int_equal(rig_request(&r, rig_outside(&r), 1, 0), 0);
	rig_started(&r);
	rig_drain_all(&r);
	assert_int_equal(rig_request(&r, rig_outside(&r), 2, 0), 0);
	rig_effects(&r); /* performed, and not heard of */
	other = 3 - rig_map(&r, 0)->act - rig_map(&r, 1)->act;
	assert_int_equal(rig_act(&r, other)->state, UPABI_ACT_POOLED);
	explore_start(replaces_who_was_under_way, other, 1, rig_map(&r, 1)->pcore);
}

static void wakes_it(void *arg)
{
	struct upabi_event ev = { .nr = UPABI_EV_USER };

	up_kern_post(r.k, r.p, NONE, &ev, r.now);
}

static void the_single_context_is_started(void **state)
{
	world_init(1, 1);
	assert_int_equal(rig_request(&r, rig_outside(&r), 1, 0), 0);
	rig_started(&r);
	assert_int_equal(rig_call(&r, 0, UPABI_OP_TO_S, 0), 0);
	rig_drain_all(&r);
	assert_int_equal(rig_call(&r, 0, UPABI_OP_YIELD, 0), 0);
	assert_int_equal(r.info->state, UPABI_WAITING);
	r.data->evt[UPABI_EV_USER].flags = UPABI_EVF_WAKE;
	explore_start(wakes_it, 0, 0, NONE);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_vcore_is_started),
	cmocka_unit_test(a_place_is_filled_by_another),
	cmocka_unit_test(the_single_context_is_started),
};

UNIT_MAIN(tests)
