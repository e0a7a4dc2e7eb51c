/* What is known of an address, for people. Whatever users wrote goes to a terminal without anything
 * that a terminal would obey. */
#include "server/base/clock.h"
#include "server/explain.h"

#include <stdio.h>
#include <string.h>

#define LABEL_WIDTH 12

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
        buffer_printf(out, " (%s%s%s", pool->addresses, *pool->addresses != '\0' ? ", " : "",
                      pool->announce);
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
