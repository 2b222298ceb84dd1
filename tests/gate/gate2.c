/* SPDX-License-Identifier: MIT */
/*
 * Gate 2, the hand-over: for each class of call, ours and hidden in somebody else's library, a
 * uthread blocks in the kernel, the next one runs on its vcore, and it comes back with the scheduler
 * when it unblocks, onto a vcore that is idle and onto one that is busy; beside nothing, beside a
 * process and beside a control group that spin on the same cores.
 *
 * Who releases the sleeper runs on the sleeper's own vcore (busy), or waits for the vcore to be given
 * back (idle): were the vcore not handed over, nobody would ever come, and the watchdog would.
 *
 * Three counts must agree, to the unit: the rounds made, each of which must block, since its releaser
 * waits for that; the blocks and unblocks that the runtime counted, which are also the times that the
 * scheduler was given a uthread for UPCALL_UNBLOCKED and what the kernel side counted; and Linux' own
 * count of the sleeper's voluntary switches between entering the call and being found asleep in it
 * (but for rounds in which it was preempted on its way in, and Linux' count may be another thread's).
 *
 * How each came home is counted too: where Linux of this release leads by rseq, all were led.
 *
 * Each scenario is a process of its own, of an ordinary user.
 */
#include "gate2.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "announced.h"
#include "base/atomic.h"
#include "base/bits.h"
#include "base/clock.h"
#include "base/syscall.h"
#include "host/act.h"
#include "ordinary.h"
#include "tap.h"
#include "upcall/upcall.h"

enum phase {
	RUNNING,
	ENTERING,
	RELEASED
};

struct outcome {
	int error;
	int wrong; /* -errno of the first wrong result */
	unsigned wrong_round;
	unsigned rounds, back, behind, counted, starved;
	uint64_t kernel_switches, kside_blocked, kside_unblocked;
	uint64_t led_home[UP_CLASS_NR];
	uint64_t unseen_ran_ns;		/* of a sleep that should have been found: its watcher */
	uint64_t preempted_max;		/* of one round: how often Linux took the sleeper's core */
	bool preempted_unknown;		/* ... of another kernel thread than the one looked at */
	bool exact_calls, exact_faults; /* rseq leads home from them */
	uint64_t next_ns, next_max_ns, back_ns, back_max_ns;
	struct upcall_stats st;
};

struct setting {
	unsigned vcores;
	bool busy;
	enum gate2_beside beside;
};

static struct {
	const struct gate2_way *way;
	const struct setting *set;
	unsigned rounds;
	struct upcall_uthread *sleeper;
	/* atomic: */
	uint32_t phase;
	uint32_t round;
	uint32_t back; /* rounds whose sleeper the scheduler has been given */
	uint32_t over;
	uint32_t moved;	   /* the sleeper was put aside since it looked at itself */
	uint32_t queued;   /* the sleeper waits with the scheduler, for whatever reason */
	uint32_t released; /* rounds whose releaser is done */
	/* The sleeper writes before `phase`, with release; the releaser reads after acquire. */
	uint32_t tid;
	int vcore;
	uint64_t switches;
	uint64_t preempted;
	uint64_t blocked; /* of the way's class, before this round */
	uint32_t watcher; /* of the vcore; its CPU time so far, and was it ready to run? */
	uint64_t watcher_ns;
	bool watcher_ready;
	bool nobody;	     /* stands by, so that it may be waiting for one */
	uint64_t no_standby; /* blocks that it has found and had nobody for */
	uint64_t enter_ns;
	uint64_t release_ns;
	uint64_t kernel_switches;
	unsigned counted; /* the rounds that kernel_switches is of */
	uint64_t next_ns[GATE2_ROUNDS_MAX], back_ns[GATE2_ROUNDS_MAX];
	struct outcome *out;
} g;

static unsigned opt_rounds = 20;
static bool opt_no_bounds; /* in emulation: figures are not compared */

/* ---- a scheduler that sees who comes back ---- */

static void watched_ready(struct upcall_uthread *u, unsigned vcore, enum upcall_why why)
{
	if (why == UPCALL_UNBLOCKED && u == g.sleeper) {
		g.back_ns[up_load_relaxed(&g.round)] = up_now_ns();
		up_store_relaxed(&g.back, up_load_relaxed(&g.back) + 1);
	} else if (u == g.sleeper)
		up_store_relaxed(&g.moved, 1);
	if (u == g.sleeper)
		up_store_relaxed(&g.queued, 1); /* a hint to give way; the queue's lock orders */
	upcall_sched_steal.ready(u, vcore, why);
}

static struct upcall_uthread *watched_pick(unsigned vcore)
{
	struct upcall_uthread *u = upcall_sched_steal.pick(vcore);

	if (u && u == g.sleeper)
		up_store_relaxed(&g.queued, 0);
	return u;
}

static int watched_init(unsigned max_vcores)
{
	return upcall_sched_steal.init(max_vcores);
}

static void watched_fini(void)
{
	upcall_sched_steal.fini();
}

static const struct upcall_sched_ops watched = {
	.size = sizeof(watched),
	.name = "watched steal",
	.init = watched_init,
	.fini = watched_fini,
	.ready = watched_ready,
	.pick = watched_pick,
};

/* ---- the sleeper ---- */

/* After so long it is released all the same, and the counts say what went wrong. */
#define PATIENCE_NS 1000000000

static uint64_t own_switches(void)
{
	struct rusage ru;

	up_syscall2(SYS_getrusage, RUSAGE_THREAD, &ru);
	return (uint64_t)ru.ru_nvcsw;
}

static uint64_t blocked_so_far(void)
{
	struct upcall_stats st = { .size = sizeof(st) };

	return upcall_get_stats(&st) ? 0 : st.blocked[g.way->class_of_call];
}

/* Who we are to Linux, and where: once more when we were moved meanwhile. */
static void look_at_oneself(void)
{
	do {
		up_store_relaxed(&g.moved, 0);
		g.vcore = upcall_vcore_id();
		g.tid = (uint32_t)up_syscall0(SYS_gettid);
		g.blocked = blocked_so_far();
		g.preempted = gate2_preempted_of(g.tid);
		g.switches = own_switches();
	} while (up_load_relaxed(&g.moved));
}

/* Who is to find us asleep: it must be there, and ready to run the moment that we are not. */
static void look_at_watcher(void)
{
	g.watcher = (uint32_t)up_host.watch[g.vcore].tid;
	g.no_standby = up_load_relaxed(&up_host.watch[g.vcore].no_standby);
	g.nobody = up_load_acquire(&up_host.port->vmap[g.vcore].standby) == UPABI_NONE;
	g.watcher_ready = g.watcher && gate2_is_ready(g.watcher);
	g.watcher_ns = g.watcher ? up_host_cpu_ns(g.watcher) : 0;
}

/*
 * A sleep that ends by itself and that nobody has found is the runtime's fault, unless Linux gave
 * the vcore's watcher no time to look: it was ready before and ran for less than a fraction of the
 * sleep, other people's work having been on the core. (One that was asleep itself is let pass: it
 * waits for an activation to stand by, or lies down. One that looks in vain runs all along.) Or it
 * was found, and Linux had not yet let the next activation be made: that is counted.
 */
static void note_unseen(void)
{
	uint64_t ran;

	if (blocked_so_far() > g.blocked)
		return;
	ran = up_host_cpu_ns(g.watcher) - g.watcher_ns;
	if (up_load_relaxed(&g.moved) || /* it may have slept on another vcore */
	    g.nobody || !g.watcher_ready ||
	    up_load_relaxed(&up_host.watch[g.vcore].no_standby) != g.no_standby ||
	    ran < GATE2_SLEEP_NS / 4)
		g.out->starved++;
	else
		g.out->unseen_ran_ns = ran;
}

static void note_preempted(void)
{
	uint64_t n = gate2_preempted_of(g.tid) - g.preempted;

	if (up_load_relaxed(&g.moved))
		g.out->preempted_unknown = true;
	else if (n > g.out->preempted_max)
		g.out->preempted_max = n;
}

/* The first on a vcore may be early: the keeper has its watcher made as soon as it can. */
static void look_around(void)
{
	uint64_t from = up_now_ns();

	for (;;) {
		look_at_oneself();
		if (!g.way->ends_by_itself) /* nothing more: what it sleeps in is counted from here */
			break;
		look_at_watcher();
		if (g.watcher || up_now_ns() - from > PATIENCE_NS)
			break;
		upcall_yield();
	}
}

static void *sleeper_main(void *arg)
{
	unsigned r;
	int e;

	for (r = 0; r < g.rounds; r++) {
		up_store_relaxed(&g.round, r);
		look_around();
		g.enter_ns = up_now_ns();
		up_store_release(&g.phase, ENTERING);
		e = g.way->block(r);
		/* Where it may run behind, not into its next sleep: that is no block of its own. */
		while (up_run_state(up_gs_run()) == UP_RUN_STOLEN)
			up_cpu_relax();
		note_preempted();
		up_store_release(&g.phase, RUNNING);
		if (g.way->ends_by_itself)
			note_unseen();
		if (e && !g.out->wrong) {
			g.out->wrong = e;
			g.out->wrong_round = r;
		}
		while (!g.way->ends_by_itself && up_load_acquire(&g.released) <= r)
			upcall_yield(); /* what it opened for us may still be open */
		g.back_ns[r] = g.back_ns[r] > g.release_ns ? g.back_ns[r] - g.release_ns : 0;
	}
	up_store_release(&g.over, 1);
	return NULL;
}

/* ---- who releases it ---- */

/* In a library a lock or two may put it to sleep first, and it goes on on another vcore. */
static bool is_our_vcore(void)
{
	return upcall_vcore_id() == g.vcore || up_now_ns() - g.enter_ns > 100000000;
}

static bool is_foreign(const struct gate2_way *w)
{
	return !strcmp(w->where, "foreign");
}

static bool is_asleep(void)
{
	struct upcall_stats st = { .size = sizeof(st) };
	uint64_t waited = up_now_ns() - g.enter_ns;

	if (upcall_get_stats(&st))
		return false;
	return st.blocked[g.way->class_of_call] > g.blocked || waited > PATIENCE_NS;
}

/* An announced call may be replaced on its way to sleep: it is given the time to get there. */
static uint64_t switches_since(void)
{
	uint64_t n;

	do
		n = gate2_switches_of(g.tid) - g.switches;
	while (!n && up_now_ns() - g.enter_ns < PATIENCE_NS);
	return n;
}

/* One that was preempted on its way into the call may have gone in on another kernel thread. */
static void count_switches(void)
{
	uint64_t n = switches_since();

	if (up_load_relaxed(&g.moved))
		return;
	g.counted++;
	g.kernel_switches += n;
}

static void release(uint64_t resumed_ns)
{
	unsigned r = g.round;

	g.next_ns[r] = resumed_ns > g.enter_ns ? resumed_ns - g.enter_ns : 0;
	if (!g.way->ends_by_itself)
		count_switches();
	g.release_ns = g.way->ends_by_itself ? g.enter_ns + GATE2_SLEEP_NS : up_now_ns();
	if (g.way->release(r) && !g.out->wrong)
		g.out->wrong = -EIO;
	up_store_release(&g.released, r + 1);
}

static bool may_release(void)
{
	uint32_t entering = ENTERING;

	return up_load_acquire(&g.phase) == ENTERING && is_asleep() &&
	       up_cas_acquire(&g.phase, &entering, RELEASED);
}

/* Keeps its vcore busy while the sleeper sleeps, and gives way only when that one waits for it. */
static void *busy_main(void *arg)
{
	uint64_t resumed = up_now_ns();

	while (!up_load_acquire(&g.over)) {
		if (up_load_acquire(&g.phase) == ENTERING && is_our_vcore() && may_release())
			release(resumed);
		if (up_load_acquire(&g.phase) == RUNNING || up_load_relaxed(&g.queued)) {
			upcall_yield();
			resumed = up_now_ns();
		}
	}
	return NULL;
}

/* A plain thread: the vcores must have gone idle, and been given back, before it helps. */
static void *outside_main(void *arg)
{
	/* Not so often while the sleeper is on its way: it would take the core from it. */
	static const struct timespec soon = { 0, 20000 }, later = { 0, 1000000 };

	while (!up_load_acquire(&g.over)) {
		nanosleep(up_load_acquire(&g.phase) == RELEASED ? &later : &soon, NULL);
		if (upcall_nr_vcores() == 0 && may_release())
			release(0);
	}
	return NULL;
}

/* ---- one scenario ---- */

static void on_alarm(int sig)
{
	static const char word[] = "gate2: it hangs; what every uthread is doing:\n";

	up_syscall3(SYS_write, 2, word, sizeof(word) - 1);
	upcall_dump(2);
	_exit(3);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void spread(uint64_t *v, unsigned n, uint64_t *ret_median, uint64_t *ret_max)
{
	qsort(v, n, sizeof(*v), compare);
	*ret_median = v[n / 2];
	*ret_max = v[n - 1];
}

/* The last activation may still be telling the kernel side of its return. */
static void settle(struct outcome *o)
{
	const struct upabi_procinfo *i = up_host.port->info;
	unsigned tries;

	for (tries = 0; tries < 1000; tries++) {
		o->kside_blocked = up_load_acquire(&i->nr_blocked);
		o->kside_unblocked = up_load_acquire(&i->nr_unblocked);
		if (o->kside_blocked == o->kside_unblocked)
			break;
		announced_sleep_ns(1000000); /* a block itself, of no interest: read once more below */
	}
}

static void count_led_home(struct outcome *o)
{
	uint32_t i, c;

	for (c = 0; c < UP_CLASS_NR; c++) {
		o->led_home[c] = 0;
		for (i = 0; i < up_load_acquire(&up_host.nr_acts); i++)
			o->led_home[c] += up_load_relaxed(&up_host.act_stats[i].led_home[c]);
	}
}

static void collect(struct outcome *o)
{
	o->st.size = sizeof(o->st);
	o->error = upcall_get_stats(&o->st);
	count_led_home(o);
	o->back = g.back;
	o->behind = gate2_ran_behind;
	o->kernel_switches = g.kernel_switches;
	o->counted = g.counted;
	o->exact_calls = up_host.use_rseq;
	o->exact_faults = up_host.use_rseq_fault;
	spread(g.next_ns, g.rounds, &o->next_ns, &o->next_max_ns);
	spread(g.back_ns, g.rounds, &o->back_ns, &o->back_max_ns);
	settle(o);
}

static int run_uthreads(void)
{
	struct upcall_uthread *busy[64];
	unsigned i, nr = g.set->busy ? g.set->vcores : 0;
	int r = upcall_uthread_create(&g.sleeper, NULL, sleeper_main, NULL);

	for (i = 0; i < nr && !r; i++)
		r = upcall_uthread_create(&busy[i], NULL, busy_main, NULL);
	if (r)
		return r;
	upcall_uthread_join(g.sleeper, NULL);
	for (i = 0; i < nr; i++)
		upcall_uthread_join(busy[i], NULL);
	return 0;
}

static void scenario(struct outcome *o)
{
	struct upcall_opts opts = {
		.size = sizeof(opts), .vcores = g.set->vcores, .no_slice = true, .sched = &watched
	};
	const char *what;
	pthread_t outside;

	g.out = o;
	o->rounds = g.rounds;
	gate2_pin(g.set->vcores);
	signal(SIGALRM, on_alarm);
	alarm(15 + g.rounds / 10);
	o->error = ordinary_become(&what);
	if (!o->error)
		o->error = g.way->init(g.rounds);
	if (o->error)
		return;
	o->error = upcall_start(&opts);
	if (o->error)
		return;
	if (!g.set->busy)
		o->error = -pthread_create(&outside, NULL, outside_main, NULL);
	if (!o->error)
		o->error = run_uthreads();
	if (o->error)
		return;
	collect(o); /* before the next call that blocks */
	if (!g.set->busy)
		pthread_join(outside, NULL);
	g.way->fini();
	o->error = upcall_stop();
}

/* ---- judging ---- */

static const char *const class_name[] = { "announced", "fault", "uninterruptible", "unannounced" };

static uint64_t sum(const uint64_t v[4])
{
	return v[0] + v[1] + v[2] + v[3];
}

/* For the address space, which is held while a thread or a stack is being mapped. */
static unsigned waits_in(const struct outcome *o)
{
	return 1 + o->rounds / 100;
}

/*
 * A library may sleep on business of its own besides, a lock of libc's: that is a block of another class,
 * counted apart; but one more of the same in rows of unannounced calls. In any row somebody may have to
 * wait for the address space: now and then one more, in a fault (Linux before 6.4) or in a call of the
 * runtime's own. A call that is one critical section may have been replaced there already: then it is
 * not once more. One that was turned out of its sleep, nobody being there to replace it, is announced
 * when it is made again.
 */
static bool judge_rounds(const struct outcome *o, const struct gate2_way *w)
{
	uint64_t n = o->st.blocked[w->class_of_call], all = sum(o->st.blocked), waits = waits_in(o);

	if (w->class_of_call == UP_CLASS_UNANNOUNCED)
		n += UP_MIN(o->st.blocked[UP_CLASS_ANNOUNCED], o->st.restarts);

	if (w->ends_by_itself) /* those of the sleeper are the times that it was given back */
		return o->back && o->back <= o->rounds && o->back + o->starved >= o->rounds &&
		       n >= o->back && all <= o->back + waits;
	/* Without rseq the class is the sleep's, not the call's: a wait for the address space is one more. */
	if (is_foreign(w) && w->class_of_call == UP_CLASS_UNINT)
		return (n <= o->rounds || !o->exact_calls) && all >= o->rounds;
	if (w->class_of_call == UP_CLASS_ANNOUNCED && n != o->rounds)
		return false;
	if (is_foreign(w))
		return n >= o->rounds &&
		       (w->class_of_call == UP_CLASS_UNANNOUNCED || n <= o->rounds + waits);
	return n >= o->rounds && all <= o->rounds + waits;
}

static bool judge_counts(const struct outcome *o, const struct gate2_way *w)
{
	uint64_t n = o->st.blocked[w->class_of_call];
	bool good =
		judge_rounds(o, w) && (w->ends_by_itself || o->back >= UP_MIN(n, o->rounds)) &&
		o->back <= sum(o->st.blocked) &&
		!memcmp(o->st.blocked, o->st.unblocked, sizeof(o->st.blocked)) &&
		o->kside_blocked == o->kside_unblocked &&
		(w->ends_by_itself ||
		 /* a call that was put back to its beginning sleeps twice, and so may a fault */
		 (o->counted > o->rounds / 2 && o->kernel_switches >= o->counted &&
		  (is_foreign(w) ||
		   o->kernel_switches <= o->counted + o->st.restarts + waits_in(o))));

	if (!good && w->ends_by_itself)
		tap_note("a watcher ran %" PRIu64 " ns of a sleep, or none was found at all",
			 o->unseen_ran_ns);
	if (!good)
		tap_note("rounds %u (%u without a turn for the watcher), unblocked %" PRIu64
			 ", given to the scheduler %u, kernel side %" PRIu64 "/%" PRIu64
			 ", Linux %" PRIu64 " in %u rounds",
			 o->rounds, o->starved, sum(o->st.unblocked), o->back, o->kside_blocked,
			 o->kside_unblocked, o->kernel_switches, o->counted);
	return good;
}

static bool is_exact(const struct outcome *o, unsigned class)
{
	return class == UP_CLASS_FAULT ? o->exact_faults : o->exact_calls;
}

/*
 * Where rseq leads home, every one that was replaced has come home that way; but for those that a
 * notification met in their sleep, which the handler has put back and handed over: as exact. Linux'
 * release says what must be there, whatever the runtime has found out.
 */
static bool judge_led_home(const struct outcome *o)
{
	bool must = gate2_must_lead_home(), good = true;
	unsigned c;

	if (must && !(o->exact_calls && o->exact_faults)) {
		tap_note("this Linux leads home by rseq, and the runtime does not know it");
		return false;
	}
	for (c = UP_CLASS_FAULT; c < UP_CLASS_NR; c++)
		good = good && o->led_home[c] <= o->st.blocked[c] &&
		       (is_exact(o, c) ? o->led_home[c] + o->st.restarts >= o->st.blocked[c]
				       : !o->led_home[c]);
	return good && !o->led_home[UP_CLASS_ANNOUNCED];
}

/*
 * Exact means that not one came back to find its activation replaced. The bound is of
 * docs/handover.md: a stretch on the processor that holds a tick is the last, so each is shorter than
 * one, and there is one more stretch for each time that Linux took the core; one tick is slack, for
 * a tick that comes late and for the way home after it.
 */
static bool judge_behind(const struct outcome *o, unsigned class)
{
	uint64_t bound = (o->preempted_max + 2) * gate2_tick_ns();

	if (class == UP_CLASS_ANNOUNCED || class == UP_CLASS_UNINT || is_exact(o, class)) {
		if (o->behind)
			tap_note("%u of %u ran on beside the vcore", o->behind, o->rounds);
		return !o->behind;
	}
	if (o->st.behind_max_ns > bound)
		tap_note("ran behind for %" PRIu64 " ns", o->st.behind_max_ns);
	return o->st.behind_max_ns <= bound || o->preempted_unknown || opt_no_bounds;
}

/* By class: those of the row's own and, in libraries, of others. */
static void note_classes(const struct outcome *o)
{
	tap_note("blocked %" PRIu64 "/%" PRIu64 "/%" PRIu64 "/%" PRIu64 " %s, led home %" PRIu64
		 "/%" PRIu64 "/%" PRIu64
		 ", starved %u, behind at most %.1f us, preempted at most %" PRIu64 "%s",
		 o->st.blocked[0], o->st.blocked[1], o->st.blocked[2], o->st.blocked[3],
		 "(announced/fault/uninterruptible/unannounced)", o->led_home[1], o->led_home[2],
		 o->led_home[3], o->starved, (double)o->st.behind_max_ns / 1e3, o->preempted_max,
		 o->preempted_unknown ? " or more" : "");
}

static void judge(const struct gate2_way *w, const struct setting *s, const struct outcome *o,
		  int status)
{
	bool good = WIFEXITED(status) && !WEXITSTATUS(status) && !o->error && !o->wrong;

	if (!good)
		tap_note("status 0x%x, error %d, wrong result %d in round %u", status, o->error,
			 o->wrong, o->wrong_round);
	else
		good = judge_counts(o, w) & judge_led_home(o) & judge_behind(o, w->class_of_call);
	tap_ok(good, "%s %s (%s), %u vcores, %s, beside %s", class_name[w->class_of_call], w->name,
	       w->where, s->vcores, s->busy ? "busy" : "idle", gate2_beside_name[s->beside]);
	tap_note("to next %.1f us (max %.1f), back %.1f us (max %.1f), backstop %" PRIu64
		 ", behind %u of %u, restarts %" PRIu64 "/%" PRIu64,
		 (double)o->next_ns / 1e3, (double)o->next_max_ns / 1e3, (double)o->back_ns / 1e3,
		 (double)o->back_max_ns / 1e3, o->st.backstop, o->behind, o->rounds, o->st.restarts,
		 o->st.eintr_left);
	note_classes(o);
}

static struct outcome *shared_outcome(void)
{
	return mmap(NULL, sizeof(struct outcome), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static void try_one(const struct gate2_way *w, const struct setting *s)
{
	struct outcome *o = shared_outcome();
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		setpgid(0, 0);
		g.way = w;
		g.set = s;
		g.rounds = opt_rounds;
		scenario(o);
		_exit(0);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid > 0)
		kill(-pid, SIGKILL); /* children that a scenario that failed has left asleep */
	judge(w, s, o, status);
	munmap(o, sizeof(*o));
}

static void try_setting(const struct setting *s, const char *only)
{
	const char *why = gate2_beside_start(s->beside, s->vcores);
	const struct gate2_way *w;
	unsigned i;

	for (i = 0; i < gate2_nr_ways; i++) {
		w = &gate2_ways[i];
		if (only && strcmp(only, w->name))
			continue;
		if (why)
			tap_skip(w->name, "beside %s: %s", gate2_beside_name[s->beside], why);
		else
			try_one(w, s);
	}
	gate2_beside_stop();
}

static unsigned count_ways(const char *only)
{
	unsigned i, n = 0;

	for (i = 0; i < gate2_nr_ways; i++)
		n += !only || !strcmp(only, gate2_ways[i].name);
	return n;
}

/* ---- arguments ---- */

static unsigned number(const char *s, unsigned lo, unsigned hi)
{
	char *end;
	unsigned long n = strtoul(s, &end, 10);

	if (*end || n < lo || n > hi) {
		fprintf(stderr, "gate2: %s is not a number from %u to %u\n", s, lo, hi);
		exit(64);
	}
	return (unsigned)n;
}

static unsigned beside_number(const char *s)
{
	unsigned i;

	for (i = 0; i < BESIDE_NR; i++)
		if (!strcmp(s, gate2_beside_name[i]))
			return i;
	fprintf(stderr, "gate2: beside nothing, process or cgroup, not %s\n", s);
	exit(64);
}

int main(int argc, char **argv)
{
	static const struct option longopts[] = { { "rounds", required_argument, NULL, 'r' },
						  { "vcores", required_argument, NULL, 'v' },
						  { "beside", required_argument, NULL, 'b' },
						  { "way", required_argument, NULL, 'w' },
						  { "no-bounds", no_argument, NULL, 'n' },
						  { NULL, 0, NULL, 0 } };
	struct setting s = { 1, false, BESIDE_NOTHING };
	const char *only = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
		if (c == 'r')
			opt_rounds = number(optarg, 1, GATE2_ROUNDS_MAX);
		else if (c == 'v')
			s.vcores = number(optarg, 1, 64);
		else if (c == 'b')
			s.beside = (enum gate2_beside)beside_number(optarg);
		else if (c == 'w')
			only = optarg;
		else if (c == 'n')
			opt_no_bounds = true;
		else
			return 64;
	}
	if (s.vcores > gate2_nr_cpus()) {
		printf("1..0 # SKIP %u vcores want as many CPUs\n", s.vcores);
		return 77;
	}
	tap_plan(2 * count_ways(only));
	for (s.busy = false;; s.busy = true) {
		try_setting(&s, only);
		if (s.busy)
			break;
	}
	return tap_done();
}
