/* Stored pools in either version, and what their specifications have in common with another one. */
#include "server/migrate/stored_pool.h"
#include "tests/unit/metallb_fixture.h"

#include <errno.h>

static struct stored_pool *decode(const char *spec, const char *status)
{
    char text[2048];
    struct json_view view;
    struct stored_pool *pool = NULL;
    snprintf(text, sizeof(text), "{'metadata':{'name':'edge'},'spec':%s,'status':%s}", spec,
             status);
    const struct json_node *object = metallb_parse(&view, text);
    assert_int_equal(stored_pool_decode(&view, object, &pool, NULL), 0);
    json_view_clear(&view);
    return pool;
}

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        const char *status;
        const char *has;
        const char *hasnt;
    } cases[] = {
        {"{'addresses':['10.0.0.0/24','2001:db8::/64']}", "{}", "2001:db8::5", "10.0.1.0"},
        {"{'addresses':['10.0.0.0/24'],'exclude':['10.0.0.9']}", "{}", "10.0.0.8", "10.0.0.9"},
        {"{'addresses':['10.0.0.0/24','nonsense',7]}", "{}", "10.0.0.8", "10.0.1.0"},
        {"{'cidr':'10.0.0.0/24'}", "{}", "10.0.0.8", "10.0.1.0"},
        {"{'cidr':'10.0.0.0/24','ranges':[['10.0.0.5','10.0.0.9']]}", "{}", "10.0.0.9", "10.0.0.4"},
        {"{'cidr':'10.0.0.0/24','ranges':['10.0.0.5-10.0.0.9']}", "{}", "10.0.0.5", "10.0.0.10"},
        {"{'fromRequest':{'name':'r'}}", "{'request':{'cidr':'10.0.0.0/28'}}", "10.0.0.8",
         "10.0.0.16"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct stored_pool *pool = decode(cases[i].spec, cases[i].status);
        struct address address;
        assert_int_equal(address_parse(cases[i].has, &address, NULL), 0);
        if (!address_set_contains(pool->addresses, &address))
            fail_msg("%s has no %s", cases[i].spec, cases[i].has);
        assert_int_equal(address_parse(cases[i].hasnt, &address, NULL), 0);
        if (address_set_contains(pool->addresses, &address))
            fail_msg("%s has %s", cases[i].spec, cases[i].hasnt);
        stored_pool_free(pool);
    }
}

static void test_allocated(void **state)
{
    (void)state;
    struct stored_pool *pool = decode("{'cidr':'10.0.0.0/24','allocated':{'10.0.0.5':'10-0-0-5-24',"
                                      "'junk':'x','10.0.0.6/24':7}}",
                                      "{}");
    struct address address;
    assert_int_equal(pool->allocated_count, 3);
    assert_int_equal(address_parse("10.0.0.5", &address, NULL), 0);
    assert_true(address_equal(&pool->allocated[0].address, &address));
    assert_string_equal(pool->allocated[0].claim, "10-0-0-5-24");
    assert_int_equal(pool->allocated[1].address.family, 0);
    assert_string_equal(pool->allocated[2].text, "10.0.0.6/24");
    assert_string_equal(pool->allocated[2].claim, "");
    stored_pool_free(pool);
}

static void test_says(void **state)
{
    (void)state;
    static const struct {
        const char *stored;
        const char *wanted;
        const char *differs; /* NULL: they say the same */
    } cases[] = {
        {"{'addresses':['10.0.0.0/24'],'priority':1}", "{'priority':1,'addresses':['10.0.0.0/24']}",
         NULL},
        /* What is false, 0 or empty says nothing. */
        {"{'addresses':['a'],'drain':false,'priority':0,'exclude':[],'nodeSelector':{}}",
         "{'addresses':['a']}", NULL},
        {"{'addresses':['a']}", "{'addresses':['a'],'useNetworkAndBroadcast':false,'link':''}",
         NULL},
        {"{'addresses':['a']}", "{'addresses':['b']}", "addresses"},
        {"{'addresses':['a'],'exclude':['b']}", "{'addresses':['a']}", "exclude"},
        {"{'addresses':['a']}", "{'addresses':['a'],'namespaces':['b']}", "namespaces"},
        {"{'addresses':['a'],'autoAssign':true}", "{'addresses':['a'],'autoAssign':false}",
         "autoAssign"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct stored_pool *pool = decode(cases[i].stored, "{}");
        char member[STORED_POOL_MEMBER_SIZE] = "";
        int same = stored_pool_says(pool, Q(cases[i].wanted), member, NULL);
        assert_int_equal(same, cases[i].differs == NULL);
        if (cases[i].differs != NULL)
            assert_string_equal(member, cases[i].differs);
        stored_pool_free(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_allocated),
        cmocka_unit_test(test_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
