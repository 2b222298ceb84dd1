/* SPDX-License-Identifier: MIT */
/*
 * Slots: a stack, the uthread that lies at its top, and the block of TLS that it had last.  A slot
 * stays what it is until the runtime stops, and serves one uthread after the other, the most recent
 * first: what a new uthread touches is warm.
 *
 * Each activation has a few to itself, in its cell, so that making a uthread and ending one take no
 * lock and no line that another core writes.  A section of ours is never moved to another activation,
 * and that is all that a cell asks for.  Beyond a few, and when an activation has nothing to run, they
 * lie in a pool that all share, in batches: what one has given back the next one takes as it is, and
 * touches none but the first.
 */
#include "user/publish.h"
#include "user/uthread.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/mutant.h"
#include "user/tls.h"

/* Size classes of stacks are powers of two from 2^12 to 2^47. */
#define CLASS_MIN 12
#define CLASS_NR  36
/* A cell that has more gives those above so many to all. */
#define CELL_MOST 64u
#define CELL_SOME (CELL_MOST / 2)
#define SOME_IDS  1024u
/* Stacks of the usual size are mapped so many at once. */
#define ROW 32u
/* Stacks lie at the same place in their pages, and so would uthreads in the cache: as many different
 * places as leave room for a shallow stack in the page. */
#define COLOURS ((uint32_t)UP_SLOT_SHIFT / UP_CACHELINE_SZ)

static struct {
	struct up_lock lock;		   /* with preemption off */
	struct up_uthread *free[CLASS_NR]; /* batches, the last one to come first */
	char *row; /* stacks of the usual size that have not been used yet, the next one first */
	unsigned row_left;
	uint64_t next_id; /* atomic */
	uint32_t nr_made; /* atomic */
} pool;

static unsigned class_of(size_t sz)
{
	return up_highest_bit(up_roundup_pow2(UP_MAX(sz, (size_t)1 << CLASS_MIN))) - CLASS_MIN;
}

int up_slot_init(uint32_t max_acts)
{
	size_t sz = (max_acts + 1) * (sizeof(*up_rt.cells) + sizeof(*up_rt.counts));

	up_rt.cells = mmap(NULL, sz, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (up_rt.cells == MAP_FAILED) {
		up_rt.cells = NULL;
		return -ENOMEM;
	}
	up_rt.nr_cells = max_acts + 1;
	up_rt.counts = up_publish_counts(max_acts);
	if (!up_rt.counts)
		up_rt.counts = (struct upabi_run_count *)(up_rt.cells + up_rt.nr_cells);
	up_rt.slot_class = class_of(UP_MAX(up_rt.stack_sz, upcall_min_stack()));
	up_rt.slot_sz = (size_t)1 << (up_rt.slot_class + CLASS_MIN);
	return 0;
}

struct up_cell *up_cell_take(void)
{
	if (UP_LIKELY(up_on_act())) {
		up_gs_cs_enter();
		return &up_rt.cells[up_act_self_vc()->num];
	}
	/* A thread that is none of ours: there is one cell for them all. */
	up_lock_take(&up_rt.outside_lock);
	return &up_rt.cells[up_rt.nr_cells - 1];
}

/* Of a batch its first slot, which has these words to itself: how many they are, and the next batch. */
static uint32_t *nr_of(struct up_uthread *first)
{
	return &first->queued_at;
}

static struct up_uthread *take_batch(unsigned class)
{
	struct up_uthread *first;

	up_lock_take(&pool.lock);
	first = pool.free[class];
	if (first)
		pool.free[class] = first->batch;
	up_lock_drop(&pool.lock);
	return first;
}

static void give_batch(unsigned class, struct up_uthread *first, uint32_t nr)
{
	*nr_of(first) = nr;
	up_lock_take(&pool.lock);
	first->batch = pool.free[class];
	pool.free[class] = first;
	up_lock_drop(&pool.lock);
}

static struct up_uthread *from_cell(struct up_cell *c)
{
	struct up_uthread *u = c->slots;

	if (UP_UNLIKELY(!u)) {
		u = take_batch(up_rt.slot_class);
		if (!u)
			return NULL;
		c->nr_slots = *nr_of(u);
	}
	c->slots = u->next;
	c->nr_slots--;
	return u;
}

/* The older half, which lies deeper. */
static void spill(struct up_cell *c)
{
	struct up_uthread *keep = c->slots, *rest;
	uint32_t i;

	for (i = 1; i < CELL_SOME; i++)
		keep = keep->next;
	rest = keep->next;
	keep->next = NULL;
	give_batch(up_rt.slot_class, rest, c->nr_slots - CELL_SOME);
	c->nr_slots = CELL_SOME;
}

static void empty(struct up_cell *c)
{
	if (c->slots)
		give_batch(up_rt.slot_class, c->slots, c->nr_slots);
	c->slots = NULL;
	c->nr_slots = 0;
}

void up_slot_rest(struct up_act *a)
{
	if (!UP_MUT(slots_kept_at_rest))
		empty(&up_rt.cells[a->num]);
}

struct up_uthread *up_slot_get(struct up_cell *c, size_t sz)
{
	unsigned class;

	if (UP_LIKELY(!sz))
		return from_cell(c);
	class = class_of(sz);
	if (class == up_rt.slot_class)
		return from_cell(c);
	return class < CLASS_NR ? take_batch(class) : NULL; /* of one each */
}

void up_slot_put(struct up_cell *c, struct up_uthread *u)
{
	if (UP_UNLIKELY(u->stack.sz != up_rt.slot_sz)) {
		u->next = NULL;
		give_batch(class_of(u->stack.sz), u, 1);
		return;
	}
	u->next = c->slots;
	c->slots = u;
	if (UP_UNLIKELY(++c->nr_slots >= CELL_MOST))
		spill(c);
}

/* Where a stack has never been, or NULL; *ret_row says how many were mapped for it. */
static char *new_place(unsigned class, uint16_t *ret_row)
{
	size_t sz = (size_t)1 << (class + CLASS_MIN);
	char *at;

	*ret_row = 0;
	if (class != up_rt.slot_class) {
		*ret_row = 1;
		return up_stack_map(sz, 1);
	}
	up_lock_take(&pool.lock);
	if (!pool.row_left) {
		pool.row = up_stack_map(sz, ROW);
		pool.row_left = pool.row ? ROW : 0;
		*ret_row = ROW;
	}
	at = pool.row;
	if (at) {
		pool.row_left--;
		pool.row = pool.row_left ? at + up_stack_room(sz) : NULL;
	}
	up_lock_drop(&pool.lock);
	return at;
}

struct up_uthread *up_slot_make(size_t sz)
{
	unsigned class = sz ? class_of(sz) : up_rt.slot_class;
	struct up_stack s = { 0 };
	struct up_uthread *u;
	uintptr_t top;
	char *at;

	if (class >= CLASS_NR)
		return NULL;
	up_preempt_disable();
	at = new_place(class, &s.nr_row);
	up_preempt_enable();
	if (!at)
		return NULL;
	up_stack_begin(at, (size_t)1 << (class + CLASS_MIN), &s);
	top = (uintptr_t)s.lo + s.sz - sizeof(*u);
	/* relaxed: only to be different */
	top -= up_fetch_add_relaxed(&pool.nr_made, 1) % COLOURS * UP_CACHELINE_SZ;
	u = (struct up_uthread *)UP_ALIGN_DOWN(top, (uintptr_t)UP_CACHELINE_SZ);
	u->stack = s;
	u->state = UP_U_DONE; /* the rest is as new as its memory */
	up_preempt_disable();
	up_lock_take(&up_rt.all_lock);
	up_list_push_back(&up_rt.all, &u->all);
	up_lock_drop(&up_rt.all_lock);
	up_preempt_enable();
	return u;
}

uint64_t up_slot_new_id(struct up_cell *c)
{
	if (UP_UNLIKELY(c->next_id == c->end_id)) {
		/* relaxed: the numbers are all that changes hands */
		c->next_id = up_fetch_add_relaxed(&pool.next_id, SOME_IDS) + 1;
		c->end_id = c->next_id + (UP_MUT(ids_overlap) ? SOME_IDS + 1 : SOME_IDS);
	}
	return c->next_id++;
}

static const struct up_cell *cell_at(uint32_t i, uint32_t nr)
{
	return &up_rt.cells[i < nr ? i : up_rt.nr_cells - 1]; /* the last one is the others' */
}

static uint32_t nr_cells_used(void)
{
	return UP_MIN(up_load_acquire(&up_host.nr_acts), up_rt.nr_cells - 1);
}

void up_slot_count(uint64_t *ret_made, uint64_t *ret_live)
{
	uint64_t made = 0, freed = 0;
	uint32_t i, nr = nr_cells_used();

	/* All that were freed first, then all that were made, who is among them included: what lives is
	 * never fewer than it says.  acquire: pairs with the release in up_cell_freed() */
	for (i = 0; i <= nr; i++)
		freed += up_load_acquire(&up_cell_count(cell_at(i, nr))->freed);
	nr = nr_cells_used();
	for (i = 0; i <= nr; i++)
		made += up_load_relaxed(&up_cell_count(cell_at(i, nr))->made);
	*ret_made = made;
	*ret_live = made - freed;
}

int64_t up_slot_counted(void)
{
	uint32_t i, nr = nr_cells_used();
	int64_t sum = 0;

	for (i = 0; i <= nr; i++)
		sum += up_load_relaxed(&cell_at(i, nr)->counted);
	return sum;
}

/* Slots lie in the rows that are unmapped: which those are is found out first. */
void up_slot_fini(void)
{
	struct up_uthread *u, *firsts = NULL, *next;
	struct up_list *l;

	for (l = up_rt.all.next; l && l != &up_rt.all; l = l->next) {
		u = up_container_of(l, struct up_uthread, all);
		if (u->is_main)
			continue;
		up_tls_destroy(u->fs);
		up_stack_end(&u->stack);
		if (u->stack.nr_row) {
			u->next = firsts;
			firsts = u;
		}
	}
	for (u = firsts; u; u = next) {
		next = u->next;
		up_stack_unmap((char *)u->stack.lo + u->stack.sz - up_stack_room(u->stack.sz),
			       u->stack.sz, u->stack.nr_row);
	}
	if (up_rt.cells)
		munmap(up_rt.cells,
		       up_rt.nr_cells * (sizeof(*up_rt.cells) + sizeof(*up_rt.counts)));
	up_rt.cells = NULL;
	memset(&pool, 0, sizeof(pool));
}

/* In the child of a fork: the pool may have been in the middle of a change, on a thread that is no
 * more.  What lay in it is given up. */
void up_slot_fork_child(void)
{
	memset(&pool, 0, sizeof(pool));
}
