/* SPDX-License-Identifier: MIT */
/*
 * Notification, in every order: the real posting code against a vcore on its way out of vcore context,
 * step by step, with store buffers.  Whatever the order, the message is found or the vcore is
 * interrupted.  Races 1, 2 and 12.
 */
#include "explore.h"
#include "rig.h"

static struct rig r;
static struct {
	uint64_t found; /* messages read */
	uint64_t torn;	/* of those, not what was written */
	bool open;	/* left vcore context */
	bool interrupted;
} seen;

#define VAL UINT64_C(0x1122334455667788)

/* Vcore 0 is in vcore context, its ring empty, whatever `dirty` is pending. */
static void reset(void *arg)
{
	struct upabi_vcoredata *vd = rig_vd(&r, 0);

	rig_effects(&r);
	vd->notif_disabled = 1;
	vd->notif_pending = arg != NULL;
	vd->ring_head = vd->ring_tail = r.p->vcores[0].ring_tail = 0;
	memset(vd->mask, 0, sizeof(vd->mask));
	vd->ring[0].val = 0;
	memset(&seen, 0, sizeof(seen));
}

static void poster(void *arg)
{
	struct upabi_event ev = { .nr = UPABI_EV_USER, .val = VAL };

	up_kern_post(r.k, r.p, 0, &ev, r.now);
}

/* The vcore's side, as the process does it: pending, mail, open, fence, look once more. */
static void leaver(void *arg)
{
	struct upabi_vcoredata *vd = rig_vd(&r, 0);

	for (int round = 0; round < 3; round++) {
		uint32_t head = vd->ring_head;

		up_store_relaxed(&vd->notif_pending, 0u);
		up_fence_seq_cst(); /* pending is clear before the mail is looked at */
		while (head != up_load_acquire(&vd->ring_tail)) {
			uint64_t val = up_load_relaxed(&vd->ring[head % UPABI_RING_LEN].val);

			seen.found++;
			seen.torn += val != VAL;
			up_store_release(&vd->ring_head, ++head);
		}
		up_store_relaxed(&vd->notif_disabled, 0u);
		up_fence_seq_cst();
		if (!up_load_relaxed(&vd->notif_pending))
			break;
		up_store_relaxed(&vd->notif_disabled, 1u);
	}
	seen.open = true;
}

static const char *judge(void *arg)
{
	seen.interrupted = up_eff_queued(&r.p->vcores[0].notify);
	if (seen.torn)
		return "a message was read before it was written";
	if (seen.found > 1)
		return "a message was found twice";
	if (rig_vd(&r, 0)->ring_tail != 1)
		return "the message is not in the ring";
	if (!seen.found && !seen.interrupted && rig_vd(&r, 0)->notif_pending == 0)
		return "the message lies there and pending is clear";
	if (!seen.found && !seen.interrupted)
		return "the vcore runs on and nobody tells it";
	return NULL;
}

static void explore_from(void *dirty)
{
	struct explore e = {
		.reset = reset,
		.thread = { poster, leaver },
		.judge = judge,
		.arg = dirty,
		.nr_watch = 5,
	};
	struct explore_result res;
	struct upabi_vcoredata *vd;

	rig_many(&r, 1, 1, 2, 0);
	vd = rig_vd(&r, 0);
	r.data->evt[UPABI_EV_USER].flags = UPABI_EVF_NOTIFY;
	e.watch[0] = &vd->notif_pending;
	e.watch[1] = &vd->notif_disabled;
	e.watch[2] = &vd->ring_head;
	e.watch[3] = &vd->ring_tail;
	e.watch[4] = &vd->ring[0].val;
	explore_all(&e, &res);
	print_message("# %llu states, %llu runs\n", (unsigned long long)res.states,
		      (unsigned long long)res.runs);
	if (res.bad)
		fail_msg("%s: %s", res.bad, res.trace);
	assert_true(res.states > 100);
	reset(NULL);
	rig_fini(&r);
}

static void race_1_2_12_nothing_is_missed(void **state)
{
	explore_from(NULL);
}

/* It was pending already: that says nothing about an interrupt being under way (race 3). */
static void race_3_nor_when_it_was_pending(void **state)
{
	explore_from(&r);
}

/* The explorer itself: without the leaver's fence it must find the lost message. */
static void careless_leaver(void *arg)
{
	struct upabi_vcoredata *vd = rig_vd(&r, 0);

	up_store_relaxed(&vd->notif_pending, 0u);
	up_fence_seq_cst();
	if (up_load_acquire(&vd->ring_tail) != 0)
		seen.found = 1;
	up_store_relaxed(&vd->notif_disabled, 0u);
	(void)up_load_relaxed(&vd->notif_pending); /* no fence before it */
	if (up_load_relaxed(&vd->notif_pending))
		seen.found = 1;
}

static void the_explorer_can_fail(void **state)
{
	struct explore e = {
		.reset = reset,
		.thread = { poster, careless_leaver },
		.judge = judge,
		.nr_watch = 3,
	};
	struct explore_result res;
	struct upabi_vcoredata *vd;

	rig_many(&r, 1, 1, 2, 0);
	vd = rig_vd(&r, 0);
	r.data->evt[UPABI_EV_USER].flags = UPABI_EVF_NOTIFY;
	e.watch[0] = &vd->notif_pending;
	e.watch[1] = &vd->notif_disabled;
	e.watch[2] = &vd->ring_tail;
	explore_all(&e, &res);
	assert_non_null(res.bad);
	reset(NULL);
	rig_fini(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(race_1_2_12_nothing_is_missed),
	cmocka_unit_test(race_3_nor_when_it_was_pending),
	cmocka_unit_test(the_explorer_can_fail),
};

UNIT_MAIN(tests)
