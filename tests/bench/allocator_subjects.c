/* What bench_allocator measures: the allocator of this project, and the search that MetalLB does.
 *
 * That one goes through the addresses of a pool from the first to the first that isn't in the map of
 * those that are in use. Here the map is an open hash table of numbers with linear probing; theirs
 * is one of strings, with the text of every address made on the way, so this is kinder. */
#include "tests/bench/allocator_subjects.h"

#include "allocator/blocks.h"
#include "allocator/ranges.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* ---- ours ---- */

static void *ours_make(const struct cidr *space, bool round_robin)
{
    _cleanup_ranges_ struct ranges *ranges = ranges_new();
    if (ranges == NULL || ranges_merge_cidr(ranges, space, NULL) != 0)
        return NULL;
    return blocks_new(ranges, round_robin ? BLOCKS_ROUND_ROBIN : BLOCKS_FIRST_MATCH, NULL);
}

static void ours_drop(void *state)
{
    blocks_free(state);
}

static bool ours_allocate(void *state, unsigned int prefix_length, struct cidr *ret_cidr)
{
    return blocks_allocate(state, prefix_length, ret_cidr, NULL) == 0;
}

static bool ours_take(void *state, const struct cidr *cidr)
{
    return blocks_busy(state, cidr, NULL) == 0;
}

static bool ours_give_back(void *state, const struct cidr *cidr)
{
    return blocks_release(state, cidr, NULL) == 0;
}

/* ---- scan ---- */

#define SCAN_SLOTS_LEAST 64U

struct scan {
    struct cidr space;
    uint64_t *slots; /* offset in the space + 1; 0 is empty */
    uint64_t mask;   /* the number of slots, a power of two, less one */
    uint64_t count;
};

static void *scan_make(const struct cidr *space, bool round_robin)
{
    (void)round_robin;
    struct scan *scan = calloc(1, sizeof(*scan));
    if (scan == NULL)
        return NULL;
    scan->space = *space;
    scan->mask = SCAN_SLOTS_LEAST - 1;
    scan->slots = calloc(SCAN_SLOTS_LEAST, sizeof(*scan->slots));
    if (scan->slots == NULL) {
        free(scan);
        return NULL;
    }
    return scan;
}

static void scan_drop(void *state)
{
    struct scan *scan = state;
    if (scan == NULL)
        return;
    free(scan->slots);
    free(scan);
}

static uint64_t scan_home(const struct scan *scan, uint64_t entry)
{
    uint64_t hash = entry * UINT64_C(0x9e3779b97f4a7c15);
    return (hash ^ hash >> 32) & scan->mask;
}

/* The slot of the entry, or the empty one where it would go. */
static uint64_t scan_slot(const struct scan *scan, uint64_t entry)
{
    uint64_t slot = scan_home(scan, entry);
    while (scan->slots[slot] != 0 && scan->slots[slot] != entry)
        slot = (slot + 1) & scan->mask;
    return slot;
}

static bool scan_grow(struct scan *scan)
{
    uint64_t *old = scan->slots;
    uint64_t old_mask = scan->mask;
    uint64_t *slots = calloc(2 * (old_mask + 1), sizeof(*slots));
    if (slots == NULL)
        return false;
    scan->slots = slots;
    scan->mask = 2 * old_mask + 1;
    for (uint64_t i = 0; i <= old_mask; i++) {
        if (old[i] != 0)
            slots[scan_slot(scan, old[i])] = old[i];
    }
    free(old);
    return true;
}

static bool scan_insert(struct scan *scan, uint64_t entry)
{
    uint64_t slot = scan_slot(scan, entry);
    if (scan->slots[slot] != 0)
        return false;
    scan->slots[slot] = entry;
    scan->count++;
    return scan->count * 2 <= scan->mask || scan_grow(scan);
}

static uint64_t scan_entry(const struct scan *scan, const struct cidr *cidr)
{
    return cidr->address.low - scan->space.address.low + 1;
}

static bool scan_allocate(void *state, unsigned int prefix_length, struct cidr *ret_cidr)
{
    struct scan *scan = state;
    unsigned int bits = address_bits(scan->space.address.family) - scan->space.prefix_length;
    uint64_t last = bits >= 64 ? UINT64_MAX : UINT64_C(1) << bits;
    (void)prefix_length;
    for (uint64_t entry = 1; entry <= last; entry++) {
        if (scan->slots[scan_slot(scan, entry)] != 0)
            continue;
        *ret_cidr = cidr_single(&scan->space.address);
        ret_cidr->address.low += entry - 1;
        return scan_insert(scan, entry);
    }
    return false;
}

static bool scan_take(void *state, const struct cidr *cidr)
{
    return scan_insert(state, scan_entry(state, cidr));
}

/* Takes an entry out; those behind it that had to give way to it move up. */
static bool scan_give_back(void *state, const struct cidr *cidr)
{
    struct scan *scan = state;
    uint64_t hole = scan_slot(scan, scan_entry(scan, cidr));
    if (scan->slots[hole] == 0)
        return false;
    scan->count--;
    for (uint64_t slot = (hole + 1) & scan->mask; scan->slots[slot] != 0;
         slot = (slot + 1) & scan->mask) {
        uint64_t home = scan_home(scan, scan->slots[slot]);
        if (((slot - home) & scan->mask) < ((slot - hole) & scan->mask))
            continue;
        scan->slots[hole] = scan->slots[slot];
        hole = slot;
    }
    scan->slots[hole] = 0;
    return true;
}

static const struct subject subjects[] = {
    {"ours", true, true, ours_make, ours_drop, ours_allocate, ours_take, ours_give_back},
    {"scan", false, false, scan_make, scan_drop, scan_allocate, scan_take, scan_give_back},
};

const struct subject *subject_find(const char *name)
{
    for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
        if (strcmp(name, subjects[i].name) == 0)
            return &subjects[i];
    }
    return NULL;
}
