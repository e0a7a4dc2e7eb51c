/* What the items of the block tree mean, and the one way to change them: block_tree_replace writes the
 * items of one stretch anew and joins them with what lies on both sides. */
#include "allocator/block_tree_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* "There is nothing before the first leaf": never stored. */
#define KIND_NONE ((enum block_kind)7)

enum block_kind block_bits_kind(const struct block_bits *bits)
{
    if (bits->outside == LEAF_FULL)
        return BLOCK_OUTSIDE;
    if (bits->outside == 0 && bits->taken == LEAF_FULL)
        return BLOCK_BUSY;
    if (bits->active != LEAF_FULL)
        return BLOCK_MIXED;
    return bits->taken == 0 ? BLOCK_FREE : BLOCK_LEAF;
}

static struct block_bits run_bits(enum block_kind kind)
{
    static const struct block_bits bits[] = {
        [BLOCK_FREE] = {.active = LEAF_FULL},
        [BLOCK_BUSY] = {.taken = LEAF_FULL, .active = LEAF_FULL},
        [BLOCK_OUTSIDE] = {.taken = LEAF_FULL, .outside = LEAF_FULL},
    };
    return bits[kind];
}

struct block_tile block_tree_tile(const struct block_cursor *cursor, uint128 leaf)
{
    const struct block_page *page = cursor->page;
    uint128 key = page->key[cursor->position];
    struct block_tile tile = {.first = key_index(key), .kind = key_kind(key)};
    tile.end = page_item_end(page, cursor->position);
    if (kind_is_leaf(tile.kind) && leaf > tile.first) {
        tile.first++;
        tile.kind = BLOCK_FREE;
    }
    if (tile.kind == BLOCK_LEAF) {
        tile.end = tile.first + 1;
        tile.bits = (struct block_bits){.taken = page->payload[cursor->position].taken,
                                        .active = LEAF_FULL};
    } else if (tile.kind == BLOCK_MIXED) {
        tile.end = tile.first + 1;
        tile.bits = page->payload[cursor->position].mixed->bits;
    } else {
        tile.bits = run_bits(tile.kind);
    }
    return tile;
}

/* ---- changing items ---- */

static struct block_mixed *take_mixed(struct block_tree *tree)
{
    struct block_mixed *mixed = tree->spare_mixed;
    assert(mixed != NULL);
    tree->spare_mixed = mixed->next;
    tree->mixed_count++;
    return mixed;
}

static void mixed_write(struct block_mixed *mixed, const struct block_bits *bits)
{
    mixed->bits = *bits;
    mixed->runs = leaf_runs_pieces(bits->taken, bits->active);
}

static void item_write(struct block_tree *tree, struct block_page *page, unsigned int position,
                       const struct block_item *item)
{
    unsigned int biggest_run = 0;
    if (item->kind == BLOCK_LEAF) {
        biggest_run = leaf_biggest_run(item->bits.taken);
        page->payload[position].taken = item->bits.taken;
    } else if (item->kind == BLOCK_MIXED) {
        page->payload[position].mixed = take_mixed(tree);
        mixed_write(page->payload[position].mixed, &item->bits);
    }
    page->key[position] = key_make(item->first, item->kind, biggest_run);
}

/* Frees what an item holds. Its memory goes back to the reserve: a replacement may need it again. */
static void item_clear(struct block_tree *tree, struct block_page *page, unsigned int position)
{
    if (key_kind(page->key[position]) != BLOCK_MIXED)
        return;
    struct block_mixed *mixed = page->payload[position].mixed;
    mixed->next = tree->spare_mixed;
    tree->spare_mixed = mixed;
    tree->mixed_count--;
}

static void page_remove(struct block_tree *tree, struct block_page *page, unsigned int position,
                        unsigned int count)
{
    for (unsigned int i = position; i < position + count; i++)
        item_clear(tree, page, i);
    page->count -= count;
    size_t moved = page->count - position;
    memmove(&page->key[position], &page->key[position + count], moved * sizeof(page->key[0]));
    memmove(&page->payload[position], &page->payload[position + count],
            moved * sizeof(page->payload[0]));
}

static void page_insert(struct block_tree *tree, struct block_page *page, unsigned int position,
                        const struct block_item *items, unsigned int count)
{
    size_t moved = page->count - position;
    memmove(&page->key[position + count], &page->key[position], moved * sizeof(page->key[0]));
    memmove(&page->payload[position + count], &page->payload[position],
            moved * sizeof(page->payload[0]));
    page->count += count;
    for (unsigned int i = 0; i < count; i++)
        item_write(tree, page, position + i, &items[i]);
}

/* Removes the first item of the page behind the cursor's. */
static void remove_behind(struct block_tree *tree, const struct block_cursor *cursor)
{
    struct block_cursor behind;
    block_tree_seek(tree, cursor->page->end, &behind);
    page_remove(tree, behind.page, 0, 1);
    if (behind.page->count == 0) {
        block_tree_drop_page(tree, &behind);
        return;
    }
    block_tree_refresh(tree, &behind, tree->height);
    block_tree_refresh_previous(tree, behind.page);
    block_tree_merge_path(tree, &behind);
}

/* A replacement in numbers: the items from position on in the cursor's page, removed of them, make place for
 * others. anchor is the index of the item before those, or of the first of them when kept is false. */
struct splice {
    uint128 anchor;
    bool kept; /* the cursor's item stays, the change begins behind it */
    size_t removed;
};

/* Removes what lies in pages behind the cursor's, so that the rest is one page's business. */
static void splice_gather(struct block_tree *tree, struct block_cursor *cursor,
                          struct splice *splice)
{
    while (splice->removed > cursor->page->count - cursor->position - (splice->kept ? 1 : 0)) {
        remove_behind(tree, cursor);
        splice->removed--;
        block_tree_seek(tree, splice->anchor, cursor);
    }
}

static void splice_write(struct block_tree *tree, struct block_cursor *cursor,
                         struct splice *splice, const struct block_item *items, size_t count)
{
    struct block_page *page = cursor->page;
    unsigned int position = cursor->position + (splice->kept ? 1 : 0);
    unsigned int removed = (unsigned int)splice->removed;
    /* As many as the page holds now; more than was there goes into pages with room made for it. */
    unsigned int written =
        page->count - removed + count <= PAGE_ITEMS ? (unsigned int)count : removed;
    page_remove(tree, page, position, removed);
    page_insert(tree, page, position, items, written);
    block_tree_refresh(tree, cursor, tree->height);
    if (position == 0)
        block_tree_refresh_previous(tree, page);
    while (written < count) {
        size_t rest = count - written;
        unsigned int some = rest < INSERT_AT_ONCE ? (unsigned int)rest : INSERT_AT_ONCE;
        uint128 anchor = written > 0 ? items[written - 1].first : splice->anchor;
        block_tree_seek(tree, anchor, cursor);
        block_tree_make_room(tree, cursor, anchor, some);
        page_insert(tree, cursor->page, cursor->position + 1, &items[written], some);
        block_tree_refresh(tree, cursor, tree->height);
        written += some;
    }
}

/* What the leaves before an item are: the cursor is at an item that starts at leaf. */
static enum block_kind kind_before(const struct block_cursor *cursor)
{
    const struct block_page *page = cursor->page;
    if (cursor->position > 0)
        return kind_behind(key_kind(page->key[cursor->position - 1]));
    if (page->previous == NULL)
        return KIND_NONE;
    page = page->previous;
    return kind_behind(key_kind(page->key[page->count - 1]));
}

/* Drops runs that say what is already so; returns how many items are left, and in *before what the leaves
 * behind the last of them are. */
static size_t items_join(struct block_item *items, size_t count, enum block_kind *before)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (items[i].kind == *before && !kind_is_leaf(items[i].kind))
            continue;
        *before = kind_behind(items[i].kind);
        items[kept++] = items[i];
    }
    return kept;
}

/* Counts the items that start in [first, end), from the cursor on. *ret_kind: what leaf end - 1 is behind its item;
 * *ret_at_end: the kind of the item that starts at end, KIND_NONE when none does. */
static size_t items_within(const struct block_cursor *cursor, uint128 first, uint128 end,
                           enum block_kind *ret_kind, enum block_kind *ret_at_end)
{
    const struct block_page *page = cursor->page;
    unsigned int position = cursor->position;
    size_t count = 0;
    *ret_at_end = KIND_NONE;
    while (page != NULL) {
        if (position == page->count) {
            page = page->next;
            position = 0;
            continue;
        }
        uint128 key = page->key[position];
        if (key_index(key) >= end) {
            if (key_index(key) == end)
                *ret_at_end = key_kind(key);
            break;
        }
        count += key_index(key) >= first ? 1 : 0;
        *ret_kind = kind_behind(key_kind(key));
        position++;
    }
    return count;
}

void block_tree_replace(struct block_tree *tree, struct block_cursor *cursor, uint128 first,
                        uint128 end, struct block_item *items, size_t count)
{
    uint128 start = key_index(cursor->page->key[cursor->position]);
    struct splice splice = {.anchor = start, .kept = start < first};
    enum block_kind before = splice.kept
                                 ? kind_behind(key_kind(cursor->page->key[cursor->position]))
                                 : kind_before(cursor);
    count = items_join(items, count, &before);
    enum block_kind behind = before;
    enum block_kind at_end;
    splice.removed = items_within(cursor, first, end, &behind, &at_end);
    if (at_end != KIND_NONE) {
        if (at_end == before && !kind_is_leaf(at_end))
            splice.removed++;
    } else if (end < tree->end && behind != before) {
        items[count++] = (struct block_item){.first = end, .kind = behind};
    }
    splice_gather(tree, cursor, &splice);
    bool shrinks = splice.removed > count;
    if (count == 0 && splice.removed == cursor->page->count) {
        page_remove(tree, cursor->page, 0, cursor->page->count);
        block_tree_drop_page(tree, cursor);
        return;
    }
    splice_write(tree, cursor, &splice, items, count);
    if (shrinks)
        block_tree_merge_path(tree, cursor);
}

int block_tree_set_run(struct block_tree *tree, struct block_cursor *cursor, uint128 first,
                       uint128 end, enum block_kind kind, struct error *error)
{
    struct block_item items[2] = {{.first = first, .kind = kind}};
    int result = block_tree_reserve_at(tree, cursor, 2, 0, error);
    if (result != 0)
        return result;
    block_tree_replace(tree, cursor, first, end, items, 1);
    block_tree_unreserve(tree);
    return 0;
}

/* Changes the bits of a leaf item in its place. */
static void update_leaf(struct block_tree *tree, struct block_cursor *cursor, uint128 leaf,
                        const struct block_bits *bits)
{
    struct block_page *page = cursor->page;
    unsigned int position = cursor->position;
    if (key_kind(page->key[position]) == BLOCK_MIXED) {
        mixed_write(page->payload[position].mixed, bits);
        block_tree_refresh(tree, cursor, tree->height);
        return;
    }
    uint128 key = key_make(leaf, BLOCK_LEAF, leaf_biggest_run(bits->taken));
    int change =
        __builtin_popcountll(page->payload[position].taken) - __builtin_popcountll(bits->taken);
    bool same_runs = key == page->key[position];
    page->payload[position].taken = bits->taken;
    page->key[position] = key;
    if (same_runs)
        block_tree_add_free(tree, cursor, tree->height, (uint128)change);
    else
        block_tree_refresh(tree, cursor, tree->height);
}

int block_tree_set_leaf(struct block_tree *tree, struct block_cursor *cursor, uint128 leaf,
                        const struct block_bits *bits, struct error *error)
{
    uint128 key = cursor->page->key[cursor->position];
    enum block_kind kind = block_bits_kind(bits);
    if (key_index(key) == leaf && key_kind(key) == kind && kind_is_leaf(kind)) {
        update_leaf(tree, cursor, leaf, bits);
        return 0;
    }
    struct block_item items[2] = {{.first = leaf, .kind = kind, .bits = *bits}};
    int result = block_tree_reserve_at(tree, cursor, 2, kind == BLOCK_MIXED ? 1 : 0, error);
    if (result != 0)
        return result;
    block_tree_replace(tree, cursor, leaf, leaf + 1, items, 1);
    block_tree_unreserve(tree);
    return 0;
}
