/* SPDX-License-Identifier: MIT */
/*
 * What upcall_mutex_lock() and upcall_mutex_unlock() do for a mutex that nobody else wants, where the
 * compiler can put it in place of the call: see upcall/sync.h, which includes this.  One compare-and-swap
 * each; all else is the library's.
 */
#ifndef UPCALL_SYNC_INLINE_H
#define UPCALL_SYNC_INLINE_H

#include <upcall/sync.h>

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__) && !defined(UPCALL_NO_INLINE)
#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define UPCALL_INLINE extern inline __attribute__((gnu_inline, always_inline))

/* The functions of the names in quotes. */
int up_mutex_lock_far(struct upcall_mutex *m) __asm__("upcall_mutex_lock");
int up_mutex_unlock_far(struct upcall_mutex *m) __asm__("upcall_mutex_unlock");

/* 0 where *word was not `was`. */
UPCALL_INLINE unsigned char up_mutex_change(volatile uint32_t *word, uint32_t was, uint32_t to)
{
	unsigned char done;

	__asm__ __volatile__("lock cmpxchgl %3, %0\n\tsete %2"
			     : "+m"(*word), "+a"(was), "=q"(done)
			     : "r"(to)
			     : "memory", "cc");
	return done;
}

UPCALL_INLINE int upcall_mutex_lock(struct upcall_mutex *m)
{
	uint32_t was = m ? *(volatile uint32_t *)&m->word : 1;
	uintptr_t me;

	if ((was & 1) || !up_mutex_change(&m->word, was, was | 1))
		return up_mutex_lock_far(m);
	__asm__ __volatile__("movq %%fs:0, %0" : "=r"(me));
	*(volatile uintptr_t *)&m->owner = me;
	return 0;
}

UPCALL_INLINE int upcall_mutex_unlock(struct upcall_mutex *m)
{
	uint32_t was = m ? *(volatile uint32_t *)&m->word : 0;

	if ((was & 7) != 1 && (was & 5) != 5)
		return up_mutex_unlock_far(m);
	*(volatile uintptr_t *)&m->owner = 0;
	if (!up_mutex_change(&m->word, was, was & ~1u))
		return up_mutex_unlock_far(m);
	return 0;
}
#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
#endif
