/* The reconciler with ranges and requests before it and an API server behind it that stores them:
 * what the server stores comes back by pump(), and the clock is a fake one. */
#ifndef IPWARDEN_TESTS_UNIT_IPAM_RECONCILE_FIXTURE_H
#define IPWARDEN_TESTS_UNIT_IPAM_RECONCILE_FIXTURE_H

#include "server/reconcile/reconciler.h"
#include "server/reconcile/work.h"
#include "tests/unit/fake_ipam.h"

#include <stdatomic.h>
#include <stdio.h>

#define FINALIZED "'finalizers':['" IPAM_RANGE_FINALIZER "']"
#define LAN(more)                                                                                  \
    "{'metadata':{'namespace':'a','name':'lan','uid':'r-1','generation':3" more                    \
    "},'spec':{'ranges':['10.0.0.0/26']}}"
#define NET(name, created, wish)                                                                   \
    "{'metadata':{'namespace':'a','name':'" name "','uid':'u-" name "','creationTimestamp':"       \
    "'1970-01-01T00:00:0" created                                                                  \
    "Z'},'spec':{'range':{'name':'lan','namespace':'a'},'request':'" wish "'}}"
#define LAN_STATUS "PATCH " RANGE_PATH("lan") "/status"
#define NET_STATUS(name) "PATCH " REQUEST_PATH(name) "/status"
#define APPLY "?fieldManager=ipwarden-finalizer&force=true"

static struct fake_ipam ipam;
static struct state *world;
static struct reconciler *reconciler;
static struct clock_fake clock_now;
static atomic_bool may_act;
static _Atomic unsigned int passes; /* that have ended, without those of rest() */
static _Atomic unsigned int probes; /* of rest() */
static _Atomic unsigned int
    beside; /* passes that had begun and not ended when the last probe did */
static _Atomic unsigned int lists_wanted;

static inline bool ask_may_act(void *context)
{
    (void)context;
    return may_act;
}

static inline void observe(void *context, const char *kind, const char *result)
{
    (void)context;
    (void)result;
    if (strcmp(kind, "claim") != 0) {
        atomic_fetch_add(&passes, 1);
        return;
    }
    /* A probe ends on the reconciler's thread, as soon as it has begun. */
    mutex_lock(&reconciler->mutex);
    beside = reconciler->in_flight - 1;
    mutex_unlock(&reconciler->mutex);
    atomic_fetch_add(&probes, 1);
}

/* Begun by the test, later. */
static inline uint64_t list_requests_again(void *context)
{
    (void)context;
    assert_true(k8s_on_api_thread(ipam.objects.client));
    atomic_fetch_add(&lists_wanted, 1);
    mutex_guard(&world->mutex);
    return world->round[STATE_REQUESTS] + 1;
}

static struct k8s_events *events; /* NULL: none are recorded */

static inline int set_up_with(bool with_events)
{
    clock_fake_init(&clock_now, CLOCK_SECOND, 5000 * CLOCK_SECOND);
    world = state_new(&(struct state_options){.clock = &clock_now.clock});
    fake_ipam_start(&ipam, world);
    fixture_synced(world);
    may_act = true;
    passes = 0;
    probes = 0;
    lists_wanted = 0;
    events =
        with_events ? k8s_events_new(ipam.objects.client, "ipwarden", "unit", 0, NULL, NULL) : NULL;
    struct reconciler_options options = {
        .state = world,
        .client = ipam.objects.client,
        .events = events,
        .clock = &clock_now.clock,
        .grace = 90 * CLOCK_SECOND,
        .may_act = ask_may_act,
        .list_requests_again = list_requests_again,
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

static inline int tear_down(void **state)
{
    (void)state;
    reconciler_stop(reconciler);
    k8s_events_free(events);
    fake_objects_stop(&ipam.objects);
    state_free(world);
    return 0;
}

static inline void lead(bool leads)
{
    reconciler_lead(reconciler, leads);
}

/* --- what was asked of the server --- */

/* How many requests begin so. */
static inline unsigned int count_of(const char *start)
{
    unsigned int count = 0;
    for (unsigned int i = 0; i < fake_api_count(ipam.objects.api); i++)
        count += strncmp(fake_api_request(ipam.objects.api, i)->line, start, strlen(start)) == 0;
    return count;
}

/* The index among all of the nth request, from 0, that begins so; fails without one. */
static inline unsigned int index_of(const char *start, unsigned int nth)
{
    for (unsigned int i = 0; i < fake_api_count(ipam.objects.api); i++)
        if (strncmp(fake_api_request(ipam.objects.api, i)->line, start, strlen(start)) == 0 &&
            nth-- == 0)
            return i;
    fail_msg("no such request: %s", start);
    return 0;
}

static inline const char *body_of(const char *start, unsigned int nth)
{
    return fake_api_request(ipam.objects.api, index_of(start, nth))->body;
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

/* The watch goes on meanwhile. */
#define until(condition) fake_until(((void)pump(&ipam), (condition)))

static inline bool shows(const char *path, const char *member, const char *part)
{
    return strstr(fake_ipam_status(&ipam, path, member), part) != NULL;
}

/* The watch has brought everything, and nothing is left to do but what waits for the time to pass.
 * There are no claims here: the pass over one is a probe behind all that was due before it. */
static inline void rest(void)
{
    int64_t end = fake_now() + 10 * CLOCK_SECOND;
    for (bool calm = false; !calm;) {
        unsigned int asked = fake_api_count(ipam.objects.api);
        unsigned int ended = passes;
        unsigned int probed = probes;
        bool brought = pump(&ipam);
        assert_int_equal(
            queue_add(reconciler->queue, (struct queue_item){.kind = STATE_CLAIMS, .key = "none"}),
            0);
        fake_until(probes > probed);
        calm =
            !brought && beside == 0 && passes == ended && fake_api_count(ipam.objects.api) == asked;
        assert_true(fake_now() < end);
    }
}

/* Something about the range may have changed: it is looked at. */
static inline void tell_lan(void)
{
    mutex_guard(&world->mutex);
    state_tell(world, STATE_RANGES, "a/lan");
}

/* A range that is taken over and whose status says so. */
static inline void put_lan(void)
{
    fake_ipam_put(&ipam, RANGE_PATH("lan"), LAN("," FINALIZED));
    lead(true);
    until(shows(RANGE_PATH("lan"), "total", "64"));
    rest();
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

#endif
