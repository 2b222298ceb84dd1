/* SPDX-License-Identifier: MIT */
/*
 * Activations: their states, the pool, and the ones that stand by for a vcore.  On the way of a
 * block and an unblock nothing here allocates or searches: the pool is a list, and a list for each
 * pcore, most recently used first.
 */
#include "kern/types.h"

static struct up_list *bucket_of(struct up_proc *p, uint32_t pcore)
{
	return &p->buckets[pcore % p->nr_buckets];
}

void up_act_set(struct up_proc *p, uint32_t act, uint32_t state)
{
	struct up_act *a = &p->acts[act];

	p->nr_pooled += (state == UPABI_ACT_POOLED) - (a->state == UPABI_ACT_POOLED);
	p->nr_blocked += (state == UPABI_ACT_BLOCKED) - (a->state == UPABI_ACT_BLOCKED);
	p->nr_frozen += (state == UPABI_ACT_FROZEN) - (a->state == UPABI_ACT_FROZEN);
	a->state = state;
	if (UP_MUT(starts_published_early) && state == UPABI_ACT_RUNNING)
		a->starts++;
	up_info_act(p, act);
}

/* Once all else is written, the maps too: an activation that is awake acts on this word, bell or no
 * bell. */
void up_act_started(struct up_proc *p, uint32_t act)
{
	if (!UP_MUT(starts_published_early))
		p->acts[act].starts++;
	up_info_act(p, act);
}

/* On the lists of the free ones, and no more. */
void up_act_relist(struct up_proc *p, uint32_t act)
{
	struct up_act *a = &p->acts[act];

	up_list_push_front(&p->pool, &a->pool_link);
	if (a->pcore != UPABI_NONE)
		up_list_push_front(bucket_of(p, a->pcore), &a->bucket_link);
	p->nr_free++;
	if (p->no_act) { /* it had gone without: now it may want a core again */
		p->no_act = false;
		up_policy_touch(p);
	}
	if (p->nr_online < up_policy_target(p))
		p->kern->work = true;
}

static void list_out(struct up_proc *p, uint32_t act)
{
	struct up_act *a = &p->acts[act];

	up_list_remove(&a->pool_link);
	up_list_remove(&a->bucket_link);
	p->nr_free--;
}

/* Into the pool; where a vcore has nobody standing by, it does. */
void up_act_pool(struct up_proc *p, uint32_t act, uint64_t now)
{
	up_act_set(p, act, UPABI_ACT_POOLED);
	up_act_relist(p, act);
	up_act_fill(p, true);
	up_proc_try_s(p, now);
}

/* Out of the pool, wherever in it: free, or standing by. */
void up_act_unpool(struct up_proc *p, uint32_t act)
{
	struct up_act *a = &p->acts[act];
	uint32_t vcore = a->standby_for;

	if (vcore == UPABI_NONE) {
		list_out(p, act);
		return;
	}
	up_act_unstand(p, vcore);
	list_out(p, act);
}

void up_act_free_slot(struct up_proc *p, uint32_t act)
{
	up_list_push_back(&p->free_acts, &p->acts[act].pool_link);
	p->nr_unused++;
}

/* The task is no more (it was in no list, or stood in the pool). */
void up_act_gone(struct up_proc *p, uint32_t act)
{
	struct up_act *a = &p->acts[act];

	if (a->state == UPABI_ACT_POOLED)
		up_act_unpool(p, act);
	if (a->state == UPABI_ACT_FROZEN) {
		p->vcores[a->vcore].frozen = UPABI_NONE;
		up_bit_clear(p->frozen_map, a->vcore);
	}
	up_act_set(p, act, UPABI_ACT_NONE);
	up_act_free_slot(p, act);
	up_info_counts(p);
}

int up_act_add(struct up_proc *p, uint64_t os_task, uint64_t now, uint64_t *ret_val)
{
	struct up_list *link = up_list_pop_front(&p->free_acts);
	struct up_act *a;
	uint32_t act;

	if (!link)
		return -ENOSPC;
	a = up_list_entry(link, struct up_act, pool_link);
	act = (uint32_t)(a - p->acts);
	p->nr_unused--;
	if (p->asked)
		p->asked--;
	a->gen++;
	a->os_task = os_task;
	a->vcore = a->pcore = a->standby_for = UPABI_NONE;
	*ret_val = act;
	up_act_pool(p, act, now);
	return 0;
}

/* Gives back as many free ones as there are, at most count. */
uint32_t up_act_drop(struct up_proc *p, uint64_t count)
{
	uint32_t dropped = 0;

	while (dropped < count && p->nr_free) {
		/* The coldest goes first. */
		struct up_act *a = up_list_entry(up_list_last(&p->pool), struct up_act, pool_link);
		uint32_t act = (uint32_t)(a - p->acts);

		list_out(p, act);
		up_act_set(p, act, UPABI_ACT_NONE);
		up_eff_queue(&a->drop); /* the slot is free again when the host has taken this */
		dropped++;
	}
	return dropped;
}

static uint32_t first_of(const struct up_proc *p, const struct up_list *list, bool by_bucket)
{
	struct up_list *link = up_list_first(list);

	if (!link)
		return UPABI_NONE;
	return by_bucket ? (uint32_t)(up_list_entry(link, struct up_act, bucket_link) - p->acts)
			 : (uint32_t)(up_list_entry(link, struct up_act, pool_link) - p->acts);
}

static uint32_t best_for(struct up_proc *p, uint32_t pcore)
{
	uint32_t act = UPABI_NONE;

	if (pcore != UPABI_NONE)
		act = first_of(p, bucket_of(p, pcore), true);
	return act != UPABI_NONE ? act : first_of(p, &p->pool, false);
}

/* Who starts vcore on pcore: the one frozen there; the caller, who is awake; one that last ran on
 * that core; any.  UPABI_NONE when there is none. */
uint32_t up_act_pick(struct up_proc *p, uint32_t vcore, uint32_t pcore)
{
	uint32_t hot = p->hot;

	if (vcore != UPABI_NONE && p->vcores[vcore].frozen != UPABI_NONE)
		return p->vcores[vcore].frozen;
	if (hot != UPABI_NONE && p->acts[hot].state == UPABI_ACT_POOLED &&
	    p->acts[hot].standby_for == UPABI_NONE)
		return hot;
	if (UP_MUT(standby_double_booked)) {
		for (uint32_t a = 0; a < p->max_acts && !p->nr_free; a++)
			if (p->acts[a].state == UPABI_ACT_POOLED)
				return a;
	}
	return best_for(p, pcore);
}

/* Somebody free stands by for vcore from now on; false when there is nobody. */
bool up_act_stand(struct up_proc *p, uint32_t vcore)
{
	struct up_vcore *vc = &p->vcores[vcore];
	uint32_t act = best_for(p, vc->pcore);

	if (act == UPABI_NONE)
		return false;
	list_out(p, act);
	p->acts[act].standby_for = vcore;
	p->acts[act].vcore = vcore;
	vc->standby = act;
	up_bit_clear(p->lack_map, vcore);
	p->nr_lack--;
	up_info_act(p, act);
	return true;
}

/* Back among the free ones. */
void up_act_unstand(struct up_proc *p, uint32_t vcore)
{
	struct up_vcore *vc = &p->vcores[vcore];
	uint32_t act = vc->standby;

	up_eff_cancel(&vc->stand);
	if (act == UPABI_NONE)
		return;
	vc->standby = UPABI_NONE;
	p->acts[act].standby_for = UPABI_NONE;
	if (vc->online) {
		up_bit_set(p->lack_map, vcore);
		p->nr_lack++;
	}
	up_act_relist(p, act);
}

/* Every online vcore gets somebody to stand by, as far as there is anybody.  tell: it ran without
 * one, so that the host has to hear of it. */
void up_act_fill(struct up_proc *p, bool tell)
{
	size_t v = 0;

	while (p->nr_lack && p->nr_free) {
		v = up_bit_next(p->lack_map, p->max_vcores, v);
		if (!up_act_stand(p, (uint32_t)v))
			break;
		up_info_vcore(p, (uint32_t)v);
		if (tell && !up_eff_queued(&p->vcores[v].start))
			up_eff_queue(&p->vcores[v].stand);
	}
	if (p->nr_lack)
		up_act_want(p, p->nr_lack);
	up_info_counts(p);
}

/* So many are missing.  Asked for once; those on their way count. */
void up_act_want(struct up_proc *p, uint32_t more)
{
	more = UP_MIN(more, p->nr_unused);
	if (more <= p->asked || up_proc_is_dead(p))
		return;
	p->want_arg += more - p->asked;
	p->asked = more;
	up_eff_queue(&p->want);
}
