/* SPDX-License-Identifier: MIT */
/*
 * Gate 3, death: either side is killed with SIGKILL at every numbered point of its code, in turn.
 * Whoever is left is not wedged: a client is told, and its threads come back; a server takes the
 * cores back and goes on serving the bystander, who notices nothing. No core, descriptor or name is
 * lost.
 *
 *	gate3_kill [--nth N]	 kills at the Nth time that the point is reached (default 1)
 */
#include "tap.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/inject.h"
#include "gate3_server.h"

#define LIMIT_NS (20 * UP_NSEC_PER_SEC)
#define POINTS	 512
enum {
	COMPLETED = 0,
	BROKEN = 1,
	LOST = 10
};

/* Seen by all processes. */
static struct {
	uint32_t reached[POINTS];
	uint32_t hits;	   /* of the target */
	uint32_t progress; /* of the bystander */
	uint32_t let_go;   /* the bystander may end */
	char text[400];
} * shared;

static unsigned nth = 1;
static const struct g3_cfg machine = { .pcores = 4,
				       .vcores = 8,
				       .acts = 16,
				       .grace_ns = 2 * UP_NSEC_PER_MSEC,
				       .take_ns = 2 * UP_NSEC_PER_MSEC };

static int die_there(unsigned nr, const char *name, void *arg)
{
	unsigned target = *(unsigned *)arg;

	if (nr < POINTS)
		up_store_relaxed(&shared->reached[nr], 1);
	if (nr == target && up_fetch_add_relaxed(&shared->hits, 1) + 1 == nth)
		syscall(SYS_kill, getpid(), SIGKILL);
	return 0;
}

static void arm(void *arg)
{
	up_inject_set_hook(die_there, arg);
}

static void say(const char *who, const struct g3 *g)
{
	if (!shared->text[0])
		snprintf(shared->text, sizeof(shared->text), "%s: %s", who, g->broken);
}

/* The state that is promised to whoever has lost its kernel side. */
static int after_loss(struct g3 *g)
{
	uint64_t start = up_now_ns();
	int ret = g3_call(g, UPABI_OP_EVENT_ALLOC, 0, 0, 0, NULL);

	if (ret >= 0 || up_now_ns() - start > UP_NSEC_PER_SEC) {
		snprintf(shared->text, sizeof(shared->text), "a call after the end gives %d", ret);
		return BROKEN;
	}
	return LOST;
}

/* One client's life: how it ended. */
static int live(const struct g3_side *side, const char *who)
{
	static struct g3 g;
	int ret = g3_open(&g, side, &g3_tour_cfg, 1), how = COMPLETED;

	if (ret == -EPIPE || ret == -ECONNREFUSED || ret == -ECONNRESET)
		return LOST;
	if (ret) {
		snprintf(shared->text, sizeof(shared->text), "%s cannot attach: %d", who, ret);
		return BROKEN;
	}
	g3_tour(&g);
	if (up_load_acquire(&g.port->lost)) {
		how = after_loss(&g);
	} else if (g.broken[0]) {
		say(who, &g);
		how = BROKEN;
	}
	g3_close(&g); /* joins every thread: nobody stays behind at a gate */
	return how;
}

static pid_t spawn(int (*run)(void *arg), void *arg)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(run(arg));
	}
	return pid;
}

/* How it ended: its exit status, -signal, or -1000 when it had to be ended. */
static int await(pid_t pid)
{
	uint64_t end = up_now_ns() + LIMIT_NS;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (up_now_ns() > end) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return -1000;
		}
		usleep(500);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int victim_remote(void *arg)
{
	arm(arg);
	return live(&g3_remote, "client");
}

static int victim_embedded(void *arg)
{
	arm(arg);
	return live(&g3_embed, "embedded");
}

static int honest(void *arg)
{
	return live(&g3_remote, "client");
}

static int bystander(void *arg)
{
	int how = COMPLETED;

	while (how == COMPLETED && !up_load_acquire(&shared->let_go)) {
		how = live(&g3_remote, "bystander");
		up_fetch_add_release(&shared->progress, 1);
	}
	return how;
}

/* Every core of the machine can be had: none was lost. */
static int want_all(void *arg)
{
	static struct g3 g;
	int ret = g3_open(&g, &g3_remote, &machine, 1);

	for (uint32_t i = 0; !ret && i < machine.pcores; i++)
		ret = g3_act_new(&g) ? 0 : -ENOSPC;
	if (!ret)
		ret = g3_request(&g, NULL, machine.pcores, machine.pcores);
	if (ret || !G3_UNTIL(&g, g3_settled(&g, machine.pcores))) {
		snprintf(shared->text, sizeof(shared->text), "only %u of %u cores (%d)",
			 g.port ? g.port->info->num_vcores : 0, machine.pcores, ret);
		return BROKEN;
	}
	g3_close(&g);
	return COMPLETED;
}

static int start_server(struct g3_server *s, const char *name, unsigned *target)
{
	int ret = g3_server_start(s, name, &machine, target ? arm : NULL, target);

	g3_remote_server = s;
	for (uint32_t i = 0; !ret && i < machine.pcores; i++)
		ret = g3_server_ask(s, G3_SRV_CTL, G3_CORE_ADD, i, 0, NULL);
	return ret;
}

static const char *problem(const char *what, int got)
{
	static char text[640];

	snprintf(text, sizeof(text), "%s: %d%s%s", what, got, shared->text[0] ? ": " : "",
		 shared->text);
	return text;
}

/* NULL, or what was wrong after the server was killed at the point. */
static const char *kill_server(unsigned target)
{
	struct g3_server s;
	char name[64];
	pid_t client, other;
	int how;

	shared->hits = 0;
	shared->let_go = 0;
	shared->text[0] = 0;
	g3_server_name(name);
	if (start_server(&s, name, &target) == 0) {
		other = spawn(bystander, NULL);
		client = spawn(honest, NULL);
		how = await(client);
		up_store_release(&shared->let_go, 1);
		if (how != COMPLETED && how != LOST) {
			g3_server_stop(&s);
			return problem("the client ended with", how);
		}
		how = await(other);
		if (how != COMPLETED && how != LOST) {
			g3_server_stop(&s);
			return problem("the bystander ended with", how);
		}
	}
	/* Killed or not, it is gone after this, and its name is free. */
	g3_server_stop(&s);
	if (start_server(&s, name, NULL))
		return "nobody can serve under the name any more";
	how = await(spawn(honest, NULL));
	g3_server_stop(&s);
	return how == COMPLETED ? NULL : problem("a client of the next server ended with", how);
}

static const char *kill_client(struct g3_server *s, unsigned target)
{
	uint64_t end = up_now_ns() + LIMIT_NS;
	uint32_t before = up_load_acquire(&shared->progress);
	char text[128];
	int how;

	shared->hits = 0;
	shared->text[0] = 0;
	how = await(spawn(victim_remote, &target));
	if (how != COMPLETED && how != -SIGKILL)
		return problem("the victim ended with", how);
	/* The bystander goes on: it begins and ends a round after this. */
	while (up_load_acquire(&shared->progress) < before + 2 && up_now_ns() < end &&
	       !shared->text[0])
		usleep(500);
	if (up_load_acquire(&shared->progress) < before + 2)
		return problem("the bystander stands still", 0);
	if (g3_server_ask(s, G3_SRV_CHECK, 0, 0, 0, text))
		return problem(text, 0);
	while (g3_server_ask(s, G3_SRV_CLIENTS, 0, 0, 0, NULL) > 1)
		if (up_now_ns() > end)
			return problem("the dead client is still there", 0);
	return NULL;
}

static void kill_clients(unsigned points)
{
	struct g3_server s;
	unsigned killed = 0, target;
	const char *wrong = NULL;
	char name[64];
	pid_t other;
	int fds;

	g3_server_name(name);
	if (start_server(&s, name, NULL))
		tap_bail("no server");
	fds = g3_server_ask(&s, G3_SRV_FDS, 0, 0, 0, NULL);
	shared->let_go = 0;
	other = spawn(bystander, NULL);
	for (target = 0; target < points && !wrong; target++) {
		wrong = kill_client(&s, target);
		killed += shared->hits >= nth;
	}
	tap_ok(!wrong, "client killed at %u of %u points%s%s%s%s", killed, points,
	       wrong ? ": " : "", wrong ? up_inject_name(target - 1) : "", wrong ? ": " : "",
	       wrong ? wrong : "");
	up_store_release(&shared->let_go, 1);
	tap_ok(await(other) == COMPLETED, "the bystander completed %u rounds%s%s", shared->progress,
	       shared->text[0] ? ": " : "", shared->text);
	shared->text[0] = 0;
	tap_ok(await(spawn(want_all, NULL)) == COMPLETED, "no core was lost%s%s",
	       shared->text[0] ? ": " : "", shared->text);
	for (uint64_t end = up_now_ns() + LIMIT_NS;
	     g3_server_ask(&s, G3_SRV_CLIENTS, 0, 0, 0, NULL) > 0 && up_now_ns() < end;)
		usleep(500);
	tap_ok(g3_server_ask(&s, G3_SRV_FDS, 0, 0, 0, NULL) == fds, "no descriptor was lost");
	g3_server_stop(&s);
}

static void kill_servers(unsigned points)
{
	const char *wrong = NULL;
	unsigned killed = 0, target;

	for (target = 0; target < points && !wrong; target++) {
		wrong = kill_server(target);
		killed += shared->hits >= nth;
	}
	tap_ok(!wrong, "server killed at %u of %u points%s%s%s%s", killed, points,
	       wrong ? ": " : "", wrong ? up_inject_name(target - 1) : "", wrong ? ": " : "",
	       wrong ? wrong : "");
}

static void kill_embedded(unsigned points)
{
	unsigned killed = 0, target;
	int how = 0;

	for (target = 0; target < points && (how == COMPLETED || how == -SIGKILL); target++) {
		shared->hits = 0;
		shared->text[0] = 0;
		how = await(spawn(victim_embedded, &target));
		killed += how == -SIGKILL;
	}
	tap_ok(how == COMPLETED || how == -SIGKILL, "embedded, killed at %u of %u points%s%s",
	       killed, points, shared->text[0] ? ": " : "", shared->text);
}

/* Names of ours that Linux still knows. */
static unsigned names_left(void)
{
	FILE *f = fopen("/proc/net/unix", "re");
	char line[512], mine[64];
	unsigned nr = 0;

	snprintf(mine, sizeof(mine), "@upcall-gate3-%d-", getpid());
	while (f && fgets(line, sizeof(line), f))
		nr += strstr(line, mine) != NULL;
	if (f)
		fclose(f);
	return nr;
}

static void tell_unreached(unsigned points)
{
	for (unsigned i = 0; i < points; i++)
		if (!shared->reached[i])
			tap_note("not reached: %s", up_inject_name(i));
}

int main(int argc, char **argv)
{
	unsigned points = up_inject_count();

	if (argc == 3 && !strcmp(argv[1], "--nth"))
		nth = (unsigned)atoi(argv[2]);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	tap_plan(7);
	kill_clients(points);
	kill_servers(points);
	kill_embedded(points);
	tap_ok(names_left() == 0, "no name is left");
	tell_unreached(points);
	return tap_done();
}
