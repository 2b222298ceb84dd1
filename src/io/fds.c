/* SPDX-License-Identifier: MIT */
/*
 * What is known of descriptors, by number: as many as Linux can give out, in pieces that are made when
 * a number of theirs is waited for first, and that stay until the runtime stops.
 */
#include "io/io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define CHUNK_BITS 10
#define CHUNK_NR   (1u << (31 - CHUNK_BITS))
#define CHUNK_SZ   (sizeof(struct up_fd) << CHUNK_BITS)
#define TABLE_SZ   (CHUNK_NR * sizeof(struct up_fd *))

static struct up_fd **table; /* atomic, and so are its words */
static uint32_t nr_seen;     /* atomic: no piece has been made from there on */

static void *map(size_t sz)
{
	void *at = UP_INJECT_FAIL(io_map)
			   ? MAP_FAILED
			   : mmap(NULL, sz, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return at == MAP_FAILED ? NULL : at;
}

/* The word's, or a new piece that one of those who want it provides. */
static void *make(void **word, size_t sz)
{
	void *is = up_load_acquire(word), *made;

	if (UP_LIKELY(is != NULL))
		return is;
	made = map(sz);
	/* acq_rel: zeroes behind it; pairs with the acquires of all who look */
	if (made && !up_cas_acq_rel(word, &is, made)) {
		munmap(made, sz);
		return is;
	}
	return made;
}

static void note_seen(uint32_t nr)
{
	uint32_t was = up_load_relaxed(&nr_seen);

	while (UP_UNLIKELY(was < nr) && !up_cas_relaxed(&nr_seen, &was, nr))
		;
}

struct up_fd *up_fd_get(int fd)
{
	struct up_fd **t, *chunk;

	t = fd < 0 ? NULL : make((void **)&table, TABLE_SZ);
	if (!t)
		return NULL;
	if (UP_UNLIKELY(!up_load_relaxed(&up_rt.io)))
		up_io_plug();
	note_seen(((uint32_t)fd >> CHUNK_BITS) + 1);
	chunk = make((void **)&t[(uint32_t)fd >> CHUNK_BITS], CHUNK_SZ);
	return chunk ? &chunk[(uint32_t)fd & ((1u << CHUNK_BITS) - 1)] : NULL;
}

struct up_fd *up_fd_find(int fd)
{
	struct up_fd **t = up_load_acquire(&table), *chunk;

	if (!t || fd < 0)
		return NULL;
	chunk = up_load_acquire(&t[(uint32_t)fd >> CHUNK_BITS]);
	return chunk ? &chunk[(uint32_t)fd & ((1u << CHUNK_BITS) - 1)] : NULL;
}

void up_fd_free_all(void)
{
	uint32_t i;

	for (i = 0; table && i < nr_seen; i++)
		if (table[i])
			munmap(table[i], CHUNK_SZ);
	if (table)
		munmap(table, TABLE_SZ);
	table = NULL;
	nr_seen = 0;
}

static long get_flags(int fd)
{
	return up_syscall2(SYS_fcntl, fd, F_GETFL);
}

static uint32_t kind_of(int fd, mode_t mode)
{
	if (S_ISREG(mode) || S_ISBLK(mode) || S_ISDIR(mode))
		return get_flags(fd) & O_DIRECT ? UP_FD_DIRECT : UP_FD_FILE;
	return S_ISFIFO(mode) ? UP_FD_PIPE : UP_FD_STREAM;
}

int up_fd_look(int fd)
{
	struct up_fd *f = up_fd_get(fd);
	struct stat st;
	uint32_t kind;
	long r;

	if (fd < 0)
		return -EBADF;
	if (!f)
		return -ENOMEM;
	kind = up_load_relaxed(&f->kind);
	if (UP_LIKELY(kind != UP_FD_UNKNOWN))
		return (int)kind;
	r = up_syscall2(SYS_fstat, fd, (long)&st);
	if (r < 0)
		return (int)r;
	kind = kind_of(fd, st.st_mode);
	up_store_relaxed(&f->kind, kind);
	return (int)kind;
}

void up_fd_forget(int fd)
{
	struct up_fd *f = up_fd_find(fd);

	if (f)
		up_store_relaxed(&f->kind, UP_FD_UNKNOWN);
}

/* ---- non-blocking ---- */

bool up_fd_is_nonblocking(int fd)
{
	struct up_fd *f = up_fd_find(fd);
	long flags = get_flags(fd);

	if (flags < 0 || !(flags & O_NONBLOCK) || UP_MUT(io_nonblock_ignored))
		return flags < 0;
	if (!f)
		return true;
	/* Perhaps only for a call of ours: with the guard nobody is about to change that. */
	up_guard(&f->side[0].guard);
	flags = get_flags(fd);
	if (f->lent && !UP_MUT(io_lent_seen))
		flags = 0;
	up_unguard(&f->side[0].guard, NULL);
	return flags & O_NONBLOCK;
}

int up_fd_lend(int fd)
{
	struct up_fd *f = up_fd_get(fd);
	long flags;

	if (!f)
		return fd < 0 ? -EBADF : -ENOMEM;
	up_guard(&f->side[0].guard);
	flags = get_flags(fd);
	if (flags >= 0 && (f->lent || !(flags & O_NONBLOCK))) {
		f->lent++;
		up_syscall3(SYS_fcntl, fd, F_SETFL, flags | O_NONBLOCK);
		flags = 0;
	} else if (flags >= 0) {
		flags = 1;
	}
	up_unguard(&f->side[0].guard, NULL);
	return (int)flags;
}

void up_fd_give_back(int fd)
{
	struct up_fd *f = up_fd_find(fd);
	long flags;

	up_guard(&f->side[0].guard);
	flags = get_flags(fd);
	f->lent--;
	if (!f->lent && flags >= 0)
		up_syscall3(SYS_fcntl, fd, F_SETFL, flags & ~(long)O_NONBLOCK);
	up_unguard(&f->side[0].guard, NULL);
}
