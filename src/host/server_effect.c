/* SPDX-License-Identifier: MIT */
/*
 * What the kernel side wants done, done to another process: its gates are words that we share, its
 * tasks are Linux'.  The number of a task comes from the process and may be a lie: it is used only
 * in ways that reach no task of anybody else (tgkill with the process's own number, or after
 * looking it up below that process).
 *
 * A core is taken in two steps: the task is told (the map says TAKE, and a signal), and has take_ns
 * to leave.  Then it is moved to where its process may still run; that it stays there cannot be
 * enforced without a cpuset, and is not pretended.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/inject.h"
#include "base/mutant.h"
#include "host/server_int.h"

static void start(struct up_srv_member *m, const struct up_effect *e)
{
	if (e->act < m->max_acts && !m->leaving) {
		uint32_t *gate = &m->call[e->act].gate;

		UP_INJECT(server_before_gate);
		/* Release pairs with the acquire in up_port_gate: the maps are written. */
		if (!UP_MUT(server_gate_not_raised))
			up_fetch_add_release(gate, 1);
		UP_INJECT(server_before_gate_wake);
		up_futex_wake_shared(gate, 1);
	}
	up_kern_effect_done(m->srv->kern, e->id, 0, up_now_ns());
}

static void answer(struct up_srv_member *m, uint32_t slot)
{
	UP_INJECT(server_before_ack);
	if (slot < upabi_call_slots(m->max_acts) && !UP_MUT(server_ack_dropped))
		up_futex_wake_shared(&m->amap[slot].call_ack, INT32_MAX);
}

/* By the process's own number, so that Linux refuses a task that is not its. */
static int interrupt(struct up_srv_member *m, uint64_t tid)
{
	if (tid == 0 || tid > INT32_MAX || m->leaving)
		return -ESRCH;
	/* The number is the process's as long as it lives; signal 0 asks. */
	if (syscall(SYS_pidfd_send_signal, m->death.fd, 0, NULL, 0))
		return -errno;
	UP_INJECT(server_before_signal);
	if (UP_MUT(server_tid_unchecked))
		return syscall(SYS_tkill, (pid_t)tid, m->signal) ? -errno : 0;
	return syscall(SYS_tgkill, m->pid, (pid_t)tid, m->signal) ? -errno : 0;
}

static void notify(struct up_srv_member *m, const struct up_effect *e)
{
	/* A word of the process's: a lie costs it a signal or the lack of one.  Acquire: not
	 * needed for safety; the fence between pending and this look is src/kern's. */
	if (e->vcore < m->max_vcores && !up_load_acquire(&m->vc[e->vcore].notif_disabled))
		interrupt(m, e->arg);
}

/* State letter of a task of that very process; 0: there is no such task. */
static char task_state(const struct up_srv_member *m, uint64_t tid)
{
	char path[64], buf[256];
	const char *at;
	ssize_t got;
	int fd;

	if (tid == 0 || tid > INT32_MAX)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", m->pid, (int)tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	got = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (got <= 0)
		return 0;
	buf[got] = 0;
	at = strrchr(buf, ')'); /* the name may hold anything */
	return at && at[1] == ' ' ? at[2] : 0;
}

/* The cores on which the process may still be, else all but the one taken; false: there is none. */
static bool elsewhere(const struct up_srv_member *m, uint32_t pcore, cpu_set_t *set)
{
	const struct up_server *s = m->srv;

	CPU_ZERO(set);
	for (uint32_t v = 0; v < m->max_vcores; v++)
		if (m->vmap[v].valid && m->vmap[v].pcore != pcore && m->vmap[v].pcore < CPU_SETSIZE)
			CPU_SET(m->vmap[v].pcore, set);
	if (CPU_COUNT(set))
		return true;
	for (uint32_t c = 0; c < s->cfg.max_pcores && c < CPU_SETSIZE; c++)
		if (c != pcore && up_bit_test(s->in_use, c))
			CPU_SET(c, set);
	return CPU_COUNT(set) > 0;
}

/* Between the look below /proc and the move the task could end and its number go to a stranger:
 * the second look finds that, and what was changed is put back. */
static void move_away(const struct up_srv_member *m, uint64_t tid, uint32_t pcore)
{
	cpu_set_t was, to;

	if (!elsewhere(m, pcore, &to) || sched_getaffinity((pid_t)tid, sizeof(was), &was) ||
	    !task_state(m, tid))
		return;
	UP_INJECT(server_before_move);
	if (!sched_setaffinity((pid_t)tid, sizeof(to), &to) && !task_state(m, tid))
		sched_setaffinity((pid_t)tid, sizeof(was), &was);
}

static int force(const struct up_srv_member *m, const struct up_srv_take *t)
{
	char state = task_state(m, t->tid);

	switch (state) {
	case 0:
	case 'Z':
	case 'X':
		return UP_TOOK_GONE;
	case 'S': /* not at its gate: that would have been an answer */
	case 'D':
	case 'I':
		return UP_TOOK_BLOCKED; /* inside Linux, and not on the core */
	default:
		move_away(m, t->tid, t->pcore);
		return UP_TOOK_VCORE; /* only starting this activation again continues it */
	}
}

static void finish(struct up_srv_member *m, struct up_srv_take *t, int how)
{
	uint64_t id = t->id;

	t->id = 0;
	m->nr_takes--;
	UP_INJECT(server_before_took);
	up_kern_effect_done(m->srv->kern, id, how, up_now_ns());
}

static void take(struct up_srv_member *m, const struct up_effect *e)
{
	struct up_srv_take *t;

	if (m->leaving || e->vcore >= m->max_vcores) {
		up_kern_effect_done(m->srv->kern, e->id, UP_TOOK_GONE, up_now_ns());
		return;
	}
	t = &m->take[e->vcore];
	m->nr_takes += t->id == 0; /* an older one of this vcore is over, or it were not here */
	*t = (struct up_srv_take){
		.id = e->id,
		.due = up_now_ns() + m->srv->cfg.take_ns,
		.tid = e->arg,
		.act = e->act,
		.pcore = e->pcore,
	};
	if (interrupt(m, t->tid) == -ESRCH)
		finish(m, t, UP_TOOK_GONE);
}

/* Did it leave by itself?  Then the kernel side knows already, and the id is stale. */
static bool still_taking(const struct up_srv_member *m, uint32_t v)
{
	return m->vmap[v].valid && (m->vmap[v].flags & UPABI_VMF_TAKE) &&
	       m->vmap[v].act == m->take[v].act;
}

uint64_t up_srv_takes(struct up_srv_member *m, uint64_t now)
{
	uint64_t next = 0;

	for (uint32_t v = 0; m->nr_takes && v < m->max_vcores; v++) {
		struct up_srv_take *t = &m->take[v];

		if (!t->id)
			continue;
		if (m->leaving) {
			finish(m, t, UP_TOOK_GONE);
		} else if (!still_taking(m, v)) {
			t->id = 0;
			m->nr_takes--;
		} else if (t->due <= now) {
			up_srv_rung(m); /* an answer that is there counts */
			if (t->id)
				finish(m, t, force(m, t));
		} else if (!next || t->due < next) {
			next = t->due;
		}
	}
	return next;
}

static void kill_all(struct up_srv_member *m, const struct up_effect *e)
{
	const struct up_wire_msg msg = { .op = UP_WIRE_KILL };

	UP_INJECT(server_before_kill);
	if (m->killed && m->death.fd >= 0) {
		/* Its death is reported when it has happened (up_srv_leave). */
		m->kill_id = e->id;
		syscall(SYS_pidfd_send_signal, m->death.fd, SIGKILL, NULL, 0);
		return;
	}
	/* It asked to go, hung up or died.  What still runs is an ordinary process. */
	up_srv_say(m, &msg);
	up_srv_leave(m);
	up_kern_effect_done(m->srv->kern, e->id, 0, up_now_ns());
}

static void released(struct up_server *s, struct up_srv_member *m)
{
	m->proc = NULL;
	up_srv_leave(m);
	up_list_remove(&m->link);
	up_list_push_back(&s->dead, &m->link);
}

void up_srv_perform(struct up_server *s, const struct up_effect *e)
{
	struct up_srv_member *m = e->host;
	struct up_wire_msg msg = { .act = e->act, .gen = e->gen, .vcore = e->vcore, .arg = e->arg };

	switch (e->op) {
	case UP_EFF_START:
		start(m, e);
		break;
	case UP_EFF_NOTIFY:
		notify(m, e);
		break;
	case UP_EFF_TAKE:
		take(m, e);
		break;
	case UP_EFF_ACK:
		answer(m, e->act);
		break;
	case UP_EFF_STANDBY:
		msg.op = UP_WIRE_STANDBY;
		up_srv_say(m, &msg);
		break;
	case UP_EFF_WANT_ACT:
		msg.op = UP_WIRE_WANT_ACT;
		up_srv_say(m, &msg);
		break;
	case UP_EFF_DROP_ACT:
		msg.op = UP_WIRE_DROP_ACT;
		up_srv_say(m, &msg);
		break;
	case UP_EFF_KILL:
		kill_all(m, e);
		break;
	case UP_EFF_RELEASE:
		released(s, m);
		break;
	case UP_EFF_NONE:
		break;
	}
}
