/* A set of addresses of both families: ranges of each. Which family an entry belongs to, the entry
 * says. NULL is the empty set wherever a set is only read. One thread. */
#ifndef IPWARDEN_ALLOCATOR_ADDRESS_SET_H
#define IPWARDEN_ALLOCATOR_ADDRESS_SET_H

#include "allocator/address.h"
#include "allocator/cidr.h"
#include "allocator/ranges.h"
#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct address_set;

/* An empty set. NULL when out of memory. */
struct address_set *address_set_new(void);
struct address_set *address_set_copy(const struct address_set *set);
/* NULL is fine. */
void address_set_free(struct address_set *set);
static inline void address_set_free_pointer(struct address_set **set)
{
    address_set_free(*set);
}
#define _cleanup_address_set_ __attribute__((cleanup(address_set_free_pointer)))

/* Adds all addresses from first to last, which are of one family; the second takes overlap with
 * what is there. On any error the set is as before: -EEXIST overlap, -EINVAL no such span,
 * -ENOMEM. */
must_check int address_set_add(struct address_set *set, const struct address *first,
                               const struct address *last, struct error *error);
must_check int address_set_merge(struct address_set *set, const struct address *first,
                                 const struct address *last, struct error *error);
must_check int address_set_merge_cidr(struct address_set *set, const struct cidr *cidr,
                                      struct error *error);
/* Takes everything in minus out of the set. 0, or -ENOMEM: then the set may have lost some. */
must_check int address_set_subtract(struct address_set *set, const struct address_set *minus,
                                    struct error *error);

/* Those of one family; NULL where there are none. */
const struct ranges *address_set_of(const struct address_set *set, uint8_t family);
bool address_set_is_empty(const struct address_set *set);
bool address_set_equal(const struct address_set *left, const struct address_set *right);
bool address_set_contains(const struct address_set *set, const struct address *address);
bool address_set_covers_all(const struct address_set *set, const struct address_set *other);
/* Whether any address is in both; one such goes to *ret_address (may be NULL). */
bool address_set_overlap(const struct address_set *left, const struct address_set *right,
                         struct address *ret_address);

/* The spans, those of IPv4 first. */
size_t address_set_span_count(const struct address_set *set);
void address_set_span(const struct address_set *set, size_t index, struct address *ret_first,
                      struct address *ret_last);

#endif
