/* SPDX-License-Identifier: MIT */
/*
 * Who gets how many cores.  Every many-core process has a demand; while all demands fit, the
 * target of each is its demand.  When they do not, targets are the max-min fair shares, none below
 * a process's minimum; processes whose minimum does not fit wait for their turn.  Turns follow
 * the order of k->active, which moves on by a quantum; so does the odd core that does not divide.
 *
 * Only a change of demand or supply makes the targets be worked out again (linear in the processes
 * that want cores); a core that comes back is handed to the next one that has too few.
 */
#include "kern/types.h"

uint32_t up_policy_min(const struct up_proc *p)
{
	uint64_t min = UP_MIN(p->res[UPABI_RES_CORES].min, (uint64_t)p->demand);

	return min ? (uint32_t)min : 1;
}

/* A running process with nothing wanted gets one core all the same: it must be able to yield it. */
static uint32_t demand_of(const struct up_proc *p)
{
	uint64_t wanted = UP_MIN(p->res[UPABI_RES_CORES].wanted, (uint64_t)p->max_vcores);

	if ((p->state != UPABI_RUNNABLE_M && p->state != UPABI_RUNNING_M) || p->parking)
		return 0;
	if (p->hold || p->no_act || p->mem_short) /* it could not use more now */
		return p->nr_online;
	return wanted ? (uint32_t)wanted : 1;
}

uint32_t up_policy_target(const struct up_proc *p)
{
	return p->kern->contended ? UP_MIN(p->target, p->demand) : p->demand;
}

static void set_linked(struct up_list *list, struct up_list *link, bool want)
{
	if (want && !up_list_is_linked(link))
		up_list_push_back(list, link);
	else if (!want)
		up_list_remove(link);
}

/* Call after any change of what p wants or has. */
void up_policy_touch(struct up_proc *p)
{
	struct up_kern *k = p->kern;
	uint32_t demand = demand_of(p);
	bool was = up_list_is_linked(&p->active);

	up_info_wanted(p);
	if (demand != p->demand) {
		k->sum_demand += demand;
		k->sum_demand -= p->demand;
		p->demand = demand;
		k->dirty = true;
		k->work = true;
	}
	set_linked(&k->active, &p->active, demand != 0);
	k->nr_active += (uint32_t)((demand != 0) - was);
	set_linked(&k->hungry, &p->hungry, p->nr_online < demand);
	if (p->nr_online < demand)
		k->work = true;
}

/* In order of turns: whoever's minimum fits runs.  Returns how many, in k->scratch. */
static uint32_t admit(struct up_kern *k, uint32_t *left)
{
	struct up_proc *p;
	uint32_t nr = 0;

	k->starved = false;
	up_list_for_each_entry (p, &k->active, active) {
		uint32_t min = up_policy_min(p);

		p->target = 0;
		if (min > *left) {
			k->starved = true;
			continue;
		}
		*left -= min;
		p->target = min;
		k->scratch[nr++] = p;
	}
	return nr;
}

static uint64_t cost_of_level(const struct up_kern *k, uint32_t nr, uint32_t level)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < nr; i++) {
		const struct up_proc *p = k->scratch[i];

		sum += UP_MAX(UP_MIN(level, p->demand), up_policy_min(p));
	}
	return sum;
}

/* The highest level to which everybody can be raised; then single cores, in order of turns. */
static void share_rest(struct up_kern *k, uint32_t nr, uint32_t capacity)
{
	uint32_t low = 1, high = capacity;
	uint64_t left;

	while (low < high) {
		uint32_t mid = low + (high - low + 1) / 2;

		if (cost_of_level(k, nr, mid) <= capacity)
			low = mid;
		else
			high = mid - 1;
	}
	left = capacity - cost_of_level(k, nr, low);
	k->nr_remainder = 0;
	for (uint32_t i = 0; i < nr; i++) {
		struct up_proc *p = k->scratch[i];

		p->target = UP_MAX(UP_MIN(low, p->demand), up_policy_min(p));
		if (left && p->target == low && p->demand > low) {
			p->target++;
			left--;
			k->nr_remainder++;
		}
	}
}

static void work_out_targets(struct up_kern *k)
{
	uint32_t capacity = up_core_capacity(k), left = capacity, nr;

	k->dirty = false;
	k->starved = false;
	k->nr_remainder = 0;
	k->contended = k->sum_demand > capacity;
	if (!k->contended)
		return;
	nr = admit(k, &left);
	if (left && nr)
		share_rest(k, nr, capacity);
}

/* Which core: where the caller is awake already, where the vcore was, the next idle one. */
static uint32_t pick_core(const struct up_kern *k, const struct up_proc *p, uint32_t vcore)
{
	uint32_t last = p->vcores[vcore].pcore;
	size_t core;

	if (!p->fails) {
		uint32_t hot = p->hot == UPABI_NONE ? UPABI_NONE : p->acts[p->hot].pcore;

		if (hot != UPABI_NONE && up_bit_test(k->idle_map, hot))
			return hot;
		if (last != UPABI_NONE && up_bit_test(k->idle_map, last))
			return last;
	}
	core = up_bit_next(k->idle_map, k->cfg.max_pcores, p->cursor);
	if (core >= k->cfg.max_pcores)
		core = up_bit_next(k->idle_map, k->cfg.max_pcores, 0);
	return (uint32_t)core;
}

/* Not served for want of an activation: until one comes it wants no more than it has. */
static void go_without(struct up_proc *p, uint32_t missing)
{
	up_act_want(p, missing);
	p->no_act = true;
	up_policy_touch(p);
}

static void serve(struct up_kern *k, struct up_proc *p, uint64_t now)
{
	uint32_t target = up_policy_target(p);
	uint32_t acts = p->nr_free + p->nr_frozen;

	if (p->nr_online >= target)
		return;
	if (!p->nr_online) { /* with its minimum at once, or not at all */
		uint32_t min = up_policy_min(p);

		if (up_core_grantable(k) < min && !UP_MUT(minimum_ignored))
			return;
		if (acts < min) {
			go_without(p, min - p->nr_free);
			return;
		}
	}
	while (p->nr_online < target && up_core_grantable(k)) {
		uint32_t vcore = up_vcore_pick(p), core, act;

		if (vcore == UPABI_NONE)
			break;
		core = pick_core(k, p, vcore);
		act = up_act_pick(p, vcore, core);
		if (act == UPABI_NONE) {
			go_without(p, target - p->nr_online + p->nr_lack);
			break;
		}
		up_vcore_start(p, vcore, core, act, now);
		p->hot = UPABI_NONE;
	}
	up_act_fill(p, false);
}

static void serve_all(struct up_kern *k, uint64_t now)
{
	struct up_proc *p, *after;

	up_list_for_each_entry_safe (p, after, &k->hungry, hungry) {
		if (!up_core_grantable(k))
			return;
		serve(k, p, now);
	}
}

/* Warnings that are not called for any more are taken back, newest vcore last. */
static void rescind(struct up_proc *p, uint32_t nr)
{
	for (size_t v = 0; nr; v++) {
		v = up_bit_next(p->online_map, p->max_vcores, v);
		if (v >= p->max_vcores)
			return;
		if (p->vcores[v].why == UP_WHY_POLICY && !p->vcores[v].taking) {
			up_preempt_rescind(p, (uint32_t)v);
			nr--;
		}
	}
}

static uint32_t staying(const struct up_proc *p)
{
	return p->nr_online - p->nr_condemned;
}

/* How many cores are still missing when everything that is on its way has come. */
static int64_t shortfall(struct up_kern *k)
{
	int64_t need = 0, idle, room;
	struct up_proc *p;

	up_list_for_each_entry (p, &k->active, active) {
		uint32_t target = up_policy_target(p);

		if (staying(p) < target && p->nr_condemned && !UP_MUT(warning_not_taken_back))
			rescind(p, target - staying(p));
		if (staying(p) < target)
			need += target - staying(p);
	}
	idle = (int64_t)k->nr_idle + k->nr_condemned_staying;
	room = (int64_t)k->limit - k->in_use + k->nr_condemned;
	return need - UP_MIN(idle, room);
}

static uint64_t later(uint64_t now, uint64_t by)
{
	return now > UINT64_MAX - by ? UINT64_MAX : now + by;
}

/* The highest numbers go first, so that those who stay are few and low. */
static uint32_t warn_some(struct up_kern *k, struct up_proc *p, uint32_t nr, uint64_t now)
{
	uint32_t warned = 0;

	for (uint32_t v = p->max_vcores; v-- > 0 && warned < nr;) {
		if (!p->vcores[v].online || p->vcores[v].why)
			continue;
		if (k->cfg.grace_ns)
			up_preempt_warn(p, v, UP_WHY_POLICY, later(now, k->cfg.grace_ns), true,
					now);
		else
			up_preempt_take(p, v, UP_WHY_POLICY, now);
		warned++;
	}
	return warned;
}

static void reclaim(struct up_kern *k, uint64_t now)
{
	int64_t back = shortfall(k);
	struct up_list *link, *before;

	/* From the end of the turns: those whose turn is furthest off give first.  Who is not to run
	 * at all goes altogether: a few cores less than its minimum are no use to it. */
	for (link = k->active.prev; link != &k->active; link = before) {
		struct up_proc *p = up_list_entry(link, struct up_proc, active);
		uint32_t target = up_policy_target(p), over;

		before = link->prev;
		if (staying(p) <= target)
			continue;
		over = staying(p) - target;
		if (target)
			over = (uint32_t)UP_MIN((int64_t)over, UP_MAX(back, INT64_C(0)));
		back -= warn_some(k, p, over, now);
	}
}

static void set_quantum(struct up_kern *k, uint64_t now)
{
	bool uneven = k->contended && (k->starved || k->nr_remainder);

	if (!uneven || !k->cfg.quantum_ns)
		up_timer_stop(k, &k->quantum);
	else if (!k->quantum.pos)
		up_timer_set(k, &k->quantum, later(now, k->cfg.quantum_ns));
}

/* A quantum is over: those who were served go to the end of the line. */
void up_policy_rotate(struct up_kern *k, uint64_t now)
{
	struct up_list served = UP_LIST_INIT(served);
	struct up_proc *p, *after;
	uint32_t odd = k->nr_remainder;

	up_list_for_each_entry_safe (p, after, &k->active, active) {
		if (k->starved ? p->target == 0 : odd == 0)
			continue;
		odd -= odd != 0;
		up_list_remove(&p->active);
		up_list_push_back(&served, &p->active);
	}
	up_list_splice_back(&k->active, &served);
	k->dirty = true;
	k->work = true;
}

/*
 * A take that ends at once (a start called off) frees a core within reclaim(): hence the second
 * round.  Two suffice for everything that was there when the first began; more would be a bug, and
 * what is left has its reason in up_kern_idle_reason().
 */
void up_policy_run(struct up_kern *k, uint64_t now)
{
	for (int round = 0; k->work && round < 8; round++) {
		k->work = false;
		if (k->dirty)
			work_out_targets(k);
		serve_all(k, now);
		if (k->contended || !up_list_is_empty(&k->hungry) || k->in_use > k->limit ||
		    k->nr_condemned)
			reclaim(k, now);
	}
	set_quantum(k, now);
}

/* Why p has fewer cores than its target although one is free; NULL: no reason. */
const char *up_policy_unserved(const struct up_proc *p)
{
	const struct up_kern *k = p->kern;

	if (p->nr_online >= up_policy_target(p))
		return "its share is used";
	if (p->hold)
		return "starts failed, held back";
	if (!p->nr_online && up_core_grantable(k) < up_policy_min(p))
		return "its minimum gathers";
	if (!p->nr_free && !p->nr_frozen)
		return "no activation";
	return NULL;
}
