/* The leader's decisions: who gets what, in which order, why not, what a new leader forgets and
 * honours, and when a grant may be told to its request. */
#include "tests/unit/ipam_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* --- batches --- */

static void the_oldest_is_served_first(void **state)
{
    (void)state;
    bool more;
    put_range("lan", "10.0.0.0/24");
    put_request(.name = "young", .wish = "26", .created = 30);
    put_request(.name = "old", .wish = "26", .created = 10);
    put_request(.name = "middle", .wish = "26", .created = 20);
    put_request(.name = "same-second", .wish = "26", .created = 20);
    forget_told();
    assert_int_equal(batch_most("lan", 2, &more), 2);
    assert_true(more);
    assert_held("old", "10.0.0.0/26");
    assert_held("middle", "10.0.0.64/26"); /* came here before the one of the same second */
    assert_held("same-second", "");
    assert_held("young", "");
    assert_verdict("old", IPAM_READY, "");
    assert_true(was_told("request/a/old"));
    assert_false(was_told("request/a/young"));
    assert_int_equal(batch_most("lan", 2, &more), 2);
    assert_false(more);
    assert_held("same-second", "10.0.0.128/26");
    assert_held("young", "10.0.0.192/26");
    assert_int_equal(batch_most("lan", 2, &more), 0);
    assert_false(more);
}

static void a_younger_one_that_fits_is_not_held_up(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/24");
    put_request(.name = "half", .wish = "25", .created = 1);
    put_request(.name = "whole", .wish = "24", .created = 2);
    put_request(.name = "one-more", .wish = "10.0.0.64/26", .created = 3);
    put_request(.name = "quarter", .wish = "26", .created = 4);
    assert_int_equal(batch("lan"), 2);
    assert_held("half", "10.0.0.0/25");
    assert_held("quarter", "10.0.0.128/26");
    assert_verdict("whole", IPAM_BUSY, "range a/lan has no room for \"24\" now: 128 of 256");
    assert_verdict("whole", IPAM_BUSY, "the largest free block is a /25");
    assert_verdict("one-more", IPAM_BUSY, "\"10.0.0.64/26\"");
    /* Words stay while it waits: each change would be a write. */
    forget_told();
    assert_int_equal(batch("lan"), 0);
    assert_string_equal(told, "");
    assert_verdict("whole", IPAM_BUSY, "128 of 256");
    /* Freed is: the object is gone. */
    remove_request("half");
    assert_int_equal(batch("lan"), 1);
    assert_held("one-more", "10.0.0.64/26");
    remove_request("quarter");
    remove_request("one-more");
    assert_int_equal(batch("lan"), 1);
    assert_held("whole", "10.0.0.0/24");
}

/* A spec that found no room once isn't tried for each that says the same: 20,000 that wait cost
 * what one does. */
static void many_that_wait_cost_little(void **state)
{
    (void)state;
    put_range("lan", "2001:db8::/64");
    put_request(.name = "all", .wish = "64", .created = 1);
    for (int i = 0; i < 20000; i++) {
        char name[32];
        snprintf(name, sizeof(name), "n%d", i);
        world->listener = NULL;
        put_request(.name = name, .wish = "80", .created = 2);
    }
    assert_int_equal(batch("lan"), 1);
    int64_t before = clock_monotonic(clock_system());
    for (int i = 0; i < 10; i++)
        assert_int_equal(batch("lan"), 0);
    assert_true(clock_monotonic(clock_system()) - before < 10 * CLOCK_SECOND);
    assert_verdict("n19999", IPAM_BUSY, "largest free block is nothing");
    /* Cheaper to take apart than to check pairwise. */
    remove_request("all");
    for (int i = 0; i < 20000; i++) {
        char name[32];
        snprintf(name, sizeof(name), "n%d", i);
        remove_request(name);
    }
}

static void each_kind_of_wish_is_served(void **state)
{
    (void)state;
    static const struct {
        const char *wish;
        const char *cidr;
    } cases[] = {
        {"", "10.0.0.0/28"},     {"/27", "10.0.0.32/27"},        {"%4", "10.0.0.16/28"},
        {"#3", "10.0.0.64/30"},  {"2/26", "10.0.0.128/26"},      {"10.0.0.200", "10.0.0.200/32"},
        {"3/%8", "10.0.3.0/24"}, {"10.0.2.0/25", "10.0.2.0/25"}, {"32", "10.0.0.68/32"},
    };
    put_range_with("lan", "r-1", "", "'ranges':['10.0.0.0/22'],'defaultPrefixLength':28", "");
    for (size_t i = 0; i < COUNT(cases); i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%zu", i);
        put_request(.name = name, .wish = cases[i].wish, .created = (int)i + 1);
        assert_int_equal(batch("lan"), 1);
        assert_held(name, cases[i].cidr);
        assert_verdict(name, IPAM_READY, "");
    }
}

/* What the range could never give, and what nobody could. */
static void what_can_never_be_is_invalid(void **state)
{
    (void)state;
    static const struct {
        const char *wish;
        const char *text;
    } cases[] = {
        {"23", "\"23\""},
        {"#257", "\"#257\""},
        {"%9", "\"%9\""},
        {"1/24", "fewer such blocks"},
        {"8/27", "fewer such blocks"},
        {"99999999999999999999999/24", "fewer such blocks"},
        {"10.0.1.0/24", "outside"},
        {"10.0.0.0/23", "outside"},
        {"2001:db8::1", "outside"},
        {"64", "IPv4 has sizes from 0 to 32"}, /* good by itself, but not here */
        {"%64", "IPv4 has sizes from 0 to 32"},
        {"0/128", "IPv4 has sizes from 0 to 32"},
        {"#4294967297", "more addresses than IPv4 has"},
        {"rubbish", "spec.request: request \"rubbish\""},
        {"10.0.0.1/24", "host bits"},
    };
    put_range("lan", "10.0.0.0/24");
    for (size_t i = 0; i < COUNT(cases); i++) {
        put_request(.name = "one", .wish = cases[i].wish);
        assert_int_equal(batch("lan"), 0);
        assert_verdict("one", IPAM_INVALID, cases[i].text);
        assert_held("one", "");
        remove_request("one");
    }
    /* A default size that is bigger than the range. */
    put_range_with("wan", "r-2", "", "'ranges':['10.9.0.0/24'],'defaultPrefixLength':16", "");
    put_request(.name = "one", .range = "wan");
    assert_int_equal(batch("wan"), 0);
    assert_verdict("one", IPAM_INVALID, "the default size");
}

static void without_its_range_it_waits(void **state)
{
    (void)state;
    put_request(.name = "one", .wish = "28");
    put_request(.name = "stored", .wish = "28", .cidr = "10.0.0.0/28", .created = 9);
    assert_int_equal(batch("lan"), 0);
    assert_verdict("one", IPAM_RANGE_NOT_FOUND, "there is no IPAMRange a/lan");
    assert_verdict("stored", IPAM_UNKNOWN, ""); /* its condition stays as it is */
    put_request(.name = "odd", .wish = "rubbish");
    assert_int_equal(batch("lan"), 0);
    assert_verdict("odd", IPAM_INVALID, "spec.request: "); /* no range would help */
    remove_request("odd");
    put_range("lan", "10.0.0.0/24");
    assert_held("stored", "10.0.0.0/28");
    assert_int_equal(batch("lan"), 1);
    assert_held("one", "10.0.0.16/28");
    assert_verdict("one", IPAM_READY, "");
    state_remove(world, STATE_RANGES, "a/lan", NULL);
    assert_int_equal(batch("lan"), 0);
    assert_verdict("one", IPAM_RANGE_NOT_FOUND, "");
}

static void an_invalid_range_gives_nothing(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/33");
    put_request(.name = "one", .wish = "28");
    assert_int_equal(batch("lan"), 0);
    assert_verdict("one", IPAM_INVALID, "range a/lan is invalid: spec.ranges[0]: range");
    assert_verdict("one", IPAM_INVALID, "10.0.0.0/33");
    put_range("lan", "10.0.0.0/24");
    assert_int_equal(batch("lan"), 1);
}

static void a_range_on_its_way_out_gives_nothing(void **state)
{
    (void)state;
    put_range_with("lan", "r-1", ",'deletionTimestamp':'1970-01-01T00:00:10Z'",
                   "'ranges':['10.0.0.0/24']", "");
    put_request(.name = "has", .cidr = "10.0.0.0/28");
    put_request(.name = "one", .wish = "28");
    assert_int_equal(batch("lan"), 0);
    assert_verdict("one", IPAM_RANGE_DELETING, "range a/lan is being deleted");
    assert_held("has", "10.0.0.0/28");
    assert_stored("has", true);
}

static void a_request_on_its_way_out_gets_nothing(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/28");
    put_request(.name = "one", .wish = "28",
                .metadata = ",'deletionTimestamp':'1970-01-01T00:00:10Z'");
    put_request(.name = "two", .wish = "28");
    assert_int_equal(batch("lan"), 1);
    assert_held("one", "");
    assert_verdict("one", IPAM_UNKNOWN, "");
    assert_held("two", "10.0.0.0/28");
    /* What it has, it has until it is gone. */
    put_request(.name = "two", .wish = "28", .cidr = "10.0.0.0/28",
                .metadata = ",'deletionTimestamp':'1970-01-01T00:00:11Z'");
    put_request(.name = "three", .wish = "28");
    assert_int_equal(batch("lan"), 0);
    assert_verdict("three", IPAM_BUSY, "");
    remove_request("two");
    assert_int_equal(batch("lan"), 1);
    assert_held("three", "10.0.0.0/28");
}

static void as_many_as_a_status_holds_are_under_way(void **state)
{
    (void)state;
    bool more;
    put_range("lan", "10.0.0.0/16");
    for (int i = 0; i < RANGE_GRANT_UNSTORED_MOST + 3; i++) {
        char name[32];
        snprintf(name, sizeof(name), "n%d", i);
        put_request(.name = name, .created = 1 + i);
    }
    assert_int_equal(batch_most("lan", 100000, &more), RANGE_GRANT_UNSTORED_MOST);
    assert_true(more);
    assert_int_equal(batch_most("lan", 100000, &more), 0);
    assert_true(more);
    char text[CIDR_TEXT_SIZE];
    cidr_format(&request_of("n7")->held, text);
    announce("lan");
    put_request(.name = "n7", .created = 8, .cidr = text);
    assert_int_equal(batch_most("lan", 100000, &more), 1);
    assert_held("n512", "10.0.2.0/32");
    assert_held("n513", "");
}

/* --- what stands in a status already --- */

static void a_request_that_shows_what_another_has_waits(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/24");
    put_request(.name = "first", .cidr = "10.0.0.0/25", .created = 5);
    put_request(.name = "second", .cidr = "10.0.0.64/26", .created = 6);
    put_request(.name = "outside", .cidr = "10.0.1.0/24", .created = 7);
    assert_int_equal(batch("lan"), 0);
    assert_held("first", "10.0.0.0/25");
    assert_verdict("second", IPAM_CONFLICT, "10.0.0.64/26");
    assert_verdict("outside", IPAM_CONFLICT, "10.0.1.0/24");
    remove_request("first");
    assert_int_equal(batch("lan"), 0); /* nothing new was given */
    assert_held("second", "10.0.0.64/26");
    assert_stored("second", true);
    assert_verdict("second", IPAM_READY, "");
    assert_verdict("outside", IPAM_CONFLICT, "");
}

/* What somebody has already isn't given to one who has waited for longer. */
static void what_a_status_shows_comes_before_all_wishes(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/28");
    put_request(.name = "first", .cidr = "10.0.0.0/28", .created = 5);
    put_request(.name = "old", .wish = "28", .created = 1);
    put_request(.name = "second", .cidr = "10.0.0.0/28", .created = 6);
    assert_int_equal(batch("lan"), 0);
    remove_request("first");
    assert_int_equal(batch("lan"), 0);
    assert_held("second", "10.0.0.0/28");
    assert_verdict("old", IPAM_BUSY, "");
    /* The same for one that is on its way out, and for one that asks for what can't be. */
    put_request(.name = "going", .cidr = "10.0.0.0/28", .created = 7,
                .metadata = ",'deletionTimestamp':'1970-01-01T00:00:11Z'");
    remove_request("second");
    assert_int_equal(batch("lan"), 0);
    assert_held("going", "10.0.0.0/28");
    put_request(.name = "odd", .wish = "rubbish", .cidr = "10.0.0.0/28", .created = 8);
    remove_request("going");
    assert_int_equal(batch("lan"), 0);
    assert_held("odd", "10.0.0.0/28");
}

/* --- telling --- */

static void is_announced_only_when_it_was_held_before(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/24");
    put_request(.name = "one", .wish = "28", .created = 1);
    assert_int_equal(batch("lan"), 1);
    uint64_t sequence = world->sequence; /* what is written now has one in it */
    put_request(.name = "two", .wish = "28", .created = 2);
    assert_int_equal(batch("lan"), 1);
    forget_told();
    mutex_lock(&world->mutex);
    range_grant_announced(world, state_range(world, "a/lan"), sequence);
    mutex_unlock(&world->mutex);
    assert_true(request_of("one")->announced);
    assert_false(request_of("two")->announced);
    assert_string_equal(told, "request/a/one ");
    announce("lan");
    assert_true(request_of("two")->announced);
    assert_string_equal(told, "request/a/one request/a/two ");
    announce("lan"); /* said once */
    assert_string_equal(told, "request/a/one request/a/two ");
}

/* --- a new leader --- */

#define PENDING(name, uid, cidr)                                                                   \
    "{'namespace':'a','name':'" name "','uid':'" uid "','cidr':'" cidr "'}"

static void put_lan_status(const char *status)
{
    put_range_with("lan", "r-1", "", "'mode':'RoundRobin','ranges':['10.0.0.0/24']", status);
}

static void what_is_pending_is_honoured(void **state)
{
    (void)state;
    static const struct {
        const char *pending;
        struct request_row request;
        const char *held; /* by the new leader; "": the entry isn't honoured */
    } cases[] = {
        {PENDING("one", "u-one", "10.0.0.64/28"), {.name = "one"}, "10.0.0.64/28"},
        {PENDING("gone", "u-gone", "10.0.0.96/28"), {.name = NULL}, ""},
        {PENDING("two", "u-old", "10.0.0.80/28"), {.name = "two"}, ""}, /* another of that name */
        {PENDING("three", "u-three", "10.0.1.0/28"), {.name = "three"}, ""}, /* outside */
        {PENDING("has", "u-has", "10.0.0.112/28"), /* its status comes first */
         {.name = "has", .cidr = "10.0.0.0/28"},
         "10.0.0.0/28"},
        {PENDING("four", "u-four", "10.0.0.0/28"), {.name = "four"}, ""},  /* that is has's */
        {PENDING("five", "u-five", "10.0.0.64/28"), {.name = "five"}, ""}, /* one was first */
        {PENDING("far", "u-far", "10.0.0.128/28"), {.name = "far", .range = "wan"}, ""},
    };
    char status[2048] = "'pending':[";
    for (size_t i = 0; i < COUNT(cases); i++) {
        strcat(status, i > 0 ? "," : "");
        strcat(status, cases[i].pending);
    }
    put_lan_status(strcat(status, "]"));
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct request_row row = cases[i].request;
        row.wish = "28";
        row.created = (int)i + 1;
        if (row.name != NULL)
            put_row(&row);
    }
    forget_told();
    take_over("lan");
    for (size_t i = 0; i < COUNT(cases); i++)
        if (cases[i].request.name != NULL)
            assert_held(cases[i].request.name, cases[i].held);
    assert_true(request_of("one")->announced);
    assert_true(was_told("request/a/one"));
    static const char *const others[] = {"two", "three", "four", "five"};
    assert_int_equal(batch("lan"), COUNT(others));
    for (size_t i = 0; i < COUNT(others); i++)
        assert_false(request_of(others[i])->announced);
    take_over("lan"); /* once more gives the same */
    assert_held("one", "10.0.0.64/28");
}

static void what_was_not_stored_is_forgotten(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/24");
    put_request(.name = "one", .wish = "28", .created = 1);
    put_request(.name = "two", .wish = "28", .created = 2);
    assert_int_equal(batch("lan"), 2);
    announce("lan");
    put_request(.name = "one", .wish = "28", .created = 1, .cidr = "10.0.0.0/28");
    /* Somebody else led meanwhile, and wrote nothing of two. */
    take_over("lan");
    assert_held("one", "10.0.0.0/28");
    assert_held("two", "");
    assert_int_equal(used_of_range("lan"), 16);
    /* It isn't called ready while it waits. */
    assert_verdict("two", IPAM_UNKNOWN, "");
    assert_int_equal(batch("lan"), 1);
    assert_held("two", "10.0.0.16/28");
    assert_false(request_of("two")->announced);
}

/* This replica once decided something that it could not write; then another led, and decided
 * otherwise. What stands in the statuses is what is. */
static void what_another_leader_gave_is_known(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/27");
    put_request(.name = "one", .wish = "28", .created = 2);
    put_request(.name = "two", .wish = "28", .created = 2);
    assert_int_equal(batch("lan"), 2);
    assert_held("one", "10.0.0.0/28");
    assert_held("two", "10.0.0.16/28");
    /* Of the same second, and seen by the other in the other order. The statuses come one by
     * one. */
    put_request(.name = "one", .wish = "28", .created = 2, .cidr = "10.0.0.16/28");
    put_request(.name = "two", .wish = "28", .created = 2, .cidr = "10.0.0.0/28");
    put_request(.name = "oldest", .wish = "28", .created = 1);
    take_over("lan");
    assert_int_equal(batch("lan"), 0);
    assert_held("one", "10.0.0.16/28");
    assert_held("two", "10.0.0.0/28");
    assert_stored("one", true);
    assert_stored("two", true);
    assert_verdict("oldest", IPAM_BUSY, "");
}

/* The same with pending: what a status has comes before what was only intended. */
static void what_a_status_shows_comes_before_what_is_pending(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/27");
    put_request(.name = "one", .wish = "28", .created = 1);
    assert_int_equal(batch("lan"), 1);
    announce("lan");
    put_request(.name = "two", .wish = "28", .created = 2, .cidr = "10.0.0.0/28");
    assert_held("two", "");
    put_range_with("lan", "r-1", "", "'ranges':['10.0.0.0/27']",
                   "'pending':[" PENDING("one", "u-one", "10.0.0.0/28") "]");
    take_over("lan");
    assert_held("two", "10.0.0.0/28");
    assert_held("one", "");
    assert_int_equal(batch("lan"), 1);
    assert_held("one", "10.0.0.16/28");
    assert_false(request_of("one")->announced);
}

static void round_robin_goes_on_where_the_last_leader_was(void **state)
{
    (void)state;
    put_lan_status("");
    put_request(.name = "one", .wish = "28", .created = 1);
    assert_int_equal(batch("lan"), 1);
    assert_held("one", "10.0.0.0/28");
    put_lan_status("'roundRobin':['10.0.0.128/28']");
    take_over("lan");
    assert_held("one", "");
    assert_int_equal(batch("lan"), 1);
    assert_held("one", "10.0.0.128/28");
    put_request(.name = "two", .wish = "28", .created = 2);
    assert_int_equal(batch("lan"), 1);
    assert_held("two", "10.0.0.144/28");
    /* A status by itself moves nothing: only a new leader reads it. */
    put_lan_status("'roundRobin':['10.0.0.0/28']");
    put_request(.name = "three", .wish = "28", .created = 3);
    assert_int_equal(batch("lan"), 1);
    assert_held("three", "10.0.0.160/28");
}

static void taking_over_what_is_not_there_is_nothing(void **state)
{
    (void)state;
    put_range("lan", "x");
    put_request(.name = "one", .wish = "28");
    take_over("lan");
    assert_held("one", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IPAM_TEST(the_oldest_is_served_first),
        IPAM_TEST(a_younger_one_that_fits_is_not_held_up),
        IPAM_TEST(many_that_wait_cost_little),
        IPAM_TEST(each_kind_of_wish_is_served),
        IPAM_TEST(what_can_never_be_is_invalid),
        IPAM_TEST(without_its_range_it_waits),
        IPAM_TEST(an_invalid_range_gives_nothing),
        IPAM_TEST(a_range_on_its_way_out_gives_nothing),
        IPAM_TEST(a_request_on_its_way_out_gets_nothing),
        IPAM_TEST(as_many_as_a_status_holds_are_under_way),
        IPAM_TEST(a_request_that_shows_what_another_has_waits),
        IPAM_TEST(what_a_status_shows_comes_before_all_wishes),
        IPAM_TEST(is_announced_only_when_it_was_held_before),
        IPAM_TEST(what_is_pending_is_honoured),
        IPAM_TEST(what_was_not_stored_is_forgotten),
        IPAM_TEST(what_another_leader_gave_is_known),
        IPAM_TEST(what_a_status_shows_comes_before_what_is_pending),
        IPAM_TEST(round_robin_goes_on_where_the_last_leader_was),
        IPAM_TEST(taking_over_what_is_not_there_is_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
