/* An informer of Leases. A Lease that hasn't changed for its duration, by our own clock, is a dead
 * replica's; since each living replica renews its own every few seconds, an event comes often
 * enough to notice. */
#include "server/replicas_feed.h"

#include "certs/replicas.h"
#include "k8s/informer.h"
#include "server/objects/object_meta.h"
#include "server/state/state_replicas.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIFETIME (CERTS_REPLICA_DURATION * CLOCK_SECOND)

struct replica {
    int64_t changed_at; /* monotonic */
    uint64_t round;     /* of the full list that showed it last */
    char name[];        /* of the Lease */
};

/* Used on the api thread alone. */
struct replicas_feed {
    struct state *state;
    struct k8s_informer *informer;
    replicas_health health;
    void *context;
    struct map *replicas; /* name -> struct replica */
    uint64_t round;
    char self[CERTS_REPLICA_NAME_SIZE];
};

/* Tells state who lives now. Without memory it keeps what it was told before, which costs a retry
 * at most. */
static void publish(struct replicas_feed *feed)
{
    int64_t now = clock_monotonic(feed->state->options.clock);
    const char **names = calloc(map_count(feed->replicas) + 1, sizeof(*names));
    size_t count = 0;
    size_t position = 0;
    if (names == NULL)
        return;
    for (struct replica *replica; (replica = map_next(feed->replicas, &position)) != NULL;)
        if (now - replica->changed_at < LIFETIME || strcmp(replica->name, feed->self) == 0)
            names[count++] = replica->name;
    (void)!state_set_replicas(feed->state, names, count, feed->self);
    free(names);
}

static void replace_begin(void *context)
{
    struct replicas_feed *feed = context;
    feed->round++;
}

static void upsert(void *context, const struct json_view *view, const struct json_node *object,
                   bool initial)
{
    struct replicas_feed *feed = context;
    struct object_meta meta;
    (void)initial;
    if (object_meta_decode(view, object, NULL, &meta, NULL) == 0) {
        struct replica *replica = map_get_string(feed->replicas, meta.name);
        size_t size = strlen(meta.name) + 1;
        if (replica == NULL && (replica = malloc(sizeof(*replica) + size)) != NULL) {
            memcpy(replica->name, meta.name, size);
            if (map_put_string(feed->replicas, replica->name, replica, NULL) < 0) {
                free(replica);
                replica = NULL;
            }
        }
        if (replica != NULL) {
            replica->changed_at = clock_monotonic(feed->state->options.clock);
            replica->round = feed->round;
        }
    }
    object_meta_clear(&meta);
    publish(feed);
}

static void replace_end(void *context)
{
    struct replicas_feed *feed = context;
    size_t position = 0;
    for (struct replica *replica; (replica = map_next(feed->replicas, &position)) != NULL;)
        if (replica->round != feed->round) {
            map_remove_string(feed->replicas, replica->name);
            free(replica);
        }
    publish(feed);
}

static void removed(void *context, const struct json_view *view, const struct json_node *object)
{
    struct replicas_feed *feed = context;
    struct object_meta meta;
    if (object_meta_decode(view, object, NULL, &meta, NULL) == 0)
        free(map_remove_string(feed->replicas, meta.name));
    object_meta_clear(&meta);
    publish(feed);
}

static void report(void *context, bool healthy, const char *reason)
{
    const struct replicas_feed *feed = context;
    feed->health(feed->context, "leases", healthy, reason);
}

static const struct k8s_informer_handler handler = {
    .replace_begin = replace_begin,
    .upsert = upsert,
    .replace_end = replace_end,
    .remove = removed,
    .health = report,
};

int replicas_feed_start(struct state *state, struct k8s_client *client, const char *namespace_name,
                        const char *identity, replicas_health health, void *context,
                        struct replicas_feed **ret_feed, struct error *error)
{
    struct object_path path;
    struct k8s_informer_options options = {
        .path = path.text,
        .query = "labelSelector=app.kubernetes.io%2Fname%3Dipwarden%2C"
                 "app.kubernetes.io%2Fcomponent%3D" CERTS_REPLICA_LABEL_VALUE};
    struct replicas_feed *feed = calloc(1, sizeof(*feed));
    if (feed == NULL || (feed->replicas = map_new()) == NULL) {
        replicas_feed_stop(feed);
        return error_no_memory(error);
    }
    feed->state = state;
    feed->health = health;
    feed->context = context;
    certs_replica_name(identity, feed->self);
    snprintf(path.text, sizeof(path.text), "/apis/coordination.k8s.io/v1/namespaces/%s/leases",
             namespace_name);
    int result = k8s_informer_new(client, &options, &handler, feed, &feed->informer, error);
    if (result < 0) {
        replicas_feed_stop(feed);
        return result;
    }
    *ret_feed = feed;
    return 0;
}

void replicas_feed_stop(struct replicas_feed *feed)
{
    size_t position = 0;
    if (feed == NULL)
        return;
    k8s_informer_free(feed->informer);
    for (struct replica *replica;
         feed->replicas != NULL && (replica = map_next(feed->replicas, &position)) != NULL;)
        free(replica);
    map_free(feed->replicas);
    free(feed);
}
