/* SPDX-License-Identifier: MIT */
/*
 * A function in place of another that leaves no frame behind: it asks `choose` (void *(void)) where
 * to go and jumps there, with the stack as its caller left it. For functions that return twice.
 */
#ifndef UP_ARCH_X86_64_TAIL_H
#define UP_ARCH_X86_64_TAIL_H

/* No argument registers are kept: for functions without arguments. */
#define UP_ARCH_TAIL(name, choose)                           \
	__asm__(".pushsection .text\n\t"                     \
		".p2align 4\n\t"                             \
		".globl " #name "\n\t"                       \
		".type " #name ", @function\n" #name ":\n\t" \
		".cfi_startproc\n\t"                         \
		"endbr64\n\t"                                \
		"subq $8, %rsp\n\t"                          \
		".cfi_adjust_cfa_offset 8\n\t"               \
		"call " #choose "\n\t"                       \
		"addq $8, %rsp\n\t"                          \
		".cfi_adjust_cfa_offset -8\n\t"              \
		"jmp *%rax\n\t"                              \
		".cfi_endproc\n\t"                           \
		".size " #name ", . - " #name "\n\t"         \
		".popsection")

#endif
