/* Recording, counting and writing events. Any thread records under a short lock; the api thread
 * writes, one at a time, as its rate allows.
 *
 * An entry stands for one event object. It is known under its key for 10 minutes after it was last
 * recorded, and is in the queue while it has something unwritten. */
#include "k8s/events.h"

#include "k8s/backoff.h"
#include "k8s/client_private.h"
#include "k8s/event_document.h"
#include "server/base/clock.h"
#include "server/base/map.h"
#include "server/base/mutex.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_MOST 1000U
#define KNOWN_MOST 4096U /* entries, waiting or remembered for counting */
#define REMEMBERED (600 * CLOCK_SECOND)
#define BURST 50
#define PER_SECOND 20
#define POSTPONE (250 * CLOCK_MILLISECOND) /* before may_write is asked again */
#define ATTEMPTS 5U
#define WRITE_TIMEOUT (10 * CLOCK_SECOND)
#define FREE_WAIT CLOCK_SECOND

struct entry {
    struct entry *next_waiting; /* queue, oldest first */
    struct entry *next_known;   /* by the time of the last recording, oldest first */
    struct entry *previous_known;
    struct event_document document; /* points into text */
    struct k8s_object_reference object;
    int64_t recorded_at; /* clock_monotonic() */
    int64_t written;     /* the count that is stored; 0: not created yet */
    unsigned int failures;
    bool waiting;
    size_t key_length;
    char text[]; /* the key: all strings, each with its NUL */
};

struct k8s_events {
    struct k8s_client *client;
    char *component;
    char *instance;
    size_t queue_most;
    bool (*may_write)(void *context);
    void *context;

    struct mutex lock; /* guards what follows, */
    struct map *entries;
    struct entry *oldest_known;
    struct entry *newest_known;
    struct entry *first_waiting;
    struct entry *last_waiting;
    size_t waiting;
    uint64_t last_stamp;
    bool awake;    /* a pump is due or running */
    bool stopping; /* k8s_events_free waits for the queue to empty, */
    bool gave_up;  /* but not for ever */
    pthread_cond_t emptied;
    /* --- up to here */

    /* Api thread only. */
    struct k8s_timer timer;
    struct k8s_timer give_up;
    struct k8s_transfer *transfer;
    struct entry *writing; /* in no queue; nobody else frees it */
    int64_t writing_count;
    double tokens;
    int64_t tokens_at;
};

static void pump(void *context);

/* --- entries, with the lock held --- */

static void unlink_known(struct k8s_events *events, struct entry *entry)
{
    *(entry->previous_known != NULL ? &entry->previous_known->next_known : &events->oldest_known) =
        entry->next_known;
    *(entry->next_known != NULL ? &entry->next_known->previous_known : &events->newest_known) =
        entry->previous_known;
}

static void link_known(struct k8s_events *events, struct entry *entry)
{
    entry->next_known = NULL;
    entry->previous_known = events->newest_known;
    *(events->newest_known != NULL ? &events->newest_known->next_known : &events->oldest_known) =
        entry;
    events->newest_known = entry;
}

static void forget_entry(struct k8s_events *events, struct entry *entry)
{
    map_remove(events->entries, entry->text, entry->key_length);
    unlink_known(events, entry);
    free(entry);
}

static struct entry *take_waiting(struct k8s_events *events)
{
    struct entry *entry = events->first_waiting;
    if (entry == NULL)
        return NULL;
    events->first_waiting = entry->next_waiting;
    if (events->first_waiting == NULL)
        events->last_waiting = NULL;
    entry->waiting = false;
    events->waiting--;
    return entry;
}

/* Puts entry at the end of the queue. Where the queue is full, the oldest entry in it loses what
 * wasn't written of it. */
static void put_waiting(struct k8s_events *events, struct entry *entry)
{
    if (entry->waiting || entry == events->writing)
        return;
    struct entry *dropped = events->waiting >= events->queue_most ? take_waiting(events) : NULL;
    if (dropped != NULL && dropped->written == 0)
        forget_entry(events, dropped);
    entry->next_waiting = NULL;
    *(events->last_waiting != NULL ? &events->last_waiting->next_waiting : &events->first_waiting) =
        entry;
    events->last_waiting = entry;
    entry->waiting = true;
    events->waiting++;
}

/* Forgets the entries that are too old to be counted up, and the oldest where there are too many.
 * Entries that have something to write stay. */
static void forget_old(struct k8s_events *events, int64_t now)
{
    struct entry *entry = events->oldest_known;
    while (entry != NULL &&
           (now - entry->recorded_at > REMEMBERED || map_count(events->entries) > KNOWN_MOST)) {
        struct entry *next = entry->next_known;
        if (!entry->waiting && entry != events->writing)
            forget_entry(events, entry);
        entry = next;
    }
}

static const char *or_empty(const char *text)
{
    return text != NULL ? text : "";
}

/* All that makes two events the same, one string after the other. */
static void append_key(struct buffer *key, const struct k8s_object_reference *object, bool warning,
                       const char *reason, const char *message)
{
    const char *parts[] = {
        object->api_version, object->kind, object->namespace_name,         object->name,
        object->uid,         reason,       warning ? "Warning" : "Normal",
    };
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        buffer_append(key, or_empty(parts[i]), strlen(or_empty(parts[i])) + 1);
    buffer_append(key, message, event_document_cut(message, EVENT_MESSAGE_MOST));
    buffer_append_char(key, '\0');
}

static const char *next_text(const char **at)
{
    const char *text = *at;
    *at += strlen(text) + 1;
    return text;
}

static struct entry *new_entry(struct k8s_events *events, const struct buffer *key, bool warning)
{
    struct entry *entry = malloc(sizeof(*entry) + key->length);
    if (entry == NULL)
        return NULL;
    memset(entry, 0, sizeof(*entry));
    memcpy(entry->text, key->data, key->length);
    entry->key_length = key->length;
    const char *at = entry->text;
    entry->object.api_version = next_text(&at);
    entry->object.kind = next_text(&at);
    entry->object.namespace_name = next_text(&at);
    entry->object.name = next_text(&at);
    entry->object.uid = next_text(&at);
    struct event_document *document = &entry->document;
    document->reason = next_text(&at);
    next_text(&at);
    document->message = next_text(&at);
    document->object = &entry->object;
    document->namespace_name =
        entry->object.namespace_name[0] != '\0' ? entry->object.namespace_name : "default";
    document->warning = warning;
    document->component = events->component;
    document->instance = events->instance;
    return entry;
}

/* A name that this process never used: the time, or one more than the last when the clock stood
 * still. */
static void name_entry(struct k8s_events *events, struct entry *entry, int64_t wall)
{
    uint64_t stamp = (uint64_t)wall;
    if (stamp <= events->last_stamp)
        stamp = events->last_stamp + 1;
    events->last_stamp = stamp;
    event_document_name(entry->object.name, stamp, entry->document.name);
}

/* The entry for key, known or new; NULL when out of memory. */
static struct entry *find_entry(struct k8s_events *events, const struct buffer *key, bool warning,
                                int64_t wall)
{
    struct entry *entry = map_get(events->entries, key->data, key->length);
    if (entry != NULL) {
        unlink_known(events, entry);
        link_known(events, entry);
        return entry;
    }
    entry = new_entry(events, key, warning);
    if (entry == NULL)
        return NULL;
    if (map_put(events->entries, entry->text, entry->key_length, entry, NULL) != 0) {
        free(entry);
        return NULL;
    }
    name_entry(events, entry, wall);
    entry->document.first = wall;
    link_known(events, entry);
    return entry;
}

void k8s_events_record(struct k8s_events *events, const struct k8s_object_reference *object,
                       bool warning, const char *reason, const char *message)
{
    int64_t now = k8s_client_now(events->client);
    int64_t wall = clock_wall(events->client->clock);
    struct buffer key _cleanup_buffer_;
    buffer_init(&key, 64U * 1024);
    append_key(&key, object, warning, reason, message);
    if (buffer_failed(&key))
        return;
    mutex_guard(&events->lock);
    forget_old(events, now);
    struct entry *entry = find_entry(events, &key, warning, wall);
    if (entry == NULL)
        return;
    entry->recorded_at = now;
    entry->document.last = wall;
    entry->document.count++;
    put_waiting(events, entry);
    if (!events->awake)
        events->awake = k8s_after(events->client, 0, pump, events) == 0;
}

/* --- writing, on the api thread --- */

static void pump_later(struct k8s_events *events, int64_t delay)
{
    events->timer.fire = pump;
    events->timer.context = events;
    k8s_timers_set(&events->client->timers, &events->timer, k8s_client_now(events->client) + delay);
}

/* Takes a token and returns 0, or returns how many nanoseconds to wait for one. */
static int64_t take_token(struct k8s_events *events)
{
    int64_t now = k8s_client_now(events->client);
    events->tokens += (double)(now - events->tokens_at) * PER_SECOND / (double)CLOCK_SECOND;
    events->tokens_at = now;
    if (events->tokens > BURST)
        events->tokens = BURST;
    if (events->tokens < 1)
        return (int64_t)((1 - events->tokens) / PER_SECOND * (double)CLOCK_SECOND) + 1;
    events->tokens -= 1;
    return 0;
}

/* How long until the next write may be made; 0: now, and it is counted. */
static int64_t must_wait(struct k8s_events *events)
{
    bool may_write = events->may_write == NULL || events->may_write(events->context);
    return may_write ? take_token(events) : POSTPONE;
}

static void on_written(void *context, const struct k8s_response *response);

static int send_entry(struct k8s_events *events, const struct event_document *document,
                      bool created)
{
    struct buffer body _cleanup_buffer_;
    struct buffer path _cleanup_buffer_;
    struct error error;
    buffer_init(&body, K8S_BODY_MAXIMUM);
    buffer_init(&path, K8S_BODY_MAXIMUM);
    buffer_printf(&path, "/api/v1/namespaces/%s/events", document->namespace_name);
    if (created) {
        buffer_printf(&path, "/%s", document->name);
        event_document_patch(document, &body);
    } else {
        event_document_create(document, &body);
    }
    if (buffer_failed(&body) || buffer_failed(&path))
        return -ENOMEM;
    struct k8s_request request = {
        .verb = created ? K8S_MERGE_PATCH : K8S_CREATE,
        .path = path.data,
        .body = body.data,
        .body_length = body.length,
        .deadline = k8s_client_now(events->client) + WRITE_TIMEOUT,
    };
    return k8s_transfer_submit(events->client, &request, NULL, on_written, events,
                               &events->transfer, &error);
}

/* Whether there is something to write. When there isn't, the pump sleeps until something is
 * recorded. */
static bool stay_awake(struct k8s_events *events)
{
    mutex_guard(&events->lock);
    if (events->waiting > 0)
        return true;
    events->awake = false;
    pthread_cond_signal(&events->emptied);
    return false;
}

/* Takes the next entry to write and gives a copy of its document, because recorders change the
 * entry's own. */
static bool next_entry(struct k8s_events *events, struct event_document *ret_document)
{
    mutex_guard(&events->lock);
    events->writing = take_waiting(events);
    if (events->writing == NULL)
        return false;
    events->writing_count = events->writing->document.count;
    *ret_document = events->writing->document;
    return true;
}

static bool is_stopping(struct k8s_events *events)
{
    mutex_guard(&events->lock);
    return events->stopping;
}

/* How the writing of an entry ended. */
enum end {
    STORED,    /* up to writing_count; the entry goes back when more was recorded meanwhile */
    POSTPONED, /* to be written again */
    GIVEN_UP,
};

static void end_entry(struct k8s_events *events, enum end end)
{
    mutex_guard(&events->lock);
    struct entry *entry = events->writing;
    events->writing = NULL;
    if (end == STORED) {
        entry->written = events->writing_count;
        entry->failures = 0;
    }
    if (end == POSTPONED || (end == STORED && entry->document.count > entry->written))
        put_waiting(events, entry);
    else if (end == GIVEN_UP)
        forget_entry(events, entry);
}

static void pump(void *context)
{
    struct k8s_events *events = context;
    struct event_document document;
    if (events->writing != NULL || !stay_awake(events))
        return;
    int64_t wait = is_stopping(events) ? 0 : must_wait(events);
    if (wait > 0) {
        pump_later(events, wait);
        return;
    }
    if (next_entry(events, &document) &&
        send_entry(events, &document, events->writing->written > 0) != 0) {
        end_entry(events, GIVEN_UP);
        pump_later(events, 0);
    }
}

/* Failures that trying again may mend. */
static bool may_pass(int code)
{
    return code == -EBUSY || code == -EPROTO || code == -ECONNREFUSED || code == -ECONNRESET ||
           code == -ETIMEDOUT;
}

static void on_written(void *context, const struct k8s_response *response)
{
    struct k8s_events *events = context;
    struct entry *entry = events->writing;
    int code = response->error.code;
    int64_t delay = 0;
    events->transfer = NULL;
    if (code == 0 || (code == -EEXIST && entry->written == 0)) {
        end_entry(events, STORED);
    } else if (code == -ENOENT && entry->written > 0) {
        /* Events are kept for an hour only, and may be deleted: begin again. */
        entry->written = 0;
        end_entry(events, POSTPONED);
    } else if (may_pass(code) && ++entry->failures < ATTEMPTS) {
        delay = k8s_backoff(entry->failures, 250 * CLOCK_MILLISECOND, 10 * CLOCK_SECOND);
        end_entry(events, POSTPONED);
    } else {
        end_entry(events, GIVEN_UP);
    }
    pump_later(events, delay);
}

/* --- making and freeing --- */

struct k8s_events *k8s_events_new(struct k8s_client *client, const char *component,
                                  const char *instance, size_t queue_most,
                                  bool (*may_write)(void *context), void *context)
{
    struct k8s_events *events = calloc(1, sizeof(*events));
    if (events == NULL)
        return NULL;
    mutex_init(&events->lock);
    pthread_cond_init(&events->emptied, NULL);
    events->client = client;
    events->queue_most = queue_most > 0 ? queue_most : QUEUE_MOST;
    events->may_write = may_write;
    events->context = context;
    events->tokens = BURST;
    events->tokens_at = k8s_client_now(events->client);
    events->entries = map_new();
    events->component = strdup(component);
    events->instance = strdup(instance);
    if (events->entries != NULL && events->component != NULL && events->instance != NULL)
        return events;
    map_free(events->entries);
    free(events->component);
    free(events->instance);
    mutex_destroy(&events->lock);
    pthread_cond_destroy(&events->emptied);
    free(events);
    return NULL;
}

static void stop(void *context)
{
    struct k8s_events *events = context;
    k8s_transfer_cancel(events->transfer);
    k8s_timers_cancel(&events->client->timers, &events->timer);
    k8s_timers_cancel(&events->client->timers, &events->give_up);
}

static void give_up(void *context)
{
    struct k8s_events *events = context;
    mutex_guard(&events->lock);
    events->gave_up = true;
    pthread_cond_signal(&events->emptied);
}

/* Once events are stopping, rate and may_write don't count: it is the last chance. */
static void hurry(void *context)
{
    struct k8s_events *events = context;
    events->give_up.fire = give_up;
    events->give_up.context = events;
    k8s_timers_set(&events->client->timers, &events->give_up,
                   k8s_client_now(events->client) + FREE_WAIT);
    if (events->timer.armed)
        pump_later(events, 0);
}

static void wait_until_empty(struct k8s_events *events)
{
    mutex_guard(&events->lock);
    while (events->awake && !events->gave_up)
        mutex_wait(&events->lock, &events->emptied);
}

void k8s_events_free(struct k8s_events *events)
{
    if (events == NULL)
        return;
    mutex_lock(&events->lock);
    events->stopping = true;
    mutex_unlock(&events->lock);
    k8s_client_run(events->client, hurry, events);
    wait_until_empty(events);
    k8s_client_run(events->client, stop, events);
    while (events->oldest_known != NULL)
        forget_entry(events, events->oldest_known);
    map_free(events->entries);
    mutex_destroy(&events->lock);
    pthread_cond_destroy(&events->emptied);
    free(events->component);
    free(events->instance);
    free(events);
}
