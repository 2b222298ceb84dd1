/* SPDX-License-Identifier: MIT */
/*
 * One stint of the torture test: every register that a uthread may own is loaded from a struct, kept
 * live through a loop in which each word depends on the others, and stored again. The loop calls
 * nothing, so whatever happens in it was done to it. For x86-64; offsets are those of torture.h.
 */
#include "torture.h"

	.text

/* The sixteen words of the red zone, a word of the stint at a time through rax. */
	.macro RED_IN
	.set	i, 0
	.rept	16
	movq	(T_RED + 8 * i)(%rdi), %rax
	movq	%rax, (-128 + 8 * i)(%rsp)
	.set	i, i + 1
	.endr
	.endm

	.macro RED_OUT
	.set	i, 0
	.rept	16
	movq	(-128 + 8 * i)(%rsp), %rax
	movq	%rax, (T_RED + 8 * i)(%rdi)
	.set	i, i + 1
	.endr
	.endm

	.macro X87_IN
	fninit
	fldcw	T_X87_CW(%rdi)
	.set	i, 0
	.rept	8
	fldt	(T_X87 + 16 * i)(%rdi)
	.set	i, i + 1
	.endr
	.endm

	/* fnstenv masks every exception, so the control word is stored first. */
	.macro X87_OUT
	fnstcw	T_X87_CW(%rdi)
	fnstsw	T_X87_SW(%rdi)
	.set	i, 0
	.rept	8
	fstpt	(T_X87 + 16 * i)(%rdi)
	.set	i, i + 1
	.endr
	fninit
	.endm

	.macro VEC_IO_ONE op, reg, n, to_mem, vsz
	.if \to_mem
	\op	%\reg\n, (T_VEC + 64 * \n)(%rdi)
	.else
	\op	(T_VEC + 64 * \n)(%rdi), %\reg\n
	.endif
	.endm

	.macro VEC_IO op, reg, to_mem, from=0, to=15
	.altmacro
	.set	n, \from
	.rept	\to - \from + 1
	VEC_IO_ONE \op, \reg, %n, \to_mem
	.set	n, n + 1
	.endr
	.noaltmacro
	.endm

	/* reg n += reg n+1, bits turned: integer, so no pattern is absorbed. */
	.macro SSE_MIX_ONE a, b
	paddq	%xmm\b, %xmm\a
	pshufd	$0x39, %xmm\a, %xmm\a
	.endm
	.macro AVX_MIX_ONE a, b
	vpaddq	%ymm\b, %ymm\a, %ymm\a
	vpermq	$0x39, %ymm\a, %ymm\a
	.endm
	.macro AVX512_MIX_ONE a, b
	vpaddq	%zmm\b, %zmm\a, %zmm\a
	vprolq	$7, %zmm\a, %zmm\a
	.endm

	.macro MIX one, from, to
	.altmacro
	.set	n, \from
	.rept	\to - \from
	.set	m, n + 1
	\one	%n, %m
	.set	n, n + 1
	.endr
	.noaltmacro
	.endm

	/* All fifteen general registers and the red zone in one chain of carries; the counter stands in
	 * the zone's top word, and `dec` leaves the carry alone. rdi is part of the chain too: the
	 * struct is found again through the zone's second word. */
	.macro GPR_ROUND
	adcq	%rbx, %rax
	adcq	%rcx, %rbx
	adcq	%rdx, %rcx
	adcq	%rsi, %rdx
	adcq	-32(%rsp), %rsi
	adcq	%rbp, %rdi
	adcq	%r8, %rbp
	adcq	%r9, %r8
	adcq	%r10, %r9
	adcq	%fs:torture_tls@tpoff, %r10
	adcq	%r12, %r11
	adcq	%r13, %r12
	adcq	%r14, %r13
	adcq	%r15, %r14
	adcq	%rdi, %r15
	bswapq	%rax
	bswapq	%r9
	adcq	%rax, -24(%rsp)
	adcq	%rbx, -32(%rsp)
	adcq	%rcx, -40(%rsp)
	adcq	%rdx, -48(%rsp)
	adcq	%rsi, -56(%rsp)
	adcq	%rdi, -64(%rsp)
	adcq	%rbp, -72(%rsp)
	adcq	%r8, -80(%rsp)
	adcq	%r9, -88(%rsp)
	adcq	%r11, -96(%rsp)
	adcq	%r12, -104(%rsp)
	adcq	%r13, -112(%rsp)
	adcq	%r14, -120(%rsp)
	adcq	%r15, -128(%rsp)
	notq	%r11
	.endm

	/* The stack of the x87 turns under rounding by its control word. */
	.macro X87_ROUND
	fabs
	fsqrt
	fadd	%st(3), %st
	fxch	%st(5)
	fincstp
	.endm

	.macro STINT name, flavour
	.globl	\name
	.type	\name, @function
	.p2align 4
\name:
	endbr64
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	stmxcsr	T_CALLER_MXCSR(%rdi)
	fnstcw	T_CALLER_CW(%rdi)
	X87_IN
	ldmxcsr	T_MXCSR(%rdi)
	.ifc \flavour, sse
	VEC_IO	movdqu, xmm, 0
	.endif
	.ifc \flavour, avx
	VEC_IO	vmovdqu, ymm, 0
	.endif
	.ifc \flavour, avx512
	VEC_IO	vmovdqu64, zmm, 0, 0, 31
	kmovq	(T_MASK + 0)(%rdi), %k0
	kmovq	(T_MASK + 8)(%rdi), %k1
	kmovq	(T_MASK + 16)(%rdi), %k2
	kmovq	(T_MASK + 24)(%rdi), %k3
	kmovq	(T_MASK + 32)(%rdi), %k4
	kmovq	(T_MASK + 40)(%rdi), %k5
	kmovq	(T_MASK + 48)(%rdi), %k6
	kmovq	(T_MASK + 56)(%rdi), %k7
	.endif
	RED_IN
	movq	%rsi, -8(%rsp)
	movq	%rdi, -16(%rsp)
	movq	(T_GPR + 0)(%rdi), %rax
	movq	(T_GPR + 8)(%rdi), %rbx
	movq	(T_GPR + 16)(%rdi), %rcx
	movq	(T_GPR + 24)(%rdi), %rdx
	movq	(T_GPR + 32)(%rdi), %rsi
	movq	(T_GPR + 48)(%rdi), %rbp
	movq	(T_GPR + 56)(%rdi), %r8
	movq	(T_GPR + 64)(%rdi), %r9
	movq	(T_GPR + 72)(%rdi), %r10
	movq	(T_GPR + 80)(%rdi), %r11
	movq	(T_GPR + 88)(%rdi), %r12
	movq	(T_GPR + 96)(%rdi), %r13
	movq	(T_GPR + 104)(%rdi), %r14
	movq	(T_GPR + 112)(%rdi), %r15
	movq	(T_GPR + 40)(%rdi), %rdi
	std
	stc
	.p2align 4
1:
	GPR_ROUND
	X87_ROUND
	.ifc \flavour, sse
	sqrtps	%xmm1, %xmm1
	addpd	%xmm2, %xmm3
	MIX	SSE_MIX_ONE, 0, 15
	paddq	%xmm0, %xmm15
	.endif
	.ifc \flavour, avx
	vsqrtps	%ymm1, %ymm1
	vaddpd	%ymm2, %ymm3, %ymm3
	MIX	AVX_MIX_ONE, 0, 15
	vpaddq	%ymm0, %ymm15, %ymm15
	.endif
	.ifc \flavour, avx512
	vsqrtps	%ymm1, %ymm1
	vaddpd	%zmm2, %zmm3, %zmm3
	MIX	AVX512_MIX_ONE, 0, 31
	vpaddq	%zmm0, %zmm31, %zmm31
	kaddq	%k1, %k0, %k0
	kaddq	%k2, %k1, %k1
	kaddq	%k3, %k2, %k2
	kxorq	%k4, %k3, %k3
	kaddq	%k5, %k4, %k4
	kaddq	%k6, %k5, %k5
	kaddq	%k7, %k6, %k6
	kaddq	%k0, %k7, %k7
	.endif
	decq	-8(%rsp)
	jnz	1b
	/* Out of the loop: rdi through the red zone, flags last touched by dec and adc. */
	movq	%rdi, -8(%rsp)
	movq	-16(%rsp), %rdi
	movq	%rax, (T_GPR + 0)(%rdi)
	movq	-8(%rsp), %rax
	movq	%rax, (T_GPR + 40)(%rdi)
	movq	%rbx, (T_GPR + 8)(%rdi)
	movq	%rcx, (T_GPR + 16)(%rdi)
	movq	%rdx, (T_GPR + 24)(%rdi)
	movq	%rsi, (T_GPR + 32)(%rdi)
	movq	%rbp, (T_GPR + 48)(%rdi)
	movq	%r8, (T_GPR + 56)(%rdi)
	movq	%r9, (T_GPR + 64)(%rdi)
	movq	%r10, (T_GPR + 72)(%rdi)
	movq	%r11, (T_GPR + 80)(%rdi)
	movq	%r12, (T_GPR + 88)(%rdi)
	movq	%r13, (T_GPR + 96)(%rdi)
	movq	%r14, (T_GPR + 104)(%rdi)
	movq	%r15, (T_GPR + 112)(%rdi)
	RED_OUT
	movq	$0, (T_RED + 120)(%rdi)		/* was the counter */
	movq	$0, (T_RED + 112)(%rdi)		/* was the struct's address */
	pushfq
	popq	T_FLAGS(%rdi)
	cld
	stmxcsr	T_MXCSR(%rdi)
	X87_OUT
	.ifc \flavour, sse
	VEC_IO	movdqu, xmm, 1
	.endif
	.ifc \flavour, avx
	VEC_IO	vmovdqu, ymm, 1
	vzeroupper
	.endif
	.ifc \flavour, avx512
	VEC_IO	vmovdqu64, zmm, 1, 0, 31
	kmovq	%k0, (T_MASK + 0)(%rdi)
	kmovq	%k1, (T_MASK + 8)(%rdi)
	kmovq	%k2, (T_MASK + 16)(%rdi)
	kmovq	%k3, (T_MASK + 24)(%rdi)
	kmovq	%k4, (T_MASK + 32)(%rdi)
	kmovq	%k5, (T_MASK + 40)(%rdi)
	kmovq	%k6, (T_MASK + 48)(%rdi)
	kmovq	%k7, (T_MASK + 56)(%rdi)
	vzeroupper
	.endif
	ldmxcsr	T_CALLER_MXCSR(%rdi)
	fldcw	T_CALLER_CW(%rdi)
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret
	.size	\name, . - \name
	.endm

STINT torture_stint_sse, sse
STINT torture_stint_avx, avx
STINT torture_stint_avx512, avx512

/* void torture_call(struct torture *t, void (*fn)(void)): what a called function has to keep:
 * rbx, rbp, r12 to r15, mxcsr and the x87 control word; each comes from the struct and goes back. */
	.globl	torture_call
	.type	torture_call, @function
	.p2align 4
torture_call:
	endbr64
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	pushq	%rdi
	stmxcsr	T_CALLER_MXCSR(%rdi)
	fnstcw	T_CALLER_CW(%rdi)
	ldmxcsr	T_MXCSR(%rdi)
	fldcw	T_X87_CW(%rdi)
	movq	(T_GPR + 8)(%rdi), %rbx
	movq	(T_GPR + 48)(%rdi), %rbp
	movq	(T_GPR + 88)(%rdi), %r12
	movq	(T_GPR + 96)(%rdi), %r13
	movq	(T_GPR + 104)(%rdi), %r14
	movq	(T_GPR + 112)(%rdi), %r15
	call	*%rsi
	movq	(%rsp), %rdi
	stmxcsr	T_MXCSR(%rdi)
	fnstcw	T_X87_CW(%rdi)
	movq	%rbx, (T_GPR + 8)(%rdi)
	movq	%rbp, (T_GPR + 48)(%rdi)
	movq	%r12, (T_GPR + 88)(%rdi)
	movq	%r13, (T_GPR + 96)(%rdi)
	movq	%r14, (T_GPR + 104)(%rdi)
	movq	%r15, (T_GPR + 112)(%rdi)
	ldmxcsr	T_CALLER_MXCSR(%rdi)
	fldcw	T_CALLER_CW(%rdi)
	popq	%rdi
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret
	.size	torture_call, . - torture_call

	.section .note.GNU-stack, "", @progbits
