/* IpClaim. In v1 labels name the pool and the node, and owner references the Services. A conversion may
 * change labels, but no owner references: so these stay, in v2 as well, and spec.services takes note
 * of what is added to them and taken out. spec.cidr is alike, mask of the link included. */
#include "server/conversion/conversion_kind.h"

#include <stdio.h>
#include <string.h>

#define LABEL_VALUE_MOST 63
#define KEY_MOST 512 /* bytes with NUL of "namespace/name" */

/* --- labels --- */

static bool is_alphanumeric(char character)
{
    return (character >= '0' && character <= '9') || (character >= 'a' && character <= 'z') ||
           (character >= 'A' && character <= 'Z');
}

/* Whether a text can be the value of a label. */
static bool is_label_value(const struct conversion_value *value)
{
    char text[LABEL_VALUE_MOST + 1];
    ptrdiff_t length = json_view_text(value->view, value->node, text, sizeof(text));
    if (length <= 0 || !is_alphanumeric(text[0]) || !is_alphanumeric(text[length - 1]))
        return false;
    for (ptrdiff_t i = 1; i < length; i++)
        if (!is_alphanumeric(text[i]) && text[i] != '-' && text[i] != '_' && text[i] != '.')
            return false;
    return true;
}

static void pool_older(const struct conversion_value *from, const struct conversion_object *object,
                       struct conversion_output *output)
{
    (void)object;
    if (is_label_value(&from[0]))
        conversion_take(output, "ip-pool-name", &from[0]);
}

static void pool_current(const struct conversion_value *from,
                         const struct conversion_object *object, struct conversion_output *output)
{
    (void)object;
    if (conversion_is_text(&from[0]))
        conversion_take(output, "pool", &from[0]);
    conversion_take(output, "ip-pool-name", &from[0]);
}

static void node_older(const struct conversion_value *from, const struct conversion_object *object,
                       struct conversion_output *output)
{
    (void)object;
    conversion_take(output, "nodeName", &from[0]);
    if (is_label_value(&from[0]))
        conversion_take(output, "ipnode", &from[0]);
}

static void node_current(const struct conversion_value *from,
                         const struct conversion_object *object, struct conversion_output *output)
{
    (void)object;
    conversion_take(output, "nodeName", &from[0]);
    conversion_take(output, "ipnode", &from[1]);
}

/* --- Services --- */

/* "namespace/name"; false for a text that is neither. */
static bool read_key(const struct json_view *view, const struct json_node *node,
                     char ret_key[KEY_MOST])
{
    if (json_view_text(view, node, ret_key, KEY_MOST) <= 0)
        return false;
    const char *slash = strchr(ret_key, '/');
    return slash != NULL && slash != ret_key && slash[1] != '\0' && strchr(slash + 1, '/') == NULL;
}

/* The Services that the owner references name. */
static bool read_owners(const struct conversion_object *object, struct json_writer *writer)
{
    const struct json_view *view = object->view;
    const struct json_node *list =
        json_view_path(view, object->root, "metadata", "ownerReferences", NULL);
    bool found = false;
    for (const struct json_node *item = json_view_is_array(list) ? json_view_first(view, list)
                                                                 : NULL;
         item != NULL; item = json_view_after(view, list, item)) {
        char key[KEY_MOST];
        if (!json_view_equals(view, json_view_member(view, item, "kind"), "ServiceReference") ||
            !read_key(view, json_view_member(view, item, "uid"), key))
            continue;
        if (!found)
            json_begin_array(writer);
        found = true;
        json_put_string(writer, key);
    }
    if (found)
        json_end_array(writer);
    return found;
}

static bool has_owner(const struct conversion_value *owners, const char *key)
{
    for (const struct json_node *item = json_view_first(owners->view, owners->node); item != NULL;
         item = json_view_after(owners->view, owners->node, item))
        if (json_view_equals(owners->view, item, key))
            return true;
    return false;
}

static bool has_service(const struct conversion_value *services, const char *key)
{
    const struct json_view *view = services->view;
    size_t space = strcspn(key, "/");
    for (const struct json_node *item = json_view_first(view, services->node); item != NULL;
         item = json_view_after(view, services->node, item)) {
        char namespace_name[KEY_MOST];
        if (json_view_equals(view, json_view_member(view, item, "name"), key + space + 1) &&
            json_view_text(view, json_view_member(view, item, "namespace"), namespace_name,
                           KEY_MOST) == (ptrdiff_t)space &&
            strncmp(namespace_name, key, space) == 0)
            return true;
    }
    return false;
}

static void put_service(struct json_writer *writer, const char *key)
{
    size_t space = strcspn(key, "/");
    json_begin_object(writer);
    json_name(writer, "namespace");
    json_put_bytes(writer, key, space);
    json_member_string(writer, "name", key + space + 1);
    json_end_object(writer);
}

static void services_older(const struct conversion_value *from,
                           const struct conversion_object *object, struct conversion_output *output)
{
    (void)object;
    conversion_take(output, "metadata.ownerReferences", &from[1]);
}

static void services_current(const struct conversion_value *from,
                             const struct conversion_object *object,
                             struct conversion_output *output)
{
    const struct conversion_value *owners = &from[0];
    char key[KEY_MOST];
    (void)object;
    if (json_view_count(owners->node) == 0)
        return;
    struct json_writer *writer = conversion_writer(output);
    json_member_array(writer, "services");
    for (const struct json_node *item = json_view_first(owners->view, owners->node); item != NULL;
         item = json_view_after(owners->view, owners->node, item))
        if (read_key(owners->view, item, key))
            put_service(writer, key);
    json_end_array(writer);
}

/* The carried entry, unless its owner reference has been taken out since. */
static bool is_left(const struct json_view *view, const struct json_node *item,
                    const struct conversion_value *now, const struct conversion_value *before)
{
    char namespace_name[KEY_MOST / 2];
    char name[KEY_MOST / 2];
    char key[KEY_MOST];
    if (json_view_text(view, json_view_member(view, item, "namespace"), namespace_name,
                       sizeof(namespace_name)) <= 0 ||
        json_view_text(view, json_view_member(view, item, "name"), name, sizeof(name)) <= 0)
        return true;
    snprintf(key, sizeof(key), "%s/%s", namespace_name, name);
    return !has_owner(before, key) || has_owner(now, key);
}

static void services_merge(const struct conversion_value *from,
                           const struct conversion_value *carried, struct conversion_output *output)
{
    const struct conversion_value *now = &from[0];
    const struct conversion_value *services = &carried[0];
    const struct conversion_value *before = &carried[1];
    struct json_writer *writer = conversion_writer(output);
    char key[KEY_MOST];
    json_member_array(writer, "services");
    for (const struct json_node *item = json_view_is_array(services->node)
                                            ? json_view_first(services->view, services->node)
                                            : NULL;
         item != NULL; item = json_view_after(services->view, services->node, item)) {
        size_t length;
        const char *raw = json_view_raw(services->view, item, &length);
        if (is_left(services->view, item, now, before))
            json_put_raw(writer, raw, length);
    }
    for (const struct json_node *item = json_view_first(now->view, now->node); item != NULL;
         item = json_view_after(now->view, now->node, item))
        if (read_key(now->view, item, key) && !has_owner(before, key) &&
            !has_service(services, key))
            put_service(writer, key);
    json_end_array(writer);
}

#define OWNERS                                                                                     \
    {                                                                                              \
        CONVERSION_WITNESS, "metadata.ownerReferences", read_owners                                \
    }

static const struct conversion_group groups[] = {
    {.members = {[CONVERSION_OLDER] = {{CONVERSION_LABEL, "ip-pool-name", NULL}},
                 [CONVERSION_CURRENT] = {{CONVERSION_SPEC, "pool", NULL},
                                         {CONVERSION_LABEL, "ip-pool-name", NULL}}},
     .map = {pool_older, pool_current}},
    {.members = {[CONVERSION_OLDER] = {{CONVERSION_SPEC, "nodeName", NULL},
                                       {CONVERSION_LABEL, "ipnode", NULL}},
                 [CONVERSION_CURRENT] = {{CONVERSION_SPEC, "nodeName", NULL},
                                         {CONVERSION_LABEL, "ipnode", NULL}}},
     .map = {node_older, node_current}},
    {.members = {[CONVERSION_OLDER] = {OWNERS},
                 [CONVERSION_CURRENT] = {{CONVERSION_SPEC, "services", NULL}, OWNERS}},
     .map = {services_older, services_current},
     .merge = {NULL, services_merge}},
};

static const char *const shared[] = {"cidr", "link", NULL};

const struct conversion_kind conversion_claim = {
    .kind = "IpClaim",
    CONVERSION_NAMES("ipcontroller.ext", "v1", "v2"),
    .groups = groups,
    .group_count = sizeof(groups) / sizeof(groups[0]),
    .shared = shared,
    .has_spec = {true, true},
};
