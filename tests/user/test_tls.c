/* SPDX-License-Identifier: MIT */
/*
 * Blocks of thread-local storage, without any runtime: an ordinary thread switches its FS base to a
 * block and back, which is all that a uthread does.
 */
#include "user/tls.h"

#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <pthread.h>
#include <resolv.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch/arch.h"
#include "arch/x86_64/tls.h"
#include "base/bits.h"
#include "tap.h"
#include "test_tls_cxx.h"

#define TID0 (1u << 22)

static __thread int initialised = 42;
static __thread int zeroed;
static char fake_stack[65536];
static uint32_t next_tid = TID0;

static uintptr_t make(void)
{
	uintptr_t fs = 0;
	int err = up_tls_create(fake_stack, sizeof(fake_stack), next_tid++, &fs);

	if (err)
		tap_bail("up_tls_create: %d", err);
	return fs;
}

/* Not inlined, nor any fn: no address of a thread-local word survives the switch. */
static UP_NOINLINE void within(uintptr_t fs, void (*fn)(void *), void *arg)
{
	uintptr_t own = up_tls_fs();

	up_arch_set_fs(fs);
	fn(arg);
	up_arch_set_fs(own);
}

static UP_NOINLINE void run_dtors(void *arg)
{
	up_tls_run_dtors();
}

static void within_new(void (*fn)(void *), void *arg)
{
	uintptr_t fs = make();

	within(fs, fn, arg);
	within(fs, run_dtors, NULL);
	up_tls_destroy(fs);
}

static UP_NOINLINE void get_errno(void *arg)
{
	*(int *)arg = errno;
}

static UP_NOINLINE void set_errno(void *arg)
{
	errno = *(int *)arg;
}

static void test_errno(void)
{
	int five = 5, got = -1, own = EXDEV, got_own = -1;
	uintptr_t a = make(), b = make();

	set_errno(&own);
	within(a, set_errno, &five);
	within(b, get_errno, &got);
	tap_ok(got == 0, "errno starts at 0 (%d)", got);
	within(a, get_errno, &got);
	get_errno(&got_own);
	tap_ok(got == 5 && got_own == EXDEV, "errno is each block's own (%d, %d)", got, got_own);
	up_tls_destroy(a);
	up_tls_destroy(b);
	a = make();
	within(a, get_errno, &got);
	tap_ok(got == 0, "errno of a used block starts at 0 again (%d)", got);
	up_tls_destroy(a);
}

static UP_NOINLINE void use_words(void *arg)
{
	int *good = arg;

	*good = initialised == 42 && zeroed == 0 && cxx_local_value() == 4711;
	initialised = 1;
	zeroed = 2;
}

static void test_images(void)
{
	int good_new = 0, good_used = 0;

	within_new(use_words, &good_new);
	within_new(use_words, &good_used);
	tap_ok(good_new, "a new block has the images of thread-local words");
	tap_ok(good_used, "so has one that was used before");
	tap_ok(initialised == 42 && zeroed == 0, "the caller's own are untouched");
}

struct identity {
	pthread_t self;
	void *memory;
};

static UP_NOINLINE void be(void *arg)
{
	struct identity *id = arg;

	id->self = pthread_self();
	free(id->memory);
	id->memory = malloc(1000);
	memset(id->memory, 1, 1000);
}

static void test_identity(void)
{
	struct identity a = { .memory = malloc(50) }, b = { .memory = malloc(60000) };
	uintptr_t fs_a = make(), fs_b = make();

	within(fs_a, be, &a);
	within(fs_b, be, &b);
	tap_ok(a.self == fs_a && b.self == fs_b && a.self != b.self,
	       "pthread_self() names the block");
	tap_ok(up_tls_owns(fs_a) && up_tls_owns(fs_b) && !up_tls_owns((uintptr_t)pthread_self()),
	       "ours are told from libc's");
	within(fs_a, be, &b);
	within(fs_b, be, &a);
	free(a.memory);
	free(b.memory);
	tap_ok(true, "memory is allocated in one and freed in another");
	up_tls_destroy(fs_a);
	up_tls_destroy(fs_b);
}

static UP_NOINLINE void try_lock(void *arg)
{
	void **args = arg;

	*(int *)args[1] = pthread_mutex_trylock(args[0]);
}

static UP_NOINLINE void unlock(void *arg)
{
	void **args = arg;

	*(int *)args[1] = pthread_mutex_unlock(args[0]);
}

static void test_mutex(void)
{
	pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
	uintptr_t a = make(), b = make();
	int first = -1, second = -1, again = -1, foreign = -1;

	within(a, try_lock, (void *[]){ &mutex, &first });
	within(a, try_lock, (void *[]){ &mutex, &again });
	within(b, try_lock, (void *[]){ &mutex, &second });
	within(b, unlock, (void *[]){ &mutex, &foreign });
	tap_ok(first == 0 && again == 0, "a recursive mutex admits its owner again");
	tap_ok(second == EBUSY && foreign == EPERM, "and admits no other (%d, %d)", second,
	       foreign);
	up_tls_destroy(a);
	up_tls_destroy(b);
}

#define NR_KEYS 40
static pthread_key_t keys[NR_KEYS];
static int key_runs[NR_KEYS];
static int stubborn_runs;

static void count_key(void *value)
{
	key_runs[(int *)value - key_runs]++;
}

static void stubborn(void *value)
{
	stubborn_runs++;
	pthread_setspecific(keys[0], value);
}

static UP_NOINLINE void set_keys(void *arg)
{
	int *nr_stale = arg;

	for (int i = 0; i < NR_KEYS; i++) {
		*nr_stale += pthread_getspecific(keys[i]) != NULL;
		pthread_setspecific(keys[i], &key_runs[i]);
	}
}

static void test_keys(void)
{
	int nr_stale = 0, good = 1;

	pthread_key_create(&keys[0], stubborn);
	for (int i = 1; i < NR_KEYS; i++)
		pthread_key_create(&keys[i], count_key);
	within_new(set_keys, &nr_stale);
	for (int i = 1; i < NR_KEYS; i++)
		good &= key_runs[i] == 1;
	tap_ok(good, "destructors of %d keys ran once", NR_KEYS - 1);
	tap_ok(stubborn_runs == PTHREAD_DESTRUCTOR_ITERATIONS, "a stubborn one %d times (%d)",
	       PTHREAD_DESTRUCTOR_ITERATIONS, stubborn_runs);
	within_new(set_keys, &nr_stale);
	tap_ok(nr_stale == 0, "no value is left for the next user of the block (%d)", nr_stale);
	for (int i = 0; i < NR_KEYS; i++)
		pthread_key_delete(keys[i]);
}

static UP_NOINLINE void make_local(void *arg)
{
	cxx_make_local(arg);
}

static UP_NOINLINE void throw(void *arg)
{
	int *good = arg;

	*good = cxx_throw_and_catch(90125);
}

static void test_cxx(void)
{
	int count = 0, good = 0;

	within_new(make_local, &count);
	tap_ok(count == 1, "a thread_local object was destroyed once (%d)", count);
	within_new(make_local, &count);
	tap_ok(count == 2, "and again in a used block (%d)", count);
	within_new(throw, &good);
	tap_ok(good, "exceptions are thrown and caught");
}

static UP_NOINLINE void use_stdio(void *arg)
{
	FILE *file = arg;

	flockfile(file);
	fprintf(file, "%s %.3f %d\n", "words", 2.5, 77);
	funlockfile(file);
	if (!setlocale(LC_ALL, "C.UTF-8") || !setlocale(LC_ALL, "C"))
		fputs("no locale", file);
}

static UP_NOINLINE void use_locale(void *arg)
{
	locale_t *loc = arg;

	uselocale(*loc);
}

static UP_NOINLINE void look_at_locale(void *arg)
{
	*(int *)arg = uselocale(NULL) == LC_GLOBAL_LOCALE && isalpha('x') && !isalpha('3') &&
		      toupper('q') == 'Q';
}

static void test_stdio(void)
{
	char *text = NULL;
	size_t sz = 0;
	int good = 0;
	FILE *file = open_memstream(&text, &sz);
	locale_t loc = newlocale(LC_ALL_MASK, "C.UTF-8", NULL);
	uintptr_t fs;

	within_new(use_stdio, file);
	fclose(file);
	tap_ok(!strcmp(text, "words 2.500 77\n"), "stdio and setlocale");
	free(text);
	fs = make();
	within(fs, use_locale, &loc);
	up_tls_destroy(fs);
	freelocale(loc);
	within_new(look_at_locale, &good);
	tap_ok(good, "a used block has the global locale and its tables");
}

struct look {
	long *(*words)(void);
	long expect[2];
	int good;
	int spoil;
};

static UP_NOINLINE void look_at_lib(void *arg)
{
	struct look *l = arg;
	long *words = l->words();

	l->good = words[0] == l->expect[0] && words[1] == l->expect[1];
	if (l->spoil)
		words[0] = words[1] = -1;
}

struct load {
	const char *path;
	void *lib;
	long (*saw)(void);
	struct look look;
};

static UP_NOINLINE void load_lib(void *arg)
{
	struct load *l = arg;

	l->lib = dlopen(l->path, RTLD_NOW);
	if (!l->lib)
		return;
	l->saw = (long (*)(void))dlsym(l->lib, "tls_lib_constructor_saw");
	l->look.words = (long *(*)(void))dlsym(l->lib, "tls_lib_words");
	look_at_lib(&l->look);
}

static void test_lib(const char *path, const char *kind, struct load l)
{
	uintptr_t opener = make(), other = make(), pooled = make();

	up_tls_destroy(pooled);
	l.path = path;
	l.look.spoil = 1;
	within(opener, load_lib, &l);
	if (!l.lib)
		tap_bail("dlopen: %s", dlerror());
	tap_ok(l.look.good, "%s: the block that opened has the image", kind);
	tap_ok(l.saw() == l.look.expect[0] + (l.look.expect[0] == 11 ? 44 : 0),
	       "%s: its constructor saw it too (%ld)", kind, l.saw());
	within(other, look_at_lib, &l.look);
	tap_ok(l.look.good, "%s: a block that existed has the image", kind);
	within_new(look_at_lib, &l.look);
	tap_ok(l.look.good, "%s: a pooled block has the image", kind);
	up_tls_destroy(opener);
	up_tls_destroy(other);
	for (int i = 0; i < 3; i++)
		within_new(look_at_lib, &l.look);
	tap_ok(l.look.good, "%s: a used block has it again", kind);
	dlclose(l.lib);
	within_new(look_at_locale, &l.look.good);
	tap_ok(l.look.good, "%s: blocks are made after it is unloaded", kind);
}

static UP_NOINLINE void look_at_rest(void *arg)
{
	int *good = arg;
	cpu_set_t one;
	int cpu;

	CPU_ZERO(&one);
	CPU_SET(1, &one);
	if (sched_setaffinity(0, sizeof(one), &one)) {
		CPU_ZERO(&one);
		CPU_SET(0, &one);
		sched_setaffinity(0, sizeof(one), &one);
	}
	cpu = sched_getcpu();
	good[0] = cpu >= 0 && CPU_ISSET(cpu, &one);
	good[1] = (uintptr_t)&_res - up_tls_fs() < 8192;
}

static void test_rest(void)
{
	int good[2] = { 0 };
	cpu_set_t all;

	sched_getaffinity(0, sizeof(all), &all);
	within_new(look_at_rest, good);
	sched_setaffinity(0, sizeof(all), &all);
	tap_ok(good[0], "sched_getcpu() asks the kernel, not a word that nobody writes");
	tap_ok(good[1], "the resolver's state is the block's own");
}

static UP_NOINLINE void fork_and_work(void *arg)
{
	int *status = arg;
	pthread_t self = pthread_self();
	pid_t pid = fork();

	if (pid == 0) {
		uintptr_t fs;
		int good = pthread_self() == self && isalpha('a');

		up_tls_fork_child(up_tls_fs());
		good &= !up_tls_create(fake_stack, sizeof(fake_stack), TID0 - 1, &fs);
		within(fs, look_at_locale, &good);
		free(malloc(100));
		_exit(good ? 7 : 8);
	}
	waitpid(pid, status, 0);
}

static void test_fork(void)
{
	int status = 0;

	within_new(fork_and_work, &status);
	tap_ok(WIFEXITED(status) && WEXITSTATUS(status) == 7,
	       "fork: the child goes on in the block");
}

static UP_NOINLINE void cycle(void *arg)
{
	void **kept = arg;
	struct look *l = kept[1];

	free(kept[0]);
	kept[0] = malloc(24);
	pthread_setspecific(keys[0], kept);
	look_at_lib(l);
}

static long rss_pages(void)
{
	long size = 0, rss = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (fscanf(f, "%ld %ld", &size, &rss) != 2)
		rss = -1;
	fclose(f);
	return rss;
}

static void test_cycles(const char *dynamic)
{
	void *lib = dlopen(dynamic, RTLD_NOW);
	struct look l = { .words = (long *(*)(void))dlsym(lib, "tls_lib_words") };
	void *kept[2] = { NULL, &l };
	struct up_tls_stats stats;
	long before = 0, after;

	pthread_key_create(&keys[0], NULL);
	for (int i = 0; i < 100000; i++) {
		if (i == 1000)
			before = rss_pages();
		within_new(cycle, kept);
	}
	after = rss_pages();
	up_tls_get_stats(&stats);
	tap_ok(after - before < 100, "100,000 blocks one after another: %ld pages more",
	       after - before);
	tap_ok(stats.nr_live == 0 && stats.nr_blocks < 16, "of %lu blocks %lu are in use",
	       (unsigned long)stats.nr_blocks, (unsigned long)stats.nr_live);
	free(kept[0]);
	pthread_key_delete(keys[0]);
	dlclose(lib);
}

static void *churn(void *arg)
{
	uint32_t tid = TID0 + 1000000u * (uint32_t)(uintptr_t)arg;
	uintptr_t held[8] = { 0 };
	long bad = 0;

	for (int i = 0; i < 50000; i++) {
		uintptr_t *fs = &held[(i * 7 + i / 8) % 8];

		if (*fs && up_tls_tid_of(*fs) < TID0 + 1000000u * (uint32_t)(uintptr_t)arg)
			bad++;
		up_tls_destroy(*fs);
		if (up_tls_create(fake_stack, 4096, tid++, fs))
			return (void *)-1L;
	}
	for (int i = 0; i < 8; i++) {
		bad += up_tls_tid_of(held[i]) >= tid;
		up_tls_destroy(held[i]);
	}
	return (void *)bad;
}

static void test_churn(void)
{
	pthread_t threads[3];
	struct up_tls_stats stats;
	void *bad;
	long all = 0;

	for (uintptr_t i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, churn, (void *)(i + 1));
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], &bad);
		all += (long)bad;
	}
	up_tls_get_stats(&stats);
	tap_ok(all == 0 && stats.nr_live == 0, "three threads make and destroy at once (%ld bad)",
	       all);
}

static void test_refusals(void)
{
	uintptr_t fs = 1;

	tap_ok(up_tls_create(fake_stack, 1, 0, &fs) == -EINVAL && fs == 1, "a tid of 0 is refused");
	tap_ok(up_tls_create(fake_stack, 1, TID0, NULL) == -EINVAL,
	       "so is no place for the result");
	up_tls_destroy(0);
	tap_ok(up_tls_probe() == 0, "a second probe gives the first answer");
}

int main(int argc, char **argv)
{
	uintptr_t fs;

	if (argc != 3)
		return 2;
	tap_plan(42);
	tap_ok(up_tls_shared() && up_tls_create(fake_stack, 1, TID0, &fs) == -ENOTSUP,
	       "nothing before the probe");
	if (!tap_ok(up_tls_probe() == 0, "the probe finds its way in this libc"))
		tap_bail("%s", up_tls_why());
	up_arch_init(NULL, NULL, NULL, NULL);
	test_errno();
	test_images();
	test_identity();
	test_mutex();
	test_keys();
	test_cxx();
	test_stdio();
	test_lib(argv[1], "initial-exec", (struct load){ .look.expect = { 11, 22 } });
	test_lib(argv[2], "dynamic", (struct load){ .look.expect = { 55, 66 } });
	test_rest();
	test_fork();
	test_cycles(argv[2]);
	test_churn();
	test_refusals();
	return tap_done();
}
