/* SPDX-License-Identifier: MIT */
/*
 * What must hold between calls, said once more from outside.  Tests and the simulator ask after
 * every step; nothing else depends on it.  Linear in the machine and its processes.
 */
#include "kern/types.h"

#define MUST(cond, what)             \
	do {                         \
		if (!(cond))         \
			return what; \
	} while (0)

static const char *check_cores(const struct up_kern *k)
{
	uint32_t exist = 0, idle = 0, used = 0, condemned_staying = 0;

	for (uint32_t i = 0; i < k->cfg.max_pcores; i++) {
		const struct up_core *core = &k->cores[i];
		const struct up_vcore *vc;

		exist += core->exists && !core->leaving;
		idle += core->exists && !core->owner;
		used += core->owner != NULL;
		MUST(up_bit_test(k->idle_map, i) == (core->exists && !core->owner),
		     "idle map and cores differ");
		MUST(!core->leaving || core->owner, "an unused core that does not leave");
		if (!core->owner)
			continue;
		MUST(core->exists, "a core that does not exist is in use");
		MUST(core->vcore < core->owner->max_vcores, "a core is owned by no vcore");
		vc = &core->owner->vcores[core->vcore];
		MUST(vc->online && vc->pcore == i, "a core and its vcore disagree");
		condemned_staying += vc->why && !core->leaving;
		MUST(!core->leaving || vc->why, "a leaving core whose vcore may stay");
	}
	MUST(exist == k->nr_cores, "count of cores");
	MUST(idle == k->nr_idle, "count of idle cores");
	MUST(used == k->in_use, "count of cores in use");
	MUST(condemned_staying == k->nr_condemned_staying, "count of condemned cores that stay");
	MUST(used <= k->limit || k->nr_condemned >= used - k->limit,
	     "more cores in use than the limit allows, and none on the way back");
	return NULL;
}

static const char *check_vcore(const struct up_proc *p, uint32_t v)
{
	const struct up_vcore *vc = &p->vcores[v];
	const struct up_act *a;

	MUST(up_bit_test(p->online_map, v) == vc->online, "online map and vcores differ");
	MUST(up_bit_test(p->frozen_map, v) == (vc->frozen != UPABI_NONE),
	     "frozen map and vcores differ");
	MUST(up_bit_test(p->lack_map, v) == (p->standby && vc->online && vc->standby == UPABI_NONE),
	     "map of missing standbys and vcores differ");
	MUST(vc->sent - vc->done == (vc->taking ? 1 : 0), "preemptions sent and done");
	if (vc->frozen != UPABI_NONE) {
		MUST(!vc->online, "a vcore runs beside its frozen activation");
		MUST(p->acts[vc->frozen].state == UPABI_ACT_FROZEN &&
			     p->acts[vc->frozen].vcore == v,
		     "frozen activation of a vcore");
	}
	if (vc->standby != UPABI_NONE) {
		MUST(vc->online, "somebody stands by for an offline vcore");
		MUST(p->acts[vc->standby].state == UPABI_ACT_POOLED &&
			     p->acts[vc->standby].standby_for == v,
		     "standby of a vcore");
	}
	if (!vc->online) {
		MUST(!vc->taking && !vc->why && !vc->deadline && !vc->timer.pos,
		     "an offline vcore is being taken");
		MUST(!up_eff_queued(&vc->take), "a take of an offline vcore is queued");
		MUST(vc->act == UPABI_NONE || (v == p->s_vcore && vc->act == p->s_act),
		     "an offline vcore has an activation");
		return NULL;
	}
	MUST(vc->pcore < p->kern->cfg.max_pcores && p->kern->cores[vc->pcore].owner == p &&
		     p->kern->cores[vc->pcore].vcore == v,
	     "an online vcore does not own its core");
	MUST(vc->act < p->max_acts, "an online vcore without activation");
	a = &p->acts[vc->act];
	MUST(a->state == UPABI_ACT_RUNNING && a->vcore == v, "activation of an online vcore");
	MUST(!vc->deadline || vc->why, "a deadline without a reason");
	MUST(!vc->why || vc->taking || vc->timer.pos, "a condemned vcore that nothing takes");
	return NULL;
}

static const char *check_vcores(const struct up_proc *p)
{
	uint32_t online = 0, condemned = 0, lack = 0;

	for (uint32_t v = 0; v < p->max_vcores; v++) {
		const char *bad = check_vcore(p, v);

		if (bad)
			return bad;
		online += p->vcores[v].online;
		condemned += p->vcores[v].why != UP_WHY_NONE;
		lack += up_bit_test(p->lack_map, v);
	}
	MUST(online == p->nr_online, "count of online vcores");
	MUST(condemned == p->nr_condemned, "count of condemned vcores");
	MUST(lack == p->nr_lack, "count of missing standbys");
	MUST(!lack || !p->nr_free, "a vcore lacks a standby beside a free activation");
	return NULL;
}

static const char *check_acts(const struct up_proc *p)
{
	uint32_t nr[UPABI_ACT_FROZEN + 1] = { 0 }, free_acts = 0;

	for (uint32_t i = 0; i < p->max_acts; i++) {
		const struct up_act *a = &p->acts[i];

		MUST(a->state <= UPABI_ACT_FROZEN, "state of an activation");
		nr[a->state]++;
		free_acts += a->state == UPABI_ACT_POOLED && a->standby_for == UPABI_NONE;
		if (a->standby_for != UPABI_NONE)
			MUST(a->standby_for < p->max_vcores &&
				     p->vcores[a->standby_for].standby == i,
			     "an activation stands by for a vcore that does not know it");
		if (a->state == UPABI_ACT_RUNNING)
			MUST(a->vcore < p->max_vcores && p->vcores[a->vcore].act == i,
			     "a running activation that no vcore knows");
		if (a->state == UPABI_ACT_FROZEN)
			MUST(p->vcores[a->vcore].frozen == i, "a frozen activation on no vcore");
	}
	MUST(nr[UPABI_ACT_RUNNING] == p->nr_online + (p->s_act != UPABI_NONE),
	     "running activations and online vcores differ");
	MUST(nr[UPABI_ACT_POOLED] == p->nr_pooled, "count of pooled activations");
	MUST(nr[UPABI_ACT_BLOCKED] == p->nr_blocked, "count of blocked activations");
	MUST(nr[UPABI_ACT_FROZEN] == p->nr_frozen, "count of frozen activations");
	MUST(free_acts == p->nr_free && free_acts == up_list_len(&p->pool), "the pool");
	return NULL;
}

static const char *check_state(const struct up_proc *p)
{
	switch (p->state) {
	case UPABI_RUNNING_M:
		MUST(p->nr_online, "RUNNING_M without a vcore");
		break;
	case UPABI_RUNNING_S: /* the vcores of its many-core days may still be leaving */
	case UPABI_DYING:
		for (uint32_t v = 0; v < p->max_vcores; v++)
			MUST(!p->vcores[v].online || p->vcores[v].taking,
			     "a vcore stays online in RUNNING_S or DYING");
		MUST(p->state != UPABI_DYING || p->nr_online, "DYING with nothing to wait for");
		break;
	case UPABI_DYING_ABORT:
		MUST(!p->nr_pooled && !p->nr_blocked && !p->nr_frozen && !p->nr_online &&
			     !p->res[UPABI_RES_MEMORY].granted && !p->timer.pos,
		     "a dead process owns something");
		break;
	default:
		MUST(!p->nr_online, "a process that does not run has a vcore online");
		break;
	}
	MUST(p->state == UPABI_RUNNING_S || p->state == UPABI_DYING || p->s_act == UPABI_NONE,
	     "a single context where there is none");
	MUST((p->state == UPABI_RUNNABLE_M || p->state == UPABI_RUNNING_M || p->demand == 0),
	     "demand of a process that is not many-core");
	MUST(up_list_is_linked(&p->active) == (p->demand != 0), "list of those that want cores");
	MUST(up_list_is_linked(&p->hungry) == (p->nr_online < p->demand),
	     "list of those that want more cores");
	return NULL;
}

static const char *check_info(const struct up_proc *p)
{
	const struct upabi_procinfo *info = p->info;

	MUST(!(p->map_seq & 1) && info->coremap_seq == p->map_seq, "map sequence is odd");
	MUST(info->state == p->state, "procinfo: state");
	MUST(info->num_vcores == p->nr_online, "procinfo: num_vcores");
	MUST(info->res[UPABI_RES_CORES].granted == p->nr_online, "procinfo: cores granted");
	MUST(info->res[UPABI_RES_CORES].wanted == p->res[UPABI_RES_CORES].wanted,
	     "procinfo: cores wanted");
	MUST(info->blocked == p->nr_blocked, "procinfo: blocked");
	MUST(info->pooled == p->nr_pooled, "procinfo: pooled");
	return NULL;
}

const char *up_check_proc(const struct up_proc *p)
{
	const char *bad = check_vcores(p);

	if (!bad)
		bad = check_acts(p);
	if (!bad)
		bad = check_state(p);
	if (!bad)
		bad = check_info(p);
	return bad;
}

static bool wants_idle_core(const struct up_proc *p)
{
	return p->nr_online < up_policy_target(p);
}

static const char *check_policy(const struct up_kern *k)
{
	uint64_t demand = 0, memory = 0;
	uint32_t targets = 0, active = 0;
	const struct up_proc *p;

	MUST(!k->dirty && !k->work, "work left undone");
	up_list_for_each_entry (p, &k->procs, link)
		memory += p->res[UPABI_RES_MEMORY].granted;
	up_list_for_each_entry (p, &k->active, active) {
		demand += p->demand;
		targets += up_policy_target(p);
		active++;
	}
	MUST(active == k->nr_active, "count of processes that want cores");
	MUST(demand == k->sum_demand, "sum of demands");
	MUST(targets <= up_core_capacity(k), "more cores promised than there are");
	MUST(memory == k->mem_granted && memory <= k->cfg.memory_sz, "memory granted");
	if (!up_core_grantable(k))
		return NULL;
	up_list_for_each_entry (p, &k->hungry, hungry)
		MUST(!wants_idle_core(p) || up_policy_unserved(p),
		     "somebody waits beside an idle core without a reason");
	return NULL;
}

const char *up_kern_check(const struct up_kern *k)
{
	const struct up_proc *p;
	const char *bad;
	uint32_t online = 0;

	if (!k)
		return "no machine";
	bad = check_cores(k);
	up_list_for_each_entry (p, &k->procs, link) {
		if (bad)
			return bad;
		bad = up_check_proc(p);
		online += p->nr_online;
	}
	if (!bad && online != k->in_use)
		bad = "cores in use and online vcores differ";
	for (uint32_t i = 2; !bad && i <= k->heap_len; i++)
		if (k->heap[i]->at < k->heap[i / 2]->at)
			bad = "timers out of order";
	return bad ? bad : check_policy(k);
}

const char *up_kern_idle_reason(const struct up_kern *k, uint32_t pcore)
{
	const char *reason = NULL;
	const struct up_proc *p;

	if (!k || pcore >= k->cfg.max_pcores)
		return "no such core";
	if (!k->cores[pcore].exists)
		return "not there";
	if (k->cores[pcore].owner)
		return NULL;
	if (up_list_is_empty(&k->hungry))
		return NULL;
	if (!up_core_grantable(k))
		return "the limit is reached";
	up_list_for_each_entry (p, &k->hungry, hungry) {
		if (!wants_idle_core(p))
			continue;
		reason = up_policy_unserved(p);
		if (!reason)
			return "no reason known";
	}
	return reason ? reason : "kept for those whose turn it is";
}
