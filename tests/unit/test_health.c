/* Readiness over HTTP: every check counts, and the reasons are told. */
#include "server/http/health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/http_client.h"

static struct health *health;
static struct http_router *router;
static struct http_listener *listener;
static struct client client;

static int setup(void **state)
{
    (void)state;
    health = health_new();
    router = http_router_new();
    assert_int_equal(health_routes(health, router), 0);
    struct http_listener_options options = {.address = "127.0.0.1:0",
                                            .threads = 1,
                                            .judge = http_router_judge,
                                            .handler = http_router_handle,
                                            .context = router};
    assert_int_equal(http_listener_start(&options, &listener, NULL), 0);
    client_open(&client, http_listener_port(listener), NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    client_close(&client);
    wait_until(http_listener_active(listener) == 0);
    http_listener_stop(listener);
    http_router_free(router);
    health_free(health);
    return 0;
}

static void expect(const char *target, unsigned int status, const char *body)
{
    struct answer answer;
    client_ask(&client, "GET", target, NULL, NULL, 0, &answer);
    assert_int_equal(answer.status, status);
    assert_string_equal(answer.body, body);
    assert_string_equal(answer_header(&answer, "Content-Type"), "text/plain; charset=utf-8");
    answer_free(&answer);
}

static void test_readiness(void **state)
{
    (void)state;
    expect("/readyz", 200, "ok\n");
    health_set(health, "claims", false, "listing claims");
    health_set(health, "pools", true, NULL);
    expect("/readyz", 503, "[-] claims: listing claims\n");
    expect("/readyz?verbose", 503, "[-] claims: listing claims\n[+] pools: ok\n");
    expect("/healthz", 200, "ok\n");
    health_set(health, "pools", false, NULL);
    expect("/readyz", 503, "[-] claims: listing claims\n[-] pools: not ready\n");
    health_set(health, "claims", true, "any text");
    expect("/readyz", 503, "[-] pools: not ready\n");
    health_set(health, "pools", true, "");
    expect("/readyz", 200, "ok\n");
    expect("/readyz?verbose=1", 200, "[+] claims: ok\n[+] pools: ok\nok\n");
}

/* A reason can't forge another line, is cut, and never inside a character. */
static void test_reasons_are_tame(void **state)
{
    char longest[300];
    char expected[300];
    (void)state;
    health_set(health, "check", false, "one\n[+] forged: ok\r\t");
    expect("/readyz", 503, "[-] check: one [+] forged: ok  \n");
    memset(longest, 'a', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    health_set(health, "check", false, longest);
    snprintf(expected, sizeof(expected), "[-] check: %.200s\n", longest);
    expect("/readyz", 503, expected);
    memcpy(longest + 199, "\xC3\xA4", 2); /* bytes 199 and 200: the second would be cut off */
    health_set(health, "check", false, longest);
    snprintf(expected, sizeof(expected), "[-] check: %.199s\n", longest);
    expect("/readyz", 503, expected);
}

static void test_other_methods(void **state)
{
    static const char *const paths[] = {"/healthz", "/readyz"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct answer answer;
        client_ask(&client, "HEAD", paths[i], NULL, NULL, 0, &answer);
        assert_int_equal(answer.status, 200);
        answer_free(&answer);
        client_ask(&client, "POST", paths[i], NULL, "x", 1, &answer);
        assert_int_equal(answer.status, 405);
        answer_free(&answer);
        /* A refusal ends the connection. */
        client_close(&client);
        client_open(&client, http_listener_port(listener), NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_readiness, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reasons_are_tame, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_methods, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
