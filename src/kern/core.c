/* SPDX-License-Identifier: MIT */
/*
 * The machine's pcores: which exist, who has each, how many may be in use.  A pcore has one owner
 * from the moment that it is granted until whatever ran there has been seen to leave.
 */
#include "kern/types.h"

void up_core_own(struct up_kern *k, uint32_t pcore, struct up_proc *p, uint32_t vcore)
{
	struct up_core *core = &k->cores[pcore];

	UP_BUG_ON(core->owner || !core->exists || core->leaving);
	core->owner = p;
	core->vcore = vcore;
	up_bit_clear(k->idle_map, pcore);
	k->nr_idle--;
	k->in_use++;
}

void up_core_release(struct up_kern *k, uint32_t pcore)
{
	struct up_core *core = &k->cores[pcore];

	core->owner = NULL;
	core->vcore = UPABI_NONE;
	k->in_use--;
	if (core->leaving) {
		core->leaving = false;
		core->exists = false;
	} else {
		up_bit_set(k->idle_map, pcore);
		k->nr_idle++;
	}
	k->work = true;
}

/* How many more cores may be granted at this moment. */
uint32_t up_core_grantable(const struct up_kern *k)
{
	uint32_t room = k->limit > k->in_use ? k->limit - k->in_use : 0;

	return UP_MIN(k->nr_idle, room);
}

uint32_t up_core_capacity(const struct up_kern *k)
{
	return UP_MIN(k->nr_cores, k->limit);
}

static void capacity_changed(struct up_kern *k, uint64_t now)
{
	k->dirty = true;
	k->work = true;
	up_resource_available(k, now);
	up_policy_run(k, now);
}

int up_kern_core_add(struct up_kern *k, uint32_t pcore, uint64_t now)
{
	struct up_core *core;

	if (!k || pcore >= k->cfg.max_pcores)
		return -EINVAL;
	core = &k->cores[pcore];
	if (core->exists && !core->leaving)
		return -EEXIST;
	if (core->leaving) { /* its owner keeps it, unless the taking has begun */
		core->leaving = false;
		k->nr_condemned_staying++;
		if (core->owner->vcores[core->vcore].why == UP_WHY_LEAVING)
			up_preempt_rescind(core->owner, core->vcore);
	} else {
		core->exists = true;
		core->vcore = UPABI_NONE;
		up_bit_set(k->idle_map, pcore);
		k->nr_idle++;
	}
	k->nr_cores++;
	capacity_changed(k, now);
	return 0;
}

int up_kern_core_remove(struct up_kern *k, uint32_t pcore, uint64_t deadline, uint64_t now)
{
	struct up_core *core;

	if (!k || pcore >= k->cfg.max_pcores)
		return -EINVAL;
	core = &k->cores[pcore];
	if (!core->exists || core->leaving)
		return -ENOENT;
	k->nr_cores--;
	if (!core->owner) {
		core->exists = false;
		up_bit_clear(k->idle_map, pcore);
		k->nr_idle--;
	} else {
		if (core->owner->vcores[core->vcore].why)
			k->nr_condemned_staying--;
		core->leaving = true;
		core->owner->hot = UPABI_NONE;
		if (deadline > now)
			up_preempt_warn(core->owner, core->vcore, UP_WHY_LEAVING, deadline, true,
					now);
		else
			up_preempt_take(core->owner, core->vcore, UP_WHY_LEAVING, now);
	}
	capacity_changed(k, now);
	return 0;
}

int up_kern_core_limit(struct up_kern *k, uint32_t limit, uint64_t now)
{
	if (!k)
		return -EINVAL;
	if (k->limit == limit)
		return 0;
	k->limit = limit;
	capacity_changed(k, now);
	return 0;
}
