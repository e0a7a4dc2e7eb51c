/* The informers' objects arrive in state: listed, changed, removed, gone between two lists; what can't be read is skipped
 * and said, and keeps nothing else from being seen. */
#include "server/state/feed.h"
#include "server/state/state.h"
#include "server/state/state_addresses.h"
#include "tests/unit/fake_client.h"
#include "tests/unit/single_quotes.h"
#include "tests/unit/state_fixture.h"

#include <pthread.h>
#include <stdio.h>

#define SERVICES "GET /api/v1/services"
#define CLAIMS "GET " CLAIM_PATH
#define POOLS "GET " POOL_PATH
#define RANGES "GET " IPAM_RANGE_PATH
#define REQUESTS "GET " IPAM_REQUEST_PATH
#define LIST(version, items) "{'metadata':{'resourceVersion':'" version "'},'items':[" items "]}"
#define EVENT(type, object) "{'type':'" type "','object':" object "}\n"
#define WEB(uid, address)                                                                          \
    "{'metadata':{'namespace':'a','name':'web','uid':'" uid "','resourceVersion':'2'},'spec':{"    \
    "'externalIPs':['" address "']}}"
#define CLAIM(name, cidr) "{'metadata':{'name':'" name "','uid':'c'},'spec':{'cidr':'" cidr "'}}"
#define RANGE(name, cidr)                                                                          \
    "{'metadata':{'namespace':'a','name':'" name "','uid':'r'},'spec':{'ranges':['" cidr "']}}"
#define REQUEST(name, status)                                                                      \
    "{'metadata':{'namespace':'a','name':'" name "','uid':'q','creationTimestamp':"                \
    "'2026-01-01T00:00:00Z'},'spec':{'range':{'name':'lan'},'request':'28'},'status':{" status     \
    "}}"
#define POOL(name, cidr) "{'metadata':{'name':'" name "'},'spec':{'addresses':['" cidr "']}}"

static struct fake_api *api;
static struct k8s_config config;
static struct k8s_client *client;
static struct state *world;
static struct clock_fake clock_now; /* of the feed; the client goes by the system's */
static struct feed *feed;

static char *kept[64]; /* what the server has borrowed */
static size_t kept_count;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char told[4096]; /* "+services " works, "-services(reason) " doesn't */

static void health(void *context, const char *kind, bool healthy, const char *reason)
{
    (void)context;
    pthread_mutex_lock(&lock);
    size_t length = strlen(told);
    snprintf(told + length, sizeof(told) - length, "%s%s%s%s%s ", healthy ? "+" : "-", kind,
             healthy ? "" : "(", healthy ? "" : reason, healthy ? "" : ")");
    pthread_mutex_unlock(&lock);
}

/* "!ipclaims a(reason) " */
static void unreadable(void *context, const char *kind, const char *key, const char *reason)
{
    (void)context;
    pthread_mutex_lock(&lock);
    size_t length = strlen(told);
    snprintf(told + length, sizeof(told) - length, "!%s %s(%s) ", kind, key, reason);
    pthread_mutex_unlock(&lock);
}

static bool was_told(const char *text)
{
    pthread_mutex_lock(&lock);
    bool found = strstr(told, text) != NULL;
    pthread_mutex_unlock(&lock);
    return found;
}

static int set_up(void **state)
{
    (void)state;
    told[0] = '\0';
    api = fake_api_new(NULL, false);
    config = (struct k8s_config){.server = strdup(fake_api_url(api))};
    assert_int_equal(k8s_client_new(&config, NULL, &client, NULL), 0);
    clock_fake_init(&clock_now, 1000 * CLOCK_SECOND, 5000 * CLOCK_SECOND);
    world = state_new(&(struct state_options){.clock = &clock_now.clock});
    feed = NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    feed_stop(feed);
    k8s_client_free(client);
    fake_api_free(api);
    free(config.server);
    state_free(world);
    while (kept_count > 0)
        free(kept[--kept_count]);
    return 0;
}

static void answer(const char *request, const char *body, enum fake_ending ending)
{
    char *copy = strdup(Q(body));
    assert_true(copy != NULL && kept_count < sizeof(kept) / sizeof(kept[0]));
    kept[kept_count++] = copy;
    fake_api_answer(api, &(struct fake_answer){.request = request, .body = copy, .ending = ending});
}

static void begin(void)
{
    static const struct feed_listener listener = {.health = health, .unreadable = unreadable};
    assert_int_equal(feed_start(world, client, &listener, NULL, &feed, NULL), 0);
}

static bool is_busy(const char *text)
{
    struct address address = fixture_address(text);
    mutex_guard(&world->mutex);
    return state_address(world, &address) != NULL;
}

static bool has_pool(const char *name)
{
    mutex_guard(&world->mutex);
    return state_pool(world, name) != NULL;
}

static void no_nodes(void)
{
    answer("GET " IP_NODE_PATH, LIST("1", ""), FAKE_END);
    answer("GET " NODE_PATH, LIST("1", ""), FAKE_END);
    answer("GET " ENDPOINT_SLICE_PATH, LIST("1", ""), FAKE_END);
}

/* Nothing there of the kinds that a test isn't about. */
static void no_ranges(void)
{
    answer(RANGES, LIST("1", ""), FAKE_END);
    answer(REQUESTS, LIST("1", ""), FAKE_END);
    no_nodes();
}

static bool is_request(const char *key)
{
    mutex_guard(&world->mutex);
    return state_request(world, key) != NULL;
}

static size_t used_of(const char *range)
{
    struct blocks_counts counts;
    mutex_guard(&world->mutex);
    const struct state_range *home = state_range(world, range);
    if (home == NULL || home->blocks == NULL)
        return 0;
    blocks_counts(home->blocks, &counts);
    return (size_t)address_count_saturated(counts.used);
}

static void what_is_listed_is_known(void **state)
{
    (void)state;
    answer(SERVICES, LIST("1", WEB("u-1", "192.0.2.1")), FAKE_END);
    answer(CLAIMS, LIST("1", CLAIM("192-0-2-2-32", "192.0.2.2/32")), FAKE_END);
    begin();
    fake_until(is_busy("192.0.2.1") && is_busy("192.0.2.2"));
    assert_false(state_is_synced(world)); /* not before all kinds */
    answer(POOLS, LIST("1", POOL("blue", "192.0.2.0/24") "," POOL("bad", "x")), FAKE_END);
    no_ranges();
    fake_until(state_is_synced(world));
    assert_true(has_pool("blue"));
    assert_true(has_pool("bad")); /* its conditions shall say why */
    fake_until(was_told("+services") && was_told("+ipclaims") && was_told("+ipclaimpools"));
}

static void what_changes_is_seen(void **state)
{
    (void)state;
    answer(SERVICES, LIST("1", WEB("u-1", "192.0.2.1")), FAKE_END);
    answer(SERVICES, EVENT("MODIFIED", WEB("u-1", "192.0.2.7")), FAKE_HOLD);
    answer(CLAIMS, LIST("1", ""), FAKE_END);
    answer(CLAIMS,
           EVENT("ADDED", CLAIM("192-0-2-2-32", "192.0.2.2/32"))
               EVENT("ADDED", CLAIM("192-0-2-3-32", "192.0.2.3/32"))
                   EVENT("DELETED", CLAIM("192-0-2-2-32", "192.0.2.2/32")),
           FAKE_HOLD);
    answer(POOLS, LIST("1", POOL("blue", "192.0.2.0/24")), FAKE_END);
    answer(POOLS, EVENT("DELETED", POOL("blue", "192.0.2.0/24")), FAKE_HOLD);
    no_ranges();
    begin();
    fake_until(is_busy("192.0.2.7") && !is_busy("192.0.2.1"));
    fake_until(is_busy("192.0.2.3") && !is_busy("192.0.2.2"));
    fake_until(state_is_synced(world) && !has_pool("blue"));
}

static void ranges_and_requests_are_seen(void **state)
{
    (void)state;
    answer(RANGES, LIST("1", RANGE("lan", "10.0.0.0/24")), FAKE_END);
    answer(REQUESTS, LIST("1", REQUEST("one", "'cidr':'10.0.0.16/28'") "," REQUEST("two", "")),
           FAKE_END);
    answer(REQUESTS,
           EVENT("MODIFIED", REQUEST("two", "'cidr':'10.0.0.32/28'"))
               EVENT("DELETED", REQUEST("one", "'cidr':'10.0.0.16/28'"))
                   EVENT("ADDED", REQUEST("three", "'cidr':'10.0.0.64/27'")),
           FAKE_HOLD);
    begin();
    fake_until(used_of("a/lan") == 16 + 32);
}

/* What a new leader relies on: the round that list_again names began after it. */
static void list_again(void *context)
{
    *(uint64_t *)context = feed_list_again(feed, STATE_REQUESTS);
}

static void a_list_can_be_asked_for_anew(void **state)
{
    (void)state;
    uint64_t round = 0;
    answer(RANGES, LIST("1", RANGE("lan", "10.0.0.0/24")), FAKE_END);
    answer(REQUESTS, LIST("1", REQUEST("one", "'cidr':'10.0.0.16/28'")), FAKE_END);
    answer(REQUESTS, EVENT("ADDED", REQUEST("two", "'cidr':'10.0.0.32/28'")), FAKE_HOLD);
    begin();
    fake_until(used_of("a/lan") == 32);
    answer(REQUESTS, LIST("9", REQUEST("three", "'cidr':'10.0.0.64/27'")), FAKE_END);
    assert_int_equal(k8s_after(client, 0, list_again, &round), 0);
    fake_until(used_of("a/lan") == 32 && !is_request("a/one") && is_request("a/three"));
    mutex_guard(&world->mutex);
    assert_true(round > 1 && world->completed[STATE_REQUESTS] == round);
}

static void a_removal_means_one_uid(void **state)
{
    (void)state;
    answer(SERVICES, LIST("1", WEB("u-2", "192.0.2.1")), FAKE_END);
    answer(SERVICES,
           EVENT("DELETED", WEB("u-1", "192.0.2.1"))
               EVENT("ADDED", "{'metadata':{'namespace':'a','name':'after','uid':'u-3',"
                              "'resourceVersion':'3'},'spec':{'externalIPs':['192.0.2.9']}}"),
           FAKE_HOLD);
    begin();
    fake_until(is_busy("192.0.2.9"));
    assert_true(is_busy("192.0.2.1"));
}

static void what_went_unseen_is_gone_after_the_next_list(void **state)
{
    (void)state;
    answer(CLAIMS,
           LIST("1", CLAIM("192-0-2-1-32", "192.0.2.1/32") "," CLAIM("192-0-2-2-32", "192.0.2.2")),
           FAKE_END);
    answer(CLAIMS, EVENT("ERROR", "{'kind':'Status','code':410,'reason':'Expired'}"), FAKE_END);
    answer(CLAIMS, LIST("9", CLAIM("192-0-2-2-32", "192.0.2.2/32")), FAKE_END);
    begin();
    fake_until(is_busy("192.0.2.2") && !is_busy("192.0.2.1"));
}

static size_t unreadable_of(enum state_kind kind)
{
    mutex_guard(&world->mutex);
    return state_unreadable_count(world, kind);
}

/* One bad object: said once, the others are seen, and the watch is as well as it was. */
static void what_can_not_be_read_is_counted(void **state)
{
    (void)state;
    answer(CLAIMS,
           LIST("1", CLAIM("a", "rubbish") "," CLAIM("192-0-2-2-32",
                                                     "192.0.2.2/32") ",{},"
                                                                     "{'metadata':{'name':7}}"),
           FAKE_END);
    begin();
    fake_until(is_busy("192.0.2.2"));
    fake_until(was_told("!ipclaims a(") && was_told("rubbish") && was_told("!ipclaims ("));
    fake_until(was_told("+ipclaims"));
    assert_int_equal(unreadable_of(STATE_CLAIMS), 3);
    told[0] = '\0';
    answer(CLAIMS,
           EVENT("ADDED", CLAIM("b", "nonsense")) EVENT("MODIFIED", CLAIM("a", "rubbish"))
               EVENT("ADDED", CLAIM("192-0-2-3-32", "192.0.2.3")),
           FAKE_HOLD);
    fake_until(is_busy("192.0.2.3"));
    assert_true(was_told("!ipclaims b(") && was_told("nonsense"));
    assert_false(was_told("rubbish") || was_told("-ipclaims"));
    assert_int_equal(unreadable_of(STATE_CLAIMS), 4);
}

static void what_can_be_read_again_counts_no_more(void **state)
{
    (void)state;
    answer(CLAIMS, LIST("1", CLAIM("a", "rubbish") "," CLAIM("b", "rubbish")), FAKE_END);
    answer(CLAIMS,
           EVENT("MODIFIED", CLAIM("a", "192.0.2.1")) EVENT("DELETED", CLAIM("b", "rubbish"))
               EVENT("ADDED", CLAIM("192-0-2-3-32", "192.0.2.3")),
           FAKE_HOLD);
    begin();
    fake_until(is_busy("192.0.2.3"));
    assert_true(is_busy("192.0.2.1"));
    assert_int_equal(unreadable_of(STATE_CLAIMS), 0);
}

static bool is_current(char *ret_reason, size_t size)
{
    return feed_is_current(feed, 60 * CLOCK_SECOND, ret_reason, size);
}

/* Seconds don't matter; after a minute it is said, until the watch has been open for a while. */
static void a_watch_that_is_broken_for_long_is_told(void **state)
{
    (void)state;
    char reason[300] = "";
    answer(SERVICES, LIST("1", ""), FAKE_END);
    fake_api_answer(api, &(struct fake_answer){.request = SERVICES, .status = 500, .times = 2});
    answer(CLAIMS, LIST("1", ""), FAKE_END);
    answer(POOLS, LIST("1", ""), FAKE_END);
    no_ranges();
    begin();
    fake_until(state_is_synced(world) && was_told("-services"));
    fake_until(was_told("+ipclaims") && was_told("+ipclaimpools"));
    fake_until(was_told("+ipamranges") && was_told("+ipamrequests"));
    assert_true(is_current(reason, sizeof(reason)));
    clock_fake_advance(&clock_now, 60 * CLOCK_SECOND - 1);
    assert_true(is_current(reason, sizeof(reason)));
    clock_fake_advance(&clock_now, 1);
    assert_false(is_current(reason, sizeof(reason)));
    assert_non_null(strstr(reason, "services haven't been seen for 60 s: HTTP 500"));
    told[0] = '\0';
    answer(SERVICES, EVENT("ADDED", WEB("u-1", "192.0.2.1")), FAKE_HOLD);
    fake_until(was_told("+services") && is_busy("192.0.2.1"));
    assert_false(is_current(reason, sizeof(reason)));
    clock_fake_advance(&clock_now, CLOCK_SECOND);
    assert_true(is_current(reason, sizeof(reason)));
    /* And it stays so, however long nothing happens. */
    clock_fake_advance(&clock_now, 1000 * CLOCK_SECOND);
    assert_true(is_current(reason, sizeof(reason)));
}

/* A full list is as good as a watch. */
static void a_list_that_ends_is_current(void **state)
{
    (void)state;
    char reason[300] = "";
    uint64_t round = 0;
    answer(RANGES, LIST("1", ""), FAKE_END);
    answer(REQUESTS, LIST("1", ""), FAKE_END);
    answer(SERVICES, LIST("1", ""), FAKE_END);
    answer(CLAIMS, LIST("1", ""), FAKE_END);
    answer(POOLS, LIST("1", ""), FAKE_END);
    no_nodes();
    fake_api_answer(api, &(struct fake_answer){.request = REQUESTS, .status = 500, .times = 1});
    begin();
    fake_until(state_is_synced(world) && was_told("-ipamrequests"));
    clock_fake_advance(&clock_now, 100 * CLOCK_SECOND);
    assert_false(is_current(reason, sizeof(reason)));
    answer(REQUESTS, LIST("9", ""), FAKE_END);
    assert_int_equal(k8s_after(client, 0, list_again, &round), 0);
    fake_until(is_current(reason, sizeof(reason)));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_listed_is_known),
        TEST(what_changes_is_seen),
        TEST(a_removal_means_one_uid),
        TEST(what_went_unseen_is_gone_after_the_next_list),
        TEST(what_can_not_be_read_is_counted),
        TEST(what_can_be_read_again_counts_no_more),
        TEST(a_watch_that_is_broken_for_long_is_told),
        TEST(a_list_that_ends_is_current),
        TEST(ranges_and_requests_are_seen),
        TEST(a_list_can_be_asked_for_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
