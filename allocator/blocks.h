/* The block tree: which parts of a set of ranges are taken. It serves pools (single addresses) and
 * ranges (CIDRs of any size) alike.
 *
 * Cost: nothing before use, whatever the size of the space; every operation is O(log n) in what is
 * taken, never in the size of the space. One thread, or the owner's lock. */
#ifndef IPWARDEN_ALLOCATOR_BLOCKS_H
#define IPWARDEN_ALLOCATOR_BLOCKS_H

#include "allocator/address.h"
#include "allocator/address_count.h"
#include "allocator/cidr.h"
#include "allocator/ranges.h"
#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum blocks_mode {
    BLOCKS_FIRST_MATCH, /* the best fitting block, the lowest among equals */
    BLOCKS_ROUND_ROBIN, /* the same, above what was given last for that prefix length */
};

/* "FirstMatch" and "RoundRobin", as in spec.mode. false for any other word. */
bool blocks_mode_parse(const char *word, enum blocks_mode *ret_mode);
const char *blocks_mode_name(enum blocks_mode mode);

struct blocks;

/* A tree over a copy of ranges (which may be empty), all of it free. NULL with the error set when
 * out of memory. */
struct blocks *blocks_new(const struct ranges *ranges, enum blocks_mode mode, struct error *error);
/* NULL is fine. */
void blocks_free(struct blocks *blocks);
static inline void blocks_free_pointer(struct blocks **blocks)
{
    blocks_free(*blocks);
}
#define _cleanup_blocks_ __attribute__((cleanup(blocks_free_pointer)))

enum blocks_mode blocks_mode(const struct blocks *blocks);
uint8_t blocks_family(const struct blocks *blocks); /* 0 while the space never had anything */
/* What may be given out: the ranges now, without what is pending deletion. */
const struct ranges *blocks_ranges(const struct blocks *blocks);

/* Takes a free block of prefix_length, chosen by the mode. Returns 0; -ENOSPC when there is none;
 * -EINVAL when the family has no such prefix length; -ENOMEM, then nothing has changed. */
must_check int blocks_allocate(struct blocks *blocks, unsigned int prefix_length,
                               struct cidr *ret_cidr, struct error *error);
/* Takes exactly this block. Returns 0; -EEXIST when any of it is taken; -ENOENT when any of it is
 * outside or pending deletion; -ENOMEM, then nothing has changed. */
must_check int blocks_busy(struct blocks *blocks, const struct cidr *cidr, struct error *error);
/* Gives the block back; it may be part of what was taken, or several neighbours at once. Returns 0;
 * -ENOENT when not all of it is taken; -ENOMEM (splitting a big block needs memory), then nothing
 * has changed. */
must_check int blocks_release(struct blocks *blocks, const struct cidr *cidr, struct error *error);

/* Whether all of the block is inside and free, or all of it taken (pending deletion included). */
bool blocks_is_free(const struct blocks *blocks, const struct cidr *cidr);
bool blocks_is_busy(const struct blocks *blocks, const struct cidr *cidr);

/* Makes the space bigger by what isn't there yet; what was pending deletion is kept after all.
 * Returns 0, -EINVAL for another family, or -ENOMEM, then nothing has changed. */
must_check int blocks_add(struct blocks *blocks, const struct ranges *ranges, struct error *error);
/* Makes it smaller: what is free goes now, what is taken is pending and goes when it is released.
 * What isn't there is ignored. Returns 0, or -ENOMEM, then nothing has changed. */
must_check int blocks_delete(struct blocks *blocks, const struct ranges *ranges,
                             struct error *error);

/* Kept, not computed. total = used + free always; used counts what is pending deletion too. */
struct blocks_counts {
    struct address_count total;
    struct address_count used;
    struct address_count free;
    struct address_count pending; /* of used: goes when it is released */
};
void blocks_counts(const struct blocks *blocks, struct blocks_counts *ret_counts);

/* The prefix length of the biggest block that could be allocated now. false when nothing is
 * free. */
bool blocks_largest_free(const struct blocks *blocks, unsigned int *ret_prefix_length);
/* The nth free address from the lowest, counted from 0; the last free one when there are not that
 * many. false when nothing is free. O(log n), also for a large nth. */
bool blocks_nth_free(const struct blocks *blocks, uint64_t nth, struct address *ret_address);

/* The lowest free address at or above from; the lowest of all when there is none, or when from is
 * of another family. false when nothing is free. O(log n). */
bool blocks_next_free(const struct blocks *blocks, const struct address *from,
                      struct address *ret_address);

/* The next-address pointers of BLOCKS_ROUND_ROBIN, shortest prefix length first: each is the
 * address where the search for that prefix length goes on, and the prefix length. Export writes at
 * most BLOCKS_ROUND_ROBIN_MAXIMUM and returns how many (0 in the other mode). Import replaces them
 * all; entries of another family or an impossible prefix length are ignored, since the state comes
 * from a status that anyone may have written. */
#define BLOCKS_ROUND_ROBIN_MAXIMUM 129
size_t blocks_round_robin_export(const struct blocks *blocks,
                                 struct cidr ret_next[BLOCKS_ROUND_ROBIN_MAXIMUM]);
void blocks_round_robin_import(struct blocks *blocks, const struct cidr *next, size_t count);

#endif
