/* SPDX-License-Identifier: MIT */
/*
 * One machine: its creation and end, its memory, its ticks.  Hosts call it; it calls nobody.
 * A machine is one block of memory and three tables that grow when a process is created, so that
 * no later call can fail for want of memory.
 */
#include "kern/types.h"

void *up_kern_alloc(struct up_kern *k, size_t sz)
{
	return k->cfg.alloc(k->cfg.alloc_arg, sz);
}

void up_kern_free(struct up_kern *k, void *ptr, size_t sz)
{
	if (ptr)
		k->cfg.free(k->cfg.alloc_arg, ptr, sz);
}

uint32_t up_kern_serial(struct up_kern *k)
{
	if (++k->serial == 0)
		k->serial = 1;
	return k->serial;
}

static size_t kern_layout(struct up_kern *k, uint32_t max_pcores)
{
	size_t at = UP_ALIGN_UP(sizeof(struct up_kern), (size_t)64);
	size_t map_at = at + UP_ALIGN_UP(sizeof(struct up_core) * (size_t)max_pcores, (size_t)64);

	if (k) {
		k->cores = (struct up_core *)((char *)k + at);
		k->idle_map = (uint64_t *)((char *)k + map_at);
	}
	return map_at + 8 * UP_BITMAP_WORDS(max_pcores);
}

int up_kern_create(const struct up_kern_cfg *cfg, struct up_kern **ret_kern)
{
	struct up_kern *k;
	size_t sz;

	if (!cfg || !ret_kern || !cfg->alloc || !cfg->free || cfg->max_pcores == 0 ||
	    cfg->max_pcores >= 1u << 24)
		return -EINVAL;
	sz = kern_layout(NULL, cfg->max_pcores);
	k = cfg->alloc(cfg->alloc_arg, sz);
	if (!k)
		return -ENOMEM;
	k->cfg = *cfg;
	k->sz = sz;
	kern_layout(k, cfg->max_pcores);
	k->limit = cfg->max_pcores;
	up_list_init(&k->procs);
	up_list_init(&k->active);
	up_list_init(&k->hungry);
	up_list_init(&k->effects);
	k->quantum.vcore = UPABI_NONE;
	if (up_timer_reserve(k, 1) < 0) {
		up_kern_free(k, k, sz);
		return -ENOMEM;
	}
	*ret_kern = k;
	return 0;
}

void up_kern_destroy(struct up_kern *k)
{
	struct up_proc *p, *after;

	if (!k)
		return;
	up_list_for_each_entry_safe (p, after, &k->procs, link)
		up_proc_free(p);
	up_kern_free(k, k->table, k->table_cap * sizeof(*k->table));
	up_kern_free(k, k->table_gen, k->table_cap * sizeof(*k->table_gen));
	up_kern_free(k, k->scratch, k->scratch_cap * sizeof(*k->scratch));
	up_kern_free(k, k->heap, ((size_t)k->heap_cap + 1) * sizeof(*k->heap));
	up_kern_free(k, k, k->sz);
}

struct up_proc *up_kern_proc_find(struct up_kern *k, uint32_t pid)
{
	uint32_t slot = (pid & 0xffff) - 1;

	if (!k || (pid & 0xffff) == 0 || slot >= k->table_cap)
		return NULL;
	return k->table[slot] && k->table[slot]->pid == pid ? k->table[slot] : NULL;
}

/* What was due when the tick began is done once; timers that it sets wait for the next tick. */
void up_kern_tick(struct up_kern *k, uint64_t now)
{
	if (!k)
		return;
	for (uint32_t left = k->heap_len; left && k->heap_len && k->heap[1]->at <= now; left--) {
		struct up_timer *t = k->heap[1];
		struct up_proc *p = t->proc;

		if (UP_MUT(deadline_off_by_one) && p && t->vcore != UPABI_NONE && t->at == now)
			break;
		up_timer_stop(k, t);
		if (!p) {
			up_policy_rotate(k, now);
		} else if (t->vcore != UPABI_NONE) {
			up_preempt_due(p, t->vcore, now);
		} else {
			p->hold = false;
			p->no_act = false;
			p->asked = 0;
			up_policy_touch(p);
			up_proc_try_s(p, now);
			up_act_fill(p, true);
		}
	}
	up_policy_run(k, now);
}

uint64_t up_kern_deadline(const struct up_kern *k)
{
	return k && k->heap_len ? k->heap[1]->at : 0;
}
