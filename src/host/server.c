/* SPDX-License-Identifier: MIT */
/*
 * The server's one thread: wait, tell the kernel side, perform what it decided, set the timer.
 * Nothing here waits for a process: sockets are non-blocking, bells are edges that nobody reads,
 * and each turn does bounded work for each process that asked for any.
 */
#include "host/server.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/inject.h"
#include "base/mutant.h"
#include "host/server_int.h"

#define TURN 64
/* How often to try again to listen where descriptors ran out. */
#define DEAF_NS (100 * UP_NSEC_PER_MSEC)

static void *kern_alloc(void *arg, size_t sz)
{
	return UP_INJECT_FAIL(server_alloc) ? NULL : calloc(1, sz);
}

static void kern_free(void *arg, void *p, size_t sz)
{
	free(p);
}

int up_srv_watch(struct up_server *s, struct up_srv_source *src, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = src };

	if (UP_INJECT_FAIL(server_watch))
		return -ENOSPC;
	return epoll_ctl(s->epoll, EPOLL_CTL_ADD, src->fd, &ev) ? -errno : 0;
}

void up_srv_unwatch(struct up_server *s, struct up_srv_source *src)
{
	if (src->fd < 0)
		return;
	epoll_ctl(s->epoll, EPOLL_CTL_DEL, src->fd, NULL);
	close(src->fd);
	src->fd = -1;
}

static int listen_at(const char *name, struct up_srv_source *ret_src)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	size_t len = name ? strlen(name) : 0;
	int fd;

	if (!len || len > sizeof(at.sun_path) - 1)
		return -EINVAL;
	memcpy(at.sun_path + 1, name, len);
	fd = UP_INJECT_FAIL(server_socket)
		     ? -1
		     : socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -EMFILE;
	if (bind(fd, (void *)&at, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)) ||
	    listen(fd, 64)) {
		int err = -errno;

		close(fd);
		return err;
	}
	*ret_src = (struct up_srv_source){ UP_SRV_LISTEN, fd };
	return 0;
}

static int open_all(struct up_server *s)
{
	struct up_kern_cfg kc = {
		.max_pcores = s->cfg.max_pcores,
		.grace_ns = s->cfg.grace_ns,
		.quantum_ns = s->cfg.quantum_ns,
		.alloc = kern_alloc,
		.free = kern_free,
	};
	int ret = up_kern_create(&kc, &s->kern);

	if (ret)
		return ret;
	s->epoll = UP_INJECT_FAIL(server_epoll) ? -1 : epoll_create1(EPOLL_CLOEXEC);
	s->timer.fd = UP_INJECT_FAIL(server_timer)
			      ? -1
			      : timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (s->epoll < 0 || s->timer.fd < 0)
		return -EMFILE;
	ret = listen_at(s->cfg.name, &s->listen);
	if (!ret)
		ret = up_srv_watch(s, &s->listen, EPOLLIN);
	if (!ret)
		ret = up_srv_watch(s, &s->timer, EPOLLIN);
	return ret;
}

int up_server_create(const struct up_server_cfg *cfg, struct up_server **ret_server)
{
	struct up_server *s;
	size_t words;
	int ret;

	if (!cfg || !ret_server || !cfg->max_pcores || !cfg->max_vcores || !cfg->max_acts ||
	    !cfg->max_clients)
		return -EINVAL;
	words = UP_BITMAP_WORDS(cfg->max_pcores);
	s = UP_INJECT_FAIL(server_create_alloc) ? NULL : calloc(1, sizeof(*s) + 8 * words);
	if (!s)
		return -ENOMEM;
	s->cfg = *cfg;
	s->epoll = -1;
	s->listen.fd = -1;
	s->timer = (struct up_srv_source){ UP_SRV_TIMER, -1 };
	up_list_init(&s->members);
	up_list_init(&s->dead);
	ret = open_all(s);
	s->cfg.name = NULL; /* the caller's memory */
	if (ret) {
		up_server_destroy(s);
		return ret;
	}
	*ret_server = s;
	return 0;
}

static void free_members(struct up_list *list)
{
	struct up_list *at;

	while ((at = up_list_first(list)))
		up_srv_free(up_list_entry(at, struct up_srv_member, link));
}

void up_server_destroy(struct up_server *s)
{
	if (!s)
		return;
	up_kern_destroy(s->kern); /* before the regions in which it writes */
	free_members(&s->members);
	free_members(&s->dead);
	up_srv_unwatch(s, &s->listen);
	up_srv_unwatch(s, &s->timer);
	if (s->epoll >= 0)
		close(s->epoll);
	free(s);
}

static void sooner(uint64_t *at, uint64_t candidate)
{
	if (candidate && (!*at || candidate < *at))
		*at = candidate;
}

/* Every deadline that is ours: takes, greetings, deafness. */
static uint64_t own_deadlines(struct up_server *s, uint64_t now)
{
	struct up_list *pos, *after;
	uint64_t next = s->deaf ? now + DEAF_NS : 0;

	up_list_for_each_safe (pos, after, &s->members) {
		struct up_srv_member *m = up_list_entry(pos, struct up_srv_member, link);

		if (m->greet_by && m->greet_by <= now)
			up_srv_leave(m);
		else
			sooner(&next, m->greet_by);
		sooner(&next, up_srv_takes(m, now));
	}
	return next;
}

static void perform_all(struct up_server *s)
{
	struct up_effect e;

	while (up_kern_next_effect(s->kern, &e)) {
		UP_INJECT(server_before_effect);
		up_srv_perform(s, &e);
	}
}

void up_srv_settle(struct up_server *s)
{
	uint64_t now = up_now_ns(), next;
	struct itimerspec when = { 0 };

	perform_all(s);
	next = own_deadlines(s, now);
	perform_all(s); /* a forced take or a hang-up may have led to more */
	sooner(&next, up_kern_deadline(s->kern));
	if (next == s->armed)
		return;
	s->armed = next;
	when.it_value = up_ns_timespec(next);
	UP_INJECT(server_before_timer);
	timerfd_settime(s->timer.fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void timer_fired(struct up_server *s)
{
	uint64_t times;

	if (read(s->timer.fd, &times, sizeof(times)) < 0)
		return;
	s->armed = 0;
	if (s->deaf && !up_srv_watch(s, &s->listen, EPOLLIN))
		s->deaf = false;
	up_kern_tick(s->kern, up_now_ns());
}

static void dispatch(struct up_server *s, struct up_srv_source *src, uint32_t events)
{
	if (src->fd < 0)
		return; /* closed by an event before this one in the same turn */
	UP_INJECT(server_dispatch);
	switch (src->what) {
	case UP_SRV_LISTEN:
		up_srv_accept(s);
		break;
	case UP_SRV_TIMER:
		timer_fired(s);
		break;
	case UP_SRV_SOCK:
		up_srv_heard(up_container_of(src, struct up_srv_member, sock), events);
		break;
	case UP_SRV_DEATH:
		up_srv_leave(up_container_of(src, struct up_srv_member, death));
		break;
	case UP_SRV_BELL:
		up_srv_rung(up_container_of(src, struct up_srv_member, bell));
		break;
	}
}

int up_server_step(struct up_server *s, int timeout_ms)
{
	struct epoll_event ev[TURN];
	int nr;

	if (!s)
		return -EINVAL;
	nr = epoll_wait(s->epoll, ev, TURN, timeout_ms);
	if (nr < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < nr; i++) {
		dispatch(s, ev[i].data.ptr, ev[i].events);
		up_srv_settle(s);
	}
	free_members(&s->dead);
	return 0;
}

int up_server_core_add(struct up_server *s, uint32_t pcore)
{
	int ret;

	if (!s)
		return -EINVAL;
	ret = up_kern_core_add(s->kern, pcore, up_now_ns());
	if (!ret)
		up_bit_set(s->in_use, pcore);
	up_srv_settle(s);
	return ret;
}

int up_server_core_remove(struct up_server *s, uint32_t pcore, uint64_t deadline_ns)
{
	int ret;

	if (!s)
		return -EINVAL;
	ret = up_kern_core_remove(s->kern, pcore, deadline_ns, up_now_ns());
	if (!ret)
		up_bit_clear(s->in_use, pcore);
	up_srv_settle(s);
	return ret;
}

int up_server_core_limit(struct up_server *s, uint32_t limit)
{
	int ret;

	if (!s)
		return -EINVAL;
	ret = up_kern_core_limit(s->kern, limit, up_now_ns());
	up_srv_settle(s);
	return ret;
}

static struct up_srv_member *find(struct up_server *s, uint32_t os_pid)
{
	struct up_list *pos;

	up_list_for_each (pos, &s->members) {
		struct up_srv_member *m = up_list_entry(pos, struct up_srv_member, link);

		if ((uint32_t)m->pid == os_pid && m->proc && !m->leaving)
			return m;
	}
	return NULL;
}

int up_server_kill(struct up_server *s, uint32_t os_pid)
{
	struct up_srv_member *m = s ? find(s, os_pid) : NULL;
	int ret;

	if (!m)
		return s ? -ESRCH : -EINVAL;
	m->killed = true;
	ret = up_kern_proc_destroy(s->kern, m->proc, up_now_ns());
	up_srv_settle(s);
	return ret;
}

int up_server_preempt(struct up_server *s, uint32_t os_pid, uint32_t vcore, uint64_t deadline_ns)
{
	struct up_srv_member *m = s ? find(s, os_pid) : NULL;
	int ret;

	if (!m)
		return s ? -ESRCH : -EINVAL;
	if (vcore == UPABI_NONE)
		ret = up_kern_preempt_gang(s->kern, m->proc, deadline_ns, up_now_ns());
	else
		ret = up_kern_preempt(s->kern, m->proc, vcore, deadline_ns, up_now_ns());
	up_srv_settle(s);
	return ret;
}

int up_server_post(struct up_server *s, uint32_t os_pid, uint32_t vcore,
		   const struct upabi_event *ev)
{
	struct up_srv_member *m = s && ev ? find(s, os_pid) : NULL;
	int ret;

	if (!m)
		return s && ev ? -ESRCH : -EINVAL;
	ret = up_kern_post(s->kern, m->proc, vcore, ev, up_now_ns());
	up_srv_settle(s);
	return ret;
}

uint32_t up_server_clients(const struct up_server *s)
{
	return s ? s->nr_members : 0;
}

struct up_kern *up_server_kern(struct up_server *s)
{
	return s ? s->kern : NULL;
}
