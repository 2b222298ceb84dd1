/* SPDX-License-Identifier: MIT */
/*
 * A watchdog outside the runtime: a plain thread, made before upcall_start(), that touches nothing
 * of libc's with a lock in it. When nobody has patted it for a while it writes what every uthread is
 * doing to stderr and ends the process with status 3: a hang fails, and can be read.
 */
#ifndef UP_TESTS_WATCHDOG_H
#define UP_TESTS_WATCHDOG_H

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <upcall/upcall.h>

#define WATCHDOG_STATUS 3

static uint64_t watchdog_pats;
static unsigned watchdog_seconds;
static const char *watchdog_doing = "";

static inline void watchdog_pat(void)
{
	__atomic_fetch_add(&watchdog_pats, 1, __ATOMIC_RELAXED);
}

static inline void watchdog_say(const char *s)
{
	ssize_t n = write(2, s, strlen(s));

	(void)n; /* stderr may be gone: the exit status says it all the same */
}

static void watchdog_bark(void)
{
	watchdog_say("watchdog: no progress; ");
	watchdog_say(__atomic_load_n(&watchdog_doing, __ATOMIC_RELAXED));
	watchdog_say("\n");
	upcall_dump(2);
	watchdog_say("watchdog: a moment later\n");
	nanosleep(&(struct timespec){ 0, 200000000 }, NULL);
	upcall_dump(2);
	syscall(SYS_exit_group, WATCHDOG_STATUS);
}

static void *watchdog_main(void *arg)
{
	uint64_t seen = ~UINT64_C(0), pats;
	unsigned idle = 0;

	for (;;) {
		nanosleep(&(struct timespec){ 0, 250000000 }, NULL);
		pats = __atomic_load_n(&watchdog_pats, __ATOMIC_RELAXED);
		idle = pats == seen ? idle + 1 : 0;
		seen = pats;
		if (idle >= 4 * watchdog_seconds)
			watchdog_bark();
	}
	return arg;
}

/* Before upcall_start(). */
static inline void watchdog_start(unsigned seconds)
{
	sigset_t all, old;
	pthread_t t;

	watchdog_seconds = seconds;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(&t, NULL, watchdog_main, NULL))
		watchdog_say("watchdog: none could be made\n");
	else
		pthread_detach(t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

#endif
