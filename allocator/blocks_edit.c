/* Growing and shrinking the space, and giving back what is pending deletion. These touch any number
 * of leaves, so they are done in two steps: first everything that will change is written down,
 * which may fail, then the tree is changed, which can't. */
#include "allocator/blocks_private.h"

#include <errno.h>
#include <stdlib.h>

/* How the addresses of a leaf change hands, in numbers. */
struct tally {
    struct address_count added;   /* outside -> free */
    struct address_count removed; /* free -> outside */
    struct address_count kept;    /* pending -> busy */
    struct address_count marked;  /* busy -> pending */
    struct address_count freed;   /* busy -> free */
    struct address_count gone;    /* pending -> outside */
};

/* The new items of [first, end): items[from] and following. */
struct stretch {
    uint128 first;
    uint128 end;
    size_t from;
    size_t count;
};

struct edit {
    struct block_item *items;
    size_t item_count;
    size_t item_capacity;
    struct stretch *stretches;
    size_t stretch_count;
    size_t stretch_capacity;
    size_t mixed;
    struct tally tally;
};

static void edit_clear(struct edit *edit)
{
    free(edit->items);
    free(edit->stretches);
}

/* An array with room for one more element, or NULL; the old one stays valid then. */
static void *grow(void *array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return array;
    size_t wanted = *capacity == 0 ? 16 : *capacity * 2;
    void *bigger = reallocarray(array, wanted, size);
    if (bigger != NULL)
        *capacity = wanted;
    return bigger;
}

static int edit_push_item(struct edit *edit, const struct block_item *item, struct error *error)
{
    void *items = grow(edit->items, edit->item_count, &edit->item_capacity, sizeof(*edit->items));
    if (items == NULL)
        return error_no_memory(error);
    edit->items = items;
    edit->items[edit->item_count++] = *item;
    return 0;
}

/* Notes that [first, end) becomes bits. */
static int edit_push(struct edit *edit, uint128 first, uint128 end, const struct block_bits *bits,
                     struct error *error)
{
    struct stretch *last =
        edit->stretch_count > 0 ? &edit->stretches[edit->stretch_count - 1] : NULL;
    if (last == NULL || last->end != first) {
        void *stretches = grow(edit->stretches, edit->stretch_count, &edit->stretch_capacity,
                               sizeof(*edit->stretches));
        if (stretches == NULL)
            return error_no_memory(error);
        edit->stretches = stretches;
        last = &edit->stretches[edit->stretch_count++];
        *last = (struct stretch){.first = first, .from = edit->item_count};
    }
    struct block_item item = {.first = first, .kind = block_bits_kind(bits), .bits = *bits};
    if (edit_push_item(edit, &item, error) != 0)
        return -ENOMEM;
    edit->mixed += item.kind == BLOCK_MIXED ? 1 : 0;
    last->end = end;
    last->count++;
    return 0;
}

/* What an operation does to the bits of a leaf, of which mask are meant; it tallies for leaves of
 * them. */
typedef void edit_change(struct block_bits *bits, uint64_t mask, uint128 leaves,
                         struct tally *tally);

/* Adds leaves times the addresses in mask. More than one leaf means all of their addresses or
 * none. */
static void count(struct address_count *ret_sum, uint64_t mask, uint128 leaves)
{
    uint128 value = leaves == 1 ? (uint128)__builtin_popcountll(mask)
                    : mask != 0 ? leaves << LEAF_HOST_BITS
                                : 0;
    struct address_count some = {
        .carry = leaves != 1 && mask != 0 ? (uint64_t)(leaves >> (128 - LEAF_HOST_BITS)) : 0,
        .high = uint128_high(value),
        .low = uint128_low(value)};
    *ret_sum = address_count_add(*ret_sum, some);
}

static uint64_t pending_bits(const struct block_bits *bits)
{
    return ~(bits->outside | bits->active);
}

static void change_add(struct block_bits *bits, uint64_t mask, uint128 leaves, struct tally *tally)
{
    uint64_t added = bits->outside & mask;
    count(&tally->added, added, leaves);
    count(&tally->kept, pending_bits(bits) & mask, leaves);
    bits->outside &= ~mask;
    bits->taken &= ~added;
    bits->active |= mask;
}

static void change_delete(struct block_bits *bits, uint64_t mask, uint128 leaves,
                          struct tally *tally)
{
    uint64_t removed = mask & ~bits->taken;
    count(&tally->removed, removed, leaves);
    count(&tally->marked, mask & bits->active & bits->taken, leaves);
    bits->outside |= removed;
    bits->taken |= removed;
    bits->active &= ~mask;
}

static void change_release(struct block_bits *bits, uint64_t mask, uint128 leaves,
                           struct tally *tally)
{
    uint64_t freed = mask & bits->active;
    uint64_t gone = mask & pending_bits(bits);
    count(&tally->freed, freed, leaves);
    count(&tally->gone, gone, leaves);
    bits->taken &= ~freed;
    bits->outside |= gone;
}

/* Writes down what change does to the addresses of where. */
static int edit_build(struct edit *edit, const struct blocks *blocks, const struct ranges *where,
                      edit_change *change, struct error *error)
{
    uint128 tree_end = block_tree_end(blocks->tree);
    for (uint128 leaf = 0; leaf < tree_end;) {
        struct ranges_index end_index;
        uint64_t mask = ranges_leaf_mask(
            where, (struct ranges_index){.high = uint128_high(leaf), .low = uint128_low(leaf)},
            &end_index);
        uint128 end = uint128_make(end_index.high, end_index.low);
        if (mask == 0) {
            leaf = end;
            continue;
        }
        struct block_cursor cursor;
        block_tree_seek(blocks->tree, leaf, &cursor);
        struct block_tile tile = block_tree_tile(&cursor, leaf);
        if (tile.end < end)
            end = tile.end;
        if (tile.kind == BLOCK_BUSY) {
            uint128 active_end;
            tile.bits.active = blocks_active(blocks, leaf, &active_end);
            if (active_end < end)
                end = active_end;
        }
        change(&tile.bits, mask, end - leaf, &edit->tally);
        if (edit_push(edit, leaf, end, &tile.bits, error) != 0)
            return -ENOMEM;
        leaf = end;
    }
    return 0;
}

static void edit_apply(struct edit *edit, struct blocks *blocks)
{
    for (size_t i = 0; i < edit->stretch_count; i++) {
        const struct stretch *stretch = &edit->stretches[i];
        struct block_cursor cursor;
        block_tree_seek(blocks->tree, stretch->first, &cursor);
        block_tree_replace(blocks->tree, &cursor, stretch->first, stretch->end,
                           &edit->items[stretch->from], stretch->count);
    }
    block_tree_unreserve(blocks->tree);
    const struct tally *tally = &edit->tally;
    struct blocks_counts *counts = &blocks->counts;
    struct blocks_counts old = *counts;
    counts->pending = address_count_subtract(address_count_add(old.pending, tally->marked),
                                             address_count_add(tally->kept, tally->gone));
    counts->used = address_count_subtract(old.used, address_count_add(tally->freed, tally->gone));
    counts->free = address_count_subtract(
        address_count_add(old.free, address_count_add(tally->added, tally->freed)), tally->removed);
    counts->total = address_count_add(counts->used, counts->free);
}

/* Does change to the addresses of where, and makes ranges those of blocks. Consumes ranges, also on
 * failure. */
static int edit_run(struct blocks *blocks, const struct ranges *where, edit_change *change,
                    struct ranges *ranges_take, struct error *error)
{
    struct edit edit = {0};
    int result = edit_build(&edit, blocks, where, change, error);
    if (result == 0)
        result = block_tree_reserve(blocks->tree, edit.stretch_count, edit.item_count, edit.mixed,
                                    error);
    if (result == 0) {
        edit_apply(&edit, blocks);
        if (ranges_take != NULL) {
            ranges_free(blocks->ranges);
            blocks->ranges = ranges_take;
            ranges_take = NULL;
        }
    }
    edit_clear(&edit);
    ranges_free(ranges_take);
    return result;
}

static int add(struct blocks *blocks, const struct ranges *ranges, struct error *error)
{
    _cleanup_ranges_ struct ranges *fresh = ranges_copy(ranges);
    struct ranges *all = ranges_copy(blocks->ranges);
    int result = fresh == NULL || all == NULL ? error_no_memory(error)
                                              : ranges_subtract(fresh, blocks->ranges, error);
    if (result == 0)
        result = ranges_merge_all(all, ranges, error);
    if (result != 0) {
        ranges_free(all);
        return result;
    }
    return edit_run(blocks, fresh, change_add, all, error);
}

int blocks_add(struct blocks *blocks, const struct ranges *ranges, struct error *error)
{
    if (ranges_is_empty(ranges))
        return 0;
    if (blocks->family != 0 && blocks->family != ranges_family(ranges))
        return error_set(error, -EINVAL, "an IPv%u range for a list of IPv%u",
                         ranges_family(ranges), blocks->family);
    bool is_first = blocks->tree == NULL;
    if (is_first) {
        unsigned int bits = address_bits(ranges_family(ranges));
        blocks->tree = block_tree_new(bits - LEAF_HOST_BITS);
        if (blocks->tree == NULL)
            return error_no_memory(error);
        blocks->family = ranges_family(ranges);
    }
    int result = add(blocks, ranges, error);
    if (result != 0 && is_first) {
        block_tree_free(blocks->tree);
        blocks->tree = NULL;
        blocks->family = 0;
    }
    return result;
}

int blocks_delete(struct blocks *blocks, const struct ranges *ranges, struct error *error)
{
    if (blocks->tree == NULL || !ranges_overlap(blocks->ranges, ranges, NULL))
        return 0;
    _cleanup_ranges_ struct ranges *doomed = ranges_copy(blocks->ranges);
    struct ranges *rest = ranges_copy(blocks->ranges);
    int result = doomed == NULL || rest == NULL ? error_no_memory(error)
                                                : ranges_subtract(rest, ranges, error);
    if (result == 0)
        result = ranges_subtract(doomed, rest, error);
    if (result != 0) {
        ranges_free(rest);
        return result;
    }
    return edit_run(blocks, doomed, change_delete, rest, error);
}

int blocks_release_pending(struct blocks *blocks, const struct cidr *cidr, struct error *error)
{
    _cleanup_ranges_ struct ranges *where = ranges_new();
    int result = where == NULL ? error_no_memory(error) : ranges_merge_cidr(where, cidr, error);
    if (result != 0)
        return result;
    return edit_run(blocks, where, change_release, NULL, error);
}
