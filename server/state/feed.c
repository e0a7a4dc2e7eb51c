/* The informers' handlers: decode the projection and hand it to state. An object that can't be read
 * is known to be there, and no more: it must not keep the rest from being seen.
 *
 * How long a kind hasn't been seen as it is stored is counted from when its watch broke. A watch that
 * opens and breaks again and again shows nothing, so one counts as open only when it has been for a
 * while. */
#include "server/state/feed.h"

#include "k8s/informer.h"
#include "server/state/state_places.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define STEADY CLOCK_SECOND /* how long a watch must be open to count */

struct feed_source {
    struct feed *feed;
    enum state_kind kind;
    struct k8s_informer *informer;

    /* With the feed's mutex held. */
    bool healthy;       /* as the informer last said */
    int64_t since;      /* monotonic: when it said so */
    int64_t current_at; /* monotonic: until when everything was surely seen */
    char reason[160];   /* of its last trouble */
};

struct feed {
    struct state *state;
    const struct feed_listener *listener;
    void *context;
    struct mutex mutex; /* held for no other lock */
    struct feed_source sources[STATE_KINDS];
};

static int64_t feed_now(const struct feed *feed)
{
    return clock_monotonic(feed->state->options.clock);
}

static void feed_begin(void *context)
{
    struct feed_source *source = context;
    state_replace_begin(source->feed->state, source->kind);
}

static void feed_end(void *context)
{
    struct feed_source *source = context;
    state_replace_end(source->feed->state, source->kind);
    mutex_guard(&source->feed->mutex);
    source->current_at = feed_now(source->feed);
}

/* Whether that is news. */
static bool note_health(struct feed_source *source, bool healthy, const char *reason)
{
    int64_t now = feed_now(source->feed);
    mutex_guard(&source->feed->mutex);
    if (source->healthy && !healthy && now - source->since >= STEADY)
        source->current_at = now;
    bool news = source->healthy != healthy;
    if (news)
        source->since = now;
    source->healthy = healthy;
    if (!healthy)
        snprintf(source->reason, sizeof(source->reason), "%s", reason);
    return news;
}

static void feed_report(void *context, bool healthy, const char *reason)
{
    struct feed_source *source = context;
    const struct feed *feed = source->feed;
    if (note_health(source, healthy, reason) && healthy && source->kind == STATE_IP_NODES) {
        mutex_guard(&feed->state->mutex);
        state_places_resume(feed->state);
    }
    if (feed->listener != NULL && feed->listener->health != NULL)
        feed->listener->health(feed->context, state_kind(source->kind)->name, healthy, reason);
}

bool feed_is_current(struct feed *feed, int64_t most, char *ret_reason, size_t size)
{
    int64_t now = feed_now(feed);
    mutex_guard(&feed->mutex);
    for (size_t i = 0; i < STATE_KINDS; i++) {
        const struct feed_source *source = &feed->sources[i];
        if (!state_watches(feed->state, (enum state_kind)i))
            continue;
        bool open = source->healthy && now - source->since >= STEADY;
        if (open || now - source->current_at < most)
            continue;
        snprintf(ret_reason, size, "%s haven't been seen for %" PRId64 " s: %s",
                 state_kind(source->kind)->name, (now - source->current_at) / CLOCK_SECOND,
                 source->reason);
        return false;
    }
    return true;
}

static void tell_unreadable(const struct feed_source *source, const char *key, const char *reason)
{
    const struct feed *feed = source->feed;
    if (feed->listener != NULL && feed->listener->unreadable != NULL)
        feed->listener->unreadable(feed->context, state_kind(source->kind)->name, key, reason);
}

/* What can't be read is told by the name it has, if that can be read. */
static void feed_unreadable(struct feed_source *source, const struct json_view *view,
                            const struct json_node *object, const struct error *error)
{
    struct state *state = source->feed->state;
    struct object_meta meta;
    bool named = object_meta_decode(view, object, NULL, &meta, NULL) == 0 && *meta.name != '\0';
    if (!named)
        state_put_unnamed(state, source->kind);
    if (!named || state_put_unreadable(state, source->kind, &meta))
        tell_unreadable(source, named ? meta.key : "", error->text);
    object_meta_clear(&meta);
}

static void feed_passed_over(void *context)
{
    struct feed_source *source = context;
    state_put_unnamed(source->feed->state, source->kind);
    tell_unreadable(source, "", "an event of the watch is too large");
}

static void feed_put(void *context, const struct json_view *view, const struct json_node *object,
                     bool initial)
{
    struct feed_source *source = context;
    struct error error = {0};
    void *decoded;
    (void)initial;
    int result = state_kind(source->kind)->decode(view, object, &decoded, &error);
    if (result == 0 && (result = state_put(source->feed->state, source->kind, decoded)) < 0)
        error_no_memory(&error);
    if (result < 0)
        feed_unreadable(source, view, object, &error);
}

static void feed_remove(void *context, const struct json_view *view, const struct json_node *object)
{
    struct feed_source *source = context;
    struct object_meta meta;
    /* Without memory the object is dropped at the next full list. */
    if (object_meta_decode(view, object, NULL, &meta, NULL) == 0)
        state_remove(source->feed->state, source->kind, meta.key, meta.uid);
    object_meta_clear(&meta);
}

static const struct k8s_informer_handler handler = {
    .replace_begin = feed_begin,
    .upsert = feed_put,
    .replace_end = feed_end,
    .remove = feed_remove,
    .passed_over = feed_passed_over,
    .health = feed_report,
};

int feed_start(struct state *state, struct k8s_client *client, const struct feed_listener *listener,
               void *context, struct feed **ret_feed, struct error *error)
{
    struct feed *feed = calloc(1, sizeof(*feed));
    if (feed == NULL)
        return error_no_memory(error);
    feed->state = state;
    feed->listener = listener;
    feed->context = context;
    mutex_init(&feed->mutex);
    for (int i = 0; i < STATE_KINDS; i++) {
        struct k8s_informer_options options = {.path = state_kind((enum state_kind)i)->path};
        struct feed_source *source = &feed->sources[i];
        *source = (struct feed_source){.feed = feed,
                                       .kind = (enum state_kind)i,
                                       .current_at = feed_now(feed),
                                       .reason = "not listed yet"};
        if (!state_watches(state, source->kind))
            continue;
        int result = k8s_informer_new(client, &options, &handler, source, &source->informer, error);
        if (result < 0) {
            feed_stop(feed);
            return result;
        }
    }
    *ret_feed = feed;
    return 0;
}

void feed_stop(struct feed *feed)
{
    if (feed == NULL)
        return;
    for (int i = 0; i < STATE_KINDS; i++)
        k8s_informer_free(feed->sources[i].informer);
    mutex_destroy(&feed->mutex);
    free(feed);
}

uint64_t feed_list_again(struct feed *feed, enum state_kind kind)
{
    struct state *state = feed->state;
    k8s_informer_list_again(feed->sources[kind].informer);
    mutex_guard(&state->mutex);
    return state->round[kind] + 1;
}
