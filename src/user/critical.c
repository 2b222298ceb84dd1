/* SPDX-License-Identifier: MIT */
/*
 * Critical sections, both ways of marking them.  See upcall/critical.h.
 */
#include "user/uthread.h"

#include <errno.h>

#include "base/atomic.h"
#include "base/mutant.h"
#include "base/syscall.h"

#define MAX_TABLES 64

struct table {
	const struct upcall_cs_range *from, *to;
	uintptr_t lo, hi; /* no section starts below lo or ends above hi */
};

static struct table tables[MAX_TABLES];
static uint32_t nr_tables;

static uintptr_t start_of(const struct upcall_cs_range *r)
{
	return (uintptr_t)&r->start + (uintptr_t)(intptr_t)r->start;
}

static uintptr_t copy_of(const struct upcall_cs_range *r)
{
	return (uintptr_t)&r->copy + (uintptr_t)(intptr_t)r->copy;
}

void upcall_critical_enter(void)
{
	if (up_arch_get_gs())
		up_gs_section_enter();
}

void upcall_critical_leave(void)
{
	/* Not entered, or ended meanwhile by a yield: nothing to leave. */
	if (up_arch_get_gs() && up_gs_depth() >= UP_CS_PROGRAM && up_gs_section_leave())
		up_section_ended();
}

int upcall_critical_register(const struct upcall_cs_range *from, const struct upcall_cs_range *to)
{
	struct table t = { from, to, UINTPTR_MAX, 0 };
	const struct upcall_cs_range *r;
	uint32_t at;

	if (!from || from > to)
		return -EINVAL;
	for (r = from; r < to; r++) {
		uintptr_t lo = start_of(r), hi = lo + r->length;

		if (!r->length || r->reserved)
			return -EINVAL;
		t.lo = lo < t.lo ? lo : t.lo;
		t.hi = hi > t.hi ? hi : t.hi;
	}
	at = up_fetch_add_relaxed(&nr_tables, 1);
	if (at >= MAX_TABLES) {
		up_fetch_sub_relaxed(&nr_tables, 1);
		return -ENOSPC;
	}
	tables[at].to = t.to;
	tables[at].lo = t.lo;
	tables[at].hi = t.hi;
	/* release: pairs with up_critical_redirect(): the rest of the entry is in place */
	up_store_release(&tables[at].from, from);
	return 0;
}

static bool redirect_in(const struct table *t, ucontext_t *uc)
{
	uintptr_t pc = up_frame_pc(uc);
	const struct upcall_cs_range *r;

	if (pc < t->lo || pc >= t->hi)
		return false;
	for (r = t->from; r < t->to; r++) {
		uintptr_t lo = start_of(r);

		/* At the first instruction nothing has been done yet: preempt there and then. */
		if (pc > lo && pc < lo + r->length) {
			up_frame_set_pc(uc, copy_of(r) + (pc - lo));
			return true;
		}
	}
	return false;
}

/* In the notification handler.  A program counter in a second copy is on its way out already,
 * and lies in none of the ranges: it may be preempted where the way out begins. */
bool up_critical_redirect(ucontext_t *uc)
{
	uint32_t i, nr = up_load_relaxed(&nr_tables);

	if (UP_MUT(section_range_not_seen))
		return false;
	for (i = 0; i < nr && i < MAX_TABLES; i++)
		if (up_load_acquire(&tables[i].from) && redirect_in(&tables[i], uc))
			return true;
	return false;
}

/* From the way out, with every register of its caller saved: be preempted now. */
__attribute__((target("general-regs-only"))) void up_critical_give_way(void)
{
	struct up_act *a;

	if (!up_arch_get_gs())
		return;
	/* Moved between these lines, it prods an activation in vain and has given way already. */
	a = up_act_self_vc();
	up_store_relaxed(&a->slice_due, 1);
	up_syscall3(SYS_tgkill, up_host.pid, a->gs.tid, up_host.signo);
}
