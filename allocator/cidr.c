/* CIDR blocks: texts to values and back, and how blocks lie to each other. */
#include "allocator/cidr.h"

#include "allocator/uint128.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define QUOTED_MAXIMUM 60 /* characters of a user's text that a message repeats */

static uint128 host_mask(uint8_t family, unsigned int prefix_length)
{
    return uint128_ones(address_bits(family) - prefix_length);
}

/* Reads a prefix length: digits without a leading zero. */
static int parse_prefix_length(const char *text, const char *digits, uint8_t family,
                               uint8_t *ret_prefix_length, struct error *error)
{
    unsigned int value = 0;
    unsigned int bits = address_bits(family);
    const char *at = digits;
    for (; *at >= '0' && *at <= '9' && value <= bits; at++)
        value = value * 10 + (unsigned int)(*at - '0');
    bool well_formed = at != digits && !(digits[0] == '0' && at - digits > 1);
    if (well_formed && value <= bits && *at == '\0') {
        *ret_prefix_length = (uint8_t)value;
        return 0;
    }
    return error_set(error, -EINVAL,
                     "\"%.*s\" is not a CIDR: the prefix length must be a number from 0 to %u",
                     QUOTED_MAXIMUM, text, bits);
}

/* Both halves of "ADDRESS/LENGTH"; host bits may be set. */
static int parse_halves(const char *text, struct cidr *ret_cidr, struct error *error)
{
    const char *slash = strchr(text, '/');
    if (slash == NULL)
        return error_set(error, -EINVAL, "\"%.*s\" is not a CIDR: it has no prefix length",
                         QUOTED_MAXIMUM, text);
    struct cidr cidr;
    int result = address_parse_bytes(text, (size_t)(slash - text), &cidr.address, error);
    if (result != 0)
        return result;
    result = parse_prefix_length(text, slash + 1, cidr.address.family, &cidr.prefix_length, error);
    if (result != 0)
        return result;
    *ret_cidr = cidr;
    return 0;
}

int cidr_parse_masked(const char *text, struct cidr *ret_cidr, struct error *error)
{
    struct cidr cidr = {0};
    int result = parse_halves(text, &cidr, error);
    if (result != 0)
        return result;
    *ret_cidr = cidr_of(&cidr.address, cidr.prefix_length);
    return 0;
}

int cidr_parse(const char *text, struct cidr *ret_cidr, struct error *error)
{
    struct cidr cidr = {0};
    int result = parse_halves(text, &cidr, error);
    if (result != 0)
        return result;
    struct cidr block = cidr_of(&cidr.address, cidr.prefix_length);
    if (!address_equal(&block.address, &cidr.address)) {
        char block_text[CIDR_TEXT_SIZE];
        char address_text[ADDRESS_TEXT_SIZE];
        cidr_format(&block, block_text);
        address_format(&cidr.address, address_text);
        return error_set(error, -EINVAL,
                         "\"%.*s\" has host bits set: write %s for the block, or %s for the "
                         "address",
                         QUOTED_MAXIMUM, text, block_text, address_text);
    }
    *ret_cidr = cidr;
    return 0;
}

int cidr_parse_written(const char *text, struct cidr *ret_cidr)
{
    const char *slash = strchr(text, '/');
    struct cidr cidr;
    size_t length = slash != NULL ? (size_t)(slash - text) : strlen(text);
    if (address_parse_written(text, length, &cidr.address) < 0)
        return -EINVAL;
    cidr.prefix_length = (uint8_t)address_bits(cidr.address.family);
    if (slash != NULL &&
        parse_prefix_length(text, slash + 1, cidr.address.family, &cidr.prefix_length, NULL) < 0)
        return -EINVAL;
    struct cidr block = cidr_of(&cidr.address, cidr.prefix_length);
    if (!address_equal(&block.address, &cidr.address))
        return -EINVAL;
    *ret_cidr = cidr;
    return 0;
}

int cidr_parse_or_address(const char *text, struct cidr *ret_cidr, struct error *error)
{
    if (strchr(text, '/') != NULL)
        return cidr_parse(text, ret_cidr, error);
    struct address address;
    int result = address_parse(text, &address, error);
    if (result != 0)
        return result;
    *ret_cidr = cidr_single(&address);
    return 0;
}

void cidr_format(const struct cidr *cidr, char ret_text[CIDR_TEXT_SIZE])
{
    char address[ADDRESS_TEXT_SIZE];
    address_format(&cidr->address, address);
    snprintf(ret_text, CIDR_TEXT_SIZE, "%s/%u", address, cidr->prefix_length);
}

struct cidr cidr_of(const struct address *address, unsigned int prefix_length)
{
    uint128 value = uint128_from_address(address) & ~host_mask(address->family, prefix_length);
    return (struct cidr){.address = uint128_to_address(address->family, value),
                         .prefix_length = (uint8_t)prefix_length};
}

struct cidr cidr_single(const struct address *address)
{
    return (struct cidr){.address = *address,
                         .prefix_length = (uint8_t)address_bits(address->family)};
}

struct address cidr_first(const struct cidr *cidr)
{
    return cidr->address;
}

struct address cidr_last(const struct cidr *cidr)
{
    uint8_t family = cidr->address.family;
    return uint128_to_address(family, uint128_from_address(&cidr->address) |
                                          host_mask(family, cidr->prefix_length));
}

struct address_count cidr_size(const struct cidr *cidr)
{
    return address_count_power(address_bits(cidr->address.family) - cidr->prefix_length);
}

int cidr_compare(const struct cidr *left, const struct cidr *right)
{
    int order = address_compare(&left->address, &right->address);
    return order != 0 ? order : (int)left->prefix_length - (int)right->prefix_length;
}

bool cidr_equal(const struct cidr *left, const struct cidr *right)
{
    return cidr_compare(left, right) == 0;
}

bool cidr_contains(const struct cidr *cidr, const struct address *address)
{
    if (cidr->address.family != address->family)
        return false;
    struct cidr block = cidr_of(address, cidr->prefix_length);
    return address_equal(&block.address, &cidr->address);
}

bool cidr_covers(const struct cidr *outer, const struct cidr *inner)
{
    return inner->prefix_length >= outer->prefix_length && cidr_contains(outer, &inner->address);
}

bool cidr_overlaps(const struct cidr *left, const struct cidr *right)
{
    return cidr_covers(left, right) || cidr_covers(right, left);
}
