/* The informer: a small machine on the api thread that is always in one of four places: waiting for
 * a page, feeding a watch, waiting for its next try, or stopped.
 *
 * What failed decides how it goes on. A list goes on at the page that failed as long as the server
 * knows its continue token. A watch is resumed from the last version seen; only where that can't
 * work (410), or hasn't worked twice, everything is listed again. */
#include "k8s/informer.h"

#include "k8s/answer.h"
#include "k8s/backoff.h"
#include "k8s/client_private.h"
#include "k8s/page.h"
#include "k8s/url.h"
#include "k8s/watch.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_TIMEOUT (60 * CLOCK_SECOND)
#define SILENCE (90 * CLOCK_SECOND)
#define WATCH_TIMEOUT (300 * CLOCK_SECOND)
#define RETRY_FIRST (100 * CLOCK_MILLISECOND)
#define RETRY_MOST (5 * CLOCK_SECOND)
#define SHORT_LIFE CLOCK_SECOND /* a watch that ends sooner, without an event, is resumed later */

enum health { UNKNOWN, HEALTHY, UNHEALTHY };

struct k8s_informer {
    struct k8s_job start;
    struct k8s_client *client;
    const struct k8s_informer_handler *handler;
    void *context;
    char *path;
    char *query; /* NULL: none */
    int64_t silence;
    int64_t watch_timeout;

    _Atomic bool synced;
    _Atomic int64_t heard;

    /* Api thread only. */
    struct k8s_transfer *transfer; /* the page or the watch under way */
    struct k8s_timer next_try;
    struct k8s_timer silence_check;
    struct k8s_page page; /* and the event that is being read */
    struct k8s_watch watch;
    unsigned int page_size;
    unsigned int page_most;      /* what page_size grows to again */
    char *version;               /* last resource version seen */
    char *continue_token;        /* of the page that is due; NULL: the first */
    unsigned int list_failures;  /* since a page came */
    unsigned int watch_failures; /* since an event came */
    int64_t watch_started;
    bool watch_answered;       /* the watch under way has been accepted */
    struct error watch_broken; /* why we gave the watch up; code 0: we didn't */
    enum health health;
};

static void list_page(void *context);
static void start_watch(void *context);

static void set_health(struct k8s_informer *informer, enum health health, const char *reason)
{
    if (informer->health == health)
        return;
    informer->health = health;
    if (informer->handler->health != NULL)
        informer->handler->health(informer->context, health == HEALTHY, reason);
}

static void try_again(struct k8s_informer *informer, void (*step)(void *context),
                      unsigned int failures)
{
    informer->next_try.fire = step;
    informer->next_try.context = informer;
    k8s_timers_set(&informer->client->timers, &informer->next_try,
                   k8s_client_now(informer->client) +
                       k8s_backoff(failures, RETRY_FIRST, RETRY_MOST));
}

/* The next list is a new one, from its first page. */
static void forget_list(struct k8s_informer *informer)
{
    free(informer->continue_token);
    informer->continue_token = NULL;
}

static int submit(struct k8s_informer *informer, const struct buffer *query,
                  const struct k8s_transfer_options *options, k8s_callback callback,
                  struct error *error)
{
    if (buffer_failed(query))
        return error_no_memory(error);
    struct k8s_request request = {
        .verb = K8S_LIST,
        .path = informer->path,
        .query = query->data,
        .deadline = k8s_client_now(informer->client) + PAGE_TIMEOUT,
    };
    return k8s_transfer_submit(informer->client, &request, options, callback, informer,
                               &informer->transfer, error);
}

/* --- list --- */

static void list_failed(struct k8s_informer *informer, const struct error *error)
{
    set_health(informer, UNHEALTHY, error->text);
    try_again(informer, list_page, informer->list_failures++);
}

static void on_page(void *context, const struct k8s_response *response);

static void list_page(void *context)
{
    struct k8s_informer *informer = context;
    struct buffer query _cleanup_buffer_;
    struct error error;
    struct k8s_transfer_options options = {.heard = &informer->heard};
    buffer_init(&query, K8S_BODY_MAXIMUM);
    k8s_page_query(&query, informer->page_size, informer->continue_token, informer->query);
    if (submit(informer, &query, &options, on_page, &error) != 0)
        list_failed(informer, &error);
}

static void page_refused(struct k8s_informer *informer, const struct error *error)
{
    if (error->code == -ESTALE && informer->continue_token != NULL) {
        /* The server has forgotten the list that the informer was in the middle of; nothing else is
         * wrong with the server. */
        forget_list(informer);
        try_again(informer, list_page, informer->list_failures++);
        return;
    }
    unsigned int smaller = k8s_page_smaller(informer->page_size);
    if (error->code == -EMSGSIZE && smaller < informer->page_size) {
        informer->page_size = smaller;
        list_page(informer);
        return;
    }
    list_failed(informer, error);
}

/* 0, -EINVAL or -ENOMEM. */
static int deliver_items(struct k8s_informer *informer, struct error *error)
{
    struct k8s_page *page = &informer->page;
    const struct json_view *view;
    const struct json_node *object;
    const struct json_node *item = NULL;
    while ((item = k8s_page_next(page, item)) != NULL) {
        int result = k8s_page_open(page, item, &view, &object, error);
        if (result != 0)
            return result;
        informer->handler->upsert(informer->context, view, object, true);
    }
    return 0;
}

/* Without memory for an object the list begins again later: what was left out would count as gone
 * at its end. */
static void break_off(struct k8s_informer *informer, const struct error *error)
{
    k8s_transfer_cancel(informer->transfer);
    informer->transfer = NULL;
    forget_list(informer);
    list_failed(informer, error);
}

/* Takes over what the page says of the list: its version, from the first page, and the token of the
 * next page. */
static void take_head(struct k8s_informer *informer)
{
    struct k8s_page *page = &informer->page;
    if (informer->continue_token == NULL) {
        free(informer->version);
        informer->version = page->version;
        page->version = NULL;
    }
    forget_list(informer);
    informer->continue_token = page->token;
    page->token = NULL;
}

static void on_page(void *context, const struct k8s_response *response)
{
    struct k8s_informer *informer = context;
    struct error error = response->error;
    informer->transfer = NULL;
    if (error.code != 0) {
        page_refused(informer, &error);
        return;
    }
    if (k8s_page_read(&informer->page, informer->path, response->body, response->body_length,
                      &error) != 0) {
        forget_list(informer);
        list_failed(informer, &error);
        return;
    }
    if (informer->continue_token == NULL)
        informer->handler->replace_begin(informer->context);
    take_head(informer);
    informer->list_failures = 0;
    informer->page_size = k8s_page_larger(informer->page_size, informer->page_most);
    bool last = informer->continue_token == NULL;
    /* Asked for before this one is delivered, so that the server works on it meanwhile. */
    if (!last)
        list_page(informer);
    if (deliver_items(informer, &error) != 0) {
        break_off(informer, &error);
        return;
    }
    if (!last)
        return;
    k8s_page_clear(&informer->page);
    informer->handler->replace_end(informer->context);
    atomic_store_explicit(&informer->synced, true, memory_order_release);
    set_health(informer, HEALTHY, "listed");
    start_watch(informer);
}

/* --- watch --- */

static void relist(struct k8s_informer *informer)
{
    forget_list(informer);
    try_again(informer, list_page, informer->watch_failures++);
}

static void watch_failed(struct k8s_informer *informer, const struct error *error)
{
    set_health(informer, UNHEALTHY, error->text);
    try_again(informer, start_watch, informer->watch_failures++);
}

/* The server refused the watch. Where the server didn't like the version, only a new list helps.
 * Where it was busy or down, or didn't know us, another list would only make things worse. */
static void watch_refused(struct k8s_informer *informer, const struct error *error, int status)
{
    bool resumable = status == 401 || status == 403 || status == 429 || status == 500 ||
                     status == 502 || status == 503;
    if (resumable) {
        watch_failed(informer, error);
        return;
    }
    if (error->code != -ESTALE)
        set_health(informer, UNHEALTHY, error->text);
    relist(informer);
}

/* Takes over the version of object, so that a resumed watch goes on behind it. Without memory for
 * the version a resumed watch repeats some events, which does no harm. */
static void take_version(struct k8s_informer *informer, const struct json_node *object)
{
    char *version;
    if (k8s_page_copy_metadata(&informer->page.object, object, "resourceVersion", &version) != 0 ||
        version == NULL)
        return;
    free(informer->version);
    informer->version = version;
}

static void take_upsert(struct k8s_informer *informer, const struct json_node *object)
{
    informer->handler->upsert(informer->context, &informer->page.object, object, false);
}

static void take_remove(struct k8s_informer *informer, const struct json_node *object)
{
    informer->handler->remove(informer->context, &informer->page.object, object);
}

static const struct event_type {
    const char *name;
    void (*take)(struct k8s_informer *informer, const struct json_node *object);
} event_types[] = {
    {"ADDED", take_upsert},
    {"MODIFIED", take_upsert},
    {"DELETED", take_remove},
    {"BOOKMARK", NULL},
};

/* An event of no type we know: an error, or something that only a new list can make good. */
static bool take_strange(struct k8s_informer *informer, const struct json_node *root,
                         const struct json_node *object)
{
    const struct json_view *view = &informer->page.object;
    int status;
    if (!json_view_equals(view, json_view_member(view, root, "type"), "ERROR")) {
        error_set(&informer->watch_broken, -EBADMSG, "watch %s: an event of unknown type",
                  informer->path);
        return false;
    }
    k8s_answer_judge_status(view, object, &status, &informer->watch_broken);
    return false;
}

static bool on_event(void *context, const char *text, size_t length)
{
    struct k8s_informer *informer = context;
    struct json_view *view = &informer->page.object;
    if (text == NULL) {
        if (informer->handler->passed_over != NULL)
            informer->handler->passed_over(informer->context);
        return true;
    }
    if (json_view_parse(view, text, length, JSON_VIEW_DEPTH, &informer->watch_broken) != 0) {
        error_prefix(&informer->watch_broken, "watch %s", informer->path);
        return false;
    }
    const struct json_node *root = json_view_root(view);
    const struct json_node *type = json_view_member(view, root, "type");
    const struct json_node *object = json_view_member(view, root, "object");
    for (size_t i = 0; i < sizeof(event_types) / sizeof(event_types[0]); i++) {
        if (!json_view_is_object(object) || !json_view_equals(view, type, event_types[i].name))
            continue;
        if (event_types[i].take != NULL)
            event_types[i].take(informer, object);
        take_version(informer, object);
        informer->watch_failures = 0;
        return true;
    }
    return take_strange(informer, root, object);
}

static bool on_stream(void *context, const char *data, size_t length)
{
    struct k8s_informer *informer = context;
    struct error error;
    if (length == 0) {
        informer->watch_answered = true;
        set_health(informer, HEALTHY, "watching");
        return true;
    }
    if (k8s_watch_feed(&informer->watch, data, length, on_event, informer, &error) == 0)
        return true;
    if (informer->watch_broken.code == 0)
        informer->watch_broken = error;
    return false;
}

/* The watch ended as it should, when its time was up; unless it ended too soon to be true. */
static void watch_ended(struct k8s_informer *informer)
{
    int64_t lived = k8s_client_now(informer->client) - informer->watch_started;
    struct error error;
    if (!k8s_watch_is_whole(&informer->watch)) {
        error_set(&error, -EBADMSG, "watch %s: ended within an event", informer->path);
        watch_failed(informer, &error);
    } else if (lived >= SHORT_LIFE) {
        informer->watch_failures = 0;
        start_watch(informer);
    } else {
        try_again(informer, start_watch, informer->watch_failures++);
    }
}

static void on_watch_end(void *context, const struct k8s_response *response)
{
    struct k8s_informer *informer = context;
    const struct error *broken = &informer->watch_broken;
    informer->transfer = NULL;
    k8s_timers_cancel(&informer->client->timers, &informer->silence_check);
    if (broken->code == -ESTALE || (broken->code != 0 && informer->watch_failures > 0)) {
        if (broken->code != -ESTALE)
            set_health(informer, UNHEALTHY, broken->text);
        relist(informer);
    } else if (broken->code != 0) {
        watch_failed(informer, broken);
    } else if (response->error.code == 0) {
        watch_ended(informer);
    } else if (response->status != 0) {
        watch_refused(informer, &response->error, response->status);
    } else {
        watch_failed(informer, &response->error);
    }
}

/* Of a kind that nothing has happened to since it started, an API server sends no bookmarks either: so
 * silence alone is no fault. Whether anybody is there shows in the next watch, on a new connection. */
static void check_silence(void *context)
{
    struct k8s_informer *informer = context;
    int64_t last = atomic_load_explicit(&informer->heard, memory_order_relaxed);
    last = last > informer->watch_started ? last : informer->watch_started;
    if (k8s_client_now(informer->client) < last + informer->silence) {
        k8s_timers_set(&informer->client->timers, &informer->silence_check,
                       last + informer->silence);
        return;
    }
    k8s_transfer_abandon(informer->transfer);
    informer->transfer = NULL;
    if (informer->watch_answered) {
        start_watch(informer);
        return;
    }
    struct error error;
    error_set(&error, -ETIMEDOUT, "watch %s: nothing came for %" PRId64 " ms", informer->path,
              informer->silence / CLOCK_MILLISECOND);
    watch_failed(informer, &error);
}

static void start_watch(void *context)
{
    struct k8s_informer *informer = context;
    struct buffer query _cleanup_buffer_;
    struct error error;
    struct k8s_transfer_options options = {.data = on_stream, .heard = &informer->heard};
    k8s_watch_reset(&informer->watch);
    informer->watch_broken.code = 0;
    informer->watch_answered = false;
    informer->watch_started = k8s_client_now(informer->client);
    int64_t seconds = k8s_jitter(informer->watch_timeout, 1.0) / CLOCK_SECOND;
    buffer_init(&query, K8S_BODY_MAXIMUM);
    buffer_printf(&query, "watch=true&allowWatchBookmarks=true&timeoutSeconds=%" PRId64,
                  seconds > 0 ? seconds : 1);
    k8s_page_append(&query, "resourceVersion", informer->version);
    if (informer->query != NULL)
        buffer_printf(&query, "&%s", informer->query);
    if (submit(informer, &query, &options, on_watch_end, &error) != 0) {
        watch_failed(informer, &error);
        return;
    }
    informer->silence_check.fire = check_silence;
    informer->silence_check.context = informer;
    k8s_timers_set(&informer->client->timers, &informer->silence_check,
                   informer->watch_started + informer->silence);
}

/* --- making and freeing --- */

static void run_start(struct k8s_client *client, struct k8s_job *job, bool closing)
{
    (void)client;
    if (!closing)
        list_page((struct k8s_informer *)job);
}

static void stop(void *context)
{
    struct k8s_informer *informer = context;
    k8s_transfer_cancel(informer->transfer);
    k8s_timers_cancel(&informer->client->timers, &informer->next_try);
    k8s_timers_cancel(&informer->client->timers, &informer->silence_check);
}

void k8s_informer_list_again(struct k8s_informer *informer)
{
    assert(k8s_on_api_thread(informer->client));
    k8s_transfer_cancel(informer->transfer);
    informer->transfer = NULL;
    k8s_timers_cancel(&informer->client->timers, &informer->next_try);
    k8s_timers_cancel(&informer->client->timers, &informer->silence_check);
    forget_list(informer);
    list_page(informer);
}

static void free_informer(struct k8s_informer *informer)
{
    k8s_page_clear(&informer->page);
    k8s_watch_clear(&informer->watch);
    free(informer->version);
    free(informer->continue_token);
    free(informer->path);
    free(informer->query);
    free(informer);
}

int k8s_informer_new(struct k8s_client *client, const struct k8s_informer_options *options,
                     const struct k8s_informer_handler *handler, void *context,
                     struct k8s_informer **ret_informer, struct error *error)
{
    int result = k8s_url_check_path(options->path, error);
    if (result == 0 && options->query != NULL)
        result = k8s_url_check_query(options->query, error);
    if (result != 0)
        return result;
    struct k8s_informer *informer = calloc(1, sizeof(*informer));
    if (informer == NULL)
        return error_no_memory(error);
    k8s_page_init(&informer->page);
    k8s_watch_init(&informer->watch, 0);
    informer->start.run = run_start;
    informer->client = client;
    informer->handler = handler;
    informer->context = context;
    informer->page_size = options->page_size > 0 ? options->page_size : K8S_PAGE_SIZE;
    informer->page_most = informer->page_size;
    informer->silence = options->silence > 0 ? options->silence : SILENCE;
    informer->watch_timeout = options->watch_timeout > 0 ? options->watch_timeout : WATCH_TIMEOUT;
    informer->path = strdup(options->path);
    informer->query = options->query != NULL ? strdup(options->query) : NULL;
    if (informer->path == NULL || (options->query != NULL && informer->query == NULL)) {
        free_informer(informer);
        return error_no_memory(error);
    }
    *ret_informer = informer;
    k8s_client_post(client, &informer->start);
    return 0;
}

void k8s_informer_free(struct k8s_informer *informer)
{
    if (informer == NULL)
        return;
    k8s_client_run(informer->client, stop, informer);
    free_informer(informer);
}

bool k8s_informer_synced(const struct k8s_informer *informer)
{
    return atomic_load_explicit(&informer->synced, memory_order_acquire);
}

int64_t k8s_informer_last_heard(const struct k8s_informer *informer)
{
    return atomic_load_explicit(&informer->heard, memory_order_relaxed);
}
