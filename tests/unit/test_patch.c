/* The JSON Patch of a Service: exactly what has to change in spec.externalIPs, and nothing anywhere else. */
#include "server/admission/patch.h"
#include "tests/unit/single_quotes.h"
#include "tests/unit/state_fixture.h"

#include <stdio.h>

struct patch_case {
    const char *name;
    const char *external; /* of the plan; addresses joined by commas */
    const char *spec;     /* of the Service */
    bool has_external;    /* the object has the field, in whatever form */
    const char *patch;    /* expected; NULL: none */
};

#define ADD(addresses) "[{'op':'add','path':'/spec/externalIPs','value':[" addresses "]}]"
#define REMOVE "[{'op':'remove','path':'/spec/externalIPs'}]"

static const struct patch_case cases[] = {
    {"nothing wanted, nothing there", "", "{}", false, NULL},
    {"given", "192.0.2.1", "{'ports':[]}", false, ADD("'192.0.2.1'")},
    {"one of each family", "192.0.2.1,2001:db8::1", "{}", false, ADD("'192.0.2.1','2001:db8::1'")},
    {"as it is already", "192.0.2.1", "{'externalIPs':['192.0.2.1']}", true, NULL},
    {"as it is already, in another order", "192.0.2.1,2001:db8::1",
     "{'externalIPs':['2001:db8::1','192.0.2.1']}", true, NULL},
    {"as it is already, written otherwise", "2001:db8::1", "{'externalIPs':['2001:DB8:0::1']}",
     true, NULL},
    {"another one", "192.0.2.2", "{'externalIPs':['192.0.2.1']}", true, ADD("'192.0.2.2'")},
    {"one more", "192.0.2.1,192.0.2.2", "{'externalIPs':['192.0.2.1']}", true,
     ADD("'192.0.2.1','192.0.2.2'")},
    {"one of two goes", "192.0.2.9", "{'externalIPs':['192.0.2.9','192.0.2.1']}", true,
     ADD("'192.0.2.9'")},
    {"into an empty list", "192.0.2.1", "{'externalIPs':[]}", true, ADD("'192.0.2.1'")},
    {"wanted no more", "", "{'externalIPs':['192.0.2.1']}", true, REMOVE},
    {"an empty list stays", "", "{'externalIPs':[]}", true, NULL},
    {"null stays", "", "{'externalIPs':null}", true, NULL},
    {"what the request doesn't have can't be removed", "", "{'externalIPs':['192.0.2.1']}", false,
     NULL},
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
        snprintf(json, sizeof(json), "{'metadata':{'name':'web'},'spec':%s}", cases[i].spec);
        _cleanup_service_ struct service *service = fixture_service_request(Q(json));
        parse_list(cases[i].external, &plan.external);
        buffer_init(&patch, 4096);
        enum patch_result result = patch_service(&patch, &plan, service, cases[i].has_external);
        if (result != (cases[i].patch != NULL ? PATCH_WHOLE : PATCH_NONE))
            fail_msg("%s: result %d", cases[i].name, (int)result);
        if (strcmp(patch.length > 0 ? patch.data : "",
                   cases[i].patch != NULL ? Q(cases[i].patch) : "") != 0)
            fail_msg("%s: %s", cases[i].name, patch.data);
        policy_plan_clear(&plan);
    }
}

/* A patch that is cut off must not pass for one. */
static void a_patch_without_room_is_none(void **state)
{
    (void)state;
    struct policy_plan plan = {0};
    _cleanup_service_ struct service *service =
        fixture_service_request(Q("{'metadata':{'name':'web'}}"));
    parse_list("192.0.2.1", &plan.external);
    size_t whole = strlen(ADD("'192.0.2.1'"));
    for (size_t room = 1; room <= whole + 1; room++) {
        _cleanup_buffer_ struct buffer patch;
        buffer_init(&patch, room);
        enum patch_result result = patch_service(&patch, &plan, service, false);
        assert_true(result == PATCH_WHOLE || result == PATCH_FAILED);
        if ((result == PATCH_WHOLE) != !buffer_failed(&patch))
            fail_msg("room for %zu: %d", room, (int)result);
        if (result == PATCH_WHOLE)
            assert_string_equal(patch.data, Q(ADD("'192.0.2.1'")));
        else
            assert_true(room <= whole);
    }
    policy_plan_clear(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_has_to_change),
        cmocka_unit_test(a_patch_without_room_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
