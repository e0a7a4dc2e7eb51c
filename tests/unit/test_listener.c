/* The listener against a real client on loopback: requests, answers, bodies, starting and
 * draining. */
#include "server/http/listener.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>

#include "tests/unit/http_fixture.h"

/* ---- requests and answers ---- */

static void test_requests_are_read(void **state)
{
    static const struct {
        const char *method, *target, *headers, *expected;
    } cases[] = {
        {"GET", "/a", NULL, "GET /a q=(none) header=(none)"},
        {"GET", "/a?q", NULL, "GET /a q= header=(none)"},
        {"GET", "/a?q=", NULL, "GET /a q= header=(none)"},
        {"GET", "/a?q=one", NULL, "GET /a q=one header=(none)"},
        {"GET", "/a?other=x&q=two", NULL, "GET /a q=two header=(none)"},
        {"GET", "/a?q=1&q=2", NULL, "GET /a q=1 header=(none)"},
        {"GET", "/a?q=a%20b%2Fc+d", NULL, "GET /a q=a b/c d header=(none)"},
        {"GET", "/a?q=%zz%4", NULL, "GET /a q=%zz%4 header=(none)"},
        {"GET", "/a?q=%C3%A4", NULL, "GET /a q=\xC3\xA4 header=(none)"},
        {"GET", "/a?%71=name", NULL, "GET /a q=name header=(none)"},
        {"GET", "/%61%2Fb?q=1", NULL, "GET /%61%2Fb q=1 header=(none)"},
        {"GET", "/a?q=b?c", NULL, "GET /a q=b?c header=(none)"},
        {"DELETE", "/", "X-Test: yes\r\n", "DELETE / q=(none) header=yes"},
        {"POST", "/x", "X-TEST:  spaces\r\n", "POST /x q=(none) header=spaces"},
    };
    struct http_listener_options options = plain_options();
    struct http_listener *listener = start(&options);
    struct client client;
    (void)state;
    client_open(&client, http_listener_port(listener), NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct answer answer;
        client_ask(&client, cases[i].method, cases[i].target, cases[i].headers, NULL, 0, &answer);
        assert_int_equal(answer.status, 200);
        assert_string_equal(answer.body, cases[i].expected);
        assert_string_equal(answer_header(&answer, "Content-Type"), "text/plain; charset=utf-8");
        answer_free(&answer);
    }
    client_close(&client);
    stop_when_quiet(listener);
}

static void check_answers(const struct http_listener_options *options,
                          const struct client_options *client_options)
{
    struct http_listener *listener = start(options);
    struct client client;
    struct answer answer;
    client_open(&client, http_listener_port(listener), client_options);
    client_ask(&client, "GET", "/headers", NULL, NULL, 0, &answer);
    assert_int_equal(answer.status, 503);
    assert_int_equal(answer.length, 0);
    assert_string_equal(answer_header(&answer, "Allow"), "POST");
    assert_string_equal(answer_header(&answer, "Retry-After"), "1");
    assert_null(answer_header(&answer, "Content-Type"));
    answer_free(&answer);
    client_ask(&client, "GET", "/status", NULL, NULL, 0, &answer);
    assert_int_equal(answer.status, 422);
    assert_string_equal(answer_header(&answer, "Content-Type"), "application/json");
    assert_string_equal(answer.body, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},"
                                     "\"status\":\"Failure\",\"message\":\"say \\\"no\\n\\\"\","
                                     "\"reason\":\"Invalid\",\"code\":422}");
    answer_free(&answer);
    client_ask(&client, "GET", "/received", NULL, NULL, 0, &answer);
    assert_string_equal(answer.body, "recent");
    answer_free(&answer);
    client_ask(&client, "HEAD", "/status", NULL, NULL, 0, &answer);
    assert_int_equal(answer.status, 422);
    assert_string_not_equal(answer_header(&answer, "Content-Length"), "0");
    answer_free(&answer);
    client_close(&client);
    stop_when_quiet(listener);
}

static void test_answers_are_complete(void **state)
{
    struct http_listener_options options = plain_options();
    (void)state;
    check_answers(&options, NULL);
}

static void test_answers_are_complete_tls(void **state)
{
    struct http_listener_options options = tls_options();
    (void)state;
    check_answers(&options, &trusting);
}

/* The way out when no answer can be made is the same as when there is no memory for it. */
static void test_answer_that_cannot_be_made(void **state)
{
    struct http_listener_options options = plain_options();
    struct http_listener *listener = start(&options);
    struct client client;
    (void)state;
    client_open(&client, http_listener_port(listener), NULL);
    for (int i = 0; i < 3; i++) {
        struct answer answer;
        client_ask(&client, "GET", "/impossible", NULL, NULL, 0, &answer);
        assert_int_equal(answer.status, 500);
        assert_non_null(strstr(answer.body, "out of memory"));
        assert_null(answer_header(&answer, "X-Forged"));
        answer_free(&answer);
    }
    client_close(&client);
    stop_when_quiet(listener);
}

/* ---- bodies ---- */

static void send_chunked(struct client *client, const char *body, size_t length, size_t chunk)
{
    char size[32];
    client_send_text(client, "POST /echo HTTP/1.1\r\nHost: test\r\n"
                             "Transfer-Encoding: chunked\r\n\r\n");
    while (length > 0) {
        size_t part = length < chunk ? length : chunk;
        snprintf(size, sizeof(size), "%zx\r\n", part);
        client_send_text(client, size);
        client_send(client, body, part);
        client_send_text(client, "\r\n");
        body += part;
        length -= part;
    }
    client_send_text(client, "0\r\n\r\n");
}

/* The headers of a request with a body; none of that follows. */
static void announce(struct client *client, size_t length)
{
    char head[128];
    snprintf(head, sizeof(head), "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n\r\n",
             length);
    client_send_text(client, head);
}

static void check_bodies(const struct http_listener_options *options,
                         const struct client_options *client_options)
{
    static const struct {
        size_t length;
        size_t chunk; /* 0: Content-Length */
        unsigned int status;
    } cases[] = {
        {0, 0, 200},           {1, 0, 200},
        {2048, 0, 200},        {99999, 0, 200},
        {100000, 0, 200},      {100001, 0, 413},
        {500000, 0, 413},      {1, 1, 200},
        {100000, 7000, 200},   {100001, 7000, 413},
        {100001, 100001, 413}, {2000000, 50000, 413},
        {8 << 20, 0, 413},     {8 << 20, 1 << 20, 413},
    };
    struct http_listener *listener = start(options);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *body = make_body(cases[i].length);
        struct client client;
        struct answer answer;
        client_open(&client, http_listener_port(listener), client_options);
        if (cases[i].chunk > 0) {
            send_chunked(&client, body, cases[i].length, cases[i].chunk);
            client_check(client_read(&client, &answer, true));
        } else if (cases[i].status == 413 && !options->passes_beginnings) {
            announce(&client, cases[i].length);
            client_check(client_read(&client, &answer, true));
        } else {
            client_ask(&client, "POST", "/echo", NULL, body, cases[i].length, &answer);
        }
        bool cut = cases[i].status == 413 && options->passes_beginnings;
        assert_int_equal(answer.status, cut ? 200 : cases[i].status);
        if (answer.status == 200) {
            size_t expected = cut ? HTTP_BEGINNING : cases[i].length;
            assert_int_equal(answer.length, expected);
            assert_memory_equal(answer.body, body, expected);
        } else {
            assert_non_null(strstr(answer.body, "\"reason\":\"RequestEntityTooLarge\""));
            assert_non_null(strstr(answer.body, "more than 100000 bytes"));
            assert_true(client_at_end(&client));
        }
        answer_free(&answer);
        free(body);
        client_close(&client);
    }
    stop_when_quiet(listener);
}

static void test_bodies(void **state)
{
    struct http_listener_options options = plain_options();
    (void)state;
    options.body_maximum = 100000;
    check_bodies(&options, NULL);
}

static unsigned int ask_for(struct http_listener *listener, const char *path, size_t length)
{
    struct client client;
    struct answer answer;
    char *body = make_body(length);
    client_open(&client, http_listener_port(listener), &trusting);
    client_ask(&client, "POST", path, NULL, body, length, &answer);
    unsigned int status = answer.status;
    answer_free(&answer);
    free(body);
    client_close(&client);
    return status;
}

/* One path asks for no client certificate and takes larger bodies; the others still do as they do. */
static void test_open_path(void **state)
{
    struct http_listener_options options = tls_options();
    (void)state;
    options.client_ca_pem = authority.certificate_pem;
    options.body_maximum = 1000;
    options.open_path = "/echo";
    options.open_maximum = 200000;
    struct http_listener *listener = start(&options);
    assert_int_equal(ask_for(listener, "/echo", 10), 200);
    assert_int_equal(ask_for(listener, "/echo", 200000), 200);
    assert_int_equal(ask_for(listener, "/echo/", 10), 403);
    assert_int_equal(ask_for(listener, "/other", 10), 403);
    stop_when_quiet(listener);
}

/* For those who have to be answered by what the body begins with. */
static void test_beginnings(void **state)
{
    struct http_listener_options options = plain_options();
    (void)state;
    options.body_maximum = 100000;
    options.passes_beginnings = true;
    check_bodies(&options, NULL);
}

static void test_bodies_tls(void **state)
{
    struct http_listener_options options = tls_options();
    (void)state;
    options.body_maximum = 100000;
    check_bodies(&options, &trusting);
}

/* Who asks before sending gets the answer instead of "100 Continue". */
static void test_expect_continue(void **state)
{
    struct http_listener_options options = plain_options();
    options.body_maximum = 1000;
    struct http_listener *listener = start(&options);
    struct client client;
    struct answer answer;
    (void)state;
    client_open(&client, http_listener_port(listener), NULL);
    client_send_text(&client, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n"
                              "Expect: 100-continue\r\n\r\n");
    client_check(client_read(&client, &answer, true));
    assert_int_equal(answer.status, 100);
    answer_free(&answer);
    client_send_text(&client, "body");
    client_check(client_read(&client, &answer, true));
    assert_int_equal(answer.status, 200);
    answer_free(&answer);
    client_send_text(&client, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 1001\r\n"
                              "Expect: 100-continue\r\n\r\n");
    client_check(client_read(&client, &answer, true));
    assert_int_equal(answer.status, 413);
    assert_string_equal(answer_header(&answer, "Connection"), "close");
    answer_free(&answer);
    assert_true(client_at_end(&client));
    client_close(&client);
    stop_when_quiet(listener);
}

static void test_long_path(void **state)
{
    struct http_listener_options options = plain_options();
    struct http_listener *listener = start(&options);
    struct client client;
    struct answer answer;
    char target[400];
    (void)state;
    memset(target, 'a', sizeof(target));
    target[0] = '/';
    target[255] = '\0';
    client_open(&client, http_listener_port(listener), NULL);
    client_ask(&client, "GET", target, NULL, NULL, 0, &answer);
    assert_int_equal(answer.status, 200);
    answer_free(&answer);
    target[255] = 'a';
    target[256] = '\0';
    client_ask(&client, "GET", target, NULL, NULL, 0, &answer);
    assert_int_equal(answer.status, 414);
    answer_free(&answer);
    client_close(&client);
    stop_when_quiet(listener);
}

/* ---- the stream ---- */

static void test_slow_bytes(void **state)
{
    static const char text[] =
        "POST /echo?q=1 HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello";
    struct http_listener_options options = tls_options();
    struct http_listener *listener = start(&options);
    struct client client;
    struct answer answer;
    (void)state;
    client_open(&client, http_listener_port(listener), &trusting);
    for (size_t i = 0; i < sizeof(text) - 1; i++)
        client_send(&client, text + i, 1);
    client_check(client_read(&client, &answer, true));
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "hello");
    answer_free(&answer);
    client_close(&client);
    stop_when_quiet(listener);
}

static void test_idle_connection_is_closed(void **state)
{
    struct http_listener_options options = plain_options();
    options.idle_seconds = 1;
    struct http_listener *listener = start(&options);
    struct client client;
    (void)state;
    client_open(&client, http_listener_port(listener), NULL);
    assert_true(client_at_end(&client));
    client_close(&client);
    http_listener_stop(listener);
}

/* ---- draining ---- */

static void test_drain(void **state)
{
    struct http_listener_options options = tls_options();
    struct http_listener *listener = start(&options);
    struct client client;
    struct answer answer;
    (void)state;
    client_open(&client, http_listener_port(listener), &trusting);
    client_ask(&client, "GET", "/a", NULL, NULL, 0, &answer);
    assert_null(answer_header(&answer, "Connection"));
    answer_free(&answer);
    http_listener_drain(listener);
    client_ask(&client, "GET", "/a", NULL, NULL, 0, &answer);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer_header(&answer, "Connection"), "close");
    answer_free(&answer);
    assert_true(client_at_end(&client));
    client_close(&client);
    client_open(&client, http_listener_port(listener), &trusting);
    client_ask(&client, "GET", "/a", NULL, NULL, 0, &answer);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer_header(&answer, "Connection"), "close");
    answer_free(&answer);
    client_close(&client);
    stop_when_quiet(listener);
}

/* A request that comes when all were answered isn't begun any more, also on an old connection. */
static void test_close(void **state)
{
    struct http_listener_options options = tls_options();
    struct http_listener *listener = start(&options);
    struct client clients[2];
    struct answer answer;
    (void)state;
    client_open(&clients[0], http_listener_port(listener), &trusting);
    client_ask(&clients[0], "GET", "/a", NULL, NULL, 0, &answer);
    assert_int_equal(answer.status, 200);
    answer_free(&answer);
    http_listener_close(listener);
    client_open(&clients[1], http_listener_port(listener), &trusting);
    for (size_t i = 0; i < 2; i++) {
        client_ask(&clients[i], "GET", "/a", NULL, NULL, 0, &answer);
        assert_int_equal(answer.status, 503);
        assert_string_equal(answer_header(&answer, "Connection"), "close");
        answer_free(&answer);
        client_close(&clients[i]);
    }
    stop_when_quiet(listener);
}

/* ---- starting ---- */

static void test_start_failures(void **state)
{
    struct http_listener_options options = plain_options();
    struct http_listener *first = start(&options);
    struct http_listener *listener = NULL;
    struct error error = {.text = ""};
    char address[32];
    char expected[64];
    (void)state;
    assert_true(http_listener_port(first) > 0);
    snprintf(address, sizeof(address), "127.0.0.1:%u", http_listener_port(first));
    snprintf(expected, sizeof(expected), "listen on 127.0.0.1 port %u: Address already in use",
             http_listener_port(first));
    options.address = address;
    assert_int_equal(http_listener_start(&options, &listener, &error), -EADDRINUSE);
    assert_string_equal(error.text, expected);
    http_listener_stop(first);
    options.address = "nowhere";
    assert_int_equal(http_listener_start(&options, &listener, &error), -EINVAL);
    options = plain_options();
    options.client_ca_pem = authority.certificate_pem;
    assert_int_equal(http_listener_start(&options, &listener, &error), -EINVAL);
    assert_string_equal(error.text, "client certificates need TLS");
    options = tls_options();
    options.client_ca_pem = "nonsense";
    assert_int_equal(http_listener_start(&options, &listener, &error), -EINVAL);
    assert_non_null(strstr(error.text, "client authority"));
    assert_null(listener);
    http_listener_stop(NULL);
}

static void test_reuse_port(void **state)
{
    struct http_listener_options options = plain_options();
    char address[32];
    (void)state;
    options.reuse_port = true;
    struct http_listener *first = start(&options);
    snprintf(address, sizeof(address), "127.0.0.1:%u", http_listener_port(first));
    options.address = address;
    struct http_listener *second = start(&options);
    assert_int_equal(http_listener_port(first), http_listener_port(second));
    http_listener_stop(second);
    http_listener_stop(first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_are_read),
        cmocka_unit_test(test_answers_are_complete),
        cmocka_unit_test(test_answers_are_complete_tls),
        cmocka_unit_test(test_answer_that_cannot_be_made),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_open_path),
        cmocka_unit_test(test_beginnings),
        cmocka_unit_test(test_bodies_tls),
        cmocka_unit_test(test_expect_continue),
        cmocka_unit_test(test_long_path),
        cmocka_unit_test(test_slow_bytes),
        cmocka_unit_test(test_idle_connection_is_closed),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_start_failures),
        cmocka_unit_test(test_reuse_port),
    };
    return cmocka_run_group_tests(tests, make_pairs, free_pairs);
}
