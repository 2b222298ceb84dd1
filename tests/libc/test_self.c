/* SPDX-License-Identifier: MIT */
/* What a uthread is to pthread_*: somebody, with a stack, who may exit, and whom nobody may join. */
#include "contract.h"

static void *have_self(void *arg)
{
	pthread_t self = pthread_self();
	pthread_attr_t attr;
	char *lo = NULL, here;
	size_t sz = 0;
	long bad = 0;

	for (int i = 0; i < 20; i++) {
		contract_linger();
		bad += !pthread_equal(self, pthread_self());
	}
	bad += pthread_getattr_np(self, &attr) != 0;
	bad += pthread_attr_getstack(&attr, (void **)&lo, &sz) != 0;
	bad += !(&here > lo && &here < lo + sz) || sz < 16384;
	pthread_attr_destroy(&attr);
	bad += pthread_join(self, NULL) == 0;
	bad += pthread_detach(self) == 0;
	bad += pthread_cancel(self) != ENOTSUP;
	return (void *)bad;
}

static volatile int cleaned;

static void clean(void *arg)
{
	cleaned += (int)(long)arg;
}

static void deeper(volatile int depth)
{
	pthread_cleanup_push(clean, (void *)1L);
	if (depth)
		deeper(depth - 1);
	if (!depth)
		pthread_exit((void *)4711);
	pthread_cleanup_pop(0);
}

static void *exit_deep(void *arg)
{
	contract_linger();
	deeper(9);
	return NULL;
}

static void *exit_of_first(void *arg)
{
	return arg;
}

/* gettid() is the kernel thread's, which changes; whose a mutex is does not go by it. */
static void *change_tid(void *arg)
{
	pthread_t self = pthread_self();
	pid_t tid = gettid();
	pthread_mutexattr_t attr;
	pthread_mutex_t lock;
	long bad = 0;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
	pthread_mutex_init(&lock, &attr);
	bad += pthread_mutex_lock(&lock) != 0;
	while (gettid() == tid)
		usleep(500); /* it is replaced, and goes on where there is room */
	bad += pthread_mutex_lock(&lock) != EDEADLK;
	bad += pthread_mutex_unlock(&lock) != 0 || !pthread_equal(self, pthread_self());
	bad += pthread_mutex_destroy(&lock) != 0;
	return (void *)bad;
}

/* In a program of its own: main() ends, other uthreads do not. */
static void *outlive_main(void *arg)
{
	struct timespec nap = { 0, 30000000 };

	nanosleep(&nap, NULL);
	contract_linger();
	exit(42);
}

static int exit_main(void)
{
	struct upcall_opts opts = { .size = sizeof(opts), .vcores = 2, .slice_ns = 100000 };
	struct upcall_uthread *u;

	alarm(20);
	if (upcall_start(&opts) || upcall_uthread_create(&u, NULL, outlive_main, NULL))
		return 1;
	pthread_exit(NULL);
}

int main(int argc, char **argv)
{
	long bad;
	pid_t pid;

	contract_args(&argc, argv);
	if (argc > 1)
		return exit_main();
	contract_begin(6);
	bad = contract_run_many(8, have_self);
	tap_ok(bad == 0,
	       "pthread_self() stays, its stack is told, others' rights are refused (%ld)", bad);
	tap_ok(contract_run(exit_of_first, argv) == argv, "a value is returned");
	tap_ok((long)contract_run(exit_deep, NULL) == 4711, "or given to pthread_exit()");
	tap_ok(cleaned == 10, "which runs the cleanup handlers (%d)", cleaned);
	bad = contract_run_many(3, change_tid);
	tap_ok(bad == 0, "on another kernel thread it has its locks and its name yet (%ld)", bad);
	contract_hush();
	pid = fork();
	if (!pid) {
		execl(argv[0], argv[0], "main", (char *)NULL);
		_exit(3);
	}
	tap_ok(contract_status(pid) == 42, "pthread_exit() in main() leaves the others running");
	return contract_end();
}
