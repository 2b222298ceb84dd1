/* SPDX-License-Identifier: MIT */
/*
 * The two shared regions as memory.  A region that leaves the process is a sealed memfd: the other
 * side can neither shrink it under us (that would be a SIGBUS here) nor map procinfo writable.
 * A region that stays may also be shared anonymous memory, mapped a second time by mremap(), where
 * memfd_create() is missing or denied.  Called while a process is set up or taken down, never on
 * a call path.
 */
#include "host/region.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/inject.h"
#include "base/mutant.h"

/* Newer than the C library's headers. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x8u
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x10
#endif

static size_t page_round(uint64_t n)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	return UP_ALIGN_UP(n, page);
}

static int memfd(const char *name)
{
	int fd;

	if (UP_INJECT_FAIL(region_memfd))
		return -ENOSYS;
	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd < 0 ? -errno : fd;
}

static int map(size_t sz, int prot, int flags, int fd, void **ret_addr)
{
	void *addr;

	if (UP_INJECT_FAIL(region_mmap))
		return -ENOMEM;
	addr = mmap(NULL, sz, prot, flags, fd, 0);
	if (addr == MAP_FAILED)
		return -errno;
	/* A child of fork() is a process of its own: it must not find our words in its memory. */
	if (UP_INJECT_FAIL(region_madvise) ||
	    (!UP_MUT(region_left_to_children) && madvise(addr, sz, MADV_DONTFORK))) {
		munmap(addr, sz);
		return -ENOMEM;
	}
	*ret_addr = addr;
	return 0;
}

/* A descriptor of sz zeroed bytes that will keep that size. */
static int sized_memfd(const char *name, size_t sz)
{
	int fd = memfd(name);

	if (fd < 0)
		return fd;
	if (UP_INJECT_FAIL(region_truncate) || ftruncate(fd, (off_t)sz)) {
		close(fd);
		return -ENOMEM;
	}
	if (UP_INJECT_FAIL(region_seal) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW)) {
		close(fd);
		return -EPERM;
	}
	return fd;
}

/* From here on nobody adds seals; of procinfo nobody makes a writable mapping either. */
static int seal_for_others(int info_fd, int data_fd)
{
	if (UP_MUT(region_left_unsealed))
		return 0;
	if (UP_INJECT_FAIL(region_seal_last) ||
	    fcntl(info_fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) ||
	    fcntl(data_fd, F_ADD_SEALS, F_SEAL_SEAL))
		return -EPERM;
	return 0;
}

/* The seal is the lock; the read-only descriptor keeps honest clients from trying. */
static int reopen_readonly(int fd)
{
	char path[64];
	int ro;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (UP_INJECT_FAIL(region_reopen))
		return -ENOENT;
	ro = open(path, O_RDONLY | O_CLOEXEC);
	return ro < 0 ? -errno : ro;
}

static int map_from_fds(struct up_region *r, bool shared)
{
	int ret;

	ret = map(r->info_sz, PROT_READ | PROT_WRITE, MAP_SHARED, r->info_fd, (void **)&r->info);
	if (!ret && !shared)
		ret = map(r->info_sz, PROT_READ, MAP_SHARED, r->info_fd, (void **)&r->info_ro);
	if (!ret)
		ret = map(r->data_sz, PROT_READ | PROT_WRITE, MAP_SHARED, r->data_fd,
			  (void **)&r->data);
	return ret;
}

void up_region_close_fds(struct up_region *r)
{
	if (r->info_fd >= 0)
		close(r->info_fd);
	if (r->data_fd >= 0)
		close(r->data_fd);
	r->info_fd = -1;
	r->data_fd = -1;
}

static int share_fds(struct up_region *r)
{
	int ro;
	int ret = seal_for_others(r->info_fd, r->data_fd);

	if (ret)
		return ret;
	ro = reopen_readonly(r->info_fd);
	if (ro < 0)
		return ro;
	close(r->info_fd);
	r->info_fd = ro;
	return 0;
}

static int create_memfd(struct up_region *r, bool shared)
{
	int ret;

	r->info_fd = sized_memfd("upcall-procinfo", r->info_sz);
	if (r->info_fd < 0)
		return r->info_fd;
	r->data_fd = sized_memfd("upcall-procdata", r->data_sz);
	if (r->data_fd < 0)
		return r->data_fd;
	ret = map_from_fds(r, shared);
	if (ret)
		return ret;
	if (shared)
		return share_fds(r);
	up_region_close_fds(r);
	return 0;
}

/* An old size of 0 asks mremap() for a second mapping of shared memory. */
static int create_anonymous(struct up_region *r)
{
	const int flags = MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE;
	void *ro;
	int ret;

	ret = map(r->info_sz, PROT_READ | PROT_WRITE, flags, -1, (void **)&r->info);
	if (!ret)
		ret = map(r->data_sz, PROT_READ | PROT_WRITE, flags, -1, (void **)&r->data);
	if (ret)
		return ret;
	ro = UP_INJECT_FAIL(region_mremap) ? MAP_FAILED
					   : mremap(r->info, 0, r->info_sz, MREMAP_MAYMOVE);
	if (ro == MAP_FAILED)
		return -ENOMEM;
	r->info_ro = ro;
	/* The twin keeps the mark that children do not get it. */
	if (UP_INJECT_FAIL(region_mprotect) || mprotect(ro, r->info_sz, PROT_READ))
		return -ENOMEM;
	return 0;
}

static void write_data_header(struct upabi_procdata *d, const struct up_region_cfg *cfg)
{
	d->version = UPABI_VERSION;
	d->header_sz = sizeof(*d);
	d->region_sz = upabi_data_size(cfg->max_vcores, cfg->max_acts);
	d->off_vcore = sizeof(*d);
	d->off_call = (uint32_t)upabi_data_off_call(cfg->max_vcores);
	d->off_call_pending = (uint32_t)upabi_data_off_call_pending(cfg->max_vcores, cfg->max_acts);
	d->magic = UPABI_DATA_MAGIC;
}

static bool in_range(uint32_t n)
{
	return n >= 1 && n <= UP_REGION_MAX;
}

int up_region_create(const struct up_region_cfg *cfg, struct up_region *ret_region)
{
	struct up_region r = { .info_fd = -1, .data_fd = -1 };
	int ret;

	if (!cfg || !ret_region || !in_range(cfg->max_vcores) || !in_range(cfg->max_pcores) ||
	    !in_range(cfg->max_acts))
		return -EINVAL;
	r.info_sz = page_round(upabi_info_size(cfg->max_vcores, cfg->max_pcores, cfg->max_acts));
	r.data_sz = page_round(upabi_data_size(cfg->max_vcores, cfg->max_acts));
	ret = create_memfd(&r, cfg->shared);
	if (ret && !cfg->shared) {
		/* No memfd (old or walled-in kernel), or no descriptor left: none is needed. */
		size_t info_sz = r.info_sz, data_sz = r.data_sz;

		up_region_fini(&r);
		r.info_sz = info_sz;
		r.data_sz = data_sz;
		ret = create_anonymous(&r);
	}
	if (ret) {
		up_region_fini(&r);
		return ret;
	}
	write_data_header(r.data, cfg);
	*ret_region = r;
	return 0;
}

/* The size of a region's descriptor; a file that could shrink later is not one. */
static int fd_size(int fd, size_t *ret_sz)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (st.st_size <= 0 || (uint64_t)st.st_size != page_round((uint64_t)st.st_size) ||
	    (uint64_t)st.st_size > UINT64_C(8) << 30)
		return -EPROTO;
	*ret_sz = (size_t)st.st_size;
	return 0;
}

int up_region_attach(int info_fd, int data_fd, struct up_region *ret_region)
{
	struct up_region r = { .info_fd = -1, .data_fd = -1 };
	int ret;

	if (info_fd < 0 || data_fd < 0 || !ret_region)
		return -EINVAL;
	ret = fd_size(info_fd, &r.info_sz);
	if (!ret)
		ret = fd_size(data_fd, &r.data_sz);
	if (!ret)
		ret = map(r.info_sz, PROT_READ, MAP_SHARED, info_fd, (void **)&r.info_ro);
	if (!ret)
		ret = map(r.data_sz, PROT_READ | PROT_WRITE, MAP_SHARED, data_fd, (void **)&r.data);
	if (ret) {
		up_region_fini(&r);
		return ret;
	}
	*ret_region = r;
	return 0;
}

void up_region_fini(struct up_region *r)
{
	if (!r || !r->info_sz)
		return;
	if (r->info)
		munmap(r->info, r->info_sz);
	if (r->info_ro)
		munmap((void *)r->info_ro, r->info_sz);
	if (r->data)
		munmap(r->data, r->data_sz);
	up_region_close_fds(r);
	*r = (struct up_region){ .info_fd = -1, .data_fd = -1 };
}

void *up_region_alloc(size_t sz, bool in_children)
{
	void *p;

	/* Populated: code that runs with notifications off must not stop for a page. */
	if (!sz || map(page_round(sz), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, &p))
		return NULL;
	if (in_children && madvise(p, page_round(sz), MADV_DOFORK)) {
		up_region_free(p, sz);
		return NULL;
	}
	return p;
}

void up_region_free(void *p, size_t sz)
{
	if (p)
		munmap(p, page_round(sz));
}
