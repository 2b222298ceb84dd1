/* SPDX-License-Identifier: MIT */
/*
 * Files in memory: a hash table that grows, and a list by age, from which the oldest go when there is
 * too much.  Who has found one has a reference; a file that was replaced goes with its last one.
 * Nothing outside of the directory can be had, by links neither.
 */
#include "files.h"
#include "http.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <upcall/upcall.h>

#define SECOND 1000000000ull

static int root = -1;

static struct upcall_mutex mutex = UPCALL_MUTEX_INIT;
static struct file **table; /* with the mutex, as all up to here: */
static size_t nr_slots, nr_files, kept_sz;
static struct file *oldest, *newest;

int files_open(const char *dir)
{
	root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	nr_slots = 64;
	table = calloc(nr_slots, sizeof(*table));
	return root < 0 ? -errno : table ? 0 : -ENOMEM;
}

void files_date(time_t t, char ret_text[32])
{
	struct tm tm;

	/* No locale has been set, so the names are English. */
	strftime(ret_text, 32, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&t, &tm));
}

static const char *type_of(const char *path)
{
	static const char *const types[][2] = {
		{ ".html", "text/html; charset=utf-8" },
		{ ".txt", "text/plain; charset=utf-8" },
		{ ".css", "text/css" },
		{ ".js", "text/javascript" },
		{ ".json", "application/json" },
		{ ".svg", "image/svg+xml" },
		{ ".png", "image/png" },
		{ ".jpg", "image/jpeg" },
		{ ".gif", "image/gif" },
	};
	const char *dot = strrchr(path, '.');
	unsigned i;

	for (i = 0; dot && i < sizeof(types) / sizeof(*types); i++)
		if (!strcasecmp(dot, types[i][0]))
			return types[i][1];
	return "application/octet-stream";
}

static int status_of(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
	case ENAMETOOLONG:
	case ELOOP:
	case EXDEV: /* a link that leads out */
		return 404;
	case EACCES:
	case EPERM:
		return 403;
	case EMFILE:
	case ENFILE:
	case ENOMEM:
		return 503;
	default:
		return 500;
	}
}

/* Not blocking: it may be a FIFO. */
static int open_below(const char *path, int flags)
{
	struct open_how how = { .flags = (uint64_t)(O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags),
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };

	return (int)upcall_syscall(SYS_openat2, root, (long)(*path ? path : "."), (long)&how,
				   sizeof(how), 0, 0);
}

/* ---- the table ---- */

static unsigned hash_of(const char *s, size_t sz)
{
	unsigned h = 2166136261u;

	while (sz--)
		h = (h ^ (unsigned char)*s++) * 16777619u;
	return h;
}

static struct file *find(const char *target, size_t sz, unsigned hash)
{
	struct file *f;

	for (f = table[hash % nr_slots]; f; f = f->next)
		if (f->hash == hash && f->target_sz == sz && !memcmp(f->target, target, sz))
			return f;
	return NULL;
}

static size_t size_of(const struct file *f)
{
	return sizeof(*f) + f->target_sz + f->head_sz + (size_t)f->body_sz;
}

static void drop(struct file *f)
{
	struct file **at = &table[f->hash % nr_slots];

	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	*(f->older ? &f->older->newer : &oldest) = f->newer;
	*(f->newer ? &f->newer->older : &newest) = f->older;
	nr_files--;
	kept_sz -= size_of(f);
	files_put(f);
}

static void grow(void)
{
	struct file **larger = calloc(nr_slots * 2, sizeof(*larger)), *f;

	if (!larger)
		return; /* then chains are longer */
	free(table);
	table = larger;
	nr_slots *= 2;
	for (f = oldest; f; f = f->newer) {
		f->next = table[f->hash % nr_slots];
		table[f->hash % nr_slots] = f;
	}
}

static void insert(struct file *f)
{
	struct file *other = find(f->target, f->target_sz, f->hash);

	if (other)
		drop(other);
	f->refs++;
	f->next = table[f->hash % nr_slots];
	table[f->hash % nr_slots] = f;
	f->older = newest;
	*(newest ? &newest->newer : &oldest) = f;
	newest = f;
	nr_files++;
	kept_sz += size_of(f);
	while (kept_sz > FILES_KEPT)
		drop(oldest);
	if (nr_files > nr_slots)
		grow();
}

void files_put(struct file *f)
{
	if (__atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL))
		return;
	if (f->fd >= 0)
		close(f->fd);
	free(f);
}

/* ---- a file ---- */

static bool same_file(const struct file *f, const struct stat *st)
{
	return f->was.dev == st->st_dev && f->was.ino == st->st_ino && f->body_sz == st->st_size &&
	       !memcmp(&f->was.modified, &st->st_mtim, sizeof(st->st_mtim)) &&
	       !memcmp(&f->was.changed, &st->st_ctim, sizeof(st->st_ctim));
}

static int head_of(struct file *f, const char *path, char *head, size_t sz)
{
	snprintf(f->etag, sizeof(f->etag), "\"%lx-%lx.%lx\"", (unsigned long)f->body_sz,
		 (unsigned long)f->was.modified.tv_sec, (unsigned long)f->was.modified.tv_nsec);
	files_date(f->was.modified.tv_sec, f->modified);
	return snprintf(head, sz,
			"HTTP/1.1 200 OK\r\nServer: upcall\r\nContent-Type: %s\r\n"
			"Content-Length: %lu\r\nLast-Modified: %s\r\nETag: %s\r\n"
			"Accept-Ranges: none\r\n",
			type_of(path), (unsigned long)f->body_sz, f->modified, f->etag);
}

/* All of it, or fewer bytes where it has become shorter. */
static off_t read_all(int fd, char *to, off_t sz)
{
	off_t at = 0;
	ssize_t n;

	while (at < sz && (n = pread(fd, to + at, (size_t)(sz - at), at)) > 0)
		at += n;
	return at;
}

/* fd goes over into the file. */
static int make(int fd, struct stat *st, const char *path, const char *target, size_t sz,
		struct file **ret_file)
{
	bool small = st->st_size <= FILES_SMALL;
	char head[512], *to;
	struct file *f = malloc(sizeof(*f) + sz + sizeof(head) + (small ? (size_t)st->st_size : 0));

	if (!f)
		return close(fd), 503;
	*f = (struct file){ .fd = fd, .refs = 1, .body_sz = st->st_size, .target_sz = sz };
	f->was.dev = st->st_dev;
	f->was.ino = st->st_ino;
	f->was.modified = st->st_mtim;
	f->was.changed = st->st_ctim;
	f->hash = hash_of(target, sz);
	f->head_sz = (size_t)head_of(f, path, head, sizeof(head));
	memcpy(f->target, target, sz);
	f->head = to = f->target + sz;
	memcpy(to, head, f->head_sz);
	*ret_file = f;
	if (!small)
		return 0;
	f->body = to += f->head_sz;
	/* One that changes meanwhile is not kept, and what was said of its size does not hold. */
	if (read_all(fd, to, f->body_sz) != f->body_sz || fstat(fd, st) ||
	    !same_file(f, st)) {
		files_put(f);
		return 503;
	}
	close(fd);
	f->fd = -1;
	return 0;
}

/* Opens what a path names: the status. */
static int open_path(char *path, int *ret_fd, struct stat *ret_st)
{
	size_t sz = strlen(path);
	int fd;

	if (!sz || path[sz - 1] == '/')
		strcpy(path + sz, "index.html"); /* there is room: see load() */
	fd = open_below(path, O_RDONLY);
	if (fd < 0)
		return status_of(-fd);
	ret_st->st_mode = 0;
	if (!fstat(fd, ret_st) && S_ISREG(ret_st->st_mode)) {
		*ret_fd = fd;
		return 0;
	}
	close(fd);
	return S_ISDIR(ret_st->st_mode) ? 301 : 403;
}

static __attribute__((noinline)) int load(const char *target, size_t sz, struct file **ret_file)
{
	char path[FILES_PATH];
	struct stat st;
	int fd, tries = 3;
	int status = -http_path(target, sz, path, sizeof(path) - sizeof("index.html"));

	while (!status && tries--) {
		status = open_path(path, &fd, &st);
		if (status)
			break;
		status = make(fd, &st, path, target, sz, ret_file);
		if (status != 503)
			break;
	}
	if (status || !(*ret_file)->body)
		return status;
	(*ret_file)->looked_ns = upcall_now_ns();
	upcall_mutex_lock(&mutex);
	insert(*ret_file);
	upcall_mutex_unlock(&mutex);
	return 0;
}

/* Whether the file is what the target still means. */
static __attribute__((noinline)) bool look_again(struct file *f)
{
	char path[FILES_PATH];
	struct stat st;
	bool same;
	int fd;

	if (http_path(f->target, f->target_sz, path, sizeof(path) - sizeof("index.html")) ||
	    open_path(path, &fd, &st))
		return false;
	same = same_file(f, &st);
	close(fd);
	return same;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

int files_get(const char *target, size_t sz, struct file **ret_file)
{
	const char *query = memchr(target, '?', sz);
	uint64_t now = now_ns();
	bool old = false;
	struct file *f;

	sz = query ? (size_t)(query - target) : sz;
	upcall_mutex_lock(&mutex);
	f = find(target, sz, hash_of(target, sz));
	if (f) {
		__atomic_add_fetch(&f->refs, 1, __ATOMIC_RELAXED);
		old = now > f->looked_ns && now - f->looked_ns >= SECOND;
		if (old)
			f->looked_ns = now; /* one looks, the others go on */
	}
	upcall_mutex_unlock(&mutex);
	if (f && old && !look_again(f)) {
		upcall_mutex_lock(&mutex);
		if (find(target, sz, f->hash) == f)
			drop(f);
		upcall_mutex_unlock(&mutex);
		files_put(f);
		f = NULL;
	}
	*ret_file = f;
	return f ? 0 : load(target, sz, ret_file);
}
