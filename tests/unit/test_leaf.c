/* Leaves and gaps: bit tricks against loops that say what is meant. */
#include "allocator/leaf.h"

#include "allocator/gap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static uint64_t random_state;

static uint64_t random_next(void)
{
    uint64_t value = random_state += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

static int seed(void **state)
{
    (void)state;
    const char *text = getenv("IPWARDEN_SEED");
    random_state = text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
    print_message("IPWARDEN_SEED=%llu\n", (unsigned long long)random_state);
    return 0;
}

/* Bits that are dense, sparse, or in clumps. */
static uint64_t random_bits(void)
{
    uint64_t bits = random_next();
    switch (random_next() % 5) {
    case 0:
        return bits & random_next() & random_next();
    case 1:
        return bits | random_next() | random_next();
    case 2:
        return LEAF_FULL << random_next() % 64;
    case 3:
        return (LEAF_FULL << random_next() % 64) & (LEAF_FULL >> random_next() % 64);
    default:
        return bits;
    }
}

static bool all_ones(uint64_t bits, unsigned int first, unsigned int host_bits)
{
    for (unsigned int i = first; i < first + (1U << host_bits); i++) {
        if ((bits >> i & 1) == 0)
            return false;
    }
    return true;
}

/* The host bits of the piece that an address lies in; -1 when it isn't active. */
static int piece_of(uint64_t active, unsigned int offset)
{
    int found = -1;
    for (unsigned int host_bits = 0; host_bits <= LEAF_HOST_BITS; host_bits++) {
        if (all_ones(active, offset >> host_bits << host_bits, host_bits))
            found = (int)host_bits;
    }
    return found;
}

static void test_runs(void **state)
{
    (void)state;
    for (int round = 0; round < 20000; round++) {
        uint64_t taken = random_bits();
        unsigned int biggest = 0;
        for (unsigned int host_bits = 0; host_bits <= LEAF_HOST_BITS; host_bits++) {
            unsigned int lowest = LEAF_SIZE;
            for (unsigned int at = 0; at < LEAF_SIZE && lowest == LEAF_SIZE; at += 1U << host_bits)
                lowest = all_ones(~taken, at, host_bits) ? at : LEAF_SIZE;
            assert_int_equal(leaf_lowest_run(taken, host_bits), lowest);
            if (lowest < LEAF_SIZE)
                biggest = host_bits;
        }
        if (taken != LEAF_FULL)
            assert_int_equal(leaf_biggest_run(taken), biggest);
        for (unsigned int host_bits = 0; host_bits < LEAF_HOST_BITS && biggest < LEAF_HOST_BITS;
             host_bits++)
            assert_int_equal(leaf_runs_of(leaf_runs_whole(biggest), host_bits),
                             host_bits <= biggest ? LEAF_RUNS_WHOLE : 0);
        unsigned int nth = 0;
        for (unsigned int i = 0; i < LEAF_SIZE; i++) {
            if ((taken >> i & 1) == 0)
                assert_int_equal(leaf_nth_free(taken, nth++), i);
        }
    }
}

static void test_pieces(void **state)
{
    (void)state;
    for (int round = 0; round < 4000; round++) {
        uint64_t active = random_bits();
        if (active == LEAF_FULL)
            continue;
        uint64_t taken = random_bits();
        uint64_t runs = 0;
        for (unsigned int host_bits = 0; host_bits < LEAF_HOST_BITS; host_bits++) {
            unsigned int lowest[LEAF_HOST_BITS];
            for (unsigned int piece = 0; piece < LEAF_HOST_BITS; piece++)
                lowest[piece] = LEAF_SIZE;
            for (unsigned int at = 0; at < LEAF_SIZE; at += 1U << host_bits) {
                int piece = piece_of(active, at);
                if (piece < (int)host_bits || !all_ones(~taken, at, host_bits))
                    continue;
                runs |= leaf_runs_at(1U << piece, host_bits);
                if (lowest[piece] == LEAF_SIZE)
                    lowest[piece] = at;
            }
            for (unsigned int piece = 0; piece < LEAF_HOST_BITS; piece++)
                assert_int_equal(leaf_lowest_run_of_piece(taken, active, piece, host_bits),
                                 lowest[piece]);
        }
        assert_true(leaf_runs_pieces(taken, active) == runs);
    }
}

static void test_masks(void **state)
{
    (void)state;
    assert_true(leaf_mask(0, 6) == LEAF_FULL);
    assert_true(leaf_mask(0, 9) == LEAF_FULL);
    assert_true(leaf_mask(32, 5) == UINT64_C(0xffffffff00000000));
    assert_true(leaf_mask(63, 0) == UINT64_C(1) << 63);
    assert_true(leaf_mask_from(0) == LEAF_FULL);
    assert_true(leaf_mask_from(63) == UINT64_C(1) << 63);
    assert_true(leaf_mask_from(64) == 0);
}

/* Cuts [first, end) into blocks the slow way: each as big as alignment and the end allow. */
static void check_gap(uint128 first, uint128 end)
{
    uint128 sizes = 0;
    uint128 seen = 0;
    for (uint128 at = first; at < end;) {
        unsigned int size = at == 0 ? 122 : uint128_lowest(at);
        while ((uint128)1 << size > end - at)
            size--;
        sizes |= (uint128)1 << size;
        if ((seen >> size & 1) == 0) {
            seen |= (uint128)1 << size;
            assert_true(gap_block_of_size(first, end, size) == at);
        }
        uint128 inside[] = {at, at + ((uint128)1 << size) - 1, at + ((uint128)1 << size) / 2};
        for (int i = 0; i < 3; i++) {
            uint128 block;
            assert_int_equal(gap_block_at(first, end, inside[i], &block), size);
            assert_true(block == at);
        }
        at += (uint128)1 << size;
    }
    assert_true(gap_sizes(first, end) == sizes);
}

static void test_gaps(void **state)
{
    (void)state;
    uint128 all = (uint128)1 << 122;
    for (unsigned int first = 0; first < 40; first++) {
        for (unsigned int end = first + 1; end <= 66; end++)
            check_gap(first, end);
    }
    check_gap(0, all);
    check_gap(1, all);
    check_gap(0, all - 1);
    check_gap(all - 1, all);
    check_gap(1, all - 1);
    for (int round = 0; round < 3000; round++) {
        uint128 one = uint128_make(random_next(), random_next()) >> (6 + random_next() % 116);
        uint128 two = uint128_make(random_next(), random_next()) >> (6 + random_next() % 116);
        if (random_next() % 2 == 0)
            two = one + 1 + random_next() % 1000;
        if (one == two)
            continue;
        check_gap(one < two ? one : two, one < two ? two : one);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_masks),
        cmocka_unit_test(test_gaps),
    };
    return cmocka_run_group_tests(tests, seed, NULL);
}
