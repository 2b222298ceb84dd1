/* SPDX-License-Identifier: MIT */
/*
 * host/embed.h with the real kernel side: bad input, every call that can fail failing, concurrent
 * callers, the timer, fork, and what the rest of the process can and cannot touch.
 */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "host/embed.h"
#include "resources.h"

static uint32_t starts, wants, drops;
static uint64_t told;
static struct up_embed *embed;

static void on_start(void *arg, const struct up_effect *e)
{
	up_fetch_add_relaxed(&starts, 1);
	up_port_gate_open(up_embed_port(embed), e->act);
	assert_int_equal(up_embed_effect_done(embed, e->id, 0), 0);
}

static void on_want(void *arg, const struct up_effect *e)
{
	up_fetch_add_relaxed(&wants, (uint32_t)e->arg);
}

static void on_drop(void *arg, const struct up_effect *e)
{
	up_fetch_add_relaxed(&drops, 1);
}

static void on_deadline(void *arg, uint64_t deadline_ns)
{
	up_store_relaxed(&told, deadline_ns);
}

static const struct up_embed_ops ops = {
	.start = on_start, .want_act = on_want, .drop_act = on_drop, .deadline = on_deadline
};
static const struct up_embed_cfg good = {
	.max_pcores = 4, .max_vcores = 4, .max_acts = 64, .grace_ns = UP_NSEC_PER_MSEC, .ops = &ops
};

static int set_up(void **state)
{
	alarm(20); /* a hang is a failure */
	starts = wants = drops = 0;
	told = 0;
	return up_embed_create(&good, &embed);
}

static int tear_down(void **state)
{
	alarm(0);
	up_inject_set_hook(NULL, NULL);
	up_embed_destroy(embed);
	embed = NULL;
	return 0;
}

static void bad_input_is_refused(void **state)
{
	struct upabi_event ev = { .nr = UPABI_EV_USER };
	struct up_embed_cfg bad = good;
	struct up_embed *e = (void *)1;

	assert_int_equal(up_embed_create(NULL, &e), -EINVAL);
	assert_int_equal(up_embed_create(&good, NULL), -EINVAL);
	bad.ops = NULL;
	assert_int_equal(up_embed_create(&bad, &e), -EINVAL);
	bad = good;
	bad.max_vcores = 0;
	assert_int_equal(up_embed_create(&bad, &e), -EINVAL);
	bad.max_vcores = UINT32_MAX;
	assert_int_equal(up_embed_create(&bad, &e), -EINVAL);
	bad = good;
	bad.max_acts = 0;
	assert_int_equal(up_embed_create(&bad, &e), -EINVAL);
	bad = good;
	bad.max_pcores = 0;
	assert_int_equal(up_embed_create(&bad, &e), -EINVAL);
	assert_ptr_equal(e, (void *)1);
	up_embed_destroy(NULL);
	assert_null(up_embed_port(NULL));
	assert_int_equal(up_embed_core_add(NULL, 0), -EINVAL);
	assert_int_equal(up_embed_core_remove(NULL, 0, 0), -EINVAL);
	assert_int_equal(up_embed_core_limit(NULL, 0), -EINVAL);
	assert_int_equal(up_embed_effect_done(NULL, 1, 0), -EINVAL);
	assert_int_equal(up_embed_post(NULL, 0, &ev), -EINVAL);
	assert_non_null(up_embed_check(NULL));
	up_embed_tick(NULL);
	assert_int_equal(up_embed_core_add(embed, 4), -EINVAL);
	assert_int_equal(up_embed_core_remove(embed, 0, 0), -ENOENT);
	assert_int_equal(up_embed_effect_done(embed, 12345, 0), -ESTALE);
	assert_int_equal(up_embed_post(embed, 0, NULL), -EINVAL);
	ev.nr = 200;
	assert_int_equal(up_embed_post(embed, 0, &ev), -EINVAL);
	assert_null(up_embed_check(embed));
}

static int call(enum upabi_op op, uint64_t a0, uint64_t a1, uint64_t *val)
{
	const uint64_t arg[5] = { a0, a1 };
	struct up_port *port = up_embed_port(embed);
	uint32_t slot = up_port_outside_get(port);
	int ret = up_port_call(port, slot, op, arg, val);

	up_port_outside_put(port, slot);
	return ret;
}

static void it_begins_as_the_single_context(void **state)
{
	struct up_port *port = up_embed_port(embed);

	assert_int_equal(port->info->state, UPABI_RUNNING_S);
	assert_true(port->info->mechanisms & UPABI_MECH_EMBEDDED);
	assert_int_equal(port->info->os_pid, getpid());
	assert_null(up_embed_check(embed));
}

static void each_failure_leaves_nothing(void **state)
{
	static const char *const prefixes[] = { "region_", "embed_" };
	unsigned fds, maps, failed = 0;

	up_embed_destroy(embed);
	embed = NULL;
	fds = nr_fds();
	maps = nr_maps();
	for (unsigned p = 0; p < 2; p++) {
		struct fail_plan plan = { .name = "-" };

		for (unsigned at = 0; plan.name[0]; at++) {
			struct up_embed *e = (void *)1;
			int ret;

			plan = (struct fail_plan){ .prefix = prefixes[p], .at = at };
			up_inject_set_hook(fail_at, &plan);
			ret = up_embed_create(&good, &e);
			up_inject_set_hook(NULL, NULL);
			if (ret < 0) {
				failed++;
				assert_ptr_equal(e, (void *)1);
			} else {
				up_embed_destroy(e);
			}
			if (nr_fds() != fds || nr_maps() != maps)
				fail_msg("%s: %d descriptors, %d mappings left", plan.name,
					 (int)(nr_fds() - fds), (int)(nr_maps() - maps));
		}
	}
	assert_true(failed >= 4);
}

static void starts_are_performed_and_wants_are_told(void **state)
{
	struct up_port *port = up_embed_port(embed);
	uint64_t act = 99;

	assert_int_equal(up_embed_core_add(embed, 0), 0);
	assert_int_equal(up_embed_core_add(embed, 1), 0);
	assert_int_equal(call(UPABI_OP_ACT_ADD, 1, 0, &act), 0);
	assert_int_equal(act, 0);
	port->data->res[UPABI_RES_CORES].wanted = 2;
	assert_int_equal(call(UPABI_OP_REQUEST, 0, 0, NULL), 0);
	assert_int_equal(starts, 1);
	assert_int_equal(wants, 1);
	assert_int_equal(port->info->num_vcores, 1);
	assert_int_equal(port->vmap[0].act, 0);
	assert_int_equal(up_port_gate(port, 0), 1);
	assert_null(up_embed_check(embed));
}

/* More effects from one call than are carried out of the lock at a time. */
static void a_long_list_is_performed_to_its_end(void **state)
{
	uint64_t dropped = 0;

	for (uint64_t i = 0; i < 40; i++)
		assert_int_equal(call(UPABI_OP_ACT_ADD, i, 0, NULL), 0);
	assert_int_equal(call(UPABI_OP_ACT_DEL, 40, 0, &dropped), 0);
	assert_int_equal(dropped, 40);
	assert_int_equal(drops, 40);
}

static void the_timer_is_told_when_it_is_sooner(void **state)
{
	uint64_t now;

	starts_are_performed_and_wants_are_told(state);
	up_store_relaxed(&told, 0);
	now = up_now_ns();
	assert_int_equal(call(UPABI_OP_PREEMPT, 0, 500 * UP_NSEC_PER_MSEC, NULL), 0);
	assert_in_range(told, now + 499 * UP_NSEC_PER_MSEC, now + 2000 * UP_NSEC_PER_MSEC);
	now = told;
	assert_int_equal(call(UPABI_OP_PREEMPT, 0, 50 * UP_NSEC_PER_MSEC, NULL), 0);
	assert_true(told < now);
	/* A tick that was too early sets the timer anew. */
	now = told;
	up_store_relaxed(&told, 0);
	up_embed_tick(embed);
	assert_true(told == now);
}

static uint64_t answered;

static void *call_often(void *arg)
{
	struct up_port *port = up_embed_port(embed);

	for (int i = 0; i < 20000; i++) {
		uint64_t nr = 0;
		int ret = call(UPABI_OP_EVENT_ALLOC, 0, 0, &nr);

		if (ret == 0 || ret == -ENOSPC)
			up_fetch_add_relaxed(&answered, 1);
		if (ret == 0 && (nr < UPABI_EV_DYNAMIC || nr >= UPABI_EV_NR))
			return (void *)1;
	}
	return up_load_acquire(&port->lost) ? (void *)1 : NULL;
}

/* Eight threads at once: every call is answered, each once, to the one who made it. */
static void callers_do_not_strand_each_other(void **state)
{
	pthread_t t[8];
	void *bad;

	answered = 0;
	for (int i = 0; i < 8; i++)
		pthread_create(&t[i], NULL, call_often, NULL);
	for (int i = 0; i < 8; i++) {
		pthread_join(t[i], &bad);
		assert_null(bad);
	}
	assert_int_equal(answered, 8 * 20000);
	assert_int_equal(up_embed_port(embed)->info->nr_events, UPABI_EV_NR);
	assert_null(up_embed_check(embed));
}

static void a_child_of_fork_starts_afresh(void **state)
{
	struct up_embed *own;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		up_embed_destroy(embed); /* only what the child has */
		if (up_embed_create(&good, &own))
			_exit(1);
		if (up_embed_port(own)->info->os_pid != (uint32_t)getpid())
			_exit(2);
		up_embed_destroy(own);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	assert_int_equal(up_embed_port(embed)->info->os_pid, getpid());
}

static void after_the_end_calls_say_so(void **state)
{
	struct upabi_event ev = { .nr = UPABI_EV_USER };

	assert_int_equal(call(UPABI_OP_EXIT, 0, 0, NULL), 0);
	assert_int_equal(call(UPABI_OP_REQUEST, 0, 0, NULL), -ESRCH);
	assert_int_equal(up_embed_post(embed, 0, &ev), -ESRCH);
	assert_int_equal(up_embed_port(embed)->lost, -ESRCH);
	assert_null(up_embed_check(embed));
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
static const struct CMUnitTest tests[] = {
	T(bad_input_is_refused),
	T(it_begins_as_the_single_context),
	T(each_failure_leaves_nothing),
	T(starts_are_performed_and_wants_are_told),
	T(a_long_list_is_performed_to_its_end),
	T(the_timer_is_told_when_it_is_sooner),
	T(callers_do_not_strand_each_other),
	T(a_child_of_fork_starts_afresh),
	T(after_the_end_calls_say_so),
};

UNIT_MAIN(tests)
