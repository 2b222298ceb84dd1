/* SPDX-License-Identifier: MIT */
/*
 * The kernel side inside the process.  Whoever rings takes the lock, drains every pending call (its
 * own and those of others that are on their way to the lock), carries the decided effects out of
 * the lock in a small batch, and performs them.  A caller waits for the lock and not for somebody
 * else's mercy: when the bell has been rung the answer is there, given by itself or by the one who
 * held the lock before it.
 *
 * May be called in vcore context and in signal handlers: no TLS, no libc beyond the clock in the
 * vDSO, no allocation after creation.  A handler may interrupt code of its own thread, but never
 * while that thread holds the lock: an activation that runs a vcore rings with notifications
 * disabled, and what signals other threads take does not call in here.
 */
#include "host/embed.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <unistd.h>

#include "arch/arch.h"
#include "base/atomic.h"
#include "base/bug.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/inject.h"
#include "base/mutant.h"
#include "base/lock.h"
#include "host/region.h"

/* Looks at a held lock before sleeping on it. */
#define SPINS 200
/* Effects that one turn under the lock hands out; it lives on a transition stack. */
#define BATCH 8

struct up_embed {
	struct up_lock lock;
	/* under the lock: */
	struct up_kern *kern;
	struct up_proc *proc; /* NULL when the kernel side has let go of it */
	/* written under the lock, read by who is about to say it: atomic */
	uint64_t deadline; /* what the timer should be set to; 0 none */
	/* constant after creation: */
	struct up_embed_ops ops;
	void *arg;
	pid_t pid; /* in which the rest is mapped: a child of fork() gets this record alone */
	struct up_region region;
	struct up_port port;
};

struct batch {
	uint32_t nr;
	bool more;	   /* the queue held more */
	bool new_deadline; /* ops.deadline is to be told */
	struct up_effect eff[BATCH];
};

static void *kern_alloc(void *arg, size_t sz)
{
	return UP_INJECT_FAIL(embed_alloc) ? NULL : up_region_alloc(sz, false);
}

static void kern_free(void *arg, void *p, size_t sz)
{
	up_region_free(p, sz);
}

/* Under the lock: what was decided, and whether the timer must be set anew. */
static void collect_locked(struct up_embed *e, struct batch *b, bool timer_fired)
{
	uint64_t next = up_kern_deadline(e->kern);
	uint64_t told = up_load_relaxed(&e->deadline); /* written under this lock only */

	b->nr = 0;
	while (b->nr < BATCH && up_kern_next_effect(e->kern, &b->eff[b->nr])) {
		if (b->eff[b->nr].op == UP_EFF_RELEASE)
			e->proc = NULL;
		b->nr++;
	}
	b->more = b->nr == BATCH;
	b->new_deadline = timer_fired || (next && (!told || next < told));
	if (b->new_deadline)
		up_store_relaxed(&e->deadline, next);
}

/* Without the lock.  Two threads may be here with two deadlines, and the timer must end up at the
 * one that was stored last: whoever finds that it has told an old one tells again. */
static void tell_deadline(struct up_embed *e)
{
	uint64_t told, now;

	if (!e->ops.deadline)
		return;
	do {
		/* Sequentially consistent: the store was under the lock, and the second look
		 * must not be moved before what the operation did. */
		told = up_load_seq_cst(&e->deadline);
		e->ops.deadline(e->arg, told);
		now = up_load_seq_cst(&e->deadline);
	} while (now != told);
}

static void wake_caller(struct up_embed *e, uint32_t slot)
{
	/* By the address at which the process sleeps: a private futex is named by it. */
	if (slot < upabi_call_slots(e->port.max_acts))
		up_futex_wake_private((uint32_t *)&e->port.amap[slot].call_ack, INT32_MAX);
}

static void perform_one(struct up_embed *e, const struct up_effect *eff)
{
	const struct up_embed_ops *o = &e->ops;
	void (*const op[])(void *, const struct up_effect *) = {
		[UP_EFF_START] = o->start,	 [UP_EFF_NOTIFY] = o->notify,
		[UP_EFF_TAKE] = o->take,	 [UP_EFF_STANDBY] = o->standby,
		[UP_EFF_WANT_ACT] = o->want_act, [UP_EFF_DROP_ACT] = o->drop_act,
		[UP_EFF_KILL] = o->kill,	 [UP_EFF_RELEASE] = NULL,
	};

	if (eff->op == UP_EFF_ACK)
		wake_caller(e, eff->act);
	else if (eff->op == UP_EFF_RELEASE)
		up_port_lose(&e->port, -ESRCH);
	else if (eff->op < sizeof(op) / sizeof(op[0]) && op[eff->op])
		op[eff->op](e->arg, eff);
}

static void perform(struct up_embed *e, const struct batch *b)
{
	for (uint32_t i = 0; i < b->nr; i++) {
		UP_INJECT(embed_before_effect);
		if (!UP_MUT(embed_effect_dropped) || i == 0)
			perform_one(e, &b->eff[i]);
	}
	if (b->new_deadline)
		tell_deadline(e);
}

/* Drops the lock and does what was decided under it. */
static void leave(struct up_embed *e, bool timer_fired)
{
	struct batch b;

	collect_locked(e, &b, timer_fired);
	for (;;) {
		UP_INJECT(embed_before_unlock);
		up_lock_drop(&e->lock);
		UP_INJECT(embed_after_unlock);
		perform(e, &b);
		if (!b.more || UP_MUT(embed_rest_dropped))
			return;
		up_lock_take(&e->lock);
		collect_locked(e, &b, false);
	}
}

static bool pending(const struct up_embed *e, uint32_t slot)
{
	/* Acquire pairs with the clearing of the bit and with the answer that came before it. */
	return up_load_acquire(&e->port.call_pending[slot / 64]) >> (slot % 64) & 1;
}

/* False: somebody else has taken the call meanwhile, and answers it before dropping the lock. */
static bool lock_unless_taken(struct up_embed *e, uint32_t slot)
{
	for (int i = 0; i < SPINS; i++) {
		if (up_lock_try(&e->lock))
			return true;
		if (!pending(e, slot))
			return false;
		up_cpu_relax();
	}
	up_lock_take(&e->lock);
	return true;
}

/* An activation that runs a vcore must not be interrupted into a second call while it is here. */
static bool may_ring(const struct up_embed *e, uint32_t slot)
{
	const struct up_port *p = &e->port;
	uint32_t vcore;

	if (up_arch_get_gs() && (up_gs_depth() & UP_CS_OURS))
		return true; /* a uthread that is not to be moved */
	if (slot >= p->max_acts || up_load_relaxed(&p->amap[slot].state) != UPABI_ACT_RUNNING)
		return true;
	vcore = up_load_relaxed(&p->amap[slot].vcore);
	return vcore >= p->max_vcores || up_load_relaxed(&p->vc[vcore].notif_disabled);
}

static void ring(struct up_port *port, uint32_t slot)
{
	struct up_embed *e = port->side;

	/* A call that another caller has carried out meanwhile may have changed where we are. */
	UP_ASSERT(may_ring(e, slot) || !pending(e, slot));
	if (!lock_unless_taken(e, slot))
		return;
	UP_INJECT(embed_locked);
	if (e->proc)
		up_kern_drain(e->kern, e->proc, slot, up_now_ns());
	else
		up_port_lose(port, -ESRCH); /* or the caller would wait for an answer */
	leave(e, false);
}

static bool cfg_ok(const struct up_embed_cfg *cfg)
{
	return cfg && cfg->ops && cfg->max_pcores && cfg->max_vcores && cfg->max_acts;
}

static int create_kern(struct up_embed *e, const struct up_embed_cfg *cfg)
{
	struct up_kern_cfg kc = {
		.max_pcores = cfg->max_pcores,
		.grace_ns = cfg->grace_ns,
		.alloc = kern_alloc,
		.free = kern_free,
	};
	struct up_proc_cfg pc = {
		.max_vcores = cfg->max_vcores,
		.max_acts = cfg->max_acts,
		.os_pid = (uint32_t)getpid(),
		.standby = !!(cfg->mechanisms & UPABI_MECH_WATCHER),
		.mechanisms = cfg->mechanisms | UPABI_MECH_EMBEDDED,
		.info = e->region.info,
		.data = e->region.data,
		.host = e,
	};
	int ret = up_kern_create(&kc, &e->kern);

	if (!ret)
		ret = up_kern_proc_create(e->kern, &pc, up_now_ns(), &e->proc);
	if (!ret)
		ret = up_kern_run(e->kern, e->proc, up_now_ns());
	return ret;
}

int up_embed_create(const struct up_embed_cfg *cfg, struct up_embed **ret_embed)
{
	struct up_region_cfg rc;
	struct up_embed *e;
	int ret;

	if (!cfg_ok(cfg) || !ret_embed)
		return -EINVAL;
	e = UP_INJECT_FAIL(embed_create_alloc) ? NULL : up_region_alloc(sizeof(*e), true);
	if (!e)
		return -ENOMEM;
	e->ops = *cfg->ops;
	e->arg = cfg->arg;
	e->pid = getpid();
	rc = (struct up_region_cfg){ cfg->max_vcores, cfg->max_pcores, cfg->max_acts, false };
	ret = up_region_create(&rc, &e->region);
	if (!ret)
		ret = create_kern(e, cfg);
	if (!ret)
		ret = up_port_init(&e->port, e->region.info_ro, e->region.data);
	if (ret) {
		up_embed_destroy(e);
		return ret;
	}
	e->port.ring = ring;
	e->port.side = e;
	*ret_embed = e;
	/* What running the process has decided is performed by the first to call. */
	return 0;
}

void up_embed_destroy(struct up_embed *e)
{
	if (!e)
		return;
	if (e->pid == getpid()) {
		up_kern_destroy(e->kern);
		up_region_fini(&e->region);
	}
	up_region_free(e, sizeof(*e));
}

struct up_port *up_embed_port(struct up_embed *e)
{
	return e ? &e->port : NULL;
}

int up_embed_core_add(struct up_embed *e, uint32_t pcore)
{
	int ret;

	if (!e)
		return -EINVAL;
	up_lock_take(&e->lock);
	ret = up_kern_core_add(e->kern, pcore, up_now_ns());
	leave(e, false);
	return ret;
}

int up_embed_core_remove(struct up_embed *e, uint32_t pcore, uint64_t deadline_ns)
{
	int ret;

	if (!e)
		return -EINVAL;
	up_lock_take(&e->lock);
	ret = up_kern_core_remove(e->kern, pcore, deadline_ns, up_now_ns());
	leave(e, false);
	return ret;
}

int up_embed_core_limit(struct up_embed *e, uint32_t limit)
{
	int ret;

	if (!e)
		return -EINVAL;
	up_lock_take(&e->lock);
	ret = up_kern_core_limit(e->kern, limit, up_now_ns());
	leave(e, false);
	return ret;
}

void up_embed_tick(struct up_embed *e)
{
	if (!e)
		return;
	up_lock_take(&e->lock);
	up_kern_tick(e->kern, up_now_ns());
	leave(e, true);
}

int up_embed_effect_done(struct up_embed *e, uint64_t id, int status)
{
	int ret;

	if (!e)
		return -EINVAL;
	up_lock_take(&e->lock);
	ret = up_kern_effect_done(e->kern, id, status, up_now_ns());
	leave(e, false);
	return ret;
}

int up_embed_post(struct up_embed *e, uint32_t vcore, const struct upabi_event *ev)
{
	int ret = -ESRCH;

	if (!e || !ev)
		return -EINVAL;
	up_lock_take(&e->lock);
	if (e->proc)
		ret = up_kern_post(e->kern, e->proc, vcore, ev, up_now_ns());
	leave(e, false);
	return ret;
}

const char *up_embed_check(struct up_embed *e)
{
	const char *broken;

	if (!e)
		return "no kernel side";
	up_lock_take(&e->lock);
	broken = up_kern_check(e->kern);
	leave(e, false);
	return broken;
}
