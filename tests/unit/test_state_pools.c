/* Pools that come, change, overlap and go, and what their books know. */
#include "server/state/state_pool_claims.h"
#include "tests/unit/state_world.h"

static void a_new_pool_knows_what_is_busy(void **state)
{
    (void)state;
    put_service("web", "1", "'192.0.2.1','198.51.100.1'");
    put_claim("c2", "192.0.2.2", ENTRY("web", ""));
    put_pool("blue", 1, 1, "'addresses':['192.0.2.0/24']");
    assert_int_equal(used_of("blue"), 2);
    put_pool("blue", 1, 2, "'addresses':['192.0.2.0/24'],'exclude':['192.0.2.2']");
    assert_int_equal(used_of("blue"), 1);
    put_pool("blue", 1, 3, "'cidr':'nonsense'");
    assert_null(pool_of("blue")->offered);
    put_service("two", "2", "'192.0.2.3'");
    put_pool("blue", 1, 4, "'cidr':'192.0.2.0/24'");
    assert_int_equal(used_of("blue"), 3);
}

static void a_change_of_status_makes_no_room(void **state)
{
    (void)state;
    fixture_synced(world);
    put_pool("blue", 1, 1, "'cidr':'192.0.2.0/24'");
    put_service("web", "1", "'192.0.2.1'");
    told[0] = '\0';
    put_pool("blue", 1, 1, "'cidr':'192.0.2.0/24'");
    assert_true(was_told("ipclaimpools/blue"));
    assert_false(was_told("room/"));
    assert_int_equal(used_of("blue"), 1);
    put_pool("blue", 1, 2, "'cidr':'192.0.2.0/24','namespaces':['b']");
    assert_true(was_told("room/"));
    assert_int_equal(used_of("blue"), 1);
}

static void the_younger_of_two_that_overlap_gives_nothing(void **state)
{
    (void)state;
    struct address address = fixture_address("192.0.2.1");
    put_pool("older", 1, 1, "'cidr':'192.0.2.0/25','priority':9");
    put_pool("younger", 2, 1, "'cidr':'192.0.2.0/24'");
    assert_null(pool_of("younger")->conflict); /* not judged before all are known */
    fixture_synced(world);
    state_replace_begin(world, STATE_POOLS);
    put_pool("older", 1, 1, "'cidr':'192.0.2.0/25','priority':9");
    put_pool("younger", 2, 1, "'cidr':'192.0.2.0/24'");
    state_replace_end(world, STATE_POOLS);
    assert_null(pool_of("older")->conflict);
    assert_ptr_equal(pool_of("younger")->conflict, pool_of("older"));
    mutex_lock(&world->mutex);
    assert_string_equal(state_pool_offering(world, &address)->object.meta->name, "older");
    mutex_unlock(&world->mutex);
    put_service("web", "1", "'192.0.2.1'");
    assert_int_equal(used_of("older"), 1);
    assert_int_equal(used_of("younger"), 1);
    told[0] = '\0';
    put_pool("older", 1, 2, "'cidr':'192.0.2.0/28','exclude':['192.0.2.0/29']");
    assert_ptr_equal(pool_of("younger")->conflict, pool_of("older"));
    put_pool("younger", 2, 2, "'cidr':'192.0.2.0/24','ranges':['192.0.2.128/25']");
    assert_null(pool_of("younger")->conflict);
    assert_true(was_told("ipclaimpools/younger"));
    put_pool("younger", 2, 3, "'cidr':'192.0.2.0/24'");
    assert_non_null(pool_of("younger")->conflict);
    state_remove(world, STATE_POOLS, "older", NULL);
    assert_null(pool_of("younger")->conflict);
}

static void pools_stay_in_order(void **state)
{
    (void)state;
    put_pool("c", 1, 1, "'cidr':'10.1.0.0/24','priority':5");
    put_pool("b", 1, 1, "'cidr':'10.2.0.0/24'");
    put_pool("a", 1, 1, "'cidr':'10.3.0.0/24','priority':5");
    assert_string_equal(world->pools[0]->pool->meta.name, "b");
    assert_string_equal(world->pools[1]->pool->meta.name, "a");
    put_pool("b", 1, 2, "'cidr':'10.2.0.0/24','priority':9");
    assert_string_equal(world->pools[0]->pool->meta.name, "a");
    assert_string_equal(world->pools[2]->pool->meta.name, "b");
    state_remove(world, STATE_POOLS, "a", NULL);
    assert_string_equal(world->pools[0]->pool->meta.name, "c");
    /* Deleted and made again, which the watch shows as a change of the same generation. */
    told[0] = '\0';
    fixture_put_pool(world, Q("{'metadata':{'name':'b','uid':'p-other','generation':2},'spec':{"
                              "'cidr':'10.2.0.0/24','priority':1}}"));
    assert_string_equal(world->pools[0]->pool->meta.name, "b");
    assert_true(was_told("room/"));
}

/* --- what is said of a pool --- */

/* Beside the pool "older", which has 192.0.2.0/25. */
static const struct {
    const char *metadata;
    const char *spec;
    const char *reason;
    const char *message; /* part of it */
    bool offers;         /* 192.0.2.1, which it may have given, though it gives nothing more */
} sayings[] = {
    {"", "'cidr':'192.0.2.0/24','ranges':['192.0.2.128/25']", "Serving", "", false},
    {"", "'addresses':['198.51.100.1','192.0.2.0/24']", "Conflict", "overlaps pool older", true},
    {"", "'addresses':['198.51.100.1','2001:db8::1']", "Serving", "", false},
    {"", "'addresses':['192.0.2.0/24','x']", "Invalid", "spec.addresses[1]", false},
    {"", "'cidr':'192.0.2.0/24'", "Conflict", "overlaps pool older, which is older", true},
    {"", "'cidr':'192.0.2.0/33'", "Invalid", "spec.cidr", false},
    {"", "'cidr':'192.0.2.0/24','mode':'Random'", "Invalid", "spec.mode", false},
    {"", "'cidr':'192.0.2.0/24','sharing':'any'", "Invalid", "spec.sharing", false},
    {"", "'fromRequest':{'namespace':'a','name':'net'}", "WaitingForRequest",
     "request a/net has no CIDR yet", false},
    {"", "'fromRequest':{'namespace':'a'}", "Invalid", "spec.fromRequest.name", false},
    {",'deletionTimestamp':'1970-01-01T00:00:10Z'", "'cidr':'192.0.2.128/25'", "Deleting",
     "when its last address is free", false},
    {",'deletionTimestamp':'1970-01-01T00:00:10Z'", "'cidr':'192.0.2.0/24'", "Deleting", "", true},
    {",'deletionTimestamp':'1970-01-01T00:00:10Z'", "'cidr':'x'", "Deleting", "", false},
};

static void says_why_a_pool_gives_nothing(void **state)
{
    (void)state;
    struct address address = fixture_address("192.0.2.1");
    fixture_synced(world);
    put_pool("older", 1, 1, "'cidr':'192.0.2.0/24','ranges':['192.0.2.0/25']");
    for (size_t i = 0; i < sizeof(sayings) / sizeof(sayings[0]); i++) {
        char json[512];
        char message[400];
        snprintf(json, sizeof(json),
                 "{'metadata':{'name':'blue','uid':'p-blue','creationTimestamp':"
                 "'1970-01-01T00:00:02Z'%s},'spec':{%s}}",
                 sayings[i].metadata, sayings[i].spec);
        fixture_put_pool(world, Q(json));
        mutex_lock(&world->mutex);
        const struct state_pool *pool = state_pool(world, "blue");
        const char *reason = state_pool_reason(pool, message, sizeof(message));
        if (strcmp(reason, sayings[i].reason) != 0 || strstr(message, sayings[i].message) == NULL)
            fail_msg("%s: %s (%s)", json, reason, message);
        if (state_pool_is_usable(pool) != (strcmp(reason, "Serving") == 0))
            fail_msg("%s: %s, and yet", json, reason);
        if (state_pool_offers(pool, &address) != sayings[i].offers)
            fail_msg("%s: offers", json);
        assert_int_equal(pool->books[0] != NULL, pool->offered != NULL);
        mutex_unlock(&world->mutex);
    }
}

/* Beside the pools "near" with 192.0.2.64/26, "some" with some ranges of 198.51.100.0/24, "two" with
 * 203.0.113.0/31, "six" with 2001:db8::/64, "made" from a request with 10.0.0.16/28, "wrong",
 * "list" with 100.64.0.0/24 among others, and "wrong list". */
static const struct {
    const char *address;
    const char *pool; /* NULL: none is spoken of */
    const char *why;
} absences[] = {
    {"192.0.2.64", "near",
     "is the network address of pool near (192.0.2.64/26), which isn't given"},
    {"192.0.2.127", "near",
     "is the broadcast address of pool near (192.0.2.64/26), which isn't given"},
    {"192.0.2.70", "near", "is excluded by pool near"},
    {"192.0.2.63", NULL, "is in no pool"},
    {"198.51.100.0", "some",
     "is in the network of pool some (198.51.100.0/24), but not in its spec.ranges"},
    {"198.51.100.30", "some",
     "is in the network of pool some (198.51.100.0/24), but not in its spec.ranges"},
    {"203.0.113.2", NULL, "is in no pool"},
    {"2001:db8:0:1::", NULL, "is in no pool"},
    {"10.0.0.16", "made", "is the network address of pool made (10.0.0.16/28), which isn't given"},
    {"10.0.0.31", "made",
     "is the broadcast address of pool made (10.0.0.16/28), which isn't given"},
    {"10.0.0.32", NULL, "is in no pool"},
    {"172.16.0.1", "wrong",
     "is in pool wrong (172.16.0.0/24), which can't be used: its condition Ready says why"},
    {"100.64.0.0", "list",
     "is the first or the last address of a network of pool list, which isn't given without "
     "spec.useNetworkAndBroadcast"},
    {"100.64.0.255", "list",
     "is the first or the last address of a network of pool list, which isn't given without "
     "spec.useNetworkAndBroadcast"},
    {"100.64.0.9", "list", "is excluded by pool list"},
    {"100.64.1.0", NULL, "is in no pool"},
    {"2001:db8:7::1", "wrong list",
     "is in spec.addresses of pool wrong list, which can't be used: its condition Ready says why"},
    {"127.0.0.1", NULL, "is in 127.0.0.0/8 (loopback): no Service can have such an address"},
};

static void says_why_an_address_is_not_offered(void **state)
{
    (void)state;
    put_pool("near", 1, 1, "'cidr':'192.0.2.64/26','exclude':['192.0.2.70']");
    put_pool("some", 1, 1, "'cidr':'198.51.100.0/24','ranges':['198.51.100.1-198.51.100.9']");
    put_pool("two", 1, 1, "'cidr':'203.0.113.0/31'");
    put_pool("six", 1, 1, "'cidr':'2001:db8::/64'");
    put_pool("made", 1, 1,
             "'fromRequest':{'namespace':'a','name':'net'}},'status':{'request':{'namespace':'a',"
             "'name':'net','uid':'q-1','cidr':'10.0.0.16/28'}");
    put_pool("wrong", 1, 1, "'cidr':'172.16.0.0/24','mode':'Random'");
    put_pool("list", 1, 1, "'addresses':['100.64.0.0/24','fd00::7'],'exclude':['100.64.0.9']");
    put_pool("wrong list", 1, 1, "'addresses':['2001:db8:7::/64'],'mode':'Random'");
    for (size_t i = 0; i < sizeof(absences) / sizeof(absences[0]); i++) {
        struct address address = fixture_address(absences[i].address);
        char why[400];
        mutex_lock(&world->mutex);
        const struct state_pool *pool = state_pool_why_not(world, &address, why, sizeof(why));
        if (strcmp(pool != NULL ? pool->object.meta->name : "-",
                   absences[i].pool != NULL ? absences[i].pool : "-") != 0 ||
            strcmp(why, absences[i].why) != 0)
            fail_msg("%s: %s", absences[i].address, why);
        mutex_unlock(&world->mutex);
    }
}

/* --- whose claims there are --- */

static void put_claim_of(const char *name, const char *address, const char *pool)
{
    char json[256];
    snprintf(json, sizeof(json),
             "{'metadata':{'name':'%s','uid':'c-%s'},'spec':{'cidr':'%s','pool':'%s'}}", name, name,
             address, pool);
    fixture_put_claim(world, Q(json));
}

static void assert_counts(const char *pool, uint8_t family, uint64_t total, uint64_t used)
{
    struct blocks_counts counts;
    mutex_guard(&world->mutex);
    state_pool_counts(world, state_pool(world, pool), family, &counts);
    assert_int_equal(counts.total.low, total);
    assert_int_equal(counts.used.low, used);
    assert_int_equal(counts.free.low, total - used);
}

#define BOTH "'addresses':['192.0.2.0/29','2001:db8::/126']"

static void a_pool_counts_each_family_by_itself(void **state)
{
    (void)state;
    put_service("web", "1", "'192.0.2.1','2001:db8::2'");
    put_pool("blue", 1, 1, BOTH);
    assert_counts("blue", ADDRESS_IPV4, 6, 1);
    assert_counts("blue", ADDRESS_IPV6, 4, 1);
    put_claim_of("six", "2001:db8::3", "blue");
    put_claim_of("four", "192.0.2.2", "blue");
    put_claim_of("five", "192.0.2.7", "blue"); /* the broadcast address */
    assert_counts("blue", ADDRESS_IPV4, 6, 2);
    assert_counts("blue", ADDRESS_IPV6, 4, 2);
    /* An edit keeps the book of the family that it leaves alone. */
    const struct blocks *four = pool_of("blue")->books[0];
    const struct blocks *six = pool_of("blue")->books[1];
    put_pool("blue", 1, 2, BOTH ",'useNetworkAndBroadcast':true");
    assert_counts("blue", ADDRESS_IPV4, 8, 3);
    assert_counts("blue", ADDRESS_IPV6, 4, 2);
    assert_ptr_equal(pool_of("blue")->books[1], six);
    four = pool_of("blue")->books[0];
    put_pool("blue", 1, 3, "'addresses':['192.0.2.0-192.0.2.7','2001:db8::/125']");
    assert_ptr_equal(pool_of("blue")->books[0], four);
    assert_counts("blue", ADDRESS_IPV6, 8, 2);
    put_pool("blue", 1, 4, "'addresses':['192.0.2.0/29']");
    assert_null(pool_of("blue")->books[1]);
    assert_counts("blue", ADDRESS_IPV4, 6, 2);
    assert_counts("blue", ADDRESS_IPV6, 0, 0);
}

static void what_the_older_version_gave_is_not_free(void **state)
{
    (void)state;
    fixture_synced(world);
    put_claim_of("one", "192.0.2.1", "blue");
    put_pool("blue", 1, 1,
             BOTH ",'allocated':{'192.0.2.1':'a','192.0.2.2':'b','192.0.2.7':'c','192.0.2.99':'d',"
                  "'2001:db8::':'e'}");
    assert_counts("blue", ADDRESS_IPV4, 6, 2);
    assert_counts("blue", ADDRESS_IPV6, 4, 1);
    /* Its claims come and go, and free nothing. */
    put_claim_of("two", "192.0.2.2", "blue");
    assert_counts("blue", ADDRESS_IPV4, 6, 2);
    told[0] = '\0';
    state_remove(world, STATE_CLAIMS, "two", NULL);
    state_remove(world, STATE_CLAIMS, "one", NULL);
    assert_counts("blue", ADDRESS_IPV4, 6, 2);
    assert_false(was_told("room/"));
    /* An entry that is taken out frees its address, unless somebody has it. */
    put_claim_of("one", "192.0.2.1", "blue");
    put_pool("blue", 1, 2, BOTH ",'allocated':{'192.0.2.2':'b'}");
    assert_true(was_told("room/"));
    assert_counts("blue", ADDRESS_IPV4, 6, 2);
    assert_counts("blue", ADDRESS_IPV6, 4, 0);
    put_pool("blue", 1, 3, BOTH);
    assert_counts("blue", ADDRESS_IPV4, 6, 1);
    /* Nobody has it: the pool can go. */
    state_remove(world, STATE_CLAIMS, "one", NULL);
    put_pool("blue", 1, 4, BOTH ",'allocated':{'192.0.2.2':'b'}");
    mutex_lock(&world->mutex);
    assert_false(state_pool_is_in_use(world, state_pool(world, "blue")));
    mutex_unlock(&world->mutex);
}

static void pools_overlap_in_either_family(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        bool conflict;
    } cases[] = {
        {"'addresses':['192.0.2.6']", true},
        {"'addresses':['192.0.2.7','198.51.100.0/24']", false}, /* its broadcast address */
        {"'addresses':['198.51.100.0/24','2001:db8::3']", true},
        {"'addresses':['198.51.100.0/24','2001:db8::4']", false},
        {"'cidr':'2001:db8::/64'", true},
        {"'addresses':['2001:db8::/64'],'exclude':['2001:db8::/125']", false},
    };
    fixture_synced(world);
    put_pool("older", 1, 1, BOTH);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        put_pool("younger", 2, (int)i + 1, cases[i].spec);
        if ((pool_of("younger")->conflict != NULL) != cases[i].conflict)
            fail_msg("%s", cases[i].spec);
        assert_null(pool_of("older")->conflict);
    }
}

static void a_pool_without_a_book_counts_its_claims(void **state)
{
    (void)state;
    put_claim_of("one", "192.0.2.1", "blue");
    put_pool("blue", 1, 1, "'cidr':'192.0.2.0/29'");
    put_claim_of("two", "192.0.2.2", "other");
    assert_counts("blue", ADDRESS_IPV4, 6, 2);
    assert_counts("blue", ADDRESS_IPV6, 0, 0);
    put_pool("blue", 1, 2, "'cidr':'192.0.2.0/33'");
    assert_counts("blue", ADDRESS_IPV4, 1, 1);
    put_claim_of("two", "192.0.2.2", "blue");
    put_claim_of("six", "2001:db8::1", "blue");
    assert_counts("blue", ADDRESS_IPV4, 2, 2);
    assert_counts("blue", ADDRESS_IPV6, 1, 1);
    told[0] = '\0';
    state_remove(world, STATE_CLAIMS, "two", NULL);
    assert_true(was_told("ipclaimpools/blue"));
    assert_counts("blue", ADDRESS_IPV4, 1, 1);
    state_remove(world, STATE_CLAIMS, "one", NULL);
    state_remove(world, STATE_CLAIMS, "six", NULL);
    assert_counts("blue", ADDRESS_IPV4, 0, 0);
    assert_counts("blue", ADDRESS_IPV6, 0, 0);
}

/* --- RoundRobin pools --- */

#define AROUND "'cidr':'192.0.2.0/29','mode':'RoundRobin'"

/* "" for the start */
static void assert_next(const char *pool, const char *expected)
{
    char text[2 * ADDRESS_TEXT_SIZE] = "";
    for (size_t i = 0; i < ADDRESS_FAMILIES; i++)
        if (pool_of(pool)->next[i].family != 0) {
            strcat(text, *text != '\0' ? " " : "");
            address_format(&pool_of(pool)->next[i], text + strlen(text));
        }
    assert_string_equal(text, expected);
}

static void a_claim_moves_the_pointer_of_its_pool(void **state)
{
    (void)state;
    fixture_synced(world);
    put_pool("around", 1, 1, AROUND);
    put_pool("first", 2, 1, "'cidr':'198.51.100.0/29'");
    assert_next("around", "");
    put_claim("192-0-2-3-32", "192.0.2.3", ENTRY("web", ""));
    assert_next("around", "192.0.2.4");
    put_claim("198-51-100-1-32", "198.51.100.1", ENTRY("web", ""));
    assert_next("around", "192.0.2.4");
    assert_next("first", "");
    put_claim("192-0-2-1-32", "192.0.2.1", ENTRY("web", "")); /* wherever it was made */
    put_claim("192-0-2-3-32", "192.0.2.3",
              ENTRY("web", "u-1")); /* one from before, written again */
    assert_next("around", "192.0.2.2");
    state_remove(world, STATE_CLAIMS, "192-0-2-1-32", NULL);
    assert_next("around", "192.0.2.2");
    /* An edit of the pool, and what its status says, move nothing. */
    put_pool("around", 1, 2, AROUND ",'priority':3");
    assert_next("around", "192.0.2.2");
    fixture_put_pool(world, Q("{'metadata':{'name':'around','uid':'p-around','generation':2},"
                              "'spec':{" AROUND "},'status':{'roundRobin':['192.0.2.6/32']}}"));
    assert_next("around", "192.0.2.2");
}

static void each_family_has_its_pointer(void **state)
{
    (void)state;
    fixture_synced(world);
    fixture_put_pool(world, Q("{'metadata':{'name':'both','uid':'p-1'},'spec':{" BOTH
                              ",'mode':'RoundRobin'},'status':{'roundRobin':['192.0.2.3/32',"
                              "'2001:db8::1/128']}}"));
    assert_next("both", "192.0.2.3 2001:db8::1");
    put_claim("six", "2001:db8::2", ENTRY("web", ""));
    assert_next("both", "192.0.2.3 2001:db8::3");
    put_claim("four", "192.0.2.5", ENTRY("web", ""));
    assert_next("both", "192.0.2.6 2001:db8::3");
}

/* Behind the last address that there is comes the first. */
static void the_pointer_comes_round(void **state)
{
    (void)state;
    fixture_synced(world);
    put_pool("end", 1, 1, "'cidr':'255.255.255.254/31','mode':'RoundRobin'");
    put_claim("255-255-255-254-32", "255.255.255.254", ENTRY("web", ""));
    assert_next("end", "255.255.255.255");
    put_claim("255-255-255-255-32", "255.255.255.255", ENTRY("web", ""));
    assert_next("end", "");
}

/* What is listed at the start came before what the pool's status remembers. */
static void a_start_keeps_the_pointer(void **state)
{
    (void)state;
    fixture_put_pool(world, Q("{'metadata':{'name':'around','uid':'p-1'},'spec':{" AROUND
                              "},'status':{'roundRobin':['192.0.2.6/32']}}"));
    put_claim("192-0-2-2-32", "192.0.2.2", ENTRY("web", ""));
    assert_next("around", "192.0.2.6");
    fixture_synced(world);
    put_claim("192-0-2-6-32", "192.0.2.6", ENTRY("other", ""));
    assert_next("around", "192.0.2.7");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_pool_knows_what_is_busy),
        TEST(a_change_of_status_makes_no_room),
        TEST(the_younger_of_two_that_overlap_gives_nothing),
        TEST(pools_stay_in_order),
        TEST(says_why_a_pool_gives_nothing),
        TEST(says_why_an_address_is_not_offered),
        TEST(a_pool_counts_each_family_by_itself),
        TEST(what_the_older_version_gave_is_not_free),
        TEST(pools_overlap_in_either_family),
        TEST(a_pool_without_a_book_counts_its_claims),
        TEST(a_claim_moves_the_pointer_of_its_pool),
        TEST(each_family_has_its_pointer),
        TEST(the_pointer_comes_round),
        TEST(a_start_keeps_the_pointer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
