/* Which block to give: the rule of FirstMatch, answered from summaries.
 *
 * The rule, as users of the older allocator know it, is a scan of all blocks by address. A block
 * fits when it is wholly free and big enough, or is a leaf with an aligned free run. The scan keeps
 * the fitting block with the longest prefix, the first among equals, and stops early when the one
 * it keeps has exactly the size asked for or is a whole leaf that is partly taken. (A block that
 * isn't kept, since one with as long a prefix came before, doesn't stop it.) From that follows
 * which block it ends with:
 *
 * - For whole leaves and more: the smallest free block that is big enough, the lowest of those.
 * - For less than a leaf, look at the first fitting leaf, which may be partly taken, a piece, or
 *   free. Is it a whole leaf partly taken, then that one: nothing before it was kept but bigger
 *   blocks. Else the smallest fitting piece anywhere, if there is one; else a free leaf; else the
 *   smallest free block.
 *
 * RoundRobin is the same among what has room at or above its pointer. Only one block can begin
 * below the pointer and have room above it: the start. It is the first that the scan meets. */
#include "allocator/blocks_private.h"
#include "allocator/gap.h"

/* The block or leaf that the pointer points into, and where the blocks behind it begin. */
struct start {
    struct block_cursor cursor;
    bool is_block;     /* free: a block of 2^size leaves */
    unsigned int size; /* of the block */
    uint64_t runs;     /* of the leaf, above the pointer only */
    uint64_t below;    /* addresses of the leaf below the pointer */
    struct block_bits bits;
    uint128 rest;
};

static void start_at(const struct block_tree *tree, uint128 from, struct start *ret_start)
{
    uint128 leaf = from >> LEAF_HOST_BITS;
    unsigned int offset = (unsigned int)(from & (LEAF_SIZE - 1));
    *ret_start = (struct start){.rest = leaf};
    if (from == 0)
        return;
    block_tree_seek(tree, leaf, &ret_start->cursor);
    struct block_tile tile = block_tree_tile(&ret_start->cursor, leaf);
    ret_start->bits = tile.bits;
    if (tile.kind == BLOCK_FREE) {
        uint128 block;
        ret_start->size = gap_block_at(tile.first, tile.end, leaf, &block);
        ret_start->is_block = block < leaf || offset > 0;
        if (ret_start->is_block)
            ret_start->rest = block + ((uint128)1 << ret_start->size);
    } else if (offset > 0) {
        ret_start->rest = leaf + 1;
        ret_start->below = ~leaf_mask_from(offset);
        uint64_t taken = tile.bits.taken | ret_start->below;
        if (tile.kind == BLOCK_MIXED)
            ret_start->runs = leaf_runs_pieces(taken, tile.bits.active);
        else if (tile.kind == BLOCK_LEAF && taken != LEAF_FULL)
            ret_start->runs = leaf_runs_whole(leaf_biggest_run(taken));
    }
}

static void choose_at_start(const struct start *start, uint128 from,
                            struct blocks_choice *ret_choice)
{
    *ret_choice = (struct blocks_choice){.cursor = start->cursor,
                                         .leaf = from >> LEAF_HOST_BITS,
                                         .offset = (unsigned int)(from & (LEAF_SIZE - 1)),
                                         .bits = start->bits};
}

static void choose_found(const struct block_found *found, unsigned int offset,
                         struct blocks_choice *ret_choice)
{
    *ret_choice = (struct blocks_choice){.cursor = found->cursor,
                                         .leaf = found->tile.first,
                                         .offset = offset,
                                         .bits = found->tile.bits};
}

/* The smallest free block of 2^size leaves or more, the lowest of those. */
static bool choose_block(const struct block_tree *tree, unsigned int size, uint128 from,
                         const struct start *start, struct blocks_choice *ret_choice)
{
    uint128 sizes = block_tree_summary_from(tree, start->rest).sizes >> size << size;
    if (start->is_block && (sizes == 0 || start->size <= uint128_lowest(sizes))) {
        choose_at_start(start, from, ret_choice);
        return true;
    }
    struct block_found found;
    if (sizes == 0 || !block_tree_first(tree, start->rest,
                                        (struct block_wanted){.sizes = sizes & -sizes}, &found))
        return false;
    choose_found(&found, 0, ret_choice);
    return true;
}

/* A run in the start, if it is a whole leaf, or in the first fitting leaf, if that is. */
static bool choose_whole_leaf(const struct block_tree *tree, unsigned int host_bits, uint128 from,
                              const struct start *start, struct blocks_choice *ret_choice)
{
    unsigned int runs = leaf_runs_of(start->runs, host_bits);
    if ((runs & LEAF_RUNS_WHOLE) != 0) {
        choose_at_start(start, from, ret_choice);
        ret_choice->offset = leaf_lowest_run(start->bits.taken | start->below, host_bits);
        return true;
    }
    if (runs != 0 || (start->is_block && start->size == 0))
        return false;
    struct block_wanted wanted = {.sizes = 1, .runs = leaf_runs_at(LEAF_RUNS_ANY, host_bits)};
    struct block_found found;
    if (!block_tree_first(tree, start->rest, wanted, &found) || found.tile.kind != BLOCK_LEAF)
        return false;
    choose_found(&found, leaf_lowest_run(found.tile.bits.taken, host_bits), ret_choice);
    return true;
}

/* A run in the smallest piece that has one, the first of those. */
static bool choose_piece(const struct block_tree *tree, unsigned int host_bits, uint128 from,
                         const struct start *start, struct blocks_choice *ret_choice)
{
    uint64_t runs = start->runs | block_tree_summary_from(tree, start->rest).runs;
    unsigned int pieces = leaf_runs_of(runs, host_bits) & LEAF_RUNS_PIECES;
    if (pieces == 0)
        return false;
    unsigned int piece_bits = (unsigned int)__builtin_ctz(pieces);
    uint64_t wanted = leaf_runs_at(1U << piece_bits, host_bits);
    if ((start->runs & wanted) != 0) {
        choose_at_start(start, from, ret_choice);
        ret_choice->offset = leaf_lowest_run_of_piece(start->bits.taken | start->below,
                                                      start->bits.active, piece_bits, host_bits);
        return true;
    }
    struct block_found found;
    if (!block_tree_first(tree, start->rest, (struct block_wanted){.runs = wanted}, &found))
        return false;
    choose_found(&found,
                 leaf_lowest_run_of_piece(found.tile.bits.taken, found.tile.bits.active, piece_bits,
                                          host_bits),
                 ret_choice);
    return true;
}

bool blocks_choose(const struct block_tree *tree, unsigned int host_bits, uint128 from,
                   struct blocks_choice *ret_choice)
{
    struct start start;
    start_at(tree, from, &start);
    if (host_bits >= LEAF_HOST_BITS)
        return choose_block(tree, host_bits - LEAF_HOST_BITS, from, &start, ret_choice);
    return choose_whole_leaf(tree, host_bits, from, &start, ret_choice) ||
           choose_piece(tree, host_bits, from, &start, ret_choice) ||
           choose_block(tree, 0, from, &start, ret_choice);
}
