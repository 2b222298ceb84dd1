/* SPDX-License-Identifier: MIT */
/*
 * Child processes. What Linux hands down from the calling kernel thread (its CPU set, its signal
 * mask) is, in a uthread, an activation's: one core, nearly everything blocked. A child is to have
 * the process's CPU set and the uthread's mask.
 *
 * fork() itself is libc's: under the uthread's own FS base libc finds its caller in its list of
 * threads, so that the child's only thread is the uthread, with its TLS and its stack, and the
 * activations' stacks are free. What remains is done by a handler in the child.
 */
#include "user/libc.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/rseq.h>
#include <sys/wait.h>

#include "arch/arch.h"
#include "base/atomic.h"
#include "base/bits.h"
#include "base/mutant.h"
#include "base/syscall.h"
#include "host/task.h"
#include "user/tls.h"

#define RSEQ_SIGNATURE	0x53053053
#define RSEQ_UNREGISTER 1
#define RSEQ_SZ		32

/* ---- what children inherit ---- */

static void set_kernel_mask(uint64_t mask)
{
	up_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
}

void up_libc_child_begin(struct up_uthread *u, bool with_mask)
{
	up_preempt_disable();
	if (!UP_MUT(child_affinity_not_restored))
		up_act_unpin_self();
	if (!UP_MUT(child_slice_not_restored))
		up_task_slice(0, UP_SLICE_LINUX);
	if (with_mask)
		set_kernel_mask(u->sig_mask);
}

void up_libc_child_end(bool with_mask)
{
	if (with_mask)
		set_kernel_mask(up_host.act_mask_raw);
	up_task_slice(0, UP_SLICE_ACT);
	up_act_repin_self();
	up_preempt_enable();
}

/* ---- fork ---- */

static struct rseq *rseq_area(uintptr_t fs)
{
	return (struct rseq *)(fs + (uintptr_t)__rseq_offset);
}

/* The kernel writes to the activation's area, whose memory is libc's to reuse from now on. */
static void move_rseq(uintptr_t from_fs, uintptr_t to_fs)
{
	if (!__rseq_size || from_fs == to_fs)
		return;
	if (up_syscall4(SYS_rseq, rseq_area(from_fs), RSEQ_SZ, RSEQ_UNREGISTER, RSEQ_SIGNATURE))
		return;
	up_syscall4(SYS_rseq, rseq_area(to_fs), RSEQ_SZ, 0, RSEQ_SIGNATURE);
}

/* In the child of any fork, first of all handlers: no word that we share with the parent is mapped
 * here, so that nothing of the runtime's may be touched before it has been told. */
static void in_child(void)
{
	struct up_uthread *u;
	struct up_act *a;
	uintptr_t fs = up_arch_get_fs();
	uint64_t mask;
	stack_t altstack = { .ss_flags = SS_DISABLE };

	if (!up_rt.started)
		return;
	u = up_self();
	if (u) {
		a = up_act_self_vc();
		mask = u->sig_mask;
		if (u->altstack.ss_sp)
			altstack = u->altstack;
		if (up_rt.own_tls)
			move_rseq(a->own_fs, fs);
		if (!UP_MUT(child_affinity_not_restored))
			up_act_unpin_self();
		if (!UP_MUT(child_slice_not_restored))
			up_task_slice(0, UP_SLICE_LINUX);
	}
	up_notify_fini();
	up_fork_child();
	up_tls_fork_child(up_tls_owns(fs) ? fs : 0);
	if (!u)
		up_syscall4(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, sizeof(mask));
	up_libc_child(mask, u ? &altstack : NULL);
}

/* From here on libc holds malloc's locks, which threads of ours may want too: a uthread that was put
 * aside with them might wait for a vcore that such a thread is to help. */
static void before(void)
{
	if (up_self())
		up_preempt_disable();
}

static void in_parent(void)
{
	if (up_self())
		up_preempt_enable();
}

/* Early, so that it comes last before a fork, and first after it. */
__attribute__((constructor(102))) static void watch_forks(void)
{
	pthread_atfork(before, in_parent, in_child);
}

/* The fork that runs no handlers. */
UP_EXPORT pid_t _Fork(void)
{
	pid_t pid = up_libc()->_Fork();

	if (pid == 0)
		in_child();
	return pid;
}

/* vfork() lends the caller's memory and thread to the child, and so would share our words with it:
 * in a uthread it is fork(), which POSIX allows. */
__attribute__((used)) static void *up_vfork_target(void)
{
	return up_self() ? (void *)fork : (void *)up_libc()->vfork;
}

UP_ARCH_TAIL(vfork, up_vfork_target);

/* ---- spawn ---- */

typedef int (*spawn_fn)(pid_t *, const char *, const posix_spawn_file_actions_t *,
			const posix_spawnattr_t *, char *const[], char *const[]);

/* The mask travels in the attributes: nothing of this thread's is opened for it. */
static void attr_for(struct up_uthread *u, const posix_spawnattr_t *attr, posix_spawnattr_t *ret)
{
	sigset_t mask;
	short flags = 0;

	if (attr)
		*ret = *attr;
	else
		posix_spawnattr_init(ret);
	posix_spawnattr_getflags(ret, &flags);
	if (flags & POSIX_SPAWN_SETSIGMASK)
		return;
	up_sig_to(u->sig_mask, &mask);
	posix_spawnattr_setsigmask(ret, &mask);
	if (!UP_MUT(child_mask_not_restored))
		posix_spawnattr_setflags(ret, flags | POSIX_SPAWN_SETSIGMASK);
}

static int spawn(spawn_fn fn, pid_t *ret_pid, const char *path,
		 const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr,
		 char *const argv[], char *const envp[])
{
	struct up_uthread *u = up_self();
	posix_spawnattr_t own;
	int err;

	if (!u)
		return fn(ret_pid, path, actions, attr, argv, envp);
	attr_for(u, attr, &own);
	up_libc_child_begin(u, false);
	err = fn(ret_pid, path, actions, &own, argv, envp);
	up_libc_child_end(false);
	return err;
}

UP_EXPORT int posix_spawn(pid_t *ret_pid, const char *path,
			  const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr,
			  char *const argv[], char *const envp[])
{
	return spawn(up_libc()->posix_spawn, ret_pid, path, actions, attr, argv, envp);
}

UP_EXPORT int posix_spawnp(pid_t *ret_pid, const char *file,
			   const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr,
			   char *const argv[], char *const envp[])
{
	return spawn(up_libc()->posix_spawnp, ret_pid, file, actions, attr, argv, envp);
}

UP_EXPORT FILE *popen(const char *command, const char *mode)
{
	struct up_uthread *u = up_self();
	FILE *file;

	if (!u)
		return up_libc()->popen(command, mode);
	up_libc_child_begin(u, true);
	file = up_libc()->popen(command, mode);
	up_libc_child_end(true);
	return file;
}

/* ---- system ---- */

/* The interactive signals are ignored while any command runs, and restored by the last. */
static struct {
	pthread_mutex_t lock;
	unsigned nr;
	struct sigaction intr, quit;
} commands = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void commands_add(void)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	pthread_mutex_lock(&commands.lock);
	if (!commands.nr++) {
		sigaction(SIGINT, &ignore, &commands.intr);
		sigaction(SIGQUIT, &ignore, &commands.quit);
	}
	pthread_mutex_unlock(&commands.lock);
}

static void commands_remove(void)
{
	pthread_mutex_lock(&commands.lock);
	if (!--commands.nr) {
		sigaction(SIGINT, &commands.intr, NULL);
		sigaction(SIGQUIT, &commands.quit, NULL);
	}
	pthread_mutex_unlock(&commands.lock);
}

/* INT and QUIT have their default action in the child, unless they were ignored before. */
static int spawn_shell(const char *command, const sigset_t *mask, pid_t *ret_pid)
{
	const char *argv[] = { "sh", "-c", command, NULL };
	posix_spawnattr_t attr;
	sigset_t reset;
	int err;

	sigemptyset(&reset);
	if (commands.intr.sa_handler != SIG_IGN)
		sigaddset(&reset, SIGINT);
	if (commands.quit.sa_handler != SIG_IGN)
		sigaddset(&reset, SIGQUIT);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, mask);
	posix_spawnattr_setsigdefault(&attr, &reset);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	err = posix_spawn(ret_pid, "/bin/sh", NULL, &attr, (char *const *)(uintptr_t)argv, environ);
	posix_spawnattr_destroy(&attr);
	return err;
}

static int run_command(const char *command)
{
	sigset_t chld, old;
	int status = 127 << 8;
	pid_t pid, got;

	commands_add();
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &chld, &old);
	if (!spawn_shell(command, &old, &pid)) {
		do
			got = (pid_t)upcall_syscall(SYS_wait4, pid, (long)&status, 0, 0, 0, 0);
		while (got == -EINTR);
		if (got < 0)
			status = up_libc_fail(-got);
	}
	commands_remove();
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return status;
}

UP_EXPORT int system(const char *command)
{
	if (!up_self())
		return up_libc()->system(command);
	return command ? run_command(command) : run_command("exit 0") == 0;
}

/* ---- exec ---- */

typedef int (*exec_fn)(const void *what, char *const argv[], char *const envp[]);

static int exec_path(const void *what, char *const argv[], char *const envp[])
{
	return up_libc()->execve(what, argv, envp);
}

static int exec_file(const void *what, char *const argv[], char *const envp[])
{
	return up_libc()->execvpe(what, argv, envp);
}

static int exec_fd(const void *what, char *const argv[], char *const envp[])
{
	return up_libc()->fexecve(*(const int *)what, argv, envp);
}

static int exec(exec_fn fn, const void *what, char *const argv[], char *const envp[])
{
	struct up_uthread *u = up_self();
	int ret;

	if (!u)
		return fn(what, argv, envp);
	up_libc_child_begin(u, true);
	ret = fn(what, argv, envp); /* comes back only when it failed */
	up_libc_child_end(true);
	return ret;
}

UP_EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
	return exec(exec_path, path, argv, envp);
}

UP_EXPORT int execv(const char *path, char *const argv[])
{
	return exec(exec_path, path, argv, environ);
}

UP_EXPORT int execvp(const char *file, char *const argv[])
{
	return exec(exec_file, file, argv, environ);
}

UP_EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
	return exec(exec_file, file, argv, envp);
}

UP_EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
	return exec(exec_fd, &fd, argv, envp);
}

/* The list of arguments as a vector, on the stack: this may be the child of a fork, or a handler.
 * With an environment, that comes after the list's end. */
static int exec_list(exec_fn fn, const char *what, const char *first, va_list args, bool with_env)
{
	va_list count;
	size_t nr = 1;
	char **argv;
	char *const *envp = environ;

	va_copy(count, args);
	for (const char *arg = first; arg; arg = va_arg(count, const char *))
		nr++;
	va_end(count);
	argv = __builtin_alloca(nr * sizeof(*argv));
	argv[0] = (char *)(uintptr_t)first;
	for (size_t i = 1; i < nr; i++)
		argv[i] = va_arg(args, char *);
	if (with_env)
		envp = va_arg(args, char *const *);
	return exec(fn, what, argv, envp);
}

UP_EXPORT int execl(const char *path, const char *arg, ...)
{
	va_list args;
	int ret;

	va_start(args, arg);
	ret = exec_list(exec_path, path, arg, args, false);
	va_end(args);
	return ret;
}

UP_EXPORT int execle(const char *path, const char *arg, ...)
{
	va_list args;
	int ret;

	va_start(args, arg);
	ret = exec_list(exec_path, path, arg, args, true);
	va_end(args);
	return ret;
}

UP_EXPORT int execlp(const char *file, const char *arg, ...)
{
	va_list args;
	int ret;

	va_start(args, arg);
	ret = exec_list(exec_file, file, arg, args, false);
	va_end(args);
	return ret;
}
