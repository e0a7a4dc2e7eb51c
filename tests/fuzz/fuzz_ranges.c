/* Lists of ranges, one entry a line: nothing crashes, errors leave the set alone, and what is
 * accepted comes back in the same meaning from its CIDRs. The other texts of addresses are tried on
 * the way. */
#include "allocator/address.h"
#include "allocator/cidr.h"
#include "allocator/ranges.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool truth)
{
    if (!truth)
        abort();
}

static void try_address(const char *text)
{
    struct address address;
    struct address again;
    struct error error;
    char formatted[ADDRESS_TEXT_SIZE];
    char name[ADDRESS_CLAIM_NAME_SIZE];
    uint8_t prefix_length;
    if (address_from_claim_name(text, &address, &prefix_length, &error) == 0)
        expect(prefix_length <= address_bits(address.family));
    if (address_parse(text, &address, &error) != 0)
        return;
    address_format(&address, formatted);
    expect(address_parse(formatted, &again, NULL) == 0 && address_equal(&address, &again));
    address_claim_name(&address, name);
    expect(address_from_claim_name(name, &again, NULL, NULL) == 0);
    expect(address_equal(&address, &again));
}

static void try_cidr(const char *text)
{
    struct cidr cidr;
    struct cidr masked;
    struct error error;
    char formatted[CIDR_TEXT_SIZE];
    if (cidr_parse_masked(text, &masked, &error) == 0) {
        cidr_format(&masked, formatted);
        expect(cidr_parse(formatted, &cidr, NULL) == 0 && cidr_equal(&cidr, &masked));
    }
    if (cidr_parse(text, &cidr, &error) == 0)
        expect(cidr_equal(&cidr, &masked));
}

/* A set from the CIDRs of another is the same set. */
static void check_again(const struct ranges *ranges)
{
    _cleanup_ranges_ struct ranges *again = ranges_new();
    struct ranges_position position = {0};
    struct address_count size = address_count_from(0);
    struct cidr cidr;
    while (again != NULL && ranges_next(ranges, &position, &cidr)) {
        char text[CIDR_TEXT_SIZE];
        cidr_format(&cidr, text);
        expect(ranges_add(again, text, NULL) == 0);
        size = address_count_add(size, cidr_size(&cidr));
    }
    expect(again == NULL || ranges_equal(ranges, again));
    expect(address_count_compare(size, ranges_size(ranges)) == 0);
}

static void try_entry(struct ranges *strict, struct ranges *merged, const char *entry)
{
    struct error error;
    _cleanup_ranges_ struct ranges *before = ranges_copy(strict);
    _cleanup_ranges_ struct ranges *one = ranges_new();
    int result = ranges_add(strict, entry, &error);
    if (result != 0)
        expect(error.code == result && (before == NULL || ranges_equal(before, strict)));
    if (ranges_merge(merged, entry, &error) == 0)
        expect(one == NULL ||
               (ranges_merge(one, entry, NULL) == 0 && ranges_covers_all(merged, one)));
    else
        expect(result != 0);
    if (one == NULL || ranges_is_empty(one))
        return;
    _cleanup_ranges_ struct ranges *rest = ranges_copy(merged);
    if (rest == NULL || ranges_subtract(rest, one, NULL) != 0)
        return;
    expect(!ranges_overlap(rest, one, NULL));
    expect(ranges_merge_all(rest, one, NULL) != 0 || ranges_equal(rest, merged));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 4096)
        return 0;
    char *text = malloc(size + 1);
    _cleanup_ranges_ struct ranges *strict = ranges_new();
    _cleanup_ranges_ struct ranges *merged = ranges_new();
    if (text == NULL || strict == NULL || merged == NULL) {
        free(text);
        return 0;
    }
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    char *rest = text;
    for (char *entry; (entry = strsep(&rest, "\n")) != NULL;) {
        try_address(entry);
        try_cidr(entry);
        try_entry(strict, merged, entry);
    }
    check_again(strict);
    check_again(merged);
    free(text);
    return 0;
}
