/* SPDX-License-Identifier: MIT */
/*
 * Notification: telling a vcore that something lies in its ring or bitmask.  The one rule: the
 * message first, then notif_pending, a full fence, and only then a look at notif_disabled.  The
 * vcore does the mirror image on its way out of vcore context (clear disabled, fence, test
 * pending), so that at least one of the two sees what the other wrote.
 */
#include "kern/types.h"

void up_notify_vcore(struct up_proc *p, uint32_t vcore)
{
	struct upabi_vcoredata *vd = up_data_vcore(p, vcore);
	struct up_vcore *vc = &p->vcores[vcore];

	/* Release: whoever sees pending finds the message. */
	up_store_release(&vd->notif_pending, 1u);
	UP_INJECT(kern_notify_pending);
	/* Orders pending's store before disabled's load, which no weaker fence does; pairs with the
	 * fence between the vcore's store of disabled and its load of pending. */
	if (!UP_MUT(notify_fence_dropped))
		up_fence_seq_cst();
	/* Relaxed: the fence has ordered it. */
	if (up_load_relaxed(&vd->notif_disabled))
		return;
	/* Nobody there; or a thread that nobody can interrupt; or it has yet to enter: it will look. */
	if (vc->act == UPABI_NONE || up_eff_queued(&vc->start))
		return;
	p->nr_notified++;
	up_eff_queue(&vc->notify);
}
