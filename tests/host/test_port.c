/* SPDX-License-Identifier: MIT */
/*
 * host/port.h against a kernel side that this file plays: order of a call's words, waiting, slots
 * for outsiders, gates, events, the end of the kernel side, and all of it without a TLS to touch.
 */
#include "asleep.h"
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/syscall.h"
#include "host/port.h"
#include "host/region.h"
#include "resources.h"

#define VCORES 3u
#define PCORES 2u
#define ACTS   5u

static struct up_region region;
static struct up_port port;

static void fill_info(struct upabi_procinfo *i)
{
	*i = (struct upabi_procinfo){
		.magic = UPABI_INFO_MAGIC,
		.version = UPABI_VERSION,
		.header_sz = sizeof(*i),
		.region_sz = upabi_info_size(VCORES, PCORES, ACTS),
		.max_vcores = VCORES,
		.max_pcores = PCORES,
		.max_acts = ACTS,
		.off_vcoremap = sizeof(*i),
		.off_pcoremap = (uint32_t)upabi_info_off_pcoremap(VCORES),
		.off_actmap = (uint32_t)upabi_info_off_actmap(VCORES, PCORES),
	};
}

static struct upabi_actmap *amap(void)
{
	return (void *)((char *)region.info + region.info->off_actmap);
}

static void answer(uint32_t slot, int32_t result, uint64_t val)
{
	amap()[slot].call_result = result;
	amap()[slot].call_val = val;
	up_store_release(&amap()[slot].call_ack, up_load_acquire(&port.call[slot].seq));
}

static bool take_pending(uint32_t slot)
{
	uint64_t bit = UINT64_C(1) << slot % 64;

	return up_fetch_and_acq_rel(&port.call_pending[slot / 64], ~bit) & bit;
}

/* Answers with the sum of the arguments; operation REQUEST is refused. */
static void ring_at_once(struct up_port *p, uint32_t slot)
{
	const struct upabi_call *c = &p->call[slot];
	uint64_t sum = 0;

	if (!take_pending(slot))
		return;
	for (int i = 0; i < 5; i++)
		sum += c->arg[i];
	answer(slot, c->op == UPABI_OP_REQUEST ? -EPERM : (int)c->op, sum);
}

static int set_up(void **state)
{
	struct up_region_cfg cfg = { VCORES, PCORES, ACTS, false };

	if (up_region_create(&cfg, &region))
		return -1;
	fill_info(region.info);
	if (up_port_init(&port, region.info_ro, region.data))
		return -1;
	port.ring = ring_at_once;
	alarm(10); /* a hang is a failure */
	return 0;
}

static int tear_down(void **state)
{
	alarm(0);
	up_inject_set_hook(NULL, NULL);
	up_region_fini(&region);
	return 0;
}

static void headers_of_others_are_refused(void **state)
{
	struct up_port p = { .max_vcores = 99 };

	assert_int_equal(up_port_init(NULL, region.info_ro, region.data), -EINVAL);
	assert_int_equal(up_port_init(&p, NULL, region.data), -EINVAL);
	assert_int_equal(up_port_init(&p, region.info_ro, NULL), -EINVAL);
#define BREAK(where, field)                                                               \
	do {                                                                              \
		__typeof__((where)->field) was = (where)->field;                          \
		(where)->field = (__typeof__(was))(was + 100);                            \
		if (up_port_init(&p, region.info_ro, region.data) != -EPROTO)             \
			fail_msg("%s.%s is not looked at", #where, #field);               \
		(where)->field = 0;                                                       \
		assert_int_equal(up_port_init(&p, region.info_ro, region.data), -EPROTO); \
		(where)->field = was;                                                     \
	} while (0)
	BREAK(region.info, magic);
	BREAK(region.info, version);
	BREAK(region.info, header_sz);
	BREAK(region.info, region_sz);
	BREAK(region.info, max_vcores);
	BREAK(region.info, max_pcores);
	BREAK(region.info, max_acts);
	BREAK(region.info, off_vcoremap);
	BREAK(region.info, off_pcoremap);
	BREAK(region.info, off_actmap);
	BREAK(region.data, magic);
	BREAK(region.data, version);
	BREAK(region.data, header_sz);
	BREAK(region.data, region_sz);
	BREAK(region.data, off_vcore);
	BREAK(region.data, off_call);
	BREAK(region.data, off_call_pending);
#undef BREAK
	assert_int_equal(p.max_vcores, 99);
	assert_int_equal(up_port_init(&p, region.info_ro, region.data), 0);
	assert_int_equal(p.max_vcores, VCORES);
}

static void bad_calls_are_refused(void **state)
{
	const uint64_t arg[5] = { 0 };
	uint64_t val = 7;
	struct up_port none = port;

	none.ring = NULL;
	assert_int_equal(up_port_call(NULL, 0, UPABI_OP_YIELD, arg, &val), -EINVAL);
	assert_int_equal(up_port_call(&none, 0, UPABI_OP_YIELD, arg, &val), -EINVAL);
	assert_int_equal(up_port_call(&port, ACTS + UPABI_OUTSIDE_CALLS, UPABI_OP_YIELD, arg, &val),
			 -EINVAL);
	assert_int_equal(up_port_call(&port, UPABI_NONE, UPABI_OP_YIELD, arg, &val), -EINVAL);
	assert_int_equal(up_port_call(&port, 0, UPABI_OP_NONE, arg, &val), -EINVAL);
	assert_int_equal(up_port_call(&port, 0, UPABI_OP_NR, arg, &val), -EINVAL);
	assert_int_equal(val, 7);
	assert_int_equal(port.call[0].seq, 0);
}

static void a_call_carries_its_words_both_ways(void **state)
{
	const uint64_t arg[5] = { 1, UINT64_C(1) << 40, 3, 4, 5 };
	uint64_t val = 7;

	port.call[2].seq = UINT32_MAX; /* its number may wrap */
	assert_int_equal(up_port_call(&port, 2, UPABI_OP_NOTIFY, arg, &val), UPABI_OP_NOTIFY);
	assert_true(val == (UINT64_C(1) << 40) + 13);
	assert_int_equal(up_port_call(&port, 2, UPABI_OP_YIELD, NULL, &val), UPABI_OP_YIELD);
	assert_int_equal(val, 0);
	val = 9;
	assert_int_equal(up_port_call(&port, 2, UPABI_OP_REQUEST, arg, &val), -EPERM);
	assert_int_equal(val, 9);
	assert_int_equal(up_port_call(&port, 2, UPABI_OP_YIELD, arg, NULL), UPABI_OP_YIELD);
	assert_int_equal(up_port_call(&port, ACTS + 31, UPABI_OP_YIELD, arg, NULL), UPABI_OP_YIELD);
	assert_int_equal(port.call[ACTS + 31].seq, 1);
}

/* At every point of a call before its bell, the bit must not be there without all of the rest. */
static int look_early(unsigned nr, const char *name, void *arg)
{
	uint32_t *looks = arg;
	const struct upabi_call *c = &port.call[1];

	if (strncmp(name, "port_before_", 12))
		return 0;
	++*looks;
	if ((port.call_pending[0] & 2) &&
	    (c->seq != 1 || c->op != UPABI_OP_NOTIFY || c->arg[4] != 50)) {
		fprintf(stderr, "pending at %s, number %u\n", name, c->seq);
		_exit(1);
	}
	if (c->seq == 1 && c->arg[4] != 50)
		_exit(1);
	return 0;
}

static void the_bit_comes_last(void **state)
{
	const uint64_t arg[5] = { 10, 20, 30, 40, 50 };
	uint32_t looks = 0;

	up_inject_set_hook(look_early, &looks);
	assert_int_equal(up_port_call(&port, 1, UPABI_OP_NOTIFY, arg, NULL), UPABI_OP_NOTIFY);
	up_inject_set_hook(NULL, NULL);
	assert_true(looks >= 4);
}

static void ring_nobody(struct up_port *p, uint32_t slot)
{
}

static int asked;

/* The caller has looked for so long that it asks whether we live. */
static void *answer_late(void *arg)
{
	uint32_t slot = 3;

	while (!take_pending(slot))
		usleep(1000);
	while (!__atomic_load_n(&asked, __ATOMIC_ACQUIRE))
		usleep(1000);
	answer(slot, 5, 6);
	up_futex_wake_shared(&amap()[slot].call_ack, INT32_MAX);
	return NULL;
}

static int still_alive(struct up_port *p)
{
	__atomic_fetch_add(&asked, 1, __ATOMIC_RELEASE);
	return 0;
}

static void a_late_answer_is_waited_for(void **state)
{
	uint64_t val = 0;
	pthread_t t;

	port.ring = ring_nobody;
	port.alive = still_alive;
	asked = 0;
	pthread_create(&t, NULL, answer_late, NULL);
	assert_int_equal(up_port_call(&port, 3, UPABI_OP_YIELD, NULL, &val), 5);
	assert_int_equal(val, 6);
	assert_true(asked >= 1);
	pthread_join(t, NULL);
}

static int dead(struct up_port *p)
{
	return -EPIPE;
}

static void a_dead_kernel_side_is_not_waited_for(void **state)
{
	uint64_t start = up_now_ns(), val = 3;
	uint32_t seen = up_port_gate(&port, 4);

	port.ring = ring_nobody;
	port.alive = dead;
	assert_int_equal(up_port_call(&port, 0, UPABI_OP_YIELD, NULL, &val), -EPIPE);
	assert_true(up_now_ns() - start < UP_NSEC_PER_SEC);
	assert_int_equal(val, 3);
	/* For good, for all, at once; and nobody is held at a gate. */
	port.alive = still_alive;
	start = up_now_ns();
	assert_int_equal(up_port_call(&port, 1, UPABI_OP_YIELD, NULL, NULL), -EPIPE);
	assert_int_not_equal(up_port_gate_wait(&port, 4, seen), seen);
	seen = up_port_gate(&port, 4);
	assert_int_equal(up_port_gate_wait(&port, 4, seen), seen);
	up_port_lose(&port, -EIO); /* the first reason stays */
	assert_int_equal(up_port_call(&port, 1, UPABI_OP_YIELD, NULL, NULL), -EPIPE);
	assert_true(up_now_ns() - start < UP_NSEC_PER_SEC);
	up_port_lose(NULL, -EIO);
}

static void *lose_later(void *arg)
{
	int tid = getpid(); /* the first thread's too */

	if (asleep_wait(&tid))
		up_port_lose(&port, -ESRCH);
	return NULL;
}

static void who_waits_is_told_of_the_loss(void **state)
{
	pthread_t t;

	port.ring = ring_nobody;
	port.alive = still_alive;
	pthread_create(&t, NULL, lose_later, NULL);
	assert_int_equal(up_port_call(&port, 0, UPABI_OP_YIELD, NULL, NULL), -ESRCH);
	pthread_join(t, NULL);
}

static void outsiders_get_slots_of_their_own(void **state)
{
	uint32_t slot[UPABI_OUTSIDE_CALLS];
	uint64_t seen = 0;

	for (uint32_t i = 0; i < UPABI_OUTSIDE_CALLS; i++) {
		slot[i] = up_port_outside_get(&port);
		assert_in_range(slot[i], ACTS, ACTS + UPABI_OUTSIDE_CALLS - 1);
		assert_false(seen >> (slot[i] - ACTS) & 1);
		seen |= UINT64_C(1) << (slot[i] - ACTS);
	}
	up_port_outside_put(&port, 0); /* an activation's: not one of them */
	up_port_outside_put(&port, ACTS + UPABI_OUTSIDE_CALLS);
	up_port_outside_put(&port, UPABI_NONE);
	assert_int_equal(port.outside_taken, UINT32_MAX);
	up_port_outside_put(&port, slot[7]);
	assert_int_equal(up_port_outside_get(&port), slot[7]);
	for (uint32_t i = 0; i < UPABI_OUTSIDE_CALLS; i++)
		up_port_outside_put(&port, slot[i]);
	assert_int_equal(port.outside_taken, 0);
}

static uint32_t served;

static void *want_slot(void *arg)
{
	uint32_t slot;

	__atomic_store_n((int *)arg, asleep_self(), __ATOMIC_RELEASE);
	slot = up_port_outside_get(&port);
	up_fetch_add_release(&served, 1);
	up_port_outside_put(&port, slot);
	return NULL;
}

static void who_finds_none_left_waits_for_one(void **state)
{
	uint64_t limit = up_now_ns() + 5 * UP_NSEC_PER_SEC;
	int tid[3] = { 0 };
	pthread_t t[3];

	served = 0;
	for (uint32_t i = 0; i < UPABI_OUTSIDE_CALLS; i++)
		up_port_outside_get(&port);
	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, want_slot, &tid[i]);
	for (int i = 0; i < 3; i++)
		assert_true(asleep_wait(&tid[i]));
	assert_int_equal(up_load_acquire(&port.outside_waiters), 3);
	assert_int_equal(up_load_acquire(&served), 0);
	up_port_outside_put(&port, ACTS + 9); /* one is enough for all three, one after another */
	while (up_load_acquire(&served) != 3 && up_now_ns() < limit)
		usleep(100);
	if (up_load_acquire(&served) != 3) {
		fprintf(stderr, "%u of 3 got a slot\n", served);
		_exit(1);
	}
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
}

static uint32_t passed;

static int at_gate; /* who */

static void *wait_at_gate(void *arg)
{
	uint32_t seen = *(uint32_t *)arg;

	__atomic_store_n(&at_gate, asleep_self(), __ATOMIC_RELEASE);
	up_store_release(&passed, up_port_gate_wait(&port, 2, seen) - seen);
	return NULL;
}

static void a_gate_opened_before_the_wait_is_open(void **state)
{
	uint32_t seen = up_port_gate(&port, 2);

	assert_int_equal(up_port_gate_open(&port, 2), 0);
	assert_int_equal(up_port_gate_wait(&port, 2, seen), seen + 1);
}

static void a_gate_wakes_who_waits(void **state)
{
	uint64_t limit = up_now_ns() + 5 * UP_NSEC_PER_SEC;
	uint32_t seen = up_port_gate(&port, 2);
	pthread_t t;

	passed = 0;
	pthread_create(&t, NULL, wait_at_gate, &seen);
	assert_true(asleep_wait(&at_gate));
	assert_int_equal(up_load_acquire(&passed), 0);
	up_port_gate_open(&port, 2);
	while (!up_load_acquire(&passed) && up_now_ns() < limit)
		usleep(100);
	if (up_load_acquire(&passed) != 1)
		_exit(1);
	pthread_join(t, NULL);
}

static void post(uint32_t vcore, uint32_t nr)
{
	struct upabi_vcoredata *vc = &port.vc[vcore];

	vc->ring[vc->ring_tail % UPABI_RING_LEN] = (struct upabi_event){ .nr = (uint16_t)nr,
									 .val = nr + 1000 };
	up_store_release(&vc->ring_tail, vc->ring_tail + 1);
}

static void events_come_in_order_then_bits(void **state)
{
	struct upabi_event ev = { .nr = 99 };
	struct upabi_vcoredata *vc = &port.vc[1];

	assert_int_equal(up_port_next_event(&port, 1, &ev), 0);
	assert_int_equal(up_port_next_event(&port, VCORES, &ev), 0);
	assert_int_equal(up_port_next_event(&port, UPABI_NONE, &ev), 0);
	assert_int_equal(up_port_next_event(NULL, 0, &ev), 0);
	assert_int_equal(up_port_next_event(&port, 1, NULL), 0);
	assert_int_equal(ev.nr, 99);
	vc->ring_head = vc->ring_tail = UINT32_MAX - 10; /* both run freely */
	vc->mask[0] = UINT64_C(1) << 10 | UINT64_C(1) << 12;
	vc->mask[3] = UINT64_C(1) << 63;
	for (uint32_t i = 0; i < UPABI_RING_LEN; i++)
		post(1, 32 + i);
	for (uint32_t i = 0; i < UPABI_RING_LEN; i++) {
		assert_int_equal(up_port_next_event(&port, 1, &ev), 1);
		assert_int_equal(ev.nr, 32 + i);
		assert_int_equal(ev.val, 1032 + i);
	}
	assert_int_equal(up_port_next_event(&port, 1, &ev), 1);
	assert_int_equal(ev.nr, 10);
	assert_int_equal(ev.val, 0);
	assert_int_equal(up_port_next_event(&port, 1, &ev), 1);
	assert_int_equal(ev.nr, 12);
	assert_int_equal(up_port_next_event(&port, 1, &ev), 1);
	assert_int_equal(ev.nr, 255);
	assert_int_equal(up_port_next_event(&port, 1, &ev), 0);
	assert_int_equal(vc->ring_head, vc->ring_tail);
}

/* Whatever of the thread's own memory is touched by way of FS is a fault while this runs. */
static void without_tls(void)
{
	struct upabi_event ev;
	uint32_t seen, slot;
	int ok = 1;

	up_syscall2(SYS_arch_prctl, 0x1002 /* ARCH_SET_FS */, 0);
	slot = up_port_outside_get(&port);
	ok &= up_port_call(&port, slot, UPABI_OP_NOTIFY, NULL, NULL) == UPABI_OP_NOTIFY;
	up_port_outside_put(&port, slot);
	seen = up_port_gate(&port, 0);
	up_port_gate_open(&port, 0);
	ok &= up_port_gate_wait(&port, 0, seen) == seen + 1;
	ok &= up_port_next_event(&port, 0, &ev) == 1;
	port.ring = ring_nobody;
	port.alive = dead;
	ok &= up_port_call(&port, 0, UPABI_OP_YIELD, NULL, NULL) == -EPIPE;
	up_syscall1(SYS_exit_group, ok ? 0 : 1);
}

static void no_tls_is_touched(void **state)
{
#ifdef __x86_64__
	pid_t pid;
	int status;

	post(0, 40);
	/* The child needs the regions, which fork() leaves out: vfork() shares all. */
	pid = vfork();
	if (pid == 0)
		without_tls();
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
#else
	skip();
#endif
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
static const struct CMUnitTest tests[] = {
	T(headers_of_others_are_refused),
	T(bad_calls_are_refused),
	T(a_call_carries_its_words_both_ways),
	T(the_bit_comes_last),
	T(a_late_answer_is_waited_for),
	T(a_dead_kernel_side_is_not_waited_for),
	T(who_waits_is_told_of_the_loss),
	T(outsiders_get_slots_of_their_own),
	T(who_finds_none_left_waits_for_one),
	T(a_gate_opened_before_the_wait_is_open),
	T(a_gate_wakes_who_waits),
	T(events_come_in_order_then_bits),
	T(no_tls_is_touched),
};

UNIT_MAIN(tests)
