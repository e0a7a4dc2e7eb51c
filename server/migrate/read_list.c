/* Lists, page by page. */
#include "server/migrate/read_list.h"

#include "k8s/live_list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct reading {
    const struct read_list_kind *kind;
    void ***items;
    size_t *count;
    size_t capacity;
    size_t *unreadable;
};

static int add(struct reading *reading, void *object)
{
    if (*reading->count >= reading->capacity) {
        size_t capacity = 2 * *reading->count + 64;
        void **grown = realloc((void *)*reading->items, capacity * sizeof(*grown));
        if (grown == NULL)
            return -ENOMEM;
        *reading->items = grown;
        reading->capacity = capacity;
    }
    (*reading->items)[(*reading->count)++] = object;
    return 0;
}

/* The name of what can't be read, as well as it can be told. */
static void tell_unreadable(const struct reading *reading, const struct json_view *view,
                            const struct json_node *object, const char *why)
{
    char name[256];
    if (json_view_text(view, json_view_path(view, object, "metadata", "name", NULL), name,
                       sizeof(name)) <= 0)
        snprintf(name, sizeof(name), "?");
    fprintf(stderr, "ipwarden migrate: %s %s can't be read: %s\n", reading->kind->name, name, why);
    if (reading->unreadable != NULL)
        (*reading->unreadable)++;
}

static int look(void *context, const struct json_view *view, const struct json_node *object,
                struct error *error)
{
    struct reading *reading = context;
    void *decoded = NULL;
    struct error reason = {0};
    int code = reading->kind->decode(view, object, reading->kind->context, &decoded, &reason);
    if (code == -ENOMEM)
        return error_no_memory(error);
    if (code < 0) {
        tell_unreadable(reading, view, object, reason.text);
        return 0;
    }
    return decoded != NULL && add(reading, decoded) < 0 ? error_no_memory(error) : 0;
}

int read_list(struct k8s_client *client, const struct read_list_kind *kind, int64_t deadline,
              void ***items, size_t *count, size_t *unreadable, struct error *error)
{
    struct reading reading = {
        .kind = kind, .items = items, .count = count, .unreadable = unreadable};
    struct error cause = {0};
    int code = live_list(client, kind->path, NULL, NULL, deadline, look, &reading, &cause);
    if (code == -ENOENT && kind->optional)
        return 0;
    if (code == -ENOENT)
        return error_set(error, code, "this cluster has no kind %s: %.120s", kind->name,
                         cause.text);
    if (code == -EACCES)
        return error_set(error, code, "%s may not be listed: %.160s", kind->name, cause.text);
    if (code < 0)
        return error_set(error, code, "%s: %.180s", kind->name, cause.text);
    return 0;
}
