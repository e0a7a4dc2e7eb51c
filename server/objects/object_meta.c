/* Reading of metadata, and the texts that are made of it. */
#include "server/objects/object_meta.h"

#include "server/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct object_key object_key(const char *namespace_name, const char *name)
{
    struct object_key key;
    bool namespaced = namespace_name != NULL && *namespace_name != '\0';
    snprintf(key.text, sizeof(key.text), "%s%s%s", namespaced ? namespace_name : "",
             namespaced ? "/" : "", name);
    return key;
}

const char *object_key_split(const char *key, char ret_namespace[OBJECT_KEY_SIZE])
{
    const char *slash = strchr(key, '/');
    snprintf(ret_namespace, OBJECT_KEY_SIZE, "%.*s", slash != NULL ? (int)(slash - key) : 0, key);
    return slash != NULL ? slash + 1 : key;
}

struct object_path object_path(const char *collection, const char *key, const char *after)
{
    struct object_path path;
    char namespace_name[OBJECT_KEY_SIZE];
    const char *name = object_key_split(key, namespace_name);
    const char *resource = strrchr(collection, '/');
    if (*namespace_name == '\0')
        snprintf(path.text, sizeof(path.text), "%s/%s%s", collection, name, after);
    else
        snprintf(path.text, sizeof(path.text), "%.*s/namespaces/%s%s/%s%s",
                 (int)(resource - collection), collection, namespace_name, resource, name, after);
    return path;
}

/* A copy of a member's text; "" when it is absent or no string. NULL when out of memory. */
static char *copy_or_empty(const struct json_view *view, const struct json_node *object,
                           const char *name)
{
    const struct json_node *node = json_view_member(view, object, name);
    return json_view_is_string(node) ? json_view_copy(view, node) : strdup("");
}

/* The key from the parts that were read; takes name. 0 or -ENOMEM. */
static int make_key(struct object_meta *meta, char *name_take)
{
    size_t before = *meta->namespace_name != '\0' ? strlen(meta->namespace_name) + 1 : 0;
    int length =
        asprintf(&meta->key, "%s%s%s", meta->namespace_name, before > 0 ? "/" : "", name_take);
    free(name_take);
    if (length < 0) {
        meta->key = NULL;
        return -ENOMEM;
    }
    meta->name = meta->key + before;
    return 0;
}

int object_meta_decode(const struct json_view *view, const struct json_node *object,
                       const char *namespace_name, struct object_meta *ret_meta,
                       struct error *error)
{
    const struct json_node *metadata = json_view_member(view, object, "metadata");
    char created[CLOCK_RFC3339_SIZE];
    *ret_meta = (struct object_meta){0};
    ret_meta->namespace_name = copy_or_empty(view, metadata, "namespace");
    if (ret_meta->namespace_name != NULL && *ret_meta->namespace_name == '\0' &&
        namespace_name != NULL) {
        free(ret_meta->namespace_name);
        ret_meta->namespace_name = strdup(namespace_name);
    }
    ret_meta->uid = copy_or_empty(view, metadata, "uid");
    ret_meta->resource_version = copy_or_empty(view, metadata, "resourceVersion");
    char *name = copy_or_empty(view, metadata, "name");
    if (ret_meta->namespace_name == NULL || ret_meta->uid == NULL ||
        ret_meta->resource_version == NULL || name == NULL) {
        free(name);
        return error_no_memory(error);
    }
    if (make_key(ret_meta, name) < 0)
        return error_no_memory(error);
    if (!json_view_int64(view, json_view_member(view, metadata, "generation"),
                         &ret_meta->generation))
        ret_meta->generation = 0;
    ret_meta->deleting = !json_view_is_null(json_view_member(view, metadata, "deletionTimestamp"));
    if (json_view_text(view, json_view_member(view, metadata, "creationTimestamp"), created,
                       sizeof(created)) <= 0 ||
        clock_parse_rfc3339(created, &ret_meta->created) < 0)
        ret_meta->created = 0;
    return 0;
}

int object_meta_require_name(const struct object_meta *meta, struct error *error)
{
    return *meta->name != '\0' ? 0 : error_set(error, -EINVAL, "metadata.name: missing");
}

int object_meta_copy(const struct object_meta *meta, struct object_meta *ret_copy)
{
    *ret_copy = *meta;
    ret_copy->key = strdup(meta->key);
    ret_copy->namespace_name = strdup(meta->namespace_name);
    ret_copy->uid = strdup(meta->uid);
    ret_copy->resource_version = strdup(meta->resource_version);
    if (ret_copy->key == NULL || ret_copy->namespace_name == NULL || ret_copy->uid == NULL ||
        ret_copy->resource_version == NULL)
        return -ENOMEM;
    ret_copy->name = ret_copy->key + (meta->name - meta->key);
    return 0;
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

bool object_meta_is_newer(const struct object_meta *meta, const struct object_meta *other)
{
    const char *left = meta->resource_version;
    const char *right = other->resource_version;
    size_t length = strlen(left);
    size_t other_length = strlen(right);
    if (length == 0 || other_length == 0 || left[strspn(left, "0123456789")] != '\0' ||
        right[strspn(right, "0123456789")] != '\0' || *left == '0' || *right == '0')
        return false;
    return length != other_length ? length > other_length : strcmp(left, right) > 0;
}
