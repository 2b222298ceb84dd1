/* SPDX-License-Identifier: MIT */
/*
 * A shared library that has never heard of the runtime: what it calls blocks inside libc.
 */
#include <semaphore.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gate2.h"

#pragma GCC visibility push(default)

/* One line, through a stream of its own on a copy of the descriptor. */
ssize_t foreign_getline(int fd, char *buf, size_t sz)
{
	FILE *f = fdopen(dup(fd), "r");
	char *line = NULL;
	size_t room = 0;
	ssize_t n;

	if (!f)
		return -1;
	setvbuf(f, NULL, _IONBF, 0); /* no byte of the next line */
	n = getline(&line, &room, f);
	if (n > 0 && (size_t)n < sz)
		memcpy(buf, line, (size_t)n + 1);
	free(line);
	fclose(f);
	return n;
}

/* libc walks the bytes, and faults, in code of its own. */
size_t foreign_length(const char *text)
{
	return strlen(text);
}

extern char **environ;

/* The child opens the FIFO on its way to exec, and until then its parent is asleep for good. */
int foreign_spawn(const char *fifo, pid_t *ret_pid)
{
	posix_spawn_file_actions_t acts;
	char prog[] = "true", *argv[] = { prog, NULL };
	int r = posix_spawn_file_actions_init(&acts);

	if (!r)
		r = posix_spawn_file_actions_addopen(&acts, 9, fifo, 0, 0);
	if (!r)
		r = posix_spawn(ret_pid, "/bin/true", &acts, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&acts);
	return r;
}

static sem_t sem;

int foreign_wait(void)
{
	return sem_wait(&sem);
}

int foreign_post(void)
{
	return sem_post(&sem);
}

/* stdio on top of the caller's own way to read, as TLS libraries and decoders have it. */
ssize_t foreign_callback(ssize_t (*reader)(void *, char *, size_t), void *cookie, char *buf,
			 size_t sz)
{
	cookie_io_functions_t io = { .read = reader };
	FILE *f = fopencookie(cookie, "r", io);
	ssize_t n = -1;

	if (!f)
		return -1;
	/* Buffered: one call of the reader a line. */
	if (fgets(buf, (int)sz, f))
		n = (ssize_t)strlen(buf);
	fclose(f);
	return n;
}
