/* Each kind is read once and turned into facts at once; what the facts point to is kept beside
 * them. */
#include "server/explain_read.h"

#include "server/base/clock.h"
#include "server/explain_pool.h"
#include "server/live_list.h"
#include "server/objects/claim.h"
#include "server/objects/endpoint_slice.h"
#include "server/objects/ip_node.h"
#include "server/objects/node.h"
#include "server/objects/unfit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_MOST 12
#define POOL_TEXT_MOST 65536

struct explain_reading {
    struct k8s_client *client;
    int64_t deadline;
    struct explain_facts facts;
    struct texts kept; /* what the facts point to */
    struct claim *claim;
    struct pool *pool; /* the best so far */
    struct explain_service *services;
    struct explain_node *nodes;
    size_t node_capacity;
    struct explain_condition *conditions;
    struct explain_event events[EVENTS_MOST + 1];
};

/* --- keeping --- */

/* Keeps a copy; NULL when out of memory. */
static const char *keep(struct explain_reading *reading, const char *text)
{
    return texts_add(&reading->kept, text) < 0 ? NULL
                                               : reading->kept.items[reading->kept.count - 1];
}

/* The same for a member; "" when it is absent. */
static const char *keep_member(struct explain_reading *reading, const struct json_view *view,
                               const struct json_node *object, const char *name)
{
    const struct json_node *node = json_view_member(view, object, name);
    if (!json_view_is_string(node))
        return "";
    char *text = json_view_copy(view, node);
    const char *kept = text != NULL ? keep(reading, text) : NULL;
    free(text);
    return kept;
}

static int64_t member_time(const struct json_view *view, const struct json_node *object,
                           const char *name)
{
    char text[64];
    int64_t time;
    if (json_view_text(view, json_view_member(view, object, name), text, sizeof(text)) <= 0 ||
        clock_parse_rfc3339(text, &time) < 0)
        return 0;
    return time;
}

static int compare_texts(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* Adds a kept copy to names that are sorted later, unless they have it. -ENOMEM. */
static int names_add(struct explain_reading *reading, struct explain_names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], name) == 0)
            return 0;
    const char **items = realloc((void *)names->items, (names->count + 1) * sizeof(*names->items));
    if (items == NULL)
        return -ENOMEM;
    names->items = items;
    items[names->count] = keep(reading, name);
    if (items[names->count] == NULL)
        return -ENOMEM;
    names->count++;
    qsort((void *)items, names->count, sizeof(*items), compare_texts);
    return 0;
}

static int names_copy(struct explain_reading *reading, struct explain_names *names,
                      const char *const *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (names_add(reading, names, items[i]) < 0)
            return -ENOMEM;
    return 0;
}

/* --- the claim --- */

static int compare_conditions(const void *left, const void *right)
{
    const struct explain_condition *a = left;
    const struct explain_condition *b = right;
    return strcmp(a->type, b->type);
}

static int take_conditions(struct explain_reading *reading, const struct json_view *view,
                           const struct json_node *list)
{
    struct explain_claim *facts = &reading->facts.claim;
    size_t most = json_view_is_array(list) ? json_view_count(list) : 0;
    reading->conditions = calloc(most + 1, sizeof(*reading->conditions));
    if (reading->conditions == NULL)
        return -ENOMEM;
    facts->conditions = reading->conditions;
    for (const struct json_node *item = json_view_first(view, list); item != NULL && most > 0;
         item = json_view_after(view, list, item)) {
        struct explain_condition *condition = &reading->conditions[facts->condition_count++];
        condition->type = keep_member(reading, view, item, "type");
        condition->status = keep_member(reading, view, item, "status");
        condition->reason = keep_member(reading, view, item, "reason");
        condition->message = keep_member(reading, view, item, "message");
        condition->since = member_time(view, item, "lastTransitionTime");
        if (condition->type == NULL || condition->status == NULL || condition->reason == NULL ||
            condition->message == NULL)
            return -ENOMEM;
    }
    qsort(reading->conditions, facts->condition_count, sizeof(*reading->conditions),
          compare_conditions);
    return 0;
}

/* Takes the claim; its texts stay in it. */
static int take_claim(struct explain_reading *reading, const struct json_view *view,
                      const struct json_node *object, struct claim *claim_take)
{
    const struct json_node *status = json_view_member(view, object, "status");
    const struct claim_placement *placement = &claim_take->placement;
    struct explain_claim *facts = &reading->facts.claim;
    reading->claim = claim_take;
    facts->name = claim_take->meta.name;
    facts->deleting = claim_take->meta.deleting;
    facts->created = claim_take->meta.created;
    facts->pool = claim_take->pool != NULL ? claim_take->pool : "";
    facts->announce = claim_announce_name((enum claim_announce)placement->announce);
    facts->node = placement->node;
    facts->standby = placement->standby;
    facts->link = placement->link;
    facts->bound_node = claim_take->bound_node != NULL ? claim_take->bound_node : "";
    facts->bound_since = member_time(view, status, "boundSince");
    facts->mac = keep_member(reading, view, status, "mac");
    if (facts->mac == NULL ||
        names_copy(reading, &facts->nodes, placement->nodes, placement->node_count) < 0 ||
        names_copy(reading, &facts->bound_nodes, (const char *const *)claim_take->bound_nodes.items,
                   claim_take->bound_nodes.count) < 0)
        return -ENOMEM;
    return take_conditions(reading, view, json_view_member(view, status, "conditions"));
}

/* Of a claim that is listed or was asked for; one that can't be read is none. Returns 1 when it is
 * that of the address. */
static int look_at_claim(void *context, const struct json_view *view,
                         const struct json_node *object, struct error *error)
{
    struct explain_reading *reading = context;
    struct claim *claim;
    int code = claim_decode(view, object, &claim, error);
    if (code < 0)
        return code == -ENOMEM ? code : 0;
    if (!address_equal(&claim->address, &reading->facts.address)) {
        claim_free(claim);
        return 0;
    }
    return take_claim(reading, view, object, claim) < 0 ? error_no_memory(error) : 1;
}

static int get_claim(struct explain_reading *reading, const char *name, struct error *error)
{
    const struct object_path path = object_path(CLAIM_PATH, name, "");
    const struct k8s_request request = {
        .verb = K8S_GET, .path = path.text, .deadline = reading->deadline, .retry = true};
    struct json_view view;
    char *body = NULL;
    int code = k8s_call(reading->client, &request, &body, error);
    json_view_init(&view);
    if (code == 0)
        code = json_view_parse(&view, body, strlen(body), JSON_VIEW_DEPTH, error);
    if (code == 0)
        code = look_at_claim(reading, &view, json_view_root(&view), error);
    json_view_clear(&view);
    free(body);
    return code;
}

static int explain_unreadable(int code, const char *what, struct error *error)
{
    if (code == -EACCES)
        return error_prefix(error,
                            "%s may not be read; this account needs get and list on ipclaims, "
                            "ipclaimpools, ipnodes, services, endpointslices, nodes and events",
                            what);
    if (code == -ENOENT)
        return error_set(error, code,
                         "the API server has no kind %s; install ipwarden's (deploy/crds), or name "
                         "another cluster by --kubeconfig or --context",
                         what);
    return error_prefix(error, "%s can't be read", what);
}

/* By its name, by the name that the older version gave it (its pool's mask behind), and among all
 * claims, since neither is certain. */
static int read_claim(struct explain_reading *reading, struct error *error)
{
    const struct address *address = &reading->facts.address;
    char name[ADDRESS_CLAIM_NAME_SIZE];
    char old_name[ADDRESS_CLAIM_NAME_SIZE + 4];
    address_claim_name(address, name);
    int code = get_claim(reading, name, error);
    struct cidr cidr = reading->pool != NULL ? explain_pool_cidr(reading->pool) : (struct cidr){0};
    if ((code == 0 || code == -ENOENT) && address->family == ADDRESS_IPV4 &&
        cidr.address.family == ADDRESS_IPV4) {
        snprintf(old_name, sizeof(old_name), "%.*s-%u", (int)(strrchr(name, '-') - name), name,
                 cidr.prefix_length);
        code = get_claim(reading, old_name, error);
    }
    if (code == 0 || code == -ENOENT)
        code = live_list(reading->client, CLAIM_PATH, NULL, NULL, reading->deadline, look_at_claim,
                         reading, error);
    return code < 0 ? explain_unreadable(code, "ipclaims", error) : 0;
}

/* --- pools --- */

/* Keeps the pool that gives the address, else one whose network has it; of equal ones the one that
 * is asked first. */
static int look_at_pool(void *context, const struct json_view *view, const struct json_node *object,
                        struct error *error)
{
    struct explain_reading *reading = context;
    _cleanup_pool_ struct pool *pool = NULL;
    enum explain_fit fit;
    const char *detail;
    int code = pool_decode(view, object, NULL, &pool, error);
    if (code < 0)
        return code == -ENOMEM ? code : 0;
    if (explain_pool_fit(pool, &reading->facts.address, &fit, &detail) < 0)
        return error_no_memory(error);
    bool gives = fit == EXPLAIN_FIT_GIVEN;
    bool gave = reading->pool != NULL && reading->facts.pool.fit == EXPLAIN_FIT_GIVEN;
    if (fit == EXPLAIN_FIT_OUTSIDE ||
        (reading->pool != NULL && (gives != gave ? gave : pool_compare(reading->pool, pool) <= 0)))
        return 0;
    pool_free(reading->pool);
    reading->pool = pool;
    reading->facts.pool.fit = fit;
    reading->facts.pool.detail = detail;
    pool = NULL;
    return 0;
}

static int take_pool(struct explain_reading *reading)
{
    static const char *const announces[] = {"Layer2", "AllNodes", "None"};
    struct explain_pool *facts = &reading->facts.pool;
    struct buffer text _cleanup_buffer_;
    char cidr_text[CIDR_TEXT_SIZE];
    struct cidr cidr = explain_pool_cidr(reading->pool);
    buffer_init(&text, POOL_TEXT_MOST);
    explain_pool_selector(&reading->pool->nodes, &text);
    cidr_format(&cidr, cidr_text);
    facts->name = reading->pool->meta.name;
    facts->announce = announces[reading->pool->announce];
    facts->cidr = keep(reading, cidr_text);
    facts->selector = keep(reading, text.length > 0 && !buffer_failed(&text) ? text.data : "");
    return facts->cidr == NULL || facts->selector == NULL ? -ENOMEM : 0;
}

static int read_pools(struct explain_reading *reading, struct error *error)
{
    struct explain_pool *facts = &reading->facts.pool;
    facts->detail = unfit_network_of(&reading->facts.address);
    facts->fit = facts->detail != NULL ? EXPLAIN_FIT_UNFIT : EXPLAIN_FIT_OUTSIDE;
    int code = live_list(reading->client, POOL_PATH, NULL, NULL, reading->deadline, look_at_pool,
                         reading, error);
    if (code < 0)
        return explain_unreadable(code, "ipclaimpools", error);
    return reading->pool != NULL && take_pool(reading) < 0 ? error_no_memory(error) : 0;
}

/* --- nodes --- */

static const char *keep_mac(struct explain_reading *reading, const uint8_t mac[6])
{
    char text[18];
    snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
             mac[4], mac[5]);
    return keep(reading, text);
}

static int take_macs(struct explain_reading *reading, const struct ip_node *ip_node,
                     struct explain_node *node)
{
    static const uint8_t none[6];
    for (size_t i = 0; i < ip_node->link_count; i++) {
        if (memcmp(ip_node->links[i].mac, none, 6) == 0)
            continue;
        const char *text = keep_mac(reading, ip_node->links[i].mac);
        if (text == NULL || names_add(reading, &node->macs, text) < 0)
            return -ENOMEM;
    }
    return 0;
}

static const struct json_node *find_condition(const struct json_view *view,
                                              const struct json_node *list, const char *type)
{
    for (const struct json_node *item = json_view_first(view, list); item != NULL;
         item = json_view_after(view, list, item))
        if (json_view_equals(view, json_view_member(view, item, "type"), type))
            return item;
    return NULL;
}

static int take_ip_node(struct explain_reading *reading, const struct json_view *view,
                        const struct json_node *object, const struct ip_node *ip_node)
{
    struct explain_facts *facts = &reading->facts;
    const struct json_node *status = json_view_member(view, object, "status");
    const struct json_node *conditions = json_view_member(view, status, "conditions");
    const struct json_node *alive = find_condition(view, conditions, IP_NODE_ALIVE);
    const struct json_node *ready = find_condition(view, conditions, IP_NODE_READY);
    if (facts->node_count == reading->node_capacity) {
        size_t capacity = 2 * reading->node_capacity + 16;
        struct explain_node *grown = realloc(reading->nodes, capacity * sizeof(*grown));
        if (grown == NULL)
            return -ENOMEM;
        reading->nodes = grown;
        reading->node_capacity = capacity;
    }
    struct explain_node *node = &reading->nodes[facts->node_count++];
    *node = (struct explain_node){
        .name = keep(reading, ip_node->meta.name),
        .dead = ip_node->alive == IP_NODE_NO,
        .dead_since = member_time(view, alive, "lastTransitionTime"),
        .unready = ip_node->ready != IP_NODE_YES,
        .unready_message = ready != NULL ? keep_member(reading, view, ready, "message")
                                         : "nothing was heard from it yet",
        .heartbeat = member_time(view, status, "heartbeatTime"),
        .interval = ip_node->interval,
        .selected = true,
    };
    facts->nodes = reading->nodes;
    if (node->name == NULL || node->unready_message == NULL)
        return -ENOMEM;
    return take_macs(reading, ip_node, node);
}

static int look_at_ip_node(void *context, const struct json_view *view,
                           const struct json_node *object, struct error *error)
{
    _cleanup_ip_node_ struct ip_node *ip_node = NULL;
    int code = ip_node_decode(view, object, &ip_node, error);
    if (code < 0)
        return code == -ENOMEM ? code : 0;
    return take_ip_node(context, view, object, ip_node) < 0 ? error_no_memory(error) : 0;
}

/* When the condition Ready of a Node changed last. */
static int64_t ready_changed(const struct json_view *view, const struct json_node *object)
{
    const struct json_node *list = json_view_path(view, object, "status", "conditions", NULL);
    return member_time(view, find_condition(view, list, "Ready"), "lastTransitionTime");
}

static int look_at_node(void *context, const struct json_view *view, const struct json_node *object,
                        struct error *error)
{
    struct explain_reading *reading = context;
    _cleanup_node_ struct node *node = NULL;
    int code = node_decode(view, object, &node, error);
    if (code < 0)
        return code == -ENOMEM ? code : 0;
    for (size_t i = 0; i < reading->facts.node_count; i++) {
        struct explain_node *facts = &reading->nodes[i];
        if (strcmp(facts->name, node->meta.name) != 0)
            continue;
        facts->stored = EXPLAIN_YES;
        facts->unready_since = node->not_ready ? ready_changed(view, object) : 0;
        facts->cordoned = node->unschedulable;
        facts->excluded = node_is_excluded(node);
        facts->selected =
            reading->pool == NULL || label_selector_matches(&reading->pool->nodes, &node->labels);
    }
    return 0;
}

static int compare_nodes(const void *left, const void *right)
{
    const struct explain_node *a = left;
    const struct explain_node *b = right;
    return strcmp(a->name, b->name);
}

static int read_nodes(struct explain_reading *reading, struct error *error)
{
    static const struct labels no_labels;
    struct explain_facts *facts = &reading->facts;
    int code = live_list(reading->client, IP_NODE_PATH, NULL, NULL, reading->deadline,
                         look_at_ip_node, reading, error);
    if (code == -EACCES || code == -ENOENT) {
        facts->agents = code == -ENOENT ? EXPLAIN_NO : EXPLAIN_UNKNOWN;
        return 0;
    }
    if (code < 0)
        return explain_unreadable(code, "ipnodes", error);
    facts->agents = facts->node_count > 0 ? EXPLAIN_YES : EXPLAIN_NO;
    if (facts->node_count == 0)
        return 0;
    qsort(reading->nodes, facts->node_count, sizeof(*reading->nodes), compare_nodes);
    code = live_list(reading->client, NODE_PATH, NULL, NULL, reading->deadline, look_at_node,
                     reading, error);
    bool any = false;
    for (size_t i = 0; i < facts->node_count; i++)
        any = any || reading->nodes[i].stored == EXPLAIN_YES;
    for (size_t i = 0; code == 0 && i < facts->node_count; i++) {
        if (reading->nodes[i].stored == EXPLAIN_YES)
            continue;
        reading->nodes[i].gone = any;
        reading->nodes[i].stored = EXPLAIN_NO;
        reading->nodes[i].selected =
            reading->pool == NULL || label_selector_matches(&reading->pool->nodes, &no_labels);
    }
    return code == 0 || code == -EACCES ? 0 : explain_unreadable(code, "nodes", error);
}

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
    const char *space = keep_member(reading, view, involved, "namespace");
    struct explain_event event = {
        .when = member_time(view, series, "lastObservedTime"),
        .count = 1,
        .kind = wanted->kind,
        .reason = keep_member(reading, view, object, "reason"),
        .message = keep_member(reading, view, object, "message"),
    };
    if (space == NULL || event.reason == NULL || event.message == NULL ||
        (event.object = keep(reading, object_key(space, wanted->name).text)) == NULL)
        return error_no_memory(error);
    if (event.when == 0)
        event.when = member_time(view, object, "lastTimestamp");
    if (event.when == 0)
        event.when = member_time(view, object, "eventTime");
    if (!json_view_int64(view, json_view_member(view, series, "count"), &event.count) &&
        !json_view_int64(view, json_view_member(view, object, "count"), &event.count))
        event.count = 1;
    size_t count = reading->facts.event_count;
    reading->events[count++] = event;
    qsort(reading->events, count, sizeof(event), compare_events);
    if (count > EVENTS_MOST)
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
           : code < 0                         ? explain_unreadable(code, "events", error)
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
        code = names_add(service->reading, &service->facts->endpoint_nodes, node);
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
           : code < 0                         ? explain_unreadable(code, "endpointslices", error)
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
        return explain_unreadable(code, "services", error);
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
    facts->ports = buffer_failed(&text) ? NULL : keep(reading, text.length > 0 ? text.data : "");
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

static int read_services(struct explain_reading *reading, struct error *error)
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

/* --- all of it --- */

int explain_read(struct k8s_client *client, const struct address *address, int64_t now,
                 int64_t deadline, struct explain_reading **ret_reading, struct error *error)
{
    struct explain_reading *reading = calloc(1, sizeof(*reading));
    if (reading == NULL)
        return error_no_memory(error);
    reading->client = client;
    reading->deadline = deadline;
    reading->facts.now = now;
    reading->facts.address = *address;
    reading->facts.events = reading->events;
    int code = read_pools(reading, error);
    if (code == 0)
        code = read_claim(reading, error);
    if (code == 0 && reading->claim != NULL)
        code = read_nodes(reading, error);
    if (code == 0 && reading->claim != NULL)
        code = read_services(reading, error);
    if (code != 0) {
        explain_read_free(reading);
        return code;
    }
    *ret_reading = reading;
    return 0;
}

const struct explain_facts *explain_read_facts(const struct explain_reading *reading)
{
    return &reading->facts;
}

void explain_read_free(struct explain_reading *reading)
{
    if (reading == NULL)
        return;
    for (size_t i = 0; i < reading->facts.service_count; i++)
        free((void *)reading->services[i].endpoint_nodes.items);
    for (size_t i = 0; i < reading->facts.node_count; i++)
        free((void *)reading->nodes[i].macs.items);
    free((void *)reading->facts.claim.nodes.items);
    free((void *)reading->facts.claim.bound_nodes.items);
    free(reading->services);
    free(reading->nodes);
    free(reading->conditions);
    claim_free(reading->claim);
    pool_free(reading->pool);
    texts_clear(&reading->kept);
    free(reading);
}
