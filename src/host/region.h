/* SPDX-License-Identifier: MIT */
/*
 * The two shared regions of one process as memory: made, sealed, mapped, given back.
 *
 * The kernel side makes them.  procinfo is mapped twice in an embedded process, writable for the
 * kernel side and read-only for the rest; another process gets the descriptors and maps them with
 * up_region_attach().  Nothing here is on a call path; all of it may allocate address space, none
 * of it touches the heap.
 */
#ifndef UP_HOST_REGION_H
#define UP_HOST_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/region.h"

/* More of anything than this is refused: offsets must fit 32 bits. */
#define UP_REGION_MAX (1u << 20)

struct up_region_cfg {
	uint32_t max_vcores;
	uint32_t max_pcores;
	uint32_t max_acts;
	bool shared; /* keep descriptors, sealed against shrinking, to hand to another process */
};

struct up_region {
	struct upabi_procinfo *info;	      /* writable; NULL on the process's side */
	const struct upabi_procinfo *info_ro; /* NULL on a kernel side that serves others */
	struct upabi_procdata *data;
	size_t info_sz; /* both rounded to pages */
	size_t data_sz;
	int info_fd; /* -1 unless shared; opened read-only, and no new writable mapping of it */
	int data_fd; /* -1 unless shared */
};

/* Makes both regions, zeroed but for the header of procdata.  Pages appear when touched.  Children
 * of fork() do not get them.  -EINVAL, or what Linux refused; *ret_region untouched then.
 * Not shared: works without memfd_create() as well. */
int up_region_create(const struct up_region_cfg *cfg, struct up_region *ret_region);

/* Maps what another process has made: info_ro and data.  The descriptors stay the caller's.
 * -EPROTO when their sizes are not whole regions'; what they hold is up_port_init()'s to judge. */
int up_region_attach(int info_fd, int data_fd, struct up_region *ret_region);

/* What is mapped stays. */
void up_region_close_fds(struct up_region *r);

/* Unmaps, closes; a zeroed or finished one, or NULL, does nothing. */
void up_region_fini(struct up_region *r);

/* Zeroed memory that is there before it is touched, and in children of fork() only if said so;
 * NULL when there is none. */
void *up_region_alloc(size_t sz, bool in_children);
void up_region_free(void *p, size_t sz);

#endif
