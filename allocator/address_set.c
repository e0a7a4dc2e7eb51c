/* Two sets of ranges, one a family. Both are always there, and may be empty. */
#include "allocator/address_set.h"

#include <errno.h>
#include <stdlib.h>

struct address_set {
    struct ranges *of[ADDRESS_FAMILIES];
};

struct address_set *address_set_new(void)
{
    struct address_set *set = calloc(1, sizeof(*set));
    for (size_t i = 0; set != NULL && i < ADDRESS_FAMILIES; i++) {
        set->of[i] = ranges_new();
        if (set->of[i] == NULL) {
            address_set_free(set);
            return NULL;
        }
    }
    return set;
}

struct address_set *address_set_copy(const struct address_set *set)
{
    struct address_set *copy = calloc(1, sizeof(*copy));
    for (size_t i = 0; copy != NULL && i < ADDRESS_FAMILIES; i++) {
        copy->of[i] = set != NULL ? ranges_copy(set->of[i]) : ranges_new();
        if (copy->of[i] == NULL) {
            address_set_free(copy);
            return NULL;
        }
    }
    return copy;
}

void address_set_free(struct address_set *set)
{
    if (set == NULL)
        return;
    for (size_t i = 0; i < ADDRESS_FAMILIES; i++)
        ranges_free(set->of[i]);
    free(set);
}

int address_set_add(struct address_set *set, const struct address *first,
                    const struct address *last, struct error *error)
{
    return ranges_add_span(set->of[address_family_index(first->family)], first, last, error);
}

int address_set_merge(struct address_set *set, const struct address *first,
                      const struct address *last, struct error *error)
{
    return ranges_merge_span(set->of[address_family_index(first->family)], first, last, error);
}

int address_set_merge_cidr(struct address_set *set, const struct cidr *cidr, struct error *error)
{
    return ranges_merge_cidr(set->of[address_family_index(cidr->address.family)], cidr, error);
}

int address_set_subtract(struct address_set *set, const struct address_set *minus,
                         struct error *error)
{
    int result = 0;
    for (size_t i = 0; minus != NULL && result == 0 && i < ADDRESS_FAMILIES; i++)
        result = ranges_subtract(set->of[i], minus->of[i], error);
    return result;
}

const struct ranges *address_set_of(const struct address_set *set, uint8_t family)
{
    const struct ranges *ranges = set != NULL ? set->of[address_family_index(family)] : NULL;
    return ranges == NULL || ranges_is_empty(ranges) ? NULL : ranges;
}

bool address_set_is_empty(const struct address_set *set)
{
    return address_set_of(set, ADDRESS_IPV4) == NULL && address_set_of(set, ADDRESS_IPV6) == NULL;
}

bool address_set_equal(const struct address_set *left, const struct address_set *right)
{
    for (unsigned int i = 0; i < ADDRESS_FAMILIES; i++) {
        const struct ranges *one = address_set_of(left, address_family_at(i));
        const struct ranges *two = address_set_of(right, address_family_at(i));
        if ((one == NULL) != (two == NULL) || (one != NULL && !ranges_equal(one, two)))
            return false;
    }
    return true;
}

bool address_set_contains(const struct address_set *set, const struct address *address)
{
    const struct ranges *ranges = address_set_of(set, address->family);
    return ranges != NULL && ranges_contains(ranges, address);
}

bool address_set_covers_all(const struct address_set *set, const struct address_set *other)
{
    for (unsigned int i = 0; i < ADDRESS_FAMILIES; i++) {
        const struct ranges *outer = address_set_of(set, address_family_at(i));
        const struct ranges *inner = address_set_of(other, address_family_at(i));
        if (inner != NULL && (outer == NULL || !ranges_covers_all(outer, inner)))
            return false;
    }
    return true;
}

bool address_set_overlap(const struct address_set *left, const struct address_set *right,
                         struct address *ret_address)
{
    for (unsigned int i = 0; i < ADDRESS_FAMILIES; i++) {
        const struct ranges *one = address_set_of(left, address_family_at(i));
        const struct ranges *two = address_set_of(right, address_family_at(i));
        if (one != NULL && two != NULL && ranges_overlap(one, two, ret_address))
            return true;
    }
    return false;
}

size_t address_set_span_count(const struct address_set *set)
{
    return set == NULL ? 0 : ranges_span_count(set->of[0]) + ranges_span_count(set->of[1]);
}

void address_set_span(const struct address_set *set, size_t index, struct address *ret_first,
                      struct address *ret_last)
{
    size_t first_count = ranges_span_count(set->of[0]);
    if (index < first_count)
        ranges_span(set->of[0], index, ret_first, ret_last);
    else
        ranges_span(set->of[1], index - first_count, ret_first, ret_last);
}
