/* The request-spec language: texts to specs, and specs to blocks. */
#include "allocator/request_spec.h"

#include "allocator/uint128.h"

#include <errno.h>
#include <string.h>

#define QUOTED_MAXIMUM 60 /* characters of a user's text that a message repeats */

static int refuse(const char *text, int code, const char *why, struct error *error)
{
    return error_set(error, code, "request \"%.*s\": %s; use %s", QUOTED_MAXIMUM, text, why,
                     REQUEST_SPEC_FORMS);
}

/* Decimal digits up to the end of length, without a leading zero. *ret_value is cut at the greatest
 * number. */
static bool parse_number(const char *text, size_t length, uint128 *ret_value)
{
    uint128 value = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        unsigned int digit = (unsigned int)(text[i] - '0');
        value = value > (UINT128_MAX - digit) / 10 ? UINT128_MAX : value * 10 + digit;
    }
    if (length == 0 || (text[0] == '0' && length > 1))
        return false;
    *ret_value = value;
    return true;
}

/* "24" or "%8": what stands behind a slash, or alone. */
static int parse_size(const char *text, const char *size, uint8_t family,
                      unsigned int *ret_prefix_length, struct error *error)
{
    unsigned int bits = address_bits(family);
    bool is_host_bits = *size == '%';
    uint128 value;
    if (is_host_bits)
        size++;
    if (!parse_number(size, strlen(size), &value))
        return refuse(text, -EINVAL, "not understood", error);
    if (value > bits)
        return error_set(error, -EINVAL, "request \"%.*s\": IPv%u has sizes from 0 to %u; use %s",
                         QUOTED_MAXIMUM, text, family == 0 ? ADDRESS_IPV6 : family, bits,
                         REQUEST_SPEC_FORMS);
    *ret_prefix_length = is_host_bits ? bits - (unsigned int)value : (unsigned int)value;
    return 0;
}

/* "#300": as many host bits as it takes. */
static int parse_amount(const char *text, uint8_t family, unsigned int *ret_prefix_length,
                        struct error *error)
{
    unsigned int bits = address_bits(family);
    uint128 amount;
    if (!parse_number(text + 1, strlen(text + 1), &amount))
        return refuse(text, -EINVAL, "not an amount", error);
    unsigned int host_bits = amount > 1 ? uint128_highest(amount - 1) + 1 : 0;
    if (host_bits > bits)
        return error_set(error, -EINVAL, "request \"%.*s\": more addresses than IPv%u has; use %s",
                         QUOTED_MAXIMUM, text, family, REQUEST_SPEC_FORMS);
    *ret_prefix_length = bits - host_bits;
    return 0;
}

static int parse_exact(const char *text, struct cidr *ret_cidr, struct error *error)
{
    struct error inner;
    int result = cidr_parse_or_address(text, ret_cidr, &inner);
    if (result != 0)
        return error_set(error, result, "request %s; use %s", inner.text, REQUEST_SPEC_FORMS);
    return 0;
}

int request_spec_parse(const char *text, uint8_t family, struct request_spec *ret_spec,
                       struct error *error)
{
    struct request_spec spec = {.kind = REQUEST_SPEC_SIZE};
    const char *slash = strchr(text, '/');
    uint128 nth;
    int result;
    if (*text == '#') {
        result = parse_amount(text, family, &spec.prefix_length, error);
    } else if (slash == text) {
        result = parse_size(text, slash + 1, family, &spec.prefix_length, error);
    } else if (slash == NULL && strpbrk(text, ".:") == NULL) {
        result = parse_size(text, text, family, &spec.prefix_length, error);
    } else if (slash != NULL && parse_number(text, (size_t)(slash - text), &nth)) {
        spec.kind = REQUEST_SPEC_NTH;
        spec.nth = (struct ranges_index){.high = uint128_high(nth), .low = uint128_low(nth)};
        result = parse_size(text, slash + 1, family, &spec.prefix_length, error);
    } else if (strpbrk(text, ".:") != NULL) {
        spec.kind = REQUEST_SPEC_EXACT;
        result = parse_exact(text, &spec.cidr, error);
    } else {
        result = refuse(text, -EINVAL, "not understood", error);
    }
    if (result == 0)
        *ret_spec = spec;
    return result;
}

/* Whether any CIDR of the ranges is big enough. */
static bool ranges_hold(const struct ranges *ranges, unsigned int prefix_length)
{
    struct cidr cidr;
    return ranges_nth_block(ranges, prefix_length, (struct ranges_index){0}, &cidr);
}

int request_spec_check(const struct request_spec *spec, const char *text,
                       const struct ranges *ranges, struct error *error)
{
    struct cidr cidr;
    switch (spec->kind) {
    case REQUEST_SPEC_SIZE:
        if (!ranges_hold(ranges, spec->prefix_length))
            return refuse(text, -ERANGE, "bigger than every range", error);
        return 0;
    case REQUEST_SPEC_NTH:
        if (!ranges_hold(ranges, spec->prefix_length))
            return refuse(text, -ERANGE, "bigger than every range", error);
        if (!ranges_nth_block(ranges, spec->prefix_length, spec->nth, &cidr))
            return refuse(text, -ERANGE, "the ranges have fewer such blocks", error);
        return 0;
    case REQUEST_SPEC_EXACT:
        if (!ranges_covers(ranges, &spec->cidr))
            return refuse(text, -ERANGE, "outside the ranges", error);
        return 0;
    }
    return refuse(text, -EINVAL, "not understood", error);
}

int request_spec_apply(const char *text, struct blocks *blocks, struct cidr *ret_cidr,
                       struct error *error)
{
    struct request_spec spec;
    const struct ranges *ranges = blocks_ranges(blocks);
    int result = request_spec_parse(text, blocks_family(blocks), &spec, error);
    if (result == 0)
        result = request_spec_check(&spec, text, ranges, error);
    if (result != 0)
        return result;
    if (spec.kind == REQUEST_SPEC_SIZE)
        return blocks_allocate(blocks, spec.prefix_length, ret_cidr, error);
    if (spec.kind == REQUEST_SPEC_NTH &&
        !ranges_nth_block(ranges, spec.prefix_length, spec.nth, &spec.cidr))
        return refuse(text, -ERANGE, "the ranges have fewer such blocks", error);
    result = blocks_busy(blocks, &spec.cidr, error);
    if (result == 0)
        *ret_cidr = spec.cidr;
    else if (result == -EEXIST && error != NULL)
        error->code = -ENOSPC;
    return result == -EEXIST ? -ENOSPC : result;
}
