/* Sets of addresses as sorted, disjoint spans that never touch. With the spans maximal, cutting
 * each into aligned blocks from its start gives the minimal list of CIDRs of the whole set, so that
 * list is never stored. */
#include "allocator/ranges.h"

#include "allocator/uint128.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUOTED_MAXIMUM 100 /* characters of an entry that a message repeats */

struct span {
    uint128 first;
    uint128 last; /* inclusive: a span may end at the last address there is */
};

struct ranges {
    uint8_t family;
    size_t count;
    size_t capacity;
    struct span *spans;
};

struct ranges *ranges_new(void)
{
    return calloc(1, sizeof(struct ranges));
}

void ranges_free(struct ranges *ranges)
{
    if (ranges == NULL)
        return;
    free(ranges->spans);
    free(ranges);
}

/* Makes room for count spans. */
static int ranges_reserve(struct ranges *ranges, size_t count, struct error *error)
{
    if (count <= ranges->capacity)
        return 0;
    size_t capacity = ranges->capacity * 2;
    if (capacity < count)
        capacity = count;
    if (capacity > SIZE_MAX / sizeof(struct span))
        return error_no_memory(error);
    struct span *spans = realloc(ranges->spans, capacity * sizeof(*spans));
    if (spans == NULL)
        return error_no_memory(error);
    ranges->spans = spans;
    ranges->capacity = capacity;
    return 0;
}

struct ranges *ranges_copy(const struct ranges *ranges)
{
    struct ranges *copy = ranges_new();
    if (copy == NULL || ranges_reserve(copy, ranges->count, NULL) != 0) {
        ranges_free(copy);
        return NULL;
    }
    copy->family = ranges->family;
    copy->count = ranges->count;
    if (ranges->count > 0)
        memcpy(copy->spans, ranges->spans, ranges->count * sizeof(*ranges->spans));
    return copy;
}

/* The index of the first span whose last address is not below value. */
static size_t ranges_seek(const struct ranges *ranges, uint128 value)
{
    size_t low = 0;
    size_t high = ranges->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ranges->spans[middle].last < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool span_overlaps(const struct ranges *ranges, uint128 first, uint128 last)
{
    size_t index = ranges_seek(ranges, first);
    return index < ranges->count && ranges->spans[index].first <= last;
}

/* The union with one span: spans that it overlaps or touches become one with it. */
static int ranges_merge_values(struct ranges *ranges, uint8_t family, uint128 first, uint128 last,
                               struct error *error)
{
    size_t from = ranges_seek(ranges, first > 0 ? first - 1 : 0);
    size_t to = from;
    while (to < ranges->count &&
           ranges->spans[to].first <= (last < UINT128_MAX ? last + 1 : UINT128_MAX))
        to++;
    if (to == from) {
        int result = ranges_reserve(ranges, ranges->count + 1, error);
        if (result != 0)
            return result;
    } else {
        if (ranges->spans[from].first < first)
            first = ranges->spans[from].first;
        if (ranges->spans[to - 1].last > last)
            last = ranges->spans[to - 1].last;
    }
    if (from < ranges->count && to != from + 1)
        memmove(&ranges->spans[from + 1], &ranges->spans[to],
                (ranges->count - to) * sizeof(*ranges->spans));
    ranges->count = ranges->count - (to - from) + 1;
    ranges->spans[from] = (struct span){.first = first, .last = last};
    ranges->family = family;
    return 0;
}

static int parse_span(const char *first_text, size_t first_length, const char *last_text,
                      size_t last_length, struct address *ret_first, struct address *ret_last,
                      struct error *error)
{
    struct address first;
    struct address last;
    int result = address_parse_bytes(first_text, first_length, &first, error);
    if (result == 0)
        result = address_parse_bytes(last_text, last_length, &last, error);
    if (result != 0)
        return result;
    if (first.family != last.family)
        return error_set(error, -EINVAL, "first and last address are of two families");
    if (address_compare(&last, &first) < 0)
        return error_set(error, -EINVAL, "the last address is before the first");
    *ret_first = first;
    *ret_last = last;
    return 0;
}

static bool is_blank(char character)
{
    return character == ' ' || character == '\t';
}

int ranges_parse(const char *entry, struct address *ret_first, struct address *ret_last,
                 struct error *error)
{
    const char *dash = strchr(entry, '-');
    if (dash != NULL) {
        const char *last = dash + 1;
        size_t first_length = (size_t)(dash - entry);
        while (first_length > 0 && is_blank(entry[first_length - 1]))
            first_length--;
        while (is_blank(*last))
            last++;
        return parse_span(entry, first_length, last, strlen(last), ret_first, ret_last, error);
    }
    struct cidr cidr;
    int result = cidr_parse_or_address(entry, &cidr, error);
    if (result != 0)
        return result;
    *ret_first = cidr_first(&cidr);
    *ret_last = cidr_last(&cidr);
    return 0;
}

static int check_family(const struct ranges *ranges, uint8_t family, struct error *error)
{
    if (ranges->family == 0 || ranges->family == family)
        return 0;
    return error_set(error, -EINVAL, "an IPv%u entry in a list of IPv%u", family, ranges->family);
}

static int check_overlap(const struct ranges *ranges, const struct address *first,
                         const struct address *last, struct error *error)
{
    struct address low;
    size_t index = ranges_seek(ranges, uint128_from_address(first));
    if (!span_overlaps(ranges, uint128_from_address(first), uint128_from_address(last)))
        return 0;
    char text[ADDRESS_TEXT_SIZE];
    low = uint128_to_address(ranges->family, ranges->spans[index].first);
    address_format(address_compare(&low, first) < 0 ? first : &low, text);
    return error_set(error, -EEXIST, "overlaps an entry before it: both have %s", text);
}

int ranges_add_span(struct ranges *ranges, const struct address *first, const struct address *last,
                    struct error *error)
{
    int result = check_family(ranges, first->family, error);
    if (result == 0)
        result = check_overlap(ranges, first, last, error);
    return result == 0 ? ranges_merge_span(ranges, first, last, error) : result;
}

int ranges_add(struct ranges *ranges, const char *entry, struct error *error)
{
    struct address first;
    struct address last;
    int result = ranges_parse(entry, &first, &last, error);
    if (result == 0)
        result = ranges_add_span(ranges, &first, &last, error);
    if (result != 0)
        error_prefix(error, "range \"%.*s\"", QUOTED_MAXIMUM, entry);
    return result;
}

int ranges_merge(struct ranges *ranges, const char *entry, struct error *error)
{
    struct address first;
    struct address last;
    int result = ranges_parse(entry, &first, &last, error);
    if (result == 0)
        result = ranges_merge_span(ranges, &first, &last, error);
    if (result != 0)
        error_prefix(error, "range \"%.*s\"", QUOTED_MAXIMUM, entry);
    return result;
}

int ranges_add_pair(struct ranges *ranges, const char *first_text, const char *last_text,
                    struct error *error)
{
    struct address first;
    struct address last;
    int result = parse_span(first_text, strlen(first_text), last_text, strlen(last_text), &first,
                            &last, error);
    if (result == 0)
        result = ranges_add_span(ranges, &first, &last, error);
    if (result != 0)
        error_prefix(error, "range [\"%.*s\", \"%.*s\"]", QUOTED_MAXIMUM / 2, first_text,
                     QUOTED_MAXIMUM / 2, last_text);
    return result;
}

int ranges_merge_span(struct ranges *ranges, const struct address *first,
                      const struct address *last, struct error *error)
{
    int result = check_family(ranges, first->family, error);
    if (result != 0)
        return result;
    if (last->family != first->family || address_compare(last, first) < 0)
        return error_set(error, -EINVAL, "the last address is before the first");
    return ranges_merge_values(ranges, first->family, uint128_from_address(first),
                               uint128_from_address(last), error);
}

int ranges_merge_cidr(struct ranges *ranges, const struct cidr *cidr, struct error *error)
{
    struct address first = cidr_first(cidr);
    struct address last = cidr_last(cidr);
    return ranges_merge_span(ranges, &first, &last, error);
}

/* Writes the union of two sorted lists of spans; room for both is there. */
static size_t unite(const struct ranges *left, const struct ranges *right, struct span *ret_spans)
{
    size_t count = 0;
    for (size_t i = 0, j = 0; i < left->count || j < right->count;) {
        bool from_left =
            j == right->count || (i < left->count && left->spans[i].first <= right->spans[j].first);
        struct span span = from_left ? left->spans[i++] : right->spans[j++];
        struct span *previous = count > 0 ? &ret_spans[count - 1] : NULL;
        if (previous == NULL || (previous->last < span.first && span.first - previous->last > 1))
            ret_spans[count++] = span;
        else if (span.last > previous->last)
            previous->last = span.last;
    }
    return count;
}

/* Writes what is in from but not in minus; room for the spans of both is there. */
static size_t subtract(const struct ranges *from, const struct ranges *minus,
                       struct span *ret_spans)
{
    size_t count = 0;
    size_t j = 0;
    for (size_t i = 0; i < from->count; i++) {
        struct span rest = from->spans[i];
        bool left_over = true;
        while (j < minus->count && minus->spans[j].last < rest.first)
            j++;
        for (size_t k = j; k < minus->count && minus->spans[k].first <= rest.last; k++) {
            if (minus->spans[k].first > rest.first)
                ret_spans[count++] =
                    (struct span){.first = rest.first, .last = minus->spans[k].first - 1};
            left_over = minus->spans[k].last < rest.last;
            if (!left_over)
                break;
            rest.first = minus->spans[k].last + 1;
        }
        if (left_over)
            ret_spans[count++] = rest;
    }
    return count;
}

/* Replaces the spans by those that combine writes. */
static int ranges_combine(struct ranges *ranges, const struct ranges *other,
                          size_t (*combine)(const struct ranges *left, const struct ranges *right,
                                            struct span *ret_spans),
                          struct error *error)
{
    size_t capacity = ranges->count + other->count;
    struct span *spans = calloc(capacity > 0 ? capacity : 1, sizeof(*spans));
    if (spans == NULL)
        return error_no_memory(error);
    ranges->count = combine(ranges, other, spans);
    free(ranges->spans);
    ranges->spans = spans;
    ranges->capacity = capacity;
    return 0;
}

int ranges_merge_all(struct ranges *ranges, const struct ranges *other, struct error *error)
{
    if (other->count == 0)
        return 0;
    int result = check_family(ranges, other->family, error);
    if (result != 0)
        return result;
    result = ranges_combine(ranges, other, unite, error);
    if (result == 0)
        ranges->family = other->family;
    return result;
}

int ranges_subtract(struct ranges *ranges, const struct ranges *minus, struct error *error)
{
    if (ranges->family != minus->family || minus->count == 0)
        return 0;
    return ranges_combine(ranges, minus, subtract, error);
}

uint8_t ranges_family(const struct ranges *ranges)
{
    return ranges->family;
}

bool ranges_is_empty(const struct ranges *ranges)
{
    return ranges->count == 0;
}

bool ranges_equal(const struct ranges *left, const struct ranges *right)
{
    if (left->count != right->count)
        return false;
    if (left->count == 0)
        return true;
    return left->family == right->family &&
           memcmp(left->spans, right->spans, left->count * sizeof(*left->spans)) == 0;
}

struct address_count ranges_size(const struct ranges *ranges)
{
    struct address_count size = address_count_from(0);
    for (size_t i = 0; i < ranges->count; i++) {
        uint128 less_one = ranges->spans[i].last - ranges->spans[i].first;
        struct address_count span = {.high = uint128_high(less_one), .low = uint128_low(less_one)};
        size = address_count_add(size, address_count_add(span, address_count_from(1)));
    }
    return size;
}

/* Whether one span holds both ends. */
static bool values_covered(const struct ranges *ranges, uint128 first, uint128 last)
{
    size_t index = ranges_seek(ranges, first);
    return index < ranges->count && ranges->spans[index].first <= first &&
           last <= ranges->spans[index].last;
}

bool ranges_contains(const struct ranges *ranges, const struct address *address)
{
    uint128 value = uint128_from_address(address);
    return address->family == ranges->family && values_covered(ranges, value, value);
}

bool ranges_covers(const struct ranges *ranges, const struct cidr *cidr)
{
    struct address last = cidr_last(cidr);
    return cidr->address.family == ranges->family &&
           values_covered(ranges, uint128_from_address(&cidr->address),
                          uint128_from_address(&last));
}

bool ranges_covers_all(const struct ranges *ranges, const struct ranges *other)
{
    if (other->count > 0 && other->family != ranges->family)
        return false;
    for (size_t i = 0; i < other->count; i++) {
        if (!values_covered(ranges, other->spans[i].first, other->spans[i].last))
            return false;
    }
    return true;
}

bool ranges_overlap(const struct ranges *left, const struct ranges *right,
                    struct address *ret_address)
{
    if (left->family != right->family)
        return false;
    for (size_t i = 0, j = 0; i < left->count && j < right->count;) {
        const struct span *one = &left->spans[i];
        const struct span *two = &right->spans[j];
        if (one->last < two->first) {
            i++;
        } else if (two->last < one->first) {
            j++;
        } else {
            uint128 first = one->first > two->first ? one->first : two->first;
            if (ret_address != NULL)
                *ret_address = uint128_to_address(left->family, first);
            return true;
        }
    }
    return false;
}

size_t ranges_span_count(const struct ranges *ranges)
{
    return ranges->count;
}

void ranges_span(const struct ranges *ranges, size_t index, struct address *ret_first,
                 struct address *ret_last)
{
    *ret_first = uint128_to_address(ranges->family, ranges->spans[index].first);
    *ret_last = uint128_to_address(ranges->family, ranges->spans[index].last);
}

void ranges_format_span(const struct ranges *ranges, size_t index,
                        char ret_text[RANGES_SPAN_TEXT_SIZE])
{
    struct address first;
    struct address last;
    char text[ADDRESS_TEXT_SIZE];
    char end_text[ADDRESS_TEXT_SIZE];
    ranges_span(ranges, index, &first, &last);
    address_format(&first, text);
    if (address_equal(&first, &last)) {
        snprintf(ret_text, RANGES_SPAN_TEXT_SIZE, "%s", text);
        return;
    }
    for (unsigned int prefix_length = 0; prefix_length < address_bits(first.family);
         prefix_length++) {
        struct cidr cidr = cidr_of(&first, prefix_length);
        struct address end = cidr_last(&cidr);
        if (address_equal(&cidr.address, &first) && address_equal(&end, &last)) {
            snprintf(ret_text, RANGES_SPAN_TEXT_SIZE, "%s/%u", text, prefix_length);
            return;
        }
    }
    address_format(&last, end_text);
    snprintf(ret_text, RANGES_SPAN_TEXT_SIZE, "%s-%s", text, end_text);
}

uint64_t ranges_leaf_mask(const struct ranges *ranges, struct ranges_index leaf,
                          struct ranges_index *ret_end)
{
    uint128 index = uint128_make(leaf.high, leaf.low);
    uint128 first = index << 6;
    uint128 last = first | 63;
    uint128 end = index + 1;
    uint64_t mask = 0;
    size_t i = ranges_seek(ranges, first);
    if (i == ranges->count) {
        end = (uint128)1 << 122;
    } else if (ranges->spans[i].first > last) {
        end = ranges->spans[i].first >> 6;
    } else if (ranges->spans[i].first <= first && ranges->spans[i].last >= last) {
        mask = UINT64_MAX;
        end = (ranges->spans[i].last >> 6) + ((ranges->spans[i].last & 63) == 63 ? 1 : 0);
    } else {
        for (; i < ranges->count && ranges->spans[i].first <= last; i++) {
            uint128 low = ranges->spans[i].first > first ? ranges->spans[i].first : first;
            uint128 high = ranges->spans[i].last < last ? ranges->spans[i].last : last;
            mask |= UINT64_MAX << (low & 63) & UINT64_MAX >> (63 - (high & 63));
        }
    }
    *ret_end = (struct ranges_index){.high = uint128_high(end), .low = uint128_low(end)};
    return mask;
}

bool ranges_next(const struct ranges *ranges, struct ranges_position *position,
                 struct cidr *ret_cidr)
{
    if (position->span >= ranges->count)
        return false;
    const struct span *span = &ranges->spans[position->span];
    unsigned int bits = address_bits(ranges->family);
    uint128 first =
        position->next.family != 0 ? uint128_from_address(&position->next) : span->first;
    /* The biggest block that starts here: by alignment, then by what is left of the span. */
    unsigned int host_bits = first != 0 ? uint128_lowest(first) : bits;
    if (uint128_ones(host_bits) > span->last - first)
        host_bits = uint128_highest(span->last - first + 1);
    uint128 last = first + uint128_ones(host_bits);
    *ret_cidr = (struct cidr){.address = uint128_to_address(ranges->family, first),
                              .prefix_length = (uint8_t)(bits - host_bits)};
    if (last == span->last)
        *position = (struct ranges_position){.span = position->span + 1};
    else
        position->next = uint128_to_address(ranges->family, last + 1);
    return true;
}

bool ranges_nth_block(const struct ranges *ranges, unsigned int prefix_length,
                      struct ranges_index n, struct cidr *ret_cidr)
{
    if (prefix_length > address_bits(ranges->family))
        return false;
    unsigned int host_bits = address_bits(ranges->family) - prefix_length;
    uint128 wanted = uint128_make(n.high, n.low);
    struct ranges_position position = {0};
    struct cidr cidr;
    while (ranges_next(ranges, &position, &cidr)) {
        if (cidr.prefix_length > prefix_length)
            continue;
        uint128 last_index = uint128_ones(prefix_length - cidr.prefix_length);
        if (wanted <= last_index) {
            uint128 offset = host_bits < 128 ? wanted << host_bits : 0;
            uint128 first = uint128_from_address(&cidr.address) + offset;
            *ret_cidr = (struct cidr){.address = uint128_to_address(ranges->family, first),
                                      .prefix_length = (uint8_t)prefix_length};
            return true;
        }
        wanted -= last_index + 1; /* when that wraps, the block was all of IPv6: returned above */
    }
    return false;
}
