/* SPDX-License-Identifier: MIT */
/*
 * From one uthread straight to the next: what must be each one's own stays so, what comes meanwhile is
 * not passed over, and who runs next is who should.
 */
#include "base/atomic.h"
#include "base/syscall.h"
#include "rt.h"
#include "user/uthread.h"

#include <fenv.h>
#include <stdlib.h>

#define ROUNDS 2000

/* ---- each one's own ---- */

static uint16_t x87_word(void)
{
	uint16_t word;

	__asm__ __volatile__("fnstcw %0" : "=m"(word));
	return word;
}

static void *rounds_its_way(void *arg)
{
	int mode = (int)(intptr_t)arg, i;
	uint16_t word;

	CHECK_INT(fesetround(mode), 0);
	word = x87_word();
	for (i = 0; i < ROUNDS; i++) {
		CHECK_INT(upcall_yield(), 0);
		CHECK_INT(fegetround(), mode);
		CHECK_INT(x87_word(), word);
		CHECK_INT((__builtin_ia32_stmxcsr() >> 3) & 0xc00,
			  mode); /* the same two bits, higher up */
	}
	return arg;
}

static int control_words(void)
{
	static const int modes[] = { FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO };
	struct upcall_uthread *u[3];
	unsigned i;

	rt_start(1);
	for (i = 0; i < 3; i++)
		u[i] = rt_make(rounds_its_way, (void *)(intptr_t)modes[i]);
	for (i = 0; i < 3; i++)
		rt_join(u[i]);
	CHECK_INT(fegetround(), FE_TONEAREST);
	rt_stop();
	return 0;
}

static __thread unsigned long mine;

static void *keeps_its_own(void *arg)
{
	unsigned long i;

	CHECK_INT(mine, 0);
	for (i = 0; i < ROUNDS; i++) {
		mine = (unsigned long)(uintptr_t)arg + i;
		errno = (int)(uintptr_t)arg;
		CHECK_INT(upcall_yield(), 0);
		CHECK_INT(mine, (unsigned long)(uintptr_t)arg + i);
		CHECK_INT(errno, (int)(uintptr_t)arg);
	}
	return arg;
}

static int own_tls(void)
{
	struct upcall_uthread *u[3];
	uintptr_t i;

	rt_start(1);
	mine = 7;
	for (i = 0; i < 3; i++)
		u[i] = rt_make(keeps_its_own, (void *)(i * 100000 + 1));
	for (i = 0; i < 3; i++)
		rt_join(u[i]);
	CHECK_INT(mine, 7);
	rt_stop();
	return 0;
}

static uint64_t ids[4][1000];

static void *makes_many(void *arg)
{
	uint64_t *id = arg;
	struct upcall_uthread *u;
	unsigned i;

	for (i = 0; i < 1000; i++) {
		u = rt_make(rt_has_turn, NULL);
		id[i] = upcall_uthread_id(u);
		rt_join(u);
	}
	return NULL;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int ids_unique(void)
{
	struct upcall_uthread *u[4];
	unsigned i;

	rt_start(rt_cpus());
	for (i = 0; i < 4; i++)
		u[i] = rt_make(makes_many, ids[i]);
	for (i = 0; i < 4; i++)
		rt_join(u[i]);
	qsort(ids, 4000, sizeof(ids[0][0]), by_number);
	for (i = 1; i < 4000; i++)
		CHECK((&ids[0][0])[i - 1] < (&ids[0][0])[i]);
	CHECK(ids[0][0] > 0);
	rt_stop();
	return 0;
}

/* ---- what comes meanwhile ---- */

static bool armed;
static unsigned event_nr;
static atomic_uint heard, notified, late;

static void hear(unsigned vcore, const struct upcall_event *ev, void *arg)
{
	atomic_fetch_add(&heard, 1);
}

/* A notification in the middle of a switch: the signal comes while the section is on. */
static struct upcall_uthread *picks_and_notifies(unsigned vcore)
{
	struct upcall_uthread *u = upcall_sched_steal.pick(vcore);

	if (u && armed && upcall_uthread_self()) {
		armed = false;
		atomic_fetch_add(&notified, 1);
		CHECK_INT(upcall_notify(event_nr, (int)vcore, 0, 0), 0);
		up_syscall3(SYS_tgkill, up_host.pid, up_syscall0(SYS_gettid), SIGURG);
	}
	return u;
}

static void *looks_at_once(void *arg)
{
	unsigned i;

	for (i = 0; i < 200; i++) {
		armed = true;
		upcall_yield();
		if (atomic_load(&heard) != atomic_load(&notified))
			atomic_fetch_add(&late, 1);
	}
	return arg;
}

static int pending_seen(void)
{
	struct upcall_sched_ops ops = upcall_sched_steal;
	struct upcall_uthread *u[2];

	ops.pick = picks_and_notifies;
	rt_start_opts((struct upcall_opts){ .vcores = 1, .no_slice = true, .sched = &ops });
	CHECK_INT(upcall_event_alloc(&event_nr), 0);
	CHECK_INT(upcall_event_handle(event_nr, hear, NULL), 0);
	CHECK_INT(upcall_event_route(event_nr, 0, 1), 0);
	u[0] = rt_make(looks_at_once, NULL);
	u[1] = rt_make(looks_at_once, NULL);
	rt_join(u[0]);
	rt_join(u[1]);
	CHECK_INT(atomic_load(&late), 0);
	CHECK(atomic_load(&notified) > 100);
	rt_stop();
	return 0;
}

/* ---- who runs next ---- */

static char order[16];
static unsigned nr_order;

static void *signs(void *arg)
{
	order[nr_order++] = (char)(uintptr_t)arg;
	return arg;
}

static int joined_goes_first(void)
{
	struct upcall_uthread *u[3];
	uintptr_t i;

	rt_start_opts((struct upcall_opts){ .vcores = 1, .no_slice = true });
	for (i = 0; i < 3; i++)
		u[i] = rt_make(signs, (void *)('a' + i));
	order[nr_order++] = '-';
	for (i = 3; i--;)
		CHECK(rt_join(u[i]) == (void *)('a' + i));
	CHECK(!strcmp(order, "-cba"));
	rt_stop();
	return 0;
}

static atomic_bool stop_hog, ran;
static int fds[2];

static void *hogs(void *arg)
{
	while (!atomic_load(&stop_hog))
		;
	return arg;
}

static struct upcall_uthread *make_prio(void *(*fn)(void *), void *arg, int priority)
{
	struct upcall_uthread_attr a = { .size = sizeof(a), .priority = priority };
	struct upcall_uthread *u = NULL;

	CHECK_INT(upcall_uthread_create(&u, &a, fn, arg), 0);
	CHECK_INT(upcall_uthread_priority(u), priority);
	return u;
}

static void *writes(void *arg)
{
	struct timespec ts = { 0, 5000000 };

	nanosleep(&ts, NULL); /* the hog runs, and nothing but a priority ends its turn */
	CHECK_INT(write(fds[1], "x", 1), 1);
	return arg;
}

/* Back from the kernel, with a hog on the only vcore and no slices. */
static int unblocked_outranks(void)
{
	struct upcall_uthread *hog;
	pthread_t t;
	char c;

	CHECK_INT(pipe(fds), 0);
	CHECK_INT(pthread_create(&t, NULL, writes, NULL), 0);
	rt_start_opts((struct upcall_opts){ .vcores = 1, .no_slice = true });
	hog = make_prio(hogs, NULL, UPCALL_PRIO_LOW);
	CHECK_INT(announced_read(fds[0], &c, 1), 1);
	atomic_store(&stop_hog, true);
	rt_join(hog);
	pthread_join(t, NULL);
	rt_stop();
	return 0;
}

static void *says_ran(void *arg)
{
	atomic_store(&ran, true);
	return arg;
}

/* Made by one of a lower priority: it runs before that goes on. */
static int made_outranks(void)
{
	struct upcall_uthread *u;

	rt_start_opts((struct upcall_opts){ .vcores = 1, .no_slice = true });
	u = make_prio(says_ran, NULL, UPCALL_PRIO_HIGH);
	CHECK(atomic_load(&ran));
	rt_join(u);
	atomic_store(&ran, false);
	u = make_prio(says_ran, NULL, UPCALL_PRIO_LOW);
	CHECK(!atomic_load(&ran));
	rt_join(u);
	rt_stop();
	return 0;
}

/* The lowest makes way, wherever it runs. */
static int other_vcore_makes_way(void)
{
	struct upcall_uthread *hog, *u;

	rt_need_cpus(2);
	rt_start_opts((struct upcall_opts){ .vcores = 2, .no_slice = true });
	hog = make_prio(hogs, NULL, UPCALL_PRIO_LOW);
	AWAIT(up_load_relaxed(&((struct up_uthread *)hog)->state) == UP_U_RUNNING, (void)0);
	u = make_prio(says_ran, NULL, 0);
	AWAIT(atomic_load(&ran), (void)0); /* not by us: we have its priority, and go on */
	atomic_store(&stop_hog, true);
	rt_join(u);
	rt_join(hog);
	rt_stop();
	return 0;
}

static int bad_priorities(void)
{
	struct upcall_uthread_attr a = { .size = sizeof(a), .priority = UPCALL_PRIO_MAX + 1 };
	struct upcall_uthread *u;

	rt_start(1);
	u = upcall_uthread_self();
	CHECK_INT(upcall_uthread_create(&u, &a, says_ran, NULL), -EINVAL);
	a.priority = UPCALL_PRIO_MIN - 1;
	CHECK_INT(upcall_uthread_create(&u, &a, says_ran, NULL), -EINVAL);
	CHECK_INT(upcall_uthread_set_priority(u, UPCALL_PRIO_MAX + 1), -EINVAL);
	CHECK_INT(upcall_uthread_set_priority(u, UPCALL_PRIO_MIN - 1), -EINVAL);
	CHECK_INT(upcall_uthread_set_priority(NULL, 0), -EINVAL);
	CHECK_INT(upcall_uthread_priority(NULL), 0);
	CHECK_INT(upcall_uthread_set_priority(u, 1), 0);
	CHECK_INT(upcall_uthread_priority(u), 1);
	rt_stop();
	return 0;
}

/* ---- ends ---- */

static unsigned ended_ways[4];

static __attribute__((noinline)) void exits(void *value)
{
	upcall_uthread_exit(value);
}

/* By way of a pointer, so that a call remains. */
static __attribute__((noinline)) int exits_deep(void (*fn)(void *), void *value)
{
	volatile char frame[4096];

	frame[0] = 1;
	fn(value);
	return frame[0];
}

/* Leaves the control words and the thread-local behind that nobody else is to see. */
static void *ends(void *arg)
{
	uintptr_t way = (uintptr_t)arg;

	CHECK_INT(mine, 0);
	CHECK_INT(fegetround(), FE_TONEAREST);
	mine = 77;
	CHECK_INT(fesetround(FE_UPWARD), 0);
	ended_ways[way]++;
	if (way & 1)
		upcall_yield();
	if (way & 2)
		exits_deep(exits, arg);
	return arg;
}

/* Whoever goes on is as it was: the joiner, or the next one. */
static int ends_leave_nothing(void)
{
	struct upcall_uthread_attr detached = { .size = sizeof(detached), .detached = true };
	uintptr_t i;

	rt_start(1);
	mine = 5;
	CHECK_INT(fesetround(FE_DOWNWARD), 0);
	for (i = 0; i < 4 * ROUNDS; i++) {
		CHECK(rt_join(rt_make(ends, (void *)(i % 4))) == (void *)(i % 4));
		CHECK_INT(fegetround(), FE_DOWNWARD);
		CHECK_INT(mine, 5);
		CHECK_INT(upcall_uthread_create(NULL, &detached, ends, (void *)(i % 4)), 0);
		upcall_yield();
		upcall_yield();
		CHECK_INT(fegetround(), FE_DOWNWARD);
		CHECK_INT(mine, 5);
	}
	for (i = 0; i < 4; i++)
		CHECK_INT(ended_ways[i], 2 * ROUNDS);
	rt_join(rt_make(ends, NULL)); /* the last one detached is freed on the way */
	CHECK_INT(rt_stats().uthreads_live, 1);
	CHECK_INT(fesetround(FE_TONEAREST), 0);
	rt_stop();
	return 0;
}

static const struct apart cases[] = {
	CASE("control words are each one's own", control_words),
	CASE("thread-local words are each one's own", own_tls),
	CASE("one that ends leaves nothing behind to who goes on", ends_leave_nothing),
	CASE("numbers are never given twice, whoever makes them", ids_unique),
	CASE("a notification in the middle of a switch is heard before the next one runs",
	     pending_seen),
	CASE("who is joined before it has begun goes first", joined_goes_first),
	CASE("one back from the kernel interrupts a lower one", unblocked_outranks),
	CASE("one that is made interrupts its maker if that is lower", made_outranks),
	CASE("another vcore's lower one makes way", other_vcore_makes_way),
	CASE("priorities that there are not", bad_priorities),
};

APART_MAIN(cases)
