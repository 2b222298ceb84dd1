/* SPDX-License-Identifier: MIT */
/*
 * What the process sees: the kernel side's private state, written out into procinfo.  Everybody
 * else changes private state and calls here; nothing is ever read back.
 */
#include "kern/types.h"

static struct upabi_vcoremap *vcoremap(const struct up_proc *p, uint32_t vcore)
{
	return (struct upabi_vcoremap *)((char *)p->info + sizeof(*p->info)) + vcore;
}

static struct upabi_pcoremap *pcoremap(const struct up_proc *p, uint32_t pcore)
{
	return (struct upabi_pcoremap *)((char *)p->info + upabi_info_off_pcoremap(p->max_vcores)) +
	       pcore;
}

static struct upabi_actmap *actmap(const struct up_proc *p, uint32_t act)
{
	return (struct upabi_actmap *)((char *)p->info +
				       upabi_info_off_actmap(p->max_vcores,
							     p->kern->cfg.max_pcores)) +
	       act;
}

/* Offsets come from our own sizes; what the process wrote into its header is not looked at. */
struct upabi_vcoredata *up_data_vcore(const struct up_proc *p, uint32_t vcore)
{
	return (struct upabi_vcoredata *)((char *)p->data + sizeof(*p->data)) + vcore;
}

/* Odd while the maps change.  The fence keeps the changes behind the odd number; readers load the
 * number with acquire, look, fence, and load it again. */
static void map_begin(struct up_proc *p)
{
	up_store_relaxed(&p->info->coremap_seq, ++p->map_seq);
	up_fence_release();
}

/* Release: the even number comes after the changes. */
static void map_end(struct up_proc *p)
{
	up_store_release(&p->info->coremap_seq, ++p->map_seq);
}

static uint32_t vcore_flags(const struct up_vcore *vc)
{
	uint32_t flags = 0;

	if (vc->preempted && !vc->online)
		flags |= UPABI_VMF_PREEMPTED;
	if (vc->frozen != UPABI_NONE)
		flags |= UPABI_VMF_VCORE_CTX;
	if (vc->taking)
		flags |= UPABI_VMF_TAKE;
	if (vc->returned)
		flags |= UPABI_VMF_RETURNED;
	return flags;
}

/* Relaxed stores: the sequence counter around them orders them for readers. */
void up_info_vcore(struct up_proc *p, uint32_t vcore)
{
	struct upabi_vcoremap *map = vcoremap(p, vcore);
	const struct up_vcore *vc = &p->vcores[vcore];

	map_begin(p);
	up_store_relaxed(&map->valid, vc->online);
	up_store_relaxed(&map->pcore, vc->pcore);
	up_store_relaxed(&map->act, vc->act);
	up_store_relaxed(&map->act_gen, vc->act == UPABI_NONE ? 0 : p->acts[vc->act].gen);
	up_store_relaxed(&map->preempts_sent, vc->sent);
	up_store_relaxed(&map->preempts_done, vc->done);
	up_store_relaxed(&map->preempt_pending, vc->deadline);
	up_store_relaxed(&map->resume_ns, vc->resume_ns);
	up_store_relaxed(&map->total_ns, vc->total_ns);
	up_store_relaxed(&map->flags, vcore_flags(vc));
	up_store_relaxed(&map->standby, vc->standby);
	if (vc->pcore != UPABI_NONE) {
		const struct up_core *core = &p->kern->cores[vc->pcore];
		struct upabi_pcoremap *pc = pcoremap(p, vc->pcore);
		bool ours = core->owner == p;

		up_store_relaxed(&pc->vcore, ours ? core->vcore : UPABI_NONE);
		up_store_relaxed(&pc->valid, ours);
	}
	up_store_relaxed(&p->info->num_vcores, p->nr_online);
	map_end(p);
}

/* Release on the state, and then on the starts: the rest of the line is written before the one says
 * something new, and the state before the other does. */
void up_info_act(struct up_proc *p, uint32_t act)
{
	struct upabi_actmap *map = actmap(p, act);
	const struct up_act *a = &p->acts[act];

	up_store_relaxed(&map->gen, a->gen);
	up_store_relaxed(&map->task, a->os_task);
	up_store_relaxed(&map->vcore, a->vcore);
	up_store_relaxed(&p->info->blocked, p->nr_blocked);
	up_store_relaxed(&p->info->pooled, p->nr_pooled);
	up_store_release(&map->state, a->state);
	up_store_release(&map->starts, a->starts);
}

/* Relaxed: figures to look at; nothing is concluded from two of them. */
void up_info_counts(struct up_proc *p)
{
	struct upabi_procinfo *info = p->info;

	up_store_relaxed(&info->s_vcore, p->s_vcore);
	up_store_relaxed(&info->nr_events, p->nr_events);
	up_store_relaxed(&info->nr_blocked, p->nr_blocks);
	up_store_relaxed(&info->nr_unblocked, p->nr_unblocks);
	up_store_relaxed(&info->nr_preempts, p->nr_preempts);
	up_store_relaxed(&info->nr_refused, p->nr_refused);
	up_store_relaxed(&info->res[UPABI_RES_CORES].granted, (uint64_t)p->nr_online);
	for (int r = UPABI_RES_CORES + 1; r < UPABI_RES_NR; r++)
		up_store_relaxed(&info->res[r].granted, p->res[r].granted);
}

void up_info_posted(struct up_proc *p, uint32_t vcore)
{
	struct upabi_vcoremap *map = vcoremap(p, vcore);

	up_store_relaxed(&map->posted, p->vcores[vcore].posted);
	up_store_relaxed(&map->overflow, p->vcores[vcore].overflow);
}

/* Release on call_ack: the answer is there before its number says so. */
void up_info_answer(struct up_proc *p, uint32_t slot)
{
	struct upabi_actmap *map = actmap(p, slot);

	up_store_relaxed(&map->call_result, p->slots[slot].result);
	up_store_relaxed(&map->call_val, p->slots[slot].val);
	up_store_release(&map->call_ack, p->slots[slot].seq);
}

void up_info_wanted(struct up_proc *p)
{
	int r;

	for (r = 0; r < UPABI_RES_NR; r++)
		up_store_relaxed(&p->info->res[r].wanted, p->res[r].wanted);
}

void up_info_available(struct up_proc *p, enum upabi_res res, uint64_t available)
{
	up_store_relaxed(&p->info->res[res].available, available);
}

void up_info_init(struct up_proc *p, const struct up_proc_cfg *cfg)
{
	struct upabi_procinfo *info = p->info;
	uint32_t pcores = p->kern->cfg.max_pcores;

	memset(info, 0, upabi_info_size(p->max_vcores, pcores, p->max_acts));
	info->version = UPABI_VERSION;
	info->header_sz = sizeof(*info);
	info->region_sz = upabi_info_size(p->max_vcores, pcores, p->max_acts);
	info->max_vcores = p->max_vcores;
	info->max_pcores = pcores;
	info->max_acts = p->max_acts;
	info->off_vcoremap = sizeof(*info);
	info->off_pcoremap = (uint32_t)upabi_info_off_pcoremap(p->max_vcores);
	info->off_actmap = (uint32_t)upabi_info_off_actmap(p->max_vcores, pcores);
	info->pid = p->pid;
	info->os_pid = cfg->os_pid;
	info->mechanisms = cfg->mechanisms;
	info->state = p->state;
	for (uint32_t i = 0; i < pcores; i++)
		pcoremap(p, i)->vcore = UPABI_NONE;
	for (uint32_t a = 0; a < p->max_acts; a++)
		actmap(p, a)->vcore = UPABI_NONE;
	for (uint32_t v = 0; v < p->max_vcores; v++)
		up_info_vcore(p, v);
	up_info_counts(p);
	up_info_available(p, UPABI_RES_CORES, UP_MIN(up_core_capacity(p->kern), p->max_vcores));
	up_info_available(p, UPABI_RES_MEMORY, p->kern->cfg.memory_sz - p->kern->mem_granted);
	/* Release: who finds the magic finds the header. */
	up_store_release(&info->magic, UPABI_INFO_MAGIC);
}
