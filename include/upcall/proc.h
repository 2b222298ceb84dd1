/* SPDX-License-Identifier: MIT */
/*
 * The process: from single-core to many-core and back, how many cores it wants and has, and what
 * has happened to them.
 */
#ifndef UPCALL_PROC_H
#define UPCALL_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Zero means "the default" in every field but `size`, which is sizeof(struct upcall_opts); before the
 * default comes what the environment says (upcall-run(1)). */
struct upcall_opts {
	size_t size;
	unsigned vcores;   /* cores wanted; default: what Linux lets this process use */
	unsigned max_acts; /* kernel threads at the most, blocked ones included; default 4096 */
	uint64_t slice_ns; /* a uthread's turn when others wait; default 10 ms */
	bool no_slice;	   /* uthreads give up the core by themselves, or never */
	bool shared_tls;   /* uthreads share the TLS of whatever vcore they are on */
	int signo;	   /* the signal that carries notifications; default SIGURG */
	uint64_t grace_ns; /* warning before a core is taken; default 1 ms */
	size_t stack_sz;   /* of a uthread, when its attributes do not say; default 256 KiB */
	const struct upcall_sched_ops *sched; /* default: upcall_sched_steal */
};

/*
 * Makes the process many-core: the caller becomes uthread 0 and goes on as one, on its own stack.
 * To be called on the process's first thread.  opts may be NULL; it is not looked at afterwards, but
 * what opts->sched does must stay loaded.  Context: any; may block.  Errors: -EINVAL bad options,
 * here or in the environment, -EALREADY, -EPERM not the first thread, -EAGAIN not even one kernel thread could be made, -ENOMEM,
 * -EMFILE or -ENFILE no descriptor left, -ENOSYS where the kernel lacks something that cannot be done
 * without.  It leaves nothing behind then.
 */
int upcall_start(const struct upcall_opts *opts);

/*
 * Ends it: cores go back, kernel threads of ours end, and the caller goes on as the plain first
 * thread that it once was.  All that the library allocated is freed, scheduler's words included.
 * Context: uthread 0; may block.  Errors: -EBUSY other uthreads live, -EPERM not uthread 0, -ENOTCONN
 * not started.
 */
int upcall_stop(void);

/*
 * How many cores the process wants from now on, and below how many it would rather not run.  A
 * hint, served as cores allow.  0 makes the process single-core: when it returns, the caller's vcore
 * goes on alone, without a core of its own and under its old number, and uthreads of the others have
 * been handed to its scheduler: they take turns there, and a call that blocks blocks them all.  A
 * later request, by whichever uthread, makes the process many-core again and keeps the number.
 * Context: uthread; may block, from many-core to single-core and back.  Errors: -EINVAL min > wanted or
 * more than upcall_max_vcores(), -EPERM not on a uthread, -ENOTCONN not started.
 */
int upcall_request(unsigned wanted, unsigned min);

/* How many vcores are online now; 0 in a single-core process.  Context: any; does not block.  Errors:
 * none, 0 before the start. */
unsigned upcall_nr_vcores(void);

/* How many there can be: vcore numbers are below it.  Context: any; does not block.  Errors: none, 0
 * before the start. */
unsigned upcall_max_vcores(void);

/* The vcore that the caller was on when it asked, or -1 outside of any.  Context: any; does not block.
 * Errors: none. */
int upcall_vcore_id(void);

/* The CPU, as Linux numbers it, that a vcore is on.  Context: any; does not block.  Errors: -1 it is
 * offline, there is no such vcore, or not started. */
int upcall_vcore_cpu(unsigned vcore);

/* Ask that a vcore's core be taken in `grace_ns`, as a machine that shrinks would: for tests and
 * for policies of one's own.  vcore -1: all of them.  Context: uthread; does not block, but may lose its
 * own core.  Errors: -EINVAL no such vcore, -ESRCH it is not online, -EPERM not on a uthread, -ENOTCONN
 * not started. */
int upcall_preempt(int vcore, uint64_t grace_ns);

struct upcall_stats {
	size_t size; /* in: sizeof(struct upcall_stats) */
	uint64_t uthreads_made;
	uint64_t uthreads_live;
	uint64_t switches;   /* uthreads resumed */
	uint64_t migrations; /* ... of these, preempted ones on another kernel thread */
	uint64_t notified;   /* handler runs that led into vcore context */
	uint64_t spurious;   /* handler runs with nothing to do */
	uint64_t deferred;   /* preemptions put off to the end of a section or call */
	uint64_t preempts;   /* cores taken */
	uint64_t steals;     /* uthreads run elsewhere than where they were queued */
	uint64_t blocked[4]; /* by class: announced, fault, uninterruptible, unannounced */
	uint64_t unblocked[4];
	uint64_t behind_ns;	/* CPU time run beside a vcore after unannounced calls */
	uint64_t behind_max_ns; /* the longest such stretch */
	uint64_t restarts;	/* system calls broken into by us and put back */
	uint64_t eintr_left;	/* ... that could not be put back */
	uint64_t events_posted;
	uint64_t events_overflow;
	uint64_t backstop;	   /* blocks found by the backstop instead of the watcher */
	uint64_t no_standby;	   /* blocks that found no activation standing by */
	unsigned activations;	   /* kernel threads for vcores now */
	int activation_error;	   /* errno of the last that could not be made, or 0 */
	unsigned unguarded_stacks; /* stacks without a guard page: the kernel refused one */
};

/* What has happened since the start.  Context: any; does not block.  Errors: -EINVAL NULL or its size,
 * -ENOTCONN not started. */
int upcall_get_stats(struct upcall_stats *ret_stats);

struct upcall_vcore_stats {
	size_t size; /* in: sizeof(struct upcall_vcore_stats) */
	bool online;
	int cpu;	     /* that it is on, -1 while offline */
	uint64_t online_ns;  /* in all, the present stretch included */
	uint64_t switches;   /* uthreads resumed here */
	uint64_t migrations; /* ... of these, preempted ones on another kernel thread */
	uint64_t preempts;   /* times its core was taken, or given back on a warning */
	uint64_t events;     /* dealt with here */
};

/* What one vcore has done.  Context: any; does not block.  Errors: -EINVAL NULL, its size, or no such
 * vcore, -ENOTCONN not started. */
int upcall_get_vcore_stats(unsigned vcore, struct upcall_vcore_stats *ret_stats);

/* Writes what every uthread is doing to a descriptor.  Context: any, signal handlers included;
 * what runs meanwhile is shown as it was.  It takes no lock; may block as write(2) may.  Errors: -EBADF
 * and what write(2) gives, -ENOTCONN not started. */
int upcall_dump(int fd);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
