/* What the items of the block tree mean, and the one way to change them: block_tree_replace writes
 * the items of one stretch anew and joins them with what lies on both sides. */
#include "allocator/block_tree_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

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
    uint128 end = page_item_end(page, cursor->position);
    uint128 gap = page_item_gap(page, cursor->position, end);
    if (leaf >= gap) {
        tile.first = gap;
        tile.end = end;
        tile.kind = BLOCK_FREE;
    } else {
        tile.end = gap;
    }
    if (tile.kind == BLOCK_LEAF)
        tile.bits = (struct block_bits){.taken = page->payload[cursor->position].taken,
                                        .active = LEAF_FULL};
    else if (tile.kind == BLOCK_MIXED)
        tile.bits = page->payload[cursor->position].mixed->bits;
    else
        tile.bits = run_bits(tile.kind);
    return tile;
}

/* ---- items in a page ---- */

/* An item that is to be written. */
struct entry {
    uint128 first;
    enum block_kind kind;
    uint64_t length; /* BUSY, as in its payload */
    struct block_bits bits;
};

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
                       const struct entry *entry)
{
    unsigned int biggest_run = 0;
    union block_payload payload = {.length = entry->length};
    if (entry->kind == BLOCK_LEAF) {
        biggest_run = leaf_biggest_run(entry->bits.taken);
        payload.taken = entry->bits.taken;
    } else if (entry->kind == BLOCK_MIXED) {
        payload.mixed = take_mixed(tree);
        mixed_write(payload.mixed, &entry->bits);
    }
    page->payload[position] = payload;
    page->key[position] = key_make(entry->first, entry->kind, biggest_run);
}

/* Frees what an item holds. Its memory goes to the reserve: a replacement may need it again. */
static void item_clear(struct block_tree *tree, struct block_page *page, unsigned int position)
{
    if (key_kind(page->key[position]) != BLOCK_MIXED)
        return;
    struct block_mixed *mixed = page->payload[position].mixed;
    mixed->next = tree->spare_mixed;
    tree->spare_mixed = mixed;
    tree->mixed_count--;
}

/* Replaces removed items from position on by the entries. There is room. */
static void page_replace(struct block_tree *tree, struct block_page *page, unsigned int position,
                         unsigned int removed, const struct entry *entries, unsigned int count)
{
    for (unsigned int i = position; i < position + removed; i++)
        item_clear(tree, page, i);
    unsigned int behind = position + removed;
    if (removed != count) {
        size_t moved = page->count - behind;
        memmove(&page->key[position + count], &page->key[behind], moved * sizeof(page->key[0]));
        memmove(&page->payload[position + count], &page->payload[behind],
                moved * sizeof(page->payload[0]));
        page->count = page->count - removed + count;
    }
    for (unsigned int i = 0; i < count; i++)
        item_write(tree, page, position + i, &entries[i]);
}

/* Removes the first item of the page behind the cursor's. */
static void remove_behind(struct block_tree *tree, const struct block_cursor *cursor)
{
    struct block_cursor behind;
    block_tree_seek(tree, cursor->page->end, &behind);
    page_replace(tree, behind.page, 0, 1, NULL, 0);
    if (behind.page->count == 0) {
        block_tree_drop_page(tree, &behind);
        return;
    }
    block_tree_refresh(tree, &behind, tree->height);
    block_tree_refresh_previous(tree, behind.page);
    block_tree_merge_path(tree, &behind);
}

/* ---- replacement ---- */

/* A replacement under way: stretches and leaves are fed in order; those that are one are joined,
 * and the items that say so are written to the tree, some at a time. */
struct splice {
    struct block_tree *tree;
    struct block_cursor *cursor;
    size_t removed; /* items that make place, from the cursor's on, or behind it when it is kept */
    bool kept;      /* the cursor's item stays */
    bool begun;     /* the first entries are written */
    uint128 anchor; /* the index of the last item before what is written next */
    const struct block_page *left_page; /* of the item before first; NULL when there is none */
    unsigned int left_position;
    enum block_kind last; /* what was fed last */
    uint128 busy_end;     /* where it ends, when that is BUSY */
    bool is_left;         /* waiting is the item before first, as it is now */
    bool has_waiting;
    struct entry waiting; /* may still change: a BUSY item gets its length from what follows */
    unsigned int count;
    struct entry entries[INSERT_AT_ONCE];
};

/* The first entries take the place of what is removed. */
static void splice_begin(struct splice *splice)
{
    struct block_tree *tree = splice->tree;
    struct block_cursor *cursor = splice->cursor;
    unsigned int behind = splice->kept ? 1 : 0;
    splice->begun = true;
    while (splice->removed > cursor->page->count - cursor->position - behind) {
        remove_behind(tree, cursor);
        splice->removed--;
        block_tree_seek(tree, splice->anchor, cursor);
    }
    struct block_page *page = cursor->page;
    unsigned int removed = (unsigned int)splice->removed;
    unsigned int position = cursor->position + behind;
    if (splice->count == 0 && removed == page->count) {
        page_replace(tree, page, 0, removed, NULL, 0);
        block_tree_drop_page(tree, cursor);
        return;
    }
    /* As many as the page holds now; for more than was there room has to be made. */
    unsigned int count = splice->count;
    if (page->count - removed + count > PAGE_ITEMS)
        count = removed;
    assert(count <= splice->count);
    unsigned int low = position > 0 ? position - 1 : 0;
    struct block_summary before = block_page_summary_of(page, low, position + removed);
    page_replace(tree, page, position, removed, splice->entries, count);
    struct block_summary after = block_page_summary_of(page, low, position + count);
    block_tree_adjust(tree, cursor, &before, &after);
    if (position == 0)
        block_tree_refresh_previous(tree, page);
    if (count > 0)
        splice->anchor = splice->entries[count - 1].first;
    if (removed > count)
        block_tree_merge_path(tree, cursor);
    splice->count -= count;
    memmove(splice->entries, &splice->entries[count], splice->count * sizeof(splice->entries[0]));
}

/* Writes the entries that have come together. */
static void splice_flush(struct splice *splice)
{
    struct block_tree *tree = splice->tree;
    struct block_cursor *cursor = splice->cursor;
    if (!splice->begun)
        splice_begin(splice);
    if (splice->count == 0)
        return;
    block_tree_seek(tree, splice->anchor, cursor);
    block_tree_make_room(tree, cursor, splice->anchor, splice->count);
    page_replace(tree, cursor->page, cursor->position + 1, 0, splice->entries, splice->count);
    block_tree_refresh(tree, cursor, tree->height);
    splice->anchor = splice->entries[splice->count - 1].first;
    splice->count = 0;
}

/* The item before first was part of what was fed; it is written anew only when it has changed. */
static void splice_settle_left(struct splice *splice)
{
    const struct block_page *page = splice->left_page;
    unsigned int position = splice->left_position;
    splice->is_left = false;
    if (splice->waiting.kind != BLOCK_BUSY ||
        page->payload[position].length == splice->waiting.length)
        return;
    if (!splice->kept)
        block_tree_seek(splice->tree, splice->waiting.first, splice->cursor);
    splice->kept = false;
    splice->anchor = splice->waiting.first;
    splice->removed++;
    splice->entries[splice->count++] = splice->waiting;
}

static void splice_push_waiting(struct splice *splice)
{
    if (!splice->has_waiting)
        return;
    splice->has_waiting = false;
    if (splice->is_left) {
        splice_settle_left(splice);
        return;
    }
    if (splice->count == INSERT_AT_ONCE)
        splice_flush(splice);
    splice->entries[splice->count++] = splice->waiting;
}

static void splice_feed(struct splice *splice, enum block_kind kind, uint128 first, uint128 end,
                        const struct block_bits *bits)
{
    if (first == end)
        return;
    bool joins = splice->last == kind && !kind_is_leaf(kind);
    splice->last = kind;
    if (kind == BLOCK_BUSY)
        splice->busy_end = end;
    if (joins)
        return;
    if (kind == BLOCK_FREE && splice->has_waiting) {
        if (kind_is_leaf(splice->waiting.kind))
            return;
        if (splice->waiting.kind == BLOCK_BUSY) {
            splice->waiting.length = length_encode(splice->busy_end - splice->waiting.first);
            if (splice->waiting.length != 0)
                return;
        }
    }
    splice_push_waiting(splice);
    splice->has_waiting = true;
    splice->waiting = (struct entry){.first = first, .kind = kind};
    if (bits != NULL)
        splice->waiting.bits = *bits;
}

/* Feeds what an item says of [first, end). */
static void splice_feed_item(struct splice *splice, const struct block_page *page,
                             unsigned int position, uint128 first, uint128 end)
{
    uint128 gap = page_item_gap(page, position, page_item_end(page, position));
    uint128 solid_end = gap < end ? gap : end;
    if (first < solid_end)
        splice_feed(splice, key_kind(page->key[position]), first, solid_end, NULL);
    if (gap < end)
        splice_feed(splice, BLOCK_FREE, first > gap ? first : gap, end, NULL);
}

/* Begins with the item that the leaf before first belongs to. */
static void splice_feed_left(struct splice *splice, uint128 first)
{
    const struct block_page *page = splice->cursor->page;
    unsigned int position = splice->cursor->position;
    uint128 start = key_index(page->key[position]);
    splice->kept = start < first;
    splice->anchor = start;
    if (!splice->kept) {
        if (position == 0) {
            page = page->previous;
            position = page != NULL ? page->count : 0;
        }
        position--;
    }
    splice->left_page = page;
    splice->left_position = position;
    splice->last = BLOCK_LEAF; /* joins with nothing */
    if (page == NULL)
        return;
    start = key_index(page->key[position]);
    splice_feed_item(splice, page, position, start, first);
    splice->is_left = true;
}

/* Moves to the next item; false behind the last. */
static bool page_step(const struct block_page **page, unsigned int *position)
{
    if (++*position < (*page)->count)
        return true;
    *page = (*page)->next;
    *position = 0;
    return *page != NULL;
}

/* A stretch that lies behind what is replaced, read before anything changes. */
struct tail {
    enum block_kind kind;
    uint128 first;
    uint128 end;
};

/* Collects what is behind end up to the next item, and that item too if it is one with what comes
 * before it. Counts the items that make place. last: the kind of the last element. */
static unsigned int splice_tails(struct splice *splice, uint128 end, enum block_kind last,
                                 struct tail ret_tails[4])
{
    const struct block_page *page = splice->cursor->page;
    unsigned int position = splice->cursor->position;
    const struct block_page *next = page;
    unsigned int next_position = position;
    unsigned int count = 0;
    splice->removed = splice->kept ? 0 : 1;
    bool more = page_step(&next, &next_position);
    while (more && key_index(next->key[next_position]) < end) {
        splice->removed++;
        page = next;
        position = next_position;
        more = page_step(&next, &next_position);
    }
    for (unsigned int i = 0; i < 2; i++) {
        uint128 item_end = page_item_end(page, position);
        uint128 gap = page_item_gap(page, position, item_end);
        uint128 first = end < gap ? gap : end;
        enum block_kind kind = key_kind(page->key[position]);
        if (end < gap)
            ret_tails[count++] = (struct tail){.kind = kind, .first = end, .end = gap};
        if (first < item_end)
            ret_tails[count++] = (struct tail){.kind = BLOCK_FREE, .first = first, .end = item_end};
        if (count > 0)
            last = ret_tails[count - 1].kind;
        if (!more || key_kind(next->key[next_position]) != last || kind_is_leaf(last))
            break;
        /* One with what comes before; it can't be one with what comes behind it. */
        splice->removed += i == 0 ? 1 : 0;
        page = next;
        position = next_position;
        end = key_index(page->key[position]);
        more = false;
    }
    return count;
}

void block_tree_replace(struct block_tree *tree, struct block_cursor *cursor, uint128 first,
                        uint128 end, const struct block_item *elements, size_t count)
{
    struct tail tails[4];
    struct splice splice;
    splice.tree = tree;
    splice.cursor = cursor;
    splice.begun = false;
    splice.is_left = false;
    splice.has_waiting = false;
    splice.busy_end = 0;
    splice.count = 0;
    splice_feed_left(&splice, first);
    unsigned int tail_count = splice_tails(&splice, end, elements[count - 1].kind, tails);
    for (size_t i = 0; i < count; i++)
        splice_feed(&splice, elements[i].kind, elements[i].first,
                    i + 1 < count ? elements[i + 1].first : end, &elements[i].bits);
    for (unsigned int i = 0; i < tail_count; i++)
        splice_feed(&splice, tails[i].kind, tails[i].first, tails[i].end, NULL);
    splice_push_waiting(&splice);
    splice_flush(&splice);
}

int block_tree_set_run(struct block_tree *tree, struct block_cursor *cursor, uint128 first,
                       uint128 end, enum block_kind kind, struct error *error)
{
    struct block_item element = {.first = first, .kind = kind};
    int result = block_tree_reserve_at(tree, cursor, SPLICE_GROWTH, 0, error);
    if (result != 0)
        return result;
    block_tree_replace(tree, cursor, first, end, &element, 1);
    block_tree_unreserve(tree);
    return 0;
}

static struct block_summary item_summary(const struct block_page *page, unsigned int position)
{
    return (struct block_summary){
        .free = (unsigned int)__builtin_popcountll(~page_item_taken(page, position)),
        .runs = page_item_runs(page, position)};
}

/* Changes the bits of a leaf item in its place. */
static void update_leaf(struct block_tree *tree, const struct block_cursor *cursor, uint128 leaf,
                        const struct block_bits *bits)
{
    struct block_page *page = cursor->page;
    unsigned int position = cursor->position;
    struct block_summary before = item_summary(page, position);
    if (key_kind(page->key[position]) == BLOCK_MIXED) {
        mixed_write(page->payload[position].mixed, bits);
    } else {
        page->payload[position].taken = bits->taken;
        page->key[position] = key_make(leaf, BLOCK_LEAF, leaf_biggest_run(bits->taken));
    }
    struct block_summary after = item_summary(page, position);
    block_tree_adjust(tree, cursor, &before, &after);
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
    struct block_item element = {.first = leaf, .kind = kind, .bits = *bits};
    int result =
        block_tree_reserve_at(tree, cursor, SPLICE_GROWTH, kind == BLOCK_MIXED ? 1 : 0, error);
    if (result != 0)
        return result;
    block_tree_replace(tree, cursor, leaf, leaf + 1, &element, 1);
    block_tree_unreserve(tree);
    return 0;
}
