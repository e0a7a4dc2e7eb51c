/* Pools that consist of a request: what is behind them, and what becomes of them when that changes. */
#include "tests/unit/ipam_pools.h"

static void a_pool_waits_for_its_request(void **state)
{
    (void)state;
    struct address inside = fixture_address("10.0.0.17");
    put_pool("blue", 1, FROM("one"));
    assert_true(was_told("request/a/one")); /* kept for the pool from now on */
    assert_reason("blue", "WaitingForRequest", "");
    assert_false(is_usable(pool_of("blue")));
    put_request(.name = "one", .wish = "28");
    assert_reason("blue", "WaitingForRequest", "");
    put_range("lan", "10.0.0.0/24");
    put_request(.name = "zero", .cidr = "10.0.0.0/28");
    fixture_put_claim(world, Q("{'metadata':{'name':'10-0-0-18-32'},'spec':{'cidr':'10.0.0.18'}}"));
    assert_int_equal(batch("lan"), 1);
    announce("lan");
    put_pool("blue", 1, FROM("one"));
    assert_reason("blue", "WaitingForRequest", ""); /* decided isn't given */
    forget_told();
    put_request(.name = "one", .wish = "28", .cidr = "10.0.0.16/28");
    assert_true(was_told("pool/blue"));
    assert_reason("blue", "WaitingForRequest", ""); /* until its status says what it is made from */
    assert_false(is_usable(pool_of("blue")));
    put_pool("blue", 1, MADE_FROM("one", "u-one", "10.0.0.16/28", ""));
    const struct state_pool *pool = pool_of("blue");
    assert_true(is_usable(pool));
    assert_reason("blue", "Serving", "");
    assert_true(offers(pool, &inside));
    assert_true(was_told("pool/blue") && was_told("room/"));
    struct blocks_counts counts;
    blocks_counts(state_pool_book(pool, ADDRESS_IPV4), &counts);
    assert_int_equal(counts.total.low, 14); /* without its network and broadcast addresses */
    assert_int_equal(counts.used.low, 1);   /* what was claimed before */
    mutex_lock(&world->mutex);
    assert_ptr_equal(state_pool_from_request(world, "a/one", "u-one"), pool);
    assert_null(state_pool_from_request(world, "a/one", "u-other"));
    assert_null(state_pool_from_request(world, "a/zero", "u-one"));
    mutex_unlock(&world->mutex);
    /* An edit of the pool keeps its addresses. */
    put_pool("blue", 1, MADE_FROM("one", "u-one", "10.0.0.16/28", ",'exclude':['10.0.0.20']"));
    pool = pool_of("blue");
    assert_true(is_usable(pool));
    blocks_counts(state_pool_book(pool, ADDRESS_IPV4), &counts);
    assert_int_equal(counts.total.low, 13);
    assert_int_equal(counts.used.low, 1);
    state_remove(world, STATE_POOLS, "blue", NULL);
    mutex_lock(&world->mutex);
    assert_null(state_pool_from_request(world, "a/one", "u-one"));
    mutex_unlock(&world->mutex);
}

/* What is behind a pool that was made from the request a/one with uid u-one and 10.0.0.16/28, after
 * this request came and the range has this. */
static const struct {
    const char *range; /* NULL: none */
    struct request_row request;
    const char *reason;
    const char *message;
} backings[] = {
    {"10.0.0.0/24", {.name = "one", .cidr = "10.0.0.16/28"}, "Serving", ""},
    {"10.0.0.0/24", {.name = "other", .cidr = "10.0.0.16/28"}, "RequestChanged", "is gone"},
    {"10.0.0.0/24",
     {.name = "one", .cidr = "10.0.0.16/28", .uid = "u-again"},
     "RequestChanged",
     "is another one now"},
    {"8.8.8.0/24",
     {.name = "one", .cidr = "8.8.8.0/28", .uid = "u-again"},
     "RequestChanged",
     "is another one now"},
    {"10.0.0.0/24",
     {.name = "one", .cidr = "10.0.0.32/28"},
     "RequestChanged",
     "has another CIDR now"},
    {"10.0.0.0/24", {.name = "one", .wish = "28"}, "RequestChanged", "has another CIDR now"},
    {"10.9.0.0/24", {.name = "one", .cidr = "10.0.0.16/28"}, "WaitingForRequest", "doesn't hold"},
    {NULL, {.name = "one", .cidr = "10.0.0.16/28"}, "WaitingForRequest", "doesn't hold"},
};

static void a_pool_is_made_from_one_request_for_good(void **state)
{
    struct address inside = fixture_address("10.0.0.17");
    struct address foreign = fixture_address("8.8.8.1");
    for (size_t i = 0; i < sizeof(backings) / sizeof(backings[0]); i++) {
        if (i > 0) {
            ipam_tear_down(state);
            ipam_set_up(state);
        }
        put_pool("blue", 1, MADE_FROM("one", "u-one", "10.0.0.16/28", ""));
        put_pool("younger", 2, "'addresses':['10.0.0.0/25']");
        assert_reason("blue", "RequestChanged", "is gone");
        assert_true(is_usable(pool_of("younger"))); /* nothing is kept from others */
        forget_told();
        put_row(&backings[i].request);
        if (backings[i].range != NULL)
            put_range("lan", backings[i].range);
        assert_reason("blue", backings[i].reason, backings[i].message);
        bool serves = strcmp(backings[i].reason, "Serving") == 0;
        assert_int_equal(is_usable(pool_of("blue")), serves);
        assert_int_equal(is_usable(pool_of("younger")), !serves);
        assert_int_equal(was_told("pool/blue"), strcmp(backings[i].request.name, "one") == 0);
        /* It goes on counting what it has given. */
        assert_true(offers(pool_of("blue"), &inside));
        assert_false(offers(pool_of("blue"), &foreign));
        remove_request(backings[i].request.name);
        assert_reason("blue", "RequestChanged", "is gone");
    }
}

/* An edit makes the pool from another request: what was noted of the one before counts no more. */
static void a_pool_may_be_made_from_another_request(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/24");
    put_request(.name = "one", .cidr = "10.0.0.16/28");
    put_pool("blue", 1, MADE_FROM("one", "u-one", "10.0.0.16/28", ""));
    assert_true(is_usable(pool_of("blue")));
    put_pool("blue", 1,
             FROM("two") "},'status':{'request':{'namespace':'a','name':'one','uid':'u-one','cidr':"
                         "'10.0.0.16/28'}");
    assert_reason("blue", "WaitingForRequest", "a/two has no CIDR yet");
    mutex_lock(&world->mutex);
    assert_null(state_pool_from_request(world, "a/one", "u-one"));
    mutex_unlock(&world->mutex);
}

static void a_pool_of_a_request_may_come_last(void **state)
{
    (void)state;
    put_range("lan", "2001:db8::/64");
    put_request(.name = "one", .cidr = "2001:db8::/120");
    put_pool("six", 1, MADE_FROM("one", "u-one", "2001:db8::/120", ""));
    const struct state_pool *pool = pool_of("six");
    assert_true(is_usable(pool));
    assert_null(state_pool_book(pool, ADDRESS_IPV4));
    struct blocks_counts counts;
    blocks_counts(state_pool_book(pool, ADDRESS_IPV6), &counts);
    assert_int_equal(counts.total.low, 256);
    /* And its range may go, and come again. */
    state_remove(world, STATE_RANGES, "a/lan", NULL);
    assert_reason("six", "WaitingForRequest", "");
    put_range("lan", "2001:db8::/64");
    assert_true(is_usable(pool_of("six")));
}

static void a_conflict_leaves_a_pool_without_addresses(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/24");
    put_request(.name = "one", .cidr = "10.0.0.0/28");
    put_request(.name = "two", .cidr = "10.0.0.0/27"); /* overlaps */
    put_pool("blue", 1, MADE_FROM("two", "u-two", "10.0.0.0/27", ""));
    assert_reason("blue", "WaitingForRequest", "");
    remove_request("one");
    assert_int_equal(batch("lan"), 0);
    assert_true(is_usable(pool_of("blue")));
}

static void a_pool_that_gets_addresses_may_overlap_another(void **state)
{
    (void)state;
    put_pool("younger", 9, "'addresses':['10.0.0.0/25']");
    put_pool("older", 1, MADE_FROM("one", "u-one", "10.0.0.64/28", ""));
    put_range("lan", "10.0.0.0/24");
    assert_true(is_usable(pool_of("younger")));
    forget_told();
    put_request(.name = "one", .cidr = "10.0.0.64/28");
    assert_ptr_equal(pool_of("younger")->conflict, pool_of("older"));
    assert_true(is_usable(pool_of("older")));
    assert_true(was_told("pool/younger"));
    remove_request("one");
    assert_null(pool_of("younger")->conflict);
    assert_true(is_usable(pool_of("younger")));
}

/* Whoever owns the request chose its CIDR; so it takes nothing from a pool, however young. */
static void what_a_request_brings_yields_to_every_pool(void **state)
{
    (void)state;
    put_pool("older", 1, FROM("one"));
    put_pool("younger", 9, "'addresses':['10.0.0.0/25']");
    put_range("lan", "10.0.0.0/24");
    forget_told();
    put_request(.name = "one", .cidr = "10.0.0.64/28");
    assert_null(pool_of("younger")->conflict);
    assert_true(is_usable(pool_of("younger")));
    assert_ptr_equal(pool_of("older")->conflict, pool_of("younger"));
    assert_reason("older", "Conflict", "the CIDR of request a/one overlaps pool younger");
    assert_true(was_told("pool/older"));
    /* It is noted when there is room. */
    forget_told();
    put_pool("younger", 9, "'addresses':['10.0.0.0/26']");
    assert_null(pool_of("older")->conflict);
    assert_reason("older", "WaitingForRequest", "");
    assert_true(was_told("pool/older"));
    put_pool("younger", 9, "'addresses':['10.0.0.0/25']");
    assert_non_null(pool_of("older")->conflict);
    put_pool("older", 1, FROM("one") ",'exclude':['10.0.0.64/27']");
    assert_null(pool_of("older")->conflict);
    put_pool("older", 1, FROM("one"));
    assert_non_null(pool_of("older")->conflict);
    remove_request("one");
    assert_null(pool_of("older")->conflict);
    /* Two that bring the same are judged once they have it. */
    put_request(.name = "one", .cidr = "10.0.0.128/28");
    put_pool("second", 2, FROM("one"));
    assert_null(pool_of("older")->conflict);
    assert_null(pool_of("second")->conflict);
}

static void nothing_is_left_when_everything_is_excluded(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/24");
    put_request(.name = "one", .cidr = "10.0.0.0/28");
    put_pool("blue", 1, FROM("one") ",'exclude':['10.0.0.0/27']");
    assert_reason("blue", "Invalid", "a/one has no address that spec.exclude leaves");
    assert_false(is_usable(pool_of("blue")));
    /* Another CIDR may leave some. */
    remove_request("one");
    assert_reason("blue", "WaitingForRequest", "");
    put_request(.name = "one", .cidr = "10.0.0.64/28", .uid = "u-again");
    assert_reason("blue", "WaitingForRequest", "");
    put_pool("blue", 1, MADE_FROM("one", "u-again", "10.0.0.64/28", ",'exclude':['10.0.0.0/27']"));
    assert_true(is_usable(pool_of("blue")));
    /* A specification that is wrong stays wrong. */
    put_pool("blue", 1, FROM("one") ",'exclude':['x']");
    put_request(.name = "one", .cidr = "10.0.0.96/28", .uid = "u-more");
    assert_reason("blue", "Invalid", "spec.exclude[0]");
}

static void two_pools_of_one_request(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/24");
    put_pool("older", 1, MADE_FROM("one", "u-one", "10.0.0.0/28", ""));
    put_pool("younger", 2, MADE_FROM("one", "u-one", "10.0.0.0/28", ""));
    put_request(.name = "one", .cidr = "10.0.0.0/28");
    assert_true(is_usable(pool_of("older")));
    assert_ptr_equal(pool_of("younger")->conflict, pool_of("older"));
    forget_told();
    state_remove(world, STATE_POOLS, "older", NULL);
    assert_true(is_usable(pool_of("younger")));
    assert_true(was_told("pool/younger")); /* its status says Conflict */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IPAM_TEST(a_pool_waits_for_its_request),
        IPAM_TEST(a_pool_is_made_from_one_request_for_good),
        IPAM_TEST(a_pool_may_be_made_from_another_request),
        IPAM_TEST(a_pool_of_a_request_may_come_last),
        IPAM_TEST(a_conflict_leaves_a_pool_without_addresses),
        IPAM_TEST(a_pool_that_gets_addresses_may_overlap_another),
        IPAM_TEST(what_a_request_brings_yields_to_every_pool),
        IPAM_TEST(nothing_is_left_when_everything_is_excluded),
        IPAM_TEST(two_pools_of_one_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
