/* Claims against an API server: what is released, reaped, kept in step and left alone, and what is asked before anything is
 * taken away. */
#include "server/state/state.h"
#include "tests/unit/reconcile_fixture.h"

/* The claim's next version, with other services: younger than the Services that the fixture makes. */
#define CLAIM_NEXT(services)                                                                       \
    "{'metadata':{'name':'" ONE "','uid':'c-1','resourceVersion':'40'},'spec':{'cidr':"            \
    "'192.0.2.1','pool':'blue','services':[" services "]}}"
#define OLDER_ENTRY "{'namespace':'a','name':'web'}"
#define RENEWED "{'namespace':'a','name':'web','uid':'u-1','since':'2026-01-01T00:00:00.000001Z'}"

/* The look at everything of a new leader has come to the claim, and taken nothing. */
static void assert_left_alone(void)
{
    lead();
    await_passes(claim_passes > 0);
    assert_requests("");
}

/* A Service was seen with the address; leading and at rest. */
static void begin_with_both(void)
{
    put_claim_everywhere(ONE, CLAIM(ENTRY));
    fixture_put_service(world, Q(WEB("u-1", "")));
    lead();
    await_passes(claim_passes > 0 && service_passes > 0);
    assert_requests("");
}

/* --- in step with the stored Service --- */

static void an_older_claim_learns_the_uid(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(OLDER_ENTRY));
    fixture_put_service(world, Q(WEB("u-1", "")));
    lead();
    await_requests("PATCH/" ONE);
    assert_in(body_of(0), "'name':'web','uid':'u-1'");
    assert_in(body_of(0), "'resourceVersion':'7'");
    /* The answer is known at once, and leaves nothing to do. */
    await_passes(claim_passes > 1);
    mutex_lock(&world->mutex);
    assert_string_equal(state_claim(world, ONE)->claim->services[0].uid, "u-1");
    mutex_unlock(&world->mutex);
    assert_requests("PATCH/" ONE);
}

/* Once: the answer says it. */
static void an_older_claim_learns_since_when_it_is_there(void **state)
{
    (void)state;
    put_claim_everywhere(ONE,
                         "{'metadata':{'name':'" ONE "','uid':'c-1','resourceVersion':'7',"
                         "'creationTimestamp':'2026-02-03T04:05:06Z'},'spec':{'cidr':"
                         "'192.0.2.1','services':[{'namespace':'a','name':'web','uid':'u-1'}]}}");
    fixture_put_service(world, Q(WEB("u-1", "")));
    lead();
    await_requests("PATCH/" ONE);
    assert_in(body_of(0), "'since':'2026-02-03T04:05:06.000000Z'");
    await_passes(claim_passes > 1);
    assert_requests("PATCH/" ONE);
}

static void a_claim_that_agrees_costs_nothing(void **state)
{
    (void)state;
    begin_with_both();
}

#define PORTED_ENTRY(ports)                                                                        \
    "{'namespace':'a','name':'web','uid':'u-1','given':true,"                                      \
    "'since':'2026-01-01T00:00:00.000001Z'" ports "}"
#define PORT(number) "{'port':" #number ",'protocol':'TCP'}"

static void put_ported_service(const char *version, const char *ports)
{
    char json[512];
    snprintf(json, sizeof(json),
             "{'metadata':{'namespace':'a','name':'web','uid':'u-1','resourceVersion':'%s',"
             "'annotations':{'external-ip':'auto'}},'spec':{'externalIPs':['192.0.2.1'],'ports':["
             "%s]}}",
             version, ports);
    fixture_put_service(world, Q(json));
    fake_cluster_put(cluster, WEB_PATH, Q(json));
}

/* What the Service has is added at once. What it lacks may belong to an edit under way, until a version of the Service comes
 * that is younger than the claim (resourceVersion 7), or the grace is over and the Service was read. What came here first
 * says nothing: two watches overtake each other. */
static void the_ports_follow_the_stored_service(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *claim;
        const char *service;
        const char *version; /* of the Service */
        int64_t age;
        bool read;           /* live, before the write */
        const char *written; /* NULL: nothing */
    } table[] = {
        {"the same", ",'ports':['TCP/80','TCP/443']", PORT(443) "," PORT(80), "8", 2 * GRACE, false,
         NULL},
        {"one more", ",'ports':['TCP/80']", PORT(80) "," PORT(443), "6", 0, false,
         "'ports':['TCP/80','TCP/443']"},
        {"another: the one before isn't taken out yet", ",'ports':['TCP/80']", PORT(443), "8", 0,
         false, "'ports':['TCP/80','TCP/443']"},
        {"one less, which may come", ",'ports':['TCP/80','TCP/443']", PORT(80), "6", GRACE - 1,
         false, NULL},
        {"one less, and the versions are as long as they are", ",'ports':['TCP/80','TCP/443']",
         PORT(80), "10", 0, false, "'ports':['TCP/80']"},
        {"one less, which didn't come", ",'ports':['TCP/80','TCP/443']", PORT(80), "6", GRACE, true,
         "'ports':['TCP/80']"},
        {"one less, by an edit", ",'ports':['TCP/80','TCP/443']", PORT(80), "8", 0, false,
         "'ports':['TCP/80']"},
        {"none", ",'ports':['TCP/80']", "", "8", 0, false,
         "'since':'2026-01-01T00:00:00.000001Z'}"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char json[512];
        snprintf(json, sizeof(json), CLAIM(PORTED_ENTRY("%s")), table[i].claim);
        put_ported_service(table[i].version, table[i].service);
        put_claim_everywhere(ONE, json);
        clock_fake_advance(&clock_now, table[i].age);
        if (table[i].written == NULL) {
            assert_left_alone();
        } else {
            lead();
            await_requests(table[i].read ? "GET" WEB_PATH " PATCH/" ONE : "PATCH/" ONE);
            const char *body = body_of(table[i].read);
            assert_in(body, table[i].written);
            assert_in(body, "'uid':'u-1','given':true,'since':'2026-01-01T00:00:00.000001Z'");
        }
        start_over();
    }
}

/* --- reaping what was claimed for a Service that never came --- */

static void a_young_claim_is_left_alone(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(ENTRY));
    clock_fake_advance(&clock_now, GRACE - 1);
    assert_left_alone();
}

static void an_old_claim_is_reaped_after_a_look(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(ENTRY));
    clock_fake_advance(&clock_now, GRACE);
    lead();
    await_requests("GET" WEB_PATH " DELETE/" ONE);
    assert_precise_delete(1);
    await_passes(!knows_claim(ONE));
}

/* What the live read says decides. */
static void the_live_read_decides(void **state)
{
    (void)state;
    static const struct {
        const char *service;
        bool kept;
    } table[] = {
        {WEB("u-1", ""), true},
        {"{'metadata':{'namespace':'a','name':'web','uid':'u-1'},'spec':{},'status':{"
         "'loadBalancer':{'ingress':[{'ip':'192.0.2.1'}]}}}",
         true},
        {SERVICE("web", "u-1", "192.0.2.2", ""), false}, /* it lists another address */
        {WEB("u-2", ""), false},                         /* a namesake does */
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        put_claim_everywhere(ONE, CLAIM(ENTRY));
        fake_cluster_put(cluster, WEB_PATH, table[i].service);
        clock_fake_advance(&clock_now, GRACE);
        lead();
        await_passes(claim_passes > 0);
        assert_requests(table[i].kept ? "GET" WEB_PATH : "GET" WEB_PATH " DELETE/" ONE);
        assert_int_equal(knows_claim(ONE), table[i].kept);
        start_over();
    }
}

/* An edit that lists the address may be under way as well. */
static void a_stored_service_without_the_address_is_waited_for(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM_NEXT(ENTRY));
    fixture_put_service(world, Q(WEB_BARE("u-1")));
    fake_cluster_put(cluster, WEB_PATH, WEB_BARE("u-1"));
    clock_fake_advance(&clock_now, GRACE - 1);
    assert_left_alone();
    clock_fake_advance(&clock_now, 1);
    fixture_put_claim(world, Q(CLAIM_NEXT(ENTRY)));
    await_requests("GET" WEB_PATH " DELETE/" ONE);
}

/* The edit was stored and undone before the watch showed the claim: it can't be stored once more. */
static void a_younger_service_without_the_address_never_will_list_it(void **state)
{
    (void)state;
    fixture_put_service(world, Q(WEB_BARE("u-1")));
    fake_cluster_put(cluster, WEB_PATH, WEB_BARE("u-1"));
    put_claim_everywhere(ONE, CLAIM(ENTRY));
    lead();
    await_requests("DELETE/" ONE);
    assert_precise_delete(0);
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
        {.request = "GET",
         .body =
             "{\"metadata\":{\"namespace\":\"a\",\"name\":\"web\",\"uid\":\"u-1\"},\"spec\":7}"},
    };
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        fake_cluster_fault(cluster, &failures[i]);
        put_claim_everywhere(ONE, CLAIM(ENTRY));
        clock_fake_advance(&clock_now, GRACE);
        lead();
        assert_true(fake_api_wait(cluster->api, 2)); /* it was tried again */
        assert_int_equal(count_of("DELETE"), 0);
        assert_true(knows_claim(ONE));
        /* The server is well again, and says what it should have said. */
        fake_cluster_put(cluster, WEB_PATH, WEB("u-1", ""));
        fake_cluster_fault(cluster, NULL);
        start_over();
    }
}

/* A Service that can't be read may list the address: nothing is even asked before it is seen to go. */
static void what_can_not_be_read_keeps_its_claim(void **state)
{
    (void)state;
    struct service *service = fixture_service(Q(WEB("u-1", "")));
    assert_true(state_put_unreadable(world, STATE_SERVICES, &service->meta));
    put_claim_everywhere(ONE, CLAIM(ENTRY));
    clock_fake_advance(&clock_now, 1000 * GRACE);
    assert_left_alone();
    state_remove(world, STATE_SERVICES, "a/web", "u-1");
    fixture_put_claim(world, Q(CLAIM(ENTRY)));
    await_requests("DELETE/" ONE);
    service_free(service);
}

/* Whoever may create claims may write anything there; and older claims name what the API server refused afterwards. */
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
        await_passes(!knows_claim(ONE));
        assert_int_equal(count_of("DELETE"), 1);
        start_over();
    }
}

static void each_entry_goes_by_its_own_age(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(ENTRY));
    clock_fake_advance(&clock_now, GRACE / 2);
    put_claim_everywhere(ONE, CLAIM(ENTRY ",{'namespace':'a','name':'friend','uid':'u-2'}"));
    clock_fake_advance(&clock_now, GRACE / 2);
    lead();
    await_requests("GET" WEB_PATH " PATCH/" ONE);
    assert_not_in(body_of(1), "'name':'web'");
    assert_in(body_of(1), "'name':'friend','uid':'u-2'");
    await_passes(claim_passes > 1);
    assert_requests("GET" WEB_PATH " PATCH/" ONE);
}

/* --- left alone for ever --- */

static void a_hold_by_hand_is_never_reaped(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(""));
    clock_fake_advance(&clock_now, 1000 * GRACE);
    assert_left_alone();
}

static void a_claim_on_its_way_out_is_left_alone(void **state)
{
    (void)state;
    put_claim_everywhere(
        ONE, CLAIM_AT(ONE, "192.0.2.1", ",'deletionTimestamp':'1970-01-01T00:00:10Z'", ENTRY));
    clock_fake_advance(&clock_now, 1000 * GRACE);
    assert_left_alone();
}

/* Written by admission, or by the reconciler itself: the Service is about to show it. */
static void a_claim_that_its_service_shall_have_is_left_alone(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM("{'namespace':'a','name':'web','uid':'u-1','given':true}"));
    fixture_put_service(world, Q("{'metadata':{'namespace':'a','name':'web','uid':'u-1'},'spec':{"
                                 "'type':'LoadBalancer'}}"));
    clock_fake_advance(&clock_now, 1000 * GRACE);
    lead();
    await_passes(claim_passes > 0 && service_passes > 0);
    assert_requests("PATCH" WEB_PATH "/status?fieldManager=ipwarden");
}

/* --- releasing --- */

static void seen_and_gone_is_released_at_once(void **state)
{
    (void)state;
    begin_with_both();
    state_remove(world, STATE_SERVICES, "a/web", "u-1");
    await_requests("DELETE/" ONE);
    assert_precise_delete(0);
    await_passes(!knows_claim(ONE));
}

static void seen_and_listing_it_no_more_is_released_at_once(void **state)
{
    (void)state;
    begin_with_both();
    fixture_put_service(world, Q(WEB_BARE("u-1")));
    await_requests("DELETE/" ONE);
    assert_precise_delete(0);
}

/* A create that was taken back at once: the claim comes by behind its Service. */
static void come_and_gone_before_the_claim_is_released_at_once(void **state)
{
    (void)state;
    fixture_put_service(world, Q(WEB("u-1", "")));
    state_remove(world, STATE_SERVICES, "a/web", "u-1");
    put_claim_everywhere(ONE, CLAIM(ENTRY));
    lead();
    await_requests("DELETE/" ONE);
}

/* This process began after the Service went, or before it comes. */
static void never_seen_is_left_for_the_grace(void **state)
{
    (void)state;
    fixture_put_service(world, Q(WEB("u-0", "")));
    put_claim_everywhere(TWO, CLAIM_AT(TWO, "192.0.2.2", "", ENTRY));
    put_claim_everywhere(ONE, CLAIM("{'namespace':'a','name':'web','uid':'u-0'}"));
    lead();
    await_passes(claim_passes > 1 && service_passes > 0);
    state_remove(world, STATE_SERVICES, "a/web", "u-0");
    await_requests("DELETE/" ONE);
    assert_true(knows_claim(TWO));
}

static void one_of_two_owners_is_taken_out(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(ENTRY ",{'namespace':'a','name':'friend','uid':'u-2'}"));
    fixture_put_service(world, Q(WEB("u-1", "")));
    fixture_put_service(world, Q(SERVICE("friend", "u-2", "192.0.2.1", "")));
    state_remove(world, STATE_SERVICES, "a/friend", "u-2");
    lead();
    await_requests("PATCH/" ONE);
    assert_not_in(body_of(0), "friend");
    assert_in(body_of(0), ENTRY);
    assert_in(body_of(0), "'resourceVersion':'7'");
    /* The last takes the claim with it. */
    await_passes(claim_passes > 1);
    state_remove(world, STATE_SERVICES, "a/web", "u-1");
    await_requests("PATCH/" ONE " DELETE/" ONE);
}

static void a_claim_that_is_gone_already_is_forgotten(void **state)
{
    (void)state;
    begin_with_both();
    fake_cluster_remove(cluster, CLAIM_PATH "/" ONE);
    state_remove(world, STATE_SERVICES, "a/web", "u-1");
    await_requests("DELETE/" ONE);
    await_passes(!knows_claim(ONE));
}

/* The node that has it bound takes it down first. */
static void a_claim_with_a_finalizer_stays_busy(void **state)
{
    (void)state;
    static const struct fake_answer bound = {
        .request = "DELETE",
        .body = "{\"metadata\":{\"name\":\"" ONE "\",\"deletionTimestamp\":\"1970-01-01T00:00:10Z\""
                "}}"};
    begin_with_both();
    fake_cluster_fault(cluster, &bound);
    unsigned int before = claim_passes;
    state_remove(world, STATE_SERVICES, "a/web", "u-1");
    await_requests("DELETE/" ONE);
    await_passes(claim_passes > before);
    assert_true(knows_claim(ONE));
}

/* --- releasing what an edit lists again --- */

/* An edit took the address out, and the next one lists it again: admission renews the entry before that is stored. */
static void a_renewed_entry_survives(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(ENTRY));
    fixture_put_service(world, Q(WEB("u-1", "")));
    fixture_put_service(world, Q(WEB_BARE("u-1")));
    fake_cluster_put(cluster, WEB_PATH, WEB_BARE("u-1"));
    put_claim_everywhere(ONE, CLAIM_NEXT(RENEWED));
    clock_fake_advance(&clock_now, GRACE - 1);
    assert_left_alone();
    /* The edit came to nothing. */
    clock_fake_advance(&clock_now, 1);
    fixture_put_claim(world, Q(CLAIM_NEXT(RENEWED)));
    await_requests("GET" WEB_PATH " DELETE/" ONE);
}

/* The watch of Services lags behind that of claims: what it shows after the renewal may have been stored before. */
static void a_renewed_entry_survives_what_was_stored_before(void **state)
{
    (void)state;
    begin_with_both();
    put_claim_everywhere(ONE, CLAIM_NEXT(RENEWED));
    fixture_put_service(world, Q(WEB("u-1", ",'labels':{'a':'b'}")));
    fixture_put_service(world, Q(WEB_BARE("u-1")));
    await_look(STATE_CLAIMS, ONE);
    assert_requests("");
    /* And now as the edit left it. */
    fixture_put_service(world, Q("{'metadata':{'namespace':'a','name':'web','uid':'u-1',"
                                 "'resourceVersion':'98'},'spec':{'externalIPs':['192.0.2.1']}}"));
    await_look(STATE_CLAIMS, ONE);
    /* It has listed the address for longer than any request takes: that was after the renewal. */
    clock_fake_advance(&clock_now, GRACE);
    fixture_put_service(world, Q("{'metadata':{'namespace':'a','name':'web','uid':'u-1',"
                                 "'resourceVersion':'99'}}"));
    await_requests("DELETE/" ONE);
}

/* Renewed by another replica, and not seen here yet: the precondition keeps it. */
static void a_claim_that_changed_meanwhile_is_not_deleted(void **state)
{
    (void)state;
    begin_with_both();
    fake_cluster_put(cluster, CLAIM_PATH "/" ONE, CLAIM_NEXT(RENEWED));
    unsigned int before = claim_passes;
    fixture_put_service(world, Q(WEB_BARE("u-1")));
    await_passes(claim_passes > before);
    assert_int_not_equal(count_of("DELETE"), 0);
    assert_string_not_equal(fake_cluster_get(cluster, CLAIM_PATH "/" ONE), "");
    assert_true(knows_claim(ONE));
}

/* --- what people are told --- */

#define RELEASED_EVENT "DELETE/" ONE " POST" EVENTS_PATH

static void a_service_that_lost_an_address_is_told(void **state)
{
    (void)state;
    begin_with_both();
    fixture_put_service(world, Q(WEB_BARE("u-1")));
    await_requests(RELEASED_EVENT);
    assert_in(body_of(1), "'reason':'AddressReleased'");
    assert_in(body_of(1), "'message':'192.0.2.1'");
    assert_in(body_of(1), "'uid':'u-1'");
    assert_in(body_of(1), "'type':'Normal'");
}

static void nobody_reads_the_events_of_one_that_is_gone(void **state)
{
    (void)state;
    begin_with_both();
    state_remove(world, STATE_SERVICES, "a/web", "u-1");
    await_requests("DELETE/" ONE);
    await_passes(!knows_claim(ONE));
    finish();
    assert_requests("DELETE/" ONE);
}

/* Not before the address is gone. */
static void a_release_that_fails_is_not_told(void **state)
{
    (void)state;
    static const struct fake_answer fault = {.request = "DELETE", .status = 500};
    begin_with_both();
    fake_cluster_fault(cluster, &fault);
    fixture_put_service(world, Q(WEB_BARE("u-1")));
    assert_true(fake_api_wait(cluster->api, 2));
    finish();
    assert_int_equal(count_of("POST"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_older_claim_learns_the_uid),
        TEST(an_older_claim_learns_since_when_it_is_there),
        TEST(a_claim_that_agrees_costs_nothing),
        TEST(the_ports_follow_the_stored_service),
        TEST(a_young_claim_is_left_alone),
        TEST(an_old_claim_is_reaped_after_a_look),
        TEST(the_live_read_decides),
        TEST(a_stored_service_without_the_address_is_waited_for),
        TEST(a_younger_service_without_the_address_never_will_list_it),
        TEST(what_can_not_be_read_keeps_its_claim),
        TEST(a_look_that_fails_takes_nothing),
        TEST(a_name_that_can_be_no_name_is_reaped),
        TEST(each_entry_goes_by_its_own_age),
        TEST(a_hold_by_hand_is_never_reaped),
        TEST(a_claim_on_its_way_out_is_left_alone),
        TEST(a_claim_that_its_service_shall_have_is_left_alone),
        TEST(seen_and_gone_is_released_at_once),
        TEST(seen_and_listing_it_no_more_is_released_at_once),
        TEST(come_and_gone_before_the_claim_is_released_at_once),
        TEST(never_seen_is_left_for_the_grace),
        TEST(one_of_two_owners_is_taken_out),
        TEST(a_claim_that_is_gone_already_is_forgotten),
        TEST(a_claim_with_a_finalizer_stays_busy),
        TEST(a_renewed_entry_survives),
        TEST(a_renewed_entry_survives_what_was_stored_before),
        TEST(a_claim_that_changed_meanwhile_is_not_deleted),
        EVENTS_TEST(a_service_that_lost_an_address_is_told),
        EVENTS_TEST(nobody_reads_the_events_of_one_that_is_gone),
        EVENTS_TEST(a_release_that_fails_is_not_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
