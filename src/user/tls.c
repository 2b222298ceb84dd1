/* SPDX-License-Identifier: MIT */
/*
 * Blocks of thread-local storage for uthreads, and the pool that they come from.
 *
 * A block is what libc makes for a thread of its own: the static blocks of all modules and the thread
 * descriptor above them, here with a word or two of ours behind. It joins libc's list of threads that
 * bring their own stack when it is first made, and stays there for life, with tid 0 while pooled. So
 * libc itself initialises a block when a library with initial-exec TLS is loaded, before the
 * library's constructors run; dlclose() waits for a uthread that is in a symbol lookup; and fork()
 * finds its caller where it looks for it.
 */
#include "user/tls.h"

#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <string.h>
#include <sys/mman.h>

#include "arch/arch.h"
#include "base/atomic.h"
#include "base/bits.h"
#include "base/bug.h"
#include "base/futex.h"
#include "base/inject.h"
#include "base/mutant.h"
#include "user/tls_layout.h"

/* Slab k holds SLAB0 << k blocks, so that a block's number tells its place and none ever moves. */
#define SLAB0	 16u
#define NR_SLABS 24u
#define NO_BLOCK 0u /* numbers on the free stack are one more than the block's */
#define LIBC_MAX 1024

/* Behind the descriptor of each block. */
struct block {
	uint32_t nr;
	uint32_t next_free; /* number + 1; owned by whoever pops or pushes the block */
	uint32_t live; /* a uthread has it; set and cleared by the owner, read in a forked child */
	uint32_t bare; /* libc holds no dtv for it: the next use must allocate one */
	uint32_t made; /* it is in libc's list; not so, it is as new */
};

static struct {
	/* Constant once a slab is there; installed by compare-and-swap. */
	uintptr_t slabs[NR_SLABS];
	uint32_t nr_carved;
	/* Top of the free stack: a generation above, number + 1 below. The generation keeps a slow pop
	 * from installing a stale next. */
	uint64_t free;
} pool;

static size_t desc_at(void)
{
	const struct up_tls_layout *l = &up_tls_layout;

	return UP_ALIGN_UP(l->static_sz - l->desc_sz, UP_MAX(l->static_align, (size_t)64));
}

static size_t block_sz(void)
{
	const struct up_tls_layout *l = &up_tls_layout;

	return UP_ALIGN_UP(desc_at() + UP_ALIGN_UP(l->desc_sz, (size_t)64) + sizeof(struct block),
			   UP_MAX(l->static_align, (size_t)64));
}

static struct block *block_of(uintptr_t fs)
{
	return (struct block *)(fs + UP_ALIGN_UP(up_tls_layout.desc_sz, (size_t)64));
}

static unsigned slab_of(uint32_t nr)
{
	return up_highest_bit(nr / SLAB0 + 1);
}

static size_t slab_sz(unsigned slab)
{
	return UP_ALIGN_UP(((size_t)SLAB0 << slab) * block_sz(), (size_t)4096);
}

static uintptr_t block_fs(uint32_t nr)
{
	unsigned slab = slab_of(nr);
	uint32_t first = SLAB0 * ((1u << slab) - 1);

	/* acquire: pairs with the release that installed the slab. */
	return up_load_acquire(&pool.slabs[slab]) + (nr - first) * block_sz() + desc_at();
}

/* libc's low-level lock: 1 held, 2 held with waiters. */
void up_tls_threads_lock(void)
{
	uint32_t *word = up_tls_layout.threads_lock;
	uint32_t seen = 0;

	/* acquire: pairs with libc's unlock and ours; the list is what the last holder left. */
	if (up_cas_acquire(word, &seen, 1))
		return;
	while (up_xchg_acquire(word, 2) != 0)
		up_futex_wait_private(word, 2, UP_FUTEX_FOREVER);
}

void up_tls_threads_unlock(void)
{
	uint32_t *word = up_tls_layout.threads_lock;

	/* release: our changes to the list are complete before it is free. */
	if (up_xchg_release(word, 0) > 1)
		up_futex_wake_private(word, 1);
}

static void push_free(uint32_t nr)
{
	struct block *b = block_of(block_fs(nr));
	uint64_t top = up_load_relaxed(&pool.free);

	do {
		up_store_relaxed(&b->next_free, (uint32_t)top);
		/* release: the block is as the popper may have it (pairs with pop_free's acquire). */
	} while (!up_cas_release(&pool.free, &top, (top >> 32) << 32 | (nr + 1)));
}

static bool pop_free(uint32_t *ret_nr)
{
	uint64_t top = up_load_acquire(&pool.free); /* pairs with push_free */
	uint64_t next;

	do {
		uint32_t nr = (uint32_t)top;

		if (nr == NO_BLOCK)
			return false;
		/* May be stale when another pop comes between: the generation then differs. */
		next = up_load_relaxed(&block_of(block_fs(nr - 1))->next_free);
		next |= ((top >> 32) + 1) << 32;
	} while (!up_cas_acquire(&pool.free, &top, next)); /* acquire: as the load above */
	*ret_nr = (uint32_t)top - 1;
	return true;
}

static int make_slab(unsigned slab)
{
	uintptr_t none = 0;
	void *mem;

	if (slab >= NR_SLABS)
		return -ENOMEM;
	if (up_load_acquire(&pool.slabs[slab])) /* pairs with the installing release */
		return 0;
	mem = UP_INJECT_FAIL(tls_slab) ? MAP_FAILED
				       : mmap(NULL, slab_sz(slab), PROT_READ | PROT_WRITE,
					      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED)
		return -ENOMEM;
	/* release: fresh zeroes are there for whoever sees the address. */
	if (!up_cas_release(&pool.slabs[slab], &none, (uintptr_t)mem))
		munmap(mem, slab_sz(slab));
	return 0;
}

static int carve(uint32_t *ret_nr)
{
	uint32_t nr = up_load_relaxed(&pool.nr_carved);

	do {
		int err = make_slab(slab_of(nr));

		if (err)
			return err;
		/* relaxed: the number is all that changes hands. */
	} while (!up_cas_relaxed(&pool.nr_carved, &nr, nr + 1));
	block_of(block_fs(nr))->nr = nr;
	*ret_nr = nr;
	return 0;
}

static bool has_dynamic(uintptr_t fs)
{
	void **dtv = *(void ***)(fs + UP_TCB_DTV);
	size_t len = (size_t)dtv[-2];

	for (size_t i = 1; i <= len; i++) {
		if (dtv[2 * i + 1])
			return true;
	}
	return false;
}

/* The words of libc that outlive a uthread, since they own memory: malloc's cache, dlerror's text. */
static void allocate_keeping_libc(uintptr_t fs, size_t libc_sz)
{
	char kept[LIBC_MAX];
	void *libc = up_tls_module_at(fs, up_tls_layout.libc_offset);

	memcpy(kept, libc, libc_sz);
	if (!up_tls_layout.allocate((void *)fs))
		return;
	memcpy(libc, kept, libc_sz);
	block_of(fs)->bare = 0;
}

/* Gives back what __tls_get_addr allocated for the last owner. */
static int drop_dynamic(uintptr_t fs)
{
	struct block *b = block_of(fs);

	if (!b->bare) {
		up_tls_layout.deallocate((void *)fs, false);
		b->bare = 1;
	}
	allocate_keeping_libc(fs, up_tls_layout.libc_sz);
	return b->bare ? -ENOMEM : 0;
}

/* All of the descriptor but its links in libc's list and its table of dynamic blocks. */
static void clear_desc(uintptr_t fs)
{
	const struct up_tls_layout *l = &up_tls_layout;
	char *desc = (char *)fs;
	uintptr_t dtv = *(uintptr_t *)(fs + UP_TCB_DTV);
	size_t after = l->list + sizeof(struct up_list);

	memset(desc, 0, l->list);
	memset(desc + after, 0, l->desc_sz - after);
	*(uintptr_t *)(fs + UP_TCB_DTV) = dtv;
}

static void copy_word(uintptr_t fs, size_t at)
{
	memcpy((char *)fs + at, (char *)up_tls_fs() + at, sizeof(uintptr_t));
}

static void fill_desc(uintptr_t fs, void *stack_lo, size_t stack_sz, uint32_t tid)
{
	const struct up_tls_layout *l = &up_tls_layout;
	uintptr_t *stack = (uintptr_t *)(fs + l->stack);

	for (unsigned i = 0; i < l->nr_links; i++)
		*(uintptr_t *)(fs + l->links[i].at) = fs + l->links[i].to;
	copy_word(fs, UP_TCB_STACK_GUARD);
	copy_word(fs, UP_TCB_POINTER_GUARD);
	copy_word(fs, UP_TCB_FEATURE);
	*(int *)(fs + UP_TCB_MULTI) = 1;
	stack[0] = (uintptr_t)stack_lo;
	stack[1] = stack_sz;
	*(uint8_t *)(fs + l->user_stack) = 1;
	/* "Not registered": the kernel's word is the activation's, and this one would stay at 0. */
	if (!UP_MUT(tls_rseq_registered))
		*(uint32_t *)(fs + l->rseq + 4) = UINT32_MAX;
	*(uint32_t *)(fs + l->tid) = UP_MUT(tls_tid_not_unique) ? 1u << 22 : tid;
	*(uintptr_t *)up_tls_module_at(fs, l->resp_offset) = fs + l->res;
	*(int *)up_tls_module_at(fs, l->errno_offset) = 0;
}

/* Sets the thread's locale, and ctype's tables with it, to the global one. The other thread pointer
 * is in force for one call only, and nothing here has looked at a thread-local word before. */
static UP_NOINLINE void use_global_locale(uintptr_t fs)
{
	uintptr_t own = up_tls_fs();

	up_arch_set_fs(fs);
	uselocale(LC_GLOBAL_LOCALE);
	up_arch_set_fs(own);
}

static int prepare_new(uintptr_t fs)
{
	struct up_list *link = (struct up_list *)(fs + up_tls_layout.list);

	/* Memory from the system is zero. */
	if (UP_INJECT_FAIL(tls_allocate) || !up_tls_layout.allocate((void *)fs))
		return -ENOMEM;
	up_list_init(link);
	block_of(fs)->made = 1;
	if (UP_MUT(tls_list_not_linked))
		return 0;
	up_tls_threads_lock();
	up_list_push_front(up_tls_layout.threads, link);
	up_tls_threads_unlock();
	return 0;
}

/* The list comes first: a library that is loaded meanwhile is initialised here by libc or by us. */
static int prepare_used(uintptr_t fs)
{
	int err = UP_MUT(tls_modules_not_refreshed) ? 0 : up_tls_refresh_modules();

	if (err)
		return err;
	if (block_of(fs)->bare || has_dynamic(fs)) {
		err = drop_dynamic(fs);
		if (err)
			return err;
	}
	clear_desc(fs);
	up_tls_init_modules(fs);
	return 0;
}

static int get_block(uint32_t *ret_nr)
{
	uint32_t nr;
	int err;

	if (!pop_free(&nr)) {
		err = carve(&nr);
		if (err)
			return err;
	}
	/* One that libc had no memory for before is as good as a new one. */
	if (block_of(block_fs(nr))->made)
		err = prepare_used(block_fs(nr));
	else
		err = prepare_new(block_fs(nr));
	if (!err)
		*ret_nr = nr;
	else if (!UP_MUT(refused_block_lost))
		push_free(nr);
	return err;
}

static void begin_use(uintptr_t fs, void *stack_lo, size_t stack_sz, uint32_t tid)
{
	fill_desc(fs, stack_lo, stack_sz, tid);
	use_global_locale(fs);
	block_of(fs)->live = 1;
}

int up_tls_create(void *stack_lo, size_t stack_sz, uint32_t fake_tid, uintptr_t *ret_fs)
{
	uint32_t nr;
	uintptr_t fs;
	int err;

	if (!up_tls_layout.ok)
		return -ENOTSUP;
	if (!ret_fs || !fake_tid)
		return -EINVAL;
	err = get_block(&nr);
	if (err)
		return err;
	fs = block_fs(nr);
	begin_use(fs, stack_lo, stack_sz, fake_tid);
	*ret_fs = fs;
	return 0;
}

void up_tls_retire(uintptr_t fs)
{
	UP_ASSERT(up_tls_owns(fs));
	*(uint32_t *)(fs + up_tls_layout.tid) = 0;
	block_of(fs)->live = 0;
}

int up_tls_renew(uintptr_t fs, void *stack_lo, size_t stack_sz, uint32_t fake_tid)
{
	int err = prepare_used(fs);

	if (!err)
		begin_use(fs, stack_lo, stack_sz, fake_tid);
	return err;
}

void up_tls_destroy(uintptr_t fs)
{
	if (!fs)
		return;
	up_tls_retire(fs);
	push_free(block_of(fs)->nr);
}

bool up_tls_owns(uintptr_t fs)
{
	for (unsigned slab = 0; slab < NR_SLABS; slab++) {
		/* acquire: as in block_fs(). Slabs are made in order, but for a race: look at all. */
		uintptr_t lo = up_load_acquire(&pool.slabs[slab]);

		if (lo && fs >= lo && fs < lo + slab_sz(slab))
			return true;
	}
	return false;
}

void up_tls_stack_of(uintptr_t fs, void **ret_lo, size_t *ret_sz)
{
	*ret_lo = ((void **)(fs + up_tls_layout.stack))[0];
	*ret_sz = ((size_t *)(fs + up_tls_layout.stack))[1];
}

uint32_t up_tls_tid_of(uintptr_t fs)
{
	return *(uint32_t *)(fs + up_tls_layout.tid);
}

/* libc's fork has emptied its list in the child; nobody else runs, so that plain accesses do. */
void up_tls_fork_child(uintptr_t keep)
{
	pool.free = 0;
	for (uint32_t nr = 0; nr < pool.nr_carved; nr++) {
		uintptr_t fs = block_fs(nr);
		struct up_list *link = (struct up_list *)(fs + up_tls_layout.list);

		if (fs == keep)
			continue;
		/* One that was being made, or that libc refused: it is as new. */
		if (!block_of(fs)->made) {
			block_of(fs)->nr = nr;
			push_free(nr);
			continue;
		}
		up_tls_threads_lock();
		up_list_push_front(up_tls_layout.threads, link);
		up_tls_threads_unlock();
		up_tls_destroy(fs);
	}
}

void up_tls_get_stats(struct up_tls_stats *ret_stats)
{
	uint32_t nr = up_load_relaxed(&pool.nr_carved); /* a figure, ordered with nothing */

	*ret_stats = (struct up_tls_stats){ .nr_blocks = nr, .block_sz = block_sz() };
	for (uint32_t i = 0; i < nr; i++)
		ret_stats->nr_live += up_load_relaxed(&block_of(block_fs(i))->live);
}
