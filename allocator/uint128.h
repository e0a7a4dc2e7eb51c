/* 128-bit arithmetic for addresses of either family, on the compiler's own integer. Private to this
 * folder: the public structs carry two 64-bit halves, so that callers need no extension. */
#ifndef IPWARDEN_ALLOCATOR_UINT128_H
#define IPWARDEN_ALLOCATOR_UINT128_H

#include "allocator/address.h"

#include <stdint.h>

typedef unsigned __int128 uint128;

#define UINT128_MAX (~(uint128)0)

static inline uint128 uint128_make(uint64_t high, uint64_t low)
{
    return (uint128)high << 64 | low;
}

static inline uint64_t uint128_high(uint128 value)
{
    return (uint64_t)(value >> 64);
}

static inline uint64_t uint128_low(uint128 value)
{
    return (uint64_t)value;
}

static inline uint128 uint128_from_address(const struct address *address)
{
    return uint128_make(address->high, address->low);
}

static inline struct address uint128_to_address(uint8_t family, uint128 value)
{
    return (struct address){
        .family = family, .high = uint128_high(value), .low = uint128_low(value)};
}

/* 2^bits - 1 for bits from 0 to 128. */
static inline uint128 uint128_ones(unsigned int bits)
{
    return bits >= 128 ? UINT128_MAX : ((uint128)1 << bits) - 1;
}

/* The number of the lowest and of the highest bit that is set; the value must not be zero. */
static inline unsigned int uint128_lowest(uint128 value)
{
    uint64_t low = uint128_low(value);
    if (low != 0)
        return (unsigned int)__builtin_ctzll(low);
    return 64 + (unsigned int)__builtin_ctzll(uint128_high(value));
}

static inline unsigned int uint128_highest(uint128 value)
{
    uint64_t high = uint128_high(value);
    if (high != 0)
        return 127 - (unsigned int)__builtin_clzll(high);
    return 63 - (unsigned int)__builtin_clzll(uint128_low(value));
}

#endif
