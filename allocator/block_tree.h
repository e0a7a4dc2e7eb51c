/* The tree below blocks: what is at each leaf of a whole address family.
 *
 * DOC: Leaves are numbered by address / 64. The tree is a B+tree of items sorted by leaf index. A
 * leaf item is one leaf with bitmaps; a busy item is a stretch of leaves that are wholly taken,
 * with its length; what follows either up to the next item is free. Where that isn't so, a run item
 * says what all leaves from its index to the next item are: free (behind outside) or outside the
 * space. So free space is hardly ever stored, it is what lies between the items. Stretches are
 * always as long as they can be: two items that could be one are one. That makes the list of blocks
 * which the allocation rules speak of (see blocks_choose.c) a function of the items: the aligned
 * blocks of each free stretch (gap.h), and the leaves.
 *
 * Each branch keeps, for each child, a summary of everything below: which sizes of free blocks
 * there are, which runs its leaves have, how many addresses are free. The lowest block of a kind is
 * found by one descent.
 *
 * Memory: 24 bytes an item in pages from 40 % to full, so about 40 bytes for a partly used leaf or
 * a busy stretch, and nothing for the rest. Private to this folder. One thread. */
#ifndef IPWARDEN_ALLOCATOR_BLOCK_TREE_H
#define IPWARDEN_ALLOCATOR_BLOCK_TREE_H

#include "allocator/leaf.h"
#include "allocator/uint128.h"
#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct block_tree;
struct block_page;
struct block_branch;

enum block_kind {
    BLOCK_FREE,    /* a stretch */
    BLOCK_BUSY,    /* a stretch: wholly taken, pending deletion or not */
    BLOCK_OUTSIDE, /* a stretch: not in the space */
    BLOCK_LEAF,    /* one leaf, wholly in the space, partly taken */
    BLOCK_MIXED,   /* one leaf, partly outside the space, or partly pending */
};

/* The state of one leaf. outside is a subset of taken and disjoint from active; what is neither is
 * taken and pending deletion. */
struct block_bits {
    uint64_t taken;   /* can't be given out: busy, pending or outside */
    uint64_t outside; /* not in the space */
    uint64_t active;  /* in the space and not pending deletion */
};

/* What is at [first, end), leaf indexes: a stretch, or one leaf with its bits. bits is set for
 * every kind, as it is for each leaf of a stretch (for BUSY with all of it active). */
struct block_tile {
    uint128 first;
    uint128 end;
    enum block_kind kind;
    struct block_bits bits;
};

/* What is below some point of the tree. */
struct block_summary {
    uint128 sizes; /* bit n: a free block of 2^n leaves, see gap.h */
    uint128 free;  /* addresses, modulo 2^128 */
    uint64_t runs; /* see leaf.h */
};

/* A place in the tree: the item that a leaf index belongs to. Any change of the tree makes it
 * invalid. */
#define BLOCK_TREE_HEIGHT 16
struct block_cursor {
    struct block_branch *branch[BLOCK_TREE_HEIGHT]; /* from the root */
    uint8_t index[BLOCK_TREE_HEIGHT];               /* of the child in each */
    struct block_page *page;
    unsigned int position; /* of the item in the page */
};

/* A tree of 2^index_bits leaves, all outside. NULL when out of memory. */
struct block_tree *block_tree_new(unsigned int index_bits);
/* NULL is fine. */
void block_tree_free(struct block_tree *tree);
/* The number of leaves: the end of the last tile. */
uint128 block_tree_end(const struct block_tree *tree);

/* Places the cursor at the item of leaf, and says what is there: a stretch as far as it goes both
 * ways. */
void block_tree_seek(const struct block_tree *tree, uint128 leaf, struct block_cursor *ret_cursor);
struct block_tile block_tree_tile(const struct block_cursor *cursor, uint128 leaf);

/* How a leaf with such bits is stored: one that is all free, busy or outside is part of a
 * stretch. */
enum block_kind block_bits_kind(const struct block_bits *bits);

/* One element of a replacement: a stretch of kind from first up to the next element, or one
 * leaf. */
struct block_item {
    uint128 first;
    enum block_kind kind;
    struct block_bits bits; /* LEAF and MIXED only */
};

/* Makes sure that replacements with so many elements in all, at so many places, can't run out of
 * memory. */
must_check int block_tree_reserve(struct block_tree *tree, size_t places, size_t elements,
                                  size_t mixed, struct error *error);
/* Gives back what is left of the reserve. */
void block_tree_unreserve(struct block_tree *tree);

/* Replaces everything in [first, end) by the elements, which start at first and cover it without a
 * hole. The cursor is at first; it is invalid afterwards. Needs a reserve. */
void block_tree_replace(struct block_tree *tree, struct block_cursor *cursor, uint128 first,
                        uint128 end, const struct block_item *elements, size_t count);
/* Replaces the bits of one leaf. Needs no reserve. Returns 0 or -ENOMEM. */
must_check int block_tree_set_leaf(struct block_tree *tree, struct block_cursor *cursor,
                                   uint128 leaf, const struct block_bits *bits,
                                   struct error *error);
/* Replaces [first, end) by one stretch of kind. Needs no reserve. Returns 0 or -ENOMEM. */
must_check int block_tree_set_run(struct block_tree *tree, struct block_cursor *cursor,
                                  uint128 first, uint128 end, enum block_kind kind,
                                  struct error *error);

/* The summary of all, and of all from leaf on. A free stretch that holds leaf counts from there. */
struct block_summary block_tree_summary(const struct block_tree *tree);
struct block_summary block_tree_summary_from(const struct block_tree *tree, uint128 leaf);

/* The lowest leaf item, at or above from, that has one of the runs, or the lowest block there of a
 * free stretch that has the size, whichever comes first. */
struct block_wanted {
    uint128 sizes; /* one bit, or none */
    uint64_t runs;
};
struct block_found {
    struct block_cursor cursor;
    struct block_tile tile; /* LEAF or MIXED; or FREE: the block that was found */
};
bool block_tree_first(const struct block_tree *tree, uint128 from, struct block_wanted wanted,
                      struct block_found *ret_found);

/* The nth free address, counted from 0: its leaf, and its offset there. There must be that many
 * (and one less than 2^128). */
void block_tree_nth_free(const struct block_tree *tree, uint128 nth, uint128 *ret_leaf,
                         unsigned int *ret_offset);

/* For tests: checks every rule that this page states. Returns NULL, or what is broken. */
const char *block_tree_check(const struct block_tree *tree);
/* Bytes of memory that the tree holds. */
size_t block_tree_memory(const struct block_tree *tree);

#endif
