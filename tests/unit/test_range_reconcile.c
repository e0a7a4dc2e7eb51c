/* Ranges and requests against an API server: the finalizer, the epoch, that nothing is told before it stands in the range, what a
 * lost lead means, and how often a status is written. What the server stores comes back by pump(). */
#include "server/reconcile/reconciler.h"
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
static _Atomic unsigned int passes;
static _Atomic unsigned int lists_wanted;

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

/* Begun by the test, later. */
static uint64_t list_requests_again(void *context)
{
    (void)context;
    assert_true(k8s_on_api_thread(ipam.objects.client));
    atomic_fetch_add(&lists_wanted, 1);
    mutex_guard(&world->mutex);
    return world->round[STATE_REQUESTS] + 1;
}

static struct k8s_events *events; /* NULL: none are recorded */

static int set_up_with(bool with_events)
{
    clock_fake_init(&clock_now, CLOCK_SECOND, 5000 * CLOCK_SECOND);
    world = state_new(&(struct state_options){.clock = &clock_now.clock});
    fake_ipam_start(&ipam, world);
    fixture_synced(world);
    may_act = true;
    passes = 0;
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

static int set_up(void **state)
{
    (void)state;
    return set_up_with(false);
}

static int set_up_events(void **state)
{
    (void)state;
    return set_up_with(true);
}

static int tear_down(void **state)
{
    (void)state;
    reconciler_stop(reconciler);
    k8s_events_free(events);
    fake_objects_stop(&ipam.objects);
    state_free(world);
    return 0;
}

static void lead(bool leads)
{
    reconciler_lead(reconciler, leads);
}

/* --- what was asked of the server --- */

/* How many requests begin so. */
static unsigned int count_of(const char *start)
{
    unsigned int count = 0;
    for (unsigned int i = 0; i < fake_api_count(ipam.objects.api); i++)
        count += strncmp(fake_api_request(ipam.objects.api, i)->line, start, strlen(start)) == 0;
    return count;
}

/* The index among all of the nth request, from 0, that begins so; fails without one. */
static unsigned int index_of(const char *start, unsigned int nth)
{
    for (unsigned int i = 0; i < fake_api_count(ipam.objects.api); i++)
        if (strncmp(fake_api_request(ipam.objects.api, i)->line, start, strlen(start)) == 0 &&
            nth-- == 0)
            return i;
    fail_msg("no such request: %s", start);
    return 0;
}

static const char *body_of(const char *start, unsigned int nth)
{
    return fake_api_request(ipam.objects.api, index_of(start, nth))->body;
}

static void assert_in(const char *text, const char *part)
{
    if (strstr(text, Q(part)) == NULL)
        fail_msg("no %s in %s", part, text);
}

static void assert_not_in(const char *text, const char *part)
{
    if (strstr(text, Q(part)) != NULL)
        fail_msg("%s in %s", part, text);
}

/* The watch goes on meanwhile. */
#define until(condition) fake_until((pump(&ipam), (condition)))

static bool shows(const char *path, const char *member, const char *part)
{
    return strstr(fake_ipam_status(&ipam, path, member), part) != NULL;
}

/* The watch has brought everything, and nothing is left to do but what waits for the time to pass. */
static void rest(void)
{
    unsigned int calm = 0;
    unsigned int before = 0;
    for (int64_t end = fake_now() + 10 * CLOCK_SECOND; calm < 30; calm++) {
        pump(&ipam);
        if (fake_api_count(ipam.objects.api) != before || fake_now() > end)
            calm = 0;
        assert_true(fake_now() < end);
        before = fake_api_count(ipam.objects.api);
        usleep(1000);
    }
}

/* A range that is taken over and whose status says so. */
static void put_lan(void)
{
    fake_ipam_put(&ipam, RANGE_PATH("lan"), LAN("," FINALIZED));
    lead(true);
    until(shows(RANGE_PATH("lan"), "total", "64"));
    rest();
}

/* --- a new range --- */

static void a_new_range_gets_its_finalizer_first(void **state)
{
    (void)state;
    fake_ipam_put(&ipam, RANGE_PATH("lan"), LAN(""));
    lead(true);
    until(shows(RANGE_PATH("lan"), "conditions", "Serving"));
    const char *first = fake_api_request(ipam.objects.api, 0)->line;
    assert_string_equal(first, "PATCH " RANGE_PATH("lan") APPLY);
    const char *body = fake_api_request(ipam.objects.api, 0)->body;
    assert_in(body, "'kind':'IPAMRange'");
    assert_in(body, "'name':'lan','namespace':'a','uid':'r-1'");
    assert_in(body, FINALIZED);
    assert_int_equal(count_of("PATCH " RANGE_PATH("lan") "?"), 1);
}

static void the_epoch_is_raised_for_exactly_this_object(void **state)
{
    (void)state;
    put_lan();
    assert_string_equal(body_of(LAN_STATUS, 0), Q("{'metadata':{'uid':'r-1','resourceVersion':'1'},"
                                                  "'status':{'epoch':1}}"));
    assert_string_equal(fake_ipam_status(&ipam, RANGE_PATH("lan"), "epoch"), "1");
    assert_int_equal(lists_wanted, 0); /* nobody has granted from it before */
    const char *status = body_of(LAN_STATUS, 1);
    assert_in(status, "{'metadata':{'uid':'r-1','resourceVersion':'2'}");
    assert_in(status, "'observedGeneration':3");
    assert_in(status, "'type':'Ready','status':'True','reason':'Serving'");
    assert_in(status, "'total':64,'used':0,'free':64,'requests':0");
    assert_not_in(status, "'epoch'");
    /* Said once. */
    clock_fake_advance(&clock_now, 10 * CLOCK_SECOND);
    fake_ipam_touch(&ipam, RANGE_PATH("lan"));
    rest();
    assert_int_equal(count_of(LAN_STATUS), 2);
}

static void an_epoch_that_another_raised_meanwhile_is_raised_again(void **state)
{
    (void)state;
    fake_ipam_put(&ipam, RANGE_PATH("lan"), LAN("," FINALIZED));
    pump(&ipam);
    ipam.blind = true;
    fake_ipam_put(&ipam, RANGE_PATH("lan"),
                  "{'metadata':{'namespace':'a','name':'lan','uid':'r-1'," FINALIZED
                  "},'spec':{'ranges':['10.0.0.0/26']},'status':{'epoch':7}}");
    lead(true);
    until(count_of(LAN_STATUS) >= 1);
    assert_string_equal(fake_ipam_status(&ipam, RANGE_PATH("lan"), "epoch"), "7"); /* 409 */
    ipam.blind = false;
    until(shows(RANGE_PATH("lan"), "epoch", "8"));
}

/* Two that believe to lead: each steps back as soon as it sees the other's epoch, and lists before it goes on. */
static void an_epoch_of_another_ends_ours(void **state)
{
    (void)state;
    put_lan();
    fake_ipam_put(&ipam, RANGE_PATH("lan"),
                  "{'metadata':{'namespace':'a','name':'lan','uid':'r-1'," FINALIZED
                  "},'spec':{'ranges':['10.0.0.0/26']},'status':{'epoch':9}}");
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    until(shows(RANGE_PATH("lan"), "epoch", "10"));
    until(lists_wanted == 1);
    rest();
    assert_int_equal(count_of(NET_STATUS("one")), 0);
    fake_ipam_list(&ipam, STATE_REQUESTS);
    until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28"));
}

/* --- grants --- */

static void nothing_is_told_before_it_stands_in_the_range(void **state)
{
    (void)state;
    put_lan();
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    fake_ipam_put(&ipam, REQUEST_PATH("two"), NET("two", "2", "27"));
    until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28") &&
          shows(REQUEST_PATH("two"), "cidr", "10.0.0.32/27"));
    /* Each of them stood in a write of the range that came before. */
    static const char *const pending[] = {
        "{'namespace':'a','name':'one','uid':'u-one','cidr':'10.0.0.0/28'}",
        "{'namespace':'a','name':'two','uid':'u-two','cidr':'10.0.0.32/27'}"};
    static const char *const writes[] = {NET_STATUS("one"), NET_STATUS("two")};
    for (size_t i = 0; i < 2; i++) {
        unsigned int ahead = 0;
        while (strstr(body_of(LAN_STATUS, ahead), Q(pending[i])) == NULL)
            ahead++;
        assert_true(index_of(LAN_STATUS, ahead) < index_of(writes[i], 0));
        assert_in(body_of(LAN_STATUS, ahead), "'resourceVersion'");
        assert_int_equal(count_of(writes[i]), 1);
    }
    const char *body = body_of(NET_STATUS("one"), 0);
    assert_in(body, "{'metadata':{'uid':'u-one'},'status':{'cidr':'10.0.0.0/28',");
    assert_in(body, "'type':'Ready','status':'True','reason':'Ready'");
    assert_in(body, "10.0.0.0/28 of range a/lan");
    /* And goes from there once it is told. */
    clock_fake_advance(&clock_now, 2 * CLOCK_SECOND);
    until(*fake_ipam_status(&ipam, RANGE_PATH("lan"), "pending") == '\0');
    until(shows(RANGE_PATH("lan"), "used", "48") && shows(RANGE_PATH("lan"), "requests", "2"));
}

static bool knows_stored(const char *key)
{
    mutex_guard(&world->mutex);
    const struct ipam_request *request = state_request(world, key);
    return request != NULL && ipam_request_is_stored(request);
}

static void the_server_s_answer_is_enough(void **state)
{
    (void)state;
    put_lan();
    ipam.blind = true;
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    fixture_put_request(world, Q(NET("one", "1", "28")));
    fake_until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28"));
    fake_until(knows_stored("a/one")); /* without the watch */
}

static void a_conflict_on_the_range_gives_nothing_out(void **state)
{
    (void)state;
    put_lan();
    ipam.blind = true;
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    fake_ipam_touch(&ipam, RANGE_PATH("lan")); /* unseen */
    unsigned int before = count_of(LAN_STATUS);
    fixture_put_request(world, Q(NET("one", "1", "28")));
    fake_until(count_of(LAN_STATUS) > before + 1); /* tried, and tried again */
    assert_in(body_of(LAN_STATUS, before), "'name':'one'");
    assert_int_equal(count_of(NET_STATUS("one")), 0);
    assert_string_equal(fake_ipam_status(&ipam, REQUEST_PATH("one"), "cidr"), "");
    ipam.blind = false;
    until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28"));
    assert_int_equal(lists_wanted, 0); /* it is still the same epoch */
    assert_string_equal(fake_ipam_status(&ipam, RANGE_PATH("lan"), "epoch"), "1");
}

/* The answer got lost: whether it was stored isn't known before it is seen, or written again. */
static void a_write_of_unknown_fate_gives_nothing_out(void **state)
{
    (void)state;
    static const struct fake_answer faults[] = {
        {.request = LAN_STATUS, .status = 500, .body = "{}", .times = 3},
        {.request = LAN_STATUS, .status = 504, .body = "{}", .times = 3},
        {.request = LAN_STATUS, .ending = FAKE_CLOSE, .times = 3},
        {.request = LAN_STATUS, .status = 403, .body = "{}", .times = 2},
        {.request = LAN_STATUS, .status = 422, .body = "{}", .times = 2},
    };
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        put_lan();
        unsigned int before = count_of(LAN_STATUS);
        fake_api_answer(ipam.objects.api, &faults[i]);
        fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
        until(count_of(LAN_STATUS) >= before + faults[i].times);
        until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28"));
        assert_true(index_of(LAN_STATUS, before + faults[i].times) <
                    index_of(NET_STATUS("one"), 0));
        tear_down(state);
        set_up(state);
    }
}

static void who_waits_is_told_why_and_served_later(void **state)
{
    (void)state;
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "26"));
    lead(true);
    until(shows(REQUEST_PATH("one"), "conditions", "RangeNotFound"));
    const char *body = body_of(NET_STATUS("one"), 0);
    assert_in(body, "'uid':'u-one','resourceVersion':'1'");
    assert_in(body, "'status':'False'");
    assert_not_in(body, "'cidr'");
    fake_ipam_put(&ipam, RANGE_PATH("lan"), LAN("," FINALIZED));
    until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/26"));
    fake_ipam_put(&ipam, REQUEST_PATH("two"), NET("two", "2", "28"));
    fake_ipam_put(&ipam, REQUEST_PATH("odd"), NET("odd", "3", "8"));
    until(shows(REQUEST_PATH("two"), "conditions", "Busy"));
    until(shows(REQUEST_PATH("odd"), "conditions", "Invalid"));
    rest();
    assert_int_equal(count_of(NET_STATUS("two")), 1); /* said once */
    fake_ipam_delete(&ipam, REQUEST_PATH("one"));
    until(shows(REQUEST_PATH("two"), "cidr", "10.0.0.0/28"));
    assert_true(shows(REQUEST_PATH("two"), "conditions", "'True'"));
}

static void what_somebody_wiped_is_written_again(void **state)
{
    (void)state;
    put_lan();
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28"));
    rest();
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    assert_string_equal(fake_ipam_status(&ipam, REQUEST_PATH("one"), "cidr"), "");
    until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28"));
}

static void a_request_that_is_gone_ends_it(void **state)
{
    (void)state;
    put_lan();
    ipam.blind = true;
    fixture_put_request(world, Q(NET("one", "1", "28"))); /* it was there a moment ago */
    fake_until(count_of(NET_STATUS("one")) >= 1);
    state_remove_request(world, "a/one", "u-one");
    ipam.blind = false;
    rest();
    unsigned int count = count_of(NET_STATUS("one"));
    usleep(100000);
    assert_int_equal(count_of(NET_STATUS("one")), count);
    /* What it would have had is free. */
    fake_ipam_put(&ipam, REQUEST_PATH("two"), NET("two", "2", "26"));
    until(shows(REQUEST_PATH("two"), "cidr", "10.0.0.0/26"));
}

static void another_of_its_name_gets_nothing_of_it(void **state)
{
    (void)state;
    put_lan();
    fake_ipam_put(&ipam, REQUEST_PATH("one"),
                  "{'metadata':{'namespace':'a','name':'one','uid':'u-again'},'spec':{'range':{"
                  "'name':'elsewhere'}}}");
    ipam.blind = true;
    fixture_put_request(world, Q(NET("one", "1", "28"))); /* the one before */
    fake_until(count_of(NET_STATUS("one")) >= 1);
    assert_string_equal(fake_ipam_status(&ipam, REQUEST_PATH("one"), "cidr"), "");
    state_remove_request(world, "a/one", "u-one");
}

/* --- leading --- */

static void who_leads_again_lists_before_it_gives(void **state)
{
    (void)state;
    put_lan();
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28"));
    rest();
    lead(false);
    unsigned int before = fake_api_count(ipam.objects.api);
    fake_ipam_put(&ipam, REQUEST_PATH("two"), NET("two", "2", "28"));
    rest();
    assert_int_equal(fake_api_count(ipam.objects.api), before); /* who doesn't lead keeps still */
    /* Another one led, and gave; this replica hasn't seen it. */
    ipam.blind = true;
    fake_ipam_put(&ipam, REQUEST_PATH("three"),
                  "{'metadata':{'namespace':'a','name':'three','uid':'u-three'},'spec':{'range':{"
                  "'name':'lan','namespace':'a'}},'status':{'cidr':'10.0.0.16/28'}}");
    lead(true);
    fake_until(lists_wanted == 1);
    fake_until(shows(RANGE_PATH("lan"), "epoch", "2"));
    assert_in(body_of(LAN_STATUS, count_of(LAN_STATUS) - 1), "'resourceVersion'");
    unsigned int writes = count_of(LAN_STATUS);
    for (int i = 0; i < 50; i++) {
        usleep(1000);
        fixture_put_request(world, Q(NET("two", "2", "28"))); /* looked at, but not served */
    }
    assert_int_equal(count_of(LAN_STATUS), writes);
    assert_int_equal(count_of(NET_STATUS("two")), 0);
    fake_ipam_list(&ipam, STATE_REQUESTS);
    ipam.blind = false;
    until(shows(REQUEST_PATH("two"), "cidr", "10.0.0.32/28"));
    assert_string_equal(fake_ipam_status(&ipam, REQUEST_PATH("three"), "cidr"), "'10.0.0.16/28'");
    assert_int_equal(lists_wanted, 1);
}

/* The write-ahead was stored, but its answer finds another term: what is pending is the next leader's to honour. */
static void an_answer_after_the_lead_was_lost_tells_nothing(void **state)
{
    (void)state;
    put_lan();
    ipam.blind = true;
    fake_api_answer(
        ipam.objects.api,
        &(struct fake_answer){.request = LAN_STATUS, .body = "{\"metadata\":{}}", .delay = 300});
    unsigned int before = fake_api_count(ipam.objects.api);
    fixture_put_request(world, Q(NET("one", "1", "28")));
    assert_true(fake_api_wait(ipam.objects.api, before + 1));
    unsigned int ended = passes;
    lead(false);
    fake_until(passes > ended);
    mutex_guard(&world->mutex);
    assert_false(state_request(world, "a/one")->announced);
}

static void what_was_pending_is_honoured_by_the_next(void **state)
{
    (void)state;
    fake_ipam_put(&ipam, RANGE_PATH("lan"),
                  "{'metadata':{'namespace':'a','name':'lan','uid':'r-1'," FINALIZED
                  "},'spec':{'ranges':['10.0.0.0/26']},'status':{'epoch':4,'pending':[{'namespace':"
                  "'a','name':'one','uid':'u-one','cidr':'10.0.0.48/28'}]}}");
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "9", "28"));
    fake_ipam_put(&ipam, REQUEST_PATH("two"), NET("two", "1", "28"));
    pump(&ipam);
    lead(true);
    until(lists_wanted == 1);
    rest();
    assert_int_equal(count_of(NET_STATUS("")), 0);
    fake_ipam_list(&ipam, STATE_REQUESTS);
    until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.48/28"));
    until(shows(REQUEST_PATH("two"), "cidr", "10.0.0.0/28"));
    assert_string_equal(fake_ipam_status(&ipam, RANGE_PATH("lan"), "epoch"), "5");
}

static void the_lease_is_asked_before_every_step(void **state)
{
    (void)state;
    put_lan();
    may_act = false;
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    unsigned int before = fake_api_count(ipam.objects.api);
    rest();
    assert_int_equal(fake_api_count(ipam.objects.api), before);
}

static void nothing_is_given_before_everything_is_known(void **state)
{
    (void)state;
    world->synced[STATE_SERVICES] = false;
    fake_ipam_put(&ipam, RANGE_PATH("lan"), LAN(""));
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    pump(&ipam);
    lead(true);
    fake_until(passes >= 4);
    assert_int_equal(fake_api_count(ipam.objects.api), 0);
}

/* --- status --- */

static void a_status_is_written_at_most_once_a_second(void **state)
{
    (void)state;
    put_lan();
    clock_fake_advance(&clock_now, 2 * CLOCK_SECOND);
    unsigned int before = count_of(LAN_STATUS);
    for (int i = 1; i < 9; i++) {
        char path[256];
        char json[512];
        snprintf(path, sizeof(path), REQUEST_PATH("n%d"), i);
        snprintf(json, sizeof(json),
                 "{'metadata':{'namespace':'a','name':'n%d','uid':'u-%d'},'spec':{'range':{'name':"
                 "'lan','namespace':'a'}},'status':{'cidr':'10.0.0.%d/32','conditions':[{'type':"
                 "'Ready','status':'True','reason':'Ready'}]}}",
                 i, i, i);
        fake_ipam_put(&ipam, path, json);
        rest();
    }
    assert_int_equal(count_of(LAN_STATUS), before + 1);
    assert_true(shows(RANGE_PATH("lan"), "used", "1"));
    /* The rest is said when its time has come, all at once. */
    clock_fake_advance(&clock_now, CLOCK_SECOND);
    until(shows(RANGE_PATH("lan"), "used", "8"));
    assert_int_equal(count_of(LAN_STATUS), before + 2);
}

static void a_range_that_can_not_be_used_says_why(void **state)
{
    (void)state;
    fake_ipam_put(&ipam, RANGE_PATH("lan"),
                  "{'metadata':{'namespace':'a','name':'lan','uid':'r-1'," FINALIZED
                  "},'spec':{'mode':'RoundRobin','ranges':['10.0.0.0/33']},'status':{'roundRobin':["
                  "'10.0.0.0/28'],'used':7}}");
    lead(true);
    until(shows(RANGE_PATH("lan"), "conditions", "'Invalid'"));
    assert_true(shows(RANGE_PATH("lan"), "conditions", "spec.ranges[0]"));
    assert_string_equal(fake_ipam_status(&ipam, RANGE_PATH("lan"), "used"), "0");
    rest();
    /* Once. */
    unsigned int before = count_of(LAN_STATUS);
    for (int i = 0; i < 3; i++) {
        clock_fake_advance(&clock_now, 2 * CLOCK_SECOND);
        fake_ipam_touch(&ipam, RANGE_PATH("lan"));
        rest();
    }
    assert_int_equal(count_of(LAN_STATUS), before);
}

static void round_robin_pointers_are_remembered(void **state)
{
    (void)state;
    fake_ipam_put(&ipam, RANGE_PATH("lan"),
                  "{'metadata':{'namespace':'a','name':'lan','uid':'r-1'," FINALIZED
                  "},'spec':{'mode':'RoundRobin','ranges':['10.0.0.0/26']}}");
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    pump(&ipam);
    lead(true);
    until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28"));
    until(shows(RANGE_PATH("lan"), "roundRobin", "['10.0.0.16/28']"));
    fake_ipam_delete(&ipam, REQUEST_PATH("one"));
    fake_ipam_put(&ipam, REQUEST_PATH("two"), NET("two", "1", "28"));
    until(shows(REQUEST_PATH("two"), "cidr", "10.0.0.16/28"));
}

/* --- the end --- */

static void a_range_goes_with_the_last_request_for_it(void **state)
{
    (void)state;
    put_lan();
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28"));
    rest();
    clock_fake_advance(&clock_now, 2 * CLOCK_SECOND);
    fake_ipam_delete(&ipam, RANGE_PATH("lan"));
    until(shows(RANGE_PATH("lan"), "conditions", "'Deleting'"));
    fake_ipam_put(&ipam, REQUEST_PATH("two"), NET("two", "2", "28"));
    until(shows(REQUEST_PATH("two"), "conditions", "'Deleting'"));
    fake_ipam_delete(&ipam, REQUEST_PATH("one"));
    rest();
    assert_true(fake_ipam_exists(&ipam, RANGE_PATH("lan")));
    assert_int_equal(count_of("PATCH " RANGE_PATH("lan") "?"), 0);
    assert_string_equal(fake_ipam_status(&ipam, REQUEST_PATH("two"), "cidr"), "");
    fake_ipam_delete(&ipam, REQUEST_PATH("two"));
    until(!fake_ipam_exists(&ipam, RANGE_PATH("lan")));
    const char *body = body_of("PATCH " RANGE_PATH("lan") APPLY, 0);
    assert_in(body, "'uid':'r-1'");
    assert_not_in(body, "finalizers");
    rest();
    /* One that comes then is another. */
    fake_ipam_put(&ipam, RANGE_PATH("lan"),
                  "{'metadata':{'namespace':'a','name':'lan','uid':'r-2'," FINALIZED
                  "},'spec':{'ranges':['10.0.0.0/26']}}");
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28"));
    assert_string_equal(fake_ipam_status(&ipam, RANGE_PATH("lan"), "epoch"), "1");
}

static void somebody_else_s_finalizer_is_left_alone(void **state)
{
    (void)state;
    fake_ipam_put(&ipam, RANGE_PATH("lan"),
                  LAN(",'finalizers':['other'],'deletionTimestamp':'1970-01-01T00:00:10Z'"));
    lead(true);
    until(passes >= 1);
    rest();
    assert_int_equal(fake_api_count(ipam.objects.api), 0);
}

/* --- the request of a pool --- */

static void the_request_of_a_pool_is_kept(void **state)
{
    (void)state;
    put_lan();
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "28"));
    until(shows(REQUEST_PATH("one"), "cidr", "10.0.0.0/28"));
    rest();
    assert_int_equal(count_of("PATCH " REQUEST_PATH("one") "?"), 0);
    fixture_put_pool(world,
                     Q("{'metadata':{'name':'blue','uid':'p-1','finalizers':['" POOL_FINALIZER
                       "']},'spec':{'fromRequest':{'namespace':'a','name':'one'}}}"));
    until(count_of("PATCH " REQUEST_PATH("one") APPLY) == 1);
    const char *body = body_of("PATCH " REQUEST_PATH("one") APPLY, 0);
    assert_in(body, "'kind':'IPAMRequest'");
    assert_in(body, "'uid':'u-one'");
    assert_in(body, "'finalizers':['" IPAM_REQUEST_FINALIZER "']");
    rest();
    fake_ipam_delete(&ipam, REQUEST_PATH("one"));
    rest();
    assert_true(fake_ipam_exists(&ipam, REQUEST_PATH("one")));
    state_remove_pool(world, "blue", NULL);
    until(!fake_ipam_exists(&ipam, REQUEST_PATH("one")));
    assert_not_in(body_of("PATCH " REQUEST_PATH("one") APPLY, 1), "finalizers");
}

/* --- events --- */

/* Whether an event was recorded on the object, with this reason and text. */
static bool was_told(const char *kind, const char *name, const char *reason, const char *text)
{
    char parts[4][160];
    snprintf(parts[0], sizeof(parts[0]), "'kind':'%s'", kind);
    snprintf(parts[1], sizeof(parts[1]), "'name':'%s'", name);
    snprintf(parts[2], sizeof(parts[2]), "'reason':'%s'", reason);
    snprintf(parts[3], sizeof(parts[3]), "%s", text);
    for (unsigned int i = 0; i < fake_api_count(ipam.objects.api); i++) {
        const struct fake_request *request = fake_api_request(ipam.objects.api, i);
        bool matches = strncmp(request->line, "POST ", 5) == 0 &&
                       strstr(request->line, "/namespaces/a/events") != NULL;
        for (size_t j = 0; j < 4; j++)
            matches = matches && strstr(request->body, Q(parts[j])) != NULL;
        if (matches)
            return true;
    }
    return false;
}

static void what_is_given_and_given_back_is_told(void **state)
{
    (void)state;
    fake_ipam_put(&ipam, RANGE_PATH("lan"), LAN("," FINALIZED));
    fake_ipam_put(&ipam, REQUEST_PATH("one"), NET("one", "1", "26"));
    fake_ipam_put(&ipam, REQUEST_PATH("two"), NET("two", "2", "26"));
    fake_ipam_put(&ipam, REQUEST_PATH("odd"), NET("odd", "3", "8"));
    lead(true);
    until(was_told("IPAMRequest", "one", "Allocated", "10.0.0.0/26 of range a/lan"));
    until(was_told("IPAMRange", "lan", "Allocated", "10.0.0.0/26 to request a/one"));
    until(was_told("IPAMRequest", "two", "Busy", "'type':'Warning'"));
    until(was_told("IPAMRequest", "odd", "Invalid", "'type':'Warning'"));
    assert_false(was_told("IPAMRange", "lan", "Released", ""));
    assert_false(was_told("IPAMRequest", "two", "Allocated", ""));
    fake_ipam_delete(&ipam, REQUEST_PATH("one"));
    until(was_told("IPAMRange", "lan", "Released", "'message':'10.0.0.0/26'"));
    until(was_told("IPAMRange", "lan", "Allocated", "10.0.0.0/26 to request a/two"));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_range_gets_its_finalizer_first),
        TEST(the_epoch_is_raised_for_exactly_this_object),
        TEST(an_epoch_that_another_raised_meanwhile_is_raised_again),
        TEST(nothing_is_told_before_it_stands_in_the_range),
        TEST(an_epoch_of_another_ends_ours),
        TEST(the_server_s_answer_is_enough),
        TEST(a_conflict_on_the_range_gives_nothing_out),
        TEST(a_write_of_unknown_fate_gives_nothing_out),
        TEST(who_waits_is_told_why_and_served_later),
        TEST(what_somebody_wiped_is_written_again),
        TEST(a_request_that_is_gone_ends_it),
        TEST(another_of_its_name_gets_nothing_of_it),
        TEST(who_leads_again_lists_before_it_gives),
        TEST(an_answer_after_the_lead_was_lost_tells_nothing),
        TEST(what_was_pending_is_honoured_by_the_next),
        TEST(the_lease_is_asked_before_every_step),
        TEST(nothing_is_given_before_everything_is_known),
        TEST(a_status_is_written_at_most_once_a_second),
        TEST(a_range_that_can_not_be_used_says_why),
        TEST(round_robin_pointers_are_remembered),
        TEST(a_range_goes_with_the_last_request_for_it),
        TEST(somebody_else_s_finalizer_is_left_alone),
        TEST(the_request_of_a_pool_is_kept),
        cmocka_unit_test_setup_teardown(what_is_given_and_given_back_is_told, set_up_events,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
