/* The envelope: what can't be read, who judges what, and how answers look. */
#include "tests/unit/admission_fixture.h"

#define REVIEW(request)                                                                            \
    "{'apiVersion':'admission.k8s.io/v1','kind':'AdmissionReview','request':{'kind':{}," request   \
    "}}"
#define SERVICES "'resource':{'group':'','version':'v1','resource':'services'}"
#define PLAIN "{'metadata':{'name':'web'}}"

static void another_content_type_is_an_http_failure(void **state)
{
    (void)state;
    static const char *const types[] = {NULL, "text/plain", "application/jsonp"};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct verdict verdict;
        review_text(i % 2 == 0, types[i], NULL, "{}", &verdict);
        assert_int_equal(verdict.status, 415);
        assert_non_null(strstr(verdict.text, "application/json"));
    }
}

struct malformed {
    const char *body;
    const char *uid;
    const char *message;
};

#define BEGINNING                                                                                  \
    "{'kind':'AdmissionReview','apiVersion':'admission.k8s.io/v1','request':{'uid':'the-uid',"

static const struct malformed malformed[] = {
    {"", "", "at byte 0"},
    {"{'a':", "", "not a JSON text"},
    {"[]", "", "AdmissionReview"},
    {"{}", "", "AdmissionReview"},
    {"{'kind':'AdmissionReview','apiVersion':'admission.k8s.io/v1beta1','request':{'uid':'the-uid'"
     "}}",
     "the-uid", "admission.k8s.io/v1"},
    {"{'kind':'AdmissionReview','apiVersion':'admission.k8s.io/v1'}", "", "request.uid"},
    {REVIEW("'uid':''"), "", "request.uid"},
    {REVIEW("'uid':7"), "", "request.uid"},
    {REVIEW("'uid':'0123456789012345678901234567890123456789012345678901234567890123'"), "",
     "request.uid"},
    {BEGINNING "'object':{'metadata':{'na", "the-uid", "closing quote"},
    {BEGINNING "'object':{'metadata':{'name':tru}}}}", "the-uid", "true, false or null"},
    {BEGINNING "'name':'\n'}}", "the-uid", "control character"},
    {BEGINNING "'object':{'spec':{'externalIPs':[],'type':'','externalIPs':[]}}}}", "the-uid",
     "the name \"externalIPs\" again"},
    {BEGINNING "'uid':'the-uid'}}", "the-uid", "the name \"uid\" again"},
    {"{'request':{'uid':'the-uid'},'request':{", "", "a name in quotes"},
};

/* Where the webhook's failurePolicy is Ignore, an HTTP failure would be a yes. */
static void what_can_not_be_judged_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * sizeof(malformed) / sizeof(malformed[0]); i++) {
        const struct malformed *row = &malformed[i / 2];
        struct verdict verdict;
        const char *type = i % 3 == 0   ? "application/json"
                           : i % 3 == 1 ? "Application/JSON"
                                        : "application/json; charset=utf-8";
        review_text(i % 2 == 0, type, NULL, Q(row->body), &verdict);
        if (verdict.status != 200 || verdict.allowed || verdict.code != 400 ||
            strcmp(verdict.uid, row->uid) != 0 || strstr(verdict.message, row->message) == NULL)
            fail_msg("%s: %u %lld \"%s\" %s", row->body, verdict.status, (long long)verdict.code,
                     verdict.uid, verdict.message);
        assert_string_equal(verdict.reason, "BadRequest");
    }
}

/* Of a review that is too large only the beginning is there, which has the uid. */
static void what_is_too_large_is_refused(void **state)
{
    (void)state;
    static const char *const bodies[] = {BEGINNING "'object':{'metadata':{'na", BEGINNING "'x':1}}",
                                         "{'kind':'AdmissionReview','request':{'ui"};
    for (size_t i = 0; i < 3; i++) {
        const char *body = Q(bodies[i]);
        struct http_request request = {
            .content_type = "application/json", .body = body, .length = strlen(body), .cut = true};
        struct verdict verdict = {.status = 0};
        review_handle_validate(&admission, &request);
        assert_int_equal(request.answers, 1);
        assert_int_equal(request.status, 200);
        read_verdict(request.answer, &verdict);
        assert_false(verdict.allowed);
        assert_int_equal(verdict.code, 413);
        assert_string_equal(verdict.reason, "RequestEntityTooLarge");
        assert_string_equal(verdict.uid, i < 2 ? "the-uid" : "");
        free(request.answer);
    }
}

/* Tenants write what they like into their objects. */
static void whatever_is_stored_is_judged(void **state)
{
    (void)state;
    static const char *const annotations[] = {
        "{'x':'\\u0000'}",
        "{'\\u0000':'\\u0000','external-ip':'auto\\u0000'}",
        "{'x':'\\ud800'}",
        "{'x':'\xff','\xc0\xaf':'\xed\xa0\x80'}",
        "{'x':1e999,'y':123456789012345678901234567890}",
    };
    for (size_t i = 0; i < sizeof(annotations) / sizeof(annotations[0]); i++)
        for (int mutating = 0; mutating < 2; mutating++) {
            char object[512];
            struct verdict verdict;
            snprintf(object, sizeof(object),
                     "{'metadata':{'name':'web','annotations':%s,'managedFields':[{'fieldsV1':{"
                     "'f:\xfe':{},'f:\xff':{}}}]}}",
                     annotations[i]);
            review(mutating, "services", "CREATE", object, NULL, "", &verdict);
            if (!verdict.allowed || *verdict.patch != '\0')
                fail_msg("%s: %s %s", object, verdict.message, verdict.patch);
        }
}

/* managedFields as deep as the API server lets anybody store them, and deeper. */
static void depth_has_no_limit(void **state)
{
    (void)state;
    static const char object[] = "{'metadata':{'name':'web','managedFields':%s},'spec':{"
                                 "'externalIPs':['192.0.2.300']}}";
    for (size_t levels = 1; levels <= 3000; levels = levels * 3 + 7) {
        char nested[6100];
        char text[6400];
        struct verdict verdict;
        memset(nested, '[', levels);
        memset(nested + levels, ']', levels);
        nested[2 * levels] = '\0';
        snprintf(text, sizeof(text), object, nested);
        review(true, "services", "CREATE", text, NULL, "", &verdict);
        assert_int_equal(verdict.code, 422);
        assert_non_null(strstr(verdict.message, "192.0.2.300"));
    }
}

struct refused {
    const char *request;
    const char *message;
};

static const struct refused refused[] = {
    {"'uid':'the-uid'", "request.operation"},
    {"'uid':'the-uid','operation':'PATCH'", "request.operation"},
    {"'uid':'the-uid','operation':'CREATE'," SERVICES, "request.object: missing"},
    {"'uid':'the-uid','operation':'CREATE','object':[]," SERVICES, "request.object: missing"},
    {"'uid':'the-uid','operation':'UPDATE','object':" PLAIN "," SERVICES,
     "request.oldObject: missing"},
    {"'uid':'the-uid','operation':'CREATE','object':" PLAIN, "does not judge"},
    {"'uid':'the-uid','operation':'CREATE','object':" PLAIN
     ",'resource':{'group':'apps','resource':'services'}",
     "does not judge"},
    {"'uid':'the-uid','operation':'CREATE','object':" PLAIN
     ",'resource':{'group':'','resource':'pods'}",
     "does not judge"},
    {"'uid':'the-uid','operation':'CREATE','subResource':'proxy','object':" PLAIN "," SERVICES,
     "does not judge"},
    {"'uid':'the-uid','operation':'UPDATE','object':" PLAIN
     ",'oldObject':{'metadata':{}}," SERVICES,
     "metadata.name"},
};

static void what_has_a_uid_is_answered_with_a_review(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        for (int mutating = 0; mutating < 2; mutating++) {
            char body[1024];
            struct verdict verdict;
            snprintf(body, sizeof(body), REVIEW("'namespace':'a',%s"), refused[i].request);
            review_text(mutating, "application/json", "10s", Q(body), &verdict);
            if (verdict.status != 200 || verdict.code != 422 ||
                strstr(verdict.message, refused[i].message) == NULL)
                fail_msg("%s: %u %lld %s", refused[i].request, verdict.status,
                         (long long)verdict.code, verdict.message);
            assert_string_equal(verdict.reason, "Invalid");
        }
}

/* Each kind only on the path that its webhook configuration names. */
static void each_kind_has_its_path(void **state)
{
    (void)state;
    static const struct {
        const char *resource;
        const char *object;
        bool mutate;
        bool validate;
    } kinds[] = {
        {"services", PLAIN, true, true},
        {"services/status", PLAIN, false, true},
        {"ipclaimpools", "{'metadata':{'name':'p'},'spec':{'addresses':['192.0.2.0/24']}}", false,
         true},
        {"ipclaims", "{'metadata':{'name':'192-0-2-1-32'},'spec':{'cidr':'192.0.2.1/32'}}", false,
         true},
        {"ipamranges", "{'metadata':{'name':'r'},'spec':{'ranges':['192.0.2.0/24']}}", true, true},
        {"ipamrequests", "{'metadata':{'name':'q'},'spec':{'range':{'name':'r'}}}", true, true},
        {"ipamranges/status", "{'metadata':{'name':'r'}}", false, false},
        {"ipamrequests/status", "{'metadata':{'name':'q'}}", false, false},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        for (int mutating = 0; mutating < 2; mutating++) {
            struct verdict verdict;
            review(mutating, kinds[i].resource, "CREATE", kinds[i].object, NULL, "", &verdict);
            if (verdict.allowed != (mutating ? kinds[i].mutate : kinds[i].validate))
                fail_msg("%s, mutating %d: %s", kinds[i].resource, mutating, verdict.message);
            if (!verdict.allowed)
                assert_non_null(strstr(verdict.message, "does not judge"));
        }
}

static void deleting_is_nobody_s_business_here(void **state)
{
    (void)state;
    static const char *const operations[] = {"DELETE", "CONNECT"};
    for (size_t i = 0; i < 2; i++) {
        struct verdict verdict;
        review(true, "services", operations[i], "null", PLAIN, "", &verdict);
        assert_true(verdict.allowed);
        review(false, "ipclaimpools", operations[i], "null", PLAIN, "", &verdict);
        assert_true(verdict.allowed);
    }
}

/* Nothing is given before everything is known (I9). The answer is an HTTP failure and no refusal,
 * so that the API server does what the webhook's failurePolicy says. */
static void nothing_is_judged_before_everything_is_known(void **state)
{
    (void)state;
    for (int kind = 0; kind < STATE_KINDS; kind++) {
        struct verdict verdict;
        world->synced[kind] = false;
        review(true, "services", "CREATE",
               "{'metadata':{'name':'web','annotations':{'external-ip':'auto'}}}", NULL, "",
               &verdict);
        assert_int_equal(verdict.status, 503);
        assert_non_null(strstr(verdict.text, "ServiceUnavailable"));
        world->synced[kind] = true;
    }
    assert_int_equal(fake_api_count(cluster->api), 0);
}

/* The deadline is that of the caller, less what the way back takes. */
static void answers_within_the_caller_s_timeout(void **state)
{
    (void)state;
    static const struct {
        const char *timeout;
        int64_t least; /* milliseconds after which the answer comes */
        int64_t most;
    } cases[] = {{"1s", 700, 1000}, {"300ms", 100, 300}, {"0.5s", 250, 500}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct verdict verdict;
        int64_t start = fake_now();
        fixture_put_pool(world,
                         Q("{'metadata':{'name':'blue'},'spec':{'addresses':['192.0.2.0/24']}}"));
        fake_api_answer(cluster->api,
                        &(struct fake_answer){.request = "POST", .ending = FAKE_HOLD});
        review_text(false, "application/json", cases[i].timeout,
                    Q(REVIEW("'uid':'the-uid','operation':'CREATE'," SERVICES
                             ",'object':{'metadata':{'namespace':'a','name':'web','uid':'u-1'},"
                             "'spec':{'externalIPs':['192.0.2.1']}}")),
                    &verdict);
        int64_t taken = (fake_now() - start) / CLOCK_MILLISECOND;
        assert_int_equal(verdict.code, 503);
        assert_string_equal(verdict.reason, "ServiceUnavailable");
        assert_true(taken >= cases[i].least);
        /* Above the limit only as far as the machine is busy. */
        assert_true(taken < cases[i].most + 3000);
    }
}

static void answers_are_counted(void **state)
{
    (void)state;
    struct verdict verdict;
    review(true, "services", "CREATE", PLAIN, NULL, "", &verdict);
    review(false, "ipclaims", "CREATE", "{'metadata':{'name':'x'},'spec':{'cidr':'x'}}", NULL, "",
           &verdict);
    review_text(false, "text/plain", NULL, "", &verdict);
    static const char *const lines[] = {
        "requests{kind=\"services\",operation=\"CREATE\",result=\"allowed\"} 1",
        "requests{kind=\"ipclaims\",operation=\"CREATE\",result=\"refused\"} 1",
        "requests{kind=\"unknown\",operation=\"unknown\",result=\"malformed\"} 1",
        "duration_count{kind=\"services\"} 1",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        if (!has_metric(lines[i]))
            fail_msg("no %s", lines[i]);
}

/* A review that has come as far as its verdict. */
static struct review *judged(struct http_request *request)
{
    struct review *judged = calloc(1, sizeof(*judged));
    assert_non_null(judged);
    judged->admission = &admission;
    judged->request = request;
    judged->kind = "services";
    judged->group = "";
    snprintf(judged->uid, sizeof(judged->uid), "the-uid");
    json_view_init(&judged->view);
    return judged;
}

struct refusal {
    unsigned int code;
    const char *field;
    const char *reason;
    const char *cause;  /* reason of the one cause; "": none */
    const char *result; /* as it is counted */
    int64_t retry_after;
};

/* client-go comes again by itself after a 429 that says when. */
static const struct refusal refusals[] = {
    {403, NULL, "Forbidden", "", "refused", 0},
    {403, "spec.externalIPs", "Forbidden", "FieldValueForbidden", "refused", 0},
    {409, NULL, "AlreadyExists", "", "refused", 0},
    {422, NULL, "Invalid", "", "refused", 0},
    {422, "spec.externalIPs", "Invalid", "FieldValueInvalid", "refused", 0},
    {429, NULL, "TooManyRequests", "", "retry", 1},
    {429, "spec.externalIPs", "TooManyRequests", "FieldValueForbidden", "retry", 1},
    {500, NULL, "InternalError", "", "error", 0},
    {503, NULL, "ServiceUnavailable", "", "error", 0},
};

static void check_details(const struct refusal *refusal, const char *answer)
{
    struct json_view view;
    char cause[64];
    json_view_init(&view);
    assert_int_equal(json_view_parse(&view, answer, strlen(answer), JSON_VIEW_DEPTH, NULL), 0);
    const struct json_node *details =
        json_view_path(&view, json_view_root(&view), "response", "status", "details", NULL);
    const struct json_node *first =
        json_view_first(&view, json_view_member(&view, details, "causes"));
    assert_int_equal(details != NULL, refusal->field != NULL || refusal->retry_after > 0);
    read_text(&view, json_view_member(&view, first, "reason"), cause, sizeof(cause));
    assert_string_equal(cause, refusal->cause);
    json_view_clear(&view);
}

static void a_refusal_says_what_to_do(void **state)
{
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        const struct refusal *refusal = &refusals[i];
        struct http_request request = {.status = 0};
        struct verdict verdict = {0};
        char metric[128];
        review_refuse(judged(&request), refusal->code, refusal->field, "no, and here is why");
        assert_int_equal(request.status, 200);
        read_verdict(request.answer, &verdict);
        check_details(refusal, request.answer);
        free(request.answer);
        assert_int_equal(verdict.code, refusal->code);
        assert_string_equal(verdict.reason, refusal->reason);
        assert_string_equal(verdict.causes, refusal->field != NULL ? refusal->field : "");
        assert_non_null(strstr(verdict.message, "no, and here is why"));
        if (verdict.retry_after != refusal->retry_after)
            fail_msg("%u: again after %lld s", refusal->code, (long long)verdict.retry_after);
        snprintf(metric, sizeof(metric),
                 "requests{kind=\"services\",operation=\"CREATE\",result=\"%s\"} 1",
                 refusal->result);
        assert_true(has_metric(metric));
        admission_tear_down(state);
        admission_set_up(state);
    }
}

static void check_out_of_memory(struct http_request *request)
{
    struct verdict verdict = {0};
    assert_int_equal(request->answers, 1);
    assert_int_equal(request->status, 200);
    read_verdict(request->answer, &verdict);
    assert_false(verdict.allowed);
    assert_int_equal(verdict.code, 500);
    assert_string_equal(verdict.patch, "");
    free(request->answer);
}

/* Not even when it failed before its first byte: the object would be stored without what the patch
 * says. */
static void a_failed_patch_never_passes_for_none(void **state)
{
    (void)state;
    static const char text[] = "[{\"op\":\"remove\",\"path\":\"/spec/externalIPs\"}]";
    for (size_t cap = 0; cap < sizeof(text) - 1; cap++) {
        struct http_request request = {.status = 0};
        struct buffer patch;
        buffer_init(&patch, cap);
        for (size_t i = 0; i < sizeof(text) - 1; i++)
            buffer_append_char(&patch, text[i]);
        review_allow(judged(&request), &patch, NULL);
        check_out_of_memory(&request);
        buffer_clear(&patch);
    }
}

/* Longer than any answer may be. */
static void an_answer_that_can_t_be_written_is_a_refusal(void **state)
{
    (void)state;
    size_t length = 20U * 1024 * 1024;
    char *text = malloc(length + 1);
    assert_non_null(text);
    memset(text, 'x', length);
    text[length] = '\0';
    struct buffer patch = {.data = text, .length = length, .maximum = length};
    struct field_error error = {.field = text, .text = text, .reason = "FieldValueInvalid"};
    struct field_errors errors = {.items = &error, .count = 1};
    for (int i = 0; i < 4; i++) {
        struct http_request request = {.status = 0};
        if (i == 0)
            review_allow(judged(&request), &patch, NULL);
        else if (i == 1)
            review_allow(judged(&request), NULL, text);
        else if (i == 2)
            review_refuse(judged(&request), 422, text, "is too long");
        else
            review_refuse_fields(judged(&request), "IpClaim", &errors);
        check_out_of_memory(&request);
    }
    free(text);
}

#define TEST(function)                                                                             \
    cmocka_unit_test_setup_teardown(function, admission_set_up, admission_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(another_content_type_is_an_http_failure),
        TEST(what_can_not_be_judged_is_refused),
        TEST(what_is_too_large_is_refused),
        TEST(whatever_is_stored_is_judged),
        TEST(depth_has_no_limit),
        TEST(what_has_a_uid_is_answered_with_a_review),
        TEST(each_kind_has_its_path),
        TEST(deleting_is_nobody_s_business_here),
        TEST(nothing_is_judged_before_everything_is_known),
        TEST(answers_within_the_caller_s_timeout),
        TEST(answers_are_counted),
        TEST(a_refusal_says_what_to_do),
        TEST(a_failed_patch_never_passes_for_none),
        TEST(an_answer_that_can_t_be_written_is_a_refusal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
