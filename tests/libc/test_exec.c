/* SPDX-License-Identifier: MIT */
/* exec*, posix_spawn*, system, popen: the new program has the process's CPUs and the uthread's mask,
 * not the activation's one core with everything blocked. */
#include <fcntl.h>
#include <spawn.h>

#include "contract.h"

extern char **environ;
static const char *self;

/* What the new program is: 0 when all is as it should be. */
static int report(const char *cpus, const char *env)
{
	cpu_set_t now;
	sigset_t mask;
	int wrong = 0;

	sched_getaffinity(0, sizeof(now), &now);
	wrong |= (CPU_COUNT(&now) != atoi(cpus)) << 0;
	wrong |= (slice_of(0) != strtoul(strchr(cpus, ':') + 1, NULL, 10)) << 4;
	sigprocmask(SIG_BLOCK, NULL, &mask);
	wrong |= (sigismember(&mask, SIGUSR2) != 1) << 1;
	for (int sig = 1; sig < 32; sig++)
		wrong |= (sig != SIGUSR2 && sigismember(&mask, sig) == 1) << 2;
	wrong |= (env && !getenv(env)) << 3;
	return wrong;
}

static char count[32]; /* CPUs:slice */
static char tested[] = "TESTED", tested_is[] = "TESTED=1", exec_word[] = "exec";

static void block_usr2(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
}

#define NR_WAYS 8

static void exec_by(int way)
{
	char *argv[] = { (char *)self, count, tested, NULL };
	char *plain[] = { (char *)self, count, NULL };
	char *envp[] = { tested_is, NULL };

	switch (way) {
	case 0:
		execv(self, plain);
		break;
	case 1:
		execve(self, argv, envp);
		break;
	case 2:
		execl(self, self, count, (char *)NULL);
		break;
	case 3:
		execle(self, self, count, "TESTED", (char *)NULL, envp);
		break;
	case 4:
		execvp(self, plain);
		break;
	case 5:
		execlp(self, self, count, (char *)NULL);
		break;
	case 6:
		execvpe(self, argv, envp);
		break;
	default:
		fexecve(open(self, O_RDONLY), argv, envp);
	}
}

/* Forked: the plain process of before. */
static void *fork_exec(void *arg)
{
	long wrong = 0;

	block_usr2();
	for (int way = 0; way < NR_WAYS; way++) {
		pid_t pid = fork();

		if (!pid) {
			exec_by(way);
			_exit(64);
		}
		wrong |= contract_status(pid);
	}
	return (void *)wrong;
}

/* In a program of its own: a uthread turns it into another. */
static void *exec_now(void *arg)
{
	block_usr2();
	if (execl("/no/such/file", "x", (char *)NULL) != -1 || errno != ENOENT)
		_exit(65);
	contract_linger();
	exec_by((int)(long)arg);
	_exit(66);
}

static int exec_from_uthread(int way)
{
	struct upcall_opts opts = { .size = sizeof(opts), .vcores = 2, .slice_ns = 100000 };

	alarm(20);
	if (upcall_start(&opts))
		return 67;
	contract_run(exec_now, (void *)(long)way);
	return 68;
}

static long exec_all(void)
{
	long wrong = 0;
	char way[8];

	for (int i = 0; i < NR_WAYS; i++) {
		pid_t pid;
		char *argv[] = { (char *)self, exec_word, way, count, NULL };

		snprintf(way, sizeof(way), "%d", i);
		if (posix_spawn(&pid, self, NULL, NULL, argv, environ))
			return -1;
		wrong |= contract_status(pid);
	}
	return wrong;
}

static void *spawn(void *arg)
{
	char *argv[] = { (char *)self, count, NULL };
	posix_spawnattr_t attr;
	sigset_t none;
	pid_t pid;
	long wrong = 0;

	block_usr2();
	for (int i = 0; i < 10; i++) {
		if (posix_spawn(&pid, self, NULL, NULL, argv, environ))
			return (void *)-1L;
		wrong |= contract_status(pid);
		if (posix_spawnp(&pid, self, NULL, NULL, argv, environ))
			return (void *)-1L;
		wrong |= contract_status(pid);
	}
	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	posix_spawn(&pid, self, NULL, &attr, argv, environ);
	wrong |= contract_status(pid) != 2;
	return (void *)wrong;
}

static void *shell(void *arg)
{
	char command[4200], answer[64] = "";
	long wrong = 0;
	int status;
	FILE *f;

	block_usr2();
	snprintf(command, sizeof(command), "%s %s", self, count);
	for (int i = 0; i < 5; i++) {
		status = system(command);
		wrong |= status & ~(2 << 8); /* the shell opens all signals itself */
		snprintf(command, sizeof(command), "%s %s; echo $?", self, count);
		f = popen(command, "r");
		if (!f || !fgets(answer, sizeof(answer), f))
			return (void *)-1L;
		wrong |= (atoi(answer) & ~2) | pclose(f);
		snprintf(command, sizeof(command), "%s %s", self, count);
	}
	wrong |= system("exit 3") != 3 << 8;
	wrong |= !system(NULL);
	return (void *)wrong;
}

int main(int argc, char **argv)
{
	long wrong;
	sigset_t none;

	contract_args(&argc, argv);
	self = argv[0];
	if (argc == 4) {
		snprintf(count, sizeof(count), "%s", argv[3]);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		return exec_from_uthread(atoi(argv[2]));
	}
	if (argc > 1)
		return report(argv[1], argv[2]);
	contract_begin(4);
	snprintf(count, sizeof(count), "%d:%lu", CPU_COUNT(&contract_cpus),
		 (unsigned long)contract_slice);
	wrong = (long)contract_run(fork_exec, NULL);
	tap_ok(wrong == 0, "fork and exec in all ways: %#lx", wrong);
	wrong = exec_all();
	tap_ok(wrong == 0, "exec in a uthread in all ways: %#lx", wrong);
	wrong = contract_run_many(2, spawn);
	tap_ok(wrong == 0, "posix_spawn, posix_spawnp: %#lx", wrong);
	wrong = contract_run_many(2, shell);
	tap_ok(wrong == 0, "system, popen: %#lx", wrong);
	return contract_end();
}
