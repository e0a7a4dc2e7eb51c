/* The reconciler with a state before it and an API server behind it, for the tests of what it does to claims, Services and pools. The
 * clock is a fake one: a pass that waits is begun again by telling the object's name, as the watch would. Nothing sleeps: a test
 * waits for the end of a pass, or for a request. */
#ifndef IPWARDEN_TESTS_UNIT_RECONCILE_FIXTURE_H
#define IPWARDEN_TESTS_UNIT_RECONCILE_FIXTURE_H

#include "server/reconcile/reconciler.h"
#include "server/state/state_addresses.h"
#include "tests/unit/fake_cluster.h"
#include "tests/unit/state_fixture.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#define GRACE (90 * CLOCK_SECOND)
#define ONE "192-0-2-1-32"
#define TWO "192-0-2-2-32"
#define BLUE "{'metadata':{'name':'blue','uid':'p-1'},'spec':{'addresses':['192.0.2.0/29']}}"
#define WEB_PATH "/api/v1/namespaces/a/services/web"
#define EVENTS_PATH "/api/v1/namespaces/a/events"
#define WEB(uid, more) SERVICE("web", uid, "192.0.2.1", more)
/* It asks for nothing any more, and lists nothing. */
#define WEB_BARE(uid)                                                                              \
    "{'metadata':{'namespace':'a','name':'web','uid':'" uid "','resourceVersion':'21'}}"
#define SERVICE(name, uid, address, more)                                                          \
    "{'metadata':{'namespace':'a','name':'" name "','uid':'" uid "','resourceVersion':'20'" more   \
    "},'spec':{'externalIPs':['" address "']}}"
#define CLAIM_AT(name, address, more, services)                                                    \
    "{'metadata':{'name':'" name "','uid':'c-1','resourceVersion':'7'" more                        \
    "},'spec':{'cidr':'" address "','pool':'blue','services':[" services "]}}"
#define CLAIM(services) CLAIM_AT(ONE, "192.0.2.1", "", services)
#define ENTRY "{'namespace':'a','name':'web','uid':'u-1','given':false}"

static struct fake_cluster *cluster;
static struct state *world;
static struct reconciler *reconciler;
static struct k8s_events *events; /* NULL: none are recorded (any more) */
static bool has_events;
static struct clock_fake clock_now;
static atomic_bool may_act;
static atomic_bool answers_held; /* requests come, and are answered when this is over */

static pthread_mutex_t pass_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t pass_ended = PTHREAD_COND_INITIALIZER;
static _Atomic unsigned int passes; /* that have ended */
static _Atomic unsigned int service_passes;
static _Atomic unsigned int claim_passes;
static _Atomic unsigned int pool_passes;
static _Atomic unsigned int place_passes; /* over where claims live */

static inline bool ask_may_act(void *context)
{
    (void)context;
    return may_act;
}

static inline bool handle(void *context, const struct fake_request *request,
                          struct fake_answer *answer)
{
    return !answers_held && fake_cluster_handle(context, request, answer);
}

static inline void observe(void *context, const char *kind, const char *result)
{
    (void)context;
    (void)result;
    pthread_mutex_lock(&pass_lock);
    if (strcmp(kind, "service") == 0)
        atomic_fetch_add(&service_passes, 1);
    if (strcmp(kind, "claim") == 0)
        atomic_fetch_add(&claim_passes, 1);
    if (strcmp(kind, "claim-place") == 0)
        atomic_fetch_add(&place_passes, 1);
    if (strcmp(kind, "pool") == 0)
        atomic_fetch_add(&pool_passes, 1);
    /* The last: whoever has seen it in await_passes has seen the others, too. */
    atomic_fetch_add(&passes, 1);
    pthread_cond_broadcast(&pass_ended);
    pthread_mutex_unlock(&pass_lock);
}

static inline int set_up_with(bool with_events)
{
    has_events = with_events;
    /* Early, so that deadlines by the real clock are later. */
    clock_fake_init(&clock_now, CLOCK_SECOND, 5000 * CLOCK_SECOND);
    cluster = fake_cluster_new();
    fake_api_handle(cluster->api, handle, cluster);
    world = state_new(&(struct state_options){.clock = &clock_now.clock});
    fixture_synced(world);
    may_act = true;
    answers_held = false;
    passes = 0;
    service_passes = 0;
    claim_passes = 0;
    pool_passes = 0;
    place_passes = 0;
    events =
        with_events ? k8s_events_new(cluster->client, "ipwarden", "unit", 0, NULL, NULL) : NULL;
    struct reconciler_options options = {
        .state = world,
        .client = cluster->client,
        .events = events,
        .clock = &clock_now.clock,
        .grace = GRACE,
        .may_act = ask_may_act,
        .observe = observe,
    };
    assert_int_equal(reconciler_start(&options, &reconciler, NULL), 0);
    return 0;
}

static inline int set_up(void **state)
{
    (void)state;
    return set_up_with(false);
}

static inline int set_up_events(void **state)
{
    (void)state;
    return set_up_with(true);
}

/* Nothing more is written, and every event that was recorded has been. */
static inline void finish(void)
{
    reconciler_stop(reconciler);
    reconciler = NULL;
    k8s_events_free(events);
    events = NULL;
}

static inline int tear_down(void **state)
{
    (void)state;
    finish();
    fake_cluster_free(cluster);
    state_free(world);
    return 0;
}

/* Between two rows of a table. */
static inline void start_over(void)
{
    tear_down(NULL);
    set_up_with(has_events);
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

/* --- waiting --- */

/* Waits until another pass than these has ended; false: none has for 10 s. */
static inline bool wait_for_pass(unsigned int before)
{
    struct timespec give_up;
    int result = 0;
    clock_gettime(CLOCK_REALTIME, &give_up);
    give_up.tv_sec += 10;
    pthread_mutex_lock(&pass_lock);
    while (passes == before && result != ETIMEDOUT)
        result = pthread_cond_timedwait(&pass_ended, &pass_lock, &give_up);
    pthread_mutex_unlock(&pass_lock);
    return result != ETIMEDOUT;
}

/* Until a condition holds that passes bring about. */
#define await_passes(condition)                                                                    \
    for (unsigned int before_ = passes; !(condition); before_ = passes)                            \
        if (!wait_for_pass(before_))                                                               \
    fail_msg("not in time: %s", #condition)

/* Waits until one more pass has ended since before. */
static inline void await_pass(unsigned int before)
{
    await_passes(passes > before);
}

/* Waits for a pass over the only object of its kind that began after this call, and for its end. A pass that was under way
 * before may come first. */
static inline void await_look(enum state_kind kind, const char *key)
{
    _Atomic unsigned int *count = kind == STATE_CLAIMS  ? &claim_passes
                                  : kind == STATE_POOLS ? &pool_passes
                                                        : &service_passes;
    for (int i = 0; i < 2; i++) {
        unsigned int before = *count;
        mutex_lock(&world->mutex);
        state_tell(world, kind, key);
        mutex_unlock(&world->mutex);
        await_passes(*count > before);
    }
}

static inline bool knows_claim(const char *name)
{
    mutex_guard(&world->mutex);
    return state_claim(world, name) != NULL;
}

static inline void assert_requests(const char *expected)
{
    assert_string_equal(fake_cluster_requests(cluster, 0), expected);
}

/* Until these requests have come, and no others. */
static inline void await_requests(const char *expected)
{
    unsigned int count = *expected != '\0';
    for (const char *at = expected; (at = strchr(at, ' ')) != NULL; at++)
        count++;
    if (!fake_api_wait(cluster->api, count))
        fail_msg("\"%s\", not \"%s\"", fake_cluster_requests(cluster, 0), expected);
    assert_requests(expected);
}

/* --- what was asked of the server --- */

static inline const char *body_of(unsigned int index)
{
    return fake_api_request(cluster->api, index)->body;
}

static inline void assert_in(const char *text, const char *part)
{
    if (strstr(text, Q(part)) == NULL)
        fail_msg("no %s in %s", part, text);
}

static inline void assert_not_in(const char *text, const char *part)
{
    if (strstr(text, Q(part)) != NULL)
        fail_msg("%s in %s", part, text);
}

/* The DELETE with this index means exactly the object that was looked at. */
static inline void assert_precise_delete(unsigned int index)
{
    assert_memory_equal(fake_api_request(cluster->api, index)->line, "DELETE", 6);
    assert_in(body_of(index), "'uid':'c-1'");
    assert_in(body_of(index), "'resourceVersion':'7'");
}

/* How many requests so far begin so: "PATCH /api". */
static inline unsigned int count_of(const char *start)
{
    unsigned int count = 0;
    for (unsigned int i = 0; i < fake_api_count(cluster->api); i++)
        count += strncmp(fake_api_request(cluster->api, i)->line, start, strlen(start)) == 0;
    return count;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
#define EVENTS_TEST(function) cmocka_unit_test_setup_teardown(function, set_up_events, tear_down)

#endif
