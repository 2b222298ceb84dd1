/* SPDX-License-Identifier: MIT */
/*
 * The end of a uthread, as far as libc is concerned: what start_thread does after the thread's
 * function, in its order. Runs on the exiting uthread, under its own FS base; program code runs in
 * here, so that anything may happen, a preemption too.
 */
#include "user/tls.h"

#include <dlfcn.h>
#include <limits.h>
#include <resolv.h>
#include <stdlib.h>

#include "arch/arch.h"
#include "base/atomic.h"
#include "base/bits.h"
#include "base/mutant.h"
#include "user/tls_layout.h"

static struct up_tls_value **groups(void)
{
	return (struct up_tls_value **)(up_tls_fs() + up_tls_layout.groups);
}

/* True when a destructor ran, which may have set values anew. */
static bool run_group(unsigned group)
{
	struct up_tls_value *values = groups()[group];
	bool ran = false;

	for (unsigned i = 0; values && i < UP_TLS_KEY_GROUP; i++) {
		struct up_tls_key *key = &up_tls_layout.keys[group * UP_TLS_KEY_GROUP + i];
		void *data = values[i].data;
		void (*dtor)(void *);

		if (!data)
			continue;
		values[i].data = NULL;
		/* relaxed: libc itself leaves a delete beside a thread's exit to the program */
		dtor = up_load_relaxed(&key->dtor);
		if (values[i].seq != up_load_relaxed(&key->seq) || !dtor)
			continue;
		dtor(data);
		ran = true;
	}
	return ran;
}

static void run_key_dtors(void)
{
	/* The caller's own, wherever it is moved. */
	struct up_tls_value **own = groups();
	bool again = true;

	for (unsigned round = 0; again && round < PTHREAD_DESTRUCTOR_ITERATIONS; round++) {
		again = false;
		for (unsigned group = 0; group < UP_TLS_NR_KEYS / UP_TLS_KEY_GROUP; group++)
			again |= own[group] && run_group(group);
	}
	/* The first group lies in the descriptor; few have ever used a second. */
	for (unsigned group = 1; group < UP_TLS_NR_KEYS / UP_TLS_KEY_GROUP; group++) {
		if (UP_LIKELY(!own[group]))
			continue;
		free(own[group]);
		own[group] = NULL;
	}
}

void up_tls_run_dtors(void)
{
	if (!up_tls_layout.ok)
		return;
	if (!UP_MUT(tls_dtors_skipped))
		up_tls_layout.call_dtors();
	if (!UP_MUT(tls_key_dtors_skipped))
		run_key_dtors();
	/* What libc's own end of a thread would free, and has no name outside. */
	if (_res.options & RES_INIT)
		res_nclose(&_res);
	dlerror();
	dlerror();
}
