/* SPDX-License-Identifier: MIT */
/* Work that divides itself, with results that are known: what the tests of forks have in common. */
#ifndef UP_TESTS_FORK_WORK_H
#define UP_TESTS_FORK_WORK_H

#include "../user/rt.h"

struct fib {
	unsigned n;
	uint64_t value;
};

static inline void fib(void *arg)
{
	struct fib *w = arg, a, b;
	struct upcall_fork f;

	if (w->n < 2) {
		w->value = w->n;
		return;
	}
	a.n = w->n - 1;
	b.n = w->n - 2;
	CHECK_INT(upcall_spawn(&f, fib, &a), 0);
	fib(&b);
	CHECK_INT(upcall_sync(&f), 0);
	w->value = a.value + b.value;
}

static inline uint64_t fib_plain(unsigned n)
{
	uint64_t a = 0, b = 1, c;

	for (; n; n--, c = a + b, a = b, b = c)
		;
	return a;
}

static inline void fib_check(unsigned n)
{
	struct fib w = { .n = n };

	fib(&w);
	CHECK_INT(w.value, fib_plain(n));
}

static inline void *fib_thread(void *arg)
{
	fib_check((unsigned)(uintptr_t)arg);
	return NULL;
}

/* Queens on a board: as many forks open at once as a row has places. */
#define QUEENS_MAX 12

struct queens {
	unsigned n, row;
	uint8_t at[QUEENS_MAX];
	uint64_t found;
};

static inline bool queen_fits(const struct queens *q, unsigned col)
{
	unsigned r;

	for (r = 0; r < q->row; r++)
		if (q->at[r] == col || q->row - r == (unsigned)abs((int)col - (int)q->at[r]))
			return false;
	return true;
}

static inline void queens(void *arg)
{
	struct queens *q = arg, next[QUEENS_MAX];
	struct upcall_fork f[QUEENS_MAX];
	unsigned col, nr = 0;

	q->found = q->row == q->n;
	for (col = 0; q->row < q->n && col < q->n; col++) {
		if (!queen_fits(q, col))
			continue;
		next[nr] = *q;
		next[nr].at[next[nr].row++] = (uint8_t)col;
		CHECK_INT(upcall_spawn(&f[nr], queens, &next[nr]), 0);
		nr++;
	}
	while (nr--) {
		CHECK_INT(upcall_sync(&f[nr]), 0);
		q->found += next[nr].found;
	}
}

static inline void queens_check(unsigned n, uint64_t found)
{
	struct queens q = { .n = n };

	queens(&q);
	CHECK_INT(q.found, found);
}

/* A tree whose shape a hash decides: from a leaf to thousands of nodes below a node. */
struct tree {
	uint64_t seed;
	unsigned depth;
	uint64_t nodes;
};

#define TREE_DEPTH 40

static inline uint64_t tree_hash(uint64_t x)
{
	x = (x ^ x >> 31) * 0x9e3779b97f4a7c15ull;
	return x ^ x >> 29;
}

static inline unsigned tree_width(const struct tree *t)
{
	return t->depth == 0		       ? 4
	       : t->depth >= TREE_DEPTH	       ? 0
	       : tree_hash(t->seed) % 100 < 48 ? 2
					       : 0;
}

static inline void tree(void *arg)
{
	struct tree *t = arg, below[4];
	unsigned i, nr = tree_width(t);
	struct upcall_fork f[4];

	t->nodes = 1;
	for (i = 0; i < nr; i++) {
		below[i] = (struct tree){ tree_hash(t->seed + i + 1), t->depth + 1, 0 };
		CHECK_INT(upcall_spawn(&f[i], tree, &below[i]), 0);
	}
	while (nr--) {
		CHECK_INT(upcall_sync(&f[nr]), 0);
		t->nodes += below[nr].nodes;
	}
}

static inline uint64_t tree_plain(uint64_t seed, unsigned depth)
{
	struct tree t = { seed, depth, 0 };
	uint64_t nodes = 1;
	unsigned i;

	for (i = 0; i < tree_width(&t); i++)
		nodes += tree_plain(tree_hash(seed + i + 1), depth + 1);
	return nodes;
}

static inline void tree_check(uint64_t seed)
{
	struct tree t = { .seed = seed };

	tree(&t);
	CHECK_INT(t.nodes, tree_plain(seed, 0));
}

static inline void add_one(void *arg)
{
	++*(unsigned *)arg;
}

/* Each index is to be seen once. */
struct counted {
	uint8_t *seen;
	size_t longest; /* that a range may be */
};

static inline void count_range(size_t b, size_t e, void *arg)
{
	struct counted *c = arg;

	CHECK(b < e && e - b <= c->longest);
	for (; b < e; b++)
		__atomic_fetch_add(&c->seen[b], 1, __ATOMIC_RELAXED);
}

static inline void for_check(size_t begin, size_t end, size_t grain)
{
	struct counted c = { calloc(end + 1, 1), grain ? grain : SIZE_MAX };
	size_t i;

	CHECK(c.seen);
	CHECK_INT(upcall_for(begin, end, grain, count_range, &c), 0);
	for (i = 0; i <= end; i++)
		CHECK_INT(c.seen[i], i >= begin && i < end);
	free(c.seen);
}

#endif
