/* The nodes of the block tree: the reserve they come from, their summaries, and the way to them.
 * What the items in them mean is block_tree.c's business, their number block_tree_balance.c's. */
#include "allocator/block_tree_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void branch_free(struct block_branch *branch, unsigned int height);

static void page_free(struct block_page *page)
{
    for (unsigned int i = 0; i < page->count; i++) {
        if (key_kind(page->key[i]) == BLOCK_MIXED)
            free(page->payload[i].mixed);
    }
    free(page);
}

static void child_free(union block_child child, unsigned int height)
{
    if (height == 0)
        page_free(child.page);
    else
        branch_free(child.branch, height);
}

static void branch_free(struct block_branch *branch, unsigned int height)
{
    for (unsigned int i = 0; i < branch->count; i++)
        child_free(branch->child[i], height - 1);
    free(branch);
}

struct block_tree *block_tree_new(unsigned int index_bits)
{
    struct block_tree *tree = calloc(1, sizeof(*tree));
    struct block_page *page = calloc(1, sizeof(*page));
    if (tree == NULL || page == NULL) {
        free(tree);
        free(page);
        return NULL;
    }
    tree->end = (uint128)1 << index_bits;
    tree->root.page = page;
    tree->page_count = 1;
    page->count = 1;
    page->key[0] = key_make(0, BLOCK_OUTSIDE, 0);
    page->end = tree->end;
    return tree;
}

void block_tree_free(struct block_tree *tree)
{
    if (tree == NULL)
        return;
    block_tree_unreserve(tree);
    child_free(tree->root, tree->height);
    free(tree);
}

uint128 block_tree_end(const struct block_tree *tree)
{
    return tree->end;
}

size_t block_tree_memory(const struct block_tree *tree)
{
    return sizeof(*tree) + tree->page_count * sizeof(struct block_page) +
           tree->branch_count * sizeof(struct block_branch) +
           tree->mixed_count * sizeof(struct block_mixed);
}

/* ---- the reserve ---- */

static int reserve_nodes(struct block_tree *tree, size_t pages, size_t branches, size_t mixed,
                         struct error *error)
{
    for (; pages > 0; pages--) {
        struct block_page *page = malloc(sizeof(*page));
        if (page == NULL)
            return error_no_memory(error);
        page->count = 0;
        page->next = tree->spare_pages;
        tree->spare_pages = page;
    }
    for (; branches > 0; branches--) {
        struct block_branch *branch = malloc(sizeof(*branch));
        if (branch == NULL)
            return error_no_memory(error);
        branch->count = 0;
        branch->child[0].branch = tree->spare_branches;
        tree->spare_branches = branch;
    }
    for (; mixed > 0; mixed--) {
        struct block_mixed *spare = malloc(sizeof(*spare));
        if (spare == NULL)
            return error_no_memory(error);
        spare->next = tree->spare_mixed;
        tree->spare_mixed = spare;
    }
    return 0;
}

void block_tree_unreserve(struct block_tree *tree)
{
    while (tree->spare_pages != NULL) {
        struct block_page *page = tree->spare_pages;
        tree->spare_pages = page->next;
        free(page);
    }
    while (tree->spare_branches != NULL) {
        struct block_branch *branch = tree->spare_branches;
        tree->spare_branches = branch->child[0].branch;
        free(branch);
    }
    while (tree->spare_mixed != NULL) {
        struct block_mixed *mixed = tree->spare_mixed;
        tree->spare_mixed = mixed->next;
        free(mixed);
    }
}

static size_t smaller(size_t left, size_t right)
{
    return left < right ? left : right;
}

/* A node splits when it is full; the halves then take at least INSERT_AT_ONCE more each. So at most
 * every node that is there splits once for each place, and once more for every INSERT_AT_ONCE
 * insertions. */
int block_tree_reserve(struct block_tree *tree, size_t places, size_t elements, size_t mixed,
                       struct error *error)
{
    size_t items = elements + places * SPLICE_GROWTH;
    size_t pages = smaller(places, tree->page_count) + items / INSERT_AT_ONCE + 1;
    size_t branches = 2; /* a root that splits, and the new root */
    size_t splits = pages;
    for (unsigned int level = 0; level < tree->height; level++) {
        splits = smaller(splits, tree->branch_count) + splits / INSERT_AT_ONCE + 1;
        branches += splits;
    }
    while (splits > 1) {
        splits = splits / INSERT_AT_ONCE + 1;
        branches += splits;
    }
    int result = reserve_nodes(tree, pages, branches, mixed, error);
    if (result != 0)
        block_tree_unreserve(tree);
    return result;
}

/* The exact need of one small replacement at the cursor. */
int block_tree_reserve_at(struct block_tree *tree, const struct block_cursor *cursor,
                          unsigned int items, size_t mixed, struct error *error)
{
    size_t pages = 0;
    size_t branches = 0;
    if (cursor->page->count + items > PAGE_ITEMS) {
        unsigned int level = tree->height;
        while (level > 0 && cursor->branch[level - 1]->count == BRANCH_CHILDREN) {
            branches++;
            level--;
        }
        branches += level == 0 ? 1 : 0;
        pages = 1;
    }
    if (pages + mixed == 0)
        return 0;
    int result = reserve_nodes(tree, pages, branches, mixed, error);
    if (result != 0)
        block_tree_unreserve(tree);
    return result;
}

struct block_page *block_tree_take_page(struct block_tree *tree)
{
    struct block_page *page = tree->spare_pages;
    assert(page != NULL);
    tree->spare_pages = page->next;
    tree->page_count++;
    return page;
}

struct block_branch *block_tree_take_branch(struct block_tree *tree)
{
    struct block_branch *branch = tree->spare_branches;
    assert(branch != NULL);
    tree->spare_branches = branch->child[0].branch;
    tree->branch_count++;
    return branch;
}

/* ---- summaries ---- */

struct block_summary block_page_summary_of(const struct block_page *page, unsigned int first,
                                           unsigned int last)
{
    struct block_summary summary = {0};
    for (unsigned int i = first; i < last; i++) {
        uint128 end = page_item_end(page, i);
        uint128 gap = page_item_gap(page, i, end);
        if (gap < end) {
            summary.sizes |= gap_sizes(gap, end);
            summary.free += (end - gap) << LEAF_HOST_BITS;
        }
        if (kind_is_leaf(key_kind(page->key[i]))) {
            summary.runs |= page_item_runs(page, i);
            summary.free += (unsigned int)__builtin_popcountll(~page_item_taken(page, i));
        }
    }
    return summary;
}

struct block_summary block_page_summary(const struct block_page *page)
{
    return block_page_summary_of(page, 0, page->count);
}

struct block_summary block_branch_summary(const struct block_branch *branch)
{
    struct block_summary summary = {0};
    for (unsigned int i = 0; i < branch->count; i++) {
        summary.sizes |= branch->sizes[i];
        summary.free += branch->free[i];
        summary.runs |= branch->runs[i];
    }
    return summary;
}

void block_tree_note(struct block_branch *branch, unsigned int index, bool child_is_page)
{
    struct block_summary summary;
    if (child_is_page) {
        const struct block_page *page = branch->child[index].page;
        summary = block_page_summary(page);
        branch->first[index] = key_index(page->key[0]);
    } else {
        const struct block_branch *child = branch->child[index].branch;
        summary = block_branch_summary(child);
        branch->first[index] = child->first[0];
    }
    branch->sizes[index] = summary.sizes;
    branch->free[index] = summary.free;
    branch->runs[index] = summary.runs;
}

/* Adds to the free counts of everything above the cursor's place, from level down to the root. */
static void add_free(struct block_tree *tree, const struct block_cursor *cursor, unsigned int level,
                     uint128 change)
{
    while (level-- > 0)
        cursor->branch[level]->free[cursor->index[level]] += change;
    tree->total.free += change;
}

/* Writes the child on the cursor's path below branch[level - 1] into that branch, and what follows
 * from it above. Stops early where nothing but the count changes. */
void block_tree_refresh(struct block_tree *tree, const struct block_cursor *cursor,
                        unsigned int level)
{
    while (level > 0) {
        struct block_branch *branch = cursor->branch[level - 1];
        unsigned int index = cursor->index[level - 1];
        uint128 first = branch->first[index];
        uint128 sizes = branch->sizes[index];
        uint128 free_count = branch->free[index];
        uint64_t runs = branch->runs[index];
        block_tree_note(branch, index, level == tree->height);
        level--;
        if (first == branch->first[index] && sizes == branch->sizes[index] &&
            runs == branch->runs[index]) {
            add_free(tree, cursor, level, branch->free[index] - free_count);
            return;
        }
    }
    tree->total = tree->height == 0 ? block_page_summary(tree->root.page)
                                    : block_branch_summary(tree->root.branch);
}

/* What may have gone from a summary, and what has come. */
struct change {
    uint128 sizes_gone;
    uint128 sizes_come;
    uint64_t runs_gone;
    uint64_t runs_come;
};

static bool change_is_none(const struct change *change)
{
    return (change->sizes_gone | change->sizes_come) == 0 &&
           (change->runs_gone | change->runs_come) == 0;
}

/* Takes from what has gone the bits that some item of the page still has. */
static void change_keep_in_page(struct change *change, const struct block_page *page)
{
    for (unsigned int i = 0; i < page->count && (change->sizes_gone != 0 || change->runs_gone != 0);
         i++) {
        uint128 end = page_item_end(page, i);
        uint128 gap = page_item_gap(page, i, end);
        if (gap < end)
            change->sizes_gone &= ~gap_sizes(gap, end);
        if (kind_is_leaf(key_kind(page->key[i])))
            change->runs_gone &= ~page_item_runs(page, i);
    }
}

static void change_keep_in_branch(struct change *change, const struct block_branch *branch)
{
    for (unsigned int i = 0;
         i < branch->count && (change->sizes_gone != 0 || change->runs_gone != 0); i++) {
        change->sizes_gone &= ~branch->sizes[i];
        change->runs_gone &= ~branch->runs[i];
    }
}

/* Applies a change to a summary, and leaves in it what really is another. */
static void change_apply(struct change *change, uint128 *sizes, uint64_t *runs)
{
    uint128 old_sizes = *sizes;
    uint64_t old_runs = *runs;
    *sizes = (old_sizes & ~change->sizes_gone) | change->sizes_come;
    *runs = (old_runs & ~change->runs_gone) | change->runs_come;
    *change = (struct change){.sizes_gone = old_sizes & ~*sizes,
                              .sizes_come = *sizes & ~old_sizes,
                              .runs_gone = old_runs & ~*runs,
                              .runs_come = *runs & ~old_runs};
}

void block_tree_adjust(struct block_tree *tree, const struct block_cursor *cursor,
                       const struct block_summary *before, const struct block_summary *after)
{
    struct change change = {.sizes_gone = before->sizes & ~after->sizes,
                            .sizes_come = after->sizes,
                            .runs_gone = before->runs & ~after->runs,
                            .runs_come = after->runs};
    uint128 free_change = after->free - before->free;
    uint128 first = key_index(cursor->page->key[0]);
    change_keep_in_page(&change, cursor->page);
    for (unsigned int level = tree->height; level > 0; level--) {
        struct block_branch *branch = cursor->branch[level - 1];
        unsigned int index = cursor->index[level - 1];
        bool same_first = branch->first[index] == first;
        branch->free[index] += free_change;
        branch->first[index] = first;
        change_apply(&change, &branch->sizes[index], &branch->runs[index]);
        if (same_first && change_is_none(&change)) {
            add_free(tree, cursor, level - 1, free_change);
            return;
        }
        change_keep_in_branch(&change, branch);
        first = branch->first[0];
    }
    tree->total.free += free_change;
    change_apply(&change, &tree->total.sizes, &tree->total.runs);
}

/* The page of the cursor has another first item: the page before it ends there now. */
void block_tree_refresh_previous(struct block_tree *tree, const struct block_page *page)
{
    uint128 first = key_index(page->key[0]);
    if (page->previous == NULL || page->previous->end == first)
        return;
    struct block_cursor cursor;
    page->previous->end = first;
    block_tree_seek(tree, first - 1, &cursor);
    block_tree_refresh(tree, &cursor, tree->height);
}

/* ---- seeking ---- */

/* A node is seldom in the cache, and a binary search touches a line after the other: asks for those
 * with the keys all at once. */
static void prefetch_keys(const void *node, size_t keys)
{
    const char *line = node;
    for (size_t i = 0; i <= keys; i += 64)
        __builtin_prefetch(line + i);
}

void block_tree_seek(const struct block_tree *tree, uint128 leaf, struct block_cursor *ret_cursor)
{
    union block_child node = tree->root;
    for (unsigned int level = 0; level < tree->height; level++) {
        struct block_branch *branch = node.branch;
        prefetch_keys(branch, sizeof(branch->first));
        unsigned int index = sorted_seek(branch->first, branch->count, leaf);
        ret_cursor->branch[level] = branch;
        ret_cursor->index[level] = (uint8_t)index;
        node = branch->child[index];
        __builtin_prefetch(&branch->sizes[index], 1);
        __builtin_prefetch(&branch->free[index], 1);
        __builtin_prefetch(&branch->runs[index], 1);
    }
    prefetch_keys(node.page, sizeof(node.page->key));
    ret_cursor->page = node.page;
    ret_cursor->position = sorted_seek(node.page->key, node.page->count, leaf << 6 | 63);
}
