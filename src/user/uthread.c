/* SPDX-License-Identifier: MIT */
/*
 * Uthreads: made, run, waited for, ended.  The struct lies at the top of the uthread's stack, so
 * that one mapping is all that a uthread costs besides its TLS block.
 */
#include "user/uthread.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "arch/arch.h"
#include "base/atomic.h"
#include "base/bits.h"
#include "base/inject.h"
#include "base/mutant.h"
#include "base/probe.h"
#include "user/libc.h"
#include "user/tls.h"

/*
 * Marks in `joiner`, besides NULL (nobody yet) and a uthread (who waits).  A stack that is free keeps
 * the word, so that a handle used once too often is found out until another uthread takes the place.
 */
#define DONE	  ((struct up_uthread *)1)
#define DETACHED  ((struct up_uthread *)2)
#define JOINING	  ((struct up_uthread *)3)
#define CLAIMED	  ((struct up_uthread *)4) /* it has ended, and one alone is to free it */
#define FREED	  ((struct up_uthread *)5)
#define LAST_MARK FREED

/* Kernel threads' numbers end at 2^22; libc's locks need 30 bits. */
#define TID_FIRST (1u << 22)
#define TID_LAST  (1u << 30)

struct up_runtime up_rt;

bool up_on_act(void)
{
	if (!up_arch_get_gs())
		return false;
	/* In vcore context nothing moves, so that two looks are of one activation. */
	return up_self() || (up_run_state(up_gs_run()) == UP_RUN_VCORE &&
			     up_act_self_vc()->own_fs == up_arch_get_fs());
}

struct upcall_uthread *upcall_uthread_self(void)
{
	return (struct upcall_uthread *)up_self();
}

uint64_t upcall_uthread_id(const struct upcall_uthread *u)
{
	return u ? ((const struct up_uthread *)u)->id : 0;
}

int upcall_uthread_priority(const struct upcall_uthread *u)
{
	return u ? up_load_relaxed(&((const struct up_uthread *)u)->prio) : 0;
}

int upcall_uthread_set_priority(struct upcall_uthread *u, int priority)
{
	if (!u || priority < UPCALL_PRIO_MIN || priority > UPCALL_PRIO_MAX)
		return -EINVAL;
	/* relaxed: it counts from when it next becomes ready, which orders it */
	up_store_relaxed(&((struct up_uthread *)u)->prio, (int8_t)priority);
	if (priority)
		up_store_relaxed(&up_rt.ranked, true);
	return 0;
}

void **upcall_sched_words(struct upcall_uthread *u)
{
	return u ? ((struct up_uthread *)u)->sched_words : NULL;
}

uint32_t *upcall_sched_own_word(void)
{
	return UP_LIKELY(up_rt.cells != NULL) ? &up_cell_mine()->sched_word : NULL;
}

/* ---- leaving the stack ---- */

static bool enter_vcore(void)
{
	uint64_t run = up_gs_run(), was;

	for (;;) {
		if (up_run_state(run) != UP_RUN_UTHREAD)
			return false;
		was = up_gs_run_cas(run, run - UP_RUN_UTHREAD + UP_RUN_VCORE);
		if (was == run)
			return true;
		run = was;
	}
}

/*
 * Replaced while it was in the kernel, and not called home yet: hand the uthread back, return when
 * it has been resumed.  The word changes first, by one instruction: a signal before it may take us
 * home all the same (then there is nothing left to do), none after it touches the uthread.
 */
void up_go_home(struct up_uthread *u)
{
	uint64_t run = up_gs_run(), was;

	while (up_run_state(run) == UP_RUN_STOLEN) {
		was = up_gs_run_cas(run, run & ~(uint64_t)UP_RUN_MASK);
		if (was == run) {
			u->kind = UP_CTX_COOP;
			if (!u->fs)
				up_san_leave(&up_act_self_vc()->san, &u->san, false);
			up_arch_park_own(&u->sp, UP_OWN_REJOIN);
			return;
		}
		run = was;
	}
}

static void ended(struct upcall_uthread *self, void *arg);

/* On the transition stack: the uthread is off its own. */
static void parked(void *arg)
{
	struct up_uthread *u = arg;
	struct up_act *a = up_act_self_vc();

	up_store_relaxed(a->gs.disabled, 1);
	a->gs.uthread = NULL;
	u->kind = UP_CTX_COOP;
	u->cs_depth = 0;
	a->gs.cs_depth = 0;
	a->gs.due = 0;
	up_san_acquire(u);
	u->cb((struct upcall_uthread *)u, u->cb_arg);
	up_vcore_entry(a);
}

void up_sched_call(struct up_uthread *u, void (*fn)(struct upcall_uthread *, void *), void *arg)
{
	while (!enter_vcore())
		up_go_home(u);
	u->cb = fn;
	u->cb_arg = arg;
	up_san_release(u); /* fn is called with all that its caller has done */
	if (!u->fs)
		up_san_leave(&up_act_self_vc()->san, &u->san, fn == ended);
	up_arch_park(&u->sp, parked, u);
	up_san_acquire(u);
}

static void yielded(struct upcall_uthread *self, void *arg)
{
	struct up_uthread *u = (struct up_uthread *)self;

	u->resched = false;
	up_to_sched(u, up_act_self_vc()->vcore, (enum upcall_why)(uintptr_t)arg);
}

/* It stays the vcore's: resumed after the events, unless its turn is over. */
static void attending(struct upcall_uthread *self, void *arg)
{
	up_act_self_vc()->gs.uthread = self;
}

void up_go_on(struct up_uthread *u)
{
	struct up_act *a = up_act_self_vc();

	if (up_run_state(up_gs_run()) == UP_RUN_VCORE && !a->gs.uthread)
		a->gs.uthread = u;
	else /* another has its place already */
		up_ready(u, UPCALL_WOKEN);
}

uint32_t up_vcore_here(void)
{
	return up_act_self_vc()->vcore;
}

void up_attend(void)
{
	up_sched_call(up_gs_uthread(), attending, NULL);
}

void up_leave(struct up_uthread *u, void (*fn)(struct upcall_uthread *, void *), void *arg)
{
	if (!up_direct_call(u, fn, arg))
		up_sched_call(u, fn, arg);
}

int upcall_yield(void)
{
	struct up_uthread *u = up_self();

	if (!u)
		return -EPERM;
	up_leave(u, yielded, (void *)UPCALL_YIELDED);
	return 0;
}

struct block {
	void (*fn)(struct upcall_uthread *, void *);
	void *arg;
};

static void blocked(struct upcall_uthread *self, void *arg)
{
	struct block b = *(struct block *)arg; /* on the uthread's stack: gone once it is woken */

	UP_PROBE1(uthread__block, ((struct up_uthread *)self)->id);
	((struct up_uthread *)self)->state = UP_U_WAITING;
	((struct up_uthread *)self)->resched = false;
	b.fn(self, b.arg);
}

int upcall_block(void (*fn)(struct upcall_uthread *self, void *arg), void *arg)
{
	struct up_uthread *u = up_self();
	struct block b = { fn, arg };

	if (!u)
		return -EPERM;
	if (!fn)
		return -EINVAL;
	up_sched_call(u, blocked, &b);
	return 0;
}

int upcall_wake(struct upcall_uthread *w)
{
	struct up_uthread *u = (struct up_uthread *)w;
	uint32_t was = UP_U_WAITING;

	if (!u)
		return -EINVAL;
	if (!up_rt.started)
		return -ENOTCONN;
	/* acq_rel: pairs with another waker's; what blocked() wrote was handed to us by fn */
	if (!up_cas_acq_rel(&u->state, &was, UP_U_READY) && !UP_MUT(wake_unchecked))
		return was == UP_U_DONE ? -ESRCH : -EINVAL;
	up_preempt_disable();
	up_ready(u, UPCALL_WOKEN);
	up_preempt_enable();
	return 0;
}

/* ---- preemption off ---- */

void up_preempt_disable(void)
{
	if (up_arch_get_gs())
		up_gs_cs_enter();
}

void up_preempt_enable(void)
{
	if (up_arch_get_gs() && up_gs_cs_leave())
		up_section_ended();
}

void up_section_ended(void)
{
	if (UP_UNLIKELY(up_gs_due()) && up_run_state(up_gs_run()) != UP_RUN_VCORE &&
	    up_gs_uthread() && !UP_MUT(section_end_not_yielded))
		up_attend();
}

/* ---- the end ---- */

struct up_uthread *up_uthread_of_stack(uintptr_t at)
{
	struct up_list *l;

	for (l = up_rt.all.next; l && l != &up_rt.all; l = l->next) {
		struct up_uthread *u = up_container_of(l, struct up_uthread, all);
		uintptr_t lo = (uintptr_t)u->stack.lo;

		if (u->stack.sz && at >= lo - 4096 && at < lo + u->stack.sz)
			return u;
	}
	return NULL;
}

/* With a cell of the caller's. */
static void free_uthread(struct up_cell *c, struct up_uthread *u)
{
	if (u->fs)
		up_tls_retire(u->fs);
	up_san_destroy(&u->san);
	up_store_relaxed(&u->joiner, FREED);
	u->live = false;
	/* release: pairs with up_slot_count(): that it was made is seen by who sees this */
	up_store_release(&up_cell_count(c)->freed, up_cell_count(c)->freed + 1);
	up_slot_put(c, u);
}

static void free_outside(struct up_uthread *u)
{
	struct up_cell *c = up_cell_take();

	free_uthread(c, u);
	up_cell_drop(c);
}

static void push_dead(struct up_uthread *u)
{
	struct up_uthread *head = up_load_relaxed(&up_rt.dead);

	do
		u->next = head;
	/* release: pairs with up_uthread_free_dead() */
	while (!up_cas_release(&up_rt.dead, &head, u));
}

void up_uthread_free_dead(void)
{
	struct up_uthread *u, *next;

	if (!up_load_relaxed(&up_rt.dead))
		return;
	for (u = up_xchg_acquire(&up_rt.dead, NULL); u; u = next) {
		next = u->next;
		free_outside(u);
	}
}

/* Vcore context: off its stack for good. */
static void ended(struct upcall_uthread *self, void *arg)
{
	struct up_uthread *u = (struct up_uthread *)self, *j = up_load_relaxed(&u->joiner);

	u->state = UP_U_DONE;
	do
		if (UP_UNLIKELY(j == JOINING))
			up_wait_watched(u); /* while the claim keeps it from being freed */
	/* acq_rel: pairs with the joiner's exchange: one of us sees the other */
	while (!up_cas_acq_rel(&u->joiner, &j, j ? CLAIMED : DONE));
	if (j == DETACHED)
		push_dead(u);
	else if (j && j != JOINING)
		up_ready(j, UPCALL_WOKEN);
}

/* Who waits for us already goes on at once, in our place: nobody else changes the word any more. */
static inline bool end_for_joiner(struct up_act *a, struct up_uthread *u)
{
	/* acquire: pairs with join_wait(): its context is saved */
	struct up_uthread *j = up_load_acquire(&u->joiner);

	if ((uintptr_t)j <= (uintptr_t)LAST_MARK || !up_direct_fits(j))
		return false;
	u->state = UP_U_DONE;
	UP_PROBE3(uthread__ready, j->id, a->vcore, UPCALL_WOKEN);
	up_store_relaxed(&u->joiner, CLAIMED); /* j reads it, here */
	up_direct_over(a, u, j);
	return true;
}

/* What up_arch_over() is to be told, which is all that is left to do. */
static void *end(struct up_uthread *u, void *value)
{
	struct up_act *a;

	UP_PROBE1(uthread__end, u->id);
	up_san_release(u);
	u->value = value;
	u->wait.cancel_off++; /* no second end on the way to the first */
	if (UP_UNLIKELY(u->wait.cleanups || u->wait.locals))
		up_exit_cleanup(u);
	if (up_rt.own_tls)
		up_tls_run_dtors();
	up_libc_gone(u);
	if (u->deque)
		up_rt.fork->end(u);
	a = up_direct_begin();
	if (a && end_for_joiner(a, u))
		return NULL;
	if (!up_direct_end(a, u, ended)) {
		up_sched_call(u, ended, NULL);
		UP_BUG();
	}
	return u;
}

void upcall_uthread_exit(void *value)
{
	struct up_uthread *u = up_self();

	UP_BUG_ON(!u);
	up_arch_over(end(u, value));
}

static void *begin(void *arg)
{
	struct up_uthread *u = arg;

	up_san_acquire(u);
	return end(u, up_rt.own_tls ? up_libc_call(u->fn, u->arg) : u->fn(u->arg));
}

/* ---- the beginning ---- */

static uint32_t new_tid(uint64_t id)
{
	if (UP_MUT(uthread_tid_not_unique))
		return TID_FIRST;
	return TID_FIRST + (uint32_t)(id % (TID_LAST - TID_FIRST));
}

size_t upcall_min_stack(void)
{
	size_t own = sizeof(struct up_uthread) + UP_SLOT_SHIFT;

	return UP_ALIGN_UP(2 * up_frame_max_size() + own + 4096, (size_t)4096);
}

/* All but what is the slot's own.  By hand: what the compiler makes of memset() costs twice as much. */
static inline void clear(struct up_uthread *u)
{
	typedef long long words __attribute__((vector_size(16), may_alias));
	const words none = { 0 };
	size_t i;

	UP_STATIC_ASSERT(offsetof(struct up_uthread, stack) % sizeof(words) == 0, "a rest is left");
#pragma GCC unroll 16
	for (i = 0; i < offsetof(struct up_uthread, stack); i += sizeof(words)) {
		*(words *)((char *)u + i) = none;
		up_compiler_barrier();
	}
	u->name[0] = 0;
}

/* A slot for one more, with a number of its own. */
static struct up_uthread *get_slot(const struct up_uthread *self, size_t stack_sz)
{
	struct up_cell *c;
	struct up_uthread *u;
	uint64_t fs;

	if (self)
		up_section_enter();
	c = self ? up_cell_mine() : up_cell_take();
	u = up_slot_get(c, stack_sz);
	if (UP_UNLIKELY(!u)) {
		up_cell_drop(c);
		u = up_slot_make(stack_sz); /* may sleep in Linux */
		if (!u)
			return NULL;
		c = up_cell_take();
	}
	fs = u->fs;
	clear(u);
	u->fs = fs;
	u->live = true;
	u->id = up_slot_new_id(c);
	up_store_relaxed(&up_cell_count(c)->made, up_cell_count(c)->made + 1);
	up_cell_drop(c);
	return u;
}

static int give_tls(struct up_uthread *u)
{
	uintptr_t lo = (uintptr_t)u->stack.lo, fs = u->fs;
	int r;

	if (!up_rt.own_tls)
		return 0;
	up_preempt_disable();
	if (UP_INJECT_FAIL(uthread_tls))
		r = -ENOMEM;
	else if (fs)
		r = up_tls_renew(fs, u->stack.lo, (uintptr_t)u - lo, u->fake_tid);
	else
		r = up_tls_create(u->stack.lo, (uintptr_t)u - lo, u->fake_tid, &fs);
	up_preempt_enable();
	u->fs = fs;
	return r;
}

static int make(const struct up_uthread *self, size_t stack_sz, struct up_uthread **ret_u)
{
	struct up_uthread *u = get_slot(self, stack_sz);
	int r;

	if (!u)
		return -ENOMEM;
	u->fake_tid = new_tid(u->id);
	up_san_create(&u->san, u->stack.lo, (uintptr_t)u - (uintptr_t)u->stack.lo);
	up_san_acquire(u); /* of who had the stack before */
	r = give_tls(u);
	if (r) {
		u->state = UP_U_DONE;
		free_outside(u);
		return r;
	}
	*ret_u = u;
	return 0;
}

static int check_attr(const struct upcall_uthread_attr *attr)
{
	if (attr && (attr->size != sizeof(*attr) ||
		     (attr->stack_sz && attr->stack_sz < upcall_min_stack()) ||
		     attr->priority < UPCALL_PRIO_MIN || attr->priority > UPCALL_PRIO_MAX))
		return -EINVAL;
	return 0;
}

int upcall_uthread_create(struct upcall_uthread **ret_u, const struct upcall_uthread_attr *attr,
			  void *(*fn)(void *), void *arg)
{
	struct up_uthread *u, *self = up_self();
	bool detached = attr && attr->detached;
	int r;

	if (!up_rt.started)
		return -ENOTCONN;
	if (!fn || (!ret_u && !detached) || check_attr(attr))
		return -EINVAL;
	/* It allocates: whoever holds the lock for that may be waiting for this very vcore. */
	if (!self && up_on_act())
		return -EPERM;
	up_uthread_free_dead();
	r = make(self, attr ? attr->stack_sz : 0, &u);
	if (r)
		return r;
	u->fn = fn;
	u->arg = arg;
	u->detached = detached;
	u->joiner = detached ? DETACHED : NULL;
	u->last_act = UPABI_NONE;
	u->sig_mask = self ? self->sig_mask : 0;
	if (attr && attr->priority)
		upcall_uthread_set_priority((struct upcall_uthread *)u, attr->priority);
	if (attr && attr->name)
		strncpy(u->name, attr->name, UP_NAME_SZ - 1);
	UP_STATIC_ASSERT(offsetof(struct up_uthread, sp) == 0, "switch.S takes it from there");
	u->sp = up_arch_new_stack(u, begin, u);
	UP_PROBE3(uthread__create, u->id, u->fn, u->name);
	if (ret_u)
		*ret_u = (struct upcall_uthread *)u;
	up_libc_born(self, u);
	if (UP_LIKELY(self != NULL)) {
		up_section_enter();
		up_ready_here(u, UPCALL_NEW);
		up_section_leave();
	} else {
		up_ready(u, UPCALL_NEW);
	}
	return 0;
}

static void aside(struct upcall_uthread *self, void *arg)
{
	UP_PROBE1(uthread__block, ((struct up_uthread *)self)->id);
	((struct up_uthread *)self)->state = UP_U_ASIDE;
	((struct up_uthread *)self)->resched = false;
}

/* Off its stack: wait for its end, unless that has come. */
static void join_wait(struct upcall_uthread *self, void *arg)
{
	struct up_uthread *u = arg, *expected = JOINING;

	aside(self, NULL);
	/* acq_rel: pairs with ended()'s exchange */
	if (!up_cas_acq_rel(&u->joiner, &expected, (struct up_uthread *)self))
		up_ready((struct up_uthread *)self, UPCALL_WOKEN);
}

/*
 * `as` from now on, where nobody has a claim yet; or, when it has ended, the claim to free it, and
 * *ret_ended.
 */
static int claim(struct up_uthread *u, struct up_uthread *as, bool *ret_ended)
{
	/* relaxed: a guess, so that where it has ended there is one exchange and not two */
	struct up_uthread *was = up_load_relaxed(&u->joiner);

	/* acq_rel, both: pairs with ended()'s exchange */
	*ret_ended = false;
	if (was != DONE) {
		was = NULL;
		if (up_cas_acq_rel(&u->joiner, &was, as))
			return 0;
	}
	*ret_ended = was == DONE && up_cas_acq_rel(&u->joiner, &was, CLAIMED);
	if (*ret_ended || UP_MUT(join_unchecked))
		return 0;
	return was == FREED ? -ESRCH : -EINVAL;
}

/*
 * One that has not begun, or is ready, and is at hand, and that nobody has a claim on: it runs in our
 * place, and ends in it as a rule.  Once it is out of the scheduler's hands it is ours alone, so that our
 * claim needs no exchange.
 */
static bool run_in_place(struct up_uthread *self, struct up_uthread *u)
{
	struct up_act *a;

	/* acquire: as in claim() */
	if (!up_rt.sched.take || up_load_acquire(&u->joiner))
		return false;
	a = up_direct_begin();
	if (!a)
		return false;
	if (!up_rt.sched.take((struct upcall_uthread *)u, a->vcore)) {
		up_section_leave();
		return false;
	}
	if (UP_UNLIKELY(up_load_relaxed(&u->joiner) !=
			NULL)) { /* one that is the program's error */
		up_ready_here(u, UPCALL_YIELDED);
		up_section_leave();
		return false;
	}
	UP_PROBE1(uthread__block, self->id);
	self->state = UP_U_ASIDE;
	up_store_relaxed(&u->joiner, self); /* it reads it at its end, here */
	if (up_direct_fits(u))
		up_direct_to(a, self, u, false);
	else
		up_direct_long(self, aside, NULL, u);
	return true;
}

int up_join_begin(struct up_uthread *u, bool *ret_ended)
{
	return claim(u, JOINING, ret_ended);
}

void up_join_end(struct up_uthread *u, bool ended, void **ret_value)
{
	if (!ended)
		up_leave(up_gs_uthread(), join_wait, u);
	up_san_acquire(u);
	if (ret_value)
		*ret_value = u->value;
	up_section_enter();
	free_uthread(up_cell_mine(), u);
	up_section_leave();
}

bool up_join_abandon(struct up_uthread *u)
{
	struct up_uthread *was = JOINING;

	return up_cas_acq_rel(&u->joiner, &was, (struct up_uthread *)NULL);
}

int upcall_uthread_join(struct upcall_uthread *w, void **ret_value)
{
	struct up_uthread *u = (struct up_uthread *)w, *self = up_self();
	bool ended = true;
	int r;

	if (!u)
		return -EINVAL;
	if (!self)
		return -EPERM;
	if (u == self)
		return -EDEADLK;
	self->wait.kind = UP_WAIT_JOIN; /* shown while it waits */
	self->wait.obj = u;
	if (!run_in_place(self, u)) {
		r = claim(u, JOINING, &ended);
		if (r)
			return r;
	}
	up_join_end(u, ended, ret_value);
	return 0;
}

int upcall_uthread_detach(struct upcall_uthread *w)
{
	struct up_uthread *u = (struct up_uthread *)w;
	bool ended;
	int r;

	if (!u)
		return -EINVAL;
	if (!up_rt.started)
		return -ENOTCONN;
	r = claim(u, DETACHED, &ended);
	if (!r && ended)
		free_outside(u);
	return r;
}

/* ---- uthread 0 ---- */

static struct up_uthread main_uthread;

int up_uthread_adopt_main(struct up_uthread **ret_u)
{
	struct up_uthread *u = &main_uthread;

	memset(u, 0, sizeof(*u));
	u->is_main = true;
	u->last_act = UPABI_NONE;
	u->fs = up_arch_get_fs();
	strncpy(u->name, "main", UP_NAME_SZ - 1);
	up_list_push_back(&up_rt.all, &u->all);
	u->live = true;
	up_cell_count(&up_rt.cells[up_rt.nr_cells - 1])->made = 1;
	up_rt.cells[up_rt.nr_cells - 1].counted = 1;
	*ret_u = u;
	return 0;
}
