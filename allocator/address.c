/* Texts of addresses to values and back. Parsing is written out rather than left to the C library,
 * because what is accepted decides who owns an address: two texts of one address must never look
 * like two addresses, so every form that some other program might read differently is refused. */
#include "allocator/address.h"

#include "allocator/uint128.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define QUOTED_MAXIMUM 60 /* characters of a user's text that a message repeats */
#define GROUPS 8          /* 16-bit groups of an IPv6 address */

/* A text that is being read; no terminating NUL is needed. */
struct reader {
    const char *at;
    const char *end;
    bool sloppy; /* leading zeros are fine */
};

static bool reader_take(struct reader *reader, char character)
{
    if (reader->at == reader->end || *reader->at != character)
        return false;
    reader->at++;
    return true;
}

/* Decimal digits, at most maximum; without a leading zero, but for a sloppy reader. */
static bool reader_decimal(struct reader *reader, unsigned int maximum, unsigned int *ret_value)
{
    const char *start = reader->at;
    unsigned int value = 0;
    while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9') {
        value = value * 10 + (unsigned int)(*reader->at - '0');
        if (value > maximum)
            return false;
        reader->at++;
    }
    if (reader->at == start || (*start == '0' && reader->at - start > 1 && !reader->sloppy))
        return false;
    *ret_value = value;
    return true;
}

static int hexadecimal_value(char character)
{
    if (character >= '0' && character <= '9')
        return character - '0';
    if (character >= 'a' && character <= 'f')
        return character - 'a' + 10;
    if (character >= 'A' && character <= 'F')
        return character - 'A' + 10;
    return -1;
}

/* One to four hexadecimal digits; a sloppy reader takes more zeros before them. */
static bool reader_group(struct reader *reader, uint16_t *ret_group)
{
    unsigned int value = 0;
    unsigned int digits = 0;
    for (; reader->at < reader->end; reader->at++, digits++) {
        int digit = hexadecimal_value(*reader->at);
        if (digit < 0)
            break;
        value = value << 4 | (unsigned int)digit;
        if (value > 0xffff || (digits == 4 && !reader->sloppy))
            return false;
    }
    if (digits == 0)
        return false;
    *ret_group = (uint16_t)value;
    return true;
}

/* Four decimal parts with a separator between them. */
static bool reader_ipv4(struct reader *reader, char separator, uint32_t *ret_value)
{
    uint32_t value = 0;
    for (int part = 0; part < 4; part++) {
        unsigned int number;
        if (part > 0 && !reader_take(reader, separator))
            return false;
        if (!reader_decimal(reader, 255, &number))
            return false;
        value = value << 8 | number;
    }
    *ret_value = value;
    return true;
}

/* The groups of an IPv6 text, and where "::" stood among them (-1: nowhere). */
struct groups {
    uint16_t value[GROUPS];
    int count;
    int gap;
};

/* A dotted tail takes the place of the last two groups (RFC 4291 section 2.2, form 3). */
static bool reader_dotted_tail(struct reader *reader, struct groups *groups)
{
    uint32_t value;
    if (groups->count > GROUPS - 2 || !reader_ipv4(reader, '.', &value))
        return false;
    groups->value[groups->count++] = (uint16_t)(value >> 16);
    groups->value[groups->count++] = (uint16_t)value;
    return reader->at == reader->end;
}

static bool reader_groups(struct reader *reader, struct groups *groups)
{
    if (reader_take(reader, ':')) {
        if (!reader_take(reader, ':'))
            return false;
        groups->gap = 0;
        if (reader->at == reader->end)
            return true;
    }
    while (groups->count < GROUPS) {
        const char *start = reader->at;
        if (!reader_group(reader, &groups->value[groups->count]))
            return false;
        if (reader->at < reader->end && *reader->at == '.') {
            reader->at = start;
            return reader_dotted_tail(reader, groups);
        }
        groups->count++;
        if (reader->at == reader->end)
            return true;
        if (!reader_take(reader, ':'))
            return false;
        if (reader_take(reader, ':')) {
            if (groups->gap >= 0)
                return false;
            groups->gap = groups->count;
            if (reader->at == reader->end)
                return true;
        }
    }
    return false;
}

static bool reader_ipv6(struct reader *reader, uint128 *ret_value)
{
    struct groups groups = {.gap = -1};
    if (!reader_groups(reader, &groups))
        return false;
    /* "::" stands for one group at least. */
    if (groups.gap < 0 ? groups.count != GROUPS : groups.count >= GROUPS)
        return false;
    uint128 value = 0;
    for (int i = 0; i < groups.count; i++) {
        if (i == groups.gap)
            value <<= 16 * (GROUPS - groups.count);
        value = value << 16 | groups.value[i];
    }
    if (groups.gap == groups.count && groups.count > 0)
        value <<= 16 * (GROUPS - groups.count);
    *ret_value = value;
    return true;
}

static bool is_ipv4_mapped(uint128 value)
{
    return value >> 32 == 0xffff;
}

/* mapped: IPv4-mapped addresses are fine. */
static int parse(const char *text, size_t length, bool mapped, struct address *ret_address,
                 struct error *error)
{
    int quoted = length < QUOTED_MAXIMUM ? (int)length : QUOTED_MAXIMUM;
    struct reader reader = {.at = text, .end = text + length};
    if (memchr(text, ':', length) == NULL) {
        uint32_t value;
        if (!reader_ipv4(&reader, '.', &value) || reader.at != reader.end)
            return error_set(error, -EINVAL, "\"%.*s\" is not an IP address", quoted, text);
        *ret_address = uint128_to_address(ADDRESS_IPV4, value);
        return 0;
    }
    uint128 value;
    if (!reader_ipv6(&reader, &value) || reader.at != reader.end) {
        const char *why = memchr(text, '%', length) != NULL ? ": zones have no place here" : "";
        return error_set(error, -EINVAL, "\"%.*s\" is not an IP address%s", quoted, text, why);
    }
    if (!mapped && is_ipv4_mapped(value)) {
        uint32_t ipv4 = (uint32_t)value;
        return error_set(error, -EINVAL, "\"%.*s\" is an IPv4-mapped address: write %u.%u.%u.%u",
                         quoted, text, ipv4 >> 24, ipv4 >> 16 & 255, ipv4 >> 8 & 255, ipv4 & 255);
    }
    *ret_address = uint128_to_address(ADDRESS_IPV6, value);
    return 0;
}

int address_parse_sloppy(const char *text, size_t length, struct address *ret_address)
{
    struct reader reader = {.at = text, .end = text + length, .sloppy = true};
    uint128 value;
    if (memchr(text, ':', length) == NULL) {
        uint32_t ipv4;
        if (!reader_ipv4(&reader, '.', &ipv4) || reader.at != reader.end)
            return -EINVAL;
        *ret_address = uint128_to_address(ADDRESS_IPV4, ipv4);
        return 0;
    }
    if (!reader_ipv6(&reader, &value) || reader.at != reader.end)
        return -EINVAL;
    *ret_address = is_ipv4_mapped(value) ? uint128_to_address(ADDRESS_IPV4, (uint32_t)value)
                                         : uint128_to_address(ADDRESS_IPV6, value);
    return 0;
}

int address_parse_bytes(const char *text, size_t length, struct address *ret_address,
                        struct error *error)
{
    return parse(text, length, false, ret_address, error);
}

int address_parse_written(const char *text, size_t length, struct address *ret_address)
{
    return parse(text, length, true, ret_address, NULL);
}

int address_parse(const char *text, struct address *ret_address, struct error *error)
{
    return address_parse_bytes(text, strlen(text), ret_address, error);
}

static void address_groups(const struct address *address, uint16_t ret_groups[GROUPS])
{
    uint128 value = uint128_from_address(address);
    for (int i = GROUPS - 1; i >= 0; i--) {
        ret_groups[i] = (uint16_t)value;
        value >>= 16;
    }
}

/* The longest run of zero groups, the first among equals; a run of one isn't shortened. */
static void longest_zero_run(const uint16_t groups[GROUPS], int *ret_start, int *ret_length)
{
    *ret_start = -1;
    *ret_length = 1;
    for (int start = 0; start < GROUPS;) {
        int end = start;
        while (end < GROUPS && groups[end] == 0)
            end++;
        if (end - start > *ret_length) {
            *ret_start = start;
            *ret_length = end - start;
        }
        start = end + 1;
    }
}

void address_format(const struct address *address, char ret_text[ADDRESS_TEXT_SIZE])
{
    if (address->family == ADDRESS_IPV4) {
        uint32_t value = (uint32_t)address->low;
        snprintf(ret_text, ADDRESS_TEXT_SIZE, "%u.%u.%u.%u", value >> 24, value >> 16 & 255,
                 value >> 8 & 255, value & 255);
        return;
    }
    uint16_t groups[GROUPS];
    int gap;
    int gap_length;
    address_groups(address, groups);
    longest_zero_run(groups, &gap, &gap_length);
    size_t length = 0;
    for (int i = 0; i < GROUPS; i++) {
        const char *separator = i == 0 || i == gap + gap_length ? "" : ":";
        if (i == gap) {
            length += (size_t)snprintf(ret_text + length, ADDRESS_TEXT_SIZE - length, "::");
            i += gap_length - 1;
            continue;
        }
        if (gap < 0)
            separator = i == 0 ? "" : ":";
        length += (size_t)snprintf(ret_text + length, ADDRESS_TEXT_SIZE - length, "%s%x", separator,
                                   groups[i]);
    }
}

int address_compare(const struct address *left, const struct address *right)
{
    if (left->family != right->family)
        return left->family < right->family ? -1 : 1;
    if (left->high != right->high)
        return left->high < right->high ? -1 : 1;
    if (left->low != right->low)
        return left->low < right->low ? -1 : 1;
    return 0;
}

bool address_equal(const struct address *left, const struct address *right)
{
    return address_compare(left, right) == 0;
}

bool address_add(const struct address *address, uint64_t offset, struct address *ret_address)
{
    uint128 value = uint128_from_address(address);
    if (offset > uint128_ones(address_bits(address->family)) - value)
        return false;
    *ret_address = uint128_to_address(address->family, value + offset);
    return true;
}

bool address_subtract(const struct address *address, uint64_t offset, struct address *ret_address)
{
    uint128 value = uint128_from_address(address);
    if (offset > value)
        return false;
    *ret_address = uint128_to_address(address->family, value - offset);
    return true;
}

void address_claim_name(const struct address *address, char ret_name[ADDRESS_CLAIM_NAME_SIZE])
{
    if (address->family == ADDRESS_IPV4) {
        uint32_t value = (uint32_t)address->low;
        snprintf(ret_name, ADDRESS_CLAIM_NAME_SIZE, "%u-%u-%u-%u-32", value >> 24,
                 value >> 16 & 255, value >> 8 & 255, value & 255);
        return;
    }
    uint16_t g[GROUPS];
    address_groups(address, g);
    snprintf(ret_name, ADDRESS_CLAIM_NAME_SIZE, "%04x-%04x-%04x-%04x-%04x-%04x-%04x-%04x-128", g[0],
             g[1], g[2], g[3], g[4], g[5], g[6], g[7]);
}

/* Reads the address and the prefix length of a claim name, without judging the whole. */
static bool claim_name_read(struct reader *reader, struct address *ret_address,
                            uint8_t *ret_prefix_length)
{
    const char *start = reader->at;
    unsigned int prefix_length;
    uint32_t ipv4;
    if (reader_ipv4(reader, '-', &ipv4) && reader_take(reader, '-') &&
        reader_decimal(reader, 32, &prefix_length) && reader->at == reader->end) {
        *ret_address = uint128_to_address(ADDRESS_IPV4, ipv4);
        *ret_prefix_length = (uint8_t)prefix_length;
        return true;
    }
    reader->at = start;
    uint128 value = 0;
    for (int i = 0; i < GROUPS; i++) {
        const char *group_start = reader->at;
        uint16_t group;
        if (!reader_group(reader, &group) || reader->at - group_start != 4 ||
            !reader_take(reader, '-'))
            return false;
        value = value << 16 | group;
    }
    if (!reader_decimal(reader, 128, &prefix_length) || prefix_length != 128 ||
        reader->at != reader->end || is_ipv4_mapped(value))
        return false;
    *ret_address = uint128_to_address(ADDRESS_IPV6, value);
    *ret_prefix_length = (uint8_t)prefix_length;
    return true;
}

int address_from_claim_name(const char *name, struct address *ret_address,
                            uint8_t *ret_prefix_length, struct error *error)
{
    struct reader reader = {.at = name, .end = name + strlen(name)};
    struct address address;
    uint8_t prefix_length;
    bool valid = claim_name_read(&reader, &address, &prefix_length);
    if (valid && address.family == ADDRESS_IPV6) {
        /* Upper case would be a second name of the same address. */
        char canonical[ADDRESS_CLAIM_NAME_SIZE];
        address_claim_name(&address, canonical);
        valid = strcmp(name, canonical) == 0;
    }
    if (!valid)
        return error_set(error, -EINVAL, "\"%.*s\" is not the name of a claim", QUOTED_MAXIMUM,
                         name);
    *ret_address = address;
    if (ret_prefix_length != NULL)
        *ret_prefix_length = prefix_length;
    return 0;
}
