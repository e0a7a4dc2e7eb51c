/* The thread, its queue and the ends of passes. */
#include "server/reconcile/reconciler_private.h"

#include "server/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IN_FLIGHT_MOST 16
#define WRITE_TIMEOUT (15 * CLOCK_SECOND)
#define QUIET (300 * CLOCK_MILLISECOND)
#define PACE_PER_SECOND 10
#define PACE_PATIENCE (30 * CLOCK_SECOND)

static void reconcile_everything(struct pass *pass);

static const struct {
    const char *kind;
    void (*handle)(struct pass *pass);
} handlers[] = {
    {"everything", reconcile_everything},
    {"service", reconcile_service},
    {"claim", reconcile_claim},
    {"pool", reconcile_pool},
    {"room", reconcile_room},
    {"range", reconcile_range},
    {"request", reconcile_request},
    {"fence", reconcile_fence},
    {"released", reconcile_released},
};
#define HANDLERS (sizeof(handlers) / sizeof(handlers[0]))

/* Splits "kind/key". Returns false for a kind that nobody handles. */
static bool split_key(const char *text, struct queue_item *ret_item)
{
    size_t length = strcspn(text, "/");
    for (unsigned int i = 0; i < HANDLERS && text[length] == '/'; i++) {
        if (strlen(handlers[i].kind) == length && memcmp(handlers[i].kind, text, length) == 0) {
            *ret_item = (struct queue_item){.kind = i, .key = text + length + 1};
            return true;
        }
    }
    return false;
}

/* Puts a key into the queue of the leader. */
static void reconciler_note(struct reconciler *reconciler, const char *key)
{
    struct queue_item item;
    if (!atomic_load_explicit(&reconciler->leader, memory_order_relaxed) || !split_key(key, &item))
        return;
    if (queue_add(reconciler->queue, item) < 0)
        log_error("out of memory: an object waits for the next look at everything", "object", key);
}

int reconcile_add_after(struct reconciler *reconciler, const char *key, int64_t nanoseconds)
{
    struct queue_item item;
    return split_key(key, &item) ? queue_add_after(reconciler->queue, item, nanoseconds) : 0;
}

/* With the lock of state held. Nothing is judged before the full lists are there; then state tells "everything/". */
static void reconciler_listen(void *context, const char *key)
{
    struct reconciler *reconciler = context;
    if (state_knows_everything(reconciler->options.state))
        reconciler_note(reconciler, key);
}

bool reconciler_is_quiet(const struct state *state, const struct clock *clock)
{
    return clock_monotonic(clock) -
               atomic_load_explicit(&state->last_activity, memory_order_relaxed) >
           QUIET;
}

int64_t reconcile_pace(struct reconciler *reconciler, int64_t since)
{
    const struct clock *clock = reconciler->options.clock;
    int64_t now = clock_monotonic(clock);
    if (reconciler_is_quiet(reconciler->options.state, clock) || now - since > PACE_PATIENCE)
        return 0;
    mutex_guard(&reconciler->mutex);
    int64_t earned = (now - reconciler->pace_refilled) * PACE_PER_SECOND / (CLOCK_SECOND / 1000);
    reconciler->pace_tokens += earned;
    if (reconciler->pace_tokens > PACE_PER_SECOND * 1000)
        reconciler->pace_tokens = PACE_PER_SECOND * 1000;
    reconciler->pace_refilled = now;
    if (reconciler->pace_tokens < 1000)
        return CLOCK_SECOND / 2 + now % (CLOCK_SECOND / 2);
    reconciler->pace_tokens -= 1000;
    return 0;
}

static void pass_finish(struct pass *pass, const char *result)
{
    struct reconciler *reconciler = pass->reconciler;
    if (reconciler->options.observe != NULL)
        reconciler->options.observe(reconciler->options.context, pass->kind, result);
    queue_done(reconciler->queue, pass->item);
    free(pass->key);
    free(pass);
    mutex_guard(&reconciler->mutex);
    reconciler->in_flight--;
    pthread_cond_broadcast(&reconciler->idle);
}

void pass_end(struct pass *pass, enum pass_end end)
{
    static const char *const results[] = {"ok", "wrote", "retry", "later"};
    struct reconciler *reconciler = pass->reconciler;
    int result = 0;
    if (end == PASS_RETRY)
        result = queue_add_limited(reconciler->queue, pass->item);
    else
        queue_forget(reconciler->queue, pass->item);
    if (end == PASS_WROTE)
        result = queue_add(reconciler->queue, pass->item);
    if (result < 0)
        log_error("out of memory: an object waits for the next look at everything", "object",
                  pass->key);
    pass_finish(pass, results[end]);
}

void pass_later(struct pass *pass, int64_t nanoseconds)
{
    if (queue_add_after(pass->reconciler->queue, pass->item, nanoseconds) < 0)
        log_error("out of memory: an object waits for the next look at everything", "object",
                  pass->key);
    pass_finish(pass, "later");
}

static void write_done(void *context, const struct k8s_response *response)
{
    struct pass *pass = context;
    int code = response->error.code;
    if (code == 0) {
        pass_end(pass, PASS_OK); /* the watch brings what came of it, and the next look with it */
        return;
    }
    /* A conflict or a vanished object is how two writers meet: the watch brings what is new. */
    if (code != -EAGAIN && code != -ENOENT && code != -EEXIST && code != -ECANCELED)
        log_warning("a write of the reconciler failed; it is tried again", "object", pass->key,
                    "error", response->error.text);
    pass_end(pass, PASS_RETRY);
}

void pass_write(struct pass *pass, struct k8s_request *request)
{
    request->deadline = clock_monotonic(clock_system()) + WRITE_TIMEOUT;
    if (k8s_submit(pass->reconciler->options.client, request, write_done, pass, NULL) < 0)
        pass_end(pass, PASS_RETRY);
}

/* --- the thread --- */

static void reconciler_dispatch(struct reconciler *reconciler, struct queue_item item)
{
    const char *kind = handlers[item.kind].kind;
    struct pass *pass = calloc(1, sizeof(*pass));
    char *key = NULL;
    if (pass == NULL || asprintf(&key, "%s/%s", kind, item.key) < 0) {
        queue_done(reconciler->queue, item);
        free(pass);
        mutex_guard(&reconciler->mutex);
        reconciler->in_flight--;
        return;
    }
    *pass = (struct pass){
        .reconciler = reconciler, .item = item, .key = key, .object = item.key, .kind = kind};
    /* What is dropped here is looked at when leadership comes back. */
    if (!atomic_load(&reconciler->leader))
        pass_end(pass, PASS_OK);
    else if (!reconciler->options.may_act(reconciler->options.context))
        pass_later(pass, CLOCK_SECOND);
    else
        handlers[item.kind].handle(pass);
}

/* Waits for a place among the writes under way. */
static void reconciler_enter(struct reconciler *reconciler)
{
    mutex_guard(&reconciler->mutex);
    while (reconciler->in_flight >= IN_FLIGHT_MOST)
        mutex_wait(&reconciler->mutex, &reconciler->idle);
    reconciler->in_flight++;
}

static void reconciler_leave(struct reconciler *reconciler)
{
    mutex_guard(&reconciler->mutex);
    reconciler->in_flight--;
}

/* With the lock of state held. */
static void reconciler_look_at_ranges(struct reconciler *reconciler)
{
    struct state *state = reconciler->options.state;
    char key[600];
    size_t position = 0;
    for (const struct state_range *home; (home = map_next(state->ranges, &position)) != NULL;) {
        snprintf(key, sizeof(key), "range/%s", home->key);
        reconciler_listen(reconciler, key);
    }
    position = 0;
    for (const struct ipam_request *request;
         (request = map_next(state->requests, &position)) != NULL;) {
        if (!reconcile_request_has_work(state, request))
            continue;
        snprintf(key, sizeof(key), "request/%s", request->meta.key);
        reconciler_listen(reconciler, key);
    }
}

/* Puts everything that could need a look into the queue. */
static void reconciler_look_at_everything(struct reconciler *reconciler)
{
    struct state *state = reconciler->options.state;
    char key[600];
    size_t position = 0;
    mutex_guard(&state->mutex);
    for (const struct service *service; (service = map_next(state->services, &position)) != NULL;) {
        if (service->external.count == 0 && service->ingress.count == 0 &&
            service->assigned.count == 0 && service->type != SERVICE_LOAD_BALANCER &&
            !service->wants_auto)
            continue;
        snprintf(key, sizeof(key), "service/%s", service->key);
        reconciler_listen(reconciler, key);
    }
    position = 0;
    for (const struct claim *claim; (claim = map_next(state->claims, &position)) != NULL;) {
        snprintf(key, sizeof(key), "claim/%s", claim->name);
        reconciler_listen(reconciler, key);
    }
    for (size_t i = 0; i < state->pool_count; i++) {
        snprintf(key, sizeof(key), "pool/%s", state->pools[i]->name);
        reconciler_listen(reconciler, key);
    }
    reconciler_look_at_ranges(reconciler);
}

static void reconcile_everything(struct pass *pass)
{
    reconciler_look_at_everything(pass->reconciler);
    pass_end(pass, PASS_OK);
}

static void *reconciler_run(void *context)
{
    struct reconciler *reconciler = context;
    const struct clock *clock = clock_system();
    int64_t resync = reconciler->options.resync;
    int64_t next = clock_monotonic(clock) + resync;
    for (;;) {
        struct queue_item item;
        reconciler_enter(reconciler);
        int64_t wait = resync > 0 ? next - clock_monotonic(clock) : -1;
        int result = queue_get(reconciler->queue, resync > 0 && wait < 0 ? 0 : wait, &item);
        if (result == 0) {
            reconciler_dispatch(reconciler, item);
            continue;
        }
        reconciler_leave(reconciler);
        if (result == -ESHUTDOWN)
            return NULL;
        if (resync > 0 && clock_monotonic(clock) >= next) {
            reconciler_look_at_everything(reconciler);
            next = clock_monotonic(clock) + resync;
        }
    }
}

void reconciler_lead(struct reconciler *reconciler, bool leader)
{
    reconcile_forget_leads(reconciler);
    atomic_store(&reconciler->leader, leader);
    if (leader)
        reconciler_look_at_everything(reconciler);
    else
        queue_drain(reconciler->queue);
}

size_t reconciler_queue_length(struct reconciler *reconciler)
{
    return queue_length(reconciler->queue);
}

static void reconciler_free(struct reconciler *reconciler)
{
    queue_free(reconciler->queue);
    for (size_t position = 0; reconciler->waiting != NULL;) {
        void *value = map_next(reconciler->waiting, &position);
        if (value == NULL)
            break;
        free(value);
    }
    for (size_t position = 0; reconciler->written != NULL;) {
        void *value = map_next(reconciler->written, &position);
        if (value == NULL)
            break;
        free(value);
    }
    if (reconciler->leads != NULL)
        reconcile_forget_leads(reconciler);
    map_free(reconciler->waiting);
    map_free(reconciler->written);
    map_free(reconciler->leads);
    pthread_cond_destroy(&reconciler->idle);
    mutex_destroy(&reconciler->mutex);
    free(reconciler);
}

int reconciler_start(const struct reconciler_options *options, struct reconciler **ret_reconciler,
                     struct error *error)
{
    struct reconciler *reconciler = calloc(1, sizeof(*reconciler));
    if (reconciler == NULL)
        return error_no_memory(error);
    reconciler->options = *options;
    if (reconciler->options.clock == NULL)
        reconciler->options.clock = clock_system();
    mutex_init(&reconciler->mutex);
    pthread_cond_init(&reconciler->idle, NULL);
    reconciler->queue = queue_new(NULL);
    reconciler->waiting = map_new();
    reconciler->written = map_new();
    reconciler->leads = map_new();
    if (reconciler->queue == NULL || reconciler->waiting == NULL || reconciler->written == NULL ||
        reconciler->leads == NULL) {
        reconciler_free(reconciler);
        return error_no_memory(error);
    }
    state_set_listener(options->state, reconciler_listen, reconciler);
    int result = pthread_create(&reconciler->thread, NULL, reconciler_run, reconciler);
    if (result != 0) {
        state_set_listener(options->state, NULL, NULL);
        reconciler_free(reconciler);
        return error_set(error, -result, "could not start the reconciler thread: %s",
                         strerror(result));
    }
    *ret_reconciler = reconciler;
    return 0;
}

void reconciler_stop(struct reconciler *reconciler)
{
    if (reconciler == NULL)
        return;
    state_set_listener(reconciler->options.state, NULL, NULL);
    queue_close(reconciler->queue);
    pthread_join(reconciler->thread, NULL);
    mutex_lock(&reconciler->mutex);
    while (reconciler->in_flight > 0)
        mutex_wait(&reconciler->mutex, &reconciler->idle);
    mutex_unlock(&reconciler->mutex);
    reconciler_free(reconciler);
}

/* --- Services that wait --- */

struct waiting {
    int64_t created;
    char key[];
};

void reconcile_note_waiting(struct reconciler *reconciler, const char *key, bool waits,
                            int64_t created)
{
    mutex_guard(&reconciler->mutex);
    struct waiting *known = map_get_string(reconciler->waiting, key);
    if (waits == (known != NULL))
        return;
    if (!waits) {
        map_remove_string(reconciler->waiting, key);
        free(known);
        return;
    }
    size_t length = strlen(key) + 1;
    struct waiting *entry = malloc(sizeof(*entry) + length);
    if (entry == NULL)
        return; /* the next look at everything finds it */
    entry->created = created;
    memcpy(entry->key, key, length);
    if (map_put_string(reconciler->waiting, entry->key, entry, NULL) < 0)
        free(entry);
}

static int waiting_order(const void *left, const void *right)
{
    const struct waiting *const *a = left;
    const struct waiting *const *b = right;
    if ((*a)->created != (*b)->created)
        return (*a)->created < (*b)->created ? -1 : 1;
    return strcmp((*a)->key, (*b)->key);
}

void reconcile_room(struct pass *pass)
{
    struct reconciler *reconciler = pass->reconciler;
    mutex_lock(&reconciler->mutex);
    size_t count = map_count(reconciler->waiting);
    struct waiting **list = calloc(count > 0 ? count : 1, sizeof(*list));
    size_t position = 0;
    size_t filled = 0;
    for (struct waiting *entry;
         list != NULL && (entry = map_next(reconciler->waiting, &position)) != NULL;)
        list[filled++] = entry;
    if (filled > 1)
        qsort(list, filled, sizeof(*list), waiting_order);
    for (size_t i = 0; i < filled; i++)
        reconciler_note(reconciler, list[i]->key);
    mutex_unlock(&reconciler->mutex);
    bool good = list != NULL;
    free(list);
    pass_end(pass, good ? PASS_OK : PASS_RETRY);
}

void reconcile_service_event(struct reconciler *reconciler, const struct service *service,
                             bool warning, const char *reason, const char *message)
{
    struct k8s_object_reference reference = {
        .api_version = "v1",
        .kind = "Service",
        .namespace_name = service->namespace_name,
        .name = service->name,
        .uid = service->uid,
    };
    if (reconciler->options.events != NULL)
        k8s_events_record(reconciler->options.events, &reference, warning, reason, message);
}
