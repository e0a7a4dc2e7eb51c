/* The listener against a real client on loopback: bodies, answers from other threads at every
 * moment, clients that vanish, certificates that change under load. */
#include "server/http/listener.h"

#include "server/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>

#include <poll.h>

#include "server/http/http_request.h"
#include "tests/unit/http_client.h"

/* ---- what the server does, chosen by the path ---- */

#define PARKED_MOST 64

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct http_request *parked[PARKED_MOST];
    size_t count;
    bool over;
    atomic_uint handled;
} world = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void park(struct http_request *request)
{
    pthread_mutex_lock(&world.mutex);
    client_check(world.count < PARKED_MOST);
    world.parked[world.count++] = request;
    pthread_cond_signal(&world.changed);
    pthread_mutex_unlock(&world.mutex);
}

static struct http_request *take_parked(bool wait)
{
    struct http_request *request = NULL;
    pthread_mutex_lock(&world.mutex);
    while (wait && world.count == 0 && !world.over)
        pthread_cond_wait(&world.changed, &world.mutex);
    if (world.count > 0)
        request = world.parked[--world.count];
    pthread_mutex_unlock(&world.mutex);
    return request;
}

static size_t parked_count(void)
{
    pthread_mutex_lock(&world.mutex);
    size_t count = world.count;
    pthread_mutex_unlock(&world.mutex);
    return count;
}

static void answer_echo(struct http_request *request)
{
    size_t length;
    const char *body = http_request_body(request, &length);
    client_check(body[length] == '\0');
    char *copy = malloc(length + 1);
    client_check(copy != NULL);
    memcpy(copy, body, length + 1);
    http_request_answer(request, 200, "application/octet-stream", copy, length);
}

static void answer_describe(struct http_request *request)
{
    const char *q = http_request_query(request, "q");
    const char *header = http_request_header(request, "x-test");
    http_request_answer_text(request, 200, "%s %s q=%s header=%s", http_request_method(request),
                             http_request_path(request), q != NULL ? q : "(none)",
                             header != NULL ? header : "(none)");
}

static void *answer_in_thread(void *request)
{
    answer_echo(request);
    return NULL;
}

/* Answered by another thread, surely before the handler returns. */
static void answer_before_return(struct http_request *request)
{
    pthread_t thread;
    client_check(pthread_create(&thread, NULL, answer_in_thread, request) == 0);
    client_check(pthread_join(thread, NULL) == 0);
}

static void answer_headers(struct http_request *request)
{
    http_request_add_header(request, "Allow", "POST");
    http_request_add_header(request, "Retry-After", "1");
    http_request_answer(request, 503, NULL, NULL, 0);
}

static void answer_impossible(struct http_request *request)
{
    http_request_add_header(request, "X-Broken", "one\r\nX-Forged: two");
    http_request_answer_text(request, 200, "never seen");
}

static void answer_status(struct http_request *request)
{
    http_request_answer_status(request, 422, "Invalid", "say \"%s\"", "no\n");
}

static void answer_received(struct http_request *request)
{
    int64_t age = clock_monotonic(clock_system()) - http_request_received(request);
    http_request_answer_text(request, 200, "%s",
                             age >= 0 && age < 60 * CLOCK_SECOND ? "recent" : "wrong");
}

static void handle(void *context, struct http_request *request)
{
    static const struct {
        const char *path;
        void (*answer)(struct http_request *request);
    } table[] = {
        {"/echo", answer_echo},
        {"/park", park},
        {"/before", answer_before_return},
        {"/headers", answer_headers},
        {"/impossible", answer_impossible},
        {"/status", answer_status},
        {"/received", answer_received},
    };
    client_check(context == &world);
    atomic_fetch_add(&world.handled, 1);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strcmp(http_request_path(request), table[i].path) == 0) {
            table[i].answer(request);
            return;
        }
    }
    answer_describe(request);
}

/* ---- fixtures ---- */

static struct pair authority;
static struct pair other_authority;
static struct pair server_pair;
static struct pair second_pair;

static struct http_listener_options plain_options(void)
{
    return (struct http_listener_options){
        .address = "127.0.0.1:0", .threads = 2, .handler = handle, .context = &world};
}

static struct http_listener_options tls_options(void)
{
    struct http_listener_options options = plain_options();
    options.tls = true;
    options.certificate.chain_pem = server_pair.certificate_pem;
    options.certificate.key_pem = server_pair.key_pem;
    return options;
}

static const struct client_options trusting = {.tls = true, .authority = &authority};

static struct http_listener *start(const struct http_listener_options *options)
{
    struct http_listener *listener = NULL;
    struct error error = {.text = ""};
    if (http_listener_start(options, &listener, &error) < 0)
        fail_msg("%s", error.text);
    return listener;
}

static void stop_when_quiet(struct http_listener *listener)
{
    wait_until(http_listener_active(listener) == 0);
    http_listener_stop(listener);
}

static int make_pairs(void **state)
{
    (void)state;
    pair_make(&authority, "authority", NULL, NULL);
    pair_make(&other_authority, "other authority", NULL, NULL);
    pair_make(&server_pair, "first", GNUTLS_KP_TLS_WWW_SERVER, &authority);
    pair_make(&second_pair, "second", GNUTLS_KP_TLS_WWW_SERVER, &authority);
    return 0;
}

static int free_pairs(void **state)
{
    (void)state;
    pair_free(&authority);
    pair_free(&other_authority);
    pair_free(&server_pair);
    pair_free(&second_pair);
    return 0;
}

/* ---- tests ---- */

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

static char *make_body(size_t length)
{
    char *body = malloc(length + 1);
    client_check(body != NULL);
    for (size_t i = 0; i < length; i++)
        body[i] = (char)('a' + i % 23);
    body[length] = '\0';
    return body;
}

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
    struct client client;
    client_open(&client, http_listener_port(listener), client_options);
    /* All on one connection: a 413 leaves it usable. */
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *body = make_body(cases[i].length);
        struct answer answer;
        if (cases[i].chunk > 0) {
            send_chunked(&client, body, cases[i].length, cases[i].chunk);
            client_check(client_read(&client, &answer, true));
        } else {
            client_ask(&client, "POST", "/echo", NULL, body, cases[i].length, &answer);
        }
        assert_int_equal(answer.status, cases[i].status);
        if (answer.status == 200) {
            assert_int_equal(answer.length, cases[i].length);
            assert_memory_equal(answer.body, body, cases[i].length);
        } else {
            assert_non_null(strstr(answer.body, "\"reason\":\"RequestEntityTooLarge\""));
            assert_non_null(strstr(answer.body, "more than 100000 bytes"));
        }
        answer_free(&answer);
        free(body);
    }
    client_close(&client);
    stop_when_quiet(listener);
}

static void test_bodies(void **state)
{
    struct http_listener_options options = plain_options();
    (void)state;
    options.body_maximum = 100000;
    check_bodies(&options, NULL);
}

static void test_bodies_tls(void **state)
{
    struct http_listener_options options = tls_options();
    (void)state;
    options.body_maximum = 100000;
    check_bodies(&options, &trusting);
}

/* The cap that is used when none is given: 7 MiB. */
static void test_default_cap(void **state)
{
    struct http_listener_options options = tls_options();
    struct http_listener *listener = start(&options);
    struct client client;
    (void)state;
    client_open(&client, http_listener_port(listener), &trusting);
    for (size_t extra = 0; extra < 2; extra++) {
        size_t length = ((size_t)7 << 20) + extra;
        char *body = make_body(length);
        struct answer answer;
        client_ask(&client, "POST", "/echo", NULL, body, length, &answer);
        assert_int_equal(answer.status, extra == 0 ? 200 : 413);
        answer_free(&answer);
        free(body);
    }
    client_close(&client);
    stop_when_quiet(listener);
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

/* A body that is too large to be thrown away is refused before it is read. */
static void test_absurd_length(void **state)
{
    struct http_listener_options options = plain_options();
    struct http_listener *listener = start(&options);
    struct client client;
    struct answer answer;
    (void)state;
    client_open(&client, http_listener_port(listener), NULL);
    client_send_text(&client,
                     "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999999\r\n\r\n");
    client_check(client_read(&client, &answer, true));
    assert_int_equal(answer.status, 413);
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
    client_ask(&client, "GET", "/short", NULL, NULL, 0, &answer);
    assert_int_equal(answer.status, 200);
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

/* Several requests in one piece, answered in order, also when the first waits for another thread. */
static void test_pipelined(void **state)
{
    static const char text[] = "POST /park HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\none"
                               "POST /before HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\ntwo"
                               "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nthree";
    static const char *const expected[] = {"one", "two", "three"};
    struct http_listener_options options = tls_options();
    struct http_listener *listener = start(&options);
    struct client client;
    struct answer answer;
    (void)state;
    client_open(&client, http_listener_port(listener), &trusting);
    unsigned int before = atomic_load(&world.handled);
    client_send_text(&client, text);
    wait_until(parked_count() == 1);
    assert_int_equal(atomic_load(&world.handled), before + 1);
    assert_int_equal(http_listener_active(listener), 1);
    answer_echo(take_parked(false));
    for (size_t i = 0; i < 3; i++) {
        client_check(client_read(&client, &answer, true));
        assert_string_equal(answer.body, expected[i]);
        answer_free(&answer);
    }
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

/* ---- answers from other threads ---- */

#define ASKERS 6

struct asker {
    unsigned int port;
    const struct client_options *options;
    const char *target;
    unsigned int times;
    pthread_t thread;
};

static void *ask_many(void *context)
{
    const struct asker *asker = context;
    struct client client;
    client_open(&client, asker->port, asker->options);
    for (unsigned int i = 0; i < asker->times; i++) {
        char body[32];
        struct answer answer;
        int length = snprintf(body, sizeof(body), "%p %u", (const void *)asker, i);
        client_ask(&client, "POST", asker->target, NULL, body, (size_t)length, &answer);
        client_check(answer.status == 200);
        client_check(strcmp(answer.body, body) == 0);
        answer_free(&answer);
    }
    client_close(&client);
    return NULL;
}

static void *answer_parked(void *context)
{
    struct http_request *request;
    (void)context;
    while ((request = take_parked(true)) != NULL)
        answer_echo(request);
    return NULL;
}

static void run_askers(struct http_listener *listener, const struct client_options *options,
                       const char *target, unsigned int times)
{
    struct asker askers[ASKERS];
    for (size_t i = 0; i < ASKERS; i++) {
        askers[i] = (struct asker){.port = http_listener_port(listener),
                                   .options = options,
                                   .target = target,
                                   .times = times};
        client_check(pthread_create(&askers[i].thread, NULL, ask_many, &askers[i]) == 0);
    }
    for (size_t i = 0; i < ASKERS; i++)
        pthread_join(askers[i].thread, NULL);
}

/* The answering threads take a request as soon as the handler has given it away: the answer comes
 * before, while and after the handler returns. */
static void check_late_answers(const struct http_listener_options *options,
                               const struct client_options *client_options)
{
    struct http_listener *listener = start(options);
    pthread_t answerers[2];
    world.over = false;
    for (size_t i = 0; i < 2; i++)
        client_check(pthread_create(&answerers[i], NULL, answer_parked, NULL) == 0);
    run_askers(listener, client_options, "/park", 1000);
    pthread_mutex_lock(&world.mutex);
    world.over = true;
    pthread_cond_broadcast(&world.changed);
    pthread_mutex_unlock(&world.mutex);
    for (size_t i = 0; i < 2; i++)
        pthread_join(answerers[i], NULL);
    stop_when_quiet(listener);
}

static void test_answers_from_other_threads(void **state)
{
    struct http_listener_options options = plain_options();
    (void)state;
    check_late_answers(&options, NULL);
}

static void test_answers_from_other_threads_tls(void **state)
{
    struct http_listener_options options = tls_options();
    (void)state;
    check_late_answers(&options, &trusting);
}

static void test_answers_from_other_threads_one_thread(void **state)
{
    struct http_listener_options options = tls_options();
    (void)state;
    options.threads = 1;
    check_late_answers(&options, &trusting);
}

static void test_answers_before_the_handler_returns(void **state)
{
    struct http_listener_options options = tls_options();
    struct http_listener *listener = start(&options);
    (void)state;
    run_askers(listener, &trusting, "/before", 200);
    stop_when_quiet(listener);
}

/* Nobody is left to read the answer: nothing leaks, nothing is used after its end, the count falls. */
static void check_vanishing(const struct http_listener_options *options,
                            const struct client_options *client_options)
{
    struct http_listener *listener = start(options);
    for (int round = 0; round < 20; round++) {
        struct client client;
        client_open(&client, http_listener_port(listener), client_options);
        client_send_text(&client,
                         "POST /park HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\ngone");
        wait_until(parked_count() == 1);
        if (round % 2 == 0) /* closed with a reset, or orderly */
            setsockopt(client.socket, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1},
                       sizeof(struct linger));
        client_close(&client);
        assert_int_equal(http_listener_active(listener), 1);
        answer_echo(take_parked(false));
        wait_until(http_listener_active(listener) == 0);
    }
    http_listener_stop(listener);
}

static void test_client_gone_while_suspended(void **state)
{
    struct http_listener_options options = plain_options();
    (void)state;
    check_vanishing(&options, NULL);
}

static void test_client_gone_while_suspended_tls(void **state)
{
    struct http_listener_options options = tls_options();
    (void)state;
    check_vanishing(&options, &trusting);
}

/* Gone in the middle of the headers and of the body. */
static void test_client_gone_while_sending(void **state)
{
    static const char *const pieces[] = {
        "",
        "POST /ec",
        "POST /echo HTTP/1.1\r\nHo",
        "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nhalf",
        "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe"};
    struct http_listener_options options = tls_options();
    struct http_listener *listener = start(&options);
    unsigned int before = atomic_load(&world.handled);
    (void)state;
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct client client;
        client_open(&client, http_listener_port(listener), &trusting);
        client_send_text(&client, pieces[i]);
        client_close(&client);
    }
    http_listener_stop(listener);
    assert_int_equal(atomic_load(&world.handled), before);
}

/* Stopping right after the last answer: resumed connections don't hold it up. */
static void test_stop_after_late_answers(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        struct http_listener_options options = tls_options();
        options.threads = round % 2 == 0 ? 1 : 2;
        struct http_listener *listener = start(&options);
        struct client clients[4];
        for (size_t i = 0; i < 4; i++) {
            client_open(&clients[i], http_listener_port(listener), &trusting);
            client_send_text(&clients[i],
                             "POST /park HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nlast");
        }
        wait_until(parked_count() == 4);
        for (size_t i = 0; i < 4; i++)
            answer_echo(take_parked(false));
        http_listener_stop(listener);
        for (size_t i = 0; i < 4; i++)
            client_close(&clients[i]);
    }
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

/* ---- certificates ---- */

/* The name in the certificate that a new handshake gets. */
static void serving_name(const struct http_listener *listener, char ret_name[64])
{
    struct client client;
    unsigned int count = 0;
    size_t size = 64;
    gnutls_x509_crt_t crt;
    client_open(&client, http_listener_port(listener), &trusting);
    const gnutls_datum_t *list = gnutls_certificate_get_peers(client.session, &count);
    client_check(count == 1 && gnutls_x509_crt_init(&crt) == 0);
    client_check(gnutls_x509_crt_import(crt, &list[0], GNUTLS_X509_FMT_DER) == 0);
    client_check(gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, ret_name,
                                               &size) == 0);
    gnutls_x509_crt_deinit(crt);
    client_close(&client);
}

static void test_certificate_is_replaced(void **state)
{
    const struct http_certificate second = {second_pair.certificate_pem, second_pair.key_pem};
    const struct {
        struct http_certificate pem;
        const char *text; /* in the error */
    } bad[] = {
        {{second_pair.certificate_pem, server_pair.key_pem}, "does not belong"},
        {{"", second_pair.key_pem}, "empty"},
        {{NULL, second_pair.key_pem}, "empty"},
        {{second_pair.certificate_pem, NULL}, "empty"},
        {{"nonsense", second_pair.key_pem}, "certificate chain"},
        {{second_pair.certificate_pem, "nonsense"}, "private key"},
        {{second_pair.key_pem, second_pair.key_pem}, "certificate chain"},
        {{second_pair.certificate_pem, second_pair.certificate_pem}, "private key"},
    };
    struct http_listener_options options = tls_options();
    struct http_listener *listener = start(&options);
    struct client old;
    struct answer answer;
    char name[64];
    (void)state;
    client_open(&old, http_listener_port(listener), &trusting);
    serving_name(listener, name);
    assert_string_equal(name, "first");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct error error = {.text = ""};
        assert_int_equal(http_listener_set_certificate(listener, &bad[i].pem, &error), -EINVAL);
        assert_non_null(strstr(error.text, bad[i].text));
        serving_name(listener, name);
        assert_string_equal(name, "first");
    }
    assert_int_equal(http_listener_set_certificate(listener, &second, NULL), 0);
    serving_name(listener, name);
    assert_string_equal(name, "second");
    client_ask(&old, "GET", "/still", NULL, NULL, 0, &answer);
    assert_int_equal(answer.status, 200);
    answer_free(&answer);
    client_close(&old);
    stop_when_quiet(listener);
}

static void test_bad_first_certificate(void **state)
{
    struct http_listener_options options = tls_options();
    struct http_listener *listener = NULL;
    struct error error = {.text = ""};
    (void)state;
    options.certificate.key_pem = second_pair.key_pem;
    assert_int_equal(http_listener_start(&options, &listener, &error), -EINVAL);
    assert_non_null(strstr(error.text, "does not belong"));
    assert_null(listener);
}

static atomic_bool rotating;

static void *rotate(void *listener)
{
    const struct http_certificate certificates[] = {
        {second_pair.certificate_pem, second_pair.key_pem},
        {server_pair.certificate_pem, server_pair.key_pem}};
    for (unsigned int i = 0; atomic_load(&rotating); i++)
        client_check(http_listener_set_certificate(listener, &certificates[i % 2], NULL) == 0);
    return NULL;
}

static void *connect_many(void *context)
{
    for (int i = 0; i < 60; i++) {
        struct asker once = *(struct asker *)context;
        once.times = 2;
        ask_many(&once);
    }
    return NULL;
}

/* Certificates change all the time while clients connect and ask: not one request fails. */
static void test_rotation_under_load(void **state)
{
    struct http_listener_options options = tls_options();
    struct http_listener *listener = start(&options);
    struct asker asker = {.port = http_listener_port(listener),
                          .options = &trusting,
                          .target = "/echo",
                          .times = 500};
    pthread_t rotator;
    pthread_t threads[3];
    (void)state;
    atomic_store(&rotating, true);
    client_check(pthread_create(&rotator, NULL, rotate, listener) == 0);
    for (size_t i = 0; i < 3; i++)
        client_check(pthread_create(&threads[i], NULL, i == 0 ? ask_many : connect_many, &asker) ==
                     0);
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&rotating, false);
    pthread_join(rotator, NULL);
    stop_when_quiet(listener);
}

static void test_client_authority(void **state)
{
    struct pair good;
    struct pair foreign;
    struct pair wrong_purpose;
    pair_make(&good, "client", GNUTLS_KP_TLS_WWW_CLIENT, &authority);
    pair_make(&foreign, "foreign", GNUTLS_KP_TLS_WWW_CLIENT, &other_authority);
    pair_make(&wrong_purpose, "server", GNUTLS_KP_TLS_WWW_SERVER, &authority);
    const struct {
        const struct pair *identity;
        unsigned int status;
    } cases[] = {{NULL, 403}, {&foreign, 403}, {&wrong_purpose, 403}, {&good, 200}};
    struct http_listener_options options = tls_options();
    options.client_ca_pem = authority.certificate_pem;
    struct http_listener *listener = start(&options);
    unsigned int before = atomic_load(&world.handled);
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct client_options client_options = trusting;
        struct client client;
        client_options.identity = cases[i].identity;
        client_open(&client, http_listener_port(listener), &client_options);
        for (int twice = 0; twice < 2; twice++) {
            struct answer answer;
            client_ask(&client, "POST", "/echo", NULL, "body", 4, &answer);
            assert_int_equal(answer.status, cases[i].status);
            if (answer.status == 403)
                assert_non_null(strstr(answer.body, "\"reason\":\"Forbidden\""));
            answer_free(&answer);
        }
        client_close(&client);
    }
    assert_int_equal(atomic_load(&world.handled), before + 2);
    stop_when_quiet(listener);
    pair_free(&good);
    pair_free(&foreign);
    pair_free(&wrong_purpose);
}

static void test_old_tls_is_refused(void **state)
{
    static const struct {
        const char *priorities;
        bool accepted;
    } cases[] = {{"NORMAL:-VERS-ALL:+VERS-TLS1.1", false},
                 {"NORMAL:-VERS-ALL:+VERS-TLS1.2", true},
                 {"NORMAL:-VERS-ALL:+VERS-TLS1.3", true}};
    struct http_listener_options options = tls_options();
    struct http_listener *listener = start(&options);
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct client client;
        client_open(&client, http_listener_port(listener), NULL);
        client.tls = true;
        client_tls(&client, &trusting);
        client_check(gnutls_priority_set_direct(client.session, cases[i].priorities, NULL) == 0);
        assert_int_equal(gnutls_handshake(client.session) == 0, cases[i].accepted);
        client_close(&client);
    }
    http_listener_stop(listener);
}

/* ---- handshakes ---- */

static ssize_t pull_nothing(gnutls_transport_ptr_t pointer, void *data, size_t size)
{
    (void)pointer;
    (void)data;
    (void)size;
    errno = EAGAIN;
    return -1;
}

/* Opens a connection that says hello and then nothing. */
static void open_stalled(struct client *client, unsigned int port)
{
    client_open(client, port, NULL);
    client->tls = true;
    client_tls(client, &trusting);
    gnutls_transport_set_pull_function(client->session, pull_nothing);
    client_check(gnutls_handshake(client->session) == GNUTLS_E_AGAIN);
}

static bool is_closed_within(const struct client *client, int milliseconds)
{
    struct pollfd poll_for = {.fd = client->socket, .events = POLLRDHUP};
    return poll(&poll_for, 1, milliseconds) == 1;
}

static int64_t processor_time(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return used.tv_sec * CLOCK_SECOND + used.tv_nsec;
}

/* Peers that stop in the middle of a handshake cost no processor, don't disturb others, and go. */
static void test_stalled_handshake(void **state)
{
    struct http_listener_options options = tls_options();
    struct http_listener *listener = start(&options);
    struct client stalled[3];
    struct client client;
    struct answer answer;
    (void)state;
    listener->handshake_limit = 700 * CLOCK_MILLISECOND;
    for (size_t i = 0; i < 3; i++)
        open_stalled(&stalled[i], http_listener_port(listener));
    int64_t before = processor_time();
    assert_false(is_closed_within(&stalled[0], 300));
    assert_true(processor_time() - before < 100 * CLOCK_MILLISECOND);
    client_open(&client, http_listener_port(listener), &trusting);
    client_ask(&client, "GET", "/a", NULL, NULL, 0, &answer);
    assert_int_equal(answer.status, 200);
    answer_free(&answer);
    for (size_t i = 0; i < 3; i++) {
        assert_true(is_closed_within(&stalled[i], CLIENT_DEADLINE_SECONDS * 1000));
        client_close(&stalled[i]);
    }
    client_close(&client);
    stop_when_quiet(listener);
}

/* The handshake's deadline is over for who is through, with both versions. */
static void test_established_connection_may_wait(void **state)
{
    static const char *const versions[] = {"NORMAL:-VERS-ALL:+VERS-TLS1.2",
                                           "NORMAL:-VERS-ALL:+VERS-TLS1.3"};
    struct http_listener_options options = tls_options();
    struct http_listener *listener = start(&options);
    (void)state;
    listener->handshake_limit = 100 * CLOCK_MILLISECOND;
    for (size_t i = 0; i < 2; i++) {
        struct client client;
        struct answer answer;
        client_open(&client, http_listener_port(listener), NULL);
        client.tls = true;
        client_tls(&client, &trusting);
        client_check(gnutls_priority_set_direct(client.session, versions[i], NULL) == 0);
        client_check(gnutls_handshake(client.session) == 0);
        assert_false(is_closed_within(&client, 250));
        client_ask(&client, "GET", "/a", NULL, NULL, 0, &answer);
        assert_int_equal(answer.status, 200);
        answer_free(&answer);
        assert_false(is_closed_within(&client, 250));
        client_ask(&client, "GET", "/a", NULL, NULL, 0, &answer);
        assert_int_equal(answer.status, 200);
        answer_free(&answer);
        client_close(&client);
    }
    stop_when_quiet(listener);
}

/* A handshake whose bytes come one at a time gets through, within its deadline. */
static ssize_t push_one(gnutls_transport_ptr_t pointer, const void *data, size_t size)
{
    client_check(size > 0);
    return send((int)(intptr_t)pointer, data, 1, MSG_NOSIGNAL);
}

static void test_slow_handshake(void **state)
{
    struct http_listener_options options = tls_options();
    struct http_listener *listener = start(&options);
    struct client client;
    struct answer answer;
    (void)state;
    client_open(&client, http_listener_port(listener), NULL);
    client.tls = true;
    client_tls(&client, &trusting);
    gnutls_transport_set_push_function(client.session, push_one);
    client_check(gnutls_handshake(client.session) == 0);
    client_ask(&client, "POST", "/echo", NULL, "body", 4, &answer);
    assert_string_equal(answer.body, "body");
    answer_free(&answer);
    client_close(&client);
    stop_when_quiet(listener);
}

static void test_stop_with_stalled_handshakes(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        struct http_listener_options options = tls_options();
        struct http_listener *listener = start(&options);
        struct client stalled[3];
        for (size_t i = 0; i < 3; i++)
            open_stalled(&stalled[i], http_listener_port(listener));
        http_listener_stop(listener);
        for (size_t i = 0; i < 3; i++)
            client_close(&stalled[i]);
    }
}

static void test_nonsense_instead_of_hello(void **state)
{
    struct http_listener_options options = tls_options();
    struct http_listener *listener = start(&options);
    struct client client;
    (void)state;
    client_open(&client, http_listener_port(listener), NULL);
    client_send_text(&client, "GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    while (client_receive(&client, client.buffer, sizeof(client.buffer)) > 0) {
    } /* an alert, perhaps, and the end */
    client_close(&client);
    stop_when_quiet(listener);
}

/* ---- large answers ---- */

/* A client that reads late and slowly: the socket takes the answer in pieces. */
static void check_large_answer(const struct http_listener_options *options,
                               const struct client_options *client_options)
{
    const size_t length = (size_t)6 << 20;
    struct http_listener *listener = start(options);
    struct client clients[2];
    char *body = make_body(length);
    char head[128];
    int size = snprintf(head, sizeof(head),
                        "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n\r\n", length);
    for (size_t i = 0; i < 2; i++) {
        client_open(&clients[i], http_listener_port(listener), client_options);
        client_send(&clients[i], head, (size_t)size);
        client_send(&clients[i], body, length);
    }
    wait_until(http_listener_active(listener) == 2);
    for (size_t i = 0; i < 2; i++) {
        struct answer answer;
        client_check(client_read(&clients[i], &answer, true));
        assert_int_equal(answer.length, length);
        assert_memory_equal(answer.body, body, length);
        answer_free(&answer);
        client_ask(&clients[i], "GET", "/a", NULL, NULL, 0, &answer);
        assert_int_equal(answer.status, 200);
        answer_free(&answer);
        client_close(&clients[i]);
    }
    free(body);
    stop_when_quiet(listener);
}

static void test_large_answers(void **state)
{
    struct http_listener_options options = plain_options();
    (void)state;
    check_large_answer(&options, NULL);
}

static void test_large_answers_tls(void **state)
{
    struct http_listener_options options = tls_options();
    (void)state;
    check_large_answer(&options, &trusting);
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
        cmocka_unit_test(test_bodies_tls),
        cmocka_unit_test(test_default_cap),
        cmocka_unit_test(test_expect_continue),
        cmocka_unit_test(test_absurd_length),
        cmocka_unit_test(test_long_path),
        cmocka_unit_test(test_slow_bytes),
        cmocka_unit_test(test_pipelined),
        cmocka_unit_test(test_idle_connection_is_closed),
        cmocka_unit_test(test_answers_from_other_threads),
        cmocka_unit_test(test_answers_from_other_threads_tls),
        cmocka_unit_test(test_answers_from_other_threads_one_thread),
        cmocka_unit_test(test_answers_before_the_handler_returns),
        cmocka_unit_test(test_client_gone_while_suspended),
        cmocka_unit_test(test_client_gone_while_suspended_tls),
        cmocka_unit_test(test_client_gone_while_sending),
        cmocka_unit_test(test_stop_after_late_answers),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_certificate_is_replaced),
        cmocka_unit_test(test_bad_first_certificate),
        cmocka_unit_test(test_rotation_under_load),
        cmocka_unit_test(test_client_authority),
        cmocka_unit_test(test_old_tls_is_refused),
        cmocka_unit_test(test_stalled_handshake),
        cmocka_unit_test(test_established_connection_may_wait),
        cmocka_unit_test(test_slow_handshake),
        cmocka_unit_test(test_stop_with_stalled_handshakes),
        cmocka_unit_test(test_nonsense_instead_of_hello),
        cmocka_unit_test(test_large_answers),
        cmocka_unit_test(test_large_answers_tls),
        cmocka_unit_test(test_start_failures),
        cmocka_unit_test(test_reuse_port),
    };
    return cmocka_run_group_tests(tests, make_pairs, free_pairs);
}
