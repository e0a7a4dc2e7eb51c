/* A leaf: 64 neighbouring addresses as bitmaps, bit n for the nth of them. A run is an aligned
 * group of 2^n free addresses. Where only part of a leaf is in the space, that part is cut into
 * pieces: the aligned groups that it is made of, each as big as it can be. Private to this folder;
 * pure functions. */
#ifndef IPWARDEN_ALLOCATOR_LEAF_H
#define IPWARDEN_ALLOCATOR_LEAF_H

#include <stdint.h>

#define LEAF_HOST_BITS 6
#define LEAF_SIZE 64
#define LEAF_FULL UINT64_MAX

/* Which runs a leaf, or any number of leaves together, can serve. Byte h (0 to 5) is about runs of
 * 2^h addresses: its bit s (0 to 5) says that a piece of 2^s has one, bit 6 that a leaf wholly in
 * the space and partly taken has one. The runs of several leaves are the OR of theirs. */
#define LEAF_RUNS_PIECES 0x3fU
#define LEAF_RUNS_WHOLE 0x40U
#define LEAF_RUNS_ANY 0x7fU

/* The bits of one host size in a word of runs, or such bits put in their place. */
static inline unsigned int leaf_runs_of(uint64_t runs, unsigned int host_bits)
{
    return (unsigned int)(runs >> (8 * host_bits)) & LEAF_RUNS_ANY;
}

static inline uint64_t leaf_runs_at(unsigned int bits, unsigned int host_bits)
{
    return (uint64_t)bits << (8 * host_bits);
}

/* The bits of an aligned group of 2^host_bits addresses that starts at offset. */
static inline uint64_t leaf_mask(unsigned int offset, unsigned int host_bits)
{
    return host_bits >= LEAF_HOST_BITS ? LEAF_FULL
                                       : ((UINT64_C(1) << (1U << host_bits)) - 1) << offset;
}

/* The bits from offset up; none for offset 64. */
static inline uint64_t leaf_mask_from(unsigned int offset)
{
    return offset >= LEAF_SIZE ? 0 : LEAF_FULL << offset;
}

/* The biggest run of a leaf that has a free address, as host bits. */
unsigned int leaf_biggest_run(uint64_t taken);
/* The runs of a leaf wholly in the space whose biggest run is that. */
uint64_t leaf_runs_whole(unsigned int biggest_run);
/* The runs of a leaf of which only the active addresses are in the space. */
uint64_t leaf_runs_pieces(uint64_t taken, uint64_t active);

/* The offset of the lowest run of 2^host_bits, or LEAF_SIZE. */
unsigned int leaf_lowest_run(uint64_t taken, unsigned int host_bits);
/* The same among the pieces of 2^piece_bits only. */
unsigned int leaf_lowest_run_of_piece(uint64_t taken, uint64_t active, unsigned int piece_bits,
                                      unsigned int host_bits);
/* The offset of the nth bit that is zero, counted from 0; there must be that many. */
unsigned int leaf_nth_free(uint64_t taken, unsigned int nth);

#endif
