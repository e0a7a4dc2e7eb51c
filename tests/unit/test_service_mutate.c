/* The mutating call on a Service, end to end: review in, claim written, patch out. */
#include "tests/unit/admission_fixture.h"

#define BLUE "{'metadata':{'name':'blue'},'spec':{'cidr':'192.0.2.0/29'}}"
#define TINY "{'metadata':{'name':'blue'},'spec':{'cidr':'192.0.2.1/32'}}"
#define AUTO "'annotations':{'external-ip':'auto'}"
#define ONE "192-0-2-1-32"
#define CLAIM(name, address, service)                                                              \
    "{'metadata':{'name':'" name "','uid':'c-" name                                                \
    "','resourceVersion':'7'},'spec':{'cidr':'" address                                            \
    "','services':[{'namespace':'a','name':'" service "'}]}}"

static int set_up(void **state)
{
    admission_set_up(state);
    fixture_put_pool(world, Q(BLUE));
    return 0;
}

static void create(const char *object, struct verdict *ret_verdict)
{
    review(true, "services", "CREATE", object, NULL, "", ret_verdict);
}

static void gives_an_address(void **state)
{
    (void)state;
    struct verdict verdict;
    create("{'metadata':{'name':'web'," AUTO "}}", &verdict);
    assert_true(verdict.allowed);
    assert_string_equal(
        verdict.patch,
        "[{'op':'add','path':'/metadata/annotations/ipcontroller.ext~1address','value':"
        "'192.0.2.1'},{'op':'add','path':'/spec/externalIPs','value':['192.0.2.1']}]");
    assert_string_equal(fake_cluster_requests(cluster, 0), "POST");
    assert_non_null(strstr(fake_cluster_get(cluster, CLAIM_PATH "/" ONE), "web"));
}

static void leaves_a_plain_service_alone(void **state)
{
    (void)state;
    struct verdict verdict;
    create("{'metadata':{'name':'web'}}", &verdict);
    assert_true(verdict.allowed);
    assert_string_equal(verdict.patch, "");
    assert_string_equal(fake_cluster_requests(cluster, 0), "");
}

static void a_dry_run_shows_and_writes_nothing(void **state)
{
    (void)state;
    struct verdict verdict;
    review(true, "services", "CREATE", "{'metadata':{'name':'web'," AUTO "}}", NULL,
           ",'dryRun':true", &verdict);
    assert_true(verdict.allowed);
    assert_non_null(strstr(verdict.patch, "192.0.2.1"));
    assert_string_equal(fake_cluster_requests(cluster, 0), "");
    assert_int_equal(map_count(world->addresses), 0);
    assert_int_equal(world->last_activity, 0);
}

/* Where a RoundRobin pool goes on is moved by claims alone. */
static void a_dry_run_moves_no_pointer(void **state)
{
    (void)state;
    static const char *const given[] = {"192.0.2.1", "192.0.2.2", "192.0.2.3"};
    fixture_put_pool(world, Q("{'metadata':{'name':'blue'},'spec':{'cidr':'192.0.2.0/29','mode':"
                              "'RoundRobin'}}"));
    for (size_t i = 0; i < 3; i++) {
        struct verdict verdict;
        char object[128];
        snprintf(object, sizeof(object), "{'metadata':{'name':'web-%zu'," AUTO "}}", i);
        for (int dry = 3; dry >= 0; dry--) {
            review(true, "services", "CREATE", object, NULL, dry > 0 ? ",'dryRun':true" : "",
                   &verdict);
            if (strstr(verdict.patch, given[i]) == NULL)
                fail_msg("%s", verdict.patch);
        }
    }
}

static void a_bad_address_is_refused_with_its_field(void **state)
{
    (void)state;
    struct verdict verdict;
    create("{'metadata':{'name':'web'},'spec':{'externalIPs':['10.0.0.300']}}", &verdict);
    assert_int_equal(verdict.code, 422);
    assert_non_null(strstr(verdict.message, "spec.externalIPs"));
}

static void a_taken_address_is_refused_with_its_owner(void **state)
{
    (void)state;
    struct verdict verdict;
    fixture_put_claim(world, Q("{'metadata':{'name':'" ONE "'},'spec':{'cidr':'192.0.2.1',"
                               "'services':[{'namespace':'b','name':'owner'}]}}"));
    create("{'metadata':{'name':'web'},'spec':{'externalIPs':['192.0.2.1']}}", &verdict);
    assert_int_equal(verdict.code, 403);
    assert_string_equal(verdict.reason, "Forbidden");
    assert_non_null(strstr(verdict.message, "b/owner"));
    assert_string_equal(verdict.causes, "spec.externalIPs");
}

static void exhausted_is_refused_or_waited_for(void **state)
{
    (void)state;
    struct verdict verdict;
    fixture_put_pool(world, Q(TINY));
    fixture_put_claim(world, Q(CLAIM(ONE, "192.0.2.1", "owner")));
    create("{'metadata':{'name':'web'," AUTO "}}", &verdict);
    assert_int_equal(verdict.code, 403);
    assert_non_null(strstr(verdict.message, "1 of 1 IPv4 addresses in use"));
    create("{'metadata':{'name':'web'},'spec':{'type':'LoadBalancer'}}", &verdict);
    assert_true(verdict.allowed);
    assert_string_equal(verdict.patch, "");
    assert_non_null(strstr(verdict.warning, "waits"));
}

static void a_server_in_trouble_is_no_grant(void **state)
{
    (void)state;
    struct verdict verdict;
    fake_api_answer(cluster->api, &(struct fake_answer){.request = "POST", .status = 500});
    create("{'metadata':{'name':'web'," AUTO "}}", &verdict);
    assert_int_equal(verdict.code, 503);
    assert_non_null(strstr(verdict.message, "try again"));
}

static void an_edit_beside_an_old_way_of_writing_passes(void **state)
{
    (void)state;
    struct verdict verdict;
    const char *old = "{'metadata':{'name':'web','uid':'u-1'},'spec':{'externalIPs':['010.0.0.1'],"
                      "'ports':[{'port':80}]}}";
    review(true, "services", "UPDATE",
           "{'metadata':{'name':'web','uid':'u-1'},'spec':{'externalIPs':['010.0.0.1'],"
           "'ports':[{'port':81}]}}",
           old, "", &verdict);
    assert_true(verdict.allowed);
    assert_string_equal(verdict.patch, "");
    review(true, "services", "UPDATE",
           "{'metadata':{'name':'web','uid':'u-1'},'spec':{'externalIPs':['010.0.0.2']}}", old, "",
           &verdict);
    assert_int_equal(verdict.code, 422);
}

static void an_edit_that_leaves_the_address_out_has_it_put_back(void **state)
{
    (void)state;
    struct verdict verdict;
    const char *old = "{'metadata':{'name':'web','uid':'u-1','annotations':{'external-ip':'auto',"
                      "'ipcontroller.ext/address':'192.0.2.1'}},'spec':{'externalIPs':"
                      "['192.0.2.1']}}";
    fixture_put_claim(world, Q(CLAIM(ONE, "192.0.2.1", "web")));
    review(true, "services", "UPDATE", "{'metadata':{'name':'web','uid':'u-1'," AUTO "}}", old, "",
           &verdict);
    assert_true(verdict.allowed);
    assert_non_null(strstr(verdict.patch, "'/spec/externalIPs','value':['192.0.2.1']"));
    review(true, "services", "UPDATE",
           "{'metadata':{'name':'web','uid':'u-1','annotations':{'ipcontroller.ext/address':"
           "'192.0.2.1'}},'spec':{'externalIPs':['192.0.2.1']}}",
           old, "", &verdict);
    assert_true(verdict.allowed);
    assert_non_null(strstr(verdict.patch, "{'op':'remove','path':'/spec/externalIPs'}"));
}

/* Its finalizers must come off, whatever else it says: also an address that a request would be refused for. */
static void what_is_on_its_way_out_is_let_go(void **state)
{
    (void)state;
    static const char *const specs[] = {
        "{'type':'LoadBalancer'}",
        "{'externalIPs':['010.0.0.1']}",
    };
    for (size_t i = 0; i < 2; i++) {
        struct verdict verdict;
        char object[512];
        snprintf(object, sizeof(object),
                 "{'metadata':{'name':'web','uid':'u-1','deletionTimestamp':"
                 "'1970-01-01T00:00:10Z'," AUTO "},'spec':%s}",
                 specs[i]);
        review(true, "services", "UPDATE", object, object, "", &verdict);
        if (!verdict.allowed)
            fail_msg("%s: %s", specs[i], verdict.message);
        assert_string_equal(verdict.patch, "");
        review(false, "services", "UPDATE", object, object, "", &verdict);
        if (!verdict.allowed)
            fail_msg("%s: %s", specs[i], verdict.message);
    }
    assert_string_equal(fake_cluster_requests(cluster, 0), "");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, admission_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(gives_an_address),
        TEST(leaves_a_plain_service_alone),
        TEST(a_dry_run_shows_and_writes_nothing),
        TEST(a_dry_run_moves_no_pointer),
        TEST(a_bad_address_is_refused_with_its_field),
        TEST(a_taken_address_is_refused_with_its_owner),
        TEST(exhausted_is_refused_or_waited_for),
        TEST(a_server_in_trouble_is_no_grant),
        TEST(an_edit_beside_an_old_way_of_writing_passes),
        TEST(an_edit_that_leaves_the_address_out_has_it_put_back),
        TEST(what_is_on_its_way_out_is_let_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
