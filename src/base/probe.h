/* SPDX-License-Identifier: MIT */
/*
 * UP_PROBEn(name, ...): a place where perf, bpftrace, SystemTap or gdb may look in, with n numbers:
 * docs/probes.md says what they are. One instruction that does nothing while nobody looks; where
 * sys/sdt.h was missing when this was built, not even that. The arguments are operands: what has to
 * be computed for a probe alone does not belong there.
 */
#ifndef UP_BASE_PROBE_H
#define UP_BASE_PROBE_H

#ifdef UP_PROBES_ON
#include <sys/sdt.h>

#define UP_PROBE1(name, a)	    DTRACE_PROBE1(upcall, name, a)
#define UP_PROBE2(name, a, b)	    DTRACE_PROBE2(upcall, name, a, b)
#define UP_PROBE3(name, a, b, c)    DTRACE_PROBE3(upcall, name, a, b, c)
#define UP_PROBE4(name, a, b, c, d) DTRACE_PROBE4(upcall, name, a, b, c, d)
#else
#define UP_PROBE1(name, a)	    ((void)(a))
#define UP_PROBE2(name, a, b)	    ((void)(a), (void)(b))
#define UP_PROBE3(name, a, b, c)    ((void)(a), (void)(b), (void)(c))
#define UP_PROBE4(name, a, b, c, d) ((void)(a), (void)(b), (void)(c), (void)(d))
#endif

#endif
