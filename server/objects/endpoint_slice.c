/* Decoding of EndpointSlices. */
#include "server/objects/endpoint_slice.h"

#include "allocator/address.h"
#include "server/objects/texts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* An endpoint that says nothing of it is ready. */
static bool is_ready(const struct json_view *view, const struct json_node *endpoint)
{
    const struct json_node *ready = json_view_path(view, endpoint, "conditions", "ready", NULL);
    return json_view_is_null(ready) || json_view_bool(ready);
}

static int compare(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* The nodes of the endpoints that are ready, sorted. 0 or -ENOMEM. */
static int collect_nodes(const struct json_view *view, const struct json_node *endpoints,
                         struct texts *nodes)
{
    for (const struct json_node *item = json_view_first(view, endpoints); item != NULL;
         item = json_view_after(view, endpoints, item)) {
        const struct json_node *name = json_view_member(view, item, "nodeName");
        if (!json_view_is_string(name) || !is_ready(view, item))
            continue;
        char *node = json_view_copy(view, name);
        int result = node == NULL                               ? -ENOMEM
                     : *node == '\0' || texts_have(nodes, node) ? 0
                                                                : texts_add(nodes, node);
        free(node);
        if (result < 0)
            return result;
    }
    if (nodes->count > 1)
        qsort(nodes->items, nodes->count, sizeof(*nodes->items), compare);
    return 0;
}

static const char *place(char **at, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = memcpy(*at, text, size);
    *at += size;
    return copy;
}

/* Puts everything into one block behind the struct. NULL when out of memory. */
static struct endpoint_slice *pack(const struct object_meta *meta, const char *service,
                                   const struct texts *nodes)
{
    size_t size = sizeof(struct endpoint_slice) + strlen(meta->key) + strlen(meta->namespace_name) +
                  strlen(meta->uid) + strlen(meta->resource_version) + 4 + strlen(service) + 2;
    for (size_t i = 0; i < nodes->count; i++)
        size += strlen(nodes->items[i]) + 1;
    struct endpoint_slice *slice = malloc(size);
    if (slice == NULL)
        return NULL;
    char *at = (char *)(slice + 1);
    char *key = at;
    slice->meta = *meta;
    (void)place(&at, meta->key);
    slice->meta.key = key;
    slice->meta.name = key + (meta->name - meta->key);
    char *rest = at;
    (void)place(&at, meta->namespace_name);
    slice->meta.namespace_name = rest;
    rest = at;
    (void)place(&at, meta->uid);
    slice->meta.uid = rest;
    rest = at;
    (void)place(&at, meta->resource_version);
    slice->meta.resource_version = rest;
    slice->service = place(&at, service);
    slice->nodes = at;
    for (size_t i = 0; i < nodes->count; i++)
        (void)place(&at, nodes->items[i]);
    *at = '\0';
    return slice;
}

static uint8_t decode_family(const struct json_view *view, const struct json_node *type)
{
    if (json_view_equals(view, type, "IPv4"))
        return ADDRESS_IPV4;
    return json_view_equals(view, type, "IPv6") ? ADDRESS_IPV6 : 0;
}

static int decode(const struct json_view *view, const struct json_node *object,
                  struct object_meta *meta, struct texts *nodes, struct endpoint_slice **ret_slice,
                  struct error *error)
{
    char name[256];
    int result = object_meta_decode(view, object, NULL, meta, error);
    if (result == 0)
        result = object_meta_require_name(meta, error);
    if (result == 0 && collect_nodes(view, json_view_member(view, object, "endpoints"), nodes) < 0)
        result = error_no_memory(error);
    if (result < 0)
        return result;
    bool named = json_view_text(view,
                                json_view_path(view, object, "metadata", "labels",
                                               "kubernetes.io/service-name", NULL),
                                name, sizeof(name)) > 0;
    *ret_slice = pack(meta, named ? object_key(meta->namespace_name, name).text : "", nodes);
    if (*ret_slice == NULL)
        return error_no_memory(error);
    (*ret_slice)->family = decode_family(view, json_view_member(view, object, "addressType"));
    return 0;
}

int endpoint_slice_decode(const struct json_view *view, const struct json_node *object,
                          struct endpoint_slice **ret_slice, struct error *error)
{
    struct object_meta meta;
    struct texts nodes = {0};
    int result = decode(view, object, &meta, &nodes, ret_slice, error);
    object_meta_clear(&meta);
    texts_clear(&nodes);
    return result;
}

void endpoint_slice_free(struct endpoint_slice *slice)
{
    free(slice);
}

const char *endpoint_slice_node(const struct endpoint_slice *slice, const char *node)
{
    const char *next = node == NULL ? slice->nodes : node + strlen(node) + 1;
    return *next != '\0' ? next : NULL;
}

bool endpoint_slice_says_the_same(const struct endpoint_slice *left,
                                  const struct endpoint_slice *right)
{
    const char *one = endpoint_slice_node(left, NULL);
    const char *two = endpoint_slice_node(right, NULL);
    if (strcmp(left->service, right->service) != 0 || left->family != right->family)
        return false;
    for (; one != NULL && two != NULL && strcmp(one, two) == 0;
         one = endpoint_slice_node(left, one), two = endpoint_slice_node(right, two))
        ;
    return one == NULL && two == NULL;
}
