/* The api thread: its inbox, its loop, and the public functions. What happens to a single request
 * is in transfer.c, the handles it travels on in handle.c. */
#include "k8s/client.h"

#include "k8s/client_private.h"
#include "server/base/clock.h"
#include "server/base/json_writer.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST_TIMEOUT (30 * CLOCK_SECOND)
#define CONNECTIONS 16U
#define SPARE_HANDLES 128U
#define POLL_MOST_MS 60000

struct k8s_after {
    struct k8s_job job;
    struct k8s_timer timer;
    struct k8s_after *next;
    struct k8s_after *previous;
    struct k8s_client *client;
    int64_t due;
    void (*callback)(void *context);
    void *context;
};

/* The client whose api thread this is. */
static _Thread_local const struct k8s_client *current_client;

bool k8s_on_api_thread(const struct k8s_client *client)
{
    return current_client == client;
}

/* --- the inbox: a stack that anybody pushes on and the api thread takes whole --- */

void k8s_client_post(struct k8s_client *client, struct k8s_job *job)
{
    struct k8s_job *head = atomic_load_explicit(&client->inbox, memory_order_relaxed);
    do
        job->next = head;
    while (!atomic_compare_exchange_weak_explicit(&client->inbox, &head, job, memory_order_acq_rel,
                                                  memory_order_relaxed));
    /* Whoever makes the inbox non-empty wakes the thread, for all who push before it is emptied. */
    if (head == NULL && !k8s_on_api_thread(client))
        k8s_poller_ring(&client->poller);
}

/* The jobs are told whether the client is closing. */
static void run_inbox(struct k8s_client *client)
{
    bool closing = atomic_load_explicit(&client->closing, memory_order_acquire);
    struct k8s_job *newest = atomic_exchange_explicit(&client->inbox, NULL, memory_order_acq_rel);
    struct k8s_job *oldest = NULL;
    while (newest != NULL) {
        struct k8s_job *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest != NULL) {
        struct k8s_job *job = oldest;
        oldest = job->next;
        job->run(client, job, closing);
    }
}

struct errand {
    struct k8s_job job;
    void (*function)(void *context);
    void *context;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool done;
};

static void run_errand(struct k8s_client *client, struct k8s_job *job, bool closing)
{
    (void)client;
    (void)closing;
    struct errand *errand = (struct errand *)job;
    errand->function(errand->context);
    /* Signalled with the lock held: once the lock is released, the errand may be gone from the
     * other thread's stack. */
    pthread_mutex_lock(&errand->lock);
    errand->done = true;
    pthread_cond_signal(&errand->ended);
    pthread_mutex_unlock(&errand->lock);
}

void k8s_client_run(struct k8s_client *client, void (*function)(void *context), void *context)
{
    assert(!k8s_on_api_thread(client));
    struct errand errand = {
        .job.run = run_errand,
        .function = function,
        .context = context,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .ended = PTHREAD_COND_INITIALIZER,
    };
    k8s_client_post(client, &errand.job);
    pthread_mutex_lock(&errand.lock);
    while (!errand.done)
        pthread_cond_wait(&errand.ended, &errand.lock);
    pthread_mutex_unlock(&errand.lock);
    pthread_mutex_destroy(&errand.lock);
    pthread_cond_destroy(&errand.ended);
}

/* --- k8s_after --- */

static void unlink_after(struct k8s_after *after)
{
    *(after->previous != NULL ? &after->previous->next : &after->client->afters) = after->next;
    if (after->next != NULL)
        after->next->previous = after->previous;
}

static void fire_after(void *context)
{
    struct k8s_after *after = context;
    unlink_after(after);
    after->callback(after->context);
    free(after);
}

static void run_after(struct k8s_client *client, struct k8s_job *job, bool closing)
{
    struct k8s_after *after = (struct k8s_after *)job;
    if (!closing && after->due <= k8s_client_now(client)) {
        /* At once, and so before jobs that were posted later. */
        after->callback(after->context);
        closing = true;
    }
    if (closing) {
        free(after);
        return;
    }
    after->next = client->afters;
    if (client->afters != NULL)
        client->afters->previous = after;
    client->afters = after;
    after->timer.fire = fire_after;
    after->timer.context = after;
    k8s_timers_set(&client->timers, &after->timer, after->due);
}

int k8s_after(struct k8s_client *client, int64_t nanoseconds, void (*callback)(void *context),
              void *context)
{
    if (atomic_load_explicit(&client->closing, memory_order_relaxed))
        return -ECANCELED;
    struct k8s_after *after = calloc(1, sizeof(*after));
    if (after == NULL)
        return -ENOMEM;
    after->job.run = run_after;
    after->client = client;
    after->due = k8s_client_now(client) + nanoseconds;
    after->callback = callback;
    after->context = context;
    k8s_client_post(client, &after->job);
    return 0;
}

/* --- the loop --- */

/* Milliseconds until the next timer, rounded up so that it is due when the thread wakes; the poller
 * knows curl's. A clock that is moved by hand says nothing about how long that takes. */
static int poll_timeout(const struct k8s_client *client)
{
    if (atomic_load_explicit(&client->inbox, memory_order_relaxed) != NULL)
        return 0;
    int64_t next = k8s_timers_next(&client->timers);
    int64_t now = k8s_client_now(client);
    if (next <= now)
        return 0;
    if (!clock_wakes(client->clock) || next - now > POLL_MOST_MS * CLOCK_MILLISECOND)
        return POLL_MOST_MS;
    return (int)((next - now + CLOCK_MILLISECOND - 1) / CLOCK_MILLISECOND);
}

static void take_finished(struct k8s_client *client)
{
    int left;
    CURLMsg *message;
    while ((message = curl_multi_info_read(client->multi, &left)) != NULL) {
        if (message->msg == CURLMSG_DONE)
            k8s_transfer_done(message->easy_handle, message->data.result);
    }
}

static void close_down(struct k8s_client *client)
{
    run_inbox(client);
    k8s_transfer_cancel_all(client);
    /* Callbacks can't submit any more, but may have run before closing was set. */
    run_inbox(client);
    k8s_transfer_cancel_all(client);
    while (client->afters != NULL) {
        struct k8s_after *after = client->afters;
        k8s_timers_cancel(&client->timers, &after->timer);
        unlink_after(after);
        free(after);
    }
    k8s_handle_free_all(client);
}

static void *run_loop(void *context)
{
    struct k8s_client *client = context;
    current_client = client;
    while (!atomic_load_explicit(&client->closing, memory_order_acquire)) {
        run_inbox(client);
        k8s_poller_run_timers(&client->poller);
        take_finished(client);
        /* Afterwards, so that an answer that is there is taken before its deadline is judged. */
        k8s_timers_run(&client->timers, k8s_client_now(client));
        k8s_poller_wait(&client->poller, poll_timeout(client));
    }
    close_down(client);
    current_client = NULL;
    return NULL;
}

/* All signals are for the main thread, and SIGPIPE is for nobody: blocked, a write to a closed
 * connection just fails. */
static int start_thread(struct k8s_client *client)
{
    sigset_t all, previous;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &previous);
    int result = pthread_create(&client->thread, NULL, run_loop, client);
    pthread_sigmask(SIG_SETMASK, &previous, NULL);
    if (result == 0)
        pthread_setname_np(client->thread, "api");
    return -result;
}

/* --- making and freeing --- */

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static CURLcode global_result;

static void global_init(void)
{
    global_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static void free_client(struct k8s_client *client)
{
    if (client->multi != NULL)
        curl_multi_cleanup(client->multi);
    k8s_poller_close(&client->poller);
    k8s_sockets_clear(&client->sockets);
    curl_slist_free_all(client->connect_to);
    k8s_token_clear(&client->token);
    free(client->base_url);
    free(client->user_agent);
    free(client);
}

static int set_up(struct k8s_client *client, const struct k8s_client_options *options,
                  struct error *error)
{
    long connections = options->max_connections > 0 ? (long)options->max_connections : CONNECTIONS;
    client->spare_most = options->max_spare > 0 ? options->max_spare : SPARE_HANDLES;
    client->clock = options->clock != NULL ? options->clock : clock_system();
    client->observer = options->observer;
    client->observer_context = options->observer_context;
    client->request_timeout =
        options->request_timeout > 0 ? options->request_timeout : REQUEST_TIMEOUT;
    client->user_agent =
        strdup(options->user_agent != NULL ? options->user_agent : "ipwarden/" IPWARDEN_VERSION);
    client->multi = curl_multi_init();
    if (client->user_agent == NULL || client->multi == NULL)
        return error_no_memory(error);
    curl_multi_setopt(client->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    curl_multi_setopt(client->multi, CURLMOPT_MAX_HOST_CONNECTIONS, connections);
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, connections);
    int result = k8s_poller_open(&client->poller, client->multi, error);
    return result == 0 ? k8s_handle_target(client, error) : result;
}

int k8s_client_new(const struct k8s_config *config, const struct k8s_client_options *options,
                   struct k8s_client **ret_client, struct error *error)
{
    static const struct k8s_client_options defaults;
    pthread_once(&global_once, global_init);
    if (global_result != CURLE_OK)
        return error_set(error, -EIO, "libcurl: %s", curl_easy_strerror(global_result));
    struct k8s_client *client = calloc(1, sizeof(*client));
    if (client == NULL)
        return error_no_memory(error);
    client->config = config;
    client->poller.epoll = client->poller.bell = -1;
    int result = set_up(client, options != NULL ? options : &defaults, error);
    if (result == 0) {
        result = start_thread(client);
        if (result != 0)
            error_set(error, result, "api thread: %s", strerror(-result));
    }
    if (result != 0) {
        free_client(client);
        return result;
    }
    *ret_client = client;
    return 0;
}

void k8s_client_free(struct k8s_client *client)
{
    if (client == NULL)
        return;
    assert(!k8s_on_api_thread(client));
    atomic_store_explicit(&client->closing, true, memory_order_release);
    k8s_poller_ring(&client->poller);
    pthread_join(client->thread, NULL);
    free_client(client);
}

const struct clock *k8s_client_clock(const struct k8s_client *client)
{
    return client->clock;
}

void k8s_client_look_again(struct k8s_client *client)
{
    k8s_poller_ring(&client->poller);
}

/* --- requests --- */

int k8s_submit(struct k8s_client *client, const struct k8s_request *request, k8s_callback callback,
               void *context, struct error *error)
{
    return k8s_transfer_submit(client, request, NULL, callback, context, NULL, error);
}

struct call {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool done;
    bool wanted;
    char *body;
    struct error error;
};

static void end_call(void *context, const struct k8s_response *response)
{
    struct call *call = context;
    struct error error = response->error;
    char *body = NULL;
    if (error.code == 0 && call->wanted) {
        body = malloc(response->body_length + 1);
        if (body == NULL)
            error_no_memory(&error);
        else
            memcpy(body, response->body, response->body_length + 1);
    }
    pthread_mutex_lock(&call->lock);
    call->body = body;
    call->error = error;
    call->done = true;
    pthread_cond_signal(&call->ended);
    pthread_mutex_unlock(&call->lock);
}

int k8s_call(struct k8s_client *client, const struct k8s_request *request, char **ret_body,
             struct error *error)
{
    if (k8s_on_api_thread(client))
        return error_set(error, -EDEADLK, "k8s_call on the api thread");
    struct call call = {
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .ended = PTHREAD_COND_INITIALIZER,
        .wanted = ret_body != NULL,
    };
    int result = k8s_submit(client, request, end_call, &call, error);
    if (result != 0)
        return result;
    pthread_mutex_lock(&call.lock);
    while (!call.done)
        pthread_cond_wait(&call.ended, &call.lock);
    pthread_mutex_unlock(&call.lock);
    pthread_mutex_destroy(&call.lock);
    pthread_cond_destroy(&call.ended);
    if (call.error.code != 0) {
        if (error != NULL)
            *error = call.error;
        return call.error.code;
    }
    if (ret_body != NULL)
        *ret_body = call.body;
    return 0;
}

char *k8s_delete_options(const char *uid, const char *resource_version)
{
    struct buffer text;
    struct json_writer writer;
    buffer_init(&text, K8S_BODY_MAXIMUM);
    json_writer_init(&writer, &text);
    json_begin_object(&writer);
    json_member_string(&writer, "apiVersion", "v1");
    json_member_string(&writer, "kind", "DeleteOptions");
    json_member_object(&writer, "preconditions");
    if (uid != NULL)
        json_member_string(&writer, "uid", uid);
    if (resource_version != NULL)
        json_member_string(&writer, "resourceVersion", resource_version);
    json_end_object(&writer);
    json_end_object(&writer);
    return buffer_steal(&text, NULL);
}
