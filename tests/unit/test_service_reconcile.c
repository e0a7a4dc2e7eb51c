/* Services against an API server: what runs is claimed, what waits is served, and what was given is shown. */
#include "tests/unit/reconcile_fixture.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_runs_without_a_claim_is_claimed),
        TEST(a_lost_claim_is_made_again_for_what_was_given),
        TEST(a_claim_made_late_is_left_to_its_service),
        TEST(a_claim_made_late_is_left_to_an_unknown_service),
        TEST(a_service_without_an_address_gets_one_late),
        TEST(the_oldest_that_waits_comes_first),
        TEST(two_that_list_one_address_both_keep_running),
        TEST(a_balancer_shows_what_it_was_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
