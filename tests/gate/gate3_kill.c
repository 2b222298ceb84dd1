/* SPDX-License-Identifier: MIT */
/*
 * Gate 3, death: either side is killed with SIGKILL at every numbered point of its code, in turn.
 * Whoever is left is not wedged: a client is told, and its threads come back; a server takes the
 * cores back and goes on serving the bystander, who notices nothing. No core, descriptor or name is
 * lost. With the kernel side inside, the whole process dies, the runtime's too: it leaves nothing
 * alive, nothing held open, and its parent as it was.
 *
 * Every victim is killed somewhere, and every point kills some victim, but for the list below.
 *
 *	gate3_kill [--nth N] [--vcores N]
 *
 * kills at the Nth time that the point is reached (default 1; the later ones are not reached by
 * all); the runtime has so many vcores (default 2).
 */
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/inject.h"
#include "base/syscall.h"
#include "gate3_machine.h"
#include "gate3_runtime.h"
#include "gate3_server.h"

#define LIMIT_NS (20 * UP_NSEC_PER_SEC)
#define SOLE_NS	 (5 * UP_NSEC_PER_SEC)
#define POINTS	 512
enum {
	COMPLETED = 0,
	BROKEN = 1,
	LOST = 10
};
enum victim {
	CLIENT,
	SERVER,
	EMBEDDED,
	RUNTIME
};

/* Where the victim is to die; -1: no point. */
struct aim {
	unsigned target;
	int held;    /* where a crowd stands for a while, so that the target is reached */
	int refused; /* what has failed, so that the target is reached */
};

/* Seen by all processes. */
static struct {
	uint32_t crowded;  /* atomic; more callers than places */
	uint32_t hits;	   /* of the target */
	uint32_t progress; /* of the bystander */
	uint32_t let_go;   /* the bystander may end */
	char text[400];
} * shared;

static unsigned nth = 1, vcores = 2;
static uint8_t killed_at[POINTS]; /* bits of enum victim */
static const struct g3_cfg machine = { .pcores = 4,
				       .vcores = 8,
				       .acts = 16,
				       .grace_ns = 2 * UP_NSEC_PER_MSEC,
				       .take_ns = 2 * UP_NSEC_PER_MSEC };

/* Anywhere: no libc, no TLS. */
static int die_there(unsigned nr, const char *name, void *arg)
{
	struct timespec hold = { 0, 100 * UP_NSEC_PER_MSEC };
	const struct aim *aim = arg;

	if (nr == aim->target && up_fetch_add_relaxed(&shared->hits, 1) + 1 == nth)
		up_syscall2(SYS_kill, up_syscall0(SYS_getpid), SIGKILL);
	if ((int)nr == aim->held && up_load_relaxed(&shared->crowded))
		up_syscall2(SYS_nanosleep, &hold, NULL);
	return (int)nr == aim->refused;
}

static void arm(void *arg)
{
	up_inject_set_hook(die_there, arg);
}

static bool is_named(unsigned nr, const char *name)
{
	return !strcmp(up_inject_name(nr), name);
}

static struct aim aim_at(enum victim kind, unsigned target)
{
	struct aim aim = { target, -1, -1 };

	if (is_named(target, "port_outside_sleep"))
		aim.held = up_inject_find("port_before_args");
	if (is_named(target, "lock_before_sleep"))
		aim.held = up_inject_find("embed_locked");
	/* Memory that is nobody else's can be had without a descriptor too. */
	if (kind >= EMBEDDED &&
	    (is_named(target, "region_mremap") || is_named(target, "region_mprotect")))
		aim.refused = up_inject_find("region_memfd");
	return aim;
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

static void *call_once(void *arg)
{
	g3_call(arg, UPABI_OP_EVENT_ALLOC, 0, 0, 0, NULL);
	return NULL;
}

/* More callers at once than there are places for. */
static void crowd(struct g3 *g)
{
	pthread_t t[UPABI_OUTSIDE_CALLS + 4];
	unsigned nr = 0;

	up_store_relaxed(&shared->crowded, 1);
	while (nr < sizeof(t) / sizeof(t[0]) && !pthread_create(&t[nr], NULL, call_once, g))
		nr++;
	while (nr)
		pthread_join(t[--nr], NULL);
	up_store_relaxed(&shared->crowded, 0);
}

/* One client's life: how it ended.  aim: the victim's, or NULL. */
static int live(const struct g3_side *side, const char *who, const struct aim *aim)
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
	if (aim && aim->held >= 0)
		crowd(&g);
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
	return live(&g3_remote, "client", arg);
}

static int victim_embedded(void *arg)
{
	arm(arg);
	return live(&g3_embed, "embedded", arg);
}

/* arg: whose points are to kill it, or NULL. */
static int run_runtime(void *arg)
{
	const struct aim *aim = arg;
	bool sole = aim && nth == 1 && !killed_at[aim->target];
	const char *step;
	int ret;

	if (aim)
		arm(arg);
	/* A point that is nobody else's is worth some time. */
	ret = g3_runtime(vcores, sole ? up_now_ns() + SOLE_NS : 0, &step);
	if (ret)
		snprintf(shared->text, sizeof(shared->text), "%s: %d", step, ret);
	return ret ? BROKEN : COMPLETED;
}

static int honest(void *arg)
{
	return live(&g3_remote, "client", NULL);
}

static int bystander(void *arg)
{
	int how = COMPLETED;

	while (how == COMPLETED && !up_load_acquire(&shared->let_go)) {
		how = live(&g3_remote, "bystander", NULL);
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

static int start_server(struct g3_server *s, const char *name, struct aim *aim)
{
	int ret = g3_server_start(s, name, &machine, aim ? arm : NULL, aim);

	g3_remote_server = s;
	for (uint32_t i = 0; !ret && i < machine.pcores; i++)
		ret = g3_server_ask(s, G3_SRV_CTL, G3_CORE_ADD, i, 0, NULL);
	return ret;
}

/* How a victim ends: it is killed if it got there. */
static int as_aimed(void)
{
	return shared->hits >= nth ? -SIGKILL : COMPLETED;
}

static const char *problem(const char *what, int got)
{
	static char text[640];

	snprintf(text, sizeof(text), "%s: %d%s%s", what, got, shared->text[0] ? ": " : "",
		 shared->text);
	return text;
}

/* NULL, or what was wrong after the server was killed at the point. */
static const char *kill_server(struct aim *aim, struct g3_server *unused)
{
	struct g3_server s;
	char name[64];
	pid_t client, other;
	int how;

	shared->let_go = 0;
	g3_server_name(name);
	if (start_server(&s, name, aim) == 0) {
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

static const char *kill_client(struct aim *aim, struct g3_server *s)
{
	uint64_t end = up_now_ns() + LIMIT_NS;
	uint32_t before = up_load_acquire(&shared->progress);
	char text[128];
	int how;

	how = await(spawn(victim_remote, aim));
	if (how != as_aimed())
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

/* Whoever is left over of a child is ours now, for we adopt; and what it held open was a pipe. */
static const char *left_behind(int pipe_end)
{
	struct pollfd pfd = { .fd = pipe_end, .events = POLLIN };
	uint64_t end = up_now_ns() + UP_NSEC_PER_SEC;
	pid_t pid;

	if (poll(&pfd, 1, 1000) != 1 || !(pfd.revents & POLLHUP))
		return "somebody holds its descriptors";
	while ((pid = waitpid(-1, NULL, WNOHANG | __WALL)) >= 0) {
		if (pid == 0 && up_now_ns() > end)
			return "a child of its is left";
		if (pid == 0)
			usleep(500);
	}
	return NULL;
}

/* With the kernel side inside: what dies is the whole of it. */
static const char *kill_inside(int (*victim)(void *arg), struct aim *aim)
{
	const char *left;
	int ends[2], how;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		return "no pipe";
	pid = spawn(victim, aim);
	close(ends[1]);
	how = await(pid);
	left = left_behind(ends[0]);
	close(ends[0]);
	if (how != as_aimed())
		return problem("it ended with", how);
	return left;
}

static const char *kill_embedded(struct aim *aim, struct g3_server *unused)
{
	return kill_inside(victim_embedded, aim);
}

static const char *kill_runtime(struct aim *aim, struct g3_server *unused)
{
	return kill_inside(run_runtime, aim);
}

static void walk(enum victim kind, const char *who,
		 const char *(*kill_one)(struct aim *aim, struct g3_server *s), struct g3_server *s)
{
	unsigned killed = 0, target, points = up_inject_count();
	const char *wrong = NULL;

	for (target = 0; target < points && !wrong; target++) {
		struct aim aim = aim_at(kind, target);

		shared->hits = 0;
		shared->crowded = 0;
		shared->text[0] = 0;
		wrong = kill_one(&aim, s);
		if (shared->hits < nth)
			continue;
		killed++;
		killed_at[target] |= (uint8_t)(1 << kind);
	}
	tap_ok(!wrong && killed, "%s killed at %u of %u points%s%s%s%s", who, killed, points,
	       wrong ? ": " : "", wrong ? up_inject_name(target - 1) : "", wrong ? ": " : "",
	       wrong ? wrong : "");
}

static void kill_clients(void)
{
	struct g3_server s;
	char name[64];
	pid_t other;
	int fds;

	g3_server_name(name);
	if (start_server(&s, name, NULL))
		tap_bail("no server");
	fds = g3_server_ask(&s, G3_SRV_FDS, 0, 0, 0, NULL);
	shared->let_go = 0;
	other = spawn(bystander, NULL);
	walk(CLIENT, "client", kill_client, &s);
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

static void kill_runtimes(void)
{
	cpu_set_t before, after;

	sched_getaffinity(0, sizeof(before), &before);
	walk(RUNTIME, "the runtime", kill_runtime, NULL);
	sched_getaffinity(0, sizeof(after), &after);
	shared->text[0] = 0;
	tap_ok(CPU_EQUAL(&before, &after) && await(spawn(run_runtime, NULL)) == COMPLETED,
	       "the next runtime runs, and the parent where it did%s%s",
	       shared->text[0] ? ": " : "", shared->text);
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

/* What no victim reaches by itself is brought about (aim_at).  A pool that has grown is trimmed after
 * half a second, for which no victim lives; the others are refusals and second tries, which a test must
 * bring about.  Those that do stop there: tests/host/test_act.c, tests/user/test_handover.c.  A trace is
 * written where another program has asked for one, by tests/user/test_trace.c. */
static bool is_excepted(const char *name)
{
	static const char *const names[] = { "eff_drop",     "freeze_looks",  "freeze_asked",
					     "report_again", "leave_refused", "lookout_prods",
					     "trace_put" };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

static void judge_coverage(void)
{
	unsigned missed = 0, points = up_inject_count();

	for (unsigned i = 0; i < points; i++) {
		if (killed_at[i] || is_excepted(up_inject_name(i)))
			continue;
		missed++;
		tap_note("kills nobody: %s", up_inject_name(i));
	}
	if (nth > 1)
		tap_skip("every point kills", "not all are reached %u times", nth);
	else
		tap_ok(!missed, "%u of %u points kill nobody", missed, points);
}

int main(int argc, char **argv)
{
	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--nth"))
			nth = (unsigned)atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--vcores"))
			vcores = (unsigned)atoi(argv[i + 1]);
	}
	g3_machine_begin(vcores);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	tap_plan(10);
	if (up_inject_count() == 0 || up_inject_count() > POINTS)
		tap_bail("%u points", up_inject_count());
	kill_clients();
	walk(SERVER, "server", kill_server, NULL);
	walk(EMBEDDED, "embedded", kill_embedded, NULL);
	kill_runtimes();
	tap_ok(names_left() == 0, "no name is left");
	judge_coverage();
	return tap_done();
}
