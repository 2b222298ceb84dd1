/* SPDX-License-Identifier: MIT */
/*
 * Resources: what a process wants, the least it can use, what it was granted, for each kind alike.
 * Cores are granted by the policy, over time; memory is an amount, granted as far as it is there
 * when it is asked for or comes back.
 */
#include "kern/types.h"

static uint64_t memory_left(const struct up_kern *k)
{
	return k->cfg.memory_sz - k->mem_granted;
}

/* Gives p what it wants of memory, or what there is. */
static void grant_memory(struct up_proc *p, uint64_t now)
{
	struct up_res *mem = &p->res[UPABI_RES_MEMORY];
	struct up_kern *k = p->kern;
	uint64_t can = mem->granted + memory_left(k);
	uint64_t gets = UP_MIN(mem->wanted, can);

	if (gets != mem->granted) {
		k->mem_granted += gets - mem->granted;
		mem->granted = gets;
		up_event_tell(p, UPABI_NONE, UPABI_EV_RESOURCE, UPABI_RES_MEMORY, gets, 0, now);
	}
	p->mem_short = gets < UP_MIN(mem->min, mem->wanted);
	up_info_available(p, UPABI_RES_MEMORY, gets + memory_left(k));
	up_info_counts(p);
	up_policy_touch(p);
}

/* Some came back: to whoever has less than it wants, oldest process first. */
static void share_memory(struct up_kern *k, uint64_t now)
{
	struct up_proc *p;

	if (!k->cfg.memory_sz)
		return;
	up_list_for_each_entry (p, &k->procs, link)
		if (!up_proc_is_dead(p) &&
		    p->res[UPABI_RES_MEMORY].granted < p->res[UPABI_RES_MEMORY].wanted)
			grant_memory(p, now);
}

void up_resource_release(struct up_proc *p, uint64_t now)
{
	struct up_res *mem = &p->res[UPABI_RES_MEMORY];
	bool had = mem->granted != 0;

	p->kern->mem_granted -= mem->granted;
	memset(p->res, 0, sizeof(p->res));
	up_info_wanted(p);
	if (had)
		share_memory(p->kern, now);
}

/* Each word of the request once. */
static void read_request(struct up_proc *p, int r, struct up_res *ret_res)
{
	const struct upabi_res_request *req = &p->data->res[r];

	/* Relaxed: the call that rang was read with acquire. */
	ret_res->wanted = up_load_relaxed(&req->wanted);
	ret_res->min = up_load_relaxed(&req->wanted_min);
}

static void request_cores(struct up_proc *p, uint32_t slot)
{
	struct up_res *cores = &p->res[UPABI_RES_CORES], req;

	read_request(p, UPABI_RES_CORES, &req);
	if (req.wanted > cores->wanted) {
		p->req_gen++;
		if (slot < p->max_acts && p->acts[slot].state == UPABI_ACT_RUNNING &&
		    p->vcores[p->acts[slot].vcore].act == slot)
			p->vcores[p->acts[slot].vcore].req_seen = p->req_gen;
	}
	cores->wanted = UP_MIN(req.wanted, (uint64_t)p->max_vcores);
	if (req.min != cores->min)
		p->kern->dirty = p->kern->work = true;
	cores->min = UP_MIN(req.min, (uint64_t)p->max_vcores);
	up_policy_touch(p);
}

/* The single context becomes the first uthread of a many-core process. */
static void become_many(struct up_proc *p, uint32_t slot, uint64_t now)
{
	struct up_vcore *vc = &p->vcores[p->s_vcore];
	uint32_t act = p->s_act;

	p->many = true;
	p->s_first = true;
	p->s_act = UPABI_NONE;
	up_eff_cancel(&vc->notify);
	up_eff_cancel(&vc->start);
	vc->starting = false;
	vc->act = UPABI_NONE;
	up_info_vcore(p, p->s_vcore);
	up_proc_set_state(p, UPABI_RUNNABLE_M);
	if (act != UPABI_NONE) {
		p->hot = act == slot ? act : UPABI_NONE;
		up_act_pool(p, act, now);
	}
}

/* Is the caller the single context?  A thread that is no activation may be. */
static bool is_single(const struct up_proc *p, uint32_t slot)
{
	return p->s_act == UPABI_NONE ? slot >= p->max_acts : slot == p->s_act;
}

/* ret_val: 1 when this made the process many-core: the calling context is to park. */
int up_resource_request(struct up_proc *p, uint32_t slot, uint64_t now, uint64_t *ret_val)
{
	struct up_res req;

	read_request(p, UPABI_RES_CORES, &req);
	if (p->state == UPABI_RUNNING_S && req.wanted && p->nr_online)
		return -EBUSY; /* the vcores of its many-core days are still leaving */
	if (p->state == UPABI_RUNNING_S && req.wanted && !is_single(p, slot))
		return -EPERM; /* it would turn another context into a uthread unasked */
	request_cores(p, slot);
	read_request(p, UPABI_RES_MEMORY, &req);
	p->res[UPABI_RES_MEMORY].min = req.min;
	if (req.wanted != p->res[UPABI_RES_MEMORY].wanted || p->mem_short) {
		bool less = req.wanted < p->res[UPABI_RES_MEMORY].granted;

		p->res[UPABI_RES_MEMORY].wanted = req.wanted;
		grant_memory(p, now);
		if (less)
			share_memory(p->kern, now);
	}
	if (p->state == UPABI_RUNNING_S && p->res[UPABI_RES_CORES].wanted) {
		become_many(p, slot, now);
		*ret_val = 1;
	} else if (p->state == UPABI_WAITING && p->res[UPABI_RES_CORES].wanted) {
		p->s_first = p->s_first || !p->many;
		p->many = true;
		up_proc_wake(p, now);
	}
	up_info_counts(p);
	return 0;
}

/* The machine has become larger or smaller: everybody that runs is told. */
void up_resource_available(struct up_kern *k, uint64_t now)
{
	uint32_t capacity = up_core_capacity(k);
	struct up_proc *p;

	up_list_for_each_entry (p, &k->procs, link) {
		uint32_t can = UP_MIN(capacity, p->max_vcores);

		if (up_proc_is_dead(p) || p->available == can)
			continue;
		p->available = can;
		up_info_available(p, UPABI_RES_CORES, can);
		if (up_vcore_any(p) != UPABI_NONE)
			up_event_tell(p, UPABI_NONE, UPABI_EV_RESOURCE, UPABI_RES_CORES, can, 0,
				      now);
	}
}
