/* SPDX-License-Identifier: MIT */
/* What both test libraries offer. */
#ifndef UP_TESTS_TLS_LIBS_H
#define UP_TESTS_TLS_LIBS_H

long *tls_lib_words(void);
long tls_lib_constructor_saw(void);

#endif
