/* SPDX-License-Identifier: MIT */
/*
 * Processes: creation, states, waking, death.  A state changes in up_proc_set_state() and nowhere
 * else, and only along the table below; what the table forbids is refused and counted.
 */
#include "kern/types.h"

#define TO(state) (1u << (state))

/* CREATED was never run; DYING is reached from everywhere that lives; nothing comes back. */
static const uint16_t legal[] = {
	[UPABI_CREATED] = TO(UPABI_RUNNABLE_S) | TO(UPABI_DYING),
	[UPABI_RUNNABLE_S] = TO(UPABI_RUNNING_S) | TO(UPABI_DYING),
	[UPABI_RUNNING_S] = TO(UPABI_RUNNABLE_S) | TO(UPABI_RUNNABLE_M) | TO(UPABI_WAITING) |
			    TO(UPABI_DYING),
	[UPABI_WAITING] = TO(UPABI_RUNNABLE_S) | TO(UPABI_RUNNABLE_M) | TO(UPABI_DYING),
	[UPABI_RUNNABLE_M] = TO(UPABI_RUNNING_M) | TO(UPABI_DYING),
	[UPABI_RUNNING_M] = TO(UPABI_RUNNABLE_M) | TO(UPABI_RUNNING_S) | TO(UPABI_WAITING) |
			    TO(UPABI_DYING),
	[UPABI_DYING] = TO(UPABI_DYING_ABORT),
	[UPABI_DYING_ABORT] = 0,
};

int up_proc_set_state(struct up_proc *p, uint32_t to)
{
	if (to >= UP_ARRAY_LEN(legal) || !(legal[p->state] & TO(to))) {
		p->nr_refused++;
		up_info_counts(p);
		return -EPERM;
	}
	p->state = to;
	/* Release: whoever sees the state sees the maps that go with it. */
	up_store_release(&p->info->state, to);
	up_policy_touch(p);
	return 0;
}

bool up_proc_is_dead(const struct up_proc *p)
{
	return p->state == UPABI_DYING || p->state == UPABI_DYING_ABORT;
}

uint32_t up_proc_pid(const struct up_proc *p)
{
	return p ? p->pid : 0;
}

uint32_t up_proc_state(const struct up_proc *p)
{
	return p ? p->state : 0;
}

/* One block: the process, then its arrays, each aligned. */
static size_t carve(char *base, size_t *at, size_t sz, void *ret_array)
{
	char *array = base ? base + *at : NULL;

	memcpy(ret_array, &array, sizeof(array));
	*at += UP_ALIGN_UP(sz, (size_t)64);
	return *at;
}

static size_t proc_layout(struct up_proc *p, const struct up_proc_cfg *cfg, uint32_t nr_buckets)
{
	struct up_proc none, *to = p ? p : &none;
	char *base = (char *)p;
	size_t at = UP_ALIGN_UP(sizeof(*p), (size_t)64);
	size_t words = 8 * UP_BITMAP_WORDS(cfg->max_vcores);

	carve(base, &at, sizeof(struct up_vcore) * (size_t)cfg->max_vcores, &to->vcores);
	carve(base, &at, sizeof(struct up_act) * (size_t)cfg->max_acts, &to->acts);
	carve(base, &at, sizeof(struct up_slot) * (size_t)upabi_call_slots(cfg->max_acts),
	      &to->slots);
	carve(base, &at, sizeof(struct up_list) * (size_t)nr_buckets, &to->buckets);
	carve(base, &at, words, &to->online_map);
	carve(base, &at, words, &to->frozen_map);
	return carve(base, &at, words, &to->lack_map);
}

static void init_parts(struct up_proc *p)
{
	for (uint32_t v = 0; v < p->max_vcores; v++) {
		struct up_vcore *vc = &p->vcores[v];

		vc->timer.proc = p;
		vc->timer.vcore = v;
		vc->act = vc->pcore = vc->standby = vc->frozen = UPABI_NONE;
		up_eff_init(&vc->start, p, UP_EFF_START, v);
		up_eff_init(&vc->take, p, UP_EFF_TAKE, v);
		up_eff_init(&vc->notify, p, UP_EFF_NOTIFY, v);
		up_eff_init(&vc->stand, p, UP_EFF_STANDBY, v);
	}
	for (uint32_t a = 0; a < p->max_acts; a++) {
		struct up_act *act = &p->acts[a];

		act->vcore = act->pcore = act->standby_for = UPABI_NONE;
		up_list_init(&act->bucket_link);
		up_list_push_back(&p->free_acts, &act->pool_link);
		up_eff_init(&act->drop, p, UP_EFF_DROP_ACT, a);
	}
	for (uint32_t s = 0; s < upabi_call_slots(p->max_acts); s++) {
		p->slots[s].result = -EINVAL;
		up_eff_init(&p->slots[s].ack, p, UP_EFF_ACK, s);
	}
	for (uint32_t b = 0; b < p->nr_buckets; b++)
		up_list_init(&p->buckets[b]);
}

static void init_proc(struct up_proc *p, struct up_kern *k, const struct up_proc_cfg *cfg)
{
	p->kern = k;
	p->info = cfg->info;
	p->data = cfg->data;
	p->host = cfg->host;
	p->max_vcores = cfg->max_vcores;
	p->max_acts = cfg->max_acts;
	p->standby = cfg->standby != 0;
	p->nr_unused = cfg->max_acts;
	p->available = UP_MIN(up_core_capacity(k), cfg->max_vcores);
	p->nr_events = UPABI_EV_DYNAMIC;
	p->s_act = p->hot = UPABI_NONE;
	p->state = UPABI_CREATED;
	p->timer.proc = p;
	p->timer.vcore = UPABI_NONE;
	up_list_init(&p->link);
	up_list_init(&p->active);
	up_list_init(&p->hungry);
	up_list_init(&p->pool);
	up_list_init(&p->free_acts);
	up_eff_init(&p->kill, p, UP_EFF_KILL, UPABI_NONE);
	up_eff_init(&p->release, p, UP_EFF_RELEASE, UPABI_NONE);
	up_eff_init(&p->want, p, UP_EFF_WANT_ACT, UPABI_NONE);
	init_parts(p);
}

static int grow_array(struct up_kern *k, void *array_ptr, size_t old, size_t new, size_t each)
{
	void *from, *to = up_kern_alloc(k, new *each);

	if (!to)
		return -ENOMEM;
	memcpy(&from, array_ptr, sizeof(from));
	if (from)
		memcpy(to, from, old * each);
	memcpy(array_ptr, &to, sizeof(to));
	up_kern_free(k, from, old * each);
	return 0;
}

/* All three or, as far as anybody can see, none: each is merely longer than it need be. */
static int reserve_tables(struct up_kern *k, uint32_t nr_timers)
{
	uint32_t cap = k->table_cap ? k->table_cap * 2 : 16;

	cap = UP_MIN(cap, UP_MAX_PROCS);
	if (k->nr_procs == UP_MAX_PROCS)
		return -EAGAIN;
	if (k->nr_procs == k->table_cap) {
		if (k->scratch_cap < cap) {
			if (grow_array(k, &k->scratch, k->scratch_cap, cap, sizeof(*k->scratch)))
				return -ENOMEM;
			k->scratch_cap = cap;
		}
		struct up_proc **table = up_kern_alloc(k, cap * sizeof(*table));

		if (!table)
			return -ENOMEM;
		if (grow_array(k, &k->table_gen, k->table_cap, cap, sizeof(*k->table_gen))) {
			up_kern_free(k, table, cap * sizeof(*table));
			return -ENOMEM;
		}
		if (k->table)
			memcpy(table, k->table, k->table_cap * sizeof(*table));
		up_kern_free(k, k->table, k->table_cap * sizeof(*table));
		k->table = table;
		k->table_cap = cap;
	}
	return up_timer_reserve(k, nr_timers);
}

/* The process writes its header before it asks to be let in; from then on nobody reads it. */
static int check_cfg(const struct up_kern *k, const struct up_proc_cfg *cfg)
{
	const struct upabi_procdata *d = cfg->data;

	if (!cfg->info || !d || !UP_IS_ALIGNED((uintptr_t)cfg->info, UPABI_LINE) ||
	    !UP_IS_ALIGNED((uintptr_t)d, UPABI_LINE))
		return -EINVAL;
	if (!cfg->max_vcores || cfg->max_vcores > UP_MAX_VCORES || !cfg->max_acts ||
	    cfg->max_acts > 1u << 22 ||
	    upabi_info_size(cfg->max_vcores, k->cfg.max_pcores, cfg->max_acts) > UINT32_MAX ||
	    upabi_data_size(cfg->max_vcores, cfg->max_acts) > UINT32_MAX)
		return -EINVAL;
	/* Relaxed: these say nothing about other words. */
	if (up_load_relaxed(&d->magic) != UPABI_DATA_MAGIC ||
	    up_load_relaxed(&d->version) != UPABI_VERSION ||
	    up_load_relaxed(&d->header_sz) != sizeof(*d) ||
	    up_load_relaxed(&d->region_sz) != upabi_data_size(cfg->max_vcores, cfg->max_acts) ||
	    up_load_relaxed(&d->off_vcore) != sizeof(*d) ||
	    up_load_relaxed(&d->off_call) != upabi_data_off_call(cfg->max_vcores) ||
	    up_load_relaxed(&d->off_call_pending) !=
		    upabi_data_off_call_pending(cfg->max_vcores, cfg->max_acts))
		return -EPROTO;
	return 0;
}

/* The lowest free slot; the upper half of a pid tells its users apart. */
static void enter_table(struct up_kern *k, struct up_proc *p)
{
	uint32_t slot = k->table_hint;

	while (k->table[slot])
		slot = (slot + 1) % k->table_cap;
	k->table_hint = (slot + 1) % k->table_cap;
	k->table[slot] = p;
	p->slot = slot;
	p->pid = (uint32_t)k->table_gen[slot] << 16 | (slot + 1);
	k->nr_procs++;
	up_list_push_back(&k->procs, &p->link);
}

int up_kern_proc_create(struct up_kern *k, const struct up_proc_cfg *cfg, uint64_t now,
			struct up_proc **ret_proc)
{
	uint32_t nr_buckets;
	struct up_proc *p;
	size_t sz;
	int ret;

	if (!k || !cfg || !ret_proc)
		return -EINVAL;
	ret = check_cfg(k, cfg);
	if (ret < 0)
		return ret;
	nr_buckets = UP_MIN(k->cfg.max_pcores, cfg->max_acts);
	sz = proc_layout(NULL, cfg, nr_buckets);
	p = up_kern_alloc(k, sz);
	if (!p)
		return -ENOMEM;
	ret = reserve_tables(k, cfg->max_vcores + 1);
	if (ret < 0) {
		up_kern_free(k, p, sz);
		return ret;
	}
	proc_layout(p, cfg, nr_buckets);
	p->sz = sz;
	p->nr_buckets = nr_buckets;
	init_proc(p, k, cfg);
	enter_table(k, p);
	up_info_init(p, cfg);
	*ret_proc = p;
	return 0;
}

int up_kern_run(struct up_kern *k, struct up_proc *p, uint64_t now)
{
	if (!k || !p)
		return -EINVAL;
	if (p->state != UPABI_CREATED) {
		p->nr_refused++;
		up_info_counts(p);
		return -EPERM;
	}
	/* The single context is a thread that Linux runs: its turn is now. */
	up_proc_set_state(p, UPABI_RUNNABLE_S);
	up_proc_set_state(p, UPABI_RUNNING_S);
	up_event_flush_kept(p, p->s_vcore);
	return 0;
}

/* Starts failed: let the machine breathe before the next, longer each time. */
void up_proc_hold(struct up_proc *p, uint64_t now)
{
	uint32_t doublings = UP_MIN(p->fails, UP_RETRY_MAX);

	p->fails++;
	if (p->fails < 2 || up_proc_is_dead(p))
		return;
	p->hold = true;
	up_timer_set(p->kern, &p->timer, now + ((uint64_t)UP_RETRY_NS << doublings));
	up_policy_touch(p);
}

/* A single context that went to sleep as an activation goes on in one, without a core. */
void up_proc_try_s(struct up_proc *p, uint64_t now)
{
	struct up_vcore *vc = &p->vcores[p->s_vcore];
	uint32_t act;

	if (p->state != UPABI_RUNNABLE_S || p->hold)
		return;
	act = up_act_pick(p, UPABI_NONE, vc->pcore);
	if (act == UPABI_NONE) {
		up_act_want(p, 1);
		return;
	}
	up_act_unpool(p, act);
	p->acts[act].vcore = p->s_vcore;
	up_act_set(p, act, UPABI_ACT_RUNNING);
	p->s_act = act;
	vc->act = act;
	vc->pcore = UPABI_NONE;
	vc->starting = true;
	vc->start_serial = up_kern_serial(p->kern);
	up_info_vcore(p, p->s_vcore);
	up_proc_set_state(p, UPABI_RUNNING_S);
	up_act_started(p, act);
	up_eff_queue(&vc->start);
	up_event_flush_kept(p, p->s_vcore);
}

/* Something came for a process that may be asleep. */
void up_proc_wake(struct up_proc *p, uint64_t now)
{
	struct up_res *cores = &p->res[UPABI_RES_CORES];

	if (p->parking && !UP_MUT(wake_forgotten))
		p->woken = true;
	if (p->state != UPABI_WAITING)
		return;
	if (p->many) {
		cores->wanted = UP_MAX(cores->wanted, UINT64_C(1));
		up_proc_set_state(p, UPABI_RUNNABLE_M);
	} else {
		up_proc_set_state(p, UPABI_RUNNABLE_S);
		up_proc_try_s(p, now);
	}
}

static void forget_parts(struct up_proc *p)
{
	for (uint32_t v = 0; v < p->max_vcores; v++) {
		struct up_vcore *vc = &p->vcores[v];

		up_timer_stop(p->kern, &vc->timer);
		up_eff_cancel(&vc->start);
		up_eff_cancel(&vc->take);
		up_eff_cancel(&vc->notify);
		up_eff_cancel(&vc->stand);
		up_act_unstand(p, v);
	}
	for (uint32_t a = 0; a < p->max_acts; a++)
		if (p->acts[a].state != UPABI_ACT_NONE)
			up_act_gone(p, a);
	for (uint32_t s = 0; s < upabi_call_slots(p->max_acts); s++)
		up_eff_cancel(&p->slots[s].ack);
	up_eff_cancel(&p->want);
	up_timer_stop(p->kern, &p->timer);
}

/* The last core is back: only the record is left. */
static void bury(struct up_proc *p, uint64_t now)
{
	up_proc_set_state(p, UPABI_DYING_ABORT);
	if (p->s_act != UPABI_NONE)
		p->vcores[p->s_vcore].act = p->s_act = UPABI_NONE;
	p->vcores[p->s_vcore].starting = false;
	forget_parts(p);
	for (uint32_t a = 0; a < p->max_acts; a++)
		up_eff_cancel(&p->acts[a].drop);
	p->kept.nr = 0;
	up_resource_release(p, now);
	up_info_counts(p);
	up_eff_queue(&p->release);
}

void up_proc_die(struct up_proc *p, uint64_t now)
{
	struct up_kern *k = p->kern;

	if (up_proc_is_dead(p))
		return;
	up_proc_set_state(p, UPABI_DYING);
	p->parking = p->hold = false;
	p->kill_serial = up_kern_serial(k);
	up_eff_queue(&p->kill);
	up_timer_stop(k, &p->timer);
	for (uint32_t v = 0; p->nr_online && v < p->max_vcores; v++)
		if (p->vcores[v].online)
			up_preempt_take(p, v, UP_WHY_STOP, now);
	if (p->state == UPABI_DYING && !p->nr_online)
		bury(p, now);
}

int up_kern_proc_destroy(struct up_kern *k, struct up_proc *p, uint64_t now)
{
	if (!k || !p)
		return -EINVAL;
	if (up_proc_is_dead(p))
		return -ESRCH;
	up_proc_die(p, now);
	up_policy_run(k, now);
	return 0;
}

/* The record itself.  The regions may be gone, and are not touched. */
void up_proc_free(struct up_proc *p)
{
	struct up_kern *k = p->kern;

	up_eff_cancel(&p->kill);
	up_eff_cancel(&p->release);
	up_list_remove(&p->active);
	up_list_remove(&p->hungry);
	up_list_remove(&p->link);
	k->table[p->slot] = NULL;
	k->table_gen[p->slot]++;
	k->nr_procs--;
	k->heap_need -= p->max_vcores + 1;
	up_kern_free(k, p, p->sz);
}

/* One vcore fewer.  gave_up: by its own will, and nothing more is wanted. */
void up_proc_lost_vcore(struct up_proc *p, bool gave_up, uint64_t now)
{
	up_policy_touch(p);
	up_act_fill(p, true);
	if (p->nr_online)
		return;
	if (p->state == UPABI_DYING) {
		bury(p, now);
	} else if (p->state == UPABI_RUNNING_M) {
		if (p->parking || gave_up) {
			bool woken = p->woken;

			p->parking = p->woken = false;
			p->res[UPABI_RES_CORES].wanted = 0;
			up_proc_set_state(p, UPABI_WAITING);
			if (woken)
				up_proc_wake(p, now);
		} else {
			up_proc_set_state(p, UPABI_RUNNABLE_M);
		}
	}
}
