/* A set of addresses of one family as users write it: CIDRs, "first-last" and single addresses.
 * Kept as sorted, disjoint spans that never touch, read back as the minimal sorted list of CIDRs.
 * Nothing here ever enumerates addresses: the cost is that of the number of entries. One thread. */
#ifndef IPWARDEN_ALLOCATOR_RANGES_H
#define IPWARDEN_ALLOCATOR_RANGES_H

#include "allocator/address.h"
#include "allocator/address_count.h"
#include "allocator/cidr.h"
#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ranges;

/* An empty set; its family is that of the first entry. NULL when out of memory. */
struct ranges *ranges_new(void);
struct ranges *ranges_copy(const struct ranges *ranges);
/* NULL is fine. */
void ranges_free(struct ranges *ranges);
static inline void ranges_free_pointer(struct ranges **ranges)
{
    ranges_free(*ranges);
}
#define _cleanup_ranges_ __attribute__((cleanup(ranges_free_pointer)))

/* Reads one entry as ranges_add does: its first and its last address. Returns 0 or -EINVAL. */
must_check int ranges_parse(const char *entry, struct address *ret_first, struct address *ret_last,
                            struct error *error);
/* Adds one entry: "10.0.0.0/24", "10.0.0.5-10.0.0.9" or "10.0.0.7", both ends inclusive; blanks
 * around the dash are fine. On any error the set is as before and the text names the entry: -EINVAL
 * bad address, host bits set, last before first, another family than the set's; -EEXIST it overlaps
 * what is there; -ENOMEM. */
must_check int ranges_add(struct ranges *ranges, const char *entry, struct error *error);
/* The same, but overlap with what is there is fine. */
must_check int ranges_merge(struct ranges *ranges, const char *entry, struct error *error);
/* The form of the older pool version: first and last address as two texts. */
must_check int ranges_add_pair(struct ranges *ranges, const char *first, const char *last,
                               struct error *error);
/* From values: as ranges_add; those that merge take overlap, too. */
must_check int ranges_add_span(struct ranges *ranges, const struct address *first,
                               const struct address *last, struct error *error);
must_check int ranges_merge_cidr(struct ranges *ranges, const struct cidr *cidr,
                                 struct error *error);
must_check int ranges_merge_span(struct ranges *ranges, const struct address *first,
                                 const struct address *last, struct error *error);
must_check int ranges_merge_all(struct ranges *ranges, const struct ranges *other,
                                struct error *error);

/* Takes everything in minus out of the set; what isn't there is ignored, also another family. 0 or
 * -ENOMEM, then nothing has changed. */
must_check int ranges_subtract(struct ranges *ranges, const struct ranges *minus,
                               struct error *error);

/* ADDRESS_IPV4, ADDRESS_IPV6, or 0 when nothing was ever added. */
uint8_t ranges_family(const struct ranges *ranges);
bool ranges_is_empty(const struct ranges *ranges);
bool ranges_equal(const struct ranges *left, const struct ranges *right);
struct address_count ranges_size(const struct ranges *ranges);
bool ranges_contains(const struct ranges *ranges, const struct address *address);
/* Whether the whole block is in the set. */
bool ranges_covers(const struct ranges *ranges, const struct cidr *cidr);
bool ranges_covers_all(const struct ranges *ranges, const struct ranges *other);
/* Whether any address is in both; the lowest such goes to *ret_address (may be NULL). */
bool ranges_overlap(const struct ranges *left, const struct ranges *right,
                    struct address *ret_address);

/* The spans: maximal runs of consecutive addresses, sorted. */
size_t ranges_span_count(const struct ranges *ranges);
void ranges_span(const struct ranges *ranges, size_t index, struct address *ret_first,
                 struct address *ret_last);
#define RANGES_SPAN_TEXT_SIZE (2 * ADDRESS_TEXT_SIZE)
/* "10.0.0.1", "10.0.0.0/24", or "10.0.0.1-10.0.0.254" where the span is no CIDR. */
void ranges_format_span(const struct ranges *ranges, size_t index,
                        char ret_text[RANGES_SPAN_TEXT_SIZE]);
/* An index that may need 128 bits. */
struct ranges_index {
    uint64_t high;
    uint64_t low;
};
/* Which of the 64 addresses from 64 * leaf on are in the set, as bits; and how far that stays so:
 * every leaf before *ret_end has the same bits, when they are all or none. */
uint64_t ranges_leaf_mask(const struct ranges *ranges, struct ranges_index leaf,
                          struct ranges_index *ret_end);

/* The minimal sorted list of CIDRs, one a call:
 * `struct ranges_position at = {0}; struct cidr cidr; while (ranges_next(ranges, &at, &cidr)) ...`
 * The set must not change meanwhile. */
struct ranges_position {
    size_t span;
    struct address next; /* family 0: at the start of the span */
};
bool ranges_next(const struct ranges *ranges, struct ranges_position *position,
                 struct cidr *ret_cidr);

/* The nth aligned block of prefix_length, from 0, counted through the CIDRs in order; a CIDR
 * smaller than such a block holds none. false when there are not that many. */
bool ranges_nth_block(const struct ranges *ranges, unsigned int prefix_length,
                      struct ranges_index n, struct cidr *ret_cidr);

#endif
