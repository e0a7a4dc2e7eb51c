/* A state, an API server and requests to grant: what the tests of granting share. JSON is in single quotes. */
#ifndef IPWARDEN_TESTS_GRANT_FIXTURE_H
#define IPWARDEN_TESTS_GRANT_FIXTURE_H

#include "server/decide/grant.h"
#include "server/state/state_addresses.h"
#include "tests/unit/addresses_text.h"
#include "tests/unit/fake_cluster.h"
#include "tests/unit/state_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define BLUE "{'metadata':{'name':'blue'},'spec':{'addresses':['192.0.2.0/29']}}"
#define TINY "{'metadata':{'name':'blue'},'spec':{'addresses':['192.0.2.1/32']}}"
#define STRICT                                                                                     \
    "{'metadata':{'name':'blue'},'spec':{'addresses':['192.0.2.1/32'],'onExhausted':'Reject'}}"
#define SIX "{'metadata':{'name':'six'},'spec':{'addresses':['2001:db8::/128']}}"
#define NAMED(name, more)                                                                          \
    "{'metadata':{'namespace':'a','name':'" name "','uid':'u-" name "'" more "}"
#define AUTO ",'annotations':{'external-ip':'auto'}"
/* Asks for any address; lists one by hand; lists one that was chosen. */
#define LB(name) NAMED(name, "") ",'spec':{'type':'LoadBalancer'}}"
#define LISTS(name, list)                                                                          \
    NAMED(name, "") ",'spec':{'ports':[{'port':443}],'externalIPs':[" list "]}}"
#define CHOSEN(name, list) NAMED(name, AUTO) ",'spec':{'externalIPs':[" list "]}}"
#define WEB LB("web")
#define DUAL NAMED("web", "") ",'spec':{'type':'LoadBalancer','ipFamilyPolicy':'RequireDualStack'}}"
#define ENTRY(name) "{'namespace':'a','name':'" name "','uid':'u-" name "','given':true}"
#define CLAIM(name, address, service)                                                              \
    "{'metadata':{'name':'" name "','uid':'c-" name                                                \
    "','resourceVersion':'7'},'spec':{'cidr':'" address                                            \
    "','pool':'blue','services':[" ENTRY(service) "]}}"
#define ONE "192-0-2-1-32"
#define TWO "192-0-2-2-32"
#define SIX_NAME "2001-0db8-0000-0000-0000-0000-0000-0000-128"
#define LIST_CLAIMS "GET?limit=500&labelSelector=ip-pool-name%3Dblue"
#define LIST_POOLS "GET" POOL_PATH "?limit=500"

static struct fake_cluster *cluster;
static struct state *world;
static struct clock_fake stands_still;

struct outcome {
    _Atomic unsigned int calls;
    pthread_t thread;
    int status;
    enum policy_outcome outcome;
    bool crowded;
    char external[SERVICE_ADDRESSES_TEXT_SIZE];
    char given[SERVICE_ADDRESSES_TEXT_SIZE];
    char text[512];
};

static inline int set_up(void **state)
{
    (void)state;
    cluster = fake_cluster_new();
    clock_fake_init(&stands_still, fake_now(), clock_wall(clock_system()));
    world = state_new(&(struct state_options){.clock = &stands_still.clock, .unstored_most = 1});
    fixture_put_pool(world, Q(BLUE));
    fixture_synced(world);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    fake_cluster_free(cluster);
    mutex_lock(&world->mutex);
    size_t position = 0;
    for (const struct state_address *entry;
         (entry = map_next(world->addresses, &position)) != NULL;)
        assert_int_equal(entry->claiming, 0);
    mutex_unlock(&world->mutex);
    state_free(world);
    return 0;
}

static inline void take(void *context, const struct grant_result *result)
{
    struct outcome *outcome = context;
    outcome->thread = pthread_self();
    outcome->status = result->status;
    outcome->outcome = result->plan->outcome;
    outcome->crowded = result->plan->crowded;
    snprintf(outcome->text, sizeof(outcome->text), "%s",
             result->status != 0 ? result->text : result->plan->text);
    addresses_text(&result->plan->external, outcome->external);
    addresses_text(&result->plan->given, outcome->given);
    atomic_fetch_add(&outcome->calls, 1);
}

struct ask {
    const char *service;
    const char *old;
    enum { ASK_CLAIM, ASK_CHOOSE, ASK_STORED } stage;
    int64_t patience; /* 0: 8 s */
    bool dry_run;
};

static inline void begin(const struct ask *ask, struct outcome *ret_outcome)
{
    static const enum policy_stage stages[] = {POLICY_CLAIM, POLICY_CHOOSE, POLICY_STORED};
    memset(ret_outcome, 0, sizeof(*ret_outcome));
    struct grant_request request = {
        .state = world,
        .client = cluster->client,
        .stage = stages[ask->stage],
        .service = fixture_service_request(Q(ask->service)),
        .old = ask->old != NULL ? fixture_service(Q(ask->old)) : NULL,
        .dry_run = ask->dry_run,
        .deadline = fake_now() + (ask->patience != 0 ? ask->patience : 8 * CLOCK_SECOND),
        .callback = take,
        .context = ret_outcome,
    };
    grant_begin(&request);
}

static inline void ask(const struct ask *question, struct outcome *ret_outcome)
{
    begin(question, ret_outcome);
    fake_until(ret_outcome->calls > 0);
    assert_int_equal(ret_outcome->calls, 1);
}

static inline void ask_for_web(struct outcome *ret_outcome)
{
    ask(&(struct ask){.service = WEB}, ret_outcome);
}

static inline void assert_granted(const struct outcome *outcome, const char *given)
{
    if (outcome->status != 0)
        fail_msg("%d: %s", outcome->status, outcome->text);
    if (outcome->outcome != POLICY_GRANTED)
        fail_msg("outcome %d: %s", outcome->outcome, outcome->text);
    assert_string_equal(outcome->given, given);
}

static inline void assert_outcome(const struct outcome *outcome, enum policy_outcome expected)
{
    assert_int_equal(outcome->status, 0);
    assert_int_equal(outcome->outcome, expected);
}

static inline void assert_requests(const char *expected)
{
    assert_string_equal(fake_cluster_requests(cluster, 0), expected);
}

/* In whatever order. */
static inline void assert_listed(unsigned int from)
{
    const char *requests = fake_cluster_requests(cluster, from);
    assert_non_null(strstr(requests, LIST_CLAIMS));
    assert_non_null(strstr(requests, LIST_POOLS));
    assert_int_equal(strlen(requests), strlen(LIST_CLAIMS " " LIST_POOLS));
}

static inline bool knows_claim(const char *name)
{
    mutex_guard(&world->mutex);
    return state_claim(world, name) != NULL;
}

static inline void answer(const char *request, int status, const char *body)
{
    fake_api_answer(cluster->api, &(struct fake_answer){.request = request,
                                                        .status = status,
                                                        .body = body != NULL ? Q(body) : NULL});
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

#endif
