/* One request from submission to callback: building it, its attempts, and the decision whether to
 * try again. */
#include "k8s/answer.h"
#include "k8s/backoff.h"
#include "k8s/client_private.h"
#include "k8s/url.h"
#include "server/base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_FIRST (100 * CLOCK_MILLISECOND)
#define RETRY_MOST (5 * CLOCK_SECOND)
#define DISTRUST_AFTER (3 * CLOCK_SECOND)

enum state { QUEUED, RUNNING, WAITING };

struct k8s_transfer {
    struct k8s_job job;
    struct k8s_timer timer; /* the deadline while RUNNING, the next attempt while WAITING */
    struct k8s_transfer *next;
    struct k8s_transfer *previous;
    struct k8s_client *client;

    enum k8s_verb verb;
    bool retry;
    const char *url;
    const char *body; /* NULL: none */
    size_t body_length;
    int64_t deadline; /* INT64_MAX: none */
    k8s_callback callback;
    void *context;
    struct k8s_transfer_options options;
    char resource[64];

    enum state state;
    bool cancelled; /* while QUEUED */
    int64_t submitted;
    unsigned int failures;

    /* The attempt under way. */
    struct k8s_handle *handle;
    struct curl_slist *headers;
    int64_t started;
    unsigned int token_generation;
    bool token_repeated;
    /* Something may have reached the server, now or in an earlier attempt that had no answer. */
    bool sent;
    bool refused;   /* our own callback broke the attempt off */
    int status;     /* of the answer that is arriving; 0 before */
    int local_port; /* of the connection that the request went out on; 0: none yet */

    char text[]; /* url and body */
};

/* How each verb travels and what it is called in metrics. */
static const struct verb {
    const char *method;
    const char *content_type; /* NULL: no body is sent */
    const char *name;
} verbs[] = {
    [K8S_GET] = {"GET", NULL, "get"},
    [K8S_LIST] = {"GET", NULL, "list"},
    [K8S_CREATE] = {"POST", "Content-Type: application/json", "create"},
    [K8S_UPDATE] = {"PUT", "Content-Type: application/json", "update"},
    [K8S_DELETE] = {"DELETE", "Content-Type: application/json", "delete"},
    [K8S_MERGE_PATCH] = {"PATCH", "Content-Type: application/merge-patch+json", "patch"},
    [K8S_JSON_PATCH] = {"PATCH", "Content-Type: application/json-patch+json", "patch"},
    [K8S_APPLY_PATCH] = {"PATCH", "Content-Type: application/apply-patch+yaml", "apply"},
    [K8S_STRATEGIC_PATCH] = {"PATCH", "Content-Type: application/strategic-merge-patch+json",
                             "patch"},
};

static bool is_stream(const struct k8s_transfer *transfer)
{
    return transfer->options.data != NULL;
}

static bool is_read(const struct k8s_transfer *transfer)
{
    return transfer->verb == K8S_GET || transfer->verb == K8S_LIST;
}

static void run_queued(struct k8s_client *client, struct k8s_job *job, bool closing);
static void start(struct k8s_transfer *transfer);

static int check_request(const struct k8s_request *request, struct error *error)
{
    if ((unsigned int)request->verb >= sizeof(verbs) / sizeof(verbs[0]))
        return error_set(error, -EINVAL, "verb: unknown");
    if (request->body != NULL && verbs[request->verb].content_type == NULL)
        return error_set(error, -EINVAL, "body: not for this verb");
    int result = k8s_url_check_path(request->path, error);
    if (result == 0 && request->query != NULL)
        result = k8s_url_check_query(request->query, error);
    return result;
}

/* One allocation holds the transfer, its URL and its body. */
static struct k8s_transfer *new_transfer(const struct k8s_client *client,
                                         const struct k8s_request *request)
{
    const char *query = request->query != NULL ? request->query : "";
    size_t url_most =
        strlen(client->base_url) + K8S_URL_ESCAPED(strlen(request->path)) + 1 + strlen(query) + 1;
    size_t body_length = request->body != NULL ? request->body_length : 0;
    struct k8s_transfer *transfer = malloc(sizeof(*transfer) + url_most + body_length);
    if (transfer == NULL)
        return NULL;
    memset(transfer, 0, sizeof(*transfer));
    char *body = transfer->text;
    char *url = body + body_length;
    if (body_length > 0)
        memcpy(body, request->body, body_length);
    char *end = k8s_url_escape_path(stpcpy(url, client->base_url), request->path);
    if (query[0] != '\0') {
        *end++ = '?';
        stpcpy(end, query);
    }
    transfer->url = url;
    transfer->body = request->body != NULL ? body : NULL;
    transfer->body_length = body_length;
    return transfer;
}

int k8s_transfer_submit(struct k8s_client *client, const struct k8s_request *request,
                        const struct k8s_transfer_options *options, k8s_callback callback,
                        void *context, struct k8s_transfer **ret_transfer, struct error *error)
{
    int result = check_request(request, error);
    if (result != 0)
        return result;
    if (atomic_load_explicit(&client->closing, memory_order_relaxed))
        return error_set(error, -ECANCELED, "the client is closing");
    struct k8s_transfer *transfer = new_transfer(client, request);
    if (transfer == NULL)
        return error_no_memory(error);
    transfer->job.run = run_queued;
    transfer->client = client;
    transfer->verb = request->verb;
    transfer->retry = request->retry;
    transfer->callback = callback;
    transfer->context = context;
    if (options != NULL)
        transfer->options = *options;
    transfer->submitted = k8s_client_now(client);
    if (is_stream(transfer))
        transfer->deadline = INT64_MAX;
    else
        transfer->deadline = request->deadline != 0 ? request->deadline
                                                    : transfer->submitted + client->request_timeout;
    k8s_url_resource(request->path, transfer->resource, sizeof(transfer->resource));
    if (ret_transfer != NULL)
        *ret_transfer = transfer;
    k8s_client_post(client, &transfer->job);
    return 0;
}

/* --- the end of an attempt, the end of the transfer --- */

static void unlink_live(struct k8s_transfer *transfer)
{
    if (transfer->state == QUEUED)
        return;
    *(transfer->previous != NULL ? &transfer->previous->next : &transfer->client->live) =
        transfer->next;
    if (transfer->next != NULL)
        transfer->next->previous = transfer->previous;
}

/* Lets go of the handle, and so of the body that arrived. */
static void end_attempt(struct k8s_transfer *transfer)
{
    if (transfer->handle == NULL)
        return;
    curl_multi_remove_handle(transfer->client->multi, transfer->handle->easy);
    k8s_handle_give(transfer->client, transfer->handle);
    transfer->handle = NULL;
    curl_slist_free_all(transfer->headers);
    transfer->headers = NULL;
}

static void free_transfer(struct k8s_transfer *transfer)
{
    k8s_timers_cancel(&transfer->client->timers, &transfer->timer);
    end_attempt(transfer);
    unlink_live(transfer);
    free(transfer);
}

/* Tells the observer and the caller. Whatever the callback does, the transfer isn't touched by
 * anybody else. */
static void complete(struct k8s_transfer *transfer, const struct k8s_response *response)
{
    const struct k8s_client *client = transfer->client;
    if (client->observer != NULL) {
        int64_t taken = k8s_client_now(client) - transfer->submitted;
        client->observer(
            client->observer_context, is_stream(transfer) ? "watch" : verbs[transfer->verb].name,
            transfer->resource, response->status, (double)taken / (double)CLOCK_SECOND);
    }
    transfer->callback(transfer->context, response);
    free_transfer(transfer);
}

static void complete_failed(struct k8s_transfer *transfer, const struct error *error)
{
    struct k8s_response response = {.status = 0, .body = "", .body_length = 0, .error = *error};
    complete(transfer, &response);
}

static void retry_now(void *context)
{
    start(context);
}

/* Sets the transfer for another attempt after delay. Returns false when the deadline is before. */
static bool wait_and_retry(struct k8s_transfer *transfer, int64_t delay)
{
    int64_t due = k8s_client_now(transfer->client) + delay;
    if (due >= transfer->deadline)
        return false;
    end_attempt(transfer);
    transfer->failures++;
    transfer->state = WAITING;
    transfer->timer.fire = retry_now;
    transfer->timer.context = transfer;
    k8s_timers_set(&transfer->client->timers, &transfer->timer, due);
    return true;
}

static int64_t retry_delay(const struct k8s_transfer *transfer)
{
    curl_off_t after = 0;
    int64_t backoff = k8s_backoff(transfer->failures, RETRY_FIRST, RETRY_MOST);
    if (curl_easy_getinfo(transfer->handle->easy, CURLINFO_RETRY_AFTER, &after) != CURLE_OK ||
        after <= 0)
        return backoff;
    if (after > INT32_MAX)
        after = INT32_MAX;
    /* All who were sent away come back at the same second otherwise. */
    return after * CLOCK_SECOND + backoff / 4;
}

static void finish_answered(struct k8s_transfer *transfer)
{
    struct k8s_client *client = transfer->client;
    const struct buffer *body = &transfer->handle->body;
    if (transfer->status == 401 && !transfer->token_repeated &&
        k8s_token_renew(&client->token, client->config, k8s_client_now(client),
                        transfer->token_generation)) {
        transfer->token_repeated = true;
        transfer->sent = false;
        end_attempt(transfer);
        start(transfer);
        return;
    }
    /* The attempt was answered, so nothing of it is under way any more. */
    transfer->sent = false;
    if (transfer->retry && (transfer->status == 429 || transfer->status == 503) &&
        wait_and_retry(transfer, retry_delay(transfer)))
        return;
    struct k8s_response response = {
        .status = transfer->status,
        .body = body->data != NULL ? body->data : "",
        .body_length = body->length,
    };
    k8s_answer_judge(response.status, response.body, response.body_length, &response.error);
    complete(transfer, &response);
}

static void finish_failed(struct k8s_transfer *transfer, CURLcode code)
{
    struct error error;
    const struct buffer *body = &transfer->handle->body;
    if (transfer->refused && buffer_failed(body) && body->length > 0)
        error_set(&error, -EMSGSIZE, "the answer is larger than %zu MiB", body->maximum >> 20);
    else if (transfer->refused && buffer_failed(body))
        error_no_memory(&error);
    else if (transfer->refused)
        error_set(&error, -ECANCELED, "the stream was given up");
    else
        k8s_answer_judge_failure(code, transfer->sent, transfer->handle->error, &error);
    bool again = !transfer->refused && (is_read(transfer) || !transfer->sent);
    if (transfer->retry && again && code != CURLE_OUT_OF_MEMORY &&
        wait_and_retry(transfer, k8s_backoff(transfer->failures, RETRY_FIRST, RETRY_MOST)))
        return;
    complete_failed(transfer, &error);
}

/* The transfer has waited for an answer in vain: perhaps the connection is to blame. Not when it
 * hasn't waited long. */
static void distrust(struct k8s_transfer *transfer)
{
    if (k8s_client_now(transfer->client) - transfer->started >= DISTRUST_AFTER)
        k8s_sockets_distrust(&transfer->client->sockets, transfer->local_port, DISTRUST_AFTER);
}

void k8s_transfer_done(CURL *easy, CURLcode code)
{
    char *private = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
    struct k8s_transfer *transfer = (struct k8s_transfer *)private;
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    transfer->status = (int)status;
    if (code == CURLE_OK)
        finish_answered(transfer);
    else
        finish_failed(transfer, code);
}

/* --- an attempt --- */

/* Called between connecting and sending, also when curl sends again because a kept connection
 * turned out to be closed. */
static int on_sending(void *context, char *peer, char *local, int peer_port, int local_port)
{
    (void)peer;
    (void)local;
    (void)peer_port;
    struct k8s_transfer *transfer = context;
    transfer->local_port = local_port;
    transfer->sent = true;
    return CURL_PREREQFUNC_OK;
}

static size_t on_header(char *data, size_t size, size_t count, void *context)
{
    (void)data;
    struct k8s_transfer *transfer = context;
    if (transfer->options.heard != NULL)
        atomic_store_explicit(transfer->options.heard, k8s_client_now(transfer->client),
                              memory_order_relaxed);
    /* The empty line ends the head. */
    if (is_stream(transfer) && size * count <= 2) {
        long status = 0;
        curl_easy_getinfo(transfer->handle->easy, CURLINFO_RESPONSE_CODE, &status);
        transfer->status = (int)status;
        if (status >= 200 && status <= 299 && !transfer->options.data(transfer->context, "", 0)) {
            transfer->refused = true;
            return 0;
        }
    }
    return size * count;
}

static size_t on_data(char *data, size_t size, size_t count, void *context)
{
    struct k8s_transfer *transfer = context;
    struct buffer *body = &transfer->handle->body;
    size_t length = size * count;
    if (transfer->options.heard != NULL)
        atomic_store_explicit(transfer->options.heard, k8s_client_now(transfer->client),
                              memory_order_relaxed);
    if (is_stream(transfer) && transfer->status >= 200 && transfer->status <= 299) {
        transfer->refused = !transfer->options.data(transfer->context, data, length);
        return transfer->refused ? 0 : length;
    }
    buffer_append(body, data, length);
    transfer->refused = buffer_failed(body);
    return transfer->refused ? 0 : length;
}

static bool append_header(struct curl_slist **list, const char *header)
{
    struct curl_slist *grown = curl_slist_append(*list, header);
    if (grown == NULL)
        return false;
    *list = grown;
    return true;
}

static bool set_headers(struct k8s_transfer *transfer)
{
    const struct k8s_token *token = &transfer->client->token;
    transfer->token_generation = token->generation;
    return append_header(&transfer->headers, "Accept: application/json") &&
           (transfer->body == NULL ||
            append_header(&transfer->headers, verbs[transfer->verb].content_type)) &&
           append_header(&transfer->headers, "Expect:") &&
           (token->header == NULL || append_header(&transfer->headers, token->header));
}

/* What differs between requests; everything here is set every time, as the handle was another
 * request's before. */
static bool set_request(struct k8s_transfer *transfer)
{
    CURL *easy = transfer->handle->easy;
    bool ok = set_headers(transfer);
    ok = ok && curl_easy_setopt(easy, CURLOPT_URL, transfer->url) == CURLE_OK;
    if (transfer->body != NULL)
        ok = ok && curl_easy_setopt(easy, CURLOPT_POST, 1L) == CURLE_OK &&
             curl_easy_setopt(easy, CURLOPT_POSTFIELDS, transfer->body) == CURLE_OK &&
             curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                              (curl_off_t)transfer->body_length) == CURLE_OK;
    else
        ok = ok && curl_easy_setopt(easy, CURLOPT_POSTFIELDS, NULL) == CURLE_OK &&
             curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L) == CURLE_OK;
    return ok &&
           curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, verbs[transfer->verb].method) ==
               CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_sending) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer) == CURLE_OK;
}

/* The client's clock decides, not curl's, so that a test can move it. */
static void deadline_passed(void *context)
{
    struct k8s_transfer *transfer = context;
    struct k8s_handle *handle = transfer->handle;
    snprintf(handle->error, sizeof(handle->error), "%" PRId64 " ms passed, %zu bytes came",
             (transfer->deadline - transfer->started) / CLOCK_MILLISECOND, handle->body.length);
    distrust(transfer);
    finish_failed(transfer, CURLE_OPERATION_TIMEDOUT);
}

static int begin_attempt(struct k8s_transfer *transfer, struct error *error)
{
    struct k8s_client *client = transfer->client;
    int64_t now = k8s_client_now(client);
    if (now >= transfer->deadline)
        return error_set(error, transfer->sent ? -ETIMEDOUT : -ECONNREFUSED,
                         transfer->sent ? "the deadline passed"
                                        : "nothing was sent: the deadline passed before");
    int result = k8s_token_refresh(&client->token, client->config, now, error);
    if (result != 0)
        return result;
    transfer->handle = k8s_handle_take(client);
    if (transfer->handle == NULL)
        return error_no_memory(error);
    transfer->handle->error[0] = '\0';
    transfer->started = now;
    transfer->status = 0;
    transfer->local_port = 0;
    transfer->refused = false;
    if (!set_request(transfer) ||
        curl_multi_add_handle(client->multi, transfer->handle->easy) != CURLM_OK)
        return error_no_memory(error);
    transfer->timer.fire = deadline_passed;
    transfer->timer.context = transfer;
    if (transfer->deadline != INT64_MAX)
        k8s_timers_set(&client->timers, &transfer->timer, transfer->deadline);
    return 0;
}

static void start(struct k8s_transfer *transfer)
{
    struct error error;
    transfer->state = RUNNING;
    if (begin_attempt(transfer, &error) != 0)
        complete_failed(transfer, &error);
}

static void run_queued(struct k8s_client *client, struct k8s_job *job, bool closing)
{
    struct k8s_transfer *transfer = (struct k8s_transfer *)job;
    if (transfer->cancelled) {
        free_transfer(transfer);
        return;
    }
    transfer->next = client->live;
    if (client->live != NULL)
        client->live->previous = transfer;
    client->live = transfer;
    transfer->state = RUNNING;
    if (!closing)
        start(transfer);
}

/* --- cancelling --- */

void k8s_transfer_cancel(struct k8s_transfer *transfer)
{
    if (transfer == NULL)
        return;
    if (transfer->state == QUEUED)
        transfer->cancelled = true;
    else
        free_transfer(transfer);
}

void k8s_transfer_abandon(struct k8s_transfer *transfer)
{
    if (transfer != NULL && transfer->handle != NULL)
        distrust(transfer);
    k8s_transfer_cancel(transfer);
}

void k8s_transfer_cancel_all(struct k8s_client *client)
{
    struct error error;
    error_set(&error, -ECANCELED, "the client is closing");
    while (client->live != NULL) {
        struct k8s_transfer *transfer = client->live;
        end_attempt(transfer);
        if (is_stream(transfer))
            free_transfer(transfer);
        else
            complete_failed(transfer, &error);
    }
}
