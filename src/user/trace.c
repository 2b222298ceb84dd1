/* SPDX-License-Identifier: MIT */
/*
 * The ring of a vcore's records, in memory that outlives the process.  The writer is the vcore, in
 * vcore context, on whatever activation; the reader is another process.  A record is whole before
 * `head` counts it, so that a kill between any two instructions leaves a ring that reads well.  A full
 * ring takes nothing more until the reader has come: what is lost is counted, nobody waits.
 */
#include "user/trace.h"

#include <string.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "base/inject.h"
#include "base/mutant.h"

uint32_t up_trace_on;

static bool is_full(struct up_trace_ring *t)
{
	if (t->head - t->tail_seen <= t->mask)
		return false;
	/* acquire: pairs with the reader's release: it has copied what we are about to write over.  It
	 * is another process's word: one that makes no sense leaves the ring full. */
	t->tail_seen = up_load_acquire(&t->line->tail);
	return t->head - t->tail_seen > t->mask && !UP_MUT(trace_full_overwritten);
}

void up_trace_put(struct up_trace_ring *t, uint32_t type, uint32_t arg, uint64_t a, uint64_t b)
{
	struct upabi_trace_rec *rec;

	if (!t->line || (type == UPABI_TR_IDLE && t->last == UPABI_TR_IDLE))
		return;
	t->last = type;
	if (type == UPABI_TR_OFFLINE)
		t->online = false;
	if (is_full(t)) {
		if (!UP_MUT(trace_lost_uncounted))
			up_store_relaxed(&t->line->lost, t->line->lost + 1);
		return;
	}
	rec = &t->recs[t->head & t->mask];
	if (UP_MUT(trace_counted_first))
		up_store_release(&t->line->head, t->head + 1);
	UP_INJECT(trace_put);
	*rec = (struct upabi_trace_rec){ up_now_ns(), type, arg, a, b };
	t->head++;
	/* release: pairs with the reader's acquire: the record is whole */
	up_store_release(&t->line->head, t->head);
}

void up_trace_put_run(struct up_trace_ring *t, const struct up_uthread *u)
{
	uint64_t name[2];

	if (u->last_act == UPABI_NONE && u->name[0]) {
		memcpy(name, u->name, sizeof(name));
		up_trace_put(t, UPABI_TR_NAME, 0, name[0], name[1]);
	}
	t->running = u->id;
	up_trace_put(t, UPABI_TR_RUN, 0, u->id, 0);
}

void up_trace_put_entry(struct up_vcore *vc, const struct up_act *a)
{
	struct up_trace_ring *t = &vc->trace;
	uint32_t class;

	if (!t->line)
		return;
	if (!t->online) {
		t->online = true;
		up_trace_put(t, UPABI_TR_ONLINE, up_load_relaxed(&up_rt.port->vmap[vc->id].pcore),
			     0, 0);
		return;
	}
	/* Another one on a vcore that has not been left: it steps in for the one that is blocked. */
	if (vc->act != a && a->victim) {
		class = up_load_relaxed(&a->victim->stolen_class);
		up_trace_put(t, UPABI_TR_BLOCKED, class, t->running, 0);
	}
}
