/* SPDX-License-Identifier: MIT */
/* What the tests of src/sync share: the runtime's, and a look at who waits. */
#ifndef UP_TESTS_SYNC_RT_H
#define UP_TESTS_SYNC_RT_H

#include "../user/rt.h"
#include "user/uthread.h"

#endif
