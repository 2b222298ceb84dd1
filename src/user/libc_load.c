/* SPDX-License-Identifier: MIT */
/*
 * Libraries in a namespace of their own bring thread-local storage that the list of the program's
 * own libraries does not show. (dlopen() is left alone: libc looks for a library on behalf of the
 * function that calls it, and what it brings is noticed by up_tls_create().)
 */
#include "user/libc.h"

#include "user/tls.h"

UP_EXPORT void *dlmopen(Lmid_t nsid, const char *file, int mode)
{
	void *lib = up_libc()->dlmopen(nsid, file, mode);

	/* Failing costs the next users of a block a library's initial values: nothing to be done. */
	if (lib && !up_tls_shared())
		up_tls_sync_modules(lib);
	return lib;
}
