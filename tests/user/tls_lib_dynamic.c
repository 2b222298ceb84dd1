/* SPDX-License-Identifier: MIT */
/* A library whose thread-local words are allocated on first use, and are too many for the static
 * block. */
#include "tls_libs.h"

static __thread long words[4096] = { 55, 66 };

__attribute__((visibility("default"))) long *tls_lib_words(void)
{
	return words;
}

__attribute__((visibility("default"))) long tls_lib_constructor_saw(void)
{
	return 55;
}
