/* The envelope: what comes in is what goes out, whole or not at all. */
#include "tests/unit/conversion_fixture.h"

#include <errno.h>

#define POOL(version, name)                                                                        \
    "{'apiVersion':'ipcontroller.ext/" version "','kind':'IpClaimPool','metadata':{'name':'" name  \
    "'},'spec':{'cidr':'10.0.0.0/24'}}"
#define NODE(version, name)                                                                        \
    "{'apiVersion':'ipcontroller.ext/" version "','kind':'IpNode','metadata':{'name':'" name "'}}"
#define REQUEST(name)                                                                              \
    "{'apiVersion':'ipam.mandelsoft.org/v1alpha1','kind':'IPAMRequest','metadata':{'namespace':"   \
    "'shop','name':'" name "'}}"

static void answer_to(const char *desired, const char *objects, struct answered *answered)
{
    char *review = make_review(desired, objects);
    answer_review(review, strlen(review), answered);
    free(review);
}

static void keeps_order_count_and_uid(void **state)
{
    (void)state;
    struct answered answered;
    size_t i = 0;
    static const char *const names[] = {"c", "a", "b"};
    answer_to("ipcontroller.ext/v2", Q(POOL("v1", "c") "," NODE("v2", "a") "," NODE("v1", "b")),
              &answered);
    assert_string_equal(answered.report.failed, "");
    assert_true(json_view_equals(
        &answered.view, json_view_member(&answered.view, answered.response, "uid"), "5-a"));
    assert_true(json_view_equals(
        &answered.view, json_view_path(&answered.view, answered.response, "result", "status", NULL),
        "Success"));
    assert_int_equal(json_view_count(answered.objects), COUNT(names));
    for (const struct json_node *item = json_view_first(&answered.view, answered.objects);
         item != NULL; item = json_view_after(&answered.view, answered.objects, item)) {
        assert_true(json_view_equals(&answered.view,
                                     json_view_member(&answered.view, item, "apiVersion"),
                                     "ipcontroller.ext/v2"));
        assert_true(json_view_equals(&answered.view,
                                     json_view_path(&answered.view, item, "metadata", "name", NULL),
                                     names[i++]));
    }
    answered_clear(&answered);
}

static void returns_what_is_right_already_as_it_is(void **state)
{
    (void)state;
    struct answered answered;
    size_t length;
    const char *object =
        Q("{ 'kind' : 'IpClaimPool', 'apiVersion':'ipcontroller.ext/v2',\n'metadata':"
          "{'name':'x','annotations':{'ipcontroller.ext/conversion-data':7}},"
          "'spec':{'priority':1.10,'priority':2}}");
    answer_to("ipcontroller.ext/v2", object, &answered);
    const char *raw =
        json_view_raw(&answered.view, json_view_first(&answered.view, answered.objects), &length);
    assert_int_equal(length, strlen(object));
    assert_memory_equal(raw, object, length);
    answered_clear(&answered);
}

static void answers_no_objects(void **state)
{
    (void)state;
    struct answered answered;
    answer_to("ipcontroller.ext/v2", "", &answered);
    assert_string_equal(answered.report.failed, "");
    assert_int_equal(json_view_count(answered.objects), 0);
    answered_clear(&answered);
}

static void fails_as_a_whole_and_says_why(void **state)
{
    (void)state;
    static const struct {
        const char *desired;
        const char *objects;
        const char *reason;
    } cases[] = {
        {"ipcontroller.ext/v3", NODE("v1", "a"),
         "IpNode a: IpNode has no version \"ipcontroller.ext/v3\""},
        {"ipcontroller.ext/v2", NODE("v1", "a") "," NODE("v7", "b"),
         "IpNode b: ipwarden converts no kind \"IpNode\" of \"ipcontroller.ext/v7\""},
        {"ipcontroller.ext/v2", NODE("v1", "a") "," REQUEST("n"),
         "IPAMRequest shop/n: IPAMRequest has no version \"ipcontroller.ext/v2\""},
        {"ipcontroller.ext/v2", NODE("v1", "a") ",{'apiVersion':'v1','kind':'Pod','metadata':{}}",
         "Pod : ipwarden converts no kind \"Pod\" of \"v1\""},
        {"ipcontroller.ext/v2", "7", " : ipwarden converts no kind \"\" of \"\""},
        {"ipcontroller.ext/v2", "null", " : ipwarden converts no kind \"\" of \"\""},
        {"ipcontroller.ext/v2", "{'apiVersion':'ipcontroller.ext/v1','kind':'IpNode'}",
         "IpNode : metadata: missing"},
        {"ipcontroller.ext/v2",
         "{'apiVersion':'ipcontroller.ext/v1','kind':'IpNode','metadata':{'name':'a','labels':{"
         "'ipcontroller.ext/conversion-data':'too-large'}}}",
         "IpNode a: has more in version v2 than version v1 can carry: edit it in version v2"},
        {"", NODE("v1", "a"), "request.desiredAPIVersion: missing"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct answered answered;
        answer_to(cases[i].desired, Q(cases[i].objects), &answered);
        assert_string_equal(answered.report.failed, cases[i].reason);
        assert_null(answered.objects);
        assert_true(json_view_equals(
            &answered.view,
            json_view_path(&answered.view, answered.response, "result", "status", NULL), "Failed"));
        assert_true(json_view_equals(
            &answered.view,
            json_view_path(&answered.view, answered.response, "result", "message", NULL),
            cases[i].reason));
        answered_clear(&answered);
    }
}

static void has_no_answer_for_what_is_no_review(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "7",
        "{'kind':'ConversionReview','apiVersion':'apiextensions.k8s.io/v1'}",
        ("{'kind':'ConversionReview','apiVersion':'apiextensions.k8s.io/v1beta1',"
         "'request':{'uid':'1'}}"),
        "{'kind':'AdmissionReview','apiVersion':'apiextensions.k8s.io/v1','request':{'uid':'1'}}",
        "{'kind':'ConversionReview','apiVersion':'apiextensions.k8s.io/v1','request':{'uid':''}}",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct buffer answer;
        struct conversion_report report;
        struct error error;
        const char *text = Q(texts[i]);
        buffer_init(&answer, ANSWER_MOST);
        assert_int_equal(conversion_review_answer(text, strlen(text), &answer, &report, &error),
                         -EINVAL);
        buffer_clear(&answer);
    }
}

static void fails_when_the_list_is_none(void **state)
{
    (void)state;
    struct answered answered;
    const char *review =
        Q("{'kind':'ConversionReview','apiVersion':'apiextensions.k8s.io/v1','request':"
          "{'uid':'1','desiredAPIVersion':'ipcontroller.ext/v2','objects':{}}}");
    answer_review(review, strlen(review), &answered);
    assert_string_equal(answered.report.failed, "request.objects: not a list");
    answered_clear(&answered);
}

/* --- metadata --- */

static void touches_nothing_else_of_metadata(void **state)
{
    (void)state;
    static const struct pair pairs[] = {
        {{.body = "'spec':{'cidr':'10.0.0.0/24'}",
          .metadata = "'uid':'u','resourceVersion':'12345678901234567890','generation':1.0,"
                      "'creationTimestamp':null,'labels':{'a':'b','c':''},'finalizers':['x/y'],"
                      "'managedFields':[{'manager':'m','fieldsV1':{'f:spec':{'f:cidr':{}}}}],"
                      "'selfLink':'\\u0041\\n'"},
         {.body = "'spec':{'addresses':['10.0.0.0/24']}",
          .metadata = "'uid':'u','resourceVersion':'12345678901234567890','generation':1.0,"
                      "'creationTimestamp':null,'labels':{'a':'b','c':''},'finalizers':['x/y'],"
                      "'managedFields':[{'manager':'m','fieldsV1':{'f:spec':{'f:cidr':{}}}}],"
                      "'selfLink':'\\u0041\\n'"}},
        {{.body = "'spec':{'cidr':'10.0.0.0/24'}", .metadata = "'labels':7,'annotations':[]"},
         {.body = "'spec':{'addresses':['10.0.0.0/24']}",
          .metadata = "'labels':7,'annotations':[]"}},
        {{.body = "'spec':{'cidr':'10.0.0.0/24'}", .metadata = "'annotations':{'a':'b'}"},
         {.body = "'spec':{'addresses':['10.0.0.0/24']}", .metadata = "'annotations':{'a':'b'}"}},
    };
    check_pairs(&conversion_pool, pairs, COUNT(pairs));
}

static void ignores_damaged_data(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        bool damaged;
    } cases[] = {
        {"7", true},
        {"null", true},
        {"''", true},
        {"'{'", true},
        {"'[]'", true},
        {"'7'", true},
        {"'{\\'v2\\':7}'", true},
        {"'{\\'v2\\':{\\'spec\\':7,\\'status\\':[],\\'metadata.labels\\':1}}'", false},
        {"'{\\'v1\\':{\\'spec\\':{}}}'", false},
        {"'{}'", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct answered answered;
        char object[1024];
        snprintf(object, sizeof(object),
                 "{'apiVersion':'ipcontroller.ext/v1','kind':'IpClaimPool','metadata':{'name':'p',"
                 "'annotations':{'ipcontroller.ext/conversion-data':%s}},'spec':{'cidr':"
                 "'10.0.0.0/24'}}",
                 cases[i].value);
        answer_to("ipcontroller.ext/v2", Q(object), &answered);
        assert_string_equal(answered.report.failed, "");
        assert_int_equal(answered.report.damaged, cases[i].damaged);
        assert_string_equal(answered.report.first, cases[i].damaged ? "IpClaimPool p" : "");
        size_t length;
        const char *raw = json_view_raw(&answered.view,
                                        json_view_first(&answered.view, answered.objects), &length);
        char *copy = strndup(raw, length);
        assert_same_json(copy,
                         Q("{'apiVersion':'ipcontroller.ext/v2','kind':'IpClaimPool','metadata':"
                           "{'name':'p'},'spec':{'addresses':['10.0.0.0/24']}}"));
        free(copy);
        answered_clear(&answered);
    }
}

/* An object with an annotation of that many bytes, and what the other version lacks. */
static char *with_annotation(const char *version, const char *spec, size_t bytes)
{
    struct buffer text;
    buffer_init(&text, ANSWER_MOST);
    buffer_printf(&text,
                  "{\"apiVersion\":\"ipcontroller.ext/%s\",\"kind\":\"IpClaimPool\",\"metadata\":{"
                  "\"name\":\"p\",\"annotations\":{\"note\":\"",
                  version);
    for (size_t i = 0; i < bytes; i++)
        buffer_append_char(&text, 'x');
    buffer_printf(&text, "\"}},\"spec\":%s}", Q(spec));
    return buffer_steal(&text, NULL);
}

static const struct json_node *find(const struct answered *answered, const char *map)
{
    return json_view_member(&answered->view,
                            json_view_path(&answered->view,
                                           json_view_first(&answered->view, answered->objects),
                                           "metadata", map, NULL),
                            "ipcontroller.ext/conversion-data");
}

static void marks_what_has_no_room(void **state)
{
    (void)state;
    static const struct {
        const char *from;
        const char *to;
        const char *spec;
        size_t bytes;
        bool annotated;
        bool marked;
        bool dropped;
    } cases[] = {
        {"v2", "v1", "{'addresses':['10.0.0.0/24'],'priority':1}", 262000, true, false, false},
        {"v2", "v1", "{'addresses':['10.0.0.0/24'],'priority':1}", 262140, false, true, false},
        {"v2", "v1", "{'addresses':['10.0.0.0/24']}", 262140, false, false, false},
        {"v1", "v2", "{'cidr':'10.0.0.0/24','ranges':[['10.0.0.1','10.0.0.9']]}", 262140, false,
         false, true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct answered answered;
        char desired[64];
        snprintf(desired, sizeof(desired), "ipcontroller.ext/%s", cases[i].to);
        char *object = with_annotation(cases[i].from, cases[i].spec, cases[i].bytes);
        answer_to(desired, object, &answered);
        assert_int_equal(find(&answered, "annotations") != NULL, cases[i].annotated);
        assert_int_equal(find(&answered, "labels") != NULL, cases[i].marked);
        assert_int_equal(answered.report.dropped, cases[i].dropped);
        free(object);
        answered_clear(&answered);
    }
}

/* --- size --- */

static void converts_ten_thousand_objects(void **state)
{
    (void)state;
    struct answered answered;
    struct buffer objects;
    buffer_init(&objects, ANSWER_MOST);
    for (int i = 0; i < 10000; i++)
        buffer_printf(&objects, "%s%s", i > 0 ? "," : "",
                      Q(i % 2 > 0 ? POOL("v1", "a") : NODE("v1", "b")));
    answer_to("ipcontroller.ext/v2", objects.data, &answered);
    assert_int_equal(json_view_count(answered.objects), 10000);
    assert_int_equal(answered.report.objects, 10000);
    buffer_clear(&objects);
    answered_clear(&answered);
}

static void converts_an_object_of_three_mebibytes(void **state)
{
    (void)state;
    struct buffer object;
    buffer_init(&object, ANSWER_MOST);
    buffer_append_string(&object,
                         Q("{'apiVersion':'ipcontroller.ext/v1','kind':'IpClaimPool','metadata'"
                           ":{'name':'p'},'spec':{'cidr':'10.0.0.0/8','allocated':{'':''"));
    for (int i = 0; object.length < 2U * 1024 * 1024; i++)
        buffer_printf(&object, ",\"10.0.%d.%d\":\"10-0-%d-%d-8\"", i >> 8, i & 255, i >> 8,
                      i & 255);
    buffer_append_string(&object, Q("},'ranges':[['10.0.0.1','10.0.0.1']"));
    for (int i = 2; object.length < 3U * 1024 * 1024; i++)
        buffer_printf(&object, ",[\"10.%d.%d.1\",\"10.%d.%d.9\"]", i >> 8, i & 255, i >> 8,
                      i & 255);
    buffer_append_string(&object, "]}}");
    char *there = convert(&conversion_pool, CONVERSION_CURRENT, object.data);
    char *back = convert(&conversion_pool, CONVERSION_OLDER, there);
    assert_same_json(back, object.data);
    buffer_clear(&object);
    free(there);
    free(back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order_count_and_uid),
        cmocka_unit_test(returns_what_is_right_already_as_it_is),
        cmocka_unit_test(answers_no_objects),
        cmocka_unit_test(fails_as_a_whole_and_says_why),
        cmocka_unit_test(has_no_answer_for_what_is_no_review),
        cmocka_unit_test(fails_when_the_list_is_none),
        cmocka_unit_test(touches_nothing_else_of_metadata),
        cmocka_unit_test(ignores_damaged_data),
        cmocka_unit_test(marks_what_has_no_room),
        cmocka_unit_test(converts_ten_thousand_objects),
        cmocka_unit_test(converts_an_object_of_three_mebibytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
