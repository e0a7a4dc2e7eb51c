/* What blocks.c, blocks_choose.c and blocks_edit.c share, and their tests see. */
#ifndef IPWARDEN_ALLOCATOR_BLOCKS_PRIVATE_H
#define IPWARDEN_ALLOCATOR_BLOCKS_PRIVATE_H

#include "allocator/block_tree.h"
#include "allocator/blocks.h"

struct blocks {
    enum blocks_mode mode;
    uint8_t family;
    struct block_tree *tree; /* NULL while the family isn't known */
    struct ranges *ranges;   /* what may be given out */
    struct blocks_counts counts;
    /* By prefix length, where the search goes on; 0 is from the start. NULL in the other mode. */
    uint128 *next;
};

/* Where to take something: a run in a leaf, or whole leaves from leaf on. The cursor is at leaf,
 * and bits are what is there now. */
struct blocks_choice {
    struct block_cursor cursor;
    uint128 leaf;
    unsigned int offset;
    struct block_bits bits;
};

/* Applies the rule of FirstMatch to what is free at or above from (an aligned address; 0 for all):
 * finds room for 2^host_bits addresses. */
bool blocks_choose(const struct block_tree *tree, unsigned int host_bits, uint128 from,
                   struct blocks_choice *ret_choice);

/* Gives back whole leaves, all taken, of which some are pending deletion. Returns 0 or -ENOMEM. */
must_check int blocks_release_pending(struct blocks *blocks, const struct cidr *cidr,
                                      struct error *error);

/* The active addresses of a leaf that is wholly taken; *ret_end: all leaves before it are the
 * same. */
static inline uint64_t blocks_active(const struct blocks *blocks, uint128 leaf, uint128 *ret_end)
{
    struct ranges_index end;
    struct ranges_index index = {.high = uint128_high(leaf), .low = uint128_low(leaf)};
    uint64_t active = ranges_leaf_mask(blocks->ranges, index, &end);
    *ret_end = uint128_make(end.high, end.low);
    return active;
}

/* For tests: the tree's own rules, and that the counts and the ranges agree with it. Returns NULL,
 * or what is broken. */
const char *blocks_check(const struct blocks *blocks);
/* Bytes of memory, without the ranges. */
size_t blocks_memory(const struct blocks *blocks);

#endif
