/* The informers' handlers: decode the projection and hand it to state. An object that can't be
 * decoded is skipped: it must not keep the rest from being seen. */
#include "server/state/feed.h"

#include "k8s/informer.h"

#include <stdio.h>
#include <stdlib.h>

struct feed_source {
    struct feed *feed;
    enum state_kind kind;
    struct k8s_informer *informer;
    bool healthy; /* as the informer last said */
};

struct feed {
    struct state *state;
    feed_health health;
    void *context;
    struct feed_source sources[STATE_KINDS];
};

static void feed_begin(void *context)
{
    struct feed_source *source = context;
    state_replace_begin(source->feed->state, source->kind);
}

static void feed_end(void *context)
{
    struct feed_source *source = context;
    state_replace_end(source->feed->state, source->kind);
}

static void feed_tell(struct feed_source *source, bool healthy, const char *reason)
{
    if (source->feed->health != NULL)
        source->feed->health(source->feed->context, state_kind(source->kind)->name, healthy,
                             reason);
}

static void feed_report(void *context, bool healthy, const char *reason)
{
    struct feed_source *source = context;
    source->healthy = healthy;
    feed_tell(source, healthy, reason);
}

/* Says that an object is left out; the watch itself is as well as it was. */
static void feed_skipped(struct feed_source *source, const struct json_view *view,
                         const struct json_node *object, const struct error *error)
{
    char name[256];
    char text[600];
    if (json_view_text(view, json_view_path(view, object, "metadata", "name", NULL), name,
                       sizeof(name)) < 0)
        name[0] = '\0';
    snprintf(text, sizeof(text), "%s is left out: %s", name, error->text);
    feed_tell(source, false, text);
    if (source->healthy)
        feed_tell(source, true, "watching");
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
        feed_skipped(source, view, object, &error);
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
    .health = feed_report,
};

int feed_start(struct state *state, struct k8s_client *client, feed_health health, void *context,
               struct feed **ret_feed, struct error *error)
{
    struct feed *feed = calloc(1, sizeof(*feed));
    if (feed == NULL)
        return error_no_memory(error);
    feed->state = state;
    feed->health = health;
    feed->context = context;
    for (int i = 0; i < STATE_KINDS; i++) {
        struct k8s_informer_options options = {.path = state_kind((enum state_kind)i)->path};
        struct feed_source *source = &feed->sources[i];
        *source = (struct feed_source){.feed = feed, .kind = (enum state_kind)i};
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
    free(feed);
}

uint64_t feed_list_again(struct feed *feed, enum state_kind kind)
{
    struct state *state = feed->state;
    k8s_informer_list_again(feed->sources[kind].informer);
    mutex_guard(&state->mutex);
    return state->round[kind] + 1;
}
