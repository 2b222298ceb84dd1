/* SPDX-License-Identifier: MIT */
/* The part of test_tls that needs C++. */
#ifndef UP_TESTS_TLS_CXX_H
#define UP_TESTS_TLS_CXX_H

#ifdef __cplusplus
extern "C" {
#endif

/* Makes a thread_local object whose destructor adds 1 to *count. */
void cxx_make_local(int *count);
/* The value that its constructor set, in this thread. */
int cxx_local_value(void);
/* Throws through some frames and catches; true when all destructors ran and the value arrived. */
int cxx_throw_and_catch(int value);

#ifdef __cplusplus
}
#endif

#endif
