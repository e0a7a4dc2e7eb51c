/* States to conditions and back. */
#include "server/conversion/ipam_state.h"

#include <string.h>

/* What v1alpha1 says of conditions. */
struct told {
    const char *state;               /* a literal; NULL: none */
    const struct json_node *message; /* NULL: none */
};

static bool member_is(const struct conversion_value *list, const struct json_node *item,
                      const char *name, const char *text)
{
    return json_view_equals(list->view, json_view_member(list->view, item, name), text);
}

static const struct json_node *find_ready(const struct conversion_value *list)
{
    const struct json_node *found = NULL;
    for (const struct json_node *item =
             json_view_is_array(list->node) ? json_view_first(list->view, list->node) : NULL;
         item != NULL && found == NULL; item = json_view_after(list->view, list->node, item))
        if (member_is(list, item, "type", "Ready"))
            found = item;
    return found;
}

static const char *state_of(const struct ipam_state *table, const struct conversion_value *list,
                            const struct json_node *ready)
{
    for (const struct ipam_state *line = table; line->state != NULL; line++)
        if (member_is(list, ready, "status", line->status) &&
            member_is(list, ready, "reason", line->reason))
            return line->state;
    return member_is(list, ready, "status", "True")    ? "Ready"
           : member_is(list, ready, "status", "False") ? "Error"
                                                       : NULL;
}

static struct told tell(const struct ipam_state *table, const struct conversion_value *list)
{
    const struct json_node *ready = find_ready(list);
    const struct json_node *message = json_view_member(list->view, ready, "message");
    struct told told = {NULL, NULL};
    if (ready == NULL)
        return told;
    told.state = state_of(table, list, ready);
    if (json_view_is_string(message) && !json_view_equals(list->view, message, ""))
        told.message = message;
    return told;
}

/* The line by which a state is written as a condition; NULL when it can't be. */
static const struct ipam_state *find_line(const struct ipam_state *table,
                                          const struct conversion_value *state)
{
    for (const struct ipam_state *line = table; line->state != NULL; line++)
        if (json_view_equals(state->view, state->node, line->state))
            return line;
    return NULL;
}

/* Whether the list is just what ipam_state_current() would write. */
static bool says_no_more(const struct ipam_state *table, const struct conversion_value *list,
                         const struct told *told)
{
    const struct json_node *ready = find_ready(list);
    const struct ipam_state *line = table;
    while (told->state != NULL && line->state != NULL && strcmp(line->state, told->state) != 0)
        line++;
    return told->state != NULL && line->state != NULL && json_view_count(list->node) == 1 &&
           json_view_count(ready) == (told->message != NULL ? 4 : 3) &&
           member_is(list, ready, "status", line->status) &&
           member_is(list, ready, "reason", line->reason);
}

void ipam_state_older(const struct ipam_state *table, const struct conversion_value *from,
                      struct conversion_output *output)
{
    const struct conversion_value *list = &from[0];
    struct told told = tell(table, list);
    const struct conversion_value message = {list->view, told.message};
    if (told.state != NULL)
        json_member_string(conversion_writer(output), "state", told.state);
    conversion_take(output, "message", &message);
    if (list->node != NULL && !says_no_more(table, list, &told))
        conversion_take(output, "conditions", list);
}

/* Whether word and message are still what the conditions say; empty ones are as good as none. */
static bool is_told(const struct conversion_value *from, const struct told *told)
{
    bool same_state = told->state != NULL
                          ? json_view_equals(from[0].view, from[0].node, told->state)
                          : !conversion_is_text(&from[0]);
    return same_state && (told->message != NULL ? json_view_same(from[2].view, told->message,
                                                                 from[1].view, from[1].node)
                                                : !conversion_is_text(&from[1]));
}

static void put_message(struct json_writer *writer, const struct conversion_value *message)
{
    size_t length = 0;
    const char *raw = json_view_raw(message->view, message->node, &length);
    json_member_raw(writer, "message", raw, length);
}

void ipam_state_current(const struct ipam_state *table, const struct conversion_value *from,
                        struct conversion_output *output)
{
    const struct conversion_value *list = &from[2];
    const struct told told = tell(table, list);
    const struct ipam_state *line = find_line(table, &from[0]);
    if (list->node != NULL && is_told(from, &told)) {
        conversion_take(output, "conditions", list);
        return;
    }
    if (line == NULL && !json_view_is_array(list->node))
        return;
    struct json_writer *writer = conversion_writer(output);
    json_member_array(writer, "conditions");
    if (line != NULL) {
        json_begin_object(writer);
        json_member_string(writer, "type", "Ready");
        json_member_string(writer, "status", line->status);
        json_member_string(writer, "reason", line->reason);
        if (conversion_is_text(&from[1]))
            put_message(writer, &from[1]);
        json_end_object(writer);
    }
    for (const struct json_node *item =
             json_view_is_array(list->node) ? json_view_first(list->view, list->node) : NULL;
         item != NULL; item = json_view_after(list->view, list->node, item)) {
        size_t length;
        if (member_is(list, item, "type", "Ready"))
            continue;
        const char *raw = json_view_raw(list->view, item, &length);
        json_put_raw(writer, raw, length);
    }
    json_end_array(writer);
}
