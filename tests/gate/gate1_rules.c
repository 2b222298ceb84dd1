/* SPDX-License-Identifier: MIT */
/*
 * Gate 1's rules, one at a time and without luck: what torture and gate1 rest on, and each defect that
 * they have found. A point that cannot be reached hangs, and the watchdog ends it.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "announced.h"
#include "ordinary.h"
#include "tap.h"
#include "watchdog.h"

#define HANG_S 10
#define MS     UINT64_C(1000000)

static unsigned dog;
static uint64_t heard, posted;

static uint64_t get(const uint64_t *what)
{
	return __atomic_load_n(what, __ATOMIC_ACQUIRE);
}

static void add(uint64_t *what)
{
	__atomic_fetch_add(what, 1, __ATOMIC_ACQ_REL);
}

static void begin(const char *what)
{
	watchdog_doing(dog, what);
	watchdog_pat(dog);
	heard = posted = 0;
}

static bool start(struct upcall_opts *o)
{
	o->size = sizeof(*o);
	return tap_ok(!upcall_start(o), "%s: starts", watchdog_slot[dog].doing);
}

static void finish(bool good)
{
	const char *what = watchdog_slot[dog].doing;
	int r = upcall_stop();

	tap_ok(good && !r, "%s%s", what, r ? ": cannot stop" : "");
}

/* ---- notifications ---- */

static void on_event(unsigned vcore, const struct upcall_event *ev, void *arg)
{
	add(&heard);
}

static bool spinning;

static void *post_from_outside(void *arg)
{
	while (!__atomic_load_n(&spinning, __ATOMIC_ACQUIRE))
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	upcall_notify(UPCALL_EV_USER, 0, 1, 1);
	return NULL;
}

/* Nothing but the notification's own signal ends the spin. */
static void notified_while_spinning(void)
{
	struct upcall_opts o = { .vcores = 1, .no_slice = true };
	pthread_t t;

	begin("a notification interrupts a uthread that never gives way");
	pthread_create(&t, NULL, post_from_outside, NULL);
	if (!start(&o))
		exit(1);
	upcall_event_handle(UPCALL_EV_USER, on_event, NULL);
	upcall_event_route(UPCALL_EV_USER, 0, 1);
	upcall_yield(); /* so that vcore context was left once with nothing pending */
	__atomic_store_n(&spinning, true, __ATOMIC_RELEASE);
	while (!get(&heard))
		;
	pthread_join(t, NULL);
	finish(heard == 1);
}

static struct upcall_uthread *pick_and_post(unsigned vcore)
{
	if (get(&posted) == 1) {
		add(&posted);
		upcall_notify(UPCALL_EV_USER, (int)vcore, 1, 1);
	}
	return upcall_sched_steal.pick(vcore);
}

static void notified_on_the_way_out(void)
{
	struct upcall_sched_ops s = upcall_sched_steal;
	struct upcall_opts o = { .vcores = 1, .no_slice = true, .sched = &s };

	s.pick = pick_and_post;
	begin("what is posted after the last look is seen on leaving vcore context");
	if (!start(&o))
		exit(1);
	upcall_event_handle(UPCALL_EV_USER, on_event, NULL);
	upcall_event_route(UPCALL_EV_USER, 0, 1);
	__atomic_store_n(&posted, 1, __ATOMIC_RELEASE);
	upcall_yield();
	while (!get(&heard))
		;
	finish(heard == 1);
}

/* ---- slices ---- */

static bool over;

static void *spin(void *arg)
{
	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE))
		add(arg);
	return NULL;
}

/* The slice's handler is left sideways with signals masked; who yields is then resumed by a call. */
static void preempted_after_yield(void)
{
	struct upcall_opts o = { .vcores = 1, .slice_ns = 200000 };
	struct upcall_uthread *u[2];
	uint64_t turns[2] = { 0, 0 }, was;
	int i, n;

	begin("a uthread that yields among interrupted ones is interrupted in its turn");
	if (!start(&o))
		exit(1);
	for (i = 0; i < 2; i++)
		upcall_uthread_create(&u[i], NULL, spin, &turns[i]);
	for (n = 0; n < 20; n++) {
		upcall_yield(); /* back through a cooperative resume, after an interrupted uthread */
		was = get(&turns[n % 2]);
		while (get(&turns[n % 2]) == was)
			;
		watchdog_pat(dog);
	}
	__atomic_store_n(&over, true, __ATOMIC_RELEASE);
	for (i = 0; i < 2; i++)
		upcall_uthread_join(u[i], NULL);
	__atomic_store_n(&over, false, __ATOMIC_RELEASE);
	finish(true);
}

#define CROWD 24

static void served_without_its_core(void)
{
	struct upcall_opts o = { .vcores = 2, .slice_ns = 200000 };
	struct upcall_uthread *u[CROWD];
	uint64_t turns[CROWD] = { 0 }, was[CROWD];
	int i, r;

	begin("what is queued with a vcore that has lost its core is served by the others");
	if (!start(&o))
		exit(1);
	for (i = 0; i < CROWD; i++)
		upcall_uthread_create(&u[i], NULL, spin, &turns[i]);
	announced_sleep_ns(30 * MS);
	r = upcall_request(1, 1);
	while (upcall_nr_vcores() > 1) { /* wanting less takes nothing from those that work */
		upcall_preempt(1, 100000);
		upcall_yield();
	}
	for (i = 0; i < CROWD; i++)
		was[i] = get(&turns[i]);
	for (i = 0; i < CROWD; i++) {
		while (get(&turns[i]) == was[i])
			upcall_yield();
		watchdog_pat(dog);
	}
	__atomic_store_n(&over, true, __ATOMIC_RELEASE);
	for (i = 0; i < CROWD; i++)
		upcall_uthread_join(u[i], NULL);
	__atomic_store_n(&over, false, __ATOMIC_RELEASE);
	finish(!r);
}

/* ---- blocks ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t guarded;

static void *lock_and_spin(void *arg)
{
	uint64_t i;
	int n;

	for (n = 0; n < 20; n++) {
		pthread_mutex_lock(&lock);
		guarded++;
		for (i = 0; i < (uintptr_t)arg; i++) /* longer than a slice */
			__asm__ __volatile__("");
		pthread_mutex_unlock(&lock);
		watchdog_pat(dog);
	}
	return NULL;
}

/* Everybody blocks on a lock whose holder was interrupted, and there is no kernel thread left. */
static void holder_gets_its_turn(void)
{
	struct upcall_opts o = { .vcores = 1, .slice_ns = 200000, .max_acts = 3 };
	struct upcall_uthread *u[CROWD];
	struct upcall_stats st = { .size = sizeof(st) };
	int i;

	guarded = 0;
	begin("a lock's holder gets its turn when no activation is left to stand by");
	if (!start(&o))
		exit(1);
	for (i = 0; i < CROWD; i++)
		upcall_uthread_create(&u[i], NULL, lock_and_spin, (void *)(uintptr_t)300000);
	for (i = 0; i < CROWD; i++)
		upcall_uthread_join(u[i], NULL);
	upcall_get_stats(&st);
	tap_note("%lu blocks without a standby, %lu calls put back", st.no_standby, st.restarts);
	finish(guarded == CROWD * 20 && st.no_standby > 0 && st.eintr_left == 0);
}

static int pipes[3][2];

static void *reads_plainly(void *arg)
{
	char c;

	return (void *)(long)(read(*(int *)arg, &c, 1) != 1);
}

static void *reads_announced(void *arg)
{
	char c;

	return (void *)(long)(announced_read(*(int *)arg, &c, 1) != 1);
}

static void *sleeps_announced(void *arg)
{
	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE))
		announced_sleep_ns(50 * MS);
	return NULL;
}

/* Lets everybody go: it must have its turn for that. */
static void *lets_go(void *arg)
{
	char c = 1;
	int i;

	for (i = 0; i < 3; i++)
		if (write(pipes[i][1], &c, 1) != 1)
			return (void *)1;
	__atomic_store_n(&over, true, __ATOMIC_RELEASE);
	return NULL;
}

/* Two sleep with activations of their own, and the third, in an announced call, has the last. */
static void announced_gives_way(bool reads)
{
	struct upcall_opts o = { .vcores = 1, .no_slice = true, .max_acts = 3 };
	struct upcall_stats st = { .size = sizeof(st) };
	struct upcall_uthread *u[4];
	long bad = 0;
	void *r;
	int i;

	begin(reads ? "an announced read() gives way when no activation is left to stand by"
		    : "an announced sleep gives way when no activation is left to stand by");
	for (i = 0; i < 3; i++)
		if (pipe(pipes[i]))
			exit(1);
	__atomic_store_n(&over, false, __ATOMIC_RELEASE);
	if (!start(&o))
		exit(1);
	for (i = 0; i < 2; i++)
		upcall_uthread_create(&u[i], NULL, reads_plainly, &pipes[i][0]);
	upcall_uthread_create(&u[2], NULL, reads ? reads_announced : sleeps_announced,
			      &pipes[2][0]);
	upcall_uthread_create(&u[3], NULL, lets_go, NULL);
	for (i = 0; i < 4; i++) {
		upcall_uthread_join(u[i], &r);
		bad += (long)r;
	}
	upcall_get_stats(&st);
	tap_note("%lu blocks without a standby", st.no_standby);
	for (i = 0; i < 3; i++) {
		close(pipes[i][0]);
		close(pipes[i][1]);
	}
	__atomic_store_n(&over, false, __ATOMIC_RELEASE);
	finish(!bad && st.no_standby > 0);
}

static long sleeper_tid;
static int slept;

static void *sleeper(void *arg)
{
	__atomic_store_n(&sleeper_tid, syscall(SYS_gettid), __ATOMIC_RELEASE);
	slept = nanosleep(&(struct timespec){ 0, 300000000 }, NULL) ? errno : 0;
	return NULL;
}

/* Both while it is the vcore's own activation, and after that was replaced. */
static void spurious_signal_in_a_sleep(void)
{
	struct upcall_opts o = { .vcores = 1, .no_slice = true };
	struct upcall_uthread *u;
	struct upcall_stats st = { .size = sizeof(st) };
	int i;

	begin("a spurious notification in a sleep leaves no EINTR");
	slept = -1;
	if (!start(&o))
		exit(1);
	upcall_uthread_create(&u, NULL, sleeper, NULL);
	while (!__atomic_load_n(&sleeper_tid, __ATOMIC_ACQUIRE))
		upcall_yield();
	for (i = 0; i < 3; i++) {
		announced_sleep_ns(10 * MS);
		syscall(SYS_tgkill, getpid(), sleeper_tid, SIGURG);
	}
	upcall_uthread_join(u, NULL);
	upcall_get_stats(&st);
	finish(slept == 0 && st.eintr_left == 0);
}

/* ---- who a uthread is ---- */

static pthread_mutex_t recursive = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

static void *try_it(void *arg)
{
	return (void *)(uintptr_t)pthread_mutex_trylock(&recursive);
}

static void not_each_other(void)
{
	struct upcall_opts o = { .vcores = 1 };
	struct upcall_uthread *a, *b;
	void *r[2] = { NULL, NULL };

	begin("two uthreads are two to a recursive mutex");
	if (!start(&o))
		exit(1);
	upcall_uthread_create(&a, NULL, try_it, NULL); /* it keeps it */
	upcall_uthread_create(&b, NULL, try_it, NULL);
	upcall_uthread_join(a, &r[0]);
	upcall_uthread_join(b, &r[1]);
	finish(r[0] == NULL && r[1] == (void *)(uintptr_t)EBUSY);
}

int main(void)
{
	const char *what;
	int r = ordinary_become(&what);

	if (r) {
		printf("1..0 # SKIP cannot become an ordinary user: %s: %s\n", what, strerror(-r));
		return 77;
	}
	tap_plan(18);
	watchdog_start(HANG_S);
	dog = watchdog_in("beginning");
	notified_while_spinning();
	notified_on_the_way_out();
	preempted_after_yield();
	served_without_its_core();
	holder_gets_its_turn();
	announced_gives_way(true);
	announced_gives_way(false);
	spurious_signal_in_a_sleep();
	not_each_other();
	return tap_done();
}
