/* The validating call on claims that people write. */
#include "tests/unit/admission_fixture.h"

#define CLAIM(name, cidr) "{'metadata':{'name':'" name "'},'spec':{'cidr':'" cidr "'}}"

struct row {
    const char *name;
    const char *object;
    const char *old;
    const char *cause; /* expected; NULL: allowed */
    const char *message;
};

/* 192.0.2.9 is claimed already, by an object with a name of the older version. */
static const struct row rows[] = {
    {"good", CLAIM("192-0-2-1-32", "192.0.2.1/32"), NULL, NULL, NULL},
    {"good, IPv6", CLAIM("2001-0db8-0000-0000-0000-0000-0000-0001-128", "2001:db8::1/128"), NULL,
     NULL, NULL},
    {"good, named as in the older version", CLAIM("10-10-0-2-24", "10.10.0.2/24"), NULL, NULL,
     NULL},
    {"named otherwise", CLAIM("mine", "192.0.2.1/32"), NULL, "metadata.name",
     "call it 192-0-2-1-32"},
    {"named for another address", CLAIM("192-0-2-2-32", "192.0.2.1/32"), NULL, "metadata.name",
     "call it 192-0-2-1-32"},
    {"no address", CLAIM("192-0-2-1-32", "somewhere"), NULL, "spec.cidr", "somewhere"},
    {"no mask", CLAIM("192-0-2-1-32", "192.0.2.1"), NULL, "spec.cidr",
     "192.0.2.1 has no mask from 0 to 32: write 192.0.2.1/32"},
    {"an empty mask", CLAIM("192-0-2-1-32", "192.0.2.1/"), NULL, "spec.cidr", "write 192.0.2.1/32"},
    {"too long a mask", CLAIM("192-0-2-1-32", "192.0.2.1/33"), NULL, "spec.cidr",
     "write 192.0.2.1/32"},
    {"too long a mask, IPv6",
     CLAIM("2001-0db8-0000-0000-0000-0000-0000-0001-128", "2001:db8::1/129"), NULL, "spec.cidr",
     "write 2001:db8::1/128"},
    {"a mask of another form", CLAIM("192-0-2-1-32", "192.0.2.1/032"), NULL, "spec.cidr",
     "write 192.0.2.1/32"},
    {"no number", CLAIM("192-0-2-1-32", "192.0.2.1/2x"), NULL, "spec.cidr", "write 192.0.2.1/32"},
    {"stored without a mask", CLAIM("192-0-2-1-32", "192.0.2.1"),
     CLAIM("192-0-2-1-32", "192.0.2.1"), NULL, NULL},
    {"no spec", "{'metadata':{'name':'192-0-2-1-32'}}", NULL, "spec.cidr", "missing"},
    {"claimed already", CLAIM("192-0-2-9-32", "192.0.2.9/32"), NULL, "spec.cidr",
     "claimed by 192-0-2-9-24 already"},
    {"the very same is no second", CLAIM("192-0-2-9-24", "192.0.2.9/24"), NULL, NULL, NULL},
    {"changed", CLAIM("192-0-2-1-32", "192.0.2.2/32"), CLAIM("192-0-2-1-32", "192.0.2.1/32"),
     "spec.cidr", "it is 192.0.2.1/32 and can't become 192.0.2.2/32"},
    {"unchanged, whatever its name", CLAIM("mine", "192.0.2.1/32"), CLAIM("mine", "192.0.2.1/32"),
     NULL, NULL},
};

static void says_what_is_wrong(void **state)
{
    (void)state;
    fixture_put_claim(world, Q(CLAIM("192-0-2-9-24", "192.0.2.9/24")));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        struct verdict verdict;
        review(false, "ipclaims", row->old != NULL ? "UPDATE" : "CREATE", row->object, row->old, "",
               &verdict);
        if (verdict.allowed != (row->cause == NULL))
            fail_msg("%s: %s", row->name, verdict.message);
        if (row->cause != NULL && strcmp(verdict.causes, row->cause) != 0)
            fail_msg("%s: %s", row->name, verdict.causes);
        if (row->message != NULL && strstr(verdict.message, row->message) == NULL)
            fail_msg("%s: %s", row->name, verdict.message);
    }
}

#define TEST(function)                                                                             \
    cmocka_unit_test_setup_teardown(function, admission_set_up, admission_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
