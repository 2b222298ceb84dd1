/* SPDX-License-Identifier: MIT */
/*
 * One process as the server knows it: accepted, greeted, served, gone.  Everything that it says is
 * checked here or in src/kern; who it is, Linux says.  A member is freed at the end of the step in
 * which the kernel side lets go of it, so that later events of the same step still find it.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/inject.h"
#include "base/mutant.h"
#include "host/server_int.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

#define GREET_NS (2 * UP_NSEC_PER_SEC)

/* A descriptor of the very process that connected, whoever has its number now. */
static int peer_pidfd(int sock, pid_t pid)
{
	int fd = -1;
	socklen_t len = sizeof(fd);

	if (UP_INJECT_FAIL(server_pidfd))
		return -EMFILE;
	if (!getsockopt(sock, SOL_SOCKET, SO_PEERPIDFD, &fd, &len))
		return fd;
	if (errno != ENOPROTOOPT)
		return -errno;
	/* Before Linux 6.5: right unless it died since, and its number went round. */
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	return fd < 0 ? -errno : fd;
}

/* We act on its tasks, so it must be ours to act on. */
static int identify(struct up_srv_member *m)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	if (getsockopt(m->sock.fd, SOL_SOCKET, SO_PEERCRED, &who, &len))
		return -errno;
	if (who.pid <= 0 || (geteuid() != 0 && who.uid != geteuid()))
		return -EPERM;
	m->pid = who.pid;
	m->death.fd = peer_pidfd(m->sock.fd, who.pid);
	return m->death.fd < 0 ? m->death.fd : 0;
}

static struct up_srv_member *new_member(struct up_server *s, int fd)
{
	struct up_srv_member *m = UP_INJECT_FAIL(server_member) ? NULL : calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->srv = s;
	m->sock = (struct up_srv_source){ UP_SRV_SOCK, fd };
	m->death = (struct up_srv_source){ UP_SRV_DEATH, -1 };
	m->bell = (struct up_srv_source){ UP_SRV_BELL, -1 };
	m->region = (struct up_region){ .info_fd = -1, .data_fd = -1 };
	m->greet_by = up_now_ns() + GREET_NS;
	up_list_push_back(&s->members, &m->link);
	s->nr_members++;
	return m;
}

void up_srv_accept(struct up_server *s)
{
	struct up_srv_member *m;
	int fd = accept4(s->listen.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS)
			return;
		/* It stays in the queue and would wake us for ever: listen again later. */
		epoll_ctl(s->epoll, EPOLL_CTL_DEL, s->listen.fd, NULL);
		s->deaf = true;
		return;
	}
	UP_INJECT(server_accepted);
	m = s->nr_members < s->cfg.max_clients ? new_member(s, fd) : NULL;
	if (!m) {
		close(fd);
		return;
	}
	if (identify(m) || up_srv_watch(s, &m->sock, EPOLLIN | EPOLLRDHUP) ||
	    up_srv_watch(s, &m->death, EPOLLIN))
		up_srv_leave(m);
}

static void view(struct up_srv_member *m)
{
	char *i = (char *)m->region.info, *d = (char *)m->region.data;

	m->vmap = (void *)(i + sizeof(struct upabi_procinfo));
	m->amap = (void *)(i + upabi_info_off_actmap(m->max_vcores, m->srv->cfg.max_pcores));
	m->vc = (void *)(d + sizeof(struct upabi_procdata));
	m->call = (void *)(d + upabi_data_off_call(m->max_vcores));
}

static int check_hello(const struct up_server *s, const struct up_wire_hello *h)
{
	if (h->magic != UP_WIRE_MAGIC || h->version != UPABI_VERSION)
		return -EPROTO;
	if (!h->max_vcores || h->max_vcores > s->cfg.max_vcores || !h->max_acts ||
	    h->max_acts > s->cfg.max_acts)
		return -EINVAL;
	if (h->signal != SIGURG && (h->signal < 34 || h->signal > 64))
		return -EINVAL;
	return 0;
}

static int make_regions(struct up_srv_member *m, const struct up_wire_hello *h)
{
	struct up_region_cfg rc = { h->max_vcores, m->srv->cfg.max_pcores, h->max_acts, true };
	int ret = up_region_create(&rc, &m->region);

	if (ret)
		return ret;
	m->max_vcores = h->max_vcores;
	m->max_acts = h->max_acts;
	view(m);
	m->take = UP_INJECT_FAIL(server_takes) ? NULL : calloc(h->max_vcores, sizeof(*m->take));
	if (!m->take)
		return -ENOMEM;
	/* Edge-triggered and never read: the process has the same open file, and could turn a
	 * read of ours into a wait. */
	m->bell.fd = UP_INJECT_FAIL(server_eventfd) ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (m->bell.fd < 0)
		return -EMFILE;
	return up_srv_watch(m->srv, &m->bell, EPOLLIN | EPOLLET);
}

static int make_proc(struct up_srv_member *m, const struct up_wire_hello *h)
{
	struct up_proc_cfg pc = {
		.max_vcores = h->max_vcores,
		.max_acts = h->max_acts,
		.os_pid = (uint32_t)m->pid,
		.standby = !!h->standby,
		.mechanisms = h->mechanisms & ~UPABI_MECH_EMBEDDED,
		.info = m->region.info,
		.data = m->region.data,
		.host = m,
	};
	int ret = up_kern_proc_create(m->srv->kern, &pc, up_now_ns(), &m->proc);

	return ret ? ret : up_kern_run(m->srv->kern, m->proc, up_now_ns());
}

static int welcome(struct up_srv_member *m, int result)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * UP_WIRE_FD_NR)];
		struct cmsghdr align;
	} control = { 0 };
	struct up_wire_welcome w = { UP_WIRE_MAGIC, UPABI_VERSION, result };
	const int fds[UP_WIRE_FD_NR] = {
		[UP_WIRE_FD_INFO] = m->region.info_fd,
		[UP_WIRE_FD_DATA] = m->region.data_fd,
		[UP_WIRE_FD_BELL] = m->bell.fd,
	};
	struct iovec iov = { &w, sizeof(w) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (!result) {
		struct cmsghdr *c;

		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(fds));
		memcpy(CMSG_DATA(c), fds, sizeof(fds));
	}
	UP_INJECT(server_before_welcome);
	if (sendmsg(m->sock.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof(w))
		return -EPIPE;
	return result;
}

static void greeted(struct up_srv_member *m, const struct up_wire_hello *h)
{
	int ret = check_hello(m->srv, h);

	m->greet_by = 0;
	m->signal = (int)h->signal;
	if (!ret)
		ret = make_regions(m, h);
	if (!ret)
		ret = make_proc(m, h);
	ret = welcome(m, ret);
	UP_INJECT(server_welcomed);
	up_region_close_fds(&m->region); /* mapped on both sides now, or never will be */
	if (ret)
		up_srv_leave(m);
}

void up_srv_heard(struct up_srv_member *m, uint32_t events)
{
	struct up_wire_hello h;
	ssize_t got;

	/* No room for descriptors in the call: those that somebody sends us are dropped. */
	got = recv(m->sock.fd, &h, sizeof(h), MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		got = events & (EPOLLHUP | EPOLLRDHUP | EPOLLERR) ? 0 : 1;
	else if (got == (ssize_t)sizeof(h) && m->greet_by)
		greeted(m, &h);
	else
		got = 0; /* the end, or not as agreed */
	if (got == 0) {
		up_srv_leave(m);
		return;
	}
	if ((events & EPOLLOUT) && m->resync) {
		struct up_wire_msg msg = { .op = UP_WIRE_RESYNC, .arg = m->want };

		m->resync = false;
		m->want = 0;
		up_srv_say(m, &msg);
	}
}

static void listen_for_room(struct up_srv_member *m, bool want)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP | (want ? EPOLLOUT : 0),
				  .data.ptr = &m->sock };

	epoll_ctl(m->srv->epoll, EPOLL_CTL_MOD, m->sock.fd, &ev);
}

void up_srv_say(struct up_srv_member *m, const struct up_wire_msg *msg)
{
	if (m->leaving || m->sock.fd < 0)
		return;
	UP_INJECT(server_before_say);
	if (!m->resync &&
	    send(m->sock.fd, msg, sizeof(*msg), MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(*msg)) {
		if (msg->op == UP_WIRE_RESYNC)
			listen_for_room(m, false);
		return;
	}
	/* It does not read.  One word says later all that was lost. */
	m->resync = true;
	if (msg->op == UP_WIRE_WANT_ACT || msg->op == UP_WIRE_RESYNC)
		m->want += msg->arg;
	listen_for_room(m, true);
}

void up_srv_rung(struct up_srv_member *m)
{
	if (!m->proc || m->leaving)
		return;
	UP_INJECT(server_before_drain);
	up_kern_drain(m->srv->kern, m->proc, UPABI_NONE, up_now_ns());
	UP_INJECT(server_after_drain);
}

/* From any state.  The kernel side gets all cores back at once: nothing of ours runs there. */
void up_srv_leave(struct up_srv_member *m)
{
	struct up_server *s = m->srv;

	if (m->leaving)
		return;
	m->leaving = true;
	m->greet_by = 0;
	UP_INJECT(server_before_leave);
	up_srv_unwatch(s, &m->bell);
	up_srv_unwatch(s, &m->sock);
	up_srv_unwatch(s, &m->death);
	if (!m->proc) {
		up_list_remove(&m->link);
		up_list_push_back(&s->dead, &m->link);
	} else if (!UP_MUT(server_death_forgotten)) {
		up_kern_proc_destroy(s->kern, m->proc, up_now_ns());
		if (m->kill_id)
			up_kern_effect_done(s->kern, m->kill_id, 0, up_now_ns());
	}
}

void up_srv_free(struct up_srv_member *m)
{
	m->srv->nr_members--;
	up_list_remove(&m->link);
	up_srv_unwatch(m->srv, &m->bell);
	up_srv_unwatch(m->srv, &m->sock);
	up_srv_unwatch(m->srv, &m->death);
	up_region_fini(&m->region);
	free(m->take);
	free(m);
}
