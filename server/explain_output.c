/* The two outputs of `ipwarden explain`. Whatever users wrote goes to a terminal without anything
 * that a terminal would obey. */
#include "server/base/clock.h"
#include "server/base/json_writer.h"
#include "server/explain.h"

#include <stdio.h>
#include <string.h>

#define LABEL_WIDTH 12

/* ---- for people ---- */

static void put_clean(struct buffer *out, const char *text)
{
    for (const char *at = text; *at != '\0'; at++)
        buffer_append_char(out, (unsigned char)*at < ' ' || *at == 0x7f ? ' ' : *at);
}

static void begin_line(struct buffer *out, const char *label)
{
    buffer_printf(out, "%-*s", LABEL_WIDTH, label);
}

/* "12s", "5m", "3h", "2d": as kubectl has ages. */
static void put_age(struct buffer *out, int64_t now, int64_t then)
{
    static const struct {
        int64_t most;
        int64_t seconds;
        char unit;
    } units[] = {{120, 1, 's'}, {7200, 60, 'm'}, {172800, 3600, 'h'}, {INT64_MAX, 86400, 'd'}};
    int64_t age = now > then ? (now - then) / CLOCK_SECOND : 0;
    size_t unit = 0;
    while (age >= units[unit].most)
        unit++;
    buffer_printf(out, "%lld%c", (long long)(age / units[unit].seconds), units[unit].unit);
}

/* "2026-11-21T12:00:00Z (5m ago)". */
static void put_time(struct buffer *out, int64_t now, int64_t then)
{
    char text[CLOCK_RFC3339_SIZE];
    if (then <= 0) {
        buffer_append_string(out, "unknown time");
        return;
    }
    clock_format_rfc3339(then, text);
    buffer_printf(out, "%s (", text);
    put_age(out, now, then);
    buffer_append_string(out, " ago)");
}

static void put_names(struct buffer *out, const struct explain_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        buffer_append_string(out, i > 0 ? ", " : "");
        put_clean(out, names->items[i]);
    }
}

static void text_pool(const struct explain_facts *facts, struct buffer *out)
{
    const struct explain_pool *pool = &facts->pool;
    begin_line(out, "Pool:");
    if (pool->fit != EXPLAIN_FIT_GIVEN)
        buffer_printf(out, "none gives it: %s", explain_fit_text(pool->fit));
    if (pool->fit != EXPLAIN_FIT_GIVEN && pool->detail != NULL) {
        buffer_append_string(out, ": ");
        put_clean(out, pool->detail);
    }
    if (pool->name != NULL) {
        buffer_append_string(out, pool->fit != EXPLAIN_FIT_GIVEN ? ", pool " : "");
        put_clean(out, pool->name);
        buffer_printf(out, " (%s%s%s", pool->cidr, *pool->cidr != '\0' ? ", " : "", pool->announce);
        if (*pool->selector != '\0') {
            buffer_append_string(out, " on nodes with ");
            put_clean(out, pool->selector);
        }
        buffer_append_char(out, ')');
    }
    buffer_append_char(out, '\n');
}

static void text_services(const struct explain_facts *facts, struct buffer *out)
{
    for (size_t i = 0; i < facts->service_count; i++) {
        const struct explain_service *service = &facts->services[i];
        begin_line(out, i == 0 ? "Services:" : "");
        put_clean(out, service->key);
        buffer_printf(out, "  %s  %s%s%s%s\n", *service->ports != '\0' ? service->ports : "-",
                      service->given ? "given" : "listed", service->local ? ", Local" : "",
                      service->stored == EXPLAIN_NO ? ", gone" : "",
                      service->deleting ? ", under deletion" : "");
    }
    if (facts->service_count == 0)
        buffer_printf(out, "%-*snone\n", LABEL_WIDTH, "Services:");
}

static void text_bound(const struct explain_facts *facts, struct buffer *out)
{
    const struct explain_claim *claim = &facts->claim;
    begin_line(out, "Bound:");
    if (*claim->bound_node == '\0' && claim->bound_nodes.count == 0) {
        buffer_append_string(out, "no\n");
        return;
    }
    put_clean(out, claim->bound_node);
    put_names(out, &claim->bound_nodes);
    if (claim->bound_since > 0) {
        buffer_append_string(out, ", since ");
        put_time(out, facts->now, claim->bound_since);
    }
    buffer_append_char(out, '\n');
}

static void text_member(struct buffer *out, const char *label, const char *value)
{
    begin_line(out, label);
    put_clean(out, *value != '\0' ? value : "none");
    buffer_append_char(out, '\n');
}

static void text_placement(const struct explain_facts *facts, struct buffer *out)
{
    const struct explain_claim *claim = &facts->claim;
    if (strcmp(claim->announce, "AllNodes") == 0) {
        begin_line(out, "Nodes:");
        buffer_append_string(out, claim->nodes.count == 0 ? "none" : "");
        put_names(out, &claim->nodes);
        buffer_append_char(out, '\n');
    } else {
        text_member(out, "Node:", claim->node);
        text_member(out, "Standby:", claim->standby);
    }
    if (*claim->link != '\0')
        text_member(out, "Link:", claim->link);
    text_bound(facts, out);
    if (*claim->mac != '\0')
        text_member(out, "MAC:", claim->mac);
}

static void text_conditions(const struct explain_facts *facts, struct buffer *out)
{
    for (size_t i = 0; i < facts->claim.condition_count; i++) {
        const struct explain_condition *condition = &facts->claim.conditions[i];
        begin_line(out, i == 0 ? "Conditions:" : "");
        put_clean(out, condition->type);
        buffer_append_char(out, ' ');
        put_clean(out, condition->status);
        buffer_append_string(out, ", ");
        put_clean(out, *condition->reason != '\0' ? condition->reason : "no reason");
        buffer_append_string(out, ", since ");
        put_time(out, facts->now, condition->since);
        buffer_append_string(out, *condition->message != '\0' ? ": " : "");
        put_clean(out, condition->message);
        buffer_append_char(out, '\n');
    }
}

static void text_events(const struct explain_facts *facts, struct buffer *out)
{
    for (size_t i = 0; i < facts->event_count; i++) {
        const struct explain_event *event = &facts->events[i];
        begin_line(out, i == 0 ? "Events:" : "");
        put_time(out, facts->now, event->when);
        buffer_append_string(out, "  ");
        put_clean(out, event->kind);
        buffer_append_char(out, ' ');
        put_clean(out, event->object);
        buffer_append_string(out, "  ");
        put_clean(out, event->reason);
        buffer_append_string(out, ": ");
        put_clean(out, event->message);
        if (event->count > 1)
            buffer_printf(out, " (%lld times)", (long long)event->count);
        buffer_append_char(out, '\n');
    }
}

static void text_nodes(const struct explain_facts *facts, struct buffer *out)
{
    char reasons[EXPLAIN_NODE_REASONS][EXPLAIN_NODE_REASON_SIZE];
    for (size_t i = 0; i < facts->node_count; i++) {
        size_t count = explain_node_reasons(facts, &facts->nodes[i], reasons);
        buffer_append_string(out, "      ");
        put_clean(out, facts->nodes[i].name);
        buffer_append_string(out, ": ");
        for (size_t j = 0; j < count; j++) {
            buffer_append_string(out, j > 0 ? "; " : "");
            put_clean(out, reasons[j]);
        }
        buffer_append_char(out, '\n');
    }
}

static void text_findings(const struct explain_facts *facts, const struct explain_report *report,
                          struct buffer *out)
{
    begin_line(out, "Reachable:");
    buffer_printf(out, "%s\n", explain_answer_name(report->reachable));
    for (size_t i = 0; i < report->count; i++) {
        const struct explain_finding *finding = &report->findings[i];
        buffer_printf(out, "  - %s: ", finding->reason);
        put_clean(out, finding->message);
        buffer_append_char(out, '\n');
        if (finding->about_nodes)
            text_nodes(facts, out);
        buffer_append_string(out, "    -> ");
        put_clean(out, finding->remedy);
        buffer_append_char(out, '\n');
    }
}

int explain_text(const struct explain_facts *facts, const struct explain_report *report,
                 struct buffer *buffer, struct error *error)
{
    const struct explain_claim *claim = &facts->claim;
    char address[ADDRESS_TEXT_SIZE];
    address_format(&facts->address, address);
    text_member(buffer, "Address:", address);
    text_pool(facts, buffer);
    begin_line(buffer, "Claim:");
    put_clean(buffer, claim->name != NULL ? claim->name : "none");
    if (claim->name != NULL) {
        buffer_append_string(buffer, ", since ");
        put_time(buffer, facts->now, claim->created);
        buffer_append_string(buffer, claim->deleting ? ", under deletion" : "");
    }
    buffer_append_char(buffer, '\n');
    if (claim->name != NULL) {
        text_services(facts, buffer);
        text_placement(facts, buffer);
        text_conditions(facts, buffer);
    }
    text_events(facts, buffer);
    text_findings(facts, report, buffer);
    return buffer_failed(buffer) ? error_no_memory(error) : 0;
}

/* ---- for programs ---- */

static void json_time(struct json_writer *writer, const char *name, int64_t time)
{
    char text[CLOCK_RFC3339_SIZE];
    if (time > 0)
        clock_format_rfc3339(time, text);
    json_member_string(writer, name, time > 0 ? text : NULL);
}

static void json_text(struct json_writer *writer, const char *name, const char *text)
{
    json_member_string(writer, name, text == NULL || *text == '\0' ? NULL : text);
}

static void json_answer(struct json_writer *writer, const char *name, enum explain_answer answer)
{
    if (answer == EXPLAIN_UNKNOWN)
        json_member_null(writer, name);
    else
        json_member_bool(writer, name, answer == EXPLAIN_YES);
}

static void json_names(struct json_writer *writer, const char *name,
                       const struct explain_names *names)
{
    json_member_array(writer, name);
    for (size_t i = 0; i < names->count; i++)
        json_put_string(writer, names->items[i]);
    json_end_array(writer);
}

static void json_pool(struct json_writer *writer, const struct explain_pool *pool)
{
    if (pool->name == NULL) {
        json_member_null(writer, "pool");
    } else {
        json_member_object(writer, "pool");
        json_member_string(writer, "name", pool->name);
        json_text(writer, "cidr", pool->cidr);
        json_text(writer, "announce", pool->announce);
        json_text(writer, "nodeSelector", pool->selector);
        json_end_object(writer);
    }
    if (pool->fit == EXPLAIN_FIT_GIVEN)
        json_member_null(writer, "poolReason");
    else
        json_member_format(writer, "poolReason", "%s%s%s", explain_fit_text(pool->fit),
                           pool->detail != NULL ? ": " : "",
                           pool->detail != NULL ? pool->detail : "");
}

static void json_claim(struct json_writer *writer, const struct explain_claim *claim)
{
    if (claim->name == NULL) {
        json_member_null(writer, "claim");
        return;
    }
    json_member_object(writer, "claim");
    json_member_string(writer, "name", claim->name);
    json_text(writer, "pool", claim->pool);
    json_member_bool(writer, "deleting", claim->deleting);
    json_time(writer, "created", claim->created);
    json_end_object(writer);
}

static void json_ports(struct json_writer *writer, const char *ports)
{
    json_member_array(writer, "ports");
    for (const char *at = ports; *at != '\0'; at += *at == ',') {
        size_t length = strcspn(at, ",");
        json_put_bytes(writer, at, length);
        at += length;
    }
    json_end_array(writer);
}

static void json_services(struct json_writer *writer, const struct explain_facts *facts)
{
    json_member_array(writer, "services");
    for (size_t i = 0; i < facts->service_count; i++) {
        const struct explain_service *service = &facts->services[i];
        const char *slash = strchr(service->key, '/');
        json_begin_object(writer);
        json_member_format(writer, "namespace", "%.*s",
                           slash != NULL ? (int)(slash - service->key) : 0, service->key);
        json_member_string(writer, "name", slash != NULL ? slash + 1 : service->key);
        json_ports(writer, service->ports);
        json_member_bool(writer, "given", service->given);
        json_answer(writer, "stored", service->stored);
        json_member_bool(writer, "deleting", service->deleting);
        json_member_bool(writer, "shown", service->shows);
        json_member_string(writer, "externalTrafficPolicy", service->local ? "Local" : "Cluster");
        json_answer(writer, "ready", service->endpoints);
        json_names(writer, "endpointNodes", &service->endpoint_nodes);
        json_end_object(writer);
    }
    json_end_array(writer);
}

static void json_placement(struct json_writer *writer, const struct explain_claim *claim)
{
    json_text(writer, "announce", claim->announce);
    json_text(writer, "node", claim->node);
    json_text(writer, "standby", claim->standby);
    json_text(writer, "link", claim->link);
    json_text(writer, "boundNode", claim->bound_node);
    json_text(writer, "mac", claim->mac);
    json_time(writer, "boundSince", claim->bound_since);
    json_names(writer, "nodeNames", &claim->nodes);
    json_names(writer, "boundNodes", &claim->bound_nodes);
    json_member_array(writer, "conditions");
    for (size_t i = 0; i < claim->condition_count; i++) {
        const struct explain_condition *condition = &claim->conditions[i];
        json_begin_object(writer);
        json_member_string(writer, "type", condition->type);
        json_member_string(writer, "status", condition->status);
        json_member_string(writer, "reason", condition->reason);
        json_member_string(writer, "message", condition->message);
        json_time(writer, "since", condition->since);
        json_end_object(writer);
    }
    json_end_array(writer);
}

static void json_nodes(struct json_writer *writer, const struct explain_facts *facts)
{
    char reasons[EXPLAIN_NODE_REASONS][EXPLAIN_NODE_REASON_SIZE];
    json_member_array(writer, "nodes");
    for (size_t i = 0; i < facts->node_count; i++) {
        size_t count = explain_node_reasons(facts, &facts->nodes[i], reasons);
        json_begin_object(writer);
        json_member_string(writer, "name", facts->nodes[i].name);
        json_member_bool(writer, "qualifies", count == 0);
        json_member_array(writer, "reasons");
        for (size_t j = 0; j < count; j++)
            json_put_string(writer, reasons[j]);
        json_end_array(writer);
        json_time(writer, "heartbeat", facts->nodes[i].heartbeat);
        json_end_object(writer);
    }
    json_end_array(writer);
}

static void json_events(struct json_writer *writer, const struct explain_facts *facts)
{
    json_member_array(writer, "events");
    for (size_t i = 0; i < facts->event_count; i++) {
        const struct explain_event *event = &facts->events[i];
        json_begin_object(writer);
        json_time(writer, "time", event->when);
        json_member_integer(writer, "count", event->count);
        json_member_string(writer, "kind", event->kind);
        json_member_string(writer, "object", event->object);
        json_member_string(writer, "reason", event->reason);
        json_member_string(writer, "message", event->message);
        json_end_object(writer);
    }
    json_end_array(writer);
}

static void json_findings(struct json_writer *writer, const struct explain_report *report)
{
    static const char *const weights[] = {"note", "doubt", "blocks"};
    json_member_string(writer, "reachable", explain_answer_name(report->reachable));
    json_member_array(writer, "findings");
    for (size_t i = 0; i < report->count; i++) {
        const struct explain_finding *finding = &report->findings[i];
        json_begin_object(writer);
        json_member_string(writer, "reason", finding->reason);
        json_member_string(writer, "weight", weights[finding->weight]);
        json_member_string(writer, "message", finding->message);
        json_member_string(writer, "remedy", finding->remedy);
        json_end_object(writer);
    }
    json_end_array(writer);
}

int explain_json(const struct explain_facts *facts, const struct explain_report *report,
                 struct buffer *buffer, struct error *error)
{
    struct json_writer writer;
    char address[ADDRESS_TEXT_SIZE];
    address_format(&facts->address, address);
    json_writer_init(&writer, buffer);
    json_begin_object(&writer);
    json_member_string(&writer, "address", address);
    json_pool(&writer, &facts->pool);
    json_claim(&writer, &facts->claim);
    json_services(&writer, facts);
    json_placement(&writer, &facts->claim);
    json_nodes(&writer, facts);
    json_events(&writer, facts);
    json_findings(&writer, report);
    json_end_object(&writer);
    bool done = json_writer_done(&writer);
    buffer_append_char(buffer, '\n');
    return !done || buffer_failed(buffer) ? error_no_memory(error) : 0;
}
