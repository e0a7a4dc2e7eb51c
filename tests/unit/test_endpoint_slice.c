/* EndpointSlices: on which nodes a Service has a ready endpoint. */
#include "server/objects/endpoint_slice.h"

#include "tests/unit/single_quotes.h"
#include "tests/unit/state_fixture.h"

#include <errno.h>
#include <stdio.h>

static int decode(const char *text, struct endpoint_slice **ret_slice)
{
    struct json_view view;
    json_view_init(&view);
    assert_int_equal(json_view_parse(&view, Q(text), strlen(text), JSON_VIEW_DEPTH, NULL), 0);
    int result = endpoint_slice_decode(&view, json_view_root(&view), ret_slice, NULL);
    json_view_clear(&view);
    return result;
}

#define META "'metadata':{'name':'web-x','namespace':'a','uid':'u','resourceVersion':'7','labels':{"

static const struct {
    const char *text;
    const char *service;
    uint8_t family;
    const char *nodes; /* joined by blanks */
} cases[] = {
    {"{" META "'kubernetes.io/service-name':'web'}},'addressType':'IPv4','endpoints':[{'nodeName':"
     "'n2'},{'nodeName':'n1','conditions':{'ready':true}},{'nodeName':'n2'}]}",
     "a/web", ADDRESS_IPV4, "n1 n2 "},
    {"{" META "'kubernetes.io/service-name':'web'}},'addressType':'IPv6','endpoints':[{'nodeName':"
     "'n1','conditions':{'ready':false,'serving':true}},{'conditions':{'ready':true}},{'nodeName':"
     "'','conditions':{}},{'nodeName':7}]}",
     "a/web", ADDRESS_IPV6, ""},
    {"{" META "}},'addressType':'FQDN','endpoints':null}", "", 0, ""},
    {"{" META "'kubernetes.io/service-name':7}},'endpoints':{'nodeName':'n'}}", "", 0, ""},
};

static void says_where_the_endpoints_are(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct endpoint_slice *slice;
        struct endpoint_slice *again;
        char nodes[64] = "";
        assert_int_equal(decode(cases[i].text, &slice), 0);
        assert_int_equal(decode(cases[i].text, &again), 0);
        assert_string_equal(slice->meta.key, "a/web-x");
        assert_string_equal(slice->meta.name, "web-x");
        assert_string_equal(slice->meta.namespace_name, "a");
        assert_string_equal(slice->meta.uid, "u");
        assert_string_equal(slice->meta.resource_version, "7");
        assert_string_equal(slice->service, cases[i].service);
        assert_int_equal(slice->family, cases[i].family);
        for (const char *node = endpoint_slice_node(slice, NULL); node != NULL;
             node = endpoint_slice_node(slice, node))
            snprintf(nodes + strlen(nodes), sizeof(nodes) - strlen(nodes), "%s ", node);
        assert_string_equal(nodes, cases[i].nodes);
        assert_true(endpoint_slice_says_the_same(slice, again));
        endpoint_slice_free(again);
        assert_int_equal(decode(cases[(i + 1) % 4].text, &again), 0);
        assert_int_equal(endpoint_slice_says_the_same(slice, again), i == 2);
        endpoint_slice_free(again);
        endpoint_slice_free(slice);
    }
    struct endpoint_slice *none;
    assert_int_equal(decode("{'metadata':{}}", &none), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(says_where_the_endpoints_are)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
