/* The validating call on pools: all faults in one answer, no overlap, and nothing taken away that is in use. */
#include "tests/unit/admission_fixture.h"

#define POOL(name, spec) "{'metadata':{'name':'" name "'},'spec':{" spec "}}"
#define WHOLE POOL("blue", "'cidr':'192.0.2.0/24'")

struct row {
    const char *name;
    const char *object;
    const char *old;
    const char *causes; /* expected; NULL: allowed */
    const char *message;
};

/* Pool red offers 198.51.100.0/24; 192.0.2.5 is claimed; the Service web lists 192.0.2.6 without a claim. */
static const struct row rows[] = {
    {"good", WHOLE, NULL, NULL, NULL},
    {"everything wrong at once",
     POOL("blue", "'ranges':['x','y'],'sharing':'Perhaps','onExhausted':'Maybe'"), NULL,
     "spec.cidr spec.ranges[0] spec.ranges[1] spec.sharing spec.onExhausted",
     "IpClaimPool \"the-name\" is invalid: spec.cidr: "},
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
    {"on its way out",
     "{'metadata':{'name':'blue','deletionTimestamp':'1970-01-01T00:00:10Z'},'spec':{'cidr':'x'}}",
     WHOLE, NULL, NULL},
};

static void says_all_that_is_wrong(void **state)
{
    (void)state;
    fixture_put_pool(world, Q(POOL("red", "'cidr':'198.51.100.0/24'")));
    fixture_put_claim(world, Q("{'metadata':{'name':'192-0-2-5-32'},'spec':{'cidr':'192.0.2.5'}}"));
    fixture_put_service(world,
                        Q("{'metadata':{'name':'web'},'spec':{'externalIPs':['192.0.2.6']}}"));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
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

static void a_pool_without_a_name_is_refused(void **state)
{
    (void)state;
    struct verdict verdict;
    review(false, "ipclaimpools", "CREATE", "{'spec':{'cidr':'192.0.2.0/24'}}", NULL, "", &verdict);
    assert_int_equal(verdict.code, 422);
    assert_non_null(strstr(verdict.message, "metadata.name"));
}

#define TEST(function)                                                                             \
    cmocka_unit_test_setup_teardown(function, admission_set_up, admission_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(says_all_that_is_wrong),
        TEST(a_pool_without_a_name_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
