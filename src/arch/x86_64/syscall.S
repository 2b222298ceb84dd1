/* SPDX-License-Identifier: MIT */
/*
 * libc's syscall(), with the call's number kept where a signal handler finds it: libc's own copy loses
 * it, so that a call which a notification broke into could not be put back (frame.c).  It leaves the
 * stack as it was, as libc's does: the call may return twice.
 */
	.text
	.p2align 4
	.globl	syscall
	.type	syscall, @function
syscall:
	.cfi_startproc
	endbr64
	movq	%rdi, -8(%rsp)			/* in the red zone, which signal frames leave alone */
	movq	%rdi, %rax
	movq	%rsi, %rdi
	movq	%rdx, %rsi
	movq	%rcx, %rdx
	movq	%r8, %r10
	movq	%r9, %r8
	movq	8(%rsp), %r9
	syscall
	.globl	up_arch_syscall_back
	.hidden	up_arch_syscall_back
up_arch_syscall_back:
	cmpq	$-4095, %rax
	jae	1f
	ret
1:
	pushq	%rax
	.cfi_adjust_cfa_offset 8
	call	__errno_location@PLT
	popq	%rdx
	.cfi_adjust_cfa_offset -8
	negl	%edx
	movl	%edx, (%rax)
	movq	$-1, %rax
	ret
	.cfi_endproc
	.size	syscall, . - syscall

	.section .note.GNU-stack, "", @progbits
