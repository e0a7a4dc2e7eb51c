/* Ranges and requests coming and going in any order: what is held follows, and who is told what. What
 * must hold in every situation is in test_state_ranges_random.c. */
#include "tests/unit/ipam_pools.h"

#define RANGE(uid, more)                                                                           \
    "{'metadata':{'namespace':'a','name':'lan','uid':'" uid "'},'spec':{'ranges':['10.0.0.0/"      \
    "24']}" more "}"

/* What was given back since the last call, each with a blank behind it. */
static void assert_released(const char *range, const char *expected)
{
    struct cidr released[LEDGER_RELEASED_MOST];
    size_t omitted;
    char text[LEDGER_RELEASED_MOST * (CIDR_TEXT_SIZE + 1)] = "";
    struct state_range *home = home_of(range);
    mutex_guard(&world->mutex);
    size_t count = ledger_take_released(home, released, &omitted);
    for (size_t i = 0; i < count; i++) {
        cidr_format(&released[i], text + strlen(text));
        strcat(text, " ");
    }
    assert_string_equal(text, expected);
    assert_int_equal(omitted, 0);
}

static size_t ranges_known(void)
{
    mutex_guard(&world->mutex);
    return map_count(world->objects[STATE_RANGES]);
}

/* --- coming and going --- */

static void requests_may_come_before_their_range(void **state)
{
    (void)state;
    put_request(.name = "has", .cidr = "10.0.0.16/28");
    put_request(.name = "wants", .wish = "28");
    assert_true(was_told("range/a/lan")); /* which isn't there, but asked for */
    assert_true(was_told("request/a/has"));
    assert_held("has", "");
    assert_null(home_of("lan")->range);
    assert_int_equal(home_of("lan")->request_count, 2);
    forget_told();
    put_range("lan", "10.0.0.0/24");
    assert_true(was_told("range/a/lan"));
    assert_held("has", "10.0.0.16/28");
    assert_stored("has", true);
    assert_true(request_of("has")->announced);
    assert_held("wants", "");
    assert_int_equal(used_of_range("lan"), 16);
    assert_int_equal(home_of("lan")->unstored_count, 0);
}

static void nothing_is_left_of_what_went(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/24");
    put_request(.name = "one", .cidr = "10.0.0.0/28");
    put_request(.name = "two", .range = "wan");
    assert_int_equal(ranges_known(), 2);
    remove_request("two");
    assert_int_equal(ranges_known(), 1); /* nobody asks for wan any more */
    state_remove(world, STATE_RANGES, "a/lan", NULL);
    assert_int_equal(ranges_known(), 1);
    assert_held("one", "");
    remove_request("one");
    assert_int_equal(ranges_known(), 0);
    state_remove(world, STATE_RANGES, "a/lan", NULL);
    state_remove(world, STATE_REQUESTS, "a/one", NULL);
    put_range("lan", "10.0.0.0/24");
    state_remove(world, STATE_RANGES, "a/lan", NULL);
    assert_int_equal(ranges_known(), 0);
}

static void a_removal_means_one_uid(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/24");
    put_request(.name = "one", .cidr = "10.0.0.0/28");
    state_remove(world, STATE_RANGES, "a/lan", "r-0");
    state_remove(world, STATE_REQUESTS, "a/one", "u-0");
    assert_held("one", "10.0.0.0/28");
    state_remove(world, STATE_REQUESTS, "a/one", "u-one");
    assert_null(request_of("one"));
    state_remove(world, STATE_RANGES, "a/lan", "r-1");
    assert_null(home_of("lan"));
}

static void what_is_given_back_is_told(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/24");
    put_request(.name = "one", .cidr = "10.0.0.0/28");
    forget_told();
    remove_request("one");
    assert_true(was_told("range/a/lan"));
    assert_released("lan", "10.0.0.0/28 ");
    assert_true(was_told("request/a/one"));
    assert_int_equal(used_of_range("lan"), 0);
    /* What nobody was ever told isn't given back. */
    put_request(.name = "two", .wish = "28");
    assert_int_equal(batch("lan"), 1);
    forget_told();
    remove_request("two");
    assert_true(was_told("range/a/lan"));
    assert_released("lan", "");
    assert_int_equal(used_of_range("lan"), 0);
}

/* A range that gives back thousands at once names some of them, and says how many more there
 * were. */
static void what_is_given_back_is_named_up_to_a_limit(void **state)
{
    (void)state;
    static const struct {
        unsigned int removed;
        size_t named;
        size_t omitted;
    } cases[] = {
        {0, 0, 0},
        {1, 1, 0},
        {LEDGER_RELEASED_MOST, LEDGER_RELEASED_MOST, 0},
        {LEDGER_RELEASED_MOST + 3, LEDGER_RELEASED_MOST, 3},
    };
    put_range("lan", "10.0.0.0/24");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cidr released[LEDGER_RELEASED_MOST];
        size_t omitted;
        for (unsigned int n = 0; n < cases[i].removed; n++) {
            char cidr[CIDR_TEXT_SIZE];
            snprintf(cidr, sizeof(cidr), "10.0.0.%u", n);
            put_request(.name = "one", .cidr = cidr);
            remove_request("one");
        }
        struct state_range *home = home_of("lan");
        mutex_guard(&world->mutex);
        assert_int_equal(ledger_take_released(home, released, &omitted), cases[i].named);
        assert_int_equal(omitted, cases[i].omitted);
        if (cases[i].named > 0)
            assert_int_equal(released[cases[i].named - 1].address.low & 255, cases[i].named - 1);
        assert_int_equal(ledger_take_released(home, released, &omitted), 0); /* named once */
        assert_int_equal(omitted, 0);
    }
}

static void a_request_made_again_is_another(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/24");
    put_request(.name = "one", .cidr = "10.0.0.0/28");
    forget_told();
    put_request(.name = "one", .uid = "u-again");
    assert_held("one", "");
    assert_released("lan", "10.0.0.0/28 ");
    assert_true(was_told("range/a/lan"));
    assert_int_equal(used_of_range("lan"), 0);
    /* Also one that was only decided on. */
    put_request(.name = "two", .wish = "28");
    assert_int_equal(batch("lan"), 2);
    announce("lan");
    put_request(.name = "two", .uid = "u-again", .wish = "28");
    assert_held("two", "");
    assert_false(request_of("two")->announced);
    assert_verdict("two", IPAM_UNKNOWN, "");
}

static void a_request_may_name_another_range(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/24");
    put_range("wan", "10.9.0.0/24");
    put_request(.name = "one", .cidr = "10.0.0.0/28");
    put_request(.name = "one", .range = "wan", .cidr = "10.0.0.0/28");
    assert_int_equal(used_of_range("lan"), 0);
    assert_int_equal(home_of("lan")->request_count, 0);
    assert_int_equal(home_of("wan")->request_count, 1);
    assert_held("one", ""); /* it isn't wan's to have */
}

static void a_range_made_again_is_another(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/24");
    put_request(.name = "has", .cidr = "10.0.0.0/28");
    put_request(.name = "decided", .wish = "28");
    assert_int_equal(batch("lan"), 1);
    announce("lan");
    put_range_with("lan", "r-2", "", "'ranges':['10.0.0.0/24']", "");
    assert_held("has", "10.0.0.0/28");
    assert_held("decided", "");
    assert_verdict("decided", IPAM_UNKNOWN, "");
    assert_int_equal(used_of_range("lan"), 16);
    /* One that no longer has what a status shows. */
    put_range_with("lan", "r-3", "", "'ranges':['10.0.1.0/24']", "");
    assert_held("has", "");
    assert_int_equal(used_of_range("lan"), 0);
    assert_int_equal(batch("lan"), 1);
    assert_verdict("has", IPAM_CONFLICT, "10.0.0.0/28");
}

static void the_same_range_keeps_its_book(void **state)
{
    (void)state;
    put_range_with("lan", "r-1", "", "'mode':'RoundRobin','ranges':['10.0.0.0/24']", "");
    put_request(.name = "one", .wish = "28");
    assert_int_equal(batch("lan"), 1);
    announce("lan");
    const struct blocks *book = home_of("lan")->blocks;
    /* Labels, status, order and form of the ranges: the same addresses. */
    put_range_with("lan", "r-1", ",'labels':{'a':'b'}",
                   "'mode':'RoundRobin','ranges':['10.0.0.128/25','10.0.0.0/25']", "'total':256");
    assert_ptr_equal(home_of("lan")->blocks, book);
    assert_held("one", "10.0.0.0/28");
    /* Other addresses, past the webhook: what was decided stays as far as it lies there. */
    put_request(.name = "two", .wish = "26");
    assert_int_equal(batch("lan"), 1);
    assert_held("two", "10.0.0.64/26");
    put_range_with("lan", "r-1", "", "'mode':'RoundRobin','ranges':['10.0.0.0/26']", "");
    assert_held("one", "10.0.0.0/28");
    assert_true(request_of("one")->announced);
    assert_held("two", "");
    assert_verdict("two", IPAM_UNKNOWN, "");
    /* Invalid, and valid again. */
    put_range_with("lan", "r-1", "", "'ranges':['x']", "");
    assert_held("one", "");
    assert_null(home_of("lan")->blocks);
}

/* Anyone who may write statuses can; what was given stays. */
static void a_status_that_somebody_changed_is_not_believed(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/24");
    put_request(.name = "one", .cidr = "10.0.0.0/28");
    forget_told();
    put_request(.name = "one"); /* wiped */
    assert_held("one", "10.0.0.0/28");
    assert_stored("one", false);
    assert_true(request_of("one")->announced); /* so that it is written again */
    assert_true(was_told("range/a/lan"));
    assert_int_equal(home_of("lan")->unstored_count, 1);
    put_request(.name = "one", .cidr = "10.0.0.240/28");
    assert_held("one", "10.0.0.0/28");
    assert_stored("one", false);
    put_request(.name = "one", .cidr = "10.0.0.0/28");
    assert_stored("one", true);
    assert_int_equal(home_of("lan")->unstored_count, 0);
}

/* This replica decided, another one leads: what comes by the watch counts. */
static void what_was_only_decided_gives_way(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/27");
    put_request(.name = "one", .wish = "28", .created = 1);
    put_request(.name = "two", .wish = "28", .created = 1);
    assert_int_equal(batch("lan"), 2);
    put_request(.name = "two", .wish = "28", .created = 1, .cidr = "10.0.0.0/28");
    assert_held("two", "10.0.0.0/28");
    assert_stored("two", true);
    assert_held("one", "");
    assert_verdict("one", IPAM_UNKNOWN, "");
    put_request(.name = "one", .wish = "28", .created = 1, .cidr = "10.0.0.16/28");
    assert_held("one", "10.0.0.16/28");
    assert_stored("one", true);
    /* But not what stands in the range already. */
    remove_request("one");
    put_request(.name = "one", .wish = "28", .created = 1);
    assert_int_equal(batch("lan"), 1);
    announce("lan");
    put_request(.name = "three", .cidr = "10.0.0.16/28");
    assert_held("one", "10.0.0.16/28");
    assert_held("three", "");
}

static void an_old_event_takes_nothing_back(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/24");
    put_request(.name = "one", .wish = "28");
    assert_int_equal(batch("lan"), 1);
    announce("lan");
    forget_told();
    put_request(.name = "one", .wish = "28", .cidr = "10.0.0.0/28"); /* the answer came first */
    assert_int_equal(home_of("lan")->unstored_count, 0);
    assert_true(was_told("range/a/lan"));     /* it needs to be pending no longer */
    put_request(.name = "one", .wish = "28"); /* from before the write */
    assert_held("one", "10.0.0.0/28");
    assert_int_equal(used_of_range("lan"), 16);
    put_request(.name = "one", .wish = "28", .cidr = "10.0.0.0/28");
    assert_stored("one", true);
}

/* --- answers --- */

static void put_answer(const char *uid, int epoch, uint64_t since)
{
    char json[QUOTES_SIZE];
    snprintf(json, sizeof(json),
             "{'metadata':{'namespace':'a','name':'lan','uid':'%s'},'spec':{'ranges':['10.0.0.0/"
             "24']},'status':{'epoch':%d}}",
             uid, epoch);
    assert_int_equal(state_put_answer(world, STATE_RANGES, fixture_range(Q(json), NULL), since), 0);
}

static void an_answer_is_dropped_when_the_watch_was_faster(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/24");
    put_answer("r-1", 1, state_sequence(world));
    assert_int_equal(home_of("lan")->range->epoch, 1);
    uint64_t since = state_sequence(world);
    put_range_with("lan", "r-1", "", "'ranges':['10.0.0.0/24']", "'epoch':3");
    put_answer("r-1", 2, since);
    assert_int_equal(home_of("lan")->range->epoch, 3);
    /* Of the one before, which the watch has shown to be another one meanwhile. */
    since = state_sequence(world);
    put_range_with("lan", "r-2", "", "'ranges':['10.0.0.0/24']", "'epoch':4");
    put_answer("r-1", 9, since);
    assert_int_equal(home_of("lan")->range->epoch, 4);
    /* Of one that has gone; also while requests go on asking for it. */
    since = state_sequence(world);
    state_remove(world, STATE_RANGES, "a/lan", NULL);
    put_answer("r-2", 5, since);
    assert_null(home_of("lan"));
    put_request(.name = "one", .wish = "28");
    put_answer("r-2", 5, since);
    assert_null(home_of("lan")->range);
}

/* --- full lists --- */

static void what_went_unseen_is_gone_after_the_next_list(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/24");
    put_range("wan", "10.9.0.0/24");
    put_request(.name = "one", .cidr = "10.0.0.0/28");
    put_request(.name = "two", .cidr = "10.0.0.16/28");
    put_request(.name = "three", .cidr = "10.9.0.0/28", .range = "wan");
    state_replace_begin(world, STATE_REQUESTS);
    put_request(.name = "two", .cidr = "10.0.0.16/28");
    assert_held("one", "10.0.0.0/28"); /* until the list has come to its end */
    forget_told();
    state_replace_end(world, STATE_REQUESTS);
    assert_null(request_of("one"));
    assert_null(request_of("three"));
    assert_held("two", "10.0.0.16/28");
    assert_int_equal(used_of_range("lan"), 16);
    assert_released("lan", "10.0.0.0/28 ");
    assert_true(was_told("range/a/lan") && was_told("range/a/wan"));
    assert_int_equal(world->completed[STATE_REQUESTS], world->round[STATE_REQUESTS]);

    state_replace_begin(world, STATE_RANGES);
    put_range("wan", "10.9.0.0/24");
    state_replace_end(world, STATE_RANGES);
    assert_null(home_of("lan")->range);
    assert_held("two", "");
    assert_non_null(home_of("wan")->range);
    state_replace_begin(world, STATE_RANGES);
    state_replace_end(world, STATE_RANGES);
    assert_null(home_of("wan"));
}

/* A full list shows who has a CIDR now before it shows that the one who had it is gone; whether
 * this replica leads or not. */
static void a_list_may_show_two_owners_for_a_while(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/24");
    put_pool("blue", 1, MADE_FROM("two", "u-two", "10.0.0.0/28", ""));
    put_request(.name = "one", .cidr = "10.0.0.0/28");
    state_replace_begin(world, STATE_REQUESTS);
    put_request(.name = "two", .cidr = "10.0.0.0/28");
    assert_held("two", "");
    assert_reason("blue", "WaitingForRequest", "");
    state_replace_end(world, STATE_REQUESTS);
    assert_held("two", "10.0.0.0/28");
    assert_stored("two", true);
    assert_reason("blue", "Serving", "");
    /* The same with a removal, and with one that was only decided. */
    put_request(.name = "three", .cidr = "10.0.0.0/28");
    assert_held("three", "");
    remove_request("two");
    assert_held("three", "10.0.0.0/28");
}

/* Only a leader sorts; elsewhere what waits comes and goes just the same. */
static void a_replica_that_does_not_lead_does_not_grow(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/24");
    world->listener = NULL;
    for (int i = 0; i < 10; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%d", i);
        for (int j = 0; j < 200; j++)
            put_request(.name = name, .wish = "28");
        put_request(.name = "passing", .wish = "28");
        put_request(.name = "passing", .wish = "28", .cidr = "10.0.0.240/28");
        remove_request("passing");
    }
    assert_true(home_of("lan")->waiting_capacity <= 64);
    assert_int_equal(batch("lan"), 10);
}

/* A list that is begun anew before its end: only the last one drops. */
static void only_a_list_that_came_to_its_end_counts(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/24");
    put_request(.name = "one", .cidr = "10.0.0.0/28");
    state_replace_begin(world, STATE_REQUESTS);
    uint64_t first = world->round[STATE_REQUESTS];
    state_replace_begin(world, STATE_REQUESTS);
    assert_true(world->completed[STATE_REQUESTS] < first);
    put_request(.name = "one", .cidr = "10.0.0.0/28");
    state_replace_end(world, STATE_REQUESTS);
    assert_int_equal(world->completed[STATE_REQUESTS], first + 1);
    assert_held("one", "10.0.0.0/28");
}

/* --- what keeps a range --- */

static void put_stranger(const char *space, const char *name)
{
    char json[256];
    snprintf(json, sizeof(json),
             "{'metadata':{'namespace':'%s','name':'%s','uid':'u-%s'},'spec':{'range':{'name':"
             "'lan','namespace':'a'}}}",
             space, name, name);
    fixture_put_request(world, Q(json));
}

static void assert_range_says(const char *reason, const char *message)
{
    char text[400];
    mutex_guard(&world->mutex);
    assert_string_equal(ledger_reason(state_range(world, "a/lan"), text, sizeof(text)), reason);
    assert_string_equal(text, message);
}

#define LEAVING ",'deletionTimestamp':'1970-01-01T00:00:10Z'"
#define GOES "gives nothing more and goes with the last request for it"

static void a_range_on_its_way_out_says_whose_requests_keep_it(void **state)
{
    (void)state;
    put_range("lan", "10.0.0.0/24");
    put_stranger("c", "one");
    assert_range_says("Serving", "");
    state_remove(world, STATE_REQUESTS, "c/one", NULL);
    put_range_with("lan", "r-1", LEAVING ",'finalizers':['" IPAM_RANGE_FINALIZER "']",
                   "'ranges':['10.0.0.0/24']", "");
    assert_range_says("Deleting", GOES);
    put_range_with("lan", "r-1", LEAVING ",'finalizers':['other']", "'ranges':['10.0.0.0/24']", "");
    assert_range_says("Deleting", "gives nothing more; no request keeps it, but a finalizer that "
                                  "isn't ipwarden's does");
    put_request(.name = "own");
    assert_range_says("Deleting", GOES ": 1");
    put_stranger("c", "one");
    assert_range_says("Deleting", GOES ": 1 of its own namespace and 1 of others (c/one)");
    put_stranger("b", "two");
    put_stranger("b", "five");
    remove_request("own");
    assert_range_says("Deleting",
                      GOES ": 0 of its own namespace and 3 of others (b/five, b/two, c/one)");
    put_stranger("d", "four");
    put_stranger("c", "a");
    assert_range_says("Deleting", GOES ": 0 of its own namespace and 5 of others (b/five, b/two, "
                                       "c/a and 2 more)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IPAM_TEST(requests_may_come_before_their_range),
        IPAM_TEST(nothing_is_left_of_what_went),
        IPAM_TEST(a_removal_means_one_uid),
        IPAM_TEST(what_is_given_back_is_told),
        IPAM_TEST(what_is_given_back_is_named_up_to_a_limit),
        IPAM_TEST(a_request_made_again_is_another),
        IPAM_TEST(a_request_may_name_another_range),
        IPAM_TEST(a_range_made_again_is_another),
        IPAM_TEST(the_same_range_keeps_its_book),
        IPAM_TEST(a_status_that_somebody_changed_is_not_believed),
        IPAM_TEST(what_was_only_decided_gives_way),
        IPAM_TEST(an_old_event_takes_nothing_back),
        IPAM_TEST(an_answer_is_dropped_when_the_watch_was_faster),
        IPAM_TEST(what_went_unseen_is_gone_after_the_next_list),
        IPAM_TEST(a_list_may_show_two_owners_for_a_while),
        IPAM_TEST(a_replica_that_does_not_lead_does_not_grow),
        IPAM_TEST(only_a_list_that_came_to_its_end_counts),
        IPAM_TEST(a_range_on_its_way_out_says_whose_requests_keep_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
