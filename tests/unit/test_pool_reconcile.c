/* Pools against an API server: their finalizer, their status, and their end. */
#include "tests/unit/reconcile_fixture.h"

#define POOL_URL "/apis/ipcontroller.ext/v2/ipclaimpools/blue"
#define STATUS "PATCH" POOL_URL "/status"
#define POOL_EVENTS_PATH "/api/v1/namespaces/default/events"
#define APPLY "PATCH" POOL_URL "?fieldManager=ipwarden-finalizer&force=true"
#define KEPT(more)                                                                                 \
    "{'metadata':{'name':'blue','uid':'p-1','generation':3,'finalizers':['ipcontroller.ext/"       \
    "pool']" more "},'spec':{'addresses':['192.0.2.0/29']}"
#define KEPT_ROUND_ROBIN                                                                           \
    "{'metadata':{'name':'blue','uid':'p-1','generation':2,'finalizers':['ipcontroller.ext/pool']" \
    "},'spec':{'addresses':['192.0.2.0/29'],'mode':'RoundRobin'}}"

#define STATUS_URL POOL_URL "/status"
#define OLDER                                                                                      \
    "{'metadata':{'name':'older','finalizers':['ipcontroller.ext/pool'],'creationTimestamp':"      \
    "'1970-01-01T00:00:01Z'},'spec':{'addresses':['198.51.100.0/24']}}"
#define NAMELESS(pool, more, services)                                                             \
    "{'metadata':{'name':'" ONE "','uid':'c-1','resourceVersion':'7'" more                         \
    "},'spec':{'cidr':'192.0.2.1/32','pool':" pool ",'services':[" services "]}}"
#define CLAIM_OF(pool) NAMELESS(pool, "", "")
#define FROM_NET(status)                                                                           \
    "{'metadata':{'name':'blue','uid':'p-1','resourceVersion':'3','finalizers':["                  \
    "'ipcontroller.ext/pool']},'spec':{'fromRequest':{'namespace':'a','name':'net'}},'status':"    \
    "" status "}"
#define PIN(name, uid, cidr)                                                                       \
    "{'request':{'namespace':'a','name':'" name "','uid':'" uid "','cidr':'" cidr "'}}"
#define KEPT_REQUEST ",'finalizers':['" IPAM_REQUEST_FINALIZER "']"
#define WEB_LISTS_ONE                                                                              \
    "{'metadata':{'namespace':'a','name':'web','uid':'u-1'},'spec':{'externalIPs':['192.0.2.1']}}"

/* The index of the nth request of the path, from 0. */
static unsigned int index_of(const char *path, unsigned int nth)
{
    unsigned int index = 0;
    for (;; index++)
        if (strstr(fake_api_request(cluster->api, index)->line, path) != NULL && nth-- == 0)
            return index;
}

/* Waits for a status of the pool that has the part. */
static const char *await_status(const char *part)
{
    const char *body = NULL;
    unsigned int next = 0;
    while (body == NULL) {
        fake_until(count_of("PATCH " STATUS_URL) > next);
        body = body_of(index_of(STATUS_URL, next++));
        body = strstr(body, Q(part)) != NULL ? body : NULL;
    }
    return body;
}

/* --- finalizer and status --- */

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
    assert_in(body_of(0), "{'metadata':{'uid':'p-1'},'status':{'observedGeneration':3,");
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

/* What a pool of the specification says once 192.0.2.1 is claimed. */
static const struct {
    const char *spec;
    const char *said[5];
} sayings[] = {
    {"'addresses':['192.0.2.1/32']",
     {"'type':'Exhausted','status':'True','reason':'NoFreeAddress'",
      "'message':'no address is free'", "'ipv4':{'total':1,'used':1,'free':0},'ipv6':null",
      "'type':'Ready','status':'True'", "'type':'Conflict','status':'False','reason':'NoOverlap'"}},
    {"'addresses':['2001:db8::/126']",
     {"'type':'Exhausted','status':'False','reason':'FreeAddresses'",
      "'ipv4':null,'ipv6':{'total':4,'used':0,'free':4}", "'roundRobin':null"}},
    {"'addresses':['192.0.2.0/29','2001:db8::/126'],'allocated':{'2001:db8::1':'x'}",
     {"'type':'Exhausted','status':'False'",
      "'ipv4':{'total':6,'used':1,'free':5},'ipv6':{'total':4,'used':1,'free':3}"}},
    {"'addresses':['192.0.2.1','2001:db8::/126']",
     {"'type':'Exhausted','status':'True'", "'message':'no IPv4 address is free'",
      "'ipv4':{'total':1,'used':1,'free':0},'ipv6':{'total':4,'used':0,'free':4}"}},
    {"'addresses':['192.0.2.1-192.0.2.2','2001:db8::1'],'allocated':{'2001:db8::1':'x'}",
     {"'type':'Exhausted','status':'True'", "'message':'no IPv6 address is free'"}},
    {"'addresses':['192.0.2.1','2001:db8::1'],'allocated':{'2001:db8::1':'x'}",
     {"'type':'Exhausted','status':'True'", "'message':'no address is free'"}},
    {"'addresses':['192.0.2.0/29','2001:db8::/126'],'mode':'RoundRobin'",
     {"'roundRobin':['192.0.2.2/32']"}},
    {"'addresses':['192.0.2.0/33']",
     {"'type':'Ready','status':'False','reason':'Invalid'", "spec.addresses[0]",
      "'type':'Exhausted','status':'False'", "'ipv4':{'total':1,'used':1,'free':0},'ipv6':null"}},
    {"'addresses':['192.0.2.0/24'],'sharing':'any'",
     {"'type':'Ready','status':'False','reason':'Invalid'", "spec.sharing",
      "'type':'Exhausted','status':'False'", "'ipv4':{'total':1,'used':1,'free':0},'ipv6':null"}},
};

static void a_pool_says_what_it_is_good_for(void **state)
{
    for (size_t i = 0; i < sizeof(sayings) / sizeof(sayings[0]); i++) {
        char json[512];
        snprintf(json, sizeof(json),
                 "{'metadata':{'name':'blue','uid':'p-1','finalizers':['ipcontroller.ext/pool']},"
                 "'spec':{%s}}",
                 sayings[i].spec);
        if (i > 0) {
            tear_down(state);
            set_up(state);
        }
        fixture_put_pool(world, Q(json));
        put_claim_everywhere(ONE, CLAIM(""));
        lead();
        await_requests("PATCH" POOL_URL "/status");
        for (size_t j = 0; j < 5 && sayings[i].said[j] != NULL; j++)
            assert_in(body_of(0), sayings[i].said[j]);
    }
}

static void a_pool_that_overlaps_says_with_whom(void **state)
{
    (void)state;
    fixture_put_pool(world, Q("{'metadata':{'name':'older','finalizers':['ipcontroller.ext/pool'],"
                              "'creationTimestamp':'1970-01-01T00:00:01Z'},'spec':{'addresses':"
                              "['192.0.2.0/24']}}"));
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
    state_remove(world, STATE_CLAIMS, ONE, NULL);
    await_requests("PATCH" POOL_URL "/status " APPLY);
    assert_null(strstr(body_of(1), "finalizers"));
}

static void a_pool_without_a_cidr_says_whom_it_waits_for(void **state)
{
    (void)state;
    fixture_put_pool(world,
                     Q("{'metadata':{'name':'blue','uid':'p-1','finalizers':['ipcontroller.ext/"
                       "pool']},'spec':{'fromRequest':{'namespace':'a','name':'net'}}}"));
    lead();
    await_requests("PATCH" POOL_URL "/status");
    assert_in(body_of(0), "'type':'Ready','status':'False','reason':'WaitingForRequest'");
    assert_in(body_of(0), "a/net has no CIDR yet");
    assert_in(body_of(0), "'ipv4':null,'ipv6':null");
    clock_fake_advance(&clock_now, 2 * CLOCK_SECOND);
    fixture_put_range(world,
                      Q("{'metadata':{'namespace':'a','name':'lan','uid':'r-1','finalizers':["
                        "'" IPAM_RANGE_FINALIZER "'],'deletionTimestamp':"
                        "'1970-01-01T00:00:10Z'},'spec':{'ranges':['192.0.2.0/24']}}"));
    fixture_put_request(world,
                        Q("{'metadata':{'namespace':'a','name':'net','uid':'q-1','finalizers':["
                          "'" IPAM_REQUEST_FINALIZER "']},'spec':{'range':{'name':'lan',"
                          "'namespace':'a'}},'status':{'cidr':'192.0.2.64/28','conditions':["
                          "{'type':'Ready','status':'True','reason':'Ready'}]}}"));
    assert_non_null(await_status("'status':{'request':"));
    clock_fake_advance(&clock_now, 2 * CLOCK_SECOND);
    fixture_put_pool(world, Q(FROM_NET(PIN("net", "q-1", "192.0.2.64/28"))));
    const char *body = await_status("'type':'Ready','status':'True'");
    assert_in(body, "'ipv4':{'total':14,'used':0,'free':14}");
    assert_not_in(body, "'request'"); /* another leader may have noted it meanwhile */
}

/* What a pool that is made from the request a/net notes of it. */
static const struct {
    const char *pool;
    const char *request; /* of its metadata */
    const char *status;  /* of the request */
    const char *noted;   /* NULL: nothing */
} pins[] = {
    {FROM_NET("{}"), KEPT_REQUEST, "'cidr':'192.0.2.64/28'",
     "{'request':{'namespace':'a','name':'net','uid':'q-1','cidr':'192.0.2.64/28'}}"},
    /* From another request by an edit. */
    {FROM_NET(PIN("older", "q-0", "192.0.2.0/28")), KEPT_REQUEST, "'cidr':'192.0.2.64/28'",
     "{'request':{'namespace':'a','name':'net','uid':'q-1','cidr':'192.0.2.64/28'}}"},
    /* Once and for all. */
    {FROM_NET(PIN("net", "q-0", "192.0.2.64/28")), KEPT_REQUEST, "'cidr':'192.0.2.64/28'", NULL},
    {FROM_NET(PIN("net", "q-1", "192.0.2.0/28")), KEPT_REQUEST, "'cidr':'192.0.2.64/28'", NULL},
    {FROM_NET(PIN("net", "q-1", "192.0.2.64/28")), KEPT_REQUEST, "'cidr':'192.0.2.64/28'", NULL},
    /* Nothing that can still go. */
    {FROM_NET("{}"), "", "'cidr':'192.0.2.64/28'", NULL},
    {FROM_NET("{}"), KEPT_REQUEST ",'deletionTimestamp':'1970-01-01T00:00:10Z'",
     "'cidr':'192.0.2.64/28'", NULL},
    {FROM_NET("{}"), KEPT_REQUEST, "", NULL},
    /* It is in no range. */
    {FROM_NET("{}"), KEPT_REQUEST, "'cidr':'8.8.8.0/28'", NULL},
    /* The pool younger has it. */
    {FROM_NET("{}"), KEPT_REQUEST, "'cidr':'192.0.2.128/28'", NULL},
    /* From a request no more. */
    {"{'metadata':{'name':'blue','uid':'p-1','resourceVersion':'3','finalizers':["
     "'ipcontroller.ext/pool']},'spec':{'addresses':['192.0.2.0/29']},'status':" PIN(
         "net", "q-1", "192.0.2.64/28") "}",
     KEPT_REQUEST, "'cidr':'192.0.2.64/28'", "{'request':null}"},
};

static void a_pool_notes_its_request_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(pins) / sizeof(pins[0]); i++) {
        char json[1024];
        char noted[512] = "";
        if (i > 0)
            start_over();
        snprintf(json, sizeof(json),
                 "{'metadata':{'namespace':'a','name':'net','uid':'q-1'%s},'spec':{'range':{"
                 "'name':'lan','namespace':'a'}},'status':{%s}}",
                 pins[i].request, pins[i].status);
        fixture_put_range(world, Q("{'metadata':{'namespace':'a','name':'lan','uid':'r-1'},"
                                   "'spec':{'ranges':['192.0.2.0/24']}}"));
        fixture_put_request(world, Q(json));
        fixture_put_pool(world,
                         Q("{'metadata':{'name':'younger','finalizers':["
                           "'ipcontroller.ext/pool'],'creationTimestamp':"
                           "'1970-01-01T00:00:09Z'},'spec':{'addresses':['192.0.2.128/25']}}"));
        fixture_put_pool(world, Q(pins[i].pool));
        lead();
        fake_until(count_of("PATCH " STATUS_URL) > 0);
        const char *body = body_of(index_of(STATUS_URL, 0));
        if (pins[i].noted != NULL)
            snprintf(noted, sizeof(noted),
                     "{'metadata':{'uid':'p-1','resourceVersion':'3'},'status':%s}", pins[i].noted);
        if (pins[i].noted != NULL ? strcmp(body, Q(noted)) != 0
                                  : strstr(body, "conditions") == NULL)
            fail_msg("%zu: %s", i, body);
    }
}

static void a_round_robin_pool_remembers_where_it_is(void **state)
{
    (void)state;
    fixture_put_pool(world,
                     Q("{'metadata':{'name':'blue','uid':'p-1','finalizers':['ipcontroller.ext/"
                       "pool']},'spec':{'addresses':['192.0.2.0/29'],'mode':'RoundRobin'}}"));
    put_claim_everywhere(ONE, CLAIM(""));
    lead();
    await_requests("PATCH" POOL_URL "/status");
    assert_in(body_of(0), "'roundRobin':['192.0.2.2/32']");
}

static void a_first_match_pool_forgets_where_it_was(void **state)
{
    (void)state;
    fixture_put_pool(world, Q(KEPT_ROUND_ROBIN));
    put_claim_everywhere(ONE, CLAIM(""));
    lead();
    await_requests(STATUS);
    assert_in(body_of(0), "'roundRobin':['192.0.2.2/32']");
    clock_fake_advance(&clock_now, CLOCK_SECOND);
    fixture_put_pool(world, Q(KEPT("") "}"));
    await_requests(STATUS " " STATUS);
    assert_in(body_of(1), "'roundRobin':null");
}

static void what_somebody_else_keeps_says_what_becomes_of_it(void **state)
{
    (void)state;
    fixture_put_pool(world, Q("{'metadata':{'name':'blue','uid':'p-1','finalizers':['other'],"
                              "'deletionTimestamp':'1970-01-01T00:00:10Z'},"
                              "'spec':{'addresses':['192.0.2.0/29']}}"));
    lead();
    await_requests(STATUS);
    assert_in(body_of(0), "'type':'Ready','status':'False','reason':'Deleting'");
}

/* --- whose claims count --- */

/* Of the pool blue, which is being deleted. The pool older has 198.51.100.0/24, and both claim ONE
 * and, where there is one, the Service are about 192.0.2.1. */
static const struct {
    const char *spec;
    const char *claim;
    const char *service; /* the addresses that it lists; NULL: there is none */
    bool stays;
} ends[] = {
    {"'addresses':['192.0.2.0/29']", CLAIM_OF("'blue'"), NULL, true},
    {"'addresses':['192.0.2.0/33']", CLAIM_OF("'blue'"), NULL, true},
    {"'fromRequest':{'namespace':'a','name':'net'}", CLAIM_OF("'blue'"), NULL, true},
    /* Its addresses were others when it was claimed. */
    {"'addresses':['203.0.113.0/29']", CLAIM_OF("'blue'"), NULL, true},
    {"'addresses':['192.0.2.0/29']", CLAIM_OF("'older'"), NULL, false},
    {"'addresses':['192.0.2.0/29']", CLAIM_OF("'gone'"), NULL, true},
    {"'addresses':['192.0.2.0/29']", CLAIM_OF("null"), NULL, true},
    {"'addresses':['203.0.113.0/29']", CLAIM_OF("null"), NULL, false},
    {"'addresses':['192.0.2.0/33']", CLAIM_OF("null"), NULL, false},
    {"'addresses':['203.0.113.0/29']", CLAIM_OF("null"), "'203.0.113.1'", true},
    {"'addresses':['203.0.113.0/29']", CLAIM_OF("null"), "'192.0.2.1'", false},
};

static void a_pool_stays_for_the_claims_that_name_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        char json[512];
        if (i > 0)
            start_over();
        snprintf(json, sizeof(json),
                 "{'metadata':{'name':'blue','uid':'p-1','deletionTimestamp':"
                 "'1970-01-01T00:00:10Z','finalizers':['ipcontroller.ext/pool']},'spec':{%s}}",
                 ends[i].spec);
        fixture_put_pool(world, Q(json));
        fixture_put_claim(world, Q(ends[i].claim));
        fixture_put_pool(world, Q(OLDER));
        if (ends[i].service != NULL) {
            snprintf(json, sizeof(json),
                     "{'metadata':{'namespace':'a','name':'web','uid':'u-1','deletionTimestamp':"
                     "'1970-01-01T00:00:10Z'},'spec':{'externalIPs':[%s]}}",
                     ends[i].service);
            fixture_put_service(world, Q(json));
        }
        lead();
        fake_until(count_of("PATCH " POOL_URL) > 0);
        if ((count_of("PATCH " POOL_URL "/status") > 0) != ends[i].stays)
            fail_msg("%s, %s: %s", ends[i].spec, ends[i].claim, fake_cluster_requests(cluster, 0));
    }
}

static void a_pool_without_a_book_goes_with_its_last_claim(void **state)
{
    (void)state;
    fixture_put_pool(world, Q("{'metadata':{'name':'blue','uid':'p-1','deletionTimestamp':"
                              "'1970-01-01T00:00:10Z','finalizers':['ipcontroller.ext/pool']},"
                              "'spec':{'addresses':['x']}}"));
    fixture_put_claim(world, Q(CLAIM_OF("'blue'")));
    lead();
    await_requests(STATUS);
    assert_in(body_of(0), "'reason':'Deleting'");
    assert_in(body_of(0), "'ipv4':{'total':1,'used':1,'free':0}");
    state_remove(world, STATE_CLAIMS, ONE, NULL);
    await_requests(STATUS " " APPLY);
    assert_null(strstr(body_of(1), "finalizers"));
}

/* --- claims that lack the name of their pool --- */

/* Claims of 192.0.2.1, which the pool blue offers; older is another pool that is there. */
static const struct {
    const char *claim;
    bool noted;
} nameless[] = {
    {NAMELESS("null", "", "{'namespace':'a','name':'web','uid':'u-1'}"), true},
    {NAMELESS("'gone'", "", "{'namespace':'a','name':'web','uid':'u-1'}"), true},
    {NAMELESS("'older'", "", "{'namespace':'a','name':'web','uid':'u-1'}"), false},
    {NAMELESS("'blue'", "", "{'namespace':'a','name':'web','uid':'u-1'}"), false},
    {NAMELESS("null", ",'deletionTimestamp':'1970-01-01T00:00:10Z'",
              "{'namespace':'a','name':'web','uid':'u-1'}"),
     false},
    {NAMELESS("null", "", ""), false}, /* a hold */
};

static void a_claim_gets_the_name_of_the_pool_that_comes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(nameless) / sizeof(nameless[0]); i++) {
        if (i > 0)
            start_over();
        put_claim_everywhere(ONE, nameless[i].claim);
        fixture_put_service(world, Q(WEB_LISTS_ONE));
        fixture_put_pool(world, Q(OLDER));
        lead();
        fake_until(reconciler_queue_length(reconciler) == 0);
        fixture_put_pool(world, Q(KEPT("") "}"));
        fake_until(count_of("PATCH " STATUS_URL) > 0 && reconciler_queue_length(reconciler) == 0);
        finish();
        if (count_of("PATCH " CLAIM_PATH) != nameless[i].noted)
            fail_msg("%s: %s", nameless[i].claim, fake_cluster_requests(cluster, 0));
        unsigned int index = 0;
        while (nameless[i].noted &&
               strstr(fake_api_request(cluster->api, index)->line, CLAIM_PATH) == NULL)
            index++;
        if (nameless[i].noted)
            assert_string_equal(body_of(index),
                                Q("{'metadata':{'uid':'c-1','resourceVersion':'7','labels':{"
                                  "'ip-pool-name':'blue'}},'spec':{'pool':'blue'}}"));
    }
}

/* --- how often --- */

static void a_busy_pool_is_written_once_a_second(void **state)
{
    (void)state;
    fixture_put_pool(world, Q(KEPT("") "}"));
    put_claim_everywhere(ONE, CLAIM(""));
    lead();
    await_requests(STATUS);
    put_claim_everywhere(TWO, CLAIM_AT(TWO, "192.0.2.2", "", ""));
    await_look(STATE_POOLS, "blue");
    assert_requests(STATUS);
    clock_fake_advance(&clock_now, CLOCK_SECOND - 1);
    await_look(STATE_POOLS, "blue");
    assert_requests(STATUS);
    clock_fake_advance(&clock_now, 1);
    await_look(STATE_POOLS, "blue");
    await_requests(STATUS " " STATUS);
    assert_in(body_of(1), "'used':2");
}

/* It is another pool, of which nothing has been said. */
static void a_pool_made_again_is_written_at_once(void **state)
{
    (void)state;
    fixture_put_pool(world, Q(KEPT("") "}"));
    lead();
    await_requests(STATUS);
    state_remove(world, STATE_POOLS, "blue", NULL);
    await_look(STATE_POOLS, "blue");
    fixture_put_pool(world, Q(KEPT("") "}"));
    await_requests(STATUS " " STATUS);
}

/* --- what people are told --- */

/* Of the pool blue, while 192.0.2.1 is claimed; the older pool has 198.51.100.0/24. */
static const struct {
    const char *spec;
    const char *reason; /* NULL: they are told nothing */
    const char *message;
} tellings[] = {
    {"'addresses':['192.0.2.0/29']", NULL, NULL},
    {"'addresses':['192.0.2.0/33']", NULL, NULL},
    {"'addresses':['192.0.2.1/32']", "PoolExhausted", "no address is free"},
    {"'addresses':['198.51.100.8/29']", "PoolConflict", "overlaps pool older, which is older"},
};

static void put_telling(const char *spec)
{
    char json[512];
    snprintf(json, sizeof(json),
             "{'metadata':{'name':'blue','uid':'p-1','creationTimestamp':'1970-01-01T00:00:02Z',"
             "'finalizers':['ipcontroller.ext/pool']},'spec':{%s}}",
             spec);
    fixture_put_pool(world, Q(json));
    put_claim_everywhere(ONE, CLAIM(""));
}

static void a_pool_in_trouble_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(tellings) / sizeof(tellings[0]); i++) {
        char part[256];
        if (i > 0)
            start_over();
        fixture_put_pool(world, Q(OLDER));
        put_telling(tellings[i].spec);
        lead();
        fake_until(count_of("PATCH " STATUS_URL) > 0);
        fake_until(tellings[i].reason == NULL || count_of("POST " POOL_EVENTS_PATH) > 0);
        finish();
        assert_int_equal(count_of("POST " POOL_EVENTS_PATH), tellings[i].reason != NULL);
        if (tellings[i].reason == NULL)
            continue;
        unsigned int index = 0;
        while (strstr(fake_api_request(cluster->api, index)->line, "POST") == NULL)
            index++;
        snprintf(part, sizeof(part), "'reason':'%s'", tellings[i].reason);
        assert_in(body_of(index), part);
        assert_in(body_of(index), tellings[i].message);
        assert_in(body_of(index), "'type':'Warning'");
        assert_in(body_of(index), "'uid':'p-1'");
    }
}

/* Not before the status says it, too. */
static void what_could_not_be_written_is_not_told(void **state)
{
    (void)state;
    static const struct fake_answer fault = {.request = "PATCH", .status = 500};
    fake_cluster_fault(cluster, &fault);
    put_telling("'addresses':['192.0.2.1/32']");
    lead();
    assert_true(fake_api_wait(cluster->api, 1));
    await_look(STATE_POOLS, "blue");
    finish();
    assert_int_equal(count_of("POST"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_pool_gets_its_finalizer),
        TEST(a_pool_says_how_full_it_is),
        TEST(a_pool_says_what_it_is_good_for),
        TEST(a_pool_that_overlaps_says_with_whom),
        TEST(a_pool_goes_with_its_last_address),
        TEST(a_pool_without_a_cidr_says_whom_it_waits_for),
        TEST(a_pool_notes_its_request_once),
        TEST(a_round_robin_pool_remembers_where_it_is),
        TEST(a_first_match_pool_forgets_where_it_was),
        TEST(what_somebody_else_keeps_says_what_becomes_of_it),
        TEST(a_pool_stays_for_the_claims_that_name_it),
        TEST(a_pool_without_a_book_goes_with_its_last_claim),
        TEST(a_claim_gets_the_name_of_the_pool_that_comes),
        TEST(a_busy_pool_is_written_once_a_second),
        TEST(a_pool_made_again_is_written_at_once),
        EVENTS_TEST(a_pool_in_trouble_is_told),
        EVENTS_TEST(what_could_not_be_written_is_not_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
