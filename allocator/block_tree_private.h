/* Nodes of the block tree, shared between its source files. See block_tree.h for what it
 * is. */
#ifndef IPWARDEN_ALLOCATOR_BLOCK_TREE_PRIVATE_H
#define IPWARDEN_ALLOCATOR_BLOCK_TREE_PRIVATE_H

#include "allocator/block_tree.h"
#include "allocator/gap.h"

#define PAGE_ITEMS 32
#define BRANCH_CHILDREN 32
/* A node that falls to LOW is merged with a neighbour when together they are at most MERGED: far
 * enough from full that the items of one small replacement still fit without a split. */
#define NODE_LOW 12
#define NODE_MERGED 28
#define SPLICE_GROWTH 4  /* items that a replacement by one element may add, with one to spare */
#define INSERT_AT_ONCE 8 /* a page that was just split has room for that many */

/* The bits of a MIXED leaf, and its runs. */
struct block_mixed {
    struct block_bits bits;
    uint64_t runs;
    struct block_mixed *next; /* in the reserve */
};

union block_payload {
    uint64_t taken; /* LEAF */
    struct block_mixed *mixed;
    /* BUSY: the number of leaves, as a multiple (57 bits) of a power of two (7 bits), with what
     * follows up to the next item free. 0: all up to the next item are busy, since nothing free
     * follows, or since the number can't be written so; then an item says that what follows is
     * free. */
    uint64_t length;
};

/* Items, sorted. A key is the leaf index, the kind (3 bits) and, for LEAF, the biggest run (3
 * bits). */
struct block_page {
    unsigned int count;
    struct block_page *next;
    struct block_page *previous;
    uint128 end; /* where the last item ends: the first index of the next page */
    uint128 key[PAGE_ITEMS];
    union block_payload payload[PAGE_ITEMS];
};

/* Children, sorted by first[], the exact index of the first item below, with their summaries. The
 * children are pages at the lowest level of branches, else branches. */
struct block_branch {
    unsigned int count;
    uint128 first[BRANCH_CHILDREN];
    uint128 sizes[BRANCH_CHILDREN];
    uint128 free[BRANCH_CHILDREN];
    uint64_t runs[BRANCH_CHILDREN];
    union block_child {
        struct block_page *page;
        struct block_branch *branch;
    } child[BRANCH_CHILDREN];
};

struct block_tree {
    union block_child root;
    unsigned int height; /* levels of branches; 0: the root is a page */
    uint128 end;
    struct block_summary total;
    size_t page_count;
    size_t branch_count;
    size_t mixed_count;
    /* Nodes made ahead, so that a change that has begun can't fail. */
    struct block_page *spare_pages;      /* linked by next */
    struct block_branch *spare_branches; /* linked by child[0] */
    struct block_mixed *spare_mixed;     /* linked by next */
};

static inline uint128 key_make(uint128 index, enum block_kind kind, unsigned int biggest_run)
{
    return index << 6 | (unsigned int)kind << 3 | biggest_run;
}

static inline uint128 key_index(uint128 key)
{
    return key >> 6;
}

static inline enum block_kind key_kind(uint128 key)
{
    return (enum block_kind)(key >> 3 & 7);
}

static inline unsigned int key_biggest_run(uint128 key)
{
    return (unsigned int)(key & 7);
}

static inline bool kind_is_leaf(enum block_kind kind)
{
    return kind >= BLOCK_LEAF;
}

#define LENGTH_EXPONENT_BITS 7

/* 0 when the length can't be written in 64 bits. */
static inline uint64_t length_encode(uint128 length)
{
    unsigned int exponent = uint128_lowest(length);
    uint128 multiple = length >> exponent;
    if (multiple >> (64 - LENGTH_EXPONENT_BITS) != 0)
        return 0;
    return (uint64_t)multiple << LENGTH_EXPONENT_BITS | exponent;
}

static inline uint128 length_decode(uint64_t length)
{
    return (uint128)(length >> LENGTH_EXPONENT_BITS)
           << (length & ((1U << LENGTH_EXPONENT_BITS) - 1));
}

/* Where the item ends: the index of the next one. */
static inline uint128 page_item_end(const struct block_page *page, unsigned int position)
{
    return position + 1 < page->count ? key_index(page->key[position + 1]) : page->end;
}

static inline uint64_t page_item_runs(const struct block_page *page, unsigned int position)
{
    uint128 key = page->key[position];
    if (key_kind(key) == BLOCK_LEAF)
        return leaf_runs_whole(key_biggest_run(key));
    return key_kind(key) == BLOCK_MIXED ? page->payload[position].mixed->runs : 0;
}

/* The taken addresses of a leaf item. */
static inline uint64_t page_item_taken(const struct block_page *page, unsigned int position)
{
    return key_kind(page->key[position]) == BLOCK_MIXED ? page->payload[position].mixed->bits.taken
                                                        : page->payload[position].taken;
}

/* Where the free stretch of an item begins; end, which is where the item ends, when it has none. */
static inline uint128 page_item_gap(const struct block_page *page, unsigned int position,
                                    uint128 end)
{
    uint128 index = key_index(page->key[position]);
    switch (key_kind(page->key[position])) {
    case BLOCK_FREE:
        return index;
    case BLOCK_BUSY:
        return page->payload[position].length != 0
                   ? index + length_decode(page->payload[position].length)
                   : end;
    case BLOCK_OUTSIDE:
        return end;
    default:
        return index + 1;
    }
}

/* The place of the greatest key that is not above wanted; the first key isn't. */
static inline unsigned int sorted_seek(const uint128 *keys, unsigned int count, uint128 wanted)
{
    unsigned int base = 0;
    while (count > 1) {
        unsigned int half = count / 2;
        base += keys[base + half] <= wanted ? half : 0;
        count -= half;
    }
    return base;
}

/* ---- block_tree_nodes.c ---- */

/* Of the items from first to before last. */
struct block_summary block_page_summary_of(const struct block_page *page, unsigned int first,
                                           unsigned int last);
struct block_summary block_page_summary(const struct block_page *page);
struct block_summary block_branch_summary(const struct block_branch *branch);

/* The exact reserve for a replacement at the cursor that adds so many items, at most PAGE_ITEMS -
 * NODE_MERGED. */
must_check int block_tree_reserve_at(struct block_tree *tree, const struct block_cursor *cursor,
                                     unsigned int items, size_t mixed, struct error *error);

/* Writes the summary of the node on the cursor's path below branch[level - 1] into that branch, and
 * what follows from it above; stops early where nothing but the count changes. level is the tree's
 * height for a page. */
void block_tree_refresh(struct block_tree *tree, const struct block_cursor *cursor,
                        unsigned int level);
/* Some items of the cursor's page, whose summary was before, have become such as have after: brings
 * everything above up to date. Cheaper than a refresh: it looks at other items only where a bit may
 * have gone. */
void block_tree_adjust(struct block_tree *tree, const struct block_cursor *cursor,
                       const struct block_summary *before, const struct block_summary *after);
/* The page has another first item, and is refreshed: the page before it ends there now. */
void block_tree_refresh_previous(struct block_tree *tree, const struct block_page *page);

/* Takes a node from the reserve. */
struct block_page *block_tree_take_page(struct block_tree *tree);
struct block_branch *block_tree_take_branch(struct block_tree *tree);
/* Writes a child's first index and summary into its branch. */
void block_tree_note(struct block_branch *branch, unsigned int index, bool child_is_page);

/* ---- block_tree_balance.c ---- */

/* Splits nodes on the cursor's path until its page has room for count more items. anchor is the
 * index of the cursor's item, which the cursor follows. All summaries must be true. */
void block_tree_make_room(struct block_tree *tree, struct block_cursor *cursor, uint128 anchor,
                          unsigned int count);
/* Merges nodes on the cursor's path that have become too empty with a neighbour that has room. All
 * summaries must be true. */
void block_tree_merge_path(struct block_tree *tree, const struct block_cursor *cursor);
/* Takes the cursor's page, which has lost its last item, out of the tree. It is never the first
 * page. */
void block_tree_drop_page(struct block_tree *tree, const struct block_cursor *cursor);

#endif
