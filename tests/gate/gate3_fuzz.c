/* SPDX-License-Identifier: MIT */
/*
 * Gate 3, lies: processes that scribble all over procdata, make random calls, ring for ever, speak
 * another protocol, and name the tasks of a stranger as their own. Beside them a well-behaved one
 * runs unharmed; the stranger is neither signalled nor moved; the server neither crashes nor loops
 * nor keeps anything of theirs.
 *
 *	gate3_fuzz [--seconds N] [--seed N] [--vcores N]
 */
#include "tap.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gate3_machine.h"
#include "gate3_server.h"
#include "host/client.h"

#define STRANGERS 3
#define LIAR_NS	  (150 * UP_NSEC_PER_MSEC)

static struct {
	uint32_t stop;
	uint32_t rounds; /* of the well-behaved */
	uint64_t slowest_ns;
	uint32_t stranger_tid[STRANGERS];
	uint32_t stranger_pid;
	uint32_t stranger_hit;
	uint32_t stranger_moved;
	uint64_t calls, scribbles, lives, greetings;
	char text[400];
} * shared;

static unsigned seconds = 3, vcores;
static uint64_t seed = 1;
static const struct g3_cfg machine = { .pcores = 4,
				       .vcores = 8,
				       .acts = 16,
				       .grace_ns = 2 * UP_NSEC_PER_MSEC,
				       .take_ns = 2 * UP_NSEC_PER_MSEC,
				       .quantum_ns = 5 * UP_NSEC_PER_MSEC };

static uint64_t roll(uint64_t *dice)
{
	*dice ^= *dice << 13;
	*dice ^= *dice >> 7;
	*dice ^= *dice << 17;
	return *dice;
}

/* A word that means something often enough. */
static uint64_t word(uint64_t *dice)
{
	switch (roll(dice) % 8) {
	case 0:
		return 0;
	case 1:
		return ~UINT64_C(0);
	case 2:
		return UPABI_NONE;
	case 3:
		return shared->stranger_tid[roll(dice) % STRANGERS];
	case 4:
		return roll(dice);
	default:
		return roll(dice) % 20;
	}
}

static void scribble(struct up_port *port, uint64_t *dice)
{
	uint64_t *at = (uint64_t *)port->data;
	uint64_t words = upabi_data_size(port->max_vcores, port->max_acts) / 8;

	for (int i = 0; i < 64; i++)
		up_store_relaxed(&at[roll(dice) % words], word(dice));
	up_fetch_add_relaxed(&shared->scribbles, 64);
}

/* Not by up_port_call(): nobody waits for an answer here. */
static void random_call(struct up_port *port, uint64_t *dice)
{
	uint32_t slot = (uint32_t)(roll(dice) % upabi_call_slots(port->max_acts));
	struct upabi_call *c = &port->call[slot];

	up_store_relaxed(&c->op,
			 (uint32_t)(roll(dice) % 4 ? roll(dice) % (UPABI_OP_NR + 1) : word(dice)));
	if (up_load_relaxed(&c->op) == UPABI_OP_EXIT && roll(dice) % 64)
		up_store_relaxed(&c->op, (uint32_t)UPABI_OP_REQUEST);
	for (int i = 0; i < 5; i++)
		up_store_relaxed(&c->arg[i], word(dice));
	up_store_release(&c->seq, (uint32_t)roll(dice));
	up_fetch_or_release(&port->call_pending[roll(dice) % 8 ? slot / 64 : 0],
			    roll(dice) % 8 ? UINT64_C(1) << slot % 64 : roll(dice));
	port->ring(port, slot);
	up_fetch_add_relaxed(&shared->calls, 1);
}

static const char *server_name;

/* One short life of a process that lies in its own memory. */
static int lie_in_memory(uint64_t dice)
{
	struct up_client_cfg cc = { .name = server_name,
				    .max_vcores = 1 + (uint32_t)(roll(&dice) % G3_VCORES),
				    .max_acts = 1 + (uint32_t)(roll(&dice) % 64),
				    .mechanisms = (uint32_t)roll(&dice),
				    .standby = (uint32_t)(roll(&dice) % 2),
				    .signal = G3_SIGNAL };
	uint64_t end = up_now_ns() + roll(&dice) % LIAR_NS;
	struct up_client *c;
	struct up_wire_msg m;

	signal(G3_SIGNAL, SIG_IGN);
	if (up_client_attach(&cc, &c))
		return 0; /* too many at a time */
	/* First a plausible start, so that it has cores to lose. */
	for (int i = 0; i < 6; i++) {
		const uint64_t tid[5] = { i % 2 ? (uint64_t)getpid()
						: shared->stranger_tid[i % STRANGERS] };

		up_port_call(up_client_port(c), cc.max_acts, UPABI_OP_ACT_ADD, tid, NULL);
	}
	up_client_port(c)->data->res[UPABI_RES_CORES].wanted = 4;
	up_port_call(up_client_port(c), cc.max_acts, UPABI_OP_REQUEST, NULL, NULL);
	while (up_now_ns() < end) {
		random_call(up_client_port(c), &dice);
		if (roll(&dice) % 4 == 0)
			scribble(up_client_port(c), &dice);
		if (roll(&dice) % 64 == 0)
			up_client_next(c, 0, &m);
	}
	if (roll(&dice) % 2)
		up_client_detach(c);
	if (roll(&dice) % 4 == 0)
		kill(getpid(), SIGKILL);
	return 0;
}

static int dial(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	size_t len = strlen(server_name);
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	memcpy(to.sun_path + 1, server_name, len);
	if (connect(sock, (void *)&to,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)))
		return -1;
	return sock;
}

static void send_with_fd(int sock, const void *data, size_t sz)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { (void *)data, sz };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int fd = 0;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* What comes with the welcome is not looked at. */
static int lie_in_messages(uint64_t dice)
{
	uint64_t end = up_now_ns() + roll(&dice) % LIAR_NS;

	while (up_now_ns() < end) {
		struct up_wire_hello h = { .magic = UP_WIRE_MAGIC,
					   .version = UPABI_VERSION,
					   .max_vcores = (uint32_t)word(&dice),
					   .max_acts = (uint32_t)word(&dice),
					   .signal = roll(&dice) % 2 ? SIGURG
								     : (uint32_t)word(&dice) };
		int sock = dial();

		if (sock < 0)
			continue;
		if (roll(&dice) % 4 == 0)
			h.magic = word(&dice);
		if (roll(&dice) % 8 == 0)
			send_with_fd(sock, &h, sizeof(h));
		else if (roll(&dice) % 8 != 0)
			send(sock, &h, roll(&dice) % 4 ? sizeof(h) : roll(&dice) % sizeof(h),
			     MSG_NOSIGNAL | MSG_DONTWAIT);
		if (roll(&dice) % 2)
			send(sock, &h, sizeof(h), MSG_NOSIGNAL | MSG_DONTWAIT);
		if (roll(&dice) % 4 == 0)
			usleep(200);
		close(sock);
		up_fetch_add_relaxed(&shared->greetings, 1);
	}
	return 0;
}

static pid_t child(void)
{
	pid_t pid = fork();

	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

/* One liar after another, each in a process of its own. */
static void liars(unsigned nr)
{
	uint64_t dice = (seed + nr) * 0x9e3779b97f4a7c15ull + 1;

	while (!up_load_acquire(&shared->stop)) {
		uint64_t its = roll(&dice);
		pid_t pid = child();

		if (pid == 0)
			_exit(its % 4 ? lie_in_memory(its | 1) : lie_in_messages(its | 1));
		waitpid(pid, NULL, 0);
		up_fetch_add_relaxed(&shared->lives, 1);
	}
	_exit(0);
}

static void well_behaved(void)
{
	static struct g3 g;

	while (!up_load_acquire(&shared->stop) && !shared->text[0]) {
		uint64_t start = up_now_ns(), took;
		int ret = g3_open(&g, &g3_remote, &g3_tour_cfg, 1);

		if (ret) {
			snprintf(shared->text, sizeof(shared->text), "cannot attach: %d", ret);
			break;
		}
		up_store_relaxed(&g.port->data->evt[UPABI_EV_USER].flags, UPABI_EVF_NOTIFY);
		/* Cores are contended: it has one for certain and asks for no more. */
		for (int i = 0; i < 3; i++)
			g3_act_new(&g);
		ret = g3_request(&g, NULL, 1, 1);
		if (ret || !G3_UNTIL(&g, g3_settled(&g, 1)))
			g3_fail(&g, "no core: %d", ret);
		for (int i = 0; i < 20 && !g.broken[0]; i++) {
			const uint64_t user[5] = { 0, UPABI_EV_USER, UPABI_NONE };
			uint64_t before = g3_got(&g, UPABI_EV_USER);

			ret = g3_call5(&g, UPABI_OP_NOTIFY, user, NULL);
			if (ret || !G3_UNTIL(&g, g3_got(&g, UPABI_EV_USER) > before))
				g3_fail(&g, "its event %d did not come: %d", i, ret);
		}
		if (g.broken[0])
			snprintf(shared->text, sizeof(shared->text), "%s", g.broken);
		g3_close(&g);
		took = up_now_ns() - start;
		if (took > shared->slowest_ns)
			shared->slowest_ns = took;
		up_fetch_add_release(&shared->rounds, 1);
	}
	_exit(shared->text[0] != 0);
}

static void on_hit(int nr)
{
	up_fetch_add_relaxed(&shared->stranger_hit, 1);
}

static void *stranger_thread(void *arg)
{
	uint32_t *tid = arg;
	cpu_set_t before, now;

	sched_getaffinity(0, sizeof(before), &before);
	up_store_release(tid, (uint32_t)syscall(SYS_gettid));
	while (!up_load_acquire(&shared->stop)) {
		sched_getaffinity(0, sizeof(now), &now);
		if (!CPU_EQUAL(&before, &now))
			up_fetch_add_relaxed(&shared->stranger_moved, 1);
		usleep(1000);
	}
	return NULL;
}

/* Somebody who has nothing to do with any of this. */
static void stranger(void)
{
	struct sigaction sa = { .sa_handler = on_hit };
	pthread_t t[STRANGERS];

	for (int nr = 1; nr < 65; nr++)
		if (nr != SIGKILL && nr != SIGSTOP && nr != SIGCHLD && (nr < 32 || nr > 33))
			sigaction(nr, &sa, NULL);
	for (int i = 0; i < STRANGERS; i++)
		pthread_create(&t[i], NULL, stranger_thread, &shared->stranger_tid[i]);
	for (int i = 0; i < STRANGERS; i++)
		pthread_join(t[i], NULL);
	_exit(0);
}

static uint64_t cpu_ns_of(pid_t pid)
{
	char path[64], buf[512];
	unsigned long user = 0, sys = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (f && fgets(buf, sizeof(buf), f))
		sscanf(strrchr(buf, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
		       &user, &sys);
	if (f)
		fclose(f);
	return (user + sys) * (UP_NSEC_PER_SEC / (uint64_t)sysconf(_SC_CLK_TCK));
}

static bool start_server(struct g3_server *s)
{
	char name[64];

	g3_server_name(name);
	if (g3_server_start(s, name, &machine, NULL, NULL))
		return false;
	for (uint32_t i = 0; i < machine.pcores; i++)
		if (g3_server_ask(s, G3_SRV_CTL, G3_CORE_ADD, i, 0, NULL))
			return false;
	g3_remote_server = s;
	server_name = s->name;
	return true;
}

static void judge_server(struct g3_server *s, int fds, const char *broken)
{
	uint64_t end = up_now_ns() + 10 * UP_NSEC_PER_SEC, cpu;
	int left = -1;

	/* A greeting that never came is waited for, two seconds. */
	while (up_now_ns() < end && (left = g3_server_ask(s, G3_SRV_CLIENTS, 0, 0, 0, NULL)) > 0)
		usleep(1000);
	tap_ok(left == 0, "nobody is left at the server: %d", left);
	tap_ok(g3_server_ask(s, G3_SRV_FDS, 0, 0, 0, NULL) == fds, "and no descriptor");
	tap_ok(!broken[0], "its invariants held%s%s", broken[0] ? ": " : "", broken);
	cpu = cpu_ns_of(s->pid);
	usleep(300000);
	cpu = cpu_ns_of(s->pid) - cpu;
	tap_ok(cpu <= 100 * UP_NSEC_PER_MSEC, "it rests when nobody asks: %llu ms of 300",
	       (unsigned long long)(cpu / UP_NSEC_PER_MSEC));
	tap_ok(g3_server_stop(s) == 0, "and ends in good order");
}

int main(int argc, char **argv)
{
	struct g3_server s;
	pid_t good, bystander, bad[2];
	char broken[128] = "", text[128];
	int fds, status;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--seconds"))
			seconds = (unsigned)atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--seed"))
			seed = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--vcores"))
			vcores = (unsigned)atoi(argv[i + 1]);
	}
	g3_machine_begin(vcores);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	tap_plan(9);
	if (!start_server(&s))
		tap_bail("no server");
	fds = g3_server_ask(&s, G3_SRV_FDS, 0, 0, 0, NULL);
	bystander = child();
	if (bystander == 0)
		stranger();
	for (int i = 0; i < STRANGERS; i++)
		while (!up_load_acquire(&shared->stranger_tid[i]))
			usleep(100);
	good = child();
	if (good == 0)
		well_behaved();
	for (unsigned i = 0; i < 2; i++) {
		bad[i] = child();
		if (bad[i] == 0)
			liars(i);
	}
	for (uint64_t end = up_now_ns() + seconds * UP_NSEC_PER_SEC; up_now_ns() < end;) {
		if (g3_server_ask(&s, G3_SRV_CHECK, 0, 0, 0, text) && !broken[0])
			snprintf(broken, sizeof(broken), "%.120s", text[0] ? text : "no answer");
		usleep(2000);
	}
	up_store_release(&shared->stop, 1);
	waitpid(good, &status, 0);
	tap_note("%llu lives of liars, %llu calls, %llu words scribbled, %llu greetings",
		 (unsigned long long)shared->lives, (unsigned long long)shared->calls,
		 (unsigned long long)shared->scribbles, (unsigned long long)shared->greetings);
	tap_ok(WIFEXITED(status) && WEXITSTATUS(status) == 0 && shared->rounds >= 3,
	       "the well-behaved one did %u rounds, the slowest in %llu ms%s%s", shared->rounds,
	       (unsigned long long)(shared->slowest_ns / UP_NSEC_PER_MSEC),
	       shared->text[0] ? ": " : "", shared->text);
	for (int i = 0; i < 2; i++) {
		kill(bad[i], SIGKILL); /* and with it whoever is lying at the moment */
		waitpid(bad[i], NULL, 0);
	}
	waitpid(bystander, &status, 0);
	tap_ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the stranger lives");
	tap_ok(shared->stranger_hit == 0, "no signal reached the stranger: %u",
	       shared->stranger_hit);
	tap_ok(shared->stranger_moved == 0, "nobody moved the stranger: %u",
	       shared->stranger_moved);
	judge_server(&s, fds, broken);
	return tap_done();
}
