/* SPDX-License-Identifier: MIT */
/*
 * A server in a child, told by a socket what to do. It ends with its parent, whatever happens.
 */
#include "gate3_server.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "entries.h"
#include "host/server.h"

struct question {
	uint32_t op;
	uint32_t reserved;
	uint64_t a, b, c;
};

struct answer {
	int32_t ret;
	char text[128];
};

void g3_server_name(char name[64])
{
	static unsigned nr;

	snprintf(name, 64, "upcall-gate3-%d-%u-%lx", getpid(), nr++, (long)up_now_ns());
}

static int nr_open(void)
{
	return (int)entries("/proc/self/fd") - 3; /* ".", "..", and the folder's own */
}

static int control(struct up_server *s, const struct question *q)
{
	switch ((enum g3_ctl)q->a) {
	case G3_CORE_ADD:
		return up_server_core_add(s, (uint32_t)q->b);
	case G3_CORE_REMOVE:
		return up_server_core_remove(s, (uint32_t)q->b, q->c ? up_now_ns() + q->c : 0);
	case G3_CORE_LIMIT:
		return up_server_core_limit(s, (uint32_t)q->b);
	case G3_KILL:
		return up_server_kill(s, (uint32_t)q->b);
	}
	return -EINVAL;
}

static bool reply(struct up_server *s, const struct question *q, int ctl)
{
	struct answer a = { 0 };
	const char *broken = up_kern_check(up_server_kern(s));

	switch ((enum g3_srv_op)q->op) {
	case G3_SRV_CTL:
		a.ret = control(s, q);
		break;
	case G3_SRV_CHECK:
		a.ret = broken ? -EBADMSG : 0;
		break;
	case G3_SRV_CLIENTS:
		a.ret = (int)up_server_clients(s);
		break;
	case G3_SRV_FDS:
		a.ret = nr_open();
		break;
	case G3_SRV_PREEMPT:
		a.ret = up_server_preempt(s, (uint32_t)q->a, (uint32_t)q->b, up_now_ns() + q->c);
		break;
	case G3_SRV_STOP:
		break;
	}
	if (broken)
		snprintf(a.text, sizeof(a.text), "%s", broken);
	return send(ctl, &a, sizeof(a), MSG_NOSIGNAL) == sizeof(a) && q->op != G3_SRV_STOP;
}

static void serve(const char *name, const struct g3_cfg *cfg, int ctl)
{
	struct up_server_cfg sc = {
		.name = name,
		.max_pcores = G3_PCORES,
		.max_vcores = G3_VCORES,
		.max_acts = 64,
		.max_clients = 16,
		.grace_ns = cfg->grace_ns,
		.take_ns = cfg->take_ns,
		.quantum_ns = cfg->quantum_ns,
	};
	struct up_server *s;
	struct question q;
	int ret = up_server_create(&sc, &s);

	if (ret)
		_exit(3);
	if (write(ctl, "ready", 5) != 5)
		_exit(3);
	for (;;) {
		ssize_t got = recv(ctl, &q, sizeof(q), MSG_DONTWAIT);

		if (got == 0 || (got == sizeof(q) && !reply(s, &q, ctl)))
			break;
		if (up_server_step(s, got == sizeof(q) ? 0 : 1))
			_exit(4);
	}
	up_server_destroy(s);
	exit(0);
}

int g3_server_start(struct g3_server *s, const char *name, const struct g3_cfg *cfg,
		    void (*setup)(void *arg), void *arg)
{
	int pair[2];
	char ready[8];

	snprintf(s->name, sizeof(s->name), "%s", name);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	s->pid = fork();
	if (s->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(pair[0]);
		if (setup)
			setup(arg);
		serve(name, cfg, pair[1]);
	}
	close(pair[1]);
	s->ctl = pair[0];
	if (recv(s->ctl, ready, sizeof(ready), 0) == 5)
		return 0;
	g3_server_stop(s);
	return -EPIPE;
}

int g3_server_ask(struct g3_server *s, enum g3_srv_op op, uint64_t a, uint64_t b, uint64_t c,
		  char *text)
{
	struct question q = { .op = op, .a = a, .b = b, .c = c };
	struct pollfd pfd = { .fd = s->ctl, .events = POLLIN };
	struct answer ans;

	if (text)
		text[0] = 0;
	if (send(s->ctl, &q, sizeof(q), MSG_NOSIGNAL) != sizeof(q))
		return -EPIPE;
	if (poll(&pfd, 1, 5000) <= 0)
		return -ETIMEDOUT;
	if (recv(s->ctl, &ans, sizeof(ans), 0) != sizeof(ans))
		return -EPIPE;
	if (text)
		memcpy(text, ans.text, sizeof(ans.text));
	return ans.ret;
}

int g3_server_stop(struct g3_server *s)
{
	int status = -1;

	if (s->pid <= 0)
		return -1;
	if (g3_server_ask(s, G3_SRV_STOP, 0, 0, 0, NULL) == -ETIMEDOUT)
		kill(s->pid, SIGKILL);
	close(s->ctl);
	waitpid(s->pid, &status, 0);
	s->pid = 0;
	return status;
}
