/* Decoding of Nodes. */
#include "server/objects/node.h"

#include <errno.h>
#include <stdlib.h>

static bool decode_not_ready(const struct json_view *view, const struct json_node *object)
{
    const struct json_node *list = json_view_path(view, object, "status", "conditions", NULL);
    for (const struct json_node *item = json_view_first(view, list); item != NULL;
         item = json_view_after(view, list, item))
        if (json_view_equals(view, json_view_member(view, item, "type"), "Ready"))
            return !json_view_equals(view, json_view_member(view, item, "status"), "True");
    return false;
}

int node_decode(const struct json_view *view, const struct json_node *object,
                struct node **ret_node, struct error *error)
{
    _cleanup_node_ struct node *node = calloc(1, sizeof(*node));
    if (node == NULL)
        return error_no_memory(error);
    int result = object_meta_decode(view, object, NULL, &node->meta, error);
    if (result == 0)
        result = object_meta_require_name(&node->meta, error);
    if (result < 0)
        return result;
    if (labels_decode(view, json_view_path(view, object, "metadata", "labels", NULL),
                      &node->labels) < 0)
        return error_no_memory(error);
    node->unschedulable =
        json_view_bool(json_view_path(view, object, "spec", "unschedulable", NULL));
    node->not_ready = decode_not_ready(view, object);
    *ret_node = node;
    node = NULL;
    return 0;
}

void node_free(struct node *node)
{
    if (node == NULL)
        return;
    object_meta_clear(&node->meta);
    labels_clear(&node->labels);
    free(node);
}

bool node_is_excluded(const struct node *node)
{
    return labels_get(&node->labels, NODE_LABEL_EXCLUDE) != NULL;
}

bool node_says_the_same(const struct node *left, const struct node *right)
{
    return left->unschedulable == right->unschedulable && left->not_ready == right->not_ready &&
           labels_equal(&left->labels, &right->labels);
}
