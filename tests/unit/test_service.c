/* Services as projections: what is read from which field and from no other, and the small functions over addresses and
 * ports. What a request is refused for is in test_service_request.c. */
#include "server/objects/service_inputs.h"
#include "tests/unit/single_quotes.h"
#include "tests/unit/state_fixture.h"

#include <stdio.h>

static const char full[] =
    "{'apiVersion':'v1','kind':'Service','metadata':{'namespace':'shop','name':'web','uid':'u-1',"
    "'resourceVersion':'42','creationTimestamp':'1970-01-01T00:00:10Z',"
    "'managedFields':[{'manager':'kubectl','fieldsV1':{'f:spec':{'f:externalIPs':{}}}}],"
    "'annotations':{'external-ip':'auto','ipcontroller.ext/pool':'blue',"
    "'ipcontroller.ext/addresses':'192.0.2.1 , 2001:DB8:0::1,192.0.2.1'}},"
    "'spec':{'type':'LoadBalancer','loadBalancerClass':'ipcontroller.ext/ipwarden',"
    "'ipFamilies':['IPv6','IPv4'],'ipFamilyPolicy':'PreferDualStack','loadBalancerIP':'192.0.2.77',"
    "'ports':[{'port':80},{'port':53,'protocol':'UDP'},{'port':9,'protocol':'SCTP'},"
    "{'port':65536},{'port':'http'}],'externalIPs':['192.0.2.5','192.0.2.5','2001:db8::5']},"
    "'status':{'loadBalancer':{'ingress':[{'ip':'192.0.2.6'},{'hostname':'a.example'}]},"
    "'conditions':[{'type':'Other','reason':'No'},{'type':'ipcontroller.ext/AddressAssigned',"
    "'status':'False','reason':'NoFreeAddress'}]}}";

static void assert_full(const struct service *service)
{
    assert_string_equal(service->meta.key, "shop/web");
    assert_string_equal(service->meta.namespace_name, "shop");
    assert_string_equal(service->meta.name, "web");
    assert_string_equal(service->meta.uid, "u-1");
    assert_string_equal(service->meta.resource_version, "42");
    assert_int_equal(service->meta.created, 10 * CLOCK_SECOND);
    assert_false(service->meta.deleting);
    assert_string_equal(service->pool, "blue");
    assert_string_equal(service->class_name, SERVICE_CLASS);
    assert_string_equal(service->condition_reason, "NoFreeAddress");
    assert_string_equal(service->condition_status,
                        Q("{'conditions':[{'type':'ipcontroller.ext/AddressAssigned',"
                          "'status':'False','reason':'NoFreeAddress'}]}"));
    assert_int_equal(service->type, SERVICE_LOAD_BALANCER);
    assert_int_equal(service->family_policy, SERVICE_FAMILY_PREFER_DUAL);
    assert_int_equal(service->families[0], ADDRESS_IPV6);
    assert_int_equal(service->families[1], ADDRESS_IPV4);
    assert_true(service->wants_auto);
    assert_true(service->external_managed);
    assert_int_equal(service->port_count, 3);
    assert_int_equal(service->ports[0].port, 80);
    assert_int_equal(service->ports[0].protocol, SERVICE_TCP);
    assert_int_equal(service->ports[1].port, 53);
    assert_int_equal(service->ports[1].protocol, SERVICE_UDP);
    assert_int_equal(service->ports[2].protocol, SERVICE_SCTP);
    fixture_assert_addresses(&service->external, "192.0.2.5,2001:db8::5");
    fixture_assert_addresses(&service->ingress, "192.0.2.6");
    fixture_assert_addresses(&service->requested, "192.0.2.1,2001:db8::1");
}

static void reads_every_field(void **state)
{
    (void)state;
    _cleanup_service_ struct service *service = fixture_service(Q(full));
    assert_full(service);
}

static void a_copy_is_the_same_and_its_own(void **state)
{
    (void)state;
    struct service *service = fixture_service(Q(full));
    _cleanup_service_ struct service *copy = service_copy(service);
    assert_non_null(copy);
    service_free(service); /* AddressSanitizer sees what is still shared */
    assert_full(copy);
    _cleanup_service_ struct service *small =
        fixture_service_request(Q("{'metadata':{'generateName':'a-'}}"));
    _cleanup_service_ struct service *second = service_copy(small);
    assert_string_equal(second->meta.name, "");
    assert_string_equal(second->meta.key, "default/");
    assert_null(second->ports);
    assert_null(second->condition_status);
}

/* --- what decides, and what doesn't --- */

static bool texts_equal(const char *left, const char *right)
{
    return left == right || (left != NULL && right != NULL && strcmp(left, right) == 0);
}

/* Whether the two want and have the same. */
static bool decides_the_same(const struct service *one, const struct service *two)
{
    return texts_equal(one->pool, two->pool) && texts_equal(one->class_name, two->class_name) &&
           one->type == two->type && one->headless == two->headless &&
           one->family_policy == two->family_policy &&
           memcmp(one->families, two->families, sizeof(one->families)) == 0 &&
           one->wants_auto == two->wants_auto && one->external_managed == two->external_managed &&
           service_ports_equal(one->ports, one->port_count, two->ports, two->port_count) &&
           service_addresses_equal(&one->external, &two->external) &&
           service_addresses_equal(&one->requested, &two->requested);
}

/* What a member of SERVICE_INPUTS is in the two Services that are compared. */
struct values {
    const char *base;
    const char *changed;
};

static const struct values values[SERVICE_INPUT_COUNT] = {
    [SERVICE_INPUT_AUTO] = {"'no'", "'auto'"},
    [SERVICE_INPUT_POOL] = {"'blue'", "'red'"},
    [SERVICE_INPUT_ADDRESSES] = {"''", "'192.0.2.1'"},
    [SERVICE_INPUT_EXTERNAL_IPS] = {"['192.0.2.5']", "['192.0.2.6']"},
    [SERVICE_INPUT_TYPE] = {"'LoadBalancer'", "'NodePort'"},
    [SERVICE_INPUT_CLASS] = {"'one'", "'other'"},
    [SERVICE_INPUT_LOAD_BALANCER_IP] = {"'192.0.2.7'", "'192.0.2.8'"},
    [SERVICE_INPUT_FAMILIES] = {"['IPv4']", "['IPv6']"},
    [SERVICE_INPUT_FAMILY_POLICY] = {"'SingleStack'", "'RequireDualStack'"},
    [SERVICE_INPUT_PORTS] = {"[{'port':80}]", "[{'port':81}]"},
};

static const struct {
    const char *parent;
    const char *member;
} inputs[SERVICE_INPUT_COUNT] = {
#define X(name, parent, member) {parent, member},
    SERVICE_INPUTS(X)
#undef X
};

/* A Service in which one input (SERVICE_INPUT_COUNT: none) is another than usual. Beside the inputs stands what is given. */
static struct service *service_of_inputs(enum service_input changed, const char *annotations,
                                         const char *spec, const char *after)
{
    char lists[2][2048] = {"", ""};
    char json[QUOTES_SIZE];
    for (unsigned int i = 0; i < SERVICE_INPUT_COUNT; i++) {
        char *list = lists[strcmp(inputs[i].parent, "spec") == 0];
        assert_non_null(values[i].base);
        snprintf(list + strlen(list), sizeof(lists[0]) - strlen(list), "'%s':%s,", inputs[i].member,
                 i == changed ? values[i].changed : values[i].base);
    }
    snprintf(json, sizeof(json),
             "{'metadata':{'namespace':'a','name':'b','annotations':{%s%s}},'spec':{%s%s}%s}",
             lists[0], annotations, lists[1], spec, after);
    return fixture_service(Q(json));
}

#define ANNOTATION "'x':'1'"
#define SPEC "'x':1"

static void every_input_decides(void **state)
{
    (void)state;
    _cleanup_service_ struct service *base =
        service_of_inputs(SERVICE_INPUT_COUNT, ANNOTATION, SPEC, "");
    for (unsigned int i = 0; i < SERVICE_INPUT_COUNT; i++) {
        _cleanup_service_ struct service *other = service_of_inputs(i, ANNOTATION, SPEC, "");
        if (decides_the_same(base, other))
            fail_msg("%s of %s changes nothing", inputs[i].member, inputs[i].parent);
    }
}

/* The webhooks aren't called when one of these changes, so nothing may depend on it. */
/* Who has an address isn't decided by it, where the address lives is. */
static void stays_on_the_node_when_it_says_so(void **state)
{
    (void)state;
    _cleanup_service_ struct service *local = fixture_service(
        Q("{'metadata':{'namespace':'a','name':'b'},'spec':{'externalTrafficPolicy':'Local'}}"));
    _cleanup_service_ struct service *copy = service_copy(local);
    assert_true(local->local && copy->local);
    _cleanup_service_ struct service *cluster = fixture_service(
        Q("{'metadata':{'namespace':'a','name':'b'},'spec':{'externalTrafficPolicy':'Cluster'}}"));
    assert_false(cluster->local);
}

static void nothing_else_decides(void **state)
{
    (void)state;
    static const struct {
        const char *annotations;
        const char *spec;
        const char *after;
    } cases[] = {
        {ANNOTATION, SPEC, ""},
        {"'ipcontroller.ext/address':'192.0.2.9'", SPEC, ""},
        {"'EXTERNAL-IP':'auto'", SPEC, ""},
        {"'ipcontroller.ext/family':'IPv6'", SPEC, ""},
        {"'metallb.universe.tf/loadBalancerIPs':'192.0.2.9'", SPEC, ""},
        {ANNOTATION, "'clusterIP':'10.0.0.1','clusterIPs':['10.0.0.1','fd00::1']", ""},
        {ANNOTATION, "'selector':{'app':'web'},'sessionAffinity':'ClientIP'", ""},
        {ANNOTATION, "'externalTrafficPolicy':'Local','healthCheckNodePort':30000", ""},
        {ANNOTATION, "'allocateLoadBalancerNodePorts':false", ""},
        {ANNOTATION, "'externalName':'a.example','publishNotReadyAddresses':true", ""},
        {ANNOTATION, "'external-ip':'auto','ipcontroller.ext/pool':'red'", ""},
        {ANNOTATION, SPEC, ",'externalIPs':['192.0.2.9'],'type':'NodePort'"},
        {ANNOTATION, SPEC, ",'status':{'externalIPs':['192.0.2.9'],'ports':[{'port':9}]}"},
    };
    _cleanup_service_ struct service *base =
        service_of_inputs(SERVICE_INPUT_COUNT, ANNOTATION, SPEC, "");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_service_ struct service *other = service_of_inputs(
            SERVICE_INPUT_COUNT, cases[i].annotations, cases[i].spec, cases[i].after);
        if (!decides_the_same(base, other))
            fail_msg("%s %s %s decides", cases[i].annotations, cases[i].spec, cases[i].after);
    }
}

/* --- who listed the addresses --- */

#define OWNS(manager) "{'manager':'" manager "','fieldsV1':{'f:spec':{'f:externalIPs':{}}}}"

static void another_manager_of_the_list_is_seen(void **state)
{
    (void)state;
    static const struct {
        const char *managed; /* metadata.managedFields */
        const char *external;
        bool expected;
    } cases[] = {
        {"[" OWNS("kubectl") "]", "['192.0.2.1']", true},
        {"[" OWNS("ipwarden") "]", "['192.0.2.1']", false},
        {"[" OWNS("ipwarden") "," OWNS("helm") "]", "['192.0.2.1']", true},
        {"[" OWNS("ipwarden-2") "]", "['192.0.2.1']", true},
        {"[{'manager':'helm','fieldsV1':{'f:spec':{'f:externalIPs':{'v:\\'192.0.2.1\\'':{}}}}}]",
         "['192.0.2.1']", true},
        {"[{'fieldsV1':{'f:spec':{'f:externalIPs':{}}}}]", "['192.0.2.1']", true},
        /* a manager of something else */
        {"[{'manager':'helm','fieldsV1':{'f:spec':{'f:ports':{},'f:type':{}}}}]", "['192.0.2.1']",
         false},
        {"[{'manager':'helm','fieldsV1':{'f:status':{'f:externalIPs':{}}}}]", "['192.0.2.1']",
         false},
        {"[{'manager':'helm','fieldsV1':{'f:externalIPs':{}}}]", "['192.0.2.1']", false},
        /* nothing is listed */
        {"[" OWNS("kubectl") "]", "[]", false},
        {"[" OWNS("kubectl") "]", "null", false},
        {"[" OWNS("kubectl") "]", "['nonsense']", false},
        /* nobody says */
        {"[]", "['192.0.2.1']", false},
        {"null", "['192.0.2.1']", false},
        {"{}", "['192.0.2.1']", false},
        {"[7,null,{},{'fieldsV1':[]},{'fieldsV1':{'f:spec':7}}]", "['192.0.2.1']", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char json[1024];
        snprintf(json, sizeof(json),
                 "{'metadata':{'namespace':'a','name':'b','managedFields':%s},"
                 "'spec':{'externalIPs':%s}}",
                 cases[i].managed, cases[i].external);
        _cleanup_service_ struct service *service = fixture_service(Q(json));
        if (service->external_managed != cases[i].expected)
            fail_msg("%s %s", cases[i].managed, cases[i].external);
    }
}

/* --- our condition --- */

#define OURS "'type':'ipcontroller.ext/AddressAssigned'"

static void finds_our_condition(void **state)
{
    (void)state;
    static const struct {
        const char *conditions;
        const char *status; /* expected; NULL: none */
        const char *reason;
    } cases[] = {
        {"[]", NULL, NULL},
        {"null", NULL, NULL},
        {"{}", NULL, NULL},
        {"[7,null,[],{}]", NULL, NULL},
        {"[{'type':'Other','reason':'No'}]", NULL, NULL},
        {"[{" OURS "}]", "{'conditions':[{" OURS "}]}", NULL},
        {"[{" OURS ",'reason':''}]", "{'conditions':[{" OURS ",'reason':''}]}", NULL},
        {"[{'type':'Other'},{" OURS ",'reason':'A'},{'type':'More'}]",
         "{'conditions':[{" OURS ",'reason':'A'}]}", "A"},
        /* as it is stored, to the letter */
        {"[ { " OURS " , 'reason' : 'A\\u00fc' } ]",
         "{'conditions':[{ " OURS " , 'reason' : 'A\\u00fc' }]}", "A\xC3\xBC"},
        /* the first of two */
        {"[{" OURS ",'reason':'A'},{" OURS ",'reason':'B'}]",
         "{'conditions':[{" OURS ",'reason':'A'}]}", "A"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char json[1024];
        snprintf(json, sizeof(json),
                 "{'metadata':{'namespace':'a','name':'b'},'status':{'conditions':%s}}",
                 cases[i].conditions);
        _cleanup_service_ struct service *service = fixture_service(Q(json));
        const char *status = cases[i].status != NULL ? Q(cases[i].status) : NULL;
        if (!texts_equal(service->condition_status, status) ||
            !texts_equal(service->condition_reason, cases[i].reason))
            fail_msg("%s: %s", cases[i].conditions, service->condition_status);
    }
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
    assert_true(service_addresses_have_family(&one, ADDRESS_IPV4));
    assert_false(service_addresses_have_family(&one, ADDRESS_IPV6));
    assert_int_equal(service_addresses_add(&one, &b), 0);
    assert_int_equal(service_addresses_add(&one, &a), 0);
    assert_int_equal(one.count, 2);
    assert_int_equal(service_addresses_add(&two, &b), 0);
    assert_false(service_addresses_equal(&one, &two));
    assert_int_equal(service_addresses_add(&two, &a), 0);
    assert_true(service_addresses_equal(&one, &two));
    fixture_assert_addresses(&one, "192.0.2.1,2001:db8::1");
    free(one.items);
    free(two.items);
}

static void lists_in_two_places(void **state)
{
    (void)state;
    _cleanup_service_ struct service *service = fixture_service(Q(full));
    static const struct {
        const char *address;
        bool listed;
    } cases[] = {
        {"192.0.2.5", true},  {"2001:db8::5", true}, {"192.0.2.6", true},
        {"192.0.2.1", false}, {"192.0.2.77", false}, {"2001:db8::1", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct address address = fixture_address(cases[i].address);
        assert_int_equal(service_lists(service, &address), cases[i].listed);
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
    assert_true(service_ports_cover(web, 2, again, 1));
    assert_true(service_ports_cover(web, 2, NULL, 0));
    assert_false(service_ports_cover(again, 1, web, 2));
    assert_false(service_ports_cover(NULL, 0, web, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_field),
        cmocka_unit_test(a_copy_is_the_same_and_its_own),
        cmocka_unit_test(every_input_decides),
        cmocka_unit_test(stays_on_the_node_when_it_says_so),
        cmocka_unit_test(nothing_else_decides),
        cmocka_unit_test(another_manager_of_the_list_is_seen),
        cmocka_unit_test(finds_our_condition),
        cmocka_unit_test(address_lists_are_sets),
        cmocka_unit_test(lists_in_two_places),
        cmocka_unit_test(ports_are_text_and_back),
        cmocka_unit_test(ports_collide_by_number_and_protocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
