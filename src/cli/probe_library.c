/* SPDX-License-Identifier: MIT */
/*
 * The library that the command, and what it runs, would use: what was built into it.  Its file is read
 * as tracers read it, and believed in nothing that lies outside of it.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <upcall/upcall.h>

#include "base/bits.h"
#include "cli/probe.h"

#define SDT_TYPE  3
#define SDT_NAME  "stapsdt"
#define SDT_ADDRS 3 /* words before the strings */
#define PROVIDER  "upcall"
#define PROBES	  64

struct image {
	const char *at;
	size_t sz;
};

/* Distinct ones: a probe may stand in several places. */
struct names {
	const char *name[PROBES];
	unsigned nr;
};

static bool map_image(const char *path, struct image *ret)
{
	struct stat st;
	void *at = MAP_FAILED;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	if (!fstat(fd, &st) && st.st_size > 0)
		at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (at == MAP_FAILED)
		return false;
	*ret = (struct image){ at, (size_t)st.st_size };
	return true;
}

static bool lies_in(const struct image *m, uint64_t at, uint64_t sz)
{
	return at <= m->sz && sz <= m->sz - at;
}

/* What a note says: provider, name and arguments, each with its zero. */
static void add_probe(const char *text, size_t sz, struct names *n)
{
	size_t provider = strnlen(text, sz), i;
	const char *name = text + provider + 1;

	if (provider + 1 >= sz || strcmp(text, PROVIDER) ||
	    strnlen(name, sz - provider - 1) == sz - provider - 1)
		return;
	for (i = 0; i < n->nr; i++)
		if (!strcmp(n->name[i], name))
			return;
	if (n->nr < PROBES)
		n->name[n->nr++] = name;
}

static void read_notes(const char *at, size_t sz, struct names *n)
{
	const size_t skip = SDT_ADDRS * sizeof(ElfW(Addr));
	ElfW(Nhdr) h;
	uint64_t name_sz, desc_sz;

	while (sz >= sizeof(h)) {
		memcpy(&h, at, sizeof(h));
		at += sizeof(h);
		sz -= sizeof(h);
		name_sz = UP_ALIGN_UP((uint64_t)h.n_namesz, 4);
		desc_sz = UP_ALIGN_UP((uint64_t)h.n_descsz, 4);
		if (name_sz + desc_sz > sz)
			return;
		if (h.n_type == SDT_TYPE && h.n_namesz == sizeof(SDT_NAME) &&
		    !memcmp(at, SDT_NAME, sizeof(SDT_NAME)) && h.n_descsz > skip)
			add_probe(at + name_sz + skip, h.n_descsz - skip, n);
		at += name_sz + desc_sz;
		sz -= name_sz + desc_sz;
	}
}

static void read_image(const struct image *m, struct names *n)
{
	ElfW(Ehdr) e;
	ElfW(Shdr) s;
	unsigned i;

	if (m->sz < sizeof(e))
		return;
	memcpy(&e, m->at, sizeof(e));
	if (memcmp(e.e_ident, ELFMAG, SELFMAG) || e.e_shentsize != sizeof(s) ||
	    !lies_in(m, e.e_shoff, (uint64_t)e.e_shnum * sizeof(s)))
		return;
	for (i = 0; i < e.e_shnum; i++) {
		memcpy(&s, m->at + e.e_shoff + i * sizeof(s), sizeof(s));
		if (s.sh_type == SHT_NOTE && lies_in(m, s.sh_offset, s.sh_size))
			read_notes(m->at + s.sh_offset, s.sh_size, n);
	}
}

static void look_usdt(struct probe_result *r)
{
	struct names n = { .nr = 0 };
	struct image m;
	Dl_info where;

	if (!dladdr((void *)(uintptr_t)upcall_start, &where) || !where.dli_fname)
		return;
	if (!map_image(where.dli_fname, &m)) {
		probe_detail(r, "%s cannot be read", where.dli_fname);
		return;
	}
	read_image(&m, &n);
	r->state = n.nr ? PROBE_YES : PROBE_NO;
	if (n.nr)
		probe_detail(r, "%u probes; to list them: readelf -n %s", n.nr, where.dli_fname);
	else
		probe_detail(r, "none in %s", where.dli_fname);
	munmap((void *)(uintptr_t)m.at, m.sz);
}

const struct probe probes_library[] = {
	{ "usdt-probes", false,
	  "bpftrace, perf and gdb see uthreads switch, block, end and move, while the program runs",
	  "build the library where sys/sdt.h is (Debian: systemtap-sdt-dev), with -Dprobes=enabled",
	  look_usdt },
	{ 0 },
};
