/* The client against a fake API server: what requests look like, what answers and failures become, what is repeated
 * and what isn't, connections, tokens, cancelling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/fake_client.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#define CONFLICT "{\"reason\":\"Conflict\",\"message\":\"changed meanwhile\"}"

static struct fake_api *api;
static struct k8s_config config;
static struct k8s_client *client;

static int set_up(void **state)
{
    (void)state;
    struct error error;
    api = fake_api_new(NULL, false);
    memset(&config, 0, sizeof(config));
    config.server = strdup(fake_api_url(api));
    return k8s_client_new(&config, NULL, &client, &error);
}

static int tear_down(void **state)
{
    (void)state;
    k8s_client_free(client);
    fake_api_free(api);
    free(config.server);
    return 0;
}

/* Makes the client anew with other options, or after a change to config. */
static void restart(const struct k8s_client_options *options)
{
    struct error error;
    k8s_client_free(client);
    assert_int_equal(k8s_client_new(&config, options, &client, &error), 0);
}

static void answer(const struct fake_answer *prepared)
{
    fake_api_answer(api, prepared);
}

static void submit(const struct k8s_request *request, struct fake_outcome *outcome)
{
    struct error error;
    memset(outcome, 0, sizeof(*outcome));
    outcome->client = client;
    if (k8s_submit(client, request, fake_take_outcome, outcome, &error) != 0)
        fail_msg("%s", error.text);
}

static void await(struct fake_outcome *outcome)
{
    fake_until(atomic_load(&outcome->calls) > 0);
}

static void call(const struct k8s_request *request, struct fake_outcome *outcome)
{
    submit(request, outcome);
    await(outcome);
}

static const struct k8s_request get = {.verb = K8S_GET, .path = "/api/v1/services"};
static const struct k8s_request post = {
    .verb = K8S_CREATE,
    .path = "/api/v1/namespaces/default/configmaps",
    .body = "{\"a\":1}",
    .body_length = 7,
};

static bool has_header(unsigned int index, const char *line)
{
    return strstr(fake_api_request(api, index)->headers, line) != NULL;
}

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
    size_t length = 3U << 20;
    char *body = malloc(length + 1);
    assert_non_null(body);
    memset(body, 'x', length);
    body[length] = '\0';
    answer(&(struct fake_answer){.body = body, .body_length = length});
    struct k8s_request request = post;
    request.body = body;
    request.body_length = length;
    call(&request, &outcome);
    assert_int_equal(outcome.error.code, 0);
    assert_int_equal(outcome.body_length, length);
    assert_int_equal(strlen(fake_api_request(api, 0)->body), length);
    assert_false(has_header(0, "Expect:"));
    /* One more than the cap. */
    free(body);
    length = (8U << 20) + 1;
    body = malloc(length);
    assert_non_null(body);
    memset(body, 'x', length);
    answer(&(struct fake_answer){.body = body, .body_length = length, .times = 2});
    call(&get, &outcome);
    assert_int_equal(outcome.error.code, -EMSGSIZE);
    assert_int_equal(outcome.status, 0);
    struct k8s_request list = get;
    list.verb = K8S_LIST;
    call(&list, &outcome);
    assert_int_equal(outcome.error.code, 0);
    assert_int_equal(outcome.body_length, length);
    free(body);
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

/* --- failures --- */

static void test_refused(void **state)
{
    (void)state;
    struct fake_outcome outcome;
    char url[64];
    fake_api_refused(url, sizeof(url));
    free(config.server);
    config.server = strdup(url);
    restart(NULL);
    call(&post, &outcome);
    assert_int_equal(outcome.error.code, -ECONNREFUSED);
    assert_int_equal(outcome.status, 0);
    assert_non_null(strstr(outcome.error.text, "nothing was sent"));
    /* With retry it is tried until the deadline would pass. */
    struct k8s_request request = post;
    request.retry = true;
    request.deadline = fake_now() + 500 * MS;
    call(&request, &outcome);
    assert_int_equal(outcome.error.code, -ECONNREFUSED);
    assert_true(outcome.at > request.deadline - 450 * MS &&
                outcome.at < request.deadline + 50 * MS);
}

/* An attempt that was answered isn't under way any more: when the next one can't be sent, nothing has been done. */
static void test_refused_after_answer(void **state)
{
    (void)state;
    struct fake_outcome outcome;
    struct k8s_request request = post;
    request.retry = true;
    request.deadline = fake_now() + 600 * MS;
    answer(&(struct fake_answer){.status = 503, .ending = FAKE_END_CLOSE});
    submit(&request, &outcome);
    assert_true(fake_api_wait(api, 1));
    usleep(20000);
    fake_api_free(api);
    await(&outcome);
    assert_int_equal(outcome.error.code, -ECONNREFUSED);
    api = fake_api_new(NULL, false);
}

static void test_reset(void **state)
{
    (void)state;
    static const enum fake_ending endings[] = {FAKE_CLOSE, FAKE_BREAK};
    for (size_t i = 0; i < 2; i++) {
        struct fake_outcome outcome;
        unsigned int before = fake_api_count(api);
        struct fake_answer broken = {.body = "{\"half\":", .ending = endings[i], .times = 2};
        struct k8s_request request = get;
        /* A read is repeated until it works. */
        request.retry = true;
        restart(NULL);
        answer(&broken);
        answer(&(struct fake_answer){.body = "{}"});
        call(&request, &outcome);
        assert_int_equal(outcome.error.code, 0);
        assert_string_equal(outcome.body, "{}");
        assert_int_equal(fake_api_count(api), before + 3);
        /* But only when it was asked for. */
        request.retry = false;
        broken.times = 1;
        restart(NULL);
        answer(&broken);
        call(&request, &outcome);
        assert_int_equal(outcome.error.code, -ECONNRESET);
        assert_int_equal(outcome.status, 0);
        assert_int_equal(fake_api_count(api), before + 4);
        /* A write never is. */
        request = post;
        request.retry = true;
        restart(NULL);
        answer(&broken);
        call(&request, &outcome);
        assert_int_equal(outcome.error.code, -ECONNRESET);
        assert_int_equal(fake_api_count(api), before + 5);
    }
}

/* The header promises no better: on a kept connection libcurl repeats a write that wasn't answered at all. */
static void test_reset_of_kept_connection(void **state)
{
    (void)state;
    struct fake_outcome outcome;
    answer(&(struct fake_answer){.body = "{}"});
    answer(&(struct fake_answer){.ending = FAKE_CLOSE});
    answer(&(struct fake_answer){.status = 409, .body = "{\"reason\":\"AlreadyExists\"}"});
    call(&get, &outcome);
    call(&post, &outcome);
    assert_int_equal(outcome.error.code, -EEXIST);
    assert_int_equal(fake_api_count(api), 3);
    assert_string_equal(fake_api_request(api, 2)->line, fake_api_request(api, 1)->line);
}

static void test_server_closes_kept_connection(void **state)
{
    (void)state;
    struct fake_outcome outcome;
    for (unsigned int i = 0; i < 5; i++) {
        answer(&(struct fake_answer){.body = "{}", .ending = FAKE_END_CLOSE});
        call(&post, &outcome);
        assert_int_equal(outcome.error.code, 0);
    }
    assert_int_equal(fake_api_connections(api), 5);
    assert_int_equal(fake_api_count(api), 5);
}

static void test_deadline(void **state)
{
    (void)state;
    struct fake_outcome outcome;
    struct k8s_request request = post;
    request.deadline = fake_now() + 100 * MS;
    request.retry = true;
    call(&request, &outcome); /* no answer is prepared */
    assert_int_equal(outcome.error.code, -ETIMEDOUT);
    assert_int_equal(outcome.status, 0);
    assert_true(outcome.at >= request.deadline - MS && outcome.at < request.deadline + 100 * MS);
    /* Half an answer is none. */
    answer(&(struct fake_answer){.body = "{\"half\":", .ending = FAKE_HOLD});
    request.deadline = fake_now() + 100 * MS;
    call(&request, &outcome);
    assert_int_equal(outcome.error.code, -ETIMEDOUT);
    assert_int_equal(outcome.status, 0);
    /* Passed before anything was sent. */
    request.deadline = fake_now() - 1;
    call(&request, &outcome);
    assert_int_equal(outcome.error.code, -ECONNREFUSED);
    assert_int_equal(fake_api_count(api), 2);
    /* The client's default. */
    restart(&(struct k8s_client_options){.request_timeout = 100 * MS});
    int64_t before = fake_now();
    call(&get, &outcome);
    assert_int_equal(outcome.error.code, -ETIMEDOUT);
    assert_true(outcome.at - before < 1000 * MS);
}

static void test_retry_after(void **state)
{
    (void)state;
    struct fake_outcome outcome;
    struct k8s_request request = post;
    request.retry = true;
    int64_t before = fake_now();
    answer(&(struct fake_answer){.status = 429, .headers = "Retry-After: 1\r\n"});
    answer(&(struct fake_answer){.status = 201, .body = "{}"});
    call(&request, &outcome);
    assert_int_equal(outcome.status, 201);
    assert_true(outcome.at - before >= 1000 * MS && outcome.at - before < 2000 * MS);
    /* Without the header: backoff. */
    before = fake_now();
    answer(&(struct fake_answer){.status = 503, .times = 2});
    answer(&(struct fake_answer){.status = 201, .body = "{}"});
    call(&request, &outcome);
    assert_int_equal(outcome.status, 201);
    assert_true(outcome.at - before >= 240 * MS && outcome.at - before < 1000 * MS);
    /* No time for it: the answer is reported at once. */
    before = fake_now();
    request.deadline = before + 2000 * MS;
    answer(&(struct fake_answer){.status = 503, .headers = "Retry-After: 30\r\n", .body = "busy"});
    call(&request, &outcome);
    assert_int_equal(outcome.status, 503);
    assert_int_equal(outcome.error.code, -EPROTO);
    assert_true(outcome.at - before < 500 * MS);
    /* Other statuses aren't repeated, and nothing is without retry. */
    unsigned int count = fake_api_count(api);
    answer(&(struct fake_answer){.status = 500});
    call(&request, &outcome);
    answer(&(struct fake_answer){.status = 429, .headers = "Retry-After: 1\r\n"});
    call(&post, &outcome);
    assert_int_equal(outcome.error.code, -EBUSY);
    assert_int_equal(fake_api_count(api), count + 2);
}

/* --- tokens --- */

static void write_token(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void test_fixed_token(void **state)
{
    (void)state;
    struct fake_outcome outcome;
    config.token = (char[]){"abc"};
    restart(NULL);
    answer(&(struct fake_answer){.status = 401});
    call(&get, &outcome);
    assert_int_equal(outcome.error.code, -EACCES);
    assert_int_equal(fake_api_count(api), 1);
    assert_true(has_header(0, "\r\nAuthorization: Bearer abc\r\n"));
}

static void test_token_file(void **state)
{
    (void)state;
    struct fake_outcome outcome;
    char path[] = "/tmp/ipwarden-test-token-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    config.token = (char[]){"never"};
    config.token_file = path;
    restart(NULL);
    /* Empty: nothing is sent without it. */
    call(&get, &outcome);
    assert_int_equal(outcome.error.code, -EACCES);
    assert_int_equal(outcome.status, 0);
    write_token(path, "one\n");
    answer(&(struct fake_answer){.body = "{}"});
    call(&get, &outcome);
    assert_int_equal(outcome.error.code, 0);
    assert_true(has_header(0, "\r\nAuthorization: Bearer one\r\n"));
    /* Refused, and the file has another one: asked once more. It may be read once a second only. */
    write_token(path, "two");
    usleep(1050000);
    answer(&(struct fake_answer){.status = 401});
    answer(&(struct fake_answer){.status = 201, .body = "{}"});
    call(&post, &outcome);
    assert_int_equal(outcome.status, 201);
    assert_int_equal(fake_api_count(api), 3);
    assert_true(has_header(1, "\r\nAuthorization: Bearer one\r\n"));
    assert_true(has_header(2, "\r\nAuthorization: Bearer two\r\n"));
    /* Once only, though the file has yet another one by the time of the second answer. */
    write_token(path, "three");
    usleep(1050000);
    answer(&(struct fake_answer){.status = 401});
    answer(&(struct fake_answer){.status = 401, .delay = 1100});
    submit(&post, &outcome);
    assert_true(fake_api_wait(api, 5));
    write_token(path, "four");
    await(&outcome);
    assert_int_equal(outcome.error.code, -EACCES);
    assert_int_equal(fake_api_count(api), 5);
    assert_true(has_header(4, "\r\nAuthorization: Bearer three\r\n"));
    answer(&(struct fake_answer){.status = 401});
    answer(&(struct fake_answer){.status = 401});
    call(&post, &outcome);
    assert_true(has_header(6, "\r\nAuthorization: Bearer four\r\n"));
    /* Not with the token that was refused. */
    usleep(1050000);
    answer(&(struct fake_answer){.status = 401});
    call(&post, &outcome);
    assert_int_equal(outcome.error.code, -EACCES);
    assert_int_equal(fake_api_count(api), 8);
    unlink(path);
}

/* --- many at once, and the end --- */

static void test_concurrent(void **state)
{
    (void)state;
    static struct fake_outcome outcomes[200];
    restart(&(struct k8s_client_options){.max_connections = 4});
    answer(&(struct fake_answer){.body = "{\"many\":1}", .times = 200, .delay = 1});
    for (size_t i = 0; i < 200; i++)
        submit(&post, &outcomes[i]);
    for (size_t i = 0; i < 200; i++) {
        await(&outcomes[i]);
        assert_int_equal(outcomes[i].error.code, 0);
        assert_string_equal(outcomes[i].body, "{\"many\":1}");
    }
    assert_int_equal(fake_api_count(api), 200);
    assert_true(fake_api_connections(api) <= 4);
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
    assert_int_equal(k8s_after(client, CLOCK_SECOND, never, NULL), 0);
    submit(&post, &outcomes[0]);
    assert_int_equal(k8s_submit(client, &get, submit_too_late, &outcomes[1], &error), 0);
    answer(&(struct fake_answer){.request = "PUT", .status = 429, .headers = "Retry-After: 9\r\n"});
    waiting.verb = K8S_UPDATE;
    submit(&waiting, &outcomes[2]);
    assert_true(fake_api_wait(api, 3));
    usleep(20000); /* for the 429 to arrive; either way it must be cancelled */
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
    fake_until(atomic_load(&done) != 0);
    assert_string_equal(order, "abc");
}

/* A request that isn't answered holds up no other one, on a client that has no connection yet. */
static void expect_no_waiting(void)
{
    static struct fake_outcome stuck, others[3];
    struct k8s_request never_answered = post;
    never_answered.deadline = fake_now() + 2000 * MS;
    submit(&never_answered, &stuck);
    answer(&(struct fake_answer){.request = "GET", .body = "{}", .times = 3});
    for (size_t i = 0; i < 3; i++)
        submit(&get, &others[i]);
    for (size_t i = 0; i < 3; i++) {
        await(&others[i]);
        assert_int_equal(others[i].error.code, 0);
    }
    assert_int_equal(stuck.calls, 0);
    await(&stuck);
    assert_int_equal(stuck.error.code, -ETIMEDOUT);
}

static void test_no_waiting(void **state)
{
    (void)state;
    expect_no_waiting();
}

/* --- the observer --- */

static char observed[1024];

static void observe(void *context, const char *verb, const char *resource, int status,
                    double seconds)
{
    if (strcmp(context, "context") != 0 || seconds <= 0 || seconds > 10)
        abort();
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
    call(&(struct k8s_request){.verb = K8S_MERGE_PATCH,
                               .path = "/apis/ipcontroller.ext/v2/ipclaims/a/status",
                               .body = "{}",
                               .body_length = 2,
                               .retry = true},
         &outcome);
    k8s_client_free(client);
    client = NULL;
    assert_string_equal(observed, "create configmaps 201\nget services 0\n"
                                  "patch ipclaims/status 200\n");
}

/* --- TLS --- */

struct tls_case {
    const char *server_name; /* in the certificate; NULL: 127.0.0.1 */
    const char *expected_name;
    bool trusted;
    bool insecure;
    bool require_client;
    bool have_client;
    int code;
};

static void run_tls_case(const struct tls_case *test)
{
    struct fake_tls *tls = fake_tls_new(test->server_name);
    struct fake_tls *other = fake_tls_new(NULL);
    struct fake_outcome outcome;
    k8s_client_free(client);
    fake_api_free(api);
    free(config.server);
    api = fake_api_new(tls, test->require_client);
    config = (struct k8s_config){
        .server = strdup(fake_api_url(api)),
        .ca_pem = test->insecure ? NULL : strdup(fake_tls_ca(test->trusted ? tls : other)),
        .tls_server_name = test->expected_name != NULL ? strdup(test->expected_name) : NULL,
        .insecure = test->insecure,
    };
    if (test->have_client) {
        config.client_cert_pem = strdup(fake_tls_client_cert(tls));
        config.client_key_pem = strdup(fake_tls_client_key(tls));
    }
    client = NULL;
    restart(NULL);
    answer(&(struct fake_answer){.body = "{}", .times = 2});
    call(&get, &outcome);
    if (test->code == -ECONNRESET) /* TLS 1.3 tells the client only after it has sent */
        assert_true(outcome.error.code == -ECONNRESET || outcome.error.code == -ECONNREFUSED);
    else
        assert_int_equal(outcome.error.code, test->code);
    if (test->code == 0) {
        call(&get, &outcome);
        assert_int_equal(outcome.error.code, 0);
        assert_int_equal(fake_api_connections(api), 1);
    }
    k8s_client_free(client);
    client = NULL;
    free(config.ca_pem);
    free(config.tls_server_name);
    free(config.client_cert_pem);
    free(config.client_key_pem);
    fake_api_free(api);
    free(config.server);
    fake_tls_free(tls);
    fake_tls_free(other);
    api = fake_api_new(NULL, false);
    config = (struct k8s_config){.server = strdup(fake_api_url(api))};
}

static void test_tls(void **state)
{
    (void)state;
    static const struct tls_case cases[] = {
        {.trusted = true},
        {.code = -ECONNREFUSED},
        {.insecure = true},
        {.server_name = "kubernetes", .trusted = true, .code = -ECONNREFUSED},
        {.server_name = "kubernetes", .expected_name = "kubernetes", .trusted = true},
        {.server_name = "kubernetes",
         .expected_name = "other",
         .trusted = true,
         .code = -ECONNREFUSED},
        {.trusted = true, .require_client = true, .have_client = true},
        {.trusted = true, .require_client = true, .code = -ECONNRESET},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        run_tls_case(&cases[i]);
}

static void test_no_waiting_with_tls(void **state)
{
    (void)state;
    struct fake_tls *tls = fake_tls_new(NULL);
    struct fake_api *plain = api;
    char *plain_server = config.server;
    api = fake_api_new(tls, false);
    config.server = strdup(fake_api_url(api));
    config.insecure = true;
    restart(NULL);
    expect_no_waiting();
    free(config.server);
    config.server = plain_server;
    config.insecure = false;
    restart(NULL);
    fake_api_free(api);
    api = plain;
    fake_tls_free(tls);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

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
        test(test_refused),
        test(test_refused_after_answer),
        test(test_reset),
        test(test_reset_of_kept_connection),
        test(test_server_closes_kept_connection),
        test(test_deadline),
        test(test_retry_after),
        test(test_fixed_token),
        test(test_token_file),
        test(test_concurrent),
        test(test_submit_from_callback),
        test(test_cancel_at_free),
        test(test_no_waiting),
        test(test_no_waiting_with_tls),
        test(test_after),
        test(test_observer),
        test(test_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
