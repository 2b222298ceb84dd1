/* SPDX-License-Identifier: MIT */
/*
 * treesum.c on a pool of pthreads, so that the two can be compared: the calls of upcall/sync.h and
 * upcall/call.h that it makes are those of POSIX here, and each thread of the pool takes the next job
 * itself, as such a program would be written.  For that file only.
 */
#ifndef TREESUM_PTHREAD_H
#define TREESUM_PTHREAD_H

#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct upcall_mutex {
	pthread_mutex_t m;
};
struct upcall_cond {
	pthread_cond_t c;
};
struct upcall_sem {
	sem_t s;
};

#define UPCALL_MUTEX_INIT                 \
	{                                 \
		PTHREAD_MUTEX_INITIALIZER \
	}
#define UPCALL_COND_INIT                 \
	{                                \
		PTHREAD_COND_INITIALIZER \
	}
#define upcall_mutex_lock(mutex)   pthread_mutex_lock(&(mutex)->m)
#define upcall_mutex_unlock(mutex) pthread_mutex_unlock(&(mutex)->m)
#define upcall_cond_wait(c_, m_)   pthread_cond_wait(&(c_)->c, &(m_)->m)
#define upcall_cond_broadcast(c_)  pthread_cond_broadcast(&(c_)->c)
#define upcall_sem_init(sem, n)	   sem_init(&(sem)->s, 0, n)
#define upcall_sem_post(sem)	   sem_post(&(sem)->s)
#define upcall_sem_wait(sem)	   while (sem_wait(&(sem)->s) && errno == EINTR)

static inline ssize_t upcall_read(int fd, void *buf, size_t sz)
{
	ssize_t n;

	do
		n = read(fd, buf, sz);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static inline uint64_t upcall_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

struct job;
static struct job *next_job(void);
static void do_job(struct job *j);
static struct upcall_sem descriptors;

static void *pool_main(void *arg)
{
	struct job *j;

	while ((j = next_job())) {
		upcall_sem_wait(&descriptors);
		do_job(j);
	}
	return NULL;
}

static int do_jobs(unsigned threads)
{
	unsigned nr = threads ? threads : (unsigned)sysconf(_SC_NPROCESSORS_ONLN), i;
	pthread_t *pool = calloc(nr, sizeof(*pool));
	int r = pool ? 0 : ENOMEM;

	for (i = 0; i < nr && !r; i++)
		r = pthread_create(&pool[i], NULL, pool_main, NULL);
	nr = r && i ? i - 1 : i;
	for (i = 0; i < nr; i++)
		pthread_join(pool[i], NULL);
	free(pool);
	return nr ? 0 : -r;
}

#endif
