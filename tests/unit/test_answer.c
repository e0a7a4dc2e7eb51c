/* HTTP statuses, Status documents and transport failures: the codes and texts they become. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "k8s/answer.h"
#include "server/base/json_view.h"

#include <errno.h>
#include <string.h>

#define STATUS(reason) "{\"kind\":\"Status\",\"reason\":\"" reason "\",\"message\":\"why\"}"

static void test_statuses(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
        int code;
        const char *text;
    } cases[] = {
        {200, "", 0, ""},
        {201, "{}", 0, ""},
        {404, STATUS("NotFound"), -ENOENT, "why"},
        {409, STATUS("AlreadyExists"), -EEXIST, "why"},
        {409, STATUS("Conflict"), -EAGAIN, "why"},
        {409, "", -EAGAIN, "HTTP 409"},
        {412, "", -EAGAIN, "HTTP 412"},
        {410, STATUS("Expired"), -ESTALE, "why"},
        {401, STATUS("Unauthorized"), -EACCES, "why"},
        {403, STATUS("Forbidden"), -EACCES, "why"},
        {400, STATUS("BadRequest"), -EINVAL, "why"},
        {422, STATUS("Invalid"), -EINVAL, "why"},
        {415, "", -EINVAL, "HTTP 415"},
        {429, STATUS("TooManyRequests"), -EBUSY, "why"},
        {500, STATUS("InternalError"), -EPROTO, "why"},
        {502, "<html>\n<body>", -EPROTO, "HTTP 502: <html>"},
        {503, "{broken", -EPROTO, "HTTP 503: {broken"},
        {504, "{\"message\":\"a\\nb\\u00e4\"}", -EPROTO, "a\nb\xc3\xa4"},
        {504, "{\"message\":\"\"}", -EPROTO, "HTTP 504 without a message"},
        {500, "{\"message\":7}", -EPROTO, "HTTP 500: {\"message\":7}"},
        {301, "", -EPROTO, "HTTP 301"},
        {101, "", -EPROTO, "HTTP 101"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error error = {.code = 77, .text = "old"};
        k8s_answer_judge(cases[i].status, cases[i].body, strlen(cases[i].body), &error);
        assert_int_equal(error.code, cases[i].code);
        assert_string_equal(error.text, cases[i].text);
    }
}

static void test_long_message(void **state)
{
    (void)state;
    char body[2048] = "{\"message\":\"";
    size_t start = strlen(body);
    memset(body + start, 'x', 1000);
    memcpy(body + start + 1000, "\"}", 3);
    struct error error;
    k8s_answer_judge(500, body, strlen(body), &error);
    assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
}

static void test_event_status(void **state)
{
    (void)state;
    static const char text[] = "{\"code\":410,\"reason\":\"Expired\",\"message\":\"too old\"}";
    struct json_view view;
    struct error error;
    int status;
    json_view_init(&view);
    assert_int_equal(json_view_parse(&view, text, strlen(text), 8, NULL), 0);
    k8s_answer_judge_status(&view, json_view_root(&view), &status, &error);
    assert_int_equal(status, 410);
    assert_int_equal(error.code, -ESTALE);
    assert_string_equal(error.text, "too old");
    k8s_answer_judge_status(&view, NULL, &status, &error);
    assert_int_equal(status, 0);
    assert_int_equal(error.code, -EPROTO);
    json_view_clear(&view);
}

static void test_failures(void **state)
{
    (void)state;
    static const struct {
        CURLcode failure;
        bool sent;
        int code;
    } cases[] = {
        {CURLE_COULDNT_CONNECT, false, -ECONNREFUSED},
        {CURLE_PEER_FAILED_VERIFICATION, false, -ECONNREFUSED},
        {CURLE_OPERATION_TIMEDOUT, false, -ECONNREFUSED},
        {CURLE_OPERATION_TIMEDOUT, true, -ETIMEDOUT},
        {CURLE_COULDNT_CONNECT, true, -ECONNRESET},
        {CURLE_RECV_ERROR, true, -ECONNRESET},
        {CURLE_GOT_NOTHING, true, -ECONNRESET},
        {CURLE_OUT_OF_MEMORY, true, -ENOMEM},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error error;
        k8s_answer_judge_failure(cases[i].failure, cases[i].sent, "", &error);
        assert_int_equal(error.code, cases[i].code);
        assert_true(strlen(error.text) > 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_long_message),
        cmocka_unit_test(test_event_status),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
