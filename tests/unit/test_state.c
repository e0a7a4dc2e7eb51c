/* State, situation by situation: full lists, who is told what, how long a claim has been without its Service, and
 * pools that come, change and overlap. What must hold in every situation is in test_state_random.c. */
#include "tests/unit/single_quotes.h"
#include "tests/unit/state_fixture.h"

#include <stdio.h>

static struct clock_fake clock_now;
static struct state *world;
static char told[4096];

static void listen(void *context, const char *key)
{
    (void)context;
    size_t length = strlen(told);
    assert_true(mutex_is_held(&world->mutex));
    snprintf(told + length, sizeof(told) - length, "%s ", key);
}

static bool was_told(const char *key)
{
    char wanted[128];
    snprintf(wanted, sizeof(wanted), "%s ", key);
    return strstr(told, wanted) != NULL;
}

static int set_up(void **state)
{
    (void)state;
    clock_fake_init(&clock_now, 1000 * CLOCK_SECOND, 5000 * CLOCK_SECOND);
    world = state_new(&(struct state_options){.clock = &clock_now.clock});
    state_set_listener(world, listen, NULL);
    told[0] = '\0';
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    state_free(world);
    return 0;
}

static void put_service(const char *name, const char *uid, const char *addresses)
{
    char json[1024];
    snprintf(json, sizeof(json),
             "{'metadata':{'namespace':'a','name':'%s','uid':'%s'},'spec':{'externalIPs':[%s]}}",
             name, uid, addresses);
    fixture_put_service(world, Q(json));
}

/* uid and reserved_at may be "". */
static void put_claim(const char *name, const char *address, const char *service, const char *uid,
                      const char *reserved_at)
{
    char json[1024];
    snprintf(json, sizeof(json),
             "{'metadata':{'name':'%s','uid':'c-%s','annotations':{'ipcontroller.ext/reserved-at':"
             "'%s'}},'spec':{'cidr':'%s','services':[{'namespace':'a','name':'%s','uid':'%s'}]}}",
             name, name, reserved_at, address, service, uid);
    fixture_put_claim(world, Q(json));
}

static void put_pool(const char *name, int created, int generation, const char *spec)
{
    char json[1024];
    snprintf(json, sizeof(json),
             "{'metadata':{'name':'%s','uid':'p-%s','generation':%d,"
             "'creationTimestamp':'1970-01-01T00:00:%02dZ'},'spec':{%s}}",
             name, name, generation, created, spec);
    fixture_put_pool(world, Q(json));
}

static bool is_busy(const char *text)
{
    struct address address = fixture_address(text);
    mutex_guard(&world->mutex);
    return state_address(world, &address) != NULL;
}

static struct claim_service entry_of(const char *claim)
{
    mutex_guard(&world->mutex);
    struct claim *found = state_claim(world, claim);
    assert_non_null(found);
    return found->services[0];
}

static const struct pool *pool_of(const char *name)
{
    mutex_guard(&world->mutex);
    const struct pool *pool = state_pool(world, name);
    assert_non_null(pool);
    return pool;
}

static uint64_t used_of(const char *name)
{
    struct blocks_counts counts;
    blocks_counts(pool_of(name)->blocks, &counts);
    return counts.used.low;
}

/* --- full lists --- */

static void is_synced_when_all_kinds_were_listed(void **state)
{
    (void)state;
    for (int kind = 0; kind < STATE_KINDS; kind++) {
        assert_false(state_is_synced(world));
        state_replace_begin(world, (enum state_kind)kind);
        assert_false(state_is_synced(world));
        state_replace_end(world, (enum state_kind)kind);
    }
    assert_true(state_is_synced(world));
    state_replace_begin(world, STATE_CLAIMS);
    assert_true(state_is_synced(world));
}

static void a_full_list_drops_what_is_not_in_it(void **state)
{
    (void)state;
    fixture_synced(world);
    put_pool("blue", 1, 1, "'cidr':'192.0.2.0/24'");
    put_pool("red", 2, 1, "'cidr':'198.51.100.0/24'");
    put_service("kept", "1", "'192.0.2.1'");
    put_service("gone", "2", "'192.0.2.2'");
    put_claim("c1", "192.0.2.1", "kept", "1", "");
    put_claim("c3", "192.0.2.3", "gone", "2", "");
    told[0] = '\0';
    state_replace_begin(world, STATE_SERVICES);
    put_service("kept", "1", "'192.0.2.1'");
    assert_true(is_busy("192.0.2.2"));
    state_replace_end(world, STATE_SERVICES);
    assert_true(is_busy("192.0.2.1"));
    assert_false(is_busy("192.0.2.2"));
    assert_true(was_told("service/a/gone"));
    assert_true(was_told("room/"));
    state_replace_begin(world, STATE_CLAIMS);
    put_claim("c1", "192.0.2.1", "kept", "1", "");
    state_replace_end(world, STATE_CLAIMS);
    assert_false(is_busy("192.0.2.3"));
    assert_true(was_told("claim/c3"));
    assert_int_equal(used_of("blue"), 1);
    state_replace_begin(world, STATE_POOLS);
    put_pool("red", 2, 1, "'cidr':'198.51.100.0/24'");
    state_replace_end(world, STATE_POOLS);
    assert_int_equal(world->pool_count, 1);
    assert_true(was_told("pool/blue"));
}

static void a_list_that_broke_off_counts_for_nothing(void **state)
{
    (void)state;
    fixture_synced(world);
    put_service("old", "1", "'192.0.2.1'");
    state_replace_begin(world, STATE_SERVICES);
    put_service("old", "1", "'192.0.2.1'");
    put_service("vanished", "2", "'192.0.2.2'");
    state_replace_begin(world, STATE_SERVICES);
    put_service("new", "3", "'192.0.2.3'");
    state_replace_end(world, STATE_SERVICES);
    assert_false(is_busy("192.0.2.1"));
    assert_false(is_busy("192.0.2.2"));
    assert_true(is_busy("192.0.2.3"));
    assert_int_equal(map_count(world->services), 1);
}

static void a_write_of_ours_during_a_list_stays(void **state)
{
    (void)state;
    fixture_synced(world);
    state_replace_begin(world, STATE_CLAIMS);
    put_claim("c1", "192.0.2.1", "web", "", ""); /* the answer to a POST */
    state_replace_end(world, STATE_CLAIMS);
    assert_true(is_busy("192.0.2.1"));
}

/* --- coming and going --- */

static void an_address_that_stays_never_looks_free(void **state)
{
    (void)state;
    fixture_synced(world);
    put_pool("blue", 1, 1, "'cidr':'192.0.2.0/24'");
    put_service("web", "1", "'192.0.2.1','192.0.2.2'");
    told[0] = '\0';
    put_service("web", "1", "'192.0.2.2','192.0.2.1'");
    put_service("web", "2", "'192.0.2.1','192.0.2.2'");
    assert_true(was_told("service/a/web"));
    assert_false(was_told("room/"));
    assert_false(was_told("pool/blue"));
    put_claim("c1", "192.0.2.1", "web", "2", "");
    put_claim("c1", "192.0.2.1", "web", "2", "");
    assert_false(was_told("room/"));
    put_service("web", "2", "'192.0.2.1'");
    assert_true(was_told("room/"));
    assert_true(was_told("pool/blue"));
    told[0] = '\0';
    state_remove_service(world, "a/web", "2");
    assert_false(was_told("room/")); /* the claim still holds it */
    state_remove_claim(world, "c1", NULL);
    assert_true(was_told("room/"));
}

static void only_the_object_that_is_meant_is_removed(void **state)
{
    (void)state;
    fixture_synced(world);
    put_pool("blue", 1, 1, "'cidr':'192.0.2.0/24'");
    put_service("web", "2", "'192.0.2.1'");
    put_claim("c3", "192.0.2.3", "web", "2", "");
    state_remove_service(world, "a/web", "1");
    state_remove_claim(world, "c3", "c-other");
    state_remove_pool(world, "blue", "p-other");
    state_remove_service(world, "a/none", NULL);
    state_remove_claim(world, "none", NULL);
    state_remove_pool(world, "none", NULL);
    assert_true(is_busy("192.0.2.1") && is_busy("192.0.2.3"));
    assert_int_equal(world->pool_count, 1);
    state_remove_service(world, "a/web", "2");
    state_remove_claim(world, "c3", "c-c3");
    state_remove_pool(world, "blue", "p-blue");
    assert_false(is_busy("192.0.2.1") || is_busy("192.0.2.3"));
    assert_int_equal(world->pool_count, 0);
}

static void who_loses_a_claim_is_looked_at(void **state)
{
    (void)state;
    fixture_synced(world);
    put_service("web", "1", "'192.0.2.1'");
    put_claim("c1", "192.0.2.1", "web", "1", "");
    told[0] = '\0';
    state_remove_claim(world, "c1", "c-c1");
    assert_true(was_told("service/a/web"));
    assert_true(was_told("claim/c1"));
}

static void a_mark_makes_busy(void **state)
{
    (void)state;
    struct address address = fixture_address("192.0.2.1");
    put_pool("blue", 1, 1, "'cidr':'192.0.2.0/24'");
    mutex_lock(&world->mutex);
    assert_int_equal(state_mark(world, &address), 0);
    assert_int_equal(state_mark(world, &address), 0);
    state_unmark(world, &address);
    mutex_unlock(&world->mutex);
    assert_true(is_busy("192.0.2.1"));
    assert_int_equal(used_of("blue"), 1);
    put_claim("c1", "192.0.2.1", "web", "", "");
    mutex_lock(&world->mutex);
    state_unmark(world, &address);
    mutex_unlock(&world->mutex);
    assert_true(is_busy("192.0.2.1"));
    state_remove_claim(world, "c1", NULL);
    assert_false(is_busy("192.0.2.1"));
    assert_int_equal(used_of("blue"), 0);
}

/* --- a claim and its Service --- */

static void absence_counts_from_the_full_list_of_services(void **state)
{
    (void)state;
    put_claim("c1", "192.0.2.1", "web", "1", "");
    clock_fake_advance(&clock_now, 60 * CLOCK_SECOND);
    assert_int_equal(entry_of("c1").absent_since, 0);
    state_replace_begin(world, STATE_SERVICES);
    state_replace_end(world, STATE_SERVICES);
    assert_int_equal(entry_of("c1").absent_since, 1060 * CLOCK_SECOND);
    assert_true(was_told("claim/c1"));
}

static void a_service_is_seen_to_come_and_go(void **state)
{
    (void)state;
    fixture_synced(world);
    put_claim("c1", "192.0.2.1", "web", "", "");
    assert_int_equal(entry_of("c1").absent_since, 1000 * CLOCK_SECOND);
    assert_false(entry_of("c1").seen);
    clock_fake_advance(&clock_now, CLOCK_SECOND);
    put_claim("c1", "192.0.2.1", "web", "", ""); /* written again: the time goes on */
    assert_int_equal(entry_of("c1").absent_since, 1000 * CLOCK_SECOND);
    put_service("web", "1", "'192.0.2.2'"); /* it doesn't list the address */
    assert_int_equal(entry_of("c1").absent_since, 1000 * CLOCK_SECOND);
    told[0] = '\0';
    put_service("web", "1", "'192.0.2.1'");
    assert_true(was_told("claim/c1"));
    assert_int_equal(entry_of("c1").absent_since, 0);
    assert_true(entry_of("c1").seen);
    put_claim("c1", "192.0.2.1", "web", "1", ""); /* confirmed */
    assert_true(entry_of("c1").seen);
    clock_fake_advance(&clock_now, CLOCK_SECOND);
    told[0] = '\0';
    state_remove_service(world, "a/web", "1");
    assert_true(was_told("claim/c1"));
    assert_int_equal(entry_of("c1").absent_since, 1002 * CLOCK_SECOND);
    assert_true(entry_of("c1").seen);
}

static void a_confirmed_claim_is_not_that_of_a_namesake(void **state)
{
    (void)state;
    fixture_synced(world);
    put_claim("c1", "192.0.2.1", "web", "1", "");
    put_service("web", "2", "'192.0.2.1'");
    assert_int_not_equal(entry_of("c1").absent_since, 0);
    assert_false(entry_of("c1").seen);
    put_service("web", "1", "'192.0.2.1'");
    assert_int_equal(entry_of("c1").absent_since, 0);
    /* Confirmed for another now: what was seen of the first doesn't count. */
    put_claim("c1", "192.0.2.1", "web", "3", "");
    assert_false(entry_of("c1").seen);
}

static void reserving_again_starts_over(void **state)
{
    (void)state;
    fixture_synced(world);
    put_claim("c1", "192.0.2.1", "web", "", "");
    put_service("web", "1", "'192.0.2.1'");
    assert_true(entry_of("c1").seen);
    state_remove_service(world, "a/web", "1");
    clock_fake_advance(&clock_now, 100 * CLOCK_SECOND);
    put_claim("c1", "192.0.2.1", "web", "", "later");
    assert_false(entry_of("c1").seen);
    assert_int_equal(entry_of("c1").absent_since, 1100 * CLOCK_SECOND);
    put_service("web", "2", "'192.0.2.1'");
    assert_true(entry_of("c1").seen);
    /* Reserved again while the old Service of that name is still seen: it isn't the one that is waited for. */
    put_claim("c1", "192.0.2.1", "web", "", "later still");
    assert_false(entry_of("c1").seen);
    assert_int_equal(entry_of("c1").absent_since, 0);
    put_service("web", "2", "'192.0.2.1'");
    assert_false(entry_of("c1").seen);
    put_service("web", "3", "'192.0.2.1'");
    assert_true(entry_of("c1").seen);
}

static void a_claim_of_the_same_name_is_another_with_another_uid(void **state)
{
    (void)state;
    fixture_synced(world);
    put_claim("c1", "192.0.2.1", "web", "", "");
    put_service("web", "1", "'192.0.2.1'");
    state_remove_service(world, "a/web", "1");
    clock_fake_advance(&clock_now, CLOCK_SECOND);
    fixture_put_claim(world, Q("{'metadata':{'name':'c1','uid':'other'},'spec':{'cidr':'192.0.2.1',"
                               "'services':[{'namespace':'a','name':'web'}]}}"));
    assert_false(entry_of("c1").seen);
    assert_int_equal(entry_of("c1").absent_since, 1001 * CLOCK_SECOND);
}

static void a_prefix_finds_its_service_by_the_address(void **state)
{
    (void)state;
    fixture_synced(world);
    fixture_put_claim(world, Q("{'metadata':{'name':'c1'},'spec':{'cidr':'192.0.2.1','services':["
                               "{'namespace':'a','generateName':'job-'}]}}"));
    put_service("job-x", "1", "'192.0.2.2'");
    assert_int_not_equal(entry_of("c1").absent_since, 0);
    put_service("web", "2", "'192.0.2.1'");
    assert_int_not_equal(entry_of("c1").absent_since, 0);
    put_service("job-y", "3", "'192.0.2.1'");
    assert_int_equal(entry_of("c1").absent_since, 0);
    state_remove_service(world, "a/job-y", NULL);
    assert_int_not_equal(entry_of("c1").absent_since, 0);
}

/* --- pools --- */

static void a_new_pool_knows_what_is_busy(void **state)
{
    (void)state;
    put_service("web", "1", "'192.0.2.1','198.51.100.1'");
    put_claim("c2", "192.0.2.2", "web", "", "");
    put_pool("blue", 1, 1, "'cidr':'192.0.2.0/24'");
    assert_int_equal(used_of("blue"), 2);
    put_pool("blue", 1, 2, "'cidr':'192.0.2.0/24','exclude':['192.0.2.2']");
    assert_int_equal(used_of("blue"), 1);
    put_pool("blue", 1, 3, "'cidr':'nonsense'");
    assert_null(pool_of("blue")->blocks);
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
    assert_true(was_told("pool/blue"));
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
    assert_string_equal(state_pool_offering(world, &address)->name, "older");
    mutex_unlock(&world->mutex);
    put_service("web", "1", "'192.0.2.1'");
    assert_int_equal(used_of("older"), 1);
    assert_int_equal(used_of("younger"), 1);
    told[0] = '\0';
    put_pool("older", 1, 2, "'cidr':'192.0.2.0/28','exclude':['192.0.2.0/29']");
    assert_ptr_equal(pool_of("younger")->conflict, pool_of("older"));
    put_pool("younger", 2, 2, "'cidr':'192.0.2.0/24','ranges':['192.0.2.128/25']");
    assert_null(pool_of("younger")->conflict);
    assert_true(was_told("pool/younger"));
    put_pool("younger", 2, 3, "'cidr':'192.0.2.0/24'");
    assert_non_null(pool_of("younger")->conflict);
    state_remove_pool(world, "older", NULL);
    assert_null(pool_of("younger")->conflict);
}

static void pools_stay_in_order(void **state)
{
    (void)state;
    put_pool("c", 1, 1, "'cidr':'10.1.0.0/24','priority':5");
    put_pool("b", 1, 1, "'cidr':'10.2.0.0/24'");
    put_pool("a", 1, 1, "'cidr':'10.3.0.0/24','priority':5");
    assert_string_equal(world->pools[0]->name, "b");
    assert_string_equal(world->pools[1]->name, "a");
    put_pool("b", 1, 1, "'cidr':'10.2.0.0/24','priority':9");
    assert_string_equal(world->pools[0]->name, "a");
    assert_string_equal(world->pools[2]->name, "b");
    state_remove_pool(world, "a", NULL);
    assert_string_equal(world->pools[0]->name, "c");
}

/* --- options --- */

static void load_balancers_are_ours_by_option_and_class(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        bool served[3]; /* any, class, off */
    } table[] = {
        {"'type':'LoadBalancer'", {true, false, false}},
        {"'type':'LoadBalancer','loadBalancerClass':'ipcontroller.ext/ipwarden'",
         {true, true, false}},
        {"'type':'LoadBalancer','loadBalancerClass':'example.com/other'", {false, false, false}},
        {"'type':'NodePort'", {false, false, false}},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char json[256];
        snprintf(json, sizeof(json), "{'metadata':{'name':'a'},'spec':{%s}}", table[i].spec);
        _cleanup_service_ struct service *service = fixture_service(Q(json), true);
        for (int mode = 0; mode < 3; mode++) {
            world->options.load_balancer = (enum state_load_balancer)mode;
            if (state_serves_load_balancer(world, service) != table[i].served[mode])
                fail_msg("%s, mode %d", table[i].spec, mode);
        }
    }
}

static void the_family_is_that_of_the_cluster(void **state)
{
    (void)state;
    mutex_lock(&world->mutex);
    assert_int_equal(state_primary_family(world), ADDRESS_IPV4);
    mutex_unlock(&world->mutex);
    fixture_put_service(world, Q("{'metadata':{'namespace':'default','name':'kubernetes'},'spec':{"
                                 "'ipFamilies':['IPv6']}}"));
    mutex_lock(&world->mutex);
    assert_int_equal(state_primary_family(world), ADDRESS_IPV6);
    mutex_unlock(&world->mutex);
}

static struct claim *claim_at(const char *version)
{
    char json[300];
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"name\":\"192-0-2-1-32\",\"uid\":\"c\",\"resourceVersion\":\"%s\"},"
             "\"spec\":{\"cidr\":\"192.0.2.1/32\"}}",
             version);
    return fixture_claim(json);
}

static void assert_claim_at(const char *version)
{
    mutex_guard(&world->mutex);
    const struct claim *claim = state_claim(world, "192-0-2-1-32");
    if (version == NULL)
        assert_null(claim);
    else
        assert_string_equal(claim->resource_version, version);
}

/* The watch and the answers to requests are two streams: neither may undo what the other brought later. */
static void a_late_answer_does_not_undo_what_the_watch_brought(void **state)
{
    (void)state;
    uint64_t since = state_sequence(world);
    assert_int_equal(state_put_claim_answer(world, claim_at("1"), since), 0);
    assert_claim_at("1");
    since = state_sequence(world);
    assert_int_equal(state_put_claim(world, claim_at("3")), 0);
    assert_int_equal(state_put_claim_answer(world, claim_at("2"), since), 0);
    assert_claim_at("3");
    assert_int_equal(state_put_claim_answer(world, claim_at("4"), state_sequence(world)), 0);
    assert_claim_at("4");
}

static void a_late_answer_does_not_bring_back_what_is_gone(void **state)
{
    (void)state;
    assert_int_equal(state_put_claim(world, claim_at("1")), 0);
    uint64_t since = state_sequence(world);
    state_remove_claim(world, "192-0-2-1-32", NULL);
    assert_int_equal(state_put_claim_answer(world, claim_at("1"), since), 0);
    assert_claim_at(NULL);
    /* Made again after that: it is there. */
    assert_int_equal(state_put_claim_answer(world, claim_at("2"), state_sequence(world)), 0);
    assert_claim_at("2");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

/* --- RoundRobin pools --- */

#define AROUND "'cidr':'192.0.2.0/29','mode':'RoundRobin'"

/* "" for the start */
static void assert_next(const char *pool, const char *expected)
{
    char text[ADDRESS_TEXT_SIZE] = "";
    if (pool_of(pool)->next.family != 0)
        address_format(&pool_of(pool)->next, text);
    assert_string_equal(text, expected);
}

static void a_claim_moves_the_pointer_of_its_pool(void **state)
{
    (void)state;
    fixture_synced(world);
    put_pool("around", 1, 1, AROUND);
    put_pool("first", 2, 1, "'cidr':'198.51.100.0/29'");
    assert_next("around", "");
    put_claim("192-0-2-3-32", "192.0.2.3", "web", "", "");
    assert_next("around", "192.0.2.4");
    put_claim("198-51-100-1-32", "198.51.100.1", "web", "", "");
    assert_next("around", "192.0.2.4");
    assert_next("first", "");
    put_claim("192-0-2-1-32", "192.0.2.1", "web", "", "");    /* wherever it was made */
    put_claim("192-0-2-3-32", "192.0.2.3", "web", "u-1", ""); /* one from before, confirmed */
    assert_next("around", "192.0.2.2");
    state_remove_claim(world, "192-0-2-1-32", NULL);
    assert_next("around", "192.0.2.2");
    /* An edit of the pool, and what its status says, move nothing. */
    put_pool("around", 1, 2, AROUND ",'priority':3");
    assert_next("around", "192.0.2.2");
    fixture_put_pool(world, Q("{'metadata':{'name':'around','uid':'p-around','generation':2},"
                              "'spec':{" AROUND "},'status':{'roundRobin':['192.0.2.6/32']}}"));
    assert_next("around", "192.0.2.2");
}

/* Behind the last address that there is comes the first. */
static void the_pointer_comes_round(void **state)
{
    (void)state;
    fixture_synced(world);
    put_pool("end", 1, 1, "'cidr':'255.255.255.254/31','mode':'RoundRobin'");
    put_claim("255-255-255-254-32", "255.255.255.254", "web", "", "");
    assert_next("end", "255.255.255.255");
    put_claim("255-255-255-255-32", "255.255.255.255", "web", "", "");
    assert_next("end", "");
}

/* What is listed at the start came before what the pool's status remembers. */
static void a_start_keeps_the_pointer(void **state)
{
    (void)state;
    fixture_put_pool(world, Q("{'metadata':{'name':'around','uid':'p-1'},'spec':{" AROUND
                              "},'status':{'roundRobin':['192.0.2.6/32']}}"));
    put_claim("192-0-2-2-32", "192.0.2.2", "web", "", "");
    assert_next("around", "192.0.2.6");
    fixture_synced(world);
    put_claim("192-0-2-6-32", "192.0.2.6", "other", "", "");
    assert_next("around", "192.0.2.7");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(is_synced_when_all_kinds_were_listed),
        TEST(a_full_list_drops_what_is_not_in_it),
        TEST(a_list_that_broke_off_counts_for_nothing),
        TEST(a_write_of_ours_during_a_list_stays),
        TEST(an_address_that_stays_never_looks_free),
        TEST(only_the_object_that_is_meant_is_removed),
        TEST(who_loses_a_claim_is_looked_at),
        TEST(a_mark_makes_busy),
        TEST(absence_counts_from_the_full_list_of_services),
        TEST(a_service_is_seen_to_come_and_go),
        TEST(a_confirmed_claim_is_not_that_of_a_namesake),
        TEST(reserving_again_starts_over),
        TEST(a_claim_of_the_same_name_is_another_with_another_uid),
        TEST(a_prefix_finds_its_service_by_the_address),
        TEST(a_new_pool_knows_what_is_busy),
        TEST(a_change_of_status_makes_no_room),
        TEST(the_younger_of_two_that_overlap_gives_nothing),
        TEST(pools_stay_in_order),
        TEST(load_balancers_are_ours_by_option_and_class),
        TEST(the_family_is_that_of_the_cluster),
        TEST(a_late_answer_does_not_undo_what_the_watch_brought),
        TEST(a_late_answer_does_not_bring_back_what_is_gone),
        TEST(a_claim_moves_the_pointer_of_its_pool),
        TEST(the_pointer_comes_round),
        TEST(a_start_keeps_the_pointer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
