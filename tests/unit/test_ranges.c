/* Ranges: entries as users write them, set arithmetic against a bitmap, and what a /0 of IPv6
 * costs. */
#include "allocator/ranges.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* Adds a list separated by commas; stops at the first error. */
static int add_list(struct ranges *ranges, const char *entries, bool merge, struct error *error)
{
    char copy[512];
    snprintf(copy, sizeof(copy), "%s", entries);
    char *rest = copy;
    int result = 0;
    for (char *entry; result == 0 && (entry = strsep(&rest, ",")) != NULL;)
        result = merge ? ranges_merge(ranges, entry, error) : ranges_add(ranges, entry, error);
    return result;
}

/* The CIDRs, separated by blanks. */
static const char *listed(const struct ranges *ranges)
{
    static char text[65536];
    size_t length = 0;
    struct ranges_position position = {0};
    struct cidr cidr;
    text[0] = '\0';
    while (ranges_next(ranges, &position, &cidr)) {
        char one[CIDR_TEXT_SIZE];
        cidr_format(&cidr, one);
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%s",
                                   length > 0 ? " " : "", one);
    }
    return text;
}

struct good {
    const char *entries;
    const char *cidrs;
    const char *size;
};

static const struct good good_lists[] = {
    {"10.0.0.0/24", "10.0.0.0/24", "256"},
    {"10.0.0.7", "10.0.0.7/32", "1"},
    {"10.0.0.7-10.0.0.7", "10.0.0.7/32", "1"},
    {"10.0.0.0-10.0.0.255", "10.0.0.0/24", "256"},
    {"10.0.0.0 - 10.0.0.255", "10.0.0.0/24", "256"},
    {"10.0.0.10-10.0.0.20", "10.0.0.10/31 10.0.0.12/30 10.0.0.16/30 10.0.0.20/32", "11"},
    {"10.0.0.0/25,10.0.0.128/25", "10.0.0.0/24", "256"},
    {"10.0.0.128/25,10.0.0.0/25", "10.0.0.0/24", "256"},
    {"10.0.0.128/26,10.0.0.0/26,10.0.0.64/26", "10.0.0.0/25 10.0.0.128/26", "192"},
    {"10.0.1.0/24,10.0.2.0/24", "10.0.1.0/24 10.0.2.0/24", "512"},
    {"0.0.0.0/0", "0.0.0.0/0", "4294967296"},
    {"0.0.0.0-255.255.255.255", "0.0.0.0/0", "4294967296"},
    {"255.255.255.255,255.255.255.254", "255.255.255.254/31", "2"},
    {"::/0", "::/0", "340282366920938463463374607431768211456"},
    {"::/1,8000::/1", "::/0", "340282366920938463463374607431768211456"},
    {"2001:db8::-2001:db8::ffff", "2001:db8::/112", "65536"},
    {"2001:DB8::7", "2001:db8::7/128", "1"},
    {"::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL,
     "340282366920938463463374607431768211455"},
    {"10.0.8.0-10.0.247.0",
     "10.0.8.0/21 10.0.16.0/20 10.0.32.0/19 10.0.64.0/18 10.0.128.0/18 10.0.192.0/19 "
     "10.0.224.0/20 10.0.240.0/22 10.0.244.0/23 10.0.246.0/24 10.0.247.0/32",
     "61185"},
};

static const struct {
    const char *entries;
    int code;
    const char *text; /* NULL: only the last entry must be named */
} bad_lists[] = {
    {"", -EINVAL, "range \"\": \"\" is not an IP address"},
    {" ", -EINVAL, NULL},
    {"-", -EINVAL, NULL},
    {"10.0.0.1-", -EINVAL, NULL},
    {"-10.0.0.1", -EINVAL, NULL},
    {"10.0.0.1--10.0.0.2", -EINVAL, NULL},
    {"10.0.0.1-10.0.0.2-10.0.0.3", -EINVAL, NULL},
    {"10.0.0.2-10.0.0.1", -EINVAL,
     "range \"10.0.0.2-10.0.0.1\": the last address is before the first"},
    {"::2-::1", -EINVAL, NULL},
    {"10.0.0.1-::1", -EINVAL, "range \"10.0.0.1-::1\": first and last address are of two families"},
    {"::1-10.0.0.1", -EINVAL, NULL},
    {"10.0.0.0/24-10.0.1.0/24", -EINVAL, NULL},
    {"10.0.0.0/24-10.0.1.0", -EINVAL, NULL},
    {"10.0.0.7/24", -EINVAL, NULL},
    {"10.0.0.0/33", -EINVAL, NULL},
    {"::/129", -EINVAL, NULL},
    {"::1/64", -EINVAL, NULL},
    {"10.0.0.0/", -EINVAL, NULL},
    {" 10.0.0.1", -EINVAL, NULL},
    {"10.0.0.1 ", -EINVAL, NULL},
    {"10.0.0.1 10.0.0.2", -EINVAL, NULL},
    {"10.0.0.1\n-10.0.0.2", -EINVAL, NULL},
    {"10.0.0.1\xe2\x80\x93"
     "10.0.0.2",
     -EINVAL, NULL},
    {"010.0.0.1", -EINVAL, NULL},
    {"10.0.0.1-10.0.0.256", -EINVAL, NULL},
    {"10.0.0.1-2", -EINVAL, NULL},
    {"10.0.0", -EINVAL, NULL},
    {"::ffff:10.0.0.1", -EINVAL, NULL},
    {"::ffff:10.0.0.1-::ffff:10.0.0.9", -EINVAL, NULL},
    {"fe80::1%eth0-fe80::2%eth0", -EINVAL, NULL},
    {"10.0.0.1,::1", -EINVAL, "range \"::1\": an IPv6 entry in a list of IPv4"},
    {"::1,10.0.0.0/8", -EINVAL, "range \"10.0.0.0/8\": an IPv4 entry in a list of IPv6"},
    {"10.0.0.0/24,10.0.0.0/24", -EEXIST,
     "range \"10.0.0.0/24\": overlaps an entry before it: both have 10.0.0.0"},
    {"10.0.0.0/24,10.0.0.77", -EEXIST,
     "range \"10.0.0.77\": overlaps an entry before it: both have 10.0.0.77"},
    {"10.0.0.77,10.0.0.0/24", -EEXIST,
     "range \"10.0.0.0/24\": overlaps an entry before it: both have 10.0.0.77"},
    {"::/1,7fff::-8000::1", -EEXIST,
     "range \"7fff::-8000::1\": overlaps an entry before it: both have 7fff::"},
};

static void test_good_lists(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good_lists) / sizeof(good_lists[0]); i++) {
        struct error error;
        char size[ADDRESS_COUNT_TEXT_SIZE];
        _cleanup_ranges_ struct ranges *ranges = ranges_new();
        if (add_list(ranges, good_lists[i].entries, false, &error) != 0)
            fail_msg("%s", error.text);
        if (good_lists[i].cidrs != NULL)
            assert_string_equal(listed(ranges), good_lists[i].cidrs);
        address_count_format(ranges_size(ranges), size);
        assert_string_equal(size, good_lists[i].size);
        assert_int_equal(add_list(ranges, good_lists[i].entries, true, NULL), 0);
        address_count_format(ranges_size(ranges), size);
        assert_string_equal(size, good_lists[i].size);
    }
}

static void test_bad_lists(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_lists) / sizeof(bad_lists[0]); i++) {
        struct error error = {0};
        _cleanup_ranges_ struct ranges *ranges = ranges_new();
        int result = add_list(ranges, bad_lists[i].entries, false, &error);
        if (result != bad_lists[i].code)
            fail_msg("\"%s\": %d", bad_lists[i].entries, result);
        assert_int_equal(error.code, result);
        if (bad_lists[i].text != NULL)
            assert_string_equal(error.text, bad_lists[i].text);
        const char *last = strrchr(bad_lists[i].entries, ',');
        assert_non_null(strstr(error.text, last != NULL ? last + 1 : bad_lists[i].entries));
        _cleanup_ranges_ struct ranges *again = ranges_new();
        if (result == -EEXIST)
            assert_int_equal(add_list(again, bad_lists[i].entries, true, &error), 0);
        else
            assert_int_equal(add_list(again, bad_lists[i].entries, true, NULL), result);
    }
}

static void test_error_leaves_the_set_alone(void **state)
{
    (void)state;
    struct error error;
    _cleanup_ranges_ struct ranges *ranges = ranges_new();
    assert_int_equal(ranges_add(ranges, "10.0.0.0/30", NULL), 0);
    assert_int_equal(ranges_add(ranges, "10.0.0.2-10.0.0.9", &error), -EEXIST);
    assert_int_equal(ranges_add(ranges, "::1", &error), -EINVAL);
    assert_string_equal(listed(ranges), "10.0.0.0/30");
}

static void test_pairs(void **state)
{
    (void)state;
    struct error error;
    _cleanup_ranges_ struct ranges *ranges = ranges_new();
    assert_int_equal(ranges_add_pair(ranges, "10.0.0.4", "10.0.0.7", NULL), 0);
    assert_int_equal(ranges_add_pair(ranges, "10.0.0.8", "10.0.0.8", NULL), 0);
    assert_string_equal(listed(ranges), "10.0.0.4/30 10.0.0.8/32");
    assert_int_equal(ranges_add_pair(ranges, "10.0.0.9", "10.0.0.8", &error), -EINVAL);
    assert_string_equal(error.text, "range [\"10.0.0.9\", \"10.0.0.8\"]: the last address is "
                                    "before the first");
    assert_int_equal(ranges_add_pair(ranges, "10.0.0.8", "10.0.0.9", &error), -EEXIST);
    assert_int_equal(ranges_add_pair(ranges, "", "10.0.0.9", &error), -EINVAL);
    assert_int_equal(ranges_add_pair(ranges, "::1", "::2", &error), -EINVAL);
    assert_int_equal(ranges_add_pair(ranges, "10.0.0.0/30", "10.0.0.9", &error), -EINVAL);
}

static void test_subtract_never_enumerates(void **state)
{
    (void)state;
    char size[ADDRESS_COUNT_TEXT_SIZE];
    _cleanup_ranges_ struct ranges *ranges = ranges_new();
    _cleanup_ranges_ struct ranges *minus = ranges_new();
    assert_int_equal(ranges_add(ranges, "::/0", NULL), 0);
    assert_int_equal(
        add_list(minus, "::,8000::,ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, NULL), 0);
    assert_int_equal(ranges_subtract(ranges, minus, NULL), 0);
    address_count_format(ranges_size(ranges), size);
    assert_string_equal(size, "340282366920938463463374607431768211453");
    assert_int_equal(ranges_span_count(ranges), 2);
    struct ranges_position position = {0};
    struct cidr cidr;
    size_t count = 0;
    while (ranges_next(ranges, &position, &cidr))
        count++;
    assert_int_equal(count, 127 + 2 * 126);
    _cleanup_ranges_ struct ranges *ipv4 = ranges_new();
    assert_int_equal(ranges_add(ipv4, "10.0.0.0/8", NULL), 0);
    assert_int_equal(ranges_subtract(ranges, ipv4, NULL), 0);
    assert_int_equal(ranges_span_count(ranges), 2);
}

static struct cidr cidr_from(const char *text)
{
    struct cidr cidr;
    assert_int_equal(cidr_parse_or_address(text, &cidr, NULL), 0);
    return cidr;
}

static void test_questions(void **state)
{
    (void)state;
    _cleanup_ranges_ struct ranges *ranges = ranges_new();
    _cleanup_ranges_ struct ranges *other = ranges_new();
    assert_true(ranges_is_empty(ranges));
    assert_int_equal(ranges_family(ranges), 0);
    assert_true(ranges_equal(ranges, other));
    assert_true(ranges_covers_all(ranges, other));
    assert_int_equal(add_list(ranges, "10.0.0.10-10.0.0.20,10.0.1.0/24", false, NULL), 0);
    assert_int_equal(ranges_family(ranges), ADDRESS_IPV4);
    static const struct {
        const char *cidr;
        bool covered;
    } cases[] = {
        {"10.0.0.9", false},     {"10.0.0.10", true},    {"10.0.0.20", true},
        {"10.0.0.21", false},    {"10.0.0.12/30", true}, {"10.0.0.8/30", false},
        {"10.0.0.20/30", false}, {"10.0.1.0/24", true},  {"10.0.1.128/25", true},
        {"10.0.0.0/23", false},  {"::1", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cidr cidr = cidr_from(cases[i].cidr);
        if (ranges_covers(ranges, &cidr) != cases[i].covered)
            fail_msg("%s", cases[i].cidr);
        if (cidr.prefix_length >= 32)
            assert_int_equal(ranges_contains(ranges, &cidr.address), cases[i].covered);
    }
    struct address address;
    assert_int_equal(add_list(other, "10.0.0.0/29,10.0.0.20-10.0.0.30", false, NULL), 0);
    assert_true(ranges_overlap(ranges, other, &address));
    struct cidr both = cidr_from("10.0.0.20");
    assert_true(address_equal(&address, &both.address));
    assert_false(ranges_covers_all(ranges, other));
    assert_false(ranges_equal(ranges, other));
    assert_int_equal(ranges_merge_all(other, ranges, NULL), 0);
    assert_true(ranges_covers_all(other, ranges));
    assert_string_equal(listed(other), "10.0.0.0/29 10.0.0.10/31 10.0.0.12/30 10.0.0.16/29 "
                                       "10.0.0.24/30 10.0.0.28/31 10.0.0.30/32 10.0.1.0/24");
    _cleanup_ranges_ struct ranges *copy = ranges_copy(other);
    assert_true(ranges_equal(copy, other));
    _cleanup_ranges_ struct ranges *ipv6 = ranges_new();
    assert_int_equal(ranges_add(ipv6, "::/0", NULL), 0);
    assert_false(ranges_overlap(ipv6, other, NULL));
    assert_int_equal(ranges_merge_all(ipv6, other, NULL), -EINVAL);
}

static void test_nth_block(void **state)
{
    (void)state;
    static const struct {
        const char *entries;
        unsigned int prefix_length;
        struct ranges_index n;
        const char *block; /* NULL: not that many */
    } cases[] = {
        {"10.0.0.0/24", 26, {0, 0}, "10.0.0.0/26"},
        {"10.0.0.0/24", 26, {0, 3}, "10.0.0.192/26"},
        {"10.0.0.0/24", 26, {0, 4}, NULL},
        {"10.0.0.0/24", 24, {0, 0}, "10.0.0.0/24"},
        {"10.0.0.0/24", 23, {0, 0}, NULL},
        {"10.0.0.0/24", 33, {0, 0}, NULL},
        {"10.0.0.0/24,10.1.0.0/25,10.2.0.0/24", 25, {0, 2}, "10.1.0.0/25"},
        {"10.0.0.0/24,10.1.0.0/25,10.2.0.0/24", 24, {0, 1}, "10.2.0.0/24"},
        {"10.0.0.10-10.0.0.20", 32, {0, 10}, "10.0.0.20/32"},
        {"10.0.0.10-10.0.0.20", 30, {0, 1}, "10.0.0.16/30"},
        {"0.0.0.0/0", 0, {0, 0}, "0.0.0.0/0"},
        {"::/0", 0, {0, 0}, "::/0"},
        {"::/0", 0, {0, 1}, NULL},
        {"::/0", 128, {UINT64_MAX, UINT64_MAX}, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"},
        {"::/0", 1, {0, 1}, "8000::/1"},
        {"2001:db8::/32", 64, {0, 0xffffffff}, "2001:db8:ffff:ffff::/64"},
        {"2001:db8::/32", 64, {0, UINT64_C(0x100000000)}, NULL},
        {"2001:db8::/32", 128, {1, 5}, "2001:db8:0:1::5/128"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cidr cidr;
        char text[CIDR_TEXT_SIZE];
        _cleanup_ranges_ struct ranges *ranges = ranges_new();
        assert_int_equal(add_list(ranges, cases[i].entries, false, NULL), 0);
        bool found = ranges_nth_block(ranges, cases[i].prefix_length, cases[i].n, &cidr);
        if (found != (cases[i].block != NULL))
            fail_msg("%s /%u", cases[i].entries, cases[i].prefix_length);
        if (!found)
            continue;
        cidr_format(&cidr, text);
        assert_string_equal(text, cases[i].block);
    }
    _cleanup_ranges_ struct ranges *empty = ranges_new();
    struct cidr cidr;
    assert_false(ranges_nth_block(empty, 32, (struct ranges_index){0}, &cidr));
}

/* ---- set arithmetic against a bitmap of 4096 addresses at the very end of the space ---- */

#define SPACE 4096

static uint64_t random_state;

static size_t random_below(size_t limit)
{
    uint64_t value = random_state += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return (size_t)((value ^ value >> 31) % limit);
}

struct twin {
    struct ranges *ranges;
    bool bitmap[SPACE];
};

static struct address at(uint8_t family, size_t offset)
{
    if (family == ADDRESS_IPV4)
        return (struct address){.family = family, .low = 0xffffffff - (SPACE - 1) + offset};
    return (struct address){
        .family = family, .high = UINT64_MAX, .low = UINT64_MAX - (SPACE - 1) + offset};
}

static void random_span(size_t *ret_first, size_t *ret_last)
{
    size_t first = random_below(SPACE);
    size_t last = first + random_below(random_below(4) == 0 ? 1000 : 30);
    *ret_first = first;
    *ret_last = last < SPACE ? last : SPACE - 1;
}

static void twin_fill(struct twin *twin, uint8_t family, size_t spans)
{
    *twin = (struct twin){.ranges = ranges_new()};
    assert_non_null(twin->ranges);
    for (; spans > 0; spans--) {
        size_t first;
        size_t last;
        random_span(&first, &last);
        struct address from = at(family, first);
        struct address to = at(family, last);
        assert_int_equal(ranges_merge_span(twin->ranges, &from, &to, NULL), 0);
        memset(&twin->bitmap[first], true, last - first + 1);
    }
}

/* The CIDRs are those of the bitmap, each as big as it could be. */
static void twin_check(const struct twin *twin, uint8_t family)
{
    size_t offset = 0;
    size_t count = 0;
    struct ranges_position position = {0};
    struct cidr cidr;
    struct address base = at(family, 0);
    while (ranges_next(twin->ranges, &position, &cidr)) {
        size_t first = (size_t)(cidr.address.low - base.low);
        size_t size = (size_t)1 << (address_bits(family) - cidr.prefix_length);
        for (; offset < first; offset++)
            assert_false(twin->bitmap[offset]);
        for (; offset < first + size; offset++)
            assert_true(twin->bitmap[offset]);
        /* Its buddy isn't wholly in the set too, or they would be one. */
        size_t buddy = first ^ size;
        bool whole = size < SPACE;
        for (size_t i = buddy; whole && i < buddy + size; i++)
            whole = twin->bitmap[i];
        assert_false(whole);
        count += size;
    }
    for (; offset < SPACE; offset++)
        assert_false(twin->bitmap[offset]);
    assert_true(address_count_saturated(ranges_size(twin->ranges)) == count);
}

static void twin_questions(const struct twin *left, const struct twin *right, uint8_t family)
{
    bool overlap = false;
    bool covers = true;
    bool equal = true;
    size_t first_common = SPACE;
    for (size_t i = 0; i < SPACE; i++) {
        if (left->bitmap[i] && right->bitmap[i] && !overlap)
            first_common = i;
        overlap = overlap || (left->bitmap[i] && right->bitmap[i]);
        covers = covers && (left->bitmap[i] || !right->bitmap[i]);
        equal = equal && left->bitmap[i] == right->bitmap[i];
    }
    struct address address = {0};
    struct address expected = at(family, first_common);
    assert_int_equal(ranges_overlap(left->ranges, right->ranges, &address), overlap);
    if (overlap)
        assert_true(address_equal(&address, &expected));
    assert_int_equal(ranges_covers_all(left->ranges, right->ranges), covers);
    assert_int_equal(ranges_equal(left->ranges, right->ranges), equal);
    for (int i = 0; i < 20; i++) {
        size_t offset = random_below(SPACE);
        address = at(family, offset);
        assert_int_equal(ranges_contains(left->ranges, &address), left->bitmap[offset]);
        uint64_t mask = 0;
        for (size_t bit = 0; bit < 64; bit++)
            mask |= (uint64_t)left->bitmap[offset / 64 * 64 + bit] << bit;
        struct ranges_index end;
        struct ranges_index leaf = {.high = address.high >> 6,
                                    .low = address.high << 58 | address.low >> 6};
        assert_true(ranges_leaf_mask(left->ranges, leaf, &end) == mask);
        assert_true(end.low > leaf.low || end.high > leaf.high);
    }
}

static void test_random_sets(void **state)
{
    (void)state;
    const char *seed = getenv("IPWARDEN_SEED");
    random_state = seed != NULL ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);
    print_message("IPWARDEN_SEED=%llu\n", (unsigned long long)random_state);
    for (int round = 0; round < 600; round++) {
        uint8_t family = round % 2 == 0 ? ADDRESS_IPV4 : ADDRESS_IPV6;
        struct twin left;
        struct twin right;
        twin_fill(&left, family, 1 + random_below(40));
        twin_fill(&right, family, 1 + random_below(40));
        twin_check(&left, family);
        twin_questions(&left, &right, family);
        if (round % 3 == 0) {
            assert_int_equal(ranges_merge_all(left.ranges, right.ranges, NULL), 0);
            for (size_t i = 0; i < SPACE; i++)
                left.bitmap[i] = left.bitmap[i] || right.bitmap[i];
        } else {
            assert_int_equal(ranges_subtract(left.ranges, right.ranges, NULL), 0);
            for (size_t i = 0; i < SPACE; i++)
                left.bitmap[i] = left.bitmap[i] && !right.bitmap[i];
        }
        twin_check(&left, family);
        twin_questions(&left, &right, family);
        ranges_free(left.ranges);
        ranges_free(right.ranges);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_lists),
        cmocka_unit_test(test_bad_lists),
        cmocka_unit_test(test_error_leaves_the_set_alone),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_subtract_never_enumerates),
        cmocka_unit_test(test_questions),
        cmocka_unit_test(test_nth_block),
        cmocka_unit_test(test_random_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
