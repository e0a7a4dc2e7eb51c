/* The JSON Patch of a Service: exactly what has to change, in the two places that are ours. */
#include "server/admission/patch.h"
#include "tests/unit/single_quotes.h"
#include "tests/unit/state_fixture.h"

#include <stdio.h>

struct patch_case {
    const char *external; /* of the plan; addresses joined by commas */
    const char *assigned;
    const char *service; /* metadata without name, and what follows */
    struct patch_shape shape;
    const char *patch; /* expected; "" none */
};

#define ANNOTATION "/metadata/annotations/ipcontroller.ext~1address"

static const struct patch_case cases[] = {
    {"", "", "'a':1}", {0}, ""},
    {"192.0.2.1",
     "192.0.2.1",
     "'a':1}",
     {0},
     "[{'op':'add','path':'/metadata/annotations','value':{}},"
     "{'op':'add','path':'" ANNOTATION "','value':'192.0.2.1'},"
     "{'op':'add','path':'/spec/externalIPs','value':['192.0.2.1']}]"},
    {"",
     "192.0.2.1,2001:db8::1",
     "'annotations':{'x':'y'}}",
     {.has_annotations = true},
     "[{'op':'add','path':'" ANNOTATION "','value':'192.0.2.1,2001:db8::1'}]"},
    /* as it is already, in any order */
    {"192.0.2.1,2001:db8::1",
     "2001:db8::1,192.0.2.1",
     "'annotations':{'ipcontroller.ext/address':'192.0.2.1,2001:db8::1'}},"
     "'spec':{'externalIPs':['2001:db8::1','192.0.2.1']}",
     {.has_annotations = true, .has_assigned = true, .has_external = true},
     ""},
    /* an edit that left the address out */
    {"192.0.2.1",
     "192.0.2.1",
     "'annotations':{'ipcontroller.ext/address':'192.0.2.1'}},'spec':{'ports':[]}",
     {.has_annotations = true, .has_assigned = true},
     "[{'op':'add','path':'/spec/externalIPs','value':['192.0.2.1']}]"},
    /* wanted no more */
    {"",
     "",
     "'annotations':{'ipcontroller.ext/address':'192.0.2.1'}},'spec':{'externalIPs':['192.0.2.1']}",
     {.has_annotations = true, .has_assigned = true, .has_external = true},
     "[{'op':'remove','path':'" ANNOTATION "'},{'op':'remove','path':'/spec/externalIPs'}]"},
    /* one of two goes */
    {"192.0.2.9",
     "",
     "'a':1},'spec':{'externalIPs':['192.0.2.9','192.0.2.1']}",
     {.has_external = true},
     "[{'op':'add','path':'/spec/externalIPs','value':['192.0.2.9']}]"},
    /* rubbish in the annotation is put right or taken out */
    {"",
     "192.0.2.1",
     "'annotations':{'ipcontroller.ext/address':'rubbish'}}",
     {.has_annotations = true, .has_assigned = true},
     "[{'op':'add','path':'" ANNOTATION "','value':'192.0.2.1'}]"},
    {"",
     "",
     "'annotations':{'ipcontroller.ext/address':''}}",
     {.has_annotations = true, .has_assigned = true},
     "[{'op':'remove','path':'" ANNOTATION "'}]"},
};

static void parse_list(const char *text, struct service_addresses *ret_list)
{
    *ret_list = (struct service_addresses){0};
    while (*text != '\0') {
        struct address address;
        size_t length = strcspn(text, ",");
        assert_int_equal(address_parse_bytes(text, length, &address, NULL), 0);
        assert_int_equal(service_addresses_add(ret_list, &address), 0);
        text += length + (text[length] == ',');
    }
}

static void says_what_has_to_change(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char json[QUOTES_SIZE];
        struct policy_plan plan = {0};
        _cleanup_buffer_ struct buffer patch;
        snprintf(json, sizeof(json), "{'metadata':{'name':'web',%s}", cases[i].service);
        _cleanup_service_ struct service *service = fixture_service(Q(json), true);
        parse_list(cases[i].external, &plan.external);
        parse_list(cases[i].assigned, &plan.assigned);
        buffer_init(&patch, 4096);
        patch_service(&patch, &plan, service, &cases[i].shape);
        assert_false(buffer_failed(&patch));
        if (strcmp(patch.length > 0 ? patch.data : "", Q(cases[i].patch)) != 0)
            fail_msg("case %zu: %s", i, patch.data);
        policy_plan_clear(&plan);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_has_to_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
