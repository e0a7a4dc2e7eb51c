/* Services of requests and stored ones: what a request is refused for and a stored object isn't, and what an edit may leave as
 * it was. */
#include "tests/unit/single_quotes.h"
#include "tests/unit/state_fixture.h"

#include <errno.h>
#include <stdio.h>

/* A stored object, or a request in place of old (may be NULL). */
static int decode(const char *json, bool strict, const char *old, struct service **ret_service,
                  struct error *error)
{
    struct json_view view;
    char both[2 * QUOTES_SIZE];
    snprintf(both, sizeof(both), "{\"object\":%s,\"old\":%s}", json, old != NULL ? old : "null");
    json_view_init(&view);
    assert_int_equal(json_view_parse(&view, both, strlen(both), JSON_VIEW_DEPTH, error), 0);
    const struct json_node *object = json_view_member(&view, json_view_root(&view), "object");
    const struct json_node *before =
        old != NULL ? json_view_member(&view, json_view_root(&view), "old") : NULL;
    int result = strict
                     ? service_decode_request(&view, object, before, "default", ret_service, error)
                     : service_decode(&view, object, ret_service, error);
    json_view_clear(&view);
    return result;
}

struct refusal {
    const char *object; /* beside namespace and name */
    const char *text;   /* part of what a request is told; NULL: it is taken */
};

#define META "'metadata':{'namespace':'a','name':'b'}"
#define ANNOTATED(annotations)                                                                     \
    "'metadata':{'namespace':'a','name':'b','annotations':" annotations "}"

static const struct refusal refusals[] = {
    {META ",'spec':{'externalIPs':['10.0.0.256']}", "spec.externalIPs: "},
    {META ",'spec':{'externalIPs':['10.0.0.01']}", "spec.externalIPs: "},
    {META ",'spec':{'externalIPs':['']}", "spec.externalIPs: "},
    {META ",'spec':{'externalIPs':[7]}", "spec.externalIPs: "},
    {META ",'spec':{'externalIPs':['10.0.0.1',null]}", "spec.externalIPs: "},
    {META ",'spec':{'externalIPs':['10.0.0.1','::1']}", NULL},
    {ANNOTATED("{'ipcontroller.ext/addresses':'10.0.0.1,x'}"),
     "metadata.annotations[ipcontroller.ext/addresses]: "},
    {ANNOTATED("{'ipcontroller.ext/addresses':' , ,'}"), NULL},
    {ANNOTATED("{'ipcontroller.ext/address':'of the older version, never read'}"), NULL},
    {ANNOTATED("[]"), "metadata.annotations: "},
    {ANNOTATED("null"), NULL},
    {META ",'spec':{'type':'LoadBalancer','loadBalancerIP':'x'}", "spec.loadBalancerIP: "},
    {META ",'spec':{'type':'LoadBalancer','loadBalancerIP':''}", NULL},
    {META ",'spec':{'loadBalancerIP':'not for us'}", NULL},
    {META ",'status':{'loadBalancer':{'ingress':[{'ip':'x'}]}}",
     "status.loadBalancer.ingress[].ip: "},
    {META ",'status':{'loadBalancer':{'ingress':[{'ip':7}]}}",
     "status.loadBalancer.ingress[].ip: "},
    {META ",'status':{'loadBalancer':{'ingress':[{'ip':''},{'ip':null},{},7]}}", NULL},
    {META ",'spec':{'ports':[{'port':'http'}]}", "spec.ports[].port: "},
    {META ",'spec':{'ports':[{'port':65536}]}", "spec.ports[].port: "},
    {META ",'spec':{'ports':[{'port':-1}]}", "spec.ports[].port: "},
    {META ",'spec':{'ports':[{}]}", "spec.ports[].port: "},
    {META ",'spec':{'externalIPs':{},'ports':{}}", NULL},
    {META ",'status':7", NULL},
};

static void refuses_only_what_a_request_got_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        char json[1024];
        snprintf(json, sizeof(json), "{%s}", refusals[i].object);
        for (int strict = 0; strict < 2; strict++) {
            struct service *service = NULL;
            struct error error = {0};
            bool refused = strict && refusals[i].text != NULL;
            int result = decode(Q(json), strict, NULL, &service, &error);
            if (result != (refused ? -EINVAL : 0))
                fail_msg("%s: %d %s", refusals[i].object, result, error.text);
            if (refused && strstr(error.text, refusals[i].text) == NULL)
                fail_msg("%s: %s", refusals[i].object, error.text);
            assert_true((service == NULL) == refused);
            service_free(service);
        }
    }
}

/* What the old object says in the same field, to the letter, was no fault of this edit: it is read as kube-proxy reads it. */
struct edit {
    const char *object;
    const char *old;
    const char *text; /* part of what the request is told; NULL: it is taken */
    const char *external;
    const char *ingress;
    const char *requested;
};

#define EXTERNAL(list) META ",'spec':{'externalIPs':[" list "]}"
#define ADDRESSES(text) ANNOTATED("{'ipcontroller.ext/addresses':'" text "'}")
#define BALANCER(ip) META ",'spec':{'type':'LoadBalancer','loadBalancerIP':'" ip "'}"
#define INGRESS(list) META ",'status':{'loadBalancer':{'ingress':[" list "]}}"

static const struct edit edits[] = {
    {EXTERNAL("'010.0.0.1','10.0.0.2'"), EXTERNAL("'010.0.0.1'"), NULL, "10.0.0.1,10.0.0.2", "",
     ""},
    {EXTERNAL("'10.0.0.2','010.0.0.1'"), EXTERNAL("'010.0.0.1','x'"), NULL, "10.0.0.2,10.0.0.1", "",
     ""},
    {EXTERNAL("'\\u0030\\u00310.0.0.1'"), EXTERNAL("'010.0.0.1'"), NULL, "10.0.0.1", "", ""},
    {EXTERNAL("7"), EXTERNAL("7"), NULL, "", "", ""},
    {EXTERNAL("'010.0.0.1'"), EXTERNAL("'010.0.0.2'"), "spec.externalIPs: ", "", "", ""},
    {EXTERNAL("'010.0.0.1'"), EXTERNAL("'10.0.0.1'"), "spec.externalIPs: ", "", "", ""},
    {EXTERNAL("'010.0.0.1','011.0.0.1'"), EXTERNAL("'010.0.0.1'"), "spec.externalIPs: ", "", "",
     ""},
    {EXTERNAL("'010.0.0.1'"), META, "spec.externalIPs: ", "", "", ""},
    {EXTERNAL("'010.0.0.1'"), INGRESS("'010.0.0.1'"), "spec.externalIPs: ", "", "", ""},
    {EXTERNAL("'010.0.0.1'"), META ",'spec':{'externalIPs':'010.0.0.1'}", "spec.externalIPs: ", "",
     "", ""},
    {ADDRESSES("10.0.0.1,x"), ADDRESSES("10.0.0.1,x"), NULL, "", "", "10.0.0.1"},
    {ADDRESSES("10.0.0.1,x"), ADDRESSES("x"), "[ipcontroller.ext/addresses]: ", "", "", ""},
    {ADDRESSES("10.0.0.1,x"), META, "[ipcontroller.ext/addresses]: ", "", "", ""},
    {BALANCER("x"), BALANCER("x"), NULL, "", "", ""},
    {BALANCER("x"), BALANCER("y"), "spec.loadBalancerIP: ", "", "", ""},
    {BALANCER("x"), ADDRESSES("x"), "spec.loadBalancerIP: ", "", "", ""},
    /* it didn't matter before, but it is no new text */
    {BALANCER("x"), META ",'spec':{'type':'ClusterIP','loadBalancerIP':'x'}", NULL, "", "", ""},
    {INGRESS("{'ip':'x'},{'ip':'10.0.0.3'}"), INGRESS("{'ip':'x'}"), NULL, "", "10.0.0.3", ""},
    {INGRESS("{'ip':'x','ipMode':'VIP'}"), INGRESS("{'ipMode':'VIP','ip':'x'}"), NULL, "", "", ""},
    {INGRESS("{'ip':'x'}"), INGRESS("{'ip':'y'}"), "ingress[].ip: ", "", "", ""},
    {INGRESS("{'ip':7}"), INGRESS("{'ip':7}"), NULL, "", "", ""},
    /* ports are numbers: the API server wouldn't have stored others */
    {META ",'spec':{'ports':[{'port':'http'}]}", META ",'spec':{'ports':[{'port':'http'}]}",
     "spec.ports[].port: ", "", "", ""},
};

static void what_was_there_stays_readable(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
        const struct edit *edit = &edits[i];
        char json[1024];
        char old[1024];
        struct error error = {0};
        struct service *service = NULL;
        snprintf(json, sizeof(json), "{%s}", edit->object);
        snprintf(old, sizeof(old), "{%s}", edit->old);
        int result = decode(Q(json), true, Q(old), &service, &error);
        if (result != (edit->text != NULL ? -EINVAL : 0))
            fail_msg("%s after %s: %d %s", edit->object, edit->old, result, error.text);
        if (edit->text != NULL) {
            if (strstr(error.text, edit->text) == NULL)
                fail_msg("%s after %s: %s", edit->object, edit->old, error.text);
            continue;
        }
        fixture_assert_addresses(&service->external, edit->external);
        fixture_assert_addresses(&service->ingress, edit->ingress);
        fixture_assert_addresses(&service->requested, edit->requested);
        service_free(service);
    }
}

static void ingress_is_read_by_its_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        const char *addresses;
    } cases[] = {
        {"", ""},
        {"{'ip':'192.0.2.1'}", "192.0.2.1"},
        {"{'ip':'192.0.2.1','ipMode':'VIP'},{'ip':'2001:db8::1'}", "192.0.2.1,2001:db8::1"},
        {"{'ip':'192.0.2.1'},{'ip':'192.0.2.1'}", "192.0.2.1"},
        {"{'hostname':'a.example'}", ""},
        {"{'ip':'192.0.2.1'},{'hostname':'a.example'}", "192.0.2.1"},
        {"{'ip':''},{'ip':7},{},null,7,'192.0.2.9',{'ip':'rubbish'},{'ip':'192.0.2.1'}",
         "192.0.2.1"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char json[512];
        snprintf(json, sizeof(json), "{" META ",'status':{'loadBalancer':{'ingress':[%s]}}}",
                 cases[i].list);
        _cleanup_service_ struct service *service = fixture_service(Q(json));
        fixture_assert_addresses(&service->ingress, cases[i].addresses);
    }
}

static void stored_objects_have_both_names(void **state)
{
    (void)state;
    static const struct {
        const char *object;
        const char *stored_text;  /* part of the refusal of a stored one; NULL: taken */
        const char *request_text; /* of a request that came without a namespace */
        const char *key;          /* of the request */
    } cases[] = {
        {"{'metadata':{'namespace':'here','name':'a'}}", NULL, NULL, "here/a"},
        {"{'metadata':{'name':'a'}}", "metadata.namespace", "metadata.namespace", "there/a"},
        {"{'metadata':{'namespace':'','name':'a'}}", "metadata.namespace", "metadata.namespace",
         "there/a"},
        {"{'metadata':{'namespace':'here'}}", "metadata.name:", NULL, "here/"},
        {"{'metadata':{'namespace':'here','generateName':'a-'}}", "metadata.name:", NULL, "here/"},
        {"{'metadata':{'namespace':'here','name':7}}", "metadata.name:", NULL, "here/"},
        {"{'metadata':{}}", "metadata.namespace", "metadata.namespace", "there/"},
        {"{}", "metadata.namespace", "metadata.namespace", "there/"},
        {"[]", "metadata.namespace", "metadata.namespace", "there/"},
        {"null", "metadata.namespace", "metadata.namespace", "there/"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *const texts[] = {cases[i].stored_text, cases[i].request_text, NULL};
        struct json_view view;
        const char *json = Q(cases[i].object);
        json_view_init(&view);
        assert_int_equal(json_view_parse(&view, json, strlen(json), JSON_VIEW_DEPTH, NULL), 0);
        for (int way = 0; way < 3; way++) {
            struct service *service = NULL;
            struct error error = {0};
            const struct json_node *root = json_view_root(&view);
            int result = way == 0
                             ? service_decode(&view, root, &service, &error)
                             : service_decode_request(&view, root, NULL, way == 1 ? NULL : "there",
                                                      &service, &error);
            if (result != (texts[way] != NULL ? -EINVAL : 0))
                fail_msg("%s, way %d: %d %s", cases[i].object, way, result, error.text);
            if (texts[way] != NULL)
                assert_non_null(strstr(error.text, texts[way]));
            if (way == 2)
                assert_string_equal(service->meta.key, cases[i].key);
            service_free(service);
        }
        json_view_clear(&view);
    }
}

static void text_that_is_no_json_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "{", "nonsense", "{} {}", "{'metadata':}"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct service *service = NULL;
        struct error error = {0};
        const char *text = Q(texts[i]);
        assert_true(service_decode_text(text, strlen(text), &service, &error) < 0);
        assert_int_not_equal(error.text[0], '\0');
        assert_null(service);
    }
}

/* A stored object has no depth that an answer could not have. */
static void deep_answers_are_read(void **state)
{
    (void)state;
    char json[QUOTES_SIZE];
    int deep = 900;
    size_t length = (size_t)snprintf(json, sizeof(json), "{" META ",'x':");
    for (int i = 0; i < deep; i++)
        json[length++] = '[';
    for (int i = 0; i < deep; i++)
        json[length++] = ']';
    snprintf(json + length, sizeof(json) - length, "}");
    _cleanup_service_ struct service *service = fixture_service(Q(json));
    assert_string_equal(service->meta.key, "a/b");
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
        char text[4096] = "{'metadata':{'namespace':'a','name':'a'},'spec':{'externalIPs':[";
        struct service *service = NULL;
        struct error error = {0};
        append_addresses(text, sizeof(text), SERVICE_ADDRESSES_MOST + more);
        strncat(text, "]}}", sizeof(text) - strlen(text) - 1);
        const char *json = Q(text);
        assert_int_equal(decode(json, true, NULL, &service, &error), more ? -EINVAL : 0);
        if (more)
            assert_non_null(strstr(error.text, "more than 64"));
        else
            service_free(service);
        /* What is stored already is read in full, and may come back. */
        assert_int_equal(decode(json, false, NULL, &service, &error), 0);
        assert_int_equal(service->external.count, SERVICE_ADDRESSES_MOST + more);
        service_free(service);
        assert_int_equal(decode(json, true, json, &service, &error), 0);
        assert_int_equal(service->external.count, SERVICE_ADDRESSES_MOST + more);
        service_free(service);
    }
}

/* A list of as many of the longest addresses as a Service may ask for can be read, and a longer text is refused. */
static void the_longest_annotation_fits(void **state)
{
    (void)state;
    char list[SERVICE_ADDRESSES_TEXT_SIZE + 128] = "";
    char json[QUOTES_SIZE];
    struct error error = {0};
    struct service *service = NULL;
    for (int i = 0; i < SERVICE_ADDRESSES_MOST; i++)
        snprintf(list + strlen(list), sizeof(list) - strlen(list),
                 "%sffff:ffff:ffff:ffff:ffff:ffff:ffff:%x", i > 0 ? "," : "", 0xff00 + i);
    snprintf(json, sizeof(json), "{" ADDRESSES("%s") "}", list);
    assert_int_equal(decode(Q(json), true, NULL, &service, &error), 0);
    assert_int_equal(service->requested.count, SERVICE_ADDRESSES_MOST);
    service_free(service);
    service = NULL;
    memset(list, ' ', sizeof(list));
    list[SERVICE_ADDRESSES_TEXT_SIZE] = '\0';
    snprintf(json, sizeof(json), "{" ADDRESSES("%s") "}", list);
    assert_int_equal(decode(Q(json), true, NULL, &service, &error), -EINVAL);
    assert_non_null(strstr(error.text, "too long"));
    assert_int_equal(decode(Q(json), true, Q(json), &service, &error), 0);
    assert_int_equal(service->requested.count, 0);
    service_free(service);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_only_what_a_request_got_wrong),
        cmocka_unit_test(what_was_there_stays_readable),
        cmocka_unit_test(ingress_is_read_by_its_addresses),
        cmocka_unit_test(stored_objects_have_both_names),
        cmocka_unit_test(text_that_is_no_json_is_refused),
        cmocka_unit_test(deep_answers_are_read),
        cmocka_unit_test(takes_so_many_addresses_and_no_more),
        cmocka_unit_test(the_longest_annotation_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
