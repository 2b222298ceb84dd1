/* SPDX-License-Identifier: MIT */
/*
 * A watchdog outside the runtime: a plain thread, made before upcall_start(), that touches nothing
 * of libc's with a lock in it. Whoever is to make progress comes in and pats it now and then; when
 * one of them has not for a while, the watchdog writes what every uthread is doing to stderr and
 * ends the process with status 3: a hang or a starved uthread fails, and can be read.
 */
#ifndef UP_TESTS_WATCHDOG_H
#define UP_TESTS_WATCHDOG_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <upcall/upcall.h>

#define WATCHDOG_STATUS 3

#define WATCHDOG_SLOTS 2048

static struct {
	uint64_t pats; /* 0: nobody is here */
	const char *doing;
	uint64_t seen; /* the watchdog's own: */
	unsigned idle;
} watchdog_slot[WATCHDOG_SLOTS];
static unsigned watchdog_seconds, watchdog_used;

static inline void watchdog_pat(unsigned slot)
{
	__atomic_fetch_add(&watchdog_slot[slot].pats, 1, __ATOMIC_RELAXED);
}

static inline void watchdog_doing(unsigned slot, const char *what)
{
	__atomic_store_n(&watchdog_slot[slot].doing, what, __ATOMIC_RELAXED);
}

static inline unsigned watchdog_in(const char *what)
{
	uint64_t nobody = 0;
	unsigned i;

	for (i = 0; i < WATCHDOG_SLOTS - 1; i++, nobody = 0) {
		if (__atomic_load_n(&watchdog_slot[i].pats, __ATOMIC_RELAXED) ||
		    !__atomic_compare_exchange_n(&watchdog_slot[i].pats, &nobody, 1, false,
						 __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			continue;
		if (i >= __atomic_load_n(&watchdog_used, __ATOMIC_RELAXED))
			__atomic_store_n(&watchdog_used, i + 1, __ATOMIC_RELAXED);
		break;
	}
	watchdog_doing(i, what);
	return i;
}

static inline void watchdog_out(unsigned slot)
{
	__atomic_store_n(&watchdog_slot[slot].pats, 0, __ATOMIC_RELAXED);
}

static inline void watchdog_say(const char *s)
{
	ssize_t n = write(2, s, strlen(s));

	(void)n; /* stderr may be gone: the exit status says it all the same */
}

static void watchdog_bark(const char *doing)
{
	watchdog_say("watchdog: no progress: ");
	watchdog_say(doing ? doing : "?");
	watchdog_say("\n");
	upcall_dump(2);
	watchdog_say("watchdog: a moment later\n");
	nanosleep(&(struct timespec){ 0, 200000000 }, NULL);
	upcall_dump(2);
	syscall(SYS_exit_group, WATCHDOG_STATUS);
}

static void watchdog_look(unsigned i)
{
	uint64_t pats = __atomic_load_n(&watchdog_slot[i].pats, __ATOMIC_RELAXED);

	watchdog_slot[i].idle = pats && pats == watchdog_slot[i].seen ? watchdog_slot[i].idle + 1
								      : 0;
	watchdog_slot[i].seen = pats;
	if (watchdog_slot[i].idle >= 4 * watchdog_seconds)
		watchdog_bark(watchdog_slot[i].doing);
}

static void *watchdog_main(void *arg)
{
	unsigned i;

	for (;;) {
		nanosleep(&(struct timespec){ 0, 250000000 }, NULL);
		for (i = 0; i < __atomic_load_n(&watchdog_used, __ATOMIC_RELAXED); i++)
			watchdog_look(i);
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
