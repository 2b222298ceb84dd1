/* SPDX-License-Identifier: MIT */
/*
 * What a stint of the torture test loads and stores: offsets for the assembly, the struct for C.
 */
#ifndef UP_TESTS_TORTURE_H
#define UP_TESTS_TORTURE_H

#define T_GPR 0		 /* rax rbx rcx rdx rsi rdi rbp r8 .. r15 */
#define T_FLAGS 120
#define T_RED 128
#define T_MASK 256
#define T_X87 320
#define T_MXCSR 448
#define T_X87_CW 452
#define T_X87_SW 454
#define T_VEC 512
#define T_END 2560
/* Not compared: */
#define T_CALLER_MXCSR 2560
#define T_CALLER_CW 2564

#ifndef __ASSEMBLER__
#include <stdint.h>

struct torture {
	uint64_t gpr[15];
	uint64_t flags;
	uint64_t red[16];
	uint64_t mask[8];
	uint8_t x87[8][16]; /* ten bytes each are used */
	uint32_t mxcsr;
	uint16_t x87_cw;
	uint16_t x87_sw;
	uint8_t pad[56];
	uint8_t vec[32][64];
	uint32_t caller_mxcsr;
	uint16_t caller_cw;
	uint16_t pad2;
};

#define T_AT(field, off) \
	_Static_assert(__builtin_offsetof(struct torture, field) == (off), #field " has moved")
T_AT(flags, T_FLAGS);
T_AT(red, T_RED);
T_AT(mask, T_MASK);
T_AT(x87, T_X87);
T_AT(mxcsr, T_MXCSR);
T_AT(x87_cw, T_X87_CW);
T_AT(x87_sw, T_X87_SW);
T_AT(vec, T_VEC);
T_AT(caller_mxcsr, T_CALLER_MXCSR);
#undef T_AT

/* rounds >= 1.  All of *t in, all of it out. */
typedef void (*torture_stint_fn)(struct torture *t, uint64_t rounds);
void torture_stint_sse(struct torture *t, uint64_t rounds);
void torture_stint_avx(struct torture *t, uint64_t rounds);
void torture_stint_avx512(struct torture *t, uint64_t rounds);
/* Calls fn with the registers that it must keep, and the rounding modes, taken from *t. */
void torture_call(struct torture *t, void (*fn)(void));
#endif
#endif
