/* Writing JSON patches. A claim's status is the agents' alone, but for one of a claim that no node
 * has yet; so only its members that change are written, and a status that isn't there at all is made
 * in the version that was looked at. */
#include "server/agent/agent_patch.h"

#include "server/base/json_view.h"
#include "server/base/json_writer.h"

#include <stdio.h>
#include <string.h>

#define SCRATCH_MOST (64U * 1024)

void agent_patch_mac(const uint8_t mac[AGENT_MAC_SIZE], char ret_text[AGENT_PATCH_MAC_SIZE])
{
    snprintf(ret_text, AGENT_PATCH_MAC_SIZE, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
             mac[2], mac[3], mac[4], mac[5]);
}

/* Begins one operation; its value, if it has one, comes next, and then json_end_object(). */
static void begin(struct json_writer *writer, const char *operation, const char *path)
{
    json_begin_object(writer);
    json_member_string(writer, "op", operation);
    json_member_string(writer, "path", path);
}

static void put_text(struct json_writer *writer, const char *operation, const char *path,
                     const char *value)
{
    begin(writer, operation, path);
    json_member_string(writer, "value", value);
    json_end_object(writer);
}

static void put_version_test(struct json_writer *writer, const struct claim *claim)
{
    put_text(writer, "test", "/metadata/resourceVersion", claim->meta.resource_version);
}

/* A parsed status: root is NULL when there is none. To json_view_clear(). */
static const struct json_node *parse(struct json_view *view, const char *text)
{
    json_view_init(view);
    if (*text == '\0' || json_view_parse(view, text, strlen(text), JSON_VIEW_DEPTH, NULL) < 0)
        return NULL;
    return json_view_root(view);
}

static const struct json_node *find_condition(const struct json_view *view,
                                              const struct json_node *root, const char *type)
{
    const struct json_node *list = json_view_member(view, root, "conditions");
    for (const struct json_node *item = json_view_first(view, list); item != NULL;
         item = json_view_after(view, list, item))
        if (json_view_equals(view, json_view_member(view, item, "type"), type))
            return item;
    return NULL;
}

bool agent_patch_has_condition(const char *stored, const char *type)
{
    struct json_view view;
    const struct json_node *root = parse(&view, stored);
    bool found = find_condition(&view, root, type) != NULL;
    json_view_clear(&view);
    return found;
}

/* --- status --- */

static void write_since(struct json_writer *writer, const struct json_view *view,
                        const struct json_node *old, bool had, const struct clock *clock)
{
    char since[CLOCK_RFC3339_SIZE];
    if (!had ||
        json_view_text(view, json_view_member(view, old, "boundSince"), since, sizeof(since)) <= 0)
        clock_format_rfc3339_micro(clock_wall(clock), since);
    json_member_string(writer, "boundSince", since);
}

static void put_raw(struct json_writer *writer, const struct json_view *view,
                    const struct json_node *node)
{
    size_t length = 0;
    const char *raw = json_view_raw(view, node, &length);
    json_put_raw(writer, raw, length);
}

static bool is_agents(const struct json_view *view, const struct json_node *condition)
{
    const struct json_node *type = json_view_member(view, condition, "type");
    return json_view_equals(view, type, AGENT_PATCH_BOUND) ||
           json_view_equals(view, type, AGENT_PATCH_IN_USE);
}

/* Writes the member "conditions": ours as they are now, and those of others as they are stored. */
static void write_conditions(struct json_writer *writer, const struct agent_patch_status *status,
                             const struct json_view *view, const struct json_node *old,
                             int64_t generation, const struct clock *clock)
{
    _cleanup_buffer_ struct buffer text;
    struct json_writer inner;
    struct json_view ours;
    buffer_init(&text, SCRATCH_MOST);
    json_writer_init(&inner, &text);
    json_begin_object(&inner);
    status_write_conditions(&inner, status->stored, status->conditions, status->count, generation,
                            clock);
    json_end_object(&inner);
    const struct json_node *list =
        json_view_member(&ours, parse(&ours, buffer_failed(&text) ? "" : text.data), "conditions");
    json_member_array(writer, "conditions");
    /* Without memory the writer fails, as there is nothing to write. */
    if (list == NULL)
        json_put_raw(writer, NULL, 0);
    for (const struct json_node *item = json_view_first(&ours, list); item != NULL;
         item = json_view_after(&ours, list, item))
        put_raw(writer, &ours, item);
    json_view_clear(&ours);
    list = json_view_member(view, old, "conditions");
    for (const struct json_node *item = json_view_first(view, list); item != NULL;
         item = json_view_after(view, list, item))
        if (!is_agents(view, item))
            put_raw(writer, view, item);
    json_end_array(writer);
}

/* Writes the members that the status should have, as an object. What it shouldn't have is null. */
static void write_wanted(const struct agent_patch_status *status, const struct json_view *view,
                         const struct json_node *old, int64_t generation, const struct clock *clock,
                         struct buffer *text)
{
    struct json_writer writer;
    char mac[AGENT_PATCH_MAC_SIZE];
    const char *bound_node = status->claim->bound_node;
    bool had = bound_node != NULL && strcmp(bound_node, status->self) == 0;
    json_writer_init(&writer, text);
    json_begin_object(&writer);
    if (status->bound) {
        json_member_string(&writer, "boundNode", status->self);
        if (status->mac != NULL)
            agent_patch_mac(status->mac, mac);
        json_member_string(&writer, "mac", status->mac != NULL ? mac : NULL);
        write_since(&writer, view, old, had, clock);
    } else if (had) {
        json_member_string(&writer, "boundNode", "");
        json_member_null(&writer, "mac");
        json_member_null(&writer, "boundSince");
    }
    write_conditions(&writer, status, view, old, generation, clock);
    json_end_object(&writer);
}

static void put_change(struct json_writer *writer, const char *name, const struct json_view *view,
                       const struct json_node *value)
{
    char path[64];
    size_t length = 0;
    snprintf(path, sizeof(path), "/status/%s", name);
    begin(writer, json_view_is_null(value) ? "remove" : "add", path);
    if (!json_view_is_null(value)) {
        const char *raw = json_view_raw(view, value, &length);
        json_member_raw(writer, "value", raw, length);
    }
    json_end_object(writer);
}

static void put_guard(struct json_writer *writer, const struct agent_patch_status *status)
{
    put_text(writer, "test",
             status->guard == AGENT_PATCH_IF_NAMED ? "/spec/nodeName" : "/status/boundNode",
             status->self);
}

/* Writes what differs between old and wanted; without an old status, all of it. Returns whether
 * anything does. */
static bool write_changes(const struct agent_patch_status *status, const struct json_view *view,
                          const struct json_node *old, const char *wanted, struct buffer *body)
{
    static const char *const members[] = {"boundNode", "mac", "boundSince", "conditions"};
    struct json_view now;
    struct json_writer writer;
    const struct json_node *root = parse(&now, wanted);
    bool changes = false;
    json_writer_init(&writer, body);
    json_begin_array(&writer);
    put_guard(&writer, status);
    if (old == NULL) {
        put_version_test(&writer, status->claim);
        begin(&writer, "add", "/status");
        json_member_object(&writer, "value");
        json_end_object(&writer);
        json_end_object(&writer);
    }
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        const struct json_node *value = json_view_member(&now, root, members[i]);
        const struct json_node *before = json_view_member(view, old, members[i]);
        if (value == NULL || json_view_same(view, before, &now, value))
            continue;
        put_change(&writer, members[i], &now, value);
        changes = true;
    }
    json_end_array(&writer);
    json_view_clear(&now);
    return changes;
}

/* The generation that stored conditions are about. */
static int64_t observed_generation(const struct json_view *view, const struct json_node *old,
                                   int64_t fallback)
{
    int64_t generation;
    const struct json_node *bound = find_condition(view, old, AGENT_PATCH_BOUND);
    return json_view_int64(view, json_view_member(view, bound, "observedGeneration"), &generation)
               ? generation
               : fallback;
}

/* Appends the changes towards a status whose conditions are about that generation. */
static bool write_towards(const struct agent_patch_status *status, const struct json_view *view,
                          const struct json_node *old, int64_t generation,
                          const struct clock *clock, struct buffer *body)
{
    _cleanup_buffer_ struct buffer wanted;
    buffer_init(&wanted, SCRATCH_MOST);
    write_wanted(status, view, old, generation, clock, &wanted);
    if (buffer_failed(&wanted)) {
        body->failed = true;
        return true;
    }
    return write_changes(status, view, old, wanted.data, body);
}

bool agent_patch_write_status(const struct agent_patch_status *status, const struct clock *clock,
                              struct buffer *body)
{
    struct json_view view;
    const struct json_node *old = parse(&view, status->stored);
    int64_t generation = status->claim->meta.generation;
    /* That a Service's ports have changed is no reason to write all statuses again. */
    bool changes =
        write_towards(status, &view, old, observed_generation(&view, old, generation), clock, body);
    if (!buffer_failed(body))
        buffer_reset(body);
    if (changes && !buffer_failed(body))
        changes = write_towards(status, &view, old, generation, clock, body);
    json_view_clear(&view);
    return changes;
}

/* --- boundNodes --- */

void agent_patch_join(struct buffer *body, const struct claim *claim, const char *stored,
                      const char *self)
{
    struct json_view view;
    struct json_writer writer;
    const struct json_node *old = parse(&view, stored);
    json_writer_init(&writer, body);
    json_begin_array(&writer);
    if (json_view_is_array(json_view_member(&view, old, "boundNodes"))) {
        put_text(&writer, "add", "/status/boundNodes/-", self);
    } else {
        put_version_test(&writer, claim);
        begin(&writer, "add", old != NULL ? "/status/boundNodes" : "/status");
        json_name(&writer, "value");
        if (old == NULL) {
            json_begin_object(&writer);
            json_name(&writer, "boundNodes");
        }
        json_begin_array(&writer);
        json_put_string(&writer, self);
        json_end_array(&writer);
        if (old == NULL)
            json_end_object(&writer);
        json_end_object(&writer);
    }
    json_end_array(&writer);
    json_view_clear(&view);
}

void agent_patch_leave(struct buffer *body, const char *stored, const char *self)
{
    struct json_view view;
    struct json_writer writer;
    char path[64];
    unsigned int index = 0;
    const struct json_node *list = json_view_member(&view, parse(&view, stored), "boundNodes");
    for (const struct json_node *item = json_view_first(&view, list);
         item != NULL && !json_view_equals(&view, item, self);
         item = json_view_after(&view, list, item))
        index++;
    snprintf(path, sizeof(path), "/status/boundNodes/%u", index);
    json_writer_init(&writer, body);
    json_begin_array(&writer);
    put_text(&writer, "test", path, self);
    begin(&writer, "remove", path);
    json_end_object(&writer);
    json_end_array(&writer);
    json_view_clear(&view);
}

/* --- spec --- */

void agent_patch_take_over(struct buffer *body, const char *from, const char *self)
{
    struct json_writer writer;
    json_writer_init(&writer, body);
    json_begin_array(&writer);
    put_text(&writer, "test", "/spec/nodeName", from);
    put_text(&writer, "test", "/spec/standbyNode", self);
    put_text(&writer, "replace", "/spec/nodeName", self);
    begin(&writer, "remove", "/spec/standbyNode");
    json_end_object(&writer);
    json_end_array(&writer);
}
