/* SPDX-License-Identifier: MIT */
/*
 * The host as a whole: starts and stops what Linux lends an embedded kernel side, and performs the
 * effects that it decides.  The effects run on whatever thread rang, often in vcore context: they
 * take no lock, allocate nothing and do not wait.
 */
#include "host/act.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/clock.h"
#include "base/inject.h"
#include "base/mutant.h"
#include "base/syscall.h"
#include "host/task.h"

struct up_host up_host;

uint64_t up_host_cpu_ns(uint32_t tid)
{
	struct timespec ts = { 0, 0 };

	/* Linux' encoding of "the CPU clock of that thread" */
	up_syscall2(SYS_clock_gettime, (int)(~tid << 3 | 6), &ts);
	return up_timespec_ns(&ts);
}

void up_host_note_affinity(void)
{
	long n = up_syscall3(SYS_sched_getaffinity, up_host.pid, sizeof(up_host.affinity),
			     up_host.affinity);

	if (n > 0)
		up_host.affinity_sz = (uint32_t)n;
}

static void eff_start(void *arg, const struct up_effect *e)
{
	UP_INJECT(eff_start);
	up_port_gate_open(up_host.port, e->act);
}

/* Only a uthread in user code is interrupted.  Vcore context and announced calls look by
 * themselves; one that is asleep inside Linux is being replaced, and its replacement looks. */
static void eff_notify(void *arg, const struct up_effect *e)
{
	struct up_act *a = up_act_get(e->act);

	if (!a || up_run_state(up_load_acquire(&a->gs.run)) != UP_RUN_UTHREAD ||
	    up_load_relaxed(&a->gs.call))
		return;
	if (&a->gs == (struct up_gs *)up_arch_get_gs()) {
		a->gs.due = 1; /* ourselves, and a call in here is a section: at its end, then */
		return;
	}
	/* Asleep: replaced here and now, if somebody stands by, or else by whoever comes to.  One
	 * that came back meanwhile is interrupted after all. */
	if (up_task_class(a) >= 0 &&
	    (up_watch_look(e->vcore, UP_FROM_AFAR) || up_task_class(a) >= 0))
		return;
	UP_INJECT(eff_notify);
	up_syscall3(SYS_tgkill, up_host.pid, a->gs.tid, up_host.signo);
}

static void eff_take(void *arg, const struct up_effect *e)
{
	eff_notify(arg, e);
	up_lookout_ring();
}

static void eff_standby(void *arg, const struct up_effect *e)
{
	if (e->vcore < up_host.max_vcores)
		up_watch_arm(e->vcore);
}

static void eff_want_act(void *arg, const struct up_effect *e)
{
	up_fetch_add_acq_rel(&up_host.want_acts, (uint32_t)UP_MAX(e->arg, UINT64_C(1)));
	up_keeper_ring();
}

static void eff_drop_act(void *arg, const struct up_effect *e)
{
	/* A bell only, for this may be late: by its actmap line each tells whether it is meant. */
	UP_INJECT(eff_drop);
	up_port_gate_open(up_host.port, e->act);
}

static void eff_deadline(void *arg, uint64_t deadline_ns)
{
	up_store_release(&up_host.deadline, deadline_ns);
	up_lookout_ring();
}

static const struct up_embed_ops embed_ops = {
	.start = eff_start,
	.notify = eff_notify,
	.take = eff_take,
	.standby = eff_standby,
	.want_act = eff_want_act,
	.drop_act = eff_drop_act,
	.deadline = eff_deadline,
};

static void make_mask(void)
{
	/* Faults, and what a call sends to its own thread: nobody else can take those. */
	static const int open[] = { SIGSEGV, SIGBUS, SIGFPE,  SIGILL,
				    SIGTRAP, SIGSYS, SIGPIPE, SIGXFSZ };
	size_t i;

	sigfillset(&up_host.act_mask);
	for (i = 0; i < UP_ARRAY_LEN(open); i++)
		sigdelset(&up_host.act_mask, open[i]);
	sigdelset(&up_host.act_mask, up_host.signo);
	memcpy(&up_host.act_mask_raw, &up_host.act_mask, 8);
}

static void *map_table(size_t sz)
{
	void *at = mmap(NULL, sz, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return at == MAP_FAILED ? NULL : at;
}

static uint64_t kernel_tick_ns(void)
{
	struct timespec ts = { 0, 4000000 };

	clock_getres(CLOCK_MONOTONIC_COARSE, &ts);
	return up_timespec_ns(&ts);
}

static void forget_tables(void)
{
	if (up_host.acts)
		munmap(up_host.acts, up_host.max_acts * sizeof(*up_host.acts));
	if (up_host.act_stats && !up_host.act_stats_lent)
		munmap(up_host.act_stats, up_host.max_acts * sizeof(*up_host.act_stats));
	if (up_host.watch)
		munmap(up_host.watch, up_host.max_vcores * sizeof(*up_host.watch));
	memset(&up_host, 0, sizeof(up_host));
}

/* Made and known to the kernel side, or ended for want of something. */
static int wait_for_first(void)
{
	while (!up_load_acquire(&up_host.nr_acts)) {
		if (!up_load_acquire(&up_host.living))
			return -up_load_relaxed(&up_host.create_errno);
		up_syscall0(SYS_sched_yield);
	}
	return 0;
}

static int start_threads(const struct up_host_cfg *cfg)
{
	struct up_embed_cfg ec = {
		.max_pcores = UP_MAX((uint32_t)sysconf(_SC_NPROCESSORS_CONF), cfg->max_vcores),
		.max_vcores = cfg->max_vcores,
		.max_acts = cfg->max_acts,
		.mechanisms = UPABI_MECH_WATCHER | UPABI_MECH_BACKSTOP | UPABI_MECH_EMBEDDED,
		.grace_ns = cfg->grace_ns,
		.ops = &embed_ops,
	};
	int r = up_embed_create(&ec, &up_host.embed);

	if (r)
		return r;
	up_host.port = up_embed_port(up_host.embed);
	r = up_keeper_start();
	/* One to run the first vcore: without it there is nothing; the rest comes as asked for. */
	if (!r)
		r = up_act_spawn();
	if (!r)
		r = wait_for_first();
	if (!r)
		up_lookout_start();
	return r;
}

int up_host_start(const struct up_host_cfg *cfg)
{
	int r;

	memset(&up_host, 0, sizeof(up_host));
	up_host.pid = (int)up_syscall0(SYS_getpid);
	up_host.max_vcores = cfg->max_vcores;
	up_host.max_acts = cfg->max_acts;
	up_host.signo = cfg->signo;
	up_host.slice_ns = cfg->slice_ns;
	up_host.tick_ns = kernel_tick_ns();
	up_host.use_slicer = cfg->slice_ns && cfg->slice_ns < up_host.tick_ns;
	up_host.has_slices = up_task_has_slice();
	up_home_init();
	up_arch_home_pid = (uint32_t)up_host.pid;
	up_arch_home_signo = (uint32_t)up_host.signo;
	up_host.hooks = cfg->hooks;
	up_host.acts = map_table(cfg->max_acts * sizeof(*up_host.acts));
	up_host.watch = map_table(cfg->max_vcores * sizeof(*up_host.watch));
	up_host.act_stats_lent = cfg->act_stats;
	up_host.act_stats = cfg->act_stats;
	if (!cfg->act_stats)
		up_host.act_stats = map_table(cfg->max_acts * sizeof(*up_host.act_stats));
	up_host.times = cfg->times;
	up_host.nr_times = cfg->nr_times;
	up_host.acts_peak = cfg->acts_peak;
	if (!up_host.acts || !up_host.watch || !up_host.act_stats) {
		forget_tables();
		return -ENOMEM;
	}
	make_mask();
	up_host_note_affinity();
	r = start_threads(cfg);
	if (r)
		up_host_stop();
	return r;
}

static void stop_acts(void)
{
	uint32_t i, nr;

	/* Full fence: one that is being made either sees this, or is rung for below. */
	up_store_release(&up_host.stopping, true);
	up_fence_seq_cst();
	nr = up_load_acquire(&up_host.nr_acts);
	for (i = 0; i < nr; i++)
		up_port_gate_open(up_host.port, i);
}

void up_host_stop(void)
{
	uint32_t v;

	up_keeper_stop();
	for (v = 0; up_host.watch && v < up_host.max_vcores; v++)
		up_watch_quit(v);
	for (v = 0; up_host.watch && v < up_host.max_vcores; v++) {
		up_slicer_stop(v);
		up_watch_stop(v);
	}
	if (up_host.port)
		stop_acts();
	up_act_wait_gone();
	up_keeper_forget();
	up_act_clear_graves();
	up_embed_destroy(up_host.embed);
	forget_tables();
}

void up_host_forget(void)
{
	up_keeper_forget();
	up_embed_destroy(up_host.embed);
	forget_tables();
}
