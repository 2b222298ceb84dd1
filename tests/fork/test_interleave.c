/* SPDX-License-Identifier: MIT */
/*
 * The real code of the deque, of hunger and of a task's end, in every order of the steps of its parties
 * and of what their store buffers let out.  Three at once: an owner and two thieves, a pusher and two
 * idle vcores; each also with the heavy fence that is an ordinary one.
 */
#include "explore.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "fork/deque.h"
#include "fork/task.h"

uint32_t up_eager;

#define TASKS 4

static struct {
	struct up_deque d;
	struct {
		struct up_deque_array head;
		struct up_task *slot[TASKS];
	} array;
	struct up_task task[TASKS];
	unsigned given, pushes; /* in the deque at first; pushed by the owner afterwards */
	uint64_t mask;
	unsigned pops;
	uint32_t eager;
	unsigned got[TASKS]; /* how often each was handed out */
	bool strange;	     /* what was handed out is no task */
	uint32_t nr_idle;
	bool found, told;
} s;

static void got(struct up_task *t)
{
	size_t i = (size_t)(t - s.task);

	if (i >= TASKS)
		s.strange = true;
	else
		s.got[i]++;
}

/* The same addresses in each run, since the explorer tells states apart by what was read. */
static struct {
	char bytes[512] __attribute__((aligned(16)));
	size_t used;
} heap;

void *same_malloc(size_t sz);
void same_free(void *p);

void *same_malloc(size_t sz)
{
	void *p = &heap.bytes[heap.used];

	heap.used += (sz + 15) & ~(size_t)15;
	if (heap.used > sizeof(heap.bytes))
		abort();
	return p;
}

void same_free(void *p)
{
}

static void push_next(unsigned nr)
{
	if (!up_deque_has_room(&s.d) && !up_deque_make_room(&s.d))
		abort();
	up_deque_push(&s.d, &s.task[nr]);
}

static void reset(void *arg)
{
	memset(&heap, 0, sizeof(heap));
	memset(&s.d, 0, sizeof(s.d));
	memset(&s.array, 0, sizeof(s.array));
	memset(s.got, 0, sizeof(s.got));
	s.strange = s.found = s.told = false;
	s.array.head.mask = s.d.mask = s.mask;
	s.d.array = &s.array.head;
	s.d.limit = s.mask + 1;
	up_eager = s.eager;
	s.nr_idle = 0;
	for (unsigned i = 0; i < s.given; i++)
		push_next(i);
}

/* ---- the deque ---- */

/* It pops what it has, then pushes and pops the rest one by one: as syncs and spawns do. */
static void owner(void *arg)
{
	unsigned open = s.given, next = s.given, i;

	for (i = 0; i < s.pops; i++) {
		open--;
		if (up_deque_pop(&s.d))
			got(&s.task[open]);
	}
	for (i = 0; i < s.pushes; i++)
		push_next(next++);
	while (s.pushes && i--)
		if (up_deque_pop(&s.d))
			got(&s.task[--next]);
		else
			--next;
}

static void thief(void *arg)
{
	struct up_task *t = up_deque_steal(&s.d);

	if (t)
		got(t);
}

static const char *judge_deque(void *arg)
{
	unsigned i, nr = 0, left = (unsigned)(s.d.bottom - s.d.top);

	for (i = 0; i < TASKS; i++) {
		if (s.got[i] > 1)
			return "a task was handed out twice";
		nr += s.got[i];
	}
	if (s.strange)
		return "what was handed out is no task";
	if (nr + left != s.given + s.pushes)
		return "a task was lost";
	return NULL;
}

static void explore_deque(unsigned given, unsigned pops, unsigned pushes, uint64_t mask)
{
	struct explore e = {
		.reset = reset,
		.thread = { owner, thief, thief },
		.judge = judge_deque,
		.watch = { &s.d.bottom, &s.d.top, &s.d.array, &s.array.slot[0], &s.array.slot[1] },
		.nr_watch = 5,
	};
	struct explore_result res;

	s.given = given;
	s.pops = pops;
	s.pushes = pushes;
	s.mask = mask;
	explore_all(&e, &res);
	print_message("# %u given, %u popped, %u pushed: %llu states, %llu runs\n", given, pops,
		      pushes, (unsigned long long)res.states, (unsigned long long)res.runs);
	if (res.bad)
		fail_msg("%s: %s", res.bad, res.trace);
	assert_true(res.states > 50);
}

static void all_deques(uint32_t eager)
{
	s.eager = eager;
	explore_deque(1, 1, 0, TASKS - 1);
	explore_deque(2, 1, 0, TASKS - 1);
	explore_deque(2, 2, 0, TASKS - 1);
	explore_deque(3, 3, 0, TASKS - 1);
	explore_deque(0, 0, 1, TASKS - 1);
	explore_deque(1, 1, 1, TASKS - 1);
	explore_deque(1, 1, 2, TASKS - 1);
}

static void each_task_is_handed_out_once(void **state)
{
	all_deques(0);
}

static void and_where_both_fences_are_whole(void **state)
{
	all_deques(UP_EAGER_FENCED);
}

static void a_thief_reads_while_it_grows(void **state)
{
	s.eager = 0;
	explore_deque(1, 0, 2, 0);
	explore_deque(2, 0, 1, 1);
	explore_deque(2, 1, 2, 1);
}

/* ---- hunger ---- */

static void pusher(void *arg)
{
	push_next(0);
	if (up_hungry_seems() && up_hungry_take())
		s.told |= up_load_relaxed(&s.nr_idle) != 0;
}

static void idle_vcore(void *arg)
{
	up_fetch_add_seq_cst(&s.nr_idle, 1);
	up_hungry_say();
	if (up_deque_seems_full(&s.d))
		s.found = true;
}

static const char *judge_hunger(void *arg)
{
	return s.found || s.told ? NULL : "a task lies there, all vcores are idle, nobody was told";
}

static void explore_hunger(uint32_t eager)
{
	struct explore e = {
		.reset = reset,
		.thread = { pusher, idle_vcore, idle_vcore },
		.judge = judge_hunger,
		.watch = { &s.d.bottom, &up_eager, &s.nr_idle },
		.nr_watch = 3,
	};
	struct explore_result res;

	s.given = s.pops = s.pushes = 0;
	s.mask = TASKS - 1;
	for (int idle = 1; idle <= 2; idle++) {
		s.eager = eager;
		e.thread[2] = idle == 2 ? idle_vcore : NULL;
		explore_all(&e, &res);
		print_message("# %d idle: %llu states, %llu runs\n", idle,
			      (unsigned long long)res.states, (unsigned long long)res.runs);
		if (res.bad)
			fail_msg("%s: %s", res.bad, res.trace);
		assert_true(res.states > 20);
	}
}

static void an_idle_vcore_and_a_task_do_not_miss(void **state)
{
	explore_hunger(0);
}

static void nor_where_it_was_hungry_already(void **state)
{
	explore_hunger(UP_EAGER_HUNGRY);
}

static void nor_where_both_fences_are_whole(void **state)
{
	explore_hunger(UP_EAGER_FENCED);
	explore_hunger(UP_EAGER_FENCED | UP_EAGER_HUNGRY);
}

/* The explorer itself: without the heavy fence it must find the task that nobody is told of. */
static void careless_vcore(void *arg)
{
	up_fetch_add_seq_cst(&s.nr_idle, 1);
	up_fetch_or_seq_cst(&up_eager, UP_EAGER_HUNGRY);
	if (up_deque_seems_full(&s.d))
		s.found = true;
}

static void the_explorer_can_fail(void **state)
{
	struct explore e = {
		.reset = reset,
		.thread = { pusher, careless_vcore },
		.judge = judge_hunger,
		.watch = { &s.d.bottom, &up_eager, &s.nr_idle },
		.nr_watch = 3,
	};
	struct explore_result res;

	s.given = s.pops = s.pushes = 0;
	s.eager = 0;
	s.mask = TASKS - 1;
	explore_all(&e, &res);
	assert_non_null(res.bad);
}

/* ---- the end of a task ---- */

static struct {
	struct up_task task;
	struct up_deque by __attribute__((aligned(64)));
	uint64_t waiter, result, read; /* the waiter's address stands for it */
	bool asleep, back;
	void *woken;
} end;

static void end_reset(void *arg)
{
	memset(&end, 0, sizeof(end));
	end.task.state = UP_TASK_FRESH;
}

static void runs_it(void *arg)
{
	up_task_taken(&end.task, &end.by);
	up_store_relaxed(&end.result, (uint64_t)7);
	end.woken = up_task_end(&end.task);
}

static void waits_for_it(void *arg)
{
	while (up_load_acquire(&end.task.state) != UP_TASK_DONE)
		if (up_task_wait(&end.task, &end.waiter)) {
			end.asleep = true;
			return;
		}
	end.back = true;
	end.read = up_load_relaxed(&end.result);
}

static const char *judge_end(void *arg)
{
	if (end.asleep && end.woken != &end.waiter)
		return "it sleeps, and nobody wakes it";
	if (!end.asleep && end.woken)
		return "one that does not sleep was woken";
	if (end.back && end.read != 7)
		return "it came back before the result was there";
	if (!end.asleep && !end.back)
		return "it did neither";
	return NULL;
}

static void an_end_and_who_waits_do_not_miss(void **state)
{
	struct explore e = {
		.reset = end_reset,
		.thread = { runs_it, waits_for_it },
		.judge = judge_end,
		.watch = { &end.task.state, &end.result },
		.nr_watch = 2,
	};
	struct explore_result res;

	explore_all(&e, &res);
	print_message("# %llu states, %llu runs\n", (unsigned long long)res.states,
		      (unsigned long long)res.runs);
	if (res.bad)
		fail_msg("%s: %s", res.bad, res.trace);
	assert_true(res.states > 20);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(each_task_is_handed_out_once),
	cmocka_unit_test(and_where_both_fences_are_whole),
	cmocka_unit_test(a_thief_reads_while_it_grows),
	cmocka_unit_test(an_idle_vcore_and_a_task_do_not_miss),
	cmocka_unit_test(nor_where_it_was_hungry_already),
	cmocka_unit_test(nor_where_both_fences_are_whole),
	cmocka_unit_test(the_explorer_can_fail),
	cmocka_unit_test(an_end_and_who_waits_do_not_miss),
};

UNIT_MAIN(tests)
