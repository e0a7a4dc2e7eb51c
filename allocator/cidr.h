/* One CIDR block: an address whose host bits are zero and a prefix length. Pure functions, any
 * thread. */
#ifndef IPWARDEN_ALLOCATOR_CIDR_H
#define IPWARDEN_ALLOCATOR_CIDR_H

#include "allocator/address.h"
#include "allocator/address_count.h"
#include "server/base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define CIDR_TEXT_SIZE (ADDRESS_TEXT_SIZE + 4) /* bytes with NUL */

struct cidr {
    struct address address; /* host bits zero; family 0: no block */
    uint8_t prefix_length;  /* 0 to 32 or 0 to 128 */
};

/* Parses "ADDRESS/LENGTH", the length in decimal without leading zeros. Host bits that are set are
 * refused with the block that was probably meant. Returns 0 or -EINVAL with the text quoted. */
must_check int cidr_parse(const char *text, struct cidr *ret_cidr, struct error *error);
/* The same, but clears host bits: "10.0.0.7/24" is 10.0.0.0/24. */
must_check int cidr_parse_masked(const char *text, struct cidr *ret_cidr, struct error *error);
/* A CIDR as cidr_parse takes it, or a single address, which is a block of one. */
must_check int cidr_parse_or_address(const char *text, struct cidr *ret_cidr, struct error *error);

/* Reads back what cidr_format wrote, or a single address: see address_parse_written. Returns 0 or
 * -EINVAL. */
must_check int cidr_parse_written(const char *text, struct cidr *ret_cidr);

/* "10.0.0.0/24"; a single address keeps its /32 or /128. */
void cidr_format(const struct cidr *cidr, char ret_text[CIDR_TEXT_SIZE]);

/* The block of prefix_length that the address lies in. prefix_length must fit the family. */
struct cidr cidr_of(const struct address *address, unsigned int prefix_length);
/* The block of just this address. */
struct cidr cidr_single(const struct address *address);

struct address cidr_first(const struct cidr *cidr);
struct address cidr_last(const struct cidr *cidr);
struct address_count cidr_size(const struct cidr *cidr);

/* By first address, a shorter prefix (the bigger block) first among equals. */
int cidr_compare(const struct cidr *left, const struct cidr *right);
bool cidr_equal(const struct cidr *left, const struct cidr *right);
bool cidr_contains(const struct cidr *cidr, const struct address *address);
/* Whether all of inner lies in outer. */
bool cidr_covers(const struct cidr *outer, const struct cidr *inner);
bool cidr_overlaps(const struct cidr *left, const struct cidr *right);

#endif
