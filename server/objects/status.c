/* Encoding and comparing of statuses. */
#include "server/objects/status.h"

#include <string.h>

#define DEPTH JSON_VIEW_DEPTH

/* The root of a stored status, NULL for one that isn't there or can't be read. The view is to be
 * cleared in either case. */
static const struct json_node *parse(struct json_view *view, const char *text)
{
    json_view_init(view);
    if (*text == '\0' || json_view_parse(view, text, strlen(text), DEPTH, NULL) < 0)
        return NULL;
    return json_view_root(view);
}

static const char *status_word(const struct condition *condition)
{
    return condition->status ? "True" : "False";
}

/* When the condition came to its status: the stored time if its status was the same already, else
 * now. */
static void transition_time(const struct json_view *view, const struct json_node *conditions,
                            const struct condition *condition, const struct clock *clock,
                            char ret_text[CLOCK_RFC3339_SIZE])
{
    for (const struct json_node *item = json_view_first(view, conditions); item != NULL;
         item = json_view_after(view, conditions, item))
        if (json_view_equals(view, json_view_member(view, item, "type"), condition->type) &&
            json_view_equals(view, json_view_member(view, item, "status"),
                             status_word(condition)) &&
            json_view_text(view, json_view_member(view, item, "lastTransitionTime"), ret_text,
                           CLOCK_RFC3339_SIZE) > 0)
            return;
    clock_format_rfc3339(clock_wall(clock), ret_text);
}

static void put_condition(struct json_writer *writer, const struct condition *condition,
                          int64_t generation, const char *since)
{
    json_begin_object(writer);
    json_member_string(writer, "type", condition->type);
    json_member_string(writer, "status", status_word(condition));
    json_member_string(writer, "reason", condition->reason);
    json_member_integer(writer, "observedGeneration", generation);
    json_member_string(writer, "lastTransitionTime", since);
    json_member_string(writer, "message", condition->message);
    json_end_object(writer);
}

void status_write_conditions(struct json_writer *writer, const char *stored,
                             const struct condition *conditions, size_t count, int64_t generation,
                             const struct clock *clock)
{
    struct json_view view;
    const struct json_node *root = parse(&view, stored);
    const struct json_node *old = json_view_member(&view, root, "conditions");
    json_member_array(writer, "conditions");
    for (size_t i = 0; i < count; i++) {
        char since[CLOCK_RFC3339_SIZE];
        transition_time(&view, old, &conditions[i], clock, since);
        put_condition(writer, &conditions[i], generation, since);
    }
    json_end_array(writer);
    json_view_clear(&view);
}

void status_write_count(struct json_writer *writer, const char *name, struct address_count count)
{
    char text[ADDRESS_COUNT_TEXT_SIZE];
    address_count_format(count, text);
    if (count.carry == 0 && count.high == 0 && count.low < (UINT64_C(1) << 53))
        json_member_raw(writer, name, text, strlen(text));
    else
        json_member_string(writer, name, text);
}

bool status_is_current(const char *stored, const char *wanted, const char *const *members,
                       size_t count)
{
    struct json_view before;
    struct json_view now;
    const struct json_node *old = parse(&before, stored);
    const struct json_node *root = parse(&now, wanted);
    bool same = old != NULL && root != NULL;
    for (size_t i = 0; i < count && same; i++)
        same = json_view_same(&before, json_view_member(&before, old, members[i]), &now,
                              json_view_member(&now, root, members[i]));
    json_view_clear(&before);
    json_view_clear(&now);
    return same;
}
