/* SPDX-License-Identifier: MIT */
/*
 * Events: what the kernel side tells the process, and what uthreads tell vcores.
 */
#ifndef UPCALL_EVENT_H
#define UPCALL_EVENT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Numbers of the built-in events.  Others come from upcall_event_alloc(). */
enum upcall_event_nr {
	UPCALL_EV_PREEMPT_PENDING = 1,
	UPCALL_EV_GANG_PREEMPT_PENDING = 2,
	UPCALL_EV_VCORE_PREEMPTED = 3,
	UPCALL_EV_VCORE_RETURNED = 4,
	UPCALL_EV_VCORE_GRANTED = 5,
	UPCALL_EV_BLOCKED = 6,
	UPCALL_EV_UNBLOCKED = 7,
	UPCALL_EV_FAULT = 8,
	UPCALL_EV_RESOURCE = 9,
	UPCALL_EV_USER = 10,
};

struct upcall_event {
	unsigned nr;
	uint32_t arg;
	uint64_t val;
	uint64_t aux;
	uint64_t time_ns; /* CLOCK_MONOTONIC when posted; 0 where the message was lost */
};

typedef void (*upcall_event_fn)(unsigned vcore, const struct upcall_event *ev, void *arg);

/* A number of the caller's own, which is not given back before the stop.  Context: any once started;
 * does not block.  Errors: -EINVAL ret_nr is NULL, -ENOSPC none left, -ENOTCONN not started. */
int upcall_event_alloc(unsigned *ret_nr);

/* fn is called, in vcore context, for each event of that number; NULL takes it off again.  Several
 * events may come as one (time_ns 0), and one more after fn was taken off: arg stays until the stop.
 * Context: any once started; does not block.  Errors: -EINVAL no such number, -ENOTCONN not started. */
int upcall_event_handle(unsigned nr, upcall_event_fn fn, void *arg);

/* Where events of a number go: a vcore, or -1 for whichever is best, and whether it is interrupted
 * for them.  Context: any once started; does not block.  Errors: -EINVAL no such number or vcore,
 * -ENOTCONN not started. */
int upcall_event_route(unsigned nr, int vcore, int interrupt);

/* Posts one, with two words that reach the handler as they are.  vcore -1: as routed.  Context: any
 * once started; does not block.  Errors: -EINVAL no such number or vcore, -ENOTCONN not started. */
int upcall_notify(unsigned nr, int vcore, uint64_t val, uint64_t aux);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
