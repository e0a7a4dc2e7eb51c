/* Replicas seen through their Leases: a table by name of when each Lease changed last. */
#include "certs/replicas.h"

#include "certs/certificate.h"
#include "server/base/json_view.h"
#include "server/base/json_writer.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_DEPTH 64
#define PREFIX "ipwarden-"
#define DURATION_MOST 3600 /* seconds that we believe a Lease */

struct replica {
    char *name;
    char *version;      /* the Lease's resource version when it changed last */
    char *fingerprint;  /* "" when not said */
    int64_t duration;   /* nanoseconds */
    int64_t changed_at; /* monotonic */
};

struct certs_replicas {
    const struct clock *clock;
    struct replica *list;
    size_t count;
};

struct certs_replicas *certs_replicas_new(const struct clock *clock)
{
    struct certs_replicas *replicas = calloc(1, sizeof(*replicas));
    if (replicas != NULL)
        replicas->clock = clock;
    return replicas;
}

static void free_list(struct replica *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(list[i].name);
        free(list[i].version);
        free(list[i].fingerprint);
    }
    free(list);
}

void certs_replicas_free(struct certs_replicas *replicas)
{
    if (replicas == NULL)
        return;
    free_list(replicas->list, replicas->count);
    free(replicas);
}

/* The copy of a string value; "" for anything else. */
static char *copy_text(const struct json_view *view, const struct json_node *node)
{
    return json_view_is_string(node) ? json_view_copy(view, node) : strdup("");
}

static int64_t read_duration(const struct json_view *view, const struct json_node *lease)
{
    int64_t seconds = 0;
    const struct json_node *node =
        json_view_path(view, lease, "spec", "leaseDurationSeconds", NULL);
    if (!json_view_int64(view, node, &seconds) || seconds <= 0)
        seconds = CERTS_REPLICA_DURATION;
    return (seconds < DURATION_MOST ? seconds : DURATION_MOST) * CLOCK_SECOND;
}

static const struct replica *find(const struct certs_replicas *replicas, const char *name)
{
    for (size_t i = 0; i < replicas->count; i++) {
        if (strcmp(replicas->list[i].name, name) == 0)
            return &replicas->list[i];
    }
    return NULL;
}

/* Fills *replica from a Lease. Its members are good for free_list() also when this fails. */
static bool read_replica(const struct certs_replicas *replicas, const struct json_view *view,
                         const struct json_node *lease, struct replica *replica)
{
    replica->name = copy_text(view, json_view_path(view, lease, "metadata", "name", NULL));
    replica->version =
        copy_text(view, json_view_path(view, lease, "metadata", "resourceVersion", NULL));
    replica->fingerprint = copy_text(view, json_view_path(view, lease, "metadata", "annotations",
                                                          CERTS_REPLICA_ANNOTATION, NULL));
    if (replica->name == NULL || replica->version == NULL || replica->fingerprint == NULL)
        return false;
    replica->duration = read_duration(view, lease);
    replica->changed_at = clock_monotonic(replicas->clock);
    const struct replica *before = find(replicas, replica->name);
    if (before != NULL && strcmp(before->version, replica->version) == 0)
        replica->changed_at = before->changed_at;
    return true;
}

static int read_list(const struct certs_replicas *replicas, const struct json_view *view,
                     struct replica **ret_list, size_t *ret_count, struct error *error)
{
    const struct json_node *items = json_view_member(view, json_view_root(view), "items");
    if (!json_view_is_array(items))
        return error_set(error, -EINVAL, "a list of Leases without items");
    size_t count = 0;
    struct replica *list = calloc(json_view_count(items) + 1, sizeof(*list));
    if (list == NULL)
        return error_no_memory(error);
    for (const struct json_node *item = json_view_first(view, items); item != NULL;
         item = json_view_after(view, items, item)) {
        char name[sizeof(PREFIX)];
        const struct json_node *node = json_view_path(view, item, "metadata", "name", NULL);
        size_t length = 0;
        /* Somebody else's Lease may have our label by chance. */
        const char *plain = json_view_plain(view, node, &length);
        if (plain == NULL || length < sizeof(PREFIX) - 1 ||
            memcmp(plain, PREFIX, sizeof(name) - 1) != 0)
            continue;
        if (!read_replica(replicas, view, item, &list[count++])) {
            free_list(list, count);
            return error_no_memory(error);
        }
    }
    *ret_list = list;
    *ret_count = count;
    return 0;
}

int certs_replicas_observe(struct certs_replicas *replicas, const char *json, size_t length,
                           struct error *error)
{
    struct json_view view;
    struct replica *list = NULL;
    size_t count = 0;
    json_view_init(&view);
    int code = json_view_parse(&view, json, length, LIST_DEPTH, error);
    if (code == 0)
        code = read_list(replicas, &view, &list, &count, error);
    json_view_clear(&view);
    if (code != 0)
        return code;
    free_list(replicas->list, replicas->count);
    replicas->list = list;
    replicas->count = count;
    return 0;
}

/* Nanoseconds since the Lease ran out; negative while it lives. */
static int64_t dead_for(const struct certs_replicas *replicas, const struct replica *replica)
{
    return clock_monotonic(replicas->clock) - replica->changed_at - replica->duration;
}

int certs_replicas_serving(const struct certs_replicas *replicas, char ***ret_fingerprints,
                           size_t *ret_count, struct error *error)
{
    char **list = calloc(replicas->count + 1, sizeof(*list));
    size_t count = 0;
    bool good = list != NULL;
    for (size_t i = 0; good && i < replicas->count; i++) {
        if (dead_for(replicas, &replicas->list[i]) >= 0)
            continue;
        list[count] = strdup(replicas->list[i].fingerprint);
        good = list[count] != NULL;
        count += good ? 1 : 0;
    }
    if (!good) {
        certs_list_free(list, count);
        return error_no_memory(error);
    }
    *ret_fingerprints = list;
    *ret_count = count;
    return 0;
}

const char *certs_replicas_garbage(const struct certs_replicas *replicas, size_t *position,
                                   const char **ret_version)
{
    while (*position < replicas->count) {
        const struct replica *replica = &replicas->list[(*position)++];
        if (dead_for(replicas, replica) >= CERTS_REPLICA_LINGER) {
            *ret_version = replica->version;
            return replica->name;
        }
    }
    return NULL;
}

void certs_replica_name(const char *identity, char ret_name[CERTS_REPLICA_NAME_SIZE])
{
    snprintf(ret_name, CERTS_REPLICA_NAME_SIZE, PREFIX "%s", identity);
    for (char *at = ret_name; *at != '\0'; at++) {
        unsigned char c = (unsigned char)*at;
        if (c >= 'A' && c <= 'Z')
            *at = (char)tolower(c);
        else if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.')
            *at = '-';
    }
    /* A name must end with a letter or a digit. (So must each part between dots, but the end is
     * what identities get wrong.) */
    for (size_t length = strlen(ret_name);
         length > 0 && (ret_name[length - 1] == '-' || ret_name[length - 1] == '.'); length--)
        ret_name[length - 1] = '\0';
}

void certs_replica_append_lease(const char *namespace_name, const char *identity,
                                const char *fingerprint, int64_t wall, struct buffer *buffer)
{
    char name[CERTS_REPLICA_NAME_SIZE];
    char time[CLOCK_RFC3339_SIZE];
    struct json_writer writer;
    certs_replica_name(identity, name);
    clock_format_rfc3339_micro(wall, time);
    json_writer_init(&writer, buffer);
    json_begin_object(&writer);
    json_member_string(&writer, "apiVersion", "coordination.k8s.io/v1");
    json_member_string(&writer, "kind", "Lease");
    json_member_object(&writer, "metadata");
    json_member_string(&writer, "namespace", namespace_name);
    json_member_string(&writer, "name", name);
    json_member_object(&writer, "labels");
    json_member_string(&writer, "app.kubernetes.io/name", "ipwarden");
    json_member_string(&writer, CERTS_REPLICA_LABEL, CERTS_REPLICA_LABEL_VALUE);
    json_end_object(&writer); /* labels */
    json_member_object(&writer, "annotations");
    json_member_string(&writer, CERTS_REPLICA_ANNOTATION, fingerprint);
    json_end_object(&writer); /* annotations */
    json_end_object(&writer); /* metadata */
    json_member_object(&writer, "spec");
    json_member_string(&writer, "holderIdentity", identity);
    json_member_integer(&writer, "leaseDurationSeconds", CERTS_REPLICA_DURATION);
    json_member_string(&writer, "renewTime", time);
    json_end_object(&writer); /* spec */
    json_end_object(&writer);
}
