/* SPDX-License-Identifier: MIT */
/*
 * Finds out how this libc lays out a thread, once, at start. Names come from libc's private symbols
 * and from the table that it keeps for debuggers; what has no name is found by looking at threads
 * whose properties are known; and in the end a block is made and used. Nothing is assumed that was
 * not seen: the first thing that is not as expected ends the probe, and up_tls_why() names it.
 */
#include "user/tls.h"

#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/rseq.h>
#include <unistd.h>

#include "arch/arch.h"
#include "base/atomic.h"
#include "base/bits.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/inject.h"
#include "base/mutant.h"
#include "user/tls_layout.h"

struct up_tls_layout up_tls_layout = { .why = "not probed yet" };

#define DESC_MAX  8192
#define STACK_SZ  (256 * 1024)
#define PATIENCE  (10 * UP_NSEC_PER_SEC)
#define LIBC_MAX  1024
#define TRIAL_TID ((1u << 30) - 1)

#define MISSING(what) (up_tls_layout.why = "libc: " what, -ENOTSUP)

/* What a thread tells about itself. It lives until the thread has gone. */
struct sample {
	uint32_t done; /* release: all below is written */
	pid_t tid;
	uintptr_t fs;
	uintptr_t resp;
	bool listed;
	char desc[DESC_MAX];
};

/* libc's words for debuggers: bits, elements, offset. */
static bool field(const char *name, size_t bits, size_t *ret_offset)
{
	const uint32_t *desc = dlsym(RTLD_DEFAULT, name);

	if (!desc || (bits && desc[0] != bits))
		return false;
	*ret_offset = desc[2];
	return true;
}

static int find_symbols(struct up_tls_layout *l)
{
	void (*info)(size_t *, size_t *) = dlsym(RTLD_DEFAULT, "_dl_get_tls_static_info");
	const uint32_t *sz = dlsym(RTLD_DEFAULT, "_thread_db_sizeof_pthread");

	l->allocate = dlsym(RTLD_DEFAULT, "_dl_allocate_tls");
	l->deallocate = dlsym(RTLD_DEFAULT, "_dl_deallocate_tls");
	l->call_dtors = dlsym(RTLD_DEFAULT, "__call_tls_dtors");
	if (!l->allocate || !l->deallocate || !info || !sz)
		return MISSING("_dl_allocate_tls is not there");
	if (!l->call_dtors)
		return MISSING("__call_tls_dtors is not there");
	info(&l->static_sz, &l->static_align);
	l->desc_sz = *sz;
	if (l->desc_sz < 512 || l->desc_sz > DESC_MAX || l->static_sz <= l->desc_sz ||
	    l->static_sz > (1u << 24) || !up_is_pow2(l->static_align) || l->static_align > 4096)
		return MISSING("strange sizes of a thread's static storage");
	return 0;
}

static int find_fields(struct up_tls_layout *l)
{
	size_t report;

	if (!field("_thread_db_pthread_tid", 32, &l->tid) ||
	    !field("_thread_db_pthread_list", 128, &l->list) ||
	    !field("_thread_db_pthread_specific", 0, &l->groups) ||
	    !field("_thread_db_pthread_report_events", 8, &report) ||
	    !field("_thread_db_link_map_l_tls_offset", 64, &l->map_tls_offset) ||
	    !field("_thread_db_link_map_l_tls_modid", 64, &l->map_tls_modid))
		return MISSING("the table for debuggers has another form");
	l->user_stack = report + 1;
	l->rseq = (size_t)__rseq_offset;
	if (l->tid + 4 > l->desc_sz || l->list + 16 > l->desc_sz || l->rseq + 32 > l->desc_sz ||
	    l->groups + UP_TLS_KEY_GROUP * sizeof(void *) > l->desc_sz)
		return MISSING("a field lies outside of the descriptor");
	if (*(pid_t *)(up_tls_fs() + l->tid) != gettid())
		return MISSING("the thread's tid is not in its place");
	return 0;
}

static bool is_listed(const struct up_list *head, const struct up_list *link)
{
	const struct up_list *at = head->next;

	for (unsigned i = 0; i < 1000000 && at != head; i++, at = at->next) {
		if (at == link)
			return true;
	}
	return false;
}

static bool is_listed_locked(uintptr_t fs)
{
	bool listed;

	up_tls_threads_lock();
	listed = is_listed(up_tls_layout.threads, (void *)(fs + up_tls_layout.list));
	up_tls_threads_unlock();
	return listed;
}

static void say(uint32_t *word)
{
	up_store_release(word, 1); /* pairs with await() */
	up_futex_wake_private(word, 1);
}

/* However long: a thread that has been made comes, and what it stands on is not to be taken away. */
static bool await(uint32_t *word)
{
	uint64_t until = UP_MUT(probe_impatient) ? up_now_ns() + UP_NSEC_PER_MSEC
						 : UP_FUTEX_FOREVER;

	while (!up_load_acquire(word))
		if (up_futex_wait_private(word, 0, until) == -ETIMEDOUT)
			return false;
	return true;
}

static void *take_sample(void *arg)
{
	struct sample *s = arg;
	uintptr_t *resp = dlsym(RTLD_DEFAULT, "__resp");

	UP_INJECT(tls_sample);
	s->tid = gettid();
	s->fs = up_tls_fs();
	s->resp = resp ? *resp : 0;
	s->listed = up_tls_layout.threads && is_listed_locked(s->fs);
	memcpy(s->desc, (void *)s->fs, up_tls_layout.desc_sz);
	say(&s->done);
	return NULL;
}

/* A detached thread tells nobody when its stack is free, but its tid goes. */
static bool await_gone(pid_t tid)
{
	uint64_t until = up_now_ns() + PATIENCE;

	while (up_syscall3(SYS_tgkill, getpid(), tid, 0) == 0) {
		if (up_now_ns() > until)
			return false;
		sched_yield();
	}
	return true;
}

/* A detached thread on a stack that we know: the model for blocks. The list of such threads is
 * looked at while it lives, hence the caller's stack. */
static int sample_own_stack(struct sample *s, void *stack)
{
	pthread_attr_t attr;
	pthread_t thread;
	int err = pthread_attr_init(&attr);

	if (err)
		return -err;
	pthread_attr_setstack(&attr, stack, STACK_SZ);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	err = pthread_create(&thread, &attr, take_sample, s);
	pthread_attr_destroy(&attr);
	if (err)
		return -err;
	if (!await(&s->done))
		return MISSING("a thread did not start");
	return 0;
}

static int sample_plain(struct sample *s)
{
	pthread_t thread;
	int err = pthread_create(&thread, NULL, take_sample, s);

	if (err)
		return -err;
	pthread_join(thread, NULL);
	return 0;
}

static int find_stack(struct up_tls_layout *l, const struct sample *s, const void *stack)
{
	unsigned found = 0;

	for (size_t at = 0; at + 16 <= l->desc_sz; at += 8) {
		uintptr_t words[2];

		memcpy(words, s->desc + at, 16);
		if (words[0] != (uintptr_t)stack || words[1] != STACK_SZ)
			continue;
		l->stack = at;
		found++;
	}
	return found == 1 ? 0 : MISSING("a thread's stack is not noted as expected");
}

static int find_links(struct up_tls_layout *l, const struct sample *s)
{
	bool to_itself = false, to_values = false;

	for (size_t at = 0; at + 8 <= l->desc_sz; at += 8) {
		uintptr_t word;

		memcpy(&word, s->desc + at, 8);
		if (word < s->fs || word >= s->fs + l->desc_sz || at == UP_TCB_DTV ||
		    at == l->list || at == l->list + 8)
			continue;
		if (l->nr_links == UP_TLS_NR_LINKS)
			return MISSING("a descriptor with many pointers into itself");
		l->links[l->nr_links++] = (struct up_tls_link){ .at = (uint16_t)at,
								.to = (uint16_t)(word - s->fs) };
		to_itself |= at == UP_TCB_SELF_B && word == s->fs;
		to_values |= at == l->groups;
	}
	if (!to_itself || !to_values)
		return MISSING("a descriptor without its own address");
	l->res = s->resp - s->fs;
	if (s->resp < s->fs || l->res >= l->desc_sz)
		return MISSING("the resolver's state lies elsewhere");
	return 0;
}

static struct link_map *map_of(const void *addr)
{
	struct link_map *map = NULL;
	Dl_info info;

	if (!dladdr1(addr, &info, (void **)&map, RTLD_DL_LINKMAP))
		return NULL;
	return map;
}

static int find_libc_block(struct up_tls_layout *l)
{
	struct link_map *libc = map_of((const void *)l->call_dtors);
	uintptr_t fs = up_tls_fs(), at_errno = (uintptr_t)&errno;
	uintptr_t at_resp = (uintptr_t)dlsym(RTLD_DEFAULT, "__resp");
	const ElfW(Ehdr) * eh;
	const ElfW(Phdr) * ph;

	if (!libc || !libc->l_addr)
		return MISSING("it is linked statically");
	l->libc_offset = *(size_t *)((char *)libc + l->map_tls_offset);
	eh = (const void *)libc->l_addr;
	ph = (const void *)(libc->l_addr + eh->e_phoff);
	for (int i = 0; i < eh->e_phnum; i++) {
		if (ph[i].p_type == PT_TLS)
			l->libc_sz = ph[i].p_memsz;
	}
	l->errno_offset = fs - at_errno;
	l->resp_offset = fs - at_resp;
	if (!l->libc_sz || l->libc_sz > LIBC_MAX || l->libc_offset > l->static_sz ||
	    l->errno_offset - 1 >= l->libc_offset || l->resp_offset - 1 >= l->libc_offset)
		return MISSING("its thread-local words are not where the dynamic linker says");
	return 0;
}

static int check_dtv(struct up_tls_layout *l)
{
	struct link_map *libc = map_of((const void *)l->call_dtors);
	size_t modid = libc ? *(size_t *)((char *)libc + l->map_tls_modid) : 0;
	uintptr_t fs = up_tls_fs();
	void **dtv = *(void ***)(fs + UP_TCB_DTV);
	size_t len = (size_t)dtv[-2];

	/* No thread's table can be newer than the newest change. */
	if (*l->generation < (size_t)dtv[0] || *l->generation > 1000000)
		l->generation = NULL;
	if (!modid || len < modid || len > 65536)
		return MISSING("the table of thread-local blocks has another form");
	if (dtv[2 * modid] != up_tls_module_at(fs, l->libc_offset) || dtv[2 * modid + 1])
		return MISSING("the table of thread-local blocks has other entries");
	return 0;
}

static void probe_dtor_a(void *value)
{
	*(volatile int *)value = 1;
}

static void probe_dtor_b(void *value)
{
	*(volatile int *)value = 2;
}

/* The place in libc's own data that took on the destructor's address. */
static struct up_tls_key *find_key(struct link_map *libc, pthread_key_t key, void (*dtor)(void *))
{
	const ElfW(Ehdr) *eh = (const void *)libc->l_addr;
	const ElfW(Phdr) *ph = (const void *)(libc->l_addr + eh->e_phoff);
	struct up_tls_key *found = NULL;

	for (int i = 0; i < eh->e_phnum; i++) {
		uintptr_t at = UP_ALIGN_UP(libc->l_addr + ph[i].p_vaddr, (uintptr_t)8);
		uintptr_t end = libc->l_addr + ph[i].p_vaddr + ph[i].p_memsz;

		if (ph[i].p_type != PT_LOAD || !(ph[i].p_flags & PF_W))
			continue;
		for (; at + 8 <= end; at += 8) {
			if (*(void (**)(void *))at != dtor)
				continue;
			if (found)
				return NULL;
			found = up_container_of(at, struct up_tls_key, dtor) - key;
		}
	}
	return found;
}

static int find_keys(struct up_tls_layout *l)
{
	struct link_map *libc = map_of((const void *)l->call_dtors);
	struct up_tls_key *a = NULL, *b = NULL;
	pthread_key_t key_a, key_b;
	bool in_use = false;

	if (!libc)
		return MISSING("it is not where it was");
	if (pthread_key_create(&key_a, probe_dtor_a))
		return MISSING("no key is left");
	if (pthread_key_create(&key_b, probe_dtor_b)) {
		pthread_key_delete(key_a);
		return MISSING("no key is left");
	}
	a = find_key(libc, key_a, probe_dtor_a);
	b = find_key(libc, key_b, probe_dtor_b);
	if (a && a == b)
		in_use = (a[key_a].seq & 1) && (b[key_b].seq & 1);
	pthread_key_delete(key_a);
	pthread_key_delete(key_b);
	if (!in_use || (a[key_a].seq & 1))
		return MISSING("its keys are kept in another way");
	l->keys = a;
	return 0;
}

struct hold {
	uint32_t go, over;
	struct sample *sample;
	void *stack;
	int err;
};

static void *make_thread(void *arg)
{
	struct hold *h = arg;

	await(&h->go);
	h->err = sample_own_stack(h->sample, h->stack);
	say(&h->over);
	return NULL;
}

/* That it waits stands in the lock's word, that it did not have to is said by itself. */
static bool comes_to_wait(const uint32_t *word, const struct hold *h)
{
	uint64_t until = up_now_ns() + PATIENCE;
	uint32_t seen;

	while ((seen = up_load_acquire(word)) != 2 && !up_load_acquire(&h->over) &&
	       up_now_ns() < until)
		sched_yield();
	return seen == 2;
}

/* With the lock held, a thread that makes a thread must come to wait for it. */
static int try_lock(struct up_tls_layout *l, struct hold *h)
{
	uint32_t *word = l->threads_lock;
	bool waited;
	pthread_t maker;
	int err;

	if (*word || (uintptr_t)word % 4)
		return MISSING("the lock of its threads is not where expected");
	err = pthread_create(&maker, NULL, make_thread, h);
	if (err)
		return -err;
	up_tls_threads_lock();
	say(&h->go);
	waited = comes_to_wait(word, h);
	up_tls_threads_unlock();
	pthread_join(maker, NULL);
	if (h->err)
		return h->err;
	return waited ? 0 : MISSING("making a thread does not take the lock");
}

static int find_threads(struct up_tls_layout *l, struct sample *s, void *stack)
{
	char *rtld = dlsym(RTLD_DEFAULT, "_rtld_global");
	struct hold h = { .sample = s, .stack = stack };
	size_t offset;
	int err;

	if (!rtld || !field("_thread_db_rtld_global__dl_stack_user", 128, &offset))
		return MISSING("the list of its threads is not there");
	l->threads = (struct up_list *)(rtld + offset);
	/* Behind it: the list of cached stacks, its size, the stack in flight, then the lock. */
	l->threads_lock = (uint32_t *)(rtld + offset + 16 + 16 + 8 + 8);
	/* Before it: the list of other threads, a list of scopes, the count of changes. */
	l->generation = (size_t *)(rtld + offset - 16 - 8 - 8);
	err = try_lock(l, &h);
	if (!err && !s->listed)
		return MISSING("a thread is not in the list of its kind");
	return err;
}

/* On a thread of its own, with everything that a uthread leans on, once. */
static void *try_block(void *arg)
{
	uintptr_t fs, own = up_tls_fs();
	int *ret_err = arg;
	bool good;
	void *mem;

	*ret_err = up_tls_create(arg, 4096, TRIAL_TID, &fs);
	if (*ret_err)
		return NULL;
	up_arch_set_fs(fs);
	good = (uintptr_t)pthread_self() == fs && is_listed_locked(fs);
	mem = malloc(64);
	good = good && isalpha('a') && !isalpha('1') && sched_getcpu() >= 0;
	free(mem);
	up_tls_run_dtors();
	up_arch_set_fs(own);
	up_tls_destroy(fs);
	if (!mem)
		*ret_err = -ENOMEM;
	else if (!good)
		*ret_err = MISSING("a thread did not work with storage of ours");
	return NULL;
}

static int try_layout(void)
{
	pthread_t thread;
	int ret = 0;
	int err = pthread_create(&thread, NULL, try_block, &ret);

	if (err)
		return -err;
	pthread_join(thread, NULL);
	return ret;
}

static int probe_with(struct up_tls_layout *l, struct sample *own, struct sample *plain,
		      void *stack)
{
	int err = find_threads(l, own, stack);

	err = err ? err : sample_plain(plain);
	err = err ? err : find_stack(l, own, stack);
	err = err ? err : find_links(l, own);
	if (!err && (own->desc[l->user_stack] != 1 || plain->desc[l->user_stack] != 0))
		err = MISSING("who owns a stack is noted elsewhere");
	err = err ? err : find_libc_block(l);
	err = err ? err : check_dtv(l);
	err = err ? err : find_keys(l);
	return err;
}

static int probe_threads(struct up_tls_layout *l)
{
	struct sample *samples = calloc(2, sizeof(*samples));
	void *stack = mmap(NULL, STACK_SZ, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			   0);
	int err = -ENOMEM;

	if (samples && stack != MAP_FAILED)
		err = probe_with(l, &samples[0], &samples[1], stack);
	/* A thread that will not go keeps what it may still look at. */
	if (!samples || !samples[0].tid || await_gone(samples[0].tid)) {
		if (stack != MAP_FAILED)
			munmap(stack, STACK_SZ);
		free(samples);
	}
	return err;
}

int up_tls_probe(void)
{
	struct up_tls_layout *l = &up_tls_layout;
	static bool decided;
	int err;

	if (decided)
		return l->ok ? 0 : -ENOTSUP;
	memset(l, 0, sizeof(*l));
	err = find_symbols(l);
	err = err ? err : find_fields(l);
	err = err ? err : probe_threads(l);
	err = err ? err : up_tls_sync_modules(NULL);
	if (!err) {
		l->ok = true;
		err = try_layout();
	}
	l->ok = !err;
	if (!err)
		l->why = NULL;
	else if (err != -ENOTSUP)
		l->why = "no memory, or no thread to look at";
	/* What was refused for want of something may be had the next time. */
	decided = !err || err == -ENOTSUP || UP_MUT(refused_probe_believed);
	return err;
}

const char *up_tls_why(void)
{
	return up_tls_layout.why;
}

bool up_tls_shared(void)
{
	return !up_tls_layout.ok;
}
