/* SPDX-License-Identifier: MIT */
/*
 * Alarms: something is done at a moment of CLOCK_MONOTONIC, in vcore context, soon after it has come
 * and never before.  The alarm lies inside what it is about, so that setting one cannot fail.
 */
#ifndef UP_USER_ALARM_H
#define UP_USER_ALARM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct up_uthread;

struct up_alarm {
	struct up_list link; /* the wheel's lock */
	uint64_t at;
	uint32_t wheel; /* the vcore that set it */
	uint16_t slot;	/* where it lies; UP_ALARM_SPILLED: nowhere yet */
	bool set;	/* atomic; false once due() has returned */
	/* Vcore context, the wheel's lock held: what has come due is told; a uthread that is to be
	 * made ready afterwards, or NULL.  The alarm may be gone once the lock is free. */
	struct up_uthread *(*due)(struct up_alarm *a);
};

extern uint32_t up_alarms_due; /* atomic: some wait to be looked at by a vcore */

int up_alarm_init(uint32_t max_vcores);
void up_alarm_fini(void);
/* Vcore context.  `due` has been filled in, the rest has not. */
void up_alarm_set(struct up_alarm *a, uint32_t vcore, uint64_t at);
/* Any context, by its owner: once it has returned due() is not running, and will not. */
void up_alarm_stop(struct up_alarm *a);
/* Vcore context: what has come due, a bounded piece of it; the rest keeps up_alarms_due set. */
void up_alarm_run(uint32_t vcore);
/* The lookout: tells a vcore when something is due; when to come again, UINT64_MAX never. */
uint64_t up_alarm_look(uint64_t now);
bool up_alarm_any(void);

#endif
