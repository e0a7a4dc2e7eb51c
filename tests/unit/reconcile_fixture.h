/* The reconciler with a state before it and an API server behind it, for the tests of what it does to claims, Services and pools. The
 * clock is a fake one: a pass that waits is begun again by telling the object's name, as the watch would. */
#ifndef IPWARDEN_TESTS_UNIT_RECONCILE_FIXTURE_H
#define IPWARDEN_TESTS_UNIT_RECONCILE_FIXTURE_H

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

static inline bool ask_may_act(void *context)
{
    (void)context;
    return may_act;
}

static inline void observe(void *context, const char *kind, const char *result)
{
    (void)context;
    (void)kind;
    (void)result;
    atomic_fetch_add(&passes, 1);
}

static inline int set_up(void **state)
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

static inline int tear_down(void **state)
{
    (void)state;
    reconciler_stop(reconciler);
    fake_cluster_free(cluster);
    state_free(world);
    return 0;
}

/* The same object in state and behind the API server. */
static inline void put_claim_everywhere(const char *name, const char *json)
{
    char path[256];
    snprintf(path, sizeof(path), CLAIM_PATH "/%s", name);
    fake_cluster_put(cluster, path, json);
    fixture_put_claim(world, Q(json));
}

static inline void lead(void)
{
    reconciler_lead(reconciler, true);
}

/* Waits until one more pass has ended since before. */
static inline void await_pass(unsigned int before)
{
    fake_until(passes > before);
}

static inline bool knows_claim(const char *name)
{
    mutex_guard(&world->mutex);
    return state_claim(world, name) != NULL;
}

/* Until these requests have come, and no others. */
static inline void await_requests(const char *expected)
{
    int64_t give_up = fake_now() + 10 * CLOCK_SECOND;
    while (strcmp(fake_cluster_requests(cluster, 0), expected) != 0) {
        if (fake_now() > give_up)
            fail_msg("\"%s\", not \"%s\"", fake_cluster_requests(cluster, 0), expected);
        usleep(1000);
    }
}

static inline void assert_requests(const char *expected)
{
    assert_string_equal(fake_cluster_requests(cluster, 0), expected);
}

static inline const char *body_of(unsigned int index)
{
    return fake_api_request(cluster->api, index)->body;
}

static inline void assert_in(const char *text, const char *part)
{
    if (strstr(text, Q(part)) == NULL)
        fail_msg("no %s in %s", part, text);
}

/* The DELETE with this index means exactly the object that was looked at. */
static inline void assert_precise_delete(unsigned int index)
{
    assert_memory_equal(fake_api_request(cluster->api, index)->line, "DELETE", 6);
    assert_in(body_of(index), "'uid':'c-1'");
    assert_in(body_of(index), "'resourceVersion':'7'");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

#endif
