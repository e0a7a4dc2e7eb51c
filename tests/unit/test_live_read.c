/* What a no would rest on is read live: what memory has learnt afterwards, what was asked of the API server for that, and how
 * often. */
#include "server/decide/live_read.h"
#include "server/state/state_pools.h"
#include "tests/unit/fake_cluster.h"
#include "tests/unit/state_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define POOL(name, cidr) "{'metadata':{'name':'" name "'},'spec':{'addresses':['" cidr "']}}"
#define BLUE POOL("blue", "192.0.2.0/29")
#define CLAIM_IN(pool, name, address, service)                                                     \
    "{'metadata':{'name':'" name "','uid':'c-" name                                                \
    "','resourceVersion':'7'},'spec':{'cidr':'" address "','pool':'" pool                          \
    "','services':[{'namespace':'a','name':'" service "','uid':'u-" service "'}]}}"
#define CLAIM(name, address, service) CLAIM_IN("blue", name, address, service)
#define SERVICE(name, list)                                                                        \
    "{'metadata':{'namespace':'a','name':'" name "','uid':'u-" name                                \
    "'},'spec':{'externalIPs':[" list "]}}"
#define SERVICE_AT(name) "/api/v1/namespaces/a/services/" name
#define ONE "192-0-2-1-32"
#define TWO "192-0-2-2-32"
#define CLAIM_ONE CLAIM(ONE, "192.0.2.1", "web")
#define CLAIM_TWO CLAIM(TWO, "192.0.2.2", "web")
#define LIST_CLAIMS "GET?limit=500&labelSelector=ip-pool-name%3Dblue"
#define LIST_POOLS "GET" POOL_PATH "?limit=500"
#define PATIENCE (8 * CLOCK_SECOND)

static struct fake_cluster *cluster;
static struct state *world;
static struct clock_fake stands_still;

/* Who waits for the end of a reading. */
struct asker {
    _Atomic unsigned int calls;
    pthread_t thread;
};

static int set_up(void **state)
{
    (void)state;
    cluster = fake_cluster_new();
    clock_fake_init(&stands_still, fake_now(), 0);
    world = state_new(&(struct state_options){.clock = &stands_still.clock});
    fixture_synced(world);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_cluster_free(cluster);
    state_free(world);
    return 0;
}

static void take(void *context)
{
    struct asker *asker = context;
    asker->thread = pthread_self();
    atomic_fetch_add(&asker->calls, 1);
}

static struct policy_doubt doubt_of(bool pools, const char *pool, const char *address)
{
    struct policy_doubt doubt = {.pools = pools};
    snprintf(doubt.pool, sizeof(doubt.pool), "%s", pool != NULL ? pool : "");
    if (address != NULL)
        doubt.address = fixture_address(address);
    return doubt;
}

static void begin(const struct policy_doubt *doubt, int64_t patience, struct asker *ret_asker)
{
    *ret_asker = (struct asker){0};
    live_read_begin(world, cluster->client, doubt, fake_now() + patience, take, ret_asker);
}

static void read_live(const struct policy_doubt *doubt, int64_t patience)
{
    struct asker asker;
    begin(doubt, patience, &asker);
    fake_until(asker.calls > 0);
    assert_int_equal(asker.calls, 1);
}

static void read_blue(void)
{
    struct policy_doubt doubt = doubt_of(false, "blue", NULL);
    read_live(&doubt, PATIENCE);
}

/* The keys of all objects of the kind, in order, joined by blanks. Lives until the next call. */
static const char *known(enum state_kind kind)
{
    static char text[1024];
    const char *keys[32];
    size_t count = 0;
    size_t position = 0;
    size_t length = 0;
    mutex_guard(&world->mutex);
    for (struct state_object *object; (object = state_next(world, kind, &position)) != NULL;) {
        size_t at = count++;
        for (; at > 0 && strcmp(keys[at - 1], object->meta->key) > 0; at--)
            keys[at] = keys[at - 1];
        keys[at] = object->meta->key;
    }
    text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%s", i > 0 ? " " : "",
                                   keys[i]);
    return text;
}

/* These requests and no others, in whatever order; NULL ends them. */
static void assert_requests(const char *const *expected)
{
    unsigned int count = 0;
    for (; expected[count] != NULL; count++) {
        bool found = false;
        for (unsigned int i = 0; i < fake_api_count(cluster->api) && !found; i++) {
            const char *line = fake_api_request(cluster->api, i)->line;
            const char *path = strchr(line, ' ') + 1;
            if (strncmp(path, CLAIM_PATH, strlen(CLAIM_PATH)) == 0)
                path += strlen(CLAIM_PATH);
            found = strcmp(path, expected[count] + strlen("GET")) == 0;
        }
        if (!found)
            fail_msg("no %s in %s", expected[count], fake_cluster_requests(cluster, 0));
    }
    if (fake_api_count(cluster->api) != count)
        fail_msg("more than expected: %s", fake_cluster_requests(cluster, 0));
}

/* --- what is learnt --- */

struct served {
    const char *path;
    const char *body;
};

struct read_case {
    const char *name;
    /* Known. */
    const char *pools[2];
    const char *claims[4];
    const char *services[6];
    struct served served[4]; /* by the API server */
    /* In doubt. */
    bool in_pools;
    const char *in_pool;
    const char *in_address;
    /* Expected. */
    const char *requests[8];
    const char *known_pools; /* NULL: not looked at, as the others */
    const char *known_claims;
    const char *known_services;
};

static const struct read_case cases[] = {
    {.name = "an address: its claim is gone",
     .claims = {CLAIM_ONE, CLAIM_TWO},
     .in_address = "192.0.2.1",
     .requests = {"GET/" ONE},
     .known_claims = TWO},
    {.name = "an address: its claim is there still",
     .claims = {CLAIM_ONE},
     .served = {{CLAIM_PATH "/" ONE, CLAIM_ONE}},
     .in_address = "192.0.2.1",
     .requests = {"GET/" ONE},
     .known_claims = ONE},
    {.name = "an address: its claim is new",
     .served = {{CLAIM_PATH "/" ONE, CLAIM_ONE}},
     .in_address = "192.0.2.1",
     .requests = {"GET/" ONE},
     .known_claims = ONE},
    {.name = "an address: a claim with an older name",
     .claims = {CLAIM("web-1", "192.0.2.1", "web")},
     .in_address = "192.0.2.1",
     .requests = {"GET/web-1"},
     .known_claims = ""},
    {.name = "an address: the Service that lists it is gone",
     .services = {SERVICE("web", "'192.0.2.1'"), SERVICE("other", "'192.0.2.2'")},
     .in_address = "192.0.2.1",
     .requests = {"GET/" ONE, "GET" SERVICE_AT("web")},
     .known_claims = "",
     .known_services = "a/other"},
    {.name = "an address: of many that list it some are read",
     .services = {SERVICE("a", "'192.0.2.1'"), SERVICE("b", "'192.0.2.1'"),
                  SERVICE("c", "'192.0.2.1'"), SERVICE("d", "'192.0.2.1'"),
                  SERVICE("e", "'192.0.2.1'")},
     .in_address = "192.0.2.1",
     .requests = {"GET/" ONE, "GET" SERVICE_AT("a"), "GET" SERVICE_AT("b"), "GET" SERVICE_AT("c"),
                  "GET" SERVICE_AT("d")},
     .known_services = "a/e"},
    {.name = "the pools: all are listed, and none is forgotten",
     .pools = {POOL("red", "198.51.100.0/29")},
     .served = {{POOL_PATH "/blue", BLUE}, {POOL_PATH "/six", POOL("six", "2001:db8::/64")}},
     .in_pools = true,
     .requests = {LIST_POOLS},
     .known_pools = "blue red six"},
    {.name = "a pool: a claim that the list doesn't have is read, and gone",
     .pools = {BLUE},
     .claims = {CLAIM_ONE, CLAIM_TWO},
     .served = {{CLAIM_PATH "/" TWO, CLAIM_TWO}},
     .in_pool = "blue",
     .requests = {LIST_CLAIMS, "GET/" ONE},
     .known_claims = TWO},
    {.name = "a pool: a claim without its label isn't in the list, but there",
     .pools = {BLUE},
     .claims = {CLAIM_ONE},
     .served = {{CLAIM_PATH "/" ONE, CLAIM_IN("", ONE, "192.0.2.1", "web")}},
     .in_pool = "blue",
     .requests = {LIST_CLAIMS, "GET/" ONE},
     .known_claims = ONE},
    {.name = "a pool: a claim on it that doesn't name it is read by itself, others aren't",
     .pools = {BLUE},
     .served = {{CLAIM_PATH "/" ONE, CLAIM_IN("red", ONE, "192.0.2.1", "web")}},
     .claims = {CLAIM_IN("red", ONE, "192.0.2.1", "web"),
                CLAIM("198-51-100-1-32", "198.51.100.1", "web")},
     .in_pool = "blue",
     .requests = {LIST_CLAIMS, "GET/" ONE},
     .known_claims = ONE " 198-51-100-1-32"},
    {.name = "a pool: a hold that is gone",
     .pools = {BLUE},
     .claims = {"{'metadata':{'name':'" ONE "'},'spec':{'cidr':'192.0.2.1'}}"},
     .in_pool = "blue",
     .requests = {LIST_CLAIMS, "GET/" ONE},
     .known_claims = ""},
    {.name = "a pool: the Services that list the address of a claim that is gone are read too",
     .pools = {BLUE},
     .claims = {CLAIM_ONE},
     .services = {SERVICE("web", "'192.0.2.1'")},
     .in_pool = "blue",
     .requests = {LIST_CLAIMS, "GET/" ONE, "GET" SERVICE_AT("web")},
     .known_claims = "",
     .known_services = ""},
    {.name = "a pool: what the list has is learnt",
     .pools = {BLUE},
     .served = {{CLAIM_PATH "/" ONE, CLAIM_ONE}, {CLAIM_PATH "/" TWO, CLAIM_TWO}},
     .in_pool = "blue",
     .requests = {LIST_CLAIMS},
     .known_claims = ONE " " TWO},
    {.name = "a pool that isn't known",
     .claims = {CLAIM_ONE},
     .in_pool = "blue",
     .known_claims = ONE},
    {.name = "a pool that is too large to compare in full",
     .pools = {POOL("blue", "2001:db8::/64")},
     .claims = {CLAIM("six", "2001:db8::5", "web"), CLAIM("far", "2001:db8::ffff:0:0", "web")},
     .in_pool = "blue",
     .requests = {LIST_CLAIMS, "GET/six"},
     .known_claims = "far"},
    {.name = "all at once",
     .pools = {BLUE},
     .claims = {CLAIM_ONE, CLAIM_TWO},
     .served = {{POOL_PATH "/red", POOL("red", "198.51.100.0/29")},
                {CLAIM_PATH "/" ONE, CLAIM_ONE}},
     .in_pools = true,
     .in_pool = "blue",
     .in_address = "198.51.100.7",
     .requests = {LIST_CLAIMS, LIST_POOLS, "GET/198-51-100-7-32", "GET/" TWO},
     .known_pools = "blue red",
     .known_claims = ONE},
};

static void put_known(const struct read_case *row)
{
    for (size_t i = 0; i < 2 && row->pools[i] != NULL; i++)
        fixture_put_pool(world, Q(row->pools[i]));
    for (size_t i = 0; i < 4 && row->claims[i] != NULL; i++)
        fixture_put_claim(world, Q(row->claims[i]));
    for (size_t i = 0; i < 6 && row->services[i] != NULL; i++)
        fixture_put_service(world, Q(row->services[i]));
    for (size_t i = 0; i < 4 && row->served[i].path != NULL; i++)
        fake_cluster_put(cluster, row->served[i].path, row->served[i].body);
}

static void assert_known(enum state_kind kind, const char *expected)
{
    if (expected != NULL)
        assert_string_equal(known(kind), expected);
}

static void what_is_in_doubt_is_read(void **state)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct read_case *row = &cases[i];
        struct policy_doubt doubt = doubt_of(row->in_pools, row->in_pool, row->in_address);
        print_message("    %s\n", row->name);
        put_known(row);
        read_live(&doubt, PATIENCE);
        assert_requests(row->requests);
        assert_known(STATE_POOLS, row->known_pools);
        assert_known(STATE_CLAIMS, row->known_claims);
        assert_known(STATE_SERVICES, row->known_services);
        tear_down(state);
        set_up(state);
    }
}

static void without_a_doubt_nothing_is_read(void **state)
{
    struct policy_doubt doubt = doubt_of(false, NULL, NULL);
    struct asker asker;
    (void)state;
    begin(&doubt, PATIENCE, &asker);
    assert_int_equal(asker.calls, 1);
    assert_true(pthread_equal(asker.thread, pthread_self()));
    assert_int_equal(fake_api_count(cluster->api), 0);
}

/* One that is free is enough for whoever asks. */
static void of_many_that_are_gone_some_are_read(void **state)
{
    (void)state;
    fixture_put_pool(world, Q(POOL("blue", "192.0.2.0/24")));
    for (int i = 1; i <= 12; i++) {
        char text[512];
        snprintf(text, sizeof(text), CLAIM("claim-%d", "192.0.2.%d", "web"), i, i, i);
        fixture_put_claim(world, Q(text));
    }
    read_blue();
    assert_int_equal(fake_api_count(cluster->api), 1 + 8);
    assert_string_equal(known(STATE_CLAIMS), "claim-10 claim-11 claim-12 claim-9");
}

static void a_list_may_have_pages(void **state)
{
    (void)state;
    fixture_put_pool(world, Q(BLUE));
    fixture_put_claim(world, Q(CLAIM_ONE));
    fixture_put_claim(world, Q(CLAIM_TWO));
    fake_api_answer(cluster->api,
                    &(struct fake_answer){.request = "GET",
                                          .body = Q("{'metadata':{'resourceVersion':'1','continue':"
                                                    "'more'},'items':[" CLAIM_ONE "]}")});
    fake_api_answer(cluster->api,
                    &(struct fake_answer){
                        .request = "GET",
                        .body = Q("{'metadata':{'resourceVersion':'1'},'items':[" CLAIM_TWO "]}")});
    read_blue();
    assert_int_equal(fake_api_count(cluster->api), 2);
    assert_string_equal(known(STATE_CLAIMS), ONE " " TWO);
}

/* --- how often --- */

/* What was listed before somebody asked is no answer. */
static void whoever_asks_later_gets_a_list_of_his_own(void **state)
{
    (void)state;
    fixture_put_pool(world, Q(BLUE));
    fixture_put_pool(world, Q(POOL("red", "198.51.100.0/29")));
    read_blue();
    read_blue();
    assert_int_equal(fake_api_count(cluster->api), 2);
    /* Another pool is another matter. */
    struct policy_doubt doubt = doubt_of(false, "red", NULL);
    read_live(&doubt, PATIENCE);
    assert_int_equal(fake_api_count(cluster->api), 3);
}

static void all_who_ask_meanwhile_share_the_next_list(void **state)
{
    struct policy_doubt doubt = doubt_of(false, "blue", NULL);
    struct asker askers[5];
    (void)state;
    fixture_put_pool(world, Q(BLUE));
    fixture_put_claim(world, Q(CLAIM_ONE));
    fake_cluster_think(cluster, true);
    for (size_t i = 0; i < 5; i++)
        begin(&doubt, PATIENCE, &askers[i]);
    assert_true(fake_api_wait(cluster->api, 1));
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(askers[i].calls, 0);
    fake_cluster_think(cluster, false);
    for (size_t i = 0; i < 5; i++)
        fake_until(askers[i].calls > 0);
    /* The list under way is the first one's; all others are answered by one more. */
    assert_requests((const char *const[]){LIST_CLAIMS, "GET/" ONE, LIST_CLAIMS, NULL});
    assert_string_equal(known(STATE_CLAIMS), "");
}

/* --- what can't be read --- */

static const struct fake_answer faults[] = {
    {.status = 500, .body = "an internal error"},
    {.status = 403, .body = "forbidden"},
    {.status = 503, .body = "always unavailable", .times = 1000},
    {.body = "{}"},
    {.body = "<html>"},
    {.body = "{\"kind\":\"Status\"}"},
    {.ending = FAKE_HOLD},
    {.ending = FAKE_CLOSE},
    {.body = "{\"meta", .ending = FAKE_BREAK},
};

/* Nothing is forgotten for a fault, and whoever asks hears of the end in time. */
static void what_cannot_be_read_stays_as_it_was_known(void **state)
{
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct policy_doubt doubt = doubt_of(true, "blue", "192.0.2.1");
        struct fake_answer fault = faults[i];
        int64_t start = fake_now();
        fault.request = "GET";
        print_message("    %d %s\n", fault.status, fault.body != NULL ? fault.body : "");
        fixture_put_pool(world, Q(BLUE));
        fixture_put_claim(world, Q(CLAIM_ONE));
        fixture_put_claim(world, Q(CLAIM_TWO));
        fixture_put_service(world, Q(SERVICE("web", "'192.0.2.1'")));
        fake_cluster_fault(cluster, &fault);
        read_live(&doubt, CLOCK_SECOND / 4);
        assert_true(fake_now() - start < 4 * CLOCK_SECOND);
        assert_string_equal(known(STATE_CLAIMS), ONE " " TWO);
        assert_string_equal(known(STATE_SERVICES), "a/web");
        assert_string_equal(known(STATE_POOLS), "blue");
        mutex_lock(&world->mutex);
        assert_false(state_pool(world, "blue")->claims_reading);
        mutex_unlock(&world->mutex);
        tear_down(state);
        set_up(state);
    }
}

/* Half a list says nothing about what it doesn't have. */
static void a_list_that_fails_is_compared_with_nothing(void **state)
{
    (void)state;
    fixture_put_pool(world, Q(BLUE));
    fixture_put_claim(world, Q(CLAIM_ONE));
    fake_api_answer(cluster->api, &(struct fake_answer){.request = "GET", .status = 403});
    read_blue();
    assert_requests((const char *const[]){LIST_CLAIMS, NULL});
    assert_string_equal(known(STATE_CLAIMS), ONE);
}

static void closing_the_client_ends_the_reading(void **state)
{
    struct policy_doubt doubt = doubt_of(true, "blue", "192.0.2.1");
    struct asker asker;
    (void)state;
    static const struct fake_answer silence = {.request = "GET", .ending = FAKE_HOLD};
    fixture_put_pool(world, Q(BLUE));
    fake_cluster_fault(cluster, &silence);
    begin(&doubt, PATIENCE, &asker);
    assert_true(fake_api_wait(cluster->api, 3));
    fake_cluster_disconnect(cluster);
    assert_int_equal(asker.calls, 1);
}

/* --- the watch overtakes a reading --- */

static void what_came_meanwhile_is_newer_than_the_answer(void **state)
{
    (void)state;
    struct policy_doubt doubt = doubt_of(false, NULL, "192.0.2.1");
    struct asker asker;
    fake_cluster_put(cluster, CLAIM_PATH "/" ONE, CLAIM(ONE, "192.0.2.1", "before"));
    fake_cluster_think(cluster, true);
    begin(&doubt, PATIENCE, &asker);
    assert_true(fake_api_wait(cluster->api, 1));
    fixture_put_claim(world, Q(CLAIM_ONE)); /* told by the watch */
    fake_cluster_think(cluster, false);
    fake_until(asker.calls > 0);
    assert_string_equal(known(STATE_CLAIMS), ONE);
    mutex_lock(&world->mutex);
    assert_string_equal(state_claim(world, ONE)->claim->services[0].name, "web");
    mutex_unlock(&world->mutex);
}

/* The watch tells late of what has gone, just then. */
static void what_came_meanwhile_and_is_not_there_is_read_again(void **state)
{
    (void)state;
    struct policy_doubt doubt = doubt_of(false, NULL, "192.0.2.1");
    struct asker asker;
    fixture_put_claim(world, Q(CLAIM_ONE));
    fake_cluster_think(cluster, true);
    begin(&doubt, PATIENCE, &asker);
    assert_true(fake_api_wait(cluster->api, 1));
    fixture_put_claim(world, Q(CLAIM_ONE));
    fake_cluster_think(cluster, false);
    fake_until(asker.calls > 0);
    assert_string_equal(known(STATE_CLAIMS), "");
    assert_int_equal(fake_api_count(cluster->api), 2);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_in_doubt_is_read),
        TEST(without_a_doubt_nothing_is_read),
        TEST(of_many_that_are_gone_some_are_read),
        TEST(a_list_may_have_pages),
        TEST(whoever_asks_later_gets_a_list_of_his_own),
        TEST(all_who_ask_meanwhile_share_the_next_list),
        TEST(what_cannot_be_read_stays_as_it_was_known),
        TEST(a_list_that_fails_is_compared_with_nothing),
        TEST(closing_the_client_ends_the_reading),
        TEST(what_came_meanwhile_is_newer_than_the_answer),
        TEST(what_came_meanwhile_and_is_not_there_is_read_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
