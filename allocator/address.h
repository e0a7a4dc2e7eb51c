/* One IP address of either family as a value: strict text to value, canonical value to text, order
 * and arithmetic, and the object name that an address gives its IpClaim. Pure functions, any
 * thread. */
#ifndef IPWARDEN_ALLOCATOR_ADDRESS_H
#define IPWARDEN_ALLOCATOR_ADDRESS_H

#include "server/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ADDRESS_TEXT_SIZE 46       /* bytes with NUL: the longest text of either family */
#define ADDRESS_CLAIM_NAME_SIZE 44 /* bytes with NUL: eight groups of four, seven dashes, "-128" */

#define ADDRESS_IPV4 4
#define ADDRESS_IPV6 6
#define ADDRESS_FAMILIES 2

/* A 128-bit value, most significant half first. IPv4 sits in the low 32 bits, the rest is zero.
 * An all-zero struct (family 0) is "no address". */
struct address {
    uint8_t family; /* ADDRESS_IPV4 or ADDRESS_IPV6 */
    uint64_t high;
    uint64_t low;
};

/* 32 or 128: how many bits an address of the family has. */
static inline unsigned int address_bits(uint8_t family)
{
    return family == ADDRESS_IPV4 ? 32 : 128;
}

/* Where what there is once a family is kept in an array: 0 for IPv4, 1 for IPv6; and back. */
static inline unsigned int address_family_index(uint8_t family)
{
    return family == ADDRESS_IPV6;
}
static inline uint8_t address_family_at(unsigned int index)
{
    return index == 0 ? ADDRESS_IPV4 : ADDRESS_IPV6;
}

/* Parses a whole text, strictly: IPv4 as four decimal parts without leading zeros; IPv6 as in RFC
 * 4291 section 2.2 without a zone. IPv4-mapped IPv6 (::ffff:a.b.c.d, however written) is refused,
 * since it would be a second name for an IPv4 address. Returns 0 or -EINVAL with the text
 * quoted. */
must_check int address_parse(const char *text, struct address *ret_address, struct error *error);
/* The same for length bytes that need no terminating NUL. */
must_check int address_parse_bytes(const char *text, size_t length, struct address *ret_address,
                                   struct error *error);

/* Reads back what address_format wrote, also an IPv4-mapped address: nobody may ask for one, but a
 * space such as ::/0 has them. For what we have stored ourselves. Returns 0 or -EINVAL. */
must_check int address_parse_written(const char *text, size_t length, struct address *ret_address);

/* Reads a text as kube-proxy does (ParseIPSloppy of k8s.io/utils/net): leading zeros are decimal,
 * an IPv4-mapped IPv6 address is the IPv4 address. For what is stored already and so occupies an
 * address, however it is written; never for what somebody asks for. Returns 0 or -EINVAL. */
must_check int address_parse_sloppy(const char *text, size_t length, struct address *ret_address);

/* Writes the canonical text: dotted decimal, or RFC 5952 section 4 (lower case, the longest run of
 * zero groups, the first among equals and never of one group, as "::"). */
void address_format(const struct address *address, char ret_text[ADDRESS_TEXT_SIZE]);

/* Numeric order, IPv4 before IPv6: negative, zero or positive. */
int address_compare(const struct address *left, const struct address *right);
bool address_equal(const struct address *left, const struct address *right);

/* address + offset and address - offset; false when that leaves the family's space, and then
 * *ret_address is untouched. ret_address may be the same struct. */
must_check bool address_add(const struct address *address, uint64_t offset,
                            struct address *ret_address);
must_check bool address_subtract(const struct address *address, uint64_t offset,
                                 struct address *ret_address);

/* The name of the IpClaim of this address: "203-0-113-7-32", or eight full groups
 * "2001-0db8-0000-0000-0000-0000-0000-0007-128". One address, one name. */
void address_claim_name(const struct address *address, char ret_name[ADDRESS_CLAIM_NAME_SIZE]);
/* The reverse. Names of the older version carry their pool's mask ("10-10-0-2-24"): IPv4 takes any
 * mask of 0 to 32, IPv6 only 128. *ret_prefix_length (may be NULL) gets it. Anything that
 * address_claim_name couldn't have written but for the mask is refused. Returns 0 or -EINVAL. */
must_check int address_from_claim_name(const char *name, struct address *ret_address,
                                       uint8_t *ret_prefix_length, struct error *error);

#endif
