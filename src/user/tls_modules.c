/* SPDX-License-Identifier: MIT */
/*
 * The initial images of modules that have static thread-local storage, for blocks that are used
 * again. The table holds copies, since a library may be unmapped while a block is being made; it is
 * replaced as a whole, and old ones are kept (one for each dlopen or dlclose that changed it), so
 * that readers need no lock.
 */
#include "user/tls.h"

#include <errno.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "arch/arch.h"
#include "base/atomic.h"
#include "base/mutant.h"
#include "user/tls_layout.h"

struct module {
	size_t modid;
	size_t offset;
	size_t sz;
	size_t image_sz;
	bool other_namespace;
	char *image; /* image_sz bytes, right behind the table */
};

struct table {
	struct table *older;
	size_t nr;
	size_t room;
	struct module modules[];
};

/* What is loaded now, seen from within dl_iterate_phdr(), which keeps it from changing. */
struct walk {
	struct link_map *other;
	struct table *old;
	size_t nr;
	size_t image_sz;
	struct table *table; /* NULL: only count */
	char *images;
	size_t image_room;
};

static struct table *current;
static size_t current_generation;

static void add(struct walk *w, const struct module *m, const void *image)
{
	if (w->table && w->nr < w->table->room && w->image_sz + m->image_sz <= w->image_room) {
		struct module *to = &w->table->modules[w->nr];

		*to = *m;
		to->image = w->images + w->image_sz;
		memcpy(to->image, image, m->image_sz);
		w->table->nr = w->nr + 1;
	}
	w->nr++;
	w->image_sz += m->image_sz;
}

static void add_map(struct walk *w, struct link_map *map, const ElfW(Phdr) * ph, size_t nr_ph,
		    bool other)
{
	size_t offset = *(size_t *)((char *)map + up_tls_layout.map_tls_offset);
	size_t modid = *(size_t *)((char *)map + up_tls_layout.map_tls_modid);

	/* No block, or one made on first use; libc's own is not reset. */
	if (!modid || !offset || offset > up_tls_layout.static_sz)
		return;
	if (offset == up_tls_layout.libc_offset)
		return;
	for (size_t i = 0; i < nr_ph; i++) {
		if (ph[i].p_type == PT_TLS)
			add(w,
			    &(struct module){ .modid = modid,
					      .offset = offset,
					      .sz = ph[i].p_memsz,
					      .image_sz = ph[i].p_filesz,
					      .other_namespace = other },
			    (const void *)(map->l_addr + ph[i].p_vaddr));
	}
}

/* Another namespace has its own copies of the libraries; their headers are mapped with them. */
static void add_namespace(struct walk *w, struct link_map *map)
{
	while (map->l_prev)
		map = map->l_prev;
	for (; map; map = map->l_next) {
		const ElfW(Ehdr) *eh = (const void *)map->l_addr;

		if (map->l_addr && !memcmp(eh->e_ident, ELFMAG, SELFMAG))
			add_map(w, map, (const void *)(map->l_addr + eh->e_phoff), eh->e_phnum,
				true);
	}
}

static bool is_taken(const struct walk *w, const struct module *m)
{
	for (size_t i = 0; i < w->nr && w->table; i++) {
		const struct module *at = &w->table->modules[i];

		/* Blocks lie below their offset. */
		if (m->offset > at->offset - at->sz && at->offset > m->offset - m->sz)
			return true;
	}
	return false;
}

/* What an earlier call saw in other namespaces, unless something else lies there by now. */
static void keep_namespaces(struct walk *w)
{
	for (size_t i = 0; w->old && i < w->old->nr; i++) {
		const struct module *m = &w->old->modules[i];

		if (m->other_namespace && !is_taken(w, m))
			add(w, m, m->image);
	}
}

static int see(struct dl_phdr_info *info, size_t sz, void *arg)
{
	struct walk *w = arg;
	struct link_map *map;

	for (map = _r_debug.r_map; map; map = map->l_next) {
		if (map->l_addr == info->dlpi_addr && map->l_name == info->dlpi_name)
			add_map(w, map, info->dlpi_phdr, info->dlpi_phnum, false);
	}
	return 0;
}

static int see_other(struct dl_phdr_info *info, size_t sz, void *arg)
{
	struct walk *w = arg;

	if (w->other)
		add_namespace(w, w->other);
	keep_namespaces(w);
	return 1; /* once, for the sake of the lock that is held meanwhile */
}

static void walk(struct walk *w)
{
	w->nr = 0;
	w->image_sz = 0;
	dl_iterate_phdr(see, w);
	dl_iterate_phdr(see_other, w);
}

static bool same(const struct table *a, const struct table *b)
{
	if (!a || a->nr != b->nr)
		return false;
	for (size_t i = 0; i < a->nr; i++) {
		const struct module *x = &a->modules[i], *y = &b->modules[i];

		if (x->modid != y->modid || x->offset != y->offset || x->sz != y->sz ||
		    x->image_sz != y->image_sz || memcmp(x->image, y->image, x->image_sz))
			return false;
	}
	return true;
}

static int read_modules(struct link_map *other, struct table *old, struct table **ret_table)
{
	struct walk w = { .other = other, .old = old };

	walk(&w);
	for (;;) {
		/* Some room: something may be loaded between the two looks. */
		size_t room = w.nr + 4, image_room = w.image_sz + 1024;
		struct table *t = calloc(1, sizeof(*t) + room * sizeof(t->modules[0]) + image_room);

		if (!t)
			return -ENOMEM;
		t->room = room;
		w.table = t;
		w.images = (char *)&t->modules[room];
		w.image_room = image_room;
		walk(&w);
		if (w.nr == t->nr) {
			*ret_table = t;
			return 0;
		}
		free(t);
		w.table = NULL;
	}
}

int up_tls_sync_modules(void *any_map)
{
	/* acquire: pairs with the release below; the table behind the pointer is complete. */
	struct table *old = up_load_acquire(&current), *table;
	int err;

	if (!up_tls_layout.map_tls_modid)
		return 0;
	do {
		err = read_modules(any_map, old, &table);
		if (err)
			return err;
		if (same(old, table)) {
			free(table);
			return 0;
		}
		table->older = old;
		/* release: the table is complete for whoever sees it. Failing, look again. */
	} while (!up_cas_acq_rel(&current, &old, table));
	return 0;
}

int up_tls_refresh_modules(void)
{
	size_t generation;
	int err;

	if (!up_tls_layout.generation)
		return 0;
	/* acquire: what libc did before it counted is there; a load that is under way counts again */
	generation = up_load_acquire(up_tls_layout.generation);
	if (generation == up_load_acquire(&current_generation)) /* pairs with the release below */
		return 0;
	err = up_tls_sync_modules(NULL);
	/* release: the table is in place for whoever finds the count */
	if (!err)
		up_store_release(&current_generation, generation);
	return err;
}

void up_tls_init_modules(uintptr_t fs)
{
	const struct table *t = up_load_acquire(&current); /* pairs with up_tls_sync_modules() */

	for (size_t i = 0; t && i < t->nr; i++) {
		const struct module *m = &t->modules[i];
		char *block = up_tls_module_at(fs, m->offset);

		if (UP_MUT(tls_image_not_restored))
			continue;
		memcpy(block, m->image, m->image_sz);
		memset(block + m->image_sz, 0, m->sz - m->image_sz);
	}
}
