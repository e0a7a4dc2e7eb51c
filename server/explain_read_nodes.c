/* IpNodes, and of the Nodes what decides whether they may have addresses. */
#include "k8s/live_list.h"
#include "server/explain_read_private.h"
#include "server/objects/ip_node.h"
#include "server/objects/node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *keep_mac(struct explain_reading *reading, const uint8_t mac[6])
{
    char text[18];
    snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
             mac[4], mac[5]);
    return explain_keep(reading, text);
}

static int take_macs(struct explain_reading *reading, const struct ip_node *ip_node,
                     struct explain_node *node)
{
    static const uint8_t none[6];
    for (size_t i = 0; i < ip_node->link_count; i++) {
        if (memcmp(ip_node->links[i].mac, none, 6) == 0)
            continue;
        const char *text = keep_mac(reading, ip_node->links[i].mac);
        if (text == NULL || explain_keep_name(reading, &node->macs, text) < 0)
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

/* Why an agent isn't ready: its message, or at least the word. */
static const char *keep_unready(struct explain_reading *reading, const struct json_view *view,
                                const struct json_node *ready)
{
    const char *message = explain_keep_member(reading, view, ready, "message");
    if (message != NULL && *message == '\0')
        message = explain_keep_member(reading, view, ready, "reason");
    return message != NULL && *message == '\0' ? "nothing was heard from it yet" : message;
}

static int take_ip_node(struct explain_reading *reading, const struct json_view *view,
                        const struct json_node *object, const struct ip_node *ip_node)
{
    struct explain_facts *facts = &reading->facts;
    const struct json_node *status = json_view_member(view, object, "status");
    const struct json_node *conditions = json_view_member(view, status, "conditions");
    const struct json_node *alive = find_condition(view, conditions, IP_NODE_ALIVE);
    const struct json_node *ready = find_condition(view, conditions, IP_NODE_READY);
    const struct json_node *probe = find_condition(view, conditions, IP_NODE_NEIGHBOUR_PROBE);
    bool unanswered = json_view_equals(view, json_view_member(view, probe, "status"), "False");
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
        .name = explain_keep(reading, ip_node->meta.name),
        .dead = ip_node->alive == IP_NODE_NO,
        .dead_since = explain_keep_time(view, alive, "lastTransitionTime"),
        .unready = ip_node->ready != IP_NODE_YES,
        .unready_message = keep_unready(reading, view, ready),
        .unanswered = unanswered ? explain_keep_member(reading, view, probe, "message") : "",
        .heartbeat = explain_keep_time(view, status, "heartbeatTime"),
        .interval = ip_node->interval,
        .selected = true,
    };
    facts->nodes = reading->nodes;
    if (node->name == NULL || node->unready_message == NULL || node->unanswered == NULL)
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
    return explain_keep_time(view, find_condition(view, list, "Ready"), "lastTransitionTime");
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

int explain_read_nodes(struct explain_reading *reading, struct error *error)
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
        return explain_read_unreadable(code, "ipnodes", error);
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
    return code == 0 || code == -EACCES ? 0 : explain_read_unreadable(code, "nodes", error);
}
