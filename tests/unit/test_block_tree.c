/* The nodes of the block tree: big trees that are emptied in every order, and every allocation
 * failing in turn. The sources are compiled in, so that their calls of malloc can be counted and
 * refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* Allocations that still succeed; negative: all do. */
static long allocations_left = -1;

static bool allocation_fails(void)
{
    if (allocations_left == 0)
        return true;
    if (allocations_left > 0)
        allocations_left--;
    return false;
}

static void *counted_malloc(size_t size)
{
    return allocation_fails() ? NULL : malloc(size);
}

static void *counted_calloc(size_t count, size_t size)
{
    return allocation_fails() ? NULL : calloc(count, size);
}

static void *counted_realloc(void *old, size_t size)
{
    return allocation_fails() ? NULL : realloc(old, size);
}

static void *counted_reallocarray(void *old, size_t count, size_t size)
{
    return allocation_fails() ? NULL : reallocarray(old, count, size);
}

#define malloc counted_malloc
#define calloc counted_calloc
#define realloc counted_realloc
#define reallocarray counted_reallocarray
#include "allocator/block_tree.c"
#include "allocator/block_tree_balance.c"
#include "allocator/block_tree_check.c"
#include "allocator/block_tree_nodes.c"
#include "allocator/block_tree_search.c"
#include "allocator/blocks.c"
#include "allocator/blocks_choose.c"
#include "allocator/blocks_edit.c"
#include "allocator/ranges.c"
#undef malloc
#undef calloc
#undef realloc
#undef reallocarray

static uint64_t random_state;

static size_t random_below(size_t limit)
{
    uint64_t value = random_state += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return (size_t)((value ^ value >> 31) % limit);
}

static int set_up(void **state)
{
    (void)state;
    const char *seed = getenv("IPWARDEN_SEED");
    random_state = seed != NULL ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);
    print_message("IPWARDEN_SEED=%llu\n", (unsigned long long)random_state);
    return 0;
}

static void check(const struct blocks *blocks, const char *what)
{
    const char *broken = blocks_check(blocks);
    if (broken != NULL)
        fail_msg("%s: %s", what, broken);
}

static struct cidr block_at(uint64_t low, unsigned int prefix_length)
{
    return (struct cidr){
        .address = {.family = ADDRESS_IPV6, .high = UINT64_C(0x20010db800000000), .low = low},
        .prefix_length = (uint8_t)prefix_length};
}

static struct blocks *blocks_of(const char *entry)
{
    _cleanup_ranges_ struct ranges *ranges = ranges_new();
    assert_non_null(ranges);
    assert_int_equal(ranges_add(ranges, entry, NULL), 0);
    struct blocks *blocks = blocks_new(ranges, BLOCKS_FIRST_MATCH, NULL);
    assert_non_null(blocks);
    return blocks;
}

#define SCATTERED 20000 /* addresses, one in each leaf: a tree of three levels of branches */

enum order { ASCENDING, DESCENDING, RANDOM, ORDERS };

/* The numbers below SCATTERED, in an order. */
static void numbers(size_t *ret_numbers, enum order order)
{
    for (size_t i = 0; i < SCATTERED; i++)
        ret_numbers[i] = order == DESCENDING ? SCATTERED - 1 - i : i;
    for (size_t i = SCATTERED - 1; order == RANDOM && i > 0; i--) {
        size_t other = random_below(i + 1);
        size_t swapped = ret_numbers[i];
        ret_numbers[i] = ret_numbers[other];
        ret_numbers[other] = swapped;
    }
}

static void test_fill_and_empty(void **state)
{
    (void)state;
    size_t *order = calloc(SCATTERED, sizeof(*order));
    assert_non_null(order);
    for (int fill = 0; fill < ORDERS; fill++) {
        for (int empty = 0; empty < ORDERS; empty++) {
            _cleanup_blocks_ struct blocks *blocks = blocks_of("2001:db8::/64");
            size_t at_first = blocks_memory(blocks);
            numbers(order, (enum order)fill);
            for (size_t i = 0; i < SCATTERED; i++) {
                struct cidr cidr = block_at(order[i] * 192, 128);
                assert_int_equal(blocks_busy(blocks, &cidr, NULL), 0);
            }
            check(blocks, "full");
            /* Never more than 64 bytes a block and 2 bits an address. */
            assert_true(blocks_memory(blocks) < SCATTERED * (64 + 16) + 4096);
            numbers(order, (enum order)empty);
            for (size_t i = 0; i < SCATTERED; i++) {
                struct cidr cidr = block_at(order[i] * 192, 128);
                assert_int_equal(blocks_release(blocks, &cidr, NULL), 0);
                if (i % 3001 == 0)
                    check(blocks, "emptying");
                if (i == SCATTERED - SCATTERED / 16)
                    assert_true(blocks_memory(blocks) < SCATTERED / 16 * (64 + 16) + 8192);
            }
            check(blocks, "empty");
            assert_int_equal(blocks_memory(blocks), at_first);
        }
    }
    free(order);
}

/* One operation that removes or makes thousands of items. */
static void test_wide_changes(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        _cleanup_blocks_ struct blocks *blocks = blocks_of("2001:db8::/64");
        size_t at_first = blocks_memory(blocks);
        struct cidr all = block_at(0, 64);
        size_t step = 64 * (1 + random_below(3));
        size_t count = 1 + random_below(6000);
        assert_int_equal(blocks_busy(blocks, &all, NULL), 0);
        for (size_t i = 0; i < count; i++) {
            struct cidr hole = block_at(i * step, 122 + (unsigned int)random_below(7));
            assert_int_equal(blocks_release(blocks, &hole, NULL), 0);
        }
        check(blocks, "holes");
        _cleanup_ranges_ struct ranges *middle = ranges_new();
        struct cidr from = block_at(random_below(count * step), 128);
        struct cidr to = block_at(random_below(count * step), 128);
        if (address_compare(&from.address, &to.address) > 0)
            to = from;
        assert_int_equal(ranges_merge_span(middle, &from.address, &to.address, NULL), 0);
        struct blocks_counts before;
        struct blocks_counts after;
        blocks_counts(blocks, &before);
        assert_int_equal(blocks_delete(blocks, middle, NULL), 0);
        check(blocks, "deleted");
        assert_int_equal(blocks_add(blocks, middle, NULL), 0);
        check(blocks, "added again");
        blocks_counts(blocks, &after);
        assert_memory_equal(&before, &after, sizeof(before));
        for (size_t i = 0; i < count; i++) {
            struct cidr leaf = block_at(i * step, 122);
            struct address address;
            while (!blocks_is_busy(blocks, &leaf) && blocks_nth_free(blocks, 0, &address)) {
                struct cidr hole = cidr_single(&address);
                assert_int_equal(blocks_busy(blocks, &hole, NULL), 0);
            }
        }
        check(blocks, "filled");
        assert_int_equal(blocks_release(blocks, &all, NULL), 0);
        check(blocks, "released");
        assert_int_equal(blocks_memory(blocks), at_first);
        _cleanup_ranges_ struct ranges *everything = ranges_new();
        assert_int_equal(ranges_merge_cidr(everything, &all, NULL), 0);
        assert_int_equal(blocks_delete(blocks, everything, NULL), 0);
        check(blocks, "nothing");
    }
}

/* Many spans at once: each is an item or three, in a tree that is made by one operation. */
static void test_many_spans(void **state)
{
    (void)state;
    _cleanup_ranges_ struct ranges *ranges = ranges_new();
    for (size_t i = 0; i < 20000; i++) {
        struct cidr cidr = block_at(i * 100, 128);
        struct cidr last = block_at(i * 100 + random_below(99), 128);
        assert_int_equal(ranges_merge_span(ranges, &cidr.address, &last.address, NULL), 0);
    }
    _cleanup_blocks_ struct blocks *blocks = blocks_new(ranges, BLOCKS_ROUND_ROBIN, NULL);
    assert_non_null(blocks);
    check(blocks, "new");
    struct cidr cidr;
    for (int i = 0; i < 20000; i++) {
        assert_int_equal(blocks_allocate(blocks, 127 + (unsigned int)random_below(2), &cidr, NULL),
                         0);
        assert_true(ranges_covers(ranges, &cidr));
    }
    check(blocks, "used");
    assert_int_equal(blocks_delete(blocks, ranges, NULL), 0);
    check(blocks, "pending");
    assert_int_equal(blocks_release(blocks, &cidr, NULL), 0);
    assert_int_equal(blocks_busy(blocks, &cidr, NULL), -ENOENT);
    assert_true(ranges_is_empty(blocks_ranges(blocks)));
}

/* ---- out of memory ---- */

/* Everything that can be asked of blocks, as one number. */
static uint64_t fingerprint(const struct blocks *blocks)
{
    uint64_t sum = 0;
    struct blocks_counts counts;
    struct address address;
    blocks_counts(blocks, &counts);
    for (uint64_t nth = 0; nth < 40; nth++) {
        if (blocks_nth_free(blocks, nth * nth * nth, &address))
            sum = sum * 1000003 + (address.low ^ address.high);
    }
    struct address_count numbers[] = {counts.total, counts.used, counts.free, counts.pending};
    for (size_t i = 0; i < 4; i++)
        sum = sum * 1000003 + numbers[i].low + numbers[i].high;
    return sum * 1000003 + ranges_span_count(blocks_ranges(blocks));
}

struct request {
    int verb;
    struct cidr cidr;
    struct ranges *ranges;
};

static int request_run(struct blocks *blocks, struct request *request)
{
    struct cidr cidr;
    switch (request->verb) {
    case 0:
        return blocks_allocate(blocks, request->cidr.prefix_length, &cidr, NULL);
    case 1:
        return blocks_busy(blocks, &request->cidr, NULL);
    case 2:
        return blocks_release(blocks, &request->cidr, NULL);
    case 3:
        return blocks_add(blocks, request->ranges, NULL);
    default:
        return blocks_delete(blocks, request->ranges, NULL);
    }
}

static struct request random_request(struct ranges *ranges)
{
    struct request request = {.ranges = ranges};
    static const int verbs[] = {0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 4};
    unsigned int prefix_length = 112 + (unsigned int)random_below(17);
    request.verb = verbs[random_below(sizeof(verbs) / sizeof(verbs[0]))];
    request.cidr = block_at(random_below(1 << 16), prefix_length);
    request.cidr = cidr_of(&request.cidr.address, prefix_length);
    for (size_t i = random_below(20); i > 0; i--) {
        struct cidr first = block_at(random_below(1 << 16), 128);
        struct cidr last = block_at(first.address.low + random_below(300), 128);
        assert_int_equal(ranges_merge_span(ranges, &first.address, &last.address, NULL), 0);
    }
    return request;
}

/* Each operation is tried with 0, 1, 2, ... allocations until there are enough: until then it says
 * so and changes nothing that can be seen. */
static void test_every_allocation_fails(void **state)
{
    (void)state;
    size_t failures = 0;
    _cleanup_ranges_ struct ranges *start = ranges_new();
    struct cidr all = block_at(0, 112);
    assert_int_equal(ranges_merge_cidr(start, &all, NULL), 0);
    struct blocks *made = NULL;
    for (long limit = 0; made == NULL; limit++) {
        allocations_left = limit;
        struct error error = {0};
        made = blocks_new(start, BLOCKS_ROUND_ROBIN, &error);
        allocations_left = -1;
        assert_int_equal(error.code, made == NULL ? -ENOMEM : 0);
    }
    _cleanup_blocks_ struct blocks *blocks = made;
    for (int i = 0; i < 4000; i++) {
        _cleanup_ranges_ struct ranges *ranges = ranges_new();
        struct request request = random_request(ranges);
        int result = -ENOMEM;
        uint64_t before = i % 4 == 0 ? fingerprint(blocks) : 0;
        for (long limit = 0; result == -ENOMEM; limit++) {
            allocations_left = limit;
            result = request_run(blocks, &request);
            allocations_left = -1;
            if (result != -ENOMEM)
                break;
            failures++;
            if (i % 4 == 0) {
                assert_true(fingerprint(blocks) == before);
                check(blocks, "after a failure");
            }
        }
    }
    check(blocks, "at the end");
    assert_true(failures > 500);
}

static void test_empty_stays_empty_on_failure(void **state)
{
    (void)state;
    _cleanup_ranges_ struct ranges *empty = ranges_new();
    _cleanup_ranges_ struct ranges *some = ranges_new();
    assert_int_equal(ranges_add(some, "10.0.0.0/30", NULL), 0);
    _cleanup_blocks_ struct blocks *blocks = blocks_new(empty, BLOCKS_FIRST_MATCH, NULL);
    int result = -ENOMEM;
    for (long limit = 0; result == -ENOMEM; limit++) {
        assert_int_equal(blocks_family(blocks), 0);
        allocations_left = limit;
        result = blocks_add(blocks, some, NULL);
        allocations_left = -1;
    }
    assert_int_equal(result, 0);
    assert_int_equal(blocks_family(blocks), ADDRESS_IPV4);
    assert_int_equal(blocks_mode(blocks), BLOCKS_FIRST_MATCH);
}

static void test_ranges_out_of_memory(void **state)
{
    (void)state;
    allocations_left = 0;
    assert_null(ranges_new());
    allocations_left = -1;
    _cleanup_ranges_ struct ranges *ranges = ranges_new();
    _cleanup_ranges_ struct ranges *other = ranges_new();
    assert_int_equal(ranges_add(other, "10.0.0.64/26", NULL), 0);
    allocations_left = 0;
    assert_int_equal(ranges_add(ranges, "10.0.0.0/24", NULL), -ENOMEM);
    assert_true(ranges_is_empty(ranges));
    assert_null(ranges_copy(other));
    allocations_left = -1;
    assert_int_equal(ranges_add(ranges, "10.0.0.0/24", NULL), 0);
    allocations_left = 0;
    assert_int_equal(ranges_subtract(ranges, other, NULL), -ENOMEM);
    assert_int_equal(ranges_merge_all(ranges, other, NULL), -ENOMEM);
    allocations_left = -1;
    assert_true(address_count_saturated(ranges_size(ranges)) == 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fill_and_empty),
        cmocka_unit_test(test_wide_changes),
        cmocka_unit_test(test_many_spans),
        cmocka_unit_test(test_every_allocation_fails),
        cmocka_unit_test(test_empty_stays_empty_on_failure),
        cmocka_unit_test(test_ranges_out_of_memory),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
