/* Texts that facts point to, and names in order. */
#include "server/base/clock.h"
#include "server/explain_read_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *explain_keep(struct explain_reading *reading, const char *text)
{
    return texts_add(&reading->kept, text) < 0 ? NULL
                                               : reading->kept.items[reading->kept.count - 1];
}

const char *explain_keep_member(struct explain_reading *reading, const struct json_view *view,
                                const struct json_node *object, const char *name)
{
    const struct json_node *node = json_view_member(view, object, name);
    if (!json_view_is_string(node))
        return "";
    char *text = json_view_copy(view, node);
    const char *kept = text != NULL ? explain_keep(reading, text) : NULL;
    free(text);
    return kept;
}

int64_t explain_keep_time(const struct json_view *view, const struct json_node *object,
                          const char *name)
{
    char text[64];
    int64_t time;
    if (json_view_text(view, json_view_member(view, object, name), text, sizeof(text)) <= 0 ||
        clock_parse_rfc3339(text, &time) < 0)
        return 0;
    return time;
}

/* The index of the name, or where it belongs. */
static size_t find_place(const struct explain_names *names, const char *name)
{
    size_t low = 0;
    size_t high = names->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(names->items[middle], name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int explain_keep_name(struct explain_reading *reading, struct explain_names *names,
                      const char *name)
{
    size_t place = find_place(names, name);
    if (place < names->count && strcmp(names->items[place], name) == 0)
        return 0;
    const char *copy = explain_keep(reading, name);
    const char **items = realloc((void *)names->items, (names->count + 1) * sizeof(*names->items));
    if (items != NULL)
        names->items = items;
    if (items == NULL || copy == NULL)
        return -ENOMEM;
    memmove((void *)&items[place + 1], (const void *)&items[place],
            (names->count - place) * sizeof(*items));
    items[place] = copy;
    names->count++;
    return 0;
}

int explain_keep_names(struct explain_reading *reading, struct explain_names *names,
                       const char *const *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (explain_keep_name(reading, names, items[i]) < 0)
            return -ENOMEM;
    return 0;
}
