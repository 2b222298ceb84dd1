/* SPDX-License-Identifier: MIT */
/*
 * Starting and stopping: the process's way from single-core to many-core and back.
 *
 * The first thread's context becomes uthread 0.  The thread itself stays behind, on a stack and a
 * TLS block of its own, and receives the signals sent to the process: Linux prefers it, and
 * activations keep asynchronous signals blocked.
 */
#include "user/uthread.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/mutant.h"
#include "base/syscall.h"
#include "user/libc.h"
#include "user/publish.h"
#include "user/tls.h"

#define DEFAULT_ACTS	  4096u
#define DEFAULT_SLICE_NS  (10 * UP_NSEC_PER_MSEC)
#define DEFAULT_GRACE_NS  UP_NSEC_PER_MSEC
#define DEFAULT_STACK_SZ  (256u << 10)
#define MAX_VCORES	  16384u /* what the kernel side can number */
#define RECEIVER_STACK_SZ (256u << 10)
/* Its own tid is uthread 0's, by which libc's locks know their owner. */
#define RECEIVER_TID ((1u << 30) - 2)

/* The first thread, while uthread 0 is elsewhere. */
static struct {
	struct up_gs gs; /* stands in for an activation's while stacks are changed */
	void *room;	 /* its stack, with the guard */
	struct up_stack stack;
	uintptr_t fs;
	uint32_t home; /* uthread 0 wants its thread back */
	uint32_t wanted;
	uint64_t mask;
	int start_error;
} receiver;

/* One that can be blocked, and that does not mean a fault, nor what libc keeps to itself. */
static bool is_good_signal(int signo)
{
	static const int bad[] = { SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE,
				   SIGILL,  SIGTRAP, SIGSYS,  SIGABRT };
	size_t i;

	for (i = 0; i < UP_ARRAY_LEN(bad); i++)
		if (signo == bad[i])
			return false;
	return !signo || (signo > 0 && signo < 32) || (signo >= SIGRTMIN && signo <= SIGRTMAX);
}

static int check_opts(const struct upcall_opts *o)
{
	if (!o)
		return 0;
	if (o->size != sizeof(*o) || !is_good_signal(o->signo) || o->vcores > MAX_VCORES ||
	    o->max_acts > (1u << 22) || (o->stack_sz && o->stack_sz < upcall_min_stack()) ||
	    (o->slice_ns && o->slice_ns < 10 * UP_NSEC_PER_USEC))
		return -EINVAL;
	if (o->sched &&
	    (o->sched->size != sizeof(*o->sched) || !o->sched->ready || !o->sched->pick))
		return -EINVAL;
	return 0;
}

static void fill_host_cfg(const struct upcall_opts *o, struct up_host_cfg *cfg)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);

	memset(cfg, 0, sizeof(*cfg));
	cfg->max_vcores = UP_MAX(o && o->vcores ? o->vcores : 1, (uint32_t)UP_MAX(cpus, 1L));
	cfg->max_acts = o && o->max_acts ? o->max_acts : DEFAULT_ACTS;
	cfg->slice_ns = o && o->slice_ns ? o->slice_ns : DEFAULT_SLICE_NS;
	if ((o && o->no_slice) || UP_COOPERATIVE)
		cfg->slice_ns = 0;
	cfg->grace_ns = o && o->grace_ns ? o->grace_ns : DEFAULT_GRACE_NS;
	up_publish_host(cfg);
	cfg->signo = o && o->signo ? o->signo : SIGURG;
	cfg->hooks = (struct up_host_hooks){ .vc_stack = up_vcore_stack,
					     .vc_entry = up_vcore_entry,
					     .publish = up_vcore_publish,
					     .alarm = up_alarm_look,
					     .outranks = up_vcore_outranks,
					     .rest = up_slot_rest,
					     .leave = up_vcore_leave };
}

static int init_tls(const struct upcall_opts *o)
{
	int r;

	r = UP_COOPERATIVE ? -ENOTSUP : up_tls_probe();
	up_rt.tls_works = !r;
	up_rt.own_tls = !r && !(o && o->shared_tls);
	return r == -ENOTSUP ? 0 : r;
}

static void undo(void)
{
	if (up_rt.io)
		up_rt.io->fini();
	if (up_rt.fork)
		up_rt.fork->fini();
	if (up_rt.sched.fini)
		up_rt.sched.fini();
	up_alarm_fini();
	up_vcore_fini();
	if (receiver.fs)
		up_tls_destroy(receiver.fs);
	if (receiver.stack.sz) {
		up_stack_end(&receiver.stack);
		up_stack_unmap(receiver.room, RECEIVER_STACK_SZ, 1);
	}
	up_slot_fini();
	memset(&up_rt, 0, sizeof(up_rt));
	memset(&receiver, 0, sizeof(receiver));
}

static int make_receiver(void)
{
	int r = 0;

	receiver.room = up_stack_map(RECEIVER_STACK_SZ, 1);
	if (!receiver.room)
		return -ENOMEM;
	up_stack_begin(receiver.room, RECEIVER_STACK_SZ, &receiver.stack);
	if (up_rt.tls_works)
		r = up_tls_create(receiver.stack.lo, receiver.stack.sz, RECEIVER_TID, &receiver.fs);
	receiver.gs.self = &receiver.gs;
	receiver.gs.vc_stack = (char *)receiver.stack.lo + receiver.stack.sz - 128;
	receiver.gs.fs = receiver.fs ? receiver.fs : up_arch_get_fs();
	return r;
}

static int prepare(const struct upcall_opts *o, const struct upcall_sched_ops *default_sched,
		   struct up_host_cfg *cfg)
{
	int r;

	memset(&up_rt, 0, sizeof(up_rt));
	up_list_init(&up_rt.all);
	up_rt.stack_sz = o && o->stack_sz ? o->stack_sz : DEFAULT_STACK_SZ;
	up_rt.sched = o && o->sched ? *o->sched : *default_sched;
	fill_host_cfg(o, cfg);
	up_arch_init(up_vcore_again, up_critical_give_way, up_attend, up_direct_left);
	r = init_tls(o);
	if (!r)
		r = up_slot_init(cfg->max_acts);
	if (!r)
		r = up_vcore_init(cfg->max_vcores);
	if (!r)
		r = up_alarm_init(cfg->max_vcores);
	if (!r && up_rt.sched.init)
		r = up_rt.sched.init(cfg->max_vcores);
	if (!r)
		r = make_receiver();
	return r;
}

/* On the receiver's stack, with its TLS: uthread 0 is whole, in memory, from here on. */
static void receive(void *arg)
{
	struct up_port *port = up_rt.port;
	uint64_t call_arg[5] = { 0 };
	uint32_t slot;

	up_arch_set_gs(0);
	up_store_release(&port->vc[0].uthread_ctx, (uint64_t)(uintptr_t)up_rt.main);
	up_store_relaxed(&port->data->res[UPABI_RES_CORES].wanted, receiver.wanted);
	slot = up_port_outside_get(port);
	receiver.start_error = up_port_call(port, slot, UPABI_OP_REQUEST, call_arg, NULL);
	up_port_outside_put(port, slot);
	/* acquire: pairs with go_home()'s release: uthread 0's context is saved */
	up_libc_receive(&receiver.home);
	receiver.gs.own_sp = up_rt.main->sp;
	receiver.gs.fs = up_rt.main->fs;
	up_arch_set_gs((uintptr_t)&receiver.gs);
	up_arch_to_own(0);
}

/* Comes back as uthread 0. */
static void part_from_thread(void)
{
	struct up_uthread *u = up_rt.main;

	u->kind = UP_CTX_COOP;
	up_rseq_leave();
	up_arch_set_gs((uintptr_t)&receiver.gs);
	up_arch_park(&u->sp, receive, NULL);
}

int up_start(const struct upcall_opts *given, const struct upcall_sched_ops *default_sched)
{
	struct upcall_opts merged, *opts = &merged;
	struct up_host_cfg cfg;
	uint32_t cores;
	int r;

	if (up_rt.started)
		return -EALREADY;
	r = check_opts(given);
	if (!r)
		r = up_env_opts(given, opts);
	if (!r)
		r = check_opts(opts);
	if (r)
		return r;
	if (up_syscall0(SYS_gettid) != up_syscall0(SYS_getpid))
		return -EPERM;
	up_publish_claim();
	r = prepare(opts, default_sched, &cfg);
	if (!r) {
		/* First, since it blocks signals, which threads of ours must not take. */
		up_uthread_adopt_main(&up_rt.main);
		r = up_libc_start(up_rt.main);
	}
	if (!r)
		r = up_host_start(&cfg);
	if (!r) {
		up_rt.port = up_host.port;
		r = up_notify_init(cfg.signo);
	}
	if (!r)
		r = up_fault_init();
	if (!r)
		up_setxid_init();
	if (r) {
		up_host_stop();
		if (!UP_MUT(failed_start_left_handlers)) {
			up_fault_fini();
			up_notify_fini();
		}
		if (up_rt.main)
			up_libc_stop(up_rt.main);
		undo();
		up_publish_stopped(r);
		return r;
	}
	cores = up_keeper_cores();
	up_rt.target = opts->vcores ? opts->vcores : cores;
	receiver.wanted = up_rt.target;
	up_publish_started(cfg.slice_ns);
	up_store_release(&up_rt.started, true);
	part_from_thread();
	return 0; /* as uthread 0, on a vcore */
}

static void go_home(struct upcall_uthread *self, void *arg)
{
	((struct up_uthread *)self)->state = UP_U_ASIDE;
	up_store_release(&receiver.home, 1); /* pairs with receive() */
	up_libc_receiver_poke();
}

/* Besides uthread 0 there are src/fork's at the most. */
static bool nobody_but_own(void)
{
	uint64_t own, made, live;

	do {
		own = up_rt.fork->own();
		up_slot_count(&made, &live);
	} while (own != up_rt.fork->own());
	return live <= 1 + (uint32_t)own;
}

int upcall_stop(void)
{
	struct up_uthread *u = up_self();
	uint64_t made, live;

	if (!up_rt.started)
		return -ENOTCONN;
	if (!u || !u->is_main)
		return -EPERM;
	up_uthread_free_dead();
	if (up_rt.fork && nobody_but_own() && up_rt.fork->stop())
		return -EBUSY;
	up_slot_count(&made, &live);
	if (live != 1)
		return -EBUSY;
	up_local_end(u, false);
	up_rt.stopping = true;
	up_sched_call(u, go_home, NULL);
	/* On the first thread again. */
	up_arch_set_gs(0);
	up_store_release(&up_rt.started, false);
	/* It may be about to say that it has made somebody ready, who has come to his end by now. */
	if (up_rt.io && !UP_MUT(io_listener_outlives))
		up_rt.io->stop();
	up_host_stop();
	up_setxid_fini();
	up_fault_fini();
	up_notify_fini();
	undo();
	up_publish_stopped(0);
	up_rseq_rejoin();
	up_libc_stop(u);
	return 0;
}

/* ---- how many cores ---- */

/* It stays this vcore's uthread: the loop, or the vcore's next start, resumes it. */
static void move(struct upcall_uthread *self, void *how)
{
	((struct up_uthread *)self)->state = UP_U_RUNNING;
	up_act_self_vc()->gs.uthread = self;
	up_arch_to_own((uint64_t)(uintptr_t)how);
}

static bool is_single(void)
{
	return up_load_acquire(&up_rt.port->info->state) == UPABI_RUNNING_S;
}

/* Until it has happened: a core that is just being taken is left first, and the other vcores may
 * still be leaving.  Both are bounded, by the patience with a core that is to go. */
static void to_single(struct up_uthread *u)
{
	while (!is_single()) {
		up_sched_call(u, move, (void *)UP_OWN_TO_S);
		if (u->moved)
			up_syscall0(SYS_sched_yield);
	}
	while (is_single() && upcall_nr_vcores())
		up_syscall0(SYS_sched_yield);
}

static int request_as_many(struct up_uthread *u, unsigned wanted)
{
	uint64_t arg[5] = { 0 };
	int r;

	do {
		/* Looked at where nothing moves us: it is us who are single, or nobody. */
		up_preempt_disable();
		if (!is_single()) {
			up_store_relaxed(&up_rt.port->data->res[UPABI_RES_CORES].wanted, wanted);
			r = up_act_call(UPABI_OP_REQUEST, arg, NULL);
			up_preempt_enable();
		} else {
			up_preempt_enable();
			up_sched_call(u, move, (void *)(UP_OWN_TO_M | (uintptr_t)wanted << 3));
			r = u->moved;
		}
		if (r)
			up_syscall0(SYS_sched_yield);
	} while (r == -EBUSY || r == -EPERM || r == -EAGAIN);
	return r;
}

int upcall_request(unsigned wanted, unsigned min)
{
	struct upabi_res_request *req;
	struct up_uthread *u = up_self();

	if (!up_rt.started)
		return -ENOTCONN;
	if (!u)
		return -EPERM;
	if (min > wanted || wanted > up_rt.max_vcores)
		return -EINVAL;
	req = &up_rt.port->data->res[UPABI_RES_CORES];
	up_store_relaxed(&req->wanted_min, min);
	up_store_relaxed(&req->wanted, wanted);
	up_store_relaxed(&up_rt.target, wanted);
	if (wanted)
		return request_as_many(u, wanted);
	to_single(u);
	return 0;
}

unsigned upcall_nr_vcores(void)
{
	return up_rt.started ? up_load_acquire(&up_rt.port->info->num_vcores) : 0;
}

unsigned upcall_max_vcores(void)
{
	return up_rt.started ? up_rt.max_vcores : 0;
}

int upcall_vcore_id(void)
{
	int v;

	if (!up_rt.started || !up_on_act())
		return -1;
	up_preempt_disable();
	v = (int)up_act_self_vc()->vcore;
	up_preempt_enable();
	return v;
}

int upcall_vcore_cpu(unsigned vcore)
{
	const struct upabi_vcoremap *m;

	if (!up_rt.started || vcore >= up_rt.max_vcores)
		return -1;
	m = &up_rt.port->vmap[vcore];
	return up_load_acquire(&m->valid) ? (int)up_load_relaxed(&m->pcore) : -1;
}

int upcall_preempt(int vcore, uint64_t grace_ns)
{
	uint64_t arg[5] = { vcore < 0 ? UPABI_NONE : (uint64_t)vcore, grace_ns };
	int r;

	if (!up_rt.started)
		return -ENOTCONN;
	if (!up_self())
		return -EPERM;
	if (vcore < -1 || vcore >= (int)up_rt.max_vcores)
		return -EINVAL;
	up_preempt_disable();
	r = up_act_call(UPABI_OP_PREEMPT, arg, NULL);
	up_preempt_enable();
	return r;
}

/* ---- what has happened ---- */

static void add_act(struct upcall_stats *st, const struct upabi_act_stats *a)
{
	int c;

	for (c = 0; c < UP_CLASS_NR; c++) {
		st->unblocked[c] += a->unblocked[c];
		st->blocked[c] += a->blocked[c];
	}
	st->notified += a->notified;
	st->spurious += a->spurious;
	st->deferred += a->deferred;
	st->restarts += a->restarts;
	st->eintr_left += a->eintr_left;
	st->behind_ns += a->behind_ns;
	st->behind_max_ns = UP_MAX(st->behind_max_ns, a->behind_max_ns);
}

static void add_vcore(struct upcall_stats *st, uint32_t v)
{
	const struct upabi_vcore_stats *s = up_rt.vcores[v].stats;
	const struct upabi_vcoremap *m = &up_rt.port->vmap[v];

	st->switches += s->switches;
	st->migrations += s->migrations;
	st->preempts += s->preempts;
	st->steals += s->steals;
	st->events_posted += up_load_relaxed(&m->posted);
	st->events_overflow += up_load_relaxed(&m->overflow);
	st->no_standby += up_load_relaxed(&up_host.watch[v].no_standby);
}

int upcall_get_stats(struct upcall_stats *ret_stats)
{
	struct upcall_stats st = { .size = sizeof(st) };
	uint32_t i;

	if (!up_rt.started)
		return -ENOTCONN;
	if (!ret_stats || ret_stats->size != sizeof(st))
		return -EINVAL;
	for (i = 0; i < up_load_acquire(&up_host.nr_acts); i++)
		add_act(&st, &up_host.act_stats[i]);
	for (i = 0; i < up_rt.max_vcores; i++)
		add_vcore(&st, i);
	up_slot_count(&st.uthreads_made, &st.uthreads_live);
	st.backstop = up_load_relaxed(&up_host.backstop_steals);
	st.activations = up_load_relaxed(&up_host.living);
	st.activation_error = up_load_relaxed(&up_host.create_errno);
	st.unguarded_stacks = up_load_relaxed(&up_stack_unguarded);
	*ret_stats = st;
	return 0;
}

/* How long a vcore has been online: the two words of its present stretch are read under the map's
 * sequence, so that a stretch that ends meanwhile is not counted twice. */
static uint64_t online_ns(const struct upabi_vcoremap *m)
{
	const uint32_t *seq = &up_rt.port->info->coremap_seq;
	uint64_t total, resume;
	uint32_t before, valid;

	do {
		before = up_load_acquire(
			seq); /* pairs with the kernel side's release: even, settled */
		valid = up_load_relaxed(&m->valid);
		total = up_load_relaxed(&m->total_ns);
		resume = up_load_relaxed(&m->resume_ns);
		up_fence_acquire(); /* the words before the second look at the sequence */
	} while ((before & 1) || up_load_relaxed(seq) != before);
	return total + (valid ? up_now_ns() - resume : 0);
}

int upcall_get_vcore_stats(unsigned vcore, struct upcall_vcore_stats *ret_stats)
{
	struct upcall_vcore_stats st = { .size = sizeof(st) };
	const struct upabi_vcore_stats *s;

	if (!up_rt.started)
		return -ENOTCONN;
	if (!ret_stats || ret_stats->size != sizeof(st) || vcore >= up_rt.max_vcores)
		return -EINVAL;
	s = up_rt.vcores[vcore].stats;
	st.cpu = upcall_vcore_cpu(vcore);
	st.online = st.cpu >= 0;
	st.online_ns = online_ns(&up_rt.port->vmap[vcore]);
	st.switches = s->switches;
	st.migrations = s->migrations;
	st.preempts = s->preempts;
	st.events = s->events;
	*ret_stats = st;
	return 0;
}

/* ---- fork ---- */

/* In the child, on its only thread: the calling uthread goes on as the plain first thread of a
 * process that has not been started. */
void up_fork_child(void)
{
	up_arch_set_gs(0);
	up_store_release(&up_rt.started, false);
	if (up_rt.io)
		up_rt.io->forget();
	if (up_rt.fork)
		up_rt.fork->forget();
	up_host_forget();
	up_slot_fork_child();
	up_publish_fork_child();
	up_alarm_fini();
	memset(&up_rt, 0, sizeof(up_rt));
	memset(&receiver, 0, sizeof(receiver));
}
