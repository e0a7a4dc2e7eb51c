/* The surface of the block tree: takes and gives back blocks, keeps the counts and the RoundRobin
 * pointers. The tree knows leaves; here they become addresses and CIDRs. */
#include "allocator/blocks_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const mode_names[] = {
    [BLOCKS_FIRST_MATCH] = "FirstMatch",
    [BLOCKS_ROUND_ROBIN] = "RoundRobin",
};

bool blocks_mode_parse(const char *word, enum blocks_mode *ret_mode)
{
    for (size_t i = 0; i < sizeof(mode_names) / sizeof(mode_names[0]); i++) {
        if (strcmp(word, mode_names[i]) == 0) {
            *ret_mode = (enum blocks_mode)i;
            return true;
        }
    }
    return false;
}

const char *blocks_mode_name(enum blocks_mode mode)
{
    return mode_names[mode];
}

struct blocks *blocks_new(const struct ranges *ranges, enum blocks_mode mode, struct error *error)
{
    struct blocks *blocks = calloc(1, sizeof(*blocks));
    if (blocks == NULL)
        goto no_memory;
    blocks->mode = mode;
    blocks->ranges = ranges_new();
    if (blocks->ranges == NULL)
        goto no_memory;
    if (mode == BLOCKS_ROUND_ROBIN) {
        blocks->next = calloc(BLOCKS_ROUND_ROBIN_MAXIMUM, sizeof(*blocks->next));
        if (blocks->next == NULL)
            goto no_memory;
    }
    if (blocks_add(blocks, ranges, error) != 0) {
        blocks_free(blocks);
        return NULL;
    }
    return blocks;

no_memory:
    blocks_free(blocks);
    (void)error_no_memory(error);
    return NULL;
}

void blocks_free(struct blocks *blocks)
{
    if (blocks == NULL)
        return;
    block_tree_free(blocks->tree);
    ranges_free(blocks->ranges);
    free(blocks->next);
    free(blocks);
}

enum blocks_mode blocks_mode(const struct blocks *blocks)
{
    return blocks->mode;
}

uint8_t blocks_family(const struct blocks *blocks)
{
    return blocks->family;
}

const struct ranges *blocks_ranges(const struct blocks *blocks)
{
    return blocks->ranges;
}

void blocks_counts(const struct blocks *blocks, struct blocks_counts *ret_counts)
{
    *ret_counts = blocks->counts;
}

/* ---- taking ---- */

static void count_taken(struct blocks *blocks, unsigned int host_bits)
{
    struct address_count size = address_count_power(host_bits);
    blocks->counts.used = address_count_add(blocks->counts.used, size);
    blocks->counts.free = address_count_subtract(blocks->counts.free, size);
}

/* Takes what was chosen; it is free. */
static int take(struct blocks *blocks, struct blocks_choice *choice, unsigned int host_bits,
                struct error *error)
{
    int result;
    if (host_bits >= LEAF_HOST_BITS) {
        uint128 end = choice->leaf + ((uint128)1 << (host_bits - LEAF_HOST_BITS));
        result =
            block_tree_set_run(blocks->tree, &choice->cursor, choice->leaf, end, BLOCK_BUSY, error);
    } else {
        choice->bits.taken |= leaf_mask(choice->offset, host_bits);
        result =
            block_tree_set_leaf(blocks->tree, &choice->cursor, choice->leaf, &choice->bits, error);
    }
    if (result == 0)
        count_taken(blocks, host_bits);
    return result;
}

/* The pointer for a prefix length, as the lowest address that a block of that size may start at.
 * One that no such block can start above is cleared. */
static uint128 next_pointer(struct blocks *blocks, unsigned int prefix_length,
                            unsigned int host_bits)
{
    if (blocks->next == NULL || blocks->next[prefix_length] == 0)
        return 0;
    uint128 rest = (blocks->next[prefix_length] - 1) | uint128_ones(host_bits);
    if (rest >= uint128_ones(address_bits(blocks->family))) {
        blocks->next[prefix_length] = 0;
        return 0;
    }
    return rest + 1;
}

static bool choose(struct blocks *blocks, unsigned int prefix_length, unsigned int host_bits,
                   struct blocks_choice *ret_choice)
{
    uint128 from = next_pointer(blocks, prefix_length, host_bits);
    if (blocks_choose(blocks->tree, host_bits, from, ret_choice))
        return true;
    if (from == 0)
        return false;
    blocks->next[prefix_length] = 0;
    return blocks_choose(blocks->tree, host_bits, 0, ret_choice);
}

int blocks_allocate(struct blocks *blocks, unsigned int prefix_length, struct cidr *ret_cidr,
                    struct error *error)
{
    if (prefix_length > address_bits(blocks->family))
        return error_set(error, -EINVAL, "a prefix length of %u is beyond IPv%u", prefix_length,
                         blocks->family);
    unsigned int host_bits = address_bits(blocks->family) - prefix_length;
    struct blocks_choice choice;
    if (blocks->tree == NULL || !choose(blocks, prefix_length, host_bits, &choice))
        return error_set(error, -ENOSPC, "no free block of /%u", prefix_length);
    uint128 first = choice.leaf << LEAF_HOST_BITS | choice.offset;
    int result = take(blocks, &choice, host_bits, error);
    if (result != 0)
        return result;
    if (blocks->next != NULL) {
        uint128 last = first | uint128_ones(host_bits);
        bool is_end = last == uint128_ones(address_bits(blocks->family));
        blocks->next[prefix_length] = is_end ? 0 : last + 1;
    }
    ret_cidr->address = uint128_to_address(blocks->family, first);
    ret_cidr->prefix_length = (uint8_t)prefix_length;
    return 0;
}

/* A CIDR as the tree sees it. */
struct place {
    struct block_cursor cursor;
    struct block_tile tile; /* at the first leaf */
    uint128 leaf;
    uint128 end;
    unsigned int host_bits;
    unsigned int offset;
    uint64_t mask; /* of the first leaf: the addresses meant */
};

/* false when the tree has nothing of that family. */
static bool place_of(const struct blocks *blocks, const struct cidr *cidr, struct place *ret_place)
{
    if (blocks->tree == NULL || cidr->address.family != blocks->family)
        return false;
    uint128 first = uint128_from_address(&cidr->address);
    uint128 leaf = first >> LEAF_HOST_BITS;
    ret_place->host_bits = address_bits(blocks->family) - cidr->prefix_length;
    ret_place->leaf = leaf;
    ret_place->offset = (unsigned int)(first & (LEAF_SIZE - 1));
    ret_place->mask = leaf_mask(ret_place->offset, ret_place->host_bits);
    ret_place->end = leaf + (ret_place->host_bits > LEAF_HOST_BITS
                                 ? (uint128)1 << (ret_place->host_bits - LEAF_HOST_BITS)
                                 : 1);
    block_tree_seek(blocks->tree, leaf, &ret_place->cursor);
    ret_place->tile = block_tree_tile(&ret_place->cursor, leaf);
    return true;
}

static bool place_is_free(const struct place *place)
{
    return place->end <= place->tile.end && (place->tile.bits.taken & place->mask) == 0;
}

static bool place_is_busy(const struct place *place)
{
    uint64_t busy = place->tile.bits.taken & ~place->tile.bits.outside;
    return place->end <= place->tile.end && (busy & place->mask) == place->mask;
}

static int refuse(const struct cidr *cidr, int code, const char *why, struct error *error)
{
    char text[CIDR_TEXT_SIZE];
    cidr_format(cidr, text);
    return error_set(error, code, "%s %s", text, why);
}

int blocks_busy(struct blocks *blocks, const struct cidr *cidr, struct error *error)
{
    struct place place;
    if (!ranges_covers(blocks->ranges, cidr) || !place_of(blocks, cidr, &place))
        return refuse(cidr, -ENOENT, "is outside the ranges", error);
    if (!place_is_free(&place))
        return refuse(cidr, -EEXIST, "is taken", error);
    struct blocks_choice choice = {.cursor = place.cursor,
                                   .leaf = place.leaf,
                                   .offset = place.offset,
                                   .bits = place.tile.bits};
    return take(blocks, &choice, place.host_bits, error);
}

/* ---- giving back ---- */

static void count_released(struct blocks *blocks, struct address_count freed,
                           struct address_count gone)
{
    struct blocks_counts *counts = &blocks->counts;
    struct address_count released = address_count_add(freed, gone);
    counts->used = address_count_subtract(counts->used, released);
    counts->free = address_count_add(counts->free, freed);
    counts->total = address_count_subtract(counts->total, gone);
    counts->pending = address_count_subtract(counts->pending, gone);
}

/* Gives back addresses of one leaf: those pending deletion go, the others are free. */
static int release_in_leaf(struct blocks *blocks, struct place *place, struct error *error)
{
    struct block_bits bits = place->tile.bits;
    if (place->tile.kind == BLOCK_BUSY && !address_count_is_zero(blocks->counts.pending)) {
        uint128 end;
        bits.active = blocks_active(blocks, place->leaf, &end);
    }
    uint64_t freed = place->mask & bits.active;
    uint64_t gone = place->mask & ~bits.active;
    bits.taken &= ~freed;
    bits.outside |= gone;
    int result = block_tree_set_leaf(blocks->tree, &place->cursor, place->leaf, &bits, error);
    if (result == 0)
        count_released(blocks, address_count_from((uint64_t)__builtin_popcountll(freed)),
                       address_count_from((uint64_t)__builtin_popcountll(gone)));
    return result;
}

int blocks_release(struct blocks *blocks, const struct cidr *cidr, struct error *error)
{
    struct place place;
    if (!place_of(blocks, cidr, &place) || !place_is_busy(&place))
        return refuse(cidr, -ENOENT, "is not taken", error);
    if (place.host_bits <= LEAF_HOST_BITS)
        return release_in_leaf(blocks, &place, error);
    if (!address_count_is_zero(blocks->counts.pending))
        return blocks_release_pending(blocks, cidr, error);
    int result =
        block_tree_set_run(blocks->tree, &place.cursor, place.leaf, place.end, BLOCK_FREE, error);
    if (result == 0)
        count_released(blocks, address_count_power(place.host_bits), address_count_from(0));
    return result;
}

/* ---- questions ---- */

bool blocks_is_free(const struct blocks *blocks, const struct cidr *cidr)
{
    struct place place;
    return place_of(blocks, cidr, &place) && place_is_free(&place);
}

bool blocks_is_busy(const struct blocks *blocks, const struct cidr *cidr)
{
    struct place place;
    return place_of(blocks, cidr, &place) && place_is_busy(&place);
}

bool blocks_largest_free(const struct blocks *blocks, unsigned int *ret_prefix_length)
{
    if (blocks->tree == NULL)
        return false;
    struct block_summary summary = block_tree_summary(blocks->tree);
    unsigned int bits = address_bits(blocks->family);
    if (summary.sizes != 0) {
        *ret_prefix_length = bits - LEAF_HOST_BITS - uint128_highest(summary.sizes);
        return true;
    }
    for (unsigned int host_bits = LEAF_HOST_BITS; host_bits-- > 0;) {
        if (leaf_runs_of(summary.runs, host_bits) != 0) {
            *ret_prefix_length = bits - host_bits;
            return true;
        }
    }
    return false;
}

bool blocks_nth_free(const struct blocks *blocks, uint64_t nth, struct address *ret_address)
{
    uint64_t free_count = address_count_saturated(blocks->counts.free);
    if (free_count == 0)
        return false;
    uint128 leaf;
    unsigned int offset;
    block_tree_nth_free(blocks->tree, nth < free_count ? nth : free_count - 1, &leaf, &offset);
    *ret_address = uint128_to_address(blocks->family, leaf << LEAF_HOST_BITS | offset);
    return true;
}

/* How many free addresses are below value. */
static uint128 free_below(const struct blocks *blocks, uint128 value)
{
    struct block_cursor cursor;
    uint128 leaf = value >> LEAF_HOST_BITS;
    uint64_t below = ((uint64_t)1 << (value & (LEAF_SIZE - 1))) - 1;
    block_tree_seek(blocks->tree, leaf, &cursor);
    struct block_tile tile = block_tree_tile(&cursor, leaf);
    return block_tree_summary(blocks->tree).free -
           block_tree_summary_from(blocks->tree, leaf).free +
           (unsigned int)__builtin_popcountll(~tile.bits.taken & below);
}

bool blocks_next_free(const struct blocks *blocks, const struct address *from,
                      struct address *ret_address)
{
    if (address_count_is_zero(blocks->counts.free))
        return false;
    uint128 nth = 0;
    if (from->family == blocks->family)
        nth = free_below(blocks, uint128_from_address(from));
    /* All of them are below: 2^128 of them can't be. */
    if (nth != 0 && nth == block_tree_summary(blocks->tree).free)
        nth = 0;
    uint128 leaf;
    unsigned int offset;
    block_tree_nth_free(blocks->tree, nth, &leaf, &offset);
    *ret_address = uint128_to_address(blocks->family, leaf << LEAF_HOST_BITS | offset);
    return true;
}

/* ---- RoundRobin state ---- */

size_t blocks_round_robin_export(const struct blocks *blocks,
                                 struct cidr ret_next[BLOCKS_ROUND_ROBIN_MAXIMUM])
{
    size_t count = 0;
    if (blocks->next == NULL || blocks->family == 0)
        return 0;
    for (unsigned int i = 0; i <= address_bits(blocks->family); i++) {
        if (blocks->next[i] != 0)
            ret_next[count++] =
                (struct cidr){.address = uint128_to_address(blocks->family, blocks->next[i]),
                              .prefix_length = (uint8_t)i};
    }
    return count;
}

void blocks_round_robin_import(struct blocks *blocks, const struct cidr *next, size_t count)
{
    if (blocks->next == NULL)
        return;
    memset(blocks->next, 0, BLOCKS_ROUND_ROBIN_MAXIMUM * sizeof(*blocks->next));
    for (size_t i = 0; i < count; i++) {
        if (next[i].address.family == blocks->family &&
            next[i].prefix_length <= address_bits(blocks->family))
            blocks->next[next[i].prefix_length] = uint128_from_address(&next[i].address);
    }
}

/* ---- for tests ---- */

const char *blocks_check(const struct blocks *blocks)
{
    const struct blocks_counts *counts = &blocks->counts;
    if (address_count_compare(counts->total, address_count_add(counts->used, counts->free)) != 0)
        return "total isn't used and free";
    struct address_count active = address_count_subtract(counts->total, counts->pending);
    if (address_count_compare(active, ranges_size(blocks->ranges)) != 0)
        return "total isn't the ranges and what is pending";
    if (blocks->tree == NULL)
        return NULL;
    struct block_summary summary = block_tree_summary(blocks->tree);
    if (summary.free != uint128_make(counts->free.high, counts->free.low))
        return "free isn't what the tree has";
    return block_tree_check(blocks->tree);
}

size_t blocks_memory(const struct blocks *blocks)
{
    return sizeof(*blocks) +
           (blocks->next != NULL ? BLOCKS_ROUND_ROBIN_MAXIMUM * sizeof(*blocks->next) : 0) +
           (blocks->tree != NULL ? block_tree_memory(blocks->tree) : 0);
}
