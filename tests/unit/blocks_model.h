/* A second, slow telling of the rules of allocator/blocks.h: every address has a state of its own,
 * and an allocation is the scan over all blocks that the rules are written as. The property tests
 * and the fuzz target compare the two after every operation. It shares no code with the allocator
 * but struct cidr. */
#ifndef IPWARDEN_TESTS_BLOCKS_MODEL_H
#define IPWARDEN_TESTS_BLOCKS_MODEL_H

#include "allocator/blocks.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum model_state { MODEL_OUTSIDE, MODEL_FREE, MODEL_BUSY, MODEL_PENDING };

typedef unsigned __int128 model_number;

/* 2^bits addresses from base on, which is a multiple of 2^bits. Everything else is outside for
 * ever. */
struct model {
    uint8_t family;
    bool round_robin;
    unsigned int bits;
    model_number base;
    uint8_t *state;
    model_number next[129];
    size_t counts[4]; /* by state */
};

/* A block as the scan sees it: offset from base, 2^host_bits addresses. */
struct model_block {
    size_t first;
    unsigned int host_bits;
};

struct model_scan {
    const struct model *model;
    unsigned int host_bits; /* asked for */
    model_number from;      /* room counts at or above this address */
    bool found;
    bool stopped;
    struct model_block block;
};

static inline void model_init(struct model *model, uint8_t family, bool round_robin,
                              model_number base, unsigned int bits)
{
    *model =
        (struct model){.family = family, .round_robin = round_robin, .bits = bits, .base = base};
    model->state = calloc((size_t)1 << bits, 1);
    if (model->state == NULL)
        abort();
    model->counts[MODEL_OUTSIDE] = (size_t)1 << bits;
}

static inline void model_clear(struct model *model)
{
    free(model->state);
}

static inline void model_set(struct model *model, size_t offset, enum model_state state)
{
    model->counts[model->state[offset]]--;
    model->state[offset] = (uint8_t)state;
    model->counts[state]++;
}

static inline struct address model_address(const struct model *model, model_number value)
{
    return (struct address){
        .family = model->family, .high = (uint64_t)(value >> 64), .low = (uint64_t)value};
}

static inline model_number model_value(const struct address *address)
{
    return (model_number)address->high << 64 | address->low;
}

static inline struct cidr model_cidr(const struct model *model, size_t first,
                                     unsigned int host_bits)
{
    return (struct cidr){.address = model_address(model, model->base + first),
                         .prefix_length = (uint8_t)(address_bits(model->family) - host_bits)};
}

static inline bool model_all(const struct model *model, size_t first, size_t count,
                             enum model_state state, enum model_state or_state)
{
    for (size_t i = first; i < first + count; i++) {
        if (model->state[i] != state && model->state[i] != or_state)
            return false;
    }
    return true;
}

static inline bool model_any(const struct model *model, size_t first, size_t count,
                             enum model_state state, enum model_state or_state)
{
    for (size_t i = first; i < first + count; i++) {
        if (model->state[i] == state || model->state[i] == or_state)
            return true;
    }
    return false;
}

/* The lowest aligned run of 2^host_bits free addresses of a block, at or above from; -1: none. */
static inline long model_lowest_run(const struct model *model, const struct model_block *block,
                                    unsigned int host_bits, model_number from)
{
    size_t size = (size_t)1 << host_bits;
    if (host_bits > block->host_bits)
        return -1;
    for (size_t at = block->first; at < block->first + ((size_t)1 << block->host_bits);
         at += size) {
        if (model->base + at >= from && model_all(model, at, size, MODEL_FREE, MODEL_FREE))
            return (long)at;
    }
    return -1;
}

/* One step of the scan. Returns false when the scan ends here. */
static inline void model_consider(struct model_scan *scan, struct model_block block, bool is_leaf)
{
    const struct model *model = scan->model;
    if (scan->stopped || model_lowest_run(model, &block, scan->host_bits, scan->from) < 0)
        return;
    if (!is_leaf &&
        !model_all(model, block.first, (size_t)1 << block.host_bits, MODEL_FREE, MODEL_FREE))
        return;
    /* Keep the longest prefix, the first among equals. */
    if (scan->found && block.host_bits >= scan->block.host_bits)
        return;
    scan->found = true;
    scan->block = block;
    bool partly_used = is_leaf && block.host_bits == 6 &&
                       model_any(model, block.first, 64, MODEL_BUSY, MODEL_BUSY);
    scan->stopped = block.host_bits == scan->host_bits || partly_used;
}

/* The pieces of a leaf: what is in the space, in aligned groups as big as can be. */
static inline void model_visit_leaf(struct model_scan *scan, size_t first, unsigned int host_bits)
{
    size_t size = (size_t)1 << host_bits;
    if (model_all(scan->model, first, size, MODEL_FREE, MODEL_BUSY)) {
        model_consider(scan, (struct model_block){.first = first, .host_bits = host_bits}, true);
    } else if (host_bits > 0) {
        model_visit_leaf(scan, first, host_bits - 1);
        model_visit_leaf(scan, first + size / 2, host_bits - 1);
    }
}

/* All blocks by address: what is wholly free or wholly busy is one block, else its halves are
 * looked at. */
static inline void model_visit(struct model_scan *scan, size_t first, unsigned int host_bits)
{
    const struct model *model = scan->model;
    size_t size = (size_t)1 << host_bits;
    if (scan->stopped || model->base + first + (size - 1) < scan->from)
        return;
    if (host_bits <= 6) {
        model_visit_leaf(scan, first, host_bits);
        return;
    }
    if (model_all(model, first, size, MODEL_FREE, MODEL_FREE)) {
        model_consider(scan, (struct model_block){.first = first, .host_bits = host_bits}, false);
        return;
    }
    if (!model_any(model, first, size, MODEL_FREE, MODEL_FREE))
        return;
    model_visit(scan, first, host_bits - 1);
    model_visit(scan, first + size / 2, host_bits - 1);
}

static inline bool model_allocate(struct model *model, unsigned int prefix_length,
                                  struct cidr *ret_cidr)
{
    unsigned int host_bits = address_bits(model->family) - prefix_length;
    if (host_bits > model->bits)
        return false;
    struct model_scan scan = {
        .model = model, .host_bits = host_bits, .from = model->next[prefix_length]};
    model_visit(&scan, 0, model->bits);
    if (!scan.found && scan.from != 0) {
        model->next[prefix_length] = 0;
        scan.from = 0;
        model_visit(&scan, 0, model->bits);
    }
    if (!scan.found)
        return false;
    long at = model_lowest_run(model, &scan.block, host_bits, scan.from);
    for (size_t i = 0; i < (size_t)1 << host_bits; i++)
        model_set(model, (size_t)at + i, MODEL_BUSY);
    *ret_cidr = model_cidr(model, (size_t)at, host_bits);
    if (model->round_robin) {
        model_number end = model->base + (size_t)at + ((size_t)1 << host_bits);
        bool is_top = model->family == ADDRESS_IPV4 ? end >> 32 != 0 : end == 0;
        model->next[prefix_length] = is_top ? 0 : end;
    }
    return true;
}

static inline bool model_busy(struct model *model, size_t first, unsigned int host_bits)
{
    size_t size = (size_t)1 << host_bits;
    if (!model_all(model, first, size, MODEL_FREE, MODEL_FREE))
        return false;
    for (size_t i = first; i < first + size; i++)
        model_set(model, i, MODEL_BUSY);
    return true;
}

static inline bool model_release(struct model *model, size_t first, unsigned int host_bits)
{
    size_t size = (size_t)1 << host_bits;
    if (!model_all(model, first, size, MODEL_BUSY, MODEL_PENDING))
        return false;
    for (size_t i = first; i < first + size; i++)
        model_set(model, i, model->state[i] == MODEL_BUSY ? MODEL_FREE : MODEL_OUTSIDE);
    return true;
}

/* first and last are offsets, both inclusive. */
static inline void model_add(struct model *model, size_t first, size_t last)
{
    for (size_t i = first; i <= last; i++) {
        if (model->state[i] == MODEL_OUTSIDE)
            model_set(model, i, MODEL_FREE);
        else if (model->state[i] == MODEL_PENDING)
            model_set(model, i, MODEL_BUSY);
    }
}

static inline void model_delete(struct model *model, size_t first, size_t last)
{
    for (size_t i = first; i <= last; i++) {
        if (model->state[i] == MODEL_FREE)
            model_set(model, i, MODEL_OUTSIDE);
        else if (model->state[i] == MODEL_BUSY)
            model_set(model, i, MODEL_PENDING);
    }
}

/* The nth free offset, or the last free one; -1 when nothing is free. */
static inline long model_nth_free(const struct model *model, uint64_t nth)
{
    long last = -1;
    for (size_t i = 0; i < (size_t)1 << model->bits; i++) {
        if (model->state[i] != MODEL_FREE)
            continue;
        last = (long)i;
        if (nth-- == 0)
            break;
    }
    return last;
}

/* The lowest free offset at or above from, or the lowest of all; -1 when nothing is free. */
static inline long model_next_free(const struct model *model, size_t from)
{
    for (size_t i = from; i < (size_t)1 << model->bits; i++) {
        if (model->state[i] == MODEL_FREE)
            return (long)i;
    }
    return model_nth_free(model, 0);
}

/* The host bits of the biggest aligned free run; -1 when nothing is free. */
static inline int model_largest_free(const struct model *model)
{
    for (int host_bits = (int)model->bits; host_bits >= 0; host_bits--) {
        struct model_block all = {.first = 0, .host_bits = model->bits};
        if (model_lowest_run(model, &all, (unsigned int)host_bits, 0) >= 0)
            return host_bits;
    }
    return -1;
}

#endif
