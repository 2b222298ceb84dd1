/* SPDX-License-Identifier: MIT */
/*
 * Standing in front of libc: what src/user/libc_*.c share, and what the runtime tells them.
 *
 * Each interposed function does what libc's does, word for word, unless the runtime has been started
 * and the caller is a uthread (or asks about one). docs/libc.md says what it does then. None of this
 * is for vcore context.
 */
#ifndef UP_USER_LIBC_H
#define UP_USER_LIBC_H

#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "user/uthread.h"

/* Put before the definition of each name that we take from libc. */
#define UP_EXPORT __attribute__((visibility("default")))

/* The next definition of each name, libc's as a rule. */
#define UP_LIBC_NAMES(x)                  \
	x(_Fork);                         \
	x(dlmopen);                       \
	x(execve);                        \
	x(execvpe);                       \
	x(fexecve);                       \
	x(kill);                          \
	x(pause);                         \
	x(popen);                         \
	x(posix_spawn);                   \
	x(posix_spawnp);                  \
	x(pthread_cancel);                \
	x(pthread_create);                \
	x(pthread_detach);                \
	x(pthread_exit);                  \
	x(pthread_getaffinity_np);        \
	x(pthread_getattr_np);            \
	x(pthread_join);                  \
	x(pthread_kill);                  \
	x(pthread_mutexattr_setprotocol); \
	x(pthread_mutexattr_setrobust);   \
	x(pthread_setaffinity_np);        \
	x(pthread_sigmask);               \
	x(pthread_sigqueue);              \
	x(raise);                         \
	x(sched_getaffinity);             \
	x(sched_setaffinity);             \
	x(sigaction);                     \
	x(sigaltstack);                   \
	x(siglongjmp);                    \
	x(signal);                        \
	x(sigpending);                    \
	x(sigprocmask);                   \
	x(sigqueue);                      \
	x(sigsuspend);                    \
	x(sigtimedwait);                  \
	x(system);                        \
	x(timer_create);                  \
	x(vfork)

struct up_libc {
	bool ready;
#define x(name) __typeof__(name) *name
	UP_LIBC_NAMES(x);
#undef x
};

/* Looked up when the library is loaded, or by the first call if that comes sooner. */
const struct up_libc *up_libc(void);

/* errno of the thread that runs now: never an address from before a switch. Returns -1. */
int up_libc_fail(int err);

/* Signals that a thread causes itself, and not by a fault: a uthread takes them like a fault. */
#define UP_SIG_PIPES (up_sig_bit(SIGPIPE) | up_sig_bit(SIGXFSZ))

static inline uint64_t up_sig_bit(int sig)
{
	return UINT64_C(1) << (sig - 1);
}

/* The kernel's signal set is the first word of libc's. */
uint64_t up_sig_from(const sigset_t *set);
void up_sig_to(uint64_t mask, sigset_t *ret_set);

/* ---- told by the runtime ---- */

/* On the first thread, before it becomes uthread 0 `u`, with what must not fail later. -errno. */
int up_libc_start(struct up_uthread *u);
/* On the first thread, which is uthread 0 no more but itself again. */
void up_libc_stop(struct up_uthread *u);
/* The first thread's occupation in between: it receives the process's signals until *home is set and
 * it has been poked. */
void up_libc_receive(uint32_t *home);
void up_libc_receiver_poke(void);
/* A uthread that is to run soon, its mask set; one that runs program code no more. Not in vcore
 * context. */
void up_libc_born(const struct up_uthread *self, struct up_uthread *u);
void up_libc_gone(struct up_uthread *u); /* the caller */
/* Calls fn(arg) such that pthread_exit() comes back from it: the value of either. */
void *up_libc_call(void *(*fn)(void *), void *arg);
/* Vcore context, owner of u, before it is resumed: makes it run its handlers first if signals were
 * sent to it. Cheap when none was. */
static inline bool up_libc_has_signal(const struct up_uthread *u)
{
	/* relaxed: a signal that is missed here is found when the uthread is prodded for it */
	return UP_UNLIKELY((up_load_relaxed(&u->sig_pending) & ~u->sig_mask) != 0);
}
void up_libc_push_handlers(struct up_uthread *u);
/* In a fault's handler, as struct up_fault_hook has it. When there is a handler of the program's, it
 * does not come back: the uthread runs it, and then goes on where it was. */
bool up_libc_fault(struct up_uthread *u, int sig, siginfo_t *info, ucontext_t *uc);

/* ---- shared by the files ---- */

/* libc_mask.c */
void up_libc_set_mask(struct up_uthread *u, uint64_t mask); /* and who must know learns of it */
void up_libc_receiver_sync(void); /* what was open to the receiver has been handled */
uint32_t up_libc_handled(void);	  /* counts handlers that ran on the receiver */
uint32_t up_libc_events(void);	  /* counts those, and signals sent to uthreads */
void up_libc_events_wait(uint32_t seen);
void up_libc_events_add(void);
void up_libc_masks_reset(void);
void up_libc_child(uint64_t mask, const stack_t *altstack);

/* libc_handler.c */
void up_libc_run_pending(struct up_uthread *u);
void up_libc_run_handler(struct up_uthread *u, int sig, siginfo_t *info, void *ucontext);
/* Before a longjmp to env: handlers that it leaves give back the masks that they found; calls that it
 * leaves are not made again. */
void up_libc_jump(const void *env);

/* libc_action.c */
int up_libc_get_action(int sig, struct sigaction *ret_action);
int up_libc_actions_start(void);
void up_libc_actions_stop(void);

/* libc_child.c: what a child process inherits from this kernel thread is the process's own. */
void up_libc_child_begin(struct up_uthread *u, bool with_mask);
void up_libc_child_end(bool with_mask);
/* The uthread whose pthread_self() that is, or NULL; with up_rt.all_lock held and preemption off. */
struct up_uthread *up_libc_find(pthread_t thread);

#endif
