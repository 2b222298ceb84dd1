/* SPDX-License-Identifier: MIT */
/*
 * Alarms: see alarm.h.  A wheel a vcore: levels of 64 slots, each level 64 times as coarse as the one
 * before; setting and stopping are a list operation under the wheel's own lock.  No wheel turns by
 * itself: each slot knows the earliest moment in it, and when that has come the slot is emptied, its
 * alarms done or put where they belong by then.  So moments are exact, whatever the slot's width.
 *
 * No vcore looks at a clock for this: the lookout sleeps until the earliest alarm of all, and tells a
 * vcore, which may be busy with a uthread, or asleep.
 */
#include "user/alarm.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/clock.h"
#include "base/inject.h"
#include "base/lock.h"
#include "base/mutant.h"
#include "user/uthread.h"

#define LEVELS	   9 /* the last one reaches beyond what 64 bits can say */
#define SLOT_BITS  6
#define NR_SLOTS   (1u << SLOT_BITS)
#define FIRST_BITS 12 /* slots of the first level, 4 us wide */
#define SPILLED	   0xffffu
/* So many at once: the uthreads that are ready have their turns in between. */
#define BATCH 128
/* A vcore that has been told and has not come by then is told again. */
#define AGAIN_NS UP_NSEC_PER_MSEC

struct slot {
	struct up_list list;
	uint64_t min; /* none in the list is earlier */
};

struct wheel {
	struct up_lock lock;
	bool made;
	uint64_t next;	       /* atomic: nothing is due before; UINT64_MAX: there is nothing */
	uint64_t last;	       /* every slot's alarms lie in [last, last + 63 of its widths) */
	uint64_t bits[LEVELS]; /* slots that hold something */
	struct up_list spill;  /* out of their slots: due, or to be put elsewhere */
	struct slot slot[LEVELS][NR_SLOTS];
} UP_CACHE_ALIGNED;

static struct wheel *wheels;
static uint32_t nr_wheels;
/* When the lookout comes by next; UINT64_MAX while it makes up its mind. */
static uint64_t armed UP_CACHE_ALIGNED;
uint32_t up_alarms_due UP_CACHE_ALIGNED;

int up_alarm_init(uint32_t max_vcores)
{
	uint32_t v;

	wheels = mmap(NULL, max_vcores * sizeof(*wheels), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (wheels == MAP_FAILED) {
		wheels = NULL;
		return -ENOMEM;
	}
	nr_wheels = max_vcores;
	for (v = 0; v < max_vcores; v++)
		wheels[v].next = UINT64_MAX;
	armed = UINT64_MAX;
	up_alarms_due = 0;
	return 0;
}

void up_alarm_fini(void)
{
	if (wheels)
		munmap(wheels, nr_wheels * sizeof(*wheels));
	wheels = NULL;
	nr_wheels = 0;
}

static void make_wheel(struct wheel *w)
{
	unsigned l, i;

	w->made = true;
	up_list_init(&w->spill);
	for (l = 0; l < LEVELS; l++)
		for (i = 0; i < NR_SLOTS; i++)
			up_list_init(&w->slot[l][i].list);
}

static unsigned shift_of(unsigned level)
{
	return FIRST_BITS + SLOT_BITS * level;
}

static unsigned at_slot(uint64_t at, unsigned level)
{
	return (unsigned)(at >> shift_of(level)) % NR_SLOTS;
}

static void place(struct wheel *w, struct up_alarm *a)
{
	uint64_t at = UP_MAX(a->at, w->last);
	unsigned level = 0, i;
	struct slot *s;

	/* Never a whole turn ahead, so that no slot holds two turns' alarms. */
	while ((at >> shift_of(level)) - (w->last >> shift_of(level)) >=
	       (UP_MUT(alarm_turn_ahead) ? 2 * NR_SLOTS : NR_SLOTS - 1))
		level++;
	i = at_slot(UP_MUT(alarm_slot_passed) ? a->at : at, level);
	s = &w->slot[level][i];
	if (up_list_is_empty(&s->list) || a->at < s->min)
		s->min = a->at;
	w->bits[level] |= UINT64_C(1) << i;
	a->slot = (uint16_t)(level * NR_SLOTS + i);
	up_list_push_back(&s->list, &a->link);
}

/* The first slot that holds something, in the order of time; -1: none does. */
static int first_slot(const struct wheel *w, unsigned level)
{
	unsigned from = at_slot(w->last, level);
	uint64_t bits = w->bits[level], turned;

	if (!bits)
		return -1;
	turned = from ? bits >> from | bits << (NR_SLOTS - from) : bits;
	return (int)((up_lowest_bit(turned) + from) % NR_SLOTS);
}

static uint64_t earliest(const struct wheel *w)
{
	uint64_t min = UINT64_MAX;
	unsigned l;
	int i;

	if (!up_list_is_empty(&w->spill))
		return 0;
	for (l = 0; l < LEVELS; l++) {
		i = first_slot(w, l);
		if (i >= 0 && w->slot[l][i].min < min)
			min = w->slot[l][i].min;
	}
	return min;
}

void up_alarm_set(struct up_alarm *a, uint32_t vcore, uint64_t at)
{
	struct wheel *w = &wheels[vcore];
	bool sooner;

	a->at = at;
	a->wheel = vcore;
	up_store_relaxed(&a->set, true); /* its owner's alone until the lock is free */
	up_lock_take(&w->lock);
	if (!w->made)
		make_wheel(w);
	place(w, a);
	sooner = at < w->next;
	if (sooner)
		up_store_relaxed(&w->next, at);
	up_lock_drop(&w->lock);
	if (!sooner)
		return;
	/* The lookout says when it comes, then looks at the wheels; we did it the other way round: one
	 * of us sees the other. */
	up_fence_seq_cst();
	if (at < up_load_relaxed(&armed))
		up_lookout_ring();
}

static void take_out(struct wheel *w, struct up_alarm *a)
{
	unsigned l = a->slot / NR_SLOTS, i = a->slot % NR_SLOTS;

	up_list_remove(&a->link);
	if (a->slot != SPILLED && up_list_is_empty(&w->slot[l][i].list))
		w->bits[l] &= ~(UINT64_C(1) << i);
}

void up_alarm_stop(struct up_alarm *a)
{
	struct wheel *w = &wheels[a->wheel];

	/* acquire: pairs with fire()'s release: due() is over */
	if (!up_load_acquire(&a->set))
		return;
	up_preempt_disable();
	up_lock_take(&w->lock);
	if (up_load_relaxed(&a->set)) {
		if (!UP_MUT(alarm_stopped_comes))
			take_out(w, a);
		up_store_relaxed(&a->set, false);
	}
	/* The next moment may be too early now: whoever looks finds that out. */
	up_lock_drop(&w->lock);
	up_preempt_enable();
}

/* ---- what has come ---- */

/* Slots in which something is due are emptied. */
static void spill(struct wheel *w, uint64_t now)
{
	struct slot *s;
	struct up_list *l;
	unsigned level;
	int i;

	for (level = 0; level < LEVELS; level++)
		while ((i = first_slot(w, level)) >= 0) {
			s = &w->slot[level][i];
			if (s->min > now)
				break;
			up_list_for_each (l, &s->list)
				up_list_entry(l, struct up_alarm, link)->slot = SPILLED;
			up_list_splice_back(&w->spill, &s->list);
			w->bits[level] &= ~(UINT64_C(1) << i);
		}
	w->last = now;
}

/* The uthreads to be made ready, linked by `next`. */
static struct up_uthread *fire(struct wheel *w, uint64_t now, struct up_uthread *list)
{
	struct up_uthread *u;
	struct up_alarm *a;
	unsigned nr;

	for (nr = 0; nr < BATCH && !up_list_is_empty(&w->spill); nr++) {
		a = up_list_entry(up_list_pop_front(&w->spill), struct up_alarm, link);
		if (a->at > now && !UP_MUT(alarm_early)) {
			place(w, a);
			continue;
		}
		u = a->due(a);
		/* release: pairs with up_alarm_stop(): from here on it may be gone */
		up_store_release(&a->set, false);
		if (u) {
			u->next = list;
			list = u;
		}
	}
	return list;
}

static struct up_uthread *run_wheel(struct wheel *w, uint64_t now, struct up_uthread *list)
{
	up_lock_take(&w->lock);
	if (w->made) {
		if (up_list_is_empty(&w->spill))
			spill(w, now);
		list = fire(w, now, list);
		up_store_relaxed(&w->next, earliest(w));
	}
	up_lock_drop(&w->lock);
	return list;
}

void up_alarm_run(uint32_t vcore)
{
	struct up_uthread *list = NULL, *u, *turned = NULL;
	uint64_t now, next = UINT64_MAX, n;
	uint32_t i;

	up_xchg_acq_rel(&up_alarms_due, 0); /* before the look: what comes due meanwhile sets it */
	now = up_now_ns();
	for (i = 0; i < nr_wheels; i++) {
		struct wheel *w = &wheels[(vcore + i) % nr_wheels];

		if (up_load_relaxed(&w->next) <= now)
			list = run_wheel(w, now, list);
		n = up_load_relaxed(&w->next);
		next = UP_MIN(next, n);
	}
	if (!next)
		up_store_relaxed(&up_alarms_due, 1);
	for (; list; list = u) { /* the first to come first */
		u = list->next;
		list->next = turned;
		turned = list;
	}
	UP_INJECT(alarm_fired);
	for (; turned; turned = u) {
		u = turned->next;
		up_ready(turned, UPCALL_WOKEN);
	}
	up_fence_seq_cst(); /* as in up_alarm_set() */
	if (next && next < up_load_relaxed(&armed))
		up_lookout_ring();
}

static uint64_t earliest_of_all(void)
{
	uint64_t min = UINT64_MAX, n;
	uint32_t v;

	for (v = 0; v < nr_wheels; v++) {
		n = up_load_relaxed(&wheels[v].next);
		min = UP_MIN(min, n);
	}
	return min;
}

bool up_alarm_any(void)
{
	return earliest_of_all() != UINT64_MAX;
}

/* Whoever is online comes by; where nobody is, a vcore is started. */
static void tell(void)
{
	uint64_t arg[5] = { 0, UPABI_EV_CHECK_MSGS, UPABI_NONE };
	uint32_t slot;

	/* release: pairs with up_alarm_run()'s exchange */
	up_store_release(&up_alarms_due, 1);
	up_vcore_kick_one();
	slot = up_port_outside_get(up_rt.port);
	up_port_call(up_rt.port, slot, UPABI_OP_NOTIFY, arg, NULL);
	up_port_outside_put(up_rt.port, slot);
}

uint64_t up_alarm_look(uint64_t now)
{
	uint64_t next;

	/* First, and a fence behind it: who sets an earlier one than we find rings. */
	up_store_seq_cst(&armed, UINT64_MAX);
	next = earliest_of_all();
	if (next <= now) {
		tell();
		next = now + AGAIN_NS;
	}
	up_store_relaxed(&armed, next);
	return next;
}
