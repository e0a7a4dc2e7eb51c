/* Services as projections: what is read from which field, what a request is refused for and a stored object isn't, and
 * the small functions over addresses and ports. */
#include "tests/unit/single_quotes.h"
#include "tests/unit/state_fixture.h"

#include <errno.h>
#include <stdio.h>

static const char full[] =
    "{'apiVersion':'v1','kind':'Service','metadata':{'namespace':'shop','name':'web','uid':'u-1',"
    "'resourceVersion':'42','creationTimestamp':'1970-01-01T00:00:10Z',"
    "'annotations':{'external-ip':'auto','ipcontroller.ext/pool':'blue',"
    "'ipcontroller.ext/addresses':'192.0.2.1 , 2001:DB8:0::1,192.0.2.1',"
    "'ipcontroller.ext/address':'192.0.2.9,nonsense'}},"
    "'spec':{'type':'LoadBalancer','loadBalancerClass':'ipcontroller.ext/ipwarden',"
    "'ipFamilies':['IPv6','IPv4'],'ipFamilyPolicy':'PreferDualStack','loadBalancerIP':'192.0.2.77',"
    "'ports':[{'port':80},{'port':53,'protocol':'UDP'},{'port':9,'protocol':'SCTP'},"
    "{'port':65536},{'port':'http'}],'externalIPs':['192.0.2.5','192.0.2.5','2001:db8::5']},"
    "'status':{'loadBalancer':{'ingress':[{'ip':'192.0.2.6'},{'hostname':'a.example'}]},"
    "'conditions':[{'type':'Other','reason':'No'},{'type':'ipcontroller.ext/AddressAssigned',"
    "'reason':'NoFreeAddress'}]}}";

static void assert_addresses(const struct service_addresses *list, const char *expected)
{
    char text[SERVICE_ADDRESSES_TEXT_SIZE];
    service_addresses_format(list, text);
    assert_string_equal(text, expected);
}

static void assert_full(const struct service *service)
{
    assert_string_equal(service->key, "shop/web");
    assert_string_equal(service->namespace_name, "shop");
    assert_string_equal(service->name, "web");
    assert_ptr_equal(service->name, service->key + 5);
    assert_null(service->generate_name);
    assert_string_equal(service->uid, "u-1");
    assert_string_equal(service->resource_version, "42");
    assert_string_equal(service->pool, "blue");
    assert_string_equal(service->class_name, SERVICE_CLASS);
    assert_string_equal(service->condition_reason, "NoFreeAddress");
    assert_int_equal(service->type, SERVICE_LOAD_BALANCER);
    assert_int_equal(service->family_policy, SERVICE_FAMILY_PREFER_DUAL);
    assert_int_equal(service->families[0], ADDRESS_IPV6);
    assert_int_equal(service->families[1], ADDRESS_IPV4);
    assert_true(service->wants_auto);
    assert_false(service->deleting);
    assert_true(service->ingress_foreign);
    assert_int_equal(service->created, 10 * CLOCK_SECOND);
    assert_int_equal(service->port_count, 3);
    assert_int_equal(service->ports[1].port, 53);
    assert_int_equal(service->ports[1].protocol, SERVICE_UDP);
    assert_int_equal(service->ports[2].protocol, SERVICE_SCTP);
    assert_addresses(&service->external, "192.0.2.5,2001:db8::5");
    assert_addresses(&service->ingress, "192.0.2.6");
    assert_addresses(&service->requested, "192.0.2.1,2001:db8::1");
    assert_addresses(&service->assigned, "192.0.2.9");
}

static void reads_every_field(void **state)
{
    (void)state;
    _cleanup_service_ struct service *service = fixture_service(Q(full), false);
    assert_full(service);
}

static void a_copy_is_the_same_and_its_own(void **state)
{
    (void)state;
    struct service *service = fixture_service(Q(full), false);
    _cleanup_service_ struct service *copy = service_copy(service);
    assert_non_null(copy);
    service_free(service); /* AddressSanitizer sees what is still shared */
    assert_full(copy);
    _cleanup_service_ struct service *small =
        fixture_service(Q("{'metadata':{'generateName':'a-'}}"), true);
    _cleanup_service_ struct service *second = service_copy(small);
    assert_string_equal(second->name, "");
    assert_string_equal(second->generate_name, "a-");
    assert_null(second->ports);
}

/* --- what is refused --- */

static int decode(const char *json, const char *fallback, bool strict, struct service **ret_service,
                  struct error *error)
{
    struct json_view view;
    json_view_init(&view);
    assert_int_equal(json_view_parse(&view, json, strlen(json), JSON_VIEW_DEPTH, error), 0);
    int result = service_decode(&view, json_view_root(&view), fallback, strict, ret_service, error);
    json_view_clear(&view);
    return result;
}

struct refusal {
    const char *json;
    const char *text; /* part of it; NULL: refused in no case */
    bool lenient_too; /* refused for a stored object as well */
};

static const struct refusal refusals[] = {
    {"{'metadata':{'name':'a'},'spec':{'externalIPs':['10.0.0.256']}}", "spec.externalIPs", false},
    {"{'metadata':{'name':'a'},'spec':{'externalIPs':['10.0.0.01']}}", "spec.externalIPs", false},
    {"{'metadata':{'name':'a','annotations':{'ipcontroller.ext/addresses':'10.0.0.1,x'}}}",
     "metadata.annotations[ipcontroller.ext/addresses]", false},
    {"{'metadata':{'name':'a'},'spec':{'type':'LoadBalancer','loadBalancerIP':'x'}}",
     "spec.loadBalancerIP", false},
    {"{'metadata':{'name':'a'},'spec':{'loadBalancerIP':'not for us'}}", NULL, false},
    {"{'metadata':{'name':'a'},'status':{'loadBalancer':{'ingress':[{'ip':'x'}]}}}",
     "status.loadBalancer.ingress[].ip", false},
    {"{'metadata':{'name':'a','annotations':{'ipcontroller.ext/address':'ours, never refused'}}}",
     NULL, false},
    {"{'metadata':{}}", "metadata.name", true},
    {"{'metadata':{'name':7}}", "metadata.name", true},
    {"{}", "metadata.name", true},
    {"[]", "metadata.name", true},
    {"null", "metadata.name", true},
    {"{'metadata':{'name':'a'},'spec':[],'status':7}", NULL, false},
    {"{'metadata':{'name':'a','annotations':[]},'spec':{'externalIPs':{},'ports':{}}}",
     "metadata.annotations", false},
    {"{'metadata':{'name':'a'},'spec':{'ports':[{'port':'http'}]}}", "spec.ports[].port", false},
    {"{'metadata':{'name':'a'},'spec':{'ports':[{'port':65536}]}}", "spec.ports[].port", false},
};

static void refuses_only_what_a_request_got_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        const struct refusal *refusal = &refusals[i];
        for (int strict = 0; strict < 2; strict++) {
            struct service *service = NULL;
            struct error error = {0};
            bool expected = refusal->text != NULL && (strict || refusal->lenient_too);
            int result = decode(Q(refusal->json), "default", strict, &service, &error);
            if ((result == -EINVAL) != expected)
                fail_msg("%s: %d %s", refusal->json, result, error.text);
            if (expected)
                assert_non_null(strstr(error.text, refusal->text));
            service_free(service);
        }
    }
}

static void needs_a_namespace_from_somewhere(void **state)
{
    (void)state;
    struct service *service = NULL;
    struct error error = {0};
    assert_int_equal(decode(Q("{'metadata':{'name':'a'}}"), NULL, true, &service, &error), -EINVAL);
    assert_non_null(strstr(error.text, "metadata.namespace"));
    assert_int_equal(decode(Q("{'metadata':{'name':'a'}}"), "there", true, &service, &error), 0);
    assert_string_equal(service->key, "there/a");
    service_free(service);
    assert_int_equal(
        decode(Q("{'metadata':{'name':'a','namespace':'here'}}"), "there", true, &service, &error),
        0);
    assert_string_equal(service->key, "here/a");
    service_free(service);
}

/* "192.0.2.0","192.0.2.1",... */
static void append_addresses(char *text, size_t size, int count)
{
    size_t length = strlen(text);
    for (int i = 0; i < count; i++)
        length +=
            (size_t)snprintf(text + length, size - length, "%s'192.0.2.%d'", i > 0 ? "," : "", i);
}

static void takes_so_many_addresses_and_no_more(void **state)
{
    (void)state;
    for (int more = 0; more < 2; more++) {
        char text[4096] = "{'metadata':{'name':'a'},'spec':{'externalIPs':[";
        struct service *service = NULL;
        struct error error = {0};
        append_addresses(text, sizeof(text), SERVICE_ADDRESSES_MOST + more);
        strncat(text, "]}}", sizeof(text) - strlen(text) - 1);
        assert_int_equal(decode(Q(text), "default", true, &service, &error), more ? -EINVAL : 0);
        if (more)
            assert_non_null(strstr(error.text, "more than 64"));
        else
            service_free(service);
        assert_int_equal(decode(Q(text), "default", false, &service, &error), 0);
        assert_int_equal(service->external.count, SERVICE_ADDRESSES_MOST);
        service_free(service);
    }
}

/* A list of as many of the longest addresses as a Service may have is text that can be read again. */
static void the_longest_annotation_fits(void **state)
{
    (void)state;
    struct service_addresses list = {0};
    struct address address = fixture_address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:0");
    for (int i = 0; i < SERVICE_ADDRESSES_MOST; i++) {
        assert_int_equal(service_addresses_add(&list, &address), 0);
        assert_true(address_add(&address, 1, &address));
    }
    char text[SERVICE_ADDRESSES_TEXT_SIZE];
    char json[QUOTES_SIZE];
    service_addresses_format(&list, text);
    snprintf(json, sizeof(json),
             "{'metadata':{'name':'a','annotations':{'ipcontroller.ext/address':'%s'}}}", text);
    _cleanup_service_ struct service *service = fixture_service(Q(json), true);
    assert_true(service_addresses_equal(&service->assigned, &list));
    free(list.items);
}

/* --- small functions --- */

static void address_lists_are_sets(void **state)
{
    (void)state;
    struct service_addresses one = {0};
    struct service_addresses two = {0};
    struct address a = fixture_address("192.0.2.1");
    struct address b = fixture_address("2001:db8::1");
    assert_true(service_addresses_equal(&one, &two));
    assert_int_equal(service_addresses_add(&one, &a), 0);
    assert_int_equal(service_addresses_add(&one, &b), 0);
    assert_int_equal(service_addresses_add(&one, &a), 0);
    assert_int_equal(one.count, 2);
    assert_int_equal(service_addresses_add(&two, &b), 0);
    assert_false(service_addresses_equal(&one, &two));
    assert_int_equal(service_addresses_add(&two, &a), 0);
    assert_true(service_addresses_equal(&one, &two));
    assert_addresses(&one, "192.0.2.1,2001:db8::1");
    free(one.items);
    free(two.items);
}

static void lists_in_three_places(void **state)
{
    (void)state;
    _cleanup_service_ struct service *service = fixture_service(Q(full), false);
    static const struct {
        const char *address;
        bool listed;
        bool with_annotation;
    } cases[] = {
        {"192.0.2.5", true, true},   {"192.0.2.6", true, true},    {"192.0.2.9", false, true},
        {"192.0.2.1", false, false}, {"192.0.2.77", false, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct address address = fixture_address(cases[i].address);
        assert_int_equal(service_lists(service, &address, false), cases[i].listed);
        assert_int_equal(service_lists(service, &address, true), cases[i].with_annotation);
    }
}

static void ports_are_text_and_back(void **state)
{
    (void)state;
    static const char *const good[] = {"TCP/80", "UDP/53", "SCTP/65535", "TCP/0"};
    static const char *const bad[] = {"",          "TCP",
                                      "TCP/",      "tcp/80",
                                      "TCP/65536", "TCP/-1",
                                      "TCP/ 1",    "TCP/1 ",
                                      "TCP/0x50",  "HTTP/80",
                                      "TCPP/80",   "TCP/1/2",
                                      "/80",       "TCP/99999999999999999999"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct service_port port;
        char text[SERVICE_PORT_TEXT_SIZE];
        assert_true(service_port_parse(good[i], &port));
        service_port_format(&port, text);
        assert_string_equal(text, good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct service_port port;
        if (service_port_parse(bad[i], &port))
            fail_msg("taken: %s", bad[i]);
    }
}

static void ports_collide_by_number_and_protocol(void **state)
{
    (void)state;
    const struct service_port web[] = {{80, SERVICE_TCP}, {443, SERVICE_TCP}};
    const struct service_port again[] = {{443, SERVICE_TCP}, {80, SERVICE_TCP}, {80, SERVICE_TCP}};
    const struct service_port dns[] = {{53, SERVICE_UDP}, {80, SERVICE_UDP}};
    assert_ptr_equal(service_ports_collide(web, 2, again, 1), &web[1]);
    assert_null(service_ports_collide(web, 2, dns, 2));
    assert_null(service_ports_collide(web, 2, NULL, 0));
    assert_true(service_ports_equal(web, 2, again, 3));
    assert_false(service_ports_equal(web, 2, again, 1));
    assert_false(service_ports_equal(web, 1, again, 3));
    assert_false(service_ports_equal(web, 2, dns, 2));
    assert_true(service_ports_equal(NULL, 0, NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_field),
        cmocka_unit_test(a_copy_is_the_same_and_its_own),
        cmocka_unit_test(refuses_only_what_a_request_got_wrong),
        cmocka_unit_test(needs_a_namespace_from_somewhere),
        cmocka_unit_test(takes_so_many_addresses_and_no_more),
        cmocka_unit_test(the_longest_annotation_fits),
        cmocka_unit_test(address_lists_are_sets),
        cmocka_unit_test(lists_in_three_places),
        cmocka_unit_test(ports_are_text_and_back),
        cmocka_unit_test(ports_collide_by_number_and_protocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
