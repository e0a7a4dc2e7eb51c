/* Reading of metadata. */
#include "server/objects/object_meta.h"

#include "server/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MOST 256

/* A copy of a member's text; "" when it is absent or no string. NULL when out of memory. */
static char *copy_or_empty(const struct json_view *view, const struct json_node *object,
                           const char *name)
{
    const struct json_node *node = json_view_member(view, object, name);
    return json_view_is_string(node) ? json_view_copy(view, node) : strdup("");
}

int object_meta_decode(const struct json_view *view, const struct json_node *object,
                       const char *namespace_name, struct object_meta *ret_meta,
                       struct error *error)
{
    const struct json_node *metadata = json_view_member(view, object, "metadata");
    char name[NAME_MOST];
    char space[NAME_MOST];
    char created[CLOCK_RFC3339_SIZE];
    *ret_meta = (struct object_meta){0};
    if (json_view_text(view, json_view_member(view, metadata, "name"), name, sizeof(name)) < 0)
        name[0] = '\0';
    if (json_view_text(view, json_view_member(view, metadata, "namespace"), space, sizeof(space)) <=
        0)
        snprintf(space, sizeof(space), "%s", namespace_name != NULL ? namespace_name : "");
    ret_meta->namespace_name = strdup(space);
    ret_meta->uid = copy_or_empty(view, metadata, "uid");
    ret_meta->resource_version = copy_or_empty(view, metadata, "resourceVersion");
    if (asprintf(&ret_meta->key, "%s/%s", space, name) < 0) {
        ret_meta->key = NULL;
        return error_no_memory(error);
    }
    if (ret_meta->namespace_name == NULL || ret_meta->uid == NULL ||
        ret_meta->resource_version == NULL)
        return error_no_memory(error);
    ret_meta->name = ret_meta->key + strlen(space) + 1;
    if (!json_view_int64(view, json_view_member(view, metadata, "generation"),
                         &ret_meta->generation))
        ret_meta->generation = 0;
    ret_meta->deleting = !json_view_is_null(json_view_member(view, metadata, "deletionTimestamp"));
    if (json_view_text(view, json_view_member(view, metadata, "creationTimestamp"), created,
                       sizeof(created)) <= 0 ||
        clock_parse_rfc3339(created, &ret_meta->created) < 0)
        ret_meta->created = 0;
    return *name != '\0' ? 0 : error_set(error, -EINVAL, "metadata.name: missing");
}

void object_meta_clear(struct object_meta *meta)
{
    free(meta->key);
    free(meta->namespace_name);
    free(meta->uid);
    free(meta->resource_version);
    *meta = (struct object_meta){0};
}

bool object_meta_has_finalizer(const struct json_view *view, const struct json_node *object,
                               const char *finalizer)
{
    const struct json_node *list = json_view_path(view, object, "metadata", "finalizers", NULL);
    for (const struct json_node *item = json_view_first(view, list); item != NULL;
         item = json_view_after(view, list, item))
        if (json_view_equals(view, item, finalizer))
            return true;
    return false;
}
