/* SPDX-License-Identifier: MIT */
/*
 * What every uthread is doing, written to a descriptor with raw writes alone: from a signal
 * handler, a watchdog, or a debugger's hand.  It takes no lock: what moves meanwhile is shown
 * blurred, and the walk is bounded by the number of uthreads.
 */
#include "user/uthread.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "base/atomic.h"
#include "base/mutant.h"
#include "base/syscall.h"

struct out {
	int fd;
	int err;
	size_t n;
	char buf[512];
};

/* What a file, a socket or a signal leaves of a piece is written after it, or refused by name. */
static void flush(struct out *o)
{
	size_t done = 0;
	long r;

	while (done < o->n && !o->err) {
		r = up_syscall3(SYS_write, o->fd, o->buf + done, o->n - done);
		if (r > 0)
			done += (size_t)r;
		else if (r != -EINTR)
			o->err = r ? (int)r : -EIO;
		if (UP_MUT(dump_rest_dropped))
			break;
	}
	o->n = 0;
}

static void put(struct out *o, const char *s)
{
	while (*s) {
		if (o->n == sizeof(o->buf))
			flush(o);
		o->buf[o->n++] = *s++;
	}
}

static void put_num(struct out *o, const char *label, uint64_t n)
{
	char num[24], *p = num + sizeof(num) - 1;

	*p = 0;
	do
		*--p = (char)('0' + n % 10);
	while (n /= 10);
	put(o, label);
	put(o, p);
}

static void put_hex(struct out *o, const char *label, uint64_t n)
{
	char num[24], *p = num + sizeof(num) - 1;

	*p = 0;
	do
		*--p = "0123456789abcdef"[n % 16];
	while (n /= 16);
	put(o, label);
	put(o, p);
}

/* Who blocks in the kernel does not get to say so: its activation was taken from under it. */
static uint32_t state_of(const struct up_uthread *u)
{
	uint32_t state = up_load_relaxed(&u->state), act = up_load_relaxed(&u->last_act);
	struct up_act *a = NULL;

	if (state == UP_U_RUNNING && act < up_load_relaxed(&up_host.nr_acts) &&
	    !UP_MUT(dump_blocked_runs))
		a = up_act_get(act);
	if (a && up_load_relaxed(&a->gs.uthread) == u &&
	    up_run_state(up_load_relaxed(&a->gs.run)) == UP_RUN_STOLEN)
		return UP_U_IN_KERNEL;
	return state;
}

static const char *state_name(uint32_t state)
{
	static const char *const names[] = { "new",	  "running", "ready", "waiting",
					     "in-kernel", "done",    "aside" };

	return state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}

/* Memory that may be gone by now. */
static bool peek(const void *at, void *ret, size_t sz)
{
	struct iovec to = { ret, sz }, from = { (void *)(uintptr_t)at, sz };

	return up_syscall6(SYS_process_vm_readv, up_host.pid, (long)&to, 1, (long)&from, 1, 0) ==
	       (long)sz;
}

/* Whoever has this thread pointer. */
static void put_owner(struct out *o, uintptr_t fs)
{
	const struct up_uthread *u;
	struct up_list *l;

	for (l = up_load_acquire(&up_rt.all.next); fs && l && l != &up_rt.all;
	     l = up_load_acquire(&l->next)) {
		u = up_container_of(l, struct up_uthread, all);
		if (u->live && u->fs == fs) {
			put_num(o, " held by uthread ", u->id);
			return;
		}
	}
	if (fs == UP_OWNER_HANDED)
		put(o, " handed over");
	else if (fs)
		put_hex(o, " held by thread 0x", fs);
}

static void put_wait(struct out *o, const struct up_uthread *u)
{
	static const char *const names[UP_WAIT_NR] = {
		[UP_WAIT_MUTEX] = "mutex",
		[UP_WAIT_COND] = "cond",
		[UP_WAIT_RDLOCK] = "rwlock to read",
		[UP_WAIT_WRLOCK] = "rwlock to write",
		[UP_WAIT_SEM] = "sem",
		[UP_WAIT_BARRIER] = "barrier",
		[UP_WAIT_ONCE] = "once",
		[UP_WAIT_WG] = "wg",
		[UP_WAIT_SEND] = "room in chan",
		[UP_WAIT_RECV] = "item of chan",
		[UP_WAIT_JOIN] = "end of",
		[UP_WAIT_IN] = "input of",
		[UP_WAIT_OUT] = "room in",
		[UP_WAIT_SLEEP] = "a moment",
	};
	uint32_t kind = up_load_relaxed(&u->wait.kind);
	const void *obj = up_load_relaxed(&u->wait.obj);
	struct upcall_rwlock rw;
	struct upcall_mutex m;

	if (up_load_relaxed(&u->state) != UP_U_ASIDE || kind >= UP_WAIT_NR || !names[kind])
		return;
	put(o, " waits for ");
	put(o, names[kind]);
	if (obj)
		put_hex(o, " 0x", (uintptr_t)obj);
	if (kind == UP_WAIT_MUTEX && peek(obj, &m, sizeof(m)))
		put_owner(o, m.owner);
	if ((kind == UP_WAIT_RDLOCK || kind == UP_WAIT_WRLOCK) && peek(obj, &rw, sizeof(rw)))
		put_owner(o, rw.owner);
}

static void put_uthread(struct out *o, const struct up_uthread *u)
{
	if (!u->live)
		return; /* a slot that is free */
	put_num(o, "uthread ", u->id);
	put(o, " ");
	put(o, u->name[0] ? u->name : "-");
	put(o, " ");
	put(o, state_name(state_of(u)));
	put_num(o, " act ", u->last_act == UPABI_NONE ? 0 : u->last_act);
	if (u->kind == UP_CTX_FRAME && u->frame)
		put_hex(o, " preempted at 0x", up_frame_pc(u->frame));
	put_hex(o, " fn 0x", (uintptr_t)u->fn);
	put_hex(o, " at 0x", (uintptr_t)u);
	put_wait(o, u);
	put(o, "\n");
}

static void put_act(struct out *o, struct up_act *a)
{
	static const char *const states[] = { "idle",	"vcore", "uthread", "?",
					      "stolen", "?",	 "?",	    "?" };
	struct up_uthread *u = up_load_relaxed(&a->gs.uthread);
	char look[100];
	long n = up_syscall4(SYS_pread64, a->syscall_fd, look, sizeof(look) - 1, 0);

	put_num(o, "activation ", a->num);
	put_num(o, " task ", a->gs.tid);
	put(o, " ");
	put(o, states[up_run_state(up_load_relaxed(&a->gs.run))]);
	put_num(o, " vcore ", a->vcore);
	put_num(o, " kern-state ", up_rt.port->amap[a->num].state);
	put_num(o, " section ", a->gs.cs_depth);
	put_num(o, " call ", a->gs.call);
	put_num(o, " starts ", up_rt.port->amap[a->num].starts);
	put_num(o, "/", a->starts_seen);
	put_num(o, " takeover ", (uint32_t)a->takeover);
	put_num(o, " signals ", a->stats->notified);
	put_num(o, "+", a->stats->deferred);
	put_num(o, "+", a->stats->spurious);
	if (u)
		put_num(o, " uthread ", u->id);
	put(o, " linux: ");
	look[n > 0 ? n : 0] = 0;
	put(o, look);
	if (n <= 0)
		put(o, "\n");
}

static void put_vcore(struct out *o, uint32_t v)
{
	const struct upabi_vcoremap *m = &up_rt.port->vmap[v];
	const struct upabi_vcoredata *d = &up_rt.port->vc[v];

	put_num(o, "vcore ", v);
	put_num(o, " online ", m->valid);
	put_num(o, " core ", m->pcore == UPABI_NONE ? 0 : m->pcore);
	put_num(o, " act ", m->act == UPABI_NONE ? 9999 : m->act);
	put_num(o, " standby ", m->standby == UPABI_NONE ? 9999 : m->standby);
	put_num(o, " flags ", m->flags);
	put_num(o, " disabled ", d->notif_disabled);
	put_num(o, " pending ", d->notif_pending);
	put_num(o, " ring ", d->ring_tail - d->ring_head);
	put_num(o, " watcher-parked ", up_host.watch[v].parked);
	put_num(o, " idle ", up_rt.vcores[v].idle);
	put(o, "\n");
}

int upcall_dump(int fd)
{
	struct out o = { .fd = fd };
	struct up_act *a;
	struct up_list *l;
	uint64_t made, live;
	uint32_t i;

	if (!up_rt.started)
		return -ENOTCONN;
	put_num(&o, "process state ", up_rt.port->info->state);
	put_num(&o, " vcores ", up_rt.port->info->num_vcores);
	put_num(&o, " target ", up_rt.target);
	up_slot_count(&made, &live);
	put_num(&o, " uthreads ", live);
	put(&o, "\n");
	for (i = 0; i < up_rt.max_vcores; i++)
		put_vcore(&o, i);
	for (i = 0; i < up_load_relaxed(&up_host.nr_acts); i++)
		if ((a = up_act_get(i))) /* once: it may end at any moment */
			put_act(&o, a);
	/* Nothing leaves the list: whoever adds to it meanwhile is met, or is not. */
	for (l = up_load_acquire(&up_rt.all.next); l && l != &up_rt.all;
	     l = up_load_acquire(&l->next))
		put_uthread(&o, up_container_of(l, struct up_uthread, all));
	flush(&o);
	return o.err;
}
