/* SPDX-License-Identifier: MIT */
/*
 * What to do when our own code is wrong: stop at that instruction. No message, no handler, no lock,
 * no TLS, since it may be said on a transition stack or under a foreign FS base. Not for a caller's
 * mistake (-EINVAL) and not for what the host refuses (its -errno).
 */
#ifndef UP_BASE_BUG_H
#define UP_BASE_BUG_H

#define UP_BUG() __builtin_trap()

/* Always compiled in. */
#define UP_BUG_ON(cond)                            \
	do {                                       \
		if (__builtin_expect(!!(cond), 0)) \
			UP_BUG();                  \
	} while (0)

/* Compiled in with -Dasserts=true or a debug build; elsewhere type-checked and not evaluated. */
#ifdef UP_ASSERTS_ON
#define UP_ASSERT(cond) UP_BUG_ON(!(cond))
#else
#define UP_ASSERT(cond)                 \
	do {                            \
		(void)sizeof(!!(cond)); \
	} while (0)
#endif

#define UP_UNREACHABLE() UP_BUG()

#ifdef __cplusplus
#define UP_STATIC_ASSERT(c, m) static_assert(c, m)
#else
#define UP_STATIC_ASSERT(c, m) _Static_assert(c, m)
#endif

#endif
