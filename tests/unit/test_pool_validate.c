/* The validating call on pools: all faults in one answer, no overlap, and nothing taken away that is in use. */
#include "tests/unit/admission_fixture.h"

#define POOL(name, spec) "{'metadata':{'name':'" name "'},'spec':{" spec "}}"
#define WHOLE POOL("blue", "'cidr':'192.0.2.0/24'")

#define MIXED "'addresses':['192.0.2.0/24','2001:db8::/64']"

struct row {
    const char *name;
    const char *object;
    const char *old;
    const char *causes; /* expected; NULL: allowed */
    const char *message;
};

/* Pool red offers 198.51.100.0/24 and six 2001:db8:6::1; 192.0.2.5 and 203.0.113.64 are claimed; the Service web lists 192.0.2.6 without a claim. */
static const struct row rows[] = {
    {"good", WHOLE, NULL, NULL, NULL},
    {"everything wrong at once",
     POOL("blue", "'ranges':['x','y'],'sharing':'Perhaps','onExhausted':'Maybe'"), NULL,
     "spec.addresses spec.ranges[0] spec.ranges[1] spec.sharing spec.onExhausted",
     "IpClaimPool \"the-name\" is invalid: spec.addresses: "},
    {"overlap", POOL("blue", "'cidr':'198.51.100.128/25'"), NULL, "spec.ranges",
     "198.51.100.129 is offered by pool red"},
    {"no overlap once excluded",
     POOL("blue", "'cidr':'198.51.0.0/16','exclude':['198.51.100.0/24']"), NULL, NULL, NULL},
    {"itself is no overlap", POOL("red", "'cidr':'198.51.100.0/23'"),
     POOL("red", "'cidr':'198.51.100.0/24'"), NULL, NULL},
    {"made bigger", POOL("blue", "'cidr':'192.0.2.0/23'"), WHOLE, NULL, NULL},
    {"made smaller around what is in use", POOL("blue", "'cidr':'192.0.2.0/28'"), WHOLE, NULL,
     NULL},
    {"taken away what is in use", POOL("blue", "'cidr':'192.0.2.128/25'"), WHOLE, "spec.ranges",
     "192.0.2.5 is in use (claim 192-0-2-5-32)"},
    {"excluded what is in use", POOL("blue", "'cidr':'192.0.2.0/24','exclude':['192.0.2.4/30']"),
     WHOLE, "spec.exclude", "192.0.2.5 is in use (claim 192-0-2-5-32)"},
    {"from an invalid one anything may be made", WHOLE, POOL("blue", "'cidr':'x'"), NULL, NULL},
    {"an invalid one takes nothing away", POOL("blue", "'cidr':'x'"), WHOLE, "spec.cidr", NULL},
    {"taken away from one that is on its way out",
     "{'metadata':{'name':'blue','deletionTimestamp':'1970-01-01T00:00:10Z'},'spec':{'cidr':"
     "'192.0.2.128/25'}}",
     WHOLE, "spec.ranges", "192.0.2.5 is in use (claim 192-0-2-5-32)"},
    {"nonsense in one that is on its way out",
     "{'metadata':{'name':'blue','deletionTimestamp':'1970-01-01T00:00:10Z'},'spec':{'cidr':'x'}}",
     WHOLE, "spec.cidr", NULL},
    {"no new overlap", POOL("blue", "'cidr':'198.51.100.0/25','priority':5"),
     POOL("blue", "'cidr':'198.51.100.0/24'"), NULL, NULL},
    {"a new overlap", POOL("blue", "'cidr':'198.51.100.0/24'"),
     POOL("blue", "'cidr':'198.51.100.0/25'"), "spec.ranges", "198.51.100.127 is offered by"},

    {"both families", POOL("blue", MIXED), NULL, NULL, NULL},
    {"every fault of a list",
     POOL("blue", "'addresses':['192.0.2.0/24','x','2001:db8::/33/2','192.0.2.9',7]"), NULL,
     "spec.addresses[1] spec.addresses[2] spec.addresses[3] spec.addresses[4]", NULL},
    {"an overlap inside the list", POOL("blue", "'addresses':['10.0.0.0/24','10.0.0.9']"), NULL,
     "spec.addresses[1]", "overlaps an entry before it: both have 10.0.0.9"},
    {"the new beside the old", POOL("blue", "'addresses':['10.0.0.0/24'],'cidr':'10.0.1.0/24'"),
     NULL, "spec.cidr", "not together with spec.addresses, which takes its place: write it there"},
    {"the new beside ranges", POOL("blue", "'addresses':['10.0.0.0/24'],'ranges':['10.0.1.7']"),
     NULL, "spec.ranges", "not together with spec.addresses"},
    {"an entry that another pool has",
     POOL("blue", "'addresses':['10.0.0.0/24','2001:db8::7','198.51.100.7-198.51.101.9']"), NULL,
     "spec.addresses[2]", "198.51.100.7 is offered by pool red already"},
    {"an entry of another family that another pool has",
     POOL("blue", "'addresses':['10.0.0.0/24','2001:db8:6::/64']"), NULL, "spec.addresses[1]",
     "2001:db8:6::1 is offered by pool six already"},
    {"from the old form to the new", POOL("blue", "'addresses':['192.0.2.0/24']"), WHOLE, NULL,
     NULL},
    {"another family beside it", POOL("blue", MIXED), POOL("blue", "'addresses':['192.0.2.0/24']"),
     NULL, NULL},
    {"an entry taken away that is in use", POOL("blue", "'addresses':['2001:db8::/64']"),
     POOL("blue", MIXED), "spec.addresses", "192.0.2.5 is in use (claim 192-0-2-5-32)"},
    {"an entry of the other family taken away", POOL("blue", "'addresses':['192.0.2.0/24']"),
     POOL("blue", MIXED), NULL, NULL},
    {"the free ends of a network taken away",
     POOL("blue", "'addresses':['192.0.2.4/30','192.0.2.8/29']"),
     POOL("blue", "'addresses':['192.0.2.4/30','192.0.2.8/29'],'useNetworkAndBroadcast':true"),
     NULL, NULL},
    {"the end of a network taken away that is in use",
     POOL("blue", "'addresses':['203.0.113.64/26']"),
     POOL("blue", "'addresses':['203.0.113.64/26'],'useNetworkAndBroadcast':true"),
     "spec.useNetworkAndBroadcast", "203.0.113.64 is in use (claim 203-0-113-64-32)"},
    {"an exclusion that excludes nothing",
     POOL("blue", "'addresses':['10.0.0.0/24'],'exclude':['10.0.0.9','10.0.1.9']"), NULL,
     "spec.exclude[1]", "excludes nothing: spec.addresses has none of it"},
    {"what was given by the older version", POOL("blue", MIXED ",'allocated':{'192.0.2.9':'old'}"),
     NULL, NULL, NULL},
};

/* Claims of 192.0.2.5: what pool they name, and whether an edit may take the address from the pool
 * blue. The pool red has 198.51.100.0/24, green, which is younger than blue, 192.0.2.0/29. */
static const struct {
    const char *pool;
    bool blue_is_there;
    bool allowed;
} owners[] = {
    {"'blue'", true, false}, {"'blue'", false, false}, {"'green'", true, true},
    {"'red'", true, true},   {"null", true, false},    {"null", false, true},
    {"'gone'", true, false}, {"'gone'", false, true},
};

static void a_claim_is_that_of_the_pool_that_it_names(void **state)
{
    for (size_t i = 0; i < sizeof(owners) / sizeof(owners[0]); i++) {
        char json[256];
        struct verdict verdict;
        if (i > 0) {
            admission_tear_down(state);
            admission_set_up(state);
        }
        put_pool_everywhere("red", POOL("red", "'cidr':'198.51.100.0/24'"));
        if (owners[i].blue_is_there)
            fixture_put_pool(world, Q(WHOLE));
        fixture_put_pool(world, Q("{'metadata':{'name':'green','creationTimestamp':"
                                  "'1970-01-01T00:00:09Z'},'spec':{'cidr':'192.0.2.0/29'}}"));
        snprintf(json, sizeof(json),
                 "{'metadata':{'name':'192-0-2-5-32'},'spec':{'cidr':'192.0.2.5','pool':%s}}",
                 owners[i].pool);
        put_claim_everywhere("192-0-2-5-32", json);
        review(false, "ipclaimpools", "UPDATE", POOL("blue", "'cidr':'192.0.2.128/25'"), WHOLE, "",
               &verdict);
        if (verdict.allowed != owners[i].allowed)
            fail_msg("%s: %s", json, verdict.message);
    }
}

static void check_rows(const struct row *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct row *row = &list[i];
        struct verdict verdict;
        review(false, "ipclaimpools", row->old != NULL ? "UPDATE" : "CREATE", row->object, row->old,
               "", &verdict);
        if (verdict.allowed != (row->causes == NULL))
            fail_msg("%s: %s", row->name, verdict.message);
        if (row->causes != NULL && strcmp(verdict.causes, row->causes) != 0)
            fail_msg("%s: %s", row->name, verdict.causes);
        if (row->message != NULL && strstr(verdict.message, row->message) == NULL)
            fail_msg("%s: %s", row->name, verdict.message);
        if (row->causes != NULL) {
            assert_int_equal(verdict.code, 422);
            assert_string_equal(verdict.reason, "Invalid");
        }
    }
}

static void says_all_that_is_wrong(void **state)
{
    (void)state;
    put_pool_everywhere("red", POOL("red", "'cidr':'198.51.100.0/24'"));
    put_pool_everywhere("six", POOL("six", "'addresses':['2001:db8:6::1','203.0.113.9']"));
    put_claim_everywhere("192-0-2-5-32",
                         "{'metadata':{'name':'192-0-2-5-32'},'spec':{'cidr':'192.0.2.5'}}");
    put_claim_everywhere("203-0-113-64-32",
                         "{'metadata':{'name':'203-0-113-64-32'},'spec':{'cidr':'203.0.113.64'}}");
    fixture_put_service(
        world,
        Q("{'metadata':{'namespace':'a','name':'web'},'spec':{'externalIPs':['192.0.2.6']}}"));
    check_rows(rows, sizeof(rows) / sizeof(rows[0]));
}

/* The request a/net has 10.0.0.16/28 and a/other 10.0.0.32/28; 10.0.0.20 is claimed; pool near offers 10.0.0.44. */
#define FROM(more) POOL("from", "'fromRequest':{'namespace':'a','name':'net'}" more)
#define FROM_OTHER(more) POOL("from", "'fromRequest':{'namespace':'a','name':'other'}" more)
/* a/late says it has the CIDR of a/net, which is older. */
#define FROM_LATE(more) POOL("from", "'fromRequest':{'namespace':'a','name':'late'}" more)
#define FROM_NOBODY POOL("from", "'fromRequest':{'namespace':'a','name':'nobody'}")

static void networks_that_no_service_can_have_are_warned_of(void **state)
{
    (void)state;
    struct verdict verdict;
    review(false, "ipclaimpools", "CREATE", POOL("blue", "'cidr':'126.0.0.0/7'"), NULL, "",
           &verdict);
    assert_true(verdict.allowed);
    assert_string_equal(
        verdict.warning,
        Q("spec.cidr is deprecated: write spec.addresses: ['126.0.0.0/7']; the pool "
          "reaches into 127.0.0.0/8 (loopback): no Service can have such an "
          "address, so none is given"));
    review(false, "ipclaimpools", "CREATE",
           POOL("blue", "'addresses':['126.0.0.0/7'],'exclude':['127.0.0.0/8']"), NULL, "",
           &verdict);
    assert_true(verdict.allowed);
    assert_string_equal(verdict.warning, "");
    review(false, "ipclaimpools", "CREATE", POOL("blue", "'cidr':'ff02::/64'"), NULL, "", &verdict);
    assert_string_equal(verdict.causes, "spec.cidr");
    assert_non_null(strstr(verdict.message, "lies in ff00::/8 (multicast)"));
    fixture_put_range(world, Q("{'metadata':{'namespace':'a','name':'lan'},'spec':{'ranges':["
                               "'126.0.0.0/7']}}"));
    fixture_put_request(world, Q("{'metadata':{'namespace':'a','name':'net'},'spec':{'range':{"
                                 "'name':'lan','namespace':'a'}},'status':{'cidr':"
                                 "'127.0.0.0/28'}}"));
    fixture_put_request(world, Q("{'metadata':{'namespace':'a','name':'other'},'spec':{'range':{"
                                 "'name':'wan','namespace':'a'}},'status':{'cidr':"
                                 "'126.0.0.0/7'}}"));
    review(false, "ipclaimpools", "CREATE", FROM(""), NULL, "", &verdict);
    assert_string_equal(verdict.causes, "spec.fromRequest");
    assert_non_null(strstr(verdict.message, "127.0.0.0/8 (loopback)"));
    fixture_put_range(world, Q("{'metadata':{'namespace':'a','name':'wan'},'spec':{'ranges':["
                               "'126.0.0.0/7']}}"));
    review(false, "ipclaimpools", "CREATE", FROM_OTHER(""), NULL, "", &verdict);
    assert_true(verdict.allowed);
    assert_non_null(strstr(verdict.warning, "reaches into 127.0.0.0/8 (loopback)"));
}

static const struct row from_rows[] = {
    {"good", FROM(""), NULL, NULL, NULL},
    {"not there yet", FROM_NOBODY, NULL, NULL, NULL},
    {"with a cidr", FROM(",'cidr':'10.0.0.0/8'"), NULL, "spec.cidr", "not together"},
    {"overlap", FROM_OTHER(""), NULL, "spec.fromRequest", "10.0.0.44 is offered by pool near"},
    {"no overlap once excluded", FROM_OTHER(",'exclude':['10.0.0.44']"), NULL, NULL, NULL},
    {"nothing is left", FROM(",'exclude':['10.0.0.0/24']"), NULL, "spec.exclude",
     "leaves no address"},
    {"nothing is left of what is in use", FROM(",'exclude':['10.0.0.0/24']"), FROM(""),
     "spec.exclude", "leaves no address"},
    {"nothing is known yet",
     POOL("from", "'fromRequest':{'namespace':'a','name':'nobody'},'exclude':"
                  "['10.0.0.0/24']"),
     NULL, NULL, NULL},
    {"an invalid one has no addresses", FROM(",'mode':'m','exclude':['10.0.0.0/24']"), NULL,
     "spec.mode", NULL},
    {"from an invalid one anything may be made", POOL("from", "'cidr':'192.0.2.0/24'"),
     FROM(",'mode':'m'"), NULL, NULL},
    {"a CIDR that another request has", FROM_LATE(",'exclude':['10.0.0.0/24']"), NULL, NULL, NULL},
    {"to a CIDR that another request has", FROM_LATE(""), FROM(""), "spec.fromRequest",
     "10.0.0.20 is in use"},
    {"excluded what is in use", FROM(",'exclude':['10.0.0.20']"), FROM(""), "spec.exclude",
     "10.0.0.20 is in use"},
    {"excluded what is free", FROM(",'exclude':['10.0.0.21']"), FROM(""), NULL, NULL},
    {"another request", FROM_OTHER(",'exclude':['10.0.0.44']"), FROM(""), "spec.fromRequest",
     "10.0.0.20 is in use"},
    {"a request that has nothing yet", FROM_NOBODY, FROM(""), "spec.fromRequest",
     "10.0.0.20 is in use"},
    {"from one that had nothing", FROM(""), FROM_NOBODY, NULL, NULL},
    {"the same by hand", POOL("from", "'cidr':'10.0.0.16/28'"), FROM(""), NULL, NULL},
};

static void a_pool_from_a_request_is_judged_by_its_cidr(void **state)
{
    (void)state;
    fixture_put_range(
        world, Q("{'metadata':{'namespace':'a','name':'lan'},'spec':{'ranges':['10.0.0.0/24']}}"));
    fixture_put_request(world,
                        Q("{'metadata':{'namespace':'a','name':'net'},'spec':{'range':{"
                          "'name':'lan','namespace':'a'}},'status':{'cidr':'10.0.0.16/28'}}"));
    fixture_put_request(world,
                        Q("{'metadata':{'namespace':'a','name':'other'},'spec':{'range':{'name':"
                          "'lan','namespace':'a'}},'status':{'cidr':'10.0.0.32/28'}}"));
    fixture_put_request(world,
                        Q("{'metadata':{'namespace':'a','name':'late'},'spec':{'range':{'name':"
                          "'lan','namespace':'a'}},'status':{'cidr':'10.0.0.16/28'}}"));
    put_pool_everywhere("near", POOL("near", "'cidr':'10.0.0.44/32'"));
    put_claim_everywhere("10-0-0-20-32",
                         "{'metadata':{'name':'10-0-0-20-32'},'spec':{'cidr':'10.0.0.20'}}");
    check_rows(from_rows, sizeof(from_rows) / sizeof(from_rows[0]));
}

/* This replica knows a pool and a claim that are gone, or were read differently. */
static void a_no_rests_on_what_is_read_live(void **state)
{
    (void)state;
    struct verdict verdict;
    static const struct fake_answer fault = {.request = "GET", .status = 500};
    fixture_put_pool(world, Q(POOL("red", "'cidr':'198.51.100.0/24'")));
    fixture_put_claim(world, Q("{'metadata':{'name':'192-0-2-5-32'},'spec':{'cidr':'192.0.2.5'}}"));
    /* What can't be read stays as it was known. */
    fake_cluster_fault(cluster, &fault);
    review(false, "ipclaimpools", "CREATE", POOL("blue", "'cidr':'198.51.100.0/25'"), NULL, "",
           &verdict);
    assert_string_equal(verdict.causes, "spec.ranges");
    review(false, "ipclaimpools", "UPDATE", POOL("blue", "'cidr':'192.0.2.128/25'"), WHOLE, "",
           &verdict);
    assert_string_equal(verdict.causes, "spec.ranges");
    fake_cluster_fault(cluster, NULL);
    review(false, "ipclaimpools", "CREATE", POOL("blue", "'cidr':'198.51.100.0/25'"), NULL, "",
           &verdict);
    assert_true(verdict.allowed);
    review(false, "ipclaimpools", "UPDATE", POOL("blue", "'cidr':'192.0.2.128/25'"), WHOLE, "",
           &verdict);
    assert_true(verdict.allowed);
    /* A pool that was edited since. */
    put_pool_everywhere("red", POOL("red", "'cidr':'198.51.100.0/24'"));
    fake_cluster_put(cluster, POOL_PATH "/red", POOL("red", "'cidr':'198.51.100.128/25'"));
    review(false, "ipclaimpools", "CREATE", POOL("blue", "'cidr':'198.51.100.0/25'"), NULL, "",
           &verdict);
    assert_true(verdict.allowed);
    unsigned int asked = fake_api_count(cluster->api);
    review(false, "ipclaimpools", "CREATE", POOL("blue", "'cidr':'198.51.100.0/25'"), NULL, "",
           &verdict);
    assert_int_equal(fake_api_count(cluster->api), asked); /* a yes costs nothing */
}

static void a_pool_without_a_name_is_refused(void **state)
{
    (void)state;
    struct verdict verdict;
    review(false, "ipclaimpools", "CREATE", "{'spec':{'cidr':'192.0.2.0/24'}}", NULL, "", &verdict);
    assert_int_equal(verdict.code, 422);
    assert_non_null(strstr(verdict.message, "metadata.name"));
}

static const struct {
    const char *spec;
    const char *warning;
} warned[] = {
    {"'addresses':['192.0.2.0/24']", ""},
    {"'cidr':'192.0.2.0/24'", "spec.cidr is deprecated: write spec.addresses: ['192.0.2.0/24']"},
    {"'cidr':'192.0.2.0/24','ranges':['192.0.2.7','192.0.2.64/26']",
     "spec.cidr and spec.ranges are deprecated: write spec.addresses: "
     "['192.0.2.7','192.0.2.64/26']"},
    {"'addresses':['192.0.2.0/24'],'allocated':{'192.0.2.7':'a','192.000.002.8':'b'}", ""},
    {"'addresses':['192.0.2.0/24'],'allocated':{'192.0.2.7':'a','192.0.2.8/24':'b','x':'c'}",
     "spec.allocated: '192.0.2.8/24' is no address and is ignored"},
    {"'cidr':'192.0.2.0/24','allocated':{'':'a'}",
     "spec.cidr is deprecated: write spec.addresses: ['192.0.2.0/24']; spec.allocated: '' is no "
     "address and is ignored"},
};

static void what_is_old_is_warned_of(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(warned) / sizeof(warned[0]); i++) {
        char json[512];
        struct verdict verdict;
        snprintf(json, sizeof(json), "{'metadata':{'name':'blue'},'spec':{%s}}", warned[i].spec);
        review(false, "ipclaimpools", "CREATE", json, NULL, "", &verdict);
        assert_true(verdict.allowed);
        assert_string_equal(verdict.warning, Q(warned[i].warning));
    }
}

#define TEST(function)                                                                             \
    cmocka_unit_test_setup_teardown(function, admission_set_up, admission_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(says_all_that_is_wrong),
        TEST(a_claim_is_that_of_the_pool_that_it_names),
        TEST(networks_that_no_service_can_have_are_warned_of),
        TEST(a_pool_from_a_request_is_judged_by_its_cidr),
        TEST(what_is_old_is_warned_of),
        TEST(a_no_rests_on_what_is_read_live),
        TEST(a_pool_without_a_name_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
