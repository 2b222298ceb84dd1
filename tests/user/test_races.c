/* SPDX-License-Identifier: MIT */
/*
 * Races of docs/races.md, held open: a point of injection stops one side until the other has done
 * its part, or for a while that is long beside the window, and what must hold is looked at.
 */
#include "base/atomic.h"
#include "base/inject.h"
#include "host/act.h"
#include "rt.h"
#include "user/tls.h"
#include "user/uthread.h"

#include <sys/syscall.h>

/* At `hold` a thread waits until `until` has been passed once more, or for so long. */
static struct {
	const char *hold, *until;
	uint64_t ns;
	atomic_uint held, passed;
	bool alone; /* no lookout comes by to mend what was missed */
} plan;

static int on_point(unsigned nr, const char *name, void *arg)
{
	uint64_t end;
	unsigned seen;

	if (plan.alone && !strcmp(name, "lookout_prods"))
		return 1;
	if (plan.until && !strcmp(name, plan.until))
		atomic_fetch_add(&plan.passed, 1);
	if (strcmp(name, plan.hold))
		return 0;
	seen = atomic_load(&plan.passed);
	atomic_fetch_add(&plan.held, 1);
	for (end = apart_now_ns() + plan.ns; apart_now_ns() < end;)
		if (plan.until && atomic_load(&plan.passed) != seen)
			break;
	return 0;
}

static void hold_at(const char *hold, const char *until, uint64_t ns)
{
	plan.hold = hold;
	plan.until = until;
	plan.ns = ns;
	CHECK(up_inject_find(hold) >= 0);
	CHECK(!until || up_inject_find(until) >= 0);
	up_inject_set_hook(on_point, NULL);
}

static atomic_uint laps;

static void *sleeps(void *arg)
{
	struct timespec ts = { 0, 50000 };
	unsigned i;

	for (i = 0; i < 30; i++) {
		if (i % 2)
			CHECK_INT(announced_sleep_ns(50000), 0);
		else
			CHECK_INT(nanosleep(&ts, NULL), 0);
		atomic_fetch_add(&laps, 1);
	}
	return arg;
}

static void *works(void *arg)
{
	unsigned i;

	for (i = 0; i < 200; i++) {
		rt_spin_ns(20000);
		upcall_yield();
	}
	return arg;
}

/* Sleepers of both kinds beside workers, with the point held; what was told must balance. */
static int blocks_held(unsigned vcores, const char *hold, const char *until, uint64_t ns)
{
	struct upcall_uthread *u[6];
	struct upcall_stats st;
	unsigned i, round;

	hold_at(hold, until, ns);
	rt_start(vcores);
	/* Until it has happened at least once, however busy the machine is. */
	for (round = 0; !round || (!atomic_load(&plan.held) && round < 50); round++) {
		for (i = 0; i < 6; i++)
			u[i] = rt_make(i % 2 ? works : sleeps, &u[i]);
		for (i = 0; i < 6; i++)
			CHECK(rt_join(u[i]) == &u[i]);
		CHECK_INT(atomic_load(&laps), 90 * (round + 1));
	}
	CHECK(atomic_load(&plan.held));
	up_inject_set_hook(NULL, NULL);
	/* None is blocked for ever in the kernel side's books. */
	AWAIT(!__atomic_load_n(&up_rt.port->info->blocked, __ATOMIC_ACQUIRE), upcall_yield());
	AWAIT(up_rt.port->info->nr_blocked == up_rt.port->info->nr_unblocked, upcall_yield());
	AWAIT((st = rt_stats(),
	       st.blocked[0] + st.blocked[1] + st.blocked[2] + st.blocked[3] ==
		       st.unblocked[0] + st.unblocked[1] + st.unblocked[2] + st.unblocked[3]),
	      upcall_yield());
	CHECK_INT(up_rt.port->info->nr_refused, 0);
	rt_stop();
	return 0;
}

/* 66, 67: the end of a call before its beginning has been told. */
static int race_66_67(void)
{
	return blocks_held(1, "report_block", "rejoin_published", 3 * MS);
}

/* 31: the replaced one comes back while it is being taken apart. */
static int race_31_stolen(void)
{
	return blocks_held(2, "stolen", "rejoin_published", 2 * MS);
}

static int race_31_hand_over(void)
{
	return blocks_held(2, "hand_over", "rejoin_published", 2 * MS);
}

static int race_31_look(void)
{
	return blocks_held(2, "about_to_steal", NULL, 1 * MS);
}

/* 30: the uthread is published, and run elsewhere, before its activation has said so. */
static int race_30_75(void)
{
	return blocks_held(2, "rejoin_published", NULL, 1 * MS);
}

static int race_66_call(void)
{
	return blocks_held(1, "call_replaced", NULL, 1 * MS);
}

/* 9, 17, 76: a vcore is on its way out when work comes. */
static void *count(void *arg)
{
	atomic_fetch_add(&laps, 1);
	return NULL;
}

static int race_9_17_76(void)
{
	unsigned i;

	hold_at("leave_yield", NULL, 300000);
	rt_start(2);
	for (i = 1; i <= 100; i++) {
		struct upcall_uthread *u = rt_make(count, NULL);

		AWAIT(atomic_load(&laps) == i, announced_sleep_ns(20000));
		rt_join(u);
	}
	CHECK(atomic_load(&plan.held));
	rt_stop();
	return 0;
}

/* 17, 76: more vcores are wanted than there are cores.  One is idle for want of a core, another on its
 * own account and on its way out: the work that comes is the latter's. */
static struct {
	atomic_uint here, gone, armed, held, let;
} few;

static int on_way_out(unsigned nr, const char *name, void *arg)
{
	unsigned turn;

	if (strcmp(name, "leave_yield") || !atomic_load(&few.armed))
		return 0;
	turn = atomic_fetch_add(&few.held, 1) + 1;
	while (atomic_load(&few.let) < turn)
		;
	return 0;
}

static void limit_cores(unsigned nr)
{
	up_preempt_disable();
	CHECK_INT(up_embed_core_limit(up_host.embed, nr), 0);
	up_preempt_enable();
}

#define FEW_ROUNDS 5

/* On vcore 1, and stays there: vcore 0 has had its core taken away, 2 is on its way out. */
static void make_beside_idle(void)
{
	struct upcall_uthread *u[FEW_ROUNDS + 1];
	unsigned i;

	AWAIT(upcall_nr_vcores() == 2, );
	limit_cores(2);
	u[0] = rt_make(count, NULL); /* one more vcore is wanted from here on, in vain */
	atomic_store(&few.armed, 1);
	atomic_store(&few.gone, 1);
	for (i = 1; i <= FEW_ROUNDS; i++) {
		AWAIT(atomic_load(&few.held) == i, );
		CHECK_INT(atomic_load(&laps), i);
		u[i] = rt_make(count, NULL);
		atomic_store(&few.let, i);
		AWAIT(atomic_load(&laps) == i + 1, );
	}
	atomic_store(&few.armed, 0);
	atomic_store(&few.let, ~0u);
	for (i = 0; i <= FEW_ROUNDS; i++)
		rt_join(u[i]);
}

static void *one_of_three(void *arg)
{
	atomic_fetch_add(&few.here, 1);
	AWAIT(atomic_load(&few.here) == 3, );
	if (upcall_vcore_id() == 1)
		make_beside_idle();
	else if (upcall_vcore_id() == 2)
		AWAIT(atomic_load(&few.gone), );
	return arg;
}

static void start_three(void)
{
	rt_need_cpus(2);
	rt_start_opts((struct upcall_opts){ .vcores = 3, .slice_ns = 100000 * MS });
	up_preempt_disable();
	if (rt_cpus() == 2) /* a third one, in name only */
		CHECK_INT(up_embed_core_add(up_host.embed, 2), 0);
	up_preempt_enable();
}

static int race_17_76_few(void)
{
	struct upcall_uthread *u[3];
	unsigned i;

	up_inject_set_hook(on_way_out, NULL);
	start_three();
	limit_cores(3);
	for (i = 0; i < 3; i++)
		u[i] = rt_make(one_of_three, NULL);
	for (i = 0; i < 3; i++)
		rt_join(u[i]);
	rt_stop();
	return 0;
}

static void *one_more(void *arg)
{
	atomic_fetch_add(&few.here, 1);
	AWAIT(atomic_load(&few.gone), );
	return arg;
}

/* 17, 76: nobody is idle, and a yield has lowered what is wanted since a core was lacking. */
static int race_17_76_lowered(void)
{
	struct upcall_uthread *u[2];
	unsigned i;

	start_three();
	limit_cores(2);
	AWAIT(up_load_acquire(&up_rt.port->info->res[UPABI_RES_CORES].wanted) == 1, );
	limit_cores(3);
	for (i = 0; i < 2; i++) {
		u[i] = rt_make(one_more, NULL);
		AWAIT(atomic_load(&few.here) == i + 1, );
	}
	atomic_store(&few.gone, 1);
	for (i = 0; i < 2; i++)
		rt_join(u[i]);
	rt_stop();
	return 0;
}

/* 17, 76: several became ready while a core was lacking. */
static int race_17_76_next(void)
{
	struct upcall_uthread *u[2];
	unsigned i;

	start_three();
	AWAIT(up_load_acquire(&up_rt.port->info->res[UPABI_RES_CORES].wanted) == 1, );
	limit_cores(1);
	for (i = 0; i < 2; i++)
		u[i] = rt_make(one_more, NULL);
	limit_cores(3);
	AWAIT(atomic_load(&few.here) == 2, );
	atomic_store(&few.gone, 1);
	for (i = 0; i < 2; i++)
		rt_join(u[i]);
	rt_stop();
	return 0;
}

/* 22, 27: taken while it leaves by itself, and started again. */
static int race_22_27(void)
{
	unsigned i;

	hold_at("leave_taken", NULL, 200000);
	rt_start(2);
	for (i = 0; i < 60; i++) {
		struct upcall_uthread *u = rt_make(count, NULL);

		(void)upcall_preempt((int)(i % 2), i % 3 ? 0 : 50000);
		rt_spin_ns(30000);
		rt_join(u);
	}
	CHECK_INT(atomic_load(&laps), 60);
	CHECK(atomic_load(&plan.held));
	rt_stop();
	return 0;
}

/* 1, 4: a notification while a handler is on its way into vcore context. */
static void hear(unsigned vcore, const struct upcall_event *ev, void *arg)
{
	atomic_fetch_add(&laps, 1);
}

static int race_1_4(void)
{
	unsigned nr, i;

	hold_at("notify_entered", NULL, 200000);
	rt_start_opts((struct upcall_opts){ .vcores = 2, .slice_ns = 1 * MS });
	struct upcall_uthread *u = rt_make(works, NULL), *w = rt_make(works, NULL);

	CHECK_INT(upcall_event_alloc(&nr), 0);
	CHECK_INT(upcall_event_handle(nr, hear, NULL), 0);
	CHECK_INT(upcall_event_route(nr, -1, 1), 0);
	for (i = 1; i <= 200 || !atomic_load(&plan.held); i++) {
		CHECK_INT(upcall_notify(nr, (int)(i % upcall_nr_vcores()), 1, 1), 0);
		CHECK(i < 1000000);
		AWAIT(atomic_load(&laps) == i, );
	}
	rt_join(u);
	rt_join(w);
	CHECK(atomic_load(&plan.held));
	rt_stop();
	return 0;
}

/* One after the other, each heard before the next, by a uthread that never looks by itself. */
static atomic_int over;
static unsigned number;

static void *post_one_by_one(void *arg)
{
	unsigned i;

	for (i = 1; i <= 300; i++) {
		CHECK_INT(upcall_notify(number, -1, 1, 1), 0);
		AWAIT(atomic_load(&laps) >= i, sched_yield());
	}
	atomic_store(&over, 1);
	return NULL;
}

static int posted_within(const char *hold)
{
	pthread_t t;

	plan.alone = true;
	CHECK(up_inject_find("lookout_prods") >= 0);
	hold_at(hold, "kern_posted", 1 * MS);
	rt_start_opts((struct upcall_opts){ .vcores = 1, .no_slice = true });
	CHECK_INT(upcall_event_alloc(&number), 0);
	CHECK_INT(upcall_event_handle(number, hear, NULL), 0);
	CHECK_INT(upcall_event_route(number, -1, 1), 0);
	CHECK_INT(pthread_create(&t, NULL, post_one_by_one, NULL), 0);
	AWAIT(atomic_load(&over), );
	CHECK_INT(pthread_join(t, NULL), 0);
	CHECK(atomic_load(&plan.held));
	rt_stop();
	return 0;
}

/* 12, 18: a message comes behind the last look at the ring. */
static int race_12_18(void)
{
	return posted_within("events_drained");
}

/* 1: it comes behind the last look of all, before notifications are enabled. */
static int race_1_leave(void)
{
	return posted_within("vcore_leaves");
}

static volatile sig_atomic_t handled;

static void on_usr2(int sig)
{
	handled++;
}

/* A signal and the poke behind it reach the receiver while it is on its way into ppoll(), which
 * returns for the poke. */
static int signal_and_poke(void)
{
	struct sigaction act = { .sa_handler = on_usr2 };
	int i;

	CHECK_INT(sigaction(SIGUSR2, &act, NULL), 0);
	hold_at("receiver_looked", NULL, 1 * MS);
	rt_start(1);
	for (i = 1; i <= 20; i++) {
		CHECK_INT(kill(getpid(), SIGUSR2), 0);
		CHECK_INT(handled, i);
	}
	CHECK(atomic_load(&plan.held));
	rt_stop();
	return 0;
}

/* The process stops while the receiver is on its way into ppoll(). */
static int stop_and_poke(void)
{
	struct sigaction act = { .sa_handler = on_usr2 };
	unsigned before;

	CHECK_INT(sigaction(SIGUSR2, &act, NULL), 0);
	hold_at("receiver_looked", NULL, 50 * MS);
	rt_start(1);
	CHECK_INT(kill(getpid(), SIGUSR2), 0); /* it has been round by then, and rests */
	before = atomic_load(&plan.held);
	/* More than one when the first is handled before it rests. */
	AWAIT(atomic_load(&plan.held) != before,
	      CHECK_INT(syscall(SYS_kill, getpid(), SIGUSR2), 0));
	rt_stop();
	return 0;
}

static void *naps_once(void *arg)
{
	struct timespec ts = { 0, 200000 };

	nanosleep(&ts, NULL);
	atomic_store((atomic_int *)arg, 1);
	return NULL;
}

/* A replacement is slow to start; meanwhile its victim comes back and ends elsewhere, and the process
 * stops. */
static int stop_before_takeover(void)
{
	struct upcall_uthread *u;
	unsigned life;

	hold_at("act_let_out", NULL, 20 * MS);
	for (life = 0; life < 20; life++) {
		atomic_int done = 0;

		rt_start(2);
		u = rt_make(naps_once, &done);
		AWAIT(atomic_load(&done), upcall_yield());
		rt_join(u);
		rt_stop();
	}
	return 0;
}

/* ---- not of the seed: a start beside so much work that a new thread takes its time ---- */

static int comes_late(unsigned nr, const char *name, void *arg)
{
	struct timespec ts = { 0, 50 * MS };

	if (!strcmp(name, "tls_sample"))
		nanosleep(&ts, NULL);
	return 0;
}

static int late_sample(void)
{
	CHECK(up_inject_find("tls_sample") >= 0);
	up_inject_set_hook(comes_late, NULL);
	rt_start(1);
	CHECK(!up_tls_shared());
	rt_stop();
	return 0;
}

static const struct apart cases[] = {
	CASE("a stop does not wait for a replacement that ends unused", stop_before_takeover),
	CASE("the first thread comes home, whatever the receiver was at", stop_and_poke),
	CASE("kill() has run the handler when it returns, whatever the receiver was at",
	     signal_and_poke),
	CASE("race_66_67 the end of a block is not told before its beginning", race_66_67),
	CASE("race_31 one that has moved on since the look is not replaced", race_31_look),
	CASE("race_31 a replaced activation comes back at once", race_31_stolen),
	CASE("race_31 ... before its replacement has been let go", race_31_hand_over),
	CASE("race_30_75 its uthread runs elsewhere before it has said so", race_30_75),
	CASE("race_66 an announced call finds itself replaced", race_66_call),
	CASE("race_9_17_76 work comes to a vcore that is on its way out", race_9_17_76),
	CASE("race_17_76 ... though another is idle for want of a core", race_17_76_few),
	CASE("race_17_76 ... nobody is idle, and one more core has come", race_17_76_lowered),
	CASE("race_17_76 ... to several at once while a core is lacking", race_17_76_next),
	CASE("race_22_27 a vcore that leaves is taken and started", race_22_27),
	CASE("race_12_18 a message comes behind the last look at the ring", race_12_18),
	CASE("race_1 a message comes on the way out of vcore context", race_1_leave),
	CASE("a thread that the start looks at comes late", late_sample),
	CASE("race_1_4 a notification meets one that is under way", race_1_4),
};

APART_MAIN(cases)
