/* The reconciler against an API server: what it confirms, reaps, releases, assigns and leaves alone, what it asks before
 * it takes anything away, and that it keeps still when it doesn't lead. The clock is a fake one: a pass that waits is
 * begun again by telling the object's name, as the watch would. */
#include "server/reconcile/reconciler.h"
#include "tests/unit/fake_cluster.h"
#include "tests/unit/state_fixture.h"

#include <stdatomic.h>
#include <stdio.h>

#define GRACE (90 * CLOCK_SECOND)
#define ONE "192-0-2-1-32"
#define TWO "192-0-2-2-32"
#define BLUE "{'metadata':{'name':'blue','uid':'p-1'},'spec':{'cidr':'192.0.2.0/29'}}"
#define WEB_PATH "/api/v1/namespaces/a/services/web"
#define WEB(uid, more) SERVICE("web", uid, "192.0.2.1", more)
#define SERVICE(name, uid, address, more)                                                          \
    "{'metadata':{'namespace':'a','name':'" name "','uid':'" uid "','resourceVersion':'20'" more   \
    "},'spec':{'externalIPs':['" address "']}}"
#define CLAIM_AT(name, address, more, services)                                                    \
    "{'metadata':{'name':'" name "','uid':'c-1','resourceVersion':'7'" more                        \
    "},'spec':{'cidr':'" address "','pool':'blue','services':[" services "]}}"
#define CLAIM(services) CLAIM_AT(ONE, "192.0.2.1", "", services)
#define RESERVED "{'namespace':'a','name':'web'}"
#define CONFIRMED "{'namespace':'a','name':'web','uid':'u-1'}"

static struct fake_cluster *cluster;
static struct state *world;
static struct reconciler *reconciler;
static struct clock_fake clock_now;
static atomic_bool may_act;
static _Atomic unsigned int passes; /* that have ended */

static bool ask_may_act(void *context)
{
    (void)context;
    return may_act;
}

static void observe(void *context, const char *kind, const char *result)
{
    (void)context;
    (void)kind;
    (void)result;
    atomic_fetch_add(&passes, 1);
}

static int set_up(void **state)
{
    (void)state;
    /* Early, so that deadlines by the real clock are later. */
    clock_fake_init(&clock_now, CLOCK_SECOND, 5000 * CLOCK_SECOND);
    cluster = fake_cluster_new();
    world = state_new(&(struct state_options){.clock = &clock_now.clock});
    fixture_synced(world);
    may_act = true;
    passes = 0;
    struct reconciler_options options = {
        .state = world,
        .client = cluster->client,
        .clock = &clock_now.clock,
        .grace = GRACE,
        .may_act = ask_may_act,
        .observe = observe,
    };
    assert_int_equal(reconciler_start(&options, &reconciler, NULL), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    reconciler_stop(reconciler);
    fake_cluster_free(cluster);
    state_free(world);
    return 0;
}

/* The same object in state and behind the API server. */
static void put_claim_everywhere(const char *name, const char *json)
{
    char path[256];
    snprintf(path, sizeof(path), CLAIM_PATH "/%s", name);
    fake_cluster_put(cluster, path, json);
    fixture_put_claim(world, Q(json));
}

static void lead(void)
{
    reconciler_lead(reconciler, true);
}

/* Waits until one more pass has ended since before. */
static void await_pass(unsigned int before)
{
    fake_until(passes > before);
}

static bool knows_claim(const char *name)
{
    mutex_guard(&world->mutex);
    return state_claim(world, name) != NULL;
}

/* Until these requests have come, and no others. */
static void await_requests(const char *expected)
{
    int64_t give_up = fake_now() + 10 * CLOCK_SECOND;
    while (strcmp(fake_cluster_requests(cluster, 0), expected) != 0) {
        if (fake_now() > give_up)
            fail_msg("\"%s\", not \"%s\"", fake_cluster_requests(cluster, 0), expected);
        usleep(1000);
    }
}

static void assert_requests(const char *expected)
{
    assert_string_equal(fake_cluster_requests(cluster, 0), expected);
}

static const char *body_of(unsigned int index)
{
    return fake_api_request(cluster->api, index)->body;
}

static void assert_in(const char *text, const char *part)
{
    if (strstr(text, Q(part)) == NULL)
        fail_msg("no %s in %s", part, text);
}

/* The DELETE with this index means exactly the object that was looked at. */
static void assert_precise_delete(unsigned int index)
{
    assert_memory_equal(fake_api_request(cluster->api, index)->line, "DELETE", 6);
    assert_in(body_of(index), "'uid':'c-1'");
    assert_in(body_of(index), "'resourceVersion':'7'");
}

/* --- confirming --- */

static void a_stored_service_confirms_its_claim(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(RESERVED));
    fixture_put_service(world, Q(WEB("u-1", "")));
    lead();
    await_requests("PATCH/" ONE);
    assert_in(body_of(0), "'uid':'u-1'");
    assert_in(body_of(0), "'resourceVersion':'7'");
    fake_until(world->confirmed == 1);
}

static void a_prefix_becomes_a_name(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM("{'namespace':'a','generateName':'we'}"));
    fixture_put_service(world, Q(WEB("u-1", "")));
    lead();
    await_requests("PATCH/" ONE);
    assert_in(body_of(0), "'name':'web','uid':'u-1'");
}

static void a_confirmed_claim_costs_nothing(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(CONFIRMED));
    fixture_put_service(world, Q(WEB("u-1", "")));
    lead();
    fake_until(passes >= 2);
    fake_until(reconciler_queue_length(reconciler) == 0);
    assert_requests("");
}

static void reserved_again_is_confirmed_after_a_look(void **state)
{
    (void)state;
    fixture_put_service(world, Q(WEB("u-1", "")));
    put_claim_everywhere(ONE, CLAIM_AT(ONE, "192.0.2.1",
                                       ",'annotations':{'ipcontroller.ext/reserved-at':'then'}",
                                       RESERVED));
    fake_cluster_put(cluster, WEB_PATH, WEB("u-1", ""));
    lead();
    await_requests("GET" WEB_PATH " PATCH/" ONE);
    assert_in(body_of(1), "'ipcontroller.ext/reserved-at':null");
}

/* --- reaping --- */

static void a_young_reservation_is_left_alone(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(RESERVED));
    clock_fake_advance(&clock_now, GRACE - 1);
    lead();
    await_pass(0);
    assert_requests("");
}

static void an_old_reservation_is_reaped_after_a_look(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(RESERVED));
    clock_fake_advance(&clock_now, GRACE);
    lead();
    await_requests("GET" WEB_PATH " DELETE/" ONE);
    assert_precise_delete(1);
    fake_until(!knows_claim(ONE));
}

static void a_service_that_is_there_after_all_keeps_its_claim(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(RESERVED));
    fake_cluster_put(cluster, WEB_PATH, WEB("u-1", ""));
    clock_fake_advance(&clock_now, GRACE);
    lead();
    await_pass(0);
    assert_requests("GET" WEB_PATH);
    assert_true(knows_claim(ONE));
}

static void a_service_that_lists_another_address_does_not(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(RESERVED));
    fake_cluster_put(cluster, WEB_PATH, SERVICE("web", "u-1", "192.0.2.2", ""));
    clock_fake_advance(&clock_now, GRACE);
    lead();
    await_requests("GET" WEB_PATH " DELETE/" ONE);
}

static void a_look_that_fails_takes_nothing(void **state)
{
    (void)state;
    static const struct fake_answer failures[] = {
        {.request = "GET", .status = 500},
        {.request = "GET", .status = 403},
        {.request = "GET", .body = "{\"metadata\":{\"na", .ending = FAKE_BREAK},
        {.request = "GET", .body = "<html>"},
        {.request = "GET", .body = "{}"},
    };
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        fake_cluster_fault(cluster, &failures[i]);
        put_claim_everywhere(ONE, CLAIM(RESERVED));
        clock_fake_advance(&clock_now, GRACE);
        lead();
        assert_true(fake_api_wait(cluster->api, 2)); /* it was tried again */
        assert_null(strstr(fake_cluster_requests(cluster, 0), "DELETE"));
        assert_true(knows_claim(ONE));
        /* The server is well again, and says what it should have said. */
        fake_cluster_put(cluster, WEB_PATH, WEB("u-1", ""));
        fake_cluster_fault(cluster, NULL);
        tear_down(state);
        set_up(state);
    }
}

static void a_prefix_is_looked_for_in_its_namespace(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM("{'namespace':'a','generateName':'we'}"));
    fake_cluster_put(cluster, "/api/v1/namespaces/a/services",
                     "{'metadata':{},'items':[" SERVICE("other", "u-2", "192.0.2.1",
                                                        "") "," WEB("u-1", "") "]}");
    clock_fake_advance(&clock_now, GRACE);
    lead();
    await_pass(0);
    assert_requests("GET/api/v1/namespaces/a/services");
    assert_true(knows_claim(ONE));
    fake_cluster_put(cluster, "/api/v1/namespaces/a/services", "{'metadata':{},'items':[]}");
    fixture_put_claim(world, Q(CLAIM("{'namespace':'a','generateName':'we'}")));
    await_requests("GET/api/v1/namespaces/a/services GET/api/v1/namespaces/a/services DELETE/" ONE);
}

/* Whoever may create Services may ask for one with a name that the API server refuses afterwards. */
static void a_name_that_can_be_no_name_is_reaped(void **state)
{
    (void)state;
    static const char *const names[] = {"..",  "a/../b", "what?",     "100%",
                                        "a#b", "a//b",   "web/status"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char json[512];
        snprintf(json, sizeof(json), CLAIM("{'namespace':'a','name':'%s'}"), names[i]);
        put_claim_everywhere(ONE, json);
        clock_fake_advance(&clock_now, GRACE);
        lead();
        fake_until(strstr(fake_cluster_requests(cluster, 0), "DELETE/" ONE) != NULL);
        fake_until(!knows_claim(ONE));
        tear_down(state);
        set_up(state);
    }
}

static void a_hold_by_hand_is_never_reaped(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(""));
    clock_fake_advance(&clock_now, 1000 * GRACE);
    lead();
    await_pass(0);
    assert_requests("");
}

static void a_claim_on_its_way_out_is_left_alone(void **state)
{
    (void)state;
    put_claim_everywhere(
        ONE, CLAIM_AT(ONE, "192.0.2.1", ",'deletionTimestamp':'1970-01-01T00:00:10Z'", RESERVED));
    clock_fake_advance(&clock_now, 1000 * GRACE);
    lead();
    await_pass(0);
    assert_requests("");
}

/* --- releasing --- */

static void seen_and_gone_is_released_at_once(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(CONFIRMED));
    fixture_put_service(world, Q(WEB("u-1", "")));
    lead();
    fake_until(passes >= 2 && reconciler_queue_length(reconciler) == 0);
    state_remove_service(world, "a/web", "u-1");
    await_requests("DELETE/" ONE);
    assert_precise_delete(0);
    fake_until(!knows_claim(ONE));
}

static void seen_and_listing_it_no_more_is_released_at_once(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(CONFIRMED));
    fixture_put_service(world, Q(WEB("u-1", "")));
    fixture_put_service(
        world, Q("{'metadata':{'namespace':'a','name':'web','uid':'u-1','resourceVersion':'21'}}"));
    lead();
    await_requests("DELETE/" ONE);
}

static void confirmed_but_never_seen_is_looked_for(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(CONFIRMED)); /* before this process began */
    lead();
    await_requests("GET" WEB_PATH " DELETE/" ONE);
}

/* A Service goes and comes again under its name: its claim was reserved anew in between, and is worth the whole grace. */
static void reserved_again_is_not_released_early(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(CONFIRMED));
    fixture_put_service(world, Q(WEB("u-1", "")));
    clock_fake_advance(&clock_now, 10 * GRACE);
    put_claim_everywhere(ONE, CLAIM_AT(ONE, "192.0.2.1",
                                       ",'annotations':{'ipcontroller.ext/reserved-at':'now'}",
                                       RESERVED));
    state_remove_service(world, "a/web", "u-1");
    clock_fake_advance(&clock_now, GRACE - 1);
    lead();
    await_pass(0);
    assert_requests("");
}

/* The reservation was written by another replica and not seen here yet: the precondition keeps it. */
static void a_claim_that_changed_meanwhile_is_not_deleted(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(CONFIRMED));
    fixture_put_service(world, Q(WEB("u-1", "")));
    state_remove_service(world, "a/web", "u-1");
    fake_cluster_put(cluster, CLAIM_PATH "/" ONE,
                     "{'metadata':{'name':'" ONE "','uid':'c-1','resourceVersion':'8'},'spec':{"
                     "'cidr':'192.0.2.1','services':[" RESERVED "]}}");
    lead();
    await_pass(0);
    assert_non_null(strstr(fake_cluster_requests(cluster, 0), "DELETE/" ONE));
    assert_string_not_equal(fake_cluster_get(cluster, CLAIM_PATH "/" ONE), "");
    assert_true(knows_claim(ONE));
}

static void one_of_two_owners_is_taken_out(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(CONFIRMED ",{'namespace':'a','name':'friend','uid':'u-2'}"));
    fixture_put_service(world, Q(WEB("u-1", "")));
    fixture_put_service(world, Q(SERVICE("friend", "u-2", "192.0.2.1", "")));
    state_remove_service(world, "a/friend", "u-2");
    lead();
    await_requests("PATCH/" ONE);
    assert_null(strstr(body_of(0), "friend"));
    assert_in(body_of(0), CONFIRMED);
}

static void a_claim_that_is_gone_already_is_forgotten(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(CONFIRMED));
    fixture_put_service(world, Q(WEB("u-1", "")));
    state_remove_service(world, "a/web", "u-1");
    fake_cluster_remove(cluster, CLAIM_PATH "/" ONE);
    lead();
    await_requests("DELETE/" ONE);
    fake_until(!knows_claim(ONE));
}

/* --- Services --- */

static void what_runs_without_a_claim_is_claimed(void **state)
{
    (void)state;
    fixture_put_pool(world, Q("{'metadata':{'name':'blue','finalizers':['ipcontroller.ext/pool'],"
                              "'deletionTimestamp':'1970-01-01T00:00:10Z'},'spec':{'cidr':"
                              "'192.0.2.0/29'}}")); /* gives nothing, and yet */
    fixture_put_service(world, Q(WEB("u-1", "")));
    lead();
    fake_until(knows_claim(ONE));
    const char *claim = fake_cluster_get(cluster, CLAIM_PATH "/" ONE);
    assert_in(claim, "'name':'web','uid':'u-1'");
    assert_in(claim, "'pool':'blue'");
}

static void a_lost_claim_is_made_again_for_what_was_given(void **state)
{
    (void)state;
    fixture_put_service(world, Q(SERVICE("web", "u-1", "192.0.2.5",
                                         ",'annotations':{'external-ip':'auto',"
                                         "'ipcontroller.ext/address':'192.0.2.5'}")));
    lead();
    fake_until(knows_claim("192-0-2-5-32"));
}

/* It asks for nothing any more, and lists nothing. */
#define BALANCER_ELSEWHERE                                                                         \
    "{'metadata':{'namespace':'a','name':'web','uid':'u-1','resourceVersion':'20'}}"
#define BALANCER                                                                                   \
    "{'metadata':{'namespace':'a','name':'web','uid':'u-1','resourceVersion':'20'},'spec':{"       \
    "'type':'LoadBalancer'}}"

/* The claim is written before the Service lists the address: meanwhile nobody may take it for a claim that was given up. */
static void a_claim_made_late_is_left_to_its_service(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(CONFIRMED));
    fixture_put_service(world, Q(BALANCER_ELSEWHERE));
    fake_cluster_put(cluster, WEB_PATH, BALANCER_ELSEWHERE);
    clock_fake_advance(&clock_now, GRACE - 1);
    lead();
    fake_until(passes >= 2 && reconciler_queue_length(reconciler) <= 1);
    assert_requests("");
    clock_fake_advance(&clock_now, 1);
    fixture_put_claim(world, Q(CLAIM(CONFIRMED)));
    await_requests("GET" WEB_PATH " DELETE/" ONE);
}

/* The same when this process doesn't know the Service yet. */
static void a_claim_made_late_is_left_to_an_unknown_service(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(CONFIRMED));
    fake_cluster_put(cluster, WEB_PATH, BALANCER_ELSEWHERE);
    lead();
    await_pass(0);
    assert_requests("GET" WEB_PATH);
    assert_true(knows_claim(ONE));
}

static void a_service_without_an_address_gets_one_late(void **state)
{
    (void)state;
    fixture_put_service(world, Q(BALANCER));
    fake_cluster_put(cluster, WEB_PATH, BALANCER);
    lead();
    /* No pool: it waits, and says so. */
    await_requests("PATCH" WEB_PATH "/status");
    assert_in(body_of(0), "'reason':'NoPool'");
    assert_in(body_of(0), "'resourceVersion':'20'");
    fixture_put_pool(world, Q("{'metadata':{'name':'blue','finalizers':['ipcontroller.ext/pool']},"
                              "'spec':{'cidr':'192.0.2.1/32'}}"));
    fake_until(knows_claim(ONE));
    assert_in(fake_cluster_get(cluster, CLAIM_PATH "/" ONE), "'uid':'u-1'");
    const char *end = "services/web";
    fake_until(strstr(fake_cluster_requests(cluster, 1), end) != NULL);
}

static void the_oldest_that_waits_comes_first(void **state)
{
    (void)state;
    for (int i = 3; i > 0; i--) {
        char json[512];
        snprintf(json, sizeof(json),
                 "{'metadata':{'namespace':'a','name':'s%d','uid':'u-%d','creationTimestamp':"
                 "'1970-01-01T00:00:0%dZ'},'spec':{'type':'LoadBalancer'},'status':{'conditions':[{"
                 "'type':'ipcontroller.ext/AddressAssigned','reason':'NoFreeAddress'}]}}",
                 i, i, i);
        char path[128];
        snprintf(path, sizeof(path), "/api/v1/namespaces/a/services/s%d", i);
        fixture_put_service(world, Q(json));
        fake_cluster_put(cluster, path, json);
    }
    lead();
    fake_until(passes >= 3 && reconciler_queue_length(reconciler) == 0);
    fixture_put_pool(world, Q("{'metadata':{'name':'blue','finalizers':['ipcontroller.ext/pool']},"
                              "'spec':{'cidr':'192.0.2.1/32'}}"));
    fake_until(knows_claim(ONE));
    assert_in(fake_cluster_get(cluster, CLAIM_PATH "/" ONE), "'name':'s1'");
}

static void two_that_list_one_address_both_keep_running(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM("{'namespace':'b','name':'first','uid':'u-0'}"));
    fixture_put_service(world, Q("{'metadata':{'namespace':'b','name':'first','uid':'u-0'},'spec':{"
                                 "'externalIPs':['192.0.2.1']}}"));
    fixture_put_service(world, Q(WEB("u-1", "")));
    lead();
    await_requests("PATCH" WEB_PATH "/status");
    assert_in(body_of(0), "'reason':'Conflict'");
    assert_in(body_of(0), "'status':'False'");
    assert_null(strstr(body_of(0), "externalIPs"));
}

static void a_balancer_shows_what_it_was_given(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(CONFIRMED));
    fixture_put_service(world,
                        Q("{'metadata':{'namespace':'a','name':'web','uid':'u-1','resourceVersion':"
                          "'20','annotations':{'ipcontroller.ext/address':'192.0.2.1'}},'spec':{"
                          "'type':'LoadBalancer'}}"));
    lead();
    await_requests("PATCH" WEB_PATH "/status");
    assert_in(body_of(0), "'ingress':[{'ip':'192.0.2.1','ipMode':'VIP'}]");
    assert_non_null(
        strcasestr(fake_api_request(cluster->api, 0)->headers, "strategic-merge-patch"));
}

/* --- pools --- */

#define POOL_URL "/apis/ipcontroller.ext/v2/ipclaimpools/blue"
#define APPLY "PATCH" POOL_URL "?fieldManager=ipwarden-finalizer&force=true"
#define KEPT(more)                                                                                 \
    "{'metadata':{'name':'blue','uid':'p-1','generation':3,'finalizers':['ipcontroller.ext/"       \
    "pool']" more "},'spec':{'cidr':'192.0.2.0/29'}"

static void a_new_pool_gets_its_finalizer(void **state)
{
    (void)state;
    fixture_put_pool(world, Q(BLUE));
    lead();
    await_requests(APPLY);
    assert_in(body_of(0), "'finalizers':['ipcontroller.ext/pool']");
    assert_in(body_of(0), "'uid':'p-1'");
}

static void a_pool_says_how_full_it_is(void **state)
{
    (void)state;
    fixture_put_pool(world, Q(KEPT("") "}"));
    put_claim_everywhere(ONE, CLAIM(""));
    lead();
    await_requests("PATCH" POOL_URL "/status");
    assert_in(body_of(0), "'ipv4':{'total':6,'used':1,'free':5},'ipv6':null");
    assert_in(body_of(0), "'observedGeneration':3");
    assert_in(body_of(0), "'type':'Ready','status':'True'");
    assert_in(body_of(0), "'type':'Exhausted','status':'False'");
    /* Said once: the same again costs nothing. */
    char json[4096];
    char status[2048];
    snprintf(status, sizeof(status), "%s", strstr(body_of(0), "\"status\":"));
    for (char *at = status; *at != '\0'; at++)
        *at = *at == '"' ? '\'' : *at;
    status[strlen(status) - 1] = '\0';
    snprintf(json, sizeof(json), KEPT("") ",%s}", status);
    fake_until(passes >= 2 && reconciler_queue_length(reconciler) == 0);
    clock_fake_advance(&clock_now, 2 * CLOCK_SECOND);
    unsigned int before = passes;
    fixture_put_pool(world, Q(json));
    await_pass(before);
    assert_int_equal(fake_api_count(cluster->api), 1);
}

static void a_pool_that_overlaps_says_with_whom(void **state)
{
    (void)state;
    fixture_put_pool(world, Q("{'metadata':{'name':'older','finalizers':['ipcontroller.ext/pool'],"
                              "'creationTimestamp':'1970-01-01T00:00:01Z'},'spec':{'cidr':"
                              "'192.0.2.0/24'}}"));
    fixture_put_pool(world, Q(KEPT(",'creationTimestamp':'1970-01-01T00:00:02Z'") "}"));
    lead();
    fake_until(fake_api_count(cluster->api) >= 2);
    const char *requests = fake_cluster_requests(cluster, 0);
    unsigned int index = strstr(requests, "blue") < strstr(requests, "older") ? 0 : 1;
    assert_in(body_of(index), "'type':'Conflict','status':'True'");
    assert_in(body_of(index), "overlaps pool older");
    assert_in(body_of(index), "'type':'Ready','status':'False','reason':'Conflict'");
    assert_in(body_of(1 - index), "'type':'Ready','status':'True'");
}

static void a_pool_goes_with_its_last_address(void **state)
{
    (void)state;
    fixture_put_pool(world, Q(KEPT(",'deletionTimestamp':'1970-01-01T00:00:10Z'") "}"));
    put_claim_everywhere(ONE, CLAIM(""));
    lead();
    await_requests("PATCH" POOL_URL "/status");
    assert_in(body_of(0), "'reason':'Deleting'");
    state_remove_claim(world, ONE, NULL);
    await_requests("PATCH" POOL_URL "/status " APPLY);
    assert_null(strstr(body_of(1), "finalizers"));
}

/* --- not leading --- */

static void who_does_not_lead_keeps_still(void **state)
{
    (void)state;
    fixture_put_pool(world, Q(BLUE));
    put_claim_everywhere(ONE, CLAIM(RESERVED));
    fixture_put_service(world, Q(WEB("u-1", "")));
    assert_int_equal(reconciler_queue_length(reconciler), 0);
    /* Leading by name only: the lease says no. */
    may_act = false;
    lead();
    fake_until(passes >= 3);
    reconciler_lead(reconciler, false);
    assert_requests("");
}

static void leadership_lost_during_a_look_takes_nothing(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(RESERVED));
    clock_fake_advance(&clock_now, GRACE);
    fake_api_answer(cluster->api,
                    &(struct fake_answer){.request = "GET", .status = 404, .delay = 300});
    lead();
    assert_true(fake_api_wait(cluster->api, 1));
    may_act = false;
    await_pass(0);
    assert_requests("GET" WEB_PATH);
    assert_true(knows_claim(ONE));
}

static void nothing_is_judged_before_everything_is_known(void **state)
{
    (void)state;
    world->synced[STATE_POOLS] = false;
    put_claim_everywhere(ONE, CLAIM(CONFIRMED));
    fixture_put_service(world, Q(SERVICE("other", "u-9", "192.0.2.2", "")));
    clock_fake_advance(&clock_now, 10 * GRACE);
    lead();
    fake_until(passes >= 4);
    assert_requests("");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_stored_service_confirms_its_claim),
        TEST(a_prefix_becomes_a_name),
        TEST(a_confirmed_claim_costs_nothing),
        TEST(reserved_again_is_confirmed_after_a_look),
        TEST(a_young_reservation_is_left_alone),
        TEST(an_old_reservation_is_reaped_after_a_look),
        TEST(a_service_that_is_there_after_all_keeps_its_claim),
        TEST(a_service_that_lists_another_address_does_not),
        TEST(a_look_that_fails_takes_nothing),
        TEST(a_prefix_is_looked_for_in_its_namespace),
        TEST(a_name_that_can_be_no_name_is_reaped),
        TEST(a_hold_by_hand_is_never_reaped),
        TEST(a_claim_on_its_way_out_is_left_alone),
        TEST(seen_and_gone_is_released_at_once),
        TEST(seen_and_listing_it_no_more_is_released_at_once),
        TEST(confirmed_but_never_seen_is_looked_for),
        TEST(reserved_again_is_not_released_early),
        TEST(a_claim_that_changed_meanwhile_is_not_deleted),
        TEST(one_of_two_owners_is_taken_out),
        TEST(a_claim_that_is_gone_already_is_forgotten),
        TEST(what_runs_without_a_claim_is_claimed),
        TEST(a_lost_claim_is_made_again_for_what_was_given),
        TEST(a_claim_made_late_is_left_to_its_service),
        TEST(a_claim_made_late_is_left_to_an_unknown_service),
        TEST(a_service_without_an_address_gets_one_late),
        TEST(the_oldest_that_waits_comes_first),
        TEST(two_that_list_one_address_both_keep_running),
        TEST(a_balancer_shows_what_it_was_given),
        TEST(a_new_pool_gets_its_finalizer),
        TEST(a_pool_says_how_full_it_is),
        TEST(a_pool_that_overlaps_says_with_whom),
        TEST(a_pool_goes_with_its_last_address),
        TEST(who_does_not_lead_keeps_still),
        TEST(leadership_lost_during_a_look_takes_nothing),
        TEST(nothing_is_judged_before_everything_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
