/* The rules of the block tree, checked from scratch: what the tests and fuzz targets call after
 * each operation. Slow, and never called by the program. */
#include "allocator/block_tree_private.h"

/* What a walk has seen so far. */
struct walk {
    const struct block_tree *tree;
    const struct block_page *previous;
    enum block_kind behind; /* of the last item */
    uint128 last;           /* its index */
    bool any;
    size_t pages;
    size_t branches;
    size_t mixed;
};

static bool bits_are_valid(const struct block_bits *bits)
{
    return (bits->outside & ~bits->taken) == 0 && (bits->outside & bits->active) == 0 &&
           (~(bits->outside | bits->active) & ~bits->taken) == 0;
}

static const char *check_item(struct walk *walk, const struct block_page *page,
                              unsigned int position)
{
    uint128 key = page->key[position];
    enum block_kind kind = key_kind(key);
    if (walk->any ? key_index(key) <= walk->last : key_index(key) != 0)
        return "items are out of order, or leaves before the first";
    if (key_index(key) >= walk->tree->end)
        return "an item behind the end";
    if (walk->any && !kind_is_leaf(kind) && kind == walk->behind)
        return "two stretches that should be one";
    uint128 end = page_item_end(page, position);
    uint128 gap = page_item_gap(page, position, end);
    if (kind == BLOCK_BUSY && page->payload[position].length != 0 &&
        (gap >= end || length_encode(gap - key_index(key)) != page->payload[position].length))
        return "a busy item's length is wrong";
    if (kind == BLOCK_FREE && walk->any && walk->behind == BLOCK_BUSY &&
        length_encode(key_index(key) - walk->last) != 0)
        return "a free item that a busy item's length should say";
    if (kind == BLOCK_LEAF) {
        uint64_t taken = page->payload[position].taken;
        if (taken == 0 || taken == LEAF_FULL)
            return "a leaf that should be a run";
        if (key_biggest_run(key) != leaf_biggest_run(taken))
            return "a leaf's biggest run is wrong";
    }
    if (kind == BLOCK_MIXED) {
        const struct block_mixed *mixed = page->payload[position].mixed;
        walk->mixed++;
        if (!bits_are_valid(&mixed->bits) || block_bits_kind(&mixed->bits) != BLOCK_MIXED)
            return "bits of a mixed leaf are wrong";
        if (mixed->runs != leaf_runs_pieces(mixed->bits.taken, mixed->bits.active))
            return "runs of a mixed leaf are wrong";
    }
    walk->any = true;
    walk->last = key_index(key);
    walk->behind = gap < end ? BLOCK_FREE : kind;
    return NULL;
}

static const char *check_page(struct walk *walk, const struct block_page *page)
{
    walk->pages++;
    if (page->count == 0 || page->count > PAGE_ITEMS)
        return "a page's count is wrong";
    if (page->previous != walk->previous)
        return "a page's link back is wrong";
    if (walk->previous != NULL &&
        (walk->previous->next != page || walk->previous->end != key_index(page->key[0])))
        return "a page's link or end is wrong";
    walk->previous = page;
    for (unsigned int i = 0; i < page->count; i++) {
        const char *broken = check_item(walk, page, i);
        if (broken != NULL)
            return broken;
    }
    return NULL;
}

static const char *check_summary(const struct block_branch *branch, unsigned int index,
                                 const struct block_summary *summary, uint128 first)
{
    if (branch->first[index] != first)
        return "a child's first index is wrong";
    if (branch->sizes[index] != summary->sizes)
        return "a child's sizes are wrong";
    if (branch->runs[index] != summary->runs)
        return "a child's runs are wrong";
    return branch->free[index] != summary->free ? "a child's free count is wrong" : NULL;
}

static const char *check_node(struct walk *walk, union block_child node, unsigned int height)
{
    if (height == 0)
        return check_page(walk, node.page);
    const struct block_branch *branch = node.branch;
    const char *broken = NULL;
    walk->branches++;
    if (branch->count == 0 || branch->count > BRANCH_CHILDREN)
        return "a branch's count is wrong";
    for (unsigned int i = 0; i < branch->count && broken == NULL; i++) {
        struct block_summary summary;
        uint128 first;
        broken = check_node(walk, branch->child[i], height - 1);
        if (broken != NULL)
            break;
        if (height == 1) {
            summary = block_page_summary(branch->child[i].page);
            first = key_index(branch->child[i].page->key[0]);
        } else {
            summary = block_branch_summary(branch->child[i].branch);
            first = branch->child[i].branch->first[0];
        }
        broken = check_summary(branch, i, &summary, first);
    }
    return broken;
}

const char *block_tree_check(const struct block_tree *tree)
{
    struct walk walk = {.tree = tree};
    const char *broken = check_node(&walk, tree->root, tree->height);
    if (broken != NULL)
        return broken;
    if (walk.previous->next != NULL || walk.previous->end != tree->end)
        return "the last page isn't the last";
    if (tree->height > 0 && tree->root.branch->count < 2)
        return "the root has one child";
    if (walk.pages != tree->page_count || walk.branches != tree->branch_count ||
        walk.mixed != tree->mixed_count)
        return "counts of nodes are wrong";
    if (tree->spare_pages != NULL || tree->spare_branches != NULL || tree->spare_mixed != NULL)
        return "a reserve is left over";
    struct block_summary total = tree->height == 0 ? block_page_summary(tree->root.page)
                                                   : block_branch_summary(tree->root.branch);
    if (total.sizes != tree->total.sizes || total.free != tree->total.free ||
        total.runs != tree->total.runs)
        return "the total is wrong";
    return NULL;
}
