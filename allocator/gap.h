/* A gap: free leaves [first, end), by leaf index. It is made of aligned blocks, each as big as it
 * can be: sizes grow up to the point where the two ends' indexes part (the turn), then fall. So the
 * sizes are the one bits of (turn - first) and of (end - turn), and every question is a few
 * instructions whatever the length. Sizes are exponents: block size n is 2^n leaves. Private to
 * this folder; pure functions. */
#ifndef IPWARDEN_ALLOCATOR_GAP_H
#define IPWARDEN_ALLOCATOR_GAP_H

#include "allocator/uint128.h"

/* The multiple of the highest power of two in (first, end]: no block lies across it. */
static inline uint128 gap_turn(uint128 first, uint128 end)
{
    unsigned int highest = uint128_highest(first ^ end);
    return end >> highest << highest;
}

/* Bit n is set when the gap has a block of size n. The gap must not be empty. */
static inline uint128 gap_sizes(uint128 first, uint128 end)
{
    uint128 turn = gap_turn(first, end);
    return (turn - first) | (end - turn);
}

/* The first leaf of the lowest block of that size; the gap must have one. */
static inline uint128 gap_block_of_size(uint128 first, uint128 end, unsigned int size)
{
    uint128 turn = gap_turn(first, end);
    uint128 below = turn - first;
    if ((below >> size & 1) != 0)
        return turn - (below >> size << size);
    return turn + ((end - turn) & ~uint128_ones(size + 1));
}

/* The block that a leaf of the gap lies in: its size, and its first leaf. */
static inline unsigned int gap_block_at(uint128 first, uint128 end, uint128 leaf,
                                        uint128 *ret_block)
{
    uint128 turn = gap_turn(first, end);
    unsigned int size;
    if (leaf < turn) {
        uint128 below = turn - first;
        size = uint128_highest(below ^ (turn - 1 - leaf));
        *ret_block = turn - (below >> size << size);
    } else {
        size = uint128_highest((end - turn) ^ (leaf - turn));
        *ret_block = turn + ((end - turn) & ~uint128_ones(size + 1));
    }
    return size;
}

#endif
