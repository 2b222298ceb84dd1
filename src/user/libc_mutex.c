/* SPDX-License-Identifier: MIT */
/*
 * Mutexes that the kernel itself takes part in, by the tid of a kernel thread: a uthread has none,
 * so that a robust mutex would be given to the next owner at the wrong moment and a
 * priority-inheriting one would lend its priority to a stranger. Attributes for them are refused
 * once the runtime is started.
 */
#include "user/libc.h"

#include <errno.h>

#include "base/mutant.h"

static bool refused(void)
{
	return up_rt.started && up_rt.own_tls && !UP_MUT(kernel_mutexes_allowed);
}

UP_EXPORT int pthread_mutexattr_setrobust(pthread_mutexattr_t *attr, int robustness)
{
	if (robustness == PTHREAD_MUTEX_ROBUST && refused())
		return ENOTSUP;
	return up_libc()->pthread_mutexattr_setrobust(attr, robustness);
}

UP_EXPORT int pthread_mutexattr_setprotocol(pthread_mutexattr_t *attr, int protocol)
{
	if (protocol != PTHREAD_PRIO_NONE && refused())
		return ENOTSUP;
	return up_libc()->pthread_mutexattr_setprotocol(attr, protocol);
}
