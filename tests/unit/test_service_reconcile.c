/* Services against an API server: what runs is claimed, what waits is served, and what was given is shown and told. */
#include "tests/unit/reconcile_fixture.h"

/* How long a Service's claim may come behind it. */
#define CLAIM_COMES_WITHIN (500 * CLOCK_MILLISECOND)
#define POOL(range)                                                                                \
    "{'metadata':{'name':'blue','uid':'p-1','finalizers':['ipcontroller.ext/pool']},'spec':{"      \
    "'addresses':['" range "']}}"
#define BALANCER(status)                                                                           \
    "{'metadata':{'namespace':'a','name':'web','uid':'u-1','resourceVersion':'20','generation':3"  \
    "},'spec':{'type':'LoadBalancer'},'status':{" status "}}"
#define AUTO(externals, status)                                                                    \
    "{'metadata':{'namespace':'a','name':'web','uid':'u-1','resourceVersion':'20','annotations':{" \
    "'external-ip':'auto'}},'spec':{'externalIPs':[" externals "]},'status':{" status "}}"
#define CONDITION(status, reason)                                                                  \
    "'conditions':[{'type':'ipcontroller.ext/AddressAssigned','status':'" status                   \
    "','reason':'" reason "','lastTransitionTime':'2020-01-01T00:00:00Z'}]"
#define INGRESS "'loadBalancer':{'ingress':[{'ip':'192.0.2.1','ipMode':'VIP'}]}"
#define GIVEN_ENTRY "{'namespace':'a','name':'web','uid':'u-1','given':true}"
#define STATUS_PATH WEB_PATH "/status?fieldManager=ipwarden"
#define OBJECT_PATH WEB_PATH "?fieldManager=ipwarden"

/* Services that are known by now are old enough that their claims would be, too. */
static void let_claims_come(void)
{
    clock_fake_advance(&clock_now, CLAIM_COMES_WITHIN);
}

static const char *claim_one(void)
{
    return fake_cluster_get(cluster, CLAIM_PATH "/" ONE);
}

/* --- claiming --- */

/* Admission has written the claim already: the watch is about to bring it. */
static void the_claim_of_a_new_service_is_awaited(void **state)
{
    (void)state;
    fixture_put_pool(world, Q(POOL("192.0.2.0/29")));
    fixture_put_service(world, Q(WEB("u-1", "")));
    clock_fake_advance(&clock_now, CLAIM_COMES_WITHIN - 1);
    lead();
    await_passes(service_passes > 2); /* it looks again, and again */
    assert_int_equal(count_of("POST"), 0);
    fixture_put_claim(world, Q(CLAIM(ENTRY)));
    let_claims_come();
    await_look(STATE_SERVICES, "a/web");
    assert_int_equal(count_of("POST"), 0);
}

static void what_runs_without_a_claim_is_claimed(void **state)
{
    (void)state;
    static const struct {
        const char *service;
        bool given;
    } table[] = {
        {WEB("u-1", ""), false},
        {BALANCER(INGRESS), true},
        {AUTO("'192.0.2.1'", ""), true}, /* nobody else set it */
        {"{'metadata':{'namespace':'a','name':'web','uid':'u-1','annotations':{'external-ip':"
         "'auto'},'managedFields':[{'manager':'kubectl','fieldsV1':{'f:spec':{'f:externalIPs':{}}}}"
         "]},'spec':{'externalIPs':['192.0.2.1']}}",
         false},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        /* The pool gives nothing any more, and yet. */
        fixture_put_pool(world,
                         Q("{'metadata':{'name':'blue','finalizers':['ipcontroller.ext/pool'"
                           "],'deletionTimestamp':'1970-01-01T00:00:10Z'},'spec':{'addresses':"
                           "['192.0.2.0/29']}}"));
        fixture_put_service(world, Q(table[i].service));
        let_claims_come();
        lead();
        await_passes(knows_claim(ONE));
        assert_in(claim_one(), "'name':'web','uid':'u-1'");
        assert_in(claim_one(), "'pool':'blue'");
        if ((strstr(claim_one(), "\"given\":true") != NULL) != table[i].given)
            fail_msg("%s: %s", table[i].service, claim_one());
        start_over();
    }
}

static void two_that_list_one_address_both_keep_running(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM("{'namespace':'b','name':'first','uid':'u-0'}"));
    fixture_put_service(world, Q("{'metadata':{'namespace':'b','name':'first','uid':'u-0'},'spec':{"
                                 "'externalIPs':['192.0.2.1']}}"));
    fixture_put_service(world, Q(WEB("u-1", "")));
    let_claims_come();
    lead();
    await_requests("PATCH" STATUS_PATH);
    assert_in(body_of(0), "'reason':'Conflict'");
    assert_in(body_of(0), "'status':'False'");
    assert_not_in(body_of(0), "externalIPs");
}

static void one_on_its_way_out_is_left_alone(void **state)
{
    (void)state;
    fixture_put_pool(world, Q(POOL("192.0.2.0/29")));
    fixture_put_service(world, Q("{'metadata':{'namespace':'a','name':'web','uid':'u-1',"
                                 "'deletionTimestamp':'1970-01-01T00:00:10Z'},'spec':{"
                                 "'type':'LoadBalancer'}}"));
    let_claims_come();
    lead();
    await_passes(service_passes > 0);
    assert_int_equal(count_of("PATCH " WEB_PATH), 0);
    assert_int_equal(count_of("POST"), 0);
}

/* --- assigning late --- */

static void a_balancer_without_an_address_gets_one_late(void **state)
{
    (void)state;
    fixture_put_service(world, Q(BALANCER("")));
    let_claims_come();
    lead();
    /* No pool: it waits, and says so. */
    await_requests("PATCH" STATUS_PATH);
    assert_in(body_of(0), "'reason':'NoPool'");
    assert_in(body_of(0), "'resourceVersion':'20'");
    assert_in(body_of(0), "'uid':'u-1'");
    assert_not_in(body_of(0), "loadBalancer");
    fixture_put_pool(world, Q(POOL("192.0.2.1/32")));
    await_passes(knows_claim(ONE));
    assert_in(claim_one(), "'name':'web','uid':'u-1','given':true,'since':'");
    await_passes(count_of("PATCH " STATUS_PATH) > 1);
    unsigned int last = fake_api_count(cluster->api) - 1;
    while (strcmp(fake_api_request(cluster->api, last)->line, "PATCH " STATUS_PATH) != 0)
        last--;
    assert_in(body_of(last), INGRESS);
}

/* A later webhook has asked for an address when ours had been called already. */
static void a_service_that_wants_one_gets_it_late(void **state)
{
    (void)state;
    fixture_put_service(world, Q(AUTO("", "")));
    let_claims_come();
    fixture_put_pool(world, Q(POOL("192.0.2.1/32")));
    lead();
    await_passes(count_of("PATCH " OBJECT_PATH) > 0);
    assert_in(claim_one(), "'name':'web','uid':'u-1','given':true");
    unsigned int index = 0;
    while (strcmp(fake_api_request(cluster->api, index)->line, "PATCH " OBJECT_PATH) != 0)
        index++;
    assert_in(body_of(index), "'spec':{'externalIPs':['192.0.2.1']}");
    assert_in(body_of(index), "'uid':'u-1','resourceVersion':'20'");
}

static void the_oldest_that_waits_comes_first(void **state)
{
    (void)state;
    for (int i = 3; i > 0; i--) {
        char json[512];
        char path[128];
        snprintf(json, sizeof(json),
                 "{'metadata':{'namespace':'a','name':'s%d','uid':'u-%d','creationTimestamp':"
                 "'1970-01-01T00:00:0%dZ'},'spec':{'type':'LoadBalancer'},'status':{" CONDITION(
                     "False", "NoPool") "}}",
                 i, i, i);
        snprintf(path, sizeof(path), "/api/v1/namespaces/a/services/s%d", i);
        fixture_put_service(world, Q(json));
        fake_cluster_put(cluster, path, json);
    }
    let_claims_come();
    lead();
    await_passes(service_passes >= 3);
    fixture_put_pool(world, Q(POOL("192.0.2.1/32")));
    await_passes(knows_claim(ONE));
    assert_in(claim_one(), "'name':'s1'");
}

/* --- what its object says --- */

static void an_object_is_written_when_it_says_something_else(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *service;
        const char *claim; /* its entry, or NULL */
        const char *request;
        const char *says;  /* "": nothing in particular */
        const char *never; /* likewise */
    } table[] = {
        {"given at create", AUTO("'192.0.2.1'", ""), GIVEN_ENTRY, "", "", ""},
        {"listed by hand", WEB("u-1", ""), ENTRY, "", "", ""},
        {"a balancer that shows it", BALANCER(INGRESS), GIVEN_ENTRY, "", "", ""},
        {"a balancer that doesn't", BALANCER(""), GIVEN_ENTRY, "PATCH" STATUS_PATH, INGRESS,
         "conditions"},
        {"one that had to wait", BALANCER(CONDITION("False", "NoPool")), GIVEN_ENTRY,
         "PATCH" STATUS_PATH, "'status':'True','reason':'Assigned'", ""},
        {"and shows it already", BALANCER(INGRESS "," CONDITION("False", "NoPool")), GIVEN_ENTRY,
         "PATCH" STATUS_PATH, "'status':'True','reason':'Assigned'", "loadBalancer"},
        {"and says so", BALANCER(INGRESS "," CONDITION("True", "Assigned")), GIVEN_ENTRY, "", "",
         ""},
        {"one that wants nothing any more", WEB("u-1", ""), GIVEN_ENTRY, "PATCH" OBJECT_PATH,
         "'spec':{'externalIPs':null}", ""},
        {"one whose address was lost by an edit", AUTO("", ""), GIVEN_ENTRY, "PATCH" OBJECT_PATH,
         "'spec':{'externalIPs':['192.0.2.1']}", ""},
        {"one that waits", BALANCER(""), NULL, "PATCH" STATUS_PATH,
         "'status':'False','reason':'NoPool'", "loadBalancer"},
        {"and says so", BALANCER(CONDITION("False", "NoPool")), NULL, "", "", ""},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].claim != NULL) {
            char json[512];
            snprintf(json, sizeof(json), CLAIM("%s"), table[i].claim);
            put_claim_everywhere(ONE, json);
        }
        fixture_put_service(world, Q(table[i].service));
        let_claims_come();
        lead();
        await_passes(service_passes > 0);
        if (strcmp(fake_cluster_requests(cluster, 0), table[i].request) != 0)
            fail_msg("%s: %s", table[i].name, fake_cluster_requests(cluster, 0));
        if (*table[i].request != '\0') {
            assert_in(body_of(0), table[i].says);
            assert_in(body_of(0), "'metadata':{'uid':'u-1','resourceVersion':'20'}");
        }
        if (*table[i].never != '\0')
            assert_not_in(body_of(0), table[i].never);
        start_over();
    }
}

static void the_status_is_patched_beside_what_others_say(void **state)
{
    (void)state;
    fixture_put_service(world, Q(BALANCER("")));
    lead();
    await_requests("PATCH" STATUS_PATH);
    assert_non_null(
        strcasestr(fake_api_request(cluster->api, 0)->headers, "strategic-merge-patch"));
    assert_in(body_of(0), "'observedGeneration':3");
}

/* The time is that of the status, True or False, not of the reason. */
static void the_transition_time_changes_only_with_the_status(void **state)
{
    (void)state;
    static const struct {
        const char *stored;
        const char *claim;
        bool kept;
    } table[] = {
        {CONDITION("False", "NoFreeAddress"), "", true},
        {CONDITION("True", "Assigned"), "", false},
        {CONDITION("False", "NoPool"), GIVEN_ENTRY, false},
        {CONDITION("True", "Other"), GIVEN_ENTRY, true},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char json[512];
        snprintf(json, sizeof(json), BALANCER("%s"), table[i].stored);
        if (*table[i].claim != '\0')
            put_claim_everywhere(ONE, CLAIM(GIVEN_ENTRY));
        fixture_put_service(world, Q(json));
        lead();
        await_requests("PATCH" STATUS_PATH);
        if ((strstr(body_of(0), "2020-01-01T00:00:00Z") != NULL) != table[i].kept)
            fail_msg("%s: %s", table[i].stored, body_of(0));
        if (!table[i].kept)
            assert_in(body_of(0), "'lastTransitionTime':'1970-01-01T01:23:20Z'");
        start_over();
    }
}

/* --- what people are told --- */

static void one_that_waits_is_told_once(void **state)
{
    (void)state;
    fixture_put_service(world, Q(BALANCER("")));
    lead();
    await_requests("PATCH" STATUS_PATH " POST" EVENTS_PATH);
    assert_in(body_of(1), "'type':'Warning'");
    assert_in(body_of(1), "'reason':'AddressPending'");
    assert_in(body_of(1), "'uid':'u-1'");
    fixture_put_service(world, Q(BALANCER(CONDITION("False", "NoPool"))));
    await_look(STATE_SERVICES, "a/web");
    finish();
    assert_requests("PATCH" STATUS_PATH " POST" EVENTS_PATH);
}

static void one_in_conflict_is_told(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM("{'namespace':'b','name':'first','uid':'u-0'}"));
    fixture_put_service(world, Q(WEB("u-1", "")));
    lead();
    await_requests("PATCH" STATUS_PATH " POST" EVENTS_PATH);
    assert_in(body_of(1), "'type':'Warning'");
    assert_in(body_of(1), "'reason':'AddressConflict'");
    assert_in(body_of(1), "belongs to Service b/first");
}

static void one_that_is_served_late_is_told(void **state)
{
    (void)state;
    fixture_put_service(world, Q(BALANCER(CONDITION("False", "NoPool"))));
    fixture_put_pool(world, Q(POOL("192.0.2.1/32")));
    let_claims_come();
    lead();
    await_passes(knows_claim(ONE));
    finish();
    assert_int_equal(count_of("POST " EVENTS_PATH), 1);
    unsigned int claimed = 0;
    unsigned int said = 0;
    for (unsigned int i = 0; i < fake_api_count(cluster->api); i++) {
        const char *line = fake_api_request(cluster->api, i)->line;
        claimed = strcmp(line, "POST " CLAIM_PATH) == 0 ? i : claimed;
        said = strcmp(line, "POST " EVENTS_PATH) == 0 ? i : said;
    }
    assert_true(claimed < said);
    assert_in(body_of(said), "'type':'Normal'");
    assert_in(body_of(said), "'reason':'AddressAssigned'");
    assert_in(body_of(said), "192.0.2.1 from pool blue");
}

/* Of what was there before its claim, nobody needs to hear. */
static void nothing_is_told_of_what_runs(void **state)
{
    (void)state;
    static const char *const services[] = {WEB("u-1", ""), BALANCER(INGRESS),
                                           AUTO("'192.0.2.1'", "")};
    for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
        fixture_put_service(world, Q(services[i]));
        let_claims_come();
        lead();
        await_passes(knows_claim(ONE));
        finish();
        assert_int_equal(count_of("POST " CLAIM_PATH), 1);
        assert_int_equal(count_of("POST " EVENTS_PATH), 0);
        start_over();
    }
}

/* Neither that it waits, nor that it was served, before that is written. */
static void a_write_that_fails_is_not_told(void **state)
{
    (void)state;
    static const struct {
        struct fake_answer fault;
        bool pool;
    } table[] = {
        {{.request = "PATCH " WEB_PATH, .status = 500}, false},
        {{.request = "PATCH " WEB_PATH, .status = 409}, false},
        {{.request = "POST " CLAIM_PATH, .status = 500}, true},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        fake_cluster_fault(cluster, &table[i].fault);
        if (table[i].pool)
            fixture_put_pool(world, Q(POOL("192.0.2.1/32")));
        fixture_put_service(world, Q(BALANCER("")));
        let_claims_come();
        lead();
        await_passes(service_passes > 1);
        finish();
        assert_true(count_of(table[i].fault.request) > 1);
        assert_int_equal(count_of("POST " EVENTS_PATH), 0);
        start_over();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_claim_of_a_new_service_is_awaited),
        TEST(what_runs_without_a_claim_is_claimed),
        TEST(two_that_list_one_address_both_keep_running),
        TEST(one_on_its_way_out_is_left_alone),
        TEST(a_balancer_without_an_address_gets_one_late),
        TEST(a_service_that_wants_one_gets_it_late),
        TEST(the_oldest_that_waits_comes_first),
        TEST(an_object_is_written_when_it_says_something_else),
        TEST(the_status_is_patched_beside_what_others_say),
        TEST(the_transition_time_changes_only_with_the_status),
        EVENTS_TEST(one_that_waits_is_told_once),
        EVENTS_TEST(one_in_conflict_is_told),
        EVENTS_TEST(one_that_is_served_late_is_told),
        EVENTS_TEST(nothing_is_told_of_what_runs),
        EVENTS_TEST(a_write_that_fails_is_not_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
