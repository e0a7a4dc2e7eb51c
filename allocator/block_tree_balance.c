/* Keeps the nodes of the block tree neither too full nor too empty: splitting and merging. */
#include "allocator/block_tree_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void branch_insert(struct block_branch *branch, unsigned int index, union block_child child)
{
    size_t moved = branch->count - index;
    memmove(&branch->first[index + 1], &branch->first[index], moved * sizeof(branch->first[0]));
    memmove(&branch->sizes[index + 1], &branch->sizes[index], moved * sizeof(branch->sizes[0]));
    memmove(&branch->free[index + 1], &branch->free[index], moved * sizeof(branch->free[0]));
    memmove(&branch->runs[index + 1], &branch->runs[index], moved * sizeof(branch->runs[0]));
    memmove(&branch->child[index + 1], &branch->child[index], moved * sizeof(branch->child[0]));
    branch->child[index] = child;
    branch->count++;
}

static void branch_remove(struct block_branch *branch, unsigned int index)
{
    branch->count--;
    size_t moved = branch->count - index;
    memmove(&branch->first[index], &branch->first[index + 1], moved * sizeof(branch->first[0]));
    memmove(&branch->sizes[index], &branch->sizes[index + 1], moved * sizeof(branch->sizes[0]));
    memmove(&branch->free[index], &branch->free[index + 1], moved * sizeof(branch->free[0]));
    memmove(&branch->runs[index], &branch->runs[index + 1], moved * sizeof(branch->runs[0]));
    memmove(&branch->child[index], &branch->child[index + 1], moved * sizeof(branch->child[0]));
}

/* Appends the children of from, starting at index, to branch. */
static void branch_append(struct block_branch *branch, const struct block_branch *from,
                          unsigned int index)
{
    size_t moved = from->count - index;
    unsigned int at = branch->count;
    memcpy(&branch->first[at], &from->first[index], moved * sizeof(branch->first[0]));
    memcpy(&branch->sizes[at], &from->sizes[index], moved * sizeof(branch->sizes[0]));
    memcpy(&branch->free[at], &from->free[index], moved * sizeof(branch->free[0]));
    memcpy(&branch->runs[at], &from->runs[index], moved * sizeof(branch->runs[0]));
    memcpy(&branch->child[at], &from->child[index], moved * sizeof(branch->child[0]));
    branch->count += (unsigned int)moved;
}

static void page_append(struct block_page *page, const struct block_page *from, unsigned int index)
{
    size_t moved = from->count - index;
    memcpy(&page->key[page->count], &from->key[index], moved * sizeof(page->key[0]));
    memcpy(&page->payload[page->count], &from->payload[index], moved * sizeof(page->payload[0]));
    page->count += (unsigned int)moved;
}

/* Where to cut a full node: in the middle; near the end when it grows there, as in a sequential
 * fill. */
static unsigned int split_point(unsigned int count, unsigned int position)
{
    return position + 2 >= count ? count - INSERT_AT_ONCE : count / 2;
}

static struct block_page *page_split(struct block_tree *tree, struct block_page *page,
                                     unsigned int position)
{
    struct block_page *upper = block_tree_take_page(tree);
    unsigned int point = split_point(page->count, position);
    upper->count = 0;
    page_append(upper, page, point);
    page->count = point;
    upper->end = page->end;
    page->end = key_index(upper->key[0]);
    upper->previous = page;
    upper->next = page->next;
    if (upper->next != NULL)
        upper->next->previous = upper;
    page->next = upper;
    return upper;
}

static struct block_branch *branch_split(struct block_tree *tree, struct block_branch *branch,
                                         unsigned int position)
{
    struct block_branch *upper = block_tree_take_branch(tree);
    unsigned int point = split_point(branch->count, position);
    upper->count = 0;
    branch_append(upper, branch, point);
    branch->count = point;
    return upper;
}

static void grow_root(struct block_tree *tree)
{
    struct block_branch *root = block_tree_take_branch(tree);
    assert(tree->height < BLOCK_TREE_HEIGHT);
    root->count = 1;
    root->child[0] = tree->root;
    block_tree_note(root, 0, tree->height == 0);
    tree->root.branch = root;
    tree->height++;
}

/* Splits nodes on the cursor's path from the top down until its page has room for count more items.
 * anchor is the first leaf of the cursor's item, which the cursor follows. All summaries are true
 * before and after. */
void block_tree_make_room(struct block_tree *tree, struct block_cursor *cursor, uint128 anchor,
                          unsigned int count)
{
    while (cursor->page->count + count > PAGE_ITEMS) {
        unsigned int level = tree->height;
        while (level > 0 && cursor->branch[level - 1]->count == BRANCH_CHILDREN)
            level--;
        if (level == 0) {
            grow_root(tree);
        } else {
            struct block_branch *branch = cursor->branch[level - 1];
            unsigned int index = cursor->index[level - 1];
            bool is_page = level == tree->height;
            union block_child upper;
            if (is_page)
                upper.page = page_split(tree, cursor->page, cursor->position);
            else
                upper.branch =
                    branch_split(tree, branch->child[index].branch, cursor->index[level]);
            branch_insert(branch, index + 1, upper);
            block_tree_note(branch, index, is_page);
            block_tree_note(branch, index + 1, is_page);
        }
        block_tree_seek(tree, anchor, cursor);
    }
}

/* ---- merging ---- */

static void page_unlink(struct block_tree *tree, struct block_page *page)
{
    if (page->previous != NULL)
        page->previous->next = page->next;
    if (page->next != NULL)
        page->next->previous = page->previous;
    free(page);
    tree->page_count--;
}

static unsigned int child_count(const struct block_branch *branch, unsigned int index, bool is_page)
{
    return is_page ? branch->child[index].page->count : branch->child[index].branch->count;
}

/* Moves the child behind index into that at index. */
static void merge_children(struct block_tree *tree, struct block_branch *branch, unsigned int index,
                           bool is_page)
{
    if (is_page) {
        struct block_page *lower = branch->child[index].page;
        struct block_page *upper = branch->child[index + 1].page;
        page_append(lower, upper, 0);
        lower->end = upper->end;
        page_unlink(tree, upper);
    } else {
        struct block_branch *upper = branch->child[index + 1].branch;
        branch_append(branch->child[index].branch, upper, 0);
        free(upper);
        tree->branch_count--;
    }
    branch_remove(branch, index + 1);
    block_tree_note(branch, index, is_page);
}

static void shrink_root(struct block_tree *tree)
{
    while (tree->height > 0 && tree->root.branch->count == 1) {
        struct block_branch *root = tree->root.branch;
        tree->root = root->child[0];
        free(root);
        tree->branch_count--;
        tree->height--;
    }
}

/* Merges nodes on the cursor's path that have become too empty with a neighbour that has room. */
void block_tree_merge_path(struct block_tree *tree, const struct block_cursor *cursor)
{
    for (unsigned int level = tree->height; level > 0; level--) {
        struct block_branch *branch = cursor->branch[level - 1];
        unsigned int index = cursor->index[level - 1];
        bool is_page = level == tree->height;
        unsigned int count = child_count(branch, index, is_page);
        if (count > NODE_LOW)
            break;
        if (index + 1 < branch->count &&
            count + child_count(branch, index + 1, is_page) <= NODE_MERGED)
            merge_children(tree, branch, index, is_page);
        else if (index > 0 && count + child_count(branch, index - 1, is_page) <= NODE_MERGED)
            merge_children(tree, branch, index - 1, is_page);
        else
            break;
    }
    shrink_root(tree);
}

/* Takes the cursor's page, which has lost its last item, out of the tree. It is never the first
 * page. */
void block_tree_drop_page(struct block_tree *tree, const struct block_cursor *cursor)
{
    unsigned int level = tree->height;
    struct block_page *previous = cursor->page->previous;
    assert(level > 0 && previous != NULL);
    uint128 end = cursor->page->end;
    page_unlink(tree, cursor->page);
    branch_remove(cursor->branch[level - 1], cursor->index[level - 1]);
    while (cursor->branch[level - 1]->count == 0) {
        level--;
        assert(level > 0);
        free(cursor->branch[level]);
        tree->branch_count--;
        branch_remove(cursor->branch[level - 1], cursor->index[level - 1]);
    }
    block_tree_refresh(tree, cursor, level - 1);
    previous->end = end;
    struct block_cursor before;
    block_tree_seek(tree, key_index(previous->key[previous->count - 1]), &before);
    block_tree_refresh(tree, &before, tree->height);
    block_tree_merge_path(tree, &before);
}
