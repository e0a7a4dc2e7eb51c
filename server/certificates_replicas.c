/* The Leases of replicas. Their renewTime is never compared with a clock, only with what it was before: life is judged by
 * this process's own monotonic clock. */
#include "server/certificates_replicas.h"

#include "server/base/buffer.h"
#include "server/base/json_view.h"
#include "server/base/map.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST_TIMEOUT (3 * CLOCK_SECOND)
#define FAREWELL_TIMEOUT (2 * CLOCK_SECOND)
#define LIFE_SECONDS 40
#define BURIAL (600 * CLOCK_SECOND)
#define FINGERPRINT_SIZE 65
#define LABEL "app.kubernetes.io/component"
#define ANNOTATION "ipcontroller.ext/serving-certificate"

/* A Lease as last seen. */
struct replica {
    char name[320];
    char renewed[64];
    char fingerprint[FINGERPRINT_SIZE];
    int64_t changed; /* monotonic: when renewed was first seen as it is */
    uint64_t round;
};

struct certificates_replicas {
    struct k8s_client *client;
    const struct clock *clock;
    const char *namespace_name;
    const char *identity;
    struct map *known; /* name -> struct replica */
    uint64_t round;
    char path[700]; /* of this replica's Lease */
};

struct certificates_replicas *certificates_replicas_new(struct k8s_client *client,
                                                        const struct clock *clock,
                                                        const char *namespace_name,
                                                        const char *identity)
{
    struct certificates_replicas *replicas = calloc(1, sizeof(*replicas));
    if (replicas == NULL)
        return NULL;
    *replicas = (struct certificates_replicas){
        .client = client, .clock = clock, .namespace_name = namespace_name, .identity = identity};
    snprintf(replicas->path, sizeof(replicas->path),
             "/apis/coordination.k8s.io/v1/namespaces/%s/leases/ipwarden-%s", namespace_name,
             identity);
    replicas->known = map_new();
    if (replicas->known == NULL) {
        free(replicas);
        return NULL;
    }
    return replicas;
}

static int delete_lease(const struct certificates_replicas *replicas, const char *path,
                        int64_t timeout)
{
    struct k8s_request request = {
        .verb = K8S_DELETE, .path = path, .deadline = clock_monotonic(clock_system()) + timeout};
    return k8s_call(replicas->client, &request, NULL, NULL);
}

void certificates_replicas_free(struct certificates_replicas *replicas)
{
    if (replicas == NULL)
        return;
    int result = delete_lease(replicas, replicas->path, FAREWELL_TIMEOUT);
    (void)result; /* it runs out by itself */
    size_t position = 0;
    for (struct replica *replica; (replica = map_next(replicas->known, &position)) != NULL;)
        free(replica);
    map_free(replicas->known);
    free(replicas);
}

int certificates_replicas_acknowledge(struct certificates_replicas *replicas,
                                      const char *fingerprint, struct error *error)
{
    _cleanup_buffer_ struct buffer body;
    char now[CLOCK_RFC3339_SIZE];
    buffer_init(&body, 64U * 1024);
    clock_format_rfc3339_micro(clock_wall(replicas->clock), now);
    buffer_append_string(&body, "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\","
                                "\"metadata\":{\"name\":\"ipwarden-");
    buffer_append_string(&body, replicas->identity);
    buffer_append_string(&body, "\",\"labels\":{\"app.kubernetes.io/name\":\"ipwarden\",\"" LABEL
                                "\":\"replica\"},\"annotations\":{\"" ANNOTATION "\":");
    buffer_append_json_string(&body, fingerprint);
    buffer_append_string(&body, "}},\"spec\":{\"holderIdentity\":");
    buffer_append_json_string(&body, replicas->identity);
    buffer_printf(&body, ",\"leaseDurationSeconds\":%d,\"renewTime\":\"%s\"}}", LIFE_SECONDS, now);
    if (buffer_failed(&body))
        return error_no_memory(error);
    struct k8s_request request = {.verb = K8S_APPLY_PATCH,
                                  .path = replicas->path,
                                  .query = "fieldManager=ipwarden&force=true",
                                  .body = body.data,
                                  .body_length = body.length,
                                  .deadline = clock_monotonic(clock_system()) + REQUEST_TIMEOUT};
    int result = k8s_call(replicas->client, &request, NULL, error);
    return result < 0 ? error_prefix(error, "this replica's Lease") : 0;
}

/* Notes one Lease of the list. 0 or -ENOMEM. */
static int note_lease(struct certificates_replicas *replicas, const struct json_view *view,
                      const struct json_node *lease)
{
    const struct json_node *metadata = json_view_member(view, lease, "metadata");
    char name[320];
    char renewed[64];
    if (json_view_text(view, json_view_member(view, metadata, "name"), name, sizeof(name)) <= 0)
        return 0;
    if (json_view_text(view, json_view_path(view, lease, "spec", "renewTime", NULL), renewed,
                       sizeof(renewed)) < 0)
        renewed[0] = '\0';
    struct replica *replica = map_get_string(replicas->known, name);
    if (replica == NULL) {
        replica = calloc(1, sizeof(*replica));
        if (replica == NULL)
            return -ENOMEM;
        snprintf(replica->name, sizeof(replica->name), "%s", name);
        replica->changed = clock_monotonic(replicas->clock);
        if (map_put_string(replicas->known, replica->name, replica, NULL) < 0) {
            free(replica);
            return -ENOMEM;
        }
    } else if (strcmp(renewed, replica->renewed) != 0) {
        replica->changed = clock_monotonic(replicas->clock);
    }
    snprintf(replica->renewed, sizeof(replica->renewed), "%s", renewed);
    replica->round = replicas->round;
    const struct json_node *annotations = json_view_member(view, metadata, "annotations");
    if (json_view_text(view, json_view_member(view, annotations, ANNOTATION), replica->fingerprint,
                       sizeof(replica->fingerprint)) < 0)
        replica->fingerprint[0] = '\0';
    return 0;
}

static int add_text(char ***list, size_t *count, const char *text)
{
    char **grown = realloc(*list, (*count + 1) * sizeof(char *));
    if (grown == NULL)
        return -ENOMEM;
    *list = grown;
    grown[*count] = strdup(text);
    if (grown[*count] == NULL)
        return -ENOMEM;
    (*count)++;
    return 0;
}

/* Collects the living; forgets those whose Lease is gone; buries the long dead. 0 or -ENOMEM. */
static int collect(struct certificates_replicas *replicas, char ***ret_list, size_t *ret_count)
{
    int64_t now = clock_monotonic(replicas->clock);
    size_t position = 0;
    for (struct replica *replica; (replica = map_next(replicas->known, &position)) != NULL;) {
        if (replica->round != replicas->round) {
            map_remove_string(replicas->known, replica->name);
            free(replica);
            continue;
        }
        int64_t silent = now - replica->changed;
        if (silent > BURIAL) {
            char path[700];
            snprintf(path, sizeof(path), "/apis/coordination.k8s.io/v1/namespaces/%s/leases/%s",
                     replicas->namespace_name, replica->name);
            int result = delete_lease(replicas, path, REQUEST_TIMEOUT);
            (void)result; /* tried again at the next look */
        }
        if (silent <= LIFE_SECONDS * CLOCK_SECOND &&
            add_text(ret_list, ret_count, replica->fingerprint) < 0)
            return -ENOMEM;
    }
    return 0;
}

int certificates_replicas_serving(struct certificates_replicas *replicas, char ***ret_fingerprints,
                                  size_t *ret_count, struct error *error)
{
    char path[400];
    char *body = NULL;
    struct json_view view;
    snprintf(path, sizeof(path), "/apis/coordination.k8s.io/v1/namespaces/%s/leases",
             replicas->namespace_name);
    struct k8s_request request = {
        .verb = K8S_LIST,
        .path = path,
        .query = "labelSelector=app.kubernetes.io%2Fname%3Dipwarden%2Capp.kubernetes.io%2Fcomponent"
                 "%3Dreplica",
        .deadline = clock_monotonic(clock_system()) + REQUEST_TIMEOUT};
    int result = k8s_call(replicas->client, &request, &body, error);
    if (result < 0)
        return error_prefix(error, "the replicas' Leases");
    json_view_init(&view);
    replicas->round++;
    result = json_view_parse(&view, body, strlen(body), JSON_VIEW_DEPTH, error);
    const struct json_node *items =
        result == 0 ? json_view_member(&view, json_view_root(&view), "items") : NULL;
    for (const struct json_node *lease = json_view_first(&view, items);
         result == 0 && lease != NULL; lease = json_view_after(&view, items, lease))
        if (note_lease(replicas, &view, lease) < 0)
            result = error_no_memory(error);
    json_view_clear(&view);
    free(body);
    char **list = NULL;
    size_t count = 0;
    if (result == 0 && collect(replicas, &list, &count) < 0)
        result = error_no_memory(error);
    if (result < 0) {
        for (size_t i = 0; i < count; i++)
            free(list[i]);
        free(list);
        return result;
    }
    *ret_fingerprints = list;
    *ret_count = count;
    return 0;
}
