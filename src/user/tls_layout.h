/* SPDX-License-Identifier: MIT */
/*
 * What up_tls_probe() has learnt about this libc: shared by the src/user/tls*.c and by nobody else.
 * Written by the probe before any block exists, constant afterwards.
 */
#ifndef UP_USER_TLS_LAYOUT_H
#define UP_USER_TLS_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

#define UP_TLS_NR_LINKS	 16
#define UP_TLS_NR_KEYS	 1024 /* PTHREAD_KEYS_MAX */
#define UP_TLS_KEY_GROUP 32   /* keys whose values lie in one table of a thread */

/* A word of the descriptor that points into the same descriptor. */
struct up_tls_link {
	uint16_t at;
	uint16_t to;
};

/* libc's record of one key, and a thread's value for it. */
struct up_tls_key {
	uintptr_t seq; /* odd: in use */
	void (*dtor)(void *);
};
struct up_tls_value {
	uintptr_t seq;
	void *data;
};

struct up_tls_layout {
	bool ok;
	const char *why; /* which finding failed */

	/* Sizes: static_sz covers every module's block and the descriptor behind them. */
	size_t static_sz;
	size_t static_align;
	size_t desc_sz;

	/* Offsets in the descriptor, from the thread pointer. */
	size_t tid;
	size_t list;
	size_t stack;	   /* address and size, two words */
	size_t user_stack; /* a byte: the stack is not libc's to reuse */
	size_t groups;	   /* struct up_tls_value *[32] */
	size_t res;	   /* resolver state */
	size_t rseq;
	struct up_tls_link links[UP_TLS_NR_LINKS];
	unsigned nr_links;

	/* Offsets below the thread pointer: libc's own thread-local words. */
	size_t libc_offset; /* of its whole block, kept when a block is pooled */
	size_t libc_sz;
	size_t errno_offset;
	size_t resp_offset;

	/* Offsets in struct link_map. */
	size_t map_tls_offset;
	size_t map_tls_modid;

	void *(*allocate)(void *desc);
	void (*deallocate)(void *desc, bool descriptor_too);
	void (*call_dtors)(void);
	struct up_tls_key *keys;

	/* The threads that bring their own stack, and the lock of that list. */
	struct up_list *threads;
	uint32_t *threads_lock;
	/* Counts loads and unloads of modules with thread-local storage; NULL: nobody knows. */
	size_t *generation;
};

extern struct up_tls_layout up_tls_layout;

/* libc's list is a struct up_list in all but name; its lock is 0, 1, or 2 with waiters. */
void up_tls_threads_lock(void);
void up_tls_threads_unlock(void);

/* Looks at the modules anew if any came or went since the last look. 0 or -ENOMEM. */
int up_tls_refresh_modules(void);

/* Writes the initial images of every module but libc into the static blocks of the thread fs. */
void up_tls_init_modules(uintptr_t fs);

#endif
