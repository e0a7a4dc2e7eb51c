/* Requests that don't go well, against a fake API server: what failures become, what is repeated
 * and what isn't, deadlines, tokens, TLS, and that one request doesn't hold up another. */
#include "tests/unit/client_world.h"

#include <errno.h>
#include <stdio.h>

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
    request.deadline = now() + 500 * MS;
    submit(&request, &outcome);
    assert_in_range(next_attempt(&outcome, request.deadline), 80 * MS, 120 * MS);
    assert_in_range(next_attempt(&outcome, request.deadline), 160 * MS, 240 * MS);
    assert_int_equal(next_attempt(&outcome, request.deadline), 0); /* 320 ms at least */
    assert_int_equal(outcome.error.code, -ECONNREFUSED);
    assert_int_equal(outcome.at, now());
}

/* An attempt that was answered isn't under way any more: when the next one can't be sent, nothing
 * has been done. */
static void test_refused_after_answer(void **state)
{
    (void)state;
    struct fake_outcome outcome;
    struct k8s_request request = post;
    request.retry = true;
    request.deadline = now() + 600 * MS;
    answer(&(struct fake_answer){.status = 503, .ending = FAKE_END_CLOSE});
    submit(&request, &outcome);
    fake_until(fake_next_timer(client) < request.deadline);
    fake_api_free(api);
    while (next_attempt(&outcome, request.deadline) > 0)
        ;
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
        request.deadline = now() + 30 * CLOCK_SECOND;
        submit(&request, &outcome);
        while (next_attempt(&outcome, request.deadline) > 0)
            ;
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

/* The header promises no better: on a kept connection libcurl repeats a write that wasn't answered
 * at all. */
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

/* The request has reached the server, which is the count-th: it ends just when its deadline
 * passes. */
static void expect_timeout(struct fake_outcome *outcome, unsigned int count, int64_t deadline)
{
    assert_true(fake_api_wait(api, count));
    assert_int_equal(fake_next_timer(client), deadline);
    advance(deadline - now() - 1);
    assert_int_equal(fake_next_timer(client), deadline);
    assert_int_equal(outcome->calls, 0);
    advance(1);
    await(outcome);
    assert_int_equal(outcome->error.code, -ETIMEDOUT);
    assert_int_equal(outcome->status, 0);
    assert_int_equal(outcome->at, deadline);
}

static void test_deadline(void **state)
{
    (void)state;
    struct fake_outcome outcome;
    struct k8s_request request = post;
    request.deadline = now() + 100 * MS;
    request.retry = true;
    submit(&request, &outcome); /* no answer is prepared */
    expect_timeout(&outcome, 1, request.deadline);
    assert_non_null(strstr(outcome.error.text, "100 ms"));
    /* Half an answer is none. */
    answer(&(struct fake_answer){.body = "{\"half\":", .ending = FAKE_HOLD});
    request.deadline = now() + 100 * MS;
    submit(&request, &outcome);
    expect_timeout(&outcome, 2, request.deadline);
    /* Passed before anything was sent. */
    request.deadline = now() - 1;
    call(&request, &outcome);
    assert_int_equal(outcome.error.code, -ECONNREFUSED);
    assert_int_equal(fake_api_count(api), 2);
    /* The client's default. */
    restart(&(struct k8s_client_options){.request_timeout = 100 * MS});
    submit(&get, &outcome);
    expect_timeout(&outcome, 3, now() + 100 * MS);
}

static void test_retry_after(void **state)
{
    (void)state;
    struct fake_outcome outcome;
    struct k8s_request request = post;
    request.retry = true;
    request.deadline = now() + 30 * CLOCK_SECOND;
    answer(&(struct fake_answer){.status = 429, .headers = "Retry-After: 1\r\n"});
    answer(&(struct fake_answer){.status = 201, .body = "{}"});
    submit(&request, &outcome);
    assert_in_range(next_attempt(&outcome, request.deadline), 1000 * MS, 1100 * MS);
    await(&outcome);
    assert_int_equal(outcome.status, 201);
    /* Without the header: backoff. */
    answer(&(struct fake_answer){.status = 503, .times = 2});
    answer(&(struct fake_answer){.status = 201, .body = "{}"});
    submit(&request, &outcome);
    assert_in_range(next_attempt(&outcome, request.deadline), 80 * MS, 120 * MS);
    assert_in_range(next_attempt(&outcome, request.deadline), 160 * MS, 240 * MS);
    await(&outcome);
    assert_int_equal(outcome.status, 201);
    /* No time for it: the answer is reported at once. */
    request.deadline = now() + 2000 * MS;
    answer(&(struct fake_answer){.status = 503, .headers = "Retry-After: 30\r\n", .body = "busy"});
    call(&request, &outcome);
    assert_int_equal(outcome.status, 503);
    assert_int_equal(outcome.error.code, -EPROTO);
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
    advance(CLOCK_SECOND);
    answer(&(struct fake_answer){.status = 401});
    answer(&(struct fake_answer){.status = 201, .body = "{}"});
    call(&post, &outcome);
    assert_int_equal(outcome.status, 201);
    assert_int_equal(fake_api_count(api), 3);
    assert_true(has_header(1, "\r\nAuthorization: Bearer one\r\n"));
    assert_true(has_header(2, "\r\nAuthorization: Bearer two\r\n"));
    /* Once only, though the file has yet another one by the time of the second answer. */
    write_token(path, "three");
    advance(CLOCK_SECOND);
    answer(&(struct fake_answer){.status = 401});
    submit(&post, &outcome);
    assert_true(fake_api_wait(api, 5));
    write_token(path, "four");
    advance(CLOCK_SECOND);
    answer(&(struct fake_answer){.status = 401});
    await(&outcome);
    assert_int_equal(outcome.error.code, -EACCES);
    assert_int_equal(fake_api_count(api), 5);
    assert_true(has_header(4, "\r\nAuthorization: Bearer three\r\n"));
    answer(&(struct fake_answer){.status = 401});
    answer(&(struct fake_answer){.status = 401});
    call(&post, &outcome);
    assert_true(has_header(6, "\r\nAuthorization: Bearer four\r\n"));
    /* Not with the token that was refused. */
    advance(CLOCK_SECOND);
    answer(&(struct fake_answer){.status = 401});
    call(&post, &outcome);
    assert_int_equal(outcome.error.code, -EACCES);
    assert_int_equal(fake_api_count(api), 8);
    unlink(path);
}

/* A request that isn't answered holds up no other one, on a client that has no connection yet. */
static void expect_no_waiting(void)
{
    static struct fake_outcome stuck, others[3];
    struct k8s_request never_answered = post;
    never_answered.deadline = now() + 2000 * MS;
    submit(&never_answered, &stuck);
    answer(&(struct fake_answer){.request = "GET", .body = "{}", .times = 3});
    for (size_t i = 0; i < 3; i++)
        submit(&get, &others[i]);
    for (size_t i = 0; i < 3; i++) {
        await(&others[i]);
        assert_int_equal(others[i].error.code, 0);
    }
    assert_int_equal(stuck.calls, 0);
    advance(2000 * MS);
    await(&stuck);
    assert_int_equal(stuck.error.code, -ETIMEDOUT);
}

static void test_no_waiting(void **state)
{
    (void)state;
    expect_no_waiting();
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_refused),
        test(test_refused_after_answer),
        test(test_reset),
        test(test_reset_of_kept_connection),
        test(test_server_closes_kept_connection),
        test(test_deadline),
        test(test_retry_after),
        test(test_fixed_token),
        test(test_token_file),
        test(test_no_waiting),
        test(test_tls),
        test(test_no_waiting_with_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
