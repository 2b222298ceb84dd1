/* SPDX-License-Identifier: MIT */
/*
 * Finding libc's own definitions behind ours, and small things that the other libc_*.c need.
 */
#include "user/libc.h"

#include <errno.h>
#include <string.h>

#include "base/atomic.h"
#include "base/bits.h"

static struct up_libc next;

/* Every definition is looked up here, at load time, so that none is in a signal handler. Doing it
 * twice at once does no harm: both find the same. */
static void find_all(void)
{
#define x(name) next.name = (__typeof__(next.name))dlsym(RTLD_NEXT, #name)
	UP_LIBC_NAMES(x);
#undef x
	/* release: pairs with up_libc(): the pointers are in place */
	up_store_release(&next.ready, true);
}

__attribute__((constructor(101))) static void at_load(void)
{
	find_all();
}

const struct up_libc *up_libc(void)
{
	if (UP_UNLIKELY(!up_load_acquire(&next.ready))) /* pairs with find_all() */
		find_all();
	return &next;
}

UP_NOINLINE int up_libc_fail(int err)
{
	errno = err;
	return -1;
}

uint64_t up_sig_from(const sigset_t *set)
{
	uint64_t mask;

	memcpy(&mask, set, sizeof(mask));
	return mask;
}

void up_sig_to(uint64_t mask, sigset_t *ret_set)
{
	sigemptyset(ret_set);
	memcpy(ret_set, &mask, sizeof(mask));
}

struct up_uthread *up_libc_find(pthread_t thread)
{
	struct up_list *link;

	up_list_for_each (link, &up_rt.all) {
		struct up_uthread *u = up_container_of(link, struct up_uthread, all);

		if (u->fs == (uintptr_t)thread && u->live && u->state != UP_U_DONE)
			return u;
	}
	return NULL;
}
