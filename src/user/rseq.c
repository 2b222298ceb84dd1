/* SPDX-License-Identifier: MIT */
/*
 * Restartable sequences belong to a kernel thread, not to a uthread.  glibc registers an area in
 * the first thread's TLS; when that TLS becomes uthread 0's the registration is given up, so that
 * nobody reads the CPU number of a thread that is elsewhere.  "Not registered" is an answer that
 * every user of rseq must be ready for.
 */
#include "user/uthread.h"

#include <sys/rseq.h>

#include "base/mutant.h"
#include "base/syscall.h"

#define SIGNATURE	0x53053053 /* glibc's, on x86-64 */
#define FLAG_UNREGISTER 1
#define AREA_SZ		32

static struct rseq *area_of(uint64_t fs)
{
	return (struct rseq *)(uintptr_t)(fs + (uint64_t)__rseq_offset);
}

static bool left;

void up_rseq_leave(void)
{
	struct rseq *area = area_of(up_arch_get_fs());

	if (!__rseq_size || UP_MUT(main_rseq_kept))
		return;
	if (up_syscall4(SYS_rseq, area, AREA_SZ, FLAG_UNREGISTER, SIGNATURE))
		return; /* registered with another size: then libc knows how, and we do not */
	area->cpu_id = (uint32_t)RSEQ_CPU_ID_UNINITIALIZED;
	left = true;
}

void up_rseq_rejoin(void)
{
	if (left)
		up_syscall4(SYS_rseq, area_of(up_arch_get_fs()), AREA_SZ, 0, SIGNATURE);
	left = false;
}
