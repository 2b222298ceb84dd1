/* SPDX-License-Identifier: MIT */
/*
 * An activation's life: made by pthread_create (so that libc knows that there are threads), pinned
 * where it runs a vcore, parked at its gate in between, let go of in bulk.
 *
 * The order that matters: a vcore may be run by another activation as soon as the kernel side has
 * answered a yield, a take or a block, so the loop makes those calls from its own stack and
 * touches the vcore no more afterwards.
 */
#include "host/act.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/inject.h"
#include "base/mutant.h"
#include "base/probe.h"
#include "base/sanitize.h"
#include "base/syscall.h"
#include "host/task.h"

#define OWN_STACK_SZ (128u << 10)
#define ALT_STACK_SZ (64u << 10)

struct up_act *up_act_get(uint32_t num)
{
	/* acquire: pairs with the release in act_register() */
	struct up_act *a = num < up_host.max_acts ? up_load_acquire(&up_host.acts[num]) : NULL;

	/* The slot's last tenant may be there yet, and its next one not. */
	return a && up_load_relaxed(&up_host.port->amap[num].task) == a->gs.tid ? a : NULL;
}

void up_act_pin(struct up_act *a, uint32_t pcore)
{
	if (up_task_pin((int)a->gs.tid, pcore) >= 0)
		a->pcore = pcore;
	else
		a->pcore = UPABI_NONE; /* the core went meanwhile: the keeper will see that */
}

void up_act_stay(struct up_act *a)
{
	uint32_t cpu = up_home_cpu(a->own_fs);

	if ((int32_t)cpu >= 0 && cpu != a->pcore && a->pcore != UPABI_NONE && !UP_MUT(astray_left))
		up_act_pin(a, a->pcore);
}

void up_act_unpin_self(void)
{
	up_syscall3(SYS_sched_setaffinity, 0, up_host.affinity_sz, up_host.affinity);
}

void up_act_repin_self(void)
{
	struct up_act *a = up_act_self_vc();

	if (a->pcore != UPABI_NONE)
		up_act_pin(a, a->pcore);
}

void up_act_unmask(struct up_act *a)
{
	up_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, &up_host.act_mask_raw, 0, 8);
	a->masked = false;
}

static int open_task_file(uint32_t tid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%u/%s", tid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static int set_altstack(struct up_act *a)
{
	void *at = mmap(NULL, ALT_STACK_SZ, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		return -errno;
	a->altstack = (stack_t){ .ss_sp = at, .ss_size = ALT_STACK_SZ };
	return sigaltstack(&a->altstack, NULL) ? -errno : 0;
}

/* The slice, and the call home after an unannounced block, both by this thread's own CPU time: it
 * stands still while the thread sleeps, so its signal never breaks into a sleep. */
static void make_timer(struct up_act *a)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = up_host.signo };
	struct itimerspec its = { 0 };

	ev._sigev_un._tid = (int)a->gs.tid;
	a->has_timer = timer_create(CLOCK_THREAD_CPUTIME_ID, &ev, &a->timer) == 0;
	if (a->has_timer && up_host.slice_ns && !up_host.use_slicer) {
		its.it_interval = its.it_value = up_ns_timespec(up_host.slice_ns);
		a->has_timer = !timer_settime(a->timer, 0, &its, NULL);
		if (!a->has_timer)
			timer_delete(a->timer);
	}
}

static void note_count(uint32_t nr)
{
	uint32_t was = up_load_relaxed(&up_host.nr_acts);

	/* release: pairs with who walks acts[] up to nr_acts */
	while (was < nr && !up_cas_release(&up_host.nr_acts, &was, nr))
		;
}

/* Tell the kernel side of this task, and be found by number. */
static int act_register(struct up_act *a)
{
	uint64_t arg[5] = { a->gs.tid }, num = 0;
	uint32_t slot = up_port_outside_get(up_host.port);
	int r = up_port_call(up_host.port, slot, UPABI_OP_ACT_ADD, arg, &num);

	up_port_outside_put(up_host.port, slot);
	if (r < 0)
		return r;
	a->num = (uint32_t)num;
	a->stats = &up_host.act_stats[num];
	UP_INJECT(act_added);
	up_store_relaxed(&a->takeover, UP_TAKEOVER_NONE);
	/* release: pairs with up_act_get(): the rest of *a is in place.  One that had the slot before us,
	 * and sleeps at its gate, has not been told yet: the bell for it may be late. */
	if (up_xchg_acq_rel(&up_host.acts[a->num], a))
		up_port_gate_open(up_host.port, a->num);
	note_count(a->num + 1);
	return 0;
}

/* Let go of by the kernel side?  The slot may be another's already, so the bell says nothing. */
static bool is_dropped(const struct up_act *a)
{
	const struct upabi_actmap *m = &up_host.port->amap[a->num];

	/* acquire: pairs with the kernel side's release of the state: whose it is stands there */
	if (up_load_acquire(&m->state) == UPABI_ACT_NONE)
		return true;
	return up_load_relaxed(&m->task) != a->gs.tid && !UP_MUT(drop_tenant_unchecked);
}

static void set_run(struct up_act *a, uint32_t state)
{
	uint64_t run = up_load_relaxed(&a->gs.run);

	/* release: pairs with the acquire of whoever looks whether we can be replaced */
	up_store_release(&a->gs.run, ((run | UP_RUN_MASK) - UP_RUN_MASK + UP_RUN_SEQ) | state);
}

/* For who reads from outside when the vcore has been online; the kernel side leaves these words alone
 * while it is. */
static void note_online(uint32_t v)
{
	const struct upabi_vcoremap *m = &up_host.port->vmap[v];
	struct upabi_run_vcore *t;

	if (v >= up_host.nr_times)
		return;
	t = &up_host.times[v];
	up_store_relaxed(&t->stretches, t->stretches + !t->since_ns);
	up_store_relaxed(&t->pcore, up_load_relaxed(&m->pcore));
	up_store_relaxed(&t->total_ns, up_load_relaxed(&m->total_ns));
	/* release: who sees it online sees what was before */
	up_store_release(&t->since_ns, up_load_relaxed(&m->resume_ns));
}

/* Before the vcore may be somebody else's. */
static void note_offline(uint32_t v)
{
	struct upabi_run_vcore *t;
	uint64_t since;

	if (v >= up_host.nr_times || !up_host.times[v].since_ns || UP_MUT(offline_unpublished))
		return;
	t = &up_host.times[v];
	since = t->since_ns;
	/* In this order: a reader between the two misses a stretch, and counts none twice. */
	up_store_relaxed(&t->since_ns, 0);
	up_store_release(&t->total_ns, t->total_ns + up_now_ns() - since);
}

/* The single context of a single-core process: Linux' to place, and not to be replaced. */
void up_act_be_single(struct up_act *a)
{
	if (a->pcore != UPABI_NONE)
		up_act_unpin_self();
	a->pcore = UPABI_NONE;
	a->gs.parked = &a->never_parked;
	up_watch_pin(a->vcore, UPABI_NONE);
	note_offline(a->vcore);
}

static void attach(struct up_act *a, uint32_t v)
{
	struct up_watch *w = &up_host.watch[v];
	struct up_port *port = up_host.port;
	uint32_t pcore = up_load_acquire(&port->vmap[v].pcore);

	up_store_relaxed(&a->vcore, v);
	set_run(a, UP_RUN_VCORE);
	if (pcore == UPABI_NONE)
		up_act_be_single(a);
	else if (pcore != a->pcore)
		up_act_pin(a, pcore);
	a->gs.disabled = &port->vc[v].notif_disabled;
	a->gs.pending = &port->vc[v].notif_pending;
	a->gs.parked = pcore == UPABI_NONE ? &a->never_parked : &w->parked;
	a->gs.vc_stack = up_host.hooks.vc_stack(v);
	up_store_relaxed(a->gs.disabled, 1);
	/* Something may have come while nobody was online: look once before any uthread runs. */
	up_store_relaxed(a->gs.pending, 1);
	if (w->pcore != pcore && pcore != UPABI_NONE)
		up_watch_pin(v, pcore);
	if (!w->tid && !w->wanted) {
		up_store_relaxed(&w->wanted, 1);
		up_keeper_ring();
	}
	if (pcore != UPABI_NONE)
		note_online(v);
	if (!a->took_over)
		UP_PROBE2(vcore__online, v, pcore);
	up_store_relaxed(&w->online, 1);
	/* release: pairs with the watcher's acquire: a's words are those of this vcore */
	up_store_release(&w->act, a);
}

int up_act_call(enum upabi_op op, const uint64_t arg[5], uint64_t *ret_val)
{
	struct up_act *a = up_act_self_vc();
	int r;

	/* relaxed: looked at by this thread's own signal handler */
	up_store_relaxed(&a->calling, 1);
	r = up_port_call(up_host.port, a->num, op, arg, ret_val);
	up_store_relaxed(&a->calling, 0);
	return r;
}

static int call_self(struct up_act *a, enum upabi_op op, uint64_t a0, uint64_t a1)
{
	uint64_t arg[5] = { a0, a1 };

	return up_port_call(up_host.port, a->num, op, arg, NULL);
}

/* Is the vcore ours still, by the kernel side's word? */
static bool has_vcore(const struct up_act *a)
{
	const struct upabi_actmap *m = &up_host.port->amap[a->num];

	return up_load_acquire(&m->state) == UPABI_ACT_RUNNING &&
	       up_load_acquire(&m->starts) == a->starts_seen;
}

static void count_behind(struct up_act *a, uint32_t class)
{
	uint64_t ns;

	a->stats->unblocked[class]++;
	a->stats->led_home[class] += a->gs.led;
	a->gs.led = 0;
	if (class == UP_CLASS_ANNOUNCED || up_home_by_rseq(class == UP_CLASS_FAULT))
		return; /* it has not run one instruction of its own */
	ns = up_thread_cpu_ns() - a->stolen_cpu_ns;
	a->stats->behind_ns += ns;
	a->stats->behind_max_ns = UP_MAX(a->stats->behind_max_ns, ns);
}

/* It has left its vcore: what is of use to others goes back to them. */
static void rest(struct up_act *a)
{
	if (up_host.hooks.rest)
		up_host.hooks.rest(a);
	up_replace_over(a);
}

/* True when the activation is to park.  False where the kernel side has refused our replacement (it
 * was wanted elsewhere by then, or it ended): we run the vcore still. */
static bool rejoin(struct up_act *a)
{
	bool accepted;

	up_home_unset(a);
	count_behind(a, up_load_acquire(&a->stolen_class));
	up_host.hooks.publish(a);
	UP_INJECT(rejoin_published);
	accepted = UP_MUT(rejoin_before_report) || up_replace_wait(a);
	set_run(a, UP_RUN_IDLE);
	if (accepted)
		rest(a);
	if ((accepted && !call_self(a, UPABI_OP_UNBLOCKED, a->num, up_standby_offers(a))) ||
	    !has_vcore(a))
		return true;
	attach(a, up_load_relaxed(&up_host.port->amap[a->num].vcore));
	return false;
}

/* Leaves the vcore, if the kernel side agrees.  Offline first: once the call is answered the vcore
 * may be somebody else's. */
bool up_act_leave_core(struct up_act *a, enum upabi_op op, const uint64_t arg[5])
{
	struct up_watch *w = &up_host.watch[a->vcore];

	if (!UP_MUT(online_cleared_late))
		up_store_relaxed(&w->online, 0);
	note_offline(a->vcore);
	UP_INJECT(leave_offline);
	UP_PROBE2(vcore__offline, a->vcore, op == UPABI_OP_PREEMPTED);
	if (!up_port_call(up_host.port, a->num, op, arg, NULL)) {
		UP_INJECT(leave_answered);
		if (UP_MUT(online_cleared_late))
			up_store_relaxed(&w->online, 0);
		return true;
	}
	if (!UP_MUT(online_left_cleared))
		up_store_relaxed(&w->online, 1);
	note_online(a->vcore);
	UP_PROBE2(vcore__online, a->vcore, a->pcore);
	UP_INJECT(leave_refused);
	return false;
}

static bool leave_core(struct up_act *a, enum upabi_op op, uint64_t arg1)
{
	uint64_t arg[5] = { a->vcore, arg1 };

	return up_act_leave_core(a, op, arg);
}

/* True when the activation is to park. */
static bool leave(struct up_act *a, uint64_t how)
{
	switch (how & 7) {
	case UP_OWN_REJOIN:
		return rejoin(a);
	case UP_OWN_YIELD:
	case UP_OWN_NICE:
		UP_INJECT(leave_yield);
		return leave_core(a, UPABI_OP_YIELD, (how & 7) == UP_OWN_NICE);
	case UP_OWN_TAKEN:
		UP_INJECT(leave_taken);
		return leave_core(a, UPABI_OP_PREEMPTED, 0);
	default:
		return up_host.hooks.leave(a, how);
	}
}

static void run_vcore(struct up_act *a, uint32_t v)
{
	uint64_t how;

	attach(a, v);
	do {
		how = up_arch_run_vcore(&a->gs.own_sp, a->gs.vc_stack, up_host.hooks.vc_entry, a);
		if (a->masked)
			up_act_unmask(a);
	} while (!leave(a, how));
	if (up_run_state(up_load_relaxed(&a->gs.run)) != UP_RUN_IDLE)
		set_run(a, UP_RUN_IDLE);
	rest(a);
}

static void take_over(struct up_act *a, struct up_act *victim, uint32_t v)
{
	if (up_replace_report(a, victim, v))
		return;
	a->victim = victim;
	a->took_over = true;
	run_vcore(a, v);
}

static void start(struct up_act *a)
{
	const struct upabi_actmap *m = &up_host.port->amap[a->num];
	uint32_t v;

	if (is_dropped(a))
		return; /* it is our successor's */
	/* acquire: pairs with the kernel side's release of a start: state and vcore are set */
	a->starts_seen = up_load_acquire(&m->starts);
	v = up_load_relaxed(&m->vcore);
	if (up_load_relaxed(&m->state) == UPABI_ACT_RUNNING && v < up_host.max_vcores)
		run_vcore(a, v);
}

/* One reason to leave the gate, or none. */
static bool step(struct up_act *a)
{
	const struct upabi_actmap *m = &up_host.port->amap[a->num];
	uint64_t told;

	if (up_load_relaxed(&a->takeover) == UP_TAKEOVER_NONE &&
	    up_load_acquire(&m->starts) == a->starts_seen)
		return false;
	up_store_relaxed(&a->ready, 0);
	/* acq_rel: a stealer's word comes first, or it finds us busy and chooses nobody */
	told = up_xchg_acq_rel(&a->takeover, UP_TAKEOVER_BUSY);
	if (told != UP_TAKEOVER_NONE)
		take_over(a, up_replace_victim(told), (uint32_t)told - 1);
	else
		start(a);
	/* release: pairs with hand_over(): what we did for the last vcore is over */
	up_store_release(&a->takeover, UP_TAKEOVER_NONE);
	return true;
}

/* Others found it by its number a moment ago and may still be looking: the memory stays one of an
 * activation's until the runtime stops. */
static void bury(struct up_act *a)
{
	struct up_act *head = up_load_relaxed(&up_host.graves);

	do
		a->next_grave = head;
	/* release: pairs with exhume(): we touch it no more */
	while (!up_cas_release(&up_host.graves, &head, a));
}

static struct up_act *exhume(void)
{
	struct up_act *a, *rest, *next;

	/* acquire: pairs with bury().  One thread makes activations, so none is taken twice. */
	a = up_xchg_acquire(&up_host.graves, NULL);
	for (rest = a ? a->next_grave : NULL; rest; rest = next) {
		next = rest->next_grave;
		bury(rest);
	}
	/* One that is slow may choose the dead one still: not before it is somebody again. */
	if (a) {
		memset(a, 0, offsetof(struct up_act, takeover));
		memset(&a->stolen_class, 0, sizeof(*a) - offsetof(struct up_act, stolen_class));
	}
	return a;
}

void up_act_clear_graves(void)
{
	struct up_act *a;

	while ((a = exhume()))
		munmap(a, sizeof(*a));
}

/* Unless it is another's by now. */
static void leave_slot(struct up_act *a)
{
	struct up_act *tenant = a;

	if (a->num == UPABI_NONE)
		return;
	if (UP_MUT(end_clears_another))
		up_store_release(&up_host.acts[a->num], NULL);
	else /* release: pairs with who takes the slot next */
		up_cas_release(&up_host.acts[a->num], &tenant, NULL);
}

static void act_fini(struct up_act *a)
{
	stack_t off = { .ss_flags = SS_DISABLE };

	up_replace_end(a);
	up_arch_set_gs(0);
	if (a->has_timer)
		timer_delete(a->timer);
	if (a->syscall_fd >= 0)
		close(a->syscall_fd);
	if (a->stat_fd >= 0)
		close(a->stat_fd);
	sigaltstack(&off, NULL);
	if (a->altstack.ss_sp)
		munmap(a->altstack.ss_sp, ALT_STACK_SZ);
	UP_INJECT(act_ends);
	leave_slot(a);
	bury(a);
	/* release: pairs with up_act_wait_gone() */
	if (up_fetch_sub_release(&up_host.living, 1) == 1)
		up_futex_wake_private(&up_host.living, INT32_MAX);
}

/* The thread is there, but not what it needs: whoever wanted it goes on wanting, at the keeper's
 * own pace. */
static void act_refused(int err)
{
	up_store_relaxed(&up_host.create_errno, -err);
	up_fetch_add_acq_rel(&up_host.want_acts, 1);
}

/* At its gate, until it is to end. */
static void serve(struct up_act *a)
{
	uint32_t seen;

	/* Full fence: we can be found, then we look; pairs with stop_acts(). */
	up_fence_seq_cst();
	for (;;) {
		/* Read before the reasons are, each of them: one that comes behind its look changes
		 * what we saw of the gate. */
		seen = up_port_gate(up_host.port, a->num);
		if (up_load_acquire(&up_host.stopping) || is_dropped(a))
			break;
		UP_INJECT(act_looked);
		if (UP_MUT(gate_seen_late))
			seen = up_port_gate(up_host.port, a->num);
		if (!step(a) && !up_standby_turn(a))
			up_port_gate_wait(up_host.port, a->num, seen);
		UP_INJECT(act_let_out);
	}
}

static void *act_main(void *arg)
{
	struct up_act *a = arg;
	int r;

	a->gs.tid = (uint32_t)up_syscall0(SYS_gettid);
	a->gs.self = &a->gs;
	a->own_fs = up_arch_get_fs();
	a->gs.fs = a->own_fs;
	up_arch_set_gs((uintptr_t)a);
	up_task_slice(0, UP_SLICE_ACT);
	pthread_setname_np(pthread_self(), "upcall-act");
	pthread_sigmask(SIG_SETMASK, &up_host.act_mask, NULL);
	a->syscall_fd = open_task_file(a->gs.tid, "syscall");
	a->stat_fd = open_task_file(a->gs.tid, "stat");
	make_timer(a);
	r = set_altstack(a);
	if (!r)
		r = act_register(a);
	if (r < 0) {
		act_refused(r);
		goto out;
	}
	serve(a);
out:
	act_fini(a);
	return NULL;
}

void up_act_wait_gone(void)
{
	uint32_t left;

	/* acquire: pairs with act_fini()'s release: the thread touches nothing of ours any more */
	while ((left = up_load_acquire(&up_host.living)))
		up_futex_wait_private(&up_host.living, left, UP_FUTEX_FOREVER);
}

/* By whoever makes activations: the start, then the keeper. */
static void note_living(uint32_t living)
{
	if (up_host.acts_peak && living > *up_host.acts_peak)
		up_store_relaxed(up_host.acts_peak, living);
}

int up_act_spawn(void)
{
	struct up_act *a;
	pthread_attr_t attr;
	sigset_t all, old;
	int r;

	if (up_load_relaxed(&up_host.living) >= up_host.max_acts)
		return -EAGAIN;
	a = exhume();
	if (!a)
		a = mmap(NULL, sizeof(*a), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (a == MAP_FAILED)
		return -errno;
	a->pcore = UPABI_NONE;
	a->num = UPABI_NONE;
	a->syscall_fd = a->stat_fd = -1;
	note_living(up_fetch_add_relaxed(&up_host.living, 1) + 1);
	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, OWN_STACK_SZ);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = UP_INJECT_FAIL(act_spawn) ? EAGAIN : up_thread_create(&a->thread, &attr, act_main, a);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (r) {
		bury(a); /* one that was somebody's before may be looked at still */
		up_fetch_sub_release(&up_host.living, 1);
	}
	return -r;
}

void up_act_freeze(struct up_act *a)
{
	uint64_t arg[5] = { a->vcore, 1 };
	const struct upabi_actmap *m = &up_host.port->amap[a->num];
	/* It runs, so nobody starts it: what changes this is the start that thaws it. */
	uint32_t seen, before = up_load_acquire(&m->starts);

	up_store_relaxed(&a->freeze, 0);
	UP_INJECT(freeze_asked);
	note_offline(a->vcore);
	UP_PROBE2(vcore__offline, a->vcore, 1);
	if (up_port_call(up_host.port, a->num, UPABI_OP_PREEMPTED, arg, NULL)) {
		note_online(a->vcore);
		UP_PROBE2(vcore__online, a->vcore, a->pcore);
		return;
	}
	for (;;) {
		seen = up_load_acquire(&up_host.port->call[a->num].gate);
		UP_INJECT(freeze_looks);
		/* acquire: pairs with the kernel side's release of a start */
		if (up_load_acquire(&m->starts) != before)
			break;
		up_port_gate_wait(up_host.port, a->num, seen);
		if (UP_MUT(freeze_bell_believed))
			break;
	}
	a->starts_seen = up_load_acquire(&m->starts);
	attach(a, a->vcore);
}
