/* The next free address at or above another, against a walk over all addresses. */
#include "allocator/blocks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define SPACE 1024 /* addresses that the walk looks at, from the base on */
#define ROUNDS 20000

static struct address address_of(uint8_t family, uint64_t low)
{
    return (struct address){.family = family,
                            .high = family == ADDRESS_IPV6 ? UINT64_C(0x20010db800000000) : 0,
                            .low = (family == ADDRESS_IPV6 ? 0 : UINT64_C(0x0a000000)) + low};
}

static bool is_free(const struct blocks *blocks, const struct address *address)
{
    struct cidr single = cidr_single(address);
    return blocks_is_free(blocks, &single);
}

/* What the declaration promises, literally. */
static bool walk(const struct blocks *blocks, uint8_t family, uint64_t from, struct address *ret)
{
    for (uint64_t i = 0; i < 2 * SPACE; i++) {
        uint64_t at = from + i;
        *ret = address_of(family, at % SPACE);
        if ((at < SPACE || i >= SPACE - from) && is_free(blocks, ret))
            return true;
    }
    return false;
}

static struct blocks *space(uint8_t family)
{
    struct ranges *ranges = ranges_new();
    for (uint64_t at = 3; at < SPACE - 40; at += 201) {
        struct address first = address_of(family, at);
        struct address last = address_of(family, at + 150);
        assert_int_equal(ranges_merge_span(ranges, &first, &last, NULL), 0);
    }
    struct blocks *blocks = blocks_new(ranges, BLOCKS_FIRST_MATCH, NULL);
    ranges_free(ranges);
    assert_non_null(blocks);
    return blocks;
}

static void random_operations(uint8_t family)
{
    unsigned int seed = (unsigned int)time(NULL) ^ family;
    const char *given = getenv("IPWARDEN_SEED");
    if (given != NULL)
        seed = (unsigned int)strtoul(given, NULL, 10);
    print_message("seed %u\n", seed);
    srand(seed);
    _cleanup_blocks_ struct blocks *blocks = space(family);
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t low = (uint64_t)rand() % SPACE;
        struct address from = address_of(family, low);
        struct address expected = {0};
        struct address found = {0};
        bool any = walk(blocks, family, low, &expected);
        assert_int_equal(blocks_next_free(blocks, &from, &found), any);
        if (any)
            assert_true(address_equal(&found, &expected));
        struct address other = address_of(family, (uint64_t)rand() % SPACE);
        struct cidr single = cidr_single(any && rand() % 4 != 0 ? &found : &other);
        /* Mostly filling, later mostly emptying. */
        int result = (rand() % 8 < (i < ROUNDS / 2 ? 6 : 2))
                         ? blocks_busy(blocks, &single, NULL)
                         : blocks_release(blocks, &single, NULL);
        assert_true(result <= 0);
    }
}

static void ipv4_agrees_with_a_walk(void **state)
{
    (void)state;
    random_operations(ADDRESS_IPV4);
}

static void ipv6_agrees_with_a_walk(void **state)
{
    (void)state;
    random_operations(ADDRESS_IPV6);
}

static void the_ends_of_the_space(void **state)
{
    (void)state;
    struct address zero = {.family = ADDRESS_IPV6};
    struct address last = {.family = ADDRESS_IPV6, .high = UINT64_MAX, .low = UINT64_MAX};
    struct address found;
    struct ranges *ranges = ranges_new();
    assert_int_equal(ranges_add(ranges, "::/0", NULL), 0);
    _cleanup_blocks_ struct blocks *blocks = blocks_new(ranges, BLOCKS_FIRST_MATCH, NULL);
    ranges_free(ranges);
    assert_true(blocks_next_free(blocks, &zero, &found) && address_equal(&found, &zero));
    assert_true(blocks_next_free(blocks, &last, &found) && address_equal(&found, &last));
    struct cidr single = cidr_single(&last);
    assert_int_equal(blocks_busy(blocks, &single, NULL), 0);
    assert_true(blocks_next_free(blocks, &last, &found) && address_equal(&found, &zero));
    struct address other = {.family = ADDRESS_IPV4, .low = 7};
    assert_true(blocks_next_free(blocks, &other, &found) && address_equal(&found, &zero));
}

static void nothing_free_is_said(void **state)
{
    (void)state;
    struct address at = address_of(ADDRESS_IPV4, 0);
    struct address found;
    struct ranges *ranges = ranges_new();
    assert_int_equal(ranges_add(ranges, "10.0.0.0", NULL), 0);
    _cleanup_blocks_ struct blocks *blocks = blocks_new(ranges, BLOCKS_FIRST_MATCH, NULL);
    ranges_free(ranges);
    struct cidr single = cidr_single(&at);
    assert_true(blocks_next_free(blocks, &at, &found) && address_equal(&found, &at));
    assert_int_equal(blocks_busy(blocks, &single, NULL), 0);
    assert_false(blocks_next_free(blocks, &at, &found));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ipv4_agrees_with_a_walk),
        cmocka_unit_test(ipv6_agrees_with_a_walk),
        cmocka_unit_test(the_ends_of_the_space),
        cmocka_unit_test(nothing_free_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
