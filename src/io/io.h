/* SPDX-License-Identifier: MIT */
/*
 * What the files of this folder share.  Read this first.
 *
 * A call is tried without blocking.  What is not ready yet is waited for: by epoll where readiness is
 * a word that Linux knows for the descriptor, else (a file on a disk) by a request to io_uring, or in
 * Linux itself, by a call of which the runtime is told.
 *
 * Interest in readiness belongs to nobody: an epoll set hangs on the process, not on the kernel thread
 * that registered, so that a vcore may be yielded, revoked or replaced with any number of uthreads
 * waiting.  Each vcore has a set for each direction, and looks at its own when it has run out of
 * uthreads.  The listener, a kernel thread, sleeps until one of the sets has something, and looks
 * there in the vcores' stead (listen.c).
 *
 *	a direction of a descriptor (fds.c)  who waits, first to last
 *	a set (ready.c)                      descriptors to be told of, once each: EPOLLONESHOT
 *	the listener                         sets to be told of, once each
 */
#ifndef UP_IO_IO_H
#define UP_IO_IO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/inject.h"
#include "base/mutant.h"
#include "base/syscall.h"
#include "user/uthread.h"
#include "user/wait.h"

enum up_io_dir {
	UP_IO_IN = 0,
	UP_IO_OUT = 1,
	UP_IO_DIRS = 2
};

/* One direction of a descriptor. */
struct up_fd_side {
	uint32_t guard;
	uint16_t set; /* atomic: vcore + 1 of the set that it was put into last; 0: none yet */
	struct up_waitq waiters; /* guard */
};

/* What it was when it was looked at first; changes with what has the number. */
enum up_fd_kind {
	UP_FD_UNKNOWN = 0,
	UP_FD_STREAM = 1, /* fewer bytes than asked for are all that there are */
	UP_FD_PIPE = 2,	  /* such a one, which can be spliced without blocking */
	UP_FD_FILE = 3,	  /* a file on a disk, or what behaves like one: always ready */
	UP_FD_DIRECT = 4, /* one that is read past the cache */
};

struct up_fd {
	struct up_fd_side side[UP_IO_DIRS];
	uint32_t kind; /* atomic: enum up_fd_kind */
	uint32_t lent; /* the first guard: calls for which it is non-blocking */
};

/* A vcore's. */
struct up_io_set {
	int ep[UP_IO_DIRS]; /* atomic; -1: nobody has waited yet */
	int kick;	    /* in the first of them: wakes the vcore that sleeps there; -1 */
	uint32_t armed[UP_IO_DIRS]; /* atomic: the listener will be told */
	uint32_t left;	/* atomic: its vcore has given its core back, and looks no more */
	uint32_t looks; /* atomic: that vcore has looked so often; two may for a moment */
	uint32_t seen;	/* the listener only: looks when it was told last */
} UP_CACHE_ALIGNED;

struct up_io {
	bool there;		/* atomic: the rest is in place */
	struct up_io_set *sets; /* by vcore */
	uint32_t nr_sets;
	uint32_t unarmed; /* atomic: Linux has refused to arm one */
	int top;	  /* the epoll set of the sets, and of the bell */
	int bell;
};

extern struct up_io up_io;

/* fds.c; uthread context */
struct up_fd *up_fd_get(int fd);  /* NULL: no memory */
struct up_fd *up_fd_find(int fd); /* any context; NULL: nobody has asked for it yet */
void up_fd_free_all(void);
int up_fd_look(int fd);	   /* enum up_fd_kind, or what Linux says, negative */
void up_fd_forget(int fd); /* it is about to be another */
/* Non-blocking for a while, which nobody is to see: for calls that have no flag for that.  -errno, 1 when
 * the program has made it so (then there is nothing to give back), 0. */
int up_fd_lend(int fd);
void up_fd_give_back(int fd);
/* Has the program made it non-blocking?  Yes where it is no descriptor: there is nothing to wait for. */
bool up_fd_is_nonblocking(int fd);

/* start.c */
int up_io_start(void); /* the first to wait; 0 or -errno */
void up_io_plug(void); /* there is something to be given back at the end */

/* ready.c */
/*
 * Uthread context: until the descriptor may be ready, or the caller's deadline.  0: try again.
 * -ETIMEDOUT, -ECANCELED; -EPERM it is always ready, as files are; what else Linux says when asked to
 * tell.
 */
int up_io_wait(int fd, enum up_io_dir dir);
/* The same for the first of several, until a moment. */
struct up_io_wanted {
	int fd;
	enum up_io_dir dir;
	struct up_fd_side *side; /* found by the wait */
	struct up_waiter w;
};
int up_io_wait_any(struct up_io_wanted *x, unsigned nr, uint64_t until);
/* Any context of ours, vcore context too: who is to be made ready for what one set has, a bounded piece
 * of it.  True: there may be more. */
bool up_io_harvest(uint32_t set, enum up_io_dir dir, struct up_wakes *k);
/* Its vcore: the same for input, after a sleep until there is something in either direction, or it is
 * kicked, or for so long. */
bool up_io_nap(uint32_t set, int ms, struct up_wakes *k);
/* The listener is told of that set once it has something, at once if it has that now. */
void up_io_arm(uint32_t set, enum up_io_dir dir);
/* All who wait for it look again. */
void up_io_wake_all(int fd);

/* try.c: a call under way. */
struct up_io_try {
	struct up_uthread *u; /* NULL: no uthread, so that the call is made as it is */
	int fd;
	enum up_io_dir dir;
	bool dont_wait;
	size_t done;
	long r; /* below 0 from the beginning: too late */
};
struct up_io_try up_io_begin(int fd, enum up_io_dir dir, bool dont_wait);
/* The call's result: is it to be made again? */
bool up_io_again(struct up_io_try *t, long r);
/* The same for one that is to go on until sz bytes are done. */
bool up_io_more(struct up_io_try *t, long r, size_t sz);
/* Until it may be ready, if the caller is to wait at all: false, and why. */
bool up_io_wait_for(struct up_io_try *t);
/* What the caller is told; one that was cancelled does not come back. */
long up_io_end(struct up_io_try *t);
/* In Linux, as an announced call where a uthread makes it. */
long up_io_plain(long nr, long a, long b, long c, long d, long e, long f);

/* poll.c */
/* Now; what is no descriptor is ready to be refused. */
bool up_io_is_ready(int fd, enum up_io_dir dir);
/* In Linux, by an announced call, until a moment. */
struct pollfd;
int up_io_poll(struct pollfd *fds, unsigned long nr, uint64_t until);

/* ring.c: a request, all zero but for what it asks for; on the stack of who waits. */
struct up_ring_req {
	struct up_ring_req *next;
	uint8_t op; /* IORING_OP_* */
	int fd;
	const void *addr;
	uint32_t len;
	uint32_t flags;
	uint64_t off;
	uint32_t guard;
	bool done; /* guard */
	int res;
	struct up_waitq waiter; /* guard */
};
bool up_ring_there(void);
/* Uthread context: until it has come back. */
long up_ring_call(struct up_ring_req *q);
/* The listener: the beginning, if Linux lets us; what has been asked for, and what is done; the end. */
void up_ring_open(void);
bool up_ring_turn(struct up_wakes *k); /* true: Linux takes no more now; come again soon */
void up_ring_close(void);

/* listen.c */
void up_listen_ring(void);
int up_listen_start(void);
void up_listen_stop(void);

#endif
