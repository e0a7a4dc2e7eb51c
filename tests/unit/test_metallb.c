/* MetalLB's objects as they are read. */
#include "server/migrate/metallb.h"
#include "tests/unit/metallb_fixture.h"

#include <errno.h>

static void test_pool(void **state)
{
    (void)state;
    struct metallb_pool *pool = metallb_test_pool(
        "{'metadata':{'name':'edge','namespace':'metallb-system','labels':{'zone':'a'}},"
        "'spec':{'addresses':['10.0.0.0/24','10.1.0.1-10.1.0.9'],'autoAssign':false,"
        "'avoidBuggyIPs':true,'serviceAllocation':{'priority':50,'namespaces':['x','y'],"
        "'serviceSelectors':[{'matchLabels':{'a':'b'}}]}}}");
    assert_string_equal(pool->name, "edge");
    assert_int_equal(pool->addresses.count, 2);
    assert_string_equal(pool->addresses.items[1], "10.1.0.1-10.1.0.9");
    assert_false(pool->auto_assign);
    assert_true(pool->avoid_buggy);
    assert_true(pool->allocates);
    assert_int_equal(pool->priority, 50);
    assert_int_equal(pool->namespaces.count, 2);
    assert_true(pool->has_service_selectors);
    assert_false(pool->has_namespace_selectors);
    metallb_pool_free(pool);
    /* What is absent, or of a wrong type. */
    pool = metallb_test_pool("{'metadata':{'name':'e'},'spec':{'addresses':'10.0.0.0/24',"
                             "'serviceAllocation':{'priority':-1},'autoAssign':null}}");
    assert_int_equal(pool->addresses.count, 0);
    assert_true(pool->auto_assign);
    assert_true(pool->allocates);
    assert_int_equal(pool->priority, 0);
    metallb_pool_free(pool);
}

static void test_advertises(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        bool wanted;
    } cases[] = {
        {"{}", true},
        {"{'ipAddressPools':[]}", true},
        {"{'ipAddressPools':['edge']}", true},
        {"{'ipAddressPools':['other']}", false},
        {"{'ipAddressPoolSelectors':[{'matchLabels':{'zone':'a'}}]}", true},
        {"{'ipAddressPoolSelectors':[{'matchLabels':{'zone':'b'}}]}", false},
        {"{'ipAddressPoolSelectors':[{'matchLabels':{'zone':'b'}},{'matchExpressions':[{'key':"
         "'zone','operator':'Exists'}]}]}",
         true},
        {"{'ipAddressPools':['other'],'ipAddressPoolSelectors':[{'matchLabels':{'zone':'a'}}]}",
         true},
    };
    struct metallb_pool *pool =
        metallb_test_pool("{'metadata':{'name':'edge','labels':{'zone':'a'}},'spec':{}}");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[512];
        snprintf(text, sizeof(text), "{'metadata':{'name':'a'},'spec':%s}", cases[i].spec);
        struct metallb_advertisement *one = metallb_test_advertisement(text);
        if (metallb_advertises(one, pool) != cases[i].wanted)
            fail_msg("%s", cases[i].spec);
        metallb_advertisement_free(one);
    }
    metallb_pool_free(pool);
}

/* A selector that can't be read doesn't select everything, and an object needs a name. */
static void test_unreadable(void **state)
{
    (void)state;
    static const char *const texts[] = {
        ("{'metadata':{'name':'a'},'spec':{'ipAddressPoolSelectors':[{'matchExpressions':["
         "{'key':'zone','operator':'Like'}]}]}}"),
        "{'metadata':{},'spec':{}}",
        "{'metadata':{'name':7}}",
        "[]",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct json_view view;
        struct metallb_advertisement *one = NULL;
        struct error error = {0};
        const struct json_node *object = metallb_parse(&view, texts[i]);
        assert_int_equal(metallb_advertisement_decode(&view, object, METALLB_LAYER2, &one, &error),
                         -EINVAL);
        assert_null(one);
        assert_string_not_equal(error.text, "");
        json_view_clear(&view);
    }
}

static void test_service(void **state)
{
    (void)state;
    struct metallb_service *service = metallb_test_service(
        "{'metadata':{'name':'web','namespace':'default','annotations':{"
        "'metallb.universe.tf/address-pool':'old','metallb.io/address-pool':'edge',"
        "'metallb.universe.tf/loadBalancerIPs':'10.0.0.1','metallb.io/allow-shared-ip':'key',"
        "'metallb.io/ip-allocated-from-pool':'edge'}},"
        "'spec':{'type':'LoadBalancer'},'status':{'loadBalancer':{'ingress':[{'ip':'10.0.0.1'}]}}"
        "}");
    assert_string_equal(service->pool, "edge");
    assert_string_equal(service->addresses, "10.0.0.1");
    assert_string_equal(service->sharing, "key");
    assert_string_equal(service->from, "edge");
    assert_int_equal(service->service->ingress.count, 1);
    metallb_service_free(service);
    service = metallb_test_service("{'metadata':{'name':'web','namespace':'default','annotations':"
                                   "{'metallb.io/address-pool':''}}}");
    assert_null(service->pool);
    assert_null(service->sharing);
    metallb_service_free(service);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool),
        cmocka_unit_test(test_advertises),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_service),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
