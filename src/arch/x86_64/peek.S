/* SPDX-License-Identifier: MIT */
/*
 * int up_arch_peek16(const void *at): two bytes of memory that may have been unmapped meanwhile, -1 if
 * so: the handler of the fault goes on at up_arch_peek16_failed.
 */
	.text
	.p2align 4
	.globl	up_arch_peek16, up_arch_peek16_load, up_arch_peek16_failed
	.hidden	up_arch_peek16, up_arch_peek16_load, up_arch_peek16_failed
	.type	up_arch_peek16, @function
up_arch_peek16:
	.cfi_startproc
	endbr64
up_arch_peek16_load:
	movzwl	(%rdi), %eax
	ret
up_arch_peek16_failed:
	movl	$-1, %eax
	ret
	.cfi_endproc
	.size	up_arch_peek16, . - up_arch_peek16

	.section .note.GNU-stack, "", @progbits
