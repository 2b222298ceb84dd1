/* SPDX-License-Identifier: MIT */
/*
 * The page of `upcall run`, from the program's side: found, claimed, and handed to those who count.
 * Counters lie in it from the start, each in the line of its one writer, so that nothing is copied and
 * nothing is lost with the process.
 *
 * The first process that starts the runtime has it, the one that was run or a child of it.  Children of
 * that one have neither the variable, nor the descriptor, nor (after a fork) the memory.
 */
#include "user/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mutant.h"
#include "base/syscall.h"
#include "base/units.h"
#include "user/trace.h"

struct upabi_run *up_publish_page;

/* A copy of what never changes, checked: the page itself is another process's to write. */
static struct upabi_run layout;

static bool is_sound(const struct upabi_run *l, uint64_t sz)
{
	if (l->magic != UPABI_RUN_MAGIC || l->version != UPABI_RUN_VERSION ||
	    l->header_sz != sizeof(*l) || l->size != sz || l->max_vcores > (1u << 20) ||
	    l->max_acts > (1u << 22) || l->cpus_sz > (1u << 16) ||
	    (l->ring_len & (l->ring_len - 1)) || l->ring_len > (1u << 28))
		return false;
	return l->off_cpus == sizeof(*l) && l->off_vcores == upabi_run_off_vcores(l->cpus_sz) &&
	       l->off_acts == upabi_run_off_acts(l->cpus_sz, l->max_vcores) &&
	       l->off_counts == upabi_run_off_counts(l->cpus_sz, l->max_vcores, l->max_acts) &&
	       l->off_rings == upabi_run_off_rings(l->cpus_sz, l->max_vcores, l->max_acts) &&
	       sz == upabi_run_size(l->cpus_sz, l->max_vcores, l->max_acts, l->ring_len);
}

/* Whole, and of a size that stays: else a look at it might be a fault. */
static struct upabi_run *map_page(int fd)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW;
	struct upabi_run *p;
	struct stat st;
	int have = fcntl(fd, F_GET_SEALS);

	if (have < 0 || (have & seals) != seals || fstat(fd, &st) || st.st_size < (off_t)sizeof(*p))
		return NULL;
	p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
		 0);
	if (p == MAP_FAILED)
		return NULL;
	layout = *p;
	if (is_sound(&layout, (uint64_t)st.st_size) &&
	    (UP_MUT(publish_child_maps) || !madvise(p, layout.size, MADV_DONTFORK)))
		return p;
	munmap(p, (size_t)st.st_size);
	return NULL;
}

static bool claim(struct upabi_run *p)
{
	uint32_t nobody = 0;

	/* acq_rel: of several processes one has it; nothing else is ordered by this */
	if (up_cas_acq_rel(&p->owner, &nobody, (uint32_t)up_syscall0(SYS_getpid)) ||
	    UP_MUT(publish_claim_unchecked))
		return true;
	up_fetch_add_relaxed(&p->refused, 1);
	return false;
}

/* The command has confined us to as many CPUs as vcores were asked for, not knowing whether we would
 * ever come here.  From now on cores are asked for by number.  Whoever has chosen other CPUs since
 * meant it. */
static void free_affinity(void)
{
	const char *back = (const char *)up_publish_page + layout.off_cpus;
	size_t sz = layout.cpus_sz;
	char *now;
	long n;

	if (!sz || UP_MUT(publish_affinity_kept))
		return;
	now = __builtin_alloca(sz);
	memset(now, 0, sz);
	n = up_syscall3(SYS_sched_getaffinity, 0, sz, now);
	if (n > 0 && (!memcmp(now, back + sz, sz) || UP_MUT(publish_affinity_forced)))
		up_syscall3(SYS_sched_setaffinity, 0, sz, back);
}

static void find_page(void)
{
	const char *text = secure_getenv(UPABI_RUN_ENV);
	struct upabi_run *p = NULL;
	uint64_t fd;

	if (!text || up_units_parse(text, up_units_count, &fd) || fd > INT32_MAX)
		return;
	p = map_page((int)fd);
	if (!p)
		return; /* whatever the number names by now is not ours to close */
	if (claim(p)) {
		up_publish_page = p;
		free_affinity();
	} else {
		munmap(p, layout.size);
	}
	if (UP_MUT(publish_env_left))
		return;
	close((int)fd);
	unsetenv(UPABI_RUN_ENV);
}

/* A second start counts from zero, as upcall_get_stats() does. */
static void begin_again(struct upabi_run *p)
{
	struct upabi_run_vcore *lines = (void *)((char *)p + layout.off_vcores);
	uint32_t v;

	for (v = 0; v < layout.max_vcores; v++) {
		memset(&lines[v].stats, 0, sizeof(lines[v].stats));
		lines[v].total_ns = lines[v].since_ns = lines[v].stretches = 0;
	}
	memset((char *)p + layout.off_acts, 0, layout.max_acts * sizeof(struct upabi_act_stats));
	memset((char *)p + layout.off_counts, 0,
	       (layout.max_acts + 1) * sizeof(struct upabi_run_count));
	p->acts_peak = 0;
	p->start_error = 0;
}

void up_publish_claim(void)
{
	if (up_publish_page && up_load_relaxed(&up_publish_page->state))
		begin_again(up_publish_page);
	else if (!up_publish_page)
		find_page();
	up_trace_on = up_publish_page && layout.ring_len;
}

void up_publish_host(struct up_host_cfg *cfg)
{
	struct upabi_run *p = up_publish_page;

	if (!p)
		return;
	if (cfg->max_acts <= layout.max_acts)
		cfg->act_stats = (void *)((char *)p + layout.off_acts);
	cfg->times = (void *)((char *)p + layout.off_vcores);
	cfg->nr_times = UP_MIN(layout.max_vcores, cfg->max_vcores);
	cfg->acts_peak = &p->acts_peak;
}

struct upabi_run_count *up_publish_counts(uint32_t max_acts)
{
	struct upabi_run *p = up_publish_page;

	if (!p)
		return NULL;
	p->acts_unseen = max_acts > layout.max_acts;
	p->nr_acts = max_acts;
	return p->acts_unseen ? NULL : (void *)((char *)p + layout.off_counts);
}

/* Vcore context is not to wait for memory.  Where Linux cannot do it ahead (before 5.14), a fault then
 * takes a page that is there already, or zeroes one. */
static void make_resident(void *at, uint64_t sz)
{
	char *lo = (char *)UP_ALIGN_DOWN((uintptr_t)at, (uintptr_t)4096);

	madvise(lo, UP_ALIGN_UP((uintptr_t)at + sz, (uintptr_t)4096) - (uintptr_t)lo,
		MADV_POPULATE_WRITE);
}

void up_publish_vcore(struct up_vcore *vc)
{
	struct up_trace_ring *t = &vc->trace;
	struct upabi_run_vcore *line;
	uint64_t ring_sz = sizeof(*t->recs) * (uint64_t)layout.ring_len;

	vc->stats = &vc->own_stats;
	if (!up_publish_page || vc->id >= layout.max_vcores)
		return;
	line = (struct upabi_run_vcore *)((char *)up_publish_page + layout.off_vcores) + vc->id;
	make_resident(line, sizeof(*line));
	vc->stats = &line->stats;
	if (!layout.ring_len)
		return;
	t->line = line;
	t->recs = (void *)((char *)up_publish_page + layout.off_rings + vc->id * ring_sz);
	t->mask = layout.ring_len - 1;
	t->head = line->head;
	t->tail_seen = t->head - t->mask - 1; /* unknown: looked at first of all */
	make_resident(t->recs, ring_sz);
}

void up_publish_started(uint64_t slice_ns)
{
	struct upabi_run *p = up_publish_page;

	if (!p)
		return;
	p->nr_vcores = up_rt.max_vcores;
	p->target = up_rt.target;
	p->own_tls = up_rt.own_tls;
	p->slice_ns = slice_ns;
	p->start_ns = up_now_ns();
	strncpy(p->sched, up_rt.sched.name ? up_rt.sched.name : "?", sizeof(p->sched) - 1);
	/* release: pairs with the command's acquire: what it shows is there */
	up_store_release(&p->state, UPABI_RUN_STARTED);
}

void up_publish_stopped(int error)
{
	struct upabi_run *p = up_publish_page;

	up_trace_on = 0;
	if (!p)
		return;
	p->stop_ns = up_now_ns();
	p->start_error = (uint32_t)-error;
	up_store_release(&p->state, UPABI_RUN_STOPPED); /* as above */
}

void up_publish_fork_child(void)
{
	up_publish_page = NULL; /* not mapped here, nor announced any more */
	up_trace_on = 0;
	memset(&layout, 0, sizeof(layout));
}
