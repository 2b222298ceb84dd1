/* SPDX-License-Identifier: MIT */
/*
 * Uthread-local values: a key names one in each uthread, whether it has TLS of its own or not.  A key
 * is a place and how many times that has been given out, so that one that is deleted is found out, and
 * what uthreads had there is forgotten without a walk over them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/lock.h"
#include "base/mutant.h"
#include "user/uthread.h"

#define FIRST_NR  32u /* places of the first piece; each next one has twice as many */
#define NR_PIECES 26u
#define ROUNDS	  4 /* destructors may set others anew, not for ever */

/* A place: odd while its key is in use. */
struct place {
	uint32_t turn; /* atomic */
	void (*destruct)(void *value);
};

struct up_local {
	uint32_t turn;
	void *value;
};

static struct {
	struct up_lock lock;
	uint32_t nr;			/* places that there are; under the lock */
	struct place *piece[NR_PIECES]; /* atomic; written once each */
} keys;

static uint32_t index_of(upcall_key key)
{
	return (uint32_t)key;
}

static uint32_t turn_of(upcall_key key)
{
	return (uint32_t)(key >> 32);
}

static struct place *place_of(uint32_t index)
{
	uint32_t n = index / FIRST_NR + 1, piece = up_highest_bit(n);
	struct place *p;

	if (piece >= NR_PIECES)
		return NULL;
	p = up_load_acquire(&keys.piece[piece]); /* pairs with more_places() */
	return p ? p + (index - FIRST_NR * ((1u << piece) - 1)) : NULL;
}

static struct place *live_place(upcall_key key)
{
	struct place *p = place_of(index_of(key));

	return p && (turn_of(key) & 1) && up_load_acquire(&p->turn) == turn_of(key) ? p : NULL;
}

/* The lock is not held while memory is asked for. */
static int more_places(void)
{
	uint32_t piece, nr;
	struct place *p;

	up_guard(&keys.lock.word);
	nr = keys.nr;
	up_unguard(&keys.lock.word, NULL);
	piece = up_highest_bit(nr / FIRST_NR + 1);
	if (piece >= NR_PIECES)
		return -EAGAIN;
	p = calloc((size_t)FIRST_NR << piece, sizeof(*p));
	if (!p)
		return -ENOMEM;
	up_guard(&keys.lock.word);
	if (keys.nr == nr) {
		up_store_release(&keys.piece[piece], p);
		keys.nr = nr + (FIRST_NR << piece);
		p = NULL;
	}
	up_unguard(&keys.lock.word, NULL);
	free(p); /* somebody else has been faster */
	return 0;
}

static bool take_place(void (*destruct)(void *), upcall_key *ret_key)
{
	struct place *p;
	uint32_t i, nr;

	up_guard(&keys.lock.word);
	nr = keys.nr;
	for (i = 0; i < nr; i++) {
		p = place_of(i);
		if (p->turn & 1)
			continue;
		p->destruct = destruct;
		up_store_release(&p->turn, p->turn + 1); /* pairs with live_place() */
		*ret_key = (uint64_t)p->turn << 32 | i;
		break;
	}
	up_unguard(&keys.lock.word, NULL);
	return i < nr;
}

int upcall_key_create(upcall_key *ret_key, void (*destruct)(void *value))
{
	int r;

	if (!ret_key)
		return -EINVAL;
	if (!up_self() && up_on_act())
		return -EPERM;
	while (!take_place(destruct, ret_key)) {
		r = more_places();
		if (r)
			return r;
	}
	return 0;
}

int upcall_key_delete(upcall_key key)
{
	struct place *p;
	int r = -EINVAL;

	up_guard(&keys.lock.word);
	p = live_place(key);
	if (p) {
		up_store_release(&p->turn, p->turn + 1);
		r = 0;
	}
	up_unguard(&keys.lock.word, NULL);
	return r;
}

void *upcall_key_get(upcall_key key)
{
	struct up_uthread *u = up_self();
	uint32_t i = index_of(key);

	if (!u || i >= u->wait.nr_locals ||
	    (u->wait.locals[i].turn != turn_of(key) && !UP_MUT(key_turn_unchecked)) ||
	    !live_place(key))
		return NULL;
	return u->wait.locals[i].value;
}

static int more_locals(struct up_uthread *u, uint32_t index)
{
	uint32_t nr = UP_MAX(index + 1, 2 * u->wait.nr_locals);
	struct up_local *l = realloc(u->wait.locals, nr * sizeof(*l));

	if (!l)
		return -ENOMEM;
	memset(l + u->wait.nr_locals, 0, (nr - u->wait.nr_locals) * sizeof(*l));
	u->wait.locals = l;
	u->wait.nr_locals = nr;
	return 0;
}

int upcall_key_set(upcall_key key, void *value)
{
	struct up_uthread *u = up_self();
	uint32_t i = index_of(key);
	int r;

	if (!u)
		return -EPERM;
	if (!live_place(key))
		return -EINVAL;
	if (i >= u->wait.nr_locals) {
		if (!value)
			return 0;
		r = more_locals(u, i);
		if (r)
			return r;
	}
	u->wait.locals[i] = (struct up_local){ turn_of(key), value };
	return 0;
}

/* One destructor; false: there is no value left that has one. */
static bool destruct_one(struct up_uthread *u, uint32_t i)
{
	struct up_local *l = &u->wait.locals[i];
	upcall_key key = (uint64_t)l->turn << 32 | i;
	struct place *p = l->value ? live_place(key) : NULL;
	void *value = l->value;
	void (*fn)(void *) = p ? p->destruct : NULL;

	l->value = NULL;
	if (fn && !UP_MUT(destructors_skipped))
		fn(value);
	return fn != NULL;
}

void up_local_end(struct up_uthread *u, bool destruct)
{
	bool some = destruct;
	uint32_t i;
	int round;

	for (round = 0; some && round < ROUNDS; round++)
		for (some = false, i = 0; i < u->wait.nr_locals; i++)
			some |= destruct_one(u, i);
	free(u->wait.locals);
	u->wait.locals = NULL;
	u->wait.nr_locals = 0;
}
