/* SPDX-License-Identifier: MIT */
/*
 * The files of httpd: what is below one directory, by the target that asks for it.  Small ones are
 * kept in memory with the head of their answer, and looked at again once a second at the most.
 */
#ifndef FILES_H
#define FILES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FILES_SMALL 65536	/* larger ones are not kept */
#define FILES_KEPT  (64u << 20) /* bytes in all */
#define FILES_PATH  1024

struct file {
	size_t head_sz; /* "HTTP/1.1 200 OK" and all fields but Date and Connection */
	const char *head;
	const char *body; /* NULL: to be sent from fd */
	int fd;
	off_t body_sz;
	char etag[48], modified[32];
	/* for files.c: */
	struct file *next, *older, *newer;
	unsigned refs, hash;
	uint64_t looked_ns;
	size_t target_sz;
	struct {
		dev_t dev;
		ino_t ino;
		struct timespec modified, changed;
	} was;
	char target[]; /* then the head, then the body */
};

/* What dir holds from now on: 0 or -errno. */
int files_open(const char *dir);

/* The file that a target asks for, to be given back by files_put(): 0, or the status of the answer; 301:
 * there should be a slash behind it. */
int files_get(const char *target, size_t sz, struct file **ret_file);
void files_put(struct file *f);

/* "Sun, 06 Nov 1994 08:49:37 GMT", which is 29 bytes. */
void files_date(time_t t, char ret_text[32]);

#endif
