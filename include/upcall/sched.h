/* SPDX-License-Identifier: MIT */
/*
 * The second-level scheduler: a table of operations that decides which uthread a vcore runs.
 *
 * All operations but init and fini are called in vcore context, or by a uthread with preemption
 * off: they must not block, allocate, or use TLS of libc's.  Several vcores call at once, and for a
 * moment two may call with the same number.
 */
#ifndef UPCALL_SCHED_H
#define UPCALL_SCHED_H

#include <stddef.h>
#include <stdint.h>

#include <upcall/uthread.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Why a uthread has become ready. */
enum upcall_why {
	UPCALL_NEW = 0,
	UPCALL_YIELDED = 1,
	UPCALL_PREEMPTED = 2, /* by its slice, a notification, or the loss of its core */
	UPCALL_WOKEN = 3,
	UPCALL_UNBLOCKED = 4, /* its call into the kernel is over */
	UPCALL_FAULTED = 5,   /* its fault has been dealt with */
};

struct upcall_sched_ops {
	size_t size; /* sizeof(struct upcall_sched_ops) */
	const char *name;
	int (*init)(unsigned max_vcores); /* once, before anything runs; may block */
	void (*fini)(void);
	/* `u` may run; `vcore` is where it became so. */
	void (*ready)(struct upcall_uthread *u, unsigned vcore, enum upcall_why why);
	/* What `vcore` is to run next, or NULL: it will look again, then give its core back. */
	struct upcall_uthread *(*pick)(unsigned vcore);
	/* May be NULL: told of a block in the kernel, with its class (proc.h). */
	void (*blocked)(struct upcall_uthread *u, unsigned vcore, unsigned class_of_call);
	/* May be NULL: is there something left that pick() would find?  A guess will do: on yes, `vcore`,
	 * which has just come upon work, asks for one more vcore. */
	int (*more)(unsigned vcore);
	/* May be NULL: takes `u`, which is ready, out again if it is near at hand; 1 when it has. `u` may
	 * be elsewhere by now, or be no more than memory that was one's. */
	int (*take)(struct upcall_uthread *u, unsigned vcore);
	/* May be NULL: the highest priority of all that are ready, INT_MIN where none is.  A guess will do:
	 * a uthread of a lower one gives its vcore up for it. */
	int (*rank)(void);
};

#define UPCALL_SCHED_WORDS 4
/* A scheduler's own UPCALL_SCHED_WORDS words in a uthread, for links and marks: zero in a new one, gone
 * with it, not to be freed.  Context: any; does not block.  Errors: none, NULL for NULL. */
void **upcall_sched_words(struct upcall_uthread *u);

/* In an operation but init and fini: a word that nobody else who is in one has, whatever its vcore; others
 * may look at it.  Zero at the beginning, and to be left so; it stays until upcall_stop().  Context: an
 * operation, does not block.  Errors: none; NULL where nothing has been started. */
uint32_t *upcall_sched_own_word(void);

/* The default: a queue a vcore, first in, first out within each priority, of which the lower ones get a
 * turn now and then; idle vcores steal. */
extern const struct upcall_sched_ops upcall_sched_steal;
/* First in, first out on each vcore, whatever the priorities; idle vcores steal. */
extern const struct upcall_sched_ops upcall_sched_fifo;

/* ---- several in one process ---- */

#define UPCALL_SCHED_CHILDREN_MAX 64
#define UPCALL_SCHED_WEIGHT_MAX	  1000

struct upcall_sched_child {
	const struct upcall_sched_ops *sched;
	unsigned weight; /* 1 to UPCALL_SCHED_WEIGHT_MAX */
};

/*
 * Makes *ret_ops a scheduler of which each uthread belongs to one of nr children, ordinary tables: to
 * that of who made it, else to the first.  Each vcore divides its picks among the children that have
 * work by their weights; what take() takes out runs in the turn of who waits for it.  For upcall_start();
 * one at a time in a process; the children must stay as they are until upcall_stop().  Context: any but
 * vcore; does not block.  Errors: -EINVAL NULL, none or more than UPCALL_SCHED_CHILDREN_MAX, a weight out
 * of range, a table that is not whole, is there twice, or is one of these; -EBUSY one runs.
 */
int upcall_sched_share(struct upcall_sched_ops *ret_ops, const struct upcall_sched_child *children,
		       unsigned nr);

/* Belongs to that child from when it next becomes ready; what it makes from now on does too.  Context:
 * any; does not block.  Errors: -EINVAL NULL or no such child, -ENOTCONN no such scheduler runs. */
int upcall_sched_assign(struct upcall_uthread *u, unsigned child);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
