/* SPDX-License-Identifier: MIT */
/* libc's own locks know uthreads apart; those that the kernel takes part in are refused. */
#include "contract.h"

static pthread_mutex_t recursive = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static pthread_mutex_t checking = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static volatile long counter, waiting;
static FILE *shared;

static void *count(void *arg)
{
	for (int i = 0; i < 2000; i++) {
		pthread_mutex_lock(&recursive);
		pthread_mutex_lock(&recursive);
		counter++;
		pthread_mutex_unlock(&recursive);
		pthread_mutex_unlock(&recursive);
		if (i % 500 == 0) {
			pthread_rwlock_wrlock(&rwlock);
			contract_linger();
			pthread_rwlock_unlock(&rwlock);
		}
	}
	return NULL;
}

static void *check(void *arg)
{
	long bad = 0;

	for (int i = 0; i < 200; i++) {
		pthread_mutex_lock(&checking);
		if (i % 50 == 0)
			contract_linger();
		bad += pthread_mutex_lock(&checking) != EDEADLK;
		bad += pthread_mutex_unlock(&checking) != 0;
		/* Somebody else's by now, or nobody's: never ours. */
		bad += pthread_mutex_unlock(&checking) != EPERM;
	}
	return (void *)bad;
}

static void *wait_cond(void *arg)
{
	pthread_mutex_lock(&checking);
	waiting++;
	pthread_cond_broadcast(&cond);
	while (waiting < 6)
		pthread_cond_wait(&cond, &checking);
	pthread_mutex_unlock(&checking);
	return NULL;
}

static void *write_lines(void *arg)
{
	for (int i = 0; i < 300; i++) {
		flockfile(shared);
		fprintf(shared, "%d:", (int)(uintptr_t)arg);
		fprintf(shared, "%05d\n", i);
		funlockfile(shared);
	}
	return NULL;
}

static int lines_are_whole(const char *text)
{
	int nr = 0, who, what, len;

	for (; *text; text += len, nr++) {
		if (sscanf(text, "%d:%5d\n%n", &who, &what, &len) != 2 || len != 8)
			return 0;
	}
	return nr == 4 * 300;
}

static void refused(void)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	tap_ok(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) == ENOTSUP &&
		       pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_STALLED) == 0,
	       "robust mutexes are refused");
	tap_ok(pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT) == ENOTSUP &&
		       pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_NONE) == 0,
	       "priority-inheriting ones are refused");
}

int main(int argc, char **argv)
{
	pthread_mutexattr_t attr;
	char *text = NULL;
	size_t sz;

	contract_args(&argc, argv);
	shared = open_memstream(&text, &sz);
	pthread_mutexattr_init(&attr);
	contract_begin(7);
	contract_run_many(5, count);
	tap_ok(counter == 5 * 2000, "a recursive mutex admits one at a time (%ld)", counter);
	tap_ok(contract_run_many(5, check) == 0, "an error-checking one knows its owner");
	contract_run_many(6, wait_cond);
	tap_ok(waiting == 6, "a condition wakes all");
	contract_run_many(4, write_lines);
	fclose(shared);
	tap_ok(lines_are_whole(text), "a FILE that is locked stays whole");
	free(text);
	refused();
	contract_prove();
	upcall_stop();
	tap_ok(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) == 0,
	       "and are had without us");
	return tap_done();
}
