/* SPDX-License-Identifier: MIT */
/* A library whose thread-local words lie in the static block (initial-exec): loaded late, it must
 * find its image there in every thread, in its own constructor already. */
#include "tls_libs.h"

static __attribute__((tls_model("initial-exec"))) __thread long words[4] = { 11, 22, 33, 44 };
static long seen_by_constructor;

static __attribute__((constructor)) void look(void)
{
	seen_by_constructor = words[0] + words[3];
}

__attribute__((visibility("default"))) long *tls_lib_words(void)
{
	return words;
}

__attribute__((visibility("default"))) long tls_lib_constructor_saw(void)
{
	return seen_by_constructor;
}
