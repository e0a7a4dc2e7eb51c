/* What is known of an address, for programs. */
#include "server/base/clock.h"
#include "server/base/json_writer.h"
#include "server/explain.h"

#include <stdio.h>
#include <string.h>

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
        json_text(writer, "addresses", pool->addresses);
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
