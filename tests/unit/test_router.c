/* Paths to handlers, and what strangers to the table are told. */
#include "server/http/router.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/http_client.h"

#define HOOK "/mutate/one"

static void answer_name(void *context, struct http_request *request)
{
    http_request_answer_text(request, 200, "%s", (const char *)context);
}

static struct http_router *make_router(void)
{
    static const struct {
        const char *method, *path, *name;
    } routes[] = {
        {"GET", "/metrics", "metrics"}, {"POST", HOOK, "mutate"}, {"GET", "/both", "read"},
        {"POST", "/both", "write"},     {"GET", "/", "root"},
    };
    struct http_router *router = http_router_new();
    assert_non_null(router);
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        char path[64]; /* the router copies it */
        snprintf(path, sizeof(path), "%s", routes[i].path);
        assert_int_equal(http_router_add(router, routes[i].method, path, answer_name,
                                         (void *)(uintptr_t)routes[i].name),
                         0);
        memset(path, 'x', sizeof(path));
    }
    return router;
}

static void test_routes(void **state)
{
    static const struct {
        const char *method, *target;
        unsigned int status;
        const char *body; /* NULL: not looked at */
        const char *allow;
    } cases[] = {
        {"GET", "/metrics", 200, "metrics", NULL},
        {"GET", "/metrics?x=1", 200, "metrics", NULL},
        {"HEAD", "/metrics", 200, NULL, NULL},
        {"POST", "/metrics", 405, NULL, "GET, HEAD"},
        {"DELETE", "/metrics", 405, NULL, "GET, HEAD"},
        {"get", "/metrics", 405, NULL, "GET, HEAD"},
        {"POST", HOOK, 200, "mutate", NULL},
        {"POST", HOOK "?timeout=10s", 200, "mutate", NULL},
        {"GET", HOOK, 405, NULL, "POST"},
        {"HEAD", HOOK, 405, NULL, "POST"},
        {"POST", "/mutate/onf", 404, NULL, NULL},
        {"POST", "/mutate/on", 404, NULL, NULL},
        {"POST", HOOK "1", 404, NULL, NULL},
        {"POST", HOOK "/", 404, NULL, NULL},
        {"POST", "/mutate", 404, NULL, NULL},
        {"POST", "/%6Dutate/one", 404, NULL, NULL},
        {"GET", "/both", 200, "read", NULL},
        {"POST", "/both", 200, "write", NULL},
        {"PUT", "/both", 405, NULL, "GET, HEAD, POST"},
        {"GET", "/", 200, "root", NULL},
        {"GET", "//", 404, NULL, NULL},
        {"GET", "/Metrics", 404, NULL, NULL},
        {"GET", "/metrics/", 404, NULL, NULL},
    };
    struct http_router *router = make_router();
    struct http_listener_options options = {.address = "127.0.0.1:0",
                                            .threads = 1,
                                            .judge = http_router_judge,
                                            .handler = http_router_handle,
                                            .context = router};
    struct http_listener *listener = NULL;
    struct client client;
    (void)state;
    assert_int_equal(http_listener_start(&options, &listener, NULL), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct answer answer;
        client_open(&client, http_listener_port(listener), NULL);
        client_ask(&client, cases[i].method, cases[i].target, NULL, NULL, 0, &answer);
        assert_int_equal(answer.status, cases[i].status);
        if (cases[i].body != NULL)
            assert_string_equal(answer.body, cases[i].body);
        if (cases[i].allow != NULL)
            assert_string_equal(answer_header(&answer, "Allow"), cases[i].allow);
        else
            assert_null(answer_header(&answer, "Allow"));
        if (answer.status != 200) {
            assert_string_equal(answer_header(&answer, "Content-Type"), "application/json");
            assert_true(client_at_end(&client));
        }
        answer_free(&answer);
        client_close(&client);
    }
    wait_until(http_listener_active(listener) == 0);
    http_listener_stop(listener);
    http_router_free(router);
    http_router_free(NULL);
}

static void test_status_bodies(void **state)
{
    static const struct {
        const char *method, *target, *body;
    } cases[] = {
        {"GET", "/none",
         "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\","
         "\"message\":\"no such path here\",\"reason\":\"NotFound\",\"code\":404}"},
        {"P\"T", "/both",
         "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\","
         "\"message\":\"this path does not serve that method\","
         "\"reason\":\"MethodNotAllowed\",\"code\":405}"},
    };
    struct http_router *router = make_router();
    struct http_listener_options options = {.address = "127.0.0.1:0",
                                            .threads = 1,
                                            .judge = http_router_judge,
                                            .handler = http_router_handle,
                                            .context = router};
    struct http_listener *listener = NULL;
    struct client client;
    (void)state;
    assert_int_equal(http_listener_start(&options, &listener, NULL), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct answer answer;
        client_open(&client, http_listener_port(listener), NULL);
        client_ask(&client, cases[i].method, cases[i].target, NULL, NULL, 0, &answer);
        assert_string_equal(answer.body, cases[i].body);
        answer_free(&answer);
        client_close(&client);
    }
    wait_until(http_listener_active(listener) == 0);
    http_listener_stop(listener);
    http_router_free(router);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_status_bodies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
