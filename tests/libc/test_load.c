/* SPDX-License-Identifier: MIT */
/* dlopen(), dlmopen(), dlclose() from uthreads: what a library keeps for each thread, it keeps for
 * each uthread, from its constructor on. */
#include <dlfcn.h>

#include "contract.h"

static const char *paths[2]; /* initial-exec, dynamic */
static long *(*words[2])(void);
static volatile int loaded;

static void *look_early(void *arg)
{
	long *mine, bad;

	while (!loaded)
		upcall_yield();
	mine = words[0]();
	bad = mine[0] != 11 || mine[1] != 22 || mine[2] != 33 || mine[3] != 44;
	mine[0] = -1;
	mine = words[1]();
	bad += mine[0] != 55 || mine[1] != 66;
	mine[0] = (long)arg;
	contract_linger();
	bad += words[0]()[0] != -1 || words[1]()[0] != (long)arg;
	return (void *)bad;
}

static void *load(void *arg)
{
	long bad = 0;

	for (int i = 0; i < 2; i++) {
		void *lib = dlopen(paths[i], RTLD_NOW);
		long (*saw)(void);

		if (!lib) {
			fprintf(stderr, "# %s\n", dlerror());
			return (void *)1;
		}
		words[i] = (long *(*)(void))dlsym(lib, "tls_lib_words");
		saw = (long (*)(void))dlsym(lib, "tls_lib_constructor_saw");
		bad += saw() != 55;
	}
	loaded = 1;
	return (void *)bad;
}

/* Unloaded and loaded again, while others make and end uthreads. */
static void *load_often(void *arg)
{
	long bad = 0;

	for (int i = 0; i < 20; i++) {
		void *lib = dlopen("libz.so.1", RTLD_NOW);
		unsigned long (*crc)(unsigned long, const char *, unsigned);

		if (!lib)
			return (void *)1;
		crc = (unsigned long (*)(unsigned long, const char *, unsigned))dlsym(lib, "crc32");
		bad += !crc || crc(0, "123456789", 9) != 0xcbf43926;
		bad += dlsym(lib, "no such thing") != NULL || !dlerror();
		dlclose(lib);
	}
	return (void *)bad;
}

static void *load_elsewhere(void *arg)
{
	void *lib = dlmopen(LM_ID_NEWLM, paths[0], RTLD_NOW);
	long *(*fn)(void), bad;

	if (!lib)
		return (void *)1;
	fn = (long *(*)(void))dlsym(lib, "tls_lib_words");
	bad = fn()[0] != 11;
	fn()[0] = 12;
	contract_linger();
	bad += fn()[0] != 12 || fn == words[0];
	return (void *)bad;
}

int main(int argc, char **argv)
{
	struct upcall_uthread *early[4];
	long bad = 0;
	void *value;

	contract_args(&argc, argv);
	if (argc != 3)
		return 2;
	paths[0] = argv[1];
	paths[1] = argv[2];
	contract_begin(5);
	for (uintptr_t i = 0; i < 4; i++)
		upcall_uthread_create(&early[i], NULL, look_early, (void *)i);
	tap_ok((long)contract_run(load, NULL) == 0, "constructors see the images in the uthread");
	for (int i = 0; i < 4; i++) {
		upcall_uthread_join(early[i], &value);
		bad += (long)value;
	}
	tap_ok(bad == 0, "uthreads that were there see them (%ld)", bad);
	bad = contract_run_many(8, look_early);
	tap_ok(bad == 0, "uthreads that come later see them (%ld)", bad);
	bad = contract_run_many(4, load_often);
	tap_ok(bad == 0, "four uthreads load and unload at once (%ld)", bad);
	tap_ok((long)contract_run(load_elsewhere, NULL) == 0, "a namespace of its own");
	return contract_end();
}
