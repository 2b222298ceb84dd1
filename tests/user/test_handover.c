/* SPDX-License-Identifier: MIT */
/*
 * A vcore changes hands, or nearly does: it is refused on its way out, left late, frozen, or replaced
 * before its start was collected. Each is held open at a point of injection until the other side has
 * done its part, and in the end the vcore must run, and be watched.
 */
#include "asleep.h"
#include "base/atomic.h"
#include "base/inject.h"
#include "base/syscall.h"
#include "rt.h"
#include "user/uthread.h"

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>

/* ---- a byte to sleep for, inside Linux, where nobody has announced it ---- */

static int pipe_fds[2];

static void *writes_byte(void *arg)
{
	CHECK_INT(write(pipe_fds[1], "", 1), 1);
	return arg;
}

/* Long beside whatever may hold it up, and less than a case may take. */
static void await_byte(void)
{
	struct pollfd p = { .fd = pipe_fds[0], .events = POLLIN };
	struct timespec long_enough = { 15, 0 };
	char byte;

	CHECK_INT(syscall(SYS_ppoll, &p, 1, &long_enough, NULL, 8), 1);
	CHECK_INT(read(pipe_fds[0], &byte, 1), 1);
}

/* One more that becomes ready on this vcore runs as soon as its caller sleeps, if the vcore is
 * watched: only then does it write the byte that ends the sleep. */
static void check_watched(void)
{
	struct upcall_uthread *u = rt_make(writes_byte, NULL);

	await_byte();
	rt_join(u);
}

static void hook_on(up_inject_fn fn, const char *const *points)
{
	CHECK_INT(pipe2(pipe_fds, O_CLOEXEC), 0);
	for (; *points; points++)
		CHECK(up_inject_find(*points) >= 0);
	up_inject_set_hook(fn, NULL);
}

/* ---- leaving ---- */

static atomic_uint held, posted, refused, leaver;
static atomic_bool let_go, passed;
static atomic_int replaced;

/* What a thread of the test does: the byte comes once the vcore is on its way out. */
static void *writes_when_held(void *arg)
{
	AWAIT(atomic_load(&held), sched_yield());
	return writes_byte(arg);
}

/* Between offline and the call, until there is mail; whoever looks meanwhile leaves the vcore alone. */
static int on_offline(unsigned nr, const char *name, void *arg)
{
	unsigned v, seen;

	if (!strcmp(name, "kern_posted"))
		atomic_fetch_add(&posted, 1);
	if (!strcmp(name, "leave_refused"))
		atomic_fetch_add(&refused, 1);
	if (strcmp(name, "leave_offline") || atomic_load(&let_go))
		return 0;
	v = up_act_self_vc()->vcore;
	CHECK_INT(up_load_relaxed(&up_host.watch[v].online), 0);
	seen = atomic_load(&posted);
	atomic_fetch_add(&held, 1);
	AWAIT(atomic_load(&posted) != seen || up_load_relaxed(&up_rt.port->vc[v].notif_pending),
	      up_syscall0(SYS_sched_yield));
	atomic_fetch_or(&replaced, up_watch_look(v, false));
	return 0;
}

static void *sleeps_twice(void *arg)
{
	await_byte();
	atomic_store(&let_go, true);
	check_watched();
	return arg;
}

/* The end of its uthread's sleep comes as mail while the vcore is leaving for want of work. */
static int refused_is_watched(void)
{
	static const char *const points[] = { "kern_posted", "leave_offline", "leave_refused",
					      NULL };
	struct upcall_uthread *u;
	pthread_t t;

	hook_on(on_offline, points);
	rt_start_opts((struct upcall_opts){ .vcores = 1, .no_slice = true });
	CHECK_INT(pthread_create(&t, NULL, writes_when_held, NULL), 0);
	u = rt_make(sleeps_twice, NULL);
	rt_join(u);
	CHECK_INT(pthread_join(t, NULL), 0);
	CHECK(atomic_load(&held));
	CHECK(atomic_load(&refused));
	CHECK_INT(atomic_load(&replaced), 0);
	rt_stop();
	return 0;
}

/* The answer is there, and the one that asked stands still until another runs the vcore. */
static int on_answered(unsigned nr, const char *name, void *arg)
{
	unsigned tid = (unsigned)up_syscall0(SYS_gettid);

	if (!strcmp(name, "act_looked") && tid == atomic_load(&leaver))
		atomic_store(&passed, true);
	if (strcmp(name, "leave_answered") || atomic_fetch_add(&held, 1))
		return 0;
	atomic_store(&leaver, tid);
	AWAIT(atomic_load(&let_go), up_syscall0(SYS_sched_yield));
	return 0;
}

static void *takes_over(void *arg)
{
	await_byte();
	CHECK(gettid() != (int)atomic_load(&leaver));
	atomic_store(&let_go, true);
	AWAIT(atomic_load(&passed), ); /* it is back at its gate, and has not touched the vcore */
	check_watched();
	return arg;
}

static int left_late(void)
{
	static const char *const points[] = { "act_looked", "leave_answered", NULL };
	struct upcall_uthread *u;
	pthread_t t;

	hook_on(on_answered, points);
	rt_start_opts((struct upcall_opts){ .vcores = 1, .no_slice = true });
	CHECK_INT(pthread_create(&t, NULL, writes_when_held, NULL), 0);
	u = rt_make(takes_over, NULL);
	rt_join(u);
	CHECK_INT(pthread_join(t, NULL), 0);
	rt_stop();
	return 0;
}

/* ---- frozen ---- */

static atomic_bool stop_it;
static atomic_uint laps, looks;

static void *spin(void *arg)
{
	atomic_store(&held, 1);
	while (!atomic_load(&stop_it))
		;
	return arg;
}

static void hog(unsigned vcore, const struct upcall_event *ev, void *arg)
{
	while (!atomic_load(&stop_it))
		atomic_fetch_add(&laps, 1);
}

/* The core is not given back at once: there is one less. */
static int on_freeze(unsigned nr, const char *name, void *arg)
{
	if (!strcmp(name, "freeze_asked"))
		up_embed_core_limit(up_host.embed, 1);
	if (!strcmp(name, "freeze_looks"))
		atomic_fetch_add(&looks, 1);
	return 0;
}

/* From here on the other vcore runs a handler that does not return.  Its number. */
static unsigned hog_other(void)
{
	unsigned nr, v = !upcall_vcore_id();

	CHECK_INT(upcall_event_alloc(&nr), 0);
	CHECK_INT(upcall_event_handle(nr, hog, NULL), 0);
	CHECK_INT(upcall_event_route(nr, (int)v, 1), 0);
	CHECK_INT(upcall_notify(nr, (int)v, 0, 0), 0);
	AWAIT(atomic_load(&laps), );
	return v;
}

/* Bells that mean nothing: it looks, and stays. */
static void ring_for_nothing(uint32_t act, unsigned times)
{
	const struct upabi_actmap *m = &up_rt.port->amap[act];
	unsigned before = atomic_load(&laps), seen;

	while (times--) {
		seen = atomic_load(&looks);
		up_port_gate_open(up_rt.port, act);
		AWAIT(atomic_load(&looks) != seen, );
		CHECK_INT(up_load_acquire(&m->state), UPABI_ACT_FROZEN);
	}
	rt_spin_ns(5 * MS);
	CHECK_INT(atomic_load(&laps), before);
}

static int frozen_until_started(void)
{
	static const char *const points[] = { "freeze_asked", "freeze_looks", NULL };
	struct upcall_uthread *u;
	uint32_t act, before;
	unsigned v;

	rt_need_cpus(2);
	hook_on(on_freeze, points);
	rt_start_opts((struct upcall_opts){ .vcores = 2, .no_slice = true });
	u = rt_make(spin, NULL);
	AWAIT(atomic_load(&held), );
	v = hog_other();
	act = up_load_acquire(&up_rt.port->vmap[v].act);
	upcall_critical_enter(); /* we keep our core, and do not give it up for the frozen one */
	CHECK_INT(upcall_preempt((int)v, 0), 0);
	AWAIT(atomic_load(&looks), );
	CHECK_INT(up_load_acquire(&up_rt.port->amap[act].state), UPABI_ACT_FROZEN);
	ring_for_nothing(act, 5);
	before = atomic_load(&laps);
	up_preempt_disable();
	up_embed_core_limit(up_host.embed, up_keeper_cores());
	up_preempt_enable();
	AWAIT(atomic_load(&laps) != before, );
	CHECK_INT(up_load_acquire(&up_rt.port->vmap[v].act), act);
	atomic_store(&stop_it, true);
	upcall_critical_leave();
	rt_join(u);
	rt_stop();
	return 0;
}

/* ---- replaced before its start was collected ---- */

#define BATCH 8 /* effects that are carried out of the lock at a time (host/embed.c) */

static atomic_uint ready_to_ring, starter, again;
static atomic_uint filler[BATCH];
static atomic_bool others_ran;

static bool is_filler(unsigned tid)
{
	unsigned i;

	for (i = 0; i < BATCH; i++)
		if (atomic_load(&filler[i]) == tid)
			return true;
	return false;
}

/* One that runs: what was started by this thread alone, and is awake without its bell. */
static void wake_started(void)
{
	unsigned v;

	for (v = 0; v < up_host.max_vcores; v++)
		if (up_load_acquire(&up_host.port->vmap[v].valid))
			up_port_gate_open(up_host.port, up_host.port->vmap[v].act);
}

static int on_batch(unsigned nr, const char *name, void *arg)
{
	unsigned tid = (unsigned)up_syscall0(SYS_gettid);

	if (!strcmp(name, "report_again"))
		atomic_fetch_add(&again, 1);
	if (!strcmp(name, "port_before_ring") && is_filler(tid)) {
		atomic_fetch_add(&ready_to_ring, 1);
		AWAIT(atomic_load(&let_go), up_syscall0(SYS_sched_yield));
	}
	/* The start is decided, and is not among what was carried out. */
	if (!strcmp(name, "embed_after_unlock") && tid == atomic_load(&starter) &&
	    !atomic_load(&let_go)) {
		wake_started();
		AWAIT(atomic_load(&others_ran), up_syscall0(SYS_sched_yield));
		atomic_store(&let_go, true);
	}
	return 0;
}

static int call_outside(enum upabi_op op)
{
	uint64_t arg[5] = { 0 };
	uint32_t slot = up_port_outside_get(up_rt.port);
	int r = up_port_call(up_rt.port, slot, op, arg, NULL);

	up_port_outside_put(up_rt.port, slot);
	return r;
}

/* A call that changes nothing, and that somebody else answers, who then has one more to wake. */
static void *fills(void *arg)
{
	atomic_store((atomic_uint *)arg, (unsigned)gettid());
	CHECK_INT(call_outside(UPABI_OP_ACT_DEL), 0);
	atomic_store((atomic_uint *)arg, 0);
	return NULL;
}

static void *starts_the_other(void *arg)
{
	AWAIT(atomic_load(&ready_to_ring) == BATCH, sched_yield());
	atomic_store(&starter, (unsigned)gettid());
	up_store_relaxed(&up_rt.port->data->res[UPABI_RES_CORES].wanted, 2);
	CHECK_INT(call_outside(UPABI_OP_REQUEST), 0);
	atomic_store(&starter, 0);
	return NULL;
}

static void *runs_meanwhile(void *arg)
{
	atomic_store(&others_ran, true);
	return writes_byte(arg);
}

static void *blocks_at_once(void *arg)
{
	struct upcall_uthread *u = rt_make(runs_meanwhile, NULL);

	await_byte();
	return u;
}

/* Nobody but those of the round calls the kernel side meanwhile, as a rule. */
static void start_behind_a_batch(void)
{
	pthread_t t[BATCH + 1];
	struct upcall_uthread *u;
	unsigned i;

	CHECK_INT(upcall_request(1, 0), 0);
	AWAIT(upcall_nr_vcores() == 1, upcall_yield());
	atomic_store(&ready_to_ring, 0);
	atomic_store(&let_go, false);
	atomic_store(&others_ran, false);
	u = rt_make(blocks_at_once, NULL);
	for (i = 0; i < BATCH; i++)
		CHECK_INT(pthread_create(&t[i], NULL, fills, &filler[i]), 0);
	CHECK_INT(pthread_create(&t[BATCH], NULL, starts_the_other, NULL), 0);
	AWAIT(atomic_load(&let_go), );
	for (i = 0; i < BATCH + 1; i++)
		CHECK_INT(pthread_join(t[i], NULL), 0);
	rt_join(rt_join(u));
}

static int block_before_collection(void)
{
	static const char *const points[] = { "report_again", "port_before_ring",
					      "embed_after_unlock", NULL };
	unsigned round;

	rt_need_cpus(2);
	hook_on(on_batch, points);
	rt_start_opts((struct upcall_opts){ .vcores = 2, .no_slice = true });
	for (round = 0; round < 50 && !atomic_load(&again); round++)
		start_behind_a_batch();
	CHECK(atomic_load(&again));
	rt_stop();
	return 0;
}

/* ---- two that have seen the same sleeper, one of them long ago ---- */

static int second_fds[2];
static atomic_int old_looker, director;
static int sleeper_tid;
static atomic_bool ran_on, slept_again;

static int on_looked(unsigned nr, const char *name, void *arg)
{
	int tid = (int)up_syscall0(SYS_gettid);

	if (!strcmp(name, "watch_start"))
		return 1;
	if (!strcmp(name, "watch_looked") && tid != atomic_load(&director)) {
		atomic_fetch_or(&held, tid == atomic_load(&old_looker)); /* else the lookout */
		AWAIT(atomic_load(&let_go), up_syscall0(SYS_sched_yield));
	}
	return 0;
}

static void *looks_long_ago(void *arg)
{
	atomic_store(&old_looker, asleep_self());
	CHECK_INT(up_watch_look(0, false), 0);
	return arg;
}

/* Not one instruction after the second call: then the vcore is somebody else's. */
static void *sleeps_here_and_there(void *arg)
{
	char byte;

	__atomic_store_n(&sleeper_tid, (int)up_syscall0(SYS_gettid), __ATOMIC_RELEASE);
	await_byte();
	atomic_store(&slept_again, true);
	CHECK_INT(read(second_fds[0], &byte, 1), 1);
	atomic_store(&ran_on, up_run_state(up_gs_run()) == UP_RUN_STOLEN);
	return arg;
}

static void *directs(void *arg)
{
	pthread_t old;

	atomic_store(&director, asleep_self());
	CHECK(asleep_wait(&sleeper_tid));
	AWAIT(up_load_acquire(&up_host.port->vmap[0].standby) != UPABI_NONE, sched_yield());
	CHECK_INT(pthread_create(&old, NULL, looks_long_ago, NULL), 0);
	AWAIT(atomic_load(&held), sched_yield());
	writes_byte(NULL);
	AWAIT(atomic_load(&slept_again), sched_yield());
	CHECK(asleep_wait(&sleeper_tid));
	AWAIT(up_watch_look(0, false) == 1, sched_yield());
	atomic_store(&let_go, true);
	CHECK_INT(pthread_join(old, NULL), 0);
	CHECK_INT(write(second_fds[1], "", 1), 1);
	return arg;
}

static int old_look(void)
{
	static const char *const points[] = { "watch_start", "watch_looked", NULL };
	pthread_t t;

	hook_on(on_looked, points);
	CHECK_INT(pipe2(second_fds, O_CLOEXEC), 0);
	rt_start_opts((struct upcall_opts){ .vcores = 1, .no_slice = true });
	if (!up_host.use_rseq)
		SKIP("this Linux does not lead home by rseq\n");
	CHECK_INT(pthread_create(&t, NULL, directs, NULL), 0);
	rt_join(rt_make(sleeps_here_and_there, NULL));
	CHECK_INT(pthread_join(t, NULL), 0);
	CHECK(!atomic_load(&ran_on));
	rt_stop();
	return 0;
}

/* Announced while somebody looks: he came by before the call began. */
static int on_looks(unsigned nr, const char *name, void *arg)
{
	if (!strcmp(name, "watch_start"))
		return 1;
	if (!strcmp(name, "watch_looks") && !atomic_load(&let_go)) {
		if ((int)up_syscall0(SYS_gettid) != atomic_load(&director)) { /* the lookout */
			AWAIT(atomic_load(&let_go), up_syscall0(SYS_sched_yield));
			return 0;
		}
		atomic_store(&held, 1);
		CHECK(asleep_wait(&sleeper_tid));
		atomic_store(&let_go, true);
	}
	return 0;
}

static void *announces(void *arg)
{
	char byte;

	AWAIT(atomic_load(&held), );
	__atomic_store_n(&sleeper_tid, (int)up_syscall0(SYS_gettid), __ATOMIC_RELEASE);
	CHECK_INT(announced_read(pipe_fds[0], &byte, 1), 1);
	return arg;
}

static void *looks_and_writes(void *arg)
{
	atomic_store(&director, asleep_self());
	AWAIT(up_load_acquire(&up_host.port->vmap[0].standby) != UPABI_NONE, sched_yield());
	AWAIT(up_watch_look(0, false) == 1, sched_yield());
	return writes_byte(arg);
}

static int announced_meanwhile(void)
{
	static const char *const points[] = { "watch_start", "watch_looks", NULL };
	struct upcall_stats st;
	pthread_t t;

	hook_on(on_looks, points);
	rt_start_opts((struct upcall_opts){ .vcores = 1, .no_slice = true });
	CHECK_INT(pthread_create(&t, NULL, looks_and_writes, NULL), 0);
	rt_join(rt_make(announces, NULL));
	CHECK_INT(pthread_join(t, NULL), 0);
	st = rt_stats();
	CHECK_INT(st.blocked[0], 1);
	CHECK_INT(st.blocked[3], 0);
	rt_stop();
	return 0;
}

/* ---- a replacement that is refused ---- */

static int refuse_some(unsigned nr, const char *name, void *arg)
{
	return !strcmp(name, "block_refused") && atomic_fetch_add(&refused, 1) < 3;
}

static void *waits_for_a_byte(void *arg)
{
	await_byte();
	return arg;
}

/* Whoever is ready must have its turn while the victim sleeps: only that ends the sleep. */
static int refused_while_asleep(void)
{
	const char *points[] = { "block_refused", NULL };
	struct upcall_uthread *sleeper, *writer;
	struct upcall_stats st;

	hook_on(refuse_some, points);
	rt_start_opts((struct upcall_opts){ .vcores = 1, .no_slice = true });
	sleeper = rt_make(waits_for_a_byte, NULL);
	writer = rt_make(writes_byte, NULL);
	rt_join(sleeper);
	rt_join(writer);
	CHECK(atomic_load(&refused) > 3);
	AWAIT((st = rt_stats(), st.blocked[0] + st.blocked[3] == st.unblocked[0] + st.unblocked[3]),
	      upcall_yield());
	rt_stop();
	return 0;
}

/* ---- work beside an idle core ---- */

static atomic_bool has_run;

static void *reads_then_runs(void *arg)
{
	char byte;

	CHECK_INT(read(pipe_fds[0], &byte, 1), 1);
	atomic_store(&has_run, true);
	return arg;
}

static void *spins_till_run(void *arg)
{
	while (!atomic_load(&has_run))
		;
	return arg;
}

static void *writes_when_idle(void *arg)
{
	AWAIT(upcall_nr_vcores() == 1, sched_yield());
	CHECK_INT(write(pipe_fds[1], "", 1), 1);
	return arg;
}

/* The only vcore learns of it between two looks at a uthread that it goes on with. */
static int unblocked_beside_an_idle_core(void)
{
	struct upcall_opts o = { .vcores = 2, .no_slice = true };
	struct upcall_uthread *reader, *spinner;
	pthread_t writer;
	unsigned i;

	rt_need_cpus(2);
	CHECK_INT(pipe2(pipe_fds, O_CLOEXEC), 0);
	rt_start_opts(o);
	for (i = 0; i < 10; i++) {
		atomic_store(&has_run, false);
		reader = rt_make(reads_then_runs, &o);
		spinner = rt_make(spins_till_run, &o);
		CHECK_INT(pthread_create(&writer, NULL, writes_when_idle, NULL), 0);
		rt_join(reader);
		rt_join(spinner);
		CHECK_INT(pthread_join(writer, NULL), 0);
	}
	rt_stop();
	return 0;
}

/* ---- a look ---- */

/* What the look makes of a thread of which Linux says this. */
static int look_at(int nr, const void *pc)
{
	struct up_act a = { .syscall_fd = memfd_create("syscall", MFD_CLOEXEC), .stat_fd = -1 };
	struct up_look look;
	int r;

	CHECK(a.syscall_fd >= 0);
	CHECK(dprintf(a.syscall_fd, "%d 0x1 0x0 0x0 0x8 0x0 0x0 0x7f0000001000 %p\n", nr, pc) > 0);
	r = up_task_look(&a, &look);
	close(a.syscall_fd);
	return r;
}

static void *looks_about(void *arg)
{
	/* mov $14, %eax; syscall; ret: where a call comes back to */
	static const unsigned char call[] = { 0xb8, 14, 0, 0, 0, 0x0f, 0x05, 0xc3 };
	char *gone = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(gone != MAP_FAILED);
	CHECK_INT(look_at(14, call + 7), UP_CLASS_UNANNOUNCED);
	CHECK_INT(look_at(14, call + 6), -EAGAIN);
	CHECK_INT(look_at(15, call + 7), -EAGAIN); /* rt_sigreturn() goes on elsewhere */
	CHECK_INT(look_at(-1, call), UP_CLASS_FAULT);
	/* It is being led home. */
	CHECK_INT(look_at(-1, up_arch_came_back), -EAGAIN);
	CHECK_INT(look_at(-1, up_arch_came_back_fault), -EAGAIN);
	CHECK_INT(look_at(-1, up_arch_came_back_fault + 4), -EAGAIN);
	/* A library that is unloaded while somebody looks at who was in it. */
	CHECK_INT(look_at(14, gone + 64), -EAGAIN);
	return arg;
}

/* The signals that the thread of that name blocks; all before it has the name. */
static unsigned long long blocked_by(const char *thread)
{
	unsigned long long blocked = ~0ull;
	char path[300], line[128];
	struct dirent *e;
	DIR *dir = opendir("/proc/self/task");
	FILE *f;

	CHECK(dir);
	while ((e = readdir(dir)) && blocked == ~0ull) {
		snprintf(path, sizeof(path), "/proc/self/task/%s/status", e->d_name);
		f = fopen(path, "re");
		if (f && fgets(line, sizeof(line), f) && strstr(line, thread))
			while (fgets(line, sizeof(line), f))
				sscanf(line, "SigBlk: %llx", &blocked);
		if (f)
			fclose(f);
	}
	closedir(dir);
	return blocked;
}

/* Whoever looks must be able to take the fault; one that has just been made has its maker's name for a
 * moment, and nothing open. */
static void check_takes_faults(const char *thread)
{
	AWAIT(!(blocked_by(thread) & 1ull << (SIGSEGV - 1)), upcall_yield());
}

static int looks_for_calls(void)
{
	rt_start(1);
	rt_join(rt_make(looks_about, NULL));
	check_takes_faults("upcall-lookout");
	check_takes_faults("upcall-watch");
	check_takes_faults("upcall-keeper");
	rt_stop();
	return 0;
}

static const struct apart cases[] = {
	CASE("a vcore whose replacement is refused is replaced again", refused_while_asleep),
	CASE("one that unblocks is not left beside an idle core", unblocked_beside_an_idle_core),
	CASE("only who comes back to a call is taken to be in one", looks_for_calls),
	CASE("a vcore whose leave is refused is watched again", refused_is_watched),
	CASE("one that has left late leaves the vcore's next watched", left_late),
	CASE("a frozen vcore stands still until it is started, whatever rings",
	     frozen_until_started),
	CASE("an old look does not lead astray who sleeps elsewhere by now", old_look),
	CASE("a call that is announced while somebody looks is announced", announced_meanwhile),
	CASE("a block before the start was collected is reported again", block_before_collection),
};

APART_MAIN(cases)
