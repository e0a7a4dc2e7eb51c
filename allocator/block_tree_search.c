/* Questions to the block tree: summaries, the lowest place of a kind, the nth free address. Each is
 * one descent, or, when it starts in the middle, one climb and one descent. */
#include "allocator/block_tree_private.h"

static void summary_join(struct block_summary *summary, const struct block_summary *other)
{
    summary->sizes |= other->sizes;
    summary->free += other->free;
    summary->runs |= other->runs;
}

/* The part of an item at or above from: whether its leaf is, and where its free stretch begins. */
struct part {
    bool leaf;
    uint128 gap; /* equals end when there is none */
    uint128 end;
};

static struct part page_part(const struct block_page *page, unsigned int position, uint128 from)
{
    struct part part = {.end = page_item_end(page, position)};
    part.gap = page_item_gap(page, position, part.end);
    part.leaf =
        kind_is_leaf(key_kind(page->key[position])) && key_index(page->key[position]) >= from;
    if (part.gap < from)
        part.gap = from < part.end ? from : part.end;
    return part;
}

struct block_summary block_tree_summary(const struct block_tree *tree)
{
    return tree->total;
}

static struct block_summary page_summary_from(const struct block_page *page, unsigned int position,
                                              uint128 from)
{
    struct block_summary summary = {0};
    for (unsigned int i = position; i < page->count; i++) {
        struct part part = page_part(page, i, from);
        if (part.gap < part.end) {
            summary.sizes |= gap_sizes(part.gap, part.end);
            summary.free += (part.end - part.gap) << LEAF_HOST_BITS;
        }
        if (part.leaf) {
            summary.runs |= page_item_runs(page, i);
            summary.free += (unsigned int)__builtin_popcountll(~page_item_taken(page, i));
        }
    }
    return summary;
}

struct block_summary block_tree_summary_from(const struct block_tree *tree, uint128 leaf)
{
    if (leaf == 0)
        return tree->total;
    if (leaf >= tree->end)
        return (struct block_summary){0};
    struct block_cursor cursor;
    block_tree_seek(tree, leaf, &cursor);
    struct block_summary summary = page_summary_from(cursor.page, cursor.position, leaf);
    for (unsigned int level = 0; level < tree->height; level++) {
        const struct block_branch *branch = cursor.branch[level];
        for (unsigned int i = cursor.index[level] + 1U; i < branch->count; i++) {
            struct block_summary child = {
                .sizes = branch->sizes[i], .free = branch->free[i], .runs = branch->runs[i]};
            summary_join(&summary, &child);
        }
    }
    return summary;
}

/* The first child at or behind index that has what is wanted, or the number of children. */
static unsigned int branch_first(const struct block_branch *branch, unsigned int index,
                                 const struct block_wanted *wanted)
{
    while (index < branch->count && (branch->sizes[index] & wanted->sizes) == 0 &&
           (branch->runs[index] & wanted->runs) == 0)
        index++;
    return index;
}

/* Searches the items of a page from position on; sets the tile and the cursor's place in the
 * page. */
static bool page_first(struct block_page *page, unsigned int position, uint128 from,
                       const struct block_wanted *wanted, struct block_found *ret_found)
{
    for (unsigned int i = position; i < page->count; i++) {
        struct part part = page_part(page, i, from);
        ret_found->cursor.page = page;
        ret_found->cursor.position = i;
        if (part.leaf && (page_item_runs(page, i) & wanted->runs) != 0) {
            ret_found->tile = block_tree_tile(&ret_found->cursor, key_index(page->key[i]));
            return true;
        }
        if (part.gap == part.end)
            continue;
        if ((gap_sizes(part.gap, part.end) & wanted->sizes) == 0)
            continue;
        unsigned int size = uint128_lowest(wanted->sizes);
        uint128 first = gap_block_of_size(part.gap, part.end, size);
        ret_found->tile = (struct block_tile){.first = first,
                                              .end = first + ((uint128)1 << size),
                                              .kind = BLOCK_FREE,
                                              .bits = {.active = LEAF_FULL}};
        return true;
    }
    return false;
}

/* Descends from a node at level to the first place that has what is wanted; it has one. */
static bool descend_first(const struct block_tree *tree, union block_child node, unsigned int level,
                          const struct block_wanted *wanted, struct block_found *ret_found)
{
    for (; level < tree->height; level++) {
        unsigned int index = branch_first(node.branch, 0, wanted);
        if (index == node.branch->count)
            return false;
        ret_found->cursor.branch[level] = node.branch;
        ret_found->cursor.index[level] = (uint8_t)index;
        node = node.branch->child[index];
    }
    return page_first(node.page, 0, 0, wanted, ret_found);
}

bool block_tree_first(const struct block_tree *tree, uint128 from, struct block_wanted wanted,
                      struct block_found *ret_found)
{
    if (from == 0)
        return descend_first(tree, tree->root, 0, &wanted, ret_found);
    if (from >= tree->end)
        return false;
    struct block_cursor *cursor = &ret_found->cursor;
    block_tree_seek(tree, from, cursor);
    if (page_first(cursor->page, cursor->position, from, &wanted, ret_found))
        return true;
    for (unsigned int level = tree->height; level > 0; level--) {
        struct block_branch *branch = cursor->branch[level - 1];
        unsigned int index = branch_first(branch, cursor->index[level - 1] + 1U, &wanted);
        if (index < branch->count) {
            cursor->index[level - 1] = (uint8_t)index;
            return descend_first(tree, branch->child[index], level, &wanted, ret_found);
        }
    }
    return false;
}

void block_tree_nth_free(const struct block_tree *tree, uint128 nth, uint128 *ret_leaf,
                         unsigned int *ret_offset)
{
    union block_child node = tree->root;
    for (unsigned int level = 0; level < tree->height; level++) {
        unsigned int index = 0;
        while (index + 1 < node.branch->count && node.branch->free[index] <= nth)
            nth -= node.branch->free[index++];
        node = node.branch->child[index];
    }
    for (unsigned int i = 0; i < node.page->count; i++) {
        struct part part = page_part(node.page, i, 0);
        if (part.leaf) {
            uint64_t taken = page_item_taken(node.page, i);
            unsigned int count = (unsigned int)__builtin_popcountll(~taken);
            if (nth < count) {
                *ret_leaf = key_index(node.page->key[i]);
                *ret_offset = leaf_nth_free(taken, (unsigned int)nth);
                return;
            }
            nth -= count;
        }
        if (nth >> LEAF_HOST_BITS < part.end - part.gap) {
            *ret_leaf = part.gap + (nth >> LEAF_HOST_BITS);
            *ret_offset = (unsigned int)(nth & (LEAF_SIZE - 1));
            return;
        }
        nth -= (part.end - part.gap) << LEAF_HOST_BITS;
    }
}
