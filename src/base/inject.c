/* SPDX-License-Identifier: MIT */
/*
 * The table of injection points and the hook behind them. Linked into every program, and empty
 * where the points were compiled out. Called from anywhere, so nothing here waits, allocates or
 * uses TLS.
 */
#include "base/inject.h"

#include <stddef.h>
#include <string.h>

#include "base/atomic.h"

/* The linker defines both when the section is there; NULL when no point was compiled in. */
extern const struct up_inject_point *const __start_up_inject[]
	__attribute__((weak, visibility("hidden")));
extern const struct up_inject_point *const __stop_up_inject[]
	__attribute__((weak, visibility("hidden")));

static up_inject_fn hook;
static void *hook_arg;
static up_inject_syscall_fn syscall_hook;

void up_inject_set_hook(up_inject_fn fn, void *arg)
{
	/* No hook while the argument changes; release pairs with the acquire in up_inject_hit. */
	up_store_release(&hook, (up_inject_fn)NULL);
	up_store_relaxed(&hook_arg, arg);
	up_store_release(&hook, fn);
}

unsigned up_inject_count(void)
{
	return (unsigned)(__stop_up_inject - __start_up_inject);
}

const char *up_inject_name(unsigned nr)
{
	return nr < up_inject_count() ? __start_up_inject[nr]->name : NULL;
}

int up_inject_find(const char *name)
{
	for (unsigned nr = 0; nr < up_inject_count(); nr++)
		if (!strcmp(__start_up_inject[nr]->name, name))
			return (int)nr;
	return -1;
}

int up_inject_hit(const struct up_inject_point *const *slot)
{
	/* Pairs with the release in up_inject_set_hook: a hook seen has its argument in place. */
	up_inject_fn fn = up_load_acquire(&hook);

	if (!fn)
		return 0;
	return fn((unsigned)(slot - __start_up_inject), (*slot)->name, up_load_relaxed(&hook_arg));
}

void up_inject_set_syscall_hook(up_inject_syscall_fn fn)
{
	up_store_release(&syscall_hook, fn); /* pairs with the acquire below */
}

/* Called where vector registers are the program's: so is the hook. */
__attribute__((noinline, target("general-regs-only"))) long up_inject_syscall(long nr, long a,
									      long b)
{
	up_inject_syscall_fn fn = up_load_acquire(&syscall_hook);

	return fn ? fn((uintptr_t)__builtin_return_address(0), nr, a, b) : 0;
}
