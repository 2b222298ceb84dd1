/* SPDX-License-Identifier: MIT */
/*
 * UP_INJECT(name): a place where a preemption, a crash or a failure would hurt. Nothing at all in
 * an ordinary build; with -Dinject=true it calls the hook that a test has set, which may delay,
 * signal, kill, or record. Each use leaves one pointer in a section of its own (a pointer, since
 * compilers may align larger objects as they like), so that the linker numbers the points of a
 * program from 0 without any list by hand. Numbers hold for one binary only. UP_INJECT_FAIL(name):
 * the same, and its value is what the hook returns: non-zero means "pretend that the call right
 * here failed" (0 in an ordinary build). The hook runs wherever the point stands (vcore context,
 * signal handlers): it must not allocate, and must not touch TLS.
 *
 * Every system call that base/syscall.h makes asks as well, by another hook: it learns where the
 * call stands and what it is, and may answer in Linux' place.
 */
#ifndef UP_BASE_INJECT_H
#define UP_BASE_INJECT_H

#include <stdint.h>

typedef int (*up_inject_fn)(unsigned nr, const char *name, void *arg);

/* One line of source that holds a point. */
struct up_inject_point {
	const char *name;
	const char *file;
	unsigned line;
};

/* Sets the hook, or none. Set it before the threads that reach points start. */
void up_inject_set_hook(up_inject_fn fn, void *arg);
/* How many points this program holds: 0 in an ordinary build. */
unsigned up_inject_count(void);
/* The name of point nr, or NULL out of range. */
const char *up_inject_name(unsigned nr);
/* The number of the first point of that name, or -1. */
int up_inject_find(const char *name);
/* What the macros call. */
int up_inject_hit(const struct up_inject_point *const *slot);

/* 0: the call is made. Else its result, -errno. As above, and often on a small stack or with
 * nobody's FS base. */
typedef long (*up_inject_syscall_fn)(uintptr_t site, long nr, long a, long b);
void up_inject_set_syscall_hook(up_inject_syscall_fn fn);
/* What base/syscall.h calls; the site is where this returns to. */
long up_inject_syscall(long nr, long a, long b);

#ifdef UP_INJECT_ON
#define UP_INJECT_FAIL(point_name)                                                            \
	({                                                                                    \
		static const struct up_inject_point up_inject_here = { #point_name, __FILE__, \
								       __LINE__ };            \
		static const struct up_inject_point *const up_inject_slot                     \
			__attribute__((section("up_inject"), used)) = &up_inject_here;        \
		up_inject_hit(&up_inject_slot);                                               \
	})
#else
#define UP_INJECT_FAIL(point_name) 0
#endif
#define UP_INJECT(point_name) ((void)UP_INJECT_FAIL(point_name))

#endif
