/* SPDX-License-Identifier: MIT */
/*
 * The watcher: for each vcore a SCHED_IDLE thread on the same core, always ready to run, which
 * Linux runs the moment that the vcore's activation leaves the processor for any reason.  It finds
 * out whether the activation is blocked inside the kernel and, if so, sets the pooled activation
 * that stands by to take the vcore over, then sleeps until the vcore's new activation wakes it.
 *
 * It is SCHED_IDLE for life (there is no way back without privilege), so it takes no lock, makes
 * no call into the kernel side, and never spins: where it can do nothing it sleeps.  Replacing is
 * one compare-and-swap of the victim's hand-over word; a victim that has moved on since the look
 * has another sequence number there.
 */
#include "host/act.h"

#include <errno.h>
#include <sched.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/inject.h"
#include "base/mutant.h"
#include "base/sanitize.h"
#include "base/syscall.h"
#include "host/task.h"

/* So often in a row we let one go first that stands by ready to run: Linux may owe it no turn. */
#define POLITE_TURNS 4

/* Field 3 of /proc/<tid>/stat stands behind the last ')'. */
static bool is_uninterruptible(const struct up_act *a)
{
	char buf[128];
	long n = up_syscall4(SYS_pread64, a->stat_fd, buf, sizeof(buf), 0);
	long i;

	for (i = n - 1; i > 0 && buf[i] != ')'; i--)
		;
	return i > 0 && i + 2 < n && buf[i + 2] == 'D';
}

/* The last field of the line: where the call was made from. */
static uint64_t last_hex(const char *buf, long n)
{
	uint64_t v = 0;
	long i;

	while (n > 0 && buf[n - 1] == '\n')
		n--;
	for (i = n; i > 0 && buf[i - 1] != 'x'; i--)
		;
	for (; i > 0 && i < n; i++)
		v = v << 4 | (uint64_t)(buf[i] <= '9' ? buf[i] - '0' : buf[i] - 'a' + 10);
	return v;
}

/* The call's number, which stands first: -1 outside of any. */
static long first_number(const char *buf)
{
	long v = 0;

	if (*buf == '-')
		return -1;
	for (; *buf >= '0' && *buf <= '9'; buf++)
		v = v * 10 + *buf - '0';
	return v;
}

/* Those that sleep uninterruptibly when they sleep.  Only a name for counts and events: the state
 * itself costs more than all the rest of a look, and only the way home by signal needs it. */
static bool sleeps_uninterruptibly(long nr)
{
	switch (nr) {
	case SYS_clone:
	case SYS_clone3:
#ifdef SYS_vfork
	case SYS_vfork:
#endif
	case SYS_fsync:
	case SYS_fdatasync:
	case SYS_msync:
	case SYS_sync:
	case SYS_syncfs:
	case SYS_sync_file_range:
		return true;
	default:
		return false;
	}
}

/* Being led home already: the way back is known there, and would be forgotten for one that leads there
 * once more.  Linux kills for a sequence that begins where it is left to. */
static bool on_its_way_home(uint64_t pc)
{
	return pc >= (uintptr_t)up_arch_came_back && pc < (uintptr_t)up_arch_came_back_end &&
	       !UP_MUT(led_home_twice);
}

/*
 * Where the program goes on when the call is over.  Not so where Linux has seen to the call's end
 * already, and sleeps on the way out: on a page of the stack for a signal's frame, the number is still
 * there and the program counter is the handler's.  The way home would take the handler for the call.
 */
static bool comes_back_to(uint64_t pc, long nr)
{
	if (UP_MUT(look_anywhere))
		return true;
	return nr != SYS_rt_sigreturn &&
	       up_frame_is_syscall(up_arch_peek16((const char *)(uintptr_t)pc - 2));
}

int up_task_look(const struct up_act *a, struct up_look *ret_look)
{
	char buf[160];
	long n, nr;

	/* Without /proc a look cannot tell a block from a wait for the processor. */
	if (a->syscall_fd < 0)
		return UP_CLASS_UNANNOUNCED;
	n = up_syscall4(SYS_pread64, a->syscall_fd, buf, sizeof(buf), 0);
	if (n <= 0 || buf[0] == 'r')
		return -EAGAIN;
	ret_look->pc = last_hex(buf, n);
	nr = first_number(buf);
	if (on_its_way_home(ret_look->pc) || (nr >= 0 && !comes_back_to(ret_look->pc, nr)))
		return -EAGAIN;
	ret_look->nr = (int)nr;
	ret_look->unint = up_home_by_rseq(nr < 0) ? sleeps_uninterruptibly(nr)
						  : is_uninterruptible(a);
	if (nr < 0)
		return UP_CLASS_FAULT; /* interruptible where another program is to mend it */
	return ret_look->unint ? UP_CLASS_UNINT : UP_CLASS_UNANNOUNCED;
}

int up_task_class(const struct up_act *a)
{
	struct up_look look;

	return up_task_look(a, &look);
}

/* False where it is no longer to be had: it was told by another, or has left its gate, or ends. */
static bool hand_over(struct up_watch *w, uint32_t v, struct up_act *a, struct up_act *b)
{
	uint64_t none = UP_TAKEOVER_NONE;

	/* release: pairs with step()'s exchange, which comes first or finds this */
	if (UP_MUT(told_twice))
		up_store_release(&b->takeover, up_takeover(a->num, v));
	else if (!up_cas_release(&b->takeover, &none, up_takeover(a->num, v)))
		return false;
	w->steals++;
	UP_INJECT(hand_over);
	if (b != (struct up_act *)up_arch_get_gs())
		up_port_gate_open(up_host.port, b->num);
	return true;
}

/* What it blocks in; -EAGAIN when it does not. */
static int class_of(const struct up_act *a, bool idle, struct up_look *ret_look)
{
	uint32_t call = up_load_relaxed(&a->gs.call);
	int class;

	/* We run on its core, so it does not, and in an announced call that is all we need to know:
	 * replaced while it merely waits for the processor, it finds that out on its way out. */
	if (call && idle)
		return UP_CLASS_ANNOUNCED;
	UP_INJECT(watch_looks);
	class = up_task_look(a, ret_look);
	/* Only now: it may have begun the call, and gone to sleep in it, since we came by. */
	if (!UP_MUT(call_looked_at_first))
		call = up_load_relaxed(&a->gs.call);
	return call && class >= 0 ? UP_CLASS_ANNOUNCED : class;
}

/* Asleep where we saw it: it is, if we have kept the core that it would need; else a second look says. */
static bool still_there(const struct up_act *a, bool here, int class, const struct up_look *look)
{
	struct up_look again;

	if (here && up_home_kept_core())
		return true;
	return up_task_look(a, &again) == class && again.pc == look->pc;
}

int up_watch_look(uint32_t v, enum up_from from)
{
	struct up_watch *w = &up_host.watch[v];
	struct up_act *a = up_load_acquire(&w->act), *b;
	struct up_look look = { 0 };
	uint64_t run, stolen;
	bool here;
	int class;

	if (!a)
		return 0;
	/* acquire: pairs with the exchange that entered uthread context */
	run = up_load_acquire(&a->gs.run);
	if (up_run_state(run) != UP_RUN_UTHREAD || up_load_relaxed(&a->vcore) != v)
		return 0; /* the second: it has left this vcore, and runs another */
	here = from != UP_FROM_AFAR && a->pcore == w->pcore;
	if (here)
		up_home_keep_core();
	class = class_of(a, here && from == UP_FROM_IDLE, &look);
	if (class < 0) {
		w->false_alarms++;
		return 0;
	}
	/* Only these come home by themselves, without a signal. */
	if (UP_COOPERATIVE && class != UP_CLASS_ANNOUNCED)
		return 0;
	b = up_act_get(up_load_acquire(&up_host.port->vmap[v].standby));
	if (!b) {
		w->no_standby++;
		return -EAGAIN;
	}
	UP_INJECT(watch_looked);
	if (class != UP_CLASS_ANNOUNCED) {
		/* Ours may be an old look, and somebody has led it home from a later sleep since. */
		if (up_home_by_rseq(class == UP_CLASS_FAULT) && !UP_MUT(old_look_leads) &&
		    !still_there(a, here, class, &look))
			return 0;
		up_home_set(a, class, look.pc);
		/* From here on it cannot come back unseen: it passes by where it is led to, which
		 * moves its word on.  So it must still sleep where we saw it. */
		if (!still_there(a, here, class, &look))
			return 0; /* the section stays: somebody else's may be the same one */
	}
	up_store_relaxed(&a->stolen_class, (uint32_t) class);
	stolen = run - UP_RUN_UTHREAD + UP_RUN_STOLEN;
	UP_INJECT(about_to_steal);
	if (UP_MUT(steal_without_cas))
		up_store_seq_cst(&a->gs.run, stolen);
	/* acq_rel: the victim's own exchange or this one comes first, never both */
	else if (!up_cas_acq_rel(&a->gs.run, &run, stolen))
		return 0;
	a->stats->blocked[class]++;
	UP_INJECT(stolen);
	up_home_call(a, class, look.unint);
	if (hand_over(w, v, a, b))
		return 1;
	up_replace_undo(a, v);
	return 0;
}

static void sleep_parked(struct up_watch *w)
{
	/* acquire: pairs with up_watch_arm() */
	while (up_load_acquire(&w->parked) && !up_load_acquire(&w->quit))
		up_futex_wait_private(&w->parked, 1, UP_FUTEX_FOREVER);
}

/* Sleeps unless the vcore has gone back to a uthread meanwhile. */
static void park(struct up_watch *w, uint32_t v)
{
	struct up_act *a;

	up_store_relaxed(&w->parked, 1);
	/* Full fence: parked is set before we look; the vcore enters uthread context by an
	 * exchange, then looks at parked.  One of the two sees the other. */
	up_fence_seq_cst();
	a = up_load_acquire(&w->act);
	if (a && up_load_relaxed(&w->online) && up_load_relaxed(&a->vcore) == v &&
	    up_load_relaxed(&w->pcore) != UPABI_NONE &&
	    up_run_state(up_load_acquire(&a->gs.run)) == UP_RUN_UTHREAD) {
		up_store_relaxed(&w->parked, 0);
		return;
	}
	sleep_parked(w);
}

/* Blocked, and nobody stands by: whoever comes to stand by wakes us, or the vcore itself.  False when
 * the wait was long. */
static bool park_until_standby(struct up_watch *w, uint32_t v, uint64_t wait_ns)
{
	int r = 0;

	up_store_relaxed(&w->parked, 1);
	/* Full fence: pairs with up_watch_arm()'s exchange, made after standby was written. */
	up_fence_seq_cst();
	if (up_load_acquire(&up_host.port->vmap[v].standby) == UPABI_NONE)
		r = up_futex_wait_private(&w->parked, 1, up_now_ns() + wait_ns);
	up_store_relaxed(&w->parked, 0);
	return r != -ETIMEDOUT;
}

/* False when there was nobody for as long as it may be. */
static bool comes_in_time(struct up_watch *w, uint32_t v, void *u)
{
	uint64_t left = up_patience_left(&w->patience, u, up_now_ns());

	return left && park_until_standby(w, v, left);
}

static void without_standby(struct up_watch *w, uint32_t v)
{
	struct up_act *a = up_load_acquire(&w->act);

	if (!a || comes_in_time(w, v, up_load_relaxed(&a->gs.uthread)))
		return;
	up_patience_end(&w->patience, up_now_ns());
	up_turn_out(v); /* where it cannot, the next call that it sleeps in may be another */
}

/* Somebody may have moved us (taskset -a): what we see from elsewhere says nothing of our core. */
static bool is_here(const struct up_watch *w)
{
	uint32_t cpu = up_home_cpu(up_arch_get_fs()), pcore = up_load_relaxed(&w->pcore);

	if ((int32_t)cpu < 0 || cpu == pcore || pcore == UPABI_NONE || UP_MUT(watcher_left_astray))
		return true;
	return up_task_pin(0, pcore) >= 0;
}

static void *watch_main(void *arg)
{
	uint32_t v = (uint32_t)(uintptr_t)arg;
	struct up_watch *w = &up_host.watch[v];
	struct sched_param sp = { 0 };
	unsigned polite = 0;
	struct up_act *a;
	int r;

	/* Before the release: whoever sees the number may call, and is not to be slept over. */
	up_store_relaxed(&w->parked, 1);
	up_store_release(&w->tid, (int)up_syscall0(SYS_gettid));
	pthread_setname_np(pthread_self(), "upcall-watch");
	up_task_slice(0, UP_SLICE_HELPER); /* it stays with one that turns SCHED_IDLE */
	sched_setscheduler(0, SCHED_IDLE, &sp);
	sleep_parked(w);
	while (!up_load_acquire(&w->quit)) {
		a = up_load_acquire(&w->act);
		if (!a || up_load_relaxed(&w->pcore) == UPABI_NONE ||
		    up_load_relaxed(&a->vcore) != v || !up_load_relaxed(&w->online) ||
		    up_run_state(up_load_acquire(&a->gs.run)) != UP_RUN_UTHREAD) {
			park(w, v);
			continue;
		}
		if (up_standby_is_ready(v) &&
		    (polite++ < POLITE_TURNS || UP_MUT(watcher_too_polite))) {
			/* Linux owed us a turn; the core is that one's, which wakes nobody. */
			up_syscall0(SYS_sched_yield);
			continue;
		}
		polite = 0;
		r = up_watch_look(v, is_here(w) ? UP_FROM_IDLE : UP_FROM_AFAR);
		if (r == -EAGAIN)
			without_standby(w, v);
		else if (!r)
			up_syscall0(
				SYS_sched_yield); /* it waits for the processor: out of its way */
	}
	return NULL;
}

void up_watch_arm(uint32_t v)
{
	struct up_watch *w = &up_host.watch[v];

	if (UP_MUT(watcher_not_rearmed))
		return;
	/* acq_rel: pairs with park(): either it sees our context or we see that it sleeps */
	if (up_xchg_acq_rel(&w->parked, 0))
		up_futex_wake_private(&w->parked, 1);
}

void up_watch_pin(uint32_t v, uint32_t pcore)
{
	struct up_watch *w = &up_host.watch[v];

	up_store_relaxed(&w->pcore, pcore);
	if (pcore == UPABI_NONE || !w->tid)
		return;
	up_task_pin(w->tid, pcore);
	if (w->has_slicer)
		up_task_pin(w->slicer_tid, pcore);
}

int up_watch_start(uint32_t v)
{
	struct up_watch *w = &up_host.watch[v];
	pthread_attr_t attr;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64u << 10);
	r = UP_INJECT_FAIL(watch_start)
		    ? EAGAIN
		    : up_thread_create(&w->thread, &attr, watch_main, (void *)(uintptr_t)v);
	pthread_attr_destroy(&attr);
	while (!r && !up_load_acquire(&w->tid))
		up_syscall0(SYS_sched_yield);
	return -r;
}

/* Told first, all of them, then waited for: each needs a moment of its core, which it may not get
 * soon while others are at work there. */
void up_watch_quit(uint32_t v)
{
	up_store_release(&up_host.watch[v].quit, true);
	up_watch_arm(v);
}

void up_watch_stop(uint32_t v)
{
	struct up_watch *w = &up_host.watch[v];

	if (!w->tid)
		return;
	pthread_join(w->thread, NULL);
	w->tid = 0;
}
