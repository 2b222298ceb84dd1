/* SPDX-License-Identifier: MIT */
/*
 * The fixed-width types and the few constants that every boundary header shares.
 * Valid C11, C++17 and clang's BPF target, hence no system header beyond the compiler's own
 * and no function that needs a libc.  Nothing in src/abi belongs to one side: a change here is a
 * change of the contract and raises UPABI_VERSION.
 */
#ifndef UPABI_TYPES_H
#define UPABI_TYPES_H

typedef __UINT8_TYPE__ upabi_u8;
typedef __UINT16_TYPE__ upabi_u16;
typedef __UINT32_TYPE__ upabi_u32;
typedef __UINT64_TYPE__ upabi_u64;
typedef __INT32_TYPE__ upabi_s32;
typedef __INT64_TYPE__ upabi_s64;

#define UPABI_VERSION 4u
#define UPABI_LINE 64u

/* "No vcore", "no pcore", "no activation" wherever one is named by number. */
#define UPABI_NONE 0xffffffffu

#ifdef __cplusplus
#define UPABI_ASSERT(cond, msg) static_assert(cond, msg)
#else
#define UPABI_ASSERT(cond, msg) _Static_assert(cond, msg)
#endif

#define UPABI_ASSERT_SIZE(type, sz) UPABI_ASSERT(sizeof(type) == (sz), #type " has another size")
#define UPABI_ASSERT_OFF(type, field, off) \
	UPABI_ASSERT(__builtin_offsetof(type, field) == (off), #type "." #field " has moved")

#endif
