/* The validating calls on ranges and requests: all faults in one answer, warnings, what never changes, what a range could never
 * give, and requests that pools consist of. */
#include "tests/unit/admission_fixture.h"

#define RANGE(spec) "{'metadata':{'namespace':'a','name':'lan'},'spec':{" spec "}}"
#define NET(spec) "{'metadata':{'namespace':'a','name':'net'},'spec':{" spec "}}"
#define LAN "'range':{'name':'lan','namespace':'a'}"

struct row {
    const char *resource;
    const char *object;
    const char *old;
    const char *causes; /* expected; NULL: allowed */
    const char *message;
};

/* There are the ranges a/lan 10.0.0.0/24 and b/six 2001:db8::/64; a/full has nothing left; a/odd can't be used. */
static const struct row rows[] = {
    /* new ranges */
    {"ipamranges", RANGE("'ranges':['10.9.0.0/16']"), NULL, NULL, NULL},
    {"ipamranges", RANGE("'ranges':['::/0'],'mode':'RoundRobin','defaultPrefixLength':64"), NULL,
     NULL, NULL},
    {"ipamranges", RANGE(""), NULL, "spec.ranges", "IPAMRange \"the-name\" is invalid: "},
    {"ipamranges", RANGE("'mode':'x','ranges':['10.9.0.0/16','y','::1'],'defaultPrefixLength':33"),
     NULL, "spec.mode spec.ranges[1] spec.ranges[2] spec.defaultPrefixLength", "\"y\""},
    {"ipamranges", "{'spec':{'ranges':['10.9.0.0/16']}}", NULL, "", "metadata.name"},
    /* edits of ranges */
    {"ipamranges", RANGE("'ranges':['10.0.0.0/24'],'mode':'FirstMatch'"),
     RANGE("'mode':'FirstMatch','ranges':['10.0.0.0/24']"), NULL, NULL},
    {"ipamranges", RANGE("'ranges':['x']"), RANGE("'ranges':['x']"), NULL, NULL},
    {"ipamranges",
     "{'metadata':{'name':'lan','labels':{'a':'b'},'finalizers':['f']},'spec':{'ranges':['10.0.0.0/"
     "24']},'status':{'epoch':3}}",
     RANGE("'ranges':['10.0.0.0/24']"), NULL, NULL},
    {"ipamranges", RANGE("'ranges':['10.0.0.0/24'],'defaultPrefixLength':null"),
     RANGE("'ranges':['10.0.0.0/24']"), NULL, NULL},
    {"ipamranges", RANGE("'ranges':['10.0.0.0/23']"), RANGE("'ranges':['10.0.0.0/24']"),
     "spec.ranges",
     "immutable: it is [\"10.0.0.0/24\"] and can't become [\"10.0.0.0/23\"]; create a second "
     "IPAMRange"},
    {"ipamranges", RANGE("'ranges':['10.0.0.0/25','10.0.0.128/25']"),
     RANGE("'ranges':['10.0.0.128/25','10.0.0.0/25']"), "spec.ranges", "immutable"},
    {"ipamranges", RANGE("'ranges':['x','y']"), RANGE("'ranges':['10.0.0.0/24']"), "spec.ranges",
     "immutable"},
    {"ipamranges", RANGE(""), RANGE("'ranges':['10.0.0.0/24']"), "spec.ranges",
     "can't become not set"},
    {"ipamranges", RANGE("'ranges':['10.0.0.0/24'],'mode':'RoundRobin'"),
     RANGE("'ranges':['10.0.0.0/24'],'mode':'FirstMatch'"), "spec.mode",
     "it is \"FirstMatch\" and can't become \"RoundRobin\""},
    {"ipamranges", RANGE("'ranges':['10.0.0.0/24'],'defaultPrefixLength':28"),
     RANGE("'ranges':['10.0.0.0/24']"), "spec.defaultPrefixLength",
     "it is not set and can't become 28"},
    {"ipamranges", RANGE("'mode':'a','ranges':['b'],'defaultPrefixLength':1"),
     RANGE("'ranges':['10.0.0.0/24']"), "spec.mode spec.ranges spec.defaultPrefixLength",
     "IPAMRange \"the-name\" is invalid: "},
    /* new requests */
    {"ipamrequests", NET(LAN), NULL, NULL, NULL},
    {"ipamrequests", NET(LAN ",'request':'28','description':'mine'"), NULL, NULL, NULL},
    {"ipamrequests", NET(LAN ",'request':'10.0.0.16/28'"), NULL, NULL, NULL},
    {"ipamrequests", NET("'range':{'name':'lan'},'request':'24'"), NULL, NULL, NULL},
    {"ipamrequests", NET("'range':{'name':'lan'},'request':'23'"), NULL, "spec.request",
     "IPAMRange a/lan can't give this: request \"23\""},
    {"ipamrequests", NET(LAN ",'request':'%9'"), NULL, "spec.request", "can't give this"},
    {"ipamrequests", NET(LAN ",'request':'#257'"), NULL, "spec.request", "can't give this"},
    {"ipamrequests", NET(LAN ",'request':'16/28'"), NULL, "spec.request", "fewer such blocks"},
    {"ipamrequests", NET(LAN ",'request':'10.0.1.0/28'"), NULL, "spec.request", "outside"},
    {"ipamrequests", NET(LAN ",'request':'2001:db8::/64'"), NULL, "spec.request", "outside"},
    {"ipamrequests", NET(LAN ",'request':'64'"), NULL, "spec.request", "IPv4 has sizes from 0 to"},
    {"ipamrequests", NET("'range':{'name':'six','namespace':'b'},'request':'80'"), NULL, NULL,
     NULL},
    {"ipamrequests", NET("'range':{'name':'six','namespace':'b'},'request':'24'"), NULL,
     "spec.request", "IPAMRange b/six can't give this"},
    /* that wait, and aren't refused: full, unknown or broken ranges */
    {"ipamrequests", NET("'range':{'name':'full','namespace':'a'},'request':'32'"), NULL, NULL,
     NULL},
    {"ipamrequests", NET("'range':{'name':'six','namespace':'a'},'request':'24'"), NULL, NULL,
     NULL},
    {"ipamrequests", NET("'range':{'name':'nobody','namespace':'a'},'request':'10.0.1.0/28'"), NULL,
     NULL, NULL},
    {"ipamrequests", NET("'range':{'name':'odd','namespace':'a'},'request':'8'"), NULL, NULL, NULL},
    {"ipamrequests", NET("'range':{'name':'nobody'},'request':'rubbish'"), NULL, "spec.request",
     "request \"rubbish\""},
    {"ipamrequests", NET("'request':7"), NULL, "spec.range.name spec.request",
     "IPAMRequest \"the-name\" is invalid: "},
    {"ipamrequests", "{'spec':{" LAN "}}", NULL, "", "metadata.name"},
    /* edits of requests */
    {"ipamrequests", NET("'request':'28'," LAN), NET(LAN ",'request':'28'"), NULL, NULL},
    {"ipamrequests", NET(LAN ",'request':'23'"), NET(LAN ",'request':'23'"), NULL, NULL},
    {"ipamrequests",
     "{'metadata':{'name':'net','labels':{'a':'b'}},'spec':{" LAN "},'status':{'cidr':'x'}}",
     NET(LAN), NULL, NULL},
    {"ipamrequests", NET(LAN ",'request':'/28'"), NET(LAN ",'request':'28'"), "spec.request",
     "it is \"28\" and can't become \"/28\"; create a second IPAMRequest"},
    {"ipamrequests", NET(LAN), NET(LAN ",'request':'28'"), "spec.request", "can't become not set"},
    {"ipamrequests", NET("'range':{'name':'wan','namespace':'a'}"), NET(LAN), "spec.range.name",
     "it is \"lan\" and can't become \"wan\""},
    {"ipamrequests", NET("'range':{'name':'lan','namespace':'b'}"), NET(LAN),
     "spec.range.namespace", "it is \"a\" and can't become \"b\""},
    {"ipamrequests", NET(LAN ",'description':'yours'"), NET(LAN ",'description':'mine'"),
     "spec.description", "\"mine\""},
    {"ipamrequests", NET("'range':{'name':'x','namespace':'y'},'request':'z','description':'w'"),
     NET(LAN ",'request':'28','description':'mine'"),
     "spec.range.name spec.range.namespace spec.request spec.description", "immutable"},
    {"ipamrequests", NET(""), NET(LAN), "spec.range.name spec.range.namespace", "not set"},
};

static void put_ranges(void)
{
    fixture_put_range(world, Q("{'metadata':{'namespace':'a','name':'lan','uid':'r-1'},'spec':{"
                               "'ranges':['10.0.0.0/24']}}"));
    fixture_put_range(world, Q("{'metadata':{'namespace':'b','name':'six','uid':'r-2'},'spec':{"
                               "'ranges':['2001:db8::/64']}}"));
    fixture_put_range(world, Q("{'metadata':{'namespace':'a','name':'full','uid':'r-3'},'spec':{"
                               "'ranges':['10.1.0.0/24']}}"));
    fixture_put_range(world, Q("{'metadata':{'namespace':'a','name':'odd','uid':'r-4'},'spec':{"
                               "'ranges':['x']}}"));
    fixture_put_request(world, Q("{'metadata':{'namespace':'a','name':'all','uid':'q-1'},'spec':{"
                                 "'range':{'name':'full','namespace':'a'}},'status':{'cidr':"
                                 "'10.1.0.0/24'}}"));
}

static void says_all_that_is_wrong(void **state)
{
    (void)state;
    put_ranges();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        struct verdict verdict;
        review(false, row->resource, row->old != NULL ? "UPDATE" : "CREATE", row->object, row->old,
               "", &verdict);
        if (verdict.allowed != (row->causes == NULL))
            fail_msg("%s: %s", row->object, verdict.message);
        if (row->causes != NULL && strcmp(verdict.causes, row->causes) != 0)
            fail_msg("%s: %s", row->object, verdict.causes);
        if (row->message != NULL && strstr(verdict.message, row->message) == NULL)
            fail_msg("%s: %s", row->object, verdict.message);
        if (row->causes != NULL) {
            assert_int_equal(verdict.code, 422);
            assert_string_equal(verdict.reason, "Invalid");
        }
    }
    assert_int_equal(fake_api_count(cluster->api), 0);
}

/* What a message repeats of a long value is cut, and stays JSON. */
static void long_values_are_cut(void **state)
{
    (void)state;
    char list[2400] = "'10.0.0.0/24'";
    char object[2600];
    struct verdict verdict;
    for (int i = 0; i < 100; i++)
        snprintf(list + strlen(list), sizeof(list) - strlen(list), ",'10.1.%d.\xE2\x82\xAC'", i);
    snprintf(object, sizeof(object), RANGE("'ranges':[%s]"), list);
    review(false, "ipamranges", "UPDATE", object, RANGE("'ranges':['10.0.0.0/24']"), "", &verdict);
    assert_false(verdict.allowed);
    assert_string_equal(verdict.causes, "spec.ranges");
    assert_non_null(strstr(verdict.message, "can't become [\"10.0.0.0/24\","));
    assert_non_null(strstr(verdict.message, "...; create a second"));
    assert_null(strstr(verdict.message, "10.1.9."));
}

/* --- overlap --- */

static void an_overlap_is_warned_of(void **state)
{
    (void)state;
    put_ranges();
    static const struct {
        const char *object;
        const char *warning; /* parts; NULL: none */
        const char *more;
    } cases[] = {
        {"{'metadata':{'name':'new'},'spec':{'ranges':['10.0.0.128-10.0.1.9']}}",
         "spec.ranges overlaps IPAMRange a/lan (10.0.0.128)", "may be given twice"},
        {"{'metadata':{'name':'new'},'spec':{'ranges':['10.0.0.0/8']}}",
         "IPAMRange a/lan (10.0.0.0)", "IPAMRange a/full (10.1.0.0)"},
        {"{'metadata':{'name':'new'},'spec':{'ranges':['2001:db8::7']}}",
         "IPAMRange b/six (2001:db8::7)", ""},
        {"{'metadata':{'name':'new'},'spec':{'ranges':['10.9.0.0/16']}}", NULL, ""},
        {"{'metadata':{'name':'lan'},'spec':{'ranges':['10.0.0.0/24']}}", NULL, ""}, /* itself */
        {"{'metadata':{'name':'new'},'spec':{'ranges':['10.0.0.0/24','10.0.0.0/24']}}",
         "IPAMRange a/lan (10.0.0.0)", ""}, /* overlap within one list is fine */
        {"{'metadata':{'name':'new'},'spec':{'ranges':['10.9.0.0/24','10.9.0.7']}}", NULL, ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct verdict verdict;
        review(false, "ipamranges", "CREATE", cases[i].object, NULL, "", &verdict);
        assert_true(verdict.allowed);
        if (cases[i].warning == NULL) {
            assert_string_equal(verdict.warning, "");
        } else if (strstr(verdict.warning, cases[i].warning) == NULL ||
                   strstr(verdict.warning, cases[i].more) == NULL) {
            fail_msg("%s: %s", cases[i].object, verdict.warning);
        }
    }
    /* Not again with every edit. */
    struct verdict verdict;
    review(false, "ipamranges", "UPDATE", RANGE("'ranges':['10.1.0.0/24']"),
           RANGE("'ranges':['10.1.0.0/24']"), "", &verdict);
    assert_string_equal(verdict.warning, "");
}

/* However many there are. */
static void many_overlaps_are_still_warned_of(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        char json[512];
        snprintf(json, sizeof(json),
                 "{'metadata':{'namespace':'a-namespace-of-some-length','name':'a-range-%d'},"
                 "'spec':{'ranges':['10.0.0.0/24']}}",
                 i);
        fixture_put_range(world, Q(json));
    }
    struct verdict verdict;
    review(false, "ipamranges", "CREATE", RANGE("'ranges':['10.0.0.0/8']"), NULL, "", &verdict);
    assert_true(verdict.allowed);
    assert_memory_equal(verdict.warning, "spec.ranges overlaps IPAMRange ", 31);
    assert_non_null(
        strstr(verdict.warning, " and 295 more: the same addresses may be given twice"));
}

/* --- DELETE --- */

#define THE_NAME "{'metadata':{'namespace':'a','name':'the-name'},'spec':{" LAN "}}"

static void the_request_of_a_pool_stays(void **state)
{
    (void)state;
    struct verdict verdict;
    put_ranges();
    fixture_put_request(world,
                        Q("{'metadata':{'namespace':'a','name':'the-name'},'spec':{" LAN "}}"));
    review(false, "ipamrequests", "DELETE", "null", THE_NAME, "", &verdict);
    assert_true(verdict.allowed);
    put_pool_everywhere("blue",
                        "{'metadata':{'name':'blue'},'spec':{'fromRequest':{'namespace':'a',"
                        "'name':'the-name'}}}");
    review(false, "ipamrequests", "DELETE", "null", THE_NAME, "", &verdict);
    assert_false(verdict.allowed);
    assert_int_equal(verdict.code, 403);
    assert_string_equal(verdict.reason, "Forbidden");
    assert_non_null(strstr(verdict.message, "a/the-name"));
    assert_non_null(strstr(verdict.message, "pool blue"));
    /* This replica hasn't seen yet that the pool is gone. */
    fake_cluster_remove(cluster, POOL_PATH "/blue");
    review(false, "ipamrequests", "DELETE", "null", THE_NAME, "", &verdict);
    assert_true(verdict.allowed);
    put_pool_everywhere("red", "{'metadata':{'name':'red'},'spec':{'fromRequest':{'namespace':'b',"
                               "'name':'the-name'}}}");
    review(false, "ipamrequests", "DELETE", "null", THE_NAME, "", &verdict);
    assert_true(verdict.allowed);
    /* A range may always be asked to go: its finalizer waits for the requests. */
    review(false, "ipamranges", "DELETE", "null", RANGE(""), "", &verdict);
    assert_true(verdict.allowed);
}

/* The pool blue is made from the request a/net with the uid q-1. */
static const struct {
    const char *before; /* finalizers */
    const char *after;
    const char *uid;
    const char *causes; /* NULL: allowed */
} takings[] = {
    {"'" IPAM_REQUEST_FINALIZER "'", "", "q-1", "metadata.finalizers"},
    {"'" IPAM_REQUEST_FINALIZER "','other'", "'other'", "q-1", "metadata.finalizers"},
    {"'" IPAM_REQUEST_FINALIZER "','other'", "'" IPAM_REQUEST_FINALIZER "'", "q-1", NULL},
    {"'" IPAM_REQUEST_FINALIZER "'", "'" IPAM_REQUEST_FINALIZER "','other'", "q-1", NULL},
    {"'other'", "", "q-1", NULL},
    /* Another of that name is none of the pool's business. */
    {"'" IPAM_REQUEST_FINALIZER "'", "", "q-2", NULL},
};

static void the_finalizer_of_a_pool_stays(void **state)
{
    (void)state;
    struct verdict verdict;
    put_ranges();
    for (size_t i = 0; i <= sizeof(takings) / sizeof(takings[0]); i++) {
        size_t row = i % (sizeof(takings) / sizeof(takings[0]));
        bool has_pool = i == row;
        char texts[2][512];
        const char *finalizers[] = {takings[row].before, takings[row].after};
        for (size_t j = 0; j < 2; j++)
            snprintf(texts[j], sizeof(texts[j]),
                     "{'metadata':{'namespace':'a','name':'net','uid':'%s','finalizers':[%s]},"
                     "'spec':{" LAN "}}",
                     takings[row].uid, finalizers[j]);
        if (has_pool)
            put_pool_everywhere("blue", "{'metadata':{'name':'blue'},'spec':{'fromRequest':{"
                                        "'namespace':'a','name':'net'}},'status':{'request':{"
                                        "'namespace':'a','name':'net','uid':'q-1','cidr':"
                                        "'10.0.0.0/28'}}}");
        else
            state_remove(world, STATE_POOLS, "blue", NULL);
        review(false, "ipamrequests", "UPDATE", texts[1], texts[0], "", &verdict);
        if (verdict.allowed != (takings[row].causes == NULL || !has_pool))
            fail_msg("%s: %s", texts[1], verdict.message);
        if (verdict.allowed)
            continue;
        assert_string_equal(verdict.causes, takings[row].causes);
        assert_non_null(strstr(verdict.message, "pool blue"));
    }
}

/* A collection is deleted object by object, and the API server names none of them but in oldObject. */
static void a_collection_is_no_way_round(void **state)
{
    (void)state;
    struct verdict verdict;
    static const char body[] =
        "{'apiVersion':'admission.k8s.io/v1','kind':'AdmissionReview','request':{'kind':{},'uid':"
        "'the-uid','operation':'DELETE','resource':{'group':'ipam.mandelsoft.org','version':"
        "'v1beta1','resource':'ipamrequests'},'namespace':'a','object':null,'oldObject':%s}}";
    char text[1024];
    put_ranges();
    put_pool_everywhere("blue",
                        "{'metadata':{'name':'blue'},'spec':{'fromRequest':{'namespace':'a',"
                        "'name':'net'}}}");
    snprintf(text, sizeof(text), body, NET(LAN));
    review_text(false, "application/json", "10s", Q(text), &verdict);
    assert_false(verdict.allowed);
    assert_int_equal(verdict.code, 403);
    assert_non_null(strstr(verdict.message, "a/net"));
    assert_non_null(strstr(verdict.message, "pool blue"));
    snprintf(text, sizeof(text), body, "{'metadata':{'namespace':'a','name':'other'}}");
    review_text(false, "application/json", "10s", Q(text), &verdict);
    assert_true(verdict.allowed);
    snprintf(text, sizeof(text), body, "null");
    review_text(false, "application/json", "10s", Q(text), &verdict);
    assert_true(verdict.allowed);
}

#define TEST(function)                                                                             \
    cmocka_unit_test_setup_teardown(function, admission_set_up, admission_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(says_all_that_is_wrong),        TEST(long_values_are_cut),
        TEST(an_overlap_is_warned_of),       TEST(many_overlaps_are_still_warned_of),
        TEST(the_request_of_a_pool_stays),   TEST(a_collection_is_no_way_round),
        TEST(the_finalizer_of_a_pool_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
