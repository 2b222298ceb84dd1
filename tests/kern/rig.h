/* SPDX-License-Identifier: MIT */
/*
 * A small machine for the tests of the kernel side: regions from malloc, an allocator that counts
 * and fails on demand, a clock that is a number, a host that is the test.  After every call the
 * invariants are asked for.
 */
#ifndef UP_TESTS_KERN_RIG_H
#define UP_TESTS_KERN_RIG_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kern/types.h"
#include "unit.h"

#define NONE	UPABI_NONE
#define RIG_LOG 256

struct rig_alloc {
	long live;
	long bytes;
	long calls;
	long fail_at; /* the call that fails, 0 for none */
};

struct rig {
	struct rig_alloc mem;
	struct up_kern *k;
	struct up_proc *p;
	struct upabi_procinfo *info;
	struct upabi_procdata *data;
	uint64_t now;
	struct up_effect log[RIG_LOG]; /* what the host was told, in order */
	unsigned nr_log;
	uint64_t val; /* of the last call */
};

struct rig_proc {
	struct up_proc *p;
	struct upabi_procinfo *info;
	struct upabi_procdata *data;
};

static inline void *rig_alloc_fn(void *arg, size_t sz)
{
	struct rig_alloc *mem = arg;

	if (++mem->calls == mem->fail_at)
		return NULL;
	mem->live++;
	mem->bytes += (long)sz;
	return calloc(1, sz);
}

static inline void rig_free_fn(void *arg, void *ptr, size_t sz)
{
	struct rig_alloc *mem = arg;

	mem->live--;
	mem->bytes -= (long)sz;
	free(ptr);
}

static inline void *rig_region(size_t sz)
{
	void *region = aligned_alloc(64, UP_ALIGN_UP(sz, (size_t)64));

	memset(region, 0, sz);
	return region;
}

static inline struct upabi_procdata *rig_data(uint32_t vcores, uint32_t acts)
{
	struct upabi_procdata *d = rig_region(upabi_data_size(vcores, acts));

	d->magic = UPABI_DATA_MAGIC;
	d->version = UPABI_VERSION;
	d->header_sz = sizeof(*d);
	d->region_sz = upabi_data_size(vcores, acts);
	d->off_vcore = sizeof(*d);
	d->off_call = (uint32_t)upabi_data_off_call(vcores);
	d->off_call_pending = (uint32_t)upabi_data_off_call_pending(vcores, acts);
	for (uint32_t v = 0; v < vcores; v++) {
		struct upabi_vcoredata *vd = (struct upabi_vcoredata *)(d + 1) + v;

		vd->notif_disabled = 1;
	}
	return d;
}

static inline void rig_check(struct rig *r)
{
	const char *bad = up_kern_check(r->k);

	if (bad)
		fail_msg("invariant: %s", bad);
}

static inline struct up_kern_cfg rig_cfg(struct rig *r, uint32_t pcores)
{
	return (struct up_kern_cfg){
		.max_pcores = pcores,
		.grace_ns = 1000,
		.quantum_ns = 100000,
		.alloc = rig_alloc_fn,
		.free = rig_free_fn,
		.alloc_arg = &r->mem,
		.memory_sz = 1 << 20,
	};
}

static inline void rig_init(struct rig *r, uint32_t pcores)
{
	struct up_kern_cfg cfg = rig_cfg(r, pcores);

	memset(r, 0, sizeof(*r));
	r->now = 1000000;
	assert_int_equal(up_kern_create(&cfg, &r->k), 0);
	for (uint32_t i = 0; i < pcores; i++)
		assert_int_equal(up_kern_core_add(r->k, i, r->now), 0);
	rig_check(r);
}

static inline struct rig_proc rig_proc(struct rig *r, uint32_t vcores, uint32_t acts,
				       uint32_t standby)
{
	struct rig_proc rp;
	struct up_proc_cfg cfg = {
		.max_vcores = vcores,
		.max_acts = acts,
		.standby = standby,
	};

	rp.info = rig_region(upabi_info_size(vcores, r->k->cfg.max_pcores, acts));
	rp.data = rig_data(vcores, acts);
	cfg.info = rp.info;
	cfg.data = rp.data;
	assert_int_equal(up_kern_proc_create(r->k, &cfg, r->now, &rp.p), 0);
	rig_check(r);
	return rp;
}

static inline void rig_select(struct rig *r, struct rig_proc rp)
{
	r->p = rp.p;
	r->info = rp.info;
	r->data = rp.data;
}

/* Takes what is queued into the log.  Returns how many. */
static inline unsigned rig_effects(struct rig *r)
{
	unsigned nr = 0;

	r->nr_log = 0;
	while (r->nr_log < RIG_LOG && up_kern_next_effect(r->k, &r->log[r->nr_log])) {
		r->nr_log++;
		nr++;
	}
	return nr;
}

/* The first of its kind in the log, NULL when there is none. */
static inline struct up_effect *rig_find(struct rig *r, enum up_effect_op op, uint32_t vcore)
{
	for (unsigned i = 0; i < r->nr_log; i++)
		if (r->log[i].op == op && (vcore == NONE || r->log[i].vcore == vcore))
			return &r->log[i];
	return NULL;
}

static inline unsigned rig_count(struct rig *r, enum up_effect_op op)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < r->nr_log; i++)
		nr += r->log[i].op == op;
	return nr;
}

static inline int rig_done(struct rig *r, uint64_t id, int status)
{
	int ret = up_kern_effect_done(r->k, id, status, r->now);

	rig_check(r);
	return ret;
}

static inline int rig_call5(struct rig *r, uint32_t slot, uint32_t op, uint64_t a0, uint64_t a1,
			    uint64_t a2, uint64_t a3, uint64_t a4)
{
	struct upabi_call c = { .op = op, .arg = { a0, a1, a2, a3, a4 } };
	int ret = up_kern_call(r->k, r->p, slot, &c, r->now, &r->val);

	rig_check(r);
	return ret;
}

/* Arguments that are left out are 0. */
#define rig_call(r, slot, op, ...) RIG_CALL_(r, slot, op, ##__VA_ARGS__, 0, 0, 0, 0, 0)

#define RIG_CALL_(r, slot, op, a0, a1, a2, a3, a4, ...) rig_call5(r, slot, op, a0, a1, a2, a3, a4)

static inline uint32_t rig_outside(const struct rig *r)
{
	return r->p->max_acts;
}

static inline void rig_add_acts(struct rig *r, unsigned nr)
{
	while (nr--)
		assert_int_equal(rig_call(r, rig_outside(r), UPABI_OP_ACT_ADD, 1000 + nr), 0);
}

static inline int rig_request(struct rig *r, uint32_t slot, uint64_t wanted, uint64_t min)
{
	r->data->res[UPABI_RES_CORES].wanted = wanted;
	r->data->res[UPABI_RES_CORES].wanted_min = min;
	return rig_call(r, slot, UPABI_OP_REQUEST);
}

static inline struct upabi_vcoredata *rig_vd(struct rig *r, uint32_t v)
{
	return (struct upabi_vcoredata *)(r->data + 1) + v;
}

static inline struct upabi_vcoremap *rig_map(struct rig *r, uint32_t v)
{
	return (struct upabi_vcoremap *)(r->info + 1) + v;
}

static inline struct upabi_actmap *rig_act(struct rig *r, uint32_t a)
{
	return (struct upabi_actmap *)((char *)r->info + r->info->off_actmap) + a;
}

/* The process's side of the ring: one message, false when there is none. */
static inline bool rig_pop(struct rig *r, uint32_t v, struct upabi_event *ret_ev)
{
	struct upabi_vcoredata *vd = rig_vd(r, v);

	if (vd->ring_head == vd->ring_tail)
		return false;
	*ret_ev = vd->ring[vd->ring_head % UPABI_RING_LEN];
	vd->ring_head++;
	return true;
}

/* Looks for an event in v's ring, which it empties; also clears bitmask and pending. */
static inline bool rig_drained(struct rig *r, uint32_t v, uint32_t nr, struct upabi_event *ret_ev)
{
	struct upabi_vcoredata *vd = rig_vd(r, v);
	struct upabi_event ev;
	bool found = false;

	vd->notif_pending = 0;
	while (rig_pop(r, v, &ev)) {
		if (ev.nr == nr && ret_ev)
			*ret_ev = ev;
		found = found || ev.nr == nr;
	}
	memset(vd->mask, 0, sizeof(vd->mask));
	return found;
}

static inline void rig_drain_all(struct rig *r)
{
	for (uint32_t v = 0; v < r->p->max_vcores; v++)
		rig_drained(r, v, 0, NULL);
}

/* Takes the effects and says yes to every start. */
static inline void rig_started(struct rig *r)
{
	rig_effects(r);
	for (unsigned i = 0; i < r->nr_log; i++)
		if (r->log[i].op == UP_EFF_START)
			assert_int_equal(rig_done(r, r->log[i].id, 0), 0);
}

/* A process that runs on `want` vcores, every start acknowledged and every ring empty. */
static inline void rig_many(struct rig *r, uint32_t pcores, uint32_t want, uint32_t acts,
			    uint32_t standby)
{
	rig_init(r, pcores);
	rig_select(r, rig_proc(r, 8, 16, standby));
	assert_int_equal(up_kern_run(r->k, r->p, r->now), 0);
	rig_add_acts(r, acts);
	assert_int_equal(rig_request(r, rig_outside(r), want, 0), 0);
	rig_started(r);
	rig_drain_all(r);
}

static inline void rig_proc_free(struct rig_proc *rp)
{
	free(rp->info);
	free(rp->data);
}

static inline void rig_fini(struct rig *r)
{
	up_kern_destroy(r->k);
	assert_int_equal(r->mem.live, 0);
	assert_int_equal(r->mem.bytes, 0);
	free(r->info);
	free(r->data);
}

#endif
