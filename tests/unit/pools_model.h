/* Specifications of pools over a few addresses, as bits, and whether their books say what they should: for
 * tests at random. */
#ifndef IPWARDEN_TESTS_POOLS_MODEL_H
#define IPWARDEN_TESTS_POOLS_MODEL_H

#include "server/state/state_pools.h"
#include "tests/unit/state_fixture.h"

#define V4 32 /* 10.0.0.0 to 10.0.0.31 */
#define V6 8  /* 2001:db8::0 to 2001:db8::7 */
#define ADDRESSES (V4 + V6)

static inline struct address address_of(unsigned int index)
{
    struct address base = fixture_address(index < V4 ? "10.0.0.0" : "2001:db8::");
    struct address address = base;
    assert_true(address_add(&base, index < V4 ? index : index - V4, &address));
    return address;
}

static const struct {
    const char *text;
    uint64_t offered;   /* as bits; 0: invalid */
    uint64_t allocated; /* of them: spec.allocated */
} specs[] = {
    {"'cidr':'10.0.0.0/28'", UINT64_C(0x7ffe), 0},
    {"'addresses':['10.0.0.0/28'],'exclude':['10.0.0.4/30']", UINT64_C(0x7f0e), 0},
    {"'cidr':'10.0.0.16/28'", UINT64_C(0x7ffe0000), 0},
    {"'cidr':'10.0.0.0/27','ranges':['10.0.0.8-10.0.0.23']", UINT64_C(0x00ffff00), 0},
    {"'addresses':['10.0.0.8-10.0.0.23'],'allocated':{'10.0.0.9':'a','10.0.0.10':'b','10.0.0.1':''"
     "}",
     UINT64_C(0x00ffff00), UINT64_C(0x600)},
    {"'addresses':['10.0.0.16/28','2001:db8::4-2001:db8::7','10.0.0.3']",
     UINT64_C(0x7ffe0008) | UINT64_C(0xf0) << V4, 0},
    {"'addresses':['2001:db8::/125','10.0.0.0/29'],'useNetworkAndBroadcast':true,"
     "'allocated':{'2001:db8::3':'a','10.0.0.7':'b'}",
     UINT64_C(0xff) | UINT64_C(0xff) << V4, UINT64_C(0x80) | UINT64_C(8) << V4},
    {"'cidr':'2001:db8::/125','exclude':['2001:db8::2']", UINT64_C(0xfb) << V4, 0},
    {"'cidr':'10.0.0.0/28','ranges':['10.0.0.16']", 0, 0},
};
#define SPECS (sizeof(specs) / sizeof(specs[0]))

/* --- steps --- */

/* The addresses of the set, each between before and after, joined by commas. */
static inline unsigned int bits(uint64_t set)
{
    return (unsigned int)__builtin_popcountll(set);
}

static inline void check_book(const struct blocks *book, uint64_t offered, uint64_t busy)
{
    struct blocks_counts counts;
    assert_int_equal(book != NULL, offered != 0);
    if (book == NULL)
        return;
    blocks_counts(book, &counts);
    assert_int_equal(counts.total.low, bits(offered));
    assert_int_equal(counts.used.low, bits(offered & busy));
    assert_int_equal(counts.free.low, bits(offered & ~busy));
    for (unsigned int i = 0; i < ADDRESSES; i++) {
        struct address address = address_of(i);
        struct cidr single = cidr_single(&address);
        if ((offered >> i & 1) != 0)
            assert_int_equal(blocks_is_busy(book, &single), busy >> i & 1);
    }
}

static inline void check_books(const struct state_pool *pool, uint64_t offered, uint64_t busy)
{
    for (unsigned int i = 0; i < ADDRESSES; i++) {
        struct address address = address_of(i);
        assert_int_equal(state_pool_offers(pool, &address), offered >> i & 1);
    }
    check_book(state_pool_book(pool, ADDRESS_IPV4), offered & UINT32_MAX, busy);
    check_book(state_pool_book(pool, ADDRESS_IPV6), offered & ~(uint64_t)UINT32_MAX, busy);
}

#endif
