/* The Services that a claim names, where their endpoints are, and what was told of them. */
#include "k8s/live_list.h"
#include "server/explain_read_private.h"
#include "server/objects/endpoint_slice.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- events --- */

static int compare_events(const void *left, const void *right)
{
    const struct explain_event *a = left;
    const struct explain_event *b = right;
    if (a->when != b->when)
        return a->when < b->when ? -1 : 1;
    int order = strcmp(a->kind, b->kind);
    order = order == 0 ? strcmp(a->object, b->object) : order;
    order = order == 0 ? strcmp(a->reason, b->reason) : order;
    return order == 0 ? strcmp(a->message, b->message) : order;
}

struct event_reading {
    struct explain_reading *reading;
    const char *kind; /* of the object that the events are about */
    const char *name;
};

/* Keeps the last ones. */
static int look_at_event(void *context, const struct json_view *view,
                         const struct json_node *object, struct error *error)
{
    const struct event_reading *wanted = context;
    struct explain_reading *reading = wanted->reading;
    const struct json_node *involved = json_view_member(view, object, "involvedObject");
    const struct json_node *series = json_view_member(view, object, "series");
    if (!json_view_equals(view, json_view_member(view, involved, "kind"), wanted->kind) ||
        !json_view_equals(view, json_view_member(view, involved, "name"), wanted->name))
        return 0;
    const char *space = explain_keep_member(reading, view, involved, "namespace");
    struct explain_event event = {
        .when = explain_keep_time(view, series, "lastObservedTime"),
        .count = 1,
        .kind = wanted->kind,
        .reason = explain_keep_member(reading, view, object, "reason"),
        .message = explain_keep_member(reading, view, object, "message"),
    };
    if (space == NULL || event.reason == NULL || event.message == NULL ||
        (event.object = explain_keep(reading, object_key(space, wanted->name).text)) == NULL)
        return error_no_memory(error);
    if (event.when == 0)
        event.when = explain_keep_time(view, object, "lastTimestamp");
    if (event.when == 0)
        event.when = explain_keep_time(view, object, "eventTime");
    if (!json_view_int64(view, json_view_member(view, series, "count"), &event.count) &&
        !json_view_int64(view, json_view_member(view, object, "count"), &event.count))
        event.count = 1;
    size_t count = reading->facts.event_count;
    reading->events[count++] = event;
    qsort(reading->events, count, sizeof(event), compare_events);
    if (count > EXPLAIN_EVENTS_MOST)
        memmove(reading->events, reading->events + 1, --count * sizeof(event));
    reading->facts.event_count = count;
    return 0;
}

/* Of one object; kind is a literal. Who may not read events does without. */
static int read_events(struct explain_reading *reading, const char *namespace_name,
                       const char *kind, const char *name, struct error *error)
{
    struct event_reading wanted = {reading, kind, name};
    char path[OBJECT_PATH_SIZE];
    char selector[OBJECT_PATH_SIZE];
    snprintf(path, sizeof(path), "/api/v1/namespaces/%s/events", namespace_name);
    snprintf(selector, sizeof(selector), "involvedObject.kind=%s,involvedObject.name=%s", kind,
             name);
    int code = live_list(reading->client, path, "fieldSelector", selector, reading->deadline,
                         look_at_event, &wanted, error);
    return code == -EACCES || code == -ENOENT ? 0
           : code < 0                         ? explain_read_unreadable(code, "events", error)
                                              : 0;
}

/* --- Services --- */

struct service_reading {
    struct explain_reading *reading;
    struct explain_service *facts;
};

static bool has_ready_endpoint(const struct json_view *view, const struct json_node *list)
{
    for (const struct json_node *item = json_view_first(view, list); item != NULL;
         item = json_view_after(view, list, item)) {
        const struct json_node *ready = json_view_path(view, item, "conditions", "ready", NULL);
        if (json_view_is_null(ready) || json_view_bool(ready))
            return true;
    }
    return false;
}

/* kube-proxy forwards an address to endpoints of its family only. */
static int look_at_slice(void *context, const struct json_view *view,
                         const struct json_node *object, struct error *error)
{
    const struct service_reading *service = context;
    struct endpoint_slice *slice = NULL;
    int code = endpoint_slice_decode(view, object, &slice, error);
    if (code < 0)
        return code == -ENOMEM ? code : 0;
    bool wanted = strcmp(slice->service, service->facts->key) == 0 &&
                  slice->family == service->reading->facts.address.family;
    if (wanted && has_ready_endpoint(view, json_view_member(view, object, "endpoints")))
        service->facts->endpoints = EXPLAIN_YES;
    code = 0;
    for (const char *node = NULL;
         wanted && code == 0 && (node = endpoint_slice_node(slice, node)) != NULL;)
        code = explain_keep_name(service->reading, &service->facts->endpoint_nodes, node);
    endpoint_slice_free(slice);
    return code < 0 ? error_no_memory(error) : 0;
}

static int read_endpoints(struct explain_reading *reading, const struct claim_service *entry,
                          struct explain_service *facts, struct error *error)
{
    struct service_reading service = {reading, facts};
    char path[OBJECT_PATH_SIZE];
    char selector[OBJECT_PATH_SIZE];
    snprintf(path, sizeof(path), "/apis/discovery.k8s.io/v1/namespaces/%s/endpointslices",
             entry->namespace_name);
    snprintf(selector, sizeof(selector), "kubernetes.io/service-name=%s", entry->name);
    facts->endpoints = EXPLAIN_NO;
    int code = live_list(reading->client, path, "labelSelector", selector, reading->deadline,
                         look_at_slice, &service, error);
    if (code == -EACCES || code == -ENOENT)
        facts->endpoints = EXPLAIN_UNKNOWN;
    return code == -EACCES || code == -ENOENT ? 0
           : code < 0 ? explain_read_unreadable(code, "endpointslices", error)
                      : 0;
}

static int read_stored(struct explain_reading *reading, const struct claim_service *entry,
                       struct explain_service *facts, struct error *error)
{
    const struct object_path path = object_path(SERVICE_PATH, entry->key, "");
    const struct k8s_request request = {
        .verb = K8S_GET, .path = path.text, .deadline = reading->deadline, .retry = true};
    _cleanup_service_ struct service *service = NULL;
    char *body = NULL;
    int code = k8s_call(reading->client, &request, &body, error);
    if (code == 0)
        code = service_decode_text(body, strlen(body), &service, error);
    free(body);
    if (code == -ENOENT)
        facts->stored = EXPLAIN_NO;
    if (code == -ENOENT || code == -EACCES)
        return 0;
    if (code != 0)
        return explain_read_unreadable(code, "services", error);
    facts->replaced = !claim_service_matches(entry, service);
    facts->stored = facts->replaced ? EXPLAIN_NO : EXPLAIN_YES;
    facts->deleting = service->meta.deleting;
    facts->shows = service_lists(service, &reading->facts.address);
    facts->local = service->local;
    return 0;
}

static int take_ports(struct explain_reading *reading, const struct claim_service *entry,
                      struct explain_service *facts)
{
    struct buffer text _cleanup_buffer_;
    buffer_init(&text, SERVICE_PORTS_MOST * SERVICE_PORT_TEXT_SIZE);
    for (size_t i = 0; i < entry->port_count; i++) {
        char port[SERVICE_PORT_TEXT_SIZE];
        service_port_format(&entry->ports[i], port);
        buffer_printf(&text, "%s%s", i > 0 ? "," : "", port);
    }
    facts->ports =
        buffer_failed(&text) ? NULL : explain_keep(reading, text.length > 0 ? text.data : "");
    return facts->ports == NULL ? -ENOMEM : 0;
}

static int read_service(struct explain_reading *reading, const struct claim_service *entry,
                        struct explain_service *facts, struct error *error)
{
    facts->key = entry->key;
    facts->given = entry->given;
    if (take_ports(reading, entry, facts) < 0)
        return error_no_memory(error);
    int code = read_stored(reading, entry, facts, error);
    if (code == 0)
        code = read_endpoints(reading, entry, facts, error);
    return code == 0 ? read_events(reading, entry->namespace_name, "Service", entry->name, error)
                     : code;
}

static int compare_services(const void *left, const void *right)
{
    const struct explain_service *a = left;
    const struct explain_service *b = right;
    return strcmp(a->key, b->key);
}

int explain_read_services(struct explain_reading *reading, struct error *error)
{
    const struct claim *claim = reading->claim;
    int code = read_events(reading, "default", "IpClaim", claim->meta.name, error);
    reading->services = calloc(claim->service_count + 1, sizeof(*reading->services));
    if (reading->services == NULL)
        return error_no_memory(error);
    reading->facts.services = reading->services;
    for (size_t i = 0; code == 0 && i < claim->service_count; i++)
        code = read_service(reading, &claim->services[i],
                            &reading->services[reading->facts.service_count++], error);
    qsort(reading->services, reading->facts.service_count, sizeof(*reading->services),
          compare_services);
    return code;
}
