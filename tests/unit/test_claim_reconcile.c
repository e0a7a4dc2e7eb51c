/* Claims against an API server: what is confirmed, reaped, released and left alone, and what is asked before anything is taken
 * away. */
#include "tests/unit/reconcile_fixture.h"

/* --- confirming --- */

static size_t confirmed(void)
{
    mutex_guard(&world->mutex);
    return world->confirmed;
}

static void a_stored_service_confirms_its_claim(void **state)
{
    (void)state;
    put_claim_everywhere(ONE, CLAIM(RESERVED));
    fixture_put_service(world, Q(WEB("u-1", "")));
    lead();
    await_requests("PATCH/" ONE);
    assert_in(body_of(0), "'uid':'u-1'");
    assert_in(body_of(0), "'resourceVersion':'7'");
    fake_until(confirmed() == 1);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
