/* SPDX-License-Identifier: MIT */
/*
 * setuid() and its kin: Linux keeps identities by kernel thread, so libc signals each of its threads
 * (SIGSETXID) and waits until every one has changed its own.  Its handler finds "its own" through the
 * FS base, which on an activation may be a uthread's: then the thread that was asked never seems to
 * answer, and libc asks for ever.  So on activations libc's handler runs with the activation's own FS
 * base, and is not interrupted meanwhile.
 */
#include "user/uthread.h"

#include <string.h>

#include "base/mutant.h"
#include "base/syscall.h"

#define SETXID_SIGNAL 33 /* SIGRTMIN + 1 as Linux counts; libc hides it from its own calls */

/* As the kernel has it. */
struct kernel_action {
	void (*handler)(int, siginfo_t *, void *);
	unsigned long flags;
	void (*restorer)(void);
	uint64_t mask;
};

static struct kernel_action libcs;

static void on_setxid(int sig, siginfo_t *si, void *uc)
{
	struct up_act *a = up_arch_get_gs() ? up_act_self_vc() : NULL;
	uint32_t tid = (uint32_t)up_syscall0(SYS_gettid);
	uint64_t fs = up_arch_get_fs();

	if (a && a->gs.tid == tid)
		up_arch_set_fs(a->own_fs);
	else if (tid == (uint32_t)up_host.pid && up_rt.main)
		up_arch_set_fs(up_rt.main->fs); /* the first thread, while uthread 0 is elsewhere */
	libcs.handler(sig, si, uc);
	up_arch_set_fs(fs);
}

/* After the first thread has been made: libc sets its handler then. */
void up_setxid_init(void)
{
	struct kernel_action ours;

	if (UP_MUT(setxid_fs_kept) ||
	    up_syscall4(SYS_rt_sigaction, SETXID_SIGNAL, NULL, &libcs, 8) < 0 ||
	    (uintptr_t)libcs.handler <= 1) {
		libcs.handler = NULL;
		return;
	}
	ours = libcs;
	ours.handler = on_setxid;
	ours.mask = up_host.act_mask_raw | UINT64_C(1) << (up_host.signo - 1);
	up_syscall4(SYS_rt_sigaction, SETXID_SIGNAL, &ours, NULL, 8);
}

void up_setxid_fini(void)
{
	if (libcs.handler)
		up_syscall4(SYS_rt_sigaction, SETXID_SIGNAL, &libcs, NULL, 8);
	memset(&libcs, 0, sizeof(libcs));
}
