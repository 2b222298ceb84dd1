/* SPDX-License-Identifier: MIT */
/*
 * Several schedulers as one, on uthreads that are no more than their words: whose turn it is, who gets
 * what others leave, and that a uthread which changes its child is lost by none and had by one only.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "asleep.h"
#include "several.h"

static struct upcall_sched_ops S;

/* A child of the test's own: a list, newest first, that fills all its words. */
static struct upcall_uthread *newest;
static unsigned own_bad, own_blocked, own_inits, own_finis;
static int own_init_answer;

static int own_init(unsigned max_vcores)
{
	own_inits++;
	return own_init_answer;
}

static void own_fini(void)
{
	own_finis++;
}

static void own_ready(struct upcall_uthread *u, unsigned vcore, enum upcall_why why)
{
	void **words = upcall_sched_words(u);
	unsigned i;

	/* Zero the first time, ours afterwards. */
	for (i = 1; i < UPCALL_SCHED_WORDS; i++) {
		own_bad += words[i] && words[i] != (void *)(uintptr_t)-i;
		words[i] = (void *)(uintptr_t)-i;
	}
	words[0] = newest;
	newest = u;
}

static struct upcall_uthread *own_pick(unsigned vcore)
{
	struct upcall_uthread *u = newest;

	if (u)
		newest = upcall_sched_words(u)[0];
	return u;
}

static void own_block(struct upcall_uthread *u, unsigned vcore, unsigned class_of_call)
{
	own_blocked++;
}

/* What runs while it is asked; it answers no then. */
static void (*while_asked)(struct upcall_uthread *u);
static unsigned own_asked, own_asked_at;

static int own_take(struct upcall_uthread *u, unsigned vcore)
{
	void **link = (void **)&newest;

	own_asked++;
	own_asked_at = vcore;
	if (while_asked) {
		while_asked(u);
		return 0;
	}
	while (*link && *link != u)
		link = &upcall_sched_words(*link)[0];
	if (!*link)
		return 0;
	*link = upcall_sched_words(u)[0];
	return 1;
}

static const struct upcall_sched_ops own = {
	.size = sizeof(own),
	.name = "own",
	.init = own_init,
	.fini = own_fini,
	.ready = own_ready,
	.pick = own_pick,
	.blocked = own_block,
	.take = own_take,
};

static void begin(const struct upcall_sched_child *children, unsigned nr, unsigned vcores)
{
	memset(pool, 0, sizeof(pool));
	newest = NULL;
	own_bad = own_blocked = own_asked = 0;
	while_asked = NULL;
	if (upcall_sched_share(&S, children, nr) || S.init(vcores))
		abort();
}

/* ---- whose turn ---- */

/* Each child has two that are always ready. */
static void count_turns(unsigned nr, unsigned picks, unsigned *ret_turns)
{
	struct upcall_uthread *u;
	unsigned i;

	for (i = 0; i < picks; i++) {
		u = S.pick(0);
		ret_turns[(unsigned)number(u) / 2]++;
		S.ready(u, 0, UPCALL_YIELDED);
	}
}

static void by_weight(void)
{
	static const struct upcall_sched_child three[] = { { &upcall_sched_fifo, 5 },
							   { &upcall_sched_steal, 3 },
							   { &own, 2 } };
	unsigned turns[3] = { 0 }, i;

	begin(three, 3, 1);
	for (i = 0; i < 6; i++) {
		upcall_sched_assign(at(i), i / 2);
		S.ready(at(i), 0, UPCALL_NEW);
	}
	count_turns(3, 1000, turns);
	tap_ok(abs((int)turns[0] - 500) <= 2 && abs((int)turns[1] - 300) <= 2,
	       "picks are divided by weight (%u, %u, %u for 5, 3, 2)", turns[0], turns[1],
	       turns[2]);
	S.fini();
}

static void left_over(void)
{
	static const struct upcall_sched_child two[] = { { &upcall_sched_fifo, 1000 },
							 { &upcall_sched_steal, 1 } };
	unsigned i, bad = 0, turns[2] = { 0 };

	begin(two, 2, 2);
	tap_ok(!S.pick(0) && !S.pick(1) && !S.more(0), "nothing is ready, nothing is picked");
	upcall_sched_assign(at(2), 1);
	for (i = 0; i < 1000; i++) {
		S.ready(at(2), 0, UPCALL_YIELDED);
		bad += !S.more(1) || number(S.pick(0)) != 2;
	}
	tap_ok(!bad, "what one child does not use is the other's (%u bad)", bad);
	S.ready(at(2), 0, UPCALL_YIELDED);
	tap_ok(number(S.pick(1)) == 2, "... on another vcore too");
	/* The first one's weight counts from now. */
	upcall_sched_assign(at(3), 1);
	for (i = 0; i < 4; i++)
		S.ready(at(i), 0, UPCALL_YIELDED);
	count_turns(2, 1002, turns);
	tap_ok(turns[1] >= 1 && turns[1] <= 3, "beside it the small one has its part (%u of 1002)",
	       turns[1]);
	S.fini();
}

static void not_saved_up(void)
{
	static const struct upcall_sched_child two[] = { { &upcall_sched_fifo, 1 },
							 { &upcall_sched_steal, 1 } };
	unsigned i, first = 0, turns[2] = { 0 };

	begin(two, 2, 1);
	for (i = 0; i < 4; i++)
		upcall_sched_assign(at(i), i / 2);
	S.ready(at(0), 0, UPCALL_NEW);
	S.ready(at(1), 0, UPCALL_NEW);
	count_turns(2, 500, turns);
	S.ready(at(2), 0, UPCALL_NEW);
	S.ready(at(3), 0, UPCALL_NEW);
	turns[0] = turns[1] = 0;
	count_turns(2, 20, turns);
	first = turns[1];
	tap_ok(first >= 9 && first <= 11,
	       "who had nothing for long has no more than its part then (%u of 20)", first);
	S.fini();
}

/* ---- whose ---- */

static void assigned(void)
{
	static const struct upcall_sched_child two[] = { { &upcall_sched_steal, 1 }, { &own, 1 } };
	unsigned i;

	begin(two, 2, 1);
	S.ready(at(0), 0, UPCALL_NEW);
	tap_ok(!newest && number(S.pick(0)) == 0,
	       "who was made by none of us is the first child's");
	S.ready(at(0), 0, UPCALL_NEW);
	tap_ok(!upcall_sched_assign(at(0), 1) && !newest, "one that is ready stays where it is");
	S.ready(S.pick(0), 0, UPCALL_YIELDED);
	tap_ok(number(newest) == 0 && !own_bad, "... and goes over then, with words of zero");
	S.blocked(at(0), 0, 0);
	tap_ok(own_blocked == 1, "its child is told of its block");
	for (i = 0; i < 3; i++) {
		upcall_sched_assign(at(0), i & 1);
		S.ready(S.pick(0), 0, UPCALL_YIELDED);
	}
	/* The default reads the words of what it is given: rubbish in them would show. */
	tap_ok(number(S.pick(0)) == 0 && !S.pick(0) && !own_bad, "to and fro");
	upcall_sched_assign(at(0), 0);
	pool[0].prio = 2;
	tap_ok(S.rank() == INT_MIN, "nothing ready has no rank");
	S.ready(at(0), 0, UPCALL_YIELDED);
	tap_ok(S.rank() == 2, "the rank is the highest child's");
	S.fini();
}

/* ---- taken out ---- */

static void taken_out(void)
{
	static const struct upcall_sched_child three[] = { { &upcall_sched_steal, 1 },
							   { &own, 1 },
							   { &upcall_sched_fifo, 1 } };

	begin(three, 3, 2);
	tap_ok(!S.take(at(0), 0) && !own_asked, "one that was never ready is with no child");
	S.ready(at(0), 1, UPCALL_NEW);
	tap_ok(!S.take(at(0), 0) && S.take(at(0), 1) && !S.take(at(0), 1) && !S.pick(1),
	       "the child that has it takes it out, once, on its vcore");
	S.ready(at(0), 0, UPCALL_YIELDED);
	upcall_sched_assign(at(0), 1);
	tap_ok(S.take(at(0), 0) && !own_asked,
	       "one that is to go elsewhere is taken out where it still is");
	S.ready(at(0), 0, UPCALL_YIELDED);
	upcall_sched_assign(at(1), 1);
	S.ready(at(1), 0, UPCALL_NEW);
	tap_ok(S.take(at(0), 1) && own_asked == 1 && own_asked_at == 1 && number(S.pick(0)) == 1 &&
		       !S.pick(0),
	       "... and afterwards by the other, who is told the vcore");
	upcall_sched_assign(at(0), 2);
	S.ready(at(0), 0, UPCALL_YIELDED);
	tap_ok(!S.take(at(0), 0) && number(S.pick(0)) == 0,
	       "a child without take() keeps it until its turn");
	S.fini();
}

/* A vcore of its own, which brings the uthread to the other child. */
static int mover_tid;
static atomic_bool moved, overtaken;

static void *moves(void *arg)
{
	__atomic_store_n(&mover_tid, asleep_self(), __ATOMIC_RELEASE);
	upcall_sched_assign(arg, 1);
	S.ready(arg, 0, UPCALL_YIELDED);
	atomic_store(&moved, true);
	return NULL;
}

static pthread_t mover;

/* Until it waits, or has not. */
static void move_meanwhile(struct upcall_uthread *u)
{
	int tid;

	if (pthread_create(&mover, NULL, moves, u))
		abort();
	do
		tid = __atomic_load_n(&mover_tid, __ATOMIC_ACQUIRE);
	while (!atomic_load(&moved) && !(tid && asleep_now(tid)));
	atomic_store(&overtaken, atomic_load(&moved));
}

static void moved_while_asked(void)
{
	static const struct upcall_sched_child two[] = { { &own, 1 }, { &upcall_sched_steal, 1 } };
	struct upcall_uthread *u;
	int taken;

	begin(two, 2, 1);
	S.ready(at(0), 0, UPCALL_NEW);
	u = S.pick(0); /* by the mover, before whoever takes it out has come to ask */
	while_asked = move_meanwhile;
	taken = S.take(u, 0);
	pthread_join(mover, NULL);
	tap_ok(!taken && !atomic_load(&overtaken) && atomic_load(&moved) && S.pick(0) == u,
	       "it comes to the other child when the first has answered");
	S.fini();
}

static void refused(void)
{
	struct upcall_sched_child c[UPCALL_SCHED_CHILDREN_MAX + 1] = { { &upcall_sched_fifo, 1 },
								       { &own, 1 } };
	struct upcall_sched_ops bad = own, none = { 0 }, old;

	tap_ok(upcall_sched_share(NULL, c, 2) == -EINVAL &&
		       upcall_sched_share(&S, NULL, 1) == -EINVAL &&
		       upcall_sched_share(&S, c, 0) == -EINVAL &&
		       upcall_sched_share(&S, c, UPCALL_SCHED_CHILDREN_MAX + 1) == -EINVAL &&
		       upcall_sched_share(&S, c, UINT_MAX) == -EINVAL &&
		       upcall_sched_share(&S, c, 3) == -EINVAL,
	       "no answer, no children, too many, one without a table");
	c[1].weight = 0;
	tap_ok(upcall_sched_share(&S, c, 2) == -EINVAL, "no weight");
	c[1].weight = UPCALL_SCHED_WEIGHT_MAX + 1;
	tap_ok(upcall_sched_share(&S, c, 2) == -EINVAL, "too much weight");
	c[1] = c[0];
	tap_ok(upcall_sched_share(&S, c, 2) == -EINVAL, "one table twice");
	c[1].sched = &bad;
	bad.size--;
	tap_ok(upcall_sched_share(&S, c, 2) == -EINVAL, "a table of another size");
	bad = own;
	bad.pick = NULL;
	tap_ok(upcall_sched_share(&S, c, 2) == -EINVAL, "a table that is not whole");
	if (upcall_sched_share(&old, c, 1))
		abort();
	c[1].sched = &old;
	S = none;
	tap_ok(upcall_sched_share(&S, c, 2) == -EINVAL && !S.pick, "one of its own kind");
	tap_ok(upcall_sched_assign(at(0), 0) == -ENOTCONN, "assigned while none runs");
}

static void refused_while_running(void)
{
	static const struct upcall_sched_child two[] = { { &upcall_sched_fifo, 1 }, { &own, 1 } };
	struct upcall_sched_ops other;

	begin(two, 2, 1);
	tap_ok(upcall_sched_assign(at(0), 2) == -EINVAL &&
		       upcall_sched_assign(at(0), UINT_MAX) == -EINVAL &&
		       upcall_sched_assign(NULL, 0) == -EINVAL,
	       "no such child, no uthread");
	tap_ok(upcall_sched_share(&other, two, 2) == -EBUSY, "a second one beside the first");
	S.fini();
	own_inits = own_finis = 0;
	own_init_answer = -ENOMEM;
	if (upcall_sched_share(&S, two, 2))
		abort();
	tap_ok(S.init(1) == -ENOMEM && own_inits == 1 && !own_finis &&
		       !upcall_sched_share(&S, two, 2),
	       "a child that cannot begin is passed on, and nothing is left");
	own_init_answer = 0;
	tap_ok(!S.init(1) && (S.fini(), own_finis == 1), "and it can begin afterwards");
}

/* ---- several at once ---- */

/* A child for several at once, in whose words stands what the default would take for a place in a queue
 * of its own. */
static pthread_mutex_t box_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool boxed[SEVERAL_ITEMS];

static void box_ready(struct upcall_uthread *u, unsigned vcore, enum upcall_why why)
{
	pthread_mutex_lock(&box_lock);
	upcall_sched_words(u)[2] = (void *)((uintptr_t)(vcore + 1) << 8 | 3);
	boxed[number(u)] = true;
	pthread_mutex_unlock(&box_lock);
}

static int box_take(struct upcall_uthread *u, unsigned vcore)
{
	bool here;

	pthread_mutex_lock(&box_lock);
	here = boxed[number(u)];
	boxed[number(u)] = false;
	pthread_mutex_unlock(&box_lock);
	return here;
}

static struct upcall_uthread *box_pick(unsigned vcore)
{
	unsigned i;

	for (i = 0; i < SEVERAL_ITEMS; i++)
		if (boxed[i] && box_take(at(i), vcore))
			return at(i);
	return NULL;
}

static const struct upcall_sched_ops box = {
	.size = sizeof(box),
	.name = "box",
	.ready = box_ready,
	.pick = box_pick,
	.take = box_take,
};

static struct upcall_uthread *get(unsigned vcore, unsigned random)
{
	upcall_sched_assign(at((random >> 8) % SEVERAL_ITEMS), random >> 31);
	return S.pick(vcore);
}

static atomic_uint taken_by_name;

static struct upcall_uthread *get_or_take(unsigned vcore, unsigned random)
{
	struct upcall_uthread *u = at((random >> 14) % SEVERAL_ITEMS);

	if (random >> 30 & 1)
		return get(vcore, random);
	if (!S.take(u, vcore))
		return NULL;
	atomic_fetch_add(&taken_by_name, 1);
	return u;
}

static void by_several(void)
{
	static const struct upcall_sched_child two[] = { { &upcall_sched_fifo, 2 },
							 { &upcall_sched_steal, 1 } },
					       takers[] = { { &upcall_sched_steal, 2 },
							    { &box, 1 } };

	begin(two, 2, SEVERAL_THREADS);
	several.get = get;
	several.other = UPCALL_UNBLOCKED;
	several_at_once(&S, true, "which change children all the time");
	begin(takers, 2, SEVERAL_THREADS);
	several.get = get_or_take;
	several_at_once(&S, true, "which are also taken out");
	tap_ok(atomic_load(&taken_by_name) > SEVERAL_ITEMS, "%u were taken out",
	       atomic_load(&taken_by_name));
}

int main(void)
{
	tap_plan(34);
	by_weight();
	left_over();
	not_saved_up();
	assigned();
	taken_out();
	moved_while_asked();
	refused();
	refused_while_running();
	by_several();
	return tap_done();
}
