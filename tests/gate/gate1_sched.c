/* SPDX-License-Identifier: MIT */
/*
 * What gate1_sched.h promises. In vcore context: raw system calls only, no lock, no allocation.
 */
#include "gate1_sched.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/syscall.h"
#include "user/uthread.h"

/* The scheduler below has all the words that a scheduler may have; this one is for who shares a process
 * among several, which the gate does not. */
#define OWN_WORD   UPCALL_SCHED_WORDS
#define MAX_RANGES 256

enum where {
	OURS,
	LIBC,
	LIBS
};

static struct {
	uintptr_t from, to;
	enum where where;
} ranges[MAX_RANGES];
static unsigned nr_ranges;
static struct gate1_seen seen; /* atomic, each */

static bool named(const char *path, const char *start)
{
	const char *base = strrchr(path, '/');

	return base && !strncmp(base + 1, start, strlen(start));
}

static void add_range(const char *path, uintptr_t from, uintptr_t to)
{
	bool libc = named(path, "libc.so") || named(path, "libm.so") || named(path, "ld-linux");

	if (!strstr(path, ".so") || named(path, "libupcall") || nr_ranges == MAX_RANGES)
		return;
	ranges[nr_ranges].from = from;
	ranges[nr_ranges].to = to;
	ranges[nr_ranges++].where = libc ? LIBC : LIBS;
}

void gate1_sched_map(void)
{
	char line[5000], perms[8], path[4200];
	uintptr_t from, to;
	FILE *f = fopen("/proc/self/maps", "r");

	nr_ranges = 0;
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %4199s", &from, &to, perms, path) == 4 &&
		    perms[2] == 'x')
			add_range(path, from, to);
	if (f)
		fclose(f);
}

static enum where where_is(uintptr_t pc)
{
	unsigned i;

	for (i = 0; i < nr_ranges; i++)
		if (pc >= ranges[i].from && pc < ranges[i].to)
			return ranges[i].where;
	return OURS;
}

static void count(uint64_t *what, bool if_so)
{
	if (if_so)
		__atomic_fetch_add(what, 1, __ATOMIC_RELAXED);
}

/* Word 2: the task that it was interrupted on, and where; 0 when it was not. One that was turned out of
 * a sleep was at no work that could be interrupted. */
static void ready(struct upcall_uthread *w, unsigned vcore, enum upcall_why why)
{
	const struct up_uthread *u = (const struct up_uthread *)w;
	uintptr_t word = 0;
	enum where where;

	if (why == UPCALL_PREEMPTED && u->kind == UP_CTX_FRAME && !u->again) {
		where = where_is(up_frame_pc(u->frame));
		count(&seen.interrupted, true);
		count(&seen.in_libc, where == LIBC);
		count(&seen.in_libs, where != OURS);
		word = (uintptr_t)up_syscall0(SYS_gettid) << 2 | where;
	}
	upcall_sched_words(w)[OWN_WORD] = (void *)word;
	upcall_sched_steal.ready(w, vcore, why);
}

static struct upcall_uthread *pick(unsigned vcore)
{
	struct upcall_uthread *w = upcall_sched_steal.pick(vcore);
	uintptr_t word = w ? (uintptr_t)upcall_sched_words(w)[OWN_WORD] : 0;

	if (!word)
		return w;
	upcall_sched_words(w)[OWN_WORD] = NULL;
	if (word >> 2 != (uintptr_t)up_syscall0(SYS_gettid)) {
		count(&seen.migrated, true);
		count(&seen.migrated_libc, (word & 3) == LIBC);
		count(&seen.migrated_libs, (word & 3) != OURS);
	}
	return w;
}

static int init(unsigned max_vcores)
{
	return upcall_sched_steal.init(max_vcores);
}

static void fini(void)
{
	upcall_sched_steal.fini();
}

const struct upcall_sched_ops gate1_sched = {
	.size = sizeof(struct upcall_sched_ops),
	.name = "watching steal",
	.init = init,
	.fini = fini,
	.ready = ready,
	.pick = pick,
};

void gate1_sched_seen(struct gate1_seen *ret_seen)
{
	*ret_seen = seen;
}
