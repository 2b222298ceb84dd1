/* SPDX-License-Identifier: MIT */
/*
 * As an ordinary user, with perf and io_uring denied: what the runtime must do without. A program
 * started by root becomes nobody; a seccomp filter refuses the two for everybody. Children inherit
 * both.
 */
#ifndef UP_TESTS_ORDINARY_H
#define UP_TESTS_ORDINARY_H

#include <errno.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ORDINARY_UID 65534

/* 0, or -errno and what failed. Before any thread is made. */
static inline int ordinary_become(const char **ret_what)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_perf_event_open, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, SYS_io_uring_register, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };

	*ret_what = "user";
	if (!geteuid() && (setgroups(0, NULL) || setgid(ORDINARY_UID) || setuid(ORDINARY_UID)))
		return -errno;
	/* Changing the user hides /proc/self from it, as if the program were privileged. */
	*ret_what = "dumpable";
	if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
		return -errno;
	*ret_what = "seccomp";
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0))
		return -errno;
	/* The filter is what we meant it to be. */
	*ret_what = "the filter";
	if (syscall(SYS_perf_event_open, NULL, 0, 0, 0, 0) != -1 || errno != EPERM ||
	    syscall(SYS_io_uring_setup, 0, NULL) != -1 || errno != EPERM)
		return -EINVAL;
	return 0;
}

#endif
