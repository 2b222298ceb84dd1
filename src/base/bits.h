/* SPDX-License-Identifier: MIT */
/*
 * Small arithmetic that C lacks: lengths, containers, alignment, bounds, single bits.
 * Anyone may use it. Nothing here touches memory that others write.
 */
#ifndef UP_BASE_BITS_H
#define UP_BASE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What two cores must not share when both write. x86-64 fetches lines in pairs; 64 is the unit. */
#define UP_CACHELINE_SZ	 64
#define UP_CACHE_ALIGNED __attribute__((aligned(UP_CACHELINE_SZ)))

#define UP_LIKELY(x)	   __builtin_expect(!!(x), 1)
#define UP_UNLIKELY(x)	   __builtin_expect(!!(x), 0)
#define UP_NOINLINE	   __attribute__((noinline))
#define UP_ALWAYS_INLINE   inline __attribute__((always_inline))
#define UP_NORETURN	   __attribute__((noreturn))
#define UP_PRINTF(fmt, at) __attribute__((format(printf, fmt, at)))

#define UP_CONCAT_(a, b) a##b
#define UP_CONCAT(a, b)	 UP_CONCAT_(a, b)

/* Refuses a pointer: the array and its first element's address must differ in type. */
#define UP_ARRAY_LEN(a)               \
	(sizeof(a) / sizeof((a)[0]) + \
	 0 * sizeof(char[1 -          \
			 2 * __builtin_types_compatible_p(__typeof__(a), __typeof__(&(a)[0]))]))

#define up_container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* align must be a power of two. */
#define UP_ALIGN_DOWN(x, align) ((x) & ~((__typeof__(x))(align)-1))
#define UP_ALIGN_UP(x, align)	UP_ALIGN_DOWN((x) + ((__typeof__(x))(align)-1), align)
#define UP_IS_ALIGNED(x, align) (((x) & ((__typeof__(x))(align)-1)) == 0)

#define UP_MIN_(a, b, ta, tb)           \
	({                              \
		__typeof__(a) ta = (a); \
		__typeof__(b) tb = (b); \
		ta < tb ? ta : tb;      \
	})
#define UP_MAX_(a, b, ta, tb)           \
	({                              \
		__typeof__(a) ta = (a); \
		__typeof__(b) tb = (b); \
		ta > tb ? ta : tb;      \
	})
/* Each argument is evaluated once; names are fresh, so that they nest without shadowing. */
#define UP_MIN(a, b) \
	UP_MIN_(a, b, UP_CONCAT(up_min_a_, __COUNTER__), UP_CONCAT(up_min_b_, __COUNTER__))
#define UP_MAX(a, b) \
	UP_MAX_(a, b, UP_CONCAT(up_max_a_, __COUNTER__), UP_CONCAT(up_max_b_, __COUNTER__))

static inline bool up_is_pow2(uint64_t x)
{
	return x && !(x & (x - 1));
}

/* The smallest power of two that is not below x; x must be 1 .. 2^63. */
static inline uint64_t up_roundup_pow2(uint64_t x)
{
	return x <= 1 ? 1 : UINT64_C(1) << (64 - __builtin_clzll(x - 1));
}

/* Index of the lowest or highest set bit; x must not be 0. */
static inline unsigned up_lowest_bit(uint64_t x)
{
	return (unsigned)__builtin_ctzll(x);
}

static inline unsigned up_highest_bit(uint64_t x)
{
	return 63u - (unsigned)__builtin_clzll(x);
}

static inline unsigned up_popcount(uint64_t x)
{
	return (unsigned)__builtin_popcountll(x);
}

/*
 * Bitmaps of 64-bit words that one owner writes (plain accesses: no atomics here).
 */
#define UP_BITMAP_WORDS(nr_bits) (((size_t)(nr_bits) + 63) / 64)

static inline bool up_bit_test(const uint64_t *map, size_t nr)
{
	return map[nr / 64] >> (nr % 64) & 1;
}

static inline void up_bit_set(uint64_t *map, size_t nr)
{
	map[nr / 64] |= UINT64_C(1) << (nr % 64);
}

static inline void up_bit_clear(uint64_t *map, size_t nr)
{
	map[nr / 64] &= ~(UINT64_C(1) << (nr % 64));
}

/* The first set bit at or after from, or nr_bits when there is none. */
static inline size_t up_bit_next(const uint64_t *map, size_t nr_bits, size_t from)
{
	while (from < nr_bits) {
		uint64_t word = map[from / 64] >> (from % 64);

		if (word) {
			from += up_lowest_bit(word);
			return from < nr_bits ? from : nr_bits;
		}
		from = (from / 64 + 1) * 64;
	}
	return nr_bits;
}

#endif
