/* The mutating calls on ranges and requests: what is left out is written in, and nothing else is touched. */
#include "tests/unit/admission_fixture.h"

#define RANGE(spec) "{'metadata':{'name':'lan'},'spec':{" spec "}}"
#define MODE "[{'op':'add','path':'/spec/mode','value':'FirstMatch'}]"
#define SPACE "[{'op':'add','path':'/spec/range/namespace','value':'a'}]"

struct row {
    const char *resource;
    const char *object;
    const char *patch; /* "": none */
};

static const struct row rows[] = {
    {"ipamranges", RANGE("'ranges':['10.0.0.0/8']"), MODE},
    {"ipamranges", RANGE("'mode':'','ranges':['10.0.0.0/8']"), MODE},
    {"ipamranges", RANGE("'mode':null"), MODE},
    {"ipamranges", RANGE("'mode':'FirstMatch'"), ""},
    {"ipamranges", RANGE("'mode':'RoundRobin'"), ""},
    {"ipamranges", RANGE("'mode':'Nonsense'"), ""}, /* the validating call says so */
    {"ipamranges", RANGE("'mode':7"), ""},
    {"ipamranges", "{'metadata':{'name':'lan'}}", ""},
    {"ipamranges", "{'metadata':{'name':'lan'},'spec':null}", ""},
    {"ipamranges", "{'metadata':{'name':'lan'},'spec':[]}", ""},
    {"ipamranges", "{'metadata':{'generateName':'lan-'},'spec':{}}", MODE},
    {"ipamrequests", RANGE("'range':{'name':'lan'}"), SPACE},
    {"ipamrequests", RANGE("'range':{'name':'lan','namespace':''}"), SPACE},
    {"ipamrequests", RANGE("'range':{'name':'lan','namespace':null}"), SPACE},
    {"ipamrequests", RANGE("'range':{}"), SPACE},
    {"ipamrequests", RANGE("'range':{'name':'lan','namespace':'a'}"), ""},
    {"ipamrequests", RANGE("'range':{'name':'lan','namespace':'b'},'request':'24'"), ""},
    {"ipamrequests", RANGE("'range':{'name':'lan','namespace':7}"), ""},
    {"ipamrequests", RANGE("'range':'lan'"), ""},
    {"ipamrequests", RANGE("'range':null"), ""},
    {"ipamrequests", RANGE(""), ""},
    {"ipamrequests", "{'metadata':{'name':'net'}}", ""},
};

static void writes_what_is_left_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (int update = 0; update < 2; update++) {
            struct verdict verdict;
            review(true, rows[i].resource, update ? "UPDATE" : "CREATE", rows[i].object,
                   update ? "{'metadata':{'name':'lan'},'spec':{'mode':'RoundRobin'}}" : NULL, "",
                   &verdict);
            if (!verdict.allowed || strcmp(verdict.patch, rows[i].patch) != 0)
                fail_msg("%s: %s %s", rows[i].object, verdict.patch, verdict.message);
            assert_string_equal(verdict.warning, "");
        }
}

/* A dry run is answered the same: there is nothing to leave behind. */
static void a_dry_run_is_no_different(void **state)
{
    (void)state;
    struct verdict verdict;
    review(true, "ipamranges", "CREATE", RANGE("'ranges':['10.0.0.0/8']"), NULL, ",'dryRun':true",
           &verdict);
    assert_true(verdict.allowed);
    assert_string_equal(verdict.patch, MODE);
    assert_int_equal(fake_api_count(cluster->api), 0);
}

static void deleting_is_nobody_s_business_here(void **state)
{
    (void)state;
    static const char *const resources[] = {"ipamranges", "ipamrequests"};
    for (size_t i = 0; i < 2; i++) {
        struct verdict verdict;
        review(true, resources[i], "DELETE", "null", RANGE(""), "", &verdict);
        assert_true(verdict.allowed);
        assert_string_equal(verdict.patch, "");
    }
}

#define TEST(function)                                                                             \
    cmocka_unit_test_setup_teardown(function, admission_set_up, admission_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(writes_what_is_left_out),
        TEST(a_dry_run_is_no_different),
        TEST(deleting_is_nobody_s_business_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
