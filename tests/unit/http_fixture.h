/* A listener with handlers that do what the path says, its certificates, and what its tests share.
 * Include after cmocka.h. */
#ifndef IPWARDEN_TESTS_HTTP_FIXTURE_H
#define IPWARDEN_TESTS_HTTP_FIXTURE_H

#include "server/base/clock.h"
#include "server/http/listener.h"
#include "tests/unit/http_client.h"

#include <pthread.h>
#include <stdatomic.h>

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

static inline void park(struct http_request *request)
{
    pthread_mutex_lock(&world.mutex);
    client_check(world.count < PARKED_MOST);
    world.parked[world.count++] = request;
    pthread_cond_signal(&world.changed);
    pthread_mutex_unlock(&world.mutex);
}

static inline struct http_request *take_parked(bool wait)
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

static inline size_t parked_count(void)
{
    pthread_mutex_lock(&world.mutex);
    size_t count = world.count;
    pthread_mutex_unlock(&world.mutex);
    return count;
}

static inline void answer_echo(struct http_request *request)
{
    size_t length;
    const char *body = http_request_body(request, &length);
    client_check(body[length] == '\0');
    char *copy = malloc(length + 1);
    client_check(copy != NULL);
    memcpy(copy, body, length + 1);
    http_request_answer(request, 200, "application/octet-stream", copy, length);
}

/* What came, twice. */
static inline void answer_double(struct http_request *request)
{
    size_t length;
    const char *body = http_request_body(request, &length);
    char *copy = malloc(2 * length);
    client_check(copy != NULL);
    memcpy(copy, body, length);
    memcpy(copy + length, body, length);
    http_request_answer(request, 200, "application/octet-stream", copy, 2 * length);
}

static inline void answer_describe(struct http_request *request)
{
    const char *q = http_request_query(request, "q");
    const char *header = http_request_header(request, "x-test");
    http_request_answer_text(request, 200, "%s %s q=%s header=%s", http_request_method(request),
                             http_request_path(request), q != NULL ? q : "(none)",
                             header != NULL ? header : "(none)");
}

static inline void *answer_in_thread(void *request)
{
    answer_echo(request);
    return NULL;
}

/* Answered by another thread, surely before the handler returns. */
static inline void answer_before_return(struct http_request *request)
{
    pthread_t thread;
    client_check(pthread_create(&thread, NULL, answer_in_thread, request) == 0);
    client_check(pthread_join(thread, NULL) == 0);
}

static inline void answer_headers(struct http_request *request)
{
    http_request_add_header(request, "Allow", "POST");
    http_request_add_header(request, "Retry-After", "1");
    http_request_answer(request, 503, NULL, NULL, 0);
}

static inline void answer_impossible(struct http_request *request)
{
    http_request_add_header(request, "X-Broken", "one\r\nX-Forged: two");
    http_request_answer_text(request, 200, "never seen");
}

static inline void answer_status(struct http_request *request)
{
    http_request_answer_status(request, 422, "Invalid", "say \"%s\"", "no\n");
}

static inline void answer_received(struct http_request *request)
{
    int64_t age = clock_monotonic(clock_system()) - http_request_received(request);
    http_request_answer_text(request, 200, "%s",
                             age >= 0 && age < 60 * CLOCK_SECOND ? "recent" : "wrong");
}

static inline void answer_moment(struct http_request *request)
{
    http_request_answer_text(request, 200, "%lld", (long long)http_request_received(request));
}

static inline void handle(void *context, struct http_request *request)
{
    static const struct {
        const char *path;
        void (*answer)(struct http_request *request);
    } table[] = {
        {"/echo", answer_echo},
        {"/double", answer_double},
        {"/park", park},
        {"/before", answer_before_return},
        {"/headers", answer_headers},
        {"/impossible", answer_impossible},
        {"/status", answer_status},
        {"/received", answer_received},
        {"/moment", answer_moment},
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

static inline struct http_listener_options plain_options(void)
{
    return (struct http_listener_options){.address = "127.0.0.1:0",
                                          .threads = 2,
                                          .body_maximum = HTTP_BODY_MAXIMUM,
                                          .handler = handle,
                                          .context = &world};
}

static inline struct http_listener_options tls_options(void)
{
    struct http_listener_options options = plain_options();
    options.tls = true;
    options.certificate.chain_pem = server_pair.certificate_pem;
    options.certificate.key_pem = server_pair.key_pem;
    return options;
}

static const struct client_options trusting = {.tls = true, .authority = &authority};

static inline struct http_listener *start(const struct http_listener_options *options)
{
    struct http_listener *listener = NULL;
    struct error error = {.text = ""};
    if (http_listener_start(options, &listener, &error) < 0)
        fail_msg("%s", error.text);
    return listener;
}

static inline void stop_when_quiet(struct http_listener *listener)
{
    wait_until(http_listener_active(listener) == 0);
    http_listener_stop(listener);
}

static inline int make_pairs(void **state)
{
    (void)state;
    pair_make(&authority, "authority", NULL, NULL);
    pair_make(&other_authority, "other authority", NULL, NULL);
    pair_make(&server_pair, "first", GNUTLS_KP_TLS_WWW_SERVER, &authority);
    pair_make(&second_pair, "second", GNUTLS_KP_TLS_WWW_SERVER, &authority);
    return 0;
}

static inline int free_pairs(void **state)
{
    (void)state;
    pair_free(&authority);
    pair_free(&other_authority);
    pair_free(&server_pair);
    pair_free(&second_pair);
    return 0;
}

/* ---- helpers ---- */

static inline char *make_body(size_t length)
{
    char *body = malloc(length + 1);
    client_check(body != NULL);
    for (size_t i = 0; i < length; i++)
        body[i] = (char)('a' + i % 23);
    body[length] = '\0';
    return body;
}

#define ASKERS 6

struct asker {
    unsigned int port;
    const struct client_options *options;
    const char *target;
    unsigned int times;
    pthread_t thread;
};

static inline void *ask_many(void *context)
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

#endif
