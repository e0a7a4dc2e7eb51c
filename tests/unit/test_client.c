/* The client against a fake API server: what requests look like, what answers become, callbacks,
 * the end. What failures become is in test_transfer.c. */
#include "k8s/client_private.h"
#include "tests/unit/client_world.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#define CONFLICT "{\"reason\":\"Conflict\",\"message\":\"changed meanwhile\"}"

/* --- what is sent --- */

static void test_verbs(void **state)
{
    (void)state;
    static const struct {
        enum k8s_verb verb;
        const char *body;
        const char *query;
        const char *line;
        const char *type; /* NULL: there must be none */
    } cases[] = {
        {K8S_GET, NULL, NULL, "GET /apis/a/v1/x", NULL},
        {K8S_LIST, NULL, "limit=5&labelSelector=a%3Db",
         "GET /apis/a/v1/x?limit=5&labelSelector=a%3Db", NULL},
        {K8S_CREATE, "{}", NULL, "POST /apis/a/v1/x", "application/json"},
        {K8S_UPDATE, "{\"u\":1}", "dryRun=All", "PUT /apis/a/v1/x?dryRun=All", "application/json"},
        {K8S_DELETE, NULL, NULL, "DELETE /apis/a/v1/x", NULL},
        {K8S_DELETE, "{\"d\":1}", NULL, "DELETE /apis/a/v1/x", "application/json"},
        {K8S_MERGE_PATCH, "{}", NULL, "PATCH /apis/a/v1/x", "application/merge-patch+json"},
        {K8S_JSON_PATCH, "[]", NULL, "PATCH /apis/a/v1/x", "application/json-patch+json"},
        {K8S_STRATEGIC_PATCH, "{}", NULL, "PATCH /apis/a/v1/x",
         "application/strategic-merge-patch+json"},
        {K8S_APPLY_PATCH, "{}", NULL, "PATCH /apis/a/v1/x", "application/apply-patch+yaml"},
        {K8S_GET, NULL, NULL, "GET /apis/a/v1/x", NULL},
    };
    for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fake_outcome outcome;
        char type[80];
        answer(&(struct fake_answer){.body = "{\"ok\":true}", .chunk = 3});
        call(&(struct k8s_request){.verb = cases[i].verb,
                                   .path = "/apis/a/v1/x",
                                   .query = cases[i].query,
                                   .body = cases[i].body,
                                   .body_length = cases[i].body ? strlen(cases[i].body) : 0},
             &outcome);
        assert_int_equal(outcome.status, 200);
        assert_int_equal(outcome.error.code, 0);
        assert_string_equal(outcome.body, "{\"ok\":true}");
        assert_true(outcome.on_api_thread);
        const struct fake_request *request = fake_api_request(api, i);
        assert_string_equal(request->line, cases[i].line);
        assert_string_equal(request->body, cases[i].body ? cases[i].body : "");
        assert_true(has_header(i, "\r\nAccept: application/json\r\n"));
        assert_true(has_header(i, "\r\nUser-Agent: ipwarden/"));
        assert_false(has_header(i, "Expect:"));
        assert_false(has_header(i, "Authorization:"));
        snprintf(type, sizeof(type), "\r\nContent-Type: %s\r\n",
                 cases[i].type ? cases[i].type : "");
        assert_true(has_header(i, cases[i].type != NULL ? type : "\r\n"));
        assert_int_equal(has_header(i, "Content-Type:"), cases[i].type != NULL);
    }
    assert_int_equal(fake_api_connections(api), 1);
}

static void test_large_body(void **state)
{
    (void)state;
    struct fake_outcome outcome;
    const size_t cap = 64U << 20;
    size_t length = 3U << 20;
    char *body = malloc(cap + 1);
    assert_non_null(body);
    memset(body, 'x', cap + 1);
    answer(&(struct fake_answer){.body = body, .body_length = length});
    struct k8s_request request = post;
    request.body = body;
    request.body_length = length;
    call(&request, &outcome);
    assert_int_equal(outcome.error.code, 0);
    assert_int_equal(outcome.body_length, length);
    assert_int_equal(strlen(fake_api_request(api, 0)->body), length);
    assert_false(has_header(0, "Expect:"));
    answer(&(struct fake_answer){.body = body, .body_length = cap});
    call(&get, &outcome);
    assert_int_equal(outcome.error.code, 0);
    assert_int_equal(outcome.body_length, cap);
    answer(&(struct fake_answer){.body = body, .body_length = cap + 1});
    call(&get, &outcome);
    assert_int_equal(outcome.error.code, -EMSGSIZE);
    assert_int_equal(outcome.status, 0);
    /* The server may still be sending the one that was too large. */
    fake_api_free(api);
    free(body);
    api = fake_api_new(NULL, false);
}

static void test_bad_requests(void **state)
{
    (void)state;
    static const struct k8s_request bad[] = {
        {.verb = K8S_GET, .path = "api"},
        {.verb = K8S_GET, .path = "/api/v1/namespaces/../secrets"},
        {.verb = K8S_GET, .path = "/api/v1/services/a?b"},
        {.verb = K8S_GET, .path = "/api/v1/services", .query = "a b"},
        {.verb = K8S_GET, .path = "/api/v1/services", .body = "{}", .body_length = 2},
        {.verb = (enum k8s_verb)99, .path = "/api/v1/services"},
    };
    struct fake_outcome outcome = {0};
    struct error error;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(k8s_submit(client, &bad[i], fake_take_outcome, &outcome, &error), -EINVAL);
    assert_int_equal(outcome.calls, 0);
    assert_int_equal(fake_api_count(api), 0);
}

/* --- what comes back --- */

static void test_error_codes(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
        int code;
    } cases[] = {
        {404, "{\"message\":\"not there\"}", -ENOENT},
        {409, "{\"reason\":\"AlreadyExists\",\"message\":\"there\"}", -EEXIST},
        {409, CONFLICT, -EAGAIN},
        {410, "", -ESTALE},
        {401, "", -EACCES},
        {403, "", -EACCES},
        {422, "", -EINVAL},
        {429, "", -EBUSY},
        {500, "", -EPROTO},
        {503, "", -EPROTO},
        {302, "", -EPROTO},
    };
    for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fake_outcome outcome;
        answer(&(struct fake_answer){.status = cases[i].status,
                                     .body = cases[i].body,
                                     .headers = "Location: http://127.0.0.1:1/\r\n"});
        call(&post, &outcome);
        assert_int_equal(outcome.error.code, cases[i].code);
        assert_int_equal(outcome.status, cases[i].status);
        assert_string_equal(outcome.body, cases[i].body);
    }
    assert_int_equal(fake_api_count(api), sizeof(cases) / sizeof(cases[0]));
}

static void test_call(void **state)
{
    (void)state;
    struct error error;
    char *body = NULL;
    answer(&(struct fake_answer){.body = "{\"b\":1}"});
    answer(&(struct fake_answer){.body = ""});
    answer(&(struct fake_answer){.status = 409, .body = CONFLICT});
    assert_int_equal(k8s_call(client, &get, &body, &error), 0);
    assert_string_equal(body, "{\"b\":1}");
    free(body);
    assert_int_equal(k8s_call(client, &get, &body, NULL), 0);
    assert_string_equal(body, "");
    free(body);
    assert_int_equal(k8s_call(client, &get, NULL, &error), -EAGAIN);
    assert_string_equal(error.text, "changed meanwhile");
}

static void call_within(void *context)
{
    struct error error;
    int result = k8s_call(client, &get, NULL, &error);
    atomic_store((_Atomic int *)context, result);
}

static void test_call_on_api_thread(void **state)
{
    (void)state;
    _Atomic int result = 0;
    assert_int_equal(k8s_after(client, 0, call_within, &result), 0);
    fake_until(atomic_load(&result) != 0);
    assert_int_equal(atomic_load(&result), -EDEADLK);
    assert_false(k8s_on_api_thread(client));
}

static void test_delete_options(void **state)
{
    (void)state;
    char *text = k8s_delete_options("u-1", "42");
    assert_string_equal(text, "{\"apiVersion\":\"v1\",\"kind\":\"DeleteOptions\","
                              "\"preconditions\":{\"uid\":\"u-1\",\"resourceVersion\":\"42\"}}");
    free(text);
    text = k8s_delete_options(NULL, NULL);
    assert_non_null(strstr(text, "\"preconditions\":{}"));
    free(text);
}

/* --- many at once, and the end --- */

static void test_concurrent(void **state)
{
    (void)state;
    static struct fake_outcome outcomes[200];
    restart(&(struct k8s_client_options){.max_connections = 4});
    for (size_t i = 0; i < 200; i++)
        submit(&post, &outcomes[i]);
    assert_true(fake_api_wait(api, 4)); /* on all connections before the first is answered */
    answer(&(struct fake_answer){.body = "{\"many\":1}", .times = 200});
    for (size_t i = 0; i < 200; i++) {
        await(&outcomes[i]);
        assert_int_equal(outcomes[i].error.code, 0);
        assert_string_equal(outcomes[i].body, "{\"many\":1}");
    }
    assert_int_equal(fake_api_count(api), 200);
    assert_true(fake_api_connections(api) <= 4);
}

static void read_spare(void *context)
{
    unsigned int *ret_spare = context;
    *ret_spare = client->spare_count;
}

/* What a burst took isn't kept for ever. */
static void test_few_spare_handles(void **state)
{
    (void)state;
    static struct fake_outcome outcomes[20];
    unsigned int spare = 0;
    restart(&(struct k8s_client_options){.max_spare = 3});
    for (size_t i = 0; i < 20; i++)
        submit(&get, &outcomes[i]);
    answer(&(struct fake_answer){.times = 20});
    for (size_t i = 0; i < 20; i++)
        await(&outcomes[i]);
    k8s_client_run(client, read_spare, &spare);
    assert_in_range(spare, 1, 3);
}

static struct fake_outcome chained[2];

static void submit_next(void *context, const struct k8s_response *response)
{
    struct error error;
    fake_take_outcome(context, response);
    if (k8s_submit(client, &get, fake_take_outcome, &chained[1], &error) != 0)
        abort();
}

static void test_submit_from_callback(void **state)
{
    (void)state;
    struct error error;
    memset(chained, 0, sizeof(chained));
    answer(&(struct fake_answer){.body = "{}", .times = 2});
    assert_int_equal(k8s_submit(client, &get, submit_next, &chained[0], &error), 0);
    await(&chained[1]);
    assert_int_equal(chained[1].error.code, 0);
}

static void never(void *context)
{
    (void)context;
    abort();
}

static void submit_too_late(void *context, const struct k8s_response *response)
{
    struct error error;
    fake_take_outcome(context, response);
    if (k8s_submit(client, &get, fake_take_outcome, &chained[1], &error) != -ECANCELED ||
        k8s_after(client, 0, never, NULL) != -ECANCELED)
        abort();
}

static void test_cancel_at_free(void **state)
{
    (void)state;
    static struct fake_outcome outcomes[3];
    struct error error;
    memset(outcomes, 0, sizeof(outcomes));
    memset(chained, 0, sizeof(chained));
    struct k8s_request waiting = post;
    waiting.retry = true;
    assert_int_equal(k8s_after(client, 60 * CLOCK_SECOND, never, NULL), 0);
    submit(&post, &outcomes[0]);
    assert_int_equal(k8s_submit(client, &get, submit_too_late, &outcomes[1], &error), 0);
    answer(&(struct fake_answer){.request = "PUT", .status = 429, .headers = "Retry-After: 9\r\n"});
    waiting.verb = K8S_UPDATE;
    submit(&waiting, &outcomes[2]);
    assert_true(fake_api_wait(api, 3));
    fake_until(fake_next_timer(client) < now() + 10 * CLOCK_SECOND); /* the 429 has arrived */
    k8s_client_free(client);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(outcomes[i].calls, 1);
        assert_int_equal(outcomes[i].error.code, -ECANCELED);
    }
    assert_int_equal(chained[1].calls, 0);
    k8s_client_free(NULL);
    assert_int_equal(k8s_client_new(&config, NULL, &client, &error), 0);
}

static char order[8];

static void note(void *context)
{
    order[strlen(order)] = *(const char *)context;
}

static void test_after(void **state)
{
    (void)state;
    _Atomic int done = 0;
    assert_int_equal(k8s_after(client, 30 * MS, note, (char[]){'c'}), 0);
    assert_int_equal(k8s_after(client, 10 * MS, note, (char[]){'b'}), 0);
    assert_int_equal(k8s_after(client, 0, note, (char[]){'a'}), 0);
    assert_int_equal(k8s_after(client, 40 * MS, call_within, &done), 0);
    fake_until(fake_is_waiting(client, false));
    assert_string_equal(order, "a");
    advance(10 * MS - 1);
    fake_until(fake_is_waiting(client, false));
    assert_string_equal(order, "a");
    advance(1);
    fake_until(fake_is_waiting(client, false));
    assert_string_equal(order, "ab");
    advance(30 * MS);
    fake_until(atomic_load(&done) != 0);
    assert_string_equal(order, "abc");
}

/* --- the observer --- */

static char observed[1024];
static double longest;

static void observe(void *context, const char *verb, const char *resource, int status,
                    double seconds)
{
    if (strcmp(context, "context") != 0 || seconds < 0)
        abort();
    longest = seconds > longest ? seconds : longest;
    size_t used = strlen(observed);
    snprintf(observed + used, sizeof(observed) - used, "%s %s %d\n", verb, resource, status);
}

static void test_observer(void **state)
{
    (void)state;
    struct fake_outcome outcome;
    restart(&(struct k8s_client_options){.observer = observe, .observer_context = "context"});
    answer(&(struct fake_answer){.status = 201});
    call(&post, &outcome);
    answer(&(struct fake_answer){.ending = FAKE_BREAK});
    call(&get, &outcome);
    answer(&(struct fake_answer){.status = 503});
    answer(&(struct fake_answer){.status = 200});
    struct k8s_request patch = {
        .verb = K8S_MERGE_PATCH,
        .path = "/apis/ipcontroller.ext/v2/ipclaims/a/status",
        .body = "{}",
        .body_length = 2,
        .deadline = now() + CLOCK_SECOND,
        .retry = true,
    };
    submit(&patch, &outcome);
    int64_t waited = next_attempt(&outcome, patch.deadline);
    assert_true(waited > 0);
    await(&outcome);
    k8s_client_free(client);
    client = NULL;
    assert_string_equal(observed, "create configmaps 201\nget services 0\n"
                                  "patch ipclaims/status 200\n");
    assert_true(longest == (double)waited / (double)CLOCK_SECOND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_verbs),
        test(test_large_body),
        test(test_bad_requests),
        test(test_error_codes),
        test(test_call),
        test(test_call_on_api_thread),
        test(test_delete_options),
        test(test_concurrent),
        test(test_few_spare_handles),
        test(test_submit_from_callback),
        test(test_cancel_at_free),
        test(test_after),
        test(test_observer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
