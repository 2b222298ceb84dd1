/* SPDX-License-Identifier: MIT */
/*
 * The page that is shared with the program: made, laid out, sealed against another size.  What the
 * program writes there is hostile: offsets come from our own record, words are read once.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "cli/run.h"

/* Memory that nobody touches costs nothing; more than these few programs ask for. */
#define MIN_ACTS   65536u
#define MIN_VCORES 128u
/* Rings are resident from the start: on a large machine each gets less. */
#define DEFAULT_RING (UINT64_C(4) << 20)
#define ALL_RINGS    (UINT64_C(256) << 20)
#define LEAST_RING   (UINT64_C(64) << 10)

static uint32_t ring_len(const struct run_opts *o, uint64_t vcores)
{
	uint64_t sz = o->trace_sz;
	uint32_t len = 1;

	if (!o->trace)
		return 0;
	if (!sz)
		sz = UP_MAX(UP_MIN(DEFAULT_RING, ALL_RINGS / vcores), LEAST_RING);
	while (2 * (uint64_t)len * sizeof(struct upabi_trace_rec) <= sz)
		len *= 2;
	return len;
}

static void lay_out(struct run_page *p, const struct run_cpus *cpus)
{
	struct upabi_run *h = p->at;

	h->magic = UPABI_RUN_MAGIC;
	h->version = UPABI_RUN_VERSION;
	h->header_sz = sizeof(*h);
	h->size = p->size;
	h->max_vcores = p->max_vcores;
	h->max_acts = p->max_acts;
	h->ring_len = p->ring_len;
	h->cpus_sz = p->cpus_sz;
	h->off_cpus = sizeof(*h);
	h->off_vcores = (uint32_t)upabi_run_off_vcores(h->cpus_sz);
	h->off_acts = (uint32_t)upabi_run_off_acts(h->cpus_sz, h->max_vcores);
	h->off_counts = (uint32_t)upabi_run_off_counts(h->cpus_sz, h->max_vcores, h->max_acts);
	h->off_rings = (uint32_t)upabi_run_off_rings(h->cpus_sz, h->max_vcores, h->max_acts);
	if (!p->cpus_sz)
		return;
	memcpy((char *)h + h->off_cpus, cpus->allowed, p->cpus_sz);
	memcpy((char *)h + h->off_cpus + p->cpus_sz, cpus->confined, p->cpus_sz);
}

int run_page_make(const struct run_opts *o, const struct run_cpus *cpus, struct run_page *ret_page)
{
	struct run_page p = { .fd = memfd_create("upcall-run", MFD_CLOEXEC | MFD_ALLOW_SEALING) };
	uint64_t cpus_here;
	int err;

	if (p.fd < 0)
		return -errno;
	cpus_here = (uint64_t)UP_MAX(sysconf(_SC_NPROCESSORS_CONF), 1L);
	p.max_vcores = (uint32_t)UP_MAX(UP_MAX(o->vcores, cpus_here), (uint64_t)MIN_VCORES);
	p.max_acts = UP_MAX((uint32_t)o->max_acts, MIN_ACTS);
	p.cpus_sz = cpus->confined ? (uint32_t)cpus->sz : 0;
	p.ring_len = ring_len(o, UP_MAX(o->vcores, cpus_here));
	p.size = upabi_run_size(p.cpus_sz, p.max_vcores, p.max_acts, p.ring_len);
	if (ftruncate(p.fd, (off_t)p.size))
		goto fail;
	p.at = mmap(NULL, p.size, PROT_READ | PROT_WRITE, MAP_SHARED, p.fd, 0);
	if (p.at == MAP_FAILED)
		goto fail;
	lay_out(&p, cpus);
	if (fcntl(p.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		goto fail;
	*ret_page = p;
	return 0;
fail:
	err = errno;
	close(p.fd);
	return -err;
}

struct upabi_run_vcore *run_page_vcore(const struct run_page *p, uint32_t v)
{
	uint64_t off = upabi_run_off_vcores(p->cpus_sz);

	return (struct upabi_run_vcore *)((char *)p->at + off) + v;
}

const struct upabi_act_stats *run_page_act(const struct run_page *p, uint32_t i)
{
	uint64_t off = upabi_run_off_acts(p->cpus_sz, p->max_vcores);

	return (const struct upabi_act_stats *)((const char *)p->at + off) + i;
}

const struct upabi_run_count *run_page_count(const struct run_page *p, uint32_t i)
{
	uint64_t off = upabi_run_off_counts(p->cpus_sz, p->max_vcores, p->max_acts);

	return (const struct upabi_run_count *)((const char *)p->at + off) + i;
}

const struct upabi_trace_rec *run_page_ring(const struct run_page *p, uint32_t v)
{
	uint64_t off = upabi_run_off_rings(p->cpus_sz, p->max_vcores, p->max_acts);

	return (const struct upabi_trace_rec *)((const char *)p->at + off) +
	       (uint64_t)v * p->ring_len;
}
